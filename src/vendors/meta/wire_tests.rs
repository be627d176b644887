use serde_json::json;

use super::*;

const USD: Currency = Currency::USD;

fn usd(minor: i64) -> Money {
    Money::from_minor(minor, USD)
}

#[test]
fn times_are_read_in_both_forms() {
    let check = |text: &str, expected: Option<i64>| {
        let found = instant("t", &Some(Loose(text.to_owned())));
        assert_eq!(found.ok(), expected.map(time::from_seconds), "{text}");
    };
    check("2015-02-28T08:49:14+0000", Some(1_425_113_354));
    check("2015-02-28T03:49:14-0500", Some(1_425_113_354));
    check("2015-02-28T08:49:14+00:00", Some(1_425_113_354));
    check("2015-02-28", None);
    check("", None);
}

#[test]
fn budgets_are_minor_units_and_zero_is_not_set() {
    let check = |daily: Value, lifetime: Value, currency, expected: Result<Budget, &str>| {
        let row = json!({"id": "1", "name": "n", "status": "PAUSED", "campaign_id": "2",
            "daily_budget": daily, "lifetime_budget": lifetime,
            "created_time": "2026-01-01T00:00:00+0000", "updated_time": "2026-01-02T00:00:00+0000"});
        let found = ad_set(row, currency).map(|set| set.budget);
        assert_eq!(found, expected.map_err(ToOwned::to_owned));
    };
    let none = || Value::Null;
    check(json!("2500"), none(), USD, Ok(Budget::Daily(usd(2500))));
    check(json!(2500), json!("0"), USD, Ok(Budget::Daily(usd(2500))));
    check(json!("0"), json!("9"), USD, Ok(Budget::Lifetime(usd(9))));
    check(json!("0"), json!("0"), USD, Ok(Budget::None));
    check(none(), none(), USD, Ok(Budget::None));
    let yen = Money::from_minor(500, Currency::JPY);
    check(json!("500"), none(), Currency::JPY, Ok(Budget::Daily(yen)));
    let both = Err("it has a daily and a lifetime budget");
    check(json!("1"), json!("1"), USD, both);
    let bad = Err("its daily_budget \"12.5\" is not a number of minor units");
    check(json!("12.5"), none(), USD, bad);
}

#[test]
fn an_account_is_read() {
    let found = account(json!({"id": "act_12", "name": "Acme", "account_status": 1,
        "currency": "USD", "timezone_name": "America/New_York", "min_daily_budget": 100,
        "surprise": {"a": [1]}}))
    .unwrap();
    assert_eq!(found.id, AdAccountId::new("12").unwrap());
    assert_eq!(found.min_daily_budget, Some(usd(100)));
    assert_eq!(found.status, AccountStatus::Active);
    let refused = account(
        json!({"id": "act_12", "account_status": 1, "currency": "XXX",
        "timezone_name": "UTC"}),
    );
    assert!(refused.unwrap_err().contains("XXX"));
}

#[test]
fn a_campaign_is_read() {
    let row = json!({"id": "120", "name": "C", "status": "ACTIVE", "effective_status": "ACTIVE",
        "daily_budget": "10000", "objective": "OUTCOME_LEADS",
        "is_adset_budget_sharing_enabled": true, "is_budget_schedule_enabled": false,
        "smart_promotion_type": "GUIDED_CREATION",
        "created_time": "2026-01-01T00:00:00+0000", "updated_time": "2026-01-02T00:00:00+0000"});
    let found = campaign(row.clone(), USD).unwrap();
    assert_eq!(found.budget, Budget::Daily(usd(10_000)));
    assert!(found.shares_budgets && !found.has_budget_schedule);
    assert_eq!(found.smart_promotion, None);
    let mut legacy = row;
    legacy["smart_promotion_type"] = json!("AUTOMATED_SHOPPING_ADS");
    let found = campaign(legacy, USD).unwrap();
    assert_eq!(
        found.smart_promotion.as_deref(),
        Some("AUTOMATED_SHOPPING_ADS")
    );
}

#[test]
fn a_page_keeps_good_rows_and_names_bad_ones() {
    let body = json!({
        "data": [
            {"id": "1", "campaign_id": "9", "status": "ACTIVE", "learning_stage_info":
                {"status": "LEARNING", "last_sig_edit_ts": 1_790_000_000},
             "created_time": "2026-01-01T00:00:00+0000", "updated_time": "2026-01-01T00:00:00+0000"},
            {"id": "2", "campaign_id": "9", "status": "NEW_STATUS",
             "created_time": "2026-01-01T00:00:00+0000", "updated_time": "2026-01-01T00:00:00+0000"},
            "nonsense"
        ],
        "paging": {"cursors": {"before": "a", "after": "b"}, "next": "https://g/x?access_token=T"}});
    let page = page(body, None, |row| ad_set(row, USD)).unwrap();
    assert_eq!(page.rows.len(), 1);
    let learning = page.rows[0].learning.clone().unwrap();
    assert_eq!(
        learning.last_significant_edit,
        Some(time::from_seconds(1_790_000_000))
    );
    assert_eq!(page.next, Some(Cursor("b".to_owned())));
    assert_eq!(page.faults.len(), 2);
    assert_eq!(page.faults[0], "2: its status \"NEW_STATUS\" is not known");
}

#[test]
fn the_end_of_a_list_is_the_absence_of_next() {
    let check = |paging: Value, expected: Result<Option<&str>, ()>| {
        let body = json!({"data": [], "paging": paging});
        let found = page(body, Some(&Cursor("same".to_owned())), Ok);
        let found = found.map(|page: Page<Value>| page.next.map(|cursor| cursor.0));
        let expected = expected.map(|next| next.map(ToOwned::to_owned));
        assert_eq!(found.map_err(|_| ()), expected, "{paging}");
    };
    check(Value::Null, Ok(None));
    check(json!({"cursors": {"after": "x"}}), Ok(None));
    check(
        json!({"cursors": {"after": "x"}, "next": "https://g/"}),
        Ok(Some("x")),
    );
    check(
        json!({"next": "https://g/?after=y%3D&access_token=T"}),
        Ok(Some("y=")),
    );
    check(json!({"next": "https://g/"}), Err(()));
    check(
        json!({"cursors": {"after": "same"}, "next": "https://g/"}),
        Err(()),
    );
    assert!(page(json!({"success": true}), None, Ok::<Value, String>).is_err());
}

#[test]
fn text_is_found_in_each_of_its_homes() {
    let check = |value: Value, expected: [&str; 7]| {
        let c = creative(&value);
        let found = [
            &c.title,
            &c.body,
            &c.description,
            &c.call_to_action,
            &c.format,
            &c.link,
            &c.url_tags,
        ];
        assert_eq!(found.map(String::as_str), expected, "{value}");
    };
    check(
        json!({"id": "5", "object_story_spec": {"link_data": {"name": "T", "message": "B",
            "description": "D", "link": "https://a", "call_to_action": {"type": "SIGN_UP"}}},
            "url_tags": "utm_content={{ad.id}}", "title": "old"}),
        [
            "T",
            "B",
            "D",
            "SIGN_UP",
            "image",
            "https://a",
            "utm_content={{ad.id}}",
        ],
    );
    check(
        json!({"object_story_spec": {"video_data": {"title": "T", "message": "B",
            "link_description": "D", "video_id": "3",
            "call_to_action": {"type": "LEARN_MORE", "value": {"link": "https://v"}}}}}),
        ["T", "B", "D", "LEARN_MORE", "video", "https://v", ""],
    );
    check(
        json!({"asset_feed_spec": {"bodies": [{"text": "B"}, {"text": "B2"}],
            "titles": [{"text": "T"}], "descriptions": [{"text": "D"}],
            "call_to_action_types": ["SHOP_NOW"], "link_urls": [{"website_url": "https://d"}]}}),
        ["T", "B", "D", "SHOP_NOW", "dynamic", "https://d", ""],
    );
    check(
        json!({"object_story_spec": {"link_data": {"message": "B", "child_attachments": [{}]}}}),
        ["", "B", "", "", "carousel", "", ""],
    );
    check(
        json!({"title": "T", "body": "B", "image_hash": "h", "link_url": "https://o"}),
        ["T", "B", "", "", "image", "https://o", ""],
    );
    check(
        json!({"effective_object_story_id": "1_2"}),
        ["", "", "", "", "post", "", ""],
    );
    check(Value::Null, ["", "", "", "", "", "", ""]);
}

fn query(is_hourly: bool) -> InsightsQuery {
    InsightsQuery {
        since: time::parse_date("2026-11-01").unwrap(),
        until: time::parse_date("2026-11-03").unwrap(),
        is_hourly,
        page_size: 100,
        campaigns: Vec::new(),
    }
}

fn insight_row(change: impl Fn(&mut Value)) -> Value {
    let mut row = json!({"ad_id": "1", "adset_id": "2", "campaign_id": "3",
        "account_currency": "USD", "date_start": "2026-11-02", "date_stop": "2026-11-02",
        "spend": "5339.5", "impressions": "1000", "clicks": "40", "inline_link_clicks": "30",
        "reach": "900", "actions": [{"action_type": "lead", "value": "7", "1d_view": "2"}]});
    change(&mut row);
    row
}

#[test]
fn a_daily_row_is_read_in_main_units() {
    let body = json!({"data": [insight_row(|_| ())]});
    let page = insights(body, None, USD, &query(false)).unwrap();
    let row = &page.rows[0];
    assert_eq!(row.spend, usd(533_950));
    assert_eq!(
        (row.impressions, row.clicks, row.reach),
        (1000, 30, Some(900))
    );
    assert_eq!(
        row.window,
        ReportWindow::Day(time::parse_date("2026-11-02").unwrap())
    );
    let lead = ActionCount {
        kind: "lead".to_owned(),
        count: 7.0,
    };
    assert_eq!(row.actions, [lead]);
}

#[test]
fn what_is_zero_may_be_missing() {
    let bare = json!({"ad_id": "4", "adset_id": "2", "campaign_id": "3",
        "date_start": "2026-11-02", "date_stop": "2026-11-02", "clicks": "9"});
    let body = json!({"data": [bare.clone(), insight_row(|_| ())]});
    let page = insights(body, None, USD, &query(false)).unwrap();
    assert_eq!(page.rows[0].clicks, 0, "another row knows link clicks");
    assert_eq!(page.rows[0].spend, usd(0));
    let page = insights(json!({"data": [bare]}), None, USD, &query(false)).unwrap();
    assert_eq!(page.rows[0].clicks, 9);
}

#[test]
fn a_row_that_was_not_asked_for_is_a_fault() {
    let check = |is_hourly, change: &dyn Fn(&mut Value), fault: Option<&str>| {
        let body = json!({"data": [insight_row(change)]});
        let page = insights(body, None, USD, &query(is_hourly)).unwrap();
        match fault {
            None => assert!(page.faults.is_empty(), "{:?}", page.faults),
            Some(part) => assert!(page.faults[0].contains(part), "{:?}", page.faults),
        }
    };
    let set =
        |key: &'static str, value: &'static str| move |row: &mut Value| row[key] = json!(value);
    check(false, &|_| (), None);
    check(true, &set(HOURLY, "13:00:00 - 13:59:59"), None);
    check(true, &set(HOURLY, "24:00:00 - 24:59:59"), Some("hour"));
    check(true, &|_| (), Some("names no hour"));
    check(
        false,
        &set(HOURLY, "13:00:00 - 13:59:59"),
        Some("of an hour"),
    );
    check(
        false,
        &set("date_stop", "2026-11-03"),
        Some("instead of one day"),
    );
    check(false, &set("account_currency", "EUR"), Some("EUR"));
    check(false, &set("spend", "-1"), Some("spend"));
    check(false, &set("impressions", "many"), Some("impressions"));
    let other_day = |row: &mut Value| {
        row["date_start"] = json!("2026-10-31");
        row["date_stop"] = json!("2026-10-31");
    };
    check(false, &other_day, Some("was not asked for"));
}

#[test]
fn settings_are_of_the_object_asked_for() {
    let entity = EntityRef::AdSet(AdSetId::new("7").unwrap());
    let ours = AdAccountId::new("12").unwrap();
    let body = json!({"id": "7", "account_id": "12", "status": "ACTIVE", "daily_budget": "2500",
        "budget_remaining": "1000", "updated_time": "2026-11-02T10:00:00+0000",
        "learning_stage_info": {"status": "SUCCESS", "last_sig_edit_ts": 1_790_000_000}});
    let found = settings(body.clone(), &entity, &ours, USD).unwrap();
    assert_eq!(found.budget, Budget::Daily(usd(2500)));
    assert_eq!(found.spent_today, Some(usd(1500)));
    assert_eq!(
        found.last_significant_edit,
        Some(time::from_seconds(1_790_000_000))
    );
    for (key, value) in [
        ("id", "8"),
        ("account_id", "13"),
        ("status", "ODD"),
        ("updated_time", ""),
    ] {
        let mut other = body.clone();
        other[key] = json!(value);
        assert!(settings(other, &entity, &ours, USD).is_err(), "{key}");
    }
    let mut odd = body;
    odd["budget_remaining"] = json!("9999");
    assert_eq!(
        settings(odd, &entity, &ours, USD).unwrap().spent_today,
        None
    );
}

#[test]
fn an_activity_is_read() {
    let found = activity(json!({"event_time": "2026-11-02T10:00:00+0000",
        "event_type": "update_ad_set_budget", "object_id": "7", "actor_name": "Ann",
        "application_id": 123, "extra_data": "{\"old_value\":1}"}))
    .unwrap();
    assert_eq!(found.application_id.as_deref(), Some("123"));
    assert_eq!(found.extra, "{\"old_value\":1}");
    assert!(activity(json!({"event_type": "x"})).is_err());
}

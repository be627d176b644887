use super::*;

fn record(properties: Value, history: Value) -> Value {
    let mut record = json!({"id": "512", "archived": false,
        "createdAt": "2026-11-01T00:00:00Z", "updatedAt": "2026-11-02T00:00:00.123Z",
        "propertiesWithHistory": {"dealstage": history},
        "properties": {"dealstage": "won", "pipeline": "default"}});
    let known = record["properties"].as_object_mut().unwrap();
    known.extend(properties.as_object().unwrap().clone());
    record
}

#[test]
fn a_deal_is_read() {
    let found = deal(&record(
        json!({"dealname": "Ann", "amount": "1500.50", "deal_currency_code": "EUR",
            "createdate": "2026-10-01T10:00:00Z", "hs_lastmodifieddate": "2026-11-03T00:00:00.5Z"}),
        json!([]),
    ))
    .unwrap();
    let amount = found.amount.unwrap();
    assert_eq!(
        (amount.decimal.as_str(), amount.currency.as_deref()),
        ("1500.50", Some("EUR"))
    );
    assert_eq!(found.created_at, "2026-10-01T10:00:00Z".parse().unwrap());
    assert_eq!(found.updated_at, "2026-11-03T00:00:00.5Z".parse().unwrap());
    let bare = deal(&record(json!({"amount": ""}), json!([]))).unwrap();
    assert_eq!(bare.amount, None);
    assert_eq!(bare.updated_at, "2026-11-02T00:00:00.123Z".parse().unwrap());
    assert!(deal(&record(json!({"dealstage": null}), json!([]))).is_err());
}

#[test]
fn history_is_oldest_first_without_repeats() {
    let check = |lines: &[(&str, i64)], expected: &[(&str, i64)]| {
        let lines: Vec<_> = lines
            .iter()
            .map(|(stage, s)| {
                json!({"value": stage, "sourceType": "CRM_UI",
                "timestamp": time::from_seconds(*s).to_string()})
            })
            .collect();
        let found = deal(&record(json!({}), json!(lines))).unwrap().history;
        let found: Vec<_> = found
            .iter()
            .map(|c| (c.stage.as_str(), c.at.as_second()))
            .collect();
        assert_eq!(found, expected);
    };
    check(&[("b", 20), ("a", 10)], &[("a", 10), ("b", 20)]);
    check(&[("b", 30), ("b", 20), ("a", 10)], &[("a", 10), ("b", 20)]);
    check(
        &[("a", 30), ("b", 20), ("a", 10)],
        &[("a", 10), ("b", 20), ("a", 30)],
    );
    check(&[("", 30), ("a", 10)], &[("a", 10)]);
    check(
        &[("c", 10), ("b", 10), ("a", 5)],
        &[("a", 5), ("b", 10), ("c", 10)],
    );
    check(&[("a", 10), ("b", 20)], &[("a", 10), ("b", 20)]);
    check(&[], &[]);
}

#[test]
fn a_batch_is_settled_against_what_was_asked() {
    let read = |record: &Value| record_id::<DealId>(record);
    let partial = json!({"status": "COMPLETE", "results": [{"id": "1"}, {"id": "8"}],
        "numErrors": 1, "errors": [{"status": "error", "category": "OBJECT_NOT_FOUND",
        "context": {"ids": ["9"]}}]});
    let found = batch(&partial, &["1", "2", "9"], read).unwrap();
    assert_eq!(found.found, [DealId::new("1").unwrap()]);
    assert_eq!(found.missing, ["2", "9"]);
    assert_eq!(found.faults, ["8 was not asked for, or came twice"]);
    for bad in [
        json!({"status": "COMPLETE", "results": [],
            "errors": [{"category": "INTERNAL_ERROR", "message": "m"}]}),
        json!({"status": "PROCESSING", "results": []}),
        json!({"status": "COMPLETE"}),
    ] {
        assert!(batch(&bad, &["1"], read).is_err(), "{bad}");
    }
    // A deal that is there and cannot be read is not a deleted one.
    let unreadable = json!({"results": [{"id": "1"}]});
    let found = batch(&unreadable, &["1"], deal).unwrap();
    assert!(found.missing.is_empty() && found.found.is_empty());
    assert_eq!(found.faults.len(), 1);
}

#[test]
fn a_contact_tells_of_the_click() {
    let check = |properties: Value, expected: [Option<&str>; 6]| {
        let record = json!({"id": "7", "updatedAt": "2026-11-02T00:00:00Z",
            "properties": properties});
        let facts = contact(&record, &ClickProperties::default(), None)
            .unwrap()
            .facts;
        let found = [
            &facts.roasd_click_id,
            &facts.facebook_click_id,
            &facts.meta_lead_id,
            &facts.ad_id,
            &facts.ad_set_id,
            &facts.campaign_id,
        ];
        assert_eq!(found.map(Option::as_deref), expected, "{properties}");
    };
    check(json!({}), [None; 6]);
    check(
        json!({"roasd_click_id": "v1", "hs_facebook_click_id": "IwAbC", "leadgen_id": "l:12345",
            "ad_id": "11", "utm_term": "22", "utm_campaign": "33", "email": "a@b"}),
        [
            Some("v1"),
            Some("IwAbC"),
            Some("12345"),
            Some("11"),
            Some("22"),
            Some("33"),
        ],
    );
    let url = "https://acme.example/?utm_content=11&utm_term=22&utm_campaign=33&fbclid=IwX_y#top";
    check(
        json!({"hs_analytics_first_url": url}),
        [
            None,
            Some("IwX_y"),
            None,
            Some("11"),
            Some("22"),
            Some("33"),
        ],
    );
    check(
        json!({"hs_analytics_first_url": "acme.example/p?ad_id=11&fbclid="}),
        [None, None, None, Some("11"), None, None],
    );
    // A property that holds no id does not hide an address that does.
    check(
        json!({"ad_id": "{{ad.id}}", "utm_content": "spring sale", "utm_campaign": "%7B%7B",
            "hs_analytics_first_url": "https://a.example/?utm_content=11&utm_term={{adset.id}}"}),
        [None, None, None, Some("11"), None, None],
    );
    check(
        json!({"ad_id": "123456789012345678901", "hs_analytics_first_url": "not an address"}),
        [None; 6],
    );
}

#[test]
fn stages_are_won_and_lost_by_what_they_are() {
    let stage = |id: &str, closed: Value, probability: &str| {
        json!({"id": id, "label": id, "displayOrder": 1, "archived": false,
            "metadata": {"isClosed": closed, "probability": probability}})
    };
    let found = pipeline_stages(&json!({"results": [
        {"id": "default", "stages": [
            stage("a", json!("false"), "0.2"), stage("w", json!("true"), "1.0"),
            stage("l", json!(true), "0.0"), stage("odd", json!("false"), "1.0"),
            {"id": "gone", "archived": true}]},
        {"id": "old", "archived": true, "stages": [stage("x", json!("true"), "1.0")]}]}))
    .unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|s| (s.id.as_str(), s.is_won, s.is_lost))
        .collect();
    let (open, won, lost) = ((false, false), (true, false), (false, true));
    let expected = [("a", open), ("w", won), ("l", lost), ("odd", open)];
    assert_eq!(found, expected.map(|(id, (won, lost))| (id, won, lost)));
}

#[test]
fn a_search_asks_in_milliseconds_and_fits() {
    let at = time::from_millis(1_790_000_000_000);
    let window = search_body(&Search::Window {
        from: at,
        to: at,
        after: None,
    });
    let filter = &window["filterGroups"][0]["filters"][0];
    assert_eq!(filter["value"], "1790000000000");
    assert_eq!(filter["highValue"], "1790000000000");
    assert_eq!(window["sorts"][0]["propertyName"], "hs_lastmodifieddate");
    assert_eq!(window.get("after"), None);
    let above = Some(DealId::new("99").unwrap());
    let instant = search_body(&Search::Instant {
        at,
        above,
        after: Some("200".to_owned()),
    });
    assert_eq!(instant["filterGroups"][0]["filters"][0]["operator"], "EQ");
    assert_eq!(instant["filterGroups"][0]["filters"][1]["value"], "99");
    assert_eq!(instant["sorts"][0]["propertyName"], "hs_object_id");
    assert_eq!(instant["after"], "200");
    assert!(instant.to_string().len() < 3_000);
}

#[test]
fn a_search_page_is_read() {
    let page = search_page(
        &json!({"total": 3, "paging": {"next": {"after": "1"}}, "results": [
        {"id": "5", "updatedAt": "2026-11-02T00:00:00Z",
         "properties": {"hs_lastmodifieddate": "2026-11-02T00:00:00.123Z"}}]}),
    )
    .unwrap();
    assert_eq!((page.total, page.after.as_deref()), (3, Some("1")));
    assert_eq!(
        page.hits[0].modified_at,
        "2026-11-02T00:00:00.123Z".parse().unwrap()
    );
    assert!(search_page(&json!({"results": []})).is_err());
    assert!(search_page(&json!({"total": 1, "results": [{"id": "5"}]})).is_err());
}

use super::crm::{record, settle_all, unsettled};
use super::*;
use roasd::domain::attribution::Attempt;
use roasd::domain::attribution::gap::Gap;
use roasd::domain::coverage::{Cohort, Coverage};
use roasd::domain::deal::StageValue;
use roasd::domain::ids::StageName;
use roasd::domain::invariants;
use roasd::domain::revenue::{EntryKind, FxTable, RevenueEntry, StageTable, entries_for};
use roasd::store::revenue::{ConversionRow, SettledDeal};

pub(super) fn entry(deal: &str, ad_name: Option<&str>, minor: i64, s: i64) -> RevenueEntry {
    let credit = ad_name.map(|name| credit(name, Method::UrlParam).credit);
    RevenueEntry {
        deal: deal_id(deal),
        method: credit.as_ref().map(|_| Method::UrlParam),
        confidence: if credit.is_some() { 0.7 } else { 0.0 },
        credit,
        kind: EntryKind::Stage,
        stage: Some(StageName::new("lead").unwrap()),
        amount: usd(minor),
        is_cash: false,
        occurred_at: at(s),
    }
}

pub(super) fn settled(deal: &str, revision: i64, entries: Vec<RevenueEntry>) -> SettledDeal {
    SettledDeal {
        deal: deal_id(deal),
        revision,
        attribution: Some(credit("a1", Method::UrlParam)),
        gap: None,
        attempts: vec![Attempt {
            method: Method::UrlParam,
            succeeded: true,
            confidence: 1.0,
            reason: "the click id".to_owned(),
            runners_up: vec![(ad("a2"), 0.5)],
        }],
        conversions: vec![ConversionRow {
            stage: StageName::new("lead").unwrap(),
            at: at(1),
            value: usd(100),
        }],
        entries,
        retry_at: None,
        fault: None,
    }
}

async fn settle(db: &Db, settled: &SettledDeal) -> Result<(), StoreError> {
    db.settle_deal(&acme(), settled, at(20)).await
}

/// Records a deal and gives its revision.
async fn fresh(db: &Db, id: &str) -> i64 {
    record(db, &[deal(id, "lead", 1)], 5).await;
    let found = unsettled(db, 5).await;
    found.iter().find(|(name, _)| name == id).unwrap().1
}

async fn ledger(db: &Db, id: &str) -> Vec<RevenueEntry> {
    db.deal_ledger(&acme(), &deal_id(id)).await.unwrap()
}

pub(super) async fn many_deals_are_settled_or_none(db: Db) {
    let (a, b) = (fresh(&db, "a").await, fresh(&db, "b").await);
    let of = |deal: &str, revision| settled(deal, revision, vec![entry(deal, None, 100, 1)]);
    let many = [of("a", a), of("b", b + 7)];
    assert_lost(db.settle_deals(&acme(), &many, at(20)).await);
    assert!(ledger(&db, "a").await.is_empty());
    let many = [of("a", a), of("b", b)];
    db.settle_deals(&acme(), &many, at(20)).await.unwrap();
    assert!(unsettled(&db, 21).await.is_empty());
    let ids = ["a", "b", "none"].map(deal_id);
    let found = db.deal_ledgers(&acme(), &ids).await.unwrap();
    let entries = many.into_iter().flat_map(|settled| settled.entries);
    assert_eq!(found, entries.collect::<Vec<_>>());
}

pub(super) async fn settling_writes_all_of_it(db: Db) {
    let revision = fresh(&db, "a").await;
    let entries = vec![
        entry("a", None, 100, 9),
        RevenueEntry {
            kind: EntryKind::Reversal,
            stage: None,
            is_cash: true,
            ..entry("a", Some("a1"), -50, 3)
        },
    ];
    let write = settled("a", revision, entries.clone());
    settle(&db, &write).await.unwrap();
    assert_eq!(
        ledger(&db, "a").await,
        entries,
        "in the order they were made"
    );
    let found = db.deal(&acme(), &deal_id("a")).await.unwrap().unwrap();
    assert_eq!(found.attribution, write.attribution);
    assert!(unsettled(&db, 30).await.is_empty());
}

pub(super) async fn the_last_answer_of_each_layer_is_read(db: Db) {
    let mut first = settled("d", fresh(&db, "d").await, Vec::new());
    let attempt = |method, reason: &str| Attempt {
        method,
        succeeded: false,
        confidence: 0.25,
        reason: reason.to_owned(),
        runners_up: vec![(ad("a2"), 0.125), (ad("a3"), 0.0625)],
    };
    let fingerprint = attempt(Method::Fingerprint, "a popular phone");
    first.attempts.push(fingerprint.clone());
    settle(&db, &first).await.unwrap();
    let mut second = first.clone();
    second.revision = {
        record(&db, &[deal("d", "won", 2)], 6).await;
        let found = unsettled(&db, 6).await;
        found.iter().find(|(name, _)| name == "d").unwrap().1
    };
    second.attempts = vec![attempt(Method::UrlParam, "no id")];
    db.settle_deal(&acme(), &second, at(30)).await.unwrap();
    let last = db.attempts(&acme(), &deal_id("d")).await.unwrap();
    assert_eq!(
        last,
        [
            (at(30), attempt(Method::UrlParam, "no id")),
            (at(20), fingerprint)
        ]
    );
    assert!(
        db.attempts(&acme(), &deal_id("e"))
            .await
            .unwrap()
            .is_empty()
    );
}

pub(super) async fn a_state_is_settled_once(db: Db) {
    let revision = fresh(&db, "a").await;
    let write = settled("a", revision, vec![entry("a", Some("a1"), 100, 1)]);
    settle(&db, &write).await.unwrap();
    assert_lost(settle(&db, &write).await);
    assert_eq!(ledger(&db, "a").await.len(), 1, "nothing counts twice");
    assert_lost(settle(&db, &settled("none", 1, Vec::new())).await);
}

pub(super) async fn a_newer_revision_stays_unsettled(db: Db) {
    let revision = fresh(&db, "a").await;
    record(&db, &[deal("a", "won", 2)], 6).await;
    let write = settled("a", revision, vec![entry("a", Some("a1"), 100, 1)]);
    settle(&db, &write).await.unwrap();
    assert_eq!(ledger(&db, "a").await.len(), 1, "what was written stands");
    assert_lost(settle(&db, &write).await);
    let again = unsettled(&db, 7).await;
    assert_eq!(again.len(), 1);
    assert!(again[0].1 > revision);
    settle(&db, &settled("a", again[0].1, Vec::new()))
        .await
        .unwrap();
    assert!(unsettled(&db, 8).await.is_empty());
}

pub(super) async fn a_deal_can_be_settled_again_when_its_retry_is_due(db: Db) {
    fresh(&db, "a").await;
    settle_all(&db, 6, Some(at(10))).await;
    let due = unsettled(&db, 10).await;
    let write = settled("a", due[0].1, vec![entry("a", Some("a1"), 100, 1)]);
    settle(&db, &write).await.unwrap();
    assert_lost(settle(&db, &write).await);
    assert_eq!(ledger(&db, "a").await.len(), 1);
}

/// Deal, layer and confidence of every attempt that is in the log.
pub(super) const ATTEMPTS: &str =
    "select deal_id, method, confidence from attribution_performance_log order by id";

/// No method of the store reads the log: `log` does, by [`ATTEMPTS`].
pub(super) async fn an_attempt_is_logged_when_its_answer_changed(
    db: Db,
    log: impl AsyncFn() -> Vec<(String, String, f64)>,
) {
    record(&db, &[deal("a", "lead", 1), deal("b", "lead", 1)], 5).await;
    let missed = |method, reason: &str| Attempt {
        method,
        succeeded: false,
        confidence: 0.0,
        reason: reason.to_owned(),
        runners_up: Vec::new(),
    };
    let ids = || missed(Method::UrlParam, "no id");
    let rivals = || Attempt {
        confidence: 0.4,
        runners_up: vec![(ad("2"), 0.3)],
        ..missed(Method::Fingerprint, "two ads")
    };
    let row = |deal: &str, method: Method, confidence: f64| {
        (deal.to_owned(), method.as_str().to_owned(), confidence)
    };
    let mut wanted = Vec::new();
    let mut tries = 0;
    let mut settle = async |id: &str, attempts: Vec<Attempt>, added: Vec<(String, String, f64)>| {
        tries += 1;
        let now = at(10 + tries);
        let due = unsettled(&db, 10 + tries).await;
        let (_, revision) = due.iter().find(|(deal, _)| deal == id).unwrap();
        let write = SettledDeal {
            attribution: None,
            attempts,
            retry_at: Some(now),
            ..settled(id, *revision, Vec::new())
        };
        db.settle_deal(&acme(), &write, now).await.unwrap();
        wanted.extend(added);
        assert_eq!(log().await, wanted, "try {tries}");
    };
    let first = vec![
        row("a", Method::UrlParam, 0.0),
        row("a", Method::Fingerprint, 0.4),
    ];
    settle("a", vec![ids(), rivals()], first).await;
    settle("a", vec![ids(), rivals()], Vec::new()).await;
    // Another deal's answers are its own, though they are the same.
    settle("b", vec![ids()], vec![row("b", Method::UrlParam, 0.0)]).await;
    // One layer has something new to say, and then says again what it said before that.
    let closer = Attempt {
        runners_up: vec![(ad("3"), 0.3)],
        ..rivals()
    };
    let again = || vec![row("a", Method::Fingerprint, 0.4)];
    settle("a", vec![ids(), closer], again()).await;
    settle("a", vec![ids(), rivals()], again()).await;
    settle("a", vec![ids(), rivals()], Vec::new()).await;
    let found = Attempt {
        succeeded: true,
        confidence: 1.0,
        ..ids()
    };
    settle("a", vec![found], vec![row("a", Method::UrlParam, 1.0)]).await;
}

pub(super) async fn conversions_are_updated_in_place(db: Db) {
    let revision = fresh(&db, "a").await;
    settle(&db, &settled("a", revision, Vec::new()))
        .await
        .unwrap();
    record(&db, &[deal("a", "won", 2)], 6).await;
    let again = SettledDeal {
        attribution: None,
        ..settled("a", unsettled(&db, 6).await[0].1, Vec::new())
    };
    settle(&db, &again).await.unwrap();
    let counts = Coverage::of(&coverage(&db, 0).await);
    assert_eq!((counts.credited(), counts.unattributed), (0, 1));
    let found = db.deal(&acme(), &deal_id("a")).await.unwrap().unwrap();
    assert_eq!(found.attribution, None);
}

pub(super) async fn totals_are_by_ad(db: Db) {
    let revision = fresh(&db, "a").await;
    let cash = RevenueEntry {
        is_cash: true,
        ..entry("a", Some("a1"), 1_000, 10)
    };
    let entries = vec![
        entry("a", Some("a1"), 999, 9),
        entry("a", Some("a1"), 200, 10),
        cash,
        entry("a", Some("a0"), -30, 12),
        entry("a", None, 7, 11),
    ];
    settle(&db, &settled("a", revision, entries)).await.unwrap();
    let totals = db.revenue_by_ad(&acme(), at(10)).await.unwrap();
    let plain: Vec<_> = totals
        .iter()
        .map(|(ad, t)| (ad.as_ref().map(|a| a.as_str()), t.pipeline, t.cash))
        .collect();
    assert_eq!(
        plain,
        [
            (None, usd(7), usd(0)),
            (Some("a0"), usd(-30), usd(0)),
            (Some("a1"), usd(1_200), usd(1_000)),
        ]
    );
}

async fn coverage(db: &Db, from: i64) -> Vec<Cohort> {
    let found = db.coverage(&acme(), at(from), Currency::USD).await;
    found.unwrap()
}

pub(super) async fn layers_and_gaps_are_counted(db: Db) {
    for (id, method, gap) in [
        ("a", Some(Method::UrlParam), None),
        ("b", Some(Method::Probabilistic), None),
        ("c", Some(Method::UrlParam), None),
        ("d", None, Some(Gap::NoVisit)),
        ("e", None, Some(Gap::NoVisit)),
        ("f", None, Some(Gap::TagsMissing)),
        ("gone", None, Some(Gap::NoVisit)),
    ] {
        let revision = fresh(&db, id).await;
        let in_yen = RevenueEntry {
            amount: Money::from_minor(7, Currency::JPY),
            ..entry(id, None, 0, 1)
        };
        let write = SettledDeal {
            attribution: method.map(|method| credit("a1", method)),
            gap,
            ..settled(id, revision, vec![entry(id, None, 100, 1), in_yen])
        };
        settle(&db, &write).await.unwrap();
    }
    let gone = [deal_id("gone")];
    db.record_deals(&acme(), &[], &gone, at(9)).await.unwrap();
    let cohorts = coverage(&db, 0).await;
    let told = |gap, deals, minor| (None, Some(gap), deals, usd(minor));
    let mut found: Vec<_> = cohorts
        .iter()
        .filter(|one| one.method.is_none())
        .map(|one| (one.method, one.gap, one.deals, one.value))
        .collect();
    found.sort_by_key(|one| one.1);
    assert_eq!(
        found,
        [told(Gap::TagsMissing, 1, 100), told(Gap::NoVisit, 2, 200)]
    );
    let slot = time::between(cohorts[0].at, at(0));
    assert!((time::seconds(0)..time::minutes(15)).contains(&slot));
    let counts = Coverage::of(&cohorts);
    assert_eq!((counts.url_param, counts.probabilistic), (2, 1));
    assert_eq!((counts.fingerprint, counts.unattributed), (0, 3));
    assert!(coverage(&db, 1).await.is_empty());
    // A credit closes the gap.
    record(&db, &[deal("f", "won", 2)], 12).await;
    let revision = unsettled(&db, 12).await[0].1;
    settle(&db, &settled("f", revision, Vec::new()))
        .await
        .unwrap();
    let left = coverage(&db, 0).await;
    assert!(left.iter().all(|one| one.gap != Some(Gap::TagsMissing)));
    assert_eq!(Coverage::of(&left).url_param, 3);
}

pub(super) async fn faults_are_listed(db: Db) {
    for (id, fault) in [
        ("b", Some("no rate for CHF")),
        ("a", Some("stage")),
        ("c", None),
    ] {
        let revision = fresh(&db, id).await;
        let write = SettledDeal {
            fault: fault.map(str::to_owned),
            ..settled(id, revision, Vec::new())
        };
        settle(&db, &write).await.unwrap();
    }
    let faulty = db.faulty_deals(&acme(), 10).await.unwrap();
    let wanted = [
        (deal_id("a"), "stage".to_owned()),
        (deal_id("b"), "no rate for CHF".to_owned()),
    ];
    assert_eq!(faulty, wanted);
    assert_eq!(db.faulty_deals(&acme(), 1).await.unwrap().len(), 1);
}

pub(super) async fn nothing_is_half_settled(db: Db) {
    let revision = fresh(&db, "a").await;
    let entries = vec![entry("a", None, 1, 1), entry("another", None, 1, 1)];
    let error = settle(&db, &settled("a", revision, entries))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Broken { .. }), "{error:?}");
    assert!(ledger(&db, "a").await.is_empty());
    assert_eq!(unsettled(&db, 30).await, [("a".to_owned(), revision)]);
}

pub(super) async fn stage_values_are_mirrored(db: Db) {
    let stage = |name: &str, minor| StageValue {
        name: StageName::new(name).unwrap(),
        value: usd(minor),
        confidence: 0.6,
        vendor_ids: vec![VendorStageId::new("100").unwrap()],
        is_won: false,
        is_lost: false,
    };
    for stages in [
        vec![stage("lead", 0), stage("won", 5)],
        vec![stage("won", 6)],
        Vec::new(),
    ] {
        db.record_stage_values(&acme(), &stages, at(0))
            .await
            .unwrap();
    }
}

/// INV-2 holds whatever the configuration becomes: the ledger moves by the difference.
pub(super) async fn a_deal_is_valued_anew_by_its_difference(db: Db) {
    record(&db, &[deal("a", "lead", 1)], 5).await;
    let found = db.deal(&acme(), &deal_id("a")).await.unwrap().unwrap();
    for (step, minor) in [5_000, 6_100, 0, 700].into_iter().enumerate() {
        let lead = StageValue {
            name: StageName::new("lead").unwrap(),
            value: usd(minor),
            confidence: 0.5,
            vendor_ids: Vec::new(),
            is_won: false,
            is_lost: false,
        };
        let stages = StageTable::new(vec![lead], Currency::USD).unwrap();
        if step > 0 {
            let last = db.unsettle_deals(&acme(), None, 10).await.unwrap();
            assert_eq!(last, Some(deal_id("a")));
        }
        let open = unsettled(&db, 10).await;
        let entries = entries_for(
            &found.deal,
            None,
            &ledger(&db, "a").await,
            &stages,
            &FxTable::new(Currency::USD),
            Currency::USD,
            found.deal.updated_at,
        )
        .unwrap();
        let write = SettledDeal {
            attribution: None,
            ..settled("a", open[0].1, entries)
        };
        settle(&db, &write).await.unwrap();
        let all = ledger(&db, "a").await;
        invariants::entries_sum_to_the_stage_value(&all, &deal_id("a"), usd(minor)).unwrap();
        invariants::a_stage_entry_is_valued_once(&all).unwrap();
        assert_eq!(all.len(), step + 1, "one difference for each change");
        assert!(unsettled(&db, 10).await.is_empty());
    }
}

pub(super) async fn totals_are_by_ad_and_quarter(db: Db) {
    let revision = fresh(&db, "a").await;
    let cash = RevenueEntry {
        is_cash: true,
        ..entry("a", Some("a1"), 1_000, 100)
    };
    let entries = vec![
        entry("a", Some("a1"), 999, 9),
        entry("a", Some("a1"), 200, 10),
        entry("a", Some("a1"), 30, 99),
        cash,
        entry("a", None, 7, 150),
        entry("a", None, 8, 200),
    ];
    settle(&db, &settled("a", revision, entries)).await.unwrap();
    let totals = db
        .revenue_by_ad_between(&acme(), at(10), at(200))
        .await
        .unwrap();
    let plain: Vec<_> = totals
        .iter()
        .map(|(ad, begins, t)| (ad.as_ref().map(|a| a.as_str()), *begins, t.pipeline, t.cash))
        .collect();
    assert_eq!(
        plain,
        [
            (None, at(100), usd(7), usd(0)),
            (Some("a1"), at(-800), usd(230), usd(0)),
            (Some("a1"), at(100), usd(1_000), usd(1_000)),
        ]
    );
}

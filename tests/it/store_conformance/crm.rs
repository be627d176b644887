use super::*;
use roasd::domain::deal::{Contact, ContactFacts, PipelineStage};
use roasd::store::revenue::SettledDeal;

pub(super) async fn record(db: &Db, deals: &[Deal], s: i64) -> u64 {
    db.record_deals(&acme(), deals, &[], at(s)).await.unwrap()
}

pub(super) async fn unsettled(db: &Db, s: i64) -> Vec<(String, i64)> {
    let found = db.unsettled_deals(&acme(), at(s), 100).await.unwrap();
    found
        .into_iter()
        .map(|deal| (deal.deal.id.to_string(), deal.revision))
        .collect()
}

/// Settles every unsettled deal, with nothing to write.
pub(super) async fn settle_all(db: &Db, s: i64, retry_at: Option<Timestamp>) {
    for (id, revision) in unsettled(db, s).await {
        let settled = SettledDeal {
            deal: deal_id(&id),
            revision,
            attribution: None,
            gap: None,
            attempts: Vec::new(),
            conversions: Vec::new(),
            entries: Vec::new(),
            retry_at,
            fault: None,
        };
        db.settle_deal(&acme(), &settled, at(s)).await.unwrap();
    }
}

pub(super) fn contact(id: &str, lead: &str) -> Contact {
    Contact {
        id: id.parse().unwrap(),
        facts: ContactFacts {
            meta_lead_id: Some(lead.to_owned()),
            created_at: Some(at(-5)),
            ..ContactFacts::default()
        },
        updated_at: at(0),
    }
}

pub(super) async fn asking_twice_is_asking_once(db: Db) {
    let ask = async |id: &str, s| {
        db.request_deals(&acme(), &[deal_id(id)], at(s))
            .await
            .unwrap();
    };
    ask("b", 1).await;
    ask("a", 2).await;
    ask("b", 3).await;
    let asked = db.requested_deals(&acme(), 10).await.unwrap();
    assert_eq!(asked, [deal_id("b"), deal_id("a")], "longest waiting first");
    assert_eq!(db.requested_deals(&acme(), 1).await.unwrap().len(), 1);
}

pub(super) async fn a_request_after_the_read_stays(db: Db) {
    let ids = [deal_id("a"), deal_id("b")];
    db.request_deals(&acme(), &ids, at(1)).await.unwrap();
    db.request_deals(&acme(), &ids[..1], at(6)).await.unwrap();
    // A read that began at 5 cannot know what was asked for at 6.
    record(&db, &[deal("a", "lead", 0), deal("b", "lead", 0)], 5).await;
    assert_eq!(
        db.requested_deals(&acme(), 9).await.unwrap(),
        [deal_id("a")]
    );
    record(&db, &[deal("a", "lead", 0)], 7).await;
    assert!(db.requested_deals(&acme(), 9).await.unwrap().is_empty());
}

pub(super) async fn a_deal_reads_back_with_its_stages(db: Db) {
    let plain = Deal {
        amount: None,
        history: Vec::new(),
        contacts: Vec::new(),
        created_at: at(100),
        ..deal("b", "lead", 0)
    };
    assert_eq!(
        record(&db, &[plain.clone(), deal("a", "lead", 3)], 5).await,
        2
    );
    let found = db.deal(&acme(), &deal_id("a")).await.unwrap().unwrap();
    assert_eq!(
        (found.deal, found.attribution),
        (deal("a", "lead", 3), None)
    );
    assert!(db.deal(&acme(), &deal_id("c")).await.unwrap().is_none());
    let since = db.deals_since(&acme(), at(0)).await.unwrap();
    let ids: Vec<_> = since.iter().map(|d| d.deal.id.to_string()).collect();
    assert_eq!(ids, ["a", "b"]);
    let since = db.deals_since(&acme(), at(100)).await.unwrap();
    assert_eq!(since.len(), 1);
    assert_eq!(since[0].deal, plain);
    let made = async |s| db.deals_made_since(&acme(), at(s)).await.unwrap();
    assert_eq!(made(100).await, [at(100)], "at that time too");
    let all = made(-1_000).await;
    assert!(all.len() == 2 && all.is_sorted(), "{all:?}");
    let gone = Deal {
        is_archived: true,
        ..plain
    };
    record(&db, &[gone], 6).await;
    assert!(made(100).await.is_empty(), "what is archived is none");
}

pub(super) async fn a_stage_is_kept_once_whatever_brought_it(db: Db) {
    record(&db, &[deal("a", "lead", 1)], 5).await;
    record(&db, &[deal("a", "won", 2)], 6).await;
    record(&db, &[deal("a", "won", 2)], 7).await;
    let found = db.deal(&acme(), &deal_id("a")).await.unwrap().unwrap();
    let stages: Vec<_> = found
        .deal
        .history
        .iter()
        .map(|c| c.stage.as_str())
        .collect();
    assert_eq!(stages, ["lead", "won"]);
}

pub(super) async fn only_a_difference_unsettles(db: Db) {
    let first = deal("a", "lead", 1);
    assert_eq!(record(&db, std::slice::from_ref(&first), 5).await, 1);
    settle_all(&db, 6, None).await;
    assert!(unsettled(&db, 7).await.is_empty());
    let noted = Deal {
        updated_at: at(99),
        ..first.clone()
    };
    assert_eq!(record(&db, &[first.clone(), noted], 7).await, 0);
    assert!(unsettled(&db, 8).await.is_empty());
    let other_contact = Deal {
        contacts: vec![ContactId::new("other").unwrap()],
        ..first.clone()
    };
    let dearer = Deal {
        amount: None,
        ..other_contact.clone()
    };
    let moved = Deal {
        history: deal("a", "lead", 2).history,
        ..dearer.clone()
    };
    for (n, next) in [other_contact, dearer, moved].into_iter().enumerate() {
        assert_eq!(record(&db, &[next], 10).await, 1, "{n}");
        assert_eq!(unsettled(&db, 11).await.len(), 1, "{n}");
        settle_all(&db, 11, None).await;
    }
}

pub(super) async fn an_older_read_changes_nothing(db: Db) {
    record(&db, &[deal("a", "won", 2)], 10).await;
    let older = deal("a", "lead", 1);
    assert_eq!(record(&db, &[older], 9).await, 0);
    let found = db.deal(&acme(), &deal_id("a")).await.unwrap().unwrap();
    assert_eq!(found.deal, deal("a", "won", 2));
    let gone = db.record_deals(&acme(), &[], &[deal_id("a")], at(9)).await;
    assert_eq!(gone.unwrap(), 0);
}

pub(super) async fn a_missing_deal_is_archived(db: Db) {
    record(&db, &[deal("a", "lead", 1)], 5).await;
    settle_all(&db, 6, None).await;
    let asked = [deal_id("a"), deal_id("never")];
    db.request_deals(&acme(), &asked, at(6)).await.unwrap();
    let changed = db.record_deals(&acme(), &[], &asked, at(7)).await.unwrap();
    assert_eq!(changed, 1);
    let found = db.deal(&acme(), &deal_id("a")).await.unwrap().unwrap();
    assert!(found.deal.is_archived);
    assert_eq!(unsettled(&db, 8).await.len(), 1);
    assert!(db.requested_deals(&acme(), 9).await.unwrap().is_empty());
    let again = db.record_deals(&acme(), &[], &asked, at(8)).await.unwrap();
    assert_eq!(again, 0);
}

pub(super) async fn a_contact_that_changed_unsettles_its_deals(db: Db) {
    record(&db, &[deal("a", "lead", 1), deal("b", "lead", 1)], 5).await;
    settle_all(&db, 6, None).await;
    let write = async |lead: &str, s| {
        let contacts = [contact("contact-a", lead)];
        db.record_contacts(&acme(), &contacts, at(s)).await.unwrap();
    };
    write("l1", 7).await;
    assert_eq!(unsettled(&db, 8).await[0].0, "a");
    assert_eq!(unsettled(&db, 8).await.len(), 1);
    settle_all(&db, 8, None).await;
    write("l1", 9).await;
    assert!(unsettled(&db, 9).await.is_empty(), "nothing changed");
    write("l2", 8).await;
    assert!(unsettled(&db, 9).await.is_empty(), "an older read");
    write("l2", 10).await;
    assert_eq!(unsettled(&db, 11).await.len(), 1);
}

pub(super) async fn contacts_come_in_order_of_id(db: Db) {
    let contacts = [contact("b", "1"), contact("a", "2")];
    db.record_contacts(&acme(), &contacts, at(0)).await.unwrap();
    let ids = ["b", "none", "a", "b"].map(|id| id.parse().unwrap());
    let found = db.contacts(&acme(), &ids).await.unwrap();
    assert_eq!(found, [contact("a", "2"), contact("b", "1")]);
    assert!(db.contacts(&acme(), &[]).await.unwrap().is_empty());
}

pub(super) async fn a_retry_falls_due(db: Db) {
    record(&db, &[deal("b", "lead", 1), deal("a", "lead", 1)], 5).await;
    let ids: Vec<_> = unsettled(&db, 5).await.into_iter().map(|d| d.0).collect();
    assert_eq!(ids, ["a", "b"]);
    settle_all(&db, 6, Some(at(100))).await;
    assert!(unsettled(&db, 99).await.is_empty());
    assert_eq!(unsettled(&db, 100).await.len(), 2);
    let one = db.unsettled_deals(&acme(), at(100), 1).await.unwrap();
    assert_eq!(one.len(), 1);
    settle_all(&db, 100, None).await;
    assert!(unsettled(&db, 1_000).await.is_empty());
}

pub(super) async fn pipeline_stages_are_replaced(db: Db) {
    let stage = |pipeline: &str, id: &str, order: i64| PipelineStage {
        pipeline: pipeline.parse().unwrap(),
        id: id.parse().unwrap(),
        label: format!("Label {id}"),
        order,
        is_won: id == "won",
        is_lost: false,
    };
    let first = [stage("b", "x", 0), stage("a", "won", 2), stage("a", "y", 1)];
    let write = async |stages: &[PipelineStage]| {
        db.record_pipeline_stages(&acme(), stages, at(0))
            .await
            .unwrap();
        db.pipeline_stages(&acme()).await.unwrap()
    };
    let sorted = [first[2].clone(), first[1].clone(), first[0].clone()];
    assert_eq!(write(&first).await, sorted);
    assert_eq!(write(&first[..1]).await, first[..1]);
}

pub(super) async fn settled_deals_are_unsettled_in_batches(db: Db) {
    let deals: Vec<Deal> = ["a", "b", "c", "d"].map(|id| deal(id, "lead", 0)).into();
    record(&db, &deals, 5).await;
    settle_all(&db, 6, None).await;
    // One that is unsettled already stays as it is.
    record(&db, &[deal("b", "won", 7)], 7).await;
    let waiting = unsettled(&db, 9).await;
    let next = async |after: Option<&str>| {
        let after = after.map(deal_id);
        let last = db.unsettle_deals(&acme(), after.as_ref(), 2).await;
        last.unwrap().map(|id| id.to_string())
    };
    assert_eq!(next(None).await.as_deref(), Some("b"));
    let ids = |found: Vec<(String, i64)>| found.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    let found = unsettled(&db, 9).await;
    assert!(found.contains(&waiting[0]), "{found:?} without {waiting:?}");
    assert_eq!(ids(found), ["a", "b"]);
    // Asking again changes nothing.
    let before = unsettled(&db, 9).await;
    assert_eq!(next(None).await.as_deref(), Some("b"));
    assert_eq!(unsettled(&db, 9).await, before);
    assert_eq!(next(Some("b")).await.as_deref(), Some("d"));
    assert_eq!(ids(unsettled(&db, 9).await), ["a", "b", "c", "d"]);
    assert_eq!(next(Some("d")).await, None);
    settle_all(&db, 9, None).await;
    assert!(unsettled(&db, 10).await.is_empty());
}

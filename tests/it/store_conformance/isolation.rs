use super::*;
use roasd::store::jobs::JobOutcome;
use roasd::store::tenants::{Held, TenantHolds};
use roasd::store::visits::VisitKey;

/// INV-7. Acme has something of everything; every read for Globex finds nothing, and every write
/// for Globex that names Acme's rows touches none.
pub(super) async fn nothing_of_one_tenant_is_read_for_another(db: Db) {
    let (a, g) = (acme(), globex());
    let held = Held {
        by: "cli".to_owned(),
        reason: "x".to_owned(),
        since: at(0),
    };
    let structure = entities::structure(10_000);
    db.record_structure(&a, &structure, at(0)).await.unwrap();
    db.record_structure(&a, &entities::structure(11_000), at(1))
        .await
        .unwrap();
    db.append_delivery(&a, &inbox::delivery("1"), at(0))
        .await
        .unwrap();
    db.record_visit(&a, &visits::visit("v1", 0)).await.unwrap();
    crm::record(&db, &[deal("d", "lead", 1)], 5).await;
    db.request_deals(&a, &[deal_id("e")], at(9)).await.unwrap();
    let contacts = [crm::contact("contact-d", "l")];
    db.record_contacts(&a, &contacts, at(5)).await.unwrap();
    let rows = [insights::daily("a1", 0, 5)];
    let day = insights::day(0);
    db.record_insights(&a, &rows, day, day, false, at(1))
        .await
        .unwrap();
    rest::decide(&db, &a, "r1", 1, &[("a1", "kill")]).await;
    changes::executing(&db, "x", "s1").await;
    db.propose(&proposal(&a, "y", "s2", 12_000), at(0))
        .await
        .unwrap();
    let past = [rest::past_ad("a1", "m", 1)];
    db.record_past_ads(&a, &past).await.unwrap();
    db.set_cursor(&a, "c", "1", at(0)).await.unwrap();
    let outcome = JobOutcome::Succeeded;
    db.record_job(&a, "sync", at(0), at(1), &outcome, "")
        .await
        .unwrap();
    db.freeze(&a, &ad_set("s1"), at(99), "x").await.unwrap();

    // Globex may settle nothing of Acme's, before Acme does.
    let revision = crm::unsettled(&db, 5).await[0].1;
    let entries = vec![revenue::entry("d", Some("a1"), 100, 1)];
    let write = revenue::settled("d", revision, entries);
    assert_lost(db.settle_deal(&g, &write, at(6)).await);
    db.settle_deal(&a, &write, at(6)).await.unwrap();
    let claimed = db.claim_deliveries(&g, at(1), at(60), 9).await.unwrap();
    assert!(claimed.is_empty());
    let claimed = db.claim_deliveries(&a, at(1), at(60), 9).await.unwrap();
    let nothing = roasd::store::inbox::DeliveryOutcome::default();
    assert_lost(
        db.settle_delivery(&g, claimed[0].id, 1, &nothing, at(2))
            .await,
    );
    assert_lost(
        db.quarantine_delivery(&g, claimed[0].id, 1, "x", at(2))
            .await,
    );
    assert_eq!(db.claim_change(&g, at(1), at(60)).await.unwrap(), None);
    let settled = changes::completed();
    assert_lost(
        db.settle_change(&g, &change_id("x"), 1, &settled, at(3))
            .await,
    );
    db.claim_change(&a, at(1), at(60)).await.unwrap().unwrap();
    let value = budget(12_000);
    assert_lost(
        db.mark_executing(&g, &change_id("y"), 1, value, value, at(2))
            .await,
    );
    assert_eq!(db.expire_changes(&g, at(999_999)).await.unwrap(), 0);
    db.pause(Some(&a), &held).await.unwrap();

    assert!(db.audit_lines(&g, 0, 99).await.unwrap().is_empty());
    assert!(
        db.audit_of_change(&g, &change_id("x"))
            .await
            .unwrap()
            .is_empty()
    );
    assert!(db.executing_changes(&g).await.unwrap().is_empty());
    assert_eq!(db.next_due(&g).await.unwrap(), None);
    assert!(db.past_actions(&g, at(-99)).await.unwrap().is_empty());
    assert!(db.change_counts(&g).await.unwrap().is_empty());
    assert!(db.requested_deals(&g, 9).await.unwrap().is_empty());
    let ids = ["contact-d".parse().unwrap()];
    assert!(db.contacts(&g, &ids).await.unwrap().is_empty());
    assert!(db.unsettled_deals(&g, at(99), 9).await.unwrap().is_empty());
    assert!(db.deal(&g, &deal_id("d")).await.unwrap().is_none());
    assert!(db.deals_since(&g, at(-99)).await.unwrap().is_empty());
    assert!(db.deals_made_since(&g, at(-99)).await.unwrap().is_empty());
    assert!(db.pipeline_stages(&g).await.unwrap().is_empty());
    assert!(db.latest_decisions(&g).await.unwrap().is_empty());
    assert_eq!(db.latest_run_at(&g).await.unwrap(), None);
    assert!(db.ads_put_aside(&g).await.unwrap().is_empty());
    assert!(db.structure(&g).await.unwrap().is_none());
    assert!(db.budget_moves(&g, at(-99)).await.unwrap().is_empty());
    assert!(db.first_budgets(&g).await.unwrap().is_empty());
    assert!(db.quarantined(Some(&g), 9).await.unwrap().is_empty());
    assert_eq!(db.inbox_depth(&g).await.unwrap(), Default::default());
    assert!(db.daily_insights(&g, day).await.unwrap().is_empty());
    assert!(db.hourly_insights(&g, day).await.unwrap().is_empty());
    assert_eq!(db.insights_watermark(&g).await.unwrap(), None);
    assert!(db.spend_by_day(&g, day).await.unwrap().is_empty());
    assert!(db.spend_by_hour(&g, day).await.unwrap().is_empty());
    assert!(db.job_status(&g).await.unwrap().is_empty());
    assert_eq!(db.cursor(&g, "c").await.unwrap(), None);
    assert!(db.deal_ledger(&g, &deal_id("d")).await.unwrap().is_empty());
    assert!(db.attempts(&g, &deal_id("d")).await.unwrap().is_empty());
    assert!(db.revenue_by_ad(&g, at(-99)).await.unwrap().is_empty());
    let coverage = db.coverage(&g, at(-99), Currency::USD).await;
    assert!(coverage.unwrap().is_empty());
    assert!(db.faulty_deals(&g, 9).await.unwrap().is_empty());
    assert!(db.learned_stages(&g).await.unwrap().is_empty());
    assert!(db.reliability(&g).await.unwrap().is_empty());
    assert_eq!(db.newest_delivery(&g).await.unwrap(), None);
    assert_eq!(db.holds(&g).await.unwrap(), TenantHolds::default());
    assert!(db.frozen(&g, at(0)).await.unwrap().is_empty());
    let visit = visits::visit("v1", 0);
    assert!(db.visit(&g, &visit.id).await.unwrap().is_none());
    let key = VisitKey::Fbclid("IwAR1".to_owned());
    let lookups = [visits::lookup(key, -9, 9)];
    let found = db.clicks_by(&g, &lookups, 9).await.unwrap();
    assert_eq!(found, [[]]);
    let ids = std::slice::from_ref(&visit.id);
    assert!(db.visits(&g, ids).await.unwrap().is_empty());
    let found = db.visits_between(&g, at(-9), at(9), 9).await.unwrap();
    assert!(found.is_empty());
    assert!(db.past_ads(&g, "m").await.unwrap().is_empty());

    // The same ids of Globex's own are other things.
    db.record_structure(&g, &entities::structure(7), at(0))
        .await
        .unwrap();
    assert!(db.record_visit(&g, &visit).await.unwrap());
    let kept = db.append_delivery(&g, &inbox::delivery("1"), at(0)).await;
    assert_eq!(kept.unwrap(), roasd::store::inbox::Appended::New);
    db.record_deals(&g, &[deal("d", "won", 2)], &[], at(5))
        .await
        .unwrap();
    let mine = db.deal(&a, &deal_id("d")).await.unwrap().unwrap();
    assert_eq!(mine.deal, deal("d", "lead", 1));
    let mine = db.structure(&a).await.unwrap().unwrap().0;
    assert_eq!(mine, entities::structure(11_000));
}

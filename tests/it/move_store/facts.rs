//! What a daemon wrote is read the same on both sides, by the traits that the daemon reads it by.

use std::process::Command;
use std::sync::Arc;

use roasd::domain::money::Currency;
use roasd::store::Store;
use roasd::store::changes::ChangeFilter;
use roasd::store::{open, open_existing};

use super::*;
use crate::support::ALL;

/// All that the daemon asks of a store about a tenant, as text.
async fn facts(store: &dyn Store, tenant: &TenantId) -> Vec<String> {
    let start = time::from_seconds(0);
    let first_day = time::parse_date("2020-01-01").unwrap();
    let filter = ChangeFilter {
        tenant: Some(tenant.clone()),
        limit: ALL,
        ..ChangeFilter::default()
    };
    let past_ads = async {
        let mut all = Vec::new();
        for model in ["default", "hashed-ngrams-1"] {
            all.extend(store.past_ads(tenant, model).await?);
        }
        Ok::<_, roasd::store::StoreError>(all)
    };
    macro_rules! told {
        ($($question:expr),+ $(,)?) => {
            vec![$(format!("{}: {:?}", stringify!($question), $question.await.unwrap())),+]
        };
    }
    told![
        store.holds(tenant),
        store.audit_lines(tenant, 0, ALL),
        store.changes(&filter),
        store.change_counts(tenant),
        store.executing_changes(tenant),
        store.next_due(tenant),
        store.past_actions(tenant, start),
        store.latest_decisions(tenant),
        store.latest_run_at(tenant),
        store.ads_put_aside(tenant),
        store.structure(tenant),
        store.first_budgets(tenant),
        store.budget_moves(tenant, start),
        store.daily_insights(tenant, first_day),
        store.hourly_insights(tenant, first_day),
        store.insights_watermark(tenant),
        store.spend_by_day(tenant, first_day),
        store.deals_since(tenant, start),
        store.requested_deals(tenant, ALL),
        store.revenue_by_ad(tenant, start),
        store.coverage(tenant, start, Currency::USD),
        store.faulty_deals(tenant, ALL),
        store.job_status(tenant),
        store.inbox_depth(tenant),
        store.quarantined(Some(tenant), ALL),
        store.models(),
        store.load_gate(),
        past_ads,
    ]
}

#[tokio::test]
async fn the_daemon_reads_the_same_facts_on_both() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Command::new(env!("CARGO_BIN_EXE_roasd"))
        .args(["demo", "--json", "--days", "1", "--seed", "7", "--dir"])
        .arg(dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(demo.status.success(), "{demo:?}");
    let file = File { dir };
    let target = Database::empty().await;
    let (code, report, complaint) = run(&file.path(), target.url(), &[]);
    assert_eq!(code, 0, "{complaint} {report:#}");

    let before = open_existing(file.path().to_str().unwrap()).await.unwrap();
    let after: Arc<dyn Store> = open(target.url()).await.unwrap();
    let tenants = before.tenants().await.unwrap();
    assert_eq!(tenants.len(), 3);
    assert_eq!(after.tenants().await.unwrap(), tenants);
    for tenant in &tenants {
        let (before, after) = (facts(&*before, tenant).await, facts(&*after, tenant).await);
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before, after, "{tenant}");
        }
        // The facts are some.
        assert!(before.iter().map(String::len).sum::<usize>() > 20_000);
    }
    before.close().await;
    after.close().await;
}

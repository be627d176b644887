//! `coverage`, `stages` and `doctor` over what a daemon has really gathered: they agree with each other
//! and with the store.

use std::sync::Arc;

use roasd::cli::coverage::{self, CoverageArgs};
use roasd::cli::doctor::{self, DoctorArgs};
use roasd::cli::stages::{self, StagesArgs};
use roasd::cli::{CliContext, Exit};
use roasd::clock::Clock as _;
use roasd::domain::time;
use serde_json::Value;

use crate::support::{World, tenant};

fn context(world: &World, json: bool) -> CliContext {
    CliContext {
        config: world.config().clone(),
        store: world.store(),
        clock: Arc::new(world.clock.clone()),
        json,
        is_terminal: false,
    }
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no count"))
}

fn sum(of: &Value, key: &str) -> u64 {
    let of = of.as_array().unwrap();
    of.iter().map(|one| number(&one[key])).sum()
}

async fn shown(world: &World, json: bool) -> (String, String) {
    let ctx = context(world, json);
    let gym = Some(tenant("gym"));
    let (mut covered, mut valued) = (Vec::new(), Vec::new());
    let args = CoverageArgs {
        tenant: gym.clone(),
        days: 14,
    };
    let exit = coverage::run(&args, &ctx, &mut covered).await.unwrap();
    assert_eq!(exit, Exit::Done);
    let exit = stages::run(&StagesArgs { tenant: gym }, &ctx, &mut valued).await;
    assert_eq!(exit.unwrap(), Exit::Done);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(covered), text(valued))
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_agree_with_what_the_daemon_gathered() {
    let world = World::new(23).await;
    world.run_to(time::days(8)).await;
    let (store, gym) = (world.store(), tenant("gym"));
    let all = store
        .deals_since(&gym, time::from_seconds(0))
        .await
        .unwrap();
    let recent = time::sub(world.clock.now(), time::days(8));
    let all: Vec<_> = all
        .into_iter()
        .filter(|deal| !deal.deal.is_archived && deal.deal.created_at >= recent)
        .collect();
    let uncredited = all.iter().filter(|deal| deal.attribution.is_none());

    let (covered, valued) = shown(&world, true).await;
    let covered: Value = serde_json::from_str(&covered).unwrap();
    let covered = &covered["tenants"][0];
    let total = &covered["total"];
    assert!(
        number(&total["conversions"]) >= all.len() as u64,
        "{covered}"
    );
    assert!(number(&total["unattributed"]) >= uncredited.count() as u64);
    for key in [
        "conversions",
        "url_param",
        "fingerprint",
        "probabilistic",
        "unattributed",
    ] {
        assert_eq!(sum(&covered["days"], key), number(&total[key]), "{key}");
    }
    assert_eq!(
        sum(&covered["gaps"], "deals"),
        number(&total["unattributed"])
    );
    let gaps = covered["gaps"].as_array().unwrap();
    assert!(gaps.iter().all(|gap| !gap["gap"].is_null()), "{covered}");
    assert!(covered["by_meta"].as_f64().unwrap() > 0.0, "{covered}");

    // What the guard goes by is in the gauges.
    let (_, metrics) = world.get("/metrics").await;
    let gauge = metrics
        .lines()
        .find(|line| line.starts_with("roasd_coverage_conversions{") && line.contains("\"none\""));
    assert!(gauge.is_some(), "{metrics}");

    // The night has put beside the configuration what the command tells.
    let valued: Value = serde_json::from_str(&valued).unwrap();
    let stages = valued["tenants"][0]["stages"].as_array().unwrap();
    assert!(stages.len() >= 4, "{valued}");
    let lead = &stages[0];
    assert!(number(&lead["deals"]) >= number(&stages[1]["deals"]));
    let kept = store.learned_stages(&gym).await.unwrap();
    assert_eq!(kept.len(), stages.len());
    let (of_lead, _) = kept
        .iter()
        .find(|(s, _)| s.stage.as_str() == "lead")
        .unwrap();
    assert!(of_lead.deals > 0 && of_lead.deals <= number(&lead["deals"]));

    let (covered, valued) = shown(&world, false).await;
    for (text, words) in [
        (&covered, ["of Meta's", "what to do"]),
        (&valued, ["configured", "9 in 10 between"]),
    ] {
        for word in words {
            assert!(text.contains(word), "{word:?} is not in {text}");
        }
    }
    let mut out = Vec::new();
    let args = DoctorArgs {
        tenant: Some(gym),
        offline: true,
    };
    let exit = doctor::run(&args, &context(&world, true), &mut out).await;
    let told: Value = serde_json::from_slice(&out).unwrap();
    let findings = told["tenants"][0]["findings"].as_array().unwrap();
    let is_wrong = findings.iter().any(|one| one["severity"] == "wrong");
    let expected = if is_wrong { Exit::Failed } else { Exit::Done };
    assert_eq!(exit.unwrap(), expected, "{told}");
    // A world that is fed by webhooks and syncs has neither of these.
    let kinds: Vec<&str> = findings
        .iter()
        .map(|one| one["kind"].as_str().unwrap())
        .collect();
    for kind in [
        "stale_insights",
        "stale_crm",
        "webhooks_silent",
        "stage_unmapped",
    ] {
        assert!(!kinds.contains(&kind), "{told}");
    }
    drop(store);
    world.finish().await;
}

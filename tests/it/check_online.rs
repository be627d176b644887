//! `roasd check --online` against both vendors: what is good is said to be, what is wrong is named
//! with its remedy, and nothing is written.

use std::sync::Arc;

use roasd::cli::Exit;
use roasd::cli::check::{self, CheckArgs};
use roasd::cli::demo::{Settings, write_config};
use roasd::clock::{Clock, SystemClock};
use roasd::config::Environment;
use roasd::domain::time;
use roasd::sandbox::{Fault, FaultAction, Journal, Sandbox, SandboxConfig, Vendor};

/// Runs the check on the sandbox's own configuration, changed by `edit`; how it ended, and what it
/// found as JSON.
async fn found(
    faults: Vec<Fault>,
    edit: impl Fn(String) -> String,
    tenant: Option<&str>,
) -> (Exit, serde_json::Value) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let mut vendors = SandboxConfig::demo(dir.path(), 7);
    vendors.faults = faults;
    // The second day, so that there is a yesterday with figures.
    let begin = time::add(vendors.start, time::hours(30));
    let anchor = SystemClock::real().now();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::scaled(1.0, begin, anchor));
    let sandbox = Sandbox::start(vendors, clock).await.unwrap();
    let settings = Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        clock: Some((1.0, begin, anchor)),
        poll: time::minutes(30),
    };
    let file = write_config(dir.path(), &sandbox, &settings).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let edited = edit(text.clone());
    std::fs::write(&file, edited).unwrap();
    let args = CheckArgs {
        json: true,
        online: true,
        tenant: tenant.map(str::to_owned),
        ..CheckArgs::default()
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = check::run(
        &args,
        Some(&file),
        &Environment::empty(),
        &mut out,
        &mut err,
    )
    .await
    .unwrap();
    sandbox.stop().await;
    let writes = Journal::accepted_writes(&Journal::path(dir.path())).unwrap();
    assert!(writes.is_empty(), "nothing is written: {writes:?}");
    let out = String::from_utf8(out).unwrap();
    for secret in ["EAAB-sandbox", "pat-na1-sandbox", "sandbox-app-secret"] {
        assert!(!out.contains(secret), "{out}");
    }
    let found = serde_json::from_str(&out)
        .unwrap_or_else(|_| panic!("{out}{}", String::from_utf8_lossy(&err)));
    (exit, found)
}

/// The point of this name, of the gym.
#[track_caller]
fn point<'a>(found: &'a serde_json::Value, what: &str) -> &'a serde_json::Value {
    found["tenants"]["gym"]
        .as_array()
        .unwrap()
        .iter()
        .find(|point| point["what"] == what)
        .unwrap_or_else(|| panic!("no point {what}: {found:#}"))
}

#[track_caller]
fn assert_point(found: &serde_json::Value, what: &str, standing: &str, words: &[&str]) {
    let point = point(found, what);
    assert_eq!(point["standing"], standing, "{point:#}");
    let told = format!("{} {}", point["found"], point["remedy"]);
    for word in words {
        assert!(told.contains(word), "{word}: {told}");
    }
}

#[tokio::test]
async fn a_sound_set_up_is_good_throughout() {
    let (exit, found) = found(Vec::new(), |text| text, None).await;
    assert_eq!(exit, Exit::Done, "{found:#}");
    for tenant in ["gym", "shop", "clinic"] {
        for point in found["tenants"][tenant].as_array().unwrap() {
            assert_eq!(point["standing"], "good", "{tenant}: {point:#}");
        }
    }
    assert_point(&found, "Meta token", "good", &["ads_management"]);
    assert_point(&found, "ad account", "good", &["USD"]);
    assert_point(&found, "figures", "good", &["ads delivered on"]);
    assert_point(&found, "budgets", "good", &["cap", "roasd would move"]);
}

#[tokio::test]
async fn a_token_without_the_right_to_write_is_named() {
    let limit = Fault {
        path: None,
        method: None,
        ..Fault::next(
            Vendor::Meta,
            "GET",
            "",
            FaultAction::LimitScopes {
                scopes: vec!["ads_read".to_owned()],
            },
        )
    };
    let observe = |text: String| {
        text.replace(
            "name = \"Iron Street Gym\"\nautonomy = \"auto\"",
            "name = \"Iron Street Gym\"\nautonomy = \"observe\"",
        )
    };
    let (exit, told) = found(vec![limit.clone()], |text| text, Some("gym")).await;
    assert_eq!(exit, Exit::Failed);
    assert_point(&told, "Meta token", "bad", &["grant", "ads_management"]);
    // Who only watches needs it later.
    let (exit, told) = found(vec![limit], observe, Some("gym")).await;
    assert_eq!(exit, Exit::Done, "{told:#}");
    assert_point(&told, "Meta token", "doubtful", &["before autonomy leaves"]);
}

#[tokio::test]
async fn a_revoked_token_is_named_and_the_others_are_asked() {
    // The first call on behalf of a tenant is of the first one, in order of names: the clinic's.
    let revoke = Fault::next(Vendor::Meta, "GET", "act_", FaultAction::RevokeToken);
    let (exit, told) = found(vec![revoke], |text| text, None).await;
    assert_eq!(exit, Exit::Failed);
    let bad: Vec<_> = ["gym", "shop", "clinic"]
        .into_iter()
        .filter(|tenant| {
            let points = told["tenants"][tenant].as_array().unwrap();
            points.iter().any(|point| point["standing"] == "bad")
        })
        .collect();
    assert_eq!(bad, ["clinic"], "{told:#}");
    let token = &told["tenants"]["clinic"][0];
    assert_eq!(token["what"], "Meta token");
    assert!(token["remedy"].as_str().unwrap().contains("new token"));
}

#[tokio::test]
async fn what_does_not_fit_the_account_is_named_with_its_remedy() {
    let wrong = |text: String| {
        let (head, gym) = text.split_once("[tenants.gym]").unwrap();
        let (gym, tail) = gym.split_once("[tenants.shop]").unwrap();
        let gym = gym
            .replace("currency = \"USD\"", "currency = \"EUR\"")
            .replace("pipelines = [\"", "pipelines = [\"elsewhere-")
            .replace("hubspot_stage = \"", "hubspot_stage = \"not-");
        format!("{head}[tenants.gym]{gym}[tenants.shop]{tail}")
    };
    let (exit, told) = found(Vec::new(), wrong, Some("gym")).await;
    assert_eq!(exit, Exit::Failed);
    assert_point(
        &told,
        "ad account",
        "bad",
        &["bills in USD", "tenants.gym.currency"],
    );
    assert_point(
        &told,
        "pipelines",
        "bad",
        &["no pipeline elsewhere-", "tenants.gym.hubspot.pipelines"],
    );
    assert_point(&told, "stages", "bad", &["hubspot_stage"]);
}

#[tokio::test]
async fn budgets_above_the_cap_are_pointed_out() {
    let low = |text: String| {
        let (head, gym) = text.split_once("[tenants.gym]").unwrap();
        let at = gym.find("daily_cap = \"").unwrap() + "daily_cap = \"".len();
        let end = at + gym[at..].find('"').unwrap();
        format!("{head}[tenants.gym]{}50.00{}", &gym[..at], &gym[end..])
    };
    let (exit, told) = found(Vec::new(), low, Some("gym")).await;
    assert_eq!(exit, Exit::Done);
    assert_point(
        &told,
        "budgets",
        "doubtful",
        &["cap 50.00 USD", "daily_cap"],
    );
}

#[tokio::test]
async fn a_vendor_that_answers_with_a_page_is_told_as_it_is() {
    let html = Fault {
        times: 0,
        path: None,
        ..Fault::next(Vendor::Hubspot, "GET", "", FaultAction::Html)
    };
    let (exit, told) = found(vec![html], |text| text, Some("gym")).await;
    assert_eq!(exit, Exit::Failed);
    assert_point(&told, "HubSpot", "bad", &["hubspot.base_url"]);
}

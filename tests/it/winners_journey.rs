//! A new ad's prior, by way of the daemon's own stages: what past ads brought is recorded by the
//! winners stage, judged, and reaches the decision that the optimizer stores.

use std::sync::Arc;
use std::time::Duration;

use roasd::actors::context::{Blueprint, Context, TenantSettings};
use roasd::actors::lease::{Lease, LeaseSlot};
use roasd::actors::optimizer::OptimizerWork;
use roasd::actors::stage::{Progress, Work as _};
use roasd::actors::winners::WinnersWork;
use roasd::clock::{Clock, SteppedClock, since_boot};
use roasd::config::{Config, Environment};
use roasd::daemon::Parts;
use roasd::domain::attribution::{Attribution, Credit, Method};
use roasd::domain::deal::{Deal, StageChange};
use roasd::domain::ids::{
    AdAccountId, AdId, AdSetId, CampaignId, DealId, NodeId, PipelineId, StageName, TenantId,
    VendorStageId,
};
use roasd::domain::insight::{AdInsight, ReportWindow};
use roasd::domain::money::{Currency, Money};
use roasd::domain::policy::{PolicyInputs, RoasdPolicy};
use roasd::domain::posterior;
use roasd::domain::revenue::{EntryKind, RevenueEntry};
use roasd::domain::structure::{
    Account, AccountStatus, Ad, AdSet, Budget, Campaign, Creative, EffectiveStatus, RunStatus,
    Structure,
};
use roasd::domain::time::{self, TimeZone, Timestamp};
use roasd::store::Store;
use roasd::store::decisions::inputs_from_json;
use roasd::store::nodes::NodeInfo;
use roasd::store::revenue::SettledDeal;
use roasd::store::sqlite::{OpenOptions, SqliteStore};
use roasd::vendors::embedder::Embedder as _;
use roasd::vendors::embedder::lexical::Lexical;
use roasd::vendors::meta::client::{MetaClient, MetaClientConfig};
use roasd::vendors::meta::throttle::{GateConfig, MetaGate};
use secrecy::SecretString;

use crate::support::tenant;

const CONFIG: &str = r#"
[tenants.gym]
name = "Gym"
mode = "pipeline"
currency = "USD"
meta = { ad_account = "act_1", access_token = { env = "TOKEN" } }
hubspot = { portal_id = 1, access_token = { env = "TOKEN" }, pipelines = ["default"] }
budget = { daily_cap = "1000.00" }
[tenants.gym.stages]
lead = { value = "100.00", confidence = 0.3, hubspot_stage = "first" }
closed_won = { value = "1000.00", confidence = 1.0, hubspot_stage = "won" }
"#;

const OLD: usize = 24;
const LEADS: [usize; 2] = [10, 1];

fn usd(main: i64) -> Money {
    Money::from_minor(main * 100, Currency::USD)
}

fn ad(n: usize) -> AdId {
    AdId::new((700 + n).to_string()).unwrap()
}

fn set() -> AdSetId {
    AdSetId::new("500").unwrap()
}

fn campaign() -> CampaignId {
    CampaignId::new("300").unwrap()
}

/// Two themes in turn; the last two ads are new, one of each.
fn says(n: usize) -> Creative {
    let (title, body) = if n.is_multiple_of(2) {
        ("Free trial week", "Come to a class with your coach")
    } else {
        ("Huge discount today", "Pay less, last chance for members")
    };
    Creative {
        title: format!("{title}, group {n}"),
        body: body.to_owned(),
        call_to_action: "SIGN_UP".to_owned(),
        ..Creative::default()
    }
}

fn structure(now: Timestamp) -> Structure {
    let days_ago = |days: i64| time::sub(now, time::days(days));
    let old = days_ago(60);
    let campaign_of = Campaign {
        id: campaign(),
        name: "Leads".to_owned(),
        status: RunStatus::Active,
        effective: EffectiveStatus("ACTIVE".to_owned()),
        budget: Budget::None,
        objective: "OUTCOME_LEADS".to_owned(),
        shares_budgets: false,
        has_budget_schedule: false,
        smart_promotion: None,
        created_at: old,
        updated_at: old,
    };
    let ad_set = AdSet {
        id: set(),
        campaign: campaign(),
        name: "Everybody".to_owned(),
        status: RunStatus::Active,
        effective: EffectiveStatus("ACTIVE".to_owned()),
        budget: Budget::Daily(usd(100)),
        learning: None,
        created_at: old,
        updated_at: old,
    };
    let ads = (0..OLD + 2).map(|n| {
        let made = if n < OLD { old } else { days_ago(1) };
        Ad {
            id: ad(n),
            ad_set: set(),
            campaign: campaign(),
            name: format!("Ad {n}"),
            status: RunStatus::Active,
            effective: EffectiveStatus("ACTIVE".to_owned()),
            creative: says(n),
            created_at: made,
            updated_at: made,
        }
    });
    Structure {
        account: Account {
            id: AdAccountId::new("act_1").unwrap(),
            name: "Gym".to_owned(),
            status: AccountStatus::Active,
            currency: Currency::USD,
            time_zone_name: "UTC".to_owned(),
            min_daily_budget: Some(usd(1)),
        },
        campaigns: [(campaign(), campaign_of)].into(),
        ad_sets: [(set(), ad_set)].into(),
        ads: ads.map(|ad| (ad.id.clone(), ad)).collect(),
    }
}

/// The gym with what its old ads brought: `leads` says how many of ad `n`.
struct Gym {
    clock: SteppedClock,
    store: Arc<dyn Store>,
    context: Arc<Context>,
    _dir: tempfile::TempDir,
}

impl Gym {
    async fn new(leads: impl Fn(usize) -> usize) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("roasd.db");
        let store = SqliteStore::open(file.to_str().unwrap(), OpenOptions::default());
        let store: Arc<dyn Store> = Arc::new(store.await.unwrap());
        let now: Timestamp = "2026-10-20T08:00:00Z".parse().unwrap();
        let gym = tenant("gym");
        store.ensure_tenant(&gym, "Gym", now).await.unwrap();
        store
            .record_structure(&gym, &structure(now), now)
            .await
            .unwrap();
        let today = time::day_of(now, &TimeZone::UTC);
        let rows: Vec<AdInsight> = (0..OLD)
            .flat_map(|n| (11..=20).map(move |back| (n, back)))
            .map(|(n, back)| AdInsight {
                ad: ad(n),
                ad_set: set(),
                campaign: campaign(),
                window: ReportWindow::Day(time::add_days(today, -back)),
                impressions: 3_000,
                clicks: 60,
                spend: usd(20),
                reach: None,
                actions: Vec::new(),
            })
            .collect();
        store
            .record_insights(&gym, &rows, time::add_days(today, -20), today, false, now)
            .await
            .unwrap();
        let of: Vec<usize> = (0..OLD)
            .flat_map(|n| std::iter::repeat_n(n, leads(n)))
            .collect();
        record_leads(store.as_ref(), &gym, &of, now).await;
        let clock = SteppedClock::new(now);
        let context = context(&store, &clock, now).await;
        Self {
            clock,
            store,
            context,
            _dir: dir,
        }
    }

    /// What the optimizer decides by, by the record of its decision.
    async fn decided(&self) -> PolicyInputs {
        let mut optimizer = OptimizerWork::new(self.context.clone());
        assert!(optimizer.look().await.is_ok());
        let gym = tenant("gym");
        let decision = &self.store.latest_decisions(&gym).await.unwrap()[0];
        assert_eq!(decision.at, self.clock.now());
        let found = self.store.decision(decision.id.as_str()).await.unwrap();
        inputs_from_json(&found.unwrap().1.inputs_json).unwrap()
    }
}

async fn record_leads(store: &dyn Store, gym: &TenantId, of: &[usize], now: Timestamp) {
    let at = time::sub(now, time::days(15));
    let stage = VendorStageId::new("first").unwrap();
    let id = |place: usize| DealId::new((9_000 + place).to_string()).unwrap();
    let deals: Vec<Deal> = (0..of.len())
        .map(|place| Deal {
            id: id(place),
            name: String::new(),
            pipeline: PipelineId::new("default").unwrap(),
            stage: stage.clone(),
            amount: None,
            history: vec![StageChange {
                at,
                stage: stage.clone(),
            }],
            contacts: Vec::new(),
            created_at: at,
            updated_at: at,
            is_archived: false,
        })
        .collect();
    store.record_deals(gym, &deals, &[], now).await.unwrap();
    let unsettled = store.unsettled_deals(gym, now, 10_000).await.unwrap();
    assert_eq!(unsettled.len(), of.len());
    let settled: Vec<SettledDeal> = unsettled
        .iter()
        .map(|deal| {
            let place: usize = deal.deal.id.as_str().parse().unwrap();
            let credit = Credit {
                ad: ad(of[place - 9_000]),
                ad_set: Some(set()),
                campaign: Some(campaign()),
            };
            SettledDeal {
                deal: deal.deal.id.clone(),
                revision: deal.revision,
                attribution: Some(Attribution {
                    method: Method::UrlParam,
                    confidence: 1.0,
                    credit: credit.clone(),
                    visit: None,
                    clicked_at: Some(at),
                    reason: "the click id".to_owned(),
                }),
                gap: None,
                attempts: Vec::new(),
                conversions: Vec::new(),
                entries: vec![RevenueEntry {
                    deal: deal.deal.id.clone(),
                    credit: Some(credit),
                    method: Some(Method::UrlParam),
                    confidence: 1.0,
                    kind: EntryKind::Stage,
                    stage: Some(StageName::new("lead").unwrap()),
                    amount: usd(100),
                    is_cash: false,
                    occurred_at: at,
                }],
                retry_at: None,
                fault: None,
            }
        })
        .collect();
    store.settle_deals(gym, &settled, now).await.unwrap();
}

fn settings() -> TenantSettings {
    let environment = Environment::from([("TOKEN", "EAAB-token")]);
    let config = Config::from_text("config.toml", CONFIG, &environment)
        .unwrap_or_else(|faults| panic!("{faults}"));
    Parts::of(&config).unwrap().tenants[&tenant("gym")]
        .settings
        .clone()
}

async fn context(store: &Arc<dyn Store>, clock: &SteppedClock, now: Timestamp) -> Arc<Context> {
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let gate = Arc::new(MetaGate::new(GateConfig::default(), shared.clone()));
    // Neither stage asks Meta anything: nobody listens there.
    let config = MetaClientConfig {
        base_url: "http://127.0.0.1:9".to_owned(),
        api_version: "v25.0".to_owned(),
        ad_account: AdAccountId::new("act_1").unwrap(),
        token: SecretString::from("EAAB-token"),
        app_id: None,
        app_secret: None,
        timeout: Duration::from_secs(1),
    };
    let http = roasd::vendors::http_client(Duration::from_secs(1)).unwrap();
    let meta = MetaClient::new(config, gate.clone(), shared.clone(), http).unwrap();
    let node = NodeId::new("n1").unwrap();
    let info = NodeInfo {
        id: node.clone(),
        host: "here".to_owned(),
        version: "1".to_owned(),
    };
    store.register_node(&info, now).await.unwrap();
    let ours = [tenant("gym")];
    let claims = store.claim_leases(&node, &ours, time::days(30), now);
    let claim = claims.await.unwrap().remove(0);
    let far = since_boot() + Duration::from_secs(3_600);
    let blueprint = Blueprint {
        tenant: settings(),
        meta: Arc::new(meta),
        gate,
        hubspot: None,
        clock: shared,
        embedder: Arc::new(Lexical),
        policy: &RoasdPolicy,
        seed: 1,
        pause_file: None,
        links_folder: None,
        rehearsed_panic: None,
        call_timeout: Duration::from_secs(1),
        slot: Arc::new(LeaseSlot::default()),
    };
    let lease = Arc::new(Lease::until(far, Timestamp::MIN));
    blueprint.context(store.fenced(claim.fence), lease)
}

/// The look-alike factor of the first stage of each new ad: the one that offers a trial, and the one
/// that offers a discount.
fn factors(inputs: &PolicyInputs) -> [f64; 2] {
    let mut ads: Vec<_> = inputs.ads.iter().collect();
    ads.sort_by(|a, b| a.ad.cmp(&b.ad));
    let beliefs = posterior::believe(inputs, &ads, &inputs.params);
    [OLD, OLD + 1].map(|n| {
        let place = ads.iter().position(|evidence| evidence.ad == ad(n));
        let belief = &beliefs.ads[place.unwrap()];
        let factor = belief.look_alike[0];
        let prior = belief.family[0] * factor;
        assert!((belief.prior[0] - prior).abs() < 1e-9, "{belief:?}");
        factor
    })
}

#[tokio::test]
async fn what_past_ads_brought_moves_the_prior_of_a_new_ad() {
    let gym = Gym::new(|n| LEADS[n % 2]).await;
    assert_eq!(factors(&gym.decided().await), [1.0, 1.0], "not yet looked");

    let mut winners = WinnersWork::new(gym.context.clone());
    assert!(matches!(winners.look().await, Ok(Progress::Advanced)));
    let past = gym.store.past_ads(&tenant("gym"), Lexical.model()).await;
    let past = past.unwrap();
    assert_eq!(past.len(), OLD + 2);
    for known in &past {
        let is_old = known.ad < ad(OLD);
        assert_eq!(known.is_mature, is_old, "{}", known.ad);
        let sold_well = is_old && known.pipeline == usd(1_000);
        assert_eq!(known.is_winner, sold_well, "{}", known.ad);
    }
    assert_eq!(past.iter().filter(|known| known.is_winner).count(), OLD / 2);

    gym.clock.advance(time::days(2)).await;
    let [trial, discount] = factors(&gym.decided().await);
    assert!(trial > 1.3, "{trial}");
    assert!(discount < 0.7, "{discount}");

    // Nothing new: the same look-alikes, and nothing is written.
    assert!(
        matches!(winners.look().await, Ok(Progress::Advanced)),
        "a day later all is looked at"
    );
    assert!(matches!(winners.look().await, Ok(Progress::Idle)));
}

#[tokio::test]
async fn where_texts_foretell_nothing_the_prior_stays() {
    // Half of each theme does well: what an ad says tells nothing of what it brings.
    let gym = Gym::new(|n| LEADS[n / 2 % 2]).await;
    let mut winners = WinnersWork::new(gym.context.clone());
    assert!(matches!(winners.look().await, Ok(Progress::Advanced)));
    let inputs = gym.decided().await;
    let new = inputs.ads.iter().find(|evidence| evidence.ad == ad(OLD));
    assert!(!new.unwrap().neighbours.is_empty(), "they are published");
    let found = factors(&inputs);
    assert!(
        found.iter().all(|factor| (factor - 1.0).abs() < 1e-9),
        "{found:?}"
    );
}

//! `roasd winners`: what past ads teach, as a person and a program read it.

use std::sync::Arc;

use roasd::cli::winners::{self, AddArgs, NearArgs, WinnersArgs, WinnersCommand};
use roasd::cli::{CliContext, Exit};
use roasd::clock::SteppedClock;
use roasd::config::{Config, Environment};
use roasd::domain::ids::{AdId, TenantId};
use roasd::domain::money::{Currency, Money};
use roasd::domain::time;
use roasd::domain::winner::{self, Outcome};
use roasd::store::Store;
use roasd::store::sqlite::{OpenOptions, SqliteStore};
use roasd::store::winners::PastAd;
use roasd::vendors::embedder::Embedder as _;
use roasd::vendors::embedder::lexical::Lexical;
use serde_json::Value;

const CONFIG: &str = r#"
[tenants.acme]
name = "Acme Fitness"
currency = "USD"
template = "service"
meta = { ad_account = "act_1", access_token = { env = "T" } }
hubspot = { portal_id = 1, access_token = { env = "T" } }
budget = { daily_cap = "500.00" }
"#;

fn acme() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn id(text: &str) -> AdId {
    AdId::new(text).unwrap()
}

/// A past ad with its clicks in 10,000 impressions.
fn past(ad: &str, text: &str, format: &str, clicks: u64, pipeline: i64) -> PastAd {
    let usd = |main: i64| Money::from_minor(main * 100, Currency::USD);
    let outcome = Outcome {
        impressions: 10_000,
        clicks,
        spend: usd(100),
        pipeline: usd(pipeline),
    };
    PastAd {
        ad: id(ad),
        name: format!("Ad {ad}"),
        text: text.to_owned(),
        format: format.to_owned(),
        call_to_action: "SIGN_UP".to_owned(),
        theme: "free trial".to_owned(),
        made_at: None,
        model: Lexical.model().to_owned(),
        vector: Lexical.embed(text).unwrap(),
        impressions: outcome.impressions,
        clicks: outcome.clicks,
        spend: outcome.spend,
        pipeline: outcome.pipeline,
        is_winner: winner::is_winner(&outcome),
        is_mature: true,
        is_by_hand: false,
        is_left_out: false,
        updated_at: time::from_seconds(1_790_000_000),
    }
}

/// Trials win and discounts lose, ten of each.
fn account() -> Vec<PastAd> {
    let mut ads = Vec::new();
    for i in 0..10 {
        let trial = format!("Free trial week at our gym, group {i}\nNo contract");
        let discount = format!("Huge discount today, last chance {i}\nPay less");
        ads.push(past(
            &format!("t{i}"),
            &trial,
            "video",
            420 + 5 * i,
            600 + 10 * i as i64,
        ));
        ads.push(past(&format!("d{i}"), &discount, "image", 60 + i, 50));
    }
    ads
}

struct Desk {
    _folder: tempfile::TempDir,
    ctx: CliContext,
}

impl Desk {
    async fn new(ads: &[PastAd]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roasd.db");
        let store = SqliteStore::open(path.to_str().unwrap(), OpenOptions::default());
        let store: Arc<dyn Store> = Arc::new(store.await.unwrap());
        let now = time::from_seconds(1_790_003_600);
        store.ensure_tenant(&acme(), "Acme", now).await.unwrap();
        store.record_past_ads(&acme(), ads).await.unwrap();
        let environment = Environment::from([("T", "token")]);
        let ctx = CliContext {
            config: Config::from_text("config.toml", CONFIG, &environment).unwrap(),
            store,
            clock: Arc::new(SteppedClock::new(now)),
            json: false,
            is_terminal: false,
        };
        Self {
            _folder: folder,
            ctx,
        }
    }

    async fn text(&mut self, command: WinnersCommand) -> (Exit, String) {
        self.ctx.json = false;
        self.run(command).await
    }

    async fn json(&mut self, command: WinnersCommand) -> Value {
        self.ctx.json = true;
        let (exit, text) = self.run(command).await;
        assert_eq!(exit, Exit::Done, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn run(&self, command: WinnersCommand) -> (Exit, String) {
        let args = WinnersArgs {
            tenant: None,
            command,
        };
        let mut out = Vec::new();
        let exit = winners::run(&args, &self.ctx, &mut out).await.unwrap();
        (exit, String::from_utf8(out).unwrap())
    }
}

fn like(text: &str) -> NearArgs {
    NearArgs {
        text: Some(text.to_owned()),
        ad: None,
    }
}

fn similar(near: NearArgs, winners: bool) -> WinnersCommand {
    WinnersCommand::Similar {
        near,
        limit: 5,
        winners,
    }
}

fn brought(ad: &str, text: Option<&str>) -> AddArgs {
    AddArgs {
        ad: id(ad),
        text: text.map(str::to_owned),
        name: "Old one".to_owned(),
        format: "video".to_owned(),
        call_to_action: "SIGN_UP".to_owned(),
        link: "https://gym.example/six-weeks".to_owned(),
        impressions: 40_000,
        clicks: 1_600,
        spend: "800.00".to_owned(),
        pipeline: "1000.00".to_owned(),
    }
}

fn names(value: &Value) -> Vec<&str> {
    let list = value.as_array().unwrap().iter();
    list.map(|ad| ad["ad"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn winners_are_listed_the_best_return_first() {
    let mut desk = Desk::new(&account()).await;
    let list = |all| WinnersCommand::List { all, limit: 3 };
    let found = desk.json(list(false)).await;
    assert_eq!(found["found"], 10);
    assert_eq!(names(&found["ads"]), ["t9", "t8", "t7"]);
    assert_eq!(desk.json(list(true)).await["found"], 20);
    let (_, text) = desk.text(list(false)).await;
    assert!(
        text.contains("winner") && text.contains("3 of 10"),
        "{text}"
    );
    let (_, text) = desk.text(WinnersCommand::Show { ad: id("t1") }).await;
    assert!(
        text.contains("Free trial week") && text.contains("ROAS 6.10"),
        "{text}"
    );
    let (exit, _) = desk.text(WinnersCommand::Show { ad: id("none") }).await;
    assert_eq!(exit, Exit::Failed);
    let mut empty = Desk::new(&[]).await;
    let (exit, text) = empty.text(list(false)).await;
    assert_eq!(exit, Exit::Done);
    assert!(text.contains("no winner among 0 past ads"), "{text}");
}

#[tokio::test]
async fn like_ads_are_found_by_text_and_by_ad() {
    let mut desk = Desk::new(&account()).await;
    let found = desk
        .json(similar(like("a free trial at the gym"), false))
        .await;
    assert!(
        names(&found["matches"])
            .iter()
            .all(|ad| ad.starts_with('t'))
    );
    let by_ad = NearArgs {
        text: None,
        ad: Some(id("d3")),
    };
    let found = desk.json(similar(by_ad.clone(), false)).await;
    let found = names(&found["matches"]);
    assert!(
        found.iter().all(|ad| ad.starts_with('d') && *ad != "d3"),
        "{found:?}"
    );
    let found = desk.json(similar(by_ad, true)).await;
    assert!(
        names(&found["matches"])
            .iter()
            .all(|ad| ad.starts_with('t'))
    );
}

#[tokio::test]
async fn a_text_that_says_nothing_is_refused() {
    let mut desk = Desk::new(&account()).await;
    let too_long = "word ".repeat(10_000);
    for text in ["", "  ", "!!! ???", "💪💪", too_long.as_str()] {
        let (exit, out) = desk.text(similar(like(text), false)).await;
        assert_eq!(
            (exit, out.as_str()),
            (Exit::Failed, ""),
            "{} bytes",
            text.len()
        );
    }
    for text in ["נסה בחינם", "💪 gym", "Größe"] {
        let (exit, _) = desk.text(similar(like(text), false)).await;
        assert_eq!(exit, Exit::Done, "{text}");
    }
    let (exit, _) = desk.text(similar(NearArgs::default(), false)).await;
    assert_eq!(exit, Exit::Failed);
}

#[tokio::test]
async fn an_ad_is_brought_left_out_and_let_in() {
    let mut desk = Desk::new(&account()).await;
    let text = "Six weeks to a stronger back";
    let added = desk
        .json(WinnersCommand::Add(brought("old-1", Some(text))))
        .await;
    assert_eq!(added["label"], "winner");
    assert_eq!(added["theme"], "six weeks");
    let query = || similar(like("a stronger back in six weeks"), false);
    let first = |found: &Value| names(&found["matches"])[0].to_owned();
    assert_eq!(first(&desk.json(query()).await), "old-1");

    desk.json(WinnersCommand::Remove { ad: id("old-1") }).await;
    assert_ne!(first(&desk.json(query()).await), "old-1");
    desk.json(WinnersCommand::Add(brought("old-1", None))).await;
    assert_eq!(first(&desk.json(query()).await), "old-1");

    let mut bad = vec![brought("t1", Some("an ad of the account"))];
    bad.push(brought("old-2", Some("💪")));
    bad.push(AddArgs {
        clicks: 50_000,
        ..brought("old-2", Some("too many clicks"))
    });
    bad.push(AddArgs {
        spend: "much".to_owned(),
        ..brought("old-2", Some("no money"))
    });
    bad.push(brought("nowhere", None));
    for args in bad {
        let (exit, _) = desk.text(WinnersCommand::Add(args.clone())).await;
        assert_eq!(exit, Exit::Failed, "{args:?}");
    }
    let past = desk.ctx.store.past_ads(&acme(), Lexical.model()).await;
    assert_eq!(past.unwrap().len(), 21);
}

#[tokio::test]
async fn a_brief_tells_winners_from_losers() {
    let mut desk = Desk::new(&account()).await;
    let brief = |near| WinnersCommand::Brief {
        near,
        nearest: 20,
        limit: 10,
    };
    let found = desk.json(brief(NearArgs::default())).await;
    assert_eq!((&found["ads"], &found["winners"]), (&20.into(), &10.into()));
    let whats = |side: &str| {
        let list = found[side].as_array().unwrap().iter();
        list.map(|shared| shared["what"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(whats("of_winners").contains(&"video".to_owned()), "{found}");
    assert!(whats("of_losers").contains(&"image".to_owned()), "{found}");
    let (exit, text) = desk.text(brief(like("free trial"))).await;
    assert_eq!(exit, Exit::Done);
    assert!(text.contains("What winners share"), "{text}");
}

#[tokio::test]
async fn look_alikes_are_judged_by_leaving_each_ad_out() {
    let mut desk = Desk::new(&account()).await;
    let found = desk.json(WinnersCommand::Evaluate).await;
    assert_eq!(found["mature_ads"], 20);
    for target in found["targets"].as_array().unwrap() {
        assert!(target["weight"].as_f64().unwrap() > 0.0, "{target}");
        let error = |name: &str| target[name].as_f64().unwrap();
        assert!(error("error_with") < error("error_without"), "{target}");
    }
    // Where texts tell nothing of outcomes, look-alikes lend nothing.
    let mut blind = account();
    for (i, ad) in blind.iter_mut().enumerate() {
        ad.clicks = 300;
        ad.pipeline = Money::from_minor(30_000 + 100 * (i as i64 * 7 % 5), Currency::USD);
    }
    let mut desk = Desk::new(&blind).await;
    let found = desk.json(WinnersCommand::Evaluate).await;
    for target in found["targets"].as_array().unwrap() {
        assert_eq!(target["weight"], 0.0, "{target}");
    }
    let mut few = Desk::new(&account()[..5]).await;
    let (exit, text) = few.text(WinnersCommand::Evaluate).await;
    assert_eq!(exit, Exit::Done);
    assert!(text.contains("too little"), "{text}");
}

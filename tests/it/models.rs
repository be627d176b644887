//! Champions and challengers in a daemon that runs: what a challenger decides is kept and nothing of
//! it is sent; who becomes champion decides from then on; and the commands that see to it.

use std::sync::Arc;

use roasd::cli::{CliContext, Exit, models};
use roasd::clock::Clock as _;
use roasd::domain::model::{BUDGETS, Role, VersionName};
use roasd::domain::time;
use serde_json::Value;

use crate::support::{Setup, World, tenant};

use models::ModelsCommand;

fn version(name: &str) -> VersionName {
    name.parse().unwrap()
}

/// The commands over the daemon's own store.
struct Desk(CliContext);

impl Desk {
    fn of(world: &World) -> Self {
        Self(CliContext {
            config: world.config().clone(),
            store: world.store(),
            clock: Arc::new(world.clock.clone()),
            json: true,
            is_terminal: false,
        })
    }

    async fn run(&self, command: ModelsCommand) -> (Exit, Value) {
        let mut out = Vec::new();
        let exit = models::run(&command, &self.0, &mut out).await.unwrap();
        let told = serde_json::from_slice(&out).unwrap_or(Value::Null);
        (exit, told)
    }

    async fn list(&self) -> Vec<(String, String)> {
        let (_, told) = self.run(ModelsCommand::List).await;
        let rows = told["versions"].as_array().unwrap().clone();
        let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        rows.iter()
            .map(|row| (text(row, "version"), text(row, "role")))
            .collect()
    }

    async fn promote(&self, name: &str, despite: bool) -> Exit {
        let command = ModelsCommand::Promote {
            version: name.to_owned(),
            reason: "a trial".to_owned(),
            despite,
        };
        self.run(command).await.0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenger_is_kept_and_never_sent_until_it_is_champion() {
    let world = World::of(Setup::new(11).set("tenants.gym.autonomy", "auto")).await;
    let (store, gym) = (world.store(), tenant("gym"));
    let desk = Desk::of(&world);
    let known = store.models().await.unwrap();
    let house = known.iter().find(|v| v.role == Role::Champion).unwrap();
    let house: &str = house.version.as_str();
    let number = house.rsplit('-').next().unwrap();
    let is = |name: &str, role: &str| (name.to_owned(), role.to_owned());
    assert_eq!(
        desk.list().await,
        [is("blended-v1-1", "resting"), is(house, "champion")]
    );

    let bold = format!("bold-{number}");
    let add = |label: &str, constants: &[(&str, f64)]| ModelsCommand::Add {
        label: label.to_owned(),
        policy: "roasd".to_owned(),
        constants: constants
            .iter()
            .map(|(n, v)| ((*n).to_owned(), *v))
            .collect(),
    };
    let (exit, _) = desk.run(add("bold", &[("kill_roas", 9.0)])).await;
    assert_eq!(exit, Exit::Usage, "an owner's rule is no version's");
    let (exit, told) = desk
        .run(add("bold", &[("draws", 0.0), ("kappa_mult", 9.0)]))
        .await;
    assert_eq!(
        (exit, told["version"].as_str()),
        (Exit::Done, Some(bold.as_str()))
    );
    assert_eq!(desk.run(add("bold", &[])).await.0, Exit::Usage, "known");
    let challenge = ModelsCommand::Challenge {
        version: "blended-v1-1".to_owned(),
    };
    assert_eq!(desk.run(challenge).await.0, Exit::Done);

    world.run_to(time::days(3)).await;
    let since = world.start;
    for name in [bold.as_str(), "blended-v1-1"] {
        let kept = store.shadows(&gym, &version(name), since).await.unwrap();
        assert!(kept.len() >= 8, "{name}: {} runs", kept.len());
        let changes: u32 = kept.iter().map(|run| run.changes).sum();
        assert!(changes > 0, "{name} would have changed something");
        for run in &kept {
            let told: Vec<Value> = serde_json::from_str(&run.changes_json).unwrap();
            assert_eq!(told.len(), run.changes as usize);
            assert!(run.shared <= run.changes);
        }
    }
    // Every change comes of a decision of the champion's.
    let policies = async || {
        let mut after = since;
        let mut found = Vec::new();
        while let Some(run) = store
            .run_after(&gym, after, world.clock.now())
            .await
            .unwrap()
        {
            after = run.at;
            found.push(run.policy);
        }
        found
    };
    assert!(policies().await.iter().all(|policy| policy == "roasd"));

    // Three days are no evidence; an owner may want it all the same, and go back.
    assert_eq!(desk.promote("blended-v1-1", false).await, Exit::Failed);
    assert_eq!(desk.promote("blended-v1-1", true).await, Exit::Done);
    let before = policies().await.len();
    world.run_to(time::days(4)).await;
    let later = policies().await;
    assert!(later.len() > before);
    assert!(later[before..].iter().all(|policy| policy == "blended-v1"));
    let beside = store.shadows(&gym, &version(house), since).await.unwrap();
    assert!(!beside.is_empty(), "who gave way goes on beside it");
    let back = ModelsCommand::Rollback {
        reason: "enough".to_owned(),
    };
    assert_eq!(desk.run(back).await.0, Exit::Done);
    let roles = store.models().await.unwrap();
    let champion = roles.iter().find(|v| v.role == Role::Champion).unwrap();
    assert_eq!(champion.version.as_str(), house);
    let (_, shown) = desk
        .run(ModelsCommand::Show {
            version: house.to_owned(),
        })
        .await;
    let events: Vec<&str> = shown["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["registered", "rolled_back"]);
    assert_eq!(store.model_history(BUDGETS).await.unwrap().len(), 6);
    drop(store);
    drop(desk);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forecasts_are_held_against_what_came() {
    // A week, and the sales cycle after it, are all that it takes.
    let setup = Setup::new(3)
        .set("tenants.gym.schedule.decide_every", "24h")
        .set("tenants.gym.schedule.sync_every", "3h")
        .set("tenants.gym.quality.max_crm_age", "12h")
        .set("tenants.gym.quality.max_insight_age", "12h")
        .set("tenants.gym.rules.sales_cycle_days", "3.0");
    let world = World::of(setup).await;
    let desk = Desk::of(&world);
    let number = desk.list().await[0]
        .0
        .rsplit('-')
        .next()
        .unwrap()
        .to_owned();
    let add = ModelsCommand::Add {
        label: "wild".to_owned(),
        policy: "roasd".to_owned(),
        // It forgets in a day, and hardly leans on what others showed.
        constants: vec![
            ("half_lives.lead".to_owned(), 0.5),
            ("half_lives.appointment".to_owned(), 0.5),
            ("half_lives.late".to_owned(), 0.5),
            ("priors.lead".to_owned(), 0.1),
        ],
    };
    assert_eq!(desk.run(add).await.0, Exit::Done);
    world.run_to(time::days(13)).await;
    let compare = |other: Option<String>| ModelsCommand::Compare {
        version: format!("wild-{number}"),
        other,
        tenant: Some(tenant("gym")),
        days: 60,
    };
    let (exit, told) = desk.run(compare(None)).await;
    assert_eq!(exit, Exit::Done);
    assert!(told["weeks"].as_u64().unwrap() >= 1, "{told}");
    assert!(told["ads"].as_u64().unwrap() > 5, "{told}");
    let deviance = |i: usize| told["deviance_a_week"][i].as_f64().unwrap();
    assert!(deviance(0) > 0.0 && deviance(0) != deviance(1), "{told}");
    let same = compare(Some(format!("wild-{number}")));
    assert_eq!(desk.run(same).await.0, Exit::Usage);
    drop(desk);
    world.finish().await;
}

//! The commands over the store, as a person and a program read them.

use std::collections::BTreeMap;
use std::sync::Arc;

use roasd::cli::audit::{AuditArgs, AuditCommand, Format};
use roasd::cli::changes::{ChangesArgs, ChangesCommand, ChoiceArgs, ListArgs, UndoArgs};
use roasd::cli::erase::EraseArgs;
use roasd::cli::explain::ExplainArgs;
use roasd::cli::pause::{PauseArgs, ResumeArgs};
use roasd::cli::quarantine::{QuarantineArgs, QuarantineCommand};
use roasd::cli::replay::ReplayArgs;
use roasd::cli::status::StatusArgs;
use roasd::cli::{
    CliContext, Exit, audit, changes, erase, explain, migrate, pause, quarantine, replay, status,
};
use roasd::clock::SteppedClock;
use roasd::config::{Config, Environment};
use roasd::domain::change::{ChangeState, Origin, ProposedChange, Target};
use roasd::domain::ids::{
    AdAccountId, AdId, AdSetId, CampaignId, ChangeId, DecisionId, RunId, TenantId,
};
use roasd::domain::insight::{AdInsight, ReportWindow};
use roasd::domain::money::{Currency, Money};
use roasd::domain::policy::{
    AdEvidence, BudgetEntity, BudgetLimits, LifetimeTotals, Mode, Policy, PolicyInputs,
    PolicyParams, RoasdPolicy, Stage,
};
use roasd::domain::structure::{Account, AccountStatus, EntityRef, Structure};
use roasd::domain::time::{self, Timestamp};
use roasd::store::changes::Settlement;
use roasd::store::decisions::{DecisionRecord, RunRecord, inputs_json, rationale_json};
use roasd::store::gate::GateRow;
use roasd::store::inbox::Delivery;
use roasd::store::sqlite::{OpenOptions, SqliteStore};
use roasd::store::{Store, open_existing};
use serde_json::Value;
use sqlx::ConnectOptions as _;

const CONFIG: &str = r#"
[tenants.acme]
name = "Acme Fitness"
autonomy = "approve"
currency = "USD"
template = "service"
meta = { ad_account = "act_1", access_token = { env = "T" } }
hubspot = { portal_id = 1, access_token = { env = "T" } }
budget = { daily_cap = "500.00" }
"#;

fn acme() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn at(seconds: i64) -> Timestamp {
    time::from_seconds(1_790_000_000 + seconds)
}

fn usd(minor: i64) -> Money {
    Money::from_minor(minor, Currency::USD)
}

fn budget(minor: i64) -> Target {
    Target::DailyBudget(usd(minor))
}

fn set(id: &str) -> EntityRef {
    EntityRef::AdSet(AdSetId::new(id).unwrap())
}

/// A database in a directory of its own, a little history in it, and what the commands are given.
struct Desk {
    _dir: tempfile::TempDir,
    path: std::path::PathBuf,
    ctx: CliContext,
    /// The decision behind the waiting change.
    decision: DecisionId,
}

impl Desk {
    /// Acme has one change of each kind: `wait-1` and `wait-2` await approval, `done-1` raised set
    /// s9 from 100 to 115 (a guard clipped 120).
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("roasd.db");
        let store: Arc<dyn Store> = Arc::new(
            SqliteStore::open(path.to_str().unwrap(), OpenOptions::default())
                .await
                .unwrap(),
        );
        let decision = make_history(&*store).await;
        let environment = Environment::from([("T", "token")]);
        let config = Config::from_text("config.toml", CONFIG, &environment).unwrap();
        let ctx = CliContext {
            config,
            store,
            clock: Arc::new(SteppedClock::new(at(3_600))),
            json: false,
            is_terminal: false,
        };
        Self {
            _dir: dir,
            path,
            ctx,
            decision,
        }
    }

    async fn state(&self, id: &str) -> ChangeState {
        self.ctx.store.change(id).await.unwrap().unwrap().state
    }

    async fn changes(&self, command: ChangesCommand) -> (Exit, String) {
        let mut out = Vec::new();
        let args = ChangesArgs { command };
        let exit = changes::run(&args, &self.ctx, &mut out).await.unwrap();
        (exit, text(out))
    }

    async fn approve(&self, ids: &[&str]) -> (Exit, String) {
        self.changes(ChangesCommand::Approve(choice(ids))).await
    }

    async fn status(&self) -> String {
        let mut out = Vec::new();
        let args = StatusArgs::default();
        let exit = status::run(&args, &self.ctx, &mut out).await.unwrap();
        assert_eq!(exit, Exit::Done);
        text(out)
    }

    async fn verify(&self) -> (Exit, String) {
        let mut out = Vec::new();
        let args = AuditArgs {
            command: AuditCommand::Verify { tenant: None },
        };
        let exit = audit::run(&args, &self.ctx, &mut out).await.unwrap();
        (exit, text(out))
    }

    async fn explain(&self, id: &str) -> (Exit, String) {
        let mut out = Vec::new();
        let args = ExplainArgs { id: id.to_owned() };
        let exit = explain::run(&args, &self.ctx, &mut out).await.unwrap();
        (exit, text(out))
    }

    async fn replay(&self, policy: &str) -> (Exit, String) {
        let mut out = Vec::new();
        let args = ReplayArgs {
            tenant: acme(),
            policy: policy.to_owned(),
            from: None,
            to: None,
        };
        let exit = replay::run(&args, &self.ctx, &mut out).await.unwrap();
        (exit, text(out))
    }

    async fn quarantine(&self, command: QuarantineCommand) -> (Exit, String) {
        let mut out = Vec::new();
        let args = QuarantineArgs { command };
        let exit = quarantine::run(&args, &self.ctx, &mut out).await.unwrap();
        (exit, text(out))
    }

    async fn pause(&self, tenant: Option<TenantId>) -> (Exit, String) {
        let mut out = Vec::new();
        let args = PauseArgs {
            tenant,
            reason: "the page is down".to_owned(),
            stop_spend: false,
        };
        let exit = pause::pause(&args, &self.ctx, &mut out).await.unwrap();
        (exit, text(out))
    }

    async fn resume(&self, tenant: Option<TenantId>) -> (Exit, String) {
        let mut out = Vec::new();
        let args = ResumeArgs { tenant };
        let exit = pause::resume(&args, &self.ctx, &mut out).await.unwrap();
        (exit, text(out))
    }

    fn for_programs(mut self) -> Self {
        self.ctx.json = true;
        self
    }
}

/// What [`Desk::new`] tells of; returns the decision behind the waiting change.
async fn make_history(store: &dyn Store) -> DecisionId {
    store
        .ensure_tenant(&acme(), "Acme Fitness", at(0))
        .await
        .unwrap();
    let decision = record_decision(store).await;
    for (id, on) in [("wait-1", "s1"), ("wait-2", "s2")] {
        let proposed = ProposedChange {
            needs_approval: true,
            origin: Origin::Decision(decision.clone()),
            ..proposal(id, on, 12_000)
        };
        store.propose(&proposed, at(10)).await.unwrap();
    }
    store
        .propose(&proposal("done-1", "s9", 12_000), at(20))
        .await
        .unwrap();
    complete(store, "done-1", 11_500).await;
    decision
}

fn text(out: Vec<u8>) -> String {
    String::from_utf8(out).unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn choice(ids: &[&str]) -> ChoiceArgs {
    ChoiceArgs {
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..ChoiceArgs::default()
    }
}

fn undo(id: &str) -> UndoArgs {
    UndoArgs {
        id: Some(id.to_owned()),
        ..UndoArgs::default()
    }
}

fn show(id: &str) -> ChangesCommand {
    ChangesCommand::Show { id: id.to_owned() }
}

fn says(shown: &str, words: &[&str]) {
    for word in words {
        assert!(shown.contains(word), "{word:?} is not in:\n{shown}");
    }
}

fn proposal(id: &str, on: &str, minor: i64) -> ProposedChange {
    ProposedChange {
        id: ChangeId::new(id).unwrap(),
        tenant: acme(),
        entity: set(on),
        entity_name: format!("Morning classes {on}"),
        campaign: CampaignId::new("c1").unwrap(),
        expected: budget(10_000),
        requested: budget(minor),
        reason: "it earns".to_owned(),
        origin: Origin::Decision(DecisionId::new("d-old").unwrap()),
        confidence: 0.8,
        needs_approval: false,
        rank: 0,
        earliest_at: at(10),
        expires_at: at(172_800),
        proposed_at: at(10),
    }
}

async fn complete(store: &dyn Store, id: &str, sent: i64) {
    let claimed = store
        .claim_change(&acme(), at(30), at(90))
        .await
        .unwrap()
        .unwrap();
    let change = &claimed.change;
    assert_eq!(change.proposed.id.as_str(), id);
    store
        .mark_executing(
            &acme(),
            &change.proposed.id,
            change.attempt,
            budget(10_000),
            budget(sent),
            at(31),
        )
        .await
        .unwrap();
    let settlement = Settlement::Completed {
        before: budget(10_000),
        after: budget(sent),
        was_sent: true,
        vendor_request: Some("AbCdEf".to_owned()),
        clipped_by: Some("velocity".to_owned()),
    };
    store
        .settle_change(
            &acme(),
            &change.proposed.id,
            change.attempt,
            &settlement,
            at(32),
        )
        .await
        .unwrap();
}

/// A real decision on two ad sets known by totals.
async fn record_decision(store: &dyn Store) -> DecisionId {
    let stage = |name: &str, value| Stage::new(name.parse().unwrap(), value);
    let totals = |spend, leads, sales| LifetimeTotals {
        impressions: spend * 90.0,
        clicks: spend,
        spend,
        reached: vec![leads, sales],
        days: Some(20.0),
        ..LifetimeTotals::default()
    };
    let ad = |id: &str, on: &str, totals| {
        AdEvidence::from_totals(
            AdId::new(id).unwrap(),
            format!("Ad {id}"),
            AdSetId::new(on).unwrap(),
            CampaignId::new("c1").unwrap(),
            totals,
        )
    };
    let entity = |id: &str| {
        let campaign = CampaignId::new("c1").unwrap();
        BudgetEntity::steady(
            set(id),
            format!("Morning classes {id}"),
            campaign,
            usd(10_000),
        )
    };
    let inputs = PolicyInputs {
        now: at(5),
        seed: 7,
        mode: Mode::Pipeline,
        currency: Currency::USD,
        stages: vec![stage("lead", 0.0), stage("closed_won", 500.0)],
        params: PolicyParams::for_mode(Mode::Pipeline),
        limits: BudgetLimits::under_cap(usd(50_000), usd(500)),
        first_decision_of_day: true,
        entities: vec![entity("s1"), entity("s2")],
        ads: vec![
            ad("a1", "s1", totals(800.0, 40.0, 9.0)),
            ad("a2", "s2", totals(900.0, 12.0, 1.0)),
        ],
        deals_total: 10.0,
        deals_attributed: 10.0,
    };
    let outcome = RoasdPolicy.decide(&inputs);
    let run = RunRecord {
        id: RunId::new("r1").unwrap(),
        at: at(5),
        seed: 7,
        policy: outcome.policy.to_owned(),
        version: outcome.version.to_string(),
        inputs_json: inputs_json(&inputs),
        flags: Vec::new(),
    };
    let records: Vec<DecisionRecord> = outcome
        .decisions
        .iter()
        .enumerate()
        .map(|(i, decision)| DecisionRecord {
            id: DecisionId::new(format!("decision-{i}")).unwrap(),
            run: run.id.clone(),
            entity: decision.subject.clone(),
            entity_name: decision.rationale.name.clone(),
            action: decision.action.as_str().to_lowercase(),
            from: "100.00 USD".to_owned(),
            to: "120.00 USD".to_owned(),
            paragraph: decision.rationale.paragraph(),
            rationale_json: rationale_json(&decision.rationale),
            change: None,
            at: at(5),
        })
        .collect();
    store.record_run(&acme(), &run, &records).await.unwrap();
    let of_s1 = records.iter().find(|record| record.entity == set("s1"));
    of_s1.unwrap().id.clone()
}

#[tokio::test]
async fn the_list_shows_what_is_open_and_what_to_do() {
    let desk = Desk::new().await;
    let (exit, shown) = desk.changes(ChangesCommand::List(list_all(false))).await;
    assert_eq!(exit, Exit::Done);
    says(
        &shown,
        &[
            "wait-1",
            "Morning classes s1 (ad set s1)",
            "100.00 USD",
            "120.00 USD",
            "awaits approval",
            "59 min ago",
            "2 wait for approval: roasd changes approve",
        ],
    );
    assert!(!shown.contains("done-1"), "{shown}");
    let (_, shown) = desk.changes(ChangesCommand::List(list_all(true))).await;
    says(&shown, &["done-1", "completed"]);
    let stranger = ListArgs {
        tenant: Some(TenantId::new("acmee").unwrap()),
        ..list_all(false)
    };
    let (exit, shown) = desk.changes(ChangesCommand::List(stranger)).await;
    assert_eq!((exit, shown.as_str()), (Exit::Usage, ""));
}

fn list_all(all: bool) -> ListArgs {
    ListArgs {
        all,
        limit: 50,
        ..ListArgs::default()
    }
}

#[tokio::test]
async fn an_approved_change_is_pending_and_a_second_approval_fails() {
    let desk = Desk::new().await;
    let (exit, shown) = desk.approve(&["wait-1"]).await;
    assert_eq!(exit, Exit::Done);
    says(
        &shown,
        &["approved: Morning classes s1", "judge it once more"],
    );
    assert_eq!(desk.state("wait-1").await, ChangeState::Pending);
    assert_eq!(desk.state("wait-2").await, ChangeState::AwaitingApproval);
    let (exit, _) = desk.approve(&["wait-1"]).await;
    assert_eq!(exit, Exit::Failed);
    // One that cannot be found does not keep the others from it.
    let (exit, _) = desk.approve(&["nothing", "wait-2"]).await;
    assert_eq!(exit, Exit::Failed);
    assert_eq!(desk.state("wait-2").await, ChangeState::Pending);
    let (_, shown) = desk.changes(show("wait-1")).await;
    says(
        &shown,
        &[
            "approved by cli:",
            "to stop it: roasd changes reject wait-1",
        ],
    );
}

#[tokio::test]
async fn all_that_wait_are_approved_at_once() {
    let desk = Desk::new().await;
    let all = ChoiceArgs {
        all: true,
        tenant: Some(acme()),
        ..ChoiceArgs::default()
    };
    let (exit, shown) = desk.changes(ChangesCommand::Approve(all.clone())).await;
    assert_eq!(exit, Exit::Done);
    assert_eq!(shown.matches("approved: ").count(), 2, "{shown}");
    let (exit, shown) = desk.changes(ChangesCommand::Approve(all)).await;
    assert_eq!(exit, Exit::Done);
    says(&shown, &["no change waits for approval"]);
}

#[tokio::test]
async fn an_ambiguous_beginning_approves_nothing() {
    let desk = Desk::new().await;
    let (exit, _) = desk.approve(&["wait"]).await;
    assert_eq!(exit, Exit::Failed);
    assert_eq!(desk.state("wait-1").await, ChangeState::AwaitingApproval);
    let why = desk.ctx.find_change("wait").await.unwrap().unwrap_err();
    says(
        &why,
        &["several changes begin with wait", "wait-1", "wait-2"],
    );
}

#[tokio::test]
async fn a_rejected_change_says_who_and_why() {
    let desk = Desk::new().await;
    let command = ChangesCommand::Reject {
        choice: choice(&["wait-2"]),
        reason: "the offer ends".to_owned(),
    };
    let (exit, shown) = desk.changes(command).await;
    assert_eq!(exit, Exit::Done);
    says(&shown, &["rejected: Morning classes s2"]);
    assert_eq!(desk.state("wait-2").await, ChangeState::Rejected);
    let (_, shown) = desk.changes(show("wait-2")).await;
    says(&shown, &["rejected by cli:", "the offer ends"]);
}

#[tokio::test]
async fn an_undo_proposes_the_value_before_from_what_was_really_sent() {
    let desk = Desk::new().await;
    let undo = |id: &str| ChangesCommand::Undo(undo(id));
    let (exit, shown) = desk.changes(undo("done-1")).await;
    assert_eq!(exit, Exit::Done);
    says(
        &shown,
        &[
            "115.00 USD -> 100.00 USD",
            "no approval",
            "same gate and guards",
        ],
    );
    let open = desk.ctx.store.changes(&Default::default()).await.unwrap();
    assert!(open.is_empty(), "a limit of 0 lists nothing");
    let filter = roasd::store::changes::ChangeFilter {
        states: vec![ChangeState::Pending],
        limit: 10,
        ..Default::default()
    };
    let pending = desk.ctx.store.changes(&filter).await.unwrap();
    let [undo_change] = pending.as_slice() else {
        panic!("{pending:?}")
    };
    let p = &undo_change.proposed;
    assert_eq!((p.expected, p.requested), (budget(11_500), budget(10_000)));
    assert_eq!(p.origin, Origin::Undo(ChangeId::new("done-1").unwrap()));
    says(&p.reason, &["cli:"]);
    let (exit, shown) = desk.changes(undo("done-1")).await;
    assert_eq!(exit, Exit::Done);
    says(&shown, &["asks for the same already"]);
    let (exit, shown) = desk.changes(undo("wait-1")).await;
    assert_eq!((exit, shown.as_str()), (Exit::Failed, ""));
}

#[tokio::test]
async fn a_change_tells_its_whole_story() {
    let desk = Desk::new().await;
    let (exit, shown) = desk.changes(show("done")).await;
    assert_eq!(exit, Exit::Done);
    says(
        &shown,
        &[
            "change done-1 of acme",
            "a guard clipped it: 115.00 USD was sent",
            "completed by roasd, 100.00 USD -> 115.00 USD",
            "AbCdEf",
            "to undo it: roasd changes undo done-1",
        ],
    );
    let (_, shown) = desk.changes(show("wait-1")).await;
    says(
        &shown,
        &[
            "Morning classes s1",
            "lapses unless approved: ",
            "roasd explain",
        ],
    );
}

#[tokio::test]
async fn a_past_run_is_decided_anew_by_another_policy() {
    let mut desk = Desk::new().await;
    let (exit, shown) = desk.replay("left-alone").await;
    assert_eq!(exit, Exit::Done);
    says(
        &shown,
        &[
            "1 runs of acme through left-alone version 1",
            "Morning classes s1 (ad set s1)",
            "never",
            "cannot be told from this",
        ],
    );
    assert_eq!(desk.replay("oracle").await.0, Exit::Usage);
    desk.ctx.json = true;
    let told = json(&desk.replay("roasd").await.1);
    assert_eq!(told["runs"], 1);
    let changes = told["changes"].as_array().unwrap();
    assert!(!changes.is_empty());
    for change in changes {
        assert_eq!(change["times_recorded"], 1, "{change}");
        assert_eq!(change["times_replayed"], 1, "{change}");
        assert_eq!(change["first_recorded_at"], change["first_replayed_at"]);
    }
}

#[tokio::test]
async fn an_explanation_shows_the_ads_beside_each_other() {
    let mut desk = Desk::new().await;
    let id = desk.decision.to_string();
    says(
        &desk.explain(&id).await.1,
        &["ads beside each other", "100%"],
    );
    desk.ctx.json = true;
    let ads = json(&desk.explain(&id).await.1)["ads"].clone();
    assert_eq!(ads[0]["ad"], "a1");
    assert_eq!(ads[0]["p_best"], 1.0, "the only one of its ad set");
    let mean = ads[0]["mean_roas"].as_f64().unwrap();
    assert!(ads[0]["interval_90"][0].as_f64().unwrap() < mean);
    assert!(ads[0]["interval_90"][1].as_f64().unwrap() > mean);
}

#[tokio::test]
async fn a_decision_is_explained_from_the_paragraph_to_the_undo() {
    let desk = Desk::new().await;
    let stored = desk.ctx.store.decision(desk.decision.as_str()).await;
    let paragraph = stored.unwrap().unwrap().2.paragraph;
    for id in [desk.decision.as_str(), "wait-1", "wait-2"] {
        let (exit, shown) = desk.explain(id).await;
        assert_eq!(exit, Exit::Done);
        assert!(shown.starts_with(&paragraph), "{shown}");
        says(
            &shown,
            &[
                "evidence\n  800.00 USD spent",
                "lead: 40.0 reached it",
                "90 % interval",
                "chance that it is below 0.50",
                "rule\n",
                "bounds\n",
                "what became of it, newest first",
                "proposed by roasd",
            ],
        );
    }
    let (exit, shown) = desk.explain("nonsense").await;
    assert_eq!((exit, shown.as_str()), (Exit::Failed, ""));
}

#[tokio::test]
async fn a_decision_is_shown_with_the_figures_that_were_known_then() {
    let desk = Desk::new().await;
    let account = Account {
        id: AdAccountId::new("act_1").unwrap(),
        name: "Acme".to_owned(),
        status: AccountStatus::Active,
        currency: Currency::USD,
        time_zone_name: "America/New_York".to_owned(),
        min_daily_budget: None,
    };
    let structure = Structure {
        account,
        campaigns: BTreeMap::new(),
        ad_sets: BTreeMap::new(),
        ads: BTreeMap::new(),
    };
    let store = &desk.ctx.store;
    store
        .record_structure(&acme(), &structure, at(0))
        .await
        .unwrap();
    let zone = structure.account.time_zone().unwrap();
    let day = time::day_of(at(5), &zone);
    let row = |on: &str, spend| AdInsight {
        ad: AdId::new(format!("ad-{on}")).unwrap(),
        ad_set: AdSetId::new(on).unwrap(),
        campaign: CampaignId::new("c1").unwrap(),
        window: ReportWindow::Day(day),
        impressions: 1_000,
        clicks: 20,
        spend: usd(spend),
        reach: None,
        actions: Vec::new(),
    };
    let pull = async |spend, s| {
        // That of another ad set is none of its business.
        let rows = [row("s1", spend), row("s2", 99_999)];
        store
            .record_insights(&acme(), &rows, day, day, false, at(s))
            .await
            .unwrap();
    };
    pull(8_000, 4).await;
    let then = "as they were known then: 80.00 USD spent, 1000 impressions, 20 clicks";
    let (_, shown) = desk.explain("wait-1").await;
    says(&shown, &[then, "they are the same now"]);
    pull(8_500, 100).await;
    let (_, shown) = desk.explain("wait-1").await;
    says(&shown, &[then, "as they are known now: 85.00 USD spent"]);
    let desk = desk.for_programs();
    let figures = &json(&desk.explain("wait-1").await.1)["figures"];
    assert_eq!(figures["known_then"]["spend"], "80.00");
    assert_eq!(figures["known_now"]["spend"], "85.00");
}

#[tokio::test]
async fn what_became_of_a_decision_is_read_backwards() {
    let desk = Desk::new().await;
    desk.approve(&["wait-1"]).await;
    let (_, shown) = desk.explain("wait-1").await;
    let (approved, proposed) = (shown.find("approved by"), shown.find("proposed by"));
    assert!(approved.is_some() && approved < proposed, "{shown}");
    // The change that was asked about, not another one of the decision.
    says(
        &shown,
        &["change wait-1: pending", "roasd changes reject wait-1"],
    );
}

#[tokio::test]
async fn a_pause_blocks_sending_and_a_resume_ends_it() {
    for tenant in [None, Some(acme())] {
        let desk = Desk::new().await;
        let (exit, shown) = desk.pause(tenant.clone()).await;
        assert_eq!(exit, Exit::Done);
        says(
            &shown,
            &["paused", "to go on: roasd resume", "the page is down"],
        );
        let (exit, shown) = desk.pause(tenant.clone()).await;
        assert_eq!(exit, Exit::Done);
        says(&shown, &["was paused already", "by cli:"]);
        let (_, shown) = desk.approve(&["wait-1"]).await;
        says(&shown, &["is paused: nothing is sent until `roasd resume"]);
        let acme = acme();
        let claim = async || {
            let claim = desk.ctx.store.claim_change(&acme, at(3_601), at(3_700));
            claim.await.unwrap()
        };
        assert!(claim().await.is_none(), "nothing is given out");
        desk.resume(tenant.clone()).await;
        let change = claim().await.unwrap().change;
        desk.pause(tenant.clone()).await;
        let id = &change.proposed.id;
        let store = &desk.ctx.store;
        let send = |at| {
            store.mark_executing(
                &change.proposed.tenant,
                id,
                change.attempt,
                budget(10_000),
                budget(12_000),
                at,
            )
        };
        assert!(send(at(3_602)).await.is_err());
        let (exit, shown) = desk.resume(tenant.clone()).await;
        assert_eq!(exit, Exit::Done);
        says(&shown, &["resumed"]);
        send(at(3_603)).await.unwrap();
        let (exit, shown) = desk.resume(tenant).await;
        assert_eq!(exit, Exit::Done);
        says(&shown, &["was not paused"]);
    }
}

#[tokio::test]
async fn a_mistyped_tenant_is_not_paused() {
    let desk = Desk::new().await;
    let stranger = TenantId::new("acmee").unwrap();
    let (exit, shown) = desk.pause(Some(stranger.clone())).await;
    assert_eq!((exit, shown.as_str()), (Exit::Usage, ""));
    assert_eq!(desk.ctx.store.tenants().await.unwrap(), [acme()]);
}

#[tokio::test]
async fn the_status_says_what_holds_and_what_to_do() {
    let desk = Desk::new().await;
    let store = &desk.ctx.store;
    desk.pause(Some(acme())).await;
    quarantine_one(&**store).await;
    let gate = GateRow {
        scope: "act_1".to_owned(),
        blocked_until: Some(at(3_900)),
        reason: "too many calls".to_owned(),
        usage_percent: 80.0,
        tier: Some("development_access".to_owned()),
        seen_at: at(3_540),
    };
    let figures = GateRow {
        scope: "act_1/ads_insights".to_owned(),
        blocked_until: None,
        usage_percent: 35.0,
        ..gate.clone()
    };
    let app = GateRow {
        scope: "app".to_owned(),
        ..figures.clone()
    };
    store.save_gate(&[gate, figures, app]).await.unwrap();
    let shown = desk.status().await;
    says(
        &shown,
        &[
            "acme (Acme Fitness): pipeline mode, autonomy approve",
            "PAUSED by cli:",
            "the page is down",
            "last sync     never",
            "last decided  2026-09-21 14:13:25Z (59 min ago)",
            "2 awaiting approval",
            "spend 0.00 USD",
            "attribution   no conversions yet",
            "gate to Meta, app: 65 % headroom",
            "gate to Meta  account: 20 % headroom, development access, CLOSED until",
            "gate to Meta  ads_insights: 65 % headroom, development access, seen",
            "-> nothing is sent for acme: roasd resume acme",
            "-> 2 changes wait for approval: roasd changes list --tenant acme",
            "-> 1 delivery is in quarantine: roasd quarantine list --tenant acme",
        ],
    );
}

async fn quarantine_one(store: &dyn Store) -> i64 {
    let delivery = Delivery {
        source: "hubspot.webhook".to_owned(),
        dedup_key: "k1".to_owned(),
        body: b"{not json\x1b[31m".to_vec(),
    };
    store
        .append_delivery(&acme(), &delivery, at(40))
        .await
        .unwrap();
    let claimed = store
        .claim_deliveries(&acme(), at(41), at(99), 1)
        .await
        .unwrap();
    let (id, attempt) = (claimed[0].id, claimed[0].attempt);
    store
        .quarantine_delivery(&acme(), id, attempt, "it is not JSON", at(42))
        .await
        .unwrap();
    store.quarantined(None, 10).await.unwrap()[0].id
}

#[tokio::test]
async fn the_quarantine_is_listed_shown_retried_and_dropped() {
    let desk = Desk::new().await;
    let store = &desk.ctx.store;
    let id = quarantine_one(&**store).await;
    let list = || QuarantineCommand::List {
        tenant: None,
        limit: 10,
    };
    let (_, shown) = desk.quarantine(list()).await;
    says(
        &shown,
        &["acme", "hubspot.webhook", "it is not JSON", "59 min ago"],
    );
    let (_, shown) = desk.quarantine(QuarantineCommand::Show { id }).await;
    says(&shown, &["why it is here: it is not JSON", "{not json"]);
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    let (exit, shown) = desk
        .quarantine(QuarantineCommand::Retry { ids: vec![id] })
        .await;
    assert_eq!(exit, Exit::Done);
    says(&shown, &["waits to be tried again"]);
    let (_, shown) = desk.quarantine(list()).await;
    says(&shown, &["nothing is in quarantine"]);
    let (exit, _) = desk
        .quarantine(QuarantineCommand::Drop { ids: vec![id] })
        .await;
    assert_eq!(exit, Exit::Failed);
}

#[tokio::test]
async fn the_audit_log_holds_until_someone_edits_it() {
    let desk = Desk::new().await;
    let (exit, shown) = desk.verify().await;
    assert_eq!(exit, Exit::Done);
    says(&shown, &["acme: 5 lines hold"]);
    let copy = desk.path.with_file_name("copy.db");
    desk.ctx.store.close().await;
    std::fs::copy(&desk.path, &copy).unwrap();
    for (tampering, line) in [
        (
            "update ad_change_history set detail = 'all is well' where sequence = 3",
            3,
        ),
        ("delete from ad_change_history where sequence = 2", 2),
        (
            "update ad_change_history set event = 'blessed' where sequence = 1",
            1,
        ),
    ] {
        let url = tamper(&copy, tampering).await;
        let mut ctx = desk.ctx.clone();
        ctx.store = open_existing(&url).await.unwrap();
        let mut out = Vec::new();
        let args = AuditArgs {
            command: AuditCommand::Verify {
                tenant: Some(acme()),
            },
        };
        let exit = audit::run(&args, &ctx, &mut out).await.unwrap();
        ctx.store.close().await;
        assert_eq!(exit, Exit::Failed, "{tampering}");
        says(&text(out), &[&format!("acme: BROKEN at line {line}")]);
    }
}

/// Does to the copy what its triggers forbid.
async fn tamper(copy: &std::path::Path, statement: &'static str) -> String {
    let mut db = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(copy)
        .connect()
        .await
        .unwrap();
    for trigger in ["keeps_its_rows", "forgets_nothing"] {
        let drop = format!("drop trigger if exists ad_change_history_{trigger}");
        sqlx::query(sqlx::AssertSqlSafe(drop))
            .execute(&mut db)
            .await
            .unwrap();
    }
    sqlx::query("pragma ignore_check_constraints = on")
        .execute(&mut db)
        .await
        .unwrap();
    let done = sqlx::query(statement).execute(&mut db).await.unwrap();
    assert_eq!(done.rows_affected(), 1, "{statement}");
    sqlx::Connection::close(db).await.unwrap();
    format!("sqlite:{}", copy.display())
}

#[tokio::test]
async fn the_audit_log_is_exported_line_by_line() {
    let desk = Desk::new().await;
    let mut out = Vec::new();
    let args = AuditArgs {
        command: AuditCommand::Export {
            tenant: Some(acme()),
            from: None,
            to: None,
            format: Format::Jsonl,
        },
    };
    audit::run(&args, &desk.ctx, &mut out).await.unwrap();
    let lines: Vec<Value> = text(out).lines().map(json).collect();
    assert_eq!(lines.len(), 5);
    for (i, line) in lines.iter().enumerate() {
        assert_eq!(line["sequence"], i + 1);
    }
    assert_eq!(lines[1]["previous_hash"], lines[0]["hash"]);
    assert_eq!(lines[4]["event"], "completed");
    assert_eq!(lines[4]["after"]["daily_budget"]["minor"], 11_500);
}

#[tokio::test]
async fn a_part_of_the_audit_log_is_exported_for_a_spreadsheet() {
    let desk = Desk::new().await;
    let lines = desk.ctx.store.audit_lines(&acme(), 0, 10).await.unwrap();
    let export = async |from, to| {
        let mut out = Vec::new();
        let args = AuditArgs {
            command: AuditCommand::Export {
                tenant: Some(acme()),
                from,
                to,
                format: Format::Csv,
            },
        };
        audit::run(&args, &desk.ctx, &mut out).await.unwrap();
        let rows: Vec<String> = text(out).lines().map(str::to_owned).collect();
        assert!(rows[0].starts_with("tenant,sequence,at,event,actor,change,"));
        rows[1..].to_vec()
    };
    let all = export(None, None).await;
    assert_eq!(all.len(), 5);
    for (row, line) in all.iter().zip(&lines) {
        assert!(
            row.starts_with(&format!("acme,{},", line.sequence)),
            "{row}"
        );
        assert!(
            row.ends_with(&format!(",{},{}", line.previous_hash, line.hash)),
            "{row}"
        );
    }
    let last = lines[4].entry.at;
    assert_eq!(export(Some(last), None).await, all[4..]);
    let before = lines.iter().filter(|line| line.entry.at < last).count();
    assert_eq!(export(None, Some(last)).await.len(), before);
    assert_eq!(
        export(Some(time::add(last, time::seconds(1))), None)
            .await
            .len(),
        0
    );
}

/// Acme's account as it was read: set s9 with a budget, in an active campaign.
async fn read_account(store: &dyn Store, minor: i64) {
    use roasd::domain::ids::AdAccountId;
    use roasd::domain::structure::{
        Account, AccountStatus, AdSet, Budget, Campaign, EffectiveStatus, RunStatus, Structure,
    };
    let effective = EffectiveStatus("ACTIVE".to_owned());
    let (c1, s9) = (CampaignId::new("c1").unwrap(), AdSetId::new("s9").unwrap());
    let structure = Structure {
        account: Account {
            id: AdAccountId::new("act_1").unwrap(),
            name: "Acme".to_owned(),
            status: AccountStatus::Active,
            currency: Currency::USD,
            time_zone_name: "UTC".to_owned(),
            min_daily_budget: None,
        },
        campaigns: [(
            c1.clone(),
            Campaign {
                id: c1.clone(),
                name: "Leads".to_owned(),
                status: RunStatus::Active,
                effective: effective.clone(),
                budget: Budget::None,
                objective: "OUTCOME_LEADS".to_owned(),
                shares_budgets: false,
                has_budget_schedule: false,
                smart_promotion: None,
                created_at: at(0),
                updated_at: at(0),
            },
        )]
        .into(),
        ad_sets: [(
            s9.clone(),
            AdSet {
                id: s9,
                campaign: c1,
                name: "Morning classes s9".to_owned(),
                status: RunStatus::Active,
                effective,
                budget: Budget::Daily(usd(minor)),
                learning: None,
                created_at: at(0),
                updated_at: at(0),
            },
        )]
        .into(),
        ads: [].into(),
    };
    store
        .record_structure(&acme(), &structure, at(3_000))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_tenant_goes_back_to_a_time_or_is_told_why_not() {
    let desk = Desk::new().await;
    let store = desk.ctx.store.clone();
    let done = store.change("done-1").await.unwrap().unwrap();
    let before = time::sub(done.updated_at, time::seconds(1));
    let back = async |to, check| {
        let args = UndoArgs {
            id: None,
            to: Some(to),
            tenant: Some(acme()),
            check,
        };
        desk.changes(ChangesCommand::Undo(args)).await
    };
    let (exit, _) = back(before, true).await;
    assert_eq!(exit, Exit::Failed, "the account was never read");
    read_account(&*store, 11_500).await;
    let (exit, shown) = back(before, true).await;
    assert_eq!(exit, Exit::Done);
    says(&shown, &["115.00 USD", "100.00 USD", "nothing was queued"]);
    assert_eq!(store.change_counts(&acme()).await.unwrap().len(), 2);
    let (_, shown) = back(done.updated_at, false).await;
    says(&shown, &["nothing to take back"]);
    let (exit, shown) = back(before, false).await;
    assert_eq!(exit, Exit::Done);
    says(&shown, &["same gate and guards"]);
    let filter = roasd::store::changes::ChangeFilter {
        states: vec![ChangeState::Pending],
        limit: 10,
        ..Default::default()
    };
    let pending = store.changes(&filter).await.unwrap();
    let [one] = pending.as_slice() else {
        panic!("{pending:?}")
    };
    let p = &one.proposed;
    assert_eq!((p.expected, p.requested), (budget(11_500), budget(10_000)));
    assert_eq!(p.origin, Origin::Undo(ChangeId::new("done-1").unwrap()));
    says(&p.reason, &["asked for by cli:"]);
    // Somebody else's value stays, and is told.
    let other = Desk::new().await;
    read_account(&*other.ctx.store, 13_000).await;
    let args = UndoArgs {
        id: None,
        to: Some(before),
        tenant: Some(acme()),
        check: false,
    };
    let (_, shown) = other.changes(ChangesCommand::Undo(args)).await;
    says(
        &shown,
        &["cannot be taken back", "somebody has set it to 130.00 USD"],
    );
}

#[tokio::test]
async fn a_stop_of_all_spend_waits_for_no_resume_and_starts_again_only_what_it_stopped() {
    let desk = Desk::new().await;
    let store = desk.ctx.store.clone();
    let args = PauseArgs {
        tenant: Some(acme()),
        reason: "fraud".to_owned(),
        stop_spend: true,
    };
    let mut out = Vec::new();
    pause::pause(&args, &desk.ctx, &mut out).await.unwrap();
    says(&text(out), &["NOTHING is stopped at Meta"]);
    read_account(&*store, 11_500).await;
    let mut out = Vec::new();
    pause::pause(&args, &desk.ctx, &mut out).await.unwrap();
    says(
        &text(out),
        &["was paused already", "1 campaign(s) are being paused"],
    );
    desk.approve(&["wait-1"]).await;
    // The pause gives out the stop, and nothing else.
    let claim = async |s| {
        store
            .claim_change(&acme(), at(s), at(s + 60))
            .await
            .unwrap()
    };
    let stop = claim(3_601).await.unwrap().change;
    assert_eq!(stop.proposed.origin, Origin::Stop);
    assert_eq!(stop.proposed.entity.id(), "c1");
    assert!(claim(3_601).await.is_none());
    let (on, off) = (stop.proposed.expected, stop.proposed.requested);
    let (id, attempt) = (stop.proposed.id.clone(), stop.attempt);
    store
        .mark_executing(&acme(), &id, attempt, on, off, at(3_602))
        .await
        .unwrap();
    let (_, shown) = desk.resume(Some(acme())).await;
    says(&shown, &["1 campaign(s) are being paused just now"]);
    let completed = Settlement::Completed {
        before: on,
        after: off,
        was_sent: true,
        vendor_request: None,
        clipped_by: None,
    };
    store
        .settle_change(&acme(), &id, attempt, &completed, at(3_603))
        .await
        .unwrap();
    let (_, shown) = desk.resume(Some(acme())).await;
    says(
        &shown,
        &[
            "was not paused",
            "1 campaign(s) that were stopped are being resumed",
        ],
    );
    let (_, shown) = desk.resume(Some(acme())).await;
    assert!(!shown.contains("campaign"), "once: {shown}");
    let (_, shown) = desk.changes(ChangesCommand::List(list_all(true))).await;
    says(&shown, &["PAUSED", "ACTIVE"]);
    assert_eq!(desk.verify().await.0, Exit::Done);
}

#[tokio::test]
async fn every_command_speaks_json() {
    let desk = Desk::new().await.for_programs();
    let status = json(&desk.status().await);
    assert_eq!(status["tenants"][0]["changes"]["awaiting_approval"], 2);
    let list = json(&desk.changes(ChangesCommand::List(list_all(true))).await.1);
    assert_eq!(list["changes"].as_array().unwrap().len(), 3);
    let shown = json(&desk.changes(show("done-1")).await.1);
    assert_eq!(shown["sent"]["daily_budget"]["minor"], 11_500);
    assert_eq!(shown["audit"].as_array().unwrap().len(), 3);
    let explained = json(&desk.explain("wait-1").await.1);
    assert_eq!(explained["rationale"]["evidence"]["spend"], 800.0);
    assert_eq!(explained["change"]["state"], "awaiting_approval");
    let verified = json(&desk.verify().await.1);
    assert_eq!(verified["tenants"][0]["lines"], 5);
    let approved = json(&desk.approve(&["wait-1", "done-1"]).await.1);
    assert_eq!(approved["changes"][0]["state"], "pending");
    assert_eq!(approved["problems"].as_array().unwrap().len(), 1);
    let undone = json(&desk.changes(ChangesCommand::Undo(undo("done-1"))).await.1);
    assert_eq!(undone["to"]["daily_budget"]["minor"], 10_000);
    assert_eq!(json(&desk.pause(None).await.1)["changed"], true);
    assert_eq!(json(&desk.resume(None).await.1)["changed"], true);
    let quarantine = QuarantineCommand::List {
        tenant: None,
        limit: 1,
    };
    let quarantine = json(&desk.quarantine(quarantine).await.1);
    assert_eq!(quarantine["quarantine"].as_array().unwrap().len(), 0);
    assert!(desk.ctx.clock.now() == at(3_600));
}

#[tokio::test]
async fn migrating_makes_the_database_and_a_second_time_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("new.db");
    let environment = Environment::from([("T", "token")]);
    let config = roasd::cli::context::load_config(None, file.to_str(), &environment).unwrap();
    for _ in 0..2 {
        let mut out = Vec::new();
        let args = migrate::MigrateArgs::default();
        let exit = migrate::run(&args, &config, false, &mut out).await.unwrap();
        assert_eq!(exit, Exit::Done);
        says(&text(out), &["new.db is at schema version"]);
    }
    let missing = dir.path().join("missing.db");
    let config = roasd::cli::context::load_config(None, missing.to_str(), &environment).unwrap();
    let error = CliContext::open(config, false, false).await.unwrap_err();
    says(&error.to_string(), &["there is no such file"]);
    assert!(!missing.exists());
}

#[tokio::test]
async fn every_command_works_on_postgresql() {
    let database = crate::support::postgres::Database::empty().await;
    let environment = Environment::from([
        ("T", "token"),
        ("ROASD__DAEMON__DATABASE_URL", database.url()),
    ]);
    let config = Config::from_text("config.toml", CONFIG, &environment).unwrap();
    let unmigrated = CliContext::open(config.clone(), false, false).await;
    says(&unmigrated.unwrap_err().to_string(), &["roasd migrate"]);
    for _ in 0..2 {
        let mut out = Vec::new();
        let args = migrate::MigrateArgs::default();
        migrate::run(&args, &config, false, &mut out).await.unwrap();
        let newest = crate::support::newest_schema();
        let place = format!("/{} is at schema version {newest}", database.name());
        says(&text(out), &["postgres://", &place]);
    }
    let mut ctx = CliContext::open(config, false, false).await.unwrap();
    ctx.clock = Arc::new(SteppedClock::new(at(3_600)));
    let decision = make_history(&*ctx.store).await;
    let desk = Desk {
        _dir: tempfile::tempdir().unwrap(),
        path: std::path::PathBuf::new(),
        ctx,
        decision,
    };
    says(
        &desk.status().await,
        &["acme (Acme Fitness)", "2 awaiting approval"],
    );
    let (exit, approved) = desk.approve(&["wait-1"]).await;
    assert_eq!(exit, Exit::Done, "{approved}");
    assert_eq!(desk.state("wait-1").await, ChangeState::Pending);
    let (_, list) = desk.changes(ChangesCommand::List(list_all(true))).await;
    says(&list, &["wait-1", "wait-2", "done-1"]);
    let (exit, _) = desk.explain(desk.decision.as_str()).await;
    assert_eq!(exit, Exit::Done);
    assert_eq!(desk.pause(None).await.0, Exit::Done);
    assert_eq!(desk.resume(None).await.0, Exit::Done);
    let (exit, shown) = desk.verify().await;
    assert_eq!(exit, Exit::Done);
    says(&shown, &["acme: 8 lines hold"]);
}

#[tokio::test]
async fn a_person_is_erased_with_a_receipt() {
    let desk = Desk::new().await;
    let contact = roasd::domain::deal::Contact {
        id: "77".parse().unwrap(),
        facts: roasd::domain::deal::ContactFacts {
            email: roasd::domain::keyed_hash::KeyedHasher::new(b"0123456789abcdef")
                .email("ana@example.com"),
            ..Default::default()
        },
        updated_at: at(0),
    };
    let contacts = [contact];
    desk.ctx
        .store
        .record_contacts(&acme(), &contacts, at(0))
        .await
        .unwrap();
    let mut config = desk.ctx.config.clone();
    let key = [("T", "x"), ("ROASD__PRIVACY__HASH_KEY", "0123456789abcdef")];
    let keyed = Config::from_text("c", CONFIG, &Environment::from(key)).unwrap();
    config.privacy = keyed.privacy;
    let ctx = CliContext {
        config,
        store: desk.ctx.store.clone(),
        clock: desk.ctx.clock.clone(),
        json: false,
        is_terminal: false,
    };
    let erase = async |contact: Option<&str>, email: Option<&str>, json: bool| {
        let args = EraseArgs {
            tenant: acme(),
            contact: contact.map(|id| id.parse().unwrap()),
            email: email.map(str::to_owned),
        };
        let ctx = CliContext {
            config: ctx.config.clone(),
            store: ctx.store.clone(),
            clock: ctx.clock.clone(),
            json,
            is_terminal: false,
        };
        let mut out = Vec::new();
        let exit = erase::run(&args, &ctx, &mut out).await.unwrap();
        (exit, String::from_utf8(out).unwrap())
    };
    let (exit, _) = erase(None, Some("ben@example.com"), false).await;
    assert_eq!(exit, Exit::Failed);
    let (exit, _) = erase(None, Some("no address"), false).await;
    assert_eq!(exit, Exit::Usage);
    let (exit, out) = erase(None, Some(" Ana@Example.com"), false).await;
    assert_eq!(exit, Exit::Done);
    for words in [
        "erased contact 77 of acme",
        "rows of the contact           1",
        "first asked for by            an operator",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
    assert!(!out.to_lowercase().contains("ana@"), "{out}");
    // By id it can be asked again: the receipt is still there.
    let (exit, out) = erase(Some("77"), None, true).await;
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (exit, &told["erased"][0]["contacts"]),
        (Exit::Done, &Value::from(1))
    );
}

//! `roasd demo`: the whole loop on this machine against simulated vendors, no account needed.
//!
//! The daemon is the one that `run` starts; only the vendors' addresses and the clock differ. The
//! clock steps from due time to due time whenever nothing is in flight, so a month passes in
//! seconds and the same seed gives the same month.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use super::Exit;
use super::table::TextTable;
use crate::clock::{Clock, SteppedClock};
use crate::config::{Config, Environment};
use crate::daemon::Daemon;
use crate::domain::attribution::Method;
use crate::domain::audit::AuditEvent;
use crate::domain::change::ChangeState;
use crate::domain::ids::TenantId;
use crate::domain::money::Money;
use crate::domain::time::{self, SignedDuration, Timestamp};
use crate::sandbox::{
    Business, Credits, DeliverTo, LayerCredits, Sandbox, SandboxConfig, TenantSpec, Totals,
};
use crate::store::{Durability, Store};
use crate::telemetry::{LogFormat, LogOptions};

/// The address that HubSpot is told to call, and signs.
pub const PUBLIC_URL: &str = "https://roasd.example.com";

/// Where a daemon listens whose configuration names no other place.
const PORT: u16 = 8787;

/// What `demo` takes.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Where the demo keeps its database, journal and configuration. A demo that was cut short goes
    /// on from there; a finished one is begun anew.
    #[arg(long, default_value = "roasd-demo")]
    pub dir: PathBuf,
    /// Seed of the market and of every draw.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Simulated days.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=365))]
    pub days: u32,
    /// Write the daemon's log to standard error.
    #[arg(long)]
    pub verbose: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// How the daemon that goes with a sandbox is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Speed, epoch and anchor of its clock; `None` for a clock that is handed in.
    pub clock: Option<(f64, Timestamp, Timestamp)>,
    /// How often the executor looks for what nobody told it of.
    pub poll: SignedDuration,
}

/// The file that says that a demo came to its end.
const DONE: &str = "done";

/// Runs the demo.
///
/// # Errors
/// When a part cannot start.
pub async fn run(args: &DemoArgs, out: &mut (dyn Write + Send)) -> anyhow::Result<Exit> {
    let dir = &args.dir;
    let log = if args.verbose { "info" } else { "error" };
    let options = LogOptions {
        filter: log.to_owned(),
        format: LogFormat::Auto,
    };
    crate::telemetry::init_logging(&options)?;
    begin(dir)?;
    let mut vendors = SandboxConfig::demo(dir, args.seed);
    vendors.human_edits = Vec::new();
    let start = vendors.start;
    let end = time::add(start, time::days(i64::from(args.days)));
    let resumed = Sandbox::resume_time(dir)?;
    let from = resumed.unwrap_or(start).max(start);
    let clock = SteppedClock::new(from);
    // Time stands still until every part is in place.
    let hold = clock.hold();
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let sandbox = Sandbox::start(vendors, shared.clone()).await?;
    let mut settings = Settings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        clock: None,
        poll: time::minutes(30),
    };
    let file = write_config(dir, &sandbox, &settings)?;
    let config = Config::load(Some(&file), &Environment::empty())
        .map_err(|faults| anyhow::anyhow!("the demo's configuration has faults:\n{faults}"))?;
    let daemon = Daemon::start(
        config,
        shared,
        args.seed,
        time::hours(1),
        Durability::Process,
    )
    .await?;
    sandbox.start_deliveries(DeliverTo {
        base: format!("http://{}", daemon.address()),
        public_url: PUBLIC_URL.to_owned(),
    })?;
    drop(hold);
    if !args.json {
        introduce(args, resumed.is_some(), from, out)?;
    }
    let progress = progress_bar(args, start, from);
    let mut day = from;
    while day < end {
        day = time::add(day, time::hours(6)).min(end);
        clock.run_until(day).await;
        progress.set_position(hours(start, day));
    }
    progress.finish_and_clear();
    let store = daemon.store();
    let mut results = Vec::new();
    for spec in sandbox.config().tenants.clone() {
        results.push(result(&spec, &sandbox, store.as_ref(), end).await?);
    }
    daemon.stop().await;
    // Whoever looks at what is left by a daemon of their own finds it where any other is.
    settings.listen.set_port(PORT);
    write_config(dir, &sandbox, &settings)?;
    sandbox.stop().await;
    std::fs::write(dir.join(DONE), "")?;
    if args.json {
        writeln!(out, "{:#}", json(args, &results))?;
    } else {
        report(args, &file, &results, out)?;
    }
    Ok(Exit::Done)
}

/// A finished demo is begun anew; one that was cut short goes on.
fn begin(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir)
        .with_context(|| format!("{} cannot be made; name another --dir", dir.display()))?;
    if dir.join(DONE).exists() {
        for name in [
            DONE,
            "journal.jsonl",
            "roasd.db",
            "roasd.db-wal",
            "roasd.db-shm",
            "config.toml",
        ] {
            match std::fs::remove_file(dir.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("{name} cannot be removed"));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn introduce(
    args: &DemoArgs,
    resumes: bool,
    from: Timestamp,
    out: &mut (dyn Write + Send),
) -> std::io::Result<()> {
    if resumes {
        writeln!(out, "This demo was cut short; it goes on at {from:.0}.")?;
    }
    writeln!(
        out,
        "{} simulated days, seed {}: a gym (leads become members within a week), a shop (sells\n\
         within hours) and a clinic (roasd proposes, a person would approve). Meta and HubSpot are\n\
         simulated on this machine; the daemon is the real one.",
        args.days, args.seed
    )
}

fn hours(from: Timestamp, to: Timestamp) -> u64 {
    time::hours_between(from, to).max(0.0) as u64
}

fn progress_bar(args: &DemoArgs, start: Timestamp, from: Timestamp) -> indicatif::ProgressBar {
    if args.json || !std::io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let bar = indicatif::ProgressBar::new(u64::from(args.days) * 24);
    let style = indicatif::ProgressStyle::with_template(
        "  day {msg} {wide_bar} {percent} %, {elapsed} so far",
    );
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_position(hours(start, from));
    bar
}

/// Writes a configuration for the daemon that goes with a sandbox, with its secrets in files of
/// their own.
///
/// # Errors
/// When a file cannot be written.
pub fn write_config(dir: &Path, sandbox: &Sandbox, settings: &Settings) -> anyhow::Result<PathBuf> {
    let vendors = sandbox.config();
    let dir = std::path::absolute(dir)?;
    let secrets = dir.join("secrets");
    std::fs::create_dir_all(&secrets)?;
    let secret = |name: &str, value: &str| -> anyhow::Result<String> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = secrets.join(name);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(value.as_bytes())?;
        Ok(format!("{{ file = {:?} }}", path.display().to_string()))
    };
    let mut text = String::new();
    let app_secret = secret("meta-app", vendors.app_secret.as_deref().unwrap_or("none"))?;
    let client_secret = secret("hubspot-client", &vendors.client_secret)?;
    writeln!(
        text,
        "# Written by roasd for its sandbox; every vendor is simulated on this machine.\n\
         [daemon]\nlisten = \"{}\"\npublic_url = \"{PUBLIC_URL}\"\ndata_dir = {:?}\n",
        settings.listen,
        dir.display().to_string(),
    )?;
    if let Some((speed, epoch, anchor)) = &settings.clock {
        writeln!(
            text,
            "[clock]\nspeed = {speed:?}\nepoch = \"{epoch}\"\nanchor = {}\n",
            anchor.as_second()
        )?;
    }
    writeln!(
        text,
        "[meta]\nbase_url = \"{}\"\napp_id = \"{}\"\napp_secret = {app_secret}\naccess_tier = \"standard\"\n\n\
         [hubspot]\nbase_url = \"{}\"\nclient_secret = {client_secret}\ncalls_per_10s = 190\n\
         searches_per_second = {}\n",
        sandbox.meta_base(),
        vendors.app_id,
        sandbox.hubspot_base(),
        if vendors.is_unlimited { 5 } else { 3 },
    )?;
    for spec in &vendors.tenants {
        tenant_config(&mut text, spec, settings, &secret)?;
    }
    let file = dir.join("config.toml");
    std::fs::write(&file, text)?;
    Ok(file)
}

/// The cap that the owner states: what the account's budgets come to, and a fifth. A cap at the very
/// sum would hold every raise until a cut is through, and none at all is nobody's wish.
fn daily_cap(business: Business) -> Money {
    let budgets = business.daily_budgets_minor();
    Money::from_minor(budgets + budgets / 5, business.currency())
}

fn tenant_config(
    text: &mut String,
    spec: &TenantSpec,
    settings: &Settings,
    secret: &dyn Fn(&str, &str) -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    let business = spec.business;
    let id = &spec.tenant;
    let (name, autonomy, mode) = match business {
        Business::Gym => ("Iron Street Gym", "auto", "pipeline"),
        Business::Shop => ("Northampton Boots", "auto", "direct"),
        Business::Clinic => ("Praxis am Park", "approve", "pipeline"),
    };
    let currency = business.currency();
    let cap = daily_cap(business);
    let meta = secret(&format!("{id}-meta"), &spec.meta_token)?;
    let hubspot = secret(&format!("{id}-hubspot"), &spec.hubspot_token)?;
    writeln!(
        text,
        "[tenants.{id}]\nname = \"{name}\"\nautonomy = \"{autonomy}\"\nmode = \"{mode}\"\n\
         currency = \"{currency}\"\n\
         meta = {{ ad_account = \"{}\", page_ids = [\"{}\"], access_token = {meta} }}\n\
         hubspot = {{ portal_id = {}, access_token = {hubspot}, pipelines = [\"{}\"] }}\n\
         budget = {{ daily_cap = \"{}\" }}\n\
         schedule = {{ sync_every = \"2h\", executor_poll = \"{}s\" }}\n\
         [tenants.{id}.rules]\nsales_cycle_days = {:?}\n\
         [tenants.{id}.stages]",
        spec.ad_account,
        spec.page,
        spec.portal.0,
        business.pipeline(),
        cap.to_decimal(),
        settings.poll.as_secs(),
        business.cycle_days(),
    )?;
    for stage in business.stages() {
        writeln!(
            text,
            "{} = {{ value = \"{}\", confidence = {}, hubspot_stage = \"{}\" }}",
            stage.name,
            Money::from_minor(stage.value_minor, currency).to_decimal(),
            if stage.is_closed {
                "1.0"
            } else {
                stage.probability
            },
            stage.hubspot_stage,
        )?;
    }
    text.push('\n');
    Ok(())
}

/// The layers of attribution, in their order.
const LAYERS: [Method; 3] = [Method::UrlParam, Method::Fingerprint, Method::Probabilistic];

/// What a tenant's month came to.
#[derive(Debug)]
struct TenantResult {
    tenant: TenantId,
    truth: Totals,
    alone: Totals,
    executed: u64,
    waiting: u64,
    held: Vec<(String, u64)>,
    cap: Money,
    credits: Credits,
    decision: Option<String>,
}

async fn result(
    spec: &TenantSpec,
    sandbox: &Sandbox,
    store: &dyn Store,
    end: Timestamp,
) -> anyhow::Result<TenantResult> {
    let id = &spec.tenant;
    let lost = || format!("the sandbox has no tenant {id}");
    let truth = sandbox.truth(id, end).with_context(lost)?;
    let alone = sandbox.baseline(id, end).with_context(lost)?;
    let counts = store.change_counts(id).await?;
    let count = |state| {
        counts
            .iter()
            .find(|(s, _)| *s == state)
            .map_or(0, |(_, n)| *n)
    };
    let mut held = std::collections::BTreeMap::new();
    let mut after = 0;
    loop {
        let lines = store.audit_lines(id, after, 1_000).await?;
        let Some(last) = lines.last() else { break };
        after = last.sequence;
        for line in &lines {
            if matches!(line.entry.event, AuditEvent::Deferred | AuditEvent::Refused)
                && let Some(rule) = &line.entry.rule
            {
                *held.entry(rule.clone()).or_insert(0) += 1;
            }
        }
    }
    let mut held: Vec<(String, u64)> = held.into_iter().collect();
    held.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let origins = sandbox.origins(id, end).with_context(lost)?;
    let deals = store.deals_since(id, Timestamp::MIN).await?;
    let credits = origins.judge(deals.iter().map(|d| (&d.deal.id, d.attribution.as_ref())));
    let decisions = store.latest_decisions(id).await?;
    let telling = decisions
        .iter()
        .find(|d| d.action != "hold")
        .or(decisions.first());
    Ok(TenantResult {
        tenant: id.clone(),
        truth,
        alone,
        executed: count(ChangeState::Completed),
        waiting: count(ChangeState::AwaitingApproval),
        held,
        cap: daily_cap(spec.business),
        credits,
        decision: telling.map(|d| d.id.to_string()),
    })
}

fn roas(revenue: Money, spend: Money) -> f64 {
    let spend = spend.to_f64();
    if spend > 0.0 {
        revenue.to_f64() / spend
    } else {
        0.0
    }
}

fn report(
    args: &DemoArgs,
    file: &Path,
    results: &[TenantResult],
    out: &mut (dyn Write + Send),
) -> std::io::Result<()> {
    let is_terminal = std::io::stdout().is_terminal();
    let heads = [
        "tenant",
        "",
        "spend",
        "pipeline",
        "revenue so far",
        "revenue in the end",
        "expected",
        "ROAS",
    ];
    let mut table = TextTable::new(&heads, is_terminal).right(&[2, 3, 4, 5, 6, 7]);
    for r in results {
        for (who, label, t) in [
            (r.tenant.as_str(), "with roasd", &r.truth),
            ("", "left alone", &r.alone),
        ] {
            table.row([
                who.to_owned(),
                label.to_owned(),
                t.spend.to_string(),
                t.pipeline_value.to_string(),
                t.revenue_seen.to_string(),
                t.revenue_final.to_string(),
                t.revenue_expected.to_string(),
                format!("{:.2}", roas(t.revenue_expected, t.spend)),
            ]);
        }
    }
    writeln!(out, "\n{}", table.render())?;
    let caps: Vec<String> = results.iter().map(|r| r.cap.to_string()).collect();
    writeln!(
        out,
        "Pipeline: the value of the stages that deals from ads stand in. In the end: all clicks of the\n\
         {} days followed to their sale. Expected: the same without the luck of single deals; ROAS is\n\
         taken on it, by what was spent. Left alone: the same market and seed with no budget touched.\n\
         The owners' caps on all daily budgets together leave a fifth to add: {}.\n",
        args.days,
        caps.join(", "),
    )?;
    let heads = [
        "tenant",
        "executed",
        "waiting for approval",
        "held back, by guard",
    ];
    let mut table = TextTable::new(&heads, is_terminal).right(&[1, 2]);
    for r in results {
        let held: Vec<String> = r
            .held
            .iter()
            .map(|(rule, count)| format!("{rule} {count}"))
            .collect();
        let held = if held.is_empty() {
            "none".to_owned()
        } else {
            held.join(", ")
        };
        table.row([
            r.tenant.to_string(),
            r.executed.to_string(),
            r.waiting.to_string(),
            held,
        ]);
    }
    writeln!(out, "Changes to the ad accounts\n{}\n", table.render())?;
    let heads = [
        "tenant",
        "url_param",
        "fingerprint",
        "probabilistic",
        "unattributed",
        "organic claimed",
    ];
    let mut table = TextTable::new(&heads, is_terminal).right(&[1, 2, 3, 4, 5]);
    for r in results {
        let mut row = vec![r.tenant.to_string()];
        row.extend(LAYERS.map(|method| {
            let LayerCredits { deals, right, .. } = r.credits.by(method);
            format!("{deals} ({right} right)")
        }));
        row.push(format!(
            "{} ({} organic)",
            r.credits.unattributed, r.credits.unattributed_organic
        ));
        let (organic, claimed) = r.credits.organic();
        row.push(format!("{claimed} of {organic}"));
        table.row(row);
    }
    writeln!(out, "Deals attributed, by layer\n{}", table.render())?;
    writeln!(
        out,
        "Right: credited to the ad whose click won the deal, as the market alone knows. Organic: no ad\n\
         had a part in it; claimed: credited to one none the less.\n"
    )?;
    let config = file.display();
    writeln!(out, "Where to look next")?;
    writeln!(out, "  roasd --config {config} status")?;
    writeln!(out, "  roasd --config {config} changes list")?;
    if let Some(decision) = results.iter().find_map(|r| r.decision.as_ref()) {
        writeln!(out, "  roasd --config {config} explain {decision}")?;
    }
    writeln!(out, "  roasd --config {config} audit verify")
}

fn json(args: &DemoArgs, results: &[TenantResult]) -> serde_json::Value {
    let totals = |t: &Totals| {
        serde_json::json!({
            "currency": t.spend.currency().code(),
            "spend": t.spend.to_decimal(),
            "clicks": t.clicks,
            "leads": t.leads,
            "wins": t.wins,
            "pipeline_value": t.pipeline_value.to_decimal(),
            "revenue_seen": t.revenue_seen.to_decimal(),
            "revenue_final": t.revenue_final.to_decimal(),
            "revenue_expected": t.revenue_expected.to_decimal(),
            "roas_expected": roas(t.revenue_expected, t.spend),
            "roas_final": roas(t.revenue_final, t.spend),
        })
    };
    let tenants: serde_json::Map<_, _> = results
        .iter()
        .map(|r| {
            let by_layer = |of: fn(LayerCredits) -> u64| -> serde_json::Map<_, _> {
                LAYERS
                    .into_iter()
                    .map(|m| (m.as_str().to_owned(), of(r.credits.by(m)).into()))
                    .collect()
            };
            let mut layers = by_layer(|layer| layer.deals);
            layers.insert("unattributed".to_owned(), r.credits.unattributed.into());
            let (organic, claimed) = r.credits.organic();
            let held: serde_json::Map<_, _> = r
                .held
                .iter()
                .map(|(k, n)| (k.clone(), (*n).into()))
                .collect();
            let value = serde_json::json!({
                "with_roasd": totals(&r.truth),
                "left_alone": totals(&r.alone),
                "executed": r.executed,
                "waiting_for_approval": r.waiting,
                "held_back": held,
                "daily_cap": r.cap.to_decimal(),
                "deals_by_layer": layers,
                "credited_right": by_layer(|layer| layer.right),
                "organic": {
                    "deals": organic,
                    "unattributed": r.credits.unattributed_organic,
                    "claimed": claimed,
                },
            });
            (r.tenant.to_string(), value)
        })
        .collect();
    serde_json::json!({ "seed": args.seed, "days": args.days, "tenants": tenants })
}

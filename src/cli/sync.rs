//! `roasd sync`: asks the daemon that works for a tenant to read both vendors now, and waits.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::context::{CliContext, Out, actor, clean, print_json};
use super::table::TextTable;
use super::{Exit, complain};
use crate::clock::{since_boot, wall_sleep};
use crate::domain::ids::TenantId;
use crate::domain::time::{self, Timestamp};
use crate::store::syncs::SyncRequest;

/// How often the store is asked how far it is.
const LOOK: Duration = Duration::from_millis(200);
/// How often it is asked whether anybody is still there.
const LOOK_FOR_DAEMON: Duration = Duration::from_secs(3);

/// What `sync` takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct SyncArgs {
    /// The tenant; without one all.
    pub tenant: Option<TenantId>,
    /// Read the CRM's whole list of deals too, archived ones and however old they are.
    #[arg(long)]
    pub full: bool,
    /// Ask and do not wait.
    #[arg(long)]
    pub no_wait: bool,
}

/// Why nobody would answer, if so.
async fn nobody_there(ctx: &CliContext) -> anyhow::Result<Option<&'static str>> {
    let url = ctx.config.database_url();
    if crate::store::file_of(url.expose()).is_some() {
        let is_there = crate::daemon::is_database_held(url.expose());
        return Ok((!is_there).then_some("no daemon works on this database"));
    }
    let nodes = ctx.store.nodes(ctx.now()).await?;
    let is_there = nodes
        .iter()
        .any(|seen| seen.silent_for < ctx.config.daemon.lease);
    Ok((!is_there).then_some("no node of this database is alive"))
}

/// Asks, waits and shows what was read.
///
/// # Errors
/// When the database does not answer or the output cannot be written.
pub async fn run(args: &SyncArgs, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    let tenants = match ctx.chosen(args.tenant.as_ref()).await? {
        Ok(tenants) => tenants,
        Err(unknown) => {
            complain(&unknown);
            return Ok(Exit::Usage);
        }
    };
    if let Some(why) = nobody_there(ctx).await? {
        complain(&format!(
            "{why}, so nobody would read anything; start it (systemctl start roasd), it reads the \
             vendors by itself"
        ));
        return Ok(Exit::Failed);
    }
    let mut asked = BTreeMap::new();
    for tenant in tenants {
        let at = ctx
            .store
            .ask_sync(&tenant, &actor(), args.full, ctx.now())
            .await?;
        ctx.store.nudge_sync(&tenant);
        asked.insert(tenant, at);
    }
    let begun = since_boot();
    let mut answers = BTreeMap::new();
    if !args.no_wait {
        let bar = spinner(ctx);
        let outcome = wait(ctx, &asked, &mut answers, &bar).await;
        bar.finish_and_clear();
        if let Some(why) = outcome? {
            complain(&format!(
                "{why} any more; what is asked for is done when one is back"
            ));
            return Ok(Exit::Failed);
        }
    }
    let took = since_boot().saturating_sub(begun);
    if ctx.json {
        print_json(out, &to_json(&asked, &answers, took))?;
    } else if args.no_wait {
        writeln!(out, "asked for {} tenants", asked.len())?;
    } else {
        show(&answers, ctx.is_terminal, out)?;
    }
    let has_failed = answers
        .values()
        .any(|answer: &SyncRequest| answer.progress.failed.is_some());
    Ok(if has_failed { Exit::Failed } else { Exit::Done })
}

/// Waits for every answer; says why when none can come any more.
async fn wait(
    ctx: &CliContext,
    asked: &BTreeMap<TenantId, Timestamp>,
    answers: &mut BTreeMap<TenantId, SyncRequest>,
    bar: &indicatif::ProgressBar,
) -> anyhow::Result<Option<&'static str>> {
    let mut looked = since_boot();
    loop {
        for (tenant, at) in asked {
            if answers.contains_key(tenant) {
                continue;
            }
            let request = ctx.store.sync_request(tenant).await?;
            let Some(request) = request.filter(|request| request.asked_at >= *at) else {
                continue;
            };
            bar.set_message(told(tenant, &request));
            if request.done_at.is_some() {
                answers.insert(tenant.clone(), request);
            }
        }
        if answers.len() == asked.len() {
            return Ok(None);
        }
        if since_boot().saturating_sub(looked) > LOOK_FOR_DAEMON {
            looked = since_boot();
            if let Some(why) = nobody_there(ctx).await? {
                return Ok(Some(why));
            }
        }
        wall_sleep(LOOK).await;
    }
}

/// One line of how far it is.
fn told(tenant: &TenantId, request: &SyncRequest) -> String {
    let progress = &request.progress;
    if request.told_at.is_none() {
        return format!("{tenant}: waiting for the daemon");
    }
    let counts = &progress.counts;
    format!(
        "{tenant}: {}, {} deals read, {} changed",
        progress.phase, counts.deals, counts.changed
    )
}

fn spinner(ctx: &CliContext) -> indicatif::ProgressBar {
    if ctx.json || !std::io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let bar = indicatif::ProgressBar::new_spinner();
    if let Ok(style) = indicatif::ProgressStyle::with_template("  {spinner} {msg}, {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn show(
    answers: &BTreeMap<TenantId, SyncRequest>,
    is_terminal: bool,
    out: Out<'_>,
) -> anyhow::Result<()> {
    let heads = [
        "tenant", "listed", "searched", "deals", "changed", "missing", "contacts", "took", "result",
    ];
    let mut table = TextTable::new(&heads, is_terminal).right(&[1, 2, 3, 4, 5, 6, 7]);
    for (tenant, answer) in answers {
        let counts = &answer.progress.counts;
        let failed = answer.progress.failed.as_deref();
        table.row([
            tenant.to_string(),
            counts.listed.to_string(),
            counts.searched.to_string(),
            counts.deals.to_string(),
            counts.changed.to_string(),
            counts.missing.to_string(),
            counts.contacts.to_string(),
            format!("{:.1} s", seconds(answer)),
            failed.map_or_else(
                || "done".to_owned(),
                |why| format!("failed: {}", clean(why)),
            ),
        ]);
    }
    writeln!(out, "{}", table.render())?;
    Ok(())
}

fn seconds(answer: &SyncRequest) -> f64 {
    let done = answer.done_at.unwrap_or(answer.asked_at);
    time::between(answer.asked_at, done).as_secs_f64()
}

fn to_json(
    asked: &BTreeMap<TenantId, Timestamp>,
    answers: &BTreeMap<TenantId, SyncRequest>,
    took: Duration,
) -> Value {
    let tenants: Vec<Value> = asked
        .iter()
        .map(|(tenant, at)| {
            let answer = answers.get(tenant);
            let counts = answer.map(|answer| answer.progress.counts);
            json!({
                "tenant": tenant.as_str(),
                "asked_at": at.to_string(),
                "done_at": answer.and_then(|a| a.done_at).map(|at| at.to_string()),
                "failed": answer.and_then(|a| a.progress.failed.clone()),
                "read": counts.map(|c| json!({
                    "listed": c.listed, "searched": c.searched, "deals": c.deals,
                    "changed": c.changed, "missing": c.missing, "contacts": c.contacts,
                })),
            })
        })
        .collect();
    json!({ "tenants": tenants, "took_s": took.as_secs_f64() })
}

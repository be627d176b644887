//! `roasd pause` and `roasd resume`: the kill switch, and the one for the money itself.

use serde_json::json;

use super::context::{CliContext, Out, actor, clean, print_json, when};
use super::{Exit, complain};
use crate::actors::spend::{self, Restarted, Stopped};
use crate::domain::ids::TenantId;
use crate::store::tenants::Held;

/// What `pause` takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PauseArgs {
    /// The tenant; without one the whole daemon.
    pub tenant: Option<TenantId>,
    /// Why, for health and the audit log.
    #[arg(long, default_value = "paused by a person")]
    pub reason: String,
    /// Also pause at Meta every campaign that roasd may pause, so that no money is spent. `roasd
    /// resume` starts again those, and no others. The daemon must run.
    #[arg(long)]
    pub stop_spend: bool,
}

/// What `resume` takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ResumeArgs {
    /// The tenant; without one the whole daemon.
    pub tenant: Option<TenantId>,
}

fn subject(tenant: Option<&TenantId>) -> (String, String) {
    match tenant {
        Some(tenant) => (tenant.to_string(), format!(" {tenant}")),
        None => ("the whole daemon".to_owned(), String::new()),
    }
}

/// Pauses; a second time changes nothing.
///
/// # Errors
/// When the database does not answer or the output cannot be written.
pub async fn pause(args: &PauseArgs, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    // A mistyped name must not look like a pause.
    if let Err(unknown) = ctx.chosen(args.tenant.as_ref()).await? {
        complain(&unknown);
        return Ok(Exit::Usage);
    }
    let tenant = args.tenant.as_ref();
    let held = Held {
        by: actor(),
        reason: args.reason.clone(),
        since: ctx.now(),
    };
    let is_new = ctx.store.pause(tenant, &held).await?;
    let (name, argument) = subject(tenant);
    let mut stopped = Vec::new();
    if args.stop_spend {
        for tenant in ctx.chosen(tenant).await?.unwrap_or_default() {
            let manage = ctx.config.tenants.get(&tenant);
            let manage = manage.map(|t| t.settings.manage()).unwrap_or_default();
            let store = ctx.store.as_ref();
            let told = spend::stop(store, &tenant, &manage, &held.by, held.since).await?;
            stopped.push((tenant, told));
        }
    }
    if ctx.json {
        let stopped: Vec<_> = stopped.iter().map(stopped_json).collect();
        let paused = json!({
            "paused": tenant.map(TenantId::as_str), "daemon": tenant.is_none(), "changed": is_new,
            "stopped": args.stop_spend.then_some(stopped),
        });
        print_json(out, &paused)?;
        return Ok(Exit::Done);
    }
    if is_new {
        writeln!(out, "paused {name}: {}", clean(&args.reason))?;
        writeln!(
            out,
            "No change is sent to Meta from now on, also after a restart. What is being sent at this \
             moment is heard out. Reading and deciding go on."
        )?;
    } else {
        writeln!(out, "{name} was paused already")?;
        let known = ctx.tenants().await?;
        if let Some(any) = tenant.or_else(|| known.first()) {
            let holds = ctx.store.holds(any).await?;
            let held = if tenant.is_some() {
                holds.paused
            } else {
                holds.daemon_paused
            };
            if let Some(held) = held {
                let since = when(held.since, ctx.now());
                writeln!(out, "by {} since {since}: {}", held.by, clean(&held.reason))?;
            }
        }
    }
    for (tenant, told) in &stopped {
        print_stopped(tenant, told, out)?;
    }
    writeln!(out, "to go on: roasd resume{argument}")?;
    Ok(Exit::Done)
}

fn stopped_json((tenant, told): &(TenantId, Stopped)) -> serde_json::Value {
    let left = told.left.iter().map(|(entity, name, why)| {
        json!({ "campaign": entity.id(), "name": name, "why": why.to_string() })
    });
    json!({
        "tenant": tenant.as_str(),
        "campaigns": told.campaigns,
        "is_known": told.is_known,
        "left": left.collect::<Vec<_>>(),
    })
}

fn print_stopped(tenant: &TenantId, told: &Stopped, out: Out<'_>) -> std::io::Result<()> {
    if !told.is_known {
        return writeln!(
            out,
            "{tenant}: its campaigns were never read, so NOTHING is stopped at Meta; use Ads Manager"
        );
    }
    writeln!(
        out,
        "{tenant}: {} campaign(s) are being paused at Meta; roasd changes list --tenant {tenant} \
         shows how far that is",
        told.campaigns
    )?;
    for (entity, name, why) in &told.left {
        writeln!(
            out,
            "{tenant}: {} ({entity}) GOES ON SPENDING: {why}; use Ads Manager",
            clean(name)
        )?;
    }
    Ok(())
}

fn print_restarted(tenant: &TenantId, told: Restarted, out: Out<'_>) -> std::io::Result<()> {
    if told.campaigns > 0 {
        writeln!(
            out,
            "{tenant}: {} campaign(s) that were stopped are being resumed",
            told.campaigns
        )?;
    }
    if told.under_way > 0 {
        writeln!(
            out,
            "{tenant}: {} campaign(s) are being paused just now; to start them again: roasd resume \
             {tenant} in a minute",
            told.under_way
        )?;
    }
    Ok(())
}

/// Ends a pause, or a parking; a second time changes nothing.
///
/// # Errors
/// When the database does not answer or the output cannot be written.
pub async fn resume(args: &ResumeArgs, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    if let Err(unknown) = ctx.chosen(args.tenant.as_ref()).await? {
        complain(&unknown);
        return Ok(Exit::Usage);
    }
    let tenant = args.tenant.as_ref();
    let changed = ctx.store.resume(tenant, &actor(), ctx.now()).await?;
    match tenant {
        Some(tenant) => ctx.store.nudge(tenant),
        None => ctx.store.nudge_everyone(),
    }
    let (name, argument) = subject(tenant);
    // What still holds writes back, which a person who resumes will want to know.
    let (mut still, mut restarted) = (Vec::new(), Vec::new());
    for tenant in ctx.chosen(tenant).await?.unwrap_or_default() {
        let holds = ctx.store.holds(&tenant).await?;
        // What was stopped starts again when nothing pauses the tenant any more, also when a resume
        // before this one came too early for some of it.
        if holds.daemon_paused.is_none() && holds.paused.is_none() {
            let told = spend::restart(ctx.store.as_ref(), &tenant, &actor(), ctx.now()).await?;
            restarted.push((tenant.clone(), told));
        }
        if args.tenant.is_some() && holds.daemon_paused.is_some() {
            still.push("the whole daemon is still paused: roasd resume".to_owned());
        }
        if holds.paused.is_some() {
            still.push(format!("{tenant} is still paused: roasd resume {tenant}"));
        }
        if let Some(held) = holds.parked {
            still.push(format!(
                "{tenant} is parked ({}): roasd resume {tenant}",
                clean(&held.reason)
            ));
        }
        if let Some(held) = holds.suspended {
            still.push(format!(
                "{tenant} is suspended until the cause is gone: {}",
                clean(&held.reason)
            ));
        }
    }
    if ctx.json {
        let restarted: Vec<_> = restarted
            .iter()
            .map(|(tenant, told)| {
                json!({
                    "tenant": tenant.as_str(), "campaigns": told.campaigns,
                    "withdrawn": told.withdrawn, "under_way": told.under_way,
                })
            })
            .collect();
        let resumed = json!({
            "resumed": tenant.map(TenantId::as_str), "daemon": tenant.is_none(), "changed": changed,
            "still_held": still, "restarted": restarted,
        });
        print_json(out, &resumed)?;
        return Ok(Exit::Done);
    }
    if changed {
        writeln!(out, "resumed {name}: due changes are judged again and sent")?;
        writeln!(out, "to stop again: roasd pause{argument}")?;
    } else {
        writeln!(out, "{name} was not paused")?;
    }
    for (tenant, told) in restarted {
        print_restarted(&tenant, told, out)?;
    }
    for line in still {
        writeln!(out, "note: {line}")?;
    }
    Ok(Exit::Done)
}

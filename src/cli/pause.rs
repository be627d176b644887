//! `roasd pause` and `roasd resume`: the kill switch.

use serde_json::json;

use super::context::{CliContext, Out, actor, clean, print_json, when};
use super::{Exit, complain};
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
    if ctx.json {
        let paused = json!({ "paused": tenant.map(TenantId::as_str), "daemon": tenant.is_none(), "changed": is_new });
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
    writeln!(out, "to go on: roasd resume{argument}")?;
    Ok(Exit::Done)
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
    let mut still = Vec::new();
    for tenant in ctx.chosen(tenant).await?.unwrap_or_default() {
        let holds = ctx.store.holds(&tenant).await?;
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
        let resumed = json!({ "resumed": tenant.map(TenantId::as_str), "daemon": tenant.is_none(), "changed": changed, "still_held": still });
        print_json(out, &resumed)?;
        return Ok(Exit::Done);
    }
    if changed {
        writeln!(out, "resumed {name}: due changes are judged again and sent")?;
        writeln!(out, "to stop again: roasd pause{argument}")?;
    } else {
        writeln!(out, "{name} was not paused")?;
    }
    for line in still {
        writeln!(out, "note: {line}")?;
    }
    Ok(Exit::Done)
}

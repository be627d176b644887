//! `roasd quarantine`: deliveries that could not be read, with their bytes.

use clap::Subcommand;
use serde_json::{Value, json};

use super::context::{CliContext, Out, ago, clean, print_json, when};
use super::table::TextTable;
use super::{Exit, complain};
use crate::domain::ids::TenantId;
use crate::store::inbox::Quarantined;

/// What `quarantine` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct QuarantineArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: QuarantineCommand,
}

/// What can be done with the quarantine.
#[derive(Debug, Clone, Subcommand)]
pub enum QuarantineCommand {
    /// List what is in quarantine, oldest first.
    ///
    /// Example:  roasd quarantine list --tenant acme
    List {
        /// Of this tenant only.
        #[arg(long)]
        tenant: Option<TenantId>,
        /// This many at most.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Show one with its bytes as they came.
    ///
    /// Example:  roasd quarantine show 17
    Show {
        /// Its number.
        id: i64,
    },
    /// Let them be tried again, for instance by a newer roasd.
    ///
    /// Example:  roasd quarantine retry 17 18
    Retry {
        /// Their numbers.
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// Throw them away for good.
    ///
    /// Example:  roasd quarantine drop 17
    Drop {
        /// Their numbers.
        #[arg(required = true)]
        ids: Vec<i64>,
    },
}

/// Runs the command.
///
/// # Errors
/// When the database does not answer or the output cannot be written.
pub async fn run(args: &QuarantineArgs, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    match &args.command {
        QuarantineCommand::List { tenant, limit } => list(tenant.as_ref(), *limit, ctx, out).await,
        QuarantineCommand::Show { id } => show(*id, ctx, out).await,
        QuarantineCommand::Retry { ids } => end(ids, true, ctx, out).await,
        QuarantineCommand::Drop { ids } => end(ids, false, ctx, out).await,
    }
}

fn row_json(row: &Quarantined) -> Value {
    json!({
        "id": row.id,
        "tenant": row.tenant.as_str(),
        "source": row.source,
        "reason": row.reason,
        "received_at": row.received_at.to_string(),
        "bytes": row.body.len(),
        "body": String::from_utf8_lossy(&row.body),
    })
}

async fn list(
    tenant: Option<&TenantId>,
    limit: u32,
    ctx: &CliContext,
    out: Out<'_>,
) -> anyhow::Result<Exit> {
    if let Err(unknown) = ctx.chosen(tenant).await? {
        complain(&unknown);
        return Ok(Exit::Usage);
    }
    let rows = ctx.store.quarantined(tenant, limit).await?;
    if ctx.json {
        let rows: Vec<_> = rows.iter().map(row_json).collect();
        print_json(out, &json!({ "quarantine": rows }))?;
        return Ok(Exit::Done);
    }
    if rows.is_empty() {
        writeln!(out, "nothing is in quarantine")?;
        return Ok(Exit::Done);
    }
    let heads = ["id", "tenant", "source", "bytes", "reason", "age"];
    let mut table = TextTable::new(&heads, ctx.is_terminal).right(&[0, 3]);
    for row in &rows {
        table.row([
            row.id.to_string(),
            row.tenant.to_string(),
            row.source.clone(),
            row.body.len().to_string(),
            row.reason.clone(),
            ago(row.received_at, ctx.now()),
        ]);
    }
    writeln!(out, "{}", table.render())?;
    writeln!(out, "roasd quarantine show ID | retry ID… | drop ID…")?;
    Ok(Exit::Done)
}

async fn show(id: i64, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    let rows = ctx.store.quarantined(None, u32::MAX).await?;
    let Some(row) = rows.iter().find(|row| row.id == id) else {
        complain(&none(id));
        return Ok(Exit::Failed);
    };
    if ctx.json {
        print_json(out, &row_json(row))?;
        return Ok(Exit::Done);
    }
    writeln!(
        out,
        "delivery {} of {}, from {}",
        row.id, row.tenant, row.source
    )?;
    writeln!(out, "came: {}", when(row.received_at, ctx.now()))?;
    writeln!(out, "why it is here: {}", clean(&row.reason))?;
    writeln!(out, "\n{}", clean(&String::from_utf8_lossy(&row.body)))?;
    Ok(Exit::Done)
}

fn none(id: i64) -> String {
    format!(
        "nothing in quarantine has the number {id}; `roasd quarantine list` shows what is there"
    )
}

async fn end(ids: &[i64], retry: bool, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    let (mut done, mut missing) = (Vec::new(), Vec::new());
    for id in ids {
        let found = if retry {
            ctx.store.retry_quarantined(*id, ctx.now()).await?
        } else {
            ctx.store.drop_quarantined(*id).await?
        };
        if found {
            done.push(*id);
        } else {
            missing.push(*id);
        }
    }
    if retry && !done.is_empty() {
        ctx.store.nudge_everyone();
    }
    if ctx.json {
        let key = if retry { "retried" } else { "dropped" };
        print_json(out, &json!({ key: done, "missing": missing }))?;
    } else {
        for id in &done {
            if retry {
                writeln!(out, "delivery {id} waits to be tried again")?;
            } else {
                writeln!(out, "delivery {id} is gone")?;
            }
        }
        for id in &missing {
            complain(&none(*id));
        }
    }
    Ok(if missing.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

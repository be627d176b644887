//! `roasd alerts`: what people were told, and whether it arrives.

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};

use super::context::{CliContext, Out, ago, clean, print_json, when};
use super::table::TextTable;
use super::{Exit, complain};
use crate::actors::outbox::trial;
use crate::daemon::Parts;
use crate::domain::alert;
use crate::domain::ids::TenantId;
use crate::store::outbox::{MessageRecord, MessageStatus};
use crate::vendors::notify::NotifyError;

/// What `alerts` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct AlertsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AlertsCommand,
}

/// What can be done with alerts.
#[derive(Debug, Clone, Subcommand)]
pub enum AlertsCommand {
    /// List what people were told, or are to be told, newest first.
    ///
    /// Example:  roasd alerts list --tenant acme
    List {
        /// Of this tenant only.
        #[arg(long)]
        tenant: Option<TenantId>,
        /// This many at most.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Send a message by every channel now and say what became of it.
    ///
    /// Example:  roasd alerts test
    Test,
}

/// Runs the command.
///
/// # Errors
/// When the database does not answer, a channel is not set up as it must be, or the output cannot
/// be written.
pub async fn run(args: &AlertsArgs, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    match &args.command {
        AlertsCommand::List { tenant, limit } => list(tenant.as_ref(), *limit, ctx, out).await,
        AlertsCommand::Test => test(ctx, out).await,
    }
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
    let rows = ctx.store.messages(tenant, limit).await?;
    if ctx.json {
        let rows: Vec<Value> = rows.iter().map(row_json).collect();
        print_json(out, &json!({ "alerts": rows }))?;
        return Ok(Exit::Done);
    }
    if rows.is_empty() {
        writeln!(
            out,
            "nobody was told anything yet; channels are set in [alerts], `roasd alerts test` tries them"
        )?;
        return Ok(Exit::Done);
    }
    let now = ctx.now();
    let mut table = TextTable::new(
        &["when", "tenant", "urgency", "what", "channel", "state"],
        ctx.is_terminal,
    );
    for row in &rows {
        let alert = &row.alert;
        let tenant = alert.tenant.as_ref().map_or("-", TenantId::as_str);
        let state = match (row.status, row.sent_at, &row.error) {
            (MessageStatus::Sent, Some(at), _) => format!("sent {}", ago(at, now)),
            (status, _, Some(error)) => {
                format!("{} after {} tries: {error}", status.as_str(), row.attempts)
            }
            (status, ..) => status.as_str().to_owned(),
        };
        table.row([
            when(alert.at, now),
            tenant.to_owned(),
            alert.kind.severity().to_string(),
            clean(&alert.text),
            clean(&row.channel),
            clean(&state),
        ]);
    }
    write!(out, "{}", table.render())?;
    Ok(Exit::Done)
}

fn row_json(row: &MessageRecord) -> Value {
    let alert = &row.alert;
    json!({
        "at": alert.at.to_string(),
        "tenant": alert.tenant.as_ref().map(TenantId::as_str),
        "kind": alert.kind.as_str(),
        "severity": alert.kind.severity().as_str(),
        "text": alert.text,
        "next_step": alert.next_step,
        "channel": row.channel,
        "state": row.status.as_str(),
        "attempts": row.attempts,
        "sent_at": row.sent_at.map(|at| at.to_string()),
        "error": row.error,
    })
}

/// What went wrong, with its causes: a person stands before it.
fn with_causes(error: &NotifyError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// Sends at once and past the outbox: the question is whether the channel works.
async fn test(ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    let http = crate::vendors::http_client(std::time::Duration::from_secs(10))?;
    let alerting = Parts::of(&ctx.config)?.alerting(&http)?;
    if alerting.channels.is_empty() {
        complain("no channel is set; state one in [alerts] of the configuration, for example");
        complain("  [alerts]\n  slack = { env = \"ROASD_SLACK_URL\" }");
        return Ok(Exit::Usage);
    }
    let now = ctx.now();
    let mut all_arrived = true;
    let mut told = Vec::new();
    for channel in &alerting.channels {
        let message =
            alert::compose("a trial", vec![trial(now)]).context("there is nothing to send")?;
        let sent = channel.notifier.send(&message, now).await;
        all_arrived &= sent.is_ok();
        let outcome = match &sent {
            Ok(()) => "taken".to_owned(),
            Err(error) => with_causes(error),
        };
        if !ctx.json {
            writeln!(out, "{}: {outcome}", channel.name)?;
        }
        told.push(json!({
            "channel": channel.name, "taken": sent.is_ok(), "outcome": outcome,
        }));
    }
    if ctx.json {
        print_json(out, &json!({ "channels": told }))?;
    }
    Ok(if all_arrived {
        Exit::Done
    } else {
        Exit::Failed
    })
}

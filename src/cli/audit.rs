//! `roasd audit`: proves that the audit log is whole, and hands it out.

use std::ops::Range;

use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::changes::line_json;
use super::context::{CliContext, Out, print_json};
use super::{Exit, complain};
use crate::domain::audit::ChainedEntry;
use crate::domain::audit::{GENESIS_HASH, verify_after};
use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;
use crate::store::Store;

/// Lines read at a time: a chain need not fit into memory.
const PAGE: u32 = 1_000;

/// What `audit` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct AuditArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// What can be done with the audit log.
#[derive(Debug, Clone, Subcommand)]
pub enum AuditCommand {
    /// Check that no line was changed, left out, moved or added. Exit code 1 when one was.
    ///
    /// Example:  roasd audit verify --tenant acme
    Verify {
        /// Of this tenant only.
        #[arg(long)]
        tenant: Option<TenantId>,
    },
    /// Print the audit log, oldest line first.
    ///
    /// Example:  roasd audit export --tenant acme --from 2026-11-01 --to 2026-12-01 --format csv
    Export {
        /// Of this tenant only.
        #[arg(long)]
        tenant: Option<TenantId>,
        /// From this time on: 2026-11-01 (midnight, UTC) or 2026-11-01T08:00:00Z.
        #[arg(long, value_parser = super::context::parse_time)]
        from: Option<Timestamp>,
        /// Up to this time, not included.
        #[arg(long, value_parser = super::context::parse_time)]
        to: Option<Timestamp>,
        /// The form.
        #[arg(long, value_enum, default_value_t = Format::Jsonl)]
        format: Format,
    },
}

/// The forms of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values with a head, for spreadsheets.
    Csv,
}

/// Runs the command.
///
/// # Errors
/// When the database does not answer or the output cannot be written.
pub async fn run(args: &AuditArgs, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    let (AuditCommand::Verify { tenant } | AuditCommand::Export { tenant, .. }) = &args.command;
    let tenants = match ctx.chosen(tenant.as_ref()).await? {
        Ok(tenants) => tenants,
        Err(unknown) => {
            complain(&unknown);
            return Ok(Exit::Usage);
        }
    };
    match args.command {
        AuditCommand::Verify { .. } => verify(&tenants, ctx, out).await,
        AuditCommand::Export {
            format, from, to, ..
        } => export(&tenants, format, from..to, ctx, out).await,
    }
}

/// What checking one chain found.
pub(super) struct Checked {
    /// Lines that hold.
    pub(super) lines: i64,
    /// The hash of the last of them.
    pub(super) hash: String,
    /// The first line that does not hold, and why.
    pub(super) broken: Option<(i64, String)>,
}

/// Checks the chain of a tenant.
pub(super) async fn check(tenant: &TenantId, store: &dyn Store) -> anyhow::Result<Checked> {
    let mut checked = Checked {
        lines: 0,
        hash: GENESIS_HASH.to_owned(),
        broken: None,
    };
    loop {
        let page = match store.audit_lines(tenant, checked.lines, PAGE).await {
            Ok(page) => page,
            // A line that cannot even be read was not written by roasd.
            Err(error @ crate::store::StoreError::Corrupt { .. }) => {
                checked.broken = Some((checked.lines.saturating_add(1), error.to_string()));
                return Ok(checked);
            }
            Err(error) => return Err(error.into()),
        };
        let Some(last) = page.last() else {
            return Ok(checked);
        };
        if let Err(broken) = verify_after(checked.lines, &checked.hash, &page) {
            checked.broken = Some((broken.sequence, broken.what.to_owned()));
            return Ok(checked);
        }
        checked.lines = last.sequence;
        checked.hash.clone_from(&last.hash);
    }
}

async fn verify(tenants: &[TenantId], ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    let mut exit = Exit::Done;
    let mut reports = Vec::new();
    for tenant in tenants {
        let checked = check(tenant, &*ctx.store).await?;
        if checked.broken.is_some() {
            exit = Exit::Failed;
        }
        if ctx.json {
            reports.push(json!({
                "tenant": tenant.as_str(),
                "holds": checked.broken.is_none(),
                "lines": checked.lines,
                "hash": checked.hash,
                "broken_at": checked.broken.as_ref().map(|(line, _)| line),
                "problem": checked.broken.as_ref().map(|(_, what)| what),
            }));
            continue;
        }
        match &checked.broken {
            None if checked.lines == 0 => writeln!(out, "{tenant}: no lines yet")?,
            None => writeln!(
                out,
                "{tenant}: {} lines hold; the last has hash {}",
                checked.lines, checked.hash
            )?,
            Some((line, what)) => writeln!(
                out,
                "{tenant}: BROKEN at line {line}: {what}. The log was changed outside of roasd; \
                 compare it with a backup (roasd audit export --tenant {tenant})"
            )?,
        }
    }
    if ctx.json {
        print_json(
            out,
            &json!({ "holds": exit == Exit::Done, "tenants": reports }),
        )?;
    } else if exit == Exit::Done {
        writeln!(
            out,
            "A log whose end was cut off still holds: keep the last hash somewhere else to notice."
        )?;
    }
    Ok(exit)
}

/// The columns of a line as CSV.
const COLUMNS: &str = "tenant,sequence,at,event,actor,change,entity_type,entity_id,campaign,before,\
                       after,rule,detail,vendor_request,previous_hash,hash";

fn csv(line: &ChainedEntry) -> String {
    let entry = &line.entry;
    let some = |text: Option<String>| text.unwrap_or_default();
    let cells = [
        entry.tenant.to_string(),
        line.sequence.to_string(),
        entry.at.to_string(),
        entry.event.as_str().to_owned(),
        entry.actor.clone(),
        some(entry.change.as_ref().map(ToString::to_string)),
        some(entry.entity.as_ref().map(|e| e.kind().to_string())),
        some(entry.entity.as_ref().map(|e| e.id().to_owned())),
        some(entry.campaign.as_ref().map(ToString::to_string)),
        some(entry.before.map(|value| value.to_string())),
        some(entry.after.map(|value| value.to_string())),
        entry.rule.clone().unwrap_or_default(),
        entry.detail.clone(),
        entry.vendor_request.clone().unwrap_or_default(),
        line.previous_hash.clone(),
        line.hash.clone(),
    ];
    cells.map(|cell| quoted(&cell)).join(",")
}

/// A cell of RFC 4180. What a spreadsheet would take for a formula, such as the name of an actor that
/// begins with an equals sign, gets an apostrophe before it.
fn quoted(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let cell = if is_formula {
        format!("'{cell}")
    } else {
        cell.to_owned()
    };
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}

async fn export(
    tenants: &[TenantId],
    format: Format,
    span: Range<Option<Timestamp>>,
    ctx: &CliContext,
    out: Out<'_>,
) -> anyhow::Result<Exit> {
    let is_in = |line: &ChainedEntry| {
        span.start.is_none_or(|from| line.entry.at >= from)
            && span.end.is_none_or(|to| line.entry.at < to)
    };
    if format == Format::Csv {
        writeln!(out, "{COLUMNS}")?;
    }
    for tenant in tenants {
        let mut after = 0;
        loop {
            let page = ctx.store.audit_lines(tenant, after, PAGE).await?;
            for line in page.iter().filter(|line| is_in(line)) {
                match format {
                    Format::Jsonl => writeln!(out, "{}", line_json(line))?,
                    Format::Csv => writeln!(out, "{}", csv(line))?,
                }
            }
            match page.last() {
                Some(last) => after = last.sequence,
                None => break,
            }
        }
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_quoted_where_it_must_be_and_is_never_a_formula() {
        for (cell, written) in [
            ("plain", "plain"),
            ("a, b", "\"a, b\""),
            ("say \"no\"", "\"say \"\"no\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=cmd()", "'=cmd()"),
            ("-1,5", "\"'-1,5\""),
            ("", ""),
        ] {
            assert_eq!(quoted(cell), written);
        }
        assert_eq!(COLUMNS.split(',').count(), 16);
    }
}

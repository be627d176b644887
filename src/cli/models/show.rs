//! What the versions are and what happened to them.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::super::Exit;
use super::super::context::{CliContext, Out, clean, print_json, when};
use super::super::table::TextTable;
use super::beside::{markets_of, markets_told};
use crate::domain::model::{BUDGETS, HistoryLine};
use crate::domain::time;
use crate::store::models::ModelVersion;

/// So many days of decisions beside the champion's are counted.
const DAYS: i64 = 30;

pub(super) fn list(known: &[ModelVersion], ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    if ctx.json {
        let rows: Vec<Value> = known.iter().map(version_json).collect();
        print_json(out, &json!({ "versions": rows }))?;
        return Ok(Exit::Done);
    }
    if known.is_empty() {
        writeln!(
            out,
            "there are no versions yet: the daemon enters its own when it starts"
        )?;
        return Ok(Exit::Done);
    }
    let heads = [
        "version",
        "role",
        "policy",
        "differs in",
        "entered",
        "on markets",
    ];
    let mut table = TextTable::new(&heads, ctx.is_terminal);
    for version in known {
        table.row([
            version.version.to_string(),
            version.role.to_string(),
            format!("{} {}", clean(&version.policy), version.policy_version),
            constants(version),
            when(version.registered_at, ctx.now()),
            markets_told(&markets_of(version)),
        ]);
    }
    writeln!(out, "{}", table.render())?;
    Ok(Exit::Done)
}

fn constants(version: &ModelVersion) -> String {
    let each: Vec<String> = version
        .constants
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    if each.is_empty() {
        "nothing".to_owned()
    } else {
        each.join(", ")
    }
}

fn version_json(version: &ModelVersion) -> Value {
    let constants: serde_json::Map<String, Value> = version
        .constants
        .iter()
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let evaluation = version.evaluation_json.as_deref();
    json!({
        "version": version.version.as_str(),
        "role": version.role.as_str(),
        "policy": version.policy,
        "policy_version": version.policy_version,
        "constants": constants,
        "revision": version.revision,
        "registered_at": version.registered_at.to_string(),
        "evaluation": evaluation.and_then(|text| serde_json::from_str::<Value>(text).ok()),
    })
}

fn line_json(line: &HistoryLine) -> Value {
    json!({
        "at": line.at.to_string(),
        "event": line.event.as_str(),
        "in_place_of": line.before.as_ref().map(ToString::to_string),
        "actor": line.actor,
        "reason": line.reason,
    })
}

pub(super) async fn one(
    version: &ModelVersion,
    ctx: &CliContext,
    out: Out<'_>,
) -> anyhow::Result<Exit> {
    let history = ctx.store.model_history(BUDGETS).await?;
    let history: Vec<&HistoryLine> = history
        .iter()
        .filter(|line| line.version == version.version)
        .collect();
    let since = time::sub(ctx.now(), time::days(DAYS));
    let mut beside = Vec::new();
    for tenant in ctx.tenants().await? {
        let runs = ctx.store.shadows(&tenant, &version.version, since).await?;
        if !runs.is_empty() {
            let changes: u32 = runs.iter().map(|run| run.changes).sum();
            let shared: u32 = runs.iter().map(|run| run.shared).sum();
            beside.push((tenant, runs.len(), changes, shared));
        }
    }
    if ctx.json {
        let mut told = version_json(version);
        if let Some(told) = told.as_object_mut() {
            let lines: Vec<Value> = history.iter().map(|line| line_json(line)).collect();
            told.insert("history".to_owned(), json!(lines));
            let beside: Vec<Value> = beside
                .iter()
                .map(|(tenant, runs, changes, shared)| {
                    json!({
                        "tenant": tenant.as_str(), "days": DAYS, "runs": runs,
                        "changes": changes, "shared_with_champion": shared,
                    })
                })
                .collect();
            told.insert("beside_the_champion".to_owned(), json!(beside));
        }
        print_json(out, &told)?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    writeln!(
        text,
        "{}: {}\npolicy      {} {}\ndiffers in  {}\non markets  {}",
        version.version,
        version.role,
        version.policy,
        version.policy_version,
        constants(version),
        markets_told(&markets_of(version)),
    )?;
    if !beside.is_empty() {
        writeln!(text, "\nbeside the champion, last {DAYS} days")?;
        let heads = ["tenant", "runs", "changes", "the champion made too"];
        let mut table = TextTable::new(&heads, ctx.is_terminal).right(&[1, 2, 3]);
        for (tenant, runs, changes, shared) in &beside {
            table.row([
                tenant.to_string(),
                runs.to_string(),
                changes.to_string(),
                shared.to_string(),
            ]);
        }
        writeln!(text, "{}", table.render())?;
    }
    writeln!(text, "\nhistory")?;
    for line in history {
        let place = line
            .before
            .as_ref()
            .map_or_else(String::new, |before| format!(" in place of {before}"));
        let event = line.event.as_str().replace('_', " ");
        writeln!(
            text,
            "  {}  {event}{place} by {}: {}",
            when(line.at, ctx.now()),
            line.actor,
            line.reason
        )?;
    }
    out.write_all(clean(&text).as_bytes())?;
    Ok(Exit::Done)
}

//! Versions entered, put beside the champion, and made champion.

use serde_json::json;

use super::super::context::{CliContext, Out, actor, print_json};
use super::super::{Exit, complain};
use super::beside::{forecasts, markets_of};
use super::{candidate, champion, find, pair as versions};
use crate::domain::model::promotion::{Evidence, objections};
use crate::domain::model::{
    BUDGETS, CHALLENGERS_MAX, Constants, Event, Role, VersionName, champion_before,
};
use crate::domain::policy;
use crate::domain::time::{self, TimeZone};
use crate::store::models::{ModelVersion, RoleChange, RoleChanged};

/// So far back a promotion looks for what came of forecasts.
const DAYS: u32 = 180;

/// Reads `name=value`.
pub(super) fn pair(text: &str) -> Result<(String, f64), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("write NAME=VALUE, for example kappa_mult=3")?;
    let value = value
        .trim()
        .parse()
        .map_err(|_| format!("{value:?} is no number"))?;
    Ok((name.trim().to_owned(), value))
}

pub(super) async fn add(
    known: &[ModelVersion],
    label: &str,
    policy: &str,
    constants: &[(String, f64)],
    ctx: &CliContext,
    out: Out<'_>,
) -> anyhow::Result<Exit> {
    let Some(policy) = policy::named(policy) else {
        complain(&format!("there is no policy {policy:?}"));
        return Ok(Exit::Usage);
    };
    let given = constants.iter().map(|(name, v)| (name.as_str(), *v));
    let constants = match Constants::parse(given) {
        Ok(constants) => constants,
        Err(bad) => {
            complain(&bad.to_string());
            return Ok(Exit::Usage);
        }
    };
    if known.iter().any(|v| v.version.label() == label) {
        complain(&format!(
            "there is a version called {label} already; its history is kept, so choose another name"
        ));
        return Ok(Exit::Usage);
    }
    let version = match VersionName::of(label, policy.version()) {
        Ok(version) => version,
        Err(bad) => {
            complain(&bad.to_string());
            return Ok(Exit::Usage);
        }
    };
    if !has_room(known) {
        return Ok(Exit::Failed);
    }
    if champion(known).is_none() {
        complain("there is no champion yet: the daemon enters its own when it starts");
        return Ok(Exit::Failed);
    }
    let entered = ModelVersion {
        model: BUDGETS.to_owned(),
        version: version.clone(),
        policy: policy.name().to_owned(),
        policy_version: policy.version(),
        constants,
        revision: env!("CARGO_PKG_VERSION").to_owned(),
        role: Role::Challenger,
        evaluation_json: None,
        registered_at: ctx.now(),
    };
    ctx.store.register_model(&entered).await?;
    if ctx.json {
        print_json(
            out,
            &json!({ "version": version.as_str(), "role": "challenger" }),
        )?;
    } else {
        writeln!(
            out,
            "{version} decides beside the champion from the next decision on; nothing of it is sent"
        )?;
    }
    Ok(Exit::Done)
}

fn has_room(known: &[ModelVersion]) -> bool {
    let challengers = known.iter().filter(|v| v.role == Role::Challenger).count();
    let has_room = challengers < CHALLENGERS_MAX;
    if !has_room {
        complain(&format!(
            "{challengers} challengers decide beside the champion already; let one rest first: \
             roasd models rest VERSION"
        ));
    }
    has_room
}

pub(super) async fn role(
    known: &[ModelVersion],
    version: &str,
    role: Role,
    ctx: &CliContext,
    out: Out<'_>,
) -> anyhow::Result<Exit> {
    let Some(version) = find(known, version) else {
        return Ok(Exit::Usage);
    };
    let event = match role {
        Role::Challenger => Event::Challenged,
        _ => Event::Rested,
    };
    let takes_part = role == Role::Challenger && version.role != role;
    if takes_part && !(has_room(known) && candidate(version).is_some()) {
        return Ok(Exit::Failed);
    }
    let change = change(&version.version, role, event, "asked for", None, ctx);
    done(ctx.store.change_role(&change).await?, &change, ctx, out)
}

fn change(
    version: &VersionName,
    role: Role,
    event: Event,
    reason: &str,
    evidence_json: Option<String>,
    ctx: &CliContext,
) -> RoleChange {
    RoleChange {
        model: BUDGETS.to_owned(),
        version: version.clone(),
        role,
        event,
        actor: actor(),
        reason: reason.to_owned(),
        evidence_json,
        at: ctx.now(),
    }
}

/// Tells what became of a change of roles.
fn done(
    changed: RoleChanged,
    change: &RoleChange,
    ctx: &CliContext,
    out: Out<'_>,
) -> anyhow::Result<Exit> {
    let RoleChange { version, role, .. } = change;
    let before = match changed {
        RoleChanged::Done(before) => before,
        RoleChanged::Already => None,
        RoleChanged::IsChampion => {
            complain(&format!(
                "{version} is the champion; make another one champion first"
            ));
            return Ok(Exit::Failed);
        }
        RoleChanged::Unknown => {
            complain(&format!("there is no version {version}"));
            return Ok(Exit::Usage);
        }
    };
    if ctx.json {
        print_json(
            out,
            &json!({
                "version": version.as_str(), "role": role.as_str(),
                "in_place_of": before.as_ref().map(VersionName::as_str),
            }),
        )?;
        return Ok(Exit::Done);
    }
    match (role, before) {
        (Role::Champion, Some(before)) => writeln!(
            out,
            "{version} decides from the next decision on, in place of {before}, which goes on beside it.\n\
             Back again: roasd models rollback --reason …"
        )?,
        (Role::Champion, None) => writeln!(out, "{version} is the champion")?,
        (Role::Challenger, _) => writeln!(
            out,
            "{version} decides beside the champion from the next decision on; nothing of it is sent"
        )?,
        (Role::Resting, _) => writeln!(out, "{version} rests")?,
    }
    Ok(Exit::Done)
}

pub(super) async fn promote(
    known: &[ModelVersion],
    version: &str,
    reason: &str,
    despite: bool,
    ctx: &CliContext,
    out: Out<'_>,
) -> anyhow::Result<Exit> {
    let Some(((name, tried), (champion_name, first))) = versions(known, version, None) else {
        return Ok(Exit::Usage);
    };
    let found = forecasts(first, tried, None, DAYS, ctx).await?;
    let of_version = find(known, version).and_then(markets_of);
    // Figures against another champion say nothing about this one.
    let markets = of_version.filter(|(against, _)| *against == champion_name.as_str());
    let evidence = Evidence {
        shadow_days: shadow_days(name, ctx).await?,
        forecasts: Some(found),
        markets: markets.map(|(_, kinds)| kinds).unwrap_or_default(),
    };
    let against = objections(&evidence);
    if !against.is_empty() && !despite {
        complain(&format!("{version} is not made champion:"));
        for objection in &against {
            complain(&format!("  {objection}"));
        }
        complain("with --despite it is, and the history says what was missing");
        return Ok(Exit::Failed);
    }
    let kept = json!({
        "shadow_days": evidence.shadow_days,
        "weeks": found.blocks,
        "difference": found.difference,
        "objections": against,
    });
    let change = change(
        name,
        Role::Champion,
        Event::Promoted,
        reason,
        Some(kept.to_string()),
        ctx,
    );
    done(ctx.store.change_role(&change).await?, &change, ctx, out)
}

/// The days on which a version decided beside the champion, of the tenant that has most.
async fn shadow_days(version: &VersionName, ctx: &CliContext) -> anyhow::Result<usize> {
    let since = time::sub(ctx.now(), time::days(i64::from(DAYS)));
    let mut most = 0;
    for tenant in ctx.tenants().await? {
        let runs = ctx.store.shadows(&tenant, version, since).await?;
        let mut days: Vec<_> = runs
            .iter()
            .map(|run| time::day_of(run.at, &TimeZone::UTC))
            .collect();
        days.dedup();
        most = most.max(days.len());
    }
    Ok(most)
}

pub(super) async fn rollback(
    known: &[ModelVersion],
    reason: &str,
    ctx: &CliContext,
    out: Out<'_>,
) -> anyhow::Result<Exit> {
    let history = ctx.store.model_history(BUDGETS).await?;
    let before = champion(known).and_then(|now| champion_before(&history, &now.version));
    let Some(before) = before.and_then(|before| find(known, before.as_str())) else {
        complain("the champion is the first there was: there is nothing to go back to");
        return Ok(Exit::Failed);
    };
    if candidate(before).is_none() {
        return Ok(Exit::Failed);
    }
    let event = Event::RolledBack;
    let change = change(&before.version, Role::Champion, event, reason, None, ctx);
    done(ctx.store.change_role(&change).await?, &change, ctx, out)
}

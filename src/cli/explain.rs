//! `roasd explain`: why a decision was taken, every number behind it, and what became of it; or why
//! a deal is credited as it is.

mod deal;
mod figures;
mod standing;

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::changes::{line_json, line_text, words};
use super::context::{CliContext, Out, change_json, clean, print_json, when};
use super::{Exit, complain};
use crate::domain::audit::ChainedEntry;
use crate::domain::change::{ChangeState, Origin, PendingChange};
use crate::domain::ids::TenantId;
use crate::domain::money::Currency;
use crate::domain::rationale::paragraph::{amount, percent, short};
use crate::store::changes::ChangeFilter;
use crate::store::decisions::{DecisionRecord, RunRecord};
use figures::Figures;

/// Half the width of a normal distribution's middle 90 %, in standard deviations.
const Z_95: f64 = 1.644_853_626_951_472_7;

/// What `explain` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct ExplainArgs {
    /// The id of a decision or of a change, or its beginning; or the id of a deal.
    pub id: String,
}

/// Explains the decision, or the credit of the deal.
///
/// # Errors
/// When the database does not answer or the output cannot be written.
pub async fn run(args: &ExplainArgs, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    let found = match find(&args.id, ctx).await? {
        Ok(found) => found,
        Err(why) => {
            let deals = deal::find(&args.id, ctx).await?;
            if !deals.is_empty() {
                deal::explain(&deals, ctx, out).await?;
                return Ok(Exit::Done);
            }
            complain(&why);
            return Ok(Exit::Failed);
        }
    };
    let Found {
        tenant,
        run,
        decision,
        change,
    } = found;
    let change = match change {
        Some(change) => Some(change),
        None => change_of(&tenant, &decision, ctx).await?,
    };
    let lines = match &change {
        Some(change) => {
            ctx.store
                .audit_of_change(&tenant, &change.proposed.id)
                .await?
        }
        None => Vec::new(),
    };
    let figures = Figures::of(&tenant, &decision, ctx).await?;
    // A rationale that cannot be read must not hide the paragraph.
    let rationale: Value = serde_json::from_str(&decision.rationale_json).unwrap_or_default();
    let beside = standing::of(&run, &decision);
    if ctx.json {
        let audit: Vec<_> = lines.iter().map(line_json).collect();
        print_json(
            out,
            &json!({
                "decision": decision.id.as_str(),
                "tenant": tenant.as_str(),
                "at": decision.at.to_string(),
                "run": run.id.as_str(),
                "policy": run.policy,
                "policy_version": run.version,
                "seed": run.seed,
                "flags": run.flags,
                "action": decision.action,
                "from": decision.from,
                "to": decision.to,
                "paragraph": decision.paragraph,
                "rationale": rationale,
                "figures": figures.as_ref().map(Figures::json),
                "ads": beside.as_deref().map(standing::json),
                "change": change.as_ref().map(change_json),
                "audit": audit,
            }),
        )?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    head(&mut text, &tenant, &run, &decision, ctx);
    if rationale.is_object() {
        numbers(&mut text, &rationale);
    } else {
        text.push_str("\nThe stored numbers cannot be read by this roasd.\n");
    }
    if let Some(figures) = &figures {
        figures.tell(&mut text);
    }
    if let Some(beside) = &beside {
        standing::text(&mut text, beside, ctx.is_terminal);
    }
    became(&mut text, change.as_ref(), &lines, ctx);
    out.write_all(clean(&text).as_bytes())?;
    Ok(Exit::Done)
}

/// The decision, and the change where it was named by that.
struct Found {
    tenant: TenantId,
    run: RunRecord,
    decision: DecisionRecord,
    change: Option<PendingChange>,
}

impl Found {
    fn new(
        (tenant, run, decision): (TenantId, RunRecord, DecisionRecord),
        change: Option<PendingChange>,
    ) -> Self {
        Self {
            tenant,
            run,
            decision,
            change,
        }
    }
}

async fn find(id: &str, ctx: &CliContext) -> anyhow::Result<Result<Found, String>> {
    if let Some(found) = ctx.store.decision(id).await? {
        return Ok(Ok(Found::new(found, None)));
    }
    let Some(change) = ctx.store.change(id).await? else {
        return Ok(Err(format!(
            "{id} names no decision, no change and no deal, or more than one; give more of the id"
        )));
    };
    match change.proposed.origin.clone() {
        Origin::Decision(decision) => {
            let found = ctx.store.decision(decision.as_str()).await?;
            let gone = format!("the decision {decision} behind change {id} is not kept any more");
            Ok(found
                .map(|found| Found::new(found, Some(change)))
                .ok_or(gone))
        }
        Origin::Stop => Ok(Err(format!(
            "change {0} stopped all spend, which a person asked for; `roasd changes show {0}` tells of it",
            change.proposed.id
        ))),
        Origin::Undo(undone) => Ok(Err(format!(
            "change {} was asked for by a person, to undo change {undone}; explain that one, or \
             see `roasd changes show {}`",
            change.proposed.id, change.proposed.id
        ))),
    }
}

/// The change a decision led to: as recorded with it, else the one that names it.
async fn change_of(
    tenant: &TenantId,
    decision: &DecisionRecord,
    ctx: &CliContext,
) -> anyhow::Result<Option<PendingChange>> {
    if let Some(id) = &decision.change {
        return Ok(ctx.store.change(id.as_str()).await?);
    }
    let filter = ChangeFilter {
        tenant: Some(tenant.clone()),
        states: Vec::new(),
        limit: 5_000,
    };
    let changes = ctx.store.changes(&filter).await?;
    Ok(changes.into_iter().find(
        |change| matches!(&change.proposed.origin, Origin::Decision(id) if *id == decision.id),
    ))
}

fn head(
    text: &mut String,
    tenant: &TenantId,
    run: &RunRecord,
    decision: &DecisionRecord,
    ctx: &CliContext,
) {
    let _ = writeln!(text, "{}", decision.paragraph);
    let _ = writeln!(
        text,
        "\ndecision {} of {tenant}, {}\n{} {} ({}): {} -> {}\npolicy {} version {}, seed {}{}",
        decision.id,
        when(decision.at, ctx.now()),
        decision.action,
        decision.entity_name,
        decision.entity,
        decision.from,
        decision.to,
        run.policy,
        run.version,
        run.seed,
        if run.flags.is_empty() {
            String::new()
        } else {
            format!("; flags of the run: {}", run.flags.join(", "))
        },
    );
}

fn number(value: &Value, key: &str) -> Option<f64> {
    value.get(key).and_then(Value::as_f64)
}

fn shown(value: &Value, key: &str) -> String {
    number(value, key).map_or_else(|| "unknown".to_owned(), short)
}

/// An amount of main units with its currency.
fn money(value: &Value, key: &str, code: &str) -> String {
    match (number(value, key), Currency::new(code)) {
        (Some(main), Ok(currency)) => amount(main, currency),
        (Some(main), Err(_)) => format!("{main:.2} {code}"),
        (None, _) => "unknown".to_owned(),
    }
}

fn name<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("unknown")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn numbers(text: &mut String, rationale: &Value) {
    let code = name(rationale, "currency");
    evidence(
        text,
        rationale.get("evidence").unwrap_or(&Value::Null),
        code,
    );
    if let Some(belief) = rationale.get("belief").filter(|b| b.is_object()) {
        let thresholds = rationale.get("thresholds").unwrap_or(&Value::Null);
        believed(text, belief, thresholds);
    }
    if let Some(prior) = rationale.get("prior").filter(|p| p.is_object()) {
        starts_from(text, prior, code);
    }
    rule(text, rationale);
    if let Some(budget) = rationale.get("budget").filter(|b| b.is_object()) {
        bounds(text, budget, code);
    }
    let would = list(rationale, "would_change");
    if !would.is_empty() {
        text.push_str("\nwhat would change it\n");
        for line in would.iter().filter_map(Value::as_str) {
            let _ = writeln!(text, "  - {line}");
        }
    }
}

fn evidence(text: &mut String, e: &Value, code: &str) {
    text.push_str("\nevidence\n");
    let _ = writeln!(
        text,
        "  {} spent, {} impressions, {} clicks ({:.2} % click-through), over {:.1} days{}",
        money(e, "spend", code),
        shown(e, "impressions"),
        shown(e, "clicks"),
        number(e, "ctr").unwrap_or(0.0) * 100.0,
        number(e, "age_hours").unwrap_or(0.0) / 24.0,
        if e.get("totals_only") == Some(&Value::Bool(true)) {
            "; only lifetime totals are known"
        } else {
            ""
        },
    );
    for stage in list(e, "stages") {
        let _ = writeln!(
            text,
            "  {}: {} reached it; {} of {} old enough to tell, after discounting",
            name(stage, "stage").replace('_', " "),
            shown(stage, "reached"),
            shown(stage, "successes"),
            shown(stage, "mature_exposure"),
        );
    }
    let _ = writeln!(
        text,
        "  pipeline worth {} so far, {} per {code} spent",
        money(e, "pipeline_value", code),
        shown(e, "raw_roas"),
    );
}

fn believed(text: &mut String, belief: &Value, thresholds: &Value) {
    text.push_str("\nbelief\n");
    let interval = match (number(belief, "mu"), number(belief, "sigma")) {
        (Some(mu), Some(sigma)) => format!(
            "90 % interval {} to {} (5th to 95th percentile, log-normal)",
            short(libm::exp(mu - Z_95 * sigma)),
            short(libm::exp(mu + Z_95 * sigma)),
        ),
        _ => format!(
            "80 % interval {} to {} (10th to 90th percentile, as stored)",
            shown(belief, "q10"),
            shown(belief, "q90"),
        ),
    };
    let _ = writeln!(
        text,
        "  ROAS once all has had time to close: mean {}, {interval}",
        shown(belief, "mean_roas"),
    );
    let chance = |key| number(belief, key).map_or_else(|| "unknown".to_owned(), percent);
    let _ = writeln!(
        text,
        "  chance that it is below {} (not worth running): {}; above {} (worth scaling): {}",
        shown(thresholds, "kill_roas"),
        chance("p_below_kill"),
        shown(thresholds, "scale_roas"),
        chance("p_above_scale"),
    );
    let _ = writeln!(text, "  drawn this time: {}", shown(belief, "draw"));
}

fn starts_from(text: &mut String, prior: &Value, code: &str) {
    text.push_str("\nwhere the belief starts\n");
    for (rate, before) in list(prior, "rate").iter().zip(list(prior, "prior")) {
        let percent = |v: &Value| number(v, "value").unwrap_or(0.0) * 100.0;
        let _ = writeln!(
            text,
            "  {}: expected {:.1} % before its own record, {:.1} % with it",
            name(rate, "stage").replace('_', " "),
            percent(before),
            percent(rate),
        );
    }
    let _ = writeln!(
        text,
        "  {} clicks per {code}; {} of the belief in its quality still rests on others; {} of deals \
         are believed to be attributed",
        shown(prior, "clicks_per_unit"),
        number(prior, "early_share").map_or_else(|| "unknown".to_owned(), percent),
        number(prior, "eta").map_or_else(|| "unknown".to_owned(), percent),
    );
    let nearest: Vec<String> = list(prior, "nearest")
        .iter()
        .map(|n| format!("ad {} ({} alike)", name(n, "ad"), shown(n, "similarity")))
        .collect();
    if nearest.is_empty() {
        text.push_str("  no ad with similar text\n");
    } else {
        let _ = writeln!(text, "  ads with similar text: {}", nearest.join(", "));
    }
}

fn rule(text: &mut String, rationale: &Value) {
    let rule = rationale.get("rule").unwrap_or(&Value::Null);
    let thresholds = rationale.get("thresholds").unwrap_or(&Value::Null);
    let sure = |key| number(thresholds, key).map_or_else(|| "unknown".to_owned(), percent);
    let better = || number(rule, "p_better").map_or_else(|| "unknown".to_owned(), percent);
    let told = match name(rule, "name") {
        "water_level" => {
            "budgets level out where the next unit earns the same everywhere".to_owned()
        }
        "too_small" => "the change would be too small to send".to_owned(),
        "rate_limited" => "the actions of this hour are used up; it waits".to_owned(),
        "bad_input" => "some inputs are not usable numbers".to_owned(),
        "untouchable" => name(rule, "why").to_owned(),
        "cap_unreachable" => "budgets are over the cap and cannot come down faster".to_owned(),
        "kill_posterior" => format!("a kill needs a chance of {}", sure("p_kill")),
        "kill_raw" => format!("raw ROAS is below {}", shown(thresholds, "kill_roas")),
        "kill_half_average" => "the score is under half the account's average".to_owned(),
        "rotation" => format!(
            "ad {} is better with a chance of {}; {} is enough",
            name(rule, "best"),
            better(),
            sure("p_rotate")
        ),
        "returned" => format!(
            "its sibling is better with a chance of {}; {} or less lets it return",
            better(),
            sure("p_return")
        ),
        other => other.to_owned(),
    };
    let _ = writeln!(text, "\nrule\n  {}: {told}", name(rule, "name"));
    if rationale.get("in_ignorance_zone") == Some(&Value::Bool(true)) {
        text.push_str("  too young or too cheap to be killed\n");
    }
}

fn bounds(text: &mut String, budget: &Value, code: &str) {
    let bound = match name(budget, "bound") {
        "none" => "none",
        "velocity_6h" => "the limit on change within 6 hours",
        "calm_24h" => "the limit on change within 24 hours",
        "min" => "the least budget",
        "cap" => "the daily cap",
        "rate_limit" => "the changes allowed this hour",
        other => other,
    };
    let _ = writeln!(
        text,
        "\nbounds\n  allowed {} to {}; wanted {}, dither {:+.2} %; what clipped it: {bound}",
        money(budget, "lowest", code),
        money(budget, "highest", code),
        money(budget, "target", code),
        number(budget, "dither").unwrap_or(0.0) * 100.0,
    );
    let _ = writeln!(
        text,
        "  the next {code} brings {} before and {} after; {}",
        shown(budget, "marginal_before"),
        shown(budget, "marginal_after"),
        number(budget, "water_level").map_or_else(
            || "no level was needed: every budget is at its bound".to_owned(),
            |level| format!("budgets level out at {}", short(level)),
        ),
    );
}

fn became(
    text: &mut String,
    change: Option<&PendingChange>,
    lines: &[ChainedEntry],
    ctx: &CliContext,
) {
    text.push_str("\nwhat became of it, newest first\n");
    let Some(change) = change else {
        text.push_str(
            "  no change was queued: nothing was to change, or the tenant only observes\n",
        );
        return;
    };
    let id = &change.proposed.id;
    for line in lines.iter().rev() {
        let _ = writeln!(text, "  {}", line_text(line, ctx));
    }
    let _ = writeln!(text, "  change {id}: {}", words(change.state));
    let how = match change.state {
        ChangeState::Completed => format!("roasd changes undo {id}"),
        ChangeState::AwaitingApproval | ChangeState::Pending | ChangeState::Claimed => {
            format!("nothing was sent yet; to stop it: roasd changes reject {id}")
        }
        ChangeState::Executing => format!("once it is settled: roasd changes undo {id}"),
        ChangeState::Failed
        | ChangeState::Cancelled
        | ChangeState::Rejected
        | ChangeState::Refused
        | ChangeState::Expired => "nothing to undo: it is not in force".to_owned(),
    };
    let _ = writeln!(text, "\nhow to undo\n  {how}");
}

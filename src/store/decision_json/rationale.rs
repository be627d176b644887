//! Why a decision was taken, as JSON: what `explain --json` and the API show.

use serde_json::{Value, json};

use super::inputs::{MoneyRow, mode_word};
use crate::domain::ids::{AdId, StageName};
use crate::domain::money::Money;
use crate::domain::policy::Move;
use crate::domain::rationale::{
    Belief, Bound, BudgetTrail, Evidence, PriorReading, Rationale, Rule, StageEvidence, Thresholds,
};
use crate::domain::time::to_micros;

/// A rationale as JSON, every number in it. A float that is not finite is null.
#[must_use]
pub fn rationale_json(rationale: &Rationale) -> String {
    let Rationale {
        policy,
        version,
        decided_at,
        seed,
        mode,
        currency,
        subject,
        name,
        action,
        scale,
        change,
        rule,
        evidence,
        belief,
        prior,
        budget,
        ctr_weight,
        blended_score,
        in_ignorance_zone,
        live_ads,
        would_change,
        thresholds,
    } = rationale;
    json!({
        "policy": policy,
        "version": version,
        "decided_at": decided_at.to_string(),
        "decided_at_us": to_micros(*decided_at),
        "seed": seed,
        "mode": mode_word(*mode),
        "currency": currency.code(),
        "subject": { "kind": subject.kind().as_str(), "id": subject.id() },
        "name": name,
        "action": action.as_str(),
        "scale": scale,
        "change": change_json(*change),
        "rule": rule_json(rule),
        "evidence": evidence_json(evidence),
        "belief": belief.as_ref().map(belief_json),
        "prior": prior.as_ref().map(prior_json),
        "budget": budget.as_ref().map(budget_json),
        "ctr_weight": ctr_weight,
        "blended_score": blended_score,
        "in_ignorance_zone": in_ignorance_zone,
        "live_ads": ads_json(live_ads, "share"),
        "would_change": would_change,
        "thresholds": thresholds_json(*thresholds),
    })
    .to_string()
}

fn money(money: Money) -> Value {
    json!(MoneyRow::from(money))
}

fn change_json(change: Move) -> Value {
    match change {
        Move::Budget { from, to } => {
            json!({ "kind": "budget", "from": money(from), "to": money(to) })
        }
        Move::Status { from, to } => {
            json!({ "kind": "status", "from": from.as_str(), "to": to.as_str() })
        }
    }
}

fn rule_json(rule: &Rule) -> Value {
    match rule {
        Rule::WaterLevel => json!({ "name": "water_level" }),
        Rule::TooSmall => json!({ "name": "too_small" }),
        Rule::RateLimited => json!({ "name": "rate_limited" }),
        Rule::BadInput => json!({ "name": "bad_input" }),
        Rule::Untouchable(why) => json!({ "name": "untouchable", "why": why }),
        Rule::CapUnreachable => json!({ "name": "cap_unreachable" }),
        Rule::Compared(why) => json!({ "name": "compared", "why": why }),
        Rule::KillPosterior => json!({ "name": "kill_posterior" }),
        Rule::KillRaw => json!({ "name": "kill_raw" }),
        Rule::KillHalfAverage => json!({ "name": "kill_half_average" }),
        Rule::Rotation { best, p_better } => {
            json!({ "name": "rotation", "best": best.as_str(), "p_better": p_better })
        }
        Rule::Returned { best, p_better } => {
            json!({ "name": "returned", "best": best.as_ref().map(AdId::as_str), "p_better": p_better })
        }
    }
}

fn evidence_json(evidence: &Evidence) -> Value {
    let Evidence {
        impressions,
        clicks,
        spend,
        ctr,
        stages,
        pipeline_value,
        raw_roas,
        age_hours,
        totals_only,
    } = evidence;
    let stage = |stage: &StageEvidence| {
        let StageEvidence {
            stage,
            reached,
            successes,
            mature_exposure,
        } = stage;
        json!({
            "stage": stage.as_str(),
            "reached": reached,
            "successes": successes,
            "mature_exposure": mature_exposure,
        })
    };
    json!({
        "impressions": impressions,
        "clicks": clicks,
        "spend": spend,
        "ctr": ctr,
        "stages": stages.iter().map(stage).collect::<Vec<_>>(),
        "pipeline_value": pipeline_value,
        "raw_roas": raw_roas,
        "age_hours": age_hours,
        "totals_only": totals_only,
    })
}

fn belief_json(belief: &Belief) -> Value {
    let Belief {
        mean_roas,
        mu,
        sigma,
        q10,
        q50,
        q90,
        p_below_kill,
        p_above_scale,
        draw,
    } = belief;
    json!({
        "mean_roas": mean_roas,
        "mu": mu,
        "sigma": sigma,
        "q10": q10,
        "q50": q50,
        "q90": q90,
        "p_below_kill": p_below_kill,
        "p_above_scale": p_above_scale,
        "draw": draw,
    })
}

fn stages_json(stages: &[(StageName, f64)]) -> Value {
    stages
        .iter()
        .map(|(stage, value)| json!({ "stage": stage.as_str(), "value": value }))
        .collect()
}

fn ads_json(ads: &[(AdId, f64)], number: &str) -> Value {
    ads.iter()
        .map(|(ad, value)| json!({ "ad": ad.as_str(), number: value }))
        .collect()
}

fn prior_json(prior: &PriorReading) -> Value {
    let PriorReading {
        family,
        prior,
        rate,
        clicks_per_unit,
        early_signal,
        damping_delta,
        damping_factor,
        look_alike,
        nearest,
        early_share,
        eta,
    } = prior;
    json!({
        "family": stages_json(family),
        "prior": stages_json(prior),
        "rate": stages_json(rate),
        "clicks_per_unit": clicks_per_unit,
        "early_signal": early_signal,
        "damping_delta": damping_delta,
        "damping_factor": damping_factor,
        "look_alike": stages_json(look_alike),
        "nearest": ads_json(nearest, "similarity"),
        "early_share": early_share,
        "eta": eta,
    })
}

fn budget_json(budget: &BudgetTrail) -> Value {
    let BudgetTrail {
        kappa,
        spend_per_day,
        draw,
        lowest,
        highest,
        target,
        dither,
        marginal_before,
        marginal_after,
        water_level,
        bound,
    } = budget;
    json!({
        "kappa": kappa,
        "spend_per_day": spend_per_day,
        "draw": draw,
        "lowest": lowest,
        "highest": highest,
        "target": target,
        "dither": dither,
        "marginal_before": marginal_before,
        "marginal_after": marginal_after,
        "water_level": water_level,
        "bound": match bound {
            Bound::None => "none",
            Bound::Velocity6h => "velocity_6h",
            Bound::Calm24h => "calm_24h",
            Bound::Min => "min",
            Bound::Cap => "cap",
            Bound::RateLimit => "rate_limit",
        },
    })
}

fn thresholds_json(thresholds: Thresholds) -> Value {
    let Thresholds {
        kill_roas,
        p_kill,
        scale_roas,
        p_scale,
        p_rotate,
        p_return,
    } = thresholds;
    json!({
        "kill_roas": kill_roas,
        "p_kill": p_kill,
        "scale_roas": scale_roas,
        "p_scale": p_scale,
        "p_rotate": p_rotate,
        "p_return": p_return,
    })
}

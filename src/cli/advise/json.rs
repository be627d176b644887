//! The report for programs.

use serde_json::{Map, Value, json};

use super::report::{Report, SECTIONS, Shown, raw_roas};
use crate::domain::policy::{Action, Move};
use crate::import::TakenColumn;

impl Report<'_> {
    /// The same for programs; every move.
    pub(super) fn to_json(&self) -> Value {
        let (values, reached) = (self.values(), self.reached());
        let campaigns: Vec<Value> = self
            .account
            .totals()
            .iter()
            .map(|t| {
                let value = values.get(&t.campaign).copied().unwrap_or(0.0);
                let counts: Map<String, Value> = self
                    .prepared
                    .funnel
                    .iter()
                    .zip(reached.get(&t.campaign).into_iter().flatten())
                    .map(|((stage, _), n)| (stage.to_string(), json!(n)))
                    .collect();
                json!({
                    "campaign": t.campaign.as_str(),
                    "name": t.name,
                    "ads": t.ads,
                    "impressions": t.impressions.to_f64(),
                    "clicks": t.clicks.to_f64(),
                    "spend": t.spend.to_money(self.currency()).to_decimal(),
                    "spend_exact": t.spend.to_string(),
                    "stages": counts,
                    "value": cents(value),
                    "roas": raw_roas(value, t.spend),
                })
            })
            .collect();
        let moves: Vec<Value> = SECTIONS
            .iter()
            .flat_map(|(_, actions)| self.shown(actions))
            .map(|s| move_json(&s))
            .collect();
        let outcome = self.outcome;
        let holds = outcome
            .decisions
            .iter()
            .filter(|d| d.action == Action::Hold)
            .count();
        json!({
            "ads_file": self.ads_file,
            "deals_file": self.deals_file,
            "policy": format!("{} {}", outcome.policy, outcome.version),
            "currency": self.currency().code(),
            "columns": columns_json(&self.account.columns_taken),
            "ignored": self.account.ignored,
            "notes": self.account.notes,
            "deals": self.deals.map(|d| json!({
                "deals": d.deals.len(),
                "columns": columns_json(&d.columns_taken),
                "ignored": d.ignored,
                "notes": d.notes,
            })),
            "stages": self.prepared.funnel.iter().map(|(s, v)| json!({ "stage": s.as_str(), "value": v.to_string() })).collect::<Vec<_>>(),
            "assumptions": self.prepared.assumptions,
            "warnings": self.warnings(),
            "flags": outcome.flags.iter().map(|f| f.as_str()).collect::<Vec<_>>(),
            "campaigns": campaigns,
            "moves": moves,
            "holds": holds,
            "budget_before": outcome.budget_before.to_decimal(),
            "budget_after": outcome.budget_after.to_decimal(),
            "cap": outcome.cap.to_decimal(),
        })
    }
}

fn move_json(shown: &Shown<'_>) -> Value {
    let d = shown.decision;
    let (from, to) = match d.change {
        Move::Budget { from, to } => (from.to_decimal(), to.to_decimal()),
        Move::Status { from, to } => (from.as_str().to_owned(), to.as_str().to_owned()),
    };
    json!({
        "action": d.action.as_str(),
        "kind": d.subject.kind().as_str(),
        "id": d.subject.id(),
        "name": d.rationale.name,
        "campaign": d.campaign.as_str(),
        "from": from,
        "to": to,
        "change_percent": shown.change,
        "scale": d.scale,
        "spend": cents(d.rationale.evidence.spend),
        "roas": shown.roas.map(|(mean, low, high)| json!({ "mean": mean, "low_90": low, "high_90": high })),
        "reason": d.rationale.reason(),
        "would_change": d.rationale.would_change,
        "explanation": d.rationale.paragraph(),
    })
}

fn columns_json(columns: &[TakenColumn]) -> Vec<Value> {
    columns
        .iter()
        .map(|c| json!({ "number": c.number, "header": c.header, "taken_for": c.meaning }))
        .collect()
}

fn cents(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

//! How the ads beside a decision stood, worked out anew from what the decision was made from.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::super::table::TextTable;
use crate::domain::fatigue::Recommendation;
use crate::domain::ids::AdSetId;
use crate::domain::policy;
use crate::domain::rationale::paragraph::{percent, short};
use crate::domain::rationale::standing::{Standing, standings};
use crate::domain::structure::EntityRef;
use crate::store::decisions::{DecisionRecord, RunRecord, inputs_from_json};

/// So many ads are shown.
const ADS_MAX: usize = 20;

/// The ads of the decision's ad set or campaign; `None` where the inputs are gone or this roasd has
/// another version of the policy.
pub(super) fn of(run: &RunRecord, decision: &DecisionRecord) -> Option<Vec<Standing>> {
    let policy = policy::named(&run.policy).filter(|p| p.version().to_string() == run.version)?;
    let inputs = inputs_from_json(&run.inputs_json).ok()?;
    let of_ad = inputs
        .ads
        .iter()
        .filter(|ad| decision.entity == EntityRef::Ad(ad.ad.clone()));
    let ad_sets: BTreeSet<AdSetId> = inputs
        .ads
        .iter()
        .filter(|ad| match &decision.entity {
            EntityRef::Ad(_) => false,
            EntityRef::AdSet(id) => ad.ad_set == *id,
            EntityRef::Campaign(id) => ad.campaign == *id,
        })
        .map(|ad| ad.ad_set.clone())
        .chain(of_ad.map(|ad| ad.ad_set.clone()))
        .collect();
    let mut all = standings(&inputs, &policy.decide(&inputs), &ad_sets);
    all.truncate(ADS_MAX);
    Some(all)
}

pub(super) fn text(text: &mut String, all: &[Standing], is_terminal: bool) {
    if all.is_empty() {
        return;
    }
    text.push_str("\nads beside each other\n");
    let heads = [
        "ad",
        "state",
        "ROAS",
        "9 times in 10",
        "best",
        "under kill line",
        "audience",
    ];
    let mut table = TextTable::new(&heads, is_terminal).right(&[2, 3, 4, 5]);
    for s in all {
        let tired = s.fatigue.as_ref().map_or("", |f| match f.recommendation {
            Recommendation::Continue => "",
            Recommendation::RefreshCreative => f.status.as_str(),
        });
        table.row([
            format!("{} ({})", s.name, s.ad),
            s.state.as_str().to_owned(),
            short(s.mean_roas),
            format!("{} to {}", short(s.interval_90.0), short(s.interval_90.1)),
            percent(s.p_best),
            percent(s.p_below_kill),
            tired.to_owned(),
        ]);
    }
    let _ = writeln!(text, "{}", table.render());
    for (s, fatigue) in all.iter().filter_map(|s| Some((s, s.fatigue.as_ref()?))) {
        if fatigue.recommendation == Recommendation::RefreshCreative {
            let _ = writeln!(
                text,
                "  {} could do with a new creative: {} ({} sure)",
                s.name,
                fatigue.reason,
                percent(fatigue.confidence)
            );
        }
    }
}

pub(super) fn json(all: &[Standing]) -> Value {
    let one = |s: &Standing| {
        json!({
            "ad": s.ad.as_str(),
            "name": s.name,
            "state": s.state.as_str(),
            "mean_roas": s.mean_roas,
            "interval_90": [s.interval_90.0, s.interval_90.1],
            "p_best": s.p_best,
            "p_below_kill": s.p_below_kill,
            "similar": s.similar.iter().map(|(ad, similarity)| json!({
                "ad": ad.as_str(), "similarity": similarity,
            })).collect::<Vec<_>>(),
            "fatigue": s.fatigue.as_ref().map(|f| json!({
                "status": f.status.as_str(),
                "confidence": f.confidence,
                "reason": f.reason,
                "days_until_critical": f.days_until_critical,
                "recommendation": f.recommendation.as_str(),
            })),
        })
    };
    all.iter().map(one).collect()
}

//! What would change a decision: how much more must be spent or sold before it turns.

use crate::domain::policy::{KillRule, PolicyParams};
use crate::domain::posterior::AdBelief;
use crate::domain::posterior::gamma::{Gamma, LogNormal};
use crate::domain::posterior::special::normal_quantile;

/// More sales than this are not worth naming.
const SALES_MAX: u32 = 20;

/// Spend beyond which no horizon is worth naming, main units.
const SPEND_MAX: f64 = 1e9;

/// How much more an ad may spend without another result of the first stage before it is killed.
///
/// Closed form: clicks keep coming at the believed price, exposure of the first stage grows by
/// them, and the spread stays. `None` where it would take beyond reason or the rule has no such
/// horizon.
#[must_use]
pub fn spend_until_kill(ad: &AdBelief, params: &PolicyParams) -> Option<f64> {
    let spent = ad.ledger.spend;
    let gate = (params.min_spend_for_kill - spent)
        .max(params.ignorance_spend - spent)
        .max(0.0);
    let more = match params.kill_rule {
        KillRule::Posterior => {
            let first = ad.rates.first()?;
            let clicks = ad.cost.mean();
            let gap = ad.roas.mu - libm::log(params.kill_roas)
                + normal_quantile(params.p_kill) * ad.roas.sigma;
            first.rate * libm::expm1(gap.clamp(0.0, 100.0)) / clicks
        }
        KillRule::Raw => (ad.ledger.pipeline_value.max(0.0) / params.kill_roas - spent).max(0.0),
        KillRule::HalfAverage => return None,
    };
    let more = more.max(gate);
    (more.is_finite() && more <= SPEND_MAX).then_some(more)
}

/// What would be believed of an ad with `sales` more sales, each passing every stage.
#[must_use]
pub fn with_sales(ad: &AdBelief, worth: f64, sales: u32) -> LogNormal {
    let more = f64::from(sales);
    let rates = ad.rates.iter().enumerate().map(|(k, g)| Gamma {
        shape: g.shape + more,
        // The clicks behind them are there already; later stages each saw one more deal.
        rate: if k == 0 { g.rate } else { g.rate + more },
    });
    LogNormal::of_product(std::iter::once(ad.cost).chain(rates), worth)
}

/// The least number of sales after which `holds`, within reason.
#[must_use]
pub fn sales_until(ad: &AdBelief, worth: f64, holds: impl Fn(LogNormal) -> bool) -> Option<u32> {
    (1..=SALES_MAX).find(|n| holds(with_sales(ad, worth, *n)))
}

//! The model's numbers: the table of ALGORITHM 2 as a struct.

use crate::domain::policy::inputs::Mode;

/// How the two gates of the ignorance zone join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IgnoranceJoin {
    /// Young or cheap: in the zone. The default.
    Or,
    /// Young and cheap: the older form, which can kill an ad on its first day.
    And,
}

/// What kills an ad outside the ignorance zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillRule {
    /// P(ROAS < kill) is high enough.
    Posterior,
    /// The raw pipeline ROAS is under the threshold.
    Raw,
    /// The blended score is under half the account's average.
    HalfAverage,
}

/// Every number of the model. Money is in main units of the account's currency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PolicyParams {
    /// Days from click to won.
    pub sales_cycle_days: f64,
    /// Strength of the account's prior, in pseudo-successes.
    pub a_account: f64,
    /// Strength of the campaign's prior.
    pub a_campaign: f64,
    /// Strength of the ad set's prior.
    pub a_ad_set: f64,
    /// Pull of an ad toward its prior at the first stage.
    pub a_first: f64,
    /// The same at the second, which tells good leads from bad.
    pub a_quality: f64,
    /// The same at the later ones, which hardly differ by ad.
    pub a_later: f64,
    /// Pseudo-clicks of the clicks-per-currency prior.
    pub a_cost: f64,
    /// Half-life of clicks per currency, days.
    pub half_life_cost: f64,
    /// Half-life of the first stage, days.
    pub half_life_lead: f64,
    /// Half-life of the second stage, days, at a cycle of 6 days.
    pub half_life_appointment: f64,
    /// Half-life of the later stages, days, at a cycle of 6 days.
    pub half_life_late: f64,
    /// Mean of the damping's prior.
    pub delta0: f64,
    /// Its standard deviation.
    pub delta_sd: f64,
    /// Pull against look-alike evidence.
    pub a_text: f64,
    /// How many nearest ads count.
    pub k_text: usize,
    /// Weight of ads that ended earlier in the account's rates.
    pub ended_weight: f64,
    /// Whether campaign and ad set lend priors of their own.
    pub hierarchy: bool,
    /// Whether mean delays are refined by observed ones.
    pub fit_delays: bool,
    /// Half-saturation spend in multiples of the reference budget.
    pub kappa_mult: f64,
    /// How the ignorance zone's gates join.
    pub ignorance_join: IgnoranceJoin,
    /// Ignorance zone: younger than this many days.
    pub ignorance_days: f64,
    /// Ignorance zone: less spend than this.
    pub ignorance_spend: f64,
    /// What kills.
    pub kill_rule: KillRule,
    /// No kill at or below this spend.
    pub min_spend_for_kill: f64,
    /// The ROAS below which an ad is not worth running.
    pub kill_roas: f64,
    /// How sure a kill must be.
    pub p_kill: f64,
    /// The ROAS above which an entity is marked to scale.
    pub scale_roas: f64,
    /// How sure that mark must be.
    pub p_scale: f64,
    /// How sure rotation must be that a sibling is better.
    pub p_rotate: f64,
    /// At most this sure for a rotated ad to return.
    pub p_return: f64,
    /// Least spend before an ad rotates.
    pub rotate_spend: f64,
    /// Thompson draws averaged per ad; 0 takes the mean of what is believed instead.
    pub draws: u32,
    /// Hours for which draws are kept.
    pub hold_hours: f64,
}

impl Default for PolicyParams {
    fn default() -> Self {
        Self {
            sales_cycle_days: 6.0,
            a_account: 4.0,
            a_campaign: 10.0,
            a_ad_set: 6.0,
            a_first: 6.0,
            a_quality: 3.0,
            a_later: 15.0,
            a_cost: 30.0,
            half_life_cost: 5.0,
            half_life_lead: 14.0,
            half_life_appointment: 45.0,
            half_life_late: 90.0,
            delta0: 0.5,
            delta_sd: 0.5,
            a_text: 3.0,
            k_text: 20,
            ended_weight: 0.5,
            hierarchy: false,
            fit_delays: false,
            kappa_mult: 2.0,
            ignorance_join: IgnoranceJoin::Or,
            ignorance_days: 2.0,
            ignorance_spend: 100.0,
            kill_rule: KillRule::Posterior,
            min_spend_for_kill: 200.0,
            kill_roas: 0.5,
            p_kill: 0.90,
            scale_roas: 3.0,
            p_scale: 0.60,
            p_rotate: 0.70,
            p_return: 0.40,
            rotate_spend: 60.0,
            draws: 8,
            hold_hours: 24.0,
        }
    }
}

impl PolicyParams {
    /// The defaults for a mode: purchases follow a click within a quarter of a day.
    #[must_use]
    pub fn for_mode(mode: Mode) -> Self {
        let sales_cycle_days = match mode {
            Mode::Pipeline => 6.0,
            Mode::Direct => 0.25,
        };
        Self {
            sales_cycle_days,
            ..Self::default()
        }
    }

    /// The same with every number that is not usable replaced by its default, so that a decision
    /// stays finite whatever a caller passes. A validated configuration is left as it is.
    #[must_use]
    pub fn sanitized(&self) -> Self {
        let d = Self::default();
        let mut p = *self;
        let positive: [(&mut f64, f64); 17] = [
            (&mut p.sales_cycle_days, d.sales_cycle_days),
            (&mut p.a_account, d.a_account),
            (&mut p.a_campaign, d.a_campaign),
            (&mut p.a_ad_set, d.a_ad_set),
            (&mut p.a_first, d.a_first),
            (&mut p.a_quality, d.a_quality),
            (&mut p.a_later, d.a_later),
            (&mut p.a_cost, d.a_cost),
            (&mut p.half_life_cost, d.half_life_cost),
            (&mut p.half_life_lead, d.half_life_lead),
            (&mut p.half_life_appointment, d.half_life_appointment),
            (&mut p.half_life_late, d.half_life_late),
            (&mut p.delta_sd, d.delta_sd),
            (&mut p.a_text, d.a_text),
            (&mut p.kappa_mult, d.kappa_mult),
            (&mut p.hold_hours, d.hold_hours),
            (&mut p.scale_roas, d.scale_roas),
        ];
        for (value, default) in positive {
            if !(1e-3..=1e6).contains(value) {
                *value = default;
            }
        }
        let not_negative: [(&mut f64, f64); 6] = [
            (&mut p.ended_weight, d.ended_weight),
            (&mut p.ignorance_days, d.ignorance_days),
            (&mut p.ignorance_spend, d.ignorance_spend),
            (&mut p.min_spend_for_kill, d.min_spend_for_kill),
            (&mut p.kill_roas, d.kill_roas),
            (&mut p.rotate_spend, d.rotate_spend),
        ];
        for (value, default) in not_negative {
            if !(0.0..=1e12).contains(value) {
                *value = default;
            }
        }
        let chances: [(&mut f64, f64); 4] = [
            (&mut p.p_kill, d.p_kill),
            (&mut p.p_scale, d.p_scale),
            (&mut p.p_rotate, d.p_rotate),
            (&mut p.p_return, d.p_return),
        ];
        for (value, default) in chances {
            if !(0.0..=1.0).contains(value) {
                *value = default;
            }
        }
        if !(-0.5..=2.0).contains(&p.delta0) {
            p.delta0 = d.delta0;
        }
        p.draws = p.draws.min(10_000);
        p
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_usable_as_they_are() {
        let p = PolicyParams::default();
        assert_eq!(p.sanitized(), p);
        let direct = PolicyParams::for_mode(Mode::Direct);
        assert_eq!(direct.sanitized(), direct);
    }

    #[test]
    fn a_number_that_is_none_falls_back_to_its_default() {
        let p = PolicyParams {
            a_cost: f64::NAN,
            delta0: f64::INFINITY,
            kill_roas: -1.0,
            p_kill: 1.5,
            draws: u32::MAX,
            ..PolicyParams::default()
        }
        .sanitized();
        assert_eq!(
            p,
            PolicyParams {
                draws: 10_000,
                ..PolicyParams::default()
            }
        );
    }
}

//! The funnel as the model sees it: each stage with its value, prior rate, pull, delay and
//! half-life. Any number of stages; with four, the numbers of ALGORITHM 2 exactly.
//!
//! For other lengths:
//! - delay: with four stages 25, 35 and 40 % of the sales cycle after the lead; otherwise equal
//!   shares of it;
//! - pull and half-life: the first stage's, the second's (where it is not the win), the later ones';
//! - prior rate: of the first stage 0.05. Of a later one the ratio of the two stages' values, since
//!   a value is an expectation; where the earlier stage has none, 0.12 for the second stage, and
//!   0.018 (a whole default funnel after the lead) when that one is the win already.

use crate::domain::ids::StageName;
use crate::domain::policy::{Mode, PolicyInputs, PolicyParams, Stage};

/// A prior rate is kept inside this range: outside it the pull would be nothing or everything.
const RATE: std::ops::RangeInclusive<f64> = 0.001..=0.95;

/// One stage.
#[derive(Debug, Clone, PartialEq)]
pub struct FunnelStage {
    /// Its name.
    pub name: StageName,
    /// What reaching it is worth, main units; not negative.
    pub value: f64,
    /// Prior rate from the stage before (p0).
    pub prior_rate: f64,
    /// Pull of an ad toward its prior (A_ad), pseudo-successes.
    pub pull: f64,
    /// Mean delay from the stage before, days.
    pub delay_days: f64,
    /// Half-life of its evidence, days.
    pub half_life_days: f64,
}

/// The stages in order, the win last.
#[derive(Debug, Clone, PartialEq)]
pub struct Funnel {
    stages: Vec<FunnelStage>,
    /// How many of the configured stages come before the first one used.
    offset: usize,
}

impl Funnel {
    /// The funnel of these inputs. Purchases have one stage: the last configured.
    #[must_use]
    pub fn new(inputs: &PolicyInputs, params: &PolicyParams) -> Self {
        let offset = match inputs.mode {
            Mode::Pipeline => 0,
            Mode::Direct => inputs.stages.len().saturating_sub(1),
        };
        let used = inputs.stages.get(offset..).unwrap_or_default();
        let stages = used
            .iter()
            .enumerate()
            .map(|(k, stage)| {
                let before = k.checked_sub(1).and_then(|k| used.get(k));
                FunnelStage {
                    name: stage.name.clone(),
                    value: value(stage),
                    prior_rate: usable(stage.prior_rate, 1e-6, 1.0).unwrap_or_else(|| {
                        prior_rate(inputs.mode, k, used.len(), before.map(value), value(stage))
                    }),
                    pull: usable(stage.pull, 1e-3, 1e6)
                        .unwrap_or_else(|| by_place(k, used.len(), pulls(params))),
                    delay_days: usable(stage.mean_delay_days, 0.0, 1e5)
                        .unwrap_or_else(|| delay(k, used.len(), params.sales_cycle_days)),
                    half_life_days: by_place(k, used.len(), half_lives(params)),
                }
            })
            .collect();
        Self { stages, offset }
    }

    /// How many stages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stages.len()
    }

    /// Whether there is none, so that nothing can be believed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// The stages in order.
    #[must_use]
    pub fn stages(&self) -> &[FunnelStage] {
        &self.stages
    }

    /// Place of the stage whose rate tells good early signals from bad: the second; the only one
    /// where there is one.
    #[must_use]
    pub fn quality(&self) -> usize {
        self.stages.len().saturating_sub(1).min(1)
    }

    /// Place of the win.
    #[must_use]
    pub fn win(&self) -> usize {
        self.stages.len().saturating_sub(1)
    }

    /// Configured stages before the first one used.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Value of stage `k`, 0 when there is none.
    #[must_use]
    pub fn value(&self, k: usize) -> f64 {
        self.stages.get(k).map_or(0.0, |s| s.value)
    }

    /// Mean delay before stage `k`, days.
    #[must_use]
    pub fn delay(&self, k: usize) -> Option<f64> {
        self.stages.get(k).map(|s| s.delay_days)
    }

    /// The same funnel with other mean delays.
    #[must_use]
    pub fn with_delays(mut self, delays: &[f64]) -> Self {
        for (stage, delay) in self.stages.iter_mut().zip(delays) {
            stage.delay_days = *delay;
        }
        self
    }
}

fn usable(given: Option<f64>, least: f64, most: f64) -> Option<f64> {
    given.filter(|v| (least..=most).contains(v))
}

fn value(stage: &Stage) -> f64 {
    usable(Some(stage.value), 0.0, 1e12).unwrap_or(0.0)
}

fn prior_rate(mode: Mode, k: usize, len: usize, before: Option<f64>, value: f64) -> f64 {
    let ratio = before
        .filter(|before| *before > 0.0 && value > 0.0)
        .map(|before| (before / value).clamp(*RATE.start(), *RATE.end()));
    match (k, len) {
        (0, _) => match mode {
            Mode::Pipeline => 0.05,
            Mode::Direct => 0.02,
        },
        (1, 4) => 0.12,
        (1, 2) => ratio.unwrap_or(0.018),
        (1, _) => ratio.unwrap_or(0.12),
        _ => ratio.unwrap_or(0.5),
    }
}

fn delay(k: usize, len: usize, cycle: f64) -> f64 {
    match (k, len) {
        (0, 1) => cycle,
        (0, _) => 0.1 * (cycle / 6.0).min(1.0),
        (1, 4) => 0.25 * cycle,
        (2, 4) => 0.35 * cycle,
        (3, 4) => 0.40 * cycle,
        (_, len) => cycle / (len.saturating_sub(1).max(1)) as f64,
    }
}

fn pulls(p: &PolicyParams) -> [f64; 4] {
    // A win right after the lead is the only sign of quality there is, so it keeps that pull.
    [p.a_first, p.a_quality, p.a_later, p.a_quality]
}

fn half_lives(p: &PolicyParams) -> [f64; 4] {
    let slow = (p.sales_cycle_days / 6.0).max(1.0);
    let late = p.half_life_late * slow;
    [p.half_life_lead, p.half_life_appointment * slow, late, late]
}

/// Picks from `[first, second, later, second that is the win]`.
fn by_place(k: usize, len: usize, [first, second, later, second_win]: [f64; 4]) -> f64 {
    match (k, len) {
        (0, _) => first,
        (1, 2) => second_win,
        (1, _) => second,
        _ => later,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::tests_support::inputs;

    fn funnel(mode: Mode, values: &[(&str, f64)]) -> Funnel {
        let mut given = inputs(mode);
        given.stages = values
            .iter()
            .map(|(name, value)| Stage::new(StageName::new(name).unwrap(), *value))
            .collect();
        Funnel::new(&given, &PolicyParams::for_mode(mode))
    }

    fn check(actual: impl Iterator<Item = f64>, expected: &[f64]) {
        let actual: Vec<f64> = actual.collect();
        assert_eq!(actual.len(), expected.len(), "{actual:?}");
        for (a, e) in actual.iter().zip(expected) {
            assert!((a - e).abs() < 1e-12, "{actual:?} is not {expected:?}");
        }
    }

    #[test]
    fn four_stages_have_the_numbers_of_the_table() {
        let f = funnel(
            Mode::Pipeline,
            &[
                ("lead", 0.0),
                ("appt", 2_250.0),
                ("show", 9_000.0),
                ("won", 15_000.0),
            ],
        );
        check(
            f.stages().iter().map(|s| s.prior_rate),
            &[0.05, 0.12, 0.25, 0.6],
        );
        check(f.stages().iter().map(|s| s.pull), &[6.0, 3.0, 15.0, 15.0]);
        check(
            f.stages().iter().map(|s| s.delay_days),
            &[0.1, 1.5, 2.1, 2.4],
        );
        check(
            f.stages().iter().map(|s| s.half_life_days),
            &[14.0, 45.0, 90.0, 90.0],
        );
        assert_eq!((f.quality(), f.win()), (1, 3));
    }

    #[test]
    fn a_lead_worth_something_changes_nothing_with_four_stages() {
        let f = funnel(
            Mode::Pipeline,
            &[
                ("lead", 500.0),
                ("appt", 2_250.0),
                ("show", 9_000.0),
                ("won", 15_000.0),
            ],
        );
        check(
            f.stages().iter().map(|s| s.prior_rate),
            &[0.05, 0.12, 0.25, 0.6],
        );
    }

    #[test]
    fn two_stages_take_the_ratio_of_their_values_or_a_whole_funnel() {
        let f = funnel(Mode::Pipeline, &[("lead", 10.0), ("won", 100.0)]);
        check(f.stages().iter().map(|s| s.prior_rate), &[0.05, 0.1]);
        check(f.stages().iter().map(|s| s.pull), &[6.0, 3.0]);
        check(f.stages().iter().map(|s| s.delay_days), &[0.1, 6.0]);
        check(f.stages().iter().map(|s| s.half_life_days), &[14.0, 90.0]);
        let f = funnel(Mode::Pipeline, &[("lead", 0.0), ("won", 15_000.0)]);
        check(f.stages().iter().map(|s| s.prior_rate), &[0.05, 0.018]);
    }

    #[test]
    fn five_stages_share_the_cycle() {
        let f = funnel(
            Mode::Pipeline,
            &[
                ("mql", 100.0),
                ("sql", 2_000.0),
                ("demo", 3_500.0),
                ("offer", 6_000.0),
                ("won", 10_000.0),
            ],
        );
        check(
            f.stages().iter().map(|s| s.prior_rate),
            &[0.05, 0.05, 2.0 / 3.5, 3.5 / 6.0, 0.6],
        );
        check(
            f.stages().iter().map(|s| s.delay_days),
            &[0.1, 1.5, 1.5, 1.5, 1.5],
        );
    }

    #[test]
    fn purchases_have_one_stage_the_last() {
        let f = funnel(
            Mode::Direct,
            &[("cart", 15.0), ("checkout", 45.0), ("purchase", 60.0)],
        );
        assert_eq!((f.len(), f.offset(), f.quality(), f.win()), (1, 2, 0, 0));
        check(f.stages().iter().map(|s| s.prior_rate), &[0.02]);
        check(f.stages().iter().map(|s| s.delay_days), &[0.25]);
    }

    #[test]
    fn an_operator_overrides_and_garbage_does_not() {
        let mut given = inputs(Mode::Pipeline);
        given.stages[1].prior_rate = Some(0.3);
        given.stages[2].prior_rate = Some(f64::NAN);
        given.stages[3].pull = Some(7.0);
        let f = Funnel::new(&given, &PolicyParams::default());
        check(
            f.stages().iter().map(|s| s.prior_rate),
            &[0.05, 0.3, 0.25, 0.6],
        );
        check(f.stages().iter().map(|s| s.pull), &[6.0, 3.0, 15.0, 7.0]);
    }
}

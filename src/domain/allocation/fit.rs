//! From targets to what is sent: small changes dropped, dither drawn, actions rationed, and only
//! then the cap kept. The other way round, a dropped cut would leave raises in place that break it.

use std::collections::BTreeMap;

use super::bounds::Bounds;
use crate::domain::ids::CampaignId;
use crate::domain::rationale::Bound;

/// One entity whose budget may move.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its campaign, whose actions are rationed.
    pub campaign: CampaignId,
    /// How far it may move.
    pub bounds: Bounds,
    /// Where the water level puts it, minor units.
    pub target: f64,
    /// Dither as a fraction of the target, within the configured fuzz.
    pub dither: f64,
    /// First in line when actions are rationed.
    pub scale: bool,
    /// Its action is taken out of the allowance already and must happen.
    pub prepaid: bool,
}

/// Where one budget came to rest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed {
    /// The budget to set, minor units.
    pub budget: i64,
    /// Which bound bit.
    pub bound: Bound,
    /// Why nothing is sent, if nothing is.
    pub held: Option<Held>,
    /// The dither that is in it, as a fraction of the target.
    pub dither: f64,
}

/// Why a budget stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The change would be too small.
    TooSmall,
    /// No action is left in this hour.
    Rationed,
}

/// All budgets of one decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// In the order of the candidates.
    pub placed: Vec<Placed>,
    /// The cap cannot be kept; nothing is raised.
    pub unreachable: bool,
}

/// Places `candidates` so that with `fixed` minor units held elsewhere the sum keeps `cap`.
///
/// `allowance` is the number of actions left per campaign; a campaign that is missing has none.
#[must_use]
pub fn fit(
    candidates: &[Candidate],
    fixed: i128,
    cap: i64,
    min_useful: f64,
    allowance: &mut BTreeMap<CampaignId, u32>,
) -> Fit {
    let before: i128 = candidates
        .iter()
        .map(|c| i128::from(c.bounds.current.min(c.bounds.highest)))
        .sum();
    // Above the cap, small cuts count too.
    let over = before + fixed > i128::from(cap);
    let mut placed: Vec<Placed> = candidates
        .iter()
        .map(|c| aim(c, min_useful, over))
        .collect();
    ration(candidates, &mut placed, allowance);
    let unreachable = keep_cap(candidates, &mut placed, fixed, cap, min_useful);
    Fit {
        placed,
        unreachable,
    }
}

fn aim(c: &Candidate, min_useful: f64, over: bool) -> Placed {
    let b = c.bounds;
    let still = |held| Placed {
        budget: b.current,
        bound: Bound::None,
        held: Some(held),
        dither: 0.0,
    };
    let whole = |main: f64| {
        if main.is_finite() {
            (main.round() as i64).clamp(b.lowest, b.highest)
        } else {
            b.current
        }
    };
    let plain = whole(c.target);
    let useful = |budget: i64| {
        let change = (budget - b.current).abs();
        let counts = c.prepaid || (over && budget < b.current);
        change > 0 && (counts || change as f64 >= min_useful * b.current as f64)
    };
    if !useful(plain) {
        return still(Held::TooSmall);
    }
    // The dither moves a change, it never makes one or turns one round.
    let dithered = whole(c.target * (1.0 + c.dither));
    let dithered = if plain > b.current {
        dithered.max(b.current)
    } else {
        dithered.min(b.current)
    };
    let budget = if useful(dithered) { dithered } else { plain };
    Placed {
        budget,
        bound: if budget == b.lowest {
            b.lowest_by
        } else if budget == b.highest {
            b.highest_by
        } else {
            Bound::None
        },
        held: None,
        dither: if plain > 0 && budget != plain {
            budget as f64 / plain as f64 - 1.0
        } else {
            0.0
        },
    }
}

fn ration(
    candidates: &[Candidate],
    placed: &mut [Placed],
    allowance: &mut BTreeMap<CampaignId, u32>,
) {
    let mut line: Vec<(usize, &Candidate, i64)> = candidates
        .iter()
        .zip(placed.iter())
        .enumerate()
        .filter(|(_, (c, p))| p.held.is_none() && !c.prepaid)
        .map(|(i, (c, p))| (i, c, (p.budget - c.bounds.current).abs()))
        .collect();
    // Candidates come by id, and the sort is stable: equals keep that order.
    line.sort_by(|a, b| b.1.scale.cmp(&a.1.scale).then(b.2.cmp(&a.2)));
    for (i, candidate, _) in line {
        let left = allowance.get(&candidate.campaign).copied().unwrap_or(0);
        if left > 0 {
            allowance.insert(candidate.campaign.clone(), left - 1);
        } else if let Some(p) = placed.get_mut(i) {
            *p = Placed {
                budget: candidate.bounds.current,
                bound: Bound::RateLimit,
                held: Some(Held::Rationed),
                dither: 0.0,
            };
        }
    }
}

fn keep_cap(
    candidates: &[Candidate],
    placed: &mut [Placed],
    fixed: i128,
    cap: i64,
    min_useful: f64,
) -> bool {
    let cap = i128::from(cap);
    let excess =
        |placed: &[Placed]| fixed + placed.iter().map(|p| i128::from(p.budget)).sum::<i128>() - cap;
    let above = excess(placed);
    if above <= 0 {
        return false;
    }
    // Raises first: they are what the cap is there to stop.
    let pairs = || candidates.iter().map(|c| c.bounds);
    let raised: i128 = pairs()
        .zip(placed.iter())
        .map(|(b, p)| i128::from((p.budget - b.current).max(0)))
        .sum();
    if raised > 0 {
        let kept = (raised - above).max(0) as f64 / raised as f64;
        for (b, p) in pairs().zip(placed.iter_mut()) {
            let raise = p.budget - b.current;
            if raise <= 0 {
                continue;
            }
            let less = ((raise as f64 * kept).floor() as i64).clamp(0, raise);
            let useful = less > 0 && less as f64 >= min_useful * b.current as f64;
            p.budget = b.current + if useful { less } else { 0 };
            p.bound = Bound::Cap;
            p.dither = 0.0;
            if !useful {
                p.held = Some(Held::TooSmall);
            }
        }
    }
    let above = excess(placed);
    if above <= 0 {
        return false;
    }
    // Then deeper cuts, where an action is taken anyway.
    let room: i128 = pairs()
        .zip(placed.iter())
        .filter(|(_, p)| p.held.is_none())
        .map(|(b, p)| i128::from((p.budget - b.lowest).max(0)))
        .sum();
    if room > 0 {
        let share = (above as f64 / room as f64).min(1.0);
        for (b, p) in pairs().zip(placed.iter_mut()) {
            if p.held.is_some() {
                continue;
            }
            let can = (p.budget - b.lowest).max(0);
            let cut = ((can as f64 * share).ceil() as i64).clamp(0, can);
            if cut > 0 {
                p.budget -= cut;
                p.bound = Bound::Cap;
                p.dither = 0.0;
            }
        }
    }
    excess(placed) > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(current: i64, lowest: i64, highest: i64, target: f64) -> Candidate {
        Candidate {
            campaign: CampaignId::new("c").unwrap(),
            bounds: Bounds {
                current,
                lowest,
                highest,
                lowest_by: Bound::Velocity6h,
                highest_by: Bound::Velocity6h,
            },
            target,
            dither: 0.0,
            scale: false,
            prepaid: false,
        }
    }

    fn run(candidates: &[Candidate], fixed: i128, cap: i64, actions: u32) -> (Vec<i64>, Fit) {
        let mut allowance = BTreeMap::from([(CampaignId::new("c").unwrap(), actions)]);
        let fit = fit(candidates, fixed, cap, 0.01, &mut allowance);
        (fit.placed.iter().map(|p| p.budget).collect(), fit)
    }

    #[test]
    fn small_changes_are_not_sent() {
        let c = [
            candidate(10_000, 8_000, 12_000, 10_099.0),
            candidate(10_000, 8_000, 12_000, 10_100.0),
        ];
        let (budgets, fit) = run(&c, 0, 50_000, 9);
        assert_eq!(budgets, [10_000, 10_100]);
        assert_eq!(fit.placed[0].held, Some(Held::TooSmall));
    }

    #[test]
    fn small_cuts_are_sent_when_the_cap_is_broken() {
        let c = [candidate(10_000, 8_000, 12_000, 9_950.0)];
        assert_eq!(run(&c, 0, 9_950, 9).0, [9_950]);
    }

    #[test]
    fn a_rationed_cut_takes_the_raises_down_with_it() {
        // Cut of 1,000 and raise of 2,000 with one action: the raise goes first, and finds no room.
        let c = [
            candidate(10_000, 8_000, 12_000, 9_000.0),
            candidate(10_000, 8_000, 12_000, 12_000.0),
        ];
        let (budgets, fit) = run(&c, 0, 21_000, 1);
        assert_eq!(budgets, [10_000, 11_000]);
        assert_eq!(fit.placed[0].held, Some(Held::Rationed));
        assert_eq!((fit.placed[1].bound, fit.unreachable), (Bound::Cap, false));
    }

    #[test]
    fn scale_goes_first_when_actions_are_rationed() {
        let mut c = [
            candidate(10_000, 8_000, 12_000, 8_000.0),
            candidate(10_000, 8_000, 12_000, 10_500.0),
        ];
        c[1].scale = true;
        let (budgets, _) = run(&c, 0, 50_000, 1);
        assert_eq!(budgets, [10_000, 10_500]);
    }

    #[test]
    fn a_cap_out_of_reach_raises_nothing() {
        let c = [
            candidate(10_000, 8_000, 12_000, 8_000.0),
            candidate(10_000, 9_000, 12_000, 11_000.0),
        ];
        let (budgets, fit) = run(&c, 1_000, 15_000, 9);
        assert_eq!(budgets, [8_000, 10_000]);
        assert!(fit.unreachable);
    }

    #[test]
    fn dither_moves_a_change_but_makes_none() {
        let mut c = [
            candidate(10_000, 8_000, 12_000, 11_000.0),
            candidate(10_000, 8_000, 12_000, 10_000.0),
        ];
        c[0].dither = 0.03;
        c[1].dither = 0.03;
        let (budgets, fit) = run(&c, 0, 50_000, 9);
        assert_eq!(budgets, [11_330, 10_000]);
        assert!((fit.placed[0].dither - 0.03).abs() < 1e-9);
        c[0].dither = -0.5;
        assert_eq!(run(&c, 0, 50_000, 9).0[0], 11_000, "never turned round");
        c[0].dither = 0.5;
        assert_eq!(run(&c, 0, 50_000, 9).0[0], 12_000, "inside the bounds");
    }

    proptest! {
        #[test]
        fn the_cap_holds_or_nothing_is_raised(
            entities in prop::collection::vec(
                (0..1_000_000_i64, 0.0..0.3_f64, 0.0..0.3_f64, 0.0..2.0_f64, -0.05..0.05_f64, any::<bool>()),
                0..20,
            ),
            fixed in 0..500_000_i64,
            cap in 0..8_000_000_i64,
            actions in 0..20_u32,
        ) {
            let c: Vec<Candidate> = entities
                .into_iter()
                .map(|(current, down, up, to, dither, scale)| Candidate {
                    dither,
                    scale,
                    ..candidate(
                        current,
                        (current as f64 * (1.0 - down)).ceil() as i64,
                        (current as f64 * (1.0 + up)).floor() as i64,
                        current as f64 * to,
                    )
                })
                .collect();
            let (budgets, fit) = run(&c, i128::from(fixed), cap, actions);
            let sum: i64 = budgets.iter().sum::<i64>() + fixed;
            if fit.unreachable {
                prop_assert!(c.iter().zip(&budgets).all(|(c, b)| *b <= c.bounds.current));
            } else {
                prop_assert!(sum <= cap, "{sum} > {cap}");
            }
            for (c, b) in c.iter().zip(&budgets) {
                prop_assert!((c.bounds.lowest..=c.bounds.highest).contains(b));
            }
            let sent = c.iter().zip(&budgets).filter(|(c, b)| c.bounds.current != **b).count();
            prop_assert!(sent <= actions as usize);
        }
    }
}

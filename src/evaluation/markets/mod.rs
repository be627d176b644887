//! Policies side by side on the sandbox's markets, in process: the same markets, the same luck, the
//! same guards for all, many times over.

pub mod chart;
mod play;
pub mod score;
pub mod settings;
mod view;

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::domain::model::Candidate;
use crate::domain::policy::{
    BetaThompson, BlendedV1, LeftAlone, PolicyInputs, RoasdPolicy, RulesEngine,
};

pub use play::Played;
use play::Player;
pub use settings::{Kind, Purpose, Setting};

/// Who takes part.
#[derive(Debug, Clone, Copy)]
pub struct Contender {
    /// Its name in reports.
    pub name: &'static str,
    player: Player,
}

/// The name of the house policy among the contenders.
pub const OURS: &str = "roasd";
/// The name of the one that knows everything.
pub const CLAIRVOYANT: &str = "clairvoyant";
/// The name of the champion, where a version is tried beside it.
pub const CHAMPION: &str = "champion";
/// The name of the owner who changes nothing.
pub const LEFT_ALONE: &str = "left-alone";

fn as_it_is(_: &mut PolicyInputs) {}

impl Contender {
    const fn plain(name: &'static str, policy: &'static dyn crate::domain::policy::Policy) -> Self {
        Self {
            name,
            player: Player::Policy(policy, as_it_is),
        }
    }

    /// A version beside the champion: it is "ours", so that differences are its own.
    #[must_use]
    pub fn trial(version: Candidate, champion: Candidate) -> Vec<Self> {
        let of = |name, candidate| Self {
            name,
            player: Player::Version(candidate),
        };
        vec![
            of(OURS, version),
            Self::plain(LEFT_ALONE, &LeftAlone),
            of(CHAMPION, champion),
        ]
    }

    /// The house policy with something changed in what it is given.
    #[must_use]
    pub const fn without(name: &'static str, tweak: fn(&mut PolicyInputs)) -> Self {
        Self {
            name,
            player: Player::Policy(&RoasdPolicy, tweak),
        }
    }

    /// The policies that are compared, the house policy first.
    #[must_use]
    pub fn all() -> Vec<Self> {
        vec![
            Self::plain(OURS, &RoasdPolicy),
            Self::plain(LEFT_ALONE, &LeftAlone),
            Self::plain("blended-v1", &BlendedV1 { kills: true }),
            Self::plain("blended-v1, no kills", &BlendedV1 { kills: false }),
            Self::plain("rules", &RulesEngine),
            Self::plain("beta-thompson", &BetaThompson),
            Self {
                name: CLAIRVOYANT,
                player: Player::Clairvoyant,
            },
        ]
    }

    /// The house policy, and it without each of its parts.
    #[must_use]
    pub fn ablations() -> Vec<Self> {
        vec![
            Self::plain(OURS, &RoasdPolicy),
            Self::plain(LEFT_ALONE, &LeftAlone),
            Self::without("without delay correction", |i| {
                for stage in &mut i.stages {
                    stage.mean_delay_days = Some(0.0);
                }
            }),
            Self::without("without early-signal damping", |i| {
                i.params.delta0 = 0.0;
                i.params.delta_sd = 1e-3;
            }),
            Self::without("without look-alikes", |i| i.params.a_text = 1e6),
            Self::without("without rotation", |i| i.params.p_rotate = 1.0),
            Self::without("without kills", |i| i.params.p_kill = 1.0),
            Self::without("without draws (means)", |i| i.params.draws = 0),
            Self::without("with one draw", |i| i.params.draws = 1),
            Self::without("without saturation", |i| i.params.kappa_mult = 1e6),
            Self::without("without drift", |i| {
                i.params.half_life_cost = 1e4;
                i.params.half_life_lead = 1e4;
                i.params.half_life_appointment = 1e4;
                i.params.half_life_late = 1e4;
            }),
            Self::without("with hierarchy", |i| i.params.hierarchy = true),
            Self::without("with fitted delays", |i| i.params.fit_delays = true),
        ]
    }
}

/// One kind of market with all that was played on it.
#[derive(Debug, Clone)]
pub struct Board {
    /// The kind of business.
    pub kind: Kind,
    /// Days that were judged.
    pub days: i64,
    /// By contender, then by market.
    pub played: Vec<Vec<Played>>,
}

/// Plays `markets` markets of each of `kinds` with every contender. `progress` is told after each.
///
/// Runs on as many threads as the machine has cores; the figures do not depend on how many.
#[must_use]
pub fn evaluate(
    purpose: Purpose,
    kinds: &[Kind],
    contenders: &[Contender],
    markets: u64,
    progress: &(dyn Fn(u64) + Sync),
) -> Vec<Board> {
    let jobs: Vec<(usize, u64)> = (0..kinds.len())
        .flat_map(|kind| (0..markets).map(move |n| (kind, n)))
        .collect();
    let next = AtomicU64::new(0);
    let done: Mutex<Vec<(usize, u64, Vec<Played>)>> = Mutex::new(Vec::new());
    let work = || {
        while let Some((kind, n)) = usize::try_from(next.fetch_add(1, Ordering::Relaxed))
            .ok()
            .and_then(|job| jobs.get(job))
        {
            let Some(of) = kinds.get(*kind) else { continue };
            let setting = Setting::of(*of, purpose);
            let market = setting.market(*n);
            let row = contenders
                .iter()
                .map(|c| play::play(market.clone(), &setting, setting.seed(*n), c.player))
                .collect();
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.push((*kind, *n, row));
            progress(done.len() as u64);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(kind, n, _)| (*kind, *n));
    kinds
        .iter()
        .enumerate()
        .map(|(k, kind)| Board {
            kind: *kind,
            days: Setting::of(*kind, purpose).days,
            played: (0..contenders.len())
                .map(|c| {
                    let rows = done.iter().filter(|(of, ..)| *of == k);
                    rows.filter_map(|(_, _, row)| row.get(c).copied()).collect()
                })
                .collect(),
        })
        .collect()
}

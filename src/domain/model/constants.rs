//! The constants of the decision model that a version may set for itself. What belongs to an owner
//! (money, the kill line, the ignorance zone, how sure a kill must be) is none of them.

use crate::domain::policy::PolicyParams;

/// One constant: its name as in the configuration's `rules`, its range, and where it goes.
struct Constant {
    name: &'static str,
    range: (f64, f64),
    set: fn(&mut PolicyParams, f64),
}

macro_rules! constants {
    ($($name:literal in $low:literal..=$high:literal: $field:ident as $kind:ty;)*) => {
        [$(Constant {
            name: $name,
            range: ($low, $high),
            set: |params, value| params.$field = <$kind as Cell>::of(value),
        }),*]
    };
}

/// How a value is kept in the model's numbers.
trait Cell: Sized {
    fn of(value: f64) -> Self;
}

impl Cell for f64 {
    fn of(value: f64) -> Self {
        value
    }
}

impl Cell for bool {
    fn of(value: f64) -> Self {
        value >= 0.5
    }
}

impl Cell for u32 {
    fn of(value: f64) -> Self {
        value as Self
    }
}

impl Cell for usize {
    fn of(value: f64) -> Self {
        value as Self
    }
}

const COUNT: usize = 21;

const ALL: [Constant; COUNT] = constants! {
    "kappa_mult" in 0.1..=100.0: kappa_mult as f64;
    "p_rotate" in 0.5..=1.0: p_rotate as f64;
    "p_return" in 0.0..=0.5: p_return as f64;
    "draws" in 0.0..=1000.0: draws as u32;
    "draws_hold_hours" in 1.0..=720.0: hold_hours as f64;
    "look_alikes" in 0.0..=200.0: k_text as usize;
    "hierarchy" in 0.0..=1.0: hierarchy as bool;
    "fit_delays" in 0.0..=1.0: fit_delays as bool;
    "priors.account" in 0.1..=1000.0: a_account as f64;
    "priors.campaign" in 0.1..=1000.0: a_campaign as f64;
    "priors.ad_set" in 0.1..=1000.0: a_ad_set as f64;
    "priors.lead" in 0.1..=1000.0: a_first as f64;
    "priors.appointment" in 0.1..=1000.0: a_quality as f64;
    "priors.late" in 0.1..=1000.0: a_later as f64;
    "priors.clicks" in 0.1..=10000.0: a_cost as f64;
    "priors.text" in 0.1..=1000000.0: a_text as f64;
    "priors.damping" in -0.5..=2.0: delta0 as f64;
    "half_lives.cost" in 0.5..=10000.0: half_life_cost as f64;
    "half_lives.lead" in 0.5..=10000.0: half_life_lead as f64;
    "half_lives.appointment" in 0.5..=10000.0: half_life_appointment as f64;
    "half_lives.late" in 0.5..=10000.0: half_life_late as f64;
};

/// Values of some of the constants.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Constants([Option<f64>; COUNT]);

/// What is no constant of a version's own.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadConstant {
    /// There is none of the name.
    #[error("there is no constant {0:?}; there are: {list}", list = names().collect::<Vec<_>>().join(", "))]
    Unknown(String),
    /// Its value is beyond its range.
    #[error("{name} is {value}, and must be from {low} to {high}")]
    OutOfRange {
        /// The constant.
        name: &'static str,
        /// What it was to be.
        value: f64,
        /// The least.
        low: f64,
        /// The greatest.
        high: f64,
    },
}

/// The names of all constants.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|constant| constant.name)
}

impl Constants {
    /// These values.
    ///
    /// # Errors
    /// [`BadConstant`] for a name that is none, or a value beyond its range.
    pub fn parse<'n>(given: impl IntoIterator<Item = (&'n str, f64)>) -> Result<Self, BadConstant> {
        let mut values = [None; COUNT];
        for (name, value) in given {
            let found = ALL.iter().zip(&mut values).find(|(c, _)| c.name == name);
            let Some((constant, place)) = found else {
                return Err(BadConstant::Unknown(name.chars().take(60).collect()));
            };
            let (low, high) = constant.range;
            if !(low..=high).contains(&value) {
                let name = constant.name;
                return Err(BadConstant::OutOfRange {
                    name,
                    value,
                    low,
                    high,
                });
            }
            *place = Some(value);
        }
        Ok(Self(values))
    }

    /// Whether none is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Those that are set, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        let pairs = ALL.iter().zip(&self.0);
        pairs.filter_map(|(constant, value)| Some((constant.name, (*value)?)))
    }

    /// Puts them in the place of what `params` says.
    pub fn apply(&self, params: &mut PolicyParams) {
        for (constant, value) in ALL.iter().zip(&self.0) {
            if let Some(value) = value {
                (constant.set)(params, *value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_constant_has_a_place_of_its_own() {
        let mut seen: Vec<PolicyParams> = Vec::new();
        for constant in &ALL {
            let with = |value| {
                let set = Constants::parse([(constant.name, value)]).unwrap();
                assert_eq!(set.iter().collect::<Vec<_>>(), [(constant.name, value)]);
                let mut params = PolicyParams::default();
                set.apply(&mut params);
                assert_eq!(params.sanitized(), params, "{}: usable", constant.name);
                params
            };
            let (low, high) = constant.range;
            assert_ne!(with(low), with(high), "{}", constant.name);
            seen.push(with(low));
            seen.push(with(high));
        }
        // What is nobody's default tells the constants apart.
        seen.retain(|params| *params != PolicyParams::default());
        for (i, params) in seen.iter().enumerate() {
            assert!(!seen[..i].contains(params), "{i}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        assert!(Constants::default().is_empty());
        let unknown = Constants::parse([("kill_roas", 1.0)]).unwrap_err();
        assert!(unknown.to_string().contains("kappa_mult"), "{unknown}");
        for value in [f64::NAN, f64::INFINITY, -1.0, 1e9] {
            let bad = Constants::parse([("kappa_mult", value)]);
            assert!(
                matches!(bad, Err(BadConstant::OutOfRange { .. })),
                "{value}"
            );
        }
    }
}

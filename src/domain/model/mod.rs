//! Versions of what moves budgets. A version is a policy with the constants in which it differs from
//! what a tenant's configuration says. One version decides, the champion; challengers decide beside
//! it, and nothing of what they decide is sent.

pub mod constants;
pub mod promotion;
pub mod trial;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

pub use constants::Constants;

use super::policy::{self, Outcome, Policy, PolicyInputs};
use super::time::Timestamp;

/// The model that moves budgets, the only one there is.
pub const BUDGETS: &str = "budgets";

/// So many challengers run beside the champion at most: each costs a decision.
pub const CHALLENGERS_MAX: usize = 4;

/// What a version is called: small letters, digits and hyphens, 48 characters at most.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionName(String);

/// A text that is no name of a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name of a version: small letters, digits and hyphens, 48 at most")]
pub struct BadVersionName(String);

impl FromStr for VersionName {
    type Err = BadVersionName;

    fn from_str(text: &str) -> Result<Self, BadVersionName> {
        let is_fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let is_name = (1..=48).contains(&text.len()) && text.chars().all(is_fit);
        if is_name && !text.starts_with('-') {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadVersionName(text.chars().take(60).collect()))
        }
    }
}

impl fmt::Display for VersionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl VersionName {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of version `number` of a policy's code, as `roasd-8`; and of `label` where an owner
    /// gave it other constants.
    ///
    /// # Errors
    /// [`BadVersionName`] when `label` is none.
    pub fn of(label: &str, number: u32) -> Result<Self, BadVersionName> {
        format!("{label}-{number}").parse()
    }

    /// The name without its last number: what stays when the code goes on.
    #[must_use]
    pub fn label(&self) -> &str {
        match self.0.rsplit_once('-') {
            Some((label, number)) if number.bytes().all(|b| b.is_ascii_digit()) => label,
            _ => &self.0,
        }
    }
}

/// What a version does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It decides.
    Champion,
    /// It decides beside the champion; what it decides is kept, never sent.
    Challenger,
    /// It rests.
    Resting,
}

impl Role {
    /// As a word for reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Champion => "champion",
            Self::Challenger => "challenger",
            Self::Resting => "resting",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A version that this program can run.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// What decides.
    pub policy: &'static dyn Policy,
    /// Where it differs from a tenant's configuration.
    pub constants: Constants,
}

impl Candidate {
    /// The policy of this name with these constants; `None` where this program has no such policy.
    #[must_use]
    pub fn of(policy: &str, constants: Constants) -> Option<Self> {
        policy::named(policy).map(|policy| Self { policy, constants })
    }

    /// What it is given in place of what a tenant's champion is.
    #[must_use]
    pub fn inputs<'i>(&self, inputs: &'i PolicyInputs) -> Cow<'i, PolicyInputs> {
        let mut given = Cow::Borrowed(inputs);
        if !self.constants.is_empty() {
            self.constants.apply(&mut given.to_mut().params);
        }
        given
    }

    /// What it decides.
    #[must_use]
    pub fn decide(&self, inputs: &PolicyInputs) -> Outcome {
        self.policy.decide(&self.inputs(inputs))
    }
}

/// What happened to a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It was entered.
    Registered,
    /// It became the champion.
    Promoted,
    /// It became the champion again.
    RolledBack,
    /// It took the place of the same version of older code.
    Succeeded,
    /// It became a challenger.
    Challenged,
    /// It rests.
    Rested,
    /// It was let loose on simulated markets.
    Evaluated,
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 7] = [
        Self::Registered,
        Self::Promoted,
        Self::RolledBack,
        Self::Succeeded,
        Self::Challenged,
        Self::Rested,
        Self::Evaluated,
    ];

    /// As a word for reports and the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled_back",
            Self::Succeeded => "succeeded",
            Self::Challenged => "challenged",
            Self::Rested => "rested",
            Self::Evaluated => "evaluated",
        }
    }

    /// The event of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == word)
    }
}

/// A line of a model's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryLine {
    /// The version.
    pub version: VersionName,
    /// What happened to it.
    pub event: Event,
    /// The champion before, where it took its place.
    pub before: Option<VersionName>,
    /// Who did it.
    pub actor: String,
    /// Why, as they said.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// The champion before the present one: whom a step back makes champion again. `history` is in the
/// order of time. That a version went on as newer code is no step.
#[must_use]
pub fn champion_before<'h>(
    history: &'h [HistoryLine],
    champion: &'h VersionName,
) -> Option<&'h VersionName> {
    let (mut of, mut lines) = (champion, history);
    loop {
        let crowned = |line: &HistoryLine| {
            let is_crown = matches!(
                line.event,
                Event::Promoted | Event::RolledBack | Event::Succeeded
            );
            line.version == *of && is_crown
        };
        let at = lines.iter().rposition(crowned)?;
        let (earlier, rest) = lines.split_at(at);
        let line = rest.first()?;
        let before = line.before.as_ref()?;
        if line.event != Event::Succeeded {
            return Some(before);
        }
        (of, lines) = (before, earlier);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::Mode;
    use crate::domain::policy::tests_support::{ad, ad_set, inputs};

    fn name(text: &str) -> VersionName {
        text.parse().unwrap()
    }

    #[test]
    fn names_of_versions_are_plain() {
        for good in ["roasd-8", "a", "blended-v1-1"] {
            assert_eq!(name(good).as_str(), good);
        }
        for bad in ["", "-a", "Wide", "a b", "ä", &"a".repeat(49)] {
            assert!(bad.parse::<VersionName>().is_err(), "{bad}");
        }
        assert_eq!(VersionName::of("wide", 7).unwrap(), name("wide-7"));
        assert_eq!(name("blended-v1-1").label(), "blended-v1");
        assert_eq!(name("wide").label(), "wide");
    }

    #[test]
    fn a_candidate_differs_by_its_constants_alone() {
        let mut given = inputs(Mode::Pipeline);
        given.ads = vec![ad("1", "s", 300.0, 400.0)];
        given.entities = vec![ad_set("s", 5_000)];
        let plain = Candidate::of("roasd", Constants::default()).unwrap();
        assert_eq!(*plain.inputs(&given), given);
        let constants = Constants::parse([("kappa_mult", 3.0)]).unwrap();
        let wide = Candidate::of("roasd", constants).unwrap();
        let seen = wide.inputs(&given);
        assert_eq!(seen.params.kappa_mult, 3.0);
        assert_eq!(wide.decide(&given), wide.policy.decide(&seen));
        assert!(Candidate::of("oracle", constants).is_none());
    }

    #[test]
    fn a_step_back_leads_to_who_was_there_before() {
        let line = |version: &str, event, before: Option<&str>| HistoryLine {
            version: name(version),
            event,
            before: before.map(name),
            actor: String::new(),
            reason: String::new(),
            at: Timestamp::UNIX_EPOCH,
        };
        let mut history = vec![
            line("a-1", Event::Registered, None),
            line("b-1", Event::Promoted, Some("a-1")),
            line("c-1", Event::Challenged, None),
        ];
        let before = |history: &[HistoryLine], champion| {
            champion_before(history, &name(champion)).map(ToString::to_string)
        };
        assert_eq!(before(&history, "b-1").as_deref(), Some("a-1"));
        assert_eq!(before(&history, "a-1"), None, "it is the first");
        history.push(line("a-1", Event::RolledBack, Some("b-1")));
        assert_eq!(before(&history, "a-1").as_deref(), Some("b-1"));
        history.push(line("a-2", Event::Succeeded, Some("a-1")));
        assert_eq!(before(&history, "a-2").as_deref(), Some("b-1"));
    }
}

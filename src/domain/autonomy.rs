//! How far roasd may act on its own, per kind of action.

use std::fmt;

/// What happens to a change once it is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Autonomy {
    /// It is recorded and nothing else; the ad account is not touched.
    Observe,
    /// It waits until a person approves it, and lapses if nobody does.
    Approve,
    /// It is executed.
    Auto,
}

impl Autonomy {
    /// Every level, the most careful first.
    pub const ALL: [Self; 3] = [Self::Observe, Self::Approve, Self::Auto];

    /// The name configured and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Approve => "approve",
            Self::Auto => "auto",
        }
    }

    /// The level of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == name)
    }
}

impl fmt::Display for Autonomy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The kinds of action that a tenant may trust roasd with to different degrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActionKind {
    /// A budget goes up.
    Raise,
    /// A budget goes down.
    Cut,
    /// Something stops delivering.
    Pause,
    /// Something that roasd paused delivers again.
    Resume,
}

impl ActionKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Raise, Self::Cut, Self::Pause, Self::Resume];

    /// The name configured and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raise => "raise",
            Self::Cut => "cut",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for ActionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A tenant's autonomy for every kind of action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AutonomyRules {
    /// Raising a budget.
    pub raise: Autonomy,
    /// Lowering a budget.
    pub cut: Autonomy,
    /// Pausing.
    pub pause: Autonomy,
    /// Resuming what roasd paused.
    pub resume: Autonomy,
}

impl AutonomyRules {
    /// The same level for every kind of action.
    #[must_use]
    pub const fn uniform(level: Autonomy) -> Self {
        Self {
            raise: level,
            cut: level,
            pause: level,
            resume: level,
        }
    }

    /// The level for one kind of action.
    #[must_use]
    pub const fn for_action(&self, kind: ActionKind) -> Autonomy {
        match kind {
            ActionKind::Raise => self.raise,
            ActionKind::Cut => self.cut,
            ActionKind::Pause => self.pause,
            ActionKind::Resume => self.resume,
        }
    }

    /// Whether nothing at all may reach the ad account.
    #[must_use]
    pub fn only_observes(&self) -> bool {
        *self == Self::uniform(Autonomy::Observe)
    }
}

impl fmt::Display for AutonomyRules {
    /// One word when all kinds agree, else `raise=approve cut=auto …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::uniform(self.raise) {
            return f.pad(self.raise.as_str());
        }
        let each: Vec<String> = ActionKind::ALL
            .into_iter()
            .map(|kind| format!("{kind}={}", self.for_action(kind)))
            .collect();
        f.pad(&each.join(" "))
    }
}

/// How a person decided on changes that waited for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrackRecord {
    /// Approved.
    pub approved: u32,
    /// Turned down.
    pub rejected: u32,
}

impl TrackRecord {
    /// Changes decided on.
    #[must_use]
    pub const fn decided(&self) -> u32 {
        self.approved + self.rejected
    }

    /// Whether the person agreed often enough, and on enough changes, that they may want to let this
    /// kind of action go by itself: nine in ten of at least ten.
    #[must_use]
    pub const fn speaks_for_auto(&self) -> bool {
        self.decided() >= 10 && self.approved * 10 >= self.decided() * 9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_in_ten_of_ten_speak_for_auto() {
        for (approved, rejected, speaks) in [
            (9, 1, true),
            (8, 2, false),
            (9, 0, false),
            (10, 0, true),
            (31, 2, true),
            (31, 4, false),
            (0, 0, false),
        ] {
            let record = TrackRecord { approved, rejected };
            assert_eq!(record.speaks_for_auto(), speaks, "{record:?}");
        }
    }

    #[test]
    fn names_survive_the_round_trip() {
        for level in Autonomy::ALL {
            assert_eq!(Autonomy::parse(level.as_str()), Some(level));
        }
        for kind in ActionKind::ALL {
            assert_eq!(ActionKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(Autonomy::parse("Auto"), None);
    }

    #[test]
    fn each_kind_of_action_has_its_own_level() {
        let rules = AutonomyRules {
            pause: Autonomy::Auto,
            ..AutonomyRules::uniform(Autonomy::Observe)
        };
        assert_eq!(rules.for_action(ActionKind::Pause), Autonomy::Auto);
        assert_eq!(rules.for_action(ActionKind::Raise), Autonomy::Observe);
        assert!(!rules.only_observes());
        assert_eq!(
            rules.to_string(),
            "raise=observe cut=observe pause=auto resume=observe"
        );
        let uniform = AutonomyRules::uniform(Autonomy::Approve);
        assert_eq!(uniform.to_string(), "approve");
    }
}

//! The ad account's parts and what they are called.

use std::fmt;

use crate::domain::ids::{AdId, AdSetId, CampaignId};

/// One object of an ad account that a change can be made to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntityRef {
    /// A campaign.
    Campaign(CampaignId),
    /// An ad set.
    AdSet(AdSetId),
    /// An ad.
    Ad(AdId),
}

impl EntityRef {
    /// What kind of object it is.
    #[must_use]
    pub const fn kind(&self) -> EntityKind {
        match self {
            Self::Campaign(_) => EntityKind::Campaign,
            Self::AdSet(_) => EntityKind::AdSet,
            Self::Ad(_) => EntityKind::Ad,
        }
    }

    /// Its id as text.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Campaign(id) => id.as_str(),
            Self::AdSet(id) => id.as_str(),
            Self::Ad(id) => id.as_str(),
        }
    }
}

impl fmt::Display for EntityRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.id())
    }
}

/// The levels of an ad account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntityKind {
    /// A campaign.
    Campaign,
    /// An ad set.
    AdSet,
    /// An ad.
    Ad,
}

impl fmt::Display for EntityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Campaign => "campaign",
            Self::AdSet => "ad set",
            Self::Ad => "ad",
        })
    }
}

//! Names of things: each kind of id is a type of its own, so that an ad set's id cannot be passed
//! where a campaign's is meant.
//!
//! Vendors' ids are opaque text here. Meta's are numeric strings of up to 20 digits, but exported
//! files name entities by whatever the owner typed, so the only rule is that an id is not empty,
//! not longer than [`MAX_LEN`] bytes and free of control characters.

use std::fmt;
use std::sync::Arc;

/// The longest id accepted, in bytes.
pub const MAX_LEN: usize = 256;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {given:?} is not valid: {why}")]
pub struct BadId {
    what: &'static str,
    given: String,
    why: &'static str,
}

fn checked(what: &'static str, text: &str) -> Result<Arc<str>, BadId> {
    let bad = |why| BadId {
        what,
        given: text.chars().take(64).collect(),
        why,
    };
    if text.is_empty() {
        return Err(bad("it is empty"));
    }
    if text.len() > MAX_LEN {
        return Err(bad("it is longer than 256 bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err(bad("it has a control character"));
    }
    Ok(Arc::from(text))
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Reads the id from text.
            ///
            /// # Errors
            /// When the text is empty, too long or has a control character.
            pub fn new(text: impl AsRef<str>) -> Result<Self, BadId> {
                checked($what, text.as_ref()).map(Self)
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                Self::new(text)
            }
        }
    };
}

text_id!(
    /// A campaign at Meta.
    CampaignId,
    "campaign id"
);
text_id!(
    /// An ad set at Meta.
    AdSetId,
    "ad set id"
);
text_id!(
    /// An ad at Meta.
    AdId,
    "ad id"
);
text_id!(
    /// A creative at Meta.
    CreativeId,
    "creative id"
);
text_id!(
    /// A lead of one of Meta's lead forms.
    LeadId,
    "lead id"
);
text_id!(
    /// A page at Facebook.
    PageId,
    "page id"
);
text_id!(
    /// A deal in the CRM.
    DealId,
    "deal id"
);
text_id!(
    /// A contact in the CRM.
    ContactId,
    "contact id"
);
text_id!(
    /// A pipeline in the CRM.
    PipelineId,
    "pipeline id"
);
text_id!(
    /// A stage as the CRM names it; unique within its pipeline.
    VendorStageId,
    "CRM stage id"
);
text_id!(
    /// A stage as the configuration names it, such as `appointment_scheduled`.
    StageName,
    "stage name"
);
text_id!(
    /// One visit to a landing page, named by roasd; forms carry it into the CRM.
    VisitId,
    "visit id"
);
text_id!(
    /// One pending change to an ad account.
    ChangeId,
    "change id"
);
text_id!(
    /// One decision of the policy about one ad, ad set or campaign.
    DecisionId,
    "decision id"
);
text_id!(
    /// One run of the policy over a tenant; its decisions share it.
    RunId,
    "run id"
);
text_id!(
    /// A process of roasd that shares a store with others.
    NodeId,
    "node id"
);
text_id!(
    /// A token of the API; no secret.
    TokenId,
    "token id"
);

macro_rules! minted {
    ($($name:ident),+) => {$(
        impl $name {
            /// The id of this text, which was made here and is well formed.
            pub(super) fn minted(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }
    )+};
}

minted!(ChangeId, DecisionId, RunId, TokenId, VisitId);

/// A tenant: a short lower-case name, used as table key, metric label and URL segment.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// Reads a tenant id: 1 to 63 of `a-z`, `0-9`, `_`, `-`, beginning with a letter or digit.
    ///
    /// # Errors
    /// When the text has another form.
    pub fn new(text: impl AsRef<str>) -> Result<Self, BadId> {
        let text = text.as_ref();
        let ok = !text.is_empty()
            && text.len() <= 63
            && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-');
        if ok {
            Ok(Self(Arc::from(text)))
        } else {
            Err(BadId {
                what: "tenant id",
                given: text.chars().take(64).collect(),
                why: "it must be 1 to 63 of a-z, 0-9, _ and -, beginning with a letter or digit",
            })
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantId({})", self.0)
    }
}

impl std::str::FromStr for TenantId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        Self::new(text)
    }
}

/// An ad account at Meta, kept as its digits; shown with the `act_` the API wants.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdAccountId(Arc<str>);

impl AdAccountId {
    /// Reads `act_123` or `123`.
    ///
    /// # Errors
    /// When what follows the optional `act_` is not 1 to 20 digits.
    pub fn new(text: impl AsRef<str>) -> Result<Self, BadId> {
        let text = text.as_ref();
        let digits = text.strip_prefix("act_").unwrap_or(text);
        if (1..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(Arc::from(digits)))
        } else {
            Err(BadId {
                what: "ad account",
                given: text.chars().take(64).collect(),
                why: "it must be act_ followed by 1 to 20 digits",
            })
        }
    }

    /// The digits alone.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AdAccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "act_{}", self.0)
    }
}

impl fmt::Debug for AdAccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AdAccountId(act_{})", self.0)
    }
}

impl std::str::FromStr for AdAccountId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        Self::new(text)
    }
}

/// A HubSpot account (portal).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortalId(pub u64);

impl fmt::Display for PortalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ad_account_is_its_digits() {
        assert_eq!(
            AdAccountId::new("act_12").unwrap(),
            AdAccountId::new("12").unwrap()
        );
        assert_eq!(AdAccountId::new("12").unwrap().to_string(), "act_12");
        for bad in ["", "act_", "act_1x", "1 2", "act_123456789012345678901"] {
            assert!(AdAccountId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tenant_is_safe_in_a_url_and_a_label() {
        assert!(TenantId::new("ptd_fitness-2").is_ok());
        for bad in ["", "_a", "A", "a/b", "a b", "ä", &"a".repeat(64)] {
            assert!(TenantId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_refuse_control_characters() {
        assert!(AdId::new("a\0b").is_err());
        assert!(AdId::new("").is_err());
        assert_eq!(AdId::new("708746").unwrap().as_str(), "708746");
    }
}

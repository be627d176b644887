//! Tokens of the API: who may ask what. The text of a token is shown once and never kept; what is
//! kept is its hash, which is enough to recognise it and useless to whoever reads it.

use std::collections::BTreeSet;
use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::ids::{TenantId, TokenId};
use super::time::Timestamp;

/// What every token begins with, so that people and scanners for leaked secrets know it for one.
pub const PREFIX: &str = "roasd_";
/// The length of a token's id, in characters.
const ID_LEN: usize = 12;
/// The length of its secret, in characters: 256 bits.
const SECRET_LEN: usize = 64;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Look at everything, and ask for advice.
    Read,
    /// Report clicks, conversions and events of the CRM.
    Ingest,
    /// Approve, reject and undo changes; pause.
    Approve,
    /// Resume, settle the quarantine, and everything else.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Read, Self::Ingest, Self::Approve, Self::Admin];

    /// The name stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Ingest => "ingest",
            Self::Approve => "approve",
            Self::Admin => "admin",
        }
    }

    /// The scope of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a token does not count any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Somebody revoked it.
    Revoked,
    /// Its time is over.
    Expired,
}

/// A token as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Its id, which is a part of its text and no secret.
    pub id: TokenId,
    /// The tenant it is for; `None` for all.
    pub tenant: Option<TenantId>,
    /// What it is for, in its owner's words.
    pub name: String,
    /// The hash of its text, in hex.
    pub hash: String,
    /// What it allows.
    pub scopes: BTreeSet<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it does not count any more.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the hour.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl ApiToken {
    /// Whether this is its text. Takes as long for a text that is nearly right as for any other.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        bool::from(hash(text).as_bytes().ct_eq(self.hash.as_bytes()))
    }

    /// Why it does not count at `now`, if it does not.
    #[must_use]
    pub fn ended(&self, now: Timestamp) -> Option<Ended> {
        if self.revoked_at.is_some() {
            return Some(Ended::Revoked);
        }
        let is_over = self.expires_at.is_some_and(|expires| expires <= now);
        is_over.then_some(Ended::Expired)
    }

    /// Whether it allows this; `admin` allows all.
    #[must_use]
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    /// Whether it is good for this tenant.
    #[must_use]
    pub fn is_for(&self, tenant: &TenantId) -> bool {
        self.tenant.as_ref().is_none_or(|own| own == tenant)
    }
}

/// The text of a new token made of chance, and its id.
#[must_use]
pub fn text_of(random: &[u8; 32], id: &[u8; 6]) -> (TokenId, String) {
    let id = TokenId::minted(&hex::encode(id));
    let text = format!("{PREFIX}{id}_{}", hex::encode(random));
    (id, text)
}

/// The hash of a token's text, in hex. The text holds 256 bits of chance, so that no slow hash is
/// needed to keep it from being guessed.
#[must_use]
pub fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// The id in a token's text; `None` when it has not the form of one.
#[must_use]
pub fn id_in(text: &str) -> Option<TokenId> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let is_hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let has_form = is_hex(id, ID_LEN) && is_hex(secret, SECRET_LEN);
    has_form.then(|| TokenId::new(id).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::from_seconds;

    fn made() -> (ApiToken, String) {
        let (id, text) = text_of(&[7; 32], &[1, 2, 3, 4, 5, 255]);
        let token = ApiToken {
            id,
            tenant: Some(TenantId::new("gym").unwrap()),
            name: "the website".to_owned(),
            hash: hash(&text),
            scopes: BTreeSet::from([Scope::Ingest]),
            created_at: from_seconds(0),
            expires_at: Some(from_seconds(100)),
            last_used_at: None,
            revoked_at: None,
        };
        (token, text)
    }

    #[test]
    fn a_token_is_known_by_its_text_alone() {
        let (token, text) = made();
        assert!(text.starts_with("roasd_0102030405ff_0707"));
        assert_eq!(id_in(&text).as_ref(), Some(&token.id));
        assert!(token.is(&text));
        assert!(!token.is(&text.replace("07", "08")));
        assert!(!token.hash.contains("0707"));
    }

    #[test]
    fn what_has_not_the_form_of_a_token_is_none() {
        let (_, text) = made();
        for bad in [
            "",
            "roasd_",
            "roasd_0102030405ff",
            "Bearer roasd_0102030405ff_07",
            &text.to_uppercase(),
            &format!("{text}0"),
            &text.replace("roasd", "other"),
        ] {
            assert_eq!(id_in(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_token_ends_and_allows_no_more_than_was_said() {
        let (mut token, _) = made();
        assert_eq!(token.ended(from_seconds(99)), None);
        assert_eq!(token.ended(from_seconds(100)), Some(Ended::Expired));
        token.revoked_at = Some(from_seconds(1));
        assert_eq!(token.ended(from_seconds(99)), Some(Ended::Revoked));
        assert!(token.allows(Scope::Ingest) && !token.allows(Scope::Read));
        token.scopes.insert(Scope::Admin);
        assert!(Scope::ALL.into_iter().all(|scope| token.allows(scope)));
        assert!(token.is_for(&TenantId::new("gym").unwrap()));
        assert!(!token.is_for(&TenantId::new("spa").unwrap()));
        token.tenant = None;
        assert!(token.is_for(&TenantId::new("spa").unwrap()));
    }

    #[test]
    fn scopes_are_read_by_name() {
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        }
        assert_eq!(Scope::parse("write"), None);
    }
}

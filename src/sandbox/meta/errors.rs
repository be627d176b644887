//! Errors in Meta's envelope.

use serde_json::{Value, json};

use super::super::market::Refusal;

/// An error of the Graph API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct Error {
    pub code: i64,
    /// 0 for none.
    pub subcode: i64,
    pub message: String,
    pub blame: Option<&'static str>,
}

impl Error {
    pub(in crate::sandbox) fn new(code: i64, subcode: i64, message: String) -> Self {
        Self {
            code,
            subcode,
            message,
            blame: None,
        }
    }

    pub(super) fn token(subcode: i64, why: &str) -> Self {
        Self::new(
            190,
            subcode,
            format!("Error validating access token: {why}"),
        )
    }

    pub(super) fn bad(message: &str) -> Self {
        Self::new(100, 0, format!("(#100) {message}"))
    }

    pub(super) fn missing(verb: &str, id: &str) -> Self {
        Self::new(
            100,
            33,
            format!(
                "Unsupported {verb} request. Object with ID '{id}' does not exist, cannot be loaded due to missing permissions, or does not support this operation"
            ),
        )
    }

    pub(in crate::sandbox) fn reduce_data() -> Self {
        Self::new(
            1,
            0,
            "Please reduce the amount of data you're asking for, then retry your request"
                .to_owned(),
        )
    }

    pub(in crate::sandbox) fn throttled_account() -> Self {
        Self::new(17, 2_446_079, "(#17) User request limit reached".to_owned())
    }

    pub(super) const fn status(&self) -> u16 {
        match self.code {
            1 | 2 => 500,
            // Throttles are 400 too, not 429.
            _ => 400,
        }
    }

    pub(in crate::sandbox) fn http_status(&self) -> u16 {
        self.status()
    }

    pub(in crate::sandbox) fn body(&self, trace: &str) -> Value {
        let mut error = json!({
            "message": self.message,
            "type": if self.code == 100 && self.subcode == 33 {
                "GraphMethodException"
            } else {
                "OAuthException"
            },
            "code": self.code,
            // False on quota errors, as at Meta.
            "is_transient": self.code == 2,
            "fbtrace_id": trace,
        });
        if let Some(map) = error.as_object_mut() {
            if self.subcode != 0 {
                map.insert("error_subcode".into(), json!(self.subcode));
                map.insert("error_user_title".into(), json!("Invalid parameter"));
                map.insert("error_user_msg".into(), json!(self.message));
            }
            if let Some(field) = self.blame {
                map.insert("error_data".into(), json!({"blame_field_specs": [[field]]}));
            }
        }
        json!({ "error": error })
    }

    /// A market's refusal in Meta's words.
    pub(super) fn refused(refusal: Refusal, id: &str) -> Self {
        let budget = |subcode, message: String| Self {
            code: 100,
            subcode,
            message,
            blame: Some("daily_budget"),
        };
        match refusal {
            Refusal::Unknown => Self::missing("post", id),
            Refusal::Gone => Self::new(
                100,
                1_487_056,
                "Invalid parameter: the object is archived or deleted and cannot be edited".to_owned(),
            ),
            Refusal::BadValue(why) => Self::bad(&format!("Param {why}")),
            Refusal::TooLow { minimum_minor } => budget(
                1_885_272,
                format!("Invalid parameter: your budget is too low; it must be at least {minimum_minor}"),
            ),
            Refusal::BelowSpent { floor_minor } => budget(
                1_885_650,
                format!("Invalid parameter: your budget is too low; after what was spent it must be at least {floor_minor}"),
            ),
            Refusal::WrongLevel => budget(
                1_885_621,
                "Invalid parameter: you can only set an ad set budget or a campaign budget, not both".to_owned(),
            ),
            Refusal::TooOften => Self {
                code: 613,
                subcode: 1_487_632,
                message: "(#613) Your ad set budget has been changed too many times; it is locked for one hour".to_owned(),
                blame: Some("daily_budget"),
            },
        }
    }
}

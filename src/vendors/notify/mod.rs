//! Channels on which people are told: chat, mail, or a program of theirs.

pub mod mail;
pub mod slack;
pub mod webhook;

use std::time::Duration;

use async_trait::async_trait;

use super::BoxError;
use super::http::{Answer, Lost, exchange};
use crate::domain::alert::Message;
use crate::domain::time::Timestamp;

/// How long a channel may take to answer.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Why a message did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// It may arrive later, by itself or when an operator has mended the channel.
    #[error("{channel} did not take it: {detail}")]
    Retry {
        /// The kind of channel.
        channel: &'static str,
        /// What it said, without address or secret.
        detail: String,
        /// The cause.
        #[source]
        cause: Option<BoxError>,
    },
    /// This message will never be taken.
    #[error("{channel} refuses the message: {detail}")]
    Refused {
        /// The kind of channel.
        channel: &'static str,
        /// What it said, without address or secret.
        detail: String,
    },
}

/// A channel.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Sends a message; `Ok` when the channel has taken it. It may arrive twice when the answer is
    /// lost.
    async fn send(&self, message: &Message, now: Timestamp) -> Result<(), NotifyError>;
}

/// Sends a request whose answer says nothing but yes or no.
async fn post(channel: &'static str, request: reqwest::RequestBuilder) -> Result<(), NotifyError> {
    let answer = exchange(request.timeout(PATIENCE)).await;
    judge(channel, answer)
}

fn judge(channel: &'static str, answer: Result<Answer, Lost>) -> Result<(), NotifyError> {
    let answer = answer.map_err(|lost| NotifyError::Retry {
        channel,
        detail: lost.detail.to_owned(),
        cause: lost.cause,
    })?;
    let detail = format!("it answered {}", answer.status);
    match answer.status {
        200..=299 => Ok(()),
        // What was sent is at fault. Every other refusal is the address's, the right to use it or
        // the service's, and somebody may mend that while the message waits.
        400 | 413 | 415 | 422 => Err(NotifyError::Refused { channel, detail }),
        _ => Err(NotifyError::Retry {
            channel,
            detail,
            cause: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_message_at_fault_is_given_up() {
        let outcome = |status| {
            judge(
                "a channel",
                Ok(Answer {
                    status,
                    headers: reqwest::header::HeaderMap::new(),
                    body: Ok(Vec::new()),
                }),
            )
        };
        for status in [200, 204] {
            assert!(outcome(status).is_ok(), "{status}");
        }
        for status in [301, 401, 403, 404, 410, 429, 500, 503] {
            let retry = matches!(outcome(status), Err(NotifyError::Retry { .. }));
            assert!(retry, "{status}");
        }
        for status in [400, 413, 422] {
            let refused = matches!(outcome(status), Err(NotifyError::Refused { .. }));
            assert!(refused, "{status}");
        }
    }
}

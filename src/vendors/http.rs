//! What both clients share: the one HTTP client, addresses, answers of bounded size, and texts
//! that are fit to be logged.

use std::time::Duration;

use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret as _, SecretString};

use super::BoxError;

/// The largest answer read, in bytes.
pub(crate) const MAX_BODY: usize = 32 * 1024 * 1024;

/// The longest text of a vendor's that is carried in an error, in characters.
const MAX_DETAIL: usize = 300;

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The address is not one.
    #[error("the address {url:?} is not a URL such as \"https://graph.facebook.com\"")]
    BadUrl {
        /// What was given.
        url: String,
    },
    /// Tokens would go over the network in plain text.
    #[error(
        "the address {url:?} must begin with https: only this machine may be spoken to in http"
    )]
    PlainText {
        /// What was given.
        url: String,
    },
    /// The version has another form.
    #[error("the version {version:?} of the {vendor} API has not the form {form:?}")]
    BadVersion {
        /// `Meta` or `HubSpot`.
        vendor: &'static str,
        /// What was given.
        version: String,
        /// What it should look like.
        form: &'static str,
    },
    /// The token cannot be put into a header.
    #[error("the {vendor} token is empty or has characters that no token has")]
    BadToken {
        /// `Meta` or `HubSpot`.
        vendor: &'static str,
    },
    /// The TLS set-up failed.
    #[error("the HTTP client cannot be set up, check the certificate store of this machine")]
    Client(#[source] reqwest::Error),
}

/// The HTTP client that all vendor clients of the process share: ring for TLS, no redirects (a
/// redirect would carry the token elsewhere), pooled connections.
///
/// # Errors
/// [`SetupError::Client`] when TLS cannot be set up.
pub fn http_client(connect_timeout: Duration) -> Result<reqwest::Client, SetupError> {
    // An error says that a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .connect_timeout(connect_timeout)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .pool_idle_timeout(Duration::from_secs(90))
        .pool_max_idle_per_host(8)
        .user_agent(concat!("roasd/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(SetupError::Client)
}

impl SetupError {
    /// The same without the address, where that is a secret.
    pub(crate) fn without_address(self) -> Self {
        const HIDDEN: &str = "(not shown)";
        match self {
            Self::BadUrl { .. } => Self::BadUrl {
                url: HIDDEN.to_owned(),
            },
            Self::PlainText { .. } => Self::PlainText {
                url: HIDDEN.to_owned(),
            },
            other @ (Self::BadVersion { .. } | Self::BadToken { .. } | Self::Client(_)) => other,
        }
    }
}

/// Reads a base address: as [`secure_url`] has it, without a query. Never ends in a slash.
pub(crate) fn base_url(text: &str) -> Result<String, SetupError> {
    let url = secure_url(text)?;
    if url.query().is_some() {
        return Err(SetupError::BadUrl {
            url: text.to_owned(),
        });
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Reads an address that may be told secrets: https, or http on this machine; no user in it.
pub(crate) fn secure_url(text: &str) -> Result<reqwest::Url, SetupError> {
    let bad = || SetupError::BadUrl {
        url: text.to_owned(),
    };
    let url = reqwest::Url::parse(text).map_err(|_| bad())?;
    let host = url.host_str().ok_or_else(bad)?;
    if url.fragment().is_some() || !url.username().is_empty() {
        return Err(bad());
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = host == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback => Ok(()),
        "http" => Err(SetupError::PlainText {
            url: text.to_owned(),
        }),
        _ => Err(bad()),
    }?;
    Ok(url)
}

/// Whether a token can stand in a header.
pub(crate) fn is_token(token: &SecretString) -> bool {
    let text = token.expose_secret();
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// An answer with its head, and its body unless the connection broke while it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Result<Vec<u8>, Lost>,
}

/// No answer, or half of one.
#[derive(Debug)]
pub(crate) struct Lost {
    /// In words, without address.
    pub(crate) detail: &'static str,
    /// Whether it is certain that the vendor never saw the request.
    pub(crate) never_sent: bool,
    pub(crate) cause: Option<BoxError>,
}

impl Lost {
    fn from(error: reqwest::Error) -> Self {
        let detail = if error.is_timeout() {
            "it did not answer in time"
        } else if error.is_connect() {
            "it cannot be reached"
        } else if error.is_body() || error.is_decode() {
            "the connection broke within the answer"
        } else {
            "the connection broke before an answer"
        };
        Self {
            detail,
            never_sent: error.is_connect() || error.is_builder(),
            // The address may hold parameters that are nobody's business.
            cause: Some(Box::new(error.without_url())),
        }
    }
}

/// Sends a request and reads its answer, of at most [`MAX_BODY`] bytes.
pub(crate) async fn exchange(request: reqwest::RequestBuilder) -> Result<Answer, Lost> {
    let mut response = request.send().await.map_err(Lost::from)?;
    let status = response.status().as_u16();
    let headers = std::mem::take(response.headers_mut());
    let mut bytes = Vec::new();
    let body = loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > MAX_BODY => {
                break Err(Lost {
                    detail: "its answer is larger than 32 MiB",
                    never_sent: false,
                    cause: None,
                });
            }
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => break Ok(bytes),
            Err(error) => break Err(Lost::from(error)),
        }
    };
    Ok(Answer {
        status,
        headers,
        body,
    })
}

/// What must never be seen in a log; vendors do repeat a malformed token in their message.
pub(crate) struct Secrets(Vec<SecretString>);

impl Secrets {
    pub(crate) fn new(secrets: impl IntoIterator<Item = SecretString>) -> Self {
        Self(secrets.into_iter().collect())
    }

    /// A vendor's text without our secrets and control characters, cut to a bearable length.
    pub(crate) fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            let secret = secret.expose_secret();
            if !secret.is_empty() {
                text = text.replace(secret, "[secret]");
            }
        }
        text.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(MAX_DETAIL)
            .collect()
    }
}

/// The beginning of a body that is not what it should be, such as a proxy's HTML.
pub(crate) fn glimpse(body: &[u8]) -> String {
    let head = body.get(..body.len().min(80)).unwrap_or(body);
    String::from_utf8_lossy(head).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine() {
        let check = |url: &str, ok: bool| assert_eq!(base_url(url).is_ok(), ok, "{url}");
        check("https://graph.facebook.com", true);
        check("https://graph.facebook.com/", true);
        check("http://127.0.0.1:4000", true);
        check("http://[::1]:4000", true);
        check("http://localhost:4000", true);
        check("http://graph.facebook.com", false);
        check("http://127.0.0.1.example.com", false);
        check("ftp://127.0.0.1", false);
        check("graph.facebook.com", false);
        check("https://user@graph.facebook.com", false);
        check("https://graph.facebook.com?access_token=x", false);
        assert_eq!(base_url("https://a.example/").unwrap(), "https://a.example");
    }

    #[test]
    fn a_message_that_repeats_the_token_is_cleaned() {
        let secrets = Secrets::new([SecretString::from("EAAB-test-token"), "".into()]);
        assert_eq!(
            secrets.clean("Malformed access token EAAB-test-token\n"),
            "Malformed access token [secret] "
        );
        assert_eq!(secrets.clean(&"x".repeat(1_000)).len(), MAX_DETAIL);
    }
}

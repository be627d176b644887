//! Addresses: where to listen, where vendors are, which database, whose pages.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use url::Url;

use super::fault::FaultKind;
use super::read::{Context, FromNode};
use super::secret::{Secret, SecretSource};
use super::tree::{Node, Value};

/// A base address: https, or http on loopback; no user, query or fragment; no slash at its end.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    is_loopback: bool,
}

impl BaseUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// With the reason, when it is not one that roasd would send a token to.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "it is not an address with https://")?;
        let host = url.host_str().ok_or("it names no host")?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_loopback =
            host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it has a user name or password in it");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it has a query or fragment in it");
        }
        match url.scheme() {
            "https" => {}
            "http" if is_loopback => {}
            "http" => {
                return Err("it is not https, so that anyone on the way could read the token");
            }
            _ => return Err("it is not an address with https://"),
        }
        Ok(Self {
            text: url.as_str().trim_end_matches('/').to_owned(),
            is_loopback,
        })
    }

    /// The address without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.is_loopback
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromNode for BaseUrl {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let text = cx.text(node, "an address", "\"https://host\"")?;
        match Self::parse(text) {
            Ok(url) => Some(url),
            // The text is not repeated: it may hold a password.
            Err(why) => {
                let remedy = "write https://host or, on this machine alone, http://127.0.0.1:PORT";
                cx.fault(FaultKind::BadValue, node, why, remedy);
                None
            }
        }
    }
}

/// The address of a database: plain when it has no password, else a secret.
#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseUrl(pub Secret);

impl FromNode for DatabaseUrl {
    fn read(node: &Node, path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let secret = match &node.value {
            Value::Text(text) if !node.is_from_environment() => {
                let has_password = Url::parse(text).is_ok_and(|u| u.password().is_some());
                if has_password || text.contains("password=") {
                    cx.fault(
                        FaultKind::Secret,
                        node,
                        "the address holds a password, which must not stand in the file",
                        "write { env = \"NAME\" }, { file = \"/path\" } or { credential = \"name\" }",
                    );
                    return None;
                }
                Secret::new(text.clone(), SecretSource::Plain)
            }
            _ => Secret::read(node, path, cx)?,
        };
        let known = ["sqlite:", "postgres:", "postgresql:"];
        if known
            .iter()
            .any(|scheme| secret.expose().starts_with(scheme))
        {
            return Some(Self(secret));
        }
        cx.fault(
            FaultKind::BadValue,
            node,
            "this is not the address of a database",
            "write \"sqlite:///path/roasd.db\" or \"postgres://host/name\"",
        );
        None
    }
}

/// A web page's origin: scheme, host and port, and nothing after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// The origin as browsers send it, or `*`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromNode for Origin {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let text = cx.text(node, "an origin", "\"https://www.example.com\"")?;
        let origin = Url::parse(text).ok().map(|u| u.origin());
        let ascii = origin
            .filter(|o| o.is_tuple())
            .map(|o| o.ascii_serialization());
        if ascii.as_deref() == Some(text.trim_end_matches('/')) {
            return ascii.map(Self);
        }
        cx.fault(
            FaultKind::BadValue,
            node,
            format!("{text:?} is not an origin"),
            ascii.map_or_else(
                || "write for example \"https://www.example.com\"".to_owned(),
                |near| format!("write {near:?}"),
            ),
        );
        None
    }
}

impl FromNode for SocketAddr {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let text = cx.text(node, "an address with a port", "\"127.0.0.1:8787\"")?;
        let text = text.replacen("localhost:", "127.0.0.1:", 1);
        let read = text.parse().ok();
        if read.is_none() {
            cx.fault(
                FaultKind::BadValue,
                node,
                format!("{text:?} is not an IP address with a port"),
                "write for example \"127.0.0.1:8787\" or \"[::1]:8787\"",
            );
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_sent_in_the_clear() {
        for (text, loopback) in [
            ("https://graph.facebook.com", false),
            ("https://graph.facebook.com/", false),
            ("http://127.0.0.1:9001", true),
            ("http://localhost:9001/meta", true),
            ("http://[::1]:9001", true),
        ] {
            let url = BaseUrl::parse(text).unwrap();
            assert_eq!(url.is_loopback(), loopback, "{text}");
            assert!(!url.as_str().ends_with('/'), "{text}");
        }
        for bad in [
            "http://graph.facebook.com",
            "http://127.0.0.1.evil.com",
            "http://localhost.evil.com",
            "ftp://127.0.0.1",
            "https://user:pw@host",
            "https://host?x=1",
            "graph.facebook.com",
            "",
        ] {
            assert!(BaseUrl::parse(bad).is_err(), "{bad}");
        }
    }
}

//! Secrets: read from the environment, a file or a systemd credential; never printed.

use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

/// A secret and where it came from. Shows its source and never its value.
#[derive(Clone)]
pub struct Secret {
    value: SecretString,
    source: SecretSource,
}

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file.
    File(PathBuf),
    /// A systemd credential, in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// A setting that is no secret in itself, such as a database address without a password.
    Plain,
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Credential(name) => write!(f, "credential {name}"),
            Self::Plain => write!(f, "the configuration"),
        }
    }
}

impl Secret {
    /// A secret with this value.
    #[must_use]
    pub fn new(value: impl Into<String>, source: SecretSource) -> Self {
        Self {
            value: SecretString::from(value.into()),
            source,
        }
    }

    /// The value. To be passed on and never kept, logged or formatted.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.value.expose_secret()
    }

    /// The value in its wrapper.
    #[must_use]
    pub fn value(&self) -> &SecretString {
        &self.value
    }

    /// Where it came from.
    #[must_use]
    pub fn source(&self) -> &SecretSource {
        &self.source
    }
}

/// Whether the value or the source differs: what a reload asks.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.expose() == other.expose()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret(from {})", self.source)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(secret from {})", self.source)
    }
}

/// Why a secret cannot be had, and what to do.
pub(super) struct NoSecret {
    pub(super) problem: String,
    pub(super) remedy: String,
}

/// What a file holds, less one newline at its end; with a warning when anyone may read the file.
pub(super) fn read_file(path: &Path) -> Result<(String, Option<String>), NoSecret> {
    let text = std::fs::read_to_string(path).map_err(|error| NoSecret {
        problem: format!("the secret file {} cannot be read: {error}", path.display()),
        remedy: "create it, readable by the user that runs roasd and by no one else".to_owned(),
    })?;
    let text = text
        .strip_suffix("\r\n")
        .or_else(|| text.strip_suffix('\n'))
        .unwrap_or(&text);
    Ok((text.to_owned(), open_to_all(path)))
}

#[cfg(unix)]
fn open_to_all(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o004 != 0).then(|| {
        format!(
            "the secret file {} can be read by every user of this machine (mode {:03o})",
            path.display(),
            mode & 0o777
        )
    })
}

#[cfg(not(unix))]
fn open_to_all(_path: &Path) -> Option<String> {
    None
}

/// Refuses values that would break a header or are plainly a mistake.
pub(super) fn check(value: &str, source: &SecretSource) -> Result<(), NoSecret> {
    let problem = if value.is_empty() {
        format!("the secret from {source} is empty")
    } else if value.chars().any(char::is_control) {
        format!("the secret from {source} has a control character or a second line")
    } else if value.trim() != value {
        format!("the secret from {source} begins or ends with a space")
    } else {
        return Ok(());
    };
    Err(NoSecret {
        problem,
        remedy: "store the secret alone, on one line".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_its_source_and_never_its_value() {
        let secret = Secret::new("hunter2", SecretSource::Env("TOKEN".to_owned()));
        for shown in [
            format!("{secret:?}"),
            format!("{secret:#?}"),
            secret.to_string(),
        ] {
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(shown.contains("TOKEN"), "{shown}");
        }
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn one_newline_is_trimmed_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        for (text, expected) in [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a")] {
            let path = dir.path().join("s");
            std::fs::write(&path, text).unwrap();
            let read = read_file(&path).map(|(value, _)| value);
            assert_eq!(read.ok().as_deref(), Some(expected));
        }
    }
}

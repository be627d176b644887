//! Secrets: read from the environment, a file or a systemd credential; never printed.

use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::fault::{Fault, FaultKind};
use super::read::{Context, FromNode};
use super::tree::{Node, Value};

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
struct NoSecret {
    problem: String,
    remedy: String,
}

/// What a file holds, less one newline at its end; with a warning when anyone may read the file.
fn read_file(path: &Path) -> Result<(String, Option<String>), NoSecret> {
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
fn check(value: &str, source: &SecretSource) -> Result<(), NoSecret> {
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

impl FromNode for Secret {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let unfolded = node.unfolded();
        let node = unfolded.as_ref().unwrap_or(node);
        const REMEDY: &str =
            "write { env = \"NAME\" }, { file = \"/path\" } or { credential = \"name\" }";
        match &node.value {
            Value::Text(value) if node.is_from_environment() => {
                let variable = node
                    .place
                    .source
                    .trim_start_matches("environment variable ");
                let source = SecretSource::Env(variable.to_owned());
                finish(value.clone(), source, node, cx)
            }
            Value::Table(entries) => {
                let [entry] = entries.as_slice() else {
                    cx.fault(
                        FaultKind::Secret,
                        node,
                        "a secret has exactly one source",
                        REMEDY,
                    );
                    return None;
                };
                let from = &entry.node;
                let Value::Text(name) = &from.value else {
                    cx.fault(
                        FaultKind::Secret,
                        from,
                        "the source of a secret is text",
                        REMEDY,
                    );
                    return None;
                };
                let source = match entry.name.as_str() {
                    "env" => SecretSource::Env(name.clone()),
                    "file" => SecretSource::File(cx.base.join(name)),
                    "credential" => SecretSource::Credential(name.clone()),
                    other => {
                        let problem = format!("{other:?} is not a source of secrets");
                        cx.fault(FaultKind::Secret, from, problem, REMEDY);
                        return None;
                    }
                };
                let value = fetch(&source, node, cx)?;
                finish(value, source, node, cx)
            }
            // The value is not repeated in the fault: it may be the secret itself.
            _ => {
                cx.fault(
                    FaultKind::Secret,
                    node,
                    "a secret must not stand in the file, where backups and repositories carry it on",
                    REMEDY,
                );
                None
            }
        }
    }
}

fn finish(
    value: String,
    source: SecretSource,
    node: &Node,
    cx: &mut Context<'_>,
) -> Option<Secret> {
    match check(&value, &source) {
        Ok(()) => Some(Secret::new(value, source)),
        Err(no) => {
            cx.fault(FaultKind::Secret, node, no.problem, no.remedy);
            None
        }
    }
}

fn fetch(source: &SecretSource, node: &Node, cx: &mut Context<'_>) -> Option<String> {
    let file = match source {
        SecretSource::Env(name) => {
            let value = cx.environment.get(name).map(str::to_owned);
            if value.is_none() {
                let problem = format!("the environment variable {name} is not set");
                let remedy = "set it, or take the secret from a file or a credential";
                cx.fault(FaultKind::Secret, node, problem, remedy);
            }
            return value;
        }
        SecretSource::File(path) => path.clone(),
        SecretSource::Credential(name) => {
            let Some(directory) = cx.environment.get("CREDENTIALS_DIRECTORY") else {
                let problem = format!(
                    "the credential {name:?} cannot be had: $CREDENTIALS_DIRECTORY is not set"
                );
                let remedy =
                    "run under systemd with LoadCredential=, or take the secret from elsewhere";
                cx.fault(FaultKind::Secret, node, problem, remedy);
                return None;
            };
            if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') {
                let problem = format!("{name:?} is not the name of a credential");
                cx.fault(
                    FaultKind::Secret,
                    node,
                    problem,
                    "write the name that LoadCredential= gives it",
                );
                return None;
            }
            PathBuf::from(directory).join(name)
        }
        SecretSource::Plain => return None,
    };
    match read_file(&file) {
        Ok((value, warning)) => {
            if let Some(problem) = warning {
                cx.warnings.push(Fault {
                    place: node.place.clone(),
                    key: node.key.clone(),
                    kind: FaultKind::Secret,
                    problem,
                    remedy: "chmod 600 it".to_owned(),
                });
            }
            Some(value)
        }
        Err(no) => {
            cx.fault(FaultKind::Secret, node, no.problem, no.remedy);
            None
        }
    }
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

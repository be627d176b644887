//! What is wrong with a configuration: where, which key, why, and what to write instead.

use std::fmt;
use std::sync::Arc;

/// Where something is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file as it was opened, `environment variable NAME`, or `default`.
    pub source: Arc<str>,
    /// The line, from 1; 0 means the source as a whole.
    pub line: u32,
    /// The column in characters, from 1; 0 means the line as a whole.
    pub column: u32,
}

impl Place {
    /// The source as a whole.
    #[must_use]
    pub fn whole(source: &str) -> Self {
        Self {
            source: Arc::from(source),
            line: 0,
            column: 0,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => write!(f, "{}", self.source),
            (line, 0) => write!(f, "{}:{line}", self.source),
            (line, column) => write!(f, "{}:{line}:{column}", self.source),
        }
    }
}

/// The kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// A file cannot be read.
    File,
    /// The text is not TOML.
    Syntax,
    /// A key that roasd does not know.
    UnknownKey,
    /// Text where a number belongs, and the like.
    WrongType,
    /// The right type with a value that cannot be: a bad unit, currency, range.
    BadValue,
    /// A required key is not stated.
    Missing,
    /// A secret cannot be had, or stands in the file.
    Secret,
    /// Two settings that each are fine and together are not.
    Conflict,
}

impl FaultKind {
    /// The name that programs get.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Syntax => "syntax",
            Self::UnknownKey => "unknown_key",
            Self::WrongType => "wrong_type",
            Self::BadValue => "bad_value",
            Self::Missing => "missing",
            Self::Secret => "secret",
            Self::Conflict => "conflict",
        }
    }
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// The key's full path, such as `tenants.acme.budget.daily_cap`; empty for a whole file.
    pub key: String,
    /// What kind.
    pub kind: FaultKind,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.problem)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// Every fault of a configuration, in order of place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFaults(Vec<Fault>);

impl ConfigFaults {
    /// Orders the faults and drops repeats (one bad default is met once per tenant).
    pub(crate) fn new(mut faults: Vec<Fault>) -> Self {
        faults.sort();
        faults.dedup_by(|a, b| (&a.place, &a.key, &a.problem) == (&b.place, &b.key, &b.problem));
        Self(faults)
    }

    /// The faults.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len() {
            1 => write!(f, "the configuration has a fault:")?,
            n => write!(f, "the configuration has {n} faults:")?,
        }
        for fault in &self.0 {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigFaults {}

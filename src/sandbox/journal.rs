//! What happened in the sandbox, one JSON line for each thing, on disk before it is answered.
//!
//! The journal is the witness: tests compare it with what roasd believes. It is also what the world
//! resumes from, since the market follows from the seed and the edits alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::edits::CrmEdit;
use crate::domain::time::{self, Timestamp};

/// One line. Times are microseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// The sandbox began, or began again.
    Started {
        /// When.
        at: i64,
        /// The seed of its world; a journal is of one world only.
        seed: u64,
    },
    /// A write that Meta accepted, or an edit that a person made.
    Write {
        /// When.
        at: i64,
        /// Whose account.
        tenant: String,
        /// Id of the campaign, ad set or ad.
        entity: String,
        /// `status`, `daily_budget` or `name`.
        field: String,
        /// The value before.
        old: String,
        /// The value after; the same as before when the write changed nothing.
        new: String,
        /// Who wrote: roasd's app, or a person's.
        application_id: String,
        /// Meta's name for the call.
        fbtrace_id: String,
    },
    /// A write that Meta refused.
    Refused {
        /// When.
        at: i64,
        /// Whose account.
        tenant: String,
        /// Id of the campaign, ad set or ad, as it was given.
        entity: String,
        /// The field, as it was given.
        field: String,
        /// The value asked for.
        value: String,
        /// Who wrote.
        application_id: String,
        /// Meta's error code.
        code: i64,
        /// Its subcode, 0 without one.
        subcode: i64,
        /// Meta's name for the call.
        fbtrace_id: String,
    },
    /// A call that came while the account or app was throttled, and lengthened the block.
    Blocked {
        /// When.
        at: i64,
        /// Whose token.
        tenant: String,
        /// `POST /1202…`, without the query.
        call: String,
        /// Meta's error code.
        code: i64,
    },
    /// Something that a person did in the CRM.
    CrmEdit {
        /// When.
        at: i64,
        /// Whose portal.
        tenant: String,
        /// What.
        edit: CrmEdit,
    },
    /// A webhook event that roasd acknowledged with a 2xx.
    Delivered {
        /// When.
        at: i64,
        /// Whose portal.
        tenant: String,
        /// The event's own name; a duplicate on purpose has the same.
        id: String,
    },
    /// An hour began.
    Hour {
        /// Which.
        at: i64,
    },
}

impl Entry {
    /// When it happened.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        let (Self::Started { at, .. }
        | Self::Write { at, .. }
        | Self::Refused { at, .. }
        | Self::Blocked { at, .. }
        | Self::CrmEdit { at, .. }
        | Self::Delivered { at, .. }
        | Self::Hour { at }) = self;
        time::from_micros(*at)
    }
}

/// A write that Meta accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedWrite {
    /// When.
    pub at: Timestamp,
    /// Whose account.
    pub tenant: String,
    /// Id of the campaign, ad set or ad.
    pub entity: String,
    /// `status`, `daily_budget` or `name`.
    pub field: String,
    /// The value before.
    pub old: String,
    /// The value after.
    pub new: String,
    /// Who wrote.
    pub application_id: String,
    /// Meta's name for the call.
    pub fbtrace_id: String,
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
}

impl Journal {
    /// The journal's file in the sandbox's folder.
    #[must_use]
    pub fn path(dir: &Path) -> PathBuf {
        dir.join("journal.jsonl")
    }

    /// Reads all whole lines. A last line without its end was never acknowledged and is left out.
    ///
    /// # Errors
    /// When the file cannot be read, or a whole line is not an entry.
    pub fn read(path: &Path) -> io::Result<Vec<Entry>> {
        let text = std::fs::read(path)?;
        let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        text.get(..whole)
            .unwrap_or_default()
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).map_err(io::Error::from))
            .collect()
    }

    /// The accepted writes of a journal, people's edits included, in order.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn accepted_writes(path: &Path) -> io::Result<Vec<AcceptedWrite>> {
        let entries = Self::read(path)?;
        Ok(entries
            .into_iter()
            .filter_map(|entry| match entry {
                Entry::Write {
                    at,
                    tenant,
                    entity,
                    field,
                    old,
                    new,
                    application_id,
                    fbtrace_id,
                } => Some(AcceptedWrite {
                    at: time::from_micros(at),
                    tenant,
                    entity,
                    field,
                    old,
                    new,
                    application_id,
                    fbtrace_id,
                }),
                Entry::Started { .. }
                | Entry::Refused { .. }
                | Entry::Blocked { .. }
                | Entry::CrmEdit { .. }
                | Entry::Delivered { .. }
                | Entry::Hour { .. } => None,
            })
            .collect())
    }

    /// Opens the journal in `dir`, cuts a half-written last line and returns what it holds.
    pub(super) fn open(dir: &Path) -> io::Result<(Self, Vec<Entry>)> {
        std::fs::create_dir_all(dir)?;
        let path = Self::path(dir);
        let entries = if path.exists() {
            let bytes = std::fs::read(&path)?;
            let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
            if whole < bytes.len() {
                let file = OpenOptions::new().write(true).open(&path)?;
                file.set_len(whole as u64)?;
                file.sync_all()?;
            }
            Self::read(&path)?
        } else {
            Vec::new()
        };
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        Ok((Self { file }, entries))
    }

    /// Appends `entry` in one write, so that the end of this process loses nothing.
    pub(super) fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }

    /// Puts all that was appended on the disk, so that the end of this machine loses nothing.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_written_last_line_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, none) = Journal::open(dir.path()).unwrap();
        assert!(none.is_empty());
        journal.append(&Entry::Hour { at: 1 }).unwrap();
        journal.append(&Entry::Hour { at: 2 }).unwrap();
        journal.sync().unwrap();
        let path = Journal::path(dir.path());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(bytes.len() - 3);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(Journal::read(&path).unwrap(), [Entry::Hour { at: 1 }]);

        let (mut journal, found) = Journal::open(dir.path()).unwrap();
        assert_eq!(found, [Entry::Hour { at: 1 }]);
        journal.append(&Entry::Hour { at: 3 }).unwrap();
        let all = Journal::read(&path).unwrap();
        assert_eq!(all, [Entry::Hour { at: 1 }, Entry::Hour { at: 3 }]);
    }

    #[test]
    fn a_broken_line_in_the_middle_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = Journal::path(dir.path());
        std::fs::write(&path, "{\"kind\":\"hour\",\"at\":1}\nnonsense\n").unwrap();
        assert!(Journal::read(&path).is_err());
    }
}

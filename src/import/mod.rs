//! Files of other programs, read into the domain: exports of Ads Manager and of HubSpot deals.
//!
//! Exports come in every language, with semicolons, decimal commas and a totals row. What a file
//! means is decided from the whole file, never cell by cell, and whatever was decided is told to the
//! reader in `notes`. What cannot be read is refused with its line and column: a figure that is read
//! wrongly moves money, a figure that is refused only costs a minute.

pub mod ads;
mod columns;
pub mod dates;
pub mod deals;
mod join;
pub mod numbers;
mod picked;
mod sheet;

use std::fmt;

use crate::domain::ids::StageName;
use crate::domain::money::Currency;

pub use ads::{AccountExport, AdRow, CampaignTotals, Delivery, read_ads};
pub use dates::DateOrder;
pub use deals::{DealRow, DealsExport, read_deals};
pub use join::{JoinedDeals, join};
pub use numbers::Decimal;

/// How many faults of one file are told before the rest is only counted.
pub const MAX_FAULTS: usize = 20;

/// What the reader of a file may state because the file does not.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The currency of the file's amounts; wins over one in a header only when they agree.
    pub currency: Option<Currency>,
    /// The order of day and month where the file's own dates leave it open.
    pub date_order: Option<DateOrder>,
    /// Names of stages: a column with such a name counts that stage.
    pub stages: Vec<StageName>,
}

/// One cell or row that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line of the file, from 1; a row that spans lines is named by its first.
    pub line: u64,
    /// The column's number, from 1, and its header.
    pub column: Option<(usize, String)>,
    /// What is wrong, and with what.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some((number, header)) => write!(
                f,
                "line {}, column {number} ({header}): {}",
                self.line, self.what
            ),
            None => write!(f, "line {}: {}", self.line, self.what),
        }
    }
}

/// The faults of one file: the first [`MAX_FAULTS`], and how many there are in all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// The first ones, in the order of the file.
    pub first: Vec<Fault>,
    /// How many there are.
    pub total: usize,
}

impl Faults {
    fn add(&mut self, line: u64, column: Option<(usize, String)>, what: impl Into<String>) {
        self.total = self.total.saturating_add(1);
        if self.first.len() < MAX_FAULTS {
            self.first.push(Fault {
                line,
                column,
                what: what.into(),
            });
        }
    }

    fn sorted(mut self) -> Self {
        self.first
            .sort_by_key(|f| (f.line, f.column.as_ref().map(|c| c.0)));
        self
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.first {
            write!(f, "\n  {fault}")?;
        }
        match self.total.saturating_sub(self.first.len()) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// Why a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// There is nothing in it.
    #[error("the file is empty: export it again with at least one row")]
    Empty,
    /// It is another kind of file.
    #[error("this is {what}, not a CSV file: {remedy}")]
    NotCsv {
        /// What it seems to be.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// Its bytes are no text in an encoding known here.
    #[error(
        "line {line}, byte {byte_in_line} is no text in UTF-8 or Windows-1252: save the file as \"CSV UTF-8\""
    )]
    Encoding {
        /// The line, from 1.
        line: u64,
        /// The byte in the line, from 1.
        byte_in_line: u64,
    },
    /// Columns that are needed are not there.
    #[error("{}", missing_text(.missing, .saw))]
    MissingColumns {
        /// What each of them is, with the header Ads Manager or HubSpot gives it.
        missing: Vec<String>,
        /// The headers seen.
        saw: Vec<String>,
    },
    /// Days and months cannot be told apart.
    #[error(
        "column {header:?}: {example:?} may be day/month or month/day, and no date in the column tells which: \
         give --date-order dmy or --date-order mdy, or export dates as 2026-11-24"
    )]
    AmbiguousDates {
        /// The column's header.
        header: String,
        /// One of the dates.
        example: String,
    },
    /// The currency stated is not the one in the file.
    #[error(
        "the file's amounts are in {in_file}, but {stated} was stated: give --currency {in_file}, or export in {stated}"
    )]
    Currency {
        /// In the file.
        in_file: Currency,
        /// Stated by the reader.
        stated: Currency,
    },
    /// Some cells cannot be read; nothing of the file is used.
    #[error("{} of the file cannot be read, so none of it is used:{faults}", count_text(.faults.total))]
    Unreadable {
        /// Which.
        faults: Faults,
    },
}

fn missing_text(missing: &[String], saw: &[String]) -> String {
    let saw: Vec<String> = saw
        .iter()
        .take(40)
        .map(|h| format!("{:?}", clip(h, 60)))
        .collect();
    format!(
        "the file has no column for {}; its columns are {}",
        missing.join(", nor for "),
        if saw.is_empty() {
            "none".to_owned()
        } else {
            saw.join(", ")
        }
    )
}

fn count_text(total: usize) -> String {
    match total {
        1 => "one place".to_owned(),
        n => format!("{n} places"),
    }
}

/// At most `max` characters of `text`.
fn clip(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(max.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// A column that is used: what the file calls it and what it was taken for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenColumn {
    /// Its number in the file, from 1.
    pub number: usize,
    /// Its header.
    pub header: String,
    /// What it was taken for, in words.
    pub meaning: String,
}

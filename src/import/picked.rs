//! Which column is used for what, and how its cells are written: decided once per column.

use std::collections::HashMap;

use super::dates::{DateOrder, OrderEvidence, Written};
use super::numbers::{self, Evidence, Style};
use super::sheet::Sheet;
use super::{Faults, ImportError, clip};

/// The columns chosen for the fields of a file.
#[derive(Debug)]
pub(super) struct Picked<F> {
    columns: Vec<(F, usize)>,
}

impl<F: Copy + PartialEq> Picked<F> {
    /// Chooses one column for each field: of several with one meaning, the preferred header, then the
    /// first. The choice is told.
    pub(super) fn choose(
        header: &[String],
        field_of: fn(&str) -> Option<(F, usize)>,
        notes: &mut Vec<String>,
    ) -> Self {
        let mut chosen: Vec<(F, usize, usize)> = Vec::new();
        let mut passed_over: Vec<(usize, F)> = Vec::new();
        for (at, name) in header.iter().enumerate() {
            let Some((field, rank)) = field_of(name) else {
                continue;
            };
            match chosen.iter_mut().find(|(f, _, _)| *f == field) {
                None => chosen.push((field, rank, at)),
                Some(entry) if rank < entry.1 => {
                    passed_over.push((entry.2, field));
                    *entry = (field, rank, at);
                }
                Some(_) => passed_over.push((at, field)),
            }
        }
        let name = |at: usize| header.get(at).map_or("", String::as_str);
        for (at, field) in passed_over {
            if let Some((_, _, used)) = chosen.iter().find(|(f, _, _)| *f == field) {
                notes.push(format!(
                    "{:?} is used, and {:?}, which means the same or nearly so, is not",
                    name(*used),
                    name(at)
                ));
            }
        }
        Self {
            columns: chosen.into_iter().map(|(f, _, at)| (f, at)).collect(),
        }
    }

    pub(super) fn column(&self, field: F) -> Option<usize> {
        self.columns
            .iter()
            .find(|(f, _)| *f == field)
            .map(|(_, at)| *at)
    }

    pub(super) fn field(&self, column: usize) -> Option<F> {
        self.columns
            .iter()
            .find(|(_, at)| *at == column)
            .map(|(f, _)| *f)
    }

    pub(super) fn has(&self, field: F) -> bool {
        self.column(field).is_some()
    }

    /// Uses the field no more; answers the column it had.
    pub(super) fn drop(&mut self, field: F) -> Option<usize> {
        let at = self.column(field);
        self.columns.retain(|(f, _)| *f != field);
        at
    }
}

/// A column's number, from 1, and header, for a fault.
pub(super) fn place(sheet: &Sheet, at: usize) -> Option<(usize, String)> {
    sheet.header.get(at).map(|h| (at + 1, clip(h, 60)))
}

/// How the numbers of each of `columns` are written.
pub(super) fn number_styles(
    sheet: &Sheet,
    columns: &[usize],
    notes: &mut Vec<String>,
    faults: &mut Faults,
) -> HashMap<usize, Style> {
    let tallies: Vec<(usize, Tally)> = columns
        .iter()
        .map(|at| (*at, Tally::of(sheet, *at)))
        .collect();
    let file_style = file_style(sheet, columns, &tallies);
    let mut styles = HashMap::new();
    for (at, tally) in tallies {
        let own = tally.own();
        let style = match (own, file_style) {
            (Some(style), _) | (None, Some(style)) => style,
            (None, None) => match (tally.comma_either, tally.point_either) {
                // Three digits after each of its marks: thousands, in every export met. A fraction
                // would have shown other lengths.
                (None, None) => Style::POINT,
                (Some(_), None) => {
                    notes.push(thousands_note(sheet, at, ','));
                    Style::POINT
                }
                (None, Some(_)) => {
                    notes.push(thousands_note(sheet, at, '.'));
                    Style::COMMA
                }
                (Some(a), Some(b)) => {
                    faults.add(
                        a.max(b),
                        place(sheet, at),
                        "the column groups thousands with a point and with a comma: which is the decimal mark cannot be told",
                    );
                    Style::POINT
                }
            },
        };
        styles.insert(at, style);
    }
    let commas = styles.values().filter(|s| **s == Style::COMMA).count();
    if commas > 0 {
        notes.push(if commas == styles.len() {
            "numbers are read with a decimal comma".to_owned()
        } else {
            "numbers are read with a decimal comma in some columns and a decimal point in others"
                .to_owned()
        });
    }
    styles
}

fn thousands_note(sheet: &Sheet, at: usize, mark: char) -> String {
    format!(
        "in {:?} the {} was taken to group thousands, as three digits always follow it",
        sheet.header.get(at).map_or("", String::as_str),
        if mark == ',' { "comma" } else { "point" }
    )
}

/// What the cells of a column tell together.
#[derive(Debug, Default)]
struct Tally {
    point: usize,
    comma: usize,
    /// The first line with a comma, or a point, before three digits.
    comma_either: Option<u64>,
    point_either: Option<u64>,
}

impl Tally {
    fn of(sheet: &Sheet, at: usize) -> Self {
        let mut tally = Self::default();
        for row in &sheet.rows {
            match numbers::evidence(row.cells.get(at).map_or("", String::as_str)) {
                Evidence::Only(style) if style == Style::COMMA => tally.comma += 1,
                Evidence::Only(_) => tally.point += 1,
                Evidence::Either { mark: ',' } => {
                    tally.comma_either.get_or_insert(row.line);
                }
                Evidence::Either { .. } => {
                    tally.point_either.get_or_insert(row.line);
                }
                Evidence::Nothing => {}
            }
        }
        tally
    }

    /// The style its own cells demand, by majority: the others are faults when they are read.
    const fn own(&self) -> Option<Style> {
        match (self.point, self.comma) {
            (0, 0) => None,
            (point, comma) if comma > point => Some(Style::COMMA),
            _ => Some(Style::POINT),
        }
    }
}

/// The style of the file's other numbers: of the columns used when they agree, else of any column
/// that holds nothing but numbers (rates, costs per result).
fn file_style(sheet: &Sheet, used: &[usize], tallies: &[(usize, Tally)]) -> Option<Style> {
    let agreed = |styles: Vec<Style>| {
        let first = *styles.first()?;
        styles.iter().all(|s| *s == first).then_some(first)
    };
    let own: Vec<Style> = tallies.iter().filter_map(|(_, t)| t.own()).collect();
    if !own.is_empty() {
        return agreed(own);
    }
    let others: Vec<Style> = (0..sheet.header.len())
        .filter(|at| !used.contains(at))
        .filter_map(|at| {
            let style = Tally::of(sheet, at).own()?;
            let cells = sheet.rows.iter().filter_map(|r| r.cells.get(at));
            cells
                .filter(|c| !numbers::is_blank(c))
                .all(|c| numbers::read(c, style).is_ok())
                .then_some(style)
        })
        .collect();
    agreed(others)
}

/// The order of day and month in a column's dates.
///
/// # Errors
/// When no date tells and the reader has not stated it.
pub(super) fn date_order<'c>(
    sheet: &Sheet,
    at: usize,
    cells: impl Iterator<Item = &'c str>,
    stated: Option<DateOrder>,
    notes: &mut Vec<String>,
) -> Result<DateOrder, ImportError> {
    let (mut day_first, mut month_first, mut open) = (0_usize, 0_usize, None);
    for cell in cells {
        match Written::read(cell).map(|w| w.evidence()) {
            Some(OrderEvidence::Only(DateOrder::DayFirst)) => day_first += 1,
            Some(OrderEvidence::Only(DateOrder::MonthFirst)) => month_first += 1,
            Some(OrderEvidence::Either) => {
                open.get_or_insert(cell);
            }
            Some(OrderEvidence::Nothing) | None => {}
        }
    }
    let header = || sheet.header.get(at).cloned().unwrap_or_default();
    let told = match (day_first, month_first) {
        (0, 0) => None,
        (d, m) if d > m => Some(DateOrder::DayFirst),
        _ => Some(DateOrder::MonthFirst),
    };
    // What the reader states wins; dates that then are none become faults of their own lines.
    match (stated.or(told), open) {
        (Some(order), _) => {
            notes.push(format!(
                "dates in {:?} are read as {}{}",
                header(),
                order.words(),
                if stated.is_some() { ", as stated" } else { "" }
            ));
            Ok(order)
        }
        (None, None) => Ok(DateOrder::DayFirst),
        (None, Some(example)) => Err(ImportError::AmbiguousDates {
            header: header(),
            example: clip(example, 40),
        }),
    }
}

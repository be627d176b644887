//! Reads the cells of an ads export, column by column as decided for the whole file.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::cells::{ad_row, delivery, is_all, is_damaged_id, plain_id, result_stage};
use super::{AccountExport, AdRow, CLOSED_WON, Delivery, LEAD};
use crate::domain::ids::StageName;
use crate::domain::money::Currency;
use crate::domain::time::{self, Date};
use crate::import::columns::{self, AdsField};
use crate::import::dates::{DateOrder, Written};
use crate::import::numbers::{self, Decimal, Style};
use crate::import::picked::{self, Picked};
use crate::import::sheet::{Sheet, SheetRow};
use crate::import::{Faults, ImportError, ImportOptions, TakenColumn, clip};

/// What identifies an ad, level by level.
pub(super) const LEVELS: [(AdsField, AdsField); 3] = [
    (AdsField::CampaignId, AdsField::CampaignName),
    (AdsField::AdSetId, AdsField::AdSetName),
    (AdsField::AdId, AdsField::AdName),
];

pub(super) struct Reading<'a> {
    pub(super) sheet: &'a Sheet,
    pub(super) options: &'a ImportOptions,
    pub(super) picked: Picked<AdsField>,
    pub(super) stages: Vec<(usize, StageName)>,
    pub(super) notes: Vec<String>,
    pub(super) faults: Faults,
    pub(super) currency: Currency,
}

/// A row whose cells are read but whose place is not yet known.
pub(super) struct Raw<'a> {
    pub(super) row: &'a SheetRow,
    /// Id and name of campaign, ad set and ad.
    pub(super) names: [(&'a str, &'a str); 3],
    pub(super) day: Option<Date>,
    pub(super) days: Option<f64>,
    pub(super) impressions: Decimal,
    pub(super) clicks: Decimal,
    pub(super) spend: Decimal,
    pub(super) counts: BTreeMap<StageName, Decimal>,
    pub(super) value: Option<Decimal>,
    pub(super) delivery: Delivery,
}

impl Raw<'_> {
    /// Whether the row names something at this level.
    pub(super) fn names_level(&self, level: usize) -> bool {
        self.names
            .get(level)
            .is_some_and(|(id, name)| !id.is_empty() || !name.is_empty())
    }
}

impl<'a> Reading<'a> {
    pub(super) fn new(sheet: &'a Sheet, options: &'a ImportOptions) -> Result<Self, ImportError> {
        let mut notes = sheet.notes.clone();
        let mut picked = Picked::choose(&sheet.header, columns::ads_field, &mut notes);
        let stages = stage_columns(sheet, options, &picked);
        if picked.has(AdsField::Leads) || picked.has(AdsField::Purchases) || !stages.is_empty() {
            // Results repeat what these columns count; kinds of action must never be summed.
            if let Some(at) = picked.drop(AdsField::Results) {
                notes.push(format!(
                    "{:?} was left aside: other columns say what it counts",
                    sheet.header.get(at).map_or("", String::as_str)
                ));
            }
            picked.drop(AdsField::ResultKind);
        }
        let named = LEVELS
            .iter()
            .any(|(id, name)| picked.has(*id) || picked.has(*name));
        let missing: Vec<String> = [
            (
                !named,
                "a campaign, ad set or ad (\"Ad name\" or \"Ad ID\")",
            ),
            (
                !picked.has(AdsField::Spend),
                "spend (\"Amount spent (USD)\")",
            ),
            (!picked.has(AdsField::Clicks), "clicks (\"Link clicks\")"),
        ]
        .into_iter()
        .filter(|(is_missing, _)| *is_missing)
        .map(|(_, what)| what.to_owned())
        .collect();
        if !missing.is_empty() {
            return Err(ImportError::MissingColumns {
                missing,
                saw: sheet.header.clone(),
            });
        }
        let currency = currency_of(sheet, &picked, options, &mut notes)?;
        Ok(Self {
            sheet,
            options,
            picked,
            stages,
            notes,
            faults: Faults::default(),
            currency,
        })
    }

    /// A spreadsheet shows an id of 17 digits as `1.2E+17` and saves it so: digits are lost, and
    /// different ads become one. Names are used then, where there are any.
    pub(super) fn forget_damaged_ids(&mut self) {
        for (id, name) in LEVELS {
            let Some(at) = self.picked.column(id) else {
                continue;
            };
            let damaged: Vec<(u64, &str)> = self
                .sheet
                .rows
                .iter()
                .filter_map(|r| Some((r.line, r.cells.get(at)?.as_str())))
                .filter(|(_, cell)| is_damaged_id(cell))
                .collect();
            let Some((line, example)) = damaged.first() else {
                continue;
            };
            if self.picked.has(name) {
                self.notes.push(format!(
                    "a spreadsheet has rounded the {} (line {line}: {example:?}), so names are used instead",
                    id.words()
                ));
                self.picked.drop(id);
            } else {
                for (line, cell) in damaged {
                    self.faults.add(
                        line,
                        self.place(at),
                        format!("{cell:?} is an id that a spreadsheet has rounded: export again and do not save the file in a spreadsheet"),
                    );
                }
            }
        }
    }

    fn place(&self, at: usize) -> Option<(usize, String)> {
        picked::place(self.sheet, at)
    }

    pub(super) fn rows(&mut self) -> Result<Vec<Raw<'a>>, ImportError> {
        let number_columns: Vec<usize> = self.number_columns();
        let styles = picked::number_styles(
            self.sheet,
            &number_columns,
            &mut self.notes,
            &mut self.faults,
        );
        let day = self.day_column()?;
        let whole_days = self.covered_days();
        let mut raws = Vec::with_capacity(self.sheet.rows.len());
        let mut subtotals = 0_usize;
        for row in &self.sheet.rows {
            let cell = |at: usize| row.cells.get(at).map_or("", String::as_str);
            let date = match day {
                Some((at, _)) if is_all(cell(at)) => {
                    subtotals += 1;
                    continue;
                }
                Some((at, order)) => self.date(row, at, order),
                None => None,
            };
            let text = |field| self.picked.column(field).map_or("", &cell);
            let names = LEVELS.map(|(id, name)| (plain_id(text(id)), text(name)));
            let delivery = delivery(text(AdsField::Delivery));
            let mut number = |field: AdsField| self.number(row, self.picked.column(field), &styles);
            let impressions = number(AdsField::Impressions);
            let clicks = number(AdsField::Clicks);
            let spend = number(AdsField::Spend);
            let counts = self.counts(row, &styles);
            let value = self
                .picked
                .column(AdsField::PurchaseValue)
                .map(|at| self.any_number(row, at, &styles).unwrap_or_default());
            for (field, figure) in [
                (AdsField::Impressions, impressions),
                (AdsField::Clicks, clicks),
            ] {
                if !figure.is_whole()
                    && let Some(at) = self.picked.column(field)
                {
                    self.faults.add(
                        row.line,
                        picked::place(self.sheet, at),
                        format!(
                            "{:?} would be {figure} {}, which cannot be",
                            cell(at),
                            field.words()
                        ),
                    );
                }
            }
            raws.push(Raw {
                row,
                names,
                day: date,
                days: whole_days.get(&row.line).copied(),
                impressions,
                clicks,
                spend,
                counts,
                value,
                delivery,
            });
        }
        if subtotals > 0 {
            self.notes.push(format!(
                "{subtotals} row(s) that sum up all days were left out"
            ));
        }
        Ok(raws)
    }

    fn number_columns(&self) -> Vec<usize> {
        [
            AdsField::Impressions,
            AdsField::Clicks,
            AdsField::Spend,
            AdsField::Results,
            AdsField::Leads,
            AdsField::Purchases,
            AdsField::PurchaseValue,
        ]
        .into_iter()
        .filter_map(|field| self.picked.column(field))
        .chain(self.stages.iter().map(|(at, _)| *at))
        .collect()
    }

    /// The figure of a cell; zero where there is none. Anything below zero is a fault.
    fn number(
        &mut self,
        row: &SheetRow,
        at: Option<usize>,
        styles: &HashMap<usize, Style>,
    ) -> Decimal {
        let Some(at) = at else {
            return Decimal::ZERO;
        };
        let figure = self.any_number(row, at, styles).unwrap_or_default();
        if figure.is_negative() {
            self.faults.add(
                row.line,
                picked::place(self.sheet, at),
                format!("{figure} is below zero"),
            );
        }
        figure
    }

    fn any_number(
        &mut self,
        row: &SheetRow,
        at: usize,
        styles: &HashMap<usize, Style>,
    ) -> Option<Decimal> {
        let cell = row.cells.get(at).map_or("", String::as_str);
        if numbers::is_blank(cell) {
            return None;
        }
        let style = styles.get(&at).copied().unwrap_or(Style::POINT);
        match numbers::read(cell, style) {
            Ok(figure) => Some(figure),
            Err(bad) => {
                self.faults
                    .add(row.line, picked::place(self.sheet, at), bad.what);
                None
            }
        }
    }

    fn counts(
        &mut self,
        row: &SheetRow,
        styles: &HashMap<usize, Style>,
    ) -> BTreeMap<StageName, Decimal> {
        let mut counts = BTreeMap::new();
        let mut columns: Vec<(usize, StageName)> = self.stages.clone();
        for (field, name) in [(AdsField::Leads, LEAD), (AdsField::Purchases, CLOSED_WON)] {
            if let (Some(at), Ok(stage)) = (self.picked.column(field), StageName::new(name)) {
                columns.push((at, stage));
            }
        }
        if let Some(at) = self.picked.column(AdsField::Results) {
            let kind = match self.picked.column(AdsField::ResultKind) {
                Some(kind) => result_stage(row.cells.get(kind).map_or("", String::as_str)),
                None => Some(LEAD),
            };
            if let Some(stage) = kind.and_then(|name| StageName::new(name).ok()) {
                columns.push((at, stage));
            }
        }
        for (at, stage) in columns {
            let count = self.number(row, Some(at), styles);
            counts.insert(stage, count);
        }
        counts
    }

    /// The column of days and the order of its dates. Without one, the days covered serve when each
    /// row covers one day and rows differ.
    fn day_column(&mut self) -> Result<Option<(usize, DateOrder)>, ImportError> {
        let (starts, ends) = (
            self.picked.column(AdsField::Starts),
            self.picked.column(AdsField::Ends),
        );
        let day = self.picked.column(AdsField::Day).or_else(|| {
            let (starts, ends) = (starts?, ends?);
            let pairs: Vec<(&str, &str)> = self
                .sheet
                .rows
                .iter()
                .filter_map(|r| Some((r.cells.get(starts)?.as_str(), r.cells.get(ends)?.as_str())))
                .collect();
            let single = pairs.iter().all(|(s, e)| s == e);
            let several = pairs.iter().any(|p| Some(p) != pairs.first());
            (single && several).then_some(starts)
        });
        let Some(at) = day else {
            return Ok(None);
        };
        let cells = || {
            self.sheet
                .rows
                .iter()
                .filter_map(move |r| Some(r.cells.get(at)?.as_str()))
                .filter(|c| !numbers::is_blank(c) && !is_all(c))
        };
        if cells().next().is_none() {
            // Every row sums up all days.
            self.picked.drop(AdsField::Day);
            return Ok(None);
        }
        let order = picked::date_order(
            self.sheet,
            at,
            cells(),
            self.options.date_order,
            &mut self.notes,
        )?;
        Ok(Some((at, order)))
    }

    fn date(&mut self, row: &SheetRow, at: usize, order: DateOrder) -> Option<Date> {
        let cell = row.cells.get(at).map_or("", String::as_str);
        if numbers::is_blank(cell) {
            return None;
        }
        let date = Written::read(cell).and_then(|w| w.date(order));
        if date.is_none() {
            self.faults.add(
                row.line,
                picked::place(self.sheet, at),
                format!("{:?} is not a date ({})", clip(cell, 40), order.words()),
            );
        }
        date
    }

    /// Days covered by each line, where both ends are given and can be read without a doubt.
    fn covered_days(&mut self) -> HashMap<u64, f64> {
        let (Some(starts), Some(ends)) = (
            self.picked.column(AdsField::Starts),
            self.picked.column(AdsField::Ends),
        ) else {
            return HashMap::new();
        };
        let all = self
            .sheet
            .rows
            .iter()
            .flat_map(|r| [r.cells.get(starts), r.cells.get(ends)])
            .flatten()
            .map(String::as_str);
        let Ok(order) = picked::date_order(
            self.sheet,
            starts,
            all,
            self.options.date_order,
            &mut Vec::new(),
        ) else {
            self.notes.push(
                "the days that the rows cover are left aside: day and month cannot be told apart"
                    .to_owned(),
            );
            return HashMap::new();
        };
        let date = |cell: Option<&String>| Written::read(cell?)?.date(order);
        self.sheet
            .rows
            .iter()
            .filter_map(|r| {
                let (from, to) = (date(r.cells.get(starts))?, date(r.cells.get(ends))?);
                let days = time::days_between(
                    time::day_start(from, &time::TimeZone::UTC),
                    time::day_start(to, &time::TimeZone::UTC),
                );
                (days >= 0.0).then_some((r.line, days + 1.0))
            })
            .collect()
    }

    pub(super) fn finish(mut self, raws: Vec<Raw<'a>>) -> Result<AccountExport, ImportError> {
        let raws = self.without_totals(raws);
        let raws = self.without_repeats(raws);
        let daily = raws.iter().any(|r| r.day.is_some());
        let mut rows = Vec::with_capacity(raws.len());
        for raw in raws {
            if daily && raw.day.is_none() {
                let place = self
                    .picked
                    .column(AdsField::Day)
                    .and_then(|at| self.place(at));
                self.faults.add(
                    raw.row.line,
                    place,
                    "the row has no day, and others have one",
                );
                continue;
            }
            match ad_row(&raw) {
                Ok(row) => rows.push(row),
                Err(why) => self.faults.add(raw.row.line, None, why),
            }
        }
        if self.faults.total > 0 {
            return Err(ImportError::Unreadable {
                faults: self.faults.sorted(),
            });
        }
        if rows.is_empty() {
            return Err(ImportError::Empty);
        }
        self.note_meanings(&rows);
        let (columns_taken, ignored) = self.columns();
        let stages: BTreeSet<&StageName> = rows.iter().flat_map(|r| r.counts.keys()).collect();
        Ok(AccountExport {
            columns_taken,
            ignored,
            notes: self.notes,
            currency: self.currency,
            stages: stages.into_iter().cloned().collect(),
            rows,
        })
    }

    fn columns(&self) -> (Vec<TakenColumn>, Vec<String>) {
        let mut taken = Vec::new();
        let mut ignored = Vec::new();
        for (at, header) in self.sheet.header.iter().enumerate() {
            let stage = self.stages.iter().find(|(column, _)| *column == at);
            let meaning = match (stage, self.picked.field(at)) {
                (Some((_, stage)), _) => Some(format!("stage {stage}")),
                (None, Some(field)) => Some(field.words().to_owned()),
                (None, None) => None,
            };
            match meaning {
                Some(meaning) => taken.push(TakenColumn {
                    number: at + 1,
                    header: header.clone(),
                    meaning,
                }),
                None => ignored.push(header.clone()),
            }
        }
        (taken, ignored)
    }

    fn note_meanings(&mut self, rows: &[AdRow]) {
        if let Some(at) = self.picked.column(AdsField::Results) {
            let header = self.sheet.header.get(at).cloned().unwrap_or_default();
            match self.picked.column(AdsField::ResultKind) {
                None => self.notes.push(format!(
                    "{header:?} was taken for leads, since no column says what the results are"
                )),
                Some(kind) => {
                    let others: BTreeSet<&str> = self
                        .sheet
                        .rows
                        .iter()
                        .filter_map(|r| r.cells.get(kind))
                        .map(String::as_str)
                        .filter(|k| !k.is_empty() && result_stage(k).is_none())
                        .collect();
                    if !others.is_empty() {
                        let some: Vec<String> = others
                            .iter()
                            .take(5)
                            .map(|k| format!("{:?}", clip(k, 40)))
                            .collect();
                        self.notes.push(format!(
                            "results that are neither leads nor purchases are not counted: {}",
                            some.join(", ")
                        ));
                    }
                }
            }
        }
        let levels = LEVELS.map(|(id, name)| self.picked.has(id) || self.picked.has(name));
        match levels {
            [_, _, true] => {}
            [_, true, false] => self
                .notes
                .push("the file has no ads: each ad set is taken as one ad".to_owned()),
            _ => self.notes.push(
                "the file has no ads or ad sets: each campaign is taken as one ad set with one ad"
                    .to_owned(),
            ),
        }
        if !self.picked.has(AdsField::Impressions) {
            self.notes
                .push("the file has no impressions: click-through rates are not known".to_owned());
        }
        let unclicked = rows
            .iter()
            .filter(|r| r.clicks.is_zero() && r.counts.values().any(|c| !c.is_zero()))
            .count();
        if unclicked > 0 {
            self.notes.push(format!(
                "{unclicked} row(s) have results without a click (seen, not clicked): they are kept"
            ));
        }
    }
}

fn stage_columns(
    sheet: &Sheet,
    options: &ImportOptions,
    picked: &Picked<AdsField>,
) -> Vec<(usize, StageName)> {
    let mut columns: Vec<(usize, StageName)> = Vec::new();
    for (at, header) in sheet.header.iter().enumerate() {
        let name = columns::normal(header);
        let stage = options
            .stages
            .iter()
            .find(|s| columns::normal(s.as_str()) == name);
        if let Some(stage) = stage
            && picked.field(at).is_none()
            && !columns.iter().any(|(_, s)| s == stage)
        {
            columns.push((at, stage.clone()));
        }
    }
    columns
}

fn currency_of(
    sheet: &Sheet,
    picked: &Picked<AdsField>,
    options: &ImportOptions,
    notes: &mut Vec<String>,
) -> Result<Currency, ImportError> {
    let in_header = picked
        .column(AdsField::Spend)
        .and_then(|at| columns::without_currency(sheet.header.get(at)?).1);
    let in_column = picked.column(AdsField::Currency).and_then(|at| {
        sheet
            .rows
            .iter()
            .find_map(|r| Currency::new(&r.cells.get(at)?.to_ascii_uppercase()).ok())
    });
    if let Some(at) = picked.column(AdsField::Currency) {
        let mut faults = Faults::default();
        let first = in_header.or(in_column);
        for row in &sheet.rows {
            let cell = row.cells.get(at).map_or("", String::as_str);
            if !cell.is_empty() && Currency::new(&cell.to_ascii_uppercase()).ok() != first {
                let what = format!(
                    "{cell:?} where the file's amounts are in {}: one file holds one currency",
                    first.map_or("an unknown currency".to_owned(), |c| c.to_string())
                );
                faults.add(row.line, picked::place(sheet, at), what);
            }
        }
        if faults.total > 0 {
            return Err(ImportError::Unreadable { faults });
        }
    }
    match (in_header.or(in_column), options.currency) {
        (Some(in_file), Some(stated)) if in_file != stated => {
            Err(ImportError::Currency { in_file, stated })
        }
        (Some(currency), _) | (None, Some(currency)) => Ok(currency),
        (None, None) => {
            notes.push(
                "the file does not say its currency: USD is assumed (--currency states another)"
                    .to_owned(),
            );
            Ok(Currency::USD)
        }
    }
}

//! Exports of Ads Manager, and files like them, as rows of ads with exact figures.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::columns::{self, AdsField};
use super::dates::DateOrder;
use super::numbers::{self, Decimal, Style};
use super::picked::{self, Picked};
use super::sheet::{Sheet, SheetRow};
use super::{Faults, ImportError, ImportOptions, TakenColumn, clip};
use crate::domain::ids::{AdId, AdSetId, CampaignId, MAX_LEN, StageName};
use crate::domain::money::Currency;
use crate::domain::time::{self, Date};

/// The stage that a lead of Ads Manager counts for.
pub const LEAD: &str = "lead";
/// The stage that a sale of Ads Manager counts for.
pub const CLOSED_WON: &str = "closed_won";

/// An account as a file shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountExport {
    /// The columns used and what each was taken for, in the order of the file.
    pub columns_taken: Vec<TakenColumn>,
    /// Headers of the columns not used.
    pub ignored: Vec<String>,
    /// What was decided, assumed or left out, in words.
    pub notes: Vec<String>,
    /// What the amounts are in.
    pub currency: Currency,
    /// The rows, in the order of the file.
    pub rows: Vec<AdRow>,
    /// The stages that the file counts.
    pub stages: Vec<StageName>,
}

/// One row of the file: an ad over its life, or on one day.
#[derive(Debug, Clone, PartialEq)]
pub struct AdRow {
    /// The line of the file.
    pub line: u64,
    /// The campaign: its id, else its name.
    pub campaign: CampaignId,
    /// The campaign's name, else its id.
    pub campaign_name: String,
    /// The ad set: its id, else the campaign and its name; the campaign where the file has none.
    pub ad_set: AdSetId,
    /// The ad set's name, else its id.
    pub ad_set_name: String,
    /// The ad: its id, else the ad set and its name; the ad set where the file has none.
    pub ad: AdId,
    /// The ad's name, else its id.
    pub ad_name: String,
    /// The day, where rows are by day.
    pub day: Option<Date>,
    /// How many days the row covers, where the file says so.
    pub days: Option<f64>,
    /// Times shown.
    pub impressions: Decimal,
    /// Clicks, of the kind told in the notes.
    pub clicks: Decimal,
    /// Spend in main units, exactly as written.
    pub spend: Decimal,
    /// How many reached a stage.
    pub counts: BTreeMap<StageName, Decimal>,
    /// Sum of the amounts of its sales, in main units.
    pub value: Option<Decimal>,
    /// Whether it delivers, where the file says so.
    pub delivery: Delivery,
}

/// Whether an ad delivered when the file was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It delivers.
    Live,
    /// Somebody switched it, its ad set or its campaign off.
    Off,
    /// It is archived, deleted or complete.
    Ended,
    /// The file does not say.
    Unknown,
}

/// The figures of a campaign, to be checked against the account.
#[derive(Debug, Clone, PartialEq)]
pub struct CampaignTotals {
    /// The campaign.
    pub campaign: CampaignId,
    /// Its name.
    pub name: String,
    /// How many different ads it has.
    pub ads: usize,
    /// Times shown.
    pub impressions: Decimal,
    /// Clicks.
    pub clicks: Decimal,
    /// Spend in main units, exact.
    pub spend: Decimal,
    /// How many reached each stage.
    pub counts: BTreeMap<StageName, Decimal>,
    /// Sum of the amounts of its sales, where the file has them.
    pub value: Option<Decimal>,
}

impl AccountExport {
    /// The figures of each campaign, by id: numbers by size, before text.
    #[must_use]
    pub fn totals(&self) -> Vec<CampaignTotals> {
        let mut campaigns: BTreeMap<&CampaignId, (CampaignTotals, BTreeSet<&AdId>)> =
            BTreeMap::new();
        for row in &self.rows {
            let (sum, ads) = campaigns.entry(&row.campaign).or_insert_with(|| {
                let empty = CampaignTotals {
                    campaign: row.campaign.clone(),
                    name: row.campaign_name.clone(),
                    ads: 0,
                    impressions: Decimal::ZERO,
                    clicks: Decimal::ZERO,
                    spend: Decimal::ZERO,
                    counts: BTreeMap::new(),
                    value: None,
                };
                (empty, BTreeSet::new())
            });
            ads.insert(&row.ad);
            sum.impressions += row.impressions;
            sum.clicks += row.clicks;
            sum.spend += row.spend;
            for (stage, count) in &row.counts {
                *sum.counts.entry(stage.clone()).or_default() += *count;
            }
            if let Some(value) = row.value {
                sum.value = Some(sum.value.unwrap_or_default() + value);
            }
        }
        let mut totals: Vec<CampaignTotals> = campaigns
            .into_values()
            .map(|(sum, ads)| CampaignTotals {
                ads: ads.len(),
                ..sum
            })
            .collect();
        totals.sort_by_key(|t| {
            let number: Option<u128> = t.campaign.as_str().parse().ok();
            (number.is_none(), number, t.campaign.clone())
        });
        totals
    }

    /// Whether rows are by day.
    #[must_use]
    pub fn is_daily(&self) -> bool {
        self.rows.iter().any(|r| r.day.is_some())
    }
}

/// Reads an ads export.
///
/// # Errors
/// When it is no such file, lacks columns, or has cells that cannot be read.
pub fn read_ads(bytes: &[u8], options: &ImportOptions) -> Result<AccountExport, ImportError> {
    let known = |cells: &[String]| {
        cells
            .iter()
            .filter(|c| columns::ads_field(c).is_some())
            .count()
    };
    let sheet = Sheet::read(bytes, &known)?;
    let mut reading = Reading::new(&sheet, options)?;
    reading.forget_damaged_ids();
    let rows = reading.rows()?;
    reading.finish(rows)
}

/// What identifies an ad, level by level.
const LEVELS: [(AdsField, AdsField); 3] = [
    (AdsField::CampaignId, AdsField::CampaignName),
    (AdsField::AdSetId, AdsField::AdSetName),
    (AdsField::AdId, AdsField::AdName),
];

struct Reading<'a> {
    sheet: &'a Sheet,
    options: &'a ImportOptions,
    picked: Picked<AdsField>,
    stages: Vec<(usize, StageName)>,
    notes: Vec<String>,
    faults: Faults,
    currency: Currency,
}

/// A row whose cells are read but whose place is not yet known.
struct Raw<'a> {
    row: &'a SheetRow,
    /// Id and name of campaign, ad set and ad.
    names: [(&'a str, &'a str); 3],
    day: Option<Date>,
    days: Option<f64>,
    impressions: Decimal,
    clicks: Decimal,
    spend: Decimal,
    counts: BTreeMap<StageName, Decimal>,
    value: Option<Decimal>,
    delivery: Delivery,
}

impl Raw<'_> {
    /// Whether the row names something at this level.
    fn names_level(&self, level: usize) -> bool {
        self.names
            .get(level)
            .is_some_and(|(id, name)| !id.is_empty() || !name.is_empty())
    }
}

impl<'a> Reading<'a> {
    fn new(sheet: &'a Sheet, options: &'a ImportOptions) -> Result<Self, ImportError> {
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
    fn forget_damaged_ids(&mut self) {
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

    fn rows(&mut self) -> Result<Vec<Raw<'a>>, ImportError> {
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
        let date = super::dates::Written::read(cell).and_then(|w| w.date(order));
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
        let date = |cell: Option<&String>| super::dates::Written::read(cell?)?.date(order);
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

    fn finish(mut self, raws: Vec<Raw<'a>>) -> Result<AccountExport, ImportError> {
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

    /// Leaves out rows that sum up others: those that name nothing at the level of the file.
    fn without_totals(&mut self, raws: Vec<Raw<'a>>) -> Vec<Raw<'a>> {
        let level = LEVELS
            .iter()
            .rposition(|(id, name)| self.picked.has(*id) || self.picked.has(*name))
            .unwrap_or(0);
        let sums_up = |raw: &Raw<'_>| !raw.names_level(level) || says_total(raw);
        let leaves: Vec<&Raw<'a>> = raws.iter().filter(|r| !sums_up(r)).collect();
        let last = raws.len().saturating_sub(1);
        let mut keep = vec![true; raws.len()];
        for (at, raw) in raws.iter().enumerate().filter(|(_, r)| sums_up(r)) {
            let of_all = says_total(raw);
            let within = |other: &&&Raw<'_>| {
                (of_all
                    || (0..level)
                        .all(|l| !raw.names_level(l) || raw.names.get(l) == other.names.get(l)))
                    && (raw.day.is_none() || raw.day == other.day)
            };
            let (mut parts, mut sum) = (0_usize, Decimal::ZERO);
            for other in leaves.iter().filter(within) {
                parts += 1;
                sum += other.spend;
            }
            let difference = (raw.spend - sum).abs();
            // Every part, and the sum, may have been rounded to a hundredth.
            let equal = difference.to_f64() <= 0.005 * (parts as f64 + 2.0) + 1e-9;
            let names_nothing = (0..=level).all(|l| !raw.names_level(l));
            let at_edge = at == 0 || at == last;
            let (line, drop) = (
                raw.row.line,
                if equal {
                    parts > 0
                } else {
                    names_nothing && at_edge
                },
            );
            if drop && equal {
                let whole = names_nothing || of_all;
                self.notes.push(format!(
                    "line {line} sums up {parts} rows{}: left out",
                    if whole {
                        ", and its spend agrees"
                    } else {
                        " of one campaign or ad set"
                    }
                ));
            } else if drop {
                self.notes.push(format!(
                    "line {line} names nothing and was taken for a totals row and left out, but its spend of {} is not the {} \
                     that the rows add up to: the export may be filtered or cut",
                    raw.spend, sum
                ));
            }
            if let Some(kept) = keep.get_mut(at) {
                *kept = !drop;
            }
        }
        let mut keep = keep.into_iter();
        raws.into_iter()
            .filter(|_| keep.next().unwrap_or(true))
            .collect()
    }

    /// Leaves out rows that repeat an earlier one in every cell: two exports joined into one file.
    fn without_repeats(&mut self, raws: Vec<Raw<'a>>) -> Vec<Raw<'a>> {
        let mut seen: HashMap<&[String], u64> = HashMap::with_capacity(raws.len());
        let mut repeats: Vec<(u64, u64)> = Vec::new();
        let mut kept = Vec::with_capacity(raws.len());
        for raw in raws {
            match seen.get(raw.row.cells.as_slice()) {
                Some(first) => repeats.push((raw.row.line, *first)),
                None => {
                    seen.insert(raw.row.cells.as_slice(), raw.row.line);
                    kept.push(raw);
                }
            }
        }
        if let Some((line, first)) = repeats.first() {
            self.notes.push(format!(
                "{} row(s) repeat an earlier row in every cell and were left out (line {line} repeats line {first})",
                repeats.len()
            ));
        }
        kept
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

fn ad_row(raw: &Raw<'_>) -> Result<AdRow, String> {
    let [
        (campaign_id, campaign_name),
        (set_id, set_name),
        (ad_id, ad_name),
    ] = raw.names;
    let campaign_key = match first_of(campaign_id, campaign_name) {
        "" => "(all)".to_owned(),
        key => key.to_owned(),
    };
    let set_key = level_key(&campaign_key, set_id, set_name);
    let ad_key = level_key(&set_key, ad_id, ad_name);
    if [campaign_id, campaign_name, set_id, set_name, ad_id, ad_name]
        .iter()
        .all(|t| t.is_empty())
    {
        return Err("the row names no campaign, ad set or ad".to_owned());
    }
    let bad = |e: crate::domain::ids::BadId| e.to_string();
    Ok(AdRow {
        line: raw.row.line,
        campaign: CampaignId::new(fitted(&campaign_key)).map_err(bad)?,
        campaign_name: first_of(campaign_name, &campaign_key).to_owned(),
        ad_set: AdSetId::new(fitted(&set_key)).map_err(bad)?,
        ad_set_name: first_of(set_name, &set_key).to_owned(),
        ad: AdId::new(fitted(&ad_key)).map_err(bad)?,
        ad_name: first_of(ad_name, &ad_key).to_owned(),
        day: raw.day,
        days: raw.days,
        impressions: raw.impressions,
        clicks: raw.clicks,
        spend: raw.spend,
        counts: raw.counts.clone(),
        value: raw.value,
        delivery: raw.delivery,
    })
}

fn first_of<'t>(a: &'t str, b: &'t str) -> &'t str {
    if a.is_empty() { b } else { a }
}

/// The key of an object: its id, else its name under its parent (names repeat between parents), else
/// the parent itself.
fn level_key(parent: &str, id: &str, name: &str) -> String {
    match (id, name) {
        ("", "") => parent.to_owned(),
        ("", name) => format!("{parent} / {name}"),
        (id, _) => id.to_owned(),
    }
}

/// Names have line breaks and no limit; an id has neither. What is cut off is replaced by a hash, so
/// that two long names stay two.
fn fitted(key: &str) -> String {
    let clean: String = key
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if clean.len() <= MAX_LEN {
        return clean;
    }
    // FNV-1a, 64 bits.
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut end = MAX_LEN - 20;
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…{hash:016x}", clean.get(..end).unwrap_or(""))
}

/// Digits of an id that a spreadsheet has turned into a number with a power of ten.
fn is_damaged_id(cell: &str) -> bool {
    cell.split_once(['e', 'E'])
        .is_some_and(|(mantissa, power)| {
            power.starts_with('+')
                && power.len() > 1
                && power.bytes().skip(1).all(|b| b.is_ascii_digit())
                && mantissa.starts_with(|c: char| c.is_ascii_digit())
                && mantissa
                    .bytes()
                    .all(|b| b.is_ascii_digit() || b == b'.' || b == b',')
        })
}

/// An id without what tools put before it to keep spreadsheets from rounding it: `ag:123`, `'123`,
/// `="123"`.
fn plain_id(cell: &str) -> &str {
    let bare = cell.trim_start_matches(['\'', '=']).trim_matches('"');
    let digits = bare.split_once(':').map_or(bare, |(head, rest)| {
        let prefix = head.len() <= 2 && head.bytes().all(|b| b.is_ascii_lowercase());
        if prefix { rest } else { bare }
    });
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        digits
    } else {
        cell
    }
}

/// A cell that stands for all values of its column, in rows that sum up.
fn is_all(cell: &str) -> bool {
    matches!(
        columns::normal(cell).as_str(),
        "all" | "alle" | "todos" | "todas" | "tous" | "toutes" | "tutti" | "total" | "gesamt"
    )
}

/// Whether a row that names only one thing calls it a total.
fn says_total(raw: &Raw<'_>) -> bool {
    let named: Vec<&str> = raw
        .names
        .iter()
        .flat_map(|(id, name)| [*id, *name])
        .filter(|t| !t.is_empty())
        .collect();
    let [only] = named.as_slice() else {
        return false;
    };
    let name = columns::normal(only);
    matches!(
        name.as_str(),
        "total"
            | "totals"
            | "grand total"
            | "gesamt"
            | "gesamtsumme"
            | "summe"
            | "insgesamt"
            | "totales"
            | "totais"
            | "total general"
            | "total geral"
            | "totale"
            | "totaal"
    ) || [
        "results from ",
        "ergebnisse aus ",
        "resultados de ",
        "resultats de ",
        "resultats pour ",
    ]
    .iter()
    .any(|start| {
        name.strip_prefix(start)
            .is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit()))
    })
}

/// The stage that results of this kind count for. Source of the indicators: Meta, ads insights,
/// `action_type`.
fn result_stage(kind: &str) -> Option<&'static str> {
    let kind = columns::normal(kind);
    let has = |words: &[&str]| words.iter().any(|w| kind.contains(w));
    if has(&["lead", "clientes potenciales", "prospect", "contatti"]) {
        Some(LEAD)
    } else if has(&[
        "purchase", "kauf", "kaufe", "compra", "achat", "acquist", "aankop",
    ]) {
        Some(CLOSED_WON)
    } else {
        None
    }
}

fn delivery(cell: &str) -> Delivery {
    match columns::normal(cell).as_str() {
        "active"
        | "aktiv"
        | "activo"
        | "activa"
        | "actif"
        | "active learning"
        | "ativo"
        | "ativa"
        | "learning"
        | "recently completed learning" => Delivery::Live,
        "inactive" | "not delivering" | "off" | "paused" | "inaktiv" | "inactivo" | "inactiva"
        | "inactif" | "inativo" | "inativa" | "ad off" | "ad set off" | "adset off"
        | "campaign off" | "aus" | "pausiert" => Delivery::Off,
        "archived" | "deleted" | "completed" | "archiviert" | "abgeschlossen" | "geloscht"
        | "archivado" | "completado" | "archive" | "termine" | "concluido" | "arquivado" => {
            Delivery::Ended
        }
        _ => Delivery::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<AccountExport, ImportError> {
        read_ads(text.as_bytes(), &ImportOptions::default())
    }

    fn refused(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    /// Campaign, ads, spend and leads of each campaign.
    fn check(text: &str, expected: &[&str]) -> AccountExport {
        let export = read(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let lead = StageName::new(LEAD).unwrap();
        let totals: Vec<String> = export
            .totals()
            .iter()
            .map(|t| {
                let leads = t.counts.get(&lead).copied().unwrap_or_default();
                format!("{} {} {} {leads}", t.campaign, t.ads, t.spend)
            })
            .collect();
        assert_eq!(totals, expected, "{text}");
        export
    }

    #[test]
    fn an_english_export_with_quoted_thousands_is_read() {
        let export = check(
            "Campaign name,Ad set name,Ad name,Amount spent (USD),Impressions,Reach,Link clicks,Results\n\
             Gym,Set 1,Ad 1,\"1,234.56\",\"12,345\",\"9,000\",120,10\n\
             Gym,Set 1,Ad 2,0.44,999,900,3,\n\
             ,,,\"1,235.00\",\"13,344\",\"9,500\",123,10\n",
            &["Gym 2 1235 10"],
        );
        assert_eq!(export.currency, Currency::USD);
        assert_eq!(export.ignored, ["Reach"]);
        assert!(
            export
                .notes
                .iter()
                .any(|n| n.contains("line 4 sums up 2 rows, and its spend agrees")),
            "{:?}",
            export.notes
        );
        assert!(export.notes.iter().any(|n| n.contains("taken for leads")));
        assert_eq!(export.columns_taken[3].meaning, "spend");
        assert_eq!(export.rows[0].ad.as_str(), "Gym / Set 1 / Ad 1");
    }

    #[test]
    fn a_german_export_with_semicolons_and_decimal_commas_is_read() {
        let export = check(
            "\u{feff}Kampagnenname;Anzeigengruppenname;Anzeigenname;Tag;Ausgegebener Betrag (EUR);Impressionen;Link-Klicks;Ergebnisse;Ergebnistyp\n\
             Studio;A;Eins;23.11.2026;1.234,50;12.345;120;10;Leads (Formular)\n\
             Studio;A;Eins;24.11.2026;2.345;1.345;20;1;Leads (Formular)\n\
             Shop;B;Zwei;24.11.2026;5,5;100;2;7;Link-Klicks\n",
            &["Shop 1 5.5 0", "Studio 1 3579.5 11"],
        );
        assert_eq!(export.currency, Currency::EUR);
        assert!(export.is_daily());
        assert!(
            export.notes.iter().any(|n| n.contains("\"Link-Klicks\"")),
            "{:?}",
            export.notes
        );
    }

    #[test]
    fn french_spanish_and_portuguese_exports_are_read() {
        check(
            "Nom de la campagne;Nom de l'ensemble de publicités;Nom de la publicité;Jour;Montant dépensé (EUR);Impressions;Clics sur un lien;Résultats\n\
             Salle;E;P;24/11/2026;1\u{202f}234,56;12\u{202f}000;50;4\n",
            &["Salle 1 1234.56 4"],
        );
        check(
            "Nombre de la campaña,Nombre del anuncio,Día,Importe gastado (MXN),Impresiones,Clics en el enlace,Clientes potenciales\n\
             Gimnasio,Uno,All,30.5,300,3,2\nGimnasio,Uno,2026-11-23,10.25,100,1,1\nGimnasio,Uno,2026-11-24,20.25,200,2,1\n",
            &["Gimnasio 1 30.5 2"],
        );
        check(
            "Nome da campanha\tNome do anúncio\tInício dos relatórios\tTérmino dos relatórios\tValor usado (BRL)\tImpressões\tCliques no link\tResultados\n\
             Academia\tUm\t2026-11-01\t2026-11-30\t1.234,5\t1.000\t10\t2\n",
            &["Academia 1 1234.5 2"],
        );
    }

    #[test]
    fn stage_columns_and_plain_names_are_read() {
        let options = ImportOptions {
            stages: vec![StageName::new("show_up").unwrap()],
            ..ImportOptions::default()
        };
        let text =
            "ad_id,campaign_id,clicks,spent,impressions,Show up,lead\n1,7,3,1.429999948,10,2,4\n";
        let export = read_ads(text.as_bytes(), &options).unwrap();
        let row = &export.rows[0];
        assert_eq!(
            row.counts[&StageName::new("show_up").unwrap()],
            Decimal::from_whole(2)
        );
        assert_eq!(
            row.counts[&StageName::new("lead").unwrap()],
            Decimal::from_whole(4)
        );
        assert_eq!(row.spend.to_string(), "1.429999948");
    }

    #[test]
    fn months_and_days_that_cannot_be_told_apart_are_refused() {
        let text = "Ad name,Day,Spend,Clicks\na,03/04/2026,1,1\na,05/06/2026,1,1\n";
        let error = refused(text);
        assert!(error.contains("--date-order"), "{error}");
        let options = ImportOptions {
            date_order: Some(DateOrder::MonthFirst),
            ..ImportOptions::default()
        };
        let export = read_ads(text.as_bytes(), &options).unwrap();
        assert_eq!(export.rows[0].day.unwrap().to_string(), "2026-03-04");
        let told = read(&format!("{text}a,13/06/2026,1,1\n")).unwrap();
        assert_eq!(told.rows[0].day.unwrap().to_string(), "2026-04-03");
    }

    #[test]
    fn faults_carry_line_and_column_and_all_are_told() {
        let error = refused(
            "Ad name,Day,Amount spent (USD),Link clicks,Impressions\n\
             a,2026-11-24,1.50,1,10\nb,2026-11-24,oops,1,10\nc,yesterday,2.50,1.5,10\nd,2026-11-24,-1.00,1,10\ne,,1.00,1,10\n",
        );
        for part in [
            "line 3, column 3 (Amount spent (USD)): \"oops\" is not a number",
            "line 4, column 2 (Day): \"yesterday\" is not a date",
            "line 4, column 4 (Link clicks): \"1.5\" would be 1.5 clicks",
            "line 5, column 3 (Amount spent (USD)): -1 is below zero",
            "line 6, column 2 (Day): the row has no day",
        ] {
            assert!(error.contains(part), "{part}\n{error}");
        }
        let many = format!("Ad name,Spend,Clicks\n{}", "a,x,1\n".repeat(50));
        let error = refused(&many);
        assert!(
            error.contains("50 places") && error.contains("and 30 more"),
            "{error}"
        );
    }

    #[test]
    fn a_file_without_the_columns_names_what_it_needs_and_what_it_saw() {
        let error = refused("Ad name,Impressions\na,1\n");
        assert!(
            error.contains("no column for spend") && error.contains("clicks"),
            "{error}"
        );
        assert!(error.contains("\"Impressions\""), "{error}");
        let error = refused("hello world\nthis is text\n");
        assert!(error.contains("\"hello world\""), "{error}");
    }

    #[test]
    fn a_totals_row_that_disagrees_is_told_and_one_in_the_middle_is_refused() {
        let text = "Campaign name,Ad name,Spend,Clicks\nA,x,10,1\nA,y,5,1\n,,99,2\n";
        let export = check(text, &["A 2 15 0"]);
        assert!(
            export
                .notes
                .iter()
                .any(|n| n.contains("99") && n.contains("15")),
            "{:?}",
            export.notes
        );
        check(
            "Campaign name,Ad name,Spend,Clicks\nTotal,,15,2\nA,x,10,1\nA,y,5,1\n",
            &["A 2 15 0"],
        );
        check(
            "Campaign name,Ad name,Spend,Clicks\nA,,15,2\nA,x,10,1\nA,y,5,1\nB,z,1,1\n",
            &["A 2 15 0", "B 1 1 0"],
        );
        check(
            "Campaign name,Spend,Clicks\nTotal body,15,2\nB,1,1\n",
            &["B 1 1 0", "Total body 1 15 0"],
        );
        let error = refused("Campaign name,Ad name,Spend,Clicks\nA,x,10,1\n,,99,2\nA,y,5,1\n");
        assert!(error.contains("line 3"), "{error}");
    }

    #[test]
    fn ids_that_a_spreadsheet_rounded_are_not_used() {
        let text = "Ad ID,Ad name,Spend,Clicks\n1.2E+17,x,10,1\n1.2E+17,y,5,1\n";
        let export = check(text, &["(all) 2 15 0"]);
        assert!(export.notes.iter().any(|n| n.contains("rounded")));
        let error = refused("Ad ID,Spend,Clicks\n1.2E+17,10,1\n");
        assert!(error.contains("line 2, column 1 (Ad ID)"), "{error}");
    }

    #[test]
    fn a_currency_must_be_the_one_stated() {
        let text = b"Ad name,Amount spent (EUR),Clicks\na,1,1\n";
        let stated = |currency| ImportOptions {
            currency: Some(currency),
            ..ImportOptions::default()
        };
        assert!(read_ads(text, &stated(Currency::EUR)).is_ok());
        assert!(matches!(
            read_ads(text, &stated(Currency::USD)),
            Err(ImportError::Currency { .. })
        ));
        let mixed = refused("Ad name,Spend,Clicks,Currency\na,1,1,USD\nb,1,1,EUR\n");
        assert!(mixed.contains("line 3, column 4"), "{mixed}");
        assert_eq!(
            read("Ad name,Spend,Clicks,Currency\na,1,1,EUR\n")
                .unwrap()
                .currency,
            Currency::EUR
        );
    }

    #[test]
    fn repeated_rows_count_once() {
        let export = check(
            "Ad ID,Spend,Clicks\n1,10,1\n2,5,1\n1,10,1\n",
            &["(all) 2 15 0"],
        );
        assert!(
            export
                .notes
                .iter()
                .any(|n| n.contains("line 4 repeats line 2"))
        );
    }

    #[test]
    fn numbers_of_three_digits_behind_a_mark_follow_the_rest_of_the_file() {
        // The rate tells that the comma is the decimal mark.
        check(
            "Ad name;Spend;Clicks;CTR\na;1,234;1.234;1,5\n",
            &["(all) 1 1.234 0"],
        );
        check("Ad name;Spend;Clicks\na;1,234;5\n", &["(all) 1 1234 0"]);
        let error = refused("Ad name;Spend;Clicks\na;1,234;5\nb;2.345;5\n");
        assert!(error.contains("line 3, column 2 (Spend)"), "{error}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read_ads(&bytes, &ImportOptions::default());
            let _ = super::super::read_deals(&bytes, &ImportOptions::default());
        }

        #[test]
        fn no_rows_make_it_panic(rows in "([0-9a-zA-Zä€$%.,;:/()\"'\t -]{0,30}\n){0,12}", semicolons in any::<bool>()) {
            let header = "Campaign name,Ad name,Ad ID,Day,Spend,Link clicks,Impressions,Results,Record ID,Deal Stage,Create Date,Amount\n";
            let mut text = format!("{header}{rows}");
            if semicolons {
                text = text.replace(',', ";");
            }
            let _ = read_ads(text.as_bytes(), &ImportOptions::default());
            let _ = super::super::read_deals(text.as_bytes(), &ImportOptions::default());
        }
    }
}

//! Exports of CRM deals.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::ads::CLOSED_WON;
use super::columns::{self, DealsField};
use super::dates::{DateOrder, Written};
use super::numbers::{self, Decimal, Style};
use super::picked::{self, Picked};
use super::sheet::{Sheet, SheetRow};
use super::{Faults, ImportError, ImportOptions, TakenColumn, clip};
use crate::domain::ids::StageName;
use crate::domain::money::Currency;
use crate::domain::time::Timestamp;

/// Deals as a file shows them.
#[derive(Debug, Clone, PartialEq)]
pub struct DealsExport {
    /// The columns used and what each was taken for, in the order of the file.
    pub columns_taken: Vec<TakenColumn>,
    /// Headers of the columns not used.
    pub ignored: Vec<String>,
    /// What was decided, assumed or left out, in words.
    pub notes: Vec<String>,
    /// The deals, in the order of the file, each id once.
    pub deals: Vec<DealRow>,
}

/// One deal. No name of a person or a deal is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct DealRow {
    /// The line of the file.
    pub line: u64,
    /// The deal's id, where the file has one.
    pub id: Option<String>,
    /// The stage as the file calls it.
    pub stage_label: String,
    /// The stage of the funnel that the label names; `None` when it names none of them.
    pub stage: Option<StageName>,
    /// Closed and won.
    pub is_won: bool,
    /// Closed and lost.
    pub is_lost: bool,
    /// The amount in main units.
    pub amount: Option<Decimal>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When it was closed, or is expected to be.
    pub closed: Option<Timestamp>,
    /// When it entered each stage, where the file has such columns.
    pub entered: BTreeMap<StageName, Timestamp>,
    /// Ids or names of ads, nearest evidence first.
    pub ad_keys: Vec<String>,
    /// Ids or names of ad sets.
    pub ad_set_keys: Vec<String>,
    /// Names or ids of campaigns.
    pub campaign_keys: Vec<String>,
    /// The source the CRM gives.
    pub source: Option<String>,
}

impl DealRow {
    /// Whether it names no ad, ad set or campaign.
    #[must_use]
    pub const fn names_nothing(&self) -> bool {
        self.ad_keys.is_empty() && self.ad_set_keys.is_empty() && self.campaign_keys.is_empty()
    }
}

/// Reads a deals export. `options.stages` is the funnel in order, the win last: labels and
/// "Date entered" columns are matched to it.
///
/// # Errors
/// When it is no such file, lacks columns, or has cells that cannot be read.
pub fn read_deals(bytes: &[u8], options: &ImportOptions) -> Result<DealsExport, ImportError> {
    let known = |cells: &[String]| {
        cells
            .iter()
            .filter(|c| columns::deals_field(c).is_some())
            .count()
    };
    let sheet = Sheet::read(bytes, &known)?;
    let mut notes = sheet.notes.clone();
    let picked = Picked::choose(&sheet.header, columns::deals_field, &mut notes);
    if !picked.has(DealsField::Stage) {
        return Err(ImportError::MissingColumns {
            missing: vec!["the stage of a deal (\"Deal Stage\")".to_owned()],
            saw: sheet.header.clone(),
        });
    }
    let mut reading = Reading {
        entered: entered_columns(&sheet, &options.stages),
        sheet: &sheet,
        picked,
        options,
        faults: Faults::default(),
    };
    reading.deals(notes)
}

struct Reading<'a> {
    sheet: &'a Sheet,
    picked: Picked<DealsField>,
    entered: Vec<(usize, StageName)>,
    options: &'a ImportOptions,
    faults: Faults,
}

impl Reading<'_> {
    fn deals(&mut self, mut notes: Vec<String>) -> Result<DealsExport, ImportError> {
        let sheet = self.sheet;
        let amount_at = self.picked.column(DealsField::Amount);
        let number_columns: Vec<usize> = amount_at.into_iter().collect();
        let styles = picked::number_styles(sheet, &number_columns, &mut notes, &mut self.faults);
        let orders = self.date_orders(&mut notes)?;
        let mut deals = Vec::with_capacity(sheet.rows.len());
        let mut lines: HashMap<String, u64> = HashMap::new();
        let mut unknown: BTreeSet<String> = BTreeSet::new();
        let mut currencies: BTreeSet<String> = BTreeSet::new();
        for row in &sheet.rows {
            let text = |field| cell(row, self.picked.column(field));
            let label = text(DealsField::Stage).to_owned();
            if label.is_empty() && text(DealsField::Id).is_empty() {
                notes.push(format!(
                    "line {} names no deal and no stage: left out",
                    row.line
                ));
                continue;
            }
            let id = Some(text(DealsField::Id).to_owned()).filter(|t| !t.is_empty());
            if let Some(id) = &id
                && let Some(first) = lines.insert(id.clone(), row.line)
            {
                let place = self
                    .picked
                    .column(DealsField::Id)
                    .and_then(|at| picked::place(sheet, at));
                self.faults.add(
                    row.line,
                    place,
                    format!("deal {id:?} is already on line {first}"),
                );
                continue;
            }
            if let Some(code) = Some(text(DealsField::Currency)).filter(|c| !c.is_empty()) {
                currencies.insert(code.to_ascii_uppercase());
            }
            let outcome = outcome_of(&label);
            let is_won = outcome == Outcome::Won || is_yes(text(DealsField::IsWon));
            let is_lost = !is_won && (outcome == Outcome::Lost || is_yes(text(DealsField::IsLost)));
            let stage = if is_won {
                self.options.stages.last().cloned()
            } else {
                stage_of(&label, &self.options.stages)
            };
            if stage.is_none() && !is_lost {
                unknown.insert(label.clone());
            }
            let keys = |fields: &[DealsField]| {
                let mut keys: Vec<String> = Vec::new();
                for value in fields.iter().map(|f| text(*f)).filter(|t| !t.is_empty()) {
                    keys.push(value.to_owned());
                }
                keys
            };
            let ad_keys = keys(&[DealsField::AdId, DealsField::AdName]);
            let ad_set_keys = keys(&[DealsField::AdSetId, DealsField::AdSetName]);
            let campaign_keys = keys(&[
                DealsField::CampaignId,
                DealsField::CampaignName,
                DealsField::SourceDetail,
            ]);
            let source = Some(text(DealsField::Source).to_owned()).filter(|t| !t.is_empty());
            let amount = self.amount(row, amount_at, &styles);
            let created = self.instant(row, self.picked.column(DealsField::Created), &orders);
            let closed = self.instant(row, self.picked.column(DealsField::Closed), &orders);
            let mut entered: BTreeMap<StageName, Timestamp> = BTreeMap::new();
            for (at, name) in self.entered.clone() {
                if let Some(when) = self.instant(row, Some(at), &orders) {
                    let first = entered.entry(name).or_insert(when);
                    *first = when.min(*first);
                }
            }
            deals.push(DealRow {
                line: row.line,
                id,
                stage_label: label,
                stage,
                is_won,
                is_lost,
                amount,
                created,
                closed,
                entered,
                ad_keys,
                ad_set_keys,
                campaign_keys,
                source,
            });
        }
        self.check_currency(&currencies);
        if self.faults.total > 0 {
            return Err(ImportError::Unreadable {
                faults: std::mem::take(&mut self.faults).sorted(),
            });
        }
        if deals.is_empty() {
            return Err(ImportError::Empty);
        }
        if !unknown.is_empty() {
            let some: Vec<String> = unknown
                .iter()
                .take(8)
                .map(|l| format!("{:?}", clip(l, 40)))
                .collect();
            notes.push(format!(
                "stages that no --value names count as the first stage of the funnel: {}",
                some.join(", ")
            ));
        }
        let (columns_taken, ignored) = self.columns();
        Ok(DealsExport {
            columns_taken,
            ignored,
            notes,
            deals,
        })
    }

    /// The order of day and month of each date column: one with evidence of its own uses it, and
    /// lends it to the others, which the same program wrote.
    fn date_orders(
        &self,
        notes: &mut Vec<String>,
    ) -> Result<HashMap<usize, DateOrder>, ImportError> {
        let columns: Vec<usize> = [DealsField::Created, DealsField::Closed]
            .iter()
            .filter_map(|f| self.picked.column(*f))
            .chain(self.entered.iter().map(|(at, _)| *at))
            .collect();
        let Some(first) = columns.first() else {
            return Ok(HashMap::new());
        };
        let cells = self
            .sheet
            .rows
            .iter()
            .flat_map(|row| columns.iter().map(|at| cell(row, Some(*at))));
        let order = picked::date_order(self.sheet, *first, cells, self.options.date_order, notes)?;
        Ok(columns.into_iter().map(|at| (at, order)).collect())
    }

    fn amount(
        &mut self,
        row: &SheetRow,
        at: Option<usize>,
        styles: &HashMap<usize, Style>,
    ) -> Option<Decimal> {
        let at = at?;
        let text = cell(row, Some(at));
        if numbers::is_blank(text) {
            return None;
        }
        match numbers::read(text, styles.get(&at).copied().unwrap_or(Style::POINT)) {
            Ok(amount) => Some(amount),
            Err(bad) => {
                self.faults
                    .add(row.line, picked::place(self.sheet, at), bad.what);
                None
            }
        }
    }

    fn instant(
        &mut self,
        row: &SheetRow,
        at: Option<usize>,
        orders: &HashMap<usize, DateOrder>,
    ) -> Option<Timestamp> {
        let at = at?;
        let text = cell(row, Some(at));
        if numbers::is_blank(text) {
            return None;
        }
        let order = orders.get(&at).copied().unwrap_or(DateOrder::DayFirst);
        let instant = Written::read(text).and_then(|w| w.instant(order));
        if instant.is_none() {
            self.faults.add(
                row.line,
                picked::place(self.sheet, at),
                format!("{:?} is not a date ({})", clip(text, 40), order.words()),
            );
        }
        instant
    }

    /// Amounts in a company's own currency need no column; any other must be the account's.
    fn check_currency(&mut self, seen: &BTreeSet<String>) {
        let Some(at) = self.picked.column(DealsField::Currency) else {
            return;
        };
        let company = self
            .picked
            .column(DealsField::Amount)
            .and_then(|at| self.sheet.header.get(at))
            .is_some_and(|h| columns::normal(h).contains("company currency"));
        if company {
            return;
        }
        let Some(wanted) = self.options.currency else {
            return;
        };
        for row in &self.sheet.rows {
            let code = cell(row, Some(at)).to_ascii_uppercase();
            if !code.is_empty() && code != wanted.code() && seen.contains(&code) {
                self.faults.add(
                    row.line,
                    picked::place(self.sheet, at),
                    format!(
                        "the amount is in {code} and the ads are in {wanted}: export \"Amount in company currency\", or convert it"
                    ),
                );
            }
        }
    }

    fn columns(&self) -> (Vec<TakenColumn>, Vec<String>) {
        let (mut taken, mut ignored) = (Vec::new(), Vec::new());
        for (at, header) in self.sheet.header.iter().enumerate() {
            let stage = self.entered.iter().find(|(column, _)| *column == at);
            let meaning = match (self.picked.field(at), stage) {
                (Some(field), _) => Some(field.words().to_owned()),
                (None, Some((_, stage))) => Some(format!("when it entered {stage}")),
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
}

fn cell(row: &SheetRow, at: Option<usize>) -> &str {
    at.and_then(|at| row.cells.get(at))
        .map_or("", String::as_str)
}

/// `Date entered "Show Up (Sales Pipeline)"` and `hs_v2_date_entered_closedwon`.
fn entered_columns(sheet: &Sheet, stages: &[StageName]) -> Vec<(usize, StageName)> {
    let mut found = Vec::new();
    for (at, header) in sheet.header.iter().enumerate() {
        let name = columns::normal(header);
        let label = ["date entered ", "hs date entered ", "hs v2 date entered "]
            .iter()
            .find_map(|start| name.strip_prefix(start));
        let Some(label) = label else {
            continue;
        };
        // The pipeline's name stands behind the stage's, in parentheses.
        let bare = header
            .rsplit_once('(')
            .map(|(before, _)| columns::normal(before));
        let bare = bare
            .as_deref()
            .and_then(|b| b.strip_prefix("date entered ").map(str::to_owned));
        let stage = [Some(label.to_owned()), bare]
            .into_iter()
            .flatten()
            .find_map(|l| match outcome_of(&l) {
                Outcome::Won => stages.last().cloned(),
                Outcome::Lost => None,
                Outcome::Open => stage_of(&l, stages),
            });
        if let Some(stage) = stage {
            found.push((at, stage));
        }
    }
    found
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Open,
    Won,
    Lost,
}

/// What a stage's label says by itself, in the languages HubSpot ships its default pipeline in.
fn outcome_of(label: &str) -> Outcome {
    let name = bare_label(label).replace(' ', "");
    const WON: &[&str] = &[
        "closedwon",
        "won",
        "abgeschlossenundgewonnen",
        "geschlossenundgewonnen",
        "gewonnen",
        "cierreganado",
        "ganado",
        "cerradoganado",
        "fermegagne",
        "fermeegagnee",
        "concluegagnee",
        "gagne",
        "gagnee",
        "fechadoganho",
        "negociofechado",
        "ganho",
        "ganha",
    ];
    const LOST: &[&str] = &[
        "closedlost",
        "lost",
        "abgeschlossenundverloren",
        "geschlossenundverloren",
        "verloren",
        "cierreperdido",
        "perdido",
        "cerradoperdido",
        "fermeperdu",
        "fermeeperdue",
        "perdu",
        "perdue",
        "fechadoperdido",
        "negocioperdido",
        "perdida",
    ];
    if WON.contains(&name.as_str()) {
        Outcome::Won
    } else if LOST.contains(&name.as_str()) {
        Outcome::Lost
    } else {
        Outcome::Open
    }
}

/// A label without the pipeline in parentheses behind it.
fn bare_label(label: &str) -> String {
    let before = label.split_once('(').map_or(label, |(before, _)| before);
    columns::normal(before)
}

fn stage_of(label: &str, stages: &[StageName]) -> Option<StageName> {
    let squeezed = |text: &str| text.replace(' ', "");
    let name = squeezed(&bare_label(label));
    stages
        .iter()
        .find(|stage| squeezed(&columns::normal(stage.as_str())) == name)
        .cloned()
}

fn is_yes(cell: &str) -> bool {
    matches!(
        columns::normal(cell).as_str(),
        "true" | "yes" | "1" | "ja" | "si" | "oui" | "sim" | "wahr"
    )
}

/// The funnel of stages that a reader names, the sale last whatever its place.
#[must_use]
pub fn in_funnel_order(mut stages: Vec<StageName>) -> Vec<StageName> {
    if let Some(at) = stages.iter().position(|s| s.as_str() == CLOSED_WON) {
        let won = stages.remove(at);
        stages.push(won);
    }
    stages
}

/// The currency that the deals must be in.
#[must_use]
pub fn options_for_deals(options: &ImportOptions, currency: Currency) -> ImportOptions {
    ImportOptions {
        currency: Some(currency),
        ..options.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{join, read_ads};
    use super::*;

    fn options() -> ImportOptions {
        let stages = ["lead", "appointment_scheduled", "show_up", "closed_won"];
        ImportOptions {
            stages: stages.iter().map(|s| StageName::new(s).unwrap()).collect(),
            ..ImportOptions::default()
        }
    }

    const EXPORT: &str = "Record ID,Deal Name,Deal Stage,Pipeline,Amount in company currency,Create Date,Close Date,utm_content,utm_campaign,\
        \"Date entered \"\"Show Up (Sales Pipeline)\"\"\",Original Source\n\
        1,Ann,Closed Won (Sales Pipeline),Sales,\"1,500.00\",2026-11-02 10:00,2026-11-09 12:30,101,,2026-11-05 09:00,PAID_SOCIAL\n\
        2,Bob,Appointment Scheduled,Sales,,2026-11-03 10:00,,Nobody knows,GYM,,PAID_SOCIAL\n\
        3,Cyd,Closed Lost,Sales,,2026-11-03 10:00,2026-11-04,,,,DIRECT_TRAFFIC\n\
        4,Dan,Negotiation,Sales,,2026-11-03 10:00,,999,,,PAID_SOCIAL\n";

    #[test]
    fn a_hubspot_export_is_read() {
        let export = read_deals(EXPORT.as_bytes(), &options()).unwrap();
        let stages: Vec<Option<&str>> = export
            .deals
            .iter()
            .map(|d| d.stage.as_ref().map(StageName::as_str))
            .collect();
        assert_eq!(
            stages,
            [
                Some("closed_won"),
                Some("appointment_scheduled"),
                None,
                None
            ]
        );
        let ann = &export.deals[0];
        assert!(ann.is_won && !ann.is_lost);
        assert_eq!(ann.amount.unwrap().to_string(), "1500");
        assert_eq!(ann.closed.unwrap().to_string(), "2026-11-09T12:30:00Z");
        let show_up = StageName::new("show_up").unwrap();
        assert_eq!(ann.entered[&show_up].to_string(), "2026-11-05T09:00:00Z");
        assert!(export.deals[2].is_lost);
        assert!(
            export.notes.iter().any(|n| n.contains("Negotiation")),
            "{:?}",
            export.notes
        );
        assert!(export.ignored.contains(&"Deal Name".to_owned()));
    }

    #[test]
    fn deals_join_ads_by_id_then_by_campaign() {
        let ads = "Ad ID,Ad name,Campaign name,Spend,Link clicks\n101,x,Gym,10,30\n102,y,Gym,10,10\n103,z,Shop,1,0\n";
        let account = read_ads(ads.as_bytes(), &ImportOptions::default()).unwrap();
        let deals = read_deals(EXPORT.as_bytes(), &options()).unwrap().deals;
        let joined = join(&account, &deals);
        let credits: Vec<String> = joined
            .credits
            .iter()
            .map(|(at, ad, share)| format!("{at} {ad} {share}"))
            .collect();
        assert_eq!(credits, ["0 101 1", "1 101 0.75", "1 102 0.25"]);
        assert_eq!(
            (
                joined.by_ad,
                joined.by_campaign,
                joined.unknown,
                joined.unnamed
            ),
            (1, 1, 1, 1)
        );
        assert_eq!(joined.unknown_examples, ["999"]);
        assert_eq!(joined.matched(), 2);
    }

    #[test]
    fn labels_of_other_languages_and_repeats_are_known() {
        for (label, expected) in [
            ("Abgeschlossen und gewonnen", Outcome::Won),
            ("Cierre ganado", Outcome::Won),
            ("Fermé perdu", Outcome::Lost),
            ("closedlost", Outcome::Lost),
            ("Contract sent", Outcome::Open),
        ] {
            assert_eq!(outcome_of(label), expected, "{label}");
        }
        let error = read_deals(b"Deal ID,Deal Stage\n1,Won\n1,Won\n", &options())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 3, column 1 (Deal ID): deal \"1\" is already on line 2"),
            "{error}"
        );
        let error = read_deals(b"Deal ID,Amount\n1,2\n", &options())
            .unwrap_err()
            .to_string();
        assert!(error.contains("Deal Stage"), "{error}");
    }

    #[test]
    fn amounts_in_another_currency_are_refused() {
        let text = b"Deal ID,Deal Stage,Amount,Currency\n1,Won,10,EUR\n";
        assert!(read_deals(text, &options_for_deals(&options(), Currency::EUR)).is_ok());
        let error = read_deals(text, &options_for_deals(&options(), Currency::USD))
            .unwrap_err()
            .to_string();
        assert!(error.contains("line 2, column 4 (Currency)"), "{error}");
    }
}

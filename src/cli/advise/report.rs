//! What `roasd advise` says: what it read, totals to check, and moves with their reasons.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::evidence::{Prepared, campaign_names};
use crate::cli::table::TextTable;
use crate::domain::ids::CampaignId;
use crate::domain::money::{Currency, Money};
use crate::domain::policy::{Action, Decision, Flag, Move, Outcome};
use crate::domain::rationale::Belief;
use crate::domain::rationale::paragraph::{percent, short};
use crate::import::{AccountExport, CampaignTotals, DealsExport, Decimal, TakenColumn};

/// Standard deviations from the middle to the ends of a 90 % interval.
const Z_90: f64 = 1.644_853_626_951_472_7;
/// Columns of text for people.
const WIDTH: usize = 108;

/// Everything that is said.
pub(super) struct Report<'a> {
    pub(super) ads_file: String,
    pub(super) deals_file: Option<String>,
    pub(super) account: &'a AccountExport,
    pub(super) deals: Option<&'a DealsExport>,
    pub(super) prepared: &'a Prepared,
    pub(super) outcome: &'a Outcome,
}

/// A decision as it is shown.
pub(super) struct Shown<'a> {
    pub(super) decision: &'a Decision,
    pub(super) campaign: String,
    pub(super) now: String,
    pub(super) then: String,
    pub(super) change: Option<f64>,
    /// Mean and ends of the 90 % interval.
    pub(super) roas: Option<(f64, f64, f64)>,
    /// What it moves, for the order.
    pub(super) weight: f64,
}

/// The kinds of move, in the order shown.
pub(super) const SECTIONS: [(&str, &[Action]); 4] = [
    ("Raise", &[Action::Raise]),
    ("Cut", &[Action::Cut]),
    ("Pause for good", &[Action::Kill]),
    (
        "Pause for now, in favour of a better ad in the same ad set",
        &[Action::Rotate],
    ),
];

impl Report<'_> {
    pub(super) fn currency(&self) -> Currency {
        self.account.currency
    }

    pub(super) fn shown(&self, actions: &[Action]) -> Vec<Shown<'_>> {
        let names = campaign_names(self.account);
        let mut shown: Vec<Shown<'_>> = self
            .outcome
            .decisions
            .iter()
            .filter(|d| actions.contains(&d.action))
            .map(|d| shown(d, &names))
            .collect();
        shown.sort_by(|a, b| {
            b.weight
                .total_cmp(&a.weight)
                .then_with(|| a.decision.subject.cmp(&b.decision.subject))
        });
        shown
    }

    /// Value of the pipeline and raw ROAS of each campaign, as the model counts them.
    pub(super) fn values(&self) -> BTreeMap<&CampaignId, f64> {
        let mut values: BTreeMap<&CampaignId, f64> = BTreeMap::new();
        for reading in &self.outcome.readings {
            *values.entry(&reading.campaign).or_insert(0.0) += reading.evidence.pipeline_value;
        }
        values
    }

    /// Counts of each stage by campaign, from the same source as the values.
    pub(super) fn reached(&self) -> BTreeMap<&CampaignId, Vec<f64>> {
        let mut reached: BTreeMap<&CampaignId, Vec<f64>> = BTreeMap::new();
        for reading in &self.outcome.readings {
            let sum = reached
                .entry(&reading.campaign)
                .or_insert_with(|| vec![0.0; reading.evidence.stages.len()]);
            for (own, stage) in sum.iter_mut().zip(&reading.evidence.stages) {
                *own += stage.reached;
            }
        }
        reached
    }

    /// Prints for people; at most `top` moves of a kind, where given.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub(super) fn print(
        &self,
        out: &mut dyn Write,
        is_terminal: bool,
        top: Option<usize>,
    ) -> io::Result<()> {
        let account = self.account;
        let totals = account.totals();
        let ads: usize = totals.iter().map(|t| t.ads).sum();
        writeln!(
            out,
            "{}: {} rows, {} campaign(s), {} ad set(s), {} ad(s), amounts in {}",
            self.ads_file,
            thousands(&account.rows.len().to_string()),
            totals.len(),
            thousands(&self.prepared.inputs.entities.len().to_string()),
            thousands(&ads.to_string()),
            self.currency()
        )?;
        print_columns(out, &account.columns_taken, &account.ignored)?;
        print_list(out, "  - ", &account.notes)?;
        if let (Some(file), Some(deals)) = (&self.deals_file, self.deals) {
            writeln!(
                out,
                "\n{file}: {} deals",
                thousands(&deals.deals.len().to_string())
            )?;
            print_columns(out, &deals.columns_taken, &deals.ignored)?;
            print_list(out, "  - ", &deals.notes)?;
        }
        writeln!(out, "\nWhat the advice rests on")?;
        let worth: Vec<String> = self
            .prepared
            .funnel
            .iter()
            .map(|(s, v)| format!("{s} = {v}"))
            .collect();
        let stages = format!(
            "a deal is worth {} {} at the furthest stage it reached",
            worth.join(", "),
            self.currency()
        );
        print_list(out, "  - ", std::slice::from_ref(&stages))?;
        print_list(out, "  - ", &self.prepared.assumptions)?;
        print_list(out, "  - ", &self.warnings())?;
        writeln!(out, "\nTotals by campaign (check them against the account)")?;
        writeln!(out, "{}", self.totals_table(&totals, is_terminal))?;
        self.print_moves(out, is_terminal, top)
    }

    fn totals_table(&self, totals: &[CampaignTotals], is_terminal: bool) -> String {
        let stages: Vec<&str> = self
            .prepared
            .funnel
            .iter()
            .map(|(s, _)| s.as_str())
            .collect();
        let heads: Vec<&str> = ["campaign", "ads", "impressions", "clicks", "spend"]
            .into_iter()
            .chain(stages.iter().copied())
            .chain(["value", "ROAS"])
            .collect();
        let right: Vec<usize> = (1..heads.len()).collect();
        let mut table = TextTable::new(&heads, is_terminal).right(&right);
        let (values, reached) = (self.values(), self.reached());
        let mut all = (
            0_usize,
            Decimal::ZERO,
            Decimal::ZERO,
            Decimal::ZERO,
            vec![0.0; stages.len()],
            0.0,
        );
        for total in totals {
            let value = values.get(&total.campaign).copied().unwrap_or(0.0);
            let none = Vec::new();
            let counts = reached.get(&total.campaign).unwrap_or(&none);
            all.0 += total.ads;
            all.1 += total.impressions;
            all.2 += total.clicks;
            all.3 += total.spend;
            all.5 += value;
            for (sum, count) in all.4.iter_mut().zip(counts) {
                *sum += count;
            }
            let name = label(&total.name, total.campaign.as_str());
            table.row(self.totals_cells(
                name,
                (total.ads, total.impressions, total.clicks, total.spend),
                counts,
                value,
            ));
        }
        if totals.len() > 1 {
            table.row(self.totals_cells(
                "all".to_owned(),
                (all.0, all.1, all.2, all.3),
                &all.4,
                all.5,
            ));
        }
        table.render()
    }

    fn totals_cells(
        &self,
        name: String,
        (ads, impressions, clicks, spend): (usize, Decimal, Decimal, Decimal),
        counts: &[f64],
        value: f64,
    ) -> Vec<String> {
        let money = spend.to_money(self.currency());
        let mut cells = vec![
            name,
            thousands(&ads.to_string()),
            thousands(&impressions.to_string()),
            thousands(&clicks.to_string()),
            thousands(&money.to_decimal()),
        ];
        cells.extend(
            (0..self.prepared.funnel.len()).map(|k| number(counts.get(k).copied().unwrap_or(0.0))),
        );
        cells.push(thousands(&format!("{value:.2}")));
        cells.push(raw_roas(value, spend).map_or_else(|| "-".to_owned(), short));
        cells
    }

    fn print_moves(
        &self,
        out: &mut dyn Write,
        is_terminal: bool,
        top: Option<usize>,
    ) -> io::Result<()> {
        let outcome = self.outcome;
        writeln!(
            out,
            "\nRecommended moves (ROAS as it should come out, with its 90 % interval)"
        )?;
        let mut any = false;
        for (title, actions) in SECTIONS {
            let all = self.shown(actions);
            if all.is_empty() {
                continue;
            }
            any = true;
            let count = top.map_or(all.len(), |top| top.min(all.len()));
            let which = if count < all.len() {
                format!(
                    "{count} of {}, the largest by money; --all shows every one",
                    thousands(&all.len().to_string())
                )
            } else {
                thousands(&all.len().to_string())
            };
            writeln!(out, "\n{title} ({which})")?;
            self.print_section(out, is_terminal, all.get(..count).unwrap_or(&all))?;
        }
        if !any {
            writeln!(
                out,
                "None: nothing in the file is sure enough to move money for."
            )?;
        }
        let holds = outcome
            .decisions
            .iter()
            .filter(|d| d.action == Action::Hold)
            .count();
        let idle = self.prepared.inputs.entities.len().saturating_sub(
            outcome
                .decisions
                .iter()
                .filter(|d| matches!(d.change, Move::Budget { .. }))
                .count(),
        );
        let freed = if idle > 0 {
            format!(
                " {} ad set(s) have no ad that runs, or none after these moves: their budgets are free.",
                thousands(&idle.to_string())
            )
        } else {
            String::new()
        };
        let closing = format!(
            "{} ad set(s) stay as they are.{freed} Budgets come from {} to {}, under a cap of {}. Nothing was changed \
             anywhere: this is advice.",
            thousands(&holds.to_string()),
            money(outcome.budget_before),
            money(outcome.budget_after),
            money(outcome.cap),
        );
        writeln!(out)?;
        print_wrapped(out, "", &closing)
    }

    fn print_section(
        &self,
        out: &mut dyn Write,
        is_terminal: bool,
        moves: &[Shown<'_>],
    ) -> io::Result<()> {
        let heads = [
            "#", "what", "campaign", "now", "then", "change", "ROAS", "90 %",
        ];
        let mut table = TextTable::new(&heads, is_terminal).right(&[0, 3, 4, 5, 6, 7]);
        for (at, shown) in moves.iter().enumerate() {
            let d = shown.decision;
            let what = format!(
                "{} {}",
                d.subject.kind().noun(),
                clipped(&label(&d.rationale.name, d.subject.id()), 36)
            );
            table.row([
                (at + 1).to_string(),
                what,
                clipped(&shown.campaign, 20),
                shown.now.clone(),
                shown.then.clone(),
                shown
                    .change
                    .map_or_else(String::new, |c| format!("{c:+.0} %")),
                shown.roas.map_or_else(|| "-".to_owned(), |r| short(r.0)),
                shown.roas.map_or_else(
                    || "-".to_owned(),
                    |r| format!("{} to {}", short(r.1), short(r.2)),
                ),
            ]);
        }
        writeln!(out, "{}", table.render())?;
        for (at, shown) in moves.iter().enumerate() {
            let rationale = &shown.decision.rationale;
            let mut text = rationale.reason();
            if shown.decision.scale && shown.decision.action != Action::Cut {
                text.push_str(" Marked to scale.");
            }
            if !rationale.would_change.is_empty() {
                text.push_str(" What would change it: ");
                text.push_str(&rationale.would_change.join("; "));
                text.push('.');
            }
            print_wrapped(out, &format!("  {:>2}. ", at + 1), &text)?;
        }
        Ok(())
    }

    /// What holds for the whole decision and should be known.
    pub(super) fn warnings(&self) -> Vec<String> {
        let p = &self.prepared.inputs.params;
        let mut warnings = vec![format!(
            "an ad is only paused for good after {} {} of spend, when its ROAS is below {} with a chance of {}",
            short(p.min_spend_for_kill),
            self.currency(),
            short(p.kill_roas),
            percent(p.p_kill)
        )];
        for flag in &self.outcome.flags {
            match flag {
                Flag::NothingLive => warnings.push("no ad in the file delivers, so there is nothing to move".to_owned()),
                Flag::CapUnreachable => warnings.push(
                    "the cap cannot be reached in one step: budgets only come down, and nothing is raised".to_owned(),
                ),
                Flag::BadInput => warnings.push(format!(
                    "{} figures were not usable; what they belong to is held",
                    self.outcome.bad_inputs
                )),
                Flag::NoLeadYet => warnings.push(
                    "no result is counted at all: ads are ordered by clicks alone, which says little about revenue".to_owned(),
                ),
                // Said in the assumptions, or for the daemon only.
                Flag::TotalsOnly | Flag::Rationed => {}
            }
        }
        warnings
    }
}

fn shown<'d>(decision: &'d Decision, names: &BTreeMap<CampaignId, String>) -> Shown<'d> {
    let (now, then, change, weight) = match decision.change {
        Move::Budget { from, to } => {
            let share = (!from.is_zero()).then(|| 100.0 * (to.to_f64() / from.to_f64() - 1.0));
            (
                thousands(&from.to_decimal()),
                thousands(&to.to_decimal()),
                share,
                (to.to_f64() - from.to_f64()).abs(),
            )
        }
        // A pause has no amount of its own; what the ad spent says how much it matters.
        Move::Status { to, .. } => (
            format!(
                "spent {}",
                thousands(&format!("{:.2}", decision.rationale.evidence.spend))
            ),
            if decision.action == Action::Return {
                to.as_str().to_owned()
            } else {
                "paused".to_owned()
            },
            None,
            decision.rationale.evidence.spend,
        ),
    };
    Shown {
        decision,
        campaign: names.get(&decision.campaign).map_or_else(
            || decision.campaign.to_string(),
            |name| label(name, decision.campaign.as_str()),
        ),
        now,
        then,
        change,
        roas: decision.rationale.belief.as_ref().map(interval),
        weight,
    }
}

/// Mean ROAS and the 90 % interval of the log-normal belief.
fn interval(belief: &Belief) -> (f64, f64, f64) {
    let end = |z: f64| libm::exp(belief.mu + z * belief.sigma);
    (belief.mean_roas, end(-Z_90), end(Z_90))
}

fn print_columns(out: &mut dyn Write, taken: &[TakenColumn], ignored: &[String]) -> io::Result<()> {
    let taken: Vec<String> = taken
        .iter()
        .map(|c| format!("{} = {}", c.header, c.meaning))
        .collect();
    print_wrapped(out, "  took: ", &format!("{}.", taken.join("; ")))?;
    if ignored.is_empty() {
        return Ok(());
    }
    print_wrapped(out, "  not used: ", &format!("{}.", ignored.join("; ")))
}

fn print_list(out: &mut dyn Write, bullet: &str, lines: &[String]) -> io::Result<()> {
    lines
        .iter()
        .try_for_each(|line| print_wrapped(out, bullet, line))
}

/// Breaks `text` at spaces so that lines stay narrow, indented below `head`.
fn print_wrapped(out: &mut dyn Write, head: &str, text: &str) -> io::Result<()> {
    let indent = " ".repeat(head.chars().count());
    let mut line = head.to_owned();
    let mut width = indent.len();
    let mut is_fresh = true;
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    for word in clean.split(' ').filter(|w| !w.is_empty()) {
        let needed = word.chars().count() + usize::from(!is_fresh);
        if !is_fresh && width + needed > WIDTH {
            writeln!(out, "{line}")?;
            line.clone_from(&indent);
            (width, is_fresh) = (indent.len(), true);
        }
        if !is_fresh {
            line.push(' ');
            width += 1;
        }
        line.push_str(word);
        width += word.chars().count();
        is_fresh = false;
    }
    writeln!(out, "{line}")
}

/// A name with its id, where they differ and the id says more than the name's place.
fn label(name: &str, id: &str) -> String {
    if name.is_empty() || name == id {
        id.to_owned()
    } else if id.bytes().all(|b| b.is_ascii_digit()) {
        format!("{name} ({id})")
    } else {
        name.to_owned()
    }
}

fn clipped(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(max.saturating_sub(1)).collect();
    short.push('…');
    short
}

pub(super) fn raw_roas(value: f64, spend: Decimal) -> Option<f64> {
    (!spend.is_zero()).then(|| value / spend.to_f64())
}

fn money(money: Money) -> String {
    format!("{} {}", thousands(&money.to_decimal()), money.currency())
}

/// A count; shares of deals have decimals.
fn number(count: f64) -> String {
    if (count - count.round()).abs() < 1e-6 {
        thousands(&format!("{count:.0}"))
    } else {
        thousands(&format!("{count:.1}"))
    }
}

/// Commas between the thousands of a decimal text.
fn thousands(decimal: &str) -> String {
    let (whole, fraction) = decimal
        .split_once('.')
        .map_or((decimal, None), |(w, f)| (w, Some(f)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |d| ("-", d));
    let mut text = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

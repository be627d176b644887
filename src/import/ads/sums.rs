//! Rows that sum up others, and rows that repeat others: left out, and told.

use std::collections::HashMap;

use super::reading::{LEVELS, Raw, Reading};
use crate::import::columns;
use crate::import::numbers::Decimal;

impl<'a> Reading<'a> {
    /// Leaves out rows that sum up others: those that name nothing at the level of the file.
    pub(super) fn without_totals(&mut self, raws: Vec<Raw<'a>>) -> Vec<Raw<'a>> {
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
    pub(super) fn without_repeats(&mut self, raws: Vec<Raw<'a>>) -> Vec<Raw<'a>> {
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

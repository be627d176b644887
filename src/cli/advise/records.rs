//! What one ad did, as the policy reads it: lifetime totals, or days and deals.

use super::evidence::{AdSum, NotEnough, Worth, at_noon};
use crate::domain::policy::{Bucket, DealEvidence, LifetimeTotals, Record};
use crate::domain::time::Timestamp;
use crate::import::{AdRow, DealRow, DealsExport, Decimal};

/// More results than this of one ad on one day are taken for a fault of the file.
const RESULTS_A_DAY_MAX: f64 = 50_000.0;
/// How far a deal came: its place in the funnel; a deal that names no stage of it is at the first.
fn depth(deal: &DealRow, funnel: &[Worth]) -> usize {
    let named = deal.stage.iter().chain(deal.entered.keys());
    named
        .filter_map(|stage| funnel.iter().position(|(s, _)| s == stage))
        // A lost deal has no win, whatever it entered before.
        .filter(|k| !deal.is_lost || k + 1 < funnel.len())
        .max()
        .unwrap_or(0)
}

pub(super) fn totals(
    sum: &AdSum<'_>,
    funnel: &[Worth],
    deals: Option<(&DealsExport, &[(usize, f64)])>,
) -> Record {
    let mut totals = LifetimeTotals {
        impressions: sum.impressions.to_f64(),
        clicks: sum.clicks.to_f64(),
        spend: sum.spend.to_f64(),
        days: sum.days,
        ..LifetimeTotals::default()
    };
    let win = funnel.len().saturating_sub(1);
    if let Some((export, credited)) = deals {
        let mut reached = vec![0.0; funnel.len()];
        let mut amounts = (0.0, 0.0);
        for (at, share) in credited {
            let Some(deal) = export.deals.get(*at) else {
                continue;
            };
            let depth = depth(deal, funnel);
            for slot in reached.iter_mut().take(depth + 1) {
                *slot += share;
            }
            if let Some(amount) = deal.amount.filter(|_| depth == win && deal.is_won) {
                amounts.0 += share * amount.to_f64();
                amounts.1 += share;
            }
        }
        totals.reached = reached;
        totals.amounts = (amounts.1 > 0.0).then_some(amounts);
    } else {
        totals.reached = funnel
            .iter()
            .map(|(stage, _)| sum.counts.get(stage).copied().unwrap_or_default().to_f64())
            .collect();
        let won = totals.reached.get(win).copied().unwrap_or(0.0);
        totals.amounts = sum
            .value
            .map(Decimal::to_f64)
            .filter(|_| won > 0.0)
            .map(|v| (v, won));
    }
    Record::Totals(totals)
}

pub(super) fn dated(
    sum: &AdSum<'_>,
    funnel: &[Worth],
    deals: Option<(&DealsExport, &[(usize, f64)])>,
    now: Timestamp,
) -> Result<Record, NotEnough> {
    let buckets = sum
        .by_day
        .iter()
        .map(|(day, rows)| {
            let add = |figure: fn(&AdRow) -> Decimal| {
                rows.iter().map(|r| figure(r)).sum::<Decimal>().to_f64()
            };
            Bucket {
                at: at_noon(*day),
                impressions: add(|r| r.impressions),
                clicks: add(|r| r.clicks),
                spend: add(|r| r.spend),
            }
        })
        .collect();
    let deals = match deals {
        Some((export, credited)) => credited
            .iter()
            .filter_map(|(at, share)| Some(one_deal(export.deals.get(*at)?, *share, funnel, now)))
            .collect(),
        None => {
            let mut found = Vec::new();
            for (day, rows) in &sum.by_day {
                for row in rows {
                    counted_deals(row, at_noon(*day), funnel, &mut found)?;
                }
            }
            found
        }
    };
    Ok(Record::Dated { buckets, deals })
}

/// A deal of the CRM. A stage without a date of its own is dated by the deal's closing when it is
/// the sale, else by its making.
fn one_deal(deal: &DealRow, share: f64, funnel: &[Worth], now: Timestamp) -> DealEvidence {
    let made = deal
        .created
        .or_else(|| deal.entered.values().min().copied())
        .unwrap_or(now);
    let closed = deal.closed.unwrap_or(made);
    let depth = depth(deal, funnel);
    let win = funnel.len().saturating_sub(1);
    let reached = funnel
        .iter()
        .enumerate()
        .map(|(k, (stage, _))| {
            let entered = deal.entered.get(stage).copied();
            let at = match entered {
                Some(at) => at,
                None if k == win && deal.is_won => closed,
                None => made,
            };
            (k <= depth).then_some(at)
        })
        .collect();
    DealEvidence {
        weight: share,
        reached,
        lost_at: deal.is_lost.then_some(closed),
        amount: deal.amount.map(Decimal::to_f64),
    }
}

/// The results that a row counts, as deals of that day: who became a sale is known by number only.
fn counted_deals(
    row: &AdRow,
    at: Timestamp,
    funnel: &[Worth],
    found: &mut Vec<DealEvidence>,
) -> Result<(), NotEnough> {
    let mut reached: Vec<f64> = Vec::with_capacity(funnel.len());
    for (stage, _) in funnel {
        let count = row.counts.get(stage).copied().unwrap_or_default();
        if count.to_f64() > RESULTS_A_DAY_MAX {
            return Err(NotEnough::TooMany {
                line: row.line,
                count,
            });
        }
        reached.push(count.to_f64());
    }
    let won = reached.last().copied().unwrap_or(0.0);
    let amount = row
        .value
        .map(Decimal::to_f64)
        .filter(|_| won > 0.0)
        .map(|v| v / won);
    // Whoever reached a stage has reached those before it.
    let mut later: f64 = 0.0;
    for slot in reached.iter_mut().rev() {
        later = later.max(*slot);
        *slot = later;
    }
    let all = reached.first().copied().unwrap_or(0.0);
    let mut from = 0.0;
    while from < all {
        // A deal ends where any stage's count does, and weighs one at most.
        let to = reached
            .iter()
            .copied()
            .filter(|n| *n > from)
            .fold(from + 1.0, f64::min);
        found.push(DealEvidence {
            weight: to - from,
            reached: reached.iter().map(|n| (*n > from).then_some(at)).collect(),
            lost_at: None,
            amount: amount.filter(|_| won > from),
        });
        from = to;
    }
    Ok(())
}

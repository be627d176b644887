//! Takes the vitals of one account from the store and trips breakers: before each change is judged,
//! and after each read of the figures, so that a breaker is seen also where nothing is due.

use super::context::Context;
use crate::domain::change::ChangeState;
use crate::domain::money::Money;
use crate::domain::safety::{self, Trip, Vitals};
use crate::domain::time::{self, SignedDuration, TimeZone, Timestamp};
use crate::store::StoreError;
use crate::store::changes::ChangeFilter;

/// Days before the present window that say what is usual at these hours.
const USUAL_DAYS: i64 = 7;
/// Fewer days than this say nothing.
const USUAL_DAYS_MIN: usize = 3;
/// Days before the present window that say what a lead costs.
const PRICE_DAYS: i64 = 28;
/// Failed changes looked at; more than any limit of theirs.
const FAILED_MAX: u32 = 1_000;

/// Trips what is to be tripped, and returns the breakers that are on.
///
/// # Errors
/// When the store does not answer.
pub(super) async fn look(
    context: &Context,
    zone: &TimeZone,
    now: Timestamp,
) -> Result<Vec<Trip>, StoreError> {
    let Context { store, tenant, .. } = context;
    let (id, limits) = (&tenant.id, &tenant.limits.breakers);
    let vitals = vitals(context, zone, now).await?;
    let known = store.breakers(id, now).await?;
    let mut has_news = false;
    for trip in safety::trips(&vitals, tenant.limits.daily_cap, limits, now) {
        // One that is on is only written anew when half of its time is over.
        let is_fresh = |on: &Trip| {
            on.breaker == trip.breaker && time::between(now, on.until) > limits.hold / 2
        };
        if known.iter().any(is_fresh) {
            continue;
        }
        has_news = true;
        if store.trip_breaker(id, &trip, "roasd").await? {
            tracing::error!(
                tenant.id = %id, breaker = trip.breaker.as_str(), reason = %trip.reason,
                "a breaker of {id} tripped, until {:.0}: {}", trip.until, trip.reason
            );
        }
    }
    if has_news {
        store.breakers(id, now).await
    } else {
        Ok(known)
    }
}

async fn vitals(context: &Context, zone: &TimeZone, now: Timestamp) -> Result<Vitals, StoreError> {
    let Context { store, tenant, .. } = context;
    let (id, limits) = (&tenant.id, &tenant.limits.breakers);
    let zero = Money::zero(tenant.currency);
    let today = time::day_of(now, zone);
    let days_back = |span: SignedDuration| time::day_of(time::sub(now, span), zone);

    let week = time::days(USUAL_DAYS);
    let longest = limits.cost_window.max(limits.spend_window + week);
    let hourly = store.spend_by_hour(id, days_back(longest)).await?;
    let spent_in = |from: Timestamp, to: Timestamp| {
        let rows = hourly.iter().filter(|(window, spend)| {
            let begins = window.begins(zone);
            begins >= from && begins < to && spend.currency() == tenant.currency
        });
        let mut has_rows = false;
        let sum = rows.fold(0_i64, |sum, (_, spend)| {
            has_rows = true;
            sum.saturating_add(spend.minor())
        });
        has_rows.then_some(sum)
    };
    let from = time::sub(now, limits.spend_window);
    let usual: Vec<i64> = (1..=USUAL_DAYS)
        .filter_map(|n| {
            spent_in(
                time::sub(from, time::days(n)),
                time::sub(now, time::days(n)),
            )
        })
        .collect();
    let usual_spend = (usual.len() >= USUAL_DAYS_MIN).then(|| {
        let days = i64::try_from(usual.len()).unwrap_or(i64::MAX);
        let sum = usual.iter().fold(0_i64, |sum, n| sum.saturating_add(*n));
        Money::from_minor(sum / days, tenant.currency)
    });

    // The price of a lead, by whole days before the window.
    let recent_from = time::sub(now, limits.cost_window);
    let last_day = time::day_of(recent_from, zone).min(today);
    let first_day = time::add_days(last_day, -PRICE_DAYS);
    let price_from = time::day_start(first_day, zone);
    let price_to = time::day_start(last_day, zone);
    let deals = store.deals_made_since(id, price_from).await?;
    let made = |from: Timestamp, to: Timestamp| {
        let of_then = deals.iter().filter(|at| (from..to).contains(*at));
        of_then.count()
    };
    let leads_before = made(price_from, price_to) as f64;
    let spent_before: i64 = store
        .spend_by_day(id, first_day)
        .await?
        .iter()
        .filter(|(day, spend)| *day < last_day && spend.currency() == tenant.currency)
        .map(|(_, spend)| spend.minor())
        .sum();
    let spent_recently = spent_in(recent_from, now).unwrap_or(0) as f64;
    let expected_leads = (spent_before > 0 && leads_before > 0.0)
        .then(|| spent_recently * leads_before / spent_before as f64);

    let filter = ChangeFilter {
        tenant: Some(id.clone()),
        states: vec![ChangeState::Failed],
        limit: FAILED_MAX,
    };
    let errors_from = time::sub(now, limits.error_window);
    let failed = store.changes(&filter).await?;
    let failed = failed.iter().filter(|c| c.updated_at > errors_from).count();
    Ok(Vitals {
        spent: spent_in(from, now).map_or(zero, |n| Money::from_minor(n, tenant.currency)),
        usual_spend,
        leads: made(recent_from, Timestamp::MAX) as u64,
        expected_leads,
        failed: u32::try_from(failed).unwrap_or(u32::MAX),
    })
}

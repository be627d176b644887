//! The statements that forget; both stores take them as they are, but for PostgreSQL's inbox.

use super::values::micros;
use crate::domain::time::{self, TimeZone, Timestamp};
use crate::store::privacy::Forgettable;

/// The statement that forgets: its bound is an instant, but for figures, which have days.
pub(in crate::store) const fn forgets(what: Forgettable) -> &'static str {
    match what {
        Forgettable::Visits => {
            "delete from click_tracking where tenant = $1 and id in (
                 select id from click_tracking where tenant = $1 and at < $2
                 order by at limit $3)"
        }
        Forgettable::Leads => {
            "delete from meta_leads where tenant = $1 and id in (
                 select id from meta_leads where tenant = $1 and told_at < $2
                 order by told_at limit $3)"
        }
        Forgettable::Attempts => {
            "delete from attribution_performance_log where id in (
                 select id from attribution_performance_log where tenant = $1 and at < $2
                 order by at limit $3)"
        }
        Forgettable::Deliveries => {
            "delete from inbox where id in (
                 select id from inbox
                 where tenant = $1 and status in ('settled', 'dropped') and received_at < $2
                 order by received_at limit $3)"
        }
        Forgettable::HourlyInsights => {
            "delete from ad_insights where tenant = $1 and (ad_id, day, hour) in (
                 select ad_id, day, hour from ad_insights
                 where tenant = $1 and day < $2 and hour >= 0
                 order by day limit $3)"
        }
        Forgettable::PastInsights => {
            "delete from ad_insight_past
             where tenant = $1 and (ad_id, day, hour, known_until) in (
                 select ad_id, day, hour, known_until from ad_insight_past
                 where tenant = $1 and known_until < $2
                 order by known_until limit $3)"
        }
        Forgettable::Inputs => {
            "update decision_runs set inputs_json = '' where id in (
                 select id from decision_runs
                 where tenant = $1 and at < $2 and inputs_json <> ''
                 order by at limit $3)"
        }
        Forgettable::Runs => {
            "delete from job_execution_history where id in (
                 select id from job_execution_history where tenant = $1 and ended_at < $2
                 order by ended_at limit $3)"
        }
        Forgettable::Messages => {
            "delete from outbox where id in (
                 select id from outbox where tenant = $1 and created_at < $2
                 order by created_at limit $3)"
        }
    }
}

/// What a row must be older than.
pub(in crate::store) enum Bound {
    /// A day of the ad account's calendar.
    Day(String),
    /// An instant as it is kept.
    Instant(i64),
}

/// The bound of `what` for rows from before `before`. The instant's day in UTC is at most one off
/// the account's own, and what is kept is many.
pub(in crate::store) fn bound(what: Forgettable, before: Timestamp) -> Bound {
    match what {
        Forgettable::HourlyInsights => Bound::Day(time::day_of(before, &TimeZone::UTC).to_string()),
        Forgettable::Visits
        | Forgettable::Leads
        | Forgettable::Attempts
        | Forgettable::Deliveries
        | Forgettable::PastInsights
        | Forgettable::Inputs
        | Forgettable::Runs
        | Forgettable::Messages => Bound::Instant(micros(before)),
    }
}

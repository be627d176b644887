//! What is forgotten when its time is over.

use async_trait::async_trait;

use super::SqliteStore;
use super::faults::fault;
use super::values::micros;
use crate::domain::ids::TenantId;
use crate::domain::time::{self, TimeZone, Timestamp};
use crate::store::StoreError;
use crate::store::privacy::{Forgettable, RetentionStore};

/// The statement that forgets: its bound is an instant, but for figures, which have days.
const fn statement(what: Forgettable) -> &'static str {
    match what {
        Forgettable::Visits => {
            "delete from click_tracking where tenant = $1 and id in (
                 select id from click_tracking where tenant = $1 and at < $2
                 order by at limit $3)"
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
    }
}

#[async_trait]
impl RetentionStore for SqliteStore {
    async fn forget(
        &self,
        tenant: &TenantId,
        what: Forgettable,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let doing = "forgetting what is old";
        let mut tx = self.write(doing).await?;
        let query = sqlx::query(statement(what)).bind(tenant.as_str());
        let query = match what {
            // Days are the ad account's own; the instant's day in UTC is at most one off, and what
            // is kept is many.
            Forgettable::HourlyInsights => {
                query.bind(time::day_of(before, &TimeZone::UTC).to_string())
            }
            Forgettable::Visits
            | Forgettable::Attempts
            | Forgettable::Deliveries
            | Forgettable::Inputs
            | Forgettable::Runs => query.bind(micros(before)),
        };
        let done = query
            .bind(i64::from(limit))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))?;
        Ok(done.rows_affected())
    }
}

//! Learns every night what stages have been worth, and puts it beside what is configured.

use crate::actors::context::TenantSettings;
use crate::domain::time::{self, SignedDuration, Timestamp};
use crate::domain::worth::{self, Course, LearnedStage, StageWorth};
use crate::store::{Store, StoreError};

/// Deals that teach: those made within half a year. Older ones tell of another market, and the look
/// must not grow with the history.
const TEACHING: SignedDuration = time::days(180);

/// What the stages of a tenant have been worth by `now`.
///
/// # Errors
/// When the store does not answer.
pub async fn learn(
    store: &dyn Store,
    tenant: &TenantSettings,
    now: Timestamp,
) -> Result<Vec<StageWorth>, StoreError> {
    let deals = store
        .deals_since(&tenant.id, time::sub(now, TEACHING))
        .await?;
    let courses: Vec<Course> = deals
        .iter()
        .filter_map(|deal| Course::of(&deal.deal, &tenant.stages, &tenant.fx))
        .collect();
    let cycle_days = tenant.params.sales_cycle_days;
    let (stages, currency) = (&tenant.stages, tenant.currency);
    Ok(worth::learn(&courses, stages, currency, cycle_days, now))
}

/// Learns and keeps it. Returns how many stages drift from what is configured.
pub(super) async fn keep(
    store: &dyn Store,
    tenant: &TenantSettings,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let worth = learn(store, tenant, now).await?;
    // An amount that does not fit is nobody's worth.
    let learned: Vec<LearnedStage> = worth.iter().filter_map(|one| one.learned().ok()).collect();
    store
        .record_learned_stages(&tenant.id, &learned, now)
        .await?;
    let drifting: Vec<&StageWorth> = worth.iter().filter(|stage| stage.drifts()).collect();
    for stage in &drifting {
        tracing::info!(
            tenant.id = %tenant.id, stage = %stage.stage, "{}; see roasd stages {}",
            stage.sentence(), tenant.id
        );
    }
    Ok(drifting.len())
}

//! What this release brings to the registry of versions, and how versions go on when code does.

use crate::domain::model::{BUDGETS, Constants, Event, Role, VersionName};
use crate::domain::policy::{self, BlendedV1, Policy};
use crate::domain::time::Timestamp;
use crate::store::models::{ModelVersion, RoleChange};
use crate::store::{Store, StoreError};

/// Enters the policies of this release, `house` first: in a new store it becomes the champion. A
/// version in use whose code this release has newer goes on as a version of the newer code, with the
/// same constants and in the same role. An older release beside a newer one changes nothing.
pub(super) async fn enter(
    store: &dyn Store,
    house: &'static dyn Policy,
    now: Timestamp,
) -> Result<(), StoreError> {
    let before = store.models().await?;
    for policy in [house, &BlendedV1 { kills: true }] {
        let version = version(policy.name(), policy, Constants::default(), now)?;
        let is_known = |v: &ModelVersion| v.model == version.model && v.version == version.version;
        if !before.iter().any(is_known) {
            store.register_model(&version).await?;
        }
    }
    // What was entered just now is this release's own: nothing of it is older.
    for known in before {
        let is_in_use = known.model == BUDGETS && known.role != Role::Resting;
        let Some(policy) = policy::named(&known.policy).filter(|_| is_in_use) else {
            continue;
        };
        if policy.version() <= known.policy_version {
            continue;
        }
        let next = version(known.version.label(), policy, known.constants, now)?;
        store.register_model(&next).await?;
        let change = |version: &VersionName, role, event| RoleChange {
            model: BUDGETS.to_owned(),
            version: version.clone(),
            role,
            event,
            actor: "roasd".to_owned(),
            reason: format!("release {} has newer code", env!("CARGO_PKG_VERSION")),
            evidence_json: None,
            at: now,
        };
        let goes_on = change(&next.version, known.role, Event::Succeeded);
        store.change_role(&goes_on).await?;
        let rests = change(&known.version, Role::Resting, Event::Rested);
        store.change_role(&rests).await?;
        tracing::info!(
            model.version = %next.version,
            "{} goes on as {}, the code of this release", known.version, next.version
        );
    }
    Ok(())
}

fn version(
    label: &str,
    policy: &dyn Policy,
    constants: Constants,
    now: Timestamp,
) -> Result<ModelVersion, StoreError> {
    let version =
        VersionName::of(label, policy.version()).map_err(|error| StoreError::Corrupt {
            table: "model_registry",
            detail: error.to_string(),
        })?;
    Ok(ModelVersion {
        model: BUDGETS.to_owned(),
        version,
        policy: policy.name().to_owned(),
        policy_version: policy.version(),
        constants,
        revision: env!("CARGO_PKG_VERSION").to_owned(),
        role: Role::Resting,
        evaluation_json: None,
        registered_at: now,
    })
}

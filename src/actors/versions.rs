//! Who decides for a tenant, and who decides beside it.

use crate::domain::ids::RunId;
use crate::domain::model::{BUDGETS, CHALLENGERS_MAX, Candidate, Constants, Role, VersionName};
use crate::domain::policy::{Outcome, Policy};
use crate::domain::time::Timestamp;
use crate::store::models::{ModelVersion, ShadowRun};
use crate::store::{Store, StoreError};

/// The versions in force.
#[derive(Debug, Clone)]
pub struct Versions {
    /// What decides.
    pub champion: Candidate,
    /// What decides beside it, by name.
    pub challengers: Vec<(VersionName, Candidate)>,
}

/// The versions that the registry names. Where it names a champion that this program has not, which
/// happens while nodes of two releases share a store, `fallback` decides, and it is told.
///
/// # Errors
/// When the store does not answer.
pub async fn in_force(
    store: &dyn Store,
    fallback: &'static dyn Policy,
) -> Result<Versions, StoreError> {
    let known = store.models().await?;
    let of = |role: Role| {
        let known = known.iter().filter(|v| v.model == BUDGETS);
        known.filter(move |version| version.role == role)
    };
    let candidate = |version: &ModelVersion| {
        let candidate = Candidate::of(&version.policy, version.constants);
        if candidate.is_none() {
            tracing::warn!(
                model.version = %version.version, policy = %version.policy,
                "this roasd has no policy {:?}, which the version {} is made of: update it, or \
                 choose another with `roasd models promote`",
                version.policy, version.version
            );
        }
        candidate
    };
    let champion = of(Role::Champion).next().and_then(candidate);
    Ok(Versions {
        champion: champion.unwrap_or(Candidate {
            policy: fallback,
            constants: Constants::default(),
        }),
        challengers: of(Role::Challenger)
            .filter_map(|version| Some((version.version.clone(), candidate(version)?)))
            .take(CHALLENGERS_MAX)
            .collect(),
    })
}

/// What a challenger decided beside a run of the champion's.
#[must_use]
pub fn shadow(
    version: &VersionName,
    run: &RunId,
    champion: &Outcome,
    challenger: &Outcome,
    at: Timestamp,
) -> ShadowRun {
    let shared = challenger
        .changes()
        .filter(|own| {
            let mut champions = champion.changes();
            champions.any(|c| c.subject == own.subject && c.action == own.action)
        })
        .count();
    let changes: Vec<serde_json::Value> = challenger
        .changes()
        .map(|decision| {
            let (_, to) = decision.change.told();
            serde_json::json!([decision.subject.to_string(), decision.action.as_str(), to])
        })
        .collect();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    ShadowRun {
        run: run.clone(),
        version: version.clone(),
        at,
        changes: count(changes.len()),
        shared: count(shared),
        changes_json: serde_json::Value::Array(changes).to_string(),
    }
}

//! Rows of `model_registry`, `model_history` and `shadow_decisions`; both stores take the statements
//! as they are.

use std::collections::BTreeMap;

use super::cells::{Cells, Columns};
use super::values::corrupt;
use crate::domain::model::{Constants, Event, HistoryLine, Role, VersionName};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::models::{ModelVersion, RoleChange, RoleChanged, ShadowRun};

const TABLE: &str = "model_registry";
const HISTORY: &str = "model_history";
const SHADOWS: &str = "shadow_decisions";

/// The first of a model is its champion; a later one becomes it by promotion alone.
pub(in crate::store) const REGISTER: &str =
    "insert into model_registry (name, version, params_json, revision, is_champion, registered_at,
         policy, policy_version, is_challenger)
     select $1, $2, $3, $4,
         case when exists (select 1 from model_registry where name = $1) then 0 else 1 end,
         $5, $6, $7,
         case when exists (select 1 from model_registry where name = $1) then cast($8 as bigint) else 0 end
     where true
     on conflict (name, version) do nothing";

pub(in crate::store) const LIST: &str =
    "select name, version, params_json, revision, is_champion, registered_at, policy,
         policy_version, is_challenger, evaluation_json
     from model_registry order by name, registered_at, version";

/// Every version of a model with its role, to judge a change of roles by.
pub(in crate::store) const ROLES: &str =
    "select version, is_champion, is_challenger from model_registry where name = $1";

pub(in crate::store) const SET_ROLE: &str =
    "update model_registry set is_champion = $3, is_challenger = $4
     where name = $1 and version = $2";

pub(in crate::store) const EVALUATED: &str =
    "update model_registry set evaluation_json = $3 where name = $1 and version = $2";

pub(in crate::store) const TELL: &str =
    "insert into model_history (name, version, event, before_version, actor, reason, evidence_json,
         at)
     values ($1, $2, $3, $4, $5, $6, $7, $8)";

/// A line of history that is written.
pub(in crate::store) struct Line<'l> {
    pub(in crate::store) model: &'l str,
    pub(in crate::store) version: &'l VersionName,
    pub(in crate::store) event: Event,
    pub(in crate::store) before: Option<&'l VersionName>,
    pub(in crate::store) actor: &'l str,
    pub(in crate::store) reason: &'l str,
    pub(in crate::store) evidence_json: Option<&'l str>,
    pub(in crate::store) at: Timestamp,
}

impl<'l> Line<'l> {
    /// That a change of roles was made, in the place of whom.
    pub(in crate::store) fn changed(
        change: &'l RoleChange,
        before: Option<&'l VersionName>,
    ) -> Self {
        Self {
            model: &change.model,
            version: &change.version,
            event: change.event,
            before,
            actor: &change.actor,
            reason: &change.reason,
            evidence_json: change.evidence_json.as_deref(),
            at: change.at,
        }
    }

    /// That a version was entered; `reason` is [`entered`]'s.
    pub(in crate::store) fn registered(model: &'l ModelVersion, reason: &'l str) -> Self {
        Self {
            model: &model.model,
            version: &model.version,
            event: Event::Registered,
            before: None,
            actor: "roasd",
            reason,
            evidence_json: None,
            at: model.registered_at,
        }
    }

    /// That a version was held against simulated markets.
    pub(in crate::store) const fn evaluated(
        model: &'l str,
        version: &'l VersionName,
        evaluation_json: &'l str,
        actor: &'l str,
        at: Timestamp,
    ) -> Self {
        Self {
            model,
            version,
            event: Event::Evaluated,
            before: None,
            actor,
            reason: "on simulated markets",
            evidence_json: Some(evaluation_json),
            at,
        }
    }
}

/// Why a version was entered.
pub(in crate::store) fn entered(model: &ModelVersion) -> String {
    format!("entered by release {}", model.revision)
}

pub(in crate::store) const TOLD: &str =
    "select version, event, before_version, actor, reason, at from model_history
     where name = $1 order by at, id";

pub(in crate::store) const KEEP_SHADOW: &str =
    "insert into shadow_decisions (tenant, version, at, run_id, changes_json, changes, shared)
     values ($1, $2, $3, $4, $5, $6, $7)
     on conflict (tenant, version, at, run_id) do nothing";

pub(in crate::store) const READ_SHADOWS: &str =
    "select run_id, version, at, changes_json, changes, shared from shadow_decisions
     where tenant = $1 and version = $2 and at >= $3 order by at, run_id";

/// The flags of a role: champion, challenger.
pub(in crate::store) const fn flags(role: Role) -> (i64, i64) {
    match role {
        Role::Champion => (1, 0),
        Role::Challenger => (0, 1),
        Role::Resting => (0, 0),
    }
}

const fn role(is_champion: bool, is_challenger: bool) -> Role {
    match (is_champion, is_challenger) {
        (true, _) => Role::Champion,
        (false, true) => Role::Challenger,
        (false, false) => Role::Resting,
    }
}

/// Constants as they are kept.
pub(in crate::store) fn constants_json(constants: &Constants) -> String {
    let values: BTreeMap<&str, f64> = constants.iter().collect();
    serde_json::json!(values).to_string()
}

fn constants(text: &str) -> Result<Constants, StoreError> {
    let values: BTreeMap<String, f64> =
        serde_json::from_str(text).map_err(|cause| corrupt(TABLE, cause))?;
    let pairs = values.iter().map(|(name, value)| (name.as_str(), *value));
    Constants::parse(pairs).map_err(|cause| corrupt(TABLE, cause))
}

fn version(table: &'static str, text: &str) -> Result<VersionName, StoreError> {
    text.parse().map_err(|cause| corrupt(table, cause))
}

/// Reads a version.
pub(in crate::store) fn read(row: &impl Cells) -> Result<ModelVersion, StoreError> {
    let row = Columns::of(TABLE, row);
    let number: i64 = row.get("policy_version")?;
    Ok(ModelVersion {
        model: row.get("name")?,
        version: version(TABLE, row.get("version")?)?,
        policy: row.get("policy")?,
        policy_version: u32::try_from(number).map_err(|cause| corrupt(TABLE, cause))?,
        constants: constants(row.get("params_json")?)?,
        revision: row.get("revision")?,
        role: role(row.flag("is_champion")?, row.flag("is_challenger")?),
        evaluation_json: row.get("evaluation_json")?,
        registered_at: row.at("registered_at")?,
    })
}

/// The roles that `to` leads to, by version, or why none changes. `rows` are those of [`ROLES`].
pub(in crate::store) fn judge<R: Cells>(
    rows: &[R],
    wanted: &VersionName,
    to: Role,
) -> Result<Result<Vec<(VersionName, Role)>, RoleChanged>, StoreError> {
    let mut known = Vec::with_capacity(rows.len());
    for row in rows {
        let row = Columns::of(TABLE, row);
        let role = role(row.flag("is_champion")?, row.flag("is_challenger")?);
        known.push((version(TABLE, row.get("version")?)?, role));
    }
    let Some((_, from)) = known.iter().find(|(version, _)| version == wanted) else {
        return Ok(Err(RoleChanged::Unknown));
    };
    if *from == to {
        return Ok(Err(RoleChanged::Already));
    }
    if *from == Role::Champion {
        return Ok(Err(RoleChanged::IsChampion));
    }
    // The old one goes first: there is never a second.
    let mut changes: Vec<(VersionName, Role)> = match to {
        Role::Champion => known
            .iter()
            .filter(|(_, role)| *role == Role::Champion)
            .map(|(version, _)| (version.clone(), Role::Challenger))
            .collect(),
        _ => Vec::new(),
    };
    changes.push((wanted.clone(), to));
    Ok(Ok(changes))
}

/// The champion whose place was taken by `changes`.
pub(in crate::store) fn replaced(changes: &[(VersionName, Role)]) -> Option<VersionName> {
    match changes {
        [(before, _), _] => Some(before.clone()),
        _ => None,
    }
}

/// Reads a line of history.
pub(in crate::store) fn read_line(row: &impl Cells) -> Result<HistoryLine, StoreError> {
    let row = Columns::of(HISTORY, row);
    let event: &str = row.get("event")?;
    let before: Option<&str> = row.get("before_version")?;
    Ok(HistoryLine {
        version: version(HISTORY, row.get("version")?)?,
        event: Event::parse(event)
            .ok_or_else(|| corrupt(HISTORY, format!("there is no event {event:?}")))?,
        before: before.map(|text| version(HISTORY, text)).transpose()?,
        actor: row.get("actor")?,
        reason: row.get("reason")?,
        at: row.at("at")?,
    })
}

/// Reads what a challenger decided.
pub(in crate::store) fn read_shadow(row: &impl Cells) -> Result<ShadowRun, StoreError> {
    let row = Columns::of(SHADOWS, row);
    let count = |name| {
        let number: i64 = row.get(name)?;
        u32::try_from(number).map_err(|cause| corrupt(SHADOWS, cause))
    };
    Ok(ShadowRun {
        run: row.id("run_id")?,
        version: version(SHADOWS, row.get("version")?)?,
        at: row.at("at")?,
        changes_json: row.get("changes_json")?,
        changes: count("changes")?,
        shared: count("shared")?,
    })
}

//! How tenants stand, and what their stages are worth.

use super::route::{Call, Reply, Route, Verb, Whose, serve};
use super::shape::{Shape, answer};
use super::words::Amount;
use crate::domain::api_token::Scope;
use crate::domain::time::Timestamp;
use crate::http::{Problem, snapshot};
use crate::store::tenants::Held;

pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/tenants",
        scope: Scope::Read,
        whose: Whose::Nobodys,
        about: "The tenants that this token is for.",
        query: &[],
        body: None,
        answer: Tenants::schema,
        serve: serve!(tenants),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/tenants/{tenant}/status",
        scope: Scope::Read,
        whose: Whose::Path,
        about: "How a tenant stands: what holds it, its inbox, its changes, its stages' last runs.",
        query: &[],
        body: None,
        answer: Status::schema,
        serve: serve!(status),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/tenants/{tenant}/stages",
        scope: Scope::Read,
        whose: Whose::Path,
        about: "What a deal is worth in each stage, in order of the funnel.",
        query: &[],
        body: None,
        answer: Stages::schema,
        serve: serve!(stages),
    },
];

answer! {
    /// Tenants.
    Tenants {
        /// By id.
        tenants: Vec<TenantName>,
    }

    /// A tenant.
    TenantName {
        /// Its id, as in paths.
        id: String,
        /// What people call it.
        name: String,
        /// The ad account's currency.
        currency: String,
    }

    /// How a tenant stands.
    Status {
        /// The tenant.
        tenant: String,
        /// When this was so; read once in a second at most.
        at: String,
        /// Whether its actors run on this node.
        is_running: bool,
        /// The node that works for it, where that is another one.
        elsewhere: Option<String>,
        /// Whether something has been wrong for longer than its grace.
        is_down: bool,
        /// What is wrong.
        troubles: Vec<Trouble>,
        /// The whole daemon is paused.
        daemon_paused: Option<Hold>,
        /// The tenant is paused.
        paused: Option<Hold>,
        /// Its actors failed too often, and somebody must resume it.
        parked: Option<Hold>,
        /// A vendor refuses it, until it does not.
        suspended: Option<Hold>,
        /// Its inbox.
        inbox: InboxView,
        /// Its changes by state; states without any are left out.
        changes: Vec<StateCount>,
        /// The last run of each stage.
        stages: Vec<StageRun>,
    }

    /// Something wrong.
    Trouble {
        /// What.
        what: String,
        /// Since when.
        since: String,
    }

    /// Why writes are held, and since when.
    Hold {
        /// By whom.
        by: String,
        /// Why.
        reason: String,
        /// Since when.
        since: String,
    }

    /// How full an inbox is.
    InboxView {
        /// Deliveries that wait.
        waiting: u64,
        /// When the oldest of them came.
        oldest_at: Option<String>,
        /// Deliveries in quarantine.
        quarantined: u64,
    }

    /// How many changes are in a state.
    StateCount {
        /// The state.
        state: String,
        /// How many.
        count: u64,
    }

    /// How a stage of the work stands.
    StageRun {
        /// Its name.
        stage: String,
        /// When it last did its work without trouble.
        last_success: Option<String>,
        /// What is in its way.
        trouble: Option<String>,
        /// How often it was started again.
        restarts: u64,
    }

    /// What stages are worth.
    Stages {
        /// In order of the funnel.
        stages: Vec<StageWorth>,
    }

    /// What a stage is worth.
    StageWorth {
        /// Its name.
        name: String,
        /// What a deal in it is worth; already the expectation.
        value: Amount,
        /// How sure the owner is, 0 to 1; never multiplied in.
        confidence: f64,
        /// What it means.
        description: Option<String>,
        /// The CRM's ids of it.
        crm_stages: Vec<String>,
        /// The sale.
        is_won: bool,
        /// The end without one.
        is_lost: bool,
    }
}

pub(super) fn text(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

impl From<&Held> for Hold {
    fn from(held: &Held) -> Self {
        Self {
            by: held.by.clone(),
            reason: held.reason.clone(),
            since: held.since.to_string(),
        }
    }
}

async fn tenants(call: Call) -> Result<Reply, Problem> {
    let settings = call.state.settings.load();
    let own = settings
        .tenants
        .iter()
        .filter(|(id, _)| call.token.is_for(id));
    let tenants = own
        .map(|(id, entry)| TenantName {
            id: id.to_string(),
            name: entry.api.name.clone(),
            currency: entry.api.currency.code().to_owned(),
        })
        .collect();
    Reply::json(&Tenants { tenants })
}

async fn status(call: Call) -> Result<Reply, Problem> {
    let (tenant, _) = call.tenant()?;
    let snapshot = snapshot::look(&call.state).await;
    let view = snapshot
        .tenants
        .get(tenant)
        .ok_or_else(Problem::not_found)?;
    // The probes bear a store that is out; who asks here wants what it says.
    let mut rows = call
        .state
        .store
        .overview(std::slice::from_ref(tenant))
        .await?;
    let rows = rows.remove(tenant).unwrap_or_default();
    let hold = |held: &Option<Held>| held.as_ref().map(Hold::from);
    let troubles = view.troubles.iter().map(|trouble| Trouble {
        what: trouble.what.clone(),
        since: trouble.since.to_string(),
    });
    let stages = view.health.stages.iter().map(|(stage, health)| StageRun {
        stage: stage.to_string(),
        last_success: text(health.last_success),
        trouble: health.trouble.clone(),
        restarts: health.restarts,
    });
    let changes = rows.changes.iter().map(|(state, count)| StateCount {
        state: state.as_str().to_owned(),
        count: *count,
    });
    Reply::json(&Status {
        tenant: tenant.to_string(),
        at: snapshot.now.to_string(),
        is_running: view.health.is_running,
        elsewhere: view.health.elsewhere.clone(),
        is_down: view.is_down,
        troubles: troubles.collect(),
        daemon_paused: hold(&rows.holds.daemon_paused),
        paused: hold(&rows.holds.paused),
        parked: hold(&rows.holds.parked),
        suspended: hold(&rows.holds.suspended),
        inbox: InboxView {
            waiting: rows.inbox.waiting,
            oldest_at: text(rows.inbox.oldest_at),
            quarantined: rows.inbox.quarantined,
        },
        changes: changes.collect(),
        stages: stages.collect(),
    })
}

async fn stages(call: Call) -> Result<Reply, Problem> {
    let (_, entry) = call.tenant()?;
    let stages = entry.api.stages.all().iter().map(|stage| StageWorth {
        name: stage.name.to_string(),
        value: stage.value.into(),
        confidence: stage.confidence,
        description: entry.api.descriptions.get(&stage.name).cloned(),
        crm_stages: stage.vendor_ids.iter().map(ToString::to_string).collect(),
        is_won: stage.is_won,
        is_lost: stage.is_lost,
    });
    Reply::json(&Stages {
        stages: stages.collect(),
    })
}

//! Changes to the ad account, and a person's yes, no and undo. None of them is sent from here: the
//! executor judges each anew before it is.

use axum::http::StatusCode;

use super::route::{
    Body, CURSOR_PARAM, Call, Kind, LIMIT_PARAM, Param, Reply, Route, Verb, Whose, bad_query, serve,
};
use super::shape::{Shape, answer, request};
use super::words::{Object, Setting};
use crate::domain::api_token::Scope;
use crate::domain::audit::ChainedEntry;
use crate::domain::change::{ChangeState, Origin, PendingChange};
use crate::domain::ids::ChangeId;
use crate::domain::time::{self, Timestamp};
use crate::http::Problem;
use crate::store::changes::{ChangeFilter, Proposal, propose_undo};

const STATE_PARAM: Param = Param {
    name: "state",
    kind: Kind::Text,
    about: "Only those in this state: awaiting_approval, pending, claimed, executing, completed, \
            failed, cancelled, rejected, refused or expired; `open` for all that are not closed.",
};

/// The largest reason, with all around it, in bytes.
const REASON_MAX: usize = 4 * 1024;

pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/tenants/{tenant}/changes",
        scope: Scope::Read,
        whose: Whose::Path,
        about: "Changes to the ad account, newest first.",
        query: &[LIMIT_PARAM, CURSOR_PARAM, STATE_PARAM],
        body: None,
        answer: Changes::schema,
        serve: serve!(list),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/tenants/{tenant}/changes/{id}",
        scope: Scope::Read,
        whose: Whose::Path,
        about: "One change, with its lines in the audit log.",
        query: &[],
        body: None,
        answer: ChangeHistory::schema,
        serve: serve!(show),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/tenants/{tenant}/changes/{id}/approve",
        scope: Scope::Approve,
        whose: Whose::Path,
        about: "Lets a waiting change be sent. It is due at once, and the guards judge it anew.",
        query: &[],
        body: None,
        answer: ChangeView::schema,
        serve: serve!(approve),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/tenants/{tenant}/changes/{id}/reject",
        scope: Scope::Approve,
        whose: Whose::Path,
        about: "Turns a change down for good that is not being sent.",
        query: &[],
        body: Some(Body {
            schema: Reason::schema,
            max: REASON_MAX,
            is_optional: true,
        }),
        answer: ChangeView::schema,
        serve: serve!(reject),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/tenants/{tenant}/changes/{id}/undo",
        scope: Scope::Approve,
        whose: Whose::Path,
        about: "Restores the value before a completed change, through the same gate and guards.",
        query: &[],
        body: None,
        answer: Undo::schema,
        serve: serve!(undo),
    },
];

request! {
    /// Why.
    Reason {
        /// Why, for the audit log; name nobody in it, since it is kept for ever.
        reason: Option<String>,
    }
}

answer! {
    /// Changes.
    Changes {
        /// Newest first.
        changes: Vec<ChangeView>,
        /// Where to go on; null at the end.
        next: Option<String>,
    }

    /// A change.
    ChangeView {
        /// Its id.
        id: String,
        /// What about.
        object: Object,
        /// The campaign it is in.
        campaign: String,
        /// The value it was decided on.
        from: Setting,
        /// The value it asks for.
        to: Setting,
        /// The value that was or will be sent, where the guards clipped it.
        sent: Option<Setting>,
        /// Its state.
        state: String,
        /// The guard that acted on it last.
        rule: Option<String>,
        /// What became of it last.
        note: String,
        /// Why it was proposed.
        reason: String,
        /// The decision behind it.
        decision: Option<String>,
        /// The change that it undoes.
        undoes: Option<String>,
        /// How sure the decision is, 0 to 1.
        confidence: f64,
        /// How often it was tried.
        attempt: i64,
        /// When it was proposed.
        proposed_at: String,
        /// Not sent before.
        earliest_at: String,
        /// Lapses then.
        expires_at: String,
        /// When it last moved.
        updated_at: String,
    }

    /// A change with what happened to it.
    ChangeHistory {
        /// The change.
        change: ChangeView,
        /// Why, as the decision says it.
        paragraph: Option<String>,
        /// Its lines in the audit log, oldest first.
        audit: Vec<AuditLine>,
    }

    /// A line of the audit log.
    AuditLine {
        /// Its number.
        sequence: i64,
        /// When.
        at: String,
        /// What happened.
        event: String,
        /// Who did it.
        actor: String,
        /// The value before.
        before: Option<Setting>,
        /// The value after.
        after: Option<Setting>,
        /// The guard.
        rule: Option<String>,
        /// More.
        detail: String,
        /// Meta's number of the call.
        vendor_request: Option<String>,
        /// The hash of this line, over that of the one before.
        hash: String,
    }

    /// What became of an undo.
    Undo {
        /// The change undone.
        undoes: String,
        /// The change that restores the value; null where an older one asks for the same.
        change: Option<String>,
        /// What became of it, in words.
        outcome: String,
        /// The value in force.
        from: Setting,
        /// The value to be restored.
        to: Setting,
    }
}

impl Reason {
    /// The reason, or what stands for one.
    pub(super) fn or(self, usual: &str) -> String {
        self.reason
            .filter(|reason| !reason.trim().is_empty())
            .unwrap_or_else(|| usual.to_owned())
    }
}

impl ChangeView {
    pub(super) fn of(change: &PendingChange) -> Self {
        let p = &change.proposed;
        let (decision, undoes) = match &p.origin {
            Origin::Decision(id) => (Some(id.to_string()), None),
            Origin::Undo(id) => (None, Some(id.to_string())),
            Origin::Stop => (None, None),
        };
        Self {
            id: p.id.to_string(),
            object: Object::new(&p.entity, &p.entity_name),
            campaign: p.campaign.to_string(),
            from: p.expected.into(),
            to: p.requested.into(),
            sent: change.intent.map(Setting::from),
            state: change.state.as_str().to_owned(),
            rule: change.rule.clone(),
            note: change.note.clone(),
            reason: p.reason.clone(),
            decision,
            undoes,
            confidence: p.confidence,
            attempt: change.attempt,
            proposed_at: p.proposed_at.to_string(),
            earliest_at: p.earliest_at.to_string(),
            expires_at: p.expires_at.to_string(),
            updated_at: change.updated_at.to_string(),
        }
    }
}

fn line(line: ChainedEntry) -> AuditLine {
    let entry = line.entry;
    AuditLine {
        sequence: line.sequence,
        at: entry.at.to_string(),
        event: entry.event.as_str().to_owned(),
        actor: entry.actor,
        before: entry.before.map(Setting::from),
        after: entry.after.map(Setting::from),
        rule: entry.rule,
        detail: entry.detail,
        vendor_request: entry.vendor_request,
        hash: line.hash,
    }
}

/// Where a list of changes goes on: after the one proposed then, of that id.
fn place(text: &str) -> Option<(Timestamp, ChangeId)> {
    let (micros, id) = text.split_once('.')?;
    Some((time::from_micros(micros.parse().ok()?), id.parse().ok()?))
}

async fn list(call: Call) -> Result<Reply, Problem> {
    let (tenant, _) = call.tenant()?;
    let limit = call.limit()?;
    let before = call.cursor(place)?;
    let states = match call.query.get("state").map(String::as_str) {
        None => Vec::new(),
        Some("open") => {
            let open = |state: &ChangeState| state.is_open();
            ChangeState::ALL.into_iter().filter(open).collect()
        }
        Some(name) => {
            let state = ChangeState::parse(name);
            vec![state.ok_or_else(|| bad_query("state", STATE_PARAM.about))?]
        }
    };
    let filter = ChangeFilter {
        tenant: Some(tenant.clone()),
        states,
        limit,
    };
    let found = call
        .state
        .store
        .changes_before(&filter, before.as_ref())
        .await?;
    let is_full = found.len() >= limit as usize;
    let next = found.last().filter(|_| is_full).map(|change| {
        let p = &change.proposed;
        format!("{}.{}", time::to_micros(p.proposed_at), p.id)
    });
    Reply::json(&Changes {
        changes: found.iter().map(ChangeView::of).collect(),
        next,
    })
}

/// The change that the path names, if it is the tenant's.
async fn named(call: &Call) -> Result<PendingChange, Problem> {
    let (tenant, _) = call.tenant()?;
    let found = call.state.store.change(call.part("id")).await?;
    found
        .filter(|change| change.proposed.tenant == *tenant)
        .ok_or_else(|| {
            Problem::new(
                StatusCode::NOT_FOUND,
                "no change of this tenant has that id, or more than one begins so; \
                 GET …/changes lists them",
            )
        })
}

async fn show(call: Call) -> Result<Reply, Problem> {
    let change = named(&call).await?;
    let store = &call.state.store;
    let p = &change.proposed;
    let lines = store.audit_of_change(&p.tenant, &p.id).await?;
    let paragraph = match &p.origin {
        Origin::Decision(decision) => store
            .decision(decision.as_str())
            .await?
            .map(|(_, _, decision)| decision.paragraph),
        Origin::Undo(_) | Origin::Stop => None,
    };
    Reply::json(&ChangeHistory {
        change: ChangeView::of(&change),
        paragraph,
        audit: lines.into_iter().map(line).collect(),
    })
}

/// What a caller is told whose change is not where it must be.
fn moved_on(change: &PendingChange, what: &str) -> Problem {
    let state = change.state.as_str();
    Problem::new(
        StatusCode::CONFLICT,
        format!("the change {what}: it is {state}"),
    )
}

async fn approve(call: Call) -> Result<Reply, Problem> {
    let change = named(&call).await?;
    let store = &call.state.store;
    let done = store
        .approve_change(&change.proposed.id, &call.actor(), call.now())
        .await?
        .ok_or_else(|| moved_on(&change, "does not wait for approval, or has lapsed"))?;
    store.nudge(&change.proposed.tenant);
    Reply::json(&ChangeView::of(&done))
}

async fn reject(call: Call) -> Result<Reply, Problem> {
    let change = named(&call).await?;
    let reason = call.read_or::<Reason>()?.or("turned down by the API");
    let store = &call.state.store;
    let done = store
        .reject_change(&change.proposed.id, &call.actor(), &reason, call.now())
        .await?
        .ok_or_else(|| moved_on(&change, "cannot be turned down any more"))?;
    store.nudge(&change.proposed.tenant);
    Reply::json(&ChangeView::of(&done))
}

async fn undo(call: Call) -> Result<Reply, Problem> {
    let change = named(&call).await?;
    let store = &*call.state.store;
    let seed = u64::from(std::process::id());
    let (proposed, outcome) = propose_undo(store, &change, &call.actor(), seed, call.now())
        .await?
        .map_err(|why| Problem::new(StatusCode::CONFLICT, why.to_string()))?;
    let (is_new, outcome) = match outcome {
        Proposal::Queued => (true, "queued".to_owned()),
        Proposal::Superseded(old) => (
            true,
            format!("queued; it takes the place of change {old}, which is cancelled"),
        ),
        Proposal::SameAsOpen(open) => (
            false,
            format!("nothing to add: change {open} asks for the same already"),
        ),
        Proposal::Busy(busy) => {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                format!("change {busy} of the same object is being sent just now; come again"),
            )
            .retry_after(60));
        }
    };
    Reply::json(&Undo {
        undoes: change.proposed.id.to_string(),
        change: is_new.then(|| proposed.id.to_string()),
        outcome,
        from: proposed.expected.into(),
        to: proposed.requested.into(),
    })
}

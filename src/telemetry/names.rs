//! Every metric of roasd: its name, its kind, its labels and what it tells.
//!
//! A label takes few values: a tenant, a stage, a rule, an outcome; never an ad, a change or a
//! person, since each new value is a series that is kept for ever.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Always 1; label `version`.
pub const BUILD_INFO: &str = "roasd_build_info";
/// Unix time of a stage's last success; labels `tenant`, `stage`.
pub const STAGE_LAST_SUCCESS_SECONDS: &str = "roasd_stage_last_success_seconds";
/// Restarts of a stage after a failure; labels `tenant`, `stage`.
pub const STAGE_RESTARTS_TOTAL: &str = "roasd_stage_restarts_total";
/// Changes that reached a final state; labels `tenant`, `outcome`.
pub const CHANGES_TOTAL: &str = "roasd_changes_total";
/// Changes that a guard put off, refused or clipped; labels `tenant`, `rule`.
pub const GUARD_HELD_TOTAL: &str = "roasd_guard_held_total";
/// Decisions made; labels `tenant`, `kind`.
pub const DECISIONS_TOTAL: &str = "roasd_decisions_total";
/// Conversions attributed, by layer, or left unattributed; labels `tenant`, `layer`.
pub const ATTRIBUTIONS_TOTAL: &str = "roasd_attributions_total";
/// The share of conversions credited to an ad within the guard's window, from 0 to 1; label `tenant`.
pub const COVERAGE_RATIO: &str = "roasd_coverage_ratio";
/// Conversions within that window; labels `tenant`, `layer` (`none`: credited to no ad).
pub const COVERAGE_CONVERSIONS: &str = "roasd_coverage_conversions";
/// Deliveries not yet worked off; label `tenant`.
pub const INBOX_DEPTH: &str = "roasd_inbox_depth";
/// Open changes; labels `tenant`, `state`.
pub const QUEUE_DEPTH: &str = "roasd_queue_depth";
/// Calls to Meta; labels `tenant`, `kind` (read or write), `outcome`.
pub const META_CALLS_TOTAL: &str = "roasd_meta_calls_total";
/// Seconds from a call to Meta to its answer; label `kind`.
pub const META_CALL_SECONDS: &str = "roasd_meta_call_seconds";
/// Calls to HubSpot; labels `tenant`, `outcome`.
pub const HUBSPOT_CALLS_TOTAL: &str = "roasd_hubspot_calls_total";
/// What is left of a rate limit, from 0 to 1; labels `tenant`, `kind`: `meta` for the closest one,
/// and one for each limit of Meta's.
pub const GATE_HEADROOM_RATIO: &str = "roasd_gate_headroom_ratio";
/// 1 while Meta lets some calls of a tenant's account wait out a block, else 0; label `tenant`.
pub const GATE_CLOSED: &str = "roasd_gate_closed";
/// 1 where calls are counted by the large tier, 0 by the small one; label `tenant`.
pub const GATE_FULL_TIER: &str = "roasd_gate_full_tier";
/// Webhook deliveries by what became of them; label `outcome`.
pub const WEBHOOKS_TOTAL: &str = "roasd_webhooks_total";
/// Seconds from a webhook's arrival to its acknowledgement.
pub const WEBHOOK_ACK_SECONDS: &str = "roasd_webhook_ack_seconds";
/// Reports of visits by what became of them; labels `tenant`, `outcome`.
pub const CLICKS_TOTAL: &str = "roasd_clicks_total";
/// 1 while a tenant's writes are stopped by a person, else 0; label `tenant`.
pub const TENANT_PAUSED: &str = "roasd_tenant_paused";
/// 1 while a tenant is parked after repeated failures, else 0; label `tenant`.
pub const TENANT_PARKED: &str = "roasd_tenant_parked";

/// 1 while a breaker stops changes, else 0; labels `tenant`, `breaker`.
pub const BREAKER_TRIPPED: &str = "roasd_breaker_tripped";

/// Messages to people by what became of them; labels `channel`, `outcome`.
pub const ALERTS_TOTAL: &str = "roasd_alerts_total";
/// Tenants that this node works for, where several nodes share the store.
pub const NODE_TENANTS: &str = "roasd_node_tenants";
/// Nodes that share the store and live.
pub const NODES_LIVE: &str = "roasd_nodes_live";

/// The histograms and their upper bounds, in seconds.
pub(super) const HISTOGRAMS: &[(&str, &[f64])] = &[
    (
        META_CALL_SECONDS,
        &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0],
    ),
    (
        WEBHOOK_ACK_SECONDS,
        &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0],
    ),
];

/// Tells the installed recorder what each metric means, for the `# HELP` lines.
pub(super) fn describe() {
    describe_gauge!(BUILD_INFO, "The version that runs; always 1");
    describe_gauge!(
        STAGE_LAST_SUCCESS_SECONDS,
        Unit::Seconds,
        "Unix time of the last success of a stage"
    );
    describe_counter!(STAGE_RESTARTS_TOTAL, "Restarts of a stage after a failure");
    describe_counter!(CHANGES_TOTAL, "Ad changes that reached a final state");
    describe_counter!(
        GUARD_HELD_TOTAL,
        "Ad changes that a guard put off, refused or clipped"
    );
    describe_counter!(DECISIONS_TOTAL, "Decisions made");
    describe_counter!(
        ATTRIBUTIONS_TOTAL,
        "Conversions by the layer that attributed them"
    );
    describe_gauge!(
        COVERAGE_RATIO,
        "Share of conversions credited to an ad within the window of the guard"
    );
    describe_gauge!(
        COVERAGE_CONVERSIONS,
        "Conversions within the window of the guard, by the layer that credited them"
    );
    describe_gauge!(INBOX_DEPTH, "Deliveries not yet worked off");
    describe_gauge!(QUEUE_DEPTH, "Open ad changes");
    describe_counter!(META_CALLS_TOTAL, "Calls to Meta");
    describe_histogram!(
        META_CALL_SECONDS,
        Unit::Seconds,
        "Time from a call to Meta to its answer"
    );
    describe_counter!(HUBSPOT_CALLS_TOTAL, "Calls to HubSpot");
    describe_gauge!(
        GATE_HEADROOM_RATIO,
        "What is left of a rate limit, from 0 to 1"
    );
    describe_gauge!(
        GATE_CLOSED,
        "1 while calls to Meta wait out a block of its limits"
    );
    describe_gauge!(
        GATE_FULL_TIER,
        "1 where calls to Meta are counted by the large tier"
    );
    describe_counter!(WEBHOOKS_TOTAL, "Webhook deliveries by what became of them");
    describe_counter!(CLICKS_TOTAL, "Reports of visits by what became of them");
    describe_histogram!(
        WEBHOOK_ACK_SECONDS,
        Unit::Seconds,
        "Time from the arrival of a webhook to its acknowledgement"
    );
    describe_gauge!(
        TENANT_PAUSED,
        "1 while a person has stopped the writes of a tenant"
    );
    describe_gauge!(
        TENANT_PARKED,
        "1 while a tenant is parked after repeated failures"
    );
    describe_gauge!(
        BREAKER_TRIPPED,
        "1 while a breaker stops changes of a tenant"
    );
    describe_counter!(ALERTS_TOTAL, "Messages to people by what became of them");
    describe_gauge!(NODE_TENANTS, "Tenants that this node works for");
    describe_gauge!(NODES_LIVE, "Nodes that share the store and live");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_have_rising_bounds() {
        for (name, bounds) in HISTOGRAMS {
            assert!(name.ends_with("_seconds"), "{name}");
            assert!(!bounds.is_empty() && bounds.is_sorted(), "{name}");
        }
    }
}

//! Black-box and conformance tests.

// Helpers outside `#[test]` functions may panic as tests do; this is how the linter is told.
#![cfg(test)]

mod advise;
mod alerts;
mod api;
mod attribution_evaluation;
mod attribution_plans;
mod attribution_truth;
mod browser;
mod check_online;
mod cli_store;
mod config;
mod conversion_journey;
mod crm_proof;
mod demo_runs;
mod error_table;
mod faults;
mod figures_journey;
mod housekeeper;
mod http_api;
mod insight_journey;
mod layers;
mod lead_journey;
mod models;
mod move_store;
mod nodes;
mod pauses;
mod policy_evaluation;
mod postgres_sessions;
mod reports;
mod revaluation;
mod run_service;
mod sandbox;
mod simulation;
mod store_conformance;
mod supervision;
mod support;
mod sync_journey;
mod systemd;
mod vendor_errors;
mod winners;
mod winners_journey;

//! Black-box and conformance tests.

// Helpers outside `#[test]` functions may panic as tests do; this is how the linter is told.
#![cfg(test)]

mod advise;
mod cli_store;
mod config;
mod demo_runs;
mod http_api;
mod layers;
mod sandbox;
mod store_conformance;
mod support;
mod systemd;
mod vendor_errors;

//! Black-box and conformance tests.

// Helpers outside `#[test]` functions may panic as tests do; this is how the linter is told.
#![cfg(test)]

mod config;
mod http_api;
mod layers;
mod systemd;
mod vendor_errors;

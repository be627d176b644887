//! Black-box and conformance tests.

// Helpers outside `#[test]` functions may panic as tests do; this is how the linter is told.
#![cfg(test)]

mod layers;
mod sandbox;
mod systemd;
mod vendor_errors;

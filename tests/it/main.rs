//! Black-box and conformance tests.

mod config;

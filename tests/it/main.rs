//! Black-box and conformance tests.

mod layers;
mod systemd;

//! Black-box and conformance tests.

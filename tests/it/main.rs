//! Black-box and conformance tests.

mod vendor_errors;

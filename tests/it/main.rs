//! Black-box and conformance tests.

mod store_conformance;

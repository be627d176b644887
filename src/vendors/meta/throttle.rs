//! The gate: every call to Meta, read or write, spends a [`Permit`] made here.

/// Leave to make one call. Cannot be copied, and is used up by the call.
#[derive(Debug)]
pub struct Permit {
    _private: (),
}

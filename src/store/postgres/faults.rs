//! Which of PostgreSQL's errors are weather and which are bugs.

use crate::store::StoreError;

/// Classes and codes of errors that pass by themselves or by an operator's hand.
/// Source: PostgreSQL, "Appendix A. PostgreSQL Error Codes".
const WEATHER: [&str; 14] = [
    "08",    // the connection broke
    "28",    // the role or its password is not accepted any more
    "3D000", // the database is gone: it is being restored
    "53",    // no memory, no disk, no free connection
    "57P0",  // the server is being shut down, crashed, starts, or ended an idle session
    "57014", // the statement took too long
    "58",    // the disk gives errors
    "40001", // it collided with another transaction
    "40P01", // it waited in a circle with another transaction
    "55P03", // a lock was not to be had in time
    "25006", // the server is read-only: a standby, or its disk is full
    "25P03", // the transaction was left idle: this process was stopped meanwhile
    "25P04", // the transaction took too long
    "72",    // the snapshot is too old
];

/// Whether an error is weather: nothing is wrong with what was asked.
pub(super) fn is_weather(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        // A server that ends in the middle of a greeting leaves half an answer.
        | sqlx::Error::Protocol(_)
        | sqlx::Error::BeginFailed => true,
        sqlx::Error::Database(cause) => cause
            .code()
            .is_some_and(|code| WEATHER.iter().any(|known| code.starts_with(known))),
        _ => false,
    }
}

/// Whether an error came with the loss of its connection, which others may share.
pub(super) fn connection_is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(cause) => cause
            .code()
            .is_some_and(|code| code.starts_with("08") || code.starts_with("57P0")),
        _ => false,
    }
}

/// How errors of one undertaking are told, such as `"settling a deal"`.
pub(super) fn fault(doing: &'static str) -> impl Fn(sqlx::Error) -> StoreError + Copy {
    move |error| {
        let weather = is_weather(&error);
        let cause = Box::new(error);
        if weather {
            StoreError::Unavailable { doing, cause }
        } else {
            StoreError::Broken { doing, cause }
        }
    }
}

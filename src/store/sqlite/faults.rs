//! Which of SQLite's errors are weather and which are bugs.

use crate::store::StoreError;

/// SQLite's primary result codes that pass by themselves or by an operator's hand: busy, locked,
/// out of memory, read-only, interrupted, I/O, full, cannot open, protocol (a race for the WAL).
/// Source: SQLite, "Result and Error Codes".
const WEATHER: [i32; 9] = [5, 6, 7, 8, 9, 10, 13, 14, 15];

/// Whether an error is weather: nothing is wrong with what was asked.
pub(super) fn is_weather(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(cause) => {
            primary_code(cause.as_ref()).is_some_and(|code| WEATHER.contains(&code))
        }
        _ => false,
    }
}

/// The primary code within an extended one.
pub(super) fn primary_code(cause: &dyn sqlx::error::DatabaseError) -> Option<i32> {
    let code: i32 = cause.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// Whether another connection holds what was asked for.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(primary_code)
        .is_some_and(|code| matches!(code, 5 | 6))
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

//! Whoever gives up on PostgreSQL half-way leaves no connection behind that is in a transaction.

use std::pin::pin;

use futures_util::FutureExt as _;
use roasd::domain::ids::TenantId;
use roasd::domain::time;
use roasd::domain::visit::{AdParameters, Visit};
use roasd::store;

use crate::support::postgres::Database;

#[tokio::test]
async fn a_transaction_that_is_given_up_while_it_begins_is_over() {
    let database = Database::migrated().await;
    let store = store::open_pooled(database.url(), 2, store::Durability::Machine)
        .await
        .unwrap();
    let mut raw = database.raw().await;
    let tenant = TenantId::new("gym").unwrap();
    let visit = Visit {
        id: "v-00000001".parse().unwrap(),
        at: time::from_seconds(1_790_000_000),
        ad: AdParameters::default(),
        has_consent: false,
        fingerprint: None,
        ip: None,
        user_agent: None,
    };
    for polls in 0..200 {
        {
            let mut asked = pin!(store.set_consent(&tenant, &visit));
            for _ in 0..polls {
                if asked.as_mut().now_or_never().is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        // The server is heard until it says so; one that stays in a transaction never does.
        let mut open = 1_i64;
        for _ in 0..2_000 {
            open = sqlx::query_scalar(
                "select count(*) from pg_stat_activity
                 where datname = current_database() and pid <> pg_backend_pid()
                   and state like 'idle in transaction%'",
            )
            .fetch_one(&mut raw)
            .await
            .unwrap();
            if open == 0 {
                break;
            }
        }
        assert_eq!(open, 0, "given up after {polls} polls");
    }
    store.close().await;
}

//! Nudges by `listen` and `notify`.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool};
use tokio::sync::{broadcast, mpsc};

use super::PostgresStore;
use super::session::{self, Patience};
use crate::domain::ids::TenantId;
use crate::store::StoreError;
use crate::store::nudges::{NUDGES_KEPT, Nudge, NudgeStore, Nudges};

const CHANNEL: &str = "roasd_nudge";

/// How long a listener hears nothing before it asks whether the server is still there.
const QUIET: Duration = Duration::from_secs(20);

/// How long it waits for the answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How long it waits before it connects again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// The way to the task that notifies: nudges that come while others are on their way go together,
/// and one tenant is told once, since each notification of a commit passes a lock of the whole
/// server. The task ends with the last of its senders.
#[derive(Debug, Clone)]
pub(super) struct Nudger(mpsc::Sender<TenantId>);

impl Nudger {
    /// Starts the task.
    pub(super) fn start(pool: PgPool, patience: Patience) -> Self {
        let (sender, mut receiver) = mpsc::channel::<TenantId>(NUDGES_KEPT);
        tokio::spawn(async move {
            let mut asked = Vec::new();
            while receiver.recv_many(&mut asked, NUDGES_KEPT).await > 0 {
                let tenants: BTreeSet<TenantId> = asked.drain(..).collect();
                let _ = notify(&pool, &patience, &tenants).await; // it only costs time
            }
        });
        Self(sender)
    }
}

async fn notify(
    pool: &PgPool,
    patience: &Patience,
    tenants: &BTreeSet<TenantId>,
) -> Result<(), StoreError> {
    let names: Vec<&str> = tenants.iter().map(TenantId::as_str).collect();
    let mut session = session::reader(pool, patience, "nudging").await?;
    session
        .run(
            sqlx::query("select pg_notify($1, tenant) from unnest($2::text[]) as nudged (tenant)")
                .bind(CHANNEL)
                .bind(names),
        )
        .await?;
    Ok(())
}

impl NudgeStore for PostgresStore {
    fn nudge(&self, tenant: &TenantId) {
        let _ = self.nudger.0.try_send(tenant.clone()); // too many at once: a timer will do
    }

    fn nudges(&self) -> Nudges {
        let sender = broadcast::Sender::new(NUDGES_KEPT);
        let nudges = Nudges::new(None, sender.subscribe());
        let (pool, mut closing) = (self.server.listener(), self.pool.close_event());
        tokio::spawn(async move {
            let _ = closing.do_until(listen(pool, sender)).await; // the store is closed
        });
        nudges
    }
}

/// Listens until nobody hears it any more.
async fn listen(pool: PgPool, sender: broadcast::Sender<Nudge>) {
    while sender.receiver_count() > 0 {
        if let Ok(mut listener) = connect(&pool).await {
            // What was told before this moment was missed.
            if sender.send(Nudge::Any).is_err() {
                return;
            }
            tokio::select! {
                () = hear(&mut listener, &sender) => {}
                () = sender.closed() => return,
            }
        }
        pause(AGAIN_AFTER).await;
    }
}

async fn connect(pool: &PgPool) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    // A lost connection is for the caller to tell of.
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Passes on what it hears until the connection is lost.
async fn hear(listener: &mut PgListener, sender: &broadcast::Sender<Nudge>) {
    loop {
        match tokio::time::timeout(QUIET, listener.try_recv()).await {
            Ok(Ok(Some(heard))) => {
                // Whatever else may be sent on this channel is nobody's nudge.
                if let Ok(tenant) = TenantId::new(heard.payload()) {
                    let _ = sender.send(Nudge::Tenant(tenant)); // the loop above sees who listens
                }
            }
            Ok(Ok(None) | Err(_)) => return,
            // A server that vanished without a word would otherwise be listened to for ever.
            Err(_) => {
                let asked = sqlx::query("select 1").execute(&mut *listener);
                if !matches!(tokio::time::timeout(ANSWER_WITHIN, asked).await, Ok(Ok(_))) {
                    return;
                }
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a connection is tried again in wall time, whatever time the daemon rehearses in"
)]
async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

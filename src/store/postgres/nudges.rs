//! Nudges by `listen` and `notify`.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::PostgresStore;
use super::session::{self, Patience};
use crate::domain::ids::TenantId;
use crate::store::StoreError;
use crate::store::nudges::{NUDGES_KEPT, Nudge, NudgeStore, Nudges};

const CHANNEL: &str = "roasd_nudge";

/// What is sent in place of a tenant's name to tell of any: no tenant is called so.
const ANY: &str = "*";

/// What stands before a tenant's name to tell that its sync is asked for: no tenant is called so, and
/// an older node takes it for nobody's nudge.
const SYNC: char = '!';

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
pub(super) struct Nudger(mpsc::Sender<Word>);

/// What the task is told.
#[derive(Debug)]
enum Word {
    Nudge(Nudge),
    /// Answered when all that came before is sent.
    Flush(oneshot::Sender<()>),
}

impl Nudger {
    /// Starts the task.
    pub(super) fn start(pool: PgPool, patience: Patience) -> Self {
        let (sender, mut receiver) = mpsc::channel::<Word>(NUDGES_KEPT);
        tokio::spawn(async move {
            let mut words = Vec::new();
            while receiver.recv_many(&mut words, NUDGES_KEPT).await > 0 {
                let mut payloads = BTreeSet::new();
                let mut waiting = Vec::new();
                for word in words.drain(..) {
                    match word {
                        Word::Nudge(Nudge::Tenant(tenant)) => {
                            payloads.insert(tenant.to_string());
                        }
                        Word::Nudge(Nudge::Sync(tenant)) => {
                            payloads.insert(format!("{SYNC}{tenant}"));
                        }
                        Word::Nudge(Nudge::Any) => {
                            payloads.insert(ANY.to_owned());
                        }
                        Word::Flush(answer) => waiting.push(answer),
                    }
                }
                if !payloads.is_empty() {
                    let _ = notify(&pool, &patience, &payloads).await; // it only costs time
                }
                for answer in waiting {
                    let _ = answer.send(()); // whoever asked may be gone
                }
            }
        });
        Self(sender)
    }

    fn tell(&self, nudge: Nudge) {
        let _ = self.0.try_send(Word::Nudge(nudge)); // too many at once: a timer will do
    }

    /// Returns when all nudges so far are sent, or cannot be: a command that ends at once would
    /// take its own along.
    pub(super) async fn flush(&self) {
        let (answer, answered) = oneshot::channel();
        if self.0.send(Word::Flush(answer)).await.is_ok() {
            let _ = tokio::time::timeout(ANSWER_WITHIN, answered).await;
        }
    }
}

async fn notify(
    pool: &PgPool,
    patience: &Patience,
    payloads: &BTreeSet<String>,
) -> Result<(), StoreError> {
    let payloads: Vec<&str> = payloads.iter().map(String::as_str).collect();
    let mut session = session::reader(pool, patience, "nudging").await?;
    session
        .run(
            sqlx::query("select pg_notify($1, word) from unnest($2::text[]) as nudged (word)")
                .bind(CHANNEL)
                .bind(payloads),
        )
        .await?;
    Ok(())
}

impl NudgeStore for PostgresStore {
    fn nudge(&self, tenant: &TenantId) {
        self.nudger.tell(Nudge::Tenant(tenant.clone()));
    }

    fn nudge_sync(&self, tenant: &TenantId) {
        self.nudger.tell(Nudge::Sync(tenant.clone()));
    }

    fn nudge_everyone(&self) {
        self.nudger.tell(Nudge::Any);
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
                let payload = heard.payload();
                if payload == ANY {
                    let _ = sender.send(Nudge::Any);
                } else if let Some(tenant) = payload.strip_prefix(SYNC) {
                    if let Ok(tenant) = TenantId::new(tenant) {
                        let _ = sender.send(Nudge::Sync(tenant));
                    }
                } else if let Ok(tenant) = TenantId::new(payload) {
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

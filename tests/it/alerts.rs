//! People are told: once, grouped, until it has arrived, and over real HTTP and SMTP.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use roasd::actors::handle::{Handle, HealthBoard, Single};
use roasd::actors::housekeeper::{Housekeeping, Retention};
use roasd::actors::outbox::{Alerting, Channel, TenantAlerting};
use roasd::actors::root::{self, RootArgs, RootMsg};
use roasd::clock::{Clock, SteppedClock};
use roasd::domain::alert::{self, Message, Severity, Worth};
use roasd::domain::audit::{AuditEntry, AuditEvent};
use roasd::domain::change::Target;
use roasd::domain::ids::{AdId, TenantId};
use roasd::domain::money::{Currency, Money};
use roasd::domain::structure::{EntityRef, RunStatus};
use roasd::domain::time::{self, Timestamp};
use roasd::store::Store;
use roasd::store::tenants::Held;
use roasd::telemetry::Metrics;
use roasd::vendors::notify::mail::{Encryption, Mail, MailConfig};
use roasd::vendors::notify::slack::Slack;
use roasd::vendors::notify::webhook::Webhook;
use roasd::vendors::notify::{Notifier, NotifyError};
use secrecy::SecretString;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

const START: i64 = 1_790_000_000;

fn start() -> Timestamp {
    time::from_seconds(START)
}

fn acme() -> TenantId {
    TenantId::new("acme").unwrap()
}

/// A channel that remembers, and may be out.
#[derive(Default)]
struct Ear {
    heard: Mutex<Vec<(Severity, Vec<String>)>>,
    is_out: AtomicBool,
}

#[async_trait]
impl Notifier for Ear {
    async fn send(&self, message: &Message, _now: Timestamp) -> Result<(), NotifyError> {
        if self.is_out.load(Ordering::Relaxed) {
            return Err(NotifyError::Retry {
                channel: "the ear",
                detail: "it answered 503".to_owned(),
                cause: None,
            });
        }
        let texts = message.alerts.iter().map(|a| a.text.clone()).collect();
        self.heard.lock().unwrap().push((message.severity, texts));
        Ok(())
    }
}

struct House {
    _dir: tempfile::TempDir,
    clock: SteppedClock,
    store: Arc<dyn Store>,
    ear: Arc<Ear>,
    alerting: Arc<ArcSwap<Alerting>>,
    tree: Option<(
        Handle,
        ractor::ActorRef<RootMsg>,
        tokio::task::JoinHandle<()>,
    )>,
}

impl House {
    /// A tenant that runs here, and a channel that hears of it from `from` on.
    async fn new(from: Severity) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("roasd.db").display());
        let store = roasd::store::open(&url).await.unwrap();
        store.ensure_tenant(&acme(), "Acme", start()).await.unwrap();
        let ear = Arc::new(Ear::default());
        let worth = Worth {
            raise_over: Money::from_minor(1_000, Currency::USD),
        };
        let settings = TenantAlerting {
            name: "Acme".to_owned(),
            worth,
        };
        let alerting = Alerting {
            channels: vec![Channel {
                name: "ear".to_owned(),
                tenant: None,
                from,
                notifier: ear.clone(),
            }],
            tenants: BTreeMap::from([(acme(), settings)]),
            group_for: time::minutes(10),
            digest_hour: None,
            grace: time::minutes(10),
            version: None,
        };
        Self {
            _dir: dir,
            clock: SteppedClock::new(start()),
            store,
            ear,
            alerting: Arc::new(ArcSwap::from_pointee(alerting)),
            tree: None,
        }
    }

    async fn open(&mut self) {
        let board = HealthBoard::default();
        board.update(&acme(), |health| health.is_running = true);
        let started = root::start(RootArgs {
            tenants: Vec::new(),
            store: self.store.clone(),
            clock: Arc::new(self.clock.clone()),
            seed: 1,
            look_every: time::hours(1),
            board: Arc::new(board),
            housekeeping: Housekeeping {
                retention: Arc::new(ArcSwap::from_pointee(Retention {
                    visits: time::days(90),
                    deliveries: time::days(30),
                })),
                tenants: Arc::default(),
                metrics: Metrics::install().unwrap(),
            },
            alerting: self.alerting.clone(),
            placing: None,
            hold: self.clock.hold(),
        });
        self.tree = Some(started.await.unwrap());
    }

    async fn close(&mut self) {
        let (_, root, task) = self.tree.take().unwrap();
        root.stop(None);
        task.await.unwrap();
    }

    async fn kill_ad(&self, ad: &str) {
        let entry = AuditEntry {
            tenant: acme(),
            at: self.clock.now(),
            event: AuditEvent::Completed,
            actor: "roasd".to_owned(),
            change: None,
            entity: Some(EntityRef::Ad(AdId::new(ad).unwrap())),
            campaign: None,
            before: Some(Target::Status(RunStatus::Active)),
            after: Some(Target::Status(RunStatus::Paused)),
            rule: None,
            detail: "it earns nothing".to_owned(),
            vendor_request: None,
        };
        self.store.append_audit(&entry).await.unwrap();
    }

    fn heard(&self) -> Vec<(Severity, Vec<String>)> {
        self.ear.heard.lock().unwrap().clone()
    }

    fn trouble(&self) -> Option<String> {
        self.tree.as_ref().unwrap().0.single(Single::Outbox).trouble
    }
}

#[tokio::test]
async fn what_is_not_urgent_comes_as_one_message_and_once() {
    let mut house = House::new(Severity::Notice).await;
    house.open().await;
    house.kill_ad("7").await;
    house.clock.advance(time::minutes(5)).await;
    assert!(house.heard().is_empty(), "it waits for more");
    house.kill_ad("8").await;
    house.clock.advance(time::minutes(10)).await;
    let texts = [
        "ad 7 was paused: it earns nothing",
        "ad 8 was paused: it earns nothing",
    ];
    let wanted = vec![(Severity::Notice, texts.map(str::to_owned).to_vec())];
    assert_eq!(house.heard(), wanted);
    // Nothing is told again, neither by and by nor after a restart.
    house.clock.advance(time::hours(3)).await;
    house.close().await;
    house.open().await;
    house.clock.advance(time::hours(3)).await;
    assert_eq!(house.heard(), wanted);
    house.close().await;
}

#[tokio::test]
async fn what_is_critical_comes_at_once() {
    let mut house = House::new(Severity::Notice).await;
    house.open().await;
    house.kill_ad("7").await;
    let held = Held {
        by: "roasd".to_owned(),
        reason: "Meta does not accept the token".to_owned(),
        since: start(),
    };
    house
        .store
        .set_suspended(&acme(), Some(&held))
        .await
        .unwrap();
    house.clock.advance(time::minutes(2)).await;
    let heard = house.heard();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!(heard[0].0, Severity::Critical);
    assert!(
        heard[0].1[0].contains("does not accept the token"),
        "{heard:?}"
    );
    house.clock.advance(time::hours(30)).await;
    let critical = house.heard();
    let critical = critical.iter().filter(|(s, _)| *s == Severity::Critical);
    assert_eq!(critical.count(), 1, "it is told once while it lasts");
    house.close().await;
}

#[tokio::test]
async fn a_channel_hears_nothing_below_its_level() {
    let mut house = House::new(Severity::Warning).await;
    house.open().await;
    house.kill_ad("7").await;
    house.clock.advance(time::hours(1)).await;
    assert!(house.heard().is_empty());
    assert_eq!(house.store.messages(None, 9).await.unwrap(), []);
    house.close().await;
}

#[tokio::test]
async fn an_alert_waits_for_a_channel_that_is_out() {
    let mut house = House::new(Severity::Notice).await;
    house.ear.is_out.store(true, Ordering::Relaxed);
    house.open().await;
    house.kill_ad("7").await;
    house.clock.advance(time::hours(2)).await;
    assert!(house.heard().is_empty());
    let why = house.trouble().unwrap();
    assert!(why.contains("ear: the ear did not take it"), "{why}");
    assert!(why.contains("roasd alerts test"), "{why}");
    house.close().await;
    house.ear.is_out.store(false, Ordering::Relaxed);
    house.open().await;
    house.clock.advance(time::hours(2)).await;
    assert_eq!(house.heard().len(), 1);
    assert_eq!(house.trouble(), None);
    house.close().await;
}

#[tokio::test]
async fn a_channel_that_a_reload_brings_is_not_flooded_with_the_past() {
    let mut house = House::new(Severity::Notice).await;
    let configured = house.alerting.swap(Arc::default());
    house.open().await;
    house.kill_ad("7").await;
    house.clock.advance(time::hours(25)).await;
    house.kill_ad("8").await;
    house.alerting.store(configured);
    house.clock.advance(time::hours(1)).await;
    let heard = house.heard();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!(heard[0].1.len(), 1, "only what is news: {heard:?}");
    assert!(heard[0].1[0].starts_with("ad 8 "), "{heard:?}");
    house.close().await;
}

fn message() -> Message {
    let alert = alert::waiting(&acme(), 3, start()).unwrap();
    alert::compose("Acme & Sons", vec![alert]).unwrap()
}

/// A server that takes one request and gives it back, head and body.
async fn listen(answer: &'static str) -> (String, tokio::task::JoinHandle<(String, String)>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        loop {
            let mut part = [0; 4_096];
            let n = stream.read(&mut part).await.unwrap();
            bytes.extend_from_slice(&part[..n]);
            let text = String::from_utf8(bytes.clone()).unwrap();
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .unwrap();
            if body.len() == length.parse::<usize>().unwrap() {
                stream.write_all(answer.as_bytes()).await.unwrap();
                return (head.to_owned(), body.to_owned());
            }
        }
    });
    (address, task)
}

fn http() -> reqwest::Client {
    roasd::vendors::http_client(Duration::from_secs(5)).unwrap()
}

#[tokio::test]
async fn a_chat_gets_its_markup() {
    let (address, task) = listen("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let slack = Slack::new(http(), SecretString::from(address)).unwrap();
    slack.send(&message(), start()).await.unwrap();
    let (_, body) = task.await.unwrap();
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let text = body["text"].as_str().unwrap();
    assert!(
        text.starts_with("*Acme &amp; Sons*: 3 changes wait"),
        "{text}"
    );
}

#[tokio::test]
async fn a_webhook_is_signed_over_what_it_gets() {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let (address, task) = listen("HTTP/1.1 204 No Content\r\n\r\n").await;
    let secret = SecretString::from("whsec");
    let webhook = Webhook::new(http(), &address, Some(secret)).unwrap();
    webhook.send(&message(), start()).await.unwrap();
    let (head, body) = task.await.unwrap();
    let signature = head
        .lines()
        .find_map(|line| line.strip_prefix("roasd-signature: "))
        .unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"whsec").unwrap();
    mac.update(format!("{START}.{body}").as_bytes());
    let wanted = hex::encode(mac.finalize().into_bytes());
    assert_eq!(signature, format!("t={START},v1={wanted}"));
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["alerts"][0]["tenant"], "acme");
    assert_eq!(body["alerts"][0]["kind"], "waiting");
}

#[tokio::test]
async fn a_channel_that_answers_an_error_is_heard() {
    let (address, task) = listen("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await;
    let webhook = Webhook::new(http(), &address, None).unwrap();
    let error = webhook.send(&message(), start()).await.unwrap_err();
    assert!(matches!(error, NotifyError::Retry { .. }), "{error}");
    task.await.unwrap();
    // Nobody listens any more.
    let error = webhook.send(&message(), start()).await.unwrap_err();
    assert!(error.to_string().contains("cannot be reached"), "{error}");
}

#[tokio::test]
async fn a_mail_goes_to_everyone_it_is_for() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let mut said = String::new();
        stream.write_all(b"220 here\r\n").await.unwrap();
        let mut in_data = false;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap() == 0 {
                return said;
            }
            said.push_str(&line);
            let answer: &[u8] = match line.trim_end() {
                "." if in_data => {
                    in_data = false;
                    b"250 taken\r\n"
                }
                _ if in_data => continue,
                "DATA" => {
                    in_data = true;
                    b"354 go on\r\n"
                }
                "QUIT" => {
                    stream.write_all(b"221 bye\r\n").await.unwrap();
                    return said;
                }
                _ => b"250 ok\r\n",
            };
            stream.write_all(answer).await.unwrap();
        }
    });
    let mail = Mail::new(MailConfig {
        host: "127.0.0.1".to_owned(),
        port,
        encryption: Encryption::None,
        login: None,
        from: "roasd <roasd@example.com>".to_owned(),
        to: vec!["a@example.com".to_owned(), "b@example.com".to_owned()],
    })
    .unwrap();
    mail.send(&message(), start()).await.unwrap();
    let said = server.await.unwrap();
    for word in [
        "RCPT TO:<a@example.com>",
        "RCPT TO:<b@example.com>",
        "Subject: roasd: Acme & Sons: 3 changes wait for your approval",
        "roasd changes list",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

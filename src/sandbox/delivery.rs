//! What reaches roasd by itself: page views from visitors' browsers and HubSpot's webhooks.
//!
//! One task for each tenant, one request at a time, in the order of the events' due times, so that
//! on a stepped clock the same seed gives the same sequence of requests. A browser sends once;
//! HubSpot sends again for a day.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::domain::time::{self, SignedDuration, Timestamp};

use super::draw::{Draw, key_of};
use super::journal::Entry;
use super::market::{CrmEvent, CrmKind, Event, Visit};
use super::world::{Tenant, World};
use super::{DeliverTo, SandboxError};

/// HubSpot gives a receiver five seconds.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Events in one request: "under 100".
const BATCH_MAX: usize = 99;
/// Minutes before each of the ten retries; nearly a day in all.
const RETRY_MINUTES: [i64; 10] = [1, 5, 15, 30, 60, 120, 180, 240, 300, 360];
/// An event this old will not be sent again.
const GIVEN_UP: SignedDuration = SignedDuration::from_hours(25);

/// Something to send.
#[derive(Debug, Clone)]
enum Job {
    Visit(Visit),
    Webhook(Webhook),
    /// A lead's id, and how often it was sent.
    Lead(u64, usize),
}

#[derive(Debug, Clone)]
struct Webhook {
    event: CrmEvent,
    id: String,
    attempt: usize,
}

/// Starts the tasks.
pub(super) fn start(
    world: &Arc<World>,
    to: DeliverTo,
) -> Result<Vec<JoinHandle<()>>, SandboxError> {
    let url = reqwest::Url::parse(&to.base).ok();
    let is_loopback = url
        .as_ref()
        .and_then(|url| url.host_str())
        .is_some_and(|host| {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            host == "localhost"
                || bare
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|ip| ip.is_loopback())
        });
    if !is_loopback {
        return Err(SandboxError::DeliveryNotLoopback(to.base));
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .tcp_nodelay(true)
        .build()
        .map_err(SandboxError::Client)?;
    let trimmed = |text: &str| text.trim_end_matches('/').to_owned();
    let tasks = (0..world.tenants.len()).map(|at| {
        let courier = Courier {
            world: world.clone(),
            at,
            base: trimmed(&to.base),
            public_url: trimmed(&to.public_url),
            client: client.clone(),
            queue: BTreeMap::new(),
            next: 0,
        };
        // Taken here, so that time cannot run away before the task does.
        let hold = world.clock.hold();
        tokio::spawn(async move {
            courier.run().await;
            drop(hold);
        })
    });
    Ok(tasks.collect())
}

/// Carries one tenant's events.
struct Courier {
    world: Arc<World>,
    at: usize,
    base: String,
    public_url: String,
    client: reqwest::Client,
    queue: BTreeMap<(Timestamp, u64), Job>,
    next: u64,
}

impl Courier {
    async fn run(mut self) {
        let Some(name) = self.tenant().map(|t| t.spec.tenant.to_string()) else {
            return;
        };
        let key = format!("sandbox/{name}");
        loop {
            let Some(tenant) = self.tenant() else { return };
            let (events, next) = self.world.due(tenant);
            for (at, event) in events {
                self.take(at, event);
            }
            self.send_due(&name).await;
            let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
            let until = queued.map_or(next, |at| at.min(next));
            self.world.clock.sleep_until(until, &key).await;
        }
    }

    fn tenant(&self) -> Option<&Tenant> {
        self.world.tenants.get(self.at)
    }

    fn push(&mut self, at: Timestamp, job: Job) {
        self.next += 1;
        self.queue.insert((at, self.next), job);
    }

    /// Books an event of the market, by the weather.
    fn take(&mut self, at: Timestamp, event: Event) {
        let Some(tenant) = self.tenant() else { return };
        let start = self.world.config.start;
        let (resumed_at, is_known) = {
            let state = tenant.lock();
            let is_known = match &event {
                Event::Crm(event) => state.delivered.contains(&event_id(event)),
                Event::Lead(lead) => state.delivered.contains(&lead_name(*lead)),
                Event::Visit(_) => false,
            };
            (state.resumed_at, is_known)
        };
        if at < start || is_known {
            return;
        }
        let event = match event {
            Event::Visit(visit) => {
                // Nobody visits again because we were away.
                if resumed_at <= start || at > resumed_at {
                    self.push(at, Job::Visit(visit));
                }
                return;
            }
            Event::Lead(lead) => {
                if time::add(at, GIVEN_UP) >= resumed_at {
                    self.push(at, Job::Lead(lead, 0));
                }
                return;
            }
            Event::Crm(event) => event,
        };
        if time::add(at, GIVEN_UP) < resumed_at {
            return;
        }
        let id = event_id(&event);
        let weather = self.world.config.weather;
        let draw = Draw::seeded(self.world.config.seed)
            .named("weather")
            .named(tenant.spec.tenant.as_str())
            .named(&id);
        if draw.named("lost").chance(weather.lost) {
            return;
        }
        let mut due = at;
        if draw.named("late").chance(weather.late) {
            let seconds = 1 + draw.named("how late").below(40 * 60);
            due = time::add(due, time::seconds(i64::try_from(seconds).unwrap_or(60)));
        }
        let webhook = Webhook {
            event,
            id,
            attempt: 0,
        };
        if draw.named("duplicated").chance(weather.duplicated) {
            let seconds = 1 + draw.named("again").below(90);
            let again = time::add(due, time::seconds(i64::try_from(seconds).unwrap_or(60)));
            self.push(again, Job::Webhook(webhook.clone()));
        }
        self.push(due, Job::Webhook(webhook));
    }

    /// Sends all that is due, webhooks that follow each other in one request.
    async fn send_due(&mut self, name: &str) {
        let now = self.world.clock.now();
        let mut batch = Vec::new();
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > now {
                break;
            }
            match entry.remove() {
                Job::Webhook(webhook) => {
                    batch.push(webhook);
                    if batch.len() >= BATCH_MAX {
                        self.post(name, std::mem::take(&mut batch)).await;
                    }
                }
                Job::Lead(lead, attempt) => {
                    self.post(name, std::mem::take(&mut batch)).await;
                    self.lead(name, lead, attempt).await;
                }
                Job::Visit(visit) => {
                    self.post(name, std::mem::take(&mut batch)).await;
                    self.visit(name, &visit).await;
                }
            }
        }
        self.post(name, batch).await;
    }

    async fn visit(&self, name: &str, visit: &Visit) {
        let device = &visit.device;
        let zone = device.time_zone;
        let offset =
            time::TimeZone::get(zone).map_or(0, |zone| zone.to_offset(visit.at).seconds() / 60);
        let body = json!({
            "visit_id": visit.id,
            "url": visit.url,
            "referrer": visit.referrer,
            "consent": visit.consent,
            "device": {
                "screen": device.screen,
                "time_zone": zone,
                "utc_offset_minutes": offset,
                "device_type": device.kind,
                "os": device.os,
                "browser": device.browser,
            },
        });
        let sent = self
            .client
            .post(format!("{}/t/{name}/click", self.base))
            .header("content-type", "application/json")
            .header("user-agent", &device.user_agent)
            .header("x-forwarded-for", &visit.ip)
            .body(body.to_string())
            .send()
            .await;
        match sent {
            Ok(answer) if answer.status().is_success() => drain(answer).await,
            Ok(answer) => tracing::debug!(status = %answer.status(), "a visit was refused"),
            Err(cause) => tracing::debug!(%cause, "a visit was lost"),
        }
    }

    /// Meta's webhook of a lead form; sent again for a day, as HubSpot's are.
    async fn lead(&mut self, name: &str, lead: u64, attempt: usize) {
        let Some(tenant) = self.tenant() else { return };
        let now = self.world.clock.now();
        let seconds = time::to_micros(now).div_euclid(1_000_000);
        let body = json!({"object": "page", "entry": [{
            "id": tenant.spec.page.as_str(),
            "time": seconds,
            "changes": [{"field": "leadgen", "value": {
                "leadgen_id": lead.to_string(),
                "page_id": tenant.spec.page.as_str(),
                "form_id": "330000000000001",
                "created_time": seconds,
            }}],
        }]})
        .to_string();
        let secret = self.world.config.app_secret.clone().unwrap_or_default();
        let signed = super::server::hmac_sha256(secret.as_bytes(), &[body.as_bytes()]);
        let sent = self
            .client
            .post(format!("{}/webhooks/meta", self.base))
            .header("content-type", "application/json")
            .header(
                "x-hub-signature-256",
                format!("sha256={}", hex::encode(signed)),
            )
            .body(body)
            .send()
            .await;
        if is_acknowledged(sent).await {
            self.note(name, &[lead_name(lead)]);
        } else if let Some(minutes) = RETRY_MINUTES.get(attempt) {
            let again = time::add(now, time::minutes(*minutes));
            self.push(again, Job::Lead(lead, attempt + 1));
        }
    }

    async fn post(&mut self, name: &str, batch: Vec<Webhook>) {
        let Some(tenant) = self.tenant().filter(|_| !batch.is_empty()) else {
            return;
        };
        let portal = tenant.spec.portal.0;
        let app_id: u64 = self.world.config.app_id.parse().unwrap_or(1_160_452);
        let events: Vec<Value> = batch
            .iter()
            .map(|webhook| body_of(webhook, portal, app_id))
            .collect();
        let body = Value::Array(events).to_string();
        let now = self.world.clock.now();
        let stamp = time::to_micros(now).div_euclid(1_000).to_string();
        let path = format!("/webhooks/hubspot/{name}");
        let signed = signature(
            &self.world.config.client_secret,
            &format!("{}{path}", self.public_url),
            &body,
            &stamp,
        );
        let sent = self
            .client
            .post(format!("{}{path}", self.base))
            .header("content-type", "application/json")
            .header(
                "user-agent",
                "HubSpot Connect 2.0 (http://dev.hubspot.com/) - WebHooks",
            )
            .header("x-hubspot-signature-v3", signed)
            .header("x-hubspot-request-timestamp", stamp)
            .body(body)
            .send()
            .await;
        if is_acknowledged(sent).await {
            self.acknowledged(name, &batch);
        } else {
            self.again(batch, now);
        }
    }

    fn acknowledged(&self, name: &str, batch: &[Webhook]) {
        let ids: Vec<String> = batch.iter().map(|webhook| webhook.id.clone()).collect();
        self.note(name, &ids);
    }

    /// Notes in the journal what was acknowledged.
    fn note(&self, name: &str, ids: &[String]) {
        let Some(tenant) = self.tenant() else { return };
        let at = time::to_micros(self.world.clock.now());
        let mut entries = Vec::new();
        {
            let mut state = tenant.lock();
            for id in ids {
                if state.delivered.insert(id.clone()) {
                    entries.push(Entry::Delivered {
                        at,
                        tenant: name.to_owned(),
                        id: id.clone(),
                    });
                }
            }
        }
        if let Err(cause) = self.world.record_all_durably(&entries) {
            tracing::error!(%cause, "the sandbox cannot write its journal");
        }
    }

    fn again(&mut self, batch: Vec<Webhook>, now: Timestamp) {
        for mut webhook in batch {
            let Some(minutes) = RETRY_MINUTES.get(webhook.attempt).copied() else {
                tracing::debug!(id = webhook.id, "a webhook is given up");
                continue;
            };
            // All of a batch fail together and are tried again together.
            let jitter = Draw::seeded(self.world.config.seed)
                .named("retry")
                .of(time::to_micros(now).unsigned_abs())
                .below(10);
            let seconds = minutes * 60 + i64::try_from(jitter).unwrap_or(0);
            webhook.attempt += 1;
            self.push(
                time::add(now, time::seconds(seconds)),
                Job::Webhook(webhook),
            );
        }
    }
}

/// Whether what was sent was answered with a 2xx.
async fn is_acknowledged(sent: Result<reqwest::Response, reqwest::Error>) -> bool {
    let Ok(answer) = sent else {
        return false;
    };
    let is_good = answer.status().is_success();
    drain(answer).await;
    is_good
}

/// Reads an answer to its end, so that the connection can be used again.
async fn drain(answer: reqwest::Response) {
    let _ = answer.bytes().await;
}

/// A lead's own name among the events.
fn lead_name(lead: u64) -> String {
    format!("lead/{lead}")
}

/// The event's own name.
fn event_id(event: &CrmEvent) -> String {
    let at = time::to_micros(event.at).div_euclid(1_000);
    match &event.kind {
        CrmKind::Creation => format!("{}/{at}/creation", event.deal),
        CrmKind::Association { contact } => format!("{}/{at}/contact/{contact}", event.deal),
        CrmKind::Property { name, value } => format!("{}/{at}/{name}/{value}", event.deal),
        CrmKind::Deletion => format!("{}/{at}/deletion", event.deal),
        CrmKind::Restore => format!("{}/{at}/restore", event.deal),
        CrmKind::Merge { .. } => format!("{}/{at}/merge", event.deal),
    }
}

fn body_of(webhook: &Webhook, portal: u64, app_id: u64) -> Value {
    let event = &webhook.event;
    let (kind, subscription) = match &event.kind {
        CrmKind::Creation => ("deal.creation", 21),
        CrmKind::Association { .. } => ("deal.associationChange", 22),
        CrmKind::Property { name: "amount", .. } => ("deal.propertyChange", 24),
        CrmKind::Property { .. } => ("deal.propertyChange", 23),
        CrmKind::Deletion => ("deal.deletion", 25),
        CrmKind::Restore => ("deal.restore", 26),
        CrmKind::Merge { .. } => ("deal.merge", 27),
    };
    let mut body = json!({
        "eventId": key_of(&webhook.id) % 4_000_000_000,
        "subscriptionId": subscription,
        "portalId": portal,
        "appId": app_id,
        "occurredAt": time::to_micros(event.at).div_euclid(1_000),
        "subscriptionType": kind,
        "attemptNumber": webhook.attempt,
        "changeSource": "CRM_UI",
    });
    let more = match &event.kind {
        CrmKind::Creation => json!({"objectId": event.deal, "changeFlag": "NEW"}),
        CrmKind::Association { contact } => json!({
            "associationType": "DEAL_TO_CONTACT",
            "fromObjectId": event.deal,
            "toObjectId": contact,
            "associationRemoved": false,
            "isPrimaryAssociation": false,
        }),
        CrmKind::Property { name, value } => json!({
            "objectId": event.deal,
            "propertyName": name,
            "propertyValue": value,
        }),
        CrmKind::Deletion => json!({"objectId": event.deal, "changeFlag": "DELETED"}),
        CrmKind::Restore => json!({"objectId": event.deal, "changeFlag": "RESTORED"}),
        CrmKind::Merge { primary, others } => json!({
            "primaryObjectId": primary,
            "mergedObjectIds": others,
            "newObjectId": event.deal,
            "numberOfPropertiesMoved": 3,
        }),
    };
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

/// HubSpot's signature, version 3: Base64 of HMAC-SHA256 over method, URL, body and timestamp.
fn signature(secret: &str, url: &str, body: &str, stamp: &str) -> String {
    let parts: [&[u8]; 4] = [b"POST", url.as_bytes(), body.as_bytes(), stamp.as_bytes()];
    STANDARD.encode(super::server::hmac_sha256(secret.as_bytes(), &parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_known_one() {
        let body = r#"[{"eventId":3816279340,"subscriptionId":25,"portalId":33,"appId":1160452,"occurredAt":1790000000000,"subscriptionType":"deal.propertyChange","attemptNumber":0,"objectId":1246965,"propertyName":"dealstage","propertyValue":"closedwon","changeSource":"CRM_UI"}]"#;
        let check = |url: &str, want: &str| {
            let got = signature("roasd-test-client-secret", url, body, "1790000000123");
            assert_eq!(got, want, "{url}");
        };
        check(
            "https://hooks.example.com/webhooks/hubspot",
            "CX2N9Z3dFMylsi8oAyBxcQ51nHqufxwStWjunF8WXes=",
        );
        check(
            "https://hooks.example.com/webhooks/hubspot?tenant=acme/west&t=a%20b",
            "PT7e1pZPPzFuyP/CripHaFUyutr9e9raqc7ZF3k5JBg=",
        );
    }

    #[test]
    fn retries_take_about_a_day() {
        let hours = RETRY_MINUTES.iter().sum::<i64>() as f64 / 60.0;
        assert!((20.0..24.0).contains(&hours), "{hours}");
    }
}

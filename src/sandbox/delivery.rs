//! Plays the visitors' browsers and HubSpot's webhooks: posts to roasd what is due, one task a
//! tenant, in order, and again when it is not acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::clock::Hold;
use crate::domain::time::{self, Timestamp};

use super::draw::{Draw, key_of};
use super::journal::Entry;
use super::market::{CrmEvent, CrmKind, Event, Visit};
use super::server::hmac_sha256;
use super::world::World;
use super::{DeliverTo, SandboxError};

/// Deliveries of one event at most; HubSpot tries for 24 hours.
const ATTEMPTS: u32 = 10;
/// Events in one delivery at most.
const BATCH: usize = 99;

/// Starts a task for each tenant.
pub(super) fn start(
    world: &Arc<World>,
    to: DeliverTo,
) -> Result<Vec<tokio::task::JoinHandle<()>>, SandboxError> {
    let is_loopback = to
        .base
        .strip_prefix("http://")
        .and_then(|rest| rest.trim_end_matches('/').parse::<std::net::SocketAddr>().ok())
        .is_some_and(|addr| addr.ip().is_loopback());
    if !is_loopback {
        return Err(SandboxError::DeliveryNotLoopback(to.base));
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .no_proxy()
        .build()
        .map_err(SandboxError::Client)?;
    let tasks = (0..world.tenants.len()).map(|index| {
        let courier = Courier {
            world: world.clone(),
            index,
            to: to.clone(),
            http: http.clone(),
            queue: BTreeMap::new(),
            number: 0,
        };
        tokio::spawn(courier.run(world.clock.hold()))
    });
    Ok(tasks.collect())
}

/// Something to post.
#[derive(Debug, Clone)]
enum Parcel {
    Visit(Visit),
    Event { event: CrmEvent, id: String, attempt: u32 },
}

struct Courier {
    world: Arc<World>,
    index: usize,
    to: DeliverTo,
    http: reqwest::Client,
    queue: BTreeMap<(Timestamp, u64), Parcel>,
    number: u64,
}

impl Courier {
    /// Works until the task is ended. The hold is set aside while it sleeps.
    async fn run(mut self, hold: Hold) {
        let world = self.world.clone();
        let Some(tenant) = world.tenants.get(self.index) else { return };
        let key = format!("sandbox/{}", tenant.spec.tenant);
        loop {
            let (events, next) = world.due(tenant);
            for (at, event) in events {
                self.take(at, event);
            }
            self.post_due().await;
            let next = self.queue.first_key_value().map_or(next, |((at, _), _)| (*at).min(next));
            // A market that is due now would spin; its ticks are minutes apart.
            let next = next.max(time::add(world.clock.now(), time::millis(1)));
            world.clock.sleep_until(next, &key).await;
            let _ = &hold;
        }
    }

    fn push(&mut self, at: Timestamp, parcel: Parcel) {
        self.number += 1;
        self.queue.insert((at, self.number), parcel);
    }

    fn take(&mut self, at: Timestamp, event: Event) {
        let Some(tenant) = self.world.tenants.get(self.index) else { return };
        let (resumed_at, is_delivered) = {
            let state = tenant.lock();
            let is_delivered = match &event {
                Event::Visit(_) => false,
                Event::Crm(event) => state.delivered.contains(&name_of(event)),
            };
            (state.resumed_at, is_delivered)
        };
        match event {
            // A browser does not come back to report a visit.
            Event::Visit(visit) => {
                if at >= resumed_at {
                    self.push(at, Parcel::Visit(visit));
                }
            }
            Event::Crm(event) => {
                if is_delivered {
                    return;
                }
                let id = name_of(&event);
                let weather = self.world.config.weather;
                let luck = Draw::seeded(self.world.config.seed)
                    .named("webhook")
                    .of(key_of(tenant.spec.tenant.as_str()))
                    .of(key_of(&id));
                if luck.named("lost").chance(weather.lost) {
                    return;
                }
                let delay = if luck.named("late").chance(weather.late) {
                    time::seconds(60 + luck.named("how late").below(2_340) as i64)
                } else {
                    time::millis(500 + luck.named("soon").below(4_000) as i64)
                };
                let first = time::add(at, delay);
                if luck.named("twice").chance(weather.duplicated) {
                    let again = time::seconds(5 + luck.named("again").below(600) as i64);
                    let parcel = Parcel::Event { event: event.clone(), id: id.clone(), attempt: 0 };
                    self.push(time::add(first, again), parcel);
                }
                self.push(first, Parcel::Event { event, id, attempt: 0 });
            }
        }
    }

    async fn post_due(&mut self) {
        let now = self.world.clock.now();
        loop {
            let mut batch = Vec::new();
            while let Some(entry) = self.queue.first_entry() {
                if entry.key().0 > now || batch.len() >= BATCH {
                    break;
                }
                match entry.get() {
                    Parcel::Event { .. } => batch.push(entry.remove()),
                    Parcel::Visit(_) if batch.is_empty() => {
                        if let Parcel::Visit(visit) = entry.remove() {
                            self.post_visit(&visit).await;
                        }
                    }
                    Parcel::Visit(_) => break,
                }
            }
            if batch.is_empty() {
                return;
            }
            self.post_events(batch, now).await;
        }
    }

    async fn post_visit(&self, visit: &Visit) {
        let Some(tenant) = self.world.tenants.get(self.index) else { return };
        let zone = tenant.lock().market.zone.clone();
        let offset = zone.to_offset(visit.at).seconds() / 60;
        let device = &visit.device;
        let body = json!({
            "visit_id": visit.id, "url": visit.url, "referrer": visit.referrer,
            "consent": visit.consent,
            "device": {
                "screen": device.screen, "time_zone": tenant.spec.business.zone(),
                "utc_offset_minutes": offset, "device_type": device.kind, "os": device.os,
                "browser": device.browser,
            },
        });
        let sent = self
            .http
            .post(format!("{}/t/{}/click", self.to.base, tenant.spec.tenant))
            .header("user-agent", &device.user_agent)
            .header("x-forwarded-for", &visit.ip)
            .json(&body)
            .send()
            .await;
        match sent {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => tracing::debug!(status = answer.status().as_u16(), "a visit was not taken"),
            Err(cause) => tracing::debug!(%cause, "a visit was not taken"),
        }
    }

    async fn post_events(&mut self, batch: Vec<Parcel>, now: Timestamp) {
        let world = self.world.clone();
        let Some(tenant) = world.tenants.get(self.index) else { return };
        let portal = tenant.spec.portal.0;
        let bodies: Vec<Value> = batch
            .iter()
            .filter_map(|parcel| match parcel {
                Parcel::Event { event, id, attempt } => Some(body(event, id, *attempt, portal)),
                Parcel::Visit(_) => None,
            })
            .collect();
        let path = format!("/webhooks/hubspot/{}", tenant.spec.tenant);
        let text = Value::Array(bodies).to_string();
        let stamp = (time::to_micros(now) / 1_000).to_string();
        let uri = format!("{}{path}", self.to.public_url);
        let signature = sign(&world.config.client_secret, &uri, &text, &stamp);
        let sent = self
            .http
            .post(format!("{}{path}", self.to.base))
            .header("content-type", "application/json")
            .header("x-hubspot-request-timestamp", &stamp)
            .header("x-hubspot-signature-v3", signature)
            .body(text)
            .send()
            .await;
        let is_taken = sent.as_ref().is_ok_and(|answer| answer.status().is_success());
        for parcel in batch {
            let Parcel::Event { event, id, attempt } = parcel else { continue };
            if is_taken {
                world.record(&Entry::Delivered {
                    at: time::to_micros(now),
                    tenant: tenant.spec.tenant.as_str().to_owned(),
                    id: id.clone(),
                });
                tenant.lock().delivered.insert(id);
            } else if attempt + 1 < ATTEMPTS {
                // From a minute to some hours: ten attempts within a day.
                let wait = time::minutes(1_i64 << attempt.min(8));
                let parcel = Parcel::Event { event, id, attempt: attempt + 1 };
                self.push(time::add(now, wait), parcel);
            }
        }
    }
}

/// An event's own name: the same whenever it is delivered.
fn name_of(event: &CrmEvent) -> String {
    let at = time::to_micros(event.at) / 1_000;
    match &event.kind {
        CrmKind::Creation => format!("{}/creation/{at}", event.deal),
        CrmKind::Association { contact } => format!("{}/association/{contact}/{at}", event.deal),
        CrmKind::Property { name, value } => format!("{}/{name}/{value}/{at}", event.deal),
    }
}

fn body(event: &CrmEvent, id: &str, attempt: u32, portal: u64) -> Value {
    let mut body = json!({
        "eventId": key_of(id) % 4_000_000_000, "portalId": portal, "appId": 1_160_452,
        "occurredAt": time::to_micros(event.at) / 1_000, "attemptNumber": attempt,
        "changeSource": "CRM_UI",
    });
    let extra = match &event.kind {
        CrmKind::Creation => json!({ "subscriptionId": 21, "subscriptionType": "deal.creation",
            "objectId": event.deal, "changeFlag": "NEW" }),
        CrmKind::Association { contact } => json!({ "subscriptionId": 22,
            "subscriptionType": "deal.associationChange", "associationType": "DEAL_TO_CONTACT",
            "fromObjectId": event.deal, "toObjectId": contact, "associationRemoved": false,
            "isPrimaryAssociation": false }),
        CrmKind::Property { name, value } => json!({
            "subscriptionId": if *name == "dealstage" { 23 } else { 24 },
            "subscriptionType": "deal.propertyChange", "objectId": event.deal,
            "propertyName": name, "propertyValue": value }),
    };
    if let (Some(body), Value::Object(extra)) = (body.as_object_mut(), extra) {
        body.extend(extra);
    }
    body
}

/// `X-HubSpot-Signature-v3`: Base64 of HMAC-SHA256 over method, address, body and timestamp.
fn sign(secret: &str, uri: &str, body: &str, stamp: &str) -> String {
    STANDARD.encode(hmac_sha256(
        secret.as_bytes(),
        &[b"POST", uri.as_bytes(), body.as_bytes(), stamp.as_bytes()],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_documentation() {
        let body = r#"[{"eventId":3816279340,"subscriptionId":25,"portalId":33,"appId":1160452,"occurredAt":1790000000000,"subscriptionType":"deal.propertyChange","attemptNumber":0,"objectId":1246965,"propertyName":"dealstage","propertyValue":"closedwon","changeSource":"CRM_UI"}]"#;
        assert_eq!(
            sign(
                "roasd-test-client-secret",
                "https://hooks.example.com/webhooks/hubspot",
                body,
                "1790000000123"
            ),
            "CX2N9Z3dFMylsi8oAyBxcQ51nHqufxwStWjunF8WXes="
        );
    }
}

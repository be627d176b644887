//! The client of HubSpot's CRM API. It only reads, so a call that failed for a passing reason is
//! made again, a few times, at the portal's pace.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::limits::{Policy, PortalLimits, PortalPace};
use super::walk::Search;
use super::wire::{self, ClickProperties};
use super::{FoundDeals, HubSpot, ListPage, Merge, SearchPage};
use crate::clock::{self, Clock, together};
use crate::domain::deal::{Contact, PipelineStage};
use crate::domain::ids::{ContactId, DealId, PipelineId, PortalId};
use crate::domain::keyed_hash::KeyedHasher;
use crate::domain::time::{self, SignedDuration};
use crate::vendors::http::{self, Answer, Secrets, SetupError};
use crate::vendors::{Refusal, VendorError};

const HUBSPOT: &str = "HubSpot";
/// Records a batch, and with history.
const BATCH: usize = 100;
const BATCH_WITH_HISTORY: usize = 50;
/// Times a call is made in all.
const ATTEMPTS: u32 = 4;
/// Rounds of inner paging: a deal with more contacts than this brings is no deal.
const ROUNDS: usize = 200;

/// What a client needs to know.
#[derive(Debug, Clone)]
pub struct HubSpotClientConfig {
    /// `https://api.hubapi.com`, or a sandbox on this machine.
    pub base_url: String,
    /// Such as `2026-09`; `v3` for the paths of old.
    pub api_version: String,
    /// The account.
    pub portal: PortalId,
    /// The account's token.
    pub token: SecretString,
    /// The pipelines whose stages are read; all when empty. Deals are read whatever their
    /// pipeline, since one that leaves a pipeline must be seen to leave.
    pub pipelines: Vec<PipelineId>,
    /// The contact properties that tell of clicks.
    pub properties: ClickProperties,
    /// What the account may be asked.
    pub limits: PortalLimits,
    /// The longest a call may take.
    pub timeout: Duration,
}

/// One account at HubSpot.
pub struct HubSpotClient {
    base: String,
    version: String,
    portal: PortalId,
    authorization: HeaderValue,
    pipelines: Vec<PipelineId>,
    properties: ClickProperties,
    timeout: Duration,
    secrets: Secrets,
    pace: PortalPace,
    clock: Arc<dyn Clock>,
    http: reqwest::Client,
    hasher: Option<KeyedHasher>,
}

impl fmt::Debug for HubSpotClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HubSpotClient({} at {})", self.portal, self.base)
    }
}

/// What went wrong with one attempt.
struct Failed {
    error: VendorError,
    /// How long to wait before the next attempt; `None` when there is no point in one.
    again_after: Option<SignedDuration>,
}

impl HubSpotClient {
    /// A client for one account.
    ///
    /// # Errors
    /// [`SetupError`] when address, version or token are not usable.
    pub fn new(
        config: HubSpotClientConfig,
        clock: Arc<dyn Clock>,
        http: reqwest::Client,
    ) -> Result<Self, SetupError> {
        let base = http::base_url(&config.base_url)?;
        let is_date = config.api_version.len() == 7
            && config
                .api_version
                .bytes()
                .enumerate()
                .all(|(at, b)| match at {
                    4 => b == b'-',
                    _ => b.is_ascii_digit(),
                });
        if !is_date && config.api_version != "v3" {
            return Err(SetupError::BadVersion {
                vendor: HUBSPOT,
                version: config.api_version,
                form: "2026-09",
            });
        }
        let bad_token = || SetupError::BadToken { vendor: HUBSPOT };
        if !http::is_token(&config.token) {
            return Err(bad_token());
        }
        let bearer = format!("Bearer {}", config.token.expose_secret());
        let mut authorization = HeaderValue::from_str(&bearer).map_err(|_| bad_token())?;
        authorization.set_sensitive(true);
        Ok(Self {
            base,
            version: config.api_version,
            portal: config.portal,
            authorization,
            pipelines: config.pipelines,
            properties: config.properties,
            timeout: config.timeout,
            secrets: Secrets::new([config.token]),
            pace: PortalPace::new(config.limits, clock.clone()),
            clock,
            http,
            hasher: None,
        })
    }

    /// The same client, that reads mail addresses and telephone numbers and keeps their hashes.
    #[must_use]
    pub fn with_hasher(mut self, hasher: Option<KeyedHasher>) -> Self {
        self.hasher = hasher;
        self
    }

    /// The path of an endpoint. The date stands behind the kind of API, v3 before it.
    fn path(&self, api: &str, rest: &str) -> String {
        match (self.version.as_str(), api) {
            // Associations in bulk came with v4.
            ("v3", "associations") => format!("/crm/v4/associations/{rest}"),
            ("v3", api) => format!("/crm/v3/{api}/{rest}"),
            (version, api) => format!("/crm/{api}/{version}/{rest}"),
        }
    }

    async fn call(
        &self,
        path: &str,
        body: Option<&Value>,
        is_search: bool,
    ) -> Result<Value, VendorError> {
        let key = format!("hubspot/{}", self.portal);
        let mut attempt = 0;
        loop {
            attempt += 1;
            if let Err(wait) = self.pace.turn(is_search, &key).await {
                return Err(VendorError::Throttled {
                    vendor: HUBSPOT,
                    detail: "the calls that may be made now are used up, or left to others"
                        .to_owned(),
                    wait,
                });
            }
            let outcome = self.attempt(path, body, is_search, attempt).await;
            // What is refused for good says nothing of how much may be asked.
            let is_well = outcome
                .as_ref()
                .err()
                .is_none_or(|failed| failed.again_after.is_none());
            self.pace.note(is_well);
            match outcome {
                Ok(value) => return Ok(value),
                Err(failed) => match failed.again_after {
                    Some(wait) if attempt < ATTEMPTS => {
                        clock::sleep(&*self.clock, wait, &key).await;
                    }
                    Some(_) | None => return Err(failed.error),
                },
            }
        }
    }

    async fn attempt(
        &self,
        path: &str,
        body: Option<&Value>,
        is_search: bool,
        attempt: u32,
    ) -> Result<Value, Failed> {
        let url = format!("{}{path}", self.base);
        let request = match body {
            Some(body) => self.http.post(url).json(body),
            None => self.http.get(url),
        };
        let request = request
            .header(AUTHORIZATION, self.authorization.clone())
            .timeout(self.timeout);
        let passing = |detail: String, cause| Failed {
            error: VendorError::Retry {
                vendor: HUBSPOT,
                detail,
                after: None,
                cause,
            },
            again_after: Some(time::millis(200 * i64::from(attempt))),
        };
        let answer = match http::exchange(request).await {
            Ok(answer) => answer,
            Err(lost) => return Err(passing(lost.detail.to_owned(), lost.cause)),
        };
        let Answer {
            status,
            headers,
            body,
        } = answer;
        self.pace.heed(&headers);
        let bytes = body.map_err(|lost| passing(lost.detail.to_owned(), lost.cause))?;
        let value = serde_json::from_slice::<Value>(&bytes).ok();
        match (status, value) {
            // 207 is a partial answer, which is settled by what it holds.
            (200..=299, Some(value)) => Ok(value),
            (200..=299, None) => {
                let head = http::glimpse(&bytes);
                let detail = format!("HTTP {status} with something else than JSON: {head:?}");
                Err(passing(self.secrets.clean(&detail), None))
            }
            (429, value) => Err(self.throttled(value.as_ref(), is_search, attempt)),
            (423 | 477 | 500..=599, value) => {
                let mut failed = passing(self.describe(status, value.as_ref()), None);
                // A locked portal wants two seconds, a moving one says how long.
                let asked = headers
                    .get("retry-after")
                    .and_then(|text| text.to_str().ok()?.parse().ok())
                    .map(|s: i64| time::seconds(s.clamp(0, 3_600)));
                let least = (status == 423).then_some(time::seconds(2));
                if let Some(wait) = asked.max(least) {
                    failed.again_after = (wait <= time::seconds(30)).then_some(wait);
                    if let VendorError::Retry { after, .. } = &mut failed.error {
                        *after = Some(wait);
                    }
                }
                Err(failed)
            }
            (status, value) => Err(Failed {
                error: self.refused(status, value.as_ref()),
                again_after: None,
            }),
        }
    }

    fn throttled(&self, body: Option<&Value>, is_search: bool, attempt: u32) -> Failed {
        let policy = Policy::read(body);
        let wait = policy.wait(attempt);
        self.pace.rest(is_search, wait);
        if policy != Policy::Second {
            self.pace.rest(!is_search, wait);
        }
        Failed {
            error: VendorError::Throttled {
                vendor: HUBSPOT,
                detail: self.describe(429, body),
                wait,
            },
            // The pace itself waits; the day's limit is not waited for here.
            again_after: (policy != Policy::Daily).then_some(SignedDuration::ZERO),
        }
    }

    fn refused(&self, status: u16, body: Option<&Value>) -> VendorError {
        let detail = self.describe(status, body);
        let request = body
            .and_then(|body| body.get("correlationId"))
            .and_then(Value::as_str)
            .map(|id| self.secrets.clean(id));
        let refusal = |kind, detail, request| VendorError::Refused {
            vendor: HUBSPOT,
            detail,
            kind,
            request,
        };
        match status {
            401 | 403 => VendorError::Unauthorized {
                vendor: HUBSPOT,
                detail,
            },
            404 => refusal(Refusal::NotFound, detail, request),
            400 => refusal(Refusal::BadValue, detail, request),
            413 | 414 => VendorError::TooMuch {
                vendor: HUBSPOT,
                detail,
            },
            _ => refusal(Refusal::Other, detail, request),
        }
    }

    fn describe(&self, status: u16, body: Option<&Value>) -> String {
        let part = |key: &str| {
            let text = body.and_then(|body| body.get(key)).and_then(Value::as_str);
            text.map(|text| format!(" {text}")).unwrap_or_default()
        };
        let text = format!("HTTP {status}{}{}", part("category"), part("message"));
        self.secrets.clean(&text)
    }

    fn odd(&self, fault: &str) -> VendorError {
        VendorError::Retry {
            vendor: HUBSPOT,
            detail: self.secrets.clean(&format!("it answered oddly: {fault}")),
            after: None,
            cause: None,
        }
    }

    /// Records that came and could not be read are neither found nor missing: they are left as
    /// they are known, and a person may look.
    fn log_faults(&self, faults: &[String]) {
        for fault in faults {
            let fault = self.secrets.clean(fault);
            tracing::warn!(portal = %self.portal, "a record of HubSpot's is passed over: {fault}");
        }
    }

    /// Deals with their history and without their contacts, as many as fit into one call.
    async fn batch_of(&self, deals: &[DealId]) -> Result<FoundDeals, VendorError> {
        let path = self.path("objects", "deals/batch/read");
        let asked: Vec<&str> = deals.iter().map(DealId::as_str).collect();
        let body = json!({"properties": wire::DEAL_PROPERTIES,
            "propertiesWithHistory": ["dealstage"], "inputs": inputs(&asked)});
        let answer = self.call(&path, Some(&body), false).await?;
        let read = |record: &Value| Ok((wire::deal(record)?, wire::merged(record)));
        let batch = wire::batch(&answer, &asked, read).map_err(|fault| self.odd(&fault))?;
        self.log_faults(&batch.faults);
        let mut found = FoundDeals::default();
        for (deal, merged) in batch.found {
            let into = merged.into_iter().map(|from| Merge {
                from,
                into: deal.id.clone(),
            });
            found.merged.extend(into);
            found.deals.push(deal);
        }
        let missing = batch.missing.iter();
        found.missing = missing.filter_map(|id| DealId::new(id).ok()).collect();
        Ok(found)
    }

    /// The contacts of deals, inner pages followed.
    async fn contacts_of(
        &self,
        deals: &[DealId],
    ) -> Result<BTreeMap<DealId, BTreeSet<ContactId>>, VendorError> {
        let path = self.path("associations", "deals/contacts/batch/read");
        let mut contacts = BTreeMap::new();
        for chunk in deals.chunks(BATCH) {
            let mut inputs: Vec<Value> = chunk
                .iter()
                .map(|deal| json!({"id": deal.as_str()}))
                .collect();
            let mut asked = BTreeSet::new();
            for round in 0.. {
                let body = json!({ "inputs": inputs });
                let answer = self.call(&path, Some(&body), false).await?;
                let more =
                    wire::associations(&answer, &mut contacts).map_err(|fault| self.odd(&fault))?;
                if more.is_empty() {
                    break;
                }
                // A cursor given twice would lead round for ever.
                if round >= ROUNDS || !more.iter().all(|next| asked.insert(next.clone())) {
                    return Err(self.odd("the associations of a deal do not end"));
                }
                inputs = more
                    .iter()
                    .map(|(deal, after)| json!({"id": deal.as_str(), "after": after}))
                    .collect();
            }
        }
        Ok(contacts)
    }
}

/// Ids without repeats, in their order.
fn unique<T: Ord + Clone>(ids: &[T]) -> Vec<T> {
    let set: BTreeSet<&T> = ids.iter().collect();
    set.into_iter().cloned().collect()
}

fn inputs(ids: &[&str]) -> Vec<Value> {
    ids.iter().map(|id| json!({ "id": id })).collect()
}

#[async_trait]
impl HubSpot for HubSpotClient {
    async fn pipeline_stages(&self) -> Result<Vec<PipelineStage>, VendorError> {
        let path = self.path("pipelines", "deals");
        let body = self.call(&path, None, false).await?;
        let mut stages = wire::pipeline_stages(&body).map_err(|fault| self.odd(&fault))?;
        if !self.pipelines.is_empty() {
            stages.retain(|stage| self.pipelines.contains(&stage.pipeline));
        }
        Ok(stages)
    }

    async fn search_deals(&self, search: &Search) -> Result<SearchPage, VendorError> {
        let path = self.path("objects", "deals/search");
        let body = self
            .call(&path, Some(&wire::search_body(search)), true)
            .await?;
        wire::search_page(&body).map_err(|fault| self.odd(&fault))
    }

    async fn list_deals(
        &self,
        after: Option<&str>,
        is_archived: bool,
    ) -> Result<ListPage, VendorError> {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("limit", &BATCH.to_string())
            .append_pair("properties", "hs_lastmodifieddate")
            .append_pair("archived", if is_archived { "true" } else { "false" })
            .extend_pairs(after.map(|after| ("after", after)))
            .finish();
        let path = format!("{}?{query}", self.path("objects", "deals"));
        let body = self.call(&path, None, false).await?;
        wire::list_page(&body).map_err(|fault| self.odd(&fault))
    }

    async fn deals(&self, ids: &[DealId]) -> Result<FoundDeals, VendorError> {
        let ids = unique(ids);
        let read = ids
            .chunks(BATCH_WITH_HISTORY)
            .map(|ids| (false, ids.to_vec()));
        let link = ids.chunks(BATCH).map(|ids| (true, ids.to_vec()));
        let parts = read
            .chain(link)
            .map(|(is_link, ids)| async move {
                Ok::<_, VendorError>(if is_link {
                    (FoundDeals::default(), self.contacts_of(&ids).await?)
                } else {
                    (self.batch_of(&ids).await?, BTreeMap::new())
                })
            })
            .collect();
        let mut found = FoundDeals::default();
        let mut contacts = BTreeMap::new();
        for (more, links) in together::all(&*self.clock, || self.pace.width(), parts).await? {
            found.deals.extend(more.deals);
            found.missing.extend(more.missing);
            found.merged.extend(more.merged);
            contacts.extend(links);
        }
        for deal in &mut found.deals {
            let own = contacts.remove(&deal.id).unwrap_or_default();
            deal.contacts = own.into_iter().collect();
        }
        Ok(found)
    }

    async fn contacts(
        &self,
        ids: &[ContactId],
    ) -> Result<(Vec<Contact>, Vec<ContactId>), VendorError> {
        let path = self.path("objects", "contacts/batch/read");
        let properties = self.properties.names(self.hasher.is_some());
        let (path, properties) = (&path, &properties);
        let parts = unique(ids)
            .chunks(BATCH)
            .map(<[ContactId]>::to_vec)
            .map(|ids| async move {
                let asked: Vec<&str> = ids.iter().map(ContactId::as_str).collect();
                let body = json!({"properties": properties, "inputs": inputs(&asked)});
                let answer = self.call(path, Some(&body), false).await?;
                let read =
                    |record: &Value| wire::contact(record, &self.properties, self.hasher.as_ref());
                wire::batch(&answer, &asked, read).map_err(|fault| self.odd(&fault))
            })
            .collect();
        let (mut contacts, mut missing) = (Vec::new(), Vec::new());
        for batch in together::all(&*self.clock, || self.pace.width(), parts).await? {
            self.log_faults(&batch.faults);
            contacts.extend(batch.found);
            missing.extend(
                batch
                    .missing
                    .iter()
                    .filter_map(|id| ContactId::new(id).ok()),
            );
        }
        Ok((contacts, missing))
    }
}

//! The client of Meta's Marketing API. `send` is the only place where a request to Meta is
//! built, and it takes a permit by value: there is no way round the gate.
//!
//! Nothing is tried twice here. A read is repeated by its caller's schedule, each time with a
//! permit of its own; a write whose effect is unknown is read back first.

use std::fmt;
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::errors::{self, Class, Envelope, META, Rest};
use super::limits::UseCase;
use super::reports::ReportState;
use super::throttle::{CallKind, MetaGate, Scope};
use super::usage::Usage;
use super::{
    Activity, BATCH_MAX, Cursor, InsightsQuery, LiveSettings, MetaAds, Page, Permit, TokenState,
    WriteReceipt, lead_wire, signature, wire,
};
use crate::clock::Clock;
use crate::domain::change::Target;
use crate::domain::ids::{AdAccountId, LeadId};
use crate::domain::insight::AdInsight;
use crate::domain::keyed_hash::KeyedHasher;
use crate::domain::lead::Lead;
use crate::domain::money::Currency;
use crate::domain::structure::{Account, Ad, AdSet, Campaign, EntityRef, RunStatus};
use crate::domain::time::{self, Timestamp};
use crate::domain::visit::is_vendor_number;
use crate::vendors::http::{self, Answer, Lost, Secrets, SetupError};
use crate::vendors::{Refusal, VendorError};

/// Rows a page of campaigns and ad sets.
const PAGE: &str = "100";
/// Rows a page of ads: their creatives are long, and Meta refuses answers that grow too large.
const AD_PAGE: &str = "50";
/// Every status but deleted. Source: Meta, `effective_status` of campaign, ad set and ad.
const CAMPAIGN_STATUSES: &str = r#"["ACTIVE","PAUSED","ARCHIVED","IN_PROCESS","WITH_ISSUES"]"#;
const AD_SET_STATUSES: &str =
    r#"["ACTIVE","PAUSED","ARCHIVED","IN_PROCESS","WITH_ISSUES","CAMPAIGN_PAUSED"]"#;
const AD_STATUSES: &str = r#"["ACTIVE","PAUSED","ARCHIVED","IN_PROCESS","WITH_ISSUES","CAMPAIGN_PAUSED","ADSET_PAUSED","DISAPPROVED","PENDING_REVIEW","PREAPPROVED","PENDING_BILLING_INFO"]"#;

/// What a client needs to know.
#[derive(Debug, Clone)]
pub struct MetaClientConfig {
    /// `https://graph.facebook.com`, or a sandbox on this machine.
    pub base_url: String,
    /// Such as `v25.0`.
    pub api_version: String,
    /// The account this client is for.
    pub ad_account: AdAccountId,
    /// The system user's token.
    pub token: SecretString,
    /// The app, to ask what the token may do.
    pub app_id: Option<String>,
    /// The app's secret; with it every call carries a proof.
    pub app_secret: Option<SecretString>,
    /// The longest a call may take.
    pub timeout: Duration,
}

/// One account at Meta.
pub struct MetaClient {
    base: String,
    version: String,
    root: String,
    account: AdAccountId,
    authorization: HeaderValue,
    proof: Option<String>,
    app: Option<(String, SecretString)>,
    token: SecretString,
    timeout: Duration,
    secrets: Secrets,
    gate: Arc<MetaGate>,
    clock: Arc<dyn Clock>,
    http: reqwest::Client,
    leave: Option<Leave>,
    hasher: Option<KeyedHasher>,
    has_warned: AtomicBool,
}

/// Whether a call may leave this process now: asked as the last step before it does.
pub type Leave = Arc<dyn Fn() -> bool + Send + Sync>;

impl fmt::Debug for MetaClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MetaClient({} at {})", self.account, self.root)
    }
}

/// What a call needs of its permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Reads structure.
    Read,
    /// Reads figures.
    Insights,
    /// Orders a report of figures, which changes nothing.
    Report,
    /// Reads leads, several by one call.
    Leads,
    /// Reads what a safety write is about to change: must work when ordinary reads are refused.
    Settings,
    /// Writes.
    Write,
    /// Pauses.
    Pause,
}

impl Need {
    const fn accepts(self, kind: CallKind) -> bool {
        match self {
            Self::Read => matches!(kind, CallKind::Read),
            Self::Insights | Self::Report => matches!(kind, CallKind::Insights),
            Self::Leads => matches!(kind, CallKind::Leads),
            Self::Settings => matches!(kind, CallKind::Read | CallKind::SafetyWrite),
            Self::Write => matches!(kind, CallKind::Write),
            Self::Pause => matches!(kind, CallKind::Write | CallKind::SafetyWrite),
        }
    }

    const fn is_write(self) -> bool {
        matches!(self, Self::Write | Self::Pause)
    }

    /// Whether its parameters go into the body.
    const fn is_post(self) -> bool {
        self.is_write() || matches!(self, Self::Report | Self::Leads)
    }

    /// What Meta counts it under.
    const fn use_case(self) -> UseCase {
        match self {
            Self::Read | Self::Settings | Self::Write | Self::Pause => UseCase::Management,
            Self::Insights | Self::Report => UseCase::Insights,
            Self::Leads => UseCase::Leads,
        }
    }
}

type Parameters = Vec<(&'static str, String)>;

struct Answered {
    body: Value,
    request: Option<String>,
}

impl MetaClient {
    /// A client for one account.
    ///
    /// # Errors
    /// [`SetupError`] when address, version or token are not usable.
    pub fn new(
        config: MetaClientConfig,
        gate: Arc<MetaGate>,
        clock: Arc<dyn Clock>,
        http: reqwest::Client,
    ) -> Result<Self, SetupError> {
        let base = http::base_url(&config.base_url)?;
        if !is_version(&config.api_version) {
            return Err(SetupError::BadVersion {
                vendor: META,
                version: config.api_version,
                form: "v25.0",
            });
        }
        let bad_token = || SetupError::BadToken { vendor: META };
        if !http::is_token(&config.token) {
            return Err(bad_token());
        }
        let token = config.token.expose_secret();
        let proof = config.app_secret.as_ref().map(|secret| {
            signature::appsecret_proof(secret.expose_secret().as_bytes(), token.as_bytes())
        });
        let secrets = Secrets::new(
            [config.token.clone()]
                .into_iter()
                .chain(config.app_secret.clone())
                .chain(proof.clone().map(SecretString::from)),
        );
        Ok(Self {
            root: format!("{base}/{}", config.api_version),
            base,
            version: config.api_version,
            authorization: bearer(token).ok_or_else(bad_token)?,
            account: config.ad_account,
            proof,
            app: config.app_id.zip(config.app_secret),
            token: config.token,
            timeout: config.timeout,
            secrets,
            gate,
            clock,
            http,
            leave: None,
            hasher: None,
            has_warned: AtomicBool::new(false),
        })
    }

    /// The same client for a node that shares its tenants with others: nothing leaves while `leave`
    /// says no. What is left is the time that a request takes from here to Meta, at most the
    /// client's time-out, and whoever takes the tenant over waits that long.
    #[must_use]
    pub fn with_leave(mut self, leave: Leave) -> Self {
        self.leave = Some(leave);
        self
    }

    /// The same client, that keeps hashes of the people in leads.
    #[must_use]
    pub fn with_hasher(mut self, hasher: Option<KeyedHasher>) -> Self {
        self.hasher = hasher;
        self
    }

    /// Spends a permit on a call. The only place that builds a request to Meta.
    async fn send(
        &self,
        permit: Permit,
        need: Need,
        path: &str,
        parameters: Parameters,
        authorization: &HeaderValue,
    ) -> Result<Answered, VendorError> {
        self.check(&permit, need)?;
        let url = match need {
            // A batch goes to the root; each of its calls names the version.
            Need::Leads => format!("{}/", self.base),
            _ => format!("{}/{path}", self.root),
        };
        let is_ours = *authorization == self.authorization;
        let proof = self
            .proof
            .iter()
            .filter(|_| is_ours)
            .map(|proof| ("appsecret_proof", proof.clone()));
        let parameters: Parameters = parameters.into_iter().chain(proof).collect();
        let request = if need.is_post() {
            self.http.post(url).form(&parameters)
        } else {
            self.http.get(url).query(&parameters)
        };
        let request = request
            .header(AUTHORIZATION, authorization.clone())
            .timeout(self.timeout);
        if self.leave.as_ref().is_some_and(|leave| !leave()) {
            return Err(VendorError::Retry {
                vendor: META,
                detail: "this node does not hold the tenant any more; nothing was sent".to_owned(),
                after: None,
                cause: None,
            });
        }
        match http::exchange(request).await {
            Ok(answer) => self.read(answer, need),
            Err(lost) => Err(self.lost(lost, need)),
        }
    }

    /// A permit of another account, of the wrong kind or gone stale sends nothing.
    fn check(&self, permit: &Permit, need: Need) -> Result<(), VendorError> {
        if permit.account() != &self.account {
            let detail = format!(
                "the permit is for {}, the call for {}; nothing was sent",
                permit.account(),
                self.account
            );
            return Err(refused(Refusal::Other, detail));
        }
        if !need.accepts(permit.kind()) {
            let detail = format!(
                "a {} permit does not allow this call; nothing was sent",
                permit.kind().as_str()
            );
            return Err(refused(Refusal::Other, detail));
        }
        if permit.is_stale(self.clock.wall()) {
            return Err(VendorError::Retry {
                vendor: META,
                detail: "the permit went stale before the call; nothing was sent".to_owned(),
                after: None,
                cause: None,
            });
        }
        Ok(())
    }

    /// Reads an answer: first what it says about limits, which errors say too, then the rest.
    fn read(&self, answer: Answer, need: Need) -> Result<Answered, VendorError> {
        let header = |name: &str| text(&answer.headers, name);
        let usage = Usage::read(header);
        self.gate.observe(&self.account, &usage);
        if let Some(warning) = header("x-ad-api-version-warning")
            && !self.has_warned.swap(true, Ordering::Relaxed)
        {
            let warning = self.secrets.clean(warning);
            tracing::warn!(
                account = %self.account,
                alert = "api_version",
                "Meta warns about the API version in use, raise meta.api_version: {warning}"
            );
        }
        let request = header("x-fb-request-id")
            .or(header("x-fb-trace-id"))
            .map(|id| self.secrets.clean(id));
        let bytes = match answer.body {
            Ok(bytes) => bytes,
            Err(lost) => return Err(self.lost(lost, need)),
        };
        let status = answer.status;
        let Ok(body) = serde_json::from_slice::<Value>(&bytes) else {
            let head = http::glimpse(&bytes);
            return Err(self.unreadable(
                format!("HTTP {status} with something else than JSON: {head:?}"),
                status,
                need,
                &usage,
            ));
        };
        if let Some(envelope) = Envelope::read(&body) {
            return Err(self.refusal(&envelope, status, request, need, &usage));
        }
        if !(200..300).contains(&status) {
            let detail = format!("HTTP {status} without an error of Meta's");
            return Err(self.unreadable(detail, status, need, &usage));
        }
        Ok(Answered { body, request })
    }

    fn refusal(
        &self,
        envelope: &Envelope,
        status: u16,
        request: Option<String>,
        need: Need,
        usage: &Usage,
    ) -> VendorError {
        let class = errors::classify(envelope, status);
        let detail = self.secrets.clean(&envelope.describe());
        let tier = self.gate.headroom(&self.account).tier;
        let rest = errors::rest(class, envelope.code, need.use_case(), usage, tier);
        if let Some(rest) = rest {
            self.rest(rest, &detail);
        }
        if matches!(class, Class::BadValue | Class::Permanent) {
            self.gate.user_error(&self.account, need.use_case());
        }
        let request = envelope
            .trace
            .as_deref()
            .map(|trace| self.secrets.clean(trace))
            .or(request);
        errors::error(class, detail, request, rest, need.is_write())
    }

    fn rest(&self, rest: Rest, reason: &str) {
        let until = time::add(self.clock.now(), rest.span());
        let scope = match rest {
            Rest::App(_) => Scope::App,
            Rest::Account(_) => Scope::Account(self.account.clone()),
            Rest::UseCase(case, _) => Scope::UseCase(self.account.clone(), case),
        };
        self.gate.cool_down(scope, until, reason);
    }

    /// An answer that is not Meta's JSON: a proxy's page, or one cut short.
    fn unreadable(&self, detail: String, status: u16, need: Need, usage: &Usage) -> VendorError {
        let detail = self.secrets.clean(&detail);
        let is_throttle = status == 429;
        if is_throttle {
            let tier = self.gate.headroom(&self.account).tier;
            let class = Class::AccountLimit;
            let rest = errors::rest(class, None, need.use_case(), usage, tier);
            if let Some(rest) = rest {
                self.rest(rest, &detail);
            }
            return errors::error(class, detail, None, rest, need.is_write());
        }
        errors::error(Class::Temporary, detail, None, None, need.is_write())
    }

    fn lost(&self, lost: Lost, need: Need) -> VendorError {
        let detail = lost.detail.to_owned();
        if need.is_write() && !lost.never_sent {
            VendorError::Unknown {
                vendor: META,
                detail,
                cause: lost.cause,
            }
        } else {
            VendorError::Retry {
                vendor: META,
                detail,
                after: None,
                cause: lost.cause,
            }
        }
    }

    /// Sends several reads as one call. Each is counted by Meta, and answered, by itself.
    async fn batch(
        &self,
        permit: Permit,
        need: Need,
        paths: &[String],
    ) -> Result<Vec<Result<Answered, VendorError>>, VendorError> {
        let calls: Vec<Value> = paths
            .iter()
            .map(|path| {
                let url = format!("{}/{path}", self.version);
                serde_json::json!({"method": "GET", "relative_url": url})
            })
            .collect();
        let parameters = vec![
            ("batch", Value::Array(calls).to_string()),
            ("include_headers", "true".to_owned()),
        ];
        let answered = self
            .send(permit, need, "", parameters, &self.authorization)
            .await?;
        let Value::Array(answers) = answered.body else {
            return Err(self.odd("it answered a batch with something else than a list"));
        };
        if answers.len() != paths.len() {
            return Err(self.odd("it answered fewer or more calls than it was asked"));
        }
        let read = answers.into_iter().map(|answer| match inner(&answer) {
            Some(answer) => self.read(answer, need),
            None => Err(self.odd("it did not get round to this call of a batch")),
        });
        Ok(read.collect())
    }

    async fn get(
        &self,
        permit: Permit,
        path: &str,
        parameters: Parameters,
    ) -> Result<Value, VendorError> {
        self.get_as(Need::Read, permit, path, parameters).await
    }

    async fn get_as(
        &self,
        need: Need,
        permit: Permit,
        path: &str,
        parameters: Parameters,
    ) -> Result<Value, VendorError> {
        let answered = self
            .send(permit, need, path, parameters, &self.authorization)
            .await?;
        Ok(answered.body)
    }

    async fn list<T>(
        &self,
        permit: Permit,
        edge: &str,
        mut parameters: Parameters,
        after: Option<&Cursor>,
        row: impl Fn(Value) -> Result<T, String>,
    ) -> Result<Page<T>, VendorError> {
        parameters.extend(after.map(|cursor| ("after", cursor.0.clone())));
        let path = format!("{}/{edge}", self.account);
        let body = self.get(permit, &path, parameters).await?;
        wire::page(body, after, row).map_err(|fault| self.odd(&fault))
    }

    /// An answer in JSON that has another shape than documented.
    fn odd(&self, fault: &str) -> VendorError {
        VendorError::Retry {
            vendor: META,
            detail: self.secrets.clean(&format!("it answered oddly: {fault}")),
            after: None,
            cause: None,
        }
    }
}

/// What a write takes, and the parameters that say it.
fn setting(entity: &EntityRef, target: Target) -> Result<(Need, Parameters), VendorError> {
    match (entity, target) {
        (_, Target::Status(RunStatus::Paused)) => {
            Ok((Need::Pause, vec![("status", "PAUSED".to_owned())]))
        }
        (_, Target::Status(RunStatus::Active)) => {
            Ok((Need::Write, vec![("status", "ACTIVE".to_owned())]))
        }
        // Meta takes minor units of its own table, which is what our money is.
        (EntityRef::Campaign(_) | EntityRef::AdSet(_), Target::DailyBudget(money))
            if money.minor() > 0 =>
        {
            let budget = money.minor().to_string();
            Ok((Need::Write, vec![("daily_budget", budget)]))
        }
        (_, Target::DailyBudget(_) | Target::Status(_)) => {
            let detail = format!("{entity} cannot be set to {target}; nothing was sent");
            Err(refused(Refusal::BadValue, detail))
        }
    }
}

impl MetaClient {
    /// Sends a write, and makes sure that Meta says it did it.
    async fn send_setting(
        &self,
        permit: Permit,
        entity: &EntityRef,
        need: Need,
        parameters: Parameters,
    ) -> Result<WriteReceipt, VendorError> {
        let id = object_id(entity)?;
        let answered = self
            .send(permit, need, id, parameters, &self.authorization)
            .await?;
        let body = &answered.body;
        let is_accepted = match body.get("success") {
            Some(success) => success == &Value::Bool(true) || success == "true",
            None => body.get("id").is_some(),
        };
        if is_accepted {
            Ok(WriteReceipt {
                request: answered.request,
            })
        } else {
            Err(VendorError::Unknown {
                vendor: META,
                detail: "it answered neither that it did it nor why not".to_owned(),
                cause: None,
            })
        }
    }
}

#[async_trait]
impl MetaAds for MetaClient {
    fn ad_account(&self) -> &AdAccountId {
        &self.account
    }

    async fn account(&self, permit: Permit) -> Result<Account, VendorError> {
        let fields = vec![("fields", wire::ACCOUNT_FIELDS.to_owned())];
        let body = self.get(permit, &self.account.to_string(), fields).await?;
        let account = wire::account(body).map_err(|fault| {
            // An unknown currency does not go away by asking again.
            let detail = format!("{} cannot be used: {fault}", self.account);
            refused(Refusal::Other, self.secrets.clean(&detail))
        })?;
        if account.id != self.account {
            return Err(self.odd("it described another account"));
        }
        Ok(account)
    }

    async fn campaigns(
        &self,
        permit: Permit,
        currency: Currency,
        after: Option<&Cursor>,
    ) -> Result<Page<Campaign>, VendorError> {
        let parameters = edge(wire::CAMPAIGN_FIELDS, CAMPAIGN_STATUSES, PAGE);
        self.list(permit, "campaigns", parameters, after, |row| {
            wire::campaign(row, currency)
        })
        .await
    }

    async fn ad_sets(
        &self,
        permit: Permit,
        currency: Currency,
        after: Option<&Cursor>,
    ) -> Result<Page<AdSet>, VendorError> {
        let parameters = edge(wire::AD_SET_FIELDS, AD_SET_STATUSES, PAGE);
        self.list(permit, "adsets", parameters, after, |row| {
            wire::ad_set(row, currency)
        })
        .await
    }

    async fn ads(&self, permit: Permit, after: Option<&Cursor>) -> Result<Page<Ad>, VendorError> {
        let parameters = edge(wire::AD_FIELDS, AD_STATUSES, AD_PAGE);
        self.list(permit, "ads", parameters, after, wire::ad).await
    }

    async fn insights(
        &self,
        permit: Permit,
        currency: Currency,
        query: &InsightsQuery,
        after: Option<&Cursor>,
    ) -> Result<Page<AdInsight>, VendorError> {
        let mut parameters = figures(query);
        parameters.push(("limit", page_size(query)));
        parameters.extend(after.map(|cursor| ("after", cursor.0.clone())));
        let path = format!("{}/insights", self.account);
        let body = self
            .get_as(Need::Insights, permit, &path, parameters)
            .await?;
        wire::insights(body, after, currency, query).map_err(|fault| self.odd(&fault))
    }

    async fn order_report(
        &self,
        permit: Permit,
        query: &InsightsQuery,
    ) -> Result<String, VendorError> {
        let path = format!("{}/insights", self.account);
        let body = self
            .get_as(Need::Report, permit, &path, figures(query))
            .await?;
        let run = body.get("report_run_id");
        let run = run.and_then(Value::as_str).filter(|run| is_number(run));
        run.map(ToOwned::to_owned)
            .ok_or_else(|| self.odd("it named no report"))
    }

    async fn report_state(&self, permit: Permit, run: &str) -> Result<ReportState, VendorError> {
        if !is_number(run) {
            return Ok(ReportState::Missing);
        }
        let fields = vec![("fields", wire::REPORT_FIELDS.to_owned())];
        match self.get_as(Need::Insights, permit, run, fields).await {
            Ok(body) => wire::report(&body).ok_or_else(|| self.odd("a report has no status")),
            Err(VendorError::Refused {
                kind: Refusal::NotFound,
                ..
            }) => Ok(ReportState::Missing),
            Err(error) => Err(error),
        }
    }

    async fn report_rows(
        &self,
        permit: Permit,
        currency: Currency,
        run: &str,
        query: &InsightsQuery,
        after: Option<&Cursor>,
    ) -> Result<Option<Page<AdInsight>>, VendorError> {
        if !is_number(run) {
            return Ok(None);
        }
        let mut parameters = vec![("limit", page_size(query))];
        parameters.extend(after.map(|cursor| ("after", cursor.0.clone())));
        let path = format!("{run}/insights");
        match self.get_as(Need::Insights, permit, &path, parameters).await {
            Ok(body) => wire::insights(body, after, currency, query)
                .map(Some)
                .map_err(|fault| self.odd(&fault)),
            Err(VendorError::Refused {
                kind: Refusal::NotFound,
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn activities(
        &self,
        permit: Permit,
        since: Timestamp,
        until: Timestamp,
        after: Option<&Cursor>,
    ) -> Result<Page<Activity>, VendorError> {
        let parameters = vec![
            ("fields", wire::ACTIVITY_FIELDS.to_owned()),
            ("since", since.as_second().to_string()),
            ("until", until.as_second().to_string()),
            ("limit", PAGE.to_owned()),
        ];
        self.list(permit, "activities", parameters, after, wire::activity)
            .await
    }

    async fn settings(
        &self,
        permit: Permit,
        currency: Currency,
        entity: &EntityRef,
    ) -> Result<Option<LiveSettings>, VendorError> {
        let id = object_id(entity)?;
        let fields = vec![("fields", wire::settings_fields(entity).to_owned())];
        let answered = self
            .send(permit, Need::Settings, id, fields, &self.authorization)
            .await;
        match answered {
            Ok(answered) => wire::settings(answered.body, entity, &self.account, currency)
                .map(Some)
                .map_err(|fault| {
                    let detail = format!("the settings of {entity} cannot be used: {fault}");
                    refused(Refusal::Other, self.secrets.clean(&detail))
                }),
            Err(VendorError::Refused {
                kind: Refusal::NotFound,
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn rehearse(
        &self,
        permit: Permit,
        entity: &EntityRef,
        target: Target,
    ) -> Result<(), VendorError> {
        let (need, mut parameters) = setting(entity, target)?;
        let only = r#"["validate_only"]"#.to_owned();
        parameters.push(("execution_options", only));
        self.send_setting(permit, entity, need, parameters).await?;
        Ok(())
    }

    async fn write(
        &self,
        permit: Permit,
        entity: &EntityRef,
        target: Target,
    ) -> Result<WriteReceipt, VendorError> {
        let (need, parameters) = setting(entity, target)?;
        self.send_setting(permit, entity, need, parameters).await
    }

    async fn leads(
        &self,
        permit: Permit,
        ids: &[LeadId],
    ) -> Result<Vec<Result<Option<Lead>, VendorError>>, VendorError> {
        let most = (permit.calls() as usize).min(BATCH_MAX).min(ids.len());
        let ids = ids.get(..most).unwrap_or_default();
        let is_readable = |id: &&LeadId| is_vendor_number(id.as_str());
        let fields = lead_wire::LEAD_FIELDS;
        let paths: Vec<String> = ids
            .iter()
            .filter(is_readable)
            .map(|id| format!("{id}?fields={fields}"))
            .collect();
        let mut answers = if paths.is_empty() {
            Vec::new().into_iter()
        } else {
            self.batch(permit, Need::Leads, &paths).await?.into_iter()
        };
        let read = ids.iter().map(|id| {
            if !is_readable(&id) {
                return Ok(None);
            }
            let answer = answers.next();
            let answer = answer.unwrap_or_else(|| Err(self.odd("it left out an answer")));
            self.read_lead(id, answer.map(|answered| answered.body))
        });
        Ok(read.collect())
    }

    async fn token_state(&self, permit: Permit) -> Result<TokenState, VendorError> {
        self.ask_token_state(permit).await
    }
}

impl MetaClient {
    fn read_lead(
        &self,
        id: &LeadId,
        body: Result<Value, VendorError>,
    ) -> Result<Option<Lead>, VendorError> {
        match body {
            Ok(body) => lead_wire::lead(&body, id, self.hasher.as_ref())
                .map(Some)
                .map_err(|fault| self.odd(&fault)),
            Err(VendorError::Refused {
                kind: Refusal::NotFound,
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn ask_token_state(&self, permit: Permit) -> Result<TokenState, VendorError> {
        let Some((app_id, app_secret)) = &self.app else {
            let fields = vec![("fields", "id".to_owned())];
            return match self.get(permit, "me", fields).await {
                Ok(_) => Ok(TokenState {
                    is_valid: true,
                    expires_at: None,
                    scopes: Vec::new(),
                }),
                Err(VendorError::Unauthorized { .. }) => Ok(TokenState {
                    is_valid: false,
                    expires_at: None,
                    scopes: Vec::new(),
                }),
                Err(error) => Err(error),
            };
        };
        let app_token = SecretString::from(format!("{app_id}|{}", app_secret.expose_secret()));
        let authorization = bearer(app_token.expose_secret())
            .ok_or_else(|| refused(Refusal::Other, "the app secret is malformed".to_owned()))?;
        // The one call that has the token as a parameter, since it is what is asked about. Errors
        // carry no address, so it is seen by Meta alone.
        let parameters = vec![("input_token", self.token.expose_secret().to_owned())];
        let answered = self
            .send(
                permit,
                Need::Read,
                "debug_token",
                parameters,
                &authorization,
            )
            .await?;
        token_state(&answered.body).ok_or_else(|| self.odd("it told nothing about the token"))
    }
}

/// The answer to one call of a batch; `None` for one that was not run.
fn inner(answer: &Value) -> Option<Answer> {
    let status = answer.get("code")?.as_u64()?;
    let mut headers = HeaderMap::new();
    let told = answer.get("headers").and_then(Value::as_array);
    for header in told.into_iter().flatten() {
        let text = |key| header.get(key).and_then(Value::as_str);
        let name = text("name").and_then(|name| HeaderName::from_str(name).ok());
        let value = text("value").and_then(|value| HeaderValue::from_str(value).ok());
        if let (Some(name), Some(value)) = (name, value) {
            headers.insert(name, value);
        }
    }
    Some(Answer {
        status: u16::try_from(status).ok()?,
        headers,
        body: Ok(answer.get("body")?.as_str()?.as_bytes().to_vec()),
    })
}

/// Reads `debug_token`. An end of 0 means never.
fn token_state(body: &Value) -> Option<TokenState> {
    let data = body.get("data")?;
    let end = |key: &str| {
        let seconds = data.get(key).and_then(Value::as_i64)?;
        (seconds > 0).then(|| time::from_seconds(seconds))
    };
    // Access to data may end before the token does; either end stops us.
    let ends = [end("expires_at"), end("data_access_expires_at")];
    let scopes = data.get("scopes").and_then(Value::as_array);
    Some(TokenState {
        is_valid: data.get("is_valid")?.as_bool()?,
        expires_at: ends.into_iter().flatten().min(),
        scopes: scopes
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(ToOwned::to_owned)
            .collect(),
    })
}

/// What a read of figures asks for, whether at once or as a report.
fn figures(query: &InsightsQuery) -> Parameters {
    let range = format!(r#"{{"since":"{}","until":"{}"}}"#, query.since, query.until);
    let mut parameters = vec![
        ("level", "ad".to_owned()),
        ("time_range", range),
        ("time_increment", "1".to_owned()),
    ];
    if query.is_hourly {
        parameters.push(("fields", wire::HOURLY_INSIGHT_FIELDS.to_owned()));
        parameters.push(("breakdowns", wire::HOURLY.to_owned()));
    } else {
        parameters.push(("fields", wire::INSIGHT_FIELDS.to_owned()));
    }
    if !query.campaigns.is_empty() {
        let ids: Vec<&str> = query.campaigns.iter().map(|id| id.as_str()).collect();
        let filter = serde_json::json!([
            {"field": "campaign.id", "operator": "IN", "value": ids}
        ]);
        parameters.push(("filtering", filter.to_string()));
    }
    parameters
}

fn page_size(query: &InsightsQuery) -> String {
    query.page_size.clamp(1, 500).to_string()
}

/// Whether it is one of Meta's numbers, so that it leads nowhere else as part of an address.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn edge(fields: &str, statuses: &str, limit: &str) -> Parameters {
    vec![
        ("fields", fields.to_owned()),
        ("effective_status", statuses.to_owned()),
        ("limit", limit.to_owned()),
    ]
}

/// The id as part of an address: digits alone, so that no id leads elsewhere.
fn object_id(entity: &EntityRef) -> Result<&str, VendorError> {
    let id = entity.id();
    if is_number(id) {
        Ok(id)
    } else {
        let detail = format!("{entity} has no id of Meta's; nothing was sent");
        Err(refused(Refusal::BadValue, detail))
    }
}

fn refused(kind: Refusal, detail: String) -> VendorError {
    VendorError::Refused {
        vendor: META,
        detail,
        kind,
        request: None,
    }
}

fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// `v25.0`.
fn is_version(text: &str) -> bool {
    let digits = |part: &str| (1..=3).contains(&part.len()) && part.parse::<u16>().is_ok();
    text.strip_prefix('v')
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(major, minor)| digits(major) && digits(minor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_version_has_two_numbers() {
        for (text, ok) in [
            ("v25.0", true),
            ("25.0", false),
            ("v25", false),
            ("v25.0/../x", false),
            ("", false),
        ] {
            assert_eq!(is_version(text), ok, "{text}");
        }
    }

    #[test]
    fn a_token_ends_with_its_access_to_data() {
        let state = token_state(&json!({"data": {"is_valid": true, "expires_at": 0,
            "data_access_expires_at": 1_790_000_000, "scopes": ["ads_read"]}}))
        .unwrap();
        assert_eq!(state.expires_at, Some(time::from_seconds(1_790_000_000)));
        assert_eq!(state.scopes, ["ads_read"]);
        let never = token_state(&json!({"data": {"is_valid": true, "expires_at": 0}})).unwrap();
        assert_eq!(never.expires_at, None);
        assert_eq!(token_state(&json!({"error": {}})), None);
    }

    #[test]
    fn a_permit_allows_its_kind_alone() {
        use CallKind::{Insights, Leads, Read, SafetyWrite, Write};
        let check = |need: Need, allowed: &[CallKind]| {
            for kind in [Read, Insights, Leads, Write, SafetyWrite] {
                assert_eq!(need.accepts(kind), allowed.contains(&kind), "{need:?}");
            }
        };
        check(Need::Read, &[Read]);
        check(Need::Insights, &[Insights]);
        check(Need::Report, &[Insights]);
        check(Need::Leads, &[Leads]);
        check(Need::Settings, &[Read, SafetyWrite]);
        check(Need::Write, &[Write]);
        check(Need::Pause, &[Write, SafetyWrite]);
    }
}

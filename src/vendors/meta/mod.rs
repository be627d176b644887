//! Meta's Marketing API. One method is one HTTP call, and each spends a [`Permit`], which only the
//! gate in [`throttle`] can make: so no code path goes round it.

pub mod client;
pub mod errors;
pub mod events;
mod lead_wire;
pub mod limits;
pub mod reports;
pub mod signature;
pub mod throttle;
pub mod usage;
pub mod versions;
mod wire;

use async_trait::async_trait;

use super::VendorError;
use crate::domain::change::Target;
use crate::domain::ids::{AdAccountId, CampaignId, LeadId};
use crate::domain::insight::AdInsight;
use crate::domain::lead::Lead;
use crate::domain::money::{Currency, Money};
use crate::domain::structure::{Account, Ad, AdSet, Budget, Campaign, EntityRef, RunStatus};
use crate::domain::time::{Date, Timestamp};
pub use throttle::Permit;

/// Calls that may travel together. Source: Meta, "Batch requests".
pub const BATCH_MAX: usize = 50;

/// One page of a list. An empty page may still have a next one.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page begins; never kept across runs, since cursors are not durable.
    pub next: Option<Cursor>,
    /// Rows that could not be read, in words; the others stand.
    pub faults: Vec<String>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            next: None,
            faults: Vec::new(),
        }
    }
}

/// Where a list goes on (Meta's `after`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub String);

/// What figures to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InsightsQuery {
    /// First day, in account time.
    pub since: Date,
    /// Last day, inclusive.
    pub until: Date,
    /// Hour by hour instead of day by day.
    pub is_hourly: bool,
    /// Rows a page; shrunk when Meta says that it is too much.
    pub page_size: u32,
    /// These campaigns alone; all when there are none.
    pub campaigns: Vec<CampaignId>,
}

/// The settings in force of one object, freshly read.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveSettings {
    /// The object.
    pub entity: EntityRef,
    /// Its own status.
    pub status: RunStatus,
    /// Its budget.
    pub budget: Budget,
    /// When it last changed, by whomever.
    pub updated_at: Timestamp,
    /// When its last significant edit was, for ad sets.
    pub last_significant_edit: Option<Timestamp>,
    /// What is spent today, where Meta said so.
    pub spent_today: Option<Money>,
}

/// One line of the account's own record of who changed what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// When.
    pub at: Timestamp,
    /// The kind, such as `update_ad_set_budget`.
    pub kind: String,
    /// The object's id.
    pub object_id: String,
    /// Who, by name.
    pub actor: String,
    /// The application it was done with; ours when it equals our app id.
    pub application_id: Option<String>,
    /// What else Meta told, as it came.
    pub extra: String,
}

/// What a write was answered with. Accepted is not applied: read it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteReceipt {
    /// Meta's number of the call, for the audit log.
    pub request: Option<String>,
}

/// The state of an access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenState {
    /// Whether it works.
    pub is_valid: bool,
    /// When it ends; `None` means never.
    pub expires_at: Option<Timestamp>,
    /// What it may do.
    pub scopes: Vec<String>,
}

/// One tenant's ad account at Meta. Reads take a read permit, writes a write permit; a permit for
/// another account or of the wrong kind is a programming error that is answered with
/// [`VendorError::Refused`] and sends nothing.
#[async_trait]
pub trait MetaAds: Send + Sync {
    /// The account this client is for.
    fn ad_account(&self) -> &AdAccountId;

    /// Reads the account.
    async fn account(&self, permit: Permit) -> Result<Account, VendorError>;

    /// Reads a page of campaigns, in every status but deleted.
    async fn campaigns(
        &self,
        permit: Permit,
        currency: Currency,
        after: Option<&Cursor>,
    ) -> Result<Page<Campaign>, VendorError>;

    /// Reads a page of ad sets.
    async fn ad_sets(
        &self,
        permit: Permit,
        currency: Currency,
        after: Option<&Cursor>,
    ) -> Result<Page<AdSet>, VendorError>;

    /// Reads a page of ads with their creatives' text.
    async fn ads(&self, permit: Permit, after: Option<&Cursor>) -> Result<Page<Ad>, VendorError>;

    /// Reads a page of figures. Rows outside the days asked for are left out and named as faults,
    /// since Meta ignores a range that it does not like.
    async fn insights(
        &self,
        permit: Permit,
        currency: Currency,
        query: &InsightsQuery,
        after: Option<&Cursor>,
    ) -> Result<Page<AdInsight>, VendorError>;

    /// Orders a report of figures and returns Meta's number of it. One that is ordered twice does no
    /// harm.
    async fn order_report(
        &self,
        permit: Permit,
        query: &InsightsQuery,
    ) -> Result<String, VendorError>;

    /// Asks how a report stands.
    async fn report_state(
        &self,
        permit: Permit,
        run: &str,
    ) -> Result<reports::ReportState, VendorError>;

    /// Reads a page of a report that is ready; `query` is what was ordered. `None` when it turns out
    /// not to be ready.
    async fn report_rows(
        &self,
        permit: Permit,
        currency: Currency,
        run: &str,
        query: &InsightsQuery,
        after: Option<&Cursor>,
    ) -> Result<Option<Page<AdInsight>>, VendorError>;

    /// Reads a page of the account's record of changes from `since` on.
    async fn activities(
        &self,
        permit: Permit,
        since: Timestamp,
        until: Timestamp,
        after: Option<&Cursor>,
    ) -> Result<Page<Activity>, VendorError>;

    /// Reads the settings in force of one object; `None` when it is not there or not visible.
    async fn settings(
        &self,
        permit: Permit,
        currency: Currency,
        entity: &EntityRef,
    ) -> Result<Option<LiveSettings>, VendorError>;

    /// Asks whether [`Self::write`] would be taken; nothing changes. Source: Meta's
    /// `execution_options=["validate_only"]`, which runs the checks of the write and counts as one.
    async fn rehearse(
        &self,
        permit: Permit,
        entity: &EntityRef,
        target: Target,
    ) -> Result<(), VendorError>;

    /// Sets a daily budget or a status.
    async fn write(
        &self,
        permit: Permit,
        entity: &EntityRef,
        target: Target,
    ) -> Result<WriteReceipt, VendorError>;

    /// Reads leads of lead forms by one call, as many of the first as the permit allows (and
    /// [`BATCH_MAX`] at most), and answers for each; `None` when it is not there or not visible: the
    /// page's leads take the right `leads_retrieval` and access to the page. Meta shows leads for about
    /// 90 days. One that Meta did not get round to is [`VendorError::Retry`]: to be asked for again.
    async fn leads(
        &self,
        permit: Permit,
        ids: &[LeadId],
    ) -> Result<Vec<Result<Option<Lead>, VendorError>>, VendorError>;

    /// Reads what the token may do.
    async fn token_state(&self, permit: Permit) -> Result<TokenState, VendorError>;
}

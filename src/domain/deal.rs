//! Deals and the stages they pass. Events arrive late, twice, out of order and backwards; the
//! order of a deal's history is that of the times the CRM gives, never that of arrival.

use super::ids::{ContactId, DealId, PipelineId, StageName, VendorStageId};
use super::money::Money;
use super::time::Timestamp;
use super::visit::KeyedHash;

/// A deal entered a stage.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageChange {
    /// When, by the CRM's clock.
    pub at: Timestamp,
    /// The stage entered, as the CRM names it.
    pub stage: VendorStageId,
}

/// An amount as the CRM gives it: a decimal text and the currency's code, unconverted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrmAmount {
    /// Decimal text in main units, such as `1500.50`.
    pub decimal: String,
    /// The deal's own currency; `None` means the CRM company's, which the configuration states.
    pub currency: Option<String>,
}

/// A deal as the CRM holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deal {
    /// Its id.
    pub id: DealId,
    /// Its name, for people.
    pub name: String,
    /// The pipeline it is in.
    pub pipeline: PipelineId,
    /// The stage it is in now.
    pub stage: VendorStageId,
    /// Its amount, once known.
    pub amount: Option<CrmAmount>,
    /// Every stage it entered, oldest first, without repeats.
    pub history: Vec<StageChange>,
    /// The people it is associated with, in order of id.
    pub contacts: Vec<ContactId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Deleted or archived in the CRM.
    pub is_archived: bool,
}

/// What a contact tells about the click that brought them. Personal data is not kept: no name, and
/// of mail address and telephone number keyed hashes, by which a lead form's lead is found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContactFacts {
    /// The id of the visit whose form they sent, from the property that roasd's script fills.
    pub roasd_click_id: Option<String>,
    /// `hs_facebook_click_id`, the fbclid; case-sensitive.
    pub facebook_click_id: Option<String>,
    /// Meta's lead id, of a lead form.
    pub meta_lead_id: Option<String>,
    /// An ad id from UTM parameters or a property of the customer's, digits only.
    pub ad_id: Option<String>,
    /// An ad set id likewise.
    pub ad_set_id: Option<String>,
    /// A campaign id likewise.
    pub campaign_id: Option<String>,
    /// The first page they saw, with its query.
    pub first_url: Option<String>,
    /// The mail address.
    pub email: Option<KeyedHash>,
    /// The telephone number.
    pub phone: Option<KeyedHash>,
    /// When the contact was made.
    pub created_at: Option<Timestamp>,
}

/// A contact of the CRM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Its id.
    pub id: ContactId,
    /// What it tells.
    pub facts: ContactFacts,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A pipeline's stage, as the CRM describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineStage {
    /// The pipeline.
    pub pipeline: PipelineId,
    /// The stage's id.
    pub id: VendorStageId,
    /// The label people see; it changes, the id does not.
    pub label: String,
    /// Its place in the pipeline.
    pub order: i64,
    /// Closed with probability 1.
    pub is_won: bool,
    /// Closed with probability 0.
    pub is_lost: bool,
}

/// What a stage is worth to the tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct StageValue {
    /// The configuration's name for it.
    pub name: StageName,
    /// The expected revenue of a deal in it; already the expectation, nothing is multiplied in.
    pub value: Money,
    /// How sure the owner is, 0 to 1: reported, never multiplied in.
    pub confidence: f64,
    /// The CRM's ids of this stage.
    pub vendor_ids: Vec<VendorStageId>,
    /// The sale: a deal's own amount wins over the value when it is known.
    pub is_won: bool,
    /// The deal is lost: worth nothing, and leaves the funnel.
    pub is_lost: bool,
}

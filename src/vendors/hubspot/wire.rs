//! HubSpot's JSON, read into the domain's values; pure. Every property is a text or null, numbers
//! too, and an empty text means not set. Source: HubSpot, CRM API reference (2026-09).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::walk::Search;
use super::{ChangedDeal, ListPage, SearchPage};
use crate::domain::deal::{Contact, ContactFacts, CrmAmount, Deal, PipelineStage, StageChange};
use crate::domain::ids::{ContactId, DealId, PipelineId, VendorStageId};
use crate::domain::keyed_hash::KeyedHasher;
use crate::domain::time::{self, Timestamp};

/// Hits a page of the search.
pub(super) const SEARCH_PAGE: usize = 200;

/// The deals that became part of this one, separated by semicolons. Not in HubSpot's list of deal
/// properties that we know, but asking for a property that there is not costs nothing.
const MERGED: &str = "hs_merged_object_ids";

pub(super) const DEAL_PROPERTIES: [&str; 8] = [
    "dealname",
    "dealstage",
    "pipeline",
    "amount",
    "deal_currency_code",
    "createdate",
    "hs_lastmodifieddate",
    MERGED,
];

/// The contact properties that tell of the click; each customer has other ones, so the names are
/// configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClickProperties {
    /// roasd's own visit id.
    pub roasd_click_id: String,
    /// The fbclid.
    pub facebook_click_id: String,
    /// Meta's lead id.
    pub meta_lead_id: String,
    /// Properties that hold an ad id, the first that does wins.
    pub ad_id: Vec<String>,
    /// Likewise for the ad set.
    pub ad_set_id: Vec<String>,
    /// Likewise for the campaign.
    pub campaign_id: Vec<String>,
    /// The first page seen.
    pub first_url: String,
}

impl Default for ClickProperties {
    fn default() -> Self {
        let names = |names: [&str; 2]| names.map(ToOwned::to_owned).to_vec();
        Self {
            roasd_click_id: "roasd_click_id".to_owned(),
            facebook_click_id: "hs_facebook_click_id".to_owned(),
            meta_lead_id: "leadgen_id".to_owned(),
            ad_id: names(["ad_id", "utm_content"]),
            ad_set_id: names(["adset_id", "utm_term"]),
            campaign_id: names(["campaign_id", "utm_campaign"]),
            first_url: "hs_analytics_first_url".to_owned(),
        }
    }
}

/// Where HubSpot keeps mail address and telephone numbers.
const PERSON: [&str; 3] = ["email", "phone", "mobilephone"];

impl ClickProperties {
    /// Every name to ask for, once.
    pub(super) fn names(&self, with_person: bool) -> Vec<&str> {
        let single = [
            &self.roasd_click_id,
            &self.facebook_click_id,
            &self.meta_lead_id,
            &self.first_url,
        ];
        let many = [&self.ad_id, &self.ad_set_id, &self.campaign_id];
        let names: BTreeSet<&str> = single
            .into_iter()
            .chain(many.into_iter().flatten())
            .map(String::as_str)
            .chain(["createdate", "lastmodifieddate"])
            .chain(PERSON.into_iter().filter(|_| with_person))
            .filter(|name| !name.is_empty())
            .collect();
        names.into_iter().collect()
    }
}

/// The body of a search. Ids are asked for alone: a body has 3000 characters at most, and stage
/// history is not to be had from a search at all.
pub(super) fn search_body(search: &Search) -> Value {
    let millis = |at: &Timestamp| at.as_millisecond().to_string();
    let (filters, sort, after) = match search {
        Search::Window { from, to, after } => (
            vec![
                json!({"propertyName": "hs_lastmodifieddate", "operator": "BETWEEN",
                "value": millis(from), "highValue": millis(to)}),
            ],
            "hs_lastmodifieddate",
            after,
        ),
        Search::Instant { at, above, after } => {
            let mut filters = vec![json!({"propertyName": "hs_lastmodifieddate",
                "operator": "EQ", "value": millis(at)})];
            filters.extend(above.as_ref().map(|id| {
                json!({"propertyName": "hs_object_id", "operator": "GT", "value": id.as_str()})
            }));
            (filters, "hs_object_id", after)
        }
    };
    let mut body = json!({
        "filterGroups": [{"filters": filters}],
        "sorts": [{"propertyName": sort, "direction": "ASCENDING"}],
        "properties": ["hs_lastmodifieddate"],
        "limit": SEARCH_PAGE,
    });
    if let (Some(after), Some(fields)) = (after, body.as_object_mut()) {
        fields.insert("after".to_owned(), json!(after));
    }
    body
}

/// Reads an answer of the search.
pub(super) fn search_page(body: &Value) -> Result<SearchPage, String> {
    let hits = results(body)?
        .iter()
        .map(changed)
        .collect::<Result<Vec<_>, String>>()?;
    let total = body.get("total").and_then(Value::as_u64);
    Ok(SearchPage {
        total: total.ok_or("the search has no total")?,
        hits,
        after: body
            .pointer("/paging/next/after")
            .and_then(Value::as_str)
            .map(ToOwned::to_owned),
    })
}

/// What came back of a batch that was asked for.
#[derive(Debug)]
pub(super) struct Batch<T> {
    pub(super) found: Vec<T>,
    /// Ids that HubSpot says, by words or by silence, it does not have.
    pub(super) missing: Vec<String>,
    /// Records that could not be read, in words.
    pub(super) faults: Vec<String>,
}

/// Reads a batch and settles what was asked against what came. An id that failed for another
/// reason than being gone fails the whole: taken for deleted, it would take revenue back.
pub(super) fn batch<T>(
    body: &Value,
    asked: &[&str],
    read: impl Fn(&Value) -> Result<T, String>,
) -> Result<Batch<T>, String> {
    if let Some(status) = body.get("status").and_then(Value::as_str)
        && status != "COMPLETE"
    {
        return Err(format!("the batch is {status}, not complete"));
    }
    if let Some(error) = other_error(body, &["OBJECT_NOT_FOUND"]) {
        return Err(error);
    }
    let mut open: BTreeSet<&str> = asked.iter().copied().collect();
    let mut batch = Batch {
        found: Vec::new(),
        missing: Vec::new(),
        faults: Vec::new(),
    };
    for record in results(body)? {
        let id = text(record.get("id")).unwrap_or_default();
        if !open.remove(id.as_str()) {
            batch
                .faults
                .push(format!("{id} was not asked for, or came twice"));
            continue;
        }
        match read(record) {
            Ok(value) => batch.found.push(value),
            Err(fault) => batch.faults.push(format!("{id}: {fault}")),
        }
    }
    batch.missing = open.into_iter().map(ToOwned::to_owned).collect();
    Ok(batch)
}

/// The first error in a batch that is not of the categories expected.
fn other_error(body: &Value, expected: &[&str]) -> Option<String> {
    let errors = body.get("errors").and_then(Value::as_array)?;
    errors.iter().find_map(|error| {
        let part = |key| error.get(key).and_then(Value::as_str).unwrap_or_default();
        let (category, sub) = (part("category"), part("subCategory"));
        let is_expected = expected
            .iter()
            .any(|known| category == *known || sub.ends_with(known));
        (!is_expected).then(|| format!("{category}: {}", part("message")))
    })
}

fn results(body: &Value) -> Result<&Vec<Value>, String> {
    body.get("results")
        .and_then(Value::as_array)
        .ok_or_else(|| "the answer has no results".to_owned())
}

fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(n) => Some(n.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn property(record: &Value, name: &str) -> Option<String> {
    text(record.get("properties")?.get(name))
}

fn record_id<T>(record: &Value) -> Result<T, String>
where
    T: std::str::FromStr<Err = crate::domain::ids::BadId>,
{
    let id = text(record.get("id")).ok_or("a record has no id")?;
    id.parse()
        .map_err(|bad: crate::domain::ids::BadId| bad.to_string())
}

/// Reads RFC 3339, or milliseconds.
fn instant(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .or_else(|_| text.parse().map(time::from_millis))
        .map_err(|_| format!("{text:?} is not a time"))
}

fn changed_at(record: &Value, name: &str) -> Result<Timestamp, String> {
    let given = property(record, name).or_else(|| text(record.get("updatedAt")));
    instant(&given.ok_or("it does not say when it changed")?)
}

fn created_at(record: &Value) -> Option<Result<Timestamp, String>> {
    property(record, "createdate")
        .or_else(|| text(record.get("createdAt")))
        .map(|text| instant(&text))
}

/// Reads a deal; its contacts come from another call.
pub(super) fn deal(record: &Value) -> Result<Deal, String> {
    let need = |name: &str| property(record, name).ok_or_else(|| format!("it has no {name}"));
    let amount = property(record, "amount").map(|decimal| CrmAmount {
        decimal,
        currency: property(record, "deal_currency_code"),
    });
    Ok(Deal {
        id: record_id(record)?,
        name: property(record, "dealname").unwrap_or_default(),
        pipeline: PipelineId::new(need("pipeline")?).map_err(|bad| bad.to_string())?,
        stage: VendorStageId::new(need("dealstage")?).map_err(|bad| bad.to_string())?,
        amount,
        history: history(record)?,
        contacts: Vec::new(),
        created_at: created_at(record).ok_or("it does not say when it was made")??,
        updated_at: changed_at(record, "hs_lastmodifieddate")?,
        is_archived: record.get("archived") == Some(&Value::Bool(true)),
    })
}

/// The deals that were merged into this one.
pub(super) fn merged(record: &Value) -> Vec<DealId> {
    let ids = property(record, MERGED).unwrap_or_default();
    let ids = ids.split(';').map(str::trim).filter(|id| !id.is_empty());
    let own = text(record.get("id")).unwrap_or_default();
    ids.filter(|id| *id != own)
        .filter_map(|id| DealId::new(id).ok())
        .collect()
}

/// Reads a page of the list.
pub(super) fn list_page(body: &Value) -> Result<ListPage, String> {
    let deals = results(body)?.iter().map(changed);
    Ok(ListPage {
        deals: deals.collect::<Result<_, _>>()?,
        next: text(body.pointer("/paging/next/after")),
    })
}

fn changed(record: &Value) -> Result<ChangedDeal, String> {
    Ok(ChangedDeal {
        id: record_id(record)?,
        modified_at: changed_at(record, "hs_lastmodifieddate")?,
    })
}

/// The stages entered, oldest first. HubSpot gives the newest first, and a line also where a
/// stage was set again to what it was, which is no entry.
fn history(record: &Value) -> Result<Vec<StageChange>, String> {
    let lines = record
        .pointer("/propertiesWithHistory/dealstage")
        .and_then(Value::as_array);
    let mut changes = Vec::new();
    for line in lines.into_iter().flatten() {
        let Some(stage) = text(line.get("value")) else {
            continue;
        };
        let at = text(line.get("timestamp")).ok_or("its history has a line without time")?;
        changes.push(StageChange {
            at: instant(&at)?,
            stage: VendorStageId::new(stage).map_err(|bad| bad.to_string())?,
        });
    }
    // Of one instant's lines the order given decides, oldest last.
    changes.reverse();
    changes.sort_by_key(|change| change.at);
    changes.dedup_by(|next, before| next.stage == before.stage);
    Ok(changes)
}

/// Reads a page of associations into `contacts` by deal, and gives the deals that have more, with
/// their cursors.
pub(super) fn associations(
    body: &Value,
    contacts: &mut BTreeMap<DealId, BTreeSet<ContactId>>,
) -> Result<Vec<(DealId, String)>, String> {
    // A deal without contacts comes back as an error of this kind.
    let none = ["OBJECT_NOT_FOUND", "NO_ASSOCIATIONS_FOUND"];
    if let Some(error) = other_error(body, &none) {
        return Err(error);
    }
    let mut more = Vec::new();
    for result in results(body)? {
        let deal: DealId = record_id(result.get("from").unwrap_or(&Value::Null))?;
        let found = contacts.entry(deal.clone()).or_default();
        let to = result.get("to").and_then(Value::as_array);
        for one in to.into_iter().flatten() {
            let id = text(one.get("toObjectId")).ok_or("an association leads nowhere")?;
            found.insert(ContactId::new(id).map_err(|bad| bad.to_string())?);
        }
        if let Some(after) = text(result.pointer("/paging/next/after")) {
            more.push((deal, after));
        }
    }
    Ok(more)
}

/// Reads a contact: what it tells of the click, and of the person hashes alone.
pub(super) fn contact(
    record: &Value,
    names: &ClickProperties,
    hasher: Option<&KeyedHasher>,
) -> Result<Contact, String> {
    let email = || hasher?.email(&property(record, "email")?);
    let phone = |name| hasher?.phone(&property(record, name)?);
    let first_url = property(record, &names.first_url);
    let query = first_url.as_deref().map(query_of).unwrap_or_default();
    let from_query = |keys: [&str; 2]| {
        keys.iter()
            .find_map(|key| query.get(*key).and_then(|text| number(text)))
    };
    let from_properties = |names: &[String]| {
        names
            .iter()
            .find_map(|name| property(record, name).and_then(|text| number(&text)))
    };
    let facts = ContactFacts {
        roasd_click_id: property(record, &names.roasd_click_id),
        facebook_click_id: property(record, &names.facebook_click_id)
            .or_else(|| query.get("fbclid").cloned()),
        // Lead forms hand it on as "l:1234".
        meta_lead_id: property(record, &names.meta_lead_id)
            .and_then(|text| number(text.trim_start_matches("l:"))),
        ad_id: from_properties(&names.ad_id).or_else(|| from_query(["ad_id", "utm_content"])),
        ad_set_id: from_properties(&names.ad_set_id)
            .or_else(|| from_query(["adset_id", "utm_term"])),
        campaign_id: from_properties(&names.campaign_id)
            .or_else(|| from_query(["campaign_id", "utm_campaign"])),
        first_url,
        email: email(),
        phone: phone("phone").or_else(|| phone("mobilephone")),
        created_at: created_at(record).transpose()?,
    };
    Ok(Contact {
        id: record_id(record)?,
        facts,
        updated_at: changed_at(record, "lastmodifieddate")?,
    })
}

/// An id, when the text is digits alone: unreplaced `{{ad.id}}` reaches CRMs in practice.
fn number(text: &str) -> Option<String> {
    let text = text.trim();
    let is_number = (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.to_owned())
}

/// The parameters of an address, which may lack its scheme; of a repeated one, the first.
fn query_of(url: &str) -> BTreeMap<String, String> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    let Ok(parsed) = reqwest::Url::parse(&format!("http://localhost/?{query}")) else {
        return BTreeMap::new();
    };
    let mut parameters = BTreeMap::new();
    for (key, value) in parsed.query_pairs().filter(|(_, value)| !value.is_empty()) {
        parameters
            .entry(key.into_owned())
            .or_insert_with(|| value.into_owned());
    }
    parameters
}

/// Reads the stages of every pipeline that is not archived.
pub(super) fn pipeline_stages(body: &Value) -> Result<Vec<PipelineStage>, String> {
    let is_archived = |value: &&Value| value.get("archived") == Some(&Value::Bool(true));
    let mut stages = Vec::new();
    for pipeline in results(body)?.iter().filter(|p| !is_archived(p)) {
        let id: PipelineId = record_id(pipeline)?;
        let own = pipeline.get("stages").and_then(Value::as_array);
        for stage in own.into_iter().flatten().filter(|s| !is_archived(s)) {
            let metadata = |key: &str| match stage.pointer(&format!("/metadata/{key}")) {
                Some(Value::Bool(b)) => Some(b.to_string()),
                other => text(other),
            };
            let is_closed = metadata("isClosed").as_deref() == Some("true");
            let probability: Option<f64> = metadata("probability").and_then(|p| p.parse().ok());
            stages.push(PipelineStage {
                pipeline: id.clone(),
                id: record_id(stage)?,
                label: text(stage.get("label")).unwrap_or_default(),
                order: stage
                    .get("displayOrder")
                    .and_then(Value::as_i64)
                    .unwrap_or(0),
                is_won: is_closed && probability.is_some_and(|p| p >= 1.0),
                is_lost: is_closed && probability.is_some_and(|p| p <= 0.0),
            });
        }
    }
    Ok(stages)
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;

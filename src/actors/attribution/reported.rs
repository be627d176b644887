//! Credits conversions that somebody else reports, by the same layers and what was learned of the same
//! visitors. Writes nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::evidence::{self, ByDevice, Placements};
use crate::clock::Clock;
use crate::domain::attribution::learning::Learned;
use crate::domain::attribution::{self, AttributionRules, Candidates, Conversion, Verdict};
use crate::domain::deal::{Contact, ContactFacts};
use crate::domain::ids::{ContactId, DealId, TenantId, VisitId};
use crate::domain::time::{self, SignedDuration, Timestamp};
use crate::domain::visit::{AdParameters, KeyedHash, Visit};
use crate::store::{Store, StoreError};

/// How long what was learned of a tenant's visitors stands.
const LEARN_EVERY: SignedDuration = time::hours(6);

/// What is known of whoever converted.
#[derive(Debug, Clone, Default)]
pub struct Traces {
    /// The id of their visit.
    pub click_id: Option<String>,
    /// Facebook's click id.
    pub fbclid: Option<String>,
    /// Whether they consented to being recognised.
    pub has_consent: bool,
    /// Their device.
    pub fingerprint: Option<KeyedHash>,
    /// Their address.
    pub ip: Option<KeyedHash>,
    /// Their browser.
    pub user_agent: Option<KeyedHash>,
}

type Known = (Timestamp, Placements, Arc<Learned>);

/// Credits reported conversions of every tenant.
pub struct Reported {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// What was learned of each tenant, and when.
    known: Mutex<BTreeMap<TenantId, Known>>,
}

impl Reported {
    /// Credits by what `store` knows.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            known: Mutex::default(),
        }
    }

    /// Credits a conversion that happened at `at`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn attribute(
        &self,
        tenant: &TenantId,
        rules: &AttributionRules,
        at: Timestamp,
        traces: Traces,
    ) -> Result<Verdict, StoreError> {
        let (_, placements, learned) = self.known(tenant, rules).await?;
        let store = self.store.as_ref();
        let (conversion, device) = asked(at, traces);
        let candidates = Candidates {
            placements,
            ..Candidates::default()
        };
        let mut gathered = [(conversion, candidates)];
        evidence::by_id(store, tenant, &mut gathered, rules).await?;
        for (conversion, _) in &mut gathered {
            // A visit that is named tells more of the device than the report does.
            if conversion.form_visits.is_empty() {
                conversion.form_visits.extend(device.clone());
            }
        }
        let by_device = ByDevice::WhereNoneIsNamed;
        evidence::recognisable(store, tenant, &mut gathered, rules, by_device).await?;
        let [(conversion, candidates)] = gathered;
        let now = self.clock.now();
        Ok(attribution::attribute(
            &conversion,
            &candidates,
            rules,
            &learned.model,
            now,
        ))
    }

    async fn known(
        &self,
        tenant: &TenantId,
        rules: &AttributionRules,
    ) -> Result<Known, StoreError> {
        let now = self.clock.now();
        let fresh = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known
                .get(tenant)
                .filter(|(at, ..)| time::between(*at, now) < LEARN_EVERY)
                .cloned()
        };
        if let Some(fresh) = fresh {
            return Ok(fresh);
        }
        let store = self.store.as_ref();
        let placements = evidence::placements(store, tenant).await?;
        let learned = evidence::learn(store, tenant, &placements, rules, now).await?;
        let known = (now, placements, Arc::new(learned));
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(tenant.clone(), known.clone());
        Ok(known)
    }
}

/// The conversion as the layers take it, and the device that the report tells of.
fn asked(at: Timestamp, traces: Traces) -> (Conversion, Option<Visit>) {
    let facts = ContactFacts {
        roasd_click_id: traces.click_id,
        facebook_click_id: traces.fbclid,
        ..ContactFacts::default()
    };
    let contact = ContactId::new("reported").map(|id| Contact {
        id,
        facts,
        updated_at: at,
    });
    let device = VisitId::new("reported").map(|id| Visit {
        id,
        at,
        ad: AdParameters::default(),
        has_consent: traces.has_consent,
        fingerprint: traces.fingerprint,
        ip: traces.ip,
        user_agent: traces.user_agent,
    });
    let conversion = Conversion {
        deal: DealId::new("reported").unwrap_or_else(|_| unreachable!("it is a valid id")),
        at,
        contacts: contact.into_iter().collect(),
        form_visits: Vec::new(),
    };
    (conversion, device.ok())
}

//! Reads the leads that Meta's webhooks told of, as many by one call as the gate has room for.
//!
//! A lead that cannot be read holds up nothing: it is put off, and after a month given up. That the
//! token may read ads and not leads is no reason to hold the tenant.

use super::{Trouble, meta};
use crate::actors::context::Context;
use crate::domain::ids::LeadId;
use crate::domain::time::{self, SignedDuration};
use crate::store::leads::WantedLead;
use crate::vendors::VendorError;
use crate::vendors::meta::throttle::CallKind;

/// Leads read at a time.
const LEADS: u32 = 50;
/// The wait after the first failure; it doubles.
const FIRST_WAIT: SignedDuration = time::minutes(15);
/// The longest wait.
const LONGEST_WAIT: SignedDuration = time::days(1);
/// After this a lead is given up. Meta shows them for about 90 days.
const GIVEN_UP: SignedDuration = time::days(30);

/// Reads the leads that are due. Returns how many were read.
pub(super) async fn read_requested(context: &Context) -> Result<usize, Trouble> {
    let Context {
        store,
        tenant,
        clock,
        meta: client,
        ..
    } = context;
    let mut count = 0;
    loop {
        let wanted = store
            .requested_leads(&tenant.id, clock.now(), LEADS)
            .await?;
        if wanted.is_empty() {
            return Ok(count);
        }
        let ids: Vec<LeadId> = wanted.iter().map(|lead| lead.id.clone()).collect();
        let most = u32::try_from(ids.len()).unwrap_or(LEADS);
        let permit = context.permit_many(CallKind::Leads, most).await;
        let found = client.leads(permit.map_err(meta)?, &ids).await;
        let mut passing = None;
        let mut settled = 0;
        for (lead, found) in wanted.iter().zip(found.map_err(meta)?) {
            match found {
                Ok(Some(found)) => {
                    store.record_lead(&tenant.id, &found).await?;
                    count += 1;
                }
                Ok(None) => {
                    let why = "Meta does not show it; the token needs leads_retrieval and access to \
                               the page, the lead may be deleted or older than 90 days";
                    put_off(context, lead, why).await?;
                }
                Err(
                    error @ (VendorError::Refused { .. }
                    | VendorError::Unauthorized { .. }
                    | VendorError::TooMuch { .. }),
                ) => put_off(context, lead, &error.to_string()).await?,
                // Weather, or Meta did not get round to it: the lead stays due.
                Err(
                    error @ (VendorError::Retry { .. }
                    | VendorError::Throttled { .. }
                    | VendorError::Unknown { .. }),
                ) => {
                    passing = Some(error);
                    continue;
                }
            }
            settled += 1;
        }
        // What was left out of a batch is asked for again, while that brings something.
        match passing {
            Some(error @ VendorError::Throttled { .. }) => return Err(meta(error)),
            Some(error) if settled == 0 => return Err(meta(error)),
            Some(_) | None => {}
        }
    }
}

async fn put_off(context: &Context, lead: &WantedLead, why: &str) -> Result<(), Trouble> {
    let Context {
        store,
        tenant,
        clock,
        ..
    } = context;
    let now = clock.now();
    let until = again_at(lead, now);
    let then = until.map_or_else(
        || "it is given up".to_owned(),
        |until| format!("tried again after {until:.0}"),
    );
    tracing::warn!(
        tenant.id = %tenant.id, lead.id = %lead.id, reason = %why,
        "lead {} of tenant {} cannot be read, {then}: {why}", lead.id, tenant.id
    );
    store.put_off_lead(&tenant.id, &lead.id, until, why).await?;
    Ok(())
}

/// When a lead that failed is tried again; `None` once it is given up.
fn again_at(lead: &WantedLead, now: time::Timestamp) -> Option<time::Timestamp> {
    let doubled = FIRST_WAIT * 2_i32.pow(lead.attempt.min(8));
    let again = time::add(now, doubled.min(LONGEST_WAIT));
    (time::between(lead.told_at, again) <= GIVEN_UP).then_some(again)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_is_tried_ever_less_and_then_given_up() {
        let mut lead = WantedLead {
            id: LeadId::new("444").unwrap(),
            told_at: time::from_seconds(0),
            attempt: 0,
        };
        let mut now = lead.told_at;
        let mut waits = Vec::new();
        while let Some(again) = again_at(&lead, now) {
            waits.push(time::between(now, again).as_secs() / 60);
            now = again;
            lead.attempt += 1;
        }
        assert_eq!(waits[..8], [15, 30, 60, 120, 240, 480, 960, 1440]);
        assert!((30..40).contains(&waits.len()), "{}", waits.len());
    }
}

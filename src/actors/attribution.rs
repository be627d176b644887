//! Drains one tenant's inbox into attributed revenue. Never touches the network.
//!
//! A webhook is a hint that a deal changed: its deals are asked for, the sync stage reads them with
//! their whole history, and here they are credited and valued. So a lost, doubled or late webhook
//! leads to the same ledger. A deal is settled in the transaction that writes its entries, so a
//! crash repeats work and loses none.

pub mod evidence;
pub mod reported;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::context::{Context, chain, weather};
use super::intake::{self, Read};
use super::stage::{Broken, Progress, Stage, Work};
use crate::domain::attribution::learning::Learned;
use crate::domain::attribution::{self, Attribution, Verdict};
use crate::domain::coverage::Coverage;
use crate::domain::ids::DealId;
use crate::domain::revaluation::{Revaluation, ValuationMark};
use crate::domain::revenue::{self, RevenueEntry};
use crate::domain::stages;
use crate::domain::time::{self, Timestamp};
use crate::store::StoreError;
use crate::store::crm::UnsettledDeal;
use crate::store::inbox::ClaimedDelivery;
use crate::store::revenue::{ConversionRow, SettledDeal};
use crate::telemetry::names;
use evidence::{Asked, ByDevice, Placements, first_stage_at};

/// Deliveries claimed at a time.
const CLAIM: u32 = 100;
/// How long a claim is held: work on a batch is far shorter.
const LEASE: time::SignedDuration = time::minutes(5);
/// A delivery that was claimed so often without being settled is taken out of the way.
const ATTEMPTS_MAX: i64 = 3;
/// Deals settled at a time.
const DEALS: u32 = 200;
/// Deals valued anew at a look, after values or rates have changed. Deliveries are drained in between.
const REVALUED: u32 = 400;
/// How soon the stage looks again while deals are left to value anew.
const REVALUE_EVERY: time::SignedDuration = time::seconds(1);
/// The cursor that tells how far deals have been valued by the values in force.
const VALUED: &str = "revenue.valued";
/// How often the gauges of coverage are counted anew, at most.
const GAUGE_EVERY: time::SignedDuration = time::hours(1);
/// How often the stage looks by itself: retries of unattributed deals fall due by time alone, and what
/// another process brought may have been told to nobody.
const LOOK_EVERY: time::SignedDuration = time::minutes(15);
/// How long an unattributed deal rests between two tries, at least; see [`rest`].
const RETRY_EVERY: time::SignedDuration = time::hours(6);
/// How long what was learned of a tenant's visitors stands …
const LEARN_EVERY: time::SignedDuration = time::hours(24);
/// … and how long while it rests on fewer forms than [`FEW_FORMS`].
const LEARN_SOON: time::SignedDuration = time::hours(6);
const FEW_FORMS: u64 = 100;

/// The work of the attribution stage.
pub struct AttributionWork {
    context: Arc<Context>,
    /// What was learned, and when. Not kept in the store: it follows from what is kept there.
    learned: Option<(Timestamp, Arc<Learned>)>,
    /// What tells the values and rates in force from others.
    mark: ValuationMark,
    /// How far the deals are known to be valued by them; `None` until the store was asked.
    valued: Option<Revaluation>,
    /// When coverage was last shown.
    shown: Option<Timestamp>,
}

impl AttributionWork {
    /// The work of one tenant.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        let mark = ValuationMark::of(&context.tenant.stages, &context.tenant.fx);
        Self {
            context,
            learned: None,
            mark,
            valued: None,
            shown: None,
        }
    }
}

#[async_trait]
impl Work for AttributionWork {
    fn stage(&self) -> Stage {
        Stage::Attribution
    }

    async fn look(&mut self) -> Result<Progress, Broken> {
        match self.work().await {
            Ok(progress) => Ok(progress),
            Err(error) => weather(&error),
        }
    }

    fn next_tick(&self) -> Timestamp {
        let rest = match self.valued {
            None | Some(Revaluation::Done) => LOOK_EVERY,
            Some(Revaluation::After(_)) => REVALUE_EVERY,
        };
        time::add(self.context.clock.now(), rest)
    }
}

impl AttributionWork {
    async fn work(&mut self) -> Result<Progress, StoreError> {
        self.drain_inbox().await?;
        self.value_anew().await?;
        let settled = self.settle_deals().await?;
        self.show_coverage().await?;
        let Context { store, tenant, .. } = self.context.as_ref();
        let now = self.context.clock.now();
        let is_wanted = !store.requested_deals(&tenant.id, 1).await?.is_empty()
            || !store.requested_leads(&tenant.id, now, 1).await?.is_empty();
        Ok(if is_wanted {
            Progress::NeedsSync
        } else if settled > 0 {
            Progress::Advanced
        } else {
            Progress::Idle
        })
    }

    /// Puts the count that the guard goes by into the gauges.
    async fn show_coverage(&mut self) -> Result<(), StoreError> {
        let Context {
            store,
            tenant,
            clock,
            ..
        } = self.context.as_ref();
        let now = clock.now();
        let rested = |at: Timestamp| time::between(at, now) >= GAUGE_EVERY;
        if !self.shown.is_none_or(rested) {
            return Ok(());
        }
        let from = time::sub(now, tenant.limits.quality.coverage_window);
        let cohorts = store.coverage(&tenant.id, from, tenant.currency).await?;
        let coverage = Coverage::of(&cohorts);
        let id = || tenant.id.as_str().to_owned();
        let counts = [
            ("url_param", coverage.url_param),
            ("fingerprint", coverage.fingerprint),
            ("probabilistic", coverage.probabilistic),
            ("none", coverage.unattributed),
        ];
        for (layer, count) in counts {
            metrics::gauge!(names::COVERAGE_CONVERSIONS, "tenant" => id(), "layer" => layer)
                .set(count as f64);
        }
        // Without a conversion there is no share, and the gauge says so.
        let share = coverage.share().unwrap_or(f64::NAN);
        metrics::gauge!(names::COVERAGE_RATIO, "tenant" => id()).set(share);
        self.shown = Some(now);
        Ok(())
    }

    /// Unsettles the next deals that may not be worth what the values and rates in force say: the
    /// settling that follows enters the differences. A crash repeats a batch, which changes nothing.
    async fn value_anew(&mut self) -> Result<(), StoreError> {
        let Context {
            store,
            tenant,
            clock,
            ..
        } = self.context.as_ref();
        let so_far = match self.valued.take() {
            Some(so_far) => so_far,
            None => {
                let note = store.cursor(&tenant.id, VALUED).await?;
                Revaluation::of(note.as_deref(), &self.mark)
            }
        };
        let after = match so_far {
            Revaluation::Done => {
                self.valued = Some(Revaluation::Done);
                return Ok(());
            }
            Revaluation::After(after) => after,
        };
        let last = store
            .unsettle_deals(&tenant.id, after.as_ref(), REVALUED)
            .await?;
        let now_at = match last {
            None => Revaluation::Done,
            Some(last) => {
                if after.is_none() {
                    tracing::info!(
                        tenant.id = %tenant.id,
                        "stage values or rates of {} are others than before: its deals are valued \
                         anew", tenant.id
                    );
                }
                Revaluation::After(Some(last))
            }
        };
        let note = now_at.note(&self.mark);
        store
            .set_cursor(&tenant.id, VALUED, &note, clock.now())
            .await?;
        self.valued = Some(now_at);
        Ok(())
    }

    /// Turns deliveries into requests for deals.
    async fn drain_inbox(&self) -> Result<(), StoreError> {
        let Context {
            store,
            tenant,
            clock,
            ..
        } = self.context.as_ref();
        loop {
            let lease_until = time::add(clock.now(), clock.stretch(LEASE));
            let claimed = store
                .claim_deliveries(&tenant.id, clock.now(), lease_until, CLAIM)
                .await?;
            if claimed.is_empty() {
                return Ok(());
            }
            // All at once, so that they share their commits: one sync for the lot, and whoever waits
            // for the acknowledgement of a delivery waits behind one commit and not behind hundreds.
            let settled = claimed
                .into_iter()
                .map(|delivery| self.settle_delivery(delivery));
            stream::iter(settled)
                .buffer_unordered(CLAIM as usize)
                .try_collect::<()>()
                .await?;
        }
    }

    async fn settle_delivery(&self, delivery: ClaimedDelivery) -> Result<(), StoreError> {
        let Context {
            store,
            tenant,
            clock,
            ..
        } = self.context.as_ref();
        let now = clock.now();
        if delivery.attempt > ATTEMPTS_MAX {
            let reason = format!("it was tried {ATTEMPTS_MAX} times and never came to an end");
            tracing::error!(
                tenant.id = %tenant.id, inbox.id = delivery.id, %reason,
                "a delivery is in quarantine: {reason}; see roasd quarantine show {}", delivery.id
            );
            return store
                .quarantine_delivery(&tenant.id, delivery.id, delivery.attempt, &reason, now)
                .await;
        }
        let Read {
            mut outcome,
            leads,
            contacts,
            merges,
            erased,
        } = intake::read(&delivery);
        // Before the delivery is settled, and the same when done twice: a crash repeats it.
        for contact in &erased {
            intake::erase(&self.context, contact).await?;
        }
        if !leads.is_empty() {
            store.request_leads(&tenant.id, &leads, now).await?;
        }
        if !merges.is_empty() {
            store.record_merges(&tenant.id, &merges, now).await?;
        }
        if !contacts.is_empty() {
            let deals = store.deals_of(&tenant.id, &contacts).await?;
            outcome.wanted.extend(deals);
            outcome.wanted.sort();
            outcome.wanted.dedup();
        }
        for (_, reason) in &outcome.poison {
            tracing::warn!(
                tenant.id = %tenant.id, inbox.id = delivery.id, %reason,
                "part of a delivery cannot be read and is in quarantine: {reason}"
            );
        }
        store
            .settle_delivery(&tenant.id, delivery.id, delivery.attempt, &outcome, now)
            .await
    }

    /// Credits and values deals whose ledger may not say what they say. Returns how many.
    async fn settle_deals(&mut self) -> Result<u64, StoreError> {
        let context = self.context.clone();
        let Context {
            store,
            tenant,
            clock,
            ..
        } = context.as_ref();
        let mut settled = 0;
        let mut placements = None;
        loop {
            let deals = store
                .unsettled_deals(&tenant.id, clock.now(), DEALS)
                .await?;
            if deals.is_empty() {
                return Ok(settled);
            }
            let placements = match &placements {
                Some(placements) => placements,
                None => placements.insert(evidence::placements(store.as_ref(), &tenant.id).await?),
            };
            let verdicts = self.attribute(&deals, placements).await?;
            settled += deals.len() as u64;
            self.settle_all(deals, verdicts).await?;
        }
    }

    /// Settles deals that are credited, all with one reading and one writing.
    async fn settle_all(
        &self,
        deals: Vec<UnsettledDeal>,
        verdicts: Vec<Verdict>,
    ) -> Result<(), StoreError> {
        let Context {
            store,
            tenant,
            clock,
            ..
        } = self.context.as_ref();
        let ids: Vec<DealId> = deals.iter().map(|deal| deal.deal.id.clone()).collect();
        let mut ledgers: BTreeMap<DealId, Vec<RevenueEntry>> = BTreeMap::new();
        for entry in store.deal_ledgers(&tenant.id, &ids).await? {
            ledgers.entry(entry.deal.clone()).or_default().push(entry);
        }
        let merged = store.merged_credits(&tenant.id, &ids).await?;
        let (mut settled, mut again, mut passed_on) = (Vec::new(), Vec::new(), Vec::new());
        for (deal, verdict) in deals.into_iter().zip(verdicts) {
            let (id, before) = (deal.deal.id.clone(), deal.attribution.clone());
            let (changed_at, is_archived) = (deal.deal.updated_at, deal.deal.is_archived);
            let ledger = ledgers.remove(&id).unwrap_or_default();
            let heirs = merged.iter().filter(|(into, _)| *into == id);
            let inherited = heirs.map(|(_, credit)| credit);
            let outcome = self.settle(deal, verdict, &ledger, inherited);
            // A retry is worth a look at the contacts: a click id may have been filled in since,
            // and that need not have touched the deal.
            let is_retry = time::between(changed_at, clock.now()) > RETRY_EVERY;
            if outcome.retry_at.is_some() && is_retry {
                again.push(id.clone());
            }
            if is_archived && outcome.attribution != before {
                passed_on.push(id);
            }
            settled.push(outcome);
        }
        store
            .settle_deals(&tenant.id, &settled, clock.now())
            .await?;
        if !again.is_empty() {
            store.request_deals(&tenant.id, &again, clock.now()).await?;
        }
        if !passed_on.is_empty() {
            store.unsettle_merged(&tenant.id, &passed_on).await?;
        }
        Ok(())
    }

    /// Credits deals, all with one gathering of evidence.
    async fn attribute(
        &mut self,
        deals: &[UnsettledDeal],
        placements: &Placements,
    ) -> Result<Vec<Verdict>, StoreError> {
        let context = self.context.clone();
        let Context {
            store,
            tenant,
            clock,
            ..
        } = context.as_ref();
        let now = clock.now();
        let rules = &tenant.attribution;
        let learned = self.learned(placements, now).await?;
        let asked: Vec<Asked> = deals.iter().map(|deal| Asked::of(&deal.deal)).collect();
        let gathered = evidence::gather(
            store.as_ref(),
            &tenant.id,
            &asked,
            placements,
            rules,
            ByDevice::WhereNoneIsNamed,
        )
        .await?;
        let verdict = |(conversion, found)| {
            attribution::attribute(&conversion, &found, rules, &learned.model, now)
        };
        Ok(gathered.into_iter().map(verdict).collect())
    }

    /// What the tenant's visitors have taught, learned anew when it is old.
    async fn learned(
        &mut self,
        placements: &Placements,
        now: Timestamp,
    ) -> Result<Arc<Learned>, StoreError> {
        if let Some((at, learned)) = &self.learned {
            let stands = if learned.forms < FEW_FORMS {
                LEARN_SOON
            } else {
                LEARN_EVERY
            };
            if time::between(*at, now) < stands {
                return Ok(learned.clone());
            }
        }
        let Context { store, tenant, .. } = self.context.as_ref();
        let rules = &tenant.attribution;
        let learned = evidence::learn(store.as_ref(), &tenant.id, placements, rules, now).await?;
        tracing::debug!(
            tenant.id = %tenant.id, forms = learned.forms, known = learned.known,
            visits = learned.model.traffic.visits(), "learned how visitors are recognised"
        );
        store
            .record_reliability(&tenant.id, &learned.reliability, now)
            .await?;
        let learned = Arc::new(learned);
        self.learned = Some((now, learned.clone()));
        Ok(learned)
    }

    fn settle<'c>(
        &self,
        unsettled: UnsettledDeal,
        verdict: Verdict,
        previous: &[RevenueEntry],
        inherited: impl Iterator<Item = &'c Attribution>,
    ) -> SettledDeal {
        let Context { tenant, clock, .. } = self.context.as_ref();
        let UnsettledDeal {
            deal,
            revision,
            attribution,
        } = unsettled;
        let now = clock.now();
        let attribution = inheriting(stronger(attribution, verdict.attribution), inherited);
        let valued = revenue::entries_for(
            &deal,
            attribution.as_ref(),
            previous,
            &tenant.stages,
            &tenant.fx,
            tenant.currency,
            deal.updated_at,
        );
        let (entries, fault) = match valued {
            Ok(entries) => (entries, None),
            Err(fault) => {
                tracing::error!(
                    tenant.id = %tenant.id, deal.id = %deal.id, error = %chain(&fault),
                    "deal {} cannot be valued: {}", deal.id, chain(&fault)
                );
                (Vec::new(), Some(chain(&fault)))
            }
        };
        let conversions = stages::full_history(&deal)
            .into_iter()
            .filter_map(|change| {
                let stage = tenant.stages.by_vendor_id(&change.stage)?;
                Some(ConversionRow {
                    stage: stage.name.clone(),
                    at: change.at,
                    value: stage.value,
                })
            })
            .collect();
        let gap = verdict.gap.filter(|_| attribution.is_none());
        let retry_at = verdict
            .retry_until
            .filter(|_| attribution.is_none())
            .map(|until| {
                time::add(now, rest(time::between(first_stage_at(&deal), now))).min(until)
            });
        tracing::debug!(
            tenant.id = %tenant.id, deal.id = %deal.id,
            method = attribution.as_ref().map(|a| a.method.as_str()),
            entries = entries.len(), "settled deal {}", deal.id
        );
        SettledDeal {
            deal: deal.id,
            revision,
            attribution,
            gap,
            attempts: verdict.attempts,
            conversions,
            entries,
            retry_at,
            fault,
        }
    }
}

/// How long a deal of this age rests until its next try. Late clicks and facts of the CRM arrive
/// within hours or hardly at all, and most deals without a credit came from no ad: nine tries in a
/// week find what twenty-eight would.
fn rest(age: time::SignedDuration) -> time::SignedDuration {
    RETRY_EVERY.max(age / 2)
}

/// A credit given stands until a better layer, or the same one anew, gives another: evidence that
/// has since expired (visits are kept for a time only) takes nothing away.
fn stronger(kept: Option<Attribution>, found: Option<Attribution>) -> Option<Attribution> {
    match (kept, found) {
        (Some(kept), Some(found)) if kept.method < found.method => Some(kept),
        (_, Some(found)) => Some(found),
        (kept, None) => kept,
    }
}

/// The credit of a deal that others became part of: its own, unless one of theirs is of a better
/// layer.
fn inheriting<'c>(
    own: Option<Attribution>,
    inherited: impl Iterator<Item = &'c Attribution>,
) -> Option<Attribution> {
    const BY: &str = "by a deal that became part of this one: ";
    let best = inherited.min_by_key(|credit| credit.method);
    match (own, best) {
        (own, None) => own,
        (Some(own), Some(best)) if own.method <= best.method => Some(own),
        (_, Some(best)) => Some(Attribution {
            reason: match best.reason.starts_with(BY) {
                true => best.reason.clone(),
                false => format!("{BY}{}", best.reason),
            },
            ..best.clone()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::attribution::{Credit, Method};
    use crate::domain::ids::AdId;

    fn by(method: Method, ad: &str) -> Option<Attribution> {
        Some(Attribution {
            method,
            confidence: 0.5,
            credit: Credit {
                ad: AdId::new(ad).unwrap(),
                ad_set: None,
                campaign: None,
            },
            visit: None,
            clicked_at: None,
            reason: String::new(),
        })
    }

    #[test]
    fn a_merged_deals_credit_is_inherited_where_it_is_better() {
        let check = |own: Option<Attribution>, merged: &[Option<Attribution>], ad: Option<&str>| {
            let credit = inheriting(own, merged.iter().flatten());
            assert_eq!(credit.as_ref().map(|c| c.credit.ad.as_str()), ad);
            credit
        };
        let (print, link) = (by(Method::Fingerprint, "2"), by(Method::UrlParam, "3"));
        check(None, &[], None);
        check(print.clone(), &[], Some("2"));
        check(print.clone(), std::slice::from_ref(&link), Some("3"));
        check(link.clone(), std::slice::from_ref(&print), Some("3"));
        let once = check(None, &[print, link], Some("3"));
        // Handed on by several deals it is told of once.
        let twice = check(None, std::slice::from_ref(&once), Some("3"));
        assert_eq!(once, twice);
        assert_eq!(inheriting(once.clone(), twice.iter()), once);
    }

    #[test]
    fn tries_are_close_at_first_and_few_in_a_week() {
        let mut tries = Vec::new();
        let mut age = time::SignedDuration::ZERO;
        while age < time::days(7) {
            tries.push(age.as_hours());
            age += rest(age);
        }
        assert_eq!(tries, [0, 6, 12, 18, 27, 40, 60, 91, 136]);
    }

    #[test]
    fn a_credit_yields_only_to_an_equal_or_better_layer() {
        let ad = |a: Option<Attribution>| a.unwrap().credit.ad.as_str().to_owned();
        let cases = [
            (by(Method::UrlParam, "1"), by(Method::Fingerprint, "2"), "1"),
            (by(Method::Fingerprint, "1"), by(Method::UrlParam, "2"), "2"),
            (
                by(Method::Fingerprint, "1"),
                by(Method::Fingerprint, "2"),
                "2",
            ),
            (by(Method::Probabilistic, "1"), None, "1"),
            (None, by(Method::Probabilistic, "2"), "2"),
        ];
        for (kept, found, expected) in cases {
            assert_eq!(ad(stronger(kept, found)), expected);
        }
        assert_eq!(stronger(None, None), None);
    }
}

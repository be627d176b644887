//! Meta as the simulation needs it: an account in memory that answers late, wrongly or not at all, as
//! the seed has it, and a journal of all that it carried out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use roasd::actors::lease::Lease;
use roasd::clock::Clock as _;
use roasd::domain::change::Target;
use roasd::domain::ids::{AdAccountId, AdId, AdSetId, LeadId};
use roasd::domain::insight::{AdInsight, ReportWindow};
use roasd::domain::lead::Lead;
use roasd::domain::money::{Currency, Money};
use roasd::domain::structure::{
    Account, AccountStatus, Ad, AdSet, Budget, Campaign, Creative, EffectiveStatus, EntityRef,
    RunStatus, Structure,
};
use roasd::domain::time::{self, Date, Timestamp};
use roasd::vendors::meta::reports::ReportState;
use roasd::vendors::meta::{
    Activity, Cursor, InsightsQuery, LiveSettings, MetaAds, Page, Permit, TokenState, WriteReceipt,
};
use roasd::vendors::{Refusal, VendorError};
use tokio::sync::Notify;

use super::{Bell, SimClock, campaign, usd};

/// What ends or holds up the process in the middle of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interruption {
    /// The process ends here.
    Crash,
    /// The call takes longer than the lease.
    Slow,
}

/// A write that Meta carried out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Write {
    pub(super) at: Timestamp,
    pub(super) entity: EntityRef,
    pub(super) before: Target,
    pub(super) after: Target,
    pub(super) is_ours: bool,
    /// Whether roasd was paused.
    pub(super) while_paused: bool,
    /// What was spent on the object that day.
    pub(super) spent: Money,
    /// The budgets that can be spent, after it.
    pub(super) total: i64,
    /// Ads of the ad set that deliver, after it, for an ad.
    pub(super) live_ads: usize,
    /// Whether roasd knew of every edit.
    pub(super) was_synced: bool,
    /// Whether Meta had said that it would take it.
    pub(super) was_rehearsed: bool,
}

struct State {
    rng: ChaCha12Rng,
    values: BTreeMap<EntityRef, Target>,
    journal: Vec<Write>,
    is_good: bool,
    /// Whoever reads an object ends.
    is_deadly: bool,
    is_paused: bool,
    is_synced: bool,
    interruption: Option<Interruption>,
    /// What Meta said last that it would take.
    rehearsed: Option<EntityRef>,
    lease: Option<Arc<Lease>>,
}

pub(super) struct SimMeta {
    account: AdAccountId,
    clock: Arc<SimClock>,
    state: Mutex<State>,
    interrupted: Notify,
    late: Bell,
}

const SETS: u64 = 6;
const ADS_PER_SET: u64 = 3;

fn set(n: u64) -> AdSetId {
    AdSetId::new(format!("{}", 2_000 + n)).unwrap()
}

fn ad(n: u64) -> AdId {
    AdId::new(format!("{}", 3_000 + n)).unwrap()
}

fn retry(detail: &str) -> VendorError {
    VendorError::Retry {
        vendor: "Meta",
        detail: detail.to_owned(),
        after: None,
        cause: None,
    }
}

/// A call that the executor never makes.
fn not_simulated<T>() -> Result<T, VendorError> {
    Err(retry("the simulation has no such call"))
}

impl SimMeta {
    pub(super) fn new(seed: u64, clock: Arc<SimClock>) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut values = BTreeMap::new();
        for n in 0..SETS {
            let minor = rng.random_range(4_000..20_000);
            values.insert(EntityRef::AdSet(set(n)), Target::DailyBudget(usd(minor)));
        }
        for n in 0..SETS * ADS_PER_SET {
            let status = if rng.random_bool(0.8) {
                RunStatus::Active
            } else {
                RunStatus::Paused
            };
            values.insert(EntityRef::Ad(ad(n)), Target::Status(status));
        }
        Self {
            account: AdAccountId::new("act_1").unwrap(),
            clock,
            state: Mutex::new(State {
                rng,
                values,
                journal: Vec::new(),
                is_good: false,
                is_deadly: false,
                is_paused: false,
                is_synced: true,
                interruption: None,
                rehearsed: None,
                lease: None,
            }),
            interrupted: Notify::new(),
            late: Arc::new(Notify::new()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn be_good(&self, is_good: bool) {
        self.lock().is_good = is_good;
    }

    pub(super) fn be_deadly(&self) {
        self.lock().is_deadly = true;
    }

    pub(super) fn set_paused(&self, is_paused: bool) {
        self.lock().is_paused = is_paused;
    }

    pub(super) fn set_synced(&self) {
        self.lock().is_synced = true;
    }

    pub(super) fn set_lease(&self, lease: Arc<Lease>) {
        self.lock().lease = Some(lease);
    }

    pub(super) fn answer_late(&self) {
        self.late.notify_one();
    }

    pub(super) fn journal(&self) -> Vec<Write> {
        self.lock().journal.clone()
    }

    pub(super) fn value(&self, entity: &EntityRef) -> Target {
        self.lock().values[entity]
    }

    pub(super) async fn interrupted(&self) -> Interruption {
        loop {
            if let Some(what) = self.lock().interruption.take() {
                return what;
            }
            self.interrupted.notified().await;
        }
    }

    async fn interrupt(&self, what: Interruption) {
        self.lock().interruption = Some(what);
        self.interrupted.notify_one();
        match what {
            Interruption::Crash => std::future::pending().await,
            Interruption::Slow => self.late.notified().await,
        }
    }

    /// One in `n`, unless Meta is to be good.
    fn trouble(&self, n: u32) -> bool {
        let mut state = self.lock();
        !state.is_good && state.rng.random_ratio(1, n)
    }

    pub(super) fn somebody_edits(&self, rng: &mut ChaCha12Rng) -> String {
        let entities: Vec<EntityRef> = self.lock().values.keys().cloned().collect();
        let entity = entities[rng.random_range(0..entities.len())].clone();
        let after = match self.value(&entity) {
            Target::DailyBudget(money) => {
                let share = rng.random_range(0.4..2.0);
                Target::DailyBudget(usd((money.minor() as f64 * share) as i64 + 100))
            }
            Target::Status(RunStatus::Active) => Target::Status(RunStatus::Paused),
            Target::Status(_) => Target::Status(RunStatus::Active),
        };
        self.carry_out(&entity, after, false);
        self.lock().is_synced = false;
        format!("somebody sets {entity} to {after}")
    }

    fn carry_out(&self, entity: &EntityRef, after: Target, is_ours: bool) {
        let spent = self.spent(entity);
        let mut state = self.lock();
        let before = state.values.insert(entity.clone(), after).unwrap();
        let total = budgets(&state.values);
        let live_ads = match entity {
            EntityRef::Ad(id) => live_ads(&state.values, index(id.as_str(), 3_000) / ADS_PER_SET),
            _ => 0,
        };
        let write = Write {
            at: self.clock.now(),
            entity: entity.clone(),
            before,
            after,
            is_ours,
            while_paused: state.is_paused,
            spent,
            total,
            live_ads,
            was_synced: state.is_synced,
            was_rehearsed: state.rehearsed.as_ref() == Some(entity),
        };
        state.journal.push(write);
    }

    /// What an ad set spends by this hour: its first budget's share of the day. Ads spend nothing that
    /// matters here.
    fn spent(&self, entity: &EntityRef) -> Money {
        let EntityRef::AdSet(id) = entity else {
            return usd(0);
        };
        let hour = i64::from(time::hour_of(self.clock.now(), &time::TimeZone::UTC));
        usd(index(id.as_str(), 2_000) as i64 * 100 + hour * 50)
    }

    pub(super) fn structure(&self) -> Structure {
        let at = time::from_seconds(1_700_000_000);
        let state = self.lock();
        let campaigns = (0..2).map(|n| Campaign {
            id: campaign(n),
            name: format!("Campaign {n}"),
            status: RunStatus::Active,
            effective: EffectiveStatus("ACTIVE".to_owned()),
            budget: Budget::None,
            objective: "OUTCOME_LEADS".to_owned(),
            shares_budgets: n == 1,
            has_budget_schedule: false,
            smart_promotion: None,
            created_at: at,
            updated_at: at,
        });
        let ad_sets = (0..SETS).map(|n| AdSet {
            id: set(n),
            campaign: campaign(n % 2),
            name: format!("Ad set {n}"),
            status: RunStatus::Active,
            effective: EffectiveStatus("ACTIVE".to_owned()),
            budget: match state.values[&EntityRef::AdSet(set(n))] {
                Target::DailyBudget(money) => Budget::Daily(money),
                Target::Status(_) => Budget::None,
            },
            learning: None,
            created_at: at,
            updated_at: at,
        });
        let ads = (0..SETS * ADS_PER_SET).map(|n| Ad {
            id: ad(n),
            ad_set: set(n / ADS_PER_SET),
            campaign: campaign(n / ADS_PER_SET % 2),
            name: format!("Ad {n}"),
            status: match state.values[&EntityRef::Ad(ad(n))] {
                Target::Status(status) => status,
                Target::DailyBudget(_) => RunStatus::Paused,
            },
            effective: EffectiveStatus("ACTIVE".to_owned()),
            creative: Creative::default(),
            created_at: at,
            updated_at: at,
        });
        Structure {
            account: Account {
                id: self.account.clone(),
                name: "Sim".to_owned(),
                status: AccountStatus::Active,
                currency: Currency::USD,
                time_zone_name: "UTC".to_owned(),
                min_daily_budget: Some(usd(100)),
            },
            campaigns: campaigns.map(|c| (c.id.clone(), c)).collect(),
            ad_sets: ad_sets.map(|s| (s.id.clone(), s)).collect(),
            ads: ads.map(|a| (a.id.clone(), a)).collect(),
        }
    }

    /// A week of figures to `day`.
    pub(super) fn figures(&self, day: Date) -> Vec<AdInsight> {
        let rows = (0..7).flat_map(|back| (0..SETS).map(move |n| (back, n)));
        rows.map(|(back, n)| AdInsight {
            ad: ad(n * ADS_PER_SET),
            ad_set: set(n),
            campaign: campaign(n % 2),
            window: ReportWindow::Day(time::add_days(day, -back)),
            impressions: 1_000,
            clicks: 20,
            spend: usd(4_000),
            reach: None,
            actions: Vec::new(),
        })
        .collect()
    }
}

fn index(id: &str, base: u64) -> u64 {
    id.parse::<u64>().unwrap() - base
}

/// The daily budgets of ad sets with an ad that delivers.
fn budgets(values: &BTreeMap<EntityRef, Target>) -> i64 {
    (0..SETS)
        .filter(|n| live_ads(values, *n) > 0)
        .map(|n| match values[&EntityRef::AdSet(set(n))] {
            Target::DailyBudget(money) => money.minor(),
            Target::Status(_) => 0,
        })
        .sum()
}

fn live_ads(values: &BTreeMap<EntityRef, Target>, of_set: u64) -> usize {
    (of_set * ADS_PER_SET..(of_set + 1) * ADS_PER_SET)
        .filter(|n| values[&EntityRef::Ad(ad(*n))] == Target::Status(RunStatus::Active))
        .count()
}

#[async_trait]
impl MetaAds for SimMeta {
    fn ad_account(&self) -> &AdAccountId {
        &self.account
    }

    async fn account(&self, _permit: Permit) -> Result<Account, VendorError> {
        not_simulated()
    }

    async fn campaigns(
        &self,
        _permit: Permit,
        _currency: Currency,
        _after: Option<&Cursor>,
    ) -> Result<Page<Campaign>, VendorError> {
        not_simulated()
    }

    async fn ad_sets(
        &self,
        _permit: Permit,
        _currency: Currency,
        _after: Option<&Cursor>,
    ) -> Result<Page<AdSet>, VendorError> {
        not_simulated()
    }

    async fn ads(&self, _permit: Permit, _after: Option<&Cursor>) -> Result<Page<Ad>, VendorError> {
        not_simulated()
    }

    async fn insights(
        &self,
        _permit: Permit,
        _currency: Currency,
        _query: &InsightsQuery,
        _after: Option<&Cursor>,
    ) -> Result<Page<AdInsight>, VendorError> {
        not_simulated()
    }

    async fn order_report(
        &self,
        _permit: Permit,
        _query: &InsightsQuery,
    ) -> Result<String, VendorError> {
        not_simulated()
    }

    async fn report_state(&self, _permit: Permit, _run: &str) -> Result<ReportState, VendorError> {
        not_simulated()
    }

    async fn report_rows(
        &self,
        _permit: Permit,
        _currency: Currency,
        _run: &str,
        _query: &InsightsQuery,
        _after: Option<&Cursor>,
    ) -> Result<Option<Page<AdInsight>>, VendorError> {
        not_simulated()
    }

    async fn activities(
        &self,
        _permit: Permit,
        _since: Timestamp,
        _until: Timestamp,
        _after: Option<&Cursor>,
    ) -> Result<Page<Activity>, VendorError> {
        not_simulated()
    }

    async fn settings(
        &self,
        _permit: Permit,
        _currency: Currency,
        entity: &EntityRef,
    ) -> Result<Option<LiveSettings>, VendorError> {
        let is_deadly = self.lock().is_deadly;
        if is_deadly || self.trouble(25) {
            self.interrupt(Interruption::Crash).await;
        }
        if self.trouble(20) {
            return Err(retry("an outage"));
        }
        if self.trouble(25) {
            return Err(VendorError::Throttled {
                vendor: "Meta",
                detail: "17/2446079".to_owned(),
                wait: time::minutes(5),
            });
        }
        let value = self.value(entity);
        let (budget, status) = match value {
            Target::DailyBudget(money) => (Budget::Daily(money), RunStatus::Active),
            Target::Status(status) => (Budget::None, status),
        };
        if self.trouble(30) {
            self.interrupt(Interruption::Crash).await;
        }
        Ok(Some(LiveSettings {
            entity: entity.clone(),
            status,
            budget,
            updated_at: self.clock.now(),
            last_significant_edit: None,
            spent_today: Some(self.spent(entity)),
        }))
    }

    async fn rehearse(
        &self,
        _permit: Permit,
        entity: &EntityRef,
        _target: Target,
    ) -> Result<(), VendorError> {
        self.lock().rehearsed = None;
        if self.trouble(10) {
            return Err(retry("an outage"));
        }
        if self.trouble(10) {
            return Err(VendorError::Refused {
                vendor: "Meta",
                detail: "100/1885272".to_owned(),
                kind: Refusal::BadValue,
                request: Some("trace".to_owned()),
            });
        }
        self.lock().rehearsed = Some(entity.clone());
        Ok(())
    }

    async fn write(
        &self,
        _permit: Permit,
        entity: &EntityRef,
        target: Target,
    ) -> Result<WriteReceipt, VendorError> {
        // The last step before a call leaves, as in the client.
        let is_good = self
            .lock()
            .lease
            .as_ref()
            .is_none_or(|lease| lease.is_good());
        if !is_good {
            return Err(retry("the lease is over"));
        }
        if self.trouble(15) {
            self.interrupt(Interruption::Crash).await;
        }
        if self.trouble(15) {
            return Err(retry("an outage"));
        }
        if self.trouble(20) {
            return Err(VendorError::Refused {
                vendor: "Meta",
                detail: "613/1487632".to_owned(),
                kind: Refusal::ObjectLocked,
                request: Some("trace".to_owned()),
            });
        }
        let unknown = || VendorError::Unknown {
            vendor: "Meta",
            detail: "the connection broke".to_owned(),
            cause: None,
        };
        if self.trouble(12) {
            return Err(unknown());
        }
        self.carry_out(entity, target, true);
        if self.trouble(12) {
            self.interrupt(Interruption::Crash).await;
        }
        if self.trouble(10) {
            self.interrupt(Interruption::Slow).await;
        }
        if self.trouble(10) {
            return Err(unknown());
        }
        Ok(WriteReceipt {
            request: Some("trace".to_owned()),
        })
    }

    async fn leads(
        &self,
        _permit: Permit,
        _ids: &[LeadId],
    ) -> Result<Vec<Result<Option<Lead>, VendorError>>, VendorError> {
        not_simulated()
    }

    async fn token_state(&self, _permit: Permit) -> Result<TokenState, VendorError> {
        not_simulated()
    }
}

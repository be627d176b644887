//! Every guard at its edges, and the law that an allowed change violates none of them.

use super::*;
use crate::domain::change::{ChangeState, ProposedChange};
use crate::domain::coverage::Coverage;
use crate::domain::ids::{AdId, AdSetId, CampaignId, ChangeId, DecisionId, TenantId};
use crate::domain::limits::{BreakerLimits, DurationRange, QualityLimits};
use crate::domain::money::Percentage;
use proptest::prelude::*;

fn usd(minor: i64) -> Money {
    Money::from_minor(minor, Currency::USD)
}

fn daily(minor: i64) -> Target {
    Target::DailyBudget(usd(minor))
}

fn share(fraction: f64) -> Percentage {
    Percentage::from_fraction(fraction).unwrap()
}

/// A Wednesday, 12:00 UTC.
fn noon() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().unwrap()
}

fn ago(hours: i64) -> Timestamp {
    time::sub(noon(), time::hours(hours))
}

fn limits() -> GuardLimits {
    GuardLimits {
        daily_cap: usd(100_000),
        min_per_ad_set: usd(500),
        max_per_ad_set: None,
        max_per_campaign: None,
        max_spend_per_day: None,
        max_spend_per_week: None,
        max_change: share(0.20),
        velocity_window: time::hours(6),
        max_raise_per_day: share(0.199),
        max_cut_per_day: share(0.19),
        min_change: share(0.01),
        fuzz: share(0.03),
        actions_per_campaign_per_hour: 15,
        changes_per_ad_set_per_day: 2,
        changes_per_day: 200,
        kills_per_day: 3,
        may_pause_last_ad: false,
        significant_edit_quiet: time::hours(24),
        human_edit_quiet: time::hours(72),
        ask_before_raise: false,
        jitter: DurationRange::ZERO,
        read_jitter: DurationRange::ZERO,
        quality: QualityLimits {
            max_insight_age: time::hours(3),
            max_crm_age: time::hours(6),
            min_coverage: share(0.3),
            coverage_window: time::days(14),
            coverage_min_conversions: 10,
            silence_window: time::hours(48),
            silence_expected: 8.0,
        },
        calendar: Calendar::default(),
        breakers: BreakerLimits {
            spend_rate: 3.0,
            spend_window: time::hours(3),
            spend_least: share(0.10),
            cost_jump: 4.0,
            cost_window: time::hours(48),
            cost_leads: 12.0,
            errors: 5,
            error_window: time::hours(1),
            hold: time::hours(6),
        },
    }
}

fn good_data() -> DataQuality {
    DataQuality {
        insight_age: Some(time::minutes(20)),
        crm_age: Some(time::minutes(20)),
        coverage: Coverage {
            url_param: 20,
            unattributed: 5,
            ..Coverage::default()
        },
        recent_conversions: 5,
        expected_conversions: 6.0,
        currency_agrees: true,
        time_zone_agrees: true,
    }
}

/// Owns all that a [`ChangeContext`] borrows; a test edits one thing.
#[derive(Debug, Clone)]
struct Scene {
    change: PendingChange,
    live: LiveSettings,
    history: Vec<BudgetMove>,
    actions: Vec<PastAction>,
    foreign_edit_at: Option<Timestamp>,
    hands_off: Option<HandsOff>,
    live_ads: Option<u32>,
    sums: AccountSums,
    limits: GuardLimits,
    meta_min: Option<Money>,
    autonomy: AutonomyRules,
    quality: DataQuality,
    breakers: Vec<Trip>,
    stops: Stops,
    account: AccountStatus,
    now: Timestamp,
    zone: TimeZone,
}

fn ad_set() -> EntityRef {
    EntityRef::AdSet(AdSetId::new("5").unwrap())
}

fn campaign() -> CampaignId {
    CampaignId::new("1").unwrap()
}

fn scene(entity: EntityRef, expected: Target, requested: Target) -> Scene {
    let live_budget = match expected {
        Target::DailyBudget(money) => money,
        Target::Status(_) => usd(0),
    };
    Scene {
        change: PendingChange {
            proposed: ProposedChange {
                id: ChangeId::new("c1").unwrap(),
                tenant: TenantId::new("gym").unwrap(),
                entity,
                entity_name: "Women 25-45".into(),
                campaign: campaign(),
                expected,
                requested,
                reason: "it earns more".into(),
                origin: Origin::Decision(DecisionId::new("d1").unwrap()),
                confidence: 0.7,
                needs_approval: false,
                rank: 0,
                earliest_at: ago(1),
                expires_at: time::add(noon(), time::hours(5)),
                proposed_at: ago(1),
            },
            state: ChangeState::Claimed,
            attempt: 1,
            note: String::new(),
            rule: None,
            intent: None,
            updated_at: ago(1),
        },
        live: LiveSettings {
            value: Some(expected),
            status: RunStatus::Active,
            spent_today: usd(1_000),
            last_significant_edit: None,
        },
        history: Vec::new(),
        actions: Vec::new(),
        foreign_edit_at: None,
        hands_off: None,
        live_ads: Some(3),
        sums: AccountSums {
            daily_budgets: usd(50_000 + live_budget.minor()),
            includes_this: true,
            in_campaign: Some(usd(5_000 + live_budget.minor())),
            resume_adds: None,
            spent_today: usd(30_000),
            spent_this_week: usd(180_000),
            worst_day: usd((50_000 + live_budget.minor()) * 175 / 100),
            shares_budgets: false,
        },
        limits: limits(),
        meta_min: Some(usd(250)),
        autonomy: AutonomyRules::uniform(Autonomy::Auto),
        quality: good_data(),
        breakers: Vec::new(),
        stops: Stops::default(),
        account: AccountStatus::Active,
        now: noon(),
        zone: TimeZone::UTC,
    }
}

fn raise_to(minor: i64) -> Scene {
    scene(ad_set(), daily(10_000), daily(minor))
}

fn ad(n: usize) -> EntityRef {
    EntityRef::Ad(AdId::new(format!("{n}")).unwrap())
}

const ON: Target = Target::Status(RunStatus::Active);
const OFF: Target = Target::Status(RunStatus::Paused);

fn pause_ad() -> Scene {
    scene(ad(1), ON, OFF)
}

impl Scene {
    fn judge(&self) -> Verdict {
        judge(&ChangeContext {
            change: &self.change,
            live: &self.live,
            history: &self.history,
            actions: &self.actions,
            foreign_edit_at: self.foreign_edit_at,
            hands_off: self.hands_off.as_ref(),
            live_ads_in_ad_set: self.live_ads,
            sums: self.sums,
            limits: &self.limits,
            min_daily_budget: self.meta_min,
            autonomy: &self.autonomy,
            quality: &self.quality,
            breakers: &self.breakers,
            stops: self.stops,
            account: self.account,
            now: self.now,
            zone: &self.zone,
        })
    }

    fn with(mut self, edit: impl FnOnce(&mut Self)) -> Self {
        edit(&mut self);
        self
    }

    fn by_person(self) -> Self {
        self.with(|s| {
            s.change.proposed.origin = Origin::Undo(ChangeId::new("c0").unwrap());
        })
    }

    fn moved(self, hours_ago: i64, from: i64, to: i64) -> Self {
        self.with(|s| {
            s.history.push(BudgetMove {
                entity: s.change.proposed.entity.clone(),
                campaign: campaign(),
                at: ago(hours_ago),
                from: usd(from),
                to: usd(to),
                is_ours: true,
            });
        })
    }

    fn acted(self, entity: EntityRef, minutes_ago: i64, target: Target) -> Self {
        self.with(|s| {
            s.actions.push(PastAction {
                entity,
                campaign: campaign(),
                at: time::sub(noon(), time::minutes(minutes_ago)),
                target,
            });
        })
    }

    fn allows(&self, minor: i64, clipped_by: Option<Rule>) {
        let target = daily(minor);
        assert_eq!(self.judge(), Verdict::Allow { target, clipped_by });
    }

    fn allows_status(&self, target: Target) {
        let clipped_by = None;
        assert_eq!(self.judge(), Verdict::Allow { target, clipped_by });
    }

    fn defers(&self, rule: Rule, at: Timestamp) {
        match self.judge() {
            Verdict::Defer { rule: r, until, .. } => assert_eq!((r, until), (rule, at)),
            other => panic!("{other:?}"),
        }
    }

    fn refuses(&self, rule: Rule) {
        match self.judge() {
            Verdict::Refuse { rule: r, reason } => {
                assert_eq!(r, rule, "{reason}");
                assert!(!reason.is_empty());
            }
            other => panic!("{other:?}"),
        }
    }
}

fn soon() -> Timestamp {
    time::add(noon(), RECHECK)
}

#[test]
fn rules_have_names_of_their_own() {
    let names: std::collections::BTreeSet<_> = Rule::ALL.iter().map(|r| r.as_str()).collect();
    assert_eq!(names.len(), Rule::ALL.len());
    for rule in Rule::ALL {
        assert_eq!(Rule::parse(rule.as_str()), Some(*rule));
    }
    assert_eq!(Rule::parse("Velocity"), None);
}

#[test]
fn an_ordinary_change_is_allowed_as_it_is() {
    raise_to(11_500).allows(11_500, None);
    raise_to(8_500).allows(8_500, None);
    pause_ad().allows_status(OFF);
    scene(ad(1), OFF, ON).allows_status(ON);
}

#[test]
fn what_forbids_any_write_comes_first() {
    raise_to(11_000)
        .with(|s| s.stops.daemon_paused = true)
        .defers(Rule::Paused, soon());
    raise_to(11_000)
        .with(|s| s.stops.tenant_paused = true)
        .defers(Rule::Paused, soon());
    raise_to(11_000)
        .with(|s| s.stops.tenant_parked = true)
        .defers(Rule::TenantParked, soon());
    raise_to(11_000)
        .by_person()
        .with(|s| s.stops.tenant_paused = true)
        .defers(Rule::Paused, soon());
    raise_to(11_000)
        .with(|s| s.hands_off = Some(HandsOff::LifetimeBudget))
        .refuses(Rule::HandsOff);
    for status in [
        AccountStatus::Disabled,
        AccountStatus::Unsettled,
        AccountStatus::Other(7),
    ] {
        pause_ad()
            .with(|s| s.account = status)
            .defers(Rule::AccountTrouble, soon());
    }
    raise_to(11_000)
        .with(|s| s.change.proposed.expires_at = noon())
        .refuses(Rule::Expired);
    raise_to(11_000)
        .with(|s| s.change.proposed.expires_at = time::add(noon(), time::seconds(1)))
        .allows(11_000, None);
}

#[test]
fn autonomy_withdrawn_since_is_withdrawn() {
    let observes = |s: &mut Scene| s.autonomy.raise = Autonomy::Observe;
    raise_to(11_000).with(observes).refuses(Rule::Autonomy);
    raise_to(11_000)
        .with(observes)
        .by_person()
        .allows(11_000, None);
    raise_to(9_000).with(observes).allows(9_000, None);
    let approves = |s: &mut Scene| s.autonomy.raise = Autonomy::Approve;
    raise_to(11_000).with(approves).refuses(Rule::Autonomy);
    raise_to(11_000)
        .with(approves)
        .with(|s| s.change.proposed.needs_approval = true)
        .allows(11_000, None);
}

#[test]
fn the_value_in_force_is_read_before_it_is_written() {
    let verdict = |value| raise_to(11_000).with(|s| s.live.value = value).judge();
    assert_eq!(verdict(Some(daily(11_000))), Verdict::AlreadyInForce);
    let found = daily(9_999);
    assert_eq!(verdict(Some(found)), Verdict::Overtaken { found });
    assert_eq!(verdict(Some(OFF)), Verdict::Overtaken { found: OFF });
    raise_to(11_000)
        .with(|s| s.live.value = None)
        .defers(Rule::UnknownState, soon());
    // Sent clipped by an earlier attempt whose answer was lost: ours, not somebody else's.
    let clipped = raise_to(11_000).with(|s| {
        (s.change.intent, s.live.value) = (Some(daily(10_800)), Some(daily(10_800)));
    });
    assert_eq!(clipped.judge(), Verdict::AlreadyInForce);
    let paused = pause_ad().with(|s| s.live.value = Some(OFF)).judge();
    assert_eq!(paused, Verdict::AlreadyInForce);
    let archived = Target::Status(RunStatus::Archived);
    let gone = pause_ad().with(|s| s.live.value = Some(archived)).judge();
    assert_eq!(gone, Verdict::Overtaken { found: archived });
    scene(ad(1), ON, archived).refuses(Rule::HandsOff);
}

#[test]
fn a_persons_edit_stands_for_a_while() {
    let edited = |hours| raise_to(11_000).with(|s| s.foreign_edit_at = Some(ago(hours)));
    edited(71).defers(Rule::HumanEdit, time::add(noon(), time::hours(1)));
    edited(72).allows(11_000, None);
    edited(1).by_person().allows(11_000, None);
}

/// A rule, and how to spoil the data so that it speaks.
type Fault = (Rule, fn(&mut DataQuality));

#[test]
fn bad_data_hold_raises_cuts_and_pauses_but_not_people() {
    let faults: [Fault; 8] = [
        (Rule::StaleInsights, |q| {
            q.insight_age = Some(time::seconds(3 * 3_600 + 1))
        }),
        (Rule::StaleInsights, |q| q.insight_age = None),
        (Rule::StaleCrm, |q| {
            q.crm_age = Some(time::seconds(6 * 3_600 + 1))
        }),
        (Rule::StaleCrm, |q| q.crm_age = None),
        (Rule::LowCoverage, |q| q.coverage.unattributed = 80),
        (Rule::ZeroConversions, |q| {
            (q.recent_conversions, q.expected_conversions) = (0, 8.0)
        }),
        (Rule::CurrencyMismatch, |q| q.currency_agrees = false),
        (Rule::TimeZoneMismatch, |q| q.time_zone_agrees = false),
    ];
    for (rule, spoil) in faults {
        for scene in [raise_to(11_000), raise_to(9_000), pause_ad()] {
            let spoilt = scene.with(|s| spoil(&mut s.quality));
            spoilt.defers(rule, soon());
            assert!(
                matches!(spoilt.by_person().judge(), Verdict::Allow { .. }),
                "{rule}"
            );
        }
    }
    let at_the_edge = DataQuality {
        insight_age: Some(time::hours(3)),
        crm_age: Some(time::hours(6)),
        recent_conversions: 0,
        expected_conversions: 7.9,
        coverage: Coverage {
            url_param: 3,
            unattributed: 7,
            ..Coverage::default()
        },
        ..good_data()
    };
    assert_eq!(at_the_edge.faults(&limits().quality), []);
    let all = DataQuality {
        insight_age: None,
        crm_age: None,
        recent_conversions: 0,
        expected_conversions: f64::NAN,
        coverage: Coverage {
            unattributed: 10,
            ..Coverage::default()
        },
        currency_agrees: false,
        time_zone_agrees: false,
    };
    let told = all.faults(&limits().quality);
    assert_eq!(told.len(), 6);
    assert_eq!(told[0], QualityFault::CurrencyMismatch);
    assert!(told.iter().all(|fault| fault.to_string().len() > 20));
}

#[test]
fn amounts_in_another_currency_are_never_compared() {
    let euros = Some(Money::from_minor(1, Currency::EUR));
    raise_to(11_000)
        .with(|s| s.sums.in_campaign = euros)
        .refuses(Rule::CurrencyMismatch);
    raise_to(11_000)
        .with(|s| s.limits.daily_cap = Money::from_minor(100_000, Currency::JPY))
        .by_person()
        .refuses(Rule::CurrencyMismatch);
}

#[test]
fn a_budget_is_not_raised_where_nothing_runs() {
    raise_to(11_000)
        .with(|s| s.live.status = RunStatus::Paused)
        .refuses(Rule::NotRunning);
    raise_to(9_000)
        .with(|s| s.live.status = RunStatus::Paused)
        .allows(9_000, None);
}

#[test]
fn a_change_must_be_worth_an_edit() {
    raise_to(10_099).refuses(Rule::MinChange);
    raise_to(10_100).allows(10_100, None);
    raise_to(9_901).refuses(Rule::MinChange);
    raise_to(9_900).allows(9_900, None);
    raise_to(10_001).by_person().allows(10_001, None);
}

#[test]
fn no_budget_moves_far_from_any_value_of_the_window() {
    // Without a history the value in force is the only one held; 19.9 % a day is tighter than 20 %.
    raise_to(15_000).allows(11_990, Some(Rule::DailyVelocity));
    raise_to(11_990).allows(11_990, None);
    raise_to(5_000).allows(8_100, Some(Rule::DailyVelocity));
    raise_to(8_100).allows(8_100, None);
    let calm = |s: &mut Scene| {
        (s.limits.max_raise_per_day, s.limits.max_cut_per_day) = (share(5.0), share(1.0));
    };
    raise_to(15_000)
        .with(calm)
        .allows(12_000, Some(Rule::Velocity));
    raise_to(5_000)
        .with(calm)
        .allows(8_000, Some(Rule::Velocity));
    // Raised to 10000 from 9000 two hours ago: 9000 still counts.
    raise_to(12_000)
        .with(calm)
        .moved(2, 9_000, 10_000)
        .allows(10_800, Some(Rule::Velocity));
    // Seven hours ago it no longer does, nor exactly six.
    raise_to(12_000)
        .with(calm)
        .moved(7, 9_000, 10_000)
        .allows(12_000, None);
    raise_to(12_000)
        .with(calm)
        .moved(6, 9_000, 10_000)
        .allows(12_000, None);
    // A value passed through counts like the ends.
    raise_to(12_000)
        .with(calm)
        .moved(3, 10_000, 9_500)
        .moved(2, 9_500, 10_000)
        .allows(11_400, Some(Rule::Velocity));
    // A cut is held against the greatest value.
    raise_to(8_000)
        .with(calm)
        .moved(2, 12_000, 10_000)
        .allows(9_600, Some(Rule::Velocity));
    // A person's move counts, and part of the way back is no new jump.
    raise_to(11_500)
        .with(calm)
        .moved(2, 50_000, 10_000)
        .allows(11_500, None);
}

#[test]
fn a_budget_without_room_waits_until_its_window_opens() {
    // Already 19 % up since ten hours ago: 0.9 % is no useful step until that has left the day.
    let up = raise_to(11_500).moved(10, 8_400, 10_000);
    up.defers(Rule::DailyVelocity, time::add(noon(), time::hours(14)));
    let down = raise_to(8_500).moved(10, 12_300, 10_000);
    down.defers(Rule::DailyVelocity, time::add(noon(), time::hours(14)));
    let loose = |s: &mut Scene| {
        (s.limits.max_raise_per_day, s.limits.max_cut_per_day) = (share(5.0), share(1.0));
    };
    raise_to(11_500)
        .with(loose)
        .moved(2, 8_400, 10_000)
        .defers(Rule::Velocity, time::add(noon(), time::hours(4)));
    raise_to(8_500)
        .with(loose)
        .moved(2, 12_500, 10_000)
        .defers(Rule::Velocity, time::add(noon(), time::hours(4)));
    // A budget of 4 yen can never move by 20 %: waiting does not help.
    let tiny = scene(ad_set(), daily(4), daily(5)).with(|s| s.limits.min_per_ad_set = usd(1));
    tiny.refuses(Rule::Velocity);
}

#[test]
fn the_cap_holds_for_the_sum_of_budgets() {
    let sum = |minor| raise_to(11_500).with(move |s| s.sums.daily_budgets = usd(minor));
    sum(98_500).allows(11_500, None);
    sum(98_501).allows(11_499, Some(Rule::DailyCap));
    sum(99_901).defers(Rule::DailyCap, soon());
    sum(120_000).defers(Rule::DailyCap, soon());
    raise_to(9_000)
        .with(|s| s.sums.daily_budgets = usd(120_000))
        .allows(9_000, None);
    let outside = raise_to(11_500).with(|s| {
        (s.sums.includes_this, s.sums.daily_budgets) = (false, usd(88_600));
    });
    outside.allows(11_400, Some(Rule::DailyCap));
}

#[test]
fn the_week_and_the_worst_day_hold_too() {
    // Wednesday: three days follow. 700000 - 380000 and today's 80000 leave 100000 a day.
    let week = |spent| {
        raise_to(11_500).with(move |s| {
            s.sums.daily_budgets = usd(98_500);
            (s.sums.spent_this_week, s.sums.spent_today) = (usd(spent), usd(80_000));
        })
    };
    week(380_000).allows(11_500, None);
    week(381_000).allows(11_250, Some(Rule::WeeklyCeiling));
    let sunday: Timestamp = "2026-11-29T00:00:00Z".parse().unwrap();
    week(500_000).defers(Rule::WeeklyCeiling, sunday);
    let saturday = week(690_000).with(|s| {
        s.now = "2026-11-28T12:00:00Z".parse().unwrap();
        s.change.proposed.expires_at = sunday;
    });
    saturday.defers(Rule::WeeklyCeiling, sunday);
    let midnight: Timestamp = "2026-11-26T00:00:00Z".parse().unwrap();
    let worst = |spent| raise_to(11_500).with(move |s| s.sums.spent_today = usd(spent));
    worst(175_000).allows(11_500, None);
    worst(175_001).defers(Rule::WorstDay, midnight);
    raise_to(9_000)
        .with(|s| s.sums.spent_today = usd(500_000))
        .allows(9_000, None);
    // The day ends when the account's zone says so.
    let york = worst(175_001).with(|s| s.zone = TimeZone::get("America/New_York").unwrap());
    york.defers(Rule::WorstDay, "2026-11-26T05:00:00Z".parse().unwrap());
}

#[test]
fn ad_sets_and_campaigns_have_ceilings_of_their_own() {
    let per_set =
        |minor| raise_to(11_500).with(move |s| s.limits.max_per_ad_set = Some(usd(minor)));
    per_set(11_500).allows(11_500, None);
    per_set(11_000).allows(11_000, Some(Rule::AdSetCeiling));
    per_set(10_000).refuses(Rule::AdSetCeiling);
    // The campaign's other ad sets have 5000.
    let of = |minor| raise_to(11_500).with(move |s| s.limits.max_per_campaign = Some(usd(minor)));
    of(16_500).allows(11_500, None);
    of(16_000).allows(11_000, Some(Rule::CampaignCeiling));
    of(12_000).refuses(Rule::CampaignCeiling);
    let whole = scene(
        EntityRef::Campaign(campaign()),
        daily(10_000),
        daily(11_500),
    )
    .with(|s| s.limits.max_per_campaign = Some(usd(11_000)));
    whole.allows(11_000, Some(Rule::CampaignCeiling));
    raise_to(9_000)
        .with(|s| s.limits.max_per_ad_set = Some(usd(5_000)))
        .allows(9_000, None);
}

#[test]
fn nothing_goes_below_the_floor() {
    let low = |to| scene(ad_set(), daily(600), daily(to)).with(|s| s.live.spent_today = usd(0));
    low(500).allows(500, None);
    low(490).allows(500, Some(Rule::Floor));
    low(500)
        .with(|s| (s.live.value, s.change.proposed.expected) = (Some(daily(500)), daily(500)))
        .with(|s| s.change.proposed.requested = daily(450))
        .refuses(Rule::Floor);
    low(500)
        .with(|s| s.meta_min = Some(usd(580)))
        .allows(580, Some(Rule::Floor));
    // Up from below the floor, but not up to it.
    scene(ad_set(), daily(400), daily(460)).refuses(Rule::Floor);
}

#[test]
fn a_cut_stays_above_what_is_spent_today() {
    let spent = |minor| raise_to(8_500).with(move |s| s.live.spent_today = usd(minor));
    spent(7_727).allows(8_500, None);
    spent(8_000).allows(8_800, Some(Rule::AboveSpent10));
    let midnight: Timestamp = "2026-11-26T00:00:00Z".parse().unwrap();
    spent(9_050).defers(Rule::AboveSpent10, midnight);
    raise_to(11_000)
        .with(|s| s.live.spent_today = usd(30_000))
        .allows(11_000, None);
}

#[test]
fn learning_is_left_in_peace_except_by_pauses_and_people() {
    let edited = |minutes: i64| {
        move |s: &mut Scene| {
            s.live.last_significant_edit = Some(time::sub(noon(), time::minutes(minutes)));
        }
    };
    let tomorrow = time::add(noon(), time::minutes(1));
    raise_to(11_000)
        .with(edited(24 * 60 - 1))
        .defers(Rule::LearningQuiet, tomorrow);
    raise_to(9_000)
        .with(edited(24 * 60 - 1))
        .defers(Rule::LearningQuiet, tomorrow);
    raise_to(11_000).with(edited(24 * 60)).allows(11_000, None);
    pause_ad().with(edited(1)).allows_status(OFF);
    raise_to(11_000)
        .with(edited(1))
        .by_person()
        .allows(11_000, None);
}

#[test]
fn a_campaign_takes_so_many_actions_an_hour() {
    let acted =
        |n: usize, minutes| (0..n).fold(raise_to(11_000), |s, i| s.acted(ad(i), minutes, ON));
    acted(14, 10).allows(11_000, None);
    acted(15, 10).defers(Rule::ActionsPerHour, time::add(noon(), time::minutes(50)));
    acted(15, 60).allows(11_000, None);
    acted(15, 59).defers(Rule::ActionsPerHour, time::add(noon(), time::minutes(1)));
    acted(15, 10)
        .by_person()
        .defers(Rule::ActionsPerHour, time::add(noon(), time::minutes(50)));
    // With more than the limit, the one that blocks is the one whose leaving makes room.
    let seventeen = (0..17).fold(pause_ad(), |s, i| s.acted(ad(i), 17 - i as i64, ON));
    seventeen.defers(Rule::ActionsPerHour, time::add(noon(), time::minutes(45)));
    let elsewhere = acted(15, 10).with(|s| {
        for action in &mut s.actions {
            action.campaign = CampaignId::new("2").unwrap();
        }
    });
    elsewhere.allows(11_000, None);
    raise_to(11_000)
        .with(|s| s.limits.actions_per_campaign_per_hour = 0)
        .refuses(Rule::ActionsPerHour);
}

#[test]
fn a_budget_takes_so_many_changes_a_day_and_an_hour() {
    let changed = |n: usize| {
        (0..n).fold(raise_to(11_000), |s, _| {
            s.acted(ad_set(), 120, daily(10_000))
        })
    };
    changed(1).allows(11_000, None);
    changed(2).defers(Rule::AdSetCadence, time::add(noon(), time::hours(22)));
    // Statuses do not count as changes of the budget.
    raise_to(11_000)
        .acted(ad_set(), 5, ON)
        .acted(ad_set(), 5, OFF)
        .allows(11_000, None);
    // Meta's lock counts anybody's changes, and those of the past hour alone.
    let nudged = |n: i64| {
        (0..n).fold(raise_to(11_000), |s, i| {
            s.with(move |s| {
                s.history.push(BudgetMove {
                    entity: ad_set(),
                    campaign: campaign(),
                    at: time::sub(noon(), time::minutes(50 - i)),
                    from: usd(10_000),
                    to: usd(10_000),
                    is_ours: false,
                });
            })
        })
    };
    nudged(3).allows(11_000, None);
    nudged(4).defers(Rule::MetaCadence, time::add(noon(), time::minutes(10)));
}

#[test]
fn ads_are_paused_few_a_day_and_never_the_last() {
    pause_ad().with(|s| s.live_ads = Some(2)).allows_status(OFF);
    pause_ad()
        .with(|s| s.live_ads = Some(1))
        .refuses(Rule::LastLiveAd);
    pause_ad()
        .with(|s| s.live_ads = None)
        .defers(Rule::UnknownState, soon());
    let killed = |n: usize| (0..n).fold(pause_ad(), |s, i| s.acted(ad(i + 10), 120, OFF));
    killed(2).allows_status(OFF);
    killed(3).defers(Rule::KillsPerDay, time::add(noon(), time::hours(22)));
    // Resuming, and pausing an ad set, are no kills.
    let others = (0..3).fold(pause_ad(), |s, i| s.acted(ad(i + 10), 120, ON));
    others.acted(ad_set(), 5, OFF).allows_status(OFF);
    scene(ad_set(), ON, OFF)
        .with(|s| s.live_ads = None)
        .allows_status(OFF);
}

#[test]
fn what_resumes_must_fit_under_the_cap() {
    let adds = |minor| {
        scene(ad_set(), OFF, ON).with(move |s| {
            s.sums.daily_budgets = usd(90_000);
            s.sums.resume_adds = Some(usd(minor));
        })
    };
    adds(10_000).allows_status(ON);
    adds(10_001).defers(Rule::DailyCap, soon());
    let nothing = scene(ad(1), OFF, ON).with(|s| s.sums.daily_budgets = usd(200_000));
    nothing.allows_status(ON);
}

#[test]
fn a_day_of_metas_worst_overspend_has_a_ceiling() {
    // 60000 a day may cost 105000; each cent more of budget costs 1.75.
    let most =
        |minor| raise_to(11_500).with(move |s| s.limits.max_spend_per_day = Some(usd(minor)));
    most(107_625).allows(11_500, None);
    most(107_624).allows(11_499, Some(Rule::SpendPerDay));
    most(105_100).defers(Rule::SpendPerDay, soon());
    most(1_000).defers(Rule::SpendPerDay, soon());
    // Where ad sets share their budgets it is 2.1, of this one as of the others.
    let shared = |minor| {
        most(minor).with(|s| (s.sums.worst_day, s.sums.shares_budgets) = (usd(126_000), true))
    };
    shared(129_150).allows(11_500, None);
    shared(129_149).allows(11_499, Some(Rule::SpendPerDay));
    most(1_000)
        .with(|s| s.change.proposed.requested = daily(9_000))
        .allows(9_000, None);
    // A budget that begins to count is held against it too.
    let resumed = |adds| {
        scene(ad(1), OFF, ON).with(move |s| {
            s.limits.max_spend_per_day = Some(usd(105_000));
            (s.sums.daily_budgets, s.sums.worst_day) = (usd(50_000), usd(87_500));
            s.sums.resume_adds = Some(usd(adds));
        })
    };
    resumed(10_000).allows_status(ON);
    resumed(10_001).defers(Rule::SpendPerDay, soon());
    // What Meta spent today counts against the worst day that sharing allows for.
    let spent = |minor| {
        raise_to(11_500)
            .with(move |s| (s.sums.shares_budgets, s.sums.spent_today) = (true, usd(minor)))
    };
    spent(210_000).allows(11_500, None);
    let midnight = "2026-11-26T00:00:00Z".parse().unwrap();
    spent(210_001).defers(Rule::WorstDay, midnight);
}

#[test]
fn a_weeks_own_ceiling_counts_the_worst_days_to_come() {
    // A Wednesday: 420000 in all is 60000 a day, which is what the budgets come to with 10000.
    let week = |ceiling, spent| {
        raise_to(11_500).with(move |s| {
            s.limits.max_spend_per_week = Some(usd(ceiling));
            (s.sums.spent_this_week, s.sums.spent_today) = (usd(spent), usd(30_000));
        })
    };
    week(430_500, 180_000).allows(11_500, None);
    week(430_493, 180_000).allows(11_499, Some(Rule::WeeklyCeiling));
    let sunday: Timestamp = "2026-11-29T00:00:00Z".parse().unwrap();
    week(420_000, 180_000).defers(Rule::WeeklyCeiling, sunday);
    // On Saturday one worst day is all that is left: 1.75 times 61500 is 107625.
    let saturday = |ceiling| {
        week(ceiling, 350_000).with(|s| {
            s.now = "2026-11-28T12:00:00Z".parse().unwrap();
            s.change.proposed.expires_at = "2026-11-30T12:00:00Z".parse().unwrap();
        })
    };
    saturday(320_000 + 107_625).allows(11_500, None);
    saturday(320_000 + 107_624).allows(11_499, Some(Rule::WeeklyCeiling));
}

#[test]
fn an_account_takes_so_many_changes_a_day() {
    let acted = |n: usize| {
        (0..n).fold(
            raise_to(11_000).with(|s| s.limits.changes_per_day = 3),
            |s, i| s.acted(ad(i), 120 + i as i64, ON),
        )
    };
    acted(2).allows(11_000, None);
    acted(3).defers(
        Rule::ChangesPerDay,
        time::add(noon(), time::minutes(24 * 60 - 122)),
    );
    acted(3).by_person().defers(
        Rule::ChangesPerDay,
        time::add(noon(), time::minutes(24 * 60 - 122)),
    );
    // Pauses count for kills_per_day, and are not held back by the others.
    let killed = (0..3).fold(raise_to(11_000), |s, i| s.acted(ad(i), 120, OFF));
    killed
        .with(|s| s.limits.changes_per_day = 3)
        .allows(11_000, None);
    let busy = (0..9).fold(pause_ad(), |s, i| s.acted(ad(i + 10), 120, ON));
    busy.with(|s| s.limits.changes_per_day = 3)
        .allows_status(OFF);
    let resumed = (0..3).fold(scene(ad(1), OFF, ON), |s, i| s.acted(ad(i + 10), 120, ON));
    let resumed = resumed.with(|s| s.limits.changes_per_day = 3);
    resumed.defers(Rule::ChangesPerDay, time::add(noon(), time::hours(22)));
}

#[test]
fn the_last_ad_is_paused_only_where_the_owner_allows_it() {
    let last = |n| pause_ad().with(move |s| s.live_ads = Some(n));
    last(1).refuses(Rule::LastLiveAd);
    last(1)
        .with(|s| s.limits.may_pause_last_ad = true)
        .allows_status(OFF);
    last(2).allows_status(OFF);
}

#[test]
fn the_rest_after_a_significant_edit_is_the_owners_to_set() {
    let edited = |minutes: i64| {
        raise_to(11_000).with(move |s| {
            s.limits.significant_edit_quiet = time::hours(2);
            s.live.last_significant_edit = Some(time::sub(noon(), time::minutes(minutes)));
        })
    };
    edited(119).defers(Rule::LearningQuiet, time::add(noon(), time::minutes(1)));
    edited(120).allows(11_000, None);
}

#[test]
fn blackouts_hold_the_policy_and_business_hours_what_would_spend_more() {
    // Wednesday noon, UTC.
    let blackout = |scene: Scene, text: &str| {
        let blackouts = vec![text.parse().unwrap()];
        scene.with(move |s| s.limits.calendar.blackouts = blackouts)
    };
    let thursday: Timestamp = "2026-11-26T00:00:00Z".parse().unwrap();
    for scene in [raise_to(11_000), raise_to(9_000), pause_ad()] {
        blackout(scene.clone(), "2026-11-25").defers(Rule::Blackout, thursday);
        let held = blackout(scene.clone(), "Wed 12:00..Wed 12:01");
        held.defers(Rule::Blackout, time::add(noon(), time::minutes(1)));
        for elsewhere in ["Wed 12:01..Wed 12:00", "Wed 11:00..Wed 12:00", "2026-11-26"] {
            let free = blackout(scene.clone(), elsewhere).judge();
            assert!(
                matches!(free, Verdict::Allow { .. }),
                "{elsewhere}: {free:?}"
            );
        }
        let by_person = blackout(scene, "2026-11-25").by_person().judge();
        assert!(matches!(by_person, Verdict::Allow { .. }), "{by_person:?}");
    }
    // Of two the later end counts.
    let two = raise_to(11_000).with(|s| {
        s.limits.calendar.blackouts = ["Wed 00:00..Wed 13:00", "2026-11-25"]
            .map(|t| t.parse().unwrap())
            .into();
    });
    two.defers(Rule::Blackout, thursday);
    let office = |scene: Scene, text: &str| {
        let hours = Some(text.parse().unwrap());
        scene.with(move |s| s.limits.calendar.business_hours = hours)
    };
    office(raise_to(11_000), "Mon..Fri 12:00..18:00").allows(11_000, None);
    let one = time::add(noon(), time::hours(1));
    office(raise_to(11_000), "Mon..Fri 13:00..18:00").defers(Rule::BusinessHours, one);
    let tomorrow = "2026-11-26T09:00:00Z".parse().unwrap();
    office(scene(ad(1), OFF, ON), "Mon..Fri 09:00..12:00").defers(Rule::BusinessHours, tomorrow);
    office(raise_to(9_000), "Mon..Fri 13:00..18:00").allows(9_000, None);
    office(pause_ad(), "Mon..Fri 13:00..18:00").allows_status(OFF);
    let all = |s: &mut Scene| s.limits.calendar.holds_all = true;
    office(pause_ad(), "Mon..Fri 13:00..18:00")
        .with(all)
        .defers(Rule::BusinessHours, one);
    office(raise_to(11_000), "Mon..Fri 13:00..18:00")
        .by_person()
        .allows(11_000, None);
    // By the account's clocks: 12:00 UTC is 07:00 in New York.
    let york = office(raise_to(11_000), "Mon..Fri 09:00..18:00")
        .with(|s| s.zone = TimeZone::get("America/New_York").unwrap());
    york.defers(Rule::BusinessHours, "2026-11-25T14:00:00Z".parse().unwrap());
}

#[test]
fn a_tripped_breaker_holds_what_it_is_for_until_its_time() {
    let tripped = |scene: Scene, breaker, minutes| {
        scene.with(|s| {
            s.breakers.push(Trip {
                breaker,
                since: ago(1),
                until: time::add(noon(), time::minutes(minutes)),
                reason: "as the test wants it".into(),
            });
        })
    };
    let hold = time::add(noon(), time::minutes(1));
    let scenes = || {
        [
            raise_to(11_000),
            scene(ad(1), OFF, ON),
            raise_to(9_000),
            pause_ad(),
        ]
    };
    for (breaker, holds) in [
        (Breaker::SpendRate, [true, true, false, false]),
        (Breaker::CostPerLead, [true; 4]),
        (Breaker::Errors, [true, true, true, false]),
    ] {
        for (scene, holds) in scenes().into_iter().zip(holds) {
            if holds {
                tripped(scene.clone(), breaker, 1).defers(breaker.rule(), hold);
            }
            let over = tripped(scene.clone(), breaker, if holds { 0 } else { 1 }).judge();
            assert!(matches!(over, Verdict::Allow { .. }), "{breaker}: {over:?}");
            let person = tripped(scene, breaker, 1).by_person().judge();
            let is_held = matches!(person, Verdict::Defer { .. });
            assert_eq!(
                is_held,
                breaker == Breaker::Errors && holds,
                "{breaker}: {person:?}"
            );
        }
    }
}

#[test]
fn a_stop_passes_pauses_and_counts_but_not_what_is_let_alone() {
    let stop = |s: &mut Scene| s.change.proposed.origin = Origin::Stop;
    let whole = || scene(EntityRef::Campaign(campaign()), ON, OFF).with(stop);
    whole().allows_status(OFF);
    whole()
        .with(|s| (s.stops.daemon_paused, s.stops.tenant_paused) = (true, true))
        .allows_status(OFF);
    let busy = (0..20).fold(whole(), |s, i| s.acted(ad(i), 10, OFF));
    busy.with(|s| s.quality.insight_age = None)
        .allows_status(OFF);
    whole()
        .with(|s| s.hands_off = Some(HandsOff::LegacyAdvantage("x".into())))
        .refuses(Rule::HandsOff);
    let found = whole().with(|s| s.live.value = Some(OFF)).judge();
    assert_eq!(found, Verdict::AlreadyInForce);
    whole()
        .with(|s| s.stops.tenant_parked = true)
        .defers(Rule::TenantParked, soon());
}

fn arbitrary_scene() -> impl Strategy<Value = Scene> {
    let history = proptest::collection::vec((0i64..30 * 60, 600i64..30_000, 600i64..30_000), 0..8);
    let actions = proptest::collection::vec((0i64..26 * 60, 0u8..4), 0..8);
    let amounts = (600i64..30_000, 1i64..60_000, 0i64..120_000, 0i64..30_000);
    let spent = (0i64..200_000, 0i64..800_000, 0i64..7 * 24);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (history, actions, amounts, spent, flags).prop_map(
        |(history, actions, (live, wanted, others, own_spent), (today, week, hour), flags)| {
            let (person, includes, yen) = flags;
            let mut s = scene(ad_set(), daily(live), daily(wanted));
            for (minutes, from, to) in history {
                s.history.push(BudgetMove {
                    entity: ad_set(),
                    campaign: campaign(),
                    at: time::sub(noon(), time::minutes(minutes)),
                    from: usd(from),
                    to: usd(to),
                    is_ours: minutes % 2 == 0,
                });
            }
            for (minutes, what) in actions {
                let target = if what == 0 { OFF } else { daily(live) };
                s = s.acted(if what < 2 { ad_set() } else { ad(1) }, minutes, target);
            }
            s.now = time::add(noon(), time::hours(hour));
            s.change.proposed.expires_at = time::add(s.now, time::hours(1));
            s.live.spent_today = usd(own_spent);
            s.sums.includes_this = includes;
            s.sums.daily_budgets = usd(others + if includes { live } else { 0 });
            (s.sums.spent_today, s.sums.spent_this_week) = (usd(today), usd(week.max(today)));
            s.limits.max_per_ad_set = yen.then_some(usd(25_000));
            if person { s.by_person() } else { s }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn an_allowed_change_violates_no_limit(s in arbitrary_scene()) {
        let (Some(Target::DailyBudget(live)), limits) = (s.live.value, &s.limits) else {
            unreachable!("the scene is about budgets");
        };
        match s.judge() {
            Verdict::Allow { target: Target::DailyBudget(to), clipped_by } => {
                let (from, to) = (live.minor(), to.minor());
                let Target::DailyBudget(wanted) = s.change.proposed.requested else {
                    unreachable!("the scene is about budgets");
                };
                // Toward what was asked for, never past it, and clipped only if it says so.
                prop_assert!(to != from);
                prop_assert!((to > from) == (wanted.minor() > from));
                prop_assert!(to.abs_diff(from) <= wanted.minor().abs_diff(from));
                prop_assert_eq!(clipped_by.is_some(), to != wanted.minor());
                prop_assert!(to >= limits.min_per_ad_set.minor());
                // Velocity, stated anew and plainly: every value whose time overlaps the window.
                let mut moves: Vec<_> = s.history.iter().collect();
                moves.sort_by_key(|m| m.at);
                for (window, up, down) in [(6, 1.2, 0.8), (24, 1.199, 0.81)] {
                    let opens = time::sub(s.now, time::hours(window));
                    let mut held = vec![from];
                    for (i, m) in moves.iter().enumerate() {
                        if m.at > opens {
                            held.push(m.from.minor());
                        }
                        if moves.get(i + 1).is_none_or(|next| next.at > opens) {
                            held.push(m.to.minor());
                        }
                    }
                    for v in held {
                        let v = v as f64;
                        prop_assert!(to < from || to as f64 <= v * up + 1e-6, "{} over {}", to, v);
                        prop_assert!(to > from || to as f64 >= v * down - 1e-6, "{} under {}", to, v);
                    }
                }
                if to > from {
                    let own = if s.sums.includes_this { from } else { 0 };
                    let total = s.sums.daily_budgets.minor() - own + to;
                    prop_assert!(total <= limits.daily_cap.minor());
                    prop_assert!(s.sums.spent_today.minor() as f64 <= 1.75 * 100_000.0);
                    let weekday = i64::from(
                        time::day_of(s.now, &s.zone).weekday().to_sunday_zero_offset(),
                    );
                    let today_left = (total - s.sums.spent_today.minor()).max(0);
                    let week = s.sums.spent_this_week.minor() + today_left + total * (6 - weekday);
                    prop_assert!(
                        week <= 7 * limits.daily_cap.minor(),
                        "{} in a week, {} a day", week, total
                    );
                    prop_assert!(limits.max_per_ad_set.is_none_or(|most| to <= most.minor()));
                } else {
                    prop_assert!(to as f64 >= s.live.spent_today.minor() as f64 * 1.1 - 1e-6);
                }
                let recent = |hours| {
                    let opens = time::sub(s.now, time::hours(hours));
                    s.actions.iter().filter(move |a| a.at > opens)
                };
                prop_assert!(recent(1).count() < 15);
                let budgets = recent(24).filter(|a| {
                    a.entity == ad_set() && matches!(a.target, Target::DailyBudget(_))
                });
                prop_assert!(budgets.count() < 2);
            }
            Verdict::Allow { target: Target::Status(_), .. } => prop_assert!(false),
            Verdict::Defer { until, reason, .. } => {
                prop_assert!(until > s.now);
                prop_assert!(!reason.is_empty());
            }
            Verdict::Refuse { reason, .. } => prop_assert!(!reason.is_empty()),
            Verdict::Overtaken { .. } => prop_assert!(false),
            Verdict::AlreadyInForce => prop_assert_eq!(s.live.value, Some(s.change.proposed.requested)),
        }
    }

    /// Judged again at the time it named, a change that velocity held has room.
    #[test]
    fn a_window_is_open_when_it_was_said_to_open(s in arbitrary_scene()) {
        // A history that leads elsewhere than to the value in force never comes to rest.
        let s = s.with(|s| {
            s.history.sort_by_key(|m| m.at);
            if let (Some(last), Some(Target::DailyBudget(live))) = (s.history.last_mut(), s.live.value) {
                last.to = live;
            }
        });
        if let Verdict::Defer { rule: Rule::Velocity | Rule::DailyVelocity, until, .. } = s.judge() {
            let later = s.with(|s| {
                s.now = until;
                s.change.proposed.expires_at = time::add(until, time::hours(1));
            });
            let rule = match later.judge() {
                Verdict::Defer { rule, .. } | Verdict::Refuse { rule, .. } => Some(rule),
                _ => None,
            };
            prop_assert!(
                !matches!(rule, Some(Rule::Velocity | Rule::DailyVelocity)),
                "still {rule:?}"
            );
        }
    }
}

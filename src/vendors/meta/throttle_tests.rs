use std::future::Future;

use super::super::usage::Reading;
use super::*;
use crate::clock::SteppedClock;
use crate::domain::time::{hours, minutes, seconds};

fn account(n: u32) -> AdAccountId {
    AdAccountId::new(n.to_string()).unwrap()
}

fn caller(n: u32) -> Caller {
    Caller {
        account: account(n),
        tenant: TenantId::new("acme").unwrap(),
    }
}

struct Rig {
    clock: SteppedClock,
    gate: Arc<MetaGate>,
}

fn rig(config: GateConfig) -> Rig {
    let clock = SteppedClock::new(time::from_seconds(1_800_000_000));
    let gate = Arc::new(MetaGate::new(config, Arc::new(clock.clone())));
    Rig { clock, gate }
}

impl Rig {
    /// Runs `work` under a hold while time goes on as far as needed.
    async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let hold = self.clock.hold();
        let task = tokio::spawn(async move {
            let out = work.await;
            drop(hold);
            out
        });
        // Any end will do: the clock stops where nothing is due, not before.
        while !task.is_finished() {
            let due = time::add(self.clock.now(), seconds(1));
            self.clock.run_until(due).await;
            tokio::task::yield_now().await;
        }
        task.await.unwrap()
    }

    async fn permit(&self, n: u32, kind: CallKind) -> Result<Permit, Closed> {
        let gate = self.gate.clone();
        self.run(async move { gate.permit(&caller(n), kind, SignedDuration::ZERO).await })
            .await
    }

    /// The times at which calls of a kind pass when one is always waiting.
    async fn passes(&self, n: u32, kind: CallKind, count: usize) -> Vec<Timestamp> {
        let (gate, clock) = (self.gate.clone(), self.clock.clone());
        self.run(async move {
            let mut times = Vec::new();
            for _ in 0..count {
                let _ = gate
                    .permit(&caller(n), kind, SignedDuration::ZERO)
                    .await
                    .unwrap();
                times.push(clock.now());
            }
            times
        })
        .await
    }
}

fn usage(share: Share, percent: f64) -> Usage {
    Usage {
        readings: vec![Reading {
            share,
            kind: "x".to_owned(),
            percent,
            horizon: hours(1),
        }],
        ..Usage::default()
    }
}

fn most_in_any_window(times: &[(Timestamp, u32)], span: SignedDuration) -> u32 {
    times
        .iter()
        .map(|(end, _)| {
            times
                .iter()
                .filter(|(at, _)| *at <= *end && *at > time::sub(*end, span))
                .map(|(_, points)| points)
                .sum()
        })
        .max()
        .unwrap_or(0)
}

#[tokio::test]
async fn reads_writes_and_pauses_together_stay_within_the_account_score() {
    let rig = rig(GateConfig::default());
    let (gate, clock) = (rig.gate.clone(), rig.clock.clone());
    let passed = Arc::new(Mutex::new(Vec::new()));
    let all = {
        let passed = passed.clone();
        async move {
            let one = |kind, points: u32, count: usize| {
                let (gate, clock, passed) = (gate.clone(), clock.clone(), passed.clone());
                let hold = clock.hold();
                tokio::spawn(async move {
                    for _ in 0..count {
                        let permit = gate.permit(&caller(1), kind, SignedDuration::ZERO).await;
                        if permit.is_ok() {
                            passed.lock().unwrap().push((clock.now(), points));
                        } else {
                            clock::sleep(&clock, seconds(10), "again").await;
                        }
                    }
                    drop(hold);
                })
            };
            one(CallKind::Read, 1, 80);
            one(CallKind::Write, 3, 20);
            one(CallKind::SafetyWrite, 3, 30);
        }
    };
    rig.run(all).await;
    rig.clock.advance(hours(2)).await;
    let mut passed = passed.lock().unwrap().clone();
    passed.sort();
    assert!(passed.len() > 100, "{}", passed.len());
    let most = most_in_any_window(&passed, SPAN);
    assert!(most <= 48, "60 points less a fifth, but {most} passed");
    assert!(most >= 36, "the budget is used, but only {most} passed");
}

#[tokio::test]
async fn equal_calls_wait_equally() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let rig = rig(GateConfig::default());
        runs.push(rig.passes(1, CallKind::Read, 40).await);
    }
    assert_eq!(runs[0], runs[1]);
    assert!(time::between(runs[0][0], runs[0][39]) > minutes(5));
}

#[tokio::test]
async fn accounts_do_not_wait_for_each_other() {
    let rig = rig(GateConfig::default());
    rig.passes(1, CallKind::Write, 3).await;
    let before = rig.clock.now();
    let times = rig.passes(2, CallKind::Write, 1).await;
    assert!(time::between(before, times[0]) < seconds(2));
}

#[tokio::test]
async fn the_lower_tier_wins() {
    let rig = rig(GateConfig {
        tier: AccessTier::Full,
        ..GateConfig::default()
    });
    let times = rig.passes(1, CallKind::Read, 100).await;
    assert_eq!(times.first(), times.last(), "the full tier has room");
    let told = Usage {
        tier: Some(AccessTier::Development),
        ..Usage::default()
    };
    rig.gate.observe(&account(1), &told);
    assert_eq!(rig.gate.headroom(&account(1)).tier, AccessTier::Development);
    let times = rig.passes(1, CallKind::Read, 20).await;
    assert!(time::between(times[0], times[19]) > minutes(2));
}

#[tokio::test]
async fn calls_cost_more_as_usage_climbs_and_then_only_pauses_pass() {
    let own = |slow_at, stop_at| GateConfig {
        slow_at,
        stop_at,
        ..GateConfig::default()
    };
    for (config, percent, factor, is_open) in [
        (GateConfig::default(), 49.9, 1, true),
        (GateConfig::default(), 50.0, 2, true),
        (GateConfig::default(), 69.9, 2, true),
        (GateConfig::default(), 70.0, 4, true),
        (GateConfig::default(), 89.9, 4, true),
        (GateConfig::default(), 90.0, 4, false),
        (GateConfig::default(), 120.0, 4, false),
        (own(20.0, 40.0), 19.9, 1, true),
        (own(20.0, 40.0), 20.0, 2, true),
        (own(20.0, 40.0), 30.0, 4, true),
        (own(20.0, 40.0), 40.0, 4, false),
        (own(95.0, 100.0), 94.9, 1, true),
        (own(95.0, 100.0), 99.9, 4, true),
        (own(95.0, 100.0), 100.0, 4, false),
    ] {
        for share in [Share::Account, Share::App] {
            let rig = rig(config.clone());
            rig.gate.observe(&account(1), &usage(share, percent));
            let room = rig.gate.headroom(&account(1));
            assert_eq!((room.cost_factor, room.is_open), (factor, is_open));
            let closed = |n, kind| rig.gate.closed(&account(n), kind).is_some();
            for kind in [CallKind::Read, CallKind::Write] {
                assert_eq!(closed(1, kind), !is_open, "{kind:?} at {percent} %");
                let is_shared = share == Share::App;
                assert_eq!(closed(2, kind), is_shared && !is_open, "{kind:?}");
            }
            let pause = closed(1, CallKind::SafetyWrite);
            assert!(!pause, "a pause passes at {percent} %");
        }
    }
}

#[tokio::test]
async fn the_app_makes_so_many_calls_in_an_hour_and_keeps_some_for_pauses() {
    let rig = rig(GateConfig {
        tier: AccessTier::Full,
        app_calls_per_hour: 100,
        max_wait: seconds(1),
        ..GateConfig::default()
    });
    // Eighty for all kinds, of which a quarter may go at once; the accounts have room for more.
    let mut passed = Vec::new();
    for n in 0..2_000 {
        let kind = [CallKind::Read, CallKind::Write][n as usize % 2];
        if rig.permit(n % 7, kind).await.is_ok() {
            passed.push((rig.clock.now(), 1));
        }
        rig.clock.advance(seconds(4)).await;
    }
    let most = most_in_any_window(&passed, hours(1));
    assert!((75..=80).contains(&most), "{most} passed in an hour");

    while rig.permit(1, CallKind::Read).await.is_ok() {}
    let closed = rig.permit(2, CallKind::Write).await.unwrap_err();
    assert!(closed.reason.contains("app_calls_per_hour"), "{closed}");
    let mut pauses = 0;
    while rig.permit(pauses % 3, CallKind::SafetyWrite).await.is_ok() {
        pauses += 1;
    }
    assert_eq!(pauses, 5, "a quarter of the twenty that are kept, at once");
    let closed = rig.permit(1, CallKind::SafetyWrite).await.unwrap_err();
    assert!(time::between(rig.clock.now(), closed.until) < minutes(5));
}

#[tokio::test]
async fn other_limits_hold_from_the_next_call_on_and_what_meta_said_stays() {
    let rig = rig(GateConfig::default());
    let until = time::add(rig.clock.now(), minutes(10));
    rig.gate
        .cool_down(Scope::Account(account(1)), until, "code 17");
    rig.gate.observe(&account(2), &usage(Share::Account, 60.0));
    rig.gate.configure(GateConfig {
        stop_at: 60.0,
        ..GateConfig::default()
    });
    assert!(rig.gate.closed(&account(2), CallKind::Read).is_some());
    let closed = rig.gate.closed(&account(1), CallKind::SafetyWrite);
    assert_eq!(closed.unwrap().until, until);
    rig.gate.configure(GateConfig::default());
    assert_eq!(rig.gate.closed(&account(2), CallKind::Read), None);
}

#[tokio::test]
async fn the_same_limits_again_fill_no_bucket() {
    let config = GateConfig {
        max_wait: seconds(1),
        ..GateConfig::default()
    };
    let rig = rig(config.clone());
    while rig.permit(1, CallKind::Write).await.is_ok() {}
    rig.gate.configure(config);
    assert!(rig.permit(1, CallKind::Write).await.is_err());
}

#[tokio::test]
async fn a_refused_read_passes_once_the_reading_has_aged() {
    let rig = rig(GateConfig::default());
    let at = rig.clock.now();
    rig.gate.observe(&account(1), &usage(Share::Account, 100.0));
    let closed = rig.permit(1, CallKind::Read).await.unwrap_err();
    assert!(closed.reason.contains("100 %"), "{}", closed.reason);
    // A tenth of an hour's use has fallen out of the window after six minutes.
    assert_eq!(closed.until, time::add(at, seconds(361)));
    rig.clock.run_until(closed.until).await;
    assert!(rig.permit(1, CallKind::Read).await.is_ok());
}

#[tokio::test]
async fn pauses_have_a_reserve_that_writes_cannot_use() {
    let rig = rig(GateConfig {
        max_wait: seconds(1),
        ..GateConfig::default()
    });
    let at = rig.clock.now();
    while rig.permit(1, CallKind::Write).await.is_ok() {}
    assert!(rig.permit(1, CallKind::SafetyWrite).await.is_ok());
    assert!(time::between(at, rig.clock.now()) < seconds(10));
    assert!(rig.permit(1, CallKind::Write).await.is_err());
}

#[tokio::test]
async fn a_cool_down_stops_all_and_outlives_a_restart() {
    let rig = rig(GateConfig::default());
    let until = time::add(rig.clock.now(), minutes(10));
    let scope = Scope::Account(account(1));
    rig.gate.cool_down(scope.clone(), until, "code 17");
    rig.gate
        .cool_down(scope, time::add(rig.clock.now(), seconds(1)), "shorter");
    rig.gate.observe(&account(1), &usage(Share::Account, 60.0));
    for kind in [CallKind::Read, CallKind::Write, CallKind::SafetyWrite] {
        let closed = rig.permit(1, kind).await.unwrap_err();
        assert_eq!((closed.until, closed.reason.as_str()), (until, "code 17"));
    }
    assert!(rig.permit(2, CallKind::Read).await.is_ok());

    let again = MetaGate::new(GateConfig::default(), Arc::new(rig.clock.clone()));
    again.restore(rig.gate.snapshot());
    assert_eq!(again.snapshot(), rig.gate.snapshot());
    assert_eq!(
        again
            .closed(&account(1), CallKind::SafetyWrite)
            .unwrap()
            .until,
        until
    );
    assert_eq!(again.headroom(&account(1)).cost_factor, 2);
    rig.clock.run_until(until).await;
    assert_eq!(again.closed(&account(1), CallKind::Read), None);
    assert!(again.snapshot().cool_downs.is_empty());
}

#[tokio::test]
async fn the_whole_app_cools_down() {
    let rig = rig(GateConfig::default());
    let until = time::add(rig.clock.now(), seconds(90));
    rig.gate.cool_down(Scope::App, until, "code 4");
    // Short enough to be waited for.
    assert!(rig.permit(7, CallKind::Read).await.is_ok());
    assert!(rig.clock.now() >= until);
}

#[tokio::test]
async fn a_throttle_during_the_jitter_holds_the_call_back() {
    let rig = rig(GateConfig::default());
    let (gate, clock) = (rig.gate.clone(), rig.clock.clone());
    let begin = rig.clock.now();
    let until = time::add(begin, seconds(60));
    let other = rig.gate.clone();
    rig.run(async move {
        let hold = clock.hold();
        let throttle = {
            let clock = clock.clone();
            tokio::spawn(async move {
                clock::sleep(&clock, seconds(5), "throttle").await;
                other.cool_down(Scope::App, until, "code 4");
                drop(hold);
            })
        };
        let permit = gate.permit(&caller(1), CallKind::Write, seconds(10)).await;
        throttle.await.unwrap();
        assert!(permit.unwrap().made_at() >= until);
    })
    .await;
}

#[tokio::test]
async fn a_permit_goes_stale() {
    let rig = rig(GateConfig::default());
    let permit = rig.permit(1, CallKind::Write).await.unwrap();
    assert_eq!(permit.account(), &account(1));
    let at = permit.made_at();
    assert!(!permit.is_stale(time::add(at, seconds(60))));
    assert!(permit.is_stale(time::add(at, seconds(61))));
    assert!(permit.is_stale(time::sub(at, seconds(1))), "clock set back");
}

#[tokio::test]
async fn each_use_case_is_throttled_by_itself() {
    let rig = rig(GateConfig::default());
    let told = |kind: &str, percent| Usage {
        readings: vec![Reading {
            share: Share::Account,
            kind: kind.to_owned(),
            percent,
            horizon: hours(1),
        }],
        ..Usage::default()
    };
    let closed = |kind| rig.gate.closed(&account(1), kind).is_some();
    rig.gate.observe(&account(1), &told("ads_insights", 95.0));
    assert!(closed(CallKind::Insights));
    for kind in [CallKind::Read, CallKind::Leads, CallKind::Write] {
        assert!(!closed(kind), "{kind:?}: figures alone are read too often");
    }
    // An hour of figures is over before that of management begins.
    let until = time::add(rig.clock.now(), minutes(30));
    let scope = |case| Scope::UseCase(account(1), case);
    rig.gate
        .cool_down(scope(UseCase::Management), until, "code 80004");
    assert!(closed(CallKind::SafetyWrite) && closed(CallKind::Write));
    assert!(!closed(CallKind::Leads));
    let again = MetaGate::new(GateConfig::default(), Arc::new(rig.clock.clone()));
    again.restore(rig.gate.snapshot());
    assert!(again.closed(&account(1), CallKind::SafetyWrite).is_some());
    assert_eq!(again.closed(&account(1), CallKind::Leads), None);
    assert_eq!(again.closed(&account(2), CallKind::Insights), None);
}

#[tokio::test]
async fn the_formula_by_active_ads_holds_without_any_header() {
    // 300 calls an hour and 40 for each active ad; reads stop at 90 % of that.
    for (active, most) in [(0, 270), (5, 450)] {
        let rig = rig(GateConfig {
            app_calls_per_hour: 100_000,
            headroom: 0.0,
            read_share: 0.85,
            max_wait: seconds(1),
            slow_at: 89.0,
            ..GateConfig::default()
        });
        rig.gate.learn_active_ads(&account(1), active);
        let mut passed = Vec::new();
        for _ in 0..2_000 {
            if rig.permit(1, CallKind::Read).await.is_ok() {
                passed.push((rig.clock.now(), 1));
            }
            rig.clock.advance(seconds(4)).await;
        }
        let found = most_in_any_window(&passed, hours(1));
        assert!((most * 9 / 10..=most).contains(&found), "{found} of {most}");
        while rig.permit(1, CallKind::Read).await.is_ok() {
            rig.clock.advance(seconds(4)).await;
        }
        assert!(rig.permit(1, CallKind::SafetyWrite).await.is_ok());
    }
}

#[tokio::test]
async fn no_more_writes_in_a_second_than_meta_takes() {
    let rig = rig(GateConfig {
        tier: AccessTier::Full,
        app_calls_per_hour: 1_000_000,
        app_factor: 1_000,
        ..GateConfig::default()
    });
    let (gate, clock) = (rig.gate.clone(), rig.clock.clone());
    let passed = Arc::new(Mutex::new(Vec::new()));
    let all = {
        let passed = passed.clone();
        async move {
            for kind in [
                CallKind::Write,
                CallKind::SafetyWrite,
                CallKind::SafetyWrite,
            ] {
                let (gate, clock, passed) = (gate.clone(), clock.clone(), passed.clone());
                let hold = clock.hold();
                tokio::spawn(async move {
                    for _ in 0..150 {
                        let _ = gate.permit(&caller(1), kind, SignedDuration::ZERO).await;
                        passed.lock().unwrap().push((clock.now(), 1));
                    }
                    drop(hold);
                });
            }
        }
    };
    rig.run(all).await;
    rig.clock.advance(hours(1)).await;
    let mut passed = passed.lock().unwrap().clone();
    passed.sort();
    assert_eq!(passed.len(), 450);
    let most = most_in_any_window(&passed, SECOND);
    assert!(
        most <= 80,
        "100 less a fifth, but {most} left in one second"
    );
}

#[tokio::test]
async fn a_thousand_accounts_do_not_wake_together() {
    let rig = rig(GateConfig::default());
    let offset = |n| rig.gate.sync_offset(&account(n));
    assert_eq!(
        offset(1),
        SignedDuration::ZERO,
        "one alone waits for nothing"
    );
    rig.gate.expect_accounts(3);
    assert!((1..=3).all(|n| offset(n) <= seconds(2)));
    rig.gate.expect_accounts(1_000);
    let mut seconds_of: BTreeMap<i64, u32> = BTreeMap::new();
    for n in 1..=1_000 {
        assert_eq!(offset(n), offset(n), "stable");
        assert!(offset(n) <= minutes(10));
        *seconds_of.entry(offset(n).as_secs()).or_default() += 1;
    }
    let most = seconds_of.values().max().unwrap();
    assert!(*most <= 9 && seconds_of.len() > 400, "{most} in one second");
}

#[tokio::test]
async fn the_tier_that_headers_told_outlives_a_restart() {
    let config = GateConfig {
        tier: AccessTier::Full,
        ..GateConfig::default()
    };
    let rig = rig(config.clone());
    let told = Usage {
        tier: Some(AccessTier::Development),
        ..Usage::default()
    };
    rig.gate.observe(&account(1), &told);
    let again = MetaGate::new(config, Arc::new(rig.clock.clone()));
    again.restore(rig.gate.snapshot());
    assert_eq!(again.headroom(&account(2)).tier, AccessTier::Development);
}

#[tokio::test]
async fn calls_that_travel_together_are_counted_one_by_one() {
    let rig = rig(GateConfig::default());
    let many = |most| {
        let gate = rig.gate.clone();
        async move {
            let zero = SignedDuration::ZERO;
            gate.permit_many(&caller(1), CallKind::Leads, most, zero)
                .await
                .map(|permit| permit.calls())
        }
    };
    let mut passed = Vec::new();
    for _ in 0..60 {
        let calls = rig.run(many(50)).await.unwrap();
        assert!((1..=50).contains(&calls));
        passed.push((rig.clock.now(), calls));
    }
    assert!(passed[0].1 > 1, "what is there now goes together");
    let most = most_in_any_window(&passed, SPAN);
    assert!((20..=24).contains(&most), "{most} of 24 points for reads");
    assert_eq!(rig.run(many(1)).await, Ok(1));
}

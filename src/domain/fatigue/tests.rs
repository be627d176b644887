use super::*;
use crate::domain::policy::tests_support::{ago, now};
use proptest::prelude::*;

fn day(ctr: f64, frequency: f64, cpm: f64, impressions: f64) -> DailyMetrics {
    DailyMetrics {
        ctr,
        frequency: Some(frequency),
        cpm,
        impressions,
    }
}

/// Eight healthy days: impressions grow, all else stands.
fn healthy(per_day: f64) -> Vec<DailyMetrics> {
    (0..8)
        .map(|i| day(0.02, 1.5, 10.0, per_day * (1.0 + 0.05 * f64::from(i))))
        .collect()
}

fn with_last(
    mut days: Vec<DailyMetrics>,
    n: usize,
    change: impl Fn(&mut DailyMetrics),
) -> Vec<DailyMetrics> {
    let from = days.len() - n;
    days[from..].iter_mut().for_each(change);
    days
}

#[test]
fn each_rule_of_the_contract_fires_past_its_line_and_not_at_it() {
    type Change = fn(&mut DailyMetrics);
    let cases: [(Change, Change, Status); 3] = [
        (|d| d.ctr = 0.0159, |d| d.ctr = 0.0161, Status::Fatiguing),
        (
            |d| d.frequency = Some(3.6),
            |d| d.frequency = Some(3.5),
            Status::Saturated,
        ),
        (
            |d| d.cpm = 15.1,
            |d| d.cpm = 14.9,
            Status::AudienceExhausted,
        ),
    ];
    for (over, under, status) in cases {
        let found = by_rule(&with_last(healthy(10_000.0), 1, over));
        assert_eq!(found.status, status, "{found:?}");
        assert_eq!(found.recommendation, Recommendation::RefreshCreative);
        assert_eq!(found.days_until_critical, Some(0.0));
        let found = by_rule(&with_last(healthy(10_000.0), 1, under));
        assert_eq!(found.status, Status::Healthy, "{found:?}");
        assert_eq!(found.recommendation, Recommendation::Continue);
    }
    let still: Vec<_> = (0..8).map(|_| day(0.02, 1.5, 10.0, 9_000.0)).collect();
    let found = by_rule(&still);
    assert_eq!(found.status, Status::Fatiguing);
    assert!(found.reason.contains("impressions"), "{found:?}");
}

#[test]
fn the_gravest_sign_names_the_status_and_all_give_the_reason() {
    let all = with_last(healthy(10_000.0), 1, |d| *d = day(0.01, 4.0, 20.0, 1.0));
    let found = by_rule(&all);
    assert_eq!(found.status, Status::AudienceExhausted);
    for part in ["thousand", "times", "click-through", "impressions grew"] {
        assert!(found.reason.contains(part), "{found:?}");
    }
}

#[test]
fn a_fall_on_few_clicks_is_no_alarm_and_the_same_on_many_is_one() {
    let fallen = |per_day| with_last(healthy(per_day), 3, |d| d.ctr = 0.013);
    // About ten clicks a day against eight.
    let few = by_posterior(&fallen(400.0));
    assert_eq!(by_rule(&fallen(400.0)).status, Status::Fatiguing);
    assert_eq!(few.status, Status::Healthy, "{few:?}");
    assert!(few.reason.contains("chance"), "{few:?}");
    let many = by_posterior(&fallen(40_000.0));
    assert_eq!(many.status, Status::Fatiguing, "{many:?}");
    assert!(many.confidence > 0.9);
}

#[test]
fn impressions_that_stand_still_are_no_alarm_by_themselves() {
    let still: Vec<_> = (0..8).map(|_| day(0.02, 1.5, 10.0, 9_000.0)).collect();
    assert_eq!(by_posterior(&still).status, Status::Healthy);
}

#[test]
fn one_dear_day_is_no_alarm_and_three_are() {
    let one = with_last(healthy(10_000.0), 1, |d| d.cpm = 17.0);
    assert_eq!(by_rule(&one).status, Status::AudienceExhausted);
    assert_eq!(by_posterior(&one).status, Status::Healthy);
    let three = with_last(healthy(10_000.0), 3, |d| d.cpm = 25.0);
    assert_eq!(by_posterior(&three).status, Status::AudienceExhausted);
}

/// How often an ad that is as good as ever, with so many clicks a day, raises an alarm.
fn false_alarms(clicks_a_day: f64, judge: fn(&[DailyMetrics]) -> Fatigue) -> f64 {
    use crate::domain::bandit::KeyedStream;
    use crate::domain::posterior::special::normal_quantile;
    let runs = 400;
    let alarms = (0..runs)
        .filter(|run| {
            let mut stream = KeyedStream::new(9, "fatigue", "ad", *run);
            let mut days = healthy(clicks_a_day / 0.02);
            for day in &mut days {
                let z = normal_quantile(stream.uniform());
                let clicks = day.ctr * day.impressions;
                // Poisson, near enough: its variance is its mean.
                let drawn = (clicks + libm::sqrt(clicks) * z).max(0.0);
                day.ctr = drawn / day.impressions;
            }
            judge(&days).status != Status::Healthy
        })
        .count();
    alarms as f64 / runs as f64
}

#[test]
fn healthy_ads_seldom_raise_the_posterior_alarm_and_often_the_rules() {
    assert!(false_alarms(12.0, by_rule) > 0.2);
    for clicks in [3.0, 12.0, 60.0, 300.0] {
        let share = false_alarms(clicks, by_posterior);
        assert!(share < 0.02, "{share} of ads with {clicks} clicks a day");
    }
}

#[test]
fn the_day_a_trend_becomes_critical_is_foretold() {
    let rising: Vec<_> = (0..8)
        .map(|i| {
            day(
                0.02,
                2.0 + 0.1 * f64::from(i),
                10.0,
                1_000.0 * 1.1_f64.powi(i),
            )
        })
        .collect();
    let found = by_rule(&rising);
    assert_eq!(found.status, Status::Healthy);
    // 2.7 now, a tenth a day: 3.5 in eight days.
    assert!(
        (found.days_until_critical.unwrap() - 8.0).abs() < 1e-9,
        "{found:?}"
    );
    assert_eq!(by_rule(&healthy(10_000.0)).days_until_critical, None);
}

#[test]
fn percent_and_ratio_are_told_apart() {
    let days = healthy(10_000.0);
    let in_percent: Vec<_> = days
        .iter()
        .map(|d| DailyMetrics {
            ctr: d.ctr * 100.0,
            ..*d
        })
        .collect();
    for (got, want) in with_ctr_as_ratio(&in_percent).iter().zip(&days) {
        assert!((got.ctr - want.ctr).abs() < 1e-15);
    }
    assert_eq!(with_ctr_as_ratio(&days), days);
}

#[test]
fn delivery_becomes_days_with_the_gaps_kept() {
    let bucket = |days, clicks| Bucket {
        at: ago(days),
        impressions: 100.0,
        clicks,
        spend: 2.0,
    };
    let days = days_of(
        &[
            bucket(5.2, 1.0),
            bucket(2.1, 2.0),
            bucket(2.6, 4.0),
            bucket(2.9, f64::NAN),
        ],
        now(),
    );
    let shown: Vec<f64> = days.iter().map(|d| d.impressions).collect();
    assert_eq!(shown, [100.0, 0.0, 0.0, 200.0]);
    assert_eq!((days[3].ctr, days[3].cpm), (0.03, 20.0));
    assert_eq!(days_of(&[], now()), []);
}

fn any_day() -> impl Strategy<Value = DailyMetrics> {
    let any = prop_oneof![
        4 => 0.0..1e7_f64,
        2 => 0.0..0.1_f64,
        1 => Just(0.0),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(-1.0),
        1 => Just(1e-300),
        1 => Just(f64::MAX),
    ];
    (any.clone(), prop::option::of(any.clone()), any.clone(), any).prop_map(
        |(ctr, frequency, cpm, impressions)| DailyMetrics {
            ctr,
            frequency,
            cpm,
            impressions,
        },
    )
}

proptest! {
    #[test]
    fn whatever_is_sent_the_answer_is_finite_and_fits_itself(days in prop::collection::vec(any_day(), 0..20)) {
        for found in [by_rule(&days), by_posterior(&days), by_posterior(&with_ctr_as_ratio(&days))] {
            prop_assert!((0.0..=1.0).contains(&found.confidence), "{found:?}");
            prop_assert!(found.days_until_critical.is_none_or(|d| (0.0..=HORIZON_DAYS).contains(&d)), "{found:?}");
            prop_assert_eq!(
                found.recommendation == Recommendation::Continue,
                found.status == Status::Healthy
            );
            prop_assert!(!found.reason.is_empty());
        }
    }

    #[test]
    fn more_clicks_of_the_same_rates_never_make_the_posterior_less_sure_of_a_fall(
        per_day in 100.0..10_000.0_f64, to in 0.2..0.75_f64, more in 1.0..50.0_f64,
    ) {
        let p = |per_day: f64| {
            History::read(&with_last(healthy(per_day), 3, |d| d.ctr *= to)).p_ctr_fell().unwrap()
        };
        prop_assert!(p(per_day * more) >= p(per_day) - 1e-9);
    }
}

use super::*;
use crate::domain::policy::tests_support::{ad, ago, deal, inputs, now, with_deals};
use crate::domain::policy::{AdState, Bucket, LifetimeTotals, Mode, Record};
use crate::domain::time::{add, days};

fn beliefs(inputs: &PolicyInputs, ads: &[AdEvidence]) -> Beliefs {
    let refs: Vec<&AdEvidence> = ads.iter().collect();
    believe(inputs, &refs, &inputs.params.sanitized())
}

fn close(actual: f64, expected: f64) {
    assert!(
        (actual - expected).abs() <= 1e-6 * expected.abs().max(1e-9),
        "{actual} is not {expected}"
    );
}

fn ledger_of(ad: &AdEvidence) -> AdLedger {
    beliefs(&inputs(Mode::Pipeline), std::slice::from_ref(ad)).ads[0]
        .ledger
        .clone()
}

#[test]
fn open_leads_count_as_far_as_they_had_time() {
    let leads = [0.5, 2.0, 10.0].map(|age| deal(&[Some(age)]));
    let mut given = with_deals(ad("1", "s", 0.0, 0.0), leads.to_vec());
    let half = |age: f64| libm::exp2(-age / 45.0);
    let ledger = ledger_of(&given);
    close(
        ledger.exposure[1],
        0.144_304_8 * half(0.5) + 0.745_227_0 * half(2.0) + 0.999_977_0 * half(10.0),
    );
    close(ledger.successes[1], 0.0);
    if let Record::Dated { deals, .. } = &mut given.record {
        deals[0].lost_at = Some(ago(0.1));
    }
    let lost = ledger_of(&given);
    close(
        lost.exposure[1] - ledger.exposure[1],
        (1.0 - 0.144_304_8) * half(0.5),
    );
}

#[test]
fn a_skipped_stage_counts_as_reached_with_the_later_one() {
    let skipped = with_deals(
        ad("1", "s", 0.0, 0.0),
        vec![deal(&[None, None, None, Some(4.0)])],
    );
    assert_eq!(ledger_of(&skipped).reached, [1.0; 4]);
    // Before its parent: the parent is taken to be as old.
    let early = with_deals(
        ad("1", "s", 0.0, 0.0),
        vec![deal(&[Some(2.0), Some(5.0), None, None])],
    );
    let ledger = ledger_of(&early);
    close(ledger.successes[0], libm::exp2(-5.0 / 14.0));
}

#[test]
fn an_event_of_the_future_has_age_zero_and_has_not_matured() {
    let mut given = with_deals(ad("1", "s", 0.0, 0.0), vec![deal(&[Some(-3.0)])]);
    if let Record::Dated { buckets, .. } = &mut given.record {
        buckets.clear();
        buckets.push(Bucket {
            at: add(now(), days(2)),
            impressions: 10.0,
            clicks: 5.0,
            spend: 3.0,
        });
    }
    given.created_at = Some(add(now(), days(1)));
    let ledger = ledger_of(&given);
    assert_eq!(ledger.age_days, 0.0);
    assert_eq!(ledger.exposure[0], 0.0);
    assert_eq!((ledger.successes[0], ledger.exposure[1]), (1.0, 0.0));
}

#[test]
fn a_win_now_lost_leaves_the_wins() {
    let mut sold = deal(&[Some(9.0), Some(7.0), Some(5.0), Some(3.0)]);
    sold.amount = Some(10_000.0);
    let kept = ledger_of(&with_deals(ad("1", "s", 9.0, 9.0), vec![sold.clone()]));
    assert_eq!(kept.reached[3], 1.0);
    assert_eq!(kept.pipeline_value, 10_000.0);
    sold.lost_at = Some(ago(1.0));
    let lost = ledger_of(&with_deals(ad("1", "s", 9.0, 9.0), vec![sold.clone()]));
    assert_eq!((lost.reached[2], lost.reached[3]), (1.0, 0.0));
    assert_eq!((lost.pipeline_value, lost.amounts.1), (0.0, 0.0));
    assert!(lost.exposure[3] > 0.9, "lost is fully observed");
    sold.lost_at = Some(ago(4.0));
    let reopened = ledger_of(&with_deals(ad("1", "s", 9.0, 9.0), vec![sold]));
    assert_eq!(reopened.reached[3], 1.0, "lost before it was won");
}

#[test]
fn a_negative_amount_is_nothing_in_the_value_and_signed_in_reports() {
    let mut refunded = deal(&[Some(9.0), Some(7.0), Some(5.0), Some(3.0)]);
    refunded.amount = Some(-500.0);
    let given = with_deals(ad("1", "s", 100.0, 100.0), vec![refunded]);
    let b = beliefs(&inputs(Mode::Pipeline), &[given]);
    close(b.value_of_win, 5.0 * 15_000.0 / 6.0);
    assert_eq!(b.ads[0].ledger.raw_roas(), Some(-5.0));
}

#[test]
fn nothing_spent_and_nothing_seen_leaves_the_priors() {
    let mut given = ad("1", "s", 0.0, 0.0);
    given.record = Record::Dated {
        buckets: Vec::new(),
        deals: Vec::new(),
    };
    let b = beliefs(&inputs(Mode::Pipeline), &[given]);
    let one = &b.ads[0];
    assert_eq!((one.ledger.ctr(), one.ledger.raw_roas()), (0.0, None));
    for (k, rate) in [0.05, 0.12, 0.25, 0.6].into_iter().enumerate() {
        close(one.rates[k].mean(), rate);
    }
    close(one.cost.mean(), 1.0 / 3.0);
    assert_eq!(one.signal, 0.0);
    close(one.damping_factor, 1.0);
    close(one.early_share, 1.0);
    close(
        one.mean_roas,
        1.0 / 3.0 * 0.05 * 0.12 * 0.25 * 0.6 * 15_000.0 / 0.8,
    );
}

#[test]
fn the_account_is_shrunk_and_ended_ads_count_by_half() {
    let live = with_deals(ad("1", "s", 0.0, 0.0), vec![deal(&[Some(0.0)]); 4]);
    let mut old = live.clone();
    old.ad = AdId::new("2").unwrap();
    old.state = AdState::Ended;
    let b = beliefs(&inputs(Mode::Pipeline), &[live, old]);
    close(b.account.rates[0], (4.0 + 4.0 + 2.0) / (4.0 / 0.05));
    close(b.account.rates[1], 4.0 / (4.0 / 0.12));
}

#[test]
fn a_family_lends_its_rates_only_when_switched_on() {
    let good: Vec<_> = (0..20)
        .map(|_| deal(&[Some(20.0), Some(18.0), None, None]))
        .collect();
    let poor: Vec<_> = (0..20).map(|_| deal(&[Some(20.0)])).collect();
    let ads = [
        with_deals(ad("1", "good", 400.0, 900.0), good),
        with_deals(ad("2", "poor", 400.0, 900.0), poor),
        ad("3", "good", 0.0, 0.0),
    ];
    let mut given = inputs(Mode::Pipeline);
    let off = beliefs(&given, &ads);
    close(off.ads[2].family[1], off.account.rates[1]);
    given.params.hierarchy = true;
    let on = beliefs(&given, &ads);
    assert!(on.ads[2].family[1] > 1.2 * on.account.rates[1]);
    assert!(on.ads[1].family[1] < 0.8 * on.account.rates[1]);
    close(on.ads[1].family[2], on.account.rates[2]);
}

#[test]
fn look_alikes_lend_what_they_did() {
    let winner = with_deals(
        ad("1", "a", 400.0, 900.0),
        (0..20)
            .map(|_| deal(&[Some(20.0), Some(18.0), None, None]))
            .collect(),
    );
    let other = with_deals(
        ad("2", "b", 400.0, 900.0),
        (0..20).map(|_| deal(&[Some(20.0)])).collect(),
    );
    let mut twin = ad("3", "c", 0.0, 0.0);
    twin.neighbours = vec![
        (AdId::new("1").unwrap(), 1.0),
        (AdId::new("2").unwrap(), 0.15),
        (AdId::new("3").unwrap(), 1.0),
        (AdId::new("nowhere").unwrap(), 1.0),
        (AdId::new("2").unwrap(), f64::NAN),
    ];
    let b = beliefs(&inputs(Mode::Pipeline), &[winner, other, twin]);
    let (w, t) = (&b.ads[0], &b.ads[2]);
    assert_eq!(t.nearest, [(AdId::new("1").unwrap(), 1.0)]);
    let prior = b.account.rates[1] * w.damping_factor;
    close(
        t.look_alike[1],
        (3.0 + w.ledger.successes[1]) / (3.0 + prior * w.ledger.exposure[1]),
    );
    assert!(t.look_alike[1] > 1.3);
    assert_eq!(&t.look_alike[2..], [1.0, 1.0]);
    close(
        t.prior[1],
        b.account.rates[1] * t.damping_factor * t.look_alike[1],
    );
}

#[test]
fn purchases_have_one_rate_and_signal_by_clicks() {
    let mut given = inputs(Mode::Direct);
    given.deals_total = 50.0;
    given.deals_attributed = 40.0;
    let mut sold = deal(&[Some(1.0)]);
    sold.amount = Some(90.0);
    let ads = [
        with_deals(ad("1", "s", 100.0, 50.0), vec![sold; 5]),
        ad("2", "s", 50.0, 100.0),
    ];
    let b = beliefs(&given, &ads);
    assert_eq!(b.ads[0].rates.len(), 1);
    close(b.value_of_win, (5.0 * 60.0 + 450.0) / 10.0);
    close(b.eta, 0.8);
    assert!(b.ads[0].signal > 0.0 && b.ads[1].signal < 0.0);
    assert!(b.ads[0].roas.mu > b.ads[1].roas.mu);
}

#[test]
fn totals_are_mature_and_not_discounted() {
    let totals = |reached: &[f64], value| LifetimeTotals {
        impressions: 1_000.0,
        clicks: 58.0,
        spend: 180.0,
        reached: reached.to_vec(),
        pipeline_value: value,
        ..LifetimeTotals::default()
    };
    let read = |t: LifetimeTotals| {
        let mut one = ad("1", "s", 0.0, 0.0);
        one.created_at = None;
        one.record = Record::Totals(t);
        ledger_of(&one)
    };
    let l = read(totals(&[5.0, 2.5, 0.0, 1.0], None));
    assert_eq!(l.successes, [5.0, 2.5, 1.0, 1.0]);
    assert_eq!(l.exposure, [58.0, 5.0, 2.5, 1.0]);
    assert_eq!(l.pipeline_value, 1.5 * 2_250.0 + 15_000.0);
    assert!(l.totals_only && l.bad_inputs == 0);
    // A value without counts becomes appointments.
    let l = read(totals(&[], Some(4_500.0)));
    assert_eq!(l.successes, [2.0, 2.0, 0.0, 0.0]);
    assert_eq!(l.pipeline_value, 4_500.0);
    // More conversions than clicks are kept.
    let l = read(totals(&[90.0, 0.0, 0.0, 0.0], None));
    assert_eq!((l.successes[0], l.exposure[0]), (90.0, 58.0));
}

#[test]
fn what_is_not_a_number_is_dropped_and_counted() {
    let mut given = with_deals(ad("1", "s", 10.0, 10.0), vec![deal(&[Some(1.0)]); 3]);
    if let Record::Dated { buckets, deals } = &mut given.record {
        buckets[0].spend = f64::NAN;
        buckets[1].clicks = -1.0;
        buckets[2].impressions = f64::INFINITY;
        deals[0].weight = f64::NAN;
        deals[1].amount = Some(f64::NAN);
    }
    let ledger = ledger_of(&given);
    assert_eq!(ledger.bad_inputs, 5);
    close(ledger.spend, 7.0);
    assert_eq!(ledger.reached[0], 2.0);
}

#[test]
fn delays_are_refined_only_when_asked() {
    // Every appointment took 0.5 days where 1.5 are expected.
    let quick: Vec<_> = (0..60)
        .map(|_| deal(&[Some(20.0), Some(19.5), None, None]))
        .collect();
    let ads = [with_deals(ad("1", "s", 100.0, 100.0), quick)];
    let mut given = inputs(Mode::Pipeline);
    close(beliefs(&given, &ads).funnel.delay(1).unwrap(), 1.5);
    given.params.fit_delays = true;
    close(
        beliefs(&given, &ads).funnel.delay(1).unwrap(),
        (20.0 * 1.5 + 60.0 * 0.5) / 80.0,
    );
}

#[test]
fn cheap_leads_that_come_to_nothing_are_damped() {
    // Ad 1 sells leads at a fifth of the price of ad 2, and none of them shows up.
    let cheap: Vec<_> = (0..100).map(|_| deal(&[Some(12.0)])).collect();
    let dear: Vec<_> = (0..20)
        .map(|i| deal(&[Some(12.0), (i < 10).then_some(10.0), None, None]))
        .collect();
    let ads = [
        with_deals(ad("1", "s", 1_000.0, 1_000.0), cheap),
        with_deals(ad("2", "s", 1_000.0, 1_000.0), dear),
    ];
    let b = beliefs(&inputs(Mode::Pipeline), &ads);
    assert!(b.damping.delta > 1.0, "{:?}", b.damping);
    assert!(b.ads[0].damping_factor < b.ads[1].damping_factor);
    assert!(b.ads[1].roas.mu > b.ads[0].roas.mu);
}

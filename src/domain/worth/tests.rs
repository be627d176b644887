use super::*;
use crate::domain::deal::{CrmAmount, StageChange, StageValue};
use crate::domain::ids::{DealId, PipelineId, VendorStageId};
use proptest::prelude::*;

const USD: Currency = Currency::USD;
const CYCLE: f64 = 6.0;

fn at(days: f64) -> Timestamp {
    time::from_seconds(1_790_000_000 + (days * 86_400.0) as i64)
}

fn stages() -> StageTable {
    let stage = |name: &str, main: i64| StageValue {
        name: StageName::new(name).unwrap(),
        value: Money::from_minor(main * 100, USD),
        confidence: 0.5,
        vendor_ids: vec![VendorStageId::new(format!("hs_{name}")).unwrap()],
        is_won: name == "won",
        is_lost: name == "lost",
    };
    let all = [
        ("lead", 1_500),
        ("show_up", 9_000),
        ("won", 15_000),
        ("lost", 0),
    ];
    StageTable::new(all.map(|(name, main)| stage(name, main)).to_vec(), USD).unwrap()
}

fn course(reached: &[f64], end: End) -> Course {
    let mut days: Vec<_> = reached.iter().map(|day| Some(at(*day))).collect();
    days.resize(3, None);
    Course { reached: days, end }
}

fn worth(courses: &[Course], now: f64) -> Vec<StageWorth> {
    learn(courses, &stages(), USD, CYCLE, at(now))
}

/// `n` shows at day 0, of which the first `won` are won for `main` and the next `lost` lost, two days
/// later.
fn shows(n: usize, won: usize, lost: usize, main: i64) -> Vec<Course> {
    (0..n)
        .map(|i| {
            let end = if i < won {
                End::Won(at(2.0), Some(Money::from_minor(main * 100, USD)))
            } else if i < won + lost {
                End::Lost(at(2.0))
            } else {
                End::Open
            };
            course(&[0.0, 0.0], end)
        })
        .collect()
}

#[test]
fn without_deals_a_stage_is_worth_what_is_configured() {
    for stage in worth(&[], 0.0) {
        let configured = stage.configured.to_f64();
        assert!(
            (stage.worth.mid - configured).abs() < 1e-6 * configured,
            "{stage:?}"
        );
        assert!(stage.worth.holds(configured) && !stage.drifts());
        assert_eq!((stage.deals, stage.known), (0, 0.0));
    }
}

#[test]
fn many_deals_outweigh_the_configuration_and_it_is_said() {
    let found = worth(&shows(214, 87, 127, 15_000), 60.0);
    let show = &found[1];
    assert!((show.rate.mid - 0.41).abs() < 0.01, "{show:?}");
    assert!(show.drifts());
    assert_eq!(
        show.sentence(),
        "show_up is worth 6,200 on the last 214 deals, configured 9,000"
    );
    assert_eq!(show.suggested(), Money::from_minor(620_000, USD));
    // As many as configured say nothing.
    assert!(!worth(&shows(200, 120, 80, 15_000), 60.0)[1].drifts());
    // Nor do few.
    assert!(!worth(&shows(6, 0, 6, 15_000), 60.0)[1].drifts());
}

#[test]
fn what_may_be_anything_contradicts_nothing() {
    let mut lead = worth(&shows(214, 87, 127, 15_000), 60.0).swap_remove(0);
    lead.configured = Money::from_minor(0, USD);
    lead.worth = Interval {
        mid: 1.5,
        low: 0.001,
        high: 5_000.0,
    };
    assert!(!lead.drifts(), "{lead:?}");
    lead.worth = Interval {
        mid: 600.0,
        low: 400.0,
        high: 900.0,
    };
    assert!(lead.drifts(), "{lead:?}");
}

#[test]
fn open_deals_count_for_the_time_they_had() {
    let known = shows(100, 50, 50, 15_000);
    let rate = |extra: &[Course]| {
        let all: Vec<_> = known.iter().chain(extra).cloned().collect();
        worth(&all, 30.0)[1].clone()
    };
    let base = rate(&[]);
    // Just arrived: they say nothing, however many.
    let young = vec![course(&[30.0, 30.0], End::Open); 1_000];
    let with_young = rate(&young);
    assert!(
        (with_young.rate.mid - base.rate.mid).abs() < 0.02,
        "{with_young:?}"
    );
    assert!(
        (with_young.known - base.known).abs() < 25.0,
        "{with_young:?}"
    );
    // Left lying for a month: nobody will win them.
    let old = vec![course(&[0.0, 0.0], End::Open); 100];
    let with_old = rate(&old);
    assert!((with_old.rate.mid - 0.25).abs() < 0.03, "{with_old:?}");
    assert!(with_old.known > 190.0, "{with_old:?}");
}

#[test]
fn a_sale_is_worth_its_mean_amount() {
    let found = worth(&shows(100, 50, 50, 20_000), 30.0);
    let sale = &found[2];
    assert!((sale.worth.mid - 19_545.0).abs() < 1.0, "{sale:?}");
    assert_eq!((sale.rate.mid, sale.days_to_won), (1.0, 0.0));
    // Stage and sale drift together.
    assert!((found[1].worth.mid - found[1].rate.mid * sale.worth.mid).abs() < 1e-6);
}

#[test]
fn a_deals_way_is_read_from_its_history() {
    let change = |stage: &str, day: f64| StageChange {
        at: at(day),
        stage: VendorStageId::new(format!("hs_{stage}")).unwrap(),
    };
    let deal = |history: Vec<StageChange>| Deal {
        id: DealId::new("1").unwrap(),
        name: String::new(),
        pipeline: PipelineId::new("p").unwrap(),
        stage: history.last().unwrap().stage.clone(),
        amount: Some(CrmAmount {
            decimal: "10".into(),
            currency: Some("EUR".into()),
        }),
        history,
        contacts: Vec::new(),
        created_at: at(0.0),
        updated_at: at(9.0),
        is_archived: false,
    };
    let fx = FxTable::new(USD).with_rate("EUR", "2").unwrap();
    let of = |deal: &Deal, fx: &FxTable| Course::of(deal, &stages(), fx);
    let ten = Some(Money::from_minor(2_000, USD));
    let straight = deal(vec![change("lead", 0.0), change("won", 3.0)]);
    let three = Some(at(3.0));
    let wanted = Course {
        reached: vec![Some(at(0.0)), three, three],
        end: End::Won(at(3.0), ten),
    };
    assert_eq!(of(&straight, &fx), Some(wanted.clone()));
    // An amount without a rate is no amount.
    let without = Course {
        end: End::Won(at(3.0), None),
        ..wanted
    };
    assert_eq!(of(&straight, &FxTable::new(USD)), Some(without));
    // Put off and back again: the first time counts; a refund is a loss.
    let winding = deal(vec![
        change("show_up", 1.0),
        change("lead", 2.0),
        change("show_up", 3.0),
        change("won", 4.0),
        change("lost", 5.0),
    ]);
    let course = of(&winding, &fx).unwrap();
    assert_eq!(
        course.reached,
        [Some(at(1.0)), Some(at(1.0)), Some(at(4.0))]
    );
    assert_eq!(course.end, End::Lost(at(5.0)));
    let mut gone = straight;
    gone.is_archived = true;
    assert_eq!(of(&gone, &fx), None);
}

#[test]
fn numbers_are_written_as_people_do() {
    for (value, text) in [
        (0.0, "0"),
        (61.25, "61.25"),
        (999.0, "999"),
        (6_100.0, "6,100"),
        (1_234_567.0, "1,234,567"),
        (-1_500.0, "-1,500"),
    ] {
        assert_eq!(in_thousands(value), text);
    }
    for (value, rounded) in [
        (6_137.0, 6_100.0),
        (0.123, 0.12),
        (95.6, 96.0),
        (996.0, 1_000.0),
    ] {
        assert!((two_figures(value) - rounded).abs() < 1e-9, "{value}");
    }
}

fn any_course() -> impl Strategy<Value = Course> {
    (0.0..40.0_f64, 0.0..10.0_f64, 0..3_u8, any::<bool>()).prop_map(|(day, later, end, far)| {
        let end = match end {
            0 => End::Open,
            1 => End::Lost(at(day + later)),
            _ => End::Won(at(day + later), None),
        };
        course(if far { &[0.0, 0.0] } else { &[0.0] }, end)
    })
}

proptest! {
    /// Rates are rates, intervals hold their middle, and the order of deals is nobody's business.
    #[test]
    fn what_is_learned_makes_sense(mut courses in proptest::collection::vec(any_course(), 0..60)) {
        let found = worth(&courses, 50.0);
        for stage in &found {
            prop_assert!(stage.rate.low > 0.0 && stage.rate.high <= 1.0, "{:?}", stage);
            prop_assert!(stage.rate.holds(stage.rate.mid), "{:?}", stage);
            prop_assert!(stage.worth.holds(stage.worth.mid), "{:?}", stage);
            prop_assert!(stage.days_to_won >= 0.0 && stage.days_to_won.is_finite());
            prop_assert!(stage.known <= stage.deals as f64 + 1e-9);
            prop_assert!(stage.won + stage.lost <= stage.deals);
        }
        courses.reverse();
        for (a, b) in found.iter().zip(worth(&courses, 50.0)) {
            prop_assert!((a.worth.mid - b.worth.mid).abs() < 1e-6 * a.worth.mid);
        }
    }

    /// One more deal won never lowers the rate, one more lost never raises it.
    #[test]
    fn a_win_speaks_for_and_a_loss_against(n in 1_usize..80, won in 0_usize..80) {
        let won = won.min(n);
        let rate = |won, lost| worth(&shows(won + lost, won, lost, 15_000), 30.0)[1].rate.mid;
        let base = rate(won, n - won);
        prop_assert!(rate(won + 1, n - won) >= base - 1e-9);
        prop_assert!(rate(won, n - won + 1) <= base + 1e-9);
    }

    /// More of the same narrows the interval.
    #[test]
    fn more_deals_say_more(n in 4_usize..40) {
        let width = |n: usize| {
            let rate = worth(&shows(2 * n, n, n, 15_000), 30.0)[1].rate;
            rate.high - rate.low
        };
        prop_assert!(width(2 * n) < width(n));
    }
}

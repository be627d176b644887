//! The aims of attribution, held on made-up tenants of whom the truth is known.

use roasd::evaluation::attribution::score::{Scores, at_precision};
use roasd::evaluation::attribution::{Purpose, evaluate};

#[test]
fn attribution_comes_close_to_the_best_there_is_and_claims_little() {
    let evaluation = evaluate(Purpose::Reporting, 1, 1.0);
    let ours = &evaluation.roasd;
    let all = Scores::all(&ours.decided);
    let (at, _) = at_precision(&ours.guessed, 0.98);
    let (best, _) = at_precision(&evaluation.ceiling.guessed, 0.98);
    let guesses = Scores::recognised(&ours.guessed);
    let told = format!("{all:?}\n{at:?}\n{best:?}\n{guesses:?}");
    println!("{told}");
    assert!(all.caused > 3_000 && all.organic > 1_500, "{told}");
    // Of what the ceiling recalls, at the same precision.
    assert!(best.recall() > 0.75, "{told}");
    assert!(at.recall() >= 0.97 * best.recall(), "{told}");
    // By the shipped threshold.
    assert!(all.precision() >= 0.97, "{told}");
    assert!(all.organic_claimed() <= 0.06, "{told}");
    assert!(all.calibration_error < 0.03, "{told}");
    assert!(guesses.calibration_error < 0.03, "{told}");
    // The rules it replaces claim nearly every deal for some ad.
    let before = Scores::all(&evaluation.predecessor.decided);
    assert!(before.organic_claimed() > 0.95, "{before:?}");
    assert!(before.precision() < 0.70, "{before:?}");
}

#[test]
fn the_same_seed_gives_the_same_figures() {
    let once = evaluate(Purpose::Tuning, 3, 0.1);
    let again = evaluate(Purpose::Tuning, 3, 0.1);
    assert_eq!(once.roasd.guessed, again.roasd.guessed);
    assert_eq!(once.ceiling.guessed, again.ceiling.guessed);
}

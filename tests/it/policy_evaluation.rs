//! Policies side by side on simulated markets: the same figures again, no guard broken, and the
//! house policy ahead of what owners do now.

use roasd::evaluation::markets::score::scores;
use roasd::evaluation::markets::{
    Board, CLAIRVOYANT, Contender, Kind, LEFT_ALONE, OURS, Purpose, evaluate,
};

fn play(contenders: &[Contender], markets: u64) -> Board {
    let kinds = [Kind::Purchases];
    let mut boards = evaluate(Purpose::Tuning, &kinds, contenders, markets, &|_| {});
    boards.remove(0)
}

#[test]
fn the_same_market_gives_the_same_figures_and_no_guard_is_broken() {
    let contenders = Contender::all();
    let board = play(&contenders, 1);
    for (contender, played) in contenders.iter().zip(&board.played) {
        let market = played[0];
        assert_eq!(market.broken, 0, "{}: {market:?}", contender.name);
        assert!(market.spend > 0.0 && market.revenue > 0.0, "{market:?}");
        assert_eq!(
            market.changes == 0,
            contender.name == LEFT_ALONE,
            "{market:?}"
        );
    }
    let again = play(&contenders[..1], 1);
    assert_eq!(again.played[0], board.played[0]);
}

#[test]
fn ours_earns_more_than_budgets_left_alone_and_less_than_who_knows_all() {
    let mut contenders = Contender::all();
    contenders.retain(|c| [OURS, LEFT_ALONE, CLAIRVOYANT].contains(&c.name));
    let scored = scores(&play(&contenders, 3), &contenders);
    let of = |name: &str| scored.iter().find(|s| s.name == name).unwrap();
    assert!(of(OURS).mean > 105.0, "{scored:?}");
    assert!(of(CLAIRVOYANT).mean > of(OURS).mean, "{scored:?}");
}

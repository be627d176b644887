//! What a version must have shown before it decides about money, unless its owner says otherwise.

use super::trial::Comparison;

/// Days that it must have decided beside the champion.
pub const SHADOW_DAYS: usize = 14;
/// Weeks of tenants whose outcome must be known.
pub const WEEKS: usize = 4;
/// Simulated markets of each kind that it must have played.
pub const MARKETS: u64 = 20;

/// What it earned on simulated markets of one kind, less what the champion did, in hundredths of the
/// budgets left alone.
#[derive(Debug, Clone, PartialEq)]
pub struct OnMarkets {
    /// The kind of business.
    pub kind: String,
    /// Markets played by both.
    pub markets: u64,
    /// The mean difference.
    pub mean: f64,
    /// 95 % interval of it.
    pub interval: (f64, f64),
    /// Guards broken: none, or the figures mean nothing.
    pub broken: u32,
}

/// What is known of a version that is to be promoted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    /// Days on which it decided beside the champion, of the tenant that has most.
    pub shadow_days: usize,
    /// Its forecasts beside the champion's; the champion is the first of the two.
    pub forecasts: Option<Comparison>,
    /// What it earned on simulated markets against this champion; empty when it was not tried.
    pub markets: Vec<OnMarkets>,
}

/// What speaks against a promotion, in an owner's words; nothing when all is shown.
#[must_use]
pub fn objections(evidence: &Evidence) -> Vec<String> {
    let mut against = Vec::new();
    if evidence.shadow_days < SHADOW_DAYS {
        against.push(format!(
            "it has decided beside the champion on {} days; {SHADOW_DAYS} are asked for",
            evidence.shadow_days
        ));
    }
    match &evidence.forecasts {
        Some(found) if found.blocks >= WEEKS => {
            let (low, _) = found.interval;
            if low > 0.0 {
                against.push(format!(
                    "its forecasts were worse than the champion's in {} weeks: deviance {:.2} against \
                     {:.2}, beyond chance",
                    found.blocks, found.deviance[1], found.deviance[0]
                ));
            }
        }
        found => against.push(format!(
            "of {} weeks it is known what came of its forecasts; {WEEKS} are asked for",
            found.as_ref().map_or(0, |found| found.blocks)
        )),
    }
    if evidence.markets.is_empty() {
        against.push(
            "it has not played simulated markets against this champion; \"roasd models evaluate\" \
             lets it"
                .to_owned(),
        );
    }
    for on in &evidence.markets {
        let (_, high) = on.interval;
        if on.broken > 0 {
            against.push(format!("on {} markets it broke guards", on.kind));
        } else if on.markets < MARKETS {
            against.push(format!(
                "it has played {} markets of {}; {MARKETS} are asked for",
                on.markets, on.kind
            ));
        } else if high < 0.0 {
            against.push(format!(
                "on {} markets it earned {:.1} hundredths less than the champion, beyond chance",
                on.kind, -on.mean
            ));
        }
    }
    against
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Evidence {
        Evidence {
            shadow_days: 14,
            forecasts: Some(Comparison {
                blocks: 4,
                cases: 40,
                bias: [Some(1.0), Some(1.1)],
                deviance: [2.0, 1.9],
                difference: -0.1,
                interval: (-0.3, 0.1),
            }),
            markets: vec![OnMarkets {
                kind: "service".to_owned(),
                markets: 20,
                mean: -0.2,
                interval: (-1.0, 0.6),
                broken: 0,
            }],
        }
    }

    #[test]
    fn what_is_shown_is_enough_and_every_gap_is_told() {
        assert_eq!(objections(&good()), Vec::<String>::new());
        assert_eq!(objections(&Evidence::default()).len(), 3);
        type Spoil = fn(&mut Evidence);
        let spoils: [(Spoil, &str); 7] = [
            (|e| e.shadow_days = 13, "13 days"),
            (|e| e.forecasts = None, "0 weeks"),
            (
                |e| e.forecasts.iter_mut().for_each(|f| f.blocks = 3),
                "3 weeks",
            ),
            (
                |e| e.forecasts.iter_mut().for_each(|f| f.interval = (0.1, 0.3)),
                "worse",
            ),
            (|e| e.markets.clear(), "not played"),
            (|e| e.markets[0].interval = (-3.0, -0.1), "less"),
            (|e| e.markets[0].broken = 1, "broke"),
        ];
        for (spoil, word) in spoils {
            let mut evidence = good();
            spoil(&mut evidence);
            let against = objections(&evidence);
            assert!(
                against.len() == 1 && against[0].contains(word),
                "{against:?}"
            );
        }
        let mut few = good();
        few.markets[0].markets = 19;
        assert!(objections(&few)[0].contains("19 markets"));
    }
}

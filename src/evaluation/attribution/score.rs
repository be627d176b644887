//! Counts: who was credited by which layer, how often rightly, and how that compares with how sure
//! it said to be.

use crate::domain::attribution::Method;

/// What was said of one deal, held against the truth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// Whether an ad caused the deal.
    is_caused: bool,
    credit: Option<Credited>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Credited {
    method: Method,
    is_right: bool,
    sure: f64,
}

impl Answer {
    pub(super) fn new(is_caused: bool, credit: Option<(Method, bool, f64)>) -> Self {
        Self {
            is_caused,
            credit: credit.map(|(method, is_right, sure)| Credited {
                method,
                is_right,
                sure,
            }),
        }
    }

    pub(super) fn by(&self, method: Method) -> bool {
        self.credit.is_some_and(|credit| credit.method == method)
    }

    fn is_recognised(&self) -> bool {
        self.credit.is_some() && !self.by(Method::UrlParam)
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scores {
    /// Deals that an ad caused, and that none did.
    pub caused: u64,
    /// The latter.
    pub organic: u64,
    /// Deals credited.
    pub credits: u64,
    /// To the ad that caused them.
    pub right: u64,
    /// Credited although no ad caused them.
    pub claimed: u64,
    /// The mean distance of what was said from how often it was right, over ten bins weighted by
    /// their size (expected calibration error).
    pub calibration_error: f64,
}

impl Scores {
    /// Of the answers that `counts`, against all deals.
    #[must_use]
    pub fn of(answers: &[Answer], counts: impl Fn(&Answer) -> bool) -> Self {
        let mut scores = Self::default();
        let counted = || answers.iter().filter(|answer| counts(answer));
        for answer in answers {
            *if answer.is_caused {
                &mut scores.caused
            } else {
                &mut scores.organic
            } += 1;
        }
        for answer in counted() {
            if let Some(credit) = answer.credit {
                scores.credits += 1;
                scores.right += u64::from(credit.is_right);
                scores.claimed += u64::from(!answer.is_caused);
            }
        }
        scores.calibration_error = error(&bins(counted()));
        scores
    }

    /// Those of one layer.
    #[must_use]
    pub fn by(answers: &[Answer], method: Method) -> Self {
        Self::of(answers, |answer| answer.by(method))
    }

    /// Those of all layers.
    #[must_use]
    pub fn all(answers: &[Answer]) -> Self {
        Self::of(answers, |_| true)
    }

    /// Those of layers two and three.
    #[must_use]
    pub fn recognised(answers: &[Answer]) -> Self {
        Self::of(answers, Answer::is_recognised)
    }

    /// Right credits over all credits, 0 to 1; 1 without credits.
    #[must_use]
    pub fn precision(&self) -> f64 {
        if self.credits == 0 {
            1.0
        } else {
            self.right as f64 / self.credits as f64
        }
    }

    /// Right credits over all deals that an ad caused: the honest rate of recovery.
    #[must_use]
    pub fn recall(&self) -> f64 {
        self.right as f64 / (self.caused.max(1)) as f64
    }

    /// Credited over all deals that no ad caused.
    #[must_use]
    pub fn organic_claimed(&self) -> f64 {
        self.claimed as f64 / (self.organic.max(1)) as f64
    }
}

/// The answers that said about the same.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bin {
    /// How many.
    pub answers: u64,
    /// What they said, in the mean.
    pub said: f64,
    /// How often they were right.
    pub right: f64,
}

/// Ten bins of equal width by what was said.
pub(super) fn bins<'a>(answers: impl Iterator<Item = &'a Answer>) -> [Bin; 10] {
    let mut bins = [Bin::default(); 10];
    for credit in answers.filter_map(|answer| answer.credit) {
        let n = ((credit.sure * 10.0) as usize).min(9);
        bins[n].answers += 1;
        bins[n].said += credit.sure;
        bins[n].right += f64::from(u8::from(credit.is_right));
    }
    bins.map(|bin| Bin {
        answers: bin.answers,
        said: bin.said / bin.answers.max(1) as f64,
        right: bin.right / bin.answers.max(1) as f64,
    })
}

/// The bins of layers two and three.
#[must_use]
pub fn reliability(answers: &[Answer]) -> [Bin; 10] {
    bins(answers.iter().filter(|answer| answer.is_recognised()))
}

fn error(bins: &[Bin; 10]) -> f64 {
    let all: u64 = bins.iter().map(|bin| bin.answers).sum();
    let off = |bin: &Bin| (bin.said - bin.right).abs() * bin.answers as f64;
    bins.iter().map(off).sum::<f64>() / all.max(1) as f64
}

/// The scores of the largest set of guesses, surest first and those by id before all, that is right
/// as often as `precision`, with the least sureness in it. What an id names is always in it.
#[must_use]
pub fn at_precision(guessed: &[Answer], precision: f64) -> (Scores, f64) {
    let mut sure: Vec<f64> = guessed
        .iter()
        .filter(|answer| answer.is_recognised())
        .filter_map(|answer| answer.credit)
        .map(|credit| credit.sure)
        .collect();
    sure.sort_by(f64::total_cmp);
    sure.dedup();
    let at = |least: f64| {
        Scores::of(guessed, |answer| {
            answer.by(Method::UrlParam) || answer.credit.is_some_and(|c| c.sure >= least)
        })
    };
    // From the surest down, as long as it holds: a few hundred thresholds are enough to see it.
    let step = (sure.len() / 400).max(1);
    let mut best = (at(f64::INFINITY), f64::INFINITY);
    for least in sure.iter().rev().step_by(step) {
        let scores = at(*least);
        if scores.precision() >= precision && scores.right > best.0.right {
            best = (scores, *least);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_against_the_truth() {
        let by = |method, right, sure| Some((method, right, sure));
        let answers = [
            Answer::new(true, by(Method::UrlParam, true, 1.0)),
            Answer::new(true, by(Method::Fingerprint, true, 0.95)),
            Answer::new(true, by(Method::Fingerprint, false, 0.55)),
            Answer::new(false, by(Method::Probabilistic, false, 0.65)),
            Answer::new(true, None),
            Answer::new(false, None),
        ];
        let all = Scores::all(&answers);
        assert_eq!((all.caused, all.organic), (4, 2));
        assert_eq!((all.credits, all.right, all.claimed), (4, 2, 1));
        assert_eq!(
            (all.precision(), all.recall(), all.organic_claimed()),
            (0.5, 0.5, 0.5)
        );
        // (0.05 + 0.55 + 0.65 + 0 of 1.0, which shares a bin with 0.95) / 4.
        assert!((all.calibration_error - (0.05 + 0.55 + 0.65) / 4.0).abs() < 1e-9);
        assert_eq!(Scores::by(&answers, Method::Fingerprint).credits, 2);
        let (best, least) = at_precision(&answers, 0.99);
        assert_eq!((best.credits, best.right, least), (2, 2, 0.95));
    }
}

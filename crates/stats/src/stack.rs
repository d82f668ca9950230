//! What several judges say of presence as one probability: their log-odds, weighed.
//!
//! ```text
//! logit p = b + sum_k w_k logit p_k        w_k >= 0
//! log loss + PRIOR / 2 * (b^2 + sum_k variance_k * (w_k - [k = 0])^2) -> min
//! ```
//!
//! Stacking (Wolpert 1992) with weights that are not negative (Breiman 1996), shrunk towards the first judge
//! alone, who keeps all of the weight where little is known. Judges must not have learned from what they are
//! weighed on. Where the weights learned on the other folds do not say more of a fold than the first judge
//! does, the first judge stays alone.

use crate::logistic_regression::{Belief, Evidence, fit, linear, logistic, loss};
use ndarray::{Array2, ArrayView1};
use serde::{Deserialize, Serialize};

/// Judges and their weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stack {
    /// Added to the log-odds.
    pub intercept: f64,
    /// Per judge, not negative; the first is the one that is believed in beforehand.
    pub weights: Vec<f64>,
}

/// What judges said, and what is true.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judged {
    /// Probabilities, a row per entry and a column per judge.
    pub said: Vec<Vec<f64>>,
    /// Whether the entry is present.
    pub is_present: Vec<bool>,
    /// How much the entry counts.
    pub weight: Vec<f64>,
    /// Part of the samples that the entry is of: parts are left out in turn.
    pub fold: Vec<usize>,
}

/// Mean logarithmic losses of entries in parts of the samples that weights were not learned on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Losses {
    /// Of the first judge.
    pub alone: f64,
    /// Of all together.
    pub together: f64,
}

/// Entries of unit curvature that the belief in the first judge counts for; an entry has a quarter at most.
const PRIOR: f64 = 30.0;
/// No judge is as certain as this: probabilities lie between this and 1 less this.
const DOUBT: f64 = 1e-4;
/// Smallest variance of log-odds: keeps the penalty above 0 for a judge that always says the same.
const MIN_VARIANCE: f64 = 1e-6;

impl Stack {
    /// The first of some judges alone.
    pub fn alone(n_judges: usize) -> Stack {
        Stack {
            intercept: 0.0,
            weights: (0..n_judges).map(|k| f64::from(u8::from(k == 0))).collect(),
        }
    }

    /// Weighs the judges; `None` for the losses where there is nothing to weigh them on.
    pub fn fit(judged: &Judged) -> (Stack, Option<Losses>) {
        let n_judges = judged.said.first().map_or(1, Vec::len);
        let alone = Stack::alone(n_judges);
        let total: f64 = judged.weight.iter().sum();
        let mut folds = judged.fold.clone();
        folds.sort_unstable();
        folds.dedup();
        let has_both = judged.is_present.contains(&true) && judged.is_present.contains(&false);
        if folds.len() < 2 || !has_both || total <= 0.0 {
            return (alone, None);
        }
        let x = Array2::from_shape_fn((judged.said.len(), n_judges + 1), |(row, k)| match k {
            0 => 1.0,
            k => log_odds(judged.said[row][k - 1]),
        });
        let beliefs = beliefs(&x);
        let (mut apart, mut first) = (0.0, 0.0);
        let by_first: Vec<f64> = beliefs.iter().map(|belief| belief.prior).collect();
        for fold in folds {
            let of = |is_in: bool| -> Vec<f64> {
                let weights = judged.weight.iter().zip(&judged.fold);
                weights
                    .map(|(weight, at)| if (*at == fold) == is_in { *weight } else { 0.0 })
                    .collect()
            };
            let evidence = |weight| Evidence {
                x: &x,
                is_present: &judged.is_present,
                weight,
            };
            let (learn, test) = (of(false), of(true));
            apart += loss(&evidence(&test), &fit(&evidence(&learn), &beliefs));
            first += loss(&evidence(&test), &by_first);
        }
        let losses = Losses {
            alone: first / total,
            together: apart / total,
        };
        if losses.together >= losses.alone {
            return (alone, Some(losses));
        }
        let evidence = Evidence {
            x: &x,
            is_present: &judged.is_present,
            weight: &judged.weight,
        };
        let coefficients = fit(&evidence, &beliefs);
        let stack = Stack {
            intercept: coefficients[0],
            weights: coefficients[1..].to_vec(),
        };
        (stack, Some(losses))
    }

    /// The probability that follows from those of the judges.
    pub fn probability(&self, said: &[f64]) -> f64 {
        let said: Vec<f64> = said.iter().copied().map(log_odds).collect();
        logistic(self.intercept + linear(&self.weights, ArrayView1::from(&said)))
    }
}

/// The first judge alone; each weight counts by how much its judge's log-odds vary.
fn beliefs(x: &Array2<f64>) -> Vec<Belief> {
    let n = x.nrows() as f64;
    let of = |k: usize| {
        let column = x.column(k);
        let mean = column.sum() / n;
        let variance = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        Belief {
            prior: f64::from(u8::from(k == 1)),
            penalty: PRIOR * variance.max(MIN_VARIANCE),
            least: 0.0,
        }
    };
    let intercept = Belief {
        prior: 0.0,
        penalty: PRIOR,
        least: f64::NEG_INFINITY,
    };
    std::iter::once(intercept)
        .chain((1..x.ncols()).map(of))
        .collect()
}

/// `ln(p / (1 - p))`; a probability that cannot be told is one half.
fn log_odds(p: f64) -> f64 {
    let p = match p.is_nan() {
        true => 0.5,
        false => p.clamp(DOUBT, 1.0 - DOUBT),
    };
    (p / (1.0 - p)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries in four folds; the second judge knows the truth's log-odds, the first has noise added.
    fn judged(n: usize, noise: f64) -> Judged {
        let mut all = Judged::default();
        for k in 0..n {
            // Golden-ratio sequences: even, and without a generator.
            let u = |step: f64| (k as f64 * step).fract();
            let truth = 6.0 * u(0.618_033_988_75) - 3.0;
            let own = truth + noise * (2.0 * u(0.754_877_666_2) - 1.0);
            all.said.push(vec![logistic(own), logistic(truth)]);
            all.is_present.push(u(0.569_840_290_9) < logistic(truth));
            all.weight.push(1.0);
            all.fold.push(k % 4);
        }
        all
    }

    #[test]
    fn weight_goes_to_the_judge_that_knows_and_little_is_learned_from_little() {
        let (stack, losses) = Stack::fit(&judged(20_000, 3.0));
        let losses = losses.unwrap();
        assert!(losses.together < losses.alone);
        assert!(
            stack.weights[0] < 0.05 && (stack.weights[1] - 1.0).abs() < 0.05,
            "{stack:?}"
        );
        let (few, _) = Stack::fit(&judged(40, 3.0));
        assert!(few.weights[0] > 0.4, "{few:?}");
    }

    #[test]
    fn a_stack_of_the_first_judge_says_what_it_says() {
        let alone = Stack::alone(3);
        for p in [0.01, 0.5, 0.9] {
            assert!((alone.probability(&[p, 0.2, 0.7]) - p).abs() < 1e-12);
        }
        assert_eq!(alone.probability(&[f64::NAN, 0.2, 0.7]), 0.5);
        // Two judges that say the same are no better than one.
        let mut same = judged(400, 0.0);
        same.fold.iter_mut().for_each(|fold| *fold = 0);
        assert_eq!(Stack::fit(&same), (Stack::alone(2), None));
        assert_eq!(Stack::fit(&Judged::default()).0, Stack::alone(1));
    }
}

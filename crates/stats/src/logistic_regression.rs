//! Logistic regression that is shrunk towards what is believed beforehand, with slopes that may be held at 0
//! or above.
//!
//! ```text
//! logit p = b . x        sum_i weight_i * logloss_i + sum_k penalty_k / 2 * (b_k - prior_k)^2 -> min
//! ```
//!
//! Newton's method; each step minimises the quadratic within the bounds by coordinate descent and is halved
//! until the objective falls.

use ndarray::{Array2, ArrayView1};

/// What is known of a coefficient before anything is seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Belief {
    /// The coefficient.
    pub(crate) prior: f64,
    /// How much it counts: second derivative of the penalty.
    pub(crate) penalty: f64,
    /// Least coefficient that is allowed; minus infinity for none.
    pub(crate) least: f64,
}

/// What is learned from.
pub(crate) struct Evidence<'a> {
    /// `[n, n_coefficients]`
    pub(crate) x: &'a Array2<f64>,
    /// Per row.
    pub(crate) is_present: &'a [bool],
    /// Per row, not negative; 0 leaves it out.
    pub(crate) weight: &'a [f64],
}

const MAX_STEPS: usize = 50;
const MAX_HALVINGS: usize = 30;
const MAX_SWEEPS: usize = 500;
/// A step of which no coefficient changes by more is the last.
const ENOUGH: f64 = 1e-9;

/// The coefficients of least loss and penalty, from those believed beforehand on.
///
/// - `beliefs`: one per column, each with a penalty above 0
pub(crate) fn fit(evidence: &Evidence, beliefs: &[Belief]) -> Vec<f64> {
    let mut b: Vec<f64> = beliefs.iter().map(|belief| belief.prior).collect();
    let mut objective = loss(evidence, &b) + penalty(beliefs, &b);
    for _ in 0..MAX_STEPS {
        let target = within_bounds(&Quadratic::at(evidence, beliefs, &b), beliefs, &b);
        let mut share = 1.0;
        let mut is_last = true;
        for _ in 0..MAX_HALVINGS {
            let pairs = b.iter().zip(&target);
            let next: Vec<f64> = pairs.map(|(b, t)| b + share * (t - b)).collect();
            let there = loss(evidence, &next) + penalty(beliefs, &next);
            if there <= objective {
                let moved = b.iter().zip(&next).map(|(b, n)| (b - n).abs());
                is_last = moved.fold(0.0, f64::max) < ENOUGH;
                (b, objective) = (next, there);
                break;
            }
            share /= 2.0;
        }
        if is_last {
            break;
        }
    }
    b
}

/// `b . x`
pub(crate) fn linear(b: &[f64], x: ArrayView1<f64>) -> f64 {
    b.iter().zip(x).map(|(b, x)| b * x).sum()
}

/// Sum of the weighted logarithmic losses.
pub(crate) fn loss(evidence: &Evidence, b: &[f64]) -> f64 {
    let rows = evidence.x.rows().into_iter();
    let rows = rows.zip(evidence.is_present).zip(evidence.weight);
    rows.map(|((x, is_present), weight)| {
        let score = linear(b, x);
        let against = if *is_present { -score } else { score };
        // ln(1 + exp(against)) without overflow
        weight * (against.max(0.0) + (-against.abs()).exp().ln_1p())
    })
    .sum()
}

/// `1 / (1 + exp(-x))`
pub(crate) fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn penalty(beliefs: &[Belief], b: &[f64]) -> f64 {
    let one = |(belief, b): (&Belief, &f64)| belief.penalty / 2.0 * (b - belief.prior).powi(2);
    beliefs.iter().zip(b).map(one).sum()
}

/// The objective to second order about some coefficients.
struct Quadratic {
    gradient: Vec<f64>,
    hessian: Vec<Vec<f64>>,
}

impl Quadratic {
    fn at(evidence: &Evidence, beliefs: &[Belief], b: &[f64]) -> Quadratic {
        let n = b.len();
        let (mut gradient, mut hessian) = (vec![0.0; n], vec![vec![0.0; n]; n]);
        let rows = evidence.x.rows().into_iter();
        for ((x, is_present), weight) in rows.zip(evidence.is_present).zip(evidence.weight) {
            let p = logistic(linear(b, x));
            let rest = weight * (p - f64::from(u8::from(*is_present)));
            let curvature = weight * p * (1.0 - p);
            for (k, (slope, row)) in gradient.iter_mut().zip(&mut hessian).enumerate() {
                *slope += rest * x[k];
                for (to, other) in row.iter_mut().zip(x) {
                    *to += curvature * x[k] * other;
                }
            }
        }
        for (k, belief) in beliefs.iter().enumerate() {
            gradient[k] += belief.penalty * (b[k] - belief.prior);
            hessian[k][k] += belief.penalty;
        }
        Quadratic { gradient, hessian }
    }
}

/// The coefficients that minimise a quadratic about `b` within the bounds.
fn within_bounds(quadratic: &Quadratic, beliefs: &[Belief], b: &[f64]) -> Vec<f64> {
    let n = b.len();
    let mut target = b.to_vec();
    for _ in 0..MAX_SWEEPS {
        let mut largest = 0.0_f64;
        for k in 0..n {
            let slope: f64 = quadratic.gradient[k]
                + (0..n)
                    .map(|l| quadratic.hessian[k][l] * (target[l] - b[l]))
                    .sum::<f64>();
            let next = (target[k] - slope / quadratic.hessian[k][k]).max(beliefs[k].least);
            largest = largest.max((next - target[k]).abs());
            target[k] = next;
        }
        if largest < ENOUGH / 10.0 {
            break;
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, matrix, vector};
    use serde_json::Value;

    fn belief(prior: f64, penalty: f64, least: f64) -> Belief {
        Belief {
            prior,
            penalty,
            least,
        }
    }

    fn rows(golden: &Value) -> (Array2<f64>, Vec<bool>, Vec<f64>) {
        let is_present = vector(&golden["present"]).mapv(|present| present > 0.0);
        (
            matrix(&golden["x"]),
            is_present.to_vec(),
            vector(&golden["weight"]).to_vec(),
        )
    }

    #[test]
    fn coefficients_are_those_of_scipy_with_and_without_a_bound() {
        let golden = load("logistic_regression");
        let (x, is_present, weight) = rows(&golden);
        let evidence = Evidence {
            x: &x,
            is_present: &is_present,
            weight: &weight,
        };
        let (prior, penalty) = (vector(&golden["prior"]), vector(&golden["penalty"]));
        for (name, least) in [("free", f64::NEG_INFINITY), ("bounded", 0.0)] {
            let beliefs: Vec<Belief> = (0..3)
                .map(|k| match k {
                    0 => belief(prior[k], penalty[k], f64::NEG_INFINITY),
                    k => belief(prior[k], penalty[k], least),
                })
                .collect();
            let found = fit(&evidence, &beliefs);
            for (found, expected) in found.iter().zip(vector(&golden[name])) {
                assert_close(*found, expected, 1e-8, name);
            }
        }
    }

    #[test]
    fn what_is_believed_stays_where_nothing_is_seen_and_classes_apart_end_in_finite_slopes() {
        let (x, is_present, _) = rows(&load("logistic_regression"));
        let nothing = Evidence {
            x: &x,
            is_present: &is_present,
            weight: &[0.0; 8],
        };
        let beliefs = [belief(0.3, 1.0, 0.0), belief(1.0, 2.0, 0.0)];
        let two = x.select(ndarray::Axis(1), &[0, 1]);
        let found = fit(&Evidence { x: &two, ..nothing }, &beliefs);
        assert_eq!(found, [0.3, 1.0]);
        let apart: Vec<bool> = x.column(1).iter().map(|x| *x > 0.0).collect();
        let evidence = Evidence {
            x: &two,
            is_present: &apart,
            weight: &[1e6; 8],
        };
        let found = fit(&evidence, &beliefs);
        assert!(found.iter().all(|b| b.is_finite()) && found[1] > 1.0);
    }
}

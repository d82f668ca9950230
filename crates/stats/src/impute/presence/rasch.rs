//! The Rasch model: taxa are more or less common, samples more or less rich.
//!
//! ```text
//! logit P(taxon j in sample i) = ease[j] + richness[i]
//! minus log-likelihood + PENALTY / 2 * (|ease|^2 + |richness|^2) -> min, by Newton steps in turn
//! ```
//!
//! Rasch (1960). A sample asked about gets the richness that its other taxa speak for.

use super::logistic::logistic;
use super::samples::Problem;
use ndarray::Array2;
use rayon::prelude::*;

/// Keeps the parameters of taxa and samples with nothing or everything finite.
const PENALTY: f64 = 0.01;
const MAX_TURNS: usize = 200;
/// Turns end when no parameter moves by more than this.
const ENOUGH: f64 = 1e-7;
/// Largest step; a logit of 30 is certain in f64.
const LONGEST: f64 = 3.0;
/// Newton steps for the richness of a sample asked about, and the length that ends them.
const N_STEPS: usize = 30;
const CLOSE: f64 = 1e-3;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rasch {
    /// Per taxon, a logit.
    pub(super) ease: Vec<f64>,
    /// Per training sample, a logit.
    pub(super) richness: Vec<f64>,
}

/// Probability of each entry asked about from the richness of the sample without it; 1 where it is seen.
pub(super) fn presence(problem: &Problem) -> Array2<f64> {
    let used: Vec<usize> = (0..problem.n_taxa())
        .filter(|taxon| problem.is_usable[*taxon])
        .collect();
    let ease = of_asked(problem);
    let level_of = |seen: ndarray::ArrayView1<f64>, without: Option<usize>, start: f64| {
        let mut level = start;
        for _ in 0..N_STEPS {
            let (mut gradient, mut curvature) = (-PENALTY * level, PENALTY);
            for taxon in used.iter().filter(|taxon| Some(**taxon) != without) {
                let p = logistic(ease[*taxon] + level);
                gradient += seen[*taxon] - p;
                curvature += p * (1.0 - p);
            }
            let step = (gradient / curvature).clamp(-LONGEST, LONGEST);
            level += step;
            if step.abs() < CLOSE {
                break;
            }
        }
        level
    };
    let rows: Vec<Vec<f64>> = (0..problem.asked.present.nrows())
        .into_par_iter()
        .map(|row| {
            let seen = problem.asked.present.row(row);
            let with_all = level_of(seen, None, 0.0);
            (0..problem.n_taxa())
                .map(
                    |taxon| match (seen[taxon] == 1.0, problem.is_usable[taxon]) {
                        (true, _) => 1.0,
                        (_, true) => logistic(ease[taxon] + level_of(seen, Some(taxon), with_all)),
                        (_, false) => logistic(ease[taxon] + with_all),
                    },
                )
                .collect()
        })
        .collect();
    Array2::from_shape_fn(problem.asked.present.dim(), |(row, taxon)| rows[row][taxon])
}

/// Ease of each taxon given the richness that is seen of the usable taxa.
fn of_asked(problem: &Problem) -> Vec<f64> {
    // What is seen says how rich a sample is; the truth says how common a taxon is among such samples.
    let mut seen = problem.seen.present.clone();
    for (taxon, mut column) in seen.columns_mut().into_iter().enumerate() {
        if !problem.is_usable[taxon] {
            column.assign(&problem.truth.column(taxon));
        }
    }
    let on_seen = Rasch::fit(&seen);
    if seen == problem.truth {
        return on_seen.ease;
    }
    let mut rasch = on_seen;
    for _ in 0..MAX_TURNS {
        if step_columns(&problem.truth, &rasch.richness, &mut rasch.ease) < ENOUGH {
            break;
        }
    }
    rasch.ease
}

impl Rasch {
    /// Fits a matrix of 0 and 1, `[samples, taxa]`.
    pub(super) fn fit(presence: &Array2<f64>) -> Rasch {
        let mut rasch = Rasch {
            ease: vec![0.0; presence.ncols()],
            richness: vec![0.0; presence.nrows()],
        };
        let transposed = presence.t().as_standard_layout().to_owned();
        for _ in 0..MAX_TURNS {
            let a = step_columns(presence, &rasch.richness, &mut rasch.ease);
            let b = step_columns(&transposed, &rasch.ease, &mut rasch.richness);
            // The likelihood does not change when both move against each other; the penalty alone does.
            let shift = (rasch.richness.iter().sum::<f64>() - rasch.ease.iter().sum::<f64>())
                / (rasch.richness.len() + rasch.ease.len()) as f64;
            rasch.ease.iter_mut().for_each(|ease| *ease += shift);
            rasch.richness.iter_mut().for_each(|own| *own -= shift);
            if a.max(b) < ENOUGH {
                break;
            }
        }
        rasch
    }
}

/// A Newton step of each column's logit, those of the rows given; returns the largest.
fn step_columns(presence: &Array2<f64>, of_rows: &[f64], of_columns: &mut [f64]) -> f64 {
    let steps: Vec<f64> = of_columns
        .par_iter()
        .enumerate()
        .map(|(column, own)| {
            let (mut gradient, mut curvature) = (-PENALTY * own, PENALTY);
            for (present, other) in presence.column(column).iter().zip(of_rows) {
                let p = logistic(own + other);
                gradient += present - p;
                curvature += p * (1.0 - p);
            }
            (gradient / curvature).clamp(-LONGEST, LONGEST)
        })
        .collect();
    let mut largest = 0.0_f64;
    for (own, step) in of_columns.iter_mut().zip(steps) {
        *own += step;
        largest = largest.max(step.abs());
    }
    largest
}

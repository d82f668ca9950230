//! A correlation matrix of many variables from fewer samples: some factors that many variables share, and what is left of
//! single close pairs.
//!
//! ```text
//! R = sum over k of eta(l_k) v_k v_k'  +  what is left of an entry, where it stands out       (diagonal 1)
//! eta(l) = sqrt((l - 1)^2 - (e - 1)^2) where l > e, else 0
//! ```
//!
//! The estimator of Fan, Liao and Mincheva (2013, POET), for entries that are not equally well known. `l_k`, `v_k` are
//! eigenvalues and eigenvectors of the estimate; `e` is the largest eigenvalue of an estimate in which nothing goes together
//! (parallel analysis, Horn 1965), and `eta` the shrinkage of eigenvalues that loses least of a low-rank matrix in white
//! noise of that edge (Frobenius; Gavish & Donoho 2017 for its rectangular form). Drawing with all of the estimate draws
//! the noise of the training samples: generated samples then lie closer to these than to others.

use ndarray::{Array2, Axis, Zip};
use suffuse_stats::generate::eigen::eigen;

/// Standard errors from which on what the factors leave of an entry is taken to be something; of that, `1 - (this / z)^2` is
/// kept.
const STANDS_OUT: f64 = 2.5;

/// - `estimate`: `[n, n]`, symmetric, ones on the diagonal
/// - `information`: inverse squares of the standard errors of its entries, `[n, n]`
/// - `edge`: largest eigenvalue of such an estimate of variables of which none go together
///
/// Ones are on the diagonal; eigenvalues can be negative.
pub(super) fn few_factors(
    estimate: &Array2<f64>,
    information: &Array2<f64>,
    edge: f64,
) -> Array2<f64> {
    let found = eigen(estimate);
    let noise = (edge - 1.0).max(0.0);
    let shared: Vec<usize> = (0..found.values.len())
        .filter(|k| found.values[*k] - 1.0 > noise)
        .collect();
    let mut factors = found.vectors.select(Axis(0), &shared);
    for (mut factor, k) in factors.rows_mut().into_iter().zip(&shared) {
        let above = found.values[*k] - 1.0;
        factor *= (above * above - noise * noise).sqrt().sqrt();
    }
    let mut all = factors.t().dot(&factors);
    Zip::from(&mut all)
        .and(estimate)
        .and(information)
        .for_each(|shared, estimate, information| {
            let left = estimate - *shared;
            let kept = 1.0 - STANDS_OUT * STANDS_OUT / (left * left * information);
            *shared += left * kept.max(0.0);
        });
    all.diag_mut().fill(1.0);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Stage, generator, standard_normal};
    use suffuse_stats::generate::eigen::largest_eigenvalue;

    /// `[n, n]`, symmetric, entries of standard deviation `sd` off the diagonal.
    fn noise(n: usize, sd: f32) -> Array2<f64> {
        let mut rng = generator(1, Stage::Sampling, "noise", 0);
        let values = standard_normal(&mut rng, n * n);
        Array2::from_shape_fn((n, n), |(i, j)| match i == j {
            true => 1.0,
            false => f64::from(sd * values[i.min(j) * n + i.max(j)]),
        })
    }

    #[test]
    fn a_factor_and_a_close_pair_are_found_in_noise() {
        // Half of 200 variables share a factor with loadings .7, the last two have a correlation of .8.
        let n = 200;
        let sd = 0.05;
        let noise = noise(n, sd);
        let mut truth = Array2::<f64>::eye(n);
        for ((i, j), rho) in truth.indexed_iter_mut() {
            if i != j && i < n / 2 && j < n / 2 {
                *rho = 0.49;
            }
        }
        (truth[[n - 2, n - 1]], truth[[n - 1, n - 2]]) = (0.8, 0.8);
        let estimate = &truth + &noise - Array2::<f64>::eye(n);
        // The edge of such noise is 1 + 2 sd sqrt(n) (Wigner 1955): 2.414.
        let edge = largest_eigenvalue(&noise);
        assert!((edge - 2.414).abs() < 0.06, "{edge}");
        let information = Array2::from_elem((n, n), f64::from(sd).powi(-2));
        let found = few_factors(&estimate, &information, edge);
        let off = |of: &Array2<f64>| {
            let error = (of - &truth).mapv(|e| e * e).sum() / (n * (n - 1)) as f64;
            error.sqrt()
        };
        // The estimate is off by the noise; rank one is known n times as well as an entry.
        assert!((off(&estimate) - 0.05).abs() < 0.002, "{}", off(&estimate));
        assert!(off(&found) < 0.015, "{}", off(&found));
        assert!((found[[n - 2, n - 1]] - estimate[[n - 2, n - 1]]).abs() < 0.05);
        assert!(found.diag().iter().all(|x| (x - 1.0).abs() < 1e-12));
        assert_eq!(found, found.t());
        // Of noise alone little is left.
        let of_noise = few_factors(&noise, &information, edge) - Array2::<f64>::eye(n);
        let n_left = of_noise.iter().filter(|x| x.abs() > 1e-4).count();
        // P(|z| > 2.5) = .0124
        let share = n_left as f64 / (n * n) as f64;
        assert!((0.008..0.017).contains(&share), "{share}");
    }

    #[test]
    fn eigenvalues_lose_what_noise_adds_to_them() {
        // Nothing is known of single entries here.
        let n = 5;
        let estimate = Array2::<f64>::ones((n, n)); // eigenvalues 5 and 0
        let found = few_factors(&estimate, &Array2::zeros((n, n)), 4.0);
        let expected = (16.0_f64 - 9.0).sqrt() / n as f64;
        assert!(
            (found[[0, 1]] - expected).abs() < 1e-12,
            "{}",
            found[[0, 1]]
        );
        let none = few_factors(&estimate, &Array2::zeros((n, n)), 5.0);
        assert_eq!(none, Array2::<f64>::eye(n));
    }
}

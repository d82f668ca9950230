//! What the decoder leaves to chance, drawn with the correlations between taxa that the latent does not carry.
//!
//! ```text
//! presence:  present where logit + ln(Phi(e) / (1 - Phi(e))) > 0, e ~ N(0, R_presence)
//! abundance: score = mean + sd e,                                 e ~ N(0, R_abundance)
//! ```
//!
//! `ln(Phi(e) / (1 - Phi(e)))` of a normal `e` is logistic, so each gate alone is what the [hard sparsity
//! loss](super::hard_sparsity) drew in training. `R_presence` is the correlation of the randomised residuals
//! (Dunn & Smyth 1996) of the training samples, `R_abundance` that of standardised errors where both taxa are
//! present; both are shrunk towards independence (Schäfer & Strimmer 2005).

use super::profile::Profile;
use ndarray::{Array2, Axis};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use suffuse_stats::generate::copula::{Factor, Repair};
use suffuse_stats::generate::normal;

/// Joint samples that the correlation 0 of two taxa's abundances counts for.
const PRIOR_SAMPLES: f64 = 30.0;
/// Smallest and largest order of a residual.
const ORDERS: (f64, f64) = (1e-6, 1.0 - 1e-6);

/// What the decoder says of one sample, one number per taxon each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) presence_logit: &'a [f32],
    pub(super) mean: &'a [f32],
    pub(super) log_sd: &'a [f32],
}

/// Factors of the correlations: `F e` of independent normals has the correlation `F F'`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Correlations {
    /// `[n_taxa, n_taxa]`
    pub(super) presence: Array2<f32>,
    /// `[n_taxa, n_taxa]`
    pub(super) abundance: Array2<f32>,
}

impl Correlations {
    /// Normals with the correlations.
    ///
    /// - `presence`, `abundance`: independent, `[n, n_taxa]`
    pub(super) fn join(&self, presence: &Array2<f32>, abundance: &Array2<f32>) -> [Array2<f32>; 2] {
        [
            presence.dot(&self.presence.t()),
            abundance.dot(&self.abundance.t()),
        ]
    }
}

/// Residuals of training samples.
#[derive(Debug, Clone)]
pub(super) struct Residuals {
    /// Of presence, `[n, n_taxa]`.
    presence: Array2<f64>,
    /// Of abundance, 0 where absent, `[n, n_taxa]`.
    abundance: Array2<f64>,
    /// 1 where present, `[n, n_taxa]`.
    is_present: Array2<f64>,
}

impl Residuals {
    pub(super) fn new(n: usize, n_taxa: usize) -> Residuals {
        let zeros = || Array2::zeros((n, n_taxa));
        Residuals {
            presence: zeros(),
            abundance: zeros(),
            is_present: zeros(),
        }
    }

    /// Notes a sample in a row.
    pub(super) fn set(&mut self, row: usize, profile: &Profile, said: Said, rng: &mut ChaCha8Rng) {
        for (taxon, score) in &profile.entries {
            let taxon = *taxon as usize;
            let error = f64::from(score - said.mean[taxon]) / f64::from(said.log_sd[taxon]).exp();
            self.abundance[[row, taxon]] = error;
            self.is_present[[row, taxon]] = 1.0;
        }
        for taxon in 0..said.presence_logit.len() {
            let present = 1.0 / (1.0 + (-f64::from(said.presence_logit[taxon])).exp());
            let u: f64 = rng.random();
            let order = match self.is_present[[row, taxon]] > 0.0 {
                true => 1.0 - present + u * present,
                false => u * (1.0 - present),
            };
            self.presence[[row, taxon]] = normal::quantile(order.clamp(ORDERS.0, ORDERS.1));
        }
    }

    /// Their correlations.
    pub(super) fn correlations(&self) -> Correlations {
        let presence = shrunk(&correlation(&self.presence), self.presence.nrows());
        let abundance = correlation_where_both(&self.abundance, &self.is_present);
        let factor = |estimate: &Array2<f64>| {
            let factor = Factor::of(estimate, Repair::Shrink { floor: 0.0 });
            factor.rows().mapv(|value| value as f32)
        };
        Correlations {
            presence: factor(&presence),
            abundance: factor(&abundance),
        }
    }
}

/// Pearson correlations of the columns; 0 for a column without variance.
fn correlation(rows: &Array2<f64>) -> Array2<f64> {
    let n = rows.nrows().max(1) as f64;
    let mut centred = rows - &(rows.sum_axis(Axis(0)) / n);
    for mut column in centred.columns_mut() {
        let length = column.dot(&column).sqrt();
        if length > 0.0 {
            column /= length;
        }
    }
    let mut found = centred.t().dot(&centred);
    found.diag_mut().fill(1.0);
    found
}

/// `(1 - s) R + s I` with `s = sum of the variances of r / sum of r^2` over pairs of taxa.
fn shrunk(correlation: &Array2<f64>, n: usize) -> Array2<f64> {
    let (mut variance, mut square) = (0.0, 0.0);
    for (_, r) in correlation.indexed_iter().filter(|((i, j), _)| i != j) {
        variance += (1.0 - r * r).powi(2) / n.max(1) as f64;
        square += r * r;
    }
    let share = match square > 0.0 {
        true => (variance / square).min(1.0),
        false => 1.0,
    };
    let mut all = correlation * (1.0 - share);
    all.diag_mut().fill(1.0);
    all
}

/// Correlations of errors around 0 over the samples that have both taxa, shrunk by their number.
fn correlation_where_both(errors: &Array2<f64>, is_present: &Array2<f64>) -> Array2<f64> {
    let squares = errors.mapv(|e| e * e);
    let products = errors.t().dot(errors);
    let own = squares.t().dot(is_present); // of the row's taxon where the column's is present too
    let both = is_present.t().dot(is_present);
    let mut found = Array2::from_shape_fn(products.dim(), |(i, j)| {
        let scale = (own[[i, j]] * own[[j, i]]).sqrt();
        match scale > 0.0 {
            true => products[[i, j]] / scale * both[[i, j]] / (both[[i, j]] + PRIOR_SAMPLES),
            false => 0.0,
        }
    });
    found.diag_mut().fill(1.0);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Stage, generator, standard_normal};
    use ndarray::array;

    #[test]
    fn residuals_of_a_true_decoder_are_standard_normal() {
        // Presence drawn by the decoder's own probability: the randomised residual is N(0, 1) exactly.
        let n = 20_000;
        let mut rng = generator(4, Stage::Sampling, "residual", 0);
        let mut residuals = Residuals::new(n, 1);
        for row in 0..n {
            let logit = 3.0 * rng.random::<f32>() - 2.0;
            let is_present = rng.random_bool(1.0 / (1.0 + (-f64::from(logit)).exp()));
            let profile = Profile {
                row,
                entries: if is_present {
                    vec![(0, 0.0)]
                } else {
                    Vec::new()
                },
                depth: 0.0,
            };
            let said = Said {
                presence_logit: &[logit],
                mean: &[0.0],
                log_sd: &[0.0],
            };
            residuals.set(row, &profile, said, &mut rng);
        }
        let mean = residuals.presence.mean().unwrap();
        let variance = residuals.presence.var(1.0);
        let below = residuals.presence.iter().filter(|e| **e < -1.0).count() as f64 / n as f64;
        assert!(
            mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03,
            "{mean} {variance}"
        );
        assert!((below - 0.158_655).abs() < 0.01, "{below}");
    }

    #[test]
    fn drawn_residuals_have_the_correlation_of_the_factor() {
        let estimate = array![[1.0, 0.6], [0.6, 1.0]];
        let factor = Factor::of(&estimate, Repair::Shrink { floor: 0.0 });
        let factor = factor.rows().mapv(|value| value as f32);
        let correlations = Correlations {
            presence: factor.clone(),
            abundance: factor,
        };
        let n = 20_000;
        let mut rng = generator(5, Stage::Sampling, "factor", 0);
        let mut drawn =
            || Array2::from_shape_vec((n, 2), standard_normal(&mut rng, 2 * n)).unwrap();
        let [presence, _] = correlations.join(&drawn(), &drawn());
        let found = correlation(&presence.mapv(f64::from));
        assert!((found[[0, 1]] - 0.6).abs() < 0.015, "{found}");
    }

    #[test]
    fn correlations_are_those_of_numpy_and_shrink_with_few_samples() {
        // numpy.corrcoef(rows.T)[0, 1]
        let rows = array![[1.0, 2.0], [2.0, 1.0], [3.0, 5.0], [4.0, 4.0], [6.0, 5.0]];
        assert!((correlation(&rows)[[0, 1]] - 0.758_382_0).abs() < 1e-6);
        // errors (1, 2, -1) and (2, 1, -2) where both are present: 6 / sqrt(6 * 9) * 3 / 33
        let errors = array![[1.0, 2.0], [2.0, 1.0], [-1.0, -2.0], [5.0, 0.0]];
        let present = array![[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 0.0]];
        let found = correlation_where_both(&errors, &present)[[0, 1]];
        assert!((found - 6.0 / 54.0_f64.sqrt() * 3.0 / 33.0).abs() < 1e-12);
    }
}

//! Latents in coordinates of mean 0 and covariance 1, in which a Gaussian needs no network.

use crate::error::{Error, Result};
use ndarray::{Array1, Array2, Axis};
use suffuse_stats::generate::eigen;

/// Smallest variance along an axis, against latents that say nothing.
const MIN_VARIANCE: f64 = 1e-4;

/// `u = (x - mean) C^(-1/2)` for the covariance `C` of the latents.
///
/// Of all ways to whiten, the symmetric root moves the axes least (Kessy 2018). That matters: the latents that
/// say nothing have variance 1 like the others, and a rotation would mix them into those that do.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Whitening {
    /// `[n_latent]`
    pub(super) mean: Array1<f32>,
    /// `[n_latent, n_latent]`
    pub(super) forward: Array2<f32>,
    /// Its inverse.
    pub(super) back: Array2<f32>,
}

impl Whitening {
    /// Latents as they are.
    pub(super) fn none(n_latent: usize) -> Whitening {
        Whitening {
            mean: Array1::zeros(n_latent),
            forward: Array2::eye(n_latent),
            back: Array2::eye(n_latent),
        }
    }

    /// From the means of the posteriors and their average variances: the covariance of a latent drawn for a
    /// random sample is that of the means plus the diagonal of these.
    ///
    /// - `means`: `[n, n_latent]`; `variance`: `[n_latent]`
    ///
    /// # Errors
    /// Numbers that are not finite.
    pub(super) fn fit(means: &Array2<f64>, variance: &Array1<f64>) -> Result<Whitening> {
        let n = means.nrows().max(1) as f64;
        let mean = means.sum_axis(Axis(0)) / n;
        let centred = means - &mean;
        let mut covariance = centred.t().dot(&centred) / n;
        covariance
            .diag_mut()
            .iter_mut()
            .zip(variance)
            .for_each(|(own, more)| *own += more);
        if covariance.iter().any(|value| !value.is_finite()) {
            return Err(Error::Table(
                "the latents are not finite: lower vae.training.learning_rate".to_string(),
            ));
        }
        let found = eigen::eigen(&covariance);
        let n_latent = mean.len();
        let root = |k: usize| found.values[k].max(MIN_VARIANCE).sqrt();
        let power = |scale: &dyn Fn(usize) -> f64| {
            let scaled = Array2::from_shape_fn((n_latent, n_latent), |(k, i)| {
                scale(k) * found.vectors[[k, i]]
            });
            found.vectors.t().dot(&scaled).mapv(|value| value as f32)
        };
        Ok(Whitening {
            mean: mean.mapv(|value| value as f32),
            forward: power(&|k| 1.0 / root(k)),
            back: power(&root),
        })
    }

    /// Length of a latent.
    pub(super) fn n_latent(&self) -> usize {
        self.mean.len()
    }

    /// Whitened rows, `[n, n_latent]`.
    pub(super) fn white(&self, latents: &Array2<f32>) -> Array2<f32> {
        (latents - &self.mean).dot(&self.forward)
    }

    /// The latents of whitened rows.
    pub(super) fn latents(&self, white: &Array2<f32>) -> Array2<f32> {
        white.dot(&self.back) + &self.mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Stage, generator, standard_normal};

    #[test]
    fn white_latents_have_mean_0_and_covariance_1_and_lead_back() {
        let n = 4000;
        let noise = standard_normal(&mut generator(1, Stage::Sampling, "white", 0), 3 * n);
        let base = Array2::from_shape_vec((n, 3), noise).unwrap();
        let mix = ndarray::array![[2.0, 1.0, 0.0], [0.0, 0.5, -1.0], [0.0, 0.0, 0.3]];
        let latents = base.dot(&mix) + 3.0;
        let none = Array1::zeros(3);
        let whitening = Whitening::fit(&latents.mapv(f64::from), &none).unwrap();
        let white = whitening.white(&latents);
        let covariance = white.t().dot(&white) / n as f32;
        for ((i, j), value) in covariance.indexed_iter() {
            let expected = if i == j { 1.0 } else { 0.0 };
            assert!((value - expected).abs() < 1e-3, "{i} {j} {value}");
        }
        let back = whitening.latents(&white);
        assert!((back - latents).iter().all(|error| error.abs() < 1e-4));
        assert!(
            whitening
                .forward
                .indexed_iter()
                .all(|((i, j), value)| { (value - whitening.forward[[j, i]]).abs() < 1e-5 })
        );
    }
}

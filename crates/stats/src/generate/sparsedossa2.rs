//! SparseDOSSA2's model (Ma et al. 2021, PLoS Comput. Biol. 17:e1008913).
//!
//! ```text
//! z ~ N(0, R),  u = Phi(z)
//! a_j = 0 where u_j <= pi_j, else exp(mu_j + sigma_j Phi^-1((u_j - pi_j) / (1 - pi_j)))
//! x = a / sum a,  ln depth ~ N(mean, sd),  counts ~ Multinomial(depth, x)
//! ```
//!
//! How it is estimated here:
//!
//! - **Scales.** The table tells `x`, so `a_ij = A_i x_ij` with an unknown total `A_i`. On the log scale
//!   `ln x_ij = mu_j - ln A_i + sigma_j e_ij` for present taxa. Expectation-maximisation over `ln A_i` with a
//!   flat prior and independent `e` has closed steps: `ln A_i` is normal with precision `sum 1/sigma_j^2`.
//!   The package integrates numerically over `A_i` with the copula's density, which underflows for
//!   hundreds of taxa.
//! - **Copula.** `f(z) = z` above the threshold and `E[z | z below it]` under it. The covariance of `f` of two
//!   taxa, by ranks, is a power series in their correlation (Hermite polynomials), and is inverted per
//!   pair. The matrix is then shrunk towards the identity, by the share that its sampling error asks for
//!   (Schäfer and Strimmer 2005) or as far as positive eigenvalues need. The package uses a graphical
//!   lasso.
//! - **Zeros.** A present taxon may have no read. `pi` is lowered until samples have the table's
//!   prevalences; the package takes all zeros for absence, so that its samples have too many.

use super::copula::{Factor, Repair};
use super::counting::multinomial;
use super::drawing::{Composition, ExactReads, Plan};
use super::normal::{cdf, density, quantile};
use super::{Depths, LibrarySizes, Template, rising_root, stream};
use crate::Result;
use crate::ranks::ranks;
use ndarray::Array2;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// Marginals of the absolute abundances, and their copula.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedSparseDossa2 {
    library_sizes: LibrarySizes,
    marginals: Vec<Marginal>,
    factor: Factor,
    /// Mean and standard deviation of `ln depth`.
    ln_depth: (f64, f64),
}

/// Absolute abundance of a taxon: 0 with probability `zero`, else log-normal.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Marginal {
    zero: f64,
    mean: f64,
    sd: f64,
}

/// Steps of the expectation-maximisation; scales move by less than 1e-3 after about 30.
const MAX_STEPS: usize = 100;
/// Least standard deviation of `ln a`: one taxon must not become the yardstick of all others.
const LEAST_SD: f64 = 0.25;
/// Rounds in which `pi` is lowered, and samples drawn in each.
const N_ROUNDS: usize = 5;
const N_DRAWN: usize = 2000;
/// Largest size of a correlation.
const MAX_CORRELATION: f64 = 0.98;
/// Terms of the series; the rest is below 1e-3 at a correlation of 0.9.
const N_TERMS: usize = 40;

impl FittedSparseDossa2 {
    pub(super) fn fit(template: &Template, seed: u64) -> Result<FittedSparseDossa2> {
        template.require_samples(2)?;
        let (mut marginals, scales) = marginals(template);
        let correlation = correlation(template, &scales)?;
        let floor = sampling_share(&correlation, template.n_samples());
        let ln_totals: Vec<f64> = template
            .library_sizes
            .totals
            .iter()
            .map(|total| total.ln())
            .collect();
        let observed: Vec<f64> = marginals.iter().map(|m| m.zero).collect();
        let mut fitted = FittedSparseDossa2 {
            library_sizes: template.library_sizes.clone(),
            marginals: marginals.clone(),
            factor: Factor::of(&correlation, Repair::Shrink { floor }),
            ln_depth: mean_sd(&ln_totals),
        };
        if !template.library_sizes.is_whole {
            return Ok(fitted);
        }
        for round in 0..N_ROUNDS {
            let missed = fitted.missed(seed.wrapping_add(round as u64));
            for ((marginal, observed), missed) in marginals.iter_mut().zip(&observed).zip(&missed) {
                // Of all zeros, those of present taxa are not absences.
                if *observed < 1.0 {
                    marginal.zero = ((observed - missed) / (1.0 - missed)).clamp(0.0, *observed);
                }
            }
            fitted.marginals.clone_from(&marginals);
        }
        Ok(fitted)
    }

    /// Share of the samples with a taxon in which it gets no read.
    fn missed(&self, seed: u64) -> Vec<f64> {
        let drawn: Vec<(Vec<f64>, Vec<f64>)> = (0..N_DRAWN)
            .into_par_iter()
            .map(|row| {
                let rng = &mut stream(seed, Some(row));
                let weights = self.composition(rng);
                let counts = multinomial(&weights, self.depth(rng), rng);
                (weights, counts)
            })
            .collect();
        (0..self.marginals.len())
            .map(|j| {
                let n_present = drawn.iter().filter(|(weights, _)| weights[j] > 0.0).count();
                let n_missed = drawn
                    .iter()
                    .filter(|(weights, counts)| weights[j] > 0.0 && counts[j] == 0.0)
                    .count();
                n_missed as f64 / n_present.max(1) as f64
            })
            .collect()
    }

    /// A depth of at least one read.
    fn depth(&self, rng: &mut ChaCha8Rng) -> u64 {
        let noise: f64 = StandardNormal.sample(rng);
        let (mean, sd) = self.ln_depth;
        (mean + sd * noise).exp().round().max(1.0) as u64
    }

    /// Weights in proportion to the composition of a sample: at least one taxon is present.
    fn composition(&self, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let z = self.factor.draw(rng);
        let mut nearest = (f64::NEG_INFINITY, 0);
        let mut logs: Vec<f64> = self
            .marginals
            .iter()
            .zip(&z)
            .enumerate()
            .map(|(j, (marginal, z))| {
                let above = cdf(*z) - marginal.zero;
                if marginal.zero < 1.0 && above > nearest.0 {
                    nearest = (above, j);
                }
                if above <= 0.0 || marginal.zero >= 1.0 {
                    return f64::NEG_INFINITY;
                }
                // From the nearer tail: 1 - Phi(z) has no digits left at z = 9.
                let score = if *z > 0.0 {
                    -quantile(cdf(-z) / (1.0 - marginal.zero))
                } else {
                    quantile(above / (1.0 - marginal.zero))
                };
                marginal.mean + marginal.sd * score.clamp(-9.0, 9.0)
            })
            .collect();
        if nearest.0 <= 0.0 {
            logs[nearest.1] = 0.0;
        }
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        logs.iter().map(|x| (x - most).exp()).collect()
    }

    pub(super) fn library_sizes(&self) -> &LibrarySizes {
        &self.library_sizes
    }

    pub(super) fn n_taxa(&self) -> usize {
        self.marginals.len()
    }

    pub(super) fn plan(&self, depths: &Depths) -> Result<Plan> {
        let depths = match depths {
            Depths::AsFitted => {
                self.library_sizes.reads()?;
                None
            }
            Depths::Given(depths) => Some(depths.clone()),
        };
        Ok(Plan { depths, etas: None })
    }

    /// A sample, at a depth of the log-normal or at another one.
    pub(super) fn draw(&self, depth: Option<u64>, rng: &mut ChaCha8Rng) -> Composition {
        let weights = self.composition(rng);
        Composition {
            weights,
            depth: depth.unwrap_or_else(|| self.depth(rng)),
            exact: ExactReads::Multinomial,
        }
    }
}

fn mean_sd(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let square: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, (square / (n - 1.0).max(1.0)).sqrt())
}

/// Marginals of `a`, and `ln A` of each sample.
fn marginals(template: &Template) -> (Vec<Marginal>, Vec<f64>) {
    let (n, n_taxa) = template.relative.dim();
    let logs: Vec<Vec<(usize, f64)>> = template
        .relative
        .columns()
        .into_iter()
        .map(|column| {
            let present = column.iter().enumerate().filter(|(_, x)| **x > 0.0);
            present.map(|(i, x)| (i, x.ln())).collect()
        })
        .collect();
    let mut scales = vec![0.0; n];
    let mut spreads = vec![0.0; n];
    let mut means = vec![0.0; n_taxa];
    let mut sds = vec![1.0; n_taxa];
    for _ in 0..MAX_STEPS {
        for (j, logs) in logs.iter().enumerate().filter(|(_, logs)| !logs.is_empty()) {
            let n_present = logs.len() as f64;
            let sum: f64 = logs.iter().map(|(i, ln_x)| ln_x + scales[*i]).sum();
            means[j] = sum / n_present;
            let square: f64 = logs
                .iter()
                .map(|(i, ln_x)| (ln_x + scales[*i] - means[j]).powi(2) + spreads[*i])
                .sum();
            sds[j] = (square / n_present).sqrt();
        }
        // One sample shows no spread: the middle one of the others stands in.
        let mut shown: Vec<f64> = (0..n_taxa)
            .filter(|j| logs[*j].len() > 1)
            .map(|j| sds[j])
            .collect();
        shown.sort_by(f64::total_cmp);
        let middle = shown.get(shown.len() / 2).copied().unwrap_or(1.0);
        for (sd, logs) in sds.iter_mut().zip(&logs) {
            *sd = if logs.len() > 1 { *sd } else { middle }.max(LEAST_SD);
        }
        let (mut above, mut precision) = (vec![0.0; n], vec![0.0; n]);
        for (j, logs) in logs.iter().enumerate() {
            let weight = 1.0 / (sds[j] * sds[j]);
            for (i, ln_x) in logs {
                above[*i] += weight * (means[j] - ln_x);
                precision[*i] += weight;
            }
        }
        let mut new: Vec<f64> = above.iter().zip(&precision).map(|(a, p)| a / p).collect();
        spreads = precision.iter().map(|p| 1.0 / p).collect();
        let centre = new.iter().sum::<f64>() / n as f64;
        new.iter_mut().for_each(|scale| *scale -= centre);
        let moved = new
            .iter()
            .zip(&scales)
            .map(|(new, old)| (new - old).abs())
            .fold(0.0, f64::max);
        scales = new;
        if moved < 1e-4 {
            break;
        }
    }
    let marginals = (0..n_taxa)
        .map(|j| Marginal {
            zero: 1.0 - logs[j].len() as f64 / n as f64,
            mean: means[j],
            sd: sds[j],
        })
        .collect();
    (marginals, scales)
}

/// Correlation of the latent normals, pair by pair.
fn correlation(template: &Template, scales: &[f64]) -> Result<Array2<f64>> {
    let (n, n_taxa) = template.relative.dim();
    let mut scores = Array2::zeros((n, n_taxa));
    let mut series = Vec::with_capacity(n_taxa);
    for (mut to, from) in scores
        .columns_mut()
        .into_iter()
        .zip(template.relative.columns())
    {
        let rows: Vec<usize> = (0..n).filter(|i| from[*i] > 0.0).collect();
        let zero = 1.0 - rows.len() as f64 / n as f64;
        let censored = Censored::at(quantile(zero));
        let absolute: Vec<f64> = rows.iter().map(|i| from[*i].ln() + scales[*i]).collect();
        to.fill(censored.below);
        for (i, rank) in rows.iter().zip(ranks(&absolute)?) {
            let share = (rank - 0.5) / rows.len() as f64;
            to[*i] = quantile(zero + (1.0 - zero) * share);
        }
        let mean = to.sum() / n as f64;
        to.mapv_inplace(|x| x - mean);
        // Ranks know the spread: what is left is the correlation, on the scale of the series.
        let spread = (to.dot(&to) / n as f64).sqrt();
        if spread > 0.0 {
            let expected = censored
                .coefficients
                .iter()
                .map(|c| c * c)
                .sum::<f64>()
                .sqrt();
            to.mapv_inplace(|x| x * expected / spread);
        }
        series.push(censored);
    }
    let covariance = scores.t().dot(&scores) / n as f64;
    let below: Vec<Vec<f64>> = (0..n_taxa)
        .into_par_iter()
        .map(|j| {
            (0..j)
                .map(|k| series[j].correlation(&series[k], covariance[[j, k]]))
                .collect()
        })
        .collect();
    let mut correlation = Array2::eye(n_taxa);
    for (j, row) in below.iter().enumerate() {
        for (k, rho) in row.iter().enumerate() {
            correlation[[j, k]] = *rho;
            correlation[[k, j]] = *rho;
        }
    }
    Ok(correlation)
}

/// `f(z) = z` above a threshold, and the mean of `z` below it under it.
struct Censored {
    below: f64,
    /// `E[f(z) He_m(z)] / sqrt(m!)` for m = 1, 2, ...
    coefficients: Vec<f64>,
}

impl Censored {
    fn at(t: f64) -> Censored {
        let mut coefficients = vec![0.0; N_TERMS];
        if t == f64::NEG_INFINITY {
            coefficients[0] = 1.0;
            return Censored {
                below: 0.0,
                coefficients,
            };
        }
        if t == f64::INFINITY {
            return Censored {
                below: 0.0,
                coefficients,
            };
        }
        let below = -density(t) / cdf(t);
        // h[m] = He_m(t) / sqrt(m!); int_t^inf He_m phi = He_(m-1)(t) phi(t), and z He_m = He_(m+1) + m He_(m-1).
        let mut h = vec![1.0, t];
        for m in 1..N_TERMS {
            let m_f = m as f64;
            h.push((t * h[m] - m_f.sqrt() * h[m - 1]) / (m_f + 1.0).sqrt());
        }
        coefficients[0] = density(t) * (t - below) + cdf(-t);
        for m in 2..=N_TERMS {
            let m_f = m as f64;
            let sum = h[m] + h[m - 2] * (m_f / (m_f - 1.0)).sqrt() - below * h[m - 1] / m_f.sqrt();
            coefficients[m - 1] = density(t) * sum;
        }
        Censored {
            below,
            coefficients,
        }
    }

    /// `Cov(f(z), g(y))` of normals of correlation `rho` (Mehler), and its slope.
    fn covariance(&self, other: &Censored, rho: f64) -> (f64, f64) {
        let (mut value, mut slope) = (0.0, 0.0);
        for (a, b) in self.coefficients.iter().zip(&other.coefficients).rev() {
            slope = slope * rho + value;
            value = value * rho + a * b;
        }
        (value * rho, slope * rho + value)
    }

    /// The correlation with which the covariance is that observed.
    fn correlation(&self, other: &Censored, observed: f64) -> f64 {
        let ends = (-MAX_CORRELATION, MAX_CORRELATION);
        rising_root(ends, 0.0, |rho| {
            let (value, slope) = self.covariance(other, rho);
            (value - observed, slope)
        })
    }
}

/// Share of the identity that the sampling error of the correlations asks for: the sum of their variances,
/// `(1 - r^2)^2 / n`, over the sum of their squares.
fn sampling_share(correlation: &Array2<f64>, n_samples: usize) -> f64 {
    let (mut variances, mut squares) = (0.0, 0.0);
    for ((j, k), r) in correlation.indexed_iter() {
        if k < j {
            variances += (1.0 - r * r).powi(2) / n_samples as f64;
            squares += r * r;
        }
    }
    if squares > 0.0 {
        (variances / squares).min(1.0)
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, number};

    #[test]
    fn covariances_of_censored_normals_are_those_of_mpmath() {
        for case in load("generate")["censored"].as_array().unwrap() {
            let [a, b, rho] = ["a", "b", "rho"].map(|key| number(&case[key]));
            let (found, _) = Censored::at(a).covariance(&Censored::at(b), rho);
            assert_close(found, number(&case["covariance"]), 2e-3, "covariance");
            let back = Censored::at(a).correlation(&Censored::at(b), number(&case["covariance"]));
            // Strong negative correlations of rare taxa leave hardly a trace.
            assert!((back - rho).abs() < 0.02, "{a} {b} {rho}: {back}");
        }
    }

    #[test]
    fn the_covariance_without_censoring_is_the_correlation() {
        let whole = Censored::at(f64::NEG_INFINITY);
        assert_eq!(whole.covariance(&whole, 0.3), (0.3, 1.0));
        assert_close(whole.correlation(&whole, -0.6), -0.6, 1e-12, "inverse");
    }

    #[test]
    fn the_slope_is_that_of_the_covariance() {
        let (f, g) = (Censored::at(0.4), Censored::at(-0.8));
        let difference = f.covariance(&g, 0.501).0 - f.covariance(&g, 0.499).0;
        assert_close(f.covariance(&g, 0.5).1, difference / 0.002, 1e-6, "slope");
    }

    #[test]
    fn scales_and_marginals_of_the_model_come_back() {
        // ln a_ij = mu_j + sigma_j e_ij, 30 taxa, all present; x = a / sum a.
        let mut rng = stream(5, None);
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        let mu: Vec<f64> = (0..30).map(|j| f64::from(j % 7) - 3.0).collect();
        let sigma: Vec<f64> = (0..30).map(|j| 0.6 + 0.1 * f64::from(j % 5)).collect();
        let absolute =
            Array2::from_shape_fn((800, 30), |(_, j)| (mu[j] + sigma[j] * normal()).exp());
        let template = Template::new(&absolute).unwrap();
        let (found, scales) = marginals(&template);
        let shift = found[0].mean - mu[0];
        for (found, (mu, sigma)) in found.iter().zip(mu.iter().zip(&sigma)) {
            assert!((found.mean - shift - mu).abs() < 0.15, "{found:?} {mu}");
            assert!((found.sd / sigma - 1.0).abs() < 0.1, "{found:?} {sigma}");
        }
        let totals: Vec<f64> = absolute.rows().into_iter().map(|r| r.sum().ln()).collect();
        // Spread of the totals about 0.35, error of a scale about 0.15: a correlation of 0.92.
        let found = crate::scores::pearson(&totals, &scales);
        assert!(found > 0.85, "{found}");
    }
}

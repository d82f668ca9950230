//! The Dirichlet-multinomial distribution, fitted by maximum likelihood (Minka 2000, "Estimating a
//! Dirichlet distribution", section 4).
//!
//! ```text
//! composition ~ Dirichlet(alpha), counts ~ Multinomial(depth, composition)
//! ```
//!
//! Newton's step costs one pass, because the Hessian is a diagonal plus a constant. Where it leaves the
//! positive numbers or does not raise the likelihood, Minka's fixed point is taken, which always raises it.

use super::counting::dirichlet;
use super::drawing::{Composition, ExactReads, Plan};
use super::{Depths, LibrarySizes, Template};
use crate::Result;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use statrs::function::gamma::{digamma, ln_gamma};

/// Concentrations of the taxa.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedDirichletMultinomial {
    library_sizes: LibrarySizes,
    /// 0 for a taxon that no sample has.
    alpha: Vec<f64>,
}

/// Most steps; 10 to 30 are taken on real tables.
const MAX_STEPS: usize = 1000;
/// The steps end when none of the logarithms of the concentrations moves by more.
const TOLERANCE: f64 = 1e-9;
/// Samples that vary less than multinomial ones have no maximum: it is at infinity, and the steps end here.
const MAX_CONCENTRATION: f64 = 1e8;

impl FittedDirichletMultinomial {
    pub(super) fn fit(template: &Template) -> Result<FittedDirichletMultinomial> {
        template.require_counts("counts to fit a Dirichlet-multinomial distribution to")?;
        let counts = Counts::new(template);
        let found = match counts.taxa.len() {
            // One taxon has all reads whatever its concentration is.
            1 => vec![1.0],
            _ => counts.maximum(moments(template, &counts.taxa)),
        };
        let mut alpha = vec![0.0; template.n_taxa()];
        for (taxon, found) in counts.taxa.iter().zip(found) {
            alpha[*taxon] = found;
        }
        Ok(FittedDirichletMultinomial {
            library_sizes: template.library_sizes.clone(),
            alpha,
        })
    }

    /// Concentration of each taxon; 0 for one that no sample has.
    pub fn alpha(&self) -> &[f64] {
        &self.alpha
    }

    pub(super) fn library_sizes(&self) -> &LibrarySizes {
        &self.library_sizes
    }

    pub(super) fn plan(&self, n: usize, depths: &Depths, seed: u64) -> Result<Plan> {
        let depths = self.library_sizes.depths(n, depths, seed)?;
        Ok(Plan {
            depths: Some(depths),
            etas: None,
        })
    }

    pub(super) fn draw(&self, depth: u64, rng: &mut ChaCha8Rng) -> Composition {
        Composition {
            weights: dirichlet(&self.alpha, rng),
            depth,
            exact: ExactReads::Multinomial,
        }
    }
}

/// Concentrations with the mean of the compositions and, in sum, their variance.
fn moments(template: &Template, taxa: &[usize]) -> Vec<f64> {
    let n = template.n_samples() as f64;
    let mean_of = |j: usize, power: i32| {
        let column = template.relative.column(j);
        column.iter().map(|x| x.powi(power)).sum::<f64>() / n
    };
    let means: Vec<f64> = taxa.iter().map(|j| mean_of(*j, 1)).collect();
    let (mut above, mut below) = (0.0, 0.0);
    for (j, mean) in taxa.iter().zip(&means) {
        let square = mean_of(*j, 2);
        above += mean - square;
        below += square - mean * mean;
    }
    let total = if below > 0.0 { above / below } else { 1e3 };
    let total = total.clamp(0.1, 1e3);
    means.iter().map(|mean| mean * total).collect()
}

/// Counts of the taxa that a sample has.
struct Counts {
    taxa: Vec<usize>,
    n_samples: f64,
    depths: Vec<f64>,
    /// Non-zero counts per taxon.
    of_taxa: Vec<Vec<f64>>,
}

impl Counts {
    fn new(template: &Template) -> Counts {
        let n_present = template.n_present();
        let taxa: Vec<usize> = (0..n_present.len()).filter(|j| n_present[*j] > 0).collect();
        let of_taxa = taxa
            .iter()
            .map(|j| {
                let column = template.entries.column(*j);
                column.iter().copied().filter(|x| *x > 0.0).collect()
            })
            .collect();
        Counts {
            taxa,
            n_samples: template.n_samples() as f64,
            depths: template.library_sizes.totals.clone(),
            of_taxa,
        }
    }

    /// Log-likelihood less the multinomial coefficients.
    fn ln_likelihood(&self, alpha: &[f64]) -> f64 {
        let total: f64 = alpha.iter().sum();
        let of_samples: f64 = self
            .depths
            .iter()
            .map(|depth| ln_gamma(depth + total))
            .sum();
        let of_taxa: Vec<f64> = self
            .of_taxa
            .par_iter()
            .zip(alpha)
            .map(|(counts, alpha)| {
                let at_zero = ln_gamma(*alpha);
                counts.iter().map(|c| ln_gamma(c + alpha) - at_zero).sum()
            })
            .collect();
        self.n_samples * ln_gamma(total) - of_samples + of_taxa.iter().sum::<f64>()
    }

    /// `sum over samples of f(count + alpha) - f(alpha)`, per taxon.
    fn differences(&self, alpha: &[f64], f: fn(f64) -> f64) -> Vec<f64> {
        self.of_taxa
            .par_iter()
            .zip(alpha)
            .map(|(counts, alpha)| {
                let at_zero = f(*alpha);
                counts.iter().map(|c| f(c + alpha) - at_zero).sum()
            })
            .collect()
    }

    fn maximum(&self, start: Vec<f64>) -> Vec<f64> {
        let mut alpha = start;
        let mut likelihood = self.ln_likelihood(&alpha);
        for _ in 0..MAX_STEPS {
            let total: f64 = alpha.iter().sum();
            let of_depths = |f: fn(f64) -> f64| -> f64 {
                let at_zero = f(total);
                self.depths.iter().map(|n| f(n + total) - at_zero).sum()
            };
            let slopes = self.differences(&alpha, digamma);
            let depth_slope = of_depths(digamma);
            let (next, next_likelihood) = self
                .newton(&alpha, &slopes, depth_slope, of_depths(trigamma))
                .map(|next| {
                    let likelihood = self.ln_likelihood(&next);
                    (next, likelihood)
                })
                .filter(|(_, next)| *next > likelihood)
                .unwrap_or_else(|| {
                    let fixed_point: Vec<f64> = alpha
                        .iter()
                        .zip(&slopes)
                        .map(|(alpha, slope)| alpha * slope / depth_slope)
                        .collect();
                    let likelihood = self.ln_likelihood(&fixed_point);
                    (fixed_point, likelihood)
                });
            let moved = alpha
                .iter()
                .zip(&next)
                .map(|(old, new)| (new / old).ln().abs())
                .fold(0.0, f64::max);
            // Not even the fixed point is one: numbers have run out.
            if !(next_likelihood.is_finite() && moved.is_finite()) {
                break;
            }
            (alpha, likelihood) = (next, next_likelihood);
            if moved < TOLERANCE || alpha.iter().sum::<f64>() > MAX_CONCENTRATION {
                break;
            }
        }
        alpha
    }

    /// Newton's step, if it stays positive.
    fn newton(
        &self,
        alpha: &[f64],
        slopes: &[f64],
        depth_slope: f64,
        depth_curve: f64,
    ) -> Option<Vec<f64>> {
        let curves = self.differences(alpha, trigamma);
        let constant = -depth_curve;
        let gradients: Vec<f64> = slopes.iter().map(|slope| slope - depth_slope).collect();
        let above: f64 = gradients.iter().zip(&curves).map(|(g, q)| g / q).sum();
        let below: f64 = 1.0 / constant + curves.iter().map(|q| 1.0 / q).sum::<f64>();
        let shift = above / below;
        let next: Vec<f64> = alpha
            .iter()
            .zip(gradients.iter().zip(&curves))
            .map(|(alpha, (g, q))| alpha - (g - shift) / q)
            .collect();
        let is_valid = next.iter().all(|x| x.is_finite() && *x > 0.0);
        is_valid.then_some(next)
    }
}

/// Derivative of the digamma function: raised to 12 by its recurrence, then the asymptotic series.
fn trigamma(x: f64) -> f64 {
    let (mut x, mut sum) = (x, 0.0);
    while x < 12.0 {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    // Bernoulli numbers 1/6, -1/30, 1/42, -1/30, 5/66, -691/2730.
    let series = square
        * (1.0 / 6.0
            + square
                * (-1.0 / 30.0
                    + square
                        * (1.0 / 42.0
                            + square
                                * (-1.0 / 30.0
                                    + square * (5.0 / 66.0 - square * 691.0 / 2730.0)))));
    sum + inverse * (1.0 + 0.5 * inverse + series)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Fitted, Generator};
    use crate::golden::{assert_close, load, matrix, number, vector};
    use ndarray::{Array2, Axis, array};

    fn fit(counts: &Array2<f64>) -> Vec<f64> {
        let template = Template::new(counts).unwrap();
        FittedDirichletMultinomial::fit(&template).unwrap().alpha
    }

    #[test]
    fn the_likelihood_is_that_of_scipy() {
        let golden = load("generate");
        let golden = &golden["dirichlet_multinomial"];
        let counts = matrix(&golden["counts"]);
        let alpha = vector(&golden["alpha"]).to_vec();
        let template = Template::new(&counts).unwrap();
        let coefficients: f64 = counts
            .rows()
            .into_iter()
            .map(|row| ln_gamma(row.sum() + 1.0) - row.mapv(|c| ln_gamma(c + 1.0)).sum())
            .sum();
        let found = Counts::new(&template).ln_likelihood(&alpha) + coefficients;
        assert_close(found, number(&golden["ln_likelihood"]), 1e-11, "at alpha");
        let best = fit(&counts);
        let found = Counts::new(&template).ln_likelihood(&best) + coefficients;
        assert_close(found, number(&golden["largest"]), 1e-9, "at the maximum");
        for (found, expected) in best.iter().zip(vector(&golden["maximum"])) {
            assert_close(*found / expected, 1.0, 2e-4, "concentration");
        }
    }

    #[test]
    fn trigamma_is_that_of_scipy() {
        for case in load("generate")["trigamma"].as_array().unwrap() {
            let (x, expected) = (number(&case["x"]), number(&case["value"]));
            assert!((trigamma(x) / expected - 1.0).abs() < 1e-13, "{x}");
        }
    }

    #[test]
    fn known_concentrations_come_back_and_samples_have_their_moments() {
        let alpha = [0.5, 2.0, 0.05, 7.0];
        let total: f64 = alpha.iter().sum();
        let known = FittedDirichletMultinomial {
            library_sizes: LibrarySizes {
                totals: vec![200.0],
                is_whole: true,
            },
            alpha: alpha.to_vec(),
        };
        let (n, depth) = (6000, 200.0);
        let known = Fitted::DirichletMultinomial(known);
        let sample = known.sample(n, &Depths::AsFitted, 3).unwrap();
        let means = sample.mean_axis(Axis(0)).unwrap();
        let variances = sample.var_axis(Axis(0), 1.0);
        for (j, alpha) in alpha.iter().enumerate() {
            let p = alpha / total;
            let variance = depth * p * (1.0 - p) * (depth + total) / (1.0 + total);
            assert!((means[j] - depth * p).abs() < 4.5 * (variance / n as f64).sqrt());
            assert!((variances[j] / variance - 1.0).abs() < 0.2, "{j}");
        }
        for (found, alpha) in fit(&sample).iter().zip(alpha) {
            assert!((found / alpha - 1.0).abs() < 0.12, "{found} {alpha}");
        }
    }

    #[test]
    fn the_maximum_is_where_the_gradient_is_zero() {
        let golden = load("generate");
        let counts = matrix(&golden["dirichlet_multinomial"]["counts"]);
        let template = Template::new(&counts).unwrap();
        let counts = Counts::new(&template);
        let alpha = counts.maximum(moments(&template, &counts.taxa));
        for j in 0..alpha.len() {
            let at = |factor: f64| {
                let mut moved = alpha.clone();
                moved[j] *= factor;
                counts.ln_likelihood(&moved)
            };
            assert!((at(1.001) - at(0.999)).abs() / 0.002 < 1e-4);
            assert!(at(1.05) < at(1.0) && at(0.95) < at(1.0));
        }
    }

    #[test]
    fn equal_samples_one_sample_and_one_taxon_have_finite_concentrations() {
        for counts in [
            array![[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]],
            array![[3.0, 2.0, 0.0]],
            array![[4.0], [2.0]],
            array![[0.0, 5.0], [0.0, 3.0]],
            array![[1.0, 0.0], [0.0, 1.0]],
        ] {
            let alpha = fit(&counts);
            assert!(
                alpha.iter().all(|a| a.is_finite() && *a >= 0.0),
                "{alpha:?}"
            );
            let fitted = Generator::DirichletMultinomial.fit(&counts, 0).unwrap();
            let sample = fitted.sample(5, &Depths::Given(vec![9; 5]), 1).unwrap();
            assert!(sample.rows().into_iter().all(|row| row.sum() == 9.0));
        }
    }

    #[test]
    fn fractions_are_refused_by_their_place() {
        let error = Generator::DirichletMultinomial
            .fit(&array![[1.0, 2.0], [0.5, 0.5]], 0)
            .unwrap_err();
        assert!(error.to_string().contains("row 1, column 0"), "{error}");
    }
}

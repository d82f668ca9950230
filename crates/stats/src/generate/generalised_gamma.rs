//! The generalised gamma distribution of one over a relative abundance, as MIDASim's parametric mode has
//! it.
//!
//! ```text
//! ln(1 / x) = mu + sign sigma ln G,   G ~ Gamma(shape, 1)
//! ```
//!
//! `sign` 1 is heavy to the large abundances, -1 to the small ones; both tend to the log-normal as the shape
//! grows.

use super::rising_root;
use statrs::function::gamma::{gamma_lr, gamma_ur, ln_gamma};

/// Distribution of the relative abundance of a taxon; a taxon counts as absent where `x < 1 / depth`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct GeneralisedGamma {
    mu: f64,
    sigma: f64,
    shape: f64,
    sign: Sign,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Sign {
    Plus,
    Minus,
}

/// Samples of about one depth, and those that have the taxon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct DepthGroup {
    pub(super) ln_depth: f64,
    pub(super) n_samples: f64,
    pub(super) n_present: f64,
}

/// Shapes tried: 1 / Q for Q in 0.01 to 500. The package looks at Q up to 150.
const SHAPES: (f64, f64) = (0.002, 100.0);
const N_SHAPES: usize = 21;
/// Golden sections of the bracket around the best one.
const N_SECTIONS: usize = 24;

impl GeneralisedGamma {
    /// The distribution of the given mean and squared coefficient of variation (both above 0) under which
    /// the presences are most likely: a search over the shape and the sign.
    pub(super) fn fit(mean: f64, cv_square: f64, groups: &[DepthGroup]) -> GeneralisedGamma {
        let (least, most) = (SHAPES.0.ln(), SHAPES.1.ln());
        let step = (most - least) / (N_SHAPES - 1) as f64;
        let at = |ln_shape: f64, sign| {
            let found = GeneralisedGamma::with_moments(mean, cv_square, (ln_shape.exp(), sign));
            (found.ln_likelihood(groups), found)
        };
        let mut best: Option<(f64, f64, GeneralisedGamma)> = None;
        for sign in [Sign::Plus, Sign::Minus] {
            for k in 0..N_SHAPES {
                let ln_shape = least + step * k as f64;
                let (likelihood, found) = at(ln_shape, sign);
                if best.is_none_or(|(most, ..)| likelihood > most) {
                    best = Some((likelihood, ln_shape, found));
                }
            }
        }
        let (mut likelihood, centre, mut found) = best.expect("shapes were tried");
        let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
        let (mut low, mut high) = ((centre - step).max(least), (centre + step).min(most));
        for _ in 0..N_SECTIONS {
            let (left, right) = (high - golden * (high - low), low + golden * (high - low));
            let (a, b) = (at(left, found.sign), at(right, found.sign));
            if a.0 > b.0 {
                high = right;
            } else {
                low = left;
            }
            let better = if a.0 > b.0 { a } else { b };
            if better.0 > likelihood {
                (likelihood, found) = better;
            }
        }
        found
    }

    /// `E x^r = exp(-r mu) Gamma(shape - sign r sigma) / Gamma(shape)` gives sigma by the coefficient of
    /// variation, then mu by the mean.
    fn with_moments(mean: f64, cv_square: f64, (shape, sign): (f64, Sign)) -> GeneralisedGamma {
        let direction = match sign {
            Sign::Plus => 1.0,
            Sign::Minus => -1.0,
        };
        let target = cv_square.ln_1p();
        let ratio = |sigma: f64| {
            ln_gamma(shape - 2.0 * direction * sigma) + ln_gamma(shape)
                - 2.0 * ln_gamma(shape - direction * sigma)
        };
        let high = match sign {
            Sign::Plus => 0.5 * shape,
            Sign::Minus => {
                let mut high = 1.0;
                while ratio(high) < target && high < 1e6 {
                    high *= 2.0;
                }
                high
            }
        };
        // By halves: the ratio has a pole at the upper end for the plus sign.
        let (mut low, mut high) = (0.0, high);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if ratio(middle) < target {
                low = middle;
            } else {
                high = middle;
            }
        }
        let sigma = 0.5 * (low + high);
        let mu = ln_gamma(shape - direction * sigma) - ln_gamma(shape) - mean.ln();
        GeneralisedGamma {
            mu,
            sigma,
            shape,
            sign,
        }
    }

    fn ln_likelihood(&self, groups: &[DepthGroup]) -> f64 {
        groups
            .iter()
            .map(|group| {
                let p = self.presence(group.ln_depth).clamp(1e-12, 1.0 - 1e-12);
                group.n_present * p.ln() + (group.n_samples - group.n_present) * (-p).ln_1p()
            })
            .sum()
    }

    /// Probability that the relative abundance is above `1 / depth`.
    pub(super) fn presence(&self, ln_depth: f64) -> f64 {
        let z = (ln_depth - self.mu) / self.sigma;
        match self.sign {
            Sign::Plus => lower(self.shape, z),
            Sign::Minus => upper(self.shape, -z),
        }
    }

    /// The logarithm of the relative abundance that a share `u` of the samples with more than `1 / depth`
    /// lies below.
    pub(super) fn ln_quantile(&self, u: f64, ln_depth: f64) -> f64 {
        // One over it is below the depth in all of them, and above that of the share.
        let level = (1.0 - u) * self.presence(ln_depth);
        let ln_gamma_variate = match self.sign {
            Sign::Plus => ln_lower_quantile(self.shape, level),
            Sign::Minus => ln_upper_quantile(self.shape, level),
        };
        let direction = match self.sign {
            Sign::Plus => 1.0,
            Sign::Minus => -1.0,
        };
        -(self.mu + direction * self.sigma * ln_gamma_variate)
    }
}

/// Below this `ln x` the first term of the series is all of it: `P(a, x) = x^a / Gamma(a + 1)`.
const SMALL: f64 = -36.0;
/// Above this `ln x` nothing is left for the shapes in use.
const LARGE: f64 = 7.0;

/// `P(G < e^z)`.
fn lower(shape: f64, z: f64) -> f64 {
    if z < SMALL {
        (shape * z - ln_gamma(shape + 1.0)).exp()
    } else if z > LARGE {
        1.0
    } else {
        gamma_lr(shape, z.exp())
    }
}

/// `P(G > e^z)`.
fn upper(shape: f64, z: f64) -> f64 {
    if z < SMALL {
        -(shape * z - ln_gamma(shape + 1.0)).exp_m1()
    } else if z > LARGE {
        0.0
    } else {
        gamma_ur(shape, z.exp())
    }
}

fn slope(shape: f64, z: f64) -> f64 {
    (shape * z - z.exp() - ln_gamma(shape)).exp()
}

/// The `z` with `P(G < e^z) = p`.
fn ln_lower_quantile(shape: f64, p: f64) -> f64 {
    let first_term = (p.max(f64::MIN_POSITIVE).ln() + ln_gamma(shape + 1.0)) / shape;
    if first_term < SMALL {
        return first_term;
    }
    if p > 0.5 {
        return ln_upper_quantile(shape, 1.0 - p);
    }
    rising_root((SMALL - 1.0, LARGE), shape.ln(), |z| {
        (lower(shape, z) - p, slope(shape, z))
    })
}

/// The `z` with `P(G > e^z) = p`.
fn ln_upper_quantile(shape: f64, p: f64) -> f64 {
    if p > 0.5 {
        let first_term = ((1.0 - p).max(f64::MIN_POSITIVE).ln() + ln_gamma(shape + 1.0)) / shape;
        if first_term < SMALL {
            return first_term;
        }
    }
    rising_root((SMALL - 1.0, LARGE), shape.ln(), |z| {
        (p - upper(shape, z), slope(shape, z))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, number};

    fn distributions() -> Vec<GeneralisedGamma> {
        let mut all = Vec::new();
        for sign in [Sign::Plus, Sign::Minus] {
            for shape in [0.02, 0.7, 3.0, 60.0] {
                for (mean, cv_square) in [(0.01, 4.0), (0.2, 0.3), (1e-5, 60.0)] {
                    all.push(GeneralisedGamma::with_moments(
                        mean,
                        cv_square,
                        (shape, sign),
                    ));
                }
            }
        }
        all
    }

    #[test]
    fn quantiles_of_gamma_are_those_of_scipy_on_the_log_scale() {
        for case in load("generate")["gamma"].as_array().unwrap() {
            let [shape, p, expected] = ["shape", "p", "ln_quantile"].map(|key| number(&case[key]));
            let what = format!("shape {shape}, p {p}");
            assert_close(ln_lower_quantile(shape, p), expected, 1e-7, &what);
            let other = ln_upper_quantile(shape, p);
            assert_close(upper(shape, other), p, 1e-7, &what);
        }
    }

    #[test]
    fn the_moments_are_those_asked_for() {
        // By the midpoint rule over quantiles of the whole distribution.
        for (mean, cv_square, shape, sign) in [
            (0.1, 0.4, 3.0, Sign::Minus),
            (0.02, 0.6, 9.0, Sign::Plus),
            (0.3, 0.8, 0.7, Sign::Minus),
        ] {
            let found = GeneralisedGamma::with_moments(mean, cv_square, (shape, sign));
            let n = 200_000;
            let (mut sum, mut square) = (0.0, 0.0);
            for k in 0..n {
                let x = found
                    .ln_quantile((f64::from(k) + 0.5) / f64::from(n), 1e4)
                    .exp();
                sum += x / f64::from(n);
                square += x * x / f64::from(n);
            }
            assert_close(sum / mean, 1.0, 2e-3, "mean");
            assert_close(square / (sum * sum) - 1.0, cv_square, 2e-2, "variation");
        }
    }

    #[test]
    fn presence_rises_with_depth_and_quantiles_stay_above_it() {
        for found in distributions() {
            let mut last = 0.0;
            for ln_depth in [2.0, 5.0, 9.0, 14.0] {
                let p = found.presence(ln_depth);
                assert!((last..=1.0).contains(&p), "{found:?}: {p} after {last}");
                last = p;
                if p < 1e-9 {
                    continue;
                }
                let mut below = -ln_depth - 1e-6;
                for u in [1e-6, 0.1, 0.5, 0.9, 1.0 - 1e-9] {
                    let ln_x = found.ln_quantile(u, ln_depth);
                    assert!(ln_x.is_finite() && ln_x >= below, "{found:?} {u}: {ln_x}");
                    below = ln_x;
                }
            }
        }
    }

    #[test]
    fn a_known_distribution_is_at_least_as_likely_as_others_where_it_is_fitted() {
        let truth = GeneralisedGamma::with_moments(0.002, 3.0, (2.0, Sign::Minus));
        let groups: Vec<DepthGroup> = (0..30)
            .map(|k| {
                let ln_depth = 4.0 + 0.25 * f64::from(k);
                let n_samples = 1000.0;
                DepthGroup {
                    ln_depth,
                    n_samples,
                    n_present: n_samples * truth.presence(ln_depth),
                }
            })
            .collect();
        let found = GeneralisedGamma::fit(0.002, 3.0, &groups);
        assert!(found.ln_likelihood(&groups) > truth.ln_likelihood(&groups) - 1e-3);
        assert!((found.shape / 2.0 - 1.0).abs() < 0.05, "{found:?}");
    }
}

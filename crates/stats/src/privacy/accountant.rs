//! What a training with clipped and noised gradients guarantees: Renyi differential privacy of the Gaussian
//! mechanism on random samples (Mironov, Talwar and Zhang 2019, arXiv:1908.10530).
//!
//! ```text
//! A(order) = E [((1 - q) + q exp((2 z - 1) / (2 s^2)))^order],  z ~ N(0, s^2)
//! divergence = steps ln A / (order - 1)     epsilon = the least over orders of the conversion
//! ```
//!
//! Mechanisms on the same samples add up at every order.
//!
//! `q` is the probability with which a sample is in a batch (each on its own, Poisson sampling), `s` the
//! noise over the clipping norm. A program that shuffles and deals out batches of one size has not quite
//! this guarantee.

use crate::{Error, Result};
use serde::Serialize;
use statrs::function::erf::erfc;
use std::f64::consts::{PI, SQRT_2};

/// A training, as far as its privacy depends on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mechanism {
    /// Probability that a sample is in a batch, 0 to 1.
    pub sampling_rate: f64,
    /// Standard deviation of the noise over the clipping norm, above 0.
    pub noise_multiplier: f64,
    /// Number of batches.
    pub n_steps: u64,
}

/// How a Renyi divergence becomes an epsilon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversion {
    /// `d + ln((order - 1) / order) - (ln delta + ln order) / (order - 1)` (Canonne, Kamath and Steinke 2020,
    /// proposition 12): never larger than the classic one.
    Improved,
    /// `d - ln delta / (order - 1)` (Mironov 2017, proposition 3).
    Classic,
}

/// `(epsilon, delta)`-differential privacy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Guarantee {
    /// Bound of the logarithm of the ratio of probabilities, with or without one sample.
    pub epsilon: f64,
    /// Probability with which that does not hold.
    pub delta: f64,
    /// Order that gave the least epsilon.
    pub order: f64,
}

impl Mechanism {
    /// Renyi divergence of all steps at an order above 1; infinite where the noise is too small to tell.
    ///
    /// # Errors
    /// A sampling rate outside of 0 to 1, a noise that is not above 0, an order that is not above 1.
    pub fn renyi_divergence(&self, order: f64) -> Result<f64> {
        self.check()?;
        if !(order.is_finite() && order > 1.0) {
            return Err(Error::BadOption {
                option: "order of the Renyi divergence",
                value: order.to_string(),
                expected: "a finite number above 1",
            });
        }
        Ok(self.n_steps as f64 * self.of_a_step(order))
    }

    /// The least epsilon at a delta over [the orders](orders).
    ///
    /// # Errors
    /// As [`Mechanism::renyi_divergence`], and a delta that is not between 0 and 1.
    ///
    /// # Example
    /// ```
    /// use suffuse_stats::privacy::accountant::{Conversion, Mechanism};
    /// let training = Mechanism { sampling_rate: 0.01, noise_multiplier: 1.0, n_steps: 1000 };
    /// let found = training.epsilon(1e-5, Conversion::Improved).unwrap();
    /// assert!(found.epsilon < training.epsilon(1e-5, Conversion::Classic).unwrap().epsilon);
    /// ```
    pub fn epsilon(&self, delta: f64, conversion: Conversion) -> Result<Guarantee> {
        epsilon_of_all(&[*self], delta, conversion)
    }

    fn check(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.sampling_rate) {
            return Err(Error::BadOption {
                option: "sampling rate",
                value: self.sampling_rate.to_string(),
                expected: "a probability, 0 to 1: batch size over number of samples",
            });
        }
        if !(self.noise_multiplier.is_finite() && self.noise_multiplier > 0.0) {
            return Err(Error::BadOption {
                option: "noise multiplier",
                value: self.noise_multiplier.to_string(),
                expected: "a finite number above 0: without noise nothing is guaranteed",
            });
        }
        Ok(())
    }

    fn of_a_step(&self, order: f64) -> f64 {
        let (q, s) = (self.sampling_rate, self.noise_multiplier);
        if q == 0.0 {
            return 0.0;
        }
        if q == 1.0 {
            return order / (2.0 * s * s);
        }
        let ln_a = if order.fract() == 0.0 {
            ln_a_whole(q, s, order as u64)
        } else {
            ln_a_fractional(q, s, order)
        };
        ln_a / (order - 1.0)
    }
}

/// The least epsilon at a delta of mechanisms that all see the same samples: at every order their divergences add up
/// (Mironov 2017, proposition 1).
///
/// # Errors
/// As [`Mechanism::epsilon`].
pub fn epsilon_of_all(
    mechanisms: &[Mechanism],
    delta: f64,
    conversion: Conversion,
) -> Result<Guarantee> {
    mechanisms.iter().try_for_each(Mechanism::check)?;
    if !(delta > 0.0 && delta < 1.0) {
        return Err(Error::BadOption {
            option: "delta",
            value: delta.to_string(),
            expected: "a number between 0 and 1, below one over the number of samples",
        });
    }
    let mut best = Guarantee {
        epsilon: f64::INFINITY,
        delta,
        order: f64::INFINITY,
    };
    let says_nothing = |m: &Mechanism| m.n_steps == 0 || m.sampling_rate == 0.0;
    if mechanisms.iter().all(says_nothing) {
        best.epsilon = 0.0; // no conversion is needed
        return Ok(best);
    }
    for order in orders() {
        let divergences = mechanisms.iter().map(|m| m.renyi_divergence(order));
        let divergence = divergences.sum::<Result<f64>>()?;
        let epsilon = match conversion {
            Conversion::Improved => {
                divergence + (-1.0 / order).ln_1p() - (delta.ln() + order.ln()) / (order - 1.0)
            }
            Conversion::Classic => divergence - delta.ln() / (order - 1.0),
        };
        if epsilon < best.epsilon {
            best.epsilon = epsilon.max(0.0);
            best.order = order;
        }
    }
    Ok(best)
}

/// Noise multipliers between which [`noise_for`] looks.
const NOISES: (f64, f64) = (0.2, 1e4);
/// Halvings of the interval of their logarithms: the noise is right to 1e-5 of itself.
const N_HALVINGS: usize = 20;

/// The least noise multiplier with which mechanisms stay within a guarantee.
///
/// - `mechanisms`: those of a noise multiplier; more noise must not say more
///
/// # Errors
/// As [`Mechanism::epsilon`]; an epsilon that no noise below 10,000 gives.
pub fn noise_for(
    epsilon: f64,
    delta: f64,
    mechanisms: impl Fn(f64) -> Vec<Mechanism>,
) -> Result<f64> {
    let is_within = |noise: f64| -> Result<bool> {
        let found = epsilon_of_all(&mechanisms(noise), delta, Conversion::Improved)?;
        Ok(found.epsilon <= epsilon)
    };
    if !is_within(NOISES.1)? {
        return Err(Error::BadOption {
            option: "epsilon",
            value: epsilon.to_string(),
            expected: "a number that some noise can give; a larger one, or a larger delta",
        });
    }
    let (mut low, mut high) = (NOISES.0.ln(), NOISES.1.ln());
    if is_within(NOISES.0)? {
        return Ok(NOISES.0);
    }
    for _ in 0..N_HALVINGS {
        let middle = 0.5 * (low + high);
        match is_within(middle.exp())? {
            true => high = middle,
            false => low = middle,
        }
    }
    Ok(high.exp())
}

/// Orders at which divergences are looked at: 1.1 to 10.9 by tenths, 11 to 63, and some up to 1024.
pub fn orders() -> Vec<f64> {
    let tenths = (11..110).map(|k| f64::from(k) / 10.0);
    let whole = (11..64).map(f64::from);
    let large = [64.0, 80.0, 96.0, 128.0, 192.0, 256.0, 512.0, 1024.0];
    tenths.chain(whole).chain(large).collect()
}

/// A binomial sum (section 3.3, equation 9 of the paper).
fn ln_a_whole(q: f64, s: f64, order: u64) -> f64 {
    let mut ln_sum = f64::NEG_INFINITY;
    let mut ln_binomial = 0.0;
    for k in 0..=order {
        let k_f = k as f64;
        let left = (order - k) as f64;
        let term =
            ln_binomial + k_f * q.ln() + left * (-q).ln_1p() + k_f * (k_f - 1.0) / (2.0 * s * s);
        ln_sum = ln_add(ln_sum, term);
        ln_binomial += (left / (k_f + 1.0)).ln();
    }
    ln_sum
}

/// Two series, from either side of the `z` at which both parts of the mixture are equal (section 3.3).
fn ln_a_fractional(q: f64, s: f64, order: f64) -> f64 {
    let equal = s * s * (1.0 / q - 1.0).ln() + 0.5;
    let (mut ln_plus, mut ln_minus) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    let (mut ln_binomial, mut is_plus) = (0.0, true);
    let (ln_q, ln_rest) = (q.ln(), (-q).ln_1p());
    // Terms fall at least like 1 / i^(order + 1); the bound is never reached at the orders in use.
    for i in 0..100_000_u32 {
        let i = f64::from(i);
        let j = order - i;
        let part =
            |k: f64, tail: f64| (k * k - k) / (2.0 * s * s) + ln_half_erfc(tail / (SQRT_2 * s));
        let low = ln_binomial + i * ln_q + j * ln_rest + part(i, i - equal);
        let high = ln_binomial + j * ln_q + i * ln_rest + part(j, equal - j);
        let term = ln_add(low, high);
        if is_plus {
            ln_plus = ln_add(ln_plus, term);
        } else {
            ln_minus = ln_add(ln_minus, term);
        }
        if i > order && term < ln_plus - 40.0 {
            break;
        }
        let factor = j / (i + 1.0);
        ln_binomial += factor.abs().ln();
        is_plus = is_plus == (factor > 0.0);
    }
    // The terms of the minus sign are small beside the others.
    ln_plus + (-(ln_minus - ln_plus).exp()).ln_1p()
}

fn ln_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY {
        high
    } else {
        high + (low - high).exp().ln_1p()
    }
}

/// `ln(erfc(x) / 2)`, by the asymptotic series where `erfc` is close to the smallest numbers.
fn ln_half_erfc(x: f64) -> f64 {
    if x < 20.0 {
        return (0.5 * erfc(x)).ln();
    }
    let y = 1.0 / (2.0 * x * x);
    -x * x - (2.0 * x * PI.sqrt()).ln()
        + (-y * (1.0 - 3.0 * y * (1.0 - 5.0 * y * (1.0 - 7.0 * y)))).ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, number};

    #[test]
    fn divergences_are_those_of_numerical_integration() {
        for case in load("accountant")["divergences"].as_array().unwrap() {
            let [q, s, order, expected] =
                ["q", "s", "order", "divergence"].map(|key| number(&case[key]));
            let found = Mechanism {
                sampling_rate: q,
                noise_multiplier: s,
                n_steps: 1,
            }
            .renyi_divergence(order)
            .unwrap();
            assert!(
                (found - expected).abs() < 1e-7 * expected + 1e-13,
                "q {q} s {s} order {order}: {found}, expected {expected}"
            );
        }
    }

    #[test]
    fn the_tutorial_of_tensorflow_privacy_has_an_epsilon_of_about_three() {
        let golden = load("accountant");
        let training = Mechanism {
            sampling_rate: 256.0 / 60_000.0,
            noise_multiplier: 1.1,
            n_steps: 60 * 60_000 / 256,
        };
        for (conversion, key) in [
            (Conversion::Classic, "classic"),
            (Conversion::Improved, "improved"),
        ] {
            let found = training.epsilon(1e-5, conversion).unwrap();
            assert_close(found.epsilon, number(&golden["tutorial"][key]), 1e-6, key);
        }
        let classic = training.epsilon(1e-5, Conversion::Classic).unwrap();
        assert!((2.9..3.1).contains(&classic.epsilon), "{classic:?}");
    }

    #[test]
    fn a_step_on_all_samples_has_the_closed_form() {
        let training = Mechanism {
            sampling_rate: 1.0,
            noise_multiplier: 2.0,
            n_steps: 3,
        };
        assert_close(
            training.renyi_divergence(5.5).unwrap(),
            3.0 * 5.5 / 8.0,
            1e-14,
            "Gaussian",
        );
    }

    #[test]
    fn guarantees_weaken_with_steps_and_rate_and_grow_with_noise() {
        let epsilon = |sampling_rate, noise_multiplier, n_steps| {
            let training = Mechanism {
                sampling_rate,
                noise_multiplier,
                n_steps,
            };
            training
                .epsilon(1e-5, Conversion::Improved)
                .unwrap()
                .epsilon
        };
        assert!(epsilon(0.01, 1.0, 200) > epsilon(0.01, 1.0, 100));
        assert!(epsilon(0.02, 1.0, 100) > epsilon(0.01, 1.0, 100));
        assert!(epsilon(0.01, 2.0, 100) < epsilon(0.01, 1.0, 100));
        assert_eq!((epsilon(0.0, 1.0, 100), epsilon(0.5, 1.0, 0)), (0.0, 0.0));
        assert!(epsilon(0.5, 0.05, 1000).is_finite());
    }

    #[test]
    fn mechanisms_on_the_same_samples_add_up() {
        let golden = &load("accountant")["composed"];
        let mechanism = |case: &serde_json::Value| {
            let [q, s, n] = ["q", "s", "n_steps"].map(|key| number(&case[key]));
            Mechanism {
                sampling_rate: q,
                noise_multiplier: s,
                n_steps: n as u64,
            }
        };
        let all = golden["mechanisms"].as_array().unwrap().iter();
        let all: Vec<Mechanism> = all.map(mechanism).collect();
        for (conversion, key) in [
            (Conversion::Classic, "classic"),
            (Conversion::Improved, "improved"),
        ] {
            let found = epsilon_of_all(&all, 1e-5, conversion).unwrap();
            assert_close(found.epsilon, number(&golden[key]), 1e-6, key);
        }
        // One mechanism of many steps is many of one.
        let parts = [all[2]; 3];
        let whole = Mechanism {
            n_steps: 3 * all[2].n_steps,
            ..all[2]
        };
        let found = epsilon_of_all(&parts, 1e-5, Conversion::Improved).unwrap();
        assert_close(
            found.epsilon,
            whole.epsilon(1e-5, Conversion::Improved).unwrap().epsilon,
            1e-12,
            "parts",
        );
    }

    #[test]
    fn the_noise_for_an_epsilon_gives_it() {
        let training = |noise_multiplier: f64| {
            vec![Mechanism {
                sampling_rate: 256.0 / 60_000.0,
                noise_multiplier,
                n_steps: 60 * 60_000 / 256,
            }]
        };
        // The tutorial's noise of 1.1, from its epsilon.
        let improved = number(&load("accountant")["tutorial"]["improved"]);
        let found = noise_for(improved, 1e-5, training).unwrap();
        assert_close(found, 1.1, 1e-4, "noise");
        let epsilon = |noise: f64| epsilon_of_all(&training(noise), 1e-5, Conversion::Improved);
        assert!(epsilon(found).unwrap().epsilon <= improved);
        let message = noise_for(1e-9, 1e-5, training).unwrap_err().to_string();
        assert!(message.starts_with("epsilon is"), "{message}");
    }

    #[test]
    fn impossible_settings_are_refused() {
        let message = |sampling_rate, noise_multiplier, delta| {
            let training = Mechanism {
                sampling_rate,
                noise_multiplier,
                n_steps: 1,
            };
            let error = training.epsilon(delta, Conversion::Improved).unwrap_err();
            error.to_string()
        };
        assert!(message(1.5, 1.0, 0.1).starts_with("sampling rate is 1.5"));
        assert!(message(f64::NAN, 1.0, 0.1).starts_with("sampling rate"));
        assert!(message(0.5, 0.0, 0.1).starts_with("noise multiplier is 0"));
        assert!(message(0.5, 1.0, 1.0).starts_with("delta is 1"));
        let training = Mechanism {
            sampling_rate: 0.5,
            noise_multiplier: 1.0,
            n_steps: 1,
        };
        assert!(training.renyi_divergence(1.0).is_err());
    }
}

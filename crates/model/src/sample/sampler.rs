//! Which reverse process is run and at which timesteps.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The reverse process of one autoregressive step (DepMicroDiff paper, section IV e).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Sampler {
    /// Ancestral sampling through all `T` steps.
    Full,
    /// Ancestral sampling through `T / n` evenly spaced steps, `n` in 2, 3, 4, 20.
    Fractional(usize),
    /// Deterministic DDIM (Song 2021, eta = 0) in this many evenly spaced steps.
    Ddim(usize),
    /// DPM-Solver++ of second order (Lu 2022) in this many evenly spaced steps: DDIM that extrapolates
    /// the estimate of the clean data from the last step.
    Dpm(usize),
    /// DDIM whose step count grows with the dependents of the tokens: this many on average.
    Adaptive(usize),
}

/// The divisors that the paper lists.
const DIVISORS: [usize; 4] = [2, 3, 4, 20];

impl Sampler {
    /// Says whether fresh noise enters at every step.
    pub fn is_ancestral(self) -> bool {
        matches!(self, Sampler::Full | Sampler::Fractional(_))
    }

    /// Says whether the estimate of the clean data is extrapolated from the last step.
    pub fn is_second_order(self) -> bool {
        matches!(self, Sampler::Dpm(_))
    }

    /// Steps for each autoregressive step, given how many dependents its tokens have on average.
    ///
    /// `Adaptive(n)` gives step `s` the share `n * (1 + w_s) / mean(1 + w)` where `w_s` is the mean
    /// number of dependents, and at least two steps.
    pub fn n_steps(self, n_total: usize, mean_dependents: &[f64]) -> Vec<usize> {
        let even = |n: usize| vec![n.clamp(1, n_total); mean_dependents.len()];
        match self {
            Sampler::Full => even(n_total),
            Sampler::Fractional(n) => even(n_total.div_ceil(n)),
            Sampler::Ddim(n) | Sampler::Dpm(n) => even(n),
            Sampler::Adaptive(n) => {
                let mean = mean_dependents.iter().map(|w| 1.0 + w).sum::<f64>()
                    / mean_dependents.len().max(1) as f64;
                mean_dependents
                    .iter()
                    .map(|w| {
                        ((n as f64 * (1.0 + w) / mean).round() as usize)
                            .clamp(2.min(n_total), n_total)
                    })
                    .collect()
            }
        }
    }
}

/// `n` evenly spaced timesteps from `n_total` down, the last followed by 0 (the clean data).
pub fn timesteps(n: usize, n_total: usize) -> Vec<usize> {
    (0..n).map(|i| (n_total * (n - i)).div_ceil(n)).collect()
}

impl fmt::Display for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Sampler::Full => write!(f, "full"),
            Sampler::Fractional(n) => write!(f, "fractional:{n}"),
            Sampler::Ddim(n) => write!(f, "ddim:{n}"),
            Sampler::Dpm(n) => write!(f, "dpm:{n}"),
            Sampler::Adaptive(n) => write!(f, "adaptive:{n}"),
        }
    }
}

impl FromStr for Sampler {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, number) = match text.split_once(':') {
            Some((name, number)) => {
                let number: usize = number
                    .parse()
                    .map_err(|_| format!("sampler {text:?}: {number:?} is no whole number"))?;
                (name, Some(number))
            }
            None => (text, None),
        };
        match (name, number) {
            ("full", None) => Ok(Sampler::Full),
            ("fractional", Some(n)) if DIVISORS.contains(&n) => Ok(Sampler::Fractional(n)),
            ("ddim", Some(n)) if n > 0 => Ok(Sampler::Ddim(n)),
            ("dpm", Some(n)) if n > 0 => Ok(Sampler::Dpm(n)),
            ("adaptive", Some(n)) if n > 0 => Ok(Sampler::Adaptive(n)),
            _ => Err(format!(
                "sampler {text:?} is none of full, fractional:2, fractional:3, fractional:4, fractional:20, ddim:STEPS, dpm:STEPS, adaptive:STEPS"
            )),
        }
    }
}

impl TryFrom<String> for Sampler {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Sampler> for String {
    fn from(sampler: Sampler) -> String {
        sampler.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timesteps_fall_from_the_last_to_above_zero_and_are_all_visited_by_full_sampling() {
        assert_eq!(timesteps(4, 1000), [1000, 750, 500, 250]);
        assert_eq!(timesteps(1, 1000), [1000]);
        let full = timesteps(1000, 1000);
        assert!(full.iter().rev().copied().eq(1..=1000));
        for n in [3, 7, 20, 334] {
            let steps = timesteps(n, 1000);
            assert!(steps.len() == n && steps[0] == 1000 && steps[n - 1] >= 1);
            assert!(steps.windows(2).all(|pair| pair[0] > pair[1]));
        }
    }

    #[test]
    fn fractions_divide_the_full_sequence_and_adaptive_follows_the_dependents() {
        assert_eq!(Sampler::Fractional(20).n_steps(1000, &[0.0, 0.0]), [50, 50]);
        assert_eq!(Sampler::Fractional(3).n_steps(1000, &[1.0]), [334]);
        assert_eq!(Sampler::Adaptive(10).n_steps(1000, &[0.0, 2.0]), [5, 15]);
        assert_eq!(Sampler::Full.n_steps(1000, &[1.0]), [1000]);
    }

    #[test]
    fn names_survive_a_round_trip_and_others_are_refused() {
        for name in ["full", "fractional:20", "ddim:25", "dpm:4", "adaptive:8"] {
            assert_eq!(name.parse::<Sampler>().unwrap().to_string(), name);
        }
        for name in ["fractional:5", "ddim:0", "ddim", "euler:3", "ddim:x"] {
            assert!(name.parse::<Sampler>().is_err());
        }
    }
}

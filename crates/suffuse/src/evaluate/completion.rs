//! What stands in the completed table where a zero was judged false.
//!
//! A method says how likely an entry is seen (`p`) and how large it is if it is seen (draws of `lambda`,
//! reads expected at the depth of the table). It says so from the other entries alone; that *no* read was
//! seen is one more fact. With the entry's intensity `lambda` and Poisson counts,
//!
//! ```text
//! P(present | 0 reads) = p / (1 - p) * mean of w        w = 1 / (exp(lambda) - 1)
//! lambda given 0 reads: the draws with weights w
//! ```
//!
//! since draws of what was seen have the density `f(lambda) (1 - exp(-lambda))`, and a zero that is not
//! one has `f(lambda) exp(-lambda)`. Bray-Curtis is a sum of absolute differences, which the median
//! minimises: an entry is filled if that probability is above one half, with the median of the mixture of
//! 0 and the weighted draws.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How a sample whose counts were thinned is completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Completion {
    /// As in a completed table: the value given presence, where presence reaches the threshold.
    #[default]
    Filled,
    /// The median of the abundance given that no read was seen.
    ZeroReads,
}

const NAMES: [(Completion, &str); 2] = [
    (Completion::Filled, "filled"),
    (Completion::ZeroReads, "zero-reads"),
];

impl fmt::Display for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(completion, _)| completion == self);
        f.write_str(name.expect("every completion has a name").1)
    }
}

impl FromStr for Completion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = NAMES.iter().find(|(_, name)| *name == text);
        known.map(|(completion, _)| *completion).ok_or_else(|| {
            let names = NAMES.map(|(_, name)| name).join(", ");
            format!("found {text:?}, expected one of: {names}")
        })
    }
}

/// Reads expected of an entry of which none was seen: the median of what may be there; 0 if it is more
/// likely than not that nothing is.
///
/// - `presence`: probability that the entry is seen, before its own count is looked at
/// - `reads`: draws of the reads expected if it is seen, above 0
pub fn reads_given_none(presence: f64, reads: &[f64]) -> f64 {
    let mut weighted: Vec<(f64, f64)> = reads
        .iter()
        .filter(|lambda| **lambda > 0.0)
        .map(|lambda| (*lambda, lambda.exp_m1().recip()))
        .collect();
    let sum: f64 = weighted.iter().map(|(_, weight)| weight).sum();
    if !(sum > 0.0 && presence > 0.0) {
        return 0.0;
    }
    let odds = presence / (1.0 - presence).max(f64::MIN_POSITIVE);
    let present = (odds * sum / weighted.len() as f64).min(1.0);
    if present <= 0.5 {
        return 0.0;
    }
    weighted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let wanted = (1.0 - 0.5 / present) * sum;
    let mut below = 0.0;
    for (lambda, weight) in &weighted {
        below += weight;
        if below >= wanted {
            return *lambda;
        }
    }
    weighted[weighted.len() - 1].0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_intensity_gives_the_probability_of_bayes_rule() {
        // Present with probability q at intensity 1, else absent: P(present | 0) = q / e / (1 - q + q / e)
        // is above one half from q = e / (1 + e) = 0.7311 on. Seen with probability q (1 - 1 / e).
        let seen = |q: f64| q * (1.0 - (-1.0_f64).exp());
        assert_eq!(reads_given_none(seen(0.730), &[1.0; 4]), 0.0);
        assert_eq!(reads_given_none(seen(0.732), &[1.0; 4]), 1.0);
    }

    #[test]
    fn much_of_a_taxon_would_have_been_seen() {
        // 20 reads expected and none seen: it is not there, however common it is.
        assert_eq!(reads_given_none(0.999, &[20.0; 5]), 0.0);
        // Weights 1 / (e^l - 1): 1.541 at 0.5, 0.157 at 2: the median of both is the lower one.
        assert_eq!(reads_given_none(0.9, &[2.0, 0.5]), 0.5);
        for (presence, reads) in [(0.0, vec![1.0]), (1.0, vec![]), (0.5, vec![0.0])] {
            assert_eq!(reads_given_none(presence, &reads), 0.0);
        }
        assert_eq!(reads_given_none(1.0, &[1.0]), 1.0);
    }

    #[test]
    fn every_name_reads_back() {
        for (completion, name) in NAMES {
            assert_eq!(name.parse::<Completion>().unwrap(), completion);
        }
        assert!("median".parse::<Completion>().is_err());
    }
}

//! What each zero of a table is taken to be: false (missed by sequencing) or true (absent).

use crate::output::cell;
use crate::{Error, Result};
use serde::Serialize;

/// What a zero is taken to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ZeroClass {
    /// The taxon is probably present: the zero was missed.
    FalseZero,
    /// The taxon is probably absent.
    TrueZero,
    /// The probability is neither high nor low enough to say.
    Undecided,
}

impl ZeroClass {
    /// The word in files.
    pub fn name(self) -> &'static str {
        match self {
            ZeroClass::FalseZero => "false_zero",
            ZeroClass::TrueZero => "true_zero",
            ZeroClass::Undecided => "undecided",
        }
    }
}

/// Where classes begin and end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ZeroThresholds {
    /// Probability of presence from which a zero is false; that from which it is filled.
    presence: f64,
    /// Probabilities between which, ends included, a zero is undecided.
    undecided: Option<[f64; 2]>,
}

impl ZeroThresholds {
    /// `presence` is the threshold of filling; it must lie in the undecided range, if there is one, so
    /// that no zero is called true and filled, or called false and kept.
    ///
    /// # Errors
    /// A range that does not hold the threshold.
    pub fn new(presence: f64, undecided: Option<[f64; 2]>) -> Result<ZeroThresholds> {
        if let Some([low, high]) = undecided
            && !(low <= presence && presence <= high)
        {
            return Err(Error::Usage(format!(
                "--undecided {low},{high}: found {presence} as the presence threshold, expected one in this range, so that what is filled is never called a true zero; change --undecided or --presence-threshold"
            )));
        }
        Ok(ZeroThresholds {
            presence,
            undecided,
        })
    }

    /// The class of a zero with this probability of presence.
    pub fn class(&self, presence: f64) -> ZeroClass {
        match self.undecided {
            Some([low, high]) if presence >= low && presence <= high => ZeroClass::Undecided,
            _ if presence >= self.presence => ZeroClass::FalseZero,
            _ => ZeroClass::TrueZero,
        }
    }
}

/// First line of the list.
pub(super) const HEADER: &str = "sample\tfeature\tpresence\tclass\n";

/// A line of the list.
pub(super) fn line(sample: &str, feature: &str, presence: f64, class: ZeroClass) -> String {
    let (sample, feature) = (cell(sample), cell(feature));
    format!("{sample}\t{feature}\t{presence}\t{}\n", class.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_threshold_splits_zeros_in_two_and_a_range_in_three() {
        let one = ZeroThresholds::new(0.5, None).unwrap();
        assert_eq!(
            [0.0, 0.49, 0.5, 1.0].map(|p| one.class(p).name()),
            ["true_zero", "true_zero", "false_zero", "false_zero"]
        );
        let range = ZeroThresholds::new(0.5, Some([0.2, 0.8])).unwrap();
        assert_eq!(
            [0.19, 0.2, 0.8, 0.81].map(|p| range.class(p).name()),
            ["true_zero", "undecided", "undecided", "false_zero"]
        );
    }

    #[test]
    fn a_range_without_the_threshold_is_refused() {
        for range in [[0.6, 0.8], [0.1, 0.4], [0.8, 0.2]] {
            let problem = ZeroThresholds::new(0.5, Some(range)).unwrap_err();
            assert_eq!(problem.exit_code(), 2);
        }
    }
}

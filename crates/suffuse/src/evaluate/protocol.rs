//! The protocols: what is hidden, and what a method may know of it.

use crate::Result;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use suffuse_data::hide::{HowMany, Mask, Part, Which};

/// What is hidden and what a method may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Non-zero entries of the whole table, of which the method is told; totals are those before hiding,
    /// which leaks: with one entry of a sample hidden, it is what is missing to 100 %. Kept for
    /// comparison with the literature.
    Published,
    /// Non-zero entries of test samples, of which the method is told; totals of what is left.
    Strict,
    /// As `strict`, but hidden entries look like zeros.
    Blind,
    /// Counts of all samples thinned binomially; scored against the full depth of the test samples.
    Thinning,
    /// Non-zero entries under a quantile of their test sample, of which the method is told.
    DetectionLimit,
    /// Whole taxa that were not measured in the test samples.
    WholeTaxon,
    /// Whole test samples.
    WholeSample,
    /// All samples of a subject at one time, in the whole table: the rest of it is learned from.
    TimePoint,
}

/// What a method is told of a hidden entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// That it is hidden and not zero.
    Present,
    /// Nothing: it looks like a zero.
    Zero,
    /// That it was not measured.
    NotMeasured,
}

/// All protocols with their names on the command line and in files.
const NAMES: [(Protocol, &str); 8] = [
    (Protocol::Published, "published"),
    (Protocol::Strict, "strict"),
    (Protocol::Blind, "blind"),
    (Protocol::Thinning, "thinning"),
    (Protocol::DetectionLimit, "detection_limit"),
    (Protocol::WholeTaxon, "whole_taxon"),
    (Protocol::WholeSample, "whole_sample"),
    (Protocol::TimePoint, "time_point"),
];

impl Protocol {
    /// Says whether test samples are kept apart from those that a method learns from.
    pub fn is_held_out(self) -> bool {
        !matches!(self, Protocol::Published | Protocol::TimePoint)
    }

    /// Says whether nothing leaks: totals are those of what is left, and nested ranks are left out.
    pub fn is_tight(self) -> bool {
        self != Protocol::Published
    }

    /// What a method is told of a hidden entry.
    pub fn told(self) -> Told {
        match self {
            Protocol::Published | Protocol::Strict | Protocol::DetectionLimit => Told::Present,
            Protocol::Blind | Protocol::Thinning => Told::Zero,
            Protocol::WholeTaxon | Protocol::WholeSample | Protocol::TimePoint => Told::NotMeasured,
        }
    }

    /// The numbers that the mask is made with unless others are asked for: shares of what is hidden; of
    /// `thinning` the share of the depth that is left.
    pub fn default_fractions(self) -> &'static [f64] {
        match self {
            Protocol::Published | Protocol::WholeTaxon => &[0.1],
            Protocol::Strict | Protocol::Blind => &[0.1, 0.3, 0.5],
            Protocol::Thinning => &[0.5, 0.2, 0.1],
            Protocol::DetectionLimit | Protocol::WholeSample | Protocol::TimePoint => &[0.2],
        }
    }

    /// What is hidden.
    ///
    /// # Errors
    /// A fraction that is not above 0 and at most 1.
    pub fn mask(self, fraction: f64) -> Result<Mask> {
        let share = HowMany::Share(fraction);
        let part = match self {
            Protocol::Published | Protocol::Strict | Protocol::Blind => Part::Nonzero { fraction },
            Protocol::Thinning => Part::Thin { share: fraction },
            Protocol::DetectionLimit => Part::Below { quantile: fraction },
            Protocol::WholeTaxon => Part::Taxon(Which::Drawn(share)),
            Protocol::WholeSample => Part::Sample(Which::Drawn(share)),
            Protocol::TimePoint => Part::Time(share),
        };
        Ok(Mask::new(vec![part])?)
    }
}

/// The parts of a mask that thin, which the samples to learn from are put under as well; `None` without one.
pub fn thinning_of(mask: &Mask) -> Option<Mask> {
    let is_thinning = |part: &&Part| matches!(part, Part::Thin { .. });
    let parts: Vec<Part> = mask.parts().iter().filter(is_thinning).cloned().collect();
    Mask::new(parts).ok()
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(protocol, _)| protocol == self);
        f.write_str(name.expect("every protocol has a name").1)
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let known = NAMES.iter().find(|(_, name)| *name == text);
        known.map(|(protocol, _)| *protocol).ok_or_else(|| {
            let names = NAMES.map(|(_, name)| name).join(", ");
            format!("found {text:?}, expected one of: {names}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_has_a_name_a_mask_and_fractions() {
        for (protocol, name) in NAMES {
            assert_eq!(name.parse::<Protocol>().unwrap(), protocol);
            for fraction in protocol.default_fractions() {
                let mask = protocol.mask(*fraction).unwrap();
                assert_eq!(
                    thinning_of(&mask).is_some(),
                    protocol == Protocol::Thinning,
                    "{mask}"
                );
            }
            assert!(protocol.mask(0.0).is_err());
        }
        let mask: Mask = "thin:0.5+nonzero:0.1".parse().unwrap();
        assert_eq!(thinning_of(&mask).unwrap().to_string(), "thin:0.5");
    }
}

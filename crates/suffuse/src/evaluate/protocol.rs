//! The protocols: what is hidden, and what a method may know of it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

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
}

/// All protocols with their names on the command line and in files.
const NAMES: [(Protocol, &str); 3] = [
    (Protocol::Published, "published"),
    (Protocol::Strict, "strict"),
    (Protocol::Blind, "blind"),
];

impl Protocol {
    /// Says whether test samples are kept apart from those that a method learns from.
    pub fn is_held_out(self) -> bool {
        self != Protocol::Published
    }

    /// Shares of the non-zero entries that are hidden unless others are asked for.
    pub fn default_fractions(self) -> &'static [f64] {
        match self {
            Protocol::Published => &[0.1],
            Protocol::Strict | Protocol::Blind => &[0.1, 0.3, 0.5],
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(protocol, _)| protocol == self);
        f.write_str(name.expect("every protocol has a name").1)
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = NAMES.iter().find(|(_, name)| *name == text);
        known.map(|(protocol, _)| *protocol).ok_or_else(|| {
            let names = NAMES.map(|(_, name)| name).join(", ");
            format!("found {text:?}, expected one of: {names}")
        })
    }
}

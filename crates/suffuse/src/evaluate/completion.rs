//! What stands in the completed sample where counts were thinned and a zero is judged false.
//!
//! A method says how likely an entry is present, and how large it is if it is. That value is too much for a
//! zero: had the taxon been there at that abundance, its reads would have been seen. So what the method says
//! of zeros is held against samples to learn from that were thinned once more, where it is known which zeros
//! are false ([`Unseen`]): a zero that is false more likely than not takes one read of the deeper sample.

use super::trial::{Learn, Thinner, Trial};
use crate::Result;
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use suffuse_data::Table;
use suffuse_data::transform::Scale;
use suffuse_data::transform::percent::from_ln1p_percent;
use suffuse_stats::unseen::{Thinned, Unseen};

/// How a sample whose counts were thinned is completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Completion {
    /// As in a completed table: the value given presence, where presence reaches the threshold.
    Filled,
    /// The median given that no read was seen, learned from samples that were thinned once more.
    #[default]
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

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let known = NAMES.iter().find(|(_, name)| *name == text);
        known.map(|(completion, _)| *completion).ok_or_else(|| {
            let names = NAMES.map(|(_, name)| name).join(", ");
            format!("found {text:?}, expected one of: {names}")
        })
    }
}

/// What a method says of the samples of a trial that are filled.
pub struct Said<'a> {
    /// Entries that it gave a value.
    pub filled: &'a [(usize, usize)],
    /// `ln(1 + percent)` of those.
    pub value: &'a Array2<f64>,
    /// Probability of presence of each entry.
    pub presence: &'a Array2<f64>,
}

/// What a method says of zeros of the samples to learn from with other counts: probability of presence, each
/// sample judged by what was learned from others; `NaN` where it says nothing.
pub type SayAgain<'a> = dyn Fn(&Learn, &Table) -> Result<Array2<f64>> + 'a;

/// The completed samples of a trial in the unit of the table, where their counts were thinned.
///
/// # Errors
/// As `again`.
pub fn completed(trial: &Trial, said: &Said, again: &SayAgain) -> Result<Option<Array2<f64>>> {
    if trial.full_depth.is_none() {
        return Ok(None);
    }
    let mut completed = dense(&trial.fill);
    match trial.completion {
        Completion::Filled => {
            let totals = trial.fill.totals();
            for at in said.filled {
                completed[*at] = from_ln1p_percent(said.value[*at], Scale(totals[at.0]));
            }
        }
        Completion::ZeroReads => {
            if let (Some(learn), Some(thinner)) = (&trial.learn, &trial.thinner) {
                let unseen = unseen(learn, thinner, again)?;
                let learned = dense(&learn.table);
                completed += &unseen.reads(&learned, &completed, said.presence)?;
            }
        }
    }
    Ok(Some(completed))
}

/// What claims about zeros are worth, from samples that were thinned once more.
fn unseen(learn: &Learn, thinner: &Thinner, again: &SayAgain) -> Result<Unseen> {
    let claims = again(learn, &thinner.table)?;
    let of_rows = claims.rows().into_iter().enumerate();
    let is_said = of_rows.filter(|(_, row)| row.iter().any(|claim| !claim.is_nan()));
    let rows: Vec<usize> = is_said.map(|(row, _)| row).collect();
    let take = |matrix: &Array2<f64>| matrix.select(ndarray::Axis(0), &rows);
    Ok(Unseen::fit(&Thinned {
        thinner: &take(&dense(&thinner.table)),
        deeper: &take(&dense(&learn.table)),
        claims: &take(&claims),
        times: thinner.times,
    })?)
}

fn dense(table: &Table) -> Array2<f64> {
    let shape = (table.n_samples(), table.n_features());
    Array2::from_shape_vec(shape, table.to_dense())
        .expect("a dense table has an entry per sample and feature")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for (completion, name) in NAMES {
            assert_eq!(name.parse::<Completion>().unwrap(), completion);
        }
        assert!("median".parse::<Completion>().is_err());
    }
}

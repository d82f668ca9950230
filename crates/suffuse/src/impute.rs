//! Filling a table: by a fitted model or a baseline, with what was done to every entry.

use crate::provenance::Provenance;
use crate::{Error, Result};
use ndarray::Array2;
use serde::Serialize;
use suffuse_data::select;
use suffuse_data::transform::{Scale, percent};
use suffuse_data::{Dense, Layer, Table};
use suffuse_model::systems::depmicrodiff::{Action, Imputation};
use suffuse_stats::Incomplete;
use suffuse_stats::impute::Method as Baseline;

/// What was done to an entry, in the order of the codes of the `action` layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Done {
    /// Measured and not zero: kept bit for bit.
    Observed = 0,
    /// Given a value.
    Filled = 1,
    /// A zero that stays zero.
    KeptZero = 2,
    /// Not measured, and left so.
    KeptMissing = 3,
}

const MEANINGS: [&str; 4] = ["observed", "filled", "kept zero", "kept missing"];

/// How many entries met which fate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Measured, not zero, kept.
    pub observed: usize,
    /// Not measured, filled.
    pub filled_missing: usize,
    /// Zeros, filled.
    pub filled_zeros: usize,
    /// Zeros, kept.
    pub kept_zeros: usize,
    /// Not measured, left so.
    pub kept_missing: usize,
    /// Samples without a non-zero entry before filling.
    pub empty_samples: usize,
}

/// A filled entry, as it is listed beside text outputs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FilledEntry {
    /// Row.
    pub sample: usize,
    /// Column.
    pub feature: usize,
    /// Value in the unit of the table.
    pub value: f64,
    /// Lower end of the 90 % interval, in the unit of the table; `NaN` for a baseline.
    pub lower: f64,
    /// Upper end of the 90 % interval, in the unit of the table; `NaN` for a baseline.
    pub upper: f64,
    /// Probability that the feature is present in the sample; `NaN` for a baseline.
    pub presence: f64,
}

/// A completed table.
#[derive(Debug, Clone, PartialEq)]
pub struct Completed {
    /// The input with its missing entries filled; what a model knows of them in layers `lower`,
    /// `upper`, `presence`; what was done in layer `action`.
    pub table: Table,
    /// Fates of the entries.
    pub counts: Counts,
    /// The filled entries, row by row.
    pub filled: Vec<FilledEntry>,
}

impl Completed {
    /// Brings the features into this order; they must be the same ones.
    ///
    /// # Errors
    /// An id that the table lacks.
    pub fn arrange(&mut self, feature_ids: &[String]) -> Result<()> {
        if self.table.feature_ids() == feature_ids {
            return Ok(());
        }
        let positions = select::feature_positions(&self.table, feature_ids)?;
        self.table = select::take_features(&self.table, &positions)?;
        let mut new_position = vec![0; positions.len()];
        for (new, old) in positions.into_iter().enumerate() {
            new_position[old] = new;
        }
        for entry in &mut self.filled {
            entry.feature = new_position[entry.feature];
        }
        self.filled
            .sort_by_key(|entry| (entry.sample, entry.feature));
        Ok(())
    }

    /// Joins what a model returned to the table that it was given.
    ///
    /// # Errors
    /// A matrix of another shape than the table; an observed entry that is not bit-identical, or a
    /// value that is negative or infinite, either of which would be a defect of the model.
    pub fn from_model(table: &Table, imputation: &Imputation) -> Result<Completed> {
        let shape = (table.n_samples(), table.n_features());
        if imputation.value.dim() != shape {
            return Err(Error::Table(format!(
                "the model returned {:?} entries, expected {shape:?}",
                imputation.value.dim()
            )));
        }
        let before = table.to_dense();
        let n_features = table.n_features();
        let mut value = before.clone();
        let mut done = Vec::with_capacity(before.len());
        let mut filled = Vec::new();
        for ((sample, feature), action) in imputation.action.indexed_iter() {
            let at = sample * n_features + feature;
            if *action == Action::Filled {
                value[at] = imputation.value[[sample, feature]];
                filled.push(FilledEntry {
                    sample,
                    feature,
                    value: value[at],
                    lower: imputation.lower[[sample, feature]],
                    upper: imputation.upper[[sample, feature]],
                    presence: imputation.presence[[sample, feature]],
                });
            }
            done.push(fate(before[at], *action == Action::Filled));
            let is_observed = before[at] > 0.0;
            if is_observed && imputation.value[[sample, feature]].to_bits() != before[at].to_bits()
            {
                return Err(Error::Table(format!(
                    "sample {:?}, feature {:?}: the model changed an observed entry; please report this",
                    table.sample_ids()[sample],
                    table.feature_ids()[feature]
                )));
            }
        }
        let mut completed = assemble(table, &before, &value, done, filled)?;
        for (name, matrix) in [
            ("lower", &imputation.lower),
            ("upper", &imputation.upper),
            ("presence", &imputation.presence),
        ] {
            let values = matrix.iter().copied().collect();
            let dense = Dense {
                n_rows: shape.0,
                n_columns: shape.1,
                values,
            };
            completed
                .table
                .layers
                .insert(name.to_string(), Layer::Dense(dense));
        }
        Ok(completed)
    }

    /// Writes the record of where the table comes from into it.
    pub fn set_provenance(&mut self, provenance: &Provenance) {
        self.table
            .uns
            .insert("suffuse".to_string(), provenance.to_json());
    }

    /// The filled entries as tab-separated text with a header; an undefined number is left empty.
    pub fn filled_tsv(&self) -> String {
        let mut text = String::from("sample\tfeature\tvalue\tlower_90\tupper_90\tpresence\n");
        let number = |value: f64| {
            if value.is_nan() {
                String::new()
            } else {
                value.to_string()
            }
        };
        for entry in &self.filled {
            text.push_str(&format!(
                "{}\t{}\t{}\t{}\t{}\t{}\n",
                self.table.sample_ids()[entry.sample],
                self.table.feature_ids()[entry.feature],
                entry.value,
                number(entry.lower),
                number(entry.upper),
                number(entry.presence)
            ));
        }
        text
    }
}

/// Fills the entries that are not measured by a baseline, which takes them to be present.
///
/// The baseline sees `ln(1 + percent)` of the measured total of each sample. An entry of a sample
/// without a total stays missing: there is nothing to take a share of.
///
/// # Errors
/// None for a table that was read by this crate.
pub fn by_baseline(table: &Table, baseline: Baseline) -> Result<Completed> {
    let totals = table.totals();
    let logs = ln1p_percent(table, &totals);
    let completed = suffuse_stats::impute::impute(baseline, &Incomplete::from_values(logs)?);
    let before = table.to_dense();
    let mut value = before.clone();
    let mut filled = Vec::new();
    let mut done = Vec::with_capacity(before.len());
    for ((sample, feature), log) in completed.indexed_iter() {
        let at = sample * table.n_features() + feature;
        let is_filled = before[at].is_nan() && totals[sample] > 0.0;
        if is_filled {
            value[at] = percent::from_ln1p_percent(*log, Scale(totals[sample]));
            let (lower, upper, presence) = (f64::NAN, f64::NAN, f64::NAN);
            filled.push(FilledEntry {
                sample,
                feature,
                value: value[at],
                lower,
                upper,
                presence,
            });
        }
        done.push(fate(before[at], is_filled));
    }
    assemble(table, &before, &value, done, filled)
}

/// `ln(1 + 100 x / total)` of every entry, `[n_samples, n_features]`; `NaN` stays `NaN`, and a
/// sample without a total is zero throughout.
pub fn ln1p_percent(table: &Table, totals: &[f64]) -> Array2<f64> {
    let dense = table.to_dense();
    Array2::from_shape_fn(
        (table.n_samples(), table.n_features()),
        |(sample, feature)| {
            let value = dense[sample * table.n_features() + feature];
            percent::ln1p_percent(value, Scale(totals[sample]))
        },
    )
}

fn fate(before: f64, is_filled: bool) -> Done {
    match before {
        _ if is_filled => Done::Filled,
        v if v.is_nan() => Done::KeptMissing,
        0.0 => Done::KeptZero,
        _ => Done::Observed,
    }
}

fn assemble(
    table: &Table,
    before: &[f64],
    value: &[f64],
    done: Vec<Done>,
    filled: Vec<FilledEntry>,
) -> Result<Completed> {
    let mut counts = Counts {
        empty_samples: table.totals().iter().filter(|total| **total == 0.0).count(),
        ..Counts::default()
    };
    for (done, before) in done.iter().zip(before) {
        match done {
            Done::Observed => counts.observed += 1,
            Done::Filled if before.is_nan() => counts.filled_missing += 1,
            Done::Filled => counts.filled_zeros += 1,
            Done::KeptZero => counts.kept_zeros += 1,
            Done::KeptMissing => counts.kept_missing += 1,
        }
    }
    let mut completed = table.with_dense(value)?;
    completed.layers = table.layers.clone();
    completed.obsm = table.obsm.clone();
    let codes = done.into_iter().map(|done| done as u8).collect();
    let meanings = MEANINGS.map(String::from).to_vec();
    completed
        .layers
        .insert("action".to_string(), Layer::Codes { codes, meanings });
    Ok(Completed {
        table: completed,
        counts,
        filled,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(prefix: &str, n: usize) -> Vec<String> {
        (0..n).map(|i| format!("{prefix}{i}")).collect()
    }

    /// Sample 2 has no total.
    fn table() -> Table {
        let dense = [60.0, 40.0, f64::NAN, 10.0, 0.0, 90.0, 0.0, f64::NAN, 0.0];
        Table::from_dense(names("s", 3), names("t", 3), &dense).unwrap()
    }

    #[test]
    fn the_taxon_mean_fills_in_the_unit_of_the_table() {
        let completed = by_baseline(&table(), Baseline::TaxonMean).unwrap();
        // Taxon 2 is seen once, at 90 % of a total of 100; sample 0 has a total of 100 as well.
        assert!((completed.table.get(0, 2) - 90.0).abs() < 1e-9);
        let expected = Counts {
            observed: 4,
            filled_missing: 1,
            filled_zeros: 0,
            kept_zeros: 3,
            kept_missing: 1,
            empty_samples: 1,
        };
        assert_eq!(completed.counts, expected);
        assert!(completed.table.get(2, 1).is_nan());
        assert_eq!(completed.filled_tsv().lines().count(), 2);
    }

    #[test]
    fn a_model_may_not_touch_observed_entries() {
        let table = table();
        let shape = (3, 3);
        let value = Array2::from_shape_vec(shape, table.to_dense()).unwrap();
        let mut imputation = Imputation {
            lower: value.clone(),
            upper: value.clone(),
            presence: Array2::zeros(shape),
            action: Array2::from_elem(shape, Action::KeptZero),
            value,
            hidden_draws: Vec::new(),
        };
        imputation.value[[1, 1]] = 5.0;
        imputation.action[[1, 1]] = Action::Filled;
        let completed = Completed::from_model(&table, &imputation).unwrap();
        assert_eq!(completed.table.get(1, 1), 5.0);
        assert_eq!(
            (completed.counts.filled_zeros, completed.counts.kept_missing),
            (1, 2)
        );
        imputation.value[[0, 0]] = 61.0;
        assert!(Completed::from_model(&table, &imputation).is_err());
    }
}

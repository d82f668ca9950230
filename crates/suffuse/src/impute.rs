//! Filling a table: by a fitted model or a baseline, with what was done to every entry.

mod files;
pub mod sets;
pub mod zeros;

pub use files::{Files, Filling};

use crate::output::cell;
use crate::provenance::Provenance;
use crate::{Error, Result};
use ndarray::Array2;
use serde::Serialize;
use suffuse_data::nested::{self, Sum};
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

/// Name of the layer that says what was done.
pub const ACTION: &str = "action";

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
    /// Joins what a model returned to the table that it was given.
    ///
    /// # Errors
    /// As [`complete`].
    pub fn from_model(table: &Table, imputation: &Imputation) -> Result<Completed> {
        let mut counts = Counts::default();
        let mut value = Vec::new();
        let mut codes = Vec::new();
        let mut matrices = [const { Vec::new() }; 3];
        let mut filled = Vec::new();
        complete(table, 0, imputation, &[], &mut counts, |sample| {
            value.extend(&sample.value);
            codes.extend(&sample.done);
            let rows = [&sample.lower, &sample.upper, &sample.presence];
            for (matrix, row) in matrices.iter_mut().zip(rows) {
                matrix.extend(row);
            }
            filled.extend(sample.filled());
            Ok(())
        })?;
        let mut completed = with_action(table, &value, codes)?;
        for (name, values) in LAYERS.into_iter().zip(matrices) {
            let dense = Dense {
                n_rows: table.n_samples(),
                n_columns: table.n_features(),
                values,
            };
            completed
                .layers
                .insert(name.to_string(), Layer::Dense(dense));
        }
        Ok(Completed {
            table: completed,
            counts,
            filled,
        })
    }

    /// Writes the record of where the table comes from into it.
    pub fn set_provenance(&mut self, provenance: &Provenance) {
        self.table
            .uns
            .insert("suffuse".to_string(), provenance.to_json());
    }

    /// The filled entries as tab-separated text with a header; an undefined number is left empty.
    pub fn filled_tsv(&self) -> String {
        let mut text = FILLED_HEADER.to_string();
        for entry in &self.filled {
            let sample = &self.table.sample_ids()[entry.sample];
            text.push_str(&entry.line(sample, &self.table.feature_ids()[entry.feature]));
        }
        text
    }
}

const FILLED_HEADER: &str = "sample\tfeature\tvalue\tlower_90\tupper_90\tpresence\n";

impl FilledEntry {
    /// A line of tab-separated text, under [`FILLED_HEADER`].
    fn line(&self, sample: &str, feature: &str) -> String {
        let number = |value: f64| {
            if value.is_nan() {
                String::new()
            } else {
                value.to_string()
            }
        };
        format!(
            "{}\t{}\t{}\t{}\t{}\t{}\n",
            cell(sample),
            cell(feature),
            self.value,
            number(self.lower),
            number(self.upper),
            number(self.presence)
        )
    }
}

/// Layers of what a model knows of an entry.
const LAYERS: [&str; 3] = ["lower", "upper", "presence"];

/// The layers of a table that those of its completion replace, if they are not of a completion themselves.
pub fn replaced_layers(table: &Table) -> Vec<&'static str> {
    if table.layers.contains_key(ACTION) {
        return Vec::new();
    }
    (LAYERS
        .into_iter()
        .filter(|name| table.layers.contains_key(*name)))
    .collect()
}

/// A completed sample, an element per feature.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletedSample {
    /// Row.
    pub sample: usize,
    /// Entries in the unit of the table; `NaN` where not measured and not filled.
    pub value: Vec<f64>,
    /// Lower ends of the 90 % intervals.
    pub lower: Vec<f64>,
    /// Upper ends of the 90 % intervals.
    pub upper: Vec<f64>,
    /// Probabilities of presence.
    pub presence: Vec<f64>,
    /// Codes of [`Done`].
    pub done: Vec<u8>,
}

impl CompletedSample {
    /// The entries that were filled.
    pub fn filled(&self) -> impl Iterator<Item = FilledEntry> {
        let is_filled = |feature: &usize| self.done[*feature] == Done::Filled as u8;
        (0..self.value.len())
            .filter(is_filled)
            .map(|feature| FilledEntry {
                sample: self.sample,
                feature,
                value: self.value[feature],
                lower: self.lower[feature],
                upper: self.upper[feature],
                presence: self.presence[feature],
            })
    }

    /// Sets filled parents to the sums of their children. Intervals are widened to hold them, and a
    /// zero that the sum leaves zero is one that was kept.
    fn reconcile(&mut self, sums: &[Sum], before: &[f64]) {
        let CompletedSample { value, done, .. } = self;
        let is_filled = |feature: usize| done[feature] == Done::Filled as u8;
        let (changed, scale) = reconcile(value, sums, is_filled, before);
        for end in self.lower.iter_mut().chain(&mut self.upper) {
            *end *= scale;
        }
        for parent in changed {
            let total = self.value[parent];
            self.lower[parent] = self.lower[parent].min(total);
            self.upper[parent] = self.upper[parent].max(total);
            if total == 0.0 && before[parent] == 0.0 {
                self.done[parent] = Done::KeptZero as u8;
            }
        }
    }
}

/// Sets filled parents to the sums of their children; returns the parents changed. A sample of which nothing above zero
/// was measured is closed to a total: it is scaled to have that total still, by the factor that is returned as well.
fn reconcile(
    row: &mut [f64],
    sums: &[Sum],
    is_filled: impl Fn(usize) -> bool,
    before: &[f64],
) -> (Vec<usize>, f64) {
    let total = |row: &[f64]| row.iter().filter(|value| !value.is_nan()).sum::<f64>();
    let closed = total(row);
    let changed = nested::reconcile(row, sums, &is_filled);
    let summed = total(row);
    if changed.is_empty() || before.iter().any(|value| *value > 0.0) || summed == 0.0 {
        return (changed, 1.0);
    }
    let scale = closed / summed;
    row.iter_mut().for_each(|value| *value *= scale);
    nested::reconcile(row, sums, is_filled); // sums are exact again
    (changed, scale)
}

/// Joins what a model returned for the samples from `first_sample` on to the table that it was given,
/// and hands on each sample.
///
/// Parents in `sums` that were filled are set to the sum of their children, see
/// [`nested::reconcile`].
///
/// # Errors
/// A matrix that does not fit into the table; an observed entry that is not bit-identical, or a
/// value that is negative or infinite, either of which would be a defect of the model; what `each`
/// reports.
pub fn complete(
    table: &Table,
    first_sample: usize,
    imputation: &Imputation,
    sums: &[Sum],
    counts: &mut Counts,
    mut each: impl FnMut(&CompletedSample) -> Result<()>,
) -> Result<()> {
    let (n_rows, n_columns) = imputation.value.dim();
    if first_sample + n_rows > table.n_samples() || n_columns != table.n_features() {
        return Err(Error::Table(format!(
            "the model returned {n_rows} x {n_columns} entries from sample {first_sample} on, expected them inside of {} x {}",
            table.n_samples(),
            table.n_features()
        )));
    }
    for row in 0..n_rows {
        let sample = first_sample + row;
        let before = table.dense_row(sample);
        let mut completed = CompletedSample {
            sample,
            value: before.clone(),
            lower: imputation.lower.row(row).to_vec(),
            upper: imputation.upper.row(row).to_vec(),
            presence: imputation.presence.row(row).to_vec(),
            done: Vec::with_capacity(n_columns),
        };
        for (feature, before) in before.iter().enumerate() {
            let value = imputation.value[[row, feature]];
            let is_filled = imputation.action[[row, feature]] == Action::Filled;
            if is_filled {
                completed.value[feature] = value;
            }
            completed.done.push(fate(*before, is_filled) as u8);
            let is_changed = *before > 0.0 && value.to_bits() != before.to_bits();
            if is_changed || completed.value[feature] < 0.0 || value.is_infinite() {
                return Err(Error::Table(format!(
                    "sample {:?}, feature {:?}: the model returned {value} for an entry of {before}; please report this",
                    table.sample_ids()[sample],
                    table.feature_ids()[feature]
                )));
            }
        }
        completed.reconcile(sums, &before);
        for (done, before) in completed.done.iter().zip(&before) {
            counts.add(*done, *before);
        }
        let is_measured = |value: &&f64| !value.is_nan();
        if before.iter().filter(is_measured).all(|value| *value == 0.0) {
            counts.empty_samples += 1;
        }
        each(&completed)?;
    }
    Ok(())
}

/// Fills the entries that are not measured by a baseline, which takes them to be present.
///
/// The baseline sees `ln(1 + percent)` of the measured total of each sample. An entry of a sample
/// without a total stays missing: there is nothing to take a share of. So do those of a taxon that was measured
/// in no sample; of one that is 0 wherever it was measured they are filled with 0. Parents in `sums` that were filled are
/// set to the sum of their children.
///
/// # Errors
/// None for a table that was read by this crate.
pub fn by_baseline(table: &Table, baseline: Baseline, sums: &[Sum]) -> Result<Completed> {
    let totals = table.totals();
    let logs = ln1p_percent(table, &totals);
    let completed = suffuse_stats::impute::impute(baseline, &Incomplete::from_values(logs)?);
    let before = table.to_dense();
    let mut value = before.clone();
    let mut filled = Vec::new();
    let mut codes = Vec::with_capacity(before.len());
    let mut counts = Counts::default();
    let n_features = table.n_features();
    let mut largest = vec![f64::NAN; n_features];
    for row in before.chunks(n_features) {
        for (largest, value) in largest.iter_mut().zip(row) {
            *largest = largest.max(*value); // the other of the two where one is NaN
        }
    }
    for (sample, total) in totals.iter().enumerate() {
        let range = sample * n_features..(sample + 1) * n_features;
        let (before, row) = (&before[range.clone()], &mut value[range]);
        let is_filled =
            |feature: usize| before[feature].is_nan() && !largest[feature].is_nan() && *total > 0.0;
        for feature in (0..n_features).filter(|feature| is_filled(*feature)) {
            row[feature] = match largest[feature] > 0.0 {
                true => percent::from_ln1p_percent(completed[[sample, feature]], Scale(*total)),
                false => 0.0,
            };
        }
        nested::reconcile(row, sums, is_filled);
        for (feature, before) in before.iter().enumerate() {
            if is_filled(feature) {
                let (lower, upper, presence) = (f64::NAN, f64::NAN, f64::NAN);
                filled.push(FilledEntry {
                    sample,
                    feature,
                    value: row[feature],
                    lower,
                    upper,
                    presence,
                });
            }
            let done = fate(*before, is_filled(feature)) as u8;
            codes.push(done);
            counts.add(done, *before);
        }
    }
    counts.empty_samples = totals.iter().filter(|total| **total == 0.0).count();
    Ok(Completed {
        table: with_action(table, &value, codes)?,
        counts,
        filled,
    })
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

impl Counts {
    /// Adds an entry of this code of [`Done`].
    fn add(&mut self, done: u8, before: f64) {
        const OBSERVED: u8 = Done::Observed as u8;
        const FILLED: u8 = Done::Filled as u8;
        const KEPT_ZERO: u8 = Done::KeptZero as u8;
        match done {
            OBSERVED => self.observed += 1,
            FILLED if before.is_nan() => self.filled_missing += 1,
            FILLED => self.filled_zeros += 1,
            KEPT_ZERO => self.kept_zeros += 1,
            _ => self.kept_missing += 1,
        }
    }
}

/// The table with these entries, and what was done to them in the layer `action`.
fn with_action(table: &Table, value: &[f64], codes: Vec<u8>) -> Result<Table> {
    let mut completed = table.with_dense(value)?;
    completed.layers = table.layers.clone();
    completed.obsm = table.obsm.clone();
    let meanings = MEANINGS.map(String::from).to_vec();
    completed
        .layers
        .insert(ACTION.to_string(), Layer::Codes { codes, meanings });
    Ok(completed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_sample_keeps_its_total_when_parents_become_sums() {
        let sums = [Sum {
            parent: 0,
            children: vec![1, 2],
        }];
        let closed = [10.0, 1.0, 4.0, 5.0, f64::NAN];
        let missing = [f64::NAN; 5];
        let mut row = closed;
        let (changed, scale) = reconcile(&mut row, &sums, |_| true, &missing);
        assert_eq!((changed, scale), (vec![0], 20.0 / 15.0));
        assert_eq!(row[0], row[1] + row[2]);
        assert!((row[..4].iter().sum::<f64>() - 20.0).abs() < 1e-12 && row[4].is_nan());
        let mut measured = closed;
        let before = [f64::NAN, f64::NAN, f64::NAN, 5.0, f64::NAN];
        let (_, scale) = reconcile(&mut measured, &sums, |f| f < 3, &before);
        assert_eq!((scale, measured[0], measured[3]), (1.0, 5.0, 5.0));
    }

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
        let completed = by_baseline(&table(), Baseline::TaxonMean, &[]).unwrap();
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
    fn baselines_make_nothing_of_taxa_that_were_never_seen() {
        let n = f64::NAN;
        // The third taxon was never measured, the fourth never above zero.
        let dense = [
            10.0, 20.0, n, 0.0, 5.0, 50.0, n, n, 9.0, n, n, 0.0, 7.0, 9.0, n, 0.0,
        ];
        let table = Table::from_dense(names("s", 4), names("t", 4), &dense).unwrap();
        for baseline in Baseline::ALL {
            let completed = by_baseline(&table, baseline, &[]).unwrap();
            let value = |sample, feature| completed.table.get(sample, feature);
            assert!((0..4).all(|sample| value(sample, 2).is_nan()), "{baseline}");
            assert_eq!(value(1, 3), 0.0, "{baseline}");
            assert!(!value(2, 1).is_nan(), "{baseline}");
            let counts = completed.counts;
            assert_eq!((counts.filled_missing, counts.kept_missing), (2, 4));
        }
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

    #[test]
    fn filled_parents_become_the_sum_of_their_children_with_intervals_that_hold_it() {
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
        for (at, value) in [([0, 2], 90.0), ([1, 1], 5.0), ([2, 0], 4.0)] {
            imputation.value[at] = value;
            imputation.action[at] = Action::Filled;
        }
        let sum = |parent, children: &[usize]| Sum {
            parent,
            children: children.to_vec(),
        };
        let sums = [sum(2, &[0, 1]), sum(0, &[2])];
        let mut counts = Counts::default();
        let mut samples = Vec::new();
        let each = |sample: &CompletedSample| {
            samples.push(sample.clone());
            Ok(())
        };
        complete(&table, 0, &imputation, &sums, &mut counts, each).unwrap();
        assert_eq!(samples[0].value, [60.0, 40.0, 100.0]);
        assert!(samples[0].upper[2] >= 100.0 && samples[0].lower[2] <= 100.0);
        // Observed parents stay, whatever their children became.
        assert_eq!(samples[1].value, [10.0, 5.0, 90.0]);
        // The child is zero, so the parent is as well, and was kept.
        assert_eq!(samples[2].value[0], 0.0);
        assert_eq!(samples[2].done[0], Done::KeptZero as u8);
        assert_eq!((counts.filled_missing, counts.filled_zeros), (1, 1));
    }
}

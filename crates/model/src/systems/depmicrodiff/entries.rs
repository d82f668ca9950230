//! What is known of each entry of a table, and the numbers that the networks see.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Range;
use suffuse_data::Table;
use suffuse_data::transform::Scale;
use suffuse_data::transform::percent::ln1p_percent;

/// What 100 percent is for a sample.
#[derive(Debug, Clone, PartialEq)]
pub enum Totals {
    /// The sum of the entries that are left after hiding: nothing leaks.
    OfWhatIsLeft,
    /// Totals that were computed before hiding, one per sample, in the unit of the table.
    Given(Vec<f64>),
}

/// Encoded metadata of the samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditions {
    /// `n_samples * dim` values in row-major order.
    pub values: Vec<f32>,
    /// Samples without any metadata.
    pub missing: Vec<bool>,
    /// Length of a sample's vector.
    pub dim: usize,
    /// Where the vectors come from, for the checkpoint.
    pub description: String,
}

/// A table and all that a model may know of it.
#[derive(Debug, Clone)]
pub struct Cohort<'a> {
    /// Abundances; `NaN` entries are not measured.
    pub table: &'a Table,
    /// Non-zero entries (sample, feature) that are withheld and known to be present; sorted.
    pub hidden: &'a [(u32, u32)],
    /// What 100 percent is.
    pub totals: Totals,
    /// Encoded metadata.
    pub conditions: Option<Conditions>,
    /// Samples of one group (patient, subject) stay on one side of a split.
    pub groups: Option<Vec<usize>>,
}

/// What is known of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// A positive value.
    Present,
    /// A zero.
    Absent,
    /// Nothing.
    Unknown,
    /// That it is positive, but not its value.
    Withheld,
}

/// The entries of a cohort without metadata. They stay in the sparse table: dense rows are made when
/// they are asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Entries<'a> {
    table: Cow<'a, Table>,
    /// Sorted.
    hidden: &'a [(u32, u32)],
    given_totals: Option<Vec<f64>>,
    /// Number of features.
    pub n_taxa: usize,
}

/// Centre and scale of ln(1+percent) of each taxon where present.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standardisation {
    /// Mean of ln(1+percent) over the observed non-zeros of a taxon.
    pub mean: Vec<f64>,
    /// Standard deviation of the same.
    pub sd: Vec<f64>,
    /// Smallest of the same: what is present is not filled with less.
    pub least: Vec<f64>,
    /// Says whether any entry of a taxon was measured: of the others nothing can be learned.
    pub is_measured: Vec<bool>,
}

/// Smallest scale of a taxon, in ln(1+percent).
const MIN_SD: f64 = 0.1;
/// Observations that the pooled mean and variance count for, against taxa seen once or twice.
const PRIOR_OBSERVATIONS: f64 = 3.0;

impl<'a> Entries<'a> {
    /// Entries of a cohort.
    ///
    /// # Errors
    /// Totals of another length than the samples, or hidden entries that are not sorted or no
    /// positive entries of the table.
    pub fn new(cohort: &Cohort<'a>) -> Result<Self> {
        let table = cohort.table;
        for &(sample, feature) in cohort.hidden {
            let is_inside =
                (sample as usize) < table.n_samples() && (feature as usize) < table.n_features();
            let is_positive = is_inside && table.get(sample as usize, feature as usize) > 0.0;
            if !is_positive {
                return Err(Error::Table(format!(
                    "hidden entry ({sample}, {feature}) is no positive entry of the table"
                )));
            }
        }
        if let Some(pair) = cohort.hidden.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(Error::Table(format!(
                "hidden entries {:?} and {:?} are not in rising order",
                pair[0], pair[1]
            )));
        }
        let given_totals = match &cohort.totals {
            Totals::OfWhatIsLeft => None,
            Totals::Given(totals) if totals.len() == table.n_samples() => Some(totals.clone()),
            Totals::Given(totals) => {
                return Err(Error::Table(format!(
                    "{} totals for {} samples",
                    totals.len(),
                    table.n_samples()
                )));
            }
        };
        Ok(Entries {
            n_taxa: table.n_features(),
            table: Cow::Borrowed(table),
            hidden: cohort.hidden,
            given_totals,
        })
    }

    /// Entries of a table of which nothing is hidden.
    pub fn of_table(table: Table) -> Entries<'static> {
        Entries {
            n_taxa: table.n_features(),
            table: Cow::Owned(table),
            hidden: &[],
            given_totals: None,
        }
    }

    /// Number of samples.
    pub fn n_samples(&self) -> usize {
        self.table.n_samples()
    }

    /// Id of a sample.
    pub fn sample_id(&self, sample: usize) -> &str {
        &self.table.sample_ids()[sample]
    }

    /// The withheld entries of these samples.
    pub fn hidden_in(&self, samples: Range<usize>) -> &'a [(u32, u32)] {
        let start = self
            .hidden
            .partition_point(|(sample, _)| (*sample as usize) < samples.start);
        let end = self
            .hidden
            .partition_point(|(sample, _)| (*sample as usize) < samples.end);
        &self.hidden[start..end]
    }

    /// What is known of the entries of a sample.
    pub fn known_row(&self, sample: usize) -> Vec<Known> {
        let mut row = vec![Known::Absent; self.n_taxa];
        let (columns, values) = self.table.row(sample);
        for (column, value) in columns.iter().zip(values) {
            row[*column as usize] = if value.is_nan() {
                Known::Unknown
            } else {
                Known::Present
            };
        }
        for (_, feature) in self.hidden_in(sample..sample + 1) {
            row[*feature as usize] = Known::Withheld;
        }
        row
    }

    /// Abundances of a sample in the unit of the table where `Present`, else 0.
    pub fn abundance_row(&self, sample: usize) -> Vec<f64> {
        let mut row = vec![0.0; self.n_taxa];
        for (taxon, value) in self.present(sample) {
            row[taxon] = value;
        }
        row
    }

    /// Entries of a sample as the table holds them, `NaN` where withheld.
    pub fn original_row(&self, sample: usize) -> Vec<f64> {
        let mut row = self.table.dense_row(sample);
        for (_, feature) in self.hidden_in(sample..sample + 1) {
            row[*feature as usize] = f64::NAN;
        }
        row
    }

    /// Taxon and abundance of the entries of a sample that are `Present`, taxa rising.
    fn present(&self, sample: usize) -> impl Iterator<Item = (usize, f64)> {
        let hidden = self.hidden_in(sample..sample + 1);
        let (columns, values) = self.table.row(sample);
        let is_hidden = move |column| hidden.binary_search(&(sample as u32, column)).is_ok();
        columns
            .iter()
            .zip(values)
            .filter(move |(column, value)| !value.is_nan() && !is_hidden(**column))
            .map(|(column, value)| (*column as usize, *value))
    }

    /// What 100 percent is for a sample when the entries marked in `hidden` are hidden as well.
    pub fn total(&self, sample: usize, hidden: Option<&[bool]>) -> f64 {
        match &self.given_totals {
            Some(totals) => totals[sample],
            None => self
                .present(sample)
                .filter(|(taxon, _)| hidden.is_none_or(|hidden| !hidden[*taxon]))
                .fold(0.0, |total, (_, x)| total + x),
        }
    }

    /// Samples with something to learn from: at least one observed abundance.
    pub fn informative_samples(&self) -> Vec<usize> {
        (0..self.n_samples())
            .filter(|sample| {
                self.present(*sample).next().is_some() && self.total(*sample, None) > 0.0
            })
            .collect()
    }

    /// Says whether a sample can be filled: whether its total is known and positive.
    pub fn is_fillable(&self, sample: usize) -> bool {
        self.total(sample, None) > 0.0
    }

    /// Says of each taxon whether any entry was measured.
    fn is_measured(&self) -> Vec<bool> {
        let mut n_unknown = vec![0; self.n_taxa];
        for sample in 0..self.n_samples() {
            let (columns, values) = self.table.row(sample);
            for (column, _) in columns.iter().zip(values).filter(|(_, x)| x.is_nan()) {
                n_unknown[*column as usize] += 1;
            }
        }
        n_unknown.iter().map(|n| *n < self.n_samples()).collect()
    }
}

impl Standardisation {
    /// Fits centre and scale on the observed non-zeros, shrunk to the pooled ones.
    pub fn fit(entries: &Entries) -> Self {
        let n_taxa = entries.n_taxa;
        let (mut n, mut sum, mut square) =
            (vec![0.0; n_taxa], vec![0.0; n_taxa], vec![0.0; n_taxa]);
        let mut least = vec![f64::INFINITY; n_taxa];
        for sample in 0..entries.n_samples() {
            let total = Scale(entries.total(sample, None));
            for (taxon, x) in entries.present(sample) {
                let y = ln1p_percent(x, total);
                n[taxon] += 1.0;
                sum[taxon] += y;
                square[taxon] += y * y;
                least[taxon] = least[taxon].min(y);
            }
        }
        let n_all: f64 = n.iter().sum();
        let pooled_mean = if n_all > 0.0 {
            sum.iter().sum::<f64>() / n_all
        } else {
            0.0
        };
        let within: f64 = (0..n_taxa)
            .filter(|j| n[*j] > 0.0)
            .map(|j| square[j] - sum[j] * sum[j] / n[j])
            .sum();
        let pooled_variance = if n_all > 0.0 {
            (within / n_all).max(MIN_SD * MIN_SD)
        } else {
            1.0
        };
        let least_of_all = least.iter().copied().fold(f64::INFINITY, f64::min);
        let least_of_all = if least_of_all.is_finite() {
            least_of_all
        } else {
            0.0
        };
        least
            .iter_mut()
            .filter(|least| least.is_infinite())
            .for_each(|least| *least = least_of_all);
        let mut standardisation = Standardisation {
            mean: Vec::new(),
            sd: Vec::new(),
            least,
            is_measured: entries.is_measured(),
        };
        for j in 0..n_taxa {
            let weight = n[j] + PRIOR_OBSERVATIONS;
            let mean = (sum[j] + PRIOR_OBSERVATIONS * pooled_mean) / weight;
            let mean = if n[j] >= PRIOR_OBSERVATIONS {
                sum[j] / n[j]
            } else {
                mean
            };
            let own = if n[j] > 0.0 {
                square[j] - sum[j] * sum[j] / n[j]
            } else {
                0.0
            };
            let variance = (own + PRIOR_OBSERVATIONS * pooled_variance) / weight;
            standardisation.mean.push(mean);
            standardisation.sd.push(variance.sqrt().max(MIN_SD));
        }
        standardisation
    }

    /// `(y - mean) / sd`.
    pub fn forward(&self, taxon: usize, y: f64) -> f64 {
        (y - self.mean[taxon]) / self.sd[taxon]
    }

    /// `mean + sd * u`, never below the smallest observed value of the taxon.
    pub fn inverse(&self, taxon: usize, u: f64) -> f64 {
        (self.mean[taxon] + self.sd[taxon] * u).max(self.least[taxon])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let ids = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
        Table::from_dense(
            ids("s", 2),
            ids("t", 3),
            &[1.0, 3.0, 0.0, f64::NAN, 0.0, 0.0],
        )
        .unwrap()
    }

    #[test]
    fn what_is_withheld_leaves_the_total_unless_totals_are_given() {
        let table = table();
        let mut cohort = Cohort {
            table: &table,
            hidden: &[(0, 1)],
            totals: Totals::OfWhatIsLeft,
            conditions: None,
            groups: None,
        };
        let entries = Entries::new(&cohort).unwrap();
        assert_eq!(
            entries.known_row(0),
            [Known::Present, Known::Withheld, Known::Absent]
        );
        assert_eq!(
            entries.known_row(1),
            [Known::Unknown, Known::Absent, Known::Absent]
        );
        assert_eq!(entries.total(0, None), 1.0);
        assert_eq!(entries.total(0, Some(&[true, false, false])), 0.0);
        assert_eq!(entries.informative_samples(), [0]);
        cohort.totals = Totals::Given(vec![4.0, 0.0]);
        assert_eq!(
            Entries::new(&cohort)
                .unwrap()
                .total(0, Some(&[true, false, false])),
            4.0
        );
        let refused: [&[(u32, u32)]; 5] = [
            &[(0, 2)],
            &[(1, 0)],
            &[(2, 0)],
            &[(0, 1), (0, 0)],
            &[(0, 1), (0, 1)],
        ];
        for hidden in refused {
            cohort.hidden = hidden;
            assert!(Entries::new(&cohort).is_err(), "{hidden:?}");
        }
    }

    #[test]
    fn standardisation_inverts_and_stays_above_the_smallest_observed_value() {
        let standardisation = Standardisation {
            mean: vec![2.0],
            sd: vec![0.5],
            least: vec![0.3],
            is_measured: vec![true],
        };
        assert!((standardisation.inverse(0, standardisation.forward(0, 1.7)) - 1.7).abs() < 1e-12);
        assert_eq!(standardisation.inverse(0, -100.0), 0.3);
    }
}

//! What is known of each entry of a table, and the numbers that the networks see.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
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

/// The entries of a cohort without metadata, in dense row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Entries {
    /// Sample ids.
    pub sample_ids: Vec<String>,
    /// Number of features.
    pub n_taxa: usize,
    /// What is known.
    pub known: Vec<Known>,
    /// Abundance in the unit of the table where `Present`, else 0.
    pub abundance: Vec<f64>,
    /// Given totals.
    pub given_totals: Option<Vec<f64>>,
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

impl Entries {
    /// Entries of a cohort.
    ///
    /// # Errors
    /// Totals of another length than the samples, or a hidden entry that is no positive entry of
    /// the table.
    pub fn new(cohort: &Cohort) -> Result<Self> {
        let table = cohort.table;
        let n_taxa = table.n_features();
        let mut abundance = table.to_dense();
        let mut known: Vec<Known> = abundance
            .iter()
            .map(|x| match x {
                x if x.is_nan() => Known::Unknown,
                x if *x > 0.0 => Known::Present,
                _ => Known::Absent,
            })
            .collect();
        for &(sample, feature) in cohort.hidden {
            let at = sample as usize * n_taxa + feature as usize;
            if feature as usize >= n_taxa || known.get(at) != Some(&Known::Present) {
                return Err(Error::Table(format!(
                    "hidden entry ({sample}, {feature}) is no positive entry of the table"
                )));
            }
            known[at] = Known::Withheld;
        }
        for (x, known) in abundance.iter_mut().zip(&known) {
            if *known != Known::Present {
                *x = 0.0;
            }
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
            sample_ids: table.sample_ids().to_vec(),
            n_taxa,
            known,
            abundance,
            given_totals,
        })
    }

    /// Number of samples.
    pub fn n_samples(&self) -> usize {
        self.sample_ids.len()
    }

    /// What is known of the entries of a sample.
    pub fn known_row(&self, sample: usize) -> &[Known] {
        &self.known[sample * self.n_taxa..(sample + 1) * self.n_taxa]
    }

    /// Abundances of a sample.
    pub fn abundance_row(&self, sample: usize) -> &[f64] {
        &self.abundance[sample * self.n_taxa..(sample + 1) * self.n_taxa]
    }

    /// What 100 percent is for a sample when the entries marked in `hidden` are hidden as well.
    pub fn total(&self, sample: usize, hidden: Option<&[bool]>) -> f64 {
        match (&self.given_totals, hidden) {
            (Some(totals), _) => totals[sample],
            (None, None) => self.abundance_row(sample).iter().sum(),
            (None, Some(hidden)) => self
                .abundance_row(sample)
                .iter()
                .zip(hidden)
                .filter(|(_, hidden)| !**hidden)
                .map(|(x, _)| x)
                .sum(),
        }
    }

    /// Samples with something to learn from: at least one observed abundance.
    pub fn informative_samples(&self) -> Vec<usize> {
        (0..self.n_samples())
            .filter(|sample| {
                self.known_row(*sample).contains(&Known::Present) && self.total(*sample, None) > 0.0
            })
            .collect()
    }

    /// Samples that can be filled: those whose total is known and positive.
    pub fn fillable_samples(&self) -> Vec<usize> {
        (0..self.n_samples())
            .filter(|sample| self.total(*sample, None) > 0.0)
            .collect()
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
            for (taxon, (known, x)) in entries
                .known_row(sample)
                .iter()
                .zip(entries.abundance_row(sample))
                .enumerate()
            {
                if *known == Known::Present {
                    let y = ln1p_percent(*x, total);
                    n[taxon] += 1.0;
                    sum[taxon] += y;
                    square[taxon] += y * y;
                    least[taxon] = least[taxon].min(y);
                }
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
            is_measured: (0..n_taxa)
                .map(|j| {
                    (0..entries.n_samples()).any(|i| entries.known_row(i)[j] != Known::Unknown)
                })
                .collect(),
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
        cohort.hidden = &[(0, 2)];
        assert!(Entries::new(&cohort).is_err());
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

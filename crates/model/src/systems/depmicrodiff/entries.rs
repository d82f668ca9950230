//! What is known of each entry of a table, and the numbers that the networks see.

use super::neighbours::{Around, PassedOver, Rhythm, Timeline, Usual};
use crate::cond::Conditions;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Range;
use suffuse_data::Table;
use suffuse_data::hide::Occasions;
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
    /// Who was sampled when: other samples of the subject inform each sample, and samples of which
    /// nothing was measured can be filled. `None`, and `NaN` for a sample: nothing is known of it.
    pub times: Option<Occasions>,
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
    /// Where the cohort has times.
    timeline: Option<Timeline>,
    /// Number of features.
    pub n_taxa: usize,
}

/// Centre and scale of ln(1+percent) of each taxon where present, beside the offset of the sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standardisation {
    /// Mean of ln(1+percent), less the sample's offset, over the observed non-zeros of a taxon.
    pub mean: Vec<f64>,
    /// Standard deviation of the same.
    pub sd: Vec<f64>,
    /// Smallest observed ln(1+percent): what is present is not filled with less.
    pub least: Vec<f64>,
    /// Says whether any entry of a taxon was measured: of the others nothing can be learned.
    pub is_measured: Vec<bool>,
}

/// Smallest scale of a taxon, in ln(1+percent).
const MIN_SD: f64 = 0.1;
/// Observations that the pooled mean and variance count for, against taxa seen once or twice.
const PRIOR_OBSERVATIONS: f64 = 3.0;
/// Taxa at their mean that a sample's offset counts besides the observed ones.
const PRIOR_OF_OFFSET: f64 = 0.5;
/// Rounds of fitting means and offsets in turn; the means change by less than .01 after five.
const N_ALTERNATIONS: usize = 10;

impl<'a> Entries<'a> {
    /// Entries of a cohort.
    ///
    /// # Errors
    /// Totals or times of another length than the samples, or hidden entries that are not sorted or
    /// no positive entries of the table.
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
        let mut entries = Entries {
            n_taxa: table.n_features(),
            table: Cow::Borrowed(table),
            hidden: cohort.hidden,
            given_totals,
            timeline: None,
        };
        if let Some(times) = &cohort.times {
            entries.timeline = Some(Timeline::new(times, &entries)?);
        }
        Ok(entries)
    }

    /// Entries of a table of which nothing is hidden.
    pub fn of_table(table: Table) -> Entries<'static> {
        Entries {
            n_taxa: table.n_features(),
            table: Cow::Owned(table),
            hidden: &[],
            given_totals: None,
            timeline: None,
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

    /// Number of entries of a sample that are `Present`.
    pub fn n_present(&self, sample: usize) -> usize {
        self.present(sample).count()
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

    /// What 100 percent is for a sample under these flags: what is left in sight, as for
    /// [`Entries::total`]. Where the cohort has times and nothing is left, it is the sample's own total:
    /// its composition is then learned from other samples, which hold none of it.
    ///
    /// - `hidden`: entries that are not in sight
    pub fn hundred_percent(&self, sample: usize, hidden: &[bool]) -> f64 {
        match self.total(sample, Some(hidden)) {
            0.0 if self.timeline.is_some() => self.total(sample, None),
            total => total,
        }
    }

    /// The samples in time, where the cohort has times.
    pub(super) fn timeline(&self) -> Option<&Timeline> {
        self.timeline.as_ref()
    }

    /// Takes the rhythm of a model; without one, the model does not know of times.
    pub(super) fn in_rhythm(mut self, rhythm: Option<&Rhythm>) -> Self {
        match (&mut self.timeline, rhythm) {
            (Some(timeline), Some(rhythm)) => timeline.set_rhythm(rhythm.clone()),
            _ => self.timeline = None,
        }
        self
    }

    /// The samples of the subject around a sample, if there are any.
    pub(super) fn around(&self, sample: usize, passed_over: PassedOver) -> Option<Around<'_>> {
        self.timeline.as_ref()?.around(sample, passed_over)
    }

    /// Says whether nothing of a sample is in sight, but others of its subject are: it can be filled
    /// from those. A sample of which zeros alone were measured is no such one.
    pub(super) fn is_missing_in_time(&self, sample: usize) -> bool {
        if self.given_totals.is_some() || self.present(sample).next().is_some() {
            return false;
        }
        let known = self.known_row(sample);
        let is_open = known.contains(&Known::Withheld) || !known.contains(&Known::Absent);
        is_open && self.around(sample, PassedOver::default()).is_some()
    }

    /// Samples with something to learn from: at least one observed abundance.
    pub fn informative_samples(&self) -> Vec<usize> {
        (0..self.n_samples())
            .filter(|sample| {
                self.present(*sample).next().is_some() && self.total(*sample, None) > 0.0
            })
            .collect()
    }

    /// Says whether a sample can be filled: whether its total is known and positive, or others of its
    /// subject are in sight.
    pub fn is_fillable(&self, sample: usize) -> bool {
        self.total(sample, None) > 0.0 || self.is_missing_in_time(sample)
    }
}

/// Says of each taxon whether any entry was measured.
fn is_measured(cohorts: &[&Entries], n_taxa: usize) -> Vec<bool> {
    let mut n_unknown = vec![0; n_taxa];
    let mut n_samples = 0;
    for entries in cohorts {
        n_samples += entries.n_samples();
        for sample in 0..entries.n_samples() {
            let (columns, values) = entries.table.row(sample);
            for (column, _) in columns.iter().zip(values).filter(|(_, x)| x.is_nan()) {
                n_unknown[*column as usize] += 1;
            }
        }
    }
    n_unknown.iter().map(|n| *n < n_samples).collect()
}

impl Standardisation {
    /// What is usual in the table, beside these shares of samples in which the taxa are present.
    pub(super) fn usual<'a>(&'a self, prevalence: &'a [f64]) -> Usual<'a> {
        Usual {
            value: &self.mean,
            prevalence,
        }
    }

    /// Fits centre and scale on the observed non-zeros, shrunk to the pooled ones.
    ///
    /// The additive model `y ~ mean[taxon] + offset[sample]` is fitted by alternating between the two.
    ///
    /// - `cohorts`: one or more, of the same taxa
    pub fn fit(cohorts: &[&Entries]) -> Self {
        let n_taxa = cohorts.first().map_or(0, |entries| entries.n_taxa);
        let of_cohort = |entries: &&Entries| -> Vec<Vec<(usize, f64)>> {
            (0..entries.n_samples())
                .map(|sample| {
                    let total = Scale(entries.total(sample, None));
                    let log = |(taxon, x)| (taxon, ln1p_percent(x, total));
                    entries.present(sample).map(log).collect()
                })
                .collect()
        };
        let rows: Vec<Vec<(usize, f64)>> = cohorts.iter().flat_map(of_cohort).collect();
        let n_all = rows.iter().map(Vec::len).sum::<usize>() as f64;
        let mut least = vec![f64::INFINITY; n_taxa];
        for &(taxon, y) in rows.iter().flatten() {
            least[taxon] = least[taxon].min(y);
        }
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
            mean: vec![0.0; n_taxa],
            sd: vec![1.0; n_taxa],
            least,
            is_measured: is_measured(cohorts, n_taxa),
        };
        let mut offsets = vec![0.0; rows.len()];
        for _ in 0..N_ALTERNATIONS {
            let (mut n, mut sum, mut square) =
                (vec![0.0; n_taxa], vec![0.0; n_taxa], vec![0.0; n_taxa]);
            for (row, offset) in rows.iter().zip(&offsets) {
                for &(taxon, y) in row {
                    n[taxon] += 1.0;
                    sum[taxon] += y - offset;
                    square[taxon] += (y - offset).powi(2);
                }
            }
            let pooled_mean = sum.iter().sum::<f64>() / n_all.max(1.0);
            let within: f64 = (0..n_taxa)
                .filter(|j| n[*j] > 0.0)
                .map(|j| square[j] - sum[j] * sum[j] / n[j])
                .sum();
            let pooled_variance = match n_all > 0.0 {
                true => (within / n_all).max(MIN_SD * MIN_SD),
                false => 1.0,
            };
            for j in 0..n_taxa {
                let weight = n[j] + PRIOR_OBSERVATIONS;
                let own = match n[j] > 0.0 {
                    true => square[j] - sum[j] * sum[j] / n[j],
                    false => 0.0,
                };
                let variance = (own + PRIOR_OBSERVATIONS * pooled_variance) / weight;
                standardisation.sd[j] = variance.sqrt().max(MIN_SD);
                standardisation.mean[j] = match n[j] >= PRIOR_OBSERVATIONS {
                    true => sum[j] / n[j],
                    false => (sum[j] + PRIOR_OBSERVATIONS * pooled_mean) / weight,
                };
            }
            for (row, offset) in rows.iter().zip(&mut offsets) {
                *offset = standardisation.offset(row.iter().copied());
            }
        }
        standardisation
    }

    /// How far the observed ln(1+percent) of a sample lie above the means of their taxa, shrunk to 0
    /// as if half a taxon at its mean were observed besides.
    pub fn offset(&self, observed: impl Iterator<Item = (usize, f64)>) -> f64 {
        let (mut n, mut sum) = (PRIOR_OF_OFFSET, 0.0);
        for (taxon, y) in observed {
            n += 1.0;
            sum += y - self.mean[taxon];
        }
        sum / n
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
            times: None,
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
    fn an_additive_table_is_taken_apart_into_means_and_offsets() {
        // ln(1+percent) = mean + offset exactly is no composition; the fit is tested on its own terms.
        let standardisation = Standardisation::fit(&[&Entries::of_table(table())]);
        let logs = [25.0_f64.ln_1p(), 75.0_f64.ln_1p()];
        // One sample: its offset is shrunk by half a taxon, the rest is in the means.
        let offset = standardisation.offset([(0, logs[0]), (1, logs[1])].into_iter());
        let left = |j: usize| logs[j] - offset - standardisation.mean[j];
        assert!((left(0) + left(1) - 0.5 * offset).abs() < 1e-12);
        assert_eq!(standardisation.least[..2], logs);
        assert_eq!(standardisation.offset([].into_iter()), 0.0);
    }

    #[test]
    fn a_sample_of_which_nothing_is_left_keeps_its_own_total_only_where_there_are_times() {
        let nan = f64::NAN;
        let rows = [[1.0, 3.0], [nan, nan], [2.0, 6.0], [0.0, 0.0], [0.0, nan]];
        let ids = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
        let table = Table::from_dense(ids("s", 5), ids("t", 2), rows.as_flattened()).unwrap();
        let mut cohort = Cohort {
            table: &table,
            hidden: &[],
            totals: Totals::OfWhatIsLeft,
            conditions: None,
            groups: None,
            times: None,
        };
        let alone = Entries::new(&cohort).unwrap();
        assert_eq!(alone.hundred_percent(0, &[true, false]), 3.0);
        assert_eq!(alone.hundred_percent(0, &[true, true]), 0.0);
        let fillable =
            |entries: &Entries| [0, 1, 2, 3, 4].map(|sample| entries.is_fillable(sample));
        assert_eq!(fillable(&alone), [true, false, true, false, false]);
        cohort.times = Some(Occasions {
            subject: vec![0; 5],
            time: vec![0.0, 1.0, 2.0, 3.0, 4.0],
        });
        let in_time = Entries::new(&cohort).unwrap();
        assert_eq!(in_time.hundred_percent(0, &[true, false]), 3.0);
        assert_eq!(in_time.hundred_percent(0, &[true, true]), 4.0);
        // Nothing was measured of sample 1. Samples 3 and 4 are measured zeros.
        assert_eq!(fillable(&in_time), [true, true, true, false, false]);
        // All that is left of sample 0 is withheld, but known to be there.
        cohort.hidden = &[(0, 0), (0, 1)];
        let withheld = Entries::new(&cohort).unwrap();
        assert_eq!(fillable(&withheld), [true, true, true, false, false]);
        assert!(!withheld.in_rhythm(None).is_fillable(0));
        // A total that is given is known to be 100 percent, so nothing has to be closed.
        cohort.totals = Totals::Given(vec![0.0; 5]);
        assert!(!Entries::new(&cohort).unwrap().is_missing_in_time(1));
    }
}

//! What a report wants to know of a filled table, gathered sample by sample while it is filled.

use crate::impute::{Completed, CompletedSample, FilledEntry};
use rand::seq::index::sample as draw;
use suffuse_data::Table;
use suffuse_data::seeded::seeded;
use suffuse_data::transform::Scale;
use suffuse_data::transform::percent::ln1p_percent;

/// Samples in the ordination at most.
const MAX_SAMPLES: usize = 1000;
/// Samples times samples times features of the ordination at most: a few seconds of one core.
const MAX_WORK: f64 = 5e8;

/// Counts per feature, and the rows of the samples that are drawn into the ordination.
#[derive(Debug, Clone, PartialEq)]
pub struct Gathered {
    /// Total of each sample before filling.
    totals: Vec<f64>,
    /// Samples with a total that are in the ordination, rising.
    pub(super) drawn: Vec<usize>,
    /// Their entries after filling, as far as they came by; `NaN` where not measured.
    pub(super) after: Vec<(usize, Vec<f64>)>,
    /// Entries that were filled with 0: not measured, and judged absent.
    pub(super) n_absent: usize,
    /// Filled entries of each feature.
    pub(super) n_filled: Vec<usize>,
    /// Per feature: sum of the widths of the 90 % intervals of entries filled with more than 0,
    /// `ln(1 + percent)`.
    width: Vec<f64>,
    /// Per feature: such entries with an interval.
    n_width: Vec<usize>,
}

impl Gathered {
    /// Nothing yet of this table; the samples of the ordination are drawn here.
    pub fn new(table: &Table, seed: u64) -> Gathered {
        let totals = table.totals();
        let filled: Vec<usize> = (0..totals.len()).filter(|s| totals[*s] > 0.0).collect();
        let affordable = (MAX_WORK / table.n_features().max(1) as f64).sqrt() as usize;
        let n = filled.len().min(MAX_SAMPLES).min(affordable.max(2));
        let mut rng = seeded(seed, "report: samples of the ordination");
        let mut drawn: Vec<usize> = draw(&mut rng, filled.len(), n)
            .into_iter()
            .map(|at| filled[at])
            .collect();
        drawn.sort_unstable();
        let zeros = vec![0; table.n_features()];
        Gathered {
            totals,
            drawn,
            after: Vec::new(),
            n_absent: 0,
            n_filled: zeros.clone(),
            width: vec![0.0; table.n_features()],
            n_width: zeros,
        }
    }

    /// Takes in a completed sample.
    pub(crate) fn take(&mut self, sample: &CompletedSample) {
        for entry in sample.filled() {
            self.count(&entry);
        }
        if self.drawn.binary_search(&sample.sample).is_ok() {
            self.after.push((sample.sample, sample.value.clone()));
        }
    }

    /// Takes in a table that stands in memory.
    pub fn take_all(&mut self, completed: &Completed) {
        for entry in &completed.filled {
            self.count(entry);
        }
        for sample in &self.drawn {
            self.after
                .push((*sample, completed.table.dense_row(*sample)));
        }
    }

    fn count(&mut self, entry: &FilledEntry) {
        self.n_filled[entry.feature] += 1;
        if entry.value == 0.0 {
            self.n_absent += 1;
            return;
        }
        let scale = Scale(self.totals[entry.sample]);
        let [low, high] = [entry.lower, entry.upper].map(|end| ln1p_percent(end, scale));
        if (high - low).is_finite() {
            self.width[entry.feature] += high - low;
            self.n_width[entry.feature] += 1;
        }
    }

    /// Mean width of the 90 % intervals of a feature's entries filled with more than 0, `ln(1 + percent)`; `NaN` without one.
    pub(super) fn mean_width(&self, feature: usize) -> f64 {
        self.width[feature] / self.n_width[feature] as f64
    }
}

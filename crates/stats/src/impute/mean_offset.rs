//! Taxon mean plus sample offset, the additive model that the other imputers start from.

use crate::Incomplete;

/// `y[sample, taxon] ~ mean[taxon] + offset[sample]`, fitted on observed (positive) entries.
///
/// The mean is that of the taxon's observed values. The offset is the mean of
/// `value - mean[taxon]` over the sample's observed entries.
///
/// A taxon with nothing observed gets the mean of all observed entries: its own level is unknown,
/// and that value is the best constant for an entry of which only its presence is known. A sample
/// with nothing observed gets offset 0.
#[derive(Debug, Clone, PartialEq)]
pub struct MeanOffset {
    means: Vec<f64>,
    offsets: Vec<f64>,
}

impl MeanOffset {
    /// Fits means and offsets; both are 0 when nothing is observed.
    pub fn fit(table: &Incomplete) -> Self {
        let mut taxa = vec![Mean::default(); table.n_taxa()];
        let mut all = Mean::default();
        for (_, taxon, value) in table.observed() {
            taxa[taxon].push(value);
            all.push(value);
        }
        let overall = all.value().unwrap_or(0.0);
        let means: Vec<f64> = taxa
            .iter()
            .map(|taxon| taxon.value().unwrap_or(overall))
            .collect();
        let mut samples = vec![Mean::default(); table.n_samples()];
        for (sample, taxon, value) in table.observed() {
            samples[sample].push(value - means[taxon]);
        }
        let offsets = samples
            .iter()
            .map(|sample| sample.value().unwrap_or(0.0))
            .collect();
        MeanOffset { means, offsets }
    }

    /// Mean of a taxon, in the unit of the table.
    pub fn taxon_mean(&self, taxon: usize) -> f64 {
        self.means[taxon]
    }

    /// Offset of a sample, in the unit of the table.
    pub fn sample_offset(&self, sample: usize) -> f64 {
        self.offsets[sample]
    }

    /// Mean plus offset; may be negative.
    pub fn predict(&self, sample: usize, taxon: usize) -> f64 {
        self.means[taxon] + self.offsets[sample]
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    n: usize,
}

impl Mean {
    fn push(&mut self, value: f64) {
        self.sum += value;
        self.n += 1;
    }

    fn value(self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / self.n as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn means_and_offsets_are_those_of_a_hand_calculation() {
        let table = Incomplete::from_values(array![
            [1.0, 4.0, f64::NAN],
            [3.0, 0.0, f64::NAN],
            [0.0, 0.0, 0.0],
        ])
        .unwrap();
        let model = MeanOffset::fit(&table);
        // Taxon means 2, 4, and (1 + 4 + 3) / 3 for the taxon that is never observed.
        assert_eq!(
            [0, 1, 2].map(|taxon| model.taxon_mean(taxon)),
            [2.0, 4.0, 8.0 / 3.0]
        );
        // Offsets ((1 - 2) + (4 - 4)) / 2 and 3 - 2; none for the empty sample.
        assert_eq!(
            [0, 1, 2].map(|sample| model.sample_offset(sample)),
            [-0.5, 1.0, 0.0]
        );
        assert_eq!(model.predict(1, 2), 8.0 / 3.0 + 1.0);
    }
}

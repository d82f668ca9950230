//! Observed entries as deviations from their taxon's mean, listed both ways.

use super::MeanOffset;
use crate::Incomplete;

/// `deviation = value - mean[taxon]` of the observed entries.
///
/// A method that learns to predict taxon `j` from the rest of a sample must see that rest as it is
/// when `j` is hidden: the sample's offset is then the mean deviation of the *other* taxa.
pub(super) struct Deviations {
    /// `(taxon, deviation)` per sample, by rising taxon.
    pub(super) by_sample: Vec<Vec<(usize, f64)>>,
    /// `(sample, deviation)` per taxon, by rising sample.
    pub(super) by_taxon: Vec<Vec<(usize, f64)>>,
    sums: Vec<f64>, // of the deviations of a sample
}

impl Deviations {
    pub(super) fn new(table: &Incomplete, base: &MeanOffset) -> Self {
        let mut by_sample = vec![Vec::new(); table.n_samples()];
        let mut by_taxon = vec![Vec::new(); table.n_taxa()];
        let mut sums = vec![0.0; table.n_samples()];
        for (sample, taxon, value) in table.observed() {
            let deviation = value - base.taxon_mean(taxon);
            by_sample[sample].push((taxon, deviation));
            by_taxon[taxon].push((sample, deviation));
            sums[sample] += deviation;
        }
        Deviations {
            by_sample,
            by_taxon,
            sums,
        }
    }

    /// Offset of a sample without one of its observed entries, 0 when nothing else is observed.
    pub(super) fn offset_without(&self, sample: usize, deviation: f64) -> f64 {
        match self.by_sample[sample].len() {
            0 | 1 => 0.0,
            n => (self.sums[sample] - deviation) / (n - 1) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn an_offset_without_an_entry_is_that_of_the_sample_with_it_hidden() {
        let values = array![[1.0, 4.0, 2.5], [3.0, 0.0, 2.0], [5.0, 0.0, 0.0]];
        let table = Incomplete::from_values(values).unwrap();
        let deviations = Deviations::new(&table, &MeanOffset::fit(&table));
        // Taxon means 3, 4, 2.25: the first sample deviates by -2, 0 and 0.25.
        assert_eq!(deviations.by_sample[0], [(0, -2.0), (1, 0.0), (2, 0.25)]);
        assert_eq!(deviations.by_taxon[2], [(0, 0.25), (1, -0.25)]);
        assert_eq!(deviations.offset_without(0, -2.0), 0.125);
        assert_eq!(deviations.offset_without(2, 2.0), 0.0);
    }
}

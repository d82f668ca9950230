//! k nearest neighbours: a hidden entry becomes the mean of the taxon in the nearest samples that have it.

use super::MeanOffset;
use crate::{EntryState, Incomplete};
use ndarray::Array2;
use rayon::prelude::*;

/// Fills each hidden entry with the mean over its neighbours.
///
/// The distance of two samples is the mean squared difference over the taxa that are hidden in
/// neither, zeros included: shared absence is evidence of likeness too. Donors for an entry are
/// the samples in which the taxon is observed and which share at least one known taxon with the
/// sample; the `n_neighbours` nearest are averaged, ties going to the earlier row (as in scikit-learn's
/// `KNNImputer`, except that zeros are no donors). With no donor, taxon mean plus offset is taken.
/// Fewer donors are all used.
///
/// Cost `O(n_samples^2 * n_taxa)`, one distance vector per thread in memory.
pub(super) fn impute(
    table: &Incomplete,
    model: &MeanOffset,
    smallest: f64,
    n_neighbours: usize,
) -> Array2<f64> {
    let (n_samples, n_taxa) = table.values.dim();
    let mut completed = table.values.clone();
    if n_taxa == 0 {
        return completed;
    }
    let known = table
        .state()
        .mapv(|state| f64::from(u8::from(state != EntryState::Hidden)));
    let values = table
        .values
        .mapv(|value| if value.is_nan() { 0.0 } else { value });
    let (known, values) = (known.as_standard_layout(), values.as_standard_layout());
    let known = known.as_slice().expect("standard layout is contiguous");
    let values = values.as_slice().expect("standard layout is contiguous");
    let row = |sample: usize| {
        let range = sample * n_taxa..(sample + 1) * n_taxa;
        Row {
            values: &values[range.clone()],
            known: &known[range],
        }
    };

    let mut hidden_taxa = vec![Vec::new(); n_samples];
    for (sample, taxon) in table.hidden() {
        hidden_taxa[sample].push(taxon);
    }
    let filled: Vec<Vec<f64>> = hidden_taxa
        .par_iter()
        .enumerate()
        .map(|(sample, taxa)| {
            if taxa.is_empty() {
                return Vec::new();
            }
            let own = row(sample);
            let mut nearest: Vec<(f64, usize)> = (0..n_samples)
                .filter(|&other| other != sample)
                .filter_map(|other| own.distance(row(other)).map(|distance| (distance, other)))
                .collect();
            // The row number as second key makes the order total, so ties do not depend on the sort.
            nearest.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            taxa.iter()
                .map(|&taxon| {
                    let donors: Vec<f64> = nearest
                        .iter()
                        .filter(|(_, other)| table.state()[[*other, taxon]] == EntryState::Observed)
                        .take(n_neighbours)
                        .map(|(_, other)| table.values[[*other, taxon]])
                        .collect();
                    if donors.is_empty() {
                        model.predict(sample, taxon).max(smallest)
                    } else {
                        donors.iter().sum::<f64>() / donors.len() as f64
                    }
                })
                .collect()
        })
        .collect();
    for (sample, (taxa, row)) in hidden_taxa.iter().zip(filled).enumerate() {
        for (&taxon, value) in taxa.iter().zip(row) {
            completed[[sample, taxon]] = value;
        }
    }
    completed
}

/// One sample: 0 and `known` 0 where hidden.
#[derive(Clone, Copy)]
struct Row<'a> {
    values: &'a [f64],
    known: &'a [f64],
}

impl Row<'_> {
    /// Mean squared difference over the taxa known in both, `None` when there are none.
    ///
    /// Summed in eight lanes, in an order that does not depend on the machine: a single running
    /// sum keeps the compiler from using vector instructions.
    fn distance(self, other: Row<'_>) -> Option<f64> {
        const LANES: usize = 8;
        let mut squares = [0.0; LANES];
        let mut n_shared = [0.0; LANES];
        let mut add = |start: usize, width: usize| {
            let end = start + width;
            let (a, known_a) = (&self.values[start..end], &self.known[start..end]);
            let (b, known_b) = (&other.values[start..end], &other.known[start..end]);
            for lane in 0..width {
                // Hidden values are stored as 0, so this is 0 unless both are known.
                let difference = a[lane] * known_b[lane] - b[lane] * known_a[lane];
                squares[lane] += difference * difference;
                n_shared[lane] += known_a[lane] * known_b[lane];
            }
        };
        let whole = self.values.len() / LANES * LANES;
        (0..whole)
            .step_by(LANES)
            .for_each(|start| add(start, LANES));
        add(whole, self.values.len() - whole);
        let n_shared: f64 = n_shared.iter().sum();
        (n_shared > 0.0).then(|| squares.iter().sum::<f64>() / n_shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_far_sample_does_not_count_once_ten_nearer_ones_have_the_taxon() {
        // Row 0 lacks taxon 1. Rows 1..=10 equal it in taxon 0 and hold 2; row 11 is far and holds 50.
        let values = Array2::from_shape_fn((12, 2), |(i, j)| match (i, j) {
            (0, 1) => f64::NAN,
            (11, 0) => 9.0,
            (11, 1) => 50.0,
            (_, 0) => 1.0,
            _ => 2.0,
        });
        let table = Incomplete::from_values(values).unwrap();
        let completed = impute(&table, &MeanOffset::fit(&table), 1.0, 10);
        assert_eq!(completed[[0, 1]], 2.0);
    }

    #[test]
    fn one_and_two_threads_give_the_same_bits() {
        let values = Array2::from_shape_fn((40, 7), |(i, j)| match (i * 7 + j * 3) % 11 {
            0 => f64::NAN,
            1..=4 => 0.0,
            k => k as f64 / 3.0 + i as f64 * 0.01,
        });
        let table = Incomplete::from_values(values).unwrap();
        let model = MeanOffset::fit(&table);
        let with = |n: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(n)
                .build()
                .unwrap();
            pool.install(|| impute(&table, &model, 0.1, 10))
        };
        assert_eq!(with(1), with(2));
    }
}

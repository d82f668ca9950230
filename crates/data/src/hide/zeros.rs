//! True zeros to score beside hidden entries: can a method tell the two apart?

use super::{Entry, draw, true_values};
use crate::Table;
use crate::seeded::seeded;

/// Draws as many true zeros as non-zero entries are hidden, or all of them if there are not as many:
/// every zero of the table has the same chance, as in the table that a user has.
///
/// Entries not measured, hidden entries (the zeros of a whole hidden sample are scored as they are) and
/// samples outside of `among` are left out.
///
/// `table` is the one that the entries were hidden in, with its true values; numbers in `among` that
/// it lacks are passed over. The result rises by sample, then feature.
///
/// # Panics
/// If a hidden entry lies outside of the table.
pub fn zeros_to_score(
    table: &Table,
    hidden: &[Entry],
    seed: u64,
    among: Option<&[usize]>,
) -> Vec<Entry> {
    let mut is_among = vec![among.is_none(); table.n_samples()];
    for sample in among.unwrap_or_default() {
        if let Some(slot) = is_among.get_mut(*sample) {
            *slot = true;
        }
    }
    let mut n_wanted = 0;
    let mut hidden_in = vec![Vec::new(); table.n_samples()];
    for (entry, truth) in hidden.iter().zip(true_values(table, hidden)) {
        let sample = entry.sample as usize;
        n_wanted += usize::from(is_among[sample] && truth > 0.0);
        hidden_in[sample].push(entry.feature);
    }
    let samples = (0..table.n_samples()).filter(|sample| is_among[*sample]);
    let mut zeros: Vec<Entry> = samples
        .flat_map(|sample| zeros_of(table, sample, &mut hidden_in[sample]))
        .collect();
    draw(&mut zeros, n_wanted, seeded(seed, "hide/zeros"));
    zeros.sort_unstable();
    zeros
}

/// Measured zeros of a sample that are not hidden, rising.
fn zeros_of(table: &Table, sample: usize, hidden: &mut [u32]) -> Vec<Entry> {
    hidden.sort_unstable();
    let (columns, _) = table.row(sample);
    (0..table.n_features() as u32)
        .filter(|feature| {
            columns.binary_search(feature).is_err() && hidden.binary_search(feature).is_err()
        })
        .map(|feature| Entry {
            sample: sample as u32,
            feature,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hide::hide_nonzero;

    fn table(dense: &[f64], n_samples: usize) -> Table {
        let ids = |p: &str, n: usize| (0..n).map(|i| format!("{p}{i}")).collect::<Vec<_>>();
        let n_features = dense.len() / n_samples;
        Table::from_dense(ids("s", n_samples), ids("t", n_features), dense).unwrap()
    }

    #[test]
    fn as_many_zeros_are_drawn_as_entries_are_hidden_and_every_zero_has_the_same_chance() {
        let dense: Vec<f64> = (0..400).map(|i| f64::from(i % 3 / 2)).collect(); // two thirds zero
        let table = table(&dense, 20);
        let hidden = hide_nonzero(&table, 0.4, 5, None).unwrap().entries;
        let zeros = zeros_to_score(&table, &hidden, 5, None);
        assert_eq!(zeros.len(), hidden.len());
        assert!(zeros.is_sorted_by(|a, b| a < b));
        let is_zero = |value: &f64| *value == 0.0;
        assert!(true_values(&table, &zeros).iter().all(is_zero));
        assert_eq!(zeros, zeros_to_score(&table, &hidden, 5, None));
        assert_ne!(zeros, zeros_to_score(&table, &hidden, 6, None));
        // Over many seeds each sample gives its share of the zeros, however many it has hidden.
        let mut n_of = [0_usize; 20];
        for seed in 0..500 {
            for zero in zeros_to_score(&table, &hidden, seed, None) {
                n_of[zero.sample as usize] += 1;
            }
        }
        let all: usize = n_of.iter().sum();
        let n_zeros = dense.iter().filter(|value| is_zero(value)).count() as f64;
        for (sample, n) in n_of.into_iter().enumerate() {
            let own = dense[sample * 20..(sample + 1) * 20].iter();
            let expected = all as f64 * own.filter(|value| is_zero(value)).count() as f64 / n_zeros;
            assert!(
                (n as f64 - expected).abs() < 5.0 * expected.sqrt(),
                "{sample}: {n} {expected}"
            );
        }
    }

    #[test]
    fn hidden_entries_unmeasured_ones_and_other_samples_give_no_zeros() {
        let nan = f64::NAN;
        let table = table(
            &[1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, nan],
            3,
        );
        let entry = |sample, feature| Entry { sample, feature };
        let hidden = [0, 1, 2].map(|feature| entry(0, feature));
        let hidden = [&hidden[..], &[entry(1, 0), entry(1, 1)]].concat();
        // Four non-zeros are hidden; three zeros are left of the first two samples, six in all.
        let zeros = zeros_to_score(&table, &hidden, 1, Some(&[0, 1, 7]));
        assert_eq!(zeros, [entry(0, 3), entry(1, 2), entry(1, 3)]);
        let zeros = zeros_to_score(&table, &hidden, 1, None);
        assert_eq!(zeros.len(), 4);
        let is_open = |zero: &Entry| *zero != entry(1, 1) && *zero != entry(2, 3);
        assert!(zeros.iter().all(is_open));
    }
}

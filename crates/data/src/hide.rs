//! Hiding entries whose value is known, to score what a method puts in their place.
//!
//! A [`Mask`] says what is hidden, in a line of text: `nonzero:0.1` is a tenth of the non-zero
//! entries, `taxon:5+nonzero:0.1` five whole taxa and then a tenth of the non-zero entries that are
//! left. Applied to a table it gives a [`Masked`]: what a method may see, and what is withheld.

#[cfg(test)]
mod example;
mod grammar;
mod occasions;
mod parts;
mod thin;
mod zeros;

pub use grammar::{HowMany, Mask, Part, Which};
pub use occasions::Occasions;
pub use zeros::zeros_to_score;

use crate::seeded::seeded;
use crate::{Csr, Error, Result, Table};
use parts::Progress;
use rand::RngExt;
use rand_chacha::ChaCha12Rng;
use serde::{Deserialize, Serialize};

/// The place of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(u32, u32)", into = "(u32, u32)")]
pub struct Entry {
    /// Row.
    pub sample: u32,
    /// Column.
    pub feature: u32,
}

/// Entries that a mask hid, and how to hide them again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hidden {
    /// What was asked for.
    pub mask: Mask,
    /// Seed of the draw.
    pub seed: u64,
    /// Samples of the table.
    pub n_samples: usize,
    /// Features of the table.
    pub n_features: usize,
    /// Rising by sample, then feature; none occurs twice.
    pub entries: Vec<Entry>,
}

/// What stands in a table where an entry was hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HiddenAs {
    /// `NaN`: the method can tell that it is hidden.
    NotMeasured,
    /// 0: the method cannot.
    Zero,
}

/// How a mask is applied.
#[derive(Debug, Clone, Copy)]
pub struct MaskOptions<'a> {
    /// Seed of all draws.
    pub seed: u64,
    /// Samples in which something may be hidden; `None` is all.
    pub among: Option<&'a [usize]>,
    /// What stands where an entry was hidden.
    pub hidden_as: HiddenAs,
    /// Subject and time of each sample, which `time:` needs.
    pub occasions: Option<&'a Occasions>,
}

/// A table under a mask: what a method may see of it, and what is withheld.
///
/// The truth of an entry is its value in the table that the mask was applied to: see
/// [`true_values`].
#[derive(Debug, Clone, PartialEq)]
pub struct Masked {
    /// What was asked for.
    pub mask: Mask,
    /// Seed of the draws.
    pub seed: u64,
    /// What a method may see. Layers and `obsm` are left behind, since they may tell.
    pub table: Table,
    /// Entries whose value is withheld, rising by sample, then feature; none occurs twice.
    ///
    /// Of whole taxa, samples and time points these are all measured entries, zeros included.
    /// Counts that were thinned down to nothing stand here as well: they are zeros in the table
    /// however entries are hidden, as they would be in a real one.
    pub hidden: Vec<Entry>,
    /// Entries that are seen with a smaller count than the true one, rising; none of them hidden.
    pub thinned: Vec<Entry>,
}

impl Mask {
    /// Hides part by part, from left to right; an entry that is hidden is left to no later part.
    ///
    /// # Errors
    /// A part that finds nothing to hide or too few things to draw from, a name that the table
    /// lacks, a sample out of range, `thin:` on values that are not counts, `time:` without
    /// [`Occasions`].
    pub fn apply(&self, table: &Table, options: &MaskOptions) -> Result<Masked> {
        let mut progress = Progress::new(table, options)?;
        for (position, part) in self.parts().iter().enumerate() {
            let is_same =
                |other: &&Part| std::mem::discriminant(*other) == std::mem::discriminant(part);
            let n_before = self.parts()[..position].iter().filter(is_same).count();
            progress.hide(part, n_before).map_err(|error| match error {
                Error::Invalid(problem) => Error::Invalid(format!("mask {part}: {problem}")),
                other => other,
            })?;
        }
        progress.finish(self)
    }
}

/// The values of these entries in their order: zero where nothing is stored, `NaN` where nothing
/// was measured.
pub fn true_values(table: &Table, entries: &[Entry]) -> Vec<f64> {
    let value = |entry: &Entry| table.get(entry.sample as usize, entry.feature as usize);
    entries.iter().map(value).collect()
}

/// Draws `round(fraction * n)` of the `n` non-zero measured entries, uniformly and without
/// replacement; `among` limits them to these samples.
///
/// The draw depends on the seed and on the table's entries in row order, not on how it is stored.
///
/// # Errors
/// A fraction that is not above 0 and at most 1, a sample out of range, or no non-zero entry.
pub fn hide_nonzero(
    table: &Table,
    fraction: f64,
    seed: u64,
    among: Option<&[usize]>,
) -> Result<Hidden> {
    let is_among = samples_among(table, among)?;
    let mut candidates = Vec::new();
    for sample in (0..table.n_samples()).filter(|sample| is_among[*sample]) {
        let (columns, values) = table.row(sample);
        let nonzero = columns
            .iter()
            .zip(values)
            .filter(|(_, value)| **value > 0.0);
        candidates.extend(nonzero.map(|(feature, _)| Entry {
            sample: sample as u32,
            feature: *feature,
        }));
    }
    let mask = Mask::new(vec![Part::Nonzero { fraction }])?;
    if candidates.is_empty() {
        return Err(Error::Invalid(
            "nothing to hide: no entry above zero among the chosen samples".to_string(),
        ));
    }
    let n_hidden = (fraction * candidates.len() as f64).round() as usize;
    draw(&mut candidates, n_hidden, seeded(seed, "hide/nonzero"));
    Ok(Hidden {
        mask,
        seed,
        n_samples: table.n_samples(),
        n_features: table.n_features(),
        entries: candidates,
    })
}

/// Keeps `n` of the candidates, drawn uniformly and without replacement, in rising order.
fn draw<T: Ord>(candidates: &mut Vec<T>, n: usize, mut generator: ChaCha12Rng) {
    // The first n steps of a Fisher-Yates shuffle are a uniform draw.
    for position in 0..n.min(candidates.len()) {
        let other = generator.random_range(position..candidates.len());
        candidates.swap(position, other);
    }
    candidates.truncate(n);
    candidates.sort_unstable();
}

/// Says of each sample whether something may be hidden in it.
fn samples_among(table: &Table, among: Option<&[usize]>) -> Result<Vec<bool>> {
    let n_samples = table.n_samples();
    let mut is_among = vec![among.is_none(); n_samples];
    for sample in among.unwrap_or_default() {
        let slot = is_among.get_mut(*sample).ok_or_else(|| {
            Error::Invalid(format!(
                "cannot hide in sample {sample} of a table of {n_samples} samples"
            ))
        })?;
        *slot = true;
    }
    Ok(is_among)
}

impl Hidden {
    /// The true values of the hidden entries, in their order.
    ///
    /// # Errors
    /// A table of another shape than the one that the entries were drawn from.
    pub fn truth(&self, table: &Table) -> Result<Vec<f64>> {
        self.check(table)?;
        Ok(true_values(table, &self.entries))
    }

    /// The table without the hidden values. Layers and `obsm` are left behind, since they may tell.
    ///
    /// # Errors
    /// A table of another shape than the one that the entries were drawn from.
    pub fn apply(&self, table: &Table, hidden_as: HiddenAs) -> Result<Table> {
        self.check(table)?;
        let mut csr = Csr {
            indptr: vec![0],
            ..Csr::default()
        };
        let mut left = &self.entries[..];
        for sample in 0..table.n_samples() {
            let n_here = left.partition_point(|entry| entry.sample as usize <= sample);
            let (here, rest) = left.split_at(n_here);
            left = rest;
            let is_hidden =
                |feature: u32| here.binary_search_by_key(&feature, |e| e.feature).is_ok();
            let (columns, values) = table.row(sample);
            let kept = columns
                .iter()
                .zip(values)
                .filter(|(feature, _)| !is_hidden(**feature));
            let mut row: Vec<(u32, f64)> =
                kept.map(|(feature, value)| (*feature, *value)).collect();
            if hidden_as == HiddenAs::NotMeasured {
                row.extend(here.iter().map(|entry| (entry.feature, f64::NAN)));
                row.sort_unstable_by_key(|(feature, _)| *feature);
            }
            csr.indices.extend(row.iter().map(|(feature, _)| *feature));
            csr.values.extend(row.iter().map(|(_, value)| *value));
            csr.indptr.push(csr.indices.len());
        }
        table.with_entries(csr)
    }

    /// Checks what serde cannot: entries inside the table's shape, rising, none twice.
    fn check(&self, table: &Table) -> Result<()> {
        let shape = (table.n_samples(), table.n_features());
        if shape != (self.n_samples, self.n_features) {
            return Err(Error::Invalid(format!(
                "entries were hidden in a table of {} x {}, this one is {} x {}",
                self.n_samples, self.n_features, shape.0, shape.1
            )));
        }
        let is_inside =
            |entry: &Entry| (entry.sample as usize) < shape.0 && (entry.feature as usize) < shape.1;
        if !self.entries.iter().all(is_inside) || !self.entries.is_sorted_by(|a, b| a < b) {
            return Err(Error::Invalid(
                "hidden entries must lie in the table, rise, and occur once".to_string(),
            ));
        }
        Ok(())
    }
}

impl From<(u32, u32)> for Entry {
    fn from((sample, feature): (u32, u32)) -> Entry {
        Entry { sample, feature }
    }
}

impl From<Entry> for (u32, u32) {
    fn from(entry: Entry) -> (u32, u32) {
        (entry.sample, entry.feature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(dense: &[f64], n_samples: usize) -> Table {
        let ids = |p: &str, n: usize| (0..n).map(|i| format!("{p}{i}")).collect::<Vec<_>>();
        Table::from_dense(
            ids("s", n_samples),
            ids("t", dense.len() / n_samples),
            dense,
        )
        .unwrap()
    }

    /// 20 x 10 with a zero in every third entry and one `NaN`.
    fn example() -> Table {
        let mut dense: Vec<f64> = (0..200).map(|i| f64::from(i % 3)).collect();
        dense[1] = f64::NAN;
        table(&dense, 20)
    }

    #[test]
    fn the_exact_count_of_non_zero_measured_entries_is_hidden() {
        let t = example();
        // 200 entries, 67 zeros, 1 NaN: 132 candidates, a tenth is 13.2.
        let hidden = hide_nonzero(&t, 0.1, 7, None).unwrap();
        assert_eq!(hidden.entries.len(), 13);
        assert!(hidden.entries.is_sorted_by(|a, b| a < b));
        assert!(hidden.truth(&t).unwrap().iter().all(|value| *value > 0.0));
        assert_eq!(hidden, hide_nonzero(&t, 0.1, 7, None).unwrap());
        assert_ne!(
            hidden.entries,
            hide_nonzero(&t, 0.1, 8, None).unwrap().entries
        );
    }

    #[test]
    fn hiding_among_some_samples_touches_no_other() {
        let hidden = hide_nonzero(&example(), 1.0, 7, Some(&[3, 5])).unwrap();
        assert!(
            hidden
                .entries
                .iter()
                .all(|e| e.sample == 3 || e.sample == 5)
        );
        assert_eq!(
            hidden.entries.len(),
            13,
            "6 of row 3 (30..=39) and 7 of row 5 (50..=59) by hand"
        );
        assert!(hide_nonzero(&example(), 0.5, 7, Some(&[99])).is_err());
    }

    #[test]
    fn every_entry_is_hidden_about_equally_often() {
        let t = example();
        let mut n_times = vec![0u32; 200];
        for seed in 0..2000 {
            for e in hide_nonzero(&t, 0.25, seed, None).unwrap().entries {
                n_times[e.sample as usize * 10 + e.feature as usize] += 1;
            }
        }
        // Binomial(2000, 33 / 132): mean 500, sd 19.4; 5 sd either side.
        assert!(
            n_times
                .iter()
                .filter(|n| **n > 0)
                .all(|n| (403..=597).contains(n))
        );
        assert_eq!(n_times.iter().filter(|n| **n > 0).count(), 132);
    }

    // Printed by the version of this function that the first results were made with.
    #[test]
    fn the_draws_of_a_seed_never_change() {
        let places = |hidden: Hidden| -> Vec<(u32, u32)> {
            hidden.entries.into_iter().map(Into::into).collect()
        };
        assert_eq!(
            places(hide_nonzero(&example(), 0.1, 7, None).unwrap()),
            [
                (3, 4),
                (4, 7),
                (7, 1),
                (8, 6),
                (8, 9),
                (12, 4),
                (12, 7),
                (14, 6),
                (15, 5),
                (15, 8),
                (16, 4),
                (17, 5),
                (19, 6)
            ]
        );
        assert_eq!(
            places(hide_nonzero(&example(), 0.5, 3, Some(&[2, 4])).unwrap()),
            [(2, 3), (2, 5), (2, 6), (2, 9), (4, 3), (4, 7), (4, 9)]
        );
    }

    #[test]
    fn json_gives_the_same_list_and_a_tampered_one_is_refused() {
        let hidden = hide_nonzero(&example(), 0.1, u64::MAX, None).unwrap();
        let text = serde_json::to_string(&hidden).unwrap();
        assert!(text.contains("\"mask\":\"nonzero:0.1\""), "{text}");
        let mut back: Hidden = serde_json::from_str(&text).unwrap();
        assert_eq!(back, hidden);
        back.entries.push(Entry {
            sample: 900,
            feature: 0,
        });
        assert!(back.apply(&example(), HiddenAs::Zero).is_err());
        assert!(hidden.truth(&table(&[1.0], 1)).is_err());
        assert!(serde_json::from_str::<Mask>("\"nonzero:7\"").is_err());
    }

    proptest! {
        #[test]
        fn applying_changes_the_hidden_entries_and_no_other(
            dense in proptest::collection::vec(prop_oneof![Just(0.0), Just(f64::NAN), 0.1..1e6], 30),
            fraction in 0.01..1.0,
            seed in any::<u64>(),
        ) {
            prop_assume!(dense.iter().any(|value| *value > 0.0));
            let t = table(&dense, 5);
            let hidden = hide_nonzero(&t, fraction, seed, None).unwrap();
            for hidden_as in [HiddenAs::NotMeasured, HiddenAs::Zero] {
                let after = hidden.apply(&t, hidden_as).unwrap().to_dense();
                for (at, (before, after)) in dense.iter().zip(after).enumerate() {
                    let entry = Entry { sample: at as u32 / 6, feature: at as u32 % 6 };
                    match (hidden.entries.contains(&entry), hidden_as) {
                        (true, HiddenAs::NotMeasured) => prop_assert!(after.is_nan()),
                        (true, HiddenAs::Zero) => prop_assert_eq!(after, 0.0),
                        (false, _) => prop_assert_eq!(before.to_bits(), after.to_bits()),
                    }
                }
            }
        }
    }
}

//! Hiding entries whose value is known, to score what a method puts in their place.
//!
//! A [`Mask`] says what is hidden, in one word of text: `nonzero:0.1` is a tenth of the non-zero
//! entries, uniformly. Applied to a table and a seed it gives a [`Hidden`] list of entries.

use crate::seeded::seeded;
use crate::{Csr, Error, Result, Table};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What is hidden. Parsed from and shown as text: `nonzero:0.1`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Mask {
    /// Non-zero measured entries, uniformly over the whole table: `nonzero:FRACTION`.
    Nonzero {
        /// Fraction of the entries, above 0 and at most 1.
        fraction: f64,
    },
}

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

impl Mask {
    /// Draws the entries; `among` limits them to these samples.
    ///
    /// # Errors
    /// As [`hide_nonzero`].
    pub fn hide(&self, table: &Table, seed: u64, among: Option<&[usize]>) -> Result<Hidden> {
        match self {
            Mask::Nonzero { fraction } => hide_nonzero(table, *fraction, seed, among),
        }
    }
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
    check_fraction(fraction).map_err(Error::Invalid)?;
    let mut is_among = vec![among.is_none(); table.n_samples()];
    for sample in among.unwrap_or_default() {
        let n = table.n_samples();
        let slot = is_among.get_mut(*sample).ok_or_else(|| {
            Error::Invalid(format!(
                "cannot hide in sample {sample} of a table of {n} samples"
            ))
        })?;
        *slot = true;
    }
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
    if candidates.is_empty() {
        return Err(Error::Invalid(
            "nothing to hide: no entry above zero among the chosen samples".to_string(),
        ));
    }
    let n_hidden = (fraction * candidates.len() as f64).round() as usize;
    let mut generator = seeded(seed, "hide/nonzero");
    // The first n_hidden steps of a Fisher-Yates shuffle are a uniform draw.
    for position in 0..n_hidden {
        let other = generator.random_range(position..candidates.len());
        candidates.swap(position, other);
    }
    candidates.truncate(n_hidden);
    candidates.sort_unstable();
    Ok(Hidden {
        mask: Mask::Nonzero { fraction },
        seed,
        n_samples: table.n_samples(),
        n_features: table.n_features(),
        entries: candidates,
    })
}

/// As many measured zeros as hidden entries, from the samples of those entries as far as they have
/// zeros: what a hidden entry must be told from when both look alike.
///
/// - `hidden`: entries of the table, rising
/// - returns rising entries
///
/// # Errors
/// A hidden entry out of range.
pub fn zeros_to_score(table: &Table, hidden: &[Entry], seed: u64) -> Result<Vec<Entry>> {
    let mut generator = seeded(seed, "hide/zeros");
    let mut chosen = Vec::new();
    for here in hidden.chunk_by(|a, b| a.sample == b.sample) {
        let sample = here[0].sample;
        if sample as usize >= table.n_samples() {
            let n = table.n_samples();
            return Err(Error::Invalid(format!(
                "cannot find zeros in sample {sample} of a table of {n} samples"
            )));
        }
        let dense = table.dense_row(sample as usize);
        let is_zero = |feature: &u32| dense[*feature as usize] == 0.0;
        let mut zeros: Vec<u32> = (0..table.n_features() as u32).filter(is_zero).collect();
        let n_wanted = here.len().min(zeros.len());
        for position in 0..n_wanted {
            let other = generator.random_range(position..zeros.len());
            zeros.swap(position, other);
        }
        let entries = zeros[..n_wanted].iter();
        chosen.extend(entries.map(|feature| Entry {
            sample,
            feature: *feature,
        }));
    }
    chosen.sort_unstable();
    Ok(chosen)
}

impl Hidden {
    /// The true values of the hidden entries, in their order.
    ///
    /// # Errors
    /// A table of another shape than the one that the entries were drawn from.
    pub fn truth(&self, table: &Table) -> Result<Vec<f64>> {
        self.check(table)?;
        let value = |entry: &Entry| table.get(entry.sample as usize, entry.feature as usize);
        Ok(self.entries.iter().map(value).collect())
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

fn check_fraction(fraction: f64) -> std::result::Result<(), String> {
    if fraction > 0.0 && fraction <= 1.0 {
        return Ok(());
    }
    Err(format!(
        "fraction {fraction} to hide: must be above 0 and at most 1"
    ))
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mask::Nonzero { fraction } => write!(f, "nonzero:{fraction}"),
        }
    }
}

impl FromStr for Mask {
    type Err = Error;

    fn from_str(text: &str) -> Result<Mask> {
        let (word, argument) = text.split_once(':').unwrap_or((text, ""));
        match word.trim() {
            "nonzero" => {
                let fraction = argument.trim().parse::<f64>().map_err(|_| {
                    Error::Invalid(format!(
                        "mask {text:?}: found {argument:?} where a fraction should stand, as in \
                         nonzero:0.1"
                    ))
                })?;
                check_fraction(fraction)
                    .map_err(|message| Error::Invalid(format!("mask {text:?}: {message}")))?;
                Ok(Mask::Nonzero { fraction })
            }
            other => Err(Error::Invalid(format!(
                "mask {text:?}: unknown word {other:?}, expected nonzero, as in nonzero:0.1"
            ))),
        }
    }
}

impl TryFrom<String> for Mask {
    type Error = Error;

    fn try_from(text: String) -> Result<Mask> {
        text.parse()
    }
}

impl From<Mask> for String {
    fn from(mask: Mask) -> String {
        mask.to_string()
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

    #[test]
    fn masks_are_one_word_of_text() {
        let mask: Mask = "nonzero:0.1".parse().unwrap();
        assert_eq!(mask, Mask::Nonzero { fraction: 0.1 });
        assert_eq!(mask.to_string(), "nonzero:0.1");
        for text in [
            "nonzero",
            "nonzero:",
            "nonzero:0",
            "nonzero:1.1",
            "nonzero:nan",
            "rows:0.1",
            "",
        ] {
            assert!(
                text.parse::<Mask>().unwrap_err().to_string().contains("0"),
                "{text:?}"
            );
        }
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

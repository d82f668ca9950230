//! What each part of a mask does to a table.

use super::{
    Entry, Hidden, HiddenAs, HowMany, Mask, MaskOptions, Masked, Occasions, Part, Which, draw,
    samples_among,
};
use crate::seeded::seeded;
use crate::taxonomy::own_names;
use crate::{Error, Result, Table};
use rand_chacha::ChaCha12Rng;
use std::borrow::Cow;

/// A table part of whose mask was applied.
pub(super) struct Progress<'a> {
    /// The table as given, with smaller counts where they were thinned.
    pub(super) table: Cow<'a, Table>,
    pub(super) seed: u64,
    hidden_as: HiddenAs,
    occasions: Option<&'a Occasions>,
    /// Per sample: may something be hidden in it?
    pub(super) is_among: Vec<bool>,
    /// Per sample: features whose entry is hidden, rising.
    pub(super) hidden: Vec<Vec<u32>>,
    /// Per sample: features whose count was thinned, maybe to nothing.
    pub(super) thinned: Vec<Vec<u32>>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(table: &'a Table, options: &MaskOptions<'a>) -> Result<Self> {
        Ok(Progress {
            table: Cow::Borrowed(table),
            seed: options.seed,
            hidden_as: options.hidden_as,
            occasions: options.occasions,
            is_among: samples_among(table, options.among)?,
            hidden: vec![Vec::new(); table.n_samples()],
            thinned: vec![Vec::new(); table.n_samples()],
        })
    }

    /// Applies a part; `n_before` parts of the same word were applied before.
    pub(super) fn hide(&mut self, part: &Part, n_before: usize) -> Result<()> {
        // The first of each word draws as it would alone; a second one draws anew.
        let suffix = match n_before {
            0 => String::new(),
            n => format!("/{}", n + 1),
        };
        let generator = |word: &str| seeded(self.seed, &format!("hide/{word}{suffix}"));
        match part {
            Part::Nonzero { fraction } => {
                let generator = generator("nonzero");
                self.hide_nonzero(*fraction, generator)
            }
            Part::Thin { share } => self.thin(*share, &suffix),
            Part::Below { quantile } => self.hide_below(*quantile),
            Part::Taxon(which) => {
                let generator = generator("taxon");
                self.hide_taxa(which, generator)
            }
            Part::Sample(which) => {
                let generator = generator("sample");
                self.hide_samples(which, generator)
            }
            Part::Time(how_many) => {
                let generator = generator("time");
                self.hide_time_points(*how_many, generator)
            }
        }
    }

    pub(super) fn finish(self, mask: &Mask) -> Result<Masked> {
        let entries = |rows: &[Vec<u32>]| -> Vec<Entry> {
            let entry = |(sample, row): (usize, &Vec<u32>)| -> Vec<Entry> {
                let sample = sample as u32;
                let entry = |feature: &u32| Entry {
                    sample,
                    feature: *feature,
                };
                row.iter().map(entry).collect()
            };
            rows.iter().enumerate().flat_map(entry).collect()
        };
        let mut hidden = Hidden {
            mask: mask.clone(),
            seed: self.seed,
            n_samples: self.table.n_samples(),
            n_features: self.table.n_features(),
            entries: entries(&self.hidden),
        };
        let table = hidden.apply(&self.table, self.hidden_as)?;
        let is_lost = |entry: &Entry| {
            self.table
                .get(entry.sample as usize, entry.feature as usize)
                == 0.0
        };
        let is_hidden = |entry: &Entry| hidden.entries.binary_search(entry).is_ok();
        let (lost, thinned): (Vec<Entry>, Vec<Entry>) = entries(&self.thinned)
            .into_iter()
            .filter(|entry| !is_hidden(entry))
            .partition(is_lost);
        hidden.entries.extend(lost);
        hidden.entries.sort_unstable();
        Ok(Masked {
            mask: hidden.mask,
            seed: hidden.seed,
            table,
            hidden: hidden.entries,
            thinned,
        })
    }

    /// Non-zero measured entries of a sample that are not hidden; none if it may not be touched.
    fn visible(&self, sample: usize) -> impl Iterator<Item = (u32, f64)> {
        let (columns, values) = self.table.row(sample);
        let hidden = &self.hidden[sample];
        let is_among = self.is_among[sample];
        columns
            .iter()
            .zip(values)
            .filter(move |(feature, value)| {
                is_among && **value > 0.0 && hidden.binary_search(feature).is_err()
            })
            .map(|(feature, value)| (*feature, *value))
    }

    fn hide_nonzero(&mut self, fraction: f64, generator: ChaCha12Rng) -> Result<()> {
        let mut candidates = Vec::new();
        for sample in 0..self.table.n_samples() {
            candidates.extend(self.visible(sample).map(|(feature, _)| Entry {
                sample: sample as u32,
                feature,
            }));
        }
        if candidates.is_empty() {
            return Err(nothing(
                "no entry above zero is left among the chosen samples",
            ));
        }
        let n_hidden = (fraction * candidates.len() as f64).round() as usize;
        draw(&mut candidates, n_hidden, generator);
        self.add(candidates);
        Ok(())
    }

    fn hide_below(&mut self, quantile: f64) -> Result<()> {
        let mut below = Vec::new();
        for sample in 0..self.table.n_samples() {
            let mut values: Vec<f64> = self.visible(sample).map(|(_, value)| value).collect();
            values.sort_unstable_by(f64::total_cmp);
            let Some(limit) = quantile_of(&values, quantile) else {
                continue;
            };
            let low = self.visible(sample).filter(|(_, value)| *value < limit);
            below.extend(low.map(|(feature, _)| Entry {
                sample: sample as u32,
                feature,
            }));
        }
        if below.is_empty() {
            return Err(nothing(
                "no non-zero entry lies under that quantile of its sample (ties at the smallest \
                 count do not); choose a higher quantile",
            ));
        }
        self.add(below);
        Ok(())
    }

    fn hide_taxa(&mut self, which: &Which, generator: ChaCha12Rng) -> Result<()> {
        let taxa = match which {
            Which::Named(name) => vec![feature_named(&self.table, name)?],
            Which::Drawn(how_many) => {
                let mut is_present = vec![false; self.table.n_features()];
                for sample in 0..self.table.n_samples() {
                    for (feature, _) in self.visible(sample) {
                        is_present[feature as usize] = true;
                    }
                }
                let mut taxa: Vec<usize> = (0..is_present.len())
                    .filter(|feature| is_present[*feature])
                    .collect();
                let n = how_many.of(taxa.len(), "taxa with an entry above zero")?;
                draw(&mut taxa, n, generator);
                taxa
            }
        };
        let mut entries = Vec::new();
        for sample in 0..self.table.n_samples() {
            entries.extend(self.measured(sample, taxa.iter().copied()));
        }
        self.add_whole(entries)
    }

    fn hide_samples(&mut self, which: &Which, generator: ChaCha12Rng) -> Result<()> {
        let samples = match which {
            Which::Named(name) => {
                let at = self.table.sample_ids().iter().position(|id| id == name);
                vec![at.ok_or_else(|| unknown("sample", name, self.table.sample_ids()))?]
            }
            Which::Drawn(how_many) => {
                let mut samples: Vec<usize> = (0..self.table.n_samples())
                    .filter(|sample| self.visible(*sample).next().is_some())
                    .collect();
                let n = how_many.of(samples.len(), "samples with an entry above zero")?;
                draw(&mut samples, n, generator);
                samples
            }
        };
        self.hide_whole_samples(&samples)
    }

    fn hide_time_points(&mut self, how_many: HowMany, generator: ChaCha12Rng) -> Result<()> {
        let occasions = self.occasions.ok_or_else(|| {
            Error::Invalid(
                "whole time points need the subject and the time of each sample; name their \
                 metadata columns with --subject COLUMN and --time COLUMN"
                    .to_string(),
            )
        })?;
        let mut points = occasions.time_points(self.table.n_samples())?;
        for point in &mut points {
            point.retain(|sample| self.is_among[*sample]);
        }
        points.retain(|point| {
            point
                .iter()
                .any(|sample| self.visible(*sample).next().is_some())
        });
        let n = how_many.of(points.len(), "time points with an entry above zero")?;
        draw(&mut points, n, generator);
        self.hide_whole_samples(&points.concat())
    }

    fn hide_whole_samples(&mut self, samples: &[usize]) -> Result<()> {
        let mut entries = Vec::new();
        for sample in samples {
            entries.extend(self.measured(*sample, 0..self.table.n_features()));
        }
        self.add_whole(entries)
    }

    /// Measured entries of a sample at these features, zeros included, that are not hidden.
    fn measured(&self, sample: usize, features: impl Iterator<Item = usize>) -> Vec<Entry> {
        let is_open = |feature: &usize| {
            let is_hidden = self.hidden[sample].binary_search(&(*feature as u32));
            self.is_among[sample]
                && is_hidden.is_err()
                && !self.table.get(sample, *feature).is_nan()
        };
        let entry = |feature: usize| Entry {
            sample: sample as u32,
            feature: feature as u32,
        };
        features.filter(is_open).map(entry).collect()
    }

    fn add_whole(&mut self, entries: Vec<Entry>) -> Result<()> {
        if entries.is_empty() {
            return Err(nothing(
                "what is named was not measured, is hidden already, or does not lie among the \
                 chosen samples",
            ));
        }
        self.add(entries);
        Ok(())
    }

    fn add(&mut self, entries: Vec<Entry>) {
        let mut touched: Vec<usize> = Vec::new();
        for entry in entries {
            let sample = entry.sample as usize;
            self.hidden[sample].push(entry.feature);
            if touched.last() != Some(&sample) {
                touched.push(sample);
            }
        }
        for sample in touched {
            self.hidden[sample].sort_unstable();
        }
    }
}

impl HowMany {
    /// How many of `n` things: a share is rounded, to 1 at least.
    fn of(self, n: usize, what: &str) -> Result<usize> {
        match self {
            _ if n == 0 => Err(nothing(&format!("there are no {what}"))),
            HowMany::Share(share) => Ok(((share * n as f64).round() as usize).clamp(1, n)),
            HowMany::Count(count) if count <= n => Ok(count),
            HowMany::Count(count) => Err(Error::Invalid(format!(
                "cannot draw {count} of {n} {what}; choose {n} or fewer"
            ))),
        }
    }
}

/// Quantile with linear interpolation between sorted values (type 7 of Hyndman and Fan, as numpy).
fn quantile_of(sorted: &[f64], quantile: f64) -> Option<f64> {
    let at = quantile * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    Some(low + (high - low) * at.fract())
}

/// The feature of this id, or else the only one of this own name.
fn feature_named(table: &Table, name: &str) -> Result<usize> {
    if let Some(at) = table.feature_ids().iter().position(|id| id == name) {
        return Ok(at);
    }
    let names = own_names(table);
    let found: Vec<usize> = (0..names.len()).filter(|at| names[*at] == name).collect();
    match &found[..] {
        [one] => Ok(*one),
        [] => Err(unknown("taxon", name, table.feature_ids())),
        several => Err(Error::Invalid(format!(
            "{} taxa have the name {name:?}; give the id of one, as in {:?}",
            several.len(),
            table.feature_ids()[several[0]]
        ))),
    }
}

fn unknown(what: &str, name: &str, ids: &[String]) -> Error {
    let examples: Vec<String> = ids.iter().take(3).map(|id| format!("{id:?}")).collect();
    Error::Invalid(format!(
        "the table has no {what} {name:?}; its ids are like {}",
        examples.join(", ")
    ))
}

pub(super) fn nothing(why: &str) -> Error {
    Error::Invalid(format!("nothing to hide: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hide::example::{OPTIONS, apply, example, problem, table};
    use crate::hide::{hide_nonzero, true_values, zeros_to_score};
    use proptest::prelude::*;

    #[test]
    fn nonzero_alone_draws_what_hide_nonzero_draws() {
        let masked = apply("nonzero:0.1", &example(), &OPTIONS);
        let expected = hide_nonzero(&example(), 0.1, 7, None).unwrap();
        assert_eq!(masked.hidden, expected.entries);
        let seen = expected.apply(&example(), HiddenAs::NotMeasured).unwrap();
        let bits = |table: &Table| -> Vec<u64> {
            table
                .to_dense()
                .iter()
                .map(|value| value.to_bits())
                .collect()
        };
        assert_eq!(bits(&masked.table), bits(&seen));
    }

    #[test]
    fn whole_taxa_lose_zeros_too_and_later_parts_take_from_what_is_left() {
        let masked = apply("taxon:2+nonzero:0.5", &example(), &OPTIONS);
        let column = |feature: u32| {
            masked
                .hidden
                .iter()
                .filter(|e| e.feature == feature)
                .count()
        };
        let whole: Vec<u32> = (0..10).filter(|f| column(*f) >= 19).collect();
        assert_eq!(whole.len(), 2);
        let n_whole: usize = whole.iter().map(|f| column(*f)).sum();
        let table = example();
        let is_left = |e: &&Entry| !whole.contains(&e.feature);
        let nonzero = hide_nonzero(&table, 1.0, 0, None).unwrap().entries;
        let n_left = nonzero.iter().filter(is_left).count();
        let n_expected = n_whole + (0.5 * n_left as f64).round() as usize;
        assert_eq!(masked.hidden.len(), n_expected);
        assert!(masked.hidden.is_sorted_by(|a, b| a < b));
        assert!(
            true_values(&masked.table, &masked.hidden)
                .iter()
                .all(|v| v.is_nan())
        );
        // A blind method sees zeros there.
        let blind = MaskOptions {
            hidden_as: HiddenAs::Zero,
            ..OPTIONS
        };
        let masked = apply("taxon:2+nonzero:0.5", &example(), &blind);
        assert!(
            true_values(&masked.table, &masked.hidden)
                .iter()
                .all(|v| *v == 0.0)
        );
    }

    #[test]
    fn a_named_taxon_is_found_by_id_and_then_by_its_own_name() {
        let masked = apply("taxon:t4", &example(), &OPTIONS);
        assert_eq!(masked.hidden.len(), 20);
        assert!(masked.hidden.iter().all(|entry| entry.feature == 4));
        let ids = ["k__A|p__B", "k__A|p__C"].map(String::from).to_vec();
        let named = Table::from_dense(vec!["s".to_string()], ids, &[1.0, 2.0]).unwrap();
        assert_eq!(apply("taxon:C", &named, &OPTIONS).hidden[0].feature, 1);
        let message = problem("taxon:t99", &example(), &OPTIONS);
        assert!(
            message.contains("no taxon \"t99\"") && message.contains("t0"),
            "{message}"
        );
        let message = problem("taxon:11", &example(), &OPTIONS);
        assert!(message.contains("11 of 10 taxa"), "{message}");
        let message = problem("taxon:t4+taxon:t4", &example(), &OPTIONS);
        assert!(message.contains("hidden already"), "{message}");
    }

    #[test]
    fn whole_samples_lose_all_that_was_measured() {
        let masked = apply("sample:s0", &example(), &OPTIONS);
        assert_eq!(
            masked.hidden.len(),
            9,
            "ten entries, one of them not measured"
        );
        assert_eq!(
            apply("sample:3", &table(&[1.0; 40], 10), &OPTIONS)
                .hidden
                .len(),
            12
        );
        assert_eq!(
            apply("sample:0.1", &table(&[1.0; 40], 10), &OPTIONS)
                .hidden
                .len(),
            4
        );
        let among = MaskOptions {
            among: Some(&[2, 3]),
            ..OPTIONS
        };
        let masked = apply("sample:1.0", &table(&[1.0; 40], 10), &among);
        assert!(masked.hidden.iter().all(|e| e.sample == 2 || e.sample == 3));
        assert_eq!(masked.hidden.len(), 8);
        assert!(problem("sample:s5", &example(), &among).contains("chosen samples"));
        assert!(problem("sample:x", &example(), &among).contains("no sample \"x\""));
    }

    #[test]
    fn whole_time_points_are_those_of_one_subject() {
        let occasions = Occasions {
            subject: vec![0, 0, 0, 1, 1, 1, 1, 1],
            time: vec![1.0, 1.0, 2.0, 1.0, 1.0, 2.0, 3.0, f64::NAN],
        };
        let table = table(&[1.0; 16], 8);
        let options = |seed| MaskOptions {
            seed,
            occasions: Some(&occasions),
            ..OPTIONS
        };
        let points = occasions.time_points(8).unwrap();
        for seed in 0..20 {
            let masked = apply("time:0.2", &table, &options(seed)); // one of five
            let mut samples: Vec<usize> = masked.hidden.iter().map(|e| e.sample as usize).collect();
            samples.dedup();
            assert!(points.contains(&samples), "{samples:?}");
        }
        let message = problem("time:0.2", &table, &OPTIONS);
        assert!(
            message.contains("--subject") && message.contains("--time"),
            "{message}"
        );
        assert!(problem("time:6", &table, &options(0)).contains("6 of 5 time points"));
    }

    #[test]
    fn values_under_the_quantile_of_their_own_sample_are_hidden() {
        // numpy.quantile([3, 1, 4, 1, 5, 9, 2, 6], 0.3) is 2.1, of the second row 210.
        let row = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 0.0];
        let dense: Vec<f64> = row.iter().copied().chain(row.map(|x| 100.0 * x)).collect();
        let masked = apply("below:q0.3", &table(&dense, 2), &OPTIONS);
        let places: Vec<(u32, u32)> = masked.hidden.into_iter().map(Into::into).collect();
        assert_eq!(places, [(0, 1), (0, 3), (0, 6), (1, 1), (1, 3), (1, 6)]);
        let message = problem("below:q0.3", &table(&[1.0; 10], 2), &OPTIONS);
        assert!(message.contains("higher quantile"), "{message}");
    }

    proptest! {
        #[test]
        fn what_is_neither_hidden_nor_thinned_is_bit_identical(
            dense in proptest::collection::vec(prop_oneof![Just(0.0), Just(f64::NAN), (1u8..40).prop_map(f64::from)], 60),
            order in proptest::sample::subsequence(
                vec!["taxon:2", "thin:0.4", "nonzero:0.3", "sample:0.2", "time:1", "below:q0.5"],
                1..=4,
            ),
            seed in any::<u64>(),
        ) {
            let dense: Vec<f64> = dense;
            let full = table(&dense, 10);
            let occasions = Occasions {
                subject: (0..10).map(|sample| sample / 4).collect(),
                time: (0..10).map(|sample| f64::from(sample % 4 / 2)).collect(),
            };
            for hidden_as in [HiddenAs::NotMeasured, HiddenAs::Zero] {
                let options = MaskOptions { seed, among: None, hidden_as, occasions: Some(&occasions) };
                let mask: Mask = order.join("+").parse().unwrap();
                let Ok(masked) = mask.apply(&full, &options) else { continue };
                prop_assert!(masked.hidden.is_sorted_by(|a, b| a < b));
                prop_assert!(masked.thinned.is_sorted_by(|a, b| a < b));
                for (at, (before, after)) in dense.iter().zip(masked.table.to_dense()).enumerate() {
                    let entry = Entry { sample: at as u32 / 6, feature: at as u32 % 6 };
                    let is_hidden = masked.hidden.binary_search(&entry).is_ok();
                    let is_thinned = masked.thinned.binary_search(&entry).is_ok();
                    prop_assert!(!(is_hidden && is_thinned));
                    if is_hidden {
                        prop_assert!(!before.is_nan() && (after == 0.0 || after.is_nan()));
                        prop_assert!(hidden_as == HiddenAs::NotMeasured || after == 0.0);
                    } else if is_thinned {
                        prop_assert!(after > 0.0 && after < *before);
                    } else {
                        prop_assert_eq!(before.to_bits(), after.to_bits());
                    }
                }
                let zeros = zeros_to_score(&full, &masked.hidden, seed, None);
                let is_open = |zero: &Entry| masked.hidden.binary_search(zero).is_err();
                prop_assert!(zeros.iter().all(is_open));
                prop_assert!(true_values(&full, &zeros).iter().all(|value| *value == 0.0));
            }
        }
    }
}

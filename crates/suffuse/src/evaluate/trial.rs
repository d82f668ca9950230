//! One trial of a method: what it may learn from, what it fills, and the truth that is withheld.

use super::completion::Completion;
use super::protocol::{Protocol, Told, thinning_of};
use crate::impute::ln1p_percent;
use crate::{Error, Result};
use ndarray::{Array2, Axis, concatenate};
use suffuse_data::hide::{
    Entry, HiddenAs, Mask, MaskOptions, Masked, Occasions, Part, hide_nonzero, true_values,
    zeros_to_score,
};
use suffuse_data::select::take_samples;
use suffuse_data::split::Fold;
use suffuse_data::{Metadata, Table};
use suffuse_model::systems::depmicrodiff::{Cohort, Conditions, Totals};
use suffuse_stats::Incomplete;

/// Samples to learn from, complete.
#[derive(Debug, Clone)]
pub struct Learn {
    /// Their entries and metadata.
    pub table: Table,
    /// Group of each sample.
    pub groups: Option<Vec<usize>>,
    /// Subject and time of each sample, where they are known.
    pub times: Option<Occasions>,
}

/// One trial. Matrices have a row per sample of [`Trial::fill`] and a column per feature.
#[derive(Debug, Clone)]
pub struct Trial {
    /// Samples to learn from; `None`: there are no others, a method learns from what it fills.
    pub learn: Option<Learn>,
    /// Samples to fill. Values at [`Trial::withheld`] are for [`Cohort`] alone, which hides them.
    pub fill: Table,
    /// Group of each sample to fill; in a cross-validation always, numbered alike in all folds.
    pub groups: Option<Vec<usize>>,
    /// Non-zero entries `(sample, feature)` whose value is withheld and of which the method knows that
    /// they are present; sorted.
    pub withheld: Vec<(u32, u32)>,
    /// What 100 percent is in [`Trial::truth`] and for the method.
    pub totals: Totals,
    /// True `ln(1 + percent)`, `NaN` where not measured.
    pub truth: Array2<f64>,
    /// Non-zero entries whose value is scored.
    pub scored: Vec<(usize, usize)>,
    /// True zeros that a method cannot tell from hidden entries: presence is scored on these and
    /// [`Trial::scored`]. Empty where presence is known.
    pub zeros: Vec<(usize, usize)>,
    /// What the method is told of hidden entries.
    pub told: Told,
    /// Share of the non-zeros of the samples to fill, and not of those to learn from, that look like zeros.
    pub zeroed: f64,
    /// The samples to fill as they are, where they are compared whole: counts that were thinned, visits that
    /// were hidden.
    pub full_depth: Option<Table>,
    /// How thin samples are completed.
    pub completion: Completion,
    /// The samples to learn from, thinned once more, where that says how thin samples are completed.
    pub thinner: Option<Thinner>,
    /// Subject and time of each sample to fill, where a model may know them.
    pub times: Option<Occasions>,
}

/// Samples whose counts were thinned once more.
#[derive(Debug, Clone)]
pub struct Thinner {
    /// Their entries and metadata.
    pub table: Table,
    /// Expected reads before over those after.
    pub times: f64,
}

/// What is hidden from the samples under test.
#[derive(Debug, Clone, Copy)]
pub struct Hiding<'a> {
    /// What a method is told, and which zeros are scored.
    pub protocol: Protocol,
    /// What is hidden.
    pub mask: &'a Mask,
    /// Subject and time of each sample of the table, for masks of time points and for the model.
    pub occasions: Option<&'a Occasions>,
    /// Seed of the draws.
    pub seed: u64,
    /// How thin samples are completed.
    pub completion: Completion,
}

impl Trial {
    /// Hides `fraction` of the non-zero entries of the whole table. Totals are those before hiding.
    ///
    /// # Errors
    /// A fraction outside of 0 to 1, a table without an entry above zero.
    pub fn published(
        table: &Table,
        groups: Option<Vec<usize>>,
        fraction: f64,
        seed: u64,
    ) -> Result<Trial> {
        let hidden = hide_nonzero(table, fraction, seed, None)?;
        let totals = table.totals();
        Ok(Trial {
            learn: None,
            fill: table.clone(),
            groups,
            withheld: pairs(&hidden.entries),
            truth: ln1p_percent(table, &totals),
            totals: Totals::Given(totals),
            scored: positions(&hidden.entries),
            zeros: Vec::new(),
            told: Told::Present,
            zeroed: 0.0,
            full_depth: None,
            completion: Completion::Filled,
            thinner: None,
            times: None,
        })
    }

    /// Hides entries of the samples under test; the others are learned from. What is hidden goes first,
    /// then 100 percent is the total of what is left. Thinning thins the samples to learn from as well, so
    /// that nothing is learned of the full depth.
    ///
    /// # Errors
    /// As the hiding; test samples of which nothing is left.
    pub fn held_out(
        table: &Table,
        groups: &[usize],
        fold: &Fold,
        hiding: &Hiding,
    ) -> Result<Trial> {
        let of = |samples: &[usize]| Some(samples.iter().map(|sample| groups[*sample]).collect());
        let told = hiding.protocol.told();
        let full = take_samples(table, &fold.test)?;
        let occasions_of = |samples: &[usize]| {
            hiding.occasions.map(|occasions| Occasions {
                subject: samples.iter().map(|s| occasions.subject[*s]).collect(),
                time: samples.iter().map(|s| occasions.time[*s]).collect(),
            })
        };
        let occasions = occasions_of(&fold.test);
        let options = MaskOptions {
            seed: hiding.seed,
            among: None,
            hidden_as: match told {
                Told::NotMeasured => HiddenAs::NotMeasured,
                Told::Present | Told::Zero => HiddenAs::Zero,
            },
            occasions: occasions.as_ref(),
        };
        let masked = hiding.mask.apply(&full, &options)?;
        let thinning = thinning_of(hiding.mask);
        let mut learn = take_samples(table, &fold.train)?;
        let mut thinner = None;
        if let Some(thinning) = &thinning {
            let options = MaskOptions {
                occasions: None,
                hidden_as: HiddenAs::Zero,
                ..options
            };
            learn = thinning.apply(&learn, &options)?.table;
            if hiding.completion == Completion::ZeroReads {
                let again = MaskOptions {
                    seed: options.seed.wrapping_add(THINNED_AGAIN),
                    ..options
                };
                // Fails where no read would be left: then there is nothing to learn completing from.
                thinner = thinning.apply(&learn, &again).ok().map(|masked| Thinner {
                    table: masked.table,
                    times: depth_before(thinning),
                });
            }
        }
        let totals = totals_of_truth(&full, &masked, told);
        let truth = ln1p_percent(&full, &totals);
        // A sample of which nothing is left has no total to express its truth against.
        let seen = masked.table.totals();
        let is_left = |entry: &Entry| {
            let sample = entry.sample as usize;
            totals[sample] > 0.0 && (told == Told::NotMeasured || seen[sample] > 0.0)
        };
        let hidden = masked.hidden.iter().zip(true_values(&full, &masked.hidden));
        let (present, absent): (Vec<_>, Vec<_>) = hidden.partition(|(_, value)| *value > 0.0);
        let present: Vec<Entry> = present.into_iter().map(|(entry, _)| *entry).collect();
        let absent: Vec<Entry> = absent.into_iter().map(|(entry, _)| *entry).collect();
        let scored: Vec<Entry> = present.iter().filter(|e| is_left(e)).copied().collect();
        let n_nonzero: usize = (0..full.n_samples())
            .map(|sample| full.row(sample).1.iter().filter(|v| **v > 0.0).count())
            .sum();
        let zeroed = match (told, &thinning) {
            (Told::Zero, None) => present.len() as f64 / n_nonzero.max(1) as f64,
            _ => 0.0,
        };
        let mut zeros = match (told, hiding.protocol) {
            (Told::Present, _) => Vec::new(),
            (Told::NotMeasured, _) => absent,
            (Told::Zero, Protocol::Thinning) => zeros_of(&full),
            (Told::Zero, _) => {
                let mut zeros = zeros_to_score(&full, &scored, hiding.seed, None);
                zeros.extend(absent);
                zeros
            }
        };
        zeros.retain(|entry| is_left(entry));
        zeros.sort_unstable();
        zeros.dedup();
        let (fill, withheld) = match (told, &thinning) {
            (Told::Zero | Told::NotMeasured, _) => (masked.table, Vec::new()),
            (Told::Present, None) => (full.clone(), pairs(&present)),
            (Told::Present, Some(_)) => (
                with_values_of(&masked.table, &full, &present)?,
                pairs(&present),
            ),
        };
        Ok(Trial {
            learn: Some(Learn {
                table: learn,
                groups: of(&fold.train),
                times: occasions_of(&fold.train),
            }),
            fill,
            groups: of(&fold.test),
            withheld,
            totals: Totals::OfWhatIsLeft,
            truth,
            scored: positions(&scored),
            zeros: positions(&zeros),
            told,
            zeroed: zeroed.min(MOST_ZEROED),
            full_depth: thinning.map(|_| full),
            completion: hiding.completion,
            thinner,
            times: occasions,
        })
    }

    /// Metadata of the samples that a model is fitted on.
    pub fn metadata_to_learn(&self) -> &Metadata {
        match &self.learn {
            Some(learn) => &learn.table.sample_metadata,
            None => &self.fill.sample_metadata,
        }
    }

    /// What a model is fitted on: the samples to learn from, or what is not withheld of those to fill.
    pub fn cohort_to_learn(&self, conditions: Option<Conditions>) -> Cohort<'_> {
        match &self.learn {
            Some(learn) => Cohort {
                table: &learn.table,
                hidden: &[],
                totals: Totals::OfWhatIsLeft,
                conditions,
                groups: learn.groups.clone(),
                times: learn.times.clone(),
            },
            None => Cohort {
                table: &self.fill,
                hidden: &self.withheld,
                totals: self.totals.clone(),
                conditions,
                groups: self.groups.clone(),
                times: self.times.clone(),
            },
        }
    }

    /// What a baseline sees: the samples to learn from, then those to fill, as `ln(1 + percent)` with
    /// `NaN` where an entry is withheld or not measured.
    ///
    /// # Errors
    /// None for a table that was read by this program.
    pub fn incomplete(&self) -> Result<Incomplete> {
        let totals = match &self.totals {
            Totals::Given(totals) => totals.clone(),
            Totals::OfWhatIsLeft => self.totals_left(),
        };
        let mut values = ln1p_percent(&self.fill, &totals);
        for &(sample, feature) in &self.withheld {
            values[[sample as usize, feature as usize]] = f64::NAN;
        }
        if let Some(learn) = &self.learn {
            let above = ln1p_percent(&learn.table, &learn.table.totals());
            values = concatenate(Axis(0), &[above.view(), values.view()])
                .map_err(|error| Error::Table(format!("samples of two widths: {error}")))?;
        }
        Ok(Incomplete::from_values(values)?)
    }

    /// Says whether nothing is in sight of any sample that is scored.
    pub fn shows_nothing(&self) -> bool {
        let mut samples: Vec<usize> = self.scored.iter().map(|at| at.0).collect();
        samples.dedup();
        samples.into_iter().all(|sample| self.is_missing(sample))
    }

    /// Number of samples that stand above those to fill in [`Trial::incomplete`].
    pub fn n_learn(&self) -> usize {
        self.learn
            .as_ref()
            .map_or(0, |learn| learn.table.n_samples())
    }

    /// Share of the present entries that are withheld, per sample to fill; 0 where none is present.
    pub fn hidden_shares(&self) -> Vec<f64> {
        let mut n_withheld = vec![0_usize; self.fill.n_samples()];
        for (sample, _) in &self.withheld {
            n_withheld[*sample as usize] += 1;
        }
        let share = |(sample, n_withheld): (usize, usize)| {
            let values = self.fill.row(sample).1.iter();
            let n_present = values.filter(|value| **value > 0.0).count();
            n_withheld as f64 / n_present.max(1) as f64
        };
        n_withheld.into_iter().enumerate().map(share).collect()
    }

    /// Total of what is not withheld, per sample to fill.
    fn totals_left(&self) -> Vec<f64> {
        let mut totals = vec![0.0; self.fill.n_samples()];
        for (sample, total) in totals.iter_mut().enumerate() {
            let (columns, values) = self.fill.row(sample);
            for (column, value) in columns.iter().zip(values) {
                let is_withheld = self
                    .withheld
                    .binary_search(&(sample as u32, *column))
                    .is_ok();
                if !value.is_nan() && !is_withheld {
                    *total += value;
                }
            }
        }
        totals
    }

    /// True `ln(1 + percent)` of the scored entries, in their order.
    pub fn scored_truth(&self) -> Vec<f64> {
        self.scored.iter().map(|at| self.truth[*at]).collect()
    }
}

/// Separates the second thinning from the first.
const THINNED_AGAIN: u64 = 1 << 32;

/// Expected reads before thinning over those after.
fn depth_before(thinning: &Mask) -> f64 {
    let share = |part: &Part| match part {
        Part::Thin { share } => *share,
        _ => 1.0,
    };
    thinning.parts().iter().map(share).product::<f64>().recip()
}

/// Training samples keep something even where all test entries are hidden.
const MOST_ZEROED: f64 = 0.95;

/// What 100 percent is in the truth: the total of what is left; of a sample that was not measured at all,
/// and where counts were only thinned, the full total.
fn totals_of_truth(full: &Table, masked: &Masked, told: Told) -> Vec<f64> {
    let is_thinning = |part: &Part| matches!(part, Part::Thin { .. });
    let parts = masked.mask.parts();
    if parts.iter().all(is_thinning) {
        return full.totals();
    }
    if parts.iter().any(is_thinning) {
        // The full counts of what is left, so that they compare with a share of the thin total.
        let left = |sample: usize| {
            let (columns, values) = full.row(sample);
            let seen = columns.iter().zip(values).filter(|(feature, value)| {
                !value.is_nan() && masked.table.get(sample, **feature as usize) > 0.0
            });
            seen.map(|(_, value)| value).sum()
        };
        return (0..full.n_samples()).map(left).collect();
    }
    let mut totals = masked.table.totals();
    if told == Told::NotMeasured {
        for (total, of_full) in totals.iter_mut().zip(full.totals()) {
            if *total == 0.0 {
                *total = of_full;
            }
        }
    }
    totals
}

/// Measured zeros of all samples, rising.
fn zeros_of(table: &Table) -> Vec<Entry> {
    let mut zeros = Vec::new();
    for sample in 0..table.n_samples() {
        for (feature, value) in table.dense_row(sample).into_iter().enumerate() {
            if value == 0.0 {
                let (sample, feature) = (sample as u32, feature as u32);
                zeros.push(Entry { sample, feature });
            }
        }
    }
    zeros
}

/// A table with the values of another at these entries.
fn with_values_of(table: &Table, other: &Table, entries: &[Entry]) -> Result<Table> {
    let mut dense = table.to_dense();
    for entry in entries {
        let (sample, feature) = (entry.sample as usize, entry.feature as usize);
        dense[sample * table.n_features() + feature] = other.get(sample, feature);
    }
    Ok(table.with_dense(&dense)?)
}

fn pairs(entries: &[Entry]) -> Vec<(u32, u32)> {
    let pair = |entry: &Entry| (entry.sample, entry.feature);
    entries.iter().map(pair).collect()
}

pub(super) fn positions(entries: &[Entry]) -> Vec<(usize, usize)> {
    let place = |entry: &Entry| (entry.sample as usize, entry.feature as usize);
    entries.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use suffuse_data::split::{k_folds, ungrouped};

    /// Counts of 20 samples of 10 taxa, a third of them zero.
    fn table() -> Table {
        let ids = |p: &str, n: usize| (0..n).map(|i| format!("{p}{i}")).collect::<Vec<_>>();
        let dense: Vec<f64> = (0..200).map(|i| f64::from(i % 3 * (i % 7 + 1))).collect();
        Table::from_dense(ids("s", 20), ids("t", 10), &dense).unwrap()
    }

    fn trial(protocol: Protocol, mask: &str) -> Trial {
        let (table, groups) = (table(), ungrouped(20));
        let fold = &k_folds(&groups, 5, 0).unwrap()[0];
        let hiding = Hiding {
            protocol,
            mask: &mask.parse().unwrap(),
            occasions: None,
            seed: 4,
            completion: Completion::Filled,
        };
        Trial::held_out(&table, &groups, fold, &hiding).unwrap()
    }

    #[test]
    fn strict_hides_what_hide_nonzero_draws_and_takes_the_totals_of_what_is_left() {
        let trial = trial(Protocol::Strict, "nonzero:0.3");
        let fold = &k_folds(&ungrouped(20), 5, 0).unwrap()[0];
        let full = take_samples(&table(), &fold.test).unwrap();
        let hidden = hide_nonzero(&full, 0.3, 4, None).unwrap();
        assert_eq!(trial.withheld, pairs(&hidden.entries));
        let left = hidden.apply(&full, HiddenAs::Zero).unwrap();
        assert_eq!(trial.truth, ln1p_percent(&full, &left.totals()));
        assert_eq!(trial.fill, full);
        assert!(trial.zeros.is_empty() && trial.full_depth.is_none());
        for (sample, share) in trial.hidden_shares().into_iter().enumerate() {
            let entries = hidden.entries.iter();
            let n = entries.filter(|e| e.sample as usize == sample).count();
            let n_present = full.row(sample).1.len();
            assert!((share - n as f64 / n_present as f64).abs() < 1e-12);
        }
    }

    #[test]
    fn blind_shows_zeros_and_scores_as_many_true_ones() {
        let trial = trial(Protocol::Blind, "nonzero:0.3");
        assert!(trial.withheld.is_empty() && !trial.scored.is_empty());
        assert!(
            trial
                .scored
                .iter()
                .all(|at| trial.fill.get(at.0, at.1) == 0.0)
        );
        assert_eq!(trial.zeros.len(), trial.scored.len());
        assert!((trial.zeroed - 0.3).abs() < 0.03);
        assert!(trial.zeros.iter().all(|at| trial.truth[*at] == 0.0));
    }

    #[test]
    fn nothing_of_the_full_depth_is_learned_under_thinning() {
        let trial = trial(Protocol::Thinning, "thin:0.2");
        let full = trial.full_depth.as_ref().unwrap();
        let depth = |table: &Table| table.totals().iter().sum::<f64>();
        assert!(depth(&trial.fill) < 0.35 * depth(full));
        let learned = depth(&trial.learn.as_ref().unwrap().table);
        let before = depth(&table()) - depth(full);
        assert!(learned < 0.3 * before, "{learned} of {before}");
        // Truth is percent of the full depth; all its zeros are scored.
        assert_eq!(trial.truth, ln1p_percent(full, &full.totals()));
        let n_zeros = full
            .to_dense()
            .iter()
            .filter(|value| **value == 0.0)
            .count();
        assert_eq!(trial.zeros.len(), n_zeros);
        assert!(
            trial
                .scored
                .iter()
                .all(|at| trial.fill.get(at.0, at.1) == 0.0)
        );
        assert_eq!(trial.zeroed, 0.0, "the training samples are as thin");
    }

    #[test]
    fn whole_taxa_and_samples_are_not_measured() {
        let taxa = trial(Protocol::WholeTaxon, "taxon:2");
        assert_eq!(taxa.scored.len() + taxa.zeros.len(), 2 * 4);
        let judged = taxa.scored.iter().chain(&taxa.zeros);
        assert!(judged.clone().all(|at| taxa.fill.get(at.0, at.1).is_nan()));
        let samples = trial(Protocol::WholeSample, "sample:1");
        assert_eq!(samples.scored.len() + samples.zeros.len(), 10);
        // Nothing is left of the sample, so that its truth is percent of its own total.
        let sum = |at: &(usize, usize)| samples.truth[*at].exp_m1();
        assert!((samples.scored.iter().map(sum).sum::<f64>() - 100.0).abs() < 1e-9);
    }
}

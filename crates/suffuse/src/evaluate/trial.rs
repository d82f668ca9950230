//! One trial of a method: what it may learn from, what it fills, and the truth that is withheld.

use super::protocol::Protocol;
use crate::impute::ln1p_percent;
use crate::{Error, Result};
use ndarray::{Array2, Axis, concatenate};
use suffuse_data::hide::{Entry, HiddenAs, hide_nonzero, zeros_to_score};
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
        })
    }

    /// Hides entries of the samples under test; the others are learned from. What is hidden goes first,
    /// then 100 percent is the total of what is left.
    ///
    /// # Errors
    /// As the hiding; test samples of which nothing is left.
    pub fn held_out(
        table: &Table,
        groups: &[usize],
        fold: &Fold,
        protocol: Protocol,
        fraction: f64,
        seed: u64,
    ) -> Result<Trial> {
        let of = |samples: &[usize]| Some(samples.iter().map(|sample| groups[*sample]).collect());
        let full = take_samples(table, &fold.test)?;
        let hidden = hide_nonzero(&full, fraction, seed, None)?;
        let left = hidden.apply(&full, HiddenAs::Zero)?;
        let totals = left.totals();
        let truth = ln1p_percent(&full, &totals);
        // A sample of which nothing is left has no total to express its truth against.
        let is_left = |entry: &&Entry| totals[entry.sample as usize] > 0.0;
        let scored: Vec<Entry> = hidden.entries.iter().filter(is_left).copied().collect();
        let (fill, withheld, zeros) = match protocol {
            Protocol::Blind => {
                let zeros = zeros_to_score(&full, &scored, seed, None);
                (left, Vec::new(), zeros)
            }
            Protocol::Published | Protocol::Strict => (full, pairs(&hidden.entries), Vec::new()),
        };
        Ok(Trial {
            learn: Some(Learn {
                table: take_samples(table, &fold.train)?,
                groups: of(&fold.train),
            }),
            fill,
            groups: of(&fold.test),
            withheld,
            totals: Totals::OfWhatIsLeft,
            truth,
            scored: positions(&scored),
            zeros: positions(&zeros),
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
            },
            None => Cohort {
                table: &self.fill,
                hidden: &self.withheld,
                totals: self.totals.clone(),
                conditions,
                groups: self.groups.clone(),
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

    /// Number of samples that stand above those to fill in [`Trial::incomplete`].
    pub fn n_learn(&self) -> usize {
        self.learn
            .as_ref()
            .map_or(0, |learn| learn.table.n_samples())
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

fn pairs(entries: &[Entry]) -> Vec<(u32, u32)> {
    let pair = |entry: &Entry| (entry.sample, entry.feature);
    entries.iter().map(pair).collect()
}

fn positions(entries: &[Entry]) -> Vec<(usize, usize)> {
    let place = |entry: &Entry| (entry.sample as usize, entry.feature as usize);
    entries.iter().map(place).collect()
}

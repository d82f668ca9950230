//! Which zeros are false: the model and classical judges, weighed on non-zeros that were set to 0.
//!
//! ```text
//! table -> some non-zeros set to 0 -> the model judges all zeros (members of the guide that saw a sample are not asked)
//!                                 -> classical judges, learned from the other samples, do the same
//! logistic regression on what they say -> weights of their log-odds
//! ```

use super::{DIFFUSION, MANY_ENTRIES, TOO_MANY_ENTRIES, logs_below};
use crate::Result;
use crate::impute::ln1p_percent;
use ndarray::{Array2, s};
use serde::Serialize;
use std::sync::atomic::AtomicBool;
use suffuse_data::Table;
use suffuse_data::hide::{HiddenAs, hide_nonzero};
use suffuse_model::device::Device;
use suffuse_model::systems::depmicrodiff::{Cohort, Model};
use suffuse_stats::impute::{Method as Baseline, PresenceOptions, presence};
use suffuse_stats::stack::{Judged, Losses, Stack};
use suffuse_stats::{Incomplete, Result as StatsResult};

/// Who judges zeros beside the model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ZeroJudges {
    /// Weights: first that of the model, then those of the judges.
    pub stack: Stack,
    /// Classical judges that have a say.
    pub judges: Vec<Baseline>,
    /// What the model alone and all together say of zeros that none of them knew; `None` where nothing was
    /// judged.
    pub losses: Option<Losses>,
    /// Non-zeros that were set to 0.
    pub n: usize,
}

/// Classical judges that may have a say.
const JUDGES: [Baseline; 5] = [
    Baseline::Ridge,
    Baseline::ExtraTrees,
    Baseline::SoftImpute,
    Baseline::TaxonMeanOffset,
    Baseline::LocalLeastSquares,
];
/// A judge of less weight is not asked.
const LITTLE_SAY: f64 = 0.02;
/// Share of the non-zeros that are set to 0 where nothing says how many of the table are.
const LEARNED_SHARE: f64 = 0.2;
/// Copies of a small table, with other non-zeros set to 0.
const N_COPIES: u64 = 2;
/// Separates what is set to 0 here from what an evaluation sets to 0 with the same seed.
const COPIES: u64 = 1 << 40;
/// How judges are asked where nothing says which zeros are false.
const PRESENCE: PresenceOptions = PresenceOptions {
    zeroed: 0.0,
    seed: COPIES,
};
/// The part of samples that are learned from and not judged.
const NOT_JUDGED: usize = usize::MAX;
/// Parts of the samples that are left out in turn when weights are tested.
const N_FOLDS: usize = 5;

/// Samples in parts, each judged by what was learned from the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    /// Part of each sample.
    pub of: Vec<usize>,
    /// Parts that are judged: all of a small table, one of a large one.
    pub asked: Vec<usize>,
}

impl Parts {
    /// All parts of a small table, the first of a large one.
    pub fn new(of: Vec<usize>, n_features: usize) -> Parts {
        let mut asked = of.clone();
        asked.sort_unstable();
        asked.dedup();
        if of.len() * n_features > MANY_ENTRIES {
            asked.truncate(1);
        }
        Parts { of, asked }
    }

    /// All parts.
    pub fn all(of: Vec<usize>) -> Parts {
        Parts::new(of, 0)
    }

    /// Whether each sample is judged.
    pub fn is_asked(&self) -> Vec<bool> {
        let is_asked = |part: &usize| self.asked.contains(part);
        self.of.iter().map(is_asked).collect()
    }

    fn rows(&self, part: usize) -> Vec<usize> {
        let rows = 0..self.of.len();
        rows.filter(|row| self.of[*row] == part).collect()
    }

    /// Probability of presence of the entries of the parts that are asked about, each part judged by what was
    /// learned from the other samples; `NaN` in the other parts.
    ///
    /// - `learned`, `asked`: `ln(1 + percent)` of the same samples, as they are learned from and asked about
    ///
    /// # Errors
    /// None for tables that were read by this program.
    pub fn judged(
        &self,
        judge: Baseline,
        learned: &Array2<f64>,
        asked: &Array2<f64>,
        options: PresenceOptions,
    ) -> StatsResult<Array2<f64>> {
        let mut said = Array2::from_elem(learned.dim(), f64::NAN);
        for part in &self.asked {
            let rows = self.rows(*part);
            let mut values = learned.clone();
            for row in &rows {
                values.row_mut(*row).assign(&asked.row(*row));
            }
            let incomplete = Incomplete::from_values(values)?;
            let of_part = presence(judge, &incomplete, &rows, options)?;
            for (row, of_row) in rows.iter().zip(of_part.rows()) {
                said.row_mut(*row).assign(&of_row);
            }
        }
        Ok(said)
    }
}

impl ZeroJudges {
    /// The model alone.
    pub fn model_alone() -> ZeroJudges {
        ZeroJudges {
            stack: Stack::alone(1),
            judges: Vec::new(),
            losses: None,
            n: 0,
        }
    }

    /// Weighs the judges on the cohort that a model was fitted on.
    ///
    /// - `zeroed`: share of the non-zeros of the samples to judge that look like zeros, as far as it is known
    ///
    /// # Errors
    /// An interruption.
    pub fn weighed(
        model: &Model,
        cohort: &Cohort,
        zeroed: f64,
        device: &Device,
        interrupted: &AtomicBool,
    ) -> Result<ZeroJudges> {
        let table = cohort.table;
        let n_entries = table.n_samples() * table.n_features();
        let parts = Parts::new(model.parts(cohort), table.n_features());
        let is_one_part = parts.of.iter().all(|part| *part == parts.of[0]);
        if n_entries > TOO_MANY_ENTRIES || is_one_part || !cohort.hidden.is_empty() {
            return Ok(ZeroJudges::model_alone());
        }
        let share = match zeroed > 0.0 {
            true => zeroed,
            false => LEARNED_SHARE,
        };
        let n_copies = match n_entries > MANY_ENTRIES {
            true => 1,
            false => N_COPIES,
        };
        let learned = ln1p_percent(table, &table.totals());
        let groups = cohort.groups.as_ref();
        let group_of = |sample: usize| groups.map_or(sample, |groups| groups[sample]);
        let mut judged = Judged::default();
        let mut n = 0;
        for copy in 0..n_copies {
            let seed = COPIES + copy;
            let hidden = hide_nonzero(table, share, seed, None)?;
            let seen = hidden.apply(table, HiddenAs::Zero)?;
            let again = Cohort {
                table: &seen,
                ..cohort.clone()
            };
            let own = model.presence_by_others(&again, &parts.is_asked(), device, interrupted)?;
            let Some(own) = own else {
                return Ok(ZeroJudges::model_alone());
            };
            let asked = ln1p_percent(&seen, &seen.totals());
            let options = PresenceOptions {
                zeroed: share,
                seed,
            };
            let others = JUDGES.map(|judge| parts.judged(judge, &learned, &asked, options));
            let others = others.into_iter().collect::<StatsResult<Vec<_>>>()?;
            for (at, own) in own.indexed_iter().filter(|(_, own)| !own.is_nan()) {
                let is_present = learned[at] > 0.0;
                let others = others.iter().map(|said| said[at]);
                judged
                    .said
                    .push(std::iter::once(*own).chain(others).collect());
                judged.is_present.push(is_present);
                // As many zeros as if they had been drawn at the same rate as the non-zeros.
                judged.weight.push(if is_present { 1.0 } else { share });
                judged.fold.push(group_of(at.0) % N_FOLDS);
                n += usize::from(is_present);
            }
        }
        let (stack, losses) = Stack::fit(&judged);
        Ok(ZeroJudges::with_a_say(stack, losses, n))
    }

    fn with_a_say(stack: Stack, losses: Option<Losses>, n: usize) -> ZeroJudges {
        let (mut weights, mut judges) = (stack.weights[..1].to_vec(), Vec::new());
        for (judge, weight) in JUDGES.iter().zip(&stack.weights[1..]) {
            if *weight >= LITTLE_SAY {
                weights.push(*weight);
                judges.push(*judge);
            }
        }
        let intercept = stack.intercept;
        ZeroJudges {
            stack: Stack { intercept, weights },
            judges,
            losses,
            n,
        }
    }

    /// What each judge says, in their order.
    ///
    /// # Errors
    /// What `say` reports.
    pub fn say(
        &self,
        say: impl Fn(Baseline) -> StatsResult<Array2<f64>>,
    ) -> StatsResult<Vec<Array2<f64>>> {
        self.judges.iter().map(|judge| say(*judge)).collect()
    }

    /// What follows for an entry from what the model and the others say.
    pub fn probability(&self, model: f64, others: &[Array2<f64>], at: (usize, usize)) -> f64 {
        if model.is_nan() || self.judges.is_empty() && self.stack.intercept == 0.0 {
            return model;
        }
        let mut said = vec![model];
        said.extend(others.iter().map(|others| others[at]));
        self.stack.probability(&said)
    }

    /// The same for some zeros (sample, feature).
    ///
    /// - `model`: what the model says of each
    pub fn rejudged(
        &self,
        zeros: &[(u32, u32)],
        model: &[f64],
        others: &[Array2<f64>],
    ) -> Vec<f64> {
        let both = zeros.iter().zip(model);
        both.map(|((sample, feature), model)| {
            self.probability(*model, others, (*sample as usize, *feature as usize))
        })
        .collect()
    }

    /// What the judges say of the zeros of a table whose samples are learned from and judged, part by part.
    ///
    /// - `learned`: other samples to learn from
    /// - `parts`: of the samples of `table`
    ///
    /// # Errors
    /// None for a table that was read by this program.
    pub fn say_in_parts(
        &self,
        learned: Option<&Table>,
        table: &Table,
        parts: &Parts,
    ) -> StatsResult<Vec<Array2<f64>>> {
        if self.judges.is_empty() {
            return Ok(Vec::new()); // a table for the model alone may be too large to be held dense
        }
        let first = learned.map_or(0, Table::n_samples);
        let logs = logs_below(learned, table);
        let all = Parts {
            of: std::iter::repeat_n(NOT_JUDGED, first)
                .chain(parts.of.iter().copied())
                .collect(),
            asked: parts.asked.clone(),
        };
        self.say(|judge| {
            let said = all.judged(judge, &logs, &logs, PRESENCE)?;
            Ok(said.slice(s![first.., ..]).to_owned())
        })
    }

    /// Who judges zeros, in words; `None` where the model does alone and nothing was weighed.
    pub fn in_words(&self) -> Option<String> {
        let losses = self.losses?;
        let all: f64 = self.stack.weights.iter().sum();
        let names = std::iter::once(DIFFUSION.to_string());
        let names = names.chain(self.judges.iter().map(|judge| judge.to_string()));
        let of = |(name, weight): (String, &f64)| format!("{:.0} % {name}", 100.0 * weight / all);
        let shares: Vec<String> = names.zip(&self.stack.weights).map(of).collect();
        Some(format!(
            "zeros judged by {}: log loss {:.3} on {} non-zeros set to 0 and as many zeros in proportion (depmicrodiff alone {:.3})",
            shares.join(", "),
            losses.together.min(losses.alone),
            self.n,
            losses.alone
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges_of_little_weight_are_not_asked_and_the_rest_keep_theirs() {
        let stack = Stack {
            intercept: 0.1,
            weights: vec![0.5, 0.3, 0.0, 0.019, 0.2, 0.0],
        };
        let judges = ZeroJudges::with_a_say(stack, None, 7);
        assert_eq!(judges.judges, [Baseline::Ridge, Baseline::TaxonMeanOffset]);
        assert_eq!(judges.stack.weights, [0.5, 0.3, 0.2]);
        // logit = 0.1 + 0.5 logit .5 + 0.3 logit .8 + 0.2 logit .2 = 0.1 + 0.1 ln 4
        let say = |p: f64| Array2::from_elem((1, 1), p);
        let found = judges.probability(0.5, &[say(0.8), say(0.2)], (0, 0));
        let logit = 0.1 + 0.1 * 4.0_f64.ln();
        assert!((found - 1.0 / (1.0 + (-logit).exp())).abs() < 1e-12);
        assert!(
            judges
                .probability(f64::NAN, &[say(0.8), say(0.2)], (0, 0))
                .is_nan()
        );
    }

    #[test]
    fn the_model_alone_says_what_it_says() {
        let alone = ZeroJudges::model_alone();
        assert_eq!(
            alone.rejudged(&[(3, 1), (4, 0)], &[0.25, 1e-9], &[]),
            [0.25, 1e-9]
        );
        assert_eq!(alone.in_words(), None);
    }

    #[test]
    fn one_part_of_a_large_table_is_judged_by_the_others() {
        let of: Vec<usize> = (0..400).map(|row| row % 4).collect();
        assert_eq!(Parts::new(of.clone(), 10).asked, [0, 1, 2, 3]);
        let large = Parts::new(of, 1000);
        assert_eq!(large.asked, [0]);
        assert_eq!(large.is_asked().iter().filter(|asked| **asked).count(), 100);
    }
}

//! What a method says of the hidden entries of a trial.

use super::ModelSetting;
use super::trial::Trial;
use crate::auto::Choice;
use crate::conditions::{ConditionEncoder, encode_for_fit};
use crate::watch::Watch;
use crate::{Error, PRESENCE_THRESHOLD, Result};
use ndarray::{Array2, s};
use std::path::Path;
use suffuse_data::transform::Scale;
use suffuse_data::transform::percent::ln1p_percent;
use suffuse_model::systems::depmicrodiff::{
    Action, Cohort, Conditions, Fill, FitOptions, Imputation, ImputeOptions, Model, SAVE_EVERY_S,
    Totals, fit,
};
use suffuse_stats::calibration::LEVELS;
use suffuse_stats::impute::{Method as Baseline, RowTotals, Validation, impute_tuned};
use suffuse_stats::scores::quantile;

/// What a method says of the entries of a trial that are scored.
#[derive(Debug, Clone)]
pub struct Answer {
    /// `ln(1 + percent)` given presence, a row per sample to fill; `NaN` where the method gave none.
    pub value: Array2<f64>,
    /// Draws of the same, `[n_scored, n_draws]`.
    pub draws: Option<Array2<f64>>,
    /// Central 50 % and 90 % intervals of the scored entries; `None`: those of the draws.
    pub intervals: Option<Vec<[(f64, f64); 2]>>,
    /// Probability of presence of the scored entries, then of the true zeros beside them.
    pub presence: Option<Vec<f64>>,
}

/// Share of the entries of inner validation rows that tune a baseline where no other is at stake.
const INNER_FRACTION: f64 = 0.3;
/// Quantiles of a baseline's errors that stand for its predictive distribution.
const N_QUANTILES: usize = 99;

/// What a baseline says of the withheld entries, tuned on entries hidden from the samples to learn from;
/// its errors there are its predictive distribution.
///
/// # Errors
/// None for a table that was read by this program.
pub fn of_baseline(baseline: Baseline, trial: &Trial, fraction: f64, seed: u64) -> Result<Answer> {
    let incomplete = trial.incomplete()?;
    let validation = Validation {
        rows: match trial.n_learn() {
            0 => (0..incomplete.n_samples()).collect(),
            n => (0..n).collect(),
        },
        fraction: if fraction < 1.0 {
            fraction
        } else {
            INNER_FRACTION
        },
        totals: match trial.totals {
            Totals::Given(_) => RowTotals::Fixed,
            Totals::OfWhatIsLeft => RowTotals::OfWhatIsLeft,
        },
        seed,
    };
    let tuned = impute_tuned(baseline, &incomplete, &validation);
    let value = tuned.completed.slice(s![trial.n_learn().., ..]).to_owned();
    let mut errors: Vec<f64> = tuned
        .residuals
        .iter()
        .map(|r| r.truth - r.predicted)
        .collect();
    errors.sort_by(f64::total_cmp);
    if errors.len() < 2 {
        return Ok(Answer::of_values(value));
    }
    let at = |level: f64| quantile(&errors, level);
    let quantiles: Vec<f64> = (1..=N_QUANTILES)
        .map(|k| at(k as f64 / (N_QUANTILES + 1) as f64))
        .collect();
    let ends = LEVELS.map(|level| (at((1.0 - level) / 2.0), at((1.0 + level) / 2.0)));
    let of_scored = |(k, q): (usize, usize)| value[trial.scored[k]] + quantiles[q];
    Ok(Answer {
        draws: Some(Array2::from_shape_fn(
            (trial.scored.len(), N_QUANTILES),
            of_scored,
        )),
        intervals: Some(
            trial
                .scored
                .iter()
                .map(|at| ends.map(|(low, high)| (value[*at] + low, value[*at] + high)))
                .collect(),
        ),
        value,
        presence: None,
    })
}

impl Answer {
    fn of_values(value: Array2<f64>) -> Answer {
        Answer {
            value,
            draws: None,
            intervals: None,
            presence: None,
        }
    }
}

/// A model and how it encodes metadata.
pub struct FittedModel {
    /// The model.
    pub model: Model,
    encoder: Option<ConditionEncoder>,
    conditions: Option<Conditions>,
}

impl FittedModel {
    /// Fits the model on the samples to learn from, or on what is not withheld of those to fill.
    ///
    /// # Errors
    /// As fitting.
    pub fn fit(
        trial: &Trial,
        setting: &ModelSetting,
        seed: u64,
        checkpoint: Option<&Path>,
        watch: &mut Watch,
    ) -> Result<FittedModel> {
        let encoded = encode_for_fit(trial.metadata_to_learn(), &setting.conditions, seed)?;
        let cohort = trial.cohort_to_learn(encoded.conditions.clone());
        let mut options = FitOptions {
            seed,
            pretrain: setting.pretrain,
            device: setting.device.clone(),
            checkpoint,
            save_every_s: SAVE_EVERY_S,
            progress: watch.progress,
            interrupted: watch.interrupted,
        };
        Ok(FittedModel {
            model: fit(&setting.config, &cohort, &mut options)?,
            encoder: encoded.encoder,
            conditions: encoded.conditions,
        })
    }

    /// Weighs the model against classical methods on what it was fitted on.
    ///
    /// # Errors
    /// An interruption.
    pub fn choose(
        &self,
        trial: &Trial,
        setting: &ModelSetting,
        watch: &mut Watch,
    ) -> Result<Choice> {
        let cohort = trial.cohort_to_learn(self.conditions.clone());
        let (model, device) = (&self.model, &setting.device);
        let held_out = model.held_out_entries(&cohort, device, watch.interrupted)?;
        Choice::of(&cohort, &held_out, model.calibration().copied())
    }

    /// Metadata of the samples to fill, as the model knows them.
    ///
    /// # Errors
    /// As [`ConditionEncoder::encode`].
    pub fn conditions(&self, trial: &Trial) -> Result<Option<Conditions>> {
        match &self.encoder {
            Some(encoder) => Ok(Some(encoder.encode(&trial.fill.sample_metadata)?.0)),
            None => Ok(None),
        }
    }

    /// Fills what is hidden.
    ///
    /// # Errors
    /// As filling.
    pub fn fill(
        &self,
        trial: &Trial,
        setting: &ModelSetting,
        seed: u64,
        watch: &mut Watch,
    ) -> Result<Imputation> {
        let cohort = Cohort {
            table: &trial.fill,
            hidden: &trial.withheld,
            totals: trial.totals.clone(),
            conditions: self.conditions(trial)?,
            groups: None,
        };
        let mut options = ImputeOptions {
            fill: match trial.zeros.is_empty() {
                true => Fill::Missing,
                false => Fill::MissingAndZeros,
            },
            presence_threshold: PRESENCE_THRESHOLD,
            structural_zeros: &[],
            n_draws: setting.config.sampling.n_draws,
            n_sets: 0,
            partner: None,
            sampler: setting.config.sampling.sampler,
            seed,
            device: setting.device.clone(),
            batch_size: setting.batch_size,
            progress: watch.progress,
            interrupted: watch.interrupted,
        };
        Ok(self.model.impute(&cohort, &mut options)?)
    }
}

/// What a filled cohort says of the entries that are scored.
///
/// # Errors
/// Draws of another number than hidden entries, which would be a defect of the model.
pub fn of_model(trial: &Trial, model: &Model, imputation: &Imputation) -> Result<Answer> {
    let mut value = Array2::from_elem(trial.truth.dim(), f64::NAN);
    if trial.zeros.is_empty() {
        let (mut flat, mut intervals) = (Vec::new(), Vec::new());
        for at in &trial.scored {
            let withheld = (at.0 as u32, at.1 as u32);
            let draws = match trial.withheld.binary_search(&withheld) {
                Ok(position) => &imputation.hidden_draws[position],
                Err(_) => return Err(Error::Table(format!("entry {at:?} was not withheld"))),
            };
            value[*at] = draws.iter().sum::<f64>() / draws.len() as f64;
            intervals.push(model.intervals(draws, value[*at]));
            flat.extend(draws);
        }
        let n_draws = flat.len() / trial.scored.len().max(1);
        let draws = Array2::from_shape_vec((trial.scored.len(), n_draws), flat)
            .map_err(|error| Error::Table(format!("draws of the hidden entries: {error}")))?;
        return Ok(Answer {
            value,
            draws: Some(draws),
            intervals: Some(intervals),
            presence: None,
        });
    }
    let logs = ln1p_percent_of(trial, &imputation.value);
    for at in &trial.scored {
        if imputation.action[*at] == Action::Filled {
            value[*at] = logs[*at];
        }
    }
    let judged = trial.scored.iter().chain(&trial.zeros);
    Ok(Answer {
        value,
        draws: None,
        intervals: None,
        presence: Some(judged.map(|at| imputation.presence[*at]).collect()),
    })
}

/// What the model and its partner say together.
///
/// # Errors
/// As [`of_model`].
pub fn of_choice(choice: &Choice, trial: &Trial, model: Answer) -> Result<Answer> {
    if choice.errors.is_none() {
        return Ok(model);
    }
    let partner = match choice.partners.is_empty() {
        false => {
            let completed = choice.partners_fill(&trial.incomplete()?);
            completed.slice(s![trial.n_learn().., ..]).to_owned()
        }
        true => model.value.clone(),
    };
    let Some(draws) = &model.draws else {
        return Ok(model);
    };
    let mut answer = Answer::of_values(model.value.clone());
    let (mut flat, mut intervals) = (Vec::new(), Vec::new());
    for (k, at) in trial.scored.iter().enumerate() {
        let own: Vec<f64> = draws.row(k).to_vec();
        let said = choice.blend.join(model.value[*at], partner[*at], &own);
        answer.value[*at] = said.value;
        intervals.push(said.intervals);
        flat.extend(said.draws);
    }
    let draws = Array2::from_shape_vec(draws.dim(), flat)
        .map_err(|error| Error::Table(format!("draws of the hidden entries: {error}")))?;
    answer.draws = Some(draws);
    answer.intervals = Some(intervals);
    Ok(answer)
}

/// `ln(1 + percent)` of filled abundances, against the totals of what was there before filling.
fn ln1p_percent_of(trial: &Trial, value: &Array2<f64>) -> Array2<f64> {
    let totals = match &trial.totals {
        Totals::Given(totals) => totals.clone(),
        Totals::OfWhatIsLeft => trial.fill.totals(),
    };
    Array2::from_shape_fn(value.dim(), |(sample, feature)| {
        ln1p_percent(value[[sample, feature]], Scale(totals[sample]))
    })
}

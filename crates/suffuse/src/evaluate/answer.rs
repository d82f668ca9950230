//! What a method says of the hidden entries of a trial.

use super::ModelSetting;
use super::trial::Trial;
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
use suffuse_stats::impute::{Method as Baseline, impute};

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

/// What a baseline says of the withheld entries.
///
/// # Errors
/// None for a table that was read by this program.
pub fn of_baseline(baseline: Baseline, trial: &Trial) -> Result<Answer> {
    let completed = impute(baseline, &trial.incomplete()?);
    Ok(Answer {
        value: completed.slice(s![trial.n_learn().., ..]).to_owned(),
        draws: None,
        intervals: None,
        presence: None,
    })
}

/// A model and how it encodes metadata.
pub struct FittedModel {
    /// The model.
    pub model: Model,
    encoder: Option<ConditionEncoder>,
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
        let cohort = match &trial.learn {
            Some(learn) => Cohort {
                table: &learn.table,
                hidden: &[],
                totals: Totals::OfWhatIsLeft,
                conditions: encoded.conditions,
                groups: learn.groups.clone(),
            },
            None => Cohort {
                table: &trial.fill,
                hidden: &trial.withheld,
                totals: trial.totals.clone(),
                conditions: encoded.conditions,
                groups: trial.groups.clone(),
            },
        };
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
        })
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

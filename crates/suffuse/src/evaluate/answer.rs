//! What a method says of the hidden entries of a trial.

use super::ModelSetting;
use super::completion::{Said, SayAgain, completed};
use super::protocol::Told;
use super::trial::{Learn, Trial};
use crate::auto::Choice;
use crate::auto::presence::{Parts, ZeroJudges};
use crate::conditions::{ConditionEncoder, encode_for_fit};
use crate::impute;
use crate::method::Method;
use crate::watch::Watch;
use crate::{Error, PRESENCE_THRESHOLD, Result};
use ndarray::{Array2, s};
use std::path::Path;
use suffuse_data::Table;
use suffuse_data::transform::Scale;
use suffuse_data::transform::percent::ln1p_percent;
use suffuse_model::systems::depmicrodiff::held_out::HeldOutEntry;
use suffuse_model::systems::depmicrodiff::{
    Action, Block, Cohort, Conditions, Fill, FitOptions, ImputeOptions, Model, Partner,
    SAVE_EVERY_S, Totals, fit,
};
use suffuse_stats::Incomplete;
use suffuse_stats::calibration::LEVELS;
use suffuse_stats::impute::{
    Method as Baseline, PresenceOptions, Residual, RowTotals, Validation, impute_tuned, presence,
};
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
    /// Probability of presence of the scored entries, then of the true zeros beside them; `None` where it
    /// is known, or where the method gives none.
    pub presence: Option<Vec<f64>>,
    /// The completed samples in the unit of the table, a row per sample to fill; where counts were thinned.
    pub completed: Option<Array2<f64>>,
}

/// Share of the entries of inner validation rows that tune a baseline where no other is at stake.
const INNER_FRACTION: f64 = 0.3;
/// Quantiles of a baseline's errors that stand for its predictive distribution.
const N_QUANTILES: usize = 99;

/// What a baseline says of the hidden entries, tuned on entries hidden from the samples to learn from; its
/// errors there are its predictive distribution.
///
/// Where it is not told what is hidden, it judges presence first and gives a value where the probability
/// reaches the threshold, as the model does.
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
        fraction: match fraction > 0.0 && fraction < 1.0 {
            true => fraction,
            false => INNER_FRACTION,
        },
        totals: match trial.totals {
            Totals::Given(_) => RowTotals::Fixed,
            Totals::OfWhatIsLeft => RowTotals::OfWhatIsLeft,
        },
        seed,
    };
    if trial.told != Told::Present {
        return judged_by_baseline(baseline, trial, incomplete, &validation);
    }
    let tuned = impute_tuned(baseline, &incomplete, &validation);
    let value = tuned.completed.slice(s![trial.n_learn().., ..]).to_owned();
    match Spread::of(&tuned.residuals) {
        Some(spread) => Ok(spread.answer(trial, value)),
        None => Ok(Answer::of_values(value)),
    }
}

/// A baseline's errors as a predictive distribution.
struct Spread {
    quantiles: Vec<f64>,
    /// Ends of the central intervals.
    ends: [(f64, f64); 2],
}

impl Spread {
    fn of(residuals: &[Residual]) -> Option<Spread> {
        let mut errors: Vec<f64> = residuals.iter().map(|r| r.truth - r.predicted).collect();
        errors.sort_by(f64::total_cmp);
        if errors.len() < 2 {
            return None;
        }
        let at = |level: f64| quantile(&errors, level);
        Some(Spread {
            quantiles: (1..=N_QUANTILES)
                .map(|k| at(k as f64 / (N_QUANTILES + 1) as f64))
                .collect(),
            ends: LEVELS.map(|level| (at((1.0 - level) / 2.0), at((1.0 + level) / 2.0))),
        })
    }

    fn answer(&self, trial: &Trial, value: Array2<f64>) -> Answer {
        let of_scored = |(k, q): (usize, usize)| value[trial.scored[k]] + self.quantiles[q];
        let around = |at: &(usize, usize)| {
            let value = value[*at];
            self.ends.map(|(low, high)| (value + low, value + high))
        };
        Answer {
            draws: Some(Array2::from_shape_fn(
                (trial.scored.len(), N_QUANTILES),
                of_scored,
            )),
            intervals: Some(trial.scored.iter().map(around).collect()),
            value,
            presence: None,
            completed: None,
        }
    }
}

fn judged_by_baseline(
    baseline: Baseline,
    trial: &Trial,
    incomplete: Incomplete,
    validation: &Validation,
) -> Result<Answer> {
    let first = trial.n_learn();
    let rows: Vec<usize> = (first..incomplete.n_samples()).collect();
    let options = PresenceOptions {
        zeroed: trial.zeroed,
        seed: validation.seed,
    };
    let probability = presence(baseline, &incomplete, &rows, options)?;
    let mut values = incomplete.values;
    let mut filled = Vec::new();
    for (at, probability) in probability.indexed_iter() {
        let entry = &mut values[[first + at.0, at.1]];
        let is_candidate = match trial.told {
            Told::Present => false,
            Told::Zero => *entry == 0.0,
            Told::NotMeasured => entry.is_nan(),
        };
        if is_candidate && *probability >= PRESENCE_THRESHOLD {
            *entry = f64::NAN;
            filled.push(at);
        } else if is_candidate {
            *entry = 0.0;
        }
    }
    let tuned = impute_tuned(baseline, &Incomplete::from_values(values)?, validation);
    let mut value = Array2::from_elem(trial.truth.dim(), f64::NAN);
    for at in &filled {
        value[*at] = tuned.completed[[first + at.0, at.1]];
    }
    let spread = Spread::of(&tuned.residuals);
    let said = Said {
        filled: &filled,
        value: &value,
        presence: &probability,
    };
    let again = |learn: &Learn, table: &Table| said_again(baseline, learn, table, options.seed);
    let completed = completed(trial, &said, &again)?;
    let judged = trial.scored.iter().chain(&trial.zeros);
    let presence = judged.map(|at| probability[*at]).collect();
    let answer = match &spread {
        Some(spread) => spread.answer(trial, value),
        None => Answer::of_values(value),
    };
    Ok(Answer {
        presence: Some(presence),
        completed,
        ..answer
    })
}

/// Parts of the samples to learn from, each of which is judged by what was learned from the others.
const N_PARTS: usize = 5;

/// What a baseline says of samples to learn from with other counts, part by part.
fn said_again(baseline: Baseline, learn: &Learn, table: &Table, seed: u64) -> Result<Array2<f64>> {
    let part = |sample: usize| {
        let groups = learn.groups.as_ref();
        groups.map_or(sample, |groups| groups[sample]) % N_PARTS
    };
    let parts = Parts::new(
        (0..table.n_samples()).map(part).collect(),
        table.n_features(),
    );
    let logs = impute::ln1p_percent(table, &table.totals());
    let options = PresenceOptions { zeroed: 0.0, seed };
    Ok(parts.judged(baseline, &logs, &logs, options)?)
}

impl Answer {
    fn of_values(value: Array2<f64>) -> Answer {
        Answer {
            value,
            draws: None,
            intervals: None,
            presence: None,
            completed: None,
        }
    }
}

/// A filled cohort, with draws of its filled entries where they are needed.
#[derive(Debug, Clone, PartialEq)]
pub struct Filled {
    /// Consecutive samples.
    pub blocks: Vec<Block>,
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

    /// What the model says of held-out entries of what it was fitted on.
    ///
    /// # Errors
    /// An interruption.
    pub fn held_out(
        &self,
        trial: &Trial,
        setting: &ModelSetting,
        watch: &Watch,
    ) -> Result<Vec<HeldOutEntry>> {
        let cohort = trial.cohort_to_learn(self.conditions.clone());
        let (device, interrupted) = (&setting.device, watch.interrupted);
        Ok(self.model.held_out_entries(&cohort, device, interrupted)?)
    }

    /// Weighs the model against the partners of a method there.
    ///
    /// # Errors
    /// None for a table that was read by this program.
    pub fn choose(
        &self,
        method: Method,
        trial: &Trial,
        held_out: &[HeldOutEntry],
    ) -> Result<Choice> {
        let cohort = trial.cohort_to_learn(self.conditions.clone());
        Ok(Choice::weighed(method, &self.model, &cohort, held_out)?.0)
    }

    /// Metadata of the samples to fill, as the model knows them.
    ///
    /// # Errors
    /// As [`ConditionEncoder::encode`].
    pub fn conditions(&self, trial: &Trial) -> Result<Option<Conditions>> {
        match &self.encoder {
            Some(encoder) => Ok(Some(
                encoder.encode(&trial.fill.sample_metadata)?.conditions,
            )),
            None => Ok(None),
        }
    }

    /// Weighs the model's judgement of zeros against that of classical judges, on what it was fitted on.
    ///
    /// # Errors
    /// An interruption.
    pub fn judges(
        &self,
        trial: &Trial,
        setting: &ModelSetting,
        watch: &Watch,
    ) -> Result<ZeroJudges> {
        let cohort = trial.cohort_to_learn(self.conditions.clone());
        let (model, device) = (&self.model, &setting.device);
        ZeroJudges::weighed(model, &cohort, trial.zeroed, device, watch.interrupted)
    }

    /// What the model and its judges say of zeros of the samples to learn from with other counts.
    ///
    /// # Errors
    /// An interruption.
    fn said_again(
        &self,
        judges: &ZeroJudges,
        trial: &Trial,
        table: &Table,
        setting: &ModelSetting,
        watch: &Watch,
    ) -> Result<Array2<f64>> {
        let before = trial.cohort_to_learn(self.conditions.clone());
        let parts = Parts::new(self.model.parts(&before), table.n_features());
        let cohort = Cohort { table, ..before };
        let (device, interrupted) = (&setting.device, watch.interrupted);
        let own = self
            .model
            .presence_by_others(&cohort, &parts.is_asked(), device, interrupted)?;
        let nothing = || Array2::from_elem((table.n_samples(), table.n_features()), f64::NAN);
        let own = own.unwrap_or_else(nothing);
        let others = judges.say_in_parts(None, table, &parts)?;
        let joint = |at: (usize, usize)| judges.probability(own[at], &others, at);
        Ok(Array2::from_shape_fn(own.dim(), joint))
    }

    /// Fills what is hidden.
    ///
    /// - `partner`: what else has a say
    ///
    /// # Errors
    /// As filling.
    pub fn fill(
        &self,
        trial: &Trial,
        setting: &ModelSetting,
        seed: u64,
        partner: Option<Partner>,
        watch: &mut Watch,
    ) -> Result<Filled> {
        let cohort = Cohort {
            table: &trial.fill,
            hidden: &trial.withheld,
            totals: trial.totals.clone(),
            conditions: self.conditions(trial)?,
            groups: None,
            times: trial.times.clone(),
        };
        let mut options = ImputeOptions {
            fill: match trial.told {
                Told::Present | Told::NotMeasured => Fill::Missing,
                Told::Zero => Fill::MissingAndZeros,
            },
            presence_threshold: PRESENCE_THRESHOLD,
            structural_zeros: &[],
            n_draws: setting.config.sampling.n_draws,
            n_sets: 0,
            partner,
            sampler: setting.config.sampling.sampler,
            seed,
            device: setting.device.clone(),
            batch_size: setting.batch_size,
            progress: watch.progress,
            interrupted: watch.interrupted,
        };
        let mut blocks = Vec::new();
        self.model
            .impute_blocks(&cohort, &mut options, |block| -> Result<()> {
                blocks.push(block);
                Ok(())
            })?;
        Ok(Filled { blocks })
    }
}

/// What the model says of the entries that are scored.
///
/// # Errors
/// As filling.
pub fn of_model(
    fitted: &FittedModel,
    trial: &Trial,
    setting: &ModelSetting,
    seed: u64,
    watch: &mut Watch,
) -> Result<Answer> {
    let filled = fitted.fill(trial, setting, seed, None, watch)?;
    match trial.told {
        Told::Present => of_hidden(trial, &fitted.model, &filled),
        Told::Zero | Told::NotMeasured => {
            let alone = ZeroJudges::model_alone();
            let again =
                |_: &Learn, table: &Table| fitted.said_again(&alone, trial, table, setting, watch);
            judged_by_model(trial, &filled, &again)
        }
    }
}

/// What a method with partners says of the entries that are scored, where nothing says which of them are present:
/// zeros, any of which may be false, or entries that were not measured.
///
/// - `judges`: of the zeros
///
/// # Errors
/// As filling.
pub fn of_unknown(
    fitted: &FittedModel,
    (choice, judges): (&Choice, &ZeroJudges),
    trial: &Trial,
    setting: &ModelSetting,
    seed: u64,
    watch: &mut Watch,
) -> Result<Answer> {
    let incomplete = trial.incomplete()?;
    let first = trial.n_learn();
    let rows: Vec<usize> = (first..incomplete.n_samples()).collect();
    let options = PresenceOptions {
        zeroed: trial.zeroed,
        seed,
    };
    let others = judges.say(|judge| presence(judge, &incomplete, &rows, options))?;
    let predict = |entries: &[(u32, u32)]| {
        let places = entries
            .iter()
            .map(|(sample, feature)| (first + *sample as usize, *feature as usize));
        choice.partners_predict_in(incomplete.values.clone(), &places.collect::<Vec<_>>())
    };
    let rejudge = |zeros: &[(u32, u32)], model: &[f64]| judges.rejudged(zeros, model, &others);
    let partner = choice.has_partner().then_some(Partner {
        blend: choice.blend,
        predict: &predict,
        rejudge: Some(&rejudge),
    });
    let filled = fitted.fill(trial, setting, seed, partner, watch)?;
    let again = |_: &Learn, table: &Table| fitted.said_again(judges, trial, table, setting, watch);
    judged_by_model(trial, &filled, &again)
}

/// What a filled cohort says of entries that are known to be present.
///
/// # Errors
/// Draws of another number than hidden entries, which would be a defect of the model.
pub fn of_hidden(trial: &Trial, model: &Model, filled: &Filled) -> Result<Answer> {
    let blocks = filled.blocks.iter();
    let hidden_draws: Vec<&Vec<f64>> = blocks.flat_map(|b| &b.filled.hidden_draws).collect();
    let mut value = Array2::from_elem(trial.truth.dim(), f64::NAN);
    let (mut flat, mut intervals) = (Vec::new(), Vec::new());
    for at in &trial.scored {
        let withheld = (at.0 as u32, at.1 as u32);
        let draws = match trial.withheld.binary_search(&withheld) {
            Ok(position) => hidden_draws[position],
            Err(_) => return Err(Error::Table(format!("entry {at:?} was not withheld"))),
        };
        value[*at] = draws.iter().sum::<f64>() / draws.len() as f64;
        intervals.push(model.intervals(draws, value[*at]));
        flat.extend(draws);
    }
    let n_draws = flat.len() / trial.scored.len().max(1);
    let draws = Array2::from_shape_vec((trial.scored.len(), n_draws), flat)
        .map_err(|error| Error::Table(format!("draws of the hidden entries: {error}")))?;
    Ok(Answer {
        value,
        draws: Some(draws),
        intervals: Some(intervals),
        presence: None,
        completed: None,
    })
}

fn judged_by_model(trial: &Trial, model: &Filled, again: &SayAgain) -> Result<Answer> {
    let mut value = Array2::from_elem(trial.truth.dim(), f64::NAN);
    let mut probability = value.clone();
    let mut filled = Vec::new();
    let totals = trial.fill.totals();
    for block in &model.blocks {
        for ((row, feature), action) in block.filled.action.indexed_iter() {
            let at = (block.first_sample + row, feature);
            probability[at] = block.filled.presence[[row, feature]];
            let here = block.filled.value[[row, feature]];
            // An entry that was not measured and is judged absent is filled with 0.
            if *action == Action::Filled && here > 0.0 {
                let total = match totals[at.0] > 0.0 {
                    true => totals[at.0],
                    false => block.filled.value.row(row).sum(), // all of the sample was filled
                };
                value[at] = ln1p_percent(here, Scale(total));
                filled.push(at);
            }
        }
    }
    let said = Said {
        filled: &filled,
        value: &value,
        presence: &probability,
    };
    let completed = completed(trial, &said, again)?;
    let judged = trial.scored.iter().chain(&trial.zeros);
    let presence: Vec<f64> = judged.map(|at| probability[*at]).collect();
    let is_judged = presence.iter().all(|p| !p.is_nan());
    Ok(Answer {
        value,
        draws: None,
        intervals: None,
        presence: is_judged.then_some(presence),
        completed,
    })
}

/// What the model and its partner say together of the entries that are scored.
///
/// - `model`: from [`of_model`]
///
/// # Errors
/// A table that the partners cannot read.
pub fn of_choice(choice: &Choice, trial: &Trial, model: Answer) -> Result<Answer> {
    if choice.errors.is_none() {
        return Ok(model);
    }
    let Some(draws) = &model.draws else {
        return Ok(model);
    };
    let partner = match choice.partners.is_empty() {
        false => {
            let completed = choice.partners_fill(&trial.incomplete()?);
            completed.slice(s![trial.n_learn().., ..]).to_owned()
        }
        true => model.value.clone(),
    };
    let mut answer = Answer::of_values(model.value.clone());
    let hidden_shares = trial.hidden_shares();
    let (mut flat, mut intervals) = (Vec::new(), Vec::new());
    for (k, at) in trial.scored.iter().enumerate() {
        let own: Vec<f64> = draws.row(k).to_vec();
        let hidden_share = hidden_shares[at.0];
        let said = choice
            .blend
            .join(model.value[*at], partner[*at], &own, hidden_share);
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

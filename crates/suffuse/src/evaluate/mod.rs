//! Measuring methods on a user's own table: hide known entries, fill them, score, keep the result.

pub mod answer;
pub mod comparison;
pub mod completion;
pub mod figures;
pub mod judged;
pub mod outcome;
pub mod protocol;
pub mod score;
pub mod summary;
pub mod trial;
pub mod visits;
pub mod zero_shot;

use crate::auto::Choice;
use crate::auto::presence::ZeroJudges;
use crate::conditions::ConditionOptions;
use crate::input::Collapse;
use crate::method::Method;
use crate::watch::Watch;
use crate::{Error, Result};
use answer::{Answer, FittedModel};
use completion::Completion;
use outcome::{Key, Outcome, Seconds};
use protocol::{Protocol, Told, thinning_of};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;
use suffuse_data::Table;
use suffuse_data::format::Matrix;
use suffuse_data::format::tsv::Orientation;
use suffuse_data::hide::{Mask, Occasions, Part, Which};
use suffuse_data::split::{self, Fold};
use suffuse_model::device::{Device, gpu_name};
use suffuse_model::systems::depmicrodiff::Config;
use suffuse_model::systems::depmicrodiff::held_out::HeldOutEntry;
use trial::{Hiding, Learn, Trial};

/// A table to be measured on.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// The table with its metadata.
    pub table: &'a Table,
    /// Its file name, for people.
    pub name: String,
    /// SHA-256 of its files and of its metadata sheet.
    pub inputs_sha256: Vec<String>,
    /// Which way round a text table was read; the same file gives another table the other way.
    pub orientation: Orientation,
    /// Which matrix of an h5ad was read; another one of the same file is another table.
    pub matrix: Matrix,
    /// Which features of nested ranks were left out; the same file gives another table with it.
    pub collapse: Option<Collapse>,
}

/// How the model is fitted and sampled in an evaluation.
#[derive(Debug, Clone)]
pub struct ModelSetting<'a> {
    /// Configuration.
    pub config: Config,
    /// Which metadata columns go in and how.
    pub conditions: ConditionOptions,
    /// Group of each sample; a group is never split between training and validation.
    pub groups: Option<Vec<usize>>,
    /// Name of the column that the groups come from, for the record.
    pub group_column: Option<String>,
    /// Tables for pre-training.
    pub pretrain: &'a [Table],
    /// SHA-256 of the files of those tables.
    pub pretrain_sha256: Vec<String>,
    /// SHA-256 of the text encoder's folder, where there is one.
    pub encoder_sha256: Option<String>,
    /// Where the networks compute.
    pub device: Device,
    /// Samples per pass; has no influence on results.
    pub batch_size: usize,
    /// Folder that keeps finished training, so that settings that differ in sampling alone share
    /// it; `None` keeps nothing.
    pub models: Option<&'a Path>,
}

/// What is measured.
#[derive(Debug, Clone)]
pub struct EvaluateOptions<'a> {
    /// What is hidden and what a method may see.
    pub protocol: Protocol,
    /// What the masks of the protocol are made with, see [`Protocol::mask`]; one number of no meaning
    /// where there is a mask.
    pub fractions: Vec<f64>,
    /// A mask in place of that of the protocol; not for `published`.
    pub mask: Option<Mask>,
    /// Subject and time of each sample, which the model is told.
    pub visits: Option<Visits>,
    /// How thin samples are completed, by the model and by the baselines.
    pub completion: Completion,
    /// What is learned from in place of the other samples of the table, in a cross-validation.
    pub learn: Option<Learn>,
    /// Seeds of masks and methods; in a cross-validation the folds to run, from 0 on.
    pub seeds: Vec<u64>,
    /// Folds of the cross-validation.
    pub n_folds: usize,
    /// Methods in the order in which they run.
    pub methods: Vec<Method>,
    /// Setting of the model.
    pub model: ModelSetting<'a>,
}

/// Who was sampled when, and the columns that say so.
#[derive(Debug, Clone, PartialEq)]
pub struct Visits {
    /// Subject and time of each sample of the table.
    pub occasions: Occasions,
    /// Names of the columns of subject and time, for the record.
    pub columns: [String; 2],
}

/// A result, and whether it was there already.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// The result.
    pub outcome: Outcome,
    /// Read from its file instead of computed.
    pub was_there: bool,
}

/// Name of the folder inside the results that holds training under way.
const UNDER_WAY: &str = "under-way";

/// Runs every method on every trial and writes one file per result into `folder`; results that are
/// there already are read instead. Each result is handed to `report` as it comes.
///
/// In a cross-validation a model is fitted once per fold and serves every fraction.
///
/// # Errors
/// A table that a method cannot work on, masks that leave nothing to score, a folder that cannot be written
/// to, or an interruption, after which the same call goes on where it stopped.
pub fn evaluate(
    subject: &Subject,
    options: &EvaluateOptions,
    folder: &Path,
    watch: &mut Watch,
    report: &mut dyn FnMut(&Finished),
) -> Result<Vec<Finished>> {
    let folds = options.folds(subject.table)?;
    let mut all = Vec::new();
    let named = options.fold_of_named(subject.table, &folds)?;
    let seeds = named.as_ref().unwrap_or(&options.seeds);
    options.require_something_to_score(subject.table, &folds, seeds)?;
    for &seed in seeds {
        let mut trials: Vec<Option<Trial>> = vec![None; options.fractions.len()];
        let mut fits: Vec<Fits> = Vec::new();
        fits.resize_with(options.fractions.len(), Fits::default);
        for &method in &options.methods {
            let options = &options.of(method);
            for (number, &fraction) in options.fractions.iter().enumerate() {
                if watch.is_interrupted() {
                    return Err(Error::Interrupted {
                        advice: String::new(),
                    });
                }
                let key = key(subject, options, method, seed, fraction);
                let (outcome, was_there) = match Outcome::find(folder, &key)? {
                    Some(outcome) => (outcome, true),
                    None => {
                        let trial = match &mut trials[number] {
                            Some(trial) => trial,
                            none => {
                                let fold = folds.get(seed as usize);
                                none.insert(options.trial(subject.table, fold, fraction, seed)?)
                            }
                        };
                        let fit = match options.learns_anew()? {
                            true => &mut fits[number],
                            false => &mut fits[0],
                        };
                        let outcome = run(key, trial, options, method, fit, folder, watch)?;
                        outcome.write(folder)?;
                        (outcome, false)
                    }
                };
                let finished = Finished { outcome, was_there };
                report(&finished);
                all.push(finished);
            }
        }
    }
    Ok(all)
}

impl<'a> EvaluateOptions<'a> {
    /// As a method wants them.
    fn of(&self, method: Method) -> EvaluateOptions<'a> {
        let mut options = self.clone();
        options.model.config = method.config(options.model.config);
        options
    }

    /// The folds of a cross-validation; none where the whole table is filled.
    fn folds(&self, table: &Table) -> Result<Vec<Fold>> {
        let Some(n_folds) = self.protocol.is_held_out().then_some(self.n_folds) else {
            return Ok(Vec::new());
        };
        Ok(split::k_folds(&self.groups(table), n_folds, FOLD_SEED)?)
    }

    /// The one fold that tests the samples that the mask names; none where it names none.
    fn fold_of_named(&self, table: &Table, folds: &[Fold]) -> Result<Option<Vec<u64>>> {
        if folds.is_empty() {
            return Ok(None);
        }
        let mut found: Option<(u64, String)> = None;
        for fraction in &self.fractions {
            let mask = self.mask_at(*fraction)?;
            for part in mask.parts() {
                let Part::Sample(Which::Named(name)) = part else {
                    continue;
                };
                let sample = table.sample_ids().iter().position(|id| id == name);
                let fold = |fold: &Fold| sample.is_some_and(|sample| fold.test.contains(&sample));
                let Some(fold) = folds.iter().position(fold) else {
                    return Err(Error::Table(format!(
                        "--mask: the table has no sample {name:?}; its ids are like {:?}",
                        table.sample_ids()[0]
                    )));
                };
                match &found {
                    Some((other, first)) if *other != fold as u64 => {
                        return Err(Error::Usage(format!(
                            "--mask: samples {first:?} and {name:?} are tested in different folds of the cross-validation; name one of them at a time"
                        )));
                    }
                    _ => found = Some((fold as u64, name.clone())),
                }
            }
        }
        Ok(found.map(|(fold, _)| vec![fold]))
    }

    /// Refuses masks of which no trial could say anything, before any method runs.
    fn require_something_to_score(
        &self,
        table: &Table,
        folds: &[Fold],
        seeds: &[u64],
    ) -> Result<()> {
        for &seed in seeds {
            for &fraction in &self.fractions {
                let fold = folds.get(seed as usize);
                let trial = self.trial(table, fold, fraction, seed)?;
                if !trial.scored.is_empty() || trial.full_depth.is_some() {
                    return Ok(());
                }
            }
        }
        let what = match &self.mask {
            Some(mask) => format!("--mask {mask} of protocol {}", self.protocol),
            None => format!("protocol {}", self.protocol),
        };
        Err(Error::Table(format!(
            "{what} hides no value above zero of a sample that keeps another one, so there is nothing to score; hide more (--fraction, --mask), or more folds (--seeds)"
        )))
    }

    /// The group of each sample; every sample for itself where none is given.
    fn groups(&self, table: &Table) -> Vec<usize> {
        let alone = || split::ungrouped(table.n_samples());
        self.model.groups.clone().unwrap_or_else(alone)
    }

    fn trial(&self, table: &Table, fold: Option<&Fold>, fraction: f64, seed: u64) -> Result<Trial> {
        match fold {
            None if self.protocol == Protocol::Published => {
                Trial::published(table, self.model.groups.clone(), fraction, seed)
            }
            None => {
                let groups = self.model.groups.clone();
                Trial::time_points(table, groups, &self.hiding(&self.mask_at(fraction)?, seed))
            }
            Some(fold) => {
                let mask = self.mask_at(fraction)?;
                let hiding = self.hiding(&mask, seed);
                let trial = Trial::held_out(table, &self.groups(table), fold, &hiding)?;
                Ok(match &self.learn {
                    Some(learn) => Trial {
                        learn: Some(learn.clone()),
                        ..trial
                    },
                    None => trial,
                })
            }
        }
    }

    fn hiding<'b>(&'b self, mask: &'b Mask, seed: u64) -> Hiding<'b> {
        Hiding {
            protocol: self.protocol,
            mask,
            occasions: self.visits.as_ref().map(|visits| &visits.occasions),
            seed,
            completion: self.completion,
        }
    }

    fn mask_at(&self, fraction: f64) -> Result<Mask> {
        match &self.mask {
            Some(mask) => Ok(mask.clone()),
            None => self.protocol.mask(fraction),
        }
    }

    /// Says whether what is learned from changes with the fraction: a fit around what is hidden, or on
    /// counts that were thinned.
    fn learns_anew(&self) -> Result<bool> {
        let fraction = self.fractions.first().copied().unwrap_or(1.0);
        Ok(!self.protocol.is_held_out() || thinning_of(&self.mask_at(fraction)?).is_some())
    }
}

/// Seed of the folds: the same for every mask, so that every sample is tested once.
const FOLD_SEED: u64 = 0;

/// The models of a trial.
#[derive(Default)]
struct Fits {
    /// With all that is known.
    own: Option<Ready>,
    /// The one that knows nothing of times.
    without_times: Option<Ready>,
    /// The one that is not dependency-aware.
    mbvdit: Option<Ready>,
}

/// A fitted model and how long that took.
struct Ready {
    fitted: FittedModel,
    seconds: f64,
    /// What the model says of held-out entries, and how long that took.
    held_out: Option<(Vec<HeldOutEntry>, f64)>,
    /// What each method with partners chose, by its name, and how long that took.
    choices: BTreeMap<String, (Choice, f64)>,
    /// What the model says of a trial whose fraction has these bits, and how long that took: the default method
    /// and the model by name both ask.
    said: BTreeMap<u64, (Answer, f64)>,
}

impl Ready {
    /// What a method says of a trial, how long that takes, and how long it took to choose.
    fn says(
        &mut self,
        method: Method,
        key: &Key,
        trial: &Trial,
        options: &EvaluateOptions,
        watch: &mut Watch,
    ) -> Result<(Answer, f64, f64)> {
        let (fitted, setting) = (&self.fitted, &options.model);
        let is_alone = method.partners(fitted.model.config()).is_empty();
        if is_alone || trial.shows_nothing() {
            let (answer, seconds) = self.model_says(key, trial, options, watch)?;
            return Ok((answer, seconds, 0.0));
        }
        let (choice, choosing) = self.choice(method, trial, setting, watch)?;
        if trial.told != Told::Present {
            let start = Instant::now();
            let judges = match (method, trial.told) {
                (Method::Auto, Told::Zero) => self.fitted.judges(trial, setting, watch)?,
                _ => ZeroJudges::model_alone(),
            };
            let by = (&choice, &judges);
            let answer = answer::of_unknown(&self.fitted, by, trial, setting, key.seed, watch)?;
            return Ok((answer, start.elapsed().as_secs_f64(), choosing));
        }
        let (model, seconds) = self.model_says(key, trial, options, watch)?;
        let start = Instant::now();
        let answer = answer::of_choice(&choice, trial, model)?;
        Ok((answer, seconds + start.elapsed().as_secs_f64(), choosing))
    }

    /// The weights of a method, and how long it took to find them.
    fn choice(
        &mut self,
        method: Method,
        trial: &Trial,
        setting: &ModelSetting,
        watch: &Watch,
    ) -> Result<(Choice, f64)> {
        if let Some(found) = self.choices.get(&method.to_string()) {
            return Ok(found.clone());
        }
        let (held_out, seconds) = match &self.held_out {
            Some((held_out, seconds)) => (held_out, *seconds),
            None => {
                let start = Instant::now();
                let held_out = self.fitted.held_out(trial, setting, watch)?;
                let seconds = start.elapsed().as_secs_f64();
                let (held_out, seconds) = self.held_out.insert((held_out, seconds));
                (&*held_out, *seconds)
            }
        };
        let start = Instant::now();
        let choice = self.fitted.choose(method, trial, held_out)?;
        let found = (choice, seconds + start.elapsed().as_secs_f64());
        self.choices.insert(method.to_string(), found.clone());
        Ok(found)
    }

    /// What the model alone says of a trial, and how long that takes.
    fn model_says(
        &mut self,
        key: &Key,
        trial: &Trial,
        options: &EvaluateOptions,
        watch: &mut Watch,
    ) -> Result<(Answer, f64)> {
        let trial_bits = key.fraction.to_bits();
        if let Some(said) = self.said.remove(&trial_bits) {
            return Ok(said);
        }
        let start = Instant::now();
        let answer = answer::of_model(&self.fitted, trial, &options.model, key.seed, watch)?;
        let said = (answer, start.elapsed().as_secs_f64());
        let asking = [Method::DepMicroDiff, Method::Auto];
        if trial.told != Told::Zero && asking.iter().all(|m| options.methods.contains(m)) {
            self.said.insert(trial_bits, said.clone());
        }
        Ok(said)
    }
}

fn run(
    key: Key,
    trial: &Trial,
    options: &EvaluateOptions,
    method: Method,
    fits: &mut Fits,
    folder: &Path,
    watch: &mut Watch,
) -> Result<Outcome> {
    let start = Instant::now();
    let of_simple = |answer: Answer| {
        let filling = start.elapsed().as_secs_f64();
        let total = filling;
        (answer, Seconds { total, filling })
    };
    let (answer, seconds) = match method {
        Method::Baseline(baseline) => {
            // Of the others the number says nothing of how many entries are hidden.
            let fraction = match options.protocol {
                Protocol::Published | Protocol::Strict | Protocol::Blind => key.fraction,
                _ => 0.0,
            };
            of_simple(answer::of_baseline(baseline, trial, fraction, key.seed)?)
        }
        Method::InTime(method) => {
            let times = trial.times.as_ref().ok_or_else(|| {
                Error::Usage(format!(
                    "{method} needs to know who was sampled when: add --subject COLUMN and --time COLUMN"
                ))
            })?;
            of_simple(visits::of_time(method, times, trial)?)
        }
        Method::DepMicroDiff | Method::Auto | Method::WithoutTimes | Method::MbVdit => {
            let alone = (method == Method::WithoutTimes).then(|| trial.without_times());
            let trial = alone.as_ref().unwrap_or(trial);
            let ready = match method {
                Method::WithoutTimes => &mut fits.without_times,
                Method::MbVdit => &mut fits.mbvdit,
                _ => &mut fits.own,
            };
            let ready = match ready {
                Some(ready) => ready,
                None => ready.insert(prepare(&key, trial, options, folder, watch)?),
            };
            let (answer, filling, choosing) = ready.says(method, &key, trial, options, watch)?;
            let total = ready.seconds + choosing + filling;
            (answer, Seconds { total, filling })
        }
    };
    let answer = match options.protocol {
        Protocol::TimePoint => visits::closed(answer, trial),
        _ => answer,
    };
    score::score(key, trial, &answer, seconds)
}

/// Fits the model, taking up what is left of an earlier fit.
fn prepare(
    key: &Key,
    trial: &Trial,
    options: &EvaluateOptions,
    folder: &Path,
    watch: &mut Watch,
) -> Result<Ready> {
    let name = fit_name(key, options);
    let checkpoint = match options.model.models {
        Some(models) => models.join(name),
        None => folder.join(UNDER_WAY).join(name),
    };
    std::fs::create_dir_all(&checkpoint)
        .map_err(|error| Error::io(&checkpoint, "make the folder", error))?;
    let start = Instant::now();
    let fitted = FittedModel::fit(trial, &options.model, key.seed, Some(&checkpoint), watch)?;
    let seconds = start.elapsed().as_secs_f64();
    if options.model.models.is_none() {
        std::fs::remove_dir_all(&checkpoint)
            .map_err(|error| Error::io(&checkpoint, "remove", error))?;
        // Fails while another evaluation is under way beside this one, as it should.
        let _ = std::fs::remove_dir(folder.join(UNDER_WAY));
    }
    Ok(Ready {
        fitted,
        seconds,
        held_out: None,
        choices: BTreeMap::new(),
        said: BTreeMap::new(),
    })
}

/// Folds of a cross-validation unless another number is asked for.
pub const N_FOLDS: usize = 5;
/// Raised with every change that moves results, so that old files are not taken for finished ones.
const RESULTS_VERSION: &str = "8";
/// Raised with every change that moves results of the diffusion model alone, or of what is weighed with it.
const MODEL_VERSION: &str = "2";
/// The same where entries were not measured.
const MODEL_VERSION_NOT_MEASURED: &str = "3";
const MODEL: &str = "model";

fn model_version(protocol: Protocol) -> &'static str {
    match protocol.told() {
        Told::NotMeasured => MODEL_VERSION_NOT_MEASURED,
        Told::Present | Told::Zero => MODEL_VERSION,
    }
}

fn key(
    subject: &Subject,
    options: &EvaluateOptions,
    method: Method,
    seed: u64,
    fraction: f64,
) -> Key {
    let mut setting = BTreeMap::new();
    setting.insert("results".to_string(), RESULTS_VERSION.to_string());
    if !method.is_baseline() {
        let version = model_version(options.protocol).to_string();
        setting.insert(MODEL.to_string(), version);
    }
    if subject.orientation != Orientation::Auto {
        setting.insert(
            "orientation".to_string(),
            format!("{:?}", subject.orientation),
        );
    }
    if let Matrix::Layer(layer) = &subject.matrix {
        setting.insert("layer".to_string(), layer.clone());
    }
    if let Some(Collapse::Leaves) = subject.collapse {
        setting.insert("collapse".to_string(), "leaves".to_string());
    }
    if let Some(mask) = &options.mask {
        setting.insert("mask".to_string(), mask.to_string());
    }
    if let Some(visits) = &options.visits {
        setting.insert("visits".to_string(), visits.columns.join(", "));
    }
    let model = &options.model;
    if options.completion != Completion::default() {
        setting.insert("completion".to_string(), options.completion.to_string());
    }
    if options.protocol.is_held_out() {
        setting.insert("folds".to_string(), options.n_folds.to_string());
    }
    if let Some(column) = model
        .group_column
        .as_ref()
        .filter(|_| options.protocol.is_held_out() || !method.is_baseline())
    {
        setting.insert("groups".to_string(), column.clone());
    }
    if options.learn.is_some() {
        let digests = model.pretrain_sha256.join(" ");
        setting.insert("learn only from".to_string(), digests);
    }
    let is_model = !method.is_baseline();
    if is_model {
        setting.insert("config".to_string(), model.config.to_toml());
        setting.insert("metadata".to_string(), model.conditions.to_string());
        if let Some(sha256) = &model.encoder_sha256 {
            setting.insert("encoder".to_string(), sha256.clone());
        }
        if let Some(gpu) = gpu_name(&model.device) {
            setting.insert("device".to_string(), gpu);
        }
        if !model.pretrain_sha256.is_empty() && options.learn.is_none() {
            setting.insert("pretrain".to_string(), model.pretrain_sha256.join(" "));
        }
    }
    Key {
        version: env!("CARGO_PKG_VERSION").to_string(),
        table: subject.name.clone(),
        inputs_sha256: subject.inputs_sha256.clone(),
        protocol: options.protocol.to_string(),
        fraction,
        seed,
        method: method.to_string(),
        setting,
    }
}

/// Name of the folder of a fit: a hash of all that determines it, which is the key of the result
/// but for the settings of sampling.
fn fit_name(key: &Key, options: &EvaluateOptions) -> String {
    let mut key = key.clone();
    if key.method == Method::Auto.to_string() {
        key.method = Method::DepMicroDiff.to_string();
    }
    key.setting.remove(MODEL);
    if options.protocol.is_held_out() {
        // Nothing of how the others are hidden goes into it, but for the depth of the samples.
        let mask = options.mask_at(key.fraction).ok();
        if let Some(thinning) = mask.as_ref().and_then(thinning_of) {
            key.setting
                .insert("depth".to_string(), thinning.to_string());
        }
        for name in ["mask", "completion"] {
            key.setting.remove(name);
        }
        key.fraction = 0.0;
        key.protocol = "held out".to_string();
    }
    let config = Config {
        sampling: Config::small().sampling,
        ..options.model.config
    };
    key.setting.insert("config".to_string(), config.to_toml());
    let name = key.file_name();
    name.trim_end_matches(".json").to_string()
}

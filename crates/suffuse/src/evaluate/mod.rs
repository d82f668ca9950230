//! Measuring methods on a user's own table: hide known entries, fill them, score, keep the result.

pub mod figures;
pub mod outcome;
pub mod protocol;
pub mod summary;

use crate::conditions::{ConditionOptions, encode_for_fit};
use crate::input::Collapse;
use crate::method::Method;
use crate::watch::Watch;
use crate::{Error, Result};
use ndarray::Array2;
use outcome::{Key, Outcome, Seconds};
use protocol::Published;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;
use suffuse_data::Table;
use suffuse_data::format::tsv::Orientation;
use suffuse_model::device::{Device, gpu_name};
use suffuse_model::systems::depmicrodiff::{
    Cohort, Conditions, Config, Fill, FitOptions, Imputation, ImputeOptions, Model, SAVE_EVERY_S,
    Totals, fit,
};
use suffuse_stats::impute::impute;
use suffuse_stats::scores::{DrawScores, ScoreReport, score_draws, score_entries};

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
    /// Share of the non-zero entries to hide, 0 to 1.
    pub fraction: f64,
    /// Seeds of masks and methods.
    pub seeds: Vec<u64>,
    /// Methods in the order in which they run.
    pub methods: Vec<Method>,
    /// Setting of the model.
    pub model: ModelSetting<'a>,
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

/// Runs every method on every seed and writes one file per result into `folder`; results that are
/// there already are read instead. Each result is handed to `report` as it comes.
///
/// # Errors
/// A table that a method cannot work on, a folder that cannot be written to, or an interruption,
/// after which the same call goes on where it stopped.
pub fn evaluate(
    subject: &Subject,
    options: &EvaluateOptions,
    folder: &Path,
    watch: &mut Watch,
    report: &mut dyn FnMut(&Finished),
) -> Result<Vec<Finished>> {
    let mut all = Vec::new();
    for &seed in &options.seeds {
        let mut published = None;
        for &method in &options.methods {
            if watch.is_interrupted() {
                return Err(Error::Interrupted {
                    advice: String::new(),
                });
            }
            let key = key(subject, options, method, seed);
            let finished = match Outcome::find(folder, &key)? {
                Some(outcome) => Finished {
                    outcome,
                    was_there: true,
                },
                None => {
                    if published.is_none() {
                        published = Some(Published::new(subject.table, options.fraction, seed)?);
                    }
                    let published = published.as_ref().expect("set just above");
                    let outcome = run(key, published, options, method, folder, watch)?;
                    outcome.write(folder)?;
                    Finished {
                        outcome,
                        was_there: false,
                    }
                }
            };
            report(&finished);
            all.push(finished);
        }
    }
    Ok(all)
}

fn run(
    key: Key,
    published: &Published,
    options: &EvaluateOptions,
    method: Method,
    folder: &Path,
    watch: &mut Watch,
) -> Result<Outcome> {
    let start = Instant::now();
    let feature_ids = published.table.feature_ids();
    match method {
        Method::Baseline(baseline) => {
            let completed = impute(baseline, &published.incomplete()?);
            let seconds = start.elapsed().as_secs_f64();
            let report = score_entries(&published.truth, &completed, &published.positions())?;
            Ok(Outcome::new(
                key,
                &report,
                feature_ids,
                None,
                Seconds {
                    total: seconds,
                    filling: seconds,
                },
            ))
        }
        Method::DepMicroDiff => {
            let checkpoint = match options.model.models {
                Some(models) => models.join(fit_name(&key, options)),
                None => folder
                    .join(UNDER_WAY)
                    .join(key.file_name().trim_end_matches(".json")),
            };
            std::fs::create_dir_all(&checkpoint)
                .map_err(|error| Error::io(&checkpoint, "make the folder", error))?;
            let fitted = fit_and_impute(
                published,
                &options.model,
                key.seed,
                Some(&checkpoint),
                watch,
            )?;
            let seconds = Seconds {
                total: start.elapsed().as_secs_f64(),
                filling: fitted.seconds_of_filling,
            };
            let (report, draws) = score_model(published, &fitted.imputation)?;
            if options.model.models.is_none() {
                std::fs::remove_dir_all(&checkpoint)
                    .map_err(|error| Error::io(&checkpoint, "remove", error))?;
                // Fails while another evaluation is under way beside this one, as it should.
                let _ = std::fs::remove_dir(folder.join(UNDER_WAY));
            }
            Ok(Outcome::new(
                key,
                &report,
                feature_ids,
                Some(draws),
                seconds,
            ))
        }
    }
}

/// A model and what it made of the hidden entries that it was fitted around.
pub struct Fitted {
    /// The model.
    pub model: Model,
    /// Draws and values of the hidden entries.
    pub imputation: Imputation,
    /// Encoded metadata of the samples.
    pub conditions: Option<Conditions>,
    /// Wall-clock seconds after the fit.
    pub seconds_of_filling: f64,
}

/// Fits the model on what is not hidden and fills its hidden entries.
///
/// # Errors
/// As fitting and filling.
pub fn fit_and_impute(
    published: &Published,
    setting: &ModelSetting,
    seed: u64,
    checkpoint: Option<&Path>,
    watch: &mut Watch,
) -> Result<Fitted> {
    let encoded = encode_for_fit(&published.table.sample_metadata, &setting.conditions, seed)?;
    let cohort = Cohort {
        table: published.table,
        hidden: &published.hidden,
        totals: Totals::Given(published.totals.clone()),
        conditions: encoded.conditions,
        groups: setting.groups.clone(),
    };
    let mut fit_options = FitOptions {
        seed,
        pretrain: setting.pretrain,
        device: setting.device.clone(),
        checkpoint,
        save_every_s: SAVE_EVERY_S,
        progress: watch.progress,
        interrupted: watch.interrupted,
    };
    let model = fit(&setting.config, &cohort, &mut fit_options)?;
    let mut impute_options = ImputeOptions {
        fill: Fill::Missing,
        presence_threshold: crate::PRESENCE_THRESHOLD,
        structural_zeros: &[],
        n_draws: setting.config.sampling.n_draws,
        sampler: setting.config.sampling.sampler,
        seed,
        device: setting.device.clone(),
        batch_size: setting.batch_size,
        progress: watch.progress,
        interrupted: watch.interrupted,
    };
    let start = Instant::now();
    let imputation = model.impute(&cohort, &mut impute_options)?;
    Ok(Fitted {
        seconds_of_filling: start.elapsed().as_secs_f64(),
        model,
        imputation,
        conditions: cohort.conditions,
    })
}

/// Scores the mean of the draws of every hidden entry, and the draws themselves.
///
/// # Errors
/// Draws of another number than hidden entries, which would be a defect of the model.
pub fn score_model(
    published: &Published,
    imputation: &Imputation,
) -> Result<(ScoreReport, DrawScores)> {
    let n_draws = imputation.hidden_draws.first().map_or(0, Vec::len);
    let flat: Vec<f64> = imputation.hidden_draws.iter().flatten().copied().collect();
    let draws = Array2::from_shape_vec((published.hidden.len(), n_draws), flat)
        .map_err(|error| Error::Table(format!("draws of the hidden entries: {error}")))?;
    let positions = published.positions();
    let prediction = mean_of_draws(published, imputation);
    let report = score_entries(&published.truth, &prediction, &positions)?;
    Ok((
        report,
        score_draws(&published.hidden_truth(), draws.view())?,
    ))
}

/// The mean of the draws at hidden entries, 0 elsewhere, in `ln(1 + percent)`.
pub fn mean_of_draws(published: &Published, imputation: &Imputation) -> Array2<f64> {
    let mut prediction = Array2::zeros(published.truth.dim());
    for (at, draws) in published
        .positions()
        .into_iter()
        .zip(&imputation.hidden_draws)
    {
        prediction[at] = draws.iter().sum::<f64>() / draws.len() as f64;
    }
    prediction
}

/// Raised with every change that moves results, so that old files are not taken for finished ones.
const RESULTS_VERSION: &str = "3";

fn key(subject: &Subject, options: &EvaluateOptions, method: Method, seed: u64) -> Key {
    let mut setting = BTreeMap::new();
    setting.insert("results".to_string(), RESULTS_VERSION.to_string());
    if subject.orientation != Orientation::Auto {
        setting.insert(
            "orientation".to_string(),
            format!("{:?}", subject.orientation),
        );
    }
    if let Some(Collapse::Leaves) = subject.collapse {
        setting.insert("collapse".to_string(), "leaves".to_string());
    }
    if method == Method::DepMicroDiff {
        let model = &options.model;
        setting.insert("config".to_string(), model.config.to_toml());
        setting.insert("metadata".to_string(), model.conditions.to_string());
        if let Some(sha256) = &model.encoder_sha256 {
            setting.insert("encoder".to_string(), sha256.clone());
        }
        if let Some(column) = &model.group_column {
            setting.insert("groups".to_string(), column.clone());
        }
        if let Some(gpu) = gpu_name(&model.device) {
            setting.insert("device".to_string(), gpu);
        }
        if !model.pretrain_sha256.is_empty() {
            setting.insert("pretrain".to_string(), model.pretrain_sha256.join(" "));
        }
    }
    Key {
        version: env!("CARGO_PKG_VERSION").to_string(),
        table: subject.name.clone(),
        inputs_sha256: subject.inputs_sha256.clone(),
        protocol: "published".to_string(),
        fraction: options.fraction,
        seed,
        method: method.to_string(),
        setting,
    }
}

/// Name of the folder of a fit: a hash of all that determines it, which is the key of the result
/// but for the settings of sampling.
fn fit_name(key: &Key, options: &EvaluateOptions) -> String {
    let mut key = key.clone();
    let config = Config {
        sampling: Config::small().sampling,
        ..options.model.config
    };
    key.setting.insert("config".to_string(), config.to_toml());
    let name = key.file_name();
    name.trim_end_matches(".json").to_string()
}

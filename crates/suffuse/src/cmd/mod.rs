//! The commands of the program, one file each, and the arguments that several of them share.

mod audit;
mod compare;
mod completions;
mod convert;
mod demo;
mod dependencies;
mod evaluate;
mod fit;
mod generate;
mod impute;
mod inspect;
mod plan;
mod pool;
mod privacy;
mod times;

use crate::talk::Talk;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use suffuse::conditions::{ConditionOptions, Encoding, FitConditions};
use suffuse::input::{Collapse, Input, InputOptions};
use suffuse::provenance::{Provenance, digest, digest_text};
use suffuse::settings::{self, Setting};
use suffuse::{Result, Watch};
use suffuse_data::format::tsv::Orientation;
use suffuse_data::format::{Format, Matrix, Overwrite, detect};
use suffuse_data::{Table, split};
use suffuse_model::cond::TextEncoder;
use suffuse_model::device::{Device, DeviceChoice, gpu_name};
use suffuse_model::systems::depmicrodiff::Config;
use suffuse_model::train::Progress;

const ABOUT: &str = "Fill in sparse biological tables with diffusion models";

const EXAMPLES: &str = "\
Examples:
  suffuse demo                                   see it work on a simulated table
  suffuse impute table.h5ad -o completed.h5ad    fit and fill in one go
  suffuse evaluate table.biom --out results      measure it against the baselines on your table
  suffuse generate table.h5ad -o synthetic.h5ad  as many samples again, of nobody

Exit codes: 0 good, 1 failed, 2 bad usage, 130 interrupted.";

/// The program's arguments.
#[derive(Debug, Parser)]
#[command(name = "suffuse", version, about = ABOUT, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
}

/// Arguments that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct GlobalArgs {
    /// Write results to stdout as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing on stderr but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more on stderr
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// Threads to use [default: one per core]
    #[arg(long, global = true, value_name = "N", value_parser = at_least_one)]
    pub(crate) threads: Option<usize>,
}

/// A command with its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fill the missing entries and false zeros of a table
    Impute(Box<impute::ImputeArgs>),
    /// Fit a model and keep it in a folder
    Fit(Box<fit::FitArgs>),
    /// Hide known entries, fill them with several methods, and score
    Evaluate(Box<evaluate::EvaluateArgs>),
    /// Generate synthetic samples like those of a table
    Generate(Box<generate::GenerateArgs>),
    /// Compare generated samples with real ones
    Compare(Box<compare::CompareArgs>),
    /// Compare two groups of samples over completed tables (multiple imputation)
    Pool(Box<pool::PoolArgs>),
    /// Say what a synthetic table gives away of the samples that it was made from
    Privacy(privacy::PrivacyArgs),
    /// Find which taxa depend on which
    Dependencies(dependencies::DependenciesArgs),
    /// Find leaks and traps in a table, and say what to do about them
    Audit(audit::AuditArgs),
    /// Say what is in a table or in the folder of a model
    Inspect(inspect::InspectArgs),
    /// Read a table in one format and write it in another
    Convert(convert::ConvertArgs),
    /// Simulate a table and go through all steps on it
    Demo(demo::DemoArgs),
    /// Write a completion script for a shell to stdout
    Completions(completions::CompletionsArgs),
}

/// What a command needs beside its arguments.
pub(crate) struct Context {
    pub(crate) talk: Talk,
    pub(crate) json: bool,
    /// The command as typed.
    pub(crate) command: String,
    pub(crate) interrupted: &'static AtomicBool,
    /// Set while something looks at `interrupted`.
    pub(crate) is_watched: &'static AtomicBool,
}

/// Runs a command.
///
/// # Errors
/// Whatever stopped it.
pub(crate) fn run(command: &Command, context: &mut Context) -> Result<()> {
    match command {
        Command::Impute(arguments) => impute::run(arguments, context),
        Command::Fit(arguments) => fit::run(arguments, context),
        Command::Evaluate(arguments) => evaluate::run(arguments, context),
        Command::Generate(arguments) => generate::run(arguments, context),
        Command::Compare(arguments) => compare::run(arguments, context),
        Command::Pool(arguments) => pool::run(arguments, context),
        Command::Privacy(arguments) => privacy::run(arguments, context),
        Command::Dependencies(arguments) => dependencies::run(arguments, context),
        Command::Audit(arguments) => audit::run(arguments, context),
        Command::Inspect(arguments) => inspect::run(arguments, context),
        Command::Convert(arguments) => convert::run(arguments, context),
        Command::Demo(arguments) => demo::run(arguments, context),
        Command::Completions(arguments) => completions::run(arguments, context),
    }
}

impl Context {
    /// Runs something long with progress on stderr and an ear for Ctrl-C.
    pub(crate) fn watched<T>(&mut self, work: impl FnOnce(&mut Watch) -> Result<T>) -> Result<T> {
        let talk = &mut self.talk;
        let mut progress = |step: &Progress| talk.step(step);
        self.is_watched.store(true, Ordering::Relaxed);
        let done = work(&mut Watch {
            progress: &mut progress,
            interrupted: self.interrupted,
        });
        self.is_watched.store(false, Ordering::Relaxed);
        done
    }

    /// Says what became of the metadata columns; which of them are left out, to all who named them.
    pub(crate) fn of_conditions(&mut self, found: &FitConditions, are_named: bool) {
        for column in &found.left_out {
            match are_named {
                true => self.talk.note(column),
                false => self.talk.detail(column),
            }
        }
        if let Some(conditions) = &found.conditions {
            self.talk
                .detail(&format!("conditions: {}", conditions.description));
        }
    }

    /// Passes on what the user should know.
    pub(crate) fn notes(&mut self, notes: &[String]) {
        for note in notes {
            self.talk.note(note);
        }
    }
}

/// Where a table comes from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub(crate) struct InputArgs {
    /// Sheet with one row per sample (TSV or CSV), joined by sample id
    #[arg(short, long, value_name = "FILE")]
    metadata: Option<PathBuf>,
    /// Which way round a text table lies
    #[arg(long, value_name = "HOW", default_value = "auto")]
    orientation: OrientationArg,
    /// Layer of an .h5ad to read in place of X, as counts; raw is AnnData's raw
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// Features to leave out where ranks are nested (a genus beside its species)
    #[arg(long, value_name = "HOW")]
    collapse: Option<CollapseArg>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CollapseArg {
    /// Keep the features without a descendant in the table, by lineage
    Leaves,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OrientationArg {
    /// By the header: `#OTU ID` and the like mean one line per feature, anything else one per sample
    Auto,
    /// One line per sample
    Samples,
    /// One line per feature
    Features,
}

impl InputArgs {
    pub(crate) fn options(&self) -> InputOptions {
        let orientation = match self.orientation {
            OrientationArg::Auto => Orientation::Auto,
            OrientationArg::Samples => Orientation::SamplesInRows,
            OrientationArg::Features => Orientation::SamplesInColumns,
        };
        InputOptions {
            metadata: self.metadata.clone(),
            orientation,
            matrix: self.layer.clone().map_or(Matrix::X, Matrix::Layer),
            collapse: self.collapse.map(|CollapseArg::Leaves| Collapse::Leaves),
        }
    }
}

/// How metadata reach the model.
#[derive(Debug, Args)]
#[command(next_help_heading = "Metadata")]
pub(crate) struct MetadataArgs {
    /// Columns to use, separated by commas [default: all that can serve]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    metadata_columns: Option<Vec<String>>,
    /// `columns` (numbers and categories), `none`, or the local folder of a BERT-family text encoder
    #[arg(long, value_name = "HOW", default_value = "columns")]
    encoder: String,
    /// Share of the metadata cells to keep, to measure what they are worth
    #[arg(long, value_name = "0..1", default_value_t = 1.0, value_parser = share)]
    metadata_keep: f64,
}

impl MetadataArgs {
    /// SHA-256 of the text encoder, where one is asked for.
    pub(crate) fn encoder_sha256(&self) -> Result<Option<String>> {
        Ok(match self.options().encoding {
            Encoding::Text(folder) => Some(TextEncoder::load(&folder)?.identity().to_string()),
            Encoding::Columns | Encoding::Off => None,
        })
    }

    /// Says whether nothing was asked for.
    pub(crate) fn is_default(&self) -> bool {
        self.options() == ConditionOptions::default()
    }

    /// Says whether the user named the columns.
    pub(crate) fn are_named(&self) -> bool {
        self.metadata_columns.is_some()
    }

    pub(crate) fn options(&self) -> ConditionOptions {
        let encoding = match self.encoder.as_str() {
            "columns" => Encoding::Columns,
            "none" => Encoding::Off,
            folder => Encoding::Text(PathBuf::from(folder)),
        };
        ConditionOptions {
            encoding,
            columns: self.metadata_columns.clone(),
            keep: self.metadata_keep,
        }
    }
}

const DEFAULT_CONFIG: &str = "small";

/// How a model is fitted.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct FitSettingArgs {
    /// Configuration: small, paper, tiny, or a .toml file
    #[arg(long, value_name = "NAME|FILE", default_value = DEFAULT_CONFIG)]
    config: String,
    /// Set a key of the configuration, as in dat.dependency_mask=restrict (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<Setting>,
    /// Tables of other cohorts to pre-train on; must not hold the samples of TABLE
    #[arg(long, value_name = "TABLE", num_args = 1..)]
    pretrain: Vec<PathBuf>,
    /// Metadata column whose groups (patients, families) are never split for validation
    #[arg(long, value_name = "COLUMN")]
    group: Option<String>,
}

/// The tables and settings that a fit needs.
pub(crate) struct FitSetting {
    pub(crate) config: Config,
    pub(crate) pretrain: Vec<Table>,
    pub(crate) pretrain_sha256: Vec<String>,
    pub(crate) groups: Option<Vec<usize>>,
    pub(crate) group_column: Option<String>,
}

impl FitSettingArgs {
    /// Reads everything that is named, with `more` settings applied last.
    ///
    /// - `matrix`: of the table, and of the other cohorts that are h5ad files
    pub(crate) fn resolve(
        &self,
        table: &Table,
        more: &[Setting],
        matrix: &Matrix,
        context: &mut Context,
    ) -> Result<FitSetting> {
        let settings: Vec<Setting> = self.set.iter().chain(more).cloned().collect();
        let config = settings::config(&self.config, &settings)?;
        let mut pretrain = Vec::new();
        let mut pretrain_sha256 = Vec::new();
        for path in &self.pretrain {
            let options = InputOptions {
                matrix: match detect(path)? {
                    Format::H5ad => matrix.clone(),
                    _ => Matrix::X,
                },
                ..InputOptions::default()
            };
            let Input { table, sources, .. } = suffuse::input::read(path, &options)?;
            for doubt in suffuse::input::doubts(path, &options, &table) {
                context.talk.note(&format!("{}: {doubt}", path.display()));
            }
            context.talk.detail(&format!(
                "{}: {} samples for pre-training",
                path.display(),
                table.n_samples()
            ));
            pretrain.push(table);
            let digests: Vec<String> = sources.into_iter().map(|source| source.sha256).collect();
            pretrain_sha256.push(match &digests[..] {
                [one] => one.clone(),
                files => digest_text(&files.join(" ")),
            });
        }
        let groups = match &self.group {
            Some(column) => Some(split::groups(&table.sample_metadata, column)?),
            None => None,
        };
        Ok(FitSetting {
            config,
            pretrain,
            pretrain_sha256,
            groups,
            group_column: self.group.clone(),
        })
    }

    /// Checks the configuration before anything is read, so that a misspelt key costs no time.
    pub(crate) fn check(&self, more: &[Setting]) -> Result<()> {
        let settings: Vec<Setting> = self.set.iter().chain(more).cloned().collect();
        settings::config(&self.config, &settings)?;
        for path in &self.pretrain {
            digest(path)?;
        }
        Ok(())
    }

    /// The files that are read.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files = self.pretrain.clone();
        files.extend(settings::file(&self.config));
        files
    }

    /// Says whether nothing was asked for.
    pub(crate) fn is_default(&self) -> bool {
        self.config == DEFAULT_CONFIG
            && self.set.is_empty()
            && self.pretrain.is_empty()
            && self.group.is_none()
    }

    /// The name of the configuration, as typed.
    pub(crate) fn config_name(&self) -> &str {
        &self.config
    }
}

/// How a model is sampled.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct SamplingArgs {
    /// Draws per entry [default: that of the configuration]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    draws: Option<usize>,
    /// full, fractional:N (N of 2, 3, 4, 20), ddim:STEPS, dpm:STEPS or adaptive:STEPS [default: that of the
    /// configuration]
    #[arg(long, value_name = "NAME")]
    sampler: Option<suffuse_model::sample::Sampler>,
    /// Leave draws and intervals as the network gives them; faster, but they claim too much
    #[arg(long)]
    no_calibration: bool,
    /// Samples per pass; changes speed and memory, never the result
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = at_least_one)]
    pub(crate) batch_size: usize,
}

impl SamplingArgs {
    /// The arguments as settings of the configuration.
    pub(crate) fn settings(&self) -> Vec<Setting> {
        let setting = |key: &str, value: String| Setting {
            key: key.to_string(),
            value,
        };
        let draws = self
            .draws
            .map(|n| setting("sampling.n_draws", n.to_string()));
        let sampler = self
            .sampler
            .map(|sampler| setting("sampling.sampler", sampler.to_string()));
        let raw = self
            .no_calibration
            .then(|| setting("calibration.n_copies", "0".to_string()));
        draws.into_iter().chain(sampler).chain(raw).collect()
    }
}

/// Seed and device.
#[derive(Debug, Args)]
#[command(next_help_heading = "Run")]
pub(crate) struct RunArgs {
    /// Seed of everything random; one seed gives one result
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

/// The device to compute on.
#[derive(Debug, Args)]
#[command(next_help_heading = "Run")]
pub(crate) struct DeviceArgs {
    /// auto, cpu or gpu:N; auto is the CPU unless this build has a GPU backend and finds a GPU
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
}

impl DeviceArgs {
    /// The device, if this build and this machine have it.
    pub(crate) fn find(&self) -> Result<Device> {
        Ok(self.device.find()?)
    }
}

impl Context {
    /// Says and records on which GPU networks compute; the CPU goes without saying.
    pub(crate) fn say_device(&mut self, device: &Device, provenance: &mut Provenance) {
        if let Some(gpu) = gpu_name(device) {
            self.talk.note(&format!("computing on {gpu}"));
            provenance.set("device", gpu);
        }
    }
}

/// What happens to results that are there already.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OverwriteArgs {
    /// Replace outputs that exist
    #[arg(short, long)]
    force: bool,
}

impl OverwriteArgs {
    pub(crate) fn overwrite(&self) -> Overwrite {
        if self.force {
            Overwrite::Replace
        } else {
            Overwrite::Refuse
        }
    }
}

pub(crate) fn at_least_one(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("expected at least 1".to_string()),
        Ok(n) => Ok(n),
        Err(_) => Err("expected a whole number".to_string()),
    }
}

pub(crate) fn at_least_two(text: &str) -> std::result::Result<usize, String> {
    match at_least_one(text)? {
        1 => Err("expected at least 2".to_string()),
        n => Ok(n),
    }
}

/// A share that leaves something.
pub(crate) fn share_above_zero(text: &str) -> std::result::Result<f64, String> {
    match share(text) {
        Ok(value) if value > 0.0 => Ok(value),
        _ => Err("expected a number above 0, 1 at most".to_string()),
    }
}

pub(crate) fn share(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to 1".to_string()),
    }
}

/// What to do after an interruption.
fn advice(checkpoint: Option<&Path>) -> String {
    match checkpoint {
        Some(folder) => format!(
            "training is kept in {}; run the same command again to go on",
            folder.display()
        ),
        None => {
            "nothing was written; with --checkpoint DIR an interrupted run can go on".to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_gpu_that_is_not_there_is_bad_usage_and_an_unknown_device_too() {
        let find = |device: &str| {
            let device = device.parse().unwrap();
            DeviceArgs { device }.find()
        };
        assert!(find("auto").is_ok() && find("cpu").is_ok());
        assert_eq!(find("gpu:99").unwrap_err().exit_code(), 2);
        let typed = ["suffuse", "demo", "--device", "tpu"];
        let problem = Cli::try_parse_from(typed).unwrap_err();
        assert_eq!(problem.exit_code(), 2);
        assert!(problem.to_string().contains("expected auto, cpu or gpu:N"));
    }
}

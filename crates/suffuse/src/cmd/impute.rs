//! `suffuse impute TABLE -o OUT`: fit and fill, or fill with a fitted model or a baseline.

mod ready;
mod told;

use super::times::TimeArgs;
use super::{
    Context, FitSettingArgs, InputArgs, MetadataArgs, OverwriteArgs, RunArgs, SamplingArgs, advice,
    plan, share,
};
use clap::{Args, ValueEnum};
use ready::{Ready, fit_model};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;
use suffuse::auto::Tested;
use suffuse::conditions::ConditionEncoder;
use suffuse::impute::sets::MAX_SETS;
use suffuse::impute::zeros::ZeroThresholds;
use suffuse::impute::{Counts, Files, Filling, by_baseline, replaced_layers};
use suffuse::input::{self, Input};
use suffuse::method::Method;
use suffuse::output::require_apart;
use suffuse::provenance::{Provenance, digest};
use suffuse::settings::Setting;
use suffuse::{Error, PRESENCE_THRESHOLD, Result, model_folder, structural_zeros};
use suffuse_data::Table;
use suffuse_data::format::{Format, mtx};
use suffuse_data::nested::{self, Sum};
use suffuse_data::select;
use suffuse_model::device::Device;
use suffuse_model::systems::depmicrodiff::{
    Cohort, Conditions, Config, Fill, ImputeOptions, Model, Partner, Totals,
};
use suffuse_stats::impute::Method as Baseline;
use told::{Seen, report};

/// Arguments of `impute`.
#[derive(Debug, Args)]
#[command(after_help = "\
Observed entries are kept bit for bit. Entries that are not measured (NaN, empty) are filled, and
zeros whose probability of presence reaches the threshold. An .h5ad output holds layers `lower` and
`upper` (90 % interval), `presence` and `action`; beside any other output stand OUT.filled.tsv (the
filled entries with their intervals) and OUT.suffuse.json (how it was made).

With --m 20, twenty more tables stand beside OUT as OUT-01, OUT-02, ... (before the ending), in which
each filled entry is one draw instead of the mean of all, and a filled zero stays zero with the
probability that the taxon is absent. Compare groups over all of them with `suffuse pool`.

Examples:
  suffuse impute table.h5ad -o completed.h5ad
  suffuse impute table.biom -o completed.biom -m metadata.tsv --metadata-columns age,body_site
  suffuse impute visits.h5ad -o completed.h5ad --subject patient --time day
  suffuse impute table.tsv -o completed.tsv --fill missing --method soft-impute
  suffuse impute table.h5ad -o completed.h5ad --m 20 --zeros zeros.tsv
  suffuse impute table.h5ad -o completed.h5ad --report completed.html
  suffuse impute new.h5ad -o completed.h5ad --model fitted/")]
pub(crate) struct ImputeArgs {
    /// Table to fill
    table: PathBuf,
    /// File to write; its ending names the format
    #[arg(short, long, value_name = "OUT", help_heading = "Output")]
    output: PathBuf,
    /// Also write this many completed tables of one draw each (multiple imputation), 2 to 200; raises
    /// the number of draws to at least this
    #[arg(long = "m", value_name = "N", help_heading = "Output", value_parser = n_sets)]
    sets: Option<usize>,
    /// Also list each zero that was judged: sample, feature, presence, and false_zero or true_zero
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    zeros: Option<PathBuf>,
    /// Call zeros with a presence in this range `undecided` in the list of --zeros; the range must hold the
    /// presence threshold
    #[arg(
        long,
        value_name = "LOW,HIGH",
        help_heading = "Output",
        requires = "zeros",
        value_parser = range
    )]
    undecided: Option<[f64; 2]>,
    /// Also write a page for the browser: what was done, how good, how sure, which taxa not to trust
    #[arg(long, value_name = "FILE.html", help_heading = "Output")]
    report: Option<PathBuf>,
    #[command(flatten)]
    overwrite: OverwriteArgs,
    /// Say what would be done, with time and memory, and write nothing
    #[arg(long, help_heading = "Output")]
    dry_run: bool,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    filling: FillingArgs,
    #[command(flatten)]
    model: FitSettingArgs,
    #[command(flatten)]
    folders: FolderArgs,
    #[command(flatten)]
    metadata: MetadataArgs,
    #[command(flatten)]
    times: TimeArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Filling")]
struct FillingArgs {
    /// auto (a diffusion model and classical methods, weighed on entries hidden from all), depmicrodiff, or a
    /// baseline: zero, taxon-mean, taxon-mean-offset, knn, soft-impute, svd, nmf, local-least-squares,
    /// ridge, extra-trees
    #[arg(long, value_name = "NAME", default_value = "auto")]
    method: Method,
    /// What to fill [default: all; missing for a baseline, which knows no presence]
    #[arg(long, value_name = "WHAT")]
    fill: Option<FillArg>,
    /// Probability of presence from which a zero is filled
    #[arg(long, value_name = "0..1", default_value_t = PRESENCE_THRESHOLD, value_parser = share)]
    presence_threshold: f64,
    /// File of zeros that must stay: `sample<TAB>feature` or `feature` on each line
    #[arg(long, value_name = "FILE")]
    structural_zeros: Option<PathBuf>,
    /// Where ranks are nested and a parent is the sum of its children wherever it was measured, set
    /// filled parents to that sum
    #[arg(long)]
    reconcile: bool,
}

impl FillingArgs {
    /// What a model fills.
    fn fill(&self) -> Fill {
        match self.fill {
            Some(FillArg::Missing) => Fill::Missing,
            Some(FillArg::Zeros) => Fill::Zeros,
            Some(FillArg::All) | None => Fill::MissingAndZeros,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FillArg {
    /// Entries that are not measured
    Missing,
    /// Zeros that are probably false
    Zeros,
    /// Both
    All,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
struct FolderArgs {
    /// Folder of a fitted model to use instead of fitting one
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with_all = [
            "checkpoint", "config", "set", "pretrain", "group", "metadata_columns", "encoder", "metadata_keep",
        ]
    )]
    model: Option<PathBuf>,
    /// Folder that keeps training, so that an interrupted run goes on, and the fitted model
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
}

pub(super) fn run(arguments: &ImputeArgs, context: &mut Context) -> Result<()> {
    check(arguments)?;
    let device = arguments.run.device.find()?;
    let files = files_of(arguments)?;
    let mut input = read(arguments)?;
    context.notes(&input.notes);
    check_output(arguments, &input.table).map_err(|error| error.in_file(&arguments.table))?;
    let replaced = replaced_layers(&input.table);
    if !replaced.is_empty() && Format::of_output(&arguments.output)? == Format::H5ad {
        context.talk.note(&format!(
            "{}: layers of the output have these names, and are written in place of the table's: {}",
            arguments.table.display(),
            replaced.join(", ")
        ));
    }
    let fitted = match &arguments.folders.model {
        Some(folder) => Some(Model::load(folder)?),
        None => None,
    };
    let own_order = input.table.feature_ids().to_vec();
    if let Some(model) = &fitted {
        let in_table = |error: Error| error.in_file(&arguments.table);
        input.table = in_order_of(model.feature_ids(), input.table).map_err(in_table)?;
        let ids = input.table.feature_ids();
        model
            .require_features(ids)
            .map_err(|error| in_table(error.into()))?;
    }
    let zeros = match &arguments.filling.structural_zeros {
        Some(path) => {
            let zeros = structural_zeros::read(path, &input.table)?;
            input.table = structural_zeros::apply_where_measured(&input.table, &zeros)?;
            zeros
        }
        None => Vec::new(),
    };
    let sums = match arguments.filling.reconcile {
        true => sums(&input.table, context),
        false => Vec::new(),
    };
    let mut provenance = Provenance {
        command: context.command.clone(),
        ..Provenance::default()
    };
    provenance.inputs = std::mem::take(&mut input.sources);
    let others = [
        &arguments.folders.model,
        &arguments.filling.structural_zeros,
    ];
    for path in others.into_iter().flatten() {
        provenance.inputs.push(digest(path)?);
    }
    provenance.set("method", arguments.filling.method.to_string());
    provenance.set("seed", arguments.run.seed);
    if arguments.filling.reconcile {
        provenance.set("reconciled_parents", sums.len());
    }
    let job = Job {
        arguments,
        files: &files,
        own_order: &own_order,
        zeros: &zeros,
        sums: &sums,
        device: &device,
    };
    let done = match arguments.filling.method {
        Method::Baseline(_) if arguments.dry_run => {
            return job.say_plan(&input.table, Vec::new(), context);
        }
        Method::Baseline(baseline) => {
            job.fill_by_baseline(baseline, &input.table, provenance, context)
        }
        Method::Auto
        | Method::DepMicroDiff
        | Method::MbVdit
        | Method::WithoutTimes
        | Method::InTime(_) => match job.fill_by_model(fitted, input.table, provenance, context) {
            Ok(Some(done)) => Ok(done),
            Ok(None) => return Ok(()),
            Err(error) => Err(error),
        },
    };
    let done = done.map_err(|error| {
        error
            .with_advice(|| match arguments.folders.model {
                Some(_) => "nothing was written".to_string(),
                None => advice(arguments.folders.checkpoint.as_deref()),
            })
            .in_file(&arguments.table)
    })?;
    report(&files, &done, context)
}

/// What a run fills, and where to.
struct Job<'a> {
    arguments: &'a ImputeArgs,
    files: &'a Files,
    /// Features of the output.
    own_order: &'a [String],
    zeros: &'a [(u32, u32)],
    /// Parents to reconcile with their children.
    sums: &'a [Sum],
    device: &'a Device,
}

/// What was done, and how long it took.
struct Done {
    /// What was chosen and set, as the record has it.
    facts: serde_json::Map<String, serde_json::Value>,
    counts: Counts,
    n_samples: usize,
    seconds: f64,
}

impl Job<'_> {
    fn fill_by_baseline(
        &self,
        baseline: Baseline,
        table: &Table,
        provenance: Provenance,
        context: &mut Context,
    ) -> Result<Done> {
        let start = Instant::now();
        let mut gathered = self.gathered(table);
        let mut completed = by_baseline(table, baseline, self.sums)?;
        let done = Done {
            facts: provenance.facts.clone(),
            counts: completed.counts,
            n_samples: table.n_samples(),
            seconds: start.elapsed().as_secs_f64(),
        };
        let provenance = with_counts(provenance, done.counts)?;
        let page = match &mut gathered {
            Some(gathered) => {
                gathered.take_all(&completed);
                let seen = Seen {
                    table,
                    gathered,
                    tested: &Tested::of_baseline(table, baseline, self.arguments.run.seed)?,
                    choice: None,
                };
                Some(self.page(&seen, done.counts, &provenance))
            }
            None => None,
        };
        context.watched(|_| self.files.write(&mut completed, &provenance))?;
        self.write_page(page)?;
        Ok(done)
    }

    /// Says what a run would do.
    fn say_plan(&self, table: &Table, more: Vec<String>, context: &mut Context) -> Result<()> {
        let (arguments, method) = (self.arguments, self.arguments.filling.method);
        let fill = match method.is_baseline() {
            true => Fill::Missing,
            false => arguments.filling.fill(),
        };
        let n_missing = table.csr().2.iter().filter(|value| value.is_nan()).count();
        // Samples without a value above zero stay as they are.
        let has_value = |sample: usize| table.row(sample).1.iter().any(|value| *value > 0.0);
        let zeros_of = |sample: usize| table.n_features() - table.row(sample).1.len();
        let judged = (0..table.n_samples()).filter(|sample| has_value(*sample));
        let n_zeros: usize = judged.map(zeros_of).sum();
        let (n_samples, n_features) = (table.n_samples(), table.n_features());
        let mut lines = vec![
            format!("table              {n_samples} samples x {n_features} features"),
            match fill {
                Fill::Zeros => "to fill            no entry that is not measured".to_string(),
                _ => format!("to fill            {n_missing} entries that are not measured"),
            },
            match fill {
                Fill::Missing => "to judge           no zero".to_string(),
                _ => format!("to judge           {n_zeros} zeros"),
            },
            format!("method             {method}"),
        ];
        lines.extend(more);
        if let Some(n_sets) = arguments.sets {
            lines.push(format!(
                "completed tables   {n_sets} of one draw each, beside that of what is expected"
            ));
        }
        let output = |path: &PathBuf| {
            format!(
                "output             {} (not written: dry run)",
                path.display()
            )
        };
        lines.extend(self.files.paths().map(output));
        if context.json {
            return context.talk.json(&json!({"plan": lines}));
        }
        context.talk.data(&lines.join("\n"))
    }

    /// Fills by the model, which is `fitted` already or fitted now; `None` after a dry run.
    fn fill_by_model(
        &self,
        fitted: Option<Model>,
        table: Table,
        mut provenance: Provenance,
        context: &mut Context,
    ) -> Result<Option<Done>> {
        let arguments = self.arguments;
        context.say_device(self.device, &mut provenance);
        let settings = arguments.sampling.settings();
        let ready = match (fitted, &arguments.folders.model) {
            (Some(model), Some(folder)) => self.loaded(model, folder, &table, context)?,
            _ => fit_model(self, &table, &settings, &mut provenance, context)?,
        };
        let Some(ready) = ready else {
            return Ok(None);
        };
        let Ready {
            mut model,
            conditions,
            times,
            choice,
            judges,
            parts,
            learned,
            tested,
        } = ready;
        let method = arguments.filling.method;
        if !method.partners(model.config()).is_empty() {
            let words = match (&arguments.folders.model, choice.has_partner()) {
                (Some(_), false) => "the fitted model alone".to_string(),
                _ => choice.in_words(),
            };
            context.talk.note(&format!("{method}: {words}"));
            provenance.set(&method.to_string(), serde_json::json!(choice));
            if let Some(words) = judges.in_words() {
                context.talk.note(&format!("{method}: {words}"));
                provenance.set("auto_zeros", serde_json::json!(judges));
            }
        }
        let mut config = with_settings(*model.config(), &settings)?;
        if config.calibration.n_copies == 0 {
            model.forget_calibration();
        }
        let n_sets = self.files.sets.len();
        if n_sets > config.sampling.n_draws {
            context.talk.note(&format!(
                "draws per entry raised from {} to {n_sets}: each of the {n_sets} completed tables takes one",
                config.sampling.n_draws
            ));
            config.sampling.n_draws = n_sets;
        }
        if n_sets > 0 {
            provenance.set("m", n_sets);
        }
        provenance.set("config", config.to_toml());
        provenance.set(
            "conditions",
            conditions
                .as_ref()
                .map_or("none".to_string(), |c| c.description.clone()),
        );
        let cohort = Cohort {
            table: &table,
            hidden: &[],
            totals: Totals::OfWhatIsLeft,
            conditions,
            groups: None,
            times,
        };
        // Missed visits are filled as such, and written with their zeros.
        let with_zeros = match self.zeros {
            [] => None,
            zeros => Some(structural_zeros::apply(&table, zeros)?),
        };
        let written = with_zeros.as_ref().unwrap_or(&table);
        let mut filling = Filling::new(self.files, written, self.own_order)?
            .reconciling(self.sums)
            .watched_by(self.gathered(&table));
        let start = Instant::now();
        let learned = learned.as_ref();
        let predict = |entries: &[(u32, u32)]| choice.partners_predict(learned, &table, entries);
        let others = judges.say_in_parts(learned, &table, &parts)?;
        let rejudge = |zeros: &[(u32, u32)], model: &[f64]| judges.rejudged(zeros, model, &others);
        context.watched(|watch| {
            let mut options = ImputeOptions {
                fill: arguments.filling.fill(),
                presence_threshold: arguments.filling.presence_threshold,
                structural_zeros: self.zeros,
                n_draws: config.sampling.n_draws,
                n_sets,
                partner: choice.has_partner().then_some(Partner {
                    blend: choice.blend,
                    predict: &predict,
                    rejudge: Some(&rejudge),
                }),
                sampler: config.sampling.sampler,
                seed: arguments.run.seed,
                device: self.device.clone(),
                batch_size: arguments.sampling.batch_size,
                progress: watch.progress,
                interrupted: watch.interrupted,
            };
            model.impute_blocks(&cohort, &mut options, |block| filling.take(written, &block))
        })?;
        let done = Done {
            facts: provenance.facts.clone(),
            counts: filling.counts(),
            n_samples: table.n_samples(),
            seconds: start.elapsed().as_secs_f64(),
        };
        let provenance = with_counts(provenance, done.counts)?;
        let page = filling.gathered().map(|gathered| {
            let seen = Seen {
                table: &table,
                gathered,
                tested: &tested,
                choice: Some(&choice),
            };
            self.page(&seen, done.counts, &provenance)
        });
        // Watched, so that Ctrl-C does not stop it in the middle of a file.
        context.watched(|_| filling.write(with_zeros.unwrap_or(table), &provenance))?;
        self.write_page(page)?;
        Ok(Some(done))
    }
}

/// The outputs, all of which can be written.
fn files_of(arguments: &ImputeArgs) -> Result<Files> {
    let mut files = Files::of_table(&arguments.output, arguments.overwrite.overwrite())?;
    if let Some(n_sets) = arguments.sets {
        files = files.with_sets(n_sets)?;
    }
    if let Some(path) = &arguments.zeros {
        let threshold = arguments.filling.presence_threshold;
        let thresholds = ZeroThresholds::new(threshold, arguments.undecided)?;
        files = files.with_zeros(path, thresholds)?;
    }
    if let Some(path) = &arguments.report {
        files = files.with_report(path)?;
    }
    let mut inputs = input::files(&arguments.table, &arguments.input.options());
    inputs.extend(arguments.filling.structural_zeros.clone());
    inputs.extend(arguments.model.files());
    if let Some(folder) = &arguments.folders.model {
        inputs.extend(model_folder::files(folder));
    }
    require_apart(files.paths().map(PathBuf::as_path), &inputs)?;
    Ok(files)
}

fn n_sets(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(n) if (2..=MAX_SETS).contains(&n) => Ok(n),
        _ => Err(format!("expected a whole number from 2 to {MAX_SETS}")),
    }
}

fn range(text: &str) -> std::result::Result<[f64; 2], String> {
    let expected = || "expected two numbers from 0 to 1 with a comma between them".to_string();
    let (low, high) = text.split_once(',').ok_or_else(expected)?;
    match (share(low), share(high)) {
        (Ok(low), Ok(high)) if low <= high => Ok([low, high]),
        _ => Err(expected()),
    }
}

/// The parents to reconcile, and a word on how many they are.
fn sums(table: &Table, context: &mut Context) -> Vec<Sum> {
    let sums = nested::sums(table);
    let leaves = nested::leaves(table);
    context.talk.note(&match (sums.len(), table.n_features() - leaves.len()) {
        (_, 0) => "--reconcile: no feature is an ancestor of another by lineage; nothing to do".to_string(),
        (n, n_parents) => format!(
            "--reconcile: {n} of {n_parents} parents are the sum of their children wherever they were measured; the others are filled as they are"
        ),
    });
    sums
}

/// Finds what the format of the output cannot say, before the work.
fn check_output(arguments: &ImputeArgs, table: &Table) -> Result<()> {
    if Format::of_output(&arguments.output)? != Format::MatrixMarket {
        return Ok(());
    }
    mtx::check_ids(table)?;
    let is_missing = |table: &Table| table.csr().2.iter().any(|value| value.is_nan());
    if matches!(arguments.filling.fill, Some(FillArg::Zeros)) && is_missing(table) {
        return Err(Error::Usage(
            "--fill zeros: entries stay that were not measured, which MatrixMarket cannot say; write .h5ad or .tsv".to_string(),
        ));
    }
    Ok(())
}

/// Finds what cannot work before anything is read.
fn check(arguments: &ImputeArgs) -> Result<()> {
    if arguments.filling.method.is_in_time() {
        return Err(Error::Usage(format!(
            "--method {}: this is there to compare with, in `suffuse evaluate --protocol time_point`; use --method auto with --subject and --time, or without them",
            arguments.filling.method
        )));
    }
    if let Method::Baseline(baseline) = arguments.filling.method {
        if arguments.sets.is_some() {
            return Err(Error::Usage(format!(
                "--m: {baseline} gives one value per entry and no draws, so there is no set of tables to write; use --method auto"
            )));
        }
        if arguments.zeros.is_some() {
            return Err(Error::Usage(format!(
                "--zeros: {baseline} gives no probability of presence; use --method auto"
            )));
        }
        if !matches!(arguments.filling.fill, None | Some(FillArg::Missing)) {
            return Err(Error::Usage(format!(
                "--fill: {baseline} gives no probability of presence, so it cannot tell false zeros; use --fill missing"
            )));
        }
        if arguments.folders.model.is_some() || arguments.folders.checkpoint.is_some() {
            return Err(Error::Usage(format!(
                "--model and --checkpoint do not go with --method {baseline}"
            )));
        }
        if !arguments.model.is_default()
            || !arguments.metadata.is_default()
            || arguments.times.columns().is_some()
            || !arguments.sampling.settings().is_empty()
        {
            return Err(Error::Usage(format!(
                "the options under Model, Metadata and Sampling do not go with --method {baseline}, which has no such settings"
            )));
        }
    }
    if arguments.zeros.is_some() && matches!(arguments.filling.fill, Some(FillArg::Missing)) {
        return Err(Error::Usage(
            "--zeros: with --fill missing no zero is judged; use --fill all or --fill zeros"
                .to_string(),
        ));
    }
    arguments.model.check(&arguments.sampling.settings())
}

fn read(arguments: &ImputeArgs) -> Result<Input> {
    let options = arguments.input.options();
    match arguments.folders.model {
        Some(_) => {
            let mut read = input::read(&arguments.table, &options)?;
            (read.notes).extend(input::doubts(&arguments.table, &options, &read.table));
            Ok(read)
        }
        None => input::read_to_learn(&arguments.table, &options),
    }
}

fn with_settings(config: Config, settings: &[Setting]) -> Result<Config> {
    let settings: Vec<(String, String)> = settings
        .iter()
        .map(|setting| (setting.key.clone(), setting.value.clone()))
        .collect();
    Ok(config.with_overrides(&settings)?)
}

/// The table with its features in the order of these, if they are the same.
pub(super) fn in_order_of(ids: &[String], table: Table) -> Result<Table> {
    if table.feature_ids() == ids || table.n_features() != ids.len() {
        return Ok(table);
    }
    Ok(match select::feature_positions(&table, ids) {
        Ok(positions) => select::take_features(&table, &positions)?,
        Err(_) => table, // the model says how its features differ
    })
}

/// The metadata of a table as the model in this folder takes them.
pub(super) fn conditions_of(
    folder: &Path,
    table: &Table,
    context: &mut Context,
) -> Result<Option<Conditions>> {
    let Some(encoder) = ConditionEncoder::load(folder)? else {
        return Ok(None);
    };
    let encoded = encoder.encode(&table.sample_metadata)?;
    context.notes(&encoded.notes());
    Ok(Some(encoded.conditions))
}

/// Sets the last fact of the record.
fn with_counts(mut provenance: Provenance, counts: Counts) -> Result<Provenance> {
    let counts =
        serde_json::to_value(counts).map_err(|error| Error::Table(format!("counts: {error}")))?;
    provenance.set("counts", counts);
    Ok(provenance)
}

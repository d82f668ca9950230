//! `suffuse generate TABLE -o OUT`: synthetic samples like those of a table.

mod learn;

use super::impute::in_order_of;
use super::{Context, InputArgs, OverwriteArgs, advice, at_least_one};
use clap::Args;
use learn::{LearnArgs, Promised};
use serde_json::json;
use std::path::{Path, PathBuf};
use suffuse::generate::{
    Alterations, Balance, Beside, By, Changed, Cohort, Counts, Depth, Files, Fitted, Given,
    KEPT_FROM, KeptTaxa, Known, Method, ON_THE_WAY, PREVALENCE, Request, Resampled, Wanted, beyond,
    generate, resampled, sample_ids,
};
use suffuse::output::{make_folder, require_apart, require_outside, require_writable};
use suffuse::provenance::{Provenance, digest};
use suffuse::{Error, Result, input};
use suffuse_data::Metadata;
use suffuse_stats::generate::{Depths, Generator, Reads};

/// Arguments of `generate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Fits a generator to TABLE and writes samples of it, synthetic_1, synthetic_2, ..., over the same
features with their lineages. Samples of TABLE without a non-zero entry are left out. A table of
fractions has no depths: give them with --depth. Beside an output other than .h5ad stand
OUT.suffuse.json (how it was made) and, if the samples have metadata, OUT.metadata.tsv.

--spike-in FILE is tab-separated with the columns taxon, covariate, effect, on, kind. `on` is
abundance (the share of the taxon, where present, is multiplied by exp(effect x covariate)) or
prevalence (the log-odds of its presence move by effect x covariate). `kind` is binary (1 in half of
the samples) or normal for a covariate that is made, and empty for the column of --by. What was put
in, and what it came to, stands in OUT.truth.tsv.

Then ask how good and how safe the samples are: `suffuse compare`, `suffuse privacy`.

Examples:
  suffuse generate table.h5ad -o synthetic.h5ad
  suffuse generate table.biom -o synthetic.biom --n 1000 --depth 10000 --seed 7
  suffuse generate table.h5ad -o synthetic.h5ad --by body_site --balance
  suffuse generate table.tsv -o synthetic.tsv -m sheet.tsv --by site --metadata-out new-sheet.tsv
  suffuse generate table.h5ad -o spiked.h5ad --spike-in effects.tsv --truth truth.tsv
  suffuse generate table.h5ad -o shared.h5ad --dp-epsilon 8
  suffuse generate table.h5ad -o new.h5ad --set-prevalence Blautia=0.4 --scale-mean Dorea=2")]
pub(crate) struct GenerateArgs {
    /// Table to generate samples like those of
    table: PathBuf,
    /// File to write; its ending names the format
    #[arg(short, long, value_name = "OUT", help_heading = "Output")]
    output: PathBuf,
    /// Sheet for the metadata of the synthetic samples [default: in an .h5ad, beside any other output]
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    metadata_out: Option<PathBuf>,
    /// List of the associations that --spike-in put in [default: OUT.truth.tsv]
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Output",
        requires = "spike_in"
    )]
    truth: Option<PathBuf>,
    #[command(flatten)]
    overwrite: OverwriteArgs,
    /// Say what would be done and write nothing
    #[arg(long, help_heading = "Output")]
    dry_run: bool,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    samples: SampleArgs,
    #[command(flatten)]
    learn: LearnArgs,
    #[command(flatten)]
    changes: ChangeArgs,
    /// Seed of everything random; one seed gives one result
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Run")]
    seed: u64,
    /// Samples per pass; changes speed and memory, never the result
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = at_least_one, help_heading = "Run")]
    batch_size: usize,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Samples")]
struct SampleArgs {
    /// sparse-microbiome (learned), vae, midasim, midasim-parametric, sparsedossa2, dirichlet-multinomial or
    /// bootstrap
    #[arg(long, value_name = "NAME", default_value_t = Method::SparseMicrobiome)]
    method: Method,
    /// Number of samples [default: as many as TABLE has, or as --depth FILE lists]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    n: Option<usize>,
    /// Reads per sample: as-fitted, a number, or a file with a number per line
    #[arg(long, value_name = "as-fitted|N|FILE", default_value_t = Depth::AsFitted)]
    depth: Depth,
    /// How reads are made of a composition: exact (the method's own way), multinomial, or
    /// dirichlet-multinomial:CONCENTRATION
    #[arg(long, value_name = "HOW", default_value_t = Reads::Exact, value_parser = reads)]
    reads: Reads,
    /// Metadata column (body site, say) to tell samples apart by: samples come in the proportions of its values;
    /// a simple generator is fitted to each value, the learned one is told it
    #[arg(long, value_name = "COLUMN")]
    by: Option<String>,
    /// As many samples of each value of --by
    #[arg(long, requires = "by")]
    balance: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Known changes")]
struct ChangeArgs {
    /// Associations to put in: taxon, covariate, effect, on, kind
    #[arg(long, value_name = "FILE.tsv")]
    spike_in: Option<PathBuf>,
    /// Let a taxon be in this share of all samples, as in Blautia=0.4 (repeatable)
    #[arg(long, value_name = "TAXON=SHARE", value_parser = taxon_and_number)]
    set_prevalence: Vec<(String, f64)>,
    /// Multiply the mean relative abundance of a taxon, as in Blautia=2 (repeatable)
    #[arg(long, value_name = "TAXON=FACTOR", value_parser = taxon_and_number)]
    scale_mean: Vec<(String, f64)>,
}

/// In place of a digest.
const WITHHELD: &str = "withheld";

fn reads(text: &str) -> std::result::Result<Reads, String> {
    Reads::parse(text).map_err(|error| error.to_string())
}

/// Ids may hold an equals sign; the number follows the last one.
fn taxon_and_number(text: &str) -> std::result::Result<(String, f64), String> {
    let parts = text.rsplit_once('=');
    let number = |(taxon, number): (&str, &str)| match number.trim().parse::<f64>() {
        Ok(number) if number.is_finite() && !taxon.is_empty() => Some((taxon.to_string(), number)),
        _ => None,
    };
    parts
        .and_then(number)
        .ok_or_else(|| "expected TAXON=NUMBER".to_string())
}

pub(super) fn run(arguments: &GenerateArgs, context: &mut Context) -> Result<()> {
    arguments.learn.check(arguments.samples.method)?;
    let loaded = arguments.learn.loaded()?;
    let promised = arguments.learn.promised(loaded.as_ref())?;
    let files = arguments.files()?;
    let mut inputs = input::files(&arguments.table, &arguments.input.options());
    inputs.extend(arguments.changes.spike_in.clone());
    inputs.extend(arguments.learn.files());
    if let Depth::Listed(path) = &arguments.samples.depth {
        inputs.push(path.clone());
    }
    require_apart(files.paths().map(PathBuf::as_path), &inputs)?;
    if let Some(folder) = arguments.learn.save_model() {
        if files.paths().any(|path| path == folder) {
            return Err(Error::Usage(format!(
                "--save-model {}: this is the name of an output; choose another folder",
                folder.display()
            )));
        }
        require_outside(folder, &inputs)?;
        match folder.exists() {
            true => make_folder(folder, arguments.overwrite.overwrite())?,
            false => require_writable(folder, arguments.overwrite.overwrite())?,
        }
    }
    let read_options = arguments.input.options();
    let mut read = input::read(&arguments.table, &read_options)?;
    (read.notes).extend(input::doubts(&arguments.table, &read_options, &read.table));
    if let Some(learned) = &loaded {
        let in_table = |error: Error| error.in_file(&arguments.table);
        read.table = in_order_of(learned.model().feature_ids(), read.table).map_err(in_table)?;
        let ids = read.table.feature_ids();
        learned.require_features(ids).map_err(in_table)?;
    }
    if promised != Promised::Nothing {
        // Columns such as "number of samples" are made of the samples.
        read.table.feature_metadata = Metadata::empty(read.table.feature_ids().to_vec());
    }
    let by = arguments.by();
    let in_file = |error: Error| error.in_file(&arguments.table);
    let cohort = Cohort::new(&read.table, by.as_ref()).map_err(in_file)?;
    context.notes(&read.notes);
    context.notes(&cohort.notes);
    arguments.check(&cohort).map_err(in_file)?;
    let samples = &arguments.samples;
    let with_reads = cohort.table.n_samples();
    let n_fitted = match &promised {
        Promised::ByModel(record) => Some(record.n_samples),
        _ if loaded.is_some() => None, // the model does not say
        Promised::ByThisFit | Promised::Nothing => Some(with_reads),
    };
    // How many samples have no reads is not promised to be public.
    let n_default = match promised == Promised::Nothing && arguments.learn.keep().is_none() {
        true => read.table.n_samples(),
        false => n_fitted.unwrap_or(with_reads),
    };
    let (n, depths) = samples.depth.resolve(samples.n, n_default)?;
    let kept = match arguments.learn.keep() {
        Some(path) => Some(KeptTaxa::read(path, &cohort, n)?),
        None => None,
    };
    let wanted = Wanted {
        sizes: cohort.sizes(n, by.as_ref()),
        depths,
        reads: samples.reads,
        seed: arguments.seed,
    };
    let none_of = cohort.left_out(&wanted.sizes);
    if !none_of.is_empty() {
        context.notes(&[format!(
            "--n {n} is too few for a sample of each value of --by: none of {}",
            none_of.join(", ")
        )]);
    }
    let mut metadata = Metadata::empty(sample_ids(n));
    if let Some(column) = cohort.synthetic_column(&wanted.sizes) {
        metadata.set_column(column)?;
    }
    let by_name = by.as_ref().map(|by| by.column.as_str());
    let learn = &arguments.learn;
    learn.check_latents(samples.method, loaded.as_ref(), by_name)?;
    if samples.method.is_learned() {
        let mut columns = arguments.learn.columns(by_name);
        columns.retain(|column| Some(column.as_str()) != by_name);
        let made = [
            (ON_THE_WAY, arguments.learn.interpolation().is_some()),
            (KEPT_FROM, kept.is_some()),
        ];
        for (name, is_made) in made {
            let is_own = columns.iter().any(|column| column == name) || by_name == Some(name);
            if is_made && is_own {
                return Err(Error::Usage(format!(
                    "{name:?}: this column is made of how each sample came to be; give the one of the table another name"
                )));
            }
        }
        arguments.learn.check_guidance(by_name)?;
        let fixed = arguments.learn.fixed(by_name)?;
        let rows = kept.as_ref().map(|kept| &kept.rows[..]);
        let far = fixed.iter();
        let far = far.filter_map(|fixed| beyond(&cohort, &fixed.column, &fixed.value));
        context.notes(&far.collect::<Vec<_>>());
        let walk = arguments.learn.interpolation();
        let (sizes, seed) = (&wanted.sizes, arguments.seed);
        let Resampled {
            columns,
            n_sources,
            unmet,
        } = resampled(&cohort, sizes, &columns, &fixed, walk, rows, seed)?;
        if !unmet.is_empty() {
            context.notes(&[format!(
                "no sample of the table has all that is asked for, {} among it, so that the other conditions are of samples without, and what is generated is a guess",
                unmet.join(" and ")
            )]);
        }
        let n_given = fixed.len() + usize::from(walk.is_some());
        if n_sources < FEW_SOURCES && columns.len() > n_given {
            context.notes(&[format!(
                "the other conditions are those of {n_sources} samples of the table: whoever looks for effects of them finds these samples"
            )]);
        }
        for column in columns {
            metadata.set_column(column)?;
        }
    }
    let given_metadata = metadata.clone();
    let mut toward = None;
    if let Some(kept) = &kept {
        metadata.set_column(kept.column(&cohort))?;
    }
    if let Some(interpolation) = arguments.learn.interpolation() {
        toward = Some(interpolation.arrived(&cohort, &metadata)?);
        let ends = [&interpolation.from, &interpolation.to];
        let far = ends.map(|end| beyond(&cohort, &interpolation.column, end));
        context.notes(&far.into_iter().flatten().collect::<Vec<_>>());
        for column in interpolation.columns(&cohort, n)? {
            metadata.set_column(column)?;
        }
    }
    let alterations = arguments.alterations(&cohort, &metadata)?;
    for column in &alterations.made {
        metadata.set_column(column.clone())?;
    }
    context.notes(&alterations.notes);
    let told = Told {
        arguments,
        cohort: &cohort,
        wanted: &wanted,
        files: &files,
        n_fitted,
    };
    if arguments.dry_run {
        return told.plan(context);
    }
    let mut provenance = Provenance {
        command: context.command.clone(),
        inputs: read.sources,
        ..Provenance::default()
    };
    let listed = match &samples.depth {
        Depth::Listed(path) => Some(path),
        Depth::AsFitted | Depth::Each(_) => None,
    };
    let sources = arguments.learn.sources();
    let inputs = listed.into_iter().chain(&arguments.changes.spike_in);
    for path in inputs
        .chain(&sources)
        .map(PathBuf::as_path)
        .chain(arguments.learn.keep())
    {
        provenance.inputs.push(digest(path)?);
    }
    if promised != Promised::Nothing {
        // A digest would tell whether a guess of the samples is right.
        for input in &mut provenance.inputs {
            input.sha256 = WITHHELD.to_string();
        }
    }
    provenance.set("method", samples.method.to_string());
    provenance.set("seed", arguments.seed);
    provenance.set("depth", samples.depth.to_string());
    provenance.set("reads", samples.reads.to_string());
    provenance.set("n_fitted", n_fitted);
    if let Some(by) = &by {
        provenance.set("by", by.column.clone());
    }
    let learning = arguments.learn.learning(by_name)?;
    let guidance = arguments.learn.guidance();
    let done = context.watched(|watch| {
        let learn = &arguments.learn;
        let (method, seed) = (samples.method, arguments.seed);
        let fitted = learn.fitted(loaded, method, &cohort, &learning, seed, watch)?;
        let given = Given {
            metadata: &given_metadata,
            toward: toward.as_ref(),
            kept: kept.as_ref(),
            guidance: &guidance,
            device: &learning.device,
        };
        let drawing = fitted.drawing(&cohort, &wanted, given)?;
        let request = Request {
            cohort: &cohort,
            drawing: &drawing,
            alterations: &alterations,
            metadata,
            block_size: arguments.batch_size,
        };
        let generated = generate(request, &files, watch)?;
        let is_drawn = wanted.depths == Depths::AsFitted;
        let note = drawing.note().or_else(|| promise(&fitted, is_drawn));
        let left_out = left_out(&fitted, &learn.columns(by_name));
        Ok((generated, about(&fitted), note.into_iter().chain(left_out)))
    });
    let (generated, about, notes) = done.map_err(|error| match samples.method.is_learned() {
        true => error.with_advice(|| advice(arguments.learn.checkpoint())),
        false => error,
    })?;
    context.notes(&notes.collect::<Vec<_>>());
    provenance.set("model", about.clone());
    provenance.set("counts", json!(generated.counts));
    let counts = generated.counts.clone();
    let (changed, known) = (generated.changed.clone(), generated.known.clone());
    provenance.set("changes", json!(changed));
    // Watched, so that Ctrl-C does not stop it in the middle of a file.
    context.watched(|_| generated.write(&files, &provenance))?;
    told.report(&counts, (&changed, &known), context)
}

/// Noise that moves the typical number of reads by a larger factor is told.
const LARGE_DEPTH_FACTOR: f64 = 2.0;

/// What to tell of columns that samples were to be conditioned on and are not.
fn left_out(fitted: &Fitted, columns: &[String]) -> Option<String> {
    let Fitted::Learned(learned) = fitted else {
        return None;
    };
    let known = learned.columns();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let left_out = columns.into_iter().filter(|name| !known.contains(name));
    let left_out: Vec<&str> = left_out.collect();
    (!left_out.is_empty()).then(|| {
        format!(
            "not conditioned on {}: there is nothing to learn from a column without known values or with one value, or of names that are nearly all different",
            left_out.join(", ")
        )
    })
}

/// What a private fit guarantees, in words, and what it costs where numbers of reads are drawn.
fn promise(fitted: &Fitted, depths_are_drawn: bool) -> Option<String> {
    let Fitted::Learned(learned) = fitted else {
        return None;
    };
    let record = learned.model().privacy()?;
    Some(
        format!(
            "differential privacy: epsilon {:.2} at delta {:.0e} for each sample of the table, however many are generated; noise {:.2} on distributions, {:.2} on each of {} training steps; taken to be public: the number of samples, the features with their order and tree, whether counts are whole",
            record.epsilon,
            record.delta,
            record.statistics_noise,
            record.training_noise,
            record.n_steps
        ) + &match record.depth_factor() {
            factor if depths_are_drawn && factor > LARGE_DEPTH_FACTOR => format!(
                "; this much noise moves numbers of reads by a factor of {factor:.0} and more: give them with --depth"
            ),
            _ => String::new(),
        },
    )
}

/// Relative distance of what a change came to from what was asked for, from which on the cause is told.
const FAR_FROM_ASKED: f64 = 0.1;
/// Fewer samples of the table than this are told of, where conditions of all generated ones are theirs.
const FEW_SOURCES: usize = 10;

/// What a learned generator is, for the provenance; null of a simple one.
fn about(fitted: &Fitted) -> serde_json::Value {
    let Fitted::Learned(learned) = fitted else {
        return serde_json::Value::Null;
    };
    let model = learned.model();
    let [vae, denoiser] = model.validation_losses();
    let (n_vae, n_denoiser) = model.n_weights();
    let names: Vec<&str> = model.attributes().iter().map(|a| a.name.as_str()).collect();
    json!({
        "system": "sparse-microbiome",
        "weights": {"vae": n_vae, "denoiser": n_denoiser},
        "validation": {"vae": vae, "denoiser": denoiser},
        "conditions": names,
        "privacy": model.privacy(),
        "taxa": model.embedding().map(|found| json!({
            "distortion": found.distortion,
            "rank_correlation": found.rank_correlation,
        })),
        "config": model.config().to_toml(),
    })
}

impl GenerateArgs {
    fn by(&self) -> Option<By> {
        let balance = match self.samples.balance {
            true => Balance::Equal,
            false => Balance::AsFitted,
        };
        let column = self.samples.by.clone()?;
        Some(By { column, balance })
    }

    fn files(&self) -> Result<Files> {
        let has_truth = self.changes.spike_in.is_some();
        let beside = Beside {
            metadata: self.metadata_out.as_deref(),
            has_metadata: has_truth
                || self.learn.keep().is_some()
                || !self.learn.columns(self.samples.by.as_deref()).is_empty(),
            truth: self.truth.as_deref(),
            has_truth,
        };
        Files::new(&self.output, beside, self.overwrite.overwrite())
    }

    /// Finds what a table of fractions cannot do.
    fn check(&self, cohort: &Cohort) -> Result<()> {
        let Some((sample, feature, value)) = cohort.fraction() else {
            return Ok(());
        };
        let found = format!(
            "sample {sample:?}, feature {feature:?}: found {value}, so the table holds no counts"
        );
        let problem = match (self.samples.method, &self.samples.depth) {
            (
                method @ Method::Simple(
                    Generator::DirichletMultinomial | Generator::MidasimParametric,
                ),
                _,
            ) => format!(
                "{method} is fitted to whole numbers of reads; give counts, or choose another --method"
            ),
            (_, Depth::AsFitted) if self.learn.model().is_none() => {
                "its samples have no number of reads; say how many with --depth N or --depth FILE"
                    .to_string()
            }
            _ => return Ok(()),
        };
        Err(Error::Table(format!("{found}: {problem}")))
    }

    fn alterations(&self, cohort: &Cohort, metadata: &Metadata) -> Result<Alterations> {
        let mut alterations = Alterations::default();
        let ids = cohort.table.feature_ids();
        let changes = &self.changes;
        alterations.add_changes(&changes.set_prevalence, &changes.scale_mean, ids)?;
        if let Some(path) = &changes.spike_in {
            alterations.read_spike_in(path, ids, metadata, self.seed)?;
        }
        Ok(alterations)
    }
}

/// What is told of a run.
struct Told<'a> {
    arguments: &'a GenerateArgs,
    cohort: &'a Cohort,
    wanted: &'a Wanted,
    files: &'a Files,
    /// Samples that the generator was fitted to, as far as it is known.
    n_fitted: Option<usize>,
}

impl Told<'_> {
    /// Groups with their numbers of samples, of the table and to be generated.
    fn groups(&self) -> Vec<(String, usize, usize)> {
        let Some(groups) = &self.cohort.groups else {
            return Vec::new();
        };
        let sizes = &self.wanted.sizes;
        (groups.levels.iter().zip(&groups.rows).zip(sizes))
            .map(|((level, rows), size)| (level.clone(), rows.len(), *size))
            .collect()
    }

    fn plan(&self, context: &mut Context) -> Result<()> {
        let samples = &self.arguments.samples;
        let table = &self.cohort.table;
        let n_features = table.n_features();
        let mut lines = vec![
            match (self.arguments.learn.model(), self.n_fitted) {
                (None, Some(n)) => {
                    format!("fitted to          {n} samples x {n_features} features")
                }
                (folder, _) => format!(
                    "model              {} ({n_features} features)",
                    folder.unwrap_or(Path::new("")).display()
                ),
            },
            format!("method             {}", samples.method),
            format!("to generate        {} samples", self.wanted.n()),
            format!("reads per sample   {}, {}", samples.depth, samples.reads),
        ];
        for (level, n_real, n) in self.groups() {
            lines.push(format!("  {level:?}: {n} samples, {n_real} in TABLE"));
        }
        for path in self.files.paths() {
            lines.push(format!(
                "output             {} (not written: dry run)",
                path.display()
            ));
        }
        if context.json {
            return context.talk.json(&json!({"plan": lines}));
        }
        context.talk.data(&lines.join("\n"))
    }

    /// Says what was written.
    fn report(
        &self,
        counts: &Counts,
        (changed, known): (&[Changed], &[Known]),
        context: &mut Context,
    ) -> Result<()> {
        let method = self.arguments.samples.method;
        let n_fitted = self.n_fitted;
        let paths: Vec<String> = self
            .files
            .paths()
            .map(|path| path.display().to_string())
            .collect();
        if context.json {
            let group = |(value, n_real, n)| json!({"value": value, "n_real": n_real, "n": n});
            return context.talk.json(&json!({
                "files": paths,
                "method": method.to_string(),
                "n_fitted": n_fitted,
                "counts": counts,
                "groups": self.groups().into_iter().map(group).collect::<Vec<_>>(),
                "changes": changed,
                "effects": known,
            }));
        }
        let source = match (self.arguments.learn.model(), n_fitted) {
            (None, Some(n)) => format!("fitted to {n} samples"),
            (Some(folder), Some(n)) => format!("of {}, fitted to {n} samples", folder.display()),
            (folder, None) => format!("of {}", folder.unwrap_or(Path::new("")).display()),
        };
        let n_entries = (counts.n_samples * counts.n_features).max(1);
        context.talk.note(&format!(
            "{} synthetic samples x {} features, {:.1} % zeros, {:.0} reads per sample on average; {method} {source}",
            counts.n_samples,
            counts.n_features,
            100.0 * (1.0 - counts.n_nonzero as f64 / n_entries as f64),
            counts.n_reads / counts.n_samples.max(1) as f64,
        ));
        for change in changed {
            context.talk.note(&match change.what {
                PREVALENCE => format!(
                    "share of the samples with {:?}: {} asked, realised {:.3}",
                    change.taxon, change.asked, change.realised
                ),
                _ => format!(
                    "mean share of {:?}: times {} asked, realised {:.3}{}",
                    change.taxon,
                    change.asked,
                    change.realised,
                    match (change.realised / change.asked - 1.0).abs() > FAR_FROM_ASKED {
                        true => " (a taxon that is present keeps a read: fewer reads per sample leave less room)",
                        false => "",
                    }
                ),
            });
        }
        for effect in known {
            let realised = match effect.realised_effect.is_nan() {
                true => "cannot be told (a covariate or presence that does not vary, or no other taxon to compare with)".to_string(),
                false => format!("{:.3}", effect.realised_effect),
            };
            context.talk.note(&format!(
                "{} on {} of {:?}: effect {}, realised {realised}",
                effect.covariate, effect.on, effect.taxon, effect.effect
            ));
        }
        for path in paths {
            context.talk.note(&format!("wrote {path}"));
        }
        Ok(())
    }
}

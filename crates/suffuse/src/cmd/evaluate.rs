//! `suffuse evaluate TABLE`: hide known entries, fill them with several methods, score.

use super::times::TimeArgs;
use super::{
    Context, DeviceArgs, FitSettingArgs, InputArgs, MetadataArgs, SamplingArgs, at_least_one,
    at_least_two, share,
};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use suffuse::evaluate::completion::Completion;
use suffuse::evaluate::outcome::Outcome;
use suffuse::evaluate::protocol::{Protocol, Told, thinning_of};
use suffuse::evaluate::{
    EvaluateOptions, Finished, ModelSetting, N_FOLDS, Subject, Visits, comparison, evaluate,
    figures, summary, zero_shot,
};
use suffuse::input::{self, Input};
use suffuse::method::{self, Method};
use suffuse::output::{make_folder, require_outside, write_text};
use suffuse::provenance::Provenance;
use suffuse::report::html::{self, Evaluated};
use suffuse::report::{comparison_table, score_table};
use suffuse::{Error, Result};
use suffuse_data::format::Overwrite;
use suffuse_data::hide::Mask;
use suffuse_data::split;
use suffuse_data::{Metadata, Table};

/// Arguments of `evaluate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Protocols:
  strict           entries of test samples are hidden (5-fold cross-validation, --group keeps subjects
                   whole); nested ranks and empty samples are left out; totals are those of what is left
  blind            as strict, but hidden entries look like zeros: presence is scored too
  thinning         counts of all samples thinned to a share of their depth; presence of what became zero,
                   and Bray-Curtis to the full depth before and after filling
  detection_limit  as strict, the entries under a quantile of their sample
  whole_taxon      taxa that test samples were not measured for
  whole_sample     test samples that were not measured at all
  time_point       visits that were not measured, in the whole table: the rest of it is learned from, other
                   visits of the same subjects too; needs --subject and --time. Beside the baselines run
                   the last value, a line and the mean of the subject, and the model without times
  published        entries of the whole table, totals from before hiding: leaks, for comparison only

Every result is kept in one file, named by a hash of all that determines it; the same command goes
on where it stopped, and other settings add to the same folder. results.tsv lists all of them.

Examples:
  suffuse evaluate table.h5ad --out results --group subject
  suffuse evaluate table.h5ad --out results --methods depmicrodiff --set dat.dependency_mask=none
  suffuse evaluate table.h5ad --out results --protocol thinning --fraction 0.2
  suffuse evaluate table.h5ad --out results --protocol blind --mask taxon:5+nonzero:0.1
  suffuse evaluate table.h5ad --out results --protocol published --pretrain a.h5ad b.h5ad")]
pub(crate) struct EvaluateArgs {
    /// Table
    table: PathBuf,
    /// Folder for the results
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    protocol: ProtocolArgs,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    model: FitSettingArgs,
    #[command(flatten)]
    metadata: MetadataArgs,
    #[command(flatten)]
    times: TimeArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Protocol")]
struct ProtocolArgs {
    /// What is hidden and what a method may see (see below)
    #[arg(long, value_name = "NAME", default_value = "strict")]
    protocol: Protocol,
    /// Shares to hide, separated by commas: of the non-zero entries; of taxa, samples or visits; a
    /// quantile; of thinning the share of the depth that is left [default: 0.1 for published and
    /// whole_taxon, 0.1,0.3,0.5 for strict and blind, 0.5,0.2,0.1 for thinning, else 0.2]
    #[arg(long, value_name = "0..1", value_delimiter = ',', value_parser = share)]
    fraction: Vec<f64>,
    /// Hide this instead, as in nonzero:0.1, thin:0.2, below:q0.2, taxon:5, sample:0.1 or time:2, joined
    /// by +; not for published
    #[arg(long, value_name = "TEXT", conflicts_with = "fraction")]
    mask: Option<Mask>,
    /// How thin samples are completed: zero-reads (the median given that no read was seen) or filled (the
    /// value given presence) [default: zero-reads]
    #[arg(long, value_name = "HOW")]
    completion: Option<Completion>,
    /// Folds of the cross-validation [default: 5]
    #[arg(long, value_name = "N", value_parser = at_least_two)]
    folds: Option<usize>,
    /// Number of mask seeds 0, 1, ... of published and time_point; of a cross-validation, how many folds to run
    /// [default: 5, or all folds]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    seeds: Option<usize>,
    /// Methods, separated by commas [default: auto, depmicrodiff and every baseline]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    methods: Vec<Method>,
    /// Learn from the tables of --pretrain alone: no sample of TABLE goes into a fit
    #[arg(long, requires = "pretrain")]
    zero_shot: bool,
    /// Keep finished training in this folder and take it up again: settings that differ in sampling
    /// alone share one fit
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
}

/// Mask seeds of `published`, unless asked otherwise.
const N_SEEDS: usize = 5;

impl ProtocolArgs {
    fn fractions(&self) -> Vec<f64> {
        match (&self.mask, self.fraction.is_empty()) {
            (Some(_), _) => vec![0.0],
            (None, true) => self.protocol.default_fractions().to_vec(),
            (None, false) => self.fraction.clone(),
        }
    }

    /// What clap cannot check.
    fn check(&self, times: &TimeArgs) -> Result<()> {
        let name = self.protocol;
        if self.mask.is_some() && name == Protocol::Published {
            return Err(Error::Usage(format!(
                "--mask: {name} has a mask of its own; choose another --protocol, such as strict"
            )));
        }
        if let Some(mask) = &self.mask
            && name.told() == Told::NotMeasured
            && let Some(thinning) = thinning_of(mask)
            && (name == Protocol::TimePoint || thinning.parts().len() == mask.parts().len())
        {
            return Err(Error::Usage(format!(
                "--mask {mask}: {name} has entries filled that were not measured, and reads that {thinning} takes away leave a measured zero; choose --protocol thinning or blind, or a mask that hides taxa or samples"
            )));
        }
        if let Some(completion) = self.completion
            && name != Protocol::Thinning
        {
            return Err(Error::Usage(format!(
                "--completion {completion}: {name} has no thin samples to complete; choose --protocol thinning"
            )));
        }
        if self.zero_shot && (!name.is_held_out() || name == Protocol::Thinning) {
            return Err(Error::Usage(format!(
                "--zero-shot: {name} learns from the table itself; choose another --protocol, such as strict"
            )));
        }
        if name == Protocol::TimePoint && times.columns().is_none() {
            return Err(Error::Usage(
                "--protocol time_point needs --subject COLUMN and --time COLUMN".to_string(),
            ));
        }
        match self.methods.iter().find(|method| method.is_in_time()) {
            Some(method) if name != Protocol::TimePoint => Err(Error::Usage(format!(
                "--methods {method}: this fills visits; choose --protocol time_point"
            ))),
            _ => Ok(()),
        }
    }

    fn methods(&self) -> Vec<Method> {
        match (self.methods.is_empty(), self.protocol) {
            (false, _) => self.methods.clone(),
            (true, Protocol::TimePoint) => {
                method::all().into_iter().chain(method::in_time()).collect()
            }
            (true, _) => method::all(),
        }
    }

    fn n_seeds(&self) -> usize {
        let n_folds = self.folds.unwrap_or(N_FOLDS);
        match self.protocol.is_held_out() {
            true => self.seeds.map_or(n_folds, |n| n.min(n_folds)),
            false => self.seeds.unwrap_or(N_SEEDS),
        }
    }
}

pub(super) fn run(arguments: &EvaluateArgs, context: &mut Context) -> Result<()> {
    let device = arguments.device.find()?;
    let settings = arguments.sampling.settings();
    arguments.model.check(&settings)?;
    arguments.protocol.check(&arguments.times)?;
    let mut inputs = input::files(&arguments.table, &arguments.input.options());
    inputs.extend(arguments.model.files());
    require_outside(&arguments.out, &inputs)?;
    let mut input = input::read_to_learn(&arguments.table, &arguments.input.options())?;
    let protocol = arguments.protocol.protocol;
    if protocol.is_tight() {
        let notes = input.keep_what_counts()?;
        input.notes.extend(notes);
    }
    context.notes(&input.notes);
    let mut fit = arguments.model.resolve(
        &input.table,
        &settings,
        &arguments.input.options().matrix,
        context,
    )?;
    let learn = match arguments.protocol.zero_shot {
        true => Some(zero_shot::pooled(&fit.pretrain, &input.table)?),
        false => None,
    };
    let visits = visits(&arguments.times, &input.table.sample_metadata)?;
    if let (None, Some(visits), true) = (&fit.groups, &visits, protocol.is_held_out()) {
        let column = visits.columns[0].clone();
        fit.groups = Some(split::groups(&input.table.sample_metadata, &column)?);
        fit.group_column = Some(column);
    }
    let mut methods = arguments.protocol.methods();
    let mut seen = Vec::new();
    methods.retain(|method| {
        !seen.contains(method) && {
            seen.push(*method);
            true
        }
    });
    // Other settings add to the folder, so one with content is no obstacle.
    make_folder(&arguments.out, Overwrite::Replace)?;

    let name = arguments
        .table
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let subject = Subject {
        table: &input.table,
        name: name.clone(),
        inputs_sha256: input
            .sources
            .iter()
            .map(|source| source.sha256.clone())
            .collect(),
        orientation: arguments.input.options().orientation,
        matrix: arguments.input.options().matrix,
        collapse: arguments.input.options().collapse,
    };
    let pretrain: &[Table] = if learn.is_some() { &[] } else { &fit.pretrain };
    let options = EvaluateOptions {
        protocol,
        learn,
        fractions: arguments.protocol.fractions(),
        seeds: (0..arguments.protocol.n_seeds() as u64).collect(),
        n_folds: arguments.protocol.folds.unwrap_or(N_FOLDS),
        mask: arguments.protocol.mask.clone(),
        visits,
        completion: arguments.protocol.completion.unwrap_or_default(),
        methods,
        model: ModelSetting {
            config: fit.config,
            conditions: arguments.metadata.options(),
            groups: fit.groups,
            group_column: fit.group_column,
            pretrain,
            pretrain_sha256: fit.pretrain_sha256,
            encoder_sha256: arguments.metadata.encoder_sha256()?,
            device,
            batch_size: arguments.sampling.batch_size,
            models: arguments.protocol.models.as_deref(),
        },
    };
    let mut n_skipped = 0;
    let mut report = |finished: &Finished| n_skipped += usize::from(finished.was_there);
    let finished = context
        .watched(|watch| evaluate(&subject, &options, &arguments.out, watch, &mut report))
        .map_err(|error| {
            error
                .with_advice(|| {
                    format!(
                        "finished results are kept in {}; run the same command again to go on",
                        arguments.out.display()
                    )
                })
                .in_file(&arguments.table)
        })?;
    if n_skipped > 0 {
        context.talk.note(&format!(
            "{n_skipped} of {} results were there already",
            finished.len()
        ));
    }

    let outcomes: Vec<Outcome> = finished
        .into_iter()
        .map(|finished| finished.outcome)
        .collect();
    let page = html::of_evaluation(&Evaluated {
        file: &name,
        table: &input.table,
        protocol: &protocol.to_string(),
        n_folds: protocol.is_held_out().then_some(options.n_folds),
        outcomes: &outcomes,
        provenance: &provenance(&options, &input, context),
    })?;
    let page_file = arguments.out.join("report.html");
    write_text(&page_file, Overwrite::Replace, &page)?;
    summary::write_tsv(&arguments.out, &summary::read_folder(&arguments.out)?)?;
    let pictures = figures::write(&arguments.out, &name, &outcomes)?;
    if protocol.is_tight() {
        let rows = comparison::rows(&outcomes);
        let verdicts = comparison::verdicts(&rows);
        if context.json {
            return context
                .talk
                .json(&json!({"scores": rows, "verdicts": verdicts, "n_skipped": n_skipped}));
        }
        context.talk.data(&comparison_table::draw(&rows))?;
        for verdict in verdicts {
            context.talk.data(&verdict)?;
        }
    } else {
        let rows = summary::rows(&outcomes);
        let verdict = summary::verdict(&rows, "depmicrodiff");
        if context.json {
            return context
                .talk
                .json(&json!({"scores": rows, "verdict": verdict, "n_skipped": n_skipped}));
        }
        context.talk.data(&score_table::draw(&rows))?;
        if let Some(verdict) = verdict {
            context.talk.data(&verdict)?;
        }
    }
    context.talk.note(&format!(
        "wrote {}",
        arguments.out.join("results.tsv").display()
    ));
    for file in pictures.iter().chain([&page_file]) {
        context.talk.note(&format!("wrote {}", file.display()));
    }
    Ok(())
}

/// Who was sampled when, where the columns are named.
fn visits(times: &TimeArgs, metadata: &Metadata) -> Result<Option<Visits>> {
    let Some(columns) = times.columns() else {
        return Ok(None);
    };
    Ok(Some(Visits {
        occasions: columns.read(metadata)?,
        columns: [columns.subject, columns.time],
    }))
}

/// Where the results come from, for the page.
fn provenance(options: &EvaluateOptions, input: &Input, context: &Context) -> Provenance {
    let mut provenance = Provenance {
        command: context.command.clone(),
        inputs: input.sources.clone(),
        ..Provenance::default()
    };
    let list = |items: Vec<String>| items.join(", ");
    let methods = options.methods.iter().map(ToString::to_string).collect();
    let fractions = options.fractions.iter().map(ToString::to_string).collect();
    let seeds = options.seeds.iter().map(ToString::to_string).collect();
    provenance.set("protocol", options.protocol.to_string());
    provenance.set("methods", list(methods));
    provenance.set("hidden_shares", list(fractions));
    provenance.set("seeds_or_folds", list(seeds));
    provenance.set("metadata", options.model.conditions.to_string());
    provenance.set("config", options.model.config.to_toml());
    provenance
}

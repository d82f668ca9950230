//! `suffuse privacy TRAIN HOLDOUT SYNTHETIC`: what a synthetic table gives away.

use super::{Context, InputArgs};
use clap::Args;
use std::path::PathBuf;
use suffuse::input::{self, InputOptions};
use suffuse::privacy::{Source, Sources, assess};
use suffuse::report::privacy_table;
use suffuse::{Error, Result};
use suffuse_data::format::Matrix;

/// Arguments of `privacy`.
#[derive(Debug, Args)]
#[command(after_help = "\
HOLDOUT holds samples of the same kind that the generator never saw. Its distances to TRAIN are those of
an honest generator; only what goes beyond them is a leak. All tables need the same features, in any
order. The verdict passes if, with their 95 % intervals, 45 to 55 % of the synthetic samples lie closest to
a training sample, membership is inferred with an area of at most 0.55, and no larger a share of them are
exact copies than of HOLDOUT. It fails if one of these is above its bound, and is unclear otherwise. The exit code does not
depend on it.

Examples:
  suffuse privacy train.h5ad holdout.h5ad synthetic.h5ad
  suffuse privacy train.biom holdout.biom synthetic.biom --seed 3
  suffuse privacy train.tsv holdout.tsv synthetic.tsv --json")]
pub(crate) struct PrivacyArgs {
    /// Table that the generator was fitted to
    #[arg(value_name = "TRAIN")]
    train: PathBuf,
    /// Table of real samples that it never saw
    #[arg(value_name = "HOLDOUT")]
    holdout: PathBuf,
    /// Table that it generated
    #[arg(value_name = "SYNTHETIC")]
    synthetic: PathBuf,
    /// Seed of subsamples and intervals
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        help_heading = "Comparison"
    )]
    seed: u64,
    #[command(flatten)]
    input: InputArgs,
}

pub(super) fn run(arguments: &PrivacyArgs, context: &mut Context) -> Result<()> {
    let options = arguments.input.options();
    let of_synthetic = InputOptions {
        matrix: Matrix::X,
        metadata: None, // the sheet is that of real samples
        ..options.clone()
    };
    let paths = [&arguments.train, &arguments.holdout, &arguments.synthetic];
    let mut tables = Vec::with_capacity(paths.len());
    for (path, options) in paths.into_iter().zip([&options, &options, &of_synthetic]) {
        let read = input::read(path, options)?;
        context.talk.detail(&format!("read {}", path.display()));
        for doubt in input::doubts(path, options, &read.table) {
            context.talk.note(&format!("{}: {doubt}", path.display()));
        }
        tables.push(read.table);
    }
    let source = |at: usize| Source {
        path: paths[at],
        table: &tables[at],
    };
    let sources = Sources {
        train: source(0),
        holdout: source(1),
        synthetic: source(2),
    };
    let found = assess(&sources, arguments.seed)?;
    context.notes(&found.notes);
    if context.json {
        let value = serde_json::to_value(&found)
            .map_err(|error| Error::Table(format!("privacy: {error}")))?;
        return context.talk.json(&value);
    }
    context.talk.data(&privacy_table::draw(&found.privacy))
}

//! `suffuse demo`: all steps on a simulated table.

use super::{Context, DeviceArgs, OverwriteArgs};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use serde_json::json;
use std::path::PathBuf;
use suffuse::Result;
use suffuse::demo::{self, DemoOptions};
use suffuse::evaluate::summary;
use suffuse::output::make_folder;
use suffuse::provenance::Provenance;
use suffuse::report::score_table;
use suffuse::settings::{self, Setting};

/// Arguments of `demo`.
#[derive(Debug, Args)]
#[command(after_help = "\
Simulates a table, hides a tenth of its non-zero entries, fits the model on the rest, fills the
hidden entries, and scores them beside the baselines. Writes tables and pictures.

Example:
  suffuse demo --out demo")]
pub(crate) struct DemoArgs {
    /// Folder for tables and pictures
    #[arg(short, long, value_name = "DIR", default_value = "suffuse-demo")]
    out: PathBuf,
    /// Samples to simulate, 10 at least
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = from(10))]
    samples: usize,
    /// Taxa to simulate, 5 at least
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = from(5))]
    taxa: usize,
    /// Configuration: small, paper, tiny, or a .toml file
    #[arg(long, value_name = "NAME|FILE", default_value = "small")]
    config: String,
    /// Set a key of the configuration (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<Setting>,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    overwrite: OverwriteArgs,
}

/// Numbers from here on: a tenth of the values of a smaller table is next to none.
fn from(least: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(least..)
}

pub(super) fn run(arguments: &DemoArgs, context: &mut Context) -> Result<()> {
    let device = arguments.device.find()?;
    let config = settings::config(&arguments.config, &arguments.set)?;
    make_folder(&arguments.out, arguments.overwrite.overwrite())?;
    context.talk.note(&format!(
        "simulating {} samples x {} taxa, hiding 10 % of the non-zero entries, fitting ({})",
        arguments.samples, arguments.taxa, arguments.config
    ));
    let options = DemoOptions {
        config,
        n_samples: arguments.samples,
        n_taxa: arguments.taxa,
        seed: arguments.seed,
        device: device.clone(),
    };
    let mut provenance = Provenance {
        command: context.command.clone(),
        ..Provenance::default()
    };
    context.say_device(&device, &mut provenance);
    let done = context.watched(|watch| demo::run(&arguments.out, &options, provenance, watch))?;
    let rows = summary::rows(&done.outcomes);
    let verdict = summary::verdict(&rows, "depmicrodiff").unwrap_or_default();
    let files: Vec<String> = done
        .files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    if context.json {
        return context.talk.json(&json!({
            "scores": rows,
            "verdict": verdict,
            "counts": done.completed.counts,
            "files": files,
        }));
    }
    context
        .talk
        .data(&format!("{}\n{verdict}", score_table::draw(&rows)))?;
    for file in files {
        context.talk.note(&format!("wrote {file}"));
    }
    Ok(())
}

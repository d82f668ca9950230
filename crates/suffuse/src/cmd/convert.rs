//! `suffuse convert IN OUT`: a table from one format to another.

use super::{Context, InputArgs, OverwriteArgs};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use suffuse::Result;
use suffuse::output::require_writable;
use suffuse_data::format::{self, Format, WriteOptions};

/// Arguments of `convert`.
#[derive(Debug, Args)]
#[command(after_help = "\
Formats are read by content and written by ending: .h5ad, .biom (BIOM 2.1), .biom.json (BIOM 1.0),
.tsv, .csv (both also .gz), .mtx (a folder). h5ad keeps all that was read, BIOM all but layers, obsm
and uns; the others keep ids and values.

Examples:
  suffuse convert otu_table.txt table.biom
  suffuse convert table.biom table.h5ad -m metadata.tsv")]
pub(crate) struct ConvertArgs {
    /// Table to read
    input: PathBuf,
    /// File to write
    output: PathBuf,
    #[command(flatten)]
    table: InputArgs,
    #[command(flatten)]
    overwrite: OverwriteArgs,
}

pub(super) fn run(arguments: &ConvertArgs, context: &mut Context) -> Result<()> {
    let overwrite = arguments.overwrite.overwrite();
    Format::of_output(&arguments.output)?;
    require_writable(&arguments.output, overwrite)?;
    let input = suffuse::input::read(&arguments.input, &arguments.table.options())?;
    context.notes(&input.notes);
    let options = WriteOptions {
        overwrite,
        ..WriteOptions::default()
    };
    format::write(&input.table, &arguments.output, &options)?;
    let (n_samples, n_features) = (input.table.n_samples(), input.table.n_features());
    if context.json {
        let output = arguments.output.display().to_string();
        return context
            .talk
            .json(&json!({"output": output, "n_samples": n_samples, "n_features": n_features}));
    }
    context.talk.note(&format!(
        "{}: {n_samples} samples x {n_features} features",
        arguments.output.display()
    ));
    Ok(())
}

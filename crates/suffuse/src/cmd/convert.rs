//! `suffuse convert IN OUT`: a table from one format to another.

use super::{Context, InputArgs, OverwriteArgs};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use suffuse::Result;
use suffuse::input;
use suffuse::output::{require_apart, require_writable};
use suffuse_data::Table;
use suffuse_data::format::tsv::Orientation;
use suffuse_data::format::{self, Format, WriteOptions, detect, h5ad, mtx};
use suffuse_data::taxonomy;

/// Arguments of `convert`.
#[derive(Debug, Args)]
#[command(after_help = "\
Formats are read by content and written by ending: .h5ad, .biom (BIOM 2.1), .biom.json (BIOM 1.0),
.tsv, .csv (both also .gz), .mtx (a folder). h5ad keeps all that was read, BIOM all but layers, obsm
and uns. Text keeps ids, values and lineages: with lineages it has one line per feature, and they
stand in its last column, else one line per sample. A .mtx folder keeps ids and values. What is not
kept is told.

Examples:
  suffuse convert otu_table.txt table.biom
  suffuse convert table.biom table.h5ad -m metadata.tsv
  suffuse convert cells.h5ad counts.h5ad --layer counts")]
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
    let format = Format::of_output(&arguments.output)?;
    require_writable(&arguments.output, overwrite)?;
    let inputs = input::files(&arguments.input, &arguments.table.options());
    require_apart([arguments.output.as_path()], &inputs)?;
    let input = input::read(&arguments.input, &arguments.table.options())?;
    context.notes(&input.notes);
    let options = WriteOptions {
        overwrite,
        orientation: match input.table.taxonomy {
            Some(_) => Orientation::SamplesInColumns, // only there is a place for lineages
            None => Orientation::SamplesInRows,
        },
        ..WriteOptions::default()
    };
    format::write(&input.table, &arguments.output, &options)?;
    if detect(&arguments.input)? == Format::H5ad {
        let not_read = h5ad::not_read(&arguments.input, &arguments.table.options().matrix)?;
        if !not_read.is_empty() {
            context.talk.note(&format!(
                "{}: has no place in a table and is not kept: {}",
                arguments.input.display(),
                not_read.join(", ")
            ));
        }
    }
    let lost = lost(&input.table, format);
    if !lost.is_empty() {
        context.talk.note(&format!(
            "{}: not kept by {}: {}; .h5ad keeps all",
            arguments.output.display(),
            format.name(),
            lost.join(", ")
        ));
    }
    if format == Format::H5ad {
        let metadata = [&input.table.sample_metadata, &input.table.feature_metadata];
        let columns = metadata.into_iter().flat_map(|metadata| metadata.columns());
        let has_slash = |name: &&str| name.contains('/');
        let renamed: Vec<&str> = (columns.map(|column| column.name.as_str()))
            .filter(has_slash)
            .collect();
        if !renamed.is_empty() {
            context.talk.note(&format!(
                "{}: names in an .h5ad hold no slash, so `_` stands in its place: {}",
                arguments.output.display(),
                renamed.join(", ")
            ));
        }
    }
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

/// What of a table has no place in a format.
fn lost(table: &Table, format: Format) -> Vec<String> {
    let is_text = matches!(format, Format::Tsv | Format::Csv);
    let is_matrix = format == Format::MatrixMarket;
    let named = |what: &str, n: usize| (n > 0).then(|| format!("{what} ({n})"));
    let mut lost = Vec::new();
    if format != Format::H5ad {
        lost.push(named("layers", table.layers.len()));
        lost.push(named("obsm", table.obsm.len()));
        lost.push(named("uns", table.uns.len()));
    }
    if is_text || is_matrix {
        let n_columns = table.sample_metadata.columns().len();
        lost.push(named("metadata columns", n_columns));
        // Lineages are spoken of by themselves.
        let is_told = |name: &str| {
            !(taxonomy::is_read_from(name) || is_matrix && mtx::FEATURE_COLUMNS.contains(&name))
        };
        let columns = table.feature_metadata.columns().iter();
        let n_columns = columns.filter(|column| is_told(&column.name)).count();
        lost.push(named("columns of features", n_columns));
    }
    if is_matrix && table.taxonomy.is_some() {
        lost.push(Some("lineages".to_string()));
    }
    lost.into_iter().flatten().collect()
}

//! `suffuse pool ORIGINAL --imputed A B ...`: two groups compared over completed tables.

use super::{Context, InputArgs, OverwriteArgs, at_least_one};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};
use suffuse::impute::ACTION;
use suffuse::output::{beside, require_apart, require_writable, write_text};
use suffuse::pool::{LogScale, Options, Results, Study};
use suffuse::provenance::Provenance;
use suffuse::report::pool_table;
use suffuse::{Error, Result, input};
use suffuse_data::Table;
use suffuse_data::format::Matrix;
use suffuse_stats::differential::{Permutations, Test};

/// Arguments of `pool`.
#[derive(Debug, Args)]
#[command(after_help = "\
Compares two groups of samples, taxon by taxon, in each completed table, and pools the results by
Rubin's rules: the p-values then know that filled entries are not observed. Writes one line per taxon:
pooled mean and difference with 95 % intervals, p, q (Benjamini-Hochberg), the fraction of missing
information, and p and q in ORIGINAL. The difference is that of the second group from the first.

With --permutations, labels are permuted to count false positives in ORIGINAL and in the pooled test,
and correlations between taxa are compared before and after filling.

Examples:
  suffuse impute table.h5ad -o filled.h5ad --m 20
  suffuse pool table.h5ad --imputed filled-*.h5ad --group body_site -o pooled.tsv
  suffuse pool table.tsv --imputed filled-??.tsv -m meta.tsv --group stage --levels I,IV
  suffuse pool table.h5ad --imputed filled-*.h5ad --group sex --permutations 100 --json")]
pub(crate) struct PoolArgs {
    /// Table before filling
    #[arg(value_name = "ORIGINAL")]
    original: PathBuf,
    #[command(flatten)]
    tables: TablesArgs,
    #[command(flatten)]
    comparison: ComparisonArgs,
    /// File for the taxa [default: stdout]; beside it stands OUT.suffuse.json (how it was made)
    #[arg(short, long, value_name = "OUT", help_heading = "Output")]
    output: Option<PathBuf>,
    #[command(flatten)]
    overwrite: OverwriteArgs,
    #[command(flatten)]
    input: InputArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
struct TablesArgs {
    /// Completed tables, as `suffuse impute --m` writes them
    #[arg(long, value_name = "TABLE", num_args = 1.., required = true)]
    imputed: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Comparison")]
struct ComparisonArgs {
    /// Metadata column with the two groups
    #[arg(long, value_name = "COLUMN")]
    group: String,
    /// The two values to compare, where the column has more [default: both, sorted]
    #[arg(long, value_name = "A,B", value_parser = levels)]
    levels: Option<Levels>,
    /// Test per taxon
    #[arg(long, value_name = "NAME", default_value = "welch")]
    test: TestArg,
    /// Scale of the values
    #[arg(long, value_name = "NAME", default_value = "clr")]
    scale: ScaleArg,
    /// Permuted label vectors to count false positives with
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    permutations: Option<usize>,
    /// Seed of the permutations
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct Levels([String; 2]);

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TestArg {
    /// Difference of means with unequal variances
    Welch,
    /// Rank-sum test: the probability that a sample of the second group is above one of the first
    Wilcoxon,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScaleArg {
    /// Centred log-ratio of percent plus half of the smallest percent observed
    Clr,
    /// ln(1 + percent)
    Ln1p,
}

fn levels(text: &str) -> std::result::Result<Levels, String> {
    let expected = "expected two different values with a comma between them";
    match text.split_once(',').map(|(a, b)| (a.trim(), b.trim())) {
        Some((a, b)) if a != b && !a.is_empty() && !b.is_empty() => {
            Ok(Levels([a, b].map(String::from)))
        }
        _ => Err(expected.to_string()),
    }
}

pub(super) fn run(arguments: &PoolArgs, context: &mut Context) -> Result<()> {
    let record = arguments
        .output
        .as_ref()
        .map(|output| beside(output, ".suffuse.json"));
    let read_options = arguments.input.options();
    let mut inputs = input::files(&arguments.original, &read_options);
    inputs.extend(arguments.tables.imputed.iter().cloned());
    for path in arguments.output.iter().chain(&record) {
        require_writable(path, arguments.overwrite.overwrite())?;
        require_apart([path.as_path()], &inputs)?;
    }
    let options = arguments.comparison.options();
    let original = input::read(&arguments.original, &read_options)?;
    context.notes(&original.notes);
    let mut provenance = Provenance {
        command: context.command.clone(),
        inputs: original.sources,
        ..Provenance::default()
    };
    provenance.set("seed", arguments.comparison.seed);
    let mut study = Study::new(&original.table, &options)
        .map_err(|error| error.in_file(&arguments.original))?;
    let without_metadata = input::InputOptions {
        metadata: None,
        matrix: Matrix::X,
        ..read_options
    };
    let n_before = provenance.inputs.len();
    for path in &arguments.tables.imputed {
        let completed = input::read(path, &without_metadata)?;
        study
            .add(&completed.table)
            .map_err(|error| error.in_file(path))?;
        let twin = (provenance.inputs[n_before..].iter())
            .find(|other| other.sha256 == completed.sources[0].sha256);
        if let Some(twin) = twin {
            context.talk.note(&format!(
                "{} holds the same as {}: if it is one table given twice, the spread between tables comes out too small",
                path.display(),
                twin.path.display()
            ));
        } else if holds_means(path, &completed.table) {
            context.talk.note(&format!(
                "{} holds the mean of draws, not one draw, unless it was filled with --draws 1: the spread between tables comes out too small; give the tables of --m alone, as in OUT-*",
                path.display()
            ));
        }
        provenance.inputs.extend(completed.sources);
        context.talk.detail(&format!("read {}", path.display()));
    }
    let results = study.finish()?;
    context.notes(&results.notes);
    if let Some(output) = &arguments.output {
        let overwrite = arguments.overwrite.overwrite();
        write_text(output, overwrite, &results.tsv())?;
        if let Some(record) = &record {
            write_text(record, overwrite, &format!("{:#}\n", provenance.to_json()))?;
        }
    }
    report(arguments, &results, context)
}

/// Says whether a table is the main output of `impute`, which says what was filled: in layers, or beside.
fn holds_means(path: &Path, table: &Table) -> bool {
    table.layers.contains_key(ACTION) || beside(path, ".filled.tsv").exists()
}

impl ComparisonArgs {
    fn options(&self) -> Options {
        Options {
            group: self.group.clone(),
            levels: self.levels.clone().map(|levels| levels.0),
            test: match self.test {
                TestArg::Welch => Test::Welch,
                TestArg::Wilcoxon => Test::Wilcoxon,
            },
            scale: match self.scale {
                ScaleArg::Clr => LogScale::Clr,
                ScaleArg::Ln1p => LogScale::Ln1p,
            },
            permutations: Permutations {
                n: self.permutations.unwrap_or(0),
                seed: self.seed,
            },
        }
    }
}

/// The taxa go to stdout unless a file takes them; the small table goes where they do not.
fn report(arguments: &PoolArgs, results: &Results, context: &mut Context) -> Result<()> {
    let [first, second] = &results.levels;
    let [n_first, n_second] = results.n_samples;
    context.talk.note(&format!(
        "{second:?} ({n_second} samples) against {first:?} ({n_first} samples) over {} completed tables",
        results.n_tables
    ));
    let n_with = |of: fn(&suffuse::pool::Taxon) -> f64| {
        let found = results.taxa.iter().filter(|taxon| of(taxon) < 0.05);
        found.count()
    };
    let found = format!(
        "taxa with q < 0.05: {} in the original, {} pooled, of {}",
        n_with(|taxon| taxon.q_original),
        n_with(|taxon| taxon.q),
        results.taxa.len()
    );
    if context.json {
        let mut value = serde_json::to_value(results)
            .map_err(|error| Error::Table(format!("results: {error}")))?;
        value["file"] = json!(
            arguments
                .output
                .as_ref()
                .map(|path| path.display().to_string())
        );
        return context.talk.json(&value);
    }
    let check = results
        .check
        .as_ref()
        .map(|check| pool_table::draw(check, results.n_tables));
    match &arguments.output {
        Some(output) => {
            context.talk.data(&found)?;
            if let Some(check) = check {
                context.talk.data(&check)?;
            }
            context.talk.note(&format!("wrote {}", output.display()));
        }
        None => {
            context.talk.data(&results.tsv())?;
            context.talk.note(&found);
            if let Some(check) = check {
                context.talk.note(&check);
            }
        }
    }
    Ok(())
}

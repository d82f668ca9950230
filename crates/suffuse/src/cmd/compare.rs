//! `suffuse compare REAL SYNTH`: generated samples against real ones, figure by figure.

use super::{Context, InputArgs, OverwriteArgs, at_least_one};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};
use suffuse::compare::{Comparison, Features, Options, Results, Tables, compare};
use suffuse::input::{self, Input, InputOptions};
use suffuse::output::{make_folder, require_apart, require_outside, require_writable, write_text};
use suffuse::provenance::{Provenance, digest};
use suffuse::report::band_table;
use suffuse::report::html::{self, Compared};
use suffuse::{Error, Result};
use suffuse_data::format::{Matrix, Overwrite};
use suffuse_data::tree::Tree;

/// Arguments of `compare`.
#[derive(Debug, Args)]
#[command(after_help = "\
REAL holds real samples that the generator has not seen. Every figure is of as many generated as real
samples. With --train, REAL and TRAIN are pooled and split again, 20 times at the same sizes, and every
figure is computed between real samples: its band ends at the 95th percentile (at the 5th where high
values are good). Generated samples inside the band are as close to REAL as other real samples are.

Samples are compared by shares, so counts and relative abundances may meet; richness and zeros still
depend on the depth. Samples without a non-zero entry are left out and counted.

Examples:
  suffuse compare test.h5ad generated.h5ad
  suffuse compare test.h5ad generated.h5ad --train train.h5ad --tree tree.nwk --report page.html
  suffuse compare test.biom generated.tsv --train train.biom -m meta.tsv --group subject
  suffuse compare test.h5ad generated.h5ad --train train.h5ad --label body_site --json")]
pub(crate) struct CompareArgs {
    /// Real samples that the generator has not seen
    #[arg(value_name = "REAL")]
    real: PathBuf,
    /// Generated samples
    #[arg(value_name = "SYNTH")]
    synth: PathBuf,
    #[command(flatten)]
    comparison: ComparisonArgs,
    /// Folder for the figures as files
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    out: Option<PathBuf>,
    /// One HTML page with the figures and pictures
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    report: Option<PathBuf>,
    #[command(flatten)]
    overwrite: OverwriteArgs,
    #[command(flatten)]
    input: InputArgs,
    /// Sheet with one row per generated sample, for --label
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    synth_metadata: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Comparison")]
struct ComparisonArgs {
    /// The samples that the generator was fitted on: gives the real-real band
    #[arg(long, value_name = "TABLE")]
    train: Option<PathBuf>,
    /// Newick tree with the features as tips, for UniFrac and Faith's diversity
    #[arg(long, value_name = "FILE")]
    tree: Option<PathBuf>,
    /// Features to compare
    #[arg(long, value_name = "WHICH", default_value = "same")]
    features: FeaturesArg,
    /// Metadata column to learn from generated samples and to test on real ones
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// Metadata column of REAL and TRAIN that names the subject: splits and folds keep subjects whole
    #[arg(long, value_name = "COLUMN")]
    group: Option<String>,
    /// Samples on each side [default: as many as every table has, up to 2000]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    samples: Option<usize>,
    /// Random splits of the band
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = at_least_one)]
    splits: usize,
    /// Permutations of PERMANOVA and PERMDISP
    #[arg(long, value_name = "N", default_value_t = 999, value_parser = at_least_one)]
    permutations: usize,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FeaturesArg {
    /// All tables must have the same
    Same,
    /// Those in all tables
    Intersect,
}

impl CompareArgs {
    /// The files that are read.
    fn files(&self) -> Vec<PathBuf> {
        let ComparisonArgs { train, tree, .. } = &self.comparison;
        let mut files = input::files(&self.real, &self.input.options());
        files.push(self.synth.clone());
        let others = [train, tree, &self.synth_metadata];
        files.extend(others.into_iter().flatten().cloned());
        files
    }
}

pub(super) fn run(arguments: &CompareArgs, context: &mut Context) -> Result<()> {
    let comparison = &arguments.comparison;
    if let Some(folder) = &arguments.out {
        require_outside(folder, &arguments.files())?;
        match folder.exists() {
            true => make_folder(folder, arguments.overwrite.overwrite())?,
            // Made once there is something to put into it.
            false => require_writable(folder, arguments.overwrite.overwrite())?,
        }
    }
    if let Some(page) = &arguments.report {
        // The folder for results is made later, and other files may lie in it.
        let is_among_results = arguments
            .out
            .as_deref()
            .is_some_and(|out| !out.exists() && page.parent() == Some(out));
        if !is_among_results {
            require_writable(page, arguments.overwrite.overwrite())?;
        }
        require_apart([page.as_path()], &arguments.files())?;
    }
    let mut provenance = Provenance {
        command: context.command.clone(),
        ..Provenance::default()
    };
    let tables = read(arguments, context, &mut provenance)?;
    let options = Options {
        features: match comparison.features {
            FeaturesArg::Same => Features::Same,
            FeaturesArg::Intersect => Features::Intersect,
        },
        collapse: arguments.input.options().collapse,
        samples: comparison.samples,
        label: comparison.label.clone(),
        group: comparison.group.clone(),
        n_splits: comparison.splits,
        n_permutations: comparison.permutations,
        seed: comparison.seed,
    };
    provenance.set("seed", options.seed);
    let Comparison { results, pictures } =
        context.watched(|watch| compare(tables, &options, watch))?;
    context.notes(&results.notes);
    if let Some(folder) = &arguments.out {
        write(folder, &results, &provenance, context)?;
    }
    if let Some(file) = &arguments.report {
        let name = |path: &Path| {
            path.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        let page = html::of_comparison(&Compared {
            real: &name(&arguments.real),
            synth: &name(&arguments.synth),
            results: &results,
            pictures: &pictures,
            provenance: &provenance,
        })?;
        write_text(file, arguments.overwrite.overwrite(), &page)?;
        context.talk.note(&format!("wrote {}", file.display()));
    }
    if context.json {
        return context.talk.json(&to_json(&results)?);
    }
    context.talk.data(&text(&results))
}

/// The tables, without what would make them differ in features.
fn read(
    arguments: &CompareArgs,
    context: &mut Context,
    provenance: &mut Provenance,
) -> Result<Tables> {
    let comparison = &arguments.comparison;
    // Which features are leaves is decided once, by the lineages of REAL.
    let of_real = InputOptions {
        collapse: None,
        ..arguments.input.options()
    };
    let of_synth = InputOptions {
        metadata: arguments.synth_metadata.clone(),
        matrix: Matrix::X,
        ..of_real.clone()
    };
    let mut table = |path: &Path, options: &InputOptions| -> Result<_> {
        let Input {
            table,
            sources,
            notes,
        } = input::read(path, options)?;
        for note in notes {
            context.talk.detail(&format!("{}: {note}", path.display()));
        }
        if path != arguments.synth {
            for doubt in input::doubts(path, options, &table) {
                context.talk.note(&format!("{}: {doubt}", path.display()));
            }
        }
        provenance.inputs.extend(sources);
        Ok(table)
    };
    let real = table(&arguments.real, &of_real)?;
    let generated = table(&arguments.synth, &of_synth)?;
    let train = match &comparison.train {
        Some(path) => Some(table(path, &of_real)?),
        None => None,
    };
    let tree = match &comparison.tree {
        Some(path) => {
            provenance.inputs.push(digest(path)?);
            Some(Tree::read(path)?)
        }
        None => None,
    };
    Ok(Tables {
        real,
        generated,
        train,
        tree,
    })
}

fn to_json(results: &Results) -> Result<serde_json::Value> {
    serde_json::to_value(results).map_err(|error| Error::Table(format!("results: {error}")))
}

fn write(
    folder: &Path,
    results: &Results,
    provenance: &Provenance,
    context: &mut Context,
) -> Result<()> {
    let record = json!({"results": to_json(results)?, "provenance": provenance.to_json()});
    make_folder(folder, Overwrite::Replace)?;
    for (name, text) in [
        ("comparison.tsv", results.tsv()),
        ("comparison.json", format!("{record:#}\n")),
    ] {
        let path = folder.join(name);
        // The folder was found to be free, or to be replaced.
        write_text(&path, Overwrite::Replace, &text)?;
        context.talk.note(&format!("wrote {}", path.display()));
    }
    Ok(())
}

fn text(results: &Results) -> String {
    let mut text = format!(
        "{} generated against {} real samples, {} features",
        results.n_per_side, results.n_per_side, results.n_taxa
    );
    if results.n_splits > 0 {
        text.push_str(&format!(
            "; band of {} splits of real samples at this size",
            results.n_splits
        ));
    }
    text.push('\n');
    text.push_str(&band_table::draw(results));
    text.push('\n');
    if results.n_splits > 0 {
        let (n_inside, n) = results.n_inside();
        text.push_str(&format!("{n_inside} of {n} figures are inside the band.\n"));
    }
    text.push_str(&results.verdict);
    text.push('\n');
    text
}

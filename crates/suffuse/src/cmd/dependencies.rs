//! `suffuse dependencies TABLE`: which taxa depend on which.

use super::impute::{conditions_of, in_order_of};
use super::{Context, InputArgs, OverwriteArgs, at_least_one, share, share_above_zero};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::PathBuf;
use suffuse::dependencies::attention::{Attention, attention};
use suffuse::dependencies::{Options, TimeColumns, Written, find, tests};
use suffuse::output::{make_folder, remove_of_before, require_outside, write_text};
use suffuse::provenance::{Provenance, digest};
use suffuse::{Error, Result, input};
use suffuse_data::format::Overwrite;
use suffuse_model::systems::depmicrodiff::Model;
use suffuse_stats::dependency::{FTestForm, MiTest};

/// Arguments of `dependencies`.
#[derive(Debug, Args)]
#[command(after_help = "\
Two tests on every pair of taxa, on ln(1 + percent): F-tests of nested linear models (directed) and
mutual information (mutual). With a time and a subject column, lagged Granger causality as well.
Writes edges.tsv, dependencies.graphml, provenance.json and the pictures pairs.svg, network.svg,
matrix.svg and attention-mask.svg (how the model's attention follows the dependencies).

Examples:
  suffuse dependencies table.h5ad --out dependencies
  suffuse dependencies table.h5ad --out dependencies --model fitted
  suffuse dependencies gut.h5ad --out dependencies --time day --subject host --lags 2")]
pub(crate) struct DependenciesArgs {
    /// Table
    table: PathBuf,
    /// Folder for the results
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    tests: TestArgs,
    #[command(flatten)]
    series: SeriesArgs,
    /// Folder of a model fitted on these features: writes attention.tsv and attention.svg, and says how
    /// its attention agrees with its dependencies and with proportionality
    #[arg(long, value_name = "DIR", help_heading = "Model")]
    model: Option<PathBuf>,
    #[command(flatten)]
    overwrite: OverwriteArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Tests")]
struct TestArgs {
    /// False-discovery rate
    #[arg(long, value_name = "0..1", default_value_t = 0.05, value_parser = share_above_zero)]
    alpha: f64,
    /// Models of the F-test
    #[arg(long, value_name = "NAME", default_value = "nested")]
    form: Form,
    /// Permutations of the test of mutual information; 0 takes the G-test, which is faster
    #[arg(long, value_name = "N", default_value_t = 999)]
    permutations: usize,
    /// Share of the non-zero entries hidden in the input of the nested F-test
    #[arg(long, value_name = "0..1", default_value_t = 0.1, value_parser = share)]
    hide: f64,
    /// Samples in which a pair must be present together
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = at_least_one)]
    min_co_present: usize,
    /// Seed of hiding and permutations
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Time series")]
struct SeriesArgs {
    /// Numeric metadata column that orders the visits of a subject
    #[arg(long, value_name = "COLUMN", requires = "subject")]
    time: Option<String>,
    /// Metadata column that names the subject
    #[arg(long, value_name = "COLUMN", requires = "time")]
    subject: Option<String>,
    /// Visits to look back
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    lags: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    /// Does x_j help to predict y_i beside x_i, where x has entries hidden and y is clean
    Nested,
    /// Does y_j predict y_i on its own
    Plain,
}

pub(super) fn run(arguments: &DependenciesArgs, context: &mut Context) -> Result<()> {
    let inputs = input::files(&arguments.table, &arguments.input.options());
    require_outside(&arguments.out, &inputs)?;
    let input = input::read_to_learn(&arguments.table, &arguments.input.options())?;
    context.notes(&input.notes);
    let form = match arguments.tests.form {
        Form::Nested => FTestForm::Nested,
        Form::Plain => FTestForm::Plain,
    };
    let mut tests = tests(arguments.tests.alpha, form);
    tests.min_co_present = arguments.tests.min_co_present;
    tests.mi_test = match arguments.tests.permutations {
        0 => MiTest::GTest,
        n_permutations => MiTest::Permutation {
            n_permutations,
            seed: arguments.tests.seed,
        },
    };
    let granger = match (&arguments.series.time, &arguments.series.subject) {
        (Some(time), Some(subject)) => Some(TimeColumns {
            time: time.clone(),
            subject: subject.clone(),
            n_lags: arguments.series.lags,
        }),
        _ => None,
    };
    let options = Options {
        tests,
        hide_fraction: arguments.tests.hide,
        seed: arguments.tests.seed,
        granger,
    };
    let name = arguments
        .table
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let in_table = |error: Error| error.in_file(&arguments.table);
    let attention = match &arguments.model {
        Some(folder) => {
            let model = Model::load(folder)?;
            let table = in_order_of(model.feature_ids(), input.table.clone()).map_err(in_table)?;
            let conditions = conditions_of(folder, &table, context)?;
            Some(attention(&model, &table, conditions, arguments.tests.seed).map_err(in_table)?)
        }
        None => None,
    };
    let found = find(&input.table, &options).map_err(in_table)?;
    context.notes(&found.notes);

    make_folder(&arguments.out, arguments.overwrite.overwrite())?;
    let Written {
        mut files,
        left_out,
    } = found.write(&arguments.out, &name)?;
    if !left_out.is_empty() {
        let left_out = left_out.join(", ");
        context.notes(&[format!(
            "not drawn, for there is no pair to show: {left_out}"
        )]);
    }
    let agreement = match &attention {
        Some(attention) => {
            files.extend(attention.write(&arguments.out, &name)?);
            Some(attention.agreement()?)
        }
        None => {
            for name in Attention::FILES {
                remove_of_before(&arguments.out.join(name))?;
            }
            None
        }
    };
    let mut provenance = Provenance {
        command: context.command.clone(),
        inputs: input.sources,
        ..Provenance::default()
    };
    if let Some(folder) = &arguments.model {
        provenance.inputs.push(digest(folder)?);
    }
    provenance.set("seed", arguments.tests.seed);
    let record = arguments.out.join("provenance.json");
    let text = format!("{:#}\n", provenance.to_json());
    write_text(&record, Overwrite::Replace, &text)?;
    files.push(record);

    let n_of = |kind: &str| found.edges.iter().filter(|edge| edge.kind == kind).count();
    let counts = ["directed", "mutual", "lagged"].map(|kind| (kind, n_of(kind)));
    if context.json {
        let files: Vec<String> = files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        return context.talk.json(&json!({
            "n_taxa": found.taxa.len(),
            "directed": counts[0].1,
            "mutual": counts[1].1,
            "lagged": counts[2].1,
            "attention": agreement,
            "notes": found.notes,
            "files": files,
        }));
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(kind, n)| format!("{n} {kind}"))
        .collect();
    context.talk.data(&format!(
        "{} taxa; significant pairs: {}",
        found.taxa.len(),
        counts.join(", ")
    ))?;
    if let Some(agreement) = agreement {
        context.talk.data(&format!(
            "attention over {} pairs: {}; Spearman with |rho_p| {:.3}{}",
            agreement.n_pairs,
            match agreement.auroc_of_dependent.is_nan() {
                true => "all or none are dependent, so that attention cannot tell them apart"
                    .to_string(),
                false => format!(
                    "AUROC of the model's dependent pairs {:.3}",
                    agreement.auroc_of_dependent
                ),
            },
            agreement.spearman_with_proportionality,
            match agreement.spearman_of_dependent.is_nan() {
                true => String::new(),
                false => format!(
                    " (of the dependencies alone {:.3})",
                    agreement.spearman_of_dependent
                ),
            }
        ))?;
    }
    for file in files {
        context.talk.note(&format!("wrote {}", file.display()));
    }
    Ok(())
}

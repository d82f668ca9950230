//! All steps on a simulated table: simulate, hide, fit, fill, score, draw. Needs no file.

use crate::auto::{Hidden, Tested};
use crate::conditions::ConditionOptions;
use crate::dependencies;
use crate::evaluate::answer::{self, Answer, FittedModel};
use crate::evaluate::outcome::{Key, Outcome, Seconds};
use crate::evaluate::trial::Trial;
use crate::evaluate::{ModelSetting, figures, score};
use crate::impute::Completed;
use crate::method::Method;
use crate::output::write_text;
use crate::provenance::Provenance;
use crate::report::html::{self, Filled, Gathered};
use crate::report::scatter;
use crate::watch::Watch;
use crate::{PRESENCE_THRESHOLD, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;
use suffuse_data::format::{self, Overwrite, WriteOptions};
use suffuse_data::hide::{HiddenAs, hide_nonzero};
use suffuse_data::simulate::{SimulateOptions, simulate};
use suffuse_data::split;
use suffuse_model::device::Device;
use suffuse_model::systems::depmicrodiff::{Cohort, Config, Fill, ImputeOptions, Partner, Totals};
use suffuse_stats::calibration::CalibrationEntry;
use suffuse_stats::dependency::{FTestForm, MiTest};
use suffuse_stats::impute::Method as Baseline;

/// Share of the non-zero entries that the demo hides.
const HIDDEN_FRACTION: f64 = 0.1;
/// Samples per pass; has no influence on results.
const BATCH_SIZE: usize = 64;

/// What the demo does.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Configuration of the model.
    pub config: Config,
    /// Size of the simulated table.
    pub n_samples: usize,
    /// Taxa of the simulated table.
    pub n_taxa: usize,
    /// Seed of everything.
    pub seed: u64,
    /// Where the networks compute.
    pub device: Device,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Demo {
    /// Scores of the model and the baselines.
    pub outcomes: Vec<Outcome>,
    /// The table with hidden entries, filled as `suffuse impute` does it.
    pub completed: Completed,
    /// Files written.
    pub files: Vec<PathBuf>,
}

/// Runs the demo and writes its files into `folder`: `table.h5ad` as simulated, `completed.h5ad`,
/// scores and pictures.
///
/// # Errors
/// The folder cannot be written to, or an interruption.
pub fn run(
    folder: &Path,
    options: &DemoOptions,
    mut provenance: Provenance,
    watch: &mut Watch,
) -> Result<Demo> {
    let simulated = simulate(&SimulateOptions {
        n_samples: options.n_samples,
        n_taxa: options.n_taxa,
        seed: options.seed,
        ..SimulateOptions::default()
    })?;
    let table = simulated.table;
    let write_options = WriteOptions {
        overwrite: Overwrite::Replace,
        ..WriteOptions::default()
    };
    let mut files = vec![folder.join("table.h5ad")];
    format::write(&table, &files[0], &write_options)?;

    let groups = split::groups(&table.sample_metadata, "subject")?;
    let trial = Trial::published(&table, Some(groups.clone()), HIDDEN_FRACTION, options.seed)?;
    let setting = ModelSetting {
        config: options.config,
        conditions: ConditionOptions::default(),
        groups: Some(groups),
        group_column: Some("subject".to_string()),
        pretrain: &[],
        pretrain_sha256: Vec::new(),
        encoder_sha256: None,
        device: options.device.clone(),
        batch_size: BATCH_SIZE,
        models: None,
    };
    let start = Instant::now();
    let model = FittedModel::fit(&trial, &setting, options.seed, None, watch)?;
    let held_out = model.held_out(&trial, &setting, watch)?;
    let choice = model.choose(Method::DepMicroDiff, &trial, &held_out)?;
    let filling = Instant::now();
    let imputation = model.fill(&trial, &setting, options.seed, None, watch)?;
    let of_model = answer::of_hidden(&trial, &model.model, &imputation)?;
    let of_model = answer::of_choice(&choice, &trial, of_model)?;
    let seconds = Seconds {
        total: start.elapsed().as_secs_f64(),
        filling: filling.elapsed().as_secs_f64(),
    };
    let key = |method: Method| key(options, method);
    let mut outcomes = vec![score::score(
        key(Method::DepMicroDiff),
        &trial,
        &of_model,
        seconds,
    )?];
    let mut tested = tested(&trial, &of_model);
    let mut best: Option<(f64, String, Answer)> = None;
    for baseline in Baseline::ALL {
        let start = Instant::now();
        let answer = answer::of_baseline(baseline, &trial, HIDDEN_FRACTION, options.seed)?;
        let filling = start.elapsed().as_secs_f64();
        let seconds = Seconds {
            total: filling,
            filling,
        };
        let outcome = score::score(key(Method::Baseline(baseline)), &trial, &answer, seconds)?;
        let rmse = outcome.pooled.rmse;
        let said = trial.scored.iter().map(|at| answer.value[*at]).collect();
        tested.values.insert(baseline.to_string(), said);
        if best.as_ref().is_none_or(|(least, ..)| rmse < *least) {
            best = Some((rmse, baseline.to_string(), answer));
        }
        outcomes.push(outcome);
    }

    // Filled with the totals it was fitted with; nothing else is known of the hidden entries.
    let hidden = hide_nonzero(&table, HIDDEN_FRACTION, options.seed, None)?;
    let masked = hidden.apply(&table, HiddenAs::NotMeasured)?;
    let cohort = Cohort {
        table: &masked,
        hidden: &[],
        totals: Totals::Given(table.totals()),
        conditions: model.conditions(&trial)?,
        groups: None,
        times: None,
    };
    let logs = trial.incomplete()?.values;
    let predict = |entries: &[(u32, u32)]| {
        let places = entries.iter().map(|(sample, feature)| {
            let row = trial.n_learn() + *sample as usize;
            (row, *feature as usize)
        });
        choice.partners_predict_in(logs.clone(), &places.collect::<Vec<_>>())
    };
    let mut impute_options = ImputeOptions {
        fill: Fill::MissingAndZeros,
        presence_threshold: PRESENCE_THRESHOLD,
        structural_zeros: &[],
        n_draws: options.config.sampling.n_draws,
        n_sets: 0,
        partner: choice.has_partner().then_some(Partner {
            blend: choice.blend,
            predict: &predict,
            rejudge: None,
        }),
        sampler: options.config.sampling.sampler,
        seed: options.seed,
        device: options.device.clone(),
        batch_size: BATCH_SIZE,
        progress: watch.progress,
        interrupted: watch.interrupted,
    };
    let imputation = model.model.impute(&cohort, &mut impute_options)?;
    let mut completed = Completed::from_model(&masked, &imputation)?;
    provenance.set("method", Method::DepMicroDiff.to_string());
    provenance.set("seed", options.seed);
    provenance.set("config", options.config.to_toml());
    completed.set_provenance(&provenance);
    files.push(folder.join("completed.h5ad"));
    format::write(&completed.table, &files[1], &write_options)?;

    let mut panels = vec![panel(&outcomes[0], &trial, &of_model)];
    if let Some((_, name, answer)) = best {
        let outcome = outcomes
            .iter()
            .find(|outcome| outcome.key.method == name)
            .unwrap_or(&outcomes[0]);
        panels.push(panel(outcome, &trial, &answer));
    }
    if let Some(svg) = scatter::draw(
        "Hidden entries of a simulated table",
        "ln(1 + percent)",
        &panels,
    ) {
        files.push(folder.join("filled-and-true.svg"));
        write_text(
            &folder.join("filled-and-true.svg"),
            Overwrite::Replace,
            &svg,
        )?;
    }
    files.extend(figures::write(folder, "simulated table", &outcomes)?);
    let mut gathered = Gathered::new(&masked, options.seed);
    gathered.take_all(&completed);
    let page = html::of_filled(&Filled {
        file: "table.h5ad (simulated)",
        table: &masked,
        counts: completed.counts,
        method: &Method::DepMicroDiff.to_string(),
        choice: Some(&choice).filter(|choice| choice.has_partner()),
        tested: &tested,
        gathered: &gathered,
        presence_threshold: PRESENCE_THRESHOLD,
        n_sets: 0,
        provenance: &provenance,
    })?;
    files.push(folder.join("report.html"));
    write_text(&folder.join("report.html"), Overwrite::Replace, &page)?;
    let mut tests = dependencies::tests(0.05, FTestForm::Nested);
    tests.mi_test = MiTest::GTest;
    let found = dependencies::find(
        &table,
        &dependencies::Options {
            tests,
            hide_fraction: HIDDEN_FRACTION,
            seed: options.seed,
            granger: None,
        },
    )?;
    files.extend(found.write(folder, "simulated table")?.files);
    Ok(Demo {
        outcomes,
        completed,
        files,
    })
}

fn key(options: &DemoOptions, method: Method) -> Key {
    Key {
        version: env!("CARGO_PKG_VERSION").to_string(),
        table: "simulated".to_string(),
        inputs_sha256: Vec::new(),
        protocol: "published".to_string(),
        fraction: HIDDEN_FRACTION,
        seed: options.seed,
        method: method.to_string(),
        setting: BTreeMap::new(),
    }
}

/// The hidden entries with what the model says of them.
fn tested(trial: &Trial, answer: &Answer) -> Tested {
    let value = |at: &(usize, usize)| answer.value[*at];
    let draws = |entry: usize| match &answer.draws {
        Some(draws) => draws.row(entry).to_vec(),
        None => Vec::new(),
    };
    let said = trial.scored.iter().enumerate();
    let mut tested = Tested {
        hidden: Hidden::Anywhere,
        places: trial.scored.clone(),
        said: said
            .map(|(entry, at)| CalibrationEntry {
                truth: trial.truth[*at],
                value: value(at),
                draws: draws(entry),
            })
            .collect(),
        ..Tested::default()
    };
    let values = trial.scored.iter().map(value).collect();
    tested
        .values
        .insert(Method::DepMicroDiff.to_string(), values);
    tested
}

fn panel(outcome: &Outcome, trial: &Trial, answer: &Answer) -> scatter::Panel {
    scatter::Panel {
        title: format!("{}: RMSE {:.3}", outcome.key.method, outcome.pooled.rmse),
        points: trial
            .scored
            .iter()
            .map(|at| (trial.truth[*at], answer.value[*at]))
            .collect(),
    }
}

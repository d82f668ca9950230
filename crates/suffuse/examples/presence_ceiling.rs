//! How well zeros could be judged if the weights of all judges were known with hindsight:
//! `presence_ceiling TABLE --group COLUMN --folds 2`.
//!
//! Per share of non-zeros that are set to 0 and fold: AUROC of the model, of the best classical judge (picked with
//! hindsight), of the judges together as the default method weighs them, and of all together with weights that
//! were fitted on the very entries that are scored. The last is no method, but a ceiling for any weights.

use clap::Parser;
use ndarray::Array2;
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use suffuse::PRESENCE_THRESHOLD;
use suffuse::conditions::ConditionOptions;
use suffuse::evaluate::ModelSetting;
use suffuse::evaluate::answer::FittedModel;
use suffuse::evaluate::completion::Completion;
use suffuse::evaluate::protocol::Protocol;
use suffuse::evaluate::trial::{Hiding, Trial};
use suffuse::input::{self, InputOptions};
use suffuse::watch::Watch;
use suffuse_data::split;
use suffuse_model::device::Device;
use suffuse_model::systems::depmicrodiff::Config;
use suffuse_stats::impute::{Method, PresenceOptions, presence};
use suffuse_stats::ranks::auroc;
use suffuse_stats::stack::{Judged, Stack};

/// As in `suffuse::evaluate`: the folds are the same for every mask.
const FOLD_SEED: u64 = 0;
const N_FOLDS: usize = 5;
const BATCH_SIZE: usize = 64;
/// Weight of an entry with hindsight.
const HEAVY: f64 = 1e3;

#[derive(Parser)]
struct Arguments {
    table: PathBuf,
    #[arg(long)]
    group: Option<String>,
    #[arg(long, value_delimiter = ',', default_value = "0.1,0.3,0.5")]
    fraction: Vec<f64>,
    /// Folds to run
    #[arg(long, default_value_t = N_FOLDS)]
    folds: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let mut input = input::read_to_learn(&arguments.table, &InputOptions::default())?;
    input.keep_what_counts()?;
    let table = input.table;
    let groups = match &arguments.group {
        Some(column) => split::groups(&table.sample_metadata, column)?,
        None => split::ungrouped(table.n_samples()),
    };
    let setting = ModelSetting {
        config: Config::small(),
        conditions: ConditionOptions::default(),
        groups: Some(groups.clone()),
        group_column: arguments.group.clone(),
        pretrain: &[],
        pretrain_sha256: Vec::new(),
        encoder_sha256: None,
        device: Device::flex(),
        batch_size: BATCH_SIZE,
        models: None,
    };
    let interrupted = AtomicBool::new(false);
    let mut silent = |_: &suffuse_model::train::Progress| {};
    let mut watch = Watch {
        progress: &mut silent,
        interrupted: &interrupted,
    };
    let mut out = std::io::stdout();
    writeln!(
        out,
        "hidden\tfold\tn\tmodel\tbest_judge\tits_name\tauto\thindsight"
    )?;
    for (seed, fold) in split::k_folds(&groups, N_FOLDS, FOLD_SEED)?
        .iter()
        .take(arguments.folds)
        .enumerate()
    {
        let seed = seed as u64;
        let mut fitted = None;
        for &fraction in &arguments.fraction {
            let hiding = Hiding {
                protocol: Protocol::Blind,
                mask: &Protocol::Blind.mask(fraction)?,
                occasions: None,
                seed,
                completion: Completion::default(),
            };
            let trial = Trial::held_out(&table, &groups, fold, &hiding)?;
            let fitted = match &fitted {
                Some(fitted) => fitted,
                None => fitted.insert(FittedModel::fit(&trial, &setting, seed, None, &mut watch)?),
            };
            let line = judge(&trial, fitted, &setting, seed, &mut watch)?;
            writeln!(out, "{fraction}\t{seed}\t{}\t{line}", trial.scored.len())?;
        }
    }
    Ok(())
}

fn judge(
    trial: &Trial,
    fitted: &FittedModel,
    setting: &ModelSetting,
    seed: u64,
    watch: &mut Watch,
) -> Result<String, Box<dyn Error>> {
    let entries: Vec<(usize, usize)> = trial.scored.iter().chain(&trial.zeros).copied().collect();
    let is_present: Vec<bool> = (0..entries.len()).map(|k| k < trial.scored.len()).collect();
    let filled = fitted.fill(trial, setting, seed, None, watch)?;
    let mut model = Array2::from_elem(trial.truth.dim(), PRESENCE_THRESHOLD);
    for block in &filled.blocks {
        for ((row, feature), p) in block.filled.presence.indexed_iter() {
            model[[block.first_sample + row, feature]] = *p;
        }
    }
    let incomplete = trial.incomplete()?;
    let rows: Vec<usize> = (trial.n_learn()..incomplete.n_samples()).collect();
    let options = PresenceOptions {
        zeroed: trial.zeroed,
        seed,
    };
    let say = |judge| presence(judge, &incomplete, &rows, options);
    let classical: Vec<Method> = Method::ALL
        .into_iter()
        .filter(|judge| *judge != Method::Zero)
        .collect();
    let said = classical
        .iter()
        .map(|judge| say(*judge))
        .collect::<Result<Vec<_>, _>>()?;
    let area = |of: &dyn Fn((usize, usize)) -> f64| -> Result<f64, Box<dyn Error>> {
        let scores: Vec<f64> = entries.iter().map(|at| of(*at)).collect();
        Ok(auroc(&scores, &is_present)?)
    };
    let mut best = (0.0, "");
    for (judge, said) in classical.iter().zip(&said) {
        let found = area(&|at| said[at])?;
        if found > best.0 {
            best = (found, judge.name());
        }
    }
    let judges = fitted.judges(trial, setting, watch)?;
    let others = judges.say(say)?;
    let all = |at: (usize, usize)| -> Vec<f64> {
        std::iter::once(model[at])
            .chain(said.iter().map(|said| said[at]))
            .collect()
    };
    // Twice the same entries, so that leaving out one half leaves out nothing; so heavy that nothing is shrunk.
    let twice = || entries.iter().chain(&entries);
    let (hindsight, _) = Stack::fit(&Judged {
        said: twice().map(|at| all(*at)).collect(),
        is_present: [is_present.clone(), is_present.clone()].concat(),
        weight: vec![HEAVY; 2 * entries.len()],
        fold: (0..2 * entries.len()).map(|k| k / entries.len()).collect(),
    });
    Ok(format!(
        "{:.4}\t{:.4}\t{}\t{:.4}\t{:.4}",
        area(&|at| model[at])?,
        best.0,
        best.1,
        area(&|at| judges.probability(model[at], &others, at))?,
        area(&|at| hindsight.probability(&all(at)))?,
    ))
}

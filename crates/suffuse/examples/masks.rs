//! Writes what `suffuse evaluate` hides, for imputers outside of this program:
//! `masks TABLE OUT --protocol strict --group COLUMN`, or
//! `masks TABLE OUT --protocol time_point --subject COLUMN --time COLUMN`.
//!
//! `OUT` gets `features.tsv` (the features that count, in order) and a folder per trial,
//! `fold0_0.1` or `seed0_0.1`, with `samples.tsv` (sample, `learn` or `fill`, number of its group)
//! and `hidden.tsv` (sample, feature, true `ln(1 + percent)`, whether the value is scored; of a hidden visit
//! all features stand there). Without samples to learn from, a method learns from what is left of those to
//! fill.

use clap::Parser;
use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use suffuse::evaluate::completion::Completion;
use suffuse::evaluate::protocol::Protocol;
use suffuse::evaluate::trial::{Hiding, Trial};
use suffuse::input::{self, InputOptions};
use suffuse::times::TimeColumns;
use suffuse_data::Table;
use suffuse_data::split::{self, Fold};

/// As in `suffuse::evaluate`: the folds are the same for every mask.
const FOLD_SEED: u64 = 0;

#[derive(Parser)]
struct Arguments {
    table: PathBuf,
    out: PathBuf,
    /// published, strict or time_point
    #[arg(long, default_value = "strict")]
    protocol: Protocol,
    #[arg(long, value_delimiter = ',')]
    fraction: Vec<f64>,
    #[arg(long)]
    group: Option<String>,
    /// Subject and time of each sample, for time_point; a subject is a group then
    #[arg(long, requires = "time")]
    subject: Option<String>,
    #[arg(long, requires = "subject")]
    time: Option<String>,
    #[arg(long)]
    metadata: Option<PathBuf>,
    #[arg(long, default_value_t = 5)]
    folds: usize,
    /// Mask seeds of published and time_point; folds to write of a cross-validation
    #[arg(long, default_value_t = 5)]
    seeds: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = Arguments::parse();
    if !matches!(
        arguments.protocol,
        Protocol::Published | Protocol::Strict | Protocol::TimePoint
    ) {
        return Err("only published, strict and time_point say what is hidden".into());
    }
    let options = InputOptions {
        metadata: arguments.metadata.take(),
        ..InputOptions::default()
    };
    let mut input = input::read_to_learn(&arguments.table, &options)?;
    let is_held_out = arguments.protocol.is_held_out();
    if arguments.protocol.is_tight() {
        input.keep_what_counts()?;
    }
    let table = &input.table;
    let occasions = match (arguments.subject.take(), arguments.time.take()) {
        (Some(subject), Some(time)) => {
            Some(TimeColumns { subject, time }.read(&table.sample_metadata)?)
        }
        _ => None,
    };
    let groups = match (&arguments.group, &occasions) {
        (Some(column), _) => split::groups(&table.sample_metadata, column)?,
        (None, Some(occasions)) => occasions.subject.clone(),
        (None, None) => split::ungrouped(table.n_samples()),
    };
    let folds = match is_held_out {
        true => split::k_folds(&groups, arguments.folds, FOLD_SEED)?,
        false => Vec::new(),
    };
    if is_held_out {
        arguments.seeds = arguments.seeds.min(folds.len() as u64);
    }
    if arguments.fraction.is_empty() {
        arguments.fraction = arguments.protocol.default_fractions().to_vec();
    }
    fs::create_dir_all(&arguments.out)?;
    let header = "feature_id\n".to_string();
    let features = table.feature_ids().iter();
    let features = features.fold(header, |text, id| text + id + "\n");
    fs::write(arguments.out.join("features.tsv"), features)?;
    for seed in 0..arguments.seeds {
        for &fraction in &arguments.fraction {
            let mask = arguments.protocol.mask(fraction)?;
            let hiding = Hiding {
                protocol: arguments.protocol,
                mask: &mask,
                occasions: occasions.as_ref(),
                seed,
                completion: Completion::default(),
            };
            let all = || Some(groups.clone());
            let (kind, trial) = match folds.get(seed as usize) {
                Some(fold) => ("fold", Trial::held_out(table, &groups, fold, &hiding)?),
                None if arguments.protocol == Protocol::TimePoint => {
                    ("seed", Trial::time_points(table, all(), &hiding)?)
                }
                None => ("seed", Trial::published(table, all(), fraction, seed)?),
            };
            let folder = arguments.out.join(format!("{kind}{seed}_{fraction}"));
            fs::create_dir_all(&folder)?;
            let samples = samples_tsv(table, &groups, folds.get(seed as usize))?;
            fs::write(folder.join("samples.tsv"), samples)?;
            fs::write(folder.join("hidden.tsv"), hidden_tsv(&trial)?)?;
        }
    }
    Ok(())
}

/// The samples of a trial, in the order of the table.
fn samples_tsv(
    table: &Table,
    groups: &[usize],
    fold: Option<&Fold>,
) -> Result<String, Box<dyn Error>> {
    let mut text = "sample_id\tpart\tgroup\n".to_string();
    for (sample, id) in table.sample_ids().iter().enumerate() {
        let part = match fold {
            Some(fold) if fold.train.binary_search(&sample).is_ok() => "learn",
            _ => "fill",
        };
        writeln!(text, "{id}\t{part}\t{}", groups[sample])?;
    }
    Ok(text)
}

/// The entries that a trial withholds, or does not show at all.
fn hidden_tsv(trial: &Trial) -> Result<String, Box<dyn Error>> {
    let scored: BTreeSet<(usize, usize)> = trial.scored.iter().copied().collect();
    let withheld = trial.withheld.iter();
    let withheld = withheld.map(|(sample, feature)| (*sample as usize, *feature as usize));
    let hidden = withheld.chain(trial.zeros.iter().copied());
    let hidden: BTreeSet<(usize, usize)> = hidden.chain(scored.iter().copied()).collect();
    let (samples, features) = (trial.fill.sample_ids(), trial.fill.feature_ids());
    let mut text = "sample_id\tfeature_id\ttruth\tis_scored\n".to_string();
    for at in hidden {
        let (truth, is_scored) = (trial.truth[at], u8::from(scored.contains(&at)));
        let (sample, feature) = (&samples[at.0], &features[at.1]);
        writeln!(text, "{sample}\t{feature}\t{truth}\t{is_scored}")?;
    }
    Ok(text)
}

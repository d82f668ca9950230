//! Training: the autoencoder, then the denoiser, each first on other cohorts if there are any.

use super::Model;
use super::batch::LatentScale;
use super::config::Config;
use super::dat::{Beside, Dat};
use super::entries::{Cohort, Entries, Known, Standardisation, Totals};
use super::guide_fit::{self, GuideFit};
use super::level::Level;
use super::log_scale::LogScale;
use super::mask::Dependent;
use super::objective::{DatObjective, Source, Split, VaeObjective};
use super::pretraining;
use super::vae::Vae;
use crate::device::{Device, gpu_name};
use crate::error::{Error, Result};
use crate::parameters::{Absent, Builder, Parameters, values};
use crate::rng::{Stage, generator};
use crate::train::{Progress, Stages};
use ndarray::Array2;
use rand::RngExt;
use rand::seq::SliceRandom;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use suffuse_data::Table;
use suffuse_data::transform::Scale;
use suffuse_data::transform::percent::ln1p_percent;
use suffuse_stats::dependency::{DependencyOptions, MiTest, complete, dependencies};

/// How a fit is run; everything but `seed`, `pretrain` and `device` leaves the result unchanged.
pub struct FitOptions<'a> {
    /// Seed of all draws.
    pub seed: u64,
    /// Other cohorts to pre-train on; they must not hold samples of the target.
    pub pretrain: &'a [Table],
    /// Where the networks compute.
    pub device: Device,
    /// Folder for the training state; `None` keeps nothing.
    pub checkpoint: Option<&'a Path>,
    /// Seconds between two writes of the training state; changes nothing but what a kill costs.
    pub save_every_s: f64,
    /// Told after each step.
    pub progress: &'a mut dyn FnMut(&Progress),
    /// Set when the user wants to stop.
    pub interrupted: &'a AtomicBool,
}

/// Seconds between two writes of the training state, unless asked otherwise.
pub const SAVE_EVERY_S: f64 = 15.0;

/// Fits the model on a cohort. Entries that are withheld or not measured are never seen.
///
/// A training state of the same table, settings and seed in `options.checkpoint` is continued.
///
/// # Errors
/// A table with fewer than two informative samples or features, a pre-training table that holds
/// the target or has no common feature, a loss that is not finite, an interruption.
pub fn fit(config: &Config, cohort: &Cohort, options: &mut FitOptions) -> Result<Model> {
    let mut entries = Entries::new(cohort)?;
    let informative = entries.informative_samples();
    if informative.len() < 2 || entries.n_taxa < 2 {
        return Err(Error::Table(format!(
            "{} samples with observed abundances and {} features: at least 2 of each are needed to learn from",
            informative.len(),
            entries.n_taxa
        )));
    }
    let n_taxa = entries.n_taxa;
    let standardisation = Standardisation::fit(&[&entries]);
    let other = pretraining::aligned(cohort, options.pretrain, config.guide.n_folds())?;
    let rhythm = entries
        .timeline()
        .map(|timeline| timeline.chosen_rhythm(&standardisation.usual(&prevalence(&entries))));
    entries = entries.in_rhythm(rhythm.as_ref());
    let dependent = estimate_dependencies(config, &entries, &standardisation, options.seed)?;
    let d_metadata = cohort
        .conditions
        .as_ref()
        .map_or(0, |conditions| conditions.dim);
    let beside = Beside::new(d_metadata, rhythm.as_ref());
    let mut stages = Stages {
        folder: options.checkpoint.map(Path::to_path_buf),
        fingerprint: fingerprint(config, cohort, &other, options),
        device: options.device.clone(),
        save_every_s: options.save_every_s,
        progress: &mut *options.progress,
        interrupted: options.interrupted,
        log: String::new(),
    };

    let target = vec![Source {
        entries,
        conditions: cohort.conditions.clone(),
        samples: informative,
        folds: guide_fit::folds(
            cohort.table.n_samples(),
            cohort.groups.as_deref(),
            config.guide.n_folds(),
            options.seed,
        ),
    }];
    let guide = match config.guide.n_members {
        0 => None,
        _ => {
            let scale = LogScale::fit(&[&target[0].entries]);
            let level = Level::fit(config, &scale, &standardisation, &target, options.seed);
            let fitting = GuideFit {
                config,
                standardisation: &standardisation,
                scale: &scale,
                level: &level,
                beside,
                seed: options.seed,
            };
            Some(fitting.run(&mut stages, &other, &target)?)
        }
    };
    let bound = guide
        .as_ref()
        .map(|guide| guide.bind(&config.guide, &standardisation, beside, &options.device));
    let bound = bound.transpose()?;
    let make_vae = |p: &mut Builder| Vae::new(p, &config.vae, n_taxa);
    let mut vae = Parameters::initial(&Parameters::default(), options.seed, make_vae)?;
    if !other.is_empty() {
        let objective = VaeObjective {
            config,
            cohorts: &other,
            standardisation: &standardisation,
            guide: bound.as_ref(),
            seed: options.seed,
            split: no_split(&other),
        };
        vae = stages
            .run("vae-pretraining", &config.vae.training, vae, &objective)?
            .best;
    }
    let (train, validation) = split(
        config,
        &target[0].samples,
        cohort.groups.as_deref(),
        options.seed,
    );
    let halves = Split {
        train: vec![(0, train)],
        validation: vec![(0, validation)],
    };
    let objective = VaeObjective {
        config,
        cohorts: &target,
        standardisation: &standardisation,
        guide: bound.as_ref(),
        seed: options.seed,
        split: halves.clone(),
    };
    let vae = stages.run("vae", &config.vae.training, vae, &objective)?;
    let latent_scale = measure_latents(config, &objective, &target[0], &vae.best, &options.device)?;

    let make_dat = |p: &mut Builder| Dat::new(p, &config.dat, &config.vae, &dependent, beside);
    let mut dat = Parameters::initial(&Parameters::default(), options.seed, make_dat)?;
    let denoiser = |cohorts, split| DatObjective {
        config,
        cohorts,
        standardisation: &standardisation,
        guide: bound.as_ref(),
        latent_scale: &latent_scale,
        vae: &vae.best,
        dependent: &dependent,
        beside,
        seed: options.seed,
        split,
    };
    if !other.is_empty() && config.dat.n_pretraining_steps > 0 {
        let training = crate::train::TrainConfig {
            n_steps: config.dat.n_pretraining_steps,
            ..config.dat.training
        };
        dat = stages
            .run(
                "denoiser-pretraining",
                &training,
                dat,
                &denoiser(&other, no_split(&other)),
            )?
            .best;
    }
    let dat = stages.run(
        "denoiser",
        &config.dat.training,
        dat,
        &denoiser(&target, halves),
    )?;
    let mut model = Model {
        config: *config,
        feature_ids: cohort.table.feature_ids().to_vec(),
        guide,
        trust: 1.0,
        calibration: None,
        rhythm,
        whole_samples: None,
        standardisation,
        latent_scale,
        dependent,
        d_metadata,
        metadata_description: cohort
            .conditions
            .as_ref()
            .map(|c| c.description.clone())
            .unwrap_or_default(),
        seed: options.seed,
        log: stages.log,
        vae,
        dat,
    };
    model.calibrate(cohort, &options.device, options.interrupted)?;
    Ok(model)
}

/// Share of the informative samples in which each taxon is known to be present.
fn prevalence(entries: &Entries) -> Vec<f64> {
    let samples = entries.informative_samples();
    let mut n_present = vec![0.0; entries.n_taxa];
    for sample in &samples {
        for (taxon, known) in entries.known_row(*sample).into_iter().enumerate() {
            if matches!(known, Known::Present | Known::Withheld) {
                n_present[taxon] += 1.0;
            }
        }
    }
    let n = samples.len() as f64;
    n_present.into_iter().map(|present| present / n).collect()
}

fn no_split(cohorts: &[Source]) -> Split {
    // A tenth of each cohort validates; the other cohorts have no subjects to keep together.
    let (mut train, mut validation) = (Vec::new(), Vec::new());
    for (i, cohort) in cohorts.iter().enumerate() {
        let tenth = |(position, _): &(usize, &usize)| position % 10 == 9;
        train.push((
            i,
            cohort
                .samples
                .iter()
                .enumerate()
                .filter(|s| !tenth(s))
                .map(|(_, s)| *s)
                .collect(),
        ));
        validation.push((
            i,
            cohort
                .samples
                .iter()
                .enumerate()
                .filter(tenth)
                .map(|(_, s)| *s)
                .collect(),
        ));
    }
    Split { train, validation }
}

/// Most samples that validate: the autoencoder sees them at once, and every validation all of them.
const MAX_VALIDATION_SAMPLES: usize = 1000;
/// Samples that validate in a small table, up to a fifth of it: fewer calibrate nothing.
const FEW_VALIDATION_SAMPLES: usize = 40;

/// The samples of a cohort that validate: none of their entries trains the networks behind the guide.
pub(super) fn validation_samples(
    config: &Config,
    entries: &Entries,
    groups: Option<&[usize]>,
    seed: u64,
) -> Vec<usize> {
    split(config, &entries.informative_samples(), groups, seed).1
}

/// Draws whole groups for validation up to the wished share of the samples, at least one group
/// unless it holds half of them.
fn split(
    config: &Config,
    samples: &[usize],
    groups: Option<&[usize]>,
    seed: u64,
) -> (Vec<usize>, Vec<usize>) {
    let group_of = |sample: usize| groups.map_or(sample, |groups| groups[sample]);
    let mut size_of: BTreeMap<usize, usize> = BTreeMap::new();
    for sample in samples {
        *size_of.entry(group_of(*sample)).or_default() += 1;
    }
    let mut order: Vec<usize> = size_of.keys().copied().collect();
    order.shuffle(&mut generator(seed, Stage::Validation, "samples", 0));
    let wished = (config.dat.validation_fraction * samples.len() as f64).round() as usize;
    let few = FEW_VALIDATION_SAMPLES.min(samples.len() / 5);
    let wished = match wished > 0 {
        true => wished.max(few).min(MAX_VALIDATION_SAMPLES),
        false => 0,
    };
    let (mut chosen, mut n) = (HashSet::new(), 0);
    for group in order.iter().take(order.len().saturating_sub(1)) {
        let size = size_of[group];
        if n + size <= wished || (n == 0 && size < samples.len() / 2) {
            n += size;
            chosen.insert(*group);
        }
    }
    samples
        .iter()
        .copied()
        .partition(|sample| !chosen.contains(&group_of(*sample)))
}

/// Mean and spread of the latent dimensions over the known entries of the target cohort.
fn measure_latents(
    config: &Config,
    objective: &VaeObjective,
    source: &Source,
    vae: &Parameters,
    device: &Device,
) -> Result<LatentScale> {
    let d = config.vae.d_latent;
    let n_taxa = source.entries.n_taxa;
    let mut rng = generator(objective.seed, Stage::Validation, "latents", 0);
    let mut builder = Builder::new(vae, Absent::Refuse, device);
    let network = Vae::new(&mut builder, &config.vae, n_taxa);
    builder.finish()?;
    let (mut n, mut sum, mut square) = (0.0, vec![0.0; d], vec![0.0; d]);
    for part in source.samples.chunks(64) {
        let chosen: Vec<(usize, usize)> = part.iter().map(|sample| (0, *sample)).collect();
        let rows = objective.rows(&chosen, &mut rng);
        let latents = values(network.encode(rows.entries(device)).0);
        let is_known = values(rows.is_known(device));
        for (latent, is_known) in latents.chunks(d).zip(is_known) {
            if is_known > 0.0 {
                n += 1.0;
                for (k, z) in latent.iter().enumerate() {
                    sum[k] += f64::from(*z);
                    square[k] += f64::from(*z) * f64::from(*z);
                }
            }
        }
    }
    let mean: Vec<f64> = sum.iter().map(|sum| sum / n).collect();
    let sd = square
        .iter()
        .zip(&mean)
        .map(|(square, mean)| (square / n - mean * mean).max(1e-8).sqrt() as f32)
        .collect();
    Ok(LatentScale {
        mean: mean.iter().map(|mean| *mean as f32).collect(),
        sd,
    })
}

/// `Dep` from the entries that are left, and from the same with some more hidden as the input `x`.
///
/// Samples with entries that were not measured are left out, unless they are most of them
/// ([`complete`]). A withheld entry is known to be present, so it counts with its taxon's mean, not as an
/// absence. Of more than `dependencies.max_samples` samples that many are drawn.
fn estimate_dependencies(
    config: &Config,
    entries: &Entries,
    standardisation: &Standardisation,
    seed: u64,
) -> Result<Dependent> {
    let samples = samples_of_dependencies(config, entries, seed);
    let mut clean = Array2::zeros((samples.len(), entries.n_taxa));
    for (row, sample) in samples.iter().enumerate() {
        let total = Scale(entries.total(*sample, None));
        let known = entries.known_row(*sample);
        for (taxon, x) in entries.abundance_row(*sample).iter().enumerate() {
            clean[(row, taxon)] = match known[taxon] {
                Known::Withheld => standardisation.mean[taxon],
                Known::Unknown => f64::NAN,
                Known::Present | Known::Absent => ln1p_percent(*x, total),
            };
        }
    }
    let (clean, _) = complete(&clean);
    let mut rng = generator(seed, Stage::Dependencies, "", 0);
    let hidden = clean.mapv(
        |y| match rng.random_bool(config.dependencies.hide_fraction) {
            true => 0.0,
            false => y,
        },
    );
    let mi_test = match config.dependencies.n_permutations {
        0 => MiTest::GTest,
        n_permutations => MiTest::Permutation {
            n_permutations,
            seed,
        },
    };
    let options = DependencyOptions {
        alpha: config.dependencies.false_discovery_rate,
        mi_test,
        min_mi: config.dependencies.min_mutual_information,
        ..DependencyOptions::default()
    };
    let found = dependencies(&hidden, &clean, &options)?;
    let pairs = found.dep.iter().copied().collect();
    Ok(Dependent::new(entries.n_taxa, pairs).in_groups_of(config.dat.group_size))
}

/// The informative samples, or as many of them as count for `Dep`, in the order of the table.
fn samples_of_dependencies(config: &Config, entries: &Entries, seed: u64) -> Vec<usize> {
    let mut samples = entries.informative_samples();
    let n = config.dependencies.max_samples;
    if samples.len() > n {
        samples.shuffle(&mut generator(seed, Stage::Dependencies, "samples", 0));
        samples.truncate(n);
        samples.sort_unstable();
    }
    samples
}

/// Digest of everything that determines the result of a fit.
fn fingerprint(config: &Config, cohort: &Cohort, other: &[Source], options: &FitOptions) -> String {
    let mut hash = Sha256::new();
    let mut text = |text: &str| hash.update([text.as_bytes(), &[0]].concat());
    text(env!("CARGO_PKG_VERSION"));
    for section in [
        toml::to_string(&config.guide),
        toml::to_string(&config.vae),
        toml::to_string(&config.dat),
        toml::to_string(&config.dependencies),
        toml::to_string(&config.hiding),
    ] {
        text(&section.expect("settings are plain values"));
    }
    text(&options.seed.to_string());
    if let Some(gpu) = gpu_name(&options.device) {
        text(&gpu);
    }
    for id in cohort
        .table
        .sample_ids()
        .iter()
        .chain(cohort.table.feature_ids())
    {
        text(id);
    }
    let mut bits = |values: &[f64]| {
        values
            .iter()
            .for_each(|value| hash.update(value.to_bits().to_le_bytes()))
    };
    for sample in 0..cohort.table.n_samples() {
        bits(&cohort.table.dense_row(sample));
    }
    if let Totals::Given(totals) = &cohort.totals {
        bits(totals);
    }
    for source in other {
        let entries = &source.entries;
        for sample in 0..entries.n_samples() {
            bits(&entries.abundance_row(sample));
        }
        for sample in 0..entries.n_samples() {
            let known = entries.known_row(sample);
            let codes: Vec<f64> = known.iter().map(|known| *known as u8 as f64).collect();
            bits(&codes);
        }
    }
    for (sample, feature) in cohort.hidden {
        hash.update(sample.to_le_bytes());
        hash.update(feature.to_le_bytes());
    }
    if let Some(conditions) = &cohort.conditions {
        conditions
            .values
            .iter()
            .for_each(|value| hash.update(value.to_le_bytes()));
        conditions
            .missing
            .iter()
            .for_each(|missing| hash.update([u8::from(*missing)]));
    }
    cohort
        .groups
        .iter()
        .flatten()
        .for_each(|group| hash.update(group.to_le_bytes()));
    if let Some(times) = &cohort.times {
        times
            .subject
            .iter()
            .for_each(|subject| hash.update(subject.to_le_bytes()));
        times
            .time
            .iter()
            .for_each(|time| hash.update(time.to_bits().to_le_bytes()));
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

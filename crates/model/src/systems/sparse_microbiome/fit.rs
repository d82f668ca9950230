//! Training: the autoencoder, the denoiser of its latents, then what the decoder leaves over.

use super::config::{Config, Latents};
use super::denoiser::{Attribute, Denoiser, Told};
use super::hyperbolic::{HyperbolicEmbedding, TaxonDistances};
use super::objective::{DEPTH_SD, DenoiserObjective, Posteriors, Split, TILE, VaeObjective};
use super::profile::{Profile, batch, profiles};
use super::residuals::{Correlations, Residuals};
use super::sampling::{SampleOptions, said_of};
use super::vae::{Taxa, Vae};
use super::whitening::Whitening;
use super::{Calibration, Model};
use crate::cond::Conditions;
use crate::device::{self, Device, gpu_name};
use crate::error::{Error, Result};
use crate::noise::schedule::CosineSchedule;
use crate::parameters::{Absent, Builder, Parameters, tensor, values};
use crate::rng::{Stage, generator, standard_normal};
use crate::train::{Progress, Stages};
use ndarray::{Array1, Array2, Axis};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use suffuse_data::Table;

/// A table and all that the model may know of it.
#[derive(Debug, Clone)]
pub struct Cohort<'a> {
    /// Abundances, all measured.
    pub table: &'a Table,
    /// Encoded metadata that samples can be conditioned on.
    pub conditions: Option<Conditions>,
    /// What the numbers of the conditions stand for.
    pub attributes: Vec<Attribute>,
    /// How far the taxa are apart on a tree or in a taxonomy.
    pub distances: Option<&'a TaxonDistances>,
    /// Samples of one group (patient, subject) stay on one side of a split.
    pub groups: Option<Vec<usize>>,
}

/// How a fit is run; everything but `seed` and `device` leaves the result unchanged.
pub struct FitOptions<'a> {
    /// Seed of all draws.
    pub seed: u64,
    /// Where the networks compute.
    pub device: Device,
    /// Folder for the training state; `None` keeps nothing.
    pub checkpoint: Option<&'a Path>,
    /// Seconds between two writes of the training state.
    pub save_every_s: f64,
    /// Told after each step.
    pub progress: &'a mut dyn FnMut(&Progress),
    /// Set when the user wants to stop.
    pub interrupted: &'a AtomicBool,
}

impl FitOptions<'_> {
    /// How samples are drawn while fitting.
    pub(super) fn sampling(&self) -> SampleOptions<'_> {
        SampleOptions {
            seed: self.seed,
            device: self.device.clone(),
            guidance: Vec::new(),
            sampler: None,
            interrupted: self.interrupted,
        }
    }
}

/// Validation samples at most.
const MAX_VALIDATION: usize = 1000;
/// Draws of every training sample's latent from which residuals are taken.
const N_RESIDUAL_DRAWS: usize = 3;

/// Fits the model on a table.
///
/// A training state of the same table, settings and seed in `options.checkpoint` is continued.
///
/// # Errors
/// Fewer than two samples with reads or two taxa present, an entry that was not measured or is negative,
/// conditions that do not fit, a loss that is not finite, an interruption.
pub fn fit(config: &Config, cohort: &Cohort, options: &mut FitOptions) -> Result<Model> {
    let table = cohort.table;
    check(cohort)?;
    let (profiles, marginals, prevalence) = profiles(table, options.seed)?;
    let (_, _, all) = table.csr();
    let embedding = embedded(config, cohort, options.seed)?;
    let taxa = Taxa::new(prevalence, embedding.as_ref());
    let split = split(config, cohort, &profiles, options.seed);
    let mut stages = Stages {
        folder: options.checkpoint.map(Path::to_path_buf),
        fingerprint: fingerprint(config, cohort, options),
        device: options.device.clone(),
        save_every_s: options.save_every_s,
        progress: &mut *options.progress,
        interrupted: options.interrupted,
        log: String::new(),
    };
    let make = |p: &mut Builder| Vae::new(p, &config.vae, &taxa);
    let initial = Parameters::initial(&Parameters::default(), options.seed, make)?;
    let objective = VaeObjective {
        config,
        taxa: &taxa,
        profiles: &profiles,
        table,
        split: &split,
        seed: options.seed,
    };
    let vae = stages.run("vae", &config.vae.training, initial, &objective)?;
    let posteriors = posteriors(config, &taxa, &profiles, &vae.best, &options.device)?;
    let whitening = whitening(&posteriors)?;
    let schedule = CosineSchedule::new(config.denoiser.n_timesteps);
    let n_latent = whitening.n_latent();
    let make = |p: &mut Builder| Denoiser::new(p, &config.denoiser, n_latent, &cohort.attributes);
    let initial = Parameters::initial(&Parameters::default(), options.seed, make)?;
    let objective = DenoiserObjective {
        config,
        attributes: &cohort.attributes,
        conditions: cohort.conditions.as_ref(),
        posteriors: &posteriors,
        whitening: &whitening,
        schedule: &schedule,
        profiles: &profiles,
        table,
        split: &split,
        seed: options.seed,
    };
    let mut training = config.denoiser.training;
    if config.sampling.latents != Latents::Diffusion {
        training.n_steps = 0; // nobody asks it
    }
    let denoiser = stages.run("denoiser", &training, initial, &objective)?;
    let log = std::mem::take(&mut stages.log);
    let n_taxa = table.n_features();
    let calibration = Calibration::none(&marginals);
    let mut model = Model {
        config: *config,
        feature_ids: table.feature_ids().to_vec(),
        seed: options.seed,
        is_whole: all.iter().all(|value| value.fract() == 0.0),
        taxa,
        embedding,
        marginals,
        attributes: cohort.attributes.clone(),
        conditions: cohort
            .conditions
            .as_ref()
            .map_or(String::new(), |conditions| conditions.description.clone()),
        whitening,
        correlations: None,
        calibration,
        vae: vae.best,
        denoiser: denoiser.best,
        losses: [vae.best_loss, denoiser.best_loss],
        privacy: None,
        log,
    };
    if config.residuals.correlated && n_taxa <= config.residuals.max_taxa {
        let found = correlations(&model, &profiles, &posteriors, &options.device)?;
        model.correlations = Some(found);
    }
    if config.sampling.n_calibration > 0 {
        let mut n_present = vec![0_usize; n_taxa];
        for (taxon, _) in profiles.iter().flat_map(|profile| &profile.entries) {
            n_present[*taxon as usize] += 1;
        }
        let n = profiles.len() as f64;
        let prevalence: Vec<f64> = n_present.iter().map(|k| *k as f64 / n).collect();
        let conditions = |rng: &mut ChaCha8Rng| {
            let conditions = cohort.conditions.as_ref()?;
            let row = profiles[rng.random_range(0..profiles.len())].row;
            Told::conditions_of(Some(conditions), row)
        };
        let sampling = options.sampling();
        model.calibration = Calibration::fit(&model, &prevalence, conditions, &sampling)?;
    }
    Ok(model)
}

/// The taxa in hyperbolic space, where they are asked for and their distances known.
pub(super) fn embedded(
    config: &Config,
    cohort: &Cohort,
    seed: u64,
) -> Result<Option<HyperbolicEmbedding>> {
    let distances = cohort.distances.filter(|_| config.taxa.hyperbolic);
    let fit = |distances| HyperbolicEmbedding::fit(distances, config.taxa.dimension, seed);
    distances.map(fit).transpose()
}

fn check(cohort: &Cohort) -> Result<()> {
    let n = cohort.table.n_samples();
    let problem = |problem: String| Err(Error::Table(problem));
    if let Some(conditions) = &cohort.conditions {
        if conditions.missing.len() != n || conditions.values.len() != n * conditions.dim {
            return problem(format!(
                "conditions of {} samples for a table of {n}",
                conditions.missing.len()
            ));
        }
        let ends = |attribute: &Attribute| attribute.start + attribute.len;
        if cohort
            .attributes
            .iter()
            .any(|attribute| ends(attribute) > conditions.dim)
        {
            return problem(format!(
                "an attribute lies beyond the {} numbers of the conditions",
                conditions.dim
            ));
        }
    } else if !cohort.attributes.is_empty() {
        return problem("attributes without conditions".to_string());
    }
    match &cohort.distances {
        Some(distances) if distances.n_taxa() != cohort.table.n_features() => problem(format!(
            "distances of {} taxa for a table of {}",
            distances.n_taxa(),
            cohort.table.n_features()
        )),
        _ => Ok(()),
    }
}

/// Whole groups are held out until the share is reached; the rest trains.
fn split(config: &Config, cohort: &Cohort, profiles: &[Profile], seed: u64) -> Split {
    let n = profiles.len();
    let wanted = ((config.validation_fraction * n as f64).round() as usize).min(MAX_VALIDATION);
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (k, profile) in profiles.iter().enumerate() {
        let group = cohort
            .groups
            .as_ref()
            .map_or(profile.row, |groups| groups[profile.row]);
        groups.entry(group).or_default().push(k);
    }
    let mut order: Vec<Vec<usize>> = groups.into_values().collect();
    order.shuffle(&mut generator(seed, Stage::Validation, "generator", 0));
    let (mut train, mut validation) = (Vec::new(), Vec::new());
    for group in order {
        let side = match validation.len() + group.len() <= wanted {
            true => &mut validation,
            false => &mut train,
        };
        side.extend(group);
    }
    train.sort_unstable();
    validation.sort_unstable();
    Split { train, validation }
}

/// Encodes every sample, tile by tile.
fn posteriors(
    config: &Config,
    taxa: &Taxa,
    profiles: &[Profile],
    weights: &Parameters,
    device: &Device,
) -> Result<Posteriors> {
    let mut p = Builder::new(weights, Absent::Refuse, device);
    let vae = Vae::new(&mut p, &config.vae, taxa);
    p.finish()?;
    let d = config.vae.d_latent;
    let tiles: Vec<&[Profile]> = profiles.chunks(TILE).collect();
    let encoded = device::each(device, tiles.len(), |k| {
        let (mean, log_variance) = vae.encode(&batch(tiles[k].iter(), taxa, device));
        Ok((values(mean), values(log_variance)))
    })?;
    let mut mean = Array2::zeros((profiles.len(), d + 1));
    let mut sd = Array2::from_elem((profiles.len(), d + 1), DEPTH_SD);
    for (tile, (means, log_variances)) in encoded.iter().enumerate() {
        for (i, profile) in tiles[tile].iter().enumerate() {
            let row = tile * TILE + i;
            for j in 0..d {
                mean[[row, j]] = means[i * d + j];
                sd[[row, j]] = (0.5 * log_variances[i * d + j]).exp();
            }
            mean[[row, d]] = profile.depth;
        }
    }
    Ok(Posteriors { mean, sd })
}

fn whitening(posteriors: &Posteriors) -> Result<Whitening> {
    let n = posteriors.sd.nrows().max(1) as f64;
    let square = posteriors.sd.mapv(|sd| f64::from(sd).powi(2));
    let variance: Array1<f64> = square.sum_axis(Axis(0)) / n;
    Whitening::fit(&posteriors.mean.mapv(f64::from), &variance)
}

/// Correlations of what the decoder leaves over, at draws of every sample's latent.
fn correlations(
    model: &Model,
    profiles: &[Profile],
    posteriors: &Posteriors,
    device: &Device,
) -> Result<Correlations> {
    let mut p = Builder::new(&model.vae, Absent::Refuse, device);
    let vae = Vae::new(&mut p, &model.config.vae, &model.taxa);
    p.finish()?;
    let (d, n_taxa) = (model.config.vae.d_latent, model.taxa.prevalence.len());
    let mut residuals = Residuals::new(profiles.len() * N_RESIDUAL_DRAWS, N_RESIDUAL_DRAWS, n_taxa);
    for draw in 0..N_RESIDUAL_DRAWS {
        for (tile, of_tile) in profiles.chunks(TILE).enumerate() {
            let number = (draw * profiles.len() + tile) as u64;
            let mut rng = generator(model.seed, Stage::Validation, "residuals", number);
            let (mut latent, mut depth) = (Vec::new(), Vec::new());
            for (i, profile) in of_tile.iter().enumerate() {
                let row = tile * TILE + i;
                let noise = standard_normal(&mut rng, d);
                latent.extend(
                    (0..d).map(|j| posteriors.mean[[row, j]] + posteriors.sd[[row, j]] * noise[j]),
                );
                depth.push(profile.depth);
            }
            let n = of_tile.len();
            let decoded = vae.decode(
                tensor(latent, [n, d], device),
                tensor(depth, [n, 1], device),
            );
            let said = [decoded.presence_logit, decoded.mean, decoded.log_sd].map(values);
            for (i, profile) in of_tile.iter().enumerate() {
                let row = draw * profiles.len() + tile * TILE + i;
                let said = said_of([&said[0], &said[1], &said[2]], i, n_taxa);
                residuals.set(row, profile, said);
            }
        }
    }
    Ok(residuals.correlations(model.seed))
}

/// Digest of everything that determines the result.
fn fingerprint(config: &Config, cohort: &Cohort, options: &FitOptions) -> String {
    let mut hash = Sha256::new();
    hash.update(config.to_toml());
    hash.update(options.seed.to_le_bytes());
    hash.update(gpu_name(&options.device).unwrap_or_default());
    let table = cohort.table;
    for id in table.sample_ids().iter().chain(table.feature_ids()) {
        hash.update((id.len() as u64).to_le_bytes());
        hash.update(id);
    }
    let (starts, columns, values) = table.csr();
    starts.iter().for_each(|x| hash.update(x.to_le_bytes()));
    columns.iter().for_each(|x| hash.update(x.to_le_bytes()));
    values.iter().for_each(|x| hash.update(x.to_le_bytes()));
    if let Some(conditions) = &cohort.conditions {
        hash.update(&conditions.description);
        conditions
            .values
            .iter()
            .for_each(|x| hash.update(x.to_le_bytes()));
    }
    if let Some(distances) = cohort.distances {
        distances
            .matrix()
            .iter()
            .for_each(|x| hash.update(x.to_le_bytes()));
    }
    for group in cohort.groups.iter().flatten() {
        hash.update((*group as u64).to_le_bytes());
    }
    let digest = hash.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! What training minimises: the autoencoder's bound, then the denoiser's error.

use super::config::Config;
use super::denoiser::{Attribute, Denoiser, Told};
use super::hard_sparsity::logistic_noise;
use super::profile::{Profile, batch};
use super::vae::{IsTraining, Noise, Taxa, Vae};
use super::whitening::Whitening;
use crate::cond::Conditions;
use crate::error::Result;
use crate::nn::Dropout;
use crate::noise::schedule::CosineSchedule;
use crate::noise::target::Prediction;
use crate::parameters::{Absent, Builder, Parameters, tensor};
use crate::rng::{Stage, generator, standard_normal};
use crate::train::fit::{Objective, Shard};
use crate::train::private::SampleObjective;
use burn::tensor::{Device, Tensor};
use ndarray::Array2;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use suffuse_data::Table;

/// Parts into which a step is cut for threads; part of the definition of the result.
const N_SHARDS: usize = 2;
/// Copies of the validation samples, each with its own noise.
const N_COPIES: usize = 4;
/// Rows of a tile when nothing is trained.
pub(super) const TILE: usize = 64;

/// What the denoiser predicts: 0 is right for a Gaussian.
pub(super) const PREDICTION: Prediction = Prediction::V;

/// Which samples train and which validate, by position among the profiles.
#[derive(Debug, Clone)]
pub(super) struct Split {
    pub(super) train: Vec<usize>,
    pub(super) validation: Vec<usize>,
}

impl Split {
    /// The samples of one part of a step.
    fn chosen(&self, rng: &mut ChaCha8Rng, batch_size: usize) -> Vec<usize> {
        let n = batch_size.min(self.train.len()).div_ceil(N_SHARDS);
        (0..n)
            .map(|_| self.train[rng.random_range(0..self.train.len())])
            .collect()
    }
}

/// The autoencoder's bound with the hard sparsity loss.
pub(super) struct VaeObjective<'a> {
    pub(super) config: &'a Config,
    pub(super) taxa: &'a Taxa,
    pub(super) profiles: &'a [Profile],
    pub(super) table: &'a Table,
    pub(super) split: &'a Split,
    pub(super) seed: u64,
}

impl VaeObjective<'_> {
    fn loss_of(
        &self,
        vae: &Vae,
        chosen: &[usize],
        rng: &mut ChaCha8Rng,
        device: &Device,
        is_training: IsTraining,
    ) -> Tensor<1> {
        let (n, n_taxa) = (chosen.len(), self.taxa.prevalence.len());
        let d = self.config.vae.d_latent;
        let latent = tensor(standard_normal(rng, n * d), [n, d], device);
        let gates = match is_training {
            IsTraining::Yes => tensor(logistic_noise(rng, n * n_taxa), [n, n_taxa], device),
            IsTraining::No => Tensor::zeros([1, 1], device), // nobody draws them
        };
        let dropout = (is_training == IsTraining::Yes).then(|| {
            let share = self.config.vae.input_dropout;
            let kept = vae.kept_taxa(n, &mut Dropout { share, rng }, device);
            let share = self.config.vae.dropout;
            (Dropout { share, rng }, kept)
        });
        let rows = batch(chosen.iter().map(|k| &self.profiles[*k]), self.taxa, device);
        let noise = Noise {
            latent,
            gates,
            dropout,
        };
        vae.loss(&rows, noise, is_training)
    }
}

impl Objective for VaeObjective<'_> {
    fn n_shards(&self) -> usize {
        N_SHARDS
    }

    fn loss(&self, builder: &mut Builder, step: usize, shard: usize) -> Shard {
        let device = builder.device().clone();
        let vae = Vae::new(builder, &self.config.vae, self.taxa);
        let mut rng = stream(self.seed, "vae", shard, step);
        let chosen = self
            .split
            .chosen(&mut rng, self.config.vae.training.batch_size);
        Shard {
            loss: self.loss_of(&vae, &chosen, &mut rng, &device, IsTraining::Yes),
            share: 1.0 / N_SHARDS as f64,
        }
    }

    fn validate(&self, parameters: &Parameters, device: &Device) -> Result<Option<f64>> {
        let mut builder = Builder::new(parameters, Absent::Refuse, device);
        let vae = Vae::new(&mut builder, &self.config.vae, self.taxa);
        builder.finish()?;
        mean_over_tiles(device, &self.split.validation, |tile, chosen| {
            let mut rng = generator(self.seed, Stage::Validation, "vae", tile as u64);
            self.loss_of(&vae, chosen, &mut rng, device, IsTraining::No)
        })
    }

    fn samples(&self, step: usize) -> Vec<String> {
        let size = self.config.vae.training.batch_size;
        let rngs = (0..N_SHARDS).map(|shard| stream(self.seed, "vae", shard, step));
        ids_of(self.table, self.profiles, self.split, rngs, size)
    }
}

impl SampleObjective for VaeObjective<'_> {
    fn loss(&self, builder: &mut Builder, sample: usize, seed: u64) -> Tensor<1> {
        let device = builder.device().clone();
        let vae = Vae::new(builder, &self.config.vae, self.taxa);
        let mut rng = generator(seed, Stage::TrainingStep, "private vae", 0);
        self.loss_of(&vae, &[sample], &mut rng, &device, IsTraining::Yes)
    }
}

/// The posteriors of the samples, and what is known of each.
#[derive(Debug, Clone)]
pub(super) struct Posteriors {
    /// Means, the score of the depth last, `[n, d_latent + 1]`.
    pub(super) mean: Array2<f32>,
    /// Standard deviations of the same.
    pub(super) sd: Array2<f32>,
}

/// Half-width of what a depth stands for, in normal scores: a generated total is near to one of the table, and
/// not one of the table.
pub(super) const DEPTH_SD: f32 = 0.1;

/// The denoiser's squared error of `v`.
pub(super) struct DenoiserObjective<'a> {
    pub(super) config: &'a Config,
    pub(super) attributes: &'a [Attribute],
    pub(super) conditions: Option<&'a Conditions>,
    pub(super) posteriors: &'a Posteriors,
    pub(super) whitening: &'a Whitening,
    pub(super) schedule: &'a CosineSchedule,
    pub(super) profiles: &'a [Profile],
    pub(super) table: &'a Table,
    pub(super) split: &'a Split,
    pub(super) seed: u64,
}

impl DenoiserObjective<'_> {
    fn loss_of(
        &self,
        denoiser: &Denoiser,
        chosen: &[usize],
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Tensor<1> {
        let (n, n_latent) = (chosen.len(), self.whitening.n_latent());
        let mut latents = Array2::zeros((n, n_latent));
        let noise = standard_normal(rng, n * n_latent);
        for (i, k) in chosen.iter().enumerate() {
            for j in 0..n_latent {
                let (mean, sd) = (self.posteriors.mean[[*k, j]], self.posteriors.sd[[*k, j]]);
                latents[[i, j]] = mean + sd * noise[i * n_latent + j];
            }
        }
        let clean = self.whitening.white(&latents);
        let eps = standard_normal(rng, n * n_latent);
        let (mut noisy, mut target) = (Vec::new(), Vec::new());
        let (mut timesteps, mut told) = (Vec::new(), Vec::new());
        for (i, k) in chosen.iter().enumerate() {
            let t = rng.random_range(1..=self.schedule.n_steps());
            let alpha_bar = self.schedule.alpha_bar(t);
            let (signal, spread) = (alpha_bar.sqrt() as f32, (1.0 - alpha_bar).sqrt() as f32);
            let (of_clean, of_noise) = PREDICTION.target(alpha_bar);
            for j in 0..n_latent {
                let (x, e) = (clean[[i, j]], eps[i * n_latent + j]);
                noisy.push(signal * x + spread * e);
                target.push(of_clean as f32 * x + of_noise as f32 * e);
            }
            timesteps.push(t);
            told.push(self.told(*k, latents[[i, n_latent - 1]], rng));
        }
        let noisy = tensor(noisy, [n, n_latent], device);
        let target = tensor::<2>(target, [n, n_latent], device);
        let error = denoiser.forward(noisy, &timesteps, &told, device) - target;
        (error.clone() * error).mean()
    }

    /// The depth is given to every second sample; conditions are dropped all at once or each.
    fn told(&self, k: usize, depth: f32, rng: &mut ChaCha8Rng) -> Told {
        let share = self.config.denoiser.condition_dropout;
        let depth = rng.random_bool(0.5).then_some(depth);
        let drops_all = rng.random_bool(share);
        let conditions = Told::conditions_of(self.conditions, self.profiles[k].row);
        Told::new(depth, conditions, self.attributes, |_| {
            rng.random_bool(share) || drops_all
        })
    }
}

impl Objective for DenoiserObjective<'_> {
    fn n_shards(&self) -> usize {
        N_SHARDS
    }

    fn loss(&self, builder: &mut Builder, step: usize, shard: usize) -> Shard {
        let device = builder.device().clone();
        let n_latent = self.whitening.n_latent();
        let denoiser = Denoiser::new(builder, &self.config.denoiser, n_latent, self.attributes);
        let mut rng = stream(self.seed, "denoiser", shard, step);
        let size = self.config.denoiser.training.batch_size;
        let chosen = self.split.chosen(&mut rng, size);
        Shard {
            loss: self.loss_of(&denoiser, &chosen, &mut rng, &device),
            share: 1.0 / N_SHARDS as f64,
        }
    }

    fn validate(&self, parameters: &Parameters, device: &Device) -> Result<Option<f64>> {
        let n_latent = self.whitening.n_latent();
        let mut builder = Builder::new(parameters, Absent::Refuse, device);
        let denoiser = Denoiser::new(
            &mut builder,
            &self.config.denoiser,
            n_latent,
            self.attributes,
        );
        builder.finish()?;
        let copies = self.split.validation.repeat(N_COPIES);
        mean_over_tiles(device, &copies, |tile, chosen| {
            let mut rng = generator(self.seed, Stage::Validation, "denoiser", tile as u64);
            self.loss_of(&denoiser, chosen, &mut rng, device)
        })
    }

    fn samples(&self, step: usize) -> Vec<String> {
        let size = self.config.denoiser.training.batch_size;
        let rngs = (0..N_SHARDS).map(|shard| stream(self.seed, "denoiser", shard, step));
        ids_of(self.table, self.profiles, self.split, rngs, size)
    }
}

/// The stream of one part of a step.
fn stream(seed: u64, stage: &str, shard: usize, step: usize) -> ChaCha8Rng {
    let name = format!("{stage} {shard}");
    generator(seed, Stage::TrainingStep, &name, step as u64)
}

/// Ids of the samples that the parts of a step choose.
fn ids_of(
    table: &Table,
    profiles: &[Profile],
    split: &Split,
    rngs: impl Iterator<Item = ChaCha8Rng>,
    batch_size: usize,
) -> Vec<String> {
    let chosen = rngs.flat_map(|mut rng| split.chosen(&mut rng, batch_size));
    chosen
        .map(|k| table.sample_ids()[profiles[k].row].clone())
        .collect()
}

/// The mean loss of samples, tile by tile; `None` without samples.
fn mean_over_tiles(
    device: &Device,
    samples: &[usize],
    loss: impl Fn(usize, &[usize]) -> Tensor<1> + Sync,
) -> Result<Option<f64>> {
    if samples.is_empty() {
        return Ok(None);
    }
    let tiles: Vec<&[usize]> = samples.chunks(TILE).collect();
    let sums = crate::device::each(device, tiles.len(), |tile| {
        let of_tile = loss(tile, tiles[tile]).into_scalar::<f32>();
        Ok(f64::from(of_tile) * tiles[tile].len() as f64)
    })?;
    Ok(Some(sums.iter().sum::<f64>() / samples.len() as f64))
}

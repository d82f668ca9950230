//! The networks whose speed is measured, each with a batch: one set for `peers` and the benchmarks.

use burn::tensor::{Device, Int, Tensor, TensorData};
use std::ops::Range;
use suffuse_kernels::{Activation, Blocked, NO_BIAS};
use suffuse_model::nn::attention::AttentionMask;
use suffuse_model::nn::dit_block::DitShape;
use suffuse_model::nn::mlp::MlpShape;
use suffuse_model::nn::norm::{Modulation, modulate};
use suffuse_model::nn::unet::UNetShape;
use suffuse_model::nn::{DitBlock, Linear, Mlp, UNet};
use suffuse_model::noise::schedule::CosineSchedule;
use suffuse_model::parameters::{Builder, Parameter, Parameters, values};
use suffuse_model::rng::{Stage, generator, standard_normal};
use suffuse_model::systems::depmicrodiff::Config;
use suffuse_model::systems::depmicrodiff::ar_steps::ArSteps;
use suffuse_model::systems::depmicrodiff::batch::time_features;
use suffuse_model::systems::depmicrodiff::dat::{
    Beside, Context, Dat, Known, N_FLAGS, N_GUESS, N_SUMMARY, Noisy, StreamMasks,
};
use suffuse_model::systems::depmicrodiff::mask::{Dependent, attention_mask};
use suffuse_model::systems::depmicrodiff::vae::Vae;
use suffuse_model::train::fit::{Objective, Shard};
use suffuse_model::{Result, sample};

/// Shards of a step, as in the preset `small`.
pub(crate) const N_SHARDS: usize = 2;
/// Steps of `sample`.
const N_SAMPLING_STEPS: usize = 20;
const N_TIMESTEPS: usize = 1000;
/// Sizes of the transformer beside the denoiser.
const TOKENS: usize = 107;
const WIDTH: usize = 128;
const DEPTH: usize = 6;
/// Sizes of the network on images.
const SIDE: usize = 64;
const CHANNELS: usize = 40;
const CONDITION: usize = 256;
/// No metadata and no samples in time beside the sample.
const ALONE: Beside = Beside {
    d_metadata: 0,
    n_neighbours: 0,
};

/// A network with its batch.
pub(crate) struct Bench {
    pub(crate) network: Network,
    /// Arrays by name, the first axis of each being the samples unless its name begins with `all_`.
    pub(crate) batch: Parameters,
    pub(crate) n_samples: usize,
}

pub(crate) enum Network {
    Denoiser(Box<Denoiser>),
    Vae { config: Box<Config>, n_taxa: usize },
    Transformer { blocked: Blocked },
    UNet(UNetShape),
}

/// The same with its weights.
pub(crate) enum Bound {
    Denoiser(Box<Dat>),
    Vae(Box<Vae>),
    Transformer(Box<Transformer>),
    UNet(Box<(Mlp, UNet)>),
}

pub(crate) struct Transformer {
    blocks: Vec<DitBlock>,
    last_modulation: Linear,
    last: Linear,
}

pub(crate) struct Denoiser {
    config: Config,
    dependent: Dependent,
    order: Vec<usize>,
    steps: ArSteps,
    masks: StreamMasks,
}

impl Bench {
    pub(crate) fn new(name: &str) -> Option<Bench> {
        let (kind, n_taxa) = name.split_once('-').unwrap_or((name, "0"));
        let n_taxa: usize = n_taxa.parse().ok()?;
        let mut batch = Parameters::default();
        let mut add = |name: &str, shape: &[usize], values: Vec<f32>| {
            let shape = shape.to_vec();
            let array = Parameter { shape, values };
            batch.by_path.insert(name.to_string(), array);
        };
        let normal =
            |name: &str, n: usize| standard_normal(&mut generator(1, Stage::Sampling, name, 0), n);
        let config = Config::small();
        let d = config.vae.d_latent;
        let (network, n_samples) = match kind {
            "denoiser" => {
                let batch = config.dat.training.batch_size;
                let batch = batch.min(config.dat.max_batch_tokens / n_taxa);
                let shape = [batch, n_taxa, d];
                for name in ["observed", "clean", "noisy", "target"] {
                    add(name, &shape, normal(name, batch * n_taxa * d));
                }
                let flags = (0..batch * n_taxa).flat_map(|at| {
                    let flag = (at * 7 + at / 5) % N_FLAGS;
                    (0..N_FLAGS).map(move |k| if k == flag { 1.0 } else { 0.0 })
                });
                add("flags", &[batch, n_taxa, N_FLAGS], flags.collect());
                add("summary", &[batch, N_SUMMARY], vec![0.5; batch * N_SUMMARY]);
                let shape = [batch, n_taxa, N_GUESS];
                add("guess", &shape, normal("guess", batch * n_taxa * N_GUESS));
                // A quarter of the taxa in the first step, a quarter in the second, the rest in the last.
                let sizes = [n_taxa / 4, n_taxa / 4, n_taxa - n_taxa / 4 * 2];
                let timesteps: Vec<usize> =
                    (0..3 * batch).map(|i| 1 + 331 * i % N_TIMESTEPS).collect();
                let time = values(time_features(&timesteps, [batch, 3], &Device::flex()));
                add("time", &[batch, 3, 64], time);
                let is_dependent = normal("dependent", n_taxa * n_taxa);
                let dependent =
                    Dependent::new(n_taxa, is_dependent.iter().map(|x| *x > 0.5).collect());
                let order: Vec<usize> = (0..n_taxa).rev().collect();
                let steps = ArSteps::of_sizes(&sizes);
                let n_condition = Dat::n_condition_tokens(&config.dat, ALONE);
                let mode = config.dat.dependency_mask;
                let mask = attention_mask(&steps, n_condition, &dependent, &order, mode);
                let length = mask.len();
                let blocked = mask
                    .blocked()
                    .iter()
                    .map(|b| f32::from(u8::from(*b)))
                    .collect();
                add("all_mask", &[length; 2], blocked);
                let mut bias_of_pair = vec![-1.0; length * length];
                for (row, open) in mask.open.iter().enumerate() {
                    for (column, bias) in open.iter().filter(|(_, bias)| *bias != NO_BIAS) {
                        bias_of_pair[row * length + *column as usize] = *bias as f32;
                    }
                }
                add("all_bias_of_pair", &[length; 2], bias_of_pair);
                let masks = StreamMasks::new(&mask, 0..n_taxa);
                let denoiser = Denoiser {
                    config,
                    dependent,
                    order,
                    steps,
                    masks,
                };
                (Network::Denoiser(Box::new(denoiser)), batch)
            }
            "vae" => {
                let batch = config.vae.training.batch_size;
                let numbers = normal("entries", batch * n_taxa);
                let entries = numbers.iter().flat_map(|x| match *x > 0.0 {
                    true => [1.0, *x],
                    false => [0.0, 0.0],
                });
                add("entries", &[batch, n_taxa, 2], entries.collect());
                add(
                    "noise",
                    &[batch, n_taxa, d],
                    normal("noise", batch * n_taxa * d),
                );
                (
                    Network::Vae {
                        config: Box::new(config),
                        n_taxa,
                    },
                    batch,
                )
            }
            "transformer" => {
                let batch = 128;
                let shape = [batch, TOKENS, WIDTH];
                add("x", &shape, normal("x", batch * TOKENS * WIDTH));
                add("target", &shape, normal("target", batch * TOKENS * WIDTH));
                add(
                    "condition",
                    &[batch, 1, WIDTH],
                    normal("condition", batch * WIDTH),
                );
                let numbers = normal("mask", TOKENS * TOKENS);
                let blocked: Vec<bool> = (0..TOKENS * TOKENS)
                    .map(|at| numbers[at] > 0.5 && at / TOKENS != at % TOKENS)
                    .collect();
                add("all_mask", &[TOKENS, TOKENS], {
                    blocked.iter().map(|b| f32::from(u8::from(*b))).collect()
                });
                let blocked = Blocked::new(&blocked, TOKENS, TOKENS);
                (Network::Transformer { blocked }, batch)
            }
            "unet" => {
                let batch = 8;
                let shape = [batch, SIDE, SIDE, CHANNELS];
                let n = shape.iter().product();
                add("x", &shape, normal("x", n));
                add("target", &shape, normal("target", n));
                add(
                    "condition",
                    &[batch, CONDITION],
                    normal("condition", batch * CONDITION),
                );
                let shape = UNetShape {
                    n_inputs: CHANNELS,
                    n_outputs: CHANNELS,
                    widths: vec![64, 128, 256],
                    condition_width: CONDITION,
                };
                (Network::UNet(shape), batch)
            }
            _ => return None,
        };
        Some(Bench {
            network,
            batch,
            n_samples,
        })
    }

    /// The samples of a shard.
    pub(crate) fn rows(&self, shard: usize) -> Range<usize> {
        self.n_samples * shard / N_SHARDS..self.n_samples * (shard + 1) / N_SHARDS
    }

    /// The part of an array that belongs to samples.
    fn array<const D: usize>(&self, name: &str, rows: Range<usize>, device: &Device) -> Tensor<D> {
        let array = &self.batch.by_path[name];
        let n = array.values.len() / self.n_samples;
        let mut shape: [usize; D] = array.shape.as_slice().try_into().expect("the array's rank");
        shape[0] = rows.len();
        let values = array.values[rows.start * n..rows.end * n].to_vec();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    pub(crate) fn bind(&self, p: &mut Builder) -> Bound {
        match &self.network {
            Network::Vae { config, n_taxa } => {
                Bound::Vae(Box::new(Vae::new(p, &config.vae, *n_taxa)))
            }
            Network::Denoiser(denoiser) => Bound::Denoiser(Box::new(denoiser.bind(p))),
            Network::Transformer { .. } => {
                let shape = DitShape {
                    width: WIDTH,
                    n_heads: 8,
                    mlp_ratio: 4,
                    activation: Activation::GeluTanh,
                };
                let block = |i| p.within(&format!("block{i}"), |p| DitBlock::new(p, shape));
                Bound::Transformer(Box::new(Transformer {
                    blocks: (0..DEPTH).map(block).collect(),
                    last_modulation: Linear::zero(p, "last_modulation", WIDTH, 2 * WIDTH),
                    last: Linear::new(p, "last", WIDTH, WIDTH),
                }))
            }
            Network::UNet(shape) => {
                let hidden = MlpShape {
                    n_inputs: CONDITION,
                    n_hidden: CONDITION,
                    n_outputs: CONDITION,
                };
                Bound::UNet(Box::new((
                    Mlp::new(p, "condition", hidden),
                    UNet::new(p, shape),
                )))
            }
        }
    }

    /// Mean square of the output for the noise of the batch, and the loss.
    pub(crate) fn run(&self, bound: &Bound, device: &Device, shard: usize) -> [Tensor<1>; 2] {
        let rows = self.rows(shard);
        let n = rows.len();
        let square = |x: Tensor<3>| (x.clone() * x).mean();
        match (&self.network, bound) {
            (Network::Vae { config, n_taxa }, Bound::Vae(vae)) => {
                let entries = self.array("entries", rows.clone(), device);
                let is_known = Tensor::ones([n, *n_taxa], device);
                let noise = self.array("noise", rows, device);
                let loss = vae.loss(entries, is_known, noise, config.vae.kl_weight);
                [loss.clone(), loss]
            }
            (Network::Denoiser(denoiser), Bound::Denoiser(dat)) => {
                let time = self.array("time", rows.clone(), device);
                let noisy = self.array("noisy", rows.clone(), device);
                let predicted = denoiser.denoise(self, dat, noisy, time, rows.clone(), device);
                let target: Tensor<3> = self.array("target", rows, device);
                [square(predicted.clone()), square(predicted - target)]
            }
            (Network::Transformer { blocked }, Bound::Transformer(bound)) => {
                let Transformer {
                    blocks,
                    last_modulation,
                    last,
                } = bound.as_ref();
                let mask = AttentionMask {
                    blocked: blocked.clone(),
                    bias: None,
                };
                let mut x: Tensor<3> = self.array("x", rows.clone(), device);
                let condition: Tensor<3> = self.array("condition", rows.clone(), device);
                for block in blocks {
                    let m = block.modulation(condition.clone());
                    let (h, own) = block.attending(&x, &m);
                    x = block.forward(x, &h, &own, &mask, &m);
                }
                let m = last_modulation.forward(condition);
                let [shift, scale] =
                    [0..WIDTH, WIDTH..2 * WIDTH].map(|range| m.clone().slice([0..n, 0..1, range]));
                let y = last.forward(modulate(x, &Modulation { shift, scale }));
                let target: Tensor<3> = self.array("target", rows, device);
                [square(y.clone()), square(y - target)]
            }
            (Network::UNet(_), Bound::UNet(bound)) => {
                let (condition, unet) = bound.as_ref();
                let condition =
                    condition.forward(self.array::<2>("condition", rows.clone(), device));
                let y = unet.forward(self.array("x", rows.clone(), device), &condition);
                let target: Tensor<4> = self.array("target", rows, device);
                let square = |x: Tensor<4>| (x.clone() * x).mean();
                [square(y.clone()), square(y - target)]
            }
            _ => unreachable!("a network is bound to itself"),
        }
    }
}

impl Denoiser {
    fn bind(&self, p: &mut Builder) -> Dat {
        Dat::new(
            p,
            &self.config.dat,
            &self.config.vae,
            &self.dependent,
            ALONE,
        )
    }

    /// Encodes the condition and denoises all tokens.
    fn denoise(
        &self,
        bench: &Bench,
        dat: &Dat,
        noisy: Tensor<3>,
        time: Tensor<3>,
        rows: Range<usize>,
        device: &Device,
    ) -> Tensor<3> {
        let (context, order) = self.context(bench, dat, rows, device);
        let noisy = Noisy {
            values: noisy,
            time,
            step_sizes: self.steps.sizes(),
            tokens: 0..self.order.len(),
        };
        dat.denoise(noisy, &order, &context, &self.masks, None)
    }

    fn context(
        &self,
        bench: &Bench,
        dat: &Dat,
        rows: Range<usize>,
        device: &Device,
    ) -> (Context, Tensor<1, Int>) {
        let n = rows.len();
        let n_taxa = self.order.len();
        let order: Vec<i64> = self.order.iter().map(|taxon| *taxon as i64).collect();
        let order = Tensor::<1, Int>::from_data(TensorData::new(order, [n_taxa]), device);
        let known = Known {
            observed: bench.array("observed", rows.clone(), device),
            flags: bench.array("flags", rows.clone(), device),
            is_filled: Tensor::ones([n, n_taxa, 1], device),
            guess: bench.array("guess", rows.clone(), device),
            summary: bench.array("summary", rows.clone(), device),
            metadata: None,
            neighbours: None,
        };
        let clean: Tensor<3> = bench.array("clean", rows, device);
        let [_, _, d] = clean.dims();
        let clean = clean.slice([0..n, 0..self.steps.n_visible(), 0..d]);
        (dat.context(&known, clean, &order, &self.masks), order)
    }

    /// Samples all tokens from the noise of the batch by DDIM steps; the condition and the clean
    /// tokens are encoded once.
    pub(crate) fn sample(&self, bench: &Bench, dat: &Dat, rows: Range<usize>) -> Tensor<3> {
        let device = Device::flex();
        let (context, order) = self.context(bench, dat, rows.clone(), &device);
        let schedule = CosineSchedule::new(N_TIMESTEPS);
        let mut x: Tensor<3> = bench.array("noisy", rows, &device);
        for i in (0..N_SAMPLING_STEPS).rev() {
            let at = |i: usize| N_TIMESTEPS * i / N_SAMPLING_STEPS;
            let (alpha_bar, next) = (schedule.alpha_bar(at(i + 1)), schedule.alpha_bar(at(i)));
            let n_steps = self.steps.n_steps();
            let time = time_features(&vec![at(i + 1); n_steps], [1, n_steps], &device);
            let noisy = Noisy {
                values: x.clone(),
                time,
                step_sizes: self.steps.sizes(),
                tokens: 0..self.order.len(),
            };
            let estimate = dat.denoise(noisy, &order, &context, &self.masks, None);
            let step = sample::step(false, alpha_bar, next);
            x = x * step.noisy + estimate * step.clean;
        }
        x
    }
}

impl Objective for Bench {
    fn n_shards(&self) -> usize {
        N_SHARDS
    }

    fn loss(&self, builder: &mut Builder, _step: usize, shard: usize) -> Shard {
        let bound = self.bind(builder);
        let [_, loss] = self.run(&bound, &Device::flex().autodiff(), shard);
        Shard {
            loss,
            share: self.rows(shard).len() as f64 / self.n_samples as f64,
        }
    }

    fn validate(&self, _parameters: &Parameters, _device: &Device) -> Result<Option<f64>> {
        Ok(None)
    }

    fn samples(&self, _step: usize) -> Vec<String> {
        Vec::new()
    }
}

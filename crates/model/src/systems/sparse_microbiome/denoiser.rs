//! The denoiser of latents: a residual perceptron under adaLN, told the step, the depth where it is given, and
//! the conditions that are not dropped.
//!
//! ```text
//! x_t -> first -> [x + gate * mlp(modulate(x))] per block -> modulate -> last -> v
//! step, depth, conditions -> condition c -> shift, scale, gate of every block
//! ```
//!
//! Latents are whitened, so a network that says 0 is the exact denoiser of a Gaussian: with `v = 0`,
//! `x_0 = sqrt(alpha_bar) x_t = E[x_0 | x_t]` for `x_0 ~ N(0, I)`. It starts there and learns what is not Gaussian.

use super::config::DenoiserConfig;
use crate::cond::Conditions;
use crate::nn::mlp::MlpShape;
use crate::nn::norm::{Modulation, modulate};
use crate::nn::timestep::timestep_features;
use crate::nn::{Linear, Mlp};
use crate::parameters::{Builder, tensor};
use burn::tensor::{Device, Tensor, activation::silu};
use serde::{Deserialize, Serialize};
use suffuse_kernels::gated_residual;

/// Features of the step.
const N_TIME_FEATURES: usize = 64;
/// Numbers that say what depth is given: its score, and 1 where one is.
const N_DEPTH: usize = 2;

/// One thing that a sample can be conditioned on, as in "body_site": a range of the condition vector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribute {
    /// Name of the metadata column, or "text".
    pub name: String,
    /// Where its numbers begin.
    pub start: usize,
    /// How many they are.
    pub len: usize,
}

/// What the denoiser is told of a sample beside the latent.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Told {
    /// Score of the number of reads.
    pub(super) depth: Option<f32>,
    /// Numbers of every attribute; an attribute that is dropped is all zero and flagged.
    values: Vec<f32>,
    is_dropped: Vec<f32>,
}

impl Told {
    /// - `conditions`: the vector of the sample, or nothing known of it
    /// - `drops`: says whether to drop an attribute, by its position
    pub(super) fn new(
        depth: Option<f32>,
        conditions: Option<&[f32]>,
        attributes: &[Attribute],
        mut drops: impl FnMut(usize) -> bool,
    ) -> Told {
        let mut told = Told {
            depth,
            ..Told::default()
        };
        for (position, attribute) in attributes.iter().enumerate() {
            let is_dropped = drops(position) || conditions.is_none();
            let range = attribute.start..attribute.start + attribute.len;
            match conditions.filter(|_| !is_dropped) {
                Some(values) => told.values.extend(&values[range]),
                None => told.values.extend(range.map(|_| 0.0)),
            }
            told.is_dropped.push(f32::from(u8::from(is_dropped)));
        }
        told
    }

    /// The conditions of sample `row`, if anything is known of it.
    pub(super) fn conditions_of(conditions: Option<&Conditions>, row: usize) -> Option<&[f32]> {
        let conditions = conditions.filter(|conditions| !conditions.missing[row])?;
        Some(&conditions.values[row * conditions.dim..(row + 1) * conditions.dim])
    }

    fn extend(&self, row: &mut Vec<f32>) {
        row.extend([
            self.depth.unwrap_or(0.0),
            f32::from(u8::from(self.depth.is_some())),
        ]);
        row.extend(&self.values);
        row.extend(&self.is_dropped);
    }

    fn width(attributes: &[Attribute]) -> usize {
        let numbers: usize = attributes.iter().map(|attribute| attribute.len).sum();
        N_DEPTH + numbers + attributes.len()
    }
}

/// The network.
#[derive(Debug, Clone)]
pub(super) struct Denoiser {
    time: Mlp,
    told: Mlp,
    first: Linear,
    blocks: Vec<Block>,
    last_modulation: Linear,
    last: Linear,
    width: usize,
}

#[derive(Debug, Clone)]
struct Block {
    modulation: Linear,
    mlp: Mlp,
}

impl Denoiser {
    /// A network that says 0 before it is trained.
    ///
    /// - `n_latent`: length of the latent with its depth
    pub(super) fn new(
        p: &mut Builder,
        config: &DenoiserConfig,
        n_latent: usize,
        attributes: &[Attribute],
    ) -> Self {
        let width = config.width;
        let toward_width = |n_inputs: usize| MlpShape {
            n_inputs,
            n_hidden: width,
            n_outputs: width,
        };
        let inner = MlpShape {
            n_inputs: width,
            n_hidden: config.mlp_ratio * width,
            n_outputs: width,
        };
        Denoiser {
            time: Mlp::new(p, "time", toward_width(N_TIME_FEATURES)),
            told: Mlp::new(p, "told", toward_width(Told::width(attributes))),
            first: Linear::new(p, "first", n_latent, width),
            blocks: (0..config.depth)
                .map(|i| {
                    p.within(&format!("block{i}"), |p| Block {
                        modulation: Linear::zero(p, "modulation", width, 3 * width),
                        mlp: Mlp::new(p, "mlp", inner),
                    })
                })
                .collect(),
            last_modulation: Linear::zero(p, "last_modulation", width, 2 * width),
            last: Linear::zero(p, "last", width, n_latent),
            width,
        }
    }

    /// `v` of the noisy latents.
    ///
    /// - `noisy`: `[batch, n_latent]`; `timesteps`, `told`: one per row
    pub(super) fn forward(
        &self,
        noisy: Tensor<2>,
        timesteps: &[usize],
        told: &[Told],
        device: &Device,
    ) -> Tensor<2> {
        let [n, n_latent] = noisy.dims();
        let times = timesteps
            .iter()
            .flat_map(|t| timestep_features(*t, N_TIME_FEATURES))
            .collect();
        let mut known = Vec::new();
        told.iter().for_each(|told| told.extend(&mut known));
        let n_known = known.len() / n;
        let known = tensor::<3>(known, [n, 1, n_known], device);
        let times = tensor::<3>(times, [n, 1, N_TIME_FEATURES], device);
        let condition = silu(self.time.forward(times) + self.told.forward(known)); // [batch, 1, width]
        let mut x = self.first.forward(noisy.reshape([n, 1, n_latent]));
        for block in &self.blocks {
            let m = block.modulation.forward(condition.clone());
            let modulation = Modulation {
                shift: self.part(&m, 0),
                scale: self.part(&m, 1),
            };
            let added = block.mlp.forward(modulate(x.clone(), &modulation));
            x = gated_residual(x, added, self.part(&m, 2));
        }
        let m = self.last_modulation.forward(condition);
        let modulation = Modulation {
            shift: self.part(&m, 0),
            scale: self.part(&m, 1),
        };
        self.last
            .forward(modulate(x, &modulation))
            .reshape([n, n_latent])
    }

    /// Part `k` of a modulation, `[batch, 1, width]`.
    fn part(&self, m: &Tensor<3>, k: usize) -> Tensor<3> {
        let [n, _, _] = m.dims();
        m.clone()
            .slice([0..n, 0..1, k * self.width..(k + 1) * self.width])
    }
}

//! The Dependency-Aware Transformer: predicts the noise of latent tokens from their noisy values,
//! the clean tokens of earlier autoregressive steps and the condition.
//!
//! ```text
//! metadata --+                        +-> condition tokens --+
//! observed --+-> condition vector     |                      |  prefix: keys and values do not
//!   latents  +-> profile tokens ------+   clean tokens ------+  depend on the timestep
//!                                                            v
//! noisy tokens + observed latents + flags + time  ->  blocks (masked attention, adaLN, MLP) -> prediction
//! ```

use super::config::{DatConfig, VaeConfig};
use super::mask::{DependencyMask, Dependent, Mask};
use super::neighbours::Rhythm;
use crate::nn::attention::{AttentionMask, KeyValue};
use crate::nn::dit_block::{BlockModulation, DitShape, chunks};
use crate::nn::mlp::MlpShape;
use crate::nn::norm::{Modulation, modulate};
use crate::nn::{DitBlock, Linear, Mlp};
use crate::parameters::{Builder, Initial};
use burn::tensor::activation::silu;
use burn::tensor::{Int, Tensor};
use std::ops::Range;
use suffuse_kernels::{Activation, Blocked};

/// Flags of an entry: observed present, observed absent, hidden, hidden but known to be present.
pub const N_FLAGS: usize = 4;
/// Figures of a sample as a whole: the share of its total that is in sight, its offset.
pub const N_SUMMARY: usize = 2;
/// What the guide says of a hidden entry: its standardised abundance, the log-odds of its presence.
pub const N_GUESS: usize = 2;
/// Samples of a subject that each have a condition token: the nearest earlier and the nearest later.
pub const N_NEIGHBOURS: usize = 2;
/// Figures of such a sample: whether there is one, its gap in time, on which side it lies.
pub const N_GAP: usize = 3;
/// Length of the sinusoidal features of a timestep.
pub const N_TIME_FEATURES: usize = 64;

/// Initial bias of a dependent pair: it starts with e^2 times the attention of another pair.
const INITIAL_BIAS: f32 = 2.0;

/// The network.
#[derive(Debug, Clone)]
pub struct Dat {
    config: DatConfig,
    taxon: Tensor<2>,
    profile: Mlp,
    condition: Mlp,
    metadata: Option<Linear>,
    neighbour: Option<Mlp>,
    no_metadata: Tensor<1>,
    clean: Linear,
    noisy: Linear,
    time: Mlp,
    blocks: Vec<DitBlock>,
    last_modulation: Linear,
    last: Linear,
    dependency_bias: Vec<Tensor<2>>,
}

/// What is known of the samples, in the table's order of taxa.
#[derive(Debug, Clone)]
pub struct Known {
    /// Observed part of the latent, `(1 - m) * m_0` (Eq. 2), `[batch, n_taxa, d_latent]`.
    pub observed: Tensor<3>,
    /// Flags, `[batch, n_taxa, 4]`.
    pub flags: Tensor<3>,
    /// The guide's word on hidden entries, 0 elsewhere and without a guide, `[batch, n_taxa, 2]`.
    pub guess: Tensor<3>,
    /// 1 where the token of a taxon holds a latent, clean or noisy, `[batch, n_taxa, 1]`. In training
    /// the truth of some entries is not known, and their tokens are empty; in sampling none is.
    pub is_filled: Tensor<3>,
    /// Share of the total that the observed entries make up, and the offset of the sample in
    /// ln(1+percent), `[batch, 2]`.
    pub summary: Tensor<2>,
    /// Encoded metadata, `[batch, d_metadata]`, and 1 where there are none, `[batch, 1]`.
    pub metadata: Option<(Tensor<2>, Tensor<2>)>,
    /// Latents, flags and gap of the samples around each, `[batch, 2, n_taxa * (d_latent + 4) + 3]`.
    pub neighbours: Option<Tensor<3>>,
}

/// What a network knows beside the sample itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beside {
    /// Length of the metadata vectors; 0: none.
    pub d_metadata: usize,
    /// Other samples of the subject: 0, or [`N_NEIGHBOURS`] where there are times.
    pub n_neighbours: usize,
}

impl Beside {
    /// Metadata of this length, and neighbours where a model was fitted with times.
    pub(super) fn new(d_metadata: usize, rhythm: Option<&Rhythm>) -> Self {
        Beside {
            d_metadata,
            n_neighbours: rhythm.map_or(0, |_| N_NEIGHBOURS),
        }
    }
}

/// Tokens to be denoised.
#[derive(Debug, Clone)]
pub struct Noisy {
    /// `[batch, n, d_latent]`
    pub values: Tensor<3>,
    /// Features of the timestep of each autoregressive step, `[batch or 1, steps, 64]`.
    pub time: Tensor<3>,
    /// How many of the tokens belong to each of those steps.
    pub step_sizes: Vec<usize>,
    /// Their `n` positions in token order.
    pub tokens: Range<usize>,
}

/// Keys and values of the prefix for each block, and what else stays the same while denoising.
#[derive(Debug, Clone)]
pub struct Context {
    prefix: Vec<KeyValue>,
    modulations: Vec<BlockModulation>,
    last_modulation: Tensor<3>,
    observed: Tensor<3>,
    flags: Tensor<3>,
    guess: Tensor<3>,
    is_filled: Tensor<3>,
}

/// Masks of the two streams, cut from one [`Mask`].
#[derive(Debug, Clone)]
pub struct StreamMasks {
    prefix: Blocked,
    noisy: Blocked,
}

impl StreamMasks {
    /// Cuts the rows of the prefix and the rows `noisy` of the noisy tokens (all, or those of one
    /// autoregressive step, which then see only each other and the prefix).
    pub fn new(mask: &Mask, noisy: Range<usize>) -> Self {
        let context = mask.n_condition + mask.n_visible;
        let prefix = cut(mask, 0..context, &[0..context, 0..0]);
        let own = context + noisy.start..context + noisy.end;
        let noisy = cut(mask, own.clone(), &[0..context, own]);
        StreamMasks { prefix, noisy }
    }
}

/// The part of a mask with these rows and ranges of columns; each dependent pair takes its bias.
fn cut(mask: &Mask, rows: Range<usize>, columns: &[Range<usize>]) -> Blocked {
    let n_columns = columns.iter().map(Range::len).sum();
    Blocked::of_open(rows.len(), n_columns, |row, open| {
        let all = &mask.open[rows.start + row];
        let mut first = 0;
        for columns in columns {
            let at = |column: usize| all.partition_point(|(key, _)| (*key as usize) < column);
            let part = &all[at(columns.start)..at(columns.end)];
            let moved = |key: u32| (key as usize - columns.start + first) as u32;
            open.extend(part.iter().map(|(key, bias)| (moved(*key), *bias)));
            first += columns.len();
        }
    })
}

impl Dat {
    /// Binds the network for the taxa of `dependent`.
    pub fn new(
        p: &mut Builder,
        config: &DatConfig,
        vae: &VaeConfig,
        dependent: &Dependent,
        beside: Beside,
    ) -> Self {
        let n_taxa = dependent.n_features();
        let (width, d) = (config.width, vae.d_latent);
        let square = MlpShape {
            n_inputs: width,
            n_hidden: width,
            n_outputs: width,
        };
        let profile = MlpShape {
            n_inputs: n_taxa * (d + N_FLAGS) + N_SUMMARY,
            n_hidden: config.profile_width,
            n_outputs: config.n_profile_tokens * width,
        };
        let d_metadata = beside.d_metadata;
        let neighbour = MlpShape {
            n_inputs: n_taxa * (d + N_FLAGS) + N_GAP,
            ..square
        };
        let condition = MlpShape {
            n_inputs: (config.n_profile_tokens + 1) * width,
            ..square
        };
        let block = DitShape {
            width,
            n_heads: config.n_heads,
            mlp_ratio: config.mlp_ratio,
            activation: Activation::Silu,
        };
        let is_bias = config.dependency_mask == DependencyMask::Bias;
        let n_biases = if is_bias { config.depth } else { 0 };
        Dat {
            config: *config,
            taxon: p.matrix("taxon", [n_taxa, width], Initial::Spread(0.5)),
            profile: Mlp::new(p, "profile", profile),
            condition: Mlp::new(p, "condition", condition),
            metadata: (d_metadata > 0).then(|| Linear::new(p, "metadata", d_metadata, width)),
            neighbour: (beside.n_neighbours > 0).then(|| Mlp::new(p, "neighbour", neighbour)),
            no_metadata: p.vector("no_metadata", width, Initial::Spread(0.02)),
            clean: Linear::new(p, "clean", d + 1 + N_FLAGS + N_GUESS, width),
            noisy: Linear::new(p, "noisy", 2 * d + 1 + N_FLAGS + N_GUESS, width),
            time: Mlp::new(
                p,
                "time",
                MlpShape {
                    n_inputs: N_TIME_FEATURES,
                    ..square
                },
            ),
            blocks: (0..config.depth)
                .map(|i| p.within(&format!("block{i}"), |p| DitBlock::new(p, block)))
                .collect(),
            last_modulation: Linear::zero(p, "last_modulation", width, 2 * width),
            last: Linear::zero(p, "last", width, d),
            dependency_bias: (0..n_biases)
                .map(|i| {
                    let shape = [config.n_heads, dependent.n_pairs()];
                    p.matrix(
                        &format!("dependency_bias{i}"),
                        shape,
                        Initial::Constant(INITIAL_BIAS),
                    )
                })
                .collect(),
        }
    }

    /// Number of condition tokens, `c`: the profile's, one for the metadata, one per neighbour in time.
    pub fn n_condition_tokens(config: &DatConfig, beside: Beside) -> usize {
        config.n_profile_tokens + 1 + beside.n_neighbours
    }

    /// Encodes the condition and the clean tokens of earlier steps.
    ///
    /// - `clean`: `[batch, v, d_latent]`, in token order
    /// - `order`: taxon of each token, `[n_taxa]`
    pub fn context(
        &self,
        known: &Known,
        clean: Tensor<3>,
        order: &Tensor<1, Int>,
        masks: &StreamMasks,
    ) -> Context {
        let [batch, n_taxa, d] = known.observed.dims();
        let width = self.config.width;
        let [_, n_visible, _] = clean.dims();
        let flat = Tensor::cat(
            vec![
                known.observed.clone().reshape([batch, n_taxa * d]),
                known.flags.clone().reshape([batch, n_taxa * N_FLAGS]),
                known.summary.clone(),
            ],
            1,
        );
        let profile = self.profile.forward(flat); // [batch, n_profile_tokens * width]
        let null = self
            .no_metadata
            .clone()
            .unsqueeze::<2>()
            .expand([batch, width]);
        let metadata = match (&self.metadata, &known.metadata) {
            (Some(project), Some((values, is_missing))) => {
                let projected = project.forward(values.clone());
                projected * (is_missing.clone().neg() + 1.0) + null * is_missing.clone()
            }
            _ => null,
        };
        let vector = self
            .condition
            .forward(Tensor::cat(vec![profile.clone(), metadata.clone()], 1)); // [batch, width]
        let vector = silu(vector).reshape([batch, 1, width]);
        let n_profile = self.config.n_profile_tokens;
        let reorder = |tensor: &Tensor<3>| tensor.clone().select(1, order.clone());
        let is_filled = reorder(&known.is_filled);
        let (flags, guess) = (reorder(&known.flags), reorder(&known.guess));
        let mut tokens = vec![
            profile.reshape([batch, n_profile, width]),
            metadata.reshape([batch, 1, width]),
        ];
        if let (Some(project), Some(neighbours)) = (&self.neighbour, &known.neighbours) {
            let [_, n, n_inputs] = neighbours.dims();
            let flat = neighbours.clone().reshape([batch * n, n_inputs]);
            tokens.push(project.forward(flat).reshape([batch, n, width]));
        }
        if n_visible > 0 {
            let taxa = self
                .taxon
                .clone()
                .select(0, order.clone())
                .slice([0..n_visible, 0..width]);
            let here = |x: &Tensor<3>, n: usize| x.clone().slice([0..batch, 0..n_visible, 0..n]);
            let clean = vec![
                clean,
                here(&is_filled, 1),
                here(&flags, N_FLAGS),
                here(&guess, N_GUESS),
            ];
            let clean = Tensor::cat(clean, 2); // [batch, v, d + 1 + 4 + 2]
            tokens.push(self.clean.forward(clean) + taxa.unsqueeze());
        }
        let mut x = Tensor::cat(tokens, 1); // [batch, c + v, width]
        let modulations: Vec<BlockModulation> = self
            .blocks
            .iter()
            .map(|b| b.modulation(vector.clone()))
            .collect();
        let mut prefix = Vec::with_capacity(self.blocks.len());
        for (i, (block, modulation)) in self.blocks.iter().zip(&modulations).enumerate() {
            let (h, own) = block.attending(&x, modulation);
            if i + 1 < self.blocks.len() {
                let mask = self.mask(i, &masks.prefix);
                x = block.forward(x, &h, &own, &mask, modulation);
            }
            prefix.push(own);
        }
        Context {
            prefix,
            modulations,
            last_modulation: self.last_modulation.forward(vector),
            observed: reorder(&known.observed),
            flags,
            guess,
            is_filled,
        }
    }

    /// Predicts the target of noisy tokens.
    ///
    /// - `maps`: if given, gets the attention weights of each block, `[batch, heads, n, keys]`
    /// - returns `[batch, n, d_latent]`
    pub fn denoise(
        &self,
        noisy: Noisy,
        order: &Tensor<1, Int>,
        context: &Context,
        masks: &StreamMasks,
        mut maps: Option<&mut Vec<Tensor<4>>>,
    ) -> Tensor<3> {
        let Noisy {
            values,
            time,
            step_sizes,
            tokens,
        } = noisy;
        let [batch, _, d] = values.dims();
        let width = self.config.width;
        let observed = context
            .observed
            .clone()
            .slice([0..batch, tokens.clone(), 0..d]);
        let flags = context
            .flags
            .clone()
            .slice([0..batch, tokens.clone(), 0..N_FLAGS]);
        let guess = context
            .guess
            .clone()
            .slice([0..batch, tokens.clone(), 0..N_GUESS]);
        let is_filled = context
            .is_filled
            .clone()
            .slice([0..batch, tokens.clone(), 0..1]);
        let taxa = self
            .taxon
            .clone()
            .select(0, order.clone())
            .slice([tokens, 0..width])
            .unsqueeze();
        let mut x = self.noisy.forward(Tensor::cat(
            vec![values, is_filled, observed, flags, guess],
            2,
        )) + taxa
            + self.time_of_tokens(time, &step_sizes);
        for (i, (block, modulation)) in self.blocks.iter().zip(&context.modulations).enumerate() {
            let mask = self.mask(i, &masks.noisy);
            let (h, own) = block.attending(&x, modulation);
            let seen = context.prefix[i].followed_by(&own);
            if let Some(maps) = &mut maps {
                maps.push(block.attention_weights(&h, &seen, &mask));
            }
            x = block.forward(x, &h, &seen, &mask, modulation);
        }
        let [shift, scale] = chunks(&context.last_modulation);
        self.last.forward(modulate(x, &Modulation { shift, scale }))
    }

    /// The mask of block `i` with its biases.
    fn mask(&self, i: usize, blocked: &Blocked) -> AttentionMask {
        AttentionMask {
            blocked: blocked.clone(),
            bias: self.dependency_bias.get(i).cloned(),
        }
    }

    /// The embedding of the timestep, the same for all tokens of a step, `[batch or 1, tokens, width]`.
    fn time_of_tokens(&self, features: Tensor<3>, step_sizes: &[usize]) -> Tensor<3> {
        let [batch, _, _] = features.dims();
        let width = self.config.width;
        let time = self.time.forward(features); // [batch or 1, steps, width]
        let of_step = |(step, size): (usize, &usize)| {
            let time = time.clone().slice([0..batch, step..step + 1, 0..width]);
            time.expand([batch, *size, width])
        };
        Tensor::cat(step_sizes.iter().enumerate().map(of_step).collect(), 1)
    }
}

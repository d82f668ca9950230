//! The autoencoder of samples: one latent vector per sample, and a decoder in two parts that says of every taxon
//! how likely it is present and how abundant it is where it is.
//!
//! ```text
//! presence - prevalence, score where present, both pooled over the tree, depth -> encoder -> mean, log variance
//! latent, depth -> decoder -> log-odds of presence = logit(prevalence) + f_j
//!                          -> mean, log sd of the score
//! f_j = W_j h + t_j . V h        t_j: the taxon's place in hyperbolic space
//! ```

use super::config::VaeConfig;
use super::hard_sparsity::{gates, hard_sparsity_loss};
use super::hyperbolic::HyperbolicEmbedding;
use crate::nn::{Dropout, Linear};
use crate::parameters::{Builder, tensor};
use burn::tensor::activation::{silu, softplus};
use burn::tensor::{Device, Tensor};
use ndarray::Array2;

/// What the decoder says of a taxon: log-odds of presence, mean and log standard deviation of its score.
const N_HEADS: usize = 3;
/// Numbers per taxon that the encoder sees.
const N_CHANNELS: usize = 2;
/// Log standard deviation of a score, which is standardised: bounds against a taxon seen once or twice.
const LOG_SD: (f32, f32) = (-2.5, 1.0);
/// Log variance of a latent.
const LOG_VARIANCE: (f32, f32) = (-8.0, 4.0);

/// What is fixed of the taxa.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Taxa {
    /// Share of the samples that have the taxon, smoothed away from 0 and 1.
    pub(super) prevalence: Vec<f64>,
    /// Places of the taxa in hyperbolic space, `[n_taxa, d_taxon]`, each axis of variance 1.
    pub(super) places: Option<Array2<f32>>,
}

impl Taxa {
    /// - `prevalence`: smoothed
    pub(super) fn new(prevalence: Vec<f64>, embedding: Option<&HyperbolicEmbedding>) -> Taxa {
        Taxa {
            prevalence,
            places: embedding.map(|found| unit_variance(&found.tangent)),
        }
    }

    /// `ln(p / (1 - p))` per taxon.
    pub(super) fn prevalence_logit(&self) -> Vec<f64> {
        let logit = |p: &f64| (p / (1.0 - p)).ln();
        self.prevalence.iter().map(logit).collect()
    }
}

/// Samples as the autoencoder sees them.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    /// 1 where present, `[batch, n_taxa]`.
    pub(super) presence: Tensor<2>,
    /// Normal score of the relative abundance where present, else 0, `[batch, n_taxa]`.
    pub(super) score: Tensor<2>,
    /// Normal score of the number of reads, `[batch, 1]`.
    pub(super) depth: Tensor<2>,
}

/// What the decoder says, each `[batch, n_taxa]`.
#[derive(Debug, Clone)]
pub(super) struct Decoded {
    pub(super) presence_logit: Tensor<2>,
    pub(super) mean: Tensor<2>,
    pub(super) log_sd: Tensor<2>,
}

/// Random numbers of a training step.
#[derive(Debug)]
pub(super) struct Noise<'a> {
    /// N(0, 1), `[batch, d_latent]`.
    pub(super) latent: Tensor<2>,
    /// Logistic, `[batch, n_taxa]`.
    pub(super) gates: Tensor<2>,
    /// While training: hidden units, and taxa of the input, left out.
    pub(super) dropout: Option<(Dropout<'a>, Tensor<2>)>,
}

/// Encoder and decoder.
#[derive(Debug, Clone)]
pub(super) struct Vae {
    encoder: [Linear; 3],
    decoder: [Linear; 2],
    heads: Linear,
    /// Toward the places of the taxa; none without them.
    toward: Option<(Linear, Tensor<2>)>,
    prevalence: Tensor<2>,
    bias: Tensor<2>,
    d_latent: usize,
    n_taxa: usize,
    config: VaeConfig,
}

impl Vae {
    /// Binds encoder and decoder. The decoder starts by saying the prevalence of every taxon.
    pub(super) fn new(p: &mut Builder, config: &VaeConfig, taxa: &Taxa) -> Self {
        let device = p.device().clone();
        let n_taxa = taxa.prevalence.len();
        let row = |values: Vec<f64>| {
            let values = values.iter().map(|value| *value as f32).collect();
            tensor::<2>(values, [1, n_taxa], &device)
        };
        let bias = match config.bias_initialisation {
            true => taxa.prevalence_logit(),
            false => vec![0.0; n_taxa],
        };
        let d_taxon = taxa.places.as_ref().map_or(0, |places| places.ncols());
        let n_inputs = N_CHANNELS * (n_taxa + d_taxon) + 1;
        let (outer, inner, d) = (config.width, config.inner_width, config.d_latent);
        Vae {
            encoder: p.within("encoder", |p| {
                [
                    Linear::new(p, "first", n_inputs, outer),
                    Linear::new(p, "second", outer, inner),
                    Linear::new(p, "last", inner, 2 * d),
                ]
            }),
            decoder: p.within("decoder", |p| {
                [
                    Linear::new(p, "first", d + 1, inner),
                    Linear::new(p, "second", inner, outer),
                ]
            }),
            heads: Linear::zero(p, "heads", outer, N_HEADS * n_taxa),
            toward: taxa.places.as_ref().map(|places| {
                let values = places.iter().copied().collect();
                let places = tensor::<2>(values, [n_taxa, d_taxon], &device);
                (Linear::zero(p, "toward", outer, N_HEADS * d_taxon), places)
            }),
            prevalence: row(taxa.prevalence.clone()),
            bias: row(bias),
            d_latent: d,
            n_taxa,
            config: *config,
        }
    }

    /// Mean and log variance of the latent, `[batch, d_latent]` each.
    pub(super) fn encode(&self, batch: &Batch) -> (Tensor<2>, Tensor<2>) {
        self.encode_thinned(batch, &mut None)
    }

    fn encode_thinned(
        &self,
        batch: &Batch,
        dropout: &mut Option<(Dropout, Tensor<2>)>,
    ) -> (Tensor<2>, Tensor<2>) {
        let [n, _] = batch.presence.dims();
        let mut channels = [
            batch.presence.clone() - self.prevalence.clone(),
            batch.score.clone(),
        ];
        if let Some((_, kept)) = dropout {
            channels = channels.map(|channel| channel * kept.clone());
        }
        let mut inputs = channels.to_vec();
        if let Some((_, places)) = &self.toward {
            // The root keeps the pooled sums at the scale of single taxa.
            let scale = 1.0 / (self.n_taxa as f64).sqrt();
            let pooled = channels.map(|channel| channel.matmul(places.clone()).mul_scalar(scale));
            inputs.extend(pooled);
        }
        inputs.push(batch.depth.clone());
        let mut h = Tensor::cat(inputs, 1); // [batch, 2 (n_taxa + d_taxon) + 1]
        for layer in &self.encoder[..2] {
            h = thinned(silu(layer.forward(h)), dropout);
        }
        let both = self.encoder[2].forward(h);
        let d = self.d_latent;
        let mean = both.clone().slice([0..n, 0..d]);
        let log_variance = both.slice([0..n, d..2 * d]);
        (mean, log_variance.clamp(LOG_VARIANCE.0, LOG_VARIANCE.1))
    }

    /// What the latents mean for every taxon.
    ///
    /// - `latent`: `[batch, d_latent]`; `depth`: `[batch, 1]`
    pub(super) fn decode(&self, latent: Tensor<2>, depth: Tensor<2>) -> Decoded {
        self.decode_thinned(latent, depth, &mut None)
    }

    fn decode_thinned(
        &self,
        latent: Tensor<2>,
        depth: Tensor<2>,
        dropout: &mut Option<(Dropout, Tensor<2>)>,
    ) -> Decoded {
        let [n, _] = latent.dims();
        let mut h = Tensor::cat(vec![latent, depth], 1);
        for layer in &self.decoder {
            h = thinned(silu(layer.forward(h)), dropout);
        }
        let free = self.heads.forward(h.clone()); // [batch, 3 n_taxa]
        let toward = self.toward.as_ref().map(|(toward, places)| {
            let d_taxon = places.dims()[1];
            let direction = toward.forward(h).reshape([n * N_HEADS, d_taxon]);
            let along = direction.matmul(places.clone().transpose());
            along.reshape([n, N_HEADS * self.n_taxa])
        });
        let all = toward.map_or(free.clone(), |toward| free + toward);
        let head = |k: usize| {
            all.clone()
                .slice([0..n, k * self.n_taxa..(k + 1) * self.n_taxa])
        };
        Decoded {
            presence_logit: head(0) + self.bias.clone(),
            mean: head(1),
            log_sd: head(2).clamp(LOG_SD.0, LOG_SD.1),
        }
    }

    /// Evidence bound and hard sparsity, per taxon.
    ///
    /// `cross-entropy of presence + ln sd + (score - mean)^2 / 2 sd^2 where present + kl_weight KL`, summed over
    /// taxa and latents and divided by the number of taxa; plus the [hard sparsity](super::hard_sparsity).
    pub(super) fn loss(
        &self,
        batch: &Batch,
        mut noise: Noise,
        is_training: IsTraining,
    ) -> Tensor<1> {
        let (mean, log_variance) = self.encode_thinned(batch, &mut noise.dropout);
        let latent = mean.clone() + log_variance.clone().mul_scalar(0.5).exp() * noise.latent;
        let decoded = self.decode_thinned(latent, batch.depth.clone(), &mut noise.dropout);
        let logit = decoded.presence_logit;
        let presence = batch.presence.clone();
        let cross_entropy = softplus(logit.clone(), 1.0) - presence.clone() * logit.clone();
        let error = (batch.score.clone() - decoded.mean) * decoded.log_sd.clone().neg().exp();
        let of_score =
            presence.clone() * (decoded.log_sd + (error.clone() * error).mul_scalar(0.5));
        let kl = (mean.clone() * mean + log_variance.clone().exp() - log_variance - 1.0)
            .mul_scalar(0.5)
            .sum_dim(1)
            .mean();
        let kl_weight = match is_training {
            IsTraining::Yes => self.config.kl_weight,
            IsTraining::No => 1.0, // the evidence bound itself
        };
        let bound = (cross_entropy + of_score).sum_dim(1).mean() + kl.mul_scalar(kl_weight);
        let bound = bound / self.n_taxa as f64;
        let weight = self.config.hard_sparsity_weight;
        match is_training {
            IsTraining::Yes if weight > 0.0 => {
                let drawn = gates(logit, noise.gates);
                bound + hard_sparsity_loss(drawn, presence).mul_scalar(weight)
            }
            _ => bound,
        }
    }

    /// Which taxa of the encoder's input are kept, `[batch, n_taxa]`, divided by the share kept.
    pub(super) fn kept_taxa(&self, n: usize, dropout: &mut Dropout, device: &Device) -> Tensor<2> {
        dropout.apply(Tensor::ones([n, self.n_taxa], device))
    }
}

/// Places scaled as a whole, so that the mean square of a coordinate is 1.
fn unit_variance(places: &Array2<f32>) -> Array2<f32> {
    let square = places.iter().map(|x| x * x).sum::<f32>() / places.len().max(1) as f32;
    match square > 0.0 {
        true => places / square.sqrt(),
        false => places.clone(),
    }
}

/// What a loss is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IsTraining {
    /// To be minimised.
    Yes,
    /// To tell how well new samples are described.
    No,
}

fn thinned(h: Tensor<2>, dropout: &mut Option<(Dropout, Tensor<2>)>) -> Tensor<2> {
    match dropout {
        Some((dropout, _)) => dropout.apply(h),
        None => h,
    }
}

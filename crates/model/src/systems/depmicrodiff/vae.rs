//! The autoencoder that turns each taxon of a sample into a latent token of its own.
//!
//! Encoder and decoder act on one taxon at a time, with weights shared by all taxa and an embedding
//! that tells them apart. So the latent keeps the taxon axis, `Dep` has a meaning on it, and the
//! latent of an observed taxon does not change when another one is hidden: Eq. 2 cannot leak.

use super::config::VaeConfig;
use crate::nn::Mlp;
use crate::nn::mlp::MlpShape;
use crate::parameters::{Builder, Initial};
use burn::tensor::Tensor;
use burn::tensor::activation::{sigmoid, softplus};

/// Channels of an entry: presence (0 or 1), and the standardised abundance where present.
pub const N_CHANNELS: usize = 2;

/// Encoder and decoder.
#[derive(Debug, Clone)]
pub struct Vae {
    taxon: Tensor<2>,
    encoder: Mlp,
    decoder: Mlp,
    d_latent: usize,
}

/// What the decoder says of every entry.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// Log-odds of presence, `[batch, n_taxa]`.
    pub presence_logit: Tensor<2>,
    /// Abundance given presence, standardised ln(1+percent), `[batch, n_taxa]`.
    pub abundance: Tensor<2>,
}

impl Vae {
    /// Binds encoder and decoder of `n_taxa` taxa.
    pub fn new(p: &mut Builder, config: &VaeConfig, n_taxa: usize) -> Self {
        Vae {
            taxon: p.matrix("taxon", [n_taxa, config.d_taxon], Initial::Spread(1.0)),
            encoder: Mlp::new(
                p,
                "encoder",
                MlpShape {
                    n_inputs: N_CHANNELS + config.d_taxon,
                    n_hidden: config.width,
                    n_outputs: 2 * config.d_latent,
                },
            ),
            decoder: Mlp::new(
                p,
                "decoder",
                MlpShape {
                    n_inputs: config.d_latent + config.d_taxon,
                    n_hidden: config.width,
                    n_outputs: N_CHANNELS,
                },
            ),
            d_latent: config.d_latent,
        }
    }

    /// Mean and log-variance of the latent tokens.
    ///
    /// - `entries`: `[batch, n_taxa, 2]`, presence and standardised abundance
    /// - returns two tensors `[batch, n_taxa, d_latent]`
    pub fn encode(&self, entries: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
        let [batch, n_taxa, _] = entries.dims();
        let both = self
            .encoder
            .forward(Tensor::cat(vec![entries, self.taxa(batch)], 2));
        let mean = both.clone().slice([0..batch, 0..n_taxa, 0..self.d_latent]);
        let log_variance = both.slice([0..batch, 0..n_taxa, self.d_latent..2 * self.d_latent]);
        (mean, log_variance)
    }

    /// Presence and abundance from latent tokens.
    ///
    /// - `latent`: `[batch, n_taxa, d_latent]`
    pub fn decode(&self, latent: Tensor<3>) -> Decoded {
        let [batch, n_taxa, _] = latent.dims();
        let both = self
            .decoder
            .forward(Tensor::cat(vec![latent, self.taxa(batch)], 2)); // [batch, n_taxa, 2]
        let channel = |k: usize| {
            both.clone()
                .slice([0..batch, 0..n_taxa, k..k + 1])
                .reshape([batch, n_taxa])
        };
        Decoded {
            presence_logit: channel(0),
            abundance: channel(1),
        }
    }

    /// Reconstruction and Kullback-Leibler terms, per known entry (Eq. 6-8 in two parts).
    ///
    /// Reconstruction: cross-entropy of presence plus the squared error of the abundance where
    /// present. `KL = -1/2 sum(1 + log sigma^2 - mu^2 - sigma^2)`.
    ///
    /// - `entries`: `[batch, n_taxa, 2]`; `is_known`: `[batch, n_taxa]`, 1 where the truth is known
    /// - `noise`: `[batch, n_taxa, d_latent]`, N(0, 1)
    pub fn loss(
        &self,
        entries: Tensor<3>,
        is_known: Tensor<2>,
        noise: Tensor<3>,
        kl_weight: f64,
    ) -> Tensor<1> {
        let [batch, n_taxa, _] = entries.dims();
        let channel = |k: usize| {
            entries
                .clone()
                .slice([0..batch, 0..n_taxa, k..k + 1])
                .reshape([batch, n_taxa])
        };
        let (presence, abundance) = (channel(0), channel(1));
        let (mean, log_variance) = self.encode(entries.clone());
        let latent = mean.clone() + log_variance.clone().mul_scalar(0.5).exp() * noise; // Eq. 5
        let decoded = self.decode(latent);
        let cross_entropy = softplus(decoded.presence_logit.clone(), 1.0)
            - presence.clone() * decoded.presence_logit;
        let error = decoded.abundance - abundance;
        let squared = presence * error.clone() * error;
        let kl = (mean.clone() * mean + log_variance.clone().exp() - log_variance - 1.0)
            .sum_dim(2)
            .mul_scalar(0.5);
        let kl = kl.reshape([batch, n_taxa]).mul_scalar(kl_weight);
        let n_known = is_known.clone().sum().clamp_min(1.0);
        ((cross_entropy + squared + kl) * is_known).sum() / n_known
    }

    fn taxa(&self, batch: usize) -> Tensor<3> {
        let [n_taxa, d_taxon] = self.taxon.dims();
        self.taxon
            .clone()
            .unsqueeze::<3>()
            .expand([batch, n_taxa, d_taxon])
    }
}

/// Probability of presence from its log-odds.
pub fn presence(decoded: &Decoded) -> Tensor<2> {
    sigmoid(decoded.presence_logit.clone())
}

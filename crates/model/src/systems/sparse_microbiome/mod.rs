//! Generation of microbiome samples with exact zeros: latent diffusion over a decoder in two parts, after The
//! Second Brain (bioRxiv 10.64898/2026.05.07.723523).
//!
//! ```text
//! table -> profile: presence, normal score of ln(share), depth   tree -> hyperbolic: places of the taxa
//!            |                                                              |
//!          vae: presence head (bias: prevalence, hard sparsity loss) + abundance head
//!            |  latents of the samples, whitened with their depth
//!          denoiser: step, depth, conditions -> v
//!            |
//!          residuals: what the decoder leaves over, correlated between taxa
//!            |
//!          sampling: noise -> latent -> gates, scores -> calibration: ln(share) -> closed over present taxa
//! ```

mod calibration;
pub mod config;
mod denoiser;
mod few_factors;
mod fit;
mod hard_sparsity;
pub mod hyperbolic;
mod inpainting;
mod marginal;
mod objective;
mod private;
mod profile;
mod residuals;
mod sampling;
mod stored;
mod vae;
mod whitening;

pub use config::{Config, Latents};
pub use denoiser::Attribute;
pub use fit::{Cohort, FitOptions, fit};
pub use hyperbolic::{HyperbolicEmbedding, TaxonDistances};
pub use inpainting::{Inpainted, Kept};
pub use marginal::Marginal;
pub use private::{Privacy, PrivacyRecord, fit_private};
pub use sampling::{Drawn, SampleOptions, Wanted};
pub use stored::SYSTEM;

use crate::parameters::Parameters;
use calibration::Calibration;
use denoiser::Denoiser;
use profile::Marginals;
use residuals::Correlations;
use vae::Taxa;
use whitening::Whitening;

/// A fitted model: all that `generate` needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    config: Config,
    feature_ids: Vec<String>,
    seed: u64,
    /// Whether the table held whole counts.
    is_whole: bool,
    taxa: Taxa,
    /// Where the taxa stand in hyperbolic space, and how well that tells their distances.
    embedding: Option<HyperbolicEmbedding>,
    marginals: Marginals,
    attributes: Vec<Attribute>,
    /// Where the condition vectors come from; empty where there are none.
    conditions: String,
    whitening: Whitening,
    correlations: Option<Correlations>,
    calibration: Calibration,
    vae: Parameters,
    denoiser: Parameters,
    /// Best validation losses of the autoencoder and of the denoiser.
    losses: [f64; 2],
    /// What it was fitted under, if it was noised.
    privacy: Option<PrivacyRecord>,
    log: String,
}

impl Model {
    /// Settings that it was fitted with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Features in the order of the fitted table.
    pub fn feature_ids(&self) -> &[String] {
        &self.feature_ids
    }

    /// What samples can be conditioned on.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// Where the condition vectors come from; empty when there are none.
    pub fn conditions(&self) -> &str {
        &self.conditions
    }

    /// Numbers of a sample's conditions.
    pub fn n_conditions(&self) -> usize {
        let ends = |attribute: &Attribute| attribute.start + attribute.len;
        self.attributes.iter().map(ends).max().unwrap_or(0)
    }

    /// Whether the fitted table held whole counts: if not, the totals that it draws are no numbers of reads.
    pub fn is_of_counts(&self) -> bool {
        self.is_whole
    }

    /// Where the taxa stand in hyperbolic space; `None` without a tree or taxonomy.
    pub fn embedding(&self) -> Option<&HyperbolicEmbedding> {
        self.embedding.as_ref()
    }

    /// Seed of the fit.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Number of weights of the autoencoder and of the denoiser.
    pub fn n_weights(&self) -> (usize, usize) {
        (self.vae.n_weights(), self.denoiser.n_weights())
    }

    /// Best validation losses of the autoencoder and of the denoiser.
    pub fn validation_losses(&self) -> [f64; 2] {
        self.losses
    }

    /// What the fit guarantees; `None` of one without noise.
    pub fn privacy(&self) -> Option<&PrivacyRecord> {
        self.privacy.as_ref()
    }

    /// Training log, one JSON object per line.
    pub fn log(&self) -> &str {
        &self.log
    }
}

//! Settings of the generator, as they stand in a TOML file.

use crate::error::{Error, Result};
use crate::sample::Sampler;
use crate::settings;
use crate::train::TrainConfig;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// All settings of the system.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Share of the samples that validate, 1000 at most.
    pub validation_fraction: f64,
    /// The autoencoder with its two-part decoder.
    pub vae: VaeConfig,
    /// Places of the taxa in hyperbolic space.
    pub taxa: TaxaConfig,
    /// The denoiser of latents.
    pub denoiser: DenoiserConfig,
    /// What the decoder leaves to chance.
    pub residuals: ResidualConfig,
    /// How a fitted model is sampled.
    pub sampling: SamplingConfig,
}

/// The autoencoder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaeConfig {
    /// Length of a sample's latent.
    pub d_latent: usize,
    /// Width of the layer next to the taxa.
    pub width: usize,
    /// Width of the layer next to the latent.
    pub inner_width: usize,
    /// Weight of the Kullback-Leibler term.
    pub kl_weight: f64,
    /// Share of hidden units left out at a time while training.
    pub dropout: f64,
    /// Share of the taxa left out of the encoder's input while training.
    pub input_dropout: f64,
    /// Log-odds of presence start at those of the prevalence; at 0 without.
    pub bias_initialisation: bool,
    /// Weight of the hard sparsity loss; 0 leaves it out.
    pub hard_sparsity_weight: f64,
    /// How it is trained.
    pub training: TrainConfig,
}

/// Places of the taxa in hyperbolic space.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaxaConfig {
    /// Feeds the places into encoder and decoder; without, the tree is not used.
    pub hyperbolic: bool,
    /// Dimension of the Poincaré ball.
    pub dimension: usize,
}

/// The denoiser.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenoiserConfig {
    /// Width of the hidden layers.
    pub width: usize,
    /// Residual blocks.
    pub depth: usize,
    /// Hidden width of a block over its width.
    pub mlp_ratio: usize,
    /// Diffusion steps `T`.
    pub n_timesteps: usize,
    /// Share of training samples from which all conditions are dropped, and of the others each.
    pub condition_dropout: f64,
    /// How it is trained.
    pub training: TrainConfig,
}

/// What the decoder leaves to chance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResidualConfig {
    /// Residuals of taxa are drawn with their correlations; independently without.
    pub correlated: bool,
    /// Of a wider table they are drawn independently: the correlations take a square matrix.
    pub max_taxa: usize,
}

/// How a fitted model is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingConfig {
    /// The reverse process.
    pub sampler: Sampler,
    /// Where latents come from.
    pub latents: Latents,
    /// Samples from which prevalence and abundance are brought back to those of the table; 0 leaves them.
    pub n_calibration: usize,
}

/// Where the latents of generated samples come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Latents {
    /// The denoiser's reverse process.
    Diffusion,
    /// A Gaussian with the covariance of the latents: the denoiser without its network.
    Gaussian,
    /// The prior of the autoencoder, N(0, I), as in a plain variational autoencoder.
    Prior,
}

const PAPER: &str = include_str!("../../../../../configs/sparse-microbiome-paper.toml");
const PRIVATE: &str = include_str!("../../../../../configs/sparse-microbiome-private.toml");
const SMALL: &str = include_str!("../../../../../configs/sparse-microbiome-small.toml");
const TINY: &str = include_str!("../../../../../configs/sparse-microbiome-tiny.toml");

impl Config {
    /// The default: minutes on two cores.
    pub fn small() -> Self {
        Config::preset("small").expect("the preset is checked by a test")
    }

    /// For tests: seconds.
    pub fn tiny() -> Self {
        Config::preset("tiny").expect("the preset is checked by a test")
    }

    /// A plain variational autoencoder of the same size: independent taxa given a latent from the prior, no tree,
    /// no hard sparsity loss, and prevalences as the decoder leaves them.
    pub fn as_plain_vae(&self) -> Self {
        let mut config = *self;
        config.vae.kl_weight = 1.0;
        config.vae.hard_sparsity_weight = 0.0;
        config.taxa.hyperbolic = false;
        config.residuals.correlated = false;
        config.sampling.latents = Latents::Prior;
        config.sampling.n_calibration = 0;
        config
    }

    /// For fits with differential privacy: the autoencoder alone, with its prior.
    pub fn private() -> Self {
        Config::preset("private").expect("the preset is checked by a test")
    }

    /// A preset by name.
    ///
    /// # Errors
    /// A name other than paper, private, small, tiny.
    pub fn preset(name: &str) -> Result<Self> {
        let text = match name {
            "paper" => PAPER,
            "private" => PRIVATE,
            "small" => SMALL,
            "tiny" => TINY,
            _ => {
                return Err(Error::Config {
                    origin: name.to_string(),
                    problem: "is no preset; the presets are paper, private, small, tiny"
                        .to_string(),
                });
            }
        };
        Config::from_toml(text, &[], &format!("preset {name}"))
    }

    /// Reads a TOML file, all of whose keys must be known and present.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown or missing key, a value out of range.
    pub fn from_file(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::io(path, "read", source))?;
        Config::from_toml(&text, &[], &path.display().to_string())
    }

    /// The same settings with some replaced: `("taxa.hyperbolic", "false")`.
    ///
    /// # Errors
    /// An unknown key, or a value of another type or out of range.
    pub fn with_overrides(&self, overrides: &[(String, String)]) -> Result<Self> {
        Config::from_toml(&self.to_toml(), overrides, "settings")
    }

    /// The settings as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are plain values")
    }

    fn from_toml(text: &str, overrides: &[(String, String)], origin: &str) -> Result<Self> {
        let config: Config = settings::parse(text, overrides, origin)?;
        config.check().map_err(|problem| Error::Config {
            origin: origin.to_string(),
            problem,
        })?;
        Ok(config)
    }

    fn check(&self) -> std::result::Result<(), String> {
        let Config {
            vae, denoiser: net, ..
        } = self;
        let counts = [
            ("vae.d_latent", vae.d_latent),
            ("vae.width", vae.width),
            ("vae.inner_width", vae.inner_width),
            ("taxa.dimension", self.taxa.dimension),
            ("denoiser.width", net.width),
            ("denoiser.depth", net.depth),
            ("denoiser.mlp_ratio", net.mlp_ratio),
            ("denoiser.n_timesteps", net.n_timesteps),
            ("residuals.max_taxa", self.residuals.max_taxa),
        ];
        let limits = [
            ("validation_fraction", self.validation_fraction, 0.0, 0.5),
            ("vae.kl_weight", vae.kl_weight, 0.0, 1e6),
            ("vae.dropout", vae.dropout, 0.0, 0.9),
            ("vae.input_dropout", vae.input_dropout, 0.0, 0.9),
            (
                "vae.hard_sparsity_weight",
                vae.hard_sparsity_weight,
                0.0,
                1e6,
            ),
            (
                "denoiser.condition_dropout",
                net.condition_dropout,
                0.0,
                1.0,
            ),
        ];
        settings::check(&counts, &limits)?;
        if self.sampling.n_calibration > settings::LARGEST {
            return Err(format!(
                "sampling.n_calibration is {}, must lie between 0 and {}",
                self.sampling.n_calibration,
                settings::LARGEST
            ));
        }
        for (name, training) in [("vae", &vae.training), ("denoiser", &net.training)] {
            let key = |key: &str| format!("{name}.training.{key}");
            let names = ["n_steps", "batch_size", "validate_every", "patience"].map(key);
            let values = [
                training.n_steps,
                training.batch_size,
                training.validate_every,
                training.patience,
            ];
            let counts: Vec<(&str, usize)> = names.iter().map(String::as_str).zip(values).collect();
            let names = ["learning_rate", "ema_decay"].map(key);
            let values = [training.learning_rate, training.ema_decay];
            let limits: Vec<(&str, f64, f64, f64)> = names
                .iter()
                .zip(values)
                .map(|(name, value)| (name.as_str(), value, 0.0, 1.0))
                .collect();
            settings::check(&counts, &limits)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_parse_and_survive_a_round_trip() {
        for name in ["paper", "private", "small", "tiny"] {
            let config = Config::preset(name).unwrap();
            let back = Config::from_toml(&config.to_toml(), &[], "round trip").unwrap();
            assert_eq!(back, config);
        }
    }

    #[test]
    fn bad_settings_are_refused_with_their_name() {
        for (key, value) in [
            ("vae.dropout", "1.0"),
            ("vae.widht", "3"),
            ("vae.training.batch_size", "0"),
            ("denoiser.training.learning_rate", "nan"),
            ("sampling.sampler", "euler"),
        ] {
            let overrides = [(key.to_string(), value.to_string())];
            let error = Config::tiny().with_overrides(&overrides).unwrap_err();
            let last = key.rsplit('.').next().unwrap_or(key);
            let text = error.to_string();
            assert!(text.contains(last) || text.contains("sampler"), "{text}");
        }
    }
}

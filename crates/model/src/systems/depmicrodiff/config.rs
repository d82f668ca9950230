//! Settings of DepMicroDiff, as they stand in a TOML file.

use super::mask::DependencyMask;
use crate::error::{Error, Result};
use crate::noise::target::Prediction;
use crate::sample::Sampler;
use crate::settings::{self, LARGEST};
use crate::train::TrainConfig;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// All settings of the system.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The autoencoder that makes one latent token per taxon.
    pub vae: VaeConfig,
    /// The ensemble whose estimate the diffusion starts from.
    pub guide: GuideConfig,
    /// The Dependency-Aware Transformer.
    pub dat: DatConfig,
    /// How the dependency matrix is estimated.
    pub dependencies: DependencyConfig,
    /// What is hidden from the network while it trains.
    pub hiding: HidingConfig,
    /// How draws are calibrated.
    pub calibration: CalibrationConfig,
    /// How a fitted model is sampled.
    pub sampling: SamplingConfig,
}

/// The autoencoder (DepMicroDiff paper, Eq. 5-8).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaeConfig {
    /// Length of a taxon's latent token, `d`.
    pub d_latent: usize,
    /// Width of the taxon embedding.
    pub d_taxon: usize,
    /// Width of the hidden layers.
    pub width: usize,
    /// Weight of the Kullback-Leibler term; 1 in the paper.
    pub kl_weight: f64,
    /// How it is trained.
    pub training: TrainConfig,
}

/// The ensemble of residual perceptrons that the diffusion starts from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuideConfig {
    /// Members; 0 leaves the guide out, as in the paper.
    pub n_members: usize,
    /// Width of the hidden layers.
    pub width: usize,
    /// Residual blocks.
    pub depth: usize,
    /// Share of hidden units left out at a time while training.
    pub dropout: f64,
    /// How it is trained; a batch is that of one member.
    pub training: TrainConfig,
}

/// The denoiser.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatConfig {
    /// Width of a token.
    pub width: usize,
    /// Number of transformer blocks.
    pub depth: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// Hidden width of the perceptrons over `width`.
    pub mlp_ratio: usize,
    /// Condition tokens that carry the observed part of the profile.
    pub n_profile_tokens: usize,
    /// Hidden width of the map from the observed profile to its tokens.
    pub profile_width: usize,
    /// What the network predicts.
    pub prediction: Prediction,
    /// How `Dep` enters the attention mask.
    pub dependency_mask: DependencyMask,
    /// Exponential decay `alpha` of the number of autoregressive steps (Algorithm 1).
    pub ar_decay: f64,
    /// Diffusion steps `T`.
    pub n_timesteps: usize,
    /// Share of training samples whose metadata are replaced by the learned null.
    pub metadata_dropout: f64,
    /// Share of the samples that validate, 1000 at most.
    pub validation_fraction: f64,
    /// Parts into which a step is cut for threads; part of the definition of the result.
    pub n_shards: usize,
    /// Tokens (samples x taxa) of a training batch, at most: a wide table takes fewer samples a step
    /// than `training.batch_size`.
    pub max_batch_tokens: usize,
    /// Taxa that may attend to each other, at most: in wider tables the taxa fall into groups by their
    /// dependencies, and the cost grows with the number of taxa instead of its square.
    #[serde(default = "no_groups")]
    pub group_size: usize,
    /// How it is trained.
    pub training: TrainConfig,
    /// How it is pre-trained on other cohorts; 0 steps leave it to the autoencoder alone.
    pub n_pretraining_steps: usize,
}

/// The dependency matrix `Dep = C_dir OR C_mi`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DependencyConfig {
    /// False-discovery rate.
    pub false_discovery_rate: f64,
    /// Permutations of the test of mutual information; 0 takes the G-test.
    pub n_permutations: usize,
    /// Smallest mutual information of a dependent pair, in nats.
    pub min_mutual_information: f64,
    /// Share of the non-zero entries hidden to make the input `x` of the nested F-test.
    pub hide_fraction: f64,
    /// Most samples that it is estimated from; of more, this many are drawn.
    #[serde(default = "default_max_samples")]
    pub max_samples: usize,
}

/// For models that were stored before there was the setting.
fn no_groups() -> usize {
    LARGEST
}

/// For models that were stored before there was the setting.
fn default_max_samples() -> usize {
    5000
}

/// What is hidden from a training sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HidingConfig {
    /// Smallest share of entries hidden.
    pub least: f64,
    /// Largest share of entries hidden.
    pub most: f64,
    /// Share of samples in which only non-zeros are hidden and flagged as present.
    pub known_present: f64,
}

/// Calibration on the validation samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationConfig {
    /// Hidden copies of each validation sample; 0 leaves draws and intervals as they are.
    pub n_copies: usize,
}

/// Settings of sampling that the command line can change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingConfig {
    /// The reverse process.
    pub sampler: Sampler,
    /// Draws per sample.
    pub n_draws: usize,
    /// Number of autoregressive steps, equal in size.
    pub n_ar_steps: usize,
    /// Order in which the tokens are denoised.
    pub token_order: TokenOrder,
}

/// Order of the tokens at sampling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenOrder {
    /// Taxa on which most others depend come first.
    Upstream,
    /// A permutation drawn from the seed.
    Shuffled,
    /// The order of the table.
    Table,
}

/// A decay at which practically every draw of Algorithm 1 has one step.
const SINGLE_STEP: f64 = 1e-6;

const PAPER: &str = include_str!("../../../../../configs/depmicrodiff-paper.toml");
const SMALL: &str = include_str!("../../../../../configs/depmicrodiff-small.toml");
const TINY: &str = include_str!("../../../../../configs/depmicrodiff-tiny.toml");

impl Config {
    /// The model of the paper, as far as it is specified.
    pub fn paper() -> Self {
        Config::preset("paper").expect("the preset is checked by a test")
    }

    /// The default: minutes on two cores.
    pub fn small() -> Self {
        Config::preset("small").expect("the preset is checked by a test")
    }

    /// For tests: seconds.
    pub fn tiny() -> Self {
        Config::preset("tiny").expect("the preset is checked by a test")
    }

    /// mbVDiT (Shi, Zhu & Min 2024) as far as it can be had by settings: the same latent diffusion without what
    /// makes the transformer dependency-aware, that is one step for all tokens and attention between all
    /// taxa alike, and without the guide.
    pub fn as_mbvdit(&self) -> Self {
        let mut config = *self;
        config.guide.n_members = 0;
        config.dat.dependency_mask = DependencyMask::None;
        config.dat.ar_decay = SINGLE_STEP;
        config.sampling.n_ar_steps = 1;
        config
    }

    /// A preset by name.
    ///
    /// # Errors
    /// A name other than paper, small, tiny, mbvdit.
    pub fn preset(name: &str) -> Result<Self> {
        if name == "mbvdit" {
            return Ok(Config::small().as_mbvdit());
        }
        let text = match name {
            "paper" => PAPER,
            "small" => SMALL,
            "tiny" => TINY,
            _ => {
                return Err(Error::Config {
                    origin: name.to_string(),
                    problem: "is no preset; the presets are paper, small, tiny, mbvdit".to_string(),
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

    /// The same settings with some replaced: `("dat.dependency_mask", "restrict")`.
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
        let at_least_one = [
            ("vae.d_latent", self.vae.d_latent),
            ("vae.d_taxon", self.vae.d_taxon),
            ("vae.width", self.vae.width),
            ("guide.width", self.guide.width),
            ("guide.training.batch_size", self.guide.training.batch_size),
            (
                "guide.training.validate_every",
                self.guide.training.validate_every,
            ),
            ("guide.training.n_steps", self.guide.training.n_steps),
            ("guide.training.patience", self.guide.training.patience),
            ("dat.width", self.dat.width),
            ("dat.depth", self.dat.depth),
            ("dat.n_heads", self.dat.n_heads),
            ("dat.mlp_ratio", self.dat.mlp_ratio),
            ("dat.n_profile_tokens", self.dat.n_profile_tokens),
            ("dat.profile_width", self.dat.profile_width),
            ("dat.n_timesteps", self.dat.n_timesteps),
            ("dat.n_shards", self.dat.n_shards),
            ("dat.max_batch_tokens", self.dat.max_batch_tokens),
            ("dat.group_size", self.dat.group_size),
            ("dat.training.batch_size", self.dat.training.batch_size),
            ("dependencies.max_samples", self.dependencies.max_samples),
            (
                "dat.training.validate_every",
                self.dat.training.validate_every,
            ),
            ("vae.training.batch_size", self.vae.training.batch_size),
            (
                "vae.training.validate_every",
                self.vae.training.validate_every,
            ),
            ("sampling.n_draws", self.sampling.n_draws),
            ("sampling.n_ar_steps", self.sampling.n_ar_steps),
            ("vae.training.n_steps", self.vae.training.n_steps),
            ("vae.training.patience", self.vae.training.patience),
            ("dat.training.n_steps", self.dat.training.n_steps),
            ("dat.training.patience", self.dat.training.patience),
        ];
        let limits = [
            ("dat.ar_decay", self.dat.ar_decay, SINGLE_STEP, 1.0),
            ("dat.metadata_dropout", self.dat.metadata_dropout, 0.0, 1.0),
            (
                "dat.validation_fraction",
                self.dat.validation_fraction,
                0.0,
                0.5,
            ),
            ("hiding.least", self.hiding.least, 0.0, 1.0),
            ("hiding.most", self.hiding.most, self.hiding.least, 1.0),
            (
                "hiding.known_present",
                self.hiding.known_present,
                0.01,
                0.99,
            ),
            (
                "dependencies.false_discovery_rate",
                self.dependencies.false_discovery_rate,
                0.0,
                1.0,
            ),
            (
                "dependencies.hide_fraction",
                self.dependencies.hide_fraction,
                0.0,
                0.9,
            ),
            ("vae.kl_weight", self.vae.kl_weight, 0.0, f64::MAX),
            (
                "dat.training.learning_rate",
                self.dat.training.learning_rate,
                0.0,
                1.0,
            ),
            (
                "vae.training.learning_rate",
                self.vae.training.learning_rate,
                0.0,
                1.0,
            ),
            (
                "guide.training.learning_rate",
                self.guide.training.learning_rate,
                0.0,
                1.0,
            ),
            (
                "guide.training.ema_decay",
                self.guide.training.ema_decay,
                0.0,
                1.0,
            ),
            ("guide.dropout", self.guide.dropout, 0.0, 0.9),
            ("guide.n_members", self.guide.n_members as f64, 0.0, 64.0),
            ("guide.depth", self.guide.depth as f64, 0.0, 64.0),
            (
                "dat.training.ema_decay",
                self.dat.training.ema_decay,
                0.0,
                1.0,
            ),
            (
                "vae.training.ema_decay",
                self.vae.training.ema_decay,
                0.0,
                1.0,
            ),
        ];
        settings::check(&at_least_one, &limits)?;
        if !self.dat.width.is_multiple_of(2 * self.dat.n_heads) {
            return Err(format!(
                "dat.width is {}, must be a multiple of twice dat.n_heads ({})",
                self.dat.width, self.dat.n_heads
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: &str, value: &str) -> Result<Config> {
        Config::tiny().with_overrides(&[(key.to_string(), value.to_string())])
    }

    #[test]
    fn presets_parse_and_survive_a_round_trip() {
        for config in [
            Config::paper(),
            Config::small(),
            Config::tiny(),
            Config::small().as_mbvdit(),
        ] {
            assert_eq!(
                Config::from_toml(&config.to_toml(), &[], "round trip").unwrap(),
                config
            );
        }
    }

    #[test]
    fn overrides_change_one_setting_and_unknown_or_bad_ones_are_refused() {
        assert_eq!(set("dat.ar_decay", "0.9").unwrap().dat.ar_decay, 0.9);
        assert_eq!(
            set("dat.dependency_mask", "restrict")
                .unwrap()
                .dat
                .dependency_mask,
            DependencyMask::Restrict
        );
        assert_eq!(
            set("sampling.sampler", "full").unwrap().sampling.sampler,
            Sampler::Full
        );
        for (key, value) in [
            ("dat.widht", "3"),
            ("da.width", "3"),
            ("dat.width", "7"),
            ("dat.width", "wide"),
            ("dat.ar_decay", "1.5"),
            ("dat.ar_decay", "nan"),
            ("sampling.sampler", "fractional:7"),
            ("vae.d_latent", "0"),
        ] {
            let error = set(key, value).unwrap_err().to_string();
            assert!(error.contains("settings"), "{error}");
        }
    }
}

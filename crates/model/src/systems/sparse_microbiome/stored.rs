//! A fitted generator as a folder.

use super::config::Config;
use super::denoiser::{Attribute, Denoiser};
use super::hyperbolic::HyperbolicEmbedding;
use super::profile::Marginals;
use super::residuals::Correlations;
use super::vae::{Taxa, Vae};
use super::whitening::Whitening;
use super::{Calibration, Marginal, Model, PrivacyRecord};
use crate::checkpoint::{self, write_atomically};
use crate::error::{Error, Result};
use crate::parameters::{Absent, Builder, Parameter, Parameters};
use crate::systems::{TRANSFORM, require_system};
use burn::tensor::Device;
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What the folder of a model calls the system.
pub const SYSTEM: &str = "sparse-microbiome";
const WEIGHTS: &str = "ema.safetensors";
/// Raised when the same numbers come to mean other samples: maps of abundance are set for one way of closing shares.
const VERSION: u32 = 2;

/// `transform.json`: everything small that is neither a setting nor a weight.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Transform {
    system: String,
    /// Absent in models of the first version.
    #[serde(default)]
    version: u32,
    seed: u64,
    is_whole: bool,
    prevalence: Vec<f64>,
    embedding: Option<HyperbolicEmbedding>,
    shares: Vec<Marginal>,
    totals: Marginal,
    attributes: Vec<Attribute>,
    conditions: String,
    calibration: Calibration,
    vae_validation: Option<f64>,
    denoiser_validation: Option<f64>,
    privacy: Option<PrivacyRecord>,
}

impl Model {
    /// Writes the model into a folder, which is made if needed: `config.toml`, `ema.safetensors`,
    /// `transform.json`, `features.tsv`, `metrics.jsonl`.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn save(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).map_err(|source| Error::io(folder, "create", source))?;
        let file = |name: &str| folder.join(name);
        let [vae_validation, denoiser_validation] =
            self.losses.map(|loss| loss.is_finite().then_some(loss)); // JSON has no infinity
        let transform = Transform {
            system: SYSTEM.to_string(),
            version: VERSION,
            seed: self.seed,
            is_whole: self.is_whole,
            prevalence: self.taxa.prevalence.clone(),
            embedding: self.embedding.clone(),
            shares: self.marginals.shares.clone(),
            totals: self.marginals.totals.clone(),
            attributes: self.attributes.clone(),
            conditions: self.conditions.clone(),
            calibration: self.calibration.clone(),
            vae_validation,
            denoiser_validation,
            privacy: self.privacy,
        };
        let transform = serde_json::to_string(&transform).expect("plain values become JSON");
        write_atomically(&file(TRANSFORM), transform.as_bytes())?;
        let features = self.feature_ids.join("\n") + "\n";
        write_atomically(&file("features.tsv"), features.as_bytes())?;
        write_atomically(&file("metrics.jsonl"), self.log.as_bytes())?;
        write_atomically(&file("config.toml"), self.config.to_toml().as_bytes())?;
        let mut arrays = Parameters::default();
        let mut put = |path: &str, values: &Array2<f32>| {
            let parameter = Parameter {
                shape: vec![values.nrows(), values.ncols()],
                values: values.iter().copied().collect(),
            };
            arrays.by_path.insert(path.to_string(), parameter);
        };
        let mean = self.whitening.mean.clone().insert_axis(ndarray::Axis(0));
        put("whitening.mean", &mean);
        put("whitening.forward", &self.whitening.forward);
        put("whitening.back", &self.whitening.back);
        if let Some(correlations) = &self.correlations {
            match correlations {
                Correlations::Joint(factor) => put("residuals", factor),
                Correlations::Apart {
                    presence,
                    abundance,
                } => {
                    put("residuals.presence", presence);
                    put("residuals.abundance", abundance);
                }
            }
        }
        let groups = [
            ("vae", &self.vae),
            ("denoiser", &self.denoiser),
            ("arrays", &arrays),
        ];
        checkpoint::save(&file(WEIGHTS), &groups, &BTreeMap::new())
    }

    /// Reads a model that [`Model::save`] wrote.
    ///
    /// # Errors
    /// A file that is missing, broken, or does not fit the others: it is named.
    pub fn load(folder: &Path) -> Result<Model> {
        let file = |name: &str| folder.join(name);
        let text = |name: &str| {
            fs::read_to_string(file(name)).map_err(|source| Error::io(file(name), "read", source))
        };
        let broken = |name: &str, problem: String| Error::Checkpoint {
            path: file(name),
            problem,
        };
        require_system(folder, SYSTEM)?;
        let config = Config::from_file(&file("config.toml"))?;
        let transform: Transform = serde_json::from_str(&text(TRANSFORM)?)
            .map_err(|error| broken(TRANSFORM, error.to_string()))?;
        if transform.version != VERSION {
            let problem =
                "was fitted by another version, which drew samples in another way; fit it again";
            return Err(broken(TRANSFORM, problem.to_string()));
        }
        let feature_ids: Vec<String> = text("features.tsv")?.lines().map(str::to_string).collect();
        let n = feature_ids.len();
        let calibration = &transform.calibration;
        let lengths = [
            transform.prevalence.len(),
            transform.shares.len(),
            calibration.presence_offset.len(),
            calibration.abundance.len(),
            transform
                .embedding
                .as_ref()
                .map_or(n, HyperbolicEmbedding::n_taxa),
        ];
        if lengths != [n; 5] {
            let problem = format!("describes {lengths:?} features, features.tsv has {n}");
            return Err(broken(TRANSFORM, problem));
        }
        let all = || transform.shares.iter().chain([&transform.totals]);
        let is_sound = all().all(Marginal::is_sound) && calibration.is_sound(&transform.shares);
        if !is_sound || transform.totals.is_empty() {
            return Err(broken(
                TRANSFORM,
                "a distribution that does not rise".to_string(),
            ));
        }
        let (mut groups, _) = checkpoint::load(&file(WEIGHTS))?;
        let mut group = |name: &str| {
            groups
                .remove(name)
                .ok_or_else(|| broken(WEIGHTS, format!("the tensors of {name:?} are missing")))
        };
        let (vae, denoiser, arrays) = (group("vae")?, group("denoiser")?, group("arrays")?);
        let matrix = |path: &str, shape: [usize; 2]| -> Result<Array2<f32>> {
            let missing = || broken(WEIGHTS, format!("the array {path:?} is missing"));
            let array = arrays.by_path.get(path).ok_or_else(missing)?;
            if array.shape != shape {
                let found = &array.shape;
                let problem = format!("{path:?} has shape {found:?}, expected {shape:?}");
                return Err(broken(WEIGHTS, problem));
            }
            Ok(Array2::from_shape_vec(shape, array.values.clone()).expect("the shape was checked"))
        };
        let n_latent = config.vae.d_latent + 1;
        let mean: Array1<f32> = matrix("whitening.mean", [1, n_latent])?.row(0).to_owned();
        let whitening = Whitening {
            mean,
            forward: matrix("whitening.forward", [n_latent; 2])?,
            back: matrix("whitening.back", [n_latent; 2])?,
        };
        let has = |path: &str| arrays.by_path.contains_key(path);
        let correlations = if has("residuals") {
            Some(Correlations::Joint(matrix("residuals", [2 * n; 2])?))
        } else if has("residuals.presence") {
            Some(Correlations::Apart {
                presence: matrix("residuals.presence", [n; 2])?,
                abundance: matrix("residuals.abundance", [n; 2])?,
            })
        } else {
            None
        };
        let embedding = transform.embedding;
        let taxa = Taxa::new(transform.prevalence, embedding.as_ref());
        let fits = |group: &str, weights: &Parameters, make: &dyn Fn(&mut Builder)| {
            let mut builder = Builder::new(weights, Absent::Refuse, &Device::flex());
            make(&mut builder);
            let bound = builder.finish();
            bound.map_err(|error| broken(WEIGHTS, format!("{group}: {error}")))
        };
        let attributes = transform.attributes;
        fits("vae", &vae, &|p| drop(Vae::new(p, &config.vae, &taxa)))?;
        fits("denoiser", &denoiser, &|p| {
            drop(Denoiser::new(p, &config.denoiser, n_latent, &attributes));
        })?;
        Ok(Model {
            config,
            feature_ids,
            seed: transform.seed,
            is_whole: transform.is_whole,
            taxa,
            embedding,
            marginals: Marginals {
                shares: transform.shares,
                totals: transform.totals,
            },
            attributes,
            conditions: transform.conditions,
            whitening,
            correlations,
            calibration: transform.calibration,
            vae,
            denoiser,
            losses: [transform.vae_validation, transform.denoiser_validation]
                .map(|loss| loss.unwrap_or(f64::INFINITY)),
            privacy: transform.privacy,
            log: text("metrics.jsonl")?,
        })
    }
}

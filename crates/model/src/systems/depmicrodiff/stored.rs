//! A fitted model as a folder.

use super::Model;
use super::batch::LatentScale;
use super::config::Config;
use super::dat::{Beside, Dat};
use super::entries::Standardisation;
use super::guide::Guide;
use super::held_out::WholeSamples;
use super::level::Level;
use super::log_scale::LogScale;
use super::mask::Dependent;
use super::neighbours::Rhythm;
use super::vae::Vae;
use crate::checkpoint::{self, write_atomically};
use crate::error::{Error, Result};
use crate::parameters::{Absent, Builder, Parameters};
use crate::systems::require_system;
use crate::train::OptimizerState;
use crate::train::fit::Trained;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use suffuse_stats::calibration::Calibration;

/// `transform.json`: everything small that is neither a setting nor a weight.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Transform {
    system: String,
    seed: u64,
    standardisation: Standardisation,
    guide: Option<StoredGuide>,
    /// Weight of what the network expects, against the guide.
    trust: f64,
    calibration: Option<Calibration>,
    /// Of a model that was fitted with subjects and times.
    #[serde(default)]
    rhythm: Option<Rhythm>,
    #[serde(default)]
    whole_samples: Option<WholeSamples>,
    latent_scale: LatentScale,
    /// Positions of the features that each feature depends on.
    dependencies: Vec<Vec<usize>>,
    d_metadata: usize,
    metadata_description: String,
    vae_steps: u64,
    vae_validation: Option<f64>,
    denoiser_steps: u64,
    denoiser_validation: Option<f64>,
}

/// What a guide has beside its weights.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredGuide {
    scale: LogScale,
    level: Level,
    sd: Vec<f64>,
    validation: Option<f64>,
}

/// JSON has no infinity.
fn finite(loss: f64) -> Option<f64> {
    loss.is_finite().then_some(loss)
}

const SYSTEM: &str = "depmicrodiff";

impl Model {
    /// Writes the model into a folder, which is made if needed: `config.toml`,
    /// `ema.safetensors` (used by `impute`), `weights.safetensors`, `optimizer.safetensors`,
    /// `transform.json`, `features.tsv`, `metrics.jsonl`.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn save(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).map_err(|source| Error::io(folder, "create", source))?;
        let texts = BTreeMap::new();
        let file = |name: &str| folder.join(name);
        checkpoint::save(
            &file("weights.safetensors"),
            &[("vae", &self.vae.weights), ("dat", &self.dat.weights)],
            &texts,
        )?;
        let (vae, dat) = (&self.vae.optimizer, &self.dat.optimizer);
        let moments = [
            ("vae-first", &vae.first),
            ("vae-second", &vae.second),
            ("vae-ema", &vae.ema),
            ("dat-first", &dat.first),
            ("dat-second", &dat.second),
            ("dat-ema", &dat.ema),
        ];
        checkpoint::save(&file("optimizer.safetensors"), &moments, &texts)?;
        let n = self.feature_ids.len();
        let transform = Transform {
            system: SYSTEM.to_string(),
            seed: self.seed,
            standardisation: self.standardisation.clone(),
            trust: self.trust,
            calibration: self.calibration,
            rhythm: self.rhythm.clone(),
            whole_samples: self.whole_samples,
            guide: self.guide.as_ref().map(|guide| StoredGuide {
                scale: guide.scale.clone(),
                level: guide.level.clone(),
                sd: guide.sd.clone(),
                validation: finite(guide.loss),
            }),
            latent_scale: self.latent_scale.clone(),
            dependencies: (0..n)
                .map(|i| (0..n).filter(|j| self.dependent.get(i, *j)).collect())
                .collect(),
            d_metadata: self.d_metadata,
            metadata_description: self.metadata_description.clone(),
            vae_steps: vae.n_steps,
            vae_validation: finite(self.vae.best_loss),
            denoiser_steps: dat.n_steps,
            denoiser_validation: finite(self.dat.best_loss),
        };
        let transform = serde_json::to_string_pretty(&transform).expect("plain values become JSON");
        write_atomically(&file("transform.json"), transform.as_bytes())?;
        write_atomically(
            &file("features.tsv"),
            (self.feature_ids.join("\n") + "\n").as_bytes(),
        )?;
        write_atomically(&file("metrics.jsonl"), self.log.as_bytes())?;
        write_atomically(&file("config.toml"), self.config.to_toml().as_bytes())?;
        let mut used = vec![("vae", &self.vae.best), ("dat", &self.dat.best)];
        used.extend(self.guide.as_ref().map(|guide| ("guide", &guide.weights)));
        checkpoint::save(&file("ema.safetensors"), &used, &texts)
    }

    /// Reads a model that [`Model::save`] wrote.
    ///
    /// # Errors
    /// A file that is missing, broken, or does not fit the configuration: it is named.
    pub fn load(folder: &Path) -> Result<Model> {
        let file = |name: &str| folder.join(name);
        let text = |name: &str| {
            fs::read_to_string(file(name)).map_err(|source| Error::io(file(name), "read", source))
        };
        require_system(folder, SYSTEM)?;
        let config = Config::from_file(&file("config.toml"))?;
        let broken = |name: &str, problem: String| Error::Checkpoint {
            path: file(name),
            problem,
        };
        let transform: Transform = serde_json::from_str(&text("transform.json")?)
            .map_err(|error| broken("transform.json", error.to_string()))?;
        let feature_ids: Vec<String> = text("features.tsv")?.lines().map(str::to_string).collect();
        let n = feature_ids.len();
        let Standardisation {
            mean,
            sd,
            least,
            is_measured,
        } = &transform.standardisation;
        let lengths = [
            mean.len(),
            sd.len(),
            least.len(),
            is_measured.len(),
            transform.dependencies.len(),
        ];
        if lengths != [n; 5] {
            return Err(broken(
                "transform.json",
                format!("describes {lengths:?} features, features.tsv has {n}"),
            ));
        }
        let d = config.vae.d_latent;
        if [
            transform.latent_scale.mean.len(),
            transform.latent_scale.sd.len(),
        ] != [d; 2]
        {
            return Err(broken(
                "transform.json",
                format!("the latent scale does not have {d} dimensions"),
            ));
        }
        let mut pairs = vec![false; n * n];
        for (i, dependencies) in transform.dependencies.iter().enumerate() {
            for j in dependencies {
                match pairs.get_mut(i * n + j) {
                    Some(pair) if *j < n => *pair = true,
                    _ => {
                        return Err(broken(
                            "transform.json",
                            format!("feature {i} depends on feature {j} of {n}"),
                        ));
                    }
                }
            }
        }
        let dependent = Dependent::new(n, pairs).in_groups_of(config.dat.group_size);
        let groups = |name: &str| -> Result<BTreeMap<String, Parameters>> {
            Ok(checkpoint::load(&file(name))?.0)
        };
        let mut ema = groups("ema.safetensors")?;
        let guide_weights = ema.remove("guide");
        let mut weights = groups("weights.safetensors")?;
        let mut moments = groups("optimizer.safetensors")?;
        let beside = Beside::new(transform.d_metadata, transform.rhythm.as_ref());
        let check_vae = |p: &mut Builder| drop(Vae::new(p, &config.vae, n));
        let check_dat =
            |p: &mut Builder| drop(Dat::new(p, &config.dat, &config.vae, &dependent, beside));
        let mut take = |part: &str,
                        check: &dyn Fn(&mut Builder),
                        n_steps: u64,
                        best_loss: f64|
         -> Result<Trained> {
            let one = |name: &str,
                       groups: &mut BTreeMap<String, Parameters>,
                       group: &str|
             -> Result<Parameters> {
                let found = groups
                    .remove(group)
                    .ok_or_else(|| broken(name, format!("the tensors of {group:?} are missing")))?;
                let mut builder = Builder::new(&found, Absent::Refuse, &Device::flex());
                check(&mut builder);
                builder
                    .finish()
                    .map_err(|error| broken(name, format!("{group}: {error}")))?;
                Ok(found)
            };
            Ok(Trained {
                best: one("ema.safetensors", &mut ema, part)?,
                weights: one("weights.safetensors", &mut weights, part)?,
                optimizer: OptimizerState {
                    n_steps,
                    first: one(
                        "optimizer.safetensors",
                        &mut moments,
                        &format!("{part}-first"),
                    )?,
                    second: one(
                        "optimizer.safetensors",
                        &mut moments,
                        &format!("{part}-second"),
                    )?,
                    ema: one(
                        "optimizer.safetensors",
                        &mut moments,
                        &format!("{part}-ema"),
                    )?,
                },
                best_loss,
            })
        };
        let guide = match (transform.guide, config.guide.n_members) {
            (None, 0) => None,
            (Some(stored), 1..) => {
                let LogScale {
                    mean,
                    sd,
                    presence_logit,
                    partners,
                } = &stored.scale;
                let is_even =
                    |of: &Vec<usize>| of.len() == partners[0].len() && of.iter().all(|j| *j < n);
                if partners.len() != n || !partners.iter().all(is_even) {
                    return Err(broken(
                        "transform.json",
                        format!("its guide does not name partners for {n} features"),
                    ));
                }
                if !stored.level.is_whole() {
                    return Err(broken(
                        "transform.json",
                        "the level of its guide lacks numbers".to_string(),
                    ));
                }
                let lengths = [mean.len(), sd.len(), presence_logit.len(), stored.sd.len()];
                if lengths != [n; 4] {
                    return Err(broken(
                        "transform.json",
                        format!("its guide describes {lengths:?} features, features.tsv has {n}"),
                    ));
                }
                let weights = guide_weights.ok_or_else(|| {
                    broken(
                        "ema.safetensors",
                        "the tensors of \"guide\" are missing".to_string(),
                    )
                })?;
                let guide = Guide {
                    weights,
                    scale: stored.scale,
                    level: stored.level,
                    sd: stored.sd,
                    loss: stored.validation.unwrap_or(f64::INFINITY),
                };
                let standardisation = &transform.standardisation;
                guide
                    .bind(&config.guide, standardisation, beside, &Device::flex())
                    .map_err(|error| broken("ema.safetensors", format!("guide: {error}")))?;
                Some(guide)
            }
            (_, n_members) => {
                return Err(broken(
                    "transform.json",
                    format!("does not fit the {n_members} members of the guide in config.toml"),
                ));
            }
        };
        Ok(Model {
            guide,
            trust: transform.trust,
            calibration: transform.calibration,
            rhythm: transform.rhythm,
            whole_samples: transform.whole_samples,
            vae: take(
                "vae",
                &check_vae,
                transform.vae_steps,
                transform.vae_validation.unwrap_or(f64::INFINITY),
            )?,
            dat: take(
                "dat",
                &check_dat,
                transform.denoiser_steps,
                transform.denoiser_validation.unwrap_or(f64::INFINITY),
            )?,
            config,
            feature_ids,
            standardisation: transform.standardisation,
            latent_scale: transform.latent_scale,
            dependent,
            d_metadata: transform.d_metadata,
            metadata_description: transform.metadata_description,
            seed: transform.seed,
            log: text("metrics.jsonl")?,
        })
    }
}

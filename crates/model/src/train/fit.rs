//! The training loop: one screen, resumable, the same for every system.

use super::{AdamW, OptimizerState, learning_rate};
use crate::checkpoint;
use crate::device;
use crate::error::{Error, Result};
use crate::parameters::{Absent, Builder, Parameters};
use burn::tensor::{Device, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Settings of one stage of training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Most steps.
    pub n_steps: usize,
    /// Samples per step.
    pub batch_size: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Steps of linear warm-up.
    pub n_warmup: usize,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Largest norm of the gradient.
    pub clip_norm: f64,
    /// Decay of the moving average of the weights.
    pub ema_decay: f64,
    /// Steps between two validations.
    pub validate_every: usize,
    /// Validations without improvement after which training ends.
    pub patience: usize,
}

/// What a caller is told while a model trains or samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Name of the stage, as in "denoiser".
    pub stage: String,
    /// Steps done.
    pub step: usize,
    /// Most steps of the stage.
    pub n_steps: usize,
    /// Loss of the step; `NaN` while sampling.
    pub loss: f64,
    /// Newest validation loss.
    pub validation: Option<f64>,
    /// Seconds since the stage began or was resumed.
    pub seconds: f64,
}

/// One part of a step: its loss per weight of the part, and the samples it was computed on.
pub struct Shard {
    /// `[1]`
    pub loss: Tensor<1>,
    /// Share of the step's loss that this part stands for; the shares add up to 1.
    pub share: f64,
}

/// What is minimised. A step is cut into a fixed number of shards whose gradients are added in
/// order, so that the sum does not depend on the number of threads.
pub trait Objective: Sync {
    /// Number of shards of every step.
    fn n_shards(&self) -> usize;
    /// Loss of one shard of a step, with the network bound by `builder`.
    fn loss(&self, builder: &mut Builder, step: usize, shard: usize) -> Shard;
    /// Loss on held-out entries, always the same with the same noise; `None` if nothing is held out.
    fn validate(&self, parameters: &Parameters, device: &Device) -> Result<Option<f64>>;
    /// Ids of the samples of a step, for messages.
    fn samples(&self, step: usize) -> Vec<String>;
}

/// State of training that survives a kill.
#[derive(Debug, Clone, PartialEq)]
struct StageState {
    step: usize,
    weights: Parameters,
    optimizer: OptimizerState,
    best: Parameters,
    best_loss: f64,
    n_stale: usize,
    log: String,
}

/// Runs stages one after the other and keeps their state in a checkpoint folder.
pub struct Stages<'a> {
    /// Folder for the state; `None` keeps nothing.
    pub folder: Option<PathBuf>,
    /// Digest of everything that determines the result; a state of another digest is refused.
    pub fingerprint: String,
    /// Where the networks compute.
    pub device: Device,
    /// Seconds between two writes of the state; changes nothing but what a kill costs.
    pub save_every_s: f64,
    /// Told after each step.
    pub progress: &'a mut dyn FnMut(&Progress),
    /// Set when the user wants to stop.
    pub interrupted: &'a AtomicBool,
    /// Log lines of the finished stages.
    pub log: String,
}

/// Removes the training state of all stages from a folder, so that the next fit starts anew.
///
/// # Errors
/// A folder that cannot be read, a file that cannot be removed.
pub fn forget(folder: &Path) -> Result<()> {
    let entries = std::fs::read_dir(folder).map_err(|source| Error::io(folder, "read", source))?;
    for entry in entries {
        let path = entry
            .map_err(|source| Error::io(folder, "read", source))?
            .path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(STATE_PREFIX) && name.ends_with(".safetensors") {
            std::fs::remove_file(&path).map_err(|source| Error::io(&path, "remove", source))?;
        }
    }
    Ok(())
}

/// How the file of a stage's state begins.
const STATE_PREFIX: &str = "training-";

/// Weights at the end of a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// Averaged weights at the best validation: what is used.
    pub best: Parameters,
    /// Raw weights after the last step.
    pub weights: Parameters,
    /// Moments and average after the last step.
    pub optimizer: OptimizerState,
    /// Best validation loss; infinite if nothing was held out.
    pub best_loss: f64,
}

impl Stages<'_> {
    /// Trains from `initial` weights until the steps or the patience end, or goes on where a killed
    /// run stopped.
    ///
    /// # Errors
    /// A loss that is not finite, an interruption, or a state that cannot be read or written.
    pub fn run(
        &mut self,
        name: &str,
        config: &TrainConfig,
        initial: Parameters,
        objective: &dyn Objective,
    ) -> Result<Trained> {
        let adamw = AdamW {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            weight_decay: config.weight_decay,
            clip_norm: config.clip_norm,
            ema_decay: config.ema_decay,
        };
        let state_path = self
            .folder
            .as_ref()
            .map(|folder| folder.join(format!("{STATE_PREFIX}{name}.safetensors")));
        let mut state = self.resume(name, state_path.as_deref(), initial)?;
        let device = self.device.clone().autodiff();
        let (began, mut saved, mut validation) = (Instant::now(), Instant::now(), None);
        while state.step < config.n_steps && state.n_stale < config.patience {
            if self.interrupted.load(Ordering::Relaxed) {
                self.save(state_path.as_deref(), &state)?;
                return Err(Error::Interrupted);
            }
            let step = state.step + 1;
            let weights = &state.weights;
            let shards = device::each(&device, objective.n_shards(), |shard| {
                gradients_of_shard(objective, weights, &device, step, shard)
            })?;
            let (loss, gradients) = add_in_order(shards);
            every_weight_has_one(weights, &gradients)?;
            let rate = learning_rate(config.learning_rate, step, config.n_warmup, config.n_steps);
            let norm = adamw.step(&mut state.weights, &gradients, &mut state.optimizer, rate);
            if !loss.is_finite() || !norm.is_finite() {
                let mut samples = objective.samples(step);
                samples.truncate(5);
                return Err(Error::NotFinite {
                    stage: name.to_string(),
                    step,
                    loss,
                    samples,
                });
            }
            state.step = step;
            let mut line = format!(
                r#"{{"stage":"{name}","step":{step},"loss":{loss:.6},"gradient_norm":{norm:.4},"learning_rate":{rate:.3e}"#
            );
            if step % config.validate_every == 0 || step == config.n_steps {
                validation = objective.validate(&state.optimizer.ema, &self.device)?;
                if let Some(loss) = validation {
                    if !loss.is_finite() {
                        let stage = format!("{name} validation");
                        return Err(Error::NotFinite {
                            stage,
                            step,
                            loss,
                            samples: Vec::new(),
                        });
                    }
                    line.push_str(&format!(r#","validation":{loss:.6}"#));
                    if loss < state.best_loss {
                        (state.best_loss, state.n_stale) = (loss, 0);
                        state.best = state.optimizer.ema.clone();
                    } else {
                        state.n_stale += 1;
                    }
                }
            }
            state.log.push_str(&line);
            state.log.push_str("}\n");
            (self.progress)(&Progress {
                stage: name.to_string(),
                step,
                n_steps: config.n_steps,
                loss,
                validation,
                seconds: began.elapsed().as_secs_f64(),
            });
            if saved.elapsed().as_secs_f64() > self.save_every_s {
                self.save(state_path.as_deref(), &state)?;
                saved = Instant::now();
            }
        }
        if state.best_loss.is_infinite() {
            state.best = state.optimizer.ema.clone(); // nothing was held out to choose by
        }
        self.save(state_path.as_deref(), &state)?;
        self.log.push_str(&state.log);
        Ok(Trained {
            best: state.best,
            weights: state.weights,
            optimizer: state.optimizer,
            best_loss: state.best_loss,
        })
    }

    fn resume(&self, name: &str, path: Option<&Path>, initial: Parameters) -> Result<StageState> {
        let Some(path) = path.filter(|path| path.exists()) else {
            return Ok(StageState {
                step: 0,
                optimizer: OptimizerState::new(&initial),
                best: initial.clone(),
                weights: initial,
                best_loss: f64::INFINITY,
                n_stale: 0,
                log: String::new(),
            });
        };
        let (mut groups, texts) = checkpoint::load(path)?;
        let broken = |problem: String| Error::Checkpoint {
            path: path.into(),
            problem,
        };
        let text = |key: &str| {
            texts
                .get(key)
                .ok_or_else(|| broken(format!("{key:?} is missing; remove the file to train anew")))
        };
        if text("fingerprint")? != &self.fingerprint {
            return Err(broken(format!(
                "the training state of stage {name:?} belongs to another table, configuration or seed; use another checkpoint folder"
            )));
        }
        let number = |key: &str| -> Result<u64> {
            text(key)?.parse().map_err(|_| {
                broken(format!(
                    "{key:?} is no whole number; remove the file to train anew"
                ))
            })
        };
        let mut group = |key: &str| {
            groups
                .remove(key)
                .ok_or_else(|| broken(format!("the tensors of {key:?} are missing")))
        };
        let weights = group("weights")?;
        let first = group("first")?;
        let second = group("second")?;
        let ema = group("ema")?;
        let best = group("best")?;
        for (part, key) in [
            (&weights, "weights"),
            (&first, "first"),
            (&second, "second"),
            (&ema, "ema"),
            (&best, "best"),
        ] {
            same_shapes(part, &initial).map_err(|path| {
                broken(format!(
                    "{key}: parameter {path:?} does not fit the network"
                ))
            })?;
        }
        Ok(StageState {
            step: number("step")? as usize,
            optimizer: OptimizerState {
                n_steps: number("optimizer_steps")?,
                first,
                second,
                ema,
            },
            weights,
            best,
            best_loss: f64::from_bits(number("best_loss_bits")?),
            n_stale: number("n_stale")? as usize,
            log: text("log")?.clone(),
        })
    }

    fn save(&self, path: Option<&Path>, state: &StageState) -> Result<()> {
        let Some(path) = path else { return Ok(()) };
        let texts: BTreeMap<String, String> = [
            ("fingerprint", self.fingerprint.clone()),
            ("step", state.step.to_string()),
            ("optimizer_steps", state.optimizer.n_steps.to_string()),
            ("best_loss_bits", state.best_loss.to_bits().to_string()),
            ("n_stale", state.n_stale.to_string()),
            ("log", state.log.clone()),
        ]
        .into_iter()
        .map(|(key, text)| (key.to_string(), text))
        .collect();
        let groups = [
            ("weights", &state.weights),
            ("first", &state.optimizer.first),
            ("second", &state.optimizer.second),
            ("ema", &state.optimizer.ema),
            ("best", &state.best),
        ];
        checkpoint::save(path, &groups, &texts)
    }
}

type ShardGradients = (f64, f64, BTreeMap<String, Vec<f32>>);

fn gradients_of_shard(
    objective: &dyn Objective,
    weights: &Parameters,
    device: &Device,
    step: usize,
    shard: usize,
) -> Result<ShardGradients> {
    let mut builder = Builder::new(weights, Absent::Refuse, device);
    let Shard { loss, share } = objective.loss(&mut builder, step, shard);
    let bound = builder.finish_part()?;
    let value = f64::from(loss.clone().into_scalar::<f32>());
    Ok((value, share, bound.gradients(&loss.backward())))
}

fn add_in_order(shards: Vec<ShardGradients>) -> (f64, BTreeMap<String, Vec<f32>>) {
    let mut total = 0.0;
    let mut by_path: BTreeMap<String, Vec<(f32, Vec<f32>)>> = BTreeMap::new();
    for (loss, share, gradients) in shards {
        total += loss * share;
        for (path, gradient) in gradients {
            let of_path = by_path.entry(path).or_default();
            of_path.push((share as f32, gradient));
        }
    }
    let sum = by_path.into_par_iter().map(|(path, parts)| {
        let mut parts = parts.into_iter();
        let (share, mut sum) = parts.next().unwrap_or_default();
        sum.iter_mut().for_each(|sum| *sum *= share);
        for (share, gradient) in parts {
            let both = sum.iter_mut().zip(&gradient);
            both.for_each(|(sum, g)| *sum += share * g);
        }
        (path, sum)
    });
    (total, sum.collect())
}

/// Shards may bind parts of a network, all of them together must bind all of it.
fn every_weight_has_one(
    weights: &Parameters,
    gradients: &BTreeMap<String, Vec<f32>>,
) -> Result<()> {
    let without = |path: &&String| !gradients.contains_key(*path);
    let unused: Vec<&String> = weights.by_path.keys().filter(without).collect();
    match unused.first() {
        Some(first) => Err(Error::UnusedParameters {
            count: unused.len(),
            first: (*first).clone(),
        }),
        None => Ok(()),
    }
}

/// The first path whose shape differs or that only one side has.
fn same_shapes(found: &Parameters, expected: &Parameters) -> std::result::Result<(), String> {
    for (path, parameter) in &expected.by_path {
        if found.by_path.get(path).map(|found| &found.shape) != Some(&parameter.shape) {
            return Err(path.clone());
        }
    }
    match found
        .by_path
        .keys()
        .find(|path| !expected.by_path.contains_key(*path))
    {
        Some(path) => Err(path.clone()),
        None => Ok(()),
    }
}

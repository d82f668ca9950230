//! Training with differential privacy: DP-SGD (Abadi et al. 2016, arXiv:1607.00133, algorithm 1) with Adam's step.
//!
//! ```text
//! batch: each sample with probability q, on its own
//! g = (sum over the batch of clip(gradient of the sample's loss, C) + N(0, (s C)^2 I)) / (q n)
//! clip(g, C) = g min(1, C / |g|)
//! ```
//!
//! A sample changes the sum by `C` at most, whatever it is, so a step is a Gaussian mechanism of noise `s` on a
//! random part of the samples: [`Mechanism`] says what all steps together guarantee. What is made of the noised
//! sums, here the weights, guarantees the same. Nothing else may depend on the samples: no loss is logged, and no
//! validation says when to stop.
//!
//! The noise must be unknown. It comes from a key that is drawn for one training and forgotten.

use super::{AdamW, OptimizerState, Progress, TrainConfig, learning_rate};
use crate::device;
use crate::error::{Error, Result};
use crate::parameters::{Absent, Builder, Parameters};
use burn::tensor::{Device, Tensor};
use rand::{Rng, RngExt};
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution, StandardNormal};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use suffuse_stats::privacy::accountant::Mechanism;

/// Parts of a batch that are computed at a time; each holds one sum of gradients.
const N_PARTS: usize = 8;

/// What is minimised, sample by sample.
pub trait SampleObjective: Sync {
    /// Loss `[1]` of one sample, with the network bound by `builder`.
    ///
    /// - `seed`: of all that is drawn for it; no step sees it again
    fn loss(&self, builder: &mut Builder, sample: usize, seed: u64) -> Tensor<1>;
}

/// What a training is told beside its settings.
pub struct PrivateRun<'a> {
    /// Name of the stage, for messages.
    pub stage: &'a str,
    /// Number of samples.
    pub n_samples: usize,
    /// Sampling rate, noise and number of steps.
    pub mechanism: Mechanism,
    /// Where the networks compute.
    pub device: &'a Device,
    /// Told after each step, without a loss.
    pub progress: &'a mut dyn FnMut(&Progress),
    /// Set when the user wants to stop.
    pub interrupted: &'a AtomicBool,
}

impl PrivateRun<'_> {
    /// Trains from `initial` weights and returns the averaged ones.
    ///
    /// Of the settings, batch size, validation and patience play no part: the mechanism says how large a batch is
    /// on average, and the clipping norm is that of one sample.
    ///
    /// A gradient that is not finite counts as zero: to stop would tell that such a sample is there.
    ///
    /// # Errors
    /// Weights that are not finite at the end, an interruption.
    pub fn train(
        &mut self,
        config: &TrainConfig,
        initial: Parameters,
        objective: &dyn SampleObjective,
        rng: &mut ChaCha20Rng,
    ) -> Result<Parameters> {
        let adamw = AdamW {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            weight_decay: config.weight_decay,
            clip_norm: f64::INFINITY, // samples were clipped
            ema_decay: config.ema_decay,
        };
        let device = self.device.clone().autodiff();
        let mut optimizer = OptimizerState::new(&initial);
        let mut weights = initial;
        let n_steps = self.mechanism.n_steps as usize;
        let began = Instant::now();
        for step in 1..=n_steps {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let batch = batch(self.n_samples, self.mechanism.sampling_rate, rng);
            let parts = device::each(&device, N_PARTS, |part| {
                let of_part = batch.iter().skip(part).step_by(N_PARTS);
                let mut sum = zeros(&weights);
                for (sample, seed) in of_part {
                    let mut builder = Builder::new(&weights, Absent::Refuse, &device);
                    let loss = objective.loss(&mut builder, *sample, *seed);
                    let bound = builder.finish()?;
                    let gradient = bound.gradients(&loss.backward());
                    add_clipped(&mut sum, &gradient, config.clip_norm);
                }
                Ok(sum)
            })?;
            let mut sum = zeros(&weights);
            for part in parts {
                add_clipped(&mut sum, &part, f64::INFINITY);
            }
            add_noise(
                &mut sum,
                self.mechanism.noise_multiplier * config.clip_norm,
                rng,
            );
            let n_expected = self.mechanism.sampling_rate * self.n_samples as f64;
            let all = sum.values_mut().flatten();
            all.for_each(|g| *g = (f64::from(*g) / n_expected) as f32);
            let rate = learning_rate(config.learning_rate, step, config.n_warmup, n_steps);
            adamw.step(&mut weights, &sum, &mut optimizer, rate);
            (self.progress)(&Progress {
                stage: self.stage.to_string(),
                step,
                n_steps,
                loss: f64::NAN,
                validation: None,
                seconds: began.elapsed().as_secs_f64(),
            });
        }
        let all = || optimizer.ema.by_path.values().flat_map(|p| &p.values);
        match all().all(|weight| weight.is_finite()) {
            true => Ok(optimizer.ema),
            false => Err(Error::NotFinite {
                stage: self.stage.to_string(),
                step: n_steps,
                loss: f64::NAN,
                samples: Vec::new(),
            }),
        }
    }
}

type Gradients = BTreeMap<String, Vec<f32>>;

/// Samples of a step, each with a seed: every one is in it with the same probability, on its own.
fn batch(n_samples: usize, rate: f64, rng: &mut ChaCha20Rng) -> Vec<(usize, u64)> {
    let mut chosen = Vec::new();
    for sample in 0..n_samples {
        if rng.random_bool(rate) {
            chosen.push((sample, rng.next_u64()));
        }
    }
    chosen
}

fn zeros(weights: &Parameters) -> Gradients {
    let paths = weights.by_path.iter();
    paths
        .map(|(path, parameter)| (path.clone(), vec![0.0; parameter.values.len()]))
        .collect()
}

/// Adds a gradient, scaled down to a norm; one that is not finite adds nothing.
fn add_clipped(sum: &mut Gradients, gradient: &Gradients, clip_norm: f64) {
    let square = |g: &f32| f64::from(*g) * f64::from(*g);
    let norm = gradient.values().flatten().map(square).sum::<f64>().sqrt();
    if !norm.is_finite() {
        return;
    }
    let scale = if norm > clip_norm {
        clip_norm / norm
    } else {
        1.0
    };
    for (sum, gradient) in sum.values_mut().zip(gradient.values()) {
        let both = sum.iter_mut().zip(gradient);
        both.for_each(|(sum, g)| *sum += (scale * f64::from(*g)) as f32);
    }
}

/// Adds N(0, sd^2) to every number.
fn add_noise(sum: &mut Gradients, sd: f64, rng: &mut ChaCha20Rng) {
    for g in sum.values_mut().flatten() {
        let e: f64 = StandardNormal.sample(rng);
        *g = (f64::from(*g) + sd * e) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::{Initial, Parameter, tensor};
    use rand_chacha::rand_core::SeedableRng;

    /// `(w - x_i)^2 / 2` in two dimensions: the gradient is `w - x_i`.
    struct Points(Vec<[f32; 2]>);

    impl SampleObjective for Points {
        fn loss(&self, builder: &mut Builder, sample: usize, _: u64) -> Tensor<1> {
            let w = builder.vector("w", 2, Initial::Zero);
            let x = tensor(self.0[sample].to_vec(), [2], &w.device());
            let off = w - x;
            (off.clone() * off).sum() * 0.5
        }
    }

    fn weights(values: [f32; 2]) -> Parameters {
        let parameter = Parameter {
            shape: vec![2],
            values: values.to_vec(),
        };
        Parameters {
            by_path: [("w".to_string(), parameter)].into(),
        }
    }

    fn gradient(values: Vec<f32>) -> Gradients {
        [
            ("a".to_string(), vec![values[0]]),
            ("b".to_string(), values[1..].to_vec()),
        ]
        .into()
    }

    fn rng(seed: u8) -> ChaCha20Rng {
        ChaCha20Rng::from_seed([seed; 32])
    }

    #[test]
    fn a_long_gradient_counts_with_the_clipping_norm_and_a_short_one_as_it_is() {
        let mut sum = gradient(vec![0.0; 3]);
        add_clipped(&mut sum, &gradient(vec![6.0, 0.0, 8.0]), 5.0); // norm 10
        add_clipped(&mut sum, &gradient(vec![0.5, -1.0, 0.0]), 5.0);
        assert_eq!(sum, gradient(vec![3.5, -1.0, 4.0]));
        add_clipped(&mut sum, &gradient(vec![f32::NAN, 0.0, 0.0]), 5.0);
        add_clipped(&mut sum, &gradient(vec![f32::INFINITY, 0.0, 0.0]), 5.0);
        assert_eq!(sum, gradient(vec![3.5, -1.0, 4.0]));
    }

    #[test]
    fn no_sample_moves_the_sum_by_more_than_the_clipping_norm() {
        // The sensitivity on which the guarantee stands, for gradients of all sizes.
        for size in [1e-3_f32, 1.0, 1e6, 1e18] {
            let mut sum = gradient(vec![0.0; 3]);
            add_clipped(&mut sum, &gradient(vec![size, -size, 2.0 * size]), 0.7);
            let norm = sum
                .values()
                .flatten()
                .map(|g| f64::from(g * g))
                .sum::<f64>()
                .sqrt();
            assert!(norm <= 0.7 * (1.0 + 1e-6), "{size}: {norm}");
        }
    }

    #[test]
    fn every_sample_is_in_a_batch_on_its_own_with_the_rate() {
        let (n, rate, n_batches) = (200, 0.15, 2000);
        let mut rng = rng(1);
        let mut times = vec![0.0; n];
        let mut sizes = Vec::new();
        for _ in 0..n_batches {
            let batch = batch(n, rate, &mut rng);
            sizes.push(batch.len() as f64);
            batch.iter().for_each(|(sample, _)| times[*sample] += 1.0);
        }
        let sd = (rate * (1.0 - rate) / f64::from(n_batches)).sqrt();
        for count in times {
            let off: f64 = count / f64::from(n_batches) - rate;
            assert!(off.abs() < 5.0 * sd, "{count}");
        }
        // Binomial sizes: a batch of one size would have no variance.
        let mean = sizes.iter().sum::<f64>() / sizes.len() as f64;
        let variance = sizes.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / sizes.len() as f64;
        let expected = n as f64 * rate * (1.0 - rate);
        assert!(
            (variance / expected - 1.0).abs() < 0.15,
            "{variance} {expected}"
        );
    }

    #[test]
    fn the_noise_is_normal_with_its_standard_deviation() {
        let n = 40_000;
        let mut sum: Gradients = [("w".to_string(), vec![3.0; n])].into();
        add_noise(&mut sum, 2.5, &mut rng(2));
        let off: Vec<f64> = sum["w"].iter().map(|g| f64::from(*g) - 3.0).collect();
        let moment = |k: i32| off.iter().map(|e| (e / 2.5).powi(k)).sum::<f64>() / n as f64;
        assert!(moment(1).abs() < 0.025, "{}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.035, "{}", moment(2));
        assert!((moment(4) - 3.0).abs() < 0.3, "{}", moment(4));
    }

    #[test]
    fn with_little_noise_it_finds_the_mean_and_a_far_sample_counts_no_more_than_another() {
        // The minimum of the clipped sum lies where the clipped gradients add up to nothing: by symmetry the mean
        // of the 40 points is (1, -2), and one point at 10^6 pulls with norm C, that is by less than C / 40.
        let mut points: Vec<[f32; 2]> = Vec::new();
        for i in 0..40 {
            let angle = f64::from(i) * std::f64::consts::TAU / 40.0;
            points.push([
                1.0 + 0.2 * angle.cos() as f32,
                -2.0 + 0.2 * angle.sin() as f32,
            ]);
        }
        points.push([1e6, 0.0]);
        let config = TrainConfig {
            n_steps: 0,
            batch_size: 1,
            learning_rate: 0.05,
            n_warmup: 0,
            weight_decay: 0.0,
            clip_norm: 0.3,
            ema_decay: 0.9,
            validate_every: 1,
            patience: 1,
        };
        let train = |points: &Points, seed: u8| {
            let mut run = PrivateRun {
                stage: "points",
                n_samples: points.0.len(),
                mechanism: Mechanism {
                    sampling_rate: 0.5,
                    noise_multiplier: 0.05,
                    n_steps: 400,
                },
                device: &Device::flex(),
                progress: &mut |progress| assert!(progress.loss.is_nan()),
                interrupted: &AtomicBool::new(false),
            };
            run.train(&config, weights([0.0, 0.0]), points, &mut rng(seed))
        };
        let found = train(&Points(points.clone()), 3).unwrap();
        let w = &found.by_path["w"].values;
        assert!(
            (w[0] - 1.0).abs() < 0.05 && (w[1] + 2.0).abs() < 0.05,
            "{w:?}"
        );
        assert_eq!(found, train(&Points(points.clone()), 3).unwrap());
        assert_ne!(found, train(&Points(points.clone()), 4).unwrap());
        // A sample without a finite gradient is no reason to stop: that would tell that it is there.
        points[7] = [f32::NAN, 0.0];
        let without = train(&Points(points), 3).unwrap();
        assert!((without.by_path["w"].values[0] - 1.0).abs() < 0.05);
    }
}

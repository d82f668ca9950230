//! A fit with differential privacy: what the model knows of the samples is noised, once for their distributions and
//! in every step for the autoencoder.
//!
//! ```text
//! 1  sum over samples of [richness / n_taxa, u, u^2],  u: ln(total) on -1..1          noise 4 s sqrt(3)
//! 2  sum of clip([1, 2 u_j, 4 u_j^2] where present, C),  u_j: ln(share) on -1..1      noise s C
//!      -> prevalence, and a normal distribution of ln(share), per taxon
//! 3  DP-SGD of the autoencoder                                                        noise s' per step
//! ```
//!
//! The prior of the autoencoder stands for the denoiser, and residuals are independent: both would cost further
//! parts of the guarantee. What follows (calibration, generated samples) is made of noised numbers.
//!
//! Taken to be public: the features, their order, their tree or lineages, the number of samples with reads, whether
//! the numbers are whole.

use super::config::{Config, Latents};
use super::fit::{Cohort, FitOptions, embedded};
use super::marginal::Marginal;
use super::objective::{Split, VaeObjective};
use super::profile::{Marginals, Observed, enough, observed, scored};
use super::vae::{Taxa, Vae};
use super::whitening::Whitening;
use super::{Calibration, Denoiser, Model};
use crate::error::{Error, Result};
use crate::parameters::{Builder, Parameters};
use crate::train::private::PrivateRun;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use std::fmt;
use suffuse_stats::generate::normal;
use suffuse_stats::privacy::accountant::{Conversion, Mechanism, epsilon_of_all, noise_for};

/// What a private fit may give away of one sample.
#[derive(Clone, Copy, PartialEq)]
pub struct Privacy {
    /// Bound of the logarithm of the ratio of probabilities, with or without what one sample adds, above 0.
    pub epsilon: f64,
    /// Probability with which that may not hold, below one over the number of samples.
    pub delta: f64,
    /// Key of the noise: drawn by chance for one fit, and not kept. Who knows it knows the noise.
    pub key: [u8; 32],
}

impl fmt::Debug for Privacy {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Privacy")
            .field("epsilon", &self.epsilon)
            .field("delta", &self.delta)
            .finish_non_exhaustive()
    }
}

/// What a model was fitted under.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacyRecord {
    /// Epsilon of all that was released, at most the one asked for.
    pub epsilon: f64,
    /// Delta.
    pub delta: f64,
    /// Samples with reads that it was fitted to.
    pub n_samples: usize,
    /// Noise multiplier of the distributions (step 2; step 1 has four times as much).
    pub statistics_noise: f64,
    /// Noise multiplier of a training step.
    pub training_noise: f64,
    /// Probability that a sample is in a training step.
    pub sampling_rate: f64,
    /// Training steps.
    pub n_steps: u64,
    /// Norm to which the gradient of a sample is clipped.
    pub clip_norm: f64,
}

impl PrivacyRecord {
    /// By which factor the noise moves the typical number of reads: one standard error of the mean of its logarithm.
    pub fn depth_factor(&self) -> f64 {
        let sd = ROUGHER * self.statistics_noise * 3f64.sqrt() / self.n_samples as f64;
        (0.5 * MAX_LN_TOTAL * sd).exp()
    }
}

/// Part of epsilon that the distributions may use alone.
const STATISTICS_SHARE: f64 = 0.4;
/// Noise of step 1 over that of step 2: three numbers need less accuracy than hundreds.
const ROUGHER: f64 = 4.0;
/// Largest logarithm of a total: 10^9 reads.
const MAX_LN_TOTAL: f64 = 20.7;
/// ln(share) lies within twice this of 0: from 10^-7 up.
const HALF_LN_SHARE: f64 = 8.0;
/// Weights of the first and the second moment of ln(share) beside presence, that they stand out of the noise: `u` is
/// about 0.2, its square 0.04.
const WEIGHTS: [f64; 2] = [2.0, 4.0];
/// Square of the clipping norm of step 2 over the mean richness: the weights of a taxon that is present, and room
/// for samples richer than the mean.
const ROOM: f64 = 1.7;
/// Clipping norms that are taken: far from where single precision ends.
const CLIP_NORMS: (f64, f64) = (1e-6, 1e6);
/// Smallest standard deviation of ln(share).
const MIN_SD: f64 = 0.3;
/// Knots of a normal distribution.
const N_KNOTS: usize = 65;

/// Fits the model so that the table's samples are protected: the probability of any result changes by a factor of
/// `exp(epsilon)` at most, but for `delta`, with or without what one sample adds to it. (The number of samples counts
/// as known. One sample in place of another takes one out and puts one in, and counts twice.)
///
/// The settings of `vae.training` mean: `batch_size` samples a step on average, each chosen on its own; `clip_norm`
/// for the gradient of one sample; all `n_steps` are taken. With a subject of several samples the guarantee is of
/// each sample, and weaker for the subject.
///
/// # Errors
/// As [`fit`](super::fit); settings or a cohort that no guarantee covers; an epsilon that no noise gives.
pub fn fit_private(
    config: &Config,
    cohort: &Cohort,
    privacy: &Privacy,
    options: &mut FitOptions,
) -> Result<Model> {
    check(config, cohort, privacy)?;
    let table = cohort.table;
    let samples = observed(table, options.seed)?;
    let n = samples.len();
    enough(n, table.n_features())?; // whether a feature is present must not decide
    if privacy.delta >= 1.0 / n as f64 {
        return Err(Error::Table(format!(
            "delta {} for {n} samples: to publish one of them at random would satisfy it; take less than {:.1e}",
            privacy.delta,
            1.0 / n as f64
        )));
    }
    let (record, mechanism) = record(config, n, privacy)?;
    let mut rng = ChaCha20Rng::from_seed(privacy.key);
    let found = distributions(&samples, table.n_features(), &record, &mut rng);
    let embedding = embedded(config, cohort, options.seed)?;
    let taxa = Taxa::new(found.prevalence, embedding.as_ref());
    let profiles = scored(samples, &found.marginals);
    let split = Split {
        train: (0..n).collect(),
        validation: Vec::new(),
    };
    let objective = VaeObjective {
        config,
        taxa: &taxa,
        profiles: &profiles,
        table,
        split: &split,
        seed: options.seed,
    };
    let make = |p: &mut Builder| Vae::new(p, &config.vae, &taxa);
    let initial = Parameters::initial(&Parameters::default(), options.seed, make)?;
    let mut run = PrivateRun {
        stage: "vae",
        n_samples: n,
        mechanism,
        device: &options.device,
        progress: &mut *options.progress,
        interrupted: options.interrupted,
    };
    let vae = run.train(&config.vae.training, initial, &objective, &mut rng)?;
    let n_latent = config.vae.d_latent + 1;
    let make = |p: &mut Builder| Denoiser::new(p, &config.denoiser, n_latent, &[]);
    let denoiser = Parameters::initial(&Parameters::default(), options.seed, make)?;
    let (_, _, all) = table.csr();
    let prevalence = taxa.prevalence.clone();
    let mut model = Model {
        config: *config,
        feature_ids: table.feature_ids().to_vec(),
        seed: options.seed,
        is_whole: all.iter().all(|value| value.fract() == 0.0),
        taxa,
        embedding,
        calibration: Calibration::none(&found.marginals),
        marginals: found.marginals,
        attributes: Vec::new(),
        conditions: String::new(),
        whitening: Whitening::none(n_latent),
        correlations: None,
        vae,
        denoiser,
        losses: [f64::INFINITY; 2],
        privacy: Some(record),
        log: String::new(),
    };
    if config.sampling.n_calibration > 0 {
        let sampling = options.sampling();
        model.calibration = Calibration::fit(&model, &prevalence, |_| None, &sampling)?;
    }
    Ok(model)
}

/// Refuses what would read samples without noise.
fn check(config: &Config, cohort: &Cohort, privacy: &Privacy) -> Result<()> {
    let settings = [
        (
            "sampling.latents = \"prior\"",
            config.sampling.latents == Latents::Prior,
        ),
        ("residuals.correlated = false", !config.residuals.correlated),
        (
            "vae.hard_sparsity_weight = 0",
            config.vae.hard_sparsity_weight == 0.0,
        ),
    ];
    if let Some((needed, _)) = settings.iter().find(|(_, holds)| !holds) {
        return Err(Error::Config {
            origin: "private fit".to_string(),
            problem: format!(
                "needs {needed}, as the preset \"private\" has: else samples are read without noise"
            ),
        });
    }
    if cohort.conditions.is_some() || cohort.groups.is_some() {
        return Err(Error::Table(
            "a private fit takes no conditions and no groups: they would be read without noise"
                .to_string(),
        ));
    }
    let training = &config.vae.training;
    let limits = [
        ("vae.training.clip_norm", training.clip_norm, CLIP_NORMS),
        (
            "vae.training.weight_decay",
            training.weight_decay,
            (0.0, 1.0),
        ),
    ];
    for (name, value, (low, high)) in limits {
        if !(low..=high).contains(&value) {
            return Err(Error::Config {
                origin: "private fit".to_string(),
                problem: format!("{name} is {value}, must lie between {low} and {high}"),
            });
        }
    }
    if !(privacy.epsilon.is_finite() && privacy.epsilon > 0.0) {
        return Err(Error::Table(format!(
            "epsilon is {}, must be a number above 0",
            privacy.epsilon
        )));
    }
    Ok(())
}

/// All mechanisms that see the samples: the distributions, and the training last.
fn mechanisms(statistics_noise: f64, training: Mechanism) -> Vec<Mechanism> {
    let once = |noise_multiplier: f64| Mechanism {
        sampling_rate: 1.0,
        noise_multiplier,
        n_steps: 1,
    };
    vec![
        once(ROUGHER * statistics_noise),
        once(statistics_noise),
        training,
    ]
}

/// The noises that keep all mechanisms within the guarantee.
fn record(config: &Config, n: usize, privacy: &Privacy) -> Result<(PrivacyRecord, Mechanism)> {
    let training = &config.vae.training;
    let sampling_rate = (training.batch_size as f64 / n as f64).min(1.0);
    let training_of = |noise_multiplier: f64, n_steps: usize| Mechanism {
        sampling_rate,
        noise_multiplier,
        n_steps: n_steps as u64,
    };
    let Privacy { epsilon, delta, .. } = *privacy;
    let refused = |error: suffuse_stats::Error| {
        Error::Table(format!(
            "no noise gives epsilon {epsilon} at delta {delta}; take a larger one ({error})"
        ))
    };
    let statistics_noise = noise_for(epsilon * STATISTICS_SHARE, delta, |noise| {
        mechanisms(noise, training_of(1.0, 0))
    })
    .map_err(refused)?;
    let all = |noise: f64| mechanisms(statistics_noise, training_of(noise, training.n_steps));
    let training_noise = noise_for(epsilon, delta, all).map_err(refused)?;
    let found = epsilon_of_all(&all(training_noise), delta, Conversion::Improved);
    let record = PrivacyRecord {
        epsilon: found.map_err(refused)?.epsilon,
        delta,
        n_samples: n,
        statistics_noise,
        training_noise,
        sampling_rate,
        n_steps: training.n_steps as u64,
        clip_norm: training.clip_norm,
    };
    Ok((record, training_of(training_noise, training.n_steps)))
}

/// What is known of the distributions after noise.
struct Distributions {
    prevalence: Vec<f64>,
    marginals: Marginals,
}

/// Steps 1 and 2.
fn distributions(
    samples: &[Observed],
    n_taxa: usize,
    record: &PrivacyRecord,
    rng: &mut ChaCha20Rng,
) -> Distributions {
    let n = samples.len() as f64;
    let mut noise = |sd: f64| -> f64 {
        let e: f64 = StandardNormal.sample(rng);
        sd * e
    };
    let mut sums = [0.0_f64; 3];
    for sample in samples {
        sums.iter_mut()
            .zip(overall(sample, n_taxa))
            .for_each(|(sum, x)| *sum += x);
    }
    let sd = ROUGHER * record.statistics_noise * 3f64.sqrt();
    let [richness, mean, square] = sums.map(|sum| (sum + noise(sd)) / n);
    let mean_richness = (richness * n_taxa as f64).clamp(1.0, n_taxa as f64);
    let totals = {
        let mean = mean.clamp(-1.0, 1.0);
        let half = 0.5 * MAX_LN_TOTAL;
        let sd = (square - mean * mean).max(0.0).sqrt() * half;
        normal_marginal((mean + 1.0) * half, sd.max(MIN_SD), MAX_LN_TOTAL)
    };

    let clip_norm = (ROOM * mean_richness).sqrt();
    let mut of_taxa = vec![[0.0_f64; 3]; n_taxa];
    for sample in samples {
        for (taxon, x) in by_taxon(sample, clip_norm) {
            let sums = of_taxa[taxon as usize].iter_mut();
            sums.zip(x).for_each(|(sum, x)| *sum += x);
        }
    }
    let sd = record.statistics_noise * clip_norm;
    of_taxa
        .iter_mut()
        .flatten()
        .for_each(|sum| *sum += noise(sd));

    // What clipping took of rich samples is given back by the mean richness, which was not clipped.
    let present = |sums: &[f64; 3]| sums[0].max(0.0);
    let all: f64 = of_taxa.iter().map(present).sum();
    let back = (mean_richness * n / all.max(1.0)).clamp(0.5, 2.0);
    let least = 0.5 / (n + 1.0);
    let prevalence = |sums: &[f64; 3]| (present(sums) * back / n).clamp(least, 1.0 - least);
    // Taxa that the noise hides are taken for the mean of all taxa.
    let moment = |k: usize| of_taxa.iter().map(|sums| sums[k]).sum::<f64>() / all.max(1.0);
    let of_all = [moment(1), moment(2)];
    let share = |sums: &[f64; 3]| {
        let weight = present(sums) + sd;
        let [first, second] =
            [1, 2].map(|k| (sums[k] + sd * of_all[k - 1]) / weight / WEIGHTS[k - 1]);
        let mean = first.clamp(-1.0, 1.0);
        let sd = (second - mean * mean).max(0.0).sqrt() * HALF_LN_SHARE;
        normal_marginal((mean - 1.0) * HALF_LN_SHARE, sd.max(MIN_SD), 0.0)
    };
    Distributions {
        prevalence: of_taxa.iter().map(prevalence).collect(),
        marginals: Marginals {
            shares: of_taxa.iter().map(share).collect(),
            totals,
        },
    }
}

/// What step 1 adds up: each within -1..1.
fn overall(sample: &Observed, n_taxa: usize) -> [f64; 3] {
    let u = (sample.ln_total / (0.5 * MAX_LN_TOTAL) - 1.0).clamp(-1.0, 1.0);
    [sample.logs.len() as f64 / n_taxa as f64, u, u * u]
}

/// What step 2 adds up for the taxa that are present: of norm `clip_norm` at most.
fn by_taxon(sample: &Observed, clip_norm: f64) -> Vec<(u32, [f64; 3])> {
    let entry = |(taxon, log): &(u32, f64)| {
        let u = (log / HALF_LN_SHARE + 1.0).clamp(-1.0, 1.0);
        (*taxon, [1.0, WEIGHTS[0] * u, WEIGHTS[1] * u * u])
    };
    let mut entries: Vec<(u32, [f64; 3])> = sample.logs.iter().map(entry).collect();
    let all = || entries.iter().flat_map(|(_, x)| x);
    let norm = all().map(|x| x * x).sum::<f64>().sqrt();
    let scale = (clip_norm / norm).min(1.0);
    entries
        .iter_mut()
        .flat_map(|(_, x)| x)
        .for_each(|x| *x *= scale);
    entries
}

/// The distribution N(mean, sd^2) below a limit.
fn normal_marginal(mean: f64, sd: f64, most: f64) -> Marginal {
    let order = |k: usize| (k as f64 + 0.5) / N_KNOTS as f64;
    let value = |k: usize| (mean + sd * normal::quantile(order(k))).min(most);
    Marginal::of((0..N_KNOTS).map(value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(logs: Vec<f64>, ln_total: f64) -> Observed {
        let logs = logs.into_iter().enumerate();
        Observed {
            row: 0,
            logs: logs.map(|(taxon, log)| (taxon as u32, log)).collect(),
            ln_total,
        }
    }

    fn with_noise(statistics_noise: f64) -> PrivacyRecord {
        PrivacyRecord {
            epsilon: 1.0,
            delta: 1e-5,
            n_samples: 50,
            statistics_noise,
            training_noise: 1.0,
            sampling_rate: 1.0,
            n_steps: 1,
            clip_norm: 1.0,
        }
    }

    #[test]
    fn no_sample_adds_more_than_the_noise_was_made_for() {
        for n_present in [1, 20, 500] {
            for log in [-1e9, -40.0, -3.0, 0.0] {
                let sample = sample(vec![log; n_present], 1e9);
                let square = |x: &f64| x * x;
                let overall = overall(&sample, 500);
                assert!(overall.iter().map(square).sum::<f64>() <= 3.0);
                let of_taxa = by_taxon(&sample, 4.0);
                let norm = of_taxa.iter().flat_map(|(_, x)| x).map(square).sum::<f64>();
                assert!(norm.sqrt() <= 4.0 + 1e-9, "{n_present} {log}: {norm}");
            }
        }
    }

    #[test]
    fn without_noise_the_distributions_are_those_of_the_samples() {
        // Taxon 0 is always there, taxon 1 in three of four samples, taxon 2 never, and none is clipped. ln(share) of the first two is
        // normal by construction, at evenly spaced quantiles: means -7 and -9, standard deviations .8 and 1.2.
        let n = 4000;
        let z = |i: usize, n: usize| normal::quantile((i as f64 + 0.5) / n as f64);
        let samples: Vec<Observed> = (0..n)
            .map(|i| {
                let mut logs = vec![-7.0 + 0.8 * z(i, n)];
                if i % 4 != 0 {
                    logs.push(-9.0 + 1.2 * z(i, n));
                }
                sample(logs, 9.0 + 0.5 * z((i * 37) % n, n))
            })
            .collect();
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let found = distributions(&samples, 3, &with_noise(1e-9), &mut rng);
        for (found, expected) in found.prevalence.iter().zip([1.0, 0.75, 0.0]) {
            assert!((found - expected).abs() < 0.02, "{found} {expected}");
        }
        let shares = &found.marginals.shares;
        for (marginal, mean, sd) in [
            (&shares[0], -7.0, 0.8),
            (&shares[1], -9.0, 1.2),
            (&found.marginals.totals, 9.0, 0.5),
        ] {
            let spread = 0.5 * (marginal.value(1.0) - marginal.value(-1.0));
            assert!((marginal.value(0.0) - mean).abs() < 0.02, "{mean}");
            assert!((spread - sd).abs() < 0.04, "{sd}: {spread}");
        }
    }

    #[test]
    fn noise_reaches_every_number_and_stays_within_what_can_be() {
        let samples: Vec<Observed> = (0..50).map(|_| sample(vec![-1.0, -0.5], 8.0)).collect();
        let of = |seed: u8| {
            let mut rng = ChaCha20Rng::from_seed([seed; 32]);
            distributions(&samples, 4, &with_noise(30.0), &mut rng)
        };
        let (one, two) = (of(1), of(2));
        assert_ne!(one.prevalence, two.prevalence);
        assert_ne!(one.marginals, two.marginals);
        for found in [one, two] {
            assert!(found.prevalence.iter().all(|p| (0.009..0.991).contains(p)));
            let all = found
                .marginals
                .shares
                .iter()
                .chain([&found.marginals.totals]);
            all.for_each(|marginal| assert!(marginal.is_sound()));
        }
    }

    #[test]
    fn the_noises_use_up_the_guarantee_and_no_more() {
        let config = Config::private();
        for (epsilon, n) in [(0.5, 300), (3.0, 1135), (8.0, 5000)] {
            let privacy = Privacy {
                epsilon,
                delta: 1e-5,
                key: [0; 32],
            };
            let (record, training) = record(&config, n, &privacy).unwrap();
            assert!(
                record.epsilon <= epsilon && record.epsilon > 0.999 * epsilon,
                "{record:?}"
            );
            assert_eq!(training.n_steps, config.vae.training.n_steps as u64);
            assert!((training.sampling_rate - (128.0 / n as f64).min(1.0)).abs() < 1e-12);
            // The distributions alone stay within their part.
            let alone = mechanisms(
                record.statistics_noise,
                Mechanism {
                    n_steps: 0,
                    ..training
                },
            );
            let alone = epsilon_of_all(&alone, 1e-5, Conversion::Improved).unwrap();
            assert!(alone.epsilon <= STATISTICS_SHARE * epsilon, "{alone:?}");
        }
    }
}

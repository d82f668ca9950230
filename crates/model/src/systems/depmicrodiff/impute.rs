//! Imputation: presence first, then abundance given presence, several draws of each.

use super::Model;
use super::batch::Flag;
use super::entries::{Cohort, Entries, Known};
use super::sampling::{Job, Run};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::noise::target::Prediction;
use crate::rng::{Stage, generator};
use crate::sample::Sampler;
use crate::train::Progress;
use ndarray::Array2;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use suffuse_data::transform::Scale;
use suffuse_data::transform::percent::from_ln1p_percent;
use suffuse_stats::scores::predictive_interval;

/// Which entries may be filled, besides those that are withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// Entries that were not measured (`NaN`).
    Missing,
    /// Zeros whose probability of presence reaches the threshold.
    Zeros,
    /// Both.
    MissingAndZeros,
}

/// What was done to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It was there, or not to be filled, and is unchanged.
    Observed,
    /// It was filled.
    Filled,
    /// It was zero and stays zero.
    KeptZero,
}

/// How to impute.
pub struct ImputeOptions<'a> {
    /// Which entries may be filled.
    pub fill: Fill,
    /// Probability of presence from which an entry is filled with a positive value.
    pub presence_threshold: f64,
    /// Zeros (sample, feature) that stay zero.
    pub structural_zeros: &'a [(u32, u32)],
    /// Draws per sample.
    pub n_draws: usize,
    /// The reverse process.
    pub sampler: Sampler,
    /// Seed of the noise.
    pub seed: u64,
    /// Where the networks compute.
    pub device: Device,
    /// Samples handled at once; bounds memory, changes nothing else.
    pub batch_size: usize,
    /// Told after each batch.
    pub progress: &'a mut dyn FnMut(&Progress),
    /// Set when the user wants to stop.
    pub interrupted: &'a AtomicBool,
}

/// A completed table.
#[derive(Debug, Clone, PartialEq)]
pub struct Imputation {
    /// Values in the unit of the table; observed entries are bit-identical.
    pub value: Array2<f64>,
    /// Lower end of the 90 % interval given presence; the value itself where nothing was filled.
    pub lower: Array2<f64>,
    /// Upper end of the 90 % interval.
    pub upper: Array2<f64>,
    /// Probability of presence: 1 for observed and withheld, 0 for structural zeros, `NaN` for entries
    /// that were not judged.
    pub presence: Array2<f64>,
    /// What was done.
    pub action: Array2<Action>,
    /// Per withheld entry of the cohort: draws of ln(1+percent) given presence.
    pub hidden_draws: Vec<Vec<f64>>,
}

/// Folds in which the entries of a sample are hidden: each zero is judged with four fifths of the
/// entries in sight, at a rate that training has seen.
const N_FOLDS: usize = 5;
/// Separates the noise of the presence pass from that of the value pass.
const PRESENCE_DRAWS: u64 = 1 << 32;

/// What one round of the presence pass hides of a sample, and whose presence it judges.
struct Fold {
    number: usize,
    flags: Vec<Flag>,
    judged: Vec<usize>,
}

/// Rounds of the presence pass. Zeros are judged with a fifth of all entries hidden, non-zeros too:
/// if only zeros were, "hidden" would mean "zero". A round that would hide all non-zeros leaves them in
/// sight, since training never hides everything. Without zeros to judge, one round does.
fn folds(known: &[Known], is_candidate: &[bool], seed: u64, sample_id: &str) -> Vec<Fold> {
    let candidates: Vec<usize> = (0..known.len())
        .filter(|taxon| is_candidate[*taxon])
        .collect();
    if candidates.is_empty() {
        return Vec::new();
    }
    if candidates
        .iter()
        .all(|taxon| known[*taxon] == Known::Unknown)
    {
        let flags = known.iter().map(|known| Flag::of(*known)).collect();
        return vec![Fold {
            number: 0,
            flags,
            judged: candidates,
        }];
    }
    let mut rng = generator(seed, Stage::Sampling, sample_id, u64::MAX);
    let fold_of: Vec<usize> = known.iter().map(|_| rng.random_range(0..N_FOLDS)).collect();
    let hides_all = |number: usize| {
        let mut present = (0..known.len()).filter(|taxon| known[*taxon] == Known::Present);
        present.all(|taxon| fold_of[taxon] == number)
    };
    let fold = |number: usize| Fold {
        number,
        flags: known
            .iter()
            .zip(&fold_of)
            .map(|(known, fold)| match known {
                Known::Absent if *fold == number => Flag::Hidden,
                Known::Present if *fold == number && !hides_all(number) => Flag::Hidden,
                known => Flag::of(*known),
            })
            .collect(),
        judged: candidates
            .iter()
            .copied()
            .filter(|taxon| fold_of[*taxon] == number)
            .collect(),
    };
    (0..N_FOLDS)
        .map(fold)
        .filter(|fold| !fold.judged.is_empty())
        .collect()
}

/// One pass over the samples.
struct Pass {
    name: &'static str,
    sampler: Sampler,
}

/// What is done with one batch of samples.
type Work<'a> = dyn FnMut(&Model, &Run, &[usize]) -> Result<()> + 'a;

impl Model {
    /// Fills a cohort that has the model's features.
    ///
    /// The value is the mean of the draws in ln(1+percent), turned back into the unit of the table.
    /// Samples whose total is not known to be positive are left as they are.
    ///
    /// # Errors
    /// Other features than the model's, metadata of another length, an interruption.
    pub fn impute(&self, cohort: &Cohort, options: &mut ImputeOptions) -> Result<Imputation> {
        self.check_features(cohort)?;
        let entries = Entries::new(cohort)?;
        let (n_samples, n_taxa) = (entries.n_samples(), entries.n_taxa);
        let structural: HashSet<(u32, u32)> = options.structural_zeros.iter().copied().collect();
        let is_candidate: Vec<bool> = (0..n_samples * n_taxa)
            .map(|at| match entries.known[at] {
                Known::Unknown => {
                    options.fill != Fill::Zeros && self.standardisation.is_measured[at % n_taxa]
                }
                Known::Absent => {
                    options.fill != Fill::Missing
                        && !structural.contains(&((at / n_taxa) as u32, (at % n_taxa) as u32))
                }
                Known::Present | Known::Withheld => false,
            })
            .collect();
        let fillable = entries.fillable_samples();
        let is_fillable: HashSet<usize> = fillable.iter().copied().collect();
        let mut presence: Vec<f64> = (0..n_samples * n_taxa)
            .map(|at| {
                let place = ((at / n_taxa) as u32, (at % n_taxa) as u32);
                match entries.known[at] {
                    Known::Present | Known::Withheld => 1.0,
                    Known::Absent if structural.contains(&place) => 0.0,
                    _ if is_candidate[at] && is_fillable.contains(&(at / n_taxa)) => 0.0,
                    _ => f64::NAN,
                }
            })
            .collect();
        let n_presence_draws = options.n_draws.div_ceil(2);
        self.in_batches(
            cohort,
            &entries,
            options,
            &self.presence_pass(options.sampler),
            &fillable,
            &mut |model, run, samples| {
                let mut jobs = Vec::new();
                for &sample in samples {
                    let range = sample * n_taxa..(sample + 1) * n_taxa;
                    let known = entries.known_row(sample);
                    for fold in folds(
                        known,
                        &is_candidate[range],
                        run.seed,
                        &entries.sample_ids[sample],
                    ) {
                        jobs.extend((0..n_presence_draws).map(|draw| {
                            let draw =
                                PRESENCE_DRAWS + (fold.number * n_presence_draws + draw) as u64;
                            let job = Job {
                                sample,
                                flags: fold.flags.clone(),
                                draw,
                            };
                            (fold.judged.clone(), job)
                        }));
                    }
                }
                let (judged, rows): (Vec<Vec<usize>>, Vec<Job>) = jobs.into_iter().unzip();
                for ((judged, job), drawn) in
                    judged.iter().zip(&rows).zip(model.sample(run, &rows)?)
                {
                    for &taxon in judged {
                        presence[job.sample * n_taxa + taxon] +=
                            f64::from(drawn.presence[taxon]) / n_presence_draws as f64;
                    }
                }
                Ok(())
            },
        )?;

        let is_positive: Vec<bool> = (0..n_samples * n_taxa)
            .map(|at| {
                entries.known[at] == Known::Withheld
                    || (is_candidate[at] && presence[at] >= options.presence_threshold)
            })
            .collect();
        let shape = (n_samples, n_taxa);
        let mut original = cohort.table.to_dense();
        for (at, known) in entries.known.iter().enumerate() {
            if *known == Known::Withheld {
                original[at] = f64::NAN; // the truth must not come back, even where nothing can be filled
            }
        }
        let value =
            Array2::from_shape_vec(shape, original).expect("a dense table has its own shape");
        let mut result = Imputation {
            lower: value.clone(),
            upper: value.clone(),
            value,
            presence: Array2::from_shape_vec(shape, presence).expect("one probability per entry"),
            action: Array2::from_elem(shape, Action::Observed),
            hidden_draws: Vec::new(),
        };
        let mut draws: Vec<Vec<f64>> = vec![Vec::new(); n_samples * n_taxa];
        let n_draws = options.n_draws;
        self.in_batches(
            cohort,
            &entries,
            options,
            &Pass {
                name: "values",
                sampler: options.sampler,
            },
            &fillable,
            &mut |model, run, samples| {
                let mut jobs = Vec::new();
                for &sample in samples {
                    let range = sample * n_taxa..(sample + 1) * n_taxa;
                    if !is_positive[range.clone()].contains(&true) {
                        continue;
                    }
                    let flags: Vec<Flag> = range
                        .map(|at| {
                            if is_positive[at] {
                                Flag::HiddenPresent
                            } else {
                                Flag::of(entries.known[at])
                            }
                        })
                        .collect();
                    jobs.extend((0..n_draws).map(|draw| Job {
                        sample,
                        flags: flags.clone(),
                        draw: draw as u64,
                    }));
                }
                for (job, drawn) in jobs.iter().zip(model.sample(run, &jobs)?) {
                    for (taxon, y) in drawn.abundance.iter().enumerate() {
                        let at = job.sample * n_taxa + taxon;
                        if is_positive[at] {
                            draws[at].push(*y);
                        }
                    }
                }
                Ok(())
            },
        )?;

        for sample in 0..n_samples {
            let total = Scale(entries.total(sample, None));
            for taxon in 0..n_taxa {
                let (at, place) = (sample * n_taxa + taxon, (sample, taxon));
                if !draws[at].is_empty() {
                    let mean = draws[at].iter().sum::<f64>() / draws[at].len() as f64;
                    let (low, high) = predictive_interval(&draws[at], 0.9);
                    let low = low.clamp(self.standardisation.least[taxon].min(mean), mean);
                    result.value[place] = from_ln1p_percent(mean, total);
                    result.lower[place] = from_ln1p_percent(low, total);
                    result.upper[place] = from_ln1p_percent(high, total);
                    result.action[place] = Action::Filled;
                } else if entries.known[at] == Known::Unknown
                    && is_candidate[at]
                    && is_fillable.contains(&sample)
                {
                    result.value[place] = 0.0;
                    result.lower[place] = 0.0;
                    result.upper[place] = 0.0;
                    result.action[place] = Action::Filled;
                } else if entries.known[at] == Known::Absent {
                    result.action[place] = Action::KeptZero;
                }
            }
        }
        result.hidden_draws = cohort
            .hidden
            .iter()
            .map(|(sample, taxon)| draws[*sample as usize * n_taxa + *taxon as usize].clone())
            .collect();
        Ok(result)
    }

    /// How much taxon `i` attends to taxon `j`: mean over heads, blocks and samples.
    ///
    /// # Errors
    /// As [`Model::impute`].
    pub fn attention(&self, cohort: &Cohort, seed: u64) -> Result<Array2<f64>> {
        self.check_features(cohort)?;
        let entries = Entries::new(cohort)?;
        let interrupted = AtomicBool::new(false);
        let run = Run {
            entries: &entries,
            conditions: cohort.conditions.as_ref(),
            sampler: self.config.sampling.sampler,
            seed,
            device: &Device::flex(),
            interrupted: &interrupted,
        };
        let map = self.attention_between_taxa(&run, &entries.informative_samples())?;
        Ok(Array2::from_shape_vec((entries.n_taxa, entries.n_taxa), map).expect("a square map"))
    }

    /// How presence is judged. A probability is a mean over all latents that fit what is observed, and
    /// the first estimate of the clean latent from pure noise is nearly their mean: one step of it
    /// tells false zeros from true ones better than many steps of as many draws. A network that
    /// predicts the noise has no such estimate, since there it is divided by almost nothing.
    fn presence_pass(&self, sampler: Sampler) -> Pass {
        Pass {
            name: "presence",
            sampler: match self.config.dat.prediction {
                Prediction::X0 | Prediction::V => Sampler::Ddim(1),
                Prediction::Noise => sampler,
            },
        }
    }

    /// Runs `work` on batches of samples, so that memory stays bounded.
    fn in_batches(
        &self,
        cohort: &Cohort,
        entries: &Entries,
        options: &mut ImputeOptions,
        pass: &Pass,
        samples: &[usize],
        work: &mut Work,
    ) -> Result<()> {
        let began = Instant::now();
        let size = options.batch_size.max(1);
        for (i, part) in samples.chunks(size).enumerate() {
            let run = Run {
                entries,
                conditions: cohort.conditions.as_ref(),
                sampler: pass.sampler,
                seed: options.seed,
                device: &options.device,
                interrupted: options.interrupted,
            };
            work(self, &run, part)?;
            (options.progress)(&Progress {
                stage: pass.name.to_string(),
                step: (i * size + part.len()).min(samples.len()),
                n_steps: samples.len(),
                loss: f64::NAN,
                validation: None,
                seconds: began.elapsed().as_secs_f64(),
            });
        }
        Ok(())
    }

    fn check_features(&self, cohort: &Cohort) -> Result<()> {
        let found = cohort.table.feature_ids();
        if found != self.feature_ids {
            let own: HashSet<&String> = self.feature_ids.iter().collect();
            return Err(Error::Features {
                found: found.len(),
                expected: self.feature_ids.len(),
                shared: found.iter().filter(|id| own.contains(id)).count(),
            });
        }
        let dim = cohort
            .conditions
            .as_ref()
            .map_or(0, |conditions| conditions.dim);
        if dim != self.d_metadata && cohort.conditions.is_some() {
            return Err(Error::Table(format!(
                "metadata vectors have length {dim}, but the model was fitted with {}",
                self.d_metadata
            )));
        }
        Ok(())
    }
}

//! How presence is judged: in rounds that each hide a part of a sample.

use super::Model;
use super::batch::Flag;
use super::entries::{Cohort, Known};
use super::guide_fit;
use super::impute::{Asked, Passes};
use super::neighbours::PassedOver;
use super::sampling::{Job, Run};
use super::work::Work;
use crate::device::Device;
use crate::error::Result;
use crate::noise::target::Prediction;
use crate::rng::{Stage, generator};
use crate::sample::Sampler;
use ndarray::Array2;
use rand::RngExt;
use std::collections::HashSet;
use std::sync::atomic::AtomicBool;

/// Folds in which the entries of a sample are hidden: each zero is judged with nearly all other entries in
/// sight, at the least rate that training has seen.
const N_FOLDS: usize = 20;
/// Separates the noise of the presence pass from that of the value pass.
const PRESENCE_DRAWS: u64 = 1 << 32;
/// Samples judged at once; bounds memory, changes nothing else.
const BLOCK: usize = 256;

/// What one round of the presence pass hides of a sample, and whose presence it judges.
struct Fold {
    number: usize,
    flags: Vec<Flag>,
    judged: Vec<usize>,
}

/// Rounds of the presence pass. Zeros are judged with a twentieth of all entries hidden, non-zeros too:
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

impl Model {
    /// The probability of presence of the candidates: as the guide has it, or a mean over draws.
    pub(super) fn judge_presence(
        &self,
        passes: &Passes,
        n_draws: usize,
        work: &mut Work,
    ) -> Result<()> {
        let (run, plan) = (&passes.presence, &passes.presence_plan);
        let n_draws = match self.guide {
            Some(_) => 1, // it has no draws
            None => n_draws,
        };
        let mut jobs = Vec::new();
        for sample in work.fillable() {
            let range = work.range(sample);
            for fold in folds(
                &work.known[range.clone()],
                &work.is_candidate[range],
                run.seed,
                run.entries.sample_id(sample),
            ) {
                jobs.extend((0..n_draws).map(|draw| {
                    let draw = PRESENCE_DRAWS + (fold.number * n_draws + draw) as u64;
                    let job = Job {
                        sample,
                        flags: fold.flags.clone(),
                        draw,
                        fold: passes.left_out.as_ref().map(|fold_of| fold_of[sample]),
                        passed_over: PassedOver::default(),
                    };
                    (fold.judged.clone(), job)
                }));
            }
        }
        let (judged, rows): (Vec<Vec<usize>>, Vec<Job>) = jobs.into_iter().unzip();
        let probabilities = match self.presence_by_guide(run, plan, &rows)? {
            Some(probabilities) => probabilities,
            None => self
                .sample(run, plan, &rows)?
                .into_iter()
                .map(|drawn| drawn.presence.into_iter().map(f64::from).collect())
                .collect(),
        };
        for ((judged, job), probability) in judged.iter().zip(&rows).zip(probabilities) {
            let start = work.range(job.sample).start;
            for &taxon in judged {
                work.presence[start + taxon] += probability[taxon] / n_draws as f64;
            }
        }
        Ok(())
    }

    /// The part of the samples that each sample of the cohort a model was fitted on is in: the members of the
    /// guide leave one part out each.
    ///
    /// - `cohort`: the one that the model was fitted on, with the same groups
    pub fn parts(&self, cohort: &Cohort) -> Vec<usize> {
        let n_parts = self.config.guide.n_folds();
        let groups = cohort.groups.as_deref();
        guide_fit::folds(cohort.table.n_samples(), groups, n_parts, self.seed)
    }

    /// The probability of presence of each zero in some samples of a cohort, `[n_samples, n_taxa]`, by the
    /// members of the guide that have not seen its sample; `NaN` elsewhere. `None` without a guide.
    ///
    /// - `cohort`: the one that the model was fitted on, maybe with other counts; the same groups
    /// - `is_asked`: per sample
    ///
    /// # Errors
    /// Other features than the model's, metadata of another length, an interruption.
    pub fn presence_by_others(
        &self,
        cohort: &Cohort,
        is_asked: &[bool],
        device: &Device,
        interrupted: &AtomicBool,
    ) -> Result<Option<Array2<f64>>> {
        self.check_features(cohort)?;
        if self.guide.is_none() {
            return Ok(None);
        }
        let entries = self.entries(cohort)?;
        let run = Run {
            entries: &entries,
            conditions: cohort.conditions.as_ref(),
            sampler: self.presence_sampler(self.config.sampling.sampler),
            seed: self.seed,
            device,
            interrupted,
        };
        let mut passes = Passes::new(self, run, run)?;
        passes.left_out = Some(self.parts(cohort));
        let structural = HashSet::new();
        let asked = Asked::zeros(&structural);
        let n_samples = entries.n_samples();
        let mut judged = Array2::from_elem((n_samples, entries.n_taxa), f64::NAN);
        for first in (0..n_samples).step_by(BLOCK) {
            let samples = first..(first + BLOCK).min(n_samples);
            let mut work = self.begin(&entries, &asked, samples.clone());
            for (is_fillable, is_asked) in work.is_fillable.iter_mut().zip(&is_asked[samples]) {
                *is_fillable &= is_asked;
            }
            self.judge_presence(&passes, 1, &mut work)?;
            let here = judged.iter_mut().skip(first * entries.n_taxa);
            for (to, (presence, is_zero)) in here.zip(work.zeros()) {
                if is_zero {
                    *to = presence;
                }
            }
        }
        Ok(Some(judged))
    }

    /// How presence is judged. A probability is a mean over all latents that fit what is observed, and
    /// the first estimate of the clean latent from pure noise is nearly their mean: one step of it
    /// tells false zeros from true ones better than many steps of as many draws. A network that
    /// predicts the noise has no such estimate, since there it is divided by almost nothing.
    pub(super) fn presence_sampler(&self, sampler: Sampler) -> Sampler {
        match self.config.dat.prediction {
            Prediction::X0 | Prediction::V => Sampler::Ddim(1),
            Prediction::Noise => sampler,
        }
    }
}

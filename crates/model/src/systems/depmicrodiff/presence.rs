//! How presence is judged: in rounds that each hide a part of a sample.

use super::Model;
use super::batch::Flag;
use super::entries::Known;
use super::impute::{Passes, Work};
use super::neighbours::PassedOver;
use super::sampling::Job;
use crate::error::Result;
use crate::noise::target::Prediction;
use crate::rng::{Stage, generator};
use crate::sample::Sampler;
use rand::RngExt;

/// Folds in which the entries of a sample are hidden: each zero is judged with nearly all other entries in
/// sight, at the least rate that training has seen.
const N_FOLDS: usize = 20;
/// Separates the noise of the presence pass from that of the value pass.
const PRESENCE_DRAWS: u64 = 1 << 32;

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
                        fold: None,
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

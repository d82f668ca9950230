//! Samples as the autoencoder sees them: which taxa are present, and the normal score of each one's share.

use super::Marginal;
use super::vae::{Batch, Taxa};
use crate::error::{Error, Result};
use crate::parameters::tensor;
use crate::rng::{Stage, generator};
use burn::tensor::{Device, Tensor};
use rand::RngExt;
use suffuse_data::Table;

/// A sample with reads.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Profile {
    /// Its row of the table.
    pub(super) row: usize,
    /// Taxa that are present, and the normal score of their shares.
    pub(super) entries: Vec<(u32, f32)>,
    /// Normal score of its total.
    pub(super) depth: f32,
}

/// What the distributions of a table say: of shares per taxon, of totals.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Marginals {
    /// Of ln(share) where the taxon is present.
    pub(super) shares: Vec<Marginal>,
    /// Of ln(total).
    pub(super) totals: Marginal,
}

/// Stands for the logarithm of the total where totals are no depths.
pub(super) const NO_DEPTH: f64 = 0.0;

/// Samples that `prevalence` is smoothed with: one half present, one half absent.
const PRIOR_SAMPLES: f64 = 1.0;

/// A sample with reads, as the table has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Observed {
    /// Its row of the table.
    pub(super) row: usize,
    /// Taxa that are present, and ln(share) of each.
    pub(super) logs: Vec<(u32, f64)>,
    /// Logarithm of its total; 0 in a table without counts, whose totals say nothing of depths.
    pub(super) ln_total: f64,
}

/// The samples of a table with reads, what their distributions say, and the share of the samples with each taxon,
/// smoothed.
///
/// # Errors
/// As [`observed`]; fewer than two samples with reads or two taxa present.
pub(super) fn profiles(table: &Table, seed: u64) -> Result<(Vec<Profile>, Marginals, Vec<f64>)> {
    let observed = observed(table, seed)?;
    let mut logs: Vec<Vec<f64>> = vec![Vec::new(); table.n_features()];
    for (taxon, log) in observed.iter().flat_map(|sample| &sample.logs) {
        logs[*taxon as usize].push(*log);
    }
    enough(
        observed.len(),
        logs.iter().filter(|logs| !logs.is_empty()).count(),
    )?;
    let n = observed.len() as f64;
    let prevalence = logs
        .iter()
        .map(|logs| (logs.len() as f64 + 0.5 * PRIOR_SAMPLES) / (n + PRIOR_SAMPLES))
        .collect();
    let marginals = Marginals {
        shares: logs.into_iter().map(Marginal::of).collect(),
        totals: Marginal::of(observed.iter().map(|sample| sample.ln_total).collect()),
    };
    Ok((scored(observed, &marginals), marginals, prevalence))
}

/// The samples of a table with reads.
///
/// A count is one of all abundances that would have been rounded to it: it stands for a number drawn from
/// within half a read, so that the score of a taxon's smallest counts is spread and not a single point.
///
/// # Errors
/// An entry that is negative or not finite.
pub(super) fn observed(table: &Table, seed: u64) -> Result<Vec<Observed>> {
    let mut samples = Vec::new();
    let (_, _, all) = table.csr();
    let is_whole = all.iter().all(|value| value.fract() == 0.0);
    for row in 0..table.n_samples() {
        let (taxa, values) = table.row(row);
        let id = &table.sample_ids()[row];
        if let Some(at) = values.iter().position(|x| !x.is_finite() || *x < 0.0) {
            return Err(Error::Table(format!(
                "sample {id:?}, feature {:?} is {}: a generator learns from abundances that were all measured and are not negative; fill or remove it",
                table.feature_ids()[taxa[at] as usize],
                values[at]
            )));
        }
        let total: f64 = values.iter().sum();
        if total <= 0.0 {
            continue;
        }
        let mut rng = generator(seed, Stage::TrainingStep, id, 0);
        let mut logs = Vec::new();
        for (taxon, value) in taxa.iter().zip(values).filter(|(_, value)| **value > 0.0) {
            let within = match is_whole {
                true => rng.random_range(-0.5..0.5),
                false => 0.0,
            };
            logs.push((*taxon, ((value + within) / total).ln()));
        }
        samples.push(Observed {
            row,
            logs,
            ln_total: if is_whole { total.ln() } else { NO_DEPTH },
        });
    }
    Ok(samples)
}

/// Refuses a table that nothing can be learned from.
///
/// - `n_features`: those that may be learned from
pub(super) fn enough(n_samples: usize, n_features: usize) -> Result<()> {
    match n_samples < 2 || n_features < 2 {
        true => Err(Error::Table(format!(
            "{n_samples} samples with reads and {n_features} features present: at least 2 of each are needed to learn from"
        ))),
        false => Ok(()),
    }
}

/// Shares and totals as normal scores under distributions.
pub(super) fn scored(samples: Vec<Observed>, marginals: &Marginals) -> Vec<Profile> {
    let profile = |sample: Observed| Profile {
        row: sample.row,
        entries: sample
            .logs
            .into_iter()
            .map(|(taxon, log)| {
                let score = marginals.shares[taxon as usize].score(log);
                (taxon, score as f32)
            })
            .collect(),
        depth: marginals.totals.score(sample.ln_total) as f32,
    };
    samples.into_iter().map(profile).collect()
}

/// These samples as tensors.
pub(super) fn batch<'a>(
    profiles: impl ExactSizeIterator<Item = &'a Profile>,
    taxa: &Taxa,
    device: &Device,
) -> Batch {
    let (n, n_taxa) = (profiles.len(), taxa.prevalence.len());
    let (mut presence, mut score) = (vec![0.0; n * n_taxa], vec![0.0; n * n_taxa]);
    let mut depth = Vec::with_capacity(n);
    for (row, profile) in profiles.enumerate() {
        for (taxon, value) in &profile.entries {
            presence[row * n_taxa + *taxon as usize] = 1.0;
            score[row * n_taxa + *taxon as usize] = *value;
        }
        depth.push(profile.depth);
    }
    let matrix = |values: Vec<f32>| -> Tensor<2> { tensor(values, [n, n_taxa], device) };
    Batch {
        presence: matrix(presence),
        score: matrix(score),
        depth: tensor(depth, [n, 1], device),
    }
}

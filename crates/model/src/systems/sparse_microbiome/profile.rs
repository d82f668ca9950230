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

/// Samples that `prevalence` is smoothed with: one half present, one half absent.
const PRIOR_SAMPLES: f64 = 1.0;

/// The samples of a table with reads, and what their distributions say.
///
/// A count is one of all abundances that would have been rounded to it: it stands for a number drawn from
/// within half a read, so that the score of a taxon's smallest counts is spread and not a single point.
///
/// # Errors
/// An entry that is negative or not finite; fewer than two samples with reads or two taxa present.
pub(super) fn profiles(table: &Table, seed: u64) -> Result<(Vec<Profile>, Marginals, Vec<f64>)> {
    let n_taxa = table.n_features();
    let mut logs: Vec<Vec<f64>> = vec![Vec::new(); n_taxa];
    let mut rows = Vec::new();
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
        let mut shares = Vec::new();
        for (taxon, value) in taxa.iter().zip(values).filter(|(_, value)| **value > 0.0) {
            let within = match is_whole {
                true => rng.random_range(-0.5..0.5),
                false => 0.0,
            };
            let log = ((value + within) / total).ln();
            logs[*taxon as usize].push(log);
            shares.push((*taxon, log));
        }
        rows.push((row, shares, total.ln()));
    }
    let n_present = logs.iter().filter(|logs| !logs.is_empty()).count();
    if rows.len() < 2 || n_present < 2 {
        return Err(Error::Table(format!(
            "{} samples with reads and {n_present} features present: at least 2 of each are needed to learn from",
            rows.len()
        )));
    }
    let n = rows.len() as f64;
    let prevalence = logs
        .iter()
        .map(|logs| (logs.len() as f64 + 0.5 * PRIOR_SAMPLES) / (n + PRIOR_SAMPLES))
        .collect();
    let marginals = Marginals {
        shares: logs.into_iter().map(Marginal::of).collect(),
        totals: Marginal::of(rows.iter().map(|(_, _, total)| *total).collect()),
    };
    let profiles = rows
        .into_iter()
        .map(|(row, shares, total)| Profile {
            row,
            entries: shares
                .into_iter()
                .map(|(taxon, log)| {
                    let score = marginals.shares[taxon as usize].score(log);
                    (taxon, score as f32)
                })
                .collect(),
            depth: marginals.totals.score(total) as f32,
        })
        .collect();
    Ok((profiles, marginals, prevalence))
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

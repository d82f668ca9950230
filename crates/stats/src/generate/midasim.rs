//! MIDASim, the non-parametric mode (He, Zhao and Satten 2024, Microbiome 12:135).
//!
//! ```text
//! a row of the table -> depth, richness -> presence (see presence.rs)
//! normal vector with the correlation of ranks -> quantiles of the non-zero relative abundances
//! -> made relative -> counts of that depth, at least 1 where present
//! ```
//!
//! Departures from the R package, which make the samples no less like the table:
//!
//! - Residual correlations of presences are exact and given the richness, see `presence.rs`; the package
//!   takes an approximation of the tetrachoric correlation, over all samples.
//! - Correlations of abundances are the mean over all orders of the zeros; the package draws 100.
//! - Of eight draws of the abundances of a sample, the one whose sum is nearest to 1 is taken: making it
//!   relative then changes it least.
//! - A row keeps its total: counts are rounded, at least one read per present taxon, and what that leaves is shared out.

use super::copula::{Factor, Repair};
use super::drawing::{Composition, ExactReads, Plan};
use super::normal::cdf;
use super::presence::{Level, Presence};
use super::{Depths, LibrarySizes, Template, stream};
use crate::Result;
use crate::ranks::ranks;
use ndarray::Array2;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::f64::consts::PI;
use std::ops::Range;

/// Thresholds of presence, non-zero relative abundances, and two copulas.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedMidasim {
    library_sizes: LibrarySizes,
    presence: Presence,
    /// Of each sample of the table.
    eta: Vec<f64>,
    /// Non-zero relative abundances of each taxon, rising.
    values: Vec<Vec<f64>>,
    abundance: Factor,
}

impl FittedMidasim {
    pub(super) fn fit(template: &Template) -> Result<FittedMidasim> {
        template.require_samples(2)?;
        let present = template.relative.mapv(|x| f64::from(u8::from(x > 0.0)));
        let richness: Vec<f64> = present.rows().into_iter().map(|row| row.sum()).collect();
        let mut distinct = richness.clone();
        distinct.sort_by(f64::total_cmp);
        distinct.dedup();
        let level_of: Vec<usize> = richness
            .iter()
            .map(|r| distinct.partition_point(|d| d < r))
            .collect();
        let (mean, reliability) = reliability(&richness, &present);
        let levels: Vec<Level> = distinct
            .iter()
            .enumerate()
            .map(|(at, n_taxa)| Level {
                n_taxa: mean + reliability * (n_taxa - mean),
                n_samples: level_of.iter().filter(|level| **level == at).count() as f64,
            })
            .collect();
        let n_expected: Vec<f64> = template.n_present().iter().map(|n| *n as f64).collect();
        let (presence, eta) = Presence::fit(&present, &n_expected, &levels, &level_of);
        Ok(FittedMidasim {
            library_sizes: template.library_sizes.clone(),
            presence,
            eta: level_of.iter().map(|level| eta[*level]).collect(),
            values: values(&template.relative),
            abundance: abundance_factor(&template.relative)?,
        })
    }

    pub(super) fn library_sizes(&self) -> &LibrarySizes {
        &self.library_sizes
    }

    pub(super) fn n_taxa(&self) -> usize {
        self.values.len()
    }

    pub(super) fn plan(&self, n: usize, depths: &Depths, seed: u64) -> Result<Plan> {
        let origins = self.origins(n, depths, seed)?;
        Ok(Plan {
            depths: Some(origins.iter().map(|origin| origin.depth).collect()),
            etas: Some(origins.iter().map(|origin| origin.eta).collect()),
        })
    }

    pub(super) fn draw(&self, depth: u64, eta: f64, rng: &mut ChaCha8Rng) -> Composition {
        let is_present = self.presence.draw(eta, rng);
        let weights = nearest_composition(&is_present, &self.abundance, rng, |taxon, z| {
            let values = &self.values[taxon];
            values[rank(cdf(z), values.len())]
        });
        Composition {
            weights,
            depth,
            exact: ExactReads::Apportioned,
        }
    }

    /// Depth and `eta` of each sample: those of a row of the table. Where depths are given, the row is one
    /// of the 5 % whose depth is nearest; of a table without counts any row, since its totals are no depths.
    fn origins(&self, n: usize, depths: &Depths, seed: u64) -> Result<Vec<Origin>> {
        let totals = &self.library_sizes.totals;
        match depths {
            Depths::AsFitted => {
                let reads = self.library_sizes.reads()?;
                let rows = self.library_sizes.rows(n, seed);
                let origin = |row: &usize| Origin {
                    depth: reads[*row],
                    eta: self.eta[*row],
                };
                Ok(rows.iter().map(origin).collect())
            }
            Depths::Given(depths) => {
                let mut rng = stream(seed, None);
                // In random order first: rows of one depth are chosen evenly.
                let mut order = self.library_sizes.rows(totals.len(), seed);
                order.sort_by(|a, b| totals[*a].total_cmp(&totals[*b]));
                let near = |depth: u64| -> Range<usize> {
                    if !self.library_sizes.is_whole {
                        return 0..order.len();
                    }
                    let wanted = depth as f64;
                    let above = order.partition_point(|row| totals[*row] < wanted);
                    let up_to = order.partition_point(|row| totals[*row] <= wanted);
                    if up_to > above {
                        return above..up_to;
                    }
                    let n_near = totals.len().div_ceil(20);
                    let start = above.saturating_sub(n_near.div_ceil(2));
                    let start = start.min(order.len() - n_near);
                    start..start + n_near
                };
                let origin = |depth: &u64| Origin {
                    depth: *depth,
                    eta: self.eta[order[rng.random_range(near(*depth))]],
                };
                Ok(depths.iter().map(origin).collect())
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Origin {
    depth: u64,
    eta: f64,
}

/// Mean richness, and the share of its variance that differences of samples make: the rest is what
/// independent presences of these prevalences vary by. Without it richness would count as known, and pairs of
/// taxa would have to exclude each other to make up for the noise.
fn reliability(richness: &[f64], present: &Array2<f64>) -> (f64, f64) {
    let n = richness.len() as f64;
    let mean = richness.iter().sum::<f64>() / n;
    let variance = richness.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / n;
    let noise: f64 = present
        .columns()
        .into_iter()
        .map(|column| column.sum() / n)
        .map(|p| p * (1.0 - p))
        .sum();
    let reliability = if variance > 0.0 {
        (1.0 - noise / variance).max(0.0)
    } else {
        0.0
    };
    (mean, reliability)
}

/// Draws of the abundances of a sample.
const N_TRIES: usize = 8;

/// Of several draws the one whose sum is nearest to 1 in ratio.
///
/// - `weight`: of a present taxon, by its position and its element of a normal vector
pub(super) fn nearest_composition(
    is_present: &[bool],
    abundance: &Factor,
    rng: &mut ChaCha8Rng,
    weight: impl Fn(usize, f64) -> f64,
) -> Vec<f64> {
    let z = abundance.draw_several::<N_TRIES>(rng);
    let weights = |k: usize| -> Vec<f64> {
        let of_taxon = |(taxon, is_present): (usize, &bool)| match is_present {
            true => weight(taxon, z[taxon][k]),
            false => 0.0,
        };
        is_present.iter().enumerate().map(of_taxon).collect()
    };
    let mut nearest = (f64::INFINITY, Vec::new());
    for weights in (0..N_TRIES).map(weights) {
        let distance = weights.iter().sum::<f64>().ln().abs();
        if distance < nearest.0 || nearest.1.is_empty() {
            nearest = (distance, weights);
        }
    }
    nearest.1
}

/// Position of the quantile `u` among `n` sorted values.
fn rank(u: f64, n: usize) -> usize {
    ((u * n as f64) as usize).min(n - 1)
}

/// Non-zero relative abundances of each taxon, rising.
fn values(relative: &Array2<f64>) -> Vec<Vec<f64>> {
    relative
        .columns()
        .into_iter()
        .map(|column| {
            let mut values: Vec<f64> = column.iter().copied().filter(|x| *x > 0.0).collect();
            values.sort_by(f64::total_cmp);
            values
        })
        .collect()
}

/// The factor of the correlation of abundances: `2 sin(pi r / 6)` of the rank correlation `r`, over all
/// samples, with the zeros of a taxon in random order. The package draws 100 orders; the mean over all of them
/// has the zeros at their mean rank, and the variance of ranks without ties.
pub(super) fn abundance_factor(relative: &Array2<f64>) -> Result<Factor> {
    let (n, n_taxa) = relative.dim();
    let mut centred = Array2::zeros((n, n_taxa));
    for (mut to, from) in centred.columns_mut().into_iter().zip(relative.columns()) {
        for (to, rank) in to.iter_mut().zip(ranks(&from.to_vec())?) {
            *to = rank - (n as f64 + 1.0) / 2.0;
        }
    }
    let products = centred.t().dot(&centred);
    let squares = n as f64 * ((n * n) as f64 - 1.0) / 12.0;
    let correlation = Array2::from_shape_fn((n_taxa, n_taxa), |at| match at.0 == at.1 {
        true => 1.0,
        false => 2.0 * (PI * products[at] / squares / 6.0).sin(),
    });
    Ok(Factor::of(&correlation, Repair::Clip))
}

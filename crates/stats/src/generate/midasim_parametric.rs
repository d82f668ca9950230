//! MIDASim, the parametric mode (He, Zhao and Satten 2024, Microbiome 12:135).
//!
//! ```text
//! each taxon: generalised gamma distribution of its relative abundance, present where above 1 / depth
//! depth of a row -> expected richness -> presence (see presence.rs)
//! normal vector with the correlation of ranks -> quantiles above 1 / depth -> made relative -> counts
//! ```
//!
//! Mean and variance of a taxon are matched, and the third parameter makes its presences at the depths of
//! the table most likely. Departures from the R package are those of [`super::midasim`], and two more:
//! depths are grouped for the likelihood; and the distributions say how richness changes with depth, but
//! prevalences are those of the table. Three parameters cannot match them beside mean and variance.

use super::copula::Factor;
use super::drawing::{Composition, ExactReads, Plan};
use super::generalised_gamma::{DepthGroup, GeneralisedGamma};
use super::midasim::{abundance_factor, nearest_composition};
use super::normal::cdf;
use super::presence::{Level, Presence};
use super::{Depths, LibrarySizes, Template};
use crate::Result;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Distributions of relative abundances, thresholds of presence, and two copulas.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedMidasimParametric {
    library_sizes: LibrarySizes,
    /// `None` for a taxon that no sample has.
    taxa: Vec<Option<GeneralisedGamma>>,
    /// Taxa per sample of the table over those of the distributions.
    richness_scale: f64,
    presence: Presence,
    abundance: Factor,
}

/// Groups of samples of similar depth.
const N_GROUPS: usize = 64;
/// Squared coefficients of variation below this are raised to it: a constant taxon has none.
const LEAST_CV_SQUARE: f64 = 1e-6;

impl FittedMidasimParametric {
    pub(super) fn fit(template: &Template) -> Result<FittedMidasimParametric> {
        template.require_samples(2)?;
        // A taxon is present where it reaches a read, and fractions do not say what a read is.
        template.require_counts("counts to fit the parametric MIDASim to")?;
        let totals = &template.library_sizes.totals;
        let n = totals.len();
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|a, b| totals[*a].total_cmp(&totals[*b]));
        let groups: Vec<&[usize]> = order.chunks(n.div_ceil(N_GROUPS)).collect();
        let ln_depths: Vec<f64> = groups
            .iter()
            .map(|rows| rows.iter().map(|i| totals[*i].ln()).sum::<f64>() / rows.len() as f64)
            .collect();
        let taxa: Vec<Option<GeneralisedGamma>> = (0..template.n_taxa())
            .into_par_iter()
            .map(|j| fit_taxon(template, j, &groups, &ln_depths))
            .collect();
        let present = template.relative.mapv(|x| f64::from(u8::from(x > 0.0)));
        let expected = |ln_depth: f64| -> Vec<f64> {
            let presence =
                |taxon: &Option<GeneralisedGamma>| taxon.map_or(0.0, |t| t.presence(ln_depth));
            taxa.iter().map(presence).collect()
        };
        let by_group: Vec<Vec<f64>> = ln_depths.iter().map(|depth| expected(*depth)).collect();
        let n_present = template.n_present();
        let n_expected: Vec<f64> = n_present.iter().map(|n| *n as f64).collect();
        let of_model: f64 = by_group
            .iter()
            .zip(&groups)
            .map(|(p, rows)| p.iter().sum::<f64>() * rows.len() as f64)
            .sum();
        let richness_scale = n_expected.iter().sum::<f64>() / of_model;
        let levels: Vec<Level> = by_group
            .iter()
            .zip(&groups)
            .map(|(p, rows)| Level {
                n_taxa: p.iter().sum::<f64>() * richness_scale,
                n_samples: rows.len() as f64,
            })
            .collect();
        let mut level_of = vec![0; n];
        for (level, rows) in groups.iter().enumerate() {
            rows.iter().for_each(|row| level_of[*row] = level);
        }
        let (presence, _) = Presence::fit(&present, &n_expected, &levels, &level_of);
        Ok(FittedMidasimParametric {
            library_sizes: template.library_sizes.clone(),
            taxa,
            richness_scale,
            presence,
            abundance: abundance_factor(&template.relative)?,
        })
    }

    pub(super) fn library_sizes(&self) -> &LibrarySizes {
        &self.library_sizes
    }

    pub(super) fn n_taxa(&self) -> usize {
        self.taxa.len()
    }

    pub(super) fn plan(&self, n: usize, depths: &Depths, seed: u64) -> Result<Plan> {
        let depths = self.library_sizes.depths(n, depths, seed)?;
        Ok(Plan {
            depths: Some(depths),
            etas: None,
        })
    }

    pub(super) fn draw(&self, depth: u64, rng: &mut ChaCha8Rng) -> Composition {
        let ln_depth = (depth.max(1) as f64).ln();
        let presence =
            |taxon: &Option<GeneralisedGamma>| taxon.map_or(0.0, |t| t.presence(ln_depth));
        let n_taxa = self.richness_scale * self.taxa.iter().map(presence).sum::<f64>();
        let is_present = self.presence.draw(self.presence.eta(n_taxa), rng);
        let weights = nearest_composition(&is_present, &self.abundance, rng, |taxon, z| {
            // No share of a sample is above 1, and a present taxon has a weight.
            self.taxa[taxon].map_or(0.0, |taxon| {
                let ln_share = taxon.ln_quantile(cdf(z), ln_depth).min(0.0);
                ln_share.exp().max(f64::MIN_POSITIVE)
            })
        });
        Composition {
            weights,
            depth,
            exact: ExactReads::Apportioned,
        }
    }
}

fn fit_taxon(
    template: &Template,
    taxon: usize,
    groups: &[&[usize]],
    ln_depths: &[f64],
) -> Option<GeneralisedGamma> {
    let column = template.relative.column(taxon);
    let n = column.len() as f64;
    let mean = column.sum() / n;
    if mean <= 0.0 {
        return None;
    }
    let variance = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let of_groups: Vec<DepthGroup> = groups
        .iter()
        .zip(ln_depths)
        .map(|(rows, ln_depth)| DepthGroup {
            ln_depth: *ln_depth,
            n_samples: rows.len() as f64,
            n_present: rows.iter().filter(|i| column[**i] > 0.0).count() as f64,
        })
        .collect();
    let cv_square = (variance / (mean * mean)).max(LEAST_CV_SQUARE);
    Some(GeneralisedGamma::fit(mean, cv_square, &of_groups))
}

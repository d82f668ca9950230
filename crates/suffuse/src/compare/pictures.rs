//! What the report draws of a comparison.

use super::figure::Metric;
use super::heat_map::HeatMap;
use super::measure::Pair;
use super::pool::Pool;
use crate::Result;
use ndarray::Array2;
use suffuse_stats::distance::subset;
use suffuse_stats::pcoa::{Ordination, pcoa};
use suffuse_stats::scores::quantile;

/// Most samples of each side that are drawn as points.
const MAX_POINTS: usize = 300;
/// Steps between the quantiles of distances.
const N_QUANTILES: usize = 100;

/// Numbers for pictures; of two in a pair the first is of real samples, the second of generated ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Pictures {
    /// Samples of each side in `ordination`.
    pub n_points: usize,
    /// Principal coordinates of Bray-Curtis distances, two axes, real samples first.
    pub ordination: Ordination,
    /// Per feature.
    pub taxa: Vec<TaxonPair>,
    /// Quantiles of the distances within each side, evenly spaced from 0 to 1.
    pub distances: Vec<(Metric, [Vec<f64>; 2])>,
    /// Values of the samples of each side.
    pub diversity: Vec<(&'static str, [Vec<f64>; 2])>,
    /// Taxa by samples, in the order of the tree.
    pub heat_map: HeatMap,
}

/// A taxon on both sides.
#[derive(Debug, Clone, PartialEq)]
pub struct TaxonPair {
    /// Feature id.
    pub id: String,
    /// Share of the samples that it is in.
    pub prevalence: [f64; 2],
    /// Mean share.
    pub mean: [f64; 2],
}

impl Pictures {
    /// All that needs no distances; the ordination and what is ordered by it stay empty.
    pub(super) fn new(pool: &Pool, pair: Pair) -> Pictures {
        let sides = [pair.real, pair.other];
        let taxa = pool.feature_ids.iter().enumerate().map(|(taxon, id)| {
            let mean_of = |of: fn(f64) -> f64| {
                sides.map(|rows| {
                    let values = rows.iter().map(|row| of(pool.shares[[*row, taxon]]));
                    values.sum::<f64>() / rows.len() as f64
                })
            };
            TaxonPair {
                id: id.clone(),
                prevalence: mean_of(|share| f64::from(u8::from(share > 0.0))),
                mean: mean_of(|share| share),
            }
        });
        let of_sides = |values: &[f64]| sides.map(|rows| rows.iter().map(|r| values[*r]).collect());
        let mut diversity = vec![
            ("richness", of_sides(&pool.richness)),
            ("Shannon", of_sides(&pool.shannon)),
            ("Simpson", of_sides(&pool.simpson)),
        ];
        if let Some(faith) = &pool.faith {
            diversity.push(("Faith PD", of_sides(faith)));
        }
        Pictures {
            n_points: 0,
            ordination: Ordination {
                points: Array2::zeros((0, 2)),
                eigenvalues: Vec::new(),
                shares: Vec::new(),
            },
            taxa: taxa.collect(),
            distances: Vec::new(),
            diversity,
            heat_map: HeatMap::default(),
        }
    }

    /// Takes in a matrix of distances, the real samples first.
    pub(super) fn add(&mut self, metric: Metric, distances: &Array2<f64>) -> Result<()> {
        let n = distances.nrows() / 2;
        let quantiles = [0, n].map(|first| {
            let pairs = (0..n).flat_map(|i| (0..i).map(move |j| (first + i, first + j)));
            let mut within: Vec<f64> = pairs.map(|pair| distances[pair]).collect();
            within.sort_unstable_by(f64::total_cmp);
            let level = |k: usize| quantile(&within, k as f64 / N_QUANTILES as f64);
            (0..=N_QUANTILES).map(level).collect()
        });
        self.distances.push((metric, quantiles));
        if metric == Metric::BrayCurtis {
            self.n_points = n.min(MAX_POINTS);
            let chosen: Vec<usize> = (0..self.n_points).chain(n..n + self.n_points).collect();
            self.ordination = pcoa(&subset(distances, &chosen), 2)?;
        }
        Ok(())
    }
}

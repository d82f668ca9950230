//! Taxon embeddings in hyperbolic space, fitted to distances on a tree or in a taxonomy.
//!
//! ```text
//! tree or taxonomy -> TaxonDistances -> points in the Poincaré ball -> log map at the origin -> network
//! ```
//!
//! The volume of a hyperbolic ball grows exponentially with its radius, as the number of leaves of a tree
//! does with its depth. Hence few dimensions hold a tree with little distortion (Sarkar 2011; Nickel and
//! Kiela 2017; Sala et al. 2018).

pub mod ball;
mod distances;
mod fit;

pub use distances::TaxonDistances;

use crate::error::{Error, Result};
use fit::Fit;
use ndarray::{Array2, ArrayView1};
use serde::{Deserialize, Serialize};
use suffuse_stats::ranks::spearman;

/// Dimensions of an embedding where nobody asks for others.
pub const N_DIMS: usize = 16;
/// Distances below this share of their mean count as this much where a deviation is divided by them.
pub const FLOOR: f64 = 0.05;

/// Taxa as points of hyperbolic space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HyperbolicEmbedding {
    /// Log map of the points at the origin, `[n_taxa, n_dims]`; see [`ball::log_map_at_origin`].
    #[serde(with = "rows")]
    pub tangent: Array2<f32>,
    /// What hyperbolic distances are multiplied by to give taxon distances.
    pub scale: f64,
    /// Mean over pairs of `|scale d(u_i, u_j) - t_ij| / max(t_ij, FLOOR)`; 0 without pairs.
    pub distortion: f64,
    /// Spearman's correlation of both distances over pairs; `None` if either is constant.
    pub rank_correlation: Option<f64>,
}

impl HyperbolicEmbedding {
    /// Minimises the mean over pairs of `((scale d(u_i, u_j) - t_ij) / max(t_ij, FLOOR))^2` over points and
    /// scale: classical scaling for a start, then Riemannian Adam (Bécigneul and Ganea 2019) with the exponential
    /// map and parallel transport.
    ///
    /// # Errors
    /// `n_dims` of 0.
    pub fn fit(distances: &TaxonDistances, n_dims: usize, seed: u64) -> Result<Self> {
        if n_dims == 0 {
            return Err(Error::Config {
                origin: "taxon embedding".to_string(),
                problem: "0 dimensions; 1 at least are needed, 16 are usual".to_string(),
            });
        }
        let (points, scale) = Fit::new(distances, n_dims, seed)?.run();
        HyperbolicEmbedding::of_points(points, scale, distances)
    }

    /// Taxa.
    pub fn n_taxa(&self) -> usize {
        self.tangent.nrows()
    }

    fn of_points(mut points: Array2<f64>, scale: f64, distances: &TaxonDistances) -> Result<Self> {
        let (mut found, mut wanted) = (Vec::new(), Vec::new());
        for i in 0..points.nrows() {
            for j in 0..i {
                let distance = ball::distance(slice(&points.row(i)), slice(&points.row(j)));
                found.push(scale * distance);
                wanted.push(distances.matrix()[[i, j]]);
            }
        }
        let deviations = (found.iter().zip(&wanted)).map(|(d, t)| (d - t).abs() / t.max(FLOOR));
        let rank_correlation = spearman(&found, &wanted)?;
        for mut point in points.rows_mut() {
            ball::log_map_at_origin(point.as_slice_mut().expect("rows are contiguous"));
        }
        Ok(HyperbolicEmbedding {
            tangent: points.mapv(|x| x as f32),
            scale,
            distortion: deviations.sum::<f64>() / found.len().max(1) as f64,
            rank_correlation: (!rank_correlation.is_nan()).then_some(rank_correlation),
        })
    }
}

fn slice<'a>(row: &ArrayView1<'a, f64>) -> &'a [f64] {
    row.to_slice().expect("rows are contiguous")
}

/// A matrix as a list of its rows.
mod rows {
    use ndarray::Array2;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        matrix: &Array2<f32>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let rows: Vec<Vec<f32>> = matrix.rows().into_iter().map(|row| row.to_vec()).collect();
        rows.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Array2<f32>, D::Error> {
        let rows = Vec::<Vec<f32>>::deserialize(deserializer)?;
        let (n_rows, n_columns) = (rows.len(), rows.first().map_or(0, Vec::len));
        if let Some(at) = rows.iter().position(|row| row.len() != n_columns) {
            return Err(D::Error::custom(format!(
                "row {} of the embedding has {} numbers, the first has {n_columns}",
                at + 1,
                rows[at].len()
            )));
        }
        Array2::from_shape_vec((n_rows, n_columns), rows.concat()).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;

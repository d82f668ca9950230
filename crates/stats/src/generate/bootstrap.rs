//! Real rows, drawn with replacement: as alike as a sample of the same people can be, and no synthesis.

use super::drawing::{Composition, ExactReads, Plan};
use super::{Depths, LibrarySizes, Template};
use ndarray::Array2;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The rows of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedBootstrap {
    library_sizes: LibrarySizes,
    rows: Array2<f64>,
}

impl FittedBootstrap {
    pub(super) fn fit(template: Template) -> FittedBootstrap {
        FittedBootstrap {
            library_sizes: template.library_sizes,
            rows: template.entries,
        }
    }

    pub(super) fn library_sizes(&self) -> &LibrarySizes {
        &self.library_sizes
    }

    pub(super) fn n_taxa(&self) -> usize {
        self.rows.ncols()
    }

    pub(super) fn plan(&self, depths: &Depths) -> Plan {
        let depths = match depths {
            Depths::AsFitted => None,
            Depths::Given(depths) => Some(depths.clone()),
        };
        Plan { depths, etas: None }
    }

    /// A row, at its own depth or at another one.
    pub(super) fn draw(&self, depth: Option<u64>, rng: &mut ChaCha8Rng) -> Composition {
        let from = rng.random_range(0..self.rows.nrows());
        let own = self.library_sizes.totals[from] as u64;
        Composition {
            weights: self.rows.row(from).to_vec(),
            depth: depth.unwrap_or(own),
            exact: match depth {
                None => ExactReads::Weights,
                Some(_) => ExactReads::Multinomial,
            },
        }
    }
}

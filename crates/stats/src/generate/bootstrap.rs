//! Real rows, drawn with replacement: as alike as a sample of the same people can be, and no synthesis.

use super::counting::multinomial;
use super::{Depths, Template, draw_rows};
use ndarray::Array2;
use rand::RngExt;

/// The rows of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedBootstrap {
    rows: Array2<f64>,
}

impl FittedBootstrap {
    pub(super) fn fit(template: Template) -> FittedBootstrap {
        FittedBootstrap {
            rows: template.entries,
        }
    }

    pub(super) fn sample(&self, n: usize, depths: &Depths, seed: u64) -> Array2<f64> {
        draw_rows((n, self.rows.ncols()), seed, |row, rng| {
            let from = self
                .rows
                .row(rng.random_range(0..self.rows.nrows()))
                .to_vec();
            match depths {
                Depths::AsFitted => from,
                Depths::Given(depths) => multinomial(&from, depths[row], rng),
            }
        })
    }
}

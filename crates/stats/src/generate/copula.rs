//! Gaussian vectors with a correlation that was estimated pair by pair.

use super::eigen::eigen;
use ndarray::{Array1, Array2};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// A matrix `F` with rows of length 1: `F e` of independent standard normals `e` has the correlation
/// `F F'`.
#[derive(Debug, Clone, PartialEq)]
pub struct Factor {
    rows: Array2<f64>,
}

/// How a matrix that was estimated pair by pair becomes a correlation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Repair {
    /// Negative eigenvalues are set to 0 and the diagonal back to 1, as MIDASim does.
    Clip,
    /// `(1 - s) R + s I` with the smallest `s` of at least `floor` for which no eigenvalue is below
    /// 1e-6.
    Shrink {
        /// Smallest share of the identity, in `[0, 1]`.
        floor: f64,
    },
}

/// What [`Repair::Shrink`] leaves at least.
const SMALLEST_EIGENVALUE: f64 = 1e-6;

impl Factor {
    /// - `estimate`: `[n, n]`, symmetric, ones on the diagonal
    pub fn of(estimate: &Array2<f64>, repair: Repair) -> Factor {
        let n = estimate.nrows();
        let found = eigen(estimate);
        let lowest = found.values.iter().copied().fold(1.0, f64::min);
        let share = match repair {
            Repair::Clip => 0.0,
            Repair::Shrink { floor } => {
                let needed = (SMALLEST_EIGENVALUE - lowest) / (1.0 - lowest);
                if lowest < SMALLEST_EIGENVALUE {
                    needed.max(floor)
                } else {
                    floor
                }
            }
        };
        let roots: Vec<f64> = found
            .values
            .iter()
            .map(|value| ((1.0 - share) * value + share).max(0.0).sqrt())
            .collect();
        let mut rows = Array2::from_shape_fn((n, n), |(i, k)| found.vectors[[k, i]] * roots[k]);
        for mut row in rows.rows_mut() {
            let length = row.dot(&row).sqrt();
            row /= length;
        }
        Factor { rows }
    }

    /// The matrix itself, `[n, n]`.
    pub fn rows(&self) -> &Array2<f64> {
        &self.rows
    }

    /// One vector of standard normals.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Array1<f64> {
        let independent: Array1<f64> = (0..self.rows.ncols())
            .map(|_| {
                let x: f64 = StandardNormal.sample(rng);
                x
            })
            .collect();
        self.rows.dot(&independent)
    }

    /// The same for `N` vectors, in one pass over the matrix: element `[i][k]` is that of row `i` in vector `k`.
    pub(crate) fn draw_several<const N: usize>(&self, rng: &mut ChaCha8Rng) -> Vec<[f64; N]> {
        let mut independent = vec![[0.0; N]; self.rows.ncols()];
        for k in 0..N {
            for of_column in &mut independent {
                of_column[k] = StandardNormal.sample(rng);
            }
        }
        let product = |row: ndarray::ArrayView1<'_, f64>| {
            let mut sums = [0.0; N];
            for (weight, of_column) in row.iter().zip(&independent) {
                for (sum, x) in sums.iter_mut().zip(of_column) {
                    *sum += weight * x;
                }
            }
            sums
        };
        self.rows.rows().into_iter().map(product).collect()
    }

    /// The correlation that vectors have.
    #[cfg(test)]
    pub fn correlation(&self) -> Array2<f64> {
        self.rows.dot(&self.rows.t())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::assert_close;
    use ndarray::array;
    use rand::SeedableRng;

    #[test]
    fn a_correlation_is_kept_as_it_is() {
        let rho = array![[1.0, 0.5, -0.2], [0.5, 1.0, 0.1], [-0.2, 0.1, 1.0]];
        for repair in [Repair::Clip, Repair::Shrink { floor: 0.0 }] {
            let found = Factor::of(&rho, repair).correlation();
            for (at, expected) in rho.indexed_iter() {
                assert_close(found[at], *expected, 1e-12, "entry");
            }
        }
    }

    #[test]
    fn what_is_no_correlation_becomes_the_nearest_by_either_way() {
        // Eigenvalues 1 - 0.9 sqrt 2 < 0, 1, 1 + 0.9 sqrt 2.
        let rho = array![[1.0, 0.9, 0.0], [0.9, 1.0, 0.9], [0.0, 0.9, 1.0]];
        let lowest = 1.0 - 0.9 * 2.0_f64.sqrt();
        let share = (1e-6 - lowest) / (1.0 - lowest);
        let shrunk = Factor::of(&rho, Repair::Shrink { floor: 0.0 }).correlation();
        assert_close(shrunk[[0, 1]], 0.9 * (1.0 - share), 1e-12, "shrunk");
        assert_close(shrunk[[0, 2]], 0.0, 1e-12, "shrunk zero");
        let clipped = Factor::of(&rho, Repair::Clip).correlation();
        for i in 0..3 {
            assert_close(clipped[[i, i]], 1.0, 1e-12, "diagonal");
        }
        assert!(clipped[[0, 1]] > shrunk[[0, 1]] && clipped[[0, 1]] < 0.9);
        let halved = Factor::of(&Array2::ones((2, 2)), Repair::Shrink { floor: 0.5 });
        assert_close(halved.correlation()[[0, 1]], 0.5, 1e-12, "floor");
    }

    #[test]
    fn several_vectors_are_those_drawn_one_by_one() {
        let rho = array![[1.0, 0.5, -0.2], [0.5, 1.0, 0.1], [-0.2, 0.1, 1.0]];
        let factor = Factor::of(&rho, Repair::Clip);
        let several = factor.draw_several::<4>(&mut ChaCha8Rng::seed_from_u64(3));
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for k in 0..4 {
            for (found, one) in several.iter().zip(&factor.draw(&mut rng)) {
                assert_close(found[k], *one, 1e-14, "element");
            }
        }
    }

    #[test]
    fn draws_have_the_correlation() {
        let rho = array![[1.0, -0.7], [-0.7, 1.0]];
        let factor = Factor::of(&rho, Repair::Clip);
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let n = 20_000;
        let sum: f64 = (0..n)
            .map(|_| factor.draw(&mut rng))
            .map(|z| z[0] * z[1])
            .sum();
        // Standard error sqrt(1 + 0.49) / sqrt(n) = 0.0086.
        assert!((sum / n as f64 + 0.7).abs() < 0.035);
    }
}

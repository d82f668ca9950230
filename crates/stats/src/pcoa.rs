//! Principal coordinates: points whose straight distances come close to given ones.

use crate::error::{Result, check_finite, check_length};
use ndarray::{Array1, Array2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Points in a few dimensions.
#[derive(Debug, Clone, PartialEq)]
pub struct Ordination {
    /// Coordinates, `[n_points, n_axes]`, in the unit of the distances. On each axis the coordinate
    /// that is largest in size is positive.
    pub points: Array2<f64>,
    /// Eigenvalue of each axis, falling; an axis that no distance needs has 0.
    pub eigenvalues: Vec<f64>,
    /// Share of each axis in the inertia, the trace of the centred matrix; 0 where there is none.
    pub shares: Vec<f64>,
}

/// Classical scaling (Gower 1966): `B = -1/2 J D^2 J` with `J = I - 11'/n`; a point's coordinates are
/// the entries of the leading eigenvectors of `B`, each times the square root of its eigenvalue.
///
/// Distances that are not Euclidean (Bray-Curtis) give some negative eigenvalues. Leading means the
/// largest with their sign, and an axis with a negative one gets coordinates of 0. The trace counts
/// negative ones too, so shares lie a little above those of programs that leave them out.
///
/// - `distances`: `[n, n]`, symmetric with zeros on the diagonal
/// - `n_axes`: axes to return; those beyond `n` are 0
///
/// # Errors
/// A matrix that is not square, or has an entry that is not finite.
///
/// # Example
/// ```
/// use ndarray::array;
/// use suffuse_stats::pcoa::pcoa;
/// // Three points on a line, at 0, 1 and 3.
/// let line = array![[0.0, 1.0, 3.0], [1.0, 0.0, 2.0], [3.0, 2.0, 0.0]];
/// let found = pcoa(&line, 2).unwrap();
/// let between = (found.points[[2, 0]] - found.points[[0, 0]]).abs();
/// assert!((between - 3.0).abs() < 1e-12);
/// assert!(found.shares[0] > 1.0 - 1e-12);
/// ```
pub fn pcoa(distances: &Array2<f64>, n_axes: usize) -> Result<Ordination> {
    let n = distances.nrows();
    check_length("columns of distances", distances.ncols(), n)?;
    check_finite("distances", distances)?;
    let centred = doubly_centred(distances);
    let trace: f64 = centred.diag().sum();
    let mut ordination = Ordination {
        points: Array2::zeros((n, n_axes)),
        eigenvalues: vec![0.0; n_axes],
        shares: vec![0.0; n_axes],
    };
    if n == 0 || trace.is_nan() || trace <= 0.0 {
        return Ok(ordination);
    }
    let leading = leading(&centred, n_axes.min(n));
    for (axis, (eigenvalue, vector)) in leading.into_iter().enumerate() {
        if eigenvalue <= NEGLIGIBLE * trace {
            break;
        }
        let largest =
            vector.iter().fold(
                0.0_f64,
                |largest, x| {
                    if x.abs() > largest.abs() { *x } else { largest }
                },
            );
        let scale = eigenvalue.sqrt() * largest.signum();
        ordination
            .points
            .column_mut(axis)
            .assign(&vector.mapv(|x| x * scale));
        ordination.eigenvalues[axis] = eigenvalue;
        ordination.shares[axis] = eigenvalue / trace;
    }
    Ok(ordination)
}

/// Share of the trace below which an eigenvalue is rounding.
const NEGLIGIBLE: f64 = 1e-12;

/// `-1/2 J D^2 J`.
fn doubly_centred(distances: &Array2<f64>) -> Array2<f64> {
    let n = distances.nrows().max(1) as f64;
    let squares = distances.mapv(|d| -0.5 * d * d);
    let rows: Array1<f64> = squares.sum_axis(Axis(1)) / n;
    let columns: Array1<f64> = squares.sum_axis(Axis(0)) / n;
    let mean = rows.sum() / n;
    Array2::from_shape_fn(squares.dim(), |(i, j)| {
        squares[[i, j]] - rows[i] - columns[j] + mean
    })
}

/// Columns of the first block beyond the axes asked for, which speed up the others.
const MORE_COLUMNS: usize = 4;
/// Columns of a basis. A matrix up to this size is decomposed exactly in one turn.
const MAX_BASIS: usize = 120;
/// The turns end at residuals of this size relative to the largest eigenvalue, or after so many.
const RELATIVE_RESIDUAL: f64 = 1e-10;
const MAX_TURNS: usize = 60;
/// Key of the first block: part of the method's definition.
const SEED: u64 = 0x9C0A;

/// The `k` largest eigenvalues of a symmetric matrix with their vectors, by block Krylov subspaces with
/// restarts (Golub and Van Loan 2013, section 10.3): a block, unlike a single vector, also finds
/// eigenvalues that are equal.
fn leading(matrix: &Array2<f64>, k: usize) -> Vec<(f64, Array1<f64>)> {
    let n = matrix.nrows();
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let width = (k + MORE_COLUMNS).min(n);
    let mut block: Vec<Array1<f64>> = (0..width)
        .map(|_| (0..n).map(|_| StandardNormal.sample(&mut rng)).collect())
        .collect();
    let mut found = Vec::new();
    for _ in 0..MAX_TURNS {
        let (basis, images) = krylov(matrix, block);
        let m = basis.len();
        let small = Array2::from_shape_fn((m, m), |(i, j)| {
            (basis[i].dot(&images[j]) + basis[j].dot(&images[i])) / 2.0
        });
        let (values, vectors) = symmetric_eigen(small);
        let mut order: Vec<usize> = (0..m).collect();
        order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
        let largest = values.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        let combined = |of: &[Array1<f64>], at: usize| {
            let mut sum = Array1::zeros(n);
            for (i, vector) in of.iter().enumerate() {
                sum.scaled_add(vectors[[i, at]], vector);
            }
            sum
        };
        let ritz: Vec<Array1<f64>> = order
            .iter()
            .take(width)
            .map(|at| combined(&basis, *at))
            .collect();
        let is_good = order.iter().zip(&ritz).take(k).all(|(at, vector)| {
            let mut residual = combined(&images, *at);
            residual.scaled_add(-values[*at], vector);
            residual.dot(&residual).sqrt() <= RELATIVE_RESIDUAL * largest
        });
        found = order
            .iter()
            .zip(&ritz)
            .take(k)
            .map(|(at, vector)| (values[*at], vector.clone()))
            .collect();
        if is_good {
            break;
        }
        block = ritz;
    }
    found
}

/// An orthonormal basis of `block, A block, A^2 block, ...` and its image under `A`.
fn krylov(
    matrix: &Array2<f64>,
    mut block: Vec<Array1<f64>>,
) -> (Vec<Array1<f64>>, Vec<Array1<f64>>) {
    let room = MAX_BASIS.min(matrix.nrows());
    let (mut basis, mut images): (Vec<Array1<f64>>, Vec<Array1<f64>>) = (Vec::new(), Vec::new());
    while !block.is_empty() && basis.len() < room {
        let first = basis.len();
        for mut vector in block {
            if basis.len() == room {
                break;
            }
            let before = vector.dot(&vector).sqrt();
            // Twice: once leaves rounding of the size of what was taken away.
            for _ in 0..2 {
                for other in &basis {
                    let overlap = other.dot(&vector);
                    vector.scaled_add(-overlap, other);
                }
            }
            let norm = vector.dot(&vector).sqrt();
            if norm > DEPENDENT * before {
                vector.mapv_inplace(|x| x / norm);
                basis.push(vector);
            }
        }
        block = basis[first..].iter().map(|v| matrix.dot(v)).collect();
        images.extend(block.iter().cloned());
    }
    (basis, images)
}

/// Share of its length that a vector keeps outside of a basis, below which it is in it.
const DEPENDENT: f64 = 1e-11;

/// All eigenvalues of a small symmetric matrix and its eigenvectors in columns, by cyclic Jacobi
/// rotations (Golub and Van Loan 2013, section 8.5).
fn symmetric_eigen(mut a: Array2<f64>) -> (Vec<f64>, Array2<f64>) {
    const MAX_SWEEPS: usize = 60;
    let n = a.nrows();
    let mut vectors = Array2::eye(n);
    let size = a.iter().map(|x| x * x).sum::<f64>().sqrt();
    for _ in 0..MAX_SWEEPS {
        let mut outside = 0.0;
        for p in 0..n {
            for q in p + 1..n {
                outside += a[[p, q]] * a[[p, q]];
            }
        }
        if outside.sqrt() <= 1e-15 * size {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                if a[[p, q]] == 0.0 {
                    continue;
                }
                let theta = (a[[q, q]] - a[[p, p]]) / (2.0 * a[[p, q]]);
                let sign = if theta < 0.0 { -1.0 } else { 1.0 };
                let t = sign / (theta.abs() + theta.hypot(1.0));
                let c = 1.0 / t.hypot(1.0);
                let s = t * c;
                for i in 0..n {
                    let (x, y) = (a[[i, p]], a[[i, q]]);
                    (a[[i, p]], a[[i, q]]) = (c * x - s * y, s * x + c * y);
                }
                for i in 0..n {
                    let (x, y) = (a[[p, i]], a[[q, i]]);
                    (a[[p, i]], a[[q, i]]) = (c * x - s * y, s * x + c * y);
                    let (x, y) = (vectors[[i, p]], vectors[[i, q]]);
                    (vectors[[i, p]], vectors[[i, q]]) = (c * x - s * y, s * x + c * y);
                }
            }
        }
    }
    (a.diag().to_vec(), vectors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance::bray_curtis;
    use crate::golden;
    use ndarray::array;

    /// Compares with eigenvalues and coordinates of numpy's `eigh`, which leaves the signs open.
    fn assert_golden(name: &str, tolerance: f64) {
        let golden = &golden::load("ordination")[name];
        let distances = bray_curtis(&golden::matrix(&golden["table"])).unwrap();
        let expected = golden::matrix(&golden["points"]);
        let eigenvalues = golden::vector(&golden["eigenvalues"]);
        let shares = golden::vector(&golden["shares"]);
        let found = pcoa(&distances, expected.ncols()).unwrap();
        for axis in 0..expected.ncols() {
            let what = format!("{name}, axis {axis}");
            let value = found.eigenvalues[axis];
            golden::assert_close(value, eigenvalues[axis], tolerance, &what);
            golden::assert_close(found.shares[axis], shares[axis], tolerance, &what);
            let (ours, theirs) = (found.points.column(axis), expected.column(axis));
            let sign = ours.dot(&theirs).signum();
            for (a, b) in ours.iter().zip(&theirs) {
                golden::assert_close(sign * a, *b, tolerance, &what);
            }
        }
    }

    #[test]
    fn a_small_ordination_is_that_of_numpy() {
        assert_golden("small", 1e-10);
    }

    #[test]
    fn an_ordination_larger_than_a_basis_is_that_of_numpy() {
        assert_golden("large", 1e-7);
    }

    #[test]
    fn equal_eigenvalues_are_both_found() {
        // A square of side 1: both axes have an eigenvalue of 4 * 1/4.
        let d = 2.0_f64.sqrt();
        let square = array![
            [0.0, 1.0, d, 1.0],
            [1.0, 0.0, 1.0, d],
            [d, 1.0, 0.0, 1.0],
            [1.0, d, 1.0, 0.0]
        ];
        let found = pcoa(&square, 3).unwrap();
        for (value, expected) in found.eigenvalues.iter().zip([1.0, 1.0, 0.0]) {
            assert!((value - expected).abs() < 1e-12, "{found:?}");
        }
        for (i, j) in [(0, 1), (0, 2), (1, 3)] {
            let apart = &found.points.row(i) - &found.points.row(j);
            assert!((apart.dot(&apart).sqrt() - square[[i, j]]).abs() < 1e-12);
        }
    }

    #[test]
    fn no_points_one_point_and_equal_points_lie_at_zero() {
        for n in [0, 1, 3] {
            let found = pcoa(&Array2::zeros((n, n)), 2).unwrap();
            assert!(found.points.dim() == (n, 2) && found.points.iter().all(|x| *x == 0.0));
            assert_eq!(found.shares, [0.0, 0.0]);
        }
        assert!(pcoa(&Array2::zeros((2, 3)), 2).is_err());
        assert!(pcoa(&array![[0.0, f64::NAN], [f64::NAN, 0.0]], 2).is_err());
    }
}

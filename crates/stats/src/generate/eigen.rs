//! Eigenvalues and eigenvectors of symmetric matrices.

use ndarray::{Array1, Array2};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// `A = V diag(values) V'`.
#[derive(Debug, Clone, PartialEq)]
pub struct Eigen {
    /// In no particular order.
    pub values: Vec<f64>,
    /// `vectors.row(k)` belongs to `values[k]` and has length 1.
    pub vectors: Array2<f64>,
}

/// Householder reduction to tridiagonal form, then implicit QL (Bowdler, Martin, Reinsch and Wilkinson 1968,
/// Numer. Math. 11:293).
///
/// - `a`: `[n, n]`, symmetric and finite; the lower triangle is read
pub fn eigen(a: &Array2<f64>) -> Eigen {
    let n = a.nrows();
    if n == 0 {
        return Eigen {
            values: Vec::new(),
            vectors: Array2::zeros((0, 0)),
        };
    }
    let Tridiagonal {
        mut diagonal,
        mut beside,
        rotation,
    } = tridiagonal(a);
    // Rows of the transpose lie together in memory, and the turns below mix two of them.
    let mut vectors = rotation.reversed_axes().as_standard_layout().into_owned();
    beside.rotate_left(1);
    beside[n - 1] = 0.0;
    for l in 0..n {
        // 50 turns are never needed for finite numbers; the bound keeps the loop finite.
        for _ in 0..50 {
            let m = (l..n - 1)
                .find(|&m| {
                    beside[m].abs() <= f64::EPSILON * (diagonal[m].abs() + diagonal[m + 1].abs())
                })
                .unwrap_or(n - 1);
            if m == l {
                break;
            }
            turn(&mut diagonal, &mut beside, &mut vectors, (l, m));
        }
    }
    Eigen {
        values: diagonal,
        vectors,
    }
}

/// Steps after which the largest eigenvalue stands: its error falls by a factor with each.
const N_LANCZOS: usize = 100;

/// The largest eigenvalue alone, in far less time (Lanczos 1950, J. Res. Natl. Bur. Stand. 45:255).
///
/// Without orthogonalisation against all steps other eigenvalues come several times; the largest stays the largest.
///
/// - `a`: `[n, n]`, symmetric and finite, `n` of at least 1
pub fn largest_eigenvalue(a: &Array2<f64>) -> f64 {
    let n = a.nrows();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut vector: Array1<f64> = (0..n).map(|_| StandardNormal.sample(&mut rng)).collect();
    vector /= vector.dot(&vector).sqrt();
    let mut before = Array1::zeros(n);
    let (mut diagonal, mut beside) = (Vec::new(), Vec::new());
    let mut last: f64 = 0.0;
    for _ in 0..n.min(N_LANCZOS) {
        let mut next = a.dot(&vector) - &before * last;
        let along = next.dot(&vector);
        next -= &(&vector * along);
        diagonal.push(along);
        last = next.dot(&next).sqrt();
        if last <= f64::EPSILON * along.abs() {
            break; // nothing outside of what was seen
        }
        beside.push(last);
        before = std::mem::replace(&mut vector, next / last);
    }
    let n = diagonal.len();
    let mut small = Array2::from_diag(&Array1::from(diagonal));
    for (i, value) in beside.into_iter().take(n - 1).enumerate() {
        small[[i, i + 1]] = value;
        small[[i + 1, i]] = value;
    }
    let values = eigen(&small).values;
    values.into_iter().fold(f64::NEG_INFINITY, f64::max)
}

/// One implicit QL turn of the block from `l` to `m`.
fn turn(
    diagonal: &mut [f64],
    beside: &mut [f64],
    vectors: &mut Array2<f64>,
    (l, m): (usize, usize),
) {
    let n = vectors.ncols();
    let mut g = (diagonal[l + 1] - diagonal[l]) / (2.0 * beside[l]);
    let mut r = g.hypot(1.0);
    g = diagonal[m] - diagonal[l] + beside[l] / (g + r.copysign(g));
    let (mut sine, mut cosine, mut p) = (1.0, 1.0, 0.0);
    for i in (l..m).rev() {
        let f = sine * beside[i];
        let b = cosine * beside[i];
        r = f.hypot(g);
        beside[i + 1] = r;
        if r == 0.0 {
            diagonal[i + 1] -= p;
            beside[m] = 0.0;
            return;
        }
        sine = f / r;
        cosine = g / r;
        g = diagonal[i + 1] - p;
        r = (diagonal[i] - g) * sine + 2.0 * cosine * b;
        p = sine * r;
        diagonal[i + 1] = g + p;
        g = cosine * r - b;
        let all = vectors
            .as_slice_mut()
            .expect("made in standard layout, and never reshaped");
        let (upper, lower) = all[i * n..(i + 2) * n].split_at_mut(n);
        for (x, y) in upper.iter_mut().zip(lower) {
            let old = *y;
            *y = sine * *x + cosine * old;
            *x = cosine * *x - sine * old;
        }
    }
    diagonal[l] -= p;
    beside[l] = g;
    beside[m] = 0.0;
}

/// `A = Q T Q'` with `T` tridiagonal.
struct Tridiagonal {
    diagonal: Vec<f64>,
    /// `beside[i]` stands between `i - 1` and `i`.
    beside: Vec<f64>,
    rotation: Array2<f64>,
}

fn tridiagonal(a: &Array2<f64>) -> Tridiagonal {
    let n = a.nrows();
    let mut z = a.as_standard_layout().into_owned();
    let mut diagonal = vec![0.0; n];
    let mut beside = vec![0.0; n];
    for i in (1..n).rev() {
        let scale: f64 = (0..i).map(|k| z[[i, k]].abs()).sum();
        if i == 1 || scale == 0.0 {
            beside[i] = z[[i, i - 1]];
            diagonal[i] = 0.0;
            continue;
        }
        let mut h = 0.0;
        for k in 0..i {
            z[[i, k]] /= scale;
            h += z[[i, k]] * z[[i, k]];
        }
        let f = z[[i, i - 1]];
        let g = -h.sqrt().copysign(f);
        beside[i] = scale * g;
        h -= f * g;
        z[[i, i - 1]] = f - g;
        // p = A u / h, by the rows of the lower triangle.
        let u: Vec<f64> = (0..i).map(|k| z[[i, k]]).collect();
        let mut p = vec![0.0; i];
        for j in 0..i {
            z[[j, i]] = u[j] / h;
            let mut sum = z[[j, j]] * u[j];
            for k in 0..j {
                sum += z[[j, k]] * u[k];
                p[k] += z[[j, k]] * u[j];
            }
            p[j] += sum;
        }
        p.iter_mut().for_each(|p| *p /= h);
        let along: f64 = p.iter().zip(&u).map(|(p, u)| p * u).sum();
        let half = along / (h + h);
        let q: Vec<f64> = p.iter().zip(&u).map(|(p, u)| p - half * u).collect();
        for j in 0..i {
            for k in 0..=j {
                z[[j, k]] -= u[j] * q[k] + q[j] * u[k];
            }
        }
        diagonal[i] = h;
    }
    diagonal[0] = 0.0;
    beside[0] = 0.0;
    // Products of the reflections, from the smallest on.
    for i in 0..n {
        if diagonal[i] != 0.0 {
            let mut along = vec![0.0; i];
            for k in 0..i {
                let factor = z[[i, k]];
                for (j, along) in along.iter_mut().enumerate() {
                    *along += factor * z[[k, j]];
                }
            }
            for k in 0..i {
                let factor = z[[k, i]];
                for (j, along) in along.iter().enumerate() {
                    z[[k, j]] -= factor * along;
                }
            }
        }
        diagonal[i] = z[[i, i]];
        z[[i, i]] = 1.0;
        for j in 0..i {
            z[[j, i]] = 0.0;
            z[[i, j]] = 0.0;
        }
    }
    Tridiagonal {
        diagonal,
        beside,
        rotation: z,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, matrix, vector};
    use ndarray::array;

    fn sorted(mut values: Vec<f64>) -> Vec<f64> {
        values.sort_by(f64::total_cmp);
        values
    }

    fn assert_decomposes(a: &Array2<f64>, tolerance: f64) {
        let found = eigen(a);
        let n = a.nrows();
        let scaled =
            Array2::from_shape_fn((n, n), |(k, j)| found.values[k] * found.vectors[[k, j]]);
        let rebuilt = found.vectors.t().dot(&scaled);
        let gram = found.vectors.dot(&found.vectors.t());
        for ((i, j), value) in a.indexed_iter() {
            assert_close(rebuilt[[i, j]], *value, tolerance, "V L V'");
            let one = if i == j { 1.0 } else { 0.0 };
            assert_close(gram[[i, j]], one, tolerance, "V V'");
        }
    }

    #[test]
    fn eigenvalues_are_those_of_numpy() {
        let golden = load("generate");
        let a = matrix(&golden["eigen"]["matrix"]);
        let expected = vector(&golden["eigen"]["values"]);
        let found = sorted(eigen(&a).values);
        for (found, expected) in found.iter().zip(expected) {
            assert_close(*found, expected, 1e-12, "eigenvalue");
        }
        assert_decomposes(&a, 1e-12);
    }

    #[test]
    fn random_and_degenerate_matrices_are_rebuilt() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let g = Array2::from_shape_fn((60, 60), |_| {
            let x: f64 = StandardNormal.sample(&mut rng);
            x
        });
        assert_decomposes(&(&g + &g.t()), 1e-11);
        assert_decomposes(&Array2::eye(7), 1e-14);
        assert_decomposes(&Array2::ones((5, 5)), 1e-13);
        assert_decomposes(&Array2::zeros((3, 3)), 1e-14);
        assert_decomposes(&array![[0.0, 1.0], [1.0, 0.0]], 1e-14);
        assert_decomposes(&array![[4.0]], 1e-14);
        assert!(eigen(&Array2::zeros((0, 0))).values.is_empty());
    }

    #[test]
    fn the_largest_eigenvalue_is_found_alone() {
        let golden = load("generate");
        let known = matrix(&golden["eigen"]["matrix"]);
        let of_numpy = sorted(vector(&golden["eigen"]["values"]).to_vec());
        assert_close(
            largest_eigenvalue(&known),
            *of_numpy.last().expect("it has some"),
            1e-12,
            "numpy's",
        );
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let g = Array2::from_shape_fn((300, 300), |_| {
            let x: f64 = StandardNormal.sample(&mut rng);
            x
        });
        let a = &g + &g.t(); // no gap: its eigenvalues fill a half circle
        let all = sorted(eigen(&a).values);
        assert_close(largest_eigenvalue(&a), all[299], 1e-6, "of noise");
        assert_close(largest_eigenvalue(&(-&a)), -all[0], 1e-6, "other side");
        assert_close(largest_eigenvalue(&Array2::eye(9)), 1.0, 1e-14, "ones");
        assert_close(largest_eigenvalue(&array![[-4.0]]), -4.0, 1e-14, "one");
        assert_close(
            largest_eigenvalue(&Array2::zeros((3, 3))),
            0.0,
            1e-14,
            "zeros",
        );
    }
}

//! Distances between samples: Bray-Curtis, Jaccard, Euclidean (Aitchison on log-ratios).
//!
//! Pairs are computed in tiles, so that rows stay in the cache, and each pair by itself: the matrix is
//! exactly symmetric and the same for any number of threads. UniFrac is in [`crate::unifrac`].

use crate::error::{Error, Result, check_finite};
use ndarray::Array2;
use rayon::prelude::*;

/// Bray-Curtis distances between the rows of a table, on relative abundances (Bray and Curtis 1957):
/// `d(a, b) = sum |a - b| / sum (a + b)` with rows that sum to 1, so `sum |a - b| / 2`.
///
/// - `table`: `[n_samples, n_taxa]`, abundances in any unit, not negative
/// - returns `[n_samples, n_samples]`, 0 for equal compositions to 1 for no taxon in common; symmetric
///
/// # Errors
/// An entry that is negative or not finite; a row without a total, which has no composition.
///
/// # Example
/// ```
/// use ndarray::array;
/// use suffuse_stats::distance::bray_curtis;
/// let table = array![[1.0, 1.0, 0.0], [0.0, 5.0, 5.0], [20.0, 20.0, 0.0]];
/// let distances = bray_curtis(&table).unwrap();
/// assert_eq!((distances[[0, 1]], distances[[0, 2]]), (0.5, 0.0));
/// ```
pub fn bray_curtis(table: &Array2<f64>) -> Result<Array2<f64>> {
    let shares = shares(table)?;
    let rows = rows(&shares);
    // Rounding must not take a distance above 1.
    Ok(symmetric(rows.len(), |i, j| {
        (l1(rows[i], rows[j]) / 2.0).min(1.0)
    }))
}

/// Jaccard distances between the rows of a table, on presence (Jaccard 1912): the share of the taxa in
/// either sample that are not in both; 0 for two samples without any taxon.
///
/// - `table`: `[n_samples, n_taxa]`, abundances in any unit, not negative; above 0 is present
/// - returns `[n_samples, n_samples]`, symmetric
///
/// # Errors
/// An entry that is negative or not finite.
///
/// # Example
/// ```
/// use ndarray::array;
/// use suffuse_stats::distance::jaccard;
/// let distances = jaccard(&array![[1.0, 7.0, 0.0], [0.0, 2.0, 3.0]]).unwrap();
/// assert_eq!(distances[[0, 1]], 2.0 / 3.0);
/// ```
pub fn jaccard(table: &Array2<f64>) -> Result<Array2<f64>> {
    check_abundances(table)?;
    let n_words = table.ncols().div_ceil(64);
    let mut bits = Array2::<u64>::zeros((table.nrows(), n_words));
    for ((row, column), &value) in table.indexed_iter() {
        if value > 0.0 {
            bits[[row, column / 64]] |= 1 << (column % 64);
        }
    }
    let rows: Vec<&[u64]> = bits.outer_iter().filter_map(|row| row.to_slice()).collect();
    Ok(symmetric(table.nrows(), |i, j| {
        let (mut both, mut either) = (0_u32, 0_u32);
        for (a, b) in rows[i].iter().zip(rows[j]) {
            both += (a & b).count_ones();
            either += (a | b).count_ones();
        }
        match either {
            0 => 0.0,
            either => f64::from(either - both) / f64::from(either),
        }
    }))
}

/// Straight distances between points: on centred log-ratios this is Aitchison's (1982).
///
/// - `points`: `[n_points, n_dimensions]`
/// - returns `[n_points, n_points]`, in the unit of the points; symmetric
///
/// # Errors
/// A coordinate that is not finite.
pub fn euclidean(points: &Array2<f64>) -> Result<Array2<f64>> {
    check_finite("coordinates", points)?;
    let points = points.as_standard_layout();
    let rows: Vec<&[f64]> = points
        .outer_iter()
        .filter_map(|row| row.to_slice())
        .collect();
    Ok(symmetric(rows.len(), |i, j| {
        squared(rows[i], rows[j]).sqrt()
    }))
}

/// Distances of some of the points only; `[chosen.len(), chosen.len()]`.
///
/// # Panics
/// If a position is not one of the matrix.
pub fn subset(distances: &Array2<f64>, chosen: &[usize]) -> Array2<f64> {
    let n = chosen.len();
    Array2::from_shape_fn((n, n), |(i, j)| distances[[chosen[i], chosen[j]]])
}

/// Rows that sum to 1; `[n_samples, n_taxa]`.
///
/// # Errors
/// As [`bray_curtis`].
pub fn shares(table: &Array2<f64>) -> Result<Array2<f64>> {
    check_abundances(table)?;
    let mut shares = table.as_standard_layout().into_owned();
    for (row, mut values) in shares.rows_mut().into_iter().enumerate() {
        let total: f64 = values.iter().sum();
        if !(total > 0.0 && total.is_finite()) {
            return Err(Error::BadEntry {
                what: "totals of abundances",
                row,
                column: 0,
                value: total,
                expected: "a finite number above 0; leave out samples without a non-zero entry",
            });
        }
        values.mapv_inplace(|value| value / total);
    }
    Ok(shares)
}

/// Refuses what is no abundance.
pub(crate) fn check_abundances(table: &Array2<f64>) -> Result<()> {
    for ((row, column), &value) in table.indexed_iter() {
        if !(value.is_finite() && value >= 0.0) {
            return Err(Error::BadEntry {
                what: "abundances",
                row,
                column,
                value,
                expected: "a finite number that is not negative",
            });
        }
    }
    Ok(())
}

/// The rows of a matrix in standard layout.
pub(crate) fn rows(matrix: &Array2<f64>) -> Vec<&[f64]> {
    matrix
        .outer_iter()
        .map(|row| row.to_slice().expect("the matrix is in standard layout"))
        .collect()
}

/// Rows in a tile: two tiles of a thousand numbers a row fit in the second-level cache.
const TILE: usize = 32;

/// The symmetric matrix of a distance, 0 on the diagonal; `distance(i, j)` is asked for `j < i` alone.
pub(crate) fn symmetric(n: usize, distance: impl Fn(usize, usize) -> f64 + Sync) -> Array2<f64> {
    let mut values = vec![0.0; n * n];
    values
        .par_chunks_mut((TILE * n).max(1))
        .enumerate()
        .for_each(|(tile, lines)| {
            let first = tile * TILE;
            for columns in (0..first + TILE).step_by(TILE) {
                for (i, line) in (first..).zip(lines.chunks_exact_mut(n)) {
                    let end = (columns + TILE).min(i);
                    for (j, slot) in (columns..end).zip(line.iter_mut().skip(columns)) {
                        *slot = distance(i, j);
                    }
                }
            }
        });
    for rows in (0..n).step_by(TILE) {
        for columns in (0..=rows).step_by(TILE) {
            for i in rows..(rows + TILE).min(n) {
                for j in columns..(columns + TILE).min(i) {
                    values[j * n + i] = values[i * n + j];
                }
            }
        }
    }
    Array2::from_shape_vec((n, n), values).expect("there are n times n values")
}

/// Sums that run beside each other, which the compiler turns into vector instructions.
const LANES: usize = 8;

/// `sum |a - b|`.
pub(crate) fn l1(a: &[f64], b: &[f64]) -> f64 {
    lanes(a, b, |a, b| (a - b).abs())
}

/// `sum (a - b)^2`.
fn squared(a: &[f64], b: &[f64]) -> f64 {
    lanes(a, b, |a, b| (a - b) * (a - b))
}

/// The sum of a term per pair of numbers.
#[inline(always)]
fn lanes(a: &[f64], b: &[f64], term: impl Fn(f64, f64) -> f64) -> f64 {
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += term(a[lane], b[lane]);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| term(*a, *b)).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;
    use ndarray::array;

    #[test]
    fn distances_are_those_of_scipy() {
        let golden = golden::load("ordination");
        let table = golden::matrix(&golden["small"]["table"]);
        let expected = golden::matrix(&golden["small"]["distances"]);
        let found = bray_curtis(&table).unwrap();
        golden::assert_matrix_close(&found, &expected, 1e-12, "Bray-Curtis");
    }

    #[test]
    fn presence_and_points_are_those_of_scipy_and_a_subset_keeps_its_distances() {
        let golden = golden::load("two_samples");
        let table = golden::matrix(&golden["table"]);
        let expected = golden::matrix(&golden["jaccard"]);
        let found = jaccard(&table).unwrap();
        golden::assert_matrix_close(&found, &expected, 1e-15, "Jaccard");
        let points = golden::matrix(&golden["points"]);
        let found = euclidean(&points).unwrap();
        golden::assert_matrix_close(
            &found,
            &golden::matrix(&golden["euclidean"]),
            1e-12,
            "Euclid",
        );
        let chosen = [40, 3, 12];
        let some = points.select(ndarray::Axis(0), &chosen);
        assert_eq!(euclidean(&some).unwrap(), subset(&found, &chosen));
        assert!(euclidean(&array![[f64::INFINITY]]).is_err() && jaccard(&array![[-1.0]]).is_err());
        assert_eq!(jaccard(&Array2::zeros((2, 70))).unwrap()[[0, 1]], 0.0);
    }

    #[test]
    fn samples_without_a_composition_are_refused_by_their_row() {
        let message = |table| bray_curtis(&table).unwrap_err().to_string();
        assert!(message(array![[1.0, 0.0], [0.0, 0.0]]).contains("row 1"));
        assert!(message(array![[1.0, f64::NAN]]).contains("column 1"));
        assert!(message(array![[1.0, -1.0]]).contains("not negative"));
        assert_eq!(bray_curtis(&Array2::zeros((0, 3))).unwrap().dim(), (0, 0));
    }
}

//! Linear regression with a penalty, row by row, so that no matrix of all rows is held.

use ndarray::Array2;

/// Sums of products of the rows seen so far.
#[derive(Debug, Clone, PartialEq)]
pub struct LeastSquares {
    /// `X'X`, of which the lower triangle is kept.
    gram: Array2<f64>,
    /// `X'y`
    right: Vec<f64>,
    n: f64,
}

/// Share of a term's mean square that is added to its diagonal, so that terms which follow from others
/// can be solved for.
const LEAST_PENALTY: f64 = 1e-9;

impl LeastSquares {
    /// No row yet.
    ///
    /// - `n_terms`: of a row, the first of which is 1
    pub fn new(n_terms: usize) -> LeastSquares {
        LeastSquares {
            gram: Array2::zeros((n_terms, n_terms)),
            right: vec![0.0; n_terms],
            n: 0.0,
        }
    }

    /// Adds a row.
    ///
    /// - `terms`: `n_terms` values, the first of which is 1
    pub fn push(&mut self, terms: &[f64], target: f64) {
        for (i, a) in terms.iter().enumerate() {
            for (j, b) in terms[..=i].iter().enumerate() {
                self.gram[[i, j]] += a * b;
            }
            self.right[i] += a * target;
        }
        self.n += 1.0;
    }

    /// The coefficients `b` with the least `mean (target - b . terms)^2 + penalty sum_j b_j^2 var_j`, with
    /// `var_j` the variance of a term: the penalty does not depend on units, and the first term has none.
    /// Terms that are always 0 get 0.
    ///
    /// # Example
    /// ```
    /// use suffuse_stats::least_squares::LeastSquares;
    ///
    /// let mut line = LeastSquares::new(2);
    /// for x in [0.0, 1.0, 2.0] {
    ///     line.push(&[1.0, x], 3.0 + 2.0 * x);
    /// }
    /// let b = line.solve(0.0);
    /// assert!((b[0] - 3.0).abs() < 1e-6 && (b[1] - 2.0).abs() < 1e-6);
    /// ```
    pub fn solve(&self, penalty: f64) -> Vec<f64> {
        let mut gram = self.gram.clone();
        let mut b = self.right.clone();
        for j in 0..b.len() {
            let square = self.gram[[j, j]];
            let sum = self.gram[[j, 0]]; // the first term is 1
            let variance = match self.n > 0.0 {
                true => (square - sum * sum / self.n).max(0.0),
                false => 0.0,
            };
            gram[[j, j]] += penalty * variance + LEAST_PENALTY * square;
            if gram[[j, j]] == 0.0 {
                gram[[j, j]] = 1.0;
            }
        }
        solve_positive_definite(&mut gram, &mut b);
        b
    }
}

/// Solves `G x = r` by Cholesky from the lower triangle of `G`; `x` comes in `r`.
pub fn solve_positive_definite(gram: &mut Array2<f64>, right: &mut [f64]) {
    let n = right.len();
    for i in 0..n {
        for j in 0..=i {
            let earlier: f64 = (0..j).map(|k| gram[[i, k]] * gram[[j, k]]).sum();
            let left = gram[[i, j]] - earlier;
            // The ridge keeps the diagonal positive.
            gram[[i, j]] = if i == j {
                left.sqrt()
            } else {
                left / gram[[j, j]]
            };
        }
        let earlier: f64 = (0..i).map(|k| gram[[i, k]] * right[k]).sum();
        right[i] = (right[i] - earlier) / gram[[i, i]];
    }
    for i in (0..n).rev() {
        let later: f64 = (i + 1..n).map(|k| gram[[k, i]] * right[k]).sum();
        right[i] = (right[i] - later) / gram[[i, i]];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 40 rows of three correlated terms besides the 1.
    fn rows() -> Vec<([f64; 4], f64)> {
        (0..40)
            .map(|i| {
                let x = f64::from(i) * 0.37;
                let (a, b) = (x.sin(), (1.7 * x).cos());
                let terms = [1.0, a, b + 0.5 * a, 100.0 * a * b];
                (terms, 2.0 - a + 3.0 * b + 0.2 * (5.0 * x).sin())
            })
            .collect()
    }

    #[test]
    fn coefficients_are_those_of_scikit_learns_ridge_on_standardised_terms() {
        let mut regression = LeastSquares::new(4);
        for (terms, target) in rows() {
            regression.push(&terms, target);
        }
        // x = .37 i; z = (terms - mean) / sd of sin x, cos 1.7 x + .5 sin x and 100 sin x cos 1.7 x;
        // sklearn.linear_model.Ridge(alpha=.1 * 40).fit(z, y), coefficients / sd.
        let expected = [1.9901602209, -2.1496905414, 2.6289797508, 0.0002817458];
        for (found, expected) in regression.solve(0.1).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn terms_that_say_nothing_get_no_weight() {
        let mut regression = LeastSquares::new(4);
        for (terms, target) in rows() {
            regression.push(&[terms[0], terms[1], terms[1], 0.0], target);
        }
        let b = regression.solve(1e-3);
        assert!((b[1] - b[2]).abs() < 1e-3 * b[1].abs(), "{b:?}");
        assert_eq!(b[3], 0.0);
        assert_eq!(LeastSquares::new(2).solve(0.1), [0.0, 0.0]);
    }
}

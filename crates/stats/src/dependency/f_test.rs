//! F-tests of nested linear models: does taxon `j` help to predict taxon `i`?
//!
//! By Frisch, Waugh and Lovell, the gain of adding `x_j` is the squared partial correlation `r^2`
//! of `y_i` and `x_j` after the other regressors are taken out of both, and
//! `F = r^2 / (1 - r^2) * df`. With one other regressor, that needs three entries of the centred
//! cross products, so all pairs cost `O(n_taxa^2 * n_samples)`.

use crate::Result;
use crate::error::{check_finite, check_length};
use crate::tail::{ln_f_tail, neg_log10};
use ndarray::{Array2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// A sum of squares below this share of what it was before regressors were taken out is rounding:
/// the column was explained exactly.
const EXACT: f64 = 1e-11;

/// The two models that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FTestForm {
    /// `y_i ~ 1 + x_i + x_j` against `y_i ~ 1 + x_i`, with `x` the randomly hidden input and `y`
    /// the clean table. With `x = y` (as DepMicroDiff prints it) both fit exactly and nothing is
    /// tested.
    #[default]
    Nested,
    /// `y_i ~ 1 + x_j` against `y_i ~ 1`.
    Plain,
}

/// F-tests of all ordered pairs: entry `[i, j]` asks whether `j` influences `i`. All `[n_taxa, n_taxa]`.
#[derive(Debug, Clone, PartialEq)]
pub struct FTests {
    /// F statistic with 1 and `df_residual[i]` degrees of freedom; 0 where not tested, infinite
    /// where only the larger model fits exactly.
    pub f: Array2<f64>,
    /// Upper tail probability, 1 where not tested; 0 below the smallest f64.
    pub p: Array2<f64>,
    /// `-log10 p`, accurate where `p` is 0; 0 where not tested.
    pub neg_log10_p: Array2<f64>,
    /// Where there was something to test: not the diagonal, a constant column, or an `x_j` or
    /// `y_i` that the smaller model explains exactly.
    pub tested: Array2<bool>,
    /// Residual degrees of freedom of the larger model, per target `i`.
    pub df_residual: Vec<f64>,
}

/// Tests each taxon of `x` as a predictor of each taxon of `y`.
///
/// - `x`, `y`: `[n_samples, n_taxa]`, in any unit in which linear models make sense (`ln(1 + percent)`)
///
/// # Errors
/// Shapes that differ, a value that is not finite.
pub fn f_tests(x: &Array2<f64>, y: &Array2<f64>, form: FTestForm) -> Result<FTests> {
    let (n_samples, n_taxa) = y.dim();
    check_length("rows of x", x.nrows(), n_samples)?;
    check_length("columns of x", x.ncols(), n_taxa)?;
    check_finite("x", x)?;
    check_finite("y", y)?;
    let products = Products::new(x, y);
    let rows: Vec<(f64, Vec<PairTest>)> = (0..n_taxa)
        .into_par_iter()
        .map(|i| {
            // A constant x_i only repeats the intercept, and costs no degree of freedom.
            let own = (form == FTestForm::Nested && products.xx[[i, i]] > 0.0).then_some(i);
            let df = n_samples as f64 - 2.0 - f64::from(u8::from(own.is_some()));
            (
                df,
                (0..n_taxa).map(|j| products.test(i, j, own, df)).collect(),
            )
        })
        .collect();
    let collect = |of: fn(&PairTest) -> f64| {
        Array2::from_shape_fn((n_taxa, n_taxa), |(i, j)| of(&rows[i].1[j]))
    };
    Ok(FTests {
        f: collect(|test| test.f),
        p: collect(|test| test.ln_p.exp()),
        neg_log10_p: collect(|test| neg_log10(test.ln_p)),
        tested: Array2::from_shape_fn((n_taxa, n_taxa), |(i, j)| rows[i].1[j].is_tested),
        df_residual: rows.iter().map(|(df, _)| *df).collect(),
    })
}

#[derive(Debug, Clone, Copy)]
struct PairTest {
    f: f64,
    ln_p: f64,
    is_tested: bool,
}

const NOT_TESTED: PairTest = PairTest {
    f: 0.0,
    ln_p: 0.0,
    is_tested: false,
};

/// Sums of products of centred columns.
struct Products {
    xx: Array2<f64>, // [j, k]: x_j . x_k
    xy: Array2<f64>, // [j, i]: x_j . y_i
    yy: Vec<f64>,    // [i]: y_i . y_i
}

impl Products {
    fn new(x: &Array2<f64>, y: &Array2<f64>) -> Self {
        let (x, y) = (centred(x), centred(y));
        Products {
            xx: x.t().dot(&x),
            xy: x.t().dot(&y),
            yy: y
                .columns()
                .into_iter()
                .map(|column| column.dot(&column))
                .collect(),
        }
    }

    /// `y_i` on `x_j`, after the intercept and `x_own`.
    fn test(&self, i: usize, j: usize, own: Option<usize>, df: f64) -> PairTest {
        if i == j || df < 1.0 {
            return NOT_TESTED;
        }
        let (mut yy, mut xx, mut xy) = (self.yy[i], self.xx[[j, j]], self.xy[[j, i]]);
        if let Some(own) = own {
            let size = self.xx[[own, own]];
            yy -= self.xy[[own, i]].powi(2) / size;
            xx -= self.xx[[own, j]].powi(2) / size;
            xy -= self.xx[[own, j]] * self.xy[[own, i]] / size;
        }
        if yy <= EXACT * self.yy[i] || xx <= EXACT * self.xx[[j, j]] {
            return NOT_TESTED;
        }
        let explained = xy * xy / xx;
        let left = yy - explained;
        // The larger model alone fits exactly: every finite F would be a statement on rounding.
        let f = if left <= EXACT * yy {
            f64::INFINITY
        } else {
            explained / left * df
        };
        PairTest {
            f,
            ln_p: ln_f_tail(f, 1.0, df),
            is_tested: true,
        }
    }
}

/// Columns minus their means; a constant column becomes exactly 0.
fn centred(values: &Array2<f64>) -> Array2<f64> {
    let mut values = values.clone();
    for mut column in values.axis_iter_mut(Axis(1)) {
        let Some(&first) = column.first() else {
            continue;
        };
        // Taking the first value off makes the mean of a constant column exact.
        column.mapv_inplace(|value| value - first);
        let mean = column.sum() / column.len() as f64;
        column.mapv_inplace(|value| value - mean);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, matrix};
    use ndarray::s;

    fn golden_tables() -> (Array2<f64>, Array2<f64>) {
        let golden = load("f_test");
        (matrix(&golden["x"]), matrix(&golden["y"]))
    }

    #[test]
    fn both_forms_agree_with_two_least_squares_fits_of_statsmodels() {
        let golden = load("f_test");
        let (x, y) = golden_tables();
        for (form, key) in [(FTestForm::Nested, "nested"), (FTestForm::Plain, "plain")] {
            let found = f_tests(&x, &y, form).unwrap();
            let (f, p) = (matrix(&golden[key]["f"]), matrix(&golden[key]["p"]));
            for ((i, j), expected) in f.indexed_iter().filter(|((i, j), _)| i != j) {
                assert_close(
                    found.f[[i, j]],
                    *expected,
                    1e-8,
                    &format!("{key} F {i} {j}"),
                );
                assert_close(
                    found.p[[i, j]],
                    p[[i, j]],
                    1e-9,
                    &format!("{key} p {i} {j}"),
                );
                assert_close(
                    found.neg_log10_p[[i, j]],
                    -p[[i, j]].log10(),
                    1e-8,
                    &format!("{key} log {i} {j}"),
                );
            }
        }
    }

    #[test]
    fn the_printed_form_with_x_equal_to_y_fits_exactly_and_tests_nothing() {
        let (_, y) = golden_tables();
        let found = f_tests(&y, &y, FTestForm::Nested).unwrap();
        assert!(found.tested.iter().all(|tested| !tested));
        assert!(found.f.iter().all(|f| *f == 0.0) && found.p.iter().all(|p| *p == 1.0));
        // The plain form on the same table has something to say.
        assert!(
            f_tests(&y, &y, FTestForm::Plain)
                .unwrap()
                .neg_log10_p
                .iter()
                .any(|p| *p > 2.0)
        );
    }

    #[test]
    fn constant_and_collinear_columns_are_not_tested() {
        let (mut x, mut y) = golden_tables();
        x.column_mut(0).fill(0.1);
        y.column_mut(1).fill(0.3);
        let doubled = x.column(2).mapv(|v| 2.0 * v + 1.0);
        x.column_mut(3).assign(&doubled);
        let found = f_tests(&x, &y, FTestForm::Nested).unwrap();
        assert!(
            found.tested.slice(s![.., 0]).iter().all(|t| !t),
            "constant predictor"
        );
        assert!(
            found.tested.slice(s![1, ..]).iter().all(|t| !t),
            "constant target"
        );
        assert!(
            !found.tested[[2, 3]] && !found.tested[[3, 2]],
            "x_3 is a line in x_2"
        );
        assert!(found.tested[[4, 2]]);
        // With a constant x_0 the nested model of y_0 is the plain one, with its degrees of freedom.
        let plain = f_tests(&x, &y, FTestForm::Plain).unwrap();
        assert_eq!(found.df_residual[0], 38.0);
        assert_eq!(found.df_residual[2], 37.0);
        assert_eq!(found.f[[0, 2]], plain.f[[0, 2]]);
    }

    #[test]
    fn an_exact_larger_model_is_infinitely_significant() {
        let (x, mut y) = golden_tables();
        let sum = &x.column(0) * 0.5 + x.column(1);
        y.column_mut(0).assign(&sum);
        let found = f_tests(&x, &y, FTestForm::Nested).unwrap();
        assert_eq!((found.f[[0, 1]], found.p[[0, 1]]), (f64::INFINITY, 0.0));
        assert_eq!(found.neg_log10_p[[0, 1]], f64::INFINITY);
    }

    #[test]
    fn tables_too_short_to_test_are_not_tested_and_bad_ones_refused() {
        for n in 0..4 {
            let x = Array2::from_shape_fn((n, 2), |(i, j)| (i * i + j) as f64);
            let found = f_tests(&x, &x.mapv(f64::sqrt), FTestForm::Nested).unwrap();
            assert!(n == 3 + 1 || found.tested.iter().all(|t| !t), "{n}");
        }
        let (x, mut y) = golden_tables();
        y[[0, 0]] = f64::NAN;
        assert!(f_tests(&x, &y, FTestForm::Plain).is_err());
        assert!(f_tests(&x.slice(s![.., ..2]).to_owned(), &x, FTestForm::Plain).is_err());
    }
}

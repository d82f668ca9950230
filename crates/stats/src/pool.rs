//! Rubin's rules: one answer from the answers of `m` completed tables (multiple imputation).
//!
//! With estimates `Q_k` and variances `U_k` of `m` tables (Rubin 1987, section 3.1):
//!
//! ```text
//! estimate   Q = mean Q_k                within   U = mean U_k
//! between    B = sum (Q_k - Q)^2 / (m-1) total    T = U + (1 + 1/m) B
//! increase   r = (1 + 1/m) B / U         t = Q / sqrt(T)
//! ```
//!
//! Degrees of freedom are those of Barnard & Rubin (1999), which never exceed those of the
//! complete data: with `lambda = (1 + 1/m) B / T` and `nu` of the complete data,
//!
//! ```text
//! old = (m-1) / lambda^2     observed = nu (nu+1)/(nu+3) (1-lambda)     df = 1 / (1/old + 1/observed)
//! ```
//!
//! The fraction of missing information is `(r + 2/(df+3)) / (r+1)` (Rubin 1987, eq. 3.1.10). Both
//! are as in R's mice 3.16 (`pool.scalar`), where the tables differ. Where they agree in an
//! estimate, nothing that bears on it was filled: the answer is that of one table, with its own
//! degrees of freedom, and no information is missing. The same holds for a single table.

use crate::tail::{ln_chi_squared_tail, ln_f_tail};
use crate::{Error, Result};
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Coverage of [`Pooled::interval`].
pub const COVERAGE: f64 = 0.95;

/// What one completed table says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Its squared standard error.
    pub variance: f64,
    /// Degrees of freedom of the variance; infinite for a statistic that is taken to be normal.
    pub df: f64,
}

/// What `m` completed tables say together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pooled {
    /// Number of tables, `m`.
    pub n_tables: usize,
    /// Mean of the estimates.
    pub estimate: f64,
    /// Mean of their variances.
    pub within: f64,
    /// Variance of the estimates over the tables; 0 for one table.
    pub between: f64,
    /// Squared standard error of `estimate`.
    pub total: f64,
    /// Relative increase of the variance by what is missing; infinite where `within` is 0 alone.
    pub relative_increase: f64,
    /// Fraction of missing information, 0 to 1.
    pub missing_information: f64,
    /// Degrees of freedom.
    pub df: f64,
    /// `estimate / sqrt(total)`; `NaN` where `total` is 0: without a variance there is no test.
    pub t: f64,
    /// Two-sided p-value of `estimate = 0`; `NaN` without a variance or degrees of freedom.
    pub p: f64,
}

/// Pools estimates that lie in memory.
///
/// # Errors
/// No estimate; a value that is not finite, a negative variance, degrees of freedom of 0 or less.
///
/// # Example
/// ```
/// use suffuse_stats::pool::{Estimate, pool};
/// let table = |value| Estimate { value, variance: 1.0, df: f64::INFINITY };
/// let pooled = pool(&[table(1.0), table(2.0), table(3.0)])?;
/// assert_eq!((pooled.estimate, pooled.between), (2.0, 1.0));
/// assert!((pooled.total - (1.0 + 4.0 / 3.0)).abs() < 1e-15);
/// # Ok::<(), suffuse_stats::Error>(())
/// ```
pub fn pool(estimates: &[Estimate]) -> Result<Pooled> {
    let mut pooling = Pooling::default();
    for (row, estimate) in estimates.iter().enumerate() {
        let checks = [
            (estimate.value, estimate.value.is_finite(), "a finite value"),
            (
                estimate.variance,
                estimate.variance >= 0.0 && estimate.variance.is_finite(),
                "a variance of 0 or more",
            ),
            (estimate.df, estimate.df > 0.0, "degrees of freedom above 0"),
        ];
        for (value, is_sound, expected) in checks {
            if !is_sound {
                return Err(Error::BadEntry {
                    what: "estimates to pool",
                    row,
                    column: 0,
                    value,
                    expected,
                });
            }
        }
        pooling.add(*estimate);
    }
    pooling.finish()
}

/// Estimates that come in one after the other; nothing but their sums is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pooling {
    n: usize,
    mean: f64,
    /// Sum of squared deviations from the mean (Welford 1962).
    squares: f64,
    variances: f64,
    dfs: f64,
}

impl Pooling {
    /// Takes in an estimate. A `NaN` in it makes all of the result `NaN`.
    pub fn add(&mut self, estimate: Estimate) {
        self.n += 1;
        let delta = estimate.value - self.mean;
        self.mean += delta / self.n as f64;
        self.squares += delta * (estimate.value - self.mean);
        self.variances += estimate.variance;
        self.dfs += estimate.df;
    }

    /// Pools what came in. Complete-data degrees of freedom are the mean of those given.
    ///
    /// # Errors
    /// No estimate.
    pub fn finish(&self) -> Result<Pooled> {
        if self.n == 0 {
            return Err(Error::TooFew {
                what: "estimates to pool",
                found: 0,
                needed: 1,
            });
        }
        let m = self.n as f64;
        let within = self.variances / m;
        let complete_df = self.dfs / m;
        let between = if self.n == 1 {
            0.0 * self.squares
        } else {
            self.squares / (m - 1.0)
        };
        let added = (1.0 + 1.0 / m) * between;
        let total = within + added;
        let mut pooled = Pooled {
            n_tables: self.n,
            estimate: self.mean,
            within,
            between,
            total,
            relative_increase: 0.0,
            missing_information: 0.0,
            df: complete_df,
            t: f64::NAN,
            p: f64::NAN,
        };
        if between != 0.0 {
            let r = added / within;
            let df = barnard_rubin(m, added / total, complete_df);
            pooled.relative_increase = r;
            pooled.df = df;
            pooled.missing_information = if r.is_infinite() {
                1.0
            } else {
                (r + 2.0 / (df + 3.0)) / (r + 1.0)
            };
        }
        if total != 0.0 {
            pooled.t = self.mean / total.sqrt();
            pooled.p = two_sided_p(pooled.t, pooled.df);
        }
        Ok(pooled)
    }
}

impl Pooled {
    /// The 95 % interval of the estimate; `NaN` without a variance or degrees of freedom.
    pub fn interval(&self) -> [f64; 2] {
        let half = t_quantile(0.5 + COVERAGE / 2.0, self.df) * self.total.sqrt();
        if self.total == 0.0 {
            return [f64::NAN; 2];
        }
        [self.estimate - half, self.estimate + half]
    }
}

/// Degrees of freedom from `lambda`, the share of the variance that is due to what is missing.
fn barnard_rubin(m: f64, lambda: f64, complete_df: f64) -> f64 {
    let old = (m - 1.0) / (lambda * lambda);
    if complete_df.is_infinite() {
        return old;
    }
    let observed = complete_df * (complete_df + 1.0) / (complete_df + 3.0) * (1.0 - lambda);
    if old.is_infinite() {
        return observed;
    }
    old * observed / (old + observed)
}

/// `P(|T| > |t|)` by the F distribution of `t^2`, exact far out in the tails.
fn two_sided_p(t: f64, df: f64) -> f64 {
    if t.is_nan() || df.is_nan() || df <= 0.0 {
        return f64::NAN;
    }
    let ln_p = if df.is_infinite() {
        ln_chi_squared_tail(t * t, 1.0)
    } else {
        ln_f_tail(t * t, 1.0, df)
    };
    ln_p.exp().min(1.0)
}

/// Quantile of Student's t; of the normal distribution for infinite degrees of freedom.
fn t_quantile(probability: f64, df: f64) -> f64 {
    if df.is_nan() || df <= 0.0 {
        return f64::NAN;
    }
    if df.is_infinite() {
        return Normal::standard().inverse_cdf(probability);
    }
    StudentsT::new(0.0, 1.0, df).map_or(f64::NAN, |t| t.inverse_cdf(probability))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, number, vector};

    fn of(value: f64, variance: f64, df: f64) -> Estimate {
        Estimate {
            value,
            variance,
            df,
        }
    }

    #[test]
    fn pooled_numbers_are_those_of_the_formulas_of_mice() {
        for (k, case) in load("pool")["cases"].as_array().unwrap().iter().enumerate() {
            let df = match case["df_complete"].is_null() {
                true => f64::INFINITY,
                false => number(&case["df_complete"]),
            };
            let estimates: Vec<Estimate> = vector(&case["values"])
                .iter()
                .zip(vector(&case["variances"]))
                .map(|(value, variance)| of(*value, variance, df))
                .collect();
            let found = pool(&estimates).unwrap();
            let [lower, upper] = found.interval();
            for (name, value) in [
                ("estimate", found.estimate),
                ("within", found.within),
                ("between", found.between),
                ("total", found.total),
                ("increase", found.relative_increase),
                ("fmi", found.missing_information),
                ("df", found.df),
                ("t", found.t),
                ("p", found.p),
                ("lower", lower),
                ("upper", upper),
            ] {
                let expected = number(&case[name]);
                let error = (value - expected).abs() / expected.abs().max(1e-300);
                assert!(
                    error < 1e-9,
                    "case {k}, {name}: found {value}, expected {expected}"
                );
            }
        }
    }

    #[test]
    fn tables_that_agree_give_the_answer_of_one_of_them() {
        let one = pool(&[of(0.7, 0.04, 12.0)]).unwrap();
        let many = pool(&[of(0.7, 0.04, 12.0); 20]).unwrap();
        assert_close(many.p, one.p, 1e-14, "p");
        assert_eq!(
            (one.df, one.between, one.missing_information),
            (12.0, 0.0, 0.0)
        );
        assert_eq!(
            (many.df, many.between, many.missing_information),
            (12.0, 0.0, 0.0)
        );
        // scipy.stats.t.sf(3.5, 12) * 2
        assert_close(one.p, 0.004_381_869_431_748_154, 1e-12, "p of one table");
    }

    #[test]
    fn without_a_variance_there_is_no_test_and_without_a_table_no_answer() {
        let constant = pool(&[of(0.0, 0.0, 5.0); 3]).unwrap();
        assert!(constant.p.is_nan() && constant.t.is_nan());
        assert!(constant.interval()[0].is_nan());
        // All of the variance is between the tables: everything is missing.
        let apart = pool(&[of(0.0, 0.0, 5.0), of(1.0, 0.0, 5.0)]).unwrap();
        assert_eq!((apart.missing_information, apart.df), (1.0, 0.0));
        assert!(apart.p.is_nan() && apart.interval()[1].is_nan());
        assert!(matches!(pool(&[]), Err(Error::TooFew { .. })));
        for bad in [
            of(f64::NAN, 1.0, 1.0),
            of(0.0, -1.0, 1.0),
            of(0.0, 1.0, 0.0),
        ] {
            assert!(matches!(pool(&[bad]), Err(Error::BadEntry { .. })));
        }
        let mut pooling = Pooling::default();
        pooling.add(of(f64::NAN, f64::NAN, f64::NAN));
        assert!(pooling.finish().unwrap().p.is_nan());
    }
}

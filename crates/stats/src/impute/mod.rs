//! Classical imputers: the baselines that stand beside every model.
//!
//! ```text
//! Incomplete (observed, zero, hidden) -> fit on what is not hidden -> value for each hidden entry
//! ```
//!
//! All of them predict the abundance *given presence*: a hidden entry is taken to be a positive
//! value, so zeros are never averaged in, and a prediction below the smallest observed value of
//! the table is raised to it. [`Method::Zero`] is the exception, being the floor of every score.
//! Entries that are not hidden come out bit-identical. Nothing here returns `NaN`.

mod deviations;
mod extra_trees;
mod knn;
mod local_least_squares;
mod longitudinal;
mod mean_offset;
mod nmf;
mod presence;
#[cfg(test)]
mod real_tables;
mod ridge;
mod setting;
mod soft_impute;
mod svd;
mod taxon_forests;
mod tuned;

pub use longitudinal::{LongitudinalMethod, Visits, fill_in_time};
pub use mean_offset::MeanOffset;
pub use presence::{PresenceOptions, presence};
pub use tuned::{Residual, Tuned, Validation, impute_tuned};

use crate::{Error, Incomplete};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use setting::Setting;
use std::fmt;
use std::str::FromStr;

/// A classical imputer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// 0 everywhere.
    Zero,
    /// Mean of the taxon's observed values.
    TaxonMean,
    /// Taxon mean plus how far the sample's observed values lie above their taxon means, on average.
    TaxonMeanOffset,
    /// Mean of the taxon over the 10 nearest samples that have it.
    Knn,
    /// Nuclear-norm completion of what the taxon mean and sample offset leave over.
    SoftImpute,
    /// Truncated singular value decomposition of the same, iterated (hard-impute).
    Svd,
    /// Non-negative matrix factorisation of the observed values.
    Nmf,
    /// Per entry, a regression on the sample's taxa that correlate most with the hidden one.
    LocalLeastSquares,
    /// Per taxon, a ridge regression on the values and presence of all others, chained.
    Ridge,
    /// Per taxon, extremely randomised trees on the others, trained on hidden-like samples.
    ExtraTrees,
}

impl Method {
    /// All methods, from the simplest on.
    pub const ALL: [Method; 10] = [
        Method::Zero,
        Method::TaxonMean,
        Method::TaxonMeanOffset,
        Method::Knn,
        Method::SoftImpute,
        Method::Svd,
        Method::Nmf,
        Method::LocalLeastSquares,
        Method::Ridge,
        Method::ExtraTrees,
    ];

    /// Name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Method::Zero => "zero",
            Method::TaxonMean => "taxon-mean",
            Method::TaxonMeanOffset => "taxon-mean-offset",
            Method::Knn => "knn",
            Method::SoftImpute => "soft-impute",
            Method::Svd => "svd",
            Method::Nmf => "nmf",
            Method::LocalLeastSquares => "local-least-squares",
            Method::Ridge => "ridge",
            Method::ExtraTrees => "extra-trees",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Method {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Method::ALL
            .into_iter()
            .find(|method| method.name() == name)
            .ok_or_else(|| Error::BadOption {
                option: "imputation method",
                value: format!("{name:?}"),
                expected: "zero, taxon-mean, taxon-mean-offset, knn, soft-impute, svd, nmf, \
                           local-least-squares, ridge or extra-trees",
            })
    }
}

/// Fills the hidden entries of a table; all others are copied.
///
/// - returns `[n_samples, n_taxa]` in the unit of the table, without `NaN`
///
/// # Example
/// ```
/// use ndarray::array;
/// use suffuse_stats::Incomplete;
/// use suffuse_stats::impute::{Method, impute};
///
/// let table = Incomplete::from_values(array![[1.0, 2.0], [3.0, f64::NAN], [0.0, 4.0]])?;
/// assert_eq!(impute(Method::TaxonMean, &table)[[1, 1]], 3.0);
/// # Ok::<(), suffuse_stats::Error>(())
/// ```
pub fn impute(method: Method, table: &Incomplete) -> Array2<f64> {
    // The trees' features differ little between the two where nothing says which it is.
    let totals = RowTotals::OfWhatIsLeft;
    let setting = Setting::default_of(method);
    complete(method, setting, table, totals, Effort::Full)
}

/// Fills the hidden entries with one setting of a method.
fn complete(
    method: Method,
    setting: Setting,
    table: &Incomplete,
    totals: RowTotals,
    effort: Effort,
) -> Array2<f64> {
    // A table with nothing observed offers no presence to learn from: 0 is all that is known.
    let Some(smallest) = table.smallest_observed() else {
        return filled(table, |_, _| 0.0);
    };
    let base = MeanOffset::fit(table);
    let with_low_rank = |residual: soft_impute::LowRank| {
        filled(table, |sample, taxon| {
            (base.predict(sample, taxon) + residual.at(sample, taxon)).max(smallest)
        })
    };
    let mut completed = match (method, setting) {
        (Method::Zero, _) => filled(table, |_, _| 0.0),
        (Method::TaxonMean, _) => filled(table, |_, taxon| base.taxon_mean(taxon)),
        (Method::TaxonMeanOffset, _) | (Method::SoftImpute, Setting::MeanAndOffset) => {
            filled(table, |sample, taxon| {
                base.predict(sample, taxon).max(smallest)
            })
        }
        (Method::Knn, Setting::Neighbours(n)) => knn::impute(table, &base, smallest, n),
        (Method::SoftImpute, Setting::Lambda(lambda)) => {
            with_low_rank(soft_impute::residuals_at(table, lambda))
        }
        (Method::SoftImpute, _) => with_low_rank(soft_impute::residuals(table)),
        (Method::Svd, Setting::Rank(rank)) => {
            let residual = svd::residuals(table, &base, rank);
            filled(table, |sample, taxon| {
                (base.predict(sample, taxon) + residual.at(sample, taxon)).max(smallest)
            })
        }
        (Method::Nmf, Setting::Factors { rank, penalty }) => {
            let nmf = nmf::Nmf::fit(table, &base, rank, penalty);
            filled(table, |sample, taxon| {
                nmf.predict(sample, taxon).max(smallest)
            })
        }
        (Method::LocalLeastSquares, Setting::Partners(n)) => {
            local_least_squares::impute(table, &base, smallest, n)
        }
        (Method::Ridge, Setting::Penalty(penalty)) => {
            let mut completed = table.values.clone();
            let residuals = ridge::residuals(table, &base, penalty);
            for (at, residual) in table.hidden().zip(residuals) {
                completed[at] = (base.predict(at.0, at.1) + residual).max(smallest);
            }
            completed
        }
        (Method::ExtraTrees, Setting::Trees { min_leaf, tried }) => {
            let options = taxon_forests::Options {
                min_leaf,
                tried,
                totals,
                effort,
            };
            taxon_forests::impute(table, &base, smallest, options)
        }
        (method, setting) => unreachable!("{method} has no setting like {setting}"),
    };
    // Only values whose squares overflow come here.
    for at in table.hidden() {
        if !completed[at].is_finite() {
            completed[at] = smallest;
        }
    }
    completed
}

/// Whose total 100 percent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowTotals {
    /// The observed percents of a sample sum to the same, whatever is hidden.
    OfWhatIsLeft,
    /// Hiding an entry leaves the percents of the others as they are.
    Fixed,
}

/// How much time a fit is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effort {
    /// One of several, to choose among them: forests of a large table are small.
    Trial,
    Full,
}

/// Copies a table and sets its hidden entries to `value(sample, taxon)`.
fn filled(table: &Incomplete, value: impl Fn(usize, usize) -> f64) -> Array2<f64> {
    let mut completed = table.values.clone();
    for (sample, taxon) in table.hidden() {
        completed[[sample, taxon]] = value(sample, taxon);
    }
    completed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_matrix_close, load, matrix};
    use ndarray::array;
    use proptest::prelude::*;

    #[test]
    fn every_method_agrees_with_its_numpy_definition() {
        let golden = load("imputers");
        let table = Incomplete::from_values(matrix(&golden["values"])).unwrap();
        for method in [
            Method::Zero,
            Method::TaxonMean,
            Method::TaxonMeanOffset,
            Method::Knn,
        ] {
            let expected = matrix(&golden["expected"][method.name()]);
            assert_matrix_close(&impute(method, &table), &expected, 1e-12, method.name());
        }
    }

    #[test]
    fn names_are_read_back_and_serialised_alike() {
        for method in Method::ALL {
            assert_eq!(method.name().parse::<Method>().unwrap(), method);
            assert_eq!(
                serde_json::to_string(&method).unwrap(),
                format!("\"{method}\"")
            );
        }
        assert!(
            "median"
                .parse::<Method>()
                .unwrap_err()
                .to_string()
                .contains("taxon-mean-offset")
        );
    }

    #[test]
    fn tables_with_little_or_nothing_observed_are_filled_without_nan() {
        let nan = f64::NAN;
        for values in [
            array![[nan]],
            array![[1.0]],
            array![[1.0, nan]],
            array![[1.0], [nan]],
            array![[0.0, 0.0], [nan, nan]],
            array![[0.0, nan], [2.0, nan], [0.0, 0.0]],
            array![
                [1e300, nan, 1e300],
                [1e308, 1e308, 1.0],
                [1e-300, 1e200, nan]
            ],
            Array2::zeros((0, 0)),
        ] {
            let table = Incomplete::from_values(values).unwrap();
            for method in Method::ALL {
                let validation = Validation {
                    rows: (0..table.n_samples() + 1).collect(),
                    fraction: 0.5,
                    totals: RowTotals::OfWhatIsLeft,
                    seed: 1,
                };
                let tuned = impute_tuned(method, &table, &validation).completed;
                for completed in [impute(method, &table), tuned] {
                    assert!(
                        completed.iter().all(|v| v.is_finite()),
                        "{method} {table:?}"
                    );
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_table_is_completed_with_the_rest_bit_identical(
            (n_taxa, cells) in (1_usize..6).prop_flat_map(|n_taxa| {
                let cell = prop_oneof![Just(0.0), Just(f64::NAN), 1e-6..6.0_f64];
                (Just(n_taxa), prop::collection::vec(cell, n_taxa..60))
            })
        ) {
            let n_samples = cells.len() / n_taxa;
            let values = Array2::from_shape_vec((n_samples, n_taxa), cells[..n_samples * n_taxa].to_vec()).unwrap();
            let table = Incomplete::from_values(values).unwrap();
            let validation = Validation {
                rows: (0..n_samples).collect(),
                fraction: 0.3,
                totals: RowTotals::OfWhatIsLeft,
                seed: 1,
            };
            let all = Method::ALL.into_iter();
            let completed = all.flat_map(|method| {
                [impute(method, &table), impute_tuned(method, &table, &validation).completed]
            });
            for completed in completed {
                for (at, value) in completed.indexed_iter() {
                    prop_assert!(value.is_finite() && *value >= 0.0);
                    if !table.values[at].is_nan() {
                        prop_assert_eq!(value.to_bits(), table.values[at].to_bits());
                    }
                }
            }
        }
    }

    #[test]
    fn one_and_two_threads_give_the_same_bits_with_every_method() {
        let values = Array2::from_shape_fn((40, 9), |(i, j)| match (i * 7 + j * 3) % 11 {
            0 => f64::NAN,
            1..=4 => 0.0,
            k => k as f64 / 3.0 + i as f64 * 0.01,
        });
        let table = Incomplete::from_values(values).unwrap();
        let with = |n: usize, method| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(n)
                .build()
                .unwrap();
            pool.install(|| impute(method, &table))
        };
        for method in Method::ALL {
            assert_eq!(with(1, method), with(2, method), "{method}");
        }
    }
}

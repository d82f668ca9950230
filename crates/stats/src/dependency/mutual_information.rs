//! Mutual information of zero-inflated columns, with a permutation test or a G-test.
//!
//! A column is made discrete: zeros are one bin, non-zeros fall into bins of equal frequency. The
//! plug-in estimate in nats is `sum p_ab ln(p_ab / (p_a p_b))`; it is biased upwards by about
//! `(cells - rows - columns + 1) / 2n`, which the tests account for and the figure does not.

use super::binning::{BinOptions, Binned};
use crate::error::check_finite;
use crate::tail::{ln_chi_squared_tail, neg_log10};
use crate::{Error, Result};
use ndarray::Array2;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Permuted tables count as "at least as dependent" within this rounding of the statistic.
const TIE: f64 = 1e-9;

/// Permutations as large as what was observed after which no more are looked at.
const ENOUGH: usize = 20;

/// No permutation is looked at where the G-test expects fewer than this many that are as large as what
/// was observed. The test is asymptotic: of two taxa in the same `k` of `n` samples, the exact probability
/// `1 / (n choose k)` is 57 times (k 5, n 1000) to 1,850 times (500 of 1000) what it says. So a permutation
/// as large is expected in less than one of a few hundred such pairs.
const BEYOND_DOUBT: f64 = 1e-6;

/// Where the p-values of mutual information come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum MiTest {
    /// Permutations of the sample order, shared by all pairs; exact but for what is said below, and `p` is
    /// never under `1 / (n_permutations + 1)`. A pair ends after 20 permutations as large as what was observed, so
    /// that most are spent on pairs whose p-value is small; none on a pair that the G-test puts beyond
    /// all of them. Cost at most
    /// `n_taxa^2 / 2 * n_permutations * (non-zeros of the sparser column)`.
    Permutation {
        /// Number of permutations, 1 or more.
        n_permutations: usize,
        /// Key of the permutations.
        seed: u64,
    },
    /// `2 n MI` against chi-squared with `(rows - 1) * (columns - 1)` degrees of freedom;
    /// asymptotic, so doubtful for taxa with few non-zeros.
    GTest,
}

/// Mutual information of all pairs; matrices are symmetric, `[n_taxa, n_taxa]`.
#[derive(Debug, Clone, PartialEq)]
pub struct MutualInformation {
    /// Plug-in estimate in nats; the entropy of a column on the diagonal.
    pub mi: Array2<f64>,
    /// p-value of independence; 1 where not tested.
    pub p: Array2<f64>,
    /// `-log10 p`, accurate where `p` is 0; 0 where not tested.
    pub neg_log10_p: Array2<f64>,
    /// Where there was something to test: not the diagonal, nor a column in a single bin.
    pub tested: Array2<bool>,
}

/// Estimates and tests the mutual information of all pairs of columns of `y`.
///
/// - `y`: `[n_samples, n_taxa]`, finite, 0 is absence; any monotone unit gives the same result
///
/// # Errors
/// A value that is not finite, options out of range.
pub fn mutual_information(
    y: &Array2<f64>,
    test: MiTest,
    options: BinOptions,
) -> Result<MutualInformation> {
    check_finite("y", y)?;
    let (n_samples, n_taxa) = y.dim();
    let columns = y
        .columns()
        .into_iter()
        .map(|column| Binned::new(column, options))
        .collect::<Result<Vec<_>>>()?;
    let permutations = match test {
        MiTest::GTest => Vec::new(),
        MiTest::Permutation {
            n_permutations: 0, ..
        } => {
            let value = "0".to_string();
            return Err(Error::BadOption {
                option: "n_permutations",
                value,
                expected: "1 or more",
            });
        }
        MiTest::Permutation {
            n_permutations,
            seed,
        } => permutations(n_samples, n_permutations, seed),
    };
    let counter = Counter {
        n_ln_n: (0..=n_samples).map(n_ln_n).collect(),
        identity: (0..n_samples as u32).collect(),
    };
    let rows: Vec<Vec<PairTest>> = (0..n_taxa)
        .into_par_iter()
        .map(|i| {
            let mut cells = Vec::new();
            (i..n_taxa)
                .map(|j| {
                    counter.test(
                        i == j,
                        [&columns[i], &columns[j]],
                        &permutations,
                        &mut cells,
                    )
                })
                .collect()
        })
        .collect();
    let pair = |(i, j): (usize, usize)| &rows[i.min(j)][i.abs_diff(j)];
    let collect =
        |of: fn(&PairTest) -> f64| Array2::from_shape_fn((n_taxa, n_taxa), |at| of(pair(at)));
    Ok(MutualInformation {
        mi: collect(|test| test.mi),
        p: collect(|test| test.ln_p.exp()),
        neg_log10_p: collect(|test| neg_log10(test.ln_p)),
        tested: Array2::from_shape_fn((n_taxa, n_taxa), |at| pair(at).is_tested),
    })
}

#[derive(Debug, Clone, Copy)]
struct PairTest {
    mi: f64,
    ln_p: f64,
    is_tested: bool,
}

/// `n_permutations` orders of the samples; each from its own generator, so that none depends on the others.
fn permutations(n_samples: usize, n_permutations: usize, seed: u64) -> Vec<Vec<u32>> {
    (0..n_permutations as u64)
        .map(|stream| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(stream);
            let mut order: Vec<u32> = (0..n_samples as u32).collect();
            order.shuffle(&mut rng);
            order
        })
        .collect()
}

/// The p-value of permutations that are looked at one by one, each as large as what was observed or
/// not: when [`ENOUGH`] were as large the outcome is clear, and the rest is not computed (Besag &
/// Clifford 1991, section 3). Unbiased in rank as without stopping: `P(p <= a) <= a` under independence.
fn sequential_p(as_large: impl Iterator<Item = bool>, n: usize) -> f64 {
    let mut n_as_large = 0;
    for (i, is_as_large) in as_large.enumerate() {
        n_as_large += usize::from(is_as_large);
        if n_as_large == ENOUGH {
            return ENOUGH as f64 / (i + 1) as f64;
        }
    }
    (n_as_large + 1) as f64 / (n + 1) as f64
}

fn n_ln_n(n: usize) -> f64 {
    if n == 0 {
        0.0
    } else {
        n as f64 * (n as f64).ln()
    }
}

/// Counts contingency tables.
struct Counter {
    /// `n ln n` for `n` in `0..=n_samples`.
    n_ln_n: Vec<f64>,
    /// The order that permutes nothing.
    identity: Vec<u32>,
}

impl Counter {
    fn test(
        &self,
        is_diagonal: bool,
        pair: [&Binned; 2],
        orders: &[Vec<u32>],
        cells: &mut Vec<u32>,
    ) -> PairTest {
        let n = self.identity.len();
        // Only the non-zeros of the sparser column are visited; its zeros follow from the margins.
        let [sparse, dense] = if pair[0].n_present() <= pair[1].n_present() {
            pair
        } else {
            [pair[1], pair[0]]
        };
        let statistic = self.statistic(sparse, dense, &self.identity, cells);
        let margins = sparse.sum_n_ln_n(&self.n_ln_n) + dense.sum_n_ln_n(&self.n_ln_n);
        // sum n_ab ln(n_ab n / (n_a n_b)) / n, not below 0 but for rounding.
        let nats = if n == 0 {
            0.0
        } else {
            ((statistic - margins + n_ln_n(n)) / n as f64).max(0.0)
        };
        let df = (sparse.n_used_bins().max(1) - 1) * (dense.n_used_bins().max(1) - 1);
        if is_diagonal || df == 0 {
            return PairTest {
                mi: nats,
                ln_p: 0.0,
                is_tested: false,
            };
        }
        let asymptotic = ln_chi_squared_tail(2.0 * n as f64 * nats, df as f64);
        let ln_p = if orders.is_empty() {
            asymptotic
        } else if asymptotic < BEYOND_DOUBT.ln() - (orders.len() as f64).ln() {
            (1.0 / (orders.len() + 1) as f64).ln()
        } else {
            // The margins are the same in every permutation, so the sums of n ln n rank the tables.
            let bound = statistic - TIE * statistic.abs().max(1.0);
            let as_large = |order: &Vec<u32>| self.statistic(sparse, dense, order, cells) >= bound;
            sequential_p(orders.iter().map(as_large), orders.len()).ln()
        };
        PairTest {
            mi: nats,
            ln_p,
            is_tested: true,
        }
    }

    /// `sum n_ab ln n_ab` over the cells of the table of `sparse` against `dense` in the given order.
    fn statistic(
        &self,
        sparse: &Binned,
        dense: &Binned,
        order: &[u32],
        cells: &mut Vec<u32>,
    ) -> f64 {
        let width = dense.n_bins;
        cells.clear();
        cells.resize(sparse.n_bins * width, 0);
        for &at in &sparse.present {
            let at = at as usize;
            cells[usize::from(sparse.bins[at]) * width
                + usize::from(dense.bins[order[at] as usize])] += 1;
        }
        let mut sum = 0.0;
        for (column, &total) in dense.counts.iter().enumerate() {
            let mut left = total;
            for row in 1..sparse.n_bins {
                let count = cells[row * width + column];
                left -= count;
                sum += self.n_ln_n[count as usize];
            }
            sum += self.n_ln_n[left as usize];
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, assert_matrix_close, load, matrix};
    use ndarray::{Array1, array};

    const PERMUTATION: MiTest = MiTest::Permutation {
        n_permutations: 999,
        seed: 7,
    };

    #[test]
    fn estimates_and_g_test_agree_with_scikit_learn_and_scipy() {
        let golden = load("mutual_information");
        let y = matrix(&golden["y"]);
        let found = mutual_information(&y, MiTest::GTest, BinOptions::default()).unwrap();
        assert_matrix_close(&found.mi, &matrix(&golden["mi"]), 1e-12, "MI");
        for ((i, j), p) in matrix(&golden["p"])
            .indexed_iter()
            .filter(|((i, j), _)| i != j)
        {
            assert_close(found.p[[i, j]], *p, 1e-10, &format!("p {i} {j}"));
            assert_close(
                found.neg_log10_p[[i, j]],
                -p.log10(),
                1e-8,
                &format!("-log10 p {i} {j}"),
            );
        }
    }

    #[test]
    fn the_permutation_test_agrees_with_the_exact_test_of_a_two_by_two_table() {
        // 8 + 8 samples, presence agrees in 14: Fisher's tables as extreme in MI, both directions, are
        // 2 (C(8,7) C(8,1) + C(8,8) C(8,0)) / C(16,8) = 130 / 12870: too rare for an early end.
        let column = |n_first: usize, n_second: usize| -> Array1<f64> {
            (0..16)
                .map(|i| f64::from(u8::from(if i < 8 { i < n_first } else { i - 8 < n_second })))
                .collect()
        };
        let (a, b) = (column(8, 0), column(7, 1));
        let y = ndarray::stack![ndarray::Axis(1), a, b];
        let p = |seed| {
            let test = MiTest::Permutation {
                n_permutations: 1000,
                seed,
            };
            let found = mutual_information(&y, test, BinOptions::default());
            found.unwrap().p[[0, 1]]
        };
        let mean = (0..40).map(p).sum::<f64>() / 40.0;
        let exact: f64 = 130.0 / 12870.0;
        let expected = (1000.0 * exact + 1.0) / 1001.0;
        // Four standard errors of 40,000 draws.
        let slack = 4.0 * (exact * (1.0 - exact) / 40_000.0_f64).sqrt();
        assert!((mean - expected).abs() < slack, "{mean} against {expected}");
    }

    #[test]
    fn clear_outcomes_end_early_and_others_count_all() {
        let every_second = (0..999).map(|i| i % 2 == 0);
        assert_eq!(sequential_p(every_second, 999), 20.0 / 39.0);
        let first_nineteen = (0..999).map(|i| i < 19);
        assert_eq!(sequential_p(first_nineteen, 999), 20.0 / 1000.0);
        assert_eq!(sequential_p((0..999).map(|_| false), 999), 1.0 / 1000.0);
        let last_of_twenty = (0..999).map(|i| i < 19 || i == 998);
        assert_eq!(sequential_p(last_of_twenty, 999), 20.0 / 999.0);
    }

    #[test]
    fn independent_columns_have_uniform_permutation_p_values() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let y = Array2::from_shape_simple_fn((120, 30), || {
            let mut order: Vec<f64> = (0..10)
                .map(|v| if v < 5 { 0.0 } else { f64::from(v) })
                .collect();
            order.shuffle(&mut rng);
            order[0]
        });
        let found = mutual_information(&y, PERMUTATION, BinOptions::default()).unwrap();
        let p: Vec<f64> = (0..30)
            .flat_map(|i| (i + 1..30).map(move |j| (i, j)))
            .map(|at| found.p[at])
            .collect();
        for level in [0.1, 0.5, 0.9] {
            let share = p.iter().filter(|p| **p <= level).count() as f64 / p.len() as f64;
            // Five standard errors over 435 pairs (binomial).
            assert!(
                (share - level).abs() < 5.0 * (level * (1.0 - level) / 435.0_f64).sqrt(),
                "{share} at {level}"
            );
        }
    }

    #[test]
    fn the_result_does_not_depend_on_threads_or_on_other_columns() {
        let y = matrix(&load("mutual_information")["y"]);
        let with = |n: usize, y: &Array2<f64>| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(n)
                .build()
                .unwrap();
            pool.install(|| mutual_information(y, PERMUTATION, BinOptions::default()).unwrap())
        };
        let whole = with(1, &y);
        assert_eq!(whole, with(2, &y));
        let part = with(2, &y.slice(ndarray::s![.., ..3]).to_owned());
        assert_eq!(part.p, whole.p.slice(ndarray::s![..3, ..3]));
    }

    #[test]
    fn columns_in_one_bin_are_not_tested_and_tiny_tables_are_fine() {
        let y = array![[0.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 3.0, 0.0]];
        let found = mutual_information(&y, PERMUTATION, BinOptions::default()).unwrap();
        // All zeros, and all non-zeros in one bin, have no entropy.
        assert!(found.tested.iter().all(|t| !t) && found.p.iter().all(|p| *p == 1.0));
        assert_eq!(found.mi[[0, 0]], 0.0);
        let empty =
            mutual_information(&Array2::zeros((0, 2)), MiTest::GTest, BinOptions::default())
                .unwrap();
        assert_eq!(empty.mi, Array2::<f64>::zeros((2, 2)));
    }

    #[test]
    fn options_out_of_range_are_refused() {
        let y = array![[1.0]];
        let none = MiTest::Permutation {
            n_permutations: 0,
            seed: 0,
        };
        assert!(mutual_information(&y, none, BinOptions::default()).is_err());
        assert!(
            mutual_information(&array![[f64::NAN]], MiTest::GTest, BinOptions::default()).is_err()
        );
    }
}

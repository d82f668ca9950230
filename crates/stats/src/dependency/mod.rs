//! Which taxa depend on which: the matrix that steers a dependency-aware model, and the edges
//! behind it.
//!
//! ```text
//! x (hidden input), y (clean) --F-tests, q------> C_dir[i, j]: j influences i
//! y ----- mutual information, q and size -----> C_mi, symmetric
//! Dep = C_dir OR C_mi OR diagonal
//! ```
//!
//! Samples in which every taxon of `y` is 0 are left out of both tests: shared emptiness would
//! couple all pairs.

mod binning;
mod f_test;
mod false_discovery;
mod granger;
mod mutual_information;
mod proportionality;

pub use binning::{BinOptions, Binned};
pub use f_test::{FTestForm, FTests, f_tests};
pub use false_discovery::{Correction, adjust};
pub use granger::{Granger, GrangerOptions, Intercept, SubjectSeries, granger, series_by_subject};
pub use mutual_information::{MiTest, MutualInformation, mutual_information};
pub use proportionality::{
    Proportionality, ZeroReplacement, centred_log_ratios, proportionality,
    proportionality_of_log_ratios,
};

use crate::error::{check_finite, check_length};
use crate::{Error, Result};
use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

/// Options of [`dependencies`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DependencyOptions {
    /// Largest adjusted p-value of an edge, above 0 and at most 1.
    pub alpha: f64,
    /// How p-values are adjusted; the two kinds of tests are two families.
    pub correction: Correction,
    /// The models of the F-test.
    pub form: FTestForm,
    /// Samples in which both taxa of a pair are present (in `y`) that an F-test needs; a mutual
    /// information test needs each taxon present in as many. Fewer let one sample decide.
    pub min_co_present: usize,
    /// The test of mutual information. With permutations, an edge among `m` pairs needs
    /// `alpha * (n_permutations + 1)` to be at least `m / (number of edges)`.
    pub mi_test: MiTest,
    /// How columns are cut for mutual information.
    pub bins: BinOptions,
    /// Smallest mutual information of an edge, in nats, 0 or more. In large tables nearly every
    /// pair is significant (samples differ in depth, and depth alone couples the zeros), so
    /// significance without a size makes a mask of ones.
    pub min_mi: f64,
}

impl Default for DependencyOptions {
    /// Nested F-tests and 999 permutations at a false discovery rate of 5 %, from 5 common samples
    /// on, and mutual information of 0.1 nats: what two Gaussians with a correlation of 0.43 share
    /// (`-ln(1 - r^2) / 2`).
    fn default() -> Self {
        DependencyOptions {
            alpha: 0.05,
            correction: Correction::BenjaminiHochberg,
            form: FTestForm::Nested,
            min_co_present: 5,
            mi_test: MiTest::Permutation {
                n_permutations: 999,
                seed: 0,
            },
            bins: BinOptions::default(),
            min_mi: 0.1,
        }
    }
}

/// Dependencies of all pairs; matrices are `[n_taxa, n_taxa]`, entry `[i, j]` reads "j influences i".
#[derive(Debug, Clone, PartialEq)]
pub struct Dependencies {
    /// F-tests, with `tested` false also where `min_co_present` is not reached.
    pub f_tests: FTests,
    /// Adjusted p-values of the F-tests; 1 where not tested.
    pub f_q: Array2<f64>,
    /// Mutual information, with `tested` false also where `min_co_present` is not reached.
    pub mutual_information: MutualInformation,
    /// Adjusted p-values of mutual information; 1 where not tested.
    pub mi_q: Array2<f64>,
    /// Directed dependence: `f_q <= alpha`; false on the diagonal.
    pub c_dir: Array2<bool>,
    /// Mutual dependence: `mi_q <= alpha` and at least `min_mi` nats; symmetric, false on the diagonal.
    pub c_mi: Array2<bool>,
    /// `c_dir` or `c_mi`; true on the diagonal.
    pub dep: Array2<bool>,
    /// Samples used: those with a non-zero in `y`.
    pub n_samples: usize,
}

/// Where an edge comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EdgeKind {
    /// F-test: the source helps to predict the target.
    Directed,
    /// Mutual information: no direction, `source < target`.
    Mutual,
}

/// A significant pair.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    /// Column of the taxon that influences.
    pub source: usize,
    /// Column of the taxon that is influenced.
    pub target: usize,
    /// Which test found it.
    pub kind: EdgeKind,
    /// F, or mutual information in nats.
    pub statistic: f64,
    /// p-value; 0 below the smallest f64.
    pub p: f64,
    /// `-log10 p`, accurate where `p` is 0; infinite for an exact fit.
    pub neg_log10_p: f64,
    /// Adjusted p-value.
    pub q: f64,
}

/// Tests all pairs of taxa and joins what is significant.
///
/// - `x`: `[n_samples, n_taxa]`, the table with entries hidden at random (set to 0)
/// - `y`: the same table clean, `ln(1 + percent)`, 0 is absence
///
/// # Errors
/// Shapes that differ, a value that is not finite, options out of range.
///
/// # Example
/// ```
/// use ndarray::Array2;
/// use suffuse_stats::dependency::{DependencyOptions, dependencies};
///
/// let y = Array2::from_shape_fn((60, 3), |(i, j)| 1.0 + ((i * (7 + j / 2)) % 11) as f64);
/// let mut x = y.clone();
/// x.iter_mut().step_by(7).for_each(|value| *value = 0.0);
/// let found = dependencies(&x, &y, &DependencyOptions::default())?;
/// assert!(found.dep[[0, 1]] && found.dep[[2, 2]]);
/// # Ok::<(), suffuse_stats::Error>(())
/// ```
pub fn dependencies(
    x: &Array2<f64>,
    y: &Array2<f64>,
    options: &DependencyOptions,
) -> Result<Dependencies> {
    let n_taxa = y.ncols();
    check_length("rows of x", x.nrows(), y.nrows())?;
    check_length("columns of x", x.ncols(), n_taxa)?;
    check_finite("x", x)?;
    check_finite("y", y)?;
    if !(options.alpha > 0.0 && options.alpha <= 1.0) {
        let value = options.alpha.to_string();
        return Err(Error::BadOption {
            option: "alpha",
            value,
            expected: "above 0 and at most 1",
        });
    }
    if options.min_mi.is_nan() || options.min_mi < 0.0 {
        let value = options.min_mi.to_string();
        return Err(Error::BadOption {
            option: "min_mi",
            value,
            expected: "0 or more nats",
        });
    }
    let rows: Vec<usize> = (0..y.nrows())
        .filter(|row| y.row(*row).iter().any(|value| *value != 0.0))
        .collect();
    let (x, y) = (x.select(Axis(0), &rows), y.select(Axis(0), &rows));

    let present = y.mapv(|value| f64::from(u8::from(value != 0.0)));
    let co_present = present.t().dot(&present); // [n_taxa, n_taxa], whole numbers
    let needed = options.min_co_present as f64;

    let mut f_tests = f_tests(&x, &y, options.form)?;
    drop_pairs(
        &mut [&mut f_tests.f, &mut f_tests.neg_log10_p],
        &mut f_tests.p,
        &mut f_tests.tested,
        |i, j| co_present[[i, j]] < needed,
    );
    let mut mi = mutual_information(&y, options.mi_test, options.bins)?;
    drop_pairs(
        &mut [&mut mi.neg_log10_p],
        &mut mi.p,
        &mut mi.tested,
        |i, j| co_present[[i, i]].min(co_present[[j, j]]) < needed,
    );

    let ordered: Vec<(usize, usize)> = f_tests
        .tested
        .indexed_iter()
        .filter(|(_, t)| **t)
        .map(|(at, _)| at)
        .collect();
    let f_q = adjusted(&f_tests.p, &ordered, options.correction)?;
    let unordered: Vec<(usize, usize)> = mi
        .tested
        .indexed_iter()
        .filter(|((i, j), tested)| **tested && i < j)
        .map(|(at, _)| at)
        .collect();
    let mut mi_q = adjusted(&mi.p, &unordered, options.correction)?;
    for &(i, j) in &unordered {
        mi_q[[j, i]] = mi_q[[i, j]];
    }

    let significant = |q: &Array2<f64>, tested: &Array2<bool>| {
        Array2::from_shape_fn(q.dim(), |at| tested[at] && q[at] <= options.alpha)
    };
    let c_dir = significant(&f_q, &f_tests.tested);
    let mut c_mi = significant(&mi_q, &mi.tested);
    c_mi.zip_mut_with(&mi.mi, |is_edge, nats| *is_edge &= *nats >= options.min_mi);
    let dep = Array2::from_shape_fn((n_taxa, n_taxa), |(i, j)| {
        i == j || c_dir[[i, j]] || c_mi[[i, j]]
    });
    Ok(Dependencies {
        f_tests,
        f_q,
        mutual_information: mi,
        mi_q,
        c_dir,
        c_mi,
        dep,
        n_samples: rows.len(),
    })
}

impl Dependencies {
    /// All significant pairs: directed before mutual, then by rising `q`, falling `-log10 p` and
    /// statistic, and by source and target.
    pub fn edges(&self) -> Vec<Edge> {
        let directed = self
            .c_dir
            .indexed_iter()
            .filter(|(_, is_edge)| **is_edge)
            .map(|((i, j), _)| Edge {
                source: j,
                target: i,
                kind: EdgeKind::Directed,
                statistic: self.f_tests.f[[i, j]],
                p: self.f_tests.p[[i, j]],
                neg_log10_p: self.f_tests.neg_log10_p[[i, j]],
                q: self.f_q[[i, j]],
            });
        let mi = &self.mutual_information;
        let mutual = self
            .c_mi
            .indexed_iter()
            .filter(|((i, j), is_edge)| **is_edge && i < j)
            .map(|((i, j), _)| Edge {
                source: i,
                target: j,
                kind: EdgeKind::Mutual,
                statistic: mi.mi[[i, j]],
                p: mi.p[[i, j]],
                neg_log10_p: mi.neg_log10_p[[i, j]],
                q: self.mi_q[[i, j]],
            });
        let mut edges: Vec<Edge> = directed.chain(mutual).collect();
        edges.sort_by(|a, b| {
            (a.kind.cmp(&b.kind))
                .then(a.q.total_cmp(&b.q))
                .then(b.neg_log10_p.total_cmp(&a.neg_log10_p))
                .then(b.statistic.total_cmp(&a.statistic))
                .then((a.source, a.target).cmp(&(b.source, b.target)))
        });
        edges
    }
}

/// A table without `NaN`, and the rows of `y` that it holds: those without `NaN`, or where these are
/// fewer than half, all, with each `NaN` replaced by the mean of its column.
///
/// Two taxa that are not measured in the same samples then look more dependent than they are.
pub fn complete(y: &Array2<f64>) -> (Array2<f64>, Vec<usize>) {
    let is_complete = |row: &usize| y.row(*row).iter().all(|value| !value.is_nan());
    let rows: Vec<usize> = (0..y.nrows()).filter(is_complete).collect();
    if 2 * rows.len() >= y.nrows() {
        return (y.select(Axis(0), &rows), rows);
    }
    let mut filled = y.clone();
    for mut column in filled.columns_mut() {
        let measured = || column.iter().filter(|value| !value.is_nan());
        let mean = measured().sum::<f64>() / measured().count().max(1) as f64;
        column.mapv_inplace(|value| if value.is_nan() { mean } else { value });
    }
    (filled, (0..y.nrows()).collect())
}

/// Marks pairs as not tested: statistic 0, `p` 1.
fn drop_pairs(
    zeroed: &mut [&mut Array2<f64>],
    p: &mut Array2<f64>,
    tested: &mut Array2<bool>,
    is_dropped: impl Fn(usize, usize) -> bool,
) {
    for ((i, j), tested) in tested
        .indexed_iter_mut()
        .filter(|((i, j), _)| is_dropped(*i, *j))
    {
        *tested = false;
        p[[i, j]] = 1.0;
        for matrix in zeroed.iter_mut() {
            matrix[[i, j]] = 0.0;
        }
    }
}

/// Adjusts the p-values at `pairs` as one family; 1 elsewhere.
fn adjusted(
    p: &Array2<f64>,
    pairs: &[(usize, usize)],
    correction: Correction,
) -> Result<Array2<f64>> {
    let family: Vec<f64> = pairs.iter().map(|at| p[*at]).collect();
    let mut q = Array2::ones(p.dim());
    for (at, value) in pairs.iter().zip(adjust(&family, correction)?) {
        q[*at] = value;
    }
    Ok(q)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::seq::SliceRandom;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    /// Taxa 0 and 1 share a driver, the others are noise; a third are zeros; `x` hides a tenth.
    fn tables(n_samples: usize, n_taxa: usize) -> (Array2<f64>, Array2<f64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut y = Array2::from_shape_simple_fn((n_samples, n_taxa), || {
            let noise: f64 = StandardNormal.sample(&mut rng);
            if noise < -0.43 { 0.0 } else { 2.0 + noise }
        });
        let driven = y
            .column(0)
            .mapv(|value| if value > 0.0 { value + 1.0 } else { 0.0 })
            + &(&y.column(1) * 0.1);
        y.column_mut(1).assign(&driven);
        let mut x = y.clone();
        let mut entries: Vec<_> = (0..n_samples)
            .flat_map(|i| (0..n_taxa).map(move |j| (i, j)))
            .collect();
        entries.shuffle(&mut rng);
        for at in &entries[..n_samples * n_taxa / 10] {
            x[*at] = 0.0;
        }
        (x, y)
    }

    #[test]
    fn a_true_pair_is_found_and_noise_is_not() {
        let (x, y) = tables(200, 12);
        // One edge among 66 pairs needs p below .05 / 66, which 999 permutations cannot reach.
        let mi_test = MiTest::Permutation {
            n_permutations: 1999,
            seed: 0,
        };
        let options = DependencyOptions {
            mi_test,
            ..DependencyOptions::default()
        };
        let found = dependencies(&x, &y, &options).unwrap();
        assert!(found.dep[[0, 1]] && found.dep[[1, 0]] && found.c_mi[[0, 1]]);
        assert!(found.dep.diag().iter().all(|dep| *dep));
        let false_edges = found
            .dep
            .indexed_iter()
            .filter(|((i, j), dep)| **dep && i != j && (*i > 1 || *j > 1));
        assert!(false_edges.count() <= 6, "of 130 pairs");
        for at in [[0, 1], [3, 4], [5, 2]] {
            assert_eq!(found.dep[at], found.c_dir[at] || found.c_mi[at]);
        }
    }

    #[test]
    fn edges_are_sorted_and_are_exactly_the_significant_pairs() {
        let (x, y) = tables(200, 12);
        let options = DependencyOptions {
            alpha: 0.5,
            min_mi: 0.0,
            mi_test: MiTest::GTest,
            ..DependencyOptions::default()
        };
        let found = dependencies(&x, &y, &options).unwrap();
        let edges = found.edges();
        let n_directed = edges
            .iter()
            .filter(|edge| edge.kind == EdgeKind::Directed)
            .count();
        assert_eq!(n_directed, found.c_dir.iter().filter(|c| **c).count());
        assert_eq!(
            2 * (edges.len() - n_directed),
            found.c_mi.iter().filter(|c| **c).count()
        );
        assert!(
            edges
                .windows(2)
                .all(|e| (e[0].kind, e[0].q) <= (e[1].kind, e[1].q))
        );
        assert!(
            edges
                .iter()
                .all(|e| e.q <= 0.5 && e.p <= e.q && e.source != e.target)
        );
    }

    #[test]
    fn few_incomplete_samples_are_left_out_and_many_are_filled_with_means() {
        let nan = f64::NAN;
        let few = ndarray::array![[1.0, 2.0], [nan, 3.0], [0.0, 4.0]];
        assert_eq!(
            complete(&few),
            (ndarray::array![[1.0, 2.0], [0.0, 4.0]], vec![0, 2])
        );
        let many = ndarray::array![[1.0, nan], [nan, nan], [4.0, nan]];
        assert_eq!(
            complete(&many),
            (
                ndarray::array![[1.0, 0.0], [2.5, 0.0], [4.0, 0.0]],
                vec![0, 1, 2]
            )
        );
    }

    #[test]
    fn empty_samples_change_nothing() {
        let (x, y) = tables(80, 5);
        let pad =
            |table: &Array2<f64>| ndarray::concatenate![Axis(0), *table, Array2::zeros((50, 5))];
        let options = DependencyOptions::default();
        let found = dependencies(&pad(&x), &pad(&y), &options).unwrap();
        assert_eq!(found, dependencies(&x, &y, &options).unwrap());
        assert_eq!(found.n_samples, 80);
    }

    #[test]
    fn weak_mutual_information_is_no_edge_however_significant() {
        let (x, y) = tables(200, 12);
        let with = |min_mi| {
            let options = DependencyOptions {
                min_mi,
                mi_test: MiTest::GTest,
                ..DependencyOptions::default()
            };
            dependencies(&x, &y, &options).unwrap()
        };
        let nats = with(0.0).mutual_information.mi[[0, 1]];
        assert!(with(nats).c_mi[[0, 1]] && !with(nats + 1e-9).c_mi[[0, 1]]);
    }

    #[test]
    fn pairs_that_rarely_meet_are_not_tested() {
        let (mut x, mut y) = tables(100, 4);
        for table in [&mut x, &mut y] {
            table.column_mut(3).fill(0.0);
            table[[0, 3]] = 5.0;
            table[[1, 3]] = 6.0;
        }
        let found = dependencies(&x, &y, &DependencyOptions::default()).unwrap();
        for other in 0..3 {
            assert!(!found.f_tests.tested[[other, 3]] && !found.f_tests.tested[[3, other]]);
            assert_eq!(
                (found.f_q[[3, other]], found.f_tests.f[[3, other]]),
                (1.0, 0.0)
            );
            assert!(!found.mutual_information.tested[[3, other]] && found.mi_q[[3, other]] == 1.0);
        }
        assert!(found.f_tests.tested[[0, 1]]);
    }

    #[test]
    fn tables_without_samples_or_taxa_depend_on_nothing_but_themselves() {
        for shape in [(0, 0), (0, 2), (3, 2), (1, 1)] {
            let zeros = Array2::zeros(shape);
            let found = dependencies(&zeros, &zeros, &DependencyOptions::default()).unwrap();
            assert_eq!(
                found.dep,
                Array2::from_shape_fn((shape.1, shape.1), |(i, j)| i == j)
            );
            assert!(found.edges().is_empty());
        }
    }

    #[test]
    fn options_are_checked_and_read_back_from_text() {
        let (x, y) = tables(20, 2);
        for alpha in [0.0, 1.5, f64::NAN] {
            let options = DependencyOptions {
                alpha,
                ..DependencyOptions::default()
            };
            assert!(matches!(
                dependencies(&x, &y, &options),
                Err(Error::BadOption {
                    option: "alpha",
                    ..
                })
            ));
        }
        let options = DependencyOptions {
            min_mi: -1.0,
            ..DependencyOptions::default()
        };
        assert!(matches!(
            dependencies(&x, &y, &options),
            Err(Error::BadOption {
                option: "min_mi",
                ..
            })
        ));
        let options = DependencyOptions {
            mi_test: MiTest::GTest,
            ..DependencyOptions::default()
        };
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(
            serde_json::from_str::<DependencyOptions>(&text).unwrap(),
            options
        );
        assert!(
            serde_json::from_str::<DependencyOptions>(r#"{"alpha": 0.1, "alhpa": 0.2}"#).is_err()
        );
    }
}

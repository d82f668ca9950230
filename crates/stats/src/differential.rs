//! Which taxa differ between two groups of samples, in one table or in `m` completed ones.
//!
//! ```text
//! table 1 ─┐  per taxon and labelling:                       ┌─► taxa: pooled effect, p, q
//! table 2 ─┼► effect and variance ─► pool::Pooling (Rubin) ──┤
//!   ...    ─┘                                                └─► false positives of permuted labels
//! ```
//!
//! Values are on a log-ratio scale (clr or `ln(1 + percent)`) that the caller chooses; `NaN` was not
//! measured and takes no part. Two tests give an effect with a variance, which is what Rubin's rules
//! need:
//!
//! - Welch (1947): difference of the means, `s_1^2/n_1 + s_2^2/n_2`, Satterthwaite's degrees of freedom.
//! - Wilcoxon rank-sum (Mann & Whitney 1947): `P(first < second) + P(equal)/2 - 1/2` with its
//!   variance under the null hypothesis, corrected for ties; normal. For one table this is the usual
//!   asymptotic test without continuity correction. Over tables the standardised rank statistic is
//!   pooled by Rubin's rules, as any asymptotically normal estimate is. The median of the p-values
//!   (Eekhout et al. 2017, BMC Med. Res. Methodol. 17:129) is simpler, but is blind to how much the
//!   tables differ, and that is what a set of completed tables is made to tell.

use crate::dependency::{Correction, adjust};
use crate::error::check_length;
use crate::pool::{Estimate, Pooled, Pooling};
use crate::ranks::ranks;
use crate::{Error, Result};
use ndarray::Array2;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Level at which p and q count as positive in [`FalsePositives`].
pub const LEVEL: f64 = 0.05;
/// Fewest samples of a group with which a taxon is tested.
pub const MIN_PER_GROUP: usize = 2;

/// How two groups are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Test {
    /// Difference of means with unequal variances.
    #[default]
    Welch,
    /// Rank-sum test.
    Wilcoxon,
}

/// The group of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Group {
    /// What is compared with.
    First,
    /// What is compared: effects are `second - first`.
    Second,
}

/// Label vectors in random order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permutations {
    /// How many.
    pub n: usize,
    /// Seed; permutation `k` depends on it and on `k` alone.
    pub seed: u64,
}

/// A taxon's result.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tested {
    /// The effect, `second - first`, and its test.
    pub effect: Pooled,
    /// Benjamini-Hochberg over the taxa with a p-value; `NaN` without one.
    pub q: f64,
}

/// How often a test finds what is not there: labels were permuted, so every positive is false.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FalsePositives {
    /// Label vectors.
    pub n_permutations: usize,
    /// Tests that gave a p-value, over all permutations.
    pub n_tests: usize,
    /// Share of the tests with `p < 0.05`; `NaN` without any test. A sound test gives 0.05.
    pub share_of_tests: f64,
    /// Share of the permutations in which any taxon has `q < 0.05`.
    pub share_with_any_q: f64,
}

/// Effects of all taxa in one table.
///
/// - `values`: `[n_samples, n_taxa]`, log-ratios
/// - `groups`: `[n_samples]`
/// - returns `[n_taxa]`; `NaN` for a taxon measured in fewer than [`MIN_PER_GROUP`] samples of a group
///
/// # Errors
/// Another number of groups than of samples, an infinite value.
///
/// # Example
/// ```
/// use ndarray::array;
/// use suffuse_stats::differential::{Group::{First, Second}, Test, compare};
/// let values = array![[1.0], [2.0], [4.0], [7.0]];
/// let effects = compare(Test::Welch, &values, &[First, First, Second, Second])?;
/// assert_eq!((effects[0].value, effects[0].variance), (4.0, 0.25 + 2.25));
/// # Ok::<(), suffuse_stats::Error>(())
/// ```
pub fn compare(test: Test, values: &Array2<f64>, groups: &[Group]) -> Result<Vec<Estimate>> {
    check_length("groups of samples", groups.len(), values.nrows())?;
    let columns = columns(test, values)?;
    let is_second = indicators(groups);
    let effects = columns.iter().map(|c| c.effect(test, &is_second));
    Ok(effects.collect())
}

/// Compares two groups in tables that come in one after the other, by the actual labels and by
/// permuted ones. Memory is that of one table and of a few sums per taxon and permutation.
#[derive(Debug, Clone)]
pub struct Differential {
    test: Test,
    n_taxa: usize,
    /// The actual labels, then the permuted ones, as [`indicators`].
    labellings: Vec<Vec<f64>>,
    /// `[labelling][taxon]`
    pooled: Vec<Vec<Pooling>>,
}

impl Differential {
    /// No table yet.
    ///
    /// # Errors
    /// A group of fewer than [`MIN_PER_GROUP`] samples.
    pub fn new(
        test: Test,
        n_taxa: usize,
        groups: &[Group],
        permutations: Permutations,
    ) -> Result<Self> {
        let mut labellings = vec![groups.to_vec()];
        labellings.extend((0..permutations.n as u64).map(|stream| {
            let mut rng = ChaCha8Rng::seed_from_u64(permutations.seed);
            rng.set_stream(stream);
            let mut labels = groups.to_vec();
            labels.shuffle(&mut rng);
            labels
        }));
        Differential::of_labellings(test, n_taxa, labellings)
    }

    fn of_labellings(test: Test, n_taxa: usize, labellings: Vec<Vec<Group>>) -> Result<Self> {
        for group in [Group::First, Group::Second] {
            let found = labellings[0].iter().filter(|g| **g == group).count();
            if found < MIN_PER_GROUP {
                return Err(Error::TooFew {
                    what: "samples of a group",
                    found,
                    needed: MIN_PER_GROUP,
                });
            }
        }
        let pooled = vec![vec![Pooling::default(); n_taxa]; labellings.len()];
        let labellings = labellings.iter().map(|groups| indicators(groups)).collect();
        Ok(Differential {
            test,
            n_taxa,
            labellings,
            pooled,
        })
    }

    /// Takes in a table, `[n_samples, n_taxa]`.
    ///
    /// # Errors
    /// Another shape than announced, an infinite value.
    pub fn add(&mut self, values: &Array2<f64>) -> Result<()> {
        check_length("samples", values.nrows(), self.labellings[0].len())?;
        check_length("taxa", values.ncols(), self.n_taxa)?;
        let test = self.test;
        let columns = columns(test, values)?;
        self.labellings
            .par_iter()
            .zip(&mut self.pooled)
            .for_each(|(is_second, pooled)| {
                for (column, pooling) in columns.iter().zip(pooled) {
                    pooling.add(column.effect(test, is_second));
                }
            });
        Ok(())
    }

    /// The taxa under the actual labels.
    ///
    /// # Errors
    /// No table came in.
    pub fn taxa(&self) -> Result<Vec<Tested>> {
        let effects: Vec<Pooled> = self.pooled[0]
            .iter()
            .map(Pooling::finish)
            .collect::<Result<_>>()?;
        let p: Vec<f64> = effects.iter().map(|effect| effect.p).collect();
        let q = q_values(&p)?;
        Ok(effects
            .into_iter()
            .zip(q)
            .map(|(effect, q)| Tested { effect, q })
            .collect())
    }

    /// What the test finds under the permuted labels.
    ///
    /// # Errors
    /// No table came in.
    pub fn false_positives(&self) -> Result<FalsePositives> {
        let permuted = &self.pooled[1..];
        let (mut n_tests, mut n_positive, mut n_with_any) = (0, 0, 0);
        for taxa in permuted {
            let p: Vec<f64> = taxa
                .iter()
                .map(|pooling| Ok(pooling.finish()?.p))
                .collect::<Result<_>>()?;
            n_tests += p.iter().filter(|p| !p.is_nan()).count();
            n_positive += p.iter().filter(|p| **p < LEVEL).count();
            n_with_any += usize::from(q_values(&p)?.iter().any(|q| *q < LEVEL));
        }
        Ok(FalsePositives {
            n_permutations: permuted.len(),
            n_tests,
            share_of_tests: n_positive as f64 / n_tests as f64,
            share_with_any_q: n_with_any as f64 / permuted.len() as f64,
        })
    }
}

/// [`Differential::false_positives`] of tables that lie in memory: of one, or pooled over several.
///
/// # Errors
/// No table, tables of different shapes, a group of fewer than [`MIN_PER_GROUP`] samples.
pub fn false_positive_rate(
    test: Test,
    tables: &[Array2<f64>],
    groups: &[Group],
    permutations: Permutations,
) -> Result<FalsePositives> {
    let n_taxa = tables.first().map_or(0, Array2::ncols);
    let mut differential = Differential::new(test, n_taxa, groups, permutations)?;
    for table in tables {
        differential.add(table)?;
    }
    if tables.is_empty() {
        return Err(Error::TooFew {
            what: "tables",
            found: 0,
            needed: 1,
        });
    }
    differential.false_positives()
}

/// Benjamini-Hochberg over the p-values that are not `NaN`; `NaN` where they are.
fn q_values(p: &[f64]) -> Result<Vec<f64>> {
    let tested: Vec<f64> = p.iter().copied().filter(|p| !p.is_nan()).collect();
    let mut q = adjust(&tested, Correction::BenjaminiHochberg)?.into_iter();
    Ok(p.iter()
        .map(|p| match p.is_nan() {
            true => f64::NAN,
            false => q.next().expect("an adjusted value for each tested taxon"),
        })
        .collect())
}

/// 1 for each sample of the second group, 0 for the others: sums over a group are then products,
/// which no branch on random labels holds up.
fn indicators(groups: &[Group]) -> Vec<f64> {
    let indicator = |group: &Group| f64::from(u8::from(*group == Group::Second));
    groups.iter().map(indicator).collect()
}

/// A taxon's measured values as its test needs them: as they are, or their ranks, which no labelling
/// changes.
struct Column {
    values: Vec<f64>,
    /// Samples of the values; `None` for all.
    samples: Option<Vec<usize>>,
    /// Sum of `t^3 - t` over groups of `t` equal values.
    ties: f64,
}

fn columns(test: Test, values: &Array2<f64>) -> Result<Vec<Column>> {
    for ((row, column), &value) in values.indexed_iter() {
        if value.is_infinite() {
            return Err(Error::BadEntry {
                what: "log-ratios",
                row,
                column,
                value,
                expected: "a finite number, or NaN where nothing was measured",
            });
        }
    }
    (0..values.ncols())
        .into_par_iter()
        .map(|taxon| Column::new(test, values.column(taxon).to_vec()))
        .collect()
}

impl Column {
    fn new(test: Test, mut values: Vec<f64>) -> Result<Column> {
        let mut samples = None;
        if values.iter().any(|value| value.is_nan()) {
            samples = Some((0..values.len()).filter(|i| !values[*i].is_nan()).collect());
            values.retain(|value| !value.is_nan());
        }
        let mut ties = 0.0;
        if test == Test::Wilcoxon {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            for equal in sorted.chunk_by(|a, b| a == b) {
                let t = equal.len() as f64;
                ties += t * t * t - t;
            }
            values = ranks(&values)?;
        }
        Ok(Column {
            values,
            samples,
            ties,
        })
    }

    /// `is_second` is that of all samples, see [`indicators`].
    fn effect(&self, test: Test, is_second: &[f64]) -> Estimate {
        let measured: Vec<f64>;
        let is_second = match &self.samples {
            None => is_second,
            Some(samples) => {
                measured = samples.iter().map(|sample| is_second[*sample]).collect();
                &measured
            }
        };
        let n_second: f64 = is_second.iter().sum();
        let n = [self.values.len() as f64 - n_second, n_second];
        if n.iter().any(|n| *n < MIN_PER_GROUP as f64) {
            return Estimate {
                value: f64::NAN,
                variance: f64::NAN,
                df: f64::NAN,
            };
        }
        let sum = self.sums(is_second, [0.0; 2], |value| value);
        if test == Test::Wilcoxon {
            return rank_sum(n, sum[1], self.ties);
        }
        let mean = [sum[0] / n[0], sum[1] / n[1]];
        let mut squares = self.sums(is_second, mean, |deviation| deviation * deviation);
        for (g, squares) in squares.iter_mut().enumerate() {
            // The mean of equal values is off by up to n roundings, and is not a spread.
            let rounding = n[g] * f64::EPSILON * mean[g];
            if *squares <= n[g] * rounding * rounding {
                *squares = 0.0;
            }
        }
        let part = [0, 1].map(|g| squares[g] / (n[g] - 1.0) / n[g]);
        let variance = part[0] + part[1];
        let df = if variance > 0.0 {
            variance * variance
                / (part[0] * part[0] / (n[0] - 1.0) + part[1] * part[1] / (n[1] - 1.0))
        } else {
            n[0] + n[1] - 2.0
        };
        Estimate {
            value: mean[1] - mean[0],
            variance,
            df,
        }
    }

    /// `sum of term(value - centre)` over each group, in lanes of one fixed order.
    fn sums(&self, is_second: &[f64], centre: [f64; 2], term: impl Fn(f64) -> f64) -> [f64; 2] {
        let mut lanes = [[0.0; LANES]; 2];
        let mut add = |lane: usize, value: f64, second: f64| {
            lanes[0][lane] += (1.0 - second) * term(value - centre[0]);
            lanes[1][lane] += second * term(value - centre[1]);
        };
        let values = self.values.chunks_exact(LANES);
        let seconds = is_second.chunks_exact(LANES);
        let rest = values.remainder().iter().zip(seconds.remainder());
        for (values, seconds) in values.zip(seconds) {
            for lane in 0..LANES {
                add(lane, values[lane], seconds[lane]);
            }
        }
        for (lane, (value, second)) in rest.enumerate() {
            add(lane, *value, *second);
        }
        lanes.map(|lanes| lanes.iter().sum())
    }
}

/// Partial sums of a sum, which the processor adds to at once.
const LANES: usize = 8;

/// `U / (n_1 n_2) - 1/2` of the second group, from its sum of ranks.
fn rank_sum([n_first, n_second]: [f64; 2], ranks_of_second: f64, ties: f64) -> Estimate {
    let (pairs, n) = (n_first * n_second, n_first + n_second);
    let u = ranks_of_second - n_second * (n_second + 1.0) / 2.0;
    let variance = (n + 1.0 - ties / (n * (n - 1.0))) / (12.0 * pairs);
    Estimate {
        value: u / pairs - 0.5,
        // Where all values are equal the two terms cancel but for rounding.
        variance: if ties == n * n * n - n { 0.0 } else { variance },
        df: f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, matrix, number, vector};
    use serde_json::Value;

    fn groups(value: &Value) -> Vec<Group> {
        let of = |label: &f64| [Group::First, Group::Second][*label as usize];
        vector(value).iter().map(of).collect()
    }

    const TESTS: [(Test, &str); 2] = [(Test::Welch, "welch"), (Test::Wilcoxon, "wilcoxon")];

    #[test]
    fn both_tests_agree_with_scipy_where_entries_are_missing_and_tied() {
        let golden = load("differential");
        let values = matrix(&golden["tables"][0]);
        let groups = groups(&golden["groups"]);
        for (test, name) in TESTS {
            let expected = &golden[name];
            let found = compare(test, &values, &groups).unwrap();
            for (taxon, effect) in found.iter().enumerate() {
                let at = |key: &str| number(&expected[key][taxon]);
                let what = |key: &str| format!("{name} {key} of taxon {taxon}");
                assert_close(effect.value, at("effect"), 1e-12, &what("effect"));
                let mut alone = Pooling::default();
                alone.add(*effect);
                let alone = alone.finish().unwrap();
                assert_close(alone.p, at("p"), 1e-11, &what("p"));
                if test == Test::Welch {
                    assert_close(alone.t, at("t"), 1e-11, &what("t"));
                    assert_close(effect.df, at("df"), 1e-11, &what("df"));
                }
            }
        }
    }

    #[test]
    fn pooled_effects_q_values_and_false_positives_agree_with_numpy_and_scipy() {
        let golden = load("differential");
        let tables: Vec<_> = golden["tables"].as_array().unwrap().iter().collect();
        let mut labellings = vec![groups(&golden["groups"])];
        labellings.extend(golden["permuted"].as_array().unwrap().iter().map(groups));
        let n_taxa = matrix(tables[0]).ncols();
        for (test, name) in TESTS {
            let mut found = Differential::of_labellings(test, n_taxa, labellings.clone()).unwrap();
            tables
                .iter()
                .for_each(|table| found.add(&matrix(table)).unwrap());
            let expected = &golden["pooled"][name];
            for (taxon, tested) in found.taxa().unwrap().iter().enumerate() {
                for (key, value) in [
                    ("estimate", tested.effect.estimate),
                    ("fmi", tested.effect.missing_information),
                    ("p", tested.effect.p),
                    ("q", tested.q),
                ] {
                    let what = format!("{name} {key} of taxon {taxon}");
                    assert_close(value, number(&expected[key][taxon]), 1e-10, &what);
                }
            }
            let rates = found.false_positives().unwrap();
            let share = number(&expected["share_of_tests"]);
            assert_close(rates.share_of_tests, share, 1e-14, name);
            let any = number(&expected["share_with_any_q"]);
            assert_close(rates.share_with_any_q, any, 1e-14, name);
        }
    }

    /// Noise without any structure, `[60, 50]`.
    fn noise() -> (Array2<f64>, Vec<Group>) {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let values = Array2::from_shape_simple_fn((60, 50), || {
            let mut bits: Vec<f64> = (0..400).map(|bit| f64::from(bit % 2)).collect();
            bits.partial_shuffle(&mut rng, 40).0.iter().sum()
        });
        let groups = (0..60).map(|i| [Group::First, Group::Second][i % 2]);
        (values, groups.collect())
    }

    #[test]
    fn a_sound_test_finds_one_in_twenty_under_permuted_labels() {
        let (values, groups) = noise();
        let permutations = Permutations { n: 200, seed: 1 };
        for (test, name) in TESTS {
            let tables = std::slice::from_ref(&values);
            let found = false_positive_rate(test, tables, &groups, permutations).unwrap();
            assert_eq!((found.n_permutations, found.n_tests), (200, 200 * 50));
            // 10,000 tests, of which those of a permutation share their labels.
            assert!(
                (found.share_of_tests - 0.05).abs() < 0.01,
                "{name}: {found:?}"
            );
            assert!(found.share_with_any_q < 0.1, "{name}: {found:?}");
        }
    }

    #[test]
    fn the_result_depends_on_the_seed_and_not_on_the_threads() {
        let (values, groups) = noise();
        let rate = |n_threads, seed| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(n_threads)
                .build()
                .unwrap();
            pool.install(|| {
                let permutations = Permutations { n: 20, seed };
                let tables = std::slice::from_ref(&values);
                false_positive_rate(Test::Welch, tables, &groups, permutations).unwrap()
            })
        };
        assert_eq!(rate(1, 3), rate(2, 3));
        assert_ne!(rate(1, 3).share_of_tests, rate(1, 4).share_of_tests);
    }

    #[test]
    fn taxa_without_variance_have_no_p_value_and_small_groups_are_refused() {
        use Group::{First, Second};
        let groups = [First, First, Second, Second, Second];
        // 0.1 + 0.1 + 0.1 is not 3 * 0.1.
        let columns = [[0.1; 5], [0.0, 1.0, 2.0, 5.0, 3.0]];
        let values = Array2::from_shape_fn((5, 2), |(i, j)| columns[j][i]);
        for (test, _) in TESTS {
            let none = Permutations { n: 0, seed: 0 };
            let mut differential = Differential::new(test, 2, &groups, none).unwrap();
            assert!(differential.taxa().is_err());
            differential.add(&values).unwrap();
            let taxa = differential.taxa().unwrap();
            assert!(taxa[0].effect.p.is_nan() && taxa[0].q.is_nan());
            // One test alone needs no adjustment.
            assert_eq!(taxa[1].q, taxa[1].effect.p);
            assert!(Differential::new(test, 2, &groups[1..], none).is_err());
            let infinite = Array2::from_elem((5, 2), f64::NEG_INFINITY);
            assert!(differential.add(&infinite).is_err());
            assert!(compare(test, &values, &groups[1..]).is_err());
            assert!(false_positive_rate(test, &[], &groups, none).is_err());
        }
    }
}

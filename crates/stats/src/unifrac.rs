//! UniFrac: distances between samples that know how the taxa are related.
//!
//! `p` is the share of a sample below a branch of length `b`, `x` says whether it is above 0:
//!
//! ```text
//! unweighted (Lozupone and Knight 2005)          sum b |x_A - x_B|  /  sum b max(x_A, x_B)
//! weighted (Lozupone et al. 2007)                sum b |p_A - p_B|
//! the same, normalised                           sum b |p_A - p_B|  /  sum b (p_A + p_B)
//! generalised (Chen et al. 2012), s = p_A + p_B  sum b s^(alpha-1) |p_A - p_B|  /  sum b s^alpha
//! ```
//!
//! Sums run over the branches. One above the root counts for nothing (scikit-bio counts it, where a file
//! gives it a length). `b` is multiplied into the rows before, so that all but the last form are one sum of
//! absolute differences per pair.

use crate::distance::{l1, rows, shares, symmetric};
use crate::error::{Error, Result, check_length};
use ndarray::Array2;

/// Which UniFrac.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum UniFrac {
    /// By presence; from 0 to 1.
    Unweighted,
    /// By shares, in the unit of the branch lengths.
    Weighted,
    /// By shares; from 0 to 1.
    WeightedNormalised,
    /// Between the two; from 0 to 1.
    Generalised {
        /// Weight of abundant lineages, from 0 to 1; 1 gives the normalised weighted form.
        alpha: f64,
    },
}

/// A rooted tree over the columns of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Phylogeny {
    parents: Vec<Option<usize>>,
    lengths: Vec<f64>,
    node_of_column: Vec<usize>,
}

impl Phylogeny {
    /// A tree as flat arrays, a parent before its children: node 0 is the root.
    ///
    /// - `parents`: of each node, `None` for the root
    /// - `lengths`: of the branch above each node, not negative; that of the root counts for nothing
    /// - `node_of_column`: the node that each column of the tables is
    ///
    /// # Errors
    /// Arrays of different lengths, a parent that comes after its child, a second root, a length that is
    /// negative or not finite, a node that is not there.
    pub fn new(
        parents: Vec<Option<usize>>,
        lengths: Vec<f64>,
        node_of_column: Vec<usize>,
    ) -> Result<Phylogeny> {
        check_length("branch lengths of a tree", lengths.len(), parents.len())?;
        let bad = |what, row: usize, value: f64, expected| {
            Err(Error::BadEntry {
                what,
                row,
                column: 0,
                value,
                expected,
            })
        };
        for (node, parent) in parents.iter().enumerate() {
            let is_good = parent.map_or(node == 0, |parent| parent < node);
            if !is_good {
                let found = parent.map_or(f64::NAN, |parent| parent as f64);
                let expected = "an earlier node, and none for node 0";
                return bad("parents of a tree", node, found, expected);
            }
        }
        for (node, &length) in lengths.iter().enumerate() {
            if !(length.is_finite() && length >= 0.0) {
                let expected = "a finite number that is not negative";
                return bad("branch lengths of a tree", node, length, expected);
            }
        }
        for (column, &node) in node_of_column.iter().enumerate() {
            if node >= parents.len() {
                return bad(
                    "nodes of columns",
                    column,
                    node as f64,
                    "a node of the tree",
                );
            }
        }
        Ok(Phylogeny {
            parents,
            lengths,
            node_of_column,
        })
    }

    /// The share of each sample below each branch that has a length and a column below it.
    ///
    /// - `shares`: `[n_samples, n_columns]`, rows that sum to 1
    fn below(&self, shares: &Array2<f64>) -> Result<Below> {
        check_length(
            "columns of the tree",
            self.node_of_column.len(),
            shares.ncols(),
        )?;
        let mut has_column = vec![false; self.parents.len()];
        for node in &self.node_of_column {
            has_column[*node] = true;
        }
        for node in (1..self.parents.len()).rev() {
            if let (true, Some(parent)) = (has_column[node], self.parents[node]) {
                has_column[parent] = true;
            }
        }
        let branches: Vec<usize> = (1..self.parents.len())
            .filter(|node| has_column[*node] && self.lengths[*node] > 0.0)
            .collect();
        let mut below = Array2::zeros((shares.nrows(), branches.len()));
        let mut of_node = vec![0.0; self.parents.len()];
        for (sample, mut line) in shares.outer_iter().zip(below.outer_iter_mut()) {
            of_node.fill(0.0);
            for (share, node) in sample.iter().zip(&self.node_of_column) {
                of_node[*node] += share;
            }
            for node in (1..of_node.len()).rev() {
                if let Some(parent) = self.parents[node] {
                    of_node[parent] += of_node[node];
                }
            }
            for (value, node) in line.iter_mut().zip(&branches) {
                *value = of_node[*node];
            }
        }
        Ok(Below {
            lengths: branches.iter().map(|node| self.lengths[*node]).collect(),
            shares: below,
        })
    }
}

/// Shares below branches.
struct Below {
    /// `[n_branches]`
    lengths: Vec<f64>,
    /// `[n_samples, n_branches]`
    shares: Array2<f64>,
}

impl Below {
    /// Each share `p` as `f(p, b)`.
    fn mapped(mut self, f: impl Fn(f64, f64) -> f64) -> Array2<f64> {
        for mut line in self.shares.outer_iter_mut() {
            for (share, length) in line.iter_mut().zip(&self.lengths) {
                *share = f(*share, *length);
            }
        }
        self.shares
    }
}

/// UniFrac between the rows of a table.
///
/// - `table`: `[n_samples, n_taxa]`, abundances in any unit, not negative
/// - returns `[n_samples, n_samples]`, symmetric; 0 where no branch has a length
///
/// # Errors
/// As [`crate::distance::bray_curtis`]; a tree of another number of columns; an `alpha` outside of 0 to 1.
///
/// # Example
/// ```
/// use ndarray::array;
/// use suffuse_stats::unifrac::{Phylogeny, UniFrac, unifrac};
/// // ((a:1,b:1):1,c:2): a and b share a branch.
/// let tree = Phylogeny::new(
///     vec![None, Some(0), Some(1), Some(1), Some(0)],
///     vec![0.0, 1.0, 1.0, 1.0, 2.0],
///     vec![2, 3, 4],
/// ).unwrap();
/// let table = array![[5.0, 0.0, 0.0], [0.0, 7.0, 0.0], [0.0, 0.0, 1.0]];
/// let distances = unifrac(&table, &tree, UniFrac::Unweighted).unwrap();
/// assert_eq!((distances[[0, 1]], distances[[0, 2]]), (2.0 / 3.0, 1.0));
/// ```
pub fn unifrac(table: &Array2<f64>, tree: &Phylogeny, form: UniFrac) -> Result<Array2<f64>> {
    if let UniFrac::Generalised { alpha } = form
        && !(0.0..=1.0).contains(&alpha)
    {
        return Err(Error::BadOption {
            option: "alpha of generalised UniFrac",
            value: alpha.to_string(),
            expected: "a number from 0 to 1",
        });
    }
    let below = tree.below(&shares(table)?)?;
    Ok(match form {
        UniFrac::Unweighted => {
            let lines = below.mapped(|share, length| if share > 0.0 { length } else { 0.0 });
            // Twice the union is both totals and what is in one alone.
            normalised(&lines, |alone, totals| 2.0 * alone / (totals + alone))
        }
        UniFrac::Weighted => {
            let lines = below.mapped(|share, length| share * length);
            normalised(&lines, |difference, _| difference)
        }
        UniFrac::WeightedNormalised => {
            let lines = below.mapped(|share, length| share * length);
            normalised(&lines, |difference, totals| difference / totals)
        }
        UniFrac::Generalised { alpha: 0.5 } => {
            // With q = b^2 p: b s^(-1/2) |p_A - p_B| = |q_A - q_B| / sqrt(q_A + q_B), b s^(1/2) = sqrt(q_A + q_B).
            let lines = below.mapped(|share, length| share * length * length);
            generalised(&lines)
        }
        UniFrac::Generalised { alpha } => {
            let lengths = below.lengths.clone();
            let lines = below.shares;
            let lines = rows(&lines);
            symmetric(lines.len(), |i, j| {
                let (mut top, mut bottom) = (0.0, 0.0);
                for ((a, b), length) in lines[i].iter().zip(lines[j]).zip(&lengths) {
                    let sum = a + b;
                    if sum > 0.0 {
                        let weight = length * sum.powf(alpha);
                        top += weight * (a - b).abs() / sum;
                        bottom += weight;
                    }
                }
                ratio(top, bottom)
            })
        }
    })
}

/// A distance from the sum of absolute differences of two rows and the sum of their totals.
fn normalised(lines: &Array2<f64>, form: impl Fn(f64, f64) -> f64 + Sync) -> Array2<f64> {
    let lines = rows(lines);
    let totals: Vec<f64> = lines.iter().map(|line| line.iter().sum()).collect();
    symmetric(lines.len(), |i, j| match totals[i] + totals[j] {
        // No branch: nothing tells the samples apart.
        0.0 => 0.0,
        both => form(l1(lines[i], lines[j]), both),
    })
}

/// Sums that run beside each other, as in [`l1`].
const LANES: usize = 8;

/// The branches below which a sample has something.
struct Present {
    /// Their numbers, and as filling up to full lanes one more, which no sample has.
    branches: Vec<u32>,
    /// The values there.
    values: Vec<f64>,
}

impl Present {
    fn new(line: &[f64]) -> Present {
        let there = line.iter().enumerate().filter(|(_, q)| **q > 0.0);
        let (mut branches, mut values): (Vec<u32>, Vec<f64>) =
            there.map(|(branch, q)| (branch as u32, *q)).unzip();
        let width = branches.len().next_multiple_of(LANES);
        branches.resize(width, line.len() as u32);
        values.resize(width, 0.0);
        Present { branches, values }
    }
}

/// `sum |q_A - q_B| / sqrt(q_A + q_B)` over `sum sqrt(q_A + q_B)`.
///
/// Most branches have nothing of a sample below them. A branch of one sample alone adds `sqrt(q)` to both sums, so
/// that only those of the sample with fewer need a look; the rest of the other follows from its total.
fn generalised(lines: &Array2<f64>) -> Array2<f64> {
    let present: Vec<Present> = rows(lines).into_iter().map(Present::new).collect();
    let (n, width) = (lines.nrows(), lines.ncols());
    let mut padded = Array2::zeros((n, width + 1));
    padded.slice_mut(ndarray::s![.., ..width]).assign(lines);
    let roots = padded.mapv(f64::sqrt);
    let (padded, roots) = (rows(&padded), rows(&roots));
    let totals: Vec<f64> = roots.iter().map(|line| line.iter().sum()).collect();
    symmetric(n, |i, j| {
        let is_shorter = present[i].branches.len() <= present[j].branches.len();
        let (few, other) = if is_shorter { (i, j) } else { (j, i) };
        let (branches, _) = present[few].branches.as_chunks::<LANES>();
        let (values, _) = present[few].values.as_chunks::<LANES>();
        let (mut top, mut bottom, mut seen) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for (branches, a) in branches.iter().zip(values) {
            let b = branches.map(|branch| padded[other][branch as usize]);
            let root_b = branches.map(|branch| roots[other][branch as usize]);
            for lane in 0..LANES {
                let root = (a[lane] + b[lane]).sqrt();
                // In the filling both are 0, and so is the difference.
                top[lane] += (a[lane] - b[lane]).abs() / root.max(f64::MIN_POSITIVE);
                bottom[lane] += root;
                seen[lane] += root_b[lane];
            }
        }
        let alone = (totals[other] - seen.iter().sum::<f64>()).max(0.0);
        let sum = |lanes: [f64; LANES]| lanes.iter().sum::<f64>() + alone;
        ratio(sum(top), sum(bottom))
    })
}

fn ratio(top: f64, bottom: f64) -> f64 {
    if bottom > 0.0 { top / bottom } else { 0.0 }
}

/// Faith's phylogenetic diversity (Faith 1992): the length of all branches from the root to the taxa of a
/// sample, per row, in the unit of the branch lengths.
///
/// # Errors
/// As [`unifrac`].
pub fn faith(table: &Array2<f64>, tree: &Phylogeny) -> Result<Vec<f64>> {
    let below = tree.below(&shares(table)?)?;
    let lines = below.mapped(|share, length| if share > 0.0 { length } else { 0.0 });
    Ok(lines.outer_iter().map(|line| line.sum()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, assert_matrix_close, load, matrix, vector};
    use ndarray::array;
    use proptest::prelude::*;
    use serde_json::Value;

    fn tree(golden: &Value) -> Phylogeny {
        let whole = |value: &Value| value.as_u64().map(|value| value as usize);
        let list = |name: &str| golden[name].as_array().unwrap().iter();
        Phylogeny::new(
            list("parents").map(whole).collect(),
            vector(&golden["lengths"]).to_vec(),
            list("node_of_column").filter_map(whole).collect(),
        )
        .unwrap()
    }

    #[test]
    fn distances_and_faith_are_those_of_scikit_bio_and_of_chens_formula() {
        let golden = load("unifrac");
        let table = matrix(&golden["table"]);
        let tree = tree(&golden);
        for (name, form) in [
            ("unweighted", UniFrac::Unweighted),
            ("weighted", UniFrac::Weighted),
            ("weighted_normalised", UniFrac::WeightedNormalised),
            ("generalised_half", UniFrac::Generalised { alpha: 0.5 }),
            ("generalised_0", UniFrac::Generalised { alpha: 0.0 }),
            ("generalised_0.3", UniFrac::Generalised { alpha: 0.3 }),
            ("weighted_normalised", UniFrac::Generalised { alpha: 1.0 }),
        ] {
            let found = unifrac(&table, &tree, form).unwrap();
            assert_matrix_close(&found, &matrix(&golden[name]), 1e-12, name);
        }
        for (found, expected) in faith(&table, &tree)
            .unwrap()
            .iter()
            .zip(vector(&golden["faith"]))
        {
            assert_close(*found, expected, 1e-12, "Faith");
        }
    }

    /// A tree whose node `k + 1` hangs below one of the nodes before it, and whose tips are the columns.
    fn any_tree() -> impl Strategy<Value = Phylogeny> {
        prop::collection::vec((0.0..1.0_f64, 0.0..3.0_f64), 3..30).prop_map(|nodes| {
            let mut parents = vec![None];
            let mut lengths = vec![9.0];
            for (k, (place, length)) in nodes.into_iter().enumerate() {
                parents.push(Some((place * (k + 1) as f64) as usize));
                lengths.push(length);
            }
            let is_tip = |node: &usize| !parents.contains(&Some(*node));
            let tips: Vec<usize> = (0..parents.len()).filter(is_tip).collect();
            Phylogeny::new(parents, lengths, tips).unwrap()
        })
    }

    proptest! {
        #[test]
        fn distances_lie_between_0_and_1_and_know_no_order_and_no_depth(
            tree in any_tree(),
            seed in prop::collection::vec(0.0..1.0_f64, 120),
        ) {
            let n_columns = tree.node_of_column.len();
            let mut table = Array2::from_shape_fn((4, n_columns), |(i, j)| {
                let value = seed[i * 30 + j];
                if value < 0.6 { 0.0 } else { value }
            });
            table.column_mut(0).fill(0.5);
            let mut deeper = table.clone();
            deeper.row_mut(2).mapv_inplace(|value| value * 64.0);
            for form in [
                UniFrac::Unweighted,
                UniFrac::WeightedNormalised,
                UniFrac::Generalised { alpha: 0.5 },
                UniFrac::Generalised { alpha: 0.2 },
            ] {
                let found = unifrac(&table, &tree, form).unwrap();
                let again = unifrac(&deeper, &tree, form).unwrap();
                for i in 0..4 {
                    prop_assert_eq!(found[[i, i]], 0.0);
                    for j in 0..4 {
                        prop_assert!(found[[i, j]] >= 0.0 && found[[i, j]] <= 1.0 + 1e-12);
                        prop_assert_eq!(found[[i, j]], found[[j, i]]);
                        prop_assert!((found[[i, j]] - again[[i, j]]).abs() < 1e-9);
                    }
                }
            }
        }
    }

    #[test]
    fn a_star_of_equal_branches_gives_bray_curtis_and_jaccard() {
        let table = array![
            [5.0, 1.0, 0.0, 0.0],
            [0.0, 2.0, 7.0, 1.0],
            [1.0, 1.0, 1.0, 0.0]
        ];
        let parents = vec![None, Some(0), Some(0), Some(0), Some(0)];
        let star = Phylogeny::new(parents, vec![2.0; 5], vec![1, 2, 3, 4]).unwrap();
        let of = |form| unifrac(&table, &star, form).unwrap();
        let bray_curtis = crate::distance::bray_curtis(&table).unwrap();
        let jaccard = crate::distance::jaccard(&table).unwrap();
        assert_matrix_close(
            &of(UniFrac::WeightedNormalised),
            &bray_curtis,
            1e-14,
            "shares",
        );
        assert_matrix_close(&of(UniFrac::Unweighted), &jaccard, 1e-14, "presence");
        assert_eq!(faith(&table, &star).unwrap(), [4.0, 6.0, 6.0]);
    }

    #[test]
    fn trees_that_do_not_fit_are_refused() {
        let message = |parents: Vec<Option<usize>>, lengths: Vec<f64>, nodes: Vec<usize>| {
            Phylogeny::new(parents, lengths, nodes)
                .unwrap_err()
                .to_string()
        };
        assert!(message(vec![None, Some(1)], vec![0.0; 2], vec![1]).contains("earlier node"));
        assert!(message(vec![None, None], vec![0.0; 2], vec![1]).contains("earlier node"));
        assert!(message(vec![None, Some(0)], vec![0.0, -1.0], vec![1]).contains("-1"));
        assert!(message(vec![None, Some(0)], vec![0.0; 2], vec![2]).contains("node of the tree"));
        let tree = Phylogeny::new(vec![None, Some(0)], vec![0.0, 1.0], vec![1]).unwrap();
        let wide = array![[1.0, 2.0]];
        assert!(unifrac(&wide, &tree, UniFrac::Unweighted).is_err());
        let bad = UniFrac::Generalised { alpha: 1.5 };
        assert!(
            unifrac(&array![[1.0]], &tree, bad)
                .unwrap_err()
                .to_string()
                .contains("1.5")
        );
        let none = Phylogeny::new(vec![None, Some(0)], vec![0.0; 2], vec![1]).unwrap();
        assert_eq!(
            unifrac(&array![[1.0], [2.0]], &none, UniFrac::Unweighted).unwrap()[[0, 1]],
            0.0
        );
    }
}

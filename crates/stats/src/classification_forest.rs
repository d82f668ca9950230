//! A random forest that tells classes apart (Breiman 2001, Machine Learning 45:1).
//!
//! ```text
//! rows drawn with replacement -> node: sqrt(n_columns) columns at random -> of each the cut with the lowest
//!   Gini impurity -> two nodes, until pure -> a row's probability: mean class share of its leaves
//! ```
//!
//! The settings are those of scikit-learn's `RandomForestClassifier`: trees grow in full, cuts lie in the
//! middle between two neighbouring values, and where none of the drawn columns varies more are drawn.
//! Values of a column are sorted once and stand in nodes as their ranks, exactly.

use crate::error::{Error, Result, check_finite, check_length};
use crate::ranks::auroc;
use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// How a forest is grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForestOptions {
    /// Number of trees.
    pub n_trees: usize,
    /// Seed; tree `k` depends on it and on `k` alone.
    pub seed: u64,
}

impl Default for ForestOptions {
    fn default() -> Self {
        ForestOptions {
            n_trees: 200,
            seed: 0,
        }
    }
}

/// Rows of numbers with each column sorted.
#[derive(Debug, Clone)]
pub struct Features {
    n_rows: usize,
    columns: Vec<Column>,
}

#[derive(Debug, Clone)]
struct Column {
    /// Distinct values, rising.
    values: Vec<f64>,
    /// Position of each row's value in `values`.
    codes: Vec<u32>,
}

impl Features {
    /// Sorts the columns of `[n_rows, n_columns]`.
    ///
    /// # Errors
    /// A value that is not finite.
    pub fn new(matrix: &Array2<f64>) -> Result<Features> {
        check_finite("features", matrix)?;
        let columns: Vec<Vec<f64>> = matrix.columns().into_iter().map(|c| c.to_vec()).collect();
        let columns = columns
            .into_par_iter()
            .map(|column| {
                let mut values = column.clone();
                values.sort_unstable_by(f64::total_cmp);
                values.dedup();
                let code = |value: &f64| values.partition_point(|other| other < value) as u32;
                let codes = column.iter().map(code).collect();
                Column { values, codes }
            })
            .collect();
        Ok(Features {
            n_rows: matrix.nrows(),
            columns,
        })
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    fn value(&self, row: usize, column: usize) -> f64 {
        let column = &self.columns[column];
        column.values[column.codes[row] as usize]
    }
}

/// A grown forest.
#[derive(Debug, Clone, PartialEq)]
pub struct Forest {
    trees: Vec<Tree>,
    n_classes: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct Tree {
    nodes: Vec<Node>,
    /// Class shares of the leaves, `n_classes` each.
    shares: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Node {
    /// Number of the leaf.
    Leaf(u32),
    /// Rows with `column <= cut` go to the next node, the others to `right`.
    Cut { column: u32, cut: f64, right: u32 },
}

impl Forest {
    /// Grows a forest on some of the rows.
    ///
    /// - `labels`: `[n_rows]`, the class of each row: 0, 1, ...
    /// - `rows`: those to learn from
    ///
    /// # Errors
    /// Labels of another length, no row, no column, no tree.
    pub fn fit(
        features: &Features,
        labels: &[usize],
        rows: &[usize],
        options: ForestOptions,
    ) -> Result<Forest> {
        check_length("labels of rows", labels.len(), features.n_rows)?;
        for (what, found) in [
            ("rows to learn from", rows.len()),
            ("columns to learn from", features.columns.len()),
            ("trees", options.n_trees),
        ] {
            if found == 0 {
                return Err(Error::TooFew {
                    what,
                    found,
                    needed: 1,
                });
            }
        }
        let n_classes = labels.iter().max().map_or(0, |largest| largest + 1);
        let trees = (0..options.n_trees)
            .into_par_iter()
            .map(|tree| {
                let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
                rng.set_stream(tree as u64);
                Grower::new(features, labels, n_classes, rows, &mut rng).grow()
            })
            .collect();
        Ok(Forest { trees, n_classes })
    }

    /// The probability of each class for a row of `features`; sums to 1.
    pub fn probabilities(&self, features: &Features, row: usize) -> Vec<f64> {
        let mut sums = vec![0.0; self.n_classes];
        for tree in &self.trees {
            let mut at = 0;
            let leaf = loop {
                match tree.nodes[at] {
                    Node::Leaf(leaf) => break leaf as usize,
                    Node::Cut { column, cut, right } => {
                        at = match features.value(row, column as usize) <= cut {
                            true => at + 1,
                            false => right as usize,
                        };
                    }
                }
            };
            let shares = &tree.shares[leaf * self.n_classes..][..self.n_classes];
            sums.iter_mut()
                .zip(shares)
                .for_each(|(sum, share)| *sum += share);
        }
        let n_trees = self.trees.len() as f64;
        sums.iter().map(|sum| sum / n_trees).collect()
    }
}

/// AUROC on some rows of a forest grown on others; of more than two classes the mean of each against the
/// rest, over those that are there and not alone.
///
/// - `labels`: `[n_rows]`, the class of each row: 0, 1, ...
/// - returns `NaN` where the rows to score are of one class
///
/// # Errors
/// As [`Forest::fit`].
pub fn auroc_of(
    features: &Features,
    labels: &[usize],
    train: &[usize],
    test: &[usize],
    options: ForestOptions,
) -> Result<f64> {
    let forest = Forest::fit(features, labels, train, options)?;
    let probabilities: Vec<Vec<f64>> = test
        .par_iter()
        .map(|row| forest.probabilities(features, *row))
        .collect();
    // Of two classes the second says it all.
    let classes = if forest.n_classes == 2 {
        1..2
    } else {
        0..forest.n_classes
    };
    let mut areas = Vec::new();
    for class in classes {
        let scores: Vec<f64> = probabilities.iter().map(|row| row[class]).collect();
        let is_class: Vec<bool> = test.iter().map(|row| labels[*row] == class).collect();
        let area = auroc(&scores, &is_class)?;
        if !area.is_nan() {
            areas.push(area);
        }
    }
    Ok(areas.iter().sum::<f64>() / areas.len() as f64)
}

/// A row in a node, as it is sorted: its code in the column at hand, then its class.
type Key = u64;

struct Grower<'a> {
    features: &'a Features,
    labels: &'a [usize],
    n_classes: usize,
    rng: &'a mut ChaCha8Rng,
    /// A node's rows stand next to each other; a row stands as often as it was drawn.
    rows: Vec<u32>,
    columns: Vec<u32>,
    nodes: Vec<Node>,
    shares: Vec<f64>,
    /// Rows of the node whose value is not the lowest of the column.
    keys: Vec<Key>,
}

/// A node to be made, of `rows[start..end]`.
struct Open {
    start: usize,
    end: usize,
    /// The node whose right branch this is.
    right_of: Option<usize>,
}

struct Cut {
    /// `sum n_class^2 / n` over both sides: the larger, the purer.
    purity: f64,
    column: u32,
    /// The largest code that goes left, and the smallest that goes right.
    codes: [u32; 2],
}

impl<'a> Grower<'a> {
    fn new(
        features: &'a Features,
        labels: &'a [usize],
        n_classes: usize,
        rows: &[usize],
        rng: &'a mut ChaCha8Rng,
    ) -> Self {
        let drawn = (0..rows.len())
            .map(|_| rows[rng.random_range(0..rows.len() as u32) as usize] as u32)
            .collect();
        Grower {
            features,
            labels,
            n_classes,
            rng,
            rows: drawn,
            columns: (0..features.columns.len() as u32).collect(),
            nodes: Vec::new(),
            shares: Vec::new(),
            keys: Vec::new(),
        }
    }

    fn grow(mut self) -> Tree {
        // Depth first, left before right, on a stack of its own: a path may be as long as there are rows.
        let mut open = vec![Open {
            start: 0,
            end: self.rows.len(),
            right_of: None,
        }];
        while let Some(node) = open.pop() {
            self.node(&node, &mut open);
        }
        Tree {
            nodes: self.nodes,
            shares: self.shares,
        }
    }

    /// Makes a node and opens the two below it, if it is cut.
    fn node(&mut self, node: &Open, open: &mut Vec<Open>) {
        let own = self.nodes.len();
        if let Some(parent) = node.right_of
            && let Node::Cut { right, .. } = &mut self.nodes[parent]
        {
            *right = own as u32;
        }
        let mut counts = vec![0.0; self.n_classes];
        for row in &self.rows[node.start..node.end] {
            counts[self.labels[*row as usize]] += 1.0;
        }
        let n = (node.end - node.start) as f64;
        let is_pure = counts.contains(&n);
        let cut = if is_pure {
            None
        } else {
            self.best_cut(node, &counts)
        };
        let Some(cut) = cut else {
            let leaf = self.shares.len() / self.n_classes;
            self.shares.extend(counts.iter().map(|count| count / n));
            self.nodes.push(Node::Leaf(leaf as u32));
            return;
        };
        let column = &self.features.columns[cut.column as usize];
        let [left, right] = cut.codes.map(|code| column.values[code as usize]);
        // The sum of halves cannot overflow; where it rounds up to the right value the cut is the left one.
        let middle = left / 2.0 + right / 2.0;
        self.nodes.push(Node::Cut {
            column: cut.column,
            cut: if middle < right { middle } else { left },
            right: 0, // set when the right node is made
        });
        let rows = &mut self.rows[node.start..node.end];
        let mut n_left = 0;
        for at in 0..rows.len() {
            if column.codes[rows[at] as usize] <= cut.codes[0] {
                rows.swap(at, n_left);
                n_left += 1;
            }
        }
        let middle = node.start + n_left;
        open.push(Open {
            start: middle,
            end: node.end,
            right_of: Some(own),
        });
        open.push(Open {
            start: node.start,
            end: middle,
            right_of: None,
        });
    }

    /// The purest cut of `sqrt(n_columns)` random columns, and of more until one of them varies.
    fn best_cut(&mut self, node: &Open, counts: &[f64]) -> Option<Cut> {
        let wanted = (self.columns.len() as f64).sqrt() as usize;
        let mut best: Option<Cut> = None;
        for n_drawn in 0..self.columns.len() {
            if n_drawn >= wanted.max(1) && best.is_some() {
                break;
            }
            let at = self
                .rng
                .random_range(n_drawn as u32..self.columns.len() as u32)
                as usize;
            self.columns.swap(n_drawn, at);
            let column = self.columns[n_drawn];
            if let Some(cut) = self.best_cut_of(node, counts, column)
                && best.as_ref().is_none_or(|best| cut.purity > best.purity)
            {
                best = Some(cut);
            }
        }
        best
    }

    /// The purest cut of a column, `None` where it does not vary in the node.
    fn best_cut_of(&mut self, node: &Open, counts: &[f64], column: u32) -> Option<Cut> {
        let codes = &self.features.columns[column as usize].codes;
        let rows = &self.rows[node.start..node.end];
        let lowest = rows.iter().map(|row| codes[*row as usize]).min()?;
        let mut left = vec![0.0; self.n_classes];
        let mut right = counts.to_vec();
        self.keys.clear();
        // Most entries of a sparse table are its lowest value: they need no sorting.
        for row in rows {
            let (code, class) = (codes[*row as usize], self.labels[*row as usize]);
            if code == lowest {
                left[class] += 1.0;
                right[class] -= 1.0;
            } else {
                self.keys.push(Key::from(code) << 32 | class as Key);
            }
        }
        self.keys.sort_unstable();
        let purity = |of: &[f64]| {
            let n: f64 = of.iter().sum();
            of.iter().map(|count| count * count).sum::<f64>() / n
        };
        let mut best: Option<Cut> = None;
        let mut last = lowest;
        for key in &self.keys {
            let (code, class) = ((key >> 32) as u32, (key & 0xFFFF_FFFF) as usize);
            if code != last {
                let purity = purity(&left) + purity(&right);
                if best.as_ref().is_none_or(|best| purity > best.purity) {
                    best = Some(Cut {
                        purity,
                        column,
                        codes: [last, code],
                    });
                }
                last = code;
            }
            left[class] += 1.0;
            right[class] -= 1.0;
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{load, matrix, number, vector};
    use ndarray::array;

    #[test]
    fn forests_score_as_well_as_those_of_scikit_learn() {
        let golden = load("two_samples");
        for case in golden["forests"].as_array().unwrap() {
            let features = Features::new(&matrix(&case["x"])).unwrap();
            let labels: Vec<usize> = vector(&case["labels"])
                .iter()
                .map(|l| *l as usize)
                .collect();
            let n_train = case["n_train"].as_u64().unwrap() as usize;
            let train: Vec<usize> = (0..n_train).collect();
            let test: Vec<usize> = (n_train..labels.len()).collect();
            let n_seeds = 20;
            let mut sum = 0.0;
            for seed in 0..n_seeds {
                let options = ForestOptions { n_trees: 50, seed };
                sum += auroc_of(&features, &labels, &train, &test, options).unwrap();
            }
            let found = sum / n_seeds as f64;
            // Both means scatter by sd / sqrt(20); four standard errors of their difference.
            let (mean, sd) = (number(&case["mean"]), number(&case["sd"]));
            let band = 4.0 * sd * (2.0 / n_seeds as f64).sqrt();
            assert!(
                (found - mean).abs() < band,
                "{}: {found}, not {mean}",
                case["name"]
            );
        }
    }

    #[test]
    fn rows_that_one_column_tells_apart_are_learned_by_heart() {
        let x = array![
            [0.0, 5.0],
            [0.0, 1.0],
            [3.0, 5.0],
            [4.0, 1.0],
            [0.0, 2.0],
            [9.0, 2.0]
        ];
        let labels = [0, 0, 1, 1, 0, 1];
        let features = Features::new(&x).unwrap();
        let all: Vec<usize> = (0..6).collect();
        let options = ForestOptions {
            n_trees: 300,
            seed: 1,
        };
        let forest = Forest::fit(&features, &labels, &all, options).unwrap();
        for (row, label) in labels.iter().enumerate() {
            let probabilities = forest.probabilities(&features, row);
            assert!(probabilities[*label] > 0.6, "{row}: {probabilities:?}");
            assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn a_cut_between_neighbouring_numbers_separates_them() {
        let (a, b) = (1.0_f64, 1.0_f64.next_up());
        let features = Features::new(&array![[a], [b], [a], [b]]).unwrap();
        let all = [0, 1, 2, 3];
        let forest = Forest::fit(&features, &[0, 1, 0, 1], &all, ForestOptions::default()).unwrap();
        assert!(forest.probabilities(&features, 0)[0] > 0.8);
        assert!(forest.probabilities(&features, 1)[1] > 0.8);
    }

    #[test]
    fn columns_that_do_not_vary_give_the_share_of_each_class() {
        let features = Features::new(&Array2::zeros((4, 3))).unwrap();
        let options = ForestOptions {
            n_trees: 2000,
            seed: 0,
        };
        let forest = Forest::fit(&features, &[0, 0, 0, 1], &[0, 1, 2, 3], options).unwrap();
        // Four of four rows drawn at random: the mean share is 3 / 4, its standard error 0.0048.
        assert!((forest.probabilities(&features, 0)[0] - 0.75).abs() < 0.025);
        assert!(Forest::fit(&features, &[0; 4], &[], options).is_err());
        assert!(Forest::fit(&features, &[0; 3], &[0], options).is_err());
        assert!(Features::new(&array![[f64::NAN]]).is_err());
    }

    #[test]
    fn one_thread_and_two_grow_the_same_forest() {
        let x = Array2::from_shape_fn((80, 9), |(i, j)| ((i * 7 + j * 13 + i * j) % 11) as f64);
        let labels: Vec<usize> = (0..80).map(|i| i * i % 7 % 3).collect();
        let features = Features::new(&x).unwrap();
        let rows: Vec<usize> = (0..80).collect();
        let of = |n_threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads);
            let run = || Forest::fit(&features, &labels, &rows, ForestOptions::default());
            pool.build().unwrap().install(run).unwrap()
        };
        assert_eq!(of(1), of(2));
    }
}

//! Extremely randomised regression trees (Geurts, Ernst and Wehenkel 2006, Machine Learning 63:3).
//!
//! ```text
//! node -> max_features columns at random that vary in it -> of each one cut, uniform between its
//!   extremes -> the cut that takes most from the sum of squares -> two nodes, until pure or small
//! ```
//!
//! Every tree sees all rows, without a bootstrap. A cut that leaves fewer than `min_leaf` rows on a
//! side is passed over, as in scikit-learn's `ExtraTreesRegressor`. Columns that are constant in a
//! node do not count as drawn, as in the paper (scikit-learn counts them): presence flags often are.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// How a tree is grown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Growth {
    /// Columns tried at a node, at least 1.
    pub(super) max_features: usize,
    /// Rows that a leaf must hold, at least 1.
    pub(super) min_leaf: usize,
}

/// Features of some rows, column by column. In f32: a cut needs no more digits, and the columns of a
/// node are read over and over.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    pub(super) columns: Vec<Vec<f32>>,
}

/// A grown tree.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Node {
    Leaf(f64),
    /// Rows with `column <= cut` go to the next node, the others to `right`.
    Cut {
        column: u32,
        cut: f32,
        right: u32,
    },
}

impl Tree {
    /// Grows a tree on rows of features and one target each; a tree without rows predicts 0.
    pub(super) fn grow(
        features: &Columns,
        targets: &[f64],
        growth: Growth,
        rng: &mut ChaCha8Rng,
    ) -> Tree {
        let mut grower = Grower {
            features,
            targets,
            growth,
            rng,
            rows: (0..targets.len() as u32).collect(),
            columns: (0..features.columns.len() as u32).collect(),
            nodes: Vec::new(),
            gathered: vec![0.0; targets.len()],
            node_targets: vec![0.0; targets.len()],
        };
        // Depth first, left before right, on a stack of its own: a path may be as long as there are rows.
        let mut open = vec![Open {
            start: 0,
            end: targets.len(),
            n_varying: features.columns.len(),
            right_of: None,
        }];
        while let Some(node) = open.pop() {
            grower.node(node, &mut open);
        }
        Tree {
            nodes: grower.nodes,
        }
    }

    /// The mean target of the leaf that a row falls into; `value(column)` is its feature.
    pub(super) fn predict(&self, value: impl Fn(usize) -> f32) -> f64 {
        let mut at = 0;
        loop {
            match self.nodes[at] {
                Node::Leaf(mean) => return mean,
                Node::Cut { column, cut, right } => {
                    at = if value(column as usize) <= cut {
                        at + 1
                    } else {
                        right as usize
                    };
                }
            }
        }
    }
}

struct Grower<'a> {
    features: &'a Columns,
    targets: &'a [f64],
    growth: Growth,
    rng: &'a mut ChaCha8Rng,
    /// A node's rows stand next to each other.
    rows: Vec<u32>,
    /// The first `n_varying` may vary in the node at hand, the rest are constant in it.
    columns: Vec<u32>,
    nodes: Vec<Node>,
    gathered: Vec<f32>,
    node_targets: Vec<f64>,
}

/// A node to be made, of `rows[start..end]`.
struct Open {
    start: usize,
    end: usize,
    n_varying: usize,
    /// The node whose right branch this is.
    right_of: Option<usize>,
}

struct Cut {
    gain: f64,
    column: u32,
    at: f32,
}

impl Grower<'_> {
    /// Makes a node and opens the two below it, if it is cut.
    fn node(&mut self, node: Open, open: &mut Vec<Open>) {
        let Open {
            start,
            end,
            mut n_varying,
            right_of,
        } = node;
        let n = end - start;
        let mut sum = 0.0;
        for (slot, &row) in self.node_targets.iter_mut().zip(&self.rows[start..end]) {
            *slot = self.targets[row as usize];
            sum += *slot;
        }
        let mean = if n > 0 { sum / n as f64 } else { 0.0 };
        let own = self.nodes.len();
        self.nodes.push(Node::Leaf(mean));
        if let Some(parent) = right_of
            && let Node::Cut { right, .. } = &mut self.nodes[parent]
        {
            *right = own as u32;
        }
        let targets = &self.node_targets[..n];
        let is_pure = targets.iter().all(|target| *target == targets[0]);
        if n < 2 * self.growth.min_leaf || is_pure {
            return;
        }
        let Some(cut) = self.best_cut(start, end, sum, &mut n_varying) else {
            return;
        };
        let middle = self.part(start, end, &cut);
        self.nodes[own] = Node::Cut {
            column: cut.column,
            cut: cut.at,
            right: 0, // set when the right node is made
        };
        open.push(Open {
            start: middle,
            end,
            n_varying,
            right_of: Some(own),
        });
        open.push(Open {
            start,
            end: middle,
            n_varying,
            right_of: None,
        });
    }

    /// Of one random cut in each of `max_features` random columns, the best.
    fn best_cut(
        &mut self,
        start: usize,
        end: usize,
        sum: f64,
        n_varying: &mut usize,
    ) -> Option<Cut> {
        let n = end - start;
        let (mut best, mut n_tried, mut untried): (Option<Cut>, _, _) = (None, 0, *n_varying);
        while n_tried < self.growth.max_features && untried > 0 {
            // Columns stand as [untried, tried, constant here, constant above].
            let drawn = self.rng.random_range(0..untried as u32) as usize;
            let column = self.columns[drawn];
            untried -= 1;
            self.columns.swap(drawn, untried);
            let values = &self.features.columns[column as usize];
            let gathered = &mut self.gathered[..n];
            let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
            for (slot, &row) in gathered.iter_mut().zip(&self.rows[start..end]) {
                let value = values[row as usize];
                *slot = value;
                low = if value < low { value } else { low };
                high = if value > high { value } else { high };
            }
            if low >= high {
                *n_varying -= 1;
                self.columns.swap(untried, *n_varying);
                continue;
            }
            n_tried += 1;
            let mut at = low + (high - low) * self.rng.random::<f32>();
            if at >= high {
                at = low;
            }
            let (mut n_left, mut sum_left) = (0.0, 0.0);
            for (value, target) in gathered.iter().zip(&self.node_targets[..n]) {
                // Without a branch: which side a row falls on cannot be foretold.
                let is_left = f64::from(u8::from(*value <= at));
                n_left += is_left;
                sum_left += is_left * target;
            }
            let n_right = n as f64 - n_left;
            if n_left.min(n_right) < self.growth.min_leaf as f64 {
                continue;
            }
            let sum_right = sum - sum_left;
            let gain = sum_left * sum_left / n_left + sum_right * sum_right / n_right;
            if best.as_ref().is_none_or(|best| gain > best.gain) {
                best = Some(Cut { gain, column, at });
            }
        }
        best
    }

    /// Puts the rows left of the cut first; returns where the others start.
    fn part(&mut self, start: usize, end: usize, cut: &Cut) -> usize {
        let values = &self.features.columns[cut.column as usize];
        let mut middle = start;
        for at in start..end {
            if values[self.rows[at] as usize] <= cut.at {
                self.rows.swap(at, middle);
                middle += 1;
            }
        }
        middle
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{load, matrix, number, vector};
    use rand::SeedableRng;

    fn grow(columns: Vec<Vec<f32>>, targets: &[f64], growth: Growth, seed: u64) -> Tree {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Tree::grow(&Columns { columns }, targets, growth, &mut rng)
    }

    const FULL: Growth = Growth {
        max_features: 2,
        min_leaf: 1,
    };

    #[test]
    fn two_rows_are_told_apart_by_the_column_that_varies() {
        for seed in 0..20 {
            let tree = grow(
                vec![vec![5.0, 5.0], vec![0.0, 1.0]],
                &[3.0, 7.0],
                FULL,
                seed,
            );
            assert_eq!(tree.nodes.len(), 3);
            assert_eq!(tree.predict(|column| [5.0, 0.0][column]), 3.0);
            assert_eq!(tree.predict(|column| [5.0, 1.0][column]), 7.0);
        }
    }

    #[test]
    fn a_full_tree_repeats_its_rows_and_a_leaf_of_all_is_their_mean() {
        let column: Vec<f32> = (0..50).map(|i| (i * 7 % 53) as f32).collect();
        let targets: Vec<f64> = (0..50).map(f64::from).collect();
        let tree = grow(vec![column.clone()], &targets, FULL, 3);
        for (value, target) in column.iter().zip(&targets) {
            assert_eq!(tree.predict(|_| *value), *target);
        }
        let stump = Growth {
            max_features: 1,
            min_leaf: 26,
        };
        let tree = grow(vec![column], &targets, stump, 3);
        assert_eq!(tree.nodes, [Node::Leaf(24.5)]);
    }

    #[test]
    fn without_rows_without_columns_or_with_equal_targets_there_is_no_cut() {
        assert_eq!(grow(vec![vec![]], &[], FULL, 0).predict(|_| 0.0), 0.0);
        assert_eq!(grow(vec![], &[1.0, 2.0], FULL, 0).predict(|_| 0.0), 1.5);
        let tree = grow(vec![vec![1.0, 2.0]], &[4.0, 4.0], FULL, 0);
        assert_eq!(tree.nodes, [Node::Leaf(4.0)]);
    }

    #[test]
    fn no_leaf_is_smaller_than_asked_for() {
        let column: Vec<f32> = (0..200).map(|i| (i * 37 % 101) as f32).collect();
        let growth = Growth {
            max_features: 1,
            min_leaf: 7,
        };
        // Targets follow the value without order, so that two leaves hardly share a mean.
        let targets: Vec<f64> = column.iter().map(|v| f64::from(v.sin())).collect();
        let tree = grow(vec![column.clone()], &targets, growth, 1);
        let leaf = |value: f32| tree.predict(|_| value).to_bits();
        for &value in &column {
            let n = column.iter().filter(|v| leaf(**v) == leaf(value)).count();
            assert!(n >= 7, "{n} rows share the leaf of {value}");
        }
    }

    #[test]
    fn a_cut_is_uniform_between_the_extremes() {
        let mut below = [0_u32; 4];
        for seed in 0..4000 {
            let tree = grow(vec![vec![0.0, 1.0]], &[0.0, 1.0], FULL, seed);
            let Node::Cut { cut, .. } = tree.nodes[0] else {
                panic!("no cut")
            };
            below[(cut * 4.0) as usize] += 1;
        }
        // Binomial(4000, 1/4): mean 1000, standard deviation 27.4; five of them.
        for n in below {
            assert!((f64::from(n) - 1000.0).abs() < 137.0, "{below:?}");
        }
    }

    #[test]
    fn forests_predict_friedmans_function_as_well_as_those_of_scikit_learn() {
        let golden = load("extra_trees");
        let (x, y) = (matrix(&golden["x"]), vector(&golden["y"]));
        let n_train = golden["n_train"].as_u64().unwrap() as usize;
        let column = |c: usize| {
            x.column(c)
                .iter()
                .take(n_train)
                .map(|v| *v as f32)
                .collect()
        };
        let features = Columns {
            columns: (0..x.ncols()).map(column).collect(),
        };
        let targets: Vec<f64> = y.iter().take(n_train).copied().collect();
        let truth: Vec<f64> = y.iter().skip(n_train).copied().collect();
        let centre = truth.iter().sum::<f64>() / truth.len() as f64;
        let total: f64 = truth.iter().map(|v| (v - centre).powi(2)).sum();
        for setting in golden["settings"].as_array().unwrap() {
            let growth = Growth {
                max_features: setting["max_features"].as_u64().unwrap() as usize,
                min_leaf: setting["min_leaf"].as_u64().unwrap() as usize,
            };
            let n_seeds = 20;
            let mut mean_r2 = 0.0;
            for seed in 0..n_seeds {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let forest: Vec<Tree> = (0..50)
                    .map(|_| Tree::grow(&features, &targets, growth, &mut rng))
                    .collect();
                let squares: f64 = truth
                    .iter()
                    .enumerate()
                    .map(|(i, truth)| {
                        let trees = forest.iter();
                        let sum: f64 = trees
                            .map(|tree| tree.predict(|c| x[[n_train + i, c]] as f32))
                            .sum();
                        (truth - sum / 50.0).powi(2)
                    })
                    .sum();
                mean_r2 += (1.0 - squares / total) / n_seeds as f64;
            }
            // Both means scatter by sd / sqrt(20); four standard errors of their difference.
            let (mean, sd) = (number(&setting["mean"]), number(&setting["sd"]));
            let band = 4.0 * sd * (2.0 / n_seeds as f64).sqrt();
            assert!(
                (mean_r2 - mean).abs() < band,
                "{growth:?}: {mean_r2}, not {mean}"
            );
        }
    }
}

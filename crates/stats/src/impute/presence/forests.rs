//! Per taxon, extremely randomised trees of its presence on the other taxa.

use super::super::extra_trees::{Columns, Growth, Tree};
use super::samples::{Problem, View};
use ndarray::{Array2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Features kept for a taxon, those most correlated with its presence, besides the two of the sample.
const MAX_COLUMNS: usize = 80;
const PER_SAMPLE: usize = 2;
/// Training rows in a leaf.
const MIN_LEAF: usize = 5;
/// Trees of a forest, fewer where the table is large.
const MAX_TREES: usize = 100;
const MIN_TREES: usize = 25;
/// Rows times columns tried at a level, over all trees; keeps a large table under a minute.
const TREE_BUDGET: f64 = 4e8;
/// Key of the trees: part of the method's definition.
const TREE_SEED: u64 = 0x0007_2EE5;
/// Training rows that the prevalence counts for: it tells taxa apart where all leaves are pure.
const PRIOR: f64 = 0.02;

pub(super) fn presence(problem: &Problem) -> Array2<f64> {
    let n_rows = problem.truth.nrows();
    let n_tried = |n_columns: usize| ((n_columns as f64).sqrt().ceil() as usize).max(1);
    let work = n_rows * problem.n_taxa() * n_tried(MAX_COLUMNS + PER_SAMPLE);
    let n_trees = ((TREE_BUDGET / work.max(1) as f64) as usize).clamp(MIN_TREES, MAX_TREES);
    let (seen, asked) = (Features::of(&problem.seen), Features::of(&problem.asked));
    let strength = [&seen.present, &seen.residual].map(|x| strengths(x, &problem.truth));
    let columns: Vec<Vec<f64>> = (0..problem.n_taxa())
        .into_par_iter()
        .map(|taxon| {
            let kept = chosen(problem, &strength, taxon);
            let features = seen.columns(&kept, taxon);
            let targets = problem.truth.column(taxon).to_vec();
            let growth = Growth {
                max_features: n_tried(features.columns.len()),
                min_leaf: MIN_LEAF,
            };
            let questions = asked.columns(&kept, taxon);
            let n_asked = problem.asked.present.nrows();
            let mut sums = vec![0.0; n_asked];
            for number in 0..n_trees {
                let mut rng = ChaCha8Rng::seed_from_u64(TREE_SEED);
                rng.set_stream((taxon as u64) << 32 | number as u64);
                let tree = Tree::grow(&features, &targets, growth, &mut rng);
                for (row, sum) in sums.iter_mut().enumerate() {
                    *sum += tree.predict(|column| questions.columns[column][row]);
                }
            }
            let prior = PRIOR * problem.prevalence[taxon];
            sums.into_iter()
                .map(|sum| (sum / n_trees as f64 + prior) / (1.0 + PRIOR))
                .collect()
        })
        .collect();
    Array2::from_shape_fn(problem.asked.present.dim(), |(row, taxon)| {
        columns[taxon][row]
    })
}

/// A column of presence (0) or of residuals (1), and its taxon.
type Column = (usize, usize);

struct Features<'a> {
    present: &'a Array2<f64>,
    residual: &'a Array2<f64>,
    richness: Vec<f64>,
    /// The largest level of a row: high where one taxon dominates.
    largest: Vec<f64>,
    level: &'a Array2<f64>,
}

impl<'a> Features<'a> {
    fn of(view: &'a View) -> Self {
        let largest = |row: ndarray::ArrayView1<f64>| row.iter().copied().fold(0.0, f64::max);
        Features {
            present: &view.present,
            residual: &view.residual,
            richness: view.present.sum_axis(Axis(1)).to_vec(),
            largest: view.level.rows().into_iter().map(largest).collect(),
            level: &view.level,
        }
    }

    /// The chosen columns, then richness and largest level without the taxon.
    fn columns(&self, kept: &[Column], without: usize) -> Columns {
        let column = |(kind, taxon): &Column| -> Vec<f32> {
            let matrix = [self.present, self.residual][*kind];
            matrix.column(*taxon).iter().map(|x| *x as f32).collect()
        };
        let mut columns: Vec<Vec<f32>> = kept.iter().map(column).collect();
        let own = self.present.column(without);
        let richness = self
            .richness
            .iter()
            .zip(own)
            .map(|(sum, own)| (sum - own) as f32);
        columns.push(richness.collect());
        let own = self.level.column(without);
        let rows = self.level.rows().into_iter().zip(own).zip(&self.largest);
        let largest = rows.map(|((row, own), largest)| {
            if own < largest {
                return *largest as f32;
            }
            let others = row
                .iter()
                .enumerate()
                .filter(|(taxon, _)| *taxon != without);
            others.map(|(_, level)| *level).fold(0.0, f64::max) as f32
        });
        columns.push(largest.collect());
        Columns { columns }
    }
}

/// Squared correlation of each column with the truth of each taxon, `[columns, taxa]`; 0 for a constant.
fn strengths(x: &Array2<f64>, truth: &Array2<f64>) -> Array2<f64> {
    let n = x.nrows() as f64;
    let (mx, my) = (x.sum_axis(Axis(0)) / n, truth.sum_axis(Axis(0)) / n);
    let mut products = x.t().dot(truth);
    let variance = |matrix: &Array2<f64>, means: &ndarray::Array1<f64>| {
        let squares = matrix.mapv(|v| v * v).sum_axis(Axis(0));
        squares - means * means * n
    };
    let (vx, vy) = (variance(x, &mx), variance(truth, &my));
    for ((a, b), value) in products.indexed_iter_mut() {
        let covariance = *value - n * mx[a] * my[b];
        let below = vx[a] * vy[b];
        *value = if below > 1e-9 {
            covariance * covariance / below
        } else {
            0.0
        };
    }
    products
}

fn chosen(problem: &Problem, strength: &[Array2<f64>; 2], taxon: usize) -> Vec<Column> {
    let mut ranked: Vec<(f64, Column)> = Vec::new();
    for (kind, strength) in strength.iter().enumerate() {
        let others = (0..problem.n_taxa()).filter(|k| *k != taxon && problem.is_usable[*k]);
        ranked.extend(others.map(|k| (strength[[k, taxon]], (kind, k))));
    }
    ranked.retain(|(strength, _)| *strength > 0.0);
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    ranked.truncate(MAX_COLUMNS);
    ranked.into_iter().map(|(_, column)| column).collect()
}

//! Presence as a matrix of low rank.
//!
//! ```text
//! Z = seen presence less its column means = U S V'        (leading axes)
//! hard: z ~ V_r u          soft: z ~ B u, B = V sqrt(S - tau)+, |z - B u|^2 + tau |u|^2 -> min
//! ```
//!
//! The soft form is the minimum of the nuclear-norm problem (Mazumder, Hastie and Tibshirani 2010, lemma
//! 6). The `u` of a row is fitted without the taxon that is judged: with `M = B'B + tau` and `h = b_j'
//! M^-1 b_j` that is `(b_j' M^-1 B'z - h z_j) / (1 - h)`, by the inverse of a matrix less one of rank 1.

use super::super::svd::orthonormalise;
use super::samples::Problem;
use ndarray::{Array1, Array2, Axis, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Axes that are looked for; all that matter of a table of presence.
const N_AXES: usize = 60;
/// Turns of the orthogonal iteration.
const N_TURNS: usize = 60;
/// Keys of the random starts: part of the methods' definition.
const AXES_SEED: u64 = 0x00A8_E500;
const FACTORS_SEED: u64 = 0x00A8_E50F;
/// Of the squared weights in the hard form, against rows of too few taxa.
const LITTLE: f64 = 1e-6;

/// The leading axes of the centred presence of the usable taxa.
pub(super) struct Axes {
    used: Vec<usize>,
    means: Vec<f64>,
    /// `[used, axes]`, orthonormal columns.
    axes: Array2<f64>,
    /// Singular values, falling.
    sizes: Vec<f64>,
    /// Covariance with the axes of each taxon that is not usable is learned through the training rows.
    scores: Array2<f64>,
}

impl Axes {
    pub(super) fn new(problem: &Problem) -> Axes {
        let used: Vec<usize> = (0..problem.n_taxa())
            .filter(|taxon| problem.is_usable[*taxon])
            .collect();
        let mut z = problem.seen.present.select(Axis(1), &used);
        let mut means = Vec::new();
        for mut column in z.columns_mut() {
            let mean = column.mean().unwrap_or(0.0);
            column.mapv_inplace(|value| value - mean);
            means.push(mean);
        }
        let rank = N_AXES.min(used.len()).min(z.nrows());
        let mut rng = ChaCha8Rng::seed_from_u64(AXES_SEED);
        let mut axes: Vec<Vec<f64>> = (0..used.len())
            .map(|_| (0..rank).map(|_| StandardNormal.sample(&mut rng)).collect())
            .collect();
        orthonormalise(&mut axes, rank);
        for _ in 0..N_TURNS {
            axes = rows_of(&z.t().dot(&z.dot(&matrix(&axes, rank))));
            orthonormalise(&mut axes, rank);
        }
        let axes = matrix(&axes, rank);
        let scores = z.dot(&axes);
        let size = |column: ndarray::ArrayView1<f64>| column.dot(&column).sqrt();
        let sizes = scores.columns().into_iter().map(size).collect();
        Axes {
            used,
            means,
            axes,
            sizes,
            scores,
        }
    }

    /// - `share`: `tau` as a share of the largest singular value
    pub(super) fn soft(&self, problem: &Problem, share: f64) -> Array2<f64> {
        let tau = share * self.sizes.first().copied().unwrap_or(0.0);
        let scale = |size: &f64| (size - tau).max(0.0).sqrt();
        let scales: Vec<f64> = self.sizes.iter().map(scale).collect();
        self.completed(problem, &scales, tau)
    }

    pub(super) fn hard(&self, problem: &Problem, rank: usize) -> Array2<f64> {
        let scales: Vec<f64> = (0..self.sizes.len())
            .map(|axis| f64::from(u8::from(axis < rank)))
            .collect();
        self.completed(problem, &scales, LITTLE)
    }

    fn completed(&self, problem: &Problem, scales: &[f64], penalty: f64) -> Array2<f64> {
        let kept: Vec<usize> = (0..scales.len()).filter(|k| scales[*k] > 0.0).collect();
        let mut found = problem.prevalences();
        if kept.is_empty() {
            return found;
        }
        let mut b = self.axes.select(Axis(1), &kept);
        for (mut column, k) in b.columns_mut().into_iter().zip(&kept) {
            column *= scales[*k];
        }
        // The axes are orthonormal, so that M is diagonal.
        let inverse: Array1<f64> = kept
            .iter()
            .map(|k| 1.0 / (scales[*k].powi(2) + penalty))
            .collect();
        let mut z = problem.asked.present.select(Axis(1), &self.used);
        for (mut column, mean) in z.columns_mut().into_iter().zip(&self.means) {
            column -= *mean;
        }
        let weights = z.dot(&b) * &inverse; // [asked, kept]
        let fitted = weights.dot(&b.t()); // [asked, used]
        for (at, taxon) in self.used.iter().enumerate() {
            let own = b.row(at);
            let h = (&own * &own * &inverse).sum();
            for row in 0..z.nrows() {
                let without = (fitted[[row, at]] - h * z[[row, at]]) / (1.0 - h).max(LITTLE);
                found[[row, *taxon]] = self.means[at] + without;
            }
        }
        self.others(problem, &kept, scales, penalty, &weights, &mut found);
        found
    }

    /// Taxa that nothing is seen of, by regression of their presence on the weights of the training rows.
    fn others(
        &self,
        problem: &Problem,
        kept: &[usize],
        scales: &[f64],
        penalty: f64,
        weights: &Array2<f64>,
        found: &mut Array2<f64>,
    ) {
        let unseen: Vec<usize> = (0..problem.n_taxa())
            .filter(|taxon| !problem.is_usable[*taxon])
            .collect();
        if unseen.is_empty() {
            return;
        }
        let mut learned = self.scores.select(Axis(1), kept);
        for (mut column, k) in learned.columns_mut().into_iter().zip(kept) {
            column *= scales[*k] / (scales[*k].powi(2) + penalty);
        }
        for taxon in unseen {
            let mut out = found.slice_mut(s![.., taxon]);
            for (axis, column) in learned.columns().into_iter().enumerate() {
                let target = problem.truth.column(taxon);
                let size = column.dot(&column) + penalty;
                let slope = column.dot(&target) / size; // columns are orthogonal and centred
                out.scaled_add(slope, &weights.column(axis));
            }
        }
    }
}

fn matrix(rows: &[Vec<f64>], rank: usize) -> Array2<f64> {
    Array2::from_shape_fn((rows.len(), rank), |(row, column)| rows[row][column])
}

fn rows_of(matrix: &Array2<f64>) -> Vec<Vec<f64>> {
    matrix.rows().into_iter().map(|row| row.to_vec()).collect()
}

/// Updates of both factors, and of the weights of a row with the factors of the taxa given.
const N_UPDATES: usize = 60;
/// Keeps a denominator of 0 from giving NaN.
const TINY: f64 = 1e-9;

/// `presence ~ W H`, both non-negative, of least squares by multiplicative updates (Lee and Seung 2001).
/// Taxa that nothing is seen of take part in training alone.
pub(super) fn non_negative(problem: &Problem, rank: usize) -> Array2<f64> {
    let x = &problem.truth;
    let rank = rank.min(x.ncols()).min(x.nrows());
    let mut rng = ChaCha8Rng::seed_from_u64(FACTORS_SEED);
    let scale = (x.mean().unwrap_or(0.0) / rank.max(1) as f64).sqrt();
    let mut start = |shape: (usize, usize)| {
        Array2::from_shape_simple_fn(shape, || scale * rng.random_range(0.5..1.5))
    };
    let (mut w, mut h) = (start((x.nrows(), rank)), start((rank, x.ncols())));
    for _ in 0..N_UPDATES {
        update(&mut w, &x.dot(&h.t()), &h.dot(&h.t()));
        let (above, gram) = (w.t().dot(x), w.t().dot(&w));
        let below = gram.dot(&h) + TINY;
        h = h * above / below;
    }
    let used: Vec<usize> = (0..problem.n_taxa())
        .filter(|taxon| problem.is_usable[*taxon])
        .collect();
    let (asked, of_used) = (
        problem.asked.present.select(Axis(1), &used),
        h.select(Axis(1), &used),
    );
    let mut weights = start((asked.nrows(), rank));
    let (above, gram) = (asked.dot(&of_used.t()), of_used.dot(&of_used.t()));
    for _ in 0..N_UPDATES {
        update(&mut weights, &above, &gram);
    }
    weights.dot(&h)
}

fn update(w: &mut Array2<f64>, above: &Array2<f64>, gram: &Array2<f64>) {
    let below = w.dot(gram) + TINY;
    *w = &*w * above / below;
}

//! Riemannian Adam on the relative deviation of distances.

use super::ball::{self, Geodesic, Pair};
use super::{FLOOR, TaxonDistances};
use crate::error::Result;
use crate::rng::{Stage, generator};
use ndarray::Array2;
use rand::seq::SliceRandom;
use rand_distr::{Distribution, StandardNormal};
use std::f64::consts::PI;
use suffuse_stats::pcoa::pcoa;

/// Taxa whose pairs are all used in every step; of more taxa each meets [`N_PARTNERS`] others in a step.
const MAX_TAXA_ALL_PAIRS: usize = 100;
/// Other taxa that a taxon is paired with, in each direction, in a step of sampled pairs.
const N_PARTNERS: usize = 4;
/// Steps of the optimiser.
const N_STEPS: usize = 3_000;
/// Hyperbolic length of the first steps, falling to 0 along a cosine.
const LEARNING_RATE: f64 = 0.1;
/// Of `ln scale`.
const SCALE_LEARNING_RATE: f64 = 0.01;
/// Mean hyperbolic distance at the start. Large ones make space more curved as the taxa see it.
const START_DISTANCE: f64 = 3.0;
/// Standard deviation of the noise at the start that parts points in one place.
const START_NOISE: f64 = 1e-3;
/// Decay of the mean gradient and of the mean squared gradient.
const BETAS: [f64; 2] = [0.9, 0.999];
/// Added to the root of the mean squared gradient.
const EPSILON: f64 = 1e-8;

/// Points and what the optimiser remembers of them; `[n_taxa, n_dims]` in rows.
pub(super) struct Fit<'a> {
    distances: &'a TaxonDistances,
    n_dims: usize,
    seed: u64,
    points: Vec<f64>,
    /// Mean Riemannian gradient of each point.
    mean: Vec<f64>,
    /// Mean squared length of the gradient of each point.
    square: Vec<f64>,
    log_scale: f64,
    scale_mean: f64,
    scale_square: f64,
}

impl<'a> Fit<'a> {
    /// Classical scaling in the tangent space at the origin, stretched to [`START_DISTANCE`].
    pub(super) fn new(distances: &'a TaxonDistances, n_dims: usize, seed: u64) -> Result<Self> {
        let n_taxa = distances.n_taxa();
        let flat = pcoa(distances.matrix(), n_dims)?.points;
        let mut rng = generator(seed, Stage::TaxonEmbedding, "start", 0);
        // Near the origin, hyperbolic distances are twice the straight ones of tangent vectors.
        let mut points: Vec<f64> = (flat.iter())
            .map(|x| {
                let noise: f64 = StandardNormal.sample(&mut rng);
                START_DISTANCE / 2.0 * x + START_NOISE * noise
            })
            .collect();
        points.chunks_mut(n_dims).for_each(ball::exp_map_at_origin);
        Ok(Fit {
            distances,
            n_dims,
            seed,
            points,
            mean: vec![0.0; n_taxa * n_dims],
            square: vec![0.0; n_taxa],
            log_scale: -START_DISTANCE.ln(),
            scale_mean: 0.0,
            scale_square: 0.0,
        })
    }

    /// The points, `[n_taxa, n_dims]`, and the scale that fits them best.
    pub(super) fn run(mut self) -> (Array2<f64>, f64) {
        let n_taxa = self.distances.n_taxa();
        if n_taxa > 1 {
            let mut order: Vec<usize> = (0..n_taxa).collect();
            for step in 0..N_STEPS {
                let pairs = self.pairs(&mut order, step);
                self.step(&pairs, step);
            }
        }
        let scale = self.best_scale();
        let points = Array2::from_shape_vec((n_taxa, self.n_dims), self.points)
            .expect("a point of n_dims coordinates per taxon");
        (points, scale)
    }

    /// Pairs of a step: all, or each taxon with as many others as every other taxon.
    fn pairs(&self, order: &mut [usize], step: usize) -> Vec<(usize, usize)> {
        let n = order.len();
        if n <= MAX_TAXA_ALL_PAIRS {
            return (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).collect();
        }
        let mut rng = generator(self.seed, Stage::TaxonEmbedding, "pairs", step as u64);
        order.shuffle(&mut rng);
        let order = &*order;
        (0..n)
            .flat_map(|at| (1..=N_PARTNERS).map(move |ahead| (order[at], order[(at + ahead) % n])))
            .collect()
    }

    fn step(&mut self, pairs: &[(usize, usize)], step: usize) {
        let (mut gradient, of_log_scale) = self.gradient(pairs);
        let rate = LEARNING_RATE * (1.0 + (PI * step as f64 / N_STEPS as f64).cos()) / 2.0;
        let correction = BETAS.map(|beta| 1.0 - beta.powi(step as i32 + 1));
        let mut before = vec![0.0; self.n_dims];
        let states = (self.points.chunks_mut(self.n_dims))
            .zip(self.mean.chunks_mut(self.n_dims))
            .zip(&mut self.square);
        for (gradient, ((point, mean), square)) in gradient.chunks_mut(self.n_dims).zip(states) {
            ball::to_riemannian(point, gradient);
            *square = BETAS[1] * *square + (1.0 - BETAS[1]) * ball::squared_length(point, gradient);
            let below = (*square / correction[1]).sqrt() + EPSILON;
            for (mean, g) in mean.iter_mut().zip(gradient.iter_mut()) {
                *mean = BETAS[0] * *mean + (1.0 - BETAS[0]) * *g;
                *g = -rate * *mean / correction[0] / below;
            }
            before.copy_from_slice(point);
            ball::exp_map(point, gradient);
            let path = Geodesic {
                from: &before,
                to: point,
            };
            path.transport(mean);
        }
        self.scale_mean = BETAS[0] * self.scale_mean + (1.0 - BETAS[0]) * of_log_scale;
        self.scale_square = BETAS[1] * self.scale_square + (1.0 - BETAS[1]) * of_log_scale.powi(2);
        let below = (self.scale_square / correction[1]).sqrt() + EPSILON;
        let direction = self.scale_mean / correction[0] / below;
        self.log_scale -= rate / LEARNING_RATE * SCALE_LEARNING_RATE * direction;
    }

    /// Euclidean gradient of the objective over `pairs` with regard to the points, and that to `ln scale`.
    fn gradient(&self, pairs: &[(usize, usize)]) -> (Vec<f64>, f64) {
        let n_dims = self.n_dims;
        let scale = self.log_scale.exp();
        let shrink: Vec<f64> = (self.points.chunks(n_dims))
            .map(|point| 1.0 - ball::dot(point, point))
            .collect();
        let mut gradient = vec![0.0; self.points.len()];
        let mut of_log_scale = 0.0;
        for &(i, j) in pairs {
            let (at_i, at_j) = (i * n_dims, j * n_dims);
            let pair = Pair {
                u: &self.points[at_i..at_i + n_dims],
                v: &self.points[at_j..at_j + n_dims],
                shrink_u: shrink[i],
                shrink_v: shrink[j],
            };
            let found = pair.distance_and_gradients();
            let wanted = self.distances.matrix()[[i, j]];
            let weight = 1.0 / (wanted.max(FLOOR).powi(2) * pairs.len() as f64);
            let slope = 2.0 * weight * (scale * found.distance - wanted) * scale;
            of_log_scale += slope * found.distance;
            let factor = slope * found.factor;
            for k in 0..n_dims {
                let (u, v) = (pair.u[k], pair.v[k]);
                gradient[at_i + k] += factor * (u - v + found.own_u * u);
                gradient[at_j + k] += factor * (v - u + found.own_v * v);
            }
        }
        (gradient, of_log_scale)
    }

    /// The minimum of the objective over the scale: `sum(w t d) / sum(w d^2)`.
    fn best_scale(&self) -> f64 {
        let (mut above, mut below) = (0.0, 0.0);
        for (i, u) in self.points.chunks(self.n_dims).enumerate() {
            for (j, v) in self.points.chunks(self.n_dims).enumerate().take(i) {
                let wanted = self.distances.matrix()[[i, j]];
                let weight = 1.0 / wanted.max(FLOOR).powi(2);
                let distance = ball::distance(u, v);
                above += weight * wanted * distance;
                below += weight * distance * distance;
            }
        }
        if above > 0.0 {
            above / below
        } else {
            self.log_scale.exp()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use suffuse_data::tree::Tree;

    /// The mean over pairs of `((scale d - t) / max(t, FLOOR))^2`.
    fn objective(fit: &Fit, pairs: &[(usize, usize)]) -> f64 {
        let point = |i: usize| &fit.points[i * fit.n_dims..(i + 1) * fit.n_dims];
        let of_pair = |&(i, j): &(usize, usize)| {
            let wanted = fit.distances.matrix()[[i, j]];
            let distance = fit.log_scale.exp() * ball::distance(point(i), point(j));
            ((distance - wanted) / wanted.max(FLOOR)).powi(2)
        };
        pairs.iter().map(of_pair).sum::<f64>() / pairs.len() as f64
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let tree = Tree::parse("((a:0,b:0):1,(c:1,d:0.5):1,e:2);", Path::new("t")).unwrap();
        let names = ["a", "b", "c", "d", "e"].map(String::from);
        let distances = TaxonDistances::from_tree(&tree, &names).unwrap();
        let mut fit = Fit::new(&distances, 3, 1).unwrap();
        for (at, x) in fit.points.iter_mut().enumerate() {
            *x += 0.05 * (at as f64).sin();
        }
        let pairs = [(1, 0), (2, 0), (3, 1), (4, 2), (0, 4)];
        let (gradient, of_log_scale) = fit.gradient(&pairs);
        const STEP: f64 = 1e-6;
        let mut slope = |shift: &dyn Fn(&mut Fit, f64)| {
            shift(&mut fit, STEP);
            let above = objective(&fit, &pairs);
            shift(&mut fit, -2.0 * STEP);
            let below = objective(&fit, &pairs);
            shift(&mut fit, STEP);
            (above - below) / (2.0 * STEP)
        };
        for (at, g) in gradient.iter().enumerate() {
            let found = slope(&|fit, by| fit.points[at] += by);
            assert!(
                (found - g).abs() < 1e-6 * (1.0 + g.abs()),
                "{at}: {g}, expected {found}"
            );
        }
        let found = slope(&|fit, by| fit.log_scale += by);
        assert!((found - of_log_scale).abs() < 1e-6 * (1.0 + found.abs()));
    }

    #[test]
    fn every_taxon_is_in_as_many_sampled_pairs() {
        let n_taxa = MAX_TAXA_ALL_PAIRS + 7;
        let tips: Vec<String> = (0..n_taxa).map(|tip| format!("t{tip}")).collect();
        let text = format!("({}:1);", tips.join(":1,"));
        let tree = Tree::parse(&text, Path::new("t")).unwrap();
        let distances = TaxonDistances::from_tree(&tree, &tips).unwrap();
        let fit = Fit::new(&distances, 2, 1).unwrap();
        let mut order: Vec<usize> = (0..n_taxa).collect();
        let pairs = fit.pairs(&mut order, 0);
        let mut n_of = vec![0; n_taxa];
        for (i, j) in &pairs {
            assert_ne!(i, j);
            n_of[*i] += 1;
            n_of[*j] += 1;
        }
        assert_eq!(n_of, vec![2 * N_PARTNERS; n_taxa]);
        assert_ne!(pairs, fit.pairs(&mut order, 1));
    }
}

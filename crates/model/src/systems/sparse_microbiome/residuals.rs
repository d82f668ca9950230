//! What the decoder leaves to chance, drawn with the correlations between taxa that the latent does not carry.
//!
//! ```text
//! presence:  present where logit + ln(Phi(e) / (1 - Phi(e))) > 0
//! abundance: score = mean + sd a                                    (e, a) ~ N(0, R)
//! ```
//!
//! `ln(Phi(e) / (1 - Phi(e)))` of a normal `e` is logistic, so each gate alone is what the [hard sparsity
//! loss](super::hard_sparsity) drew in training. `R` holds the polychoric correlations of the gates, found from presence and
//! the decoder's log-odds, the correlations of standardised errors where both taxa are present, and between the two the
//! polyserial ones: a satellite of a large taxon is seen where that is large. All are estimated pair by pair, shrunk by
//! what is known of the pair, reduced to [few factors and close pairs](super::few_factors), and made correlations by setting
//! negative eigenvalues to 0: shrinking all pairs until none is negative left a third of the correlation of close taxa. A taxon's own gate and score are independent: its score
//! is that given presence.

use super::few_factors::few_factors;
use super::profile::Profile;
use crate::rng::{Stage, generator};
use ndarray::{Array2, Axis, concatenate, s};
use rand::seq::SliceRandom;
use suffuse_stats::generate::copula::{Factor, Repair};
use suffuse_stats::generate::eigen::largest_eigenvalue;
use suffuse_stats::generate::normal;

/// Samples that must have both taxa before their abundances are taken to be correlated.
const MIN_BOTH: f64 = 5.0;
/// Largest correlation of two gates.
const MOST: f64 = 0.98;
/// Smallest and largest probability of presence.
pub(super) const ORDERS: (f64, f64) = (1e-6, 1.0 - 1e-6);

/// What the decoder says of one sample, one number per taxon each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) presence_logit: &'a [f32],
    pub(super) mean: &'a [f32],
    pub(super) log_sd: &'a [f32],
}

/// Most taxa whose gates go together with scores: eigenvectors take eight times as long as of one of the two alone.
const MAX_JOINT: usize = 1000;

/// How residuals go together: `F e` of independent normals `e` has the correlation `F F'`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Correlations {
    /// Of presence first and then of abundance, `[2 n_taxa, 2 n_taxa]`.
    Joint(Array2<f32>),
    /// Presence does not go together with abundance; `[n_taxa, n_taxa]` each.
    Apart {
        presence: Array2<f32>,
        abundance: Array2<f32>,
    },
}

impl Correlations {
    /// Normals with the correlations, of presence and of abundance, `[n, n_taxa]`.
    ///
    /// - `independent`: `[n, 2 n_taxa]`
    pub(super) fn join(&self, independent: &Array2<f32>) -> [Array2<f32>; 2] {
        let n_taxa = independent.ncols() / 2;
        match self {
            Correlations::Joint(factor) => {
                let both = independent.dot(&factor.t());
                halves(&both, n_taxa)
            }
            Correlations::Apart {
                presence,
                abundance,
            } => {
                let (of_presence, of_abundance) = independent.view().split_at(Axis(1), n_taxa);
                [
                    of_presence.dot(&presence.t()),
                    of_abundance.dot(&abundance.t()),
                ]
            }
        }
    }

    /// `x R` with the correlation `R` of the residuals of abundance.
    ///
    /// - `x`: `[n, n_taxa]`
    pub(super) fn times_abundance(&self, x: &Array2<f32>) -> Array2<f32> {
        let factor = match self {
            Correlations::Joint(factor) => factor.slice(s![factor.nrows() / 2.., ..]),
            Correlations::Apart { abundance, .. } => abundance.view(),
        };
        x.dot(&factor).dot(&factor.t())
    }
}

/// The columns of presence and those of abundance.
pub(super) fn halves(both: &Array2<f32>, n_taxa: usize) -> [Array2<f32>; 2] {
    let (presence, abundance) = both.view().split_at(Axis(1), n_taxa);
    [presence.to_owned(), abundance.to_owned()]
}

/// What is left over of training samples.
#[derive(Debug, Clone)]
pub(super) struct Residuals {
    /// Scores of presence, `[n, n_taxa]`, and what each tells of a correlation.
    presence: Array2<f64>,
    information: Array2<f64>,
    /// Of abundance, 0 where absent, `[n, n_taxa]`.
    abundance: Array2<f64>,
    /// 1 where present, `[n, n_taxa]`.
    is_present: Array2<f64>,
    /// Rows of each sample.
    n_draws: usize,
}

impl Residuals {
    /// - `n`: rows in all, `n_draws` of each sample
    pub(super) fn new(n: usize, n_draws: usize, n_taxa: usize) -> Residuals {
        let zeros = || Array2::zeros((n, n_taxa));
        Residuals {
            presence: zeros(),
            information: zeros(),
            abundance: zeros(),
            is_present: zeros(),
            n_draws,
        }
    }

    /// Notes a sample in a row.
    pub(super) fn set(&mut self, row: usize, profile: &Profile, said: Said) {
        for (taxon, score) in &profile.entries {
            let taxon = *taxon as usize;
            let error = f64::from(score - said.mean[taxon]) / f64::from(said.log_sd[taxon]).exp();
            self.abundance[[row, taxon]] = error;
            self.is_present[[row, taxon]] = 1.0;
        }
        for taxon in 0..said.presence_logit.len() {
            let p = 1.0 / (1.0 + (-f64::from(said.presence_logit[taxon])).exp());
            let p = p.clamp(ORDERS.0, ORDERS.1);
            let variance = p * (1.0 - p);
            let density = normal::density(normal::quantile(p));
            self.presence[[row, taxon]] = (self.is_present[[row, taxon]] - p) * density / variance;
            self.information[[row, taxon]] = density * density / variance;
        }
    }

    /// Their correlations.
    ///
    /// - `seed`: of the order in which samples go with nothing
    pub(super) fn correlations(&self, seed: u64) -> Correlations {
        let shuffled = self.shuffled(seed);
        let factor =
            |estimate: Array2<f64>, of_shuffled: &Array2<f64>, information: &Array2<f64>| {
                let edge = largest_eigenvalue(of_shuffled);
                let factor = Factor::of(&few_factors(&estimate, information, edge), Repair::Clip);
                factor.rows().mapv(|value| value as f32)
            };
        if self.presence.ncols() > MAX_JOINT {
            return Correlations::Apart {
                presence: factor(
                    self.of_gates(),
                    &shuffled.of_gates(),
                    &self.information_on(&self.information),
                ),
                abundance: factor(
                    self.of_scores(),
                    &shuffled.of_scores(),
                    &self.information_on(&self.is_present),
                ),
            };
        }
        let weights = concatenate![Axis(1), self.information, self.is_present];
        let information = self.information_on(&weights);
        Correlations::Joint(factor(self.joint(), &shuffled.joint(), &information))
    }

    /// Correlations of gates first, then of scores, `[2 n_taxa, 2 n_taxa]`.
    fn joint(&self) -> Array2<f64> {
        let of_both = self.correlation_of_gates_with_scores();
        concatenate![
            Axis(0),
            concatenate![Axis(1), self.of_gates(), of_both],
            concatenate![Axis(1), of_both.t(), self.of_scores()]
        ]
    }

    fn of_gates(&self) -> Array2<f64> {
        correlation_of_gates(&self.presence, &self.information, self.n_draws)
    }

    fn of_scores(&self) -> Array2<f64> {
        correlation_where_both(&self.abundance, &self.is_present, self.n_draws)
    }

    /// How well correlations are known: inverse squares of their standard errors where there is none.
    ///
    /// - `of_each`: what each sample tells of each, `[n, n_variables]`
    fn information_on(&self, of_each: &Array2<f64>) -> Array2<f64> {
        of_each.t().dot(of_each) / self.n_draws as f64
    }

    /// The same, each taxon's samples in an order of their own, so that nothing goes together.
    fn shuffled(&self, seed: u64) -> Residuals {
        let mut shuffled = self.clone();
        let n_samples = self.presence.nrows() / self.n_draws;
        let mut order: Vec<usize> = (0..n_samples).collect();
        for taxon in 0..self.presence.ncols() {
            order.shuffle(&mut generator(
                seed,
                Stage::Validation,
                "shuffled",
                taxon as u64,
            ));
            let pairs = [
                (&self.presence, &mut shuffled.presence),
                (&self.information, &mut shuffled.information),
                (&self.abundance, &mut shuffled.abundance),
                (&self.is_present, &mut shuffled.is_present),
            ];
            for (from, to) in pairs {
                for (row, value) in to.column_mut(taxon).indexed_iter_mut() {
                    *value = from[[row - row % n_samples + order[row % n_samples], taxon]];
                }
            }
        }
        shuffled
    }

    /// Correlations of the normals behind the gates (rows) with the errors of the scores (columns).
    ///
    /// Where the second taxon is present, its standardised error `a` and the score `s` of a gate have
    /// `E[s a] = rho k`, whatever `rho`, so `rho = sum s a / sum k` with the variance `1 / sum k`. An estimate `z` standard
    /// errors from 0 keeps `1 - 1 / z^2` of itself.
    fn correlation_of_gates_with_scores(&self) -> Array2<f64> {
        let n_draws = self.n_draws as f64;
        let squares = self.abundance.mapv(|e| e * e).sum_axis(Axis(0));
        let sd = (squares / self.is_present.sum_axis(Axis(0))).mapv(f64::sqrt);
        let products = self.presence.t().dot(&self.abundance) / n_draws;
        let information = self.information.t().dot(&self.is_present) / n_draws;
        let n_present = self.is_present.sum_axis(Axis(0)) / n_draws;
        Array2::from_shape_fn(products.dim(), |(gate, score)| {
            let product = products[[gate, score]] / sd[score];
            let information = information[[gate, score]];
            let is_known = n_present[score] >= MIN_BOTH && sd[score] > 0.0;
            if gate == score || !is_known || product * product <= information {
                return 0.0;
            }
            let kept = 1.0 - information / (product * product);
            kept * (product / information).clamp(-MOST, MOST)
        })
    }
}

/// Correlations of the normals behind the gates, from the scores of presence `s` and their information `k`.
///
/// A gate opens where a normal exceeds a bound; the score `s = (present - p) density / (p (1 - p))` has
/// `E[s_i s_j] = rho k_i k_j` and the variance `k_i k_j` for small `rho` (one step of Fisher scoring from
/// independence), so `rho = sum s_i s_j / sum k_i k_j` with the variance `1 / sum k_i k_j`. An estimate `z`
/// standard errors from 0 keeps `1 - 1 / z^2` of itself (positive-part James & Stein 1961).
fn correlation_of_gates(
    scores: &Array2<f64>,
    information: &Array2<f64>,
    n_draws: usize,
) -> Array2<f64> {
    let products = scores.t().dot(scores) / n_draws as f64;
    let information = information.t().dot(information) / n_draws as f64;
    let mut found = Array2::zeros(products.dim());
    ndarray::Zip::from(&mut found)
        .and(&products)
        .and(&information)
        .for_each(|rho, product, information| {
            let square = product * product;
            if square > *information {
                let kept = 1.0 - information / square;
                *rho = (kept * product / information).clamp(-MOST, MOST);
            }
        });
    found.diag_mut().fill(1.0);
    found
}

/// Correlations of errors around 0 over the samples that have both taxa; an estimate `z` standard errors from 0
/// keeps `1 - 1 / z^2` of itself.
fn correlation_where_both(
    errors: &Array2<f64>,
    is_present: &Array2<f64>,
    n_draws: usize,
) -> Array2<f64> {
    let squares = errors.mapv(|e| e * e);
    let products = errors.t().dot(errors);
    let own = squares.t().dot(is_present); // of the row's taxon where the column's is present too
    let both = is_present.t().dot(is_present) / n_draws as f64;
    let mut found = Array2::from_shape_fn(products.dim(), |(i, j)| {
        let scale = (own[[i, j]] * own[[j, i]]).sqrt();
        if scale <= 0.0 || both[[i, j]] < MIN_BOTH {
            return 0.0;
        }
        let r = products[[i, j]] / scale;
        let square = both[[i, j]] * (r / (1.0 - r * r).max(1.0 - MOST)).powi(2);
        r.clamp(-MOST, MOST) * (1.0 - 1.0 / square).max(0.0)
    });
    found.diag_mut().fill(1.0);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Stage, generator, standard_normal};
    use ndarray::{Array1, array};

    /// Notes what is present of two taxa of which the decoder says these log-odds, mean 0 and sd 1.
    fn note(residuals: &mut Residuals, row: usize, entries: Vec<(u32, f32)>, logits: [f32; 2]) {
        let profile = Profile {
            row,
            entries,
            depth: 0.0,
        };
        let said = Said {
            presence_logit: &logits,
            mean: &[0.0; 2],
            log_sd: &[0.0; 2],
        };
        residuals.set(row, &profile, said);
    }

    /// Presence of two taxa whose gates have a correlation, of constant log-odds.
    fn gates(n: usize, rho: f64, logits: [f32; 2]) -> Residuals {
        let mut rng = generator(4, Stage::Sampling, "gates", 0);
        let mut residuals = Residuals::new(n, 1, 2);
        for row in 0..n {
            let e = standard_normal(&mut rng, 2);
            let second = rho * f64::from(e[0]) + (1.0 - rho * rho).sqrt() * f64::from(e[1]);
            let bound = |logit: f32| normal::quantile(1.0 / (1.0 + f64::from(logit).exp()));
            let mut entries = Vec::new();
            if f64::from(e[0]) > bound(logits[0]) {
                entries.push((0, 0.0));
            }
            if second > bound(logits[1]) {
                entries.push((1, 0.0));
            }
            note(&mut residuals, row, entries, logits);
        }
        residuals
    }

    #[test]
    fn the_correlation_of_gates_is_found_from_presence_alone() {
        let found = |residuals: &Residuals| {
            correlation_of_gates(&residuals.presence, &residuals.information, 1)[[0, 1]]
        };
        // At log-odds 0 both are open with probability 1/4 + asin(rho) / 2 pi (Sheppard 1899), so one step from
        // independence leads to asin(rho).
        for rho in [-0.5_f64, 0.3, 0.8] {
            let found = found(&gates(40_000, rho, [0.0; 2]));
            assert!((found - rho.asin()).abs() < 0.03, "{rho}: {found}");
        }
        // Little is known of a taxon that is nearly always there, but it is not biased.
        let found_of_common = found(&gates(40_000, 0.3, [3.0, 0.0]));
        assert!((found_of_common - 0.3).abs() < 0.06, "{found_of_common}");
        let independent = gates(50, 0.0, [0.0; 2]);
        assert!(found(&independent).abs() < 0.2);
    }

    #[test]
    fn shuffled_taxa_keep_their_values_and_go_with_nothing() {
        let once = gates(2000, 0.8, [0.0; 2]);
        let twice = |of: &Array2<f64>| concatenate![Axis(0), *of, *of];
        let residuals = Residuals {
            presence: twice(&once.presence),
            information: twice(&once.information),
            abundance: twice(&once.abundance),
            is_present: twice(&once.is_present),
            n_draws: 2,
        };
        let shuffled = residuals.shuffled(1);
        let sorted = |of: &Array2<f64>, taxon: usize| {
            let mut values = of.column(taxon).to_vec();
            values.sort_by(f64::total_cmp);
            values
        };
        for taxon in 0..2 {
            let [was, is] = [&residuals.presence, &shuffled.presence].map(|of| sorted(of, taxon));
            assert_eq!(was, is);
        }
        // Both draws of a sample take one place.
        let (first, second) = shuffled.presence.view().split_at(Axis(0), 2000);
        assert_eq!(first, second);
        assert_ne!(shuffled.presence, residuals.presence);
        let standard_error = 1.0 / residuals.information_on(&residuals.information)[[0, 1]].sqrt();
        assert!(shuffled.of_gates()[[0, 1]].abs() < 4.0 * standard_error);
        // The pair that was there is kept: asin(.8) = .927, of gates at log-odds 0 by one step.
        let Correlations::Joint(factor) = residuals.correlations(1) else {
            panic!("two taxa are few");
        };
        let found = factor.dot(&factor.t())[[0, 1]];
        assert!((found - 0.927).abs() < 0.04, "{found}");
    }

    #[test]
    fn an_estimate_keeps_less_of_itself_the_less_is_known() {
        // sum s s' = 6, sum k k' = 4: rho = 6/4 (1 - 4/36), at most 0.98; half the scores: 3/4 * (1 - 4/9);
        // a sixth: nothing
        let information = Array2::ones((4, 2));
        let of = |scale: f64| {
            let scores = array![[1.0, 2.0], [2.0, 1.0], [1.0, 1.0], [1.0, 1.0]];
            correlation_of_gates(&(scores * scale.sqrt()), &information, 1)[[0, 1]]
        };
        assert!((of(1.0) - 0.98).abs() < 1e-12);
        assert!((of(0.5) - 0.75 * (1.0 - 4.0 / 9.0)).abs() < 1e-12);
        assert!(of(1.0 / 6.0).abs() < 1e-12);
    }

    #[test]
    fn drawn_residuals_have_the_correlation_of_the_factor() {
        // Two taxa: gates .6, the gate of the first with the score of the second -.5, scores .3.
        let mut estimate = Array2::eye(4);
        for (i, j, rho) in [(0, 1, 0.6), (0, 3, -0.5), (2, 3, 0.3)] {
            estimate[[i, j]] = rho;
            estimate[[j, i]] = rho;
        }
        let factor = Factor::of(&estimate, Repair::Clip);
        let joint = Correlations::Joint(factor.rows().mapv(|value| value as f32));
        let n = 20_000;
        let mut rng = generator(5, Stage::Sampling, "factor", 0);
        let independent = Array2::from_shape_vec((n, 4), standard_normal(&mut rng, 4 * n)).unwrap();
        let [presence, abundance] = joint.join(&independent);
        let both = ndarray::concatenate![Axis(1), presence, abundance];
        let found = both.t().dot(&both) / n as f32;
        for ((i, j), expected) in estimate.indexed_iter() {
            let found = f64::from(found[[i, j]]);
            assert!((found - expected).abs() < 0.03, "{i} {j}: {found}");
        }
        // x R of the scores alone: (1, 2) [[1, .3], [.3, 1]] = (1.6, 2.3)
        let moved = joint.times_abundance(&array![[1.0, 2.0]]);
        assert!((moved[[0, 0]] - 1.6).abs() < 1e-5 && (moved[[0, 1]] - 2.3).abs() < 1e-5);

        let part = |rho: f64| {
            let factor = Factor::of(&array![[1.0, rho], [rho, 1.0]], Repair::Clip);
            factor.rows().mapv(|value| value as f32)
        };
        let apart = Correlations::Apart {
            presence: part(0.6),
            abundance: part(0.3),
        };
        let [presence, abundance] = apart.join(&independent);
        let mean = |x: Array1<f32>| x.sum() / n as f32;
        assert!((mean(&presence.column(0) * &presence.column(1)) - 0.6).abs() < 0.03);
        assert!(mean(&presence.column(0) * &abundance.column(1)).abs() < 0.03);
        let moved = apart.times_abundance(&array![[1.0, 2.0]]);
        assert!((moved[[0, 0]] - 1.6).abs() < 1e-5);
    }

    #[test]
    fn the_correlation_of_a_gate_with_a_score_is_found_where_that_taxon_is_present() {
        // The gate of the first taxon opens beyond a bound of a normal that has the correlation with the error of the
        // second, which is present in nine of ten samples. E[1(e > t) a] = rho density(t) whatever rho: no one step.
        let n = 40_000;
        for (rho, logits) in [(0.8, [0.0, 2.0]), (-0.4, [-1.5, 2.0])] {
            let mut rng = generator(6, Stage::Sampling, "gate and score", 0);
            let mut residuals = Residuals::new(n, 1, 2);
            for row in 0..n {
                let e: Vec<f64> = (standard_normal(&mut rng, 2).into_iter())
                    .map(f64::from)
                    .collect();
                let error = rho * e[0] + (1.0 - rho * rho).sqrt() * e[1];
                let bound = normal::quantile(1.0 / (1.0 + f64::from(logits[0]).exp()));
                let mut entries = Vec::new();
                if e[0] > bound {
                    entries.push((0, 0.0));
                }
                if row % 10 != 0 {
                    entries.push((1, 2.0 * error as f32)); // of a decoder that says sd 1: standardised first
                }
                note(&mut residuals, row, entries, logits);
            }
            let found = residuals.correlation_of_gates_with_scores();
            assert!(
                (found[[0, 1]] - rho).abs() < 0.03,
                "{rho}: {}",
                found[[0, 1]]
            );
            assert_eq!((found[[0, 0]], found[[1, 1]]), (0.0, 0.0));
        }
    }

    #[test]
    fn errors_are_correlated_where_both_taxa_are_present() {
        // errors (1, 2, -1) and (2, 1, -2), twice: r = 6 / sqrt(6 * 9), r^2 = 2/3, z^2 = 6 r^2 / (1 - r^2)^2 = 36
        let errors = array![[1.0, 2.0], [2.0, 1.0], [-1.0, -2.0], [5.0, 0.0]];
        let present = array![[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 0.0]];
        let twice = |x: &Array2<f64>| ndarray::concatenate![ndarray::Axis(0), x.view(), x.view()];
        let found = correlation_where_both(&twice(&errors), &twice(&present), 1)[[0, 1]];
        assert!((found - 6.0 / 54.0_f64.sqrt() * 35.0 / 36.0).abs() < 1e-12);
        // Two draws of three samples are three samples: too few.
        let found = correlation_where_both(&twice(&errors), &twice(&present), 2)[[0, 1]];
        assert!(found.abs() < 1e-12);
    }
}

//! In-painting: some taxa of a sample stay as they are, the rest is generated to go with them.
//!
//! ```text
//! candidates z_k ~ p(z | depth, conditions)        weights w_k = product over kept taxa of p(kept | z_k)
//! z ~ w                                            (sampling importance resampling, Rubin 1987)
//! residuals of the rest given those of the kept    e + R_rest,kept R_kept^-1 (e_kept - e'_kept)
//! shares of the rest are closed over what the kept ones leave
//! ```
//!
//! The weights take the kept taxa to be independent given the latent. Where many are kept few candidates have any
//! weight: [`Inpainted::n_effective`] says how many are left to choose from.

use super::Model;
use super::objective::TILE;
use super::residuals::{Correlations, ORDERS};
use super::sampling::{
    Bound, DecodedTile, Drawn, SampleOptions, Wanted, close, direction, logistic_of_normal, streams,
};
use crate::device;
use crate::error::{Error, Result};
use crate::rng::{Stage, generator, standard_normal};
use ndarray::{Array1, Array2, ArrayView1, Axis};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use suffuse_stats::generate::normal;
use suffuse_stats::least_squares::solve_positive_definite;

/// Part of a sample that stays as it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kept<'a> {
    /// Features that stay, rising, present or not.
    pub taxa: &'a [u32],
    /// Their shares of the sample, 0 where absent.
    pub shares: &'a [f64],
}

/// A sample around what was kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Inpainted {
    /// The whole sample; what was kept has the shares that it came with.
    pub drawn: Drawn,
    /// Candidates that had a say, of [`Inpainted::N_CANDIDATES`]: `1 / sum of squared weights`.
    pub n_effective: f64,
}

impl Inpainted {
    /// Latents that are drawn for every sample.
    pub const N_CANDIDATES: usize = N_TILES * TILE;
}

/// Tiles of candidates of every sample.
const N_TILES: usize = 4;
/// A share that is rounding.
const LEAST_SHARE: f64 = 1e-12;
/// Added to the diagonal of a correlation, which may have eigenvalues of 0.
const RIDGE: f64 = 1e-2;

impl Model {
    /// Draws samples around what is kept of them. Each depends on its number and the seed.
    ///
    /// # Errors
    /// As [`Model::sample`]; a feature that the model does not have, no feature left to generate, shares that are no
    /// shares, an interruption.
    pub fn inpaint(
        &self,
        wanted: &[(Wanted, Kept)],
        options: &SampleOptions,
    ) -> Result<Vec<Inpainted>> {
        let all: Vec<Wanted> = wanted.iter().map(|(wanted, _)| *wanted).collect();
        self.check(&all, options)?;
        for (_, kept) in wanted {
            kept.check(self.feature_ids().len())?;
        }
        let bound = self.bind(&options.device)?;
        device::each(&options.device, wanted.len(), |k| {
            let (wanted, kept) = &wanted[k];
            bound.inpainted(wanted, kept, options)
        })
    }
}

impl Kept<'_> {
    fn check(&self, n_taxa: usize) -> Result<()> {
        let problem = |problem: String| Err(Error::Table(problem));
        let (n, n_shares) = (self.taxa.len(), self.shares.len());
        let sum: f64 = self.shares.iter().sum();
        let is_share = |share: &f64| (0.0..=1.0).contains(share);
        if n != n_shares {
            return problem(format!("{n} kept features with {n_shares} shares"));
        }
        if !self.taxa.windows(2).all(|pair| pair[0] < pair[1]) {
            return problem("kept features must rise".to_string());
        }
        if let Some(taxon) = self.taxa.last().filter(|taxon| **taxon as usize >= n_taxa) {
            return problem(format!("kept feature {taxon}, the model has {n_taxa}"));
        }
        if n == n_taxa {
            return problem("all features are kept: nothing is left to generate".to_string());
        }
        if !self.shares.iter().all(is_share) || sum > 1.0 + 1e-9 {
            return problem(format!(
                "kept shares must lie between 0 and 1, and sum to 1 at most; they sum to {sum}"
            ));
        }
        Ok(())
    }

    fn each(&self) -> impl Iterator<Item = (usize, f64)> {
        let taxa = self.taxa.iter().map(|taxon| *taxon as usize);
        taxa.zip(self.shares.iter().copied())
    }
}

/// What the decoder says of one sample.
struct Row {
    logit: Array1<f64>,
    mean: Array1<f64>,
    sd: Array1<f64>,
}

impl Row {
    /// - `offset`: of the calibration, added to the log-odds
    fn of(tile: &DecodedTile, row: usize, offset: &[f64]) -> Row {
        let of = |matrix: &Array2<f32>| matrix.row(row).mapv(f64::from);
        Row {
            logit: of(&tile.logit) + &Array1::from(offset.to_vec()),
            mean: of(&tile.mean),
            sd: of(&tile.log_sd).mapv(f64::exp),
        }
    }

    /// Probability of presence.
    fn present(&self, taxon: usize) -> f64 {
        let p = 1.0 / (1.0 + (-self.logit[taxon]).exp());
        p.clamp(ORDERS.0, ORDERS.1)
    }
}

impl Bound<'_> {
    fn inpainted(
        &self,
        wanted: &Wanted,
        kept: &Kept,
        options: &SampleOptions,
    ) -> Result<Inpainted> {
        let model = self.model;
        let offset = &model.calibration.presence_offset;
        let scores: Vec<f64> = kept
            .each()
            .map(|(taxon, share)| model.calibration.abundance[taxon].score(share.ln()))
            .collect();
        let mut rows = Vec::with_capacity(Inpainted::N_CANDIDATES);
        let mut depths = Vec::with_capacity(Inpainted::N_CANDIDATES);
        for tile in 0..N_TILES {
            let number = |k: usize| {
                let first = wanted.number.wrapping_mul(Inpainted::N_CANDIDATES as u64);
                first.wrapping_add((tile * TILE + k) as u64)
            };
            let candidates: Vec<Wanted> = (0..TILE)
                .map(|k| Wanted {
                    number: number(k),
                    ..*wanted
                })
                .collect();
            let mut rngs = streams("candidates", &candidates, options.seed);
            let decoded = self.decoded(&candidates, &mut rngs, options)?;
            rows.extend((0..TILE).map(|row| Row::of(&decoded, row, offset)));
            depths.extend(decoded.depth);
        }
        let logs: Vec<f64> = rows
            .iter()
            .map(|row| log_likelihood(row, kept, &scores))
            .collect();
        let mut rng = generator(options.seed, Stage::Sampling, "kept", wanted.number);
        let (chosen, n_effective) = resampled(&logs, &mut rng);
        let row = &rows[chosen];
        let [of_presence, of_abundance] = self.residuals_around(row, kept, &scores, &mut rng);
        let is_kept = |taxon: usize| kept.taxa.binary_search(&(taxon as u32)).is_ok();
        let open = |taxon: usize| {
            row.logit[taxon] + f64::from(logistic_of_normal(of_presence[taxon] as f32))
        };
        let candidates: Vec<usize> = (0..row.logit.len())
            .filter(|taxon| !is_kept(*taxon) && !model.calibration.abundance[*taxon].is_empty())
            .collect();
        let share = |taxon: usize| {
            let score = row.mean[taxon] + row.sd[taxon] * of_abundance[taxon];
            model.calibration.abundance[taxon].log_share(score).exp()
        };
        let left = 1.0 - kept.shares.iter().sum::<f64>();
        let mut rest: Vec<(u32, f64)> = candidates
            .iter()
            .filter(|taxon| open(**taxon) > 0.0)
            .map(|taxon| (*taxon as u32, share(*taxon)))
            .collect();
        if candidates.is_empty() && left > LEAST_SHARE {
            return Err(Error::Table(format!(
                "all features that the model has seen are kept, and {left:.3} of a sample is of others; keep fewer features"
            )));
        }
        if rest.is_empty() {
            // Somebody has the reads that are left: the taxon that was most likely.
            let most = candidates
                .iter()
                .max_by(|a, b| row.logit[**a].total_cmp(&row.logit[**b]));
            rest.extend(most.map(|taxon| (*taxon as u32, 1.0)));
        }
        match left > LEAST_SHARE {
            true => {
                rest.iter_mut().for_each(|(_, share)| *share /= left);
                let direction = self.direction_of(row, &rest);
                close(&mut rest, |taxon| f64::from(direction[[0, taxon as usize]]));
                rest.iter_mut().for_each(|(_, share)| *share *= left);
            }
            false => rest.clear(),
        }
        let present = kept.each().filter(|(_, share)| *share > 0.0);
        rest.extend(present.map(|(taxon, share)| (taxon as u32, share)));
        rest.sort_by_key(|(taxon, _)| *taxon);
        Ok(Inpainted {
            drawn: Drawn {
                total: wanted.depth.map_or_else(
                    || self.total(f64::from(depths[chosen])),
                    |depth| depth as f64,
                ),
                shares: rest,
            },
            n_effective,
        })
    }

    /// How the logarithms of these shares move together, `[1, n_taxa]`.
    fn direction_of(&self, row: &Row, shares: &[(u32, f64)]) -> Array2<f32> {
        let mut spread = Array2::zeros((1, row.logit.len()));
        let mut share = spread.clone();
        for &(taxon, x) in shares {
            let at = taxon as usize;
            let map = &self.model.calibration.abundance[at];
            spread[[0, at]] = map.spread(map.score(x.ln()), row.sd[at]) as f32;
            share[[0, at]] = x as f32;
        }
        direction(&spread, &share, self.model.correlations.as_ref())
    }

    /// Residuals of presence and of abundance, given those of what is kept.
    fn residuals_around(
        &self,
        row: &Row,
        kept: &Kept,
        scores: &[f64],
        rng: &mut ChaCha8Rng,
    ) -> [Array1<f64>; 2] {
        let n_taxa = row.logit.len();
        let (mut of_gates, mut of_scores) = (Vec::new(), Vec::new());
        for ((taxon, share), score) in kept.each().zip(scores) {
            let (p, u) = (row.present(taxon), rng.random::<f64>());
            let order = match share > 0.0 {
                true => 1.0 - p + u * p,
                false => u * (1.0 - p),
            };
            of_gates.push((taxon, normal::quantile(order.clamp(ORDERS.0, ORDERS.1))));
            if share > 0.0 && score.is_finite() {
                of_scores.push((taxon, (score - row.mean[taxon]) / row.sd[taxon]));
            }
        }
        let independent = Array1::from(standard_normal(rng, 2 * n_taxa));
        let (of_presence, of_abundance) = independent.view().split_at(Axis(0), n_taxa);
        match &self.model.correlations {
            Some(Correlations::Joint(factor)) => {
                let after_gates = of_scores.iter().map(|(taxon, e)| (n_taxa + taxon, *e));
                let known: Vec<_> = of_gates.iter().copied().chain(after_gates).collect();
                let both = given(factor, independent.view(), &known);
                let (of_presence, of_abundance) = both.view().split_at(Axis(0), n_taxa);
                [of_presence.to_owned(), of_abundance.to_owned()]
            }
            Some(Correlations::Apart {
                presence,
                abundance,
            }) => [
                given(presence, of_presence, &of_gates),
                given(abundance, of_abundance, &of_scores),
            ],
            None => [of_presence, of_abundance].map(|e| e.mapv(f64::from)),
        }
    }
}

/// `ln p(kept | latent)`.
fn log_likelihood(row: &Row, kept: &Kept, scores: &[f64]) -> f64 {
    let terms = kept.each().zip(scores).map(|((taxon, share), score)| {
        let p = row.present(taxon);
        if share <= 0.0 {
            return (1.0 - p).ln();
        }
        let z = (score - row.mean[taxon]) / row.sd[taxon];
        let of_score = -0.5 * z * z - row.sd[taxon].ln();
        p.ln() + if of_score.is_finite() { of_score } else { 0.0 } // never seen: nothing is known of its score
    });
    terms.sum()
}

/// A position drawn by weights of these logarithms, and the effective number of them.
fn resampled(logs: &[f64], rng: &mut ChaCha8Rng) -> (usize, f64) {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logs.iter().map(|log| (log - most).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let squares: f64 = weights.iter().map(|weight| weight * weight).sum();
    let mut left = rng.random::<f64>() * sum;
    let chosen = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    (chosen.unwrap_or(weights.len() - 1), sum * sum / squares)
}

/// Normals of the correlation `F F'` that are as given in some places (Matheron's rule): drawn without regard to
/// them, then moved by what they are off there.
///
/// - `factor`: `[n, n]`
/// - `known`: places and values
fn given(
    factor: &Array2<f32>,
    independent: ArrayView1<'_, f32>,
    known: &[(usize, f64)],
) -> Array1<f64> {
    let drawn = factor.dot(&independent).mapv(f64::from);
    if known.is_empty() {
        return drawn;
    }
    let places: Vec<usize> = known.iter().map(|(place, _)| *place).collect();
    let of_known = factor.select(Axis(0), &places); // [k, n]
    let mut gram = of_known.dot(&of_known.t()).mapv(f64::from);
    gram.diag_mut().iter_mut().for_each(|x| *x += RIDGE);
    let mut off: Vec<f64> = known
        .iter()
        .map(|(place, value)| value - drawn[*place])
        .collect();
    solve_positive_definite(&mut gram, &mut off);
    let off = Array1::from(off).mapv(|x| x as f32);
    drawn + factor.dot(&of_known.t().dot(&off)).mapv(f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn normals_given_some_have_the_conditional_mean_and_variance() {
        // Of a correlation of .6 and a known value of 2: mean 1.2, variance .64 (exact without the ridge).
        let factor = array![[1.0_f32, 0.0], [0.6, 0.8]];
        let n = 20_000;
        let mut rng = generator(3, Stage::Sampling, "given", 0);
        let drawn: Vec<f64> = (0..n)
            .map(|_| {
                let e = Array1::from(standard_normal(&mut rng, 2));
                given(&factor, e.view(), &[(0, 2.0)])[1]
            })
            .collect();
        let mean = drawn.iter().sum::<f64>() / n as f64;
        let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
        assert!((mean - 1.2).abs() < 0.03, "{mean}");
        assert!((variance - 0.64).abs() < 0.03, "{variance}");
    }

    #[test]
    fn candidates_are_chosen_by_their_weight() {
        let mut rng = generator(4, Stage::Sampling, "resampled", 0);
        let logs = [0.0, 3.0_f64.ln(), f64::NEG_INFINITY];
        let mut counts = [0; 3];
        for _ in 0..8000 {
            counts[resampled(&logs, &mut rng).0] += 1;
        }
        assert!((f64::from(counts[1]) / 8000.0 - 0.75).abs() < 0.02 && counts[2] == 0);
        // (1/4 + 3/4)^2 / (1/16 + 9/16) = 1.6
        assert!((resampled(&logs, &mut rng).1 - 1.6).abs() < 1e-12);
    }
}

//! Samples from a fitted model: latents by the reverse process, gates and abundances from them.

use super::config::Latents;
use super::denoiser::{Denoiser, Told};
use super::objective::{PREDICTION, TILE};
use super::profile::NO_DEPTH;
use super::residuals::{Correlations, Said, halves};
use super::vae::Vae;
use super::{Calibration, Model};
use crate::device::{self, Device};
use crate::error::{Error, Result};
use crate::noise::schedule::CosineSchedule;
use crate::parameters::{Absent, Builder, tensor, values};
use crate::rng::{Stage, generator, standard_normal};
use crate::sample::sampler::timesteps;
use crate::sample::{Sampler, second_order, step};
use ndarray::Array2;
use rand_chacha::ChaCha8Rng;
use std::sync::atomic::{AtomicBool, Ordering};
use suffuse_stats::generate::normal;

/// A sample to draw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wanted<'a> {
    /// Its number: with the seed, all that its random numbers depend on.
    pub number: u64,
    /// Number of reads that it is to look like; `None` draws one.
    pub depth: Option<u64>,
    /// Its conditions as the model was fitted with; `None` says nothing of any.
    pub conditions: Option<&'a [f32]>,
}

/// How samples are drawn.
#[derive(Debug, Clone)]
pub struct SampleOptions<'a> {
    /// Seed of all draws.
    pub seed: u64,
    /// Where the networks compute.
    pub device: Device,
    /// Weight of the guidance of every attribute; 1 is none, and empty is 1 for all. Those of one weight are
    /// guided together.
    pub guidance: Vec<f64>,
    /// The reverse process in place of the one in the model's settings.
    pub sampler: Option<Sampler>,
    /// Set when the user wants to stop.
    pub interrupted: &'a AtomicBool,
}

/// A sample that was drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// Number of reads: as wanted, or drawn; 1 where none is wanted of a model of a table without counts.
    pub total: f64,
    /// Taxa that are present with their shares, which sum to 1; the others are zero.
    pub shares: Vec<(u32, f64)>,
}

/// Largest normal score of a depth that was asked for: beyond it nothing was learned.
const MAX_DEPTH_SCORE: f64 = 3.0;

/// The networks of a model on a device.
pub(super) struct Bound<'a> {
    pub(super) model: &'a Model,
    vae: Vae,
    denoiser: Denoiser,
    schedule: CosineSchedule,
    device: Device,
}

/// What the decoder says of a tile, `[TILE, n_taxa]`.
pub(super) struct DecodedTile {
    /// Log-odds of presence.
    pub(super) logit: Array2<f32>,
    /// Mean of the score given presence.
    pub(super) mean: Array2<f32>,
    /// Logarithm of its standard deviation.
    pub(super) log_sd: Array2<f32>,
    /// Normal score of the depth.
    pub(super) depth: Vec<f32>,
}

/// What a tile says before it is turned into samples, one row per sample.
pub(super) struct Tile {
    /// Logit with its noise: present where above 0.
    pub(super) open: Array2<f32>,
    /// Logit alone.
    pub(super) logit: Array2<f32>,
    /// Normal score given presence.
    pub(super) score: Array2<f32>,
    /// Standard deviation of its residual.
    pub(super) sd: Array2<f32>,
    /// Normal score of the depth.
    pub(super) depth: Vec<f32>,
}

impl Model {
    /// Draws samples. Each depends on its number and the seed, not on what else is drawn.
    ///
    /// # Errors
    /// Conditions or guidance of another length than the model's, an interruption.
    pub fn sample(&self, wanted: &[Wanted], options: &SampleOptions) -> Result<Vec<Drawn>> {
        self.check(wanted, options)?;
        let bound = self.bind(&options.device)?;
        let tiles: Vec<&[Wanted]> = wanted.chunks(TILE).collect();
        let drawn = device::each(&options.device, tiles.len(), |k| {
            let tile = bound.tile("sample", tiles[k], options)?;
            Ok(bound.finish(&tile, tiles[k]))
        })?;
        Ok(drawn.into_iter().flatten().collect())
    }

    pub(super) fn check(&self, wanted: &[Wanted], options: &SampleOptions) -> Result<()> {
        let n = self.attributes.len();
        if !options.guidance.is_empty() && options.guidance.len() != n {
            return Err(Error::Table(format!(
                "{} guidance weights for {n} attributes",
                options.guidance.len()
            )));
        }
        let dim = self.n_conditions();
        match wanted
            .iter()
            .filter_map(|wanted| wanted.conditions)
            .find(|values| values.len() != dim)
        {
            Some(values) => Err(Error::Table(format!(
                "{} numbers of conditions for a sample, the model was fitted with {dim}",
                values.len()
            ))),
            None => Ok(()),
        }
    }

    pub(super) fn bind(&self, device: &Device) -> Result<Bound<'_>> {
        let mut p = Builder::new(&self.vae, Absent::Refuse, device);
        let vae = Vae::new(&mut p, &self.config.vae, &self.taxa);
        p.finish()?;
        let mut p = Builder::new(&self.denoiser, Absent::Refuse, device);
        let n_latent = self.whitening.n_latent();
        let denoiser = Denoiser::new(&mut p, &self.config.denoiser, n_latent, &self.attributes);
        p.finish()?;
        Ok(Bound {
            model: self,
            vae,
            denoiser,
            schedule: CosineSchedule::new(self.config.denoiser.n_timesteps),
            device: device.clone(),
        })
    }
}

impl Bound<'_> {
    /// What the decoder says of a tile, which is padded to its full size: the shape does not depend on how many are
    /// wanted.
    ///
    /// - `rngs`: streams of the samples
    pub(super) fn decoded(
        &self,
        wanted: &[Wanted],
        rngs: &mut [ChaCha8Rng],
        options: &SampleOptions,
    ) -> Result<DecodedTile> {
        let n_taxa = self.model.taxa.prevalence.len();
        let n_latent = self.model.whitening.n_latent();
        let start = normals(rngs, n_latent);
        let whitening = &self.model.whitening;
        let latents = match self.model.config.sampling.latents {
            Latents::Diffusion => whitening.latents(&self.denoised(start, wanted, rngs, options)?),
            Latents::Gaussian => whitening.latents(&start),
            Latents::Prior => start,
        };
        let d = n_latent - 1;
        let depth: Vec<f32> = (0..TILE)
            .map(|row| match wanted.get(row).and_then(|w| w.depth) {
                Some(depth) => self.depth_score(depth),
                None => latents[[row, d]],
            })
            .collect();
        let z = latents
            .slice(ndarray::s![.., ..d])
            .iter()
            .copied()
            .collect();
        let decoded = self.vae.decode(
            tensor(z, [TILE, d], &self.device),
            tensor(depth.clone(), [TILE, 1], &self.device),
        );
        let matrix = |values: Vec<f32>| {
            Array2::from_shape_vec((TILE, n_taxa), values).expect("the decoder says one of each")
        };
        let logit = matrix(values(decoded.presence_logit));
        Ok(DecodedTile {
            logit,
            mean: matrix(values(decoded.mean)),
            log_sd: matrix(values(decoded.log_sd)),
            depth,
        })
    }

    /// Draws a tile.
    ///
    /// - `purpose`: samples of one purpose share nothing with those of another
    pub(super) fn tile(
        &self,
        purpose: &str,
        wanted: &[Wanted],
        options: &SampleOptions,
    ) -> Result<Tile> {
        let n_taxa = self.model.taxa.prevalence.len();
        let mut rngs = streams(purpose, wanted, options.seed);
        let DecodedTile {
            logit,
            mean,
            log_sd,
            depth,
        } = self.decoded(wanted, &mut rngs, options)?;
        let independent = normals(&mut rngs, 2 * n_taxa);
        let [of_presence, of_abundance] = match &self.model.correlations {
            Some(correlations) => correlations.join(&independent),
            None => halves(&independent, n_taxa),
        };
        let mut open = logit.clone();
        open.zip_mut_with(&of_presence, |logit, e| *logit += logistic_of_normal(*e));
        let sd = log_sd.mapv(f32::exp);
        let score = mean + &sd * of_abundance;
        Ok(Tile {
            open,
            logit,
            score,
            sd,
            depth,
        })
    }

    fn depth_score(&self, depth: u64) -> f32 {
        let totals = &self.model.marginals.totals;
        let ln_total = match self.model.is_whole {
            true => (depth as f64).ln(),
            false => NO_DEPTH,
        };
        let score = match totals.is_constant() {
            true => 0.0, // of samples of one depth nothing is learned about others
            false => totals.score(ln_total),
        };
        score.clamp(-MAX_DEPTH_SCORE, MAX_DEPTH_SCORE) as f32
    }

    /// The reverse process on whitened latents, `[TILE, n_latent]`.
    fn denoised(
        &self,
        start: Array2<f32>,
        wanted: &[Wanted],
        rngs: &mut [ChaCha8Rng],
        options: &SampleOptions,
    ) -> Result<Array2<f32>> {
        let sampler = options
            .sampler
            .unwrap_or(self.model.config.sampling.sampler);
        let n_total = self.schedule.n_steps();
        let n_steps = sampler.n_steps(n_total, &[0.0])[0];
        let steps = timesteps(n_steps, n_total);
        let alpha_bar = |i: usize| match steps.get(i) {
            Some(t) => self.schedule.alpha_bar(*t),
            None => 1.0,
        };
        let all = self.told(wanted, |_| false);
        let mut weights: Vec<f64> = options.guidance.clone();
        weights.sort_by(f64::total_cmp);
        weights.dedup();
        // Attributes of one weight are dropped together: a weight of 0 for all is no condition at all.
        let guided: Vec<(f32, Vec<Told>)> = weights
            .into_iter()
            .filter(|weight| *weight != 1.0)
            .map(|weight| {
                let without = |position: usize| options.guidance[position] == weight;
                ((weight - 1.0) as f32, self.told(wanted, without))
            })
            .collect();
        let mut x = start;
        let mut before: Option<Array2<f32>> = None;
        for (i, &t) in steps.iter().enumerate() {
            if options.interrupted.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let mut clean = self.clean(&x, t, &all);
            let with_all = clean.clone();
            for (weight, without) in &guided {
                let without = self.clean(&x, t, without);
                clean = clean + (&with_all - &without) * *weight;
            }
            let estimate = match &before {
                Some(before) if sampler.is_second_order() => {
                    let [now, last] =
                        second_order([alpha_bar(i - 1), alpha_bar(i), alpha_bar(i + 1)]);
                    &clean * now as f32 + before * last as f32
                }
                _ => clean.clone(),
            };
            let step = step(sampler.is_ancestral(), alpha_bar(i), alpha_bar(i + 1));
            x = x * step.noisy as f32 + estimate * step.clean as f32;
            if step.noise > 0.0 {
                x = x + normals(rngs, self.model.whitening.n_latent()) * step.noise as f32;
            }
            before = Some(clean);
        }
        Ok(x)
    }

    /// What the denoiser is told of every row, without some attributes if asked; rows of padding as the last.
    fn told(&self, wanted: &[Wanted], without: impl Fn(usize) -> bool) -> Vec<Told> {
        let mut told: Vec<Told> = wanted
            .iter()
            .map(|wanted| {
                let depth = wanted.depth.map(|depth| self.depth_score(depth));
                Told::new(depth, wanted.conditions, &self.model.attributes, &without)
            })
            .collect();
        let last = told.last().cloned().unwrap_or_default();
        told.resize(TILE, last);
        told
    }

    /// The estimate of the clean latents.
    fn clean(&self, x: &Array2<f32>, t: usize, told: &[Told]) -> Array2<f32> {
        let n_latent = x.ncols();
        let noisy = tensor(x.iter().copied().collect(), [TILE, n_latent], &self.device);
        let v = values(self.denoiser.forward(noisy, &[t; TILE], told, &self.device));
        let v = Array2::from_shape_vec((TILE, n_latent), v).expect("v has the shape of x");
        let mix = PREDICTION.clean(self.schedule.alpha_bar(t));
        x * mix.noisy as f32 + v * mix.prediction as f32
    }

    /// Turns what a tile says into samples.
    fn finish(&self, tile: &Tile, wanted: &[Wanted]) -> Vec<Drawn> {
        let correlations = self.model.correlations.as_ref();
        let drawn = tile.compositions(wanted.len(), &self.model.calibration, correlations);
        (drawn.into_iter().zip(wanted).zip(&tile.depth))
            .map(|((shares, wanted), score)| Drawn {
                total: match wanted.depth {
                    Some(depth) => depth as f64,
                    None => self.total(f64::from(*score)),
                },
                shares,
            })
            .collect()
    }

    pub(super) fn total(&self, score: f64) -> f64 {
        let total = self.model.marginals.totals.value(score).exp();
        match self.model.is_whole {
            true => total.round().max(1.0),
            false => total,
        }
    }
}

impl Tile {
    /// The compositions of the first `n` rows: taxa that are present, and their shares, closed in the direction of
    /// their residuals.
    pub(super) fn compositions(
        &self,
        n: usize,
        calibration: &Calibration,
        correlations: Option<&Correlations>,
    ) -> Vec<Vec<(u32, f64)>> {
        let mut rows: Vec<_> = (0..n).map(|row| self.present(row, calibration)).collect();
        let mut spread = Array2::zeros((n, calibration.abundance.len()));
        let mut share = spread.clone();
        for (row, shares) in rows.iter().enumerate() {
            for &(taxon, x) in shares {
                let at = [row, taxon as usize];
                let (score, sd) = (f64::from(self.score[at]), f64::from(self.sd[at]));
                spread[at] = calibration.abundance[at[1]].spread(score, sd) as f32;
                share[at] = x as f32;
            }
        }
        let direction = direction(&spread, &share, correlations);
        for (shares, direction) in rows.iter_mut().zip(direction.rows()) {
            close(shares, |taxon| f64::from(direction[taxon as usize]));
        }
        rows
    }

    /// Taxa of a row that are present, and their shares before these are closed.
    fn present(&self, row: usize, calibration: &Calibration) -> Vec<(u32, f64)> {
        let Calibration {
            presence_offset,
            abundance,
        } = calibration;
        let share = |taxon: usize| {
            let score = f64::from(self.score[[row, taxon]]);
            abundance[taxon].log_share(score).exp()
        };
        let exists = |taxon: &usize| !abundance[*taxon].is_empty();
        let n_taxa = abundance.len();
        let mut shares: Vec<(u32, f64)> = (0..n_taxa)
            .filter(exists)
            .filter(|taxon| f64::from(self.open[[row, *taxon]]) + presence_offset[*taxon] > 0.0)
            .map(|taxon| (taxon as u32, share(taxon)))
            .collect();
        if shares.is_empty() {
            // A sample has something: the taxon that was most likely.
            let logit = |taxon: &usize| self.logit[[row, *taxon]];
            let most = (0..n_taxa)
                .filter(exists)
                .max_by(|a, b| logit(a).total_cmp(&logit(b)));
            shares.extend(most.map(|taxon| (taxon as u32, 1.0)));
        }
        shares
    }
}

/// How the logarithms of shares `x` move together when their sum is to change: `D R D x`, the covariance of their
/// residuals times the gradient of the sum.
///
/// - `spread`: standard deviations `D` of the logarithms, 0 where absent, `[n, n_taxa]`
/// - `share`: `[n, n_taxa]`
pub(super) fn direction(
    spread: &Array2<f32>,
    share: &Array2<f32>,
    correlations: Option<&Correlations>,
) -> Array2<f32> {
    let pull = spread * share;
    let moved = match correlations {
        Some(correlations) => correlations.times_abundance(&pull),
        None => pull,
    };
    moved * spread
}

/// Most that a logarithm is moved by.
const MAX_MOVE: f64 = 30.0;
/// First move that is tried.
const FIRST_MOVE: f64 = 0.01;

/// Moves shares so that they sum to 1: `x_i exp(l u_i)`, with the `l` nearest 0 that leads there.
///
/// In the [direction] of the residuals this is, to first order, their likeliest change that leads to the sum: a large taxon
/// takes those with it that go with it, and what stands near one read and goes with none stays there. Dividing all by
/// their sum would move all rare taxa of a sample up or down together, and with them its number of singletons. Where
/// no move leads there, all are divided by their sum.
///
/// - `direction`: `u` of each taxon
pub(super) fn close(shares: &mut [(u32, f64)], direction: impl Fn(u32) -> f64) {
    let moves: Vec<f64> = shares.iter().map(|(taxon, _)| direction(*taxon)).collect();
    let most = moves.iter().fold(0.0, |most: f64, u| most.max(u.abs()));
    let sum = |l: f64| -> f64 {
        let moved = shares.iter().zip(&moves);
        moved.map(|((_, x), u)| x * (l * u / most).exp()).sum()
    };
    if most > 0.0 {
        let is_above = sum(0.0) > 1.0;
        let (mut near, mut far) = (0.0, if is_above { -FIRST_MOVE } else { FIRST_MOVE });
        while far.abs() < MAX_MOVE && (sum(far) > 1.0) == is_above {
            (near, far) = (far, 2.0 * far);
        }
        if (sum(far) > 1.0) != is_above {
            // 50 halvings leave nothing of the interval.
            for _ in 0..50 {
                let middle = 0.5 * (near + far);
                match (sum(middle) > 1.0) == is_above {
                    true => near = middle,
                    false => far = middle,
                }
            }
            for ((_, x), u) in shares.iter_mut().zip(&moves) {
                *x *= (near * u / most).exp();
            }
        }
    }
    let left: f64 = shares.iter().map(|(_, share)| share).sum();
    shares.iter_mut().for_each(|(_, share)| *share /= left);
}

/// A stream of random numbers for each sample.
///
/// - `purpose`: samples of one purpose share nothing with those of another
pub(super) fn streams(purpose: &str, wanted: &[Wanted], seed: u64) -> Vec<ChaCha8Rng> {
    wanted
        .iter()
        .map(|wanted| generator(seed, Stage::Sampling, purpose, wanted.number))
        .collect()
}

/// The next normals of every row's stream, rows of padding 0: `[TILE, n]`.
fn normals(rngs: &mut [ChaCha8Rng], n: usize) -> Array2<f32> {
    let mut all = Array2::zeros((TILE, n));
    for (rng, mut row) in rngs.iter_mut().zip(all.rows_mut()) {
        row.iter_mut()
            .zip(standard_normal(rng, n))
            .for_each(|(to, value)| *to = value);
    }
    all
}

/// The logistic variable of the same order as a normal one.
pub(super) fn logistic_of_normal(e: f32) -> f32 {
    let e = f64::from(e);
    (normal::cdf(e).max(f64::MIN_POSITIVE).ln() - normal::cdf(-e).max(f64::MIN_POSITIVE).ln())
        as f32
}

/// What a decoder says of row `row` of `[n, n_taxa]` matrices.
pub(super) fn said_of<'a>(
    [logit, mean, log_sd]: [&'a [f32]; 3],
    row: usize,
    n_taxa: usize,
) -> Said<'a> {
    let range = row * n_taxa..(row + 1) * n_taxa;
    Said {
        presence_logit: &logit[range.clone()],
        mean: &mean[range.clone()],
        log_sd: &log_sd[range],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Closes by the shares themselves, which is the direction of independent residuals of one spread.
    fn close_by_share(shares: &mut [(u32, f64)]) {
        let x: Vec<f64> = shares.iter().map(|(_, share)| *share).collect();
        close(shares, |taxon| x[taxon as usize]);
    }

    #[test]
    fn closing_moves_large_shares_and_leaves_rare_taxa() {
        let mut shares = vec![(0, 0.5), (1, 0.2), (2, 1e-4)];
        close_by_share(&mut shares);
        let x: Vec<f64> = shares.iter().map(|(_, share)| *share).collect();
        assert!((x.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        // ln(x / x0) is in proportion to x0, but for what the last division leaves.
        let moved = [(x[0] / 0.5).ln(), (x[1] / 0.2).ln(), (x[2] / 1e-4).ln()];
        assert!((moved[0] / moved[1] - 2.5).abs() < 1e-6, "{moved:?}");
        assert!(moved[2].abs() < 1e-3 * moved[0], "{moved:?}");
        let mut closed = vec![(0, 0.7), (1, 0.3)];
        close_by_share(&mut closed);
        assert!((closed[0].1 - 0.7).abs() < 1e-12);
    }

    #[test]
    fn a_satellite_is_closed_with_the_large_taxon_that_it_goes_with() {
        // Residuals of taxon 2 have the correlation .8 with those of taxon 0, and half of their spread.
        let factor = ndarray::array![[1.0_f32, 0.0, 0.0], [0.0, 1.0, 0.0], [0.8, 0.0, 0.6]];
        let correlations = Correlations::Apart {
            presence: Array2::eye(3),
            abundance: factor,
        };
        let spread = ndarray::array![[1.0_f32, 1.0, 0.5]];
        let share = ndarray::array![[0.5_f32, 0.2, 1e-4]];
        let direction = direction(&spread, &share, Some(&correlations));
        // D R D x = (.5 + .4e-4, .2, .5 (.8 * .5 + .5e-4))
        for (found, expected) in direction.iter().zip([0.50004, 0.2, 0.200025]) {
            assert!((found - expected).abs() < 1e-6, "{found}");
        }
        for x in [0.5, 0.9] {
            let mut shares = vec![(0, x), (1, 0.2), (2, 1e-4)];
            close(&mut shares, |taxon| {
                f64::from(direction[[0, taxon as usize]])
            });
            let moved = [(shares[0].1 / x).ln(), (shares[2].1 / 1e-4).ln()];
            assert!(
                (moved[1] / moved[0] - 0.200025 / 0.50004).abs() < 1e-5,
                "{moved:?}"
            );
            assert!((shares.iter().map(|(_, x)| x).sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn of_two_moves_that_close_the_nearer_is_taken() {
        // exp(l) + exp(-2 l) / 2 is least at l = 0, and more than 1 there: all are divided by their sum.
        let mut nowhere = vec![(0, 1.0), (1, 0.5)];
        close(&mut nowhere, |taxon| [1.0, -2.0][taxon as usize]);
        assert!((nowhere[0].1 - 2.0 / 3.0).abs() < 1e-12, "{nowhere:?}");
        // .6 exp(l) + .2 exp(-l) = 1: l = ln((1 + sqrt(.52)) / 1.2) or ln((1 - sqrt(.52)) / 1.2); the nearer is the first.
        let mut two = vec![(0, 0.6), (1, 0.2)];
        close(&mut two, |taxon| [1.0, -1.0][taxon as usize]);
        let first = (1.0 + 0.52_f64.sqrt()) / 1.2;
        assert!((two[0].1 - 0.6 * first).abs() < 1e-9, "{two:?}");
    }

    #[test]
    fn what_no_move_can_close_is_divided_by_its_sum() {
        let mut many: Vec<(u32, f64)> = (0..400).map(|taxon| (taxon, 0.01)).collect();
        many.push((400, 1e3));
        close_by_share(&mut many);
        let sum: f64 = many.iter().map(|(_, share)| share).sum();
        assert!((sum - 1.0).abs() < 1e-12);
        for direction in [0.0, 1.0] {
            let mut one = vec![(3, 1e-5)];
            close(&mut one, |_| direction);
            assert!((one[0].1 - 1.0).abs() < 1e-12, "{one:?}");
        }
    }

    #[test]
    fn the_logistic_of_a_normal_has_its_order() {
        // Phi(1) = 0.8413447: its log-odds are 1.6682679 (scipy.special.logit(scipy.stats.norm.cdf(1)))
        assert!((logistic_of_normal(1.0) - 1.668_267_9).abs() < 1e-5);
        assert_eq!(logistic_of_normal(0.0), 0.0);
        assert!((logistic_of_normal(-6.0) + logistic_of_normal(6.0)).abs() < 1e-4);
        assert!(logistic_of_normal(40.0).is_finite());
    }
}

//! How what the decoder says becomes prevalences and abundances of the table: thresholds of presence and a map
//! from scores to shares, per taxon, set on generated samples.
//!
//! ```text
//! present where  logit + noise + offset > 0        mean of sigmoid(logit + offset) = prevalence
//! ln(share) = map(score)                           quantiles of the closed shares = those of the table
//! ```
//!
//! A forest that tells generated samples from real ones sees each small shift of one of hundreds of taxa, since
//! all generated samples share it. Shares move when a composition is closed, so maps are corrected for what
//! closing did to their quantiles, a few times over.

use super::Model;
use super::marginal::quantile;
use super::objective::TILE;
use super::profile::Marginals;
use super::residuals::Correlations;
use super::sampling::{SampleOptions, Tile, Wanted};
use crate::device;
use crate::error::Result;
use crate::rng::{Stage, generator};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use suffuse_stats::generate::normal;

/// Generated samples that must have a taxon before its map is changed.
const MIN_PRESENT: usize = 20;
/// Corrections for what closing does.
const N_CORRECTIONS: usize = 4;
/// Farthest that a knot is moved, in ln(share): farther is noise of few samples and not the effect of closing.
const MOST_MOVED: f64 = 1.0;
/// Entries of the generated samples that are held at a time, at most.
const MAX_ENTRIES: usize = 10_000_000;
/// Halvings of an interval of 80 log-odds.
const N_HALVINGS: usize = 50;

/// Per taxon: when it is present, and how abundant then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Calibration {
    /// Added to the log-odds of presence.
    pub(super) presence_offset: Vec<f64>,
    pub(super) abundance: Vec<AbundanceMap>,
}

/// ln(share) as a function of the decoder's score: linear between knots, constant beyond them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AbundanceMap {
    /// Rising; empty where the taxon was never seen.
    scores: Vec<f64>,
    /// Rising.
    logs: Vec<f64>,
}

impl AbundanceMap {
    /// Says whether the taxon was never seen.
    pub(super) fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    /// ln(share) at a score; `NaN` where the taxon was never seen.
    pub(super) fn log_share(&self, score: f64) -> f64 {
        interpolate(&self.scores, &self.logs, score)
    }

    /// The score at which the taxon has this ln(share); `NaN` where it was never seen.
    pub(super) fn score(&self, log_share: f64) -> f64 {
        interpolate(&self.logs, &self.scores, log_share)
    }

    /// Half of what ln(share) spans from one standard deviation below a score to one above.
    pub(super) fn spread(&self, score: f64, sd: f64) -> f64 {
        0.5 * (self.log_share(score + sd) - self.log_share(score - sd))
    }

    fn is_sound(&self, n_knots: usize) -> bool {
        let rises = |values: &[f64]| {
            values.iter().all(|value| value.is_finite())
                && values.windows(2).all(|pair| pair[0] <= pair[1])
        };
        let lengths = [self.scores.len(), self.logs.len()];
        lengths == [n_knots; 2] && rises(&self.scores) && rises(&self.logs)
    }
}

impl Calibration {
    /// What the decoder was trained for: no offsets, and the quantiles of the table at normal scores.
    pub(super) fn none(marginals: &Marginals) -> Calibration {
        let map = |marginal: &super::Marginal| AbundanceMap {
            scores: marginal.scores(),
            logs: marginal.knots().to_vec(),
        };
        Calibration {
            presence_offset: vec![0.0; marginals.shares.len()],
            abundance: marginals.shares.iter().map(map).collect(),
        }
    }

    /// Says whether the numbers are those of maps over the knots of these distributions.
    pub(super) fn is_sound(&self, shares: &[super::Marginal]) -> bool {
        let mut both = self.abundance.iter().zip(shares);
        self.presence_offset.iter().all(|offset| offset.is_finite())
            && both.all(|(map, marginal)| map.is_sound(marginal.knots().len()))
    }

    /// Sets thresholds and maps on generated samples of a model.
    ///
    /// - `prevalence`: share of the samples with each taxon
    /// - `conditions`: those of the samples to generate, in turn
    ///
    /// # Errors
    /// An interruption.
    pub(super) fn fit<'a>(
        model: &Model,
        prevalence: &[f64],
        conditions: impl FnMut(&mut ChaCha8Rng) -> Option<&'a [f32]>,
        options: &SampleOptions,
    ) -> Result<Calibration> {
        let tiles = generated(model, conditions, options)?;
        let marginals = &model.marginals;
        let mut found = Calibration::none(marginals);
        for (taxon, prevalence) in prevalence.iter().enumerate() {
            let logits: Vec<f64> = rows(&tiles)
                .map(|(tile, row)| f64::from(tile.logit[[row, taxon]]))
                .collect();
            found.presence_offset[taxon] = offset_for(&logits, *prevalence);
            let offset = found.presence_offset[taxon];
            let mut scores: Vec<f64> = rows(&tiles)
                .filter(|(tile, row)| f64::from(tile.open[[*row, taxon]]) + offset > 0.0)
                .map(|(tile, row)| f64::from(tile.score[[row, taxon]]))
                .collect();
            if scores.len() >= MIN_PRESENT {
                scores.sort_by(f64::total_cmp);
                let of = |score: &f64| quantile(&scores, normal::cdf(*score));
                let knots = marginals.shares[taxon].scores();
                found.abundance[taxon].scores = knots.iter().map(of).collect();
            }
        }
        for _ in 0..N_CORRECTIONS {
            found.correct(marginals, &tiles, model.correlations.as_ref());
        }
        Ok(found)
    }

    /// Moves the maps by how far the quantiles of closed shares lie from those of the table.
    fn correct(
        &mut self,
        marginals: &Marginals,
        tiles: &[(Tile, usize)],
        correlations: Option<&Correlations>,
    ) {
        let mut closed: Vec<Vec<f64>> = vec![Vec::new(); self.abundance.len()];
        let compositions = tiles
            .iter()
            .flat_map(|(tile, n)| tile.compositions(*n, self, correlations));
        for (taxon, share) in compositions.flatten() {
            closed[taxon as usize].push(share.ln());
        }
        let taxa = self.abundance.iter_mut().zip(&marginals.shares);
        for ((map, marginal), mut closed) in taxa.zip(closed) {
            if closed.len() < MIN_PRESENT {
                continue;
            }
            closed.sort_by(f64::total_cmp);
            let knots = marginal.scores().into_iter().zip(marginal.knots());
            let moved = map.logs.iter().zip(knots.clone());
            let moved = moved
                .map(|(log, (score, wanted))| log + wanted - quantile(&closed, normal::cdf(score)));
            let rising = nearest_rising(moved);
            for ((log, moved), (_, wanted)) in map.logs.iter_mut().zip(rising).zip(knots) {
                *log = moved.clamp(wanted - MOST_MOVED, wanted + MOST_MOVED);
            }
        }
    }
}

/// The nearest numbers that do not fall, by least squares: neighbours that fall are replaced by their mean.
fn nearest_rising(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut blocks: Vec<(f64, usize)> = Vec::new(); // mean, length
    for value in values {
        let (mut mean, mut n) = (value, 1);
        while let Some((before, n_before)) = blocks.last().copied().filter(|(m, _)| *m > mean) {
            mean = (before * n_before as f64 + mean * n as f64) / (n_before + n) as f64;
            n += n_before;
            blocks.pop();
        }
        blocks.push((mean, n));
    }
    let repeated = |(mean, n): (f64, usize)| std::iter::repeat_n(mean, n);
    blocks.into_iter().flat_map(repeated).collect()
}

/// Samples that are wanted, without the padding.
fn rows(tiles: &[(Tile, usize)]) -> impl Iterator<Item = (&Tile, usize)> {
    tiles
        .iter()
        .flat_map(|(tile, n)| (0..*n).map(move |row| (tile, row)))
}

/// Draws samples: tiles and their numbers of samples.
fn generated<'a>(
    model: &Model,
    mut conditions: impl FnMut(&mut ChaCha8Rng) -> Option<&'a [f32]>,
    options: &SampleOptions,
) -> Result<Vec<(Tile, usize)>> {
    let n_most = (MAX_ENTRIES / model.feature_ids.len()).max(TILE);
    let n = model.config.sampling.n_calibration.min(n_most);
    let mut rng = generator(model.seed, Stage::Validation, "calibration", 0);
    let wanted: Vec<Wanted> = (0..n)
        .map(|number| Wanted {
            number: number as u64,
            depth: None,
            conditions: conditions(&mut rng),
        })
        .collect();
    let bound = model.bind(&options.device)?;
    let tiles: Vec<&[Wanted]> = wanted.chunks(TILE).collect();
    device::each(&options.device, tiles.len(), |k| {
        let tile = bound.tile("calibration", tiles[k], options)?;
        Ok((tile, tiles[k].len()))
    })
}

/// Linear between knots, constant beyond them, `NaN` without any.
fn interpolate(from: &[f64], to: &[f64], x: f64) -> f64 {
    match from.partition_point(|knot| *knot < x) {
        _ if from.is_empty() => f64::NAN,
        0 => to[0],
        k if k == from.len() => to[k - 1],
        k => {
            let part = (x - from[k - 1]) / (from[k] - from[k - 1]);
            to[k - 1] + part * (to[k] - to[k - 1])
        }
    }
}

/// The offset with which the mean probability of presence is `prevalence`.
fn offset_for(logits: &[f64], prevalence: f64) -> f64 {
    let mean = |offset: f64| {
        let sum: f64 = logits
            .iter()
            .map(|logit| 1.0 / (1.0 + (-logit - offset).exp()))
            .sum();
        sum / logits.len() as f64
    };
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..N_HALVINGS {
        let middle = 0.5 * (low + high);
        match mean(middle) < prevalence {
            true => low = middle,
            false => high = middle,
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systems::sparse_microbiome::Marginal;
    use ndarray::Array2;

    #[test]
    fn the_offset_leads_to_the_prevalence() {
        let logits: Vec<f64> = (0..1000).map(|i| f64::from(i) / 100.0 - 7.0).collect();
        for prevalence in [0.001, 0.2, 0.7, 0.999] {
            let offset = offset_for(&logits, prevalence);
            let of = |logit: &f64| 1.0 / (1.0 + (-logit - offset).exp());
            let mean = logits.iter().map(of).sum::<f64>() / 1000.0;
            assert!((mean - prevalence).abs() < 1e-9, "{mean}");
        }
        // of one logit it has a closed form
        assert!((offset_for(&[0.4], 0.5) + 0.4).abs() < 1e-9);
    }

    #[test]
    fn what_falls_is_pooled() {
        // sklearn.isotonic.isotonic_regression([1, 5, 3, 2, 4])
        let found = nearest_rising([1.0, 5.0, 3.0, 2.0, 4.0].into_iter());
        let expected = [1.0, 10.0 / 3.0, 10.0 / 3.0, 10.0 / 3.0, 4.0];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert!(nearest_rising(std::iter::empty()).is_empty());
    }

    #[test]
    fn a_map_is_linear_between_its_knots_and_constant_beyond() {
        let map = AbundanceMap {
            scores: vec![-1.0, 0.0, 0.0, 2.0],
            logs: vec![-6.0, -4.0, -3.0, -1.0],
        };
        for (score, log) in [
            (-9.0, -6.0),
            (-0.5, -5.0),
            (1.0, -2.0),
            (2.0, -1.0),
            (9.0, -1.0),
        ] {
            assert!((map.log_share(score) - log).abs() < 1e-12, "{score}");
        }
        assert!((map.score(-5.0) + 0.5).abs() < 1e-12 && (map.score(-2.0) - 1.0).abs() < 1e-12);
        assert!(map.is_sound(4) && !map.is_sound(3));
        let never = AbundanceMap {
            scores: Vec::new(),
            logs: Vec::new(),
        };
        assert!(never.is_empty() && never.log_share(0.0).is_nan());
    }

    #[test]
    fn corrected_maps_give_closed_shares_the_quantiles_of_the_table() {
        // Two taxa that are always there: the shares of the first are those of the table, and the second is what is
        // left; the maps start far from both.
        let n = TILE;
        let share = |i: usize| 0.1 + 0.6 * (i as f64 + 0.5) / n as f64;
        let of =
            |share: &dyn Fn(usize) -> f64| Marginal::of((0..n).map(|i| share(i).ln()).collect());
        let marginals = Marginals {
            shares: vec![of(&share), of(&|i| 1.0 - share(i))],
            totals: Marginal::of(vec![1.0]),
        };
        let mut found = Calibration::none(&marginals);
        for map in &mut found.abundance {
            map.logs.iter_mut().for_each(|log| *log -= 0.4);
        }
        let score = |row: usize| normal::quantile((row as f64 + 0.5) / n as f64) as f32;
        let tile = Tile {
            open: Array2::ones((n, 2)),
            logit: Array2::ones((n, 2)),
            score: Array2::from_shape_fn((n, 2), |(row, taxon)| match taxon {
                0 => score(row),
                _ => -score(row),
            }),
            sd: Array2::ones((n, 2)),
            depth: vec![0.0; n],
        };
        let tiles = [(tile, n)];
        let off = |calibration: &Calibration| {
            let rows = [n / 10, n / 2, 9 * n / 10].into_iter();
            let found = tiles[0].0.compositions(n, calibration, None);
            let of = |row: usize| (found[row][0].1 / share(row) - 1.0).abs();
            rows.map(of).fold(0.0, f64::max)
        };
        assert!(off(&found) > 0.3);
        for _ in 0..N_CORRECTIONS {
            found.correct(&marginals, &tiles, None);
        }
        assert!(off(&found) < 0.04, "{}", off(&found));
    }
}

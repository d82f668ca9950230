//! Calibration of draws on entries whose truth is known: how far they scatter, and intervals that hold
//! what they say.

use crate::scores::{fair_crps, quantile};
use serde::{Deserialize, Serialize};

/// Levels of the calibrated intervals.
pub const LEVELS: [f64; 2] = [0.5, 0.9];

/// An entry of the calibration set, all in one unit.
#[derive(Debug, Clone, PartialEq)]
pub struct CalibrationEntry {
    /// True value.
    pub truth: f64,
    /// Predicted value.
    pub value: f64,
    /// Draws, at least two.
    pub draws: Vec<f64>,
}

/// How draws are stretched around the predicted value, and where intervals end in units of the standard
/// deviation of stretched draws.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Factor of the deviations of draws from the predicted value.
    pub stretch: f64,
    /// Smallest standard deviation of stretched draws, in the unit of the values.
    pub least_sd: f64,
    /// Ends of the intervals of [`LEVELS`], in standard deviations from the predicted value.
    pub ends: [(f64, f64); 2],
    /// Entries that it was made from.
    pub n: usize,
}

/// Fewest entries to calibrate from; with fewer the ends of a 90 % interval are not known.
pub const MIN_ENTRIES: usize = 40;

impl Calibration {
    /// Learns stretch and ends, or `None` from fewer than [`MIN_ENTRIES`] entries.
    ///
    /// The stretch is the one of a grid with the least mean CRPS. The ends are quantiles of
    /// `(truth - value) / sd` with the weight of one further entry added outside, as split conformal
    /// prediction has it (Lei 2018): if entries of a new table are exchangeable with these, a 90 %
    /// interval holds at least 90 % of them.
    pub fn fit(entries: &[CalibrationEntry]) -> Option<Calibration> {
        if entries.len() < MIN_ENTRIES {
            return None;
        }
        let crps = |stretch: f64| -> f64 {
            let of = |entry: &CalibrationEntry| {
                let mut draws = stretched(&entry.draws, entry.value, stretch);
                draws.sort_by(f64::total_cmp);
                fair_crps(&draws, entry.truth)
            };
            entries.iter().map(of).sum()
        };
        let grid = (0..N_STRETCHES).map(|k| 0.5 * STRETCH_STEP.powi(k));
        let stretch = grid
            .map(|stretch| (stretch, crps(stretch)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map_or(1.0, |(stretch, _)| stretch);
        let sds: Vec<f64> = entries
            .iter()
            .map(|e| stretch * sd(&e.draws, e.value))
            .collect();
        let mut sorted = sds.clone();
        sorted.sort_by(f64::total_cmp);
        let least_sd = (LEAST_SD * quantile(&sorted, 0.5)).max(f64::MIN_POSITIVE);
        let mut ratios: Vec<f64> = entries
            .iter()
            .zip(&sds)
            .map(|(entry, sd)| (entry.truth - entry.value) / sd.max(least_sd))
            .collect();
        ratios.sort_by(f64::total_cmp);
        let n = ratios.len();
        let ends = LEVELS.map(|level| {
            let outside = (1.0 - level) / 2.0;
            // Type 6 positions, p (n + 1), from 1: the extremes stand for what lies beyond them.
            let at = |p: f64| {
                let position = (p * (n + 1) as f64 - 1.0).clamp(0.0, (n - 1) as f64);
                quantile(&ratios, position / (n - 1) as f64)
            };
            (at(outside).min(0.0), at(1.0 - outside).max(0.0))
        });
        Some(Calibration {
            stretch,
            least_sd,
            ends,
            n,
        })
    }

    /// Draws stretched around the predicted value.
    pub fn draws(&self, draws: &[f64], value: f64) -> Vec<f64> {
        stretched(draws, value, self.stretch)
    }

    /// Intervals of [`LEVELS`] from stretched draws.
    pub fn intervals(&self, draws: &[f64], value: f64) -> [(f64, f64); 2] {
        let sd = sd(draws, value).max(self.least_sd);
        self.ends
            .map(|(low, high)| (value + low * sd, value + high * sd))
    }
}

/// Share of the median standard deviation that no entry goes below.
const LEAST_SD: f64 = 0.1;
/// Stretches on trial: .5 to 3.2 in steps of 5 %.
const N_STRETCHES: i32 = 39;
const STRETCH_STEP: f64 = 1.05;

fn stretched(draws: &[f64], value: f64, stretch: f64) -> Vec<f64> {
    draws
        .iter()
        .map(|draw| value + stretch * (draw - value))
        .collect()
}

/// Root mean square deviation from the predicted value.
fn sd(draws: &[f64], value: f64) -> f64 {
    let square: f64 = draws.iter().map(|draw| (draw - value).powi(2)).sum();
    (square / draws.len().max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, Normal};

    /// Truths of standard deviation `scale` around values, draws of standard deviation 1.
    fn entries(n: usize, scale: f64, seed: u64) -> Vec<CalibrationEntry> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let normal = Normal::new(0.0, 1.0).unwrap();
        (0..n)
            .map(|_| {
                let value = normal.sample(&mut rng);
                CalibrationEntry {
                    truth: value + scale * normal.sample(&mut rng),
                    value,
                    draws: (0..20).map(|_| value + normal.sample(&mut rng)).collect(),
                }
            })
            .collect()
    }

    impl Calibration {
        fn of(&self, draws: &[f64], value: f64) -> [(f64, f64); 2] {
            self.intervals(&self.draws(draws, value), value)
        }
    }

    #[test]
    fn draws_that_are_too_narrow_are_stretched_and_intervals_hold_what_they_say() {
        for scale in [0.7, 1.0, 2.0] {
            let calibration = Calibration::fit(&entries(4000, scale, 1)).unwrap();
            let stretch = calibration.stretch / scale;
            assert!((0.9..1.1).contains(&stretch), "{scale}: {calibration:?}");
            let fresh = entries(4000, scale, 2);
            for (slot, level) in LEVELS.into_iter().enumerate() {
                let is_inside = |entry: &&CalibrationEntry| {
                    let (low, high) = calibration.of(&entry.draws, entry.value)[slot];
                    low <= entry.truth && entry.truth <= high
                };
                let share = fresh.iter().filter(is_inside).count() as f64 / 4000.0;
                // Binomial, 4 sd of .0047 or .0079 on each side, and the same again for the ends.
                assert!((share - level).abs() < 0.045, "{scale} {level}: {share}");
            }
        }
    }

    #[test]
    fn small_calibration_sets_cover_as_split_conformal_prediction_says() {
        // Mean coverage over many small sets; type 6 quantiles cover the level exactly in expectation.
        let mut n_inside = 0;
        for seed in 0..400 {
            let calibration = Calibration::fit(&entries(60, 1.0, seed)).unwrap();
            for entry in entries(20, 1.0, 10_000 + seed) {
                let (low, high) = calibration.of(&entry.draws, entry.value)[1];
                n_inside += usize::from(low <= entry.truth && entry.truth <= high);
            }
        }
        let share = n_inside as f64 / 8000.0;
        assert!((0.885..0.915).contains(&share), "{share}");
    }

    #[test]
    fn too_few_entries_calibrate_nothing_and_equal_draws_do_no_harm() {
        assert_eq!(Calibration::fit(&entries(MIN_ENTRIES - 1, 1.0, 1)), None);
        let mut constant = entries(50, 1.0, 1);
        for entry in &mut constant {
            entry.draws = vec![entry.value; 5];
        }
        let calibration = Calibration::fit(&constant).unwrap();
        let (low, high) = calibration.intervals(&[1.0; 5], 1.0)[1];
        assert!(low.is_finite() && high.is_finite() && low <= 1.0 && high >= 1.0);
    }
}

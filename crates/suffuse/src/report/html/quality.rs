//! How sure: coverage of intervals and ranks of the truth among draws, on hidden entries.

use super::svg::{Axis, Chart};
use crate::auto::Tested;
use suffuse_stats::calibration::{Calibration, CalibrationEntry, LEVELS};

/// What intervals promise and hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quality {
    /// Hidden entries.
    pub(super) n: usize,
    /// Promised and observed coverage of the intervals between draws, rising.
    pub(super) curve: Vec<(f64, f64)>,
    /// Observed coverage of the calibrated 50 % and 90 % intervals; `None` where too little was known to
    /// calibrate.
    pub(super) intervals: Option<[f64; 2]>,
    /// Per group of ranks of the truth among the draws: entries found, divided by those expected.
    /// Empty where no draws are at hand.
    pub(super) ranks: Vec<f64>,
}

/// Folds of samples: each is calibrated on the others, so that coverage is not judged on the entries
/// that it was made from.
const N_FOLDS: usize = 5;
/// Points of the curve and bars of the histogram, at most.
const MAX_POINTS: usize = 12;
const MAX_BARS: usize = 10;

impl Quality {
    /// Judges the draws of what is used; `None` without two draws of an entry.
    ///
    /// An interval between the k-th lowest and the k-th highest of `m` draws holds the truth with
    /// probability `(m + 1 - 2k) / (m + 1)` if the truth is one more draw; so is each of the `m + 1` ranks
    /// of the truth as likely as another (Hamill 2001).
    pub(super) fn of(tested: &Tested) -> Option<Quality> {
        let n_draws = tested.said.iter().map(|e| e.draws.len()).min()?;
        if n_draws < 2 {
            return None;
        }
        let mut samples: Vec<usize> = tested.places.iter().map(|(sample, _)| *sample).collect();
        samples.sort_unstable();
        samples.dedup();
        let fold_of = |sample: usize| samples.binary_search(&sample).unwrap_or(0) % N_FOLDS;
        let calibrations: Vec<Option<Calibration>> = (0..N_FOLDS)
            .map(|fold| {
                let others: Vec<CalibrationEntry> = tested
                    .said
                    .iter()
                    .zip(&tested.places)
                    .filter(|(_, (sample, _))| fold_of(*sample) != fold)
                    .map(|(said, _)| said.clone())
                    .collect();
                Calibration::fit(&others)
            })
            .collect();
        let mut at_rank = vec![0_usize; n_draws + 1];
        let (mut inside, mut n_calibrated) = ([0_usize; 2], 0);
        for (said, (sample, _)) in tested.said.iter().zip(&tested.places) {
            let calibration = &calibrations[fold_of(*sample)];
            let draws = match calibration {
                Some(calibration) => calibration.draws(&said.draws, said.value),
                None => said.draws.clone(),
            };
            let below = draws[..n_draws].iter().filter(|d| **d < said.truth).count();
            at_rank[below] += 1;
            if let Some(calibration) = calibration {
                n_calibrated += 1;
                let intervals = calibration.intervals(&draws, said.value);
                for (inside, (low, high)) in inside.iter_mut().zip(intervals) {
                    *inside += usize::from(low <= said.truth && said.truth <= high);
                }
            }
        }
        let n = tested.said.len();
        let n_pairs = n_draws.div_ceil(2);
        let step = n_pairs.div_ceil(MAX_POINTS).max(1);
        let mut curve: Vec<(f64, f64)> = (1..=n_draws / 2)
            .step_by(step)
            .map(|k| {
                let held: usize = at_rank[k..=n_draws - k].iter().sum();
                let promised = (n_draws + 1 - 2 * k) as f64 / (n_draws + 1) as f64;
                (promised, held as f64 / n as f64)
            })
            .collect();
        curve.reverse();
        let n_bars = at_rank.len().min(MAX_BARS);
        let edge = |bar: usize| bar * at_rank.len() / n_bars;
        let ranks = (0..n_bars)
            .map(|bar| {
                let ranks = edge(bar)..edge(bar + 1);
                let expected = n as f64 * ranks.len() as f64 / at_rank.len() as f64;
                at_rank[ranks].iter().sum::<usize>() as f64 / expected
            })
            .collect();
        Some(Quality {
            n,
            curve,
            intervals: (n_calibrated == n)
                .then(|| inside.map(|inside| inside as f64 / n.max(1) as f64)),
            ranks,
        })
    }

    /// Promised against observed coverage.
    pub(super) fn coverage_chart(&self) -> String {
        let dots = self.intervals.map(|held| LEVELS.into_iter().zip(held));
        let dots: Vec<(String, f64, f64)> = dots
            .into_iter()
            .flatten()
            .map(|(level, held)| (format!("{:.0} %", 100.0 * held), level, held))
            .collect();
        coverage_chart("coverage", &self.curve, &dots)
    }

    /// Ranks of the truth among the draws.
    pub(super) fn rank_chart(&self) -> String {
        let most = self.ranks.iter().fold(1.0_f64, |most, bar| most.max(*bar));
        let mut x = Axis::from_zero("rank of the true value among the draws", 1.0);
        x.range = (0.0, 1.0);
        x.ticks = [(0.06, "lowest"), (0.5, "middle"), (0.94, "highest")]
            .map(|(at, text)| (at, text.to_string()))
            .to_vec();
        let y = Axis::from_zero("found / expected", most);
        let mut chart = Chart::new(x, y, SIZE);
        let width = 1.0 / self.ranks.len() as f64;
        for (k, bar) in self.ranks.iter().enumerate() {
            let ends = (k as f64 * width, (k + 1) as f64 * width);
            chart.bar(
                "bar",
                ends,
                *bar,
                &format!("{bar:.2} times as many as expected"),
            );
        }
        chart.line("reference", &[(0.0, 1.0), (1.0, 1.0)]);
        chart.finish(
            "ranks",
            "Rank of the true value among the draws",
            &format!(
                "Histogram of {} bars for {} hidden entries; all bars are near 1 if the draws are right. From the lowest rank to the highest: {}.",
                self.ranks.len(),
                self.n,
                list(&self.ranks)
            ),
        )
    }
}

/// Size of a chart of this section.
const SIZE: (f64, f64) = (360.0, 300.0);

fn list(values: &[f64]) -> String {
    let texts: Vec<String> = values.iter().map(|value| format!("{value:.2}")).collect();
    texts.join(", ")
}

/// Promised against observed coverage: a curve, and single intervals with a text.
pub(super) fn coverage_chart(
    id: &str,
    curve: &[(f64, f64)],
    dots: &[(String, f64, f64)],
) -> String {
    let percent = |name: &str| {
        let mut axis = Axis::from_zero(name, 1.0);
        axis.range = (0.0, 1.0);
        axis.ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
            .map(|at| (at, format!("{:.0} %", 100.0 * at)))
            .to_vec();
        axis
    };
    let axes = [
        percent("the interval promises"),
        percent("it held the truth"),
    ];
    let [x, y] = axes;
    let mut chart = Chart::new(x, y, SIZE);
    chart.line("reference", &[(0.0, 0.0), (1.0, 1.0)]);
    if curve.len() > 1 {
        chart.line("curve", curve);
    }
    for (promised, held) in curve {
        let name = format!(
            "promised {:.0} %, held {:.0} %",
            100.0 * promised,
            100.0 * held
        );
        chart.circle("dot small", (*promised, *held), 2.5, &name);
    }
    for (text, promised, held) in dots {
        let name = format!(
            "the {:.0} % interval held {:.1} %",
            100.0 * promised,
            100.0 * held
        );
        chart.square("mark", (*promised, *held), 4.5, &name);
        if *promised < 0.85 {
            chart.text((*promised, *held), text);
        }
    }
    let said: Vec<String> = dots
        .iter()
        .map(|(_, promised, held)| {
            format!(
                "the {:.0} % interval held the truth in {:.1} %",
                100.0 * promised,
                100.0 * held
            )
        })
        .collect();
    let description = format!(
        "Points near the diagonal mean that intervals hold what they promise. {}",
        said.join("; ")
    );
    chart.finish(id, "Coverage of the intervals", &description)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Truth of rank `k % 10` among nine draws: each rank as often as another.
    fn tested(n: usize) -> Tested {
        let said = (0..n).map(|k| CalibrationEntry {
            truth: (k % 10) as f64 - 4.5,
            value: 0.0,
            draws: (0..9).map(|draw| f64::from(draw) - 4.0).collect(),
        });
        Tested {
            // Each sample holds all ranks.
            places: (0..n).map(|k| (k / 10, k % 10)).collect(),
            said: said.collect(),
            ..Tested::default()
        }
    }

    #[test]
    fn draws_that_are_right_lie_on_the_diagonal_with_flat_ranks() {
        // 30 entries calibrate nothing, so the draws stay as they are.
        let quality = Quality::of(&tested(30)).unwrap();
        assert_eq!((quality.n, quality.intervals), (30, None));
        let expected = [0.2, 0.4, 0.6, 0.8];
        for ((promised, held), expected) in quality.curve.iter().zip(expected) {
            assert!((promised - expected).abs() < 1e-12 && (held - expected).abs() < 1e-12);
        }
        assert_eq!(quality.ranks, vec![1.0; 10]);
    }

    #[test]
    fn calibrated_intervals_are_judged_on_samples_that_they_were_not_made_from() {
        let quality = Quality::of(&tested(500)).unwrap();
        let [half, most] = quality.intervals.unwrap();
        assert!(
            (0.4..=0.6).contains(&half) && (0.8..=1.0).contains(&most),
            "{half} {most}"
        );
        assert!(quality.coverage_chart().contains("90 % interval held"));
        assert!(quality.rank_chart().contains("10 bars"));
        assert_eq!(Quality::of(&Tested::default()), None);
    }
}

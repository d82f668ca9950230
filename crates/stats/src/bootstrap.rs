//! Bootstrap intervals of ratios, over whole groups of samples.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// A ratio with its central 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// The ratio.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What a group of samples adds to the two sums of a ratio.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Shares {
    /// Part of the numerator.
    pub above: f64,
    /// Part of the denominator.
    pub below: f64,
}

/// Replicates: the ends move by about 1 % of the interval's width from seed to seed.
const N_REPLICATES: usize = 2000;

/// `f(sum above / sum below)` with the percentile interval (Efron and Tibshirani 1993, chapter 13) of
/// groups drawn with replacement. Both sums are drawn together, so the interval is that of a paired
/// comparison.
///
/// - `f`: rises, as the square root does that turns squared errors into a ratio of RMSE
/// - returns `None` without groups or with a denominator of 0
pub fn ratio(groups: &[Shares], f: fn(f64) -> f64, seed: u64) -> Option<Ratio> {
    let sum = |sum: Shares, group: &Shares| Shares {
        above: sum.above + group.above,
        below: sum.below + group.below,
    };
    let all = groups.iter().fold(Shares::default(), sum);
    if all.below.is_nan() || all.below <= 0.0 {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut replicates: Vec<f64> = (0..N_REPLICATES)
        .filter_map(|_| {
            let drawn = (0..groups.len()).fold(Shares::default(), |drawn, _| {
                sum(drawn, &groups[rng.random_range(0..groups.len())])
            });
            (drawn.below > 0.0).then(|| f(drawn.above / drawn.below))
        })
        .collect();
    replicates.sort_by(f64::total_cmp);
    Some(Ratio {
        value: f(all.above / all.below),
        low: crate::scores::quantile(&replicates, 0.025),
        high: crate::scores::quantile(&replicates, 0.975),
    })
}

/// A number with its central 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The number.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What a group of samples adds to an area under the receiver operating characteristic: the sums of the
/// [`placements`](crate::ranks::placements) of its positives and of its negatives.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Placed {
    /// Positives of the group.
    pub n_positive: f64,
    /// Negatives of the group.
    pub n_negative: f64,
    /// Sum of the placements of the positives.
    pub positive: f64,
    /// Sum of the placements of the negatives.
    pub negative: f64,
}

/// The difference of two areas, each the mean placement of the positives, with the percentile interval of
/// groups drawn with replacement, the same for both.
///
/// A drawn area is taken to first order: `mean placement of the positives drawn + that of the negatives
/// drawn - that of all negatives` (DeLong, DeLong and Clarke-Pearson 1988; Obuchowski 1997 for groups).
///
/// - `groups`: the two areas' parts of each group
/// - returns `None` without a positive or without a negative
pub fn area_difference(groups: &[[Placed; 2]], seed: u64) -> Option<Interval> {
    let sum = |mut sum: [Placed; 2], group: &[Placed; 2]| {
        for (sum, part) in sum.iter_mut().zip(group) {
            sum.n_positive += part.n_positive;
            sum.n_negative += part.n_negative;
            sum.positive += part.positive;
            sum.negative += part.negative;
        }
        sum
    };
    let nothing = [Placed::default(); 2];
    let all = groups.iter().fold(nothing, sum);
    if all
        .iter()
        .any(|p| !(p.n_positive > 0.0 && p.n_negative > 0.0))
    {
        return None;
    }
    let area = |drawn: &Placed, all: &Placed| {
        drawn.positive / drawn.n_positive + drawn.negative / drawn.n_negative
            - all.negative / all.n_negative
    };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut replicates: Vec<f64> = (0..N_REPLICATES)
        .filter_map(|_| {
            let drawn = (0..groups.len()).fold(nothing, |drawn, _| {
                sum(drawn, &groups[rng.random_range(0..groups.len())])
            });
            let difference = area(&drawn[0], &all[0]) - area(&drawn[1], &all[1]);
            difference.is_finite().then_some(difference)
        })
        .collect();
    replicates.sort_by(f64::total_cmp);
    Some(Interval {
        value: all[0].positive / all[0].n_positive - all[1].positive / all[1].n_positive,
        low: crate::scores::quantile(&replicates, 0.025),
        high: crate::scores::quantile(&replicates, 0.975),
    })
}

/// An area under the receiver operating characteristic with its percentile interval, drawn as in
/// [`area_difference`].
///
/// - returns `None` without a positive or without a negative
pub fn area(groups: &[Placed], seed: u64) -> Option<Interval> {
    // Scores that say nothing have the area 1/2 in every draw.
    let paired: Vec<[Placed; 2]> = groups
        .iter()
        .map(|group| {
            let no_score = Placed {
                positive: 0.5 * group.n_positive,
                negative: 0.5 * group.n_negative,
                ..*group
            };
            [*group, no_score]
        })
        .collect();
    let Interval { value, low, high } = area_difference(&paired, seed)?;
    let [value, low, high] = [value, low, high].map(|x| x + 0.5);
    Some(Interval { value, low, high })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, Normal};

    #[test]
    fn the_interval_has_the_width_of_the_delta_method() {
        // A ratio of means with a_i = 2 b_i + e_i: its variance is var(e) / (n mean(b)^2).
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let noise = Normal::new(0.0, 1.0).unwrap();
        let groups: Vec<Shares> = (0..400)
            .map(|_| {
                let below = 5.0 + noise.sample(&mut rng);
                let above = 2.0 * below + noise.sample(&mut rng);
                Shares { above, below }
            })
            .collect();
        let found = ratio(&groups, |x| x, 1).unwrap();
        let half = 1.96 / (400.0_f64.sqrt() * 5.0);
        assert!((found.value - 2.0).abs() < 2.0 * half, "{found:?}");
        let width = (found.high - found.low) / (2.0 * half);
        assert!((0.85..1.15).contains(&width), "{found:?} against {half}");
    }

    #[test]
    fn equal_parts_have_no_spread_and_nothing_has_no_ratio() {
        let groups = [Shares {
            above: 1.0,
            below: 4.0,
        }; 7];
        let found = ratio(&groups, f64::sqrt, 1).unwrap();
        assert_eq!((found.value, found.low, found.high), (0.5, 0.5, 0.5));
        assert_eq!(ratio(&[], f64::sqrt, 1), None);
        assert_eq!(ratio(&[Shares::default()], f64::sqrt, 1), None);
    }

    /// Scores of entries in groups with their own level of noise, and which are positive.
    fn entries(rng: &mut ChaCha8Rng) -> Vec<Vec<([f64; 2], bool)>> {
        let noise = Normal::new(0.0, 1.0).unwrap();
        (0..150)
            .map(|_| {
                let shift = noise.sample(rng);
                (0..12)
                    .map(|k| {
                        let is_positive = k % 3 == 0;
                        let signal = f64::from(u8::from(is_positive));
                        let shared = noise.sample(rng);
                        let a = 1.2 * signal + 0.5 * shift + shared;
                        let b = 0.7 * signal + shared + 0.5 * noise.sample(rng);
                        ([a, b], is_positive)
                    })
                    .collect()
            })
            .collect()
    }

    fn areas(groups: &[&Vec<([f64; 2], bool)>]) -> [f64; 2] {
        let all: Vec<_> = groups.iter().flat_map(|group| group.iter()).collect();
        let is_positive: Vec<bool> = all.iter().map(|(_, p)| *p).collect();
        [0, 1].map(|which| {
            let scores: Vec<f64> = all.iter().map(|(scores, _)| scores[which]).collect();
            crate::ranks::auroc(&scores, &is_positive).unwrap()
        })
    }

    #[test]
    fn the_interval_is_that_of_areas_computed_anew_from_drawn_groups() {
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let groups = entries(&mut rng);
        let all: Vec<_> = groups.iter().flatten().collect();
        let is_positive: Vec<bool> = all.iter().map(|(_, p)| *p).collect();
        let places = [0, 1].map(|which| {
            let scores: Vec<f64> = all.iter().map(|(scores, _)| scores[which]).collect();
            crate::ranks::placements(&scores, &is_positive).unwrap()
        });
        let placed: Vec<[Placed; 2]> = (0..groups.len())
            .map(|group| {
                [0, 1].map(|which| {
                    let mut placed = Placed::default();
                    for at in 12 * group..12 * (group + 1) {
                        let (n, sum) = match is_positive[at] {
                            true => (&mut placed.n_positive, &mut placed.positive),
                            false => (&mut placed.n_negative, &mut placed.negative),
                        };
                        *n += 1.0;
                        *sum += places[which][at];
                    }
                    placed
                })
            })
            .collect();
        let found = area_difference(&placed, 1).unwrap();
        let [a, b] = areas(&groups.iter().collect::<Vec<_>>());
        assert!((found.value - (a - b)).abs() < 1e-12);
        let mut drawn: Vec<f64> = (0..1000)
            .map(|_| {
                let n = groups.len();
                let groups: Vec<_> = (0..n).map(|_| &groups[rng.random_range(0..n)]).collect();
                let [a, b] = areas(&groups);
                a - b
            })
            .collect();
        drawn.sort_by(f64::total_cmp);
        let (low, high) = (drawn[25], drawn[974]);
        let width = (found.high - found.low) / (high - low);
        assert!(
            (0.9..1.1).contains(&width),
            "{found:?} against {low} {high}"
        );
        assert!(
            (found.low - low).abs() < 0.1 * (high - low),
            "{found:?}, {low}"
        );
        assert_eq!(area_difference(&[], 1), None);
        let none = [[Placed::default(); 2]; 3];
        assert_eq!(area_difference(&none, 1), None);
    }

    #[test]
    fn the_interval_of_one_area_has_the_width_of_hanley_and_mcneil() {
        // Their variance is exact for exponential scores; normal ones come close.
        let mut rng = ChaCha8Rng::seed_from_u64(21);
        let noise = Normal::new(0.0, 1.0).unwrap();
        let is_positive: Vec<bool> = (0..900).map(|k| k % 3 == 0).collect();
        let scores: Vec<f64> = is_positive
            .iter()
            .map(|p| noise.sample(&mut rng) + if *p { 0.5 } else { 0.0 })
            .collect();
        let places = crate::ranks::placements(&scores, &is_positive).unwrap();
        let placed: Vec<Placed> = places
            .iter()
            .zip(&is_positive)
            .map(|(place, p)| match p {
                true => Placed {
                    n_positive: 1.0,
                    positive: *place,
                    ..Placed::default()
                },
                false => Placed {
                    n_negative: 1.0,
                    negative: *place,
                    ..Placed::default()
                },
            })
            .collect();
        let found = area(&placed, 1).unwrap();
        let a = crate::ranks::auroc(&scores, &is_positive).unwrap();
        assert!((found.value - a).abs() < 1e-12);
        let (n, m) = (300.0, 600.0);
        let (q1, q2) = (a / (2.0 - a), 2.0 * a * a / (1.0 + a));
        let variance =
            (a * (1.0 - a) + (n - 1.0) * (q1 - a * a) + (m - 1.0) * (q2 - a * a)) / (n * m);
        let width = (found.high - found.low) / (2.0 * 1.96 * variance.sqrt());
        assert!((0.9..1.1).contains(&width), "{found:?}, {width}");
        assert_eq!(area(&[Placed::default()], 1), None);
    }
}

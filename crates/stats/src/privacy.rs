//! Does a synthetic table give its training samples away? Distances to the closest records, membership
//! inference, copies.
//!
//! ```text
//! train, hold-out, synthetic -> compositions -> each sample's closest record in the other tables
//!   -> share closest to train, ratios of distances, membership AUROC     (with bootstrap intervals)
//!   -> exact copies, exact values                                        -> verdict
//! ```
//!
//! The hold-out holds samples of the same kind that the generator never saw. What holds for it is what an
//! honest generator reaches; only what goes beyond it is a leak. These figures find memorised samples.
//! They prove nothing about what a cleverer attack would find; [`accountant`] says what a training with
//! noise guarantees.

pub mod accountant;
mod nearest;
mod records;

pub use records::Distance;

use crate::bootstrap::{Interval, Placed, Ratio, Shares, area, ratio};
use crate::error::check_length;
use crate::ranks::placements;
use crate::scores::quantile;
use crate::{Error, Result};
use ndarray::Array2;
use nearest::{Nearest, closest_of, nearest};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use records::{Records, points};
use serde::Serialize;

/// Three tables over the same taxa, `[n_samples, n_taxa]`: abundances in any unit, not negative.
#[derive(Debug, Clone, Copy)]
pub struct Tables<'a> {
    /// What the generator was fitted to.
    pub train: &'a Array2<f64>,
    /// Samples of the same kind that it never saw.
    pub holdout: &'a Array2<f64>,
    /// What it generated.
    pub synthetic: &'a Array2<f64>,
}

/// What synthetic samples tell of the training samples.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Privacy {
    /// Samples of each table with a non-zero entry; the others have no composition and are left out.
    pub n: Counts,
    /// Samples left out.
    pub n_empty: Counts,
    /// Per distance: Bray-Curtis, then Aitchison.
    pub distances: Vec<Closeness>,
    /// Synthetic samples with the composition of a training sample, to the last bit: their share.
    pub copies: f64,
    /// The same share among the hold-out samples.
    pub copies_of_holdout: f64,
    /// Non-zero relative abundances that the same taxon has in a training sample, to the last bit: their
    /// share. `NaN` without a non-zero entry.
    pub values: f64,
    /// The same share among the hold-out samples.
    pub values_of_holdout: f64,
    /// Each thing asked.
    pub criteria: Vec<Criterion>,
    /// The worst of them.
    pub verdict: Verdict,
}

/// Numbers of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Of the training table.
    pub train: usize,
    /// Of the hold-out.
    pub holdout: usize,
    /// Of the synthetic table.
    pub synthetic: usize,
}

/// How close synthetic samples lie to training samples, and how close to the hold-out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Closeness {
    /// The distance.
    pub distance: Distance,
    /// Share of the synthetic samples whose closest record is a training sample, where training samples
    /// and hold-out are equal in number; ties count half. 0.5 is none of one's own.
    pub share: Interval,
    /// How well a real sample's distance to its closest synthetic record tells training samples from
    /// hold-out samples: an area under the curve, 0.5 is not at all.
    pub membership: Interval,
    /// Median distance of a synthetic sample to its closest training sample.
    pub to_train: f64,
    /// Median distance of a hold-out sample to its closest training sample.
    pub holdout_to_train: f64,
    /// The first over the second; much below 1 is too close. `NaN` where the second is 0.
    pub ratio: f64,
    /// Mean ratio of a synthetic sample's distances to its closest and its second closest training sample;
    /// a copy has 0. `NaN` with one training sample.
    pub neighbour_ratio: f64,
    /// The same for hold-out samples.
    pub holdout_neighbour_ratio: f64,
}

/// Something that a private table does not show.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Criterion {
    /// What is asked, with its bound.
    pub what: String,
    /// What was found.
    pub found: f64,
    /// Its interval, where it has one.
    pub interval: Option<[f64; 2]>,
    /// Whether it holds.
    pub verdict: Verdict,
}

impl Privacy {
    /// Says whether synthetic samples lie closer to the hold-out than to the training samples, by any distance.
    pub fn is_of_the_holdout(&self) -> bool {
        let closeness = self.distances.iter();
        closeness.into_iter().any(|d| d.share.high < SMALLEST_SHARE)
    }
}

/// Whether something holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The interval lies within the bound.
    Pass,
    /// The interval lies on both sides of the bound, so that more samples would tell; or synthetic samples
    /// lie closer to the hold-out than to the training samples.
    Unclear,
    /// The interval lies beyond the bound.
    Fail,
}

/// Largest share of synthetic samples that may lie closest to a training sample.
pub const LARGEST_SHARE: f64 = 0.55;
/// Smallest such share: below it the generator avoids its training samples, as from another population.
pub const SMALLEST_SHARE: f64 = 0.45;
/// Largest membership area.
pub const LARGEST_MEMBERSHIP: f64 = 0.55;
/// Groups of samples below which the bootstrap says too little of how uncertain a figure is: of three that agree
/// it draws the same again and again.
const FEW_GROUPS: usize = 20;
/// Subsamples of the larger of training table and hold-out; the share is their mean.
const N_SUBSAMPLES: usize = 20;

/// Compares a synthetic table with what it was made from and with what it was not.
///
/// - `seed`: of the subsamples and the bootstrap
///
/// # Errors
/// Tables of different numbers of taxa; an entry that is negative or not finite; a table without a sample
/// that has a non-zero entry.
///
/// # Example
/// ```
/// use ndarray::array;
/// use suffuse_stats::privacy::{Tables, Verdict, privacy};
/// let train = array![[4.0, 1.0, 0.0], [1.0, 1.0, 3.0], [0.0, 2.0, 9.0]];
/// let holdout = array![[3.0, 1.0, 0.0], [1.0, 2.0, 3.0], [1.0, 2.0, 9.0]];
/// let found = privacy(&Tables { train: &train, holdout: &holdout, synthetic: &train }, 1).unwrap();
/// assert_eq!((found.copies, found.distances[0].share.value), (1.0, 1.0));
/// assert_eq!(found.verdict, Verdict::Fail);
/// ```
pub fn privacy(tables: &Tables<'_>, seed: u64) -> Result<Privacy> {
    let n_taxa = tables.train.ncols();
    check_length("taxa of the hold-out", tables.holdout.ncols(), n_taxa)?;
    check_length(
        "taxa of the synthetic table",
        tables.synthetic.ncols(),
        n_taxa,
    )?;
    let [train, holdout, synthetic] = [
        Records::new("training table", tables.train)?,
        Records::new("hold-out", tables.holdout)?,
        Records::new("synthetic table", tables.synthetic)?,
    ];
    let distances = [Distance::BrayCurtis, Distance::Aitchison]
        .into_iter()
        .map(|distance| closeness(distance, [&train, &holdout, &synthetic], seed))
        .collect::<Result<Vec<_>>>()?;
    let mut found = Privacy {
        n: Counts {
            train: train.n(),
            holdout: holdout.n(),
            synthetic: synthetic.n(),
        },
        n_empty: Counts {
            train: train.n_empty,
            holdout: holdout.n_empty,
            synthetic: synthetic.n_empty,
        },
        distances,
        copies: synthetic.copies_of(&train),
        copies_of_holdout: holdout.copies_of(&train),
        values: synthetic.values_of(&train),
        values_of_holdout: holdout.values_of(&train),
        criteria: Vec::new(),
        verdict: Verdict::Pass,
    };
    found.criteria = criteria(&found);
    found.verdict = found
        .criteria
        .iter()
        .map(|criterion| criterion.verdict)
        .max()
        .unwrap_or(Verdict::Pass);
    Ok(found)
}

fn closeness(
    distance: Distance,
    [train, holdout, synthetic]: [&Records; 3],
    seed: u64,
) -> Result<Closeness> {
    let pseudocount = train.half_smallest();
    let [train, holdout, synthetic] =
        [train, holdout, synthetic].map(|records| points(records, distance, pseudocount));
    let subsamples = subsamples(train.nrows(), holdout.nrows(), seed);
    let near_train = nearest(distance, &synthetic, &train, &subsamples.train);
    let near_holdout = nearest(distance, &synthetic, &holdout, &subsamples.holdout);
    let holdout_near_train = nearest(distance, &holdout, &train, &[]);
    let n_real = [train.nrows(), holdout.nrows()];
    let groups = by_closest_record(&near_train, &near_holdout, n_real);
    let (to_train, holdout_to_train) = (median(&near_train), median(&holdout_near_train));
    Ok(Closeness {
        distance,
        share: share(&groups, seed).ok_or_else(no_samples)?,
        membership: membership(
            &closest_of(distance, &train, &synthetic),
            &closest_of(distance, &holdout, &synthetic),
            seed,
        )?,
        to_train,
        holdout_to_train,
        ratio: if holdout_to_train > 0.0 {
            to_train / holdout_to_train
        } else {
            f64::NAN
        },
        neighbour_ratio: neighbour_ratio(&near_train),
        holdout_neighbour_ratio: neighbour_ratio(&holdout_near_train),
    })
}

/// What each real sample adds to the share: of the synthetic samples that it is closest to, those that count
/// for the training table. Synthetic samples with one closest record are not independent, so the interval
/// draws real samples.
fn by_closest_record(
    near_train: &[Nearest],
    near_holdout: &[Nearest],
    [n_train, n_holdout]: [usize; 2],
) -> Vec<Shares> {
    let mut groups = vec![Shares::default(); n_train + n_holdout];
    for (to_train, to_holdout) in near_train.iter().zip(near_holdout) {
        let weight = 1.0 / to_train.in_subsamples.len() as f64;
        for (train, holdout) in to_train.in_subsamples.iter().zip(&to_holdout.in_subsamples) {
            let for_train = match train.1.total_cmp(&holdout.1) {
                std::cmp::Ordering::Less => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Greater => 0.0,
            };
            groups[train.0].above += weight * for_train;
            groups[train.0].below += weight * for_train;
            groups[n_train + holdout.0].below += weight * (1.0 - for_train);
        }
    }
    groups.retain(|group| group.below > 0.0);
    groups
}

fn share(groups: &[Shares], seed: u64) -> Option<Interval> {
    let Ratio { value, low, high } = ratio(groups, |x| x, seed)?;
    Some(at_least_as_wide(
        Interval { value, low, high },
        groups.len(),
    ))
}

/// Of few groups, an interval that holds that of a share of as many.
fn at_least_as_wide(of: Interval, n_groups: usize) -> Interval {
    if n_groups >= FEW_GROUPS {
        return of;
    }
    let (low, high) = wilson(of.value, n_groups);
    Interval {
        value: of.value,
        low: of.low.min(low),
        high: of.high.max(high),
    }
}

fn no_samples() -> Error {
    Error::TooFew {
        what: "samples with a non-zero entry",
        found: 0,
        needed: 1,
    }
}

/// Rows of the larger table that are as many as the smaller one has, several times.
struct Subsamples {
    train: Vec<Vec<usize>>,
    holdout: Vec<Vec<usize>>,
}

fn subsamples(n_train: usize, n_holdout: usize, seed: u64) -> Subsamples {
    let n = n_train.min(n_holdout);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let n_subsamples = if n_train == n_holdout {
        1
    } else {
        N_SUBSAMPLES
    };
    let mut of = |n_all: usize| -> Vec<Vec<usize>> {
        (0..n_subsamples)
            .map(|_| {
                let mut rows: Vec<usize> = (0..n_all).collect();
                if n_all > n {
                    rows.shuffle(&mut rng);
                    rows.truncate(n);
                    rows.sort_unstable();
                }
                rows
            })
            .collect()
    };
    Subsamples {
        train: of(n_train),
        holdout: of(n_holdout),
    }
}

/// The attack: a real sample is called a training sample the closer its closest synthetic record is.
fn membership(of_train: &[f64], of_holdout: &[f64], seed: u64) -> Result<Interval> {
    let scores: Vec<f64> = of_train.iter().chain(of_holdout).map(|d| -d).collect();
    let is_member: Vec<bool> = (0..scores.len()).map(|at| at < of_train.len()).collect();
    let placed: Vec<Placed> = placements(&scores, &is_member)?
        .into_iter()
        .zip(&is_member)
        .map(|(placement, is_member)| {
            let mut placed = Placed::default();
            if *is_member {
                (placed.n_positive, placed.positive) = (1.0, placement);
            } else {
                (placed.n_negative, placed.negative) = (1.0, placement);
            }
            placed
        })
        .collect();
    let found = area(&placed, seed).ok_or_else(no_samples)?;
    Ok(at_least_as_wide(
        found,
        of_train.len().min(of_holdout.len()),
    ))
}

fn median(nearest: &[Nearest]) -> f64 {
    let mut distances: Vec<f64> = nearest.iter().map(|found| found.first).collect();
    distances.sort_by(f64::total_cmp);
    quantile(&distances, 0.5)
}

/// A sample between two records of the same place has the ratio 1.
fn neighbour_ratio(nearest: &[Nearest]) -> f64 {
    let ratios: Vec<f64> = nearest
        .iter()
        .map(|found| match found.second {
            0.0 => 1.0,
            second if second.is_finite() => found.first / second,
            _ => f64::NAN,
        })
        .collect();
    ratios.iter().sum::<f64>() / ratios.len() as f64
}

fn criteria(found: &Privacy) -> Vec<Criterion> {
    let mut criteria = Vec::new();
    for closeness in &found.distances {
        let name = closeness.distance.name();
        let Interval { value, low, high } = closeness.share;
        criteria.push(Criterion {
            what: format!(
                "{name}: closest record is a training sample for {SMALLEST_SHARE} to {LARGEST_SHARE} of them"
            ),
            found: value,
            interval: Some([low, high]),
            verdict: if low >= SMALLEST_SHARE && high <= LARGEST_SHARE {
                Verdict::Pass
            } else if low > LARGEST_SHARE {
                Verdict::Fail
            } else {
                Verdict::Unclear
            },
        });
        let Interval { value, low, high } = closeness.membership;
        criteria.push(Criterion {
            what: format!(
                "{name}: membership is inferred with an area of at most {LARGEST_MEMBERSHIP}"
            ),
            found: value,
            interval: Some([low, high]),
            verdict: if high <= LARGEST_MEMBERSHIP {
                Verdict::Pass
            } else if low > LARGEST_MEMBERSHIP {
                Verdict::Fail
            } else {
                Verdict::Unclear
            },
        });
    }
    criteria.push(Criterion {
        what: "exact copies of training samples: none, or no larger a share than of the hold-out"
            .to_string(),
        found: found.copies,
        interval: None,
        verdict: copies(found),
    });
    criteria
}

/// Samples of a read or two meet by chance, in the hold-out as well. Where the hold-out has no copy, one is
/// too many; else the shares are compared by their intervals.
fn copies(found: &Privacy) -> Verdict {
    if found.copies <= found.copies_of_holdout {
        return Verdict::Pass;
    }
    let (low, _) = wilson(found.copies, found.n.synthetic);
    let (_, high) = wilson(found.copies_of_holdout, found.n.holdout);
    if found.copies_of_holdout == 0.0 || low > high {
        Verdict::Fail
    } else {
        Verdict::Unclear
    }
}

/// The 95 % interval of a share of `n` (Wilson 1927).
fn wilson(share: f64, n: usize) -> (f64, f64) {
    const Z: f64 = 1.959_963_984_540_054;
    let n = n as f64;
    let centre = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    ((centre - half) / scale, (centre + half) / scale)
}

#[cfg(test)]
mod tests;

//! The closest records of each sample.

use super::Distance;
use ndarray::Array2;
use rayon::prelude::*;

/// Distances of a sample to the records closest to it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Nearest {
    /// To the closest of all.
    pub(super) first: f64,
    /// To the second closest; infinite with one record.
    pub(super) second: f64,
    /// The closest of each subsample: its row, and how far it is. Of equal ones the first.
    pub(super) in_subsamples: Vec<(usize, f64)>,
}

/// For each row of `from`: its closest rows of `to`, among all and among each of the subsamples.
pub(super) fn nearest(
    distance: Distance,
    from: &Array2<f64>,
    to: &Array2<f64>,
    subsamples: &[Vec<usize>],
) -> Vec<Nearest> {
    (0..from.nrows())
        .into_par_iter()
        .map(|i| {
            let all = distances(distance, from, i, to);
            let (mut first, mut second) = (f64::INFINITY, f64::INFINITY);
            for d in &all {
                if *d < first {
                    (first, second) = (*d, first);
                } else if *d < second {
                    second = *d;
                }
            }
            let in_subsample = |rows: &Vec<usize>| {
                let found = rows.iter().map(|row| (*row, all[*row]));
                found.fold((0, f64::INFINITY), |best, next| match next.1 < best.1 {
                    true => next,
                    false => best,
                })
            };
            Nearest {
                first,
                second,
                in_subsamples: subsamples.iter().map(in_subsample).collect(),
            }
        })
        .collect()
}

/// For each row of `from`: the distance to its closest row of `to`.
pub(super) fn closest_of(distance: Distance, from: &Array2<f64>, to: &Array2<f64>) -> Vec<f64> {
    (0..from.nrows())
        .into_par_iter()
        .map(|i| {
            let all = distances(distance, from, i, to);
            all.into_iter().fold(f64::INFINITY, f64::min)
        })
        .collect()
}

fn distances(distance: Distance, from: &Array2<f64>, i: usize, to: &Array2<f64>) -> Vec<f64> {
    let point = from.row(i).to_vec();
    to.rows()
        .into_iter()
        .map(|other| match other.as_slice() {
            Some(other) => between(distance, &point, other),
            None => between(distance, &point, &other.to_vec()),
        })
        .collect()
}

/// Summed in eight lanes of a fixed order: the compiler can then add them together.
fn between(distance: Distance, a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0_f64; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    match distance {
        Distance::BrayCurtis => {
            for (a, b) in a_chunks.zip(b_chunks) {
                for lane in 0..8 {
                    lanes[lane] += (a[lane] - b[lane]).abs();
                }
            }
            let rest: f64 = rest.map(|(a, b)| (a - b).abs()).sum();
            0.5 * (lanes.iter().sum::<f64>() + rest)
        }
        Distance::Aitchison => {
            for (a, b) in a_chunks.zip(b_chunks) {
                for lane in 0..8 {
                    lanes[lane] += (a[lane] - b[lane]) * (a[lane] - b[lane]);
                }
            }
            let rest: f64 = rest.map(|(a, b)| (a - b) * (a - b)).sum();
            (lanes.iter().sum::<f64>() + rest).sqrt()
        }
    }
}

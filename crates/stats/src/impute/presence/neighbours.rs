//! The share of the nearest training samples that have a taxon.
//!
//! A taxon has no say in which samples are near where it is judged itself: its part is taken from the
//! squared distances. The nearest [`KEPT`] with it are ranked anew without it.

use super::samples::Problem;
use ndarray::{Array2, Axis};
use rayon::prelude::*;

/// Samples that are kept as candidates.
const KEPT: usize = 150;

/// What is near, and how many count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Setting {
    near: Near,
    n: usize,
}

/// What samples are compared by.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Near {
    Presence,
    Level,
}

impl Setting {
    pub(super) fn all() -> impl Iterator<Item = Setting> {
        let with = |near| [100, 40, 15].map(|n| Setting { near, n });
        [Near::Presence, Near::Level].into_iter().flat_map(with)
    }
}

/// Per row asked about: `(training row, squared distance)` of the candidates, the nearest first.
pub(super) struct Nearest {
    by_presence: Vec<Vec<(usize, f64)>>,
    by_level: Vec<Vec<(usize, f64)>>,
}

impl Nearest {
    pub(super) fn new(problem: &Problem) -> Nearest {
        let used: Vec<usize> = (0..problem.n_taxa())
            .filter(|taxon| problem.is_usable[*taxon])
            .collect();
        let nearest = |seen: &Array2<f64>, asked: &Array2<f64>| {
            candidates(&seen.select(Axis(1), &used), &asked.select(Axis(1), &used))
        };
        Nearest {
            by_presence: nearest(&problem.seen.present, &problem.asked.present),
            by_level: nearest(&problem.seen.level, &problem.asked.level),
        }
    }

    /// `(n_with + prevalence) / (n + 1)` of the `n` nearest samples.
    pub(super) fn presence(&self, problem: &Problem, setting: Setting) -> Array2<f64> {
        let (lists, seen, asked) = match setting.near {
            Near::Presence => (
                &self.by_presence,
                &problem.seen.present,
                &problem.asked.present,
            ),
            Near::Level => (&self.by_level, &problem.seen.level, &problem.asked.level),
        };
        let mut found = problem.prevalences();
        let rows: Vec<Vec<f64>> = lists
            .par_iter()
            .enumerate()
            .map(|(row, list)| {
                let mut near: Vec<(f64, usize)> = Vec::with_capacity(list.len());
                let of_taxon = |taxon: usize| {
                    near.clear();
                    let own = asked[[row, taxon]];
                    let part = |other: usize| match problem.is_usable[taxon] {
                        true => (seen[[other, taxon]] - own).powi(2),
                        false => 0.0,
                    };
                    near.extend(list.iter().map(|(other, d)| (d - part(*other), *other)));
                    let n = setting.n.min(near.len());
                    if n < near.len() {
                        near.select_nth_unstable_by(n, |a, b| {
                            a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
                        });
                    }
                    let n_with: f64 = near[..n]
                        .iter()
                        .map(|(_, r)| problem.truth[[*r, taxon]])
                        .sum();
                    (n_with + problem.prevalence[taxon]) / (n as f64 + 1.0)
                };
                (0..problem.n_taxa()).map(of_taxon).collect()
            })
            .collect();
        for (mut out, row) in found.rows_mut().into_iter().zip(rows) {
            out.iter_mut().zip(row).for_each(|(out, p)| *out = p);
        }
        found
    }
}

fn candidates(seen: &Array2<f64>, asked: &Array2<f64>) -> Vec<Vec<(usize, f64)>> {
    let sizes: Vec<f64> = seen.rows().into_iter().map(|row| row.dot(&row)).collect();
    let products = asked.dot(&seen.t()); // [asked, seen]
    let asked: Vec<f64> = asked.rows().into_iter().map(|row| row.dot(&row)).collect();
    (0..asked.len())
        .into_par_iter()
        .map(|row| {
            let distance = |other: usize| asked[row] + sizes[other] - 2.0 * products[[row, other]];
            let mut all: Vec<(usize, f64)> = (0..sizes.len())
                .map(|other| (other, distance(other)))
                .collect();
            all.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
            all.truncate(KEPT);
            all
        })
        .collect()
}

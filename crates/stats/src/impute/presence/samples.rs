//! Samples as the methods that judge presence see them.

use super::PresenceOptions;
use crate::Incomplete;
use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Some samples as they are seen; all `[rows, taxa]`.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// 1 where the taxon was seen, 0 where not; its prevalence where the entry is hidden.
    pub(super) present: Array2<f64>,
    /// `ln(1 + percent)`, 0 where not seen; the mean level times prevalence where hidden.
    pub(super) level: Array2<f64>,
    /// Level less taxon mean and sample offset, 0 where not seen.
    pub(super) residual: Array2<f64>,
}

/// What is learned from and what is asked.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    /// Training rows as they would be seen, maybe several times with other entries set to 0.
    pub(super) seen: View,
    /// Their true presence, 1 or 0; the prevalence where hidden.
    pub(super) truth: Array2<f64>,
    /// Rows asked about.
    pub(super) asked: View,
    /// Taxa that the rows asked about tell something of: hidden in no more than half of them.
    pub(super) is_usable: Vec<bool>,
    /// Share of the training rows that have a taxon, with half a count added to either side.
    pub(super) prevalence: Vec<f64>,
}

/// Training rows below which each is seen twice, with other entries set to 0.
const FEW: usize = 2000;

impl Problem {
    /// - `train`: rows of the table to learn from
    /// - `asked`: rows of `ln(1 + percent)`, 0 absent, `NaN` hidden
    /// - `hidden_like`: rows that say which taxa will be hidden as a whole
    pub(super) fn new(
        table: &Incomplete,
        train: &[usize],
        asked: &[Vec<f64>],
        hidden_like: &[Vec<f64>],
        options: PresenceOptions,
    ) -> Problem {
        let n_taxa = table.n_taxa();
        let rows: Vec<Vec<f64>> = train
            .iter()
            .map(|row| table.values.row(*row).to_vec())
            .collect();
        let taxa = Taxa::of(&rows, n_taxa);
        let n_copies = match options.zeroed > 0.0 && train.len() < FEW {
            true => 2,
            false => 1,
        };
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let (mut seen, mut truth) = (Vec::new(), Vec::new());
        for _ in 0..n_copies {
            for row in &rows {
                seen.push(zeroed(row, options.zeroed, &mut rng));
                truth.extend(row.iter().zip(&taxa.prevalence).map(|(y, p)| match y {
                    y if y.is_nan() => *p,
                    y => f64::from(u8::from(*y > 0.0)),
                }));
            }
        }
        let n_hidden = |taxon: usize| hidden_like.iter().filter(|r| r[taxon].is_nan()).count();
        Problem {
            truth: Array2::from_shape_vec((seen.len(), n_taxa), truth)
                .expect("one entry per row and taxon"),
            seen: View::new(&seen, &taxa),
            asked: View::new(asked, &taxa),
            is_usable: (0..n_taxa)
                .map(|taxon| 2 * n_hidden(taxon) <= hidden_like.len())
                .collect(),
            prevalence: taxa.prevalence,
        }
    }

    /// The prevalence of each taxon, for each row asked about.
    pub(super) fn prevalences(&self) -> Array2<f64> {
        Array2::from_shape_fn(self.asked.present.dim(), |(_, taxon)| {
            self.prevalence[taxon]
        })
    }

    pub(super) fn n_taxa(&self) -> usize {
        self.prevalence.len()
    }
}

/// What is known of the taxa from the training rows.
struct Taxa {
    prevalence: Vec<f64>,
    /// Mean level where present; 0 for a taxon never seen.
    mean: Vec<f64>,
}

impl Taxa {
    fn of(rows: &[Vec<f64>], n_taxa: usize) -> Taxa {
        let (mut n, mut n_present, mut sum) =
            (vec![0.0; n_taxa], vec![0.0; n_taxa], vec![0.0; n_taxa]);
        for row in rows {
            for (taxon, value) in row.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
                n[taxon] += 1.0;
                sum[taxon] += value;
                n_present[taxon] += f64::from(u8::from(*value > 0.0));
            }
        }
        let prevalence = n_present.iter().zip(&n);
        let mean = sum.iter().zip(&n_present);
        Taxa {
            prevalence: prevalence.map(|(k, n)| (k + 0.5) / (n + 1.0)).collect(),
            mean: mean.map(|(sum, n)| sum / f64::max(*n, 1.0)).collect(),
        }
    }
}

impl View {
    fn new(rows: &[Vec<f64>], taxa: &Taxa) -> View {
        let shape = (rows.len(), taxa.mean.len());
        let mut view = View {
            present: Array2::zeros(shape),
            level: Array2::zeros(shape),
            residual: Array2::zeros(shape),
        };
        for (at, row) in rows.iter().enumerate() {
            let is_seen = |value: f64| value > 0.0;
            let deviations = row.iter().zip(&taxa.mean).filter(|(y, _)| is_seen(**y));
            let (sum, n) = deviations.fold((0.0, 0.0), |(s, n), (y, mean)| (s + y - mean, n + 1.0));
            let offset = sum / f64::max(n, 1.0);
            for (taxon, value) in row.iter().enumerate() {
                let (p, mean) = (taxa.prevalence[taxon], taxa.mean[taxon]);
                let (present, level, residual) = match *value {
                    y if y.is_nan() => (p, p * mean, 0.0),
                    y if is_seen(y) => (1.0, y, y - mean - offset),
                    _ => (0.0, 0.0, 0.0),
                };
                view.present[[at, taxon]] = present;
                view.level[[at, taxon]] = level;
                view.residual[[at, taxon]] = residual;
            }
        }
        view
    }
}

/// A row of `ln(1 + percent)` with each non-zero set to 0 at this rate, the rest as percent of as much as
/// before; a row that would lose everything stays as it is.
pub(super) fn zeroed(row: &[f64], rate: f64, rng: &mut ChaCha8Rng) -> Vec<f64> {
    if rate == 0.0 {
        return row.to_vec();
    }
    let mut left = row.to_vec();
    let (mut before, mut after) = (0.0, 0.0);
    for value in left.iter_mut().filter(|value| **value > 0.0) {
        let percent = value.exp_m1();
        before += percent;
        match rng.random::<f64>() < rate {
            true => *value = 0.0,
            false => after += percent,
        }
    }
    if after == 0.0 {
        return row.to_vec();
    }
    for value in left.iter_mut().filter(|value| **value > 0.0) {
        *value = (value.exp_m1() * before / after).ln_1p();
    }
    left
}

//! A forest per taxon, in the manner of missForest (Stekhoven and Buehlmann 2012).
//!
//! ```text
//! samples that have taxon j -> each as it is with j hidden, and with others hidden at the table's
//!   own rates -> features of the rest, target: residual of j -> extremely randomised trees
//! sample with j hidden -> the same features -> mean + offset + mean of the trees
//! ```
//!
//! The training rows differ from those to be predicted in nothing but that `j` is known: where
//! percents are of what is left, `j` and the other hidden entries are taken from the total too.
//! A sample in which nothing is hidden has entries hidden at a rate drawn from those of the samples
//! in which something is. The target is what taxon mean and sample offset leave over, so that trees,
//! which cannot extrapolate, need not.

use super::extra_trees::{Columns, Growth, Tree};
use super::{Effort, MeanOffset, RowTotals};
use crate::Incomplete;
use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Trees of a forest, fewer where the table is large: see [`n_trees`].
const MAX_TREES: usize = 100;
const MIN_TREES: usize = 20;
/// Rows times columns tried at a level, over all trees; keeps a large table under a minute.
const TREE_BUDGET: f64 = 5e8;
/// Share of it that one of several settings gets while one is chosen.
const TRIAL: f64 = 0.2;
/// Times that the entries of a complete sample are hidden anew, trees taking turns; fewer where the
/// table is large.
const MAX_MASKS: usize = 5;
const MIN_MASKS: usize = 2;
/// Entries read to make the training rows of all taxa.
const MASK_BUDGET: f64 = 1.5e8;
/// A forest on `n` samples counts `n / (n + SHRINKAGE)`: mean plus offset is what it starts from.
const SHRINKAGE: f64 = 5.0;
/// Features kept for a taxon, those that explain most of its residuals alone.
const MAX_COLUMNS: usize = 120;
/// Keys of the masks and of the trees: part of the method's definition.
const MASK_SEED: u64 = 0x00FC_3A5C;
const TREE_SEED: u64 = 0x00FC_78EE;

/// Features of one other taxon: its residual (0 where hidden or absent), whether it is present
/// (observed or hidden), whether it is hidden.
const PER_TAXON: usize = 3;
/// Features of the sample: offset, taxa observed, taxa present, percent observed, largest value.
const PER_SAMPLE: usize = 5;

/// How forests are grown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Options {
    /// Samples that a leaf must hold.
    pub(super) min_leaf: usize,
    /// Share of the features that a node tries.
    pub(super) tried: f64,
    pub(super) totals: RowTotals,
    pub(super) effort: Effort,
}

/// Fills each hidden entry by the forest of its taxon; values are raised to `smallest`.
pub(super) fn impute(
    table: &Incomplete,
    base: &MeanOffset,
    smallest: f64,
    options: Options,
) -> Array2<f64> {
    let n_taxa = table.n_taxa();
    let mut completed = table.values.clone();
    let mut hidden = vec![Vec::new(); n_taxa];
    for (sample, taxon) in table.hidden() {
        hidden[taxon].push(sample);
    }
    let samples = Samples::new(table, base, options.totals);
    let n_tried = |n_columns: usize| ((options.tried * n_columns as f64).ceil() as usize).max(1);
    let n_columns = MAX_COLUMNS.min(PER_TAXON * n_taxa + PER_SAMPLE);
    let n_rows: usize = (0..n_taxa)
        .filter(|taxon| !hidden[*taxon].is_empty())
        .map(|taxon| samples.with[taxon].len())
        .sum();
    let n_trees = n_trees(n_rows, n_tried(n_columns), options.effort);
    let predicted: Vec<Vec<f64>> = hidden
        .par_iter()
        .enumerate()
        .map(|(taxon, at)| {
            if at.is_empty() {
                return Vec::new();
            }
            let training = Training::new(&samples, taxon);
            let growth = Growth {
                max_features: n_tried(training.kept.len()),
                min_leaf: options.min_leaf,
            };
            let forest = training.grow(taxon, n_trees, growth);
            let n = samples.with[taxon].len() as f64;
            let weight = n / (n + SHRINKAGE) / forest.len() as f64;
            at.iter()
                .map(|&sample| {
                    let view = samples.view(sample, &[], taxon);
                    let features = training.features(&view);
                    let trees = forest.iter().map(|tree| tree.predict(|c| features[c]));
                    let residual = weight * trees.sum::<f64>();
                    (base.predict(sample, taxon) + residual).max(smallest)
                })
                .collect()
        })
        .collect();
    for (taxon, (at, values)) in hidden.iter().zip(predicted).enumerate() {
        for (&sample, value) in at.iter().zip(values) {
            completed[[sample, taxon]] = value;
        }
    }
    completed
}

/// Trees per forest, so that all forests together stay in the budget.
fn n_trees(n_rows: usize, n_tried: usize, effort: Effort) -> usize {
    let budget = match effort {
        Effort::Trial => TRIAL * TREE_BUDGET,
        Effort::Full => TREE_BUDGET,
    };
    let affordable = budget / (n_rows * n_tried).max(1) as f64;
    (affordable as usize).clamp(MIN_TREES, MAX_TREES)
}

/// The table by samples, and the masks that forests are trained under.
struct Samples<'a> {
    table: &'a Incomplete,
    base: &'a MeanOffset,
    totals: RowTotals,
    /// `(taxon, percent)` of the observed entries per sample.
    observed: Vec<Vec<(usize, f64)>>,
    hidden: Vec<Vec<usize>>,
    /// Samples in which a taxon is observed.
    with: Vec<Vec<usize>>,
    /// Per mask and sample: which of its observed entries are hidden too; empty for none.
    masks: Vec<Vec<Vec<bool>>>,
}

/// A sample without one taxon.
struct View {
    /// `(column, value)` of the features that are not 0.
    features: Vec<(usize, f32)>,
    /// Residual of the taxon, if it is known.
    target: Option<f64>,
}

impl<'a> Samples<'a> {
    fn new(table: &'a Incomplete, base: &'a MeanOffset, totals: RowTotals) -> Self {
        let mut observed = vec![Vec::new(); table.n_samples()];
        let mut with = vec![Vec::new(); table.n_taxa()];
        for (sample, taxon, value) in table.observed() {
            observed[sample].push((taxon, value.exp_m1()));
            with[taxon].push(sample);
        }
        let mut hidden = vec![Vec::new(); table.n_samples()];
        for (sample, taxon) in table.hidden() {
            hidden[sample].push(taxon);
        }
        let rates: Vec<f64> = hidden
            .iter()
            .zip(&observed)
            .filter(|(hidden, _)| !hidden.is_empty())
            .map(|(hidden, seen)| hidden.len() as f64 / (hidden.len() + seen.len()) as f64)
            .collect();
        let n_read: usize = observed.iter().map(|seen| seen.len() * seen.len()).sum();
        let n_masks = (MASK_BUDGET / n_read.max(1) as f64) as usize;
        let n_masks = n_masks.clamp(MIN_MASKS, MAX_MASKS);
        let mut rng = ChaCha8Rng::seed_from_u64(MASK_SEED);
        let mut mask = |sample: usize| -> Vec<bool> {
            if rates.is_empty() || !hidden[sample].is_empty() {
                return Vec::new();
            }
            let rate = rates[rng.random_range(0..rates.len() as u32) as usize];
            let n = observed[sample].len();
            (0..n).map(|_| rng.random::<f64>() < rate).collect()
        };
        let masks = (0..n_masks)
            .map(|_| (0..table.n_samples()).map(&mut mask).collect())
            .collect();
        Samples {
            table,
            base,
            totals,
            observed,
            hidden,
            with,
            masks,
        }
    }

    /// A sample as it is with `without` and the masked entries hidden; an empty mask hides nothing.
    fn view(&self, sample: usize, mask: &[bool], without: usize) -> View {
        let is_left =
            |at: usize, taxon: usize| taxon != without && !mask.get(at).copied().unwrap_or(false);
        let (mut total, mut left) = (0.0, 0.0);
        for (at, &(taxon, percent)) in self.observed[sample].iter().enumerate() {
            total += percent;
            if is_left(at, taxon) {
                left += percent;
            }
        }
        let scale = match self.totals {
            RowTotals::OfWhatIsLeft if left > 0.0 => total / left,
            _ => 1.0,
        };
        let mut features = Vec::with_capacity(3 * self.observed[sample].len() + PER_SAMPLE);
        let (mut own, mut sum, mut n_left, mut n_present) = (None, 0.0, 0_usize, 0_usize);
        let mut largest = 0.0_f64;
        let mut hidden = |taxon: usize| {
            features.push((PER_TAXON * taxon + 1, 1.0));
            features.push((PER_TAXON * taxon + 2, 1.0));
            n_present += 1;
        };
        self.hidden[sample]
            .iter()
            .filter(|taxon| **taxon != without)
            .for_each(|&taxon| hidden(taxon));
        let mut deviations = Vec::with_capacity(self.observed[sample].len());
        for (at, &(taxon, percent)) in self.observed[sample].iter().enumerate() {
            // Rounding must not make a known value differ from the table's.
            let value = if scale == 1.0 {
                self.table.values[[sample, taxon]]
            } else {
                (percent * scale).ln_1p()
            };
            let deviation = value - self.base.taxon_mean(taxon);
            if taxon == without {
                own = Some(deviation);
            } else if is_left(at, taxon) {
                deviations.push((taxon, deviation));
                sum += deviation;
                n_left += 1;
                largest = largest.max(value);
            } else {
                hidden(taxon);
            }
        }
        n_present += n_left;
        let offset = if n_left > 0 { sum / n_left as f64 } else { 0.0 };
        for (taxon, deviation) in deviations {
            features.push((PER_TAXON * taxon, (deviation - offset) as f32));
            features.push((PER_TAXON * taxon + 1, 1.0));
        }
        let of_sample = [
            offset,
            n_left as f64,
            n_present as f64,
            left * scale,
            largest,
        ];
        let first = PER_TAXON * self.table.n_taxa();
        features.extend((first..).zip(of_sample.map(|value| value as f32)));
        View {
            features,
            target: own.map(|deviation| deviation - offset),
        }
    }
}

/// What the forest of one taxon is grown on.
struct Training {
    /// Features kept, and the place of each among them.
    kept: Vec<usize>,
    place: Vec<Option<u32>>,
    /// Features and targets under each mask.
    rows: Vec<(Columns, Vec<f64>)>,
}

impl Training {
    fn new(samples: &Samples<'_>, taxon: usize) -> Self {
        let n_features = PER_TAXON * samples.table.n_taxa() + PER_SAMPLE;
        let views: Vec<Vec<View>> = samples
            .masks
            .iter()
            .map(|masks| {
                let view = |&sample: &usize| samples.view(sample, &masks[sample], taxon);
                samples.with[taxon].iter().map(view).collect()
            })
            .collect();
        let mut sums = vec![Moments::default(); n_features];
        let mut targets = Moments::default();
        let mut n = 0.0;
        for view in views.iter().flatten() {
            let target = view.target.expect("the taxon is observed in these samples");
            n += 1.0;
            targets.push(target, target);
            for &(column, value) in &view.features {
                sums[column].push(f64::from(value), target);
            }
        }
        let mut ranked: Vec<(f64, usize)> = sums
            .iter()
            .map(|sums| sums.explained(&targets, n))
            .zip(0..)
            .filter(|(explained, _)| *explained > 0.0)
            .collect();
        ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let kept: Vec<usize> = ranked
            .iter()
            .take(MAX_COLUMNS)
            .map(|(_, column)| *column)
            .collect();
        let mut place = vec![None; n_features];
        for (&column, at) in kept.iter().zip(0..) {
            place[column] = Some(at);
        }
        let mut training = Training {
            kept,
            place,
            rows: Vec::new(),
        };
        for views in &views {
            let mut columns = vec![vec![0.0; views.len()]; training.kept.len()];
            for (row, view) in views.iter().enumerate() {
                for &(column, value) in &view.features {
                    if let Some(at) = training.place[column] {
                        columns[at as usize][row] = value;
                    }
                }
            }
            let targets = views.iter().filter_map(|view| view.target).collect();
            training.rows.push((Columns { columns }, targets));
        }
        training
    }

    fn grow(&self, taxon: usize, n_trees: usize, growth: Growth) -> Vec<Tree> {
        (0..n_trees)
            .map(|number| {
                let (features, targets) = &self.rows[number % self.rows.len()];
                let mut rng = ChaCha8Rng::seed_from_u64(TREE_SEED);
                rng.set_stream((taxon as u64) << 32 | number as u64);
                Tree::grow(features, targets, growth, &mut rng)
            })
            .collect()
    }

    /// The kept features of a sample.
    fn features(&self, view: &View) -> Vec<f32> {
        let mut features = vec![0.0; self.kept.len()];
        for &(column, value) in &view.features {
            if let Some(at) = self.place[column] {
                features[at as usize] = value;
            }
        }
        features
    }
}

/// Sums over the training rows; a feature that is not pushed is 0.
#[derive(Clone, Copy, Default)]
struct Moments {
    x: f64,
    xx: f64,
    xy: f64,
}

impl Moments {
    fn push(&mut self, x: f64, y: f64) {
        self.x += x;
        self.xx += x * x;
        self.xy += x * y;
    }

    /// Share of the variance of the targets that a line in this feature explains, 0 for a constant.
    fn explained(&self, targets: &Moments, n: f64) -> f64 {
        let covariance = self.xy - self.x * targets.x / n;
        let product = (self.xx - self.x * self.x / n) * (targets.xx - targets.x * targets.x / n);
        if product > 0.0 {
            covariance * covariance / product
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    /// Percents of each row, as `ln(1 + percent)`.
    fn table(percents: Array2<f64>) -> Incomplete {
        Incomplete::from_values(percents.mapv(f64::ln_1p)).unwrap()
    }

    #[test]
    fn a_training_row_looks_like_the_row_with_its_taxon_really_hidden() {
        let nan = f64::NAN;
        // Taxon 0 is hidden, and taxon 2 by the mask: 30 and 20 of 50 percent are left.
        let known = table(array![
            [40.0, 30.0, 10.0, 0.0, 20.0],
            [10.0, 20.0, 30.0, 40.0, 0.0]
        ]);
        let base = MeanOffset::fit(&known);
        for (totals, factor) in [(RowTotals::OfWhatIsLeft, 2.0), (RowTotals::Fixed, 1.0)] {
            let training = Samples::new(&known, &base, totals);
            let seen = training.view(0, &[false, false, true, false], 0);
            let [a, b] = [30.0 * factor, 20.0 * factor];
            let hidden = table(array![[nan, a, nan, 0.0, b], [10.0, 20.0, 30.0, 40.0, 0.0]]);
            let real = Samples::new(&hidden, &base, totals).view(0, &[], 0);
            assert!(real.target.is_none());
            let dense = |view: &View| {
                let mut dense = [0.0; PER_TAXON * 5 + PER_SAMPLE];
                view.features
                    .iter()
                    .for_each(|&(c, value)| dense[c] = value);
                dense
            };
            for (column, (a, b)) in dense(&seen).into_iter().zip(dense(&real)).enumerate() {
                assert!((a - b).abs() < 1e-6, "column {column}: {a} and {b}");
            }
            // By hand: the residual of taxon 0 against the offset of taxa 1 and 4.
            let deviation =
                |taxon: usize, percent: f64| (percent * factor).ln_1p() - base.taxon_mean(taxon);
            let offset = (deviation(1, 30.0) + deviation(4, 20.0)) / 2.0;
            let target = seen.target.unwrap();
            assert!((target - (deviation(0, 40.0) - offset)).abs() < 1e-12);
        }
    }

    #[test]
    fn what_the_presence_of_another_taxon_decides_is_learned() {
        // Taxon 0 is 3 higher where taxon 1 is present; the others are noise without a pattern.
        let values = Array2::from_shape_fn((300, 8), |(i, j)| {
            let noise = ((i * 7919 + j * 104_729) % 101) as f64 / 100.0;
            let has_1 = (i * 31 % 17) % 2 == 0;
            match j {
                0 => 1.0 + noise + if has_1 { 3.0 } else { 0.0 },
                1 if !has_1 => 0.0,
                _ => 2.0 + noise,
            }
        });
        let hidden: Vec<(usize, usize)> = (0..60).map(|i| (i, 0)).collect();
        let table = Incomplete::hide(&values, &hidden).unwrap();
        let base = MeanOffset::fit(&table);
        let options = Options {
            min_leaf: 3,
            tried: 0.33,
            totals: RowTotals::Fixed,
            effort: Effort::Full,
        };
        let completed = impute(&table, &base, 0.1, options);
        let rmse = |value: &dyn Fn(usize) -> f64| -> f64 {
            let squares = (0..60).map(|i| (value(i) - values[[i, 0]]).powi(2));
            (squares.sum::<f64>() / 60.0).sqrt()
        };
        let (found, before) = (rmse(&|i| completed[[i, 0]]), rmse(&|i| base.predict(i, 0)));
        // The noise alone, uniform in 0..1, has a standard deviation of 0.29.
        assert!(before > 1.3 && found < 0.45, "{found} after {before}");
    }

    #[test]
    fn large_tables_get_fewer_trees_but_never_too_few() {
        assert_eq!(n_trees(100, 10, Effort::Full), MAX_TREES);
        assert_eq!(n_trees(450_000, 24, Effort::Full), 46);
        assert_eq!(n_trees(100_000, 30, Effort::Trial), 33);
        assert_eq!(n_trees(100_000_000, 40, Effort::Full), MIN_TREES);
    }
}

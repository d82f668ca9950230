//! Imputation with the setting that does best on entries hidden on purpose.
//!
//! ```text
//! training rows -> a fifth of them -> a fraction of their entries hidden too, percents of what is
//!   left -> each candidate fills the table -> least RMSE on those entries -> fit on the whole table
//! ```

use super::setting::Setting;
use super::{Effort, MeanOffset, Method, RowTotals, complete, filled, soft_impute};
use crate::{EntryState, Incomplete};
use ndarray::Array2;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// One of so many training rows has entries hidden at a time.
const N_FOLDS: usize = 5;
/// Small tables take a fifth after the other until so many entries have been hidden.
const ENOUGH: usize = 500;

/// How a method is tuned and its errors learned: some more entries of `rows` are hidden.
#[derive(Debug, Clone, PartialEq)]
pub struct Validation {
    /// Training rows. Those that the table does not have are passed over.
    pub rows: Vec<usize>,
    /// Share of the observed entries that is hidden in the chosen rows, above 0 and at most 1. With
    /// another value nothing is hidden, so that nothing is tuned.
    pub fraction: f64,
    /// What hiding does to the other entries of a row.
    pub totals: RowTotals,
    /// Of the choice of rows and entries.
    pub seed: u64,
}

/// An error of a method on an entry that its fit has not seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Residual {
    /// Column of the entry.
    pub taxon: usize,
    /// Value that the method gave, in the unit of the table.
    pub predicted: f64,
    /// Value of the entry, against the same total.
    pub truth: f64,
}

/// A completed table and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuned {
    /// As [`super::impute`] returns it, `[n_samples, n_taxa]`.
    pub completed: Array2<f64>,
    /// The setting taken, for people: `rank 2`.
    pub setting: String,
    /// Errors of that setting on the entries hidden on purpose; empty where nothing could be hidden.
    pub residuals: Vec<Residual>,
}

/// Fills the hidden entries of a table with the method at its best setting.
///
/// A fifth of the training rows has `fraction` of its observed entries hidden, uniformly, but never
/// the last one of a row; each candidate setting fills that table, and the one of least RMSE fills
/// the whole one. While fewer than 500 entries have been hidden, another fifth follows, in a fit of
/// its own. Where nothing can be hidden the default setting is taken. Ties go to the candidate that
/// smooths more.
///
/// # Example
/// ```
/// use ndarray::Array2;
/// use suffuse_stats::Incomplete;
/// use suffuse_stats::impute::{Method, RowTotals, Validation, impute_tuned};
///
/// let values = Array2::from_shape_fn((30, 4), |(i, j)| 1.0 + (i % 5 + j) as f64);
/// let table = Incomplete::hide(&values, &[(0, 1), (1, 2)])?;
/// let validation = Validation {
///     rows: (2..30).collect(),
///     fraction: 0.3,
///     totals: RowTotals::OfWhatIsLeft,
///     seed: 0,
/// };
/// let tuned = impute_tuned(Method::Knn, &table, &validation);
/// assert!(tuned.setting.ends_with("neighbours"));
/// assert!(tuned.completed[[0, 1]] > 1.0 && !tuned.residuals.is_empty());
/// # Ok::<(), suffuse_stats::Error>(())
/// ```
pub fn impute_tuned(method: Method, table: &Incomplete, validation: &Validation) -> Tuned {
    let rounds = rounds(table, validation);
    if method == Method::SoftImpute {
        return tuned_soft_impute(table, &rounds, validation.totals);
    }
    let mut best: Option<(f64, Setting, Vec<Residual>)> = None;
    for setting in Setting::candidates(method) {
        let mut residuals = Vec::new();
        for round in &rounds {
            let completed = complete(
                method,
                setting,
                &round.table,
                validation.totals,
                Effort::Trial,
            );
            residuals.extend(round.residuals(&completed));
        }
        let error = sum_of_squares(&residuals);
        if best.as_ref().is_none_or(|(least, ..)| error < *least) {
            best = Some((error, setting, residuals));
        }
        if rounds.is_empty() {
            break;
        }
    }
    let (setting, residuals) = match best {
        Some((_, setting, residuals)) if !rounds.is_empty() => (setting, residuals),
        _ => (Setting::default_of(method), Vec::new()),
    };
    Tuned {
        completed: complete(method, setting, table, validation.totals, Effort::Full),
        setting: setting.to_string(),
        residuals,
    }
}

/// Soft-impute's candidates are the lambdas of its path, fitted one from the other. Lambdas are
/// paired across rounds by their place on the path.
fn tuned_soft_impute(table: &Incomplete, rounds: &[Round], totals: RowTotals) -> Tuned {
    let mut paths: Vec<Vec<(f64, Vec<Residual>)>> = Vec::new();
    for round in rounds {
        let base = MeanOffset::fit(&round.table);
        let smallest = round.table.smallest_observed().unwrap_or(0.0);
        let residuals_of = |fit: Option<&soft_impute::LowRank>| {
            let completed = filled(&round.table, |sample, taxon| {
                let residual = fit.map_or(0.0, |fit| fit.at(sample, taxon));
                (base.predict(sample, taxon) + residual).max(smallest)
            });
            round.residuals(&completed)
        };
        let mut path = vec![(f64::INFINITY, residuals_of(None))];
        soft_impute::walk(&round.table, |lambda, fit| {
            path.push((lambda, residuals_of(Some(fit))));
        });
        paths.push(path);
    }
    let n_steps = paths.iter().map(Vec::len).min().unwrap_or(0);
    let at = |step: usize| {
        paths
            .iter()
            .flat_map(move |path| path[step].1.iter().copied())
    };
    let mut best: Option<(f64, usize)> = None;
    for step in 0..n_steps {
        let error = sum_of_squares(&at(step).collect::<Vec<_>>());
        if best.is_none_or(|(least, _)| error < least) {
            best = Some((error, step));
        }
    }
    let (setting, residuals) = match best {
        None => (Setting::AsItIs, Vec::new()),
        Some((_, 0)) => (Setting::MeanAndOffset, at(0).collect()),
        Some((_, step)) => {
            let sum: f64 = paths.iter().map(|path| path[step].0).sum();
            (
                Setting::Lambda(sum / paths.len() as f64),
                at(step).collect(),
            )
        }
    };
    Tuned {
        completed: complete(Method::SoftImpute, setting, table, totals, Effort::Full),
        setting: setting.to_string(),
        residuals,
    }
}

fn sum_of_squares(residuals: &[Residual]) -> f64 {
    let squares = residuals.iter().map(|r| (r.predicted - r.truth).powi(2));
    squares.sum()
}

/// The table with more entries hidden, and what they were.
struct Round {
    table: Incomplete,
    /// `(sample, taxon, value)`, the value against the total of what is left.
    truth: Vec<(usize, usize, f64)>,
}

impl Round {
    fn residuals(&self, completed: &Array2<f64>) -> Vec<Residual> {
        let of = |&(sample, taxon, truth): &(usize, usize, f64)| Residual {
            taxon,
            predicted: completed[[sample, taxon]],
            truth,
        };
        self.truth.iter().map(of).collect()
    }
}

/// Fifths of the training rows with entries hidden, until there are enough.
fn rounds(table: &Incomplete, validation: &Validation) -> Vec<Round> {
    let mut rounds = Vec::new();
    if !(validation.fraction > 0.0 && validation.fraction <= 1.0) {
        return rounds;
    }
    let mut observed = vec![Vec::new(); table.n_samples()];
    for (sample, taxon, _) in table.observed() {
        observed[sample].push(taxon);
    }
    let mut rows: Vec<usize> = validation.rows.clone();
    rows.retain(|row| observed.get(*row).is_some_and(|taxa| taxa.len() > 1));
    rows.sort_unstable();
    rows.dedup();
    let mut rng = ChaCha8Rng::seed_from_u64(validation.seed);
    rows.shuffle(&mut rng);
    let mut n_hidden = 0;
    for fold in rows.chunks(rows.len().div_ceil(N_FOLDS).max(1)) {
        let mut entries: Vec<(usize, usize)> = fold
            .iter()
            .flat_map(|&row| observed[row].iter().map(move |&taxon| (row, taxon)))
            .collect();
        entries.shuffle(&mut rng);
        let n = (validation.fraction * entries.len() as f64).round() as usize;
        let mut hidden = vec![Vec::new(); table.n_samples()];
        let mut left = n.max(1);
        for (row, taxon) in entries {
            if left > 0 && hidden[row].len() + 1 < observed[row].len() {
                hidden[row].push(taxon);
                left -= 1;
            }
        }
        let round = hide(table, &hidden, validation.totals);
        n_hidden += round.truth.len();
        if !round.truth.is_empty() {
            rounds.push(round);
        }
        if n_hidden >= ENOUGH {
            break;
        }
    }
    rounds
}

/// Hides `hidden[row]` in each row. A row whose percents overflow stays as it is.
fn hide(table: &Incomplete, hidden: &[Vec<usize>], totals: RowTotals) -> Round {
    let mut values = table.values.clone();
    let mut state = table.state().clone();
    let mut truth = Vec::new();
    for (row, taxa) in hidden
        .iter()
        .enumerate()
        .filter(|(_, taxa)| !taxa.is_empty())
    {
        let observed: Vec<usize> = (0..table.n_taxa())
            .filter(|&taxon| state[[row, taxon]] == EntryState::Observed)
            .collect();
        let percent = |taxon: usize| table.values[[row, taxon]].exp_m1();
        let total: f64 = observed.iter().map(|&taxon| percent(taxon)).sum();
        let left: f64 = observed
            .iter()
            .filter(|taxon| !taxa.contains(taxon))
            .map(|&taxon| percent(taxon))
            .sum();
        let scale = total / left;
        let expressed = |taxon: usize| match totals {
            RowTotals::Fixed => table.values[[row, taxon]],
            RowTotals::OfWhatIsLeft => (scale * percent(taxon)).ln_1p(),
        };
        if !observed.iter().all(|&taxon| expressed(taxon).is_finite()) {
            continue;
        }
        for &taxon in &observed {
            values[[row, taxon]] = expressed(taxon);
        }
        for &taxon in taxa {
            truth.push((row, taxon, values[[row, taxon]]));
            values[[row, taxon]] = f64::NAN;
            state[[row, taxon]] = EntryState::Hidden;
        }
    }
    Round {
        table: Incomplete::new(values, state).expect("each value fits its state"),
        truth,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::assert_close;
    use ndarray::array;

    fn validation(rows: std::ops::Range<usize>, fraction: f64) -> Validation {
        Validation {
            rows: rows.collect(),
            fraction,
            totals: RowTotals::OfWhatIsLeft,
            seed: 5,
        }
    }

    /// Rows of a rank-2 pattern about means and offsets, zeros in between; every sixth entry hidden
    /// in the first rows.
    fn patterned(n_samples: usize) -> Incomplete {
        let values = Array2::from_shape_fn((n_samples, 12), |(i, j)| {
            if (i * 5 + j * 7) % 4 == 0 {
                return 0.0;
            }
            let (x, y) = (i as f64, j as f64);
            2.0 + (0.7 * x).sin() * (1.3 * y).cos() + 0.5 * (0.31 * x).cos()
        });
        let hidden: Vec<(usize, usize)> = (0..n_samples / 5)
            .flat_map(|i| (0..12).map(move |j| (i, j)))
            .filter(|&(i, j)| values[[i, j]] > 0.0 && (i + j) % 6 == 0)
            .collect();
        Incomplete::hide(&values, &hidden).unwrap()
    }

    #[test]
    fn percents_are_of_what_is_left_or_stay_as_they_are() {
        let ln = |percents: [f64; 3]| percents.map(f64::ln_1p);
        let table = Incomplete::from_values(array![ln([50.0, 30.0, 20.0])]).unwrap();
        let left = hide(&table, &[vec![0]], RowTotals::OfWhatIsLeft);
        for (taxon, percent) in [(1, 60.0_f64), (2, 40.0)] {
            assert_close(
                left.table.values[[0, taxon]],
                percent.ln_1p(),
                1e-12,
                "percent",
            );
        }
        let [(0, 0, truth)] = left.truth[..] else {
            panic!("{:?}", left.truth)
        };
        assert_close(truth, 100_f64.ln_1p(), 1e-12, "truth");
        let fixed = hide(&table, &[vec![0]], RowTotals::Fixed);
        assert_eq!(fixed.truth, [(0, 0, table.values[[0, 0]])]);
        assert_eq!(fixed.table.values[[0, 1]], table.values[[0, 1]]);
        assert_eq!(fixed.table.hidden().collect::<Vec<_>>(), [(0, 0)]);
    }

    #[test]
    fn whole_rows_are_chosen_and_none_loses_its_last_entry() {
        let table = patterned(2000);
        let rounds = rounds(&table, &validation(400..2000, 1.0));
        assert_eq!(rounds.len(), 1, "one fifth of a large table is enough");
        let mut rows: Vec<usize> = rounds[0].truth.iter().map(|entry| entry.0).collect();
        rows.dedup();
        assert_eq!(rows.len(), 320);
        assert!(rows.iter().all(|row| (400..2000).contains(row)));
        for &row in &rows {
            let observed = |table: &Incomplete| {
                let state = table.state().row(row);
                state.iter().filter(|s| **s == EntryState::Observed).count()
            };
            assert_eq!(observed(&rounds[0].table), 1, "row {row}");
        }
    }

    #[test]
    fn a_small_table_takes_every_fifth_in_turn() {
        let rounds = rounds(&patterned(60), &validation(12..60, 0.2));
        assert_eq!(rounds.len(), 5);
        let mut rows: Vec<usize> = rounds
            .iter()
            .flat_map(|round| round.truth.iter().map(|entry| entry.0))
            .collect();
        let n: usize = rounds.iter().map(|round| round.truth.len()).sum();
        rows.sort_unstable();
        rows.dedup();
        // 48 rows of 9 entries, 90 a fifth (81 in the last, of 8 rows): 20 % are 18 and 14.
        assert_eq!(n, 4 * 18 + 14);
        assert!(rows.len() > 35 && rows[0] >= 12);
    }

    #[test]
    fn the_setting_taken_has_the_least_error_and_its_residuals_are_kept() {
        let table = patterned(60);
        let validation = validation(12..60, 0.2);
        for method in [Method::Knn, Method::Svd, Method::Ridge] {
            let errors: Vec<(f64, String)> = Setting::candidates(method)
                .into_iter()
                .map(|setting| {
                    let of = |round: &Round| {
                        round.residuals(&complete(
                            method,
                            setting,
                            &round.table,
                            validation.totals,
                            Effort::Trial,
                        ))
                    };
                    let all: Vec<Residual> =
                        rounds(&table, &validation).iter().flat_map(of).collect();
                    (sum_of_squares(&all), setting.to_string())
                })
                .collect();
            let least = errors.iter().map(|e| e.0).fold(f64::INFINITY, f64::min);
            let tuned = impute_tuned(method, &table, &validation);
            assert_eq!(sum_of_squares(&tuned.residuals), least, "{method}");
            let taken = errors.iter().find(|e| e.0 == least).unwrap();
            assert_eq!(tuned.setting, taken.1, "{method}");
        }
    }

    #[test]
    fn soft_impute_takes_a_lambda_that_beats_mean_and_offset() {
        let table = patterned(200);
        let tuned = |method| impute_tuned(method, &table, &validation(40..200, 0.2));
        let soft = tuned(Method::SoftImpute);
        assert!(soft.setting.starts_with("lambda "), "{}", soft.setting);
        let plain = tuned(Method::TaxonMeanOffset);
        assert_eq!(plain.setting, "nothing to choose");
        let (found, without) = (
            sum_of_squares(&soft.residuals),
            sum_of_squares(&plain.residuals),
        );
        assert!(found < 0.5 * without, "{found} against {without}");
    }

    #[test]
    fn where_nothing_can_be_hidden_the_default_is_taken() {
        let table = patterned(60);
        for (rows, fraction) in [
            (0..0, 0.3),
            (60..90, 0.3),
            (12..60, 0.0),
            (12..60, f64::NAN),
        ] {
            for method in [Method::Knn, Method::SoftImpute, Method::Ridge] {
                let tuned = impute_tuned(method, &table, &validation(rows.clone(), fraction));
                assert_eq!(tuned.completed, super::super::impute(method, &table));
                assert_eq!(tuned.setting, Setting::default_of(method).to_string());
                assert!(tuned.residuals.is_empty());
            }
        }
    }

    #[test]
    fn one_and_two_threads_tune_alike() {
        let table = patterned(60);
        let with = |n: usize, method| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(n)
                .build()
                .unwrap();
            pool.install(|| impute_tuned(method, &table, &validation(12..60, 0.2)))
        };
        for method in Method::ALL {
            assert_eq!(with(1, method), with(2, method), "{method}");
        }
    }
}

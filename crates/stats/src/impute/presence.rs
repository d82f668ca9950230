//! Is a zero false? Classical answers, one per [`Method`]: the probability that a taxon is present in a
//! sample in which none of it was seen, from the sample's other taxa.
//!
//! ```text
//! training rows, zeros taken as absent -> seen (some non-zeros set to 0, if asked for) and truth
//!   -> per taxon: truth from what is seen of the others -> rows asked about, each taxon without itself
//! ```
//!
//! | method | probability |
//! |---|---|
//! | zero | 0 |
//! | taxon-mean | prevalence of the taxon |
//! | taxon-mean-offset | logistic in prevalence and richness (Rasch 1960) |
//! | knn | share of the nearest samples that have it |
//! | soft-impute, svd | low rank, soft and hard, of the centred presence |
//! | nmf | non-negative factors of the presence |
//! | local-least-squares | regression on the presence of the taxa most correlated with it |
//! | ridge | regression on the presence and values of all others |
//! | extra-trees | randomised trees on the same and the richness |
//!
//! What is not a probability by itself goes through a logistic curve (Platt 1999) fitted on training rows
//! that the method did not see; settings are those of least logarithmic loss there.

mod factors;
mod forests;
mod logistic;
mod neighbours;
mod rasch;
mod regression;
mod samples;

use super::Method;
use crate::{EntryState, Error, Incomplete};
use logistic::{Curve, log_loss};
use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use samples::Problem;

/// How presence is learned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PresenceOptions {
    /// Share of the non-zero entries of the rows asked about that were set to 0, as far as it is known, 0
    /// to below 1. Training rows are made to look alike.
    pub zeroed: f64,
    /// Of the draws.
    pub seed: u64,
}

/// Training rows that settings and curves are fitted on: one of so many.
const HELD_OUT: usize = 5;
/// Share of the entries judged there where nothing says how many were set to 0.
const JUDGED: f64 = 0.1;
/// No method is as certain as this: probabilities lie between this and 1 less this.
const DOUBT: f64 = 1e-4;

/// The probability that each entry of some rows is present: 1 where it is observed, and what the method
/// says where it is zero (maybe false) or hidden. All other rows are learned from, their zeros taken as
/// absent.
///
/// - `rows`: rows asked about, each once
/// - returns `[rows.len(), n_taxa]`, 0 to 1; one half where there is no row to learn from
///
/// # Errors
/// A row that the table does not have, a share outside of 0 to 1.
///
/// # Example
/// ```
/// use ndarray::array;
/// use suffuse_stats::Incomplete;
/// use suffuse_stats::impute::{Method, PresenceOptions, presence};
///
/// let table = Incomplete::from_values(array![[1.0, 2.0], [3.0, 2.0], [2.0, 0.0], [1.0, 0.0]])?;
/// let options = PresenceOptions { zeroed: 0.0, seed: 0 };
/// let found = presence(Method::TaxonMean, &table, &[3], options)?;
/// assert_eq!(found, array![[1.0, 2.5 / 4.0]]); // 2 of 3 have it, with half a count added to each side
/// # Ok::<(), suffuse_stats::Error>(())
/// ```
pub fn presence(
    method: Method,
    table: &Incomplete,
    rows: &[usize],
    options: PresenceOptions,
) -> Result<Array2<f64>, Error> {
    if let Some(found) = rows.iter().find(|row| **row >= table.n_samples()) {
        return Err(Error::Shape {
            what: "row to judge presence in",
            found: *found,
            expected: table.n_samples(),
        });
    }
    if !(0.0..1.0).contains(&options.zeroed) {
        return Err(Error::BadOption {
            option: "share of entries set to 0",
            value: options.zeroed.to_string(),
            expected: "0 to below 1",
        });
    }
    let mut is_asked = vec![false; table.n_samples()];
    rows.iter().for_each(|row| is_asked[*row] = true);
    let train: Vec<usize> = (0..table.n_samples()).filter(|r| !is_asked[*r]).collect();
    let row = |row: &usize| table.values.row(*row).to_vec();
    let asked: Vec<Vec<f64>> = rows.iter().map(row).collect();
    let mut found = if method == Method::Zero {
        Array2::zeros((rows.len(), table.n_taxa()))
    } else if train.is_empty() {
        Array2::from_elem((rows.len(), table.n_taxa()), 0.5)
    } else {
        judge(method, table, &train, &asked, options)
    };
    for ((row, taxon), probability) in found.indexed_iter_mut() {
        if table.state()[[rows[row], taxon]] == EntryState::Observed {
            *probability = 1.0;
        }
    }
    Ok(found)
}

/// A setting of a method, and what its scores mean.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Setting {
    Prevalence,
    Rasch,
    Neighbours(neighbours::Setting),
    Soft { share: f64 },
    Hard { rank: usize },
    Factors { rank: usize },
    Partners { n: usize },
    Ridge { penalty: f64 },
    Trees,
}

impl Setting {
    fn candidates(method: Method) -> Vec<Setting> {
        match method {
            Method::Zero | Method::TaxonMean => vec![Setting::Prevalence],
            Method::TaxonMeanOffset => vec![Setting::Rasch],
            Method::Knn => neighbours::Setting::all()
                .map(Setting::Neighbours)
                .collect(),
            Method::SoftImpute => [0.4, 0.2, 0.1, 0.05, 0.025]
                .map(|share| Setting::Soft { share })
                .to_vec(),
            Method::Svd => [2, 5, 10, 20, 40]
                .map(|rank| Setting::Hard { rank })
                .to_vec(),
            Method::Nmf => [4, 12, 30].map(|rank| Setting::Factors { rank }).to_vec(),
            Method::LocalLeastSquares => [5, 10, 20, 40].map(|n| Setting::Partners { n }).to_vec(),
            Method::Ridge => [0.3, 0.1, 0.03, 0.01]
                .map(|penalty| Setting::Ridge { penalty })
                .to_vec(),
            Method::ExtraTrees => vec![Setting::Trees],
        }
    }

    fn is_probability(self) -> bool {
        matches!(
            self,
            Setting::Prevalence | Setting::Rasch | Setting::Neighbours(_) | Setting::Trees
        )
    }
}

/// Scores of the rows asked about under each setting; what settings share is computed once.
fn scores(problem: &Problem, settings: &[Setting]) -> Vec<Array2<f64>> {
    let shared = match settings.first() {
        Some(Setting::Soft { .. } | Setting::Hard { .. }) => {
            Shared::Axes(factors::Axes::new(problem))
        }
        Some(Setting::Partners { .. }) => {
            Shared::Presence(regression::Products::of_presence(problem))
        }
        Some(Setting::Ridge { .. }) => Shared::All(regression::Products::of_all(problem)),
        Some(Setting::Neighbours(_)) => Shared::Neighbours(neighbours::Nearest::new(problem)),
        _ => Shared::Nothing,
    };
    let score = |setting: &Setting| match (*setting, &shared) {
        (Setting::Prevalence, _) => problem.prevalences(),
        (Setting::Rasch, _) => rasch::presence(problem),
        (Setting::Neighbours(setting), Shared::Neighbours(nearest)) => {
            nearest.presence(problem, setting)
        }
        (Setting::Soft { share }, Shared::Axes(axes)) => axes.soft(problem, share),
        (Setting::Hard { rank }, Shared::Axes(axes)) => axes.hard(problem, rank),
        (Setting::Factors { rank }, _) => factors::non_negative(problem, rank),
        (Setting::Partners { n }, Shared::Presence(products)) => products.partners(problem, n),
        (Setting::Ridge { penalty }, Shared::All(products)) => products.ridge(problem, penalty),
        (Setting::Trees, _) => forests::presence(problem),
        (setting, _) => unreachable!("{setting:?} comes with what it shares"),
    };
    settings.iter().map(score).collect()
}

enum Shared {
    Nothing,
    Axes(factors::Axes),
    Presence(regression::Products),
    All(regression::Products),
    Neighbours(neighbours::Nearest),
}

fn judge(
    method: Method,
    table: &Incomplete,
    train: &[usize],
    asked: &[Vec<f64>],
    options: PresenceOptions,
) -> Array2<f64> {
    let settings = Setting::candidates(method);
    let (mut best, mut curve) = (settings[0], Curve::default());
    let needs_none = settings.len() == 1 && best.is_probability();
    if !needs_none && train.len() >= 2 * HELD_OUT {
        let trial = Trial::new(table, train, asked, options);
        let mut least = f64::INFINITY;
        for (setting, scores) in settings.iter().zip(scores(&trial.problem, &settings)) {
            let said: Vec<f64> = trial.judged.iter().map(|at| scores[*at]).collect();
            let here = match setting.is_probability() {
                true => None,
                false => Some(Curve::fit(&said, &trial.is_present)),
            };
            let probability = |score: &f64| here.map_or(*score, |curve| curve.at(*score));
            let said: Vec<f64> = said.iter().map(probability).collect();
            let loss = log_loss(&said, &trial.is_present, DOUBT);
            if loss < least {
                (least, best) = (loss, *setting);
                curve = here.unwrap_or_default();
            }
        }
    }
    let problem = Problem::new(table, train, asked, asked, options);
    let scores = scores(&problem, &[best]).remove(0);
    let is_probability = best.is_probability();
    // A value that cannot be told is as good as none.
    let bounded = |p: f64| {
        if p.is_nan() {
            0.5
        } else {
            p.clamp(DOUBT, 1.0 - DOUBT)
        }
    };
    scores.mapv(|score| match is_probability {
        true => bounded(score),
        false => curve.at(score),
    })
}

/// Training rows kept apart, of which some entries are judged.
struct Trial {
    problem: Problem,
    /// Entries set to 0, and the same share of the true zeros.
    judged: Vec<(usize, usize)>,
    is_present: Vec<bool>,
}

impl Trial {
    fn new(
        table: &Incomplete,
        train: &[usize],
        asked: &[Vec<f64>],
        options: PresenceOptions,
    ) -> Trial {
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        rng.set_stream(1);
        let first = rng.random_range(0..HELD_OUT as u32) as usize;
        let is_apart = |at: usize| at % HELD_OUT == first;
        let of = |kept: bool| -> Vec<usize> {
            let chosen = (0..train.len()).filter(|at| is_apart(*at) == kept);
            chosen.map(|at| train[at]).collect()
        };
        let (apart, rest) = (of(true), of(false));
        let share = match options.zeroed > 0.0 {
            true => options.zeroed,
            false => JUDGED,
        };
        let (mut judged, mut is_present) = (Vec::new(), Vec::new());
        let mut rows = Vec::new();
        for (row, sample) in apart.iter().enumerate() {
            let before = table.values.row(*sample).to_vec();
            let after = samples::zeroed(&before, share, &mut rng);
            for (taxon, (before, after)) in before.iter().zip(&after).enumerate() {
                if *before > 0.0 && *after == 0.0 {
                    judged.push((row, taxon));
                    is_present.push(true);
                } else if *before == 0.0 && rng.random::<f64>() < share {
                    judged.push((row, taxon));
                    is_present.push(false);
                }
            }
            rows.push(after);
        }
        Trial {
            problem: Problem::new(table, &rest, &rows, asked, options),
            judged,
            is_present,
        }
    }
}

#[cfg(test)]
mod tests;

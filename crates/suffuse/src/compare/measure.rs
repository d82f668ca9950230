//! The figures of two sets of samples of a pool: the first in the place of the real ones, the second in that
//! of the generated ones.

use super::figure::{Figure, Metric};
use super::pool::Pool;
use super::split::{N_FOLDS, folds};
use crate::Result;
use ndarray::{Array2, Axis};
use suffuse_data::split::k_folds;
use suffuse_stats::classification_forest::{Features, ForestOptions, auroc_of};
use suffuse_stats::dependency::proportionality_of_log_ratios;
use suffuse_stats::differential::Permutations;
use suffuse_stats::distance::{bray_curtis, euclidean, jaccard};
use suffuse_stats::ks::ks;
use suffuse_stats::permanova::permanova;
use suffuse_stats::permdisp::permdisp;
use suffuse_stats::ranks::spearman;
use suffuse_stats::scores::score;
use suffuse_stats::taxon_laws::{Law, r2, slope};
use suffuse_stats::two_sample::{forest_auroc, mmd2, nearest_neighbour_accuracy};
use suffuse_stats::unifrac::{UniFrac, unifrac};

/// Figures with their values; `NaN` where one is undefined.
pub(super) type Measured = Vec<(Figure, f64)>;

/// Two sets of rows of a pool, of equal size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'a> {
    pub(super) real: &'a [usize],
    pub(super) other: &'a [usize],
}

impl Pair<'_> {
    /// All rows, the real ones first.
    pub(super) fn rows(&self) -> Vec<usize> {
        [self.real, self.other].concat()
    }
}

/// Distances between some rows of the pool; `None` where there is no tree for them.
pub(super) fn distances(
    pool: &Pool,
    rows: &[usize],
    metric: Metric,
) -> Result<Option<Array2<f64>>> {
    let shares = || pool.shares.select(Axis(0), rows);
    let on_tree = |form| match &pool.phylogeny {
        Some(phylogeny) => unifrac(&shares(), phylogeny, form).map(Some),
        None => Ok(None),
    };
    Ok(match metric {
        Metric::BrayCurtis => Some(bray_curtis(&shares())?),
        Metric::Jaccard => Some(jaccard(&shares())?),
        Metric::Aitchison => Some(euclidean(&pool.log_ratios.select(Axis(0), rows))?),
        Metric::UnweightedUniFrac => on_tree(UniFrac::Unweighted)?,
        Metric::WeightedUniFrac => on_tree(UniFrac::WeightedNormalised)?,
        Metric::GeneralisedUniFrac => on_tree(UniFrac::Generalised { alpha: 0.5 })?,
    })
}

/// Figures on distances.
///
/// - `distances`: `[2 n, 2 n]`, the `n` real samples first
pub(super) fn of_distances(
    metric: Metric,
    distances: &Array2<f64>,
    permutations: Permutations,
) -> Result<Measured> {
    let n = distances.nrows() / 2;
    let within = [0, n].map(|first| {
        let pairs = (0..n).flat_map(|i| (0..i).map(move |j| (first + i, first + j)));
        pairs.map(|pair| distances[pair]).collect::<Vec<f64>>()
    });
    let [real, other] = [0, 1].map(|set: usize| mean(&within[set]));
    let sets: Vec<usize> = (0..2 * n).map(|row| row / n).collect();
    let location = permanova(distances, &sets, permutations)?;
    let spread = permdisp(distances, &sets, permutations)?;
    let mut measured = vec![
        (Figure::Discrepancy(metric), (other - real).abs()),
        (Figure::DistanceKs(metric), ks(&within[0], &within[1])?),
        (Figure::PermanovaF(metric), location.pseudo_f),
        (Figure::PermanovaR2(metric), location.r2),
        (Figure::PermanovaP(metric), location.p),
        (Figure::PermdispF(metric), spread.f),
        (Figure::PermdispP(metric), spread.p),
    ];
    let is_second: Vec<bool> = sets.iter().map(|set| *set == 1).collect();
    match metric {
        Metric::BrayCurtis => measured.push((
            Figure::NearestNeighbour,
            nearest_neighbour_accuracy(distances, &is_second)?,
        )),
        Metric::Aitchison => measured.push((Figure::Mmd2, mmd2(distances, &is_second)?)),
        _ => {}
    }
    Ok(measured)
}

/// Figures that need no distances.
pub(super) fn of_samples(pool: &Pool, pair: Pair, seed: u64) -> Result<Measured> {
    let sets = [pair.real, pair.other];
    let shares = sets.map(|rows| pool.shares.select(Axis(0), rows));
    let prevalence = [0, 1].map(|set: usize| {
        let taxa = shares[set].columns().into_iter();
        let present = taxa.map(|taxon| taxon.iter().filter(|x| **x > 0.0).count());
        let n = sets[set].len() as f64;
        present
            .map(|n_present| n_present as f64 / n)
            .collect::<Vec<f64>>()
    });
    let zeros = [0, 1].map(|set: usize| 1.0 - mean(&prevalence[set]));
    let score = score(&prevalence[0], &prevalence[1])?;
    let ks_of = |values: &[f64]| {
        let [real, other] = sets.map(|rows| rows.iter().map(|row| values[*row]).collect());
        let (real, other): (Vec<f64>, Vec<f64>) = (real, other);
        ks(&real, &other)
    };
    // Where too few taxa vary there is no line: generated samples may all be one.
    let law = |law| match r2(law, &shares[0], &shares[1]) {
        Err(suffuse_stats::Error::TooFew { .. }) => Ok(f64::NAN),
        other => other,
    };
    let mut measured = vec![
        // Without a zero in the real samples there is nothing to deviate from.
        (
            Figure::SparsityDeviation,
            match zeros[0] {
                0.0 => f64::NAN,
                real => (zeros[1] - real).abs() / real,
            },
        ),
        (Figure::PrevalencePearson, score.pcc),
        (
            Figure::PrevalenceSpearman,
            spearman(&prevalence[0], &prevalence[1])?,
        ),
        (
            Figure::PrevalenceSlope,
            slope(&prevalence[0], &prevalence[1])?,
        ),
        (Figure::PrevalenceError, score.mae),
        (Figure::RichnessKs, ks_of(&pool.richness)?),
        (Figure::ShannonKs, ks_of(&pool.shannon)?),
        (Figure::SimpsonKs, ks_of(&pool.simpson)?),
        (Figure::Proportionality, proportionality(pool, pair)?),
        (Figure::MeanVariance, law(Law::MeanVariance)?),
        (Figure::OccupancyAbundance, law(Law::OccupancyAbundance)?),
    ];
    if let Some(faith) = &pool.faith {
        measured.push((Figure::FaithKs, ks_of(faith)?));
    }
    let features = Features::new(&pool.shares.select(Axis(0), &pair.rows()))?;
    let is_second: Vec<bool> = (0..2 * pair.real.len())
        .map(|row| row >= pair.real.len())
        .collect();
    let folds = folds(sets, &pool.subjects, seed)?;
    let auroc = forest_auroc(&features, &is_second, &folds, forest(seed))?;
    measured.push((Figure::ForestAuroc, auroc));
    Ok(measured)
}

fn forest(seed: u64) -> ForestOptions {
    ForestOptions {
        seed,
        ..ForestOptions::default()
    }
}

/// Spearman correlation over pairs of taxa; those that vary in neither set are left out.
fn proportionality(pool: &Pool, pair: Pair) -> Result<f64> {
    let rho = |rows: &[usize]| {
        proportionality_of_log_ratios(pool.log_ratios.select(Axis(0), rows))
            .map(|found| found.rho_p)
    };
    let (real, other) = (rho(pair.real)?, rho(pair.other)?);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for i in 0..real.nrows() {
        for j in 0..i {
            let (x, y) = (real[[i, j]], other[[i, j]]);
            if !x.is_nan() && !y.is_nan() {
                a.push(x);
                b.push(y);
            }
        }
    }
    Ok(spearman(&a, &b)?)
}

/// What learns a label, and what it is tested on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Learning<'a> {
    /// Generated samples.
    pub(super) generated: &'a [usize],
    /// Real samples to learn from; cross-validation on the tested ones where there are none.
    pub(super) train: Option<&'a [usize]>,
    /// Real samples to test on.
    pub(super) test: &'a [usize],
}

/// How well a label of real samples is learned from generated ones, and that of generated ones from real samples.
///
/// # Errors
/// No label in one of the sets.
pub(super) fn of_label(pool: &Pool, learning: Learning, seed: u64) -> Result<Measured> {
    let Some(labels) = &pool.labels else {
        return Ok(Vec::new());
    };
    let labelled = |rows: &[usize]| -> Vec<usize> {
        let has_label = |row: &&usize| labels.classes[**row].is_some();
        rows.iter().filter(has_label).copied().collect()
    };
    let test = labelled(learning.test);
    let generated = labelled(learning.generated);
    let train = learning.train.map(labelled);
    let all = [&generated, train.as_ref().unwrap_or(&Vec::new()), &test]
        .into_iter()
        .flatten()
        .copied()
        .collect::<Vec<usize>>();
    let features = Features::new(&pool.shares.select(Axis(0), &all))?;
    let classes: Vec<usize> = all
        .iter()
        .map(|row| labels.classes[*row].unwrap_or(0))
        .collect();
    let n_train = train.as_ref().map_or(0, Vec::len);
    let of_generated: Vec<usize> = (0..generated.len()).collect();
    let of_train: Vec<usize> = (generated.len()..generated.len() + n_train).collect();
    let of_test: Vec<usize> = (generated.len() + n_train..all.len()).collect();
    let auroc =
        |train: &[usize], test: &[usize]| auroc_of(&features, &classes, train, test, forest(seed));
    let found = auroc(&of_generated, &of_test)?;
    let of_real = match &train {
        Some(_) => &of_train,
        None => &of_test,
    };
    let recognised = auroc(of_real, &of_generated)?;
    let reference = match train {
        Some(_) => auroc(&of_train, &of_test)?,
        None => {
            let subjects: Vec<usize> = test.iter().map(|row| pool.subjects[*row]).collect();
            let mut areas = Vec::new();
            for fold in k_folds(&subjects, N_FOLDS, seed)? {
                let of =
                    |part: &[usize]| part.iter().map(|at| of_test[*at]).collect::<Vec<usize>>();
                areas.push(auroc(&of(&fold.train), &of(&fold.test))?);
            }
            // A fold with one class has no area.
            areas.retain(|area| !area.is_nan());
            mean(&areas)
        }
    };
    Ok(vec![
        (Figure::LabelAuroc, found),
        (Figure::LabelRatio, found / reference),
        (Figure::LabelRecognised, recognised),
        (Figure::RecognisedRatio, recognised / reference),
    ])
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

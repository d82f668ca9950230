//! Generated samples compared with real ones that the generator has not seen.
//!
//! ```text
//! REAL, SYNTH, TRAIN ─► Pool ─► n real, n generated ─► figures ──────────────┐
//!                         └─► REAL and TRAIN resplit, n and n ─► figures ─► band ─► Results
//! ```
//!
//! Every figure is of as many real as generated samples, and every split of the band is of that size, since
//! figures depend on it. Distances of the band are computed once for all splits.

pub mod figure;
mod heat_map;
mod measure;
mod pictures;
mod pool;
mod results;
mod split;

pub use heat_map::{Branch, HeatMap, TaxonOrder};
pub use pictures::{Pictures, TaxonPair};
pub use pool::{Features, Tables};
pub use results::{Band, Results, Value};

use crate::input::Collapse;
use crate::{Error, Result, Watch};
use figure::{Figure, Metric};
use measure::{Learning, Measured, Pair};
use pool::Pool;
use split::{Split, draw};
use std::time::Instant;
use suffuse_model::train::Progress;
use suffuse_stats::differential::Permutations;
use suffuse_stats::distance::subset;

/// What is compared, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Which features.
    pub features: Features,
    /// Features to leave out where ranks are nested, by the lineages of REAL.
    pub collapse: Option<Collapse>,
    /// Samples on each side; `None` for as many as there are, up to [`MAX_SAMPLES`].
    pub samples: Option<usize>,
    /// Metadata column that a forest learns from generated samples.
    pub label: Option<String>,
    /// Metadata column that names the subject of real samples.
    pub group: Option<String>,
    /// Random splits of the band.
    pub n_splits: usize,
    /// Label vectors of PERMANOVA and PERMDISP.
    pub n_permutations: usize,
    /// Seed of everything random.
    pub seed: u64,
}

/// Samples on each side, unless asked otherwise: the matrices of distances grow with the square.
pub const MAX_SAMPLES: usize = 2000;
/// Fewest samples on each side: five folds with two of each.
pub const MIN_SAMPLES: usize = 10;
/// Most real samples that the splits of the band are drawn from.
const MAX_POOLED: usize = 8000;

/// A comparison: figures, and what a report draws.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The figures.
    pub results: Results,
    /// Numbers for pictures.
    pub pictures: Pictures,
}

/// Compares. Figures that need a tree or a label are left out without one.
///
/// # Errors
/// Tables that do not fit each other or the options (see [`Tables`]), too few samples, an interruption.
pub fn compare(tables: Tables, options: &Options, watch: &mut Watch) -> Result<Comparison> {
    let (pool, mut notes) = Pool::new(tables, options)?;
    let n = n_per_side(&pool, options.samples, &mut notes)?;
    if pool.phylogeny.is_none() {
        notes.push("no --tree: UniFrac and Faith's diversity are left out".to_string());
    }
    let real = draw(&rows(&pool.real), n, options.seed, "compare/real");
    let generated = draw(&rows(&pool.generated), n, options.seed, "compare/generated");
    let train = draw(&rows(&pool.train), n, options.seed, "compare/train");
    let pair = Pair {
        real: &real,
        other: &generated,
    };
    let has_train = !pool.train.is_empty();
    let n_splits = if has_train { options.n_splits } else { 0 };
    let mut steps = Steps::new(watch, 2 + Metric::ALL.len() * (1 + n_splits) + n_splits);

    let mut found = measure::of_samples(&pool, pair, options.seed)?;
    steps.next()?;
    let learning = Learning {
        generated: &generated,
        train: has_train.then_some(&train),
        test: &real,
    };
    found.extend(measure::of_label(&pool, learning, options.seed)?);
    steps.next()?;
    let permutations = Permutations {
        n: options.n_permutations,
        seed: options.seed,
    };
    let mut pictures = Pictures::new(&pool, pair);
    for metric in Metric::ALL {
        if let Some(distances) = measure::distances(&pool, &pair.rows(), metric)? {
            pictures.add(metric, &distances)?;
            found.extend(measure::of_distances(metric, &distances, permutations)?);
        }
        steps.next()?;
    }
    let drawn = (&pictures.ordination, pictures.n_points);
    pictures.heat_map = HeatMap::new(&pool, pair, drawn)?;
    let band = match n_splits {
        0 => Vec::new(),
        _ => band(&pool, n, options, &mut steps, &mut notes)?,
    };
    let figures = Figure::all()
        .into_iter()
        .filter_map(|figure| {
            let value = value_of(&found, figure)?;
            let splits = band.iter().filter_map(|split| value_of(split, figure));
            Some(Value::new(figure, value, splits.collect()))
        })
        .collect::<Vec<Value>>();
    let results = Results {
        n_per_side: n,
        n_real: pool.real.len(),
        n_generated: pool.generated.len(),
        n_train: pool.train.len(),
        n_taxa: pool.feature_ids.len(),
        n_permutations: options.n_permutations,
        n_splits,
        verdict: results::verdict(&figures),
        figures,
        notes,
    };
    Ok(Comparison { results, pictures })
}

/// The figures of each random split of REAL and TRAIN.
fn band(
    pool: &Pool,
    n: usize,
    options: &Options,
    steps: &mut Steps,
    notes: &mut Vec<String>,
) -> Result<Vec<Measured>> {
    let mut rows: Vec<usize> = pool.real.clone().chain(pool.train.clone()).collect();
    let most = MAX_POOLED.max(2 * n);
    if rows.len() > most {
        notes.push(format!(
            "the band is drawn from {most} of the {} samples of REAL and TRAIN",
            rows.len()
        ));
        rows = draw(&rows, most, options.seed, "compare/band");
    }
    let splits = (0..options.n_splits)
        .map(|k| split::split(&rows, &pool.subjects, n, options.seed, k))
        .collect::<Result<Vec<Split>>>()?;
    let mut measured = Vec::new();
    for split in &splits {
        let pair = Pair {
            real: &split.real,
            other: &split.other,
        };
        let learning = Learning {
            generated: &split.labelled,
            train: Some(&split.train),
            test: &split.real,
        };
        let mut of_split = measure::of_samples(pool, pair, options.seed)?;
        of_split.extend(measure::of_label(pool, learning, options.seed)?);
        measured.push(of_split);
        steps.next()?;
    }
    let none = Permutations { n: 0, seed: 0 };
    for metric in Metric::ALL {
        let distances = measure::distances(pool, &rows, metric)?;
        steps.next()?;
        for (split, measured) in splits.iter().zip(&mut measured) {
            if let Some(distances) = &distances {
                let places: Vec<usize> = split
                    .real
                    .iter()
                    .chain(&split.other)
                    .filter_map(|row| rows.binary_search(row).ok())
                    .collect();
                let own = subset(distances, &places);
                measured.extend(measure::of_distances(metric, &own, none)?);
            }
            steps.next()?;
        }
    }
    Ok(measured)
}

fn rows(range: &std::ops::Range<usize>) -> Vec<usize> {
    range.clone().collect()
}

fn value_of(measured: &Measured, figure: Figure) -> Option<f64> {
    let found = measured.iter().find(|(other, _)| *other == figure);
    found.map(|(_, value)| *value)
}

/// How many samples stand on each side.
fn n_per_side(pool: &Pool, asked: Option<usize>, notes: &mut Vec<String>) -> Result<usize> {
    let both = pool.real.len().min(pool.generated.len());
    let most = match pool.train.len() {
        0 => both,
        n_train => both.min(n_train),
    };
    if most < MIN_SAMPLES {
        let (n_real, n_generated) = (pool.real.len(), pool.generated.len());
        let found = match pool.train.len() {
            0 => format!("{n_real} real and {n_generated} generated"),
            n_train => format!("{n_real} real, {n_generated} generated and {n_train} training"),
        };
        return Err(Error::Table(format!(
            "found {found} samples with a non-zero entry, expected at least {MIN_SAMPLES} of each"
        )));
    }
    match asked {
        Some(n) if n < MIN_SAMPLES || n > most => Err(Error::Usage(format!(
            "--samples {n}: expected {MIN_SAMPLES} to {most}, as many as every table can give"
        ))),
        Some(n) => Ok(n),
        None => {
            if most > MAX_SAMPLES {
                notes.push(format!(
                    "{MAX_SAMPLES} of up to {most} samples are compared; --samples takes more"
                ));
            }
            Ok(most.min(MAX_SAMPLES))
        }
    }
}

/// Steps of the work, as the user sees them.
struct Steps<'a, 'b> {
    watch: &'a mut Watch<'b>,
    step: usize,
    n_steps: usize,
    started: Instant,
}

impl<'a, 'b> Steps<'a, 'b> {
    fn new(watch: &'a mut Watch<'b>, n_steps: usize) -> Self {
        Steps {
            watch,
            step: 0,
            n_steps,
            started: Instant::now(),
        }
    }

    fn next(&mut self) -> Result<()> {
        self.step += 1;
        (self.watch.progress)(&Progress {
            stage: "compare".to_string(),
            step: self.step,
            n_steps: self.n_steps,
            loss: f64::NAN,
            validation: None,
            seconds: self.started.elapsed().as_secs_f64(),
        });
        match self.watch.is_interrupted() {
            true => Err(Error::Interrupted {
                advice: "nothing was written".to_string(),
            }),
            false => Ok(()),
        }
    }
}

//! Simple generators of microbiome tables: the baselines that stand beside every generative model.
//!
//! ```text
//! table -> Generator::fit -> Fitted -> sample(n, depths, seed) -> counts, n x taxa
//!                                   -> drawing(n, ..) -> rows(block) -> the same, block by block
//! ```
//!
//! Rows without a total have no composition; every generator leaves them out when it is fitted. A taxon
//! that no row has never appears in a sample. Each row of a sample is drawn from its own stream, so results
//! are the same for any number of threads. Nothing here returns `NaN`.

mod bootstrap;
pub mod copula;
pub mod counting;
mod dirichlet_multinomial;
mod drawing;
pub mod eigen;
mod generalised_gamma;
mod midasim;
mod midasim_parametric;
pub mod normal;
mod presence;
mod sparsedossa2;
pub mod spike_in;

pub use bootstrap::FittedBootstrap;
pub use dirichlet_multinomial::FittedDirichletMultinomial;
pub use drawing::{Drawing, Reads, SparseRow, reads_of_shares};
pub use midasim::FittedMidasim;
pub use midasim_parametric::FittedMidasimParametric;
pub use sparsedossa2::FittedSparseDossa2;

use crate::error::check_finite;
use crate::{Error, Result};
use ndarray::Array2;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A simple generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Generator {
    /// Real rows drawn with replacement.
    Bootstrap,
    /// One Dirichlet distribution for all compositions.
    DirichletMultinomial,
    /// Zero-inflated log-normal abundances joined by a Gaussian copula, made relative (Ma et al. 2021).
    #[serde(rename = "sparsedossa2")]
    SparseDossa2,
    /// Presence by a thresholded normal vector, abundances by rank (He et al. 2024).
    Midasim,
    /// The same with generalised gamma distributions of the relative abundances.
    MidasimParametric,
}

impl Generator {
    /// All generators, from the simplest on.
    pub const ALL: [Generator; 5] = [
        Generator::Bootstrap,
        Generator::DirichletMultinomial,
        Generator::SparseDossa2,
        Generator::Midasim,
        Generator::MidasimParametric,
    ];

    /// Name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Generator::Bootstrap => "bootstrap",
            Generator::DirichletMultinomial => "dirichlet-multinomial",
            Generator::SparseDossa2 => "sparsedossa2",
            Generator::Midasim => "midasim",
            Generator::MidasimParametric => "midasim-parametric",
        }
    }

    /// The generator of a name.
    ///
    /// # Errors
    /// A name that is none of theirs.
    pub fn parse(name: &str) -> Result<Generator> {
        Generator::ALL
            .into_iter()
            .find(|generator| generator.name() == name)
            .ok_or_else(|| Error::BadOption {
                option: "generator",
                value: format!("{name:?}"),
                expected: "bootstrap, dirichlet-multinomial, sparsedossa2, midasim or midasim-parametric",
            })
    }

    /// Fits the generator.
    ///
    /// - `table`: `[n_samples, n_taxa]`, counts or relative abundances in any unit, not negative
    /// - `seed`: of the samples that `sparsedossa2` is calibrated with; no other generator uses it
    ///
    /// # Errors
    /// An entry that is negative or not finite; too few rows with a total (two for the generators that
    /// estimate a spread); for `dirichlet-multinomial` an entry that is not a whole number.
    ///
    /// # Example
    /// ```
    /// use ndarray::array;
    /// use suffuse_stats::generate::{Depths, Generator};
    /// let table = array![[5.0, 3.0, 0.0], [2.0, 0.0, 0.0], [4.0, 9.0, 0.0]];
    /// let fitted = Generator::parse("midasim").unwrap().fit(&table, 1).unwrap();
    /// let sample = fitted.sample(2, &Depths::Given(vec![100, 50]), 1).unwrap();
    /// assert_eq!((sample.row(0).sum(), sample.row(1).sum()), (100.0, 50.0));
    /// assert_eq!(sample.column(2).sum(), 0.0);
    /// ```
    pub fn fit(self, table: &Array2<f64>, seed: u64) -> Result<Fitted> {
        let template = Template::new(table)?;
        Ok(match self {
            Generator::Bootstrap => Fitted::Bootstrap(FittedBootstrap::fit(template)),
            Generator::DirichletMultinomial => {
                Fitted::DirichletMultinomial(FittedDirichletMultinomial::fit(&template)?)
            }
            Generator::SparseDossa2 => {
                Fitted::SparseDossa2(Box::new(FittedSparseDossa2::fit(&template, seed)?))
            }
            Generator::Midasim => Fitted::Midasim(Box::new(FittedMidasim::fit(&template)?)),
            Generator::MidasimParametric => {
                Fitted::MidasimParametric(Box::new(FittedMidasimParametric::fit(&template)?))
            }
        })
    }
}

impl fmt::Display for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Reads of the samples to draw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Depths {
    /// As in the table that was fitted: its own rows for `bootstrap`, a log-normal for `sparsedossa2`, its
    /// totals without replacement (anew when all were taken) for the others.
    AsFitted,
    /// One total per sample. `bootstrap` then draws the reads of a real row anew, with replacement.
    Given(Vec<u64>),
}

/// A generator that was fitted to a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Fitted {
    /// Rows.
    Bootstrap(FittedBootstrap),
    /// Concentrations.
    DirichletMultinomial(FittedDirichletMultinomial),
    /// Marginals and a copula.
    SparseDossa2(Box<FittedSparseDossa2>),
    /// Thresholds, values and two copulas.
    Midasim(Box<FittedMidasim>),
    /// Thresholds, marginals and two copulas.
    MidasimParametric(Box<FittedMidasimParametric>),
}

impl Fitted {
    /// Draws a table.
    ///
    /// - `n`: samples
    /// - returns counts, `[n, n_taxa]`; each row sums to its depth. Rows that `bootstrap` draws
    ///   [as fitted](Depths::AsFitted) are those of the table, counts or not
    ///
    /// # Errors
    /// Depths of another number than `n`; depths as fitted of a table that does not hold counts.
    pub fn sample(&self, n: usize, depths: &Depths, seed: u64) -> Result<Array2<f64>> {
        Ok(self.drawing(n, depths, Reads::Exact, seed)?.table())
    }

    /// Number of taxa of the table that was fitted.
    pub fn n_taxa(&self) -> usize {
        match self {
            Fitted::Bootstrap(fitted) => fitted.n_taxa(),
            Fitted::DirichletMultinomial(fitted) => fitted.alpha().len(),
            Fitted::SparseDossa2(fitted) => fitted.n_taxa(),
            Fitted::Midasim(fitted) => fitted.n_taxa(),
            Fitted::MidasimParametric(fitted) => fitted.n_taxa(),
        }
    }

    fn library_sizes(&self) -> &LibrarySizes {
        match self {
            Fitted::Bootstrap(fitted) => fitted.library_sizes(),
            Fitted::DirichletMultinomial(fitted) => fitted.library_sizes(),
            Fitted::SparseDossa2(fitted) => fitted.library_sizes(),
            Fitted::Midasim(fitted) => fitted.library_sizes(),
            Fitted::MidasimParametric(fitted) => fitted.library_sizes(),
        }
    }
}

/// The rows with a total of the table that is fitted.
struct Template {
    /// As given.
    entries: Array2<f64>,
    /// Rows sum to 1.
    relative: Array2<f64>,
    library_sizes: LibrarySizes,
}

impl Template {
    fn new(table: &Array2<f64>) -> Result<Template> {
        check_finite("abundances", table)?;
        for ((row, column), &value) in table.indexed_iter() {
            if value < 0.0 {
                return Err(Error::BadEntry {
                    what: "abundances",
                    row,
                    column,
                    value,
                    expected: "a number that is not negative",
                });
            }
        }
        let totals: Vec<f64> = table.rows().into_iter().map(|row| row.sum()).collect();
        let rows: Vec<usize> = (0..totals.len()).filter(|i| totals[*i] > 0.0).collect();
        if rows.is_empty() {
            return Err(Error::TooFew {
                what: "samples with a non-zero entry to fit a generator to",
                found: 0,
                needed: 1,
            });
        }
        let entries = table.select(ndarray::Axis(0), &rows);
        let mut relative = entries.clone();
        for (mut row, i) in relative.rows_mut().into_iter().zip(&rows) {
            row.mapv_inplace(|value| value / totals[*i]);
        }
        let is_whole = entries.iter().all(|value| value.fract() == 0.0);
        let totals = rows.iter().map(|i| totals[*i]).collect();
        Ok(Template {
            entries,
            relative,
            library_sizes: LibrarySizes { totals, is_whole },
        })
    }

    fn n_samples(&self) -> usize {
        self.relative.nrows()
    }

    fn n_taxa(&self) -> usize {
        self.relative.ncols()
    }

    /// Refuses a table that tells nothing about how samples differ.
    fn require_samples(&self, needed: usize) -> Result<()> {
        if self.n_samples() < needed {
            return Err(Error::TooFew {
                what: "samples with a non-zero entry to fit a generator to",
                found: self.n_samples(),
                needed,
            });
        }
        Ok(())
    }

    /// Refuses a table of anything but counts.
    ///
    /// - `what`: the counts that are needed, for the message
    fn require_counts(&self, what: &'static str) -> Result<()> {
        let entries = self.entries.indexed_iter();
        match entries.into_iter().find(|(_, x)| x.fract() != 0.0) {
            None => Ok(()),
            Some(((row, column), value)) => Err(Error::BadEntry {
                what,
                row,
                column,
                value: *value,
                expected: "a whole number of reads",
            }),
        }
    }

    /// Samples that have each taxon.
    fn n_present(&self) -> Vec<usize> {
        let present =
            |column: ndarray::ArrayView1<'_, f64>| column.iter().filter(|x| **x > 0.0).count();
        self.relative.columns().into_iter().map(present).collect()
    }
}

/// Totals of the rows that were fitted.
#[derive(Debug, Clone, PartialEq)]
struct LibrarySizes {
    totals: Vec<f64>,
    is_whole: bool,
}

impl LibrarySizes {
    /// The totals as numbers of reads.
    fn reads(&self) -> Result<Vec<u64>> {
        if !self.is_whole {
            return Err(Error::BadOption {
                option: "depths",
                value: "as fitted".to_string(),
                expected: "a number of reads per sample, because the table that was fitted does not hold counts",
            });
        }
        Ok(self.totals.iter().map(|total| *total as u64).collect())
    }

    /// A training row for each of `n` samples: all rows in a random order, and again.
    fn rows(&self, n: usize, seed: u64) -> Vec<usize> {
        let mut rng = stream(seed, None);
        let mut rows = Vec::with_capacity(n);
        while rows.len() < n {
            let mut turn: Vec<usize> = (0..self.totals.len()).collect();
            turn.shuffle(&mut rng);
            rows.extend(turn);
        }
        rows.truncate(n);
        rows
    }

    /// Depths of `n` samples.
    fn depths(&self, n: usize, depths: &Depths, seed: u64) -> Result<Vec<u64>> {
        match depths {
            Depths::Given(depths) => Ok(depths.clone()),
            Depths::AsFitted => {
                let reads = self.reads()?;
                Ok(self.rows(n, seed).iter().map(|row| reads[*row]).collect())
            }
        }
    }
}

/// The stream of a row, or that of what concerns all rows.
fn stream(seed: u64, row: Option<usize>) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(row.map_or(0, |row| row as u64 + 1));
    rng
}

/// The `x` in `[low, high]` at which a rising function is 0, by Newton steps kept within a bracket; an end
/// where it does not change its sign.
///
/// - `f`: its value and slope
fn rising_root((low, high): (f64, f64), start: f64, f: impl Fn(f64) -> (f64, f64)) -> f64 {
    let (mut low, mut high, mut x) = (low, high, start.clamp(low, high));
    for _ in 0..80 {
        let (value, slope) = f(x);
        if value == 0.0 {
            return x;
        }
        if value > 0.0 {
            high = x;
        } else {
            low = x;
        }
        let newton = x - value / slope;
        let next = if newton > low && newton < high {
            newton
        } else {
            0.5 * (low + high)
        };
        if (next - x).abs() <= 1e-10 * (1.0 + x.abs()) {
            return next;
        }
        x = next;
    }
    x
}

#[cfg(test)]
mod tests;

//! Samples of a fitted generator, drawn block by block: a row does not depend on the block that it is in.

use super::counting::{apportion, dirichlet, multinomial};
use super::{Depths, Fitted, stream};
use crate::error::check_length;
use crate::{Error, Result};
use ndarray::Array2;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::fmt;
use std::ops::Range;

/// How reads are made of a generated composition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reads {
    /// The generator's own way. `midasim` and `midasim-parametric` share the depth out, so that each present
    /// taxon has a read; the others draw multinomially; `bootstrap` at depths as fitted keeps its rows.
    Exact,
    /// Drawn anew at the depth of the sample: a rare taxon may get no read.
    Multinomial,
    /// Drawn anew around a composition that varies: Dirichlet of the generated composition times the
    /// concentration, then multinomial. The share of a taxon that has `p` varies by
    /// `p (1 - p) / (concentration + 1)`.
    DirichletMultinomial {
        /// Sum of the parameters of the Dirichlet distribution, above 0.
        concentration: f64,
    },
}

impl Reads {
    /// The way of a name: `exact`, `multinomial` or `dirichlet-multinomial:CONCENTRATION`.
    ///
    /// # Errors
    /// Another name, a concentration that is not a number above 0.
    pub fn parse(text: &str) -> Result<Reads> {
        let concentration = text
            .strip_prefix("dirichlet-multinomial:")
            .and_then(|number| number.parse::<f64>().ok())
            .filter(|number| *number > 0.0 && number.is_finite());
        match (text, concentration) {
            ("exact", _) => Ok(Reads::Exact),
            ("multinomial", _) => Ok(Reads::Multinomial),
            (_, Some(concentration)) => Ok(Reads::DirichletMultinomial { concentration }),
            _ => Err(Error::BadOption {
                option: "reads",
                value: format!("{text:?}"),
                expected: "exact, multinomial, or dirichlet-multinomial:NUMBER with a number above 0",
            }),
        }
    }
}

impl fmt::Display for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reads::Exact => f.write_str("exact"),
            Reads::Multinomial => f.write_str("multinomial"),
            Reads::DirichletMultinomial { concentration } => {
                write!(f, "dirichlet-multinomial:{concentration}")
            }
        }
    }
}

/// The taxa that a sample has, and their reads.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SparseRow {
    /// Positions of the taxa, rising.
    pub columns: Vec<u32>,
    /// Reads of each, above 0.
    pub counts: Vec<f64>,
}

impl SparseRow {
    /// - `dense`: an entry per taxon
    pub fn of(dense: &[f64]) -> SparseRow {
        let present = || (0..).zip(dense).filter(|(_, count)| **count != 0.0);
        SparseRow {
            columns: present().map(|(column, _)| column).collect(),
            counts: present().map(|(_, count)| *count).collect(),
        }
    }

    /// Sum of the reads.
    pub fn total(&self) -> f64 {
        self.counts.iter().sum()
    }
}

/// What is known of all samples before any is drawn.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Plan {
    /// Reads per sample, where the composition does not come with them.
    pub(super) depths: Option<Vec<u64>>,
    /// Richness per sample, of the generator that has it from a row of the table.
    pub(super) etas: Option<Vec<f64>>,
}

/// A sample before its reads are made.
pub(super) struct Composition {
    /// In proportion to the composition.
    pub(super) weights: Vec<f64>,
    pub(super) depth: u64,
    pub(super) exact: ExactReads,
}

/// What [`Reads::Exact`] means for a generator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum ExactReads {
    /// The weights are the entries.
    Weights,
    Multinomial,
    Apportioned,
}

/// A number of samples of a fitted generator, each drawn from a stream of its own when it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing<'a> {
    fitted: &'a Fitted,
    plan: Plan,
    reads: Reads,
    n: usize,
    seed: u64,
}

impl Fitted {
    /// Prepares to draw `n` samples.
    ///
    /// # Errors
    /// Depths of another number than `n`; depths as fitted of a table that does not hold counts (`bootstrap`
    /// then gives its rows as they are, but cannot redraw their reads); a concentration that is not a
    /// number above 0.
    ///
    /// # Example
    /// ```
    /// use ndarray::array;
    /// use suffuse_stats::generate::{Depths, Generator, Reads};
    /// let table = array![[5.0, 3.0, 0.0], [2.0, 0.0, 0.0], [4.0, 9.0, 0.0]];
    /// let fitted = Generator::Midasim.fit(&table, 1).unwrap();
    /// let drawing = fitted.drawing(9, &Depths::AsFitted, Reads::Exact, 1).unwrap();
    /// assert_eq!(drawing.rows(4..9), drawing.rows(0..9)[4..]);
    /// ```
    pub fn drawing(
        &self,
        n: usize,
        depths: &Depths,
        reads: Reads,
        seed: u64,
    ) -> Result<Drawing<'_>> {
        if let Depths::Given(depths) = depths {
            check_length("depths of the samples to draw", depths.len(), n)?;
        }
        match reads {
            Reads::DirichletMultinomial { concentration }
                if !(concentration > 0.0 && concentration.is_finite()) =>
            {
                return Err(Error::BadOption {
                    option: "concentration of the reads",
                    value: concentration.to_string(),
                    expected: "a number above 0",
                });
            }
            Reads::Exact => {}
            _ if *depths == Depths::AsFitted => drop(self.library_sizes().reads()?),
            _ => {}
        }
        let plan = match self {
            Fitted::Bootstrap(fitted) => fitted.plan(depths),
            Fitted::DirichletMultinomial(fitted) => fitted.plan(n, depths, seed)?,
            Fitted::SparseDossa2(fitted) => fitted.plan(depths)?,
            Fitted::Midasim(fitted) => fitted.plan(n, depths, seed)?,
            Fitted::MidasimParametric(fitted) => fitted.plan(n, depths, seed)?,
        };
        Ok(Drawing {
            fitted: self,
            plan,
            reads,
            n,
            seed,
        })
    }
}

impl Drawing<'_> {
    /// Number of samples.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The samples of this range, which must lie below [`Drawing::n`].
    pub fn rows(&self, rows: Range<usize>) -> Vec<SparseRow> {
        let row = |row| SparseRow::of(&self.row(row));
        rows.into_par_iter().map(row).collect()
    }

    /// All samples, `[n, n_taxa]`.
    pub fn table(&self) -> Array2<f64> {
        let rows: Vec<Vec<f64>> = (0..self.n)
            .into_par_iter()
            .map(|row| self.row(row))
            .collect();
        let mut table = Array2::zeros((self.n, self.fitted.n_taxa()));
        for (mut to, from) in table.rows_mut().into_iter().zip(rows) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = from);
        }
        table
    }

    fn row(&self, row: usize) -> Vec<f64> {
        let rng = &mut stream(self.seed, Some(row));
        let depth = self.plan.depths.as_ref().map(|depths| depths[row]);
        let composition = match self.fitted {
            Fitted::Bootstrap(fitted) => fitted.draw(depth, rng),
            Fitted::SparseDossa2(fitted) => fitted.draw(depth, rng),
            Fitted::DirichletMultinomial(fitted) => fitted.draw(planned(depth), rng),
            Fitted::MidasimParametric(fitted) => fitted.draw(planned(depth), rng),
            Fitted::Midasim(fitted) => {
                let eta = self.plan.etas.as_ref().map(|etas| etas[row]);
                fitted.draw(planned(depth), planned(eta), rng)
            }
        };
        reads(composition, self.reads, rng)
    }
}

fn planned<T>(value: Option<T>) -> T {
    value.expect("the generator planned it for every sample")
}

/// Reads of a composition; [`Reads::Exact`] shares the depth out, so that each present taxon has a read.
///
/// - `shares`: taxa, rising, and their shares, which are above 0
/// - returns reads that sum to `depth`
pub fn reads_of_shares(
    shares: &[(u32, f64)],
    depth: u64,
    how: Reads,
    rng: &mut ChaCha8Rng,
) -> SparseRow {
    let composition = Composition {
        weights: shares.iter().map(|(_, share)| *share).collect(),
        depth,
        exact: ExactReads::Apportioned,
    };
    let counts = reads(composition, how, rng);
    let present = || {
        shares
            .iter()
            .zip(&counts)
            .filter(|(_, count)| **count > 0.0)
    };
    SparseRow {
        columns: present().map(|((taxon, _), _)| *taxon).collect(),
        counts: present().map(|(_, count)| *count).collect(),
    }
}

fn reads(composition: Composition, reads: Reads, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let Composition {
        weights,
        depth,
        exact,
    } = composition;
    match (reads, exact) {
        (Reads::Exact, ExactReads::Weights) => weights,
        (Reads::Exact, ExactReads::Apportioned) => apportion(&weights, depth),
        (Reads::Exact, ExactReads::Multinomial) | (Reads::Multinomial, _) => {
            multinomial(&weights, depth, rng)
        }
        (Reads::DirichletMultinomial { concentration }, _) => {
            let total: f64 = weights.iter().sum();
            let scale = concentration / total;
            let alpha: Vec<f64> = weights.iter().map(|weight| weight * scale).collect();
            multinomial(&dirichlet(&alpha, rng), depth, rng)
        }
    }
}

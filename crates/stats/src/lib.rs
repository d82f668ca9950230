//! Numbers on tables: scores of imputed entries, classical imputers (the baselines of every model), simple
//! generators and what a synthetic table gives away, statistics of dependency between taxa, distances and
//! ordination, comparisons of two groups and of two tables, and Rubin's rules over completed tables. No
//! tensor library.
//!
//! Matrices are dense `ndarray` arrays in f64 with samples in rows and taxa in columns. Every
//! result is the same for any number of threads: sums run in a fixed order, and random numbers
//! come from generators keyed by seed and task.

pub mod alpha_diversity;
pub mod average_linkage;
pub mod blend;
pub mod bootstrap;
pub mod calibration;
pub mod classification_forest;
pub mod correlation_inflation;
pub mod dependency;
pub mod differential;
pub mod distance;
pub mod error;
pub mod generate;
pub mod impute;
pub mod incomplete;
pub mod ks;
pub mod least_squares;
mod logistic_regression;
pub mod pcoa;
pub mod permanova;
pub mod permdisp;
pub mod pool;
pub mod privacy;
pub mod ranks;
pub mod scores;
pub mod stack;
pub mod tail;
pub mod taxon_laws;
pub mod two_sample;
pub mod unifrac;
pub mod unseen;

#[cfg(test)]
mod golden;

pub use error::{Error, Result};
pub use incomplete::{EntryState, Incomplete};

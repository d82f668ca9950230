//! A fitted generator, and the samples that it draws in blocks.

use super::learned::{Guidance, Learned, LearnedDrawing, Learning};
use super::{Cohort, KeptTaxa, Method};
use crate::{Error, Result, Watch};
use ndarray::Array2;
use rand::Rng;
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use suffuse_data::Metadata;
use suffuse_data::seeded::seeded;
use suffuse_model::device::Device;
use suffuse_model::train::Progress;
use suffuse_stats::generate::{self as simple, Depths, Reads, SparseRow};

/// A generator that was fitted to a cohort.
#[derive(Debug)]
pub enum Fitted {
    /// A simple generator, one fit per group of the cohort.
    Simple(Vec<simple::Fitted>),
    /// The learned one, for all groups.
    Learned(Box<Learned>),
}

/// What the learned generator is told of the samples to draw.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// Their metadata.
    pub metadata: &'a Metadata,
    /// Metadata that the last of them has, and that those between are on the way to.
    pub toward: Option<&'a Metadata>,
    /// Taxa that they keep of samples of the cohort.
    pub kept: Option<&'a KeptTaxa>,
    /// How strongly they are held to it.
    pub guidance: &'a Guidance,
    /// Where the networks compute.
    pub device: &'a Device,
}

/// The samples that are asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Samples of each group of the cohort; they come one group after the other.
    pub sizes: Vec<usize>,
    /// Reads of each.
    pub depths: Depths,
    /// How they are made of a composition.
    pub reads: Reads,
    /// Seed of everything random.
    pub seed: u64,
}

/// Samples of a fitted generator that are drawn when asked for.
#[derive(Debug)]
pub struct Drawing<'a> {
    parts: Parts<'a>,
    /// Group of each sample.
    groups: Vec<usize>,
    seed: u64,
}

#[derive(Debug)]
enum Parts<'a> {
    /// One per group.
    Simple(Vec<simple::Drawing<'a>>),
    Learned(Box<LearnedDrawing<'a>>),
}

impl Wanted {
    /// Number of samples.
    pub fn n(&self) -> usize {
        self.sizes.iter().sum()
    }

    /// Group of each sample.
    pub fn groups(&self) -> Vec<usize> {
        let group = |(group, size): (usize, &usize)| std::iter::repeat_n(group, *size);
        self.sizes.iter().enumerate().flat_map(group).collect()
    }
}

/// Fits a generator to a cohort: a simple one to each of its groups or to all of it, a learned one to all.
///
/// # Errors
/// What the generator refuses, Ctrl-C.
pub fn fit(
    method: Method,
    cohort: &Cohort,
    learning: &Learning,
    seed: u64,
    watch: &mut Watch,
) -> Result<Fitted> {
    let start = Instant::now();
    let all = [(0..cohort.table.n_samples()).collect::<Vec<usize>>()];
    let groups: &[Vec<usize>] = match &cohort.groups {
        Some(groups) => &groups.rows,
        None => &all,
    };
    match method {
        Method::SparseMicrobiome => {
            let learned = Learned::fit(cohort, learning, seed, watch)?;
            Ok(Fitted::Learned(Box::new(learned)))
        }
        Method::Vae => {
            let plain = Learning {
                config: learning.config.as_plain_vae(),
                ..learning.clone()
            };
            let learned = Learned::fit(cohort, &plain, seed, watch)?;
            Ok(Fitted::Learned(Box::new(learned)))
        }
        Method::Simple(generator) => {
            let mut fits = Vec::with_capacity(groups.len());
            for (group, rows) in groups.iter().enumerate() {
                if watch.is_interrupted() {
                    return Err(Error::Interrupted {
                        advice: "nothing was written".to_string(),
                    });
                }
                let fitted = generator
                    .fit(&entries(cohort, rows), seed_of(seed, cohort, group))
                    .map_err(|error| in_group(error.into(), cohort, group))?;
                fits.push(fitted);
                (watch.progress)(&Progress {
                    stage: "fitting".to_string(),
                    step: group + 1,
                    n_steps: groups.len(),
                    loss: f64::NAN,
                    validation: None,
                    seconds: start.elapsed().as_secs_f64(),
                });
            }
            Ok(Fitted::Simple(fits))
        }
    }
}

impl Fitted {
    /// Prepares to draw samples like those of the cohort that it was fitted to.
    ///
    /// # Errors
    /// Depths that the generator cannot give.
    pub fn drawing<'a>(
        &'a self,
        cohort: &'a Cohort,
        wanted: &'a Wanted,
        given: Given<'a>,
    ) -> Result<Drawing<'a>> {
        let parts = match self {
            Fitted::Learned(learned) => {
                Parts::Learned(Box::new(learned.drawing(cohort, wanted, given)?))
            }
            Fitted::Simple(fits) => {
                let mut parts = Vec::with_capacity(fits.len());
                let mut first = 0;
                for (group, (fitted, size)) in fits.iter().zip(&wanted.sizes).enumerate() {
                    let depths = match &wanted.depths {
                        Depths::AsFitted => Depths::AsFitted,
                        Depths::Given(all) => Depths::Given(all[first..first + size].to_vec()),
                    };
                    let seed = seed_of(wanted.seed, cohort, group);
                    parts.push(fitted.drawing(*size, &depths, wanted.reads, seed)?);
                    first += size;
                }
                Parts::Simple(parts)
            }
        };
        Ok(Drawing {
            parts,
            groups: wanted.groups(),
            seed: wanted.seed,
        })
    }
}

impl Drawing<'_> {
    /// Number of samples.
    pub fn n(&self) -> usize {
        self.groups.len()
    }

    /// Group of each sample.
    pub fn groups(&self) -> &[usize] {
        &self.groups
    }

    /// What is to be said of the samples that were drawn.
    pub fn note(&self) -> Option<String> {
        match &self.parts {
            Parts::Learned(learned) => learned.note(),
            Parts::Simple(_) => None,
        }
    }

    /// Seed of the samples.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The samples of a range below [`Drawing::n`]. They are the same in any blocks.
    ///
    /// # Errors
    /// What a generator reports.
    pub fn rows(&self, rows: Range<usize>, interrupted: &AtomicBool) -> Result<Vec<SparseRow>> {
        let mut drawn = Vec::with_capacity(rows.len());
        match &self.parts {
            Parts::Learned(learned) => return learned.rows(rows, interrupted),
            Parts::Simple(parts) => {
                let mut first = 0;
                for part in parts {
                    let end = first + part.n();
                    let (from, to) = (rows.start.max(first), rows.end.min(end));
                    if from < to {
                        drawn.extend(part.rows(from - first..to - first));
                    }
                    first = end;
                }
            }
        }
        Ok(drawn)
    }
}

/// `[rows, n_taxa]`
fn entries(cohort: &Cohort, rows: &[usize]) -> Array2<f64> {
    let mut entries = Array2::zeros((rows.len(), cohort.table.n_features()));
    for (mut to, row) in entries.rows_mut().into_iter().zip(rows) {
        let (columns, values) = cohort.table.row(*row);
        for (column, value) in columns.iter().zip(values) {
            to[*column as usize] = *value;
        }
    }
    entries
}

/// Groups have streams of their own, by their value.
fn seed_of(seed: u64, cohort: &Cohort, group: usize) -> u64 {
    match &cohort.groups {
        None => seed,
        Some(groups) => {
            seeded(seed, &format!("generate/group/{}", groups.levels[group])).next_u64()
        }
    }
}

fn in_group(error: Error, cohort: &Cohort, group: usize) -> Error {
    match &cohort.groups {
        None => error,
        Some(groups) => Error::Table(format!(
            "{} {:?}: {error}",
            groups.column.name, groups.levels[group]
        )),
    }
}

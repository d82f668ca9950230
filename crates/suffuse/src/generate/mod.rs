//! Synthetic samples like those of a table.
//!
//! ```text
//! table -> Cohort -> fit -> Fitted -> drawing(Wanted) -> rows, block by block -> alterations -> Files
//! ```
//!
//! A row depends on its number and the seed, and not on its block. Blocks go to the output as they come; with
//! alterations all rows are held (sparse) until they are known, because prevalences are those of all rows.

mod alterations;
mod cohort;
mod depth;
mod files;
mod fitted;
mod kept;
mod learned;
mod metadata;
mod method;

pub use alterations::{Alterations, Association, Changed, Known, PREVALENCE};
pub use cohort::{Balance, By, Cohort, Groups};
pub use depth::Depth;
pub use files::{Beside, Files, Generated};
pub use fitted::{Drawing, Fitted, Given, Wanted, fit};
pub use kept::{KEPT_FROM, KeptTaxa};
pub use learned::{Guidance, Learned, Learning, TEXT};
pub use metadata::{Fixed, Interpolation, ON_THE_WAY, Resampled, beyond, resampled};
pub use method::Method;

use crate::{Error, Result, Watch};
use files::Sink;
use std::time::Instant;
use suffuse_data::Metadata;
use suffuse_model::train::Progress;
use suffuse_stats::generate::{SparseRow, spike_in};

/// What was generated.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Counts {
    /// Samples.
    pub n_samples: usize,
    /// Taxa of each, present or not.
    pub n_features: usize,
    /// Entries above zero.
    pub n_nonzero: usize,
    /// Sum of all entries.
    pub n_reads: f64,
}

/// Ids of synthetic samples: `synthetic_1`, `synthetic_2`, ...
pub fn sample_ids(n: usize) -> Vec<String> {
    (1..=n)
        .map(|number| format!("synthetic_{number}"))
        .collect()
}

/// What is drawn and how it is altered.
#[derive(Debug)]
pub struct Request<'a> {
    /// Samples that the generator was fitted to.
    pub cohort: &'a Cohort,
    /// Samples to draw.
    pub drawing: &'a Drawing<'a>,
    /// What is altered in them.
    pub alterations: &'a Alterations,
    /// Their ids and metadata.
    pub metadata: Metadata,
    /// Samples per pass; changes speed and memory, never the result.
    pub block_size: usize,
}

/// Draws all samples in blocks, alters them where asked, and returns them ready to be written.
///
/// # Errors
/// What a generator refuses, alterations that cannot be had, no room on the disk, Ctrl-C.
pub fn generate(request: Request<'_>, files: &Files, watch: &mut Watch) -> Result<Generated> {
    let Request {
        cohort,
        drawing,
        alterations,
        metadata,
        block_size,
    } = request;
    let feature_ids = cohort.table.feature_ids();
    let (n, block_size) = (drawing.n(), block_size.max(1));
    let mut sink = Sink::new(files, [n, feature_ids.len()])?;
    let mut held: Vec<SparseRow> = Vec::new();
    let start = Instant::now();
    for first in (0..n).step_by(block_size) {
        if watch.is_interrupted() {
            return Err(Error::Interrupted {
                advice: "nothing was written".to_string(),
            });
        }
        let block = drawing.rows(first..n.min(first + block_size), watch.interrupted)?;
        let step = first + block.len();
        match alterations.changes.is_empty() {
            true => block.iter().try_for_each(|row| sink.push(row))?,
            false => held.extend(block),
        }
        (watch.progress)(&Progress {
            stage: "generating".to_string(),
            step,
            n_steps: n,
            loss: f64::NAN,
            validation: None,
            seconds: start.elapsed().as_secs_f64(),
        });
    }
    let (mut changed, mut known) = (Vec::new(), Vec::new());
    if !alterations.changes.is_empty() {
        let changes = &alterations.changes;
        let realised = spike_in::apply(&mut held, drawing.groups(), changes, drawing.seed())
            .map_err(|error| alterations::named(error, feature_ids))?;
        known = alterations.known(&realised.effects);
        changed = alterations.changed(&realised, feature_ids);
        held.iter().try_for_each(|row| sink.push(row))?;
    }
    sink.finish(cohort, metadata, changed, known)
}

//! The learned generator: `sparse-microbiome`, fitted to a cohort or read from a folder.
//!
//! ```text
//! cohort, columns of its metadata, tree -> fit -> Learned
//! metadata of the samples to draw -> conditions, guided -> compositions -> reads
//! ```

use super::{Cohort, Given, Interpolation, KeptTaxa, Wanted};
use crate::conditions::{ConditionEncoder, ConditionOptions, Encoding, encode_for_fit};
use crate::{Error, Result, Watch};
use rayon::prelude::*;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use suffuse_data::split;
use suffuse_data::tree::Tree;
use suffuse_model::cond::Conditions;
use suffuse_model::device::Device;
use suffuse_model::rng::{Stage, generator};
use suffuse_model::systems::depmicrodiff::SAVE_EVERY_S;
use suffuse_model::systems::sparse_microbiome::{
    self as system, Attribute, Config, Model, Privacy, SampleOptions, TaxonDistances,
};
use suffuse_model::systems::system_of;
use suffuse_stats::generate::{Depths, SparseRow, reads_of_shares};

/// How the learned generator is fitted.
#[derive(Debug, Clone)]
pub struct Learning {
    /// Settings of the system.
    pub config: Config,
    /// Metadata columns that samples can be conditioned on.
    pub columns: Vec<String>,
    /// How they become numbers.
    pub encoding: Encoding,
    /// Tree with the features as tips; without, their lineages, if there are any.
    pub tree: Option<Tree>,
    /// Metadata column whose groups are never split for validation.
    pub group: Option<String>,
    /// Where the networks compute.
    pub device: Device,
    /// Folder that keeps training, so that an interrupted fit goes on; `None` keeps nothing.
    pub checkpoint: Option<PathBuf>,
    /// Differential privacy; `None` fits without noise.
    pub privacy: Option<Privacy>,
}

/// A model, and how the metadata of its samples become conditions.
#[derive(Debug, Clone)]
pub struct Learned {
    model: Model,
    encoder: Option<ConditionEncoder>,
}

/// Weights of the guidance: 1 is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Guidance {
    /// Of every column that is not named.
    pub all: f64,
    /// Of single columns.
    pub of: Vec<(String, f64)>,
}

impl Default for Guidance {
    fn default() -> Self {
        Guidance {
            all: 1.0,
            of: Vec::new(),
        }
    }
}

/// What a condition is called that is a sentence.
pub const TEXT: &str = "text";

/// Candidates from which a choice is one.
const FEW_CANDIDATES: f64 = 5.0;

/// Samples of the learned generator that are drawn when asked for.
#[derive(Debug)]
pub struct LearnedDrawing<'a> {
    model: &'a Model,
    cohort: &'a Cohort,
    wanted: &'a Wanted,
    kept: Option<&'a KeptTaxa>,
    /// Per sample around kept taxa, the candidates that had a say.
    n_effective: Mutex<Vec<f64>>,
    conditions: Option<Conditions>,
    guidance: Vec<f64>,
    device: Device,
}

impl Learned {
    /// Fits the model to a cohort.
    ///
    /// # Errors
    /// A column that is absent or cannot serve, a tree that lacks features, what training refuses, Ctrl-C.
    pub fn fit(
        cohort: &Cohort,
        learning: &Learning,
        seed: u64,
        watch: &mut Watch,
    ) -> Result<Learned> {
        let table = &cohort.table;
        let options = ConditionOptions {
            encoding: match learning.columns.is_empty() {
                true => Encoding::Off,
                false => learning.encoding.clone(),
            },
            columns: Some(learning.columns.clone()),
            keep: 1.0,
        };
        let encoded = encode_for_fit(&table.sample_metadata, &options, seed)?;
        let distances = match (&learning.tree, &table.taxonomy) {
            _ if !learning.config.taxa.hyperbolic => None,
            (Some(tree), _) => Some(TaxonDistances::from_tree(tree, table.feature_ids())?),
            (None, Some(taxonomy)) => Some(TaxonDistances::from_taxonomy(taxonomy)?),
            (None, None) => None,
        };
        let groups = match &learning.group {
            Some(column) => Some(split::groups(&table.sample_metadata, column)?),
            None => None,
        };
        let fitting = system::Cohort {
            table,
            attributes: attributes(encoded.encoder.as_ref(), encoded.conditions.as_ref()),
            conditions: encoded.conditions,
            distances: distances.as_ref(),
            groups,
        };
        if let Some(folder) = &learning.checkpoint {
            std::fs::create_dir_all(folder)
                .map_err(|error| Error::io(folder, "make the folder", error))?;
        }
        let mut options = system::FitOptions {
            seed,
            device: learning.device.clone(),
            checkpoint: learning.checkpoint.as_deref(),
            save_every_s: SAVE_EVERY_S,
            progress: &mut *watch.progress,
            interrupted: watch.interrupted,
        };
        let config = &learning.config;
        let model = match &learning.privacy {
            Some(privacy) => system::fit_private(config, &fitting, privacy, &mut options)?,
            None => system::fit(config, &fitting, &mut options)?,
        };
        Ok(Learned {
            model,
            encoder: encoded.encoder,
        })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Writes the model into a folder.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn save(&self, folder: &Path) -> Result<()> {
        self.model.save(folder)?;
        match &self.encoder {
            Some(encoder) => encoder.save(folder),
            None => ConditionEncoder::forget(folder),
        }
    }

    /// Reads a model that [`Learned::save`] wrote.
    ///
    /// # Errors
    /// No model, a file that is missing or broken.
    pub fn load(folder: &Path) -> Result<Learned> {
        if system_of(folder)?.is_none() {
            return Err(Error::Usage(format!(
                "{}: there is no model in this folder; `suffuse generate TABLE --save-model DIR` keeps one",
                folder.display()
            )));
        }
        Ok(Learned {
            model: Model::load(folder)?,
            encoder: ConditionEncoder::load(folder)?,
        })
    }

    /// Refuses a table of other features than those that the model was fitted to.
    ///
    /// # Errors
    /// Other features, or another order.
    pub fn require_features(&self, feature_ids: &[String]) -> Result<()> {
        let known = self.model.feature_ids();
        if known == feature_ids {
            return Ok(());
        }
        let shared = feature_ids.iter().filter(|id| known.contains(id)).count();
        Err(Error::Table(format!(
            "the model was fitted to {} features, the table has {}, of which {shared} are the same; give a table with the features of the model",
            known.len(),
            feature_ids.len()
        )))
    }

    /// Columns that the model is conditioned on; of a model of sentences those of its template.
    pub fn columns(&self) -> Vec<&str> {
        match &self.encoder {
            None => Vec::new(),
            Some(ConditionEncoder::Columns(encoder)) => {
                encoder.spans().iter().map(|(name, ..)| *name).collect()
            }
            Some(ConditionEncoder::Text { template, .. }) => {
                template.columns().iter().map(String::as_str).collect()
            }
        }
    }

    /// Refuses columns that the model was not conditioned on: they would change nothing.
    ///
    /// # Errors
    /// The first such column. Of a model of sentences the columns of its template count.
    pub fn require_conditions(&self, columns: &[String]) -> Result<()> {
        let known = self.columns();
        match columns.iter().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(Error::Usage(format!(
                "{name}: the model was not fitted with this column; it was with: {}",
                match known.is_empty() {
                    true => "none".to_string(),
                    false => known.join(", "),
                }
            ))),
            None => Ok(()),
        }
    }

    /// Prepares to draw samples with this metadata; a column that is not there counts as unknown.
    ///
    /// # Errors
    /// Guidance of a column that the model does not know; totals that are no counts and no depths; cells of
    /// another kind than in fitting.
    pub fn drawing<'a>(
        &'a self,
        cohort: &'a Cohort,
        wanted: &'a Wanted,
        given: Given<'a>,
    ) -> Result<LearnedDrawing<'a>> {
        let Given {
            metadata,
            toward,
            kept,
            guidance,
            device,
        } = given;
        let are_drawn = wanted.depths == Depths::AsFitted && kept.is_none();
        if !self.model.is_of_counts() && are_drawn {
            return Err(Error::Table(
                "the model was fitted to fractions, so its samples have no number of reads; say how many with --depth N or --depth FILE".to_string(),
            ));
        }
        let attributes = self.model.attributes();
        for (name, _) in &guidance.of {
            if !attributes.iter().any(|attribute| attribute.name == *name) {
                let known: Vec<&str> = attributes.iter().map(|a| a.name.as_str()).collect();
                return Err(Error::Usage(format!(
                    "--guidance {name}: the model is not conditioned on it; it is on: {}",
                    match known.is_empty() {
                        true => "nothing (use --by or --conditions)".to_string(),
                        false => known.join(", "),
                    }
                )));
            }
        }
        let weight = |attribute: &Attribute| {
            let own = guidance.of.iter().find(|(name, _)| *name == attribute.name);
            own.map_or(guidance.all, |(_, weight)| *weight)
        };
        let conditions = match (&self.encoder, toward) {
            (None, _) => None,
            (Some(encoder), None) => Some(learned(encoder, metadata)?),
            (Some(encoder), Some(toward)) => Some(between(
                learned(encoder, metadata)?,
                &learned(encoder, toward)?,
            )),
        };
        let is_told = |name: &str| match &self.encoder {
            Some(ConditionEncoder::Columns(_)) => metadata.column(name).is_some(),
            _ => conditions
                .as_ref()
                .is_some_and(|all| !all.missing.iter().all(|missing| *missing)),
        };
        let named = guidance.of.iter().filter(|(_, weight)| *weight != 1.0);
        let untold = match (named.map(|(name, _)| name.as_str())).find(|name| !is_told(name)) {
            None if guidance.all != 1.0 && !attributes.iter().any(|a| is_told(&a.name)) => {
                Some("of the model")
            }
            untold => untold,
        };
        if let Some(name) = untold {
            return Err(Error::Usage(format!(
                "--guidance: the samples are told no condition {name}, so that there is nothing to hold them to; add --by, --conditions or --where"
            )));
        }
        Ok(LearnedDrawing {
            model: &self.model,
            cohort,
            wanted,
            kept,
            n_effective: Mutex::default(),
            conditions,
            guidance: attributes.iter().map(weight).collect(),
            device: device.clone(),
        })
    }
}

/// Metadata of samples to generate as the model takes them.
///
/// # Errors
/// A value that the model has not learned: the samples would bear a name that says nothing of them.
fn learned(encoder: &ConditionEncoder, metadata: &suffuse_data::Metadata) -> Result<Conditions> {
    let encoded = encoder.encode(metadata)?;
    match encoded.unseen.first() {
        Some(unseen) => Err(Error::Usage(format!(
            "{unseen}, so that nothing can be generated for it; ask for values that the model knows, or fit one to a table that has them"
        ))),
        None => Ok(encoded.conditions),
    }
}

impl LearnedDrawing<'_> {
    /// The samples of a range; they are the same in any blocks.
    ///
    /// # Errors
    /// An interruption.
    pub fn rows(&self, rows: Range<usize>, interrupted: &AtomicBool) -> Result<Vec<SparseRow>> {
        if interrupted.load(Ordering::Relaxed) {
            return Err(suffuse_model::Error::Interrupted.into());
        }
        let of_row = |row: usize| {
            let all = self.conditions.as_ref().filter(|all| !all.missing[row])?;
            Some(&all.values[row * all.dim..(row + 1) * all.dim])
        };
        let asked: Vec<system::Wanted> = rows
            .clone()
            .map(|row| system::Wanted {
                number: row as u64,
                depth: match &self.wanted.depths {
                    Depths::AsFitted => None,
                    Depths::Given(depths) => Some(depths[row]),
                },
                conditions: of_row(row),
            })
            .collect();
        let options = SampleOptions {
            seed: self.wanted.seed,
            device: self.device.clone(),
            guidance: self.guidance.clone(),
            sampler: None,
            interrupted,
        };
        if let Some(kept) = self.kept {
            return self.around(kept, &asked, &options);
        }
        let drawn = self.model.sample(&asked, &options)?;
        let reads = |(row, drawn): (usize, &system::Drawn)| {
            let mut rng = generator(self.wanted.seed, Stage::Sampling, "reads", row as u64);
            let depth = drawn.total as u64;
            reads_of_shares(&drawn.shares, depth, self.wanted.reads, &mut rng)
        };
        Ok(rows.into_par_iter().zip(&drawn).map(reads).collect())
    }

    fn said(&self) -> MutexGuard<'_, Vec<f64>> {
        self.n_effective
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// How many candidates the samples around kept taxa were chosen from, in words; `None` where none were kept.
    pub fn note(&self) -> Option<String> {
        let mut said = self.said().clone();
        said.sort_by(f64::total_cmp);
        let median = said.get(said.len() / 2)?;
        let few = match *median < FEW_CANDIDATES {
            true => {
                ": the kept taxa leave next to no choice, and samples around them vary less than they should; keep fewer"
            }
            false => "",
        };
        Some(format!(
            "around the kept taxa: of {} candidates a sample, {median:.0} had a say (median){few}",
            system::Inpainted::N_CANDIDATES
        ))
    }

    /// Samples around the kept taxa, whose reads stay as they are; the other reads of the sample that they are of
    /// are shared out among the other taxa.
    fn around(
        &self,
        kept: &KeptTaxa,
        asked: &[system::Wanted],
        options: &SampleOptions,
    ) -> Result<Vec<SparseRow>> {
        let of = |wanted: &system::Wanted| kept.reads(self.cohort, wanted.number as usize);
        let reads: Vec<(Vec<f64>, f64)> = asked.iter().map(of).collect();
        let shares: Vec<Vec<f64>> = (reads.iter())
            .map(|(reads, total)| reads.iter().map(|count| count / total).collect())
            .collect();
        let wanted: Vec<(system::Wanted, system::Kept)> = (asked.iter().zip(&reads).zip(&shares))
            .map(|((wanted, (_, total)), shares)| {
                let depth = Some(*total as u64);
                let kept = system::Kept {
                    taxa: &kept.taxa,
                    shares,
                };
                (system::Wanted { depth, ..*wanted }, kept)
            })
            .collect();
        let drawn = self.model.inpaint(&wanted, options)?;
        let n_effective = drawn.iter().map(|drawn| drawn.n_effective);
        self.said().extend(n_effective);
        let row = |((drawn, (own, total)), wanted): (
            (&system::Inpainted, &(Vec<f64>, f64)),
            &system::Wanted,
        )| {
            let mut rng = generator(self.wanted.seed, Stage::Sampling, "reads", wanted.number);
            let is_rest = |(taxon, _): &&(u32, f64)| kept.taxa.binary_search(taxon).is_err();
            let rest: Vec<(u32, f64)> =
                drawn.drawn.shares.iter().filter(is_rest).copied().collect();
            let left = total - own.iter().sum::<f64>();
            let rest = reads_of_shares(&rest, left as u64, self.wanted.reads, &mut rng);
            let own = kept.taxa.iter().copied().zip(own.iter().copied());
            let rest = rest.columns.into_iter().zip(rest.counts);
            let mut all: Vec<(u32, f64)> =
                own.filter(|(_, count)| *count > 0.0).chain(rest).collect();
            all.sort_by_key(|(taxon, _)| *taxon);
            let (columns, counts) = all.into_iter().unzip();
            SparseRow { columns, counts }
        };
        Ok(drawn.iter().zip(&reads).zip(asked).map(row).collect())
    }
}

/// Conditions on the way from one to another: the first sample's are the first, the last sample's the second.
fn between(mut from: Conditions, to: &Conditions) -> Conditions {
    let n = from.missing.len();
    for row in 0..n {
        let part = Interpolation::part(row, n) as f32;
        let range = row * from.dim..(row + 1) * from.dim;
        let both = from.values[range.clone()].iter_mut().zip(&to.values[range]);
        both.for_each(|(from, to)| *from += part * (to - *from));
        from.missing[row] &= to.missing[row];
    }
    from
}

/// What the numbers of a condition stand for: the columns, or the text as a whole.
fn attributes(
    encoder: Option<&ConditionEncoder>,
    conditions: Option<&Conditions>,
) -> Vec<Attribute> {
    let attribute = |(name, start, len): (&str, usize, usize)| Attribute {
        name: name.to_string(),
        start,
        len,
    };
    match (encoder, conditions) {
        (Some(ConditionEncoder::Columns(encoder)), _) => {
            encoder.spans().into_iter().map(attribute).collect()
        }
        (Some(ConditionEncoder::Text { .. }), Some(conditions)) => {
            vec![attribute((TEXT, 0, conditions.dim))]
        }
        _ => Vec::new(),
    }
}

//! The samples of all tables as rows of one matrix, with what is computed per sample.
//!
//! ```text
//! REAL, SYNTH, TRAIN ─► features by id ─► leaves (--collapse) ─► no empty samples ─► shares, log-ratios, diversity
//! ```

use crate::input::Collapse;
use crate::{Error, Result};
use ndarray::Array2;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use suffuse_data::metadata_tsv::is_missing;
use suffuse_data::tree::Tree;
use suffuse_data::{Metadata, Table, nested, select};
use suffuse_stats::alpha_diversity::{richness, shannon, simpson};
use suffuse_stats::dependency::{ZeroReplacement, centred_log_ratios};
use suffuse_stats::distance::shares;
use suffuse_stats::unifrac::{Phylogeny, faith};

/// The tables of a comparison.
#[derive(Debug, Clone)]
pub struct Tables {
    /// Real samples that the generator has not seen.
    pub real: Table,
    /// Generated samples.
    pub generated: Table,
    /// The samples that the generator was fitted on.
    pub train: Option<Table>,
    /// A tree with the features as tips.
    pub tree: Option<Tree>,
}

/// Which features are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Features {
    /// Those of REAL, which every table must have, and no other.
    #[default]
    Same,
    /// Those that all tables have.
    Intersect,
}

/// Values of a label, at least and at most.
const CLASSES: std::ops::RangeInclusive<usize> = 2..=20;

/// All samples.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    /// Rows of the real samples, the generated ones, and those of TRAIN (maybe none).
    pub(super) real: Range<usize>,
    pub(super) generated: Range<usize>,
    pub(super) train: Range<usize>,
    /// `[n_samples, n_taxa]`, rows sum to 1.
    pub(super) shares: Array2<f64>,
    /// Centred log-ratios of shares, zeros and all below it replaced by half of the smallest share in REAL.
    pub(super) log_ratios: Array2<f64>,
    pub(super) richness: Vec<f64>,
    pub(super) shannon: Vec<f64>,
    pub(super) simpson: Vec<f64>,
    pub(super) tree: Option<Tree>,
    pub(super) phylogeny: Option<Phylogeny>,
    /// Faith's diversity, where there is a tree.
    pub(super) faith: Option<Vec<f64>>,
    /// Samples with one number belong together.
    pub(super) subjects: Vec<usize>,
    pub(super) labels: Option<Labels>,
    pub(super) feature_ids: Vec<String>,
}

/// A metadata column to learn.
#[derive(Debug, Clone)]
pub(super) struct Labels {
    /// Class of each sample, `None` where the value is missing.
    pub(super) classes: Vec<Option<usize>>,
}

impl Pool {
    /// Joins the tables; returns what the user should know as well.
    ///
    /// # Errors
    /// Features that do not match, an entry that is not measured, a table without a non-zero entry, a column
    /// that is not there, a tree that lacks a feature or a branch length.
    pub(super) fn new(tables: Tables, options: &super::Options) -> Result<(Pool, Vec<String>)> {
        let mut notes = Vec::new();
        let Tables {
            real,
            generated,
            train,
            tree,
        } = tables;
        let mut named = vec![("REAL", real), ("SYNTH", generated)];
        named.extend(train.map(|train| ("TRAIN", train)));
        for (name, table) in &named {
            require_measured(name, table)?;
        }
        require_other_samples(&named)?;
        let mut ids = shared_features(&named, options.features, &mut notes)?;
        if let Some(Collapse::Leaves) = options.collapse {
            let leaves = nested::leaves(&named[0].1);
            let leaves: BTreeSet<&String> = leaves
                .iter()
                .map(|at| &named[0].1.feature_ids()[*at])
                .collect();
            let n_before = ids.len();
            ids.retain(|id| leaves.contains(id));
            notes.push(format!(
                "--collapse leaves: {} of {n_before} features are ancestors of others and were left out",
                n_before - ids.len()
            ));
        }
        let mut tables = Vec::new();
        for (name, table) in &named {
            let chosen = select::feature_positions(table, &ids)?;
            let table = select::take_features(table, &chosen)?;
            let (table, empty) = select::drop_empty_samples(&table)
                .map_err(|error| Error::Table(format!("{name}: {error}")))?;
            if !empty.is_empty() {
                notes.push(format!(
                    "{name}: left out {} samples without a non-zero entry",
                    empty.len()
                ));
            }
            tables.push(table);
        }
        let mut ranges = Vec::new();
        let mut end = 0;
        for table in &tables {
            ranges.push(end..end + table.n_samples());
            end += table.n_samples();
        }
        let values: Vec<f64> = tables.iter().flat_map(Table::to_dense).collect();
        let values = Array2::from_shape_vec((end, ids.len()), values)
            .expect("every table has these features");
        let shares = shares(&values)?;
        let phylogeny = (tree.as_ref())
            .map(|tree| phylogeny(tree, &ids))
            .transpose()?;
        let pool = Pool {
            log_ratios: log_ratios(&shares, ranges[0].clone())?,
            richness: richness(&values)?,
            shannon: shannon(&values)?,
            simpson: simpson(&values)?,
            faith: match &phylogeny {
                Some(phylogeny) => Some(faith(&values, phylogeny)?),
                None => None,
            },
            phylogeny,
            tree,
            subjects: subjects(&tables, options.group.as_deref())?,
            labels: match &options.label {
                Some(column) => Some(labels(&tables, &named_only(&named), column)?),
                None => None,
            },
            real: ranges[0].clone(),
            generated: ranges[1].clone(),
            train: ranges.get(2).cloned().unwrap_or(end..end),
            shares,
            feature_ids: ids,
        };
        Ok((pool, notes))
    }
}

fn named_only<'a>(named: &[(&'a str, Table)]) -> Vec<&'a str> {
    named.iter().map(|(name, _)| *name).collect()
}

/// Refuses samples that are in REAL and in TRAIN: the band would take them for others that are alike.
fn require_other_samples(named: &[(&str, Table)]) -> Result<()> {
    let Some((_, train)) = named.iter().find(|(name, _)| *name == "TRAIN") else {
        return Ok(());
    };
    let known: BTreeSet<&String> = train.sample_ids().iter().collect();
    let shared: Vec<&String> = (named[0].1.sample_ids().iter())
        .filter(|id| known.contains(id))
        .collect();
    match shared.first() {
        None => Ok(()),
        Some(first) => Err(Error::Table(format!(
            "{} samples, {first:?} among them, are in REAL and in TRAIN: REAL must hold samples that the generator has not seen; leave them out of one",
            shared.len()
        ))),
    }
}

fn require_measured(name: &str, table: &Table) -> Result<()> {
    let n_missing = table.csr().2.iter().filter(|value| value.is_nan()).count();
    match n_missing {
        0 => Ok(()),
        n => Err(Error::Table(format!(
            "{name}: {n} entries are not measured (NaN), and distances need all of them; fill them (suffuse impute) or leave those samples out"
        ))),
    }
}

/// Ids that a message lists.
const MAX_LISTED: usize = 3;

/// The features to compare, in the order of REAL.
fn shared_features(
    named: &[(&str, Table)],
    features: Features,
    notes: &mut Vec<String>,
) -> Result<Vec<String>> {
    let (_, real) = &named[0];
    let mut ids = real.feature_ids().to_vec();
    for (name, table) in &named[1..] {
        let theirs: BTreeSet<&String> = table.feature_ids().iter().collect();
        let ours: BTreeSet<&String> = real.feature_ids().iter().collect();
        let only_ours: Vec<&&String> = ours.difference(&theirs).collect();
        let only_theirs: Vec<&&String> = theirs.difference(&ours).collect();
        if only_ours.is_empty() && only_theirs.is_empty() {
            continue;
        }
        let counts = format!(
            "{} features are in REAL alone{}, {} in {name} alone{}",
            only_ours.len(),
            examples(&only_ours),
            only_theirs.len(),
            examples(&only_theirs)
        );
        match features {
            Features::Same => {
                return Err(Error::Table(format!(
                    "{counts}; {} are in both: give tables with the same features, or compare those in all tables (--features intersect)",
                    ours.len() - only_ours.len()
                )));
            }
            Features::Intersect => {
                notes.push(format!("--features intersect: {counts}; left out"));
                ids.retain(|id| theirs.contains(id));
            }
        }
    }
    // The laws of taxa need three.
    match ids.len() {
        n @ 0..3 => Err(Error::Table(format!(
            "found {n} features in all tables, expected at least 3; check that ids are written alike and the orientation (--orientation)"
        ))),
        _ => Ok(ids),
    }
}

/// ` ("a", "b", ...)`
fn examples(ids: &[&&String]) -> String {
    let shown: Vec<String> = ids
        .iter()
        .take(MAX_LISTED)
        .map(|id| format!("{id:?}"))
        .collect();
    match ids.len() {
        0 => String::new(),
        n if n > MAX_LISTED => format!(" ({}, ...)", shown.join(", ")),
        _ => format!(" ({})", shown.join(", ")),
    }
}

/// The tree over the features.
fn phylogeny(tree: &Tree, ids: &[String]) -> Result<Phylogeny> {
    let tree = tree.prune(ids)?;
    let n_nodes = tree.n_nodes();
    let n_without = (1..n_nodes)
        .filter(|node| tree.length(*node).is_none())
        .count();
    if n_without > 0 {
        return Err(Error::Table(format!(
            "the tree gives no length for {n_without} of {} branches, and UniFrac needs them; take a tree with branch lengths",
            n_nodes - 1
        )));
    }
    let negative = (1..n_nodes).find_map(|node| {
        let length = tree.length(node).filter(|length| *length < 0.0)?;
        let is_below = |tip: &usize| {
            std::iter::successors(Some(*tip), |at| tree.parent(*at)).any(|at| at == node)
        };
        let tip = tree.tips().into_iter().find(is_below)?;
        Some((length, tree.name(tip).unwrap_or_default().to_string()))
    });
    if let Some((length, tip)) = negative {
        return Err(Error::Table(format!(
            "--tree: a branch above tip {tip:?} has the length {length}, and UniFrac needs lengths that are not negative; set such lengths to 0, or take another tree"
        )));
    }
    let node_of = tree.tip_of_name();
    let nodes = ids.iter().map(|id| node_of[id.as_str()]).collect();
    let lengths = (0..n_nodes).map(|node| match node {
        // The branch above the root counts for nothing.
        0 => 0.0,
        node => tree.length(node).unwrap_or(0.0),
    });
    let parents = (0..n_nodes).map(|node| tree.parent(node)).collect();
    Ok(Phylogeny::new(parents, lengths.collect(), nodes)?)
}

/// A share below detection in REAL counts as half of the smallest one there, in every table: then tables of
/// another depth, or in another unit, are on one scale.
fn log_ratios(shares: &Array2<f64>, real: Range<usize>) -> Result<Array2<f64>> {
    let of_real = shares.slice(ndarray::s![real, ..]);
    let smallest = of_real
        .iter()
        .copied()
        .filter(|x| *x > 0.0)
        .fold(f64::INFINITY, f64::min);
    let least = smallest / 2.0;
    let floored = shares.mapv(|share| share.max(least));
    Ok(centred_log_ratios(&floored, ZeroReplacement::Value(least))?)
}

/// The subject of each sample: by a column of REAL and TRAIN, where one is named and has a value, else each
/// sample is its own. Generated samples always are.
fn subjects(tables: &[Table], column: Option<&str>) -> Result<Vec<usize>> {
    let mut number_of: HashMap<String, usize> = HashMap::new();
    let mut subjects = Vec::new();
    let mut n_subjects = 0;
    for (at, table) in tables.iter().enumerate() {
        let values = match column {
            Some(column) if at != SYNTH => Some(&metadata_column(table, column, "--group")?.values),
            _ => None,
        };
        for row in 0..table.n_samples() {
            let value = values.and_then(|values| values.text(row));
            let mut fresh = || {
                n_subjects += 1;
                n_subjects - 1
            };
            subjects.push(match value {
                Some(value) if !is_missing(&value) => *number_of.entry(value).or_insert_with(fresh),
                _ => fresh(),
            });
        }
    }
    Ok(subjects)
}

/// Position of SYNTH among the tables.
const SYNTH: usize = 1;

/// Classes by a column of all tables, numbered by their sorted values.
fn labels(tables: &[Table], names: &[&str], column: &str) -> Result<Labels> {
    let mut texts = Vec::new();
    for (table, name) in tables.iter().zip(names) {
        let values = &metadata_column(table, column, "--label")
            .map_err(|error| Error::Usage(format!("{name}: {error}")))?
            .values;
        let text = |row| values.text(row).filter(|value| !is_missing(value));
        texts.extend((0..table.n_samples()).map(text));
    }
    let known: BTreeSet<&String> = texts.iter().flatten().collect();
    if !CLASSES.contains(&known.len()) {
        return Err(Error::Usage(format!(
            "--label {column}: found {} values, expected {} to {}; name a column of classes",
            known.len(),
            CLASSES.start(),
            CLASSES.end()
        )));
    }
    let known: Vec<&String> = known.into_iter().collect();
    let class = |text: &Option<String>| text.as_ref().and_then(|t| known.binary_search(&t).ok());
    Ok(Labels {
        classes: texts.iter().map(class).collect(),
    })
}

fn metadata_column<'a>(
    table: &'a Table,
    column: &str,
    option: &str,
) -> Result<&'a suffuse_data::Column> {
    let metadata: &Metadata = &table.sample_metadata;
    metadata.column(column).ok_or_else(|| {
        Error::Usage(format!(
            "{option} {column}: no metadata column of this name; {}",
            match metadata.columns().is_empty() {
                true => "the table has no metadata (join a sheet with -m FILE, or --synth-metadata FILE for SYNTH)".to_string(),
                false => metadata.columns_in_words(),
            }
        ))
    })
}

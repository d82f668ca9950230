//! Taxa of real samples that stay as they are while the rest is generated around them.

use super::Cohort;
use crate::input::read_text;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::path::Path;
use suffuse_data::{Column, ColumnValues};

/// What is kept: of every synthetic sample these taxa of a sample of the cohort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptTaxa {
    /// Features, rising.
    pub taxa: Vec<u32>,
    /// Sample of the cohort that each synthetic sample keeps them of.
    pub rows: Vec<usize>,
}

/// Name of the column that says whose taxa a sample kept.
pub const KEPT_FROM: &str = "kept_from";

impl KeptTaxa {
    /// Reads ids of features, one a line; synthetic sample `i` keeps those of sample `i` of the cohort, and
    /// beyond its end those of the first again.
    ///
    /// # Errors
    /// A file that cannot be read, an id that the table does not have or that is listed twice, no id at all, all of
    /// them; a table that holds no counts.
    pub fn read(path: &Path, cohort: &Cohort, n: usize) -> Result<KeptTaxa> {
        if let Some((sample, feature, value)) = cohort.fraction() {
            return Err(Error::Table(format!(
                "sample {sample:?}, feature {feature:?}: found {value}, so the table holds no counts: --keep keeps reads; give counts"
            )));
        }
        let text = read_text(path)?;
        let ids = cohort.table.feature_ids();
        let problem = |problem: String| Error::Table(format!("{}: {problem}", path.display()));
        let mut taxa = BTreeSet::new();
        for (number, line) in text.lines().enumerate() {
            let id = line.trim();
            if id.is_empty() {
                continue;
            }
            let Some(taxon) = ids.iter().position(|known| known == id) else {
                return Err(problem(format!(
                    "line {}: the table has no feature {id:?}; list one id a line",
                    number + 1
                )));
            };
            if !taxa.insert(taxon as u32) {
                return Err(problem(format!(
                    "line {}: {id:?} is listed twice",
                    number + 1
                )));
            }
        }
        if taxa.is_empty() || taxa.len() == ids.len() {
            return Err(problem(format!(
                "{} of {} features are to be kept; name at least one and leave at least one to generate",
                taxa.len(),
                ids.len()
            )));
        }
        let n_samples = cohort.table.n_samples();
        Ok(KeptTaxa {
            taxa: taxa.into_iter().collect(),
            rows: (0..n).map(|row| row % n_samples).collect(),
        })
    }

    /// Ids of the samples whose taxa were kept.
    pub fn column(&self, cohort: &Cohort) -> Column {
        let id = |row: &usize| Some(cohort.table.sample_ids()[*row].clone());
        Column {
            name: KEPT_FROM.to_string(),
            values: ColumnValues::Text(self.rows.iter().map(id).collect()),
        }
    }

    /// Reads of the kept taxa of a synthetic sample, and all reads of the sample that they are of.
    pub(super) fn reads(&self, cohort: &Cohort, row: usize) -> (Vec<f64>, f64) {
        let row = self.rows[row];
        let reads = |taxon: &u32| cohort.table.get(row, *taxon as usize);
        let (_, values) = cohort.table.row(row);
        (self.taxa.iter().map(reads).collect(), values.iter().sum())
    }
}

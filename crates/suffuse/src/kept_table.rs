//! The table that a model was fitted on, kept in its folder on request: others then have a share in what the model fills,
//! since they can learn from it too.

use crate::times::TimeColumns;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use suffuse_data::format::{self, Overwrite, ReadOptions, WriteOptions};
use suffuse_data::{Column, Metadata, Table, split};
use suffuse_model::systems::depmicrodiff::{Cohort, Conditions, Model, Totals};

/// A table as it was fitted on.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptTable {
    /// Its entries and metadata, with the features of the model in their order.
    pub table: Table,
    /// Metadata column whose groups were never split for validation.
    group_column: Option<String>,
}

/// Name of the file in the folder of the model.
const FILE: &str = "learned_from.h5ad";
/// Where the file says what the columns of metadata are called, in their order: the format allows fewer names.
const COLUMNS: &str = "suffuse_columns";
/// Where the file says which column the groups are of.
const GROUP: &str = "suffuse_group";

impl KeptTable {
    /// Stores the table in the folder of the model that was fitted on it.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn save(folder: &Path, table: &Table, group_column: Option<&str>) -> Result<()> {
        let mut kept = table.clone();
        kept.uns.insert(GROUP.to_string(), group_column.into());
        let names = table.sample_metadata.columns().iter();
        let names: Vec<&str> = names.map(|column| column.name.as_str()).collect();
        kept.uns.insert(COLUMNS.to_string(), names.into());
        let options = WriteOptions {
            overwrite: Overwrite::Replace,
            ..WriteOptions::default()
        };
        Ok(format::write(&kept, &path(folder), &options)?)
    }

    /// Removes the table of an earlier model from a folder.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn forget(folder: &Path) -> Result<()> {
        let path = path(folder);
        match path.exists() {
            true => std::fs::remove_file(&path).map_err(|error| Error::io(&path, "remove", error)),
            false => Ok(()),
        }
    }

    /// The table in the folder of a model; `None` where it was not kept.
    ///
    /// # Errors
    /// A file that holds something else than what was fitted on.
    pub fn load(folder: &Path, model: &Model) -> Result<Option<KeptTable>> {
        let path = path(folder);
        if !path.exists() {
            return Ok(None);
        }
        let mut table = format::read(&path, &ReadOptions::default())?;
        let is_other = table.feature_ids() != model.feature_ids();
        let names = table.uns.remove(COLUMNS).unwrap_or_default();
        let names: Vec<String> = (names.as_array().into_iter().flatten())
            .filter_map(|name| name.as_str().map(str::to_string))
            .collect();
        let columns = table.sample_metadata.columns().to_vec();
        match table.uns.remove(GROUP) {
            Some(group) if !is_other && names.len() == columns.len() => {
                let named = names.into_iter().zip(columns);
                let named = named.map(|(name, column)| Column { name, ..column });
                let ids = table.sample_ids().to_vec();
                table.sample_metadata = Metadata::new(ids, named.collect())?;
                Ok(Some(KeptTable {
                    table,
                    group_column: group.as_str().map(str::to_string),
                }))
            }
            _ => Err(suffuse_data::Error::format(
                &path,
                "content",
                "another table than the model was fitted on",
                "what `suffuse fit --keep-table` wrote; fit the model again, or remove the file",
            )
            .into()),
        }
    }

    /// The table as the model was fitted on it.
    ///
    /// - `times`: the columns of subject and time that it was told
    ///
    /// # Errors
    /// Columns that are not there.
    pub fn cohort(
        &self,
        conditions: Option<Conditions>,
        times: Option<&TimeColumns>,
    ) -> Result<Cohort<'_>> {
        let metadata = &self.table.sample_metadata;
        let group = self.group_column.as_deref();
        let groups = group
            .map(|column| split::groups(metadata, column))
            .transpose()?;
        let times = times.map(|columns| columns.read(metadata)).transpose()?;
        Ok(Cohort {
            table: &self.table,
            hidden: &[],
            totals: Totals::OfWhatIsLeft,
            conditions,
            groups,
            times,
        })
    }
}

/// Where the table of a model is kept.
pub fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

//! Cell Ranger's HDF5 matrix, of version 3 (`matrix/`) and 2 (`<genome>/`).
//!
//! Specification: <https://www.10xgenomics.com/support/software/cell-ranger/latest/analysis/outputs/cr-outputs-h5-matrices>.
//! Barcodes become samples, feature ids become features; names, types and genomes of the features
//! become columns of `feature_metadata`. Values are UMI counts.

use super::hdf5::{H5File, H5Group, Kind};
use super::{compressed, in_file};
use crate::{Column, ColumnValues, Error, Metadata, Result, Table};
use std::path::Path;

/// Reads a Cell Ranger matrix.
///
/// # Errors
/// A missing, damaged or truncated file; a version-2 file with several genomes; parts whose
/// lengths do not fit; duplicate barcodes or feature ids.
pub fn read(path: &Path) -> Result<Table> {
    read_root(&H5File::open(path)?.root()?).map_err(|error| in_file(path, error))
}

/// Says whether a group holds a matrix of either version.
pub(super) fn is_matrix(group: &H5Group) -> bool {
    group.has_dataset("barcodes") && (group.has_group("features") || group.has_dataset("genes"))
}

fn read_root(root: &H5Group) -> Result<Table> {
    let mut matrices = Vec::new();
    for name in root.groups() {
        let group = root.group(name)?;
        if is_matrix(&group) {
            matrices.push((name.clone(), group));
        }
    }
    let (_, matrix) = match matrices.len() {
        1 => matrices.remove(0),
        _ => {
            let names: Vec<&str> = matrices.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Error::format(
                root.path(),
                "top of the file",
                format!("{} matrices ({})", names.len(), names.join(", ")),
                "one group with barcodes and features; split a file with several genomes",
            ));
        }
    };
    let barcodes = matrix.dataset("barcodes")?.texts()?;
    let (feature_ids, columns) = if matrix.has_group("features") {
        let features = matrix.group("features")?;
        (
            features.dataset("id")?.texts()?,
            feature_columns(&features)?,
        )
    } else {
        (matrix.dataset("genes")?.texts()?, gene_columns(&matrix)?)
    };
    let shape = matrix.dataset("shape")?;
    let declared = shape.integers()?;
    if declared != [feature_ids.len() as i64, barcodes.len() as i64] {
        return Err(shape.bad(
            format!("{declared:?}"),
            format!(
                "[{}, {}], the number of features and barcodes",
                feature_ids.len(),
                barcodes.len()
            ),
        ));
    }
    let csr = compressed::read(&matrix, barcodes.len(), feature_ids.len())?;
    let mut table = Table::new(barcodes, feature_ids, csr)?;
    table.feature_metadata = Metadata::new(table.feature_ids().to_vec(), columns)?;
    Ok(table)
}

/// All text that is known of each feature beside its id (name, feature_type, genome, ...).
fn feature_columns(features: &H5Group) -> Result<Vec<Column>> {
    let n_features = features.dataset("id")?.len();
    let mut columns = Vec::new();
    for name in features.datasets() {
        let dataset = features.dataset(name)?;
        let is_about_features = dataset.shape() == [n_features] && !name.starts_with('_');
        if name != "id" && is_about_features && *dataset.kind() == Kind::Text {
            columns.push(text_column(name, dataset.texts()?));
        }
    }
    Ok(columns)
}

fn gene_columns(matrix: &H5Group) -> Result<Vec<Column>> {
    if !matrix.has_dataset("gene_names") {
        return Ok(Vec::new());
    }
    Ok(vec![text_column(
        "name",
        matrix.dataset("gene_names")?.texts()?,
    )])
}

fn text_column(name: &str, texts: Vec<String>) -> Column {
    let texts = texts
        .into_iter()
        .map(|text| (!text.is_empty()).then_some(text))
        .collect();
    Column {
        name: name.to_string(),
        values: ColumnValues::Text(texts),
    }
}

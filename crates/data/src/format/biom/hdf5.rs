//! BIOM 2.1, the HDF5 form.

use super::{FORMAT_URL, FeatureFacts, GENERATED_BY, TABLE_TYPE, TAXONOMY};
use super::{iso_8601, lineage_cells, text_column};
use crate::format::hdf5::{Attr, H5Dataset, H5File, H5Group, Kind, Numbers, OutFile, OutGroup};
use crate::format::{compressed, in_file};
use crate::{Column, ColumnValues, Csr, Metadata, Result, Table};
use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

/// Categories that biom-format reads as lists, beside the lineages.
const LISTS: [&str; 4] = ["taxonomy", "Taxonomy", "KEGG_Pathways", "collapsed_ids"];

/// Stands for a slash in the name of a metadata category, as biom-format writes it.
const SLASH: &str = "@@SLASH@@";

/// Reads a BIOM 2.1 file.
///
/// # Errors
/// A missing, damaged or truncated file; parts whose lengths do not fit; duplicate ids; negative
/// or infinite abundances.
pub fn read(path: &Path) -> Result<Table> {
    read_root(&H5File::open(path)?.root()?).map_err(|error| in_file(path, error))
}

fn read_root(root: &H5Group) -> Result<Table> {
    let samples = root.group("sample")?;
    let observations = root.group("observation")?;
    let sample_ids = samples.dataset("ids")?.texts()?;
    let feature_ids = observations.dataset("ids")?.texts()?;
    let (n_samples, n_features) = (sample_ids.len(), feature_ids.len());

    // The file holds the matrix twice: by sample, which is what we want, and by observation.
    let csr = if samples.has_group("matrix") {
        compressed::read(&samples.group("matrix")?, n_samples, n_features)?
    } else {
        let by_feature = compressed::read(&observations.group("matrix")?, n_features, n_samples)?;
        compressed::transpose(&by_feature, n_samples)
    };
    let mut table = Table::new(sample_ids, feature_ids, csr)?;
    let mut facts = FeatureFacts::default();
    for dataset in metadata(&observations)? {
        let name = category(&dataset);
        if name.eq_ignore_ascii_case(TAXONOMY) {
            facts.lineages = Some(cells(&dataset, n_features)?);
        } else {
            facts.columns.push(column(name, &dataset, n_features)?);
        }
    }
    facts.attach(&mut table)?;
    let mut columns = Vec::new();
    for dataset in metadata(&samples)? {
        columns.push(column(category(&dataset), &dataset, n_samples)?);
    }
    table.sample_metadata = Metadata::new(table.sample_ids().to_vec(), columns)?;
    Ok(table)
}

fn metadata(axis: &H5Group) -> Result<Vec<H5Dataset>> {
    if !axis.has_group("metadata") {
        return Ok(Vec::new());
    }
    let group = axis.group("metadata")?;
    group
        .datasets()
        .iter()
        .map(|name| group.dataset(name))
        .collect()
}

/// The name of a category, which is the last part of its path.
fn category(dataset: &H5Dataset) -> String {
    let name = dataset.place().rsplit('/').next().unwrap_or_default();
    name.replace(SLASH, "/")
}

/// A category as a column; the parts of a list are joined with `; `.
fn column(name: String, dataset: &H5Dataset, n_rows: usize) -> Result<Column> {
    match (dataset.kind(), dataset.shape()) {
        (Kind::Text, _) => {
            let rows = cells(dataset, n_rows)?;
            Ok(text_column(
                name,
                rows.iter().map(|cells| super::joined(cells)).collect(),
            ))
        }
        (Kind::Boolean, [rows]) if *rows == n_rows => {
            let values = dataset.booleans()?.into_iter().map(Some).collect();
            Ok(Column {
                name,
                values: ColumnValues::Boolean(values),
            })
        }
        (Kind::Integer, [rows]) if *rows == n_rows => {
            let whole = dataset.whole_numbers()?.into_iter().map(Some);
            let values = ColumnValues::of_whole_numbers(whole);
            Ok(Column { name, values })
        }
        (_, [rows]) if *rows == n_rows => Ok(Column {
            name,
            values: ColumnValues::Numeric(dataset.numbers()?),
        }),
        (_, shape) => Err(dataset.bad(
            format!("shape {shape:?}"),
            format!("{n_rows} rows, one per id"),
        )),
    }
}

/// Text cells of each row, from a list or a table of texts.
fn cells(dataset: &H5Dataset, n_rows: usize) -> Result<Vec<Vec<String>>> {
    let width = match dataset.shape() {
        [rows] if *rows == n_rows => 1,
        [rows, width] if *rows == n_rows => *width,
        shape => {
            return Err(dataset.bad(
                format!("shape {shape:?}"),
                format!("{n_rows} rows, one per id"),
            ));
        }
    };
    if width == 0 {
        return Ok(vec![Vec::new(); n_rows]);
    }
    let mut texts = dataset.texts()?.into_iter();
    Ok((0..n_rows)
        .map(|_| texts.by_ref().take(width).collect())
        .collect())
}

/// Writes a table as BIOM 2.1.
///
/// # Errors
/// What the sink says.
pub(crate) fn write(
    table: &Table,
    created: SystemTime,
    sink: &mut dyn Write,
) -> std::io::Result<()> {
    let (n_samples, n_features) = (table.n_samples(), table.n_features());
    let mut file = OutFile::new();
    file.attr("id", Attr::Text("None"));
    file.attr("type", Attr::Text(TABLE_TYPE));
    file.attr("format-url", Attr::Text(FORMAT_URL));
    file.attr("format-version", Attr::Integers(&[2, 1]));
    file.attr("generated-by", Attr::Text(GENERATED_BY));
    file.attr("creation-date", Attr::Text(&iso_8601(created)));
    file.attr(
        "shape",
        Attr::Integers(&[n_features as i64, n_samples as i64]),
    );
    file.attr("nnz", Attr::Integer(table.n_stored() as i64));

    let (indptr, indices, values) = table.csr();
    let by_sample = Csr {
        indptr: indptr.to_vec(),
        indices: indices.to_vec(),
        values: values.to_vec(),
    };
    let by_feature = compressed::transpose(&by_sample, n_features);

    let mut facts = columns(&table.feature_metadata);
    if let Some(taxonomy) = &table.taxonomy {
        facts = columns_without_taxonomy(&table.feature_metadata);
        let rows: Vec<Vec<String>> = (0..n_features)
            .map(|feature| lineage_cells(taxonomy, feature))
            .collect();
        let rows: Vec<Vec<&str>> = (rows.iter())
            .map(|row| row.iter().map(String::as_str).collect())
            .collect();
        lists_of_texts(&mut facts, TAXONOMY, &rows);
    }
    file.add(axis("observation", table.feature_ids(), &by_feature, facts));
    file.add(axis(
        "sample",
        table.sample_ids(),
        &by_sample,
        columns(&table.sample_metadata),
    ));
    file.finish(sink)
}

fn axis(name: &str, ids: &[String], matrix: &Csr, metadata: OutGroup) -> OutGroup {
    let mut group = OutGroup::new(name);
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    group.texts("ids", &[ids.len()], &ids);
    let mut entries = OutGroup::new("matrix");
    compressed::write(
        &mut entries,
        &matrix.indptr,
        &matrix.indices,
        &matrix.values,
    );
    group.add(entries);
    group.add(metadata);
    group.add(OutGroup::new("group-metadata"));
    group
}

fn columns(metadata: &Metadata) -> OutGroup {
    write_columns(metadata.columns().iter())
}

/// The lineages of the table replace a column of that name.
fn columns_without_taxonomy(metadata: &Metadata) -> OutGroup {
    write_columns(
        metadata
            .columns()
            .iter()
            .filter(|column| !column.name.eq_ignore_ascii_case(TAXONOMY)),
    )
}

fn write_columns<'a>(columns: impl Iterator<Item = &'a Column>) -> OutGroup {
    let mut group = OutGroup::new("metadata");
    for column in columns {
        let name = column.name.replace('/', SLASH);
        let n_rows = column.values.len();
        match &column.values {
            ColumnValues::Numeric(values) => {
                group.numbers(&name, &[n_rows], Numbers::F64(values));
            }
            ColumnValues::Boolean(values) if values.iter().all(Option::is_some) => {
                let values: Vec<bool> = values.iter().flatten().copied().collect();
                group.numbers(&name, &[n_rows], Numbers::Boolean(&values));
            }
            other => {
                let texts: Vec<String> = (0..n_rows)
                    .map(|row| other.text(row).unwrap_or_default())
                    .collect();
                if LISTS.contains(&name.as_str()) {
                    let lists = texts.iter().map(|text| text.split("; ").collect());
                    lists_of_texts(&mut group, &name, &lists.collect::<Vec<_>>());
                    continue;
                }
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                group.texts(&name, &[n_rows], &texts);
            }
        }
    }
    group
}

/// A table of texts, short rows padded with empty ones.
fn lists_of_texts(group: &mut OutGroup, name: &str, rows: &[Vec<&str>]) {
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cells: Vec<&str> = (rows.iter())
        .flat_map(|row| (0..width).map(|cell| row.get(cell).copied().unwrap_or("")))
        .collect();
    group.texts(name, &[rows.len(), width], &cells);
}

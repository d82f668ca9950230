//! Writing a table as h5ad.

use super::lineages::lineages;
use super::{frame, meanings_key, uns};
use crate::format::compressed;
use crate::format::hdf5::{Attr, Numbers, OutFile, OutGroup};
use crate::{Column, ColumnValues, Layer, Table};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;

/// Writes all of a table; entries as CSR, compressed.
///
/// Lineages become a column `taxonomy` of `var`, unless its columns hold them already.
///
/// # Errors
/// What the sink says.
pub(crate) fn write(table: &Table, sink: &mut dyn Write) -> std::io::Result<()> {
    let (n_samples, n_features) = (table.n_samples(), table.n_features());
    let mut file = OutFile::new();
    file.attr("encoding-type", Attr::Text("anndata"));
    file.attr("encoding-version", Attr::Text("0.1.0"));

    let (indptr, indices, values) = table.csr();
    file.add(sparse(
        "X",
        [n_samples, n_features],
        indptr,
        indices,
        values,
    ));
    file.add(frame::write(
        "obs",
        table.sample_ids(),
        table.sample_metadata.columns(),
    ));
    file.add(frame::write(
        "var",
        table.feature_ids(),
        &feature_columns(table),
    ));

    let mut facts = table.uns.clone();
    let mut layers = dict("layers");
    let mut taken = BTreeSet::new();
    for (name, layer) in &table.layers {
        let link = frame::link_name(name, &taken);
        match layer {
            Layer::Dense(dense) => {
                write_matrix(
                    &mut layers,
                    &link,
                    [n_samples, n_features],
                    Numbers::F64(&dense.values),
                );
            }
            Layer::Sparse {
                indptr,
                indices,
                values,
            } => {
                layers.add(sparse(
                    &link,
                    [n_samples, n_features],
                    indptr,
                    indices,
                    values,
                ));
            }
            Layer::Codes { codes, meanings } => {
                write_matrix(
                    &mut layers,
                    &link,
                    [n_samples, n_features],
                    Numbers::U8(codes),
                );
                facts.insert(meanings_key(&link), Value::from(meanings.clone()));
            }
        }
        taken.insert(link);
    }
    file.add(layers);

    let mut obsm = dict("obsm");
    let mut taken = BTreeSet::new();
    for (name, dense) in &table.obsm {
        let link = frame::link_name(name, &taken);
        write_matrix(
            &mut obsm,
            &link,
            [dense.n_rows, dense.n_columns],
            Numbers::F64(&dense.values),
        );
        taken.insert(link);
    }
    file.add(obsm);
    for empty in ["obsp", "varm", "varp"] {
        file.add(dict(empty));
    }
    file.add(uns::write("uns", &facts));
    file.finish(sink)
}

/// The columns of `var`, and lineages that they do not hold yet as a column `taxonomy`.
fn feature_columns(table: &Table) -> Vec<Column> {
    let mut columns = table.feature_metadata.columns().to_vec();
    let Some(taxonomy) = &table.taxonomy else {
        return columns;
    };
    if lineages(&table.feature_metadata).is_ok_and(|held| held.as_ref() == Some(taxonomy)) {
        return columns;
    }
    columns.retain(|column| !column.name.eq_ignore_ascii_case("taxonomy"));
    let texts = (0..table.n_features()).map(|feature| Some(taxonomy.lineage_text(feature)));
    let values = ColumnValues::Text(texts.collect());
    columns.insert(
        0,
        Column {
            name: "taxonomy".to_string(),
            values,
        },
    );
    columns
}

fn dict(name: &str) -> OutGroup {
    let mut group = OutGroup::new(name);
    group.attr("encoding-type", Attr::Text("dict"));
    group.attr("encoding-version", Attr::Text("0.1.0"));
    group
}

fn sparse(
    name: &str,
    shape: [usize; 2],
    indptr: &[usize],
    indices: &[u32],
    values: &[f64],
) -> OutGroup {
    let mut group = OutGroup::new(name);
    group.attr("encoding-type", Attr::Text("csr_matrix"));
    group.attr("encoding-version", Attr::Text("0.1.0"));
    group.attr("shape", Attr::Integers(&shape.map(|edge| edge as i64)));
    compressed::write(&mut group, indptr, indices, values);
    group
}

fn write_matrix(group: &mut OutGroup, name: &str, shape: [usize; 2], numbers: Numbers<'_>) {
    group
        .numbers(name, &shape, numbers)
        .attr("encoding-type", Attr::Text("array"))
        .attr("encoding-version", Attr::Text("0.2.0"));
}

//! Writing a table as h5ad.

use super::lineages::lineages;
use super::spooled::{LayerKind, SpooledLayer, SpooledTable};
use super::{frame, meanings_key, uns};
use crate::format::compressed;
use crate::format::hdf5::{Attr, Graft, Numbers, OutDataset, OutFile, OutGroup};
use crate::{Column, ColumnValues, Layer, Table};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

/// Writes all of a table; entries as CSR, compressed.
///
/// Lineages become a column `taxonomy` of `var`, unless its columns hold them already.
///
/// # Errors
/// What the sink says.
pub(crate) fn write(table: &Table, sink: &mut dyn Write) -> std::io::Result<()> {
    write_with(table, None, sink)
}

/// A layer as it is written.
enum Source<'a> {
    Held(&'a Layer),
    Spooled(SpooledLayer),
}

/// The same with entries that were put aside instead of those of the table, and layers instead of
/// its layers of the same name.
///
/// # Errors
/// As [`write`].
pub(super) fn write_with(
    table: &Table,
    spooled: Option<SpooledTable>,
    sink: &mut dyn Write,
) -> std::io::Result<()> {
    let shape = [table.n_samples(), table.n_features()];
    let mut grafts = Vec::new();
    let held = table.layers.iter();
    let mut sources: BTreeMap<String, Source> = held
        .map(|(name, layer)| (name.clone(), Source::Held(layer)))
        .collect();
    let mut file = OutFile::new();
    file.attr("encoding-type", Attr::Text("anndata"));
    file.attr("encoding-version", Attr::Text("0.1.0"));

    match spooled {
        None => {
            let (indptr, indices, values) = table.csr();
            file.add(sparse("X", shape, indptr, indices, values));
        }
        Some(spooled) => {
            let mut group = sparse_group("X", shape);
            let parts = compressed::write_spooled(
                &mut group,
                &spooled.indptr,
                [spooled.indices, spooled.values],
            );
            file.add(group);
            grafts.extend(parts.into_iter().map(|(name, length, spool)| Graft {
                path: format!("X/{name}"),
                length,
                spool,
            }));
            for layer in spooled.layers {
                sources.insert(layer.name.clone(), Source::Spooled(layer));
            }
        }
    }
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
    for (name, source) in sources {
        let link = frame::link_name(&name, &taken);
        match source {
            Source::Held(Layer::Dense(dense)) => {
                write_matrix(&mut layers, &link, shape, Numbers::F64(&dense.values));
            }
            Source::Held(Layer::Sparse {
                indptr,
                indices,
                values,
            }) => layers.add(sparse(&link, shape, indptr, indices, values)),
            Source::Held(Layer::Codes { codes, meanings }) => {
                write_matrix(&mut layers, &link, shape, Numbers::U8(codes));
                facts.insert(meanings_key(&link), Value::from(meanings.clone()));
            }
            Source::Spooled(SpooledLayer { kind, spool, .. }) => {
                as_array(layers.spooled(&link, &shape, &spool));
                if let LayerKind::Codes(meanings) = kind {
                    facts.insert(meanings_key(&link), Value::from(meanings));
                }
                grafts.push(Graft {
                    path: format!("layers/{link}"),
                    length: shape[0],
                    spool,
                });
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
    file.finish_with(grafts, sink)
}

/// The columns of `var`, and lineages that they do not hold yet as a column `taxonomy`.
fn feature_columns(table: &Table) -> Vec<Column> {
    let mut columns = table.feature_metadata.columns().to_vec();
    let Some(taxonomy) = &table.taxonomy else {
        return columns;
    };
    if lineages(&table.feature_metadata).as_ref() == Some(taxonomy) {
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
    let mut group = sparse_group(name, shape);
    compressed::write(&mut group, indptr, indices, values);
    group
}

fn sparse_group(name: &str, shape: [usize; 2]) -> OutGroup {
    let mut group = OutGroup::new(name);
    group.attr("encoding-type", Attr::Text("csr_matrix"));
    group.attr("encoding-version", Attr::Text("0.1.0"));
    group.attr("shape", Attr::Integers(&shape.map(|edge| edge as i64)));
    group
}

fn write_matrix(group: &mut OutGroup, name: &str, shape: [usize; 2], numbers: Numbers<'_>) {
    as_array(group.numbers(name, &shape, numbers));
}

fn as_array(dataset: OutDataset<'_>) {
    dataset
        .attr("encoding-type", Attr::Text("array"))
        .attr("encoding-version", Attr::Text("0.2.0"));
}

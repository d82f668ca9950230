//! Reading a table from h5ad.

use super::lineages::lineages;
use super::{frame, meanings_key, uns};
use crate::format::hdf5::{H5Dataset, H5File, H5Group, Kind};
use crate::format::{compressed, in_file};
use crate::{ColumnValues, Csr, Dense, Error, Layer, Result, Table};
use std::path::Path;

/// Which matrix of an h5ad holds the abundances.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Matrix {
    /// `X`.
    #[default]
    X,
    /// A layer of this name, as `counts` where `X` holds scaled values. `X` is not read. `raw`, where no layer is called
    /// so, is AnnData's `raw`: it has features of its own, so layers are not read then.
    Layer(String),
}

/// AnnData's matrix from before features were chosen: a group of its own, with `X` and `var`.
const RAW: &str = "raw";

/// Where [`Matrix`] lies in a file.
enum Place<'a> {
    X,
    Layer(&'a str),
    Raw,
}

/// Reads an h5ad file; abundances are in whatever unit it holds.
///
/// # Errors
/// A missing, damaged or truncated file; no such matrix; negative or infinite abundances;
/// duplicate ids; parts whose lengths do not fit each other.
pub fn read(path: &Path, matrix: &Matrix) -> Result<Table> {
    let root = H5File::open(path)?.root()?;
    read_root(&root, matrix).map_err(|error| in_file(path, error))
}

/// The names of an h5ad file's matrices other than `X`: what [`Matrix::Layer`] can be.
///
/// # Errors
/// A missing, damaged or truncated file.
pub fn layer_names(path: &Path) -> Result<Vec<String>> {
    layer_names_of(&H5File::open(path)?.root()?)
}

fn layer_names_of(root: &H5Group) -> Result<Vec<String>> {
    let mut names = Vec::new();
    if root.has_group("layers") {
        let layers = root.group("layers")?;
        names.extend(layers.datasets().iter().chain(layers.groups()).cloned());
    }
    if root.has_group(RAW) && !names.iter().any(|name| name == RAW) {
        names.push(RAW.to_string());
    }
    Ok(names)
}

/// The parts of an h5ad file that hold something and have no place in a table, so that [`read`] passes over them, as
/// `raw` or `uns/neighbors/distances`.
///
/// # Errors
/// A missing, damaged or truncated file; no such matrix.
pub fn not_read(path: &Path, matrix: &Matrix) -> Result<Vec<String>> {
    let root = H5File::open(path)?.root()?;
    let passed_over: &[&str] = match place(&root, matrix)? {
        Place::X => &[RAW, "varm", "obsp", "varp"],
        Place::Layer(_) => &["X", RAW, "varm", "obsp", "varp"],
        Place::Raw => &["X", "layers", "varm", "obsp", "varp"],
    };
    let mut parts = Vec::new();
    for part in passed_over {
        let holds = match root.has_group(part) {
            true => {
                let group = root.group(part)?;
                !(group.groups().is_empty() && group.datasets().is_empty())
            }
            false => root.has_dataset(part),
        };
        parts.extend(holds.then(|| part.to_string()));
    }
    if root.has_group("layers") && !passed_over.contains(&"layers") {
        let layers = root.group("layers")?;
        for name in layers.datasets().iter().chain(layers.groups()) {
            if !is_matrix(&layers, name)? {
                parts.push(format!("layers/{name}"));
            }
        }
    }
    if root.has_group("obsm") {
        let obsm = root.group("obsm")?;
        for name in obsm.groups() {
            let group = obsm.group(name)?;
            if group.attr_text("encoding-type") != Some("dataframe") {
                parts.push(format!("obsm/{name}"));
                continue;
            }
            parts.push(format!("names of the columns of obsm/{name}"));
            let frame = frame::read(&group, "sample")?;
            let lost = (frame.columns().iter())
                .filter(|column| !matches!(column.values, ColumnValues::Numeric(_)))
                .map(|column| format!("obsm/{name}/{}", column.name));
            parts.extend(lost);
        }
        for name in obsm.datasets() {
            let dataset = obsm.dataset(name)?;
            let is_matrix = !matches!(dataset.kind(), Kind::Text | Kind::Other(_));
            if !is_matrix || dataset.shape().len() > 2 {
                parts.push(format!("obsm/{name}"));
            }
        }
    }
    if root.has_group("uns") {
        uns::not_read(&root.group("uns")?, "uns", &mut parts)?;
    }
    Ok(parts)
}

/// Finds a matrix.
fn place<'a>(root: &H5Group, matrix: &'a Matrix) -> Result<Place<'a>> {
    let names = layer_names_of(root)?;
    let others = match names.is_empty() {
        true => "no layers and no raw".to_string(),
        false => format!("the layers {}", names.join(", ")),
    };
    match matrix {
        Matrix::X if root.has_group("X") || root.has_dataset("X") => Ok(Place::X),
        Matrix::X => Err(Error::format(
            root.path(),
            "X",
            format!("no X, {others}"),
            "X, or a layer asked for by name (--layer)",
        )),
        Matrix::Layer(name) if names.contains(name) => {
            let layers = match root.has_group("layers") {
                true => Some(root.group("layers")?),
                false => None,
            };
            let is_layer =
                layers.is_some_and(|layers| layers.has_group(name) || layers.has_dataset(name));
            Ok(if is_layer {
                Place::Layer(name)
            } else {
                Place::Raw
            })
        }
        Matrix::Layer(name) => Err(Error::format(
            root.path(),
            "layers",
            others,
            format!("a layer named {name:?}"),
        )),
    }
}

fn read_root(root: &H5Group, matrix: &Matrix) -> Result<Table> {
    let place = place(root, matrix)?;
    let raw;
    let features = match place {
        Place::X | Place::Layer(_) => root,
        Place::Raw => {
            raw = root.group(RAW)?;
            &raw
        }
    };
    let obs = frame::read(&root.group("obs")?, "sample")?;
    let var = frame::read(&features.group("var")?, "feature")?;
    let shape = [obs.ids().len(), var.ids().len()];
    let csr = match place {
        Place::X | Place::Raw => read_matrix(features, "X", shape)?,
        Place::Layer(name) => read_matrix(&root.group("layers")?, name, shape)?,
    };
    let mut table = Table::new(obs.ids().to_vec(), var.ids().to_vec(), csr)?;
    table.taxonomy = lineages(&var);
    table.sample_metadata = obs;
    table.feature_metadata = var;
    if root.has_group("uns") {
        table.uns = uns::read(&root.group("uns")?)?;
        if *matrix != Matrix::X {
            table.uns.remove("log1p"); // scanpy's mark that X holds logarithms
        }
    }
    if root.has_group("layers") && !matches!(place, Place::Raw) {
        let layers = root.group("layers")?;
        for name in layers.datasets().iter().chain(layers.groups()) {
            let is_asked_for = *matrix == Matrix::Layer(name.clone());
            if !is_asked_for && is_matrix(&layers, name)? {
                let layer = read_layer(&layers, name, shape, &mut table)?;
                table.layers.insert(name.clone(), layer);
            }
        }
    }
    if root.has_group("obsm") {
        let obsm = root.group("obsm")?;
        for name in obsm.datasets().iter().chain(obsm.groups()) {
            if let Some(dense) = read_obsm(&obsm, name, shape[0])? {
                table.obsm.insert(name.clone(), dense);
            }
        }
    }
    Ok(table)
}

/// Encodings of sparse matrices.
const SPARSE: [&str; 6] = [
    "csr_matrix",
    "csr_array",
    "csr",
    "csc_matrix",
    "csc_array",
    "csc",
];

/// A matrix of samples by features in any storage, as CSR.
fn read_matrix(parent: &H5Group, name: &str, shape: [usize; 2]) -> Result<Csr> {
    if !parent.has_group(name) {
        let dataset = parent.dataset(name)?;
        check_shape(&dataset, &shape)?;
        let dense = dataset.numbers()?;
        let mut csr = Csr {
            indptr: vec![0],
            ..Csr::default()
        };
        for row in dense.chunks_exact(shape[1].max(1)) {
            for (column, value) in row.iter().enumerate().filter(|(_, value)| **value != 0.0) {
                csr.indices.push(column as u32);
                csr.values.push(*value);
            }
            csr.indptr.push(csr.indices.len());
        }
        csr.indptr.resize(shape[0] + 1, csr.indices.len()); // no features: rows without entries
        return Ok(csr);
    }
    let group = parent.group(name)?;
    // `h5sparse_*` are the names of anndata before 0.7.
    let encoding = group
        .attr_text("encoding-type")
        .or(group.attr_text("h5sparse_format"));
    let declared = group
        .attr_counts("shape")
        .or(group.attr_counts("h5sparse_shape"));
    if declared
        .as_deref()
        .is_some_and(|declared| declared != shape)
    {
        return Err(Error::format(
            group.path(),
            group.place(),
            format!("shape {declared:?}"),
            format!("{shape:?}, the rows of obs and var"),
        ));
    }
    match encoding {
        Some("csr_matrix" | "csr_array" | "csr") => compressed::read(&group, shape[0], shape[1]),
        Some("csc_matrix" | "csc_array" | "csc") => Ok(compressed::transpose(
            &compressed::read(&group, shape[1], shape[0])?,
            shape[0],
        )),
        other => Err(Error::format(
            group.path(),
            group.place(),
            other.map_or("a group without encoding-type".to_string(), |kind| {
                format!("encoding {kind:?}")
            }),
            "csr_matrix, csc_matrix or a dense array",
        )),
    }
}

fn read_layer(layers: &H5Group, name: &str, shape: [usize; 2], table: &mut Table) -> Result<Layer> {
    if layers.has_group(name) {
        let csr = read_matrix(layers, name, shape)?;
        return Ok(Layer::Sparse {
            indptr: csr.indptr,
            indices: csr.indices,
            values: csr.values,
        });
    }
    let dataset = layers.dataset(name)?;
    check_shape(&dataset, &shape)?;
    let values = dataset.numbers()?;
    if *dataset.kind() == Kind::Integer
        && dataset.element_bytes()? == 1
        && let Some(meanings) = meanings(table, name)
        && values
            .iter()
            .all(|value| *value >= 0.0 && (*value as usize) < meanings.len())
    {
        let codes: Vec<u8> = values.iter().map(|value| *value as u8).collect();
        table.uns.shift_remove(&meanings_key(name));
        return Ok(Layer::Codes { codes, meanings });
    }
    Ok(Layer::Dense(Dense {
        n_rows: shape[0],
        n_columns: shape[1],
        values,
    }))
}

/// What the codes of a layer mean, if `uns` says so.
fn meanings(table: &Table, layer: &str) -> Option<Vec<String>> {
    let list = table.uns.get(&meanings_key(layer))?.as_array()?;
    list.iter()
        .map(|meaning| meaning.as_str().map(str::to_string))
        .collect()
}

/// Says whether a layer holds numbers in a storage that is read.
fn is_matrix(layers: &H5Group, name: &str) -> Result<bool> {
    if layers.has_group(name) {
        let group = layers.group(name)?;
        let encoding = group.attr_text("encoding-type");
        let is_old = group.attr_text("h5sparse_format").is_some();
        return Ok(is_old || encoding.is_some_and(|encoding| SPARSE.contains(&encoding)));
    }
    let kind = layers.dataset(name)?.kind().clone();
    Ok(!matches!(kind, Kind::Text | Kind::Other(_)))
}

/// A matrix with one row per sample, or `None` for one that is not numeric.
fn read_obsm(obsm: &H5Group, name: &str, n_rows: usize) -> Result<Option<Dense>> {
    if obsm.has_group(name) {
        let group = obsm.group(name)?;
        return Ok(match group.attr_text("encoding-type") {
            Some("dataframe") => {
                let (n_columns, values) = frame::read_numeric(&group)?;
                check_rows(&group, values.len(), [n_rows, n_columns])?;
                Some(Dense {
                    n_rows,
                    n_columns,
                    values,
                })
            }
            _ => None,
        });
    }
    let dataset = obsm.dataset(name)?;
    let n_columns = match dataset.shape() {
        [rows] if *rows == n_rows => 1,
        [rows, columns] if *rows == n_rows => *columns,
        [rows, ..] if *rows == n_rows => return Ok(None), // more than two dimensions
        shape => {
            return Err(dataset.bad(
                format!("shape {shape:?}"),
                format!("{n_rows} rows, one per sample"),
            ));
        }
    };
    match dataset.kind() {
        Kind::Text | Kind::Other(_) => Ok(None),
        _ => Ok(Some(Dense {
            n_rows,
            n_columns,
            values: dataset.numbers()?,
        })),
    }
}

fn check_rows(group: &H5Group, n_values: usize, shape: [usize; 2]) -> Result<()> {
    if n_values == shape[0] * shape[1] {
        return Ok(());
    }
    Err(Error::format(
        group.path(),
        group.place(),
        format!("{n_values} values in {} columns", shape[1]),
        format!("{} rows, one per sample", shape[0]),
    ))
}

fn check_shape(dataset: &H5Dataset, shape: &[usize; 2]) -> Result<()> {
    if dataset.shape() == shape {
        return Ok(());
    }
    Err(dataset.bad(
        format!("shape {:?}", dataset.shape()),
        format!("{shape:?}, the rows of obs and var"),
    ))
}

//! Files in, files out: recognises a format, reads a [`Table`] and writes one.
//!
//! A format is recognised by content first and by the name's ending second. Content that
//! contradicts the ending is an error: the file is most likely not what its name promises.

pub mod biom;
mod compressed;
pub mod detect;
pub mod h5ad;
mod hdf5;
pub mod mtx;
pub mod tenx_h5;
pub mod tsv;
mod write;

pub use detect::{Format, detect};
pub use h5ad::Matrix;
pub use write::{
    Overwrite, WriteOptions, remove_unfinished, require_replaceable, write, write_atomically,
};

use crate::{Error, Result, Table};
use std::path::Path;

/// How a table is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// Which matrix of an h5ad is the table; the other formats have one only.
    pub matrix: Matrix,
    /// Layout of a text table.
    pub tsv: tsv::TsvOptions,
}

/// Reads a table of any known format.
///
/// # Errors
/// A file that is missing, of unknown format, damaged, or holds what no table can hold.
///
/// # Examples
/// ```
/// use suffuse_data::format::{self, ReadOptions, WriteOptions};
/// use suffuse_data::Table;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("counts.h5ad");
/// let ids = |names: [&str; 2]| names.map(String::from).to_vec();
/// let table = Table::from_dense(ids(["s1", "s2"]), ids(["Blautia", "Dorea"]), &[3.0, 0.0, 1.0, 8.0])?;
/// format::write(&table, &path, &WriteOptions::default())?;
/// assert_eq!(format::read(&path, &ReadOptions::default())?, table);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read(path: &Path, options: &ReadOptions) -> Result<Table> {
    let format = detect(path)?;
    if format != Format::H5ad
        && let Matrix::Layer(layer) = &options.matrix
    {
        return Err(Error::format(
            path,
            "format",
            format.name(),
            format!("an h5ad file: only that has layers, and layer {layer:?} was asked for"),
        ));
    }
    match format {
        Format::H5ad => h5ad::read(path, &options.matrix),
        Format::BiomHdf5 => biom::hdf5::read(path),
        Format::BiomJson => biom::json::read(path),
        Format::TenxH5 => tenx_h5::read(path),
        Format::Tsv | Format::Csv => tsv::read(path, &options.tsv),
        Format::MatrixMarket => mtx::read(path),
    }
}

/// Names the file in an error that knows only its table.
fn in_file(path: &Path, error: Error) -> Error {
    match error {
        Error::DuplicateId { .. }
        | Error::BadValue { .. }
        | Error::Shape { .. }
        | Error::Invalid(_) => Error::InFile {
            path: path.to_path_buf(),
            source: Box::new(error),
        },
        other => other,
    }
}

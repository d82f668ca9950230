//! h5ad: the HDF5 form of an AnnData object.
//!
//! Specification: <https://anndata.readthedocs.io/en/stable/fileformat-prose.html>, encoding
//! versions of anndata 0.8 and later, and for reading also the older forms (categories in
//! `__categories`, matrices marked by `h5sparse_format`, fixed-length text).
//!
//! | h5ad | [`Table`](crate::Table) |
//! |---|---|
//! | `X`, or the [`Matrix`] asked for: dense, CSR or CSC | entries |
//! | `layers` | `layers` |
//! | `obs`, `var`: data frames | `sample_metadata`, `feature_metadata` |
//! | rank columns or a lineage column of `var` | `taxonomy`, too |
//! | `obsm`: dense, or the numeric columns of a data frame | `obsm` |
//! | `uns`: texts, numbers, truth values, lists and groups of them | `uns` |
//!
//! `raw` beside `X`, `varm`, `obsp`, `varp`, and members of `uns` and `obsm` of another kind have no
//! place in a table and are not read.

mod frame;
mod lineages;
mod read;
mod spooled;
mod uns;
mod write;

pub use read::{Matrix, layer_names, not_read, read};
pub use spooled::{LayerKind, LayerRow, SpooledTable};
pub(crate) use write::write;

/// Name under which the meanings of a layer of codes are kept in `uns`.
fn meanings_key(layer: &str) -> String {
    format!("{layer}_meanings")
}

//! Biological tables in and out: sparse tables with ids, metadata and taxonomy; readers and
//! writers; transforms; hiding of entries; an audit; grouped splits; a simulator. No tensor library.

pub mod audit;
mod delimited;
pub mod error;
pub mod format;
pub mod hide;
pub mod metadata;
pub mod metadata_tsv;
pub mod nested;
pub mod seeded;
pub mod select;
pub mod simulate;
pub mod split;
pub mod table;
pub mod taxonomy;
pub mod transform;
pub mod tree;

pub use error::{Error, Result};
pub use metadata::{Column, ColumnValues, Metadata};
pub use table::{Csr, Dense, Layer, Table};
pub use taxonomy::Taxonomy;

//! Everything that can go wrong between metadata and a condition of the network.

use std::path::PathBuf;

/// Result of an operation of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// A problem with metadata columns or with the folder of a text encoder.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused to read or write.
    #[error("{path}: cannot {action}: {source}", path = path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What was tried, as in "read" or "write".
        action: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The content of a file is not what a text encoder needs.
    #[error("{path}: {place}: found {found}, expected {expected}", path = path.display())]
    Format {
        /// File.
        path: PathBuf,
        /// Field or position in the file.
        place: String,
        /// What stands there.
        found: String,
        /// What should stand there, or the way out.
        expected: String,
    },
    /// A tensor in a weight file is missing, misshapen, or broken.
    #[error("{path}: tensor {tensor:?}: found {found}, expected {expected}", path = path.display())]
    Tensor {
        /// File.
        path: PathBuf,
        /// Name of the tensor in the file.
        tensor: String,
        /// What the file holds.
        found: String,
        /// What the configuration demands.
        expected: String,
    },
    /// A text that the tokenizer cannot turn into tokens of the model.
    #[error(
        "text {text:?} cannot be tokenized: {problem}; check that tokenizer.json belongs to the weights"
    )]
    Tokenize {
        /// The text.
        text: String,
        /// What went wrong.
        problem: String,
    },
    /// Embeddings were made by another encoder.
    #[error(
        "the cached embeddings were made by encoder {found}, but the encoder in use is {expected}; delete the cache or use its encoder"
    )]
    CacheIdentity {
        /// Identity stored with the embeddings.
        found: String,
        /// Identity of the encoder in use.
        expected: String,
    },
    /// A metadata column was asked for that the table does not have.
    #[error("metadata column {column:?} does not exist; {available}")]
    UnknownColumn {
        /// Name asked for.
        column: String,
        /// Which columns there are, in words.
        available: String,
    },
    /// A metadata column was asked for by name and cannot serve as a condition.
    #[error(
        "metadata column {column:?} cannot be used: {problem}; leave it out, or choose another column"
    )]
    UnusableColumn {
        /// Name asked for.
        column: String,
        /// Why not.
        problem: String,
    },
    /// One cell of the metadata cannot be used.
    #[error("metadata column {column:?}, row {row:?}: found {found}, expected {expected}")]
    Cell {
        /// Column name.
        column: String,
        /// Row id.
        row: String,
        /// What stands there.
        found: String,
        /// What should stand there.
        expected: String,
    },
    /// A fraction outside of its range.
    #[error("fraction of metadata to keep: found {0}, expected a number from 0 to 1")]
    KeepFraction(f64),
    /// The data crate refused the metadata.
    #[error(transparent)]
    Data(#[from] suffuse_data::Error),
}

impl Error {
    /// Wraps an operating-system error with its path.
    pub(crate) fn io(
        path: impl Into<PathBuf>,
        action: &'static str,
        source: std::io::Error,
    ) -> Self {
        Error::Io {
            path: path.into(),
            action,
            source,
        }
    }

    /// Says that `place` in the file at `path` holds `found` instead of `expected`.
    pub(crate) fn format(
        path: impl Into<PathBuf>,
        place: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Error::Format {
            path: path.into(),
            place: place.into(),
            found: found.into(),
            expected: expected.into(),
        }
    }
}

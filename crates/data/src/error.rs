//! Everything that can go wrong between a file and a [`Table`](crate::Table).

use crate::Metadata;
use std::path::PathBuf;

/// Result of an operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A problem with a file or a table, with the facts needed to mend it.
///
/// The message names the file or field, what was found, what was expected and the way out.
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
    /// The content of a file is not what its format demands.
    #[error("{path}: {place}: found {found}, expected {expected}", path = path.display())]
    Format {
        /// File.
        path: PathBuf,
        /// Line, dataset, or field.
        place: String,
        /// What stands there.
        found: String,
        /// What should stand there, or the way out.
        expected: String,
    },
    /// The output file is there already.
    #[error("{path}: exists already; choose another name or pass --force", path = path.display())]
    OutputExists {
        /// File.
        path: PathBuf,
    },
    /// Two samples, features or metadata rows have the same id.
    #[error(
        "{axis} id {id:?} occurs more than once (positions {first} and {second}); ids must be unique: rename or merge them"
    )]
    DuplicateId {
        /// "sample" or "feature".
        axis: &'static str,
        /// The id.
        id: String,
        /// Position of the first occurrence, from 1.
        first: usize,
        /// Position of the second occurrence, from 1.
        second: usize,
    },
    /// A value that no abundance table can hold.
    #[error(
        "sample {sample:?}, feature {feature:?}: value {value}; abundances must be finite and not negative (leave a value out, or write NaN, if it was not measured; give values from before they were scaled, centred or turned into log-ratios)"
    )]
    BadValue {
        /// Sample id.
        sample: String,
        /// Feature id.
        feature: String,
        /// The value.
        value: f64,
    },
    /// Lengths that must agree do not.
    #[error("{what}: found {found}, expected {expected}")]
    Shape {
        /// What was counted.
        what: String,
        /// Count found.
        found: usize,
        /// Count expected.
        expected: usize,
    },
    /// Two sources that must be about the same things have no id in common.
    #[error(
        "{what} share no id: the one has {left}, the other {right}; check for another spelling, a prefix, or samples and features swapped"
    )]
    NoSharedIds {
        /// The two sources, as in "table and metadata".
        what: &'static str,
        /// A few ids of the first.
        left: String,
        /// A few ids of the second.
        right: String,
    },
    /// A table that breaks a rule, with the file that it came from.
    #[error("{path}: {source}", path = path.display())]
    InFile {
        /// File.
        path: PathBuf,
        /// The rule and where it is broken.
        source: Box<Error>,
    },
    /// A request that the table cannot meet.
    #[error("{0}")]
    Invalid(String),
    /// A metadata column that is asked for and is not there.
    #[error("no metadata column {name:?} {purpose}; {known}")]
    NoColumn {
        /// The name that was asked for.
        name: String,
        /// What it is asked for, as in "to group by".
        purpose: &'static str,
        /// The columns that there are, in words.
        known: String,
    },
}

impl Error {
    /// A column that metadata do not have.
    pub(crate) fn no_column(metadata: &Metadata, name: &str, purpose: &'static str) -> Self {
        Error::NoColumn {
            name: name.to_string(),
            purpose,
            known: metadata.columns_in_words(),
        }
    }

    /// Wraps an operating-system error with its path.
    pub fn io(path: impl Into<PathBuf>, action: &'static str, source: std::io::Error) -> Self {
        Error::Io {
            path: path.into(),
            action,
            source,
        }
    }

    /// Says that `place` in the file at `path` holds `found` instead of `expected`.
    pub fn format(
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

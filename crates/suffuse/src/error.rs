//! Everything that can stop a command, with the exit code that says which kind it was.

use std::path::PathBuf;

/// Result of an operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A problem that ends a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A problem with a file or a table.
    #[error(transparent)]
    Data(#[from] suffuse_data::Error),
    /// A problem with a statistic or a baseline.
    #[error(transparent)]
    Stats(#[from] suffuse_stats::Error),
    /// A problem with a model.
    #[error(transparent)]
    Model(suffuse_model::Error),
    /// A problem whose message does not name the file it is about.
    #[error("{path}: {source}", path = path.display())]
    InFile {
        /// File.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<Error>,
    },
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
    /// A table that the command cannot work on.
    #[error("{0}")]
    Table(String),
    /// Arguments that do not fit together or name something that is not there.
    #[error("{0}")]
    Usage(String),
    /// The user asked to stop.
    #[error("interrupted: {advice}")]
    Interrupted {
        /// How to go on from here.
        advice: String,
    },
}

impl Error {
    /// Exit code of the program: 1 failed, 2 bad usage, 130 interrupted.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_)
            | Error::Data(suffuse_data::Error::NoColumn { .. })
            | Error::Model(
                suffuse_model::Error::Config { .. }
                | suffuse_model::Error::Device { .. }
                | suffuse_model::Error::Condition(suffuse_model::cond::Error::UnknownColumn {
                    ..
                }),
            ) => 2,
            Error::Interrupted { .. } => 130,
            Error::InFile { source, .. } => source.exit_code(),
            _ => 1,
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

    /// Names the file in a problem that does not name one itself.
    pub fn in_file(self, path: impl Into<PathBuf>) -> Self {
        use suffuse_data::Error as Data;
        match self {
            Error::Data(
                Data::DuplicateId { .. }
                | Data::BadValue { .. }
                | Data::Shape { .. }
                | Data::Invalid(_)
                | Data::NoColumn { .. }
                | Data::NoSharedIds { .. },
            )
            | Error::Model(
                suffuse_model::Error::Features { .. } | suffuse_model::Error::Table(_),
            )
            | Error::Table(_) => Error::InFile {
                path: path.into(),
                source: Box::new(self),
            },
            other => other,
        }
    }

    /// Says how to go on, if this is an interruption.
    pub fn with_advice(self, advice: impl FnOnce() -> String) -> Self {
        match self {
            Error::Interrupted { .. } => Error::Interrupted { advice: advice() },
            other => other,
        }
    }
}

impl From<suffuse_model::cond::Error> for Error {
    fn from(error: suffuse_model::cond::Error) -> Self {
        Error::Model(error.into())
    }
}

impl From<suffuse_model::Error> for Error {
    fn from(error: suffuse_model::Error) -> Self {
        match error {
            suffuse_model::Error::Interrupted => Error::Interrupted {
                advice: "nothing was written".to_string(),
            },
            other => Error::Model(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_failure_from_bad_usage_from_interruption() {
        assert_eq!(Error::Table("x".into()).exit_code(), 1);
        assert_eq!(Error::Usage("x".into()).exit_code(), 2);
        assert_eq!(
            Error::from(suffuse_model::Error::Interrupted).exit_code(),
            130
        );
        let unknown_key = suffuse_model::Error::Config {
            origin: "a.toml".into(),
            problem: "unknown field".into(),
        };
        assert_eq!(Error::from(unknown_key).exit_code(), 2);
    }

    #[test]
    fn a_file_is_named_once_and_only_where_it_was_missing() {
        let bare = Error::Data(suffuse_data::Error::Invalid("no samples".into())).in_file("a.tsv");
        assert_eq!(bare.to_string(), "a.tsv: no samples");
        let named = Error::Data(suffuse_data::Error::OutputExists {
            path: "b.tsv".into(),
        })
        .in_file("a.tsv");
        assert!(!named.to_string().contains("a.tsv"));
    }
}

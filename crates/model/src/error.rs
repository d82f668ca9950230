//! Everything that can go wrong while a model is configured, trained, stored or used.

use std::path::PathBuf;

/// Result of an operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A problem with a configuration, a checkpoint, a table or the training itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused to read or write.
    #[error("{path}: cannot {action}: {source}", path = path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A configuration that cannot be used.
    #[error("{origin}: {problem}")]
    Config {
        /// File or preset.
        origin: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A device that this build or this machine does not have.
    #[error("device {choice}: {problem}")]
    Device {
        /// What was asked for, as in "gpu:0".
        choice: String,
        /// What is wrong and what there is.
        problem: String,
    },
    /// A checkpoint that cannot be used.
    #[error("{path}: {problem}", path = path.display())]
    Checkpoint {
        /// File in the checkpoint.
        path: PathBuf,
        /// What is wrong and the way out.
        problem: String,
    },
    /// A parameter is absent.
    #[error("parameter {path:?} is missing")]
    MissingParameter {
        /// Path of the parameter.
        path: String,
    },
    /// A parameter has another shape.
    #[error("parameter {path:?} has shape {found:?}, expected {expected:?}")]
    ParameterShape {
        /// Path of the parameter.
        path: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape that the configuration asks for.
        expected: Vec<usize>,
    },
    /// Parameters that no part of the network asked for.
    #[error("{count} parameters fit no part of the network, the first is {first:?}")]
    UnusedParameters {
        /// How many.
        count: usize,
        /// The first of them.
        first: String,
    },
    /// The features of a table are not those of the model.
    #[error(
        "{found} features, but the model was fitted on {expected}; {shared} are shared: give a table with the model's features, or fit a model on this one"
    )]
    Features {
        /// Features of the table.
        found: usize,
        /// Features of the model.
        expected: usize,
        /// Features that both have.
        shared: usize,
    },
    /// A table that nothing can be learned from.
    #[error("{0}")]
    Table(String),
    /// A pre-training table shares samples with the target.
    #[error(
        "pre-training table {table}: sample {sample:?} is also in the target table ({how}); remove it: the target must be held out of pre-training"
    )]
    TargetInPretraining {
        /// Position of the pre-training table, from 1.
        table: usize,
        /// Sample of the pre-training table.
        sample: String,
        /// "same id" or "same content".
        how: &'static str,
    },
    /// A pre-training table has no feature of the target.
    #[error(
        "pre-training table {table} has none of the {n_features} features of the target table: check that both use the same feature ids"
    )]
    NoCommonFeatures {
        /// Position of the pre-training table, from 1.
        table: usize,
        /// Features of the target.
        n_features: usize,
    },
    /// The loss or a gradient is not a number.
    #[error(
        "{stage} step {step}: the loss is {loss} on samples {samples:?}; lower train.learning_rate or look at these samples"
    )]
    NotFinite {
        /// Stage of training.
        stage: String,
        /// Step, from 1.
        step: usize,
        /// The loss.
        loss: f64,
        /// Sample ids of the step (the first few).
        samples: Vec<String>,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A problem in the data crate.
    #[error(transparent)]
    Data(#[from] suffuse_data::Error),
    /// A problem in the statistics crate.
    #[error(transparent)]
    Stats(#[from] suffuse_stats::Error),
    /// A problem with metadata or the text encoder.
    #[error(transparent)]
    Condition(#[from] crate::cond::Error),
}

impl Error {
    /// Wraps an operating-system error with its path.
    pub fn io(path: impl Into<PathBuf>, action: &'static str, source: std::io::Error) -> Self {
        Error::Io {
            path: path.into(),
            action,
            source,
        }
    }
}

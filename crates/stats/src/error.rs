//! Everything that a statistic can refuse.

/// Result of an operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A request that cannot be answered, with the facts needed to mend it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Lengths that must agree do not.
    #[error("{what}: found {found}, expected {expected}")]
    Shape {
        /// What was counted.
        what: &'static str,
        /// Count found.
        found: usize,
        /// Count expected.
        expected: usize,
    },
    /// A value that does not fit the state of its entry, or the demands of a statistic.
    #[error("{what}, row {row}, column {column}: found {value}, expected {expected}")]
    BadEntry {
        /// Name of the matrix or vector.
        what: &'static str,
        /// Row, from 0 (position, for a vector).
        row: usize,
        /// Column, from 0 (0, for a vector).
        column: usize,
        /// The value.
        value: f64,
        /// What should stand there.
        expected: &'static str,
    },
    /// There is too little to compute from.
    #[error("{what}: found {found}, need at least {needed}")]
    TooFew {
        /// What was counted.
        what: &'static str,
        /// Count found.
        found: usize,
        /// Smallest count that works.
        needed: usize,
    },
    /// An option outside of its range.
    #[error("{option} is {value}, expected {expected}")]
    BadOption {
        /// Name of the option.
        option: &'static str,
        /// Its value.
        value: String,
        /// Allowed values.
        expected: &'static str,
    },
    /// A taxon of generated samples that cannot be changed as asked.
    #[error("taxon {taxon}: {problem}")]
    Unchangeable {
        /// Position of the taxon.
        taxon: usize,
        /// Why not.
        problem: String,
    },
    /// Two visits of one subject at one time have no order.
    #[error(
        "subject {subject:?} has two samples at time {time}; merge or drop one, lags need an order"
    )]
    RepeatedTime {
        /// Subject id.
        subject: String,
        /// The time.
        time: f64,
    },
}

/// Refuses a matrix with a `NaN` or infinite entry.
pub(crate) fn check_finite(what: &'static str, values: &ndarray::Array2<f64>) -> Result<()> {
    // Most matrices are finite, and a pass without indices is several times as fast.
    if values.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    for ((row, column), &value) in values.indexed_iter() {
        if !value.is_finite() {
            return Err(Error::BadEntry {
                what,
                row,
                column,
                value,
                expected: "a finite number",
            });
        }
    }
    Ok(())
}

/// Refuses two lengths that differ.
pub(crate) fn check_length(what: &'static str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        Ok(())
    } else {
        Err(Error::Shape {
            what,
            found,
            expected,
        })
    }
}

//! A table with hidden entries: what every imputer of this crate sees.

use crate::error::check_length;
use crate::{Error, Result};
use ndarray::Array2;

/// What is known of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryState {
    /// Present and measured: the value is positive.
    Observed,
    /// Known to be absent: the value is 0.
    Zero,
    /// To be filled: the value is `NaN`.
    Hidden,
}

/// Log abundances of samples (rows) by taxa (columns) with some entries hidden.
///
/// # Example
/// ```
/// use ndarray::array;
/// use suffuse_stats::{EntryState, Incomplete};
///
/// let table = Incomplete::from_values(array![[1.2, 0.0], [f64::NAN, 0.7]])?;
/// assert_eq!(table.state()[[1, 0]], EntryState::Hidden);
/// # Ok::<(), suffuse_stats::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Incomplete {
    /// `ln(1 + percent)`, `[n_samples, n_taxa]`: positive where observed, 0 where absent, `NaN`
    /// where hidden. Checked when built; who changes an entry keeps it in its state.
    pub values: Array2<f64>,
    state: Array2<EntryState>,
}

impl Incomplete {
    /// A table from values and states of the same shape `[n_samples, n_taxa]`.
    ///
    /// # Errors
    /// Shapes that differ; an observed value that is not positive and finite; an absent one that
    /// is not 0; a hidden one that is not `NaN`.
    pub fn new(values: Array2<f64>, state: Array2<EntryState>) -> Result<Self> {
        check_length("rows of the entry states", state.nrows(), values.nrows())?;
        check_length("columns of the entry states", state.ncols(), values.ncols())?;
        for ((row, column), &value) in values.indexed_iter() {
            let (fits, expected) = match state[[row, column]] {
                EntryState::Observed => (
                    value.is_finite() && value > 0.0,
                    "a positive number (observed)",
                ),
                EntryState::Zero => (value == 0.0, "0 (absent)"),
                EntryState::Hidden => (value.is_nan(), "NaN (hidden)"),
            };
            if !fits {
                return Err(Error::BadEntry {
                    what: "incomplete table",
                    row,
                    column,
                    value,
                    expected,
                });
            }
        }
        Ok(Incomplete { values, state })
    }

    /// A table whose states follow from its values: `NaN` is hidden, 0 absent, the rest observed.
    ///
    /// # Errors
    /// A negative or infinite value.
    pub fn from_values(values: Array2<f64>) -> Result<Self> {
        let state = values.mapv(|value| match value {
            v if v.is_nan() => EntryState::Hidden,
            0.0 => EntryState::Zero,
            _ => EntryState::Observed,
        });
        Incomplete::new(values, state)
    }

    /// Hides the listed `(sample, taxon)` entries of a complete table.
    ///
    /// # Errors
    /// An entry out of range, a negative or infinite value.
    pub fn hide(complete: &Array2<f64>, entries: &[(usize, usize)]) -> Result<Self> {
        let mut values = complete.clone();
        for &(sample, taxon) in entries {
            let Some(value) = values.get_mut([sample, taxon]) else {
                let (what, found, expected) = if sample >= complete.nrows() {
                    ("sample of a hidden entry", sample, complete.nrows())
                } else {
                    ("taxon of a hidden entry", taxon, complete.ncols())
                };
                return Err(Error::Shape {
                    what,
                    found,
                    expected,
                });
            };
            *value = f64::NAN;
        }
        Incomplete::from_values(values)
    }

    /// State of each entry, `[n_samples, n_taxa]`.
    pub fn state(&self) -> &Array2<EntryState> {
        &self.state
    }

    /// Number of samples (rows).
    pub fn n_samples(&self) -> usize {
        self.values.nrows()
    }

    /// Number of taxa (columns).
    pub fn n_taxa(&self) -> usize {
        self.values.ncols()
    }

    /// `(sample, taxon, value)` of the observed entries, row by row.
    pub fn observed(&self) -> impl Iterator<Item = (usize, usize, f64)> + '_ {
        self.state
            .indexed_iter()
            .filter(|(_, state)| **state == EntryState::Observed)
            .map(|((sample, taxon), _)| (sample, taxon, self.values[[sample, taxon]]))
    }

    /// `(sample, taxon)` of the hidden entries, row by row.
    pub fn hidden(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.state
            .indexed_iter()
            .filter(|(_, state)| **state == EntryState::Hidden)
            .map(|(at, _)| at)
    }

    /// Smallest observed value, or `None` when nothing is observed.
    pub(crate) fn smallest_observed(&self) -> Option<f64> {
        self.observed().map(|(_, _, value)| value).reduce(f64::min)
    }

    /// The same table with the listed observed entries hidden as well.
    pub(crate) fn hide_more(&self, entries: &[(usize, usize)]) -> Incomplete {
        let mut copy = self.clone();
        for &at in entries {
            copy.values[at] = f64::NAN;
            copy.state[at] = EntryState::Hidden;
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_value_that_contradicts_its_state_is_refused_with_its_place() {
        for (value, state) in [
            (0.0, EntryState::Observed),
            (f64::NAN, EntryState::Observed),
            (f64::INFINITY, EntryState::Observed),
            (1.0, EntryState::Zero),
            (1.0, EntryState::Hidden),
        ] {
            let result =
                Incomplete::new(array![[1.0, value]], array![[EntryState::Observed, state]]);
            assert!(
                matches!(
                    result,
                    Err(Error::BadEntry {
                        row: 0,
                        column: 1,
                        ..
                    })
                ),
                "{value} as {state:?}"
            );
        }
        let result = Incomplete::new(array![[1.0, 2.0]], array![[EntryState::Observed]]);
        assert!(matches!(
            result,
            Err(Error::Shape {
                found: 1,
                expected: 2,
                ..
            })
        ));
    }

    #[test]
    fn hidden_entries_are_those_listed_and_lose_their_value() {
        let complete = array![[1.0, 0.0], [2.0, 3.0]];
        let table = Incomplete::hide(&complete, &[(1, 0)]).unwrap();
        assert_eq!(table.hidden().collect::<Vec<_>>(), [(1, 0)]);
        assert!(table.values[[1, 0]].is_nan());
        assert_eq!(
            table.observed().collect::<Vec<_>>(),
            [(0, 0, 1.0), (1, 1, 3.0)]
        );
        assert!(matches!(
            Incomplete::hide(&complete, &[(2, 0)]),
            Err(Error::Shape {
                what: "sample of a hidden entry",
                ..
            })
        ));
        assert!(matches!(
            Incomplete::hide(&array![[-1.0]], &[]),
            Err(Error::BadEntry { .. })
        ));
    }
}

//! The protocol `published`: a share of the non-zero entries of the whole table is hidden, totals
//! are taken before hiding, and the method is told which entries are hidden.
//!
//! It repeats the set-up of the literature, to compare with it; it flatters every method, because
//! the total of a sample gives away the sum of what is hidden in it.

use crate::Result;
use crate::impute::ln1p_percent;
use ndarray::Array2;
use suffuse_data::Table;
use suffuse_data::hide::hide_nonzero;
use suffuse_stats::Incomplete;

/// A table with hidden entries and their true values.
#[derive(Debug, Clone, PartialEq)]
pub struct Published<'a> {
    /// The table with all entries. A model gets it with the list of hidden entries, whose values
    /// it must not read; a baseline gets [`Published::incomplete`].
    pub table: &'a Table,
    /// Hidden entries as `(sample, feature)`, sorted.
    pub hidden: Vec<(u32, u32)>,
    /// Total of each sample before hiding, in the unit of the table.
    pub totals: Vec<f64>,
    /// `ln(1 + percent)` before hiding, `[n_samples, n_features]`; `NaN` where not measured.
    pub truth: Array2<f64>,
}

impl<'a> Published<'a> {
    /// Hides `fraction` of the non-zero entries, drawn by `seed`.
    ///
    /// # Errors
    /// A fraction outside of 0 to 1.
    pub fn new(table: &'a Table, fraction: f64, seed: u64) -> Result<Self> {
        let hidden = hide_nonzero(table, fraction, seed, None)?;
        let totals = table.totals();
        let truth = ln1p_percent(table, &totals);
        let hidden = hidden
            .entries
            .iter()
            .map(|entry| (entry.sample, entry.feature))
            .collect();
        Ok(Published {
            table,
            hidden,
            totals,
            truth,
        })
    }

    /// What a baseline sees: logs with `NaN` at hidden (and unmeasured) entries.
    ///
    /// # Errors
    /// None for a table that was read by this program.
    pub fn incomplete(&self) -> Result<Incomplete> {
        let mut values = self.truth.clone();
        for at in self.positions() {
            values[at] = f64::NAN;
        }
        Ok(Incomplete::from_values(values)?)
    }

    /// Hidden entries as indices of matrices.
    pub fn positions(&self) -> Vec<(usize, usize)> {
        self.hidden
            .iter()
            .map(|(sample, feature)| (*sample as usize, *feature as usize))
            .collect()
    }

    /// True `ln(1 + percent)` of the hidden entries, in their order.
    pub fn hidden_truth(&self) -> Vec<f64> {
        self.positions()
            .into_iter()
            .map(|at| self.truth[at])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_taken_before_hiding_and_the_method_sees_no_hidden_value() {
        let names = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
        let dense: Vec<f64> = (0..40).map(|i| f64::from(i % 4)).collect();
        let table = Table::from_dense(names("s", 5), names("t", 8), &dense).unwrap();
        let published = Published::new(&table, 0.2, 1).unwrap();
        assert_eq!(published.hidden.len(), 6); // 20 % of 30 non-zero entries
        assert_eq!(published.totals, table.totals());
        let incomplete = published.incomplete().unwrap();
        for (at, truth) in published
            .positions()
            .into_iter()
            .zip(published.hidden_truth())
        {
            assert!(incomplete.values[at].is_nan());
            let percent = 100.0 * table.get(at.0, at.1) / 12.0; // 0+1+2+3, twice
            assert!((truth - percent.ln_1p()).abs() < 1e-12);
        }
    }
}

//! Scales on which tables are modelled, each with its inverse.
//!
//! ```text
//! raw x ──forward──► y, with one number per sample (Scale) that inverse needs to give x back
//! ```
//!
//! All in f64. `NaN` (not measured) stays `NaN` and takes no part in a sample's scale. A sample
//! without reads is never divided by its total: it stays zero on the percent scales.

pub mod clr;
pub mod percent;

use crate::{Error, Result, Table};
use serde::{Deserialize, Serialize};

/// What a transform keeps of a sample: its total in raw units on the percent scales, the mean of
/// its logarithms on the log-ratio scales.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scale(pub f64);

/// A scale for abundances.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Transform {
    /// `100 x / total`, in percent.
    Percent,
    /// `ln(1 + 100 x / total)`.
    Ln1pPercent,
    /// `log10(1 + 100 x / total)` (DepMicroDiff, Eq. 10-11).
    Log10Percent,
    /// `ln(x + pseudocount) - mean of the same over the sample` (Aitchison 1982).
    Clr {
        /// Added to every entry, in raw units; above 0.
        pseudocount: f64,
    },
    /// `ln x - mean of ln x over the non-zeros` (Martino 2019); a zero becomes `-inf`.
    RobustClr,
}

/// A transformed table.
#[derive(Debug, Clone, PartialEq)]
pub struct Transformed {
    /// `n_samples * n_features` values, row after row.
    pub values: Vec<f64>,
    /// One per sample.
    pub scales: Vec<Scale>,
}

impl Transform {
    /// The scale of a sample in raw units.
    pub fn scale(&self, sample: &[f64]) -> Scale {
        match self {
            Transform::Percent | Transform::Ln1pPercent | Transform::Log10Percent => {
                percent::total(sample)
            }
            Transform::Clr { pseudocount } => clr::mean_ln(sample, *pseudocount),
            Transform::RobustClr => clr::mean_ln_of_nonzeros(sample),
        }
    }

    /// One entry from raw units to this scale.
    pub fn forward(&self, x: f64, scale: Scale) -> f64 {
        match self {
            Transform::Percent => percent::percent(x, scale),
            Transform::Ln1pPercent => percent::ln1p_percent(x, scale),
            Transform::Log10Percent => percent::log10_1p_percent(x, scale),
            Transform::Clr { pseudocount } => clr::forward(x + pseudocount, scale),
            Transform::RobustClr => clr::forward(x, scale),
        }
    }

    /// One entry from this scale to raw units.
    pub fn inverse(&self, y: f64, scale: Scale) -> f64 {
        match self {
            Transform::Percent => percent::from_percent(y, scale),
            Transform::Ln1pPercent => percent::from_ln1p_percent(y, scale),
            Transform::Log10Percent => percent::from_log10_1p_percent(y, scale),
            Transform::Clr { pseudocount } => clr::inverse(y, scale) - pseudocount,
            Transform::RobustClr => clr::inverse(y, scale),
        }
    }

    /// A whole table; each sample's scale comes from its measured entries.
    ///
    /// # Errors
    /// A pseudocount that is not a positive number.
    pub fn forward_table(&self, table: &Table) -> Result<Transformed> {
        let n_features = table.n_features();
        let dense = table.to_dense();
        let scales: Vec<Scale> = (0..table.n_samples())
            .map(|sample| self.scale(&dense[sample * n_features..(sample + 1) * n_features]))
            .collect();
        let values = self.forward_dense(dense, &scales)?;
        Ok(Transformed { values, scales })
    }

    /// A whole table with scales from elsewhere, as when totals were taken before entries were
    /// hidden.
    ///
    /// # Errors
    /// Another number of scales than of samples; a pseudocount that is not a positive number.
    pub fn forward_table_with(&self, table: &Table, scales: &[Scale]) -> Result<Vec<f64>> {
        if scales.len() != table.n_samples() {
            return Err(Error::Shape {
                what: "scales of a transform, one per sample".to_string(),
                found: scales.len(),
                expected: table.n_samples(),
            });
        }
        self.forward_dense(table.to_dense(), scales)
    }

    /// All values of a transformed table, in raw units and row-major order.
    ///
    /// # Errors
    /// A number of values that the scales do not divide.
    pub fn inverse_table(&self, transformed: &Transformed) -> Result<Vec<f64>> {
        let Transformed { values, scales } = transformed;
        let n_features = values.len().checked_div(scales.len()).unwrap_or(0);
        if n_features * scales.len() != values.len() {
            return Err(Error::Shape {
                what: "values of a transformed table".to_string(),
                found: values.len(),
                expected: n_features * scales.len(),
            });
        }
        let mut raw = values.clone();
        for (row, scale) in raw.chunks_mut(n_features.max(1)).zip(scales) {
            row.iter_mut().for_each(|y| *y = self.inverse(*y, *scale));
        }
        Ok(raw)
    }

    fn forward_dense(&self, mut dense: Vec<f64>, scales: &[Scale]) -> Result<Vec<f64>> {
        if let Transform::Clr { pseudocount } = self
            && !(pseudocount.is_finite() && *pseudocount > 0.0)
        {
            return Err(Error::Invalid(format!(
                "clr pseudocount {pseudocount}: must be a finite number above 0"
            )));
        }
        let n_features = dense.len().checked_div(scales.len()).unwrap_or(0);
        for (row, scale) in dense.chunks_mut(n_features.max(1)).zip(scales) {
            row.iter_mut().for_each(|x| *x = self.forward(*x, *scale));
        }
        Ok(dense)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Transform; 5] = [
        Transform::Percent,
        Transform::Ln1pPercent,
        Transform::Log10Percent,
        Transform::Clr { pseudocount: 0.5 },
        Transform::RobustClr,
    ];

    fn table(dense: &[f64], n_samples: usize) -> Table {
        let ids = |p: &str, n: usize| (0..n).map(|i| format!("{p}{i}")).collect::<Vec<_>>();
        Table::from_dense(
            ids("s", n_samples),
            ids("t", dense.len() / n_samples),
            dense,
        )
        .unwrap()
    }

    fn entry() -> impl Strategy<Value = f64> {
        prop_oneof![
            3 => Just(0.0),
            1 => Just(f64::NAN),
            3 => (1u32..100_000).prop_map(f64::from),
            3 => 1e-3..1e6,
        ]
    }

    proptest! {
        // The clr adds its pseudocount, so its error is relative to x + pseudocount.
        #[test]
        fn every_transform_is_undone_by_its_inverse(dense in proptest::collection::vec(entry(), 24)) {
            let t = table(&dense, 3);
            for transform in ALL {
                let transformed = transform.forward_table(&t).unwrap();
                let back = transform.inverse_table(&transformed).unwrap();
                for (x, back) in dense.iter().zip(back) {
                    let unit = match transform { Transform::Clr { pseudocount } => x + pseudocount, _ => *x };
                    prop_assert!(
                        (x.is_nan() && back.is_nan()) || (back - x).abs() <= 1e-12 * unit,
                        "{transform:?}: {x} came back as {back}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_sample_without_reads_stays_zero_and_finite() {
        let t = table(&[0.0, 0.0, f64::NAN, f64::NAN], 2);
        for transform in &ALL[..4] {
            let y = transform.forward_table(&t).unwrap();
            assert_eq!(y.values[..2], [0.0, 0.0], "{transform:?}");
            assert!(
                y.values[2..].iter().all(|v| v.is_nan())
                    && y.scales.iter().all(|s| s.0.is_finite())
            );
            assert_eq!(transform.inverse_table(&y).unwrap()[..2], [0.0, 0.0]);
        }
    }

    #[test]
    fn scales_of_the_full_table_can_be_used_for_a_hidden_one() {
        let scales = [Scale(4.0)];
        let y = Transform::Percent
            .forward_table_with(&table(&[1.0, f64::NAN], 1), &scales)
            .unwrap();
        assert!(y[0] == 25.0 && y[1].is_nan());
        assert!(
            Transform::Percent
                .forward_table_with(&table(&[1.0], 1), &[])
                .is_err()
        );
        assert!(
            Transform::Clr { pseudocount: 0.0 }
                .forward_table(&table(&[1.0], 1))
                .is_err()
        );
    }

    #[test]
    fn transforms_are_named_in_json() {
        let text = serde_json::to_string(&ALL).unwrap();
        assert!(text.contains(r#"{"kind":"ln1p_percent"}"#), "{text}");
        assert_eq!(serde_json::from_str::<Vec<Transform>>(&text).unwrap(), ALL);
    }
}

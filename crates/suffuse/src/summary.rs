//! What is in a table: shape, zeros, totals, metadata. The text and JSON of `suffuse inspect`.

use serde::Serialize;
use std::fmt::Write;
use suffuse_data::metadata_tsv::is_missing;
use suffuse_data::{ColumnValues, Metadata, Table};
use suffuse_stats::scores::quantile;

/// How many ids are given as examples.
const MAX_EXAMPLES: usize = 5;

/// Facts about a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableSummary {
    /// Rows.
    pub n_samples: usize,
    /// Columns.
    pub n_features: usize,
    /// Entries that are measured and not zero.
    pub n_nonzero: usize,
    /// Entries that are not measured.
    pub n_missing: usize,
    /// Share of zeros among the measured entries, 0 to 1; `NaN` (null in JSON) where nothing was measured.
    pub zero_fraction: f64,
    /// Says whether all entries are whole numbers, as counts are.
    pub is_whole: bool,
    /// Smallest, median and largest total of a sample, in the unit of the table.
    pub totals: [f64; 3],
    /// Samples without a non-zero entry: how many.
    pub n_empty_samples: usize,
    /// Some of their ids.
    pub empty_samples: Vec<String>,
    /// Features without a non-zero entry: how many.
    pub n_empty_features: usize,
    /// Some of their ids.
    pub empty_features: Vec<String>,
    /// Columns of the sample metadata.
    pub sample_metadata: Vec<ColumnSummary>,
    /// Columns of the feature metadata.
    pub feature_metadata: Vec<ColumnSummary>,
    /// Ranks of the taxonomy, broadest first; empty without one.
    pub ranks: Vec<String>,
    /// Names of the layers.
    pub layers: Vec<String>,
    /// Names of the per-sample matrices.
    pub obsm: Vec<String>,
}

/// Facts about a column of metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnSummary {
    /// Name.
    pub name: String,
    /// "numeric", "categorical", "text" or "boolean".
    pub kind: &'static str,
    /// Rows without a value.
    pub n_missing: usize,
    /// Distinct values.
    pub n_distinct: usize,
}

impl TableSummary {
    /// Looks at every entry of a table once.
    pub fn of(table: &Table) -> Self {
        let (_, columns, values) = table.csr();
        let n_missing = values.iter().filter(|value| value.is_nan()).count();
        let n_nonzero = values.len() - n_missing;
        let n_measured = table.n_samples() * table.n_features() - n_missing;
        // The sum of nothing is -0.
        let mut totals: Vec<f64> = table
            .totals()
            .into_iter()
            .map(|total| total + 0.0)
            .collect();
        let empty_samples = examples(table.sample_ids(), |sample| totals[sample] == 0.0);
        let mut is_present = vec![false; table.n_features()];
        for (column, value) in columns.iter().zip(values) {
            is_present[*column as usize] |= !value.is_nan();
        }
        let empty_features = examples(table.feature_ids(), |feature| !is_present[feature]);
        totals.sort_by(f64::total_cmp);
        TableSummary {
            n_samples: table.n_samples(),
            n_features: table.n_features(),
            n_nonzero,
            n_missing,
            zero_fraction: 1.0 - n_nonzero as f64 / n_measured as f64,
            is_whole: values
                .iter()
                .all(|value| value.is_nan() || value.fract() == 0.0),
            totals: match totals.is_empty() {
                true => [0.0; 3],
                false => [0.0, 0.5, 1.0].map(|q| quantile(&totals, q)),
            },
            n_empty_samples: empty_samples.0,
            empty_samples: empty_samples.1,
            n_empty_features: empty_features.0,
            empty_features: empty_features.1,
            sample_metadata: columns_of(&table.sample_metadata),
            feature_metadata: columns_of(&table.feature_metadata),
            ranks: table
                .taxonomy
                .as_ref()
                .map(|taxonomy| taxonomy.ranks.clone())
                .unwrap_or_default(),
            layers: table.layers.keys().cloned().collect(),
            obsm: table.obsm.keys().cloned().collect(),
        }
    }

    /// The summary as lines of text.
    pub fn to_text(&self) -> String {
        let mut lines = vec![
            format!("samples            {}", self.n_samples),
            format!("features           {}", self.n_features),
            format!("non-zero entries   {}", self.n_nonzero),
            match self.zero_fraction.is_nan() {
                true => "zeros              unknown: nothing was measured".to_string(),
                false => format!(
                    "zeros              {:.1} % of the measured entries",
                    100.0 * self.zero_fraction
                ),
            },
            format!("not measured       {}", self.n_missing),
            format!(
                "values             {}",
                if self.is_whole {
                    "whole numbers"
                } else {
                    "fractional"
                }
            ),
            format!(
                "totals             {:.6} to {:.6}, median {:.6}",
                Plain(self.totals[0]),
                Plain(self.totals[2]),
                Plain(self.totals[1])
            ),
            format!(
                "empty samples      {}",
                with_examples(self.n_empty_samples, &self.empty_samples)
            ),
            format!(
                "empty features     {}",
                with_examples(self.n_empty_features, &self.empty_features)
            ),
        ];
        if !self.ranks.is_empty() {
            lines.push(format!("taxonomy           {}", self.ranks.join(" > ")));
        }
        for (name, entries) in [("layers", &self.layers), ("obsm", &self.obsm)] {
            if !entries.is_empty() {
                lines.push(format!("{name:<18} {}", entries.join(", ")));
            }
        }
        for (axis, columns) in [
            ("sample metadata", &self.sample_metadata),
            ("feature metadata", &self.feature_metadata),
        ] {
            if !columns.is_empty() {
                lines.push(format!("{axis}:"));
            }
            for column in columns {
                let mut line = format!("  {:<28} {:<12}", column.name, column.kind);
                // Writing to a String cannot fail.
                let _ = write!(
                    line,
                    " {} distinct, {} missing",
                    column.n_distinct, column.n_missing
                );
                lines.push(line);
            }
        }
        lines.join("\n")
    }
}

/// A number with at most so many significant decimals, without trailing zeros.
struct Plain(f64);

impl std::fmt::Display for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size = self.0.abs();
        if size != 0.0 && !(1e-4..1e15).contains(&size) {
            return write!(f, "{:.3e}", self.0);
        }
        let text = format!("{:.*}", f.precision().unwrap_or(6), self.0);
        let text = if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.')
        } else {
            &text
        };
        f.write_str(text)
    }
}

fn with_examples(n: usize, examples: &[String]) -> String {
    match n {
        0 => "0".to_string(),
        _ if n > examples.len() => format!("{n} ({}, …)", examples.join(", ")),
        _ => format!("{n} ({})", examples.join(", ")),
    }
}

fn examples(ids: &[String], is_meant: impl Fn(usize) -> bool) -> (usize, Vec<String>) {
    let meant: Vec<&String> = ids
        .iter()
        .enumerate()
        .filter(|(position, _)| is_meant(*position))
        .map(|(_, id)| id)
        .collect();
    (
        meant.len(),
        meant.into_iter().take(MAX_EXAMPLES).cloned().collect(),
    )
}

fn columns_of(metadata: &Metadata) -> Vec<ColumnSummary> {
    let n_rows = metadata.ids().len();
    metadata
        .columns()
        .iter()
        .map(|column| {
            // An h5ad can hold a missing category as an empty text.
            let texts: Vec<Option<String>> = (0..n_rows)
                .map(|row| column.values.text(row).filter(|text| !is_missing(text)))
                .collect();
            let distinct: std::collections::BTreeSet<&String> = texts.iter().flatten().collect();
            ColumnSummary {
                name: column.name.clone(),
                kind: match column.values {
                    ColumnValues::Numeric(_) => "numeric",
                    ColumnValues::Categorical { .. } => "categorical",
                    ColumnValues::Text(_) => "text",
                    ColumnValues::Boolean(_) => "boolean",
                },
                n_missing: texts.iter().filter(|text| text.is_none()).count(),
                n_distinct: distinct.len(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use suffuse_data::Column;

    #[test]
    fn numbers_are_plain_where_that_is_short() {
        let text = |x: f64| Plain(x).to_string();
        assert_eq!([text(0.0), text(12.5), text(3e6)], ["0", "12.5", "3000000"]);
        assert_eq!([text(1e-300), text(2e300)], ["1.000e-300", "2.000e300"]);
    }

    #[test]
    fn zeros_missing_and_empty_rows_are_counted_apart() {
        let names = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
        let dense = [1.0, 0.0, 3.0, 0.0, f64::NAN, 0.0];
        let mut table = Table::from_dense(names("s", 2), names("t", 3), &dense).unwrap();
        let ages = Column {
            name: "age".into(),
            values: ColumnValues::Numeric(vec![61.0, f64::NAN]),
        };
        table.sample_metadata.set_column(ages).unwrap();
        let summary = TableSummary::of(&table);
        assert_eq!((summary.n_nonzero, summary.n_missing), (2, 1));
        assert_eq!(summary.zero_fraction, 0.6); // three zeros of five measured entries
        let ids = |name: &str| vec![name.to_string()];
        let nothing = Table::from_dense(ids("s"), ids("t"), &[f64::NAN]).unwrap();
        let text = TableSummary::of(&nothing).to_text();
        assert!(
            text.contains("nothing was measured") && !text.contains("100"),
            "{text}"
        );
        assert_eq!((summary.n_empty_samples, summary.n_empty_features), (1, 1));
        assert_eq!(summary.empty_features, ["t1"]);
        assert_eq!(summary.totals, [0.0, 2.0, 4.0]);
        let expected = ColumnSummary {
            name: "age".into(),
            kind: "numeric",
            n_missing: 1,
            n_distinct: 1,
        };
        assert_eq!(summary.sample_metadata, [expected]);
        assert!(summary.to_text().contains("empty samples      1 (s1)"));
    }
}

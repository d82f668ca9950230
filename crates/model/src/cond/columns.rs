//! Metadata columns as numbers: standardised values, one-hot levels, and a flag for missing.
//!
//! | column | becomes |
//! |---|---|
//! | numeric | `(value - mean) / sd`, 0 where missing; then 1 where missing, else 0 |
//! | categorical, text, boolean | one number per level, 1 at the level of the row; then the missing flag |
//!
//! Mean, standard deviation (divisor n) and levels come from the rows given to
//! [`ColumnEncoder::fit`], which must be training rows only. A flag exists even where no training
//! row was missing: train on thinned metadata too ([`thin_metadata`](super::thin_metadata)), or
//! its weight stays at its first value.

use super::column_scale::{Cell, Scale, SkipReason};
use super::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fmt;
use suffuse_data::{Column, Metadata};

/// Which columns to use.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ColumnOptions {
    /// Names, in the order of the condition. `None`: all columns that can serve, in file order.
    pub columns: Option<Vec<String>>,
}

/// A column that was left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Skipped {
    /// Name of the column.
    pub column: String,
    /// Why.
    pub reason: SkipReason,
}

/// Turns metadata rows into the numbers that a network is conditioned on.
///
/// ```
/// use suffuse_data::{Column, ColumnValues, Metadata};
/// use suffuse_model::cond::{ColumnEncoder, ColumnOptions};
///
/// let age = Column { name: "age".into(), values: ColumnValues::Numeric(vec![20.0, 40.0, f64::NAN]) };
/// let metadata = Metadata::new(vec!["a".into(), "b".into(), "c".into()], vec![age])?;
/// let (encoder, skipped) = ColumnEncoder::fit(&metadata, &ColumnOptions::default())?;
/// assert!(skipped.is_empty());
/// let encoded = encoder.encode(&metadata)?;
/// assert_eq!(encoded.values, [-1.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
/// assert_eq!(encoded.is_missing_row, [false, false, true]);
/// # Ok::<(), suffuse_model::cond::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnEncoder {
    columns: Vec<EncodedColumn>,
}

/// A column with what its training rows said of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EncodedColumn {
    name: String,
    scale: Scale,
}

/// Metadata rows as numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// `[n_rows, dim]`, row-major, unitless.
    pub values: Vec<f32>,
    /// Per row: all of its cells are missing (also where there is no column at all). The network
    /// puts its learned null here.
    pub is_missing_row: Vec<bool>,
    /// Numbers per row.
    pub dim: usize,
    /// Levels that no training row had; they were treated as missing.
    pub unseen: Vec<Unseen>,
    /// Columns that this metadata does not have; all of their cells were treated as missing.
    pub absent_columns: Vec<String>,
}

/// A level that no training row had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    /// Column.
    pub column: String,
    /// Its value.
    pub level: String,
    /// Number of rows with it.
    pub n_rows: usize,
}

impl ColumnEncoder {
    /// Learns the encoding from training rows; also returns the columns left out.
    ///
    /// Levels are sorted by name, so the encoding does not depend on the order of rows.
    ///
    /// # Errors
    /// A column named in the options does not exist, is named twice, has too many levels, or holds
    /// infinite numbers.
    pub fn fit(
        metadata: &Metadata,
        options: &ColumnOptions,
    ) -> Result<(ColumnEncoder, Vec<Skipped>)> {
        let (mut columns, mut skipped) = (Vec::new(), Vec::new());
        for column in chosen_columns(metadata, options)? {
            match Scale::fit(column) {
                Ok(scale) => columns.push(EncodedColumn {
                    name: column.name.clone(),
                    scale,
                }),
                Err(reason) if options.columns.is_some() && reason.is_refusal() => {
                    return Err(Error::UnusableColumn {
                        column: column.name.clone(),
                        problem: reason.to_string(),
                    });
                }
                Err(reason) => skipped.push(Skipped {
                    column: column.name.clone(),
                    reason,
                }),
            }
        }
        Ok((ColumnEncoder { columns }, skipped))
    }

    /// Numbers per row.
    pub fn dim(&self) -> usize {
        self.columns.iter().map(|column| column.scale.width()).sum()
    }

    /// What each of the [`dim`](Self::dim) numbers is, as in `age`, `age missing`, `sex = male`.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::with_capacity(self.dim());
        for EncodedColumn { name, scale } in &self.columns {
            match scale {
                Scale::Numeric { .. } => names.push(name.clone()),
                Scale::Levels(levels) => {
                    names.extend(levels.iter().map(|level| format!("{name} = {level}")));
                }
            }
            names.push(format!("{name} missing"));
        }
        names
    }

    /// Every column with where its numbers begin and how many they are, its missing flag the last.
    pub fn spans(&self) -> Vec<(&str, usize, usize)> {
        let mut start = 0;
        let mut spans = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let width = column.scale.width();
            spans.push((column.name.as_str(), start, width));
            start += width;
        }
        spans
    }

    /// The rows of `metadata` as numbers. Columns are found by name; others are ignored.
    ///
    /// # Errors
    /// Text in a column that was numeric in training, or a number that is infinite, also after
    /// standardising.
    pub fn encode(&self, metadata: &Metadata) -> Result<Encoded> {
        let (n_rows, dim) = (metadata.ids().len(), self.dim());
        let mut encoded = Encoded {
            values: vec![0.0; n_rows * dim],
            is_missing_row: vec![true; n_rows],
            dim,
            unseen: Vec::new(),
            absent_columns: Vec::new(),
        };
        let mut start = 0;
        for EncodedColumn { name, scale } in &self.columns {
            let missing_flag = start + scale.width() - 1;
            let cells = match metadata.column(name) {
                None => {
                    encoded.absent_columns.push(name.clone());
                    vec![None; n_rows]
                }
                Some(column) => scale.cells(column, metadata, &mut encoded.unseen)?,
            };
            for (row, cell) in cells.into_iter().enumerate() {
                let values = &mut encoded.values[row * dim..(row + 1) * dim];
                match cell {
                    None => values[missing_flag] = 1.0,
                    Some(Cell { offset, value }) => {
                        values[start + offset] = value;
                        encoded.is_missing_row[row] = false;
                    }
                }
            }
            start += scale.width();
        }
        Ok(encoded)
    }
}

/// The columns that the options name, or all.
pub(super) fn chosen_columns<'a>(
    metadata: &'a Metadata,
    options: &ColumnOptions,
) -> Result<Vec<&'a Column>> {
    let Some(names) = &options.columns else {
        return Ok(metadata.columns().iter().collect());
    };
    let mut seen = HashSet::new();
    names
        .iter()
        .map(|name| {
            if !seen.insert(name) {
                return Err(Error::UnusableColumn {
                    column: name.clone(),
                    problem: "it is named twice".to_string(),
                });
            }
            metadata.column(name).ok_or_else(|| Error::UnknownColumn {
                column: name.clone(),
                available: metadata.columns_in_words(),
            })
        })
        .collect()
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "metadata column {:?} left out: {}",
            self.column, self.reason
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use suffuse_data::ColumnValues;

    fn metadata(columns: Vec<(&str, ColumnValues)>) -> Metadata {
        let n = columns[0].1.len();
        let columns = columns
            .into_iter()
            .map(|(name, values)| Column {
                name: name.to_string(),
                values,
            })
            .collect();
        Metadata::new((0..n).map(|i| format!("s{i}")).collect(), columns).unwrap()
    }

    fn text(values: &[&str]) -> ColumnValues {
        ColumnValues::Text(
            values
                .iter()
                .map(|v| (!v.is_empty()).then(|| v.to_string()))
                .collect(),
        )
    }

    fn named(names: &[&str]) -> ColumnOptions {
        ColumnOptions {
            columns: Some(names.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn numbers_are_standardised_as_by_scikit_learn_and_missing_is_zero_with_a_flag() {
        let age = ColumnValues::Numeric(vec![63.0, f64::NAN, 41.5, 70.0, 55.0]);
        let (encoder, skipped) =
            ColumnEncoder::fit(&metadata(vec![("age", age)]), &ColumnOptions::default()).unwrap();
        assert!(skipped.is_empty());
        assert_eq!(encoder.names(), ["age", "age missing"]);
        assert_eq!(encoder.spans(), [("age", 0, 2)]);
        let new = metadata(vec![(
            "age",
            ColumnValues::Numeric(vec![63.0, 41.5, f64::NAN, 80.0]),
        )]);
        let encoded = encoder.encode(&new).unwrap();
        // sklearn 1.9.1 StandardScaler, fitted on the same column with its NaN.
        let expected = [
            0.531_105_2,
            0.0,
            -1.498_896_8,
            0.0,
            0.0,
            1.0,
            2.136_223,
            0.0,
        ];
        for (value, expected) in encoded.values.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{value} {expected}");
        }
        assert_eq!(encoded.is_missing_row, [false, false, true, false]);
    }

    #[test]
    fn levels_become_one_hot_in_sorted_order_and_unseen_ones_missing_with_a_report() {
        let sex = text(&[
            "male", "female", "", "male", "female", "male", "male", "female", "male",
        ]);
        let sick = ColumnValues::Boolean([Some(true), None, Some(false)].repeat(3));
        let train = metadata(vec![("sex", sex), ("sick", sick)]);
        let (encoder, _) = ColumnEncoder::fit(&train, &ColumnOptions::default()).unwrap();
        assert_eq!(
            encoder.names(),
            [
                "sex = female",
                "sex = male",
                "sex missing",
                "sick = false",
                "sick = true",
                "sick missing"
            ]
        );
        let categorical = ColumnValues::Categorical {
            levels: vec!["other".into(), "male".into()],
            codes: vec![Some(1), Some(0), Some(0), None],
            ordered: false,
        };
        let encoded = encoder
            .encode(&metadata(vec![("sex", categorical)]))
            .unwrap();
        #[rustfmt::skip]
        assert_eq!(encoded.values, [
            0.0, 1.0, 0.0, 0.0, 0.0, 1.0,
            0.0, 0.0, 1.0, 0.0, 0.0, 1.0,
            0.0, 0.0, 1.0, 0.0, 0.0, 1.0,
            0.0, 0.0, 1.0, 0.0, 0.0, 1.0,
        ]);
        assert_eq!(encoded.is_missing_row, [false, true, true, true]);
        assert_eq!(
            encoded.unseen,
            [Unseen {
                column: "sex".into(),
                level: "other".into(),
                n_rows: 2
            }]
        );
        assert_eq!(encoded.absent_columns, ["sick"]);
    }

    #[test]
    fn numbers_stored_as_text_are_numbers_but_ids_are_not() {
        let bmi: Vec<String> = (0..40)
            .map(|i| format!("{}", 18.5 + f64::from(i)))
            .collect();
        let ids: Vec<String> = (0..40).map(|i| format!("{}", 100 + i)).collect();
        let age: Vec<String> = (0..40).map(|i| format!("{}", 20 + i % 18)).collect();
        let as_text = |of: &[String]| text(&of.iter().map(String::as_str).collect::<Vec<_>>());
        let stage: Vec<String> = (0..40).map(|i| format!("{}", 1 + i % 3)).collect();
        let codes = metadata(vec![("stage", as_text(&stage))]);
        let (codes, _) = ColumnEncoder::fit(&codes, &ColumnOptions::default()).unwrap();
        assert_eq!(codes.dim(), 4, "three levels and the missing flag");
        let columns = [("bmi", &bmi), ("subject", &ids), ("age", &age)];
        let train = metadata(columns.map(|(name, of)| (name, as_text(of))).into());
        let (encoder, skipped) = ColumnEncoder::fit(&train, &ColumnOptions::default()).unwrap();
        assert_eq!(encoder.dim(), 4, "two numbers, each with its missing flag");
        assert_eq!(skipped[0].column, "subject");
        let numbers: Vec<f64> = bmi.iter().map(|x| x.parse().unwrap()).collect();
        let same = metadata(vec![
            ("bmi", ColumnValues::Numeric(numbers)),
            ("age", as_text(&age)),
        ]);
        assert_eq!(
            encoder.encode(&same).unwrap().values,
            encoder.encode(&train).unwrap().values
        );
        let strange = metadata(vec![("bmi", text(&["heavy"])), ("age", text(&["NA"]))]);
        let refused = encoder.encode(&strange).unwrap_err().to_string();
        assert!(
            refused.contains("heavy") && refused.contains("a number"),
            "{refused}"
        );
    }

    #[test]
    fn columns_of_no_use_are_skipped_with_a_reason_and_ids_named_by_the_user_are_an_error() {
        let ids: Vec<String> = (0..40).map(|i| format!("p{i}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let few: Vec<&str> = ["a", "b", "c"].into_iter().cycle().take(40).collect();
        let train = metadata(vec![
            ("patient", text(&ids)),
            ("few", text(&few)),
            ("same", ColumnValues::Numeric(vec![0.1; 40])),
            ("empty", ColumnValues::Numeric(vec![f64::NAN; 40])),
            (
                "wild",
                ColumnValues::Numeric(
                    (0..40)
                        .map(|i| if i == 3 { f64::INFINITY } else { 1.0 })
                        .collect(),
                ),
            ),
        ]);
        let (encoder, skipped) = ColumnEncoder::fit(&train, &ColumnOptions::default()).unwrap();
        assert_eq!(encoder.dim(), 4);
        let reasons: Vec<(&str, &SkipReason)> = skipped
            .iter()
            .map(|s| (s.column.as_str(), &s.reason))
            .collect();
        assert_eq!(
            reasons,
            [
                (
                    "patient",
                    &SkipReason::TooManyLevels {
                        n_levels: 40,
                        n_values: 40
                    }
                ),
                ("same", &SkipReason::Constant),
                ("empty", &SkipReason::NoValue),
                ("wild", &SkipReason::NotFinite),
            ]
        );
        for (names, found) in [
            (&["few", "patient"][..], "40 different values"),
            (&["wild"], "infinite"),
            (&["few", "few"], "twice"),
            (&["Few"], "patient, few, same"),
        ] {
            let refused = ColumnEncoder::fit(&train, &named(names))
                .unwrap_err()
                .to_string();
            assert!(refused.contains(found), "{refused}");
        }
        let (encoder, skipped) = ColumnEncoder::fit(&train, &named(&["same", "few"])).unwrap();
        assert_eq!((encoder.dim(), skipped.len()), (4, 1));
    }

    #[test]
    fn text_or_infinity_in_a_numeric_column_is_an_error_that_names_the_cell() {
        let train = metadata(vec![("age", ColumnValues::Numeric(vec![1.0, 2.0]))]);
        let (encoder, _) = ColumnEncoder::fit(&train, &ColumnOptions::default()).unwrap();
        for bad in [
            text(&["", "old"]),
            ColumnValues::Numeric(vec![1.0, f64::INFINITY]),
        ] {
            let refused = encoder
                .encode(&metadata(vec![("age", bad)]))
                .unwrap_err()
                .to_string();
            assert!(
                refused.contains("\"age\"") && refused.contains("\"s1\""),
                "{refused}"
            );
        }
        let empty = encoder
            .encode(&metadata(vec![("age", text(&["", ""]))]))
            .unwrap();
        assert_eq!(empty.is_missing_row, [true, true]);
    }

    #[test]
    fn without_any_column_every_row_is_missing_and_has_no_number() {
        let none = Metadata::empty(vec!["a".into(), "b".into()]);
        let (encoder, _) = ColumnEncoder::fit(&none, &ColumnOptions::default()).unwrap();
        let encoded = encoder.encode(&none).unwrap();
        assert_eq!((encoded.dim, encoded.values.len()), (0, 0));
        assert_eq!(encoded.is_missing_row, [true, true]);
    }

    #[test]
    fn an_encoder_comes_back_from_json_and_encodes_to_the_same_bits() {
        let values = vec![
            1.0 / 3.0,
            1e-7,
            20_140_523.7,
            std::f64::consts::PI,
            f64::NAN,
        ];
        let train = metadata(vec![
            ("x", ColumnValues::Numeric(values)),
            ("y", text(&["a", "b", "a", "b", "a"])),
        ]);
        let (encoder, _) = ColumnEncoder::fit(&train, &ColumnOptions::default()).unwrap();
        let back: ColumnEncoder =
            serde_json::from_str(&serde_json::to_string(&encoder).unwrap()).unwrap();
        assert_eq!(back, encoder);
        assert_eq!(
            back.encode(&train).unwrap(),
            encoder.encode(&train).unwrap()
        );
    }
}

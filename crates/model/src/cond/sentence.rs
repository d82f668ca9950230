//! A sample's metadata as a sentence for the text encoder.
//!
//! `sample_type = "Primary Tumor"`, `age = 63` becomes `sample type: Primary Tumor; age: 63.`

use super::Result;
use super::column_scale::Scale;
use super::columns::{ColumnOptions, Skipped, chosen_columns};
use serde::{Deserialize, Serialize};
use suffuse_data::{ColumnValues, Metadata};

/// Significant digits of a number that is not whole: files in 32-bit floats hold 22.6 as
/// 22.600000381469727.
const SIGNIFICANT_DIGITS: usize = 6;
/// Below this, every whole number has an exact `f64` and is written out.
const MAX_WHOLE: f64 = 1e15;

/// The columns that make up a sentence, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentenceTemplate {
    columns: Vec<String>,
}

impl SentenceTemplate {
    /// Chooses the columns from training rows; also returns the columns left out.
    ///
    /// Columns named in the options are taken as they are, so free text can be named. By default
    /// those are taken that [`ColumnEncoder`](super::ColumnEncoder) would take, so no ids.
    ///
    /// # Errors
    /// A column named in the options does not exist or is named twice.
    pub fn fit(
        metadata: &Metadata,
        options: &ColumnOptions,
    ) -> Result<(SentenceTemplate, Vec<Skipped>)> {
        let (mut columns, mut skipped) = (Vec::new(), Vec::new());
        for column in chosen_columns(metadata, options)? {
            match Scale::fit(column) {
                Err(reason) if options.columns.is_none() => {
                    skipped.push(Skipped {
                        column: column.name.clone(),
                        reason,
                    });
                }
                _ => columns.push(column.name.clone()),
            }
        }
        Ok((SentenceTemplate { columns }, skipped))
    }

    /// Names of the columns, in order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The columns of the template that this metadata does not have.
    pub fn absent_columns(&self, metadata: &Metadata) -> Vec<&str> {
        self.columns
            .iter()
            .filter(|name| metadata.column(name).is_none())
            .map(String::as_str)
            .collect()
    }

    /// One sentence per row; `None` where nothing is known, for the network's learned null.
    ///
    /// Missing cells and absent columns are left out. In names `_` becomes a space; in names and
    /// values runs of white space become one space. Whole numbers are written without a decimal
    /// point, others with up to 6 significant digits; booleans as yes or no.
    ///
    /// ```
    /// use suffuse_data::{Column, ColumnValues, Metadata};
    /// use suffuse_model::cond::{ColumnOptions, SentenceTemplate};
    ///
    /// let age = Column { name: "host_age".into(), values: ColumnValues::Numeric(vec![63.0, f64::NAN]) };
    /// let metadata = Metadata::new(vec!["a".into(), "b".into()], vec![age])?;
    /// let options = ColumnOptions { columns: Some(vec!["host_age".into()]) };
    /// let (template, _) = SentenceTemplate::fit(&metadata, &options)?;
    /// assert_eq!(template.sentences(&metadata), [Some("host age: 63.".to_string()), None]);
    /// # Ok::<(), suffuse_model::cond::Error>(())
    /// ```
    pub fn sentences(&self, metadata: &Metadata) -> Vec<Option<String>> {
        let columns: Vec<_> = self
            .columns
            .iter()
            .filter_map(|name| metadata.column(name))
            .collect();
        (0..metadata.ids().len())
            .map(|row| {
                let parts: Vec<String> = columns
                    .iter()
                    .filter_map(|column| {
                        let value = value_text(&column.values, row)?;
                        Some(format!(
                            "{}: {value}",
                            single_spaced(&column.name.replace('_', " "))
                        ))
                    })
                    .collect();
                (!parts.is_empty()).then(|| format!("{}.", parts.join("; ")))
            })
            .collect()
    }
}

/// A cell in words, `None` where it is missing or blank.
fn value_text(values: &ColumnValues, row: usize) -> Option<String> {
    let text = match values {
        ColumnValues::Numeric(numbers) => {
            (!numbers[row].is_nan()).then(|| number_text(numbers[row]))?
        }
        ColumnValues::Boolean(answers) => if answers[row]? { "yes" } else { "no" }.to_string(),
        other => single_spaced(&other.text(row)?),
    };
    (!text.is_empty()).then_some(text)
}

fn number_text(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < MAX_WHOLE {
        return format!("{number}");
    }
    let scientific = format!("{number:.*e}", SIGNIFICANT_DIGITS - 1);
    match scientific.parse::<f64>() {
        Ok(rounded) if (1e-4..MAX_WHOLE).contains(&rounded.abs()) => format!("{rounded}"),
        Ok(rounded) => format!("{rounded:e}"),
        Err(_) => scientific,
    }
}

fn single_spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cond::Error;
    use suffuse_data::Column;

    fn metadata() -> Metadata {
        let some = |text: &str| Some(text.to_string());
        let columns = [
            (
                "sample_type",
                ColumnValues::Categorical {
                    levels: vec!["Primary Tumor".into(), "Solid Tissue Normal".into()],
                    codes: vec![Some(0), Some(1), None],
                    ordered: false,
                },
            ),
            (
                "note",
                ColumnValues::Text(vec![some(" stored \n at -80 C"), some("  "), None]),
            ),
            (
                "age",
                ColumnValues::Numeric(vec![63.0, 22.600000381469727, f64::NAN]),
            ),
            (
                "smoker",
                ColumnValues::Boolean(vec![None, Some(false), None]),
            ),
        ];
        let columns = columns
            .into_iter()
            .map(|(name, values)| Column {
                name: name.to_string(),
                values,
            })
            .collect();
        Metadata::new(vec!["a".into(), "b".into(), "c".into()], columns).unwrap()
    }

    fn template(names: &[&str]) -> Result<SentenceTemplate> {
        let columns = Some(names.iter().map(ToString::to_string).collect());
        SentenceTemplate::fit(&metadata(), &ColumnOptions { columns }).map(|(template, _)| template)
    }

    #[test]
    fn chosen_columns_become_a_sentence_without_the_missing_ones() {
        let template = template(&["sample_type", "note", "age", "smoker"]).unwrap();
        let sentences = template.sentences(&metadata());
        assert_eq!(
            sentences[0].as_deref(),
            Some("sample type: Primary Tumor; note: stored at -80 C; age: 63.")
        );
        assert_eq!(
            sentences[1].as_deref(),
            Some("sample type: Solid Tissue Normal; age: 22.6; smoker: no.")
        );
        assert_eq!(sentences[2], None, "nothing known is not an empty sentence");
    }

    #[test]
    fn the_order_is_that_of_the_template_and_absent_columns_are_left_out_and_named() {
        let template = template(&["age", "sample_type"]).unwrap();
        let sentences = template.sentences(&metadata());
        assert_eq!(
            sentences[0].as_deref(),
            Some("age: 63; sample type: Primary Tumor.")
        );
        let bare = Metadata::empty(vec!["a".into()]);
        assert_eq!(template.sentences(&bare), [None]);
        assert_eq!(template.absent_columns(&bare), ["age", "sample_type"]);
    }

    #[test]
    fn without_names_ids_and_constant_columns_are_left_out_with_a_note() {
        let (template, skipped) =
            SentenceTemplate::fit(&metadata(), &ColumnOptions::default()).unwrap();
        assert_eq!(template.columns(), ["sample_type", "note", "age"]);
        assert_eq!(skipped.len(), 1);
        assert_eq!(
            skipped[0].to_string(),
            "metadata column \"smoker\" left out: all values are the same"
        );
    }

    #[test]
    fn an_unknown_column_is_refused_with_the_names_that_exist() {
        let refused = template(&["stage"]).unwrap_err();
        assert!(matches!(refused, Error::UnknownColumn { .. }));
        assert!(
            refused
                .to_string()
                .contains("sample_type, note, age, smoker")
        );
    }

    #[test]
    fn numbers_read_like_numbers() {
        for (number, text) in [
            (63.0, "63"),
            (-0.5, "-0.5"),
            (20_140_523.0, "20140523"),
            (0.1 + 0.2, "0.3"),
            (1234.56789, "1234.57"),
            (1.5e-9, "1.5e-9"),
            (2e300, "2e300"),
        ] {
            assert_eq!(number_text(number), text);
        }
    }
}

//! Metadata as conditions of a model: chosen and encoded when it is fitted, and encoded the same
//! way whenever it is used.

use crate::model_folder::Beside;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use suffuse_data::metadata_tsv::is_missing;
use suffuse_data::{Column, ColumnValues, Metadata};
use suffuse_model::cond::{
    ColumnEncoder, ColumnOptions, SentenceTemplate, TextEncoder, thin_metadata,
};
use suffuse_model::systems::depmicrodiff::Conditions;

/// How metadata reaches the network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Encoding {
    /// Numbers standardised, categories one-hot.
    #[default]
    Columns,
    /// A sentence per sample through the text encoder in this folder.
    Text(PathBuf),
    /// Not at all.
    Off,
}

/// Which metadata are used and how.
#[derive(Debug, Clone, PartialEq)]
pub struct ConditionOptions {
    /// How they are encoded.
    pub encoding: Encoding,
    /// Names of columns; `None` takes all that can serve.
    pub columns: Option<Vec<String>>,
    /// Share of the cells that is kept, 0 to 1, to measure what metadata are worth.
    pub keep: f64,
}

impl Default for ConditionOptions {
    fn default() -> Self {
        ConditionOptions {
            encoding: Encoding::Columns,
            columns: None,
            keep: 1.0,
        }
    }
}

/// The options in one line, as they are recorded with results.
impl fmt::Display for ConditionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.encoding {
            Encoding::Off => return f.write_str("none"),
            Encoding::Columns => f.write_str("columns")?,
            Encoding::Text(folder) => {
                write!(
                    f,
                    "text encoder {}",
                    folder.file_name().unwrap_or_default().display()
                )?;
            }
        }
        match &self.columns {
            None => f.write_str(" (all)")?,
            Some(columns) => write!(f, " ({})", columns.join(", "))?,
        }
        if self.keep < 1.0 {
            write!(f, ", {} % of the cells kept", 100.0 * self.keep)
        } else {
            Ok(())
        }
    }
}

/// How the metadata of a fitted model were encoded, as it is stored with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ConditionEncoder {
    /// Numbers and one-hot levels.
    Columns(ColumnEncoder),
    /// Sentences through a text encoder.
    Text {
        /// The columns that make up a sentence.
        template: SentenceTemplate,
        /// Folder of the encoder, as typed.
        folder: PathBuf,
        /// SHA-256 over its weights, tokenizer and settings.
        identity: String,
    },
}

/// Conditions of the samples that a model is fitted on.
#[derive(Clone)]
pub struct FitConditions {
    /// The numbers; `None` without metadata.
    pub conditions: Option<Conditions>,
    /// How they were made; `None` without metadata.
    pub encoder: Option<ConditionEncoder>,
    /// Columns that cannot serve, and why, one sentence each.
    pub left_out: Vec<String>,
}

/// Name of the file in a model's folder that holds its [`ConditionEncoder`].
const FILE: Beside = Beside {
    file: "conditions.json",
    holds: "the encoding of metadata",
};

/// The metadata with placeholders of missing values ("", "NA", "not available", ...) made missing.
///
/// Text files get this when they are read; a category of an h5ad can be an empty text all the same.
fn without_placeholders(metadata: &Metadata) -> Result<Metadata> {
    let columns = metadata
        .columns()
        .iter()
        .map(|column| {
            let values = match &column.values {
                ColumnValues::Categorical {
                    levels,
                    codes,
                    ordered,
                } => {
                    let kept: Vec<&String> =
                        levels.iter().filter(|level| !is_missing(level)).collect();
                    let code_of = |level: &String| {
                        kept.iter()
                            .position(|kept| *kept == level)
                            .map(|code| code as u32)
                    };
                    let new_codes: Vec<Option<u32>> = levels.iter().map(code_of).collect();
                    ColumnValues::Categorical {
                        codes: codes
                            .iter()
                            .map(|code| code.and_then(|code| new_codes[code as usize]))
                            .collect(),
                        levels: kept.into_iter().cloned().collect(),
                        ordered: *ordered,
                    }
                }
                ColumnValues::Text(texts) => {
                    let known =
                        |text: &Option<String>| text.clone().filter(|text| !is_missing(text));
                    ColumnValues::Text(texts.iter().map(known).collect())
                }
                other => other.clone(),
            };
            Column {
                name: column.name.clone(),
                values,
            }
        })
        .collect();
    Ok(Metadata::new(metadata.ids().to_vec(), columns)?)
}

/// Chooses the columns and encodes the metadata of the samples that a model is fitted on.
///
/// # Errors
/// A column that was named is absent or cannot serve; a text encoder that cannot be read.
pub fn encode_for_fit(
    metadata: &Metadata,
    options: &ConditionOptions,
    seed: u64,
) -> Result<FitConditions> {
    let nothing = |left_out| {
        Ok(FitConditions {
            conditions: None,
            encoder: None,
            left_out,
        })
    };
    if options.encoding == Encoding::Off
        || (metadata.columns().is_empty() && options.columns.is_none())
    {
        return nothing(Vec::new());
    }
    let mut known = without_placeholders(metadata)?;
    if options.keep < 1.0 {
        known = thin_metadata(&known, options.keep, seed)?;
    }
    let metadata = &known;
    let columns = ColumnOptions {
        columns: options.columns.clone(),
    };
    let (encoder, left_out) = match &options.encoding {
        Encoding::Text(folder) => {
            let (template, left_out) = SentenceTemplate::fit(metadata, &columns)?;
            let left_out = left_out.iter().map(ToString::to_string).collect();
            let identity = TextEncoder::load(folder)?.identity().to_string();
            if template.columns().is_empty() {
                return nothing(left_out);
            }
            let encoder = ConditionEncoder::Text {
                template,
                folder: folder.clone(),
                identity,
            };
            (encoder, left_out)
        }
        _ => {
            let (encoder, left_out) = ColumnEncoder::fit(metadata, &columns)?;
            let left_out = left_out.iter().map(ToString::to_string).collect();
            if encoder.dim() == 0 {
                return nothing(left_out);
            }
            (ConditionEncoder::Columns(encoder), left_out)
        }
    };
    let conditions = encoder.encode(metadata)?.conditions;
    Ok(FitConditions {
        conditions: Some(conditions),
        encoder: Some(encoder),
        left_out,
    })
}

/// Metadata as a model takes them, and what of them it does not know.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// As the model takes them.
    pub conditions: Conditions,
    /// Values that the model has not learned and that count as missing, in words.
    pub unseen: Vec<String>,
    /// Columns of the model that are not there, in words.
    pub absent: Option<String>,
}

impl Encoded {
    /// All that the user should know.
    pub fn notes(&self) -> Vec<String> {
        self.unseen.iter().chain(&self.absent).cloned().collect()
    }
}

impl ConditionEncoder {
    /// Encodes metadata the way the model knows.
    ///
    /// # Errors
    /// A text encoder that cannot be read or is another one; a cell of another kind than in
    /// fitting.
    pub fn encode(&self, metadata: &Metadata) -> Result<Encoded> {
        let (mut unseen, mut absent) = (Vec::new(), None);
        let metadata = &without_placeholders(metadata)?;
        let conditions = match self {
            ConditionEncoder::Columns(encoder) => {
                let encoded = encoder.encode(metadata)?;
                unseen.extend(encoded.unseen.iter().map(|unseen| format!(
                    "metadata column {:?}: value {:?} of {} samples is new to the model and counts as missing",
                    unseen.column, unseen.level, unseen.n_rows
                )));
                if !encoded.absent_columns.is_empty() {
                    absent = Some(are_absent(&encoded.absent_columns.join(", ")));
                }
                Conditions {
                    values: encoded.values,
                    missing: encoded.is_missing_row,
                    dim: encoded.dim,
                    description: encoder.names().join(", "),
                }
            }
            ConditionEncoder::Text {
                template,
                folder,
                identity,
            } => {
                let encoder = TextEncoder::load(folder)?;
                if encoder.identity() != identity {
                    return Err(Error::Table(format!(
                        "{}: found text encoder {}, expected {identity}, which the model was fitted with",
                        folder.display(),
                        encoder.identity()
                    )));
                }
                let absent_columns = template.absent_columns(metadata);
                if !absent_columns.is_empty() {
                    absent = Some(are_absent(&absent_columns.join(", ")));
                }
                let sentences = template.sentences(metadata);
                let known: Vec<String> = sentences.iter().flatten().cloned().collect();
                let mut vectors = encoder.encode(&known)?.into_iter();
                let dim = encoder.dim();
                let mut values = Vec::with_capacity(sentences.len() * dim);
                for sentence in &sentences {
                    match sentence {
                        Some(_) => values.extend(vectors.next().expect("one vector per sentence")),
                        None => values.resize(values.len() + dim, 0.0),
                    }
                }
                Conditions {
                    values,
                    missing: sentences.iter().map(Option::is_none).collect(),
                    dim,
                    description: format!("sentences of {}", template.columns().join(", ")),
                }
            }
        };
        Ok(Encoded {
            conditions,
            unseen,
            absent,
        })
    }

    /// Stores the encoder in the folder of its model.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn save(&self, model_folder: &Path) -> Result<()> {
        FILE.save(model_folder, self)
    }

    /// Removes the encoder of an earlier model from a folder.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn forget(model_folder: &Path) -> Result<()> {
        FILE.forget(model_folder)
    }

    /// The encoder in the folder of a model; `None` where the model was fitted without metadata.
    ///
    /// # Errors
    /// A file that is not an encoder.
    pub fn load(model_folder: &Path) -> Result<Option<ConditionEncoder>> {
        FILE.load(model_folder)
    }
}

fn are_absent(columns: &str) -> String {
    format!("metadata columns that the model knows are absent and count as missing: {columns}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        let ids: Vec<String> = (0..4).map(|i| format!("s{i}")).collect();
        let age = ColumnValues::Numeric(vec![20.0, 40.0, 60.0, f64::NAN]);
        let sex = ColumnValues::Categorical {
            levels: vec!["f".into(), "m".into()],
            codes: vec![Some(0), Some(1), Some(0), None],
            ordered: false,
        };
        let column = |name: &str, values| Column {
            name: name.into(),
            values,
        };
        Metadata::new(ids, vec![column("age", age), column("sex", sex)]).unwrap()
    }

    #[test]
    fn a_stored_encoder_gives_the_same_numbers_and_a_row_without_values_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(ConditionEncoder::load(folder.path()).unwrap(), None);
        let fitted = encode_for_fit(&metadata(), &ConditionOptions::default(), 0).unwrap();
        fitted.encoder.unwrap().save(folder.path()).unwrap();
        let encoder = ConditionEncoder::load(folder.path()).unwrap().unwrap();
        let encoded = encoder.encode(&metadata()).unwrap();
        let (conditions, notes) = (&encoded.conditions, encoded.notes());
        let first = fitted.conditions.unwrap();
        assert_eq!(
            (&conditions.values, conditions.dim),
            (&first.values, first.dim)
        );
        assert_eq!(conditions.missing, [false, false, false, true]);
        assert_eq!(notes, [""; 0]);
    }

    #[test]
    fn an_empty_category_is_a_missing_one() {
        let ids: Vec<String> = (0..3).map(|i| format!("s{i}")).collect();
        let levels = vec![String::new(), "stage I".into(), "stage II".into()];
        let codes = vec![Some(0), Some(1), Some(2)];
        let stage = Column {
            name: "stage".into(),
            values: ColumnValues::Categorical {
                levels,
                codes,
                ordered: false,
            },
        };
        let known = without_placeholders(&Metadata::new(ids, vec![stage]).unwrap()).unwrap();
        let texts: Vec<Option<String>> = (0..3)
            .map(|row| known.columns()[0].values.text(row))
            .collect();
        assert_eq!(
            texts,
            [None, Some("stage I".into()), Some("stage II".into())]
        );
    }

    #[test]
    fn metadata_can_be_switched_off_and_a_named_column_must_exist() {
        let off = ConditionOptions {
            encoding: Encoding::Off,
            ..Default::default()
        };
        assert!(
            encode_for_fit(&metadata(), &off, 0)
                .unwrap()
                .conditions
                .is_none()
        );
        let named = ConditionOptions {
            columns: Some(vec!["stage".into()]),
            ..Default::default()
        };
        assert!(
            encode_for_fit(&metadata(), &named, 0)
                .err()
                .unwrap()
                .to_string()
                .contains("stage")
        );
    }

    #[test]
    fn the_options_are_recorded_in_words() {
        let mut options = ConditionOptions::default();
        assert_eq!(options.to_string(), "columns (all)");
        options.keep = 0.25;
        options.columns = Some(vec!["age".into()]);
        assert_eq!(options.to_string(), "columns (age), 25 % of the cells kept");
    }
}

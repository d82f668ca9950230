//! `--subject` and `--time`.

use super::Context;
use clap::Args;
use std::path::Path;
use suffuse::times::TimeColumns;
use suffuse::{Error, Result};
use suffuse_data::Metadata;
use suffuse_data::hide::Occasions;

/// Who was sampled when.
#[derive(Debug, Args)]
#[command(next_help_heading = "Metadata")]
pub(crate) struct TimeArgs {
    /// Column that says whose sample it is: earlier and later samples of a subject then inform each other,
    /// and samples that were not measured at all are filled from them; `evaluate` keeps subjects whole by it
    /// unless --group does
    #[arg(long, value_name = "COLUMN", requires = "time")]
    subject: Option<String>,
    /// Column with the time of each sample: numbers in any unit, or dates YYYY-MM-DD
    #[arg(long, value_name = "COLUMN", requires = "subject")]
    time: Option<String>,
}

impl TimeArgs {
    /// The columns that were named.
    pub(crate) fn columns(&self) -> Option<TimeColumns> {
        let (subject, time) = (self.subject.clone()?, self.time.clone()?);
        Some(TimeColumns { subject, time })
    }

    /// Subjects and times to fit a model with.
    pub(crate) fn to_fit(&self, metadata: &Metadata) -> Result<Option<Occasions>> {
        let columns = self.columns();
        columns.map(|columns| columns.read(metadata)).transpose()
    }

    /// Subjects and times as the model in this folder takes them: by the columns that were named, or those
    /// that it was fitted with.
    pub(crate) fn to_fill(
        &self,
        folder: &Path,
        metadata: &Metadata,
        context: &mut Context,
    ) -> Result<Option<Occasions>> {
        match (TimeColumns::load(folder)?, self.columns()) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Error::Usage(format!(
                "--subject, --time: the model in {} was fitted without them; fit one with them, or leave them out",
                folder.display()
            ))),
            (Some(_), Some(named)) => Ok(Some(named.read(metadata)?)),
            (Some(own), None) if own.are_in(metadata) => {
                let occasions = own.read_any(metadata)?;
                if occasions.is_none() {
                    context.talk.note(&format!(
                        "the model knows of times ({own}), but no subject has two samples of known time: each sample is filled by itself"
                    ));
                }
                Ok(occasions)
            }
            (Some(own), None) => {
                context.talk.note(&format!(
                    "the model knows of times ({own}), but the table has no such columns: each sample is filled by itself"
                ));
                Ok(None)
            }
        }
    }
}

//! What stands beside a model in its folder: how its metadata are encoded, which columns are subject and time.

use crate::kept_table;
use crate::output::write_text;
use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use suffuse_data::format::Overwrite;

/// The files of a model itself, of either system.
const FILES: [&str; 7] = [
    "config.toml",
    "ema.safetensors",
    "features.tsv",
    "metrics.jsonl",
    "optimizer.safetensors",
    "transform.json",
    "weights.safetensors",
];

/// Where the files of the model in a folder are; other files may lie there as well.
pub fn files(model_folder: &Path) -> Vec<PathBuf> {
    let mut files = FILES.map(|name| model_folder.join(name)).to_vec();
    files.push(kept_table::path(model_folder));
    files
}

/// A JSON file in the folder of a model.
#[derive(Debug, Clone, Copy)]
pub struct Beside {
    /// Name of the file.
    pub file: &'static str,
    /// What it holds, for people.
    pub holds: &'static str,
}

impl Beside {
    /// Stores something in the folder of its model.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn save<T: Serialize>(&self, model_folder: &Path, content: &T) -> Result<()> {
        let text = serde_json::to_string_pretty(content).expect("text and numbers become JSON");
        write_text(
            &model_folder.join(self.file),
            Overwrite::Replace,
            &(text + "\n"),
        )
    }

    /// Removes what an earlier model left in a folder.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn forget(&self, model_folder: &Path) -> Result<()> {
        let path = model_folder.join(self.file);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io(&path, "remove", error))
            }
            _ => Ok(()),
        }
    }

    /// What stands in the folder of a model; `None` where it was fitted without.
    ///
    /// # Errors
    /// A file that holds something else.
    pub fn load<T: DeserializeOwned>(&self, model_folder: &Path) -> Result<Option<T>> {
        let path = model_folder.join(self.file);
        if !path.exists() {
            return Ok(None);
        }
        let text =
            std::fs::read_to_string(&path).map_err(|error| Error::io(&path, "read", error))?;
        let content = serde_json::from_str(&text).map_err(|error| {
            let way_out = format!(
                "{} that `suffuse fit` wrote; fit the model again",
                self.holds
            );
            suffuse_data::Error::format(&path, "content", error.to_string(), way_out)
        })?;
        Ok(Some(content))
    }
}

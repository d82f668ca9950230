//! The models, one folder each.

pub mod depmicrodiff;
pub mod sparse_microbiome;

use crate::error::{Error, Result};
use serde::Deserialize;
use std::fs;
use std::path::Path;

/// What a model's folder holds beside settings and weights; it names the system.
const TRANSFORM: &str = "transform.json";

/// Says which system the model in a folder is of; `None` where there is no model.
///
/// # Errors
/// A description that cannot be read.
pub fn system_of(folder: &Path) -> Result<Option<String>> {
    #[derive(Deserialize)]
    struct Head {
        system: String,
    }
    let file = folder.join(TRANSFORM);
    if !file.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&file).map_err(|source| Error::io(&file, "read", source))?;
    let head: Head = serde_json::from_str(&text).map_err(|error| Error::Checkpoint {
        path: file,
        problem: error.to_string(),
    })?;
    Ok(Some(head.system))
}

/// Refuses the model of another system, whose files would be read as broken ones.
fn require_system(folder: &Path, expected: &str) -> Result<()> {
    match system_of(folder)? {
        Some(system) if system != expected => Err(Error::Checkpoint {
            path: folder.join(TRANSFORM),
            problem: format!("a model of {system:?}, expected {expected:?}"),
        }),
        _ => Ok(()),
    }
}

//! Where an output comes from: program, command, inputs by content, seed and configuration.
//!
//! Paths are written as the user typed them; nothing else of the machine is recorded, and no time
//! of day, so that the same command on the same input writes the same bytes.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A file that a result depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// Path as typed.
    pub path: PathBuf,
    /// SHA-256 of the content in lower-case hexadecimal digits.
    pub sha256: String,
}

/// How an output was made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Provenance {
    /// The command as typed, quoted for a shell.
    pub command: String,
    /// Files that went in.
    pub inputs: Vec<FileDigest>,
    /// Further facts, in the order in which they are written: seed, method, configuration, counts.
    pub facts: serde_json::Map<String, serde_json::Value>,
}

impl Provenance {
    /// The record as one flat JSON object of strings, numbers and lists of strings.
    pub fn to_json(&self) -> serde_json::Value {
        let mut record = serde_json::Map::new();
        record.insert("program".into(), "suffuse".into());
        record.insert("version".into(), env!("CARGO_PKG_VERSION").into());
        record.insert("command".into(), self.command.clone().into());
        let inputs: Vec<String> = self
            .inputs
            .iter()
            .map(|input| format!("{}  {}", input.sha256, input.path.display()))
            .collect();
        record.insert("inputs_sha256".into(), inputs.into());
        record.extend(self.facts.clone());
        serde_json::Value::Object(record)
    }

    /// Adds a fact.
    pub fn set(&mut self, name: &str, value: impl Into<serde_json::Value>) {
        self.facts.insert(name.to_string(), value.into());
    }
}

/// Digest of a file, or of all files of a folder by name and content.
///
/// # Errors
/// The file cannot be read.
pub fn digest(path: &Path) -> Result<FileDigest> {
    let mut hasher = Sha256::new();
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(|error| Error::io(path, "read", error))?;
        let mut files = Vec::new();
        for entry in entries {
            let file = entry
                .map_err(|error| Error::io(path, "read", error))?
                .path();
            if file.is_file() {
                files.push(file);
            }
        }
        files.sort();
        for file in &files {
            hasher.update(file.file_name().unwrap_or_default().as_encoded_bytes());
            hash_file(file, &mut hasher)?;
        }
    } else {
        hash_file(path, &mut hasher)?;
    }
    Ok(FileDigest {
        path: path.to_path_buf(),
        sha256: hexadecimal(&hasher.finalize()),
    })
}

/// SHA-256 of a text in hexadecimal digits.
pub fn digest_text(text: &str) -> String {
    hexadecimal(&Sha256::digest(text.as_bytes()))
}

/// Arguments as one line that a shell reads back as the same arguments; the first becomes `suffuse`.
pub fn command_line(arguments: impl IntoIterator<Item = String>) -> String {
    let mut words = vec!["suffuse".to_string()];
    words.extend(arguments.into_iter().skip(1).map(|word| quote(&word)));
    words.join(" ")
}

fn quote(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%~".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn hash_file(path: &Path, hasher: &mut Sha256) -> Result<()> {
    let mut file = File::open(path).map_err(|error| Error::io(path, "read", error))?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = file
            .read(&mut buffer)
            .map_err(|error| Error::io(path, "read", error))?;
        if n == 0 {
            return Ok(());
        }
        hasher.update(&buffer[..n]);
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_sha256sum() {
        // printf abc | sha256sum (FIPS 180-2, appendix B.1)
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest_text("abc"), expected);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(digest(&path).unwrap().sha256, expected);
    }

    #[test]
    fn the_command_line_is_quoted_for_a_shell_and_hides_where_the_program_lies() {
        let arguments = ["/opt/x/suffuse", "impute", "my table.tsv", "--set", "a='b'"];
        assert_eq!(
            command_line(arguments.map(String::from)),
            r"suffuse impute 'my table.tsv' --set 'a='\''b'\'''"
        );
    }

    #[test]
    fn the_record_keeps_to_plain_values_and_starts_with_the_program() {
        let mut provenance = Provenance::default();
        provenance.set("seed", 7);
        let record = provenance.to_json();
        assert_eq!(record["program"], "suffuse");
        assert_eq!(record["seed"], 7);
    }
}

//! Writing results: never over an existing file unless told so, never half.

use crate::{Error, Result};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use suffuse_data::format::{Overwrite, require_replaceable, write_atomically};

/// Writes a text file through a temporary file in the same folder.
///
/// # Errors
/// The file exists and may not be replaced, or the operating system refuses.
pub fn write_text(path: &Path, overwrite: Overwrite, text: &str) -> Result<()> {
    write_atomically(path, overwrite, |file| file.write_all(text.as_bytes()))?;
    Ok(())
}

/// Fails early, before any long computation, where a result could not be written later.
///
/// # Errors
/// The file exists and may not be replaced, a folder is in its place that is no table, or its folder is absent or cannot be
/// written to.
pub fn require_writable(path: &Path, overwrite: Overwrite) -> Result<()> {
    if path.exists() && overwrite == Overwrite::Refuse {
        return Err(suffuse_data::Error::OutputExists {
            path: path.to_path_buf(),
        }
        .into());
    }
    require_replaceable(path)?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // Only trying tells: permissions, read-only mounts and quotas all look alike from outside.
    tempfile::tempfile_in(folder).map_err(|error| Error::io(path, "write", error))?;
    Ok(())
}

/// Refuses outputs that are also read: replacing them would lose what was measured. A folder stands for all that
/// is in it, on either side.
///
/// # Errors
/// An output is an input, lies in one, or holds one.
pub fn require_apart<'a>(
    outputs: impl IntoIterator<Item = &'a Path>,
    inputs: &[impl AsRef<Path>],
) -> Result<()> {
    for output in outputs {
        // What is not there cannot be lost.
        let Ok(output_at) = output.canonicalize() else {
            continue;
        };
        for input in inputs.iter().map(AsRef::as_ref) {
            let is_apart = input.canonicalize().map_or(true, |input_at| {
                !output_at.starts_with(&input_at) && !input_at.starts_with(&output_at)
            });
            if !is_apart {
                return Err(Error::Usage(format!(
                    "{} is read ({}) and cannot be an output as well; choose another name",
                    output.display(),
                    input.display()
                )));
            }
        }
    }
    Ok(())
}

/// Refuses files to read that lie in a folder for results, where a result may have their name.
///
/// # Errors
/// An input lies in the folder; below one of its folders it is safe.
pub fn require_outside(folder: &Path, inputs: &[impl AsRef<Path>]) -> Result<()> {
    let Ok(folder_at) = folder.canonicalize() else {
        return Ok(()); // not there yet
    };
    for input in inputs.iter().map(AsRef::as_ref) {
        if (input.canonicalize()).is_ok_and(|input_at| input_at.parent() == Some(&folder_at)) {
            return Err(Error::Usage(format!(
                "{} is read and lies in {}, where results go that may have its name; choose another folder for them",
                input.display(),
                folder.display()
            )));
        }
    }
    Ok(())
}

/// Makes a folder for results, or takes one that is empty, or any with [`Overwrite::Replace`].
///
/// # Errors
/// The folder holds something and may not be written into, or cannot be made.
pub fn make_folder(path: &Path, overwrite: Overwrite) -> Result<()> {
    if overwrite == Overwrite::Refuse && path.exists() {
        let is_empty = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        if !is_empty {
            return Err(suffuse_data::Error::OutputExists {
                path: path.to_path_buf(),
            }
            .into());
        }
    }
    std::fs::create_dir_all(path).map_err(|error| Error::io(path, "make the folder", error))?;
    tempfile::tempfile_in(path).map_err(|error| Error::io(path, "write", error))?;
    Ok(())
}

/// A cell of tab-separated text: in quotation marks where it would break the line.
pub(crate) fn cell(text: &str) -> Cow<'_, str> {
    match text.contains(['\t', '\n', '\r', '"']) {
        true => Cow::Owned(format!("\"{}\"", text.replace('"', "\"\""))),
        false => Cow::Borrowed(text),
    }
}

/// The path of a file that accompanies `output`: its name with `suffix` appended.
pub fn beside(output: &Path, suffix: &str) -> PathBuf {
    let mut name = output.file_name().unwrap_or_default().to_os_string();
    name.push(suffix);
    output.with_file_name(name)
}

/// The name of an output without its ending, and the ending: `.tsv.gz` and `.biom.json` are one.
pub fn stem_and_ending(output: &Path) -> (String, String) {
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    let lower = name.to_ascii_lowercase();
    let double = [".tsv.gz", ".csv.gz", ".txt.gz", ".biom.json"];
    let length = match double.iter().find(|ending| lower.ends_with(**ending)) {
        Some(ending) => ending.len(),
        None => name.rfind('.').map_or(0, |dot| name.len() - dot),
    };
    let (stem, ending) = name.split_at(name.len() - length);
    (stem.to_string(), ending.to_string())
}

/// Removes what an earlier run wrote and this one does not, if it is there.
///
/// # Errors
/// A file that cannot be removed.
pub fn remove_of_before(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(path, "remove", error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_of_two_parts_stays_whole() {
        let parts = |name: &str| stem_and_ending(Path::new(name));
        let of = |stem: &str, ending: &str| (stem.to_string(), ending.to_string());
        assert_eq!(parts("x/a.b.TSV.gz"), of("a.b", ".TSV.gz"));
        assert_eq!(parts("a.biom.json"), of("a", ".biom.json"));
        assert_eq!(parts("a.b.json"), of("a.b", ".json"));
        assert_eq!(parts("plain"), of("plain", ""));
    }

    #[test]
    fn an_existing_file_and_an_absent_folder_are_found_before_the_work() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.tsv");
        require_writable(&path, Overwrite::Refuse).unwrap();
        std::fs::write(&path, "x").unwrap();
        assert!(require_writable(&path, Overwrite::Refuse).is_err());
        require_writable(&path, Overwrite::Replace).unwrap();
        assert!(require_writable(&folder.path().join("no/out.tsv"), Overwrite::Refuse).is_err());
        assert_eq!(
            beside(&path, ".suffuse.json").file_name().unwrap(),
            "out.tsv.suffuse.json"
        );
    }

    #[test]
    fn a_folder_is_replaced_by_a_folder_of_the_same_kind_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["table.tsv", "own.mtx", "foreign.mtx"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        std::fs::write(at("own.mtx/matrix.mtx.gz"), "x").unwrap();
        std::fs::write(at("foreign.mtx/notes.txt"), "x").unwrap();
        let told = |name: &str| match require_writable(&at(name), Overwrite::Replace) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        };
        assert_eq!(told("own.mtx"), "");
        assert!(told("foreign.mtx").contains("notes.txt"));
        assert!(told("table.tsv").contains("is a folder"));
    }

    #[test]
    fn cells_that_would_break_a_line_are_quoted() {
        assert_eq!(cell("k__A; p__B, C"), "k__A; p__B, C");
        assert_eq!(cell("a\tb"), "\"a\tb\"");
        assert_eq!(cell("5\" x"), "\"5\"\" x\"");
    }

    #[test]
    fn what_is_read_is_no_output() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("counts.mtx")).unwrap();
        std::fs::write(at("counts.mtx/matrix.mtx"), "x").unwrap();
        std::fs::write(at("sheet.tsv"), "x").unwrap();
        let inputs = [at("counts.mtx"), at("sheet.tsv"), at("absent.tsv")];
        let is_refused = |name: &str| {
            let output = at(name);
            require_apart([output.as_path()], &inputs).is_err()
        };
        assert!(is_refused("sheet.tsv") && is_refused("counts.mtx/../sheet.tsv"));
        assert!(is_refused("counts.mtx") && is_refused("counts.mtx/matrix.mtx"));
        assert!(!is_refused("counts.mtx/new.tsv") && !is_refused("absent.tsv"));
        let part = [at("counts.mtx/matrix.mtx")];
        assert!(require_apart([at("counts.mtx").as_path()], &part).is_err());
        assert!(require_outside(&at("counts.mtx"), &part).is_err());
        assert!(require_outside(folder.path(), &part).is_ok());
        assert!(require_outside(&at("results"), &part).is_ok());
        std::fs::create_dir(at("results")).unwrap();
        assert!(require_outside(&at("results"), &part).is_ok());
    }

    #[test]
    fn a_folder_with_content_is_not_written_into_unasked() {
        let folder = tempfile::tempdir().unwrap();
        make_folder(folder.path(), Overwrite::Refuse).unwrap();
        std::fs::write(folder.path().join("a"), "x").unwrap();
        assert!(make_folder(folder.path(), Overwrite::Refuse).is_err());
        make_folder(folder.path(), Overwrite::Replace).unwrap();
    }
}

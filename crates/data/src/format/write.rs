//! Writing so that an output is either whole or not there.

use super::{Format, biom, h5ad, in_file, mtx, tsv};
use crate::{Error, Result, Table};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::BTreeSet;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tempfile::NamedTempFile;

/// What happens to an output that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// It stays, and writing fails.
    #[default]
    Refuse,
    /// It is replaced once the new one is complete.
    Replace,
}

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteOptions {
    /// What happens to an output that is there already.
    pub overwrite: Overwrite,
    /// The moment that BIOM records; now if not given.
    pub created: Option<SystemTime>,
    /// Where the samples stand in a text table.
    pub orientation: tsv::Orientation,
}

/// Writes a table in the format that the ending of `path` names, see [`Format::of_output`].
///
/// h5ad holds all of a table; the others hold the parts that their own pages name.
///
/// # Errors
/// An unknown ending, an output that is there already, a folder that cannot be written to. What
/// was there before stays as it was.
pub fn write(table: &Table, path: &Path, options: &WriteOptions) -> Result<()> {
    let format = Format::of_output(path)?;
    if format == Format::MatrixMarket {
        return write_folder_atomically(path, options.overwrite, |folder| {
            mtx::write(folder, table).map_err(|error| in_file(path, error))
        });
    }
    let created = options.created.unwrap_or_else(SystemTime::now);
    write_atomically(path, options.overwrite, |sink| match format {
        Format::H5ad => h5ad::write(table, sink),
        Format::BiomHdf5 => biom::hdf5::write(table, created, sink),
        Format::BiomJson => biom::json::write(table, created, sink),
        _ => {
            let delimiter = if format == Format::Csv {
                tsv::Delimiter::Comma
            } else {
                tsv::Delimiter::Tab
            };
            let layout = tsv::TsvOptions {
                orientation: options.orientation,
                delimiter,
            };
            if path
                .extension()
                .is_some_and(|ending| ending.eq_ignore_ascii_case("gz"))
            {
                let mut gzip = GzEncoder::new(sink, Compression::default());
                tsv::write_to(&mut gzip, table, &layout)?;
                gzip.finish().map(drop)
            } else {
                tsv::write_to(sink, table, &layout)
            }
        }
    })
}

/// Temporary files and folders of outputs under way.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Keeps the path of an output under way among those that an interruption removes.
struct UnderWay(PathBuf);

impl UnderWay {
    fn new(path: &Path) -> UnderWay {
        unfinished().insert(path.to_path_buf());
        UnderWay(path.to_path_buf())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        unfinished().remove(&self.0);
    }
}

fn unfinished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the temporary files of outputs that are being written: for a process that is about to end, since
/// nothing else does it then.
pub fn remove_unfinished() {
    for path in unfinished().iter() {
        // What is gone already, or cannot be removed, must not keep the process from ending.
        let _ = match path.is_dir() {
            true => std::fs::remove_dir_all(path),
            false => std::fs::remove_file(path),
        };
    }
}

/// Writes a file under a temporary name in the same folder and renames it when it is complete.
///
/// # Errors
/// An output that is there already under [`Overwrite::Refuse`] (also when it appears meanwhile),
/// a folder that is missing or cannot be written to, or what `fill` reports. Nothing is left.
pub fn write_atomically(
    path: &Path,
    overwrite: Overwrite,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    refuse(path, overwrite)?;
    let io = |source| Error::io(path, "write", source);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".suffuse-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any new file: what the umask leaves. A temporary file alone would be private.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file: NamedTempFile = builder.tempfile_in(folder_of(path)).map_err(io)?;
    let _under_way = UnderWay::new(file.path());
    let mut sink = BufWriter::new(file.as_file_mut());
    fill(&mut sink).and_then(|()| sink.flush()).map_err(io)?;
    drop(sink);
    file.as_file().sync_all().map_err(io)?;
    let renamed = match overwrite {
        Overwrite::Refuse => file.persist_noclobber(path),
        Overwrite::Replace => file.persist(path),
    };
    renamed
        .map(drop)
        .map_err(|failed| match failed.error.kind() {
            std::io::ErrorKind::AlreadyExists => Error::OutputExists {
                path: path.to_path_buf(),
            },
            _ => io(failed.error),
        })
}

/// The same for an output that is a folder.
fn write_folder_atomically(
    path: &Path,
    overwrite: Overwrite,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    refuse(path, overwrite)?;
    refuse_foreign_files(path)?;
    let io = |source| Error::io(path, "write", source);
    let holder = tempfile::Builder::new()
        .prefix(".suffuse-")
        .tempdir_in(folder_of(path))
        .map_err(io)?;
    let under_way = UnderWay::new(holder.path());
    let fresh = holder.path().join("new");
    std::fs::create_dir(&fresh).map_err(io)?;
    fill(&fresh)?;
    drop(under_way); // from here on the holder may have the old folder, which must not be lost
    if path.symlink_metadata().is_ok() {
        // A folder cannot be renamed over another; the old one goes with the holder.
        std::fs::rename(path, holder.path().join("old")).map_err(io)?;
    }
    std::fs::rename(&fresh, path).map_err(io)
}

/// Refuses to replace a folder by a file, or one that holds what is no part of a table.
///
/// # Errors
/// What is at the path is such a folder.
pub fn require_replaceable(path: &Path) -> Result<()> {
    match Format::of_output(path) {
        Ok(Format::MatrixMarket) => refuse_foreign_files(path),
        _ if path.is_dir() => Err(Error::Invalid(format!(
            "{} is a folder; choose another name for the file",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// A folder is replaced as a whole, so it must hold nothing but what is replaced.
fn refuse_foreign_files(folder: &Path) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    let io = |source| Error::io(folder, "read", source);
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let name = name.to_string_lossy();
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        if !mtx::FILE_NAMES.contains(&plain) {
            return Err(Error::Invalid(format!(
                "{} holds {name:?}, which is no file of a 10x directory and would be lost; move it, or \
                 write to another folder",
                folder.display()
            )));
        }
    }
    Ok(())
}

fn refuse(path: &Path, overwrite: Overwrite) -> Result<()> {
    if overwrite == Overwrite::Refuse && path.symlink_metadata().is_ok() {
        return Err(Error::OutputExists {
            path: path.to_path_buf(),
        });
    }
    Ok(())
}

/// The folder that a path lies in; a bare name lies in the current one.
pub(super) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{ReadOptions, read};

    fn table() -> Table {
        let ids = |prefix: &str| (1..=2).map(|i| format!("{prefix}{i}")).collect();
        Table::from_dense(ids("s"), ids("t"), &[0.1, 0.0, 2.0, 3.0]).unwrap()
    }

    #[test]
    fn every_ending_writes_what_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let endings = [
            "h5ad",
            "biom",
            "biom.json",
            "json",
            "tsv",
            "txt",
            "csv",
            "tsv.gz",
            "csv.gz",
            "mtx",
        ];
        for ending in endings {
            let path = folder.path().join(format!("table.{ending}"));
            write(&table(), &path, &WriteOptions::default()).unwrap();
            let back = read(&path, &ReadOptions::default()).unwrap();
            assert_eq!(back.sample_ids(), table().sample_ids(), "{ending}");
            assert_eq!(back.feature_ids(), table().feature_ids(), "{ending}");
            assert_eq!(back.csr(), table().csr(), "{ending}");
        }
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            endings.len()
        );
    }

    #[test]
    fn a_folder_is_replaced_only_on_request_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.mtx");
        write(&table(), &path, &WriteOptions::default()).unwrap();
        let again = write(&table(), &path, &WriteOptions::default());
        assert!(matches!(again, Err(Error::OutputExists { .. })));
        let replace = WriteOptions {
            overwrite: Overwrite::Replace,
            ..WriteOptions::default()
        };
        write(&table(), &path, &replace).unwrap();
        // MatrixMarket cannot say that an entry was not measured; the old folder stays.
        let gap = table().with_dense(&[f64::NAN, 0.0, 2.0, 3.0]).unwrap();
        let message = write(&gap, &path, &replace).unwrap_err().to_string();
        assert!(
            message.contains("table.mtx") && message.contains("not measured"),
            "{message}"
        );
        assert_eq!(
            read(&path, &ReadOptions::default()).unwrap().csr(),
            table().csr()
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

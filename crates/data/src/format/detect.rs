//! Tells what a file is from its first bytes, its HDF5 groups, and its name.

use super::hdf5::{H5File, MAGIC};
use super::tenx_h5;
use crate::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// A format that tables are read from or written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// AnnData in HDF5.
    H5ad,
    /// BIOM 2.1.
    BiomHdf5,
    /// BIOM 1.0.
    BiomJson,
    /// Cell Ranger's HDF5 matrix.
    TenxH5,
    /// Tab-separated text.
    Tsv,
    /// Comma-separated text.
    Csv,
    /// A MatrixMarket file, or a folder with one, barcodes and features.
    MatrixMarket,
}

/// Bytes that are looked at to recognise a file.
const HEAD_BYTES: usize = 4096;

/// Offsets at which HDF5 allows its signature, beside 0 (HDF5 file format, II.A).
const USER_BLOCKS: [u64; 3] = [512, 1024, 2048];

impl Format {
    /// The name that messages use.
    pub fn name(self) -> &'static str {
        match self {
            Format::H5ad => "h5ad (AnnData in HDF5)",
            Format::BiomHdf5 => "BIOM 2.1 (HDF5)",
            Format::BiomJson => "BIOM 1.0 (JSON)",
            Format::TenxH5 => "10x Genomics HDF5",
            Format::Tsv => "tab-separated text",
            Format::Csv => "comma-separated text",
            Format::MatrixMarket => "MatrixMarket",
        }
    }

    /// The format that the ending of an output's name asks for.
    ///
    /// `.h5ad`, `.biom` (BIOM 2.1), `.biom.json` and `.json` (BIOM 1.0), `.tsv`, `.txt` and `.csv`
    /// with or without `.gz`, `.mtx` (a folder).
    ///
    /// # Errors
    /// Another ending.
    pub fn of_output(path: &Path) -> Result<Format> {
        let name = lower_name(path);
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        if ends(&[".h5ad"]) {
            Ok(Format::H5ad)
        } else if ends(&[".biom"]) {
            Ok(Format::BiomHdf5)
        } else if ends(&[".json"]) {
            Ok(Format::BiomJson)
        } else if ends(&[".tsv", ".txt", ".tsv.gz", ".txt.gz"]) {
            Ok(Format::Tsv)
        } else if ends(&[".csv", ".csv.gz"]) {
            Ok(Format::Csv)
        } else if ends(&[".mtx"]) {
            Ok(Format::MatrixMarket)
        } else {
            Err(Error::format(
                path,
                "name of the output",
                "an ending that names no format",
                ".h5ad, .biom, .biom.json, .tsv, .csv, .txt (each of the three also with .gz) or .mtx",
            ))
        }
    }
}

/// What the first bytes say.
#[derive(Clone, Copy, PartialEq)]
enum Content {
    Hdf5,
    Json,
    MatrixMarket,
    Text,
    Zip,
    Utf16,
    Binary,
    Empty,
}

impl Content {
    fn of(head: &[u8]) -> Content {
        let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head); // byte order mark
        let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
        if head.starts_with(&MAGIC) {
            Content::Hdf5
        } else if head.starts_with(b"PK\x03\x04") {
            Content::Zip
        } else if text.starts_with(b"%%MatrixMarket") {
            Content::MatrixMarket
        } else if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
            Content::Utf16
        } else if head.contains(&0) {
            Content::Binary
        } else {
            match first {
                None => Content::Empty,
                Some(b'{') => Content::Json,
                Some(_) => Content::Text,
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Content::Hdf5 => "an HDF5 file",
            Content::Json => "JSON text",
            Content::MatrixMarket => "MatrixMarket text",
            Content::Text => "plain text",
            Content::Zip => "a zip archive",
            Content::Utf16 => "text in UTF-16 (save it as UTF-8)",
            Content::Binary => "binary data of no known kind",
            Content::Empty => "nothing (the file is empty)",
        }
    }
}

/// Recognises the format of a file or folder.
///
/// # Errors
/// A missing or unreadable file, content of no known format, or content that contradicts the
/// ending of the name.
pub fn detect(path: &Path) -> Result<Format> {
    let io = |source| Error::io(path, "read", source);
    if std::fs::metadata(path).map_err(io)?.is_dir() {
        return detect_folder(path);
    }
    let mut head = read_head(File::open(path).map_err(io)?).map_err(io)?;
    let is_gzip = head.starts_with(&[0x1f, 0x8b]);
    if is_gzip {
        head = read_head(MultiGzDecoder::new(File::open(path).map_err(io)?)).map_err(|_| {
            Error::format(
                path,
                "gzip stream",
                "a damaged or truncated beginning",
                "an intact gzip file (if this one was copied or downloaded, fetch it again)",
            )
        })?;
    }
    let mut content = Content::of(&head);
    if content == Content::Binary && !is_gzip && has_user_block(path).map_err(io)? {
        content = Content::Hdf5;
    }
    let name = lower_name(path);
    let contradiction = |expected: &str| {
        let wrapping = if is_gzip { "a gzip file with " } else { "" };
        Error::format(
            path,
            "content",
            format!("{wrapping}{}", content.name()),
            expected,
        )
    };
    let stem = name.strip_suffix(".gz").unwrap_or(&name);
    if !is_gzip && stem.len() < name.len() {
        return Err(contradiction(
            "gzip, as the ending .gz says; rename the file",
        ));
    }
    let format = match content {
        Content::Hdf5 if is_gzip => {
            return Err(contradiction(
                "a file that is not compressed again; run gunzip on it first",
            ));
        }
        Content::Hdf5 => detect_hdf5(path)?,
        Content::Json => Format::BiomJson,
        Content::MatrixMarket => Format::MatrixMarket,
        Content::Text if stem.ends_with(".csv") => Format::Csv,
        Content::Text
            if [".tsv", ".txt", ".tab"]
                .iter()
                .any(|end| stem.ends_with(end)) =>
        {
            Format::Tsv
        }
        Content::Text => of_first_line(&head),
        Content::Zip if name.ends_with(".qza") => {
            return Err(contradiction(
                "a table; a QIIME 2 artefact holds a .biom: run qiime tools export on it",
            ));
        }
        Content::Zip | Content::Utf16 | Content::Binary | Content::Empty => {
            return Err(contradiction(
                "h5ad, BIOM, 10x HDF5, TSV, CSV or MatrixMarket",
            ));
        }
    };
    let allowed: &[Format] = match stem.rsplit_once('.').map(|(_, ending)| ending) {
        Some("h5ad") => &[Format::H5ad],
        Some("biom") => &[Format::BiomHdf5, Format::BiomJson],
        Some("h5" | "hdf5") => &[Format::TenxH5, Format::H5ad, Format::BiomHdf5],
        Some("json") => &[Format::BiomJson],
        Some("mtx") => &[Format::MatrixMarket],
        Some("tsv" | "csv" | "txt" | "tab") => &[Format::Tsv, Format::Csv],
        _ => return Ok(format),
    };
    if !allowed.contains(&format) {
        let names: Vec<&str> = allowed.iter().map(|format| format.name()).collect();
        let names = names.join(" or ");
        let found = if content == Content::Hdf5 {
            format.name()
        } else {
            content.name()
        };
        let wrapping = if is_gzip { "a gzip file with " } else { "" };
        return Err(Error::format(
            path,
            "content",
            format!("{wrapping}{found}"),
            format!(
                "{names}, as the name says; rename the file to what it is, or give the right one"
            ),
        ));
    }
    Ok(format)
}

fn detect_folder(path: &Path) -> Result<Format> {
    let has = |name: &str| path.join(name).exists();
    if has("matrix.mtx") || has("matrix.mtx.gz") {
        return Ok(Format::MatrixMarket);
    }
    Err(Error::format(
        path,
        "folder",
        "no matrix.mtx or matrix.mtx.gz",
        "a table file, or a 10x folder with matrix, barcodes and features",
    ))
}

/// Tells the HDF5 formats apart by the groups at the top.
fn detect_hdf5(path: &Path) -> Result<Format> {
    let root = H5File::open(path)?.root()?;
    if root.has_group("observation") && root.has_group("sample") {
        return Ok(Format::BiomHdf5);
    }
    let has = |name| root.has_group(name) || root.has_dataset(name);
    if has("obs") && has("var") {
        return Ok(Format::H5ad);
    }
    for name in root.groups() {
        if tenx_h5::is_matrix(&root.group(name)?) {
            return Ok(Format::TenxH5);
        }
    }
    let members: Vec<&str> = root
        .groups()
        .iter()
        .chain(root.datasets())
        .map(String::as_str)
        .take(8)
        .collect();
    let members = if members.is_empty() {
        "nothing".to_string()
    } else {
        members.join(", ")
    };
    Err(Error::format(
        path,
        "top of the file",
        format!("HDF5 with {members}"),
        "obs and var (h5ad), observation and sample (BIOM), or matrix (10x)",
    ))
}

/// Text without a telling name: the separator of its first line that holds one.
fn of_first_line(head: &[u8]) -> Format {
    for line in head.split(|byte| *byte == b'\n') {
        if line.contains(&b'\t') {
            return Format::Tsv;
        }
        if line.contains(&b',') {
            return Format::Csv;
        }
    }
    Format::Tsv
}

fn has_user_block(path: &Path) -> std::io::Result<bool> {
    let mut file = File::open(path)?;
    let mut magic = [0; MAGIC.len()];
    for offset in USER_BLOCKS {
        file.seek(SeekFrom::Start(offset))?;
        if file.read_exact(&mut magic).is_ok() && magic == MAGIC {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read_head(reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    reader.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

fn lower_name(path: &Path) -> String {
    path.file_name()
        .map_or(String::new(), |name| name.to_string_lossy().to_lowercase())
}

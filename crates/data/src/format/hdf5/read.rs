//! Groups, datasets and attributes of an HDF5 file, with every declared size checked.

use crate::{Error, Result};
use hdf5_pure::{AttrValue, DType, Dataset, File, Group, Layout, VlenStringReadOptions};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most that deflate can expand its input (RFC 1951: 258 bytes from 2 bits, near 1032 : 1).
const MAX_DEFLATE_RATIO: u64 = 1032;

/// Storage that was never written reads as the fill value; up to this size it is believed.
const MAX_UNWRITTEN_BYTES: u64 = 16 << 20;

/// What a damaged file is answered with.
const INTACT: &str = "an intact HDF5 file (if this one was copied or downloaded, fetch it again)";

/// Facts about the file that every group and dataset needs for its messages and limits.
#[derive(Debug)]
struct Origin {
    path: PathBuf,
    n_bytes: u64,
}

/// An open HDF5 file.
pub(crate) struct H5File {
    file: File,
    origin: Arc<Origin>,
}

/// A group and the names of its members.
pub(crate) struct H5Group {
    group: Group,
    origin: Arc<Origin>,
    place: String,
    groups: Vec<String>,
    datasets: Vec<String>,
    attrs: HashMap<String, AttrValue>,
}

/// A dataset whose declared size is known to be possible.
pub(crate) struct H5Dataset {
    dataset: Dataset,
    origin: Arc<Origin>,
    place: String,
    shape: Vec<usize>,
    kind: Kind,
}

/// What the elements of a dataset are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// Whole numbers of any width.
    Integer,
    /// Floating-point numbers.
    Float,
    /// The two-valued enumeration that h5py writes.
    Boolean,
    /// Strings, of fixed or variable length.
    Text,
    /// Anything else, named.
    Other(String),
}

impl H5File {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// An unreadable file, or one that is not HDF5 or is cut short.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let n_bytes = std::fs::metadata(path)
            .map_err(|source| Error::io(path, "read", source))?
            .len();
        let file = File::open_streaming(path).map_err(|error| match error {
            hdf5_pure::Error::Io(source) => Error::io(path, "read", source),
            error => Error::format(path, "HDF5 structure", error.to_string(), INTACT),
        })?;
        Ok(H5File {
            file,
            origin: Arc::new(Origin {
                path: path.to_path_buf(),
                n_bytes,
            }),
        })
    }

    /// The top group.
    ///
    /// # Errors
    /// A damaged file.
    pub(crate) fn root(&self) -> Result<H5Group> {
        H5Group::new(self.file.root(), &self.origin, String::new())
    }
}

impl H5Group {
    fn new(group: Group, origin: &Arc<Origin>, place: String) -> Result<Self> {
        let damaged = |error: hdf5_pure::Error| damaged(origin, &place, &error);
        let groups = group.groups().map_err(damaged)?;
        let datasets = group.datasets().map_err(damaged)?;
        let attrs = group.attrs().map_err(damaged)?;
        Ok(H5Group {
            group,
            origin: Arc::clone(origin),
            place,
            groups,
            datasets,
            attrs,
        })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.origin.path
    }

    /// The path of this group inside the file; empty for the top.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// The path of a member inside the file.
    pub(crate) fn place_of(&self, name: &str) -> String {
        if self.place.is_empty() {
            name.to_string()
        } else {
            format!("{}/{name}", self.place)
        }
    }

    /// Names of the groups in this one.
    pub(crate) fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Names of the datasets in this group.
    pub(crate) fn datasets(&self) -> &[String] {
        &self.datasets
    }

    /// Says whether a group of this name is a member.
    pub(crate) fn has_group(&self, name: &str) -> bool {
        self.groups.iter().any(|member| member == name)
    }

    /// Says whether a dataset of this name is a member.
    pub(crate) fn has_dataset(&self, name: &str) -> bool {
        self.datasets.iter().any(|member| member == name)
    }

    /// A member group.
    ///
    /// # Errors
    /// No such group, or a damaged one.
    pub(crate) fn group(&self, name: &str) -> Result<H5Group> {
        if !self.has_group(name) {
            return Err(self.missing("group", name));
        }
        let place = self.place_of(name);
        let group = self
            .group
            .group(name)
            .map_err(|error| damaged(&self.origin, &place, &error))?;
        H5Group::new(group, &self.origin, place)
    }

    /// A member dataset.
    ///
    /// # Errors
    /// No such dataset, a damaged one, or one that declares more than the file can hold.
    pub(crate) fn dataset(&self, name: &str) -> Result<H5Dataset> {
        if !self.has_dataset(name) {
            return Err(self.missing("dataset", name));
        }
        let place = self.place_of(name);
        let dataset = self
            .group
            .dataset(name)
            .map_err(|error| damaged(&self.origin, &place, &error))?;
        H5Dataset::new(dataset, &self.origin, place)
    }

    /// A text attribute.
    pub(crate) fn attr_text(&self, name: &str) -> Option<&str> {
        self.attrs.get(name).and_then(AttrValue::as_str)
    }

    /// A list-of-texts attribute.
    pub(crate) fn attr_texts(&self, name: &str) -> Option<&[String]> {
        self.attrs.get(name).and_then(AttrValue::as_strings)
    }

    /// A list-of-counts attribute.
    pub(crate) fn attr_counts(&self, name: &str) -> Option<Vec<usize>> {
        let counts = self.attrs.get(name)?.to_u64s()?;
        counts
            .into_iter()
            .map(|count| usize::try_from(count).ok())
            .collect()
    }

    /// Says whether an attribute is there and is a truth value that is true, or 1.
    pub(crate) fn attr_is_true(&self, name: &str) -> bool {
        self.attr_counts(name).is_some_and(|counts| counts == [1])
    }

    fn missing(&self, what: &str, name: &str) -> Error {
        let mut members: Vec<&str> = self
            .groups
            .iter()
            .chain(&self.datasets)
            .map(String::as_str)
            .take(12)
            .collect();
        if members.is_empty() {
            members.push("nothing");
        }
        let inside = if self.place.is_empty() {
            "top of the file"
        } else {
            &self.place
        };
        Error::format(
            &self.origin.path,
            inside,
            format!("only {}", members.join(", ")),
            format!("a {what} named {name:?}"),
        )
    }
}

impl H5Dataset {
    fn new(dataset: Dataset, origin: &Arc<Origin>, place: String) -> Result<Self> {
        let damaged = |error: hdf5_pure::Error| damaged(origin, &place, &error);
        let shape = dataset.shape().map_err(damaged)?;
        let kind = match dataset.dtype().map_err(damaged)? {
            DType::F32 | DType::F64 => Kind::Float,
            DType::I8 | DType::I16 | DType::I32 | DType::I64 => Kind::Integer,
            DType::U8 | DType::U16 | DType::U32 | DType::U64 => Kind::Integer,
            DType::String | DType::VariableLengthString => Kind::Text,
            DType::Enum(names) if is_boolean(&names) => Kind::Boolean,
            DType::Enum(_) => Kind::Integer,
            other => Kind::Other(other.to_string()),
        };
        let element_bytes = dataset.element_size().map_err(damaged)?;
        let declared = shape
            .iter()
            .try_fold(element_bytes, |n, edge| n.checked_mul(*edge));
        let possible = possible_bytes(&dataset, origin, element_bytes).map_err(damaged)?;
        let shape_text = format!("{shape:?}");
        let shape: Option<Vec<usize>> = shape
            .into_iter()
            .map(|edge| usize::try_from(edge).ok())
            .collect();
        let (Some(_), Some(shape)) = (declared.filter(|bytes| *bytes <= possible), shape) else {
            return Err(Error::format(
                &origin.path,
                place,
                format!("a declared shape of {shape_text} with {element_bytes} bytes per element"),
                format!(
                    "at most {possible} bytes, which is what the file can hold; it is damaged or was not written to its end"
                ),
            ));
        };
        Ok(H5Dataset {
            dataset,
            origin: Arc::clone(origin),
            place,
            shape,
            kind,
        })
    }

    /// Edge lengths; empty for a scalar.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// What the elements are.
    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Bytes per element as stored.
    pub(crate) fn element_bytes(&self) -> Result<u64> {
        self.dataset
            .element_size()
            .map_err(|error| self.damaged(&error))
    }

    /// The path of this dataset inside the file.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// All elements as numbers, row after row; `FALSE` is 0 and `TRUE` is 1.
    ///
    /// # Errors
    /// Elements that are not numbers, or damaged storage.
    pub(crate) fn numbers(&self) -> Result<Vec<f64>> {
        match self.kind {
            Kind::Integer | Kind::Float | Kind::Boolean => self
                .dataset
                .read_f64()
                .map_err(|error| self.damaged(&error)),
            _ => Err(self.wrong_kind("numbers")),
        }
    }

    /// All elements as signed whole numbers.
    ///
    /// # Errors
    /// Elements that are not whole numbers, or damaged storage.
    pub(crate) fn integers(&self) -> Result<Vec<i64>> {
        match self.kind {
            Kind::Integer | Kind::Boolean => self
                .dataset
                .read_i64()
                .map_err(|error| self.damaged(&error)),
            _ => Err(self.wrong_kind("whole numbers")),
        }
    }

    /// All elements as whole numbers, also those beyond the signed ones.
    ///
    /// # Errors
    /// Elements that are not whole numbers, or damaged storage.
    pub(crate) fn whole_numbers(&self) -> Result<Vec<i128>> {
        let damaged = |error| self.damaged(&error);
        match self.dataset.dtype().map_err(damaged)? {
            DType::U64 => Ok((self.dataset.read_u64().map_err(damaged)?.into_iter())
                .map(i128::from)
                .collect()),
            _ => Ok(self.integers()?.into_iter().map(i128::from).collect()),
        }
    }

    /// All elements as truth values; a number that is not 0 is true.
    ///
    /// # Errors
    /// Elements that are not numbers, or damaged storage.
    pub(crate) fn booleans(&self) -> Result<Vec<bool>> {
        Ok(self
            .integers()?
            .into_iter()
            .map(|value| value != 0)
            .collect())
    }

    /// All elements as text, row after row.
    ///
    /// # Errors
    /// Elements that are not text, text that is not UTF-8, damaged storage, or references that
    /// claim more text than the file holds.
    pub(crate) fn texts(&self) -> Result<Vec<String>> {
        if self.kind != Kind::Text {
            return Err(self.wrong_kind("text"));
        }
        let dtype = self.dataset.dtype().map_err(|error| self.damaged(&error))?;
        let texts = if dtype == DType::VariableLengthString {
            // Each text is stored once and uncompressed, so together they fit in the file.
            let limit = usize::try_from(self.origin.n_bytes).unwrap_or(usize::MAX);
            let options = VlenStringReadOptions::new().with_max_payload_bytes(limit);
            self.dataset.read_vlen_strings(options)
        } else {
            self.dataset.read_string()
        };
        texts.map_err(|error| self.damaged(&error))
    }

    /// Says that this dataset holds something else than expected.
    pub(crate) fn bad(&self, found: impl Into<String>, expected: impl Into<String>) -> Error {
        Error::format(&self.origin.path, &self.place, found, expected)
    }

    fn wrong_kind(&self, expected: &str) -> Error {
        let found = match &self.kind {
            Kind::Integer => "whole numbers",
            Kind::Float => "numbers with a fraction",
            Kind::Boolean => "truth values",
            Kind::Text => "text",
            Kind::Other(name) => name,
        };
        self.bad(found, expected)
    }

    fn damaged(&self, error: &hdf5_pure::Error) -> Error {
        damaged(&self.origin, &self.place, error)
    }
}

/// Upper bound of the bytes that reading a dataset can honestly yield.
fn possible_bytes(
    dataset: &Dataset,
    origin: &Origin,
    element_bytes: u64,
) -> std::result::Result<u64, hdf5_pure::Error> {
    Ok(match dataset.layout()? {
        Layout::Contiguous { address: None, .. } => MAX_UNWRITTEN_BYTES,
        Layout::Chunked { chunk_shape, .. } => {
            let chunk_bytes = chunk_shape
                .iter()
                .fold(element_bytes, |n, edge| n.saturating_mul(*edge));
            let chunks = dataset.chunks()?;
            let stored = chunks
                .iter()
                .fold(0u64, |n, chunk| n.saturating_add(chunk.storage_size));
            let inflated = stored.min(origin.n_bytes).saturating_mul(MAX_DEFLATE_RATIO);
            let whole = chunk_bytes.saturating_mul(chunks.len() as u64);
            if chunk_bytes > inflated.max(MAX_UNWRITTEN_BYTES) {
                0 // one chunk alone claims more than all stored bytes can expand to
            } else {
                inflated.min(whole).max(MAX_UNWRITTEN_BYTES)
            }
        }
        _ => origin.n_bytes,
    })
}

fn is_boolean(names: &[String]) -> bool {
    names.len() == 2
        && ["FALSE", "TRUE"]
            .iter()
            .all(|name| names.iter().any(|n| n == name))
}

fn damaged(origin: &Origin, place: &str, error: &hdf5_pure::Error) -> Error {
    let place = if place.is_empty() {
        "top of the file"
    } else {
        place
    };
    Error::format(&origin.path, place, error.to_string(), INTACT)
}

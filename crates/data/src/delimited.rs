//! Delimited text files: gzip by content, comment lines, the header, and records with their lines.

use crate::format::Overwrite;
use crate::{Error, Result};
use csv::StringRecord;
use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// What separates the fields of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delimiter {
    /// Reading: tab if the header has one, else comma, else semicolon. Writing: tab.
    #[default]
    Auto,
    /// `\t`
    Tab,
    /// `,`
    Comma,
    /// `;`
    Semicolon,
}

/// First header fields that introduce rows of features, after [`normalized`].
const FEATURE_ID_NAMES: [&str; 12] = [
    "otu id",
    "otuid",
    "otu",
    "feature id",
    "featureid",
    "asv id",
    "asv",
    "clade name",
    "gene id",
    "gene",
    "gene family",
    "pathway",
];

/// First header fields that introduce rows of samples, after [`normalized`].
const SAMPLE_ID_NAMES: [&str; 5] = ["id", "sample id", "sampleid", "sample name", "sample"];

/// A delimited text file whose header has been read.
pub(crate) struct Delimited<'a> {
    path: PathBuf,
    header: Vec<String>,
    header_line: usize,
    records: csv::Reader<Box<dyn BufRead + 'a>>,
    /// Lines before the header, which the csv reader has not seen.
    n_skipped: usize,
    sample_above: Option<String>,
    first: Option<(usize, StringRecord)>,
}

impl Delimited<'static> {
    /// Opens a file, compressed or not.
    pub(crate) fn open(path: &Path, delimiter: Delimiter) -> Result<Self> {
        Delimited::new(open(path)?, path, delimiter)
    }
}

impl<'a> Delimited<'a> {
    /// Reads up to the first record; `path` stands in messages only.
    pub(crate) fn new(
        mut reader: Box<dyn BufRead + 'a>,
        path: &Path,
        delimiter: Delimiter,
    ) -> Result<Self> {
        let mut n_skipped = 0;
        let header_text = loop {
            let Some(mut line) = read_line(&mut reader, path, n_skipped + 1)? else {
                return Err(Error::format(
                    path,
                    format!("line {}", n_skipped + 1),
                    "the end of the file",
                    "a header line with ids",
                ));
            };
            if n_skipped == 0
                && let Some(rest) = line.strip_prefix('\u{feff}')
            {
                line = rest.to_string();
            }
            if !line.trim().is_empty() && !is_comment(&line) {
                break line;
            }
            n_skipped += 1;
        };
        let mut header_text = header_text;
        let mut sample_above = None;
        let mut below = String::new();
        if let Some(name) = sample_of_profile(&header_text) {
            // Comments may stand between the name of the sample and the header.
            let mut n_below = 0;
            while let Some(next) = read_line(&mut reader, path, n_skipped + n_below + 2)? {
                n_below += 1;
                let is_comment = next.starts_with('#');
                if is_comment && names_features(next.split('\t').next().unwrap_or("")) {
                    n_skipped += n_below;
                    (sample_above, header_text) = (Some(name), next);
                    below.clear();
                    break;
                }
                below += &next;
                if !is_comment {
                    break;
                }
            }
        }
        let delimiter = match delimiter {
            Delimiter::Tab => b'\t',
            Delimiter::Comma => b',',
            Delimiter::Semicolon => b';',
            Delimiter::Auto => {
                let first_line = header_text.split(['\r', '\n']).next().unwrap_or("");
                let candidates = ['\t', ',', ';'];
                candidates
                    .into_iter()
                    .find(|c| first_line.contains(*c))
                    .unwrap_or('\t') as u8
            }
        };
        let rest: Box<dyn BufRead + 'a> = Box::new(
            Cursor::new((header_text + &below).into_bytes())
                .chain(reader)
                .chain(&b"\n"[..]),
        );
        let records = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            // Lines are counted by `\n`; the `\r` before it is trimmed with the field.
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(rest);
        let mut file = Delimited {
            path: path.to_path_buf(),
            header: Vec::new(),
            header_line: n_skipped + 1,
            records,
            n_skipped,
            sample_above,
            first: None,
        };
        let Some((_, header)) = file.read_record()? else {
            let expected = "a header line with ids";
            return Err(file.error(file.header_line, "nothing but quotes and blanks", expected));
        };
        file.header = header
            .iter()
            .map(|field| field.trim().to_string())
            .collect();
        file.first = file.read_record()?;
        // R's write.table leaves out the name of the id column.
        if let Some((_, first)) = &file.first
            && !names_ids(&file.header[0])
            && first.len() == file.header.len() + 1
            && first
                .iter()
                .next_back()
                .is_some_and(|field| !field.trim().is_empty())
        {
            file.header.insert(0, String::new());
        }
        Ok(file)
    }

    /// The path that messages name.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Trimmed fields of the header line.
    pub(crate) fn header(&self) -> &[String] {
        &self.header
    }

    /// The sample that a line `#SampleID<TAB>name` above the header of a MetaPhlAn profile names.
    pub(crate) fn sample_above(&self) -> Option<&str> {
        self.sample_above.as_deref()
    }

    /// The first record, which [`Delimited::next_record`] returns first.
    pub(crate) fn first_record(&self) -> Option<&StringRecord> {
        self.first.as_ref().map(|(_, record)| record)
    }

    /// The next record and the line on which it begins; blank lines are passed over.
    ///
    /// Fields are not trimmed, and the last may end in `\r`.
    pub(crate) fn next_record(&mut self) -> Result<Option<(usize, StringRecord)>> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.read_record(),
        }
    }

    /// An error about a line of this file.
    pub(crate) fn error(
        &self,
        line: usize,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Error {
        Error::format(&self.path, format!("line {line}"), found, expected)
    }

    /// An error about a field, whose column is counted from 0.
    pub(crate) fn field_error(
        &self,
        line: usize,
        column: usize,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Error {
        let name = self.header.get(column).map_or("", String::as_str);
        let place = format!("line {line}, column {} ({name:?})", column + 1);
        Error::format(&self.path, place, found, expected)
    }

    /// Fails on an empty or repeated name in the header from column `start` on.
    pub(crate) fn check_header(&self, start: usize, what: &str) -> Result<()> {
        let mut seen = std::collections::HashMap::new();
        for (column, name) in self.header.iter().enumerate().skip(start) {
            if name.is_empty() {
                return Err(self.field_error(
                    self.header_line,
                    column,
                    "an empty name",
                    format!("{what}; name or remove the column"),
                ));
            }
            if let Some(first) = seen.insert(name.as_str(), column) {
                return Err(self.field_error(
                    self.header_line,
                    column,
                    format!("{name:?} again, first seen in column {}", first + 1),
                    format!("{what} that occurs once; rename or merge"),
                ));
            }
        }
        Ok(())
    }

    fn read_record(&mut self) -> Result<Option<(usize, StringRecord)>> {
        let mut record = StringRecord::new();
        loop {
            let error = match self.records.read_record(&mut record) {
                Ok(false) => return Ok(None),
                Ok(true) if record.iter().all(|field| field.trim().is_empty()) => continue,
                Ok(true) => {
                    // The reader stands behind the line end; a quoted field may hold others.
                    let n_inside: usize = record.iter().map(|f| f.matches('\n').count()).sum();
                    let line = self.records.position().line() as usize - 1 - n_inside;
                    return Ok(Some((self.n_skipped + line, record)));
                }
                Err(error) => error,
            };
            let line = self.n_skipped + self.records.position().line() as usize;
            return Err(match error.into_kind() {
                csv::ErrorKind::Io(source) => read_error(&self.path, line, source),
                csv::ErrorKind::Utf8 { .. } => not_text(&self.path, line),
                other => {
                    let found = format!("{other:?}");
                    Error::format(&self.path, format!("line {line}"), found, "delimited text")
                }
            });
        }
    }
}

/// A header field without case, `#`, quotes, underscores and hyphens, for comparison.
pub(crate) fn normalized(name: &str) -> String {
    name.trim()
        .trim_matches('"')
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .replace(['_', '-'], " ")
}

/// Says whether the first field of a header introduces rows of features.
pub(crate) fn names_features(first_header: &str) -> bool {
    FEATURE_ID_NAMES.contains(&normalized(first_header).as_str())
}

/// Says whether the first field of a header is a known name for ids.
fn names_ids(first_header: &str) -> bool {
    names_features(first_header) || SAMPLE_ID_NAMES.contains(&normalized(first_header).as_str())
}

/// The name in a line `#SampleID<TAB>name`, whatever word stands first: a header of two fields, or above that of a
/// MetaPhlAn profile.
fn sample_of_profile(line: &str) -> Option<String> {
    let fields: Vec<&str> = line.trim_end().split('\t').map(str::trim).collect();
    match fields[..] {
        [key, name] if key.starts_with('#') && !name.is_empty() => Some(name.to_string()),
        _ => None,
    }
}

/// A line that starts with `#` is a comment unless it looks like a header: a known id name comes
/// first, or two fields separated by a tab hold text.
fn is_comment(line: &str) -> bool {
    if !line.starts_with('#') {
        return false;
    }
    let is_known = names_ids(
        line.split(['\t', ',', ';', '\r', '\n'])
            .next()
            .unwrap_or(""),
    );
    let n_fields = line
        .split('\t')
        .filter(|field| !field.trim().is_empty())
        .count();
    !is_known && n_fields < 2
}

/// Opens a file for reading; content that starts with the gzip magic is decompressed.
pub(crate) fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let file = File::open(path).map_err(|source| Error::io(path, "open", source))?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let start = reader
        .fill_buf()
        .map_err(|source| Error::io(path, "read", source))?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(BufReader::with_capacity(
            1 << 16,
            MultiGzDecoder::new(reader),
        )));
    }
    Ok(Box::new(reader))
}

/// Writes a text file in one step; a name that ends in `.gz` is compressed.
pub(crate) fn write_text(
    path: &Path,
    overwrite: Overwrite,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let is_gzip = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    crate::format::write_atomically(path, overwrite, |out| {
        if !is_gzip {
            return write(out);
        }
        let mut gz = GzEncoder::new(out, Compression::default());
        write(&mut gz)?;
        gz.finish().map(drop)
    })
}

/// The shortest decimal text that reads back to the same bits.
pub(crate) fn shortest(value: f64) -> String {
    if value == 0.0 || (1e-5..1e16).contains(&value) || value.is_nan() {
        format!("{value}")
    } else {
        format!("{value:e}")
    }
}

/// One line with its line end, or `None` at the end of the file.
pub(crate) fn read_line(
    reader: &mut dyn BufRead,
    path: &Path,
    line: usize,
) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    reader
        .read_until(b'\n', &mut bytes)
        .map_err(|source| read_error(path, line, source))?;
    if bytes.is_empty() {
        return Ok(None);
    }
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| not_text(path, line))
}

/// Turns an error of a reader into one that tells a cut or damaged gzip stream from a disk fault.
pub(crate) fn read_error(path: &Path, line: usize, source: std::io::Error) -> Error {
    match source.kind() {
        ErrorKind::UnexpectedEof => Error::format(
            path,
            format!("line {line}"),
            "a gzip stream that ends early",
            "a complete file; it was cut short, copy or download it again",
        ),
        ErrorKind::InvalidInput | ErrorKind::InvalidData => Error::format(
            path,
            format!("line {line}"),
            format!("a damaged gzip stream ({source})"),
            "a file that gzip -t accepts; copy or download it again",
        ),
        _ => Error::io(path, "read", source),
    }
}

fn not_text(path: &Path, line: usize) -> Error {
    Error::format(
        path,
        format!("line {line}"),
        "bytes that are not UTF-8 text",
        "a text file in UTF-8; if this is a binary format, name the file by that format",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delimited(text: &str) -> Delimited<'_> {
        let reader = Box::new(text.as_bytes());
        Delimited::new(reader, Path::new("t.tsv"), Delimiter::Auto).unwrap()
    }

    #[test]
    fn comments_byte_order_mark_and_crlf_do_not_reach_the_header() {
        let mut file = delimited("\u{feff}# made by x, y\r\n\r\n#OTU ID,a,b\r\nt1,1,2\r\n");
        assert_eq!(file.header(), ["#OTU ID", "a", "b"]);
        let (line, record) = file.next_record().unwrap().unwrap();
        let fields: Vec<&str> = record.iter().map(str::trim).collect();
        assert_eq!((line, fields), (4, vec!["t1", "1", "2"]));
        assert!(file.next_record().unwrap().is_none());
    }

    #[test]
    fn a_header_of_r_without_an_id_name_is_shifted() {
        assert_eq!(delimited("a\tb\ns1\t1\t2\n").header(), ["", "a", "b"]);
        assert_eq!(delimited("id\ta\ns1\t1\t\n").header(), ["id", "a"]);
    }

    #[test]
    fn delimiters_inside_quotes_and_lineages_stay_in_their_field() {
        let mut file = delimited("id,a,taxonomy\nt1,1,\"k__A; p__B, C\"\n");
        let (_, record) = file.next_record().unwrap().unwrap();
        assert_eq!(&record[2], "k__A; p__B, C");
    }
}

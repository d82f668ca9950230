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
const FEATURE_ID_NAMES: [&str; 29] = [
    "otu id",
    "otuid",
    "otu",
    "otus",
    "feature id",
    "featureid",
    "feature",
    "features",
    "asv id",
    "asvid",
    "asv",
    "asvs",
    "clade name",
    "taxon",
    "taxa",
    "taxonomy",
    "taxid",
    "tax id",
    "phylum",
    "genus",
    "species",
    "gene id",
    "geneid",
    "gene",
    "gene name",
    "gene symbol",
    "gene family",
    "ko",
    "pathway",
];
/// What tables of MicrobiomeAnalyst have there.
const FEATURE_ID_NAME_AS_IT_IS: &str = "#NAME";

/// First header fields that introduce rows of samples, after [`normalized`].
const SAMPLE_ID_NAMES: [&str; 5] = ["id", "sample id", "sampleid", "sample name", "sample"];

/// Ends the last line of a file; a field that ends in it was opened by a quote that nothing closes.
const END: &[u8] = b"\n\n";

/// A delimited text file whose header has been read.
pub(crate) struct Delimited<'a> {
    path: PathBuf,
    header: Vec<String>,
    header_line: usize,
    records: csv::Reader<Box<dyn BufRead + 'a>>,
    delimiter: char,
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
                .chain(END),
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
            delimiter: char::from(delimiter),
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

    /// Fails where a quote swallowed records: nothing closes it, or what lies between it and another holds delimiters.
    ///
    /// - `line`: on which the record begins
    fn check_quotes(&self, line: usize, record: &StringRecord) -> Result<()> {
        let end = record.iter().next_back().unwrap_or_default();
        let n_fields = record.len().max(self.header.len());
        let looks_like_a_record = |text: &str| match self.delimiter {
            '\t' => text.contains('\t'),
            delimiter => n_fields > 1 && text.matches(delimiter).count() + 1 == n_fields,
        };
        let mut inside = record.iter().filter(|field| field.contains('\n'));
        if end.as_bytes().ends_with(END) {
            return Err(self.error(
                line + 1, // no line end follows the record
                "a quotation mark that no other closes, so that the lines below it are one cell",
                "quotation marks in pairs; remove the one at the start of a cell of this line, or close it",
            ));
        }
        match inside.find(|field| field.split('\n').any(looks_like_a_record)) {
            None => Ok(()),
            Some(field) => Err(self.error(
                line,
                format!(
                    "a cell in quotation marks with {} line ends and other cells in it, {:?}...",
                    field.matches('\n').count(),
                    field.chars().take(20).collect::<String>()
                ),
                "quotation marks in pairs; remove the one at the start of this cell, or close it",
            )),
        }
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
                    let behind = self.n_skipped + self.records.position().line() as usize;
                    let line = behind.saturating_sub(1 + n_inside);
                    if n_inside > 0 {
                        self.check_quotes(line, &record)?;
                    }
                    return Ok(Some((line, record)));
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

/// A header field without case, `#`, quotes, underscores, hyphens and dots, for comparison.
pub(crate) fn normalized(name: &str) -> String {
    name.trim()
        .trim_matches('"')
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .replace(['_', '-', '.'], " ")
}

/// Says whether the first field of a header introduces rows of features.
pub(crate) fn names_features(first_header: &str) -> bool {
    FEATURE_ID_NAMES.contains(&normalized(first_header).as_str())
        || first_header.trim() == FEATURE_ID_NAME_AS_IT_IS
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

/// A line that starts with `#` is a comment unless it looks like a header: a known id name comes first, or there are two
/// fields, of which the first is a word right behind the `#`; with three fields between tabs it may be anything.
fn is_comment(line: &str) -> bool {
    let Some(text) = line.strip_prefix('#') else {
        return false;
    };
    let first_of = |line: &str| {
        let end = line.find(['\t', ',', ';', '\r', '\n']);
        line[..end.unwrap_or(line.len())].to_string()
    };
    if names_ids(&first_of(line)) {
        return false;
    }
    let n_fields = |delimiter| {
        let fields = text.split(delimiter);
        fields.filter(|field| !field.trim().is_empty()).count()
    };
    let is_word = |first: &str| !first.is_empty() && !first.contains(char::is_whitespace);
    let is_list = |delimiter| {
        // In prose a blank follows a comma.
        let mut rest = text.split(delimiter).skip(1);
        n_fields(delimiter) >= 2 && rest.all(|field| !field.starts_with(' '))
    };
    let is_header = match n_fields('\t') {
        0 | 1 => is_word(&first_of(text)) && (is_list(',') || is_list(';')),
        2 => !text.starts_with(char::is_whitespace),
        _ => true,
    };
    !is_header
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

    fn refused(text: &str) -> String {
        let reader = Box::new(text.as_bytes());
        let mut file = match Delimited::new(reader, Path::new("t.tsv"), Delimiter::Auto) {
            Ok(file) => file,
            Err(error) => return error.to_string(),
        };
        loop {
            match file.next_record() {
                Ok(Some(_)) => {}
                Ok(None) => return String::new(),
                Err(error) => return error.to_string(),
            }
        }
    }

    #[test]
    fn a_quote_that_swallows_lines_is_refused_with_its_line() {
        let open = "id\ta\tnote\nt1\t1\tx\nt2\t2\t\"flu\nt3\t3\tx\nt4\t4\tx";
        for text in [
            open.to_string(),
            format!("{open}\n"),
            open.replace('\t', ","),
        ] {
            let told = refused(&text);
            assert!(
                told.contains("line 3") && told.contains("no other closes"),
                "{told}"
            );
        }
        // Another stray quote further down closes it.
        let closed = "id\ta\tnote\nt1\t1\t\"flu\nt2\t2\tx\nt3\t3\tcold\"\nt4\t4\tx\n";
        for text in [closed.to_string(), closed.replace('\t', ",")] {
            let told = refused(&text);
            assert!(
                told.contains("line 2") && told.contains("2 line ends"),
                "{told}"
            );
        }
        // A cell may run over lines.
        for text in [
            "id,a,note\nt1,1,\"one, two\nthree\nfour\"\nt2,2,x\n",
            "id\tnote\nt1\t\"one, two\n\nthree\n\"",
        ] {
            assert_eq!(refused(text), "");
        }
    }

    #[test]
    fn headers_with_a_hash_and_comments_are_told_apart() {
        let header = |text: &str| delimited(text).header().join("|");
        let expected = [
            ("#NAME,s1,s2\nO1,1,2\n", "#NAME|s1|s2"),
            ("#patient;age\nO1;1\n", "#patient|age"),
            ("#genus\ts1\nO1\t1\n", "#genus|s1"),
            ("# exported by\tme\nid\tage\ns1\t3\n", "id|age"),
            ("# Gene Family\ts1\nO1\t1\n", "# Gene Family|s1"),
            ("# a\tb\tc\nO1\t1\t2\n", "# a|b|c"),
            ("#Made by x, version 2\nid,age\ns1,3\n", "id|age"),
            ("#Hello, world\nid,age\ns1,3\n", "id|age"),
            ("#mpa_v30\nid,age\ns1,3\n", "id|age"),
        ];
        for (text, expected) in expected {
            assert_eq!(header(text), expected, "{text}");
        }
        for name in ["OTU.ID", "Genus", "#NAME", "Feature", "gene_symbol"] {
            assert!(names_features(name), "{name}");
        }
        assert!(!names_features("name"));
    }
}

//! BIOM 1.0, the JSON form.

use super::{
    FORMAT_URL, FeatureFacts, GENERATED_BY, TABLE_TYPE, TAXONOMY, iso_8601, lineage_cells,
};
use crate::format::in_file;
use crate::{Column, ColumnValues, Csr, Error, Metadata, Result, Table};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::{Map, Number, Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::time::SystemTime;

/// Names facts about samples that have no names.
const FACTS: &str = "metadata";

#[derive(Deserialize)]
struct Document {
    rows: Vec<Entry>,
    columns: Vec<Entry>,
    matrix_type: MatrixType,
    shape: [usize; 2],
    data: Vec<Vec<Option<f64>>>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum MatrixType {
    /// `data` lists (row, column, value).
    Sparse,
    /// `data` lists the rows.
    Dense,
}

#[derive(Deserialize)]
struct Entry {
    id: Id,
    #[serde(default)]
    metadata: Option<Facts>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a text or a number")]
enum Id {
    Text(String),
    Number(Number),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "facts by name or a list of texts")]
enum Facts {
    Named(Map<String, Value>),
    /// As R's biomformat writes them: without names.
    Listed(Vec<Value>),
}

impl Entry {
    fn id(&self) -> String {
        match &self.id {
            Id::Text(text) => text.clone(),
            Id::Number(number) => number.to_string(),
        }
    }

    fn facts(&self) -> Option<&Map<String, Value>> {
        match &self.metadata {
            Some(Facts::Named(facts)) => Some(facts),
            _ => None,
        }
    }

    /// Gives facts without a name one.
    fn name_facts(&mut self, name: &str) {
        if let Some(Facts::Listed(values)) = &mut self.metadata {
            let values = std::mem::take(values);
            let named = (!values.is_empty()).then(|| (name.to_string(), Value::Array(values)));
            self.metadata = Some(Facts::Named(named.into_iter().collect()));
        }
    }
}

/// Reads a BIOM 1.0 file, gzip-compressed or not.
///
/// # Errors
/// A missing or truncated file; text that is not BIOM; a shape, row or column that does not fit;
/// duplicate ids; negative or infinite abundances.
pub fn read(path: &Path) -> Result<Table> {
    let file = File::open(path).map_err(|source| Error::io(path, "read", source))?;
    let mut buffered = BufReader::new(file);
    let start = buffered
        .fill_buf()
        .map_err(|source| Error::io(path, "read", source))?;
    let is_gzip = start.starts_with(&[0x1f, 0x8b]);
    let text: Box<dyn Read> = if is_gzip {
        Box::new(MultiGzDecoder::new(buffered))
    } else {
        Box::new(buffered)
    };
    let mut document: Document =
        serde_json::from_reader(BufReader::new(text)).map_err(|error| {
            let place = match error.line() {
                0 => "end of the file".to_string(),
                line => format!("line {line}, column {}", error.column()),
            };
            Error::format(
                path,
                place,
                error.to_string(),
                "a complete BIOM 1.0 table (JSON)",
            )
        })?;
    for row in &mut document.rows {
        row.name_facts(TAXONOMY);
    }
    for column in &mut document.columns {
        column.name_facts(FACTS);
    }
    table(path, document).map_err(|error| in_file(path, error))
}

fn table(path: &Path, document: Document) -> Result<Table> {
    let (n_features, n_samples) = (document.rows.len(), document.columns.len());
    if document.shape != [n_features, n_samples] {
        return Err(Error::format(
            path,
            "shape",
            format!("{:?}", document.shape),
            format!("[{n_features}, {n_samples}], the number of rows and columns"),
        ));
    }
    let mut entries = vec![Vec::new(); n_samples];
    for (line, values) in document.data.iter().enumerate() {
        match document.matrix_type {
            MatrixType::Sparse => {
                let (row, column, value) = triple(path, line, values, document.shape)?;
                entries[column].push((row, value));
            }
            MatrixType::Dense => {
                if values.len() != n_samples || line >= n_features {
                    return Err(Error::format(
                        path,
                        format!("data, row {}", line + 1),
                        format!("{} values", values.len()),
                        format!("{n_features} rows of {n_samples} values"),
                    ));
                }
                for (column, value) in values.iter().enumerate() {
                    entries[column].push((line as u32, value.unwrap_or(f64::NAN)));
                }
            }
        }
    }
    if document.matrix_type == MatrixType::Dense && document.data.len() != n_features {
        let found = format!("{} rows", document.data.len());
        return Err(Error::format(
            path,
            "data",
            found,
            format!("{n_features} rows"),
        ));
    }
    let mut csr = Csr {
        indptr: vec![0],
        ..Csr::default()
    };
    for entries in entries {
        csr.indices
            .extend(entries.iter().map(|(feature, _)| *feature));
        csr.values.extend(entries.iter().map(|(_, value)| *value));
        csr.indptr.push(csr.indices.len());
    }
    let ids = |entries: &[Entry]| entries.iter().map(Entry::id).collect();
    let mut table = Table::new(ids(&document.columns), ids(&document.rows), csr)?;
    feature_facts(&document.rows).attach(&mut table)?;
    table.sample_metadata = Metadata::new(
        table.sample_ids().to_vec(),
        columns(&document.columns, |_| true),
    )?;
    Ok(table)
}

/// An entry of the sparse form; a value of `null` was not measured.
fn triple(
    path: &Path,
    line: usize,
    cells: &[Option<f64>],
    shape: [usize; 2],
) -> Result<(u32, usize, f64)> {
    if let [Some(row), Some(column), value] = cells {
        let fits =
            |index: f64, end: usize| index.fract() == 0.0 && index >= 0.0 && index < end as f64;
        if fits(*row, shape[0]) && fits(*column, shape[1]) {
            return Ok((*row as u32, *column as usize, value.unwrap_or(f64::NAN)));
        }
    }
    Err(Error::format(
        path,
        format!("data, entry {}", line + 1),
        format!("[{}]", shown(cells)),
        format!(
            "[row, column, value] inside {} rows and {} columns",
            shape[0], shape[1]
        ),
    ))
}

/// The cells of an entry as they stand in the file.
fn shown(cells: &[Option<f64>]) -> String {
    let shown = |cell: &Option<f64>| cell.map_or("null".to_string(), |value| value.to_string());
    cells.iter().map(shown).collect::<Vec<_>>().join(", ")
}

fn feature_facts(rows: &[Entry]) -> FeatureFacts {
    let is_lineage = |name: &str| name.eq_ignore_ascii_case(TAXONOMY);
    let lineage = |row: &Entry| -> Option<Vec<String>> {
        let facts = row.facts()?;
        let (_, value) = facts.iter().find(|(name, _)| is_lineage(name))?;
        match value {
            Value::Array(cells) => Some(
                cells
                    .iter()
                    .map(|cell| text(cell).unwrap_or_default())
                    .collect(),
            ),
            Value::Null => None,
            other => text(other).map(|text| vec![text]),
        }
    };
    let lineages: Vec<Option<Vec<String>>> = rows.iter().map(lineage).collect();
    FeatureFacts {
        columns: columns(rows, |name| !is_lineage(name)),
        lineages: lineages.iter().any(Option::is_some).then(|| {
            lineages
                .into_iter()
                .map(Option::unwrap_or_default)
                .collect()
        }),
    }
}

/// A column per name that any entry has: numeric or boolean if all its values are, else text.
fn columns(entries: &[Entry], wanted: impl Fn(&str) -> bool) -> Vec<Column> {
    let mut names: Vec<&String> = Vec::new();
    for entry in entries {
        for name in entry.facts().into_iter().flat_map(Map::keys) {
            if wanted(name) && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
        .into_iter()
        .map(|name| {
            let values: Vec<&Value> = entries
                .iter()
                .map(|entry| {
                    entry
                        .facts()
                        .and_then(|facts| facts.get(name))
                        .unwrap_or(&Value::Null)
                })
                .collect();
            Column {
                name: name.clone(),
                values: column_values(&values),
            }
        })
        .collect()
}

fn column_values(values: &[&Value]) -> ColumnValues {
    let all = |is_kind: fn(&Value) -> bool| {
        values.iter().all(|value| value.is_null() || is_kind(value))
            && values.iter().any(|value| !value.is_null())
    };
    let whole = |value: &Value| match value {
        Value::Number(number) => number.as_i128(),
        _ => None,
    };
    if values
        .iter()
        .all(|value| value.is_null() || whole(value).is_some())
        && values.iter().any(|value| !value.is_null())
    {
        return ColumnValues::of_whole_numbers(values.iter().map(|value| whole(value)));
    }
    if all(Value::is_number) {
        return ColumnValues::Numeric(
            values
                .iter()
                .map(|value| value.as_f64().unwrap_or(f64::NAN))
                .collect(),
        );
    }
    if all(Value::is_boolean) {
        return ColumnValues::Boolean(values.iter().map(|value| value.as_bool()).collect());
    }
    ColumnValues::Text(values.iter().map(|value| text(value)).collect())
}

/// A value as text; the parts of a list are joined with `; `.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => Some(
            parts
                .iter()
                .map(|part| text(part).unwrap_or_default())
                .collect::<Vec<_>>()
                .join("; "),
        ),
        other => Some(other.to_string()),
    }
}

/// Writes a table as BIOM 1.0, sparse.
///
/// # Errors
/// What the sink says.
pub(crate) fn write(
    table: &Table,
    created: SystemTime,
    sink: &mut dyn Write,
) -> std::io::Result<()> {
    let rows: Vec<Value> = (0..table.n_features())
        .map(|feature| {
            let mut facts = row_facts(&table.feature_metadata, feature);
            if let Some(taxonomy) = &table.taxonomy {
                facts.insert(
                    TAXONOMY.to_string(),
                    Value::from(lineage_cells(taxonomy, feature)),
                );
            }
            entry(&table.feature_ids()[feature], facts)
        })
        .collect();
    let columns: Vec<Value> = (0..table.n_samples())
        .map(|sample| {
            entry(
                &table.sample_ids()[sample],
                row_facts(&table.sample_metadata, sample),
            )
        })
        .collect();
    let head = json!({
        "id": null,
        "format": "Biological Observation Matrix 1.0.0",
        "format_url": FORMAT_URL,
        "type": TABLE_TYPE,
        "generated_by": GENERATED_BY,
        "date": iso_8601(created),
        "matrix_type": "sparse",
        "matrix_element_type": "float",
        "shape": [table.n_features(), table.n_samples()],
        "rows": rows,
        "columns": columns,
    });
    // The entries are written one by one; as a tree of JSON values they would need far more room.
    let head = head.to_string();
    write!(
        sink,
        "{},\"data\":[",
        head.strip_suffix('}').unwrap_or(&head)
    )?;
    let mut separator = "";
    for sample in 0..table.n_samples() {
        let (features, values) = table.row(sample);
        for (feature, value) in features.iter().zip(values) {
            let value = Value::from(*value); // NaN becomes null
            write!(sink, "{separator}[{feature},{sample},{value}]")?;
            separator = ",";
        }
    }
    sink.write_all(b"]}\n")
}

fn entry(id: &str, facts: Map<String, Value>) -> Value {
    let facts = if facts.is_empty() {
        Value::Null
    } else {
        Value::Object(facts)
    };
    json!({ "id": id, "metadata": facts })
}

fn row_facts(metadata: &Metadata, row: usize) -> Map<String, Value> {
    metadata
        .columns()
        .iter()
        .map(|column| {
            let value = match &column.values {
                ColumnValues::Numeric(values) => Value::from(values[row]),
                ColumnValues::Boolean(values) => values[row].map_or(Value::Null, Value::Bool),
                other => other.text(row).map_or(Value::Null, Value::String),
            };
            (column.name.clone(), value)
        })
        .collect()
}

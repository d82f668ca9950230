//! Data frames of h5ad (`obs`, `var`): columns of every encoding that anndata has used.

use crate::format::hdf5::{Attr, H5Dataset, H5Group, Kind, Numbers, OutGroup};
use crate::metadata::check_unique;
use crate::{Column, ColumnValues, Error, Metadata, Result};
use std::collections::BTreeSet;

/// Reads a data frame: its row ids and its columns in their stored order.
///
/// - `axis`: what a row is: "sample" or "feature"
///
/// # Errors
/// A missing index, a column of another length than the index, duplicate ids, or an encoding that
/// is not known.
pub(super) fn read(group: &H5Group, axis: &'static str) -> Result<Metadata> {
    let index = group.attr_text("_index").unwrap_or("_index").to_string();
    let index =
        if group.has_dataset(&index) || group.has_group(&index) || !group.has_dataset("index") {
            index
        } else {
            "index".to_string()
        };
    let ids = texts(group, &read_column(group, &index)?, &index)?;
    let order: Vec<String> = match group.attr_texts("column-order") {
        Some(names) => names.to_vec(),
        None => {
            let members = group.datasets().iter().chain(group.groups());
            members
                .filter(|name| **name != index && *name != "__categories")
                .cloned()
                .collect()
        }
    };
    let mut columns = Vec::with_capacity(order.len());
    for name in order {
        let values = read_column(group, &name)?;
        if values.len() != ids.len() {
            return Err(Error::format(
                group.path(),
                group.place_of(&name),
                format!("{} rows", values.len()),
                format!("{}, as many as the index {index:?} has", ids.len()),
            ));
        }
        columns.push(Column { name, values });
    }
    check_unique(axis, &ids)?;
    Metadata::new(ids, columns)
}

/// The numeric columns of a data frame, as a matrix: columns per row, and the values.
pub(super) fn read_numeric(group: &H5Group) -> Result<(usize, Vec<f64>)> {
    let frame = read(group, "sample")?;
    let columns: Vec<&[f64]> = frame
        .columns()
        .iter()
        .filter_map(|column| match &column.values {
            ColumnValues::Numeric(values) => Some(values.as_slice()),
            _ => None,
        })
        .collect();
    let rows = 0..frame.ids().len();
    let values = rows
        .flat_map(|row| columns.iter().map(move |column| column[row]))
        .collect();
    Ok((columns.len(), values))
}

/// Reads one column, whichever encoding it has.
fn read_column(group: &H5Group, name: &str) -> Result<ColumnValues> {
    // A slash in a column's name made older versions nest groups.
    if let Some((outer, inner)) = name
        .split_once('/')
        .filter(|(outer, _)| group.has_group(outer))
    {
        return read_column(&group.group(outer)?, inner);
    }
    if group.has_group(name) {
        return read_encoded(&group.group(name)?);
    }
    let dataset = group.dataset(name)?;
    if group.has_group("__categories") {
        let categories = group.group("__categories")?;
        if categories.has_dataset(name) {
            return categorical(&dataset, read_dataset(&categories.dataset(name)?)?, false);
        }
    }
    read_dataset(&dataset)
}

/// A column that is a group: categorical, or values with a mask.
fn read_encoded(group: &H5Group) -> Result<ColumnValues> {
    match group.attr_text("encoding-type") {
        Some("categorical") => {
            let levels = read_column(group, "categories")?;
            categorical(
                &group.dataset("codes")?,
                levels,
                group.attr_is_true("ordered"),
            )
        }
        Some("nullable-integer" | "nullable-boolean" | "nullable-string-array") => {
            let values = read_dataset(&group.dataset("values")?)?;
            let mask = group.dataset("mask")?;
            let is_missing = mask.booleans()?;
            if is_missing.len() != values.len() {
                return Err(mask.bad(
                    format!("{} rows", is_missing.len()),
                    format!("{}, as many as there are values", values.len()),
                ));
            }
            let rows: Vec<Option<usize>> = is_missing
                .iter()
                .enumerate()
                .map(|(row, missing)| (!missing).then_some(row))
                .collect();
            Ok(values.take(&rows))
        }
        other => Err(Error::format(
            group.path(),
            group.place(),
            other.map_or("a group without encoding-type".to_string(), |kind| {
                format!("encoding {kind:?}")
            }),
            "categorical, nullable-integer, nullable-boolean or nullable-string-array",
        )),
    }
}

/// A column that is a plain dataset.
fn read_dataset(dataset: &H5Dataset) -> Result<ColumnValues> {
    if dataset.shape().len() != 1 {
        return Err(dataset.bad(
            format!("shape {:?}", dataset.shape()),
            "a column: one dimension",
        ));
    }
    Ok(match dataset.kind() {
        Kind::Text => ColumnValues::Text(dataset.texts()?.into_iter().map(Some).collect()),
        Kind::Boolean => ColumnValues::Boolean(dataset.booleans()?.into_iter().map(Some).collect()),
        Kind::Integer => match dataset.whole_numbers() {
            Ok(whole) => ColumnValues::of_whole_numbers(whole.into_iter().map(Some)),
            Err(_) => ColumnValues::Numeric(dataset.numbers()?),
        },
        _ => ColumnValues::Numeric(dataset.numbers()?),
    })
}

/// Codes into levels; a negative code is a missing value.
fn categorical(codes: &H5Dataset, levels: ColumnValues, ordered: bool) -> Result<ColumnValues> {
    let levels: Vec<String> = (0..levels.len())
        .map(|level| levels.text(level).unwrap_or_default())
        .collect();
    let mut rows = Vec::with_capacity(codes.len());
    for code in codes.integers()? {
        rows.push(match u32::try_from(code) {
            Ok(code) if (code as usize) < levels.len() => Some(code),
            Err(_) if code < 0 => None,
            _ => {
                return Err(codes.bad(
                    format!("code {code}"),
                    format!("codes under {}, the number of categories", levels.len()),
                ));
            }
        });
    }
    Ok(ColumnValues::Categorical {
        levels,
        codes: rows,
        ordered,
    })
}

/// The index as text; every row must have one.
fn texts(group: &H5Group, values: &ColumnValues, name: &str) -> Result<Vec<String>> {
    (0..values.len())
        .map(|row| {
            values.text(row).ok_or_else(|| {
                Error::format(
                    group.path(),
                    group.place_of(name),
                    format!("no id in row {}", row + 1),
                    "an id in every row",
                )
            })
        })
        .collect()
}

/// Builds the group of a data frame.
///
/// A slash cannot stand in the name of an HDF5 link; it is written as an underscore.
pub(super) fn write(name: &str, ids: &[String], columns: &[Column]) -> OutGroup {
    let mut group = OutGroup::new(name);
    let mut taken = BTreeSet::from(["_index".to_string()]);
    let mut order = Vec::with_capacity(columns.len());
    for column in columns {
        let link = link_name(&column.name, &taken);
        taken.insert(link.clone());
        write_column(&mut group, &link, &column.values);
        order.push(link);
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    write_texts(&mut group, "_index", &ids);
    group.attr("encoding-type", Attr::Text("dataframe"));
    group.attr("encoding-version", Attr::Text("0.2.0"));
    group.attr("_index", Attr::Text("_index"));
    group.attr("column-order", Attr::Texts(&order));
    group
}

/// A name that a link can have and that is not `taken`.
pub(super) fn link_name(name: &str, taken: &BTreeSet<String>) -> String {
    let mut link = name.replace(['/', '\0'], "_");
    if link.is_empty() || link == "." {
        link = "unnamed".to_string();
    }
    let stem = link.clone();
    let mut count = 2;
    while taken.contains(&link) {
        link = format!("{stem}_{count}");
        count += 1;
    }
    link
}

/// Writes a column in the encoding that the most versions of anndata read.
///
/// Text with missing values becomes categorical, as anndata itself makes it when it writes:
/// its nullable text is younger (0.11).
fn write_column(group: &mut OutGroup, name: &str, values: &ColumnValues) {
    match values {
        ColumnValues::Numeric(values) => {
            write_array(group, name, Numbers::F64(values), values.len())
        }
        ColumnValues::Categorical {
            levels,
            codes,
            ordered,
        } => write_categorical(group, name, levels, codes, *ordered),
        ColumnValues::Text(values) => {
            let present: Option<Vec<&str>> = values.iter().map(Option::as_deref).collect();
            if let Some(texts) = present {
                write_texts(group, name, &texts);
                return;
            }
            let levels: BTreeSet<&String> = values.iter().flatten().collect();
            let levels: Vec<String> = levels.into_iter().cloned().collect();
            let code = |text: &String| {
                levels
                    .binary_search(text)
                    .expect("every text was collected into the levels") as u32
            };
            let codes: Vec<Option<u32>> =
                values.iter().map(|text| text.as_ref().map(code)).collect();
            write_categorical(group, name, &levels, &codes, false);
        }
        ColumnValues::Boolean(values) => {
            let known: Vec<bool> = values.iter().map(|value| value.unwrap_or(false)).collect();
            if values.iter().all(Option::is_some) {
                write_array(group, name, Numbers::Boolean(&known), known.len());
                return;
            }
            let missing: Vec<bool> = values.iter().map(Option::is_none).collect();
            let mut nullable = OutGroup::new(name);
            nullable.attr("encoding-type", Attr::Text("nullable-boolean"));
            nullable.attr("encoding-version", Attr::Text("0.1.0"));
            write_array(
                &mut nullable,
                "values",
                Numbers::Boolean(&known),
                known.len(),
            );
            write_array(
                &mut nullable,
                "mask",
                Numbers::Boolean(&missing),
                missing.len(),
            );
            group.add(nullable);
        }
    }
}

fn write_categorical(
    group: &mut OutGroup,
    name: &str,
    levels: &[String],
    codes: &[Option<u32>],
    ordered: bool,
) {
    let mut categorical = OutGroup::new(name);
    categorical.attr("encoding-type", Attr::Text("categorical"));
    categorical.attr("encoding-version", Attr::Text("0.2.0"));
    categorical.attr("ordered", Attr::Integer(ordered.into()));
    let levels: Vec<&str> = levels.iter().map(String::as_str).collect();
    write_texts(&mut categorical, "categories", &levels);
    let codes: Vec<i32> = codes
        .iter()
        .map(|code| code.map_or(-1, |code| code as i32))
        .collect();
    write_array(&mut categorical, "codes", Numbers::I32(&codes), codes.len());
    group.add(categorical);
}

fn write_array(group: &mut OutGroup, name: &str, numbers: Numbers<'_>, n: usize) {
    group
        .numbers(name, &[n], numbers)
        .attr("encoding-type", Attr::Text("array"))
        .attr("encoding-version", Attr::Text("0.2.0"));
}

/// Writes a list of texts.
pub(super) fn write_texts(group: &mut OutGroup, name: &str, texts: &[&str]) {
    group
        .texts(name, &[texts.len()], texts)
        .attr("encoding-type", Attr::Text("string-array"))
        .attr("encoding-version", Attr::Text("0.2.0"));
}

//! `uns` of h5ad: nested facts about the whole table, as JSON values.
//!
//! Text, numbers, truth values, lists of one of these, and nested maps have their own encodings.
//! A missing number is `NaN` in the file and `null` here. A list of anything else is written as
//! its JSON text.

use super::frame::{link_name, write_texts};
use crate::Result;
use crate::format::hdf5::{Attr, H5Dataset, H5Group, Kind, Numbers, OutGroup};
use serde_json::{Map, Number, Value};
use std::collections::BTreeSet;

/// Groups nested deeper than this are not followed: links may form a circle.
const MAX_DEPTH: usize = 16;

/// Lists longer than this are data, not facts, and stay in the file.
const MAX_LIST: usize = 1 << 20;

/// Reads a map; members that are not facts (data frames, matrices) are left out.
///
/// # Errors
/// Damaged storage.
pub(super) fn read(group: &H5Group) -> Result<Map<String, Value>> {
    read_nested(group, MAX_DEPTH)
}

fn read_nested(group: &H5Group, depth: usize) -> Result<Map<String, Value>> {
    let mut map = Map::new();
    for name in group.datasets() {
        if let Some(value) = read_value(&group.dataset(name)?)? {
            map.insert(name.clone(), value);
        }
    }
    if depth > 0 {
        for name in group.groups() {
            let inner = group.group(name)?;
            if matches!(inner.attr_text("encoding-type"), None | Some("dict")) {
                map.insert(name.clone(), Value::Object(read_nested(&inner, depth - 1)?));
            }
        }
    }
    Ok(map)
}

/// Adds the places of what [`read`] leaves out.
///
/// - `place`: of the group
///
/// # Errors
/// Damaged storage.
pub(super) fn not_read(group: &H5Group, place: &str, parts: &mut Vec<String>) -> Result<()> {
    for name in group.datasets() {
        if read_value(&group.dataset(name)?)?.is_none() {
            parts.push(format!("{place}/{name}"));
        }
    }
    for name in group.groups() {
        let inner = group.group(name)?;
        let place = format!("{place}/{name}");
        let is_map = matches!(inner.attr_text("encoding-type"), None | Some("dict"));
        match is_map && place.matches('/').count() <= MAX_DEPTH {
            true => not_read(&inner, &place, parts)?,
            false => parts.push(place),
        }
    }
    Ok(())
}

/// One fact, or `None` for something else.
fn read_value(dataset: &H5Dataset) -> Result<Option<Value>> {
    let is_list = match dataset.shape() {
        [] => false,
        [length] if *length <= MAX_LIST => true,
        _ => return Ok(None),
    };
    let mut values: Vec<Value> = match dataset.kind() {
        Kind::Text => dataset.texts()?.into_iter().map(Value::String).collect(),
        Kind::Boolean => dataset.booleans()?.into_iter().map(Value::Bool).collect(),
        Kind::Integer => dataset.whole_numbers()?.into_iter().map(whole).collect(),
        Kind::Float => dataset.numbers()?.into_iter().map(number).collect(),
        Kind::Other(_) => return Ok(None),
    };
    if is_list {
        return Ok(Some(Value::Array(values)));
    }
    Ok(values.pop())
}

fn whole(number: i128) -> Value {
    match u64::try_from(number) {
        Ok(number) => Value::from(number),
        Err(_) => Value::from(number as i64), // a negative one is no larger than that in a file
    }
}

/// JSON has no infinity: it becomes its name.
fn number(value: f64) -> Value {
    if value.is_infinite() {
        return Value::String(value.to_string());
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// Builds the group of a map.
pub(super) fn write(name: &str, map: &Map<String, Value>) -> OutGroup {
    let mut group = OutGroup::new(name);
    group.attr("encoding-type", Attr::Text("dict"));
    group.attr("encoding-version", Attr::Text("0.1.0"));
    let mut taken = BTreeSet::new();
    for (key, value) in map {
        let link = link_name(key, &taken);
        write_value(&mut group, &link, value);
        taken.insert(link);
    }
    group
}

fn write_value(group: &mut OutGroup, name: &str, value: &Value) {
    match value {
        Value::Null => write_scalar(group, name, Numbers::F64(&[f64::NAN])),
        Value::Bool(value) => write_scalar(group, name, Numbers::Boolean(&[*value])),
        Value::Number(number) => match number.as_i64() {
            Some(value) => write_scalar(group, name, Numbers::I64(&[value])),
            None => {
                write_scalar(
                    group,
                    name,
                    Numbers::F64(&[number.as_f64().unwrap_or(f64::NAN)]),
                );
            }
        },
        Value::String(text) => write_text(group, name, text),
        Value::Object(map) => group.add(write(name, map)),
        Value::Array(values) => write_list(group, name, values),
    }
}

fn write_list(group: &mut OutGroup, name: &str, values: &[Value]) {
    let texts: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
    let integers: Option<Vec<i64>> = values.iter().map(Value::as_i64).collect();
    let booleans: Option<Vec<bool>> = values.iter().map(Value::as_bool).collect();
    let floats: Option<Vec<f64>> = values
        .iter()
        .map(|value| {
            if value.is_null() {
                Some(f64::NAN)
            } else {
                value.as_f64()
            }
        })
        .collect();
    let numbers = match (texts, &integers, &booleans, &floats) {
        (Some(texts), ..) if !texts.is_empty() => {
            write_texts(group, name, &texts);
            return;
        }
        (_, Some(values), ..) if !values.is_empty() => Numbers::I64(values),
        (_, _, Some(values), _) if !values.is_empty() => Numbers::Boolean(values),
        (.., Some(values)) => Numbers::F64(values),
        _ => {
            write_text(group, name, &Value::Array(values.to_vec()).to_string());
            return;
        }
    };
    group
        .numbers(name, &[values.len()], numbers)
        .attr("encoding-type", Attr::Text("array"))
        .attr("encoding-version", Attr::Text("0.2.0"));
}

fn write_text(group: &mut OutGroup, name: &str, text: &str) {
    group
        .texts(name, &[], &[text])
        .attr("encoding-type", Attr::Text("string"))
        .attr("encoding-version", Attr::Text("0.2.0"));
}

fn write_scalar(group: &mut OutGroup, name: &str, value: Numbers<'_>) {
    group
        .numbers(name, &[], value)
        .attr("encoding-type", Attr::Text("numeric-scalar"))
        .attr("encoding-version", Attr::Text("0.2.0"));
}

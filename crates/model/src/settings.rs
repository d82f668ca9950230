//! Settings of a system as TOML, with single keys replaced from the command line.

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;

/// Bound of every count, against slips of the keyboard and hostile files.
pub(crate) const LARGEST: usize = 10_000_000;

/// Reads TOML in which every key of `T` must stand, then replaces keys: `("dat.width", "64")`.
///
/// # Errors
/// An unknown or missing key, a value of the wrong type; `origin` is named.
pub(crate) fn parse<T: DeserializeOwned>(
    text: &str,
    overrides: &[(String, String)],
    origin: &str,
) -> Result<T> {
    let problem = |problem: String| Error::Config {
        origin: origin.to_string(),
        problem,
    };
    let mut table: toml::Table = text.parse().map_err(|error| problem(format!("{error}")))?;
    for (key, value) in overrides {
        let parsed = format!("v = {value}")
            .parse::<toml::Table>()
            .ok()
            .and_then(|mut t| t.remove("v"));
        let value = parsed.unwrap_or_else(|| toml::Value::String(value.clone()));
        let mut place = &mut table;
        let mut parts: Vec<&str> = key.split('.').collect();
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            place = place
                .get_mut(part)
                .and_then(|value| value.as_table_mut())
                .ok_or_else(|| problem(format!("no section {part:?} for the setting {key:?}")))?;
        }
        if !place.contains_key(last) {
            let known: Vec<String> = place.keys().cloned().collect();
            return Err(problem(format!(
                "no setting {key:?}; known here: {}",
                known.join(", ")
            )));
        }
        place.insert(last.to_string(), value);
    }
    table
        .try_into()
        .map_err(|error| problem(format!("{error}")))
}

/// Says what is wrong with counts and numbers that must lie within limits.
pub(crate) fn check(
    counts: &[(&str, usize)],
    limits: &[(&str, f64, f64, f64)],
) -> std::result::Result<(), String> {
    for (name, value) in counts {
        if !(1..=LARGEST).contains(value) {
            return Err(format!(
                "{name} is {value}, must lie between 1 and {LARGEST}"
            ));
        }
    }
    for (name, value, least, most) in limits {
        if !(least..=most).contains(&value) {
            return Err(format!(
                "{name} is {value}, must lie between {least} and {most}"
            ));
        }
    }
    Ok(())
}

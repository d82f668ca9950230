//! Which samples are compared with which: two values of a metadata column.

use super::Options;
use crate::{Error, Result};
use std::collections::BTreeSet;
use suffuse_data::Metadata;
use suffuse_data::metadata_tsv::is_missing;
use suffuse_stats::differential::Group;

/// Values that a message lists.
const MAX_LISTED: usize = 20;

/// The two groups, sorted by name unless chosen, and the group of each sample that is in one.
///
/// # Errors
/// No such column, a column that does not have two values, levels that it lacks.
pub(super) fn labels(
    metadata: &Metadata,
    options: &Options,
) -> Result<([String; 2], Vec<Option<Group>>)> {
    let name = &options.group;
    let Some(column) = metadata.column(name) else {
        return Err(Error::Usage(format!(
            "--group {name}: no metadata column of this name; {}",
            metadata.columns_in_words()
        )));
    };
    let n_samples = column.values.len();
    let values: Vec<Option<String>> = (0..n_samples)
        .map(|row| column.values.text(row).filter(|value| !is_missing(value)))
        .collect();
    let known: BTreeSet<&String> = values.iter().flatten().collect();
    let listed = || {
        let shown: Vec<String> = known
            .iter()
            .take(MAX_LISTED)
            .map(|v| format!("{v:?}"))
            .collect();
        let more = match known.len().saturating_sub(MAX_LISTED) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        format!("{}{more}", shown.join(", "))
    };
    let levels: [String; 2] = match &options.levels {
        Some(levels) => {
            if let Some(strange) = levels.iter().find(|level| !known.contains(level)) {
                return Err(Error::Usage(format!(
                    "--levels: found {strange:?}, expected two of the values of column {name:?}: {}",
                    listed()
                )));
            }
            levels.clone()
        }
        None => {
            let found: Vec<String> = known.iter().map(|v| v.to_string()).collect();
            found.try_into().map_err(|found: Vec<String>| {
                Error::Usage(format!(
                    "--group {name}: found {} values, expected 2: {}; {}",
                    found.len(),
                    listed(),
                    match found.len() {
                        0 | 1 => "name another column",
                        _ => "choose two with --levels A,B",
                    }
                ))
            })?
        }
    };
    let group_of = |value: &Option<String>| match value {
        Some(value) if *value == levels[0] => Some(Group::First),
        Some(value) if *value == levels[1] => Some(Group::Second),
        _ => None,
    };
    let labels = values.iter().map(group_of).collect();
    Ok((levels, labels))
}

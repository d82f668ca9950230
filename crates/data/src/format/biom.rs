//! BIOM tables: version 2.1 (HDF5) and 1.0 (JSON).
//!
//! Specification: <http://biom-format.org/documentation/biom_format.html>. A BIOM table has
//! observations in rows and samples in columns; here it is turned over.
//!
//! | BIOM | [`Table`] |
//! |---|---|
//! | sample ids and metadata | `sample_ids`, `sample_metadata` |
//! | observation ids and metadata | `feature_ids`, `feature_metadata` |
//! | observation metadata `taxonomy` | `taxonomy` |
//! | matrix | entries; `NaN` (JSON: `null`) is not measured |
//!
//! BIOM has no missing metadata value: an empty text is read as missing, and missing is written as
//! an empty text. Group metadata (trees in the file) is not read; layers, `obsm` and `uns` have no
//! place in BIOM and are not written.

pub mod hdf5;
pub mod json;

use crate::{Column, ColumnValues, Metadata, Result, Table, Taxonomy};
use std::time::{SystemTime, UNIX_EPOCH};

/// Name of the metadata that holds lineages.
const TAXONOMY: &str = "taxonomy";

/// What stands in `generated-by`.
const GENERATED_BY: &str = concat!("suffuse ", env!("CARGO_PKG_VERSION"));

/// What stands in `format-url`.
const FORMAT_URL: &str = "http://biom-format.org";

/// The kind of table; BIOM has a closed list and this one fits features of any origin.
const TABLE_TYPE: &str = "OTU table";

/// Metadata of the features as read: columns, and lineages cell by cell.
#[derive(Default)]
struct FeatureFacts {
    columns: Vec<Column>,
    lineages: Option<Vec<Vec<String>>>,
}

impl FeatureFacts {
    /// Gives them to a table.
    fn attach(self, table: &mut Table) -> Result<()> {
        table.feature_metadata = Metadata::new(table.feature_ids().to_vec(), self.columns)?;
        if let Some(lineages) = self.lineages {
            let texts: Vec<String> = lineages.iter().map(|lineage| joined(lineage)).collect();
            table.taxonomy = Some(Taxonomy::parse(&texts));
        }
        Ok(())
    }
}

/// The cells of a lineage as one text; cells that pad a short lineage are left out.
fn joined(cells: &[String]) -> String {
    let length = cells
        .iter()
        .rposition(|cell| !cell.trim().is_empty())
        .map_or(0, |last| last + 1);
    cells[..length].join("; ")
}

/// The lineage of a feature, rank by rank with the marks (`k__`) that BIOM tables carry.
fn lineage_cells(taxonomy: &Taxonomy, feature: usize) -> Vec<String> {
    taxonomy
        .lineage_text(feature)
        .split("; ")
        .map(str::to_string)
        .collect()
}

/// Text as read: empty is missing.
fn text_column(name: String, texts: Vec<String>) -> Column {
    let texts = texts
        .into_iter()
        .map(|text| (!text.is_empty()).then_some(text))
        .collect();
    Column {
        name,
        values: ColumnValues::Text(texts),
    }
}

/// A moment as `2026-01-31T12:00:00` (UTC), the form that `creation-date` has.
fn iso_8601(moment: SystemTime) -> String {
    let seconds = moment
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Civil date from a day count, eras of 400 years that start in March
    // (H. Hinnant, "chrono-compatible low-level date algorithms", civil_from_days).
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn moments_are_written_as_python_writes_them() {
        // datetime.fromtimestamp(s, timezone.utc).isoformat() of Python 3.12.
        let cases = [
            (0, "1970-01-01T00:00:00"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_709_251_199, "2024-02-29T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(
                iso_8601(UNIX_EPOCH + Duration::from_secs(seconds)),
                expected
            );
        }
    }
}

//! Removes a seeded part of the metadata, to measure how much a condition is worth.

use super::{Error, Result};
use sha2::{Digest, Sha256};
use suffuse_data::{Column, ColumnValues, Metadata};

/// The same metadata with about a fraction `keep` of its cells, the others made missing.
///
/// A cell is kept where a uniform number of `[0, 1)`, a hash of (seed, row id, column name), lies
/// below `keep`. So the choice does not depend on the order of rows or columns, and with one seed
/// the cells kept at 25 % are also kept at 50 %.
///
/// # Errors
/// `keep` is not a number from 0 to 1.
pub fn thin_metadata(metadata: &Metadata, keep: f64, seed: u64) -> Result<Metadata> {
    if !(0.0..=1.0).contains(&keep) {
        return Err(Error::KeepFraction(keep));
    }
    let columns = metadata
        .columns()
        .iter()
        .map(|column| {
            let is_kept: Vec<bool> = metadata
                .ids()
                .iter()
                .map(|id| cell_uniform(seed, id, &column.name) < keep)
                .collect();
            Column {
                name: column.name.clone(),
                values: keep_cells(&column.values, &is_kept),
            }
        })
        .collect();
    Ok(Metadata::new(metadata.ids().to_vec(), columns)?)
}

/// The column with a missing value where `is_kept` is false.
fn keep_cells(values: &ColumnValues, is_kept: &[bool]) -> ColumnValues {
    let rows: Vec<Option<usize>> = is_kept
        .iter()
        .enumerate()
        .map(|(row, is_kept)| is_kept.then_some(row))
        .collect();
    values.take(&rows)
}

/// A number of `[0, 1)` with 53 random bits, fixed by seed, row and column.
fn cell_uniform(seed: u64, id: &str, column: &str) -> f64 {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    // The length keeps ("ab", "c") and ("a", "bc") apart.
    hash.update((id.len() as u64).to_le_bytes());
    hash.update(id);
    hash.update(column);
    let digest = hash.finalize();
    let bits = digest[..8]
        .iter()
        .fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(n: usize) -> Metadata {
        let ids = (0..n).map(|i| format!("s{i}")).collect();
        let columns = vec![
            Column {
                name: "age".into(),
                values: ColumnValues::Numeric((0..n).map(|i| i as f64).collect()),
            },
            Column {
                name: "sick".into(),
                values: ColumnValues::Boolean(vec![Some(true); n]),
            },
        ];
        Metadata::new(ids, columns).unwrap()
    }

    fn kept(metadata: &Metadata) -> Vec<bool> {
        metadata
            .columns()
            .iter()
            .flat_map(|column| {
                (0..metadata.ids().len()).map(|row| column.values.text(row).is_some())
            })
            .collect()
    }

    #[test]
    fn the_fraction_kept_is_near_the_one_asked_for_and_smaller_ones_are_contained_in_larger_ones() {
        let full = metadata(1000);
        let quarter = kept(&thin_metadata(&full, 0.25, 3).unwrap());
        let half = kept(&thin_metadata(&full, 0.5, 3).unwrap());
        // 2000 cells: the standard deviation of the share is sqrt(.25 * .75 / 2000) = .0097.
        let share = |kept: &[bool]| kept.iter().filter(|k| **k).count() as f64 / kept.len() as f64;
        assert!((share(&quarter) - 0.25).abs() < 0.04);
        assert!((share(&half) - 0.5).abs() < 0.04);
        assert!(
            quarter
                .iter()
                .zip(&half)
                .all(|(quarter, half)| !quarter || *half)
        );
        assert!(
            quarter[..1000] != quarter[1000..],
            "columns are thinned independently"
        );
    }

    #[test]
    fn all_or_nothing_is_kept_at_the_ends_and_the_seed_decides_between() {
        let full = metadata(50);
        assert_eq!(thin_metadata(&full, 1.0, 0).unwrap(), full);
        assert!(
            kept(&thin_metadata(&full, 0.0, 0).unwrap())
                .iter()
                .all(|kept| !kept)
        );
        let of = |seed| kept(&thin_metadata(&full, 0.5, seed).unwrap());
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn the_choice_for_a_row_does_not_depend_on_its_place() {
        let full = metadata(20);
        let reversed: Vec<String> = full.ids().iter().rev().cloned().collect();
        let thinned_then_moved = thin_metadata(&full, 0.5, 9).unwrap().align(&reversed);
        let moved_then_thinned = thin_metadata(&full.align(&reversed), 0.5, 9).unwrap();
        assert_eq!(kept(&thinned_then_moved), kept(&moved_then_thinned));
    }

    #[test]
    fn a_fraction_outside_its_range_is_refused() {
        for keep in [-0.1, 1.1, f64::NAN] {
            assert!(matches!(
                thin_metadata(&metadata(2), keep, 0),
                Err(Error::KeepFraction(_))
            ));
        }
    }
}

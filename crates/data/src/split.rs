//! Splits into training, validation and test samples that never part a group.
//!
//! A group is a patient, subject or family: what one of its samples shows of another must not help
//! a score.

use crate::metadata_tsv::is_missing;
use crate::seeded::seeded;
use crate::{Error, Metadata, Result};
use rand::RngExt;
use std::collections::HashMap;

/// One fold of a cross-validation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// Samples to fit on, rising.
    pub train: Vec<usize>,
    /// Samples to score, rising.
    pub test: Vec<usize>,
}

/// A split in two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Samples to fit on, rising.
    pub train: Vec<usize>,
    /// Samples to choose or stop by, rising.
    pub validation: Vec<usize>,
}

/// The group of each sample by a metadata column; a missing value ("", "NA", ...) is a group of its
/// own.
///
/// # Errors
/// No column of this name.
pub fn groups(metadata: &Metadata, column: &str) -> Result<Vec<usize>> {
    let values = &metadata
        .column(column)
        .ok_or_else(|| Error::no_column(metadata, column, "to group by"))?
        .values;
    let mut group_of: HashMap<String, usize> = HashMap::new();
    let mut n_groups = 0;
    Ok((0..values.len())
        .map(|row| {
            let mut fresh = || {
                n_groups += 1;
                n_groups - 1
            };
            match values.text(row) {
                Some(value) if !is_missing(&value) => *group_of.entry(value).or_insert_with(fresh),
                _ => fresh(),
            }
        })
        .collect())
}

/// Every sample as a group of its own.
pub fn ungrouped(n_samples: usize) -> Vec<usize> {
    (0..n_samples).collect()
}

/// Cross-validation: every sample is tested once, groups stay whole, and folds are of about equal
/// size (the largest groups are dealt first, each to the smallest fold; the seed breaks ties).
///
/// `groups[i]` is the group of sample `i`, as [`groups`] gives it.
///
/// # Errors
/// Fewer than two folds, or fewer groups than folds.
pub fn k_folds(groups: &[usize], n_folds: usize, seed: u64) -> Result<Vec<Fold>> {
    let mut members = shuffled_groups(groups, seed, "split/k_folds");
    if n_folds < 2 || members.len() < n_folds {
        return Err(Error::Invalid(format!(
            "cannot make {n_folds} folds of {} groups ({} samples); take from 2 folds to one per \
             group",
            members.len(),
            groups.len()
        )));
    }
    members.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let mut tests: Vec<Vec<usize>> = vec![Vec::new(); n_folds];
    for group in members {
        let smallest = tests
            .iter_mut()
            .min_by_key(|test| test.len())
            .expect("there are two folds or more");
        smallest.extend(group);
    }
    Ok(tests
        .into_iter()
        .map(|mut test| {
            test.sort_unstable();
            Fold {
                train: others(groups.len(), &test),
                test,
            }
        })
        .collect())
}

/// Training and validation: groups are drawn until the validation part has about `fraction` of the
/// samples, and at least one group.
///
/// # Errors
/// A fraction that is not between 0 and 1, or fewer than two groups.
pub fn train_validation(groups: &[usize], fraction: f64, seed: u64) -> Result<Split> {
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(Error::Invalid(format!(
            "validation fraction {fraction}: must lie between 0 and 1"
        )));
    }
    let members = shuffled_groups(groups, seed, "split/train_validation");
    if members.len() < 2 {
        return Err(Error::Invalid(format!(
            "cannot set samples aside for validation: all {} belong to one group",
            groups.len()
        )));
    }
    let wanted = (fraction * groups.len() as f64).round() as usize;
    let mut validation: Vec<usize> = Vec::new();
    // The last group is never taken, so that something is left to train on.
    for group in &members[..members.len() - 1] {
        if validation.len() + group.len() <= wanted {
            validation.extend(group);
        }
    }
    if validation.is_empty() {
        let smallest = members.iter().min_by_key(|group| group.len());
        validation.clone_from(smallest.expect("there are two groups or more"));
    }
    validation.sort_unstable();
    Ok(Split {
        train: others(groups.len(), &validation),
        validation,
    })
}

/// Members of each group; the groups in seeded order.
fn shuffled_groups(groups: &[usize], seed: u64, purpose: &str) -> Vec<Vec<usize>> {
    let mut position_of: HashMap<usize, usize> = HashMap::new();
    let mut members: Vec<Vec<usize>> = Vec::new();
    for (sample, group) in groups.iter().enumerate() {
        let position = *position_of.entry(*group).or_insert_with(|| {
            members.push(Vec::new());
            members.len() - 1
        });
        members[position].push(sample);
    }
    let mut generator = seeded(seed, purpose);
    for last in (1..members.len()).rev() {
        members.swap(last, generator.random_range(0..=last));
    }
    members
}

/// Samples that are not in `taken`, which rises.
fn others(n_samples: usize, taken: &[usize]) -> Vec<usize> {
    (0..n_samples)
        .filter(|sample| taken.binary_search(sample).is_err())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Column, ColumnValues};
    use proptest::prelude::*;

    #[test]
    fn a_missing_group_is_a_group_of_its_own() {
        let values = [Some("p"), None, Some("q"), Some("p"), Some("")].map(|v| v.map(String::from));
        let column = Column {
            name: "patient".into(),
            values: ColumnValues::Text(values.to_vec()),
        };
        let ids = (0..5).map(|i| i.to_string()).collect();
        let metadata = Metadata::new(ids, vec![column]).unwrap();
        assert_eq!(groups(&metadata, "patient").unwrap(), [0, 1, 2, 0, 3]);
        let m = groups(&metadata, "subject").unwrap_err().to_string();
        assert!(m.contains("subject") && m.contains("patient"), "{m}");
    }

    #[test]
    fn too_few_groups_are_refused() {
        assert!(k_folds(&[0, 0, 1, 1], 3, 1).is_err());
        assert!(k_folds(&[0, 1], 1, 1).is_err());
        assert!(train_validation(&[0, 0, 0], 0.3, 1).is_err());
        assert!(train_validation(&[0, 1], 1.0, 1).is_err());
    }

    #[test]
    fn splits_follow_the_seed() {
        let groups = ungrouped(50);
        assert_eq!(
            k_folds(&groups, 5, 1).unwrap(),
            k_folds(&groups, 5, 1).unwrap()
        );
        assert_ne!(
            k_folds(&groups, 5, 1).unwrap(),
            k_folds(&groups, 5, 2).unwrap()
        );
        assert_eq!(
            train_validation(&groups, 0.2, 1).unwrap().validation.len(),
            10
        );
    }

    proptest! {
        #[test]
        fn folds_test_every_sample_once_and_part_no_group(
            groups in proptest::collection::vec(0usize..12, 20..80),
            n_folds in 2usize..5,
            seed in any::<u64>(),
        ) {
            prop_assume!(groups.iter().collect::<std::collections::HashSet<_>>().len() >= n_folds);
            let folds = k_folds(&groups, n_folds, seed).unwrap();
            let mut tested: Vec<usize> = folds.iter().flat_map(|fold| fold.test.clone()).collect();
            tested.sort_unstable();
            prop_assert_eq!(tested, (0..groups.len()).collect::<Vec<_>>());
            let largest = groups.iter().map(|g| groups.iter().filter(|o| *o == g).count()).max().unwrap();
            let sizes: Vec<usize> = folds.iter().map(|fold| fold.test.len()).collect();
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= largest);
            for fold in &folds {
                prop_assert_eq!(fold.train.len() + fold.test.len(), groups.len());
                prop_assert!(fold.train.iter().all(|a| fold.test.iter().all(|b| groups[*a] != groups[*b])));
            }
        }

        #[test]
        fn validation_parts_no_group_and_leaves_some_to_train_on(
            groups in proptest::collection::vec(0usize..6, 10..60),
            fraction in 0.01..0.99,
            seed in any::<u64>(),
        ) {
            prop_assume!(groups.iter().any(|group| *group != groups[0]));
            let split = train_validation(&groups, fraction, seed).unwrap();
            prop_assert!(!split.train.is_empty() && !split.validation.is_empty());
            prop_assert_eq!(split.train.len() + split.validation.len(), groups.len());
            prop_assert!(split.train.iter().all(|a| split.validation.iter().all(|b| groups[*a] != groups[*b])));
        }
    }
}

//! Learning from other cohorts alone: what a model says of samples of a study that it has seen nothing of.

use super::trial::Learn;
use crate::{Error, Result};
use std::collections::HashSet;
use suffuse_data::Table;
use suffuse_data::select::{align_features, drop_empty_samples};

/// The samples of other cohorts as one table of the target's features, without metadata. Features that a
/// cohort lacks are not measured there; samples without a non-zero entry are left out.
///
/// # Errors
/// A cohort without a common feature or without an entry above zero, a sample id that stands in two of them or in the target.
pub fn pooled(cohorts: &[Table], target: &Table) -> Result<Learn> {
    let features = target.feature_ids();
    let mut seen: HashSet<String> = target.sample_ids().iter().cloned().collect();
    let (mut ids, mut dense) = (Vec::new(), Vec::new());
    for (number, cohort) in cohorts.iter().enumerate() {
        let (aligned, _) = align_features(cohort, features)?;
        let (aligned, _) = drop_empty_samples(&aligned)?;
        for id in aligned.sample_ids() {
            if !seen.insert(id.clone()) {
                return Err(Error::Table(format!(
                    "sample {id:?} of table {} to learn from stands in the table or in another one; \
                     leave it out there: what is scored must not be learned from",
                    number + 1
                )));
            }
            ids.push(id.clone());
        }
        dense.extend(aligned.to_dense());
    }
    Ok(Learn {
        table: Table::from_dense(ids, features.to_vec(), &dense)?,
        groups: None,
        times: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(samples: &[&str], features: &[&str], dense: &[f64]) -> Table {
        let owned = |ids: &[&str]| ids.iter().map(ToString::to_string).collect();
        Table::from_dense(owned(samples), owned(features), dense).unwrap()
    }

    #[test]
    fn cohorts_are_joined_on_the_features_of_the_target() {
        let target = table(&["t"], &["a", "b"], &[1.0, 1.0]);
        let one = table(
            &["x", "empty"],
            &["b", "a", "c"],
            &[2.0, 1.0, 9.0, 0.0, 0.0, 4.0],
        );
        let two = table(&["y"], &["b"], &[5.0]);
        let learn = pooled(&[one, two], &target).unwrap().table;
        assert_eq!(learn.sample_ids(), ["x", "y"]);
        assert_eq!(learn.dense_row(0), [1.0, 2.0]);
        let second = learn.dense_row(1);
        assert!(second[0].is_nan() && second[1] == 5.0);
    }

    #[test]
    fn a_sample_of_the_target_is_refused() {
        let target = table(&["t"], &["a"], &[1.0]);
        let error = pooled(&[table(&["t"], &["a"], &[2.0])], &target).unwrap_err();
        assert!(error.to_string().contains("\"t\""), "{error}");
        let empty = pooled(&[table(&["u"], &["a"], &[0.0])], &target).unwrap_err();
        assert!(empty.to_string().contains("above zero"), "{empty}");
    }
}

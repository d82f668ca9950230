//! Which samples stand on which side.

use crate::{Error, Result};
use rand::RngExt;
use std::collections::BTreeSet;
use suffuse_data::seeded::seeded;
use suffuse_data::split::k_folds;

/// Real samples in two sets that share no subject, as REAL and TRAIN are.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Split {
    /// In the place of REAL.
    pub(super) real: Vec<usize>,
    /// In the place of SYNTH: drawn from the others.
    pub(super) other: Vec<usize>,
    /// In the place of SYNTH and of TRAIN where a label is learned: from the others as well, without a sample in
    /// both. Halves of the others where they are fewer than `2 n`.
    pub(super) labelled: Vec<usize>,
    pub(super) train: Vec<usize>,
}

/// `n` of the rows at random, rising.
pub(super) fn draw(rows: &[usize], n: usize, seed: u64, purpose: &str) -> Vec<usize> {
    let mut rows = rows.to_vec();
    let mut generator = seeded(seed, purpose);
    for at in 0..n.min(rows.len()) {
        let other = generator.random_range(at..rows.len());
        rows.swap(at, other);
    }
    rows.truncate(n);
    rows.sort_unstable();
    rows
}

/// The `k`-th random split of `rows` into sets of `n`.
///
/// - `subjects`: of every sample, by row
///
/// # Errors
/// Subjects with so many samples that no two sets of `n` can be parted.
pub(super) fn split(
    rows: &[usize],
    subjects: &[usize],
    n: usize,
    seed: u64,
    k: usize,
) -> Result<Split> {
    let purpose = |what: &str| format!("compare/split/{k}/{what}");
    let mut ids: Vec<usize> = rows.iter().map(|row| subjects[*row]).collect();
    ids.sort_unstable();
    ids.dedup();
    let order = {
        let mut generator = seeded(seed, &purpose("subjects"));
        let mut order = ids.clone();
        for last in (1..order.len()).rev() {
            order.swap(last, generator.random_range(0..=last));
        }
        order
    };
    let mut members = vec![Vec::new(); ids.last().map_or(0, |last| last + 1)];
    for row in rows {
        members[subjects[*row]].push(*row);
    }
    let (mut first, mut rest): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    let mut n_left = rows.len();
    for subject in order {
        let own = &members[subject];
        // A subject goes to the first set while that lacks samples and enough remain for the other.
        if first.len() < n && n_left - own.len() >= n {
            first.extend(own);
            n_left -= own.len();
        } else {
            rest.extend(own);
        }
    }
    if first.len() < n || rest.len() < n {
        return Err(Error::Table(format!(
            "{} real samples of {} subjects cannot be parted into two sets of {n} without a subject in both; give a smaller --samples, or another --group",
            rows.len(),
            ids.len()
        )));
    }
    let other = draw(&rest, n, seed, &purpose("other"));
    let n_labelled = n.min(rest.len() / 2);
    let labelled = draw(&other, n_labelled, seed, &purpose("labelled"));
    let unused: Vec<usize> = rest
        .into_iter()
        .filter(|row| labelled.binary_search(row).is_err())
        .collect();
    Ok(Split {
        real: draw(&first, n, seed, &purpose("real")),
        train: draw(&unused, n_labelled, seed, &purpose("train")),
        other,
        labelled,
    })
}

/// Folds of the cross-validation.
pub(super) const N_FOLDS: usize = 5;

/// The fold of each row of two sets, one after the other; a subject stays in one, and each fold has its
/// share of both sets.
///
/// # Errors
/// Fewer subjects than folds.
pub(super) fn folds(sets: [&[usize]; 2], subjects: &[usize], seed: u64) -> Result<Vec<usize>> {
    let mut fold_of = Vec::new();
    for rows in sets {
        let own: Vec<usize> = rows.iter().map(|row| subjects[*row]).collect();
        let n_subjects = own.iter().collect::<BTreeSet<_>>().len();
        if n_subjects < N_FOLDS {
            return Err(Error::Table(format!(
                "--group: found {n_subjects} subjects among {} samples of one side, expected at least {N_FOLDS}: a subject is never both learned from and tested; give samples of more subjects, or leave --group out",
                rows.len()
            )));
        }
        let mut of_set = vec![0; rows.len()];
        for (fold, part) in k_folds(&own, N_FOLDS, seed)?.into_iter().enumerate() {
            part.test.iter().for_each(|at| of_set[*at] = fold);
        }
        fold_of.extend(of_set);
    }
    Ok(fold_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_have_their_size_and_share_no_subject() {
        // Subjects of 1 to 7 samples.
        let subjects: Vec<usize> = (0..28).flat_map(|s| vec![s; 1 + s % 7]).collect();
        let rows: Vec<usize> = (0..subjects.len()).collect();
        let mut seen = BTreeSet::new();
        for k in 0..20 {
            let split = split(&rows, &subjects, 40, 3, k).unwrap();
            let of =
                |rows: &[usize]| -> BTreeSet<usize> { rows.iter().map(|r| subjects[*r]).collect() };
            for side in [&split.real, &split.other] {
                assert_eq!(side.len(), 40);
                assert!(side.is_sorted_by(|a, b| a < b));
            }
            let rows = |rows: &[usize]| -> BTreeSet<usize> { rows.iter().copied().collect() };
            let (labelled, train) = (rows(&split.labelled), rows(&split.train));
            assert!(labelled.is_disjoint(&train) && labelled.is_subset(&rows(&split.other)));
            assert!(labelled.len() == train.len() && (20..=40).contains(&train.len()));
            assert!(of(&split.real).is_disjoint(&of(&split.other)));
            assert!(of(&split.real).is_disjoint(&of(&split.train)));
            seen.insert(split.real);
        }
        assert_eq!(seen.len(), 20, "every split is another one");
    }

    #[test]
    fn a_subject_that_holds_all_samples_cannot_be_parted() {
        let rows: Vec<usize> = (0..20).collect();
        let message = split(&rows, &[7; 20], 5, 0, 0).unwrap_err().to_string();
        assert!(
            message.contains("1 subjects") && message.contains("--group"),
            "{message}"
        );
    }

    #[test]
    fn subjects_that_are_fewer_than_the_folds_are_told() {
        let subjects: Vec<usize> = (0..40).map(|row| row % 4).collect();
        let (first, second): (Vec<usize>, Vec<usize>) = ((0..20).collect(), (20..40).collect());
        let message = folds([&first, &second], &subjects, 1)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("--group: found 4 subjects among 20 samples"),
            "{message}"
        );
    }

    #[test]
    fn folds_have_their_share_of_both_sets_and_keep_subjects() {
        let subjects: Vec<usize> = (0..60).map(|row| row / 2).collect();
        let (first, second): (Vec<usize>, Vec<usize>) = ((0..30).collect(), (30..60).collect());
        let folds = folds([&first, &second], &subjects, 1).unwrap();
        for fold in 0..N_FOLDS {
            let in_fold =
                |range: std::ops::Range<usize>| range.filter(|at| folds[*at] == fold).count();
            assert_eq!((in_fold(0..30), in_fold(30..60)), (6, 6));
        }
        assert!((0..30).all(|pair| folds[2 * pair] == folds[2 * pair + 1]));
    }
}

//! Columns and rows that repeat each other: identical, proportional, or present together.

use super::{Finding, Kind, names};
use crate::Table;

/// Fewest entries above zero, and fewest zeros, from which two patterns that agree are taken to be
/// no accident: a feature of one sample is proportional to every other one of that sample.
const MIN_ENTRIES: usize = 5;

/// Relative difference up to which two numbers count as equal.
const TOLERANCE: f64 = 1e-6;

/// Vectors that repeat each other, by position, in groups of two or more.
#[derive(Debug, Default, PartialEq)]
struct Alike {
    identical: Vec<Vec<usize>>,
    /// Not all identical.
    proportional: Vec<Vec<usize>>,
    /// Not all proportional.
    same_presence: Vec<Vec<usize>>,
}

pub(super) fn findings(table: &Table, columns: &[Vec<(u32, f64)>]) -> Vec<Finding> {
    let rows: Vec<Vec<(u32, f64)>> = (0..table.n_samples())
        .map(|sample| {
            let (features, values) = table.row(sample);
            features
                .iter()
                .copied()
                .zip(values.iter().copied())
                .collect()
        })
        .collect();
    let of_features = alike(columns, table.n_samples());
    let of_samples = alike(&rows, table.n_features());
    let mut findings = Vec::new();
    let mut add = |kind, ids: &[String], groups: &[Vec<usize>], what: &str, advice: &str| {
        if groups.is_empty() {
            return;
        }
        let n: usize = groups.iter().map(Vec::len).sum();
        let found = match groups.len() {
            1 => format!("{n} {what}"),
            n_groups => format!("{n} {what}, in {n_groups} groups"),
        };
        let groups = groups.iter().map(|group| names(ids, group)).collect();
        findings.push(Finding::new(kind, found, advice, groups));
    };
    let features = table.feature_ids();
    add(
        Kind::IdenticalFeatures,
        features,
        &of_features.identical,
        "features have the same value in every sample: one gives the other away",
        "keep one of each group",
    );
    add(
        Kind::ProportionalFeatures,
        features,
        &of_features.proportional,
        "features are the same but for a factor: one gives the other away",
        "keep one of each group",
    );
    add(
        Kind::SamePresence,
        features,
        &of_features.same_presence,
        "features are present in exactly the same samples: one tells where the other is",
        "look whether they count the same thing; if so keep one of each group",
    );
    let samples = table.sample_ids();
    add(
        Kind::IdenticalSamples,
        samples,
        &of_samples.identical,
        "samples have the same row: a copy in the training set gives a test sample away",
        "keep one of each group",
    );
    add(
        Kind::SameComposition,
        samples,
        &of_samples.proportional,
        "samples have the same composition at another depth: one gives the other away",
        "keep one of each group, or keep a group on one side of a split",
    );
    findings
}

/// Finds vectors of length `n` that repeat each other; each holds its entries that are not zero.
fn alike(vectors: &[Vec<(u32, f64)>], n: usize) -> Alike {
    if n < 2 {
        return Alike::default(); // single numbers are always multiples of each other
    }
    let fewest = MIN_ENTRIES.min(n).max(1);
    let is_eligible =
        |at: &usize| vectors[*at].len() >= fewest && !vectors[*at].iter().any(|e| e.1.is_nan());
    let mut order: Vec<usize> = (0..vectors.len()).filter(is_eligible).collect();
    let places = |at: usize| vectors[at].iter().map(|entry| entry.0);
    order.sort_by(|a, b| places(*a).cmp(places(*b)).then(a.cmp(b)));
    let mut alike = Alike::default();
    for together in order.chunk_by(|a, b| places(*a).eq(places(*b))) {
        let classes = proportional_classes(vectors, together);
        let is_telling = n - vectors[together[0]].len() >= MIN_ENTRIES;
        if classes.len() > 1 && is_telling {
            alike.same_presence.push(together.to_vec());
        }
        for class in classes.into_iter().filter(|class| class.len() > 1) {
            let is_first = |other: &usize| vectors[*other] == vectors[class[0]];
            if class.iter().all(is_first) {
                alike.identical.push(class);
            } else {
                alike.proportional.push(class);
            }
        }
    }
    for groups in [
        &mut alike.identical,
        &mut alike.proportional,
        &mut alike.same_presence,
    ] {
        groups.sort();
    }
    alike
}

/// Sorts vectors with the same places of entries into classes of proportional ones.
fn proportional_classes(vectors: &[Vec<(u32, f64)>], together: &[usize]) -> Vec<Vec<usize>> {
    // A weighted mean of places tells compositions apart, so that few pairs are compared.
    let mut keyed: Vec<(f64, usize)> = together
        .iter()
        .map(|at| (weighted_mean(&vectors[*at]), *at))
        .collect();
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut classes: Vec<(f64, Vec<usize>)> = Vec::new();
    for (key, at) in keyed {
        let near = classes
            .iter_mut()
            .rev()
            .take_while(|(other, _)| key - *other <= 4.0 * TOLERANCE * key);
        let mut found = false;
        for (_, class) in near {
            if are_proportional(&vectors[class[0]], &vectors[at]) {
                class.push(at);
                found = true;
                break;
            }
        }
        if !found {
            classes.push((key, vec![at]));
        }
    }
    let mut classes: Vec<Vec<usize>> = classes.into_iter().map(|(_, class)| class).collect();
    classes.iter_mut().for_each(|class| class.sort_unstable());
    classes.sort();
    classes
}

/// `sum(w x) / sum(x)` with a weight from 1 to 2 for each place.
fn weighted_mean(vector: &[(u32, f64)]) -> f64 {
    let weight = |place: u32| 1.0 + (f64::from(place) * std::f64::consts::GOLDEN_RATIO).fract();
    let total: f64 = vector.iter().map(|(_, value)| value).sum();
    let weighted = vector.iter().map(|(place, value)| weight(*place) * value);
    weighted.sum::<f64>() / total
}

fn are_proportional(a: &[(u32, f64)], b: &[(u32, f64)]) -> bool {
    let total = |vector: &[(u32, f64)]| vector.iter().map(|(_, value)| value).sum::<f64>();
    let factor = total(b) / total(a);
    let is_same =
        |((_, a), (_, b)): (&(u32, f64), &(u32, f64))| (b - factor * a).abs() <= TOLERANCE * b;
    a.iter().zip(b).all(is_same)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(values: &[f64]) -> Vec<(u32, f64)> {
        (0u32..)
            .zip(values.iter().copied())
            .filter(|(_, v)| *v != 0.0)
            .collect()
    }

    #[test]
    fn copies_multiples_and_patterns_are_told_apart() {
        let base = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let third = base.map(|x| x / 3.0);
        let other = base.map(|x| x * x);
        let almost = base.map(|x| if x == 6.0 { 6.0 + 1e-4 } else { x });
        let vectors = [base, third, base, other, almost].map(|v| vector(&v));
        let found = alike(&vectors, 11);
        assert_eq!(found.proportional, [vec![0, 1, 2]]);
        assert_eq!(found.same_presence, [vec![0, 1, 2, 3, 4]]);
        assert_eq!(
            alike(&vectors[2..], 11).proportional,
            Vec::<Vec<usize>>::new()
        );
        let copies = [base, other, base].map(|v| vector(&v));
        assert_eq!(alike(&copies, 11).identical, [vec![0, 2]]);
    }

    #[test]
    fn patterns_of_few_entries_or_of_all_are_no_finding() {
        let rare = [
            vector(&[1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            vector(&[1.0, 2.0]),
        ];
        assert_eq!(alike(&rare, 7), Alike::default());
        let full = [
            vector(&[1.0; 8]),
            vector(&[1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ];
        assert_eq!(alike(&full, 8), Alike::default());
        let missing = vec![vector(&[1.0, 1.0, 1.0, 1.0, 1.0, f64::NAN]); 2];
        assert_eq!(alike(&missing, 20), Alike::default());
        let of_one_feature = vec![vector(&[3.0]), vector(&[5.0]), vector(&[3.0])];
        assert_eq!(alike(&of_one_feature, 1), Alike::default());
    }

    #[test]
    fn a_thousand_vectors_of_one_pattern_are_sorted_by_composition() {
        let vectors: Vec<Vec<(u32, f64)>> = (0..1000)
            .map(|i| {
                let factor = f64::from(1 + i / 100);
                vector(
                    &(0..20)
                        .map(|k| factor * f64::from(1 + (k * (i % 100 + 3)) % 101))
                        .collect::<Vec<_>>(),
                )
            })
            .collect();
        let classes = alike(&vectors, 20).proportional;
        assert_eq!(classes.len(), 100);
        assert!(classes.iter().all(|class| class.len() == 10));
    }
}

//! Figures that depend on the order of numbers alone.

use crate::error::check_length;
use crate::scores::pearson;
use crate::{Error, Result};

/// Ranks from 1; equal numbers share their mean rank.
///
/// # Errors
/// A `NaN`.
pub fn ranks(values: &[f64]) -> Result<Vec<f64>> {
    if let Some(row) = values.iter().position(|value| value.is_nan()) {
        return Err(Error::BadEntry {
            what: "values to rank",
            row,
            column: 0,
            value: f64::NAN,
            expected: "a number",
        });
    }
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let first = order.partition_point(|at| values[*at] < values[equal[0]]);
        let mean = first as f64 + (equal.len() + 1) as f64 / 2.0;
        equal.iter().for_each(|at| ranks[*at] = mean);
    }
    Ok(ranks)
}

/// Spearman's rank correlation; `NaN` when either vector is constant or empty.
///
/// # Errors
/// Vectors of different lengths, a `NaN`.
pub fn spearman(a: &[f64], b: &[f64]) -> Result<f64> {
    check_length("values", a.len(), b.len())?;
    let (a, b) = (ranks(a)?, ranks(b)?);
    Ok(if a.is_empty() {
        f64::NAN
    } else {
        pearson(&a, &b)
    })
}

/// Area under the receiver operating characteristic: the probability that a positive scores above
/// a negative, ties counting half; `NaN` without a positive or without a negative.
///
/// # Errors
/// Vectors of different lengths, a `NaN`.
pub fn auroc(scores: &[f64], is_positive: &[bool]) -> Result<f64> {
    check_length("scores", scores.len(), is_positive.len())?;
    let of_positives = ranks(scores)?.into_iter().zip(is_positive);
    let sum: f64 = of_positives
        .filter(|(_, p)| **p)
        .map(|(rank, _)| rank)
        .sum();
    let n_positive = is_positive.iter().filter(|p| **p).count() as f64;
    let n_negative = scores.len() as f64 - n_positive;
    Ok((sum - n_positive * (n_positive + 1.0) / 2.0) / (n_positive * n_negative))
}

/// The placement of each score among those of the other kind: for a positive the share of the negatives
/// below it, for a negative the share of the positives above it, ties counting half. The mean of either
/// kind is the [`auroc`] (DeLong, DeLong and Clarke-Pearson 1988).
///
/// - returns a number per score, `NaN` where there is none of the other kind
///
/// # Errors
/// Vectors of different lengths, a `NaN`.
pub fn placements(scores: &[f64], is_positive: &[bool]) -> Result<Vec<f64>> {
    check_length("scores", scores.len(), is_positive.len())?;
    let all = ranks(scores)?;
    let mut own = vec![0.0; scores.len()];
    for kind in [true, false] {
        let of_kind: Vec<usize> = (0..scores.len())
            .filter(|at| is_positive[*at] == kind)
            .collect();
        let values: Vec<f64> = of_kind.iter().map(|at| scores[*at]).collect();
        for (at, rank) in of_kind.iter().zip(ranks(&values)?) {
            own[*at] = rank;
        }
    }
    let n_positive = is_positive.iter().filter(|p| **p).count() as f64;
    let n_negative = scores.len() as f64 - n_positive;
    let place = |at: usize| match is_positive[at] {
        true => (all[at] - own[at]) / n_negative,
        false => 1.0 - (all[at] - own[at]) / n_positive,
    };
    Ok((0..scores.len()).map(place).collect())
}

/// Average precision: area under the precision-recall curve, `sum (R_k - R_(k-1)) P_k` over the
/// distinct scores from the highest on; the share of positives by chance, `NaN`
/// where all or none are positive.
///
/// # Errors
/// Vectors of different lengths, a `NaN`.
pub fn average_precision(scores: &[f64], is_positive: &[bool]) -> Result<f64> {
    check_length("scores", scores.len(), is_positive.len())?;
    let ranks = ranks(scores)?;
    let n_positive = is_positive.iter().filter(|p| **p).count() as f64;
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| ranks[*b].total_cmp(&ranks[*a]));
    let (mut area, mut n_taken, mut n_found) = (0.0, 0.0, 0.0);
    for equal in order.chunk_by(|a, b| ranks[*a] == ranks[*b]) {
        let n_here = equal.iter().filter(|at| is_positive[**at]).count() as f64;
        n_taken += equal.len() as f64;
        n_found += n_here;
        area += n_here / n_positive * n_found / n_taken;
    }
    Ok(if n_positive > 0.0 && n_positive < n_taken {
        area
    } else {
        f64::NAN
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [f64; 8] = [0.1, 0.4, 0.35, 0.8, 0.4, -2.0, 0.0, -0.0];
    const B: [f64; 8] = [3.0, 1.0, 2.0, 9.0, 4.0, 4.0, 0.5, 0.5];

    #[test]
    fn ranks_and_correlation_are_those_of_scipy() {
        // scipy.stats.rankdata(A), scipy.stats.spearmanr(A, B).statistic
        assert_eq!(ranks(&A).unwrap(), [4.0, 6.5, 5.0, 8.0, 6.5, 1.0, 2.5, 2.5]);
        assert!((spearman(&A, &B).unwrap() - 0.432_926_829_268_292_73).abs() < 1e-14);
        assert!(spearman(&[1.0, 1.0], &[1.0, 2.0]).unwrap().is_nan());
        for all_or_none in [[true; 2], [false; 2]] {
            assert!(
                average_precision(&[0.1, 0.2], &all_or_none)
                    .unwrap()
                    .is_nan()
            );
        }
        assert!(spearman(&[], &[]).unwrap().is_nan());
        assert!(ranks(&[1.0, f64::NAN]).is_err() && spearman(&[1.0], &[]).is_err());
    }

    #[test]
    fn the_area_is_that_of_scikit_learn() {
        // sklearn.metrics.roc_auc_score([0, 1, 0, 1, 1, 0, 0, 1], A)
        let is_positive = [0, 1, 0, 1, 1, 0, 0, 1].map(|p| p == 1);
        assert_eq!(auroc(&A, &is_positive).unwrap(), 0.843_75);
        assert!(auroc(&A, &[true; 8]).unwrap().is_nan());
        assert!(auroc(&A, &[true]).is_err());
    }

    #[test]
    fn placements_are_the_shares_counted_pair_by_pair() {
        use crate::golden::{assert_close, load, number, vector};
        let golden = load("presence");
        let scores = vector(&golden["coarse"]).to_vec();
        let is_positive: Vec<bool> = vector(&golden["labels"]).iter().map(|l| *l > 0.0).collect();
        let found = placements(&scores, &is_positive).unwrap();
        for (found, expected) in found.iter().zip(vector(&golden["placements"])) {
            assert_close(*found, expected, 1e-12, "placement");
        }
        let mean = |kind: bool| {
            let of_kind = found.iter().zip(&is_positive).filter(|(_, p)| **p == kind);
            let values: Vec<f64> = of_kind.map(|(v, _)| *v).collect();
            values.iter().sum::<f64>() / values.len() as f64
        };
        // sklearn.metrics.roc_auc_score
        let expected = number(&golden["auroc"]);
        assert_close(mean(true), expected, 1e-12, "of the positives");
        assert_close(mean(false), expected, 1e-12, "of the negatives");
        assert!(placements(&A, &[true; 8]).unwrap()[0].is_nan());
    }
}

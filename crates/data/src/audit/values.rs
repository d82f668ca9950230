//! Values and totals: closed or rarefied rows, logarithms, fractions, empty rows and columns.

use super::{Finding, Kind, names};
use crate::Table;

/// Fewest rows with a total from which equal totals are no accident.
const MIN_ROWS: usize = 3;

/// Relative difference of totals up to which rows of fractions count as closed: files are rounded.
const CLOSURE_TOLERANCE: f64 = 1e-3;

/// Difference from a whole number up to which a count is recognised behind a logarithm.
const WHOLE_TOLERANCE: f64 = 1e-4;

/// Larger counts are no evidence: rounding alone brings them near whole numbers.
const MAX_COUNT: f64 = 1e3;

/// Different values of a row, from which on it is judged whether they are multiples of the smallest.
const MIN_DIFFERENT: usize = 4;

/// Larger values are no logarithms: e^60 reads are more than there are.
const MAX_LOG: f64 = 60.0;

pub(super) fn findings(table: &Table, children: &[Vec<usize>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let fractional = first_fractional(table);
    let values = match fractional {
        Some(_) => Values::Fractional,
        None => Values::Whole,
    };
    let closed = closed_total(table, children, values);
    let logs = fractional.and_then(|_| logarithm(table));
    findings.extend(closed.as_ref().map(|closed| closure(closed, values)));
    findings.extend(match (fractional, logs, &closed) {
        (None, _, _) => None,
        (Some(_), Some(logs), _) => Some(Finding::new(
            Kind::Logarithms,
            logs,
            "give the table before the logarithm was taken; suffuse takes its own",
            Vec::new(),
        )),
        (Some(_), None, Some(closed)) if closed.is_share() => Some(Finding::new(
            Kind::RelativeAbundances,
            format!("values are relative abundances, as their rows sum to {}", closed.total),
            "give counts where you have them: depth tells how far a zero is to be believed, and only counts can be thinned",
            Vec::new(),
        )),
        (Some((sample, feature, value)), None, _) => Some(Finding::new(
            Kind::FractionalValues,
            format!(
                "values are not all whole numbers, as in sample {:?}, feature {:?}: {value}",
                table.sample_ids()[sample], table.feature_ids()[feature as usize]
            ),
            "nothing if they are reads shared out among features; if they are logarithms or otherwise transformed, give the table from before",
            Vec::new(),
        )),
    });
    findings.extend(empty(table));
    findings
}

/// The first value that is not a whole number.
fn first_fractional(table: &Table) -> Option<(usize, u32, f64)> {
    (0..table.n_samples()).find_map(|sample| {
        let (features, values) = table.row(sample);
        let mut entries = features.iter().zip(values);
        entries
            .find(|(_, value)| !value.is_nan() && value.fract() != 0.0)
            .map(|(feature, value)| (sample, *feature, *value))
    })
}

#[derive(Clone, Copy)]
enum Values {
    Whole,
    Fractional,
}

/// Rows that sum to one total.
struct Closed {
    /// The total, the median over rows.
    total: f64,
    n_rows: usize,
    /// Counted over the features without descendants.
    of_leaves: bool,
}

impl Closed {
    fn is_share(&self) -> bool {
        [1.0, 100.0].contains(&self.total)
    }
}

/// The total that all rows with any share, over the leaves or else over all features.
fn closed_total(table: &Table, children: &[Vec<usize>], values: Values) -> Option<Closed> {
    let tolerance = match values {
        Values::Fractional => CLOSURE_TOLERANCE,
        Values::Whole => 0.0,
    };
    let is_nested = children.iter().any(|children| !children.is_empty());
    // Where ranks are nested, each of them may have the total, and all together a multiple of it.
    [true, false]
        .into_iter()
        .filter(|of_leaves| !of_leaves || is_nested)
        .find_map(|of_leaves| {
            let is_counted = |feature: u32| !of_leaves || children[feature as usize].is_empty();
            let mut totals: Vec<f64> = (0..table.n_samples())
                .map(|sample| {
                    let (features, values) = table.row(sample);
                    let entries = features.iter().zip(values);
                    entries
                        .filter(|(f, _)| is_counted(**f))
                        .map(|(_, value)| value)
                        .sum()
                })
                .filter(|total: &f64| *total > 0.0) // no NaN either
                .collect();
            totals.sort_by(f64::total_cmp);
            let (first, last) = (totals.first()?, totals.last()?);
            if totals.len() < MIN_ROWS || last - first > 2.0 * tolerance * last {
                return None;
            }
            let median = totals[totals.len() / 2];
            let round = [1.0, 100.0]
                .into_iter()
                .find(|round| (median - round).abs() <= tolerance * round);
            Some(Closed {
                total: round.unwrap_or(median),
                n_rows: totals.len(),
                of_leaves,
            })
        })
}

fn closure(closed: &Closed, values: Values) -> Finding {
    let over = match closed.of_leaves {
        true => " over the features without descendants",
        false => "",
    };
    let (kind, what) = match values {
        Values::Fractional => (Kind::ClosedRows, ""),
        Values::Whole => (Kind::RarefiedRows, " (rarefied counts)"),
    };
    Finding::new(
        kind,
        format!(
            "all {} rows that were measured in full sum to {}{over}{what}: one hidden entry of a row is exactly what the others leave",
            closed.n_rows, closed.total
        ),
        "when you hide entries to score a method, let it see only totals taken after hiding; give the counts from before the scaling where you have them",
        Vec::new(),
    )
}

/// Says which logarithm the values of a table are, if counts or scaled counts stand behind them.
pub fn logarithms(table: &Table) -> Option<String> {
    first_fractional(table).and_then(|_| logarithm(table))
}

fn logarithm(table: &Table) -> Option<String> {
    let values = || {
        let all = table.csr().2.iter().copied();
        all.filter(|value| !value.is_nan())
    };
    if values().any(|value| value > MAX_LOG) {
        return None;
    }
    let are_closed = |of: &dyn Fn(f64) -> f64| -> Option<f64> {
        let totals: Vec<f64> = (0..table.n_samples())
            .map(|sample| table.row(sample).1.iter().map(|value| of(*value)).sum())
            .filter(|total: &f64| *total > 0.0)
            .collect();
        let ends = totals
            .iter()
            .fold((f64::INFINITY, 0.0f64), |(a, b), t| (a.min(*t), b.max(*t)));
        let is_one = totals.len() >= MIN_ROWS && ends.1 - ends.0 <= CLOSURE_TOLERANCE * ends.1;
        is_one.then_some(ends.1)
    };
    // Small shares are nearly their own exponentials less 1.
    if are_closed(&|value| value).is_some() {
        return None;
    }
    let bases = [("ln", std::f64::consts::E), ("log2", 2.0), ("log10", 10.0)];
    for (name, base) in bases {
        let count = |value: f64| base.powf(value) - 1.0;
        let is_whole = |value: f64| {
            let count = count(value);
            count >= 0.5 && (count - count.round()).abs() <= WHOLE_TOLERANCE * count.max(1.0)
        };
        let mut small = values()
            .filter(|value| count(*value) < MAX_COUNT)
            .peekable();
        if small.peek().is_some() && small.all(is_whole) {
            return Some(format!(
                "values are logarithms of counts, {name}(1 + count)"
            ));
        }
        if let Some(most) = are_closed(&count) {
            return Some(format!(
                "values are logarithms, {name}(1 + x) of rows that were scaled to {most:.0}"
            ));
        }
        if are_multiples(table, &count) && !are_multiples(table, &|value| value) {
            return Some(format!(
                "values are logarithms, {name}(1 + x) of counts that were scaled row by row"
            ));
        }
    }
    None
}

/// Says whether the rows hold whole multiples of their smallest value, as scaled counts do that have a 1 among
/// them, of whatever features.
fn are_multiples(table: &Table, of: &dyn Fn(f64) -> f64) -> bool {
    let (mut n_rows, mut n_whole) = (0, 0);
    for sample in 0..table.n_samples() {
        let values = table.row(sample).1.iter().map(|value| of(*value));
        let mut row: Vec<f64> = values.filter(|value| *value > 0.0).collect();
        row.sort_by(f64::total_cmp);
        let Some(one) = row.first().copied() else {
            continue;
        };
        let mut counts: Vec<f64> = row.iter().map(|value| value / one).collect();
        counts.retain(|count| *count < MAX_COUNT);
        let is_whole = |count: &f64| (count - count.round()).abs() <= WHOLE_TOLERANCE * count;
        let n_different = counts.chunk_by(|a, b| b - a < 0.5).count();
        if n_different >= MIN_DIFFERENT {
            n_rows += 1;
            n_whole += usize::from(counts.iter().all(is_whole));
        }
    }
    n_rows >= MIN_ROWS && 2 * n_whole > n_rows
}

fn empty(table: &Table) -> Vec<Finding> {
    let mut is_present = vec![false; table.n_features()];
    let mut empty_samples = Vec::new();
    for sample in 0..table.n_samples() {
        let (features, values) = table.row(sample);
        let mut any = false;
        for (feature, _) in features
            .iter()
            .zip(values)
            .filter(|(_, value)| **value > 0.0)
        {
            is_present[*feature as usize] = true;
            any = true;
        }
        if !any {
            empty_samples.push(sample);
        }
    }
    let empty_features: Vec<usize> = (0..is_present.len()).filter(|f| !is_present[*f]).collect();
    let mut findings = Vec::new();
    if !empty_samples.is_empty() {
        findings.push(Finding::new(
            Kind::EmptySamples,
            format!(
                "{} of {} samples have no entry above zero: they have no composition",
                empty_samples.len(),
                table.n_samples()
            ),
            "look why; they keep their place in outputs, nothing is learned from them, and no score should count them",
            vec![names(table.sample_ids(), &empty_samples)],
        ));
    }
    if !empty_features.is_empty() {
        findings.push(Finding::new(
            Kind::EmptyFeatures,
            format!(
                "{} of {} features have no entry above zero",
                empty_features.len(),
                table.n_features()
            ),
            "leave them out: nothing can be learned of them",
            vec![names(table.feature_ids(), &empty_features)],
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{AuditOptions, audit};

    fn table(dense: &[f64], n_samples: usize) -> Table {
        let ids = |p: &str, n: usize| (0..n).map(|i| format!("{p}{i}")).collect::<Vec<_>>();
        let n_features = dense.len() / n_samples;
        Table::from_dense(ids("s", n_samples), ids("t", n_features), dense).unwrap()
    }

    fn kinds(dense: &[f64]) -> Vec<Kind> {
        let audit = audit(&table(dense, 4), &AuditOptions::default()).unwrap();
        audit.findings.iter().map(|finding| finding.kind).collect()
    }

    /// 4 x 4 counts of different totals.
    const COUNTS: [f64; 16] = [
        5.0, 1.0, 0.0, 2.0, 7.0, 3.0, 1.0, 0.0, 9.0, 2.0, 4.0, 8.0, 1.0, 6.0, 2.0, 2.0,
    ];

    fn scaled(total: f64) -> Vec<f64> {
        let row = |row: &[f64]| -> Vec<f64> {
            row.iter()
                .map(|x| total * x / row.iter().sum::<f64>())
                .collect()
        };
        COUNTS.chunks(4).flat_map(row).collect()
    }

    #[test]
    fn plain_counts_are_no_finding() {
        assert_eq!(kinds(&COUNTS), []);
    }

    #[test]
    fn rows_that_sum_to_a_constant_leak_whatever_the_constant() {
        assert_eq!(
            kinds(&scaled(1.0)),
            [Kind::ClosedRows, Kind::RelativeAbundances]
        );
        assert_eq!(
            kinds(&scaled(100.0)),
            [Kind::ClosedRows, Kind::RelativeAbundances]
        );
        assert_eq!(
            kinds(&scaled(77.7)),
            [Kind::ClosedRows, Kind::FractionalValues]
        );
        let rounded: Vec<f64> = scaled(100.0)
            .iter()
            .map(|x| (x * 100.0).round() / 100.0)
            .collect();
        assert_eq!(
            kinds(&rounded),
            [Kind::ClosedRows, Kind::RelativeAbundances]
        );
        let rarefied = [
            5.0, 1.0, 0.0, 4.0, 7.0, 2.0, 1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 9.0, 1.0,
        ];
        assert_eq!(kinds(&rarefied), [Kind::RarefiedRows]);
    }

    #[test]
    fn the_total_of_nested_ranks_is_that_of_one_of_them() {
        // Each rank sums to 100: a phylum, two genera, three species.
        let ids = [
            "p__P",
            "p__P|g__A",
            "p__P|g__B",
            "p__P|g__A|s__a",
            "p__P|g__A|s__b",
            "p__P|g__B|s__c",
        ];
        let rows = (0..4).flat_map(|k| {
            let (a, b) = (10.5 + f64::from(k), 20.25);
            [100.0, a + b, 100.0 - a - b, a, b, 100.0 - a - b]
        });
        let samples = (0..4).map(|k| format!("s{k}")).collect();
        let dense: Vec<f64> = rows.collect();
        let table = Table::from_dense(samples, ids.map(String::from).to_vec(), &dense).unwrap();
        let audit = audit(&table, &AuditOptions::default()).unwrap();
        let found = &audit.finding(Kind::RelativeAbundances).unwrap().found;
        assert!(found.contains("sum to 100"), "{found}");
        assert!(audit.finding(Kind::FractionalValues).is_none());
    }

    #[test]
    fn logarithms_of_counts_and_of_scaled_counts_are_recognised() {
        for (log, name) in [
            (f64::ln as fn(f64) -> f64, "ln"),
            (f64::log2, "log2"),
            (f64::log10, "log10"),
        ] {
            for (values, what) in [
                (COUNTS.to_vec(), "of counts"),
                (scaled(1e4), "scaled to 10000"),
            ] {
                let dense: Vec<f64> = values.iter().map(|x| log(1.0 + x)).collect();
                let audit = audit(&table(&dense, 4), &AuditOptions::default()).unwrap();
                let found = &audit.finding(Kind::Logarithms).unwrap().found;
                assert!(found.contains(name) && found.contains(what), "{found}");
            }
        }
        let mut shared_out = COUNTS;
        shared_out[3] = 2.5;
        assert_eq!(kinds(&shared_out), [Kind::FractionalValues]);
    }

    #[test]
    fn logarithms_are_recognised_where_features_were_left_out_after_scaling() {
        let n_genes = 20;
        let count = |cell: usize, gene: usize| ((cell * 2 + gene * 3 + gene / 4) % 6) as f64;
        let rows = (0..12).map(|cell| (0..n_genes).map(move |gene| count(cell, gene)));
        let scaled: Vec<f64> = rows
            .flat_map(|row| {
                let factor = 1e4 / row.clone().sum::<f64>();
                row.take(12).map(move |count| count * factor)
            })
            .collect();
        let logs: Vec<f64> = scaled.iter().map(|x| x.ln_1p() as f32 as f64).collect();
        let found = logarithms(&table(&logs, 12)).unwrap();
        assert!(
            found.contains("ln(1 + x)") && found.contains("row by row"),
            "{found}"
        );
        assert_eq!(logarithms(&table(&scaled, 12)), None);
        let roots: Vec<f64> = scaled.iter().map(|x| x.sqrt()).collect();
        assert_eq!(logarithms(&table(&roots, 12)), None);
    }

    #[test]
    fn even_shares_are_no_logarithms() {
        let n_taxa = 1500;
        let weight = |at: usize| 1.0 + (at * 7 % 11) as f64 / 20.0;
        let dense: Vec<f64> = (0..4)
            .flat_map(|sample| {
                let row: Vec<f64> = (0..n_taxa)
                    .map(|taxon| weight(sample * 31 + taxon))
                    .collect();
                let total: f64 = row.iter().sum();
                row.into_iter().map(move |x| x / total)
            })
            .collect();
        assert_eq!(logarithms(&table(&dense, n_taxa)), None);
    }

    #[test]
    fn empty_rows_and_columns_are_named() {
        let mut dense = COUNTS;
        dense[4..8].fill(0.0);
        (0..4).for_each(|sample| dense[sample * 4 + 2] = 0.0);
        let audit = audit(&table(&dense, 4), &AuditOptions::default()).unwrap();
        assert_eq!(audit.finding(Kind::EmptySamples).unwrap().groups, [["s1"]]);
        assert_eq!(audit.finding(Kind::EmptyFeatures).unwrap().groups, [["t2"]]);
    }
}

//! Which taxa of a table depend on which: the tests of `suffuse-stats` on a user's table, and their
//! files (edge list, GraphML, pictures).

pub mod attention;
mod files;

pub use files::Written;

use crate::impute::ln1p_percent;
use crate::{Error, Result};
use ndarray::{Array2, Axis};
use suffuse_data::Table;
use suffuse_data::hide::hide_nonzero;
use suffuse_data::metadata_tsv::is_missing;
use suffuse_stats::dependency::{
    Correction, Dependencies, DependencyOptions, EdgeKind, FTestForm, Granger, GrangerOptions,
    MiTest, MutualInformation, adjust, complete, dependencies, granger, series_by_subject,
};

/// What is tested.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Tests and their level.
    pub tests: DependencyOptions,
    /// Share of the non-zero entries hidden in the input of the nested F-test, 0 to 1.
    pub hide_fraction: f64,
    /// Seed of that hiding.
    pub seed: u64,
    /// Lagged Granger causality beside the others; needs a time and a subject column.
    pub granger: Option<TimeColumns>,
}

/// Metadata columns that make a time series of each subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeColumns {
    /// Numeric column that orders the visits.
    pub time: String,
    /// Column that names the subject.
    pub subject: String,
    /// Number of visits to look back, 1 or more.
    pub n_lags: usize,
}

/// A significant pair of taxa.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedEdge {
    /// Id of the taxon that influences.
    pub source: String,
    /// Id of the taxon that is influenced.
    pub target: String,
    /// "directed", "mutual" or "lagged".
    pub kind: &'static str,
    /// F, or mutual information in nats.
    pub statistic: f64,
    /// p-value; 0 below the smallest f64.
    pub p: f64,
    /// `-log10 p`.
    pub neg_log10_p: f64,
    /// p-value adjusted for the number of tests.
    pub q: f64,
}

/// The dependencies of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Taxon ids, in table order.
    pub taxa: Vec<String>,
    /// Names for pictures, in table order: the feature metadata's `name` where there is one, else
    /// the id.
    pub names: Vec<String>,
    /// Significant pairs: directed, then mutual, then lagged, each by rising q.
    pub edges: Vec<NamedEdge>,
    /// `Dep = C_dir OR C_mi`, `[n_taxa, n_taxa]`; `[i, j]` reads "i depends on j".
    pub dep: Array2<bool>,
    /// Taxa by falling variance of `ln(1 + percent)`.
    pub by_variance: Vec<usize>,
    /// What the user should know, one sentence each.
    pub notes: Vec<String>,
}

/// Tests all pairs of taxa.
///
/// # Errors
/// Too few samples, options out of range, a time or subject column that is absent.
pub fn find(table: &Table, options: &Options) -> Result<Found> {
    let mut notes = Vec::new();
    let logs = ln1p_percent(table, &table.totals());
    let (y, rows) = complete(&logs);
    if rows.len() < logs.nrows() {
        notes.push(format!(
            "{} samples with entries that are not measured are left out",
            logs.nrows() - rows.len()
        ));
    } else if logs.iter().any(|value| value.is_nan()) {
        notes.push(
            "most samples have entries that are not measured: these count as their taxon's mean, which can make taxa that are missing together look dependent"
                .to_string(),
        );
    }
    let mut x = y.clone();
    // A plain regression is of the table as it is, and symmetric.
    if options.tests.form != FTestForm::Plain {
        let hidden = hide_nonzero(table, options.hide_fraction, options.seed, None)?;
        for entry in &hidden.entries {
            if let Ok(row) = rows.binary_search(&(entry.sample as usize)) {
                x[[row, entry.feature as usize]] = 0.0;
            }
        }
    }
    let found = dependencies(&x, &y, &options.tests)?;
    notes.extend(too_few_permutations(&found, &options.tests));
    let taxa = table.feature_ids().to_vec();
    let names = names(table);
    let mut edges: Vec<NamedEdge> = found
        .edges()
        .into_iter()
        .map(|edge| NamedEdge {
            source: taxa[edge.source].clone(),
            target: taxa[edge.target].clone(),
            kind: match edge.kind {
                EdgeKind::Directed => "directed",
                EdgeKind::Mutual => "mutual",
            },
            statistic: edge.statistic,
            p: edge.p,
            neg_log10_p: edge.neg_log10_p,
            q: edge.q,
        })
        .collect();
    if let Some(columns) = &options.granger {
        edges.extend(lagged(
            table,
            &logs,
            columns,
            options.tests.alpha,
            &mut notes,
        )?);
    }
    let variance = y.var_axis(Axis(0), 0.0);
    let mut by_variance: Vec<usize> = (0..taxa.len()).collect();
    by_variance.sort_by(|a, b| variance[*b].total_cmp(&variance[*a]).then(a.cmp(b)));
    Ok(Found {
        taxa,
        names,
        edges,
        dep: found.dep,
        by_variance,
        notes,
    })
}

fn names(table: &Table) -> Vec<String> {
    let column = table.feature_metadata.column("name");
    let ids = table.feature_ids().iter().enumerate();
    ids.map(|(row, id)| {
        let name = column.and_then(|column| column.values.text(row));
        name.filter(|name| !name.is_empty())
            .unwrap_or_else(|| id.clone())
    })
    .collect()
}

/// The options that `suffuse dependencies` starts from: all pairs at a false discovery rate of
/// `alpha`, F-tests of this form.
pub fn tests(alpha: f64, form: FTestForm) -> DependencyOptions {
    DependencyOptions {
        alpha,
        form,
        correction: Correction::BenjaminiHochberg,
        ..DependencyOptions::default()
    }
}

/// Says that no pair could be found mutual: where p-values end at 1 / (permutations + 1), the smallest of `m` pairs, `k`
/// of them, are adjusted to `m / k` times that (Benjamini and Hochberg).
fn too_few_permutations(found: &Dependencies, tests: &DependencyOptions) -> Option<String> {
    let MiTest::Permutation { n_permutations, .. } = tests.mi_test else {
        return None;
    };
    let least = 1.0 / (n_permutations as f64 + 1.0);
    let MutualInformation { p, tested, .. } = &found.mutual_information;
    let pairs = tested
        .indexed_iter()
        .filter(|((a, b), tested)| **tested && a < b);
    let p: Vec<f64> = pairs.map(|(at, _)| p[at]).collect();
    let n_least = p.iter().filter(|p| **p <= least * (1.0 + 1e-9)).count();
    let n_needed = (p.len() as f64 * least / tests.alpha - 1e-9).ceil() as usize;
    (n_least > 0 && n_least < n_needed).then(|| {
        format!(
            "mutual information: {n_permutations} permutations tell no p-value under {least:.1e}, and of {} pairs {n_needed} would have to be that small for one to count at a false discovery rate of {}; {n_least} are. More permutations find them (--permutations), or the chi-squared approximation (--permutations 0)",
            p.len(),
            tests.alpha
        )
    })
}

fn lagged(
    table: &Table,
    logs: &Array2<f64>,
    columns: &TimeColumns,
    alpha: f64,
    notes: &mut Vec<String>,
) -> Result<Vec<NamedEdge>> {
    let column = |name: &str| {
        table.sample_metadata.column(name).ok_or_else(|| {
            Error::Usage(format!(
                "no metadata column {name:?}; {}",
                table.sample_metadata.columns_in_words()
            ))
        })
    };
    let values = &column(&columns.time)?.values;
    // The column is said to hold times, so `01` is a number.
    let time = |row| match values.text(row).filter(|text| !is_missing(text)) {
        None => Some(f64::NAN),
        Some(text) => text.trim().parse::<f64>().ok(),
    };
    let times: Option<Vec<f64>> = (0..values.len()).map(time).collect();
    let Some(times) = times.filter(|times| !times.iter().any(|t| t.is_infinite())) else {
        return Err(Error::Usage(format!(
            "--time {}: the column is not numeric",
            columns.time
        )));
    };
    let subject = &column(&columns.subject)?.values;
    // A visit that was not fully measured has no place in a regression on visits.
    let is_measured = |row: usize| logs.row(row).iter().all(|value| !value.is_nan());
    let known = |row: usize| subject.text(row).filter(|text| !is_missing(text));
    let subjects: Vec<Option<String>> = (0..logs.nrows())
        .map(|row| known(row).filter(|_| is_measured(row)))
        .collect();
    let is_placed = |row: &usize| !times[*row].is_nan() && known(*row).is_some();
    let n_in_part = (0..logs.nrows())
        .filter(|row| is_placed(row) && !is_measured(*row))
        .count();
    let series = series_by_subject(logs, &subjects, &times)?;
    let n_nowhere = series.n_left_out - n_in_part;
    for (n, why) in [
        (n_nowhere, "without a time or a subject"),
        (n_in_part, "with entries that are not measured"),
    ] {
        if n > 0 {
            notes.push(format!("{n} samples {why} are left out of the time series"));
        }
    }
    let visits: Vec<Array2<f64>> = series
        .series
        .into_iter()
        .map(|(_, visits)| visits)
        .collect();
    if visits.is_empty() {
        return Err(Error::Table(format!(
            "--time {}, --subject {}: no sample has both and was measured in full, so that there is no series to test",
            columns.time, columns.subject
        )));
    }
    let options = GrangerOptions {
        n_lags: columns.n_lags,
        ..GrangerOptions::default()
    };
    significant(table.feature_ids(), &granger(&visits, options)?, alpha)
}

fn significant(taxa: &[String], found: &Granger, alpha: f64) -> Result<Vec<NamedEdge>> {
    let tested: Vec<(usize, usize)> = found
        .tested
        .indexed_iter()
        .filter(|(_, tested)| **tested)
        .map(|(at, _)| at)
        .collect();
    let p: Vec<f64> = tested.iter().map(|at| found.p[*at]).collect();
    let q = adjust(&p, Correction::BenjaminiHochberg)?;
    let mut edges: Vec<NamedEdge> = tested
        .into_iter()
        .zip(q)
        .filter(|(_, q)| *q <= alpha)
        .map(|((i, j), q)| NamedEdge {
            source: taxa[j].clone(),
            target: taxa[i].clone(),
            kind: "lagged",
            statistic: found.f[[i, j]],
            p: found.p[[i, j]],
            neg_log10_p: found.neg_log10_p[[i, j]],
            q,
        })
        .collect();
    edges.sort_by(|a, b| {
        a.q.total_cmp(&b.q)
            .then(b.neg_log10_p.total_cmp(&a.neg_log10_p))
    });
    Ok(edges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use suffuse_data::ColumnValues;

    /// Taxon 1 follows taxon 0; taxon 2 is on its own.
    fn table() -> Table {
        let names = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
        let dense: Vec<f64> = (0..60)
            .flat_map(|i| {
                let a = f64::from(1 + (i * 7) % 11);
                [
                    a,
                    2.0 * a + f64::from(i % 2),
                    f64::from(1 + (i * i) % 5),
                    400.0,
                ]
            })
            .collect();
        Table::from_dense(names("s", 60), names("t", 4), &dense).unwrap()
    }

    fn options() -> Options {
        let mut tests = tests(0.05, FTestForm::Nested);
        tests.mi_test = suffuse_stats::dependency::MiTest::GTest;
        Options {
            tests,
            hide_fraction: 0.1,
            seed: 1,
            granger: None,
        }
    }

    #[test]
    fn permutations_that_cannot_find_a_pair_are_told() {
        let mut options = options();
        options.tests.mi_test = MiTest::Permutation {
            n_permutations: 9,
            seed: 1,
        };
        // No p-value is below 1/10, so none is adjusted to .05.
        let found = find(&table(), &options).unwrap();
        let told = found
            .notes
            .iter()
            .find(|note| note.contains("9 permutations"));
        let told = told.expect("it is told");
        assert!(told.contains("of 6 pairs 12 would have to be"), "{told}");
        options.tests.mi_test = MiTest::Permutation {
            n_permutations: 999,
            seed: 1,
        };
        let found = find(&table(), &options).unwrap();
        assert!(found.notes.is_empty(), "{:?}", found.notes);
    }

    #[test]
    fn visits_are_left_out_for_what_they_lack() {
        let mut table = table();
        let mut dense = table.to_dense();
        dense[4 * 7] = f64::NAN;
        table = table.with_dense(&dense).unwrap();
        let subjects = (0..60).map(|k| match k {
            0 => Some("NA".to_string()),
            1 => Some(String::new()),
            k => Some(format!("p{}", k % 2)),
        });
        let columns = [
            ("host", ColumnValues::Text(subjects.collect())),
            (
                "day",
                ColumnValues::Numeric((0..60).map(f64::from).collect()),
            ),
        ];
        for (name, values) in columns {
            let name = name.to_string();
            let column = suffuse_data::Column { name, values };
            table.sample_metadata.set_column(column).unwrap();
        }
        let mut options = options();
        options.granger = Some(TimeColumns {
            time: "day".into(),
            subject: "host".into(),
            n_lags: 1,
        });
        let notes = find(&table, &options).unwrap().notes.join("\n");
        assert!(
            notes.contains("2 samples without a time or a subject"),
            "{notes}"
        );
        assert!(
            notes.contains(
                "1 samples with entries that are not measured are left out of the time series"
            ),
            "{notes}"
        );
    }

    #[test]
    fn a_taxon_that_follows_another_is_found_and_all_files_are_written() {
        let found = find(&table(), &options()).unwrap();
        assert!(found.dep[[1, 0]]);
        assert!(
            found
                .edges
                .iter()
                .any(|edge| edge.source == "t0" && edge.target == "t1")
        );
        let folder = tempfile::tempdir().unwrap();
        let written = found.write(folder.path(), "table").unwrap();
        assert_eq!((written.files.len(), written.left_out.len()), (6, 0));
        let without_mutual = super::Found {
            edges: found
                .edges
                .iter()
                .filter(|e| e.kind != "mutual")
                .cloned()
                .collect(),
            ..found.clone()
        };
        let fewer = without_mutual.write(folder.path(), "table").unwrap();
        assert_eq!(fewer.left_out, ["network.svg"]);
        assert!(
            !folder.path().join("network.svg").exists(),
            "not that of the run before"
        );
        let written = found.write(folder.path(), "table").unwrap();
        assert_eq!(written.files.len(), 6);
        let graph = std::fs::read_to_string(folder.path().join("dependencies.graphml")).unwrap();
        assert_eq!(graph.matches("<node ").count(), 4);
        let n_mutual = found.edges.iter().filter(|e| e.kind == "mutual").count();
        assert_eq!(
            graph.matches("<edge ").count(),
            found.edges.len() + n_mutual
        );
    }

    #[test]
    fn a_plain_regression_is_of_the_table_without_hidden_entries() {
        let with = |hide_fraction: f64| {
            let options = Options {
                tests: tests(1.0, FTestForm::Plain),
                hide_fraction,
                ..options()
            };
            find(&table(), &options).unwrap().edges_tsv()
        };
        assert_eq!(with(0.1), with(0.5));
    }

    #[test]
    fn pictures_show_names_and_files_ids() {
        let mut named = table();
        let texts = ["Blautia", "Dorea", "Roseburia", ""].map(|name| Some(name.to_string()));
        let values = ColumnValues::Text(texts.to_vec());
        let name = "name".to_string();
        named
            .feature_metadata
            .set_column(suffuse_data::Column { name, values })
            .unwrap();
        let found = find(&named, &options()).unwrap();
        assert_eq!(found.names, ["Blautia", "Dorea", "Roseburia", "t3"]);
        assert!(found.edges_tsv().contains("t0\tt1") && !found.edges_tsv().contains("Dorea"));
    }

    #[test]
    fn a_time_column_must_exist_and_be_numeric() {
        let columns = TimeColumns {
            time: "day".into(),
            subject: "host".into(),
            n_lags: 1,
        };
        let options = Options {
            granger: Some(columns),
            ..options()
        };
        let problem = find(&table(), &options).unwrap_err();
        assert_eq!(problem.exit_code(), 2);
        assert!(problem.to_string().contains("\"day\""));
        let mut empty = table();
        for (name, values) in [
            (
                "day",
                ColumnValues::Numeric(vec![f64::NAN; empty.n_samples()]),
            ),
            (
                "host",
                ColumnValues::Text(vec![Some("h".to_string()); empty.n_samples()]),
            ),
        ] {
            let name = name.to_string();
            empty
                .sample_metadata
                .set_column(suffuse_data::Column { name, values })
                .unwrap();
        }
        let problem = find(&empty, &options).unwrap_err().to_string();
        assert!(
            problem.contains("--time day, --subject host: no sample"),
            "{problem}"
        );
    }
}

//! What is wrong with a table before anything is learned from it: leaks, traps, oddities.
//!
//! A leak is what makes a score measured on the table too good: a hidden entry that can be read off
//! another one, a test sample with its twin in the training set. [`audit`] looks for the ones that
//! are common in abundance tables and says of each what to do.

mod alike;
mod metadata;
mod sums;
mod values;

pub use metadata::guess_subject;
pub use values::logarithms;

use crate::nested;
use crate::{Result, Table};
use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know.
    Note,
    /// Results may not mean what they seem to.
    Warning,
    /// A score measured on the table as it is would be too good.
    Leak,
}

/// What was found. Within a severity, findings are listed in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// By lineage; each group is a feature and its closest descendants.
    NestedRanks,
    /// By values; each group is a feature and the features that it is the sum of.
    SumOfFeatures,
    /// Each group has one column of values.
    IdenticalFeatures,
    /// Each group has one column of values but for a factor.
    ProportionalFeatures,
    /// Each group has one row of values.
    IdenticalSamples,
    /// Each group has one row of values but for a factor.
    SameComposition,
    /// Each group is a subject and its samples.
    RepeatedSubjects,
    /// Rows of fractions that sum to a constant; no groups.
    ClosedRows,
    /// Rows of counts that sum to a constant; no groups.
    RarefiedRows,
    /// Each group is two metadata columns of the same information.
    OneToOneColumns,
    /// Values that are logarithms; no groups.
    Logarithms,
    /// Each group is present in the same samples, with other values.
    SamePresence,
    /// Samples without an entry above zero, one group.
    EmptySamples,
    /// Each group is a metadata column and one that it determines.
    DeterminedColumn,
    /// Metadata columns with another value in each sample, one group.
    UniqueColumns,
    /// Values that are fractions or percents; no groups.
    RelativeAbundances,
    /// Other values that are not whole numbers; no groups.
    FractionalValues,
    /// Features without an entry above zero, one group.
    EmptyFeatures,
    /// Too large a table to search for sums without lineages; no groups.
    SumsNotSearched,
}

impl Kind {
    /// How bad this is wherever it is found.
    pub fn severity(self) -> Severity {
        match self {
            Kind::NestedRanks
            | Kind::SumOfFeatures
            | Kind::IdenticalFeatures
            | Kind::ProportionalFeatures
            | Kind::IdenticalSamples
            | Kind::SameComposition
            | Kind::RepeatedSubjects
            | Kind::ClosedRows
            | Kind::RarefiedRows => Severity::Leak,
            Kind::OneToOneColumns | Kind::Logarithms | Kind::SamePresence | Kind::EmptySamples => {
                Severity::Warning
            }
            Kind::DeterminedColumn
            | Kind::UniqueColumns
            | Kind::RelativeAbundances
            | Kind::FractionalValues
            | Kind::EmptyFeatures
            | Kind::SumsNotSearched => Severity::Note,
        }
    }
}

/// Something that the user should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, a sentence.
    pub found: String,
    /// What to do about it, a sentence.
    pub advice: String,
    /// The ids or column names concerned, in groups; see [`Kind`].
    pub groups: Vec<Vec<String>>,
}

impl Finding {
    fn new(kind: Kind, found: String, advice: &str, groups: Vec<Vec<String>>) -> Finding {
        Finding {
            kind,
            severity: kind.severity(),
            found,
            advice: advice.to_string(),
            groups,
        }
    }
}

/// What was found in a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// Rows of the table.
    pub n_samples: usize,
    /// Columns of the table.
    pub n_features: usize,
    /// Worst first.
    pub findings: Vec<Finding>,
}

impl Audit {
    /// The finding of a kind, of which there is one at most.
    pub fn finding(&self, kind: Kind) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.kind == kind)
    }

    /// Number of findings of a severity.
    pub fn n_of(&self, severity: Severity) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    }
}

/// What the table does not say itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditOptions {
    /// Metadata column that names the subject of each sample; guessed by its name if `None`, see
    /// [`guess_subject`].
    pub subject: Option<String>,
}

/// Looks for leaks, traps and oddities.
///
/// Rows and columns with an entry that was not measured are left out of the search for equal ones,
/// and such rows out of the search for sums.
///
/// ```
/// use suffuse_data::audit::{AuditOptions, Kind, audit};
/// use suffuse_data::simulate::{SimulateOptions, simulate};
/// let table = simulate(&SimulateOptions::default())?.table;
/// let found = audit(&table, &AuditOptions::default())?;
/// let subjects = found.finding(Kind::RepeatedSubjects).map(|finding| finding.groups.len());
/// assert!(subjects > Some(1));
/// # Ok::<(), suffuse_data::Error>(())
/// ```
///
/// # Errors
/// No metadata column of the name given.
pub fn audit(table: &Table, options: &AuditOptions) -> Result<Audit> {
    let columns = columns(table);
    let children = nested::children(table);
    let mut findings = Vec::new();
    findings.extend(nested_ranks(table, &children));
    findings.extend(sums::findings(table, &columns, &children));
    findings.extend(alike::findings(table, &columns));
    findings.extend(values::findings(table, &children));
    findings.extend(metadata::findings(table, options.subject.as_deref())?);
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.kind));
    Ok(Audit {
        n_samples: table.n_samples(),
        n_features: table.n_features(),
        findings,
    })
}

fn nested_ranks(table: &Table, children: &[Vec<usize>]) -> Option<Finding> {
    let ids = table.feature_ids();
    let groups: Vec<Vec<String>> = (children.iter().enumerate())
        .filter(|(_, children)| !children.is_empty())
        .map(|(parent, children)| names(ids, std::iter::once(&parent).chain(children)))
        .collect();
    if groups.is_empty() {
        return None;
    }
    let found = format!(
        "{} of {} features are ancestors of others by lineage: the same reads are counted at several ranks",
        groups.len(),
        ids.len()
    );
    let advice = "keep the features without descendants alone: --collapse leaves";
    Some(Finding::new(Kind::NestedRanks, found, advice, groups))
}

/// Stored entries of each column, samples rising; `NaN` is kept.
fn columns(table: &Table) -> Vec<Vec<(u32, f64)>> {
    let mut columns = vec![Vec::new(); table.n_features()];
    for sample in 0..table.n_samples() {
        let (features, values) = table.row(sample);
        for (feature, value) in features.iter().zip(values) {
            columns[*feature as usize].push((sample as u32, *value));
        }
    }
    columns
}

fn names<'a>(ids: &[String], positions: impl IntoIterator<Item = &'a usize>) -> Vec<String> {
    positions.into_iter().map(|at| ids[*at].clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{SimulateOptions, simulate};

    /// Twelve samples of eight taxa, of which s11 repeats s0, s10 doubles s1, and t7 repeats t6.
    fn defective() -> Table {
        let ids = |p: &str, n: usize| (0..n).map(|i| format!("{p}{i}")).collect::<Vec<_>>();
        let mut dense: Vec<f64> = (0..96u32).map(|i| f64::from(1 + i * i * 7 % 31)).collect();
        for feature in 0..8 {
            dense[11 * 8 + feature] = dense[feature];
            dense[10 * 8 + feature] = 2.0 * dense[8 + feature];
        }
        for sample in 0..12 {
            dense[sample * 8 + 7] = dense[sample * 8 + 6];
        }
        Table::from_dense(ids("s", 12), ids("t", 8), &dense).unwrap()
    }

    #[test]
    fn findings_come_worst_first_and_survive_json() {
        let mut table = defective();
        let mut dense = table.to_dense();
        dense[5 * 8..6 * 8].fill(0.0);
        table = table.with_dense(&dense).unwrap();
        let audit = audit(&table, &AuditOptions::default()).unwrap();
        let groups = |kind| &audit.finding(kind).unwrap().groups;
        assert_eq!(groups(Kind::IdenticalFeatures), &[["t6", "t7"]]);
        assert_eq!(groups(Kind::IdenticalSamples), &[["s0", "s11"]]);
        assert_eq!(groups(Kind::SameComposition), &[["s1", "s10"]]);
        assert_eq!(groups(Kind::EmptySamples), &[["s5"]]);
        let order = |finding: &Finding| (std::cmp::Reverse(finding.severity), finding.kind);
        assert!(audit.findings.is_sorted_by_key(order));
        assert_eq!(audit.n_of(Severity::Leak), 3);
        assert_eq!(audit.n_of(Severity::Warning), 1);
        let json = serde_json::to_string(&audit).unwrap();
        assert!(json.contains("\"kind\":\"identical-features\",\"severity\":\"leak\""));
        assert_eq!(serde_json::from_str::<Audit>(&json).unwrap(), audit);
    }

    #[test]
    fn a_table_too_wide_to_search_for_sums_says_so() {
        let ids = |p: &str, n: usize| (0..n).map(|i| format!("{p}{i}")).collect::<Vec<_>>();
        let dense = vec![0.0; 5001];
        let table = Table::from_dense(ids("s", 1), ids("t", 5001), &dense).unwrap();
        let audit = audit(&table, &AuditOptions::default()).unwrap();
        assert!(audit.finding(Kind::SumsNotSearched).is_some());
    }

    #[test]
    fn a_simulated_table_has_no_finding_but_its_subjects_and_empty_features() {
        for seed in 0..5 {
            let options = SimulateOptions {
                n_samples: 200,
                n_taxa: 150,
                seed,
                ..Default::default()
            };
            let table = simulate(&options).unwrap().table;
            let audit = audit(&table, &AuditOptions::default()).unwrap();
            let expected = [Kind::RepeatedSubjects, Kind::EmptyFeatures];
            let is_expected = |finding: &Finding| expected.contains(&finding.kind);
            assert!(audit.findings.iter().all(is_expected), "{audit:?}");
        }
    }
}

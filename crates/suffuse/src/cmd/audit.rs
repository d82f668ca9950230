//! `suffuse audit TABLE`: leaks, traps and oddities of a table, worst first.

use super::{Context, InputArgs};
use clap::Args;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use suffuse::{Error, Result};
use suffuse_data::Table;
use suffuse_data::audit::{Audit, AuditOptions, Finding, Kind, Severity, audit};
use suffuse_data::taxonomy::own_names;

/// Arguments of `audit`.
#[derive(Debug, Args)]
#[command(after_help = "\
A leak makes a score that is measured on the table too good: nested ranks, sums and copies of
features, copies of samples, several samples of one subject, rows that sum to a constant. A warning
says that results may not mean what they seem to. --json lists all names concerned.

Examples:
  suffuse audit table.h5ad
  suffuse audit table.biom -m metadata.tsv --subject host_id
  suffuse audit table.h5ad --collapse leaves
  suffuse audit table.tsv -m metadata.tsv --json")]
pub(crate) struct AuditArgs {
    /// Table to look at
    table: PathBuf,
    /// Metadata column that names the subject of each sample [default: guessed by its name]
    #[arg(long, value_name = "COLUMN", help_heading = "Audit")]
    subject: Option<String>,
    #[command(flatten)]
    input: InputArgs,
}

pub(super) fn run(arguments: &AuditArgs, context: &mut Context) -> Result<()> {
    let input = suffuse::input::read(&arguments.table, &arguments.input.options())?;
    context.notes(&input.notes);
    let options = AuditOptions {
        subject: arguments.subject.clone(),
    };
    let found = audit(&input.table, &options)
        .map_err(|error| Error::from(error).in_file(&arguments.table))?;
    if context.json {
        let value = serde_json::to_value(&found)
            .map_err(|error| Error::Table(format!("audit: {error}")))?;
        return context.talk.json(&value);
    }
    context
        .talk
        .data(&text(&arguments.table, &input.table, &found))
}

/// Groups, and names of a group, that are shown; `--json` has all.
const MAX_GROUPS: usize = 3;
const MAX_NAMES: usize = 4;

/// Columns of text, and those of its margin.
const WIDTH: usize = 100;
const MARGIN: usize = 10;

fn text(path: &Path, table: &Table, audit: &Audit) -> String {
    let mut text = format!(
        "{}: {} samples x {} features; {}\n",
        path.display(),
        audit.n_samples,
        audit.n_features,
        totals(audit)
    );
    let own_names = own_names(table);
    let name_of: HashMap<&str, &str> = table
        .feature_ids()
        .iter()
        .zip(&own_names)
        .filter(|(id, name)| !name.is_empty() && !id.ends_with(name.as_str()))
        .map(|(id, name)| (id.as_str(), name.as_str()))
        .collect();
    for finding in &audit.findings {
        let severity = match finding.severity {
            Severity::Leak => "leak",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        text.push_str(&format!(
            "\n{severity:<MARGIN$}{}\n",
            wrapped(&finding.found)
        ));
        for line in examples(finding, &name_of) {
            text.push_str(&format!("{:MARGIN$}{}\n", "", wrapped(&line)));
        }
        let advice = format!("do: {}", finding.advice);
        text.push_str(&format!("{:MARGIN$}{}\n", "", wrapped(&advice)));
    }
    text
}

fn totals(audit: &Audit) -> String {
    let count = |severity, name: &str| match audit.n_of(severity) {
        1 => format!("1 {name}"),
        n => format!("{n} {name}s"),
    };
    if audit.findings.is_empty() {
        return "nothing was found that an audit looks for".to_string();
    }
    [
        count(Severity::Leak, "leak"),
        count(Severity::Warning, "warning"),
        count(Severity::Note, "note"),
    ]
    .join(", ")
}

/// A line per group, as far as they are shown.
fn examples(finding: &Finding, name_of: &HashMap<&str, &str>) -> Vec<String> {
    let is_of_features = match finding.kind {
        Kind::NestedRanks
        | Kind::SumOfFeatures
        | Kind::IdenticalFeatures
        | Kind::ProportionalFeatures
        | Kind::SamePresence
        | Kind::EmptyFeatures => true,
        Kind::IdenticalSamples
        | Kind::SameComposition
        | Kind::RepeatedSubjects
        | Kind::ClosedRows
        | Kind::RarefiedRows
        | Kind::OneToOneColumns
        | Kind::Logarithms
        | Kind::EmptySamples
        | Kind::DeterminedColumn
        | Kind::UniqueColumns
        | Kind::RelativeAbundances
        | Kind::FractionalValues
        | Kind::SumsNotSearched => false,
    };
    // Between the first name and the others, and between those.
    let (first, between) = match finding.kind {
        Kind::NestedRanks => (" over ", ", "),
        Kind::SumOfFeatures => (" = ", " + "),
        Kind::RepeatedSubjects => (": ", ", "),
        Kind::DeterminedColumn => (" determines ", ", "),
        Kind::IdenticalFeatures | Kind::IdenticalSamples => (" = ", " = "),
        _ => (", ", ", "),
    };
    let name = |id: &String| match name_of.get(id.as_str()).filter(|_| is_of_features) {
        Some(name) => format!("{id} ({name})"),
        None => id.clone(),
    };
    let mut lines: Vec<String> = finding
        .groups
        .iter()
        .take(MAX_GROUPS)
        .map(|group| {
            let shown: Vec<String> = group.iter().take(MAX_NAMES).map(name).collect();
            let mut line = match shown.split_first() {
                Some((head, rest)) if !rest.is_empty() => {
                    format!("{head}{first}{}", rest.join(between))
                }
                _ => shown.concat(),
            };
            if group.len() > MAX_NAMES {
                line.push_str(&format!("{between}… ({} more)", group.len() - MAX_NAMES));
            }
            line
        })
        .collect();
    if finding.groups.len() > MAX_GROUPS {
        lines.push(format!("… ({} more)", finding.groups.len() - MAX_GROUPS));
    }
    lines
}

/// The text in lines of [`WIDTH`], all but the first behind the margin.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is a first line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= WIDTH - MARGIN {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_string());
        }
    }
    lines.join(&format!("\n{:MARGIN$}", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_between_words_behind_the_margin() {
        let long = "word ".repeat(40);
        for line in wrapped(&long).lines().skip(1) {
            assert!(line.starts_with("          word") && line.chars().count() <= WIDTH);
        }
        assert_eq!(wrapped(&"x".repeat(200)).lines().count(), 1);
    }
}

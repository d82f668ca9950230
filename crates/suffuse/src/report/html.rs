//! One self-contained HTML page on a filled table, an evaluation or a comparison, for people who do not read
//! code.
//!
//! ```text
//! Filled    ─► words, tables, charts ─┐
//!                                     ├► Page ─► page.html ─► text of one file
//! Evaluated ─► words, tables, charts ─┘
//! Compared  ─► figures, charts ─────────► compared.html
//! ```
//!
//! The page asks no server for anything and holds no script; its content security policy forbids both, so
//! that a hostile name in a table does no harm even where it were not escaped.

mod citations;
mod compared;
mod evaluated;
mod filled;
mod gathered;
mod methods;
mod ordination;
mod quality;
mod svg;
mod taxa;
mod taxa_by_samples;

pub use compared::{Compared, of_comparison};
pub use evaluated::{Evaluated, of_evaluation};
pub use filled::{Filled, of_filled};
pub use gathered::Gathered;

use crate::provenance::Provenance;
use crate::{Error, Result};
use citations::Citation;
use methods::{MethodTable, number};
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value};
use serde::Serialize;
use suffuse_data::Table;
use suffuse_data::audit::{Audit, AuditOptions, Severity, audit};
use taxa::{Taxon, Trust};

/// Everything that the template shows.
#[derive(Debug, Clone, Default, Serialize)]
struct Page {
    version: &'static str,
    kind: &'static str,
    file: String,
    subtitle: String,
    tiles: Vec<Tile>,
    done: Vec<String>,
    cautions: Vec<String>,
    methods_words: Vec<String>,
    methods: Vec<MethodTable>,
    used_tag: &'static str,
    glossary: Vec<(String, &'static str)>,
    calibration_words: Vec<String>,
    calibration_charts: Vec<Figure>,
    taxa_words: Vec<String>,
    taxa_chart: Option<String>,
    taxa_heading: String,
    has_filled: bool,
    taxa: Vec<TaxonLine>,
    ordination_words: Vec<String>,
    ordination_chart: Option<String>,
    sparsity_words: Vec<String>,
    sparsity: Vec<Stack>,
    sparsity_key: Vec<(&'static str, &'static str)>,
    audit_words: Vec<String>,
    findings: Vec<FindingLine>,
    facts: Vec<Fact>,
    citations: Vec<Citation>,
}

/// A figure that the eye falls on first.
#[derive(Debug, Clone, Serialize)]
struct Tile {
    value: String,
    label: String,
    tone: &'static str,
}

#[derive(Debug, Clone, Serialize)]
struct Figure {
    svg: String,
    caption: String,
}

#[derive(Debug, Clone, Serialize)]
struct TaxonLine {
    id: String,
    name: String,
    trust: Trust,
    trust_words: &'static str,
    n_observed: String,
    n_filled: String,
    n_tested: String,
    rmse: String,
    mean_rmse: String,
    width: String,
    spread: String,
    reasons: String,
}

/// A bar of the shares of the entries.
#[derive(Debug, Clone, Serialize)]
struct Stack {
    name: &'static str,
    words: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Serialize)]
struct Part {
    class: &'static str,
    name: &'static str,
    count: String,
    percent: f64,
}

#[derive(Debug, Clone, Serialize)]
struct FindingLine {
    severity: Severity,
    found: String,
    advice: String,
    examples: String,
}

#[derive(Debug, Clone, Serialize)]
struct Fact {
    name: String,
    value: String,
    is_long: bool,
}

impl Page {
    /// The text of the file.
    fn render(&self) -> Result<String> {
        render(include_str!("html/page.html"), self)
    }
}

/// A page from its template; all pages have one style sheet.
fn render(template: &str, page: &impl Serialize) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_filter("code", with_code);
    environment.add_global("style", include_str!("html/style.css"));
    let defect = |error: minijinja::Error| Error::Table(format!("report: {error:#}"));
    environment
        .add_template("page.html", template)
        .map_err(defect)?;
    let template = environment.get_template("page.html").map_err(defect)?;
    template.render(Serde(page)).map_err(defect)
}

/// Text with what stands between backticks as code.
fn with_code(text: &str) -> Value {
    let mut out = String::new();
    for (k, part) in text.split('`').enumerate() {
        // A number and its percent sign stay on one line.
        let part = svg::escaped(part).replace(" %", "\u{a0}%");
        match k % 2 {
            0 => out.push_str(&part),
            _ => out.push_str(&format!("<code>{part}</code>")),
        }
    }
    Value::from_safe_string(out)
}

/// Taxa that are listed at most, so that a phone can still show the page.
const MAX_TAXA: usize = 400;

/// What the page says of the taxa: words, picture and lines.
fn show_taxa(page: &mut Page, taxa: &[Taxon]) {
    let n_of = |trust: Trust| taxa.iter().filter(|taxon| taxon.trust() == trust).count();
    let (no, untested, yes) = (n_of(Trust::No), n_of(Trust::Untested), n_of(Trust::Yes));
    page.taxa_words.push(format!(
        "Of {}, {} not to be trusted, {} not tested, and nothing speaks against {}.",
        count(taxa.len(), "taxon", "taxa"),
        match no {
            1 => "1 is".to_string(),
            n => format!("{} are", thousands(n)),
        },
        match untested {
            1 => "1 was".to_string(),
            n => format!("{} were", thousands(n)),
        },
        thousands(yes)
    ));
    page.taxa_words.push(taxa::rule());
    page.taxa_chart = taxa::chart(taxa);
    page.taxa_heading = match taxa.len() > MAX_TAXA {
        true => format!(
            "The {MAX_TAXA} taxa of most concern, of {}",
            thousands(taxa.len())
        ),
        false => "All taxa, those of most concern first".to_string(),
    };
    page.taxa = taxa
        .iter()
        .take(MAX_TAXA)
        .map(|taxon| TaxonLine {
            id: taxon.id.clone(),
            name: taxon.name.clone(),
            trust: taxon.trust(),
            trust_words: match taxon.trust() {
                Trust::No => "do not trust",
                Trust::Untested => "not tested",
                Trust::Yes => "no objection",
            },
            n_observed: thousands(taxon.n_observed),
            n_filled: thousands(taxon.n_filled),
            n_tested: thousands(taxon.n_tested),
            rmse: number(taxon.rmse),
            mean_rmse: number(taxon.mean_rmse),
            width: number(taxon.width),
            spread: number(taxon.spread),
            reasons: taxon.reasons().join("; "),
        })
        .collect();
}

/// Groups, and names of a group, that a finding shows.
const MAX_GROUPS: usize = 3;
const MAX_NAMES: usize = 4;

/// What the page says of the audit; returns how many leaks there are.
fn show_audit(page: &mut Page, table: &Table) -> Result<usize> {
    let found: Audit = audit(table, &AuditOptions::default())?;
    let n_leaks = found.n_of(Severity::Leak);
    page.audit_words.push(match found.findings.len() {
        0 => "No leaks, traps or oddities were found in the table.".to_string(),
        n => format!(
            "{} found: {}, {} and {}. A leak makes a score that is measured on the table too good; a warning says that results may not mean what they seem to.",
            match n {
                1 => "1 thing was".to_string(),
                n => format!("{n} things were"),
            },
            count(n_leaks, "leak", "leaks"),
            count(found.n_of(Severity::Warning), "warning", "warnings"),
            count(found.n_of(Severity::Note), "note", "notes"),
        ),
    });
    page.findings = found
        .findings
        .into_iter()
        .map(|finding| {
            let group = |group: &Vec<String>| {
                let names: Vec<&str> = group.iter().take(MAX_NAMES).map(String::as_str).collect();
                let more = if group.len() > MAX_NAMES { ", …" } else { "" };
                format!("{}{more}", names.join(", "))
            };
            let groups: Vec<String> = finding.groups.iter().take(MAX_GROUPS).map(group).collect();
            FindingLine {
                severity: finding.severity,
                found: finding.found,
                advice: finding.advice,
                examples: groups.join(" | "),
            }
        })
        .collect();
    Ok(n_leaks)
}

/// Characters from which on a fact is folded away.
const LONG_FACT: usize = 160;

fn show_provenance(page: &mut Page, provenance: &Provenance) {
    page.facts = facts(provenance);
}

/// Where a page comes from, as names and values.
fn facts(provenance: &Provenance) -> Vec<Fact> {
    let serde_json::Value::Object(record) = provenance.to_json() else {
        return Vec::new();
    };
    record
        .into_iter()
        .map(|(name, value)| {
            let value = match value {
                serde_json::Value::String(text) => text,
                serde_json::Value::Array(items) => items
                    .iter()
                    .map(|item| item.as_str().map_or(item.to_string(), String::from))
                    .collect::<Vec<_>>()
                    .join("\n"),
                serde_json::Value::Object(_) => format!("{value:#}"),
                other => other.to_string(),
            };
            Fact {
                is_long: name != "command"
                    && (value.chars().count() > LONG_FACT || value.contains('\n')),
                name: name.replace('_', " "),
                value: if value.is_empty() {
                    "none".into()
                } else {
                    value
                },
            }
        })
        .collect()
}

/// A bar of these parts: class, name, entries.
fn stack(name: &'static str, parts: &[(&'static str, &'static str, usize)]) -> Stack {
    let n: usize = parts.iter().map(|(_, _, count)| count).sum();
    let share = |count: usize| 100.0 * count as f64 / n.max(1) as f64;
    let words: Vec<String> = parts
        .iter()
        .map(|(_, name, count)| format!("{name} {:.1} %", share(*count)))
        .collect();
    Stack {
        name,
        words: words.join(", "),
        parts: parts
            .iter()
            .filter(|(_, _, count)| *count > 0)
            .map(|(class, name, count)| Part {
                class,
                name,
                count: thousands(*count),
                percent: (share(*count) * 1000.0).round() / 1000.0,
            })
            .collect(),
    }
}

/// `12,345`
fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (k, digit) in digits.chars().enumerate() {
        if k > 0 && (digits.len() - k).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 zero`, `12,345 zeros`
fn count(n: usize, one: &str, many: &str) -> String {
    format!("{} {}", thousands(n), if n == 1 { one } else { many })
}

fn glossary(tables: &[MethodTable]) -> Vec<(String, &'static str)> {
    let mut names: Vec<String> = Vec::new();
    for row in tables.iter().flat_map(|table| &table.rows) {
        if !names.contains(&row.name) {
            names.push(row.name.clone());
        }
    }
    let explained = |name: String| {
        let words = methods::explained(&name);
        (name, words)
    };
    names.into_iter().map(explained).collect()
}

/// What the unit of all errors means.
fn unit_in_words() -> String {
    "Errors are in ln(1 + percent): abundance as a percentage of its sample, on a log scale. An error of 0.1 means that 1 + percent is typically off by a tenth, 0.7 by a factor of 2.".to_string()
}

#[cfg(test)]
mod tests;

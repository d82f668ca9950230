//! The page on an evaluation.

use super::citations::{self, Topic};
use super::{
    Figure, Page, Tile, count, glossary, methods, quality, show_audit, show_provenance, show_taxa,
    stack, taxa, thousands, unit_in_words,
};
use crate::Result;
use crate::evaluate::outcome::Outcome;
use crate::evaluate::{comparison, summary};
use crate::provenance::Provenance;
use suffuse_data::Table;
use suffuse_stats::impute::Method as Baseline;

/// What is told of an evaluation.
#[derive(Debug, Clone, Copy)]
pub struct Evaluated<'a> {
    /// File name of the table.
    pub file: &'a str,
    /// The table that was evaluated on.
    pub table: &'a Table,
    /// Name of the protocol.
    pub protocol: &'a str,
    /// Folds of a cross-validation; `None` where the whole table is filled.
    pub n_folds: Option<usize>,
    /// Results, of one setting.
    pub outcomes: &'a [Outcome],
    /// Where they come from.
    pub provenance: &'a Provenance,
}

impl Evaluated<'_> {
    /// Says whether methods are compared with the best baseline: not where totals leak.
    fn is_compared(&self) -> bool {
        self.n_folds.is_some() || self.protocol == "time_point"
    }
}

/// Methods that an evaluation is about, the first that is there.
const IN_QUESTION: [&str; 2] = ["auto", "depmicrodiff"];

/// Writes the page.
///
/// # Errors
/// None for a table that was read by this program.
pub fn of_evaluation(evaluated: &Evaluated) -> Result<String> {
    let mut page = Page {
        version: env!("CARGO_PKG_VERSION"),
        kind: "Evaluation",
        file: evaluated.file.to_string(),
        subtitle: format!(
            "{} × {}, protocol {}",
            count(evaluated.table.n_samples(), "sample", "samples"),
            count(evaluated.table.n_features(), "taxon", "taxa"),
            evaluated.protocol
        ),
        used_tag: "in question",
        ..Page::default()
    };
    let question = in_question(evaluated.outcomes);
    page.done = done(evaluated);
    show_methods(&mut page, evaluated, &question);
    let least = evaluated
        .outcomes
        .iter()
        .map(|outcome| outcome.key.fraction);
    let least = least.fold(f64::INFINITY, f64::min);
    let here: Vec<&Outcome> = evaluated
        .outcomes
        .iter()
        .filter(|outcome| outcome.key.fraction == least)
        .collect();
    let taxa = taxa::taxa(
        evaluated.table,
        &taxa::errors_in(evaluated.table, &here, &question),
        None,
    );
    if least.is_finite() {
        page.taxa_words.push(format!(
            "Errors are those of {question} ({}). A taxon is scored where a fold or a random choice hides at least 5 of its values.",
            comparison::hidden_in_words(
                evaluated.protocol,
                here[0].key.setting.get("mask").map(String::as_str),
                least
            )
        ));
    }
    show_taxa(&mut page, &taxa);
    page.ordination_words.push("An evaluation fills only the entries that it hides, so there is no filled table to compare with. `suffuse impute TABLE -o OUT --report FILE.html` shows the samples before and after.".to_string());
    show_sparsity(&mut page, evaluated.table);
    let n_leaks = show_audit(&mut page, evaluated.table)?;
    show_provenance(&mut page, evaluated.provenance);
    page.cautions = cautions(evaluated, n_leaks);
    page.tiles.push(taxa::tile(&taxa));
    page.citations = citations::of(topics(evaluated));
    page.render()
}

/// The method that the page is about: the default, else the model, else the one with the least error.
fn in_question(outcomes: &[Outcome]) -> String {
    let is_there = |name: &&&str| outcomes.iter().any(|o| o.key.method == **name);
    if let Some(name) = IN_QUESTION.iter().find(is_there) {
        return name.to_string();
    }
    // Pooled over all results of a method.
    let groups = summary::by_method(outcomes);
    let pooled = groups.iter().map(|(name, group)| {
        let n: usize = group.iter().map(|o| o.pooled.n).sum();
        let square = |o: &&Outcome| o.pooled.n as f64 * o.pooled.rmse.powi(2);
        (name, group.iter().map(square).sum::<f64>() / n as f64)
    });
    pooled
        .filter(|(_, square)| square.is_finite())
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map_or_else(String::new, |(name, _)| name.clone())
}

fn done(evaluated: &Evaluated) -> Vec<String> {
    let mut words = vec![format!(
        "Nobody knows the truth behind the zeros of {}. But the values above zero are known: some of them were hidden, filled by each method, and compared with what they were. The table itself was not changed.",
        evaluated.file
    )];
    words.push(match evaluated.protocol {
        "strict" => "Hidden were values of samples that a method had not learned from, and 100 percent is the total of what was left of a sample, so that nothing gives the answer away. The method was told which entries were hidden.".to_string(),
        "blind" => "Hidden were values of samples that a method had not learned from. A hidden value looked like a zero, and as many true zeros were judged beside them: this is closest to a real table, where nobody says which zeros are false.".to_string(),
        "published" => "Hidden were values anywhere in the table, as in the literature. The totals were taken before hiding, which gives part of the answer away: use these numbers to compare with papers, and `--protocol strict` to judge a method.".to_string(),
        "thinning" => "The counts were thinned at random, as if the samples had been sequenced less deeply. Methods saw the thin table alone, and what they made of samples that they had not learned from was compared with the full depth.".to_string(),
        "detection_limit" => "Hidden were the lowest values of samples that a method had not learned from, as if they had fallen under a detection limit. The method was told which entries were hidden.".to_string(),
        "whole_taxon" => "Hidden were whole taxa of samples that a method had not learned from, as if a panel had not measured them there.".to_string(),
        "whole_sample" => "Hidden were whole samples that a method had not learned from, as if a run had failed: little but averages and metadata is left to go by.".to_string(),
        "time_point" => "Hidden were all samples of a subject at one time, as if a visit had been missed. Methods learned from the rest of the table, other visits of the same subjects too. What they filled was closed to 100 percent, with nothing where they judged a taxon absent.".to_string(),
        other => format!("What was hidden, and what a method could see, is protocol {other}; the guide describes it."),
    });
    if let Some(n_folds) = evaluated.n_folds {
        words.push(format!(
            "The samples were split into {n_folds} folds, and each fold was filled by methods that learned from the others."
        ));
    }
    words
}

fn show_methods(page: &mut Page, evaluated: &Evaluated, question: &str) {
    if evaluated.outcomes.is_empty() {
        page.methods_words.push("There are no results.".to_string());
        page.calibration_words
            .push("There are no results.".to_string());
        return;
    }
    page.methods_words
        .push(format!("Less error is better. {}", unit_in_words()));
    let mut dots = Vec::new();
    match evaluated.is_compared() {
        true => {
            let rows = comparison::rows(evaluated.outcomes);
            page.methods = methods::of_comparison(&rows, question);
            for verdict in comparison::verdicts(&rows) {
                page.done.push(format!("{verdict}."));
            }
            for row in rows.iter().filter(|row| row.method == question) {
                if let Some(draws) = row.draws {
                    dots.push((row.what(), draws.coverage_50, draws.coverage_90));
                }
            }
            let first = rows.iter().find(|row| row.method == question);
            if let Some((row, ratio)) = first.and_then(|row| Some((row, row.rmse_ratio?))) {
                page.tiles.push(Tile {
                    value: format!("{:.2}", ratio.value),
                    label: format!(
                        "error of {question} divided by that of the best classical method, {}; below 1 is better",
                        row.what()
                    ),
                    tone: match (ratio.low, ratio.high) {
                        (_, high) if high < 1.0 => "good",
                        (low, _) if low > 1.0 => "bad",
                        _ => "",
                    },
                });
            }
        }
        false => {
            let rows = summary::rows(evaluated.outcomes);
            page.methods = vec![methods::of_summary(&rows, question)];
            if let Some(verdict) = summary::verdict(&rows, question) {
                page.done.push(format!("{verdict}."));
            }
            for outcome in evaluated
                .outcomes
                .iter()
                .filter(|o| o.key.method == question)
            {
                if let Some(draws) = outcome.draws {
                    let text = format!("seed {}", outcome.key.seed);
                    dots.push((text, draws.coverage_50, draws.coverage_90));
                }
            }
        }
    }
    page.glossary = glossary(&page.methods);
    if let Some((_, _, most)) = dots.first().filter(|(_, _, most)| most.is_finite()) {
        page.tiles.push(Tile {
            value: format!("{:.0} %", 100.0 * most),
            label: format!("of hidden values inside the 90 % interval of {question}"),
            tone: if *most >= 0.85 { "good" } else { "bad" },
        });
    }
    show_coverage(page, question, &dots);
}

fn show_coverage(page: &mut Page, question: &str, dots: &[(String, f64, f64)]) {
    let defined: Vec<&(String, f64, f64)> = dots
        .iter()
        .filter(|(_, half, most)| half.is_finite() && most.is_finite())
        .collect();
    if defined.is_empty() {
        page.calibration_words.push(format!(
            "{question} gave no intervals here, so there is nothing to say of how sure it is."
        ));
        return;
    }
    page.calibration_words.push(format!(
        "{question} gives an interval with each value. If it knows how sure it is, a 50 % interval holds the true value in half of the entries and a 90 % interval nine times in ten."
    ));
    let held: Vec<String> = defined
        .iter()
        .map(|(text, half, most)| {
            format!("{text}: {:.1} % and {:.1} %", 100.0 * half, 100.0 * most)
        })
        .collect();
    let marks: Vec<(String, f64, f64)> = defined
        .iter()
        .flat_map(|(_, half, most)| [(0.5, *half), (0.9, *most)])
        .map(|(level, held)| (String::new(), level, held))
        .collect();
    page.calibration_charts = vec![Figure {
        svg: quality::coverage_chart("coverage", &[], &marks),
        caption: format!(
            "On the dashed line the intervals hold what they promise; below it they are too narrow. 50 % and 90 % intervals held, with {}.",
            held.join("; ")
        ),
    }];
}

fn show_sparsity(page: &mut Page, table: &Table) {
    let n = table.n_samples() * table.n_features();
    let values = table.csr().2;
    let missing = values.iter().filter(|value| value.is_nan()).count();
    let observed = values.iter().filter(|value| **value > 0.0).count();
    let zero = n - missing - observed;
    page.sparsity_words.push(format!(
        "{} of {} entries are zero ({:.1} %), {} not measured.",
        thousands(zero),
        thousands(n),
        100.0 * zero as f64 / n.max(1) as f64,
        match missing {
            1 => "1 was".to_string(),
            n => format!("{} were", thousands(n)),
        }
    ));
    let parts = [
        ("observed", "measured", observed),
        ("zero", "zero", zero),
        ("missing", "not measured", missing),
    ];
    page.sparsity = vec![stack("table", &parts)];
    page.sparsity_key = vec![
        ("observed", "measured above zero"),
        ("zero", "zero"),
        ("missing", "not measured"),
    ];
}

fn cautions(evaluated: &Evaluated, n_leaks: usize) -> Vec<String> {
    let mut words = vec![
        "Values that were measured are not the same as values that were missed: a taxon that is low is missed more often. Errors on real gaps may be larger than here.".to_string(),
        "A method that is not better than the taxon's average says little about single samples, whatever its correlation.".to_string(),
        "These numbers hold for this table and its kind of samples; measure again on another.".to_string(),
    ];
    if n_leaks > 0 {
        words.push(format!(
            "The audit below found {}: read what it says on how far the errors may be too good{}.",
            count(n_leaks, "leak", "leaks"),
            match evaluated.protocol {
                "published" => ", which this protocol does nothing against",
                _ => "",
            }
        ));
    }
    words
}

fn topics<'a>(evaluated: &Evaluated<'a>) -> Vec<Topic<'a>> {
    let mut names: Vec<&str> = Vec::new();
    for outcome in evaluated.outcomes {
        if !names.contains(&outcome.key.method.as_str()) {
            names.push(&outcome.key.method);
        }
    }
    if names.contains(&"auto") {
        names.extend([Baseline::ExtraTrees.name(), Baseline::SoftImpute.name()]);
    }
    let has_draws = evaluated.outcomes.iter().any(|o| o.draws.is_some());
    let mut topics: Vec<Topic> = names.into_iter().map(Topic::Method).collect();
    if has_draws {
        topics.extend([Topic::Intervals, Topic::Crps]);
    }
    if evaluated.is_compared() {
        topics.push(Topic::Bootstrap);
    }
    topics
}

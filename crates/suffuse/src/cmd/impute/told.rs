//! What is told of a run of `suffuse impute`: lines on stderr, JSON on stdout, and the page for the browser.

use super::{Context, Done, Job};
use serde_json::json;
use suffuse::Result;
use suffuse::auto::{Choice, DIFFUSION, Tested};
use suffuse::impute::{Counts, Files};
use suffuse::method::Method;
use suffuse::output::write_text;
use suffuse::provenance::Provenance;
use suffuse::report::html::{self, Filled, Gathered};
use suffuse_data::Table;

/// What a page is made from.
pub(super) struct Seen<'a> {
    /// Before filling.
    pub(super) table: &'a Table,
    pub(super) gathered: &'a Gathered,
    pub(super) tested: &'a Tested,
    pub(super) choice: Option<&'a Choice>,
}

impl Job<'_> {
    /// What a page wants to know, where one is asked for.
    pub(super) fn gathered(&self, table: &Table) -> Option<Gathered> {
        let is_asked = self.arguments.report.is_some();
        is_asked.then(|| Gathered::new(table, self.arguments.run.seed))
    }

    pub(super) fn page(
        &self,
        seen: &Seen,
        counts: Counts,
        provenance: &Provenance,
    ) -> Result<String> {
        let file = self.arguments.table.file_name().unwrap_or_default();
        let mut method = self.arguments.filling.method;
        let has_partner = seen.choice.is_some_and(Choice::has_partner);
        if method == Method::Auto && self.arguments.folders.model.is_some() && !has_partner {
            method = Method::DepMicroDiff;
        }
        let name = match method {
            Method::DepMicroDiff if !has_partner => DIFFUSION.to_string(),
            _ => method.to_string(),
        };
        html::of_filled(&Filled {
            file: &file.to_string_lossy(),
            table: seen.table,
            counts,
            method: &name,
            choice: seen
                .choice
                .filter(|_| method == Method::Auto || has_partner),
            tested: seen.tested,
            gathered: seen.gathered,
            presence_threshold: self.arguments.filling.presence_threshold,
            n_sets: self.files.sets.len(),
            provenance,
        })
    }

    /// Writes the page, which comes after the table that it describes.
    pub(super) fn write_page(&self, page: Option<Result<String>>) -> Result<()> {
        match (&self.files.report, page) {
            (Some(path), Some(page)) => write_text(path, self.files.overwrite, &page?),
            _ => Ok(()),
        }
    }
}

/// Says what was done and which files were written.
pub(super) fn report(files: &Files, done: &Done, context: &mut Context) -> Result<()> {
    let counts = done.counts;
    if context.json {
        let files: Vec<String> = files
            .paths()
            .map(|path| path.display().to_string())
            .collect();
        let mut all = json!({"files": files, "counts": counts});
        if let Some(all) = all.as_object_mut() {
            // What was chosen, and what it is worth; the settings stand in the record.
            let told = done.facts.iter().filter(|(name, _)| *name != "config");
            all.extend(told.map(|(name, value)| (name.clone(), value.clone())));
        }
        return context.talk.json(&all);
    }
    let per_second = done.n_samples as f64 / done.seconds.max(1e-9);
    context.talk.note(&format!(
        "filled {} entries that were not measured and {} zeros; kept {} observed entries, {} zeros and {} missing ones; {} samples/s",
        counts.filled_missing,
        counts.filled_zeros,
        counts.observed,
        counts.kept_zeros,
        counts.kept_missing,
        rate(per_second)
    ));
    for path in files.paths().filter(|path| !files.sets.contains(path)) {
        context.talk.note(&format!("wrote {}", path.display()));
    }
    if let (Some(first), Some(last)) = (files.sets.first(), files.sets.last()) {
        let (first, last) = (first.display(), last.display());
        context.talk.note(&format!(
            "wrote {first} .. {last}, {} completed tables",
            files.sets.len()
        ));
    }
    if let Some(path) = files.left_over_set() {
        context.talk.note(&format!(
            "{} is there as well, from another run; do not pool it with these",
            path.display()
        ));
    }
    Ok(())
}

/// Two digits at least.
fn rate(per_second: f64) -> String {
    match per_second {
        x if x < 1.0 => format!("{x:.2}"),
        x if x < 10.0 => format!("{x:.1}"),
        x => format!("{x:.0}"),
    }
}

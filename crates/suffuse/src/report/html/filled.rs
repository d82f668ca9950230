//! The page on a filled table.

use super::citations::{self, Topic};
use super::gathered::Gathered;
use super::quality::Quality;
use super::{
    Figure, Page, Tile, count, glossary, methods, ordination, show_audit, show_provenance,
    show_taxa, stack, taxa, thousands, unit_in_words,
};
use crate::Result;
use crate::auto::{Choice, DIFFUSION, Hidden, Tested};
use crate::impute::Counts;
use crate::provenance::Provenance;
use std::cmp::Ordering;
use suffuse_data::Table;
use suffuse_stats::bootstrap::Ratio;
use suffuse_stats::impute::Method as Baseline;

/// What is told of a filled table.
#[derive(Debug, Clone, Copy)]
pub struct Filled<'a> {
    /// File name of the table.
    pub file: &'a str,
    /// The table before filling.
    pub table: &'a Table,
    /// Fates of the entries.
    pub counts: Counts,
    /// Name of the method.
    pub method: &'a str,
    /// What the default method chose.
    pub choice: Option<&'a Choice>,
    /// Hidden entries; empty where none could be hidden.
    pub tested: &'a Tested,
    /// What was gathered while it was filled.
    pub gathered: &'a Gathered,
    /// Probability of presence from which a zero is filled.
    pub presence_threshold: f64,
    /// Completed tables of one draw each.
    pub n_sets: usize,
    /// Where the output comes from.
    pub provenance: &'a Provenance,
}

/// How what filled the table did on hidden entries.
struct Score {
    n: usize,
    rmse: f64,
    /// RMSE divided by that of the taxon mean.
    ratio: Option<Ratio>,
}

/// Samples below which the page warns that there are few.
const FEW_SAMPLES: usize = 50;

/// Writes the page.
///
/// # Errors
/// A completed table without a composition, which would be a defect of the method.
pub fn of_filled(filled: &Filled) -> Result<String> {
    let mut page = Page {
        version: env!("CARGO_PKG_VERSION"),
        kind: "Filled table",
        file: filled.file.to_string(),
        subtitle: format!(
            "{} × {}, filled by {}",
            count(filled.table.n_samples(), "sample", "samples"),
            count(filled.table.n_features(), "taxon", "taxa"),
            filled.method
        ),
        used_tag: "used",
        has_filled: true,
        ..Page::default()
    };
    let score = score(filled);
    let quality = Quality::of(filled.tested);
    let taxa = taxa::taxa(
        filled.table,
        &taxa::errors_of(filled.tested),
        Some(filled.gathered),
    );
    show_methods(&mut page, filled);
    show_quality(&mut page, filled, quality.as_ref());
    show_taxa(&mut page, &taxa);
    let n_leaks = show_audit(&mut page, filled.table)?;
    show_ordination(&mut page, filled)?;
    show_sparsity(&mut page, filled.counts, filled.gathered.n_absent);
    show_provenance(&mut page, filled.provenance);
    page.done = done(filled, score.as_ref(), quality.as_ref());
    let n_doubtful = taxa.iter().filter(|t| t.trust() == taxa::Trust::No).count();
    page.cautions = cautions(filled, n_doubtful, n_leaks);
    page.tiles = tiles(filled, score.as_ref(), quality.as_ref());
    page.tiles.push(taxa::tile(&taxa));
    page.citations = citations::of(topics(filled));
    page.render()
}

fn score(filled: &Filled) -> Option<Score> {
    let said = &filled.tested.said;
    if said.is_empty() {
        return None;
    }
    let mut different = filled.tested.places.clone();
    different.sort_unstable();
    different.dedup();
    let squares: f64 = said.iter().map(|s| (s.value - s.truth).powi(2)).sum();
    let values: Vec<f64> = said.iter().map(|said| said.value).collect();
    Some(Score {
        n: different.len(),
        rmse: (squares / said.len() as f64).sqrt(),
        ratio: methods::against_mean(filled.tested, &values),
    })
}

fn is_baseline(method: &str) -> bool {
    method.parse::<Baseline>().is_ok()
}

fn tiles(filled: &Filled, score: Option<&Score>, quality: Option<&Quality>) -> Vec<Tile> {
    let counts = filled.counts;
    let mut tiles = vec![
        Tile {
            value: thousands(counts.filled_zeros + counts.filled_missing),
            label: match counts.filled_missing {
                0 => "zeros given a value".to_string(),
                n => format!(
                    "entries given a value: {} and {} not measured",
                    count(counts.filled_zeros, "zero", "zeros"),
                    thousands(n)
                ),
            },
            tone: "",
        },
        Tile {
            value: thousands(counts.observed),
            label: "measured values kept bit for bit".to_string(),
            tone: "good",
        },
    ];
    if let Some(ratio) = score.and_then(|score| score.ratio) {
        let percent = 100.0 * (1.0 - ratio.value);
        tiles.push(Tile {
            value: match percent < 0.0 {
                true => format!("+{:.0} %", -percent),
                false => format!("−{percent:.0} %"),
            },
            label: "error against filling with each taxon's average".to_string(),
            tone: if ratio.high < 1.0 { "good" } else { "bad" },
        });
    }
    if let Some([_, most]) = quality.and_then(|quality| quality.intervals) {
        tiles.push(Tile {
            value: format!("{:.0} %", 100.0 * most),
            label: "of hidden values inside their 90 % interval".to_string(),
            tone: if most >= LEAST_COVERAGE {
                "good"
            } else {
                "bad"
            },
        });
    }
    tiles
}

/// Coverage of the 90 % interval below which the page warns.
const LEAST_COVERAGE: f64 = 0.85;

/// What was done, in sentences.
fn done(filled: &Filled, score: Option<&Score>, quality: Option<&Quality>) -> Vec<String> {
    let counts = filled.counts;
    let (zeros, missing) = (
        counts.filled_zeros + counts.kept_zeros,
        counts.filled_missing + counts.kept_missing,
    );
    let n_entries = (counts.observed + zeros + missing).max(1);
    let mut words = vec![format!(
        "The table {} holds {} and {}. {:.1} % of its entries are zero{}. A zero can mean two things: the taxon is not there, or it is there and the sequencing missed it.",
        filled.file,
        count(filled.table.n_samples(), "sample", "samples"),
        count(filled.table.n_features(), "taxon", "taxa"),
        100.0 * zeros as f64 / n_entries as f64,
        match missing {
            0 => String::new(),
            n => format!(" and {} not measured", be(n)),
        }
    )];
    words.push(match is_baseline(filled.method) {
        true => format!(
            "{} that had not been measured {} given a value. Zeros were left alone: {} cannot tell a false zero from a true one.",
            count(counts.filled_missing, "entry", "entries"),
            if counts.filled_missing == 1 { "was" } else { "were" },
            filled.method
        ),
        false => format!(
            "A value was given to {} where the taxon is to be expected from the rest of the sample (with a probability of at least {:.0} %){}. The other {} zero.",
            count(counts.filled_zeros, "zero", "zeros"),
            100.0 * filled.presence_threshold,
            missing_in_words(counts.filled_missing, filled.gathered.n_absent),
            match counts.kept_zeros {
                1 => "zero stays".to_string(),
                n => format!("{} zeros stay", thousands(n)),
            }
        ),
    });
    words.push(format!(
        "Every measured value above zero ({}) stands in the output exactly as in the input, bit for bit.",
        thousands(counts.observed)
    ));
    words.push(method_in_words(filled));
    words.push(match score {
        None => "How good this is could not be measured in this run: no known values were hidden from the method. `suffuse evaluate` does so.".to_string(),
        Some(score) => format!(
            "How good is that? {} that are known were hidden and filled, {}. The typical error is {:.3} in ln(1 + percent): 1 + percent is typically off by a factor of {:.2}. {}",
            count(score.n, "value", "values"),
            match filled.tested.hidden {
                Hidden::Anywhere => "a tenth of all values above zero",
                Hidden::InOtherSamples => "in samples that the model had not learned from",
                Hidden::InTheTableLearnedFrom =>
                    "in samples that the model had not learned from, of the table that it was fitted on",
            },
            score.rmse,
            score.rmse.exp(),
            score.ratio.map_or(String::new(), compared)
        ),
    });
    if let Some([_, most]) = quality.and_then(|quality| quality.intervals) {
        words.push(format!(
            "How sure? The 90 % intervals held the true value in {:.1} % of the hidden entries{}.",
            100.0 * most,
            match most < LEAST_COVERAGE {
                true => ", which is less than they promise: take them to be too narrow",
                false => "",
            }
        ));
    }
    words
}

fn missing_in_words(n_filled: usize, n_absent: usize) -> String {
    let absent = match n_absent {
        0 => String::new(),
        n => format!(
            " ({} of them were judged absent, which is the value 0)",
            thousands(n)
        ),
    };
    match n_filled {
        0 => String::new(),
        n => format!(
            ", and to {} that had not been measured{absent}",
            count(n, "entry", "entries")
        ),
    }
}

fn be(n: usize) -> String {
    match n {
        1 => "1 was".to_string(),
        n => format!("{} were", thousands(n)),
    }
}

fn method_in_words(filled: &Filled) -> String {
    let plain = format!(
        "The values come from `{}`: {}.",
        filled.method,
        methods::explained(filled.method)
    );
    let Some(choice) = filled.choice else {
        return plain;
    };
    let Some(_) = &choice.errors else {
        return format!(
            "{plain} Nothing was at hand to weigh the two on, so the model filled alone."
        );
    };
    if choice.is_floor() {
        return format!(
            "{plain} Here nothing was better than each taxon's average, so the table was filled with that."
        );
    }
    let mut shares = vec![format!("{:.0} % {DIFFUSION}", 100.0 * choice.blend.weight)];
    let of_partner =
        |(partner, share): &(Baseline, f64)| format!("{:.0} % {partner}", 100.0 * share);
    shares.extend(choice.partners.iter().map(of_partner));
    format!("{plain} Here the weights are {}.", shares.join(", "))
}

/// A ratio to the error of the taxon mean, as a sentence.
fn compared(ratio: Ratio) -> String {
    let less = |ratio: f64| 100.0 * (1.0 - ratio);
    match (ratio.low, ratio.high) {
        (_, high) if high < 1.0 => format!(
            "That is {:.0} % less than filling with each taxon's average (95 % interval: {:.0} to {:.0} %).",
            less(ratio.value),
            less(ratio.high),
            less(ratio.low)
        ),
        (low, _) if low > 1.0 => format!(
            "That is {:.0} % MORE than filling with each taxon's average: use `--method taxon-mean`, or leave the table as it is.",
            -less(ratio.value)
        ),
        _ => "That cannot be told apart from filling with each taxon's average: the values filled in say little about single samples.".to_string(),
    }
}

fn cautions(filled: &Filled, n_doubtful: usize, n_leaks: usize) -> Vec<String> {
    let mut words = Vec::new();
    if n_doubtful > 0 {
        words.push(format!(
            "Leave out {} below, or use only {} measured values.",
            match n_doubtful {
                1 => "the 1 taxon not to trust".to_string(),
                n => format!("the {} taxa not to trust", thousands(n)),
            },
            if n_doubtful == 1 { "its" } else { "their" }
        ));
    }
    if filled.counts.filled_zeros > 0 {
        words.push("Whether a taxon is to be expected in a sample was judged from its other taxa, not from how deep it was sequenced. A taxon that is usually found in such samples gets a value even where it is truly absent; raise `--presence-threshold`, or use `--fill missing`, where that matters.".to_string());
    }
    words.push("Do not read a value filled in as a detection. Whether an organism is in one sample is a question for the laboratory.".to_string());
    words.push(match filled.n_sets {
        0 => format!(
            "Do not test groups of samples for differences as if every value had been measured: p-values come out too small. Write several completed tables with `{}--m 20` and compare groups over them with `suffuse pool`.",
            if is_baseline(filled.method) { "--method auto " } else { "" } // a baseline has no draws
        ),
        n => format!("Do not test groups of samples for differences on one completed table: p-values come out too small. {n} tables of one draw each were written; compare groups over them with `suffuse pool`."),
    });
    words.push("Do not compute correlations or networks of taxa from values filled in: they were made from the other taxa, which ties them together.".to_string());
    words.push("Richness and other counts of taxa rise with every zero that is filled. Report them on the measured table.".to_string());
    words.push("A zero that must be zero (a blank, a taxon that cannot live there) is no gap: list such zeros with `--structural-zeros`.".to_string());
    if filled.table.n_samples() < FEW_SAMPLES {
        words.push(format!(
            "The table has only {}. A model learns little from so few, and one that learned from others can hardly be checked on them; be careful with all values.",
            count(filled.table.n_samples(), "sample", "samples")
        ));
    }
    if n_leaks > 0 {
        words.push(format!(
            "The audit below found {}: the errors on hidden entries may be too good.",
            count(n_leaks, "leak", "leaks")
        ));
    }
    words
}

fn show_methods(page: &mut Page, filled: &Filled) {
    if filled.tested.said.is_empty() {
        page.methods_words.push("No known values were hidden in this run, so methods were not compared. `suffuse evaluate TABLE --out DIR` compares all of them on your table.".to_string());
        return;
    }
    page.methods_words.push(format!(
        "Known values of {} were hidden, filled by each method, and compared with the truth; less error is better. {}",
        match filled.tested.hidden {
            Hidden::InTheTableLearnedFrom => "the table that the model was fitted on",
            Hidden::InOtherSamples | Hidden::Anywhere => "your table",
        },
        unit_in_words()
    ));
    if filled.choice.is_some_and(|choice| choice.errors.is_some()) {
        page.methods_words.push("The weights of `auto` were learned on the same entries, which flatters it a little. `suffuse evaluate` measures without that, and with all methods.".to_string());
    }
    // Where nothing has a share beside the model, it stands in the table by its own name.
    let used = match filled.tested.values.contains_key(filled.method) {
        true => filled.method,
        false => DIFFUSION,
    };
    page.methods = vec![methods::of_tested(filled.tested, used)];
    page.glossary = glossary(&page.methods);
}

fn show_quality(page: &mut Page, filled: &Filled, quality: Option<&Quality>) {
    let Some(quality) = quality else {
        page.calibration_words.push(match is_baseline(filled.method) {
            true => format!("{} gives one value per entry and no interval, so there is nothing to say of how sure it is. The default method does.", filled.method),
            false => "No hidden entries with draws are at hand, so it is not known whether the intervals hold what they promise. `suffuse evaluate` measures it.".to_string(),
        });
        return;
    };
    page.calibration_words.push(format!(
        "The method does not give one value but several plausible ones, and an interval. If it knows how sure it is, a 90 % interval holds the true value nine times in ten. This was looked at on {} (each judged by a calibration made from other samples).",
        count(quality.n, "comparison with a hidden value", "comparisons with hidden values")
    ));
    page.calibration_charts = vec![
        Figure {
            svg: quality.coverage_chart(),
            caption: match quality.intervals {
                Some([half, most]) => format!(
                    "Squares: the 50 % and 90 % intervals as they are written held {:.1} % and {:.1} %. Line: intervals between the draws. On the dashed line they hold what they promise; below it they are too narrow.",
                    100.0 * half,
                    100.0 * most
                ),
                None => "Intervals between the draws; too few entries were hidden to calibrate them. On the dashed line they hold what they promise; below it they are too narrow.".to_string(),
            },
        },
        Figure {
            svg: quality.rank_chart(),
            caption: "Where the true value lies among the draws. Flat is right; high at both ends means draws too close together, high in the middle too far apart; high at one end means values that are too low or too high.".to_string(),
        },
    ];
}

fn show_ordination(page: &mut Page, filled: &Filled) -> Result<()> {
    let Some(found) = ordination::before_after(filled.table, filled.gathered)? else {
        page.ordination_words.push(
            "Fewer than three samples have a value above zero: there is nothing to arrange."
                .to_string(),
        );
        return Ok(());
    };
    page.ordination_words.push(format!(
        "Each sample is a point before and a point after, and samples that are alike lie close together (Bray-Curtis, principal coordinates). On average a sample moved by {:.2} on a scale from 0 (same) to 1 (nothing in common). Two samples are on average {:.2} apart before and {:.2} after.",
        found.moved, found.apart[0], found.apart[1]
    ));
    page.ordination_words.push("Short lines and the same pattern are what you want. If groups appear that were not there before, do not believe them without other evidence.".to_string());
    if found.n_left_out > 0 {
        page.ordination_words.push(format!(
            "{} of {} samples were drawn at random for this picture.",
            thousands(found.n_samples),
            thousands(found.n_samples + found.n_left_out)
        ));
    }
    page.ordination_chart = Some(found.chart);
    Ok(())
}

/// - `n_absent`: entries filled with 0, which are zeros from then on
fn show_sparsity(page: &mut Page, counts: Counts, n_absent: usize) {
    let before = counts.filled_zeros + counts.kept_zeros;
    let after = counts.kept_zeros + n_absent;
    let filled = counts.filled_zeros + counts.filled_missing - n_absent;
    let missing = counts.filled_missing + counts.kept_missing;
    let n = (counts.observed + before + missing).max(1);
    let percent = |part: usize| 100.0 * part as f64 / n as f64;
    page.sparsity_words.push(format!(
        "Zeros {} from {:.1} % to {:.1} % of all entries{}.{}",
        match after.cmp(&before) {
            Ordering::Less => "fell",
            Ordering::Equal => "stayed",
            Ordering::Greater => "rose",
        },
        percent(before),
        percent(after),
        match missing {
            0 => String::new(),
            n => format!(
                ", entries without a measurement from {:.1} % to {:.1} %",
                percent(n),
                percent(counts.kept_missing)
            ),
        },
        match counts.empty_samples {
            0 => String::new(),
            n => format!(
                " {} without any value above zero kept {} place.",
                count(n, "sample", "samples"),
                if n == 1 { "its" } else { "their" }
            ),
        }
    ));
    page.sparsity = vec![
        stack(
            "before",
            &[
                ("observed", "measured", counts.observed),
                ("zero", "zero", before),
                ("missing", "not measured", missing),
            ],
        ),
        stack(
            "after",
            &[
                ("observed", "measured", counts.observed),
                ("filled", "filled", filled),
                ("zero", "zero", after),
                ("missing", "not measured", counts.kept_missing),
            ],
        ),
    ];
    page.sparsity_key = vec![
        ("observed", "measured above zero"),
        ("filled", "filled with more than 0"),
        ("zero", "zero"),
    ];
    if missing > 0 {
        page.sparsity_key.push(("missing", "not measured"));
    }
}

fn topics<'a>(filled: &Filled<'a>) -> Vec<Topic<'a>> {
    let mut topics = vec![Topic::Method(filled.method)];
    if let Some(choice) = filled.choice {
        let partners = choice.partners.iter();
        topics.extend(partners.map(|(partner, _)| Topic::Method(partner.name())));
    }
    topics.extend(filled.tested.values.keys().map(|name| Topic::Method(name)));
    if !is_baseline(filled.method) {
        topics.extend([Topic::Intervals, Topic::Crps]);
        if !filled.tested.said.is_empty() {
            topics.push(Topic::Ranks);
        }
    }
    if !filled.tested.said.is_empty() {
        topics.push(Topic::Bootstrap);
    }
    topics.push(Topic::Ordination);
    if filled.n_sets > 0 {
        topics.push(Topic::MultipleImputation);
    }
    topics
}

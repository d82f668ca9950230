//! What a synthetic table gives away, as text for the terminal.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use suffuse_stats::bootstrap::Interval;
use suffuse_stats::privacy::{Closeness, Privacy, Verdict};

/// A figure of one distance, as text.
type Figure = fn(&Closeness) -> String;

/// A table of the figures, a line per criterion, and the verdict.
pub fn draw(found: &Privacy) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    let mut header = vec![String::new()];
    header.extend(
        found
            .distances
            .iter()
            .map(|d| d.distance.name().to_string()),
    );
    header.push("of no use to an attacker".to_string());
    table.set_header(header);
    let rows: [(&str, Figure, &str); 5] = [
        (
            "closest record is a training sample",
            |d| interval(d.share),
            "0.5",
        ),
        (
            "membership inferred, area",
            |d| interval(d.membership),
            "0.5",
        ),
        (
            "median distance to training, of hold-out's",
            |d| number(d.ratio),
            "1",
        ),
        (
            "closest over second closest",
            |d| number(d.neighbour_ratio),
            "as below",
        ),
        (
            "  the same of the hold-out",
            |d| number(d.holdout_neighbour_ratio),
            "",
        ),
    ];
    for (name, figure, expected) in rows {
        let mut cells = vec![Cell::new(name)];
        let figures = found.distances.iter().map(figure);
        cells.extend(figures.map(|text| Cell::new(text).set_alignment(CellAlignment::Right)));
        cells.push(Cell::new(expected));
        table.add_row(cells);
    }
    let mut text = format!(
        "{table}\nexact copies: {} of {} synthetic samples (hold-out: {})\nexact values: {} (hold-out: {})\n",
        percent(found.copies),
        found.n.synthetic,
        percent(found.copies_of_holdout),
        percent(found.values),
        percent(found.values_of_holdout)
    );
    for criterion in &found.criteria {
        let interval = match criterion.interval {
            Some([low, high]) => format!("{} to {}", number(low), number(high)),
            None => number(criterion.found),
        };
        let verdict = word(criterion.verdict);
        text.push_str(&format!("\n{verdict:<8} {}: {interval}", criterion.what));
    }
    text.push_str(&format!("\n\nverdict: {}", sentence(found)));
    text
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Unclear => "unclear",
        Verdict::Fail => "FAIL",
    }
}

fn sentence(found: &Privacy) -> &'static str {
    match found.verdict {
        Verdict::Pass => "pass; none of these attacks finds a training sample",
        Verdict::Unclear if found.is_of_the_holdout() => {
            "unclear; no criterion fails, but synthetic samples lie closer to HOLDOUT than to TRAIN: is HOLDOUT of the same kind as TRAIN, and are the two in this order?"
        }
        Verdict::Unclear => {
            "unclear; no criterion fails, but not all intervals are within their bounds: larger tables would tell"
        }
        Verdict::Fail => {
            "FAIL; the table gives training samples away, do not share it as if it did not"
        }
    }
}

fn interval(interval: Interval) -> String {
    let [value, low, high] = [interval.value, interval.low, interval.high].map(number);
    format!("{value} [{low}, {high}]")
}

/// Three digits; a dash where it is undefined.
fn number(value: f64) -> String {
    match value.is_nan() {
        true => "–".to_string(),
        false => format!("{value:.3}"),
    }
}

fn percent(share: f64) -> String {
    match share.is_nan() {
        true => "–".to_string(),
        false => format!("{:.1} %", 100.0 * share),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undefined_figures_are_dashes() {
        assert_eq!(
            (number(f64::NAN), percent(f64::NAN)),
            ("–".into(), "–".into())
        );
        assert_eq!(
            (number(0.0625), percent(0.0172)),
            ("0.062".into(), "1.7 %".into())
        );
    }
}

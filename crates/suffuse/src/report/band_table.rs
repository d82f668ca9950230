//! Figures of a comparison beside their real-real band, as a table for the terminal.

use crate::compare::figure::Good;
use crate::compare::{Results, Value};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};

/// Draws one line per figure; without a band the value alone.
pub fn draw(results: &Results) -> String {
    let has_band = results.n_splits > 0;
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    let mut header = vec!["", "figure", "generated"];
    if has_band {
        header.extend(["real-real", "band", ""]);
    }
    table.set_header(header);
    let mut last = "";
    for value in &results.figures {
        let part = value.figure.part();
        let mut cells = vec![
            Cell::new(if part == last { "" } else { part }),
            Cell::new(value.figure.name()),
            right(number(value.value)),
        ];
        if has_band {
            let band = value.band.as_ref();
            let median = band.map_or(String::new(), |band| number(band.median));
            cells.push(right(median));
            cells.push(right(limit(value)));
            cells.push(Cell::new(band.map_or("", |band| match band.is_inside {
                true => "inside",
                false => "outside",
            })));
        }
        last = part;
        table.add_row(cells);
    }
    table.to_string()
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// What is inside the band, in words; empty without one.
pub(super) fn limit(value: &Value) -> String {
    let Some(band) = &value.band else {
        return String::new();
    };
    match value.good {
        Good::Low => format!("≤ {}", number(band.high)),
        Good::High => format!("≥ {}", number(band.low)),
        Good::NearOne => format!("{} to {}", number(band.low), number(band.high)),
        Good::WithAnother => String::new(),
    }
}

/// Three digits or so; a dash where it is undefined.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    match value {
        x if x.is_nan() => "–".to_string(),
        x if size >= 100.0 => format!("{x:.0}"),
        x if size >= 10.0 => format!("{x:.1}"),
        x if size >= 0.001 || x == 0.0 => format!("{x:.3}"),
        x => format!("{x:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_keep_about_three_digits() {
        let written = [f64::NAN, 0.0, 0.4567, -0.00012, 12.345, 1234.5].map(super::number);
        assert_eq!(written, ["–", "0.000", "0.457", "-1.2e-4", "12.3", "1234"]);
    }
}

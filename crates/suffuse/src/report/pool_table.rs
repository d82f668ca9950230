//! What filling did to a test and to correlations, as a table for the terminal.

use crate::pool::Check;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};

/// Draws one line per figure: in the original table, and pooled over the completed ones.
pub fn draw(check: &Check, n_tables: usize) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    let after = format!("{n_tables} completed");
    table.set_header(["", "original", &after]);
    let strength = [check.correlation.before, check.correlation.after];
    let tests = [check.before, check.after];
    let rows = [
        (
            "false positives: tests with p < 0.05",
            tests.map(|t| t.share_of_tests),
        ),
        (
            "false positives: permutations with any q < 0.05",
            tests.map(|t| t.share_with_any_q),
        ),
        (
            "mean |Spearman| between taxa",
            strength.map(|s| s.mean_absolute),
        ),
        (
            "pairs with |Spearman| > 0.5",
            strength.map(|s| s.share_strong),
        ),
    ];
    for (name, values) in rows {
        let mut cells = vec![Cell::new(name)];
        cells.extend(
            values.map(|value| Cell::new(number(value)).set_alignment(CellAlignment::Right)),
        );
        table.add_row(cells);
    }
    table.to_string()
}

/// Three digits; a dash where it is undefined.
fn number(value: f64) -> String {
    if value.is_nan() {
        "–".to_string()
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_undefined_share_is_a_dash() {
        assert_eq!(super::number(f64::NAN), "–");
        assert_eq!(super::number(0.0625), "0.062");
    }
}

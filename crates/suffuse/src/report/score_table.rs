//! Scores of methods as a table for the terminal.

use crate::evaluate::summary::{Row, Spread};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};

/// Draws one line per scope and method: PCC, COS, RMSE and MAE in ln, RMSE and MAE in log10.
pub fn draw(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_header([
        "scope",
        "method",
        "PCC",
        "COS",
        "RMSE ln",
        "MAE ln",
        "RMSE log10",
        "MAE log10",
        "seconds",
    ]);
    for row in rows {
        let mut cells = vec![Cell::new(row.scope), Cell::new(&row.method)];
        let scores = [
            &row.pcc,
            &row.cos,
            &row.rmse_ln,
            &row.mae_ln,
            &row.rmse_log10,
            &row.mae_log10,
        ];
        cells.extend(
            scores.map(|score| Cell::new(with_spread(score)).set_alignment(CellAlignment::Right)),
        );
        cells.push(Cell::new(format!("{:.1}", row.seconds)).set_alignment(CellAlignment::Right));
        table.add_row(cells);
    }
    table.to_string()
}

/// `0.123 ± 0.004`; without a spread the mean alone, and a dash where it is undefined.
fn with_spread(score: &Spread) -> String {
    match (score.mean.is_nan(), score.sd.is_nan()) {
        (true, _) => "–".to_string(),
        (false, true) => format!("{:.3}", score.mean),
        (false, false) => format!("{:.3} ± {:.3}", score.mean, score.sd),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_undefined_score_is_a_dash_and_one_seed_has_no_spread() {
        let spread = |mean, sd| with_spread(&Spread { mean, sd });
        assert_eq!(spread(f64::NAN, f64::NAN), "–");
        assert_eq!(spread(0.5, f64::NAN), "0.500");
        assert_eq!(spread(0.5, 0.0123), "0.500 ± 0.012");
    }
}

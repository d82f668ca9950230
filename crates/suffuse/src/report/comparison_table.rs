//! Methods over the folds of a cross-validation as a table for the terminal.

use crate::evaluate::comparison::Row;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use suffuse_stats::bootstrap::Ratio;

/// Draws one line per share of hidden entries and method, the best first.
pub fn draw(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    let has_presence = rows.iter().any(|row| row.auroc.is_some());
    let mut header = vec!["hidden", "method", "RMSE ln", "/ best baseline"];
    header.extend(["MAE", "PCC", "CRPS", "in 50 %", "in 90 %"]);
    if has_presence {
        header.push("AUROC");
    }
    header.push("seconds");
    table.set_header(header);
    let mut sorted: Vec<&Row> = rows.iter().collect();
    sorted.sort_by(|a, b| {
        let by_rmse = a.rmse.total_cmp(&b.rmse);
        a.fraction.total_cmp(&b.fraction).then(by_rmse)
    });
    for row in sorted {
        let number = |value: f64| match value.is_nan() {
            true => "–".to_string(),
            false => format!("{value:.3}"),
        };
        let of_draws = |value: Option<f64>| value.map_or("–".to_string(), number);
        let mut texts = vec![
            number(row.rmse),
            row.rmse_ratio.map_or("–".to_string(), with_interval),
            number(row.mae),
            number(row.pcc),
            of_draws(row.draws.map(|draws| draws.crps)),
            of_draws(row.draws.map(|draws| draws.coverage_50)),
            of_draws(row.draws.map(|draws| draws.coverage_90)),
        ];
        if has_presence {
            texts.push(of_draws(row.auroc));
        }
        texts.push(format!("{:.1}", row.seconds));
        let mut cells = vec![
            Cell::new(format!("{} %", 100.0 * row.fraction)),
            Cell::new(&row.method),
        ];
        let right = |text| Cell::new(text).set_alignment(CellAlignment::Right);
        cells.extend(texts.into_iter().map(right));
        table.add_row(cells);
    }
    table.to_string()
}

/// `0.912 [0.880, 0.944]`
fn with_interval(ratio: Ratio) -> String {
    format!("{:.3} [{:.3}, {:.3}]", ratio.value, ratio.low, ratio.high)
}

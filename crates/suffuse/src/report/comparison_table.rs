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
    let has_depth = rows.iter().any(|row| row.depth.is_some());
    if has_presence {
        header.extend(["n", "AUROC", "- best baseline", "AUPR", "RMSE of zeros"]);
    }
    if has_depth {
        header.extend(["BC thin", "BC completed", "closer"]);
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
            texts.push(row.n.to_string());
            texts.push(of_draws(row.auroc));
            let difference = row.auroc_difference.map(|difference| {
                let (value, low, high) = (difference.value, difference.low, difference.high);
                format!("{value:+.3} [{low:+.3}, {high:+.3}]")
            });
            texts.push(difference.unwrap_or("–".to_string()));
            texts.push(of_draws(row.aupr));
            texts.push(of_draws(row.completed_rmse));
        }
        if has_depth {
            let depth = row.depth;
            let dissimilarity =
                |value: Option<f64>| value.map_or("–".to_string(), |v| format!("{v:.4}"));
            texts.push(dissimilarity(depth.map(|d| d.bray_curtis_thin)));
            texts.push(dissimilarity(depth.map(|d| d.bray_curtis_completed)));
            let closer = depth.map(|d| format!("{:.0} %", 100.0 * d.share_closer));
            texts.push(closer.unwrap_or("–".to_string()));
        }
        texts.push(format!("{:.1}", row.seconds));
        let mut cells = vec![Cell::new(row.what()), Cell::new(&row.method)];
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

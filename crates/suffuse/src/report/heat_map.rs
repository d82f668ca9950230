//! A matrix as coloured cells: per-taxon scores (Fig. 5 of the DepMicroDiff paper) and dependency
//! matrices (the blocks of its Fig. 9).

use kuva::prelude::{ColorMap, Heatmap, Layout, Plot};
use std::sync::Arc;

/// A matrix with names on both sides.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// Names of the rows, top to bottom.
    pub rows: Vec<String>,
    /// Names of the columns, left to right.
    pub columns: Vec<String>,
    /// `values[row][column]`; `NaN` is undefined.
    pub values: Vec<Vec<f64>>,
}

/// What the colours of the cells mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cells<'a> {
    /// Name of the value.
    pub name: &'a str,
    /// How values become colours.
    pub colours: Colours,
}

/// How values become colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// From dark to bright, for scores.
    Gradient,
    /// Blue for 0 and red for 1, as in the figure of the attention mask.
    BlueRed,
}

/// Up to this many names stand on an axis; a longer axis goes without.
const MAX_AXIS_NAMES: usize = 130;

/// Cell side in pixels for a matrix of this many cells a side.
fn cell_px(n: usize) -> f64 {
    (900.0 / n.max(1) as f64).clamp(3.0, 24.0)
}

/// Draws a matrix as SVG. Undefined cells take the lowest value, which the caption says.
///
/// `None` when there is no defined cell.
pub fn draw(title: &str, cells: Cells, matrix: &Matrix) -> Option<String> {
    let lowest = matrix
        .values
        .iter()
        .flatten()
        .copied()
        .filter(|v| v.is_finite())
        .reduce(f64::min)?;
    let n_undefined = matrix
        .values
        .iter()
        .flatten()
        .filter(|v| !v.is_finite())
        .count();
    // The first row of the plot lies at the bottom.
    let values: Vec<Vec<f64>> = matrix
        .values
        .iter()
        .rev()
        .map(|row| {
            row.iter()
                .map(|v| if v.is_finite() { *v } else { lowest })
                .collect()
        })
        .collect();
    let plot = Heatmap::new()
        .with_data(values)
        .with_color_map(match cells.colours {
            Colours::Gradient => ColorMap::Viridis,
            Colours::BlueRed => ColorMap::Custom(Arc::new(blue_red)),
        })
        .with_legend(cells.name)
        .with_cell_size(1.0);
    let plots = vec![Plot::Heatmap(plot)];
    let (n_rows, n_columns) = (matrix.rows.len(), matrix.columns.len());
    let mut layout = Layout::auto_from_plots(&plots)
        .with_title(title)
        .with_width((260.0 + cell_px(n_columns) * n_columns as f64).max(420.0))
        .with_height((220.0 + cell_px(n_rows) * n_rows as f64).max(260.0))
        .with_x_tick_rotate(-90.0)
        .with_tick_size(tick_size(n_rows.max(n_columns)))
        .with_x_categories(axis(&matrix.columns))
        .with_y_categories(axis(&matrix.rows).into_iter().rev().collect());
    if n_undefined > 0 {
        layout = layout.with_subtitle(format!(
            "{n_undefined} undefined cells are drawn at the lowest value"
        ));
    }
    Some(kuva::render_to_svg(plots, layout))
}

fn blue_red(value: f64) -> String {
    if value < 0.5 {
        "#4a7ab5".to_string()
    } else {
        "#c8523f".to_string()
    }
}

fn tick_size(n: usize) -> u32 {
    if n > 60 { 6 } else { 10 }
}

fn axis(names: &[String]) -> Vec<String> {
    if names.len() > MAX_AXIS_NAMES {
        vec![String::new(); names.len()]
    } else {
        names.iter().map(|name| super::label(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PCC: Cells = Cells {
        name: "PCC",
        colours: Colours::Gradient,
    };

    #[test]
    fn undefined_cells_are_announced_and_an_undefined_matrix_is_not_drawn() {
        let mut matrix = Matrix {
            rows: vec!["knn".into()],
            columns: vec!["a".into(), "b".into()],
            values: vec![vec![0.5, f64::NAN]],
        };
        let svg = draw("t", PCC, &matrix).unwrap();
        assert!(svg.contains("1 undefined cells") && svg.contains("knn") && !svg.contains("NaN"));
        matrix.values[0][0] = f64::NAN;
        assert_eq!(draw("t", PCC, &matrix), None);
    }
}

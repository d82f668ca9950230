//! Filled against true values, one panel per method, with the line where both are equal.

use kuva::backend::svg::SvgBackend;
use kuva::prelude::{Layout, LinePlot, Plot, ScatterPlot};
use kuva::render::figure::Figure;

/// The points of one panel.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// Title, as in the method and its scores.
    pub title: String,
    /// `(true, filled)` values.
    pub points: Vec<(f64, f64)>,
}

/// Side of a panel in pixels.
const SIDE_PX: f64 = 380.0;

/// Draws the panels side by side, on one scale, as SVG; `None` without a point.
pub fn draw(title: &str, unit: &str, panels: &[Panel]) -> Option<String> {
    let largest = panels
        .iter()
        .flat_map(|panel| &panel.points)
        .flat_map(|(truth, filled)| [*truth, *filled])
        .filter(|value| value.is_finite())
        .reduce(f64::max)?;
    let mut plots = Vec::new();
    let mut layouts = Vec::new();
    for panel in panels {
        let points = ScatterPlot::new()
            .with_data(panel.points.clone())
            .with_color("steelblue")
            .with_size(2.5)
            .with_marker_opacity(0.5);
        let equal = LinePlot::new()
            .with_data(vec![(0.0, 0.0), (largest, largest)])
            .with_color("gray")
            .with_dashed();
        layouts.push(
            Layout::new((0.0, largest), (0.0, largest))
                .with_title(panel.title.clone())
                .with_x_label(format!("true, {unit}"))
                .with_y_label(format!("filled, {unit}")),
        );
        plots.push(vec![Plot::Line(equal), Plot::Scatter(points)]);
    }
    let figure = Figure::new(1, panels.len())
        .with_title(title)
        .with_plots(plots)
        .with_layouts(layouts)
        .with_cell_size(SIDE_PX, SIDE_PX);
    Some(SvgBackend::new().render_scene(&figure.render()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_its_panel() {
        let panel = |title: &str| Panel {
            title: title.to_string(),
            points: vec![(1.0, 1.5), (2.0, 1.0)],
        };
        let svg = draw("t", "ln(1 + percent)", &[panel("knn"), panel("zero")]).unwrap();
        assert!(svg.contains("knn") && svg.contains("zero"));
        assert_eq!(draw("t", "u", &[]), None);
    }
}

//! Spread of a score over taxa, one box per method (Fig. 6 of the DepMicroDiff paper).

use kuva::prelude::{BoxPlot, Layout, Plot};

/// Room for the title.
const MIN_WIDTH_PX: f64 = 640.0;

/// The values of one box.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Name under the box.
    pub name: String,
    /// Values, unordered; `NaN` (undefined for a taxon) is left out.
    pub values: Vec<f64>,
}

/// The axis of the values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis<'a> {
    /// Name of the score.
    pub name: &'a str,
    /// Smallest and largest value that the score can take.
    pub range: (f64, f64),
}

/// Draws one box per group as SVG; a group without a defined value is left out.
///
/// `None` when no group has a value.
pub fn draw(title: &str, axis: Axis, groups: &[Group]) -> Option<String> {
    let mut plot = BoxPlot::new()
        .with_color("steelblue")
        .with_strip(0.15)
        .with_overlay_size(2.0);
    let mut n_boxes = 0;
    for group in groups {
        let values: Vec<f64> = group
            .values
            .iter()
            .copied()
            .filter(|value| value.is_finite())
            .collect();
        if !values.is_empty() {
            plot = plot.with_group(super::label(&group.name), values);
            n_boxes += 1;
        }
    }
    if n_boxes == 0 {
        return None;
    }
    let plots = vec![Plot::Box(plot)];
    let layout = Layout::auto_from_plots(&plots)
        .with_title(title)
        .with_y_label(axis.name)
        .with_y_axis_min(axis.range.0)
        .with_y_axis_max(axis.range.1)
        .with_x_tick_rotate(-30.0)
        .with_width((140.0 + 90.0 * n_boxes as f64).max(MIN_WIDTH_PX))
        .with_height(420.0);
    Some(kuva::render_to_svg(plots, layout))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PCC: Axis = Axis {
        name: "PCC",
        range: (-1.0, 1.0),
    };

    #[test]
    fn a_group_without_a_defined_value_does_not_spoil_the_picture() {
        let groups = [
            Group {
                name: "taxon-mean".into(),
                values: vec![0.1, f64::NAN, 0.3, 0.2],
            },
            Group {
                name: "zero".into(),
                values: vec![f64::NAN],
            },
        ];
        let svg = draw("t", PCC, &groups).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("taxon-mean") && !svg.contains("NaN"));
        assert_eq!(draw("t", PCC, &groups[1..]), None);
    }
}

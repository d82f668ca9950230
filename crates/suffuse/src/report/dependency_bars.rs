//! The strongest directed dependencies as bars of `-log10 p` (Fig. 1 of the DepMicroDiff paper).

use kuva::prelude::{BarPlot, Layout, Plot};

/// One directed pair.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// Name of the taxon that predicts.
    pub source: String,
    /// Name of the taxon that is predicted.
    pub target: String,
    /// `-log10` of the p-value.
    pub minus_log10_p: f64,
}

/// Draws one bar per pair, in the order given, as SVG; `None` without a pair.
pub fn draw(title: &str, subtitle: &str, pairs: &[Pair]) -> Option<String> {
    if pairs.is_empty() {
        return None;
    }
    // The first category lies at the bottom of a horizontal chart.
    let bars = pairs.iter().rev().map(|pair| {
        (
            format!(
                "{} → {}",
                super::label(&pair.source),
                super::label(&pair.target)
            ),
            pair.minus_log10_p,
        )
    });
    let plots = vec![Plot::Bar(
        BarPlot::new()
            .with_bars(bars)
            .with_color("steelblue")
            .with_horizontal(true),
    )];
    let layout = Layout::auto_from_plots(&plots)
        .with_title(title)
        .with_subtitle(subtitle)
        .with_x_label("-log10 p")
        .with_width(820.0)
        .with_height(170.0 + 26.0 * pairs.len() as f64);
    Some(kuva::render_to_svg(plots, layout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_is_named_with_its_direction() {
        let pair = Pair {
            source: "Microbe_11".into(),
            target: "Microbe_2".into(),
            minus_log10_p: 3.5,
        };
        assert!(
            draw("t", "F-test", &[pair])
                .unwrap()
                .contains("Microbe_11 → Microbe_2")
        );
        assert_eq!(draw("t", "F-test", &[]), None);
    }
}

//! Dependencies among the most variable taxa as a network (Fig. 2 of the DepMicroDiff paper).

use kuva::prelude::{Layout, NetworkLayout, NetworkPlot, Plot};

/// An undirected edge of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Positions of the two taxa among the nodes.
    pub between: (usize, usize),
    /// Strength; drawn as width.
    pub weight: f64,
}

/// Draws `nodes` (with or without an edge) and `links` among them as SVG; `None` without a link.
///
/// # Panics
/// A link to a position beyond the nodes.
pub fn draw(title: &str, nodes: &[String], links: &[Link]) -> Option<String> {
    if links.is_empty() {
        return None;
    }
    let labels = super::labels(nodes);
    let mut plot = NetworkPlot::new()
        .with_layout(NetworkLayout::Circle)
        .with_edge_opacity(0.5)
        .with_label_size(9)
        .with_labels();
    for label in &labels {
        plot = plot.with_node(label.clone());
    }
    for link in links {
        plot = plot.with_edge(
            labels[link.between.0].clone(),
            labels[link.between.1].clone(),
            link.weight,
        );
    }
    let plots = vec![Plot::Network(plot)];
    let layout = Layout::auto_from_plots(&plots)
        .with_title(title)
        .with_width(900.0)
        .with_height(760.0);
    Some(kuva::render_to_svg(plots, layout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taxa_without_an_edge_are_drawn_too() {
        let nodes = ["a1", "b2", "alone"].map(String::from);
        let link = Link {
            between: (0, 1),
            weight: 1.0,
        };
        let svg = draw("t", &nodes, &[link]).unwrap();
        assert!(svg.contains("alone"));
        assert_eq!(draw("t", &nodes, &[]), None);
    }
}

//! Results as tables for the terminal, as pictures (SVG), and as one HTML page.

pub mod attention_mask;
pub mod band_table;
pub mod box_plot;
pub mod comparison_table;
pub mod dependency_bars;
pub mod dependency_network;
pub mod heat_map;
pub mod html;
pub mod pool_table;
pub mod privacy_table;
pub mod scatter;
pub mod score_table;

use std::collections::HashMap;

/// Longest name written out in a picture, in characters; longer ones are cut with an ellipsis.
const MAX_LABEL_CHARS: usize = 28;

/// A name short enough for an axis.
fn label(name: &str) -> String {
    if name.chars().count() <= MAX_LABEL_CHARS {
        name.to_string()
    } else {
        let head: String = name.chars().take(MAX_LABEL_CHARS - 1).collect();
        format!("{head}…")
    }
}

/// Short names that stay different where the names are: a repeated one gets a number.
fn labels(names: &[String]) -> Vec<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    names
        .iter()
        .map(|name| {
            let short = label(name);
            let n = seen.entry(short.clone()).or_default();
            *n += 1;
            if *n == 1 {
                short
            } else {
                format!("{short} ({n})")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_that_become_equal_are_numbered() {
        let long = |end: &str| format!("{}{end}", "x".repeat(40));
        let labels = super::labels(&[long("a"), long("b"), "y".to_string()]);
        assert_ne!(labels[0], labels[1]);
        assert_eq!(labels[2], "y");
    }

    #[test]
    fn long_names_are_cut_at_a_character_and_short_ones_kept() {
        assert_eq!(super::label("Bacteroides"), "Bacteroides");
        assert_eq!(
            super::label(&"ü".repeat(60)).chars().count(),
            super::MAX_LABEL_CHARS
        );
    }
}

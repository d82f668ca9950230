//! Results as tables for the terminal and as pictures (SVG).

pub mod box_plot;
pub mod dependency_bars;
pub mod dependency_network;
pub mod heat_map;
pub mod scatter;
pub mod score_table;

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

#[cfg(test)]
mod tests {
    #[test]
    fn long_names_are_cut_at_a_character_and_short_ones_kept() {
        assert_eq!(super::label("Bacteroides"), "Bacteroides");
        assert_eq!(super::label(&"ü".repeat(60)).chars().count(), super::MAX_LABEL_CHARS);
    }
}

//! Which token may attend to which, as coloured cells (Fig. 9 of the DepMicroDiff paper): blue is
//! allowed, red is blocked.

use super::heat_map::{self, Cells, Colours, Matrix};
use suffuse_model::systems::depmicrodiff::mask::Mask;

/// Draws a mask as SVG; `taxa` are the names of its tokens in their order.
///
/// Rows attend to columns. `C` are condition tokens, `V` the clean tokens of earlier steps, `S` the
/// noisy tokens. `None` for an empty mask.
pub fn draw(title: &str, mask: &Mask, taxa: &[String]) -> Option<String> {
    let length = mask.len();
    let conditions = (1..=mask.n_condition).map(|i| format!("C {i}"));
    let visible = taxa
        .iter()
        .take(mask.n_visible)
        .map(|taxon| format!("V {taxon}"));
    let noisy = taxa
        .iter()
        .take(mask.n_tokens)
        .map(|taxon| format!("S {taxon}"));
    let names: Vec<String> = conditions.chain(visible).chain(noisy).collect();
    let values = mask
        .blocked()
        .chunks(length.max(1))
        .map(|row| {
            row.iter()
                .map(|blocked| f64::from(u8::from(*blocked)))
                .collect()
        })
        .collect();
    let matrix = Matrix {
        rows: names.clone(),
        columns: names,
        values,
    };
    heat_map::draw(
        title,
        Cells {
            name: "blocked",
            colours: Colours::BlueRed,
        },
        &matrix,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use suffuse_model::systems::depmicrodiff::ar_steps::ArSteps;
    use suffuse_model::systems::depmicrodiff::mask::{DependencyMask, Dependent, attention_mask};

    #[test]
    fn the_example_of_the_paper_has_13_tokens_of_three_kinds() {
        // c = 2, step sizes 2, 2, 3: 2 condition, 4 visible and 7 noisy tokens.
        let dependent = Dependent::new(7, vec![true; 49]);
        let mask = attention_mask(
            &ArSteps::of_sizes(&[2, 2, 3]),
            2,
            &dependent,
            &[0, 1, 2, 3, 4, 5, 6],
            DependencyMask::None,
        );
        let taxa: Vec<String> = (1..=7).map(|i| format!("t{i}")).collect();
        let svg = draw("mask", &mask, &taxa).unwrap();
        for name in ["C 2", "V t4", "S t7"] {
            assert!(svg.contains(&format!(">{name}<")), "{name}");
        }
        assert!(!svg.contains("V t5"));
    }
}

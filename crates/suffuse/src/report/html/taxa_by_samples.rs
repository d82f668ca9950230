//! The heat map of a comparison: taxa by real and generated samples, beside the tree.

use super::svg::escaped;
use super::{Figure, count};
use crate::compare::{HeatMap, Pictures, TaxonOrder};
use std::fmt::Write;

/// Width of the picture, of the tree in it, and the space between its parts, in pixels.
const WIDTH: f64 = 760.0;
const TREE: f64 = 110.0;
const SPACE: f64 = 8.0;
/// Room for the names of the sides.
const TOP: f64 = 32.0;
/// Height of all rows, and of one at least and at most.
const ROWS: f64 = 480.0;
const ROW: (f64, f64) = (3.2, 16.0);

/// Shares from which on a cell has a stronger colour, and what the key says of them.
pub(super) const LEVELS: [(f64, &str); 5] = [
    (0.0, "below 0.01 %"),
    (1e-4, "0.01 to 0.1 %"),
    (1e-3, "0.1 to 1 %"),
    (1e-2, "1 to 10 %"),
    (1e-1, "10 % and more"),
];

/// The level of a share, from 0; `None` for a zero.
fn level(share: f64) -> Option<usize> {
    match share > 0.0 {
        true => LEVELS.iter().rposition(|(from, _)| share >= *from),
        false => None,
    }
}

/// Draws it.
pub(super) fn heat_map(pictures: &Pictures) -> Figure {
    let map = &pictures.heat_map;
    let n_taxa = map.taxa.len();
    let row = (ROWS / n_taxa.max(1) as f64).clamp(ROW.0, ROW.1);
    let height = TOP + row * n_taxa as f64;
    let side_width = (WIDTH - TREE - 2.0 * SPACE) / 2.0;
    let lefts = [TREE + SPACE, TREE + 2.0 * SPACE + side_width];
    let mut body = branches(map, row);
    for ((shares, left), name) in map.shares.iter().zip(lefts).zip(["real", "generated"]) {
        let _ = writeln!(
            body,
            r#"<rect class="ground" x="{left:.1}" y="{TOP}" width="{side_width:.1}" height="{:.1}"/><text class="name" x="{:.1}" y="24" text-anchor="middle">{name}</text>"#,
            height - TOP,
            left + side_width / 2.0
        );
        let cell = side_width / shares.ncols().max(1) as f64;
        let mut paths: [String; LEVELS.len()] = Default::default();
        for (taxon, values) in shares.rows().into_iter().enumerate() {
            let levels: Vec<Option<usize>> = values.iter().map(|share| level(*share)).collect();
            let mut start = 0;
            for run in levels.chunk_by(|a, b| a == b) {
                if let Some(level) = run[0] {
                    // A line as thick as the row: half as long as the outline of a rectangle.
                    let x = left + cell * start as f64;
                    let y = TOP + row * (taxon as f64 + 0.5);
                    let wide = cell * run.len() as f64;
                    let _ = write!(paths[level], "M{x:.1} {y:.1}h{wide:.1}");
                }
                start += run.len();
            }
        }
        for (level, path) in paths.iter().enumerate() {
            if !path.is_empty() {
                let _ = writeln!(
                    body,
                    r#"<path class="heat-{level}" stroke-width="{row:.2}" d="{path}"/>"#
                );
            }
        }
    }
    for (at, taxon) in map.taxa.iter().enumerate() {
        let taxon = &pictures.taxa[*taxon];
        let [real, other] = taxon.prevalence;
        let _ = writeln!(
            body,
            r#"<rect class="over" x="{left:.1}" y="{:.1}" width="{:.1}" height="{row:.1}"><title>{}: in {real:.2} of the real samples, in {other:.2} of the generated ones</title></rect>"#,
            TOP + row * at as f64,
            WIDTH - lefts[0],
            escaped(&taxon.id),
            left = lefts[0],
        );
    }
    let caption = caption(pictures);
    let svg = format!(
        r#"<svg class="chart wide" viewBox="0 0 {WIDTH:.0} {height:.0}" role="img" aria-labelledby="heat-title heat-desc" xmlns="http://www.w3.org/2000/svg"><title id="heat-title">Taxa by samples</title><desc id="heat-desc">{}</desc>
{body}</svg>"#,
        escaped(&caption)
    );
    Figure { svg, caption }
}

/// The tree over the rows, its root at the left.
fn branches(map: &HeatMap, row: f64) -> String {
    let at = |depth: f64| 1.0 + depth * (TREE - 2.0);
    let mut path = String::new();
    for branch in &map.branches {
        let Some(parent) = branch.parent.map(|parent| &map.branches[parent]) else {
            continue;
        };
        let _ = write!(
            path,
            "M{:.1} {:.1}V{:.1}H{:.1}",
            at(parent.depth),
            TOP + row * parent.row,
            TOP + row * branch.row,
            at(branch.depth)
        );
    }
    format!("<path class=\"branch\" d=\"{path}\"/>\n")
}

fn caption(pictures: &Pictures) -> String {
    let map = &pictures.heat_map;
    let n_all = pictures.taxa.len();
    let taxa = match map.taxa.len() {
        n if n < n_all => format!("The {n} taxa of {n_all} that are in most samples"),
        n => count(n, "taxon", "taxa"),
    };
    let order = match map.order {
        TaxonOrder::Tree => "in the order of the tree",
        TaxonOrder::Clustering => {
            "in the order of a clustering by average linkage (no tree was given)"
        }
    };
    let [n_real, n_other] = [0, 1].map(|side: usize| map.shares[side].ncols());
    format!(
        "{taxa}, {order}, by {n_real} real and {n_other} generated samples, which stand along the first axis of the ordination. The stronger the colour, the larger the share; zeros are empty."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_empty_and_limits_belong_to_the_level_above() {
        let shares = [0.0, 1e-9, 1e-4, 0.0099, 0.01, 0.1, 1.0];
        let expected = [None, Some(0), Some(1), Some(2), Some(3), Some(4), Some(4)];
        assert_eq!(shares.map(level), expected);
    }
}

//! Times UniFrac and PERMANOVA on a table: `distances_speed TABLE TREE N_SAMPLES`, called by
//! `scripts/compare-speed.py`, which times scikit-bio on the same samples.
//!
//! Writes one JSON object: seconds and a check value for each. Labels of PERMANOVA alternate.

use ndarray::Array2;
use std::io::Write;
use std::path::Path;
use std::time::Instant;
use suffuse_data::format::{self, ReadOptions};
use suffuse_data::select;
use suffuse_data::tree::Tree;
use suffuse_stats::differential::Permutations;
use suffuse_stats::distance::bray_curtis;
use suffuse_stats::permanova::permanova;
use suffuse_stats::unifrac::{Phylogeny, UniFrac, unifrac};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, table, tree, n] = &arguments[..] else {
        return Err("expected TABLE TREE N_SAMPLES".into());
    };
    let table = format::read(Path::new(table), &ReadOptions::default())?;
    let rows: Vec<usize> = (0..n.parse::<usize>()?.min(table.n_samples())).collect();
    let table = select::take_samples(&table, &rows)?;
    let tree = Tree::read(Path::new(tree))?.prune(table.feature_ids())?;
    let node_of = tree.tip_of_name();
    let phylogeny = Phylogeny::new(
        (0..tree.n_nodes()).map(|node| tree.parent(node)).collect(),
        (0..tree.n_nodes())
            .map(|node| tree.length(node).unwrap_or(0.0))
            .collect(),
        table
            .feature_ids()
            .iter()
            .map(|id| node_of[id.as_str()])
            .collect(),
    )?;
    let shape = (table.n_samples(), table.n_features());
    let values = Array2::from_shape_vec(shape, table.to_dense())?;

    let mut lines = Vec::new();
    for (name, form) in [
        ("unweighted_unifrac", UniFrac::Unweighted),
        ("weighted_unifrac", UniFrac::WeightedNormalised),
        ("generalised_unifrac", UniFrac::Generalised { alpha: 0.5 }),
    ] {
        let started = Instant::now();
        let distances = unifrac(&values, &phylogeny, form)?;
        let seconds = started.elapsed().as_secs_f64();
        lines.push(format!(
            r#""{name}": {{"seconds": {seconds}, "check": {}}}"#,
            distances.sum()
        ));
    }
    let distances = bray_curtis(&values)?;
    let groups: Vec<usize> = rows.iter().map(|row| row % 2).collect();
    let started = Instant::now();
    let found = permanova(&distances, &groups, Permutations { n: 999, seed: 0 })?;
    lines.push(format!(
        r#""permanova": {{"seconds": {}, "check": {}, "p": {}}}"#,
        started.elapsed().as_secs_f64(),
        found.pseudo_f,
        found.p
    ));
    writeln!(std::io::stdout(), "{{{}}}", lines.join(", "))?;
    Ok(())
}

//! Samples before and after filling in one ordination.

use super::gathered::Gathered;
use super::svg::{Axis, Chart};
use crate::Result;
use ndarray::Array2;
use suffuse_data::Table;
use suffuse_stats::distance::bray_curtis;
use suffuse_stats::pcoa::pcoa;

/// The picture and what it says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BeforeAfter {
    pub(super) n_samples: usize,
    /// Samples with a total that were not drawn.
    pub(super) n_left_out: usize,
    /// Mean Bray-Curtis distance of a sample from itself after filling.
    pub(super) moved: f64,
    /// Mean Bray-Curtis distance between two samples, before and after.
    pub(super) apart: [f64; 2],
    pub(super) chart: String,
}

/// Draws them; `None` with fewer than three samples, which no two axes can show.
///
/// # Errors
/// An entry that has no composition, which would be a defect of the method.
pub(super) fn before_after(table: &Table, gathered: &Gathered) -> Result<Option<BeforeAfter>> {
    let n = gathered.after.len();
    if n < 3 {
        return Ok(None);
    }
    let measured = |value: &f64| if value.is_nan() { 0.0 } else { *value };
    let mut entries = Vec::with_capacity(2 * n * table.n_features());
    for (sample, _) in &gathered.after {
        entries.extend(table.dense_row(*sample).iter().map(measured));
    }
    for (_, after) in &gathered.after {
        entries.extend(after.iter().map(measured));
    }
    let shape = (2 * n, table.n_features());
    let both = Array2::from_shape_vec(shape, entries).expect("a row per sample, twice");
    let distances = bray_curtis(&both)?;
    let moved = (0..n).map(|i| distances[[i, n + i]]).sum::<f64>() / n as f64;
    let n_pairs = (n * (n - 1) / 2) as f64;
    let apart = [0, n].map(|first| {
        let pairs = (0..n).flat_map(|i| (0..i).map(move |j| (first + i, first + j)));
        pairs.map(|pair| distances[pair]).sum::<f64>() / n_pairs
    });
    let found = pcoa(&distances, 2)?;
    let axis = |k: usize| {
        let name = format!(
            "axis {} ({:.0} % of the variation)",
            k + 1,
            100.0 * found.shares[k]
        );
        Axis::over(&name, found.points.column(k).iter().copied())
    };
    let mut chart = Chart::new(axis(0), axis(1), (460.0, 400.0));
    let at = |row: usize| (found.points[[row, 0]], found.points[[row, 1]]);
    for i in 0..n {
        chart.line("moved", &[at(i), at(n + i)]);
    }
    for i in 0..n {
        chart.circle("before", at(i), 2.8, "");
    }
    for (i, (sample, _)) in gathered.after.iter().enumerate() {
        let name = format!(
            "{}: moved by {:.2}",
            table.sample_ids()[*sample],
            distances[[i, n + i]]
        );
        chart.circle("dot", at(n + i), 2.8, &name);
    }
    let n_with_content = table.totals().iter().filter(|total| **total > 0.0).count();
    Ok(Some(BeforeAfter {
        n_samples: n,
        n_left_out: n_with_content - n,
        moved,
        apart,
        chart: chart.finish(
            "ordination-chart",
            "Samples before and after filling",
            &format!(
                "Principal coordinates of Bray-Curtis distances of {n} samples, each before (ring) and after filling (filled circle) with a line between. On average a sample moved by {moved:.2}; two samples are {:.2} apart before and {:.2} after.",
                apart[0], apart[1]
            ),
        ),
    }))
}

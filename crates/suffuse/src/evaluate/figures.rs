//! Pictures of an evaluation: per-taxon correlations as a heat map and as boxes.

use super::outcome::Outcome;
use super::summary::by_method;
use crate::Result;
use crate::output::write_text;
use crate::report::{box_plot, heat_map};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use suffuse_data::format::Overwrite;

/// Per-taxon Pearson correlations of each method, as the mean over seeds.
#[derive(Debug, Clone, PartialEq)]
pub struct TaxonCorrelations {
    /// Methods, in order of first appearance.
    pub methods: Vec<String>,
    /// Taxa scored for at least one seed, sorted by id.
    pub taxa: Vec<String>,
    /// `values[method][taxon]`; `NaN` where a method has none.
    pub values: Vec<Vec<f64>>,
}

impl TaxonCorrelations {
    /// Gathers them from results.
    pub fn new(outcomes: &[Outcome]) -> Self {
        let groups = by_method(outcomes);
        let mut taxa: Vec<String> = outcomes
            .iter()
            .flat_map(|outcome| outcome.taxa.iter().map(|taxon| taxon.id.clone()))
            .collect();
        taxa.sort();
        taxa.dedup();
        let mut values = Vec::new();
        for (_, group) in &groups {
            let mut sums: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
            for taxon in group.iter().flat_map(|outcome| &outcome.taxa) {
                if !taxon.figures.pcc.is_nan() {
                    let (sum, n) = sums.entry(&taxon.id).or_default();
                    *sum += taxon.figures.pcc;
                    *n += 1;
                }
            }
            let mean = |taxon: &String| {
                sums.get(taxon.as_str())
                    .map_or(f64::NAN, |(sum, n)| sum / *n as f64)
            };
            values.push(taxa.iter().map(mean).collect());
        }
        TaxonCorrelations {
            methods: groups.into_iter().map(|(method, _)| method).collect(),
            taxa,
            values,
        }
    }

    /// Leaves out the methods without any correlation (a constant prediction has none).
    pub fn defined(mut self) -> Self {
        let is_defined: Vec<bool> = self
            .values
            .iter()
            .map(|row| row.iter().any(|v| v.is_finite()))
            .collect();
        let mut keep = is_defined.iter();
        self.methods
            .retain(|_| *keep.next().expect("one flag per method"));
        let mut keep = is_defined.iter();
        self.values
            .retain(|_| *keep.next().expect("one flag per method"));
        self
    }
}

/// Writes `taxon-pcc-heat-map.svg` and `taxon-pcc-boxes.svg`; returns the files written, which are
/// none when no taxon has enough hidden entries.
///
/// # Errors
/// The folder cannot be written to.
pub fn write(folder: &Path, table_name: &str, outcomes: &[Outcome]) -> Result<Vec<PathBuf>> {
    let correlations = TaxonCorrelations::new(outcomes).defined();
    let boxes: Vec<box_plot::Group> = correlations
        .methods
        .iter()
        .zip(&correlations.values)
        .map(|(name, values)| box_plot::Group {
            name: name.clone(),
            values: values.clone(),
        })
        .collect();
    let matrix = heat_map::Matrix {
        rows: correlations.methods.clone(),
        columns: correlations.taxa.clone(),
        values: correlations.values.clone(),
    };
    let cells = heat_map::Cells {
        name: "PCC",
        colours: heat_map::Colours::Gradient,
    };
    let pcc = box_plot::Axis {
        name: "PCC",
        range: (-1.0, 1.0),
    };
    let pictures = [
        (
            "taxon-pcc-heat-map.svg",
            heat_map::draw(
                &format!("Correlation of filled and true values per taxon: {table_name}"),
                cells,
                &matrix,
            ),
        ),
        (
            "taxon-pcc-boxes.svg",
            box_plot::draw(&format!("Correlation per taxon: {table_name}"), pcc, &boxes),
        ),
    ];
    let mut written = Vec::new();
    for (name, picture) in pictures {
        if let Some(svg) = picture {
            let path = folder.join(name);
            write_text(&path, Overwrite::Replace, &svg)?;
            written.push(path);
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::super::outcome::tests::example;
    use super::*;

    #[test]
    fn correlations_are_averaged_over_the_seeds_that_define_them() {
        let mut outcomes = vec![
            example("knn", 1, 0.5),
            example("knn", 2, 0.5),
            example("zero", 1, 0.5),
        ];
        outcomes[0].taxa[0].figures.pcc = 0.2;
        outcomes[1].taxa[0].figures.pcc = 0.6;
        let correlations = TaxonCorrelations::new(&outcomes);
        assert!((correlations.values[0][0] - 0.4).abs() < 1e-15);
        assert!(correlations.values[1][0].is_nan());
        assert_eq!(correlations.defined().methods, ["knn"]);
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(write(folder.path(), "t", &outcomes).unwrap().len(), 2);
        assert!(
            write(folder.path(), "t", &outcomes[2..])
                .unwrap()
                .is_empty()
        );
    }
}

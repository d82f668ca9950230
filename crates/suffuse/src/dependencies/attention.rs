//! What a fitted model's attention has in common with the statistics of its table: with the
//! dependencies that it was given, and with proportionality, which it never saw.

use crate::output::{cell, remove_of_before, write_text};
use crate::report::heat_map;
use crate::{Error, Result};
use ndarray::{Array2, Axis};
use serde::Serialize;
use std::path::{Path, PathBuf};
use suffuse_data::Table;
use suffuse_data::format::Overwrite;
use suffuse_model::systems::depmicrodiff::{Cohort, Conditions, Model, Totals};
use suffuse_stats::dependency::{ZeroReplacement, proportionality};
use suffuse_stats::ranks::{auroc, spearman};

/// Attention between taxa beside the statistics of the same pairs, all `[n_taxa, n_taxa]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    taxa: Vec<String>,
    /// How much taxon `i` attends to taxon `j`: mean over samples, heads and blocks.
    weight: Array2<f64>,
    /// Whether `i` depends on `j` for the model.
    is_dependent: Array2<bool>,
    /// Whether the two are of one group, so that they may attend to each other.
    is_open: Array2<bool>,
    /// Proportionality `rho_p`; `NaN` where neither taxon varies.
    rho_p: Array2<f64>,
}

/// How well attention agrees with the statistics, over pairs of different taxa.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Agreement {
    /// Probability that a dependent pair has more attention than another one; `NaN` if all or no
    /// pairs are dependent.
    pub auroc_of_dependent: f64,
    /// Spearman correlation of attention and `|rho_p|`.
    pub spearman_with_proportionality: f64,
    /// Spearman correlation of dependence (0 or 1) and `|rho_p|`: what the dependencies alone have in
    /// common with proportionality.
    pub spearman_of_dependent: f64,
    /// Pairs compared.
    pub n_pairs: usize,
}

/// Looks at the attention of a model on a table of the model's features.
///
/// # Errors
/// A table of other features, with entries that are not measured, or without two samples that hold
/// something.
pub fn attention(
    model: &Model,
    table: &Table,
    conditions: Option<Conditions>,
    seed: u64,
) -> Result<Attention> {
    let cohort = Cohort {
        table,
        hidden: &[],
        totals: Totals::OfWhatIsLeft,
        conditions,
        groups: None,
        times: None,
    };
    let weight = model.attention(&cohort, seed)?;
    let n_taxa = table.n_features();
    let dense = Array2::from_shape_vec((table.n_samples(), n_taxa), table.to_dense())
        .map_err(|error| Error::Table(error.to_string()))?;
    let with_content: Vec<usize> = (0..dense.nrows())
        .filter(|row| {
            let row = dense.row(*row);
            row.sum() > 0.0 && row.iter().all(|value| !value.is_nan())
        })
        .collect();
    let dense = dense.select(Axis(0), &with_content);
    let rho_p = proportionality(&dense, ZeroReplacement::HalfSmallest)?.rho_p;
    let dependent = model.dependencies();
    Ok(Attention {
        taxa: table.feature_ids().to_vec(),
        weight,
        is_dependent: Array2::from_shape_fn((n_taxa, n_taxa), |(i, j)| dependent.get(i, j)),
        is_open: Array2::from_shape_fn((n_taxa, n_taxa), |(i, j)| {
            dependent.group(i) == dependent.group(j)
        }),
        rho_p,
    })
}

impl Attention {
    /// Pairs of different taxa of one group whose proportionality is defined. Taxa of two groups never
    /// attend to each other: those zeros would say how taxa were grouped, by dependencies.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let pairs = self.rho_p.indexed_iter();
        pairs
            .filter(|((i, j), rho)| i != j && !rho.is_nan() && self.is_open[[*i, *j]])
            .map(|(at, _)| at)
    }

    /// The agreement over all pairs of different taxa.
    ///
    /// # Errors
    /// A weight that is not a number, which would be a defect of the model.
    pub fn agreement(&self) -> Result<Agreement> {
        let weight: Vec<f64> = self.pairs().map(|at| self.weight[at]).collect();
        let rho: Vec<f64> = self.pairs().map(|at| self.rho_p[at].abs()).collect();
        let is_dependent: Vec<bool> = self.pairs().map(|at| self.is_dependent[at]).collect();
        let as_numbers: Vec<f64> = is_dependent
            .iter()
            .map(|d| f64::from(u8::from(*d)))
            .collect();
        Ok(Agreement {
            auroc_of_dependent: auroc(&weight, &is_dependent)?,
            spearman_with_proportionality: spearman(&weight, &rho)?,
            spearman_of_dependent: spearman(&as_numbers, &rho)?,
            n_pairs: weight.len(),
        })
    }

    /// What [`write`](Attention::write) writes.
    pub const FILES: [&str; 2] = ["attention.tsv", "attention.svg"];

    /// Writes `attention.tsv` (one line per ordered pair) and `attention.svg`; returns their paths.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn write(&self, folder: &Path, table_name: &str) -> Result<Vec<PathBuf>> {
        let mut text = String::from("taxon\tattends_to\tattention\tdependent\trho_p\n");
        for ((i, j), weight) in self.weight.indexed_iter().filter(|((i, j), _)| i != j) {
            let rho = self.rho_p[[i, j]];
            let rho = if rho.is_nan() {
                String::new()
            } else {
                format!("{rho:.6}")
            };
            text.push_str(&format!(
                "{}\t{}\t{weight:.6e}\t{}\t{rho}\n",
                cell(&self.taxa[i]),
                cell(&self.taxa[j]),
                u8::from(self.is_dependent[[i, j]])
            ));
        }
        let [pairs, picture] = Attention::FILES.map(|name| folder.join(name));
        let mut written = vec![pairs];
        write_text(&written[0], Overwrite::Replace, &text)?;
        let matrix = heat_map::Matrix {
            rows: self.taxa.clone(),
            columns: self.taxa.clone(),
            values: self.weight.rows().into_iter().map(|r| r.to_vec()).collect(),
        };
        let cells = heat_map::Cells {
            name: "attention",
            colours: heat_map::Colours::Gradient,
        };
        let title = format!("Attention (row attends to column): {table_name}");
        match heat_map::draw(&title, cells, &matrix) {
            Some(drawn) => {
                write_text(&picture, Overwrite::Replace, &drawn)?;
                written.push(picture);
            }
            None => remove_of_before(&picture)?,
        }
        Ok(written)
    }
}

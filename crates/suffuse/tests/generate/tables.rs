//! Tables that the tests of `generate` start from and read back.

use crate::program::Workbench;
use std::path::PathBuf;
use suffuse_data::format::{self, ReadOptions};
use suffuse_data::simulate::{SimulateOptions, simulate};
use suffuse_data::{ColumnValues, Table};

pub(crate) fn read(bench: &Workbench, name: &str) -> Table {
    format::read(&bench.path(name), &ReadOptions::default()).expect("the program wrote a table")
}

/// Whole counts of 60 samples and 10 taxa, three of four from `gut`, one from `skin`, as h5ad.
pub(crate) fn counts(bench: &Workbench, name: &str) -> PathBuf {
    let options = SimulateOptions {
        n_samples: 60,
        n_taxa: 10,
        zero_fraction: 0.4,
        seed: 3,
        ..Default::default()
    };
    let table = simulate(&options).expect("the options are in range").table;
    let whole: Vec<f64> = table.to_dense().iter().map(|x| x.round()).collect();
    let mut table = table.with_dense(&whole).expect("the shape is the same");
    let site = |row: usize| Some(if row.is_multiple_of(4) { "skin" } else { "gut" }.to_string());
    let column = suffuse_data::Column {
        name: "site".to_string(),
        values: ColumnValues::Text((0..60).map(site).collect()),
    };
    table
        .sample_metadata
        .set_column(column)
        .expect("a value per sample");
    let path = bench.path(name);
    format::write(&table, &path, &Default::default())
        .expect("the folder of the test can be written to");
    path
}

pub(crate) fn words(command: &str) -> Vec<&str> {
    command.split(' ').collect()
}

/// Texts of a metadata column.
pub(crate) fn column(table: &Table, name: &str) -> Vec<String> {
    let column = table.sample_metadata.column(name).expect("the column");
    let text = |row| column.values.text(row).unwrap_or_default();
    (0..table.n_samples()).map(text).collect()
}

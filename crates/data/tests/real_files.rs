//! Reads files made by others. They are not part of the project: the tests run where the
//! environment variable `SUFFUSE_DATA` names the folder that holds them, and there a missing file
//! is a failure.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stop on the first surprise"
)]

use std::path::PathBuf;
use std::time::Instant;
use suffuse_data::format::{self, Format, ReadOptions, WriteOptions};
use suffuse_data::nested;
use suffuse_data::taxonomy::own_names;
use suffuse_data::{ColumnValues, Table};

fn shared_data() -> Option<PathBuf> {
    std::env::var_os("SUFFUSE_DATA").map(PathBuf::from)
}

fn read(path: PathBuf) -> Table {
    format::read(&path, &ReadOptions::default()).unwrap()
}

/// The rows of a table by id, so that two orders of samples and features compare equal.
fn entries_by_id(table: &Table) -> Vec<(String, String, f64)> {
    let mut entries = Vec::with_capacity(table.n_stored());
    for (sample, id) in table.sample_ids().iter().enumerate() {
        let (features, values) = table.row(sample);
        for (feature, value) in features.iter().zip(values) {
            entries.push((
                id.clone(),
                table.feature_ids()[*feature as usize].clone(),
                *value,
            ));
        }
    }
    entries.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    entries
}

#[test]
fn a_cancer_table_has_the_published_shape_zeros_and_lineages() {
    let Some(data) = shared_data() else { return };
    let table = read(data.join("tcga/tcga_stad_solid.h5ad"));
    assert_eq!((table.n_samples(), table.n_features()), (530, 106));
    let zeros = 1.0 - table.n_stored() as f64 / (530.0 * 106.0);
    assert!((zeros - 0.876).abs() < 5e-4, "{zeros}"); // README of the data: 87.6 %
    let taxonomy = table.taxonomy.as_ref().unwrap();
    assert_eq!(taxonomy.ranks.len(), 7);
    let at = table
        .feature_ids()
        .iter()
        .position(|id| id == "203")
        .unwrap();
    assert_eq!(taxonomy.lineages[at][6], "Campylobacter rectus"); // seen with anndata
    let gender = table.sample_metadata.column("gender").unwrap();
    assert!(
        matches!(&gender.values, ColumnValues::Categorical { levels, .. } if levels.len() == 3)
    );
    assert!(table.uns["units"].is_string());
}

#[test]
fn ranks_are_nested_in_a_cancer_table_and_sequences_are_not() {
    let Some(data) = shared_data() else { return };
    let table = read(data.join("tcga/tcga_coad_solid.h5ad"));
    assert_eq!(nested::leaves(&table).len(), 49);
    let names = own_names(&table);
    let children = nested::children(&table);
    let n_children = |name: &str| {
        let at = names.iter().position(|other| other == name).unwrap();
        children[at].len()
    };
    // Counted with pandas: species whose column `genus` is this genus.
    assert_eq!(n_children("Fusobacterium"), 12);
    assert_eq!(n_children("Prevotella"), 7);
    assert_eq!(n_children("Campylobacter"), 2);
    let gut = read(data.join("microbiome/AG_gut_top500.h5ad"));
    assert_eq!(nested::leaves(&gut).len(), 500);
}

#[test]
fn american_gut_is_the_same_as_biom_and_as_h5ad() {
    let Some(data) = shared_data() else { return };
    let biom = read(data.join("formats/AG_gut_top500.biom"));
    let h5ad = read(data.join("microbiome/AG_gut_top500.h5ad"));
    assert_eq!(
        (biom.n_samples(), biom.n_features(), biom.n_stored()),
        (1621, 500, 363_020)
    );
    assert_eq!(entries_by_id(&biom), entries_by_id(&h5ad));
    let ranks = |table: &Table| table.taxonomy.as_ref().unwrap().ranks.clone();
    assert_eq!(ranks(&biom), ranks(&h5ad));
    let aligned = biom.sample_metadata.align(h5ad.sample_ids());
    for row in 0..h5ad.n_samples() {
        let country = |metadata: &suffuse_data::Metadata| {
            metadata.column("COUNTRY").unwrap().values.text(row)
        };
        assert_eq!(country(&aligned), country(&h5ad.sample_metadata));
    }
}

#[test]
fn a_biom_file_of_qiime_1_is_read_with_its_taxonomy() {
    let Some(data) = shared_data() else { return };
    let table = read(data.join("formats/ag-fecal.biom"));
    assert_eq!(
        (table.n_samples(), table.n_features(), table.n_stored()),
        (1, 166, 166)
    );
    // biom.load_table: metadata of the first observation.
    let first: Vec<String> = table.taxonomy.unwrap().lineages[0].clone();
    assert_eq!(
        first,
        [
            "Bacteria",
            "Firmicutes",
            "Clostridia",
            "Clostridiales",
            "Lachnospiraceae",
            "Dorea",
            ""
        ]
    );
}

#[test]
fn cell_ranger_h5_and_directory_hold_the_same_counts() {
    let Some(data) = shared_data() else { return };
    let h5 = read(data.join("formats/10x_v3/filtered_feature_bc_matrix.h5"));
    let folder = read(data.join("formats/10x_v3"));
    assert_eq!(
        (h5.n_samples(), h5.n_features(), h5.n_stored()),
        (1107, 507, 23_866)
    );
    assert_eq!(h5.sample_ids(), folder.sample_ids());
    assert_eq!(h5.feature_ids(), folder.feature_ids());
    assert_eq!(h5.csr(), folder.csr());
    for name in ["name", "feature_type", "genome"] {
        assert!(h5.feature_metadata.column(name).is_some(), "{name}");
    }
}

#[test]
fn single_cell_tables_keep_their_protein_panel_and_cell_types() {
    let Some(data) = shared_data() else { return };
    let cbmc = read(data.join("singlecell/CBMC_citeseq_top2000.h5ad"));
    let protein = &cbmc.obsm["protein"];
    assert_eq!(
        (protein.n_rows, protein.n_columns, protein.values.len()),
        (8617, 13, 8617 * 13)
    );
    assert_eq!(cbmc.uns["protein_names"].as_array().unwrap().len(), 13);
    let paul = read(data.join("singlecell/Paul15.h5ad"));
    assert_eq!(
        (paul.n_samples(), paul.n_features(), paul.n_stored()),
        (2660, 3004, 2_042_209)
    );
    assert!(paul.sample_metadata.column("cell_type").is_some());
}

#[test]
fn every_table_of_the_folder_is_read_and_survives_being_written() {
    let Some(data) = shared_data() else { return };
    let out = tempfile::tempdir().unwrap();
    let mut n_tables = 0;
    for folder in [
        "tcga",
        "microbiome",
        "longitudinal",
        "singlecell",
        "spatial",
        "peers",
    ] {
        for entry in std::fs::read_dir(data.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|ending| ending != "h5ad") {
                continue;
            }
            assert_eq!(format::detect(&path).unwrap(), Format::H5ad);
            let table = read(path.clone());
            let copy = out.path().join(format!("{n_tables}.h5ad"));
            format::write(&table, &copy, &WriteOptions::default()).unwrap();
            let back = read(copy);
            assert_eq!(back.csr().0, table.csr().0, "{path:?}");
            assert!(
                back.csr()
                    .2
                    .iter()
                    .zip(table.csr().2)
                    .all(|(a, b)| a.to_bits() == b.to_bits()),
                "{path:?}"
            );
            assert_eq!(back.uns, table.uns, "{path:?}");
            assert!(back.taxonomy == table.taxonomy, "{path:?}");
            assert_eq!(back.sample_ids(), table.sample_ids());
            n_tables += 1;
        }
    }
    assert!(n_tables >= 20, "{n_tables}");
}

#[test]
fn the_largest_microbiome_table_is_read_well_under_a_second() {
    let Some(data) = shared_data() else { return };
    let start = Instant::now();
    let table = read(data.join("microbiome/HMPv35_top500.h5ad"));
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!((table.n_samples(), table.n_features()), (5145, 500));
    // Only an optimised build says anything about speed; the bound leaves room for a busy machine.
    assert!(cfg!(debug_assertions) || seconds < 1.0, "{seconds} s");
}

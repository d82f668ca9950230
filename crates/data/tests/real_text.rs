//! The text formats, trees and selections on real files; runs where `SUFFUSE_DATA` names a folder.

use std::path::{Path, PathBuf};
use suffuse_data::format::{self, ReadOptions, WriteOptions};
use suffuse_data::hide::{HiddenAs, Mask, MaskOptions};
use suffuse_data::transform::Transform;
use suffuse_data::{
    ColumnValues, Table, Taxonomy, metadata_tsv, nested, select, split, tree::Tree,
};

/// The folder of real files, if the environment names one. A file missing from it is a failure.
fn shared_data() -> Option<PathBuf> {
    std::env::var_os("SUFFUSE_DATA").map(PathBuf::from)
}

fn read(path: &Path) -> Table {
    format::read(path, &ReadOptions::default()).expect("a real file reads")
}

fn bits(table: &Table) -> Vec<u64> {
    table
        .to_dense()
        .iter()
        .map(|value| value.to_bits())
        .collect()
}

#[test]
fn the_text_table_equals_the_h5ad_of_the_same_samples() {
    let Some(data) = shared_data() else { return };
    let text = read(&data.join("formats/tcga_stad_solid.tsv.gz"));
    let h5ad = read(&data.join("tcga/tcga_stad_solid.h5ad"));
    assert_eq!((text.n_samples(), text.n_features()), (530, 106));
    assert_eq!(text.sample_ids(), h5ad.sample_ids());
    assert_eq!(text.feature_ids(), h5ad.feature_ids());
    assert_eq!(bits(&text), bits(&h5ad));
}

// Counts by `csv.DictReader` of Python on the same file.
#[test]
fn the_metadata_sheet_joins_every_sample_with_missing_values_kept() {
    let Some(data) = shared_data() else { return };
    let mut table = read(&data.join("formats/tcga_stad_solid.tsv.gz"));
    let metadata = metadata_tsv::read(&data.join("formats/tcga_stad_solid.meta.tsv")).unwrap();
    let report = metadata_tsv::join(&mut table, &metadata).unwrap();
    assert_eq!((report.n_matched, report.unused.len()), (530, 0));
    let column = |name: &str| &table.sample_metadata.column(name).unwrap().values;
    let n_present = |name: &str| {
        (0..530)
            .filter(|row| column(name).text(*row).is_some())
            .count()
    };
    assert!(matches!(column("age"), ColumnValues::Numeric(_)));
    assert!(
        matches!(column("gender"), ColumnValues::Categorical { levels, .. } if levels.len() == 2)
    );
    assert!(matches!(
        column("patient_barcode"),
        ColumnValues::Text(_) | ColumnValues::Categorical { .. }
    ));
    assert_eq!(n_present("sample_type"), 0);
    assert_eq!(
        (n_present("age"), n_present("pathologic_stage")),
        (432, 425)
    );
    let groups = split::groups(&table.sample_metadata, "patient_barcode").unwrap();
    for fold in split::k_folds(&groups, 5, 0).unwrap() {
        assert!(
            (100..=112).contains(&fold.test.len()),
            "{} samples",
            fold.test.len()
        );
    }
}

// 49 of 106, as counted by name in Python; the folder's own README gives the same number.
#[test]
fn the_nested_ranks_of_the_tumour_tables_have_49_leaves() {
    let Some(data) = shared_data() else { return };
    let mut table = read(&data.join("formats/tcga_stad_solid.tsv.gz"));
    let metadata = metadata_tsv::read(&data.join("formats/tcga_taxa106.tsv")).unwrap();
    let taxonomy = Taxonomy::from_metadata(&metadata, table.feature_ids()).unwrap();
    assert_eq!(taxonomy.ranks[0], "superkingdom");
    table.feature_metadata = metadata.align(table.feature_ids());
    table.taxonomy = Some(taxonomy);
    assert_eq!(nested::leaves(&table).len(), 49);
    let (kept, dropped) = select::drop_empty_samples(&table).unwrap();
    assert_eq!((kept.n_samples(), dropped.len()), (530 - 209, 209));
}

#[test]
fn a_10x_directory_equals_its_h5_and_is_written_back_the_same() {
    let Some(data) = shared_data() else { return };
    let table = read(&data.join("formats/10x_v3"));
    assert_eq!(
        (table.n_samples(), table.n_features(), table.n_stored()),
        (1107, 507, 23866)
    );
    assert_eq!(table.feature_ids()[0], "ENSG00000279493");
    let name = table
        .feature_metadata
        .column("name")
        .unwrap()
        .values
        .text(0);
    assert_eq!(name.as_deref(), Some("CH507-9B2.2"));
    let h5 = read(&data.join("formats/10x_v3/filtered_feature_bc_matrix.h5"));
    assert_eq!(h5.sample_ids(), table.sample_ids());
    assert_eq!(h5.feature_ids(), table.feature_ids());
    assert_eq!(bits(&h5), bits(&table));
    let folder = tempfile::tempdir().unwrap();
    suffuse_data::format::mtx::write(folder.path(), &table).unwrap();
    assert_eq!(read(folder.path()), table);
    let text = folder.path().join("table.csv.gz");
    format::write(&table, &text, &WriteOptions::default()).unwrap();
    assert_eq!(bits(&read(&text)), bits(&table));
}

/// A tree, its number of nodes, and the sum and greatest of the tips' distances to the root.
struct Known {
    name: &'static str,
    n_tips: usize,
    n_nodes: usize,
    sum: f64,
    max: f64,
    /// Path between the first and the last tip of the file.
    first_to_last: f64,
}

// scikit-bio 0.7.4: TreeNode.read(.., convert_underscores=False), tip.distance(root).
const TREES: [Known; 4] = [
    Known {
        name: "microbiome/HMPv35_top500",
        n_tips: 500,
        n_nodes: 999,
        sum: 360.36006,
        max: 1.16686,
        first_to_last: 0.9589200000000002,
    },
    Known {
        name: "microbiome/AG_gut_top500",
        n_tips: 500,
        n_nodes: 999,
        sum: 255.21768999999992,
        max: 1.00401,
        first_to_last: 0.7494100000000001,
    },
    Known {
        name: "microbiome/plaque_473",
        n_tips: 481,
        n_nodes: 960,
        sum: 157.41376438200004,
        max: 0.6316281690000002,
        first_to_last: 0.09840215,
    },
    Known {
        name: "longitudinal/MovingPictures_gut_top300",
        n_tips: 300,
        n_nodes: 599,
        sum: 155.15118000000007,
        max: 0.99814,
        first_to_last: 0.77322,
    },
];

#[test]
fn trees_have_the_tips_and_distances_that_scikit_bio_finds() {
    let Some(data) = shared_data() else { return };
    for known in TREES {
        let tree = Tree::read(&data.join(format!("{}.tree.nwk.gz", known.name))).unwrap();
        let tips = tree.tips();
        assert_eq!(
            (tips.len(), tree.n_nodes()),
            (known.n_tips, known.n_nodes),
            "{}",
            known.name
        );
        let to_root = tree.root_distances();
        let sum: f64 = tips.iter().map(|tip| to_root[*tip]).sum();
        let max = tips.iter().map(|tip| to_root[*tip]).fold(0.0, f64::max);
        assert!(
            (sum / known.sum - 1.0).abs() < 1e-12,
            "{}: {sum}",
            known.name
        );
        assert!(
            (max / known.max - 1.0).abs() < 1e-12,
            "{}: {max}",
            known.name
        );
        let path = tree.patristic(&[tips[0], tips[tips.len() - 1]])[1];
        assert!(
            (path / known.first_to_last - 1.0).abs() < 1e-12,
            "{}: {path}",
            known.name
        );
        assert_eq!(
            Tree::parse(&tree.to_newick(), Path::new("again")).unwrap(),
            tree
        );

        let table = read(&data.join(format!("{}.h5ad", known.name)));
        let pruned = tree.prune(&table.feature_ids()[..50]).unwrap();
        let (old, new) = (tree.tip_of_name(), pruned.tip_of_name());
        let distances = pruned.root_distances();
        assert_eq!(new.len(), 50);
        for (name, tip) in new {
            assert!((distances[tip] - to_root[old[name]]).abs() < 1e-12);
        }
    }
}

#[test]
fn a_tenth_of_a_real_table_is_hidden_and_the_rest_is_bit_identical() {
    let Some(data) = shared_data() else { return };
    let table = read(&data.join("microbiome/plaque_473.h5ad"));
    let mask: Mask = "nonzero:0.1".parse().unwrap();
    let options = MaskOptions {
        seed: 0,
        among: None,
        hidden_as: HiddenAs::NotMeasured,
        occasions: None,
    };
    let masked = mask.apply(&table, &options).unwrap();
    assert_eq!(
        masked.hidden.len(),
        (table.n_stored() as f64 * 0.1).round() as usize
    );
    let seen = masked.table.to_dense();
    let n_changed = seen
        .iter()
        .zip(table.to_dense())
        .filter(|(a, b)| a.to_bits() != b.to_bits())
        .count();
    assert_eq!(n_changed, masked.hidden.len());
    let transformed = Transform::Ln1pPercent.forward_table(&table).unwrap();
    let back = Transform::Ln1pPercent.inverse_table(&transformed).unwrap();
    for (x, back) in table.to_dense().iter().zip(back) {
        assert!((x - back).abs() <= 1e-12 * x);
    }
}

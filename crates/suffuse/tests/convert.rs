//! `suffuse convert`: what survives a format, what is told to be lost, what is replaced. Runs the real program.

mod program;

use program::{Workbench, count};
use suffuse_data::format::{self, ReadOptions, WriteOptions};
use suffuse_data::{Dense, Layer, Table};

#[test]
fn a_table_survives_all_formats_with_its_values_and_ids() {
    let bench = Workbench::new();
    let first = format::read(
        &bench.table("0.tsv", (9, 5), count),
        &ReadOptions::default(),
    )
    .unwrap();
    let chain = [
        "0.tsv",
        "1.h5ad",
        "2.biom",
        "3.biom.json",
        "4.csv",
        "5.tsv.gz",
        "6.mtx",
        "7.h5ad",
    ];
    for pair in chain.windows(2) {
        bench.succeed(&["convert", pair[0], pair[1], "-q"]);
    }
    let last = format::read(&bench.path("7.h5ad"), &ReadOptions::default()).unwrap();
    assert_eq!(last.sample_ids(), first.sample_ids());
    assert_eq!(last.feature_ids(), first.feature_ids());
    assert_eq!(last.csr(), first.csr());
}

#[test]
fn conversion_to_text_keeps_lineages_and_tells_what_is_lost() {
    let bench = Workbench::new();
    let lines =
        "#OTU ID\ts1\ts2\ttaxonomy\nA\t3\t0\tk__Bacteria; p__Firmicutes\nB\t1\t8\tk__Bacteria\n";
    bench.file("table.txt", lines);
    bench.file("meta.tsv", "sample-id\tage\ns1\t61\ns2\t50\n");
    bench.succeed(&["convert", "table.txt", "table.h5ad", "-m", "meta.tsv"]);
    let text = bench.succeed(&["convert", "table.h5ad", "back.tsv"]);
    assert!(
        text.stderr
            .contains("not kept by tab-separated text: metadata columns (1)"),
        "{}",
        text.stderr
    );
    let read = |name: &str| format::read(&bench.path(name), &ReadOptions::default()).unwrap();
    let (first, back) = (read("table.txt"), read("back.tsv"));
    assert_eq!((back.csr(), &back.taxonomy), (first.csr(), &first.taxonomy));
    assert!(back.taxonomy.is_some());
    let matrix = bench.succeed(&["convert", "table.h5ad", "back.mtx"]);
    assert!(
        matrix.stderr.contains("metadata columns (1), lineages"),
        "{}",
        matrix.stderr
    );
    let kept = bench.succeed(&["convert", "table.h5ad", "again.h5ad"]);
    assert!(!kept.stderr.contains("not kept"), "{}", kept.stderr);
    bench.file("slash.tsv", "sample-id\tpatient/id\ns1\tp1\ns2\tp2\n");
    let renamed = bench.succeed(&["convert", "table.txt", "slash.h5ad", "-m", "slash.tsv"]);
    assert!(renamed.stderr.contains("hold no slash") && renamed.stderr.contains("patient/id"));
    let clades = "clade_name\tNCBI_tax_id\ts1\nk__A\t2\t1\nk__A|p__B\t3\t1\n";
    bench.file("clades.txt", clades);
    let text = bench.succeed(&["convert", "clades.txt", "clades.tsv"]);
    let told = "not kept by tab-separated text: columns of features (1); .h5ad keeps all";
    assert!(text.stderr.contains(told), "{}", text.stderr);
}

#[test]
fn force_replaces_a_10x_folder_but_no_other_file_and_a_failure_leaves_nothing() {
    let bench = Workbench::new();
    bench.table("table.tsv", (9, 5), count);
    bench.succeed(&["convert", "table.tsv", "out.mtx", "-q"]);
    bench.succeed(&["convert", "table.tsv", "out.mtx", "--force", "-q"]);
    std::fs::write(bench.path("out.mtx/notes.txt"), "mine").unwrap();
    let again = ["convert", "table.tsv", "out.mtx", "--force", "-q"];
    bench.fail(1, &again, &["notes.txt"]);
    // NaN that stays cannot be written as MatrixMarket.
    bench.file(
        "nan.tsv",
        "sample\ta\tb\ns1\t1\t2\ns2\t\t3\ns3\t4\t1\ns4\t2\t2\n",
    );
    let before = bench.content();
    let command = "impute nan.tsv -o kept.mtx --config tiny --fill zeros";
    assert_eq!(bench.run(&command.split(' ').collect::<Vec<_>>()).code, 2);
    assert_eq!(bench.content(), before);
}

#[test]
fn a_layer_is_read_in_place_of_x_and_is_named_where_x_is_no_table_of_abundances() {
    let bench = Workbench::new();
    let path = bench.table("counts.tsv", (9, 5), count);
    let counts = format::read(&path, &ReadOptions::default()).unwrap();
    let layer = |value: &dyn Fn(f64) -> f64| {
        Layer::Dense(Dense {
            n_rows: 9,
            n_columns: 5,
            values: counts.to_dense().iter().map(|x| value(*x)).collect(),
        })
    };
    let ids = (counts.sample_ids().to_vec(), counts.feature_ids().to_vec());
    let logs: Vec<f64> = counts.to_dense().iter().map(|x| x.ln_1p()).collect();
    let mut cells = Table::from_dense(ids.0, ids.1, &logs).unwrap();
    cells.layers.insert("counts".into(), layer(&|x| x));
    cells.layers.insert("scaled".into(), layer(&|x| x - 3.0));
    cells.layers.insert("lower".into(), layer(&|_| 7.0));
    format::write(&cells, &bench.path("cells.h5ad"), &WriteOptions::default()).unwrap();

    let told = bench.succeed(&["convert", "cells.h5ad", "c.tsv", "--layer", "counts"]);
    assert!(told.stderr.contains("not kept: X"), "{}", told.stderr);
    let back = format::read(&bench.path("c.tsv"), &ReadOptions::default()).unwrap();
    assert_eq!(
        (back.csr(), back.feature_ids()),
        (counts.csr(), counts.feature_ids())
    );

    let fit = [
        "impute",
        "cells.h5ad",
        "-o",
        "out.h5ad",
        "--method",
        "taxon-mean",
    ];
    let doubt = "values from before may be in the same file: --layer counts";
    let told = bench.succeed(&fit);
    assert!(told.stderr.contains("logarithms of counts") && told.stderr.contains(doubt));
    assert!(
        told.stderr.contains("in place of the table's: lower"),
        "{}",
        told.stderr
    );
    let with_counts = [&fit[..], &["--layer", "counts", "--force"]].concat();
    let told = bench.succeed(&with_counts);
    assert!(!told.stderr.contains("logarithms"), "{}", told.stderr);
    let filled = format::read(&bench.path("out.h5ad"), &ReadOptions::default()).unwrap();
    assert_eq!(filled.csr(), counts.csr());

    let convert = |layer| ["convert", "cells.h5ad", "d.tsv", "--layer", layer];
    bench.fail(1, &convert("scaled"), &["value -3", "t0", doubt]);
    bench.fail(1, &convert("raw"), &["counts, lower, scaled", "\"raw\""]);
    bench.fail(
        1,
        &["inspect", "counts.tsv", "--layer", "counts"],
        &["only that has layers"],
    );
}

//! `suffuse audit`, and what it advises: `--collapse leaves` and `--reconcile`. Runs the real
//! program.

mod program;

use program::{Workbench, count};
use serde_json::Value;
use suffuse_data::Table;
use suffuse_data::format::{self, ReadOptions};

/// A kingdom, two phyla, of which one has three classes: one line per sample.
const IDS: [&str; 6] = [
    "k__A",
    "k__A|p__B",
    "k__A|p__B|c__D",
    "k__A|p__B|c__E",
    "k__A|p__B|c__F",
    "k__A|p__C",
];

/// Writes twelve samples in which every parent is the sum of its children; `blank` entries are left
/// empty.
fn nested(bench: &Workbench, name: &str, blank: &[(usize, usize)]) {
    let mut text = format!("sample\t{}\n", IDS.join("\t"));
    for sample in 0..12 {
        let leaf = |at: usize| 1 + (sample * 7 + at * 5 + sample * at) % 13;
        let leaves = [leaf(1), leaf(2), leaf(3), leaf(4)];
        let phylum: usize = leaves[..3].iter().sum();
        let row = [
            phylum + leaves[3],
            phylum,
            leaves[0],
            leaves[1],
            leaves[2],
            leaves[3],
        ];
        text.push_str(&format!("s{sample}"));
        for (feature, value) in row.iter().enumerate() {
            let is_blank = blank.contains(&(sample, feature));
            let value = if is_blank {
                String::new()
            } else {
                value.to_string()
            };
            text.push_str(&format!("\t{value}"));
        }
        text.push('\n');
    }
    bench.file(name, text);
}

fn read(bench: &Workbench, name: &str) -> Table {
    format::read(&bench.path(name), &ReadOptions::default()).expect("the program wrote a table")
}

fn kinds(bench: &Workbench, arguments: &[&str]) -> Vec<String> {
    let arguments = [&["audit"], arguments, &["--json"]].concat();
    let run = bench.succeed(&arguments);
    let found: Value = serde_json::from_str(&run.stdout).expect("the program writes JSON");
    let findings = found["findings"].as_array().expect("a list of findings");
    findings
        .iter()
        .map(|finding| finding["kind"].as_str().unwrap_or_default().to_string())
        .collect()
}

#[test]
fn defects_are_listed_worst_first_with_what_to_do() {
    let bench = Workbench::new();
    nested(&bench, "nested.tsv", &[]);
    let mut meta = String::from("sample-id\tpatient\n");
    (0..12).for_each(|sample| meta.push_str(&format!("s{sample}\tp{}\n", sample / 2)));
    bench.file("meta.tsv", meta);
    let arguments = ["nested.tsv", "-m", "meta.tsv"];
    let expected = ["nested-ranks", "sum-of-features", "repeated-subjects"];
    assert_eq!(kinds(&bench, &arguments), expected);
    let text = bench
        .succeed(&["audit", "nested.tsv", "-m", "meta.tsv"])
        .stdout;
    for fact in [
        "12 samples x 6 features; 3 leaks, 0 warnings, 0 notes",
        "2 of 6 features are ancestors",
        "k__A|p__B = k__A|p__B|c__D + k__A|p__B|c__E + k__A|p__B|c__F",
        "--collapse leaves",
        "p0: s0, s1",
        "--group patient",
    ] {
        assert!(text.contains(fact), "{fact:?} is not in: {text}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    // What is advised mends it.
    assert_eq!(
        kinds(&bench, &["nested.tsv", "--collapse", "leaves"]),
        Vec::<String>::new()
    );
}

#[test]
fn a_clean_table_is_told_to_be_one() {
    let bench = Workbench::new();
    bench.table("table.tsv", (9, 5), count);
    let text = bench.succeed(&["audit", "table.tsv"]).stdout;
    assert!(text.contains("nothing was found"), "{text}");
    assert_eq!(kinds(&bench, &["table.tsv"]), Vec::<String>::new());
}

#[test]
fn an_unknown_subject_column_is_an_error_that_lists_the_columns() {
    let bench = Workbench::new();
    bench.table("table.tsv", (9, 5), count);
    bench.file("meta.tsv", "sample-id\tage\ns0\t61\ns1\t70\n");
    let arguments = ["audit", "table.tsv", "-m", "meta.tsv", "--subject", "host"];
    bench.fail(2, &arguments, &["table.tsv", "\"host\"", "there are: age"]);
    bench.fail(1, &["audit", "no.tsv"], &["no.tsv"]);
    bench.fail(
        2,
        &["audit", "table.tsv", "--collapse", "genus"],
        &["leaves"],
    );
}

#[test]
fn collapsing_keeps_leaves_in_every_command_that_reads_a_table() {
    let bench = Workbench::new();
    nested(&bench, "nested.tsv", &[(3, 3)]);
    let run = bench.succeed(&[
        "convert",
        "nested.tsv",
        "leaves.tsv",
        "--collapse",
        "leaves",
    ]);
    assert!(
        run.stderr.contains("2 of 6 features are ancestors"),
        "{}",
        run.stderr
    );
    assert_eq!(read(&bench, "leaves.tsv").feature_ids(), &IDS[2..]);
    let arguments = "impute nested.tsv -o out.tsv --method taxon-mean --collapse leaves -q";
    bench.succeed(&arguments.split(' ').collect::<Vec<_>>());
    assert_eq!(read(&bench, "out.tsv").feature_ids(), &IDS[2..]);
    let evaluate = "evaluate nested.tsv -o results --methods zero --seeds 1 -q";
    let evaluate: Vec<&str> = evaluate.split(' ').collect();
    bench.succeed(&evaluate);
    bench.succeed(&[&evaluate[..], &["--collapse", "leaves"]].concat());
    let results = std::fs::read_to_string(bench.path("results/results.tsv")).unwrap();
    let n_with = |setting: &str| {
        results
            .lines()
            .filter(|line| line.contains(setting))
            .count()
    };
    assert_eq!(
        n_with("\tdefault\t"),
        n_with("\tcollapse: leaves\t"),
        "{results}"
    );
    assert!(n_with("\tcollapse: leaves\t") > 0, "{results}");
}

#[test]
fn filled_parents_are_the_sums_of_their_children_and_observed_ones_stay() {
    let bench = Workbench::new();
    // Sample 2: a phylum is missing. Sample 5: kingdom, phylum and a class. Sample 7: a class.
    let blank = [(2, 1), (5, 0), (5, 1), (5, 3), (7, 4)];
    nested(&bench, "nested.tsv", &blank);
    let arguments = "impute nested.tsv -o out.tsv --method taxon-mean --reconcile";
    let run = bench.succeed(&arguments.split(' ').collect::<Vec<_>>());
    assert!(
        run.stderr.contains("2 of 2 parents are the sum"),
        "{}",
        run.stderr
    );
    let before = read(&bench, "nested.tsv").to_dense();
    let after = read(&bench, "out.tsv").to_dense();
    let row = |sample: usize| &after[sample * 6..(sample + 1) * 6];
    assert_eq!(row(2)[1], row(2)[2] + row(2)[3] + row(2)[4]);
    assert_eq!(row(5)[1], row(5)[2] + row(5)[3] + row(5)[4]);
    assert_eq!(row(5)[0], row(5)[1] + row(5)[5]);
    for (before, after) in before.iter().zip(&after).filter(|(b, _)| !b.is_nan()) {
        assert_eq!(before.to_bits(), after.to_bits());
    }
    let plain = "impute nested.tsv -o plain.tsv --method taxon-mean -q";
    bench.succeed(&plain.split(' ').collect::<Vec<_>>());
    let plain = read(&bench, "plain.tsv");
    assert_eq!(
        plain.get(7, 4).to_bits(),
        row(7)[4].to_bits(),
        "a child is never changed"
    );
    assert!(
        (plain.get(2, 1) - row(2)[1]).abs() > 1e-3,
        "the option does something"
    );
    bench.table("flat.tsv", (9, 5), count);
    let flat = "impute flat.tsv -o flat-out.tsv --method taxon-mean --reconcile";
    let run = bench.succeed(&flat.split(' ').collect::<Vec<_>>());
    assert!(run.stderr.contains("nothing to do"), "{}", run.stderr);
}

#[test]
fn a_model_reconciles_sample_by_sample_and_keeps_what_was_observed() {
    let bench = Workbench::new();
    let blank = [(2, 1), (5, 0), (5, 1), (5, 3), (7, 4)];
    nested(&bench, "nested.tsv", &blank);
    let arguments = "impute nested.tsv -o out.h5ad --config tiny --fill missing --reconcile -q";
    bench.succeed(&arguments.split(' ').collect::<Vec<_>>());
    let before = read(&bench, "nested.tsv").to_dense();
    let out = read(&bench, "out.h5ad");
    let after = out.to_dense();
    let row = |sample: usize| &after[sample * 6..(sample + 1) * 6];
    assert_eq!(row(5)[1], row(5)[2] + row(5)[3] + row(5)[4]);
    assert_eq!(row(5)[0], row(5)[1] + row(5)[5]);
    for (before, after) in before.iter().zip(&after).filter(|(b, _)| !b.is_nan()) {
        assert_eq!(before.to_bits(), after.to_bits());
    }
    let layer = |name: &str| match &out.layers[name] {
        suffuse_data::Layer::Dense(dense) => dense.values[5 * 6],
        other => panic!("{other:?}"),
    };
    assert!(layer("lower") <= row(5)[0] && row(5)[0] <= layer("upper"));
    assert_eq!(out.uns["suffuse"]["reconciled_parents"], 2);
}

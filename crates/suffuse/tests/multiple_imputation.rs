//! Sets of completed tables: what `impute --m` and `--zeros` write, and what `pool` makes of them.

mod program;

use program::{Workbench, count};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use suffuse_data::Table;
use suffuse_data::format::{self, ReadOptions};
use suffuse_data::metadata::{Column, ColumnValues};
use suffuse_data::select::{feature_positions, take_features};
use suffuse_data::simulate::{SimulateOptions, simulate};

/// A folder with `table.h5ad`, whose column `site` holds two groups, and a model of it in `model`.
fn bench() -> (Workbench, Table) {
    let bench = Workbench::new();
    let options = SimulateOptions {
        n_samples: 40,
        n_taxa: 12,
        zero_fraction: 0.5,
        seed: 3,
        ..Default::default()
    };
    let table = simulate(&options).expect("the options are in range").table;
    let mut dense = table.to_dense();
    dense.iter_mut().step_by(17).for_each(|x| *x = f64::NAN);
    let mut table = table.with_dense(&dense).expect("values of a table");
    for (name, n_levels) in [("site", 2), ("stage", 3)] {
        let level = |i: usize| Some(["a", "b", "c"][i % n_levels].to_string());
        let values = ColumnValues::Text((0..40).map(level).collect());
        let name = name.to_string();
        table
            .sample_metadata
            .set_column(Column { name, values })
            .expect("a value per sample");
    }
    let path = bench.path("table.h5ad");
    format::write(&table, &path, &Default::default()).expect("the folder can be written to");
    let mut fit = vec!["fit", "table.h5ad", "-o", "model", "--config", "tiny", "-q"];
    for setting in ["vae.training.n_steps=30", "dat.training.n_steps=30"] {
        fit.extend(["--set", setting]);
    }
    bench.succeed(&fit);
    (bench, read_path(&path))
}

fn read_path(path: &std::path::Path) -> Table {
    format::read(path, &ReadOptions::default()).expect("a table")
}

fn impute(more: &str) -> Vec<&str> {
    let mut arguments = vec!["impute", "table.h5ad", "--model", "model"];
    arguments.extend(["--sampler", "ddim:2", "--presence-threshold", "0.3"]);
    arguments.extend(more.split(' '));
    arguments
}

fn words(command: &str) -> Vec<&str> {
    command.split(' ').collect()
}

/// Probability of presence of each filled entry, from the list beside a text output.
fn presence(list: &str) -> HashMap<(String, String), f64> {
    let of_line = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let key = (fields[0].to_string(), fields[1].to_string());
        (key, fields[5].parse().expect("a probability"))
    };
    list.lines().skip(1).map(of_line).collect()
}

#[test]
fn each_table_of_a_set_is_one_draw_with_the_observed_entries_as_they_were() {
    let (bench, before) = bench();
    let run = bench.succeed(&impute("-o out.tsv --m 5 --draws 5"));
    assert!(run.stderr.contains("5 completed tables"), "{}", run.stderr);
    let mean = read_path(&bench.path("out.tsv"));
    let sets: Vec<Table> = (1..=5)
        .map(|k| read_path(&bench.path(&format!("out-0{k}.tsv"))))
        .collect();
    assert!(!bench.path("out-06.tsv").exists());
    let list = std::fs::read_to_string(bench.path("out.tsv.filled.tsv")).expect("a list");
    let presence = presence(&list);
    let (mut n_filled, mut n_varied, mut n_absent, mut expected) = (0, 0, 0, 0.0);
    for sample in 0..before.n_samples() {
        for feature in 0..before.n_features() {
            let of = |table: &Table| table.get(sample, feature);
            let key = (
                before.sample_ids()[sample].clone(),
                before.feature_ids()[feature].clone(),
            );
            let Some(presence) = presence.get(&key).filter(|_| of(&mean) > 0.0) else {
                // Kept, or taken to be absent.
                assert!(
                    sets.iter()
                        .all(|set| of(set).to_bits() == of(&mean).to_bits())
                );
                continue;
            };
            n_filled += 5;
            expected += 5.0 * (1.0 - presence);
            let drawn: Vec<f64> = sets.iter().map(of).collect();
            n_absent += drawn.iter().filter(|value| **value == 0.0).count();
            n_varied += usize::from(drawn.iter().any(|value| *value != drawn[0]));
            assert!(drawn.iter().all(|value| *value >= 0.0 && value.is_finite()));
            // The value of the mean table is the mean of all draws given presence.
            if drawn.iter().all(|value| *value > 0.0) {
                let ends = [f64::INFINITY, 0.0];
                let ends = drawn
                    .iter()
                    .fold(ends, |[low, high], x| [low.min(*x), high.max(*x)]);
                let mean = of(&mean);
                assert!(ends[0] <= mean * (1.0 + 1e-9) && mean <= ends[1] * (1.0 + 1e-9));
            }
        }
    }
    assert!(
        n_filled > 200 && n_varied > n_filled / 10,
        "{n_filled} {n_varied}"
    );
    // Five standard deviations of a sum of independent indicators.
    let spread = 5.0 * (n_filled as f64 * 0.25).sqrt();
    assert!(
        (n_absent as f64 - expected).abs() < spread,
        "{n_absent} against {expected}"
    );
}

#[test]
fn sets_do_not_depend_on_blocks_threads_format_or_the_order_of_features() {
    let (bench, table) = bench();
    bench.succeed(&impute(
        "-o a.h5ad --m 3 --draws 4 --batch-size 7 --threads 1 -q",
    ));
    bench.succeed(&impute(
        "-o b.tsv --m 3 --draws 4 --batch-size 64 --threads 2 -q",
    ));
    let turned: Vec<usize> = (0..table.n_features()).rev().collect();
    let turned = take_features(&table, &turned).expect("positions");
    format::write(&turned, &bench.path("turned.h5ad"), &Default::default()).expect("a folder");
    let mut third = impute("-o c.h5ad --m 3 --draws 4 -q");
    third[1] = "turned.h5ad";
    bench.succeed(&third);
    let bits =
        |table: &Table| -> Vec<u64> { table.to_dense().iter().map(|x| x.to_bits()).collect() };
    for k in 1..=3 {
        let a = read_path(&bench.path(&format!("a-0{k}.h5ad")));
        let b = read_path(&bench.path(&format!("b-0{k}.tsv")));
        let c = read_path(&bench.path(&format!("c-0{k}.h5ad")));
        assert_eq!(c.feature_ids(), turned.feature_ids());
        let back = feature_positions(&c, a.feature_ids()).expect("the same features");
        let c = take_features(&c, &back).expect("positions");
        assert_eq!(bits(&a), bits(&b), "table {k}");
        assert_eq!(bits(&a), bits(&c), "table {k}");
        assert_eq!(a.uns["suffuse"]["set"], format!("{k} of 3"));
        assert!(a.sample_metadata.column("site").is_some());
    }
    // The table of the means is what it is without a set.
    bench.succeed(&impute("-o alone.h5ad --draws 4 -q"));
    let [alone, with] = ["alone.h5ad", "a.h5ad"].map(|name| read_path(&bench.path(name)));
    assert_eq!(bits(&alone), bits(&with));
}

#[test]
fn draws_are_raised_to_the_number_of_tables_and_this_is_said() {
    let (bench, _) = bench();
    let run = bench.succeed(&impute("-o out.h5ad --m 4 --draws 2 --json"));
    assert!(run.stderr.contains("raised from 2 to 4"), "{}", run.stderr);
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(report["files"].as_array().expect("a list").len(), 5);
    let record = &read_path(&bench.path("out.h5ad")).uns["suffuse"];
    assert_eq!(record["m"], 4);
    let config = record["config"].as_str().expect("a text");
    assert!(config.contains("n_draws = 4"), "{config}");
    // A smaller set leaves the rest of a larger one behind, which is told.
    let run = bench.succeed(&impute("-o out.h5ad --m 2 --draws 2 --force"));
    assert!(
        run.stderr.contains("out-03.h5ad is there as well"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_table_that_exists_is_found_before_any_work_and_a_failure_leaves_nothing() {
    let (bench, table) = bench();
    bench.file("out-03.tsv", "precious");
    bench.fail(1, &impute("-o out.tsv --m 4"), &["out-03.tsv", "--force"]);
    bench.file("zeros.tsv", "precious");
    bench.fail(
        1,
        &impute("-o new.tsv --zeros zeros.tsv"),
        &["zeros.tsv", "--force"],
    );
    bench.succeed(&impute("-o out.tsv --m 4 --draws 4 --force -q"));
    assert_ne!(
        std::fs::read(bench.path("out-03.tsv")).expect("a file"),
        b"precious"
    );
    // NaN that stays cannot be written as MatrixMarket.
    assert!(table.to_dense().iter().any(|x| x.is_nan()));
    let before = bench.content();
    let run = bench.run(&impute("-o kept.mtx --m 2 --draws 2 --fill zeros"));
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert_eq!(bench.content(), before);
}

#[test]
fn a_table_that_appears_meanwhile_stays_and_those_written_before_it_go() {
    let (bench, _) = bench();
    let mut child = bench
        .command(&impute(
            "-o out.tsv --m 3 --draws 400 --batch-size 1 --threads 1",
        ))
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built");
    let mut lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
    let first = lines.find(|line| matches!(line, Ok(line) if line.contains("filling: step")));
    assert!(first.is_some(), "no progress was shown");
    bench.file("out-03.tsv", "precious");
    let before = bench.content();
    let rest: Vec<String> = lines.map(Result::unwrap_or_default).collect();
    assert_eq!(child.wait().expect("a child ends").code(), Some(1));
    assert!(rest.join("\n").contains("out-03.tsv"), "{rest:?}");
    assert_eq!(bench.content(), before);
    let kept = std::fs::read(bench.path("out-03.tsv")).expect("it was written above");
    assert_eq!(kept, b"precious");
}

#[test]
fn baselines_have_no_draws_and_no_presence_and_numbers_must_make_sense() {
    let (bench, _) = bench();
    let knn = |more: &'static str| {
        let mut arguments = words("impute table.h5ad -o out.h5ad --method knn --fill missing");
        arguments.extend(more.split(' '));
        arguments
    };
    bench.fail(2, &knn("--m 5"), &["--m", "knn", "no draws"]);
    bench.fail(2, &knn("--zeros z.tsv"), &["--zeros", "knn"]);
    for bad in ["--m 1", "--m 201", "--m many"] {
        bench.fail(2, &impute(&format!("-o out.h5ad {bad}")), &["2 to 200"]);
    }
    bench.fail(2, &impute("-o out.h5ad --undecided 0.2,0.8"), &["--zeros"]);
    let with = |undecided: &str| format!("-o out.h5ad --zeros z.tsv --undecided {undecided}");
    bench.fail(
        2,
        &impute(&with("0.4,0.8")),
        &["0.3", "--presence-threshold"],
    );
    bench.fail(2, &impute(&with("0.8")), &["comma"]);
    bench.fail(
        2,
        &impute("-o out.h5ad --zeros out.h5ad"),
        &["another output"],
    );
    bench.fail(
        2,
        &impute("-o out.h5ad --zeros z.tsv --fill missing"),
        &["--fill all"],
    );
}

#[test]
fn every_zero_judged_is_listed_once_with_the_class_that_fits_what_was_done() {
    let (bench, before) = bench();
    bench.file("known.txt", format!("{}\n", before.feature_ids()[1]));
    let known = before.feature_ids()[1].clone();
    let observed: Vec<usize> = (0..40).filter(|s| before.get(*s, 1) > 0.0).collect();
    let entry = |s: &usize| format!("{}\t{known}\n", before.sample_ids()[*s]);
    let zeros: Vec<usize> = (0..40).filter(|s| !observed.contains(s)).collect();
    bench.file("known.txt", zeros.iter().map(entry).collect::<String>());
    bench.succeed(&impute(
        "-o out.h5ad --zeros zeros.tsv --draws 2 --structural-zeros known.txt -q",
    ));
    let after = read_path(&bench.path("out.h5ad"));
    let list = |name: &str| std::fs::read_to_string(bench.path(name)).expect("a list");
    let text = list("zeros.tsv");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("sample\tfeature\tpresence\tclass"));
    let mut n = HashMap::new();
    for line in lines {
        let fields: Vec<&str> = line.split('\t').collect();
        let place = |ids: &[String], id| ids.iter().position(|other| other == id);
        let sample = place(before.sample_ids(), fields[0]).expect("a sample");
        let feature = place(before.feature_ids(), fields[1]).expect("a feature");
        let presence: f64 = fields[2].parse().expect("a probability");
        let class = if presence >= 0.3 {
            "false_zero"
        } else {
            "true_zero"
        };
        assert_eq!(fields[3], class);
        assert_eq!(
            after.get(sample, feature) > 0.0,
            class == "false_zero",
            "{line}"
        );
        if feature == 1 {
            assert_eq!(presence, 0.0);
        } else {
            assert_eq!(before.get(sample, feature), 0.0);
        }
        *n.entry(class).or_insert(0) += 1;
    }
    let is_zero = |at: usize| {
        let (sample, feature) = (at / 12, at % 12);
        let value = before.get(sample, feature);
        value == 0.0 || (value.is_nan() && feature == 1)
    };
    let totals = before.totals();
    let n_judged = (0..480)
        .filter(|at| is_zero(*at) && totals[at / 12] > 0.0)
        .count();
    assert_eq!(n["false_zero"] + n["true_zero"], n_judged);
    bench.succeed(&impute(
        "-o out.tsv --zeros three.tsv --undecided 0.2,0.8 --draws 2 -q",
    ));
    assert!(list("three.tsv").contains("\tundecided\n"));
}

#[test]
fn pool_compares_two_groups_over_a_set_and_counts_false_positives() {
    let (bench, table) = bench();
    bench.succeed(&impute("-o out.h5ad --m 3 --draws 3 -q"));
    let command = "pool table.h5ad --imputed out-01.h5ad out-02.h5ad out-03.h5ad --group site";
    for test in ["welch", "wilcoxon"] {
        let output = format!("{test}.tsv");
        let more = format!("{command} --test {test} --permutations 20 -o {output}");
        let run = bench.succeed(&words(&more));
        for word in [
            "taxa with q < 0.05",
            "3 completed",
            "mean |Spearman|",
            "p < 0.05",
        ] {
            assert!(run.stdout.contains(word), "{word}: {}", run.stdout);
        }
        assert!(
            run.stderr.contains("\"b\" (20 samples) against \"a\""),
            "{}",
            run.stderr
        );
        let text = std::fs::read_to_string(bench.path(&output)).expect("results");
        assert_eq!(text.lines().count(), 1 + table.n_features());
        assert!(bench.path(&format!("{output}.suffuse.json")).exists());
    }
    let json = |more: &str| -> Value {
        let run = bench.succeed(&words(&format!("{command} --json -q {more}")));
        serde_json::from_str(&run.stdout).expect("JSON")
    };
    let found = json("--permutations 20 --scale ln1p");
    assert_eq!(found["check"]["before"]["n_permutations"], 20);
    let missing = |taxon: &Value| taxon["missing_information"].as_f64().expect("a number");
    let taxa = found["taxa"].as_array().expect("a list");
    assert!(taxa.iter().any(|taxon| missing(taxon) > 0.0));
    assert!(taxa.iter().all(|taxon| missing(taxon) < 1.0));
    // The other way round, and again with another number of threads.
    let turned = json("--scale ln1p --levels b,a --threads 1");
    for (there, back) in taxa.iter().zip(turned["taxa"].as_array().expect("a list")) {
        assert_eq!(there["p"], back["p"]);
        let [there, back] = [there, back].map(|taxon| taxon["effect"].as_f64());
        assert_eq!(there, back.map(|effect| -effect));
    }
    assert_eq!(turned["check"], Value::Null);
    assert_eq!(json("--permutations 20 --scale ln1p --threads 1"), found);
    // Without a file the taxa go to stdout.
    let run = bench.succeed(&words(command));
    assert!(run.stdout.starts_with("feature\tmean\t"), "{}", run.stdout);
}

#[test]
fn pool_refuses_tables_of_another_origin_and_columns_without_two_groups() {
    let (bench, table) = bench();
    bench.succeed(&impute("-o out.h5ad --m 2 --draws 2 -q"));
    let mut dense = table.to_dense();
    let at = dense
        .iter()
        .position(|x| *x > 0.0)
        .expect("an observed entry");
    dense[at] += 1.0;
    let other = table.with_dense(&dense).expect("a table");
    format::write(&other, &bench.path("other.h5ad"), &Default::default()).expect("a folder");
    let pool = |tables: &str, more: &str| format!("pool table.h5ad --imputed {tables} {more}");
    for (tables, told) in [
        ("out-01.h5ad out-01.h5ad", "one table given twice"),
        ("out.h5ad out-01.h5ad", "out.h5ad holds the mean of draws"),
    ] {
        let run = bench.succeed(&words(&pool(tables, "--group site")));
        assert!(run.stderr.contains(told), "{}", run.stderr);
    }
    let fail = |code, command: String, facts: &[&str]| bench.fail(code, &words(&command), facts);
    let site = "--group site";
    let sample = &table.sample_ids()[at / 12];
    fail(
        1,
        pool("out-01.h5ad other.h5ad", site),
        &["other.h5ad: sample", sample],
    );
    fail(1, pool("out-01.h5ad no.h5ad", site), &["no.h5ad"]);
    let both = "out-01.h5ad out-02.h5ad";
    let facts = ["\"a\", \"b\", \"c\"", "--levels A,B"];
    fail(2, pool(both, "--group stage"), &facts);
    fail(2, pool(both, "--group stage --levels a,x"), &["\"x\""]);
    fail(2, pool(both, "--group stage --levels a"), &["comma"]);
    fail(2, pool(both, "--group nothing"), &["nothing", "site"]);
    fail(2, pool(both, "--group site --test anova"), &["welch"]);
    fail(
        2,
        words("pool table.h5ad --group site").join(" "),
        &["--imputed"],
    );
    bench.file("there.tsv", "precious");
    fail(
        1,
        pool(both, "--group site -o there.tsv"),
        &["there.tsv", "--force"],
    );
    bench.succeed(&words(&pool(
        both,
        "--group stage --levels c,a -o new.tsv -q",
    )));
}

#[test]
fn pool_joins_a_metadata_sheet_and_leaves_out_samples_without_content_or_group() {
    let bench = Workbench::new();
    let value = |s: usize, f: usize| match s {
        3 => "0".to_string(),
        _ => count(s, f),
    };
    bench.table("table.tsv", (14, 5), value);
    bench.table("filled.tsv", (14, 5), |s, f| {
        match (s, value(s, f).as_str()) {
            (5, "0") => "2.5".to_string(),
            (_, value) => value.to_string(),
        }
    });
    let group = |s: usize| ["x", "y", "", "NA"][if s < 12 { s % 2 } else { s % 2 + 2 }];
    let lines: String = (0..14).map(|s| format!("s{s}\t{}\n", group(s))).collect();
    bench.file("meta.tsv", format!("sample-id\tarm\n{lines}"));
    let command = "pool table.tsv --imputed filled.tsv -m meta.tsv --group arm -o out.tsv";
    let run = bench.succeed(&words(command));
    for fact in [
        "2 samples are in neither group",
        "1 samples have no non-zero entry in the original",
        "\"y\" (5 samples) against \"x\" (6 samples) over 1",
        "p-values are too small",
    ] {
        assert!(run.stderr.contains(fact), "{fact}: {}", run.stderr);
    }
    let without = "pool table.tsv --imputed filled.tsv --group arm";
    bench.fail(2, &words(without), &["-m FILE"]);
}

#[test]
fn completed_tables_hold_no_less_than_was_ever_seen_of_a_taxon() {
    let bench = Workbench::new();
    // All but the first taxon hold a few millionths: draws spread far below what was seen.
    bench.table("table.tsv", (30, 6), |sample, taxon| {
        match (sample + taxon) % 9 {
            0 => "NaN".to_string(),
            _ if taxon == 0 => (1_000_000 + sample).to_string(),
            n => ((n * 3 + sample) % 4).to_string(),
        }
    });
    bench.succeed(&words(
        "impute table.tsv -o filled.tsv --config tiny --m 10 --presence-threshold 0 -q --method depmicrodiff",
    ));
    for number in 1..=10 {
        let filled = read_path(&bench.path(&format!("filled-{number:02}.tsv")));
        let drawn = filled.to_dense();
        assert!(
            drawn.iter().all(|x| x.is_nan() || *x >= 0.0),
            "{number}: {drawn:?}"
        );
    }
}

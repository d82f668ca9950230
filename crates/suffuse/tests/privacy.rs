//! `suffuse privacy`. Runs the real program.

mod program;

use program::{Workbench, count};
use serde_json::Value;

/// Counts that look drawn from one population; `shift` chooses the samples.
fn counts(shift: usize) -> impl Fn(usize, usize) -> String {
    move |sample, feature| {
        let s = sample + shift;
        let x = (s * s * 31 + feature * 17 + s * feature * 7 + s) % 29;
        if x < 12 {
            "0".to_string()
        } else {
            x.to_string()
        }
    }
}

/// A table whose samples have names of their own.
fn table(bench: &Workbench, name: &str, n_samples: usize, value: impl Fn(usize, usize) -> String) {
    let mut text = String::from("sample");
    (0..8).for_each(|feature| text.push_str(&format!("\tt{feature}")));
    for sample in 0..n_samples {
        text.push_str(&format!("\n{name}-{sample}"));
        (0..8).for_each(|feature| text.push_str(&format!("\t{}", value(sample, feature))));
    }
    text.push('\n');
    bench.file(&format!("{name}.tsv"), text);
}

#[test]
fn copies_fail_in_words_and_in_json() {
    let bench = Workbench::new();
    table(&bench, "train", 60, counts(0));
    table(&bench, "holdout", 60, counts(1000));
    table(&bench, "copies", 60, counts(0));
    let command = ["privacy", "train.tsv", "holdout.tsv", "copies.tsv"];
    let run = bench.succeed(&command);
    for fact in [
        "verdict: FAIL",
        "exact copies: 100.0 % of 60",
        "Bray-Curtis",
        "Aitchison",
        "FAIL     exact copies of training samples",
    ] {
        assert!(
            run.stdout.contains(fact),
            "{fact:?} is not in: {}",
            run.stdout
        );
    }
    assert!(
        run.stderr.contains("the smallest table has 60 samples"),
        "{}",
        run.stderr
    );
    let json = bench.succeed(&[&command[..], &["--json"]].concat()).stdout;
    let found: Value = serde_json::from_str(&json).expect("the program writes JSON");
    assert_eq!(found["verdict"], "fail");
    assert_eq!(found["copies"], 1.0);
    assert_eq!(found["distances"][0]["distance"], "bray-curtis");
    assert_eq!(found["distances"][0]["share"]["value"], 1.0);
    assert_eq!(found["n"]["holdout"], 60);
    let two = [&["--threads", "2"], &command[..], &["--json"]].concat();
    assert_eq!(bench.succeed(&two).stdout, json);
}

#[test]
fn tables_that_cannot_be_compared_are_refused() {
    let bench = Workbench::new();
    table(&bench, "train", 9, counts(0));
    table(&bench, "holdout", 9, counts(100));
    bench.file("other.tsv", "sample\tu0\tu1\nx\t1\t2\n");
    bench.file("short.tsv", "sample\tt0\tt1\nx\t1\t2\n");
    let fail = |tables: [&str; 3], facts: &[&str]| {
        bench.fail(1, &[&["privacy"], &tables[..]].concat(), facts);
    };
    bench.table("counts.tsv", (9, 8), count);
    fail(
        ["counts.tsv", "counts.tsv", "train.tsv"],
        &["never saw", "\"s0\""],
    );
    fail(
        ["train.tsv", "holdout.tsv", "short.tsv"],
        &["short.tsv", "lacks 6 features", "\"t2\""],
    );
    fail(
        ["train.tsv", "holdout.tsv", "other.tsv"],
        &["other.tsv", "u0"],
    );
    fail(["train.tsv", "holdout.tsv", "no.tsv"], &["no.tsv"]);
    bench.fail(2, &["privacy", "train.tsv", "holdout.tsv"], &["SYNTHETIC"]);
}

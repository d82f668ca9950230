//! `suffuse privacy`. Runs the real program.

mod program;

use program::{Workbench, count};
use serde_json::Value;

/// Counts that look drawn from one population, no two samples alike; `shift` chooses the samples.
fn counts(shift: usize) -> impl Fn(usize, usize) -> String {
    move |sample, feature| {
        // The finaliser of splitmix64.
        let mut x =
            ((sample + shift) as u64 * 8 + feature as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        match (x ^ (x >> 31)) % 97 {
            0..40 => "0".to_string(),
            many => many.to_string(),
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
    // A sheet is that of the real samples.
    let rows = |name: &str| -> String { (0..60).map(|k| format!("{name}-{k}\tx\n")).collect() };
    let rows = rows("train") + &rows("holdout");
    bench.file("sheet.tsv", format!("id\tsite\n{rows}"));
    let with_sheet = [&command[..], &["-m", "sheet.tsv", "--json"]].concat();
    assert_eq!(bench.succeed(&with_sheet).stdout, json);
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

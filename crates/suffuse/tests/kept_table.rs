//! `suffuse fit --keep-table`, and `suffuse impute --model` with what learns beside the model. Runs the real
//! program.

mod program;

use program::{Workbench, count};
use serde_json::Value;
use suffuse_data::simulate::{SimulateOptions, simulate};
use suffuse_data::transform::Scale;
use suffuse_data::transform::percent::ln1p_percent;
use suffuse_data::{Column, ColumnValues, Table, format, select};

/// Samples of the table that is filled; the others are fitted on.
const N_NEW: usize = 20;

fn read(bench: &Workbench, name: &str) -> Table {
    format::read(&bench.path(name), &Default::default()).expect("the program wrote a table")
}

fn simulated() -> Table {
    let options = SimulateOptions {
        n_samples: 80 + N_NEW,
        n_taxa: 14,
        zero_fraction: 0.2,
        library_size: 5000.0,
        seed: 5,
        ..Default::default()
    };
    let mut table = simulate(&options).expect("the options are in range").table;
    let subjects = (0..80 + N_NEW).map(|sample| Some(format!("p{}", sample / 2)));
    let column = Column {
        name: "subject".to_string(),
        values: ColumnValues::Text(subjects.collect()),
    };
    table
        .sample_metadata
        .set_column(column)
        .expect("a new column");
    table
}

fn write(bench: &Workbench, table: &Table, name: &str) {
    format::write(table, &bench.path(name), &Default::default())
        .expect("the folder of the test can be written to");
}

/// The table to fit on, the one to fill, and what is missing in it, in ln(1 + percent) of what is left.
fn parts(bench: &Workbench) -> Vec<(usize, usize, f64)> {
    let table = simulated();
    let old: Vec<usize> = (0..80).collect();
    let new: Vec<usize> = (80..80 + N_NEW).collect();
    write(
        bench,
        &select::take_samples(&table, &old).expect("the table of the test is whole"),
        "old.h5ad",
    );
    let new = select::take_samples(&table, &new).expect("the table of the test is whole");
    let mut left = new.to_dense();
    let n_taxa = new.n_features();
    let is_hidden = |at: &usize| at % 5 == 2 && left[*at] > 0.0;
    let hidden: Vec<usize> = (0..left.len()).filter(is_hidden).collect();
    for at in &hidden {
        left[*at] = f64::NAN;
    }
    let left = new
        .with_dense(&left)
        .expect("the table of the test is whole");
    write(bench, &left, "new.h5ad");
    let totals = left.totals();
    let truth = |at: usize| {
        let (sample, taxon) = (at / n_taxa, at % n_taxa);
        let value = ln1p_percent(new.get(sample, taxon), Scale(totals[sample]));
        (sample, taxon, value)
    };
    hidden.into_iter().map(truth).collect()
}

fn rmse(bench: &Workbench, name: &str, truth: &[(usize, usize, f64)]) -> f64 {
    let left = read(bench, "new.h5ad");
    let filled = read(bench, name);
    let totals = left.totals();
    let square = |(sample, taxon, truth): &(usize, usize, f64)| {
        (ln1p_percent(filled.get(*sample, *taxon), Scale(totals[*sample])) - truth).powi(2)
    };
    (truth.iter().map(square).sum::<f64>() / truth.len() as f64).sqrt()
}

#[test]
fn classical_methods_learn_from_the_table_that_was_kept() {
    let bench = Workbench::new();
    let truth = parts(&bench);
    let fit = [
        "fit", "old.h5ad", "--config", "tiny", "--group", "subject", "-q", "-o",
    ];
    bench.succeed(&[&fit[..], &["alone"]].concat());
    bench.succeed(&[&fit[..], &["kept", "--keep-table"]].concat());
    let impute = |model: &str, out: &str, more: &[&str]| {
        let command = ["impute", "new.h5ad", "--model", model, "-o", out];
        bench.succeed(&[&command[..], more].concat())
    };
    let run = impute("alone", "alone.h5ad", &[]);
    assert!(
        run.stderr.contains("the fitted model alone"),
        "{}",
        run.stderr
    );
    let run = impute("kept", "kept.h5ad", &["--report", "kept.html"]);
    assert!(run.stderr.contains("% diffusion, "), "{}", run.stderr);
    assert!(run.stderr.contains("zeros judged by"), "{}", run.stderr);
    // The tiny model has hardly learned; the others are better than it.
    let (alone, kept) = (
        rmse(&bench, "alone.h5ad", &truth),
        rmse(&bench, "kept.h5ad", &truth),
    );
    assert!(kept < 0.95 * alone, "{kept}, alone {alone}");
    let filled = read(&bench, "kept.h5ad");
    let partners = &filled.uns["suffuse"]["auto"]["partners"];
    assert!(partners.to_string().contains("extra-trees"), "{partners}");
    let page = std::fs::read_to_string(bench.path("kept.html")).unwrap();
    assert!(page.contains("of the table that it was fitted on"));
    // Nothing to weigh on, nothing weighed.
    let run = impute("kept", "raw.h5ad", &["--no-calibration"]);
    assert!(
        run.stderr.contains("the fitted model alone"),
        "{}",
        run.stderr
    );
    // Features of another table, before anything is weighed.
    let table = read(&bench, "new.h5ad");
    let some: Vec<usize> = (0..9).collect();
    let fewer = select::take_features(&table, &some).unwrap();
    write(&bench, &fewer, "fewer.h5ad");
    let fill = ["impute", "fewer.h5ad", "--model", "kept", "-o", "x.h5ad"];
    bench.fail(
        1,
        &fill,
        &["fewer.h5ad", "9 features, but the model was fitted on 14"],
    );
    bench.fail(1, &[&fill[..], &["--dry-run"]].concat(), &["9 features"]);
    // Filling the table that it was fitted on: no sample is judged by itself.
    let again = ["impute", "old.h5ad", "--model", "kept", "-o", "again.h5ad"];
    let run = bench.succeed(&again);
    assert!(
        run.stderr
            .contains("80 samples of the table are in the one"),
        "{}",
        run.stderr
    );
    let go = [
        "impute", "old.h5ad", "--config", "tiny", "--group", "subject", "-o", "go.h5ad",
    ];
    bench.succeed(&go);
    let n_filled = |name: &str| -> f64 {
        let table = read(&bench, name);
        table.uns["suffuse"]["counts"]["filled_zeros"]
            .as_f64()
            .unwrap()
    };
    let (again, go) = (n_filled("again.h5ad"), n_filled("go.h5ad"));
    assert!(
        (again / go - 1.0).abs() < 0.1,
        "{again} zeros filled, {go} in one go"
    );
    // What was completed is no table to learn from.
    let run = bench.succeed(&["impute", "go.h5ad", "--method", "ridge", "-o", "twice.h5ad"]);
    let doubt = format!("{go} filled entries are taken for measured ones");
    assert!(run.stderr.contains(&doubt), "{}", run.stderr);
    // By name, with one partner.
    let run = impute(
        "kept",
        "named.h5ad",
        &["--method", "depmicrodiff", "--json"],
    );
    serde_json::from_str::<Value>(&run.stdout).expect("the program writes JSON");
    let named = read(&bench, "named.h5ad");
    let partners = &named.uns["suffuse"]["depmicrodiff"]["partners"];
    assert!(partners.to_string().contains("ridge"), "{partners}");
    assert!(!partners.to_string().contains("extra-trees"), "{partners}");
}

#[test]
fn a_table_is_kept_with_its_model_only() {
    let bench = Workbench::new();
    bench.table("old.tsv", (40, 8), count);
    bench.table("new.tsv", (12, 8), |sample, taxon| {
        count(sample + 40, taxon)
    });
    let fit = ["fit", "old.tsv", "--config", "tiny", "-q", "-o", "model"];
    bench.succeed(&[&fit[..], &["--keep-table"]].concat());
    let kept = bench.path("model/learned_from.h5ad");
    assert!(kept.exists());
    // Names that the format does not allow come back.
    let mut sheet = String::from("id\tpatient/id\tBMI (kg/m2)\n");
    (0..40).for_each(|k| sheet.push_str(&format!("s{k}\tp{}\t{}.5\n", k / 2, 20 + k % 9)));
    bench.file("sheet.tsv", sheet);
    let named = ["--metadata-columns", "BMI (kg/m2)", "--group", "patient/id"];
    let more = ["--keep-table", "--force", "-m", "sheet.tsv"];
    bench.succeed(&[&fit[..], &more[..], &named[..]].concat());
    let fill = [
        "impute",
        "new.tsv",
        "--model",
        "model",
        "-o",
        "y.tsv",
        "-m",
        "sheet.tsv",
    ];
    let run = bench.succeed(&fill);
    assert!(!run.stderr.contains("absent"), "{}", run.stderr);
    // Another table in its place.
    let fewer = bench.table("fewer.tsv", (40, 5), count);
    let fewer = format::read(&fewer, &Default::default()).unwrap();
    std::fs::remove_file(&kept).unwrap();
    write(&bench, &fewer, "model/learned_from.h5ad");
    let fill = ["impute", "new.tsv", "--model", "model", "-o", "x.tsv"];
    let facts = ["learned_from.h5ad", "another table", "fit the model again"];
    bench.fail(1, &fill, &facts);
    bench.file("model/learned_from.h5ad", "no table");
    bench.fail(1, &fill, &["learned_from.h5ad"]);
    // A fit that keeps none leaves none.
    bench.succeed(&[&fit[..], &["--force"]].concat());
    assert!(!kept.exists());
}

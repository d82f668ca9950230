//! `suffuse evaluate` under each protocol, with the model at its smallest and a few baselines. Runs the
//! real program.

mod program;

use program::{Workbench, count};
use serde_json::Value;
use suffuse_data::format;
use suffuse_data::simulate::{SimulateOptions, simulate};
use suffuse_data::split;

/// Counts of 40 samples of 20 subjects, as h5ad.
fn simulated(bench: &Workbench) {
    let options = SimulateOptions {
        n_samples: 40,
        n_taxa: 12,
        zero_fraction: 0.5,
        library_size: 300.0,
        seed: 3,
        ..Default::default()
    };
    let table = simulate(&options).expect("the options are in range").table;
    format::write(&table, &bench.path("table.h5ad"), &Default::default())
        .expect("the folder of the test can be written to");
}

const METHODS: &str = "auto,depmicrodiff,taxon-mean,taxon-mean-offset,knn,ridge";

/// The scores of one fold of a protocol.
fn scores(bench: &Workbench, protocol: &str, more: &[&str]) -> Value {
    let setting = [
        "evaluate",
        "table.h5ad",
        "--out",
        "results",
        "--protocol",
        protocol,
        "--methods",
        METHODS,
        "--config",
        "tiny",
        "--seeds",
        "1",
        "--json",
        "-q",
    ];
    let run = bench.succeed(&[&setting[..], more].concat());
    serde_json::from_str(&run.stdout).expect("the program writes JSON")
}

fn of<'a>(scores: &'a Value, method: &str) -> &'a Value {
    let rows = scores["scores"].as_array().expect("scores are a list");
    rows.iter()
        .find(|row| row["method"] == method)
        .expect("the method was asked for")
}

fn verdicts(scores: &Value) -> String {
    let verdicts = scores["verdicts"]
        .as_array()
        .expect("verdicts are a list")
        .iter();
    let texts: Vec<&str> = verdicts
        .map(|v| v.as_str().expect("a verdict is a text"))
        .collect();
    texts.join("\n")
}

#[test]
fn blind_scores_the_presence_of_every_method() {
    let bench = Workbench::new();
    simulated(&bench);
    let found = scores(&bench, "blind", &["--fraction", "0.3"]);
    for method in METHODS.split(',') {
        let row = of(&found, method);
        let auroc = row["auroc"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&auroc), "{method}: {row}");
        assert!(row["aupr"].is_f64() && row["completed_rmse"].is_f64());
        assert!(row["auroc_difference"]["low"].is_f64(), "{method}: {row}");
    }
    assert!(verdicts(&found).contains("in telling false zeros: AUROC"));
    let tsv = std::fs::read_to_string(bench.path("results/results.tsv")).unwrap();
    assert!(tsv.lines().next().unwrap().contains("\tauroc\taupr\t"));
}

#[test]
fn thinning_compares_samples_with_their_full_depth() {
    let bench = Workbench::new();
    simulated(&bench);
    let found = scores(&bench, "thinning", &["--fraction", "0.5,0.2"]);
    let row = of(&found, "depmicrodiff");
    let depth = &row["depth"];
    // A fifth of 40, less those of which nothing is left.
    let n_samples = depth["n_samples"].as_u64().expect("samples are compared");
    assert!((1..=8).contains(&n_samples), "{row}");
    assert!(depth["bray_curtis_thin"].as_f64().unwrap() > 0.0);
    assert!(depth["bray_curtis_completed"].is_f64() && row["auroc"].is_f64());
    // The thin samples are the same for every method.
    let other = &of(&found, "knn")["depth"]["bray_curtis_thin"];
    assert_eq!(other, &depth["bray_curtis_thin"]);
    assert!(verdicts(&found).contains("20 % depth: Bray-Curtis to the full depth"));
    let as_filled = ["--fraction", "0.2", "--completion", "filled"];
    let filled = scores(&bench, "thinning", &as_filled);
    let depth = |found: &Value, method: &str, what: &str| {
        let rows = found["scores"].as_array().unwrap();
        let is_meant = |row: &&Value| row["method"] == method && row["fraction"] == 0.2;
        let row = rows.iter().find(is_meant).unwrap();
        row["depth"][what].as_f64().unwrap()
    };
    // Nothing is filled in so small a table: no gain is clear there.
    for method in ["depmicrodiff", "knn", "ridge", "taxon-mean"] {
        let careful = depth(&found, method, "bray_curtis_completed");
        assert_eq!(
            careful,
            depth(&found, method, "bray_curtis_thin"),
            "{method}"
        );
        assert!(
            careful <= depth(&filled, method, "bray_curtis_completed"),
            "{method}"
        );
    }
}

#[test]
fn a_detection_limit_hides_the_low_values() {
    let bench = Workbench::new();
    simulated(&bench);
    let found = scores(&bench, "detection_limit", &["--fraction", "0.3"]);
    let row = of(&found, "depmicrodiff");
    assert!(row["rmse"].is_f64() && row["auroc"].is_null(), "{row}");
    assert_eq!(row["n"], of(&found, "ridge")["n"]);
    assert!(verdicts(&found).contains("lowest 30 %: depmicrodiff is"));
}

#[test]
fn whole_taxa_are_scored_for_presence_and_value() {
    let bench = Workbench::new();
    simulated(&bench);
    let found = scores(&bench, "whole_taxon", &["--fraction", "0.25"]);
    for method in METHODS.split(',') {
        assert!(of(&found, method)["auroc"].is_f64(), "{method}");
    }
    // What is not measured is judged by the model, and filled by the partners too, as `impute` does.
    let (auto, model) = (of(&found, "auto"), of(&found, "depmicrodiff"));
    assert_eq!(auto["auroc"], model["auroc"]);
    let alone = scores(
        &bench,
        "whole_taxon",
        &["--fraction", "0.25", "--set", "calibration.n_copies=0"],
    );
    assert_ne!(auto["rmse"], of(&alone, "auto")["rmse"]);
}

#[test]
fn thinning_hides_nothing_that_was_not_measured() {
    let bench = Workbench::new();
    simulated(&bench);
    for protocol in ["whole_taxon", "whole_sample"] {
        let alone = [
            "evaluate",
            "table.h5ad",
            "--out",
            "x",
            "--protocol",
            protocol,
            "--mask",
            "thin:0.5",
        ];
        bench.fail(2, &alone, &["thin:0.5", protocol, "--protocol thinning"]);
    }
    assert!(!bench.path("x").exists());
    let both = scores(&bench, "whole_taxon", &["--mask", "thin:0.5+taxon:3"]);
    assert!(of(&both, "taxon-mean")["n"].as_u64() > Some(0), "{both}");
}

#[test]
fn whole_samples_are_filled_by_baselines_and_the_model_says_it_cannot() {
    let bench = Workbench::new();
    simulated(&bench);
    let found = scores(&bench, "whole_sample", &[]);
    assert!(of(&found, "taxon-mean")["auroc"].is_f64(), "{found}");
    assert_eq!(of(&found, "depmicrodiff")["n"], 0);
    let verdicts = verdicts(&found);
    let said = "depmicrodiff gives no value to a sample of which nothing was measured";
    assert!(verdicts.contains(said), "{verdicts}");
}

#[test]
fn visits_are_filled_with_times_and_without_and_by_simple_methods_beside() {
    let bench = Workbench::new();
    bench.table("table.tsv", (24, 6), count);
    let mut sheet = String::from("id\thost\tday\n");
    for sample in 0..24 {
        sheet.push_str(&format!(
            "s{sample}\tH{}\t{}\n",
            sample / 12,
            3 * (sample % 12)
        ));
    }
    bench.file("sheet.tsv", sheet);
    let methods = "auto,depmicrodiff,depmicrodiff-without-times,taxon-mean,last-value,linear-interpolation,subject-mean";
    let visits = ["--subject", "host", "--time", "day", "--fraction", "0.3"];
    let setting = [
        "evaluate",
        "table.tsv",
        "-m",
        "sheet.tsv",
        "--out",
        "results",
        "--protocol",
        "time_point",
        "--methods",
        methods,
        "--config",
        "tiny",
        "--seeds",
        "2",
        "--json",
        "-q",
    ];
    let run = bench.succeed(&[&setting[..], &visits].concat());
    let found: Value = serde_json::from_str(&run.stdout).expect("the program writes JSON");
    let n = of(&found, "linear-interpolation")["n"].as_u64().unwrap();
    assert!(n > 0);
    for method in methods.split(',') {
        let row = of(&found, method);
        // A taxon that is judged absent counts as one that is: every method has all entries.
        assert_eq!(row["n"], n, "{row}");
        assert!(row["rmse"].is_f64() && row["auroc"].is_f64(), "{row}");
        let dissimilarity = row["depth"]["bray_curtis_completed"].as_f64().unwrap();
        assert!(dissimilarity > 0.0 && dissimilarity < 1.0, "{row}");
        assert_eq!(row["depth"]["bray_curtis_thin"], 1.0, "{row}");
    }
    assert_ne!(
        of(&found, "depmicrodiff")["rmse"],
        of(&found, "depmicrodiff-without-times")["rmse"]
    );
    let verdicts = verdicts(&found);
    assert!(
        verdicts.contains("Bray-Curtis to the hidden visits"),
        "{verdicts}"
    );
    let page = std::fs::read_to_string(bench.path("results/report.html")).unwrap();
    assert!(page.contains("carried forward"));
    bench.fail(
        2,
        &[
            "evaluate",
            "table.tsv",
            "--out",
            "r",
            "--methods",
            "last-value",
        ],
        &["--protocol time_point"],
    );
    bench.fail(
        2,
        &[
            "impute",
            "table.tsv",
            "-o",
            "o.tsv",
            "--method",
            "subject-mean",
        ],
        &["suffuse evaluate --protocol time_point"],
    );
}

#[test]
fn a_mask_replaces_that_of_the_protocol() {
    let bench = Workbench::new();
    simulated(&bench);
    let found = scores(&bench, "blind", &["--mask", "taxon:2+nonzero:0.1"]);
    let row = of(&found, "ridge");
    assert_eq!(row["mask"], "taxon:2+nonzero:0.1");
    assert!(row["auroc"].is_f64());
    // A sample that is named is hidden in the fold that tests it.
    let one = scores(&bench, "whole_sample", &["--mask", "sample:sample_003"]);
    let one = of(&one, "taxon-mean");
    assert!(one["n_folds"] == 1 && one["n"].as_u64() > Some(0), "{one}");
    // The mask of `strict` by its text gives the results of `strict`.
    let plain = scores(&bench, "strict", &["--fraction", "0.3"]);
    let masked = scores(&bench, "strict", &["--mask", "nonzero:0.3"]);
    for score in ["rmse", "n", "pcc"] {
        let of = |found| of(found, "taxon-mean")[score].clone();
        assert_eq!(of(&plain), of(&masked), "{score}");
    }
    let run = |more: &[&str]| {
        let setting = ["evaluate", "table.h5ad", "--out", "r", "-q"];
        bench.run(&[&setting[..], more].concat())
    };
    for (more, words) in [
        (
            &["--protocol", "published", "--mask", "nonzero:0.1"][..],
            "a mask of its own",
        ),
        (&["--protocol", "time_point"][..], "--subject COLUMN"),
        (&["--completion", "zero-reads"][..], "--protocol thinning"),
        (&["--mask", "nonzero:7"][..], "at most 1"),
        (
            &["--mask", "nonzero:0.0001", "--methods", "zero"][..],
            "--mask nonzero:0.0001 of protocol strict hides no value above zero",
        ),
        (
            &["--mask", "time:1", "--methods", "zero"][..],
            "--subject COLUMN",
        ),
        (
            &["--mask", "thin:0.5", "--fraction", "0.1"][..],
            "cannot be used with",
        ),
    ] {
        let run = run(more);
        assert_ne!(run.code, 0, "{more:?}");
        assert!(run.stderr.contains(words), "{more:?}: {}", run.stderr);
    }
}

/// Counts of samples with these ids, each value `count(sample, taxon)`.
fn counted(bench: &Workbench, name: &str, ids: &str, count: impl Fn(usize, usize) -> usize) {
    bench.table(name, (40, 12), |sample, taxon| {
        count(sample, taxon).to_string()
    });
    let text = std::fs::read_to_string(bench.path(name)).expect("the table was written");
    bench.file(name, text.replace("s", ids));
}

#[test]
fn zero_shot_learns_from_other_tables_alone() {
    let bench = Workbench::new();
    let counts = |sample: usize, taxon: usize| (sample * 7 + taxon * 5 + sample * taxon) % 11;
    let fold = &split::k_folds(&split::ungrouped(40), 5, 0).expect("40 samples have 5 folds")[0];
    counted(&bench, "table.tsv", "s", counts);
    counted(&bench, "other.tsv", "o", |sample, taxon| {
        counts(sample + 3, taxon + 1)
    });
    // Other samples of the same table, of which nothing may be learned.
    counted(&bench, "changed.tsv", "s", |sample, taxon| {
        match fold.train.contains(&sample) {
            true => 2 * counts(sample, taxon) + 1,
            false => counts(sample, taxon),
        }
    });
    let scores = |table: &str, more: &[&str]| -> Vec<Value> {
        let setting = "--out results --config tiny --seeds 1 --fraction 0.3 --json -q \
                       --methods depmicrodiff,taxon-mean,ridge --pretrain other.tsv";
        let arguments: Vec<&str> = ["evaluate", table]
            .into_iter()
            .chain(setting.split_whitespace())
            .chain(more.iter().copied())
            .collect();
        let run = bench.succeed(&arguments);
        let found: Value = serde_json::from_str(&run.stdout).expect("the program writes JSON");
        ["depmicrodiff", "taxon-mean", "ridge"]
            .map(|method| of(&found, method)["rmse"].clone())
            .to_vec()
    };
    let alone = scores("table.tsv", &["--zero-shot"]);
    assert!(alone.iter().all(Value::is_f64));
    assert_eq!(alone, scores("changed.tsv", &["--zero-shot"]));
    assert_ne!(scores("table.tsv", &[]), scores("changed.tsv", &[]));
    bench.fail(
        2,
        &["evaluate", "table.tsv", "-o", "r", "--zero-shot"],
        &["--pretrain"],
    );
    let itself = [
        "evaluate",
        "table.tsv",
        "-o",
        "r",
        "--zero-shot",
        "--pretrain",
        "table.tsv",
    ];
    bench.fail(1, &itself, &["stands in the table"]);
}

#[test]
fn mbvdit_is_the_model_with_the_settings_of_its_preset() {
    let bench = Workbench::new();
    simulated(&bench);
    let run = |out: &str, more: &str| {
        let setting =
            format!("evaluate table.h5ad --seeds 1 --fraction 0.3 --json -q -o {out} {more}");
        let run = bench.succeed(&setting.split(' ').collect::<Vec<_>>());
        serde_json::from_str::<Value>(&run.stdout).expect("the program writes JSON")
    };
    let steps = "--set vae.training.n_steps=20 --set dat.training.n_steps=20";
    let peer = run(
        "a",
        &format!("--methods mbvdit,depmicrodiff,zero --set guide.training.n_steps=20 {steps}"),
    );
    let preset = run(
        "b",
        &format!("--methods depmicrodiff,zero --config mbvdit {steps}"),
    );
    assert_eq!(
        of(&peer, "mbvdit")["rmse"],
        of(&preset, "depmicrodiff")["rmse"]
    );
    assert_ne!(
        of(&peer, "mbvdit")["rmse"],
        of(&peer, "depmicrodiff")["rmse"]
    );
}

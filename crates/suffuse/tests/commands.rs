//! The commands on good input: what they write, what they say, what they keep. Runs the real
//! program.

mod program;

use program::{Workbench, count};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use suffuse_data::Layer;
use suffuse_data::format::{self, ReadOptions};
use suffuse_data::select::{feature_positions, take_features};
use suffuse_data::simulate::{SimulateOptions, simulate};

/// A small simulated table with metadata, as h5ad.
fn simulated(bench: &Workbench, name: &str) -> PathBuf {
    let options = SimulateOptions {
        n_samples: 40,
        n_taxa: 12,
        zero_fraction: 0.5,
        seed: 3,
        ..Default::default()
    };
    let path = bench.path(name);
    let table = simulate(&options).expect("the options are in range").table;
    format::write(&table, &path, &Default::default())
        .expect("the folder of the test can be written to");
    path
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("the program writes JSON")
}

#[test]
fn inspect_counts_zeros_and_metadata() {
    let bench = Workbench::new();
    bench.table("table.tsv", (9, 5), count);
    bench.file("meta.tsv", "sample-id\tage\tsex\ns0\t61\tf\ns1\t\tm\n");
    let text = bench
        .succeed(&["inspect", "table.tsv", "-m", "meta.tsv"])
        .stdout;
    assert!(
        text.contains("samples            9") && text.contains("8 missing"),
        "{text}"
    );
    let found = json(
        &bench
            .succeed(&["inspect", "table.tsv", "-m", "meta.tsv", "--json"])
            .stdout,
    );
    assert_eq!(
        (&found["n_samples"], &found["n_features"]),
        (&9.into(), &5.into())
    );
    let n_zeros = (0..45).filter(|i| count(i / 5, i % 5) == "0").count();
    assert_eq!(found["n_nonzero"], 45 - n_zeros);
    assert_eq!(found["sample_metadata"][0]["name"], "age");
}

#[test]
fn impute_keeps_observed_entries_and_tells_what_it_did_to_the_others() {
    let bench = Workbench::new();
    let path = simulated(&bench, "table.h5ad");
    let run = bench.succeed(&[
        "impute",
        "table.h5ad",
        "-o",
        "out.h5ad",
        "--config",
        "tiny",
        "--json",
    ]);
    let before = format::read(&path, &ReadOptions::default()).unwrap();
    let after = format::read(&bench.path("out.h5ad"), &ReadOptions::default()).unwrap();
    let observed = before
        .to_dense()
        .into_iter()
        .zip(after.to_dense())
        .filter(|(b, _)| *b > 0.0);
    assert!(observed.clone().all(|(b, a)| b.to_bits() == a.to_bits()));
    let counts = &json(&run.stdout)["counts"];
    assert_eq!(counts["observed"], observed.count());
    let n_all: u64 = [
        "observed",
        "filled_missing",
        "filled_zeros",
        "kept_zeros",
        "kept_missing",
    ]
    .iter()
    .map(|name| counts[name].as_u64().unwrap())
    .sum();
    assert_eq!(n_all, 40 * 12);
    for layer in ["lower", "upper", "presence", "action"] {
        assert!(after.layers.contains_key(layer), "{layer}");
    }
    assert!(matches!(after.layers["lower"], Layer::Dense(_)));
    let record = &after.uns["suffuse"];
    assert_eq!(
        record["command"],
        "suffuse impute table.h5ad -o out.h5ad --config tiny --json"
    );
    assert_eq!(record["method"], "auto");
    assert!(record["auto"]["blend"]["weight"].is_number(), "{record}");
    // The table was named without its folder, so no folder may be recorded.
    let folder = path.parent().unwrap().display().to_string();
    assert!(!record.to_string().contains(&folder), "{record}");
}

#[test]
fn nothing_to_fill_leaves_the_matrix_as_it_was() {
    let bench = Workbench::new();
    bench.table("table.tsv", (9, 5), count);
    bench.succeed(&[
        "impute",
        "table.tsv",
        "-o",
        "out.biom",
        "--config",
        "tiny",
        "--fill",
        "missing",
    ]);
    let before = format::read(&bench.path("table.tsv"), &ReadOptions::default()).unwrap();
    let after = format::read(&bench.path("out.biom"), &ReadOptions::default()).unwrap();
    assert_eq!(before.csr(), after.csr());
    let record = json(&std::fs::read_to_string(bench.path("out.biom.suffuse.json")).unwrap());
    assert_eq!(record["counts"]["observed"], before.n_stored());
    assert_eq!(record["program"], "suffuse");
    assert_eq!(
        std::fs::read_to_string(bench.path("out.biom.filled.tsv"))
            .unwrap()
            .lines()
            .count(),
        1
    );
}

#[test]
fn a_fitted_model_gives_the_same_table_as_fitting_in_one_go() {
    let bench = Workbench::new();
    simulated(&bench, "table.h5ad");
    // Without a guide there is no regression beside the model, which a folder does not keep.
    let alone = ["--set", "guide.n_members=0", "-q"];
    let fit = ["fit", "table.h5ad", "-o", "model", "--config", "tiny"];
    bench.succeed(&[&fit[..], &alone].concat());
    bench.succeed(&[
        "impute",
        "table.h5ad",
        "-o",
        "two-steps.tsv",
        "--model",
        "model",
        "-q",
    ]);
    let impute = ["impute", "table.h5ad", "--method", "depmicrodiff"];
    let one_step = [&impute[..], &["--config", "tiny", "-o", "one-step.tsv"]].concat();
    bench.succeed(&[&one_step[..], &alone].concat());
    let text = |name| std::fs::read_to_string(bench.path(name)).unwrap();
    assert_eq!(text("two-steps.tsv"), text("one-step.tsv"));
    let found = json(&bench.succeed(&["inspect", "model", "--json"]).stdout);
    assert_eq!(
        (&found["kind"], &found["n_features"]),
        (&"model".into(), &12.into())
    );
    assert!(
        found["conditions"].as_str().unwrap().contains("age"),
        "{found}"
    );
}

#[test]
fn a_taxon_that_was_never_measured_stays_missing_and_unjudged_entries_have_no_presence() {
    let bench = Workbench::new();
    let cell = |i: usize, j: usize| match (i, j) {
        (_, 3) => String::new(), // never measured
        (5, 0) => String::new(),
        _ => count(i, j).to_string(),
    };
    let mut text = String::from("sample\ta\tb\tc\td\te\n");
    for i in 0..12 {
        let cells: Vec<String> = (0..5).map(|j| cell(i, j)).collect();
        text.push_str(&format!("s{i}\t{}\n", cells.join("\t")));
    }
    bench.file("table.tsv", text);
    let command = "impute table.tsv -o out.h5ad --config tiny --fill missing --json";
    let run = bench.succeed(&command.split(' ').collect::<Vec<_>>());
    let told = json(&run.stdout);
    // What was chosen, as the record has it, without the settings.
    assert_eq!(told["method"], "auto");
    assert!(told["auto"].is_object() && told["config"].is_null());
    let counts = &told["counts"];
    assert_eq!(
        (&counts["filled_missing"], &counts["kept_missing"]),
        (&1.into(), &12.into())
    );
    let table = format::read(&bench.path("out.h5ad"), &ReadOptions::default()).unwrap();
    assert!((0..12).all(|sample| table.get(sample, 3).is_nan()));
    assert!(table.get(5, 0) >= 0.0);
    let Some(Layer::Dense(presence)) = table.layers.get("presence") else {
        panic!("a dense layer");
    };
    let presence = |sample: usize, taxon: usize| presence.values[sample * 5 + taxon];
    assert!(presence(0, 3).is_nan() && !presence(5, 0).is_nan());
    let zero = (0..12).find(|i| table.get(*i, 1) == 0.0);
    assert!(zero.is_none_or(|zero| presence(zero, 1).is_nan()));
}

#[test]
fn a_table_with_its_features_in_another_order_is_filled_the_same_and_keeps_its_order() {
    let bench = Workbench::new();
    let path = simulated(&bench, "table.h5ad");
    let table = format::read(&path, &ReadOptions::default()).unwrap();
    let turned: Vec<usize> = (0..table.n_features()).rev().collect();
    let turned = take_features(&table, &turned).unwrap();
    format::write(&turned, &bench.path("turned.h5ad"), &Default::default()).unwrap();
    bench.succeed(&["fit", "table.h5ad", "-o", "model", "--config", "tiny", "-q"]);
    let impute = |table: &str, out: &str| {
        bench.succeed(&["impute", table, "-o", out, "--model", "model", "-q"]);
        format::read(&bench.path(out), &ReadOptions::default()).unwrap()
    };
    let straight = impute("table.h5ad", "straight.h5ad");
    let turned = impute("turned.h5ad", "turned-out.h5ad");
    assert_ne!(straight.feature_ids(), turned.feature_ids());
    let back = feature_positions(&turned, straight.feature_ids()).unwrap();
    let back = take_features(&turned, &back).unwrap();
    assert_eq!(back.csr(), straight.csr());
    assert_eq!(back.layers, straight.layers);
    // The list beside a text output names the same entries.
    let filled = |table: &str, out: &str| {
        bench.succeed(&["impute", table, "-o", out, "--model", "model", "-q"]);
        let text = std::fs::read_to_string(bench.path(&format!("{out}.filled.tsv"))).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
        lines.sort();
        lines
    };
    assert_eq!(
        filled("table.h5ad", "straight.tsv"),
        filled("turned.h5ad", "turned.tsv")
    );
}

#[test]
fn the_attention_of_a_model_is_compared_with_the_dependencies() {
    let bench = Workbench::new();
    simulated(&bench, "table.h5ad");
    bench.succeed(&["fit", "table.h5ad", "-o", "model", "--config", "tiny", "-q"]);
    let command = "dependencies table.h5ad --out found --permutations 0 --model model --json";
    let run = bench.succeed(&command.split(' ').collect::<Vec<_>>());
    let found = json(&run.stdout);
    let files = found["files"].as_array().expect("a list");
    assert!(files.contains(&Value::from("found/provenance.json")));
    assert!(found["notes"].is_array());
    let agreement = &found["attention"];
    assert_eq!(agreement["n_pairs"], 12 * 11);
    let spearman = agreement["spearman_with_proportionality"].as_f64().unwrap();
    assert!((-1.0..=1.0).contains(&spearman));
    let text = std::fs::read_to_string(bench.path("found/attention.tsv")).unwrap();
    assert_eq!(text.lines().count(), 1 + 12 * 11);
    // Attention to the other taxa, to itself and to the condition adds up to 1.
    let mut sums = std::collections::BTreeMap::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let weight: f64 = fields[2].parse().unwrap();
        assert!(weight > 0.0);
        *sums.entry(fields[0].to_string()).or_insert(0.0) += weight;
    }
    assert!(sums.len() == 12 && sums.values().all(|sum| *sum < 1.0));
    assert!(bench.path("found/attention.svg").exists());
}

#[test]
fn a_dry_run_tells_the_plan_and_writes_nothing() {
    let bench = Workbench::new();
    simulated(&bench, "table.h5ad");
    let before = bench.content();
    let run = bench.succeed(&[
        "impute",
        "table.h5ad",
        "-o",
        "out.h5ad",
        "--config",
        "tiny",
        "--dry-run",
    ]);
    assert!(
        run.stdout.contains("40 samples x 12 features"),
        "{}",
        run.stdout
    );
    for word in ["fitting ", "filling ", "not written"] {
        assert!(run.stdout.contains(word), "{}", run.stdout);
    }
    assert_eq!(bench.content(), before);
    // A sample without a value above zero stays as it is: 2 zeros in each of 7 others.
    let line = |id: usize| format!("s{id}\t{id}\t0\t2\t0\n");
    let lines: String = (1..8).map(line).collect();
    bench.file(
        "few.tsv",
        format!("id\tw\tx\ty\tz\ns0\t0\t0\t0\t0\n{lines}s8\t1\tNA\t1\t1\n"),
    );
    let plan = |more: &str| {
        let plan = format!("impute few.tsv -o out.tsv --config tiny --dry-run {more}");
        bench
            .succeed(&plan.split_whitespace().collect::<Vec<_>>())
            .stdout
    };
    let all = plan("--method depmicrodiff --zeros zeros.tsv");
    for words in [
        " 1 entries that are not",
        " 14 zeros",
        " out.tsv.filled.tsv (not",
        " zeros.tsv (not",
    ] {
        assert!(all.contains(words), "{words}: {all}");
    }
    assert!(plan("--method depmicrodiff --fill missing").contains("to judge           no zero"));
    assert!(plan("--method depmicrodiff --fill zeros").contains("to fill            no entry"));
    // A column that was named and cannot serve is told, one of all of them only to the curious.
    let sheet: String = (0..9).map(|id| format!("s{id}\tx\n")).collect();
    bench.file("sheet.tsv", format!("id\tone\n{sheet}"));
    let told = |more: &str| {
        let line = format!("impute few.tsv -m sheet.tsv -o out.tsv --config tiny --dry-run {more}");
        bench
            .succeed(&line.split_whitespace().collect::<Vec<_>>())
            .stderr
    };
    let left_out = "metadata column \"one\" left out: all values are the same";
    assert!(told("--metadata-columns one").contains(left_out) && !told("").contains(left_out));
}

#[test]
fn evaluate_keeps_a_file_per_result_and_skips_finished_ones() {
    let bench = Workbench::new();
    simulated(&bench, "table.h5ad");
    let arguments = [
        "evaluate",
        "table.h5ad",
        "--protocol",
        "published",
        "--out",
        "results",
        "--seeds",
        "2",
        "--config",
        "tiny",
        "--fraction",
        "0.2",
    ];
    let run = bench.succeed(&arguments);
    for word in [
        "depmicrodiff",
        "soft-impute",
        "pooled",
        "per taxon",
        "per sample",
        "RMSE log10",
        "baseline",
    ] {
        assert!(
            run.stdout.contains(word),
            "{word:?} is not in {}",
            run.stdout
        );
    }
    let results = |bench: &Workbench| {
        let is_result = |path: &PathBuf| path.to_string_lossy().contains("-seed");
        bench
            .content()
            .into_iter()
            .filter(is_result)
            .collect::<Vec<_>>()
    };
    let n_results = results(&bench).len();
    assert_eq!(n_results, 2 * 12);
    let tsv = std::fs::read_to_string(bench.path("results/results.tsv")).unwrap();
    assert_eq!(tsv.lines().count(), 1 + 3 * n_results);

    let again = json(
        &bench
            .succeed(&[&arguments[..], &["--json", "-q"]].concat())
            .stdout,
    );
    assert_eq!(again["n_skipped"], n_results);
    // One result lost is the only one computed again; another setting adds its own for the model.
    std::fs::remove_file(&results(&bench)[0]).unwrap();
    let again = json(
        &bench
            .succeed(&[&arguments[..], &["--json", "-q"]].concat())
            .stdout,
    );
    assert_eq!(again["n_skipped"], n_results - 1);
    bench.succeed(&[&arguments[..], &["--set", "dat.ar_decay=0.9", "-q"]].concat());
    assert_eq!(results(&bench).len(), n_results + 4);
}

#[test]
fn evaluate_runs_the_baselines_alone() {
    let bench = Workbench::new();
    simulated(&bench, "table.h5ad");
    let arguments = [
        "evaluate",
        "table.h5ad",
        "--protocol",
        "published",
        "--out",
        "r",
        "--methods",
        "zero,taxon-mean,knn",
        "--seeds",
        "3",
    ];
    let scores = json(
        &bench
            .succeed(&[&arguments[..], &["--json"]].concat())
            .stdout,
    );
    assert_eq!(scores["verdict"], Value::Null);
    let rows = scores["scores"].as_array().unwrap();
    let pooled = |method: &str| {
        let is_meant = |row: &&Value| row["method"] == method && row["scope"] == "pooled";
        rows.iter().find(is_meant).unwrap()["rmse_ln"]["mean"]
            .as_f64()
            .unwrap()
    };
    assert!(pooled("taxon-mean") < pooled("zero"), "{rows:?}");
}

#[test]
fn dependencies_are_written_as_edges_graph_and_pictures() {
    let bench = Workbench::new();
    simulated(&bench, "table.h5ad");
    bench.succeed(&[
        "dependencies",
        "table.h5ad",
        "--out",
        "found",
        "--permutations",
        "0",
        "--alpha",
        "0.5",
    ]);
    let edges = std::fs::read_to_string(bench.path("found/edges.tsv")).unwrap();
    assert!(edges.starts_with("source\ttarget\tkind\tstatistic\tp\tneg_log10_p\tq\n"));
    let graph = std::fs::read_to_string(bench.path("found/dependencies.graphml")).unwrap();
    let n_mutual = edges.matches("\tmutual\t").count();
    assert!(n_mutual > 0, "{edges}");
    // Mutual edges go both ways: networkx takes no graph of directed and undirected ones.
    assert_eq!(
        graph.matches("<edge ").count(),
        edges.lines().count() - 1 + n_mutual
    );
    assert!(!graph.contains("directed=\"false\""));
    assert!(
        bench.path("found/matrix.svg").exists() && bench.path("found/provenance.json").exists()
    );
    // What a run before wrote and this one does not is gone.
    bench.file("found/attention.tsv", "of another model");
    let again = "dependencies table.h5ad --out found --permutations 0 --alpha 1e-300 --force";
    let run = bench.succeed(&again.split(' ').collect::<Vec<_>>());
    assert!(
        run.stderr
            .contains("no pair to show: pairs.svg, network.svg"),
        "{}",
        run.stderr
    );
    for stale in ["attention.tsv", "network.svg"] {
        assert!(!bench.path("found").join(stale).exists(), "{stale}");
    }
}

#[test]
fn the_demo_goes_through_all_steps() {
    let bench = Workbench::new();
    let arguments = [
        "demo",
        "--out",
        "demo",
        "--config",
        "tiny",
        "--samples",
        "40",
        "--taxa",
        "12",
    ];
    let run = bench.succeed(&arguments);
    assert!(
        run.stdout.contains("depmicrodiff") && run.stdout.contains("taxon-mean-offset"),
        "{}",
        run.stdout
    );
    for name in [
        "table.h5ad",
        "completed.h5ad",
        "filled-and-true.svg",
        "edges.tsv",
    ] {
        assert!(bench.path("demo").join(name).exists(), "{name}");
    }
    bench.fail(1, &arguments, &["demo", "--force"]);
    bench.fail(
        2,
        &["demo", "--out", "small", "--taxa", "3"],
        &["--taxa", "3"],
    );
}

#[test]
fn one_seed_gives_one_result_for_any_number_of_threads() {
    let bench = Workbench::new();
    simulated(&bench, "table.h5ad");
    let text = |threads: &str, seed: &str| {
        let out = format!("out-{threads}-{seed}.tsv");
        let run = [
            "--config",
            "tiny",
            "--threads",
            threads,
            "--seed",
            seed,
            "-q",
        ];
        bench.succeed(&[&["impute", "table.h5ad", "-o", &out][..], &run[..]].concat());
        std::fs::read_to_string(bench.path(&out)).unwrap()
    };
    let one_thread = text("1", "5");
    assert_eq!(one_thread, text("2", "5"));
    assert_ne!(one_thread, text("1", "6"));
}

#[test]
fn help_has_examples_and_completions_are_written() {
    let bench = Workbench::new();
    for command in [
        "impute",
        "fit",
        "evaluate",
        "dependencies",
        "inspect",
        "convert",
        "demo",
        "completions",
    ] {
        let help = bench.succeed(&[command, "--help"]).stdout;
        assert!(
            help.contains(&format!("suffuse {command}")) && help.contains("Example"),
            "{help}"
        );
    }
    assert!(
        bench
            .succeed(&["completions", "bash"])
            .stdout
            .contains("_suffuse")
    );
}

#[test]
fn force_fits_anew_and_resume_refuses_the_training_of_another_setting() {
    let bench = Workbench::new();
    bench.table("table.tsv", (20, 6), count);
    let fit = |more: &[&str]| {
        let setting = ["fit", "table.tsv", "-o", "m", "--config", "tiny", "-q"];
        bench.run(&[&setting, more].concat())
    };
    let weights = || std::fs::read(bench.path("m").join("weights.safetensors")).unwrap();
    assert_eq!(fit(&[]).code, 0);
    let first = weights();
    let refused = fit(&["--resume", "--seed", "1"]);
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(
        refused
            .stderr
            .contains("another table, configuration or seed")
    );
    assert_eq!(weights(), first);
    let anew = fit(&["--force", "--seed", "1"]);
    assert_eq!(anew.code, 0, "{}", anew.stderr);
    assert_ne!(weights(), first);
}

const N_KILLS: usize = 20;
const FILES: [&str; 6] = [
    "ema.safetensors",
    "weights.safetensors",
    "optimizer.safetensors",
    "transform.json",
    "metrics.jsonl",
    "config.toml",
];

fn arguments(folder: &str) -> Vec<&str> {
    let mut arguments = vec![
        "fit",
        "table.tsv",
        "-o",
        folder,
        "--resume",
        "--config",
        "tiny",
    ];
    arguments.extend(["--save-every", "0", "--set", "dat.training.n_steps=300"]);
    arguments.extend(["--set", "dat.training.patience=100", "-q"]);
    arguments
}

fn state_of_training(folder: &Path) -> Option<Vec<u8>> {
    std::fs::read(folder.join("training-denoiser.safetensors")).ok()
}

// As a cluster ends a job, and `docker stop` a container.
#[cfg(unix)]
#[test]
fn a_request_to_end_is_obeyed_as_ctrl_c_is() {
    let bench = Workbench::new();
    bench.table("table.tsv", (40, 12), count);
    let mut arguments = arguments("fitted");
    arguments.extend(["--set", "dat.training.n_steps=1000000"]);
    arguments.extend(["--set", "dat.training.patience=1000000"]);
    let mut command = bench.command(&arguments);
    let child = command.stderr(std::process::Stdio::piped()).spawn();
    let child = child.expect("the program starts");
    let began = Instant::now();
    while state_of_training(&bench.path("fitted")).is_none() {
        assert!(began.elapsed() < Duration::from_secs(60), "training begins");
        std::thread::sleep(Duration::from_millis(20));
    }
    let asked = std::process::Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(asked.expect("there is a kill").success());
    let ended = child.wait_with_output().expect("a child ends");
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(130), "{told}");
    assert!(told.contains("--resume"), "{told}");
}

#[test]
fn twenty_kills_change_neither_weights_nor_average_nor_optimiser_nor_log() {
    let bench = Workbench::new();
    bench.table("table.tsv", (40, 12), count);
    let began = Instant::now();
    let undisturbed = bench.run(&arguments("undisturbed"));
    assert_eq!(undisturbed.code, 0, "{}", undisturbed.stderr);
    let whole = began.elapsed();

    // Moments spread over the run by the fractional parts of multiples of the golden ratio.
    let folder = bench.path("killed");
    let mut n_running = 0;
    let mut n_with_progress = 0;
    for kill in 1..=N_KILLS {
        let before = state_of_training(&folder);
        let share = (kill as f64 * 0.618_033_988_749_895).fract();
        let mut child = bench
            .command(&arguments("killed"))
            .spawn()
            .expect("the program starts");
        std::thread::sleep(Duration::from_secs_f64(
            0.02 + 0.08 * share * whole.as_secs_f64(),
        ));
        if child.try_wait().expect("a child can be asked").is_none() {
            n_running += 1;
        }
        child.kill().expect("a child can be killed");
        child.wait().expect("a child ends");
        n_with_progress += usize::from(state_of_training(&folder) != before);
    }
    assert!(
        n_running >= N_KILLS / 2,
        "only {n_running} of {N_KILLS} kills hit a running fit"
    );
    assert!(
        n_with_progress >= 2,
        "the kills came before anything was kept"
    );

    let resumed = bench.run(&arguments("killed"));
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    for name in FILES {
        let read =
            |folder: &str| std::fs::read(bench.path(folder).join(name)).expect("the fit wrote it");
        assert!(read("undisturbed") == read("killed"), "{name} differs");
    }
}

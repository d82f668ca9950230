//! Bad input: every case ends with a clear message and exit code 1 or 2, writes nothing, and never
//! panics. Runs the real program.

mod program;

use program::{Workbench, count};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use suffuse_data::format::{self, ReadOptions, WriteOptions};
use suffuse_data::{Dense, Layer, Table};

/// Arguments that fill `table` by a baseline, which needs no time.
fn impute<'a>(table: &'a str, output: &'a str) -> Vec<&'a str> {
    vec!["impute", table, "-o", output, "--method", "taxon-mean"]
}

#[test]
fn a_missing_file_is_named() {
    let bench = Workbench::new();
    bench.fail(1, &impute("no.tsv", "out.tsv"), &["no.tsv"]);
    bench.fail(1, &["inspect", "no.h5ad"], &["no.h5ad"]);
    bench.table("table.tsv", (5, 4), count);
    bench.fail(
        1,
        &["inspect", "table.tsv", "-m", "no-metadata.tsv"],
        &["no-metadata.tsv"],
    );
}

#[test]
fn content_that_contradicts_the_ending_is_told() {
    let bench = Workbench::new();
    let text = std::fs::read(bench.table("table.tsv", (5, 4), count)).unwrap();
    bench.file("text.h5ad", &text);
    bench.fail(1, &impute("text.h5ad", "out.tsv"), &["text.h5ad"]);
    bench.succeed(&["convert", "table.tsv", "table.h5ad", "-q"]);
    std::fs::copy(bench.path("table.h5ad"), bench.path("hdf5.tsv")).unwrap();
    bench.fail(1, &impute("hdf5.tsv", "out.tsv"), &["hdf5.tsv"]);
    bench.file("noise.biom", [7, 0, 255, 3, 9, 1, 0, 0, 200]);
    bench.fail(1, &impute("noise.biom", "out.tsv"), &["noise.biom"]);
    bench.file("empty.tsv", "");
    bench.fail(1, &impute("empty.tsv", "out.tsv"), &["empty.tsv"]);
}

#[test]
fn truncated_files_are_refused_in_every_format() {
    let bench = Workbench::new();
    bench.table("table.tsv", (30, 20), count);
    for name in ["cut.h5ad", "cut.biom", "cut.biom.json", "cut.tsv.gz"] {
        bench.succeed(&["convert", "table.tsv", name, "-q"]);
        let whole = std::fs::read(bench.path(name)).unwrap();
        for share in [0.3, 0.6, 0.95] {
            bench.file(name, &whole[..(whole.len() as f64 * share) as usize]);
            bench.fail(1, &impute(name, "out.tsv"), &[name]);
        }
    }
}

#[test]
fn duplicate_ids_are_named() {
    let bench = Workbench::new();
    bench.file("twice.tsv", "sample\ta\tb\ns1\t1\t2\ns1\t3\t4\n");
    bench.fail(1, &impute("twice.tsv", "out.tsv"), &["twice.tsv", "s1"]);
    let biom = r#"{"id":null,"format":"Biological Observation Matrix 1.0.0","format_url":"http://biom-format.org",
        "type":"OTU table","generated_by":"test","date":"2026-01-01T00:00:00","matrix_type":"sparse",
        "matrix_element_type":"int","shape":[2,2],"data":[[0,0,1],[1,1,2]],
        "rows":[{"id":"otu","metadata":null},{"id":"otu","metadata":null}],
        "columns":[{"id":"s1","metadata":null},{"id":"s2","metadata":null}]}"#;
    bench.file("twice.biom", biom);
    bench.fail(1, &impute("twice.biom", "out.tsv"), &["twice.biom", "otu"]);
}

#[test]
fn impossible_values_are_placed() {
    let bench = Workbench::new();
    for (name, bad) in [
        ("negative.tsv", "-3"),
        ("infinite.tsv", "inf"),
        ("word.tsv", "many"),
    ] {
        let value = |s, f| {
            if (s, f) == (2, 1) {
                bad.to_string()
            } else {
                count(s, f)
            }
        };
        bench.table(name, (5, 4), value);
        bench.fail(1, &impute(name, "out.tsv"), &[name, "line 4", "t1"]);
    }
    bench.file("sums.tsv", "sample\ta\tb\ns1\t1\t2\ns2\t1e308\t1e308\n");
    bench.fail(
        1,
        &impute("sums.tsv", "out.tsv"),
        &["sums.tsv", "\"s2\"", "sum"],
    );
    bench.file("ragged.tsv", "sample\ta\tb\ns1\t1\t2\ns2\t3\n");
    bench.fail(
        1,
        &impute("ragged.tsv", "out.tsv"),
        &["ragged.tsv", "line 3"],
    );
}

#[test]
fn unmeasured_entries_are_normal_and_filled() {
    let bench = Workbench::new();
    let value = |s, f| {
        if (s + f) % 7 == 0 {
            "NA".to_string()
        } else {
            count(s, f)
        }
    };
    bench.table("missing.tsv", (20, 6), value);
    let run = bench.succeed(&[&impute("missing.tsv", "out.tsv")[..], &["--json"]].concat());
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["counts"]["filled_missing"], 17);
    assert_eq!(report["counts"]["kept_missing"], 0);
    assert!(
        !std::fs::read_to_string(bench.path("out.tsv"))
            .unwrap()
            .contains("NaN")
    );
    let filled = std::fs::read_to_string(bench.path("out.tsv.filled.tsv")).unwrap();
    assert_eq!(filled.lines().count(), 18);
}

#[test]
fn tables_without_anything_to_learn_are_refused() {
    let bench = Workbench::new();
    bench.table("zeros.tsv", (5, 4), |_, _| "0".to_string());
    bench.table("one-sample.tsv", (1, 4), |_, _| "3".to_string());
    bench.table("one-taxon.tsv", (5, 1), |s, _| (s + 1).to_string());
    for (name, fact) in [
        ("zeros.tsv", "zero"),
        ("one-sample.tsv", "sample"),
        ("one-taxon.tsv", "feature"),
    ] {
        bench.fail(1, &impute(name, "out.tsv"), &[name, fact]);
        bench.fail(1, &["impute", name, "-o", "out.tsv"], &[name, fact]);
        bench.fail(1, &["fit", name, "-o", "model"], &[name, fact]);
        bench.fail(1, &["evaluate", name, "--out", "results"], &[name, fact]);
        bench.fail(1, &["dependencies", name, "--out", "found"], &[name, fact]);
    }
}

#[test]
fn samples_without_content_keep_their_place() {
    let bench = Workbench::new();
    let value = |s, f| {
        if s % 5 == 2 {
            "0".to_string()
        } else {
            count(s, f)
        }
    };
    bench.table("gaps.tsv", (20, 6), value);
    let run = bench.succeed(&impute("gaps.tsv", "out.tsv"));
    assert!(run.stderr.contains("4 of 20 samples"), "{}", run.stderr);
    let line = |name: &str, n: usize| {
        std::fs::read_to_string(bench.path(name))
            .unwrap()
            .lines()
            .nth(n)
            .unwrap()
            .to_string()
    };
    assert_eq!(line("out.tsv", 3), line("gaps.tsv", 3));
    assert_eq!(line("out.tsv", 20), line("gaps.tsv", 20));
}

#[test]
fn metadata_must_share_samples_and_name_each_once() {
    let bench = Workbench::new();
    bench.table("table.tsv", (5, 4), count);
    bench.file("strangers.tsv", "sample-id\tage\nx1\t3\nx2\t4\n");
    let with = |sheet| ["inspect", "table.tsv", "-m", sheet];
    bench.fail(1, &with("strangers.tsv"), &["s0", "x1"]);
    bench.file("twice.tsv", "sample-id\tage\ns1\t3\ns1\t4\n");
    bench.fail(1, &with("twice.tsv"), &["twice.tsv", "s1"]);
    bench.file("some.tsv", "sample-id\tage\ns1\t3\ns2\t4\nx9\t5\n");
    let run = bench.succeed(&with("some.tsv"));
    assert!(run.stderr.contains("2 samples matched"), "{}", run.stderr);
    assert!(run.stdout.contains("3 missing"), "{}", run.stdout);
    bench.fail(
        2,
        &[
            "impute",
            "table.tsv",
            "-o",
            "out.tsv",
            "-m",
            "some.tsv",
            "--metadata-columns",
            "weight",
            "--config",
            "tiny",
        ],
        &["weight", "age"],
    );
}

#[test]
fn decimal_commas_of_a_sheet_are_told() {
    let bench = Workbench::new();
    bench.table("table.tsv", (3, 4), count);
    bench.file(
        "sheet.tsv",
        "sample\tpH\tsite\ns0\t7,06\tgut,left\ns1\tNA\tskin\ns2\t6\tskin\n",
    );
    let told = bench.succeed(&["inspect", "table.tsv", "-m", "sheet.tsv"]);
    let of_ph = "\"pH\": its values are taken for texts, since \"7,06\" has a comma";
    assert!(told.stderr.contains(of_ph), "{}", told.stderr);
    assert!(!told.stderr.contains("\"site\""), "{}", told.stderr);
}

#[test]
fn a_layer_is_read_of_pretraining_tables_too() {
    let bench = Workbench::new();
    let counts = bench.table("counts.tsv", (12, 6), count);
    let counts = format::read(&counts, &ReadOptions::default()).unwrap();
    let logs: Vec<f64> = counts.to_dense().iter().map(|x| x.ln_1p()).collect();
    let features = counts.feature_ids().to_vec();
    let cells = |prefix: &str, layer: &str| {
        let ids = (0..12).map(|cell| format!("{prefix}{cell}")).collect();
        let mut table = Table::from_dense(ids, features.clone(), &logs).unwrap();
        let values = Dense {
            n_rows: 12,
            n_columns: 6,
            values: counts.to_dense(),
        };
        table.layers.insert(layer.to_string(), Layer::Dense(values));
        format::write(
            &table,
            &bench.path(&format!("{prefix}.h5ad")),
            &WriteOptions::default(),
        )
        .unwrap();
    };
    cells("cell", "counts");
    cells("copy", "counts");
    cells("other", "spliced");
    let with = |other| {
        let all = "impute cell.h5ad -o out.h5ad --layer counts --config tiny --pretrain";
        all.split(' ').chain([other]).collect::<Vec<&str>>()
    };
    bench.fail(1, &with("copy.h5ad"), &["pre-training table 1", "copy0"]);
    bench.fail(
        1,
        &with("other.h5ad"),
        &["other.h5ad", "layers spliced", "\"counts\""],
    );
}

#[test]
fn pretraining_tables_must_be_other_samples_with_shared_features() {
    let bench = Workbench::new();
    bench.table("target.tsv", (12, 6), count);
    bench.file("strange.tsv", "sample\tu1\tu2\na\t1\t2\nb\t3\t4\nc\t5\t6\n");
    let with = |other| {
        [
            "impute",
            "target.tsv",
            "-o",
            "out.tsv",
            "--config",
            "tiny",
            "--pretrain",
            other,
        ]
    };
    bench.fail(
        1,
        &with("strange.tsv"),
        &["pre-training table 1", "feature"],
    );
    bench.fail(1, &with("target.tsv"), &["pre-training table 1", "s0"]);
    let text = std::fs::read_to_string(bench.path("target.tsv"))
        .unwrap()
        .replace("\ns", "\nrenamed-");
    bench.file("renamed.tsv", text);
    bench.fail(
        1,
        &with("renamed.tsv"),
        &["pre-training table 1", "renamed-0"],
    );
    bench.fail(1, &with("no.tsv"), &["no.tsv"]);
}

#[test]
fn a_model_must_be_whole_and_have_the_features_of_the_table() {
    let bench = Workbench::new();
    bench.table("table.tsv", (12, 6), count);
    bench.table("wider.tsv", (12, 7), count);
    bench.succeed(&["fit", "table.tsv", "-o", "model", "--config", "tiny", "-q"]);
    let with = |table| ["impute", table, "-o", "out.tsv", "--model", "model"];
    bench.succeed(&[
        "impute",
        "table.tsv",
        "-o",
        "good.tsv",
        "--model",
        "model",
        "-q",
    ]);
    bench.fail(1, &with("wider.tsv"), &["7 features", "6"]);

    let weights = bench.path("model/ema.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    bench.file("model/ema.safetensors", &whole[..whole.len() / 2]);
    bench.fail(1, &with("table.tsv"), &["ema.safetensors"]);
    bench.file(
        "model/ema.safetensors",
        safetensors(
            r#"{"vae/x":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,16]}}"#,
        ),
    );
    bench.fail(1, &with("table.tsv"), &["ema.safetensors"]);
    bench.file(
        "model/ema.safetensors",
        safetensors(r#"{"vae/x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#),
    );
    bench.fail(1, &with("table.tsv"), &["ema.safetensors"]);
    std::fs::remove_file(&weights).unwrap();
    bench.fail(1, &with("table.tsv"), &["ema.safetensors"]);
}

/// A safetensors file with this header and 16 bytes of data.
fn safetensors(header: &str) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend([0; 16]);
    bytes
}

#[test]
fn bad_usage_is_exit_code_2() {
    let bench = Workbench::new();
    bench.table("table.tsv", (12, 6), count);
    let with = |more: &[&'static str]| [&["impute", "table.tsv", "-o", "out.tsv"], more].concat();
    bench.fail(2, &with(&["--set", "no_such_key=3"]), &["no_such_key"]);
    bench.fail(2, &with(&["--config", "huge"]), &["huge", "small"]);
    bench.fail(2, &with(&["--set", "sampling.n_draws=many"]), &["n_draws"]);
    bench.fail(2, &with(&["--device", "gpu:99"]), &["device gpu:99"]);
    bench.fail(
        2,
        &with(&["--method", "knn", "--fill", "zeros"]),
        &["--fill missing"],
    );
    bench.fail(2, &with(&["--method", "median"]), &["taxon-mean"]);
    for of_the_model in [
        ["--draws", "3"],
        ["--encoder", "none"],
        ["--config", "tiny"],
    ] {
        let arguments = [&["--method", "knn"], &of_the_model[..]].concat();
        bench.fail(2, &with(&arguments), &["do not go with --method knn"]);
    }
    bench.fail(2, &with(&["--presence-threshold", "2"]), &["from 0 to 1"]);
    bench.fail(2, &with(&["--threads", "0"]), &["at least 1"]);
    bench.fail(2, &["impute", "table.tsv"], &["--output"]);
    bench.file("unknown.toml", "no_such_key = 3\n");
    bench.fail(
        2,
        &with(&["--config", "unknown.toml"]),
        &["unknown.toml", "no_such_key"],
    );
}

#[test]
fn an_output_that_exists_stays_and_a_folder_that_does_not_is_named() {
    let bench = Workbench::new();
    bench.table("table.tsv", (12, 6), count);
    bench.file("out.tsv", "precious");
    bench.fail(1, &impute("table.tsv", "out.tsv"), &["out.tsv", "--force"]);
    assert_eq!(std::fs::read(bench.path("out.tsv")).unwrap(), b"precious");
    bench.fail(
        1,
        &["convert", "table.tsv", "out.tsv"],
        &["out.tsv", "--force"],
    );
    bench.fail(
        1,
        &impute("table.tsv", "no/folder/out.tsv"),
        &["no/folder/out.tsv"],
    );
    bench.fail(
        1,
        &impute("table.tsv", "table.tsv/out.tsv"),
        &["table.tsv/out.tsv"],
    );
    bench.fail(1, &impute("table.tsv", "out.xlsx"), &["out.xlsx"]);
    let before = std::fs::read(bench.path("table.tsv")).unwrap();
    let itself = [&impute("table.tsv", "./table.tsv")[..], &["--force"]].concat();
    bench.fail(2, &itself, &["./table.tsv", "choose another name"]);
    let itself = ["generate", "table.tsv", "-o", "table.tsv", "--force"];
    bench.fail(2, &itself, &["table.tsv", "choose another name"]);
    assert_eq!(std::fs::read(bench.path("table.tsv")).unwrap(), before);
    bench.file("sheet.tsv", "sample-id\tage\ns0\t3\ns1\t4\n");
    bench.file("stay.tsv", "t0\n");
    for (option, file) in [("-m", "sheet.tsv"), ("--structural-zeros", "stay.tsv")] {
        let before = std::fs::read(bench.path(file)).unwrap();
        let other = [&impute("table.tsv", file)[..], &[option, file, "--force"]].concat();
        bench.fail(2, &other, &[file, "choose another name"]);
        assert_eq!(std::fs::read(bench.path(file)).unwrap(), before);
    }
    bench.succeed(&["convert", "table.tsv", "table.mtx", "-q"]);
    let part = ["convert", "table.mtx/matrix.mtx", "table.mtx", "--force"];
    bench.fail(2, &part, &["table.mtx", "choose another name"]);
    std::fs::create_dir(bench.path("full")).unwrap();
    bench.file("full/precious", "x");
    std::fs::copy(bench.path("table.tsv"), bench.path("full/results.tsv")).unwrap();
    for command in [
        &["evaluate", "full/results.tsv", "--out", "full"][..],
        &["fit", "full/results.tsv", "-o", "full", "--force"],
        &["dependencies", "full/results.tsv", "-o", "full", "--force"],
        &[
            "compare",
            "table.tsv",
            "full/results.tsv",
            "-o",
            "full",
            "--force",
        ],
    ] {
        bench.fail(2, command, &["full/results.tsv", "choose another folder"]);
    }
    std::fs::remove_file(bench.path("full/results.tsv")).unwrap();
    bench.fail(
        1,
        &["fit", "table.tsv", "-o", "full", "--config", "tiny"],
        &["full", "--force"],
    );
    bench.fail(
        1,
        &["dependencies", "table.tsv", "--out", "full"],
        &["full", "--force"],
    );
    bench.succeed(&[&impute("table.tsv", "out.tsv")[..], &["--force"]].concat());
    assert_ne!(std::fs::read(bench.path("out.tsv")).unwrap(), b"precious");
}

#[test]
fn structural_zeros_must_be_entries_of_the_table() {
    let bench = Workbench::new();
    bench.table("table.tsv", (12, 6), count);
    bench.file("zeros.txt", "s0\tt0\nnobody\tt1\n");
    let arguments = [
        &impute("table.tsv", "out.tsv")[..],
        &["--structural-zeros", "zeros.txt"],
    ]
    .concat();
    bench.fail(1, &arguments, &["zeros.txt", "line 2", "nobody"]);
}

/// Steps that take far longer than the test waits.
const ENDLESS: [&str; 4] = [
    "--set",
    "dat.training.n_steps=1000000",
    "--set",
    "dat.training.patience=1000000",
];

#[cfg(unix)]
#[test]
fn ctrl_c_ends_with_130_and_tells_how_to_go_on() {
    let bench = Workbench::new();
    bench.table("table.tsv", (20, 6), count);
    let fit = ["fit", "table.tsv", "-o", "model", "--config", "tiny"];
    interrupt(&bench, &[&fit[..], &ENDLESS[..]].concat(), "--resume");
    assert!(bench.path("model").is_dir());
    let impute = ["impute", "table.tsv", "-o", "out.tsv", "--config", "tiny"];
    interrupt(
        &bench,
        &[&impute[..], &ENDLESS[..]].concat(),
        "nothing was written",
    );
    assert!(!bench.path("out.tsv").exists());
}

/// Starts the program, waits until it trains, sends SIGINT, and checks how it ends.
#[cfg(unix)]
fn interrupt(bench: &Workbench, arguments: &[&str], advice: &str) {
    let mut child = bench
        .command(arguments)
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program was built");
    let mut lines = BufReader::new(child.stderr.take().expect("stderr is piped"))
        .lines()
        .map(Result::unwrap_or_default);
    let first = lines.find(|line| line.contains("step 1 of"));
    assert!(first.is_some(), "no progress was shown");
    let signalled = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("kill is there");
    assert!(signalled.success());
    let rest: Vec<String> = lines.collect();
    let status = child.wait().expect("the program ends");
    let told = rest.join("\n");
    assert_eq!(status.code(), Some(130), "{told}");
    assert!(
        told.contains("interrupted") && told.contains(advice),
        "{told}"
    );
}

#[test]
fn duplicate_features_of_an_h5ad_are_not_called_samples() {
    let bench = Workbench::new();
    bench.file(
        "table.tsv",
        "sample\tgene_one\tgene_two\ns0\t1\t2\ns1\t3\t4\n",
    );
    bench.succeed(&["convert", "table.tsv", "table.h5ad"]);
    let mut bytes = std::fs::read(bench.path("table.h5ad")).unwrap();
    let at = bytes
        .windows(8)
        .position(|window| window == b"gene_two")
        .unwrap();
    bytes[at..at + 8].copy_from_slice(b"gene_one");
    bench.file("table.h5ad", bytes);
    bench.fail(
        1,
        &["inspect", "table.h5ad"],
        &["feature id", "\"gene_one\""],
    );
}

#[test]
fn what_matrix_market_cannot_say_is_found_before_the_work() {
    let bench = Workbench::new();
    let value = |s, f| match (s + f) % 7 {
        0 => "NA".to_string(),
        _ => count(s, f),
    };
    bench.table("missing.tsv", (20, 6), value);
    let zeros = "impute missing.tsv -o out.mtx --config tiny --fill zeros";
    let zeros: Vec<&str> = zeros.split(' ').collect();
    bench.fail(2, &zeros, &["--fill zeros", "MatrixMarket"]);
    bench.file("tab.csv", "sample,a,b\ns1,1,2\n\"s\t2\",,4\ns3,5,6\n");
    bench.fail(1, &impute("tab.csv", "out.mtx"), &["tab.csv", "s\\t2"]);
    std::fs::create_dir(bench.path("mine.mtx")).unwrap();
    bench.file("mine.mtx/notes.txt", "mine");
    let over = [&impute("missing.tsv", "mine.mtx")[..], &["--force"]].concat();
    bench.fail(1, &over, &["notes.txt"]);
    // Lists quote what would break their lines.
    bench.succeed(&impute("tab.csv", "out.tsv"));
    let list = std::fs::read_to_string(bench.path("out.tsv.filled.tsv")).unwrap();
    assert!(list.contains("\"s\t2\"\ta\t"), "{list}");
}

#[test]
fn a_column_that_is_not_there_is_a_wrong_command_everywhere() {
    let bench = Workbench::new();
    bench.table("table.tsv", (12, 5), count);
    let facts = ["no metadata column \"zz\""];
    for line in [
        "impute table.tsv -o out.tsv --config tiny --group zz",
        "fit table.tsv -o fitted --config tiny --group zz",
        "evaluate table.tsv --out found --config tiny --group zz",
        "audit table.tsv --subject zz",
        "generate table.tsv -o out.tsv --config tiny --group zz",
    ] {
        bench.fail(2, &line.split(' ').collect::<Vec<_>>(), &facts);
    }
    for (line, fact) in [
        ("dependencies table.tsv --out found --alpha 0", "above 0"),
        ("evaluate table.tsv --out found --folds 1", "at least 2"),
    ] {
        bench.fail(2, &line.split(' ').collect::<Vec<_>>(), &[fact]);
    }
}

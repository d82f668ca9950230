//! Filling block by block: no block size, no interruption and no odd shape shows in the files.

mod program;

use program::{Workbench, count};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use suffuse::conditions::ConditionEncoder;
use suffuse::impute::Completed;
use suffuse_data::format::{self, ReadOptions};
use suffuse_data::select::take_samples;
use suffuse_data::simulate::{SimulateOptions, simulate};
use suffuse_data::{Layer, Table};
use suffuse_model::device::Device;
use suffuse_model::systems::depmicrodiff::{Cohort, Fill, ImputeOptions, Model, Totals};

/// More entries than one chunk of an h5ad holds, some of them not measured.
fn table() -> Table {
    let options = SimulateOptions {
        n_samples: 420,
        n_taxa: 90,
        seed: 5,
        ..SimulateOptions::default()
    };
    let table = simulate(&options).expect("the options are in range").table;
    let mut dense = table.to_dense();
    dense.iter_mut().step_by(23).for_each(|x| *x = f64::NAN);
    dense[..90].fill(0.0);
    table.with_dense(&dense).expect("values of a table")
}

fn write(table: &Table, path: &Path) {
    format::write(table, path, &Default::default()).expect("the folder can be written to");
}

fn read(path: &Path) -> Table {
    format::read(path, &ReadOptions::default()).expect("the program wrote a table")
}

/// `NaN` is not equal to itself, so numbers are compared by their bits.
fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn assert_same(a: &Table, b: &Table) {
    assert_eq!((a.csr().0, a.csr().1), (b.csr().0, b.csr().1));
    assert_eq!(bits(a.csr().2), bits(b.csr().2));
    let metadata = |t: &Table| format!("{:?} {:?}", t.sample_metadata, t.feature_metadata);
    assert_eq!(metadata(a), metadata(b));
    assert_eq!(
        a.layers.keys().collect::<Vec<_>>(),
        b.layers.keys().collect::<Vec<_>>()
    );
    for (name, layer) in &a.layers {
        match (layer, &b.layers[name]) {
            (Layer::Dense(a), Layer::Dense(b)) => assert_eq!(bits(&a.values), bits(&b.values)),
            (a, b) => assert_eq!(a, b, "{name}"),
        }
    }
}

/// A folder with `table.h5ad` and a model of it in `model`.
fn bench() -> (Workbench, Table) {
    let bench = Workbench::new();
    let path = bench.path("table.h5ad");
    write(&table(), &path);
    let table = read(&path);
    let mut fit = vec!["fit", "table.h5ad", "-o", "model", "--config", "tiny", "-q"];
    for setting in ["vae.training.n_steps=5", "dat.training.n_steps=5"] {
        fit.extend(["--set", setting]);
    }
    bench.succeed(&fit);
    (bench, table)
}

const DRAWS: usize = 2;

fn impute<'a>(out: &'a str, batch_size: &'a str) -> Vec<&'a str> {
    let mut arguments = vec!["impute", "table.h5ad", "-o", out, "--model", "model"];
    arguments.extend(["--draws", "2", "--sampler", "ddim:2"]);
    arguments.extend(["--batch-size", batch_size]);
    arguments
}

#[test]
fn the_size_of_a_block_changes_no_bit_of_the_files_nor_does_filling_at_once() {
    let (bench, table) = bench();
    let model = Model::load(&bench.path("model")).expect("a model was fitted");
    let encoder = ConditionEncoder::load(&bench.path("model")).expect("a model was fitted");
    let encoded = encoder
        .expect("the table has metadata")
        .encode(&table.sample_metadata)
        .expect("its own metadata");
    let conditions = encoded.conditions;
    let cohort = Cohort {
        table: &table,
        hidden: &[],
        totals: Totals::OfWhatIsLeft,
        conditions: Some(conditions),
        groups: None,
        times: None,
    };
    let mut options = ImputeOptions {
        fill: Fill::MissingAndZeros,
        presence_threshold: suffuse::PRESENCE_THRESHOLD,
        structural_zeros: &[],
        n_draws: DRAWS,
        n_sets: 0,
        partner: None,
        sampler: "ddim:2".parse().expect("a sampler"),
        seed: 0,
        device: Device::flex(),
        batch_size: 1000,
        progress: &mut |_| (),
        interrupted: &AtomicBool::new(false),
    };
    let at_once = model.impute(&cohort, &mut options).expect("its own table");
    let at_once = Completed::from_model(&table, &at_once).expect("a sound model");
    assert!(at_once.counts.filled_missing > 100 && at_once.counts.filled_zeros > 0);
    assert_eq!(at_once.counts.empty_samples, 1);
    let facts = |table: &Table| {
        let mut facts = table.uns["suffuse"].clone();
        facts["command"] = "".into();
        facts
    };
    let mut first: Option<Table> = None;
    for batch_size in ["7", "64", "419", "1000"] {
        let out = format!("{batch_size}.h5ad");
        bench.succeed(&impute(&out, batch_size));
        let completed = read(&bench.path(&out));
        assert_same(&completed, &at_once.table);
        let first = first.get_or_insert_with(|| completed.clone());
        assert_eq!(facts(first), facts(&completed));
    }
    let mut first = None;
    for batch_size in ["7", "1000"] {
        let out = format!("{batch_size}.tsv");
        bench.succeed(&impute(&out, batch_size));
        let bytes = ["", ".filled.tsv"].map(|more| {
            std::fs::read(bench.path(&format!("{out}{more}"))).expect("the program wrote it")
        });
        assert_eq!(
            String::from_utf8_lossy(&bytes[1]).lines().count() - 1,
            at_once.filled.len()
        );
        assert!(*first.get_or_insert_with(|| bytes.clone()) == bytes);
    }
}

/// Starts a run that takes far longer than the test waits, until it has filled a block.
fn start(bench: &Workbench, out: &str) -> (Child, BufReader<std::process::ChildStderr>) {
    let mut arguments = impute(out, "4");
    arguments.extend(["--threads", "1"]);
    arguments[7] = "60"; // draws
    let mut child = bench
        .command(&arguments)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built");
    let mut stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
    let mut line = String::new();
    while !line.contains("filling: step") {
        line.clear();
        let n = stderr.read_line(&mut line).expect("text");
        assert!(n > 0, "the program ended before it filled anything");
    }
    (child, stderr)
}

#[test]
fn a_kill_in_the_middle_leaves_no_file_at_all() {
    let (bench, _) = bench();
    let before = bench.content();
    for out in ["out.h5ad", "out.tsv"] {
        let (mut child, _stderr) = start(&bench, out);
        child.kill().expect("a child can be killed");
        child.wait().expect("a child ends");
        assert_eq!(bench.content(), before, "{out}");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_in_the_middle_leaves_no_file_at_all() {
    let (bench, _) = bench();
    let before = bench.content();
    let (mut child, _stderr) = start(&bench, "out.h5ad");
    let id = child.id().to_string();
    let signalled = Command::new("kill").args(["-INT", &id]).status();
    assert!(signalled.expect("kill is there").success());
    assert_eq!(child.wait().expect("a child ends").code(), Some(130));
    assert_eq!(bench.content(), before);
}

#[test]
fn an_output_that_appears_meanwhile_stays_and_nothing_else_does() {
    let (bench, _) = bench();
    let mut arguments = impute("out.h5ad", "4");
    arguments.extend(["--threads", "1"]);
    let mut child = bench
        .command(&arguments)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built");
    let mut lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
    let first = lines.find(|line| matches!(line, Ok(line) if line.contains("filling: step")));
    assert!(first.is_some(), "no progress was shown");
    bench.file("out.h5ad", "precious");
    let before = bench.content();
    let rest: Vec<String> = lines.map(Result::unwrap_or_default).collect();
    assert_eq!(child.wait().expect("a child ends").code(), Some(1));
    assert!(rest.join("\n").contains("exists already"), "{rest:?}");
    assert_eq!(bench.content(), before);
    let kept = std::fs::read(bench.path("out.h5ad")).expect("it was written above");
    assert_eq!(kept, b"precious");
}

#[test]
fn one_sample_is_filled_as_among_others_and_an_empty_table_stays_empty() {
    let (bench, table) = bench();
    bench.succeed(&impute("all.h5ad", "64"));
    let all = read(&bench.path("all.h5ad"));
    let fill = |table: &Table, name: &str| {
        write(table, &bench.path(name));
        let out = format!("filled-{name}");
        let mut arguments = impute(&out, "64");
        arguments[1] = name;
        bench.succeed(&arguments);
        read(&bench.path(&out))
    };
    let one = fill(
        &take_samples(&table, &[17]).expect("a position"),
        "one.h5ad",
    );
    assert_same(&one, &take_samples(&all, &[17]).expect("a position"));

    let mut dense = vec![0.0; 3 * table.n_features()];
    dense[5] = f64::NAN;
    let three = take_samples(&table, &[1, 2, 3]).expect("positions");
    let empty = fill(&three.with_dense(&dense).expect("zeros"), "empty.h5ad");
    assert_eq!(bits(&empty.to_dense()), bits(&dense));
    assert_eq!(empty.uns["suffuse"]["counts"]["empty_samples"], 3);
    assert_eq!(empty.uns["suffuse"]["counts"]["kept_missing"], 1);
}

#[test]
fn one_taxon_is_refused() {
    let bench = Workbench::new();
    bench.table("table.tsv", (9, 1), count);
    let arguments = ["impute", "table.tsv", "-o", "out.h5ad", "--config", "tiny"];
    bench.fail(1, &arguments, &["table.tsv", "found 1 feature"]);
}

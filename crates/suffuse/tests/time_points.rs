//! `--subject` and `--time`: missing time points are filled, with a model kept for later too.

mod program;

use program::{Workbench, count};

/// 24 samples of two subjects, every third day; nothing was measured of s5 and s17.
fn bench() -> Workbench {
    let bench = Workbench::new();
    bench.table("table.tsv", (24, 6), |sample, feature| match sample {
        5 | 17 => "NA".to_string(),
        _ => count(sample, feature),
    });
    let mut sheet = String::from("id\thost\tday\tdate\tword\n");
    for sample in 0..24 {
        let (host, day) = (sample / 12, 3 * (sample % 12));
        let date = format!("2021-{:02}-{:02}", 1 + day / 28, 1 + day % 28);
        sheet.push_str(&format!("s{sample}\tH{host}\t{day}\t{date}\tw{sample}\n"));
    }
    bench.file("sheet.tsv", sheet);
    bench
}

const TINY: [&str; 8] = [
    "--config",
    "tiny",
    "--set",
    "vae.training.n_steps=20",
    "--set",
    "dat.training.n_steps=20",
    "--set",
    "guide.training.n_steps=20",
];

fn arguments<'a>(words: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    words.split(' ').chain(more.iter().copied()).collect()
}

/// The numbers of a sample in a TSV; empty cells are `NaN`.
fn row(bench: &Workbench, file: &str, sample: &str) -> Vec<f64> {
    let text = std::fs::read_to_string(bench.path(file)).expect("the program wrote it");
    let line = text
        .lines()
        .find(|line| line.split('\t').next() == Some(sample));
    let cells = line.expect("the sample is there").split('\t').skip(1);
    cells.map(|cell| cell.parse().unwrap_or(f64::NAN)).collect()
}

#[test]
fn a_missing_time_point_is_filled_now_and_by_the_kept_model() {
    let bench = bench();
    let fill = "impute table.tsv -m sheet.tsv -q --method depmicrodiff --draws 2 --sampler ddim:2";
    let fill = format!("{fill} --presence-threshold 0.1");
    let more = "-o now.tsv --subject host --time day --checkpoint kept";
    bench.succeed(&arguments(&format!("{fill} {more}"), &TINY));
    for sample in ["s5", "s17"] {
        let row = row(&bench, "now.tsv", sample);
        assert!(row.iter().all(|x| x.is_finite()), "{row:?}");
        assert!(row.iter().sum::<f64>() > 1.0, "{row:?}");
    }
    bench.succeed(&arguments(
        &format!("{fill} -o later.tsv --model kept"),
        &[],
    ));
    assert_eq!(row(&bench, "later.tsv", "s5"), row(&bench, "now.tsv", "s5"));
    // Dates are days: the same gaps, the same numbers.
    let dates = "-o dates.tsv --model kept --subject host --time date";
    bench.succeed(&arguments(&format!("{fill} {dates}"), &[]));
    let record = std::fs::read_to_string(bench.path("now.suffuse.json"))
        .or_else(|_| std::fs::read_to_string(bench.path("now.tsv.suffuse.json")))
        .expect("a record beside the table");
    assert!(
        record.contains("subject \\\"host\\\", time \\\"day\\\""),
        "{record}"
    );
    // Tables may lie beside a model, and take no file of it.
    for force in ["", " --force"] {
        let beside = format!("{fill} -o kept/filled.tsv --model kept{force}");
        bench.succeed(&arguments(&beside, &[]));
    }
    let of_model = format!("{fill} -o kept/features.tsv --model kept --force");
    bench.fail(2, &arguments(&of_model, &[]), &["kept/features.tsv"]);
    // A zero that is known is no measurement: the visit is still one that was missed.
    bench.file("zeros.tsv", "s5\tt0\n");
    let zeros = "-o around.tsv --model kept --structural-zeros zeros.tsv";
    bench.succeed(&arguments(&format!("{fill} {zeros}"), &[]));
    let around = row(&bench, "around.tsv", "s5");
    assert!(
        around[0] == 0.0 && around.iter().all(|x| x.is_finite()),
        "{around:?}"
    );
    assert!(around.iter().sum::<f64>() > 1.0, "{around:?}");
    // A subject with one visit is no error for a model that knows of times.
    let text = std::fs::read_to_string(bench.path("table.tsv")).unwrap();
    let one: Vec<&str> = text.lines().take(2).collect();
    bench.file("one.tsv", one.join("\n"));
    let one = fill.replace("table.tsv", "one.tsv").replace(" -q", "");
    let told = bench.succeed(&arguments(
        &format!("{one} -o filled.tsv --model kept"),
        &[],
    ));
    assert!(told.stderr.contains("filled by itself"), "{}", told.stderr);
    // Without times the sample stays as it was.
    bench.succeed(&arguments(&format!("{fill} -o alone.tsv"), &TINY));
    assert!(row(&bench, "alone.tsv", "s5").iter().all(|x| x.is_nan()));
}

#[test]
fn columns_that_are_no_subjects_or_times_are_errors() {
    let bench = bench();
    let fill = "impute table.tsv -m sheet.tsv -o out.tsv";
    for (more, code, fact) in [
        ("--subject host", 2, "--time"),
        (
            "--subject host --time hour",
            2,
            "no metadata column \"hour\"",
        ),
        (
            "--subject patient --time day",
            2,
            "no metadata column \"patient\"",
        ),
        ("--subject host --time word", 1, "YYYY-MM-DD"),
        ("--subject word --time day", 1, "no subject"),
        (
            "--subject host --time day --method knn",
            2,
            "do not go with",
        ),
    ] {
        let words = format!("{fill} {more}");
        let tiny = if more.contains("knn") { &[][..] } else { &TINY };
        bench.fail(code, &arguments(&words, tiny), &[fact]);
    }
}

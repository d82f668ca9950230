//! `suffuse generate`: synthetic samples like those of a table. Runs the real program.

mod learned;
#[path = "../program/mod.rs"]
mod program;
mod tables;

use program::{Workbench, count};
use serde_json::Value;
use suffuse_data::Table;
use tables::{column, counts, read, words};

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("the program writes JSON")
}

/// Share of these samples that have the taxon.
fn present_in(table: &Table, taxon: usize, rows: &[usize]) -> f64 {
    let n = rows.iter().filter(|row| table.get(**row, taxon) > 0.0);
    n.count() as f64 / rows.len() as f64
}

#[test]
fn every_format_is_written_with_lineages_and_opens_again() {
    let bench = Workbench::new();
    counts(&bench, "table.h5ad");
    let real = read(&bench, "table.h5ad");
    assert!(real.taxonomy.is_some());
    bench.succeed(&words(
        "generate table.h5ad --method midasim -o 0.h5ad --n 25 --seed 4 -q",
    ));
    let first = read(&bench, "0.h5ad");
    assert_eq!((first.n_samples(), first.n_features()), (25, 10));
    assert_eq!(first.sample_ids()[24], "synthetic_25");
    assert_eq!(first.feature_ids(), real.feature_ids());
    assert_eq!(first.taxonomy, real.taxonomy);
    assert_eq!(first.feature_metadata, real.feature_metadata);
    assert_eq!(first.uns["suffuse"]["method"], "midasim");
    assert_eq!(first.uns["suffuse"]["counts"]["n_samples"], 25);
    // Depths are those of samples of the table.
    assert!(
        first
            .totals()
            .iter()
            .all(|total| real.totals().contains(total))
    );
    for name in ["1.biom", "2.biom.json", "3.tsv", "4.csv.gz", "5.mtx"] {
        let command = format!("generate table.h5ad --method midasim -o {name} --n 25 --seed 4 -q");
        bench.succeed(&words(&command));
        assert_eq!(read(&bench, name).csr(), first.csr(), "{name}");
        let record = bench.path(&format!("{name}.suffuse.json"));
        let record = json(&std::fs::read_to_string(record).unwrap());
        assert_eq!(record["command"], format!("suffuse {command}"));
    }
}

#[test]
fn every_method_gives_as_many_samples_as_the_table_and_says_so() {
    let bench = Workbench::new();
    counts(&bench, "table.h5ad");
    for (method, more) in [
        ("bootstrap", ""),
        ("dirichlet-multinomial", ""),
        ("sparsedossa2", ""),
        ("midasim", ""),
        ("midasim-parametric", ""),
        ("vae", " --config tiny"),
        ("sparse-microbiome", " --config tiny"),
    ] {
        let command =
            format!("generate table.h5ad -o {method}.h5ad --method {method}{more} --json");
        let found = json(&bench.succeed(&words(&command)).stdout);
        assert_eq!(found["counts"]["n_samples"], 60, "{found}");
        assert_eq!(found["method"], method);
        let table = read(&bench, &format!("{method}.h5ad"));
        assert_eq!(found["counts"]["n_nonzero"], table.n_stored());
        let total: f64 = table.totals().iter().sum();
        assert_eq!(found["counts"]["n_reads"], total);
        assert!(table.csr().2.iter().all(|x| *x > 0.0 && x.fract() == 0.0));
    }
}

#[test]
fn one_seed_gives_the_same_bytes_whatever_the_threads_and_the_block() {
    let bench = Workbench::new();
    counts(&bench, "table.h5ad");
    bench.file(
        "spikes.tsv",
        "taxon\tcovariate\teffect\ton\tkind\nPLACE\tdose\t1\tprevalence\tnormal\n"
            .replace("PLACE", &read(&bench, "table.h5ad").feature_ids()[2]),
    );
    for more in [
        "",
        " --by site",
        " --spike-in spikes.tsv",
        " --reads dirichlet-multinomial:50",
    ] {
        let run = |name: &str, how: &str| {
            let command =
                format!("generate table.h5ad --method midasim -o {name}.tsv --force -q{more}{how}");
            bench.succeed(&words(&command));
            std::fs::read(bench.path(&format!("{name}.tsv"))).unwrap()
        };
        let first = run("a", " --threads 1");
        assert_eq!(first, run("b", " --threads 2 --batch-size 7"), "{more}");
        assert_eq!(first, run("c", " --threads 2 --batch-size 1"), "{more}");
        assert_ne!(first, run("d", " --seed 1"), "{more}");
    }
    // A whole h5ad, record and all: the same command in another number of threads.
    let whole = |n_threads: &str| {
        let command = words("generate table.h5ad --method midasim -o whole.h5ad --force -q");
        let run = bench
            .command(&command)
            .env("RAYON_NUM_THREADS", n_threads)
            .output()
            .expect("the program was built");
        assert!(run.status.success());
        std::fs::read(bench.path("whole.h5ad")).unwrap()
    };
    assert!(whole("1") == whole("2"));
}

#[test]
fn depths_are_those_asked_for() {
    let bench = Workbench::new();
    counts(&bench, "table.h5ad");
    bench.succeed(&words(
        "generate table.h5ad --method midasim -o each.tsv --n 9 --depth 5000 -q",
    ));
    assert_eq!(read(&bench, "each.tsv").totals(), [5000.0; 9]);
    bench.file("depths.txt", "# reads\n100\n2000\n\n30000\n");
    for reads in ["exact", "multinomial", "dirichlet-multinomial:20"] {
        let command = format!(
            "generate table.h5ad --method midasim -o listed.tsv --force --depth depths.txt --reads {reads} -q"
        );
        bench.succeed(&words(&command));
        let totals = read(&bench, "listed.tsv").totals();
        assert_eq!(totals, [100.0, 2000.0, 30000.0], "{reads}");
    }
    let record = std::fs::read_to_string(bench.path("listed.tsv.suffuse.json")).unwrap();
    assert!(record.contains("depths.txt"), "{record}");
}

#[test]
fn values_of_a_column_are_drawn_in_proportion_or_in_balance() {
    let bench = Workbench::new();
    counts(&bench, "table.h5ad");
    let command = "generate table.h5ad --method midasim -o by.h5ad --by site --n 40 --json";
    let found = json(&bench.succeed(&words(command)).stdout);
    let groups: Vec<_> = found["groups"].as_array().unwrap().iter().collect();
    assert_eq!(groups[0]["value"], "gut");
    assert_eq!(
        (&groups[0]["n_real"], &groups[0]["n"]),
        (&45.into(), &30.into())
    );
    assert_eq!(
        (&groups[1]["n_real"], &groups[1]["n"]),
        (&15.into(), &10.into())
    );
    let sites = column(&read(&bench, "by.h5ad"), "site");
    assert_eq!(sites.iter().filter(|site| *site == "skin").count(), 10);
    // In balance, with the sheet beside a format that has no place for it.
    let command = "generate table.h5ad --method midasim -o by.tsv --by site --balance --n 40 --metadata-out sheet.tsv -q";
    bench.succeed(&words(command));
    bench.succeed(&words("convert by.tsv joined.h5ad -m sheet.tsv -q"));
    let joined = read(&bench, "joined.h5ad");
    let sites = column(&joined, "site");
    assert_eq!(sites.iter().filter(|site| *site == "skin").count(), 20);
    // Depths of a site are those of its own samples.
    let real = read(&bench, "table.h5ad");
    let totals_of = |table: &Table, name: &str| -> Vec<f64> {
        let sites = column(table, "site");
        let totals = table.totals().into_iter().zip(sites);
        totals
            .filter(|(_, site)| site == name)
            .map(|(total, _)| total)
            .collect()
    };
    let skin = totals_of(&real, "skin");
    assert!(
        totals_of(&joined, "skin")
            .iter()
            .all(|total| skin.contains(total))
    );
}

#[test]
fn samples_that_teach_nothing_are_left_out_and_counted() {
    let bench = Workbench::new();
    bench.table("table.tsv", (20, 5), |i, j| match i {
        3 | 8 => "0".to_string(),
        _ => count(i, j),
    });
    bench.file("sheet.tsv", {
        let site = |i: usize| match i {
            0 => "",
            i if i % 2 == 0 => "gut",
            _ => "skin",
        };
        let lines: Vec<String> = (0..20).map(|i| format!("s{i}\t{}\n", site(i))).collect();
        format!("id\tsite\n{}", lines.concat())
    });
    let command = "generate table.tsv --method midasim -o out.tsv -m sheet.tsv --by site";
    let run = bench.succeed(&words(command));
    for fact in [
        "left out 2 samples without a non-zero entry",
        "left out 1 samples without a value of \"site\"",
        "fitted to 17 samples",
    ] {
        assert!(run.stderr.contains(fact), "{fact:?}: {}", run.stderr);
    }
    assert!(bench.path("out.tsv.metadata.tsv").exists());
    assert_eq!(read(&bench, "out.tsv").n_samples(), 20);
}

#[test]
fn spiked_associations_can_be_found_again_and_the_truth_stands_beside() {
    let bench = Workbench::new();
    counts(&bench, "table.h5ad");
    let real = read(&bench, "table.h5ad");
    let ids = real.feature_ids();
    // A taxon that most but not all samples have for abundance, one of middling prevalence for presence.
    let all: Vec<usize> = (0..60).collect();
    let prevalence = |taxon: &usize| present_in(&real, *taxon, &all);
    let by_distance = |to: f64, not: usize| {
        let others = (0..10).filter(move |taxon| *taxon != not);
        let distance = |taxon: &usize| (prevalence(taxon) - to).abs();
        others
            .min_by(|a, b| distance(a).total_cmp(&distance(b)))
            .expect("there are taxa")
    };
    let common = by_distance(0.8, 10);
    let middling = by_distance(0.5, common);
    bench.file(
        "spikes.tsv",
        format!(
            "taxon\tcovariate\teffect\ton\tkind\n{}\tdose\t0.8\tabundance\tnormal\n{}\tcase\t1.5\tprevalence\tbinary\n",
            ids[common], ids[middling]
        ),
    );
    let command = "generate table.h5ad --method midasim -o spiked.h5ad --spike-in spikes.tsv --n 6000 --depth 200000 --json";
    let found = json(&bench.succeed(&words(command)).stdout);
    let spiked = read(&bench, "spiked.h5ad");
    assert!(spiked.totals().iter().all(|total| *total == 200_000.0));
    let numbers = |name: &str| -> Vec<f64> {
        let texts = column(&spiked, name);
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    // Half of the samples, exactly.
    let (dose, case) = (numbers("dose"), numbers("case"));
    assert_eq!(case.iter().sum::<f64>(), 3000.0);
    // A regression of the log of the taxon over all others gives the effect back, within its error.
    let points: Vec<(f64, f64)> = (0..6000)
        .filter(|row| spiked.get(*row, common) > 0.0)
        .map(|row| (row, spiked.get(row, common)))
        .filter(|(_, reads)| *reads < 200_000.0)
        .map(|(row, reads)| (dose[row], (reads / (200_000.0 - reads)).ln()))
        .collect();
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (mean_x, mean_y) = (mean(|p| p.0), mean(|p| p.1));
    let above: f64 = points
        .iter()
        .map(|(x, y)| (x - mean_x) * (y - mean_y))
        .sum();
    let below: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let slope = above / below;
    let rest: f64 = points
        .iter()
        .map(|(x, y)| (y - mean_y - slope * (x - mean_x)).powi(2))
        .sum();
    let error = (rest / (n - 2.0) / below).sqrt();
    assert!((slope - 0.8).abs() < 4.0 * error, "{slope} +- {error}");
    // And the odds ratio of presence.
    let of = |value: f64| -> Vec<usize> { (0..6000).filter(|row| case[*row] == value).collect() };
    let odds = |rows: &[usize]| {
        let p = present_in(&spiked, middling, rows);
        p / (1.0 - p)
    };
    let ratio = (odds(&of(1.0)) / odds(&of(0.0))).ln();
    assert!((ratio - 1.5).abs() < 0.25, "{ratio}");
    let effects = found["effects"].as_array().unwrap();
    for (effect, wanted) in effects.iter().zip([0.8, 1.5]) {
        assert_eq!(effect["effect"], wanted);
        let realised = effect["realised_effect"].as_f64().unwrap();
        assert!((realised - wanted).abs() < 0.25, "{effect}");
    }
    let truth = std::fs::read_to_string(bench.path("spiked.h5ad.truth.tsv")).unwrap();
    assert!(truth.starts_with("taxon\tcovariate\teffect\ton\trealised_effect\n"));
    assert!(truth.contains(&format!("{}\tcase\t1.5\tprevalence\t", ids[middling])));
}

#[test]
fn a_column_of_the_samples_can_be_a_covariate() {
    let bench = Workbench::new();
    counts(&bench, "table.h5ad");
    let id = read(&bench, "table.h5ad").feature_ids()[0].clone();
    bench.file(
        "spikes.tsv",
        format!("taxon\tcovariate\teffect\ton\n{id}\tsite\t2\tabundance\n"),
    );
    let command = "generate table.h5ad --method midasim -o out.tsv --by site --n 400 --depth 100000 --spike-in spikes.tsv --truth t.tsv";
    let run = bench.succeed(&words(command));
    assert!(run.stderr.contains("1 is \"skin\""), "{}", run.stderr);
    let truth = std::fs::read_to_string(bench.path("t.tsv")).unwrap();
    let realised: f64 = truth.trim().rsplit('\t').next().unwrap().parse().unwrap();
    assert!((realised - 2.0).abs() < 0.05, "{truth}");
}

#[test]
fn prevalences_and_means_of_taxa_can_be_set() {
    let bench = Workbench::new();
    counts(&bench, "table.h5ad");
    let ids = read(&bench, "table.h5ad").feature_ids().to_vec();
    let set = format!("{}=0.25", ids[3]);
    let scale = format!("{}=1.5", ids[6]);
    let base = words("generate table.h5ad --method midasim --n 4000 --depth 100000 -q -o");
    bench.succeed(&[&base[..], &["plain.h5ad"]].concat());
    let more = ["changed.h5ad", "--set-prevalence", &set];
    bench.succeed(&[&base[..], &more].concat());
    let more = ["scaled.h5ad", "--scale-mean", &scale];
    bench.succeed(&[&base[..], &more].concat());
    // What was asked for and what it came to are told.
    let both = [
        "both.h5ad",
        "--set-prevalence",
        &set,
        "--scale-mean",
        &scale,
        "--json",
    ];
    let told = json(&bench.succeed(&[&base[..], &both].concat()).stdout);
    let told = told["changes"].as_array().unwrap().clone();
    assert_eq!(
        (&told[0]["what"], &told[1]["what"]),
        (&"prevalence".into(), &"mean".into())
    );
    let realised = |at: usize| told[at]["realised"].as_f64().unwrap();
    assert!(
        (realised(0) - 0.25).abs() < 0.03 && (realised(1) - 1.5).abs() < 0.01,
        "{told:?}"
    );
    let scarce = format!(
        "generate table.h5ad --method midasim --n 400 --depth 100 -o few.h5ad --scale-mean {}=0.01",
        ids[6]
    );
    let run = bench.succeed(&words(&scarce));
    assert!(
        run.stderr.contains("a taxon that is present keeps a read"),
        "{}",
        run.stderr
    );
    let rows: Vec<usize> = (0..4000).collect();
    let changed = read(&bench, "changed.h5ad");
    // Standard error sqrt(0.25 x 0.75 / 4,000) = 0.007.
    let found = present_in(&changed, 3, &rows);
    assert!((found - 0.25).abs() < 0.03, "{found}");
    assert!(changed.totals().iter().all(|total| *total == 100_000.0));
    let mean = |name: &str| -> f64 {
        let table = read(&bench, name);
        rows.iter().map(|row| table.get(*row, 6)).sum::<f64>() / 4000.0
    };
    let ratio = mean("scaled.h5ad") / mean("plain.h5ad");
    assert!((ratio - 1.5).abs() < 0.01, "{ratio}");
}

#[test]
fn a_dry_run_tells_the_plan_and_writes_nothing() {
    let bench = Workbench::new();
    counts(&bench, "table.h5ad");
    let before = bench.content();
    let command =
        "generate table.h5ad --method midasim -o out.tsv --by site --n 40 --depth 900 --dry-run";
    let run = bench.succeed(&words(command));
    for fact in [
        "60 samples x 10 features",
        "40 samples",
        "\"skin\": 10 samples",
        "900",
        "out.tsv.metadata.tsv",
    ] {
        assert!(run.stdout.contains(fact), "{fact:?}: {}", run.stdout);
    }
    assert_eq!(bench.content(), before);
}

#[test]
fn compare_runs_on_what_was_generated() {
    let bench = Workbench::new();
    counts(&bench, "table.h5ad");
    bench.succeed(&words(
        "generate table.h5ad --method midasim -o out.biom -q",
    ));
    let command = "compare table.h5ad out.biom --permutations 99 --json -q";
    let found = json(&bench.succeed(&words(command)).stdout);
    let figures = found["figures"].as_array().unwrap();
    let value = |name: &str| {
        let figure = figures.iter().find(|figure| figure["figure"] == name);
        figure.unwrap()["value"].as_f64().unwrap()
    };
    assert!(value("sparsity_deviation") < 0.15, "{found}");
    // Real rows in another order are told apart by chance only; zeros and ones would be told at once.
    assert!(value("forest_auroc") < 0.9, "{found}");
}

#[test]
fn tables_that_cannot_be_learned_from_are_refused() {
    let bench = Workbench::new();
    bench.table("table.tsv", (9, 5), count);
    bench.table("one.tsv", (1, 5), count);
    bench.table("empty.tsv", (9, 5), |_, _| "0".to_string());
    bench.table("gap.tsv", (9, 5), |i, j| match (i, j) {
        (4, 2) => String::new(),
        _ => count(i, j),
    });
    bench.table("negative.tsv", (9, 5), |i, j| match (i, j) {
        (4, 2) => "-3".to_string(),
        _ => count(i, j),
    });
    bench.table("shares.tsv", (9, 5), |i, j| {
        format!("0.{}", 1 + (i + j) % 9)
    });
    let fail = |command: &str, facts: &[&str]| bench.fail(1, &words(command), facts);
    fail(
        "generate gap.tsv --method midasim -o x.tsv",
        &["gap.tsv", "\"s4\"", "\"t2\"", "suffuse impute"],
    );
    fail(
        "generate negative.tsv --method midasim -o x.tsv",
        &["negative.tsv", "line 6", "t2", "-3"],
    );
    fail(
        "generate one.tsv --method midasim -o x.tsv",
        &["one.tsv", "found 1 samples", "at least 3"],
    );
    fail(
        "generate empty.tsv --method midasim -o x.tsv",
        &["empty.tsv", "found 0 samples"],
    );
    fail(
        "generate shares.tsv --method midasim -o x.tsv",
        &["shares.tsv", "\"s0\"", "0.1", "--depth N"],
    );
    fail(
        "generate shares.tsv -o x.tsv --depth 100 --method dirichlet-multinomial",
        &["whole numbers", "--method"],
    );
    bench.succeed(&words(
        "generate shares.tsv --method midasim -o shares-out.tsv --depth 1000 -q",
    ));
    assert_eq!(read(&bench, "shares-out.tsv").totals(), [1000.0; 9]);
    // Outputs that are there stay.
    fail(
        "generate table.tsv --method midasim -o one.tsv",
        &["one.tsv", "--force"],
    );
    fail(
        "generate table.tsv --method midasim -o no/x.tsv",
        &["no/x.tsv"],
    );
}

#[test]
fn requests_that_cannot_be_met_are_refused() {
    let bench = Workbench::new();
    counts(&bench, "table.h5ad");
    let id = read(&bench, "table.h5ad").feature_ids()[0].clone();
    bench.file("bad.txt", "100\nmany\n");
    bench.file("two.txt", "100\n200\n");
    bench.file(
        "spikes.tsv",
        "\u{feff}taxon\tcovariate\teffect\ton\nnobody\tx\t1\tabundance\n",
    );
    let fail = |code: i32, command: &str, facts: &[&str]| {
        let method = match command.contains("--method") {
            true => "",
            false => "--method midasim ",
        };
        bench.fail(
            code,
            &words(&format!("generate table.h5ad -o x.h5ad {method}{command}")),
            facts,
        );
    };
    fail(2, "--method gan", &["gan", "midasim"]);
    fail(2, "--depth 0", &["at least 1"]);
    fail(2, "--reads poisson", &["poisson", "dirichlet-multinomial"]);
    fail(2, "--balance", &["--by"]);
    fail(2, "--by colour", &["colour", "site"]);
    fail(2, "--set-prevalence nobody=0.3", &["nobody"]);
    fail(2, "--set-prevalence nobody", &["TAXON=NUMBER"]);
    fail(
        2,
        &format!("--set-prevalence {id}=1.5"),
        &[&id, "1.5", "0 to 1"],
    );
    fail(2, &format!("--scale-mean {id}=1e9"), &[&id, "mean share"]);
    fail(2, &format!("--scale-mean {id}=0"), &[&id, "above 0"]);
    fail(1, "--depth bad.txt", &["bad.txt", "line 2", "many"]);
    fail(
        2,
        "--depth two.txt --n 3",
        &["two.txt", "found 2", "expected 3"],
    );
    fail(1, "--depth absent.txt", &["absent.txt"]);
    fail(
        1,
        "--spike-in spikes.tsv",
        &["spikes.tsv", "line 2", "nobody"],
    );
    fail(2, "--metadata-out x.h5ad", &["x.h5ad", "two outputs"]);
    let run = bench.run(&words("generate table.h5ad --method midasim -o x.docx"));
    assert!(
        run.code != 0 && run.stderr.contains("x.docx"),
        "{}",
        run.stderr
    );
}

//! `suffuse compare`: generated samples against real ones. Runs the real program.

mod program;

use program::{Workbench, count};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use suffuse_data::Table;
use suffuse_data::format::{self, ReadOptions};
use suffuse_data::select::{sample_positions, take_samples};
use suffuse_data::simulate::{SimulateOptions, simulate};
use suffuse_data::tree::Tree;

fn write(table: &Table, path: &Path) {
    format::write(table, path, &Default::default())
        .expect("the folder of the test can be written to");
}

/// Simulated samples as `real.h5ad`, `synth.h5ad` and `train.h5ad`, 40 of each from one distribution.
fn three_parts(bench: &Workbench) -> Table {
    let options = SimulateOptions {
        n_samples: 120,
        n_taxa: 15,
        zero_fraction: 0.5,
        seed: 5,
        ..Default::default()
    };
    let simulated = simulate(&options).expect("the options are in range");
    for (part, name) in ["real", "synth", "train"].iter().enumerate() {
        let rows: Vec<usize> = (0..40).map(|at| 3 * at + part).collect();
        let table = take_samples(&simulated.table, &rows).expect("the rows are there");
        write(&table, &bench.path(&format!("{name}.h5ad")));
    }
    simulated.table
}

/// A tree over these tips: a chain of branches of length 1.
fn chain(tips: &[String]) -> String {
    let mut text = tips[0].clone();
    for tip in &tips[1..] {
        text = format!("({text}:1,{tip}:1)");
    }
    format!("{text};\n")
}

fn compared(bench: &Workbench, arguments: &[&str]) -> Value {
    let arguments = [&["compare"], arguments, &["--json", "-q"]].concat();
    let run = bench.succeed(&arguments);
    serde_json::from_str(&run.stdout).expect("the program writes JSON")
}

fn figures(results: &Value) -> BTreeMap<String, f64> {
    let figures = results["figures"].as_array().expect("a list of figures");
    let figure = |figure: &Value| {
        let name = figure["figure"].as_str().expect("a name").to_string();
        (name, figure["value"].as_f64().unwrap_or(f64::NAN))
    };
    figures.iter().map(figure).collect()
}

#[test]
fn samples_of_one_distribution_are_inside_the_band_and_files_hold_the_figures() {
    let bench = Workbench::new();
    let table = three_parts(&bench);
    // Against the order of the table.
    let tips: Vec<String> = table.feature_ids().iter().rev().cloned().collect();
    bench.file("tree.nwk", chain(&tips));
    let arguments = [
        "compare",
        "real.h5ad",
        "synth.h5ad",
        "--train",
        "train.h5ad",
        "--tree",
        "tree.nwk",
        "--splits",
        "8",
        "--permutations",
        "99",
        "--out",
        "compared",
        "--report",
        "page.html",
    ];
    let run = bench.succeed(&arguments);
    for fact in [
        "40 generated against 40 real samples, 15 features; band of 8 splits",
        "forest AUROC",
        "unweighted UniFrac",
        "inside",
        "figures are inside the band",
        "a random forest reaches AUROC",
    ] {
        assert!(
            run.stdout.contains(fact),
            "{fact:?} is not in: {}",
            run.stdout
        );
    }
    let text = std::fs::read_to_string(bench.path("compared/comparison.json")).unwrap();
    let record: Value = serde_json::from_str(&text).unwrap();
    let results = &record["results"];
    let forest = figures(results)["forest_auroc"];
    assert!((0.3..0.7).contains(&forest), "{forest}");
    let all = results["figures"].as_array().unwrap();
    let bands: Vec<&Value> = all.iter().filter(|f| !f["band"].is_null()).collect();
    let n_inside = bands
        .iter()
        .filter(|f| f["band"]["is_inside"] == true)
        .count();
    // By chance one in twenty is outside, but figures go together.
    assert!(
        n_inside * 10 >= bands.len() * 6,
        "{n_inside} of {}",
        bands.len()
    );
    assert!(
        bands
            .iter()
            .all(|f| f["band"]["splits"].as_array().unwrap().len() == 8)
    );
    let inputs = record["provenance"]["inputs_sha256"].as_array().unwrap();
    assert_eq!(inputs.len(), 4);
    let tsv = std::fs::read_to_string(bench.path("compared/comparison.tsv")).unwrap();
    assert_eq!(tsv.lines().count(), all.len() + 1);
    assert!(tsv.starts_with("figure\tvalue\treal_real_median"), "{tsv}");
    let page = std::fs::read_to_string(bench.path("page.html")).unwrap();
    // The ordination, two of taxa, the heat map, four diversities, six distances.
    assert_eq!(page.matches("<svg").count(), 14);
    assert!(page.contains("15 taxa, in the order of the tree, by 40 real and 40 generated"));
    let rows = page.split("<rect class=\"over\"").skip(1);
    let rows = rows.filter_map(|row| row.split("<title>").nth(1)?.split(": in ").next());
    assert_eq!(rows.collect::<Vec<_>>(), tips);
    assert!(page.contains("generalised UniFrac") && !page.contains("<script"));
    // What is there is not written over unasked.
    bench.fail(1, &arguments, &["compared"]);
    let without_folder = [&arguments[..11], &arguments[13..]].concat();
    bench.fail(1, &without_folder, &["page.html"]);
}

#[test]
fn a_copy_of_the_real_table_differs_in_nothing_but_its_nearest_neighbours() {
    let bench = Workbench::new();
    three_parts(&bench);
    let found = figures(&compared(&bench, &["real.h5ad", "real.h5ad"]));
    for zero in [
        "sparsity_deviation",
        "prevalence_mae",
        "richness_ks",
        "shannon_ks",
        "simpson_ks",
        "bray_curtis_discrepancy",
        "bray_curtis_ks",
        "jaccard_discrepancy",
        "aitchison_ks",
        // Every sample lies on its copy.
        "nearest_neighbour_accuracy",
    ] {
        assert!(found[zero].abs() < 1e-12, "{zero}: {}", found[zero]);
    }
    for one in [
        "prevalence_pearson",
        "prevalence_spearman",
        "prevalence_slope",
        "proportionality_spearman",
    ] {
        assert!((found[one] - 1.0).abs() < 1e-9, "{one}: {}", found[one]);
    }
    // Of Euclidean distances no labels give a smaller F.
    assert!(found["aitchison_permanova_f"].abs() < 1e-9);
    assert_eq!(found["aitchison_permanova_p"], 1.0);
    assert!(!found.contains_key("faith_ks"), "there is no tree");
}

#[test]
fn taxa_drawn_one_by_one_are_told_apart() {
    let bench = Workbench::new();
    let table = three_parts(&bench);
    // Each taxon of the generated samples comes from another sample: prevalences stay, the rest goes.
    let synth: Vec<usize> = (0..40).map(|at| 3 * at + 1).collect();
    let mut dense = Vec::new();
    for row in 0..40 {
        let value = |taxon: usize| table.get(synth[(row + 7 * taxon) % 40], taxon);
        dense.extend((0..table.n_features()).map(value));
    }
    let ids = (0..40).map(|row| format!("g{row}")).collect();
    let shuffled = Table::from_dense(ids, table.feature_ids().to_vec(), &dense).unwrap();
    write(&shuffled, &bench.path("shuffled.h5ad"));
    let arguments = [
        "--train",
        "train.h5ad",
        "--splits",
        "10",
        "--permutations",
        "9",
    ];
    let band = |synth: &str| {
        let results = compared(&bench, &[&["real.h5ad", synth], &arguments[..]].concat());
        let all = results["figures"].as_array().unwrap().clone();
        let figure = |name: &str| all.iter().find(|f| f["figure"] == name).unwrap().clone();
        (
            figure("proportionality_spearman"),
            figure("prevalence_pearson"),
        )
    };
    let (structure, prevalence) = band("shuffled.h5ad");
    assert_eq!(structure["band"]["is_inside"], false, "{structure}");
    assert_eq!(prevalence["band"]["is_inside"], true, "{prevalence}");
    assert_eq!(band("synth.h5ad").0["band"]["is_inside"], true);
}

#[test]
fn samples_that_the_generator_has_seen_are_no_test_of_it() {
    let bench = Workbench::new();
    three_parts(&bench);
    let arguments = ["compare", "real.h5ad", "synth.h5ad", "--train", "real.h5ad"];
    bench.fail(1, &arguments, &["40 samples", "in TRAIN"]);
}

#[test]
fn one_thread_and_two_give_the_same_figures_and_units_do_not_matter() {
    let bench = Workbench::new();
    three_parts(&bench);
    let of = |synth: &str, threads: &str| {
        let arguments = [
            "--train",
            "train.h5ad",
            "--splits",
            "3",
            "--permutations",
            "30",
        ];
        compared(
            &bench,
            &[&["real.h5ad", synth, "--threads", threads], &arguments[..]].concat(),
        )
    };
    let found = of("synth.h5ad", "1");
    assert_eq!(found, of("synth.h5ad", "2"));
    // A table of an eighth of the counts: shares stay bit for bit.
    let synth = format::read(&bench.path("synth.h5ad"), &ReadOptions::default()).unwrap();
    let dense: Vec<f64> = synth.to_dense().iter().map(|value| value / 8.0).collect();
    write(
        &synth.with_dense(&dense).unwrap(),
        &bench.path("eighth.h5ad"),
    );
    assert_eq!(found, of("eighth.h5ad", "2"));
}

#[test]
fn a_label_is_learned_from_generated_samples_and_subjects_stay_whole() {
    let bench = Workbench::new();
    let value = |sample: usize, feature: usize| {
        // Even samples are of one class, which the first feature tells.
        let base: usize = count(sample, feature + 1).parse().unwrap_or(0);
        (base + 1 + usize::from(feature == 0 && sample.is_multiple_of(2)) * 4000).to_string()
    };
    for name in ["real.tsv", "synth.tsv"] {
        bench.table(name, (40, 6), value);
    }
    let mut sheet = String::from("sample-id\tsite\tsubject\tcode\n");
    (0..40).for_each(|s| {
        let site = ["a", "b"][s % 2];
        sheet.push_str(&format!("s{s}\t{site}\tp{}\tc{s}\n", s / 2));
    });
    bench.file("meta.tsv", sheet);
    let both = ["-m", "meta.tsv", "--synth-metadata", "meta.tsv"];
    let found = figures(&compared(
        &bench,
        &[
            &[
                "real.tsv",
                "synth.tsv",
                "--label",
                "site",
                "--group",
                "subject",
            ],
            &both[..],
        ]
        .concat(),
    ));
    let ratio = found["label_recognised_ratio"];
    assert!(found["label_recognised_auroc"] > 0.99 && (ratio - 1.0).abs() < 0.01);
    assert!(found["label_auroc"] > 0.99 && (found["label_auroc_ratio"] - 1.0).abs() < 0.01);
    let wrong = |option: &str, column: &str, code: i32, facts: &[&str]| {
        let arguments = ["compare", "real.tsv", "synth.tsv", option, column];
        bench.fail(code, &[&arguments, &both[..]].concat(), facts);
    };
    wrong("--label", "age", 2, &["--label age", "site, subject"]);
    wrong(
        "--label",
        "code",
        2,
        &["--label code: found 40 values", "20"],
    );
    wrong("--group", "patient", 2, &["--group patient"]);
    let without = [
        "compare",
        "real.tsv",
        "synth.tsv",
        "-m",
        "meta.tsv",
        "--label",
        "site",
    ];
    bench.fail(2, &without, &["SYNTH", "--synth-metadata"]);
}

#[test]
fn tables_that_do_not_fit_are_refused_with_a_way_out() {
    let bench = Workbench::new();
    bench.table("real.tsv", (20, 6), count);
    bench.table("wide.tsv", (20, 8), count);
    bench.table("other.tsv", (20, 2), count);
    bench.table("small.tsv", (5, 6), count);
    bench.table("gaps.tsv", (20, 6), |sample, feature| {
        match (sample, feature) {
            (3, 2) => "NA".to_string(),
            _ => count(sample, feature),
        }
    });
    let fail = |code, synth: &str, more: &[&str], facts: &[&str]| {
        bench.fail(
            code,
            &[&["compare", "real.tsv", synth], more].concat(),
            facts,
        );
    };
    fail(
        1,
        "wide.tsv",
        &[],
        &[
            "0 features are in REAL alone",
            "2 in SYNTH alone (\"t6\", \"t7\")",
            "--features intersect",
        ],
    );
    let found = compared(&bench, &["real.tsv", "wide.tsv", "--features", "intersect"]);
    assert_eq!(found["n_taxa"], 6);
    fail(
        1,
        "other.tsv",
        &["--features", "intersect"],
        &["found 2 features"],
    );
    let outputs = ["--out", "results", "--report", "page.html"];
    fail(1, "small.tsv", &outputs, &["5 generated", "at least 10"]);
    bench.file("page.html", "taken");
    fail(1, "real.tsv", &outputs, &["page.html"]);
    fail(1, "gaps.tsv", &[], &["SYNTH: 1 entries are not measured"]);
    fail(
        2,
        "real.tsv",
        &["--samples", "21"],
        &["--samples 21", "10 to 20"],
    );
    bench.file("tree.nwk", "((t0:1,t1:1):1,t2:1);");
    fail(1, "real.tsv", &["--tree", "tree.nwk"], &["lacks 3 of 6"]);
    bench.file("bare.nwk", "((t0,t1),(t2,t3),(t4,t5));");
    fail(1, "real.tsv", &["--tree", "bare.nwk"], &["no length"]);
    let negative = "((t0:1,t1:1):1,(t2:1,t3:-0.5):1,(t4:1,t5:1):1);";
    bench.file("negative.nwk", negative);
    fail(
        1,
        "real.tsv",
        &["--tree", "negative.nwk"],
        &["\"t3\"", "-0.5", "set such lengths to 0"],
    );
    fail(1, "no.tsv", &[], &["no.tsv"]);
    fail(2, "real.tsv", &["--splits", "0"], &["--splits"]);
}

#[test]
fn peers_on_real_data_are_told_apart_as_well_as_measured_elsewhere() {
    let Some(data) = std::env::var_os("SUFFUSE_DATA") else {
        return;
    };
    let data = Path::new(&data);
    let bench = Workbench::new();
    let options = ReadOptions::default();
    let all = format::read(&data.join("microbiome/AG_gut_top500.h5ad"), &options).unwrap();
    let split = std::fs::read_to_string(data.join("peers/AG_split.tsv")).unwrap();
    for part in ["test", "train"] {
        let ids: Vec<&str> = split
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .filter(|(_, set)| *set == part)
            .map(|(id, _)| id)
            .collect();
        let rows = sample_positions(&all, &ids).unwrap();
        write(
            &take_samples(&all, &rows).unwrap(),
            &bench.path(&format!("{part}.h5ad")),
        );
    }
    let tree = Tree::read(&data.join("microbiome/AG_gut_top500.tree.nwk.gz")).unwrap();
    bench.file("tree.nwk", tree.to_newick());
    // The table in PROTOCOLS.md, with room for fewer samples: AUROC .75 and .96, Jaccard F 1.2 and 6.2.
    for (peer, auroc, jaccard_f) in [
        ("AG_midas_nonparam.h5ad", 0.60..0.85, 0.5..2.5),
        ("AG_midas_param.h5ad", 0.88..1.0, 2.0..7.0),
    ] {
        let path = data.join("peers").join(peer);
        let arguments = [
            "--samples",
            "200",
            "--permutations",
            "99",
            "--tree",
            "tree.nwk",
        ];
        let found = figures(&compared(
            &bench,
            &[&["test.h5ad", path.to_str().unwrap()], &arguments[..]].concat(),
        ));
        assert!(auroc.contains(&found["forest_auroc"]), "{peer}: {found:?}");
        assert!(
            jaccard_f.contains(&found["jaccard_permanova_f"]),
            "{peer}: {found:?}"
        );
        assert!(found["prevalence_pearson"] > 0.93, "{peer}: {found:?}");
        assert!(
            found["weighted_unifrac_permanova_f"] > 0.0,
            "{peer}: {found:?}"
        );
    }
}

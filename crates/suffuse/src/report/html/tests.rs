use super::*;
use crate::auto::Tested;
use crate::evaluate::outcome::Outcome;
use crate::evaluate::outcome::tests::example;
use crate::impute::by_baseline;
use suffuse_data::Table;
use suffuse_stats::impute::Method as Baseline;

const SECTIONS: [&str; 9] = [
    "done",
    "methods",
    "calibration",
    "taxa",
    "ordination",
    "sparsity",
    "audit",
    "provenance",
    "citations",
];

const HOSTILE: &str = "<script>alert(1)</script>\" onload=\"x' {{ 7*7 }} </svg>";

fn table(n_samples: usize, feature_ids: Vec<String>) -> Table {
    let n_features = feature_ids.len();
    let dense: Vec<f64> = (0..n_samples * n_features)
        .map(|k| match k % 5 {
            0 => 0.0,
            1 if k % 35 == 1 => f64::NAN,
            _ => ((k * 7919) % 97 + 1) as f64,
        })
        .collect();
    let samples = (0..n_samples).map(|s| format!("s{s}")).collect();
    Table::from_dense(samples, feature_ids, &dense).unwrap()
}

fn ids(n: usize) -> Vec<String> {
    (0..n).map(|t| format!("t{t}")).collect()
}

fn filled_page(table: &Table, file: &str, tested: &Tested) -> String {
    page_filled_by(Baseline::SoftImpute, table, file, tested)
}

fn page_filled_by(baseline: Baseline, table: &Table, file: &str, tested: &Tested) -> String {
    let mut gathered = Gathered::new(table, 1);
    let completed = by_baseline(table, baseline, &[]).unwrap();
    gathered.take_all(&completed);
    let mut provenance = Provenance {
        command: format!("suffuse impute {file}"),
        ..Provenance::default()
    };
    provenance.set("config", "a = 1\nb = 2");
    of_filled(&Filled {
        file,
        table,
        counts: completed.counts,
        method: baseline.name(),
        choice: None,
        tested,
        gathered: &gathered,
        presence_threshold: 0.5,
        n_sets: 0,
        provenance: &provenance,
    })
    .unwrap()
}

/// Every element that is opened is closed in order; returns the names of all elements.
fn assert_well_formed(page: &str) -> Vec<String> {
    const EMPTY: [&str; 3] = ["meta", "link", "br"];
    let (mut open, mut all) = (Vec::new(), Vec::new());
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        // A `>` may stand inside of a quoted value.
        let mut quote = None;
        let end = rest
            .find(|c| match quote {
                Some(q) => {
                    if c == q {
                        quote = None;
                    }
                    false
                }
                None if c == '"' => {
                    quote = Some(c);
                    false
                }
                None => c == '>',
            })
            .expect("a tag ends");
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        if tag.starts_with('!') {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "</{name}>");
            continue;
        }
        let name: String = tag
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        assert!(!name.is_empty(), "<{tag}>");
        all.push(name.clone());
        if name == "style" {
            rest = &rest[rest.find("</style>").unwrap() + 8..];
        } else if !tag.ends_with('/') && !EMPTY.contains(&name.as_str()) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
    all
}

/// One file that asks no server, with all sections.
fn assert_self_contained(page: &str) {
    let elements = assert_well_formed(page);
    for banned in ["script", "img", "iframe", "object", "form"] {
        assert!(!elements.iter().any(|name| name == banned), "{banned}");
    }
    for section in SECTIONS {
        assert!(
            page.contains(&format!("<section id=\"{section}\"")),
            "{section}"
        );
    }
    assert!(!page.contains("@import") && !page.contains("url(") && !page.contains(" src="));
    let n_links = page.matches("href=\"http").count();
    let citations = &page[page.find("<section id=\"citations\"").unwrap()..];
    assert_eq!(n_links, citations.matches("href=\"http").count());
    let mut seen: Vec<&str> = page
        .split(" id=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    seen.sort_unstable();
    assert!(
        seen.windows(2).all(|pair| pair[0] != pair[1]),
        "an id twice"
    );
    assert!(!page.contains("NaN") && !page.contains(">inf"));
}

#[test]
fn a_page_on_a_filled_table_is_one_file_with_all_sections() {
    let table = table(40, ids(12));
    let tested = Tested::of_baseline(&table, Baseline::SoftImpute, 3).unwrap();
    let page = filled_page(&table, "gut.tsv", &tested);
    assert_self_contained(&page);
    for words in [
        "gut.tsv",
        "bit for bit",
        "When not to use it",
        "mazumder10a",
        "svg class=\"chart\"",
        "A taxon is not to be trusted if",
        "soft-impute",
    ] {
        assert!(page.contains(words), "{words}");
    }
}

#[test]
fn entries_filled_with_nothing_are_zeros_from_then_on() {
    // 96 of 480 entries are zeros and 14 were not measured.
    let table = table(40, ids(12));
    let page = page_filled_by(Baseline::Zero, &table, "gut.tsv", &Tested::default());
    let words = "Zeros rose from 20.0 % to 22.9 % of all entries, entries without a measurement from 2.9 % to 0.0 %";
    assert!(page.contains(&words.replace(" %", "\u{a0}%")));
}

#[test]
fn hostile_names_are_text_and_nothing_else() {
    let mut names = ids(12);
    names[3] = HOSTILE.to_string();
    let table = table(40, names);
    let tested = Tested::of_baseline(&table, Baseline::SoftImpute, 3).unwrap();
    let page = filled_page(&table, HOSTILE, &tested);
    assert_self_contained(&page);
    assert!(!page.contains("<script") && !page.contains("\" onload="));
    assert!(page.contains("&lt;script&gt;") && page.contains("{{ 7*7 }}"));
}

#[test]
fn a_page_survives_one_sample_and_a_table_of_zeros() {
    let one = table(1, ids(4));
    let page = filled_page(&one, "one.tsv", &Tested::default());
    assert_self_contained(&page);
    assert!(page.contains("Fewer than three samples"));
    assert!(page.contains("could not be measured"));
    let zeros = Table::from_dense(vec!["a".into(), "b".into()], ids(3), &[0.0; 6]).unwrap();
    assert_self_contained(&filled_page(&zeros, "zeros.tsv", &Tested::default()));
}

#[test]
fn a_page_on_an_evaluation_survives_no_result_and_undefined_scores() {
    let table = table(30, ids(5));
    let provenance = Provenance::default();
    let page = |outcomes: &[Outcome], n_folds| {
        of_evaluation(&Evaluated {
            file: HOSTILE,
            table: &table,
            protocol: "strict",
            n_folds,
            outcomes,
            provenance: &provenance,
        })
        .unwrap()
    };
    assert_self_contained(&page(&[], None));
    let outcomes = [
        example("depmicrodiff", 0, 0.4),
        example("taxon-mean", 0, f64::NAN),
        example("knn", 0, 0.5),
    ];
    let text = page(&outcomes, None);
    assert_self_contained(&text);
    assert!(text.contains("beats the best baseline (knn)"), "{text}");
    assert_self_contained(&page(&outcomes, Some(5)));
}

#[test]
fn numbers_are_grouped_and_nouns_agree() {
    assert_eq!(thousands(1_234_567), "1,234,567");
    assert_eq!(thousands(100), "100");
    assert_eq!(count(1, "taxon", "taxa"), "1 taxon");
    let counts = [("zero", "zero", 3), ("observed", "measured", 1)];
    let stack = stack("before", &counts);
    assert_eq!(stack.parts[0].percent, 75.0);
}

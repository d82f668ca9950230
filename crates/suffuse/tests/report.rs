//! The page for the browser, as the program writes it. Runs the real program.

mod program;

use program::{Workbench, count};

/// A taxon that would do harm if its name were not escaped.
const HOSTILE: &str = "<script>alert(1)</script>";

/// 60 samples x 8 taxa with zeros, entries that were not measured, and a hostile name.
fn table(bench: &Workbench) {
    let value = |sample: usize, feature: usize| match (sample + 3 * feature) % 11 {
        0 => String::new(),
        1 | 5 => "0".to_string(),
        _ => count(sample, feature),
    };
    let path = bench.table("table.tsv", (60, 8), value);
    let text = std::fs::read_to_string(&path).expect("the report was written");
    bench.file(
        "table.tsv",
        text.replacen("\tt3", &format!("\t{HOSTILE}"), 1),
    );
}

fn read(bench: &Workbench, name: &str) -> String {
    std::fs::read_to_string(bench.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn assert_page(page: &str) {
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    assert!(!page.contains("<script") && !page.contains(" src="));
    for section in [
        "done",
        "methods",
        "calibration",
        "taxa",
        "ordination",
        "audit",
        "citations",
    ] {
        assert!(
            page.contains(&format!("<section id=\"{section}\"")),
            "{section}"
        );
    }
}

#[test]
fn a_page_comes_when_asked_for_and_changes_nothing_else() {
    let bench = Workbench::new();
    table(&bench);
    let arguments = ["impute", "table.tsv", "--method", "soft-impute", "-q", "-o"];
    bench.succeed(&[&arguments[..], &["plain.tsv"]].concat());
    let more = ["told.tsv", "--report", "told.html"];
    let run = bench.succeed(&[&arguments[..], &more, &["--json"]].concat());
    assert!(run.stdout.contains("told.html"), "{}", run.stdout);
    for ending in ["", ".filled.tsv"] {
        let [plain, told] =
            ["plain.tsv", "told.tsv"].map(|name| read(&bench, &format!("{name}{ending}")));
        assert_eq!(plain, told, "{ending}");
    }
    let page = read(&bench, "told.html");
    assert_page(&page);
    assert!(page.contains("&lt;script&gt;") && page.contains("suffuse impute table.tsv"));
    // An existing page is kept, and one file cannot be two outputs.
    let again = ["new.tsv", "--report", "told.html"];
    bench.fail(1, &[&arguments[..], &again].concat(), &["told.html"]);
    let same = ["x.tsv", "--report", "x.tsv"];
    bench.fail(2, &[&arguments[..], &same].concat(), &["--report x.tsv"]);
}

#[test]
fn the_page_of_the_default_method_judges_it_on_hidden_entries() {
    let bench = Workbench::new();
    table(&bench);
    let arguments = ["impute", "table.tsv", "--config", "tiny", "-q", "--force"];
    let more = ["-o", "out.tsv", "--report", "out.html", "--m", "2"];
    let all = [&arguments[..], &more].concat();
    let mut pages = Vec::new();
    for threads in ["1", "2"] {
        bench.succeed(&[&all[..], &["--threads", threads]].concat());
        let page = read(&bench, "out.html");
        pages.push(page.replace(&format!("--threads {threads}"), ""));
    }
    assert_eq!(pages[0], pages[1], "the number of threads shows");
    let page = &pages[0];
    assert_page(page);
    for words in [
        "hidden entries",
        "2507.23676",
        "taxon-mean",
        "samples that the model had not learned from",
        "Rubin",
    ] {
        assert!(page.contains(words), "{words}");
    }
}

#[test]
fn an_evaluation_writes_its_page_and_so_does_the_demo() {
    let bench = Workbench::new();
    table(&bench);
    let methods = [
        "--methods",
        "zero,taxon-mean,soft-impute",
        "--fraction",
        "0.2",
        "-q",
    ];
    let evaluate = ["evaluate", "table.tsv", "--out", "results"];
    bench.succeed(&[&evaluate[..], &methods].concat());
    let page = read(&bench, "results/report.html");
    assert_page(&page);
    assert!(page.contains("20 % hidden: ") && page.contains("soft-impute"));
    let asked = [
        ("mask", "--mask taxon:2", "taxon:2: "),
        ("taxa", "--protocol whole_taxon", "10 % of taxa: "),
    ];
    for (out, hidden, caption) in asked {
        let text = format!("evaluate table.tsv --out {out} --methods zero,taxon-mean -q {hidden}");
        bench.succeed(&text.split(' ').collect::<Vec<_>>());
        let page = read(&bench, &format!("{out}/report.html"));
        assert!(
            page.contains(caption) && !page.contains("% hidden: "),
            "{out}"
        );
    }
    let demo = [
        "demo",
        "--config",
        "tiny",
        "--samples",
        "40",
        "--taxa",
        "10",
        "-q",
    ];
    bench.succeed(&demo);
    let page = read(&bench, "suffuse-demo/report.html");
    assert_page(&page);
    assert!(page.contains("svg class=\"chart\""));
}

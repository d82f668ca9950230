//! The pages are true: their links lead somewhere, the book lists them all, and the commands and
//! options that they show are ones that the program has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn every_relative_link_leads_to_a_file() {
    let mut dead = Vec::new();
    for page in pages() {
        let folder = page.parent().expect("a page lies in a folder");
        for link in links(&read(&page)) {
            let target = link
                .split('#')
                .next()
                .expect("split yields at least one part");
            let is_elsewhere = target.contains("://") || target.is_empty();
            if !is_elsewhere && !folder.join(target).exists() {
                dead.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n  {}", dead.join("\n  "));
}

#[test]
fn the_book_lists_every_page() {
    let docs = root().join("docs");
    let listed: BTreeSet<PathBuf> = links(&read(&docs.join("SUMMARY.md")))
        .iter()
        .map(|link| docs.join(link))
        .collect();
    let mut missing = markdown_in(&docs);
    missing.retain(|page| !page.ends_with("SUMMARY.md") && !listed.contains(page));
    assert!(missing.is_empty(), "not in docs/SUMMARY.md: {missing:?}");
}

#[test]
fn every_command_shown_has_the_options_shown() {
    let mut shown: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for page in pages() {
        for line in commands(&read(&page)) {
            let mut words = line.split_whitespace().skip(1);
            let command = words
                .next()
                .filter(|word| !word.starts_with('-'))
                .unwrap_or_default();
            let options = words.filter(|word| word.starts_with('-')).map(|word| {
                word.split('=')
                    .next()
                    .expect("split yields at least one part")
                    .to_owned()
            });
            shown.entry(command.to_owned()).or_default().extend(options);
        }
    }
    assert!(
        shown.len() > 5,
        "only these commands were found: {:?}",
        shown.keys()
    );

    let mut unknown = Vec::new();
    for (command, options) in shown {
        let words = [command.as_str(), "--help"];
        let run = Command::new(env!("CARGO_BIN_EXE_suffuse"))
            .args(words.iter().filter(|word| !word.is_empty()))
            .output()
            .expect("cargo built the program for this test");
        let help = String::from_utf8_lossy(&run.stdout);
        if !run.status.success() {
            unknown.push(format!("suffuse {command}"));
            continue;
        }
        let known: BTreeSet<&str> = help
            .split(|c: char| c.is_whitespace() || ",=[]<>`.;:()|".contains(c))
            .filter(|word| word.starts_with('-'))
            .collect();
        let strange = options
            .iter()
            .filter(|option| !known.contains(option.as_str()));
        unknown.extend(strange.map(|option| format!("suffuse {command} {option}")));
    }
    assert!(
        unknown.is_empty(),
        "shown, but not known to the program:\n  {}",
        unknown.join("\n  ")
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages at the root and those of the book.
fn pages() -> Vec<PathBuf> {
    let at_root = fs::read_dir(root()).expect("the repository can be listed");
    let mut pages: Vec<PathBuf> = at_root
        .map(|entry| entry.expect("the folder stays readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.extend(markdown_in(&root().join("docs")));
    pages
}

fn markdown_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.expect("the folder stays readable").path()) {
        if path.is_dir() {
            found.extend(markdown_in(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found
}

/// Targets of `[text](target)`.
fn links(page: &str) -> Vec<String> {
    let targets = page
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// Lines of code blocks that call the program, continued lines joined and comments cut.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("\n```").skip(1).step_by(2);
    let lines: Vec<String> = blocks
        .flat_map(|block| {
            block
                .replace("\\\n", " ")
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    lines
        .iter()
        .map(|line| {
            line.split(" #")
                .next()
                .expect("split yields at least one part")
                .trim()
        })
        .map(|line| line.replace("cargo run --release -- ", "suffuse "))
        .filter(|line| line.starts_with("suffuse "))
        .map(|line| {
            line.split(['|', '>'])
                .next()
                .expect("split yields one part")
                .to_owned()
        })
        .collect()
}

//! ARCHITECTURE.md is true: the paths that it names exist, every module is on it, and the arrows
//! between crates and between the modules of `suffuse-model` point one way.
//!
//! The sources are read as text, comments left out. That is enough for `use` lines and paths, and
//! it needs no parser of Rust.

use std::fs;
use std::path::{Path, PathBuf};

/// What each crate may use of this workspace.
const CRATES: [(&str, &[&str]); 5] = [
    ("data", &[]),
    ("stats", &["data"]),
    ("kernels", &[]),
    ("model", &["data", "stats", "kernels"]),
    ("suffuse", &["data", "stats", "kernels", "model"]),
];

/// Modules of `suffuse-model`, bottom first: each may use what stands on an earlier line.
const MODEL_LAYERS: [&[&str]; 9] = [
    &["rng", "device", "settings"],
    &["parameters"],
    &["noise"],
    &["nn"],
    &["cond"],
    &["sample"],
    &["checkpoint"],
    &["train"],
    &["systems"],
];

/// Modules of `suffuse-model` that each of the layers may use.
const MODEL_EVERYWHERE: [&str; 1] = ["error"];

/// A longer file is split.
const MAX_LINES: usize = 700;

/// The only file that writes to stdout and stderr.
const PRINTER: &str = "crates/suffuse/src/talk.rs";

#[test]
fn every_path_named_in_architecture_md_exists() {
    let page = read(&root().join("ARCHITECTURE.md"));
    let paths: Vec<String> = backticked(&page)
        .iter()
        .flat_map(|text| paths_in(text))
        .collect();
    assert!(
        paths.len() > 30,
        "only {} paths were found: {paths:?}",
        paths.len()
    );
    let missing = paths
        .into_iter()
        .filter(|path| !root().join(path).exists())
        .collect();
    assert_none(missing, "named in ARCHITECTURE.md, but not there");
}

#[test]
fn every_crate_and_its_modules_are_named_in_architecture_md() {
    let page = read(&root().join("ARCHITECTURE.md"));
    let named: Vec<String> = backticked(&page)
        .iter()
        .flat_map(|text| paths_in(text))
        .collect();
    let mut missing = Vec::new();
    for (folder, _) in CRATES {
        for entry in entries(&root().join("crates").join(folder).join("src")) {
            let path = relative(&entry);
            let is_root = ["lib.rs", "main.rs"]
                .iter()
                .any(|name| path.ends_with(name));
            let is_named = |named: &String| {
                let named = named.trim_end_matches('/');
                // A folder is named with the file of its name, or with a file in it.
                named == path
                    || named == format!("{path}.rs")
                    || named.starts_with(&format!("{path}/"))
            };
            if !is_root && !named.iter().any(is_named) {
                missing.push(path);
            }
        }
    }
    assert_none(missing, "in crates/, but not named in ARCHITECTURE.md");
}

#[test]
fn crates_depend_in_one_direction() {
    let mut found: Vec<String> = entries(&root().join("crates"))
        .iter()
        .map(|path| file_name(path).to_owned())
        .collect();
    found.sort();
    let mut known: Vec<&str> = CRATES.iter().map(|(name, _)| *name).collect();
    known.sort();
    assert_eq!(
        found, known,
        "crates/ holds other crates than this test knows"
    );

    let mut wrong = Vec::new();
    for (name, allowed) in CRATES {
        let folder = root().join("crates").join(name);
        let manifest: toml::Table = toml::from_str(&read(&folder.join("Cargo.toml")))
            .expect("cargo has parsed this manifest to build the test");
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let dependencies = manifest.get(section).and_then(|section| section.as_table());
            for dependency in dependencies.into_iter().flatten().map(|(name, _)| name) {
                let ours = dependency.strip_prefix("suffuse-");
                if ours.is_some_and(|ours| !allowed.contains(&ours)) {
                    wrong.push(format!("crates/{name}/Cargo.toml: {dependency}"));
                }
                if ["data", "stats"].contains(&name) && dependency.starts_with("burn") {
                    wrong.push(format!(
                        "crates/{name}/Cargo.toml: {dependency}, a tensor library"
                    ));
                }
            }
        }
        for file in rust_files(&folder.join("src")) {
            let code = without_comments(&read(&file));
            for (other, _) in CRATES {
                let is_used = mentions(&code, &format!("suffuse_{other}::"));
                if is_used && !allowed.contains(&other) {
                    wrong.push(format!("{}: suffuse_{other}", relative(&file)));
                }
            }
        }
    }
    assert_none(
        wrong,
        "dependencies against the direction data -> stats -> model -> suffuse",
    );
}

#[test]
fn modules_of_the_model_crate_use_only_what_stands_below_them() {
    let source = root().join("crates/model/src");
    let layer_of = |module: &str| {
        MODEL_LAYERS
            .iter()
            .position(|modules| modules.contains(&module))
    };
    let mut wrong = Vec::new();
    for file in rust_files(&source) {
        let within = file
            .strip_prefix(&source)
            .expect("the file was found under this folder");
        let top = within
            .iter()
            .next()
            .and_then(|name| name.to_str())
            .expect("ASCII file names");
        let module = top.trim_end_matches(".rs");
        if module == "lib" || MODEL_EVERYWHERE.contains(&module) {
            continue;
        }
        let Some(own) = layer_of(module) else {
            wrong.push(format!("{}: not in the order of layers", relative(&file)));
            continue;
        };
        let code = without_comments(&read(&file));
        if mentions(&code, "super::super::") {
            wrong.push(format!("{}: super::super, write crate::", relative(&file)));
        }
        let mut used = roots_of(&code, "crate::");
        if within.iter().count() == 1 {
            used.extend(roots_of(&code, "super::"));
        }
        for other in used.iter().filter(|other| *other != module) {
            if layer_of(other).is_some_and(|layer| layer >= own) {
                wrong.push(format!("{}: {module} uses {other}", relative(&file)));
            }
        }
    }
    wrong.dedup();
    assert_none(
        wrong,
        "arrows against the order of the layers in crates/model/src",
    );
}

#[test]
fn no_source_file_is_longer_than_the_limit() {
    let long = all_sources()
        .into_iter()
        .map(|file| (read(&file).lines().count(), relative(&file)))
        .filter(|(n_lines, _)| *n_lines > MAX_LINES)
        .map(|(n_lines, file)| format!("{file}: {n_lines} lines"))
        .collect();
    assert_none(long, "files over 700 lines");
}

#[test]
fn one_file_alone_prints() {
    let writers = [
        "print!",
        "println!",
        "eprint!",
        "eprintln!",
        "dbg!",
        "io::stdout()",
        "io::stderr()",
    ];
    let mut wrong = Vec::new();
    for file in all_sources()
        .into_iter()
        .filter(|file| relative(file) != PRINTER)
    {
        let code = without_comments(&read(&file));
        for writer in writers.iter().filter(|writer| mentions(&code, writer)) {
            wrong.push(format!("{}: {writer}", relative(&file)));
        }
    }
    assert_none(
        wrong,
        "writes to stdout or stderr outside crates/suffuse/src/talk.rs",
    );
}

#[test]
fn the_readers_of_this_test_read_what_they_should() {
    assert_eq!(paths_in("crates/{a,b}/x.{rs,toml}").len(), 4);
    assert_eq!(paths_in("suffuse impute"), Vec::<String>::new());
    assert_eq!(paths_in("README.md"), ["README.md"]);
    assert_eq!(
        roots_of(
            "use crate::{nn::{Linear, Norm}, noise::Schedule, Error}; crate::rng::key()",
            "crate::"
        ),
        ["nn", "noise", "Error", "rng"]
    );
    assert_eq!(
        without_comments("a // crate::b\n/// crate::c\nd").trim_end(),
        "a \n\nd"
    );
    assert!(mentions("x; println!()", "println!"));
    assert!(!mentions("x; eprintln!()", "println!"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Path from the root of the repository, with `/` between its parts.
fn relative(path: &Path) -> String {
    let path = path.strip_prefix(root()).unwrap_or(path);
    path.iter()
        .map(|part| part.to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
}

fn file_name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .expect("ASCII file names")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files and folders of a folder, sorted; hidden ones are left out.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder stays readable").path())
        .filter(|path| !file_name(path).starts_with('.'))
        .collect();
    paths.sort();
    paths
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in entries(folder) {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn all_sources() -> Vec<PathBuf> {
    CRATES
        .iter()
        .flat_map(|(name, _)| rust_files(&root().join("crates").join(name).join("src")))
        .collect()
}

fn without_comments(code: &str) -> String {
    let lines = code
        .lines()
        .map(|line| line.split_once("//").map_or(line, |(before, _)| before));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Says whether `name` stands in the code and is not the end of a longer name.
fn mentions(code: &str, name: &str) -> bool {
    code.match_indices(name)
        .any(|(at, _)| !code[..at].ends_with(is_name_character))
}

fn is_name_character(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// First names after each `prefix`, as in `nn` and `rng` of `crate::{nn::Linear, rng}`.
fn roots_of(code: &str, prefix: &str) -> Vec<String> {
    let mut roots = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(list) => roots.extend(top_level_items(list).iter().map(|item| leading_name(item))),
            None => roots.push(leading_name(rest)),
        }
    }
    roots.retain(|root| !root.is_empty());
    roots
}

fn leading_name(code: &str) -> String {
    code.trim_start()
        .chars()
        .take_while(|c| is_name_character(*c))
        .collect()
}

/// Splits at the commas of the outermost braces, up to the brace that closes the list.
fn top_level_items(list: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut depth = 0;
    for c in list.chars() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(String::new());
                continue;
            }
            _ => {}
        }
        items
            .last_mut()
            .expect("the list starts with one item")
            .push(c);
    }
    items
}

/// Texts between backticks, code blocks included.
fn backticked(page: &str) -> Vec<String> {
    page.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The text as paths, with `{a,b}` written out; empty where it is no path of this repository.
fn paths_in(text: &str) -> Vec<String> {
    let is_path = text.contains('/') || text.ends_with(".md") || text.ends_with(".toml");
    let is_plain = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-/{},".contains(c));
    if is_path && is_plain {
        written_out(text)
    } else {
        Vec::new()
    }
}

fn written_out(path: &str) -> Vec<String> {
    let braces = path.split_once('{').and_then(|(before, rest)| {
        rest.split_once('}')
            .map(|(choices, after)| (before, choices, after))
    });
    let Some((before, choices, after)) = braces else {
        return vec![path.to_owned()];
    };
    choices
        .split(',')
        .flat_map(|choice| written_out(&format!("{before}{choice}{after}")))
        .collect()
}

fn assert_none(found: Vec<String>, what: &str) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

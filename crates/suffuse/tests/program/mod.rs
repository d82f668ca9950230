//! Runs the real program in a folder of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A folder that goes away with the test.
pub(crate) struct Workbench {
    folder: TempDir,
}

/// What a run of the program left.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Workbench {
    pub(crate) fn new() -> Self {
        Workbench {
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("the folder of the test can be written to");
        path
    }

    /// A table of counts as TSV, one sample per line; `value(sample, feature)` is written as it is.
    pub(crate) fn table(
        &self,
        name: &str,
        (n_samples, n_features): (usize, usize),
        value: impl Fn(usize, usize) -> String,
    ) -> PathBuf {
        let mut text = String::from("sample");
        (0..n_features).for_each(|feature| text.push_str(&format!("\tt{feature}")));
        text.push('\n');
        for sample in 0..n_samples {
            text.push_str(&format!("s{sample}"));
            (0..n_features)
                .for_each(|feature| text.push_str(&format!("\t{}", value(sample, feature))));
            text.push('\n');
        }
        self.file(name, text)
    }

    /// The command, to be run inside the folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_suffuse"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs the program inside the folder.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        let output = self
            .command(arguments)
            .output()
            .expect("the program was built");
        let run = Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        assert!(
            !run.stderr.contains("panicked"),
            "{arguments:?}: {}",
            run.stderr
        );
        run
    }

    /// Runs the program, which must succeed.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> Run {
        let run = self.run(arguments);
        assert_eq!(run.code, 0, "{arguments:?}: {}", run.stderr);
        run
    }

    /// Runs the program, which must fail with this code, name all of `facts` on stderr, say nothing
    /// on stdout and leave the folder as it was.
    pub(crate) fn fail(&self, code: i32, arguments: &[&str], facts: &[&str]) {
        let before = self.content();
        let run = self.run(arguments);
        assert_eq!(run.code, code, "{arguments:?}: {}", run.stderr);
        assert!(
            run.stderr.contains("error: "),
            "{arguments:?}: {}",
            run.stderr
        );
        for fact in facts {
            assert!(
                run.stderr.contains(fact),
                "{arguments:?}: {fact:?} is not in: {}",
                run.stderr
            );
        }
        assert_eq!(run.stdout, "", "{arguments:?}");
        assert_eq!(
            self.content(),
            before,
            "{arguments:?}: something was written"
        );
    }

    /// Every path in the folder.
    pub(crate) fn content(&self) -> BTreeSet<PathBuf> {
        fn walk(folder: &Path, paths: &mut BTreeSet<PathBuf>) {
            for entry in std::fs::read_dir(folder).expect("the folder is there") {
                let path = entry.expect("the folder can be read").path();
                if path.is_dir() {
                    walk(&path, paths);
                }
                paths.insert(path);
            }
        }
        let mut paths = BTreeSet::new();
        walk(self.folder.path(), &mut paths);
        paths
    }
}

/// Counts with zeros, as text; every sample and taxon has some.
pub(crate) fn count(sample: usize, feature: usize) -> String {
    let x = (sample * 31 + feature * 17 + sample * feature) % 13;
    if x < 5 {
        "0".to_string()
    } else {
        (x * x * (1 + feature % 3)).to_string()
    }
}

//! What an interrupted process leaves: a process of its own, since the outputs under way are those of the process.

use suffuse_data::Table;
use suffuse_data::format::{Overwrite, WriteOptions, remove_unfinished, write, write_atomically};

#[test]
fn an_interruption_leaves_nothing_of_an_output_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let n_files = || std::fs::read_dir(folder.path()).unwrap().count();
    let path = folder.path().join("table.txt");
    let written = write_atomically(&path, Overwrite::Refuse, |sink| {
        sink.write_all(b"half")?;
        assert_eq!(n_files(), 1);
        remove_unfinished();
        assert_eq!(n_files(), 0);
        Ok(())
    });
    assert!(
        written.is_err() && n_files() == 0,
        "there is nothing to rename"
    );
    let ids = |name: &str| vec![name.to_string()];
    let table = Table::from_dense(ids("s"), ids("t"), &[1.0]).unwrap();
    write(
        &table,
        &folder.path().join("t.mtx"),
        &WriteOptions::default(),
    )
    .unwrap();
    remove_unfinished();
    assert_eq!(n_files(), 1, "what is finished stays");
}

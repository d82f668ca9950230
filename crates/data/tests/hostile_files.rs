//! Damaged and lying files end in an error: no panic, no allocation that the file cannot justify.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stop on the first surprise"
)]

use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use std::path::{Path, PathBuf};
use suffuse_data::format::{self, Overwrite, ReadOptions, WriteOptions};
use suffuse_data::{Column, ColumnValues, Dense, Error, Layer, Table, Taxonomy};

/// Files damaged per format and kind of damage.
const N_DAMAGED: usize = 400;

fn ids(prefix: &str, n: usize) -> Vec<String> {
    (0..n).map(|i| format!("{prefix}{i}")).collect()
}

/// A table that uses every part that a format can hold.
fn table() -> Table {
    let mut generator = ChaCha8Rng::seed_from_u64(1);
    let (n_samples, n_features) = (40, 25);
    let dense: Vec<f64> = (0..n_samples * n_features)
        .map(|_| {
            if generator.random_bool(0.7) {
                0.0
            } else {
                generator.random_range(1.0..500.0)
            }
        })
        .collect();
    let mut table = Table::from_dense(ids("s", n_samples), ids("t", n_features), &dense).unwrap();
    let columns = [
        (
            "age",
            ColumnValues::Numeric((0..n_samples).map(|i| i as f64).collect()),
        ),
        (
            "site",
            ColumnValues::Categorical {
                levels: ids("site", 3),
                codes: (0..n_samples as u32)
                    .map(|i| (i % 4 != 3).then_some(i % 4))
                    .collect(),
                ordered: false,
            },
        ),
        (
            "note",
            ColumnValues::Text((0..n_samples).map(|i| Some(format!("note {i}"))).collect()),
        ),
        (
            "flag",
            ColumnValues::Boolean(
                (0..n_samples)
                    .map(|i| (i % 3 != 0).then_some(i % 2 == 0))
                    .collect(),
            ),
        ),
    ];
    for (name, values) in columns {
        table
            .sample_metadata
            .set_column(Column {
                name: name.to_string(),
                values,
            })
            .unwrap();
    }
    let lineages: Vec<String> = (0..n_features)
        .map(|i| format!("k__Bacteria; p__P{}; g__G{i}", i % 4))
        .collect();
    table.taxonomy = Some(Taxonomy::parse(&lineages));
    table.layers.insert(
        "interval".to_string(),
        Layer::Dense(Dense {
            n_rows: n_samples,
            n_columns: n_features,
            values: dense.clone(),
        }),
    );
    table.layers.insert(
        "done".to_string(),
        Layer::Codes {
            codes: vec![1; n_samples * n_features],
            meanings: ids("meaning", 2),
        },
    );
    table.uns.insert(
        "facts".to_string(),
        json!({"seed": 7, "names": ["a", "b"], "deep": {"x": 1.5}}),
    );
    table
}

/// Reads a damaged file. A panic fails the test by itself; a table must be a sound one.
fn read_damaged(path: &Path) {
    match format::read(path, &ReadOptions::default()) {
        Ok(table) => assert!(table.n_stored() <= table.n_samples() * table.n_features()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    ["t.h5ad", "t.biom", "t.biom.json"]
        .map(|name| {
            let path = folder.join(name);
            format::write(&table(), &path, &WriteOptions::default()).unwrap();
            path
        })
        .to_vec()
}

#[test]
fn a_file_cut_at_any_place_is_an_error_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    for path in files(folder.path()) {
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..N_DAMAGED {
            let length = whole.len() * cut / N_DAMAGED;
            std::fs::write(&path, &whole[..length]).unwrap();
            let result = format::read(&path, &ReadOptions::default());
            assert!(
                result.is_err(),
                "{path:?} cut to {length} of {} bytes was read",
                whole.len()
            );
        }
    }
}

#[test]
fn flipped_bytes_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let mut generator = ChaCha8Rng::seed_from_u64(2);
    for path in files(folder.path()) {
        let whole = std::fs::read(&path).unwrap();
        for _ in 0..N_DAMAGED {
            let mut damaged = whole.clone();
            for _ in 0..generator.random_range(1..6) {
                let at = generator.random_range(0..damaged.len());
                damaged[at] = generator.random();
            }
            std::fs::write(&path, &damaged).unwrap();
            read_damaged(&path);
        }
    }
}

#[test]
fn random_bytes_after_the_hdf5_signature_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.h5ad");
    let mut generator = ChaCha8Rng::seed_from_u64(3);
    for _ in 0..N_DAMAGED {
        let mut bytes = b"\x89HDF\r\n\x1a\n".to_vec();
        bytes.extend((0..generator.random_range(0..2000)).map(|_| generator.random::<u8>()));
        std::fs::write(&path, &bytes).unwrap();
        assert!(format::read(&path, &ReadOptions::default()).is_err());
    }
}

/// Writes a h5ad of one sample and two features whose `X` is what `fill` makes it.
fn lying_h5ad(path: &Path, fill: impl FnOnce(&mut hdf5_pure::GroupBuilder)) {
    use hdf5_pure::{AttrValue, FileBuilder};
    let mut file = FileBuilder::new();
    for (name, ids) in [("obs", vec!["s1"]), ("var", vec!["t1", "t2"])] {
        let mut group = file.create_group(name);
        group.set_attr("_index", AttrValue::String("_index".into()));
        group.create_dataset("_index").with_vlen_strings(&ids);
        file.add_group(group.finish());
    }
    let mut x = file.create_group("X");
    x.set_attr("encoding-type", AttrValue::String("csr_matrix".into()));
    fill(&mut x);
    file.add_group(x.finish());
    file.write(path).unwrap();
}

#[test]
fn lying_sparse_matrices_are_refused_with_the_part_that_lies() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.h5ad");
    type Lie = (&'static str, &'static [i64], &'static [i64], &'static [f64]);
    let cases: [Lie; 6] = [
        ("X/indptr", &[0, 9], &[0], &[1.0]),     // past the end
        ("X/indptr", &[0, -1], &[0], &[1.0]),    // negative
        ("X/indptr", &[0, 1, 1], &[0], &[1.0]),  // one row too many
        ("X/indptr", &[1, 1], &[0], &[1.0]),     // does not start at 0
        ("X/indices", &[0, 1], &[2], &[1.0]),    // no such feature
        ("X/indices", &[0, 2], &[0, 1], &[1.0]), // more indices than values
    ];
    for (place, indptr, indices, data) in cases {
        lying_h5ad(&path, |x| {
            x.create_dataset("indptr").with_i64_data(indptr);
            x.create_dataset("indices").with_i64_data(indices);
            x.create_dataset("data").with_f64_data(data);
        });
        match format::read(&path, &ReadOptions::default()) {
            Err(Error::Format { place: found, .. }) => assert_eq!(found, place),
            other => panic!("{place}: {other:?}"),
        }
    }
}

#[test]
fn a_huge_declared_shape_is_refused_before_it_is_allocated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.h5ad");
    lying_h5ad(&path, |x| {
        x.create_dataset("indptr").with_i64_data(&[0, 0]);
        x.create_dataset("indices").with_i64_data(&[]);
        // One written chunk in a space of 2^40 numbers.
        x.create_dataset("data")
            .with_f64_data(&vec![0.0; 4096])
            .with_chunks(&[4096])
            .with_deflate(6);
    });
    let bytes = std::fs::read(&path).unwrap();
    let edge = 4096u64.to_le_bytes();
    let places: Vec<usize> = (0..bytes.len() - 8)
        .filter(|at| bytes[*at..at + 8] == edge)
        .collect();
    assert!(!places.is_empty());
    for at in places {
        let mut lying = bytes.clone();
        lying[at..at + 8].copy_from_slice(&(1u64 << 40).to_le_bytes());
        std::fs::write(&path, &lying).unwrap();
        assert!(format::read(&path, &ReadOptions::default()).is_err());
    }
}

#[test]
fn content_that_contradicts_the_name_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        format::detect(&path).unwrap_err().to_string()
    };
    let gzip = {
        use flate2::write::GzEncoder;
        use std::io::Write as _;
        let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"id\tt1\ns1\t3\n").unwrap();
        gzip.finish().unwrap()
    };
    assert!(write("a.biom", b"#OTU ID\ts1\nt1\t3\n").contains("plain text"));
    assert!(write("a.h5ad", &gzip).contains("gzip file with plain text"));
    assert!(write("a.tsv", b"\x89HDF\r\n\x1a\n").contains("a.tsv"));
    assert!(write("a.tsv.gz", b"id\tt1\ns1\t3\n").contains("gzip"));
    assert!(write("a.h5ad", b"").contains("empty"));
    assert!(write("a.txt", b"\xff\xfei\0d\0\t\0").contains("UTF-16 (save it as UTF-8)"));
    assert!(write("a.qza", b"PK\x03\x04").contains("qiime tools export"));
    assert!(write("a.tsv", b"{\"rows\": []}").contains("JSON"));
    assert!(
        format::detect(&folder.path().join("missing"))
            .unwrap_err()
            .to_string()
            .contains("missing")
    );
}

#[test]
fn biom_with_duplicate_ids_or_a_wrong_shape_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.biom");
    let document = |second: &str, shape: [usize; 2], data: &str| {
        format!(
            r#"{{"rows":[{{"id":"t1","metadata":null}},{{"id":"{second}","metadata":null}}],
                "columns":[{{"id":"s1","metadata":null}}],"matrix_type":"sparse",
                "shape":[{},{}],"data":{data}}}"#,
            shape[0], shape[1]
        )
    };
    let message = |text: String| {
        std::fs::write(&path, text).unwrap();
        let message = format::read(&path, &ReadOptions::default())
            .unwrap_err()
            .to_string();
        assert!(message.contains("bad.biom"), "{message}");
        message
    };
    assert!(message(document("t1", [2, 1], "[]")).contains("\"t1\" occurs more than once"));
    assert!(message(document("t2", [2_000_000_000, 1], "[]")).contains("2000000000"));
    assert!(message(document("t2", [2, 1], "[[2,0,1.0]]")).contains("entry 1: found [2, 0, 1], "));
    assert!(message(document("t2", [2, 1], "[[0,0,-1.0]]")).contains("-1"));
    assert!(message(document("t2", [2, 1], "[[0,0,1.0],[0,0,1.0]]")).contains("twice"));
}

/// As R's biomformat writes tables: lineages without a name, numbers as ids; large whole numbers as names.
#[test]
fn biom_of_other_writers_keeps_lineages_and_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.biom");
    let text = r#"{"rows":[{"id":"t1","metadata":["k__A","p__B"]},{"id":"t2","metadata":[]},{"id":"t3","metadata":null}],
        "columns":[{"id":7,"metadata":{"host":1152921504606846977}},{"id":"s2","metadata":{"host":1152921504606846978}},
        {"id":"s3","metadata":["x"]}],
        "matrix_type":"dense","shape":[3,3],"data":[[1,0,2],[0,3,0],[4,0,0]]}"#;
    std::fs::write(&path, text).unwrap();
    let table = format::read(&path, &ReadOptions::default()).unwrap();
    assert_eq!(table.sample_ids(), ["7", "s2", "s3"]);
    let taxonomy = table.taxonomy.as_ref().unwrap();
    assert_eq!(taxonomy.lineages, [["A", "B"], ["", ""], ["", ""]]);
    let hosts = &table.sample_metadata.column("host").unwrap().values;
    assert_eq!(hosts.text(0).unwrap(), "1152921504606846977");
    assert_eq!(hosts.text(1).unwrap(), "1152921504606846978");
    assert_eq!(hosts.text(2), None);
    let unnamed = &table.sample_metadata.column("metadata").unwrap().values;
    assert_eq!(unnamed.text(2).unwrap(), "x");
    // The same large numbers come back from BIOM 2.1.
    let again = folder.path().join("again.biom");
    format::write(&table, &again, &WriteOptions::default()).unwrap();
    let again = format::read(&again, &ReadOptions::default()).unwrap();
    assert_eq!(
        again.sample_metadata.column("host").unwrap().values.text(1),
        hosts.text(1)
    );
    std::fs::write(&path, text.replace("\"id\":7", "\"id\":null")).unwrap();
    let message = format::read(&path, &ReadOptions::default())
        .unwrap_err()
        .to_string();
    assert!(message.contains("a text or a number"), "{message}");
}

#[test]
fn an_output_is_whole_or_not_there_and_an_old_one_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.h5ad");
    let names = || std::fs::read_dir(folder.path()).unwrap().count();
    let failing = format::write_atomically(&path, Overwrite::Refuse, |sink| {
        sink.write_all(b"half")?;
        Err(std::io::Error::other("disk full"))
    });
    assert!(matches!(failing, Err(Error::Io { .. })));
    assert_eq!(names(), 0);

    std::fs::write(&path, "old").unwrap();
    let refused = format::write(&table(), &path, &WriteOptions::default());
    assert!(matches!(refused, Err(Error::OutputExists { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    let replace = WriteOptions {
        overwrite: Overwrite::Replace,
        ..WriteOptions::default()
    };
    format::write(&table(), &path, &replace).unwrap();
    assert_eq!(
        format::read(&path, &ReadOptions::default())
            .unwrap()
            .sample_ids(),
        table().sample_ids()
    );
    assert_eq!(names(), 1);

    let nowhere = folder.path().join("no/such/folder/t.h5ad");
    assert!(matches!(
        format::write(&table(), &nowhere, &WriteOptions::default()),
        Err(Error::Io { .. })
    ));
    let ending = folder.path().join("t.parquet");
    assert!(
        format::write(&table(), &ending, &WriteOptions::default())
            .unwrap_err()
            .to_string()
            .contains(".h5ad")
    );
}

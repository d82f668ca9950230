//! Readers and writers against the formats' own libraries (anndata, biom-format, h5py).
//!
//! The tests run where the environment variable `SUFFUSE_ORACLES` names a Python that has them;
//! elsewhere they say so and end. The scripts are in `parity/readers`.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stop on the first surprise"
)]

use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use suffuse_data::format::h5ad::{self, LayerKind, LayerRow, SpooledTable};
use suffuse_data::format::{self, Matrix, Overwrite, ReadOptions, WriteOptions};
use suffuse_data::{Column, ColumnValues, Csr, Dense, Layer, Table, Taxonomy};

/// The Python with the oracles, or a note on stderr that a test did not run.
fn oracle_python() -> Option<PathBuf> {
    let python = std::env::var_os("SUFFUSE_ORACLES").map(PathBuf::from);
    if python.is_none() {
        let note =
            b"SUFFUSE_ORACLES is not set: nothing was compared with anndata and biom-format\n";
        std::io::stderr().write_all(note).unwrap();
    }
    python
}

fn run(python: &Path, script: &str, folder: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../parity/readers")
        .join(script);
    let output = Command::new(python)
        .arg(&script)
        .arg(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{script:?}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap().to_string())
        .collect()
}

/// Rows of numbers, one after the other; null is `NaN`.
fn numbers(value: &Value) -> Vec<f64> {
    let rows = value.as_array().unwrap().iter();
    rows.flat_map(|row| {
        row.as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap_or(f64::NAN))
    })
    .collect()
}

fn assert_same(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            found == expected || found.is_nan() && expected.is_nan(),
            "{what}: {found} {expected}"
        );
    }
}

/// A file with `raw`, a layer, and parts that have no place in a table.
fn parts_of_h5ad(path: &Path, expected: &Value) {
    let layer = |name: &str| Matrix::Layer(name.to_string());
    assert_eq!(h5ad::layer_names(path).unwrap(), ["words", "counts", "raw"]);
    let others = [
        "names of the columns of obsm/protein",
        "obsm/protein/batch",
        "obsm/sparse",
        "obsm/cube",
        "uns/fact/matrix",
        "uns/frame",
    ];
    for (matrix, instead) in [
        (Matrix::X, vec!["raw", "varm", "obsp", "layers/words"]),
        (
            layer("counts"),
            vec!["X", "raw", "varm", "obsp", "layers/words"],
        ),
        (layer("raw"), vec!["X", "layers", "varm", "obsp"]),
    ] {
        let not_read = h5ad::not_read(path, &matrix).unwrap();
        assert_eq!(not_read, [&instead[..], &others].concat());
    }
    let counts = numbers(&expected["counts"]);
    let raw = h5ad::read(path, &layer("raw")).unwrap();
    assert_eq!(raw.feature_ids(), texts(&expected["features"]));
    assert_eq!((raw.to_dense(), raw.layers.len()), (counts.clone(), 0));
    let chosen = h5ad::read(path, &layer("counts")).unwrap();
    assert!(!chosen.uns.contains_key("log1p") && !raw.uns.contains_key("log1p"));
    let of_x = h5ad::read(path, &Matrix::X).unwrap();
    assert!(of_x.uns.contains_key("log1p"));
    assert_eq!(chosen.feature_ids(), &raw.feature_ids()[1..]);
    let later: Vec<f64> = counts.chunks(4).flat_map(|row| row[1..].to_vec()).collect();
    assert_eq!(chosen.to_dense(), later);
}

#[test]
fn every_encoding_that_the_formats_own_libraries_write_is_read() {
    let Some(python) = oracle_python() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    run(&python, "write_cases.py", folder.path());
    let text = std::fs::read_to_string(folder.path().join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    parts_of_h5ad(&folder.path().join("unread.h5ad"), &expected);
    let cases = expected["cases"].as_array().unwrap();
    assert!(cases.len() >= 30, "{}", cases.len());
    for case in cases {
        let file = case["file"].as_str().unwrap();
        let table = format::read(&folder.path().join(file), &ReadOptions::default())
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(table.sample_ids(), texts(&expected["samples"]), "{file}");
        assert_eq!(table.feature_ids(), texts(&expected["features"]), "{file}");
        let entries = numbers(&expected[case["entries"].as_str().unwrap()]);
        assert_same(&table.to_dense(), &entries, file);
        for name in texts(&case["obs"]) {
            let column = table
                .sample_metadata
                .column(&name)
                .unwrap_or_else(|| panic!("{file}: {name}"));
            for (row, value) in expected["obs"][&name]
                .as_array()
                .unwrap()
                .iter()
                .enumerate()
            {
                // BIOM has no empty text beside missing ones.
                let wanted = value
                    .as_str()
                    .filter(|text| file.ends_with("h5ad") || !text.is_empty());
                assert_eq!(
                    column.values.text(row).as_deref(),
                    wanted,
                    "{file}: {name} of row {row}"
                );
            }
        }
        if case["taxonomy"] == true {
            let taxonomy = table
                .taxonomy
                .as_ref()
                .unwrap_or_else(|| panic!("{file}: no taxonomy"));
            assert_eq!(taxonomy.ranks, ["kingdom", "phylum", "genus"], "{file}");
            assert_eq!(json!(taxonomy.lineages), expected["lineages"], "{file}");
        }
        if case["layers_obsm_uns"] == true {
            check_layers_obsm_uns(&table, &expected, file);
        }
    }
}

fn check_layers_obsm_uns(table: &Table, expected: &Value, file: &str) {
    let values = numbers(&expected["values"]);
    let Layer::Dense(dense) = &table.layers["dense"] else {
        panic!("{file}: dense layer")
    };
    assert_same(&dense.values, &values, file);
    let Layer::Sparse {
        indptr,
        indices,
        values: stored,
    } = &table.layers["sparse"]
    else {
        panic!("{file}: sparse layer")
    };
    let csr = Csr {
        indptr: indptr.clone(),
        indices: indices.clone(),
        values: stored.clone(),
    };
    assert_same(&table.with_entries(csr).unwrap().to_dense(), &values, file);
    for name in ["dense", "frame"] {
        let obsm = &table.obsm[name];
        assert_eq!((obsm.n_rows, obsm.n_columns), (5, 2), "{file}: {name}");
        assert_same(&obsm.values, &numbers(&expected["obsm"]), file);
    }
    // Groups list their members by name, so the order of the keys is not kept.
    for (key, value) in expected["uns"].as_object().unwrap() {
        assert_eq!(&table.uns[key], value, "{file}: uns {key}");
    }
    // Columns keep the kind that they were written as.
    let kind = |name: &str| &table.sample_metadata.column(name).unwrap().values;
    assert!(
        matches!(kind("category"), ColumnValues::Categorical { levels, ordered: true, .. } if *levels == ["b", "a", "unused"]),
        "{file}"
    );
    assert!(
        matches!(kind("nullable_text"), ColumnValues::Text(_)),
        "{file}"
    );
    assert!(
        matches!(kind("nullable_flag"), ColumnValues::Boolean(_)),
        "{file}"
    );
    assert!(
        matches!(kind("nullable_whole"), ColumnValues::Numeric(_)),
        "{file}"
    );
    // As f64 these are 20231115123456700 and 20231115123456704.
    let names = [Some("20231115123456701"), Some("20231115123456702")].map(|x| x.map(String::from));
    assert!(
        matches!(kind("long_name"), ColumnValues::Text(found) if found[..2] == names),
        "{file}"
    );
    let beyond_signed = Some("9223372036854775809".to_string());
    assert!(
        matches!(kind("longer_name"), ColumnValues::Text(found) if found[0] == beyond_signed),
        "{file}"
    );
}

/// A table with a value of every kind; `NaN` among the entries and missing values in each column.
fn table() -> Table {
    let ids = |prefix: &str, n| (1..=n).map(|i| format!("{prefix}{i}")).collect::<Vec<_>>();
    let n = f64::NAN;
    let dense = [
        0.0,
        1.5,
        n,
        0.1 + 0.2,
        0.0,
        0.0,
        7.0,
        1e-300,
        1e300,
        0.0,
        0.0,
        3.0,
    ];
    let mut table = Table::from_dense(ids("s", 3), ids("ß", 4), &dense).unwrap();
    let columns = [
        ("number", ColumnValues::Numeric(vec![1.5, n, -2.0])),
        (
            "category",
            ColumnValues::Categorical {
                levels: vec!["unused".into(), "b".into(), "a".into()],
                codes: vec![Some(2), None, Some(1)],
                ordered: true,
            },
        ),
        (
            "text",
            ColumnValues::Text(vec![Some("ü x".into()), Some("y".into()), Some("z".into())]),
        ),
        (
            "text_with_gap",
            ColumnValues::Text(vec![Some("b".into()), None, Some("a".into())]),
        ),
        (
            "flag",
            ColumnValues::Boolean(vec![Some(true), Some(false), Some(true)]),
        ),
        (
            "flag_with_gap",
            ColumnValues::Boolean(vec![Some(true), None, Some(false)]),
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
    let lineages = [
        "k__Bacteria; p__Firmicutes; g__Blautia",
        "k__Bacteria; p__Firmicutes; g__",
        "k__Archaea; p__; g__X",
        "k__Bacteria; p__B; g__Prevotella",
    ];
    table.taxonomy = Some(Taxonomy::parse(&lineages.map(String::from)));
    let pathways = ["M; x", "M", "", "M; y z"].map(|text| Some(text.to_string()));
    let pathways = Column {
        name: "KEGG_Pathways".into(),
        values: ColumnValues::Text(pathways.to_vec()),
    };
    table.feature_metadata.set_column(pathways).unwrap();
    let (indptr, indices, values) = table.csr();
    let sparse = Layer::Sparse {
        indptr: indptr.to_vec(),
        indices: indices.to_vec(),
        values: values.to_vec(),
    };
    table.layers.insert("sparse".into(), sparse);
    table.layers.insert(
        "dense".into(),
        Layer::Dense(Dense {
            n_rows: 3,
            n_columns: 4,
            values: dense.to_vec(),
        }),
    );
    table.layers.insert(
        "codes".into(),
        Layer::Codes {
            codes: vec![0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2],
            meanings: ["observed", "filled", "kept zero"]
                .map(String::from)
                .to_vec(),
        },
    );
    table.obsm.insert(
        "position".into(),
        Dense {
            n_rows: 3,
            n_columns: 2,
            values: vec![1.0, 2.0, n, 4.0, 5.0, 6.0],
        },
    );
    table.uns = uns().as_object().unwrap().clone();
    table
}

/// Datasets of several chunks, and more rows than fit in 16 bits; entries by a formula.
fn large_table() -> Table {
    let (n_rows, n_columns) = (70_000, 3);
    let value = |at: usize| (7 * (at / n_columns) + at % n_columns) % 5;
    let values: Vec<f64> = (0..n_rows * n_columns).map(|at| value(at) as f64).collect();
    let ids = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
    let mut table = Table::from_dense(ids("s", n_rows), ids("t", n_columns), &values).unwrap();
    let codes = values.iter().map(|value| *value as u8).collect();
    let meanings = (0..5).map(|code| format!("code {code}")).collect();
    table
        .layers
        .insert("codes".into(), Layer::Codes { codes, meanings });
    table.layers.insert(
        "dense".into(),
        Layer::Dense(Dense {
            n_rows,
            n_columns,
            values,
        }),
    );
    let row = ColumnValues::Numeric((0..n_rows).map(|row| row as f64).collect());
    table
        .sample_metadata
        .set_column(Column {
            name: "row".into(),
            values: row,
        })
        .unwrap();
    table
}

fn uns() -> Value {
    json!({
        "unit": "reads", "seed": 7, "ratio": 0.5, "yes": true, "unknown": null,
        "names": ["a", "b"], "numbers": [1, 2], "weights": [0.5, 1.5],
        "deep": {"deeper": {"word": "ü"}},
    })
}

fn rows(values: &[f64], n_columns: usize) -> Value {
    json!(values.chunks(n_columns).collect::<Vec<_>>()) // NaN becomes null
}

/// Writes the table of [`large_table`] as its samples come in.
fn write_by_sample(table: &Table, path: &Path) {
    let (Layer::Codes { codes, meanings }, Layer::Dense(dense)) =
        (&table.layers["codes"], &table.layers["dense"])
    else {
        panic!("the layers of the large table");
    };
    let shape = [table.n_samples(), table.n_features()];
    let kinds = [
        ("codes".to_string(), LayerKind::Codes(meanings.clone())),
        ("dense".to_string(), LayerKind::Numbers),
    ];
    let mut spooled = SpooledTable::new(path, shape, kinds).unwrap();
    for sample in 0..shape[0] {
        let range = sample * shape[1]..(sample + 1) * shape[1];
        let layers = [
            LayerRow::Codes(&codes[range.clone()]),
            LayerRow::Numbers(&dense.values[range]),
        ];
        spooled.push(&table.dense_row(sample), &layers).unwrap();
    }
    spooled.write(table, path, Overwrite::Refuse).unwrap();
}

/// Writes a layer of more chunks than a page of the chunk index holds, one per sample.
fn write_pages(path: &Path) {
    let (n_samples, n_features) = (1030, 32_768);
    let ids = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
    let nothing = Csr {
        indptr: vec![0; n_samples + 1],
        ..Csr::default()
    };
    let table = Table::new(ids("s", n_samples), ids("t", n_features), nothing).unwrap();
    let meanings = (0..251).map(|code| format!("code {code}")).collect();
    let kinds = [("codes".to_string(), LayerKind::Codes(meanings))];
    let mut spooled = SpooledTable::new(path, [n_samples, n_features], kinds).unwrap();
    for sample in 0..n_samples {
        let codes = vec![(sample % 251) as u8; n_features];
        let values = vec![0.0; n_features];
        spooled.push(&values, &[LayerRow::Codes(&codes)]).unwrap();
    }
    spooled.write(&table, path, Overwrite::Refuse).unwrap();
}

#[test]
fn what_is_written_opens_in_anndata_and_biom_format_with_the_same_content() {
    let Some(python) = oracle_python() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let table = table();
    for name in ["t.h5ad", "t.biom", "t.biom.json"] {
        format::write(&table, &folder.path().join(name), &WriteOptions::default()).unwrap();
    }
    let taxonomy = table.taxonomy.as_ref().unwrap();
    let expected = json!({
        "samples": table.sample_ids(),
        "features": table.feature_ids(),
        "values": rows(&table.to_dense(), 4),
        "layer": rows(&table.to_dense(), 4),
        "obs": {
            "number": [1.5, null, -2.0],
            "category": ["a", null, "b"],
            "text": ["ü x", "y", "z"],
            "text_with_gap": ["b", null, "a"],
            "flag": [true, false, true],
            "flag_with_gap": [true, null, false],
        },
        "lineages": (0..4).map(|feature| taxonomy.lineage_text(feature)).collect::<Vec<_>>(),
        "codes": [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2],
        "meanings": ["observed", "filled", "kept zero"],
        "obsm": [[1.0, 2.0], [null, 4.0], [5.0, 6.0]],
        "uns": uns(),
    });
    std::fs::write(folder.path().join("expected.json"), expected.to_string()).unwrap();
    format::write(
        &large_table(),
        &folder.path().join("large.h5ad"),
        &WriteOptions::default(),
    )
    .unwrap();
    write_by_sample(&large_table(), &folder.path().join("spooled.h5ad"));
    write_pages(&folder.path().join("pages.h5ad"));
    run(&python, "check_written.py", folder.path());
}

#[test]
fn a_table_survives_h5ad_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.h5ad");
    let table = table();
    format::write(&table, &path, &WriteOptions::default()).unwrap();
    let back = format::read(&path, &ReadOptions::default()).unwrap();
    let bits = |values: &[f64]| {
        values
            .iter()
            .map(|value| value.to_bits())
            .collect::<Vec<_>>()
    };
    assert_eq!(bits(&back.to_dense()), bits(&table.to_dense()));
    assert_eq!(back.taxonomy, table.taxonomy);
    assert_eq!(back.uns, table.uns);
    assert_eq!(back.layers["codes"], table.layers["codes"]);
    assert_eq!(
        bits(&back.obsm["position"].values),
        bits(&table.obsm["position"].values)
    );
    for column in table.sample_metadata.columns() {
        let again = back.sample_metadata.column(&column.name).unwrap();
        for row in 0..3 {
            assert_eq!(
                again.values.text(row),
                column.values.text(row),
                "{}",
                column.name
            );
        }
    }
}

#[test]
fn a_table_survives_both_forms_of_biom() {
    let folder = tempfile::tempdir().unwrap();
    let table = table();
    for name in ["t.biom", "t.biom.json"] {
        let path = folder.path().join(name);
        format::write(&table, &path, &WriteOptions::default()).unwrap();
        let back = format::read(&path, &ReadOptions::default()).unwrap();
        assert_same(&back.to_dense(), &table.to_dense(), name);
        assert_eq!(back.taxonomy, table.taxonomy, "{name}");
        for column in ["number", "flag"].map(|name| table.sample_metadata.column(name).unwrap()) {
            let again = back.sample_metadata.column(&column.name).unwrap();
            assert_eq!(
                std::mem::discriminant(&again.values),
                std::mem::discriminant(&column.values),
                "{name}: {}",
                column.name
            );
        }
        for column in table.sample_metadata.columns() {
            let again = back.sample_metadata.column(&column.name).unwrap();
            for row in 0..3 {
                assert_eq!(
                    again.values.text(row),
                    column.values.text(row),
                    "{name}: {}",
                    column.name
                );
            }
        }
    }
}

#[test]
fn a_layer_can_be_read_in_place_of_x() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.h5ad");
    let table = table();
    format::write(&table, &path, &WriteOptions::default()).unwrap();
    let layer = |name: &str| ReadOptions {
        matrix: Matrix::Layer(name.into()),
        ..ReadOptions::default()
    };
    let codes = format::read(&path, &layer("codes")).unwrap();
    assert_eq!(
        codes.to_dense(),
        [0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 0.0, 1.0, 2.0]
    );
    let message = format::read(&path, &layer("nothing"))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("nothing") && message.contains("codes"),
        "{message}"
    );
}

//! An h5ad file whose entries and layers come in sample by sample.

use super::write::write_with;
use crate::format::hdf5::{Element, Spool};
use crate::format::write::{Overwrite, folder_of, write_atomically};
use crate::{Error, Result, Table};
use std::path::Path;

/// What a layer holds.
#[derive(Debug, Clone, PartialEq)]
pub enum LayerKind {
    /// A number per entry.
    Numbers,
    /// A small code per entry, with the meaning of code 0, 1, ...
    Codes(Vec<String>),
}

/// A sample's entries in a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LayerRow<'a> {
    /// A number per feature.
    Numbers(&'a [f64]),
    /// A code per feature.
    Codes(&'a [u8]),
}

/// Entries and layers of a table, put aside on disk as its samples come in. Nothing of it has a name
/// there before [`SpooledTable::write`], so a program that is killed leaves nothing.
#[derive(Debug)]
pub struct SpooledTable {
    n_features: usize,
    pub(super) indptr: Vec<usize>,
    pub(super) indices: Spool,
    pub(super) values: Spool,
    pub(super) layers: Vec<SpooledLayer>,
}

/// A layer that was put aside.
#[derive(Debug)]
pub(super) struct SpooledLayer {
    pub(super) name: String,
    pub(super) kind: LayerKind,
    pub(super) spool: Spool,
}

impl SpooledTable {
    /// No samples yet of `[n_samples, n_features]` for an output at `path`, with these layers.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn new(
        path: &Path,
        shape: [usize; 2],
        layers: impl IntoIterator<Item = (String, LayerKind)>,
    ) -> Result<SpooledTable> {
        let folder = folder_of(path);
        let io = |source| Error::io(path, "write", source);
        // As in `compressed::write`: one width for all index arrays.
        let index = match i32::try_from(shape[0].saturating_mul(shape[1])) {
            Ok(_) => Element::I32,
            Err(_) => Element::I64,
        };
        let mut spooled = SpooledTable {
            n_features: shape[1],
            indptr: vec![0],
            indices: Spool::list(&folder, index).map_err(io)?,
            values: Spool::list(&folder, Element::F64).map_err(io)?,
            layers: Vec::new(),
        };
        for (name, kind) in layers {
            let element = match kind {
                LayerKind::Numbers => Element::F64,
                LayerKind::Codes(_) => Element::U8,
            };
            let spool = Spool::matrix(&folder, element, shape).map_err(io)?;
            spooled.layers.push(SpooledLayer { name, kind, spool });
        }
        Ok(spooled)
    }

    /// Adds a sample: its entries densely, `NaN` where not measured, and its layers in the order of
    /// [`SpooledTable::new`].
    ///
    /// # Errors
    /// No room left on the disk; a sample of another shape than the table.
    pub fn push(&mut self, values: &[f64], layers: &[LayerRow<'_>]) -> std::io::Result<()> {
        let fits = |layer: &SpooledLayer, row: &LayerRow| match (&layer.kind, row) {
            (LayerKind::Numbers, LayerRow::Numbers(row)) => row.len() == self.n_features,
            (LayerKind::Codes(_), LayerRow::Codes(row)) => row.len() == self.n_features,
            _ => false,
        };
        let is_whole = values.len() == self.n_features && layers.len() == self.layers.len();
        if !is_whole || !self.layers.iter().zip(layers).all(|(l, row)| fits(l, row)) {
            let problem = "a sample has an entry per feature and a row per layer, of its kind";
            return Err(std::io::Error::other(problem));
        }
        let stored = || (0u32..).zip(values).filter(|(_, value)| **value != 0.0);
        let width = self.indices.element().size();
        self.indices.push(
            stored()
                .flat_map(|(column, _)| u64::from(column).to_le_bytes().into_iter().take(width)),
        )?;
        self.values
            .push(stored().flat_map(|(_, value)| value.to_le_bytes()))?;
        let n_before = self.indptr.last().copied().unwrap_or(0);
        self.indptr.push(n_before + stored().count());
        for (layer, row) in self.layers.iter_mut().zip(layers) {
            match row {
                LayerRow::Numbers(row) => layer
                    .spool
                    .push_row(row.iter().flat_map(|value| value.to_le_bytes()))?,
                LayerRow::Codes(row) => layer.spool.push_row(row.iter().copied())?,
            }
        }
        Ok(())
    }

    /// Writes the file, whole or not at all: these entries and layers, and of `table` all else.
    ///
    /// # Errors
    /// Samples that were not put aside, and as [`write_atomically`].
    pub fn write(self, table: &Table, path: &Path, overwrite: Overwrite) -> Result<()> {
        if self.indptr.len() != table.n_samples() + 1 {
            return Err(Error::Shape {
                what: "samples put aside".to_string(),
                found: self.indptr.len() - 1,
                expected: table.n_samples(),
            });
        }
        write_atomically(path, overwrite, |sink| write_with(table, Some(self), sink))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{ReadOptions, WriteOptions, read, write};
    use crate::{Csr, Dense, Layer};

    fn ids(prefix: &str, n: usize) -> Vec<String> {
        (0..n).map(|i| format!("{prefix}{i}")).collect()
    }

    /// A table with layers, and the same in parts.
    fn table((n_samples, n_features): (usize, usize), n_zeros: usize) -> Table {
        let entry = |at: usize| match at % (n_zeros + 3) {
            0 => f64::NAN,
            1 | 2 => (at % 1000) as f64 / 7.0,
            _ => 0.0,
        };
        let dense: Vec<f64> = (0..n_samples * n_features).map(entry).collect();
        let mut table =
            Table::from_dense(ids("s", n_samples), ids("t", n_features), &dense).unwrap();
        let values = dense.iter().map(|value| value * 3.0).collect();
        let numbers = Dense {
            n_rows: n_samples,
            n_columns: n_features,
            values,
        };
        table
            .layers
            .insert("lower".to_string(), Layer::Dense(numbers));
        let codes = (0..dense.len()).map(|at| (at % 4) as u8).collect();
        let meanings = ids("meaning ", 4);
        table
            .layers
            .insert("action".to_string(), Layer::Codes { codes, meanings });
        table.uns.insert("fact".to_string(), "kept".into());
        table
    }

    /// Puts the entries and layers of a table aside and writes all of it.
    fn write_spooled(table: &Table, path: &Path) -> Result<()> {
        let kinds = [
            ("lower".to_string(), LayerKind::Numbers),
            ("action".to_string(), LayerKind::Codes(ids("meaning ", 4))),
        ];
        let shape = [table.n_samples(), table.n_features()];
        let mut spooled = SpooledTable::new(path, shape, kinds)?;
        for sample in 0..shape[0] {
            let range = sample * shape[1]..(sample + 1) * shape[1];
            let (Layer::Dense(lower), Layer::Codes { codes, .. }) =
                (&table.layers["lower"], &table.layers["action"])
            else {
                unreachable!("the layers of `table`")
            };
            let rows = [
                LayerRow::Numbers(&lower.values[range.clone()]),
                LayerRow::Codes(&codes[range]),
            ];
            spooled.push(&table.dense_row(sample), &rows).unwrap();
        }
        spooled.write(table, path, Overwrite::Refuse)
    }

    #[test]
    fn what_comes_in_by_sample_is_the_file_that_is_written_at_once() {
        // One chunk or less; exactly one; a few; rows longer than a chunk; no samples.
        let shapes = [
            ((5, 3), 0),
            ((1, 1), 0),
            ((64, 512), 0),
            ((65, 512), 1),
            ((3000, 40), 5),
            ((3, 70_000), 1),
            ((0, 4), 0),
        ];
        for (shape, n_zeros) in shapes {
            let folder = tempfile::tempdir().unwrap();
            let table = table(shape, n_zeros);
            let [whole, parts] = ["whole.h5ad", "parts.h5ad"].map(|name| folder.path().join(name));
            write(&table, &whole, &WriteOptions::default()).unwrap();
            write_spooled(&table, &parts).unwrap();
            let [whole, parts] =
                [whole, parts].map(|path| read(&path, &ReadOptions::default()).unwrap());
            // NaN is not equal to itself, so the texts are compared.
            assert!(format!("{whole:?}") == format!("{parts:?}"), "{shape:?}");
        }
    }

    #[test]
    fn the_index_of_many_chunks_has_pages() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.h5ad");
        let (n_samples, n_features) = (1030, 32_768); // a chunk per sample, 1024 chunks per page
        let nothing = Csr {
            indptr: vec![0; n_samples + 1],
            ..Csr::default()
        };
        let table = Table::new(ids("s", n_samples), ids("t", n_features), nothing).unwrap();
        let kinds = [("a".to_string(), LayerKind::Codes(ids("m", 256)))];
        let mut spooled = SpooledTable::new(&path, [n_samples, n_features], kinds).unwrap();
        let row = |sample: usize| vec![(sample % 256) as u8; n_features];
        for sample in 0..n_samples {
            let layer = [LayerRow::Codes(&row(sample))];
            spooled.push(&vec![0.0; n_features], &layer).unwrap();
        }
        spooled.write(&table, &path, Overwrite::Refuse).unwrap();
        let back = read(&path, &ReadOptions::default()).unwrap();
        let Layer::Codes { codes, .. } = &back.layers["a"] else {
            panic!("not codes");
        };
        let rows = codes.chunks_exact(n_features).enumerate();
        assert_eq!(
            rows.filter(|(sample, codes)| *codes == row(*sample))
                .count(),
            n_samples
        );
    }

    #[test]
    fn samples_that_did_not_come_in_leave_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.h5ad");
        let mut spooled = SpooledTable::new(&path, [2, 3], []).unwrap();
        spooled.push(&[1.0, 0.0, 2.0], &[]).unwrap();
        assert!(
            spooled
                .write(&table((2, 3), 0), &path, Overwrite::Refuse)
                .is_err()
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

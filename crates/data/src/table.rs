//! A sparse table of abundances: samples in rows, features (taxa, genes) in columns.
//!
//! Three kinds of entries are kept apart: a stored positive number was observed, an entry that is
//! not stored is zero, and a stored `NaN` was not measured.

use crate::metadata::check_unique;
use crate::{Error, Metadata, Result, Taxonomy};
use std::collections::BTreeMap;

/// A dense matrix in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    /// Number of rows.
    pub n_rows: usize,
    /// Number of columns.
    pub n_columns: usize,
    /// `n_rows * n_columns` values, row after row.
    pub values: Vec<f64>,
}

/// A second matrix over the same samples and features, as in an h5ad layer.
#[derive(Debug, Clone, PartialEq)]
pub enum Layer {
    /// Every entry is stored.
    Dense(Dense),
    /// Only the entries listed are stored, the others are zero (CSR).
    Sparse {
        /// Start of each row in `indices`, and the end of the last.
        indptr: Vec<usize>,
        /// Column of each stored entry, rising within a row.
        indices: Vec<u32>,
        /// Value of each stored entry.
        values: Vec<f64>,
    },
    /// A small code per entry with the meaning of each code, as in "what was done".
    Codes {
        /// `codes[row * n_features + column]`.
        codes: Vec<u8>,
        /// Meaning of code 0, 1, ...
        meanings: Vec<String>,
    },
}

/// Abundances of `n_features` features in `n_samples` samples, with all that is known of both.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    sample_ids: Vec<String>,
    feature_ids: Vec<String>,
    indptr: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f64>,
    /// One row per sample.
    pub sample_metadata: Metadata,
    /// One row per feature.
    pub feature_metadata: Metadata,
    /// Lineages of the features, where known.
    pub taxonomy: Option<Taxonomy>,
    /// Matrices over the same entries.
    pub layers: BTreeMap<String, Layer>,
    /// Matrices with one row per sample.
    pub obsm: BTreeMap<String, Dense>,
    /// Facts about the whole table.
    pub uns: serde_json::Map<String, serde_json::Value>,
}

/// Parts of a sparse matrix in compressed rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Csr {
    /// Start of each row in `indices`, and the end of the last.
    pub indptr: Vec<usize>,
    /// Column of each stored entry, rising within a row.
    pub indices: Vec<u32>,
    /// Value of each stored entry.
    pub values: Vec<f64>,
}

impl Table {
    /// A table from compressed rows.
    ///
    /// Stored zeros are dropped; columns are sorted within a row.
    ///
    /// # Errors
    /// Duplicate ids, parts of lengths that do not fit, an index out of range or twice in a row,
    /// a negative or infinite value.
    pub fn new(sample_ids: Vec<String>, feature_ids: Vec<String>, csr: Csr) -> Result<Self> {
        check_unique("sample", &sample_ids)?;
        check_unique("feature", &feature_ids)?;
        let shape = |what: &str, found, expected| Error::Shape {
            what: what.to_string(),
            found,
            expected,
        };
        if csr.indptr.len() != sample_ids.len() + 1 {
            return Err(shape(
                "row starts of the sparse matrix",
                csr.indptr.len(),
                sample_ids.len() + 1,
            ));
        }
        if csr.indices.len() != csr.values.len() {
            return Err(shape(
                "column indices of the sparse matrix",
                csr.indices.len(),
                csr.values.len(),
            ));
        }
        let mut indptr = Vec::with_capacity(csr.indptr.len());
        let mut indices = Vec::with_capacity(csr.indices.len());
        let mut values = Vec::with_capacity(csr.values.len());
        indptr.push(0);
        for (row, sample) in sample_ids.iter().enumerate() {
            let (start, end) = (csr.indptr[row], csr.indptr[row + 1]);
            if start > end || end > csr.indices.len() {
                return Err(shape(
                    &format!("end of row {row} in the sparse matrix"),
                    end,
                    csr.indices.len(),
                ));
            }
            let mut entries: Vec<(u32, f64)> = Vec::with_capacity(end - start);
            for position in start..end {
                let (column, value) = (csr.indices[position], csr.values[position]);
                let Some(feature) = feature_ids.get(column as usize) else {
                    return Err(shape(
                        &format!("column index in row {row} of the sparse matrix"),
                        column as usize,
                        feature_ids.len(),
                    ));
                };
                if value < 0.0 || value.is_infinite() {
                    return Err(Error::BadValue {
                        sample: sample.clone(),
                        feature: feature.clone(),
                        value,
                    });
                }
                if value != 0.0 {
                    entries.push((column, value));
                }
            }
            if !entries.is_sorted_by_key(|(column, _)| *column) {
                entries.sort_by_key(|(column, _)| *column);
            }
            for pair in entries.windows(2) {
                if pair[0].0 == pair[1].0 {
                    return Err(Error::Invalid(format!(
                        "sample {sample:?}: feature {:?} is stored twice in its row",
                        feature_ids[pair[0].0 as usize]
                    )));
                }
            }
            indices.extend(entries.iter().map(|(column, _)| *column));
            values.extend(entries.iter().map(|(_, value)| *value));
            indptr.push(indices.len());
        }
        Ok(Table {
            sample_metadata: Metadata::empty(sample_ids.clone()),
            feature_metadata: Metadata::empty(feature_ids.clone()),
            sample_ids,
            feature_ids,
            indptr,
            indices,
            values,
            taxonomy: None,
            layers: BTreeMap::new(),
            obsm: BTreeMap::new(),
            uns: serde_json::Map::new(),
        })
    }

    /// A table from `n_samples * n_features` values in row-major order; `NaN` is not measured.
    ///
    /// # Errors
    /// As [`Table::new`].
    pub fn from_dense(
        sample_ids: Vec<String>,
        feature_ids: Vec<String>,
        dense: &[f64],
    ) -> Result<Self> {
        let n_features = feature_ids.len();
        if dense.len() != sample_ids.len() * n_features {
            return Err(Error::Shape {
                what: "values of a dense table".to_string(),
                found: dense.len(),
                expected: sample_ids.len() * n_features,
            });
        }
        let mut csr = Csr {
            indptr: vec![0],
            ..Csr::default()
        };
        for row in 0..sample_ids.len() {
            for column in 0..n_features {
                let value = dense[row * n_features + column];
                if value != 0.0 {
                    csr.indices.push(column as u32);
                    csr.values.push(value);
                }
            }
            csr.indptr.push(csr.indices.len());
        }
        Table::new(sample_ids, feature_ids, csr)
    }

    /// Number of samples (rows).
    pub fn n_samples(&self) -> usize {
        self.sample_ids.len()
    }

    /// Number of features (columns).
    pub fn n_features(&self) -> usize {
        self.feature_ids.len()
    }

    /// Number of stored entries, `NaN` included.
    pub fn n_stored(&self) -> usize {
        self.values.len()
    }

    /// Sample ids in row order.
    pub fn sample_ids(&self) -> &[String] {
        &self.sample_ids
    }

    /// Feature ids in column order.
    pub fn feature_ids(&self) -> &[String] {
        &self.feature_ids
    }

    /// Columns and values of the stored entries of a row, columns rising.
    pub fn row(&self, sample: usize) -> (&[u32], &[f64]) {
        let range = self.indptr[sample]..self.indptr[sample + 1];
        (&self.indices[range.clone()], &self.values[range])
    }

    /// One entry: zero where nothing is stored, `NaN` where nothing was measured.
    pub fn get(&self, sample: usize, feature: usize) -> f64 {
        let (columns, values) = self.row(sample);
        columns
            .binary_search(&(feature as u32))
            .map_or(0.0, |position| values[position])
    }

    /// The compressed rows: row starts, columns, values.
    pub fn csr(&self) -> (&[usize], &[u32], &[f64]) {
        (&self.indptr, &self.indices, &self.values)
    }

    /// All entries in row-major order, zeros written out, `NaN` kept.
    pub fn to_dense(&self) -> Vec<f64> {
        let mut dense = Vec::with_capacity(self.n_samples() * self.n_features());
        for sample in 0..self.n_samples() {
            dense.extend(self.dense_row(sample));
        }
        dense
    }

    /// The entries of a sample, zeros written out, `NaN` kept.
    pub fn dense_row(&self, sample: usize) -> Vec<f64> {
        let mut dense = vec![0.0; self.n_features()];
        let (columns, values) = self.row(sample);
        for (column, value) in columns.iter().zip(values) {
            dense[*column as usize] = *value;
        }
        dense
    }

    /// Sum of the measured entries of each sample, in the unit of the table.
    pub fn totals(&self) -> Vec<f64> {
        (0..self.n_samples())
            .map(|sample| {
                self.row(sample)
                    .1
                    .iter()
                    .filter(|value| !value.is_nan())
                    .sum()
            })
            .collect()
    }

    /// The same ids and metadata with other entries; layers and `obsm` are left behind.
    ///
    /// # Errors
    /// As [`Table::new`].
    pub fn with_entries(&self, csr: Csr) -> Result<Table> {
        let mut table = Table::new(self.sample_ids.clone(), self.feature_ids.clone(), csr)?;
        table.sample_metadata = self.sample_metadata.clone();
        table.feature_metadata = self.feature_metadata.clone();
        table.taxonomy = self.taxonomy.clone();
        table.uns = self.uns.clone();
        Ok(table)
    }

    /// The same ids and metadata with other entries, given densely in row-major order.
    ///
    /// # Errors
    /// As [`Table::from_dense`].
    pub fn with_dense(&self, dense: &[f64]) -> Result<Table> {
        let mut table =
            Table::from_dense(self.sample_ids.clone(), self.feature_ids.clone(), dense)?;
        table.sample_metadata = self.sample_metadata.clone();
        table.feature_metadata = self.feature_metadata.clone();
        table.taxonomy = self.taxonomy.clone();
        table.uns = self.uns.clone();
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(prefix: &str, n: usize) -> Vec<String> {
        (0..n).map(|i| format!("{prefix}{i}")).collect()
    }

    #[test]
    fn dense_entries_survive_the_sparse_form_with_nan_and_zero_kept_apart() {
        let dense = [0.0, 1.5, f64::NAN, 2.0, 0.0, 0.0];
        let table = Table::from_dense(ids("s", 2), ids("t", 3), &dense).unwrap();
        assert_eq!(table.n_stored(), 3);
        for (back, value) in table.to_dense().iter().zip(dense) {
            assert_eq!(back.to_bits(), value.to_bits());
        }
        assert_eq!(table.totals(), [1.5, 2.0]);
    }

    #[test]
    fn negative_infinite_duplicate_and_misplaced_entries_are_refused() {
        for bad in [-1.0, f64::INFINITY] {
            assert!(matches!(
                Table::from_dense(ids("s", 1), ids("t", 1), &[bad]),
                Err(Error::BadValue { .. })
            ));
        }
        let twice = vec!["a".to_string(), "a".to_string()];
        assert!(matches!(
            Table::from_dense(twice, ids("t", 1), &[1.0, 1.0]),
            Err(Error::DuplicateId {
                axis: "sample",
                first: 1,
                second: 2,
                ..
            })
        ));
        let csr = Csr {
            indptr: vec![0, 1],
            indices: vec![7],
            values: vec![1.0],
        };
        assert!(matches!(
            Table::new(ids("s", 1), ids("t", 2), csr),
            Err(Error::Shape { .. })
        ));
        let csr = Csr {
            indptr: vec![0, 2],
            indices: vec![1, 1],
            values: vec![1.0, 2.0],
        };
        assert!(matches!(
            Table::new(ids("s", 1), ids("t", 2), csr),
            Err(Error::Invalid(_))
        ));
    }
}

//! Choosing samples and features of a table, with all that is known of them.

use crate::{Csr, Dense, Error, Layer, Result, Table};
use std::collections::{HashMap, HashSet};

/// How many ids an error shows.
const N_EXAMPLES: usize = 3;

/// Meaning of the code that aligned features without data get in a layer of codes.
const NOT_MEASURED: &str = "not measured";

/// What an alignment found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlignReport {
    /// Features that the table had and was asked for.
    pub n_shared: usize,
    /// Features asked for that the table lacked; now not measured.
    pub missing: Vec<String>,
    /// Features of the table that were not asked for.
    pub dropped: Vec<String>,
}

/// The samples at these positions, in this order.
///
/// # Errors
/// A position out of range or given twice.
pub fn take_samples(table: &Table, samples: &[usize]) -> Result<Table> {
    check_positions("samples", samples.iter().copied(), table.n_samples())?;
    let mut csr = Csr {
        indptr: vec![0],
        ..Csr::default()
    };
    for sample in samples {
        let (columns, values) = table.row(*sample);
        csr.indices.extend_from_slice(columns);
        csr.values.extend_from_slice(values);
        csr.indptr.push(csr.indices.len());
    }
    let ids: Vec<String> = samples
        .iter()
        .map(|s| table.sample_ids()[*s].clone())
        .collect();
    let mut taken = Table::new(ids.clone(), table.feature_ids().to_vec(), csr)?;
    taken.sample_metadata = table.sample_metadata.align(&ids);
    taken.feature_metadata = table.feature_metadata.clone();
    taken.taxonomy = table.taxonomy.clone();
    taken.uns = table.uns.clone();
    for (name, layer) in &table.layers {
        taken.layers.insert(
            name.clone(),
            layer_samples(layer, samples, table.n_features()),
        );
    }
    for (name, dense) in &table.obsm {
        let values = rows_of(&dense.values, samples, dense.n_columns);
        let dense = Dense {
            n_rows: samples.len(),
            n_columns: dense.n_columns,
            values,
        };
        taken.obsm.insert(name.clone(), dense);
    }
    Ok(taken)
}

/// The features at these positions, in this order.
///
/// # Errors
/// A position out of range or given twice.
pub fn take_features(table: &Table, features: &[usize]) -> Result<Table> {
    check_positions("features", features.iter().copied(), table.n_features())?;
    let ids = features
        .iter()
        .map(|f| table.feature_ids()[*f].clone())
        .collect();
    let features: Vec<Option<usize>> = features.iter().copied().map(Some).collect();
    arrange_features(table, ids, &features)
}

/// Positions of these samples.
///
/// # Errors
/// An id that the table lacks; the message shows a few.
pub fn sample_positions<S: AsRef<str>>(table: &Table, ids: &[S]) -> Result<Vec<usize>> {
    positions("sample", table.sample_ids(), ids)
}

/// Positions of these features.
///
/// # Errors
/// An id that the table lacks; the message shows a few.
pub fn feature_positions<S: AsRef<str>>(table: &Table, ids: &[S]) -> Result<Vec<usize>> {
    positions("feature", table.feature_ids(), ids)
}

/// The table with exactly these features in this order: those that it lacks are not measured
/// (`NaN`), those not asked for are dropped.
///
/// # Errors
/// No feature in common, or an id asked for twice.
pub fn align_features(table: &Table, feature_ids: &[String]) -> Result<(Table, AlignReport)> {
    let position_of: HashMap<&str, usize> = table
        .feature_ids()
        .iter()
        .enumerate()
        .map(|(i, id)| (id.as_str(), i))
        .collect();
    let features: Vec<Option<usize>> = feature_ids
        .iter()
        .map(|id| position_of.get(id.as_str()).copied())
        .collect();
    let n_shared = features.iter().flatten().count();
    if n_shared == 0 {
        let show = |ids: &[String]| {
            ids.iter()
                .take(N_EXAMPLES)
                .map(|id| format!("{id:?}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        return Err(Error::NoSharedIds {
            what: "features of the table and features asked for",
            left: show(table.feature_ids()),
            right: show(feature_ids),
        });
    }
    let asked: HashSet<&str> = feature_ids.iter().map(String::as_str).collect();
    let missing = (feature_ids.iter().zip(&features))
        .filter(|(_, position)| position.is_none())
        .map(|(id, _)| id.clone())
        .collect();
    let dropped = table
        .feature_ids()
        .iter()
        .filter(|id| !asked.contains(id.as_str()))
        .cloned()
        .collect();
    let aligned = arrange_features(table, feature_ids.to_vec(), &features)?;
    Ok((
        aligned,
        AlignReport {
            n_shared,
            missing,
            dropped,
        },
    ))
}

/// Leaves out samples without any entry above zero; returns the ids of those left out.
///
/// # Errors
/// No sample would be left.
pub fn drop_empty_samples(table: &Table) -> Result<(Table, Vec<String>)> {
    let has_reads = |sample: &usize| table.row(*sample).1.iter().any(|value| *value > 0.0);
    let (kept, empty): (Vec<usize>, Vec<usize>) = (0..table.n_samples()).partition(has_reads);
    if kept.is_empty() {
        return Err(Error::Invalid(format!(
            "none of the {} samples has an entry above zero",
            table.n_samples()
        )));
    }
    let dropped = empty
        .iter()
        .map(|sample| table.sample_ids()[*sample].clone())
        .collect();
    Ok((take_samples(table, &kept)?, dropped))
}

/// Per feature, the fraction of its measured entries that are above zero; 0 if none was measured.
pub fn prevalence(table: &Table) -> Vec<f64> {
    let mut n_present = vec![0usize; table.n_features()];
    let mut n_measured = vec![table.n_samples(); table.n_features()];
    let (_, columns, values) = table.csr();
    for (column, value) in columns.iter().zip(values) {
        match value.is_nan() {
            true => n_measured[*column as usize] -= 1,
            false => n_present[*column as usize] += 1,
        }
    }
    let fraction =
        |(present, measured): (&usize, &usize)| *present as f64 / (*measured).max(1) as f64;
    n_present.iter().zip(&n_measured).map(fraction).collect()
}

/// Leaves out features of lower [`prevalence`] than `at_least`; returns the ids of those left out.
///
/// # Errors
/// A fraction outside 0 to 1, or no feature would be left.
pub fn keep_prevalent(table: &Table, at_least: f64) -> Result<(Table, Vec<String>)> {
    if !(0.0..=1.0).contains(&at_least) {
        return Err(Error::Invalid(format!(
            "prevalence {at_least}: must lie in 0 to 1"
        )));
    }
    let prevalence = prevalence(table);
    let (kept, rare): (Vec<usize>, Vec<usize>) =
        (0..table.n_features()).partition(|feature| prevalence[*feature] >= at_least);
    if kept.is_empty() {
        let highest = prevalence.iter().copied().fold(0.0, f64::max);
        return Err(Error::Invalid(format!(
            "no feature has a prevalence of {at_least} or more; the highest is {highest:.4}"
        )));
    }
    let dropped = rare
        .iter()
        .map(|feature| table.feature_ids()[*feature].clone())
        .collect();
    Ok((take_features(table, &kept)?, dropped))
}

/// Features by old position; `None` becomes a column that was not measured.
fn arrange_features(table: &Table, ids: Vec<String>, features: &[Option<usize>]) -> Result<Table> {
    let (indptr, indices, values) = table.csr();
    let csr = csr_features(
        Parts {
            indptr,
            indices,
            values,
        },
        features,
        table.n_features(),
    );
    let mut taken = Table::new(table.sample_ids().to_vec(), ids.clone(), csr)?;
    taken.sample_metadata = table.sample_metadata.clone();
    taken.feature_metadata = table.feature_metadata.align(&ids);
    taken.taxonomy = table
        .taxonomy
        .as_ref()
        .map(|taxonomy| taxonomy.take(features));
    taken.uns = table.uns.clone();
    taken.obsm = table.obsm.clone();
    for (name, layer) in &table.layers {
        let layer = layer_features(layer, features, table.n_features()).ok_or_else(|| {
            Error::Invalid(format!(
                "layer {name:?}: no code is left to mark entries not measured"
            ))
        })?;
        taken.layers.insert(name.clone(), layer);
    }
    Ok(taken)
}

/// Borrowed compressed rows.
struct Parts<'a> {
    indptr: &'a [usize],
    indices: &'a [u32],
    values: &'a [f64],
}

/// Rows whose columns are moved, with rising columns; `None` is filled with stored `NaN`.
fn csr_features(parts: Parts<'_>, features: &[Option<usize>], n_features: usize) -> Csr {
    let mut new_of = vec![None; n_features];
    for (new, old) in features.iter().enumerate() {
        if let Some(old) = old {
            new_of[*old] = Some(new as u32);
        }
    }
    let absent: Vec<(u32, f64)> = (features.iter().enumerate())
        .filter(|(_, old)| old.is_none())
        .map(|(new, _)| (new as u32, f64::NAN))
        .collect();
    let mut csr = Csr {
        indptr: vec![0],
        ..Csr::default()
    };
    for row in parts.indptr.windows(2) {
        let entries = parts.indices[row[0]..row[1]]
            .iter()
            .zip(&parts.values[row[0]..row[1]]);
        let mut moved: Vec<(u32, f64)> = entries
            .filter_map(|(old, value)| new_of[*old as usize].map(|new| (new, *value)))
            .chain(absent.iter().copied())
            .collect();
        moved.sort_unstable_by_key(|(column, _)| *column);
        csr.indices.extend(moved.iter().map(|(column, _)| *column));
        csr.values.extend(moved.iter().map(|(_, value)| *value));
        csr.indptr.push(csr.indices.len());
    }
    csr
}

fn layer_samples(layer: &Layer, samples: &[usize], n_features: usize) -> Layer {
    match layer {
        Layer::Dense(dense) => Layer::Dense(Dense {
            n_rows: samples.len(),
            n_columns: dense.n_columns,
            values: rows_of(&dense.values, samples, dense.n_columns),
        }),
        Layer::Sparse {
            indptr,
            indices,
            values,
        } => {
            let mut csr = Csr {
                indptr: vec![0],
                ..Csr::default()
            };
            for sample in samples {
                let range = indptr[*sample]..indptr[*sample + 1];
                csr.indices.extend_from_slice(&indices[range.clone()]);
                csr.values.extend_from_slice(&values[range]);
                csr.indptr.push(csr.indices.len());
            }
            Layer::Sparse {
                indptr: csr.indptr,
                indices: csr.indices,
                values: csr.values,
            }
        }
        Layer::Codes { codes, meanings } => Layer::Codes {
            codes: rows_of(codes, samples, n_features),
            meanings: meanings.clone(),
        },
    }
}

/// `None` if a layer of codes has no code left for "not measured".
fn layer_features(layer: &Layer, features: &[Option<usize>], n_features: usize) -> Option<Layer> {
    Some(match layer {
        Layer::Dense(dense) => Layer::Dense(Dense {
            n_rows: dense.n_rows,
            n_columns: features.len(),
            values: columns_of(&dense.values, features, n_features, f64::NAN),
        }),
        Layer::Sparse {
            indptr,
            indices,
            values,
        } => {
            let csr = csr_features(
                Parts {
                    indptr,
                    indices,
                    values,
                },
                features,
                n_features,
            );
            Layer::Sparse {
                indptr: csr.indptr,
                indices: csr.indices,
                values: csr.values,
            }
        }
        Layer::Codes { codes, meanings } => {
            let mut meanings = meanings.clone();
            let mut absent = 0;
            if features.contains(&None) {
                let known = meanings.iter().position(|meaning| meaning == NOT_MEASURED);
                absent = u8::try_from(known.unwrap_or(meanings.len())).ok()?;
                if known.is_none() {
                    meanings.push(NOT_MEASURED.to_string());
                }
            }
            Layer::Codes {
                codes: columns_of(codes, features, n_features, absent),
                meanings,
            }
        }
    })
}

fn rows_of<T: Copy>(values: &[T], rows: &[usize], n_columns: usize) -> Vec<T> {
    rows.iter()
        .flat_map(|row| &values[row * n_columns..(row + 1) * n_columns])
        .copied()
        .collect()
}

fn columns_of<T: Copy>(
    values: &[T],
    columns: &[Option<usize>],
    n_columns: usize,
    absent: T,
) -> Vec<T> {
    values
        .chunks_exact(n_columns.max(1))
        .flat_map(|row| {
            columns
                .iter()
                .map(|column| column.map_or(absent, |column| row[column]))
        })
        .collect()
}

fn positions<S: AsRef<str>>(axis: &str, known: &[String], ids: &[S]) -> Result<Vec<usize>> {
    let position_of: HashMap<&str, usize> = known
        .iter()
        .enumerate()
        .map(|(position, id)| (id.as_str(), position))
        .collect();
    let unknown: Vec<&str> = ids
        .iter()
        .map(AsRef::as_ref)
        .filter(|id| !position_of.contains_key(id))
        .collect();
    if !unknown.is_empty() {
        return Err(Error::Invalid(format!(
            "{} of {} {axis} ids are not in the table, such as {:?}; the table has such as {:?}",
            unknown.len(),
            ids.len(),
            &unknown[..unknown.len().min(N_EXAMPLES)],
            &known[..known.len().min(N_EXAMPLES)],
        )));
    }
    Ok(ids.iter().map(|id| position_of[id.as_ref()]).collect())
}

fn check_positions(what: &str, positions: impl Iterator<Item = usize>, n: usize) -> Result<()> {
    match positions.into_iter().find(|position| *position >= n) {
        Some(position) => Err(Error::Invalid(format!(
            "position {position} in a table of {n} {what}"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Column, ColumnValues, Taxonomy};

    fn ids(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    /// 3 x 3 with every kind of belonging.
    fn full() -> Table {
        let dense = [1.0, 0.0, 3.0, 0.0, 0.0, f64::NAN, 7.0, 8.0, 0.0];
        let mut table =
            Table::from_dense(ids(&["a", "b", "c"]), ids(&["x", "y", "z"]), &dense).unwrap();
        let column = |name: &str, values| Column {
            name: name.into(),
            values: ColumnValues::Numeric(values),
        };
        table
            .sample_metadata
            .set_column(column("age", vec![1.0, 2.0, 3.0]))
            .unwrap();
        table
            .feature_metadata
            .set_column(column("length", vec![10.0, 20.0, 30.0]))
            .unwrap();
        table.taxonomy = Some(Taxonomy::parse(&["k__X", "k__Y", "k__Z"]));
        let grid: Vec<f64> = (0..9).map(f64::from).collect();
        table.layers.insert(
            "d".into(),
            Layer::Dense(Dense {
                n_rows: 3,
                n_columns: 3,
                values: grid,
            }),
        );
        table.layers.insert(
            "s".into(),
            Layer::Sparse {
                indptr: vec![0, 1, 1, 3],
                indices: vec![2, 0, 1],
                values: vec![3.0, 7.0, 8.0],
            },
        );
        table.layers.insert(
            "c".into(),
            Layer::Codes {
                codes: (0..9).collect(),
                meanings: ids(&["m"; 9]),
            },
        );
        table.obsm.insert(
            "p".into(),
            Dense {
                n_rows: 3,
                n_columns: 1,
                values: vec![5.0, 6.0, 7.0],
            },
        );
        table
    }

    #[test]
    fn samples_and_features_take_all_their_belongings_along() {
        let t = take_samples(&full(), &[2, 0]).unwrap();
        let t = take_features(&t, &[2, 0]).unwrap();
        assert_eq!(t.to_dense(), [0.0, 7.0, 3.0, 1.0]);
        assert_eq!(
            (t.sample_ids(), t.feature_ids()),
            (&ids(&["c", "a"])[..], &ids(&["z", "x"])[..])
        );
        assert_eq!(
            t.sample_metadata.column("age").unwrap().values,
            ColumnValues::Numeric(vec![3.0, 1.0])
        );
        assert_eq!(
            t.feature_metadata.column("length").unwrap().values,
            ColumnValues::Numeric(vec![30.0, 10.0])
        );
        assert_eq!(t.taxonomy.unwrap().lineages, [["Z"], ["X"]]);
        assert!(matches!(&t.layers["d"], Layer::Dense(d) if d.values == [8.0, 6.0, 2.0, 0.0]));
        assert!(
            matches!(&t.layers["s"], Layer::Sparse { indptr, indices, values }
            if *indptr == [0, 1, 2] && *indices == [1, 0] && *values == [7.0, 3.0])
        );
        assert!(matches!(&t.layers["c"], Layer::Codes { codes, .. } if *codes == [8, 6, 2, 0]));
        assert_eq!(t.obsm["p"].values, [7.0, 5.0]);
    }

    #[test]
    fn aligned_features_that_are_missing_are_not_measured_rather_than_zero() {
        let (t, report) = align_features(&full(), &ids(&["y", "new", "x"])).unwrap();
        assert_eq!(
            report,
            AlignReport {
                n_shared: 2,
                missing: ids(&["new"]),
                dropped: ids(&["z"])
            }
        );
        assert_eq!(t.feature_ids(), ids(&["y", "new", "x"]));
        assert!((0..3).all(|sample| t.get(sample, 1).is_nan()));
        assert_eq!((t.get(0, 0), t.get(2, 0), t.get(0, 2)), (0.0, 8.0, 1.0));
        assert_eq!(t.taxonomy.unwrap().lineages[1], [""]);
        let Layer::Codes { codes, meanings } = &t.layers["c"] else {
            panic!()
        };
        assert_eq!((codes[1], meanings[9].as_str()), (9, "not measured"));
        let m = align_features(&full(), &ids(&["q"]))
            .unwrap_err()
            .to_string();
        assert!(
            m.contains("\"x\", \"y\", \"z\"") && m.contains("\"q\""),
            "{m}"
        );
    }

    #[test]
    fn empty_samples_and_rare_features_are_dropped_with_a_report() {
        let (t, dropped) = drop_empty_samples(&full()).unwrap();
        assert_eq!(
            (t.sample_ids(), dropped),
            (&ids(&["a", "c"])[..], ids(&["b"]))
        );
        // x in 2 of 3 samples, y in 1 of 3, z in 1 of the 2 that measured it.
        assert_eq!(prevalence(&full()), [2.0 / 3.0, 1.0 / 3.0, 0.5]);
        let (t, dropped) = keep_prevalent(&full(), 0.5).unwrap();
        assert_eq!(
            (t.feature_ids(), dropped),
            (&ids(&["x", "z"])[..], ids(&["y"]))
        );
        assert!(
            keep_prevalent(&full(), 0.9)
                .unwrap_err()
                .to_string()
                .contains("0.6667")
        );
        assert!(keep_prevalent(&full(), 1.5).is_err());
        let zero = Table::from_dense(ids(&["a"]), ids(&["x"]), &[0.0]).unwrap();
        assert!(drop_empty_samples(&zero).is_err());
    }

    #[test]
    fn unknown_repeated_and_misplaced_choices_are_refused() {
        assert_eq!(sample_positions(&full(), &["c", "a"]).unwrap(), [2, 0]);
        let m = feature_positions(&full(), &["x", "nope"])
            .unwrap_err()
            .to_string();
        assert!(
            m.contains("1 of 2 feature ids") && m.contains("nope"),
            "{m}"
        );
        assert!(take_samples(&full(), &[3]).is_err() && take_features(&full(), &[0, 0]).is_err());
    }
}

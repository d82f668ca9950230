//! Compressed sparse matrices as HDF5 formats store them: `data`, `indices`, `indptr`.

use super::hdf5::{Element, H5Group, Numbers, OutGroup, Spool};
use crate::{Csr, Result};

/// Reads a matrix of `n_major` compressed rows whose entries lie in `0..n_minor`.
///
/// Rows come out with rising indices. Every part is checked against the others first.
///
/// # Errors
/// A missing part, lengths that do not fit, row starts that fall, or an index out of range.
pub(crate) fn read(group: &H5Group, n_major: usize, n_minor: usize) -> Result<Csr> {
    let starts = group.dataset("indptr")?;
    if starts.len() != n_major + 1 {
        return Err(starts.bad(
            format!("{} row starts", starts.len()),
            format!("{} (one per row, and the end)", n_major + 1),
        ));
    }
    let data = group.dataset("data")?;
    let positions = group.dataset("indices")?;
    if data.len() != positions.len() {
        return Err(positions.bad(
            format!("{} indices", positions.len()),
            format!("{}, as many as there are values in data", data.len()),
        ));
    }
    let mut indptr = Vec::with_capacity(n_major + 1);
    let mut last = 0;
    for start in starts.integers()? {
        let start = usize::try_from(start)
            .ok()
            .filter(|start| *start >= last && *start <= data.len());
        let Some(start) = start else {
            return Err(starts.bad(
                format!(
                    "row starts that fall or pass the {} stored values",
                    data.len()
                ),
                "row starts that rise from 0 to the number of values",
            ));
        };
        indptr.push(start);
        last = start;
    }
    if indptr[0] != 0 || last != data.len() {
        return Err(starts.bad(
            format!("row starts from {} to {last}", indptr[0]),
            format!("row starts from 0 to {}, the number of values", data.len()),
        ));
    }
    let mut indices = Vec::with_capacity(data.len());
    for index in positions.integers()? {
        match u32::try_from(index)
            .ok()
            .filter(|index| (*index as usize) < n_minor)
        {
            Some(index) => indices.push(index),
            None => {
                return Err(
                    positions.bad(format!("index {index}"), format!("indices in 0..{n_minor}"))
                );
            }
        }
    }
    let mut csr = Csr {
        indptr,
        indices,
        values: data.numbers()?,
    };
    sort_rows(&mut csr);
    Ok(csr)
}

/// Writes the three parts; `indptr` and `indices` as 32-bit numbers, 64-bit where they do not fit.
pub(crate) fn write(group: &mut OutGroup, indptr: &[usize], indices: &[u32], values: &[f64]) {
    group.numbers("data", &[values.len()], Numbers::F64(values));
    // Every reader wants both index arrays in one width.
    let n_stored = indices.len();
    let widest = indices
        .iter()
        .max()
        .map_or(0, |index| *index as usize)
        .max(n_stored);
    if i32::try_from(widest).is_ok() {
        let starts: Vec<i32> = indptr.iter().map(|start| *start as i32).collect();
        let indices: Vec<i32> = indices.iter().map(|index| *index as i32).collect();
        group.numbers("indices", &[n_stored], Numbers::I32(&indices));
        group.numbers("indptr", &[starts.len()], Numbers::I32(&starts));
    } else {
        let starts: Vec<i64> = indptr.iter().map(|start| *start as i64).collect();
        let indices: Vec<i64> = indices.iter().map(|index| i64::from(*index)).collect();
        group.numbers("indices", &[n_stored], Numbers::I64(&indices));
        group.numbers("indptr", &[starts.len()], Numbers::I64(&starts));
    }
}

/// Writes the three parts of which columns and values were put aside; `indptr` is as wide as they are.
/// Returns the name and length of what is to be taken up, see [`OutGroup::spooled`].
pub(crate) fn write_spooled(
    group: &mut OutGroup,
    indptr: &[usize],
    [indices, values]: [Spool; 2],
) -> [(&'static str, usize, Spool); 2] {
    let n_stored = indptr.last().copied().unwrap_or(0);
    group.spooled("data", &[n_stored], &values);
    group.spooled("indices", &[n_stored], &indices);
    if indices.element() == Element::I32 {
        let starts: Vec<i32> = indptr.iter().map(|start| *start as i32).collect();
        group.numbers("indptr", &[starts.len()], Numbers::I32(&starts));
    } else {
        let starts: Vec<i64> = indptr.iter().map(|start| *start as i64).collect();
        group.numbers("indptr", &[starts.len()], Numbers::I64(&starts));
    }
    [("data", n_stored, values), ("indices", n_stored, indices)]
}

/// Turns `n_major` compressed rows into `n_minor` compressed columns of the same matrix.
pub(crate) fn transpose(csr: &Csr, n_minor: usize) -> Csr {
    let mut indptr = vec![0usize; n_minor + 1];
    for index in &csr.indices {
        indptr[*index as usize + 1] += 1;
    }
    for column in 0..n_minor {
        indptr[column + 1] += indptr[column];
    }
    let mut next = indptr.clone();
    let mut indices = vec![0u32; csr.indices.len()];
    let mut values = vec![0.0; csr.values.len()];
    for row in 0..csr.indptr.len().saturating_sub(1) {
        for position in csr.indptr[row]..csr.indptr[row + 1] {
            let slot = &mut next[csr.indices[position] as usize];
            indices[*slot] = row as u32;
            values[*slot] = csr.values[position];
            *slot += 1;
        }
    }
    Csr {
        indptr,
        indices,
        values,
    }
}

/// Puts the entries of each row in the order of their indices.
fn sort_rows(csr: &mut Csr) {
    for row in 0..csr.indptr.len() - 1 {
        let range = csr.indptr[row]..csr.indptr[row + 1];
        if csr.indices[range.clone()].is_sorted() {
            continue;
        }
        let mut entries: Vec<(u32, f64)> = csr.indices[range.clone()]
            .iter()
            .copied()
            .zip(csr.values[range.clone()].iter().copied())
            .collect();
        entries.sort_by_key(|(index, _)| *index);
        for (position, (index, value)) in range.zip(entries) {
            csr.indices[position] = index;
            csr.values[position] = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_turns_rows_into_columns_and_back() {
        // [[1, 0, 2], [0, 0, 3]] by hand.
        let csr = Csr {
            indptr: vec![0, 2, 3],
            indices: vec![0, 2, 2],
            values: vec![1.0, 2.0, 3.0],
        };
        let columns = transpose(&csr, 3);
        assert_eq!(columns.indptr, [0, 1, 1, 3]);
        assert_eq!(columns.indices, [0, 0, 1]);
        assert_eq!(columns.values, [1.0, 2.0, 3.0]);
        assert_eq!(transpose(&columns, 2), csr);
    }

    #[test]
    fn unsorted_rows_are_sorted_with_their_values() {
        let mut csr = Csr {
            indptr: vec![0, 3],
            indices: vec![2, 0, 1],
            values: vec![2.5, 0.5, 1.5],
        };
        sort_rows(&mut csr);
        assert_eq!(csr.indices, [0, 1, 2]);
        assert_eq!(csr.values, [0.5, 1.5, 2.5]);
    }
}

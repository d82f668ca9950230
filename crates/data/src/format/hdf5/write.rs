//! A tree of groups and datasets to be written as an HDF5 file.

use super::graft::{self, Graft};
use super::spool::Spool;
use hdf5_pure::make_i8_type;
use hdf5_pure::{AttrValue, DatasetBuilder, EnumTypeBuilder, FileBuilder, GroupBuilder};
use std::io::Write;

/// Deflate level: the default of h5py and anndata.
pub(super) const DEFLATE_LEVEL: u32 = 4;

/// Elements per compressed chunk; small enough to read a part, large enough to compress.
///
/// An edge of 65536 or more must not occur: hdf5-pure 0.47 stores it in 4 bytes, while libhdf5
/// demands the fewest that hold it (3) and refuses the file.
pub(super) const CHUNK_ELEMENTS: usize = 1 << 15;

/// Datasets under this size stay in one uncompressed piece.
const MIN_COMPRESSED_ELEMENTS: usize = 128;

/// The file being built.
pub(crate) struct OutFile {
    builder: FileBuilder,
}

/// A group being built.
pub(crate) struct OutGroup {
    builder: GroupBuilder,
}

/// A dataset being built, open for attributes.
pub(crate) struct OutDataset<'a> {
    builder: &'a mut DatasetBuilder,
}

/// The value of an attribute.
pub(crate) enum Attr<'a> {
    /// One text.
    Text(&'a str),
    /// A list of texts.
    Texts(&'a [String]),
    /// One whole number.
    Integer(i64),
    /// A list of whole numbers.
    Integers(&'a [i64]),
}

/// Elements of a numeric dataset, row after row.
pub(crate) enum Numbers<'a> {
    F64(&'a [f64]),
    I64(&'a [i64]),
    I32(&'a [i32]),
    U8(&'a [u8]),
    Boolean(&'a [bool]),
}

impl OutFile {
    /// An empty file.
    pub(crate) fn new() -> Self {
        OutFile {
            builder: FileBuilder::new(),
        }
    }

    /// Sets an attribute of the top group.
    pub(crate) fn attr(&mut self, name: &str, value: Attr<'_>) {
        self.builder.set_attr(name, value.encode());
    }

    /// Adds a finished group at the top.
    pub(crate) fn add(&mut self, group: OutGroup) {
        self.builder.add_group(group.builder.finish());
    }

    /// Writes all of it, front to back.
    ///
    /// # Errors
    /// What the sink says, or content that HDF5 cannot hold, as an `io::Error`.
    pub(crate) fn finish(self, sink: &mut dyn Write) -> std::io::Result<()> {
        self.builder.finish_to(sink).map_err(io_error)
    }

    /// The same with datasets that were put aside.
    ///
    /// # Errors
    /// As [`OutFile::finish`].
    pub(crate) fn finish_with(
        self,
        mut grafts: Vec<Graft>,
        sink: &mut dyn Write,
    ) -> std::io::Result<()> {
        grafts.retain(|graft| graft.spool.only_chunk().is_none());
        if grafts.is_empty() {
            return self.finish(sink);
        }
        graft::write(self.builder.finish().map_err(io_error)?, grafts, sink)
    }
}

fn io_error(error: hdf5_pure::Error) -> std::io::Error {
    match error {
        hdf5_pure::Error::Io(source) => source,
        error => std::io::Error::other(error.to_string()),
    }
}

impl OutGroup {
    /// An empty group.
    pub(crate) fn new(name: &str) -> Self {
        // A group builder is only handed out by a file builder; the name is all that it keeps.
        OutGroup {
            builder: FileBuilder::new().create_group(name),
        }
    }

    /// Sets an attribute.
    pub(crate) fn attr(&mut self, name: &str, value: Attr<'_>) {
        self.builder.set_attr(name, value.encode());
    }

    /// Adds a finished group.
    pub(crate) fn add(&mut self, group: OutGroup) {
        self.builder.add_group(group.builder.finish());
    }

    /// Adds a numeric dataset; `shape` is empty for a scalar. Larger ones are compressed.
    pub(crate) fn numbers(
        &mut self,
        name: &str,
        shape: &[usize],
        numbers: Numbers<'_>,
    ) -> OutDataset<'_> {
        let dataset = self.builder.create_dataset(name);
        match numbers {
            Numbers::F64(values) => dataset.with_f64_data(values),
            Numbers::I64(values) => dataset.with_i64_data(values),
            Numbers::I32(values) => dataset.with_i32_data(values),
            Numbers::U8(values) => dataset.with_u8_data(values),
            Numbers::Boolean(values) => {
                let datatype = EnumTypeBuilder::with_base(make_i8_type())
                    .value("FALSE", 0)
                    .value("TRUE", 1)
                    .build()
                    .expect("0 and 1 fit in one byte");
                let bytes: Vec<u8> = values.iter().map(|value| u8::from(*value)).collect();
                dataset.with_enum_u8_data(datatype, &bytes)
            }
        };
        lay_out(dataset, shape);
        OutDataset { builder: dataset }
    }

    /// Adds a dataset that was put aside; one of several chunks stands as an example, until
    /// [`OutFile::finish_with`] takes it up.
    pub(crate) fn spooled(&mut self, name: &str, shape: &[usize], spool: &Spool) -> OutDataset<'_> {
        let dataset = self.builder.create_dataset(name);
        let datatype = spool.element().datatype();
        if let Some(bytes) = spool.only_chunk() {
            let n = shape.iter().product::<usize>() as u64;
            dataset.with_raw_data(datatype, bytes.to_vec(), n);
            lay_out(dataset, shape);
        } else {
            let mut example: Vec<u64> = shape.iter().map(|edge| *edge as u64).collect();
            example[0] = 2 * spool.chunk()[0];
            let n = example.iter().product::<u64>();
            let zeros = vec![0; n as usize * spool.element().size()];
            dataset
                .with_raw_data(datatype, zeros, n)
                .with_shape(&example);
            compress(dataset, spool.chunk());
        }
        OutDataset { builder: dataset }
    }

    /// Adds a dataset of variable-length UTF-8 text; `shape` is empty for a scalar.
    pub(crate) fn texts(&mut self, name: &str, shape: &[usize], texts: &[&str]) -> OutDataset<'_> {
        let dims: Vec<u64> = shape.iter().map(|edge| *edge as u64).collect();
        let dataset = self.builder.create_dataset(name);
        dataset.with_vlen_strings(texts).with_shape(&dims);
        OutDataset { builder: dataset }
    }
}

impl OutDataset<'_> {
    /// Sets an attribute.
    pub(crate) fn attr(self, name: &str, value: Attr<'_>) -> Self {
        self.builder.set_attr(name, value.encode());
        self
    }
}

impl Attr<'_> {
    fn encode(self) -> AttrValue {
        match self {
            Attr::Text(text) => AttrValue::VarLenString(text.to_string()),
            Attr::Texts(texts) => AttrValue::VarLenStringArray(texts.to_vec()),
            Attr::Integer(value) => AttrValue::I64(value),
            Attr::Integers(values) => AttrValue::I64Array(values.to_vec()),
        }
    }
}

fn lay_out(dataset: &mut DatasetBuilder, shape: &[usize]) {
    let dims: Vec<u64> = shape.iter().map(|edge| *edge as u64).collect();
    dataset.with_shape(&dims);
    if !shape.is_empty() && shape.iter().product::<usize>() >= MIN_COMPRESSED_ELEMENTS {
        compress(dataset, &chunk_shape(shape));
    }
}

fn compress(dataset: &mut DatasetBuilder, chunk: &[u64]) {
    dataset
        .with_chunks(chunk)
        .with_shuffle()
        .with_deflate(DEFLATE_LEVEL);
}

/// Whole rows, as many as make up [`CHUNK_ELEMENTS`]; a longer row is cut.
pub(super) fn chunk_shape(shape: &[usize]) -> Vec<u64> {
    let mut room = CHUNK_ELEMENTS;
    let mut chunk = vec![1u64; shape.len()];
    for (axis, edge) in shape.iter().enumerate().rev() {
        let length = (*edge).min(room).max(1);
        chunk[axis] = length as u64;
        room = (room / length).max(1);
    }
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_whole_rows_and_no_edge_needs_three_bytes() {
        assert_eq!(chunk_shape(&[5145, 500]), [65, 500]);
        assert_eq!(chunk_shape(&[10, 1_000_000]), [1, 32_768]);
        assert_eq!(chunk_shape(&[3, 0]), [3, 1]);
        for shape in [
            vec![1 << 40],
            vec![1 << 20, 1 << 20],
            vec![70_000, 1],
            vec![1, 70_000],
        ] {
            assert!(
                chunk_shape(&shape).iter().all(|edge| *edge < 65_536),
                "{shape:?}"
            );
        }
    }
}

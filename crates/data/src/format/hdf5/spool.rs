//! A numeric dataset put aside in chunks while its elements come in, so that it never stands in
//! memory as a whole.
//!
//! Chunks are compressed as they fill up and wait in a file that is gone when the program
//! ends, however it ends. The file of the table takes them up in the end, see
//! [`super::graft`].

use super::write::{CHUNK_ELEMENTS, DEFLATE_LEVEL, chunk_shape};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use hdf5_pure::{Datatype, make_f64_type, make_i32_type, make_i64_type, make_u8_type};
use std::fs::File;
use std::io::{BufWriter, Read, Seek, Write};
use std::path::Path;

/// Type of the elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    F64,
    I64,
    I32,
    U8,
}

/// The chunks so far.
#[derive(Debug)]
pub(crate) struct Spool {
    element: Element,
    /// Elements per chunk along each axis.
    chunk: Vec<u64>,
    /// Compressed chunks, one after the other.
    file: BufWriter<File>,
    /// Compressed bytes of each chunk.
    sizes: Vec<u64>,
    /// What does not fill a chunk, or fills the last one.
    rest: Vec<u8>,
}

impl Element {
    /// Bytes of an element.
    pub(crate) fn size(self) -> usize {
        match self {
            Element::F64 | Element::I64 => 8,
            Element::I32 => 4,
            Element::U8 => 1,
        }
    }

    pub(super) fn datatype(self) -> Datatype {
        match self {
            Element::F64 => make_f64_type(),
            Element::I64 => make_i64_type(),
            Element::I32 => make_i32_type(),
            Element::U8 => make_u8_type(),
        }
    }
}

impl Spool {
    /// No elements yet of a list of any length, put aside in `folder`.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub(crate) fn list(folder: &Path, element: Element) -> std::io::Result<Spool> {
        Spool::new(folder, element, vec![CHUNK_ELEMENTS as u64])
    }

    /// No rows yet of a matrix of this shape, put aside in `folder`.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub(crate) fn matrix(
        folder: &Path,
        element: Element,
        shape: [usize; 2],
    ) -> std::io::Result<Spool> {
        Spool::new(folder, element, chunk_shape(&shape))
    }

    fn new(folder: &Path, element: Element, chunk: Vec<u64>) -> std::io::Result<Spool> {
        Ok(Spool {
            element,
            chunk,
            file: BufWriter::new(tempfile::tempfile_in(folder)?),
            sizes: Vec::new(),
            rest: Vec::new(),
        })
    }

    /// Adds a row of a matrix; the last chunk of a row that is cut is filled up.
    ///
    /// # Errors
    /// No room left to put it aside.
    pub(crate) fn push_row(&mut self, bytes: impl Iterator<Item = u8>) -> std::io::Result<()> {
        let start = self.rest.len();
        self.rest.extend(bytes);
        let width = self.chunk[1] as usize * self.element.size();
        let row = self.rest.len() - start;
        if row > width {
            self.rest.resize(start + row.next_multiple_of(width), 0);
        }
        self.put_aside()
    }

    /// Adds elements of a list.
    ///
    /// # Errors
    /// No room left to put them aside.
    pub(crate) fn push(&mut self, bytes: impl Iterator<Item = u8>) -> std::io::Result<()> {
        self.rest.extend(bytes);
        self.put_aside()
    }

    /// Compresses the full chunks. One that is just full stays, since it may be all there is.
    fn put_aside(&mut self) -> std::io::Result<()> {
        let n_bytes = self.chunk_bytes();
        let n_full = self.rest.len().saturating_sub(1) / n_bytes;
        for chunk in self.rest[..n_full * n_bytes].chunks_exact(n_bytes) {
            let chunk = compress(chunk, self.element.size())?;
            self.file.write_all(&chunk)?;
            self.sizes.push(chunk.len() as u64);
        }
        self.rest.drain(..n_full * n_bytes);
        Ok(())
    }

    fn chunk_bytes(&self) -> usize {
        self.chunk.iter().product::<u64>() as usize * self.element.size()
    }

    /// Type of its elements.
    pub(crate) fn element(&self) -> Element {
        self.element
    }

    pub(super) fn chunk(&self) -> &[u64] {
        &self.chunk
    }

    /// All elements where they fit in one chunk, which then is not put aside.
    pub(super) fn only_chunk(&self) -> Option<&[u8]> {
        self.sizes.is_empty().then_some(&self.rest)
    }

    /// Compresses the last chunk, filled up; returns the compressed bytes of each and all of them.
    pub(super) fn finish(mut self) -> std::io::Result<(Vec<u64>, impl Read)> {
        self.rest.resize(self.chunk_bytes(), 0);
        let last = compress(&self.rest, self.element.size())?;
        self.file.write_all(&last)?;
        self.sizes.push(last.len() as u64);
        let mut file = self.file.into_inner().map_err(|error| error.into_error())?;
        file.rewind()?;
        Ok((self.sizes, file))
    }
}

/// The filters that [`super::write`] sets on a dataset: bytes of one rank together, then deflate.
fn compress(chunk: &[u8], element_size: usize) -> std::io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(DEFLATE_LEVEL));
    for rank in 0..element_size {
        let bytes: Vec<u8> = chunk
            .iter()
            .skip(rank)
            .step_by(element_size)
            .copied()
            .collect();
        encoder.write_all(&bytes)?;
    }
    encoder.finish()
}

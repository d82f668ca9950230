//! Joins datasets that were put aside in chunks to a file that holds an example of each.
//!
//! The HDF5 library takes a dataset in memory only. So the file is written with two chunks of zeros in
//! the place of each large dataset, then the chunks and a new index of them are appended, and three
//! numbers are corrected: the length in the dataset's header, the place of the index, and the end of
//! the file. The layout of these structures is that of the
//! [file format specification](https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html),
//! version 3: superblock (II.A), object header 2 (IV.A.1.b), fixed array index (VII.C).

use super::spool::Spool;
use hdf5_pure::File;
use std::io::{Error, Result, Write};
use std::ops::Range;

/// A dataset that was put aside.
pub(crate) struct Graft {
    /// Where the file holds the example.
    pub(crate) path: String,
    /// Rows of a matrix, elements of a list.
    pub(crate) length: usize,
    /// Its chunks.
    pub(crate) spool: Spool,
}

const HEADER: &[u8] = b"OHDR";
const DATASPACE: u8 = 1;
const LAYOUT: u8 = 8;
/// Layout class of data in chunks.
const CHUNKED: u8 = 2;
/// Where the superblock holds the end of the file, and its checksum.
const END_OF_FILE: Range<usize> = 28..36;
const SUPERBLOCK_CHECKSUM: usize = 44;

/// Writes `file`, which holds examples, with the datasets in their places.
///
/// # Errors
/// What the sink says; a structure that is not as the library was seen to write it.
pub(crate) fn write(file: Vec<u8>, grafts: Vec<Graft>, sink: &mut dyn Write) -> Result<()> {
    let file = File::from_bytes(file).map_err(Error::other)?;
    let mut places = Vec::new();
    for graft in &grafts {
        places.push(example_index(&file, &graft.path)?);
    }
    let mut bytes = file.as_bytes().to_vec();
    drop(file);
    let mut parts = Vec::new();
    let mut end = bytes.len() as u64;
    for (graft, example) in grafts.into_iter().zip(places) {
        let (sizes, chunks) = graft.spool.finish()?;
        let first = end;
        end += sizes.iter().sum::<u64>();
        let index = index(&bytes, example, end, first, &sizes)?;
        correct_header(&mut bytes, example, end, graft.length as u64)?;
        end += index.len() as u64;
        parts.push((chunks, index));
    }
    if bytes.get(8).is_none_or(|version| *version < 2) {
        return Err(unexpected("superblock"));
    }
    bytes[END_OF_FILE].copy_from_slice(&end.to_le_bytes());
    set_checksum(&mut bytes, 0..SUPERBLOCK_CHECKSUM);
    sink.write_all(&bytes)?;
    for (mut chunks, index) in parts {
        std::io::copy(&mut chunks, sink)?;
        sink.write_all(&index)?;
    }
    Ok(())
}

fn unexpected(what: &str) -> Error {
    Error::other(format!("the HDF5 library wrote an unknown form of {what}"))
}

/// Where the index of an example stands: behind its last chunk.
fn example_index(file: &File, path: &str) -> Result<usize> {
    let chunks = file
        .dataset(path)
        .and_then(|dataset| dataset.chunks())
        .map_err(Error::other)?;
    let ends = chunks
        .iter()
        .map(|chunk| chunk.address + chunk.storage_size);
    let end = ends.max().ok_or_else(|| unexpected("chunks"))? as usize;
    match file.as_bytes().get(end..end + 4) {
        Some(b"FAHD") => Ok(end),
        _ => Err(unexpected("chunk index")),
    }
}

/// A fixed array that stands at `at`, of chunks that stand from `first` on.
fn index(bytes: &[u8], example: usize, at: u64, first: u64, sizes: &[u64]) -> Result<Vec<u8>> {
    let (entry_size, page_bits) = (usize::from(bytes[example + 6]), bytes[example + 7]);
    let size_width = entry_size
        .checked_sub(12) // 8 bytes of address, 4 of filter mask
        .filter(|width| (1..=8).contains(width))
        .ok_or_else(|| unexpected("chunk index"))?;
    let mut array = bytes[example..example + 8].to_vec(); // signature, version, kind, sizes
    array.extend((sizes.len() as u64).to_le_bytes());
    let block = at + 28;
    array.extend(block.to_le_bytes());
    push_checksum(&mut array, 0);

    let start = array.len();
    array.extend(b"FADB");
    array.extend(&bytes[example + 4..example + 6]); // version, kind
    array.extend(at.to_le_bytes());
    let page = 1 << page_bits;
    let n_pages = sizes.len().div_ceil(page);
    if n_pages > 1 {
        let mut is_written = vec![0u8; n_pages.div_ceil(8)];
        (0..n_pages).for_each(|page| is_written[page / 8] |= 0x80 >> (page % 8));
        array.extend(is_written);
        push_checksum(&mut array, start);
    }
    let mut address = first;
    for sizes in sizes.chunks(page) {
        let page_start = match n_pages {
            1 => start,
            _ => array.len(),
        };
        for size in sizes {
            array.extend(address.to_le_bytes());
            array.extend(&size.to_le_bytes()[..size_width]);
            array.extend([0; 4]); // every filter was applied
            address += size;
        }
        push_checksum(&mut array, page_start);
    }
    Ok(array)
}

/// Sets the index and the length in the header of the dataset whose index is `example`.
fn correct_header(bytes: &mut [u8], example: usize, index: u64, length: u64) -> Result<()> {
    let wanted = (example as u64).to_le_bytes();
    let mut from = 0;
    while let Some(found) = bytes[from..].windows(4).position(|w| w == HEADER) {
        let start = from + found;
        from = start + HEADER.len();
        let Some((messages, end)) = messages(bytes, start) else {
            continue;
        };
        let of_kind = |kind| messages.iter().find(|m| m.0 == kind).map(|m| m.1.clone());
        let (Some(space), Some(layout)) = (of_kind(DATASPACE), of_kind(LAYOUT)) else {
            continue;
        };
        // Chunked data end with the address of their index; contiguous data with a size, which may
        // happen to be the same number.
        let is_chunked = bytes.get(layout.start + 1) == Some(&CHUNKED);
        if !is_chunked || !bytes[layout.clone()].ends_with(&wanted) {
            continue;
        }
        // Version 2, and no largest extents behind the extents.
        if bytes[space.start] != 2 || bytes[space.start + 2] != 0 {
            return Err(unexpected("dataspace"));
        }
        bytes[layout.end - 8..layout.end].copy_from_slice(&index.to_le_bytes());
        bytes[space.start + 4..space.start + 12].copy_from_slice(&length.to_le_bytes());
        set_checksum(bytes, start..end);
        return Ok(());
    }
    Err(unexpected("dataset header"))
}

/// Kind and place of the messages of the object header at `start`, and where its checksum stands;
/// `None` where no header is, or one of another form.
#[expect(clippy::type_complexity, reason = "one caller takes it apart at once")]
fn messages(bytes: &[u8], start: usize) -> Option<(Vec<(u8, Range<usize>)>, usize)> {
    let flags = *bytes.get(start + 5)?;
    if *bytes.get(start + 4)? != 2 || flags & !0b11 != 0 {
        return None;
    }
    let width = 1 << flags;
    let mut size = [0; 8];
    size[..width].copy_from_slice(bytes.get(start + 6..start + 6 + width)?);
    let mut at = start + 6 + width;
    let end = at.checked_add(usize::try_from(u64::from_le_bytes(size)).ok()?)?;
    let checksum = bytes.get(end..end.checked_add(4)?)?;
    if checksum != lookup3(&bytes[start..end]).to_le_bytes() {
        return None;
    }
    let mut messages = Vec::new();
    while at + 4 <= end {
        let size = usize::from(u16::from_le_bytes([bytes[at + 1], bytes[at + 2]]));
        let place = at + 4..at + 4 + size;
        messages.push((bytes[at], place.clone()));
        at = place.end;
    }
    Some((messages, end))
}

fn push_checksum(bytes: &mut Vec<u8>, start: usize) {
    let checksum = lookup3(&bytes[start..]);
    bytes.extend(checksum.to_le_bytes());
}

fn set_checksum(bytes: &mut [u8], of: Range<usize>) {
    let checksum = lookup3(&bytes[of.clone()]);
    bytes[of.end..of.end + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// The checksum of HDF5's metadata: Bob Jenkins' `hashlittle` of lookup3.c, from 0.
fn lookup3(bytes: &[u8]) -> u32 {
    let [mut a, mut b, mut c] = [0xdead_beef_u32.wrapping_add(bytes.len() as u32); 3];
    let n_words = bytes.len().div_ceil(12);
    for (i, block) in bytes.chunks(12).enumerate() {
        let word = |n: usize| {
            let bytes = block.iter().skip(4 * n).take(4).rev();
            bytes.fold(0, |word, byte| (word << 8) | u32::from(*byte))
        };
        a = a.wrapping_add(word(0));
        b = b.wrapping_add(word(1));
        c = c.wrapping_add(word(2));
        if i + 1 < n_words {
            for (shift_a, shift_b, shift_c) in [(4, 6, 8), (16, 19, 4)] {
                a = a.wrapping_sub(c) ^ c.rotate_left(shift_a);
                c = c.wrapping_add(b);
                b = b.wrapping_sub(a) ^ a.rotate_left(shift_b);
                a = a.wrapping_add(c);
                c = c.wrapping_sub(b) ^ b.rotate_left(shift_c);
                b = b.wrapping_add(a);
            }
        } else {
            c = (c ^ b).wrapping_sub(b.rotate_left(14));
            a = (a ^ c).wrapping_sub(c.rotate_left(11));
            b = (b ^ a).wrapping_sub(a.rotate_left(25));
            c = (c ^ b).wrapping_sub(b.rotate_left(16));
            a = (a ^ c).wrapping_sub(c.rotate_left(4));
            b = (b ^ a).wrapping_sub(a.rotate_left(14));
            c = (c ^ b).wrapping_sub(b.rotate_left(24));
        }
    }
    c
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_lookup3_c() {
        // The driver of Bob Jenkins' lookup3.c prints these for `hashlittle(text, length, 0)`.
        assert_eq!(lookup3(b""), 0xdead_beef);
        assert_eq!(lookup3(b"Four score and seven years ago"), 0x1777_0551);
    }
}

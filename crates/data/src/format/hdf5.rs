//! A thin layer over the HDF5 library, so that the formats above do not depend on which it is.
//!
//! Reading never trusts a declared size: [`H5Dataset`] compares it with what the file can hold
//! before anything is allocated. Writing builds a tree in memory and streams it out;
//! what would not fit is put aside in chunks first.

mod graft;
mod read;
mod spool;
mod write;

pub(crate) use graft::Graft;
pub(crate) use read::{H5Dataset, H5File, H5Group, Kind};
pub(crate) use spool::{Element, Spool};
pub(crate) use write::{Attr, Numbers, OutDataset, OutFile, OutGroup};

/// First bytes of an HDF5 file.
pub(crate) const MAGIC: [u8; 8] = *b"\x89HDF\r\n\x1a\n";

//! The models, one folder each.

pub mod depmicrodiff;
pub mod sparse_microbiome;

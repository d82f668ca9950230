//! The models, one folder each.

pub mod depmicrodiff;

//! The forward process: how noise is added, and what the network is asked to predict.

pub mod schedule;
pub mod target;

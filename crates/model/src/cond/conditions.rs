//! Conditions of samples as numbers, whatever they were made from.

/// Encoded metadata of the samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditions {
    /// `n_samples * dim` values in row-major order.
    pub values: Vec<f32>,
    /// Samples without any metadata.
    pub missing: Vec<bool>,
    /// Length of a sample's vector.
    pub dim: usize,
    /// Where the vectors come from, for the checkpoint.
    pub description: String,
}

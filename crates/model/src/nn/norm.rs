//! Modulation of a layer norm by a condition (adaLN).

use burn::tensor::Tensor;
use suffuse_kernels::modulated_layer_norm;

/// Scale and shift of a normalised input, both `[batch, 1, width]`.
#[derive(Debug, Clone)]
pub struct Modulation {
    /// Added after scaling.
    pub shift: Tensor<3>,
    /// Deviation of the gain from one.
    pub scale: Tensor<3>,
}

/// `layer_norm(x) * (1 + scale) + shift` (Peebles & Xie 2023, adaLN).
pub fn modulate(x: Tensor<3>, modulation: &Modulation) -> Tensor<3> {
    modulated_layer_norm(x, modulation.shift.clone(), modulation.scale.clone())
}

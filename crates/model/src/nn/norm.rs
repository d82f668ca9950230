//! Layer normalisation and its modulation by a condition (adaLN).

use burn::tensor::Tensor;

/// Added to the variance, as in PyTorch's layer norm.
const EPSILON: f64 = 1e-5;

/// Scale and shift of a normalised input, both `[batch or 1, tokens or 1, width]`.
#[derive(Debug, Clone)]
pub struct Modulation {
    /// Added after scaling.
    pub shift: Tensor<3>,
    /// Deviation of the gain from one.
    pub scale: Tensor<3>,
}

/// Normalises each token to mean 0 and variance 1 over its width, without weights of its own.
///
/// - `x`: `[batch, tokens, width]`
pub fn layer_norm(x: Tensor<3>) -> Tensor<3> {
    let centred = x.clone() - x.mean_dim(2);
    let variance = (centred.clone() * centred.clone()).mean_dim(2); // [batch, tokens, 1]
    centred * (variance + EPSILON).sqrt().recip()
}

/// `layer_norm(x) * (1 + scale) + shift` (Peebles & Xie 2023, adaLN).
pub fn modulate(x: Tensor<3>, modulation: &Modulation) -> Tensor<3> {
    layer_norm(x) * (modulation.scale.clone() + 1.0) + modulation.shift.clone()
}

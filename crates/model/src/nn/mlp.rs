//! A two-layer perceptron with SiLU.

use super::Linear;
use crate::parameters::Builder;
use burn::tensor::Tensor;

/// Widths of an [`Mlp`].
#[derive(Debug, Clone, Copy)]
pub struct MlpShape {
    /// Width of the input.
    pub n_inputs: usize,
    /// Width between the layers.
    pub n_hidden: usize,
    /// Width of the output.
    pub n_outputs: usize,
}

/// `y = W2 silu(W1 x + b1) + b2` on the last axis.
#[derive(Debug, Clone)]
pub struct Mlp {
    inner: Linear,
    outer: Linear,
}

impl Mlp {
    /// A perceptron of this shape.
    pub fn new(p: &mut Builder, name: &str, shape: MlpShape) -> Self {
        p.within(name, |p| Mlp {
            inner: Linear::new(p, "inner", shape.n_inputs, shape.n_hidden),
            outer: Linear::new(p, "outer", shape.n_hidden, shape.n_outputs),
        })
    }

    /// - `x`: `[.., n_inputs]`
    /// - returns `[.., n_outputs]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.outer.forward(self.inner.forward_silu(x))
    }
}

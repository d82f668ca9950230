//! A perceptron with one hidden layer.

use super::Linear;
use super::linear::by_rows;
use crate::parameters::Builder;
use burn::tensor::Tensor;
use suffuse_kernels::{Activation, mlp};

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

/// `y = W2 f(W1 x + b1) + b2` on the last axis.
#[derive(Debug, Clone)]
pub struct Mlp {
    inner: Linear,
    outer: Linear,
    activation: Activation,
}

impl Mlp {
    /// A perceptron of this shape with SiLU.
    pub fn new(p: &mut Builder, name: &str, shape: MlpShape) -> Self {
        Mlp::with(p, name, shape, Activation::Silu)
    }

    /// A perceptron of this shape with any activation.
    pub fn with(p: &mut Builder, name: &str, shape: MlpShape, activation: Activation) -> Self {
        p.within(name, |p| Mlp {
            inner: Linear::new(p, "inner", shape.n_inputs, shape.n_hidden),
            outer: Linear::new(p, "outer", shape.n_hidden, shape.n_outputs),
            activation,
        })
    }

    /// - `x`: `[.., n_inputs]`
    /// - returns `[.., n_outputs]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let (inner, outer) = (self.inner.affine(), self.outer.affine());
        by_rows(x, |x| mlp(x, inner, outer, self.activation))
    }
}

//! Affine maps of the last axis.

use crate::parameters::{Builder, Initial};
use burn::tensor::Tensor;
use suffuse_kernels::{Affine, linear};

/// `y = x W + b` on the last axis.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor<2>,
    bias: Tensor<1>,
}

impl Linear {
    /// A map from `n_inputs` to `n_outputs`, drawn as PyTorch's linear layer.
    pub fn new(p: &mut Builder, name: &str, n_inputs: usize, n_outputs: usize) -> Self {
        Linear::with(p, name, n_inputs, n_outputs, Initial::FanIn(n_inputs))
    }

    /// A map that starts at zero, for the end of a residual branch.
    pub fn zero(p: &mut Builder, name: &str, n_inputs: usize, n_outputs: usize) -> Self {
        Linear::with(p, name, n_inputs, n_outputs, Initial::Zero)
    }

    fn with(
        p: &mut Builder,
        name: &str,
        n_inputs: usize,
        n_outputs: usize,
        initial: Initial,
    ) -> Self {
        p.within(name, |p| Linear {
            weight: p.matrix("weight", [n_inputs, n_outputs], initial),
            bias: p.vector("bias", n_outputs, initial),
        })
    }

    /// - `x`: `[.., n_inputs]`
    /// - returns `[.., n_outputs]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        by_rows(x, |x| {
            let (weight, bias) = self.affine();
            linear(x, weight, bias)
        })
    }

    /// Weight `[n_inputs, n_outputs]` and bias `[n_outputs]`.
    pub(super) fn affine(&self) -> Affine {
        (self.weight.clone(), self.bias.clone())
    }
}

/// `f(x)` with all axes but the last joined to rows.
pub(super) fn by_rows<const D: usize>(
    x: Tensor<D>,
    f: impl FnOnce(Tensor<2>) -> Tensor<2>,
) -> Tensor<D> {
    let mut shape = x.dims();
    let n_rows = shape[..D - 1].iter().product();
    let y = f(x.reshape([n_rows, shape[D - 1]]));
    shape[D - 1] = y.dims()[1];
    y.reshape(shape)
}

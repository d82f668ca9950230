//! Affine maps of the last axis.

use crate::parameters::{Builder, Initial};
use burn::tensor::Tensor;
use suffuse_kernels::biased_silu;

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
        self.map(x, |y| y + self.bias.clone().unsqueeze())
    }

    /// `silu(x W + b)`
    ///
    /// - `x`: `[.., n_inputs]`
    /// - returns `[.., n_outputs]`
    pub fn forward_silu<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.map(x, |y| biased_silu(y, self.bias.clone()))
    }

    /// `f(x W)` with all axes but the last joined to rows.
    fn map<const D: usize>(&self, x: Tensor<D>, f: impl Fn(Tensor<2>) -> Tensor<2>) -> Tensor<D> {
        let mut shape = x.dims();
        let [n_inputs, n_outputs] = self.weight.dims();
        let n_rows = shape.iter().product::<usize>() / n_inputs;
        let y = f(x.reshape([n_rows, n_inputs]).matmul(self.weight.clone()));
        shape[D - 1] = n_outputs;
        y.reshape(shape)
    }
}

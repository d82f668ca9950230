//! Two affine maps of rows with an activation between them, forward and backward.
//!
//! ```text
//! forward    z = x V + a      y = f(z) W + b
//! backward   dz = dy W' f'(z)    dx = dz V'    dV = x' dz    dW = f(z)' dy    da, db: sums over rows
//! ```
//!
//! `f(z)` is never stored as a whole: both passes make it piece by piece from `z`.

use crate::activation::Activation;
use crate::autodiff::{Kept, tensor, tracked};
use crate::linear::affine;
use crate::product::{Matrix, PIECE, Parts, add_product, product, readable, sum_of_parts};
use burn::backend::TensorMetadata;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use rayon::prelude::*;
use std::sync::Arc;

/// An affine map: weight `[n_inputs, n_outputs]` and bias `[n_outputs]`.
pub type Affine = (Tensor<2>, Tensor<1>);

/// `f(x V + a) W + b`, a perceptron with one hidden layer.
///
/// - `x`: `[rows, n_inputs]`
/// - `inner`: `V`, `[n_inputs, n_hidden]`, and `a`
/// - `outer`: `W`, `[n_hidden, n_outputs]`, and `b`
/// - returns `[rows, n_outputs]`
///
/// On Burn's `flex` backend with `f32` numbers this is one fused operator whose results do not depend
/// on the number of threads; all else takes Burn's own operators.
///
/// # Panics
/// When the shapes do not fit each other, or the hidden layer has no width.
pub fn mlp(x: Tensor<2>, inner: Affine, outer: Affine, activation: Activation) -> Tensor<2> {
    let [_, n_inputs] = x.dims();
    let ([n_inputs_inner, n_hidden], [n_hidden_outer, n_outputs]) =
        (inner.0.dims(), outer.0.dims());
    assert_eq!(
        n_inputs, n_inputs_inner,
        "inputs of x and of the inner weight"
    );
    assert_eq!(n_hidden, n_hidden_outer, "width between the two weights");
    assert!(n_hidden > 0, "a hidden layer of some width");
    assert_eq!(inner.1.dims(), [n_hidden], "shape of the inner bias");
    assert_eq!(outer.1.dims(), [n_outputs], "shape of the outer bias");
    let (a, b) = (inner.1.unsqueeze::<2>(), outer.1.unsqueeze::<2>());
    if !crate::is_fused(&[&x, &inner.0, &a, &outer.0, &b]) {
        let hidden = activation.composed(x.matmul(inner.0) + a);
        return hidden.matmul(outer.0) + b;
    }
    Tensor::from_dispatch(<Dispatch as Mlp>::mlp(
        x.into_dispatch(),
        inner.0.into_dispatch(),
        a.into_dispatch(),
        outer.0.into_dispatch(),
        b.into_dispatch(),
        activation,
    ))
}

#[backend_extension(Flex, Autodiff)]
trait Mlp: Backend {
    fn mlp(
        x: FloatTensor<Self>,
        inner: FloatTensor<Self>,
        inner_bias: FloatTensor<Self>,
        outer: FloatTensor<Self>,
        outer_bias: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self>;
}

impl Mlp for Flex {
    fn mlp(
        x: FlexTensor,
        inner: FlexTensor,
        inner_bias: FlexTensor,
        outer: FlexTensor,
        outer_bias: FlexTensor,
        activation: Activation,
    ) -> FlexTensor {
        let biases = [inner_bias, outer_bias];
        Weights::new(inner, outer, activation).forward(&readable(x), biases, None)
    }
}

impl<C: CheckpointStrategy> Mlp for Autodiff<Flex, C> {
    fn mlp(
        x: FloatTensor<Self>,
        inner: FloatTensor<Self>,
        inner_bias: FloatTensor<Self>,
        outer: FloatTensor<Self>,
        outer_bias: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (inner, inner_node) = inner.into_parts();
        let (a, a_node) = inner_bias.into_parts();
        let (outer, outer_node) = outer.into_parts();
        let (b, b_node) = outer_bias.into_parts();
        let x = readable(x);
        let weights = Weights::new(inner, outer, activation);
        let mut z = vec![0.0; x.shape()[0] * weights.n_hidden()];
        let output = weights.forward(&x, [a, b], Some(&mut z));
        let kept = State {
            x,
            weights,
            z: z.into(),
        };
        tracked::<C, 5, _>(
            [x_node, inner_node, a_node, outer_node, b_node],
            (output, kept),
        )
    }
}

#[derive(Debug, Clone)]
struct Weights {
    inner: FlexTensor,
    outer: FlexTensor,
    activation: Activation,
}

#[derive(Debug, Clone)]
struct State {
    x: FlexTensor,
    weights: Weights,
    /// `[rows, n_hidden]`
    z: Arc<[f32]>,
}

impl Weights {
    fn new(inner: FlexTensor, outer: FlexTensor, activation: Activation) -> Self {
        Weights {
            inner: readable(inner),
            outer: readable(outer),
            activation,
        }
    }

    fn n_hidden(&self) -> usize {
        self.inner.shape()[1]
    }

    /// Computes the output and, where it is kept, `z`.
    fn forward(
        &self,
        x: &FlexTensor,
        biases: [FlexTensor; 2],
        z: Option<&mut [f32]>,
    ) -> FlexTensor {
        let (n_rows, n_hidden, n_outputs) = (x.shape()[0], self.n_hidden(), self.outer.shape()[1]);
        let [a, b] = biases.map(|bias| Matrix::of_tensor(&readable(bias)).to_rows());
        let x = Matrix::of_tensor(x);
        let (inner, outer) = (
            Matrix::of_tensor(&self.inner),
            Matrix::of_tensor(&self.outer),
        );
        let mut output = vec![0.0; n_rows * n_outputs];
        let mut kept: Vec<Option<&mut [f32]>> = match z {
            Some(z) => z.chunks_mut((PIECE * n_hidden).max(1)).map(Some).collect(),
            None => Vec::new(),
        };
        kept.resize_with(n_rows.div_ceil(PIECE), || None);
        output
            .par_chunks_mut((PIECE * n_outputs).max(1))
            .zip(kept)
            .enumerate()
            .for_each_init(
                || vec![0.0; PIECE.min(n_rows) * n_hidden],
                |hidden, (i, (output, z))| {
                    let x = x.rows(i * PIECE, PIECE);
                    let n = PIECE.min(n_rows - i * PIECE) * n_hidden;
                    let hidden = &mut hidden[..n];
                    affine(x, inner, &a, hidden);
                    if let Some(z) = z {
                        z.copy_from_slice(hidden);
                    }
                    self.activation.apply(hidden);
                    affine(Matrix::of_rows(hidden, n_hidden), outer, &b, output);
                },
            );
        tensor(output, [n_rows, n_outputs])
    }
}

impl Kept<5> for State {
    fn gradients(&self, output: FlexTensor, wanted: [bool; 5]) -> [Option<FlexTensor>; 5] {
        let output = readable(output);
        let State { x, weights, z } = self;
        let (n_rows, n_inputs) = (x.shape()[0], x.shape()[1]);
        let (n_hidden, n_outputs) = (weights.n_hidden(), weights.outer.shape()[1]);
        let (x, dy) = (Matrix::of_tensor(x), Matrix::of_tensor(&output));
        let turned = |weight| Matrix::of_tensor(weight).transposed().to_rows();
        let (inner, outer) = (turned(&weights.inner), turned(&weights.outer));
        let (inner, outer) = (
            Matrix::of_rows(&inner, n_inputs),
            Matrix::of_rows(&outer, n_hidden),
        );

        let parts = Parts::of_rows(n_rows);
        let wants_x = wanted[0];
        let mut of_x = vec![0.0; if wants_x { n_rows * n_inputs } else { 0 }];
        let sizes = [
            n_inputs * n_hidden,
            n_hidden,
            n_hidden * n_outputs,
            n_outputs,
        ];
        let n_gradients: usize = sizes.iter().sum();
        let mut sums = vec![0.0; parts.n * n_gradients];
        parts
            .cut(&mut of_x)
            .par_iter_mut()
            .zip(sums.par_chunks_mut(n_gradients.max(1)))
            .enumerate()
            .for_each_init(
                || [const { Vec::new() }; 2],
                |[dz, hidden], (part, (of_x, sums))| {
                    let (of_inner, sums) = sums.split_at_mut(sizes[0]);
                    let (of_a, sums) = sums.split_at_mut(sizes[1]);
                    let (of_outer, of_b) = sums.split_at_mut(sizes[2]);
                    for (i, start) in parts.starts(part).enumerate() {
                        let (x, dy) = (x.rows(start, PIECE), dy.rows(start, PIECE));
                        let n = PIECE.min(n_rows - start) * n_hidden;
                        dz.resize(n, 0.0);
                        hidden.resize(n, 0.0);
                        product(dy, outer, dz);
                        let z = &z[start * n_hidden..][..n];
                        weights.activation.differentiate(z, hidden, dz);
                        let (dz, hidden) = (
                            Matrix::of_rows(dz, n_hidden),
                            Matrix::of_rows(hidden, n_hidden),
                        );
                        add_product(hidden.transposed(), dy, of_outer);
                        add_product(x.transposed(), dz, of_inner);
                        dz.add_rows_to(of_a);
                        dy.add_rows_to(of_b);
                        if let Some(of_x) = of_x.get_mut(i) {
                            product(dz, inner, of_x);
                        }
                    }
                },
            );
        let mut of_inner = sum_of_parts(sums, n_gradients);
        let mut of_a = of_inner.split_off(sizes[0]);
        let mut of_outer = of_a.split_off(sizes[1]);
        let of_b = of_outer.split_off(sizes[2]);
        [
            wants_x.then(|| tensor(of_x, [n_rows, n_inputs])),
            Some(tensor(of_inner, [n_inputs, n_hidden])),
            Some(tensor(of_a, [1, n_hidden])),
            Some(tensor(of_outer, [n_hidden, n_outputs])),
            Some(tensor(of_b, [1, n_outputs])),
        ]
    }
}

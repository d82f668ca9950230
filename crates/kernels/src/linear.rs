//! Affine maps of rows, forward and backward.
//!
//! ```text
//! forward    y = x W + b
//! backward   dx = dy W'    dW = x' dy    db = sum of dy over rows
//! ```

use crate::autodiff::{Kept, tensor, tracked};
use crate::product::{Matrix, PIECE, Parts, add_product, product, readable, sum_of_parts};
use burn::backend::TensorMetadata;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use rayon::prelude::*;

/// `x W + b`.
///
/// - `x`: `[rows, n_inputs]`
/// - `weight`: `[n_inputs, n_outputs]`
/// - `bias`: `[n_outputs]`
/// - returns `[rows, n_outputs]`
///
/// On Burn's `flex` backend with `f32` numbers this is one fused operator whose results do not depend
/// on the number of threads; all else takes Burn's own operators.
///
/// # Panics
/// When the shapes do not fit each other.
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    let [_, n_inputs] = x.dims();
    let [n_inputs_of_weight, n_outputs] = weight.dims();
    assert_eq!(
        n_inputs, n_inputs_of_weight,
        "inputs of x and of the weight"
    );
    assert_eq!(bias.dims(), [n_outputs], "shape of the bias");
    let bias = bias.unsqueeze::<2>();
    if !crate::is_fused(&[&x, &weight, &bias]) {
        return x.matmul(weight) + bias;
    }
    Tensor::from_dispatch(<Dispatch as Linear>::linear(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
    ))
}

#[backend_extension(Flex, Autodiff)]
trait Linear: Backend {
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl Linear for Flex {
    fn linear(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        forward(x, weight, bias).0
    }
}

impl<C: CheckpointStrategy> Linear for Autodiff<Flex, C> {
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.into_parts();
        tracked::<C, 3, _>([x_node, weight_node, bias_node], forward(x, weight, bias))
    }
}

#[derive(Debug, Clone)]
struct Inputs {
    x: FlexTensor,
    weight: FlexTensor,
}

fn forward(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> (FlexTensor, Inputs) {
    let [x, weight, bias] = [x, weight, bias].map(readable);
    let (n_rows, n_outputs) = (x.shape()[0], weight.shape()[1]);
    let mut output = vec![0.0; n_rows * n_outputs];
    let (rows, columns, shift) = (
        Matrix::of_tensor(&x),
        Matrix::of_tensor(&weight),
        Matrix::of_tensor(&bias),
    );
    let shift = shift.to_rows();
    output
        .par_chunks_mut((PIECE * n_outputs).max(1))
        .enumerate()
        .for_each(|(i, output)| affine(rows.rows(i * PIECE, PIECE), columns, &shift, output));
    (tensor(output, [n_rows, n_outputs]), Inputs { x, weight })
}

/// `out = x W + b`
pub(crate) fn affine(x: Matrix, weight: Matrix, bias: &[f32], out: &mut [f32]) {
    for row in out.chunks_exact_mut(bias.len().max(1)) {
        row.copy_from_slice(bias);
    }
    add_product(x, weight, out);
}

impl Kept<3> for Inputs {
    fn gradients(&self, output: FlexTensor, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let output = readable(output);
        let (n_rows, n_inputs) = (self.x.shape()[0], self.x.shape()[1]);
        let n_outputs = self.weight.shape()[1];
        let (x, dy) = (Matrix::of_tensor(&self.x), Matrix::of_tensor(&output));
        let turned = Matrix::of_tensor(&self.weight).transposed().to_rows();
        let turned = Matrix::of_rows(&turned, n_inputs);
        let [wants_x, wants_weight, _] = wanted;

        let parts = Parts::of_rows(n_rows);
        let mut of_x = vec![0.0; if wants_x { n_rows * n_inputs } else { 0 }];
        let n_weights = n_inputs * n_outputs;
        let n_gradients = n_weights + n_outputs;
        let mut sums = vec![0.0; parts.n * n_gradients];
        parts
            .cut(&mut of_x)
            .par_iter_mut()
            .zip(sums.par_chunks_mut(n_gradients.max(1)))
            .enumerate()
            .for_each(|(part, (of_x, sums))| {
                let (of_weight, of_bias) = sums.split_at_mut(n_weights);
                for (i, start) in parts.starts(part).enumerate() {
                    let dy = dy.rows(start, PIECE);
                    if let Some(of_x) = of_x.get_mut(i) {
                        product(dy, turned, of_x);
                    }
                    if wants_weight {
                        add_product(x.rows(start, PIECE).transposed(), dy, of_weight);
                    }
                    dy.add_rows_to(of_bias);
                }
            });
        let mut of_weight = sum_of_parts(sums, n_gradients);
        let of_bias = of_weight.split_off(n_weights);
        [
            wants_x.then(|| tensor(of_x, [n_rows, n_inputs])),
            wants_weight.then(|| tensor(of_weight, [n_inputs, n_outputs])),
            Some(tensor(of_bias, [1, n_outputs])),
        ]
    }
}

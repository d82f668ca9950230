//! A residual branch behind a gate, forward and backward.
//!
//! ```text
//! forward    out = x + gate y
//! backward   dx = dout    dy = gate dout    dgate = sum of dout y over tokens
//! ```

use crate::autodiff::{Kept, tensor, tracked};
use crate::strided::Strided;
use crate::vector::{Instructions, Kernel, vectorised};
use burn::backend::TensorMetadata;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use rayon::prelude::*;

/// `x + gate y`, with one gate per sample and channel: the residual of adaLN (Peebles & Xie 2023) and
/// of squeeze-and-excitation (Hu 2018).
///
/// - `x`, `y`: `[batch, tokens, width]`
/// - `gate`: `[batch, 1, width]`
/// - returns `[batch, tokens, width]`
///
/// On Burn's `flex` backend with `f32` numbers this is one fused operator whose results do not depend
/// on the number of threads; all else takes Burn's own operators.
///
/// # Panics
/// When the shapes do not fit each other.
pub fn gated_residual(x: Tensor<3>, y: Tensor<3>, gate: Tensor<3>) -> Tensor<3> {
    let [batch, _, width] = x.dims();
    assert_eq!(y.dims(), x.dims(), "shape of the branch");
    assert_eq!(gate.dims(), [batch, 1, width], "shape of the gate");
    if !crate::is_fused(&[&x, &y, &gate]) {
        return x + gate * y;
    }
    Tensor::from_dispatch(<Dispatch as GatedResidual>::gated_residual(
        x.into_dispatch(),
        y.into_dispatch(),
        gate.into_dispatch(),
    ))
}

#[backend_extension(Flex, Autodiff)]
trait GatedResidual: Backend {
    fn gated_residual(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        gate: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl GatedResidual for Flex {
    fn gated_residual(x: FlexTensor, y: FlexTensor, gate: FlexTensor) -> FlexTensor {
        forward(&x, &y, &gate)
    }
}

impl<C: CheckpointStrategy> GatedResidual for Autodiff<Flex, C> {
    fn gated_residual(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        gate: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (y, y_node) = y.into_parts();
        let (gate, gate_node) = gate.into_parts();
        let output = forward(&x, &y, &gate);
        tracked::<C, 3, _>([x_node, y_node, gate_node], (output, Inputs { y, gate }))
    }
}

#[derive(Debug, Clone)]
struct Inputs {
    y: FlexTensor,
    gate: FlexTensor,
}

fn forward(x: &FlexTensor, y: &FlexTensor, gate: &FlexTensor) -> FlexTensor {
    let shape = x.shape();
    let (n_tokens, width) = (shape[1], shape[2]);
    let mut output = vec![0.0; shape.num_elements()];
    let [x, y, gate] = [x, y, gate].map(Strided::new);
    output
        .par_chunks_mut((n_tokens * width).max(1))
        .enumerate()
        .for_each(|(sample, output)| {
            vectorised(Forward {
                x,
                y,
                gate: gate.row([sample, 0, 0], width),
                sample,
                output,
            });
        });
    tensor(output, shape)
}

impl Kept<3> for Inputs {
    fn gradients(&self, output: FlexTensor, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let shape = self.y.shape();
        let (batch, n_tokens, width) = (shape[0], shape[1], shape[2]);
        let mut of_y = vec![0.0; shape.num_elements()];
        let mut of_gate = vec![0.0; batch * width];
        let [y, gate, upstream] = [&self.y, &self.gate, &output].map(Strided::new);
        of_y.par_chunks_mut((n_tokens * width).max(1))
            .zip(of_gate.par_chunks_mut(width.max(1)))
            .enumerate()
            .for_each(|(sample, (of_y, of_gate))| {
                vectorised(Backwards {
                    y,
                    gate: gate.row([sample, 0, 0], width),
                    upstream,
                    sample,
                    of_y,
                    of_gate,
                });
            });
        [
            wanted[0].then_some(output),
            Some(tensor(of_y, shape)),
            Some(tensor(of_gate, [batch, 1, width])),
        ]
    }
}

struct Forward<'a> {
    x: Strided<'a, 3>,
    y: Strided<'a, 3>,
    gate: Vec<f32>,
    sample: usize,
    output: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    fn run<I: Instructions>(self, _set: I) {
        let mut buffers = [vec![0.0; self.gate.len()], vec![0.0; self.gate.len()]];
        let [x_row, y_row] = &mut buffers;
        let rows = self.output.chunks_exact_mut(self.gate.len().max(1));
        for (token, output) in rows.enumerate() {
            let x = self.x.borrow_row([self.sample, token, 0], x_row);
            let y = self.y.borrow_row([self.sample, token, 0], y_row);
            for (((output, x), y), gate) in output.iter_mut().zip(x).zip(y).zip(&self.gate) {
                *output = x + gate * y;
            }
        }
    }
}

struct Backwards<'a> {
    y: Strided<'a, 3>,
    gate: Vec<f32>,
    upstream: Strided<'a, 3>,
    sample: usize,
    of_y: &'a mut [f32],
    of_gate: &'a mut [f32],
}

impl Kernel for Backwards<'_> {
    #[inline(always)]
    fn run<I: Instructions>(self, _set: I) {
        let mut buffers = [vec![0.0; self.gate.len()], vec![0.0; self.gate.len()]];
        let [y_row, upstream_row] = &mut buffers;
        let rows = self.of_y.chunks_exact_mut(self.gate.len().max(1));
        for (token, of_y) in rows.enumerate() {
            let y = self.y.borrow_row([self.sample, token, 0], y_row);
            let upstream = self
                .upstream
                .borrow_row([self.sample, token, 0], upstream_row);
            for ((of_y, upstream), gate) in of_y.iter_mut().zip(upstream).zip(&self.gate) {
                *of_y = upstream * gate;
            }
            for ((of_gate, upstream), y) in self.of_gate.iter_mut().zip(upstream).zip(y) {
                *of_gate += upstream * y;
            }
        }
    }
}

//! The activation SiLU after a bias, forward and backward.
//!
//! ```text
//! forward    z = x + bias    y = z s(z),  s(z) = 1 / (1 + exp(-z))
//! backward   dx = dy s(z) (1 + z (1 - s(z)))    dbias = sum of dx over rows
//! ```

use crate::exp::exp;
use crate::strided::Strided;
use crate::vector::{Instructions, Kernel, LANES, read, vectorised, write};
use burn::backend::TensorMetadata;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::activation::silu;
use burn::tensor::{Bytes, DType, Shape, Tensor};
use rayon::prelude::*;

/// Rows of one task. Fixed, so that the order of summation depends on the shape alone.
const TASK: usize = 256;
/// Largest exponent: beyond it the sigmoid is zero in single precision.
const MAX_EXPONENT: f32 = 87.0;

/// `silu(x + bias)`, where `silu(z) = z / (1 + exp(-z))` (Elfwing 2018).
///
/// - `x`: `[rows, width]`
/// - `bias`: `[width]`
/// - returns `[rows, width]`
///
/// On Burn's `flex` backend with `f32` numbers this is one fused operator whose results do not depend
/// on the number of threads; all else takes Burn's own operators.
///
/// # Panics
/// When the shapes do not fit each other.
pub fn biased_silu(x: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    let [_, width] = x.dims();
    assert_eq!(bias.dims(), [width], "shape of the bias");
    let bias = bias.unsqueeze::<2>();
    if !crate::is_fused(&[&x, &bias]) {
        return silu(x + bias);
    }
    Tensor::from_dispatch(<Dispatch as BiasedSilu>::biased_silu(
        x.into_dispatch(),
        bias.into_dispatch(),
    ))
}

#[backend_extension(Flex, Autodiff)]
trait BiasedSilu: Backend {
    fn biased_silu(x: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl BiasedSilu for Flex {
    fn biased_silu(x: FlexTensor, bias: FlexTensor) -> FlexTensor {
        forward(&x, &bias)
    }
}

impl<C: CheckpointStrategy> BiasedSilu for Autodiff<Flex, C> {
    fn biased_silu(x: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let output = forward(&x, &bias);
        match Gradient
            .prepare::<C>([x_node, bias_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((x, bias), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

#[derive(Debug)]
struct Gradient;

impl Backward<Flex, 2> for Gradient {
    type State = (FlexTensor, FlexTensor);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<Flex>(&ops.node);
        let (x, bias) = ops.state;
        let gradients = backward(&x, &bias, &gradient);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(node) = parent {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

fn forward(x: &FlexTensor, bias: &FlexTensor) -> FlexTensor {
    let shape = x.shape();
    let width = shape[1];
    let mut output = vec![0.0; shape.num_elements()];
    let [x, bias] = [x, bias].map(Strided::new);
    output
        .par_chunks_mut((TASK * width).max(1))
        .enumerate()
        .for_each(|(task, output)| {
            vectorised(Forward {
                rows: Rows::new(x, bias, task, width),
                output,
            });
        });
    FlexTensor::new(
        Bytes::from_elems(output),
        Layout::contiguous(shape),
        DType::F32,
    )
}

/// Gradients of `x` and of the bias.
fn backward(x: &FlexTensor, bias: &FlexTensor, gradient: &FlexTensor) -> [FlexTensor; 2] {
    let shape = x.shape();
    let width = shape[1];
    let mut of_x = vec![0.0; shape.num_elements()];
    let mut parts = vec![0.0; shape[0].div_ceil(TASK) * width];
    let [x, bias, gradient] = [x, bias, gradient].map(Strided::new);
    of_x.par_chunks_mut((TASK * width).max(1))
        .zip(parts.par_chunks_mut(width.max(1)))
        .enumerate()
        .for_each(|(task, (of_x, of_bias))| {
            vectorised(Backwards {
                rows: Rows::new(x, bias, task, width),
                gradient,
                of_x,
                of_bias,
            });
        });
    let mut of_bias = vec![0.0; width];
    for part in parts.chunks_exact(width.max(1)) {
        of_bias
            .iter_mut()
            .zip(part)
            .for_each(|(sum, part)| *sum += part);
    }
    [(of_x, shape), (of_bias, Shape::from([1, width]))].map(|(values, shape)| {
        FlexTensor::new(
            Bytes::from_elems(values),
            Layout::contiguous(shape),
            DType::F32,
        )
    })
}

/// The rows of a task, each padded to whole vectors.
struct Rows<'a> {
    x: Strided<'a, 2>,
    first: usize,
    width: usize,
    bias: Vec<f32>,
    row: Vec<f32>,
}

impl<'a> Rows<'a> {
    fn new(x: Strided<'a, 2>, bias: Strided<'a, 2>, task: usize, width: usize) -> Self {
        let zeros = vec![0.0; width.next_multiple_of(LANES)];
        let mut rows = Rows {
            x,
            first: task * TASK,
            width,
            bias: zeros.clone(),
            row: zeros,
        };
        bias.copy_row([0, 0], &mut rows.bias[..width]);
        rows
    }

    #[inline(always)]
    fn load(&mut self, row: usize) {
        self.x
            .copy_row([self.first + row, 0], &mut self.row[..self.width]);
    }

    /// Vector `i` of the row loaded last: `z` and the sigmoid of `z`.
    #[inline(always)]
    fn sigmoid<I: Instructions>(&self, set: I, i: usize) -> [I::Vector; 2] {
        let z = set.add(read(set, &self.row, i), read(set, &self.bias, i));
        let minus = set.sub(set.splat(0.0), z);
        let most = set.splat(MAX_EXPONENT);
        // Written so that NaN is kept: it fails the comparison.
        let exponent = set.where_less([most, minus], most, minus);
        let one = set.splat(1.0);
        [z, set.div(one, set.add(one, exp(set, exponent)))]
    }
}

struct Forward<'a> {
    rows: Rows<'a>,
    output: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    fn run<I: Instructions>(self, set: I) {
        let Forward { mut rows, output } = self;
        let n_vectors = rows.row.len() / LANES;
        for (row, output) in output.chunks_exact_mut(rows.width.max(1)).enumerate() {
            rows.load(row);
            for i in 0..n_vectors {
                let [z, sigmoid] = rows.sigmoid(set, i);
                write(set, &mut rows.row, i, set.mul(z, sigmoid));
            }
            output.copy_from_slice(&rows.row[..rows.width]);
        }
    }
}

struct Backwards<'a> {
    rows: Rows<'a>,
    gradient: Strided<'a, 2>,
    of_x: &'a mut [f32],
    of_bias: &'a mut [f32],
}

impl Kernel for Backwards<'_> {
    #[inline(always)]
    fn run<I: Instructions>(self, set: I) {
        let Backwards {
            mut rows,
            gradient,
            of_x,
            of_bias,
        } = self;
        let zeros = vec![0.0; rows.row.len()];
        let [mut upstream, mut sum] = [zeros.clone(), zeros];
        let n_vectors = rows.row.len() / LANES;
        let one = set.splat(1.0);
        for (row, of_x) in of_x.chunks_exact_mut(rows.width.max(1)).enumerate() {
            rows.load(row);
            gradient.copy_row([rows.first + row, 0], &mut upstream[..rows.width]);
            for i in 0..n_vectors {
                let [z, sigmoid] = rows.sigmoid(set, i);
                let slope = set.mul_add(z, set.sub(one, sigmoid), one);
                let dx = set.mul(read(set, &upstream, i), set.mul(sigmoid, slope));
                let of_bias = set.add(read(set, &sum, i), dx);
                write(set, &mut sum, i, of_bias);
                write(set, &mut rows.row, i, dx);
            }
            of_x.copy_from_slice(&rows.row[..rows.width]);
        }
        of_bias.copy_from_slice(&sum[..rows.width]);
    }
}

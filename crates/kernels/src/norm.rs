//! Layer normalisation with a scale and a shift per sample (adaLN), forward and backward.
//!
//! ```text
//! forward    h = (x - mean) / sqrt(var + 1e-5)      y = h (1 + scale) + shift
//! backward   u = dy (1 + scale)    dx = (u - mean(u) - h mean(u h)) / sqrt(var + 1e-5)
//!            dshift = sum of dy over tokens        dscale = sum of dy h over tokens
//! ```

use crate::autodiff::{Kept, tensor, tracked};
use crate::strided::Strided;
use crate::vector::{Instructions, Kernel, LANES, read, vectorised, write};
use burn::backend::TensorMetadata;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Shape, Tensor};
use rayon::prelude::*;
use std::sync::Arc;

/// Added to the variance, as in PyTorch's layer norm.
const EPSILON: f32 = 1e-5;

/// Normalises each token to mean 0 and variance 1 over its width, then scales and shifts it:
/// `layer_norm(x) * (1 + scale) + shift` (Peebles & Xie 2023, adaLN).
///
/// - `x`: `[batch, tokens, width]`
/// - `shift`, `scale`: `[batch, 1, width]`
/// - returns `[batch, tokens, width]`
///
/// On Burn's `flex` backend with `f32` numbers this is one fused operator whose results do not depend
/// on the number of threads; all else takes the same equation in Burn's own operators.
///
/// # Panics
/// When the shapes do not fit each other.
pub fn modulated_layer_norm(x: Tensor<3>, shift: Tensor<3>, scale: Tensor<3>) -> Tensor<3> {
    let [batch, _, width] = x.dims();
    for (what, tensor) in [("shift", &shift), ("scale", &scale)] {
        assert_eq!(tensor.dims(), [batch, 1, width], "shape of the {what}");
    }
    if !crate::is_fused(&[&x, &shift, &scale]) {
        let centred = x.clone() - x.mean_dim(2);
        let variance = (centred.clone() * centred.clone()).mean_dim(2); // [batch, tokens, 1]
        let normal = centred * (variance + f64::from(EPSILON)).sqrt().recip();
        return normal * (scale + 1.0) + shift;
    }
    Tensor::from_dispatch(<Dispatch as ModulatedNorm>::modulated_norm(
        x.into_dispatch(),
        shift.into_dispatch(),
        scale.into_dispatch(),
    ))
}

#[backend_extension(Flex, Autodiff)]
trait ModulatedNorm: Backend {
    fn modulated_norm(
        x: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        scale: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// What the backward pass needs.
#[derive(Debug, Clone)]
struct State {
    x: FlexTensor,
    scale: FlexTensor,
    /// Mean and reciprocal deviation of each token, `[batch, tokens, 2]`.
    moments: Arc<[f32]>,
}

impl ModulatedNorm for Flex {
    fn modulated_norm(x: FlexTensor, shift: FlexTensor, scale: FlexTensor) -> FlexTensor {
        forward(x, &shift, scale).0
    }
}

impl<C: CheckpointStrategy> ModulatedNorm for Autodiff<Flex, C> {
    fn modulated_norm(
        x: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        scale: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (shift, shift_node) = shift.into_parts();
        let (scale, scale_node) = scale.into_parts();
        tracked::<C, 3, _>([x_node, shift_node, scale_node], forward(x, &shift, scale))
    }
}

impl Kept<3> for State {
    fn gradients(&self, output: FlexTensor, _wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
        backward(self, &output).map(Some)
    }
}

fn forward(x: FlexTensor, shift: &FlexTensor, scale: FlexTensor) -> (FlexTensor, State) {
    let shape = x.shape();
    let (n_tokens, width) = (shape[1], shape[2]);
    let mut output = vec![0.0; shape.num_elements()];
    let mut moments = vec![0.0; 2 * shape[0] * n_tokens];
    let views = [&x, shift, &scale].map(Strided::new);
    output
        .par_chunks_mut((n_tokens * width).max(1))
        .zip(moments.par_chunks_mut((2 * n_tokens).max(1)))
        .enumerate()
        .for_each(|(sample, (output, moments))| {
            vectorised(Forward {
                sample: Sample::new(views[0], views[2], sample, width),
                shift: views[1],
                output,
                moments,
            });
        });
    let moments = moments.into();
    (tensor(output, shape), State { x, scale, moments })
}

/// Gradients of `x`, `shift` and `scale`.
fn backward(state: &State, gradient: &FlexTensor) -> [FlexTensor; 3] {
    let shape = state.x.shape();
    let (batch, n_tokens, width) = (shape[0], shape[1], shape[2]);
    let mut of_x = vec![0.0; shape.num_elements()];
    let mut of_modulation = vec![0.0; 2 * batch * width];
    let views = [&state.x, &state.scale, gradient].map(Strided::new);
    of_x.par_chunks_mut((n_tokens * width).max(1))
        .zip(of_modulation.par_chunks_mut((2 * width).max(1)))
        .enumerate()
        .for_each(|(sample, (of_x, of_modulation))| {
            vectorised(Backwards {
                sample: Sample::new(views[0], views[1], sample, width),
                gradient: views[2],
                moments: &state.moments[2 * sample * n_tokens..][..2 * n_tokens],
                of_x,
                of_modulation,
            });
        });
    let part = |which: usize| {
        let rows = of_modulation.chunks_exact(2 * width.max(1));
        let values = rows.flat_map(|row| row[which * width..][..width].to_vec());
        tensor(values.collect(), Shape::from([batch, 1, width]))
    };
    let [of_shift, of_scale] = [part(0), part(1)];
    [tensor(of_x, shape), of_shift, of_scale]
}

/// The tokens of a sample and its scale, in rows padded to whole vectors.
struct Sample<'a> {
    x: Strided<'a, 3>,
    number: usize,
    width: usize,
    /// 1 up to the width, then 0.
    is_inside: Vec<f32>,
    /// `1 + scale`
    gain: Vec<f32>,
    row: Vec<f32>,
}

impl<'a> Sample<'a> {
    fn new(x: Strided<'a, 3>, scale: Strided<'a, 3>, number: usize, width: usize) -> Self {
        let zeros = vec![0.0; width.next_multiple_of(LANES)];
        let mut sample = Sample {
            x,
            number,
            width,
            is_inside: zeros.clone(),
            gain: zeros.clone(),
            row: zeros,
        };
        sample.is_inside[..width].fill(1.0);
        scale.copy_row([number, 0, 0], &mut sample.gain[..width]);
        sample.gain.iter_mut().for_each(|gain| *gain += 1.0);
        sample
    }

    fn n_vectors(&self) -> usize {
        self.row.len() / LANES
    }

    #[inline(always)]
    fn load(&mut self, token: usize) {
        let row = &mut self.row[..self.width];
        self.x.copy_row([self.number, token, 0], row);
    }

    /// Mean of vectors over the width, their lanes added in order.
    #[inline(always)]
    fn mean<I: Instructions>(&self, set: I, sum: I::Vector) -> f32 {
        set.store(sum).iter().sum::<f32>() / self.width as f32
    }
}

struct Forward<'a> {
    sample: Sample<'a>,
    shift: Strided<'a, 3>,
    output: &'a mut [f32],
    moments: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    fn run<I: Instructions>(self, set: I) {
        let Forward {
            mut sample,
            shift,
            output,
            moments,
        } = self;
        let mut shifts = vec![0.0; sample.row.len()];
        shift.copy_row([sample.number, 0, 0], &mut shifts[..sample.width]);
        let rows = output.chunks_exact_mut(sample.width.max(1));
        for (token, (output, moments)) in rows.zip(moments.as_chunks_mut::<2>().0).enumerate() {
            sample.load(token);
            let mut sum = set.splat(0.0);
            for i in 0..sample.n_vectors() {
                sum = set.add(sum, read(set, &sample.row, i));
            }
            let mean = sample.mean(set, sum);
            let mut squares = set.splat(0.0);
            for i in 0..sample.n_vectors() {
                let centred = set.sub(read(set, &sample.row, i), set.splat(mean));
                let centred = set.mul(centred, read(set, &sample.is_inside, i));
                squares = set.mul_add(centred, centred, squares);
                write(set, &mut sample.row, i, centred);
            }
            let reciprocal = 1.0 / (sample.mean(set, squares) + EPSILON).sqrt();
            for i in 0..sample.n_vectors() {
                let normal = set.mul(read(set, &sample.row, i), set.splat(reciprocal));
                let y = set.mul_add(normal, read(set, &sample.gain, i), read(set, &shifts, i));
                write(set, &mut sample.row, i, y);
            }
            output.copy_from_slice(&sample.row[..sample.width]);
            sample.row[output.len()..].fill(0.0);
            *moments = [mean, reciprocal];
        }
    }
}

struct Backwards<'a> {
    sample: Sample<'a>,
    gradient: Strided<'a, 3>,
    moments: &'a [f32],
    of_x: &'a mut [f32],
    /// Shift, then scale: `[2, width]`.
    of_modulation: &'a mut [f32],
}

impl Kernel for Backwards<'_> {
    #[inline(always)]
    fn run<I: Instructions>(self, set: I) {
        let Backwards {
            mut sample,
            gradient,
            moments,
            of_x,
            of_modulation,
        } = self;
        let zeros = vec![0.0; sample.row.len()];
        let [mut upstream, mut of_shift, mut of_scale] = [zeros.clone(), zeros.clone(), zeros];
        let rows = of_x.chunks_exact_mut(sample.width.max(1));
        for (token, (of_x, moments)) in rows.zip(moments.as_chunks::<2>().0).enumerate() {
            sample.load(token);
            gradient.copy_row([sample.number, token, 0], &mut upstream[..sample.width]);
            let [mean, reciprocal] = moments.map(|x| set.splat(x));
            let (mut sum, mut agreement) = (set.splat(0.0), set.splat(0.0));
            for i in 0..sample.n_vectors() {
                let centred = set.sub(read(set, &sample.row, i), mean);
                let normal = set.mul(centred, reciprocal);
                let dy = read(set, &upstream, i); // zero past the width
                let u = set.mul(dy, read(set, &sample.gain, i));
                sum = set.add(sum, u);
                agreement = set.mul_add(u, normal, agreement);
                let shift = set.add(read(set, &of_shift, i), dy);
                write(set, &mut of_shift, i, shift);
                let scale = set.mul_add(dy, normal, read(set, &of_scale, i));
                write(set, &mut of_scale, i, scale);
                write(set, &mut sample.row, i, normal);
            }
            let mean = set.splat(sample.mean(set, sum));
            let agreement = set.splat(-sample.mean(set, agreement));
            for i in 0..sample.n_vectors() {
                let u = set.mul(read(set, &upstream, i), read(set, &sample.gain, i));
                let normal = read(set, &sample.row, i);
                let dx = set.mul_add(normal, agreement, set.sub(u, mean));
                write(set, &mut sample.row, i, set.mul(dx, reciprocal));
            }
            of_x.copy_from_slice(&sample.row[..sample.width]);
            sample.row[of_x.len()..].fill(0.0);
        }
        let (shift, scale) = of_modulation.split_at_mut(sample.width);
        shift.copy_from_slice(&of_shift[..sample.width]);
        scale.copy_from_slice(&of_scale[..sample.width]);
    }
}

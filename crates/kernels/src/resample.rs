//! Images at half and at twice their size, forward and backward.
//!
//! Taking the mean of 2 x 2 pixels and repeating a pixel 2 x 2 times are each other's gradient, but for
//! a factor of four.

use crate::autodiff::{Kept, tensor, tracked};
use burn::backend::TensorMetadata;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use rayon::prelude::*;

/// Which way an image is resampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Halved,
    Doubled,
}

/// Means of 2 x 2 pixels.
///
/// - `x`: `[batch, height, width, channels]`, height and width even
/// - returns `[batch, height / 2, width / 2, channels]`
///
/// # Panics
/// When a side is odd.
pub fn halved(x: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, n_channels] = x.dims();
    assert!(height % 2 == 0 && width % 2 == 0, "sides are even");
    if crate::is_fused(&[&x]) {
        return resampled(x, Size::Halved);
    }
    let rows = x
        .reshape([batch * height / 2, 2, width * n_channels])
        .mean_dim(1);
    rows.reshape([batch * height * width / 4, 2, n_channels])
        .mean_dim(1)
        .reshape([batch, height / 2, width / 2, n_channels])
}

/// Each pixel repeated 2 x 2 times.
///
/// - `x`: `[batch, height, width, channels]`
/// - returns `[batch, 2 * height, 2 * width, channels]`
pub fn doubled(x: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, n_channels] = x.dims();
    if crate::is_fused(&[&x]) {
        return resampled(x, Size::Doubled);
    }
    x.reshape([batch * height * width, 1, n_channels])
        .repeat_dim(1, 2)
        .reshape([batch * height, 1, 2 * width * n_channels])
        .repeat_dim(1, 2)
        .reshape([batch, 2 * height, 2 * width, n_channels])
}

fn resampled(x: Tensor<4>, size: Size) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as Resampling>::resampled(x.into_dispatch(), size))
}

#[backend_extension(Flex, Autodiff)]
trait Resampling: Backend {
    fn resampled(x: FloatTensor<Self>, size: Size) -> FloatTensor<Self>;
}

impl Resampling for Flex {
    fn resampled(x: FlexTensor, size: Size) -> FlexTensor {
        match size {
            Size::Halved => sums(x, 0.25),
            Size::Doubled => copies(x, 1.0),
        }
    }
}

impl<C: CheckpointStrategy> Resampling for Autodiff<Flex, C> {
    fn resampled(x: FloatTensor<Self>, size: Size) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        tracked::<C, 1, _>([node], (Flex::resampled(x, size), size))
    }
}

impl Kept<1> for Size {
    fn gradients(&self, output: FlexTensor, _wanted: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(match self {
            Size::Halved => copies(output, 0.25),
            Size::Doubled => sums(output, 1.0),
        })]
    }
}

/// Sums of 2 x 2 pixels times `factor`.
fn sums(x: FlexTensor, factor: f32) -> FlexTensor {
    let x = x.to_contiguous();
    let mut shape = x.shape();
    let (width, n_channels) = (shape[2], shape[3]);
    (shape[1], shape[2]) = (shape[1] / 2, width / 2);
    let from: &[f32] = &x.storage()[x.layout().start_offset()..];
    let mut output = vec![0.0; shape.num_elements()];
    output
        .par_chunks_mut((width / 2 * n_channels).max(1))
        .zip(from.par_chunks((2 * width * n_channels).max(1)))
        .for_each(|(output, rows)| {
            let (above, below) = rows.split_at(width * n_channels);
            for (i, output) in output.chunks_exact_mut(n_channels).enumerate() {
                let start = 2 * i * n_channels;
                let [a, b] =
                    [above, below].map(|row| row[start..][..2 * n_channels].split_at(n_channels));
                for (c, x) in output.iter_mut().enumerate() {
                    *x = factor * ((a.0[c] + a.1[c]) + (b.0[c] + b.1[c]));
                }
            }
        });
    tensor(output, shape)
}

/// Each pixel 2 x 2 times, times `factor`.
fn copies(x: FlexTensor, factor: f32) -> FlexTensor {
    let x = x.to_contiguous();
    let mut shape = x.shape();
    let (width, n_channels) = (shape[2], shape[3]);
    (shape[1], shape[2]) = (2 * shape[1], 2 * width);
    let from: &[f32] = &x.storage()[x.layout().start_offset()..];
    let mut output = vec![0.0; shape.num_elements()];
    output
        .par_chunks_mut((4 * width * n_channels).max(1))
        .zip(from.par_chunks((width * n_channels).max(1)))
        .for_each(|(rows, from)| {
            let (above, below) = rows.split_at_mut(2 * width * n_channels);
            let pairs = above.chunks_exact_mut((2 * n_channels).max(1));
            for (pair, pixel) in pairs.zip(from.chunks_exact(n_channels.max(1))) {
                for copy in pair.chunks_exact_mut(n_channels) {
                    for (copy, x) in copy.iter_mut().zip(pixel) {
                        *copy = factor * x;
                    }
                }
            }
            below.copy_from_slice(above);
        });
    tensor(output, shape)
}

//! Group normalisation followed by SiLU, forward and backward.
//!
//! ```text
//! forward    h = (x - mean) / sqrt(var + 1e-5), over the tokens and channels of a group
//!            u = gain h + shift      y = silu(u)
//! backward   du = dy silu'(u)    dgain = sum of du h    dshift = sum of du
//!            dx = (gain du - mean(gain du) - h mean(gain du h)) / sqrt(var + 1e-5)
//! ```

use crate::activation::sigmoid;
use crate::autodiff::{Kept, tensor, tracked};
use crate::strided::Strided;
use crate::vector::{Instructions, Kernel, LANES, read, vectorised, write};
use burn::backend::TensorMetadata;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Tensor, activation::silu};
use rayon::prelude::*;
use std::sync::Arc;

/// Added to the variance, as in PyTorch's group norm.
const EPSILON: f64 = 1e-5;

/// `silu(group_norm(x) * gain + shift)` (Wu & He 2018): each sample's channels are cut into groups of
/// neighbours, and each group is normalised to mean 0 and variance 1 over all its tokens.
///
/// - `x`: `[batch, tokens, channels]`; the tokens of an image are its pixels
/// - `gain`, `shift`: `[channels]`
/// - `n_groups`: divides the number of channels
/// - returns `[batch, tokens, channels]`
///
/// On Burn's `flex` backend with `f32` numbers this is one fused operator whose results do not depend
/// on the number of threads; all else takes Burn's own operators.
///
/// # Panics
/// When the shapes do not fit each other.
pub fn group_norm_silu(
    x: Tensor<3>,
    gain: Tensor<1>,
    shift: Tensor<1>,
    n_groups: usize,
) -> Tensor<3> {
    let [batch, n_tokens, n_channels] = x.dims();
    assert_eq!(gain.dims(), [n_channels], "shape of the gain");
    assert_eq!(shift.dims(), [n_channels], "shape of the shift");
    assert!(
        n_groups > 0 && n_channels.is_multiple_of(n_groups),
        "groups divide the channels"
    );
    let (gain, shift) = (gain.unsqueeze::<3>(), shift.unsqueeze::<3>());
    if !crate::is_fused(&[&x, &gain, &shift]) {
        let of_group = [batch, n_tokens, n_groups, n_channels / n_groups];
        let mean = |x: Tensor<4>| x.mean_dim(1).mean_dim(3);
        let grouped = x.reshape(of_group);
        let centred = grouped.clone() - mean(grouped);
        let variance = mean(centred.clone() * centred.clone()); // [batch, 1, groups, 1]
        let normal = centred * (variance + EPSILON).sqrt().recip();
        return silu(normal.reshape([batch, n_tokens, n_channels]) * gain + shift);
    }
    Tensor::from_dispatch(<Dispatch as GroupNormSilu>::group_norm_silu(
        x.into_dispatch(),
        gain.into_dispatch(),
        shift.into_dispatch(),
        n_groups,
    ))
}

#[backend_extension(Flex, Autodiff)]
trait GroupNormSilu: Backend {
    fn group_norm_silu(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        n_groups: usize,
    ) -> FloatTensor<Self>;
}

impl GroupNormSilu for Flex {
    fn group_norm_silu(
        x: FlexTensor,
        gain: FlexTensor,
        shift: FlexTensor,
        n_groups: usize,
    ) -> FlexTensor {
        forward(x, &gain, &shift, n_groups).0
    }
}

impl<C: CheckpointStrategy> GroupNormSilu for Autodiff<Flex, C> {
    fn group_norm_silu(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        n_groups: usize,
    ) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (gain, gain_node) = gain.into_parts();
        let (shift, shift_node) = shift.into_parts();
        tracked::<C, 3, _>(
            [x_node, gain_node, shift_node],
            forward(x, &gain, &shift, n_groups),
        )
    }
}

#[derive(Debug, Clone)]
struct State {
    x: FlexTensor,
    n_groups: usize,
    gain: Arc<[f32]>,
    shift: Arc<[f32]>,
    /// Mean and reciprocal deviation, `[batch, 2, channels]`.
    moments: Arc<[f32]>,
}

fn forward(
    x: FlexTensor,
    gain: &FlexTensor,
    shift: &FlexTensor,
    n_groups: usize,
) -> (FlexTensor, State) {
    let shape = x.shape();
    let (batch, n_tokens, n_channels) = (shape[0], shape[1], shape[2]);
    let row = |tensor| Strided::<3>::new(tensor).row([0, 0, 0], n_channels);
    let (gain, shift) = (row(gain), row(shift));
    let mut output = vec![0.0; shape.num_elements()];
    let mut moments = vec![0.0; 2 * batch * n_channels];
    let view = Strided::new(&x);
    output
        .par_chunks_mut((n_tokens * n_channels).max(1))
        .zip(moments.par_chunks_mut((2 * n_channels).max(1)))
        .enumerate()
        .for_each(|(number, (output, moments))| {
            let sample = Sample {
                x: view,
                number,
                n_tokens,
                n_groups,
                gain: &gain,
                shift: &shift,
            };
            vectorised(Forward {
                sample,
                output,
                moments,
            });
        });
    let kept = State {
        x,
        n_groups,
        gain: gain.into(),
        shift: shift.into(),
        moments: moments.into(),
    };
    (tensor(output, shape), kept)
}

impl Kept<3> for State {
    fn gradients(&self, output: FlexTensor, _wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let shape = self.x.shape();
        let (batch, n_tokens, n_channels) = (shape[0], shape[1], shape[2]);
        let mut of_x = vec![0.0; shape.num_elements()];
        let mut of_affine = vec![0.0; 2 * batch * n_channels];
        let (view, upstream) = (Strided::new(&self.x), Strided::new(&output));
        of_x.par_chunks_mut((n_tokens * n_channels).max(1))
            .zip(of_affine.par_chunks_mut((2 * n_channels).max(1)))
            .enumerate()
            .for_each(|(number, (of_x, of_affine))| {
                let sample = Sample {
                    x: view,
                    number,
                    n_tokens,
                    n_groups: self.n_groups,
                    gain: &self.gain,
                    shift: &self.shift,
                };
                vectorised(Backwards {
                    sample,
                    upstream,
                    moments: &self.moments[2 * number * n_channels..][..2 * n_channels],
                    of_x,
                    of_affine,
                });
            });
        let mut sums = [vec![0.0_f32; n_channels], vec![0.0; n_channels]];
        for of_sample in of_affine.chunks_exact((2 * n_channels).max(1)) {
            for (sum, part) in sums.iter_mut().zip(of_sample.chunks_exact(n_channels)) {
                sum.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
            }
        }
        let [of_gain, of_shift] = sums.map(|sum| Some(tensor(sum, [1, 1, n_channels])));
        [Some(tensor(of_x, shape)), of_gain, of_shift]
    }
}

/// One sample and the layer's weights.
struct Sample<'a> {
    x: Strided<'a, 3>,
    number: usize,
    n_tokens: usize,
    n_groups: usize,
    gain: &'a [f32],
    shift: &'a [f32],
}

impl Sample<'_> {
    fn n_channels(&self) -> usize {
        self.gain.len()
    }

    /// Zeros for a row padded to whole vectors.
    fn padded(&self) -> Vec<f32> {
        vec![0.0; self.n_channels().next_multiple_of(LANES)]
    }

    fn padded_copy(&self, values: &[f32]) -> Vec<f32> {
        let mut padded = self.padded();
        padded[..values.len()].copy_from_slice(values);
        padded
    }

    #[inline(always)]
    fn load(&self, token: usize, row: &mut [f32]) {
        let row = &mut row[..self.n_channels()];
        self.x.copy_row([self.number, token, 0], row);
    }

    /// Replaces the numbers of each channel by `f` of the mean over its group.
    fn means(&self, of_channels: &mut [f32], f: impl Fn(f64) -> f64) {
        let n = self.n_channels() / self.n_groups;
        for group in of_channels[..self.n_channels()].chunks_exact_mut(n.max(1)) {
            let sum: f64 = group.iter().map(|x| f64::from(*x)).sum();
            group.fill(f(sum / (n * self.n_tokens) as f64) as f32);
        }
    }
}

struct Forward<'a> {
    sample: Sample<'a>,
    output: &'a mut [f32],
    /// `[2, channels]`
    moments: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    fn run<I: Instructions>(self, set: I) {
        let Forward {
            sample,
            output,
            moments,
        } = self;
        let n_channels = sample.n_channels();
        let mut row = sample.padded();
        let n_vectors = row.len() / LANES;
        let mut mean = sample.padded();
        for token in 0..sample.n_tokens {
            sample.load(token, &mut row);
            for i in 0..n_vectors {
                let sum = set.add(read(set, &mean, i), read(set, &row, i));
                write(set, &mut mean, i, sum);
            }
        }
        sample.means(&mut mean, |mean| mean);
        let mut reciprocal = sample.padded();
        for token in 0..sample.n_tokens {
            sample.load(token, &mut row);
            for i in 0..n_vectors {
                let centred = set.sub(read(set, &row, i), read(set, &mean, i));
                let sum = set.mul_add(centred, centred, read(set, &reciprocal, i));
                write(set, &mut reciprocal, i, sum);
            }
        }
        sample.means(&mut reciprocal, |variance| {
            (variance + EPSILON).sqrt().recip()
        });
        let (gain, shift) = (
            sample.padded_copy(sample.gain),
            sample.padded_copy(sample.shift),
        );
        for (token, output) in output.chunks_exact_mut(n_channels.max(1)).enumerate() {
            sample.load(token, &mut row);
            for i in 0..n_vectors {
                let centred = set.sub(read(set, &row, i), read(set, &mean, i));
                let normal = set.mul(centred, read(set, &reciprocal, i));
                let u = set.mul_add(normal, read(set, &gain, i), read(set, &shift, i));
                write(set, &mut row, i, set.mul(u, sigmoid(set, u)));
            }
            output.copy_from_slice(&row[..n_channels]);
        }
        moments[..n_channels].copy_from_slice(&mean[..n_channels]);
        moments[n_channels..].copy_from_slice(&reciprocal[..n_channels]);
    }
}

struct Backwards<'a> {
    sample: Sample<'a>,
    upstream: Strided<'a, 3>,
    moments: &'a [f32],
    of_x: &'a mut [f32],
    /// Gain, then shift: `[2, channels]`.
    of_affine: &'a mut [f32],
}

impl Kernel for Backwards<'_> {
    #[inline(always)]
    fn run<I: Instructions>(self, set: I) {
        let Backwards {
            sample,
            upstream,
            moments,
            of_x,
            of_affine,
        } = self;
        let n_channels = sample.n_channels();
        let (mean, reciprocal) = moments.split_at(n_channels);
        let [mean, reciprocal, gain, shift] =
            [mean, reciprocal, sample.gain, sample.shift].map(|x| sample.padded_copy(x));
        let [mut row, mut gradient, mut of_gain, mut of_shift] =
            [const { Vec::new() }; 4].map(|_: Vec<f32>| sample.padded());
        let n_vectors = row.len() / LANES;
        let one = set.splat(1.0);
        // First du, and its sums.
        for (token, of_x) in of_x.chunks_exact_mut(n_channels.max(1)).enumerate() {
            sample.load(token, &mut row);
            let upstream_row = &mut gradient[..n_channels];
            upstream.copy_row([sample.number, token, 0], upstream_row);
            for i in 0..n_vectors {
                let centred = set.sub(read(set, &row, i), read(set, &mean, i));
                let normal = set.mul(centred, read(set, &reciprocal, i));
                let u = set.mul_add(normal, read(set, &gain, i), read(set, &shift, i));
                let s = sigmoid(set, u);
                let slope = set.mul(s, set.mul_add(u, set.sub(one, s), one));
                let du = set.mul(read(set, &gradient, i), slope);
                write(set, &mut gradient, i, du);
                let sum = set.add(read(set, &of_shift, i), du);
                write(set, &mut of_shift, i, sum);
                let sum = set.mul_add(du, normal, read(set, &of_gain, i));
                write(set, &mut of_gain, i, sum);
            }
            of_x.copy_from_slice(&gradient[..n_channels]);
        }
        of_affine[..n_channels].copy_from_slice(&of_gain[..n_channels]);
        of_affine[n_channels..].copy_from_slice(&of_shift[..n_channels]);
        // Then dx, from the means of gain du and of gain du h over each group.
        for (x, gain) in of_gain.iter_mut().zip(&gain) {
            *x *= gain;
        }
        for (x, gain) in of_shift.iter_mut().zip(&gain) {
            *x *= gain;
        }
        sample.means(&mut of_shift, |mean| mean);
        sample.means(&mut of_gain, |mean| mean);
        let (mean_du, agreement) = (of_shift, of_gain);
        for (token, of_x) in of_x.chunks_exact_mut(n_channels.max(1)).enumerate() {
            sample.load(token, &mut row);
            gradient[..n_channels].copy_from_slice(of_x);
            for i in 0..n_vectors {
                let centred = set.sub(read(set, &row, i), read(set, &mean, i));
                let normal = set.mul(centred, read(set, &reciprocal, i));
                let du = set.mul(read(set, &gradient, i), read(set, &gain, i));
                let dx = set.sub(du, read(set, &mean_du, i));
                let dx = set.sub(dx, set.mul(normal, read(set, &agreement, i)));
                write(set, &mut row, i, set.mul(dx, read(set, &reciprocal, i)));
            }
            of_x.copy_from_slice(&row[..n_channels]);
        }
    }
}

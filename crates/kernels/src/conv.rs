//! Convolution of images with 3 x 3 kernels, forward and both backwards, as products of matrices.
//!
//! A band of image rows is copied into a frame with a border of zeros. There, the three pixels that a
//! kernel row covers lie next to each other, so that one product per kernel row convolves the band:
//! row `p` of the first matrix begins at pixel `p` and overlaps the next. Products run over the border
//! too; what they give there is left out.
//!
//! ```text
//! frame  [rows + 2, width + 2, channels]      kernel row  [3 n_inputs, n_outputs]
//! forward    y[p] = b + sum over kernel rows i of  frame[p + i (width + 2) ..][.. 3 n_inputs] W_i
//! backward   dx = dy convolved with W turned by half a turn    dW_i = frame_i' dy    db = sum of dy
//! ```

use crate::autodiff::{Kept, tensor, tracked};
use crate::product::{Matrix, add_product, sum_of_parts};
use burn::backend::TensorMetadata;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Tensor, module, ops::ConvOptions};
use rayon::prelude::*;

/// Edge of the kernel.
const EDGE: usize = 3;
/// Numbers of a frame, about: it stays in a core's own cache.
const FRAME: usize = 64 * 1024;
/// Fewest rows of a band: below, the border costs more than it saves.
const FEWEST_ROWS: usize = 4;
/// Partial sums of the gradient of the weight, at most. Fixed, so that the order of summation depends
/// on the shapes alone.
const MOST_PARTS: usize = 4;

/// Convolves images with 3 x 3 kernels; pixels outside count as zero, so that sizes stay.
///
/// - `x`: `[batch, height, width, n_inputs]`
/// - `weight`: `[9 * n_inputs, n_outputs]`; its rows run over kernel rows, kernel columns and inputs, in
///   this order
/// - `bias`: `[batch or 1, n_outputs]`
/// - returns `[batch, height, width, n_outputs]`
///
/// On Burn's `flex` backend with `f32` numbers this is one fused operator whose results do not depend
/// on the number of threads; all else takes Burn's own operators.
///
/// # Panics
/// When the shapes do not fit each other, or there are no channels.
pub fn conv3x3(x: Tensor<4>, weight: Tensor<2>, bias: Tensor<2>) -> Tensor<4> {
    let [batch, _, _, n_inputs] = x.dims();
    let [n_rows, n_outputs] = weight.dims();
    assert_eq!(n_rows, EDGE * EDGE * n_inputs, "rows of the weight");
    let [n_biases, n_outputs_of_bias] = bias.dims();
    assert_eq!(n_outputs_of_bias, n_outputs, "outputs of weight and bias");
    assert!(n_inputs > 0 && n_outputs > 0, "inputs and outputs");
    assert!(
        n_biases == 1 || n_biases == batch,
        "one bias, or one per image"
    );
    if !(crate::is_fused(&[&x]) && crate::is_fused(&[&weight, &bias])) {
        let kernel = weight
            .reshape([EDGE, EDGE, n_inputs, n_outputs])
            .permute([3, 2, 0, 1]);
        let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
        let y = module::conv2d(x.permute([0, 3, 1, 2]), kernel, None, options);
        return y.permute([0, 2, 3, 1]) + bias.reshape([n_biases, 1, 1, n_outputs]);
    }
    Tensor::from_dispatch(<Dispatch as Convolution>::convolution(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
    ))
}

#[backend_extension(Flex, Autodiff)]
trait Convolution: Backend {
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl Convolution for Flex {
    fn convolution(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        Inputs::new(x, weight, &bias).forward(&bias)
    }
}

impl<C: CheckpointStrategy> Convolution for Autodiff<Flex, C> {
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let inputs = Inputs::new(x, weight, &bias);
        let output = inputs.forward(&bias);
        tracked::<C, 3, _>([x_node, weight_node, bias_node], (output, inputs))
    }
}

#[derive(Debug, Clone)]
struct Inputs {
    x: FlexTensor,
    weight: FlexTensor,
    n_biases: usize,
}

/// Images in memory and how they are cut.
#[derive(Clone, Copy)]
struct Images<'a> {
    /// `[batch, height, width, n_channels]`
    pixels: &'a [f32],
    height: usize,
    width: usize,
    n_channels: usize,
}

/// Rows of an image.
#[derive(Clone, Copy)]
struct Band {
    image: usize,
    first: usize,
    n_rows: usize,
}

impl<'a> Images<'a> {
    /// Images of a contiguous tensor.
    fn new(tensor: &'a FlexTensor) -> Self {
        let shape = tensor.shape();
        Images {
            pixels: &tensor.storage()[tensor.layout().start_offset()..][..shape.num_elements()],
            height: shape[1],
            width: shape[2],
            n_channels: shape[3],
        }
    }

    /// Numbers in a row of an image.
    fn row(&self) -> usize {
        self.width * self.n_channels
    }

    /// Numbers in a row of a frame.
    fn framed_row(&self) -> usize {
        (self.width + 2) * self.n_channels
    }

    /// Rows of a band: a frame of it and of the result, which has `n_outputs` channels, stay small.
    fn rows_of_band(&self, n_outputs: usize) -> usize {
        let framed_row = (self.width + 2) * self.n_channels.max(n_outputs).max(1);
        (FRAME / framed_row)
            .max(FEWEST_ROWS)
            .min(self.height.max(1))
    }

    /// Copies a band and one row above and below it into the middle of `frame`; what lies outside the
    /// image is zero.
    fn frame(&self, band: Band, frame: &mut [f32]) {
        let rows = frame.chunks_exact_mut(self.framed_row().max(1));
        for (i, framed) in rows.take(band.n_rows + 2).enumerate() {
            let row = (band.first + i).wrapping_sub(1);
            if row >= self.height {
                framed.fill(0.0);
                continue;
            }
            let start = (band.image * self.height + row) * self.row();
            framed[..self.n_channels].fill(0.0);
            framed[self.n_channels..][..self.row()]
                .copy_from_slice(&self.pixels[start..start + self.row()]);
            framed[self.n_channels + self.row()..].fill(0.0);
        }
    }

    /// Copies a band to the left of `frame`, followed by two columns of zeros.
    fn frame_left(&self, band: Band, frame: &mut [f32]) {
        let rows = frame.chunks_exact_mut(self.framed_row().max(1));
        for (i, framed) in rows.take(band.n_rows).enumerate() {
            let start = (band.image * self.height + band.first + i) * self.row();
            framed[..self.row()].copy_from_slice(&self.pixels[start..start + self.row()]);
            framed[self.row()..].fill(0.0);
        }
    }

    /// The pixels of a frame that kernel row `i` meets, one row of the matrix per pixel of the result
    /// with its two border columns, but for the last two.
    fn met<'b>(&self, frame: &'b [f32], band: Band, i: usize) -> Matrix<'b> {
        let n_pixels = band.n_rows * (self.width + 2) - 2;
        let start = i * self.framed_row();
        let size = [n_pixels, EDGE * self.n_channels];
        Matrix::with_stride(&frame[start..], size, self.n_channels)
    }

    /// Convolves all images with `weight`, `[9 * n_channels, n_outputs]`.
    fn convolve(
        &self,
        weight: &[f32],
        n_outputs: usize,
        bias: impl Fn(usize) -> Vec<f32> + Sync,
    ) -> Vec<f32> {
        let size = self.height * self.width * n_outputs;
        let batch = self.pixels.len() / (self.height * self.row()).max(1);
        let mut output = vec![0.0; batch * size];
        if output.is_empty() {
            return output;
        }
        let n_rows = self.rows_of_band(n_outputs);
        let weight_rows = EDGE * self.n_channels * n_outputs;
        let bands: Vec<(Band, &mut [f32])> = output
            .chunks_mut(size)
            .enumerate()
            .flat_map(|(image, output)| {
                let bands = output.chunks_mut(n_rows * self.width * n_outputs);
                bands.enumerate().map(move |(i, output)| {
                    let band = Band {
                        image,
                        first: i * n_rows,
                        n_rows: output.len() / (self.width * n_outputs),
                    };
                    (band, output)
                })
            })
            .collect();
        bands.into_par_iter().for_each_init(
            || {
                let frame = vec![0.0; (n_rows + 2) * self.framed_row()];
                (frame, vec![0.0; n_rows * (self.width + 2) * n_outputs])
            },
            |(frame, result), (band, output)| {
                self.frame(band, frame);
                let n_pixels = band.n_rows * (self.width + 2) - 2;
                let bias = bias(band.image);
                for pixel in result.chunks_exact_mut(n_outputs) {
                    pixel.copy_from_slice(&bias);
                }
                for (i, weight) in weight.chunks_exact(weight_rows.max(1)).enumerate() {
                    let weight = Matrix::of_rows(weight, n_outputs);
                    let result = &mut result[..n_pixels * n_outputs];
                    add_product(self.met(frame, band, i), weight, result);
                }
                let rows = result.chunks_exact((self.width + 2) * n_outputs);
                for (output, row) in output.chunks_exact_mut(self.width * n_outputs).zip(rows) {
                    output.copy_from_slice(&row[..output.len()]);
                }
            },
        );
        output
    }
}

impl Inputs {
    fn new(x: FlexTensor, weight: FlexTensor, bias: &FlexTensor) -> Self {
        Inputs {
            x: x.to_contiguous(),
            weight: weight.to_contiguous(),
            n_biases: bias.shape()[0],
        }
    }

    fn weight(&self) -> &[f32] {
        let n = self.weight.shape().num_elements();
        &self.weight.storage()[self.weight.layout().start_offset()..][..n]
    }

    fn forward(&self, bias: &FlexTensor) -> FlexTensor {
        let n_outputs = self.weight.shape()[1];
        let bias = bias.to_contiguous();
        let bias = Matrix::of_tensor(&bias).to_rows();
        let of_image =
            |image: usize| bias[image % self.n_biases * n_outputs..][..n_outputs].to_vec();
        let output = Images::new(&self.x).convolve(self.weight(), n_outputs, of_image);
        let mut shape = self.x.shape();
        shape[3] = n_outputs;
        tensor(output, shape)
    }

    /// The weight turned by half a turn, its inputs and outputs exchanged, `[9 * n_outputs, n_inputs]`.
    fn turned(&self) -> Vec<f32> {
        let n_outputs = self.weight.shape()[1];
        let n_inputs = self.weight.shape()[0] / (EDGE * EDGE);
        let mut turned = Vec::with_capacity(self.weight().len());
        for tap in self
            .weight()
            .chunks_exact((n_inputs * n_outputs).max(1))
            .rev()
        {
            turned.extend(Matrix::of_rows(tap, n_outputs).transposed().to_rows());
        }
        turned
    }

    /// Gradients of the weight, `[9 * n_inputs, n_outputs]`, and of each image's bias.
    fn gradients_of_weights(&self, dy: &Images) -> [Vec<f32>; 2] {
        let images = Images::new(&self.x);
        let batch = self.x.shape()[0];
        let n_weights = self.weight.shape().num_elements();
        let mut of_bias = vec![0.0; batch * dy.n_channels];
        let n_parts = batch.clamp(1, MOST_PARTS);
        let images_of_part = batch.div_ceil(n_parts).max(1);
        let n_rows = images.rows_of_band(dy.n_channels);
        let mut parts = vec![0.0; n_parts * n_weights];
        parts
            .par_chunks_mut(n_weights.max(1))
            .zip(of_bias.par_chunks_mut((images_of_part * dy.n_channels).max(1)))
            .enumerate()
            .for_each(|(part, (of_weight, of_bias))| {
                let mut frame = vec![0.0; (n_rows + 2) * images.framed_row()];
                let mut upstream = vec![0.0; n_rows * dy.framed_row()];
                let rows_of_weight = (EDGE * images.n_channels * dy.n_channels).max(1);
                let first_image = part * images_of_part;
                for (image, of_bias) in of_bias.chunks_exact_mut(dy.n_channels).enumerate() {
                    for first in (0..images.height).step_by(n_rows) {
                        let band = Band {
                            image: first_image + image,
                            first,
                            n_rows: n_rows.min(images.height - first),
                        };
                        images.frame(band, &mut frame);
                        dy.frame_left(band, &mut upstream);
                        let n_pixels = band.n_rows * (dy.width + 2) - 2;
                        let upstream =
                            Matrix::of_rows(&upstream[..n_pixels * dy.n_channels], dy.n_channels);
                        for (i, of_weight) in of_weight.chunks_exact_mut(rows_of_weight).enumerate()
                        {
                            let met = images.met(&frame, band, i);
                            add_product(met.transposed(), upstream, of_weight);
                        }
                        upstream.add_rows_to(of_bias);
                    }
                }
            });
        [sum_of_parts(parts, n_weights), of_bias]
    }
}

impl Kept<3> for Inputs {
    fn gradients(&self, output: FlexTensor, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let output = output.to_contiguous();
        let dy = Images::new(&output);
        let n_inputs = self.x.shape()[3];
        let n_outputs = dy.n_channels;
        let of_x = wanted[0].then(|| {
            let of_x = dy.convolve(&self.turned(), n_inputs, |_| vec![0.0; n_inputs]);
            tensor(of_x, self.x.shape())
        });
        let [of_weight, mut of_bias] = self.gradients_of_weights(&dy);
        if self.n_biases == 1 {
            let mut sum = vec![0.0; n_outputs];
            Matrix::of_rows(&of_bias, n_outputs).add_rows_to(&mut sum);
            of_bias = sum;
        }
        [
            of_x,
            Some(tensor(of_weight, self.weight.shape())),
            Some(tensor(of_bias, [self.n_biases, n_outputs])),
        ]
    }
}

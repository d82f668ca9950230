//! A convolutional network on images that narrows and widens again (Ronneberger 2015), with residual
//! blocks, a condition added between their convolutions, and squeeze-and-excitation.

use super::mlp::MlpShape;
use super::{Linear, Mlp};
use crate::parameters::{Builder, Initial};
use burn::tensor::{Tensor, activation::sigmoid};
use suffuse_kernels::{conv3x3, doubled, gated_residual, group_norm_silu, halved};

/// Groups of every group norm; they divide all widths.
const N_GROUPS: usize = 8;
/// Width of a residual block over the hidden width of its squeeze-and-excitation.
const SQUEEZE: usize = 4;

/// Sizes of a [`UNet`].
#[derive(Debug, Clone)]
pub struct UNetShape {
    /// Channels of the image that comes in.
    pub n_inputs: usize,
    /// Channels of the image that goes out.
    pub n_outputs: usize,
    /// Width at each resolution, the finest first; each is half the resolution before.
    pub widths: Vec<usize>,
    /// Width of the condition.
    pub condition_width: usize,
}

/// The network.
#[derive(Debug, Clone)]
pub struct UNet {
    first: Conv,
    down: Vec<ResidualBlock>,
    middle: ResidualBlock,
    /// The finest first, as in `down`.
    up: Vec<ResidualBlock>,
    last_norm: GroupNorm,
    last: Conv,
}

/// Two convolutions beside a straight path, with a gate on what they add.
#[derive(Debug, Clone)]
struct ResidualBlock {
    first_norm: GroupNorm,
    first: Tensor<2>,
    condition: Linear,
    second_norm: GroupNorm,
    second: Conv,
    excitation: Mlp,
    /// A map of the channels where their number changes.
    straight: Option<Linear>,
}

#[derive(Debug, Clone)]
struct Conv {
    weight: Tensor<2>,
    bias: Tensor<1>,
}

#[derive(Debug, Clone)]
struct GroupNorm {
    gain: Tensor<1>,
    shift: Tensor<1>,
}

impl UNet {
    /// A network of this shape; there is at least one width, and 8 divides each.
    pub fn new(p: &mut Builder, shape: &UNetShape) -> Self {
        let widths = &shape.widths;
        let block = |p: &mut Builder, name: &str, n_inputs: usize, n_outputs: usize| {
            p.within(name, |p| {
                ResidualBlock::new(p, n_inputs, n_outputs, shape.condition_width)
            })
        };
        let coarsest = widths[widths.len() - 1];
        UNet {
            first: Conv::new(p, "first", shape.n_inputs, widths[0]),
            down: (0..widths.len())
                .map(|i| {
                    let n_inputs = widths[i.saturating_sub(1)];
                    block(p, &format!("down{i}"), n_inputs, widths[i])
                })
                .collect(),
            middle: block(p, "middle", coarsest, coarsest),
            up: (0..widths.len())
                .map(|i| {
                    let from_below = widths.get(i + 1).copied().unwrap_or(coarsest);
                    block(p, &format!("up{i}"), from_below + widths[i], widths[i])
                })
                .collect(),
            last_norm: GroupNorm::new(p, "last_norm", widths[0]),
            last: Conv::new(p, "last", widths[0], shape.n_outputs),
        }
    }

    /// The image that the network makes of `x`.
    ///
    /// - `x`: `[batch, height, width, n_inputs]`; all widths but the first halve its sides, which must go
    ///   without remainder
    /// - `condition`: `[batch, condition_width]`
    /// - returns `[batch, height, width, n_outputs]`
    pub fn forward(&self, x: Tensor<4>, condition: &Tensor<2>) -> Tensor<4> {
        let mut x = self.first.forward(x);
        let mut passed = Vec::with_capacity(self.down.len());
        for (i, block) in self.down.iter().enumerate() {
            if i > 0 {
                x = halved(x);
            }
            x = block.forward(x, condition);
            passed.push(x.clone());
        }
        x = self.middle.forward(x, condition);
        for (i, block) in self.up.iter().enumerate().rev() {
            if i + 1 < self.up.len() {
                x = doubled(x);
            }
            x = block.forward(Tensor::cat(vec![x, passed[i].clone()], 3), condition);
        }
        self.last.forward(self.last_norm.forward(x))
    }
}

impl ResidualBlock {
    fn new(p: &mut Builder, n_inputs: usize, n_outputs: usize, condition_width: usize) -> Self {
        let excitation = MlpShape {
            n_inputs: n_outputs,
            n_hidden: n_outputs / SQUEEZE,
            n_outputs,
        };
        ResidualBlock {
            first_norm: GroupNorm::new(p, "first_norm", n_inputs),
            first: Conv::weight(p, "first", n_inputs, n_outputs),
            condition: Linear::new(p, "condition", condition_width, n_outputs),
            second_norm: GroupNorm::new(p, "second_norm", n_outputs),
            second: Conv::new(p, "second", n_outputs, n_outputs),
            excitation: Mlp::new(p, "excitation", excitation),
            straight: (n_inputs != n_outputs)
                .then(|| Linear::new(p, "straight", n_inputs, n_outputs)),
        }
    }

    fn forward(&self, x: Tensor<4>, condition: &Tensor<2>) -> Tensor<4> {
        let [batch, height, width, _] = x.dims();
        let shift = self.condition.forward(condition.clone()); // [batch, n_outputs]
        let h = conv3x3(
            self.first_norm.forward(x.clone()),
            self.first.clone(),
            shift,
        );
        let h = self.second.forward(self.second_norm.forward(h));
        let [_, _, _, n_outputs] = h.dims();
        let tokens = [batch, height * width, n_outputs];
        let h = h.reshape(tokens);
        let gate = sigmoid(self.excitation.forward(h.clone().mean_dim(1))); // [batch, 1, n_outputs]
        let straight = match &self.straight {
            Some(straight) => straight.forward(x),
            None => x,
        };
        gated_residual(straight.reshape(tokens), h, gate).reshape([batch, height, width, n_outputs])
    }
}

impl Conv {
    fn new(p: &mut Builder, name: &str, n_inputs: usize, n_outputs: usize) -> Self {
        Conv {
            weight: Conv::weight(p, name, n_inputs, n_outputs),
            bias: p.within(name, |p| {
                p.vector("bias", n_outputs, Initial::FanIn(9 * n_inputs))
            }),
        }
    }

    fn weight(p: &mut Builder, name: &str, n_inputs: usize, n_outputs: usize) -> Tensor<2> {
        let shape = [9 * n_inputs, n_outputs];
        p.within(name, |p| {
            p.matrix("weight", shape, Initial::FanIn(9 * n_inputs))
        })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        conv3x3(x, self.weight.clone(), self.bias.clone().unsqueeze())
    }
}

impl GroupNorm {
    fn new(p: &mut Builder, name: &str, n_channels: usize) -> Self {
        p.within(name, |p| GroupNorm {
            gain: p.vector("gain", n_channels, Initial::Constant(1.0)),
            shift: p.vector("shift", n_channels, Initial::Zero),
        })
    }

    /// `silu` of the normalised image.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shape @ [batch, height, width, n_channels] = x.dims();
        let x = x.reshape([batch, height * width, n_channels]);
        group_norm_silu(x, self.gain.clone(), self.shift.clone(), N_GROUPS).reshape(shape)
    }
}

//! A transformer block whose norms and residuals a condition sets (Peebles & Xie 2023, adaLN-Zero).

use super::attention::{AttentionMask, KeyValue};
use super::mlp::MlpShape;
use super::norm::{Modulation, modulate};
use super::{Attention, Linear, Mlp};
use crate::parameters::Builder;
use burn::tensor::Tensor;
use suffuse_kernels::{Activation, gated_residual};

/// Sizes of a [`DitBlock`].
#[derive(Debug, Clone, Copy)]
pub struct DitShape {
    /// Width of the tokens and of the condition.
    pub width: usize,
    /// Heads of the attention; they divide the width.
    pub n_heads: usize,
    /// Hidden width of the perceptron over the width.
    pub mlp_ratio: usize,
    /// Activation of the perceptron.
    pub activation: Activation,
}

/// Attention and a perceptron, both residual.
#[derive(Debug, Clone)]
pub struct DitBlock {
    attention: Attention,
    mlp: Mlp,
    modulation: Linear,
}

/// What a condition makes of a block: shifts, scales and gates, each `[batch, 1, width]`.
#[derive(Debug, Clone)]
pub struct BlockModulation {
    attention: Modulation,
    attention_gate: Tensor<3>,
    mlp: Modulation,
    mlp_gate: Tensor<3>,
}

impl DitBlock {
    /// A block that starts as the identity.
    pub fn new(p: &mut Builder, shape: DitShape) -> Self {
        let DitShape {
            width,
            n_heads,
            mlp_ratio,
            activation,
        } = shape;
        let mlp = MlpShape {
            n_inputs: width,
            n_hidden: mlp_ratio * width,
            n_outputs: width,
        };
        DitBlock {
            attention: Attention::new(p, "attention", width, n_heads),
            mlp: Mlp::with(p, "mlp", mlp, activation),
            modulation: Linear::zero(p, "modulation", width, 6 * width),
        }
    }

    /// The modulation for a condition, `[batch, 1, width]`.
    pub fn modulation(&self, condition: Tensor<3>) -> BlockModulation {
        let [shift, scale, attention_gate, mlp_shift, mlp_scale, mlp_gate] =
            chunks(&self.modulation.forward(condition));
        BlockModulation {
            attention: Modulation { shift, scale },
            attention_gate,
            mlp: Modulation {
                shift: mlp_shift,
                scale: mlp_scale,
            },
            mlp_gate,
        }
    }

    /// The normalised tokens, with which they attend, and their own keys and values.
    ///
    /// - `x`: `[batch, tokens, width]`
    pub fn attending(&self, x: &Tensor<3>, m: &BlockModulation) -> (Tensor<3>, KeyValue) {
        let h = modulate(x.clone(), &m.attention);
        let own = self.attention.key_value(&h);
        (h, own)
    }

    /// The block's output, `[batch, tokens, width]`.
    ///
    /// - `x`, `h`: the tokens as they are and [attending](DitBlock::attending)
    /// - `seen`: what they may attend to
    pub fn forward(
        &self,
        x: Tensor<3>,
        h: &Tensor<3>,
        seen: &KeyValue,
        mask: &AttentionMask,
        m: &BlockModulation,
    ) -> Tensor<3> {
        let attended = self.attention.attend(h, seen, mask);
        let x = gated_residual(x, attended, m.attention_gate.clone());
        let mixed = self.mlp.forward(modulate(x.clone(), &m.mlp));
        gated_residual(x, mixed, m.mlp_gate.clone())
    }

    /// The weights with which `h` attends to `seen`, `[batch, heads, tokens, keys]`.
    pub fn attention_weights(
        &self,
        h: &Tensor<3>,
        seen: &KeyValue,
        mask: &AttentionMask,
    ) -> Tensor<4> {
        self.attention.weights(h, seen, mask)
    }
}

/// Cuts the last axis into `N` equal parts.
pub fn chunks<const N: usize>(x: &Tensor<3>) -> [Tensor<3>; N] {
    let [batch, tokens, width] = x.dims();
    let n = width / N;
    std::array::from_fn(|i| x.clone().slice([0..batch, 0..tokens, i * n..(i + 1) * n]))
}

//! Multi-head attention with a mask and an additive bias.

use super::Linear;
use crate::parameters::Builder;
use burn::tensor::{Bool, Tensor, activation::softmax};

/// Added to the score of a blocked pair; the exponential of it is exactly zero.
const BLOCKED: f32 = -1e9;

/// Keys and values of the tokens that may be attended to, split by head.
#[derive(Debug, Clone)]
pub struct KeyValue {
    /// `[batch, heads, tokens, width / heads]`
    pub key: Tensor<4>,
    /// `[batch, heads, tokens, width / heads]`
    pub value: Tensor<4>,
}

/// Which pairs are blocked and which are favoured; both broadcast over the batch.
#[derive(Debug, Clone)]
pub struct AttentionMask {
    /// `[1, 1, queries, keys]`, true where the query must not see the key. No row is all true.
    pub blocked: Tensor<4, Bool>,
    /// `[1, heads, queries, keys]`, added to the scores.
    pub bias: Option<Tensor<4>>,
}

/// Projections of multi-head attention (Vaswani 2017).
#[derive(Debug, Clone)]
pub struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    n_heads: usize,
}

impl KeyValue {
    /// The tokens of `self` followed by those of `other`.
    pub fn followed_by(&self, other: &KeyValue) -> KeyValue {
        KeyValue {
            key: Tensor::cat(vec![self.key.clone(), other.key.clone()], 2),
            value: Tensor::cat(vec![self.value.clone(), other.value.clone()], 2),
        }
    }
}

impl Attention {
    /// Projections of `width`, which `n_heads` divides.
    pub fn new(p: &mut Builder, name: &str, width: usize, n_heads: usize) -> Self {
        p.within(name, |p| Attention {
            query: Linear::new(p, "query", width, width),
            key: Linear::new(p, "key", width, width),
            value: Linear::new(p, "value", width, width),
            output: Linear::new(p, "output", width, width),
            n_heads,
        })
    }

    /// Keys and values of tokens.
    ///
    /// - `x`: `[batch, tokens, width]`
    pub fn key_value(&self, x: &Tensor<3>) -> KeyValue {
        KeyValue {
            key: self.heads(self.key.forward(x.clone())),
            value: self.heads(self.value.forward(x.clone())),
        }
    }

    /// Lets the tokens `x` attend to `seen`; also returns the attention weights.
    ///
    /// `softmax(q k^T / sqrt(d) + bias, blocked pairs at -1e9) v`, then the output projection.
    ///
    /// - `x`: `[batch, queries, width]`
    /// - returns `[batch, queries, width]` and `[batch, heads, queries, keys]`
    pub fn attend(
        &self,
        x: &Tensor<3>,
        seen: &KeyValue,
        mask: &AttentionMask,
    ) -> (Tensor<3>, Tensor<4>) {
        let [batch, queries, width] = x.dims();
        let d_head = width / self.n_heads;
        let query = self
            .heads(self.query.forward(x.clone()))
            .mul_scalar(1.0 / (d_head as f64).sqrt());
        let mut scores = query.matmul(seen.key.clone().swap_dims(2, 3)); // [batch, heads, queries, keys]
        if let Some(bias) = &mask.bias {
            scores = scores + bias.clone();
        }
        let [_, n_heads, _, keys] = scores.dims();
        let blocked = mask.blocked.clone().expand([batch, n_heads, queries, keys]);
        let weights = softmax(scores.mask_fill(blocked, BLOCKED), 3);
        let mixed = weights.clone().matmul(seen.value.clone()); // [batch, heads, queries, d_head]
        let mixed = mixed.swap_dims(1, 2).reshape([batch, queries, width]);
        (self.output.forward(mixed), weights)
    }

    fn heads(&self, x: Tensor<3>) -> Tensor<4> {
        let [batch, tokens, width] = x.dims();
        x.reshape([batch, tokens, self.n_heads, width / self.n_heads])
            .swap_dims(1, 2)
    }
}

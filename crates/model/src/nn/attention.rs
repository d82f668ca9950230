//! Multi-head attention with a mask and an additive bias.

use super::Linear;
use crate::parameters::Builder;
use burn::tensor::{Bool, Tensor, TensorData, activation::softmax};
use suffuse_kernels::{Blocked, masked_attention};

/// Keys and values of the tokens that may be attended to, split by head.
#[derive(Debug, Clone)]
pub struct KeyValue {
    /// `[batch, heads, tokens, width / heads]`
    pub key: Tensor<4>,
    /// `[batch, heads, tokens, width / heads]`
    pub value: Tensor<4>,
}

/// Which pairs are blocked and what biases the others take; both are the same for all samples.
#[derive(Debug, Clone)]
pub struct AttentionMask {
    /// `[queries, keys]`, true where the query must not see the key, and the index of each pair's
    /// bias. A query that sees no key gets zeros.
    pub blocked: Blocked,
    /// `[heads, biases]`, added to the scores.
    pub bias: Option<Tensor<2>>,
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

    /// Lets the tokens `x` attend to `seen`.
    ///
    /// `softmax(q k^T / sqrt(d) + bias, blocked pairs left out) v`, then the output projection.
    ///
    /// - `x`: `[batch, queries, width]`
    /// - returns `[batch, queries, width]`
    pub fn attend(&self, x: &Tensor<3>, seen: &KeyValue, mask: &AttentionMask) -> Tensor<3> {
        let [batch, queries, width] = x.dims();
        let query = self.heads(self.query.forward(x.clone()));
        let (key, value) = (seen.key.clone(), seen.value.clone());
        let mixed = masked_attention(query, key, value, &mask.blocked, mask.bias.clone()); // [batch, heads, queries, d_head]
        self.output
            .forward(mixed.swap_dims(1, 2).reshape([batch, queries, width]))
    }

    /// The weights with which the tokens `x` attend to `seen`, `[batch, heads, queries, keys]`.
    ///
    /// No query may be blocked from all keys.
    pub fn weights(&self, x: &Tensor<3>, seen: &KeyValue, mask: &AttentionMask) -> Tensor<4> {
        let [_, _, width] = x.dims();
        let scale = 1.0 / ((width / self.n_heads) as f64).sqrt();
        let query = self.heads(self.query.forward(x.clone())).mul_scalar(scale);
        let mut scores = query.matmul(seen.key.clone().swap_dims(2, 3)); // [batch, heads, queries, keys]
        if let Some(bias) = &mask.bias {
            scores = scores + mask.blocked.biases(bias.clone()).unsqueeze();
        }
        let shape = scores.dims();
        let [n_queries, n_keys] = mask.blocked.dims();
        let blocked = TensorData::new(mask.blocked.pairs().to_vec(), [1, 1, n_queries, n_keys]);
        let blocked = Tensor::<4, Bool>::from_data(blocked, &scores.device()).expand(shape);
        softmax(scores.mask_fill(blocked, f32::NEG_INFINITY), 3)
    }

    fn heads(&self, x: Tensor<3>) -> Tensor<4> {
        let [batch, tokens, width] = x.dims();
        x.reshape([batch, tokens, self.n_heads, width / self.n_heads])
            .swap_dims(1, 2)
    }
}

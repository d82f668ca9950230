//! BERT (Devlin 2019): token, position and type embeddings, then post-norm transformer layers.
//!
//! ```text
//! h = LN(word[id] + position[i] + type[0])
//! per layer:  h = LN(h + W_o * attention(h))
//!             h = LN(h + W_2 * act(W_1 * h))
//! ```
//!
//! Inference only, one text at a time at its own length, so there is no padding and no mask, and
//! the numbers of a text cannot depend on the texts around it.

use super::config::{Activation, EncoderConfig};
use super::weights::Weights;
use crate::cond::Result;
use burn::tensor::activation::{gelu, gelu_approximate, relu, softmax};
use burn::tensor::{Device, Int, Tensor, TensorData, module};

/// The encoder with its weights.
#[derive(Debug)]
pub(super) struct Bert {
    words: Tensor<2>,     // [vocab_size, hidden_size]
    positions: Tensor<2>, // [max_positions, hidden_size]
    /// Row 0 of the token-type embedding: all tokens of a single text have type 0.
    first_type: Tensor<2>, // [1, hidden_size]
    norm: LayerNorm,
    layers: Vec<Layer>,
    device: Device,
}

#[derive(Debug)]
struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
    n_heads: usize,
    activation: Activation,
}

#[derive(Debug)]
struct Linear {
    weight: Tensor<2>, // [in, out], the transpose of the file's
    bias: Tensor<2>,   // [1, out]
}

#[derive(Debug)]
struct LayerNorm {
    gamma: Tensor<1>,
    beta: Tensor<1>,
    eps: f64,
}

impl Bert {
    /// Takes the tensors of the model out of `weights`, and fails if some are left.
    pub(super) fn new(
        config: &EncoderConfig,
        mut weights: Weights,
        device: &Device,
    ) -> Result<Bert> {
        let width = config.hidden_size;
        let mut table = |name: &str, n_rows: usize| -> Result<Tensor<2>> {
            let values = weights.take(
                &format!("embeddings.{name}_embeddings.weight"),
                &[n_rows, width],
            )?;
            Ok(Tensor::from_data(
                TensorData::new(values, [n_rows, width]),
                device,
            ))
        };
        let words = table("word", config.vocab_size)?;
        let positions = table("position", config.max_positions)?;
        let first_type = table("token_type", config.n_token_types)?.narrow(0, 0, 1); // [1, hidden_size]
        let norm = LayerNorm::new("embeddings", config, &mut weights, device)?;
        let mut layers = Vec::new();
        for index in 0..config.n_layers {
            layers.push(Layer::new(
                &format!("encoder.layer.{index}"),
                config,
                &mut weights,
                device,
            )?);
        }
        weights.finish()?;
        Ok(Bert {
            words,
            positions,
            first_type,
            norm,
            layers,
            device: device.clone(),
        })
    }

    /// The vectors of the tokens of one text.
    ///
    /// - `token_ids`: 1 to `max_positions` ids below `vocab_size`
    /// - returns `[n_tokens, hidden_size]`
    pub(super) fn forward(&self, token_ids: &[u32]) -> Tensor<2> {
        let n_tokens = token_ids.len();
        let ids: Vec<i64> = token_ids.iter().map(|id| i64::from(*id)).collect();
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [n_tokens]), &self.device);
        let embedded = self.words.clone().select(0, ids) // [n_tokens, hidden]
            + self.positions.clone().narrow(0, 0, n_tokens)
            + self.first_type.clone();
        self.layers
            .iter()
            .fold(self.norm.forward(embedded), |hidden, layer| {
                layer.forward(hidden)
            })
    }
}

impl Layer {
    fn new(
        name: &str,
        config: &EncoderConfig,
        weights: &mut Weights,
        device: &Device,
    ) -> Result<Layer> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let mut linear = |part: &str, n_in: usize, n_out: usize| {
            Linear::new(
                &format!("{name}.{part}"),
                LinearSize { n_in, n_out },
                weights,
                device,
            )
        };
        Ok(Layer {
            query: linear("attention.self.query", width, width)?,
            key: linear("attention.self.key", width, width)?,
            value: linear("attention.self.value", width, width)?,
            attention_output: linear("attention.output.dense", width, width)?,
            intermediate: linear("intermediate.dense", width, inner)?,
            output: linear("output.dense", inner, width)?,
            attention_norm: LayerNorm::new(
                &format!("{name}.attention.output"),
                config,
                weights,
                device,
            )?,
            output_norm: LayerNorm::new(&format!("{name}.output"), config, weights, device)?,
            n_heads: config.n_heads,
            activation: config.activation,
        })
    }

    /// `[n_tokens, hidden]` to `[n_tokens, hidden]`.
    fn forward(&self, hidden: Tensor<2>) -> Tensor<2> {
        let attended = self.attention_output.forward(self.attend(&hidden));
        let hidden = self.attention_norm.forward(hidden + attended);
        let inner = self.intermediate.forward(hidden.clone()); // [n_tokens, intermediate]
        let inner = match self.activation {
            Activation::Gelu => gelu(inner),
            Activation::GeluTanh => gelu_approximate(inner),
            Activation::Relu => relu(inner),
        };
        self.output_norm
            .forward(hidden + self.output.forward(inner))
    }

    /// Softmax attention of every token to every token, heads joined, before the output map.
    fn attend(&self, hidden: &Tensor<2>) -> Tensor<2> {
        let [n_tokens, width] = hidden.dims();
        let d_head = width / self.n_heads;
        let split = |linear: &Linear| {
            linear
                .forward(hidden.clone())
                .reshape([n_tokens, self.n_heads, d_head])
                .swap_dims(0, 1) // [heads, n_tokens, d_head]
        };
        let scores = split(&self.query).matmul(split(&self.key).transpose()); // [heads, n_tokens, n_tokens]
        let attention = softmax(scores / (d_head as f64).sqrt(), 2);
        attention
            .matmul(split(&self.value)) // [heads, n_tokens, d_head]
            .swap_dims(0, 1)
            .reshape([n_tokens, width])
    }
}

#[derive(Clone, Copy)]
struct LinearSize {
    n_in: usize,
    n_out: usize,
}

impl Linear {
    fn new(name: &str, size: LinearSize, weights: &mut Weights, device: &Device) -> Result<Linear> {
        let LinearSize { n_in, n_out } = size;
        let rows = weights.take(&format!("{name}.weight"), &[n_out, n_in])?;
        let mut columns = vec![0.0; rows.len()];
        for (out, row) in rows.chunks_exact(n_in).enumerate() {
            for (input, weight) in row.iter().enumerate() {
                columns[input * n_out + out] = *weight;
            }
        }
        let bias = weights.take(&format!("{name}.bias"), &[n_out])?;
        Ok(Linear {
            weight: Tensor::from_data(TensorData::new(columns, [n_in, n_out]), device),
            bias: Tensor::from_data(TensorData::new(bias, [1, n_out]), device),
        })
    }

    /// `[n_tokens, in]` to `[n_tokens, out]`.
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.clone()) + self.bias.clone()
    }
}

impl LayerNorm {
    fn new(
        place: &str,
        config: &EncoderConfig,
        weights: &mut Weights,
        device: &Device,
    ) -> Result<LayerNorm> {
        let mut vector = |modern: &str, old: &str| -> Result<Tensor<1>> {
            let (modern, old) = (
                format!("{place}.LayerNorm.{modern}"),
                format!("{place}.LayerNorm.{old}"),
            );
            let values = weights.take_either([&modern, &old], &[config.hidden_size])?;
            Ok(Tensor::from_data(
                TensorData::new(values, [config.hidden_size]),
                device,
            ))
        };
        Ok(LayerNorm {
            gamma: vector("weight", "gamma")?,
            beta: vector("bias", "beta")?,
            eps: config.layer_norm_eps,
        })
    }

    /// Over the last axis, variance with divisor n.
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        module::layer_norm(x, self.gamma.clone(), Some(self.beta.clone()), self.eps)
    }
}

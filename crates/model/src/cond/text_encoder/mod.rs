//! Sentences to vectors: a frozen BERT-family encoder read from a local folder.
//!
//! ```text
//! text ─tokenizer.json─► token ids ─bert─► [n_tokens, hidden] ─mean or [CLS]─► [hidden] ─L2?─►
//! ```
//!
//! The folder is that of a Hugging Face model (`config.json`, `tokenizer.json`,
//! `model.safetensors`) or of a sentence-transformers model (the same with `modules.json`). The
//! numbers agree with sentence-transformers within 1e-5 (`parity/text_encoder`).
//!
//! Texts go through the network one by one at their own length. So an embedding is the same in
//! every bit whatever else is encoded, in whatever order, with however many threads.

mod bert;
mod cache;
mod config;
mod weights;

pub use cache::EmbeddingCache;
pub use config::{Activation, EncoderConfig, Pooling};

use super::{Error, Result};
use bert::Bert;
use burn::tensor::{Device, Tensor};
use config::EncoderFolder;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::Path;
use tokenizers::{Tokenizer, TruncationParams};
use weights::Weights;

/// A frozen text encoder: tokenizer, BERT, pooling.
///
/// Weights are held as f32 on the CPU.
///
/// ```no_run
/// use suffuse_model::cond::TextEncoder;
///
/// let encoder = TextEncoder::load("all-MiniLM-L6-v2".as_ref())?;
/// let embeddings = encoder.encode(&["age: 63; sex: female.".to_string()])?;
/// assert_eq!(embeddings[0].len(), encoder.dim());
/// # Ok::<(), suffuse_model::cond::Error>(())
/// ```
#[derive(Debug)]
pub struct TextEncoder {
    config: EncoderConfig,
    tokenizer: Tokenizer,
    bert: Bert,
    identity: String,
}

impl TextEncoder {
    /// Reads the encoder in `folder`.
    ///
    /// # Errors
    /// A file is missing or broken, the model is not a BERT encoder, a setting is not supported,
    /// or a tensor is missing, left over, or of another shape than `config.json` says.
    pub fn load(folder: &Path) -> Result<TextEncoder> {
        let EncoderFolder {
            config,
            transformer,
        } = EncoderFolder::read(folder)?;
        let read = |name: &str| -> Result<Vec<u8>> {
            let path = transformer.join(name);
            std::fs::read(&path).map_err(|source| Error::io(path, "read", source))
        };
        let tokenizer_bytes = read("tokenizer.json")?;
        let tokenizer = load_tokenizer(
            &transformer.join("tokenizer.json"),
            &tokenizer_bytes,
            &config,
        )?;
        let weight_bytes = read("model.safetensors")?;
        let weights = Weights::parse(&transformer.join("model.safetensors"), &weight_bytes)?;
        let bert = Bert::new(&config, weights, &Device::flex())?;
        let identity = identity(&config, &tokenizer_bytes, &weight_bytes);
        Ok(TextEncoder {
            config,
            tokenizer,
            bert,
            identity,
        })
    }

    /// Length of an embedding.
    pub fn dim(&self) -> usize {
        self.config.hidden_size
    }

    /// What the folder said of the model.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// SHA-256, in hexadecimal, over everything that decides an embedding: weights, tokenizer and
    /// settings. Two encoders of one identity give the same embeddings.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// One embedding of length [`dim`](Self::dim) per text, in the order of `texts`.
    ///
    /// Equal texts are computed once. Texts beyond `max_tokens` are cut, as the model's authors
    /// do. Keep results across calls and runs with [`EmbeddingCache`].
    ///
    /// # Errors
    /// A text that gives no token, or a token that the weights do not know.
    pub fn encode(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let mut known: HashMap<&str, Vec<f32>> = HashMap::new();
        for text in texts {
            if !known.contains_key(text.as_str()) {
                known.insert(text, self.encode_one(text)?);
            }
        }
        Ok(texts
            .iter()
            .map(|text| known[text.as_str()].clone())
            .collect())
    }

    /// The embedding of one text.
    fn encode_one(&self, text: &str) -> Result<Vec<f32>> {
        let token_ids = self.token_ids(text)?;
        let mut embedding = self.pool(self.bert.forward(&token_ids));
        if self.config.is_normalized {
            normalize(&mut embedding);
        }
        Ok(embedding.into_iter().map(|value| value as f32).collect())
    }

    fn token_ids(&self, text: &str) -> Result<Vec<u32>> {
        let refuse = |problem: String| Error::Tokenize {
            text: text.to_string(),
            problem,
        };
        let cased = if self.config.is_lower_cased {
            text.to_lowercase()
        } else {
            text.to_string()
        };
        let encoding = self
            .tokenizer
            .encode(cased, true)
            .map_err(|error| refuse(error.to_string()))?;
        let token_ids = encoding.get_ids();
        if token_ids.is_empty() {
            return Err(refuse("it gives no token".to_string()));
        }
        if let Some(id) = token_ids
            .iter()
            .find(|id| **id as usize >= self.config.vocab_size)
        {
            return Err(refuse(format!(
                "token id {id}, but vocab_size is {}",
                self.config.vocab_size
            )));
        }
        if token_ids.len() > self.config.max_positions {
            return Err(refuse(format!(
                "{} tokens, but at most {} positions",
                token_ids.len(),
                self.config.max_positions
            )));
        }
        Ok(token_ids.to_vec())
    }

    /// `[n_tokens, hidden]` to `[hidden]`, sums in f64.
    fn pool(&self, hidden: Tensor<2>) -> Vec<f64> {
        let [n_tokens, width] = hidden.dims();
        let values: Vec<f32> = hidden
            .into_data()
            .try_to_vec()
            .expect("the encoder computes in f32");
        match self.config.pooling {
            Pooling::Cls => values[..width]
                .iter()
                .map(|value| f64::from(*value))
                .collect(),
            Pooling::Mean => {
                let mut mean = vec![0.0; width];
                for row in values.chunks_exact(width) {
                    for (sum, value) in mean.iter_mut().zip(row) {
                        *sum += f64::from(*value);
                    }
                }
                mean.iter_mut().for_each(|sum| *sum /= n_tokens as f64);
                mean
            }
        }
    }
}

/// Scales to length 1; the floor under the length is that of PyTorch's `normalize`.
fn normalize(embedding: &mut [f64]) {
    let length = embedding
        .iter()
        .map(|value| value * value)
        .sum::<f64>()
        .sqrt()
        .max(1e-12);
    embedding.iter_mut().for_each(|value| *value /= length);
}

/// The tokenizer with its own padding switched off and its truncation set to `max_tokens`.
///
/// Folders ship both with the values of some export (MiniLM pads to 128 and cuts at 128).
fn load_tokenizer(path: &Path, bytes: &[u8], config: &EncoderConfig) -> Result<Tokenizer> {
    let refuse =
        |problem: String| Error::format(path, "content", problem, "a Hugging Face tokenizer");
    let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| refuse(error.to_string()))?;
    let truncation = TruncationParams {
        max_length: config.max_tokens,
        ..TruncationParams::default()
    };
    tokenizer.with_padding(None);
    tokenizer
        .with_truncation(Some(truncation))
        .map_err(|error| refuse(error.to_string()))?;
    Ok(tokenizer)
}

fn identity(config: &EncoderConfig, tokenizer: &[u8], weights: &[u8]) -> String {
    let config = serde_json::to_vec(config).expect("a plain struct of numbers and names is JSON");
    let mut hash = Sha256::new();
    for part in [&config[..], tokenizer, weights] {
        hash.update(Sha256::digest(part));
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

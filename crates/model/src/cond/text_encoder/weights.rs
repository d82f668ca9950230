//! Strict reading of `model.safetensors`: every tensor by name, shape and type.

use crate::cond::{Error, Result};
use burn::tensor::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The tensors of a BERT, each to be taken once.
///
/// Nothing is allocated by a size that the file only declares: the bytes are those of the file,
/// and a tensor is decoded after its declared shape agreed with both its bytes and the caller.
pub(super) struct Weights<'a> {
    path: PathBuf,
    tensors: SafeTensors<'a>,
    /// "" or "bert.", before every name.
    prefix: &'static str,
    taken: BTreeSet<String>,
}

impl<'a> Weights<'a> {
    /// Reads the header of a file whose bytes are `bytes`; `path` is for messages.
    pub(super) fn parse(path: &Path, bytes: &'a [u8]) -> Result<Weights<'a>> {
        let tensors =
            SafeTensors::deserialize(bytes).map_err(|problem| match oversized_tensor(bytes) {
                Some((tensor, found)) => Error::Tensor {
                    path: path.to_path_buf(),
                    tensor,
                    found,
                    expected: "a shape that fits its bytes in the file".to_string(),
                },
                None => Error::format(
                    path,
                    "header",
                    problem.to_string(),
                    "a complete safetensors file",
                ),
            })?;
        let first = "embeddings.word_embeddings.weight";
        let prefix = ["", "bert."]
            .into_iter()
            .find(|prefix| tensors.tensor(&format!("{prefix}{first}")).is_ok())
            .ok_or_else(|| missing(path, first))?;
        Ok(Weights {
            path: path.to_path_buf(),
            tensors,
            prefix,
            taken: BTreeSet::new(),
        })
    }

    /// The numbers of tensor `name` (without prefix), row-major, which must have this shape.
    ///
    /// Accepted are `F32`, `F16` and `BF16`; infinities and NaN are refused.
    pub(super) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let full_name = format!("{}{name}", self.prefix);
        let view = self
            .tensors
            .tensor(&full_name)
            .map_err(|_| missing(&self.path, &full_name))?;
        let broken = |found: String, expected: String| Error::Tensor {
            path: self.path.clone(),
            tensor: full_name.clone(),
            found,
            expected,
        };
        if view.shape() != shape {
            return Err(broken(
                format!("shape {:?}", view.shape()),
                format!("shape {shape:?}, from config.json"),
            ));
        }
        let bytes = view.data();
        let values: Vec<f32> = match view.dtype() {
            Dtype::F32 => bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|four| f32::from_le_bytes(*four))
                .collect(),
            Dtype::F16 => bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|two| f16::from_le_bytes(*two).to_f32())
                .collect(),
            Dtype::BF16 => bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|two| bf16::from_le_bytes(*two).to_f32())
                .collect(),
            other => {
                return Err(broken(
                    format!("type {other:?}"),
                    "type F32, F16 or BF16".to_string(),
                ));
            }
        };
        if let Some(bad) = values.iter().find(|value| !value.is_finite()) {
            return Err(broken(
                format!("the number {bad}"),
                "finite numbers".to_string(),
            ));
        }
        self.taken.insert(full_name);
        Ok(values)
    }

    /// As [`Weights::take`], under the first of two names that the file has.
    ///
    /// Checkpoints converted from TensorFlow call the layer-normalisation weights gamma and beta.
    pub(super) fn take_either(&mut self, names: [&str; 2], shape: &[usize]) -> Result<Vec<f32>> {
        let has_second = self
            .tensors
            .tensor(&format!("{}{}", self.prefix, names[1]))
            .is_ok();
        self.take(names[usize::from(has_second)], shape)
    }

    /// Checks that no tensor of the encoder was left over, as in a file with more layers than
    /// `config.json` says. Task heads beside the encoder (`pooler`, `cls`) may stay.
    pub(super) fn finish(self) -> Result<()> {
        let left_over = self.tensors.names().into_iter().find(|name| {
            let inner = name.strip_prefix(self.prefix);
            let is_encoder = inner.is_some_and(|inner| {
                (inner.starts_with("embeddings.") && inner != "embeddings.position_ids")
                    || inner.starts_with("encoder.")
            });
            is_encoder && !self.taken.contains(*name)
        });
        match left_over {
            None => Ok(()),
            Some(name) => Err(Error::Tensor {
                tensor: name.to_string(),
                path: self.path,
                found: "a tensor that config.json leaves no place for".to_string(),
                expected: "only tensors of the model; check num_hidden_layers".to_string(),
            }),
        }
    }
}

fn missing(path: &Path, tensor: &str) -> Error {
    Error::Tensor {
        path: path.to_path_buf(),
        tensor: tensor.to_string(),
        found: "no such tensor".to_string(),
        expected: "the tensors of a BERT encoder, with or without the prefix \"bert.\"".to_string(),
    }
}

/// The first tensor whose declared shape cannot be the bytes that the header gives it.
///
/// The reader's own error for this has no name in it.
fn oversized_tensor(bytes: &[u8]) -> Option<(String, String)> {
    let length = usize::try_from(u64::from_le_bytes(*bytes.first_chunk()?)).ok()?;
    let header = bytes.get(8..length.checked_add(8)?)?;
    let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(header).ok()?;
    let n_bytes = bytes.len() - 8 - length;
    header
        .into_iter()
        .filter(|(name, _)| name != "__metadata__")
        .find_map(|(name, entry)| {
            let width = match entry.get("dtype")?.as_str()? {
                "F32" => 4,
                "F16" | "BF16" => 2,
                _ => return None,
            };
            let dims = entry.get("shape")?.as_array()?;
            let declared = dims.iter().try_fold(width, |product: u64, dim| {
                product.checked_mul(dim.as_u64()?)
            });
            let offsets = entry.get("data_offsets")?.as_array()?;
            let (start, end) = (offsets.first()?.as_u64()?, offsets.get(1)?.as_u64()?);
            let is_sound =
                end <= n_bytes as u64 && end.checked_sub(start) == declared && declared.is_some();
            (!is_sound).then(|| {
                let found = format!(
                    "shape {} at bytes {start} to {end} of {n_bytes}",
                    entry
                        .get("shape")
                        .map(ToString::to_string)
                        .unwrap_or_default()
                );
                (name, found)
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = "embeddings.word_embeddings.weight";

    /// A safetensors file from its header and data.
    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    fn entry(name: &str, dtype: &str, shape: &str, end: usize) -> String {
        format!(r#"{{"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{end}]}}}}"#)
    }

    fn parse(bytes: &[u8]) -> Result<Weights<'_>> {
        Weights::parse(Path::new("model.safetensors"), bytes)
    }

    fn message<T>(result: Result<T>) -> String {
        result
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn half_precision_is_widened_exactly() {
        // IEEE 754: 1.0 is 3c00 and -2.5 is c100 in binary16; 3f80 and c020 in bfloat16.
        for (dtype, data) in [
            ("F16", [0x00, 0x3c, 0x00, 0xc1]),
            ("BF16", [0x80, 0x3f, 0x20, 0xc0]),
        ] {
            let bytes = file(&entry(WORDS, dtype, "[2,1]", 4), &data);
            assert_eq!(
                parse(&bytes).unwrap().take(WORDS, &[2, 1]).unwrap(),
                [1.0, -2.5]
            );
        }
    }

    #[test]
    fn a_missing_misshapen_untyped_or_infinite_tensor_is_an_error_that_names_it() {
        let bytes = file(
            &entry("bert.embeddings.word_embeddings.weight", "F32", "[1]", 4),
            &1f32.to_le_bytes(),
        );
        let mut weights = parse(&bytes).unwrap();
        assert!(
            message(weights.take("encoder.layer.0.x", &[1])).contains("bert.encoder.layer.0.x")
        );
        let misshapen = message(weights.take(WORDS, &[2]));
        assert!(
            misshapen.contains("shape [1]") && misshapen.contains("shape [2]"),
            "{misshapen}"
        );
        let bytes = file(&entry(WORDS, "I32", "[1]", 4), &[0; 4]);
        assert!(message(parse(&bytes).unwrap().take(WORDS, &[1])).contains("I32"));
        let bytes = file(&entry(WORDS, "F32", "[1]", 4), &f32::INFINITY.to_le_bytes());
        assert!(message(parse(&bytes).unwrap().take(WORDS, &[1])).contains("inf"));
        let bytes = file(&entry("other", "F32", "[1]", 4), &[0; 4]);
        assert!(message(parse(&bytes)).contains(WORDS));
    }

    #[test]
    fn a_huge_declared_shape_is_refused_by_name_before_allocation() {
        for shape in [
            "[1000000000000,4]",
            "[18446744073709551615,18446744073709551615]",
        ] {
            let bytes = file(&entry(WORDS, "F32", shape, 4), &[0; 4]);
            let refused = message(parse(&bytes));
            assert!(
                refused.contains(WORDS) && refused.contains("bytes 0 to 4 of 4"),
                "{refused}"
            );
        }
        let bytes = file(&entry(WORDS, "F32", "[1000000]", 4_000_000), &[0; 4]);
        assert!(message(parse(&bytes)).contains(WORDS));
    }

    #[test]
    fn truncated_and_foreign_files_are_refused() {
        let whole = file(&entry(WORDS, "F32", "[1]", 4), &[0; 4]);
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_err(), "{length} bytes");
        }
        assert!(parse(b"PK\x03\x04 not safetensors at all").is_err());
    }

    #[test]
    fn a_layer_beyond_the_configuration_is_refused_and_a_task_head_is_not() {
        for (extra, is_refused) in [
            ("encoder.layer.7.output.dense.bias", true),
            ("pooler.dense.bias", false),
        ] {
            let header = format!(
                r#"{{"{WORDS}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}},"{extra}":{{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}}}"#
            );
            let bytes = file(&header, &[0; 8]);
            let mut weights = parse(&bytes).unwrap();
            weights.take(WORDS, &[1]).unwrap();
            assert_eq!(message(weights.finish()).contains(extra), is_refused);
        }
    }
}

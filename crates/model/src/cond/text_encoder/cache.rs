//! Embeddings kept by text, in memory and in a file, so that a text is encoded once.

use super::TextEncoder;
use crate::cond::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

/// Name of the only tensor in a cache file.
const TENSOR: &str = "embeddings";

/// Embeddings of one encoder, by text.
///
/// The file is safetensors: tensor `embeddings`, f32 `[n_texts, dim]`, and in the header the
/// encoder's identity and the texts (a JSON array) in row order. It keeps every bit, and a
/// checkpoint can carry it, so that known sentences need no encoder folder.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddingCache {
    identity: String,
    dim: usize,
    embeddings: BTreeMap<String, Vec<f32>>,
}

impl EmbeddingCache {
    /// An empty cache for this encoder.
    pub fn new(encoder: &TextEncoder) -> EmbeddingCache {
        EmbeddingCache {
            identity: encoder.identity().to_string(),
            dim: encoder.dim(),
            embeddings: BTreeMap::new(),
        }
    }

    /// Identity of the encoder, see [`TextEncoder::identity`].
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Length of an embedding.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of texts known.
    pub fn len(&self) -> usize {
        self.embeddings.len()
    }

    /// Says whether no text is known.
    pub fn is_empty(&self) -> bool {
        self.embeddings.is_empty()
    }

    /// The embedding of a text, if it is known.
    pub fn get(&self, text: &str) -> Option<&[f32]> {
        self.embeddings.get(text).map(Vec::as_slice)
    }

    /// As [`TextEncoder::encode`], computing only texts that are not yet known.
    ///
    /// # Errors
    /// The encoder is not the one that the cache belongs to; or as [`TextEncoder::encode`].
    pub fn encode(&mut self, encoder: &TextEncoder, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        if encoder.identity() != self.identity {
            return Err(Error::CacheIdentity {
                found: self.identity.clone(),
                expected: encoder.identity().to_string(),
            });
        }
        let unknown: Vec<String> = texts
            .iter()
            .filter(|text| !self.embeddings.contains_key(*text))
            .cloned()
            .collect();
        let computed = encoder.encode(&unknown)?;
        self.embeddings.extend(unknown.into_iter().zip(computed));
        Ok(texts
            .iter()
            .map(|text| self.embeddings[text].clone())
            .collect())
    }

    /// Writes the cache to `path`, replacing what is there, by a temporary file and a rename.
    ///
    /// # Errors
    /// The folder does not exist or cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let failed = |source| Error::io(path, "write", source);
        let texts: Vec<&String> = self.embeddings.keys().collect();
        let header = HashMap::from([
            ("identity".to_string(), self.identity.clone()),
            (
                "texts".to_string(),
                serde_json::to_string(&texts).expect("strings are JSON"),
            ),
        ]);
        let bytes: Vec<u8> = self
            .embeddings
            .values()
            .flatten()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let view = TensorView::new(Dtype::F32, vec![self.len(), self.dim], &bytes)
            .expect("there are dim numbers of 4 bytes for each text");
        let file = safetensors::serialize([(TENSOR, view)], Some(header))
            .map_err(|problem| failed(std::io::Error::other(problem)))?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        temporary.write_all(&file).map_err(failed)?;
        temporary
            .persist(path)
            .map_err(|problem| failed(problem.error))?;
        Ok(())
    }

    /// Reads a cache that [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// The file cannot be read, is not such a cache, or is damaged.
    pub fn load(path: &Path) -> Result<EmbeddingCache> {
        let bytes = std::fs::read(path).map_err(|source| Error::io(path, "read", source))?;
        let refuse = |place: &str, found: String, expected: &str| {
            Error::format(path, place, found, expected)
        };
        let broken = |problem: safetensors::SafeTensorError| {
            refuse("header", problem.to_string(), "a complete safetensors file")
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(broken)?;
        let field = |name: &str| {
            header
                .metadata()
                .as_ref()
                .and_then(|fields| fields.get(name))
                .ok_or_else(|| refuse(name, "nothing".to_string(), "a cache of text embeddings"))
        };
        let identity = field("identity")?.clone();
        let texts: Vec<String> = serde_json::from_str(field("texts")?)
            .map_err(|problem| refuse("texts", problem.to_string(), "a JSON array of strings"))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(broken)?;
        let view = tensors.tensor(TENSOR).map_err(broken)?;
        let (&[n_texts, dim], Dtype::F32) = (view.shape(), view.dtype()) else {
            return Err(refuse(
                TENSOR,
                format!("{:?} {:?}", view.dtype(), view.shape()),
                "F32 [n_texts, dim]",
            ));
        };
        if n_texts != texts.len() || dim == 0 {
            return Err(refuse(
                TENSOR,
                format!("shape [{n_texts}, {dim}]"),
                &format!("{} rows, one per text", texts.len()),
            ));
        }
        let values: Vec<f32> = view
            .data()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|four| f32::from_le_bytes(*four))
            .collect();
        let embeddings: BTreeMap<String, Vec<f32>> = texts
            .into_iter()
            .zip(values.chunks_exact(dim).map(<[f32]>::to_vec))
            .collect();
        if embeddings.len() != n_texts {
            return Err(refuse(
                "texts",
                "a text twice".to_string(),
                "each text once",
            ));
        }
        Ok(EmbeddingCache {
            identity,
            dim,
            embeddings,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> EmbeddingCache {
        EmbeddingCache {
            identity: "abc".to_string(),
            dim: 2,
            embeddings: BTreeMap::from([
                ("age: 63.".to_string(), vec![0.1, -1.0e-30]),
                (
                    "\"q\" \u{1f9a0}\n".to_string(),
                    vec![f32::MIN_POSITIVE, 3.4e38],
                ),
            ]),
        }
    }

    #[test]
    fn a_cache_comes_back_from_its_file_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.safetensors");
        for cache in [
            cache(),
            EmbeddingCache {
                embeddings: BTreeMap::new(),
                ..cache()
            },
        ] {
            cache.save(&path).unwrap();
            assert_eq!(EmbeddingCache::load(&path).unwrap(), cache);
        }
        assert_eq!(cache().get("age: 63."), Some(&[0.1, -1.0e-30][..]));
    }

    #[test]
    fn a_damaged_cache_is_refused_and_not_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.safetensors");
        cache().save(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(EmbeddingCache::load(&path).is_err(), "{length} bytes");
        }
        assert!(matches!(
            EmbeddingCache::load(&folder.path().join("none")),
            Err(Error::Io { .. })
        ));
    }
}

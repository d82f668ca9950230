//! What a Hugging Face or sentence-transformers folder says about its model.
//!
//! Read are `config.json` (always) and, where they exist, `modules.json`, the pooling module's
//! `config.json`, `sentence_bert_config.json` and `tokenizer_config.json`. A setting that would
//! change the numbers and is not supported here is an error, never ignored.

use crate::cond::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Activation between the two linear maps of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Activation {
    /// `x * Phi(x)`, with the error function.
    Gelu,
    /// GELU in its tanh form (`gelu_new`, `gelu_pytorch_tanh`).
    GeluTanh,
    /// `max(0, x)`.
    Relu,
}

/// How the vectors of the tokens become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Pooling {
    /// Mean over all tokens, `[CLS]` and `[SEP]` included.
    Mean,
    /// The vector of the first token, `[CLS]`.
    Cls,
}

/// Everything but the weights and the tokenizer that decides an embedding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EncoderConfig {
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Width of the model, and of the embedding.
    pub hidden_size: usize,
    /// Number of transformer layers.
    pub n_layers: usize,
    /// Number of attention heads; divides `hidden_size`.
    pub n_heads: usize,
    /// Width between the two linear maps of a layer.
    pub intermediate_size: usize,
    /// Activation between them.
    pub activation: Activation,
    /// Added to the variance in layer normalisation.
    pub layer_norm_eps: f64,
    /// Rows of the position embedding.
    pub max_positions: usize,
    /// Rows of the token-type embedding; only the first is used.
    pub n_token_types: usize,
    /// Longer texts are cut to this number of tokens, `[CLS]` and `[SEP]` included.
    pub max_tokens: usize,
    /// How the tokens become one vector.
    pub pooling: Pooling,
    /// The embedding is scaled to length 1.
    pub is_normalized: bool,
    /// Texts are lower-cased before the tokenizer sees them.
    pub is_lower_cased: bool,
}

/// A configuration, with the folder that holds `model.safetensors` and `tokenizer.json`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EncoderFolder {
    pub(super) config: EncoderConfig,
    pub(super) transformer: PathBuf,
}

/// `config.json`, in the names of Hugging Face. Keys that do not change the numbers are ignored.
#[derive(Debug, Deserialize)]
struct BertConfigFile {
    model_type: Option<String>,
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: String,
    #[serde(default = "default_layer_norm_eps")]
    layer_norm_eps: f64,
    max_position_embeddings: usize,
    #[serde(default = "default_token_types")]
    type_vocab_size: usize,
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
}

#[derive(Debug, Deserialize)]
struct ModuleFile {
    #[serde(default)]
    path: String,
    r#type: String,
}

/// `sentence_bert_config.json`: how sentence-transformers calls the tokenizer.
#[derive(Debug, Default, Deserialize)]
struct SentenceBertFile {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

/// `tokenizer_config.json`. The length is written as 1e30 where there is no limit.
#[derive(Debug, Default, Deserialize)]
struct TokenizerConfigFile {
    model_max_length: Option<f64>,
}

impl EncoderFolder {
    /// Reads the configuration of `folder`.
    ///
    /// Without `modules.json` (a plain Hugging Face folder) the pooling is the mean and nothing is
    /// normalised, as sentence-transformers does with such a folder.
    pub(super) fn read(folder: &Path) -> Result<EncoderFolder> {
        let modules = Modules::read(folder)?;
        let path = modules.transformer.join("config.json");
        let file: BertConfigFile = read_json(&path)?;
        check_bert(&path, &file)?;
        let sentence_bert: SentenceBertFile =
            read_optional_json(&modules.transformer.join("sentence_bert_config.json"))?
                .unwrap_or_default();
        let tokenizer: TokenizerConfigFile =
            read_optional_json(&modules.transformer.join("tokenizer_config.json"))?
                .unwrap_or_default();
        let asked_tokens = match (sentence_bert.max_seq_length, tokenizer.model_max_length) {
            (Some(n), _) => n,
            // A float beyond usize saturates, which means no limit, as intended by its writer.
            (None, Some(n)) => n as usize,
            (None, None) => file.max_position_embeddings,
        };
        let max_tokens = asked_tokens.min(file.max_position_embeddings);
        if max_tokens < 3 {
            return Err(Error::format(
                path,
                "maximum number of tokens (max_position_embeddings, max_seq_length, model_max_length)",
                max_tokens.to_string(),
                "at least 3: [CLS], one token, [SEP]",
            ));
        }
        let config = EncoderConfig {
            vocab_size: file.vocab_size,
            hidden_size: file.hidden_size,
            n_layers: file.num_hidden_layers,
            n_heads: file.num_attention_heads,
            intermediate_size: file.intermediate_size,
            activation: parse_activation(&path, &file.hidden_act)?,
            layer_norm_eps: file.layer_norm_eps,
            max_positions: file.max_position_embeddings,
            n_token_types: file.type_vocab_size,
            max_tokens,
            pooling: modules.pooling,
            is_normalized: modules.is_normalized,
            is_lower_cased: sentence_bert.do_lower_case,
        };
        Ok(EncoderFolder {
            config,
            transformer: modules.transformer,
        })
    }
}

/// What `modules.json` lists.
struct Modules {
    transformer: PathBuf,
    pooling: Pooling,
    is_normalized: bool,
}

impl Modules {
    fn read(folder: &Path) -> Result<Modules> {
        let path = folder.join("modules.json");
        let mut modules = Modules {
            transformer: folder.to_path_buf(),
            pooling: Pooling::Mean,
            is_normalized: false,
        };
        let Some(listed) = read_optional_json::<Vec<ModuleFile>>(&path)? else {
            let default_place = folder.join("1_Pooling").join("config.json");
            if default_place.exists() {
                modules.pooling = read_pooling(&default_place)?;
            }
            return Ok(modules);
        };
        // The Python path of the class has moved between versions, its name has not.
        let kinds: Vec<&str> = listed
            .iter()
            .map(|module| module.r#type.rsplit('.').next().unwrap_or_default())
            .collect();
        modules.is_normalized = match kinds[..] {
            ["Transformer", "Pooling"] => false,
            ["Transformer", "Pooling", "Normalize"] => true,
            _ => {
                return Err(Error::format(
                    path,
                    "modules",
                    kinds.join(", "),
                    "Transformer, Pooling and optionally Normalize",
                ));
            }
        };
        modules.transformer = folder.join(&listed[0].path);
        modules.pooling = read_pooling(&folder.join(&listed[1].path).join("config.json"))?;
        Ok(modules)
    }
}

fn default_layer_norm_eps() -> f64 {
    1e-12 // transformers' BertConfig
}

fn default_token_types() -> usize {
    2 // transformers' BertConfig
}

fn check_bert(path: &Path, file: &BertConfigFile) -> Result<()> {
    let demand = |place: &str, is_met: bool, found: String, expected: &str| {
        if is_met {
            Ok(())
        } else {
            Err(Error::format(path, place, found, expected))
        }
    };
    let model_type = file.model_type.as_deref().unwrap_or("bert");
    demand(
        "model_type",
        model_type == "bert",
        model_type.to_string(),
        "bert (as in MiniLM, BioBERT, ClinicalBERT, PubMedBERT)",
    )?;
    let positions = file
        .position_embedding_type
        .as_deref()
        .unwrap_or("absolute");
    demand(
        "position_embedding_type",
        positions == "absolute",
        positions.to_string(),
        "absolute",
    )?;
    demand(
        "is_decoder",
        !file.is_decoder,
        "true".to_string(),
        "false: an encoder",
    )?;
    for (place, count) in [
        ("vocab_size", file.vocab_size),
        ("hidden_size", file.hidden_size),
        ("num_hidden_layers", file.num_hidden_layers),
        ("num_attention_heads", file.num_attention_heads),
        ("intermediate_size", file.intermediate_size),
        ("max_position_embeddings", file.max_position_embeddings),
        ("type_vocab_size", file.type_vocab_size),
    ] {
        demand(place, count > 0, count.to_string(), "at least 1")?;
    }
    demand(
        "num_attention_heads",
        file.hidden_size.is_multiple_of(file.num_attention_heads),
        file.num_attention_heads.to_string(),
        &format!("a divisor of hidden_size ({})", file.hidden_size),
    )?;
    demand(
        "layer_norm_eps",
        file.layer_norm_eps > 0.0 && file.layer_norm_eps.is_finite(),
        file.layer_norm_eps.to_string(),
        "a positive number",
    )
}

fn parse_activation(path: &Path, name: &str) -> Result<Activation> {
    match name {
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        _ => Err(Error::format(
            path,
            "hidden_act",
            name,
            "gelu, gelu_new, gelu_pytorch_tanh or relu",
        )),
    }
}

/// Reads a pooling module: flags `pooling_mode_*` (all versions), or one name in `pooling_mode`.
fn read_pooling(path: &Path) -> Result<Pooling> {
    let file: serde_json::Map<String, serde_json::Value> = read_json(path)?;
    let mut modes: Vec<&str> = file
        .iter()
        .filter(|(_, value)| value.as_bool() == Some(true))
        .filter_map(|(key, _)| key.strip_prefix("pooling_mode_"))
        .collect();
    match file.get("pooling_mode") {
        Some(serde_json::Value::String(mode)) => modes.push(mode),
        Some(serde_json::Value::Array(listed)) => {
            modes.extend(listed.iter().filter_map(|mode| mode.as_str()))
        }
        _ => {}
    }
    match modes[..] {
        ["mean_tokens" | "mean"] => Ok(Pooling::Mean),
        ["cls_token" | "cls"] => Ok(Pooling::Cls),
        _ => Err(Error::format(
            path,
            "pooling_mode",
            if modes.is_empty() {
                "none".to_string()
            } else {
                modes.join(", ")
            },
            "one of mean_tokens, cls_token",
        )),
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).map_err(|source| Error::io(path, "read", source))?;
    serde_json::from_slice(&bytes).map_err(|problem| {
        Error::format(
            path,
            "JSON",
            problem.to_string(),
            "the configuration of a BERT-family text encoder",
        )
    })
}

/// As [`read_json`], `None` where there is no such file.
fn read_optional_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if path.exists() {
        read_json(path).map(Some)
    } else {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn bert() -> Value {
        json!({
            "model_type": "bert", "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 4, "intermediate_size": 24, "hidden_act": "gelu",
            "max_position_embeddings": 24, "attention_probs_dropout_prob": 0.1
        })
    }

    fn read(files: &[(&str, Value)]) -> Result<EncoderConfig> {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content.to_string()).unwrap();
        }
        EncoderFolder::read(folder.path()).map(|folder| folder.config)
    }

    fn module(kind: &str, path: &str) -> Value {
        json!({ "path": path, "type": format!("sentence_transformers.models.{kind}") })
    }

    #[test]
    fn a_plain_folder_pools_by_mean_without_normalising() {
        let config = read(&[("config.json", bert())]).unwrap();
        assert_eq!(
            (config.pooling, config.is_normalized, config.max_tokens),
            (Pooling::Mean, false, 24)
        );
        assert_eq!((config.layer_norm_eps, config.n_token_types), (1e-12, 2));
    }

    #[test]
    fn the_limit_of_tokens_is_the_smallest_that_applies() {
        let limit = |sentence_bert: Value, tokenizer: Value| {
            let files = [
                ("config.json", bert()),
                ("sentence_bert_config.json", sentence_bert),
                ("tokenizer_config.json", tokenizer),
            ];
            read(&files).map(|config| config.max_tokens)
        };
        assert_eq!(
            limit(json!({}), json!({ "model_max_length": 1e30 })).unwrap(),
            24
        );
        assert_eq!(
            limit(json!({}), json!({ "model_max_length": 8 })).unwrap(),
            8
        );
        assert_eq!(
            limit(
                json!({ "max_seq_length": 12 }),
                json!({ "model_max_length": 8 })
            )
            .unwrap(),
            12
        );
        assert!(limit(json!({ "max_seq_length": 2 }), json!({})).is_err());
    }

    #[test]
    fn modules_in_either_layout_are_read_and_others_are_refused() {
        let pooling = json!({ "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false });
        let listed = |modules: Vec<Value>| {
            read(&[
                ("modules.json", Value::Array(modules)),
                ("0_Transformer/config.json", bert()),
                ("1_Pooling/config.json", pooling.clone()),
            ])
        };
        let (transformer, pool) = (
            module("Transformer", "0_Transformer"),
            module("Pooling", "1_Pooling"),
        );
        let config = listed(vec![
            transformer.clone(),
            pool.clone(),
            module("Normalize", "2_Normalize"),
        ])
        .unwrap();
        assert_eq!((config.pooling, config.is_normalized), (Pooling::Cls, true));
        let refused = listed(vec![transformer, pool, module("Dense", "2_Dense")]).unwrap_err();
        assert!(
            refused.to_string().contains("Transformer, Pooling, Dense"),
            "{refused}"
        );
    }

    #[test]
    fn settings_that_would_change_the_numbers_are_refused_by_name() {
        for (key, value) in [
            ("model_type", json!("roberta")),
            ("position_embedding_type", json!("relative_key")),
            ("is_decoder", json!(true)),
            ("hidden_act", json!("swish")),
            ("num_attention_heads", json!(3)),
            ("num_hidden_layers", json!(0)),
            ("layer_norm_eps", json!(-1.0)),
        ] {
            let mut config = bert();
            config[key] = value;
            let refused = read(&[("config.json", config)]).unwrap_err();
            assert!(refused.to_string().contains(key), "{refused}");
        }
        let pooling = json!({ "pooling_mode_max_tokens": true, "pooling_mode_mean_tokens": true });
        let refused =
            read(&[("config.json", bert()), ("1_Pooling/config.json", pooling)]).unwrap_err();
        assert!(refused.to_string().contains("max_tokens"), "{refused}");
    }

    #[test]
    fn a_missing_or_broken_file_is_named() {
        assert!(matches!(read(&[]), Err(Error::Io { path, .. }) if path.ends_with("config.json")));
        let refused = read(&[("config.json", json!({ "hidden_size": "wide" }))]).unwrap_err();
        assert!(refused.to_string().contains("config.json"), "{refused}");
    }
}

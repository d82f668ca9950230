//! The text encoder against sentence-transformers (PyTorch), and what must not change an embedding.
//!
//! Golden numbers and tiny models: `parity/text_encoder/golden.py`. The tests on real weights run
//! where SUFFUSE_ENCODER names the unpacked folder of all-MiniLM-L6-v2; there a missing file is a
//! failure.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use suffuse_model::cond::{EmbeddingCache, Error, TextEncoder};

/// Two implementations in f32 differ by rounding; the golden numbers have 7 decimals.
const TOLERANCE: f32 = 1e-5;

#[derive(Deserialize)]
struct Golden {
    tiny: Tiny,
    minilm: MiniLm,
}

#[derive(Deserialize)]
struct Tiny {
    sentences: Vec<String>,
    embeddings: BTreeMap<String, Vec<Vec<f32>>>,
}

#[derive(Deserialize)]
struct MiniLm {
    sentences: Vec<String>,
    max_seq_length: usize,
    first_16: Vec<Vec<f32>>,
    norm: Vec<f32>,
    cosine: Vec<Vec<f32>>,
}

fn parity() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/text_encoder")
}

fn golden() -> Golden {
    serde_json::from_slice(&std::fs::read(parity().join("golden.json")).unwrap()).unwrap()
}

fn tiny(variant: &str) -> TextEncoder {
    TextEncoder::load(&parity().join("tiny").join(variant)).unwrap()
}

/// The folder of the real weights, where the environment names one.
fn minilm_folder(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("SUFFUSE_ENCODER").map(PathBuf::from);
    if folder.is_none() {
        let mut stderr = std::io::stderr();
        writeln!(stderr, "{test}: not run, SUFFUSE_ENCODER is not set").unwrap();
    }
    folder
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() < TOLERANCE,
            "{what}, number {place}: {found} {expected}"
        );
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn bits(embeddings: &[Vec<f32>]) -> Vec<Vec<u32>> {
    embeddings
        .iter()
        .map(|embedding| embedding.iter().map(|value| value.to_bits()).collect())
        .collect()
}

/// Copies a tiny model to a folder that the test may break.
fn copy_of(variant: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = parity().join("tiny").join(variant);
    std::fs::create_dir(folder.path().join("1_Pooling")).unwrap();
    for name in [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "modules.json",
        "model.safetensors",
        "1_Pooling/config.json",
    ] {
        std::fs::copy(from.join(name), folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn tiny_models_of_every_activation_pooling_prefix_and_type_agree_with_sentence_transformers() {
    let golden = golden().tiny;
    assert_eq!(golden.embeddings.len(), 3);
    for (variant, expected) in &golden.embeddings {
        let found = tiny(variant).encode(&golden.sentences).unwrap();
        for (sentence, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert_close(found, expected, &format!("{variant}, sentence {sentence}"));
        }
    }
}

#[test]
fn minilm_agrees_with_sentence_transformers() {
    let Some(folder) = minilm_folder("minilm_agrees_with_sentence_transformers") else {
        return;
    };
    let golden = golden().minilm;
    let encoder = TextEncoder::load(&folder).unwrap();
    assert_eq!(
        (encoder.dim(), encoder.config().max_tokens),
        (384, golden.max_seq_length)
    );
    let found = encoder.encode(&golden.sentences).unwrap();
    for (i, embedding) in found.iter().enumerate() {
        assert_close(
            &embedding[..16],
            &golden.first_16[i],
            &format!("sentence {i}"),
        );
        assert_close(
            &[dot(embedding, embedding).sqrt()],
            &golden.norm[i..=i],
            &format!("norm {i}"),
        );
        let cosines: Vec<f32> = found.iter().map(|other| dot(embedding, other)).collect();
        assert_close(
            &cosines,
            &golden.cosine[i],
            &format!("cosines of sentence {i}"),
        );
    }
}

#[test]
fn an_embedding_has_the_same_bits_whatever_stands_beside_it_and_with_any_number_of_threads() {
    let golden = golden();
    let mut cases = vec![(tiny("mean_gelu"), golden.tiny.sentences)];
    if let Some(folder) = minilm_folder("an_embedding_has_the_same_bits") {
        cases.push((TextEncoder::load(&folder).unwrap(), golden.minilm.sentences));
    }
    for (encoder, sentences) in cases {
        let together = bits(&encoder.encode(&sentences).unwrap());
        for (sentence, expected) in sentences.iter().zip(&together) {
            assert_eq!(
                &bits(&encoder.encode(std::slice::from_ref(sentence)).unwrap())[0],
                expected
            );
        }
        let reversed: Vec<String> = sentences.iter().rev().cloned().collect();
        let mut back = bits(&encoder.encode(&reversed).unwrap());
        back.reverse();
        assert_eq!(back, together);
        for n_threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(n_threads)
                .build()
                .unwrap();
            let found = pool.install(|| encoder.encode(&sentences).unwrap());
            assert_eq!(bits(&found), together, "{n_threads} threads");
        }
    }
}

#[test]
fn identity_changes_with_the_weights_and_with_the_settings_only() {
    let folder = copy_of("mean_gelu");
    let identity = || {
        TextEncoder::load(folder.path())
            .unwrap()
            .identity()
            .to_string()
    };
    let first = identity();
    assert_eq!(first.len(), 64);
    assert_eq!(first, tiny("mean_gelu").identity());
    assert_ne!(first, tiny("cls_gelu_new").identity());
    std::fs::write(folder.path().join("README.md"), "notes").unwrap();
    assert_eq!(identity(), first);
    let modules = folder.path().join("modules.json");
    std::fs::remove_file(&modules).unwrap();
    assert_ne!(identity(), first, "no longer normalised");
    let weights = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    let without_modules = identity();
    std::fs::write(&weights, bytes).unwrap();
    assert_ne!(identity(), without_modules);
}

#[test]
fn a_cache_returns_what_the_encoder_would_and_refuses_another_encoder() {
    let sentences = golden().tiny.sentences;
    let encoder = tiny("mean_gelu");
    let expected = bits(&encoder.encode(&sentences).unwrap());
    let mut cache = EmbeddingCache::new(&encoder);
    assert_eq!(
        bits(&cache.encode(&encoder, &sentences[..2]).unwrap()),
        expected[..2]
    );
    assert_eq!(cache.len(), 2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.safetensors");
    cache.save(&path).unwrap();
    let mut cache = EmbeddingCache::load(&path).unwrap();
    assert_eq!(bits(&cache.encode(&encoder, &sentences).unwrap()), expected);
    assert!(cache.get(&sentences[3]).is_some());
    let refused = cache.encode(&tiny("cls_gelu_new"), &sentences);
    assert!(matches!(refused, Err(Error::CacheIdentity { .. })));
}

#[test]
fn a_folder_with_a_file_missing_cut_or_of_another_size_is_an_error_that_names_it() {
    for name in [
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "1_Pooling/config.json",
    ] {
        let folder = copy_of("cls_gelu_new");
        let path = folder.path().join(name);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let refused = TextEncoder::load(folder.path()).unwrap_err().to_string();
        assert!(refused.contains(name), "{refused}");
        std::fs::remove_file(&path).unwrap();
        let refused = TextEncoder::load(folder.path()).unwrap_err().to_string();
        assert!(refused.contains(name), "{refused}");
    }
    for (key, value, tensor) in [
        ("num_hidden_layers", "3", "bert.encoder.layer.2."),
        ("num_hidden_layers", "1", "bert.encoder.layer.1."),
        (
            "hidden_size",
            "1000000000000",
            "bert.embeddings.word_embeddings.weight",
        ),
        (
            "max_position_embeddings",
            "25",
            "bert.embeddings.position_embeddings.weight",
        ),
    ] {
        let folder = copy_of("cls_gelu_new");
        let path = folder.path().join("config.json");
        let mut config: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config[key] = value.parse::<u64>().unwrap().into();
        std::fs::write(&path, config.to_string()).unwrap();
        let refused = TextEncoder::load(folder.path()).unwrap_err();
        assert!(matches!(&refused, Error::Tensor { .. }), "{refused}");
        assert!(refused.to_string().contains(tensor), "{refused}");
    }
}

#[test]
fn a_token_that_the_weights_do_not_know_is_an_error_that_names_the_text() {
    let folder = copy_of("mean_gelu");
    let path = folder.path().join("tokenizer.json");
    let tokenizer = std::fs::read_to_string(&path).unwrap();
    let broken = tokenizer.replace("\"saliva\":", "\"spittle\":999,\"saliva\":");
    assert_ne!(broken, tokenizer);
    std::fs::write(&path, broken).unwrap();
    let encoder = TextEncoder::load(folder.path()).unwrap();
    let refused = encoder
        .encode(&["spittle".to_string()])
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("999") && refused.contains("spittle"),
        "{refused}"
    );
}

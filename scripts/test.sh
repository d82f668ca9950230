#!/usr/bin/env bash
# Runs every test, after setting up what they compare with. Arguments go to `cargo test`:
#
#     scripts/test.sh                          all crates
#     scripts/test.sh -p suffuse-data biom     tests of one crate whose name holds "biom"
#
# SUFFUSE_DATA=FOLDER adds the tests on real tables; a file missing from FOLDER is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup-oracles.sh

# Absolute, because cargo runs each test in the folder of its crate.
export SUFFUSE_ORACLES=$PWD/.venv/bin/python
export SUFFUSE_ENCODER=$PWD/.venv/encoder

if [ $# -gt 0 ]; then
    cargo test --release --locked "$@"
else
    cargo test --release --locked --workspace
fi

#!/usr/bin/env bash
# The ablation grid of docs/systems/depmicrodiff.md: one command per row, protocol `published`.
#
#   scripts/ablation.sh FOLDER N_SEEDS TARGET.h5ad OTHER.h5ad...   all rows
#   ROWS="base mask-none" scripts/ablation.sh ...                   some rows
#
# Finished results are skipped, so the grid can be stopped and started again. BERT rows need
# SUFFUSE_ENCODER, the folder of a text encoder (scripts/setup-oracles.sh fetches one). SUFFUSE names
# another program than target/release/suffuse.
set -euo pipefail
folder=$1 n_seeds=$2 target=$3
shift 3
suffuse=${SUFFUSE:-$(dirname "$0")/../target/release/suffuse}

row() { # name, options...
    local name=$1
    shift
    if [ -n "${ROWS:-}" ] && [[ " $ROWS " != *" $name "* ]]; then return; fi
    echo "== $name: suffuse evaluate $(basename "$target") --methods depmicrodiff $*"
    "$suffuse" evaluate "$target" --out "$folder" --models "$folder/models" --seeds "$n_seeds" \
        --methods depmicrodiff "$@"
}

row base --encoder none
row pretrain-vae --encoder none --pretrain "$@" --set dat.n_pretraining_steps=0
row pretrain-all --encoder none --pretrain "$@"
row metadata-columns
row metadata-columns-50 --metadata-keep 0.5
row metadata-columns-25 --metadata-keep 0.25
if [ -n "${SUFFUSE_ENCODER:-}" ]; then
    row metadata-bert --encoder "$SUFFUSE_ENCODER"
    row metadata-bert-50 --encoder "$SUFFUSE_ENCODER" --metadata-keep 0.5
    row metadata-bert-25 --encoder "$SUFFUSE_ENCODER" --metadata-keep 0.25
fi
for mask in restrict bias printed none; do
    row "mask-$mask" --encoder none --set "dat.dependency_mask=$mask"
done
for decay in 0.7 0.8 0.9 1.0; do
    row "decay-$decay" --encoder none --set "dat.ar_decay=$decay"
done
for prediction in noise v; do
    row "prediction-$prediction" --encoder none --set "dat.prediction=$prediction"
done
row prediction-noise-50-steps --encoder none --set dat.prediction=noise --sampler fractional:20
for n_steps in 1 2 3 10; do
    row "ddim-$n_steps" --encoder none --sampler "ddim:$n_steps"
done
row draws-40 --encoder none --draws 40
# Two draws, because a thousand steps are long; compared with each other.
for sampler in ddim:5 adaptive:5 fractional:20 fractional:4 fractional:3 fractional:2 full; do
    row "sampler-$sampler" --encoder none --draws 2 --sampler "$sampler"
done

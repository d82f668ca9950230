"""Fills the very entries that `suffuse evaluate` hides by small versions of other methods.

    python run.py TABLE --group COLUMN --protocol strict --out results.tsv
    python run.py --smoke            every peer for a few steps on a simulated table
    python run.py --print results.tsv
    python run.py --out results.tsv --agree FOLDER/results.tsv     against the program's own scores

README.md says how to install and what each small version leaves out.
"""

import argparse
import csv
import functools
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import autoimpute
import cpg_transformer
import dca
import deepimpute
import deepmicrogen
import scvi_peer
import simulated
import taxon_mean
from scores import NAMES, score
from training import SMOKE, Budget
from trials import read_table, read_trials

ROOT = Path(__file__).resolve().parents[2]
HIDE = 0.6
PEERS = {
    "taxon-mean": taxon_mean.fit,
    "autoimpute": autoimpute.fit,
    "autoimpute+hiding": functools.partial(autoimpute.fit, hide=HIDE),
    "deepimpute": deepimpute.fit,
    "dca": dca.fit,
    "dca+hiding": functools.partial(dca.fit, hide=HIDE),
    "cpg-transformer": cpg_transformer.fit,
    "deepmicrogen": deepmicrogen.fit,
    "scvi": scvi_peer.fit,
}
COLUMNS = ["table", "protocol", "fraction", "method", "seed", "n", *NAMES, "seconds"]


def fit_and_fill(peer, train, test, seed, budget):
    """Fits `peer` on `train` and fills `test`: `[n_samples, n_taxa]` of `ln(1 + percent)`."""
    return PEERS[peer](train, seed, budget)(test)


def scored(trial, filled):
    """The scores of the filled entries of a trial."""
    return score(trial.truth[trial.scored], filled[trial.scored])


def write_masks(arguments, folder):
    """Calls the program's example for the masks."""
    command = [arguments.masks, arguments.table, folder, "--protocol", arguments.protocol]
    for name in ["group", "metadata", "fraction", "seeds", "folds"]:
        value = getattr(arguments, name)
        if value is not None:
            command += [f"--{name}", str(value)]
    if not Path(arguments.masks).exists():
        sys.exit(f"{arguments.masks} is not there: cargo build --release --workspace --examples")
    subprocess.run(command, check=True)


def run(arguments):
    """Runs every peer on every trial; a line is written as soon as it is known."""
    table = read_table(arguments.table, arguments.time)
    with tempfile.TemporaryDirectory() as scratch:
        write_masks(arguments, scratch)
        trials = read_trials(table, Path(scratch))
    out = Path(arguments.out)
    done = {(row["table"], row["protocol"], row["fraction"], row["method"], row["seed"]) for row in rows_of(out)}
    with open(out, "a") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n")
        if not file.tell():
            writer.writeheader()
        for peer in arguments.peers:
            fitted = {}
            for trial in trials:
                key = {"table": Path(arguments.table).name, "protocol": arguments.protocol}
                key |= {"fraction": str(trial.fraction), "method": peer, "seed": str(trial.seed)}
                if tuple(key.values()) in done:
                    continue
                start = time.perf_counter()
                if trial.learn is trial.fill:
                    filled = fit_and_fill(peer, trial.learn, trial.fill, trial.seed, arguments.budget)
                else:  # what is learned from is complete, so that one fit serves every fraction
                    if trial.seed not in fitted:
                        fitted = {trial.seed: PEERS[peer](trial.learn, trial.seed, arguments.budget)}
                    filled = fitted[trial.seed](trial.fill)
                row = key | scored(trial, filled) | {"seconds": round(time.perf_counter() - start, 2)}
                writer.writerow(row)
                file.flush()
                print(*(f"{row[name]:.4f}" if name in NAMES else row[name] for name in COLUMNS))


def rows_of(path):
    """Lines of an earlier run; none where the file is not there."""
    if not Path(path).exists():
        return []
    with open(path) as file:
        return list(csv.DictReader(file, delimiter="\t"))


def markdown(rows):
    """A table per data set, protocol and fraction: mean over seeds or folds, ± deviation (n - 1)."""
    lines = []
    for key in dict.fromkeys((row["table"], row["protocol"], row["fraction"]) for row in rows):
        here = [row for row in rows if (row["table"], row["protocol"], row["fraction"]) == key]
        lines += ["", f"{key[0]}, `{key[1]}`, {float(key[2]):.0%} hidden:", ""]
        lines += ["| method | n | PCC | COS | RMSE | MAE | s |", "|---|---|---|---|---|---|---|"]
        for method in dict.fromkeys(row["method"] for row in here):
            of_method = [row for row in here if row["method"] == method]
            cells = [method, str(len(of_method))]
            for name in NAMES:
                values = np.array([float(row[name]) for row in of_method])
                spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
                cells.append("-" if math.isnan(values.mean()) else f"{values.mean():.3f}{spread}")
            cells.append(f"{np.mean([float(row['seconds']) for row in of_method]):.0f}")
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines[1:])


def agree(ours, program):
    """Stops where a method of both files has other scores; the program writes six decimals."""
    theirs = {}
    for row in program:
        if row["scope"] == "pooled":
            theirs[tuple(row[name] for name in COLUMNS[:5])] = row
    n = 0
    for row in ours:
        same = theirs.get(tuple(row[name] for name in COLUMNS[:5]))
        if same is None:
            continue
        n += 1
        for name in ["n", *NAMES]:
            if not abs(float(row[name]) - float(same[name])) <= 1e-6:
                sys.exit(f"{row}: the program has {name} {same[name]}")
    if n == 0:
        sys.exit("no line in common: run `suffuse evaluate --methods taxon-mean` on the same table")
    print(f"{n} lines agree to 1e-6")


def smoke(peers):
    """Runs each peer for a few steps and looks at what it returns."""
    for protocol in ["published", "strict"]:
        trial = simulated.trial(protocol)
        for peer in peers:
            filled = fit_and_fill(peer, trial.learn, trial.fill, 0, SMOKE)
            if filled.shape != trial.truth.shape or not np.isfinite(filled[trial.scored]).all():
                sys.exit(f"{peer}, {protocol}: {filled.shape}, or values that are not finite")
            print(f"{protocol:10} {peer:18} RMSE {scored(trial, filled)['rmse_ln']:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?")
    parser.add_argument("--out", default="results.tsv", help="lines that are there are not computed again")
    parser.add_argument("--protocol", choices=["published", "strict"], default="strict")
    parser.add_argument("--group", help="column of the subject; its samples stay together")
    parser.add_argument("--metadata", help="sheet to join, for the group")
    parser.add_argument("--time", help="numeric column of the time of a sample (h5ad), for deepmicrogen")
    parser.add_argument("--fraction", help="shares to hide, separated by commas")
    parser.add_argument("--seeds", type=int, help="mask seeds of published; folds to run of strict")
    parser.add_argument("--folds", type=int, help="folds of the cross-validation")
    parser.add_argument("--peers", default=",".join(PEERS), help="separated by commas")
    parser.add_argument("--max-steps", type=int, default=Budget.max_steps)
    parser.add_argument("--masks", default=ROOT / "target/release/examples/masks", help="the built example")
    parser.add_argument("--smoke", action="store_true", help="a few steps of each peer on a simulated table")
    parser.add_argument("--print", metavar="TSV", dest="shown", help="results as a markdown table")
    parser.add_argument("--agree", metavar="TSV", help="results.tsv of `suffuse evaluate` to compare --out with")
    arguments = parser.parse_args()
    arguments.peers = arguments.peers.split(",")
    unknown = set(arguments.peers) - PEERS.keys()
    if unknown:
        sys.exit(f"no peer {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    arguments.budget = Budget(max_steps=arguments.max_steps)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    if arguments.agree:
        agree(rows_of(arguments.out), rows_of(arguments.agree))
    elif arguments.shown:
        print(markdown(rows_of(arguments.shown)))
    elif arguments.smoke:
        smoke(arguments.peers)
    elif arguments.table:
        run(arguments)
        print(markdown(rows_of(arguments.out)))
    else:
        parser.error("name a table, or --smoke, or --print")


if __name__ == "__main__":
    main()

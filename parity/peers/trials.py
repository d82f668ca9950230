"""The trials of `suffuse evaluate`, from the masks that `crates/suffuse/examples/masks.rs` writes."""

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from part import GIVEN, LEFT, Part, ln1p_percent


@dataclass(frozen=True)
class Trial:
    """What is learned from, what is filled (the same object where nothing is held out), and the truth.

    - `truth`: `ln(1 + percent)` of the samples to fill, against the totals that the peer knows
    - `scored`: `[n_samples, n_taxa]`, hidden entries that are scored
    """

    name: str
    seed: int
    fraction: float
    learn: Part
    fill: Part
    truth: np.ndarray
    scored: np.ndarray


@dataclass(frozen=True)
class Counts:
    """A table: abundance `[n_samples, n_taxa]`, the ids of both, and times of samples if asked for."""

    counts: np.ndarray
    samples: list
    features: list
    times: np.ndarray | None


def read_table(path, time_column=None):
    """Reads h5ad, or TSV with a line per sample."""
    path = Path(path)
    if path.suffix == ".h5ad":
        import anndata

        data = anndata.read_h5ad(path)
        dense = data.X if isinstance(data.X, np.ndarray) else data.X.toarray()
        times = None if time_column is None else data.obs[time_column].to_numpy(dtype=float)
        table = Counts(np.asarray(dense, float), list(data.obs_names), list(data.var_names), times)
    elif ".tsv" in path.suffixes:
        if time_column is not None:
            raise SystemExit(f"{path}: times are read from h5ad only")
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt") as file:
            header, *lines = csv.reader(file, delimiter="\t")
        values = np.array([[float(x) for x in line[1:]] for line in lines])
        table = Counts(values, [line[0] for line in lines], header[1:], None)
    else:
        raise SystemExit(f"{path}: expected .h5ad, .tsv or .tsv.gz")
    if not np.isfinite(table.counts).all():
        raise SystemExit(f"{path}: entries that were not measured; the peers take complete tables")
    return table


def read_tsv(path):
    """Rows of a TSV file as dictionaries."""
    with open(path) as file:
        return list(csv.DictReader(file, delimiter="\t"))


def read_trials(table, masks):
    """The trials in a folder of masks, in the order of seed and fraction."""
    features = [row["feature_id"] for row in read_tsv(masks / "features.tsv")]
    column_of = {name: j for j, name in enumerate(table.features)}
    counts = table.counts[:, [column_of[name] for name in features]]
    folders = [path for path in masks.iterdir() if path.is_dir()]
    found = [one_trial(table, counts, features, folder) for folder in folders]
    return sorted(found, key=lambda trial: (trial.seed, trial.fraction))


def one_trial(table, counts, features, folder):
    """The trial of a folder `fold0_0.1` or `seed0_0.1`."""
    kind, fraction = folder.name.split("_")
    rows = read_tsv(folder / "samples.tsv")
    row_of = {name: i for i, name in enumerate(table.samples)}
    at = np.array([row_of[row["sample_id"]] for row in rows])
    is_fill = np.array([row["part"] == "fill" for row in rows])
    none = np.zeros((len(at), len(features)), bool)
    full = Part(
        counts=counts[at],
        totals=counts[at].sum(axis=1),
        present=counts[at] > 0,
        hidden=none,
        groups=np.array([int(row["group"]) for row in rows]),
        times=None if table.times is None else table.times[at],
        totals_are=LEFT if kind.startswith("fold") else GIVEN,
    )
    test = full.take(is_fill)
    place = {row["sample_id"]: i for i, row in enumerate(row for row in rows if row["part"] == "fill")}
    column_of = {name: j for j, name in enumerate(features)}
    hidden, scored = np.zeros(test.counts.shape, bool), np.zeros(test.counts.shape, bool)
    told = np.zeros(test.counts.shape)
    for row in read_tsv(folder / "hidden.tsv"):
        entry = place[row["sample_id"]], column_of[row["feature_id"]]
        hidden[entry], scored[entry] = True, row["is_scored"] == "1"
        told[entry] = float(row["truth"])
    fill = test.hide(hidden)
    truth = ln1p_percent(test.counts, fill.totals)
    if not (hidden <= test.present).all() or not np.allclose(truth[scored], told[scored], rtol=0, atol=1e-9):
        raise SystemExit(f"{folder}: the values differ from those of the program: is it the same table?")
    learn = fill if is_fill.all() else full.take(~is_fill)
    seed = int("".join(c for c in kind if c.isdigit()))
    return Trial(folder.name, seed, float(fraction), learn, fill, truth, scored)

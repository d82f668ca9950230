"""Writes a golden file next to the script that calls it, with the versions of the libraries used.

Set up once: python3 -m venv venv && venv/bin/pip install numpy scipy scikit-bio scikit-learn statsmodels mpmath
Then, in this folder, run each script; `NaN` is written as null.
"""

import importlib.metadata
import json
import pathlib

import numpy as np


def plain(value):
    """Arrays, numpy scalars and NaN as JSON can hold them."""
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(v) for v in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return None if np.isnan(value) else float(value)
    return value


def write(name, libraries, payload):
    versions = {library: importlib.metadata.version(library) for library in ["numpy", *libraries]}
    path = pathlib.Path(__file__).parent / f"{name}.json"
    path.write_text(json.dumps({"versions": versions, **plain(payload)}, allow_nan=False) + "\n")


def zero_inflated(seed, n_samples, n_taxa, zero_share):
    """Correlated positive values, rounded to 4 digits, with zeros; `[n_samples, n_taxa]`."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(n_samples, 2)) @ rng.normal(size=(2, n_taxa))
    values = np.log1p(np.exp(factor + 0.7 * rng.normal(size=factor.shape)))
    values[rng.random(values.shape) < zero_share] = 0.0
    return np.round(values, 4)

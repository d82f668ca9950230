"""Soft-impute at one lambda by iterated singular value thresholding (Mazumder et al. 2010, algorithm 1)."""

import numpy as np

from golden import write

rng = np.random.default_rng(3)
values = np.round(rng.normal(size=(12, 2)) @ rng.normal(size=(2, 8)) + 0.3 * rng.normal(size=(12, 8)), 4)
values[rng.random(values.shape) < 0.4] = np.nan
observed = np.isfinite(values)
lam = 1.0
z = np.zeros_like(values)
for _ in range(200_000):
    u, s, vt = np.linalg.svd(np.where(observed, values, z), full_matrices=False)
    new = (u * np.maximum(s - lam, 0)) @ vt
    done = np.abs(new - z).max() < 1e-13
    z = new
    if done:
        break
write("soft_impute", [], {"values": values, "lambda": lam, "expected": z})

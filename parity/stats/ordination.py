"""Bray-Curtis distances by scipy and principal coordinates by numpy's symmetric eigensolver."""

import numpy as np
from scipy.spatial.distance import pdist, squareform

from golden import write, zero_inflated


def ordination(seed, n_samples, n_taxa, n_axes):
    table = np.expm1(zero_inflated(seed, n_samples, n_taxa, 0.5))
    table = np.round(table[table.sum(axis=1) > 0], 3)
    shares = table / table.sum(axis=1, keepdims=True)
    distances = squareform(pdist(shares, "braycurtis"))
    n = len(table)
    centring = np.eye(n) - np.ones((n, n)) / n
    gower = -0.5 * centring @ (distances**2) @ centring
    values, vectors = np.linalg.eigh(gower)
    assert values[0] < 0, "some negative eigenvalue should be there"
    order = np.argsort(values)[::-1][:n_axes]
    return {
        "table": table,
        "distances": distances,
        "eigenvalues": values[order],
        "shares": values[order] / np.trace(gower),
        "points": vectors[:, order] * np.sqrt(values[order]),
    }


large = ordination(2, 170, 8, 2)
del large["distances"]
write("ordination", ["scipy"], {"small": ordination(1, 24, 9, 3), "large": large})

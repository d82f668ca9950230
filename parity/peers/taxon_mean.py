"""Taxon mean of observed non-zeros: the program's baseline of that name, to test the scorer with.

Everything observed counts, as in `suffuse evaluate`: samples to learn from and what is left of those
to fill.
"""

import numpy as np


def fit(part, seed, budget):
    """Returns the function that fills another part."""

    def fill(test):
        both = [part] if test is part else [part, test]
        values = np.concatenate([np.nan_to_num(p.values) for p in both])
        observed = np.concatenate([p.observed for p in both])
        n = observed.sum(axis=0)
        means = np.where(n > 0, (values * observed).sum(axis=0) / np.maximum(n, 1), values[observed].mean())
        return np.broadcast_to(means, test.counts.shape).copy()

    return fill

"""Counts for the peers that model counts, and what a fitted count distribution says of a value."""

import numpy as np

from part import LEFT

N_DRAWS = 200


def whole_counts(part):
    """Whole numbers, at least 1 where an entry is observed; 0 where hidden."""
    return np.where(part.observed, np.maximum(np.round(part.counts), 1.0), 0.0)


def expected_log(mean, dispersion, part, seed):
    """`E[ln(1 + 100 X / total) | X > 0]` of hidden entries, `X` negative binomial, from draws.

    - `mean`, `dispersion`: `[n_samples, n_taxa]`; the variance is `mean + mean^2 / dispersion`
    - returns the same shape, 0 where nothing is hidden

    An entry whose draws are all zero counts as one read.
    """
    rng = np.random.default_rng(seed)
    mean = np.clip(mean[part.hidden], 1e-6, 1e12)[:, None]
    dispersion = np.clip(dispersion[part.hidden], 1e-4, 1e6)[:, None]
    scale = 100.0 / np.where(part.totals > 0, part.totals, np.inf)
    scale = scale[np.nonzero(part.hidden)[0]][:, None]
    rate = rng.gamma(np.repeat(dispersion, N_DRAWS, axis=1), mean / dispersion)
    draws = rng.poisson(np.minimum(rate, 1e15))
    n = (draws > 0).sum(axis=1)
    logs = np.log1p(draws * scale).sum(axis=1) / np.maximum(n, 1)
    filled = np.zeros(part.counts.shape)
    filled[part.hidden] = np.where(n > 0, logs, np.log1p(scale[:, 0]))
    return filled


def depths(part):
    """Reads per sample that a mean is relative to: those left, or those given."""
    return np.maximum(whole_counts(part).sum(axis=1) if part.totals_are == LEFT else part.totals, 1.0)

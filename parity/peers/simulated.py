"""A small table for `run.py --smoke`: subjects with three visits, 30 samples x 12 taxa."""

import numpy as np

from part import GIVEN, LEFT, Part, ln1p_percent
from trials import Trial

N_SUBJECTS, N_VISITS, N_TAXA = 10, 3, 12


def trial(protocol):
    """A trial in the likeness of `published` (all samples) or `strict` (the last two subjects)."""
    rng = np.random.default_rng(0)
    n = N_SUBJECTS * N_VISITS
    subject = np.repeat(rng.normal(size=(N_SUBJECTS, 2)), N_VISITS, axis=0)
    level = rng.normal(2, 1, N_TAXA) + subject @ rng.normal(size=(2, N_TAXA))
    counts = rng.poisson(np.exp(level + rng.normal(0, 0.3, level.shape))) * (rng.random(level.shape) < 0.7)
    counts[:, 0] += 1
    counts = counts.astype(float)
    full = Part(
        counts=counts,
        totals=counts.sum(axis=1),
        present=counts > 0,
        hidden=np.zeros(counts.shape, bool),
        groups=np.repeat(np.arange(N_SUBJECTS), N_VISITS),
        times=np.tile(np.arange(float(N_VISITS)), N_SUBJECTS),
        totals_are=GIVEN if protocol == "published" else LEFT,
    )
    is_fill = np.full(n, True) if protocol == "published" else full.groups >= N_SUBJECTS - 2
    test = full.take(is_fill)
    hidden = test.present & (rng.random(test.counts.shape) < 0.2)
    fill = test.hide(hidden)
    scored = hidden & (fill.totals > 0)[:, None]
    learn = fill if is_fill.all() else full.take(~is_fill)
    return Trial("simulated", 0, 0.2, learn, fill, ln1p_percent(test.counts, fill.totals), scored)

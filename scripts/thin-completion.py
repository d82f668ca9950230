#!/usr/bin/env python3
"""Bray-Curtis of thin samples to their full depth, before and after their zeros are filled.

    python3 scripts/thin-completion.py TABLE.h5ad     needs anndata and numpy

500 samples, 400 of them to learn from. Presence is judged by ridge regression on the presence of the
other taxa; the value of a taxon is drawn from its own non-zero values. `zero reads` is what `suffuse
evaluate --protocol thinning --completion zero-reads` does; `presence known` fills exactly the zeros that
are false, with the mean of them all.
"""

import sys

import anndata
import numpy as np

N_SAMPLES, N_LEARN, PENALTY = 500, 400, 0.1


def shares(counts):
    return counts / counts.sum(1, keepdims=True)


def presence(learn, test):
    """Linear probability of each entry from the other taxa."""
    present = (learn > 0).astype(float)
    means = present.mean(0)
    gram = (present - means).T @ (present - means)
    inverse = np.linalg.inv(gram + PENALTY * len(learn) * np.eye(gram.shape[0]))
    beta = inverse @ (gram - np.diag(np.diag(gram)))
    beta -= inverse * (np.diag(beta) / np.diag(inverse))
    return np.clip(((test > 0) - means) @ beta + means, 1e-3, 1 - 1e-3)


def reads_given_none(p, reads):
    """As reads_given_none of crates/suffuse/src/evaluate/completion.rs; `reads` rise."""
    weights = 1 / np.expm1(reads)
    present = min(1.0, p / (1 - p) * weights.mean())
    if present <= 0.5:
        return 0.0
    return reads[np.searchsorted(np.cumsum(weights) / weights.sum(), 1 - 0.5 / present)]


def main(path):
    np.seterr(over="ignore")
    table = anndata.read_h5ad(path)
    full = np.asarray(table.X.todense() if hasattr(table.X, "todense") else table.X)
    rows = np.random.default_rng(0).permutation(len(full))[:N_SAMPLES]
    full = full[rows].round().astype(int)
    generator = np.random.default_rng(1)
    print("depth\tthin\tfilled\tzero_reads\tpresence_known")
    for share in (0.5, 0.2, 0.1):
        thin = generator.binomial(full, share).astype(float)
        learn, test, truth = thin[:N_LEARN], thin[N_LEARN:], shares(full[N_LEARN:])
        p, totals, own = presence(learn, test), test.sum(1), shares(learn)
        filled, careful, known = test.copy(), test.copy(), test.copy()
        for taxon in range(test.shape[1]):
            values = np.sort(own[own[:, taxon] > 0, taxon])
            rows = (test[:, taxon] == 0) & (p[:, taxon] >= 0.5)
            for row in np.flatnonzero(rows) if len(values) > 1 else []:
                filled[row, taxon] = np.expm1(np.log1p(100 * values).mean()) / 100 * totals[row]
                careful[row, taxon] = reads_given_none(p[row, taxon], values * totals[row])
        lost = (test == 0) & (truth > 0)
        known[lost] = (truth * totals[:, None])[lost].mean()
        distance = lambda x: np.abs(shares(x) - truth).sum(1).mean() / 2
        numbers = [distance(x) for x in (test, filled, careful, known)]
        print(share, *(f"{x:.4f}" for x in numbers), sep="\t")


if __name__ == "__main__":
    main(sys.argv[1])

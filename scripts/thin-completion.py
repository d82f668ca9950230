#!/usr/bin/env python3
"""Bray-Curtis of thin samples to their full depth, before and after their zeros are filled.

    scripts/thin-completion.py TABLE.h5ad... [--shares 0.5,0.2,0.1] [--seeds 2]     needs anndata and numpy

What `suffuse evaluate --protocol thinning` does, in little: presence is judged by ridge regression on the presence
of the other taxa; what that claim is worth is learned from training samples thinned once more (crates/stats/src/
unseen.rs); a zero that is false more likely than not takes one read of the deeper sample. Five folds; 1,000
samples at most; nested ranks are left out. Columns:

    thin        the thin sample as it is
    learned     completed; as it is in folds where the gain on the training samples is not clear by four errors
    always      the same without that condition
    hindsight   what claims are worth is learned from the full depth of the training samples: no method
    known       the zeros that are false take their true values: no method
"""

import argparse
from pathlib import Path

import anndata
import numpy as np

MAX_SAMPLES, N_FOLDS, RIDGE, PENALTY, DOUBT, CLEAR, MAX_DEPTH = 1000, 5, 0.05, 10.0, 1e-4, 4.0, 6.0
RANKS = ("superkingdom", "phylum", "subphylum", "class", "order", "family", "genus", "species")


def read(path):
    """Whole counts of the leaves, rows with reads only."""
    table = anndata.read_h5ad(path)
    counts = table.X.toarray() if hasattr(table.X, "toarray") else np.asarray(table.X)
    if "rank" in table.var and "name" in table.var:
        names = table.var["name"].astype(str).to_numpy()
        lineages = table.var[[rank for rank in RANKS if rank in table.var]].astype(str).to_numpy()
        parents = [any(name in lineages[k] for k in range(len(names)) if names[k] != name) for name in names]
        counts = counts[:, ~np.array(parents)]
    counts = counts.round().astype(np.int64)
    return counts[counts.sum(1) > 0]


def shares(counts):
    return counts / counts.sum(1, keepdims=True)


def bray_curtis(counts, truth):
    return np.abs(shares(counts) - truth).sum(1) / 2


def ridge(learn, test):
    """Linear presence of each entry from the other taxa."""
    present = (learn > 0).astype(float)
    means = present.mean(0)
    gram = (present - means).T @ (present - means)
    inverse = np.linalg.inv(gram + RIDGE * len(learn) * np.eye(len(means)))
    beta = inverse @ (gram - np.diag(np.diag(gram)))
    beta -= inverse * (np.diag(beta) / np.diag(inverse))
    return ((test > 0) - means) @ beta + means


def logistic(x, y, prior, penalty):
    """Coefficients by Newton's method."""
    b = prior.copy()
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(x @ b, -30, 30)))
        gradient = x.T @ (p - y) + penalty * (b - prior)
        step = np.linalg.solve((x.T * (p * (1 - p))) @ x + penalty * np.eye(len(b)), gradient)
        b -= step * min(1.0, 2 / (np.abs(step).max() + 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return b


def claims(learn, test):
    """Log-odds of presence: ridge regression through a logistic curve fitted on held-out rows."""
    apart = np.arange(len(learn)) % N_FOLDS == 0
    scores = ridge(learn[~apart], learn[apart]).ravel()
    x = np.stack([np.ones_like(scores), scores], 1)
    curve = logistic(x, (learn[apart] > 0).ravel().astype(float), np.array([-2.0, 4.0]), 1e-3)
    p = 1 / (1 + np.exp(-(curve[0] + curve[1] * ridge(learn, test))))
    p = np.clip(p, DOUBT, 1 - DOUBT)
    return np.log(p / (1 - p))


def figures(learn, test):
    """Five figures of every entry of `test`."""
    n = (learn > 0).sum(0)
    prevalence = (n + 1) / (len(learn) + 2)
    depth = np.log(test.sum(1)) - np.median(np.log(learn.sum(1)))
    ones = np.ones(test.shape)
    columns = [
        ones,
        claims(learn, test),
        ones * np.log(((learn == 1).sum(0) + 0.5) / (n + 1)),
        ones * np.log(prevalence / (1 - prevalence)),
        ones * np.clip(depth, -MAX_DEPTH, MAX_DEPTH)[:, None],
    ]
    return np.stack(columns, -1)


def own_figures(counts):
    """The same of training rows, each part by what was learned from the others."""
    part = np.arange(len(counts)) % N_FOLDS
    found = np.zeros((*counts.shape, 5))
    for k in range(N_FOLDS):
        found[part == k] = figures(counts[part != k], counts[part == k])
    return found


def fitted(x, thin, deep):
    zero = thin == 0
    return logistic(x[zero], (deep[zero] > 0).astype(float), np.array([0.0, 1, 0, 0, 0]), PENALTY)


def filled(b, x, thin, share):
    return thin + share * ((thin == 0) & (x @ b > 0))


def fold(learn_full, full, share, generator):
    """Rows of (thin, learned, always, hindsight, known) of the samples under test."""
    thinned = lambda counts: generator.binomial(counts, share)
    learn, test = thinned(learn_full), thinned(full)
    learn, learn_full = learn[learn.sum(1) > 0], learn_full[learn.sum(1) > 0]
    test, full = test[test.sum(1) > 0], full[test.sum(1) > 0]
    thinner = thinned(learn)
    deep, thinner = learn[thinner.sum(1) > 0], thinner[thinner.sum(1) > 0]
    x = own_figures(thinner)
    b = fitted(x, thinner, deep)
    gain = bray_curtis(thinner, shares(deep)) - bray_curtis(filled(b, x, thinner, share), shares(deep))
    is_clear = gain.mean() > CLEAR * gain.std(ddof=1) / len(gain) ** 0.5
    of_test = figures(learn, test)
    always = filled(b, of_test, test, share)
    hindsight = filled(fitted(own_figures(learn), learn, learn_full), of_test, test, share)
    known = test + share * full * (test == 0)
    return np.stack([
        bray_curtis(counts, shares(full)) for counts in (test, always if is_clear else test, always, hindsight, known)
    ])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--shares", default="0.5,0.2,0.1")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    print("table\tdepth\tthin\tlearned\talways\thindsight\tknown\tlearned-thin\terror\thindsight-thin\terror")
    for path in options.tables:
        counts = read(path)
        for share in map(float, options.shares.split(",")):
            rows = []
            for seed in range(options.seeds):
                generator = np.random.default_rng(seed)
                order = generator.permutation(len(counts))[:MAX_SAMPLES]
                part = np.arange(len(order)) % N_FOLDS
                for k in range(N_FOLDS):
                    rows.append(fold(counts[order[part != k]], counts[order[part == k]], share, generator))
            rows = np.concatenate(rows, 1)
            numbers = [f"{x:.5f}" for x in rows.mean(1)]
            for column in (1, 3):
                change = rows[column] - rows[0]
                numbers += [f"{change.mean():+.6f}", f"{change.std(ddof=1) / len(change) ** 0.5:.6f}"]
            print(path.stem, share, *numbers, sep="\t", flush=True)


if __name__ == "__main__":
    main()

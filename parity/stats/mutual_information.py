"""Plug-in mutual information and G test of discretised columns (scikit-learn, scipy)."""

import numpy as np
from scipy.stats import chi2_contingency
from sklearn.metrics import mutual_info_score

from golden import write, zero_inflated

MAX_BINS, MIN_PER_BIN = 4, 10


def discretise(column):
    """0 for zeros, then equally frequent bins 1.. of the non-zeros; equal values share a bin."""
    positive = np.sort(column[column != 0])
    n_bins = max(1, min(MAX_BINS, len(positive) // MIN_PER_BIN))
    bins = np.zeros(len(column), int)
    for index in np.flatnonzero(column):
        rank = np.searchsorted(positive, column[index], side="left")
        bins[index] = 1 + rank * n_bins // len(positive)
    return bins


y = zero_inflated(31, 90, 6, 0.4)
y[:, 5] = np.round(y[:, 5])  # ties
bins = np.array([discretise(c) for c in y.T])
d = len(bins)
mi, g, p = (np.full((d, d), np.nan) for _ in range(3))
for i in range(d):
    for j in range(d):
        mi[i, j] = mutual_info_score(bins[i], bins[j])
        if i != j:
            table = np.zeros((bins[i].max() + 1, bins[j].max() + 1))
            np.add.at(table, (bins[i], bins[j]), 1)
            table = table[table.sum(1) > 0][:, table.sum(0) > 0]
            g[i, j], p[i, j] = chi2_contingency(table, correction=False, lambda_="log-likelihood")[:2]
write("mutual_information", ["scipy", "scikit-learn"], {"y": y, "bins": bins, "mi": mi, "g": g, "p": p})

"""Closest records, membership inference and exact values of small tables, by scipy and scikit-learn."""

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from golden import write

rng = np.random.default_rng(31)
alpha = 0.4 * rng.gamma(1.0, size=11)
tables = [np.array([rng.multinomial(rng.integers(15, 60), p) for p in rng.dirichlet(alpha + 0.05, size=n)])
          for n in (24, 24, 40)]
train, holdout, synthetic = tables
# Two copies, one of them of twice the depth.
synthetic[3] = train[5]
synthetic[9] = 2 * train[7]
relative = [t / t.sum(1, keepdims=True) for t in tables]
pseudocount = 0.5 * relative[0][relative[0] > 0].min()


def clr(x):
    logs = np.log(x + pseudocount)
    return logs - logs.mean(1, keepdims=True)


def figures(distance):
    a, b, c = distance
    to_train, to_holdout = (cdist(c, x, metric) * scale for x in (a, b))
    between = cdist(b, a, metric) * scale
    closest, other = to_train.min(1), to_holdout.min(1)
    members = np.r_[to_train.min(0), to_holdout.min(0)]

    def neighbour_ratio(d):
        two = np.sort(d, axis=1)[:, :2]
        return np.mean(np.where(two[:, 1] == 0, 1.0, two[:, 0] / np.where(two[:, 1] == 0, 1.0, two[:, 1])))

    return {
        "share": np.mean((closest < other) + 0.5 * (closest == other)),
        "membership": roc_auc_score(np.r_[np.ones(len(a)), np.zeros(len(b))], -members),
        "to_train": np.median(closest),
        "holdout_to_train": np.median(between.min(1)),
        "neighbour_ratio": neighbour_ratio(to_train),
        "holdout_neighbour_ratio": neighbour_ratio(between),
    }


distances = {}
metric, scale = "cityblock", 0.5
distances["Bray-Curtis"] = figures(relative)
metric, scale = "euclidean", 1.0
distances["Aitchison"] = figures([clr(x) for x in relative])


def known_values(x):
    hits = [v in relative[0][:, j] for row in x for j, v in enumerate(row) if v > 0]
    return np.mean(hits)


write("privacy", ["scipy", "scikit-learn"], {
    "train": train, "holdout": holdout, "synthetic": synthetic, "distances": distances,
    "copies": np.mean([any((row == other).all() for other in relative[0]) for row in relative[2]]),
    "values": known_values(relative[2]), "values_of_holdout": known_values(relative[1]),
})

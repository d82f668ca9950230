"""PERMANOVA by scikit-bio; PERMDISP by numpy after Anderson (2006), and by scikit-bio on Euclidean distances."""

import warnings

import numpy as np
from scipy.spatial.distance import pdist, squareform
from skbio.stats.distance import DistanceMatrix, permanova, permdisp

from golden import write, zero_inflated

N_PERMUTATIONS = 9999


def to_centroids(distances, groups):
    """Distances to the group's centroid in principal coordinates, negative axes subtracted."""
    n = len(groups)
    centring = np.eye(n) - np.ones((n, n)) / n
    values, vectors = np.linalg.eigh(-0.5 * centring @ distances**2 @ centring)
    points = vectors * np.sqrt(np.abs(values))
    z = np.zeros(n)
    for group in np.unique(groups):
        own = groups == group
        squares = (points[own] - points[own].mean(axis=0)) ** 2
        z[own] = np.sqrt(np.abs(squares[:, values > 0].sum(axis=1) - squares[:, values <= 0].sum(axis=1)))
    return z


def anova_f(z, groups):
    k, n = len(np.unique(groups)), len(groups)
    parts = [z[groups == group] for group in np.unique(groups)]
    between = sum(len(part) * (part.mean() - z.mean()) ** 2 for part in parts)
    within = sum(((part - part.mean()) ** 2).sum() for part in parts)
    return between / (k - 1) / (within / (n - k))


def case(name, points, metric, groups, seed):
    distances = squareform(pdist(points, metric))
    n, k = len(groups), len(np.unique(groups))
    matrix = DistanceMatrix(distances)
    found = permanova(matrix, groups, permutations=N_PERMUTATIONS, seed=seed)
    f = found["test statistic"]
    z = to_centroids(distances, groups)
    dispersion = anova_f(z, groups)
    means = np.array([z[groups == group].mean() for group in range(k)])
    residuals = z - means[groups]
    rng = np.random.default_rng(seed)
    permuted = [anova_f(rng.permutation(residuals), groups) for _ in range(N_PERMUTATIONS)]
    of_skbio = None
    if metric == "euclidean":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            of_skbio = permdisp(matrix, groups, test="centroid", permutations=0)["test statistic"]
    return {
        "name": name,
        "distances": distances,
        "groups": groups,
        "pseudo_f": f,
        "r2": 1 / (1 + (n - k) / ((k - 1) * f)),
        "p": found["p-value"],
        "n_permutations": N_PERMUTATIONS,
        "permdisp_f": dispersion,
        "permdisp_f_skbio": of_skbio,
        "permdisp_p": (1 + np.sum(np.array(permuted) >= dispersion)) / (N_PERMUTATIONS + 1),
    }


rng = np.random.default_rng(3)
points = rng.normal(size=(40, 3))
moved = points + np.where(np.arange(40) % 2 == 1, 0.35, 0.0)[:, None]
wide = points * np.where(np.arange(40) % 3 == 1, 1.6, 1.0)[:, None]
table = np.expm1(zero_inflated(5, 36, 12, 0.5))
table = table[table.sum(axis=1) > 0]
shares = table / table.sum(axis=1, keepdims=True)
thirds = np.minimum(np.arange(len(shares)) // 10, 2)
write(
    "permanova",
    ["scipy", "scikit-bio"],
    {
        "cases": [
            case("moved", moved, "euclidean", np.arange(40) % 2, 1),
            case("wide", wide, "euclidean", (np.arange(40) % 3 == 1).astype(int), 2),
            case("three groups of unequal size", shares, "braycurtis", thirds, 3),
            case("alike", shares, "braycurtis", (np.arange(len(shares)) % 2), 4),
        ]
    },
)

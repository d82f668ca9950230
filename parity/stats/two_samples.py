"""Two sets of samples compared: diversity by scikit-bio, KS by scipy, 1-NN and forests by scikit-learn, the rest
by numpy from the published formulae."""

import numpy as np
from scipy.spatial.distance import pdist, squareform
from scipy.stats import ks_2samp
from skbio.diversity import alpha_diversity
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

from golden import write, zero_inflated

N_SEEDS = 20


def diversity(metric, counts, **options):
    return alpha_diversity(metric, counts, **options).to_numpy()


def ks_cases():
    rng = np.random.default_rng(1)
    pairs = [
        (rng.normal(size=40), rng.normal(0.4, 1.3, size=57)),
        (rng.integers(0, 5, 30), rng.integers(1, 6, 44)),
        (rng.poisson(2, 25), rng.poisson(2, 25)),
        (np.zeros(5), np.array([0.0, 0.0, 1.0])),
    ]
    return [{"a": a, "b": b, "statistic": ks_2samp(a, b).statistic} for a, b in pairs]


def mmd2(points, labels):
    distances = squareform(pdist(points))
    sigma = np.median(pdist(points))
    kernel = np.exp(-(distances**2) / (2 * sigma**2))
    a, b = np.where(labels == 0)[0], np.where(labels == 1)[0]
    m, n = len(a), len(b)
    aa = (kernel[np.ix_(a, a)].sum() - m) / (m * (m - 1))
    bb = (kernel[np.ix_(b, b)].sum() - n) / (n * (n - 1))
    return aa + bb - 2 * kernel[np.ix_(a, b)].mean()


def one_nn(points, labels):
    right = 0
    for i in range(len(points)):
        rest = np.arange(len(points)) != i
        model = KNeighborsClassifier(1).fit(points[rest], labels[rest])
        right += model.predict(points[i : i + 1])[0] == labels[i]
    return right / len(points)


def forest_case(name, x, labels, n_train):
    scores = []
    for seed in range(N_SEEDS):
        model = RandomForestClassifier(50, random_state=seed).fit(x[:n_train], labels[:n_train])
        p = model.predict_proba(x[n_train:])
        p = p[:, 1] if p.shape[1] == 2 else p
        scores.append(roc_auc_score(labels[n_train:], p, multi_class="ovr"))
    return {
        "name": name, "x": x, "labels": labels, "n_train": n_train,
        "mean": np.mean(scores), "sd": np.std(scores, ddof=1),
    }  # fmt: skip


def forest_cases():
    x, y = make_classification(
        240, 12, n_informative=4, n_redundant=2, flip_y=0.1, class_sep=0.7, random_state=0
    )
    # f32 is what scikit-learn keeps of features.
    x = np.round(x, 3)
    x3, y3 = make_classification(
        240, 10, n_informative=5, n_classes=3, class_sep=0.8, flip_y=0.1, random_state=1
    )
    x3 = np.round(x3, 3)
    sparse = zero_inflated(9, 240, 30, 0.6)
    score = sparse[:, 0] + sparse[:, 1] - (sparse[:, 2] > 0) + np.random.default_rng(2).normal(size=240)
    ys = (score > np.median(score)).astype(int)
    return [
        forest_case("two classes", x, y, 140),
        forest_case("three classes", x3, y3, 140),
        forest_case("sparse", sparse, ys, 140),
    ]


def law_points(law, shares):
    n = len(shares)
    shares = shares[:, shares.sum(axis=0) > 0]
    x = np.log10(shares.mean(axis=0))
    if law == "mean_variance":
        return x, np.log10(shares.var(axis=0, ddof=1))
    k = (shares > 0).sum(axis=0)
    return x, np.log((k + 0.5) / (n - k + 0.5))


def law_r2(law, fitted, other):
    slope, intercept = np.polyfit(*law_points(law, fitted), 1)
    x, y = law_points(law, other)
    return 1 - ((y - intercept - slope * x) ** 2).sum() / ((y - y.mean()) ** 2).sum()


counts = np.round(np.expm1(zero_inflated(21, 15, 10, 0.5)) * 5).astype(int)
counts = counts[counts.sum(axis=1) > 0]
rng = np.random.default_rng(4)
points = np.vstack([rng.normal(size=(23, 4)), rng.normal(0.6, 1.2, size=(31, 4))])
labels = np.repeat([0, 1], [23, 31])


def closed(seed):
    table = np.expm1(zero_inflated(seed, 20, 15, 0.4))
    table = table[table.sum(axis=1) > 0]
    return table / table.sum(axis=1, keepdims=True)


shares, other = closed(31), closed(32)
write(
    "two_samples",
    ["scipy", "scikit-bio", "scikit-learn"],
    {
        "table": counts,
        "richness": (counts > 0).sum(axis=1),
        "shannon": diversity("shannon", counts, base=np.e),
        "simpson": diversity("simpson", counts),
        "ks": ks_cases(),
        "points": points,
        "euclidean": squareform(pdist(points)),
        "jaccard": squareform(pdist(counts > 0, "jaccard")),
        "labels": labels,
        "mmd2": mmd2(points, labels),
        "one_nn": one_nn(points, labels),
        "forests": forest_cases(),
        "shares": shares,
        "other_shares": other,
        "mean_variance_r2": law_r2("mean_variance", shares, other),
        "occupancy_r2": law_r2("occupancy_abundance", shares, other),
    },
)

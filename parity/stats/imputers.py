"""The classical imputers by their definitions, in plain numpy loops, on a small table with hidden entries."""

import sys

import numpy as np

from golden import write, zero_inflated

K = 10


def centre(y):
    """Taxon means and sample offsets; zeros and NaN left out."""
    observed = np.where(np.nan_to_num(y) > 0, y, np.nan)
    overall = np.nanmean(observed)
    means = np.array([np.nanmean(c) if np.isfinite(c).any() else overall for c in observed.T])
    rest = observed - means
    return means, np.array([np.nanmean(r) if np.isfinite(r).any() else 0.0 for r in rest])


def mean_offset(y):
    """Predictions of taxon mean, and taxon mean + sample offset, at every entry."""
    means, offsets = centre(y)
    return np.broadcast_to(means, y.shape), np.maximum(means + offsets[:, None], np.nanmin(y[y > 0]))


def knn(y, fallback):
    out = y.copy()
    for i, j in np.argwhere(np.isnan(y)):
        candidates = []
        for other in range(len(y)):
            both = np.isfinite(y[i]) & np.isfinite(y[other])
            if other != i and y[other, j] > 0 and both.any():
                candidates.append((((y[i] - y[other])[both] ** 2).mean(), other))
        nearest = sorted(candidates)[:K]
        out[i, j] = np.mean([y[other, j] for _, other in nearest]) if nearest else fallback[i, j]
    return out


def without(y, i, j):
    """Residuals of sample i with entry j hidden as well, and the mean + offset that they are left by."""
    means, _ = centre(y)
    rest = np.where(np.nan_to_num(y[i]) > 0, y[i], np.nan) - means
    rest[j] = np.nan
    offset = np.nanmean(rest) if np.isfinite(rest).any() else 0.0
    return rest - offset, means[j] + offset


def local_least_squares(y, k, shrinkage, ridge):
    out = y.copy()
    means, offsets = centre(y)
    penalty = ridge * np.mean((y - means - offsets[:, None])[np.nan_to_num(y) > 0] ** 2)
    for i, j in np.argwhere(np.isnan(y)):
        own, base = without(y, i, j)
        having = [s for s in range(len(y)) if y[s, j] > 0]
        target = np.array([y[s, j] - without(y, s, j)[1] for s in having])
        others = np.array([without(y, s, j)[0] for s in having]).reshape(len(having), y.shape[1])
        sizes = []
        for taxon in np.flatnonzero(np.isfinite(own)):
            both = np.isfinite(others[:, taxon])
            a, b = others[both, taxon], target[both]
            norm = np.linalg.norm(a) * np.linalg.norm(b)
            if norm > 0:
                sizes.append((-abs(a @ b) / norm * len(a) / (len(a) + shrinkage), taxon))
        chosen = [taxon for _, taxon in sorted(sizes)[:k]]
        x = np.nan_to_num(others[:, chosen])
        beta = np.linalg.solve(x.T @ x + penalty * np.eye(len(chosen)), x.T @ target) if chosen else np.zeros(0)
        out[i, j] = max(base + own[chosen] @ beta, np.nanmin(y[y > 0]))
    return out


def chained_ridge(y, penalty, sweeps=3):
    """Residuals of the hidden entries by scikit-learn's Ridge per taxon."""
    from sklearn.linear_model import Ridge

    hidden = [tuple(at) for at in np.argwhere(np.isnan(y))]
    estimates = dict.fromkeys(hidden, 0.0)

    def features(i, j):
        residual = without(y, i, j)[0]
        for taxon in range(y.shape[1]):
            residual[taxon] = estimates.get((i, taxon), 0.0 if np.isnan(residual[taxon]) else residual[taxon])
        presence = (y[i] != 0).astype(float)
        return np.delete(np.concatenate([residual, presence]), [j, j + y.shape[1]])

    for _ in range(sweeps):
        following = {}
        for i, j in hidden:
            having = [s for s in range(len(y)) if y[s, j] > 0]
            if not having:
                following[i, j] = 0.0
                continue
            target = [y[s, j] - without(y, s, j)[1] for s in having]
            fit = Ridge(alpha=penalty, solver="cholesky").fit([features(s, j) for s in having], target)
            following[i, j] = fit.predict([features(i, j)])[0]
        estimates = following
    return [estimates[at] for at in hidden]


def hard_impute(r, rank):
    """Truncated SVD of the matrix filled by the last one, until nothing moves."""
    z = np.zeros_like(r)
    for _ in range(1_000_000):
        u, s, vt = np.linalg.svd(np.where(np.isfinite(r), r, z), full_matrices=False)
        new = (u[:, :rank] * s[:rank]) @ vt[:rank]
        done = np.abs(new - z).max() < 1e-13
        z = new
        if done:
            return z
    raise RuntimeError("hard-impute has not settled")


def weighted_nmf(y, w, h, penalty, updates):
    mask = y > 0
    for _ in range(updates):
        w = w * ((mask * y) @ h) / ((mask * (w @ h.T)) @ h + penalty * w)
        h = h * ((mask * y).T @ w) / ((mask * (w @ h.T)).T @ w + penalty * h)
    return w @ h.T


def fill(y, prediction):
    return np.where(np.isnan(y), prediction, y)


def reference(path, n_masks=10):
    """Means over masks of PCC, COS, RMSE, MAE on an h5ad; quoted in the Rust test on real data."""
    import anndata  # only needed here

    reads = anndata.read_h5ad(path).X
    reads = np.asarray(reads.todense() if hasattr(reads, "todense") else reads, dtype=float)
    total = reads.sum(1, keepdims=True)
    truth = np.log1p(100 * np.divide(reads, total, out=np.zeros_like(reads), where=total > 0))
    present = np.argwhere(truth > 0)
    rows = {"zero": [], "taxon-mean": [], "taxon-mean-offset": []}
    for seed in range(n_masks):
        hidden = present[np.random.default_rng(seed).choice(len(present), len(present) // 10, replace=False)]
        at = tuple(hidden.T)
        y = truth.copy()
        y[at] = np.nan
        mean, offset = mean_offset(y)
        for name, p in (("zero", 0 * mean), ("taxon-mean", mean), ("taxon-mean-offset", offset)):
            t, p = truth[at], p[at]
            pcc = np.corrcoef(t, p)[0, 1] if p.any() else np.nan
            cos = t @ p / np.linalg.norm(t) / np.linalg.norm(p) if p.any() else np.nan
            rows[name].append([pcc, cos, ((t - p) ** 2).mean() ** 0.5, np.abs(t - p).mean()])
    for name, found in rows.items():
        print(name, np.mean(found, 0).round(3), "sd", np.std(found, 0).round(3))


if len(sys.argv) > 1:
    reference(sys.argv[1])
    sys.exit()

values = zero_inflated(5, 30, 8, 0.45)
values[7] = 0.0
rng = np.random.default_rng(6)
present = np.argwhere(values > 0)
for i, j in present[rng.choice(len(present), len(present) // 5, replace=False)]:
    values[i, j] = np.nan
values[7, 2] = np.nan
values[:, 6] = np.where(values[:, 6] > 0, np.nan, values[:, 6])
mean, offset = mean_offset(values)
write("imputers", ["scikit-learn"], {"values": values, "ridge_penalty": 3.0,
    "ridge_residuals": chained_ridge(values, 3.0), "expected": {
    "zero": fill(values, 0.0), "taxon-mean": fill(values, mean), "taxon-mean-offset": fill(values, offset),
    "knn": knn(values, offset),
    # The shrinkage and the ridge are those of local_least_squares.rs, 4 partners.
    "local-least-squares": local_least_squares(values, 4, 10.0, 5.0)}})

rng = np.random.default_rng(8)
low_rank = rng.normal(size=(14, 2)) @ np.diag([2.0, 1.0]) @ rng.normal(size=(2, 9))
residuals = np.round(low_rank + 0.2 * rng.normal(size=low_rank.shape), 4)
residuals[rng.random(residuals.shape) < 0.2] = np.nan
write("hard_impute", [], {"values": residuals, "expected": [hard_impute(residuals, rank) for rank in (1, 2)]})

positive = zero_inflated(9, 12, 7, 0.4)
w, h = np.round(rng.uniform(0.2, 1.2, size=(12, 3)), 4), np.round(rng.uniform(0.2, 1.2, size=(7, 3)), 4)
write("weighted_nmf", [], {"values": positive, "w": w, "h": h, "penalty": 0.1,
    "expected": weighted_nmf(positive, w, h, 0.1, 50)})

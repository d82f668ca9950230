"""Presence from the other taxa: Rasch by joint Newton, prevalence, ridge, low rank, partners, logistic curve, AUROC."""

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score

from golden import write, zero_inflated

values = zero_inflated(11, 48, 9, 0.35)
train, asked = values[:40], values[40:].copy()
present, seen = (train > 0).astype(float), (asked > 0).astype(float)
n = len(train)


def residuals(rows):
    means = np.array([c[c > 0].mean() for c in train.T])
    rest = np.where(rows > 0, rows - means, np.nan)
    return np.nan_to_num(rest - np.nanmean(rest, axis=1, keepdims=True))


def logistic(x):
    return 1 / (1 + np.exp(-x))


def rasch(x, penalty):
    """Newton on all parameters at once: taxa first, then samples."""
    rows, columns = x.shape
    theta = np.zeros(rows + columns)
    for _ in range(100):
        p = logistic(theta[:columns] + theta[columns:, None])
        gradient = np.concatenate([(x - p).sum(0), (x - p).sum(1)]) - penalty * theta
        w = p * (1 - p)
        hessian = np.diag(np.concatenate([w.sum(0), w.sum(1)]) + penalty)
        hessian[:columns, columns:], hessian[columns:, :columns] = w.T, w
        theta += np.linalg.solve(hessian, gradient)
    return theta[:columns], theta[columns:]


ease, richness = rasch(present, 0.01)


def rasch_asked():
    """Richness of each sample asked about without the taxon judged, by bisection."""
    out = np.empty_like(asked)
    for i, j in np.ndindex(out.shape):
        others = np.arange(9) != j
        low, high = -50.0, 50.0
        for _ in range(200):
            b = (low + high) / 2
            slope = seen[i, others].sum() - logistic(ease[others] + b).sum() - 0.01 * b
            low, high = (b, high) if slope > 0 else (low, b)
        out[i, j] = logistic(ease[j] + low)
    return out


train_residual, asked_residual = residuals(train), residuals(asked)
scale = 0.25 / np.sqrt((train_residual**2).mean())


def ridge(penalty):
    out = np.empty_like(asked)
    for j in range(9):
        others = np.arange(9) != j
        x = np.hstack([present[:, others], scale * train_residual[:, others]])
        q = np.hstack([seen[:, others], scale * asked_residual[:, others]])
        out[:, j] = Ridge(alpha=penalty * n).fit(x, present[:, j]).predict(q)
    return out


def partners(k, little=1e-3):
    out = np.empty_like(asked)
    for j in range(9):
        covariance = np.abs((present - present.mean(0)).T @ (present[:, j] - present[:, j].mean()))
        strength = covariance**2 / (((present - present.mean(0)) ** 2).sum(0) + little * n)
        # Rounded, so that taxa of equal strength are taken in their order on any machine.
        order = np.argsort(-np.round(strength, 9), kind="stable")
        best = [t for t in order if t != j][:k]
        out[:, j] = Ridge(alpha=little * n).fit(present[:, best], present[:, j]).predict(seen[:, best])
    return out


means = present.mean(0)
_, s, vt = np.linalg.svd(present - means, full_matrices=False)


def low_rank(b, penalty):
    """Each entry asked about from the weights of its row, fitted without it."""
    out = np.empty_like(asked)
    for i, j in np.ndindex(out.shape):
        others = np.arange(9) != j
        z = seen[i] - means
        gram = b[others].T @ b[others] + penalty * np.eye(b.shape[1])
        out[i, j] = means[j] + b[j] @ np.linalg.solve(gram, b[others].T @ z[others])
    return out


tau = 0.3 * s[0]
kept = s > tau
soft = low_rank(vt[kept].T * np.sqrt(s[kept] - tau), tau)

scores, labels = rasch_asked().ravel(), seen.ravel() > 0
z = (scores - scores.mean()) / scores.std()
curve = LogisticRegression(C=1e3, tol=1e-12, max_iter=10000).fit(z[:, None], labels)
probabilities = curve.predict_proba(z[:, None])[:, 1]

coarse = np.round(scores, 1)  # with ties
below = (coarse[:, None] > coarse[None]) + 0.5 * (coarse[:, None] == coarse[None])
placements = np.where(labels, below[:, ~labels].mean(1), 1 - below[:, labels].mean(1))

write("presence", ["scikit-learn"], {
    "train": train, "asked": asked, "prevalence": (present.sum(0) + 0.5) / (n + 1),
    "ease": ease, "richness": richness, "rasch": rasch_asked(),
    "ridge": ridge(0.05), "partners": partners(3), "hard": low_rank(vt[:3].T, 1e-6), "soft": soft,
    "scores": scores, "labels": labels.astype(int), "curve": probabilities,
    "coarse": coarse, "placements": placements, "auroc": roc_auc_score(labels, coarse),
})

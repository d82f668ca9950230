"""The guide's members on a small table, from their description in decision 9, in numpy.

    python parity/depmicrodiff/guide.py
"""

import json
from pathlib import Path

import numpy as np

X = np.array([[5.0, 3.0, 0.0, 2.0], [1.0, 0.0, 4.0, 5.0], [2.0, 2.0, 2.0, 0.0], [7.0, 1.0, 1.0, 1.0], [0.0, 6.0, 3.0, 3.0]])
# 0 present, 1 absent, 2 hidden, 3 hidden but known to be present; of the first and the last sample.
FLAGS = {0: [0, 3, 1, 0], 4: [2, 0, 2, 0]}
WIDTH, DEPTH = 16, 2


def additive(values, present, prior_of_offset, weights_of, mean_of):
    """Means and offsets in turn, ten rounds."""
    offsets = np.zeros((len(values), 1))
    for _ in range(10):
        n = present.sum(0)
        shifted = np.where(present, values - offsets, 0.0)
        total = shifted.sum(0)
        square = (shifted**2).sum(0)
        within = np.where(n > 0, square - total**2 / np.maximum(n, 1), 0.0)
        pooled_mean, pooled_variance = total.sum() / n.sum(), within.sum() / n.sum()
        mean = mean_of(n, total, pooled_mean)
        sd = np.maximum(np.sqrt((within + 3 * pooled_variance) / (n + 3)), 0.1)
        offsets = offset_of(values, present, mean, weights_of(sd), prior_of_offset(sd))
    return mean, sd, offsets


def offset_of(values, present, mean, weight, prior):
    above = np.where(present, (values - mean) * weight, 0.0).sum(1, keepdims=True)
    return above / ((present * weight).sum(1, keepdims=True) + prior)


def logs(x):
    percent = 100 * x / x.sum(1, keepdims=True)
    return np.log(np.where(x > 0, percent, 1.0)), np.log1p(percent)


def layer_norm(h):
    return (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5)


def silu(x):
    return x / (1 + np.exp(-x))


def weights(path, shape):
    return 0.3 * np.sin(1.0 + len(path) + 0.7 * np.arange(np.prod(shape))).reshape(shape)


def linear(x, path, n_outputs):
    return x @ weights(f"{path}.weight", (x.shape[1], n_outputs)) + weights(f"{path}.bias", n_outputs)


present = X > 0
log, log1p = logs(X)
scale = additive(log, present, lambda sd: (sd**-2.0).mean(), lambda sd: sd**-2.0, lambda n, s, m: (s + m) / (n + 1))
plain = additive(
    log1p, present, lambda sd: 0.5, np.ones_like, lambda n, s, m: np.where(n >= 3, s / np.maximum(n, 1), (s + 3 * m) / (n + 3))
)


def partners_of(residual, present):
    """Of each taxon, the others by their correlation over samples with both, shrunk for few of them."""
    r = np.where(present, residual, 0.0)
    both = present.astype(float)
    product, square, n = r.T @ r, (r**2).T @ both, both.T @ both
    spread = np.sqrt(square * square.T)
    tells = np.where(spread > 0, np.abs(product) / np.where(spread > 0, spread, 1) * np.sqrt(n / (n + 10)), 0.0)
    return [sorted((j for j in range(len(t)) if j != i), key=lambda j: (-t[j], j)) for i, t in enumerate(tells)]


partners = partners_of((log - scale[0] - scale[2]) / scale[1], present)
n_present, n_all = present.sum(0) + 0.5, len(X) + 1.0
prior_logit = np.log(n_present / (n_all - n_present))



def level(space, of_sample, taxa, flags):
    """A quadratic in offset, ln richness, ln(1 + hidden / seen), depth, and mean and sd of the taxon."""
    z = [np.full(4, v) for v in of_sample] + [taxa[0], taxa[1]]
    terms = [np.ones(4), *z] + [z[i] * z[j] for i in range(6) for j in range(i, 6)]
    return np.where(flags >= 2, 0.3 * np.sin(1.0 + space + 0.7 * np.arange(28)) @ np.stack(terms), 0.0)


expected = []
for sample, flags in FLAGS.items():
    flags = np.array(flags)
    in_sight = (flags == 0)[None]
    log, log1p = logs(np.where(in_sight, X[[sample]], 0.0))
    offset = offset_of(log, in_sight, scale[0], scale[1] ** -2.0, (scale[1] ** -2.0).mean())
    offset1p = offset_of(log1p, in_sight, plain[0], np.ones(4), 0.5)
    u = np.where(in_sight, np.clip((log - scale[0] - offset) / scale[1], -10, 10), 0.0)[0]
    per_taxon = np.stack([u, flags == 1, flags == 2, flags == 3], 1).ravel()
    n = [(flags == k).sum() for k in range(4)]
    n_present = n[0] + n[3] + n[2] * n[0] / max(n[0] + n[1], 1)
    depth = (np.log(X[sample][flags == 0].sum()) - 1.0) / 2.0
    of_sample = [offset.item(), np.log1p(n_present), np.log1p((n[3] + n[2]) / n[0]), depth]
    figures = [1.0, offset.item(), np.log1p(n[0]) - 2, np.log1p(n[3]) - 1, np.log1p(n[0] + n[3]) - 2, np.log1p(n[2]) - 1, depth]
    h0 = np.concatenate([per_taxon, figures])[None]
    said = {}
    for member in ("member0", "member1", "presence0"):
        h = linear(h0, f"{member}.first", WIDTH)
        for block in range(DEPTH):
            path = f"{member}.block{block}"
            h = h + linear(silu(linear(layer_norm(h), f"{path}.inner", WIDTH)), f"{path}.outer", WIDTH)
        correction = linear(layer_norm(h), f"{member}.last", 4)
        path, n_channels = f"{member}.partners", 4 * 3
        seen = np.array([[h0[0, 4 * j : 4 * j + 4] for j in of_taxon] for of_taxon in partners]).reshape(4, n_channels)
        inner = weights(f"{path}.inner", (4 * n_channels, 8)).reshape(4, n_channels, 8)
        inner_bias = weights(f"{path}.inner_bias", (4, 8))
        outer = weights(f"{path}.outer", (4 * 8, 1)).reshape(4, 8)
        correction = correction + (silu(np.einsum("nk,nkh->nh", seen, inner) + inner_bias) * outer).sum(1)[None]
        said[member] = correction
    row = {"presence_logit": (said["presence0"][0] + prior_logit).tolist()}
    for space, (base, taxa) in enumerate([(scale[0] + offset, scale), (plain[0] + offset1p, plain)]):
        value = base + level(space, of_sample, taxa, flags) + said[f"member{space}"] * taxa[1]
        value = np.logaddexp(value, 0.0) if space == 0 else value
        row[f"value{space}"] = value[0].tolist()
    expected.append(row)

Path(__file__).with_suffix(".json").write_text(json.dumps(expected, indent=1) + "\n")

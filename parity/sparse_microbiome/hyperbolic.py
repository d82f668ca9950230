"""The Poincaré ball by way of the hyperboloid in mpmath, distances on a tree by scikit-bio, and what
classical scaling (numpy) makes of a balanced tree.

    python parity/sparse_microbiome/hyperbolic.py

The hyperboloid has other formulas for the exponential map and for parallel transport, so a mistake in
those of the ball does not repeat itself here.
"""

import importlib.metadata
import json
from pathlib import Path

import mpmath as mp
import numpy as np
from skbio import TreeNode

mp.mp.dps = 60


def norm2(x):
    return mp.fsum(c * c for c in x)


def lorentz(p, q):
    return -p[0] * q[0] + mp.fsum(a * b for a, b in zip(p[1:], q[1:]))


def lift(x):
    """From the ball to the hyperboloid, by stereographic projection."""
    below = 1 - norm2(x)
    return [(1 + norm2(x)) / below] + [2 * c / below for c in x]


def lift_tangent(x, v):
    below = 1 - norm2(x)
    along = 4 * mp.fsum(a * b for a, b in zip(x, v)) / below**2
    return [along] + [2 * b / below + a * along for a, b in zip(x, v)]


def lower(p):
    return [c / (1 + p[0]) for c in p[1:]]


def lower_tangent(p, w):
    return [b / (1 + p[0]) - a * w[0] / (1 + p[0]) ** 2 for a, b in zip(p[1:], w[1:])]


def distance(u, v):
    return mp.acosh(-lorentz(lift(u), lift(v)))


def exp_map(x, v):
    p, w = lift(x), lift_tangent(x, v)
    length = mp.sqrt(lorentz(w, w))
    return lower([mp.cosh(length) * a + mp.sinh(length) / length * b for a, b in zip(p, w)])


def log_map_at_origin(x):
    length = mp.acosh(lift(x)[0])
    return [length / 2 * c / mp.sqrt(norm2(x)) for c in x]


def transport(x, y, v):
    p, q, w = lift(x), lift(y), lift_tangent(x, v)
    factor = lorentz(q, w) / (1 - lorentz(p, q))
    return lower_tangent(q, [b + factor * (a + c) for b, a, c in zip(w, p, q)])


def gradient(u, v):
    def along(k):
        return mp.diff(lambda c: distance(u[:k] + [c] + u[k + 1 :], v), u[k])

    return [along(k) for k in range(len(u))]


def case(u, v, tangent):
    exact = [[mp.mpf(c) for c in x] for x in (u, v, tangent)]
    x, y, t = exact
    numbers = {
        "distance": distance(x, y),
        "gradient": gradient(x, y),
        "exp": exp_map(x, t),
        "log": log_map_at_origin(x),
        "transport": transport(x, y, t),
    }
    plain = {k: [float(c) for c in v] if isinstance(v, list) else float(v) for k, v in numbers.items()}
    return {"u": u, "v": v, "tangent": tangent, **plain}


def balanced(depth):
    """Distances between the leaves of a binary tree with branches of length 1."""
    leaves = np.arange(2**depth)
    differ = leaves[:, None] ^ leaves
    return 2.0 * np.ceil(np.log2(differ + 1))


def euclidean_distortion(distances, n_dims):
    """Mean of |s d / t - 1| for classical scaling, s that of the least sum of squares."""
    n = len(distances)
    centring = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(-0.5 * centring @ distances**2 @ centring)
    points = vectors[:, -n_dims:] * np.sqrt(np.maximum(values[-n_dims:], 0))
    pairs = np.triu_indices(n, 1)
    ratio = np.linalg.norm(points[pairs[0]] - points[pairs[1]], axis=1) / distances[pairs]
    ratio *= ratio.sum() / (ratio**2).sum()
    return float(np.abs(ratio - 1).mean())


NEWICK = "(((a:0.11,b:0.42):0.3,(c:0.05,d:0.9):0.21):0.17,(e:0.6,(f:0.08,g:0):0.33):0.02);"
tree = TreeNode.read([NEWICK])
# Renamed to cophenet in newer versions.
matrix = tree.tip_tip_distances() if hasattr(tree, "tip_tip_distances") else tree.cophenet()
names = sorted(matrix.ids)

out = {
    "versions": {name: importlib.metadata.version(name) for name in ["mpmath", "numpy", "scikit-bio"]},
    "ball": [
        case([0.1, -0.2, 0.3], [0.4, 0.05, -0.6], [0.3, 0.2, -0.1]),
        case([0.5, 0.5, -0.5], [-0.3, 0.9, 0.1], [-0.02, 0.04, 0.01]),
        case([0.999, 0.01, 0.02], [-0.01, -0.9995, 0.001], [-0.0004, 0.0003, 0.0001]),
        case([0.2, 0.1, 0.0], [0.2, 0.1000001, 0.0], [1.0, -2.0, 0.5]),
    ],
    "tree": {"newick": NEWICK, "names": names, "distances": matrix.filter(names).data.tolist()},
    "euclidean_distortion": {str(d): euclidean_distortion(balanced(6), d) for d in (4, 8, 16)},
}
Path(__file__).with_suffix(".json").write_text(json.dumps(out, indent=1) + "\n")

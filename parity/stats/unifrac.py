"""UniFrac and Faith's diversity by scikit-bio on a random tree; generalised UniFrac by Chen's formula."""

import numpy as np
from skbio import TreeNode
from skbio.diversity import alpha_diversity, beta_diversity

from golden import write, zero_inflated

rng = np.random.default_rng(7)
n_tips = 17
# Tips are joined two by two, three now and then; some branches have no length.
nodes = [TreeNode(name=f"t{k}", length=float(np.round(rng.exponential(), 3))) for k in range(n_tips)]
while len(nodes) > 1:
    size = 3 if len(nodes) > 3 and rng.random() < 0.3 else 2
    chosen = [nodes.pop(rng.integers(len(nodes))) for _ in range(size)]
    length = 0.0 if rng.random() < 0.1 else float(np.round(rng.exponential(), 3))
    nodes.append(TreeNode(length=length, children=chosen))
tree = nodes[0]
tree.length = None

order = list(tree.preorder())
parents = [None if node.parent is None else order.index(node.parent) for node in order]
lengths = [node.length or 0.0 for node in order]
names = [f"t{k}" for k in rng.permutation(n_tips)]
node_of_column = [next(i for i, node in enumerate(order) if node.name == name) for name in names]

counts = np.round(np.expm1(zero_inflated(11, 14, n_tips, 0.55)) * 3).astype(int)
counts = counts[counts.sum(axis=1) > 0]
ids = [f"s{k}" for k in range(len(counts))]


def beta(metric, **options):
    return beta_diversity(metric, counts, ids=ids, taxa=names, tree=tree, **options).data


below = np.zeros((len(counts), len(order)))
for column, node in enumerate(node_of_column):
    while node is not None:
        below[:, node] += counts[:, column] / counts.sum(axis=1)
        node = parents[node]
below, b = below[:, 1:], np.array(lengths[1:])


def generalised(alpha):
    def distance(p, q):
        s = p + q
        is_there = s > 0
        weight = b[is_there] * s[is_there] ** alpha
        return (weight * np.abs(p - q)[is_there] / s[is_there]).sum() / weight.sum()

    return np.array([[distance(p, q) for q in below] for p in below])


normalised = beta("weighted_unifrac", normalized=True)
assert np.allclose(generalised(1.0), normalised, atol=1e-12)
write(
    "unifrac",
    ["scikit-bio"],
    {
        "table": counts,
        "parents": parents,
        "lengths": lengths,
        "node_of_column": node_of_column,
        "unweighted": beta("unweighted_unifrac"),
        "weighted": beta("weighted_unifrac"),
        "weighted_normalised": normalised,
        "generalised_half": generalised(0.5),
        "generalised_0": generalised(0.0),
        "generalised_0.3": generalised(0.3),
        "faith": alpha_diversity("faith_pd", counts, taxa=names, tree=tree).to_numpy(),
    },
)

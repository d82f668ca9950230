#!/usr/bin/env python3
"""UniFrac and PERMANOVA of suffuse-stats against scikit-bio: same samples, alternating, medians of the ratios.

    cargo build --release -p suffuse-stats --example distances_speed
    .venv/bin/python scripts/compare-speed.py TABLE.h5ad TREE.nwk.gz [N_SAMPLES [ROUNDS]]

Results must agree: F to 1e-6, the sum of all distances to 1e-9.
"""

import gzip
import io
import json
import math
import statistics
import subprocess
import sys
import time
from pathlib import Path

import anndata
import numpy as np
from scipy.spatial.distance import pdist, squareform
from skbio import TreeNode
from skbio.diversity import beta_diversity
from skbio.stats.distance import DistanceMatrix, permanova

ROOT = Path(__file__).resolve().parent.parent
table_file, tree_file = sys.argv[1:3]
n = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 5

table = anndata.read_h5ad(table_file)[:n]
x = table.X.toarray() if hasattr(table.X, "toarray") else np.asarray(table.X)
x = x.astype(float)
ids = list(map(str, table.obs_names))
opened = gzip.open if tree_file.endswith(".gz") else open
with opened(tree_file, "rt") as file:
    # Underscores belong to names here.
    tree = TreeNode.read(io.StringIO(file.read()), format="newick", convert_underscores=False)
# suffuse leaves out a branch above the root, which scikit-bio counts.
tree.length = None
taxa = list(map(str, table.var_names))
groups = [k % 2 for k in range(len(ids))]
bray_curtis = DistanceMatrix(squareform(pdist(x / x.sum(axis=1, keepdims=True), "braycurtis")), ids)


def timed(work):
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def unifrac(metric, **options):
    return beta_diversity(metric, x.astype(int), ids=ids, taxa=taxa, tree=tree, **options).data.sum()


works = {
    "unweighted_unifrac": lambda: unifrac("unweighted_unifrac"),
    "weighted_unifrac": lambda: unifrac("weighted_unifrac", normalized=True),
    "permanova": lambda: permanova(bray_curtis, groups, permutations=999, seed=0)["test statistic"],
}
program = ROOT / "target/release/examples/distances_speed"
ratios = {name: [] for name in works}
for _ in range(rounds):
    ours = json.loads(subprocess.check_output([program, table_file, tree_file, str(n)]))
    for name, work in works.items():
        seconds, check = timed(work)
        tolerance = 1e-6 if name == "permanova" else 1e-9
        if not math.isclose(check, ours[name]["check"], rel_tol=tolerance):
            sys.exit(f"{name}: scikit-bio gives {check}, suffuse {ours[name]['check']}")
        ratios[name].append(seconds / ours[name]["seconds"])
        print(f"{name}: scikit-bio {seconds:.3f} s, suffuse {ours[name]['seconds']:.4f} s", flush=True)
for name, values in ratios.items():
    print(f"{name}, {len(ids)} samples: {statistics.median(values):.1f} times as fast")

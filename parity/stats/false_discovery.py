"""Benjamini-Hochberg and Benjamini-Yekutieli adjusted p-values (scipy)."""

import numpy as np
from scipy.stats import false_discovery_control

from golden import write

rng = np.random.default_rng(41)
p = np.concatenate([rng.random(20) ** 4, [0.0, 1.0, 0.01, 0.01]])
write("false_discovery", ["scipy"], {
    "p": p, "bh": false_discovery_control(p, method="bh"), "by": false_discovery_control(p, method="by")})

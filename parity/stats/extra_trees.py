"""How well scikit-learn's extra trees predict Friedman's first function, over seeds, on fixed rows."""

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.metrics import r2_score

from golden import write

rng = np.random.default_rng(11)
# No column is constant: scikit-learn counts one as drawn, Geurts et al. (2006) do not.
x = np.round(rng.random((300, 7)), 4)
y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
y = np.round(y + rng.normal(size=len(y)), 4)
train, test = slice(0, 200), slice(200, 300)
settings = []
for max_features, min_leaf in [(7, 1), (3, 1), (3, 5), (1, 3)]:
    found = []
    for seed in range(20):
        forest = ExtraTreesRegressor(50, max_features=max_features, min_samples_leaf=min_leaf, random_state=seed)
        found.append(r2_score(y[test], forest.fit(x[train], y[train]).predict(x[test])))
    settings.append({"max_features": max_features, "min_leaf": min_leaf,
                     "mean": np.mean(found), "sd": np.std(found, ddof=1)})
    print(settings[-1])
write("extra_trees", ["scikit-learn"], {"x": x, "y": y, "n_train": 200, "settings": settings})

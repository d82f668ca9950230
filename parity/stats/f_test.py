"""Nested and plain F tests of one taxon on another, each pair by two statsmodels OLS fits."""

import numpy as np
import statsmodels.api as sm

from golden import write, zero_inflated

y = zero_inflated(21, 40, 6, 0.35)
rng = np.random.default_rng(22)
x = np.where(rng.random(y.shape) < 0.2, 0.0, y)
n, d = y.shape
out = {form: {key: np.full((d, d), np.nan) for key in ("f", "p")} for form in ("nested", "plain")}
for i in range(d):
    for j in range(d):
        if i == j:
            continue
        for form, own in (("nested", [x[:, i]]), ("plain", [])):
            small = sm.OLS(y[:, i], np.column_stack([np.ones(n), *own])).fit()
            large = sm.OLS(y[:, i], np.column_stack([np.ones(n), *own, x[:, j]])).fit()
            out[form]["f"][i, j], out[form]["p"][i, j], _ = large.compare_f_test(small)
write("f_test", ["statsmodels"], {"x": x, "y": y, **out})

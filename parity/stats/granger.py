"""Granger causality of one subject (statsmodels ssr_ftest), and pooled over three with own intercepts (OLS)."""

import numpy as np
import statsmodels.api as sm
from statsmodels.tsa.stattools import grangercausalitytests

from golden import write

rng = np.random.default_rng(51)


def series(n):
    values = np.zeros((n, 3))
    for t in range(1, n):
        values[t] = 0.4 * values[t - 1] + rng.normal(size=3)
        values[t, 1] += 0.5 * values[t - 1, 0]
    return np.round(values + 3.0, 4)


def pooled(subjects, lag, target, source):
    rows = []
    for k, s in enumerate(subjects):
        for t in range(lag, len(s)):
            rows.append((s[t, target], [float(k == q) for q in range(len(subjects))],
                         [s[t - l, target] for l in range(1, lag + 1)], [s[t - l, source] for l in range(1, lag + 1)]))
    y = np.array([r[0] for r in rows])
    small = np.array([r[1] + r[2] for r in rows])
    large = np.array([r[1] + r[2] + r[3] for r in rows])
    f, p, _ = sm.OLS(y, large).fit().compare_f_test(sm.OLS(y, small).fit())
    return f, p


one = series(60)
many = [series(n) for n in (25, 18, 31)]
payload = {"one": one, "many": many, "one_expected": {}, "many_expected": {}}
for lag in (1, 2):
    f, p, fm, pm = (np.full((3, 3), np.nan) for _ in range(4))
    for i in range(3):
        for j in range(3):
            if i != j:
                test = grangercausalitytests(one[:, [i, j]], [lag])[lag][0]["ssr_ftest"]
                f[i, j], p[i, j] = test[:2]
                fm[i, j], pm[i, j] = pooled(many, lag, i, j)
    payload["one_expected"][str(lag)] = {"f": f, "p": p}
    payload["many_expected"][str(lag)] = {"f": fm, "p": pm}
write("granger", ["statsmodels"], payload)

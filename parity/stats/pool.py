"""Rubin's rules as R's mice computes them (pool.scalar and barnard.rubin of mice 3.16), in numpy; tails by scipy.

The floor of 1e-4 that mice puts under lambda never acts here.
"""

import numpy as np
from scipy.stats import t as student

from golden import write


def pool_scalar(q, u, dfcom):
    m = len(q)
    qbar, ubar, b = np.mean(q), np.mean(u), np.var(q, ddof=1)
    t = ubar + (m + 1) * b / m
    r = (1 + 1 / m) * b / ubar
    lam = (1 + 1 / m) * b / t
    assert lam > 1e-4
    dfold = (m - 1) / lam**2
    df = dfold
    if np.isfinite(dfcom):
        dfobs = (dfcom + 1) / (dfcom + 3) * dfcom * (1 - lam)
        df = dfold * dfobs / (dfold + dfobs)
    fmi = (r + 2 / (df + 3)) / (r + 1)
    stat = qbar / np.sqrt(t)
    half = student.ppf(0.975, df) * np.sqrt(t)
    return {"estimate": qbar, "within": ubar, "between": b, "total": t, "increase": r, "fmi": fmi, "df": df,
            "t": stat, "p": 2 * student.sf(abs(stat), df), "lower": qbar - half, "upper": qbar + half}


if __name__ == "__main__":
    rng = np.random.default_rng(11)
    cases = []
    for m, spread, dfcom in [(2, 0.3, 10.0), (5, 0.05, 28.7), (20, 0.5, 397.2), (20, 1.0, np.inf), (100, 0.2, np.inf),
                             (3, 0.2, 4.0), (20, 0.02, 60.0)]:
        q = np.round(rng.normal(0.8, spread, m), 6)
        u = np.round(rng.uniform(0.01, 0.05, m), 6)
        cases.append({"values": q, "variances": u, "df_complete": np.nan if np.isinf(dfcom) else dfcom,
                      **pool_scalar(q, u, dfcom)})
    write("pool", ["scipy"], {"cases": cases})

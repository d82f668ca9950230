"""Upper tails of F and chi-squared on the log scale, by mpmath with 60 digits."""

import mpmath as mp

from golden import write

mp.mp.dps = 60


def ln_f_tail(f, d1, d2):
    f, d1, d2 = map(mp.mpf, (f, d1, d2))
    return float(mp.log(mp.betainc(d2 / 2, d1 / 2, 0, d2 / (d2 + d1 * f), regularized=True)))


def ln_chi2_tail(x, df):
    return float(mp.log(mp.gammainc(mp.mpf(df) / 2, mp.mpf(x) / 2, mp.inf, regularized=True)))


f_cases = [(0.01, 1, 5), (0.5, 1, 500), (1.0, 3, 20), (4.0, 1, 100), (30.0, 2, 50), (250.0, 1, 1600),
           (5000.0, 1, 527), (1e6, 1, 527), (1e9, 1, 5000), (0.2, 7, 3), (12.5, 7, 300), (1e-8, 1, 40)]
chi2_cases = [(0.01, 1), (1.0, 16), (16.0, 16), (40.0, 16), (400.0, 16), (3000.0, 9), (20000.0, 16), (0.5, 1), (900.0, 1)]
write("tail", ["mpmath"], {
    "f": [{"f": f, "d1": a, "d2": b, "ln_p": ln_f_tail(f, a, b)} for f, a, b in f_cases],
    "chi2": [{"x": x, "df": df, "ln_p": ln_chi2_tail(x, df)} for x, df in chi2_cases],
})

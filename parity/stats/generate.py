"""What the generators compute, by scipy, numpy and mpmath: normal pairs, eigenvalues, Dirichlet-multinomial
likelihoods, censored normals, quantiles of gamma distributions."""

import mpmath as mp
import numpy as np
from scipy import optimize, special, stats

from golden import write

mp.mp.dps = 30


def pair_cdf(x, y, rho):
    """Integral of Plackett's identity over the correlation."""
    x, y, rho = map(mp.mpf, (x, y, rho))

    def slope(angle):
        r = mp.sin(angle)
        return mp.exp(-(x * x - 2 * r * x * y + y * y) / (2 * (1 - r * r)))

    end = mp.asin(rho)
    points = [0, end / 2, end * mp.mpf("0.9"), end * mp.mpf("0.99"), end]
    return float(mp.quad(slope, points) / (2 * mp.pi) + mp.ncdf(x) * mp.ncdf(y))


pairs = [
    {"x": x, "y": y, "rho": rho, "mpmath": pair_cdf(x, y, rho),
     "scipy": stats.multivariate_normal.cdf([x, y], cov=[[1, rho], [rho, 1]], abseps=1e-10, releps=1e-10)}
    for x, y in [(0.0, 0.0), (0.3, -1.2), (-2.0, -1.5), (1.5, 2.5), (-0.01, 0.0), (3.0, -3.0), (-4.0, 0.5)]
    for rho in [-0.99, -0.93, -0.8, -0.5, -0.1, 0.05, 0.29, 0.6, 0.9, 0.95, 0.998]
]

rng = np.random.default_rng(20)
square = rng.normal(size=(12, 12))
square = np.round(square + square.T, 3)


def censored_covariance(a, b, rho):
    """f(z) = z above a threshold and its mean below under it; Cov f(z) g(y)."""
    def f(z, t):
        return np.where(z > t, z, -stats.norm.pdf(t) / stats.norm.cdf(t))

    # Given z, y ~ N(rho z, s): E g(y) is closed; then a fine Gauss-Legendre rule on each side of a.
    s = np.sqrt(1 - rho * rho)
    low = -stats.norm.pdf(b) / stats.norm.cdf(b)

    def inner(z):
        cut = (b - rho * z) / s
        return rho * z * stats.norm.sf(cut) + s * stats.norm.pdf(cut) + low * stats.norm.cdf(cut)

    nodes, weights = np.polynomial.legendre.leggauss(200)
    total = 0.0
    for left, right in [(-10, a - 2), (a - 2, a), (a, a + 2), (a + 2, 10)]:
        z = (right - left) / 2 * nodes + (right + left) / 2
        inside = f(np.where(z > a, z, a - 1), a)
        total += (right - left) / 2 * np.sum(weights * inside * inner(z) * stats.norm.pdf(z))
    return total


alpha_true = np.array([0.4, 1.5, 0.08, 3.0, 0.7])
depths = rng.integers(20, 400, size=60)
table = np.array([rng.multinomial(n, p) for n, p in zip(depths, rng.dirichlet(alpha_true, size=60))])
alpha = np.array([0.5, 1.0, 0.2, 2.0, 0.3])


def ln_likelihood(alpha):
    return stats.dirichlet_multinomial.logpmf(table, alpha, table.sum(1)).sum()


best = optimize.minimize(lambda ln_a: -ln_likelihood(np.exp(ln_a)), np.log(alpha), method="BFGS", options={"gtol": 1e-7})



def slope(alpha):
    total, size = alpha.sum(), table.sum(1)
    of_total = (special.digamma(total) - special.digamma(size + total)).sum()
    return of_total + (special.digamma(table + alpha) - special.digamma(alpha)).sum(0)


# The root of the slope has more digits than the end of a search, and the same on any machine.
maximum = optimize.root(slope, np.exp(best.x), tol=1e-13).x

# On the log scale, where the quantile itself is too small for a double.
gammas = []
for shape in [0.02, 0.3, 1.0, 4.0, 50.0]:
    for p in [1e-8, 0.001, 0.2, 0.5, 0.9, 0.9999]:
        x = special.gammaincinv(shape, p)
        ln_x = np.log(x) if x > 1e-30 else (np.log(p) + special.gammaln(shape + 1)) / shape
        gammas.append({"shape": shape, "p": p, "ln_quantile": float(ln_x)})

write("generate", ["scipy", "mpmath"], {
    "pairs": pairs,
    "eigen": {"matrix": square, "values": np.linalg.eigvalsh(square)},
    "dirichlet_multinomial": {
        "counts": table, "alpha": alpha, "ln_likelihood": ln_likelihood(alpha),
        "largest": round(ln_likelihood(maximum), 7), "maximum": np.round(maximum, 7),
    },
    "trigamma": [{"x": x, "value": float(special.polygamma(1, x))} for x in [1e-6, 0.03, 0.5, 1.0, 3.7, 11.9, 40.0, 1e5]],
    "censored": [
        {"a": a, "b": b, "rho": rho, "covariance": censored_covariance(a, b, rho)}
        for a, b in [(0.0, 0.0), (1.2, -0.4), (-1.5, -1.0), (1.5, 1.8)] for rho in [-0.8, -0.3, 0.2, 0.6, 0.85]
    ],
    "gamma": gammas,
})

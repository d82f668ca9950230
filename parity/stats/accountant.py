"""Renyi divergences of the sampled Gaussian mechanism by numerical integration, without the series of the
paper, and the epsilon of a known tutorial (noise 1.1, batches of 256 of 60000, 60 epochs, delta 1e-5)."""

import mpmath as mp

from golden import write

mp.mp.dps = 30


def divergence(q, s, order):
    """E ((1 - q) + q exp((2 z - 1) / (2 s^2)))^order over z ~ N(0, s^2)."""
    q, s, order = map(mp.mpf, (q, s, order))

    def ln_integrand(z):
        ratio = (1 - q) + q * mp.exp((2 * z - 1) / (2 * s * s))
        return order * mp.log(ratio) - z * z / (2 * s * s)

    # The mass lies around 0 and, for large orders, around z = order.
    ends = [-14 * s] + [order * k / 4 + d * s for k in range(5) for d in (-6, -2, 0, 2, 6)] + [order + 14 * s]
    points = sorted({e for e in ends if -14 * s <= e <= order + 14 * s})
    a = mp.quad(lambda z: mp.exp(ln_integrand(z)), points) / (s * mp.sqrt(2 * mp.pi))
    return mp.log(a) / (order - 1)


cases = [(q, s, order) for q in (0.001, 256 / 60000, 0.1, 0.6) for s in (0.7, 1.1, 4.0)
         for order in (1.1, 1.7, 2.0, 3.5, 6.3, 10.0, 32.0)]

q, s, n_steps, delta = mp.mpf(256) / 60000, 1.1, 60 * 60000 // 256, mp.mpf("1e-5")
orders = [k / mp.mpf(10) for k in range(60, 110)] + [mp.mpf(k) for k in range(11, 24)]
classic, improved = [], []
for order in orders:
    d = n_steps * divergence(q, s, order)
    classic.append(d - mp.log(delta) / (order - 1))
    improved.append(d + mp.log(1 - 1 / order) - (mp.log(delta) + mp.log(order)) / (order - 1))
for found in (classic, improved):
    assert 0 < found.index(min(found)) < len(found) - 1, "the least epsilon lies at an end"

# A training after two statistics of all samples: a Gaussian mechanism's divergence is order / (2 s^2).
mechanisms = [(1.0, 12.0, 1), (1.0, 3.0, 1), (0.05, 1.4, 800)]
composed = {"classic": [], "improved": []}
for order in [k / mp.mpf(10) for k in range(30, 80)]:
    d = sum(order / (2 * mp.mpf(s) ** 2) if q == 1 else n * divergence(q, s, order) for q, s, n in mechanisms)
    composed["classic"].append(d - mp.log(delta) / (order - 1))
    composed["improved"].append(d + mp.log(1 - 1 / order) - (mp.log(delta) + mp.log(order)) / (order - 1))
for found in composed.values():
    assert 0 < found.index(min(found)) < len(found) - 1, "the least epsilon lies at an end"

write("accountant", ["mpmath"], {
    "divergences": [{"q": q, "s": s, "order": order, "divergence": float(divergence(q, s, order))} for q, s, order in cases],
    "composed": {
        "mechanisms": [{"q": q, "s": s, "n_steps": n} for q, s, n in mechanisms],
        **{key: float(min(found)) for key, found in composed.items()},
    },
    "tutorial": {"classic": float(min(classic)), "improved": float(min(improved))},
})

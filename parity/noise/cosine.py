"""Prints the cosine schedule of Nichol & Dhariwal 2021 in CPython doubles: t, alpha_bar, beta."""

import math

N_STEPS = 1000


def f(t):
    return math.cos((t / N_STEPS + 0.008) / 1.008 * math.pi / 2) ** 2


alpha_bar = 1.0
for t in range(1, N_STEPS + 1):
    beta = min(1 - f(t) / f(t - 1), 0.999)
    alpha_bar *= 1 - beta
    if t in (1, 2, 500, 999, 1000):
        print(t, repr(alpha_bar), repr(beta))

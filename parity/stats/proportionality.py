"""rho_p and phi_s of clr coordinates by their definitions (Quinn et al. 2017), numpy."""

import numpy as np

from golden import write

rng = np.random.default_rng(61)
counts = rng.negative_binomial(1.2, 0.05, size=(25, 6)).astype(float)
counts[:, 1] = np.round(counts[:, 0] * 1.5)
filled = np.where(counts > 0, counts, 0.5)
clr = np.log(filled) - np.log(filled).mean(1, keepdims=True)
d = clr.shape[1]
rho, phi = np.zeros((d, d)), np.zeros((d, d))
for i in range(d):
    for j in range(d):
        vi, vj = clr[:, i].var(ddof=1), clr[:, j].var(ddof=1)
        difference = (clr[:, i] - clr[:, j]).var(ddof=1)
        rho[i, j] = 1 - difference / (vi + vj)
        phi[i, j] = difference / (clr[:, i] + clr[:, j]).var(ddof=1)
write("proportionality", [], {"counts": counts, "clr": clr, "rho_p": rho, "phi_s": phi})

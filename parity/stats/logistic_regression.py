"""Logistic regression with a Gaussian prior, free and with slopes of at least 0 (scipy)."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from golden import write

X = np.array([
    [1.0, 0.2, -1.0], [1.0, -0.4, 0.3], [1.0, 1.5, 0.8], [1.0, 0.9, -0.2],
    [1.0, -1.1, 0.5], [1.0, 0.1, 1.9], [1.0, -0.7, -0.6], [1.0, 2.2, -1.4]])
PRESENT = np.array([1, 0, 1, 0, 0, 0, 1, 1.0])
WEIGHT = np.array([1.0, 2.0, 1.0, 0.5, 1.0, 1.0, 1.0, 3.0])
PRIOR, PENALTY = np.array([0.0, 1.0, 0.0]), np.array([0.1, 0.5, 0.5])


def solve(columns):
    """The minimum over some of the coefficients, the others being 0."""
    x, prior, penalty = X[:, columns], PRIOR[columns], PENALTY[columns]

    def objective(b):
        score = x @ b
        loss = np.sum(WEIGHT * (np.logaddexp(0, score) - PRESENT * score))
        return loss + np.sum(penalty / 2 * (b - prior) ** 2)

    def gradient(b):
        return x.T @ (WEIGHT * (expit(x @ b) - PRESENT)) + penalty * (b - prior)

    def hessian(b):
        p = expit(x @ b)
        return (x.T * (WEIGHT * p * (1 - p))) @ x + np.diag(penalty)

    found = minimize(objective, np.zeros(len(columns)), jac=gradient, hess=hessian, method="trust-exact",
                     options={"gtol": 1e-12})
    b = np.zeros(X.shape[1])
    b[columns] = found.x
    return b, objective(found.x)


free, _ = solve([0, 1, 2])
assert free[2] < 0
# The slope of the last column wants to be negative, so it is 0 where it must not be.
bounded, _ = solve([0, 1])
assert bounded[1] > 0
write("logistic_regression", ["scipy"], {
    "x": X, "present": PRESENT, "weight": WEIGHT, "prior": PRIOR, "penalty": PENALTY, "free": free, "bounded": bounded})

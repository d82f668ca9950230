"""PCC, COS, RMSE and MAE of filled entries, defined as in `crates/stats/src/scores.rs`."""

import math

import numpy as np

NAMES = ["pcc", "cos", "rmse_ln", "mae_ln"]


def pearson(truth, prediction):
    """Pearson correlation; NaN where one side is constant."""
    if len(truth) == 0:
        return math.nan
    t, p = truth - truth.mean(), prediction - prediction.mean()
    scale = math.sqrt((t @ t) * (p @ p))
    is_constant = np.ptp(truth) == 0 or np.ptp(prediction) == 0
    return math.nan if is_constant else float(t @ p) / scale


def cosine(truth, prediction):
    """Cosine similarity; NaN where one side is zero everywhere."""
    scale = math.sqrt((truth @ truth) * (prediction @ prediction))
    return float(truth @ prediction) / scale if scale > 0 else math.nan


def score(truth, prediction):
    """The four scores of `n` values against the truth, both `ln(1 + percent)`; NaN without values."""
    truth, prediction = np.asarray(truth, float), np.asarray(prediction, float)
    if truth.shape != prediction.shape or truth.ndim != 1:
        raise ValueError(f"truth has the shape {truth.shape}, the prediction {prediction.shape}")
    if not (np.isfinite(truth).all() and np.isfinite(prediction).all()):
        raise ValueError("a value is not finite")
    if len(truth) == 0:
        return dict.fromkeys(NAMES, math.nan) | {"n": 0}
    error = prediction - truth
    return {
        "pcc": pearson(truth, prediction),
        "cos": cosine(truth, prediction),
        "rmse_ln": math.sqrt(float((error**2).mean())),
        "mae_ln": float(np.abs(error).mean()),
        "n": len(truth),
    }

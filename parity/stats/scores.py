"""Scores of imputed entries, from scipy.stats.pearsonr, scikit-learn metrics and Student's t."""

import numpy as np
from scipy.spatial.distance import cosine
from scipy.stats import pearsonr, t
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from golden import write

MIN_ENTRIES = 5


def scores(truth, prediction, unit=1.0):
    constant = np.ptp(truth) == 0 or np.ptp(prediction) == 0
    zero = not truth.any() or not prediction.any()
    return {
        "pcc": np.nan if constant else pearsonr(truth, prediction).statistic,
        "cos": np.nan if zero else 1 - cosine(truth, prediction),
        "rmse": root_mean_squared_error(truth / unit, prediction / unit),
        "mae": mean_absolute_error(truth / unit, prediction / unit),
    }


def grouped(truth, prediction, mask):
    groups = [scores(truth[i][mask[i]], prediction[i][mask[i]]) if mask[i].sum() >= MIN_ENTRIES else None
              for i in range(len(mask))]
    kept = [g for g in groups if g]
    summary = {name: {key: f([g[key] for g in kept]) for key in ("pcc", "rmse")}
               for name, f in (("mean", np.nanmean), ("median", np.nanmedian))}
    return {"groups": groups, "n_groups": len(kept), "n_pcc": sum(not np.isnan(g["pcc"]) for g in kept), **summary}


rng = np.random.default_rng(11)
truth = np.round(rng.gamma(2.0, 0.6, size=(14, 9)), 4)
prediction = np.round(truth + rng.normal(0, 0.4, truth.shape), 4)
prediction[:, 3] = 0.7
mask = rng.random(truth.shape) < 0.55
hidden = np.argwhere(mask)
at = truth[mask], prediction[mask]

draws = np.round(rng.normal(size=(25, 12)), 4)
y = np.round(rng.normal(size=25), 4)
pairs = draws.shape[1] * (draws.shape[1] - 1)
double_sum = np.abs(draws[:, :, None] - draws[:, None, :]).sum((1, 2)) / pairs
expected = {"crps": (np.abs(draws - y[:, None]).mean(1) - 0.5 * double_sum).mean()}
for level in (50, 90):
    m = draws.shape[1]
    half = t.ppf(0.5 + level / 200, m - 1) * draws.std(1, ddof=1) * np.sqrt(1 + 1 / m)
    low, high = draws.mean(1) - half, draws.mean(1) + half
    expected[f"coverage_{level}"] = ((low <= y) & (y <= high)).mean()
    expected[f"width_{level}"] = (high - low).mean()

write("scores", ["scipy", "scikit-learn"], {
    "truth": truth, "prediction": prediction, "hidden": hidden,
    "pooled": scores(*at), "pooled_log10": scores(*at, unit=np.log(10)),
    "per_taxon": grouped(truth.T, prediction.T, mask.T), "per_sample": grouped(truth, prediction, mask),
    "draws": {"truth": y, "draws": draws, "expected": expected},
})

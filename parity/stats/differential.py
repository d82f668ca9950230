"""Two-group tests per taxon, pooled by Rubin's rules, under given and permuted labels; Spearman before and after filling."""

import numpy as np
from scipy.stats import false_discovery_control, mannwhitneyu, norm, spearmanr, t as student, tiecorrect, rankdata, ttest_ind

from golden import write, zero_inflated
from pool import pool_scalar

rng = np.random.default_rng(23)
n, p, m = 26, 9, 4
groups = np.array([0] * 11 + [1] * 15)
rng.shuffle(groups)
original = zero_inflated(29, n, p, 0.4)
original[:, 7] = 0.0  # never present
original[groups == 1, 2] += 1.5
original[:, 8] = np.where(original[:, 0] > 0, original[:, 0] + np.round(0.2 * rng.random(n), 3), 0.0)
original[[3, 9], 4] = np.nan
original[5, 6] = np.nan

tables = []
for k in range(m):
    table = original.copy()
    filled = (table == 0) & (rng.random(table.shape) < 0.3)
    filled[:, [1, 7]] = False  # nothing is filled in taxon 1
    table[filled] = np.round(rng.random(filled.sum()), 3)
    tables.append(table)
tables[0][[0, 1], 8] = tables[0][0, 8]  # a tie
for table in tables:  # not measured, not filled
    table[3, 4] = np.nan
    table[9, 4] = np.round(rng.random(), 3)


def welch(x, labels):
    x, labels = x[~np.isnan(x)], labels[~np.isnan(x)]
    a, b = x[labels == 0], x[labels == 1]
    result = ttest_ind(b, a, equal_var=False)
    if np.ptp(x) == 0:
        return {"effect": 0.0, "variance": 0.0, "df": len(x) - 2.0, "t": np.nan, "p": np.nan}
    return {"effect": b.mean() - a.mean(), "variance": a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b),
            "df": float(result.df), "t": float(result.statistic), "p": float(result.pvalue)}


def wilcoxon(x, labels):
    x, labels = x[~np.isnan(x)], labels[~np.isnan(x)]
    a, b = x[labels == 0], x[labels == 1]
    if np.ptp(x) == 0:
        return {"effect": 0.0, "variance": 0.0, "df": np.inf, "p": np.nan}
    result = mannwhitneyu(b, a, method="asymptotic", use_continuity=False)
    pairs = len(a) * len(b)
    variance = tiecorrect(rankdata(x)) * (len(x) + 1) / (12 * pairs)
    effect = result.statistic / pairs - 0.5
    assert np.isclose(2 * norm.sf(abs(effect) / np.sqrt(variance)), result.pvalue)
    return {"effect": effect, "variance": variance, "df": np.inf, "p": float(result.pvalue)}


def adjusted(p):
    q = np.full(len(p), np.nan)
    q[~np.isnan(p)] = false_discovery_control(p[~np.isnan(p)])
    return q


def pooled(test, labels):
    columns = {"estimate": [], "fmi": [], "p": []}
    for taxon in range(p):
        of = [test(table[:, taxon], labels) for table in tables]
        values, variances = np.array([o["effect"] for o in of]), np.array([o["variance"] for o in of])
        df = np.mean([o["df"] for o in of])
        if np.ptp(values) == 0:  # nothing is missing: the complete-data test
            within = np.mean(variances)
            at = abs(values[0]) / np.sqrt(within) if within > 0 else np.nan
            of = {"estimate": values[0], "fmi": 0.0, "p": 2 * (norm.sf(at) if np.isinf(df) else student.sf(at, df))}
        else:
            of = pool_scalar(values, variances, df)
        for key in columns:
            columns[key].append(of[key])
    return {**columns, "q": adjusted(np.array(columns["p"]))}


def with_rates(test):
    under_permutation = [pooled(test, labels) for labels in permuted]
    tested = np.concatenate([of["p"] for of in under_permutation])
    tested = tested[~np.isnan(tested)]
    return {**pooled(test, groups), "share_of_tests": np.mean(tested < 0.05),
            "share_with_any_q": np.mean([np.nanmin(of["q"]) < 0.05 for of in under_permutation])}


def columns_of(test):
    rows = [test(tables[0][:, taxon], groups) for taxon in range(p)]
    return {key: [row[key] for row in rows] for key in rows[0] if not (key == "df" and test is wilcoxon)}


def pairs_of(table):
    rho = np.full((p, p), np.nan)
    for i in range(p):
        for j in range(i + 1, p):
            shared = ~np.isnan(table[:, i]) & ~np.isnan(table[:, j])
            if np.ptp(table[shared, i]) > 0 and np.ptp(table[shared, j]) > 0:
                rho[i, j] = spearmanr(table[shared, i], table[shared, j]).statistic
    return np.abs(rho[np.triu_indices(p, 1)])


permuted = [rng.permutation(groups) for _ in range(40)]
for _ in range(20):  # two labels exchanged: some of these are significant
    labels = groups.copy()
    labels[rng.choice(np.flatnonzero(groups == 0), 2, replace=False)] = 1
    labels[rng.choice(np.flatnonzero(groups == 1), 2, replace=False)] = 0
    permuted.append(labels)
before = pairs_of(original)
kept = ~np.isnan(before)
after = [pairs_of(table)[kept] for table in tables]
write("differential", ["scipy"], {
    "tables": tables, "groups": groups, "permuted": permuted,
    "welch": columns_of(welch), "wilcoxon": columns_of(wilcoxon),
    "pooled": {"welch": with_rates(welch), "wilcoxon": with_rates(wilcoxon)},
    "inflation": {"original": original, "n_pairs": kept.sum(),
                  "before": [before[kept].mean(), np.mean(before[kept] > 0.5)],
                  "after": [np.mean([a.mean() for a in after]), np.mean([np.mean(a > 0.5) for a in after])]}})

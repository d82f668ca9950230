"""Samples as a peer sees them, and how entries of them are hidden."""

from dataclasses import dataclass, replace

import numpy as np

GIVEN, LEFT = "given", "left"


@dataclass(frozen=True)
class Part:
    """Samples with what is left of them. All matrices are `[n_samples, n_taxa]`.

    - `counts`: abundance as in the file; 0 where absent and where hidden
    - `totals`: `[n_samples]`, what 100 percent is
    - `present`: not zero, hidden entries included
    - `hidden`: present, and the value is withheld
    - `groups`: `[n_samples]`, number of the subject
    - `times`: `[n_samples]`, or None without times
    - `totals_are`: `given` (those before hiding) or `left` (those of what is left)
    """

    counts: np.ndarray
    totals: np.ndarray
    present: np.ndarray
    hidden: np.ndarray
    groups: np.ndarray
    times: np.ndarray | None
    totals_are: str

    @property
    def observed(self):
        """Present entries whose value is known."""
        return self.present & ~self.hidden

    @property
    def values(self):
        """`ln(1 + percent)`: 0 where absent, NaN where hidden."""
        return np.where(self.hidden, np.nan, ln1p_percent(self.counts, self.totals))

    def take(self, rows):
        """Some of the samples."""
        times = None if self.times is None else self.times[rows]
        fields = ["counts", "totals", "present", "hidden", "groups"]
        return replace(self, times=times, **{name: getattr(self, name)[rows] for name in fields})

    def hide(self, mask):
        """The same samples with the entries of `mask` hidden; totals follow where they are of what is left."""
        counts = np.where(mask, 0.0, self.counts)
        totals = counts.sum(axis=1) if self.totals_are == LEFT else self.totals
        return replace(self, counts=counts, totals=totals, hidden=self.hidden | (mask & self.present))


def ln1p_percent(counts, totals):
    """`ln(1 + 100 * counts / totals)`; 0 in samples of which nothing is left."""
    scale = np.divide(100.0, totals, out=np.zeros_like(totals), where=totals > 0)
    return np.log1p(counts * scale[:, None])


@dataclass(frozen=True)
class Check:
    """Entries set aside to stop training by.

    - `part`: the samples with those entries hidden
    - `entries`: `[n_samples, n_taxa]`, which they are
    - `truth`: `ln(1 + percent)` of the same shape
    """

    part: Part
    entries: np.ndarray
    truth: np.ndarray

    def rmse(self, filled):
        """Root mean squared error of `filled` on the entries set aside."""
        error = (filled - self.truth)[self.entries]
        return float(np.sqrt((error**2).mean()))


CHECK_SAMPLES = 0.15
CHECK_ENTRIES = 0.3
CHECK_ENTRIES_OF_ALL = 0.1


def set_aside(train, seed):
    """What to fit on and what to stop by, in the likeness of the test.

    Where test samples are apart: 15 % of the samples, groups whole, with 30 % of their non-zeros
    hidden. Where the samples to learn from are those to fill: 10 % of all that is observed.
    """
    rng = np.random.default_rng(seed)
    if train.totals_are == GIVEN:
        mask = train.observed & (rng.random(train.counts.shape) < CHECK_ENTRIES_OF_ALL)
        fit = train.hide(mask)
        return fit, Check(fit, mask, ln1p_percent(train.counts, train.totals))
    groups = rng.permutation(np.unique(train.groups))
    aside = groups[: max(1, round(CHECK_SAMPLES * len(groups)))]
    is_aside = np.isin(train.groups, aside)
    part = train.take(is_aside)
    mask = part.observed & (rng.random(part.counts.shape) < CHECK_ENTRIES)
    left = part.hide(mask)
    mask &= (left.totals > 0)[:, None]
    return train.take(~is_aside), Check(left, mask, ln1p_percent(part.counts, left.totals))


def taxon_means(part):
    """Mean of the observed `ln(1 + percent)` of each taxon; that of all where a taxon has none."""
    values = np.where(part.observed, np.nan_to_num(part.values), 0.0)
    n = part.observed.sum(axis=0)
    overall = values.sum() / max(n.sum(), 1)
    return np.where(n > 0, values.sum(axis=0) / np.maximum(n, 1), overall)

"""Tests of what decides over the numbers: `python test_scores.py`, or with pytest."""

import math

import numpy as np

from counts import expected_log, whole_counts
from part import GIVEN, LEFT, Part, ln1p_percent, set_aside, taxon_means
from scores import score


def small(totals_are):
    """Two samples of a subject and one of another; the first entry is hidden."""
    counts = np.array([[0.0, 3.0, 1.0], [2.0, 0.0, 2.0], [5.0, 5.0, 0.0]])
    present = np.array([[True, True, True], [True, False, True], [True, True, False]])
    hidden = np.zeros((3, 3), bool)
    hidden[0, 0] = True
    return Part(counts, counts.sum(axis=1), present, hidden, np.array([0, 0, 1]), None, totals_are)


def test_scores_are_those_of_a_calculation_by_hand():
    found = score([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])
    expected = {"pcc": 9 / math.sqrt(84), "cos": 17 / math.sqrt(14 * 21), "rmse_ln": math.sqrt(1 / 3), "mae_ln": 1 / 3}
    for name, value in expected.items():
        assert math.isclose(found[name], value, rel_tol=1e-14), name
    assert found["n"] == 3


def test_a_constant_prediction_has_no_correlation():
    found = score([1.0, 2.0], [0.1, 0.1])
    assert math.isnan(found["pcc"]) and not math.isnan(found["cos"])
    assert math.isnan(score([1.0, 2.0], [0.0, 0.0])["cos"])


def test_a_value_that_is_not_finite_is_refused():
    try:
        score([1.0, 2.0], [1.0, math.nan])
    except ValueError:
        return
    raise AssertionError("a NaN was scored")


def test_a_hidden_entry_leaves_the_total_only_where_totals_are_of_what_is_left():
    mask = np.zeros((3, 3), bool)
    mask[2, 0] = True
    left, given = small(LEFT).hide(mask), small(GIVEN).hide(mask)
    assert left.totals.tolist() == [4, 4, 5] and given.totals.tolist() == [4, 4, 10]
    assert math.isclose(left.values[2, 1], math.log(101)) and math.isclose(given.values[2, 1], math.log(51))
    assert np.isnan(left.values[2, 0]) and left.values[2, 2] == 0


def test_a_sample_of_which_nothing_is_left_has_no_percent():
    assert ln1p_percent(np.zeros((1, 2)), np.zeros(1)).tolist() == [[0.0, 0.0]]


def test_taxon_means_are_those_of_observed_non_zeros():
    part = small(LEFT)
    expected = [(math.log(51) + math.log(51)) / 2, (math.log(76) + math.log(51)) / 2, (math.log(26) + math.log(51)) / 2]
    assert np.allclose(taxon_means(part), expected, rtol=1e-14)


def test_a_deep_count_is_expected_at_its_mean():
    part = small(LEFT)
    said = expected_log(np.full((3, 3), 4e6), np.full((3, 3), 1e6), part, 0)
    assert math.isclose(said[0, 0], math.log(1 + 100 * 4e6 / 4), rel_tol=1e-3) and said[0, 1] == 0


def test_a_rare_count_is_expected_at_one_read_given_presence():
    said = expected_log(np.full((3, 3), 1e-3), np.full((3, 3), 10.0), small(GIVEN), 0)
    assert math.isclose(said[0, 0], math.log(26), rel_tol=1e-12)


def test_an_observed_fraction_of_a_read_is_a_read_and_a_hidden_one_is_none():
    part = small(LEFT)
    part.counts[0, 1] = 0.2
    assert whole_counts(part)[0].tolist() == [0, 1, 1]


def test_a_subject_is_never_on_both_sides_of_the_check():
    rng = np.random.default_rng(0)
    counts = rng.poisson(3.0, (60, 8)).astype(float)
    none = np.zeros(counts.shape, bool)
    groups = np.repeat(np.arange(20), 3)
    part = Part(counts, counts.sum(axis=1), counts > 0, none, groups, None, LEFT)
    fit, check = set_aside(part, 1)
    assert not set(fit.groups) & set(check.part.groups)
    assert check.entries.sum() > 0 and not (check.entries & ~check.part.hidden).any()
    assert check.rmse(check.truth) == 0


if __name__ == "__main__":
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test()
            print("ok", name)

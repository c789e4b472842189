"""Statistics over seeds: against closed forms, SciPy, loops and published examples."""

import itertools

import numpy as np
import pytest
import scipy.stats

from plasticity_jax import statistics
from plasticity_jax.statistics.resampling import Estimate, draw_counts

# Efron and Tibshirani 1993, table 3.1: 15 law schools.
LSAT = [576, 635, 558, 578, 666, 580, 555, 661, 651, 605, 653, 575, 545, 572, 594]
GPA = [
    3.39, 3.3, 2.81, 3.03, 3.44, 3.07, 3.0, 3.43, 3.36, 3.13, 3.12, 2.74, 2.76, 2.88,
    2.96,
]  # fmt: skip


def shares(resampled, values):
    """How often each of the values came up."""
    return [np.mean(np.isclose(resampled, value)) for value in values]


# Means.


def test_interval_of_a_constant_is_the_constant():
    mean, low, high = statistics.mean_interval(np.full((5, 2, 3), 0.25))
    for bound in (mean, low, high):
        np.testing.assert_array_equal(bound, np.full((2, 3), 0.25))


def test_interval_matches_the_exact_bootstrap_of_two_seeds():
    # Means of resamples of {0, 1}: 0, 1/2, 1 with chances 1/4, 1/2, 1/4.
    mean, low, high = statistics.mean_interval(np.array([0.0, 1.0]))
    assert (mean, low, high) == (0.5, 0.0, 1.0)


def test_interval_matches_resampling_by_index():
    values = np.random.default_rng(1).gamma(1.0, size=12)
    _, low, high = statistics.mean_interval(values, num_resamples=40_000)
    draws = np.random.default_rng(2).integers(12, size=(40_000, 12))
    expected = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    np.testing.assert_allclose([low, high], expected, atol=0.01)


@pytest.mark.parametrize(("seeds", "coverage"), [(5, 0.84), (8, 0.89), (40, 0.94)])
def test_interval_covers_a_known_mean_as_often_as_is_said(seeds, coverage):
    values = np.random.default_rng(0).normal(loc=3.0, size=(seeds, 4000))
    _, low, high = statistics.mean_interval(values, num_resamples=1000)
    assert np.mean((low <= 3.0) & (high >= 3.0)) == pytest.approx(coverage, abs=0.015)


def test_interval_is_repeatable_and_ignores_missing_seeds():
    values = np.array([[1.0, 5.0, np.nan], [2.0, np.nan, np.nan], [4.0, 7.0, 2.0]])
    mean, low, high = statistics.mean_interval(values)
    np.testing.assert_array_equal(mean, [7 / 3, 6.0, 2.0])
    assert (low[1], high[1]) == (5.0, 7.0)
    assert np.isnan(low[2]) and np.isnan(high[2])  # one seed: nothing to resample
    again = statistics.mean_interval(values)
    np.testing.assert_array_equal(again, (mean, low, high))
    assert np.isnan(statistics.mean_interval(np.full((2, 1), np.nan))[0]).all()
    other = statistics.bootstrap_mean(np.arange(30.0), seed=1).low
    assert other != statistics.bootstrap_mean(np.arange(30.0)).low


def test_paired_difference_takes_the_seeds_own_level_out():
    reference = np.random.default_rng(0).normal(scale=100.0, size=(6, 2))
    found = statistics.paired_difference(reference + np.array([0.5, -2.0]), reference)
    for bound in found[:3]:
        np.testing.assert_allclose(bound, [0.5, -2.0], rtol=1e-9)
    reference[1:, 1] = np.nan
    assert np.isnan(statistics.paired_difference(reference, reference).low[1])
    with pytest.raises(ValueError, match="same seeds"):
        statistics.paired_difference(reference, reference[1:])


# Scores over tasks.


def test_interquartile_mean_is_the_trimmed_mean():
    generator = np.random.default_rng(0)
    for shape in ((1,), (3,), (8,), (4, 3), (7, 5)):
        values = generator.normal(size=shape)
        expected = scipy.stats.trim_mean(values, 0.25, axis=None)
        assert statistics.interquartile_mean(values) == pytest.approx(expected)
    values = generator.normal(size=(2, 9, 3))
    np.testing.assert_allclose(
        statistics.interquartile_mean(values, axis=1),
        scipy.stats.trim_mean(values, 0.25, axis=1),
    )
    values[0, 2:4, 0] = np.nan
    kept = values[0][~np.isnan(values[0])]
    found = statistics.interquartile_mean(values, axis=(-2, -1))
    assert found[0] == pytest.approx(scipy.stats.trim_mean(kept, 0.25))
    assert np.isnan(statistics.interquartile_mean([np.nan, np.nan]))


def test_published_aggregates():
    # The test cases of rliable (Agarwal et al.'s own code).
    ours = np.array([[1, 2], [2, 2], [1, 1], [2, 1]])
    theirs = np.array([[1, 1], [2, 2], [3, 3]])
    assert statistics.interquartile_mean(ours) == 1.5
    assert statistics.interquartile_mean(theirs) == 2
    found = statistics.probability_of_improvement(ours, theirs)
    assert found.value == pytest.approx(1 / 3)
    assert found.low < found.value < found.high


def test_bootstrap_resamples_each_task_by_itself():
    # Task means are 0, 1/2, 1 and 0, 5, 10, each with chances 1/4, 1/2, 1/4.
    found = statistics.bootstrap(np.mean, [[0.0, 0.0], [1.0, 10.0]], 40_000)
    pairs = list(
        itertools.product([(0, 1), (1, 2), (2, 1)], [(0, 1), (10, 2), (20, 1)])
    )
    values = [(one + two) / 4 for (one, _), (two, _) in pairs]
    chances = [weight * other / 16 for (_, weight), (_, other) in pairs]
    np.testing.assert_allclose(shares(found.resampled, values), chances, atol=0.01)
    assert found.value == 2.75 and found.resampled.shape == (40_000,)


def test_bootstrap_of_the_mean_of_one_task_is_the_mean_interval():
    values = np.random.default_rng(3).gamma(2.0, size=20)
    found = statistics.bootstrap(np.mean, values, 40_000)
    expected = statistics.mean_interval(values, 40_000)
    np.testing.assert_allclose(found[:3], expected, atol=0.01)


def test_bootstrap_keeps_the_number_of_seeds_of_each_task():
    ragged = np.array([[np.nan, np.nan, 5.0], [1.0, 2.0, 6.0], [3.0, np.nan, 7.0]])

    def kept(values, axis):
        assert axis == (-2, -1)
        assert np.all(np.isnan(values[..., 1]) | (values[..., 1] == 2.0))
        return np.sum(~np.isnan(values), axis=axis)

    found = statistics.bootstrap(kept, ragged, 500)
    assert found.value == 6 and (found.resampled == 6).all()
    median = statistics.bootstrap(np.nanmedian, ragged, 500)
    assert median.value == 4.0 and median.low < 4.0 < median.high
    again = statistics.bootstrap(np.nanmedian, ragged, 500)
    np.testing.assert_array_equal(again.resampled, median.resampled)
    alone = statistics.bootstrap(np.mean, [[1.0, 2.0]])  # one seed a task
    assert alone.value == 1.5 and np.isnan([alone.low, alone.high]).all()
    for wrong in (np.zeros((2, 2, 2)), np.zeros((0, 3)), [[1.0, np.nan]]):
        with pytest.raises(ValueError, match="values: expected"):
            statistics.bootstrap(np.mean, wrong)


def test_bootstrap_covers_a_known_interquartile_mean():
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(300):  # symmetric about the tasks' levels, so about their middle
        values = generator.normal(loc=[-3.0, -1.0, 1.0, 3.0], size=(10, 4))
        found = statistics.bootstrap(
            statistics.interquartile_mean, values, 500, seed=seed
        )
        covered += found.low <= 0 <= found.high
    assert 0.91 <= covered / 300 <= 0.99


def test_probability_of_improvement_of_the_tortoise_and_the_hare():
    # Wikipedia, Mann-Whitney U test: T H H H H H T T T T T H; U = 11 and 25 of 36.
    finish = np.array(list("THHHHHTTTTTH"))
    place = -np.arange(12.0)  # the first home is the best
    tortoises, hares = place[finish == "T"], place[finish == "H"]
    found = statistics.probability_of_improvement(tortoises, hares)
    assert found.value == pytest.approx(11 / 36)
    other = statistics.probability_of_improvement(hares, tortoises)
    assert other.value == pytest.approx(25 / 36)
    assert found.low < 11 / 36 < found.high


def test_probability_of_improvement_matches_every_resample():
    ours, theirs = np.array([1.0, 2.0, 4.0]), np.array([2.0, 3.0])
    exact = [
        np.mean([(a > b) + (a == b) / 2 for a in left for b in right])
        for left in itertools.product(ours, repeat=3)
        for right in itertools.product(theirs, repeat=2)
    ]
    found = statistics.probability_of_improvement(ours, theirs, 40_000)
    values, counts = np.unique(np.round(exact, 9), return_counts=True)
    chances = counts / len(exact)
    np.testing.assert_allclose(shares(found.resampled, values), chances, atol=0.01)


def test_probability_of_improvement_averages_over_tasks_with_what_there_is():
    ours = np.array([[1.0, 5.0], [1.0, np.nan]])
    theirs = np.array([[0.0, 5.0], [0.0, 6.0]])
    found = statistics.probability_of_improvement(ours, theirs)
    assert found.value == pytest.approx((1 + 0.25) / 2)
    once = statistics.probability_of_improvement([1.0], [0.0])
    assert once.value == 1 and np.isnan(once.low)
    with pytest.raises(ValueError, match="2 tasks"):
        statistics.probability_of_improvement(ours, theirs[:, :1])


def test_probability_of_improvement_covers():
    generator, covered = np.random.default_rng(0), 0
    truth = scipy.stats.norm.cdf(0.5 / np.sqrt(2))  # P(X > Y), X half a deviation up
    for seed in range(300):
        ours, theirs = generator.normal(size=(2, 15, 2))
        found = statistics.probability_of_improvement(ours + 0.5, theirs, 500, seed)
        covered += found.low <= truth <= found.high
    assert 0.90 <= covered / 300 <= 0.98


def test_performance_profile_counts_the_runs_above():
    values = np.array([[1.0, 10.0], [2.0, 10.0], [3.0, np.nan], [4.0, np.nan]])
    found = statistics.performance_profile(values, [0.0, 2.0, 5.0, 10.0])
    np.testing.assert_allclose(found.value, [1, 0.75, 0.5, 0])
    assert (found.low <= found.value).all() and (found.value <= found.high).all()
    # The second task's runs agree; of the first, each is above 2 with chance 1/2.
    binomial = scipy.stats.binom.pmf(range(5), 4, 0.5)
    values = [0.5 + drawn / 8 for drawn in range(5)]
    np.testing.assert_allclose(
        shares(found.resampled[:, 1], values), binomial, atol=0.02
    )
    assert np.isnan(statistics.performance_profile([1.0], [0.0]).low).all()


# Correlations.


def test_bootstrap_of_the_law_schools():
    found = statistics.pearson(LSAT, GPA, num_resamples=40_000)
    assert found.value == pytest.approx(0.776, abs=5e-4)
    # Efron and Tibshirani 1993, table 6.1 (3,200 resamples): standard error .132.
    assert found.resampled.std() == pytest.approx(0.132, abs=0.003)
    # Pingouin's test, compared with Matlab's bootci: percentile interval .45 to .96.
    np.testing.assert_allclose([found.low, found.high], [0.45, 0.96], atol=0.015)


def test_spearman_of_a_published_example():
    # Wikipedia, Spearman's rank correlation: IQ against hours of television.
    iq = [106, 100, 86, 101, 99, 103, 97, 113, 112, 110]
    hours = [7, 27, 2, 50, 28, 29, 20, 12, 6, 17]
    assert statistics.spearman(iq, hours).value == pytest.approx(-29 / 165)


def test_line_of_anscombe():
    # Anscombe 1973, the first of the quartet: y = 3 + x / 2, r = .816.
    x = [10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5]
    y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68]
    assert statistics.slope(x, y).value == pytest.approx(0.5, abs=1e-3)
    assert statistics.intercept(x, y).value == pytest.approx(3.0, abs=1e-2)
    assert statistics.pearson(x, y).value == pytest.approx(0.816, abs=1e-3)


def slope_of(x, y):
    return np.polyfit(x, y, 1)[0]


def intercept_of(x, y):
    return np.polyfit(x, y, 1)[1]


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize(
    ("function", "oracle"),
    [
        (statistics.pearson, lambda x, y: np.corrcoef(x, y)[0, 1]),
        (statistics.spearman, lambda x, y: scipy.stats.spearmanr(x, y)[0]),
        (statistics.slope, slope_of),
        (statistics.intercept, intercept_of),
    ],
)
def test_resamples_match_a_loop(function, oracle, clustered):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(18, 3)) * [1, 2, 1e6] + [0, 0, 1e9]
    x[:, 1] = np.round(x[:, 1])  # ties
    x[4, 2] = np.nan
    y = np.round(generator.normal(size=18) + x[:, 0], 1)
    labels = np.arange(18) % 6 if clustered else np.arange(18)
    found = function(x, y, labels if clustered else None, 40, seed=5)
    counts = draw_counts(labels.max() + 1, 40, np.random.default_rng(5))
    for metric in range(3):
        rows = np.flatnonzero(~np.isnan(x[:, metric]))
        expected = oracle(x[rows, metric], y[rows])
        np.testing.assert_allclose(found.value[metric], expected, rtol=1e-7)
        for index, count in enumerate(counts):
            drawn = np.repeat(rows, count[labels[rows]])
            expected = oracle(x[drawn, metric], y[drawn])
            got = found.resampled[index, metric]
            np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-9)
    alone = function(x[:, 1], y, labels if clustered else None, 40, seed=5)
    np.testing.assert_allclose(alone.resampled, found.resampled[:, 1])
    assert alone.value.shape == alone.low.shape == ()


def test_clusters_are_the_unit():
    # Eight times the same six agents: eight times the rows, but no more is known.
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(2, 6))
    rows = np.tile(x, 8), np.tile(y, 8)
    agents = np.tile(list("abcdef"), 8)
    honest = statistics.spearman(x, y, seed=3)
    clustered = statistics.spearman(*rows, clusters=agents, seed=3)
    np.testing.assert_allclose(clustered[:3], honest[:3], atol=1e-12)
    naive = statistics.spearman(*rows)
    assert naive.high - naive.low < (honest.high - honest.low) / 2


def test_correlation_that_is_not_defined():
    y = np.arange(6.0)
    x = np.stack([np.ones(6), np.full(6, np.nan), [0, 0, 0, 0, 0, 0.3], y], axis=1)
    x[:, 0] *= 0.1  # not a binary fraction: constant but for rounding
    for function in (statistics.pearson, statistics.spearman, statistics.slope):
        found = function(x, y)
        np.testing.assert_array_equal(np.isnan(found.value), [1, 1, 0, 0])
        np.testing.assert_array_equal(np.isnan(found.low), [1, 1, 0, 0])
        # One agent makes the third: without it there is nothing, either way.
        assert found.value[2] > 0 and found.low[2] == 0
        assert np.mean(found.resampled[:, 2] == 0) >= (5 / 6) ** 6 - 0.02
    one = statistics.spearman(x[:, 3], y, clusters=np.zeros(6))
    assert one.value == pytest.approx(1) and np.isnan([one.low, one.high]).all()
    assert np.isnan(statistics.pearson([1.0], [2.0]).value)
    assert statistics.intercept([1.0, 1.0], [2.0, 4.0]).value == 3.0


def test_infinite_values_rank_but_have_no_mean():
    x = np.array([1.0, np.inf, 3.0, -np.inf, np.inf])
    y = np.array([2.0, 5.0, 1.0, 0.0, 4.0])
    expected = scipy.stats.spearmanr([1, 9, 3, -9, 9], y)[0]
    assert statistics.spearman(x, y).value == pytest.approx(expected)
    for function in (statistics.pearson, statistics.slope, statistics.intercept):
        with pytest.raises(ValueError, match="x: expected finite"):
            function(x, y)
    with pytest.raises(ValueError, match=r"expected x \[N\]"):
        statistics.spearman(x, y[:3])


def test_correlations_cover():
    generator = np.random.default_rng(0)
    covered = {statistics.pearson: 0, statistics.spearman: 0, statistics.slope: 0}
    truth = {
        statistics.pearson: 0.5,
        statistics.spearman: 6 / np.pi * np.arcsin(0.25),  # of a normal distribution
        statistics.slope: 0.5,
    }
    for seed in range(250):
        x = generator.normal(size=36)
        y = 0.5 * x + np.sqrt(0.75) * generator.normal(size=36)
        for function in covered:
            found = function(x, y, num_resamples=400, seed=seed)
            covered[function] += found.low <= truth[function] <= found.high
    for function, times in covered.items():
        assert 0.89 <= times / 250 <= 0.985, function.__name__


# Orderings.


def test_kendall_matches_scipy():
    # The example of SciPy's documentation.
    assert statistics.kendall([12, 2, 1, 12, 2], [1, 4, 7, 1, 0]) == pytest.approx(
        -0.4714045207910316
    )
    values = np.random.default_rng(0).integers(4, size=(2, 30, 7))
    expected = [scipy.stats.kendalltau(a, b)[0] for a, b in zip(*values, strict=True)]
    np.testing.assert_allclose(statistics.kendall(*values), expected)
    assert np.isnan(statistics.kendall([1, 1], [1, 2]))
    for wrong in ([1.0], [1.0, np.nan]):
        with pytest.raises(ValueError, match="expected"):
            statistics.kendall(wrong, wrong)


def test_rank_agreement_matches_every_resample():
    ours = np.array([[0.0, 3.0, 1.0], [4.0, 4.0, 4.0], [2.0, 3.0, 5.0]])
    theirs = np.array([[1.0, 2.0, 3.0], [3.0, 0.0, 2.0], [2.0, 5.0, 1.0]])
    found = statistics.rank_agreement(ours, theirs, 40_000)
    exact = []
    for drawn in itertools.product(range(3), repeat=3):
        sums = ours[list(drawn)].sum(axis=0), theirs[list(drawn)].sum(axis=0)
        exact.append(scipy.stats.kendalltau(*sums)[0])
    assert np.isnan(exact).sum() == 1  # three times the second seed: all level
    values, counts = np.unique(np.round(np.nan_to_num(exact), 9), return_counts=True)
    np.testing.assert_allclose(shares(found.resampled, values), counts / 27, atol=0.01)
    expected = scipy.stats.kendalltau(ours.mean(axis=0), theirs.mean(axis=0))[0]
    assert found.value == pytest.approx(expected)
    same = statistics.rank_agreement(theirs, theirs * 2 + 1)
    assert same.value == 1 and (same.resampled == 1).all()  # seeds are drawn together
    assert np.isnan(statistics.rank_agreement(ours[:1], theirs[:1]).low)
    with pytest.raises(ValueError, match="seeds, items"):
        statistics.rank_agreement(ours, theirs[:, :2])


# Significance.


def test_p_value_counts_the_wrong_side():
    resampled = np.array([[1.0, 0.0], [2.0, -1.0], [3.0, 1.0], [-1.0, np.nan]])
    found = statistics.bootstrap_p_value(resampled, 0, "above")
    np.testing.assert_array_equal(found, [2 / 5, np.nan])
    assert statistics.bootstrap_p_value(resampled[:, 0], 2.0, "below") == 3 / 5
    with pytest.raises(ValueError, match="above"):
        statistics.bootstrap_p_value(resampled, 0, "abov")


def test_p_values_of_no_effect_are_uniform():
    values = np.random.default_rng(0).normal(size=(40, 2000))
    resampled = statistics.bootstrap_mean(values, 500).resampled
    found = statistics.bootstrap_p_value(resampled, 0, "above")
    for level in (0.05, 0.25, 0.5, 0.9):
        assert np.mean(found <= level) == pytest.approx(level, abs=0.03)


def test_holm_of_a_published_example():
    # Wikipedia, Holm-Bonferroni method: the first and the last are claimed at .05.
    found = statistics.holm([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(found, [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_array_equal(statistics.holm([0.5, 0.9]), [1.0, 1.0])
    assert statistics.holm([]).shape == (0,)
    with pytest.raises(ValueError, match="0 to 1"):
        statistics.holm([0.1, 1.5])


def test_holm_matches_the_step_down_procedure():
    p_values = np.random.default_rng(0).uniform(size=(7, 50)) ** 3
    p_values[5, 10:20] = np.nan
    found = statistics.holm(p_values, axis=0)
    for column, adjusted in zip(p_values.T, found.T, strict=True):
        claimed = np.zeros(7, bool)
        order = [i for i in np.argsort(column) if not np.isnan(column[i])]
        for step, index in enumerate(order):
            if column[index] > 0.05 / (len(order) - step):
                break
            claimed[index] = True
        np.testing.assert_array_equal(adjusted <= 0.05, claimed)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(p_values))


def group(wrong, size=999):
    """A positive estimate that so many of its resamples contradict."""
    resampled = np.where(np.arange(size) < wrong, -1.0, 1.0)
    return Estimate(1.0, *np.percentile(resampled, [2.5, 97.5]), resampled)


def test_sign_consistency_by_hand():
    unknown = Estimate(np.nan, np.nan, np.nan, np.full(999, np.nan))
    groups = [group(0), group(999), group(14), group(400), unknown]
    plain = statistics.sign_consistency(groups, adjust=False)
    np.testing.assert_array_equal(plain.signs, [1, -1, 1, 0, 0])
    np.testing.assert_allclose(plain.p_values, [0.002, 0.002, 0.03, 0.802, np.nan])
    holm = statistics.sign_consistency(groups)  # a family of four
    np.testing.assert_array_equal(holm.signs, [1, -1, 0, 0, 0])
    np.testing.assert_allclose(holm.p_values, [0.008, 0.008, 0.06, 0.802, np.nan])
    # A second metric is a family of its own.
    pairs = [
        [np.stack(pair, axis=-1) for pair in zip(g, group(0), strict=True)]
        for g in groups
    ]
    both = statistics.sign_consistency([Estimate(*pair) for pair in pairs])
    np.testing.assert_array_equal(both.signs, [[1, 1], [-1, 1], [0, 1], [0, 1], [0, 1]])
    np.testing.assert_allclose(both.p_values[:, 0], holm.p_values)
    np.testing.assert_allclose(both.p_values[:, 1], 0.01)


def test_sign_consistency_without_adjustment_is_the_interval():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(24, 300)), generator.normal(size=24)
    found = statistics.spearman(x + y[:, None] * 0.4, y, num_resamples=999)
    signs = statistics.sign_consistency([found], adjust=False).signs[0]
    assert (found.low[signs == 1] > 0).all() and (found.high[signs == -1] < 0).all()
    outside = np.mean((found.low > 0) | (found.high < 0))
    assert 0.2 < outside < 0.9
    assert np.mean(signs != 0) == pytest.approx(outside, abs=0.02)


def test_holm_keeps_false_signs_rare_over_groups():
    generator = np.random.default_rng(0)
    groups = []
    for seed in range(8):  # 8 settings, 200 metrics that have nothing to do with y
        x, y = generator.normal(size=(36, 200)), generator.normal(size=36)
        groups.append(statistics.spearman(x, y, num_resamples=999, seed=seed))
    plain = statistics.sign_consistency(groups, adjust=False).signs
    holm = statistics.sign_consistency(groups).signs
    assert np.mean(plain.any(axis=0)) > 0.25  # 1 - .95^8 = .34
    assert np.mean(holm.any(axis=0)) < 0.1

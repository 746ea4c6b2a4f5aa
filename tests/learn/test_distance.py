"""Closeness of regions: against closed forms, plain loops and shifts that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import InputError
from toolkit.learn.distance import (
    average_thresholded_confidence,
    frechet_distance,
    maximum_mean_discrepancy,
    mean_confidence,
    mean_ndvi,
    phenology_offset,
)


def gaussian(n: int, mean: np.ndarray, cov: np.ndarray, seed: int) -> np.ndarray:
    """Samples whose own mean and covariance are exactly those given."""
    x = np.random.default_rng(seed).normal(size=(n, len(mean)))
    x -= x.mean(axis=0)
    x = x @ np.linalg.inv(linalg.cholesky(np.cov(x, rowvar=False)))
    return x @ linalg.cholesky(cov) + mean


def test_the_frechet_distance_is_that_of_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 5))
    cov_a, cov_b = a @ a.T + np.eye(5), b @ b.T + 0.5 * np.eye(5)
    mean_a, mean_b = rng.normal(size=(2, 5))
    root = np.real(linalg.sqrtm(cov_a @ cov_b))
    expected = ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root)
    x, y = gaussian(300, mean_a, cov_a, 1), gaussian(200, mean_b, cov_b, 2)
    assert frechet_distance(x, y, shrinkage=0) == pytest.approx(expected, rel=1e-9)
    relative = frechet_distance(x, y, shrinkage=0, relative=True)
    assert relative == pytest.approx(expected / np.trace(cov_a), rel=1e-9)


def test_in_one_dimension_it_is_the_difference_of_means_and_deviations() -> None:
    x, y = (
        gaussian(50, np.array([1.0]), np.array([[4.0]]), 0),
        gaussian(70, np.array([4.0]), np.array([[9.0]]), 1),
    )
    assert frechet_distance(x, y, shrinkage=0) == pytest.approx(3**2 + (3 - 2) ** 2)


def test_equal_clouds_have_no_frechet_distance_even_when_degenerate() -> None:
    x = np.random.default_rng(0).normal(size=(20, 3)) @ np.ones((3, 40))  # rank 1 in 40 features
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6 * np.trace(np.cov(x, rowvar=False)))
    assert frechet_distance(x, x + 1) == pytest.approx(40, rel=1e-5)


def test_shrinkage_mixes_in_the_mean_variance() -> None:
    x, y = (
        gaussian(50, np.zeros(2), np.diag([4.0, 2.0]), 0),
        gaussian(50, np.zeros(2), np.diag([1.0, 1.0]), 1),
    )
    mixed = np.array([0.5 * 4 + 0.5 * 3, 0.5 * 2 + 0.5 * 3])
    expected = ((np.sqrt(mixed) - 1) ** 2).sum()
    assert frechet_distance(x, y, shrinkage=0.5) == pytest.approx(expected)


def test_the_relative_distance_does_not_depend_on_the_scale_of_the_features() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 40, 6))
    one, many = (frechet_distance(s * x, s * (y + 1), relative=True) for s in (1, 1000))
    assert many == pytest.approx(one)
    assert np.isnan(frechet_distance(np.ones((3, 2)), y[:, :2], relative=True))


def test_the_discrepancy_is_that_of_a_plain_double_loop() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(9, 4)), rng.normal(0.5, 2, size=(7, 4))
    both = np.concatenate([a, b])
    apart = [np.linalg.norm(both[i] - both[j]) for i in range(16) for j in range(i + 1, 16)]
    width = np.median(apart)

    def mean_kernel(x: np.ndarray, y: np.ndarray, *, same: bool) -> float:
        values = [
            np.exp(-np.sum((x[i] - y[j]) ** 2) / (2 * width**2))
            for i in range(len(x))
            for j in range(len(y))
            if not (same and i == j)
        ]
        return float(np.mean(values))

    expected = mean_kernel(a, a, same=True) + mean_kernel(b, b, same=True) - 2 * mean_kernel(a, b, same=False)
    assert maximum_mean_discrepancy(a, b) == pytest.approx(expected, rel=1e-12)


def test_the_discrepancy_is_around_zero_for_one_distribution_and_draws_by_its_seed() -> None:
    rng = np.random.default_rng(4)
    same = [maximum_mean_discrepancy(*rng.normal(size=(2, 60, 3))) for _ in range(60)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(60)
    assert min(same) < 0
    a, b = rng.normal(size=(300, 3)), rng.normal(1, size=(300, 3))
    drawn = [maximum_mean_discrepancy(a, b, most=50, seed=seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert min(drawn) > max(same)


def test_features_without_any_spread_are_equal_or_not() -> None:
    assert maximum_mean_discrepancy(np.ones((3, 2)), np.ones((4, 2))) == 0
    assert maximum_mean_discrepancy(np.ones((3, 2)), np.zeros((4, 2))) == pytest.approx(2 - 2 * np.exp(-0.5))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.ones((1, 2)), np.ones((5, 2))),
        (np.ones((5, 2)), np.ones((5, 3))),
        (np.ones(5), np.ones(5)),
        (np.full((5, 2), np.nan), np.ones((5, 2))),
    ],
)
def test_features_that_do_not_compare_are_refused(a: np.ndarray, b: np.ndarray) -> None:
    for distance in (frechet_distance, maximum_mean_discrepancy):
        with pytest.raises(InputError, match="Features have the shapes"):
            distance(a, b)


def curve(n: int = 73) -> np.ndarray:
    """A year with one green season, not symmetric."""
    t = np.arange(n)
    return 0.2 + 0.5 * np.exp(-(((t - 30) / 6.0) ** 2)) + 0.2 * np.exp(-(((t - 42) / 4.0) ** 2))


@pytest.mark.parametrize("shift", [0, 1, 7, -5, 30, -36])
def test_a_shifted_year_is_found_to_the_step(shift: int) -> None:
    found = phenology_offset(curve(), np.roll(curve(), shift), step_days=5, circular=True)
    assert found == 5 * shift


@pytest.mark.parametrize("shift", [0, 3, -4, 10])
def test_a_shifted_season_is_found_to_the_step(shift: int) -> None:
    year = curve(120)
    source, target = year[20:63], np.roll(year, shift)[20:63]
    assert phenology_offset(source, target, step_days=5, circular=False) == 5 * shift


def test_gaps_are_bridged_and_flat_curves_have_no_offset() -> None:
    holes = np.roll(curve(), 4)
    holes[[10, 50, 72]] = np.nan
    assert phenology_offset(curve(), holes, step_days=5, circular=True) == 20
    assert np.isnan(phenology_offset(curve(), np.full(73, 0.3), step_days=5, circular=True))
    assert np.isnan(phenology_offset(curve(), np.full(73, np.nan), step_days=5, circular=True))
    with pytest.raises(InputError, match="needed: one shape"):
        phenology_offset(curve(), curve(72), step_days=5, circular=True)


def test_the_mean_ndvi_counts_what_is_observed() -> None:
    recipe = FeatureRecipe(bands=("B04", "B08"), first_step=0, n_steps=3, step_days=30)
    series = np.array(
        [[[0.1, 0.1, np.nan], [0.3, 0.5, np.nan]], [[0.1, np.nan, np.nan], [0.1, 0.5, np.nan]]], np.float32
    )
    np.testing.assert_allclose(mean_ndvi(series, recipe), [0.25, 2 / 3, np.nan], rtol=1e-6)
    seldom = np.concatenate([series[:1]] + [series[1:]] * 4)  # the second step: one of five
    assert np.isnan(mean_ndvi(seldom, recipe)[1:]).all()
    assert mean_ndvi(series, FeatureRecipe(bands=("B02", "B08"), n_steps=3, step_days=30)) is None


def test_confidence_is_that_of_the_predicted_class() -> None:
    assert mean_confidence(np.array([[0.9, 0.1], [0.4, 0.6]])) == pytest.approx(0.75)
    assert np.isnan(mean_confidence(np.empty((0, 2))))


def test_thresholded_confidence_by_hand() -> None:
    top = np.array([0.95, 0.9, 0.8, 0.7, 0.6])
    held_out = np.stack([top, 1 - top], axis=1)
    right = np.array([True, True, True, True, False])  # 80 %: the threshold is 0.7
    target = np.array([[0.99, 0.01], [0.3, 0.7], [0.69, 0.31], [0.5, 0.5]])
    assert average_thresholded_confidence(held_out, right, target) == 0.5
    assert average_thresholded_confidence(held_out, right, held_out) == pytest.approx(0.8)
    assert average_thresholded_confidence(held_out, ~right & False, target) == 0.0
    assert np.isnan(average_thresholded_confidence(held_out[:0], right[:0], target))

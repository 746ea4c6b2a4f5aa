"""Augmentation: what moves where, around the year, in one resampling; held to numpy and scipy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from toolkit.errors import InputError
from toolkit.kernels.fill import fill_linear
from toolkit.learn.augment import (
    Window,
    augment,
    augmented_copies,
    clear_steps,
    fill_gaps,
    held_ends,
    positions,
    resample,
)
from toolkit.learn.augmentations import AUGMENTATIONS, COPIES, Augmentation
from toolkit.learn.seasons import filled

SEASON = Window(first_step=24, n_steps=43, step_days=5)
YEAR = 73
STILL = Augmentation(shift_days=0, scale_probability=0, warp_probability=0)
"""Draws nothing."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def waves(n: int, *, bands: int = 3, steps: int = YEAR) -> torch.Tensor:
    """Series with one wave a year, of known phase: the value is known between steps, too."""
    phase = torch.linspace(0, 1, n)[:, None, None] + torch.arange(bands)[None, :, None] / 10
    return 0.3 + 0.1 * torch.sin(2 * np.pi * (torch.arange(steps) / steps - phase))


def test_without_draws_the_season_comes_out_as_it_is() -> None:
    year = waves(5)
    assert torch.equal(augment(year, SEASON, STILL, seeded()), year[:, :, 24:67])
    season = replace(SEASON, first_step=0, moves=False)
    kept = year[:, :, 24:67].contiguous()
    varied = augment(kept, season, STILL, seeded())
    assert torch.equal(varied, kept)
    assert varied.data_ptr() != kept.data_ptr()  # the samples themselves never change


def test_windows_are_shifted_and_scaled_evenly_within_the_amounts() -> None:
    shifted = positions(4000, SEASON, YEAR, Augmentation(scale_probability=0), seeded())
    assert torch.allclose(shifted.diff(), torch.ones(()), atol=1e-4)
    start = shifted[:, 0] - 24
    assert -10 <= start.min() < -9.9
    assert 9.9 < start.max() <= 10
    assert start.mean().abs() < 0.3
    both = positions(4000, SEASON, YEAR, Augmentation(scale_probability=1), seeded())
    length = both[:, -1] - both[:, 0]
    assert 22 <= length.min() < 24
    assert 60 < length.max() <= 62
    assert (both[:, 0] - 24).abs().max() > 15  # shift and scale add up
    assert torch.allclose(both.diff(), both.diff()[:, :1].expand(-1, 42), atol=1e-4)


def test_half_of_the_windows_are_scaled_by_default() -> None:
    length = positions(4000, SEASON, YEAR, Augmentation(), seeded()).diff(dim=1).sum(dim=1)
    assert 0.47 < ((length - 42).abs() > 1e-3).float().mean() < 0.53


def test_a_shift_goes_around_the_year_and_does_not_stretch_the_season() -> None:
    late = Window(first_step=30, n_steps=43, step_days=5)  # ends with the year
    year = waves(1)
    position = torch.arange(43, dtype=torch.float32)[None] + 30 + 8
    moved = resample(year, position)
    expected = torch.cat([year, year], dim=2)[:, :, 38:81]
    assert torch.equal(moved, expected)
    published = positions(4000, late, YEAR, AUGMENTATIONS["published"], seeded())  # type: ignore[arg-type]  # not None
    assert published.max() <= YEAR - 1
    assert published.min() >= 0
    stretched = published.diff().mean(dim=1)
    assert (stretched < 0.9).any()  # clamped at the end of the year: the window got shorter


def test_published_scaling_forgets_the_shift() -> None:
    everything = Augmentation(published=True, scale_probability=1, scale_days=5, shift_days=50)
    assert (positions(500, SEASON, YEAR, everything, seeded())[:, 0] - 24).abs().max() <= 1
    ours = positions(500, SEASON, YEAR, replace(everything, published=False), seeded())
    assert (ours[:, 0] - 24).abs().max() > 9


@given(st.integers(0, 2**32), st.integers(2, 40), st.integers(1, 30))
def test_resampling_is_numpy_interp_on_a_year_that_repeats(seed: int, steps: int, wanted: int) -> None:
    rng = np.random.default_rng(seed)
    series = rng.random((2, 3, steps), np.float32)
    position = rng.uniform(-steps, 2 * steps - 1, (2, wanted)).astype(np.float32)
    out = resample(torch.from_numpy(series), torch.from_numpy(position)).numpy()
    for k in range(2):
        for band in range(3):
            expected = np.interp(position[k], np.arange(-steps, 3 * steps), np.tile(series[k, band], 4))
            np.testing.assert_allclose(out[k, band], expected, atol=2e-5)


def test_magnitude_is_bent_by_cubic_splines_through_the_knots() -> None:
    flat = torch.ones((4, 2, YEAR))
    bent = augment(flat, SEASON, replace(STILL, warp_probability=1.0), seeded()).numpy()
    steps = np.arange(43)
    knots = np.linspace(0, 42, 5)
    for curve in bent.reshape(-1, 43):
        at_knots = CubicSpline(steps, curve)(knots)
        np.testing.assert_allclose(CubicSpline(knots, at_knots)(steps), curve, atol=1e-4)
    many = augment(torch.ones((4000, 2, YEAR)), SEASON, replace(STILL, warp_probability=1.0), seeded())
    assert abs(float(many[:, :, 0].std()) - 0.10) < 0.005  # the first knot is the first step
    assert abs(float(many[:, :, 0].mean()) - 1) < 0.005
    quarter = augment(torch.ones((4000, 1, YEAR)), SEASON, replace(STILL, warp_probability=0.25), seeded())
    assert 0.22 < ((quarter - 1).abs() > 1e-6).any(dim=2).float().mean() < 0.28


def test_gaps_have_the_asked_share_and_length_and_spare_no_series_of_its_last_step() -> None:
    asked = Augmentation(gap_probability=1.0, gap_share=0.4, gap_steps=3.0)
    lost = ~clear_steps(20_000, 43, asked, seeded())
    assert abs(float(lost.float().mean()) - 0.4) < 0.01
    began = lost[:, 1:] & ~lost[:, :-1]
    inner = lost[:, 1:-1].sum() / (began.sum() + lost[:, 0].sum())
    assert 2.5 < inner < 3.2  # expected 3, cut off at the season's ends
    heavy = replace(asked, gap_share=0.9, gap_steps=30.0)
    assert clear_steps(2000, 43, heavy, seeded()).any(dim=1).all()
    none = clear_steps(2000, 43, replace(asked, gap_probability=0.0), seeded())
    assert none.all()


@given(st.integers(0, 2**32), st.integers(1, 30))
def test_gaps_are_filled_as_maps_fill_them(seed: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    series = rng.random((6, 2, steps), np.float32)
    seen = rng.random((6, steps)) < 0.5
    seen[np.arange(6), rng.integers(0, steps, 6)] = True
    rows = np.where(seen[:, None, :], series, np.nan).reshape(12, steps)
    expected = fill_linear(np.ascontiguousarray(rows.T)).T.reshape(6, 2, steps)
    out = fill_gaps(torch.from_numpy(series), torch.from_numpy(seen)).numpy()
    np.testing.assert_allclose(out, expected, atol=1e-6)


def test_noise_has_the_asked_deviation() -> None:
    noisy = augment(torch.zeros((500, 4, YEAR)), SEASON, replace(STILL, noise=0.02), seeded())
    assert abs(float(noisy.std()) - 0.02) < 0.0005


@pytest.mark.parametrize("name", [name for name, one in AUGMENTATIONS.items() if one is not None])
def test_the_same_generator_gives_the_same_series_and_another_gives_others(name: str) -> None:
    augmentation = AUGMENTATIONS[name]
    assert augmentation is not None
    year = waves(40)
    first = augment(year, SEASON, augmentation, seeded(1))
    assert torch.equal(first, augment(year, SEASON, augmentation, seeded(1)))
    assert not torch.equal(first, augment(year, SEASON, augmentation, seeded(2)))
    assert first.isfinite().all()


def test_copies_drawn_once_differ_from_each_other() -> None:
    copies = augmented_copies(waves(10), SEASON, Augmentation(), seeded())
    assert len(copies) == COPIES == 2
    assert not torch.equal(copies[0], copies[1])


def test_names_are_those_that_can_be_asked_for() -> None:
    assert list(AUGMENTATIONS) == ["none", "phenology", "mild", "clouds", "published"]
    assert AUGMENTATIONS["none"] is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shift_days", 200.0),
        ("scale_days", -1.0),
        ("scale_probability", 1.5),
        ("warp_probability", float("nan")),
        ("warp_knots", 3),
        ("warp_deviation", 0.6),
        ("gap_probability", -0.1),
        ("gap_share", 1.0),
        ("gap_steps", 0.5),
        ("noise", 1.0),
    ],
)
def test_impossible_amounts_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"Augmentation: {name} is {value!r}; allowed:"):
        Augmentation(**{name: value})  # type: ignore[arg-type]  # the wrong value is the point


def test_a_window_that_does_not_move_holds_its_ends_as_maps_do() -> None:
    """Whatever was observed, it is the season cut first and filled then."""
    rng = np.random.default_rng(0)
    year = rng.random((400, 3, YEAR), np.float32)
    seen = rng.random((400, YEAR)) < rng.uniform(0.05, 0.6, (400, 1))
    seen[np.arange(400), 24 + rng.integers(0, 43, 400)] = True  # one observation in the season at least
    gappy = np.where(seen[:, None, :], year, np.nan)
    expected = filled(np.ascontiguousarray(gappy[:, :, 24:67]), periodic=False)
    whole = torch.from_numpy(filled(gappy, periodic=True))
    out = augment(whole, SEASON, STILL, seeded(), observed=torch.from_numpy(seen)).numpy()
    np.testing.assert_allclose(out, expected, atol=1e-6)


def test_ends_are_held_around_the_turn_of_the_year_and_windows_without_observation_stay() -> None:
    observed = torch.zeros((3, 10), dtype=torch.bool)
    observed[0, [9, 1]] = True
    observed[1, 5] = True
    position = torch.arange(8.0, 13.0)[None].expand(3, -1)  # steps 8 9 0 1 2
    held = held_ends(position, observed)
    assert held[0].tolist() == [9, 9, 10, 11, 11]
    assert torch.equal(held[1:], position[1:])
    assert held_ends(position - 10, observed)[0].tolist() == [-1, -1, 0, 1, 1]

"""Alignment: a model of the north maps the season of the south, and one of early fields late ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toolkit.area.season import season
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import InputError
from toolkit.learn.alignment import hemisphere_year, moved
from toolkit.learn.checkpoint import Checkpoint, normalise
from toolkit.learn.samples import Samples
from toolkit.learn.train import TrainConfig, train_classifier
from toolkit.simulate.landscape import Landscape, make_landscape
from toolkit.simulate.sentinel2 import sample_series

RECIPE = FeatureRecipe(step_days=30, first_step=4, n_steps=7)
"""Months from May to November: small enough to learn in seconds."""
MONTHS = 12


def calendar_year(landscape: Landscape, year: int, pixels: np.ndarray) -> np.ndarray:
    """Series of a calendar year from 1 January, by months of 30 days, of some of the pixels."""
    middles = [date(year, 1, 1) + timedelta(days=30 * k + 15) for k in range(MONTHS)]
    return sample_series(landscape, year=year, dates=middles, pixels=pixels)


def some_pixels(landscape: Landscape) -> np.ndarray:
    """Three pixels of each field."""
    order = np.random.default_rng(0).permutation(landscape.field.size)
    fields = landscape.field.ravel()[order]
    return np.sort(np.concatenate([order[fields == k][:3] for k in range(1, landscape.n_fields + 1)]))


@pytest.fixture(scope="module")
def northern() -> Checkpoint:
    """A model of simulated fields of the north."""
    landscape = make_landscape(5, region="reference", shape=(192, 192))
    pixels = some_pixels(landscape)
    field = landscape.field.ravel()[pixels].astype(np.int32)
    samples = Samples(
        series=calendar_year(landscape, 2023, pixels),
        crop=landscape.crop.ravel()[pixels] - np.uint8(1),
        field=field,
        lon=np.zeros(len(pixels)),
        lat=np.zeros(len(pixels)),
        recipe=RECIPE.full_year(),
        simulated=True,
    )
    config = TrainConfig(
        network="random_forest", augmentation=None, validation_share=0.2, device="cpu", precision="fp32"
    )
    return train_classifier(samples, RECIPE, config)


def accuracy(model: Checkpoint, year: np.ndarray, landscape: Landscape, pixels: np.ndarray) -> float:
    series = normalise(year[:, :, 4:11], model.mean, model.std)
    with torch.inference_mode():
        predicted = model.build()(torch.from_numpy(series)).argmax(dim=1).numpy()
    return float((predicted == landscape.crop.ravel()[pixels] - 1).mean())


def test_a_northern_model_maps_a_southern_season(northern: Checkpoint) -> None:
    landscape = make_landscape(6, region="southern", shape=(192, 192))
    pixels = some_pixels(landscape)
    # The crops planted in 2023: months of that year and of the next.
    both = [sample_series(landscape, year=2023, dates=_months(year), pixels=pixels) for year in (2023, 2024)]
    calendar = np.concatenate(both, axis=2)
    aligned = hemisphere_year(calendar, "south", step_days=30)
    # Seen: 0.64 in the south, 0.58 elsewhere in the north, 0.12 by the calendar; chance is 0.14.
    elsewhere = make_landscape(7, region="reference", shape=(192, 192))
    there = some_pixels(elsewhere)
    at_home = accuracy(northern, calendar_year(elsewhere, 2023, there), elsewhere, there)
    assert accuracy(northern, aligned, landscape, pixels) > at_home - 0.05
    assert at_home > 0.5
    assert accuracy(northern, calendar[:, :, :MONTHS], landscape, pixels) < 0.25


def _months(year: int) -> list[date]:
    return [date(year, 1, 1) + timedelta(days=30 * k + 15) for k in range(MONTHS)]


@given(st.integers(1, 4), st.sampled_from([5, 10, 16, 30]))
def test_the_south_starts_half_a_year_later(n: int, step_days: int) -> None:
    steps = 365 // step_days
    years = np.arange(n * 2 * steps, dtype=np.float32).reshape(n, 1, 2 * steps)
    south = hemisphere_year(years, "south", step_days=step_days)
    np.testing.assert_array_equal(south, years[:, :, steps // 2 : steps // 2 + steps])
    np.testing.assert_array_equal(hemisphere_year(years, "north", step_days=step_days), years[:, :, :steps])
    one = years[:, :, :steps]
    np.testing.assert_array_equal(
        hemisphere_year(one, "south", step_days=step_days), np.roll(one, -(steps // 2), axis=2)
    )


def test_its_first_step_of_five_days_is_36_as_in_the_season_of_scenes() -> None:
    year = np.arange(146, dtype=np.float32)[None, None]
    assert hemisphere_year(year, "south")[0, 0, 0] == 36
    southern = season(2023, hemisphere="south", first_step=0, n_steps=73)
    assert southern.start == date(2023, 1, 1) + timedelta(days=36 * 5)


@pytest.mark.parametrize("steps", [72, 100, 219])
def test_other_lengths_are_refused(steps: int) -> None:
    with pytest.raises(InputError, match=f"Series have {steps} steps; needed: 73 or 146"):
        hemisphere_year(np.zeros((1, 1, steps), np.float32), "south")


def test_a_season_moves_by_whole_steps_within_its_year() -> None:
    may = season(2023, hemisphere="north")
    assert moved(may, 24).first_step == 29
    assert moved(may, -24) == replace(may, first_step=19)
    assert moved(may, 2).first_step == 24
    assert moved(may, 30).start - may.start == timedelta(days=30)
    with pytest.raises(InputError, match=r"40 days: it would leave its year. Allowed: -120 to 30 days"):
        moved(may, 40)

"""One acquisition: its classification against the truth, its swath, its radiometry."""

from datetime import date

import numpy as np
import pytest

from toolkit.cubes.recipe import SENTINEL2_BANDS
from toolkit.errors import InputError
from toolkit.simulate.growth import grow
from toolkit.simulate.landscape import make_landscape
from toolkit.simulate.scenes import digital_numbers
from toolkit.simulate.sentinel2 import (
    BANDS_10M,
    clear_reflectance,
    overpass_dates,
    render_scene,
    to_20m,
)
from toolkit.simulate.stac_items import Radiometry

DAYS = overpass_dates(date(2023, 5, 1), date(2023, 11, 27))[::2]


@pytest.fixture(scope="module")
def landscape():
    return make_landscape(2, shape=(128, 128))


@pytest.fixture(scope="module")
def scenes(landscape):
    growth = grow(landscape, year=2023)
    amounts = np.linspace(0, 0.9, len(DAYS))
    return [render_scene(landscape, growth, d, cloud_amount=a) for d, a in zip(DAYS, amounts, strict=True)]


def test_acquisitions_are_five_days_apart_and_days_in_the_wrong_order_are_refused():
    assert overpass_dates(date(2023, 5, 1), date(2023, 5, 12)) == (
        date(2023, 5, 1),
        date(2023, 5, 6),
        date(2023, 5, 11),
    )
    with pytest.raises(InputError, match="earlier day first"):
        overpass_dates(date(2023, 5, 2), date(2023, 5, 1))


def test_the_classification_agrees_with_the_true_sky_mostly_but_not_always(scenes):
    clear = np.concatenate([np.isin(s.scl, (4, 5, 6, 7))[s.valid[::2, ::2]] for s in scenes])
    truth = np.concatenate([(to_20m(s.truly_clear) == 1)[s.valid[::2, ::2]] for s in scenes])
    assert 0.88 < np.mean(clear == truth) < 0.995
    missed = np.mean(clear[~truth])
    assert 0.01 < missed < 0.25
    assert 0 < np.mean(~clear[truth]) < 0.06


def test_all_classes_of_sen2cor_that_matter_occur_and_no_others(scenes):
    found = set(np.unique(np.stack([scene.scl for scene in scenes])))
    assert {0, 3, 4, 5, 6, 7, 8, 9, 10} == found


def test_beyond_the_swath_all_numbers_and_classes_are_zero(scenes):
    cut = [scene for scene in scenes if not scene.valid.all()]
    assert cut
    for scene in cut:
        assert scene.valid.any()
        np.testing.assert_array_equal(scene.scl == 0, ~scene.valid[::2, ::2])
        for band, numbers in digital_numbers(scene, Radiometry()).items():
            valid = scene.valid if band in BANDS_10M else scene.valid[::2, ::2]
            np.testing.assert_array_equal(numbers == 0, ~valid)


def test_a_20_m_number_is_the_mean_of_its_four_pixels(scenes):
    numbers = digital_numbers(scenes[0], Radiometry())
    k = SENTINEL2_BANDS.index("B8A")
    corner = scenes[0].reflectance[k, 10:12, 20:22].mean()
    assert numbers["B8A"].shape == (64, 64)
    assert numbers["B8A"][5, 10] == round(float(corner) * 10_000)


def test_clouds_are_bright_and_shadows_dark(scenes):
    def ratio(pixels_of):
        parts = [scene.reflectance[6][pixels_of(scene)] for scene in scenes[5:]]
        clear = [scene.reflectance[6][scene.truly_clear] for scene in scenes[5:]]
        return np.concatenate(parts).mean() / np.concatenate(clear).mean()

    assert ratio(lambda scene: scene.sky.cloud > 0.9) > 1.3
    assert ratio(lambda scene: scene.sky.shadow > 0.9) < 0.5


def test_a_clear_scene_shows_the_ground_but_for_haze_and_noise(landscape, scenes):
    ground = clear_reflectance(landscape, grow(landscape, year=2023), scenes[0].day)
    clear = scenes[0].truly_clear
    difference = (scenes[0].reflectance - ground)[:, clear]
    assert np.abs(difference).mean() < 0.03
    assert np.abs(difference).mean() > 0.001


@pytest.mark.parametrize(
    "radiometry",
    [
        Radiometry(baseline="05.09", offset_applied=True),
        Radiometry(baseline="05.09", offset_applied=False),
        Radiometry(baseline="02.14", offset_applied=False),
    ],
    ids=["applied", "not applied", "old"],
)
def test_every_radiometry_encodes_the_same_reflectance(scenes, radiometry):
    numbers = digital_numbers(scenes[0], radiometry)
    offset = 0.0 if radiometry.offset_applied or not radiometry.has_offset else radiometry.listed_offset
    valid = scenes[0].valid
    decoded = numbers["B08"][valid] * 1e-4 + offset
    np.testing.assert_allclose(
        decoded, scenes[0].reflectance[SENTINEL2_BANDS.index("B08")][valid], atol=0.51e-4
    )

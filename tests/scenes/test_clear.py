"""Clear sky: the presets as a truth table, dilation in metres."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from toolkit.errors import InputError
from toolkit.scenes.clear import SCL_CLASSES, ClearSky, clear_from_scl

TRUTH = {
    # preset: the classes that are clear
    "default": {2, 4, 5, 6, 7},
    "strict": {4, 5},
    "lenient": {2, 4, 5, 6, 7, 10, 11},
}


@pytest.mark.parametrize("preset", TRUTH)
def test_each_class_is_clear_or_not_as_the_preset_says(preset):
    scl = np.array([sorted(SCL_CLASSES)], np.uint8)
    clear = clear_from_scl(scl, ClearSky(preset), resolution=20)
    assert {value for value, fine in zip(scl[0].tolist(), clear[0], strict=True) if fine} == TRUTH[preset]


def test_values_that_are_no_class_are_not_clear():
    assert not clear_from_scl(np.array([[12, 99, 255]], np.uint8), ClearSky("lenient"), resolution=20).any()


@pytest.mark.parametrize(("dilation", "lost"), [(0, 1), (9, 1), (10, 5), (14, 5), (15, 9), (20, 13)])
def test_a_cloud_grows_to_the_centres_within_the_distance(dilation, lost):
    scl = np.full((9, 9), 4, np.uint8)
    scl[4, 4] = 9
    clear = clear_from_scl(scl, ClearSky("default", dilation), resolution=10)
    assert (~clear).sum() == lost


def test_nodata_and_snow_do_not_grow():
    scl = np.full((5, 5), 4, np.uint8)
    scl[2, 2], scl[0, 0] = 0, 11
    assert (~clear_from_scl(scl, ClearSky("default", 100), resolution=10)).sum() == 2


@given(hnp.arrays(np.uint8, (3, 6, 6), elements=st.integers(0, 11)), st.floats(0, 80))
def test_dates_do_not_influence_each_other(scl, dilation):
    sky = ClearSky("default", dilation)
    whole = clear_from_scl(scl, sky, resolution=10)
    alone = np.stack([clear_from_scl(plane, sky, resolution=10) for plane in scl])
    np.testing.assert_array_equal(whole, alone)


def test_unknown_presets_list_the_known():
    with pytest.raises(InputError, match="Known presets: default, strict, lenient"):
        ClearSky("sunny")

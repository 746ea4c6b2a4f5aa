"""Lines through the soils of a place: what was added is found, whatever the moisture and the light."""

import numpy as np
import pytest

from toolkit.scenes.offset_evidence import CHECK_BANDS
from toolkit.scenes.soil_lines import soil_blocks, soil_line, soil_links, soil_meetings
from toolkit.scenes.soil_sums import state_by_sums

SOIL = np.array([0.2, 0.28, 0.45])
DRYING = np.array([0.18, 0.25, 0.35])
"""What a dry soil reflects, and what wetting takes from it, in blue, red and SWIR."""


def place(wetness, added):
    """Blocks of 16 fields of 8 x 8 pixels, which differ in brightness, for dates of known wetness."""
    rng = np.random.default_rng(1)
    bright = np.kron(rng.uniform(0.5, 1.2, (4, 4)), np.ones((8, 8)))
    wet = np.asarray(wetness)[:, None, None, None]
    values = (SOIL[None, :, None, None] - wet * DRYING[None, :, None, None]) * bright
    values = values * (1 + rng.normal(0, 0.01, values.shape)) + np.asarray(added)[:, None, None, None]
    numbers = {band: np.rint(values[:, i] * 1e4).astype(np.uint16) for i, band in enumerate(CHECK_BANDS)}
    return numbers, np.full((len(wetness), 32, 32), 5, np.uint8)


def test_blue_against_swir_meets_the_diagonal_at_what_was_added():
    lines = soil_meetings(soil_blocks(*place([0, 0.3, 0.6], [0.0, 0.1, 0.0])))
    assert [lines[t].meeting for t in range(3)] == pytest.approx([0.0, 0.1, 0.0], abs=0.01)
    assert all(line.meeting_error < 0.01 for line in lines.values())


def test_dates_of_like_moisture_are_linked_and_the_step_between_them_is_seen():
    links = soil_links(soil_blocks(*place([0.1, 0.2, 0.15], [0.0, 0.1, 0.0])))
    assert {(one.first, one.second): one.steps for one in links} == {(0, 1): 1, (0, 2): 0, (1, 2): -1}


def test_dates_that_differ_in_moisture_are_not_linked_but_tell_a_third():
    blocks = soil_blocks(*place([0.0, 0.8, 0.4], [0.0, 0.0, 0.1]))
    assert soil_links(blocks) == []
    assert state_by_sums(blocks, 2, {0: 0, 1: 0}) == 1
    assert state_by_sums(blocks, 2, {0: 0}) is None


def test_blocks_beside_cloud_or_with_clipped_pixels_are_left_out():
    numbers, scl = place([0.1], [0.0])
    scl[0, 0, 0] = 9
    numbers["B02"][0, 31, 31] = 1
    values = soil_blocks(numbers, scl).values[0, 0].reshape(8, 8)
    assert np.isnan(values[:2, :2]).all()
    assert np.isnan(values[7, 7])
    assert np.isfinite(values).sum() == 64 - 5


def test_few_or_scattered_blocks_make_no_line():
    cells = np.arange(16)
    rng = np.random.default_rng(2)
    assert soil_line(cells[:5] * 0.1, cells[:5] * 0.1, cells[:5]) is None
    assert soil_line(rng.random(16), rng.random(16), cells) is None
    assert soil_line(np.full(16, 0.2), np.full(16, 0.1), cells) is None

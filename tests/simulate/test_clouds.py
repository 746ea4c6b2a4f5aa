"""Clouds: the amount asked for, shadows away from the sun, a sun where it stands."""

import numpy as np
import pytest

from toolkit.simulate.clouds import VISIBLE, Sun, cloud_amounts, draw_sky, sun_position
from toolkit.simulate.streams import stream


def test_amounts_have_the_mean_asked_for_and_run_from_clear_to_overcast():
    amounts = cloud_amounts(45, 0.37, stream(0, "amounts"))
    assert abs(amounts.mean() - 0.37) < 0.03
    assert amounts.min() < 0.05
    assert amounts.max() > 0.9


@pytest.mark.parametrize("amount", [0.0, 0.2, 0.6, 1.0])
def test_the_share_of_visibly_cloudy_pixels_is_the_amount(amount):
    sky = draw_sky((128, 160), amount, Sun(azimuth=135, elevation=50), stream(1, "sky"))
    assert np.mean(sky.cloud >= VISIBLE) == pytest.approx(amount, abs=0.01)
    assert 0 <= sky.shadow.min() <= sky.shadow.max() <= 1


@pytest.mark.parametrize(("azimuth", "side"), [(135.0, (-1, -1)), (45.0, (1, -1))])
def test_shadows_lie_on_the_side_away_from_the_sun(azimuth, side):
    # One date, its clouds compared with its shadows at all displacements: the best one says where.
    sky = draw_sky((200, 200), 0.15, Sun(azimuth=azimuth, elevation=60), stream(4, "sky"))
    cloud, shadow = (field - field.mean() for field in (sky.cloud, sky.shadow))
    match = np.fft.ifft2(np.fft.fft2(shadow) * np.conj(np.fft.fft2(cloud))).real
    rows, columns = np.unravel_index(np.argmax(match), match.shape)
    moved = [int(v if v < 100 else v - 200) for v in (rows, columns)]
    assert np.sign(moved).tolist() == list(side)


def test_the_sun_stands_south_east_in_the_north_and_north_east_in_the_south():
    north, south = sun_position(172, 31.0), sun_position(355, -28.5)
    assert 60 < north.elevation < 80
    assert 90 < north.azimuth < 180
    assert 60 < south.elevation < 80
    assert 45 < south.azimuth < 100
    assert sun_position(355, 31.0).elevation < 40

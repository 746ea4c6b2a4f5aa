"""The table of sensors."""

import pytest

from toolkit.catalog.bands import SENSOR_BANDS
from toolkit.errors import BandError, InputError
from toolkit.scenes.sensors import SENSORS, resolve_bands


def test_every_band_of_every_sensor_has_asset_keys():
    for sensor in SENSORS.values():
        assert {*sensor.bands, sensor.quality} == set(SENSOR_BANDS[sensor.name])


def test_all_bands_by_default_in_the_order_of_the_paper():
    assert resolve_bands("sentinel-2", None) == (
        "B02",
        "B03",
        "B04",
        "B05",
        "B06",
        "B07",
        "B08",
        "B8A",
        "B11",
        "B12",
    )


def test_unknown_names_list_the_known():
    with pytest.raises(BandError, match=r"Bands \['B99'\] are unknown to sentinel-2. Known bands: B02"):
        resolve_bands("sentinel-2", ("B02", "B99"))
    with pytest.raises(InputError, match="Known sensors: sentinel-2"):
        resolve_bands("sentinel-9", None)

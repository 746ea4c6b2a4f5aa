"""The table of sensors."""

import pytest

from toolkit.catalog.bands import QUALITY_LAYER, SENSOR_BANDS
from toolkit.errors import BandError, InputError
from toolkit.scenes.sensors import SENSORS, resolve_bands


def test_every_band_of_sentinel_2_has_asset_keys():
    sensor = SENSORS["sentinel-2"]
    assert {*sensor.bands, sensor.quality} == set(SENSOR_BANDS["sentinel-2"])


def test_all_bands_of_emit_lie_in_one_asset_and_the_mask_in_another():
    assert SENSOR_BANDS["emit"] == ("reflectance",)
    assert SENSORS["emit"].quality == QUALITY_LAYER["emit"] == "mask"
    assert len(SENSORS["emit"].bands) == 244


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
    with pytest.raises(BandError, match=r"Known bands: 381.0 to 2492.9 nm \(244 bands\)"):
        resolve_bands("emit", ("B02",))

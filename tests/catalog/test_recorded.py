"""What live catalogs really answered: items come out in one layout, searches in full."""

from datetime import UTC, datetime

import pytest

from tests.catalog.recorded import FOLDERS, as_found, features, responses
from toolkit.catalog.bands import SENSOR_BANDS
from toolkit.catalog.items import when
from toolkit.catalog.paging import number_matched
from toolkit.scenes.radiometry import radiometric_offset

BANDS = set(SENSOR_BANDS["sentinel-2"])


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_band_is_found_under_its_own_name_with_type_and_nodata(shared_data, folder):
    seen = 0
    for _, feature in features(shared_data, folder):
        item = as_found(feature, FOLDERS[folder])
        assert set(item.assets) == BANDS, feature["id"]
        for band, asset in item.assets.items():
            numbers = asset.extra_fields["raster:bands"][0]
            assert numbers["nodata"] == 0
            assert numbers["data_type"] == ("uint8" if band == "SCL" else "uint16")
        seen += 1
    assert seen >= 4


@pytest.mark.parametrize("folder", FOLDERS)
def test_reflectance_is_read_at_10_and_20_m(shared_data, folder):
    for _, feature in features(shared_data, folder):
        for band, asset in as_found(feature, FOLDERS[folder]).assets.items():
            edge = asset.extra_fields.get("proj:shape", [0])[0]
            fine = band in ("B02", "B03", "B04", "B08")
            assert edge in (0, 10980 if fine else 5490), (feature["id"], band)


@pytest.mark.parametrize("folder", FOLDERS)
def test_grid_date_tile_and_baseline_have_one_name_everywhere(shared_data, folder):
    for _, feature in features(shared_data, folder):
        item, old = as_found(feature, FOLDERS[folder]), feature["properties"]
        tile = item.properties["grid:code"].removeprefix("MGRS-")
        assert tile in feature["id"] or tile in feature["id"].replace("_", "T")
        hemisphere = 32600 if tile[2] >= "N" else 32700
        assert item.properties["proj:code"] == f"EPSG:{hemisphere + int(tile[:2])}"
        assert item.datetime == when(item) == datetime.fromisoformat(old["datetime"])
        assert item.datetime.tzinfo is UTC
        assert 2 <= float(item.properties["s2:processing_baseline"]) < 6
        assert item.properties["s2:datatake_id"].startswith("GS2")
        assert item.properties["platform"] in ("sentinel-2a", "sentinel-2b", "sentinel-2c")
        assert "proj:epsg" not in item.properties


OFFSETS = {
    ("earth-search", "sentinel-2-c1-l2a"): lambda _: -0.1,
    ("earth-search", "sentinel-2-pre-c1-l2a"): lambda _: -0.1,
    ("earth-search", "sentinel-2-l2a"): lambda _: 0.0,  # old ones have none, new ones are corrected
    ("planetary-computer", "sentinel-2-l2a"): lambda baseline: 0.0 if baseline < 4 else -0.1,
    ("cdse", "sentinel-2-l2a"): lambda _: -0.1,
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_offset_is_what_the_readme_of_the_recordings_says(shared_data, folder):
    for collection, feature in features(shared_data, folder):
        item = as_found(feature, FOLDERS[folder])
        baseline = float(item.properties["s2:processing_baseline"])
        expected = OFFSETS[FOLDERS[folder], collection](baseline)
        assert radiometric_offset(item) == expected, feature["id"]


CATALOG_OF = {"earth-search": "earth-search", "planetarycomputer": "planetary-computer", "stac": "cdse"}


def test_items_of_recorded_searches_come_out_like_the_others(shared_data):
    counts = {}
    for name, _, status, body in responses(shared_data):
        catalog = CATALOG_OF[name.split("_")[0]]
        assert status["code"] == 200
        for feature in body.get("features", []):
            item = as_found(feature, catalog)
            baseline = float(item.properties["s2:processing_baseline"])
            assert radiometric_offset(item) == OFFSETS[catalog, feature["collection"]](baseline)
            counts[catalog] = counts.get(catalog, 0) + 1
        if "_search_" in name:
            assert number_matched(body) == {"earth-search": 16, "planetary-computer": 33}.get(catalog)
    assert counts == {"earth-search": 16, "planetary-computer": 3, "cdse": 4}

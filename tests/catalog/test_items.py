"""Items in one layout, saved and read back."""

from datetime import UTC, datetime

import pystac
import pytest
from shapely.geometry import box

from tests.conftest import make_scene
from toolkit.catalog.guard import Guard
from toolkit.catalog.items import band_keys, intersects, is_simulated, normalise
from toolkit.catalog.profiles import resolve_profile
from toolkit.catalog.saved_items import read_items, write_items
from toolkit.errors import InputError, UnsafeReferenceError

WHEN = datetime(2021, 6, 1, 10, 50, tzinfo=UTC)


def plain(item, folder):
    profile = resolve_profile(str(folder / "catalog.json"))
    return normalise(item, band_keys(item, profile.asset_keys), profile, Guard(profile.url))


def test_normalised_item_keeps_what_loading_needs_and_drops_the_rest(tmp_path):
    item = make_scene(tmp_path, "a", WHEN)
    item.add_asset("thumbnail", pystac.Asset("/etc/passwd"))
    found = plain(item, tmp_path)
    assert list(found.assets) == ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12", "SCL"]
    assert found.assets["B05"].extra_fields["proj:shape"] == [16, 16]
    assert found.assets["SCL"].extra_fields["raster:bands"][0]["data_type"] == "uint8"


def test_missing_nodata_and_type_are_completed(tmp_path):
    item = make_scene(tmp_path, "a", WHEN)
    for asset in item.assets.values():
        del asset.extra_fields["raster:bands"]
    found = plain(item, tmp_path)
    assert found.assets["B02"].extra_fields["raster:bands"] == [{"nodata": 0, "data_type": "uint16"}]


def test_band_that_points_outside_the_catalog_is_refused(tmp_path):
    item = make_scene(tmp_path / "catalog", "a", WHEN)
    item.assets["red"].href = str(tmp_path / "elsewhere.tif")
    with pytest.raises(UnsafeReferenceError):
        plain(item, tmp_path / "catalog")


def test_saved_items_come_back_equal(scene, tmp_path):
    items = pystac.ItemCollection(
        [scene("a", WHEN), scene("b", WHEN)], extra_fields={"skipped": {"cloudy": ["c"]}}
    )
    again = read_items(write_items(items, tmp_path / "items.json"))
    for before, after in zip(items, again, strict=True):
        assert (after.id, after.datetime, after.bbox) == (before.id, before.datetime, before.bbox)
        assert (
            after.properties.items() >= {"platform": "sentinel-2a", "s2:processing_baseline": "05.11"}.items()
        )
        assert {k: a.to_dict() for k, a in after.assets.items()} == {
            k: a.to_dict() for k, a in before.assets.items()
        }
    assert again.extra_fields == items.extra_fields
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("text", [None, "", "[]", '{"type": "Feature"}'])
def test_files_that_hold_no_items_are_refused(tmp_path, text):
    path = tmp_path / "items.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match="holds no saved items"):
        read_items(path)


def test_footprints_are_compared_not_boxes(scene):
    item = scene("a", WHEN)
    west, south, east, north = item.bbox
    assert intersects(item, box(west, south, east, north))
    assert not intersects(item, box(east + 0.01, south, east + 0.02, north))


def test_simulated_items_say_so(scene):
    assert is_simulated(scene("a", WHEN, properties={"cropglobe:simulated": True}))
    assert not is_simulated(scene("b", WHEN))

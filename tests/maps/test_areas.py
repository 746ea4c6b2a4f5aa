"""Areas: what pixels say, by class and by zone, in tables that any program reads."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from odc.geo.xr import xr_coords

from toolkit.errors import StorageError
from toolkit.legend import CROPGLOBE, CropClass, Legend
from toolkit.maps import areas
from toolkit.maps.areas import (
    areas_by_zone,
    class_areas,
    count_values,
    hectares_by_crop,
    write_areas,
    write_zones,
)
from toolkit.maps.geotiff import write_crop_map


def crop_map(values, geobox, folder, legend=CROPGLOBE):
    labels = xr.Dataset({"crop": (("y", "x"), values)}, coords=xr_coords(geobox))
    return write_crop_map(labels, folder / "crop_map.tif", legend)


@pytest.fixture
def halves(geobox):
    """32 x 32 pixels of 10 m: corn in the west, wheat in the east, the northernmost row without data."""
    values = np.ones(geobox.shape.yx, np.uint8)
    values[:, 16:] = 4
    values[0] = 0
    return values


def polygons(boxes, geobox, **columns):
    """Boxes in pixels (west, south, east, north from the grid's upper left corner) as polygons in degrees."""
    place = geobox.boundingbox
    shapes = [
        shapely.box(place.left + 10 * w, place.top - 10 * s, place.left + 10 * e, place.top - 10 * n)
        for w, s, e, n in boxes
    ]
    return gpd.GeoDataFrame(columns, geometry=shapes, crs=str(geobox.crs)).to_crs("EPSG:4326")


def test_values_are_counted_as_numpy_counts_them(monkeypatch):
    values = np.random.default_rng(0).integers(0, 256, (37, 41)).astype(np.uint8)
    monkeypatch.setattr(areas, "STRIP", 100)
    np.testing.assert_array_equal(count_values(values), np.bincount(values.ravel(), minlength=256))
    np.testing.assert_array_equal(count_values(values[:0]), np.zeros(256))


def test_pixels_hectares_and_shares_of_each_class(halves, geobox, tmp_path):
    path = crop_map(halves, geobox, tmp_path)
    found = {area.name: area for area in class_areas(path, CROPGLOBE)}
    assert list(found) == list(CROPGLOBE.names)
    assert (found["corn"].pixels, found["corn"].hectares) == (496, pytest.approx(4.96))
    assert found["wheat"].share == 0.5
    assert (found["rice"].pixels, found["rice"].share) == (0, 0)
    assert hectares_by_crop(class_areas(path, CROPGLOBE))["corn"] == 4.96


def test_table_reads_back_as_numbers(halves, geobox, tmp_path):
    path = crop_map(halves, geobox, tmp_path)
    table = pd.read_csv(write_areas(class_areas(path, CROPGLOBE), tmp_path / "areas.csv"))
    assert list(table.columns) == ["class", "pixels", "hectares", "share"]
    assert table["class"].tolist() == list(CROPGLOBE.names)
    assert table.pixels.sum() == 31 * 32
    assert table.share.sum() == pytest.approx(1)
    assert table.set_index("class").hectares["wheat"] == pytest.approx(4.96)


def test_a_map_without_any_class_has_no_shares(geobox, tmp_path):
    path = crop_map(np.zeros(geobox.shape.yx, np.uint8), geobox, tmp_path)
    table = pd.read_csv(write_areas(class_areas(path, CROPGLOBE), tmp_path / "areas.csv"))
    assert table.share.isna().all()
    assert (table.pixels == 0).all()


def test_class_names_with_commas_stay_one_cell(geobox, tmp_path):
    legend = Legend((CropClass('wheat, "winter"', (1, 2, 3)),))
    path = crop_map(np.ones(geobox.shape.yx, np.uint8), geobox, tmp_path, legend)
    table = pd.read_csv(write_areas(class_areas(path, legend), tmp_path / "areas.csv"))
    assert table["class"].tolist() == ['wheat, "winter"']


def test_zones_count_the_pixels_whose_centre_they_hold(halves, geobox, tmp_path):
    path = crop_map(halves, geobox, tmp_path)
    boxes = [(14, 12, 20, 2), (14, 12, 20, 2), (-50, 5, 1, -50), (200, 20, 210, 0)]
    zones = polygons(boxes, geobox, name=["a", "a again", "corner", "beside"])
    found = list(areas_by_zone(path, zones, CROPGLOBE))
    counts = [{area.name: area.pixels for area in zone.classes if area.pixels} for zone in found]
    # two columns of corn and four of wheat in ten rows; zones may overlap, stick out or lie beside the map
    assert counts == [{"corn": 20, "wheat": 40}, {"corn": 20, "wheat": 40}, {"corn": 4}, {}]
    assert [zone.name for zone in found] == ["a", "a again", "corner", "beside"]
    assert found[0].hectares == pytest.approx(0.6, rel=2e-3)  # a UTM zone stretches areas by 0.2 % at most
    assert found[2].hectares == pytest.approx(51 * 55 / 100, rel=2e-3)


def test_a_large_zone_is_counted_part_by_part(halves, geobox, tmp_path, monkeypatch):
    path = crop_map(halves, geobox, tmp_path)
    triangle = gpd.GeoDataFrame(
        {"id": [7]},
        # 3 m off the corners of the grid, so that no centre lies on an edge
        geometry=[shapely.Polygon([(599997, 5599997), (600317, 5599997), (599997, 5600317)])],
        crs="EPSG:32631",
    ).to_crs("EPSG:4326")
    (whole,) = areas_by_zone(path, triangle, CROPGLOBE)
    monkeypatch.setattr(areas, "WINDOW", 5)
    (parts,) = areas_by_zone(path, triangle, CROPGLOBE)
    assert whole == parts
    assert whole.name == "7"
    assert sum(area.pixels for area in whole.classes) == 32 * 31 // 2  # below the diagonal


def test_a_zone_on_the_other_side_of_the_earth_holds_nothing(halves, geobox, tmp_path):
    path = crop_map(halves, geobox, tmp_path)
    far = gpd.GeoDataFrame({"name": [None]}, geometry=[shapely.box(-178, -52, -177, -51)], crs="EPSG:4326")
    (zone,) = areas_by_zone(path, far, CROPGLOBE)
    assert sum(area.pixels for area in zone.classes) == 0
    assert zone.name == ""
    assert zone.hectares > 700_000


def test_tables_are_whole_or_not_there(halves, geobox, tmp_path):
    path = crop_map(halves, geobox, tmp_path)

    def failing():
        yield from areas_by_zone(path, polygons([(0, 9, 9, 0)], geobox), CROPGLOBE)
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write_zones(failing(), tmp_path / "zones.csv")
    assert not list(tmp_path.glob("*zones*"))
    with pytest.raises(StorageError, match="cannot be written"):
        write_areas(class_areas(path, CROPGLOBE), tmp_path / "none" / "areas.csv")


def test_table_of_zones_has_a_row_for_each_zone_and_class(halves, geobox, tmp_path):
    path = crop_map(halves, geobox, tmp_path)
    zones = polygons([(14, 12, 20, 2), (200, 20, 210, 0)], geobox)
    table = pd.read_csv(write_zones(areas_by_zone(path, zones, CROPGLOBE), tmp_path / "zones.csv"))
    assert list(table.columns) == [
        *("zone", "name", "zone_hectares", "class", "pixels", "hectares", "share"),
    ]
    assert len(table) == 2 * 7
    first = table[table.zone == 1].set_index("class")
    assert first.share["wheat"] == pytest.approx(2 / 3, abs=1e-6)
    assert first.hectares["corn"] == pytest.approx(0.2)
    assert table[table.zone == 2].share.isna().all()

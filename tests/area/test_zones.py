"""UTM zones: an area is cut into disjoint parts that together are the area, on both sides of 180 degrees."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import box

from toolkit.area.aoi import AOI, read_aoi, square_metres
from toolkit.area.grid import output_geobox
from toolkit.area.zones import needs_zones, split_by_zone, zone_cell, zone_of, zones_of
from toolkit.errors import AreaError

corner = st.tuples(st.floats(-180, 180), st.floats(-79, 83.9))
triangles = st.tuples(corner, st.tuples(st.floats(0.2, 20), st.floats(0.2, 8)), st.floats(0, 1))


def triangle(corner, size, lean):
    (lon, lat), (width, height) = corner, size
    top = min(lat + height, 83.95)
    return shapely.Polygon([(lon, lat), (lon + width, lat), (lon + lean * width, top)])


@given(st.floats(-180, 179.999), st.floats(-79.9, 83.9))
def test_a_place_lies_in_the_cell_of_its_zone_and_in_no_other(lon, lat):
    code = int(zone_of(np.array(lon), np.array(lat)))
    assert shapely.intersects_xy(zone_cell(code), lon, lat)
    point = shapely.Point(lon, lat)
    others = [base + number for base in (32600, 32700) for number in range(1, 61) if base + number != code]
    assert not any(shapely.contains(zone_cell(other), point) for other in others)


def test_cells_of_all_zones_cover_the_globe_once():
    cells = [zone_cell(base + number) for base in (32600, 32700) for number in range(1, 61)]
    assert sum(cell.area for cell in cells) == pytest.approx(360 * 164)
    assert shapely.union_all(cells).equals(box(-180, -80, 180, 84))


@given(triangles)
@settings(max_examples=60)
def test_parts_and_slivers_are_disjoint_and_together_the_area(drawn):
    aoi = read_aoi(triangle(*drawn))
    parts, slivers = split_by_zone(aoi)
    shapes = [part.area.geometry for part in parts] + [sliver.geometry for sliver in slivers]
    assert sum(shape.area for shape in shapes) == pytest.approx(aoi.geometry.area, rel=1e-9)
    assert shapely.symmetric_difference(shapely.union_all(shapes), aoi.geometry).area < 1e-9
    for part in parts:
        assert shapely.covers(zone_cell(part.epsg), part.area.geometry)
        assert shapely.difference(part.area.geometry, part.with_overlap.geometry).area < 1e-12
        assert shapely.difference(part.with_overlap.geometry, aoi.geometry).area < 1e-12
    for sliver in slivers:
        assert square_metres(sliver.geometry) < 100
        assert f"EPSG:{sliver.epsg}" in sliver.reason


@given(triangles)
@settings(max_examples=25)
def test_an_area_in_one_zone_is_one_map_and_parts_are_too(drawn):
    aoi = read_aoi(triangle(*drawn))
    if len(zones_of(aoi)) == 1:
        assert not needs_zones(aoi)
    for part in split_by_zone(aoi)[0]:
        assert output_geobox(part.with_overlap, resolution=2000, crs=f"EPSG:{part.epsg}").shape.x > 0


@pytest.mark.parametrize(
    ("area", "zones"),
    [
        (box(5, 50, 8, 51), (32631, 32632)),
        (box(2, 58, 5, 59), (32631, 32632)),  # Norway: zone 32 begins at 3 degrees
        (box(8, 78, 10, 79), (32631, 32633)),  # Svalbard has no zone 32
        (box(36, -2, 38, 2), (32637, 32737)),
        (box(178, -19, 182, -16), (32760, 32701)),
    ],
)
def test_zones_are_told_from_west_to_east(area, zones):
    assert zones_of(read_aoi(area)) == zones


def test_a_small_reach_into_a_neighbour_is_one_map_and_a_larger_one_is_not():
    assert not needs_zones(AOI(box(3, 50, 6.49, 51)))
    assert output_geobox(AOI(box(3, 50, 6.49, 51)), resolution=100).crs.epsg == 32631
    assert needs_zones(AOI(box(3, 50, 6.51, 51)))
    assert not needs_zones(AOI(box(36, -0.49, 38, 2)))
    with pytest.raises(AreaError, match=r"2 UTM zones \(EPSG:32631, EPSG:32632\).*--crs EPSG:32631"):
        output_geobox(AOI(box(3, 50, 6.51, 51)))
    assert output_geobox(AOI(box(3, 50, 6.51, 51)), resolution=100, crs="EPSG:32631").crs.epsg == 32631


def test_a_sliver_is_left_out_with_its_reason():
    parts, slivers = split_by_zone(AOI(box(4, 50, 6.00001, 50.00001)))
    assert [part.epsg for part in parts] == [32631]
    assert [sliver.epsg for sliver in slivers] == [32632]
    assert "less than a pixel of 10 m" in slivers[0].reason


def test_an_area_beyond_the_zones_is_refused():
    with pytest.raises(AreaError, match="UTM zones end at -80 and 84"):
        split_by_zone(AOI(box(10, 80, 20, 85)))


def test_the_zone_of_a_small_area_across_180_degrees_is_that_of_its_centre():
    fiji = read_aoi(box(179.9, -17, 180.05, -16.9))
    assert fiji.centre == pytest.approx((179.975, -16.95))
    grid = output_geobox(fiji, resolution=100)
    assert grid.crs.epsg == 32760
    assert grid.shape.x * 100 == pytest.approx(0.15 * 111_320 * np.cos(np.radians(17)), rel=0.03)


def test_overlaps_reach_two_pixels_beyond_the_edge_of_a_zone():
    west, east = split_by_zone(AOI(box(5, 60.9, 13, 61)), resolution=10)[0]
    shared = shapely.intersection(west.with_overlap.geometry, east.with_overlap.geometry)
    left, _, right, _ = shared.bounds
    assert (left + right) / 2 == pytest.approx(12)
    assert (right - left) * 111_320 * np.cos(np.radians(61)) >= 40

"""Areas of interest: what is read, and what is refused."""

import json

import geopandas as gpd
import pytest
import shapely
from shapely.geometry import box, mapping

from toolkit.area.aoi import read_aoi, read_polygons
from toolkit.errors import AreaError, GeometryRepairedWarning

SQUARE = box(4.0, 50.0, 4.1, 50.1)


def geojson(path, *shapes, **properties):
    features = [{"type": "Feature", "properties": properties, "geometry": mapping(shape)} for shape in shapes]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_geojson_geopackage_and_geoparquet_give_the_same_area(tmp_path):
    frame = gpd.GeoDataFrame(geometry=[SQUARE], crs="EPSG:4326")
    frame.to_file(tmp_path / "a.gpkg")
    frame.to_file(tmp_path / "a.geojson")
    areas = [read_aoi(tmp_path / "a.gpkg"), read_aoi(tmp_path / "a.geojson")]
    assert all(area.geometry.equals_exact(SQUARE, 1e-6) or area.geometry.equals(SQUARE) for area in areas)


def test_projected_file_comes_out_in_degrees(tmp_path):
    gpd.GeoDataFrame(geometry=[SQUARE], crs="EPSG:4326").to_crs("EPSG:32631").to_file(tmp_path / "a.gpkg")
    assert read_aoi(tmp_path / "a.gpkg").bounds == pytest.approx(SQUARE.bounds, abs=1e-6)


def test_several_polygons_are_joined_and_heights_dropped(tmp_path):
    high = shapely.force_3d(box(4.2, 50.0, 4.3, 50.1), 12.0)
    area = read_aoi(geojson(tmp_path / "a.geojson", SQUARE, box(4.05, 50.0, 4.2, 50.1), high))
    assert area.geometry.area == pytest.approx(0.03)
    assert not area.geometry.has_z


def test_geometry_and_mapping_are_accepted_directly():
    assert read_aoi(SQUARE).geometry == read_aoi(mapping(SQUARE)).geometry
    feature = {"type": "Feature", "geometry": mapping(SQUARE), "properties": {}}
    assert read_aoi({"type": "FeatureCollection", "features": [feature]}).bounds == SQUARE.bounds


@pytest.mark.parametrize(("south", "hemisphere"), [(50.0, "north"), (-20.0, "south")])
def test_hemisphere_is_that_of_the_centre(south, hemisphere):
    assert read_aoi(box(4, south, 5, south + 1)).hemisphere == hemisphere


def test_missing_file_is_named(tmp_path):
    with pytest.raises(AreaError, match=r"There is no file '.*nowhere.geojson'"):
        read_aoi(tmp_path / "nowhere.geojson")


def test_file_without_polygon_says_what_it_holds(tmp_path):
    with pytest.raises(AreaError, match=r"holds no polygon, only \['Point'\]"):
        read_aoi(geojson(tmp_path / "a.geojson", shapely.Point(4, 50)))


def test_empty_collection_is_refused(tmp_path):
    (tmp_path / "a.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(AreaError, match="holds no polygon"):
        read_aoi(tmp_path / "a.geojson")


def test_text_that_is_no_geojson_is_refused(tmp_path):
    (tmp_path / "a.geojson").write_text("not json")
    with pytest.raises(AreaError, match="cannot be read as a vector file"):
        read_aoi(tmp_path / "a.geojson")


@pytest.mark.parametrize("suffix", [".kml", ".vrt", ".txt"])
def test_formats_that_may_hold_scripts_are_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_text("x")
    with pytest.raises(AreaError, match="not a known vector format"):
        read_aoi(path)


def test_swapped_coordinates_are_recognised(tmp_path):
    louisiana = box(30.8, -91.6, 30.9, -91.5)  # latitude first
    with pytest.raises(AreaError, match="look swapped"):
        read_aoi(geojson(tmp_path / "a.geojson", louisiana))


def test_metres_in_a_geojson_are_recognised(tmp_path):
    with pytest.raises(AreaError, match="are not degrees"):
        read_aoi(geojson(tmp_path / "a.geojson", box(574680, 5621800, 575320, 5622440)))


def test_small_self_crossing_is_repaired_with_a_warning(tmp_path):
    spike = shapely.Polygon(
        [(4, 50), (4.1, 50), (4.1, 50.1), (4.0, 50.1), (4.0, 50.05), (4.00001, 50.05), (4.0, 50.06)]
    )
    spike = (
        spike
        if not spike.is_valid
        else shapely.Polygon(
            [(4, 50), (5, 50), (5, 51), (4.0001, 51), (3.9999, 51.0001), (4, 51), (4.0002, 51.0001)]
        )
    )
    with pytest.warns(GeometryRepairedWarning, match="has been repaired"):
        area = read_aoi(geojson(tmp_path / "a.geojson", spike))
    assert area.geometry.is_valid


def test_bow_tie_that_would_change_its_area_is_refused(tmp_path):
    bow_tie = shapely.Polygon([(4, 50), (5, 51), (5, 50), (4, 51)])
    with pytest.raises(AreaError, match="crosses itself"):
        read_aoi(geojson(tmp_path / "a.geojson", bow_tie))


def test_properties_of_polygons_are_kept(tmp_path):
    frame = read_polygons(geojson(tmp_path / "f.geojson", SQUARE, crop="wheat"))
    assert frame.crop.tolist() == ["wheat"]


def test_an_area_across_the_antimeridian_is_cut_in_two(tmp_path):
    path = geojson(tmp_path / "fiji.geojson", box(178, -19, 182, -16))
    expected = shapely.union_all([box(178, -19, 180, -16), box(-180, -19, -178, -16)])
    assert read_aoi(path).geometry.equals(expected)
    assert read_aoi(box(-182, -19, -178, -16)).geometry.equals(expected)
    assert read_aoi(box(179, -19, 180, -16)).geometry.equals(box(179, -19, 180, -16))


FIJI = shapely.union_all([box(178, -19, 180, -16), box(-180, -19, -178, -16)])


def test_longitudes_that_jump_at_180_degrees_mean_the_short_way(tmp_path):
    jumping = shapely.Polygon([(178, -19), (-178, -19), (-178, -16), (178, -16)])
    assert read_aoi(jumping).geometry.equals(FIJI)
    assert read_aoi(geojson(tmp_path / "fiji.geojson", jumping)).geometry.equals(FIJI)
    assert read_aoi(FIJI).geometry.equals(FIJI)


def test_holes_stay_on_either_side_of_180_degrees():
    jumping = shapely.Polygon(
        [(178, -19), (-178, -19), (-178, -16), (178, -16)],
        [
            [(-179.5, -18), (-179, -18), (-179, -17)],
            [(179.9, -18.5), (-179.9, -18.5), (-179.9, -18.4), (179.9, -18.4)],
        ],
    )
    area = read_aoi(jumping)
    assert area.geometry.area == pytest.approx(12 - 0.25 - 0.02)
    assert not area.geometry.contains(shapely.Point(-179.1, -17.8))


def test_a_projected_file_across_180_degrees_comes_out_in_two_parts(tmp_path):
    turned = gpd.GeoDataFrame(geometry=[box(178, -19, 182, -16)], crs="EPSG:4326").to_crs("EPSG:3832")
    turned.to_file(tmp_path / "fiji.gpkg")
    area = read_aoi(tmp_path / "fiji.gpkg")
    assert area.geometry.symmetric_difference(FIJI).area < 1e-6
    assert area.unbroken.bounds == pytest.approx((178, -19, 182, -16))
    assert area.centre[0] == pytest.approx(-180)


def test_the_whole_globe_is_no_jump():
    globe = box(-180, -60, 180, 80)
    assert read_aoi(globe).geometry.equals(globe)
    assert read_aoi(globe).unbroken.equals(globe)

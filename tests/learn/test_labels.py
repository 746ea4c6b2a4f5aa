"""Fields and label rasters on a grid."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox

from toolkit.errors import AreaError, LabelError
from toolkit.learn.code_classes import CodeClasses
from toolkit.learn.grids import degrees
from toolkit.learn.labels import rasterize_fields, read_label_raster, thin_labels

LEFT, TOP = 600000, 4600200


def box(row: int, column: int, height: int, width: int) -> shapely.Polygon:
    """A rectangle of whole pixels."""
    x, y = LEFT + 10 * column, TOP - 10 * row
    return shapely.box(x, y - 10 * height, x + 10 * width, y)


def fields(*rows: tuple[str | None, shapely.Geometry]) -> gpd.GeoDataFrame:
    crops, shapes = zip(*rows, strict=True)
    return gpd.GeoDataFrame({"crop": list(crops)}, geometry=list(shapes), crs="EPSG:32615")


def test_a_field_shrinks_by_the_inner_buffer(geobox: GeoBox) -> None:
    frame = fields(("Corn ", box(2, 3, 6, 8)), ("wheat", box(10, 3, 5, 5)))
    labels = rasterize_fields(frame, geobox, inner_buffer_m=10)
    expected = np.zeros((20, 30), np.uint8)
    expected[3:7, 4:10] = 1  # corn is class 0
    expected[11:14, 4:7] = 4  # wheat is class 3
    np.testing.assert_array_equal(labels["crop"], expected)
    np.testing.assert_array_equal(labels["field"], np.where(expected == 4, 2, expected == 1))
    assert labels["crop"].dtype == np.uint8
    assert labels["field"].dtype == np.int32
    assert labels["crop"].odc.geobox == geobox


def test_a_pixel_belongs_to_a_field_if_its_centre_does(geobox: GeoBox) -> None:
    shape = shapely.box(LEFT + 4, TOP - 24, LEFT + 26, TOP - 6)  # centres 5 and 15 and 25 in x
    crop = rasterize_fields(fields(("rice", shape)), geobox, inner_buffer_m=0)["crop"]
    assert np.argwhere(crop.to_numpy()).tolist() == [[1, 0], [1, 1], [1, 2]]


def test_a_pixel_that_two_fields_claim_is_unlabelled(geobox: GeoBox) -> None:
    frame = fields(("corn", box(0, 0, 4, 6)), ("corn", box(0, 4, 4, 6)))
    labels = rasterize_fields(frame, geobox, inner_buffer_m=0)
    assert not labels["crop"][:, 4:6].any()
    assert not labels["field"][:, 4:6].any()
    assert (labels["field"][:4, :4] == 1).all()
    assert (labels["field"][:4, 6:10] == 2).all()


def test_neighbouring_fields_keep_all_their_pixels(geobox: GeoBox) -> None:
    frame = fields(("corn", box(0, 0, 4, 5)), ("rice", box(0, 5, 4, 5)))
    crop = rasterize_fields(frame, geobox, inner_buffer_m=0)["crop"]
    assert (crop[:4, :5] == 1).all()
    assert (crop[:4, 5:10] == 3).all()


def test_fields_in_degrees_and_from_a_file_fall_on_the_same_pixels(geobox: GeoBox, tmp_path: Path) -> None:
    frame = fields(("corn", box(2, 3, 6, 8)), ("wheat", box(10, 3, 5, 5)))
    path = tmp_path / "fields.gpkg"
    frame.to_crs("EPSG:4326").to_file(path)
    expected = rasterize_fields(frame, geobox, inner_buffer_m=4)
    for given in (frame.to_crs("EPSG:4326"), path, str(path)):
        assert rasterize_fields(given, geobox, inner_buffer_m=4).identical(expected)


def test_the_buffer_is_in_metres_on_a_grid_in_degrees() -> None:
    degrees = GeoBox.from_bbox(BoundingBox(-92, 41, -91.99, 41.01, crs="EPSG:4326"), resolution=1e-4)
    field = gpd.GeoDataFrame(
        {"crop": ["corn"]}, geometry=[shapely.box(-91.998, 41.002, -91.992, 41.008)], crs=4326
    )
    plain = rasterize_fields(field, degrees, inner_buffer_m=0)["crop"].to_numpy()
    shrunken = rasterize_fields(field, degrees, inner_buffer_m=100)["crop"].to_numpy()
    lost_rows = plain.any(1).sum() - shrunken.any(1).sum()
    assert lost_rows == pytest.approx(2 * 100 / 11.1, abs=2)  # 1e-4 degrees of latitude: 11.1 m


def test_a_field_mostly_off_the_grid_is_cut(geobox: GeoBox) -> None:
    crop = rasterize_fields(fields(("corn", box(-50, -50, 52, 53))), geobox, inner_buffer_m=0)
    assert int((crop["crop"] > 0).sum()) == 6


@pytest.mark.parametrize(
    ("frame", "options", "match"),
    [
        (fields(("corn", box(0, 0, 5, 5))), {"property": "culture"}, "'culture'. Properties: crop"),
        (
            fields(("maize", box(0, 0, 5, 5)), ("barley", box(6, 0, 5, 5)), (None, box(0, 9, 5, 5))),
            {},
            r"\(empty\) \(1\), barley \(1\), maize \(1\). Known classes: corn.*unknown_codes drop",
        ),
        (fields(("corn", box(500, 0, 5, 5))), {}, "do not overlap: labels lie in"),
        (fields(("corn", box(0, 0, 1, 1))), {}, "No pixel centre lies in exactly one"),
        (fields(("corn", box(0, 0, 5, 5))), {"inner_buffer_m": -1}, "allowed: 0 metres or more"),
        (
            fields(("corn", shapely.LineString([(LEFT, TOP), (LEFT + 9, TOP)]))),
            {},
            "no polygon or point, only",
        ),
        (
            fields(("corn", box(0, 0, 5, 5)), ("rice", shapely.Point(LEFT + 205, TOP - 5))),
            {},
            "1 points beside 1 polygons.*two files",
        ),
        (fields(("3", box(0, 0, 5, 5))), {"classes": {"4": "rice"}}, r"class: 3 \(1\). Known classes"),
        (
            fields(("26", box(0, 0, 5, 5))),
            {"classes": CodeClasses(scheme="usda-cdl")},
            r"of 1 shapes here 0 have a class.*\{'26': 1\} dropped",
        ),
        (fields(("corn", box(0, 0, 5, 5))).set_crs(None, allow_override=True), {}, "have no CRS"),
    ],
)
def test_unusable_fields_are_refused(
    frame: gpd.GeoDataFrame, options: dict[str, object], match: str, geobox: GeoBox
) -> None:
    with pytest.raises(LabelError, match=match):
        rasterize_fields(frame, geobox, **options)


def test_a_missing_field_file_is_refused(geobox: GeoBox, tmp_path: Path) -> None:
    with pytest.raises(AreaError, match="There is no file"):
        rasterize_fields(tmp_path / "none.gpkg", geobox)


def write_raster(path: Path, codes: np.ndarray, *, crs: str | None = "EPSG:32615", **extra) -> Path:
    """Write codes with 10 m pixels from the grid's corner, or as told."""
    profile = {
        "driver": "GTiff",
        "height": codes.shape[0],
        "width": codes.shape[1],
        "count": 1,
        "dtype": codes.dtype,
        "crs": crs,
        "transform": rasterio.Affine(10, 0, LEFT, 0, -10, TOP),
        **extra,
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(codes, 1)
    return path


@pytest.fixture
def codes() -> np.ndarray:
    """Two fields of code 1 that touch at a corner, one of code 5."""
    codes = np.zeros((20, 30), np.uint8)
    codes[2:6, 2:6] = 1
    codes[6:9, 6:9] = 1
    codes[12:18, 3:10] = 5
    return codes


def test_codes_become_classes_and_connected_areas_fields(
    codes: np.ndarray, geobox: GeoBox, tmp_path: Path
) -> None:
    path = write_raster(tmp_path / "labels.tif", codes)
    labels = read_label_raster(path, geobox, classes={1: "corn", "5": "soybeans"})
    np.testing.assert_array_equal(labels["crop"], np.select([codes == 1, codes == 5], [1, 2], 0))
    field = labels["field"].to_numpy()
    assert sorted(np.unique(field)) == [0, 1, 2, 3]
    assert len({field[3, 3], field[7, 7], field[13, 5]}) == 3
    assert labels["crop"].odc.geobox == geobox


def test_the_star_stands_for_every_other_code_but_not_for_no_data(
    codes: np.ndarray, geobox: GeoBox, tmp_path: Path
) -> None:
    codes[0, :5] = 255
    path = write_raster(tmp_path / "labels.tif", codes, nodata=255)
    crop = read_label_raster(path, geobox, classes={1: "corn", "*": "other"})["crop"]
    np.testing.assert_array_equal(crop, np.select([codes == 1, codes == 5], [1, 7], 0))


def test_erosion_keeps_interior_pixels(codes: np.ndarray, geobox: GeoBox, tmp_path: Path) -> None:
    codes[:, 28:] = 7  # this field goes on beyond the grid
    path = write_raster(tmp_path / "labels.tif", codes)
    crop = read_label_raster(path, geobox, classes={"*": "other"}, erode_px=1)["crop"]
    expected = np.zeros_like(codes)
    expected[3:5, 3:5] = expected[7, 7] = expected[13:17, 4:9] = expected[:, 29] = 7
    np.testing.assert_array_equal(crop, expected)


def test_a_coarser_raster_in_another_crs_comes_by_nearest_neighbour(geobox: GeoBox, tmp_path: Path) -> None:
    coarse = (np.arange(7 * 10).reshape(7, 10) % 2 + 1).astype(np.int16)
    path = write_raster(tmp_path / "a.tif", coarse, transform=rasterio.Affine(30, 0, LEFT, 0, -30, TOP))
    crop = read_label_raster(path, geobox, classes={1: "corn", 2: "soybeans"})["crop"]
    np.testing.assert_array_equal(crop, coarse.repeat(3, 0).repeat(3, 1)[:20, :30])
    west, south, east, north = degrees(geobox)
    whole = np.full((40, 40), 2, np.uint8)
    transform = rasterio.transform.from_bounds(west - 0.01, south - 0.01, east + 0.01, north + 0.01, 40, 40)
    path = write_raster(tmp_path / "b.tif", whole, crs="EPSG:4326", transform=transform)
    assert (read_label_raster(path, geobox, classes={2: "rice"})["crop"] == 3).all()


def test_thinned_labels_keep_some_pixels_of_every_field(geobox: GeoBox) -> None:
    frame = fields(("corn", box(0, 0, 4, 6)), ("rice", box(10, 0, 3, 3)))
    labels = rasterize_fields(frame, geobox, inner_buffer_m=0)
    thin = thin_labels(labels, cap_per_field=10, seed=1)
    assert [int((thin["field"] == k).sum()) for k in (1, 2)] == [10, 9]
    kept = thin["field"].to_numpy() > 0
    for name in ("crop", "field"):
        assert thin[name].dtype == labels[name].dtype
        np.testing.assert_array_equal(thin[name], labels[name].where(kept, 0))
    assert thin["crop"].odc.geobox == geobox
    assert thin.attrs == labels.attrs
    assert thin.identical(thin_labels(labels, cap_per_field=10, seed=1))
    assert not thin.identical(thin_labels(labels, cap_per_field=10, seed=2))
    assert labels.identical(thin_labels(labels, cap_per_field=None))
    with pytest.raises(LabelError, match="allowed: 1 or more"):
        thin_labels(labels, cap_per_field=0)


def test_a_balanced_class_takes_from_its_fields_in_turn(geobox: GeoBox) -> None:
    frame = fields(("corn", box(0, 0, 4, 6)), ("corn", box(6, 0, 1, 3)), ("rice", box(10, 0, 2, 2)))
    labels = rasterize_fields(frame, geobox, inner_buffer_m=0)
    thin = thin_labels(labels, cap_per_field=None, balance=10, seed=3)
    assert [int((thin["field"] == k).sum()) for k in (1, 2, 3)] == [7, 3, 4]
    assert thin.identical(thin_labels(labels, cap_per_field=None, balance=10, seed=3))
    assert not thin.identical(thin_labels(labels, cap_per_field=None, balance=10, seed=4))
    both = thin_labels(labels, cap_per_field=5, balance=6)
    assert [int((both["field"] == k).sum()) for k in (1, 2, 3)] == [3, 3, 4]
    with pytest.raises(LabelError, match="balance is 0"):
        thin_labels(labels, cap_per_field=None, balance=0)


@pytest.mark.parametrize("suffix", [".geojson", ".gpkg", ".parquet"])
def test_codes_of_a_scheme_become_classes_in_each_format(suffix: str, geobox: GeoBox, tmp_path: Path) -> None:
    frame = fields(("MIS", box(0, 0, 4, 4)), (" BTH ", box(6, 0, 4, 4)), ("PTR", box(12, 0, 4, 4)))
    frame = frame.rename(columns={"crop": "CODE_CULTU"}).to_crs("EPSG:4326")
    path = tmp_path / f"fields{suffix}"
    frame.to_parquet(path) if suffix == ".parquet" else frame.to_file(path)
    options = {"property": "CODE_CULTU", "inner_buffer_m": 0}
    rules = CodeClasses(scheme="eurocrops-fr-2018", other_codes=("PTR",))
    labels = rasterize_fields(path, geobox, classes=rules, **options)
    assert labels["crop"].values[[1, 7, 13], 1].tolist() == [1, 4, 7]
    assert labels.attrs["dropped_codes"] == {}
    rules = CodeClasses(scheme="eurocrops-fr-2018", classes={"BTH": "other"}, unknown_codes="drop")
    labels = rasterize_fields(path, geobox, classes=rules, **options)
    assert labels["crop"].values[[1, 7, 13], 1].tolist() == [1, 7, 0]
    assert not labels["field"].values[13].any()
    assert labels.attrs["dropped_codes"] == {"PTR": 1}


def test_codes_far_from_the_grid_need_no_class(geobox: GeoBox) -> None:
    frame = fields(("corn", box(0, 0, 4, 4)), ("barley", box(900, 0, 4, 4)))
    assert (rasterize_fields(frame, geobox, inner_buffer_m=0)["crop"] == 1).sum() == 16


def test_a_point_labels_the_pixel_that_holds_it(geobox: GeoBox) -> None:
    def point(row: float, column: float) -> shapely.Point:
        return shapely.Point(LEFT + 10 * column, TOP - 10 * row)

    frame = fields(
        ("corn", point(0.1, 0.9)),
        ("rice", point(3.5, 7.2)),
        ("wheat", point(3.9, 7.9)),  # another crop in the same pixel
        ("rice", point(19.99, 29.99)),
        ("rice", point(19.01, 29.01)),  # the same crop in the same pixel
        ("corn", point(5, 30.01)),  # beside the grid
        ("corn", shapely.MultiPoint([point(8.5, 2.5), point(9.5, 2.5)])),
    )
    labels = rasterize_fields(frame.to_crs("EPSG:4326"), geobox)
    crop, field = labels["crop"].to_numpy(), labels["field"].to_numpy()
    assert np.argwhere(crop).tolist() == [[0, 0], [8, 2], [9, 2], [19, 29]]
    assert crop[[0, 8, 9, 19], [0, 2, 2, 29]].tolist() == [1, 1, 1, 3]
    assert field[[0, 8, 9, 19], [0, 2, 2, 29]].tolist() == [1, 7, 8, 4]
    assert labels.attrs["inner_buffer_m"] == 0


def test_a_point_of_a_dropped_code_makes_its_pixel_doubtful(geobox: GeoBox) -> None:
    here = shapely.Point(LEFT + 5, TOP - 5)
    frame = fields(("5", here), ("26", here), ("5", shapely.Point(LEFT + 55, TOP - 5)))
    labels = rasterize_fields(frame, geobox, classes=CodeClasses(scheme="usda-cdl"))
    assert np.argwhere(labels["crop"].to_numpy()).tolist() == [[0, 5]]
    assert labels.attrs["dropped_codes"] == {"26": 1}


def test_a_raster_of_floating_point_may_hold_codes(codes: np.ndarray, geobox: GeoBox, tmp_path: Path) -> None:
    real = codes.astype(np.float32)
    real[0, 0] = np.nan
    found = read_label_raster(write_raster(tmp_path / "a.tif", real), geobox, classes={1: "corn", 5: "rice"})
    np.testing.assert_array_equal(found["crop"], np.select([codes == 1, codes == 5], [1, 3], 0))


def test_a_scheme_reads_a_raster_and_counts_what_it_drops(
    codes: np.ndarray, geobox: GeoBox, tmp_path: Path
) -> None:
    codes[0, :4], codes[1, :3] = 26, 176  # two crops in one year; grassland, which is not listed
    path = write_raster(tmp_path / "labels.tif", codes)
    with pytest.raises(LabelError, match=r"without a class: 176 \(3\). Known are the"):
        read_label_raster(path, geobox, classes=CodeClasses(scheme="usda-cdl"))
    rules = CodeClasses(scheme="usda-cdl", other_codes=("*",))
    labels = read_label_raster(path, geobox, classes=rules)
    expected = np.select([codes == 1, codes == 5, codes == 176], [1, 2, 7], 0)
    np.testing.assert_array_equal(labels["crop"], expected)
    assert not labels["field"].values[0].any()
    assert labels.attrs["dropped_codes"] == {"26": 4}
    rules = CodeClasses(scheme="usda-cdl", unknown_codes="drop")
    labels = read_label_raster(path, geobox, classes=rules)
    assert labels.attrs["dropped_codes"] == {"26": 4, "176": 3}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"classes": {1: "corn"}}, r"codes without a class: 5 \(42\)\. Listed: 1\."),
        ({"classes": {1: "corn", 5: "barley"}}, "'barley' is not in the legend"),
        ({"classes": {0: "other", "*": "corn"}}, "0 is unlabelled"),
        ({"classes": {"one": "corn", "*": "corn"}}, "'one' of class 'corn' cannot be used"),
        ({"classes": {"*": "corn"}, "erode_px": -1}, "allowed: 0 pixels or more"),
        ({"classes": {"*": "corn"}, "erode_px": 9}, "labels no pixel"),
    ],
)
def test_unusable_classes_are_refused(
    options: dict[str, object], match: str, codes: np.ndarray, geobox: GeoBox, tmp_path: Path
) -> None:
    path = write_raster(tmp_path / "labels.tif", codes)
    with pytest.raises(LabelError, match=match):
        read_label_raster(path, geobox, **options)


def test_unusable_rasters_are_refused(codes: np.ndarray, geobox: GeoBox, tmp_path: Path) -> None:
    far = rasterio.Affine(10, 0, LEFT + 90000, 0, -10, TOP)
    text = tmp_path / "text.tif"
    text.write_text("not a raster")
    rasters = {
        "There is no label raster": tmp_path / "none.tif",
        "cannot be read as a GeoTIFF": text,
        "holds float32": write_raster(tmp_path / "float.tif", codes.astype(np.float32) + 0.5),
        "do not overlap": write_raster(tmp_path / "far.tif", codes, transform=far),
        "has no CRS": write_raster(tmp_path / "nocrs.tif", codes, crs=None),
    }
    for match, path in rasters.items():
        with pytest.raises(LabelError, match=match):
            read_label_raster(path, geobox, classes={"*": "corn"})

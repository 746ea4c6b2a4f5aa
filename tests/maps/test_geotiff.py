"""GeoTIFFs: valid COGs with colours and names, same bytes, never half."""

import hashlib
import subprocess
import sys
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from rio_cogeo import cog_validate

from toolkit.errors import GridError, InputError, StorageError
from toolkit.legend import CROPGLOBE
from toolkit.maps.areas import class_areas, hectares_by_crop
from toolkit.maps.geotiff import RAT_COLUMNS, read_layer, write_crop_map, write_layer
from toolkit.maps.layers import LAYERS
from toolkit.storage import replacing


@pytest.fixture
def labels(geobox):
    big = geobox.zoom_to(shape=(1200, 1100))
    classes = np.random.default_rng(0).integers(0, 8, big.shape.yx).astype(np.uint8)
    return xr.Dataset({"crop": (("y", "x"), classes)}, coords=xr_coords(big))


def test_map_is_a_valid_cog_with_overviews_palette_and_nodata(labels, tmp_path):
    path = write_crop_map(labels, tmp_path / "crop_map.tif", CROPGLOBE, tags={"TIFFTAG_COPYRIGHT": "someone"})
    valid, errors, warnings = cog_validate(path)
    assert (valid, errors, warnings) == (True, [], [])
    with rasterio.open(path) as file:
        assert file.nodata == 0
        assert file.overviews(1) == [2, 4]
        assert file.colormap(1)[1] == (*CROPGLOBE.classes[0].color, 255)
        assert file.tags()["TIFFTAG_COPYRIGHT"] == "someone"
        assert file.tags()["CLASS_4"] == "wheat"
        np.testing.assert_array_equal(file.read(1), labels.crop)
        assert file.crs.to_epsg() == 32631
        assert file.transform == labels.odc.geobox.affine


def test_overviews_hold_classes_never_averages(geobox, tmp_path):
    big = geobox.zoom_to(shape=(1024, 1024))
    classes = np.where(np.indices(big.shape.yx)[1] % 3 == 0, 1, 7).astype(np.uint8)
    path = write_crop_map(
        xr.Dataset({"crop": (("y", "x"), classes)}, coords=xr_coords(big)), tmp_path / "a.tif", CROPGLOBE
    )
    with rasterio.open(path, overview_level=0) as file:
        assert set(np.unique(file.read(1))) <= {1, 7}


def test_class_names_stand_in_the_file_that_gdal_and_qgis_read(labels, tmp_path):
    path = write_crop_map(labels, tmp_path / "crop_map.tif", CROPGLOBE)
    table = ET.parse(f"{path}.aux.xml")
    assert [node.text for node in table.iter("Category")] == ["no data", *CROPGLOBE.names]
    rows = [[cell.text for cell in row.iter("F")] for row in table.iter("Row")]
    assert rows[3] == ["4", "wheat", "165", "112", "0", "255", str((labels.crop == 4).sum().item())]


def test_gdal_itself_reads_names_and_attribute_table(labels, tmp_path):
    path = write_crop_map(labels, tmp_path / "crop_map.tif", CROPGLOBE)
    # GDAL writes beside the copy what it understood of the original.
    rasterio.shutil.copy(path, tmp_path / "copy.tif", driver="GTiff")
    copied = ET.parse(tmp_path / "copy.tif.aux.xml")
    assert [node.text for node in copied.iter("Category")] == ["no data", *CROPGLOBE.names]
    fields = [[node.find(tag).text for tag in ("Name", "Type", "Usage")] for node in copied.iter("FieldDefn")]
    assert [tuple(int(text) for text in field[1:]) for field in fields] == [
        (kind, usage) for _, kind, usage in RAT_COLUMNS
    ]
    rows = [[cell.text for cell in row.iter("F")] for row in copied.iter("Row")]
    counts = np.bincount(labels.crop.to_numpy().ravel(), minlength=8)
    assert [row[1] for row in rows] == list(CROPGLOBE.names)
    assert [float(row[6]) for row in rows] == counts[1:].tolist()
    assert rows[0][2:5] == [str(band) for band in CROPGLOBE.classes[0].color]


def test_same_pixels_give_the_same_bytes(labels, tmp_path):
    paths = [write_crop_map(labels, tmp_path / name, CROPGLOBE) for name in ("a.tif", "b.tif")]
    for suffix in ("", ".aux.xml"):
        files = [path.with_name(f"{path.name}{suffix}") for path in paths]
        assert len({hashlib.sha256(file.read_bytes()).hexdigest() for file in files}) == 1


def test_what_was_written_is_read_back_with_its_grid(labels, tmp_path):
    layer = read_layer(write_crop_map(labels, tmp_path / "a.tif", CROPGLOBE))
    np.testing.assert_array_equal(layer, labels.crop)
    assert layer.dtype == np.uint8
    assert layer.odc.geobox == labels.odc.geobox


def test_areas_count_pixels(labels, tmp_path):
    path = write_crop_map(labels, tmp_path / "a.tif", CROPGLOBE)
    pixel = abs(labels.odc.geobox.resolution.x * labels.odc.geobox.resolution.y)
    expected = (labels.crop == 4).sum().item() * pixel / 10_000
    assert hectares_by_crop(class_areas(path, CROPGLOBE))["wheat"] == pytest.approx(expected, abs=1e-3)


def test_failure_leaves_the_old_file_and_no_debris(tmp_path):
    path = tmp_path / "a.tif"
    path.write_text("old")

    def fail_in_the_middle():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail_in_the_middle()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tif"]


def test_unwritable_folder_is_a_storage_error(labels, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_crop_map(labels, tmp_path / "file" / "crop_map.tif", CROPGLOBE)


def test_labels_without_grid_are_refused(tmp_path):
    with pytest.raises(GridError, match="no CRS"):
        write_crop_map(
            xr.Dataset({"crop": (("y", "x"), np.zeros((2, 2), np.uint8))}), tmp_path / "a.tif", CROPGLOBE
        )


def test_reading_what_is_no_raster_is_refused(tmp_path):
    (tmp_path / "a.tif").write_text("text")
    with pytest.raises(InputError, match="cannot be read"):
        read_layer(tmp_path / "a.tif")


CUT = """
import resource, signal, sys
from pathlib import Path
import numpy as np, xarray as xr
from odc.geo.xr import xr_coords
from tests.conftest import GEOBOX
from toolkit.errors import StorageError
from toolkit.legend import CROPGLOBE
from toolkit.maps.geotiff import write_crop_map

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
grid = GEOBOX.zoom_to(shape=(1200, 1100))
classes = np.random.default_rng(0).integers(0, 8, grid.shape.yx).astype(np.uint8)
labels = xr.Dataset({"crop": (("y", "x"), classes)}, coords=xr_coords(grid))
folder = Path(sys.argv[1])
size = write_crop_map(labels, folder / "whole.tif", CROPGLOBE).stat().st_size
for share in (0.5, 0.9, 0.93, 0.95, 0.97, 0.99):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * size), resource.RLIM_INFINITY))
    try:
        write_crop_map(labels, folder / "cut.tif", CROPGLOBE)
    except StorageError:
        print("refused", sorted(path.name for path in folder.glob("[.c]*")))
"""


def test_a_disk_that_fills_while_a_layer_is_written_is_told_and_leaves_nothing(tmp_path):
    """GDAL says nothing where writing fails while it closes the copy."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CUT, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["refused []"] * 6


@pytest.mark.slow
def test_a_layer_that_may_grow_beyond_four_gigabytes_is_a_big_tiff(tmp_path):
    """GDAL cannot foresee what compresses, and fails in the end where it was not told."""
    edge = 46_400  # the first that has more than 2 GiB of pixels
    geobox = GeoBox((edge, edge), Affine(10, 0, 2e5, 0, -10, 6e6), "EPSG:32631")
    path = write_layer([], geobox, LAYERS[0], tmp_path / "crop.tif", CROPGLOBE, {})
    with path.open("rb") as file:
        assert file.read(4) == b"II\x2b\0"

"""EMIT files as they come: gridded, over HTTP by ranges, from a real granule's structure, full size."""

import re
from datetime import UTC, datetime

import h5netcdf
import h5py
import numpy as np
import pytest

from tests.scenes.emit_files import (
    GEOBOX,
    WAVELENGTHS,
    emit_item,
    expected_source,
    lookup_table,
    numbered,
    rotated_swath,
    write_mask,
    write_swath,
)
from tests.servers.ranges import serve
from toolkit.catalog.items import NAMED_HOSTS
from toolkit.errors import AssetError, UnsafeReferenceError
from toolkit.scenes.emit import combine, load_emit
from toolkit.scenes.emit_file import opened_emit
from toolkit.scenes.emit_granule import emit_granule

LINES, SAMPLES = 70, 80


@pytest.fixture
def swath(tmp_path):
    """Numbered granule with a mask on a disk: values, lookup table, paths."""
    lon, lat = rotated_swath(LINES, SAMPLES, 25.0)
    table = lookup_table(lon, lat)
    values = numbered(LINES, SAMPLES)
    rfl = write_swath(tmp_path / "rfl.nc", values, *table)
    mask = write_mask(tmp_path / "mask.nc", np.zeros((LINES, SAMPLES, 8)))
    return values, table, rfl, mask


def expected(values, table):
    line, sample = expected_source(GEOBOX, *table)
    return np.where(line[..., None] >= 0, values[line, sample], np.nan).transpose(2, 0, 1)


def test_a_gridded_product_is_read_by_its_dimensions(tmp_path):
    rows, columns, west, north = 90, 110, 9.86, 45.0
    values = numbered(rows, columns).transpose(2, 0, 1)
    cell = 0.00055
    with h5netcdf.File(tmp_path / "l3.nc", "w") as file:
        file.dimensions = {"bands": 7, "lat": rows, "lon": columns}
        file.create_variable("reflectance", ("bands", "lat", "lon"), data=values, chunks=(2, 32, 32))
        crs = file.create_variable("crs", (), np.int32)
        crs.attrs["GeoTransform"] = f"{west} {cell} 0 {north} 0 -{cell}"
        group = file.create_group("sensor_band_parameters")
        group.create_variable("wavelengths", ("bands",), data=WAVELENGTHS.astype(np.float32))
        group.create_variable("fwhm", ("bands",), data=np.full(7, 8.5, np.float32))
        group.create_variable("good_wavelengths", ("bands",), data=np.ones(7, np.uint8))
    scenes = load_emit([emit_item("l3", tmp_path / "l3.nc")], GEOBOX, bands="all")
    table = np.meshgrid(np.arange(1, columns + 1), np.arange(1, rows + 1))
    line, sample = expected_source(GEOBOX, *table, (west, cell, 0, north, 0, -cell))
    wanted = np.where(line >= 0, values[:, line, sample], np.nan)
    np.testing.assert_array_equal(scenes.reflectance, wanted)
    assert scenes.clear.mean() > 0.5


def remote_item(url, **files):
    item = emit_item("g", *(f"{url}/{name}" for name in files.values()))
    item.properties[NAMED_HOSTS] = ["127.0.0.1"]
    return item


def test_a_remote_granule_is_read_by_ranges_and_little_of_it(swath, tmp_path):
    values, table, _, _ = swath
    small = GEOBOX[10:20, 15:30]
    with serve(tmp_path) as server:
        scenes = load_emit([remote_item(server.url, rfl="rfl.nc", mask="mask.nc")], GEOBOX, bands="all")
        np.testing.assert_array_equal(scenes.reflectance, expected(values, table))
        server.log.clear()
        item = remote_item(server.url, rfl="rfl.nc", mask="mask.nc")
        part = combine([emit_granule(item)], small, WAVELENGTHS, bad_bands=True)
        assert part.counts.bytes == server.bytes_sent
        assert all(request.status == 206 for request in server.log)
    np.testing.assert_array_equal(
        part.values.reshape(10, 15, 7).transpose(2, 0, 1), expected(values, table)[:, 10:20, 15:30]
    )


def test_a_packed_remote_granule_is_read_chunk_by_chunk(swath, tmp_path):
    values, table, _, _ = swath
    write_swath(tmp_path / "packed.nc", values, *table, chunks=(16, 20, 7))
    with serve(tmp_path) as server:
        scenes = load_emit([remote_item(server.url, rfl="packed.nc")], GEOBOX, bands="all")
    np.testing.assert_array_equal(scenes.reflectance, expected(values, table))


def test_a_remote_granule_that_is_not_there_is_named(tmp_path):
    with serve(tmp_path) as server, pytest.raises(AssetError, match=r"g reflectance: .*gone\.nc"):
        load_emit([remote_item(server.url, rfl="gone.nc")], GEOBOX)


@pytest.mark.parametrize("kept", [0.5, 0.0], ids=["cut off", "no NetCDF"])
def test_a_damaged_remote_granule_is_named_without_the_error_of_hdf5(swath, tmp_path, kept):
    *_, rfl, _ = swath
    content = rfl.read_bytes()
    rfl.write_bytes(content[: int(len(content) * kept)] or b"no NetCDF" * 5000)
    with serve(tmp_path) as server, pytest.raises(AssetError, match=r"rfl\.nc' could not be read") as error:
        load_emit([remote_item(server.url, rfl="rfl.nc")], GEOBOX)
    assert error.value.reason == "damaged"
    reasons = [error.value]
    while reasons[-1] is not None:
        reasons.append(reasons[-1].__cause__ or reasons[-1].__context__)
    assert not any(isinstance(reason, OSError) for reason in reasons)


def test_a_private_host_that_nobody_named_is_not_asked(tmp_path, swath):
    with serve(tmp_path) as server:
        item = emit_item("g", f"{server.url}/rfl.nc")
        with pytest.raises(UnsafeReferenceError):
            load_emit([item], GEOBOX)
        assert not server.log


@pytest.mark.parametrize(
    ("path", "shape", "chunks"),
    [("location/glt_x", (90_000, 90_000), (64, 64)), ("reflectance", (70, 80_000, 60_000), (1, 64, 64))],
)
def test_a_small_file_that_fills_the_memory_is_refused(swath, path, shape, chunks):
    *_, rfl, _ = swath
    with h5py.File(rfl, "r+") as file:
        names = [scale[0].name for scale in file[path].dims]
        del file[path]
        file.create_dataset(path, shape, np.float32, chunks=chunks, compression="gzip", fillvalue=1)
        assert names
    assert rfl.stat().st_size < 2_000_000
    with pytest.raises(AssetError) as error, opened_emit(str(rfl)) as opened:
        opened.read(path)
    assert error.value.reason == "too_large"


def test_wide_chunks_are_read_in_pieces(swath, tmp_path, monkeypatch):
    values, table, _, _ = swath
    path = write_swath(tmp_path / "tall.nc", values, *table, chunks=(LINES, 8, 2))
    monkeypatch.setattr("toolkit.scenes.emit_file.BLOCK_BYTES", 20_000)
    with opened_emit(str(path)) as file:
        pieces = list(file.sample_blocks("reflectance", slice(0, LINES), slice(3, 77)))
        assert [piece.start for piece in pieces[1:]] == [piece.stop for piece in pieces[:-1]]
        assert (pieces[0].start, pieces[-1].stop) == (3, 77)
        assert len(pieces) > 1
    scenes = load_emit([emit_item("g", path)], GEOBOX, bands="all")
    np.testing.assert_array_equal(scenes.reflectance, expected(values, table))


def test_lines_are_read_in_blocks_that_hold_each_wanted_line_once(swath):
    *_, rfl, _ = swath
    with opened_emit(str(rfl)) as file:
        wanted = np.array([0, 1, 5, 40, 41, 69], np.int32)
        blocks = list(file.line_blocks("reflectance", wanted))
    held = [k for block in blocks for k in range(block.start, block.stop)]
    assert len(held) == len(set(held))
    assert set(wanted.tolist()) <= set(held)


def test_a_file_with_the_structure_of_a_real_granule_is_read(shared_data, tmp_path):
    """Each variable of the real granule's listing in its size, each global attribute as it was printed."""
    text = (shared_data / "emit" / "emit_l2a_rfl_netcdf_repr.txt").read_text()
    variables = dict(re.findall(r"VAR (\w+) \[(\d+) values", text))
    lines, samples, bands = 1280, 1242, 285
    assert int(variables["lon"]) == lines * samples
    assert int(variables["reflectance"]) == lines * samples * bands
    numbers = [float(v) for v in re.search(r"geotransform = \[([^\]]*)\]", text)[1].split()]
    rows = 2009  # 4,727,177 = 2009 x 2353
    columns = int(variables["glt_x"]) // rows
    assert rows * columns == int(variables["glt_x"])
    path = tmp_path / "EMIT_L2A_RFL_001_20220903T163129_2224611_012.nc"
    with h5netcdf.File(path, "w") as file:
        for name, value in re.findall(r"^([A-Za-z_]+) = (.*)$", text, re.MULTILINE):
            if name not in ("long_name", "units", "geotransform"):
                file.attrs[name] = value
        file.attrs["geotransform"] = np.array(numbers)
        file.dimensions = {
            "downtrack": lines,
            "crosstrack": samples,
            "bands": bands,
            "ortho_y": rows,
            "ortho_x": columns,
        }
        # Empty pages are not stored: the file stays small, its layout is that of 1.8 GB.
        cube = file.create_variable(
            "reflectance",
            ("downtrack", "crosstrack", "bands"),
            np.float32,
            fillvalue=np.float32(-9999),
            chunks=(1, samples, bands),
        )
        line = 640
        cube[line] = numbered(1, samples, bands)[0] / 1e6
        group = file.create_group("sensor_band_parameters")
        table = np.genfromtxt(shared_data / "emit" / "emit_285_bands.csv", delimiter=",", names=True)
        for name, column in (
            ("wavelengths", "wavelength_nm"),
            ("fwhm", "fwhm_nm"),
            ("good_wavelengths", "good"),
        ):
            kind = np.uint8 if column == "good" else np.float32
            group.create_variable(name, ("bands",), data=table[column].astype(kind))
        place = file.create_group("location")
        for name in ("lon", "lat", "elev"):
            place.create_variable(name, ("downtrack", "crosstrack"), np.float64, fillvalue=-9999.0)
        glt = np.zeros((2, rows, columns), np.int32)
        glt[0] = np.arange(columns) % samples + 1
        glt[1] = line + 1
        for name, values in zip(("glt_x", "glt_y"), glt, strict=True):
            place.create_variable(name, ("ortho_y", "ortho_x"), data=values, fillvalue=np.int32(0))
    from odc.geo.geobox import GeoBox
    from odc.geo.geom import BoundingBox

    south = GeoBox.from_bbox(BoundingBox(570000, 5585000, 572400, 5587400, crs="EPSG:32720"), resolution=60)
    item = emit_item("real", path, when=datetime(2022, 9, 3, 16, 31, 29, tzinfo=UTC))
    scenes = load_emit([item], south)
    assert scenes.wavelength.size == 244
    assert scenes.clear.all()
    wanted_line, sample = expected_source(south, glt[0], glt[1], numbers)
    assert (wanted_line == line).all()
    good = table["good"] == 1
    values = (numbered(1, samples, bands)[0] / 1e6)[sample][..., good]
    np.testing.assert_array_equal(scenes.reflectance, values.transpose(2, 0, 1))


def test_an_attribute_free_copy_without_geotransform_is_refused(swath):
    *_, rfl, _ = swath
    with h5py.File(rfl, "r+") as file:
        del file.attrs["geotransform"]
    with pytest.raises(AssetError, match="its geotransform is"):
        load_emit([emit_item("g", rfl)], GEOBOX)

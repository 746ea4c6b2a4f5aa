"""EMIT granules on disk: the producer's layout to the letter, and lookup tables that are nearest."""

from datetime import UTC, datetime, timedelta, timezone

import h5py
import numpy as np
import pytest
import rasterio
import xarray as xr

from toolkit.errors import InputError, StorageError
from toolkit.scenes.emit_bands import WAVELENGTHS_NM, in_usable_range
from toolkit.simulate.emit_granule import mask_layers, write_granule
from toolkit.simulate.emit_metadata import MASK_BANDS, GranuleName
from toolkit.simulate.emit_swath import CELL_DEGREES, Swath, make_glt, swath_lonlat

REAL = "EMIT_L2A_RFL_001_20220903T163129_2224611_012"
TAKEN = datetime(2022, 9, 3, 16, 31, 29, tzinfo=UTC)
SCENE_SPECIFIC = {
    "date_created",
    "time_coverage_end",
    "software_build_version",
    "software_delivery_version",
    "history",
    "easternmost_longitude",
    "northernmost_latitude",
    "westernmost_longitude",
    "southernmost_latitude",
    "geotransform",
    "flight_line",
}


def make_swath(lines=40, samples=30, *, heading=25.0, masked=True, **changes):
    lon, lat = swath_lonlat(-91.5, 30.9, lines=lines, samples=samples, heading_deg=heading)
    glt_x, glt_y, geotransform = make_glt(lon, lat)
    number = np.arange(lines * samples, dtype=np.float32).reshape(lines, samples)
    mask = np.zeros((lines, samples, 8), np.float32)
    mask[:3, :4, 0] = 1
    mask[:5, :6, 4] = 1
    mask[..., 5] = 0.1
    parts = {
        "reflectance": np.repeat(number[..., None] / 1e4, 285, axis=2).astype(np.float32),
        "mask": mask if masked else None,
        "lon": lon,
        "lat": lat,
        "elev": np.full(lon.shape, 12.0),
        "glt_x": glt_x,
        "glt_y": glt_y,
        "geotransform": geotransform,
    }
    return Swath(**{**parts, **changes})


def read(path, group=None):
    with xr.open_dataset(path, engine="h5netcdf", group=group, mask_and_scale=False) as data:
        return data.load()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    name = GranuleName(time=TAKEN, orbit=2224611, scene=12)
    return write_granule(tmp_path_factory.mktemp("granule"), name, make_swath())


@pytest.fixture
def real_layout(shared_data):
    """Lines ``name = value`` of the real granule's description, in order."""
    text = (shared_data / "emit" / "emit_l2a_rfl_netcdf_repr.txt").read_text(encoding="utf-8")
    return [tuple(line.split(" = ", 1)) for line in text.splitlines() if " = " in line and line[0] != "#"]


def test_global_attributes_are_the_real_ones_to_the_letter_and_in_their_order(files, real_layout):
    real = dict(real_layout[18:])
    ours = read(files[0]).attrs
    assert [key for key in ours if key != "simulated"] == list(real)[: len(real)]
    differing = {key for key in real if str(ours[key]) != real[key]} - SCENE_SPECIFIC - {"spatialResolution"}
    assert not differing
    assert float(real["spatialResolution"]) == ours["spatialResolution"]
    assert ours["flight_line"] == real["flight_line"]
    assert ours["simulated"] == "true"


def test_names_and_units_of_the_variables_are_the_real_ones(files, real_layout):
    bands, place = read(files[0], "sensor_band_parameters"), read(files[0], "location")
    variables = [bands[k] for k in ("wavelengths", "fwhm", "good_wavelengths")]
    variables += [place[k] for k in ("lon", "lat", "elev", "glt_x", "glt_y")] + [read(files[0]).reflectance]
    ours = [(key, v.attrs[key]) for v in variables for key in ("long_name", "units")]
    assert ours == real_layout[:18]


def test_dimensions_types_and_fill_values_are_the_producers(files):
    def layout(dataset):
        return {k: (v.dims, v.dtype.name, float(v.attrs["_FillValue"])) for k, v in dataset.variables.items()}

    pixels, cells = ("downtrack", "crosstrack"), ("ortho_y", "ortho_x")
    assert layout(read(files[0])) == {"reflectance": ((*pixels, "bands"), "float32", -9999)}
    assert layout(read(files[0], "sensor_band_parameters")) == {
        "wavelengths": (("bands",), "float32", -9999),
        "fwhm": (("bands",), "float32", -9999),
        "good_wavelengths": (("bands",), "uint8", 241),
    }
    assert layout(read(files[0], "location")) == {
        **dict.fromkeys(("lon", "lat", "elev"), (pixels, "float64", -9999)),
        **dict.fromkeys(("glt_x", "glt_y"), (cells, "int32", 0)),
    }
    assert layout(read(files[1])) == {
        "mask": ((*pixels, "bands"), "float32", -9999),
        "band_mask": ((*pixels, "packed_wavelength_bands"), "uint8", 241),
    }


def test_reflectance_lies_in_one_piece_unless_chunks_are_asked_for(files, tmp_path):
    with h5py.File(files[0]) as file:
        assert file["reflectance"].chunks is None
        assert file["reflectance"].compression is None
        plain = file["reflectance"][...]
    chunked, none = write_granule(
        tmp_path, GranuleName(time=TAKEN), make_swath(masked=False), chunks=(16, 16, 285)
    )
    assert none is None
    with h5py.File(chunked) as file:
        assert file["reflectance"].chunks == (16, 16, 285)
        assert file["reflectance"].compression == "gzip"
        np.testing.assert_array_equal(file["reflectance"][...], plain)


def test_bands_of_water_vapour_hold_the_producers_value_and_the_others_the_swaths(tmp_path):
    swath = make_swath(good=np.ones(285, np.uint8))  # some granules call every band good
    swath.reflectance[0, 0] = -9999
    kept = swath.reflectance.copy()
    (path, _) = write_granule(tmp_path, GranuleName(time=TAKEN), swath)
    values, usable = read(path).reflectance.values, in_usable_range(WAVELENGTHS_NM)
    np.testing.assert_array_equal(values[..., usable], kept[..., usable])
    assert (values[0, 0] == -9999).all()
    assert (values[1:, :, ~usable] == np.float32(-0.01)).all()
    assert read(path, "sensor_band_parameters").good_wavelengths.values.all()
    np.testing.assert_array_equal(swath.reflectance, kept)  # the caller's pixels stay


@pytest.mark.parametrize(
    ("options", "rfl", "mask"),
    [
        ({"orbit": 2224611, "scene": 12}, REAL, REAL.replace("RFL", "MASK")),
        ({"version": 2}, "EMIT_L2A_RFL_002_20220903T163129", "EMIT_L2A_MASK_003_20220903T163129"),
        (
            {"version": 2, "mask_version": 2, "orbit": 2224611, "scene": 3},
            "EMIT_L2A_RFL_002_20220903T163129",
            "EMIT_L2A_MASK_002_20220903T163129_2224611_003",
        ),
    ],
)
def test_names_follow_the_version(options, rfl, mask):
    name = GranuleName(time=TAKEN, **options)
    assert (name.rfl, name.mask) == (rfl, mask)
    elsewhere = TAKEN.astimezone(timezone(timedelta(hours=-5)))
    assert GranuleName(time=elsewhere, **options).rfl == rfl
    assert GranuleName(time=TAKEN.replace(tzinfo=None), **options).rfl == rfl


def test_numbers_without_room_in_the_name_are_refused():
    with pytest.raises(InputError, match="up to seven digits"):
        GranuleName(time=TAKEN, orbit=10_000_000)


@pytest.mark.parametrize(("mask_version", "layers"), [(1, 8), (2, 11), (3, 7)])
def test_layers_of_the_mask_are_named_and_hold_the_same_clouds_in_every_version(
    tmp_path, mask_version, layers
):
    name = GranuleName(version=1 if mask_version == 1 else 2, time=TAKEN, mask_version=mask_version)
    swath = make_swath()
    path = write_granule(tmp_path, name, swath)[1]
    names = list(read(path, "sensor_band_parameters").mask_bands.values)
    data = read(path)
    assert names == list(MASK_BANDS[mask_version])
    assert data.mask.shape == (40, 30, layers)
    assert ("band_mask" in data) == (mask_version == 1)
    np.testing.assert_array_equal(data.mask[..., 0], swath.mask[..., 0])
    dilated = next(k for k, text in enumerate(names) if text.startswith("Dilated"))
    np.testing.assert_array_equal(data.mask[..., dilated], swath.mask[..., 4])
    assert data.attrs["title"] == f"EMIT L2A Masks 60 m V{mask_version:03}"


def test_later_masks_repeat_the_cloud_flag_as_probability_flag_and_distance():
    classic = np.zeros((2, 4, 8), np.float32)
    assert (mask_layers(classic, 3)[..., -1] > 0).all()
    classic[:, 0, 0] = 1
    probability, flag, distance = np.moveaxis(mask_layers(classic, 3)[..., -3:], -1, 0)
    np.testing.assert_array_equal(flag, classic[..., 0])
    np.testing.assert_array_equal(flag, probability > 0.51)
    np.testing.assert_array_equal(distance, [[0, 1, 2, 3]] * 2)


def test_each_cell_shows_the_nearest_pixel_counted_from_one():
    lon, lat = swath_lonlat(12.0, 45.0, lines=25, samples=33, heading_deg=40)
    glt_x, glt_y, (west, cell, _, north, _, down) = make_glt(lon, lat)
    assert (glt_x.min(), glt_x.max(), glt_y.min(), glt_y.max()) == (0, 33, 0, 25)
    assert (glt_x.dtype, glt_y.dtype) == (np.int32, np.int32)
    np.testing.assert_array_equal(glt_x == 0, glt_y == 0)
    rows, columns = np.mgrid[0 : glt_x.shape[0], 0 : glt_x.shape[1]]
    x, y = west + (columns + 0.5) * cell, north + (rows + 0.5) * down
    narrow = np.cos(np.radians(45.0))
    far = np.hypot((x[..., None] - lon.ravel()) * narrow, y[..., None] - lat.ravel()) / cell
    shown = (glt_y - 1) * 33 + glt_x - 1
    filled = glt_x > 0
    np.testing.assert_allclose(
        np.take_along_axis(far, np.where(filled, shown, 0)[..., None], 2)[filled, 0], far.min(axis=2)[filled]
    )
    np.testing.assert_array_equal(filled, far.min(axis=2) <= 0.75)


def test_a_turned_swath_has_empty_corners_and_no_holes_inside():
    glt_x = make_swath(heading=30).glt_x
    assert not any((glt_x[0, 0], glt_x[0, -1], glt_x[-1, 0], glt_x[-1, -1]))
    for line in (*glt_x, *glt_x.T):
        inside = np.flatnonzero(line)
        assert inside.size == 0 or (line[inside[0] : inside[-1] + 1] > 0).all()


def test_all_tables_share_the_lattice_of_the_real_granules():
    for lon, lat in ((-91.5, 30.9), (-59.4, -28.6), (12.0, 45.0)):
        _, _, geotransform = make_glt(*swath_lonlat(lon, lat, lines=9, samples=9, heading_deg=10))
        assert (geotransform[0] + 180) / CELL_DEGREES % 1 == pytest.approx(0.399041, abs=1e-5)
        assert (90 - geotransform[3]) / CELL_DEGREES % 1 == pytest.approx(0.051287, abs=1e-5)


def test_without_heading_lines_run_south_and_samples_east_at_the_spacing():
    lon, lat = swath_lonlat(-91.5, 30.9, lines=11, samples=7, heading_deg=0, spacing_m=60)
    assert lon.shape == (11, 7)
    assert (np.diff(lon, axis=1) > 0).all()
    assert (np.diff(lat, axis=0) < 0).all()
    assert np.diff(lat[:, 3]) * 111_000 == pytest.approx(-60, rel=0.01)
    assert lon.mean() == pytest.approx(-91.5, abs=1e-6)


def test_holes_are_zero_or_as_in_early_files_minus_9999(tmp_path):
    swath = make_swath()
    name = GranuleName(time=TAKEN)
    place = read(write_granule(tmp_path, name, swath, glt_fill=-9999)[0], "location")
    np.testing.assert_array_equal(place.glt_x, np.where(swath.glt_x > 0, swath.glt_x, -9999))
    assert place.glt_y.attrs["_FillValue"] == -9999


def test_the_geotransform_and_outline_are_those_of_the_table(files):
    attributes, shape = read(files[0]).attrs, read(files[0], "location").glt_x.shape
    west, cell, _, north, _, down = attributes["geotransform"]
    assert attributes["westernmost_longitude"] == west
    assert attributes["northernmost_latitude"] == north
    assert attributes["easternmost_longitude"] == pytest.approx(west + shape[1] * cell)
    assert attributes["southernmost_latitude"] == pytest.approx(north + shape[0] * down)
    assert rasterio.crs.CRS.from_wkt(attributes["spatial_ref"]) == "EPSG:4326"


@pytest.mark.parametrize(("lines", "seconds"), [(1280, 12), (2560, 24)])
def test_swaths_of_any_length_are_written_and_last_accordingly(tmp_path, lines, seconds):
    swath = make_swath(lines, 2, masked=False)
    data = read(write_granule(tmp_path, GranuleName(time=TAKEN), swath)[0])
    assert data.sizes["downtrack"] == lines
    end = datetime.strptime(data.attrs["time_coverage_end"], "%Y-%m-%dT%H:%M:%S%z")
    assert end - TAKEN == timedelta(seconds=seconds)


def test_files_are_called_simulated_unless_asked_otherwise(tmp_path):
    (path, _) = write_granule(tmp_path, GranuleName(time=TAKEN), make_swath(masked=False), simulated=False)
    assert "simulated" not in read(path).attrs


def test_arrays_of_different_swaths_are_refused():
    with pytest.raises(InputError, match="arrays of one swath"):
        make_swath(elev=np.zeros((2, 2)))
    with pytest.raises(InputError, match="arrays of one swath"):
        make_swath(good=np.ones(7, np.uint8))


def test_nothing_is_left_behind_when_the_disk_refuses(tmp_path):
    with pytest.raises(StorageError, match="cannot be written"):
        write_granule(tmp_path / "missing", GranuleName(time=TAKEN), make_swath(masked=False))
    swath = make_swath(masked=False, reflectance=np.zeros((40, 30, 285), "U3"))
    with pytest.raises(ValueError):
        write_granule(tmp_path, GranuleName(time=TAKEN), swath)
    assert not list(tmp_path.iterdir())

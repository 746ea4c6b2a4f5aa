"""EMIT on a grid: every pixel is raw[glt_y - 1, glt_x - 1] of the cell it lies in, and nothing else."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox

from tests.scenes.emit_files import (
    CELL,
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
from toolkit.errors import AssetError, BandError, InputError, NoItemsError
from toolkit.scenes.emit import load_emit
from toolkit.scenes.emit_granule import emit_granule, read_spectra
from toolkit.scenes.emit_place import Lattice, pixel_centres

SWATHS = {"north up": 0.0, "rotated": 37.0, "turned round": 200.0}


def granule(folder, heading=37.0, *, name="g", lines=70, samples=80, holes=0.0, centre=None, **options):
    """A granule of numbered pixels; returns item, reflectance and lookup table."""
    lon, lat = rotated_swath(lines, samples, heading, centre=centre)
    glt_x, glt_y, place = lookup_table(lon, lat)
    if holes:
        gone = np.random.default_rng(0).random(glt_x.shape) < holes
        glt_x[gone], glt_y[gone] = 0, np.where(gone, -9999, glt_y)[gone]
    values = numbered(lines, samples)
    path = write_swath(folder / f"{name}.nc", values, glt_x, glt_y, place, **options)
    return emit_item(name, path), values, (glt_x, glt_y, place)


def expected(values, table, geobox=GEOBOX):
    line, sample = expected_source(geobox, *table)
    return np.where(line[..., None] >= 0, values[line, sample], np.nan).transpose(2, 0, 1)


@pytest.mark.parametrize("heading", SWATHS.values(), ids=SWATHS)
@pytest.mark.parametrize("holes", [0.0, 0.3], ids=["whole", "with holes"])
@pytest.mark.parametrize("chunks", [None, (8, 16, 7)], ids=["contiguous", "packed"])
def test_every_pixel_is_the_raw_spectrum_of_its_cell(tmp_path, heading, holes, chunks):
    item, values, table = granule(tmp_path, heading, holes=holes, chunks=chunks)
    scenes = load_emit([item], GEOBOX, bands="all")
    np.testing.assert_array_equal(scenes.reflectance, expected(values, table))
    assert scenes.reflectance.dtype == np.float32
    assert scenes.reflectance.dims == ("wavelength", "y", "x")
    assert scenes.clear.mean() > (0.5 if holes else 0.95)


@pytest.mark.parametrize("resolution", [10, 20, 60, 90])
def test_any_resolution_takes_whole_cells_of_the_source(tmp_path, resolution):
    geobox = GeoBox.from_bbox(
        BoundingBox(571000, 4981000, 571900, 4981900, crs="EPSG:32632"), resolution=resolution
    )
    item, values, table = granule(tmp_path)
    scenes = load_emit([item], geobox, bands="all")
    np.testing.assert_array_equal(scenes.reflectance, expected(values, table, geobox))


def test_pixels_beyond_the_granules_edge_are_not_observed(tmp_path):
    beside = (GEOBOX.extent.centroid.coords[0][0] - 2500.0, GEOBOX.extent.centroid.coords[0][1])
    item, values, table = granule(tmp_path, 15.0, centre=beside)
    scenes = load_emit([item], GEOBOX, bands="all")
    np.testing.assert_array_equal(scenes.reflectance, expected(values, table))
    assert 0.05 < scenes.clear.mean() < 0.95


def test_two_granules_fill_each_other_and_agree_on_the_lattice(tmp_path):
    middle = GEOBOX.extent.centroid.coords[0]
    parts = [
        granule(tmp_path, 20.0, name=f"g{k}", centre=(middle[0] + shift, middle[1]))
        for k, shift in enumerate((-1800.0, 1800.0))
    ]
    scenes = load_emit([item for item, *_ in parts], GEOBOX, bands="all")
    one, other = (expected(values, table) for _, values, table in parts)
    both = ~np.isnan(one) & ~np.isnan(other)
    whole = np.where(both, (one + other) / 2, np.where(np.isnan(one), other, one))
    np.testing.assert_array_equal(scenes.reflectance, whole.astype(np.float32))
    assert scenes.observations.max() == 2
    np.testing.assert_array_equal(scenes.granule == -2, both[0])
    np.testing.assert_array_equal(scenes.granule == 1, np.isnan(one[0]) & ~np.isnan(other[0]))
    phases = [(table[2][0] + 180) / CELL % 1 for *_, table in parts]
    assert phases[0] == pytest.approx(phases[1], abs=1e-6)


def clouded(folder, name, lines, **properties):
    """A granule whose lines are cloudy."""
    _, values, table = granule(folder, 10.0, name=name)
    flags = np.zeros((70, 80, 8), np.float32)
    flags[lines, :, 0] = 1
    mask = write_mask(folder / f"{name}_mask.nc", flags)
    return emit_item(name, folder / f"{name}.nc", mask, **properties), values, table


def test_the_clearest_granule_comes_first_and_gaps_are_filled_by_the_next(tmp_path):
    first, values, table = clouded(tmp_path, "a", slice(0, 50))
    second, *_ = clouded(tmp_path, "b", slice(60, 70))
    scenes = load_emit([first, second], GEOBOX, bands="all", statistic="clearest")
    line, _ = expected_source(GEOBOX, *table)
    source = np.where(line < 0, -1, np.where(line < 60, 1, 0))
    np.testing.assert_array_equal(scenes.granule, source)
    np.testing.assert_array_equal(scenes.reflectance, expected(values, table))
    # What the catalog tells goes before what the mask shows.
    told = [clouded(tmp_path, "a", slice(0, 50), **{"eo:cloud_cover": 3})[0], second]
    scenes = load_emit(told, GEOBOX, bands="all", statistic="clearest")
    np.testing.assert_array_equal(scenes.granule, np.where(line < 0, -1, np.where(line < 50, 1, 0)))


def test_the_clearest_granule_is_the_same_in_every_tile(tmp_path):
    items = [clouded(tmp_path, "a", slice(0, 30))[0], clouded(tmp_path, "b", slice(50, 70))[0]]
    whole = load_emit(items, GEOBOX, bands="all", statistic="clearest")
    for y, x in ((slice(0, 25), slice(0, 25)), (slice(25, 50), slice(10, 50))):
        part = load_emit(items, GEOBOX[y, x], bands="all", statistic="clearest")
        np.testing.assert_array_equal(part.granule, whole.granule[y, x])
        np.testing.assert_array_equal(part.reflectance, whole.reflectance[:, y, x])


def test_a_pixel_lies_half_a_cell_at_most_from_the_cell_it_takes(tmp_path):
    lon, lat = rotated_swath(90, 90, 33.0)
    glt_x, glt_y, place = lookup_table(lon, lat)
    lattice = Lattice(west=place[0], north=place[3], width=CELL, height=CELL, shape=glt_x.shape)
    where = pixel_centres(GEOBOX)
    rows, columns = lattice.cells(*where)
    off_x = np.abs(where[0] - (place[0] + (columns + 0.5) * CELL)) / CELL
    off_y = np.abs(where[1] - (place[3] - (rows + 0.5) * CELL)) / CELL
    assert max(off_x.max(), off_y.max()) <= 0.5 + 1e-9
    # With what the table adds, the spectrum's own place is a pixel (60 m) away at most, but for 1 in 100.
    path = write_swath(tmp_path / "g.nc", numbered(90, 90), glt_x, glt_y, place)
    part = read_spectra(emit_granule(emit_item("g", path)), GEOBOX, WAVELENGTHS)
    own = (lon[part.lines, part.samples], lat[part.lines, part.samples])
    metres = [111_320 * np.cos(np.radians(45.0)), 111_320]
    whole = [
        np.abs(centre.ravel() - swath)[part.seen] * per_degree / 60
        for centre, swath, per_degree in zip(where, own, metres, strict=True)
    ]
    assert all(np.median(axis) < 0.35 for axis in whole)
    assert all(np.percentile(axis, 99) < 1.0 for axis in whole)


@given(lon=st.floats(-180, 180), lat=st.floats(-51, 51), west=st.floats(-180, 180), north=st.floats(-50, 51))
def test_a_place_lies_in_the_cell_that_holds_it(lon, lat, west, north):
    lattice = Lattice(west=west, north=north, width=0.5, height=0.25, shape=(40, 60))
    row, column = (int(v) for v in lattice.cells(np.array(lon), np.array(lat)))
    east = (lon - west) % 360
    inside = 0 <= north - lat < 10 and east < 30
    assert (row >= 0) == inside
    assert (row, column) == ((int((north - lat) // 0.25), int(east // 0.5)) if inside else (-1, -1))


def test_a_granule_across_the_antimeridian_is_met_from_both_sides():
    lattice = Lattice(west=179.5, north=10, width=0.5, height=0.5, shape=(4, 4))
    _, columns = lattice.cells(np.array([179.6, -179.9, -178.6, 178.0]), np.full(4, 9.9))
    assert columns.tolist() == [0, 1, 3, -1]


def test_clouds_by_the_masks_names_are_not_observed_and_water_is_kept(tmp_path):
    _, _, table = granule(tmp_path, 0.0)
    flags = np.zeros((70, 80, 8), np.float32)
    for k, layer in enumerate((0, 1, 2, 3, 4, 7)):  # every flag on ten lines
        flags[10 * k : 10 * k + 10, :, layer] = 1
    flags[:, :, 5:7] = 0.3, 2.4  # AOD and water vapour are quantities
    item = emit_item("g", tmp_path / "g.nc", write_mask(tmp_path / "m.nc", flags))
    line, _ = expected_source(GEOBOX, *table)
    for preset, masked in {"default": (0, 1, 3, 4), "strict": range(6), "lenient": (0, 3)}.items():
        scenes = load_emit([item], GEOBOX, bands="all", clear=preset)
        cloudy = np.isin(line // 10, list(masked))
        np.testing.assert_array_equal(scenes.clear, (line >= 0) & ~cloudy)
        np.testing.assert_array_equal(np.isnan(scenes.reflectance[0]), ~scenes.clear)


def test_masks_of_later_versions_are_read_by_name(tmp_path):
    item, _, table = granule(tmp_path, 0.0)
    names = ("Cloud Flag", "Cirrus Flag", "Water Flag", "Dilated Cloud Flag")
    names += ("SpecTf-Cloud Probability", "SpecTf-Cloud Flag", "SpecTf-Buffer Distance")
    layers = np.zeros((70, 80, 7), np.float32)
    layers[..., 4], layers[..., 6] = 0.4, 900.0
    layers[30:, :, 5] = 1
    item = emit_item("g", tmp_path / "g.nc", write_mask(tmp_path / "m.nc", layers, names))
    line, _ = expected_source(GEOBOX, *table)
    np.testing.assert_array_equal(load_emit([item], GEOBOX).clear, (line >= 0) & (line < 30))


def test_bad_bands_go_by_flag_by_wavelength_and_by_value(tmp_path):
    lon, lat = rotated_swath(60, 60, 0.0)
    glt_x, glt_y, place = lookup_table(lon, lat)
    values = numbered(60, 60)
    values[..., 4] = -0.01  # 1379 nm
    values[:, 20, 2] = -0.01
    values[5, :] = -9999
    path = write_swath(tmp_path / "g.nc", values, glt_x, glt_y, place)  # flags call every band good
    scenes = load_emit([emit_item("g", path)], GEOBOX)
    assert scenes.wavelength.size == 6
    assert 1379.0 not in scenes.wavelength
    part = read_spectra(emit_granule(emit_item("g", path)), GEOBOX, WAVELENGTHS)
    seen = part.seen
    assert np.isnan(part.values[seen & (part.lines == 5)]).all()
    assert np.isnan(part.values[seen, 4]).all()
    assert not part.clear[part.lines == 5].any()
    assert not part.clear[part.samples == 20].any()  # a hole in a good band
    assert np.isnan(part.values[part.samples == 20]).all()
    flagged = write_swath(tmp_path / "h.nc", values, glt_x, glt_y, place, good=[1, 0, 1, 1, 1, 1, 1])
    assert load_emit([emit_item("h", flagged)], GEOBOX).wavelength.size == 5
    everything = load_emit([emit_item("h", flagged)], GEOBOX, bands="all")
    assert everything.good.values.tolist() == [True, False, True, True, False, True, True]


def test_a_band_that_one_granule_flags_bad_is_taken_from_the_others(tmp_path):
    lon, lat = rotated_swath(60, 60, 0.0)
    table = lookup_table(lon, lat)
    fine = write_swath(tmp_path / "a.nc", numbered(60, 60), *table)
    flags = [1, 1, 0, 1, 1, 1, 1]
    flagged = write_swath(tmp_path / "b.nc", numbered(60, 60) + 4, *table, good=flags)
    items = [emit_item("a", fine), emit_item("b", flagged)]
    one = load_emit(items[:1], GEOBOX, bands=[864.0, 663.6]).reflectance
    for statistic in ("median", "clearest"):
        both = load_emit(items, GEOBOX, bands=[864.0, 663.6], statistic=statistic)
        more = 2 if statistic == "median" else 0
        np.testing.assert_array_equal(both.reflectance[0], one[0] + more)
        np.testing.assert_array_equal(both.reflectance[1], one[1])
    alone = load_emit(items[1:], GEOBOX, bands=[864.0, 663.6])
    assert np.isnan(alone.reflectance[1]).all()
    assert np.isfinite(load_emit(items[1:], GEOBOX, bands="all").reflectance[2]).any()


def test_wavelengths_are_matched_with_a_tolerance(tmp_path):
    item, values, table = granule(tmp_path)
    scenes = load_emit([item], GEOBOX, bands=[864.5, 455.1])
    np.testing.assert_array_equal(scenes.reflectance, expected(values, table)[[3, 0]])
    with pytest.raises(BandError, match=r"no bands within 1 nm of 900 nm; it has 7 from 455.2 to 2202"):
        load_emit([item], GEOBOX, bands=[455.1, 900.0])


def spoiled(path, change):
    with h5py.File(path, "r+") as file:
        change(file)


def replace(path, name, values):
    def change(file):
        del file[name]
        file[name] = values

    spoiled(path, change)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "damaged"),
        (lambda path: path.write_text("<html>log in</html>"), "damaged"),
        (lambda path: path.unlink(), "damaged"),
        (lambda path: spoiled(path, lambda file: file["location/glt_y"].__setitem__(..., 71)), "damaged"),
        (lambda path: replace(path, "location/glt_y", np.ones((3, 3), np.int32)), "layout"),
        (lambda path: replace(path, "reflectance", np.zeros((4, 4), np.float32)), "layout"),
        (
            lambda path: spoiled(path, lambda file: file.attrs.__setitem__("geotransform", [1.0, 2.0])),
            "layout",
        ),
        (lambda path: spoiled(path, lambda file: file.__delitem__("location")), "layout"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, spoil, reason):
    item, *_ = granule(tmp_path, name="EMIT_L2A_RFL_001_x")
    spoil(tmp_path / "EMIT_L2A_RFL_001_x.nc")
    with pytest.raises(AssetError, match="EMIT_L2A_RFL_001_x") as error:
        load_emit([item], GEOBOX)
    assert error.value.reason == reason


def external(file, secret):
    shape = file["reflectance"].shape
    scales = [file[name] for name in ("downtrack", "crosstrack", "bands")]
    del file["reflectance"]
    made = file.create_dataset(
        "reflectance", shape, np.float32, external=[(str(secret), 0, secret.stat().st_size)]
    )
    for axis, scale in enumerate(scales):
        made.dims[axis].attach_scale(scale)


def linked(file, secret):
    other = secret.with_name("other.nc")
    with h5py.File(other, "w") as store:
        file.copy("location", store)
    del file["location"]
    file["location"] = h5py.ExternalLink(str(other), "/location")


def beside(file, secret):
    file["extra"] = h5py.ExternalLink(str(secret), "/")


@pytest.mark.parametrize("outward", [external, linked, beside])
def test_a_file_that_refers_to_another_is_not_followed(tmp_path, outward):
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * 70 * 80 * 7 * 4)
    item, *_ = granule(tmp_path)
    spoiled(tmp_path / "g.nc", lambda file: outward(file, secret))
    with pytest.raises(AssetError, match="refers to other files"):
        load_emit([item], GEOBOX)


def huge(name, shape, kind=np.float32):
    """Replace a variable by one that takes nothing on disk and much in memory."""

    def change(file):
        del file[name]
        file.create_dataset(
            name, shape, kind, chunks=tuple(min(side, 64) for side in shape), compression="gzip"
        )

    return change


@pytest.mark.parametrize(
    "change",
    [
        huge("sensor_band_parameters/wavelengths", (90_000, 90_000)),
        huge("sensor_band_parameters/fwhm", (3,)),
        huge("sensor_band_parameters/good_wavelengths", (7,), "S4"),
        huge("sensor_band_parameters/wavelengths", (7, 1)),
    ],
)
def test_numbers_of_bands_that_are_none_are_refused(tmp_path, change):
    item, *_ = granule(tmp_path)
    spoiled(tmp_path / "g.nc", change)
    with pytest.raises(AssetError, match="has shape") as error:
        load_emit([item], GEOBOX)
    assert error.value.reason == "layout"


@pytest.mark.parametrize(
    ("layers", "names", "message"),
    [
        (np.zeros((70, 80, 2)), ("Cloud flag", "Water flag", "Cirrus flag"), "shape"),
        (np.zeros((70, 80, 2)), (b"Cloud flag", b"\xff\xfe"), "could not be read"),
        (np.zeros((70, 80, 2)), (1.0, 2.0), "no text"),
    ],
)
def test_a_mask_whose_layers_have_no_names_is_refused(tmp_path, layers, names, message):
    granule(tmp_path)
    mask = write_mask(tmp_path / "m.nc", layers, ("a",) * layers.shape[2])

    def rename(file):
        del file["sensor_band_parameters/mask_bands"]
        file["sensor_band_parameters/mask_bands"] = list(names)

    spoiled(mask, rename)
    with pytest.raises(AssetError, match=message) as error:
        load_emit([emit_item("g", tmp_path / "g.nc", mask)], GEOBOX)
    assert (error.value.item, error.value.band) == ("g", "mask")


def test_an_item_of_another_layout_is_named():
    item = emit_item("raw", "x.nc")
    item.assets = {"001/EMIT": item.assets["reflectance"]}
    with pytest.raises(BandError, match=r"The item 'raw' has no asset 'reflectance', but 001/EMIT"):
        load_emit([item], GEOBOX)


@pytest.mark.parametrize(
    ("shape", "start", "message"),
    [
        ((70, 80), "2023-07-11T10:31:29+0000", "belongs to another granule"),
        ((70, 80), "2023-07-10T10:31:31Z", "belongs to another granule"),
        ((60, 80), "2023-07-10T10:31:29+0000", "belongs to another granule"),
    ],
)
def test_a_mask_of_another_granule_is_refused(tmp_path, shape, start, message):
    granule(tmp_path)
    mask = write_mask(tmp_path / "m.nc", np.zeros((*shape, 8)), start=start)
    with pytest.raises(AssetError, match=message) as error:
        load_emit([emit_item("g", tmp_path / "g.nc", mask)], GEOBOX)
    assert (error.value.item, error.value.band, error.value.reason) == ("g", "mask", "mask_mismatch")


@pytest.mark.parametrize(
    "start", ["2023-07-10T10:31:29Z", "2023-07-10 10:31:29.4", "2023-07-10T12:31:29+02:00", "soon"]
)
def test_a_masks_time_may_be_written_in_any_way(tmp_path, start):
    granule(tmp_path)
    mask = write_mask(tmp_path / "m.nc", np.zeros((70, 80, 8)), start=start)
    assert load_emit([emit_item("g", tmp_path / "g.nc", mask)], GEOBOX).clear.any()


def test_a_mask_without_a_cloud_flag_is_refused(tmp_path):
    granule(tmp_path)
    mask = write_mask(tmp_path / "m.nc", np.zeros((70, 80, 2)), ("AOD550", "Water flag"))
    with pytest.raises(AssetError, match="no cloud flag, its layers are AOD550, Water flag"):
        load_emit([emit_item("g", tmp_path / "g.nc", mask)], GEOBOX)


def test_requests_that_cannot_be_served_say_why(tmp_path):
    item, *_ = granule(tmp_path)
    far = GeoBox.from_bbox(BoundingBox(770000, 4980000, 773000, 4983000, crs="EPSG:32632"), resolution=60)
    with pytest.raises(NoItemsError, match="No EMIT granule is given"):
        load_emit([], GEOBOX)
    with pytest.raises(NoItemsError, match=r"None of 1 EMIT granules \(e.g. g\) has a pixel on the grid"):
        load_emit([item], far)
    with pytest.raises(InputError, match="statistic is 'mean'; allowed: median, clearest"):
        load_emit([item], GEOBOX, statistic="mean")
    with pytest.raises(BandError, match="bands is 'nice'"):
        load_emit([item], GEOBOX, bands="nice")
    mask = write_mask(tmp_path / "m.nc", np.zeros((70, 80, 8)))
    with pytest.raises(InputError, match=r"preset 'clean' is unknown for EMIT\. Known presets: default"):
        load_emit([emit_item("g", tmp_path / "g.nc", mask)], GEOBOX, clear="clean")


def test_a_season_all_under_cloud_is_not_observed(tmp_path):
    granule(tmp_path)
    mask = write_mask(tmp_path / "m.nc", np.ones((70, 80, 8)))
    scenes = load_emit([emit_item("g", tmp_path / "g.nc", mask)], GEOBOX)
    assert not scenes.clear.any()
    assert np.isnan(scenes.reflectance).all()
    assert (scenes.granule == -1).all()

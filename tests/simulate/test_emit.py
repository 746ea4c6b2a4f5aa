"""Simulated EMIT seasons: each pixel the mean of its ground, known clouds, never half a folder."""

import json
from datetime import date

import numpy as np
import pytest
import xarray as xr

from toolkit.errors import InputError
from toolkit.scenes.emit_bands import WAVELENGTHS_NM, in_usable_range
from toolkit.simulate import emit as emit_module
from toolkit.simulate import emit_scene
from toolkit.simulate.emit import granule_dates, simulate_granules
from toolkit.simulate.emit_metadata import MASK_BANDS
from toolkit.simulate.emit_scene import footprints, granule_name, render_granule, track
from toolkit.simulate.emit_spectra import emit_endmembers
from toolkit.simulate.emit_swath import swath_lonlat, swath_positions
from toolkit.simulate.growth import grow
from toolkit.simulate.landscape import make_landscape
from toolkit.simulate.sentinel2 import clear_reflectance, ground_and_water

DAYS = (date(2023, 6, 10), date(2023, 8, 3))
USABLE = in_usable_range(WAVELENGTHS_NM)


def request(**changes):
    return {"landscape": make_landscape(7, shape=(64, 96)), "year": 2023, "dates": DAYS, **changes}


@pytest.fixture(scope="module")
def landscape():
    return make_landscape(7, shape=(64, 96))


@pytest.fixture(scope="module")
def growth(landscape):
    return grow(landscape, year=2023)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return simulate_granules(tmp_path_factory.mktemp("simulated") / "granules", **request())


def render(landscape, growth, day=DAYS[1], *, cloud_amount=0.0, heading_deg=40.0):
    return render_granule(landscape, growth, day, cloud_amount=cloud_amount, heading_deg=heading_deg)


def read(path, group=None):
    with xr.open_dataset(path, engine="h5netcdf", group=group, mask_and_scale=False) as data:
        return data.load()


def layer(swath, name):
    return swath.mask[..., MASK_BANDS[1].index(name)]


def test_the_folder_holds_two_files_a_date_fields_area_and_request(folder):
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 2 * len(DAYS) + 3
    for day in DAYS:
        stamp = f"001_{day:%Y%m%d}T"
        assert sum(name.startswith(f"EMIT_L2A_RFL_{stamp}") for name in names) == 1
        assert sum(name.startswith(f"EMIT_L2A_MASK_{stamp}") for name in names) == 1
    fields = json.loads((folder / "fields.geojson").read_text())
    assert {feature["properties"]["crop"] for feature in fields["features"]} >= {"corn", "rice"}
    assert json.loads((folder / "simulation.json").read_text())["sensor"] == "emit"


def test_the_same_seed_gives_the_same_arrays_and_another_seed_others(folder, tmp_path):
    again = simulate_granules(tmp_path / "again", **request())
    other = simulate_granules(tmp_path / "other", **request(landscape=make_landscape(8, shape=(64, 96))))
    for path in folder.glob("*.nc"):
        for group in (None, "location", "sensor_band_parameters"):
            xr.testing.assert_identical(read(path, group), read(again / path.name, group))
    ours, theirs = ([read(p).reflectance.values for p in sorted(f.glob("*RFL*"))] for f in (folder, other))
    assert all(not np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_strips_do_not_change_the_pixels(landscape, growth, monkeypatch):
    whole = render(landscape, growth, cloud_amount=0.4)
    monkeypatch.setattr(emit_scene, "STRIP", 1000)
    strips = render(landscape, growth, cloud_amount=0.4)
    np.testing.assert_allclose(strips.reflectance, whole.reflectance, atol=1e-6)
    np.testing.assert_array_equal(strips.mask[..., :5], whole.mask[..., :5])


def test_each_pixel_is_the_mean_of_the_ground_under_it(landscape, growth):
    swath = render(landscape, growth)
    path = track(landscape, DAYS[1], heading_deg=40.0)
    shown = footprints(landscape, path)
    ground, _ = ground_and_water(landscape, growth, DAYS[1], emit_endmembers())
    pixels, counts = np.unique(shown, return_counts=True)
    clear = layer(swath, "Cirrus flag").ravel() == 0
    inside = [p for p, n in zip(pixels, counts, strict=True) if n >= 36 and clear[p]]
    assert len(inside) > 40
    flat = swath.reflectance.reshape(-1, 285)
    sky_free = [flat[p] - ground[:, shown == p].mean(axis=1) for p in inside]
    assert np.abs(np.median(sky_free, axis=0)).max() < 0.002
    assert np.std(sky_free, axis=0)[USABLE].max() < 0.01


def test_a_pixel_shows_about_36_pixels_of_the_landscape_and_the_swath_covers_all(landscape):
    for heading in (0.0, 40.0, -25.0):
        path = track(landscape, DAYS[0], heading_deg=heading)
        shown = footprints(landscape, path)
        assert shown.min() >= 0
        assert shown.max() < path.shape[0] * path.shape[1]
        _, counts = np.unique(shown, return_counts=True)
        assert np.quantile(counts, 0.9) == pytest.approx(36, abs=3)
        line, sample = np.divmod(shown, path.shape[1])
        assert min(line.min(), path.shape[0] - 1 - line.max()) >= 14
        assert min(sample.min(), path.shape[1] - 1 - sample.max()) >= 14


def test_positions_are_the_inverse_of_lon_and_lat():
    lon, lat = swath_lonlat(-59.4, -28.6, lines=7, samples=5, heading_deg=33)
    line, sample = swath_positions(lon, lat, center=(-59.4, -28.6), shape=(7, 5), heading_deg=33)
    np.testing.assert_allclose(line, np.arange(7)[:, None] * np.ones(5), atol=1e-6)
    np.testing.assert_allclose(sample, np.arange(5)[None, :] * np.ones((7, 1)), atol=1e-6)


def test_emit_and_sentinel2_show_the_same_ground(landscape, growth):
    full, _ = ground_and_water(landscape, growth, DAYS[0], emit_endmembers())
    ten = clear_reflectance(landscape, growth, DAYS[0])
    near = [int(np.abs(np.array(WAVELENGTHS_NM) - nm).argmin()) for nm in (560, 665, 783, 842, 865)]
    np.testing.assert_allclose(full[near], ten[[1, 2, 5, 6, 7]], rtol=0.25, atol=0.01)
    assert np.corrcoef(full[near[1]].ravel(), ten[2].ravel())[0, 1] > 0.999


def test_around_the_landscape_lies_vegetated_land_without_clouds(landscape, growth):
    swath = render(landscape, growth, cloud_amount=1.0)
    path = track(landscape, DAYS[1], heading_deg=40.0)
    outside = np.setdiff1d(np.arange(path.shape[0] * path.shape[1]), footprints(landscape, path))
    assert not layer(swath, "Cloud flag").ravel()[outside].any()
    red, nir = (swath.reflectance.reshape(-1, 285)[outside, k].mean() for k in (38, 65))
    assert (nir - red) / (nir + red) > 0.3


def test_flagged_clouds_are_bright_dilated_and_named_in_the_aggregate(landscape, growth):
    clear, cloudy = (render(landscape, growth, cloud_amount=amount) for amount in (0.0, 0.5))
    cloud = layer(cloudy, "Cloud flag") == 1
    assert 0.02 < cloud.mean() < 0.5
    assert not layer(clear, "Cloud flag").any()
    blue = 14
    assert cloudy.reflectance[cloud, blue].mean() > clear.reflectance[cloud, blue].mean() + 0.2
    dilated = layer(cloudy, "Dilated Cloud Flag") == 1
    assert (dilated >= cloud).all()
    assert dilated.sum() > cloud.sum()
    flags = cloudy.mask[..., :5]
    np.testing.assert_array_equal(layer(cloudy, "Aggregate Flag"), flags.max(axis=-1))
    assert set(np.unique(flags)) <= {0, 1}
    assert layer(cloudy, "AOD550").max() < 0.5


def test_flooded_rice_before_it_covers_the_water_is_flagged_as_water(landscape, growth):
    swath = render(landscape, growth, date(2023, 4, 24))
    water = layer(swath, "Water flag") == 1
    assert water.any()
    assert swath.reflectance[water, 200].mean() < swath.reflectance[~water, 200].mean()


def test_noise_is_that_of_a_signal_to_noise_ratio_of_some_hundreds():
    flat = np.full((4000, 285), 0.3, np.float32)
    noise = emit_scene._add_noise(flat, np.random.default_rng(0)) - flat
    ratio = 0.3 / noise.std(axis=0)
    assert 100 < ratio.min() < ratio.max() < 500
    assert ratio[-1] < ratio[65]


def test_days_are_irregular_and_lie_in_the_hemispheres_summer():
    north, south = (granule_dates(2023, hemisphere=h) for h in ("north", "south"))
    for days in (north, south):
        assert len(days) == 6
        steps = np.diff([day.toordinal() for day in days])
        assert (steps > 0).all()
        assert len(set(steps)) > 1
    assert {day.month for day in north} <= {6, 7, 8, 9}
    assert {day.month for day in south} <= {11, 12, 1, 2, 3}
    whole = granule_dates(2023, full_year=True)
    assert (len(whole), len({day.month for day in whole})) == (20, 12)
    assert {day.year for day in whole} == {2023}
    assert granule_dates(2023, seed=1) != granule_dates(2023, seed=2)


def test_swaths_of_two_dates_lean_opposite_ways_and_have_cells_of_their_own(folder):
    first, second = (read(p, "location") for p in sorted(folder.glob("*RFL*")))
    slope = [np.sign(float(part.lat[0, -1] - part.lat[0, 0])) for part in (first, second)]
    assert slope == [-1, 1]
    assert first.glt_x.shape != second.glt_x.shape or not np.array_equal(first.glt_x, second.glt_x)


@pytest.mark.parametrize("region", ["southern", "late"])
def test_other_places_are_covered_by_their_swaths(region):
    place = make_landscape(3, region=region, shape=(64, 64))
    path = track(place, DAYS[0], heading_deg=40.0)
    lon, lat = swath_lonlat(*path.center, lines=path.shape[0], samples=path.shape[1], heading_deg=40.0)
    shown = footprints(place, path).ravel()
    box = place.geobox.geographic_extent.boundingbox
    assert box.left - 1e-3 < lon.ravel()[shown].min() < lon.ravel()[shown].max() < box.right + 1e-3
    assert box.bottom - 1e-3 < lat.ravel()[shown].min() < lat.ravel()[shown].max() < box.top + 1e-3


def test_version_2_tells_neither_orbit_nor_scene(tmp_path):
    folder = simulate_granules(tmp_path / "v2", **request(version=2, dates=DAYS[:1]))
    (rfl,), (mask,) = folder.glob("EMIT_L2A_RFL_002_????????T??????.nc"), folder.glob("*_MASK_003_*.nc")
    assert read(rfl).attrs["product_version"] == "V002"
    assert read(mask).mask.shape[-1] == 7


def test_local_time_is_that_of_daylight(landscape):
    for day in DAYS:
        start = granule_name(landscape, day, version=1).start
        local = start.hour + start.minute / 60 - 91.5 / 15
        assert 8.9 < local % 24 < 15.1


def test_the_same_request_again_does_no_work_and_another_is_refused(folder, monkeypatch):
    def never(*_args):
        pytest.fail("granules were made again")

    monkeypatch.setattr(emit_module, "_write_all", never)
    assert simulate_granules(folder, **request()) == folder
    with pytest.raises(InputError, match=r"other values of: cloud_cover, version"):
        simulate_granules(folder, **request(version=2, cloud_cover=0.1))


def test_an_interrupted_generation_leaves_nothing_behind(tmp_path, monkeypatch):
    def broken(*_args):
        raise RuntimeError

    monkeypatch.setattr(emit_module, "write_granule", broken)
    with pytest.raises(RuntimeError):
        simulate_granules(tmp_path / "granules", **request())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "changes", [{"dates": ()}, {"dates": DAYS[:1] * 2}, {"cloud_cover": 1.5}, {"version": 3}]
)
def test_requests_that_make_no_sense_are_refused(tmp_path, changes):
    with pytest.raises(InputError, match="one date or more"):
        simulate_granules(tmp_path / "granules", **request(**changes))

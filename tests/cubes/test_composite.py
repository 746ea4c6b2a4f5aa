"""Median cubes: right value, right step, the same whatever the chunks."""

import warnings
from datetime import date, timedelta

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.area.season import Season, calendar_months, season
from toolkit.cubes.composite import composite_cube, median_cube, observation_layers, step_observations
from toolkit.errors import BandError, InputError, NoItemsError

YEAR = season(2021, hemisphere="north")


def stack(days, values, clear=None, bands=("B02",)):
    """Scenes of a few pixels: ``values`` (time, y, x), the same in all bands plus 10 per band."""
    values = np.asarray(values, np.uint16)
    clear = np.ones(values.shape, bool) if clear is None else np.asarray(clear)
    times = np.array([np.datetime64(day, "ns") for day in days])
    layers = {band: (("time", "y", "x"), values + np.uint16(10 * k)) for k, band in enumerate(bands)}
    place = {"time": times, "y": np.arange(values.shape[1]) * -10.0, "x": np.arange(values.shape[2]) * 10.0}
    return xr.Dataset(
        {**layers, "clear": (("time", "y", "x"), clear)}, coords=place, attrs={"sensor": "sentinel-2"}
    )


def random_stack(seed, dates=40, shape=(7, 9), bands=("B02", "B08")):
    rng = np.random.default_rng(seed)
    days = [date(2021, 4, 20) + timedelta(days=int(d)) for d in sorted(rng.integers(0, 240, dates))]
    values = rng.integers(0, 6000, (dates, *shape))
    return stack(days, values, rng.random(values.shape) < 0.4, bands)


def test_values_stand_in_the_step_of_their_date():
    days = [YEAR.windows[k][0] for k in (0, 7, 42)]
    cube = median_cube(stack(days, [[[1000]], [[2000]], [[3000]]]), YEAR, fill="none")
    seen = cube.isel(band=0, y=0, x=0)
    assert np.flatnonzero(~np.isnan(seen)).tolist() == [0, 7, 42]
    np.testing.assert_allclose(seen[[0, 7, 42]], [0.1, 0.2, 0.3], rtol=1e-6)


def test_southern_season_crosses_the_years_end_in_order():
    south = season(2021, hemisphere="south")
    days = [date(2021, 11, 3), date(2022, 1, 2), date(2022, 5, 20)]
    seen = median_cube(stack(days, [[[1]], [[2]], [[3]]]), south, fill="none").isel(band=0, y=0, x=0)
    assert np.flatnonzero(~np.isnan(seen)).tolist() == [1, 13, 40]


@given(st.integers(0, 10_000))
@settings(max_examples=20)
def test_cube_equals_nanmedian_per_window(seed):
    scenes = random_stack(seed)
    cube = median_cube(scenes, YEAR, fill="none")
    days = scenes.time.values.astype("datetime64[D]")
    for k, (first, last) in enumerate(YEAR.windows):
        inside = (days >= np.datetime64(first)) & (days <= np.datetime64(last))
        for band in ("B02", "B08"):
            seen = scenes[band].where(scenes.clear & (scenes[band] > 0)).values[inside]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # empty windows
                expected = np.nanmedian(seen, axis=0) if inside.any() else np.full((7, 9), np.nan)
            found = cube.sel(band=band, step=k).values
            np.testing.assert_allclose(found, expected * 1e-4, rtol=1e-6)


@pytest.mark.parametrize("chunks", [{"time": 1, "y": 3, "x": 4}, {"time": 40, "y": 7, "x": 9}, {"y": 2}])
@pytest.mark.parametrize("fill", ["none", "linear"])
def test_lazy_cube_equals_eager_bit_for_bit_whatever_the_chunks(chunks, fill):
    scenes = random_stack(3)
    eager = median_cube(scenes, YEAR, fill=fill)

    def refuse(*_, **__):
        pytest.fail("something was computed")

    with dask.config.set(scheduler=refuse):
        lazy = median_cube(scenes.chunk(chunks), YEAR, fill=fill)
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy.compute(), eager)
    np.testing.assert_array_equal(lazy.step_observations.compute(), eager.step_observations)


@given(st.integers(0, 1000), st.randoms(use_true_random=False))
@settings(max_examples=15)
def test_order_of_dates_changes_nothing(seed, random):
    scenes = random_stack(seed, bands=("B02",))
    order = list(range(scenes.sizes["time"]))
    random.shuffle(order)
    np.testing.assert_array_equal(median_cube(scenes.isel(time=order), YEAR), median_cube(scenes, YEAR))


@given(st.integers(0, 1000))
@settings(max_examples=15)
def test_a_date_that_is_nowhere_clear_changes_nothing(seed):
    scenes = random_stack(seed, bands=("B02",))
    cloudy = scenes.isel(time=[5]).assign(clear=xr.zeros_like(scenes.clear.isel(time=[5])))
    more = xr.concat([scenes, cloudy + 0], dim="time").assign_attrs(scenes.attrs)
    more["clear"] = more.clear.astype(bool)
    more["B02"] = more.B02.astype(np.uint16)
    np.testing.assert_array_equal(median_cube(more, YEAR), median_cube(scenes, YEAR))


def test_gaps_are_filled_linearly_and_ends_held():
    days = [YEAR.windows[k][0] for k in (10, 14)]
    cube = median_cube(stack(days, [[[1000]], [[3000]]]), YEAR).isel(band=0, y=0, x=0).values
    np.testing.assert_allclose(cube[10:15], [0.1, 0.15, 0.2, 0.25, 0.3], rtol=1e-6)
    assert np.unique(cube[:10]) == cube[10]
    assert np.unique(cube[15:]) == cube[14]


def test_pixels_never_seen_stay_missing():
    scenes = stack([date(2021, 6, 1)], [[[1000, 1000]]], [[[True, False]]])
    cube = median_cube(scenes, YEAR)
    assert not cube[..., 0].isnull().any()
    assert cube[..., 1].isnull().all()


def test_input_is_not_changed():
    scenes = random_stack(1)
    before = scenes.copy(deep=True)
    median_cube(scenes, YEAR)
    xr.testing.assert_identical(scenes, before)


def test_counts_and_longest_gap_of_a_known_series():
    days = [YEAR.windows[k][0] for k in (5, 5, 20)]
    counts = step_observations(stack(days, np.ones((3, 1, 1))), YEAR)
    assert counts[5, 0, 0] == 2
    layers = observation_layers(counts)
    assert layers.observations.item() == 3
    assert layers.longest_gap.item() == 22  # steps 21 to 42


@pytest.mark.parametrize(
    ("scenes", "options", "error", "message"),
    [
        (stack([date(2019, 6, 1)], [[[1]]]), {}, NoItemsError, "No scene lies in the season 2021-05-01"),
        (stack([date(2021, 6, 1)], [[[1]]]), {"fill": "spline"}, InputError, "fill is 'spline'"),
        (stack([date(2021, 6, 1)], [[[1]]])[["B02"]], {}, BandError, "need bands and 'clear'"),
        (stack([date(2021, 6, 1)], [[[1]]])[["clear"]], {}, BandError, "need bands and 'clear'"),
    ],
)
def test_bad_requests_are_named(scenes, options, error, message):
    with pytest.raises(error, match=message):
        median_cube(scenes, YEAR, **options)


def test_any_step_length_works():
    monthly = Season(year=2021, first_step=4, n_steps=7, step_days=30)
    cube = median_cube(random_stack(2), monthly)
    assert cube.shape == (2, 7, 7, 9)


def test_monthly_ndvi_of_real_wheat_and_maize_matches_its_published_figures(shared_data):
    """The figures of the data's README: SCL 4 5 6, median over all pixels and dates of the month."""
    import rasterio

    from toolkit.area.aoi import read_aoi
    from toolkit.area.grid import output_geobox
    from toolkit.catalog.search import search_items
    from toolkit.scenes.sentinel2 import load_scenes

    folder = shared_data / "flanders_2019"
    aoi = read_aoi(folder / "aoi.geojson")
    whole_year = Season(year=2019, first_step=0, n_steps=73)
    items = search_items(folder / "catalog.json", aoi, whole_year)
    scenes = load_scenes(items, output_geobox(aoi), bands=["B04", "B08"], clear="strict")
    red, near = (scenes[band].where(scenes.clear).astype(float) for band in ("B04", "B08"))
    ndvi = (near - red) / (near + red)
    with rasterio.open(folder / "labels.tif") as file:
        codes = xr.DataArray(file.read(1), dims=("y", "x"))
    published = {
        1110: {4: 0.83, 5: 0.88, 6: 0.81, 7: 0.30, 8: 0.17},  # winter wheat
        1200: {5: 0.29, 6: 0.58, 7: 0.81, 8: 0.84, 10: 0.39},  # maize
    }
    for code, months in published.items():
        for month, expected in months.items():
            values = ndvi.isel(time=ndvi.time.dt.month == month).where(codes == code).values
            assert np.nanmedian(values) == pytest.approx(expected, abs=0.02), (code, month)


def test_one_task_for_each_spatial_block_whatever_the_bands_and_dates():
    scenes = random_stack(0, bands=("B02", "B03", "B08")).sel(time=slice("2021-05-01", "2021-11-30"))
    scenes = scenes.chunk({"time": 1, "y": 4, "x": 3})
    cube = median_cube(scenes, YEAR)
    graph = cube.data.__dask_graph__()
    reads = {
        name for variable in (*scenes.data_vars,) for name in scenes[variable].data.__dask_graph__().layers
    }
    made = [len(layer) for name, layer in graph.layers.items() if name not in reads]
    assert made == [2 * 3]


@pytest.mark.parametrize("fill", ["none", "linear", "periodic"])
@pytest.mark.parametrize(
    ("statistic", "reference"),
    [
        ("median", np.nanmedian),
        ("minimum", np.nanmin),
        ("maximum", np.nanmax),
        (25, lambda values, axis: np.nanpercentile(values, 25, axis=axis)),
    ],
)
def test_statistics_of_months_equal_numpy(statistic, reference, fill):
    scenes, months = random_stack(4, bands=("B02",)), calendar_months(2021, first_month=4, n_months=9)
    cube = composite_cube(scenes, months, statistic=statistic, fill=fill)
    days = scenes.time.values.astype("datetime64[D]")
    seen = scenes.B02.where(scenes.clear & (scenes.B02 > 0)).values
    for step, (first, last) in enumerate(months.windows):
        inside = (days >= np.datetime64(first)) & (days <= np.datetime64(last))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # empty windows
            expected = reference(seen[inside], axis=0) if inside.any() else np.full((7, 9), np.nan)
        found = cube.sel(band="B02", step=step).values
        known = ~np.isnan(expected)
        np.testing.assert_allclose(found[known], expected[known] * 1e-4, rtol=1e-6)
        assert fill != "none" or np.isnan(found[~known]).all()
    assert fill == "none" or not cube.isnull().any()


def test_one_part_lazy_makes_all_lazy():
    scenes = random_stack(0)
    mixed = scenes.assign(B08=scenes.B08.chunk({"y": 2}))
    cube = median_cube(mixed, YEAR)
    assert cube.chunks is not None
    np.testing.assert_array_equal(cube.compute(), median_cube(scenes, YEAR))


@pytest.mark.parametrize("statistic", ["mode", -1, 101])
def test_unknown_statistics_are_named(statistic):
    with pytest.raises(InputError, match=f"statistic is {statistic!r}; allowed: 'median', 'minimum'"):
        composite_cube(random_stack(0), YEAR, statistic=statistic)

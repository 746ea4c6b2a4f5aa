"""Cubes on disk: what is read back is what was written, in its place, whoever reads it."""

import json

import numpy as np
import pyproj
import pytest
import rasterio
import rioxarray  # noqa: F401  # gives .rio
import xarray as xr
import zarr
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox
from odc.geo.xr import xr_coords

from toolkit.area.grid import Tile, tiles
from toolkit.cubes.features import build_features, recipe_season
from toolkit.cubes.layout import chunk_edge, companions, variable_name
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.cubes.store import create_store, finish_store, write_region
from toolkit.errors import GridError, InputError, StorageError

KINDS = ("median2d", "median1d", "harmonic")
GRID = GeoBox.from_bbox(BoundingBox(600000, 5600000, 600400, 5600500, crs="EPSG:32631"), resolution=10)
HALF_A_COUNT = 0.5e-4 + 4e-7  # float32 holds the brightest reflectance to 2.4e-7


def recipe_of(kind, **options):
    defaults = {"bands": ("B03", "B04", "B08"), "step_days": 30, "first_step": 2, "n_steps": 5, "order": 1}
    return FeatureRecipe(kind=kind, fill="none", **(defaults | options))


def season_of(recipe):
    return recipe_season(recipe, year=2021, hemisphere="north")


def scenes_of(recipe, *, grid=GRID, seed=0):
    """Scenes every ten days with random numbers of the full range, a third of them cloudy."""
    rng = np.random.default_rng(seed)
    season = season_of(recipe)
    times = np.arange(season.start, season.end, np.timedelta64(10, "D")).astype("datetime64[ns]")
    shape = (times.size, *grid.shape.yx)
    scenes = xr.Dataset(
        {
            band: (("time", "y", "x"), rng.integers(1, 65536, shape).astype(np.uint16))
            for band in recipe.bands
        },
        coords={**xr_coords(grid), "time": times},
        attrs={"sensor": "sentinel-2", "simulated": 1},
    )
    clear = rng.random(shape) < 0.6
    clear[:, 3, 5] = False  # a pixel never seen
    return scenes.assign(clear=(("time", "y", "x"), clear))


def write_cube(path, recipe, features, *, grid=GRID, tile_size=16, simulated=True):
    season = season_of(recipe)
    attributes = {"attribution": "nobody"}
    create_store(path, recipe, season, grid, tile_size=tile_size, simulated=simulated, attributes=attributes)
    for tile in tiles(grid, size=tile_size):
        write_region(path, features.isel(y=tile.y, x=tile.x), recipe, tile)
    return finish_store(path)


@pytest.fixture(scope="module")
def cubes(tmp_path_factory):
    """Kind -> recipe, features in memory, and their store."""
    made = {}
    for kind in KINDS:
        recipe = recipe_of(kind)
        features = build_features(scenes_of(recipe), recipe, season_of(recipe))
        path = tmp_path_factory.mktemp(kind) / "features.zarr"
        made[kind] = recipe, features, write_cube(path, recipe, features)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_values_come_back_and_gaps_stay_gaps(cubes, kind):
    recipe, features, path = cubes[kind]
    with xr.open_zarr(path) as cube:
        read = cube[variable_name(recipe)]
        assert read.dims == features.dims
        np.testing.assert_array_equal(np.isnan(read), np.isnan(features))
        assert np.isnan(features).any()
        tolerance = 0 if kind == "harmonic" else HALF_A_COUNT
        np.testing.assert_allclose(read, features, rtol=0, atol=tolerance)
        assert set(cube.data_vars) == {variable_name(recipe), *companions(features)}
        for name in companions(features):
            np.testing.assert_array_equal(cube[name], features[name])
            assert cube[name].dtype == np.uint8


def test_medians_keep_every_value_that_scenes_may_have(tmp_path):
    recipe = recipe_of("median2d", bands=("B04",))
    features = build_features(scenes_of(recipe), recipe, season_of(recipe))
    values = features.to_numpy()
    values[0, 0, 0, :4] = np.array([1, 9999, 65534, 65535]) * np.float32(1e-4)
    path = write_cube(tmp_path / "a.zarr", recipe, features)
    stored = zarr.open_array(path / "reflectance", mode="r")[0, 0, 0, :4]
    np.testing.assert_array_equal(stored, [1, 9999, 65534, 65535])
    with xr.open_zarr(path) as cube:
        np.testing.assert_allclose(
            cube.reflectance[0, 0, 0, :4], [0.0001, 0.9999, 6.5534, 6.5535], rtol=1e-12
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_says_where_it_lies_to_every_reader(cubes, kind):
    recipe, _, path = cubes[kind]
    with xr.open_zarr(path) as cube:
        assert cube.odc.geobox == GRID
        assert cube[variable_name(recipe)].odc.geobox == GRID
        assert cube.rio.crs.to_epsg() == 32631
        assert cube.rio.transform() == GRID.affine
        assert cube[variable_name(recipe)].rio.transform() == GRID.affine
        np.testing.assert_array_equal(cube.x[:2], [600005, 600015])
        np.testing.assert_array_equal(cube.y[:2], [5600495, 5600485])
        for axis in ("x", "y"):
            assert cube[axis].attrs["standard_name"] == f"projection_{axis}_coordinate"
            assert cube[axis].attrs["units"] == "metre"
        assert cube[variable_name(recipe)].attrs["grid_mapping"] == "spatial_ref"
        assert pyproj.CRS(cube.spatial_ref.attrs["crs_wkt"]).to_epsg() == 32631
        assert cube.spatial_ref.attrs["GeoTransform"] == "600000 10 0 5600500 0 -10"
        # https://github.com/zarr-conventions/spatial and .../proj, version 1
        assert {entry["uuid"] for entry in cube.attrs["zarr_conventions"]} == {
            "f17cb550-5864-4468-aeb7-f3180cfb622f",
            "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
        }
        assert cube.attrs["proj:code"] == "EPSG:32631"
        assert pyproj.CRS(cube.attrs["proj:wkt2"]).to_epsg() == 32631
        assert cube.attrs["spatial:dimensions"] == ["y", "x"]
        assert cube.attrs["spatial:shape"] == [50, 40]
        assert cube.attrs["spatial:transform"] == [10, 0, 600000, 0, -10, 5600500]
        assert cube.attrs["spatial:bbox"] == [600000, 5600000, 600400, 5600500]


def test_one_step_saved_with_rioxarray_lies_in_the_right_place(cubes, tmp_path):
    _, features, path = cubes["median2d"]
    with xr.open_zarr(path) as cube:
        cube.reflectance.sel(band="B08").isel(step=2).rio.to_raster(tmp_path / "one.tif")
    with rasterio.open(tmp_path / "one.tif") as file:
        assert file.transform == GRID.affine
        assert file.crs.to_epsg() == 32631
        ((value,),) = file.sample([(600000 + 7 * 10 + 5, 5600500 - 4 * 10 - 5)])
        assert value * file.scales[0] == pytest.approx(float(features[2, 2, 4, 7]), abs=HALF_A_COUNT)


def test_steps_have_their_days_and_features_their_band(cubes):
    windows = np.array(season_of(recipe_of("median2d")).windows, dtype="datetime64[D]")
    with xr.open_zarr(cubes["median2d"][2]) as cube:
        assert cube.band.to_numpy().tolist() == ["B03", "B04", "B08"]
        np.testing.assert_array_equal(cube.step_start.astype("datetime64[D]"), windows[:, 0])
        np.testing.assert_array_equal(cube.step_end.astype("datetime64[D]"), windows[:, 1])
    with xr.open_zarr(cubes["median1d"][2]) as cube:
        assert cube.feature.to_numpy()[5:7].tolist() == ["B04_00", "B04_01"]
        assert cube.band.to_numpy()[5:7].tolist() == ["B04", "B04"]
        assert cube.step.to_numpy()[5:7].tolist() == [0, 1]
        np.testing.assert_array_equal(cube.step_end.astype("datetime64[D]"), np.tile(windows[:, 1], 3))
    with xr.open_zarr(cubes["harmonic"][2]) as cube:
        assert cube.feature.to_numpy()[:4].tolist() == [
            "B03_constant",
            "B03_cos1",
            "B03_sin1",
            "B04_constant",
        ]
        assert cube.band.to_numpy()[:4].tolist() == ["B03", "B03", "B03", "B04"]
        assert cube.coefficients.attrs["year_start"] == "2021-01-01"


def test_a_store_says_what_it_means(cubes):
    recipe, features, path = cubes["median2d"]
    with xr.open_zarr(path) as cube:
        assert FeatureRecipe.from_dict(json.loads(cube.attrs["recipe"])) == recipe
        season = json.loads(cube.attrs["season"])
        assert (season["first_day"], season["last_day"]) == ("2021-03-02", "2021-07-29")
        assert cube.attrs["attribution"] == "nobody"
        assert cube.attrs["simulated"] == cube.reflectance.attrs["simulated"] == 1
        assert cube.reflectance.attrs["long_name"] == features.attrs["long_name"]
        assert cube.reflectance.attrs["units"] == "1"


def test_a_store_opens_with_one_read_of_metadata(cubes):
    document = json.loads((cubes["median2d"][2] / "zarr.json").read_text())
    assert document["zarr_format"] == 3
    assert {"reflectance", "step_observations", "x", "y"} <= set(
        document["consolidated_metadata"]["metadata"]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_tile_size_changes_nothing_that_is_read(cubes, tmp_path, kind):
    recipe, features, path = cubes[kind]
    with xr.open_zarr(path) as one:
        for tile_size in (23, 64):
            other = write_cube(tmp_path / f"{tile_size}.zarr", recipe, features, tile_size=tile_size)
            with xr.open_zarr(other) as two:
                xr.testing.assert_identical(one.load(), two.load())


def test_lazy_features_and_any_order_of_dimensions_are_written_alike(cubes, tmp_path):
    recipe, features, path = cubes["median2d"]
    lazy = features.chunk(y=16, x=16).transpose("y", "x", "band", "step")
    with xr.open_zarr(path) as one, xr.open_zarr(write_cube(tmp_path / "a.zarr", recipe, lazy)) as two:
        xr.testing.assert_identical(one.load(), two.load())


def test_tiles_that_are_not_written_read_as_not_observed(tmp_path):
    for kind in KINDS:
        recipe = recipe_of(kind)
        path = tmp_path / f"{kind}.zarr"
        create_store(path, recipe, season_of(recipe), GRID, tile_size=16, simulated=False, attributes={})
        with xr.open_zarr(finish_store(path)) as cube:
            assert np.isnan(cube[variable_name(recipe)]).all()
            assert all((cube[name] == 0).all() for name in set(cube.data_vars) - {variable_name(recipe)})
        assert not list((path / variable_name(recipe)).glob("c/**/*"))  # and take no room


@pytest.mark.parametrize(
    ("tile_size", "edge"), [(16, 16), (100, 100), (256, 256), (512, 256), (1000, 250), (300, 150), (257, 257)]
)
def test_chunks_divide_tiles_and_are_of_a_readable_size(tile_size, edge):
    assert chunk_edge(tile_size) == edge


def test_a_chunk_holds_one_band(cubes):
    for kind, lead in {"median2d": (1, 5), "median1d": (5,), "harmonic": (3,)}.items():
        recipe, _, path = cubes[kind]
        assert zarr.open_array(path / variable_name(recipe), mode="r").chunks == (*lead, 16, 16)


def test_tiles_that_would_share_a_chunk_are_refused(cubes, tmp_path):
    recipe, features, _ = cubes["median2d"]
    path = tmp_path / "a.zarr"
    create_store(path, recipe, season_of(recipe), GRID, tile_size=16, simulated=False, attributes={})
    for y, x in ((slice(0, 16), slice(8, 24)), (slice(0, 20), slice(0, 16))):
        with pytest.raises(GridError, match="Write whole tiles"):
            write_region(path, features[:, :, y, x], recipe, Tile(0, 0, y, x, GRID[y, x]))
    tile = next(tiles(GRID, size=16))
    with pytest.raises(GridError, match=r"got \(3, 4, 16, 16\)"):
        write_region(path, features.isel(step=slice(4), y=tile.y, x=tile.x), recipe, tile)
    with pytest.raises(GridError, match=r"lack \['step_observations'\]"):
        write_region(path, features.drop_vars("step_observations"), recipe, tile)


def test_chunks_that_are_too_large_are_refused(tmp_path):
    wide = GeoBox.from_bbox(BoundingBox(0, 0, 8191, 8191, crs="EPSG:32631"), resolution=1)
    recipe = FeatureRecipe()
    with pytest.raises(InputError, match=r"chunks of 5.8 GB in 'reflectance'; allowed: 2.1 GB"):
        create_store(
            tmp_path / "a", recipe, season_of(recipe), wide, tile_size=8191, simulated=False, attributes={}
        )
    assert not (tmp_path / "a").exists()


def test_a_store_that_is_gone_or_cannot_be_made_is_a_storage_error(cubes, tmp_path):
    recipe, features, _ = cubes["median2d"]
    tile = next(tiles(GRID, size=16))
    with pytest.raises(StorageError, match="cannot be written"):
        write_region(tmp_path / "none", features.isel(y=tile.y, x=tile.x), recipe, tile)
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        create_store(
            tmp_path / "file" / "a.zarr",
            recipe,
            season_of(recipe),
            GRID,
            tile_size=16,
            simulated=False,
            attributes={},
        )

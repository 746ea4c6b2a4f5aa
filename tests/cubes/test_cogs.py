"""Cubes as GeoTIFFs: valid COGs that hold what the store holds, the same bytes each time."""

import hashlib
import json

import numpy as np
import pytest
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox
from rio_cogeo import cog_validate

from tests.cubes.test_store import GRID, KINDS, recipe_of, scenes_of, season_of, write_cube
from toolkit.cubes.cogs import cog_layers, write_card, write_cog
from toolkit.cubes.features import build_features
from toolkit.cubes.layout import variable_name
from toolkit.errors import StorageError

LARGE = GeoBox.from_bbox(BoundingBox(600000, 5600000, 606000, 5605200, crs="EPSG:32631"), resolution=10)


def make(folder, kind, *, grid=GRID, tile_size=32, **options):
    """Write a store and its GeoTIFFs; return both places."""
    recipe = recipe_of(kind, **options)
    features = build_features(scenes_of(recipe, grid=grid), recipe, season_of(recipe))
    store = write_cube(folder / f"{kind}{tile_size}.zarr", recipe, features, grid=grid, tile_size=tile_size)
    cogs = folder / f"{kind}{tile_size}"
    cogs.mkdir()
    for layer in cog_layers(store):
        write_cog(layer, store, cogs)
    return recipe, store, cogs


@pytest.mark.parametrize("kind", KINDS)
def test_each_band_is_a_valid_cog_with_what_the_store_holds(tmp_path, kind):
    recipe, store, folder = make(tmp_path, kind)
    with xr.open_zarr(store) as cube:
        features = cube[variable_name(recipe)].load()
    beside = {"median2d": ["step_observations"], "median1d": [], "harmonic": ["solved"]}[kind]
    assert sorted(path.stem for path in folder.iterdir()) == sorted([*recipe.bands, *beside])
    for band in recipe.bands:
        path = folder / f"{band}.tif"
        assert cog_validate(path) == (True, [], [])
        with rasterio.open(path) as file:
            values = file.read(masked=True) * file.scales[0]
            expected = features.sel(band=band) if kind == "median2d" else features[features.band == band]
            np.testing.assert_array_equal(values.mask, np.isnan(expected))
            np.testing.assert_allclose(values.filled(np.nan), expected, rtol=1e-12)
            assert file.transform == GRID.affine
            assert file.crs.to_epsg() == 32631
            assert file.tags()["TIFFTAG_COPYRIGHT"] == "nobody"
            assert file.tags()["SIMULATED"] == "1"
            assert json.loads(file.tags()["RECIPE"])["kind"] == kind
            if kind == "harmonic":
                assert file.descriptions == (f"{band}_constant", f"{band}_cos1", f"{band}_sin1")
                assert (file.dtypes[0], np.isnan(file.nodata)) == ("float32", True)
            else:
                assert file.descriptions[:2] == ("2021-03-02 to 2021-03-31", "2021-04-01 to 2021-04-30")
                assert (file.dtypes[0], file.nodata, set(file.scales)) == ("uint16", 0, {1e-4})


@pytest.mark.parametrize(("kind", "name"), [("median2d", "step_observations"), ("harmonic", "solved")])
def test_layers_beside_the_bands_are_bytes_without_nodata(tmp_path, kind, name):
    _, store, folder = make(tmp_path, kind)
    with xr.open_zarr(store) as cube, rasterio.open(folder / f"{name}.tif") as file:
        np.testing.assert_array_equal(file.read().squeeze(), cube[name])
        assert file.nodata is None
        assert file.dtypes[0] == "uint8"


def test_the_same_store_gives_the_same_bytes_whatever_the_tiles(tmp_path):
    folders = [make(tmp_path, "median2d", tile_size=size)[2] for size in (23, 64)]
    for name in ("B03.tif", "step_observations.tif"):
        assert len({hashlib.sha256((folder / name).read_bytes()).hexdigest() for folder in folders}) == 1


def test_large_cubes_have_overviews_that_do_not_mix_in_nodata(tmp_path):
    _, _, folder = make(
        tmp_path, "median2d", grid=LARGE, tile_size=256, bands=("B04",), n_steps=1, first_step=5
    )
    path = folder / "B04.tif"
    assert cog_validate(path) == (True, [], [])
    with rasterio.open(path) as full, rasterio.open(path, overview_level=0) as half:
        assert full.overviews(1)[0] == 2
        pixels = full.read(1, masked=True)[:400, :400].astype(float).reshape(200, 2, 200, 2)
        means = pixels.mean(axis=(1, 3))
        overview = half.read(1, masked=True)[:200, :200]
        np.testing.assert_array_equal(overview.mask, means.mask)
        np.testing.assert_allclose(overview.compressed(), means.compressed(), atol=0.51)


def test_the_card_says_what_the_files_mean(tmp_path):
    recipe, store, folder = make(tmp_path, "median2d")
    card = json.loads(write_card(store, folder).read_text())
    assert card["recipe"] == recipe.to_dict()
    assert card["season"]["first_day"] == "2021-03-02"
    assert card["cropglobe_cube"] == 1
    assert card["attribution"] == "nobody"


def test_a_folder_that_is_not_there_is_a_storage_error(tmp_path):
    _, store, _ = make(tmp_path, "median1d")
    with pytest.raises(StorageError, match="cannot be written"):
        write_cog(cog_layers(store)[0], store, tmp_path / "none")

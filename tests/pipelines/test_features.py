"""The command features: cubes that hold what build_features gives, whole or not at all."""

import hashlib
import json
import shutil
from datetime import UTC, datetime, timedelta

import click
import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401  # gives .rio
import shapely
import xarray as xr
import zarr
from rio_cogeo import cog_validate

from pipelines import features
from pipelines.cli import main
from pipelines.config import FeaturesRequest
from pipelines.options import request_options
from tests.conftest import GEOBOX, footprint, make_scene, write_catalog
from tests.pipelines.test_bad_input import fails, geojson
from toolkit.catalog.saved_items import read_items
from toolkit.cubes.features import build_features, recipe_season
from toolkit.errors import CropglobeWarning, RemoteError, StorageError
from toolkit.scenes.clear import ClearSky
from toolkit.scenes.sensors import SENTINEL2_BANDS
from toolkit.scenes.sentinel2 import load_scenes

START = datetime(2021, 5, 2, 10, 50, tzinfo=UTC)
HALF_A_COUNT = 0.5e-4 + 4e-7  # float32 holds the brightest reflectance to 2.4e-7
KINDS = {"median2d": "reflectance", "median1d": "reflectance", "harmonic": "coefficients"}


def build_place(folder):
    """Five scenes of random numbers, a third of them under clouds, and the area they cover."""
    rng = np.random.default_rng(0)
    shape = GEOBOX.shape.yx
    items = [
        make_scene(
            folder,
            f"d{k}",
            START + timedelta(days=25 * k),
            value={band: rng.integers(1, 9000, shape) for band in SENTINEL2_BANDS},
            scl=np.where(rng.random((16, 16)).repeat(2, 0).repeat(2, 1) < 0.3, 9, 4),
        )
        for k in range(5)
    ]
    write_catalog(folder, items)
    geojson(folder / "aoi.geojson", footprint(GEOBOX))
    return folder


@pytest.fixture
def place(tmp_path):
    """Scenes that a test may spoil."""
    return build_place(tmp_path)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Scenes that stay as they are."""
    return build_place(tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def stores(clean, client):
    """Kind -> result of four tiles."""
    return {
        kind: features.run(request(clean, kind=kind, tile_size=16, out=clean / kind), client, progress=False)
        for kind in KINDS
    }


@pytest.fixture(scope="module")
def cogs(clean, client):
    """Kind -> result of one tile, as GeoTIFFs."""
    return {
        kind: features.run(request(clean, kind=kind, format="cog", out=clean / kind), client, progress=False)
        for kind in KINDS
    }


def request(place, **changes):
    options = {
        "aoi": place / "aoi.geojson",
        "catalog": str(place / "catalog.json"),
        "year": 2021,
        "bands": ("B03", "B8A"),
        "step_days": 30,
        "first_step": 4,
        "n_steps": 4,
        "fill": "none",
        "order": 1,
        "tile_size": 32,
        "out": place / "result",
    }
    return FeaturesRequest.make({**options, **changes})


def arguments(place, **changes):
    values = request(place, workers=1).model_dump(exclude_none=True) | changes
    flags = []
    for key, value in values.items():
        for part in value if isinstance(value, tuple) else (value,):
            flags += [f"--{key.replace('_', '-')}", str(part)]
    return ["features", *flags]


def eager(result):
    """The same features made at once over the whole area."""
    season = recipe_season(result.recipe, year=2021, hemisphere="north")
    sky = ClearSky(result.recipe.clear, result.recipe.dilation_m)
    items = read_items(result.path.parent / "items.json")
    return build_features(
        load_scenes(items, result.geobox, bands=result.recipe.bands, clear=sky), result.recipe, season
    )


def contents(folder):
    """Every file below a folder and its bytes."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def check_same(result, expected):
    """Compare a store with features made at once over the whole area."""
    kind = result.recipe.kind
    with xr.open_zarr(result.path) as cube:
        read = cube[KINDS[kind]]
        assert read.dims == expected.dims
        np.testing.assert_array_equal(np.isnan(read), np.isnan(expected))
        np.testing.assert_allclose(read, expected, rtol=0, atol=0 if kind == "harmonic" else HALF_A_COUNT)
        assert cube.odc.geobox == GEOBOX
        assert cube.rio.crs.to_epsg() == 32631
        assert cube.rio.transform() == GEOBOX.affine
        if kind == "median2d":
            np.testing.assert_array_equal(cube.step_observations, expected.step_observations)
    assert result.observed == pytest.approx(float(np.isfinite(expected).mean()))


@pytest.mark.parametrize("kind", KINDS)
def test_the_store_holds_what_is_made_at_once_over_the_whole_area(stores, kind):
    expected = eager(stores[kind])
    assert 0 < np.isnan(expected).sum() < expected.size
    check_same(stores[kind], expected)


def test_filled_gaps_and_grown_clouds_do_not_show_the_tiles(clean, client):
    options = {"fill": "linear", "dilation": 20.0, "tile_size": 16, "out": clean / "filled"}
    result = features.run(request(clean, **options), client, progress=False)
    check_same(result, eager(result))


def test_items_given_from_the_same_folder_stay_as_they_are(place, client):
    items = features.run(request(place), client, progress=False).found.path
    cloudy = json.loads(items.read_text())
    cloudy["features"][0]["properties"]["eo:cloud_cover"] = 90
    items.write_text(json.dumps(cloudy))
    before = items.read_bytes()
    asked = request(place, catalog=None, items=items, max_cloud_cover=50, offset=-0.1)
    result = features.run(asked, client, progress=False)
    assert items.read_bytes() == before
    assert result.found.path == place / "result" / "used_items.json"
    assert len(read_items(result.found.path)) == 4


def test_the_folder_holds_the_cube_and_what_it_was_made_from(place, client):
    result = features.run(request(place), client, progress=False)
    out = place / "result"
    assert {path.name for path in out.iterdir()} == {
        "features.zarr", "items.json", "offset_checks.json", "run.json", "run.yaml"
    }  # fmt: skip
    record = json.loads((out / "run.json").read_text())
    assert record["attribution"] == "Contains modified Copernicus Sentinel data 2021"
    assert record["recipe"] == result.recipe.to_dict()
    assert len(record["items"]) == 5
    assert record["tiles"] == {"all": 1, "outside_the_area": 0}
    assert FeaturesRequest.read(out / "run.yaml", {}) == request(place)
    with xr.open_zarr(result.path) as cube:
        assert cube.attrs["attribution"] == record["attribution"]
        assert cube.attrs["simulated"] == 0
        assert json.loads(cube.attrs["versions"]) == record["versions"]
    assert "5 scenes used, left out: none" in result.lines()


@pytest.mark.parametrize("kind", KINDS)
def test_geotiffs_are_valid_and_agree_with_the_store(stores, cogs, kind):
    folder = cogs[kind].path
    beside = {"median2d": {"step_observations.tif"}, "median1d": set(), "harmonic": {"solved.tif"}}[kind]
    assert {path.name for path in folder.iterdir()} == {"B03.tif", "B8A.tif", "cube.json"} | beside
    with xr.open_zarr(stores[kind].path) as cube:
        for band in ("B03", "B8A"):
            path = folder / f"{band}.tif"
            assert cog_validate(path) == (True, [], [])
            read = cube[KINDS[kind]]
            expected = read.sel(band=band) if kind == "median2d" else read[(read.band == band).to_numpy()]
            with rasterio.open(path) as file:
                values = file.read(masked=True) * file.scales[0]
                np.testing.assert_allclose(values.filled(np.nan), expected, rtol=1e-12)
                assert file.transform == GEOBOX.affine
                assert file.tags()["TIFFTAG_COPYRIGHT"] == cogs[kind].attribution


def test_tile_size_changes_nothing_that_is_read(clean, client, stores):
    for kind in ("median2d", "harmonic"):
        whole = features.run(request(clean, kind=kind, out=clean / "whole"), client, progress=False)
        with xr.open_zarr(stores[kind].path) as one, xr.open_zarr(whole.path) as two:
            xr.testing.assert_identical(one.load(), two.load())


def test_tile_size_changes_no_byte_of_the_geotiffs(clean, client, cogs):
    tiled = request(clean, format="cog", tile_size=16, out=clean / "tiled")
    assert contents(features.run(tiled, client, progress=False).path) == contents(cogs["median2d"].path)


def test_tiles_outside_the_area_are_not_read_and_the_others_are_whole(clean, client, stores):
    corner = GEOBOX[:10, :].extent.geom | GEOBOX[:, :10].extent.geom  # an L of two strips
    in_degrees = GEOBOX.extent.__class__(corner, GEOBOX.crs).to_crs("EPSG:4326").geom
    geojson(clean / "corner.geojson", shapely.geometry.mapping(in_degrees))
    options = {"aoi": clean / "corner.geojson", "tile_size": 16, "out": clean / "corner"}
    result = features.run(request(clean, **options), client, progress=False)
    assert (len(result.tiles), result.n_outside) == (4, 1)
    with xr.open_zarr(result.path) as cube, xr.open_zarr(stores["median2d"].path) as whole:
        assert np.isnan(cube.reflectance[..., 16:, 16:]).all()
        xr.testing.assert_equal(cube.isel(y=slice(16)), whole.isel(y=slice(16)))
        xr.testing.assert_equal(cube.isel(x=slice(16)), whole.isel(x=slice(16)))


@pytest.mark.parametrize("form", ["zarr", "cog"])
def test_a_tile_that_fails_leaves_the_earlier_cube_and_no_debris(place, client, form):
    result = features.run(request(place, format=form), client, progress=False)
    before = contents(place / "result")
    path = place / "pixels" / "d1" / "B03.tif"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(RemoteError, match="could not be read"):
        features.run(request(place, format=form), client, progress=False)
    assert contents(place / "result") == before
    assert result.path.is_dir()
    assert not list((place / "result").glob(".*"))


def test_a_geotiff_that_fails_leaves_no_folder(place, client, monkeypatch):
    def full(*_, **__):
        msg = "cannot be written"
        raise StorageError(msg)

    monkeypatch.setattr("toolkit.cubes.cogs.write_cog", full)
    with pytest.raises(StorageError, match="cannot be written"):
        features.run(request(place, format="cog"), client, progress=False)
    assert list((place / "result").iterdir()) == []


def test_a_cube_replaces_an_earlier_one_of_its_form_only(clean, client, stores, cogs):
    before = contents(cogs["median1d"].path)
    assert stores["median1d"].path.parent == cogs["median1d"].path.parent  # both forms in one folder
    out = clean / "replaced"
    shutil.copytree(stores["median1d"].path.parent, out)
    result = features.run(request(clean, kind="harmonic", out=out), client, progress=False)
    with xr.open_zarr(result.path) as cube:
        assert "reflectance" not in cube
        assert "coefficients" in cube
    assert contents(out / "features") == before


def test_folders_of_another_kind_are_never_touched(place, capfd):
    mine = place / "result" / "features.zarr"
    zarr.create_group(mine, zarr_format=3, attributes={"title": "years of work"})
    fails(arguments(place), capfd, code=7, saying=["is not overwritten", "it is something else"])
    thesis = place / "result" / "features"
    thesis.mkdir()
    (thesis / "chapter.tex").write_text("precious")
    fails(arguments(place, format="cog"), capfd, code=7, saying=["is not overwritten", "'cube.json'"])
    assert (thesis / "chapter.tex").read_text() == "precious"
    assert zarr.open_group(mine, mode="r").attrs["title"] == "years of work"
    assert {path.name for path in (place / "result").iterdir()} == {"features.zarr", "features"}


def test_nothing_observed_is_told(place, client):
    folder = place / "cloudy"
    items = [make_scene(folder, f"c{k}", START + timedelta(days=25 * k), scl=9) for k in range(3)]
    catalog = str(write_catalog(folder, items))
    with pytest.warns(CropglobeWarning, match="holds no value"):
        result = features.run(request(place, catalog=catalog), client, progress=False)
    assert result.observed == 0


@pytest.mark.parametrize(
    ("changes", "saying"),
    [
        ({"order": 9}, "order is 9; allowed: 0 to 6"),
        ({"kind": "mean"}, "'mean' is not one of 'median2d', 'median1d', 'harmonic'"),
        ({"fill": "cubic"}, "'cubic' is not one of 'linear', 'periodic', 'none'"),
        ({"fill": "periodic"}, "allowed: the full year, steps 0 to 11"),
        ({"format": "netcdf"}, "'netcdf' is not one of 'zarr', 'cog'"),
        ({"bands": "B99"}, "Bands ['B99'] are unknown"),
        ({"bands": ("B02", "B02")}, "at least one, each once"),
        ({"clear": "sunny"}, "Clear-sky preset 'sunny' is unknown"),
        ({"dilation": -1}, "dilation_m is -1.0; allowed: 0 to 5000 metres"),
        ({"n_steps": 9}, "n_steps is 9; allowed: 1 to 8"),
        ({"step_days": 0}, "step_days is 0; allowed: 1 to 365"),
        ({"tile_size": 8}, "tile_size is 8"),
        ({"year": "soon"}, "'soon' is not a valid integer"),
    ],
)
def test_wrong_options_are_told_before_anything_is_written(clean, capfd, changes, saying):
    fails(arguments(clean, **{"out": clean / "wrong", **changes}), capfd, code=4, saying=saying)
    assert not (clean / "wrong").exists()


@pytest.mark.parametrize("folder", ["file/result", "/proc/cropglobe"])
def test_output_folder_that_cannot_be_written(place, capfd, folder):
    (place / "file").write_text("")
    fails(arguments(place, out=place / folder), capfd, code=7, saying=["cannot be written", "--out"])


def test_scenes_that_could_not_be_used_change_the_exit_code(place, capfd):
    folder = place / "partial"
    items = [make_scene(folder, f"e{k}", START + timedelta(days=25 * k)) for k in range(3)]
    del items[1].assets["nir08"]
    catalog = write_catalog(folder, items)
    with pytest.raises(SystemExit) as ended:
        main(arguments(place, catalog=catalog))
    out = capfd.readouterr().out
    assert ended.value.code == 3
    assert "2 scenes used, left out: 1 asset_missing" in out
    assert f"saved in {place / 'result' / 'features.zarr'}" in out
    with xr.open_zarr(place / "result" / "features.zarr") as cube:
        assert cube.reflectance.notnull().any()


def test_every_key_of_the_request_is_described_and_an_option():
    for field in FeaturesRequest.model_fields.values():
        assert field.description.endswith(".")
    command = click.command()(request_options(FeaturesRequest)(lambda _: None))
    assert {option.name for option in command.params} == {*FeaturesRequest.model_fields, "run_file"}


def test_real_scenes_become_the_cube_that_is_made_at_once(shared_data, client, tmp_path):
    flanders = shared_data / "flanders_2019"
    result = features.run(
        FeaturesRequest.make(
            {
                "aoi": flanders / "aoi.geojson",
                "catalog": str(flanders / "catalog.json"),
                "year": 2019,
                "bands": ("B04", "B8A"),
                "max_cloud_cover": 40,  # half of the scenes: a test, not a map
                "tile_size": 32,
                "out": tmp_path / "result",
            }
        ),
        client,
        progress=False,
    )
    season = recipe_season(result.recipe, year=2019, hemisphere="north")
    scenes = load_scenes(result.found.items, result.geobox, bands=result.recipe.bands)
    expected = build_features(scenes, result.recipe, season)
    with xr.open_zarr(result.path) as cube:
        assert cube.reflectance.shape == (2, 43, 64, 64)
        np.testing.assert_array_equal(np.isnan(cube.reflectance), np.isnan(expected))
        np.testing.assert_allclose(cube.reflectance, expected, rtol=0, atol=HALF_A_COUNT)
        np.testing.assert_array_equal(cube.step_observations, expected.step_observations)

"""Offsets that the pixels contradict: corrected exactly, refused or trusted, and told in every case."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import xarray as xr

from pipelines import features
from pipelines.config import FeaturesRequest
from tests.conftest import GEOBOX, footprint, make_scene, write_catalog
from tests.pipelines.test_bad_input import check_nothing_half_written, geojson
from toolkit.errors import InputError, RadiometryError, RadiometryWarning
from toolkit.scenes.sensors import SENTINEL2_BANDS

START = datetime(2021, 5, 2, 10, 50, tzinfo=UTC)
CROP = {"B02": 320, "B03": 600, "B04": 350, "B05": 900, "B06": 2500, "B07": 3200}
CROP |= {"B08": 3500, "B8A": 3600, "B11": 1800, "B12": 900}
"""Digital numbers of a green crop."""


def scenes(folder, *, offset_left_in=()):
    """Eight dates of a green crop; the catalog says of all that the offset was removed."""
    rng = np.random.default_rng(1)
    items = []
    for k in range(8):
        noise = rng.normal(1, 0.08, GEOBOX.shape.yx)
        more = 1000 if k in offset_left_in else 0
        value = {band: (CROP[band] * noise).astype(int) + more for band in SENTINEL2_BANDS}
        items.append(make_scene(folder, f"d{k}", START + timedelta(days=10 * k), value=value))
    write_catalog(folder, items)
    geojson(folder / "aoi.geojson", footprint(GEOBOX))
    return folder


def request(folder, out, **changes):
    options = {
        "aoi": folder / "aoi.geojson",
        "catalog": str(folder / "catalog.json"),
        "year": 2021,
        "out": out,
    }
    options |= {
        "bands": ("B02", "B04", "B12"),
        "step_days": 10,
        "first_step": 12,
        "n_steps": 9,
        "fill": "none",
    }
    return FeaturesRequest.make({**options, **changes})


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    return scenes(tmp_path_factory.mktemp("right"))


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    return scenes(tmp_path_factory.mktemp("wrong"), offset_left_in=(2, 5))


@pytest.fixture(scope="module")
def expected(right, client, tmp_path_factory):
    result = features.run(request(right, tmp_path_factory.mktemp("out")), client, progress=False)
    assert result.offsets.outcomes == {"fine": 8}
    with xr.open_zarr(result.path) as cube:
        return cube.load()


def test_an_offset_left_in_is_taken_out_exactly_and_told(wrong, expected, client, tmp_path):
    with pytest.warns(RadiometryWarning, match=r"2 of 8 scenes was corrected.*d2 \(missing.*d5 \(missing"):
        result = features.run(request(wrong, tmp_path), client, progress=False)
    with xr.open_zarr(result.path) as found:
        xr.testing.assert_equal(found.load(), expected)
    record = json.loads((tmp_path / "run.json").read_text())["offsets"]
    assert record == {
        "how": "checked",
        "outcomes": {"fine": 6, "missing": 2},
        "corrected": {"d2": -0.1, "d5": -0.1},
    }
    checks = json.loads((tmp_path / "offset_checks.json").read_text())
    assert checks["d2"]["outcome"] == "missing"
    assert "corrected: d2, d5" in "\n".join(result.lines())


def test_a_run_may_be_told_to_stop_instead(wrong, client, tmp_path):
    with pytest.raises(
        RadiometryError, match=r"2 of 8 scenes contradict.*d2 \(missing.*--radiometry correct"
    ):
        features.run(request(wrong, tmp_path, radiometry="stop"), client, progress=False)
    check_nothing_half_written(tmp_path)


def test_metadata_may_be_trusted_unchecked(wrong, expected, client, tmp_path):
    result = features.run(request(wrong, tmp_path, radiometry="trust"), client, progress=False)
    assert result.offsets.lines() == ["reflectance offset: trusted"]
    with xr.open_zarr(result.path) as found:
        difference = (found.reflectance - expected.reflectance).sel(band="B02").max(("y", "x"))
        assert float(difference.max()) == pytest.approx(0.1, abs=1e-4)


def test_an_offset_of_ones_own_wins_over_metadata_and_pixels(right, expected, client, tmp_path):
    result = features.run(request(right, tmp_path, offset=-0.02), client, progress=False)
    assert result.offsets.how == "chosen"
    with xr.open_zarr(result.path) as found:
        difference = (found.reflectance - expected.reflectance).sel(band="B12")
        assert float(np.abs(difference + 0.02).max()) < 1e-4


def test_an_offset_beyond_all_sense_is_refused(right, tmp_path):
    with pytest.raises(InputError, match="offset"):
        request(right, tmp_path, offset=-1.0)

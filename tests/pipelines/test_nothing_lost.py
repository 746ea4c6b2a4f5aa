"""What users have in the folder of a map stays: finished tiles, saved items, a choice to make anew."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines import crop_map, search
from pipelines.config import FindRequest
from tests.conftest import write_catalog
from tests.pipelines.test_bad_input import geojson
from tests.pipelines.test_resume import GRID, footprint, model, request, scenes
from toolkit.errors import CropglobeError, MemoryBudgetError
from toolkit.learn.checkpoint import write_checkpoint


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 x 48 pixels, four dates, an untrained model; nine tiles of 16."""
    folder = tmp_path_factory.mktemp("place")
    geojson(folder / "aoi.geojson", footprint(GRID))
    write_catalog(folder, scenes(folder))
    write_checkpoint(model(), folder / "model")
    return folder


@pytest.mark.parametrize("change", [{"refresh": True}, {"allow_change": True, "max_cloud_cover": 50.0}])
def test_a_search_that_fails_leaves_the_tiles_that_are_done(
    change: dict[str, Any], place: Path, tmp_path: Path, client: Any
) -> None:
    own = shutil.copytree(place, tmp_path / "place")
    out = tmp_path / "out"
    crop_map.run(request(place, out), client, progress=False)
    unreachable = request(own, out, **change).model_copy(update={"catalog": str(own / "gone.json")})
    with pytest.raises(CropglobeError):
        crop_map.run(unreachable, client, progress=False)
    assert crop_map.run(request(place, out), client, progress=False).tiles.n_kept == 9


def test_frozen_inputs_that_are_damaged_are_settled_anew_and_tiles_stay(
    place: Path, tmp_path: Path, client: Any
) -> None:
    out = tmp_path / "out"
    crop_map.run(request(place, out), client, progress=False)
    (out / ".cropglobe" / "inputs.json").write_text("{")
    assert crop_map.run(request(place, out), client, progress=False).tiles.n_kept == 9


def test_saved_items_in_the_folder_of_the_map_are_neither_replaced_nor_removed(
    place: Path, tmp_path: Path, client: Any
) -> None:
    out = tmp_path / "out"
    asked = {"aoi": place / "aoi.geojson", "catalog": str(place / "catalog.json"), "year": 2021, "out": out}
    found = search.run(FindRequest.make(asked))
    before = found.path.read_bytes()
    with_offset = request(place, out, items=found.path, offset=-0.1)
    crop_map.run(with_offset, client, progress=False)
    assert found.path.read_bytes() == before
    assert crop_map.run(with_offset, client, progress=False).tiles.n_kept == 9


def test_after_a_refusal_for_memory_the_advice_can_be_followed(
    place: Path, tmp_path: Path, client: Any
) -> None:
    out = tmp_path / "out"
    with pytest.raises(MemoryBudgetError):
        crop_map.run(request(place, out, memory=0.5), client, progress=False)
    assert crop_map.run(request(place, out, tile_size=24), client, progress=False).complete

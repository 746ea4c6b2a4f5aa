"""The arithmetic of the whole-map benchmark."""

from pathlib import Path

import pytest

from tests.benchmarks.threads import CORES
from tests.benchmarks.whole_map_beside import columns_of
from tests.benchmarks.whole_map_parts import BLOCK, SCENE, Costs, openings, read_log


def costs(wall_s: float, cpu_s: float) -> Costs:
    return Costs(wall_s=wall_s, cpu_s=cpu_s, workers=2, peak_bytes=(1, 2), driver_peak_bytes=3)


def test_the_least_time_is_the_larger_of_work_and_download():
    assert costs(12, 10 * CORES).least_s(4) == 10
    assert costs(12, 2 * CORES).least_s(4) == 4
    assert costs(12, 10 * CORES).over_least(4) == pytest.approx(1.2)


def test_a_log_of_ranges_becomes_openings_of_files(tmp_path: Path):
    log = tmp_path / "log"
    log.write_text("0 100 /a.tif\n0 9 /a.json\n200 300 /a.tif\n0 100 /b.tif\n0 100 /a.tif\n500 600 /a.tif\n")
    found = openings(read_log(log))
    assert found == [("/a.tif", [(200, 300)]), ("/b.tif", []), ("/a.tif", [(500, 600)])]


def test_two_granules_cover_a_scene_and_overlap_with_blocks_that_do_not_meet():
    (first, wide), (second, other) = columns_of(0, SCENE), columns_of(1, SCENE)
    assert first == 0
    assert second + other == SCENE
    assert second < wide
    assert second % BLOCK
    assert second % 2 == wide % 2 == 0

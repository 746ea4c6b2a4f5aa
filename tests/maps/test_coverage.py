"""What a map says of its area: counted from its layers, whole and within polygons."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.transform import from_origin

from toolkit.legend import Status
from toolkit.maps.coverage import Coverage, read_coverage

EAST, NORTH, PIXEL = 500_000.0, 5_600_000.0, 10.0


def layer(path: Path, values: NDArray[np.uint8]) -> Path:
    height, width = values.shape
    options = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": height, "width": width}
    place = from_origin(EAST, NORTH, PIXEL, PIXEL)
    with rasterio.open(path, "w", **options, crs="EPSG:32631", transform=place) as file:
        file.write(values, 1)
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """100 pixels outside, 100 not cropland, 60 not observed, 20 failed, 720 mapped; gaps of 2 and 7 steps."""
    status = np.full((10, 100), Status.MAPPED, np.uint8)
    status[0], status[1], status[2, :60], status[2, 60:80] = 2, 3, 4, 6
    gap = np.full((10, 100), 2, np.uint8)
    gap[:2], gap[2, :60], gap[2, 60:80], gap[3:5] = 255, 43, 255, 7
    return {
        "status": layer(tmp_path / "status.tif", status),
        "longest_gap": layer(tmp_path / "gap.tif", gap),
    }


def test_pixels_are_counted_by_status_and_those_outside_have_no_area(files: dict[str, Path]) -> None:
    seen = read_coverage(files)
    assert seen.hectares == {
        Status.MAPPED: pytest.approx(7.2),
        Status.NOT_CROPLAND: pytest.approx(1.0),
        Status.NOT_OBSERVED: pytest.approx(0.6),
        Status.OUT_OF_DISTRIBUTION: 0.0,
        Status.FAILED: pytest.approx(0.2),
    }
    assert seen.share_untold == pytest.approx(80 / 800)  # of those that a class was wanted for


def test_gaps_are_those_of_pixels_that_were_looked_at(files: dict[str, Path]) -> None:
    seen = read_coverage(files)  # 43 steps at 60 of 780 pixels, 7 at 200, 2 at 520
    parts = (0.5, 0.66, 0.67, 0.92, 0.93)
    assert [seen.gap(part, n_steps=60) for part in parts] == [2, 2, 7, 7, 43]
    assert [seen.gap(part, n_steps=43) for part in (0.72, 0.73, 1.0)] == [2, 7, 7]  # without those never seen
    assert seen.record()["pixels_by_longest_gap_in_steps"] == {"2": 520, "7": 200, "43": 60}


def test_lines_say_what_has_no_class_and_how_long_nothing_was_seen(files: dict[str, Path]) -> None:
    mapped, unseen = read_coverage(files).lines(steps=(43, 5))
    assert mapped == "mapped: 7.2 ha; without a class not observed 0.6 ha, failed 0.2 ha: 10.0%"
    assert unseen.startswith(
        "longest time without a clear date: 10 days at the median pixel that was seen, at most 35 days"
    )
    assert read_coverage(files).lines(steps=None) == [mapped]


def test_within_a_polygon_its_pixels_count(files: dict[str, Path]) -> None:
    to_degrees = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True)
    left_half = shapely.box(EAST, NORTH - 100, EAST + 500, NORTH)
    shape = shapely.transform(left_half, lambda xy: np.column_stack(to_degrees.transform(xy[:, 0], xy[:, 1])))
    seen = read_coverage(files, within=shape)
    assert seen.pixels[Status.NOT_OBSERVED] == 50
    assert seen.pixels.sum() == 500


def test_a_map_without_pixels_has_neither_share_nor_gap() -> None:
    nothing = Coverage(pixels=np.zeros(256, np.int64), gaps=np.zeros(256, np.int64), pixel_hectares=0.01)
    assert nothing.share_untold == 0
    assert nothing.gap(0.5, n_steps=43) is None
    assert nothing.lines(steps=(43, 5)) == ["mapped: 0 ha"]

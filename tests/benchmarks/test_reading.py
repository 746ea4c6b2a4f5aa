"""Readers that are timed give the same pixels."""

import numpy as np
import pytest

from tests.benchmarks.cogs import BANDS, area, write_scenes
from tests.benchmarks.reading import OURS, far, near, served


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    return folder, write_scenes(folder, dates=2, side=64)


@pytest.mark.parametrize("name", [name for name in near([], area(64)) if name != OURS])
def test_each_reader_of_files_gives_our_pixels(scenes, name):
    calls = near(scenes[1], area(64))
    expected, found = calls[OURS](), calls[name]()
    for band in BANDS:
        np.testing.assert_array_equal(found[band], expected[band])


def test_each_reader_over_http_gives_our_pixels(scenes):
    from tests.benchmarks.reading import _moved

    folder, items = scenes
    with served(folder) as url:
        calls = far([_moved(item, url) for item in items], area(64))
        results = {name: call() for name, call in calls.items()}
    expected = near(items, area(64))[OURS]()
    for found in results.values():
        for band in BANDS:
            np.testing.assert_array_equal(found[band], expected[band])

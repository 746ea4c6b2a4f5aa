"""Freed memory: kept while pixels are predicted, given back afterwards, as Dask wants it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES_OF_EACH = 2**21 // 4096
COUNTED = """
import json, resource
import numpy as np
from toolkit.learn.kept_memory import memory_kept

def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(2**18)  # 2 MiB: of more than 4 numpy asks for huge pages
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 20

def held():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

new_pages()
told = {"before": new_pages(), "held_before": held()}
with memory_kept():
    told["first"] = new_pages()
    told["kept"] = new_pages()
told |= {"held_after": held(), "after": new_pages()}
print(json.dumps(told))
"""


def pages(**environment: str) -> dict[str, float]:
    """New pages for an array of 2 MiB, in a process of its own, before, while and after memory is kept."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", COUNTED],
        env={**plain, **environment, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    return dict(json.loads(done.stdout))


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="memory of a process is read from /proc")
def test_a_worker_of_dask_gets_no_new_pages_while_it_predicts_and_gives_back_what_it_had() -> None:
    told = pages(MALLOC_TRIM_THRESHOLD_="65536")
    if told["before"] < PAGES_OF_EACH / 2:
        pytest.skip("this system's malloc does not heed MALLOC_TRIM_THRESHOLD_")
    assert told["kept"] < 0.02 * PAGES_OF_EACH
    assert told["after"] == pytest.approx(told["before"], rel=0.05)
    assert told["held_after"] < told["held_before"] + 2**20


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="memory of a process is read from /proc")
@pytest.mark.parametrize(
    "environment", [{}, {"MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_MMAP_THRESHOLD_": "131072"}]
)
def test_a_process_that_was_told_nothing_or_more_is_left_alone(environment: dict[str, str]) -> None:
    told = pages(**environment)
    assert told["kept"] == pytest.approx(told["before"], abs=0.05 * PAGES_OF_EACH)

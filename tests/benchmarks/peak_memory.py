"""Peak memory of a year of one tile: bands streamed, median and gaps filled into one cube.

``python -m tests.benchmarks.peak_memory SIDE`` does it in a process of its own and writes bytes as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.stacks import StackRecipe
from toolkit.kernels.series import PERIODIC, filled_median

DATES, BANDS, WINDOW_DATES = 146, 10, 2
ROOT = Path(__file__).resolve().parents[2]
PROCESSES = Path("/proc")


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Bytes of memory."""

    stack: int
    """The uint16 dates of one band."""
    clear: int
    """The clear mask of all dates."""
    cube: int
    """The float32 result of all bands."""
    baseline: int
    """Resident once the libraries are imported and the kernel is compiled."""
    peak: int
    """Most that was resident at any time."""

    @property
    def ratio(self) -> float:
        """What the work took over the stack of one band and the cube."""
        return (self.peak - self.baseline) / (self.stack + self.cube)


def measure(side: int) -> Footprint:
    """Run the work in a new process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.peak_memory", str(side)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return Footprint(**json.loads(done.stdout))


def work(side: int) -> Footprint:
    """Stream the bands of a tile and say what it took."""
    pixels = side * side
    _fill_tile(16 * 16)  # compiles
    baseline = resident("VmRSS")
    stack, clear, cube = _fill_tile(pixels)
    return Footprint(
        stack=stack.nbytes, clear=clear.nbytes, cube=cube.nbytes, baseline=baseline, peak=resident("VmHWM")
    )


def _fill_tile(pixels: int) -> tuple[Any, Any, Any]:
    """Return the stack of the last band, the mask and the cube."""
    rng = np.random.default_rng(0)
    stack = np.empty((DATES, pixels), np.uint16)
    clear = np.empty((DATES, pixels), np.bool_)
    starts = np.arange(0, DATES, WINDOW_DATES)
    cube = np.empty((BANDS, starts.size, pixels), np.float32)
    for date in range(DATES):
        clear[date] = rng.random(pixels, np.float32) < StackRecipe.clear_share
    for band in range(BANDS):
        for date in range(DATES):  # as a reader would: no second copy of the stack
            stack[date] = rng.integers(1, 10_000, pixels, np.uint16)
        filled_median(stack, clear, starts, starts + WINDOW_DATES, scale=1e-4, fill=PERIODIC, out=cube[band])
    return stack, clear, cube


def resident(field: str, process: int | str = "self") -> int:
    """Resident bytes of a process, by default this one, now (VmRSS) or at most (VmHWM).

    On Linux the kernel's account of this very program is read: ``ru_maxrss`` would also hold the size of
    the process that started it.

    Raises:
        OSError: on Linux, the other process has ended.
        LookupError: it is just ending.
    """
    if PROCESSES.exists():
        lines = (PROCESSES / str(process) / "status").read_text().splitlines()
        line = next(iter([line for line in lines if line.startswith(field)]), None)
        if line is None:
            raise LookupError(field)
        return int(line.split()[1]) * 1024
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(work(int(sys.argv[1])))))

"""What the figures depend on: processor, memory, versions, and how much of the time others took."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.threads import CORES

LIBRARIES = ("numpy", "numba", "bottleneck", "numbagg", "flox", "numpy-groupies", "xarray", "dask", "pandas")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def surroundings() -> dict[str, str]:
    """Describe the machine and the libraries; no names of machines, users or folders."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "processor": f"{_processor()}, {CORES} cores, {_vectors()}, {_caches()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "libraries": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
    }


def watch_the_processor() -> Callable[[], str]:
    """Return what says how much processor time was ours, idle, or taken by the hypervisor since now."""
    before = _jiffies()

    def since() -> str:
        spent = [now - then for now, then in zip(_jiffies(), before, strict=True)]
        if len(spent) < 8 or sum(spent[:8]) == 0:
            return "unknown"
        total = sum(spent[:8])
        idle, stolen = spent[3] + spent[4], spent[7]
        return f"{100 * idle / total:.0f} % idle, {100 * stolen / total:.0f} % taken by the hypervisor"

    return since


def _jiffies() -> list[int]:
    """Processor time by kind, as in proc_stat(5); nothing where there is no such file."""
    stat = Path("/proc/stat")
    return [int(n) for n in stat.read_text().splitlines()[0].split()[1:]] if stat.exists() else []


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _vectors() -> str:
    """The widest vectors there are: kernels differ by them."""
    flags = _cpuinfo("flags").split()
    names = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}
    return next((name for flag, name in names.items() if flag in flags), "no AVX known of")


def _cpuinfo(field: str) -> str:
    """What Linux says of the first core; nothing where there is no such file."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    found = [line.partition(":")[2].strip() for line in lines if line.startswith(field)]
    return found[0] if found else ""


def _caches() -> str:
    sizes = {
        f"L{(cache / 'level').read_text().strip()}": (cache / "size").read_text().strip()
        for cache in sorted(CACHES.glob("index*"))
        if (cache / "type").read_text().strip() != "Instruction"
    }
    return ", ".join(f"{level} {size}" for level, size in sizes.items()) or "caches unknown"

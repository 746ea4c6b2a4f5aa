"""Doctor: is this machine fit to make maps?"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch
from pyproj import Transformer

from pipelines.folder import versions
from toolkit.cluster import cores
from toolkit.kernels.median import windowed_median
from toolkit.learn.device import processor_units, resolve_device
from toolkit.learn.engines.table import lacking

FREE_BYTES = 2 * 2**30
"""Disk space below which even the sample may not fit with its environment."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check."""

    name: str
    """What was looked at."""
    fine: bool
    """Whether it is as it should be."""
    detail: str
    """What was found, and what to do if it is not fine."""


def run() -> list[Finding]:
    """Check packages, projections, kernels, disk, processors and engines."""
    return [_guarded(name, check) for name, check in CHECKS]


def _guarded(name: str, check: Callable[[], tuple[bool, str]]) -> Finding:
    try:
        fine, detail = check()
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        return Finding(name, fine=False, detail=f"{type(error).__name__}: {error}")
    return Finding(name, fine, detail)


def _packages() -> tuple[bool, str]:
    return True, ", ".join(f"{name} {told}" for name, told in versions().items())


def _projections() -> tuple[bool, str]:
    """A wrong PROJ database (another conda or PostGIS in the environment) shows here."""
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32631", always_xy=True).transform(3.0, 0.0)
    fine = abs(x - 500_000) < 0.01 and abs(y) < 0.01
    foreign = [name for name in ("PROJ_LIB", "PROJ_DATA", "GDAL_DATA") if os.environ.get(name)]
    note = f"; {', '.join(foreign)} set in the environment: unset if this fails" if foreign else ""
    return fine, f"longitude 3 on the equator lies at {x:.2f}, {y:.2f} in UTM 31N{note}"


def _kernels() -> tuple[bool, str]:
    values = np.array([[10], [30], [20], [0]], np.uint16)
    median = windowed_median(values, np.ones((4, 1), bool), np.array([0]), np.array([4]))
    return float(median[0, 0]) == 20.0, f"median of 10, 30, 20 is {median[0, 0]:g}"


def _raster() -> tuple[bool, str]:
    with rasterio.Env() as environment:
        fine = {"GTiff", "COG"} <= environment.drivers().keys()
    return (
        fine,
        f"GDAL {rasterio.__gdal_version__}, drivers GTiff and COG {'found' if fine else 'missing'}",
    )


def _disk() -> tuple[bool, str]:
    free = shutil.disk_usage(Path.cwd()).free
    with tempfile.TemporaryFile():
        pass
    return (
        free > FREE_BYTES,
        f"{free / 2**30:.1f} GiB free here; at least {FREE_BYTES / 2**30:.0f} wanted",
    )


def _processors() -> tuple[bool, str]:
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    units = [name for name, there in processor_units().items() if there]
    return True, f"{cores()} cores, GPU: {gpu}; for fast products: {', '.join(units) or 'none known of'}"


def _engines() -> tuple[bool, str]:
    """What a trial may choose from here, as docs/prediction.md tells; slow ones show in the trial only."""
    reasons: dict[str, list[str]] = {}
    for name, reason in lacking("cropnet2d", str(resolve_device("auto"))).items():
        reasons.setdefault(reason, []).append(name)
    able = reasons.pop("", [])
    unable = "; ".join(f"not {', '.join(names)}: {reason}" for reason, names in reasons.items())
    return bool(able), f"{', '.join(able)}{'; ' if unable else ''}{unable}"


CHECKS: tuple[tuple[str, Callable[[], tuple[bool, str]]], ...] = (
    ("packages", _packages),
    ("projections", _projections),
    ("kernels", _kernels),
    ("rasters", _raster),
    ("disk", _disk),
    ("processors", _processors),
    ("engines", _engines),
)

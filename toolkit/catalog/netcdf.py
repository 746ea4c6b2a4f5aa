"""NetCDF-4 files, opened only if nothing in them leads to another file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5netcdf
import h5py

MOST_NAMES = 2_000
"""Variables and groups of a file; a granule has 14."""


class OutwardLinkError(OSError):
    """A file refers to other files, or holds more names than any granule."""


@contextmanager
def opened_netcdf(source: Any) -> Iterator[tuple[Any, Any]]:
    """Open a NetCDF-4 file: by names and dimensions, and by its bytes.

    HDF5 follows links to other files by itself; a file from outside must not read the rest of the disk.

    Args:
        source: path or file object.

    Yields:
        The file as h5py and as h5netcdf give it; both are one handle.

    Raises:
        OutwardLinkError: a link in it is none to its own content.
        OSError: it is no HDF5 file, or is cut off.
    """
    with h5py.File(source, "r") as hdf:
        _check_links(hdf, [MOST_NAMES])
        with h5netcdf.File(hdf, "r", phony_dims="access") as netcdf:
            yield hdf, netcdf


def _check_links(group: Any, left: list[int]) -> None:
    """Raise unless all links below a group are to content of the file; ``left`` counts names down."""
    for name in group:
        left[0] -= 1
        if left[0] < 0 or not isinstance(group.get(name, getlink=True), h5py.HardLink):
            msg = f"{name!r} refers to other files, or there are more than {MOST_NAMES} names"
            raise OutwardLinkError(msg)
        if isinstance(found := group[name], h5py.Group):
            _check_links(found, left)
        elif isinstance(found, h5py.Dataset) and (found.external or found.is_virtual):
            msg = f"{name!r} refers to other files"
            raise OutwardLinkError(msg)

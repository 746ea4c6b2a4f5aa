"""Arrays of an .npz file of strangers: sizes and types are looked at before any is read."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.errors import LabelError

MAX_BYTES = 8_000_000_000
"""Largest array read; a country of CropGlobe has some 50,000 samples of 3 to 6 kB."""
MAX_RATIO = 200
"""Most bytes that one packed byte may become, beyond :data:`SMALL_BYTES`; measured series give 1 to 10."""
SMALL_BYTES = 16_000_000
"""Arrays up to this size are read whatever their ratio: constant arrays of tests pack well."""
MAX_HEADER = 10_000
"""Longest header of an array, in bytes; NumPy's own limit."""
UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What zipfile and numpy raise for a file that is damaged or something else."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of one array."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def __str__(self) -> str:
        """Return type and shape as messages show them."""
        return f"{self.dtype} {self.shape}"


def read_headers(path: Path, names: Sequence[str]) -> dict[str, Header]:
    """Return type and shape of arrays, which are not read.

    Args:
        path: .npz file.
        names: arrays that must be there.

    Raises:
        LabelError: the file is missing or no .npz, an array is missing, holds Python objects, is larger
            than it may be, or its header is not true.
    """
    if not path.is_file():
        msg = f"There is no file {str(path)!r}. Give an .npz of CropGlobe; 'cropglobe fetch' gets them."
        raise LabelError(msg)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if len(members) < len(archive.infolist()):  # numpy may read another one
                msg = f"{str(path)!r} holds arrays of the same name. Give a file as numpy.savez writes it."
                raise LabelError(msg)
            if missing := [name for name in names if name not in members]:
                msg = (
                    f"{str(path)!r} has no array {missing[0]!r}; needed: {', '.join(names)}; found: "
                    f"{', '.join(members) or 'none'}. Give a file of the CropGlobe layout."
                )
                raise LabelError(msg)
            return {name: _header(archive, members[name], path) for name in names}
    except UNREADABLE as error:
        raise error if isinstance(error, LabelError) else _unreadable(path, error) from error


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Read arrays whose headers were found good by :func:`read_headers`.

    Args:
        path: .npz file.
        names: arrays to read.

    Raises:
        LabelError: the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False, max_header_size=MAX_HEADER) as arrays:
            return {name: arrays[name] for name in names}
    except UNREADABLE as error:
        raise _unreadable(path, error) from error


def read_comment(path: Path) -> bytes:
    """Return the comment of a zip file, in which numpy sees nothing."""
    with zipfile.ZipFile(path) as archive:
        return archive.comment


def _header(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> Header:
    """Return one array's header, once it and the sizes around it agree."""
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file, max_header_size=MAX_HEADER)
        length = file.tell()
    header = Header(dtype, tuple(int(n) for n in shape))
    if dtype.hasobject:
        msg = (
            f"{str(path)!r}: {info.filename} holds Python objects, which could run code when read; needed: "
            "numbers. Save it again as an array of numbers."
        )
        raise LabelError(msg)
    content = dtype.itemsize * math.prod(header.shape)
    size, packed = max(content, info.file_size), max(info.compress_size, 1)
    if size > MAX_BYTES or (size > SMALL_BYTES and size / packed > MAX_RATIO):
        msg = (
            f"{str(path)!r}: {info.filename} ({header}) would take {size / 1e9:.3g} GB out of "
            f"{packed / 1e6:.3g} MB packed; allowed: {MAX_BYTES / 1e9:.0f} GB and {MAX_RATIO} times its "
            "packed size. That is no set of samples; get the file again."
        )
        raise LabelError(msg)
    if length + content != info.file_size:
        msg = (
            f"{str(path)!r}: {info.filename} says it holds {header}, {length + content} bytes, and has "
            f"{info.file_size}. The file is damaged; get it again."
        )
        raise LabelError(msg)
    return header


def _unreadable(path: Path, error: Exception) -> LabelError:
    return LabelError(
        f"{str(path)!r} cannot be read as .npz ({error}). The file is damaged or something else; "
        "get it again."
    )

"""Packed arrays of strangers: nothing is run, and nothing too large is unpacked."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import LabelError
from toolkit.learn.npz_arrays import read_arrays, read_headers


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.marker),)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_headers_are_those_of_the_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, fea=np.zeros((3, 10, 73), np.float32), lbl=np.arange(3, dtype=">i8"))
    headers = read_headers(path, ("fea", "lbl"))
    assert str(headers["fea"]) == "float32 (3, 10, 73)"
    assert headers["lbl"].shape == (3,)
    np.testing.assert_array_equal(read_arrays(path, ("lbl",))["lbl"], [0, 1, 2])


def test_objects_are_refused_and_never_unpickled(tmp_path: Path) -> None:
    path, marker = tmp_path / "a.npz", tmp_path / "code-has-run"
    np.savez(path, fea=np.array([Evil(marker)], object), lbl=np.zeros(1, np.int64))
    for read in (read_headers, read_arrays):
        with pytest.raises(LabelError, match=r"Python objects|cannot be read"):
            read(path, ("fea", "lbl"))
    assert not marker.exists()
    np.load(path, allow_pickle=True)["fea"]  # the file is as bad as it should be
    assert marker.exists()


def test_a_bare_pickle_is_no_npz(tmp_path: Path) -> None:
    path, marker = tmp_path / "a.npz", tmp_path / "code-has-run"
    path.write_bytes(pickle.dumps(Evil(marker)))
    for read in (read_headers, read_arrays):
        with pytest.raises(LabelError, match=r"cannot be read as \.npz"):
            read(path, ("fea",))
    assert not marker.exists()


def test_a_zip_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("fea.npy", npy(np.zeros((30_000, 10, 73), np.float32)))
    assert path.stat().st_size < 200_000
    with pytest.raises(LabelError, match=r"would take 0\.0876 GB out of 0\.0\d+ MB packed"):
        read_headers(path, ("fea",))


def test_a_header_that_promises_more_than_there_is_is_refused(tmp_path: Path) -> None:
    honest = npy(np.zeros((100, 7), np.float32))
    for shape, message in (("(999, 7)", "damaged"), ("(99999999999, 7)", "would take")):
        path = tmp_path / "a.npz"
        header = honest[10:].split(b"\n")[0]
        grown = header.replace(b"(100, 7)", shape.encode())
        lying = honest[:10] + grown[: len(header)].ljust(len(header)) + honest[10 + len(header) :]
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("fea.npy", lying)
        with pytest.raises(LabelError, match=message):
            read_headers(path, ("fea",))


def test_missing_arrays_and_files_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(2))
    with pytest.raises(LabelError, match=r"no array 'fea'; needed: fea, lbl; found: x"):
        read_headers(tmp_path / "a.npz", ("fea", "lbl"))
    with pytest.raises(LabelError, match="There is no file"):
        read_headers(tmp_path / "b.npz", ("fea",))


GOOD = io.BytesIO()
np.savez_compressed(GOOD, fea=np.arange(2 * 30, dtype=np.float32).reshape(2, 30), lbl=np.arange(2))


@given(at=st.integers(0, len(GOOD.getvalue()) - 1), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_file_gives_our_error_or_the_same_arrays(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int, *, cut: bool
) -> None:
    good = GOOD.getvalue()
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(good[:at] if cut else good[:at] + bytes([byte]) + good[at + 1 :])
    try:
        headers = read_headers(path, ("fea", "lbl"))
        arrays = read_arrays(path, ("fea", "lbl"))
    except LabelError:
        return
    for name in ("fea", "lbl"):
        assert arrays[name].shape == headers[name].shape


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    """numpy reads ``fea`` where the header of ``fea.npy`` was looked at."""
    path = tmp_path / "two.npz"
    np.savez(path, fea=np.zeros((4, 10, 73), np.float32), lbl=np.zeros(4, np.int64))
    with zipfile.ZipFile(path, "a") as archive, archive.open("fea", "w") as member:
        np.lib.format.write_array(member, np.zeros((9, 730), np.float32))
    with pytest.raises(LabelError, match="arrays of the same name"):
        read_headers(path, ("fea", "lbl"))

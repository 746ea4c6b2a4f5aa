"""Files appear complete or not at all."""

import pytest

from toolkit.errors import StorageError
from toolkit.storage import write_text


def test_text_replaces_the_old_file_whole(tmp_path):
    (tmp_path / "a").write_text("old")
    write_text("new", tmp_path / "a")
    assert (tmp_path / "a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_is_missing_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="cannot be written"):
        write_text("x", tmp_path / "none" / "a")

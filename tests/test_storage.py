"""Files and folders appear complete or not at all."""

from pathlib import Path

import pytest

from toolkit.errors import StorageError
from toolkit.storage import check_free, publish_folder, whole_folder, write_text


def test_text_replaces_the_old_file_whole(tmp_path):
    (tmp_path / "a").write_text("old")
    write_text("new", tmp_path / "a")
    assert (tmp_path / "a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_is_missing_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="cannot be written"):
        write_text("x", tmp_path / "none" / "a")


def finished(folder, text):
    folder.mkdir()
    (folder / "card.json").write_text(text)
    return folder


def test_a_finished_folder_takes_a_free_name_or_that_of_its_own_kind(tmp_path):
    path = tmp_path / "cube"
    for text in ('{"cube": 1}', '{"cube": 2}'):
        publish_folder(finished(tmp_path / "part", text), path, mark="card.json", holding='"cube"')
        assert (path / "card.json").read_text() == text
        assert [entry.name for entry in tmp_path.iterdir()] == ["cube"]


@pytest.mark.parametrize("name", ["card.json", "notes.txt"])
def test_a_finished_folder_never_takes_the_name_of_another_kind(tmp_path, name):
    path = tmp_path / "cube"
    path.mkdir()
    (path / name).write_text("years of work")
    with pytest.raises(StorageError, match="it is something else"):
        publish_folder(finished(tmp_path / "part", "{}"), path, mark="card.json", holding='"cube"')
    assert (path / name).read_text() == "years of work"


def test_a_name_is_free_unless_something_is_there(tmp_path):
    check_free(tmp_path / "none", mark="card.json", overwrite=False)
    (tmp_path / "empty").mkdir()
    check_free(tmp_path / "empty", mark="card.json", overwrite=False)
    with pytest.raises(StorageError, match="exists already"):
        check_free(finished(tmp_path / "cube", "{}"), mark="card.json", overwrite=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="it is something else"):
        check_free(tmp_path / "file", mark="card.json", overwrite=True)


def test_a_folder_that_fails_half_way_keeps_the_earlier_one(tmp_path, monkeypatch):
    path = tmp_path / "cube"
    with whole_folder(path, mark="card.json", overwrite=True) as part:
        (part / "card.json").write_text("old")

    def fail_in_the_middle():
        with whole_folder(path, mark="card.json", overwrite=True) as part:
            (part / "card.json").write_text("new")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_in_the_middle()
    rename = Path.rename

    def fails_into_place(self, target):
        if self.suffix == ".part":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_into_place)
    with pytest.raises(StorageError, match="What stood there before is unchanged"):
        publish_folder(finished(tmp_path / "new.part", "new"), path, mark="card.json")
    assert (path / "card.json").read_text() == "old"

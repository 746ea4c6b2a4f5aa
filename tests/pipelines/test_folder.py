"""The output folder and its small files."""

import json
from importlib.util import find_spec

import pytest

from pipelines.folder import OPTIONAL, deciding_versions, prepare, versions, write_json
from toolkit.errors import StorageError
from toolkit.learn.engines.table import ENGINES


def test_folder_is_made_with_its_parents(tmp_path):
    assert prepare(tmp_path / "a" / "b").is_dir()
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        prepare(tmp_path / "a" / "b")


def test_json_is_replaced_whole(tmp_path):
    path = tmp_path / "run.json"
    path.write_text("old")
    write_json({"b": 1}, path)
    assert json.loads(path.read_text()) == {"b": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


def test_versions_name_what_decides_a_result():
    assert {"python", "cropglobe", "torch", "rasterio"} <= deciding_versions().keys()


def test_versions_of_optional_engines_are_recorded_but_decide_only_where_they_are_chosen():
    assert set(OPTIONAL) == {name for engine in ENGINES.values() for name in engine.packages}
    recorded = versions()
    assert {name: recorded[name] for name in deciding_versions()} == deciding_versions()
    assert recorded.keys() - deciding_versions().keys() == {name for name in OPTIONAL if find_spec(name)}

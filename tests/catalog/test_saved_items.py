"""Items saved and read again: the same items, and no trust that was not given anew."""

from datetime import UTC, datetime

import pystac
import pytest

from tests.conftest import footprint, make_scene, write_catalog
from toolkit.area.aoi import read_aoi
from toolkit.area.season import season
from toolkit.catalog.items import NAMED_HOSTS
from toolkit.catalog.saved_items import read_items, write_items
from toolkit.catalog.search import search_items
from toolkit.errors import InputError
from toolkit.scenes.sentinel2 import load_scenes

WHEN = datetime(2021, 6, 1, 10, 50, tzinfo=UTC)


def features(items):
    return [item.to_dict(transform_hrefs=False) for item in items]


@pytest.fixture
def items(tmp_path, geobox):
    write_catalog(tmp_path, [make_scene(tmp_path, name, WHEN) for name in ("a", "b")])
    where = read_aoi(footprint(geobox))
    return search_items(tmp_path / "catalog.json", where, season(2021, hemisphere="north"))


@pytest.mark.parametrize("name", ["items.json", "items.parquet"])
def test_items_come_back_equal_and_readable(items, tmp_path, geobox, name):
    again = read_items(write_items(items, tmp_path / name))
    assert again.extra_fields == items.extra_fields
    for before, after in zip(features(items), features(again), strict=True):
        assert after["properties"].items() >= before["properties"].items()
        assert after["assets"] == before["assets"]
        assert after["bbox"] == pytest.approx(before["bbox"])
    scenes = load_scenes(again, geobox, bands=["B02"])
    assert scenes.equals(load_scenes(items, geobox, bands=["B02"]))


@pytest.mark.parametrize("name", ["items.json", "items.parquet"])
def test_hosts_that_a_user_named_are_not_saved_and_can_be_named_again(items, tmp_path, name):
    for item in items:
        item.properties[NAMED_HOSTS] = ["10.0.0.5"]
    path = write_items(items, tmp_path / name)
    assert "10.0.0.5" not in str(features(read_items(path)))
    assert items.items[0].properties[NAMED_HOSTS] == ["10.0.0.5"], "saving changed the items themselves"
    named = read_items(path, allow_hosts=["Store.Local"])
    assert named.items[0].properties[NAMED_HOSTS] == ["store.local"]


def test_hosts_that_somebody_else_wrote_into_a_file_are_dropped(items, tmp_path):
    path = write_items(items, tmp_path / "items.json")
    path.write_text(path.read_text().replace('"platform"', f'"{NAMED_HOSTS}": ["10.0.0.5"], "platform"'))
    assert NAMED_HOSTS not in read_items(path).items[0].properties


@pytest.mark.parametrize("name", ["items.json", "items.parquet"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"PAR1"])
def test_files_that_hold_no_items_are_refused(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="holds no saved items"):
        read_items(tmp_path / name)


def test_a_failed_save_leaves_the_earlier_file(items, tmp_path, monkeypatch):
    path = write_items(items, tmp_path / "items.json")
    before = path.read_bytes()
    monkeypatch.setattr(pystac.ItemCollection, "to_dict", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_items(items, path)
    assert path.read_bytes() == before

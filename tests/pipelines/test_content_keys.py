"""What an item is: a scene that is published anew makes its tiles anew, a copy of its document does not."""

from copy import deepcopy
from datetime import UTC, datetime

import pystac
import pytest

from pipelines.content_keys import item_identity
from toolkit.catalog.items import NAMED_HOSTS

REMOTE = {
    "type": "Feature",
    "stac_version": "1.0.0",
    "id": "S2B_31UFT_20210502_0_L2A",
    "geometry": None,
    "bbox": None,
    "properties": {
        "datetime": "2021-05-02T10:50:00Z",
        "updated": "2021-05-03T00:00:00Z",
        "s2:processing_baseline": "03.00",
    },
    "links": [],
    "assets": {
        "red": {
            "href": "https://example.org/B04.tif",
            "file:checksum": "1220aa",
            "file:size": 1000,
        }
    },
}


def identity(document):
    return item_identity(pystac.Item.from_dict(deepcopy(document)))


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (("assets", "red"), "file:checksum", "1220bb"),
        (("assets", "red"), "file:size", 1001),
        (("assets", "red"), "href", "https://example.org/again/B04.tif"),
        (("properties",), "updated", "2022-01-01T00:00:00Z"),
        (("properties",), "s2:processing_baseline", "05.00"),
    ],
)
def test_a_scene_that_its_item_says_is_another_is_another(place, name, value):
    changed = deepcopy(REMOTE)
    part = changed
    for key in place:
        part = part[key]
    part[name] = value
    assert identity(changed) != identity(REMOTE)


def test_links_are_no_part_of_it():
    copy = deepcopy(REMOTE)
    copy["links"] = [{"rel": "self", "href": "https://example.org/item.json"}]
    assert identity(copy) == identity(REMOTE)


def test_the_hosts_that_a_user_named_are_no_part_of_it():
    copy = deepcopy(REMOTE)
    copy["properties"][NAMED_HOSTS] = ["data.example.org"]
    assert identity(copy) == identity(REMOTE)


def test_the_order_of_files_is_no_part_of_it(tmp_path):
    assets = {}
    for number, name in enumerate(("B8A", "B11", "B02")):  # files that differ
        (tmp_path / name).write_bytes(bytes(number))
        assets[name] = {"href": str(tmp_path / name)}
    found = {**deepcopy(REMOTE), "assets": assets}
    saved = {**deepcopy(REMOTE), "assets": dict(sorted(assets.items()))}
    assert identity(found) == identity(saved)


def test_a_local_file_that_is_written_again_is_another(tmp_path):
    file = tmp_path / "B04.tif"
    file.write_bytes(b"one")
    item = pystac.Item("one", None, None, datetime(2021, 5, 2, tzinfo=UTC), {})
    item.add_asset("red", pystac.Asset(str(file)))
    before = item_identity(item)
    assert item_identity(item) == before
    file.write_bytes(b"three")
    assert item_identity(item) != before

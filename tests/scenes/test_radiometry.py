"""The offset of Sentinel-2: the table of rules, on crafted and on real items."""

import json
from datetime import UTC, datetime

import pystac
import pytest

from toolkit.errors import RadiometryError
from toolkit.scenes.radiometry import radiometric_offset


def item(*, collection="sentinel-2-l2a", listed=None, **properties):
    made = pystac.Item("x", None, None, datetime(2023, 1, 1, tzinfo=UTC), properties, collection=collection)
    raster = {} if listed is None else {"raster:bands": [{"offset": listed}]}
    made.add_asset("B02", pystac.Asset("b02.tif", extra_fields=raster))
    made.add_asset("SCL", pystac.Asset("scl.tif"))
    return made


FLAG = "earthsearch:boa_offset_applied"
BASELINE = "s2:processing_baseline"


@pytest.mark.parametrize(
    ("case", "offset"),
    [
        # Earth Search sentinel-2-l2a: the flag is the truth, the listed offset is not
        ({BASELINE: "02.14", FLAG: False, "listed": 0}, 0.0),
        ({BASELINE: "05.11", FLAG: True, "listed": -0.1}, 0.0),
        ({BASELINE: "05.11", FLAG: False, "listed": -0.1}, -0.1),
        ({BASELINE: "04.00", FLAG: False, "listed": -0.1}, -0.1),
        ({BASELINE: "03.01", FLAG: False, "listed": -0.1}, 0.0),
        # Earth Search collection 1: no flag, never removed
        ({BASELINE: "05.00", "listed": -0.1, "collection": "sentinel-2-c1-l2a"}, -0.1),
        ({BASELINE: "04.00", "listed": -0.1, "collection": "sentinel-2-pre-c1-l2a"}, -0.1),
        # Planetary Computer: nothing listed, the baseline decides
        ({BASELINE: "02.12"}, 0.0),
        ({BASELINE: "05.10"}, -0.1),
        # CDSE: another name for the baseline, the offset listed
        ({"processing:version": "05.11", "listed": -0.1}, -0.1),
        # a catalog of one's own that lists it
        ({"collection": None, "listed": 0.0}, 0.0),
        ({"collection": None, "listed": -0.1}, -0.1),
    ],
)
def test_offset_follows_the_rule_of_the_catalog(case, offset):
    assert radiometric_offset(item(**case)) == offset


@pytest.mark.parametrize("case", [{}, {"listed": -0.2}, {BASELINE: "latest"}])
def test_items_that_do_not_tell_stop_the_run(case):
    with pytest.raises(RadiometryError, match="does not tell its reflectance offset"):
        radiometric_offset(item(**case))


EXPECTED = {
    "earth-search-v1/sentinel-2-l2a": {0.0},  # old ones have none, new ones are corrected
    "earth-search-v1/sentinel-2-c1-l2a": {-0.1},
    "earth-search-v1/sentinel-2-pre-c1-l2a": {-0.1},
    "cdse/sentinel-2-l2a": {-0.1},
}


@pytest.mark.parametrize("place", EXPECTED)
def test_recorded_items_of_the_live_catalogs_fit_the_rules(shared_data, place):
    paths = sorted((shared_data / "stac" / place).glob("*.json"))
    assert paths
    assert {radiometric_offset(_canonical(path)) for path in paths} == EXPECTED[place]


def test_recorded_items_of_planetary_computer_follow_their_baseline(shared_data):
    paths = sorted((shared_data / "stac" / "planetary-computer" / "sentinel-2-l2a").glob("*.json"))
    for path in paths:
        found = _canonical(path)
        old = float(found.properties[BASELINE]) < 4
        assert radiometric_offset(found) == (0.0 if old else -0.1), path.name


def _canonical(path):
    """An item with its reflectance bands under canonical names, as normalise makes it."""
    from toolkit.catalog.items import band_keys

    raw = pystac.Item.from_dict(json.loads(path.read_text()), migrate=False)
    made = pystac.Item(
        raw.id, raw.geometry, raw.bbox, raw.datetime, raw.properties, collection=raw.collection_id
    )
    for band, key in band_keys(raw, "sentinel-2").items():
        made.add_asset(band, raw.assets[key])
    return made

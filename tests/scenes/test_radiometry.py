"""The offset of Sentinel-2: the table of rules, on crafted and on real items."""

from datetime import UTC, datetime

import pystac
import pytest

from toolkit.errors import RadiometryError
from toolkit.scenes.radiometry import radiometric_offset


def item(*, catalog="custom", collection="sentinel-2-l2a", listed=None, **properties):
    stamped = {"cropglobe:catalog": catalog, **properties}
    made = pystac.Item("x", None, None, datetime(2023, 1, 1, tzinfo=UTC), stamped, collection=collection)
    raster = {} if listed is None else {"raster:bands": [{"offset": listed}]}
    made.add_asset("B02", pystac.Asset("b02.tif", extra_fields=raster))
    made.add_asset("SCL", pystac.Asset("scl.tif"))
    return made


FLAG = "earthsearch:boa_offset_applied"
BASELINE = "s2:processing_baseline"


EARTH, PC, CDSE = ({"catalog": name} for name in ("earth-search", "planetary-computer", "cdse"))


@pytest.mark.parametrize(
    ("case", "offset"),
    [
        # Earth Search sentinel-2-l2a: the flag is the truth, the listed offset is not
        ({**EARTH, BASELINE: "02.14", FLAG: False, "listed": 0}, 0.0),
        ({**EARTH, BASELINE: "05.11", FLAG: True, "listed": -0.1}, 0.0),
        ({**EARTH, BASELINE: "05.11", FLAG: False, "listed": -0.1}, -0.1),
        ({**EARTH, BASELINE: "04.00", FLAG: False, "listed": -0.1}, -0.1),
        ({**EARTH, BASELINE: "03.01", FLAG: False, "listed": -0.1}, 0.0),
        # Earth Search collection 1: no flag, never removed
        ({**EARTH, BASELINE: "05.00", "listed": -0.1, "collection": "sentinel-2-c1-l2a"}, -0.1),
        ({**EARTH, BASELINE: "04.00", "listed": -0.1, "collection": "sentinel-2-pre-c1-l2a"}, -0.1),
        # Planetary Computer: nothing listed, the baseline decides
        ({**PC, BASELINE: "02.12"}, 0.0),
        ({**PC, BASELINE: "05.10"}, -0.1),
        # CDSE: the offset listed
        ({**CDSE, BASELINE: "05.11", "listed": -0.1}, -0.1),
        # a catalog of one's own: the flag, then what it lists, then what ESA does
        ({BASELINE: "05.11", FLAG: True, "listed": -0.1}, 0.0),
        ({BASELINE: "05.11", FLAG: False, "listed": -0.1}, -0.1),
        ({"collection": None, "listed": 0.0}, 0.0),
        ({"collection": None, "listed": -0.1}, -0.1),
        ({BASELINE: "05.09"}, -0.1),
        ({BASELINE: "02.12"}, 0.0),
        # what was chosen wins
        ({**EARTH, BASELINE: "05.11", FLAG: True, "cropglobe:offset": -0.1}, -0.1),
        ({"cropglobe:offset": 0.1}, 0.1),
    ],
)
def test_offset_follows_the_rule_of_the_catalog(case, offset):
    assert radiometric_offset(item(**case)) == offset


@pytest.mark.parametrize(
    "case",
    [
        {},
        {"listed": -0.2},
        {BASELINE: "latest"},
        {**EARTH, BASELINE: "05.11", "listed": -0.1},  # no flag where all items have one
        {**EARTH, BASELINE: "05.00", "listed": 0.0, "collection": "sentinel-2-c1-l2a"},
        {**EARTH, BASELINE: "05.00", "listed": -0.1, FLAG: True, "collection": "sentinel-2-c1-l2a"},
        {**PC, BASELINE: "05.10", "listed": -0.1},  # it lists none as far as was ever seen
        {**PC},
        {**CDSE, BASELINE: "05.11", "listed": 0.0},
        {**CDSE, BASELINE: "05.11"},
    ],
)
def test_combinations_nobody_has_seen_stop_the_run(case):
    with pytest.raises(RadiometryError, match="does not tell its reflectance offset"):
        radiometric_offset(item(**case))

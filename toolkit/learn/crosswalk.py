"""Crop codes of public label sets, and the class that each stands for.

The facts stand in ``crosswalk.csv``, each with its source. Codes are text and are compared exactly: some have
letters or leading zeros, and ``5`` is maize in Denmark and soybeans in the United States. Only codes of
interest are listed: a code that is not may be another crop, no crop, or of another year.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from types import MappingProxyType
from typing import Any

from toolkit.errors import LabelError

TABLE = Path(__file__).with_name("crosswalk.csv")
"""One row per scheme and code; without a crop where a code stands for more than one."""
MIXTURE = ";"
"""Between the codes of several crops on one field (Portugal: ``006;103`` is maize and potatoes)."""
NOT_OFFERED: Mapping[str, str] = MappingProxyType(
    {
        "hcat2": "HCAT2 is an older list of other codes, of which only those of HCAT3 were checked; codes of "
        "HCAT3 are the scheme hcat3",
        "hcat": "say which version; codes of HCAT3 are the scheme hcat3",
    }
)
"""Names of schemes that are asked for and cannot be had -> why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crosswalk:
    """Codes of one label set."""

    name: str
    """Name of the scheme."""
    codes: Mapping[str, str | None]
    """Code -> class name; None where the code is known and stands for no single class."""
    details: Mapping[str, str]
    """Code -> kind of the crop (grain, silage, durum, ...), or why it has no class."""
    source: str
    """Where the codes were read."""


def schemes() -> tuple[str, ...]:
    """Return the names of the schemes that can be used, in alphabetical order."""
    return tuple(sorted({row["scheme"] for row in _rows() if row["checked"] == "yes"}))


def read_crosswalk(scheme: str) -> Crosswalk:
    """Return the codes of a label set.

    Args:
        scheme: one of :func:`schemes`, such as ``usda-cdl`` or ``eurocrops-fr-2018``; case does not matter.

    Raises:
        LabelError: there is no such scheme, or nobody has checked its codes against their source.
    """
    name = str(scheme).strip().lower()
    rows = [row for row in _rows() if row["scheme"] == name]
    checked = [row for row in rows if row["checked"] == "yes"]
    if not checked:
        reason = NOT_OFFERED.get(name, "there is none of that name")
        if rows:
            reason = f"its {len(rows)} codes were never checked against {rows[0]['source']}"
        msg = (
            f"Labels of the scheme {scheme!r} cannot be read: {reason}. Known: {', '.join(schemes())}. "
            "For others give the codes themselves, e.g. classes 115=wheat."
        )
        raise LabelError(msg)
    return Crosswalk(
        name=name,
        codes=MappingProxyType({row["code"]: row["crop"] or None for row in checked}),
        details=MappingProxyType({row["code"]: row["detail"] for row in checked}),
        source="; ".join(dict.fromkeys(row["source"] for row in checked)),
    )


@cache
def _rows() -> tuple[dict[str, str], ...]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def code_text(value: Any) -> str:
    """Return a code as text: without blanks around it, whole numbers without a decimal point.

    Args:
        value: cell of a table or key of a mapping, text or number.

    Returns:
        The code; empty if the cell is.
    """
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        number = float(value)
        if math.isnan(number):
            return ""
        return str(int(number)) if number.is_integer() else repr(number)
    text = str(value).strip()
    return "" if value is None or text in ("<NA>", "NaT") else text

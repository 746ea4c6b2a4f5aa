"""From the codes of labels to classes: none is guessed, what has no class is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from toolkit.errors import LabelError
from toolkit.learn.crosswalk import MIXTURE, Crosswalk, code_text, read_crosswalk
from toolkit.legend import Legend

ANY_OTHER = "*"
"""Stands for every code without a class of its own."""
EMPTY = "(empty)"
"""Name of the code of an empty cell."""
NAMED_CODES = 20
"""Codes named in an error."""

UnknownCodes = Literal["stop", "drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeClasses:
    """How the codes of labels become classes. What stands first here wins."""

    classes: Mapping[int | str, str] = field(default_factory=dict)
    """Code -> class name; the key ``*`` stands for every code that nothing else gives a class."""
    other_codes: tuple[str, ...] = ()
    """Codes of the class 'other'; ``*`` as above."""
    scheme: str | None = None
    """Name of a published scheme of codes, see :func:`toolkit.learn.crosswalk.schemes`."""
    unknown_codes: UnknownCodes = "stop"
    """Codes that have no class then: stop and name them, or leave their pixels unlabelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """What the codes of some labels stand for."""

    values: Mapping[str, int]
    """Code -> class index + 1; 0 unlabelled."""
    dropped: Mapping[str, int]
    """Code without a class -> how often it occurs."""


def translate(
    counts: Mapping[str, int], rules: CodeClasses, legend: Legend, *, source: str, numbers: bool
) -> Translation:
    """Give codes their classes.

    A code that a scheme knows to stand for no single class (two crops in one year, clouds) never becomes
    'other' by ``*``, and neither does an empty cell.

    Args:
        counts: code -> how often it occurs.
        rules: how codes become classes.
        legend: classes.
        source: what holds the codes, for messages.
        numbers: codes are whole numbers but 0 (rasters). Otherwise, and without a scheme, a class name is a
            code too.

    Raises:
        LabelError: codes have no class and shall not be dropped, or the rules cannot be used.
    """
    own = {_key(code, name, numbers=numbers): legend.index(name) + 1 for code, name in rules.classes.items()}
    for code in rules.other_codes:
        own.setdefault(_key(code, "other", numbers=numbers), legend.index("other") + 1)
    crosswalk = None if rules.scheme is None else read_crosswalk(rules.scheme)
    named = crosswalk is None and not numbers
    found = {code: _value(code, own, crosswalk, legend, named=named) for code in counts}
    values = {code: value for code, value in found.items() if value is not None}
    unknown = {code: n for code, n in counts.items() if code not in values}
    if crosswalk is not None and ANY_OTHER in own:
        _check_scheme(counts, own, crosswalk)
    if unknown and rules.unknown_codes == "stop":
        known = set(own) - {ANY_OTHER} | set(crosswalk.codes if crosswalk else ())
        listed = f"Listed: {', '.join(sorted(known)) or 'none'}."
        if crosswalk is not None:
            listed = f"Known are the {len(known)} of scheme {crosswalk.name} and classes."
        elif named:
            listed = f"Known classes: {', '.join(legend.names)}."
        raise LabelError(_no_class(unknown, source, listed + _hint(unknown, known, none_fits=not values)))
    values |= dict.fromkeys(unknown, 0)
    dropped = {code or EMPTY: n for code, n in counts.items() if not values[code]}
    return Translation(values=values, dropped=dropped)


def _check_scheme(counts: Mapping[str, int], own: Mapping[str, int], crosswalk: Crosswalk) -> None:
    """Refuse ``*`` where no code is of the scheme: a wrong one would make another crop of everything."""
    if counts and not any(code in crosswalk.codes or code in own for code in counts):
        some = ", ".join(sorted(counts)[:NAMED_CODES])
        msg = (
            f"None of the codes ({some}) is of the scheme {crosswalk.name}, so {ANY_OTHER!r} would give one "
            "class to all. Check that scheme, year and property are those of these labels. If they are, name "
            "the codes instead."
        )
        raise LabelError(msg)


def _value(
    code: str, own: Mapping[str, int], crosswalk: Crosswalk | None, legend: Legend, *, named: bool
) -> int | None:
    """Return the value of a code, 0 if it shall have none, None if nothing is known of it."""
    value = own.get(code) if code != ANY_OTHER else None
    if value is None and crosswalk is not None:
        value = _of_scheme(code, crosswalk, legend)
    elif value is None and named and code.lower() in legend.names:
        value = legend.index(code) + 1
    return own.get(ANY_OTHER) if value is None and code else value


def _key(code: int | str, name: str, *, numbers: bool) -> str:
    """Return a code that the user names as labels hold it."""
    text = code_text(code)
    if text == ANY_OTHER or not numbers:
        return text
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number == 0:
        msg = (
            f"Code {code!r} of class {name!r} cannot be used; allowed: whole numbers but 0 "
            f"(0 is unlabelled) and {ANY_OTHER!r}. Correct or drop it."
        )
        raise LabelError(msg)
    return str(number)


def _of_scheme(code: str, crosswalk: Crosswalk, legend: Legend) -> int | None:
    """Return the value of a code by a scheme; 0 if it stands for no single class, None if it is unknown."""
    if code not in crosswalk.codes:
        return 0 if MIXTURE in code else None
    name = crosswalk.codes[code]
    return 0 if name is None else legend.index(name) + 1


def _no_class(unknown: Mapping[str, int], source: str, known: str) -> str:
    """Say which codes have no class, and how to go on."""
    often = sorted(unknown.items(), key=lambda entry: (-entry[1], entry[0]))
    listed = ", ".join(f"{code or EMPTY} ({n})" for code, n in often[:NAMED_CODES])
    more = f" and {len(often) - NAMED_CODES} more" if len(often) > NAMED_CODES else ""
    return (
        f"{source} holds codes without a class: {listed}{more}. {known} Give a class to each (classes "
        f"CODE=CROP), name other crops (other_codes CODE, or {ANY_OTHER!r} for all), or leave them "
        "unlabelled (unknown_codes drop)."
    )


def _hint(unknown: Mapping[str, int], known: set[str], *, none_fits: bool) -> str:
    """Say what may be wrong with codes that nothing is known of."""
    bare = {code.lstrip("0"): code for code in known}
    stripped = next((code for code in unknown if code and code.lstrip("0") in bare), None)
    if stripped is not None:
        return (
            f" {stripped!r} differs from {bare[stripped.lstrip('0')]!r} only by zeros in front: codes are "
            "text, store them so."
        )
    if none_fits and known:
        return " No code is known: check that scheme, year and property are those of these labels."
    return ""

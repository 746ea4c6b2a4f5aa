"""Radiometry stage: offsets as chosen, or as the metadata say and the pixels confirm."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from odc.geo.geobox import GeoBox

from pipelines.config import ScenesRequest
from pipelines.folder import write_json
from pipelines.search import FoundScenes
from toolkit.area.aoi import AOI
from toolkit.catalog.saved_items import write_items
from toolkit.errors import RadiometryError, RadiometryWarning
from toolkit.scenes.offsets import OffsetCheck
from toolkit.scenes.radiometry import CHOSEN
from toolkit.scenes.verification import verify_offsets, with_offsets_seen

NAMED = 5
"""Items named in a message."""
CHECKS_FILE = "offset_checks.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetRecord:
    """What became of the offsets of a run."""

    how: str
    """``chosen``, ``trusted`` or ``checked``."""
    outcomes: dict[str, int] = field(default_factory=dict)
    """Outcome of the check -> number of items."""
    path: Path | None = None
    """Where each check is saved with its evidence."""
    corrected: dict[str, float] = field(default_factory=dict)
    """Item -> offset that its pixels showed against its metadata."""

    @property
    def files(self) -> dict[str, Path]:
        """File to be published with the result, if there is one."""
        return {} if self.path is None else {"offset_checks": self.path}

    def lines(self) -> list[str]:
        """Return a line for a terminal."""
        if self.how != "checked":
            return [f"reflectance offset: {self.how}"]
        told = ", ".join(f"{n} {outcome}" for outcome, n in self.outcomes.items()) or "no scene could be"
        more = f"; corrected: {', '.join(self.corrected)}" if self.corrected else ""
        return [f"reflectance offset checked: {told}{more}"]


def settle(
    found: FoundScenes, geobox: GeoBox, aoi: AOI, config: ScenesRequest
) -> tuple[FoundScenes, OffsetRecord]:
    """Settle the reflectance offset of every scene before anything is made of it.

    Args:
        found: scenes, saved in the run's folder; saved again if an offset is set.
        geobox: output grid.
        aoi: area of interest.
        config: the request.

    Returns:
        The scenes, and what became of their offsets; each check is saved beside the items.

    Raises:
        RadiometryError: metadata fit no rule, or pixels contradict them and the run is to stop then.
    """
    if config.offset is not None:
        for item in found.items:
            item.properties[CHOSEN] = config.offset
        return _saved(found), OffsetRecord(how="chosen")
    if config.radiometry == "trust":
        return found, OffsetRecord(how="trusted")
    checks = verify_offsets(found.items, geobox, aoi.geometry)
    wrong = {name: check for name, check in checks.items() if check.outcome in ("missing", "doubled")}
    if wrong and config.radiometry == "stop":
        raise RadiometryError(_contradiction(wrong, len(found.items)))
    changed = with_offsets_seen(found.items, checks)
    if changed:
        warnings.warn(_correction(wrong, len(found.items)), RadiometryWarning, stacklevel=2)
        found = _saved(found)
    path = found.path.parent / CHECKS_FILE
    write_json({name: check.to_dict() for name, check in checks.items()}, path)
    outcomes = Counter(check.outcome for check in checks.values())
    return found, OffsetRecord(
        how="checked",
        outcomes=dict(outcomes.most_common()),
        path=path,
        corrected={item.id: float(item.properties[CHOSEN]) for item, _ in changed},
    )


def _saved(found: FoundScenes) -> FoundScenes:
    return replace(found, path=write_items(found.items, found.path))


def _named(wrong: dict[str, OffsetCheck]) -> str:
    first = [f"{name} ({check.outcome}: {check.reason})" for name, check in list(wrong.items())[:NAMED]]
    return "; ".join([*first, *(["..."] if len(wrong) > NAMED else [])])


def _contradiction(wrong: dict[str, OffsetCheck], total: int) -> str:
    return (
        f"The pixels of {len(wrong)} of {total} scenes contradict the reflectance offset of their metadata: "
        f"{_named(wrong)}. Correct them (--radiometry correct), trust the metadata (--radiometry trust), or "
        "say the offset yourself (--offset 0 or --offset -0.1)."
    )


def _correction(wrong: dict[str, OffsetCheck], total: int) -> str:
    return (
        f"The reflectance offset of {len(wrong)} of {total} scenes was corrected, as their pixels contradict "
        f"their metadata: {_named(wrong)}. See run.json; --radiometry stop or trust does otherwise."
    )


def as_record(record: OffsetRecord) -> dict[str, Any]:
    """Return plain values for ``run.json``."""
    return {"how": record.how, "outcomes": record.outcomes, "corrected": record.corrected}

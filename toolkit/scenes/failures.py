"""Scenes that could not be read: which, why, and how many a run may go on without."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from toolkit.errors import AssetError


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedItem:
    """An item that could not be read and was left out."""

    item: str
    """Its id."""
    band: str
    """Band or layer that failed."""
    reason: str
    """Reason code, see :class:`toolkit.errors.AssetError`."""
    message: str
    """What went wrong, in a sentence."""


@dataclass(slots=True)
class Failures:
    """Items that failed, in one tile or in all tiles of a run, and how many may."""

    most: int
    """Items that may fail."""
    total: int
    """Items of the run."""
    items: dict[str, FailedItem] = field(default_factory=dict)
    """Id -> what failed first."""

    def note(self, error: AssetError) -> None:
        """Note an error, or raise it if the run must not go on.

        Raises:
            AssetError: it belongs to no item, or more items failed than may.
        """
        if not error.item or error.item in self.items:
            raise error
        failed = FailedItem(item=error.item, band=error.band, reason=error.reason, message=str(error))
        self.add([failed])

    def add(self, failed: Iterable[FailedItem]) -> None:
        """Note items that failed elsewhere.

        Raises:
            AssetError: more items failed than may.
        """
        for one in failed:
            self.items.setdefault(one.item, one)
        if len(self.items) <= self.most:
            return
        last = list(self.items.values())[-1]
        message = last.message
        if len(self.items) > 1:
            message = f"{len(self.items)} of {self.total} scenes could not be read, the last: {message}"
        advice = " To go on without such scenes: --on-error skip --max-failed PERCENT."
        raise AssetError(message + advice, reason=last.reason, item=last.item, band=last.band)


def failed_lines(failed: Iterable[FailedItem]) -> list[str]:
    """Return a line for a terminal for each scene that failed."""
    return [f"not read, left out: {one.message}" for one in failed]

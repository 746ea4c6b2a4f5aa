"""Which worker gets which tile: neighbours go to one, and none is idle while tiles wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import groupby
from typing import Generic, TypeVar

Place = TypeVar("Place")


class Lanes(Generic[Place]):
    """Tiles that wait, with a lane for each worker.

    A lane takes one group of neighbours after another. When no group is left, it takes over the end of the
    longest lane: half of it, so that what is next to each other stays together.
    """

    def __init__(self, places: Iterable[Place], near: Callable[[Place], Hashable]) -> None:
        """Put no tile into a lane yet.

        Args:
            places: tiles, those of a group after each other.
            near: gives the same for tiles of a group.
        """
        self._groups = groupby(places, near)
        self._lanes: dict[int, deque[Place]] = {}

    def take(self, lane: int) -> Place | None:
        """Return the next tile of a lane; None if no tile waits anywhere."""
        own = self._lanes.setdefault(lane, deque())
        if not own:
            following = next(self._groups, None)
            own.extend(self._end_of_longest() if following is None else following[1])
        return own.popleft() if own else None

    def _end_of_longest(self) -> list[Place]:
        longest = max(self._lanes.values(), key=len)
        taken = [longest.pop() for _ in range(-(-len(longest) // 2))]
        return taken[::-1]


def assigned(homes: Sequence[str], workers: Iterable[str]) -> list[str]:
    """Return the worker of each lane: a new worker takes the lane of one that is gone, or one more.

    Args:
        homes: worker of each lane so far.
        workers: addresses of those that are there now.
    """
    there = list(workers)
    new = [worker for worker in there if worker not in homes]
    kept = [home if home in there or not new else new.pop(0) for home in homes]
    return kept + new

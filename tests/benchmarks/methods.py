"""What a comparison is made of: methods that give the same result, and targets for their times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.benchmarks.stacks import Array, Recipe
from tests.benchmarks.threads import CORES, on_all_cores, touched

Call = Callable[[], Array | list[Array]]
"""What is timed. A list holds the results of the parts, to be joined along the last axis: the pixels."""

COPY = "copy of the input"


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to the result."""

    prepare: Callable[[Any], Call]
    """Takes the input, makes what is not counted (conversions, memory), returns the call to time."""
    side: int | None = None
    """Side of the square of pixels that it is timed on; None: all of the workload's."""
    tolerance: float = 0.0
    """Allowed difference from ours, in the unit of the result."""
    compiles_long: bool = False
    """The first call compiles for many seconds."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A limit on the time of one method over that of another."""

    what: str
    time_of: tuple[str, ...]
    """The fastest of these counts."""
    over: str
    at_most: float | None = None
    at_least: float | None = None

    def ratio(self, times: Mapping[str, float]) -> float:
        return min(times[name] for name in self.time_of) / times[self.over]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A workload, the methods that do it, and what ours must reach. The first method is the reference."""

    title: str
    recipe: Recipe
    methods: Mapping[str, Method]
    targets: tuple[Target, ...] = ()
    copied: Callable[[Any], Array] = lambda part: part.data
    """The part of the input that the copy copies."""
    note: str = ""

    @property
    def reference(self) -> str:
        return next(iter(self.methods))

    def copy(self) -> Method:
        """The plain copy of the input with the same threads, into memory that is there already."""

        def prepare(data: Any) -> Call:
            sources = [self.copied(part) for part in data.parts(CORES)]
            pairs = [(touched(source.shape, source.dtype.type), source) for source in sources]

            def call() -> list[Array]:
                on_all_cores(lambda pair: np.copyto(*pair), pairs)
                return [target for target, _ in pairs]

            return call

        return Method(prepare=prepare)


def comparable(result: Array | list[Array]) -> Array:
    """Join parts; the 0 that stands for 'none' in uint16 becomes NaN."""
    joined = np.concatenate(result, axis=-1) if isinstance(result, list) else np.asarray(result)
    if joined.dtype != np.uint16:
        return joined
    return np.where(joined == 0, np.nan, joined.astype(np.float32))


def in_parts(work: Callable[[Any, Array], Array], room: Callable[[Any], Array]) -> Callable[[Any], Call]:
    """Return a method's ``prepare`` for one of ours: a thread per part of the pixels, memory at hand.

    Args:
        work: fills the array with the result of one part and returns it, pixels last.
        room: makes that array, touched.
    """

    def prepare(data: Any) -> Call:
        parts = [(part, room(part)) for part in data.parts(CORES)]
        return lambda: on_all_cores(lambda pair: work(*pair), parts)

    return prepare

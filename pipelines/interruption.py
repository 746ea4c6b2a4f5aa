"""Ctrl-C and SIGTERM: a commit under way is finished first; the second time at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """The run was asked to stop; :attr:`exit_code` is 130 for Ctrl-C, 143 for SIGTERM."""

    def __init__(self, number: int) -> None:
        """Take the number of the signal."""
        super().__init__()
        self.exit_code = 128 + number


class Interruption:
    """Turns signals into :class:`Stopped`, but not while a commit is under way."""

    def __init__(self) -> None:
        """Start without a signal."""
        self._committing = False
        self._pending: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        del frame
        if self._committing and self._pending is None:
            self._pending = number
            return
        raise Stopped(number)

    @contextmanager
    def commit(self) -> Iterator[None]:
        """Keep a first signal back until the block ends."""
        self._committing = True
        try:
            yield
        finally:
            self._committing = False
            if self._pending is not None:
                raise Stopped(self._pending)


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Handle signals inside the block; in other threads than the main one they are left alone."""
    handler = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield handler
        return
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield handler
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)

"""Progress: one moving line for people, plain lines for logs."""

from __future__ import annotations

import sys
import time

import click

from toolkit.maps.units import duration

LOG_EVERY_S = 10.0
"""Seconds between plain lines when the output is no terminal."""


class Progress:
    """Tells how far a run is; silent if told so."""

    def __init__(self, *, quiet: bool = False) -> None:
        """Write to standard error, so that standard output stays usable in pipes."""
        self.quiet = quiet
        self.terminal = sys.stderr.isatty()
        self._last = 0.0
        self._open = False

    def stage(self, text: str) -> None:
        """Announce a stage."""
        if not self.quiet:
            self._close()
            click.echo(text, err=True)

    def count(self, what: str, done: int, total: int, *, since: float, note: str = "") -> None:
        """Tell how many of a stage's parts are done.

        Args:
            what: name of the parts, plural.
            done: parts done.
            total: parts in all.
            since: ``time.perf_counter()`` at the start of the stage.
            note: what else to say of the latest part.
        """
        now = time.perf_counter()
        if self.quiet or (done < total and not self.terminal and now - self._last < LOG_EVERY_S):
            return
        self._last = now
        left = (now - since) / max(done, 1) * (total - done)
        text = f"  {what} {done}/{total}{note and ', '}{note}" + (
            f", about {duration(left)} left" if done < total else ""
        )
        if self.terminal:
            click.echo(f"\r\x1b[K{text}", err=True, nl=False)
            self._open = True
            if done == total:
                self._close()
        else:
            click.echo(text, err=True)

    def _close(self) -> None:
        if self._open:
            click.echo(err=True)
            self._open = False

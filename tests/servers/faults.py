"""A range server whose answers go wrong by script: which requests, how, how often."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tests.servers.ranges import Handler, RangeServer, in_thread

LOGIN_PAGE = b"<html><body>Please log in</body></html>"


@dataclass(slots=True, kw_only=True)
class Fault:
    """What goes wrong with the requests whose path matches."""

    path: str
    """Regular expression."""
    kind: str
    """``status``, ``html``, ``reset``, ``cut``, ``short``, ``stall``, ``spoilt``, ``zeros`` or ``call``."""
    times: int | None = None
    """Requests it happens to; None for all."""
    after: int = 0
    """Requests that go well first."""
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 5.0
    """Length of a stall."""
    call: Callable[[Any], None] | None = None
    """Answers in its own way."""
    seen: int = 0

    def strikes(self, path: str) -> bool:
        """Count a request, and tell whether it goes wrong."""
        if not re.search(self.path, path):
            return False
        number = self.seen - self.after
        self.seen += 1
        return number >= 0 and (self.times is None or number < self.times)


class FaultServer(RangeServer):
    """Serves a folder; ``faults`` may be changed at any time."""

    def __init__(self, folder: Path, faults: Sequence[Fault]) -> None:
        super().__init__(folder, _FaultyHandler)
        self.faults = list(faults)
        self.times: list[float] = []
        self.lock = threading.Lock()


class _FaultyHandler(Handler):
    server: FaultServer

    def do_GET(self) -> None:  # noqa: N802  # the name the server calls
        with self.server.lock:
            self.server.times.append(time.monotonic())
            fault = next((one for one in self.server.faults if one.strikes(self.path)), None)
        if fault is None:
            super().do_GET()
        elif fault.call is not None:
            fault.call(self)
        elif fault.kind == "status":
            self.send(HTTPStatus(fault.status), fault.headers, b"busy")
        elif fault.kind == "html":
            self.send(HTTPStatus.OK, {"Content-Type": "text/html"}, LOGIN_PAGE)
        elif fault.kind == "stall":
            time.sleep(fault.seconds)
            self.close_connection = True
        else:
            self._spoil(fault.kind)

    def _spoil(self, kind: str) -> None:
        """Send something else than was asked for."""
        status, headers, body = self.answer()
        if kind == "spoilt":
            self.send(status, headers, bytes(byte ^ 0x55 for byte in body))
        elif kind == "zeros":
            self.send(status, headers, bytes(len(body)))
        elif kind == "short":  # says so, and sends less than was asked for
            half = body[: max(1, len(body) // 2)]
            first = int(headers["Content-Range"].split()[1].split("-")[0])
            total = headers["Content-Range"].split("/")[1]
            shorter = {**headers, "Content-Range": f"bytes {first}-{first + len(half) - 1}/{total}"}
            self.send(status, shorter, half)
        else:
            self.send(status, headers, body, stop_after=len(body) // 2)
            self.close_connection = True
            if kind == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                self.connection.shutdown(socket.SHUT_WR)


@contextmanager
def serve_with_faults(folder: str | Path, *faults: Fault) -> Iterator[FaultServer]:
    """Serve a folder with faults on a free port of loopback for as long as the block runs."""
    with FaultServer(Path(folder), faults) as server, in_thread(server):
        try:
            yield server
        finally:
            server.hang_up()

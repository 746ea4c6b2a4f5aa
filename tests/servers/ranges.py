"""A file server on loopback that honours byte ranges, as object stores do, and remembers what was asked."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

TYPES = {".json": "application/json", ".geojson": "application/geo+json", ".tif": "image/tiff"}
IDLE_S = 30
"""Seconds after which a connection that asks nothing is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, as answered."""

    method: str
    path: str
    """Path of the URL, as sent."""
    range: str | None
    """Range header, as sent."""
    status: int
    sent: int
    """Bytes of the body."""


class RangeServer(ThreadingHTTPServer):
    """Serves one folder; all requests are in ``log`` before their answers leave."""

    request_queue_size = 128  # readers open dozens of connections at once

    def __init__(self, folder: Path, handler: type[Handler] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), handler or Handler)
        self.folder = folder.resolve()
        self.log: list[Request] = []
        self._open: set[socket.socket] = set()

    @property
    def url(self) -> str:
        """Address of the folder, without a slash at the end."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def bytes_sent(self) -> int:
        """Bytes of all bodies so far."""
        return sum(request.sent for request in self.log)

    def find(self, path: str) -> Path | None:
        """Return the file of a URL's path, None if there is none in the folder."""
        file = (self.folder / unquote(path).lstrip("/")).resolve()
        return file if file.is_relative_to(self.folder) and file.is_file() else None

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Close kept connections: a client must not get answers from a server that stopped."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Handler(BaseHTTPRequestHandler):
    """Answers from the server's folder."""

    server: RangeServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_S

    def do_GET(self) -> None:
        self.send(*self.answer())

    def do_HEAD(self) -> None:
        self.send(*self.answer())

    def log_message(self, *arguments: object) -> None:
        pass

    def answer(self) -> tuple[HTTPStatus, dict[str, str], bytes]:
        """Return status, headers and body for what is asked."""
        file = self.server.find(urlsplit(self.path).path)
        if file is None:
            return HTTPStatus.NOT_FOUND, {}, b""
        content, changed = file.read_bytes(), file.stat().st_mtime_ns
        tag = f'"{changed:x}-{len(content):x}"'
        if self.headers.get("If-Match", tag) != tag:
            return HTTPStatus.PRECONDITION_FAILED, {}, b""
        headers = {
            "Accept-Ranges": "bytes",
            "Content-Type": TYPES.get(file.suffix, "application/octet-stream"),
            "ETag": tag,
        }
        status, part = select(self.headers.get("Range"), len(content))
        if status == HTTPStatus.PARTIAL_CONTENT:
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{len(content)}"
        elif status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            headers["Content-Range"] = f"bytes */{len(content)}"
        return status, headers, content[part]

    def send(
        self, status: HTTPStatus, headers: dict[str, str], body: bytes, *, stop_after: int | None = None
    ) -> None:
        """Send an answer; ``stop_after`` bytes of the body at most."""
        part = b"" if self.command == "HEAD" else body[:stop_after]
        asked, path = self.headers.get("Range"), urlsplit(self.path).path
        self.server.log.append(
            Request(method=self.command, path=path, range=asked, status=int(status), sent=len(part))
        )
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if part:
            self.wfile.write(part)


def select(asked: str | None, size: int) -> tuple[HTTPStatus, slice]:
    """Return status and part of a file for a Range header (RFC 9110, section 14).

    Several ranges at once, and what is no range of bytes, are answered with the whole file, as S3 does.
    """
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", asked or "")
    if found is None or not any(found.groups()):
        return HTTPStatus.OK, slice(0, size)
    first, last = found.groups()
    if not first:  # the last so many bytes
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return HTTPStatus.OK, slice(0, size)
    if start >= stop:
        return HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, slice(0, 0)
    return HTTPStatus.PARTIAL_CONTENT, slice(start, stop)


@contextmanager
def serve(folder: str | Path) -> Iterator[RangeServer]:
    """Serve a folder on a free port of loopback for as long as the block runs."""
    with RangeServer(Path(folder)) as server, in_thread(server):
        try:
            yield server
        finally:
            server.hang_up()


@contextmanager
def in_thread(server: ThreadingHTTPServer) -> Iterator[None]:
    """Let a server answer for as long as the block runs."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()

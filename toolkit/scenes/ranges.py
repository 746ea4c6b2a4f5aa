"""A remote file, read by byte ranges: what GDAL sees of it, and what the network does to it.

GDAL's own reader follows redirects anywhere, remembers failures for the life of a process and cannot say what
went wrong; so it is given this file object instead.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from toolkit.catalog.access import Access
from toolkit.catalog.redaction import redact
from toolkit.catalog.signing import forget, sign
from toolkit.catalog.transport import BUSY, TROUBLE, Answer, send
from toolkit.errors import AssetError, CropglobeError, RemoteError
from toolkit.scenes.headers import Header, header_of

HEADER_BYTES = 32_768
"""First read: the header of a cloud-optimised GeoTIFF with its tables of blocks."""
AHEAD_BYTES = 16_384
"""Least read elsewhere, where GDAL asks for a few bytes."""
JOIN_BYTES = 262_144
"""Ranges nearer than this are one request: at 50 ms and 10 MB/s a request costs as much as 500 KB."""
SLOWEST_BYTES_PER_S = 1_000
"""A connection slower than this, over as long as its longest silence, is given up."""
LONGEST_S = 300.0
"""Most time for one request."""
CHUNK = 65_536
WHOLE_BYTES = 1_000_000
"""Largest file that a server without ranges may send whole."""

ADVICE = {
    "asset_missing": "The catalog names a file that is not there.",
    "forbidden": "The server refuses it, also with a new signature: check account and terms of use.",
    "login_page": "The server answers with a web page: this network or the archive asks for a login.",
    "no_ranges": "The server sends whole files only, which is not read for files this large.",
    "changed": "The file was replaced while it was read; run again.",
    "no_answer": "Check the network and run again.",
    "busy": "The server stays busy; run again later.",
    "wrong_range": "The server sends other bytes than asked for.",
}
"""Reason code -> what it means and what to do."""


class _Again(Exception):  # noqa: N818  # no error: a reason to ask once more
    def __init__(self, reason: str, detail: str, retry_after: str | None = None) -> None:
        super().__init__(detail)
        self.reason, self.retry_after = reason, retry_after


class RangeFile:
    """A file on a server; what was fetched of it is kept until it is dropped."""

    def __init__(
        self, url: str, access: Access, *, ahead: int = AHEAD_BYTES, known: Header | None = None
    ) -> None:
        """Ask for nothing yet.

        Args:
            url: reference as it stands in the item, not signed.
            access: how files of its catalog are read.
            ahead: least bytes read at a time.
            known: its header, from when it was read before.
        """
        self.failure: CropglobeError | None = None
        """What went wrong while GDAL read: its calls cannot carry exceptions."""
        self.requests = 0
        """Requests sent."""
        self.received = 0
        """Bytes received."""
        self._url, self._access, self._ahead, self._patience = url, access, ahead, access.patience
        self._counting = threading.Lock()
        self._direct: str | None = None
        self.tag: str | None = None if known is None else known.tag
        """Strong ETag, if the server gives one."""
        self._size = None if known is None else known.size
        self._parts: dict[int, bytes] = {} if known is None else {0: known.content}

    @property
    def name(self) -> str:
        """Reference without signature."""
        return redact(self._url.partition("?")[0])

    @property
    def header(self) -> Header | None:
        """What to give as ``known`` when it is read again; None if a change would go unnoticed."""
        first = self._parts.get(0, b"")
        return header_of(first, self._size, self.tag) if len(first) <= HEADER_BYTES else None

    def size(self) -> int:
        """Return the size in bytes; 0 after a failure."""
        try:
            return self._known_size() if self.failure is None else 0
        except CropglobeError as error:
            self.failure = error
            return 0

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to before ``stop``; fewer at the end, none after a failure."""
        stop = min(stop, self.size())
        try:
            return self._held(start, stop) if stop > start else b""
        except CropglobeError as error:
            self.failure = self.failure or error
            return b""

    def prefetch(self, spans: Iterable[tuple[int, int]], *, together: int = 1) -> None:
        """Fetch ranges that will be read next, near ones in one request; earlier ones are dropped.

        Args:
            spans: first byte and byte after the last of each.
            together: ranges fetched at a time; more than one where a file has many and few files are read.

        Raises:
            AssetError: they cannot be read; ``reason`` is a key of :data:`ADVICE`.
        """
        total = self._known_size()
        self._parts = {start: part for start, part in self._parts.items() if start == 0}
        missing = [
            (start, min(stop, total))
            for start, stop in _joined(spans)
            if self._part(start, min(stop, total)) is None
        ]
        if together == 1 or len(missing) == 1:
            self._parts |= {start: self._fetch(start, stop) for start, stop in missing}
            return
        with ThreadPoolExecutor(max(1, min(together, len(missing)))) as pool:
            parts = pool.map(lambda span: self._fetch(*span), missing)
            self._parts |= {start: part for (start, _), part in zip(missing, parts, strict=True)}

    def _known_size(self) -> int:
        if self._size is None:
            self._parts[0] = self._fetch(0, max(HEADER_BYTES, self._ahead))
        return self._size or 0

    def _held(self, start: int, stop: int) -> bytes:
        part = self._part(start, stop)
        if part is None:
            last = min(max(stop, start + self._ahead), self._known_size())
            self._parts[start] = self._fetch(start, last)
            part = start
        return self._parts[part][start - part : stop - part]

    def _part(self, start: int, stop: int) -> int | None:
        """Return the first byte of a part that holds a range, if there is one."""
        return next(
            (first for first, part in self._parts.items() if first <= start and stop <= first + len(part)),
            None,
        )

    def _fetch(self, start: int, stop: int) -> bytes:
        attempt, refused, missing = 0, False, False
        while True:
            attempt += 1
            try:
                return self._ask(start, stop)
            except _Again as again:
                # A new signature and a second look are free; after them the answer stands.
                once = (again.reason == "forbidden" and refused) or (
                    again.reason == "asset_missing" and missing
                )
                refused |= again.reason == "forbidden"
                missing |= again.reason == "asset_missing"
                if once or attempt == self._patience.attempts:
                    raise self._failed(again.reason, f"{again}; tried {attempt} times") from None
                self._direct = None
                forget(self._url, self._access.signing)
                try:
                    self._patience.wait(attempt, again.retry_after)
                except RemoteError as error:
                    raise self._failed("busy", str(error)) from None

    def _ask(self, start: int, stop: int) -> bytes:
        """Ask once for a range."""
        signed = sign(self._url, self._access.signing)
        headers = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        if self.tag:
            headers["If-Match"] = self.tag
        if self._direct is None:
            headers.update(signed.headers)
        with self._counting:
            self.requests += 1
        try:
            return self._send(headers, signed.url, start, stop)
        except TROUBLE as error:
            raise _Again("no_answer", redact(str(error))) from None

    def _send(self, headers: Mapping[str, str], url: str, start: int, stop: int) -> bytes:
        with _slots(self._access.guard.root, self._access.connections):
            answer = send(
                self._access.guard,
                "GET",
                self._direct or url,
                headers=headers,
                silence_s=self._patience.silence_s,
            )
            try:
                content = self._accept(answer, start, stop)
            finally:
                answer.close()
        if urlsplit(answer.url).netloc != urlsplit(url).netloc:
            self._direct = answer.url  # sent on to a signed address: it serves the other ranges too
        return content

    def _accept(self, answer: Answer, start: int, stop: int) -> bytes:
        """Return the bytes of an answer, or raise what is wrong with it."""
        headers = answer.headers
        if answer.status in (401, 403):
            raise _Again("forbidden", f"answer {answer.status}{_clock_note(headers)}")
        if answer.status in (404, 410):
            raise _Again("asset_missing", f"answer {answer.status}")
        if answer.status == 412 or (self.tag and headers.get("ETag", self.tag) != self.tag):
            raise self._failed("changed", f"answer {answer.status}")
        if answer.status in BUSY:
            raise _Again("busy", f"answer {answer.status}", headers.get("Retry-After"))
        if "text/html" in headers.get("Content-Type", ""):
            raise self._failed("login_page", f"answer {answer.status} with a web page")
        if answer.status == 200:
            return self._whole(answer, start)
        if answer.status != 206:
            raise self._failed("no_answer", f"answer {answer.status}")
        told = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", headers.get("Content-Range", "").strip())
        if told is None or int(told[1]) != start or (self._size or int(told[3])) != int(told[3]):
            raise _Again("wrong_range", f"Content-Range {headers.get('Content-Range')!r} for byte {start}")
        expected = min(stop, int(told[3])) - start
        content = self._body(answer, expected)
        if len(content) != expected:
            raise _Again("no_answer", f"{len(content)} of {expected} bytes")
        self._size = int(told[3])
        self.tag = self.tag or _strong(headers.get("ETag"))
        return content

    def _whole(self, answer: Answer, start: int) -> bytes:
        """Take a small file from a server that knows no ranges."""
        length = int(answer.headers.get("Content-Length") or WHOLE_BYTES + 1)
        if start or length > WHOLE_BYTES:
            raise self._failed("no_ranges", f"answer 200 to a range, {length} bytes")
        content = self._body(answer, length)
        if len(content) != length:
            raise _Again("no_answer", f"{len(content)} of {length} bytes")
        self._size = length
        return content

    def _body(self, answer: Answer, expected: int) -> bytes:
        """Read a body, unless it comes too slowly."""
        found = bytearray()
        begun = time.monotonic()
        while len(found) < expected and (chunk := answer.response.read1(min(CHUNK, expected - len(found)))):
            found += chunk
            spent = time.monotonic() - begun
            if spent > LONGEST_S or (
                spent > self._patience.silence_s and len(found) < SLOWEST_BYTES_PER_S * spent
            ):
                raise _Again("no_answer", f"{len(found)} bytes in {spent:.0f} s")
        with self._counting:
            self.received += len(found)
        return bytes(found)

    def _failed(self, reason: str, detail: str) -> AssetError:
        msg = f"{self.name!r} could not be read ({detail}). {ADVICE[reason]}"
        return AssetError(msg, reason=reason)


@lru_cache(maxsize=64)
def _slots(catalog: str, connections: int) -> threading.BoundedSemaphore:
    """Requests to one catalog that this process may have open."""
    del catalog
    return threading.BoundedSemaphore(connections)


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ranges that nearly meet."""
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if joined and start - joined[-1][1] <= JOIN_BYTES:
            joined[-1] = joined[-1][0], max(stop, joined[-1][1])
        else:
            joined.append((start, stop))
    return joined


def _strong(tag: str | None) -> str | None:
    return None if tag is None or tag.startswith("W/") else tag


def _clock_note(headers: Mapping[str, Any]) -> str:
    """Say so if this machine's clock is wrong: signatures fail by it."""
    try:
        off = parsedate_to_datetime(headers.get("Date") or "").timestamp() - time.time()
    except ValueError:
        return ""
    return f"; this machine's clock is {abs(off) / 60:.0f} minutes off" if abs(off) > 300 else ""

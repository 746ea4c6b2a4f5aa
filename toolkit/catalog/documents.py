"""Documents of catalogs: allowed addresses only, with time limits, sizes and repeats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import pystac
from pystac.stac_io import DefaultStacIO
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO

from toolkit.catalog.guard import Guard
from toolkit.catalog.items import item_of
from toolkit.catalog.paging import PageRequest, PageTooLargeError
from toolkit.catalog.redaction import redact
from toolkit.catalog.transport import BUSY, read_all
from toolkit.errors import InputError, RemoteError

MAX_BYTES = 64_000_000
"""Longest document; a page of 1000 items has some 20 MB."""
GAVE_UP = frozenset({500, 502, 504})
"""Answers of servers that ran out of memory or time over a page."""
BODY = "application/json"


class GuardedIO(StacApiIO):
    """Reads catalog documents that a guard allows; pystac and pystac-client get no other network."""

    def __init__(self, guard: Guard) -> None:
        """Use the references a guard allows."""
        super().__init__()
        self.guard = guard

    def read_text(self, source: Any, *_: Any, **__: Any) -> str:
        """Read a document, or raise if the guard refuses it."""
        href = source.absolute_href if isinstance(source, pystac.Link) else str(source)
        href = self.guard.check(href)
        if "://" not in href:
            return Path(href).read_text(encoding="utf-8")
        return self.request(href)

    def stac_object_from_dict(
        self,
        d: dict[str, Any],
        href: Any = None,
        root: pystac.Catalog | None = None,
        preserve_dict: bool = True,  # noqa: FBT001, FBT002  # as pystac has it
    ) -> pystac.STACObject:
        """Make plain catalogs: static ones are walked link by link, not asked as an API."""
        if d.get("type") != "Feature":
            return DefaultStacIO.stac_object_from_dict(self, d, href, root, preserve_dict)
        item = item_of(d)
        if href is not None:
            item.set_self_href(str(href))
        item.set_root(root)
        return item

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Ask an API.

        Args:
            href: address.
            method: GET or POST.
            headers: ignored: credentials have no place here.
            parameters: body, or query of the address.

        Raises:
            UnsafeReferenceError: the guard refuses the address.
            RemoteError: no answer, or one of failure.
        """
        del headers
        asked = PageRequest(method=(method or "GET").upper(), url=href, body=parameters or {})
        return self._ask(asked, again=BUSY)

    def page(self, request: PageRequest) -> dict[str, Any]:
        """Ask for one page of a search.

        Args:
            request: the page.

        Raises:
            PageTooLargeError: the server gave up on it; ask for a smaller one.
            RemoteError: no answer, one of failure, or no page.
        """
        text = self._ask(request, again=BUSY - GAVE_UP)
        try:
            page = json.loads(text)
        except ValueError as error:
            msg = (
                f"The search at {redact(request.url)!r} answers with something else than JSON ({error}; it "
                f"starts with {text[:60]!r}). Check the address; a network that asks for a login answers so."
            )
            raise RemoteError(msg) from None
        if not isinstance(page, dict) or not isinstance(page.get("features"), list):
            msg = f"The search at {redact(request.url)!r} answers with no list of items. Check the address."
            raise RemoteError(msg)
        return page

    def _ask(self, request: PageRequest, *, again: frozenset[int]) -> str:
        url, body = request.url, None
        headers = {"Accept": "application/geo+json, application/json"}
        if request.method == "POST":
            body = json.dumps(dict(request.body)).encode()
            headers["Content-Type"] = BODY
        elif request.body:
            url = _with_query(url, request.body)
        status, _, content = read_all(
            self.guard, request.method, url, body=body, headers=headers, limit_bytes=MAX_BYTES, again=again
        )
        text = content.decode("utf-8", errors="replace")
        if status in GAVE_UP - again:
            msg = f"{redact(url)!r} answers {status} ({_first_words(text)}), also for the smallest page."
            raise PageTooLargeError(msg)
        if not 200 <= status < 300:
            msg = f"{redact(url)!r} answers {status} ({_first_words(text)})."
            raise RemoteError(msg)
        return text


DOCUMENT_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    pystac.STACError,
    pystac.STACTypeError,
    APIError,
)
"""What readers raise for a document that is missing, cut short or something else."""


def our_error(error: BaseException | None) -> InputError | RemoteError | None:
    """Return the error of ours that a library has wrapped, if there is one."""
    while error is not None and not isinstance(error, InputError | RemoteError):
        error = error.__cause__ or error.__context__
    return error


def _with_query(url: str, parameters: Any) -> str:
    values = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in parameters.items()
    }
    parts = urlsplit(url)
    query = "&".join(part for part in (parts.query, urlencode(values)) if part)
    return urlunsplit(parts._replace(query=query))


def _first_words(text: str) -> str:
    return redact(" ".join(text.split()))[:160] or "no text"

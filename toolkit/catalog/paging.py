"""Pages of a search, to the end: neither for ever, nor fewer than there are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from toolkit.errors import RemoteError

MAX_PAGES = 1000
MAX_EMPTY = 3
"""Empty pages in a row after which a search is over: one in the middle is not the end (Earth Search gives a
link to a next page on the last one, too)."""
SMALLEST_PAGE = 5


class PageTooLargeError(RemoteError):
    """A server gave up on a page, as those do that run out of memory or time; a smaller one may do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """What is asked for: one page."""

    method: str
    url: str
    body: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the search; sent as JSON or, with GET, in the address."""

    @property
    def key(self) -> str:
        """Text that tells requests apart."""
        return json.dumps([self.method, self.url, self.body], sort_keys=True)

    def smaller(self) -> PageRequest | None:
        """Return the request with half the items, None if that is too few."""
        limit = int(self.body.get("limit", 0)) or int(
            dict(parse_qsl(urlsplit(self.url).query)).get("limit", 0)
        )
        if limit < 2 * SMALLEST_PAGE:
            return None
        parts = urlsplit(self.url)
        query = dict(parse_qsl(parts.query))
        if "limit" in query:
            query["limit"] = str(limit // 2)
            return replace(self, url=urlunsplit(parts._replace(query=urlencode(query))))
        return replace(self, body={**self.body, "limit": limit // 2})


Ask = Callable[[PageRequest], dict[str, Any]]
"""Asks for one page; raises :class:`PageTooLargeError` if the server gave up on it."""


def pages(ask: Ask, first: PageRequest) -> Iterator[dict[str, Any]]:
    """Yield the pages of a search.

    Args:
        ask: asks for one page.
        first: the search.

    Raises:
        RemoteError: pages repeat or do not end, or the server cannot make even a small one.
    """
    request: PageRequest | None = first
    asked: set[str] = set()
    seen: set[str] = set()
    empty = 0
    while request is not None:
        if request.key in asked or len(asked) == MAX_PAGES:
            msg = (
                f"The pages of the search at {first.url!r} do not end: page {len(asked)} leads to one read "
                f"already, or there are more than {MAX_PAGES}. The catalog is at fault; try later, or "
                "another one."
            )
            raise RemoteError(msg)
        asked.add(request.key)
        page, request = _ask_smaller(ask, request)
        names = {_name(feature) for feature in page.get("features", [])}
        matched = number_matched(page)
        if names and names <= seen and (matched is None or len(seen) < matched):
            msg = (
                f"The search at {first.url!r} gave the same {len(names)} items again instead of new ones, so "
                "that it cannot be told what is missing. Try later, or another catalog."
            )
            raise RemoteError(msg)
        seen |= names
        empty = 0 if names else empty + 1
        yield page
        if (matched is not None and len(seen) >= matched) or empty == MAX_EMPTY:
            return
        request = _next(page, request)


def number_matched(page: Mapping[str, Any]) -> int | None:
    """Return how many items a search has in all, if the page tells."""
    context = page.get("context") or {}
    for value in (page.get("numberMatched"), context.get("matched")):
        if isinstance(value, int):
            return value
    return None


def _ask_smaller(ask: Ask, request: PageRequest) -> tuple[dict[str, Any], PageRequest]:
    """Ask for a page, and for smaller ones if the server gives up; return the request that did."""
    while True:
        try:
            return ask(request), request
        except PageTooLargeError:
            smaller = request.smaller()
            if smaller is None:
                raise
            request = smaller


def _next(page: Mapping[str, Any], request: PageRequest) -> PageRequest | None:
    """Return the request for the page that a page links to as next."""
    link = next((one for one in page.get("links", []) if one.get("rel") == "next" and one.get("href")), None)
    if link is None:
        return None
    method = str(link.get("method", "GET")).upper()
    body = dict(link.get("body") or {})
    if link.get("merge"):
        body = {**request.body, **body}
    if method == "POST" and "limit" in request.body:
        body["limit"] = request.body["limit"]  # stays small once it had to be made so
    return PageRequest(method=method, url=urljoin(request.url, link["href"]), body=body)


def _name(feature: Any) -> str:
    return f"{feature.get('collection')}/{feature.get('id')}" if isinstance(feature, dict) else str(feature)

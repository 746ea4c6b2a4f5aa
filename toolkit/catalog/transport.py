"""HTTP for catalogs and pixels: allowed hosts only, bounded waits, busy servers asked again.

Every connection is checked where it ends, before anything is asked: a name that leads into a private
network is refused even if it led elsewhere a moment ago. Redirects are followed by us, each checked alike.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from toolkit.catalog.guard import Guard
from toolkit.catalog.redaction import redact
from toolkit.errors import RemoteError

CONNECT_S = 10.0
"""Seconds to connect."""
SEARCH_SILENCE_S = 60.0
"""Longest silence of a search, which thinks before it answers; servers give up after 30 to 60 s."""
MAX_REDIRECTS = 5
POOLS = 16
"""Hosts to which connections are kept."""
CONNECTIONS = 32
"""Connections kept per host."""
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which asking again may help."""
TROUBLE = (urllib3.exceptions.HTTPError, OSError)
"""What a broken connection raises."""
USER_AGENT = "cropglobe"
_SENSITIVE = ("authorization", "cookie")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often and how long a server is asked again."""

    attempts: int = 5
    first_wait_s: float = 1.0
    longest_wait_s: float = 30.0
    """Longest wait of our own choice."""
    longest_asked_s: float = 120.0
    """Longest wait a server may ask for (Retry-After); more ends the run, which can be taken up later."""
    silence_s: float = 20.0
    """Longest time without a byte."""

    def wait(self, attempt: int, retry_after: str | None) -> None:
        """Wait before asking again: as long as the server asks, else longer every time, with jitter.

        Raises:
            RemoteError: the server asks for more time than a run should wait.
        """
        asked = _seconds(retry_after)
        if asked > self.longest_asked_s:
            msg = f"The server asks to wait {asked:.0f} s (quota used up?). Run again after that."
            raise RemoteError(msg)
        own = min(self.longest_wait_s, self.first_wait_s * 2 ** (attempt - 1))
        time.sleep(asked or own * random.uniform(0.5, 1))  # noqa: S311  # jitter, no secret


PATIENCE = Patience()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server answered, the body not yet read."""

    response: urllib3.BaseHTTPResponse
    url: str
    """Where it came from, after redirects."""

    @property
    def status(self) -> int:
        """HTTP status."""
        return self.response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers; names in any case."""
        return self.response.headers

    def close(self) -> None:
        """Give the connection back: kept if the body was read, closed if not."""
        self.response.release_conn() if self.response.closed else self.response.close()


def send(
    guard: Guard,
    method: str,
    url: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    silence_s: float = 20.0,
) -> Answer:
    """Ask once, and follow redirects to allowed places.

    Args:
        guard: decides which hosts may be asked.
        method: HTTP method.
        url: address.
        body: body of a POST.
        headers: headers; those with credentials go to the first host only.
        silence_s: longest time without a byte.

    Raises:
        UnsafeReferenceError: the address, a redirect or the network it leads to is not allowed.
        urllib3.exceptions.HTTPError: the server cannot be reached.
    """
    sent = {"User-Agent": USER_AGENT, **(headers or {})}
    for _ in range(MAX_REDIRECTS + 1):
        guard.check(url)
        response = _pool(url, guard).request(
            method, url, body=body, headers=sent, redirect=False, retries=False, preload_content=False,
            timeout=urllib3.Timeout(connect=CONNECT_S, read=silence_s),
        )  # fmt: skip
        if not (location := response.get_redirect_location()):
            return Answer(response=response, url=url)
        response.close()
        target = urljoin(url, location)
        if urlsplit(target)[:2] != urlsplit(url)[:2]:
            sent = {name: value for name, value in sent.items() if name.lower() not in _SENSITIVE}
        if response.status == 303:
            method, body = "GET", None
        url = target
    msg = (
        f"{redact(url)!r} redirects more than {MAX_REDIRECTS} times. The server is at fault; run again later."
    )
    raise RemoteError(msg)


def read_all(
    guard: Guard,
    method: str,
    url: str,
    *,
    limit_bytes: int,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    patience: Patience = PATIENCE,
    again: frozenset[int] = BUSY,
) -> tuple[int, Mapping[str, str], bytes]:
    """Ask until there is an answer, and read it whole.

    Args:
        guard: decides which hosts may be asked.
        method: HTTP method.
        url: address.
        limit_bytes: longest body accepted.
        body: body of a POST.
        headers: headers.
        patience: how often to ask again.
        again: answers after which to ask again.

    Returns:
        Status, headers and body of the last answer, which may be one of failure.

    Raises:
        UnsafeReferenceError: the address is not allowed.
        RemoteError: no answer, or one that is too long.
    """
    attempt = 0
    while True:
        attempt += 1
        last = attempt == patience.attempts
        try:
            answer = send(guard, method, url, body=body, headers=headers, silence_s=SEARCH_SILENCE_S)
            try:
                content = answer.response.read(limit_bytes + 1, decode_content=True)
            finally:
                answer.close()
        except TROUBLE as error:
            # An address that refuses is most often wrong: asked twice, not five times.
            if last or (isinstance(error, urllib3.exceptions.NewConnectionError) and attempt > 1):
                msg = f"{redact(url)!r} does not answer ({redact(str(error))}; tried {attempt} times)."
                raise RemoteError(msg) from None
            patience.wait(attempt, None)
            continue
        if len(content) > limit_bytes:
            msg = f"{redact(url)!r} answers with more than {limit_bytes / 1e6:.0f} MB, which is not read."
            raise RemoteError(msg)
        if answer.status not in again or last:
            return answer.status, answer.headers, content
        patience.wait(attempt, answer.headers.get("Retry-After"))


def _seconds(retry_after: str | None) -> float:
    """Seconds a server asks to wait, given as a number or a date."""
    if not retry_after:
        return 0.0
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        try:
            return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
        except ValueError:
            return 0.0


def _pool(url: str, guard: Guard) -> urllib3.PoolManager:
    """Connections to a host, or to the proxy that the environment names for it."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.hostname or ""):
        return _proxied(proxy)  # the proxy resolves names and decides where they may lead
    return _direct(guard)


@lru_cache(maxsize=8)
def _proxied(proxy: str) -> urllib3.PoolManager:
    return urllib3.ProxyManager(proxy, num_pools=POOLS, maxsize=CONNECTIONS, ca_certs=_certificates())


@lru_cache(maxsize=32)
def _direct(guard: Guard) -> urllib3.PoolManager:
    """Connections that check where they end."""

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            _check_end(self, guard)

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            _check_end(self, guard)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    manager = urllib3.PoolManager(num_pools=POOLS, maxsize=CONNECTIONS, ca_certs=_certificates())
    manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    return manager


def _check_end(connection: Any, guard: Guard) -> None:
    try:
        guard.check_address(connection.host, connection.sock.getpeername()[0])
    except Exception:
        connection.close()
        raise


def _certificates() -> str:
    """Return the file of certificates: the one an institution has set, else the usual one."""
    named = (os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"))
    return next((path for path in named if path), certifi.where())

"""Signatures, made where and when a file is opened; they are never stored with an item.

Planetary Computer gives tokens that last about an hour, Earthdata wants a bearer token on its first host
only, Copernicus Data Space S3 signatures made from a user's keys.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from toolkit.catalog.guard import Guard
from toolkit.catalog.profiles import PROFILES, Signing
from toolkit.catalog.redaction import redact
from toolkit.catalog.transport import read_all
from toolkit.errors import CredentialsError, InputError, RemoteError

FRESH_SHARE = 0.8
"""A token is replaced after this share of its life: reads that have begun must not outlive it."""
S3_LIFE = timedelta(hours=1)
TOKEN_BYTES = 100_000
AZURE_HOST = ".blob.core.windows.net"


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What to ask for instead."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    stale_at: float
    """On the monotonic clock: a wrong clock of this machine must not decide."""


_tokens: dict[str, _Token] = {}
_lock = threading.Lock()


def sign(url: str, signing: Signing) -> SignedRequest:
    """Sign a reference.

    Args:
        url: reference as it stands in the catalog.
        signing: how its catalog opens files.

    Raises:
        CredentialsError: an account is needed and none is given; names the variable.
        RemoteError: the server gives no signature.
    """
    if signing == "planetary-computer":
        return _with_token(url)
    if signing == "earthdata":
        return SignedRequest(url, {"Authorization": f"Bearer {_variable('EARTHDATA_TOKEN', 'lpcloud')}"})
    if signing == "cdse":
        return _with_keys(url)
    return SignedRequest(url)


def forget(url: str, signing: Signing) -> None:
    """Drop the token that a file was refused with; the next signature takes a new one."""
    if signing == "planetary-computer":
        with _lock:
            _tokens.pop(_container(url), None)


def check_credentials(catalog: str) -> None:
    """Raise if a catalog needs an account and none is given, before anything is read.

    Raises:
        CredentialsError: names the variables.
    """
    profile = PROFILES.get(catalog)
    for variable in profile.credentials if profile else ():
        _variable(variable, catalog)


def _variable(name: str, catalog: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        profile = PROFILES[catalog]
        msg = (
            f"The catalog {catalog!r} needs an account: the environment variable {name} is not set. Set "
            f"{' and '.join(profile.credentials)} ({profile.account}); see 'cropglobe catalogs'. Sentinel-2 "
            "without account: earth-search, planetary-computer."
        )
        raise CredentialsError(msg)
    return value


def _container(url: str) -> str:
    parts = urlsplit(url)
    account = (parts.hostname or "").removesuffix(AZURE_HOST)
    return f"{account}/{parts.path.lstrip('/').partition('/')[0]}"


def _with_token(url: str) -> SignedRequest:
    if not (urlsplit(url).hostname or "").endswith(AZURE_HOST):
        return SignedRequest(url)
    container = _container(url)
    with _lock:  # one thread asks, the others wait for its token
        token = _tokens.get(container)
        if token is None or time.monotonic() >= token.stale_at:
            token = _tokens[container] = _new_token(container)
    return SignedRequest(f"{url}?{token.text}")


def _new_token(container: str) -> _Token:
    """Ask for a token.

    The package planetary-computer knows where and how; it waits for the answer without limit and trusts this
    machine's clock, so the asking is ours.
    """
    from planetary_computer.sas import SASToken
    from planetary_computer.settings import Settings

    settings = Settings.get()
    address = f"{settings.sas_url}/{container}"
    headers = {"Ocp-Apim-Subscription-Key": settings.subscription_key} if settings.subscription_key else {}
    host = (urlsplit(address).hostname or "").lower()
    guard = Guard(settings.sas_url, frozenset({host}), frozenset({host}))  # an address of the user's settings
    status, answered, content = read_all(guard, "GET", address, headers=headers, limit_bytes=TOKEN_BYTES)
    try:
        token = SASToken(**_fields(content))
    except (ValueError, TypeError) as error:
        text = redact(content[:80].decode(errors="replace"))
        msg = f"{redact(address)!r} gives no signature (answer {status}: {text}). Run again later."
        raise RemoteError(msg) from error
    life = (token.expiry - _server_time(answered)).total_seconds()
    return _Token(token.token, time.monotonic() + max(0.0, life * FRESH_SHARE))


def _fields(content: bytes) -> dict[str, Any]:
    fields = json.loads(content)
    if not isinstance(fields, dict):
        raise TypeError
    return fields


def _server_time(headers: Mapping[str, str]) -> datetime:
    """Time as the server has it: it judges the token, and this machine's clock may be wrong."""
    try:
        return parsedate_to_datetime(headers.get("Date") or "").astimezone(UTC)
    except ValueError:
        return datetime.now(UTC)


def _with_keys(url: str) -> SignedRequest:
    key, secret = (_variable(name, "cdse") for name in PROFILES["cdse"].credentials)
    try:
        from obstore import sign as presign
        from obstore.store import S3Store
    except ImportError as error:
        msg = "The catalog 'cdse' needs the package obstore: pip install 'cropglobe[cdse]'."
        raise InputError(msg) from error
    parts = urlsplit(url)
    store = S3Store(
        parts.netloc,
        endpoint=os.environ.get("CDSE_S3_ENDPOINT", "https://eodata.dataspace.copernicus.eu"),
        region="default",
        access_key_id=key,
        secret_access_key=secret,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    return SignedRequest(presign(store, "GET", parts.path.lstrip("/"), S3_LIFE))

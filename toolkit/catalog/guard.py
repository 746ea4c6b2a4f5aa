"""What may be read, and how: references checked, GDAL's settings.

Catalogs are data from strangers. A reference in one may not open local files outside the
catalog's own folder, GDAL's virtual file systems, or hosts nobody agreed to.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote, urlsplit

from toolkit.errors import UnsafeReferenceError

GDAL_OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # 3 instead of 13 requests a file
        # Remote files are read by toolkit/scenes/ranges.py, not by GDAL; should GDAL ever open one, then so:
        "GDAL_HTTP_CONNECTTIMEOUT": "10",
        "GDAL_HTTP_LOW_SPEED_LIMIT": "1000",  # bytes/s; without it a stalled server hangs for ever
        "GDAL_HTTP_LOW_SPEED_TIME": "20",
        "GDAL_HTTP_TIMEOUT": "300",
        "GDAL_HTTP_MAX_RETRY": "5",  # GDAL's default is no retry
        "GDAL_HTTP_RETRY_DELAY": "1",
        "GDAL_NUM_THREADS": "1",  # more than one defeats the retries of GDAL 3.10
        "GDAL_VRT_ENABLE_PYTHON": "NO",
        "CPL_VSIL_CURL_HEADER_FILE_KVP_ENABLED": "NO",
        "VSI_CACHE": "FALSE",
    }
)
"""GDAL settings under which scenes are read."""

GDAL_ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        **GDAL_OPTIONS,
        "GDAL_CACHEMAX": "128",
    }  # MB per process; the default is 5 % of the machine's memory
)
"""Environment variables of our own worker processes."""

WEB_SCHEMES = ("https", "http")
MAX_REFERENCE = 4096
"""Longest reference accepted, in characters."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Decides which references of one catalog may be read."""

    root: str
    """URL or local path of the catalog's first document."""
    hosts: frozenset[str] = frozenset()
    """Hosts that may be read, lower case; ``*.`` stands for any first label."""
    named_hosts: frozenset[str] = frozenset()
    """Hosts that the user named; only these may lie in a private network."""
    buckets: frozenset[str] = frozenset()
    """Buckets that ``s3://`` references may name."""

    @property
    def local(self) -> bool:
        """Whether the catalog is a local file."""
        return "://" not in self.root

    def check(self, reference: str) -> str:
        """Return a reference in the form it may be opened, or raise.

        Args:
            reference: absolute URL or local path.

        Raises:
            UnsafeReferenceError: the scheme, the host, the folder or the spelling is not allowed.
        """
        if len(reference) > MAX_REFERENCE or re.search(r"[\x00-\x1f\x7f\\]", reference):
            self._refuse(reference, "it is too long or holds control characters or backslashes")
        parts = urlsplit(reference)
        if parts.scheme == "s3" and self.buckets:
            return self._check_bucket(reference)
        if parts.scheme in WEB_SCHEMES:
            return self._check_remote(reference)
        if parts.scheme == "file":
            reference = unquote(parts.path)
        elif "://" in reference or re.match(r"^[A-Za-z_0-9]+:", reference):
            self._refuse(reference, f"the scheme must be one of {', '.join(WEB_SCHEMES)}")
        return self._check_local(reference)

    def _check_remote(self, reference: str) -> str:
        parts = urlsplit(reference)
        if parts.username or parts.password or "@" in parts.netloc:
            self._refuse(reference, "user names in URLs are not allowed")
        host = (parts.hostname or "").lower()
        if not self._allows(host):
            known = ", ".join(sorted(self.hosts)) or "none"
            self._refuse(
                reference,
                f"host {host!r} is not among those allowed ({known}); allow it with allow_hosts",
            )
        return reference

    def _allows(self, host: str) -> bool:
        return host in self.hosts or f"*.{host.partition('.')[2]}" in self.hosts

    def _check_bucket(self, reference: str) -> str:
        bucket = urlsplit(reference).netloc
        if bucket not in self.buckets:
            self._refuse(reference, f"the bucket must be one of {', '.join(sorted(self.buckets))}")
        return reference

    def check_address(self, host: str, address: str) -> None:
        """Refuse a connection into a private network, unless the user named the host.

        Args:
            host: name that was asked for.
            address: IP address that answers.

        Raises:
            UnsafeReferenceError: the address is private, link-local or otherwise not of the internet.
        """
        found = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
            found = found.ipv4_mapped
        host = host.strip("[]").lower()
        if found.is_global and not found.is_multicast:
            return
        # Link-local addresses hold the credentials of cloud machines: a name never leads there.
        if host in self.named_hosts and (not found.is_link_local or host == str(found)):
            return
        self._refuse(
            host,
            f"it leads to {address}, an address in a private network; if that is wanted, name the host "
            "with allow_hosts",
        )

    def _check_local(self, reference: str) -> str:
        if not self.local:
            self._refuse(reference, "a remote catalog may not name local files")
        root = Path(self.root).resolve()
        folder = root if root.is_dir() else root.parent
        path = Path(reference).resolve()
        if str(path).startswith("/vsi") or not path.is_relative_to(folder):
            self._refuse(reference, f"it lies outside the catalog's folder {str(folder)!r}")
        return str(path)

    def _refuse(self, reference: str, reason: str) -> None:
        msg = f"The catalog {self.root!r} refers to {reference[:200]!r}, which is not read: {reason}."
        raise UnsafeReferenceError(msg)

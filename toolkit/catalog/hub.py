"""Files of a data set on the Hugging Face Hub: listed at one commit, fetched, checked.

The Hub's addresses and answers: https://huggingface.co/docs/hub/api (repository, tree, resolve), the hosts
that redirects lead to: https://huggingface.co/.well-known/meta.json.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from toolkit.catalog.guard import Guard
from toolkit.catalog.redaction import redact
from toolkit.catalog.transport import PATIENCE, Patience, read_all
from toolkit.errors import InputError, RemoteError

ENDPOINT = "https://huggingface.co"
"""The Hub; the environment variable HF_ENDPOINT names a mirror, as for its own client."""
HOSTS = frozenset(
    {
        *("huggingface.co", "*.huggingface.co", "*.hf.co", "*.xethub.hf.co", "*.xethub-eu.hf.co"),
        *("*.cdn.hf.co", "*.aws.cdn.hf.co", "*.gcp.cdn.hf.co", "*.us.gcp.cdn.hf.co"),
    }
)
"""Hosts that files may come from."""
TOKEN = "HF_TOKEN"  # noqa: S105  # a name, no secret
"""Environment variable with an access token, for data sets that are not public."""
LIST_BYTES = 64_000_000
"""Longest listing; a page of 1000 files has some 300 kB."""
MAX_PAGES = 1000
MAX_TEXT = 300
REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """One file of a repository."""

    path: str
    """Path in the repository; relative, with ``/``."""
    size: int
    """Bytes."""
    sha256: str | None
    """Of large files (LFS)."""
    git_sha1: str | None
    """Git's name of the content; of small files the only checksum."""

    def digest(self, path: Path) -> tuple[str, str]:
        """Return the checksum that is known of the file, and that of a copy.

        Args:
            path: the copy.
        """
        large = self.sha256 is not None
        # Git's object: the word blob, the size, a zero byte, the content.
        counted = hashlib.sha256() if large else hashlib.sha1(b"blob %d\0" % path.stat().st_size)  # noqa: S324  # Git's choice
        with path.open("rb") as file:
            while part := file.read(1 << 20):
                counted.update(part)
        return str(self.sha256 or self.git_sha1), counted.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class HubListing:
    """All files of a data set at one commit."""

    repository: str
    """Owner and name."""
    commit: str
    """40 hexadecimal digits; what is fetched does not change while it is fetched."""
    files: tuple[HubFile, ...]
    """Sorted by path."""


@dataclass(frozen=True, slots=True)
class Hub:
    """Where data sets are asked for, and how patiently."""

    endpoint: str = ENDPOINT
    """Address of the Hub or a mirror."""
    allow_hosts: tuple[str, ...] = ()
    """Further hosts that files may come from."""
    patience: Patience = PATIENCE
    """How often and how long to ask again."""

    @property
    def host(self) -> str:
        """Host that is asked."""
        return (urlsplit(self.endpoint).hostname or "").lower()

    @property
    def guard(self) -> Guard:
        """What decides which hosts are asked: the Hub's, and those that the user named."""
        named = frozenset(host.lower() for host in self.allow_hosts)
        if self.host != urlsplit(ENDPOINT).hostname:
            named |= {self.host}
        return Guard(self.endpoint, HOSTS | named, named)

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every request: the token goes to the Hub alone, and never unencrypted."""
        token = os.environ.get(TOKEN, "").strip()
        secret = urlsplit(self.endpoint).scheme == "https" and token
        return {"Accept-Encoding": "identity", **({"Authorization": f"Bearer {token}"} if secret else {})}

    def address(self, listing: HubListing, file: HubFile) -> str:
        """Return the address of a file at the listing's commit."""
        path = quote(file.path)
        return f"{self.endpoint}/datasets/{listing.repository}/resolve/{listing.commit}/{path}"


def hub(
    endpoint: str | None = None, *, allow_hosts: tuple[str, ...] = (), patience: Patience = PATIENCE
) -> Hub:
    """Return the Hub to ask.

    Args:
        endpoint: address of a mirror; default HF_ENDPOINT of the environment, or the Hub itself.
        allow_hosts: further hosts that files may come from.
        patience: how often and how long to ask again.

    Raises:
        InputError: the address is none of the web.
    """
    address = (endpoint or os.environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
    parts = urlsplit(address)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
        msg = (
            f"The hub's address is {redact(address)!r}; allowed: https://HOST, as in {ENDPOINT}. Correct it."
        )
        raise InputError(msg)
    return Hub(address, allow_hosts, patience)


def list_files(source: Hub, repository: str, *, revision: str = "main") -> HubListing:
    """Return the files of a data set at the newest commit of a revision.

    Args:
        source: the Hub.
        repository: owner and name, as in ``x-ytong/CropGlobe``.
        revision: branch, tag or commit.

    Raises:
        InputError: the repository is no name of one.
        RemoteError: there is none, it is not public, or the Hub answers with something else.
    """
    if not REPOSITORY.fullmatch(repository):
        msg = f"The data set is {repository!r}; allowed: OWNER/NAME, as in x-ytong/CropGlobe."
        raise InputError(msg)
    api = f"{source.endpoint}/api/datasets/{repository}"
    told, _ = _ask(source, f"{api}/revision/{quote(revision, safe='')}", repository)
    commit = told.get("sha") if isinstance(told, dict) else None
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
        msg = (
            f"{redact(api)!r} names no commit. Check the address; a network that asks for a login answers so."
        )
        raise RemoteError(msg)
    url: str | None = f"{api}/tree/{commit}?recursive=true"
    entries: list[Any] = []
    asked: set[str] = set()
    while url is not None:
        if url in asked or len(asked) == MAX_PAGES:
            msg = f"The list of files at {redact(api)!r} does not end. The server is at fault; try later."
            raise RemoteError(msg)
        asked.add(url)
        page, headers = _ask(source, url, repository)
        if not isinstance(page, list):
            msg = f"{redact(url)!r} answers with no list of files. Check the address."
            raise RemoteError(msg)
        entries += page
        url = _next(headers.get("Link"), url)
    files = [_file(entry, repository) for entry in entries if _is_file(entry)]
    return HubListing(
        repository=repository, commit=commit, files=tuple(sorted(files, key=lambda file: file.path))
    )


def _ask(source: Hub, url: str, repository: str) -> tuple[Any, Mapping[str, str]]:
    """Return the JSON of an answer, and its headers."""
    status, headers, body = read_all(
        source.guard, "GET", url, limit_bytes=LIST_BYTES, headers=source.headers, patience=source.patience
    )
    if not 200 <= status < 300:
        raise refusal(status, headers, repository)
    try:
        return json.loads(body), headers
    except (ValueError, RecursionError) as error:
        msg = (
            f"{redact(url)!r} answers with something else than JSON ({error}). Check the address; a network "
            "that asks for a login answers so."
        )
        raise RemoteError(msg) from None


def refusal(status: int, headers: Mapping[str, str], repository: str) -> RemoteError:
    """Return the error for an answer of failure, in the words of its cause.

    Args:
        status: HTTP status.
        headers: headers of the answer; the Hub puts its reason into X-Error-Code and X-Error-Message.
        repository: what was asked for.
    """
    code = headers.get("X-Error-Code", "")
    said = " ".join(headers.get("X-Error-Message", "").split())[:MAX_TEXT]
    detail = f"{status}{code and ', '}{code}{said and ': '}{redact(said)}"
    if code == "RevisionNotFound":
        return RemoteError(f"The data set {repository} has no such revision ({detail}). Use main.")
    if code == "EntryNotFound":
        return RemoteError(f"A file of {repository} is gone ({detail}). Run again to list the files anew.")
    if code == "GatedRepo" or status == 403:
        return RemoteError(
            f"The data set {repository} may not be read ({detail}). Accept its terms on its page, and set "
            f"{TOKEN} to a token of that account."
        )
    if code == "RepoNotFound" or status in (401, 404):
        return RemoteError(
            f"There is no data set {repository}, or it is not public ({detail}). Check the name; for one "
            f"that is not public set {TOKEN}."
        )
    return RemoteError(f"The hub answers {detail} to the question for {repository}. Run again later.")


def _next(link: str | None, url: str) -> str | None:
    """Return the address of the next page out of a Link header (RFC 8288)."""
    found = re.search(r'<([^<>]+)>\s*;[^<,]*rel="?next"?', link or "")
    if found is None:
        return None
    following: str = urljoin(url, found[1])
    if urlsplit(following)[:2] != urlsplit(url)[:2]:  # the token is for the hub alone
        msg = f"The list of files goes on at another host ({redact(following)!r}). It is not followed."
        raise RemoteError(msg)
    return following


def _is_file(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("type") == "file"


def _file(entry: Any, repository: str) -> HubFile:
    """Return a file as listed; its path must stay inside the folder it is fetched to."""
    path, size, oid, lfs = (entry.get(key) for key in ("path", "size", "oid", "lfs"))
    sha256 = lfs.get("oid") if isinstance(lfs, dict) else None
    parts = PurePosixPath(path).parts if isinstance(path, str) else ()
    inside = bool(parts) and parts[0] != "/" and not {"..", "."} & set(str(path).split("/"))
    fine = (
        inside
        and not re.search(
            r'[\x00-\x1f\x7f\\:*?"<>|]', str(path)
        )  # names that some disk understands otherwise
        and isinstance(size, int)
        and size >= 0
        and (sha256 is None or bool(re.fullmatch(r"[0-9a-f]{64}", str(sha256))))
        and (sha256 is not None or bool(re.fullmatch(r"[0-9a-f]{40}", str(oid))))
    )
    if not fine:
        msg = (
            f"The list of files of {repository} holds {str(entry)[:MAX_TEXT]}; needed: a path inside the "
            "data set, a size and a checksum. Nothing is fetched; report it to the data set's owner."
        )
        raise RemoteError(msg)
    return HubFile(path=str(path), size=int(size), sha256=sha256, git_sha1=None if sha256 else str(oid))

"""A stand-in of the Hugging Face Hub on loopback: its API, and a second host that holds large files.

Answers follow the Hub's API as its own client (huggingface_hub 2.4, hf_api.py and file_download.py) reads
it: ``/api/datasets/NAME/revision/REV``, ``/tree/COMMIT`` with pages, and
``/datasets/NAME/resolve/COMMIT/PATH``, which leads elsewhere for large files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from tests.servers.faults import Fault, FaultServer, serve_with_faults
from tests.servers.ranges import Handler, RangeServer, in_thread

COMMIT = "5f1d3a9c" * 5
LARGE = 1000
"""Bytes from which a file is kept elsewhere, as LFS does."""


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class HubServer(RangeServer):
    """The Hub: one data set, whose files lie in a folder."""

    def __init__(self, folder: Path, store: FaultServer, repository: str) -> None:
        super().__init__(folder, _HubHandler)
        self.store, self.repository = store, repository
        self.page = 1000
        self.changes: dict[str, dict[str, object]] = {}
        """Path -> what the list says otherwise."""
        self.refuse: tuple[HTTPStatus, dict[str, str]] | None = None
        self.tokens: list[str | None] = []

    def entries(self) -> list[dict[str, object]]:
        """All files and folders, as listed."""
        found: list[dict[str, object]] = []
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if path.is_dir():
                found.append({"type": "directory", "oid": "0" * 40, "size": 0, "path": name})
                continue
            content = path.read_bytes()
            entry: dict[str, object] = {"type": "file", "size": len(content), "path": name}
            if len(content) >= LARGE:
                sha256 = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 134}
                entry["oid"] = git_sha1(b"a pointer to " + sha256.encode())
            else:
                entry["oid"] = git_sha1(content)
            found.append({**entry, **self.changes.get(name, {})})
        return found


class _HubHandler(Handler):
    server: HubServer

    def answer(self) -> tuple[HTTPStatus, dict[str, str], bytes]:
        server, parts = self.server, urlsplit(self.path)
        server.tokens.append(self.headers.get("Authorization"))
        api, files = f"/api/datasets/{server.repository}", f"/datasets/{server.repository}/resolve/{COMMIT}/"
        if server.refuse:
            return (*server.refuse, b"{}")
        if parts.path == f"{api}/revision/main":
            return self.json({"id": server.repository, "sha": COMMIT, "private": False})
        if parts.path.startswith(f"{api}/revision/"):
            return HTTPStatus.NOT_FOUND, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        if parts.path == f"{api}/tree/{COMMIT}":
            return self.tree(parse_qs(parts.query), parts.path)
        if parts.path.startswith(files):
            return self.resolve(unquote(parts.path.removeprefix(files)))
        # To someone without a token, what is not there and what is private are the same.
        code = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
        return HTTPStatus.UNAUTHORIZED, code, b'{"error": "Invalid username or password."}'

    def json(self, value: object, **headers: str) -> tuple[HTTPStatus, dict[str, str], bytes]:
        return HTTPStatus.OK, {"Content-Type": "application/json", **headers}, json.dumps(value).encode()

    def tree(self, query: dict[str, list[str]], path: str) -> tuple[HTTPStatus, dict[str, str], bytes]:
        entries = self.server.entries()
        start, end = (first := int(query.get("cursor", ["0"])[0])), first + self.server.page
        if end >= len(entries):
            return self.json(entries[start:])
        following = f"{self.server.url}{path}?recursive=true&cursor={end}"
        return self.json(entries[start:end], Link=f'<{following}>; rel="next"')

    def resolve(self, name: str) -> tuple[HTTPStatus, dict[str, str], bytes]:
        file = self.server.folder / name
        if not file.is_file():
            return HTTPStatus.NOT_FOUND, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b""
        content = file.read_bytes()
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{git_sha1(content)}"'}
        if len(content) < LARGE:
            return HTTPStatus.OK, headers, content
        sha256 = hashlib.sha256(content).hexdigest()
        linked = {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{sha256}"'}
        store = self.server.store.url.replace("127.0.0.1", "localhost")
        return HTTPStatus.FOUND, {**headers, **linked, "Location": f"{store}/{name}?Signature=secret"}, b""


@contextmanager
def hub_stand_in(
    folder: Path, *faults: Fault, repository: str = "x-ytong/CropGlobe"
) -> Iterator[tuple[HubServer, FaultServer]]:
    """Serve a data set as the Hub does; faults happen where the large files are."""
    with (
        serve_with_faults(folder, *faults) as store,
        HubServer(folder, store, repository) as server,
        in_thread(server),
    ):
        try:
            yield server, store
        finally:
            server.hang_up()

"""A STAC API by script on loopback: what it answers is a function of the request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.servers.ranges import in_thread

CONFORMS = ("core", "collections", "item-search")


class StacStandIn(ThreadingHTTPServer):
    """Landing page and collections are plain; searches are answered by ``search``."""

    def __init__(
        self,
        search: Callable[[dict[str, Any], str], Any],
        collections: tuple[str, ...],
        conforms: tuple[str, ...],
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.search, self.collections, self.conforms = search, collections, conforms
        self.asked: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: StacStandIn
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        base = self.server.url
        if self.path.startswith("/search"):  # a page that a link leads to
            query = dict(parse_qsl(urlsplit(self.path).query))
            self.server.asked.append(query)
            self.answer(self.server.search(query, base))
            return
        if self.path.startswith("/collections"):
            found = [
                {
                    "type": "Collection",
                    "id": name,
                    "stac_version": "1.0.0",
                    "description": name,
                    "license": "other",
                    "extent": {
                        "spatial": {"bbox": [[-180, -90, 180, 90]]},
                        "temporal": {"interval": [[None, None]]},
                    },
                    "links": [],
                }
                for name in self.server.collections
            ]
            self.answer({"collections": found, "links": []})
            return
        links = [{"rel": "self", "href": base}, {"rel": "root", "href": base}]
        links += [{"rel": "data", "href": f"{base}/collections"}]
        links += [
            {"rel": "search", "href": f"{base}/search", "method": "POST", "type": "application/geo+json"}
        ]
        landing = {"type": "Catalog", "id": "api", "stac_version": "1.0.0", "description": "loopback"}
        conforms = [f"https://api.stacspec.org/v1.0.0/{part}" for part in self.server.conforms]
        self.answer({**landing, "conformsTo": conforms, "links": links})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        self.answer(self.server.search(body, self.server.url))

    def answer(self, what: Any) -> None:
        """Send a document; a tuple is status, headers and text."""
        status, headers, text = what if isinstance(what, tuple) else (200, {}, json.dumps(what).encode())
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def stac_stand_in(
    search: Callable[[dict[str, Any], str], Any],
    collections: tuple[str, ...] = ("sentinel-2-l2a",),
    conforms: tuple[str, ...] = CONFORMS,
) -> Iterator[StacStandIn]:
    """Serve on a free port for as long as the block runs."""
    with StacStandIn(search, collections, conforms) as server, in_thread(server):
        yield server


def page(features: list[Any], url: str, token: Any = None, **more: Any) -> dict[str, Any]:
    """A page of a search, with a link to the next one if there is a token."""
    link = {"rel": "next", "href": f"{url}/search", "method": "POST", "merge": True, "body": {"token": token}}
    return {
        "type": "FeatureCollection",
        "features": features,
        "links": [link] if token is not None else [],
        **more,
    }

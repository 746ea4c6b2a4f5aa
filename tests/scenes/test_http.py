"""Scenes over HTTP: a static catalog by URL, pixels by range requests, the same as from disk."""

import threading
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import footprint, make_scene, write_catalog
from toolkit.area.aoi import read_aoi
from toolkit.area.season import season
from toolkit.catalog.access import Access
from toolkit.catalog.guard import Guard
from toolkit.catalog.search import search_items
from toolkit.errors import RemoteError
from toolkit.scenes.sentinel2 import load_scenes

LOOPBACK = Access(Guard("http://127.0.0.1", frozenset({"127.0.0.1"}), frozenset({"127.0.0.1"})))
WHEN = datetime(2021, 6, 1, 10, 50, tzinfo=UTC)
PLACE = np.arange(32 * 32).reshape(32, 32)


class Ranges(SimpleHTTPRequestHandler):
    """A file server that honours byte ranges, as object stores do."""

    def do_GET(self):
        wanted = self.headers.get("Range")
        if not wanted:
            return super().do_GET()
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return None
        content = path.read_bytes()
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        part = content[int(first) : int(last) + 1 if last else None]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)
        return None

    def log_message(self, *args):
        pass


@pytest.fixture
def served(tmp_path):
    """A static catalog on loopback: its URL, and the folder behind it."""
    write_catalog(tmp_path, [make_scene(tmp_path, "a", WHEN, value=1000 + PLACE)])
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranges, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/catalog.json", tmp_path
        server.shutdown()


def test_catalog_by_url_gives_the_pixels_of_the_catalog_by_path(served, geobox):
    url, folder = served
    aoi, when = read_aoi(footprint(geobox)), season(2021, hemisphere="north")
    remote = search_items(url, aoi, when)
    assert remote.items[0].assets["B02"].href.startswith("http://127.0.0.1:")
    found = load_scenes(remote, geobox)
    expected = load_scenes(search_items(folder / "catalog.json", aoi, when), geobox)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
    np.testing.assert_array_equal(found.B02[0], 1000 + PLACE)


def test_a_scene_missing_on_the_server_is_an_error_that_names_it(served, geobox):
    url, folder = served
    items = search_items(url, read_aoi(footprint(geobox)), season(2021, hemisphere="north"))
    (folder / "pixels" / "a" / "B04.tif").unlink()
    with pytest.raises(RemoteError, match=r"a B04: .*B04\.tif' could not be read .*404.*that is not there"):
        load_scenes(items, geobox)

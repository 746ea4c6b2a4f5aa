"""A STAC API on loopback that offers a crop layer, and serves its rasters by ranges from one folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import rasterio
from pyproj import Transformer
from shapely.geometry import box, mapping

from tests.servers.ranges import Handler, RangeServer, in_thread

CONUS_ALBERS = "EPSG:5070"
JSON = {"Content-Type": "application/geo+json"}


class LayerApi(Handler):
    """Landing page and POST search; every other path is a file of the folder."""

    items: list[dict[str, Any]]
    asked: list[dict[str, Any]]

    def do_GET(self) -> None:  # noqa: N802  # the name that http.server calls
        if urlsplit(self.path).path.strip("/"):
            super().do_GET()
            return
        base = f"http://127.0.0.1:{self.server.server_port}"
        links = [{"rel": rel, "href": base} for rel in ("self", "root")]
        search = {"rel": "search", "href": f"{base}/search", "method": "POST", "type": "application/geo+json"}
        parts = ("core", "item-search")
        document = {
            "type": "Catalog",
            "id": "api",
            "stac_version": "1.0.0",
            "description": "loopback",
            "conformsTo": [f"https://api.stacspec.org/v1.0.0/{part}" for part in parts],
            "links": [*links, search],
        }
        self.send(HTTPStatus.OK, JSON, json.dumps(document).encode())

    def do_POST(self) -> None:  # noqa: N802  # likewise
        self.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        page = {"type": "FeatureCollection", "features": self.items, "links": []}
        self.send(HTTPStatus.OK, JSON, json.dumps(page).encode())


@contextmanager
def serve_layer(folder: Path, items: list[dict[str, Any]]) -> Iterator[tuple[RangeServer, list[Any]]]:
    """Serve items whose assets name files of a folder; yields the server and the bodies of its searches."""
    asked: list[Any] = []
    served: list[dict[str, Any]] = []
    handler = type("Api", (LayerApi,), {"items": served, "asked": asked})
    with RangeServer(folder, handler) as server, in_thread(server):
        for item in items:
            assets = {
                key: {
                    **asset,
                    "href": asset["href"] if "://" in asset["href"] else f"{server.url}/{asset['href']}",
                }
                for key, asset in item["assets"].items()
            }
            served.append({**item, "assets": assets})
        try:
            yield server, asked
        finally:
            server.hang_up()


def layer_tile(
    folder: Path, codes: np.ndarray, x: float, y: float, *, year: int = 2021, kind: str = "cropland"
) -> dict[str, Any]:
    """Write codes as a tile of the Cropland Data Layer and return its item, as stactools makes them.

    ``x`` and ``y`` are those of the north-west corner in EPSG:5070, pixels have 30 m.
    """
    name = f"{kind}_{year}_{x:.0f}_{y:.0f}"
    height, width = codes.shape
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": 1,
        "dtype": "uint8",
        "crs": CONUS_ALBERS,
        "transform": rasterio.Affine(30, 0, x, 0, -30, y),
        "tiled": True,
        "blockxsize": 64,
        "blockysize": 64,
        "compress": "deflate",
    }
    with rasterio.open(folder / f"{name}.tif", "w", **profile) as file:
        file.write(codes.astype(np.uint8), 1)
    to_degrees = Transformer.from_crs(CONUS_ALBERS, "EPSG:4326", always_xy=True)
    bounds = to_degrees.transform_bounds(x, y - 30 * height, x + 30 * width, y)
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": name,
        "collection": "usda-cdl",
        "bbox": list(bounds),
        "geometry": mapping(box(*bounds)),
        "links": [],
        "properties": {
            "datetime": None,
            "start_datetime": f"{year}-01-01T00:00:00Z",
            "end_datetime": f"{year}-12-31T23:59:59Z",
            "usda_cdl:type": kind,
        },
        "assets": {kind: {"href": f"{name}.tif", "type": "image/tiff; application=geotiff"}},
    }

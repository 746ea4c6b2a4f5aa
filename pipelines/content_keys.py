"""Content keys: one digest for each tile of all that its pixels depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pystac
import shapely

import toolkit
from pipelines.folder import deciding_versions
from toolkit.area.aoi import AOI
from toolkit.area.grid import Tile
from toolkit.catalog.items import NAMED_HOSTS
from toolkit.maps.tile_files import DIGITS
from toolkit.scenes.granules import MARGIN_DEGREES, degrees

UNPREDICTIVE = ("simulate", "maps/stac.py", "maps/styles.py", "maps/areas.py")
"""Parts of the toolkit that no pixel depends on."""
WORKERS = ("map_tile.py", "tile_features.py")
"""Pipelines that run on workers."""
VOLATILE = ("links", "stac_extensions")
"""Parts of an item that say nothing of its pixels."""
WHOLE_EARTH = (-360.0, -90.0, 360.0, 90.0)


class TileKeys:
    """Gives the content key of each tile of a run."""

    def __init__(self, shared: Mapping[str, Any], aoi: AOI, items: Sequence[pystac.Item]) -> None:
        """Take what all tiles depend on, the area, and the items of all sensors.

        Args:
            shared: plain values: models, recipes, seasons, engine, layers.
            aoi: area of interest.
            items: a tile depends on those that touch it.
        """
        self._shared = digest_of({**shared, "code": code_digest(), "versions": deciding_versions()})
        self._aoi = aoi
        self._identities = [item_identity(item) for item in items]
        self._tree = shapely.STRtree([_footprint(item) for item in items])

    def key(self, tile: Tile) -> str:
        """Return the content key of a tile."""
        geobox = tile.geobox
        area = degrees(geobox)
        box = shapely.box(*(area or WHOLE_EARTH)).buffer(2 * MARGIN_DEGREES, join_style="mitre")
        touching = sorted(self._identities[k] for k in self._tree.query(box, predicate="intersects"))
        part = shapely.clip_by_rect(self._aoi.geometry, *box.bounds)
        return digest_of(
            {
                "shared": self._shared,
                "crs": str(geobox.crs),
                "transform": list(geobox.affine)[:6],
                "shape": list(geobox.shape.yx),
                "area": hashlib.sha256(shapely.to_wkb(part)).hexdigest(),
                "items": touching,
            }
        )[:DIGITS]


def item_identity(item: pystac.Item) -> str:
    """Return a digest of what an item is: metadata, checksums among them, and the state of local files."""
    document = item.to_dict(include_self_link=False, transform_hrefs=False)
    kept = {name: value for name, value in document.items() if name not in VOLATILE}
    kept["properties"] = {key: value for key, value in kept["properties"].items() if key != NAMED_HOSTS}
    # By name: saved items have their assets in another order than found ones.
    files = {name: _file_state(asset.href) for name, asset in item.assets.items()}
    return digest_of({"item": kept, "files": files})


def digest_of(values: Any) -> str:
    """Return the sha256 of plain values, hexadecimal."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


@cache
def code_digest() -> str:
    """Return a digest of the code that makes pixels: a tile of other code is made again."""
    root = Path(toolkit.__file__).parent
    sources = sorted(path for path in root.rglob("*.py") if not _is_unpredictive(path.relative_to(root)))
    sources += [Path(__file__).with_name(name) for name in WORKERS]
    return digest_of([hashlib.sha256(path.read_bytes()).hexdigest() for path in sources])


def _is_unpredictive(path: Path) -> bool:
    return path.as_posix().startswith(UNPREDICTIVE)


def _file_state(href: str) -> list[int]:
    """Size and time of change of a local file; of a remote one its item must tell."""
    if "://" in href:
        return []
    try:
        state = Path(href).stat()
    except OSError:
        return []  # reading it will say what is wrong
    return [state.st_size, state.st_mtime_ns]


def _footprint(item: pystac.Item) -> shapely.Polygon:
    """Bounds of an item in degrees; of one without plain bounds, the whole earth."""
    box = item.bbox
    plain = box is not None and len(box) == 4 and box[0] <= box[2]
    return shapely.box(*(box if plain and box is not None else WHOLE_EARTH))

"""Scenes of one tile: the quality layer of every date first, then only what is clear."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pystac
from odc.geo.geobox import GeoBox

from toolkit.area.grid import Lattice
from toolkit.catalog.access import access_to
from toolkit.catalog.items import is_simulated
from toolkit.errors import BandError, NoItemsError
from toolkit.scenes.blocks import BlockCache, block_place
from toolkit.scenes.clear import ClearSky, clear_from_scl
from toolkit.scenes.counts import ReadCounts, ReadLog
from toolkit.scenes.granules import Granule, degrees, granule, passes, read_band
from toolkit.scenes.radiometry import BRIGHTEST, DARKEST
from toolkit.scenes.sensors import SENSORS, resolve_bands
from toolkit.scenes.targets import Mask, Pixels
from toolkit.scenes.threads import READ_THREADS, in_threads

SENSOR = SENSORS["sentinel-2"]
LATTICE_TRIES = 3
"""Scenes that are asked for their blocks; if none of them nests in the output grid, few others will."""
LARGEST_BLOCK = 4096
"""Blocks beyond this edge, in output pixels, are no tiles but strips."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Quality:
    """What the quality layers of one overpass say of a tile."""

    clear: Mask
    """bool ``(y, x)``, True where the overpass is usable."""
    chosen: npt.NDArray[np.uint8] | None
    """uint8 ``(y, x)``, granule that a pixel is taken from; None where there is only one."""

    def wanted(self, number: int, *, clear_only: bool) -> Mask | None:
        """Pixels to be taken from a granule; None for all."""
        here = None if self.chosen is None else self.chosen == number
        if not clear_only:
            return here
        return self.clear if here is None else self.clear & here


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TileScenes:
    """Scenes of one tile whose clear sky is known; bands are read when asked for, one at a time."""

    geobox: GeoBox
    """Grid of the tile."""
    overpasses: tuple[tuple[Granule, ...], ...]
    """Granules of each overpass, in the order of time."""
    quality: tuple[Quality, ...]
    """What is clear in each."""
    simulated: bool
    """Whether any scene is simulated."""
    log: ReadLog
    """Counts what is read."""
    cache: BlockCache | None = None
    """Blocks shared with neighbouring tiles."""

    @property
    def time(self) -> npt.NDArray[np.datetime64]:
        """Time of each overpass, datetime64[ns], UTC."""
        return np.array([granules[0].when for granules in self.overpasses], dtype="datetime64[ns]")

    @property
    def names(self) -> list[str]:
        """Ids of the items of each overpass, joined with ``+``."""
        return ["+".join(part.name for part in granules) for granules in self.overpasses]

    @property
    def clear(self) -> Mask:
        """Clear sky, bool ``(time, y, x)``, True = usable."""
        if not self.quality:
            return np.zeros((0, *self.geobox.shape.yx), bool)
        return np.stack([quality.clear for quality in self.quality])

    def read(self, band: str, *, clear_only: bool = True) -> npt.NDArray[np.uint16]:
        """Read one band of all overpasses.

        Args:
            band: band that :func:`open_tile` was asked for.
            clear_only: read only blocks with a clear pixel; pixels that are not clear hold any number then.

        Returns:
            uint16 ``(time, y, x)``, digital numbers with the offset removed, 0 = nodata.

        Raises:
            RemoteError: a scene cannot be read; names the file.
        """
        ((_, stack),) = self.stacks([band], clear_only=clear_only)
        return stack

    def stacks(
        self, bands: Sequence[str], *, clear_only: bool = True
    ) -> Iterator[tuple[str, npt.NDArray[np.uint16]]]:
        """Read bands one after the other; of few remote scenes, several at once, so that all threads wait.

        Args:
            bands: bands that :func:`open_tile` was asked for.
            clear_only: as in :meth:`read`.

        Yields:
            Band, and what :meth:`read` gives of it.

        Raises:
            RemoteError: a scene cannot be read; names the file.
        """
        remote = is_remote(self.overpasses)
        together = -(-2 * READ_THREADS // max(1, len(self.overpasses))) if remote else 1
        for first in range(0, len(bands), together):
            group = bands[first : first + together]
            stacks = [np.zeros((len(self.overpasses), *self.geobox.shape.yx), np.uint16) for _ in group]
            jobs = [
                partial(self._fill, stack[k], k, band, clear_only=clear_only)
                for band, stack in zip(group, stacks, strict=True)
                for k in range(len(self.overpasses))
            ]
            in_threads(lambda job: job(), jobs, remote=remote)
            yield from zip(group, stacks, strict=True)

    def _fill(self, out: Pixels, k: int, band: str, *, clear_only: bool) -> None:
        """Read one band of one overpass."""
        for number, part in enumerate(self.overpasses[k]):
            wanted = self.quality[k].wanted(number, clear_only=clear_only)
            if wanted is not None and not wanted.any():
                continue
            pixels, counts = read_band(part, band, self.geobox, wanted=wanted, cache=self.cache)
            self.log.add(counts)
            only = self.quality[k].chosen is None
            np.copyto(out, _without_offset(pixels, part.offset), where=True if only else wanted)


def open_tile(
    items: Iterable[pystac.Item],
    geobox: GeoBox,
    *,
    bands: Sequence[str] | None = None,
    clear: str | ClearSky = "default",
    cloudy: bool = False,
    wanted: Mask | None = None,
    cache: BlockCache | None = None,
) -> TileScenes:
    """Read the quality layers of a tile and keep the overpasses with something clear.

    Granules of one overpass are joined pixel by pixel after clouds are known: a pixel is taken from the
    first granule in which it is clear, else from the first that has data, and read from that one only.

    Args:
        items: normalised items (see :func:`toolkit.catalog.search.search_items`).
        geobox: grid of the tile.
        bands: reflectance bands that will be read; default all of the sensor.
        clear: clear-sky preset, or preset and dilation.
        cloudy: keep overpasses with nothing clear too.
        wanted: bool ``(y, x)``, True where pixels are needed; others count as not clear and are not read.
        cache: where blocks are kept that reach beyond the tile.

    Raises:
        NoItemsError: no item given.
        BandError: a band is unknown, or missing from an item.
        RadiometryError: an item's offset cannot be told.
        RemoteError: a quality layer cannot be read; names the file.
    """
    chosen = resolve_bands(SENSOR.name, None if bands is None else tuple(bands))
    sky = clear if isinstance(clear, ClearSky) else ClearSky(clear)
    ordered = in_order(items, chosen)
    area = degrees(geobox)
    granules = [granule(item, chosen, SENSOR) for item in ordered]
    groups = [tuple(granules[k] for k in group) for group in passes(ordered)]
    near = [tuple(part for part in group if cloudy or part.touches(area)) for group in groups]
    here = [group for group in near if group]
    log = ReadLog()
    read = partial(_quality, geobox=geobox, sky=sky, log=log, cache=cache)
    quality = in_threads(read, here, remote=is_remote(here))
    if wanted is not None:
        quality = [replace(one, clear=one.clear & wanted) for one in quality]
    kept = [k for k, one in enumerate(quality) if cloudy or one.clear.any()]
    log.add(ReadCounts(scenes=len(here), cloudy_scenes=sum(not one.clear.any() for one in quality)))
    return TileScenes(
        geobox=geobox,
        overpasses=tuple(here[k] for k in kept),
        quality=tuple(quality[k] for k in kept),
        simulated=any(is_simulated(item) for item in ordered),
        log=log,
        cache=cache,
    )


def block_lattice(items: Iterable[pystac.Item], geobox: GeoBox, bands: Sequence[str]) -> Lattice | None:
    """Return where the blocks of the scenes' files lie on a grid, as the first scene that nests shows.

    Args:
        items: normalised items of one sensor; their files are laid out alike.
        geobox: output grid.
        bands: reflectance bands that will be read.

    Returns:
        The largest blocks of the bands; None if the files have other grids, or blocks over 4096 pixels (whole
        rows of files without tiles), with which tiles cannot be aligned.

    Raises:
        RemoteError: a file cannot be read; names it.
    """
    near = sorted(in_order(items, bands), key=lambda item: not _has_crs_of(item, geobox))
    for item in near[:LATTICE_TRIES]:
        files = [item.assets[band].href for band in (*bands, SENSOR.quality)]
        place = partial(block_place, geobox=geobox, access=access_to(item))
        found = in_threads(place, files, remote="://" in files[0])
        placed = [place for place in found if place is not None]
        if len(placed) == len(found):
            largest = max(placed, key=lambda place: place.height * place.width)
            return largest if max(largest.height, largest.width) <= LARGEST_BLOCK else None
    return None


def _has_crs_of(item: pystac.Item, geobox: GeoBox) -> bool:
    code = item.properties.get("proj:code") or f"EPSG:{item.properties.get('proj:epsg')}"
    return geobox.crs is not None and code == f"EPSG:{geobox.crs.epsg}"


def in_order(items: Iterable[pystac.Item], bands: Sequence[str]) -> list[pystac.Item]:
    """Return the items ordered by time, each with the bands and the quality layer.

    Raises:
        NoItemsError: there is none.
        BandError: a band is missing from an item.
    """
    ordered = sorted(items, key=lambda item: (str(item.datetime), item.id))
    if not ordered:
        msg = "No items to load: got an empty list. Search with a wider area, season or cloud limit."
        raise NoItemsError(msg)
    for item in ordered:
        if missing := [band for band in (*bands, SENSOR.quality) if band not in item.assets]:
            offered = sorted(item.assets)
            msg = f"Item {item.id!r} lacks {missing}; it offers {offered}. Search with bands={list(bands)}."
            raise BandError(msg)
    return ordered


def choose(clear: Sequence[Any], valid: Sequence[Any]) -> Any:
    """Return which of several granules each pixel is taken from.

    Args:
        clear: per granule bool ``(y, x)``, True where usable; arrays of numpy or dask.
        valid: per granule bool ``(y, x)``, True where it has data.

    Returns:
        uint8 ``(y, x)``: the first granule that is clear, else the first with data, else the first.
    """
    best = np.where(clear[0], 2, np.where(valid[0], 1, 0)).astype(np.uint8)
    chosen = np.zeros_like(best)
    for number in range(1, len(clear)):
        worth = np.where(clear[number], 2, np.where(valid[number], 1, 0)).astype(np.uint8)
        chosen = np.where(worth > best, np.uint8(number), chosen)
        best = np.maximum(best, worth)
    return chosen


def is_remote(overpasses: Sequence[Sequence[Granule]]) -> bool:
    """Whether scenes lie on a server, where reading is waiting."""
    return any("://" in uri for granules in overpasses for part in granules for uri in part.files.values())


def _quality(
    granules: tuple[Granule, ...], geobox: GeoBox, sky: ClearSky, log: ReadLog, cache: BlockCache | None
) -> Quality:
    """Read the quality layers of one overpass."""
    resolution = abs(geobox.resolution.x)
    halo = sky.reach(resolution)
    wide = geobox.pad(halo) if halo else geobox
    inner = (slice(halo, -halo), slice(halo, -halo)) if halo else (slice(None), slice(None))
    clear: list[Mask] = []
    valid: list[Mask] = []
    for part in granules:
        scl, counts = read_band(part, SENSOR.quality, wide, cache=cache)
        log.add(counts)
        clear.append(clear_from_scl(scl, sky, resolution=resolution)[inner])
        valid.append(scl[inner] != 0)
    if len(granules) == 1:
        return Quality(clear=clear[0], chosen=None)
    return Quality(clear=np.logical_or.reduce(clear), chosen=choose(clear, valid))


def _without_offset(pixels: Pixels, offset: int) -> Pixels:
    """Bring a granule to the common scale; nodata stays 0, darker valid pixels become the darkest number."""
    if offset == 0:
        return pixels
    if offset < 0:  # the producer took away too much
        brighter = np.minimum(pixels, np.uint16(BRIGHTEST + offset)) - np.int32(offset)
        return np.where(pixels == 0, 0, brighter).astype(np.uint16)
    return np.where(pixels == 0, pixels, np.maximum(pixels, offset + DARKEST) - offset).astype(np.uint16)

"""Sentinel-2 scenes as a dataset: clear sky known, one radiometry, lazy or not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import odc.stac
import pystac
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from toolkit.catalog.access import access_to
from toolkit.catalog.guard import GDAL_OPTIONS
from toolkit.catalog.items import is_simulated
from toolkit.scenes.clear import ClearSky, clear_from_scl
from toolkit.scenes.granules import passes
from toolkit.scenes.radiometry import BRIGHTEST, DARKEST, radiometric_offset
from toolkit.scenes.reading import BlockDriver
from toolkit.scenes.sensors import resolve_bands
from toolkit.scenes.tile import SENSOR, TileScenes, choose, in_order, open_tile


def load_scenes(
    items: Iterable[pystac.Item],
    geobox: GeoBox,
    *,
    bands: Sequence[str] | None = None,
    clear: str | ClearSky = "default",
    chunks: Mapping[str, int] | None = None,
) -> xr.Dataset:
    """Load scenes on a grid, clouds and all.

    Granules of one overpass are joined pixel by pixel after clouds are known, so that a pixel clear in
    one granule is not lost under another's cloud, and no overpass counts twice.

    Args:
        items: normalised items (see :func:`toolkit.catalog.search.search_items`).
        geobox: output grid.
        bands: reflectance bands; default all of the sensor.
        clear: clear-sky preset, or preset and dilation.
        chunks: dask chunks for ``time``, ``y`` and ``x``; None loads at once. Chunks that are whole internal
            blocks of the files (512 or 1024 pixels) are read fastest.

    Returns:
        Dataset with dims ``(time, y, x)``: one uint16 variable per band (digital numbers with the
        offset removed, 0 = nodata, reflectance = number x 1e-4) and ``clear`` (bool, True = usable).
        Coordinate ``item`` names the items of each time; attribute ``simulated`` is 1 for simulated scenes.

    Raises:
        NoItemsError: no item given.
        BandError: a band is unknown, or missing from an item.
        RadiometryError: an item's offset cannot be told.
        RemoteError: a scene cannot be read; names the file (when computed, if lazy).
    """
    wanted = resolve_bands(SENSOR.name, None if bands is None else tuple(bands))
    sky = clear if isinstance(clear, ClearSky) else ClearSky(clear)
    if chunks is None:
        return _as_dataset(open_tile(items, geobox, bands=wanted, clear=sky, cloudy=True), wanted)
    return _lazy(in_order(items, wanted), geobox, wanted, sky, dict(chunks))


def _as_dataset(tile: TileScenes, bands: Sequence[str]) -> xr.Dataset:
    """Read all bands of a tile."""
    dims = ("time", "y", "x")
    scenes = xr.Dataset(
        {band: (dims, stack) for band, stack in tile.stacks(bands, clear_only=False)},
        coords={**xr_coords(tile.geobox), "time": tile.time, "item": ("time", tile.names)},
        attrs={"sensor": SENSOR.name, "simulated": int(tile.simulated)},
    )
    return scenes.assign(clear=(dims, tile.clear))


def _lazy(
    items: Sequence[pystac.Item],
    geobox: GeoBox,
    bands: Sequence[str],
    sky: ClearSky,
    chunks: dict[str, Any],
) -> xr.Dataset:
    """Load with odc-stac, which makes the graph; our driver reads."""
    resolution = abs(geobox.resolution.x)
    halo = sky.reach(resolution)
    access = {asset.href: access_to(item) for item in items for asset in item.assets.values()}
    with rasterio.Env(**GDAL_OPTIONS):
        raw = odc.stac.load(
            items,
            bands=[*bands, SENSOR.quality],
            geobox=geobox.pad(halo) if halo else geobox,
            groupby=_by_position,
            driver=BlockDriver(access),  # type: ignore[arg-type]  # its protocol asks for readers of odc's own type
            chunks=chunks,
        )
    quality = raw[SENSOR.quality]
    scenes = _remove_offsets(raw[list(bands)], [radiometric_offset(item) for item in items])
    scenes["clear"] = quality.copy(
        data=quality.data.map_overlap(
            clear_from_scl,
            depth={0: 0, 1: halo, 2: halo},
            boundary="none",
            dtype=bool,
            sky=sky,
            resolution=resolution,
        )
    )
    scenes["valid"] = quality != 0
    if halo:
        scenes = scenes.isel(y=slice(halo, -halo), x=slice(halo, -halo))
    scenes = scenes.assign_coords(item=("time", [item.id for item in items]))
    scenes = _join_passes(scenes, passes(items)).drop_vars("valid")
    scenes.attrs = {"sensor": SENSOR.name, "simulated": int(any(is_simulated(item) for item in items))}
    return scenes


def _by_position(item: pystac.Item, parsed: Any, index: int) -> int:
    """Group key for odc-stac: every item for itself, in the order given."""
    del item, parsed
    return index


def _remove_offsets(dn: xr.Dataset, offsets: Sequence[float]) -> xr.Dataset:
    """Bring all dates to one scale; nodata stays 0, darker valid pixels become the darkest number."""
    shift = xr.DataArray(np.round(-np.array(offsets) / SENSOR.scale).astype(np.int32), dims="time")
    if not shift.any():
        return dn
    return dn.map(
        lambda band: xr.where(band == 0, 0, (band - shift).clip(DARKEST, BRIGHTEST)).astype(np.uint16)
    )


def _join_passes(scenes: xr.Dataset, groups: list[list[int]]) -> xr.Dataset:
    """Join the granules of each overpass as :func:`toolkit.scenes.tile.choose` says."""
    if all(len(group) == 1 for group in groups):
        return scenes
    joined = []
    for group in groups:
        parts = [scenes.isel(time=[position]) for position in group]
        whole = parts[0]
        if len(parts) > 1:
            chosen = choose([part.clear.data for part in parts], [part.valid.data for part in parts])
            for number, part in enumerate(parts[1:], start=1):
                here = whole.clear.copy(data=chosen == number)
                other = part.assign_coords(time=whole.time, item=whole.item)
                whole = xr.where(here, other, whole, keep_attrs=True)
            whole = whole.assign_coords(item=("time", ["+".join(part.item.item() for part in parts)]))
        joined.append(whole)
    return xr.concat(joined, dim="time")

"""Sentinel-2 scenes on the output grid, clear sky known, one radiometry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import odc.stac
import pystac
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox

from toolkit.catalog.guard import GDAL_OPTIONS
from toolkit.catalog.items import datatake, is_simulated
from toolkit.errors import BandError, NoItemsError
from toolkit.scenes.clear import ClearSky, clear_from_scl
from toolkit.scenes.radiometry import DARKEST, radiometric_offset
from toolkit.scenes.reading import NamingDriver
from toolkit.scenes.sensors import SENSORS, resolve_bands

SENSOR = SENSORS["sentinel-2"]
READ_THREADS = 16
"""Threads that wait for reads when loading eagerly; decoding keeps about two of them busy."""
SAME_PASS = timedelta(minutes=10)
"""Granules of one overpass are sensed within minutes; the next overpass comes after 90 or more."""


def load_scenes(
    items: Iterable[pystac.Item],
    geobox: GeoBox,
    *,
    bands: Sequence[str] | None = None,
    clear: str | ClearSky = "default",
    chunks: Mapping[str, int] | None = None,
) -> xr.Dataset:
    """Load scenes on a grid.

    Granules of one overpass are joined pixel by pixel after clouds are known, so that a pixel clear in
    one granule is not lost under another's cloud, and no overpass counts twice.

    Args:
        items: normalised items (see :func:`toolkit.catalog.search.search_items`).
        geobox: output grid.
        bands: reflectance bands; default all of the sensor.
        clear: clear-sky preset, or preset and dilation.
        chunks: dask chunks for ``time``, ``y`` and ``x``; None loads at once.

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
    ordered = sorted(items, key=lambda item: (str(item.datetime), item.id))
    _check_items(ordered, wanted)
    halo = sky.reach(abs(geobox.resolution.x))
    raw = _read(ordered, geobox.pad(halo) if halo else geobox, (*wanted, SENSOR.quality), chunks)
    scenes = _remove_offsets(raw[list(wanted)], [radiometric_offset(item) for item in ordered])
    scenes["clear"] = _clear(raw[SENSOR.quality], sky, resolution=abs(geobox.resolution.x))
    if halo:
        scenes = scenes.isel(y=slice(halo, -halo), x=slice(halo, -halo))
    scenes = scenes.assign_coords(item=("time", [item.id for item in ordered]))
    scenes = _join_passes(scenes, passes(ordered))
    scenes.attrs = {
        "sensor": SENSOR.name,
        "simulated": int(any(is_simulated(item) for item in ordered)),
    }
    return scenes


def _check_items(items: Sequence[pystac.Item], bands: Sequence[str]) -> None:
    if not items:
        msg = "No items to load: got an empty list. Search with a wider area, season or cloud limit."
        raise NoItemsError(msg)
    for item in items:
        if missing := [band for band in (*bands, SENSOR.quality) if band not in item.assets]:
            offered = sorted(item.assets)
            msg = f"Item {item.id!r} lacks {missing}; it offers {offered}. Search with bands={list(bands)}."
            raise BandError(msg)


def _read(
    items: Sequence[pystac.Item],
    geobox: GeoBox,
    bands: Sequence[str],
    chunks: Mapping[str, int] | None,
) -> xr.Dataset:
    """Read each item as a time of its own, unchanged digital numbers."""
    options: dict[str, Any] = {"chunks": dict(chunks)} if chunks is not None else {"pool": READ_THREADS}
    with rasterio.Env(**GDAL_OPTIONS):
        return odc.stac.load(
            items,
            bands=list(bands),
            geobox=geobox,
            groupby=_by_position,
            driver=NamingDriver(),
            resampling="nearest",  # repeats 20 m pixels where grids nest; classes stay classes
            **options,
        )


def _by_position(item: pystac.Item, parsed: Any, index: int) -> int:
    """Group key for odc-stac: every item for itself, in the order given."""
    del item, parsed
    return index


def _remove_offsets(dn: xr.Dataset, offsets: Sequence[float]) -> xr.Dataset:
    """Bring all dates to one scale; nodata stays 0, darker valid pixels become the darkest number."""
    shift = xr.DataArray(np.round(-np.array(offsets) / SENSOR.scale).astype(np.uint16), dims="time")
    if not shift.any():
        return dn
    return dn.map(
        lambda band: xr.where(band == 0, band, np.maximum(band, shift + DARKEST) - shift).astype(np.uint16)
    )


def _clear(scl: xr.DataArray, sky: ClearSky, *, resolution: float) -> xr.DataArray:
    """Clear sky of a stack, block by block if lazy."""
    if scl.chunks is None:
        return scl.copy(data=clear_from_scl(scl.to_numpy(), sky, resolution=resolution))
    reach = sky.reach(resolution)
    return scl.copy(
        data=scl.data.map_overlap(
            clear_from_scl,
            depth={0: 0, 1: reach, 2: reach},
            boundary="none",
            dtype=bool,
            sky=sky,
            resolution=resolution,
        )
    )


def passes(items: Sequence[pystac.Item]) -> list[list[int]]:
    """Group items, ordered by time, into overpasses.

    Returns:
        Positions of the items of each overpass: same platform and datatake (where given), sensed within ten
        minutes.
    """
    groups: list[list[int]] = []
    latest: dict[tuple[Any, Any], tuple[datetime, int]] = {}
    for position, item in enumerate(items):
        key = (item.properties.get("platform"), datatake(item))
        when = item.datetime
        known = latest.get(key)
        if when is not None and known is not None and when - known[0] <= SAME_PASS:
            groups[known[1]].append(position)
        else:
            groups.append([position])
            if when is not None:
                latest[key] = (when, len(groups) - 1)
    return groups


def _join_passes(scenes: xr.Dataset, groups: list[list[int]]) -> xr.Dataset:
    """Join the granules of each overpass: clear pixels first, then valid ones."""
    if all(len(group) == 1 for group in groups):
        return scenes
    joined = []
    for first, *others in groups:
        whole = scenes.isel(time=[first])
        for position in others:
            other = scenes.isel(time=[position]).assign_coords(time=whole.time, item=whole.item)
            band = next(iter(scenes))
            better = ~whole.clear & (other.clear | ((whole[band] == 0) & (other[band] != 0)))
            name = f"{whole.item.item()}+{scenes.item.to_numpy()[position]}"
            whole = xr.where(better, other, whole, keep_attrs=True).assign_coords(item=("time", [name]))
        joined.append(whole)
    return xr.concat(joined, dim="time")

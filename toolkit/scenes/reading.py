"""Our reader as a driver of odc-loader, so that lazy loading reads whole blocks too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from odc.geo.geobox import GeoBox
from odc.loader import reader_driver

from toolkit.catalog.access import LOCAL, Access
from toolkit.scenes.blocks import read_on_grid
from toolkit.scenes.targets import Pixels

Place = tuple[slice, slice]


class BlockReader:
    """Reads one source on the grid it is asked for."""

    def __init__(self, uri: str, access: Access) -> None:
        """Remember the source, and how it is read."""
        self._uri, self._access = uri, access

    def read(self, load: Any, geobox: GeoBox, **_: Any) -> tuple[Place, Pixels]:
        """Read as odc-loader asks.

        Args:
            load: settings of the load, of which the type of the pixels is used.
            geobox: grid of the chunk.

        Raises:
            RemoteError: the file cannot be read.
        """
        pixels, _counts = read_on_grid(self._uri, geobox, access=self._access)
        return (slice(None), slice(None)), pixels.astype(load.dtype or pixels.dtype, copy=False)


class BlockDriver:
    """odc-loader's driver for GeoTIFFs, with our reader."""

    md_parser = None
    dask_reader = None
    aux_reader = None

    def __init__(self, access: Mapping[str, Access]) -> None:
        """Use the rasterio driver that odc-loader ships for GDAL's settings.

        Args:
            access: reference -> how it is read; others are files on a disk.
        """
        self._rio: Any = reader_driver("rio")
        self._access = dict(access)

    def new_load(self, *arguments: Any, **options: Any) -> Any:
        """Start a load."""
        return self._rio.new_load(*arguments, **options)

    def finalise_load(self, load_state: Any) -> Any:
        """End a load."""
        return self._rio.finalise_load(load_state)

    def capture_env(self) -> Any:
        """Take GDAL's settings along."""
        return self._rio.capture_env()

    @contextmanager
    def restore_env(self, env: Any, load_state: Any) -> Iterator[Any]:
        """Read under GDAL's settings."""
        with self._rio.restore_env(env, load_state) as context:
            yield context

    def open(self, src: Any, ctx: Any) -> BlockReader:
        """Open one source."""
        del ctx
        return BlockReader(src.uri, self._access.get(src.uri, LOCAL))

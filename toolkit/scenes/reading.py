"""Reading of one file: odc-loader's rasterio driver, with failures that name the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import rasterio
from odc.loader import reader_driver

from toolkit.errors import RemoteError


class NamingReader:
    """Reads one source; a failure says which."""

    def __init__(self, reader: Any, uri: str) -> None:
        """Wrap a reader of odc-loader."""
        self._reader, self._uri = reader, uri

    def read(self, *arguments: Any, **options: Any) -> Any:
        """Read as the wrapped reader does.

        Raises:
            RemoteError: the file cannot be read.
        """
        try:
            return self._reader.read(*arguments, **options)
        except (rasterio.errors.RasterioError, OSError) as error:
            name = self._uri.split("?")[0]  # what follows may be a signature
            failure = RemoteError(f"{name!r} could not be read ({error}). If the file exists, run again.")
        raise failure


class NamingDriver:
    """odc-loader's driver for GeoTIFFs, its readers wrapped."""

    md_parser = None
    dask_reader = None
    aux_reader = None

    def __init__(self) -> None:
        """Use the rasterio driver that odc-loader ships."""
        self._rio: Any = reader_driver("rio")

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

    def open(self, src: Any, ctx: Any) -> NamingReader:
        """Open one source."""
        return NamingReader(self._rio.open(src, ctx), src.uri)

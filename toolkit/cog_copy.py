"""A raster as a cloud-optimised GeoTIFF, read back: GDAL does not tell all that fails."""

from __future__ import annotations

from pathlib import Path

import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError


def move_to_cog(plain: Path, path: Path, *, blocksize: int, overviews: str, predictor: str = "NO") -> None:
    """Copy a GeoTIFF to a cloud-optimised one and remove it.

    Every block is read back. GDAL (3.10) is silent where writing fails while it closes the file: on a disk
    that was full with 92 to 99 % of a layer written, the copy was cut, and nothing raised.

    Args:
        plain: the GeoTIFF.
        path: file to write.
        blocksize: edge of its blocks, pixels.
        overviews: how overviews are made of the pixels, as GDAL names it.
        predictor: of the compression, as GDAL names it.

    Raises:
        OSError: it cannot be written whole.
    """
    try:
        rasterio.shutil.copy(
            plain,
            path,
            driver="COG",
            compress="DEFLATE",
            predictor=predictor,
            blocksize=blocksize,
            bigtiff="IF_SAFER",  # left alone, GDAL stops at 4 GiB: it cannot foresee what compresses
            overview_resampling=overviews,
            num_threads=1,
        )
        with rasterio.open(path) as file:
            for band in file.indexes:
                for _, window in file.block_windows(band):
                    file.read(band, window=window)
    except (CPLE_BaseError, RasterioError) as error:
        msg = f"its copy is not whole: {error}"
        raise OSError(msg) from error
    plain.unlink()

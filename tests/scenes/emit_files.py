"""Small EMIT files with known numbers: every value tells the line, sample and band it comes from."""

from __future__ import annotations

from datetime import UTC, datetime

import h5netcdf
import numpy as np
import pystac
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox
from pyproj import Transformer
from scipy.spatial import cKDTree

CELL = 0.000542232520256367
"""Edge of a cell of EMIT's lattice, degrees."""
WAVELENGTHS = np.array([455.17, 559.31, 663.64, 864.0, 1379.0, 1611.0, 2202.0])
FLAGS_V001 = (
    "Cloud flag",
    "Cirrus flag",
    "Water flag",
    "Spacecraft Flag",
    "Dilated Cloud Flag",
    "AOD550",
    "H2O (g cm-2)",
    "Aggregate Flag",
)
GEOBOX = GeoBox.from_bbox(BoundingBox(570000, 4980000, 573000, 4983000, crs="EPSG:32632"), resolution=60)
"""50 x 50 pixels of 60 m south of the Alps."""


def numbered(lines, samples, bands=7):
    """A swath whose values are all different, exact in float32."""
    return np.arange(1, lines * samples * bands + 1, dtype=np.float32).reshape(lines, samples, bands)


def rotated_swath(lines, samples, heading, *, centre=None, spacing_m=60.0, geobox=GEOBOX):
    """Longitude and latitude (line, sample) of a swath whose lines run at an angle to east, degrees."""
    middle = centre or geobox.extent.centroid.coords[0]
    along, across = np.meshgrid(
        (np.arange(lines) - (lines - 1) / 2) * spacing_m,
        (np.arange(samples) - (samples - 1) / 2) * spacing_m,
        indexing="ij",
    )
    turn = np.radians(heading)
    x = middle[0] + across * np.cos(turn) - along * np.sin(turn)
    y = middle[1] - across * np.sin(turn) - along * np.cos(turn)
    return Transformer.from_crs(str(geobox.crs), "EPSG:4326", always_xy=True).transform(x, y)


def lookup_table(lon, lat, *, reach=0.75, phase=(0.399041, 0.051287)):
    """Nearest swath pixel of each cell, from 1, 0 beyond ``reach`` cells; and the geotransform."""
    west = (np.floor((lon.min() + 180) / CELL - phase[0]) - 1 + phase[0]) * CELL - 180
    north = 90 - (np.floor((90 - lat.max()) / CELL - phase[1]) - 1 + phase[1]) * CELL
    columns = int((lon.max() - west) / CELL) + 2
    rows = int((north - lat.min()) / CELL) + 2
    places = np.column_stack([(lon.ravel() - west) / CELL, (north - lat.ravel()) / CELL])
    centres = np.stack(np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5), axis=-1)
    far, nearest = cKDTree(places).query(centres.reshape(-1, 2))
    line, sample = np.divmod(nearest, lon.shape[1])
    glt_x = np.where(far <= reach, sample + 1, 0).reshape(rows, columns).astype(np.int32)
    glt_y = np.where(far <= reach, line + 1, 0).reshape(rows, columns).astype(np.int32)
    return glt_x, glt_y, (west, CELL, 0.0, north, 0.0, -CELL)


def write_swath(
    path,
    reflectance,
    glt_x,
    glt_y,
    geotransform,
    *,
    wavelengths=WAVELENGTHS,
    good=None,
    start="2023-07-10T10:31:29+0000",
    chunks=None,
):
    lines, samples, bands = reflectance.shape
    with h5netcdf.File(path, "w") as file:
        file.attrs["geotransform"] = np.array(geotransform)
        file.attrs["time_coverage_start"] = start
        rows, columns = glt_x.shape
        file.dimensions = {
            "downtrack": lines,
            "crosstrack": samples,
            "bands": bands,
            "ortho_y": rows,
            "ortho_x": columns,
        }
        packing = {} if chunks is None else {"chunks": chunks, "compression": "gzip"}
        file.create_variable(
            "reflectance",
            ("downtrack", "crosstrack", "bands"),
            data=reflectance,
            fillvalue=np.float32(-9999),
            **packing,
        )
        group = file.create_group("sensor_band_parameters")
        flags = np.ones(bands, np.uint8) if good is None else np.asarray(good, np.uint8)
        group.create_variable("wavelengths", ("bands",), data=np.asarray(wavelengths, np.float32))
        group.create_variable("fwhm", ("bands",), data=np.full(bands, 8.5, np.float32))
        group.create_variable("good_wavelengths", ("bands",), data=flags)
        location = file.create_group("location")
        location.create_variable("glt_x", ("ortho_y", "ortho_x"), data=glt_x)
        location.create_variable("glt_y", ("ortho_y", "ortho_x"), data=glt_y)
    return path


def write_mask(path, layers, names=FLAGS_V001, *, start="2023-07-10T10:31:29+0000"):
    lines, samples, bands = layers.shape
    with h5netcdf.File(path, "w") as file:
        file.attrs["time_coverage_start"] = start
        file.dimensions = {"downtrack": lines, "crosstrack": samples, "bands": bands}
        file.create_variable("mask", ("downtrack", "crosstrack", "bands"), data=layers.astype(np.float32))
        text = np.dtype("O", metadata={"vlen": str})
        file.create_variable(
            "sensor_band_parameters/mask_bands", ("bands",), dtype=text, data=np.array(names, object)
        )
    return path


def emit_item(
    name, reflectance, mask=None, *, when=datetime(2023, 7, 10, 10, 31, 29, tzinfo=UTC), **properties
):
    """Item as a search gives it."""
    item = pystac.Item(name, None, None, when, {"emit:product_version": "001", **properties})
    item.add_asset("reflectance", pystac.Asset(str(reflectance)))
    if mask is not None:
        item.add_asset("mask", pystac.Asset(str(mask)))
    return item


def expected_source(geobox, glt_x, glt_y, geotransform):
    """Line and sample that each pixel must come from, -1 for none: cell by cell, another way than ours."""
    left, top = geobox.affine.c, geobox.affine.f
    line = np.full(geobox.shape.yx, -1)
    sample = np.full(geobox.shape.yx, -1)
    to_degrees = Transformer.from_crs(str(geobox.crs), "EPSG:4326", always_xy=True)
    for row in range(geobox.shape.y):
        for column in range(geobox.shape.x):
            lon, lat = to_degrees.transform(
                left + (column + 0.5) * geobox.affine.a, top + (row + 0.5) * geobox.affine.e
            )
            x = int(np.floor((lon - geotransform[0]) / geotransform[1]))
            y = int(np.floor((lat - geotransform[3]) / geotransform[5]))
            if 0 <= y < glt_x.shape[0] and 0 <= x < glt_x.shape[1] and glt_x[y, x] > 0 and glt_y[y, x] > 0:
                line[row, column], sample[row, column] = glt_y[y, x] - 1, glt_x[y, x] - 1
    return line, sample

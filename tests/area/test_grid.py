"""Output grids: aligned with Sentinel-2, covering the area, cut into tiles."""

import tracemalloc

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from shapely.geometry import box

from toolkit.area.aoi import AOI, read_aoi
from toolkit.area.grid import (
    Lattice,
    centres_inside,
    inside,
    outline_near,
    output_geobox,
    pixels_inside,
    tiles,
    tiles_touching,
)
from toolkit.errors import AreaError, InputError, NoPixelError

AREA = AOI(box(4.0, 50.0, 4.02, 50.01))


@given(st.floats(-170, 170), st.floats(-70, 70), st.sampled_from([10.0, 20.0]))
def test_edges_lie_on_multiples_of_two_pixels_and_cover_the_area(lon, lat, resolution):
    grid = output_geobox(AOI(box(lon, lat, lon + 0.01, lat + 0.01)), resolution=resolution)
    bounds = np.array(grid.boundingbox.bbox)
    assert np.allclose(bounds % (2 * resolution), 0)
    corners = inside(AOI(box(lon - 1, lat - 1, lon + 1, lat + 1)), grid)
    assert corners.all()


def test_grid_of_real_scenes_has_their_very_pixels(shared_data):
    grid = output_geobox(read_aoi(shared_data / "flanders_2019" / "aoi.geojson"))
    assert grid.boundingbox.bbox == (574680, 5621800, 575320, 5622440)
    assert grid.shape.yx == (64, 64)


@pytest.mark.parametrize(
    ("lon", "lat", "epsg"),
    [(4, 50, 32631), (4, -20, 32731), (179.9, 10, 32660), (-180, 10, 32601), (5, 60, 32632), (20, 78, 32633)],
)
def test_zone_is_that_of_the_centre_with_the_exceptions_of_norway_and_svalbard(lon, lat, epsg):
    assert output_geobox(AOI(box(lon, lat, lon + 0.01, lat + 0.01))).crs.epsg == epsg


def test_chosen_crs_is_used():
    assert output_geobox(AREA, crs="EPSG:3035", resolution=20).crs.epsg == 3035


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 0}, "Resolution is 0"),
        ({"resolution": float("nan")}, "Resolution"),
        ({"crs": "EPSG:1"}, "CRS 'EPSG:1'"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        output_geobox(AREA, **options)


def test_poles_have_no_zone():
    with pytest.raises(AreaError, match="No UTM zone"):
        output_geobox(AOI(box(10, 86, 11, 87)))


def test_grid_beyond_a_country_is_refused():
    with pytest.raises(AreaError, match="exceeds"):
        output_geobox(AOI(box(-40, -40, 40, 40)), resolution=1, crs="EPSG:6933")


def test_inside_agrees_with_pixel_centres_one_by_one():
    triangle = AOI(shapely.Polygon([(4.0, 50.0), (4.01, 50.0), (4.0, 50.01)]))
    grid = output_geobox(triangle, resolution=50)
    shape = triangle.geometry.segmentize(0.001)
    from pyproj import Transformer

    to_degrees = Transformer.from_crs(str(grid.crs), "EPSG:4326", always_xy=True)
    x, y = np.meshgrid(grid.coordinates["x"].values, grid.coordinates["y"].values)
    lon, lat = to_degrees.transform(x, y)
    expected = shapely.contains_xy(shape, lon, lat)
    assert (inside(triangle, grid) == expected).mean() > 0.995  # edges bend a little between the two CRS


@given(st.integers(16, 90))
def test_tiles_cover_every_pixel_once(size):
    grid = output_geobox(AREA, resolution=20)
    count = np.zeros(grid.shape.yx, int)
    for tile in tiles(grid, size=size):
        count[tile.y, tile.x] += 1
        assert tile.geobox == grid[tile.y, tile.x]
    assert (count == 1).all()


def test_tiny_tiles_are_refused():
    with pytest.raises(InputError, match="Tile size is 8"):
        next(tiles(output_geobox(AREA), size=8))


@pytest.mark.parametrize(
    ("crs", "message"),
    [("EPSG:4326", "not in metres"), ("EPSG:2263", "not in metres"), ("EPSG:3857", "2.42 times its size")],
)
def test_grids_that_would_miscount_hectares_are_refused(crs, message):
    with pytest.raises(InputError, match=message):
        output_geobox(AREA, crs=crs)


@given(
    st.tuples(st.integers(1, 400), st.integers(1, 400)),
    st.integers(16, 300),
    st.tuples(st.integers(-500, 500), st.integers(-500, 500)),
    st.tuples(st.sampled_from([16, 32, 100, 128]), st.sampled_from([16, 64, 128])),
)
def test_tiles_cover_the_grid_once_and_never_cut_across_blocks(shape, size, origin, block_shape):
    (height, width), (y, x), (tall, wide) = shape, origin, block_shape
    geobox = GeoBox((height, width), Affine(10, 0, 600000, 0, -10, 5600000), "EPSG:32631")
    lattice = Lattice(y, x, tall, wide)
    covered = np.zeros((height, width), int)
    for tile in tiles(geobox, size=size, lattice=lattice):
        covered[tile.y, tile.x] += 1
        assert tile.geobox.shape.yx == covered[tile.y, tile.x].shape
        for part, start, block in ((tile.y, y, tall), (tile.x, x, wide)):
            first, last = (part.start - start) // block, (part.stop - 1 - start) // block
            whole_blocks = all(
                (edge - start) % block == 0 or edge in (0, height if part is tile.y else width)
                for edge in (part.start, part.stop)
            )
            assert first == last or whole_blocks
            assert part.stop - part.start <= size
    assert (covered == 1).all()


COUNTRY = AOI(shapely.Point(10, 50).buffer(6.5), "country")
LAEA = "EPSG:3035"


def test_tiles_that_the_area_touches_are_all_that_hold_its_pixels():
    grid = output_geobox(COUNTRY, resolution=5000, crs=LAEA)
    kept = {tile.name for tile in tiles_touching(COUNTRY, tiles(grid, size=16))}
    holding = {tile.name for tile in tiles(grid, size=16) if inside(COUNTRY, tile.geobox).any()}
    every = sum(1 for _ in tiles(grid, size=16))
    assert holding <= kept
    assert len(kept) < every
    assert len(kept) - len(holding) < 0.05 * every


def test_an_area_without_a_pixels_centre_has_no_grid():
    to_degrees = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True)

    def box(west, south, edge):
        x, y = to_degrees.transform(
            [west, west + edge, west + edge, west], [south, south, south + edge, south + edge]
        )
        return AOI(shapely.Polygon(zip(x, y, strict=True)))

    for crumb in (box(600_019.7, 5_600_000.1, 0.2), box(600_006, 5_600_006, 8)):
        with pytest.raises(
            NoPixelError, match=r"No centre of a pixel of 10 m lies in its .*finer --resolution"
        ):
            output_geobox(crumb)
    far_apart = AOI(shapely.union(box(600_006, 5_600_006, 8).geometry, box(630_006, 5_620_006, 8).geometry))
    with pytest.raises(NoPixelError, match=r"lies in its 128 m2"):
        output_geobox(far_apart)
    assert output_geobox(box(600_006, 5_600_006, 8), resolution=2).shape.x > 0
    assert inside(box(600_004, 5_600_004, 2), output_geobox(box(600_004, 5_600_004, 2))).sum() == 1


def test_pixels_inside_are_told_without_burning_them():
    grid = output_geobox(COUNTRY, resolution=5000, crs=LAEA)
    assert pixels_inside(COUNTRY, grid) == pytest.approx(inside(COUNTRY, grid).sum(), rel=2e-3)


def test_inside_of_tiles_is_inside_of_the_whole_also_of_a_long_outline():
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 9000, endpoint=False)
    radius = 0.01 * (1 + 0.1 * rng.uniform(-1, 1, len(angles)))
    coast = AOI(shapely.Polygon(np.column_stack([4 + radius * np.cos(angles), 50 + radius * np.sin(angles)])))
    grid = output_geobox(coast)
    whole = inside(coast, grid)
    for tile in tiles(grid, size=50):
        np.testing.assert_array_equal(inside(coast, tile.geobox), whole[tile.y, tile.x])
        near = outline_near(coast, tile.geobox)
        assert shapely.get_num_coordinates(near) < len(angles) / 2
        np.testing.assert_array_equal(centres_inside(near, tile.geobox), whole[tile.y, tile.x])


def test_a_country_is_planned_in_little_memory():
    """10 billion pixels in 9,604 tiles: counted one by one, the outline of the area alone in memory."""
    grid = GeoBox((100_000, 100_000), Affine(10, 0, 3_800_000, 0, -10, 3_500_000), LAEA)
    next(tiles_touching(COUNTRY, tiles(grid[:600, :600])), None)  # what is loaded once
    tracemalloc.start()
    touched = sum(1 for _ in tiles_touching(COUNTRY, tiles(grid, size=1024)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 5_000 < touched < 9_604
    assert peak < 4_000_000

"""An area in two UTM zones: a map of each, one of both, nothing counted twice."""

import json
import os
from datetime import timedelta

import numpy as np
import pandas as pd
import pystac
import pytest
import rasterio
import shapely
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox
from pyproj import Transformer
from rio_cogeo import cog_validate

from pipelines import crop_map, plan
from pipelines.config import MapRequest, PlanRequest
from tests.conftest import make_scene, write_catalog
from tests.pipelines.test_bad_input import START, fails, geojson, request
from tests.pipelines.test_resume import KILLED, files_of, leftovers, maps_made_in_children, model, tiles_told
from toolkit.area import zones
from toolkit.area.aoi import AOI, square_metres
from toolkit.area.grid import inside
from toolkit.errors import ChangedRequestError, FolderInUseError, ZoneMissingWarning
from toolkit.learn.checkpoint import write_checkpoint
from toolkit.learn.fields import read_fields
from toolkit.learn.map_accuracy import assess_file
from toolkit.legend import CROPGLOBE, Status
from toolkit.maps.lock import locked

BORDER = shapely.box(5.9986, 50.0, 6.0012, 50.0012)
"""186 x 133 m on both sides of the meridian between zones 31 and 32."""


CROOKED = shapely.union(shapely.box(5.9955, 50, 6.0045, 50.001), shapely.box(5.9955, 50, 5.9965, 50.003))
"""An L: 330 m to the north and 640 m across the meridian, so that many tiles of zone 31 are empty."""


def grid_around(epsg, lon, lat, size=32):
    """Pixels on multiples of 20 m around a place."""
    x, y = Transformer.from_crs("EPSG:4326", f"EPSG:{epsg}", always_xy=True).transform(lon, lat)
    west, south = 20 * round(x / 20) - 5 * size, 20 * round(y / 20) - 5 * size
    return GeoBox.from_bbox(
        BoundingBox(west, south, west + 10 * size, south + 10 * size, crs=f"EPSG:{epsg}"), resolution=10
    )


def write_place(folder, area, grids, *, dates=3, values=lambda _: 1000):
    geojson(folder / "aoi.geojson", json.loads(shapely.to_geojson(area)))
    scenes = [
        make_scene(
            folder,
            f"{grid.crs.epsg}_{k}",
            START + timedelta(days=40 * k),
            geobox=grid,
            value=values(grid.shape.yx),
        )
        for grid in grids
        for k in range(dates)
    ]
    write_catalog(folder, scenes)
    write_checkpoint(model(), folder / "model")
    return folder


def config(place, out, **more):
    return MapRequest(
        aoi=place / "aoi.geojson",
        catalog=str(place / "catalog.json"),
        year=2021,
        model=place / "model",
        out=out,
        radiometry="trust",
        **more,
    )


def read(path):
    with rasterio.open(path) as file:
        return file.read(1), GeoBox((file.height, file.width), file.transform, str(file.crs))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("border")
    write_place(folder, BORDER, [grid_around(32631, 6, 50.0006), grid_around(32632, 6, 50.0006)])
    field = shapely.box(5.9988, 50.0001, 6.001, 50.0011)
    features = [
        {
            "type": "Feature",
            "properties": {"crop": "corn", "name": "all"},
            "geometry": json.loads(shapely.to_geojson(field)),
        }
    ]
    (folder / "fields.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return folder


@pytest.fixture(scope="module")
def result(place, client):
    """A map of the area; half a degree of reach is too much for so small a one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zones, "REACH", 0.0)
        files = {"fields": place / "fields.geojson", "zones": place / "fields.geojson"}
        return crop_map.run(config(place, place / "result", **files), client, progress=False)


def test_each_zone_has_a_whole_map_and_one_joins_them(result):
    folder = result.folder
    assert {path.name for path in folder.iterdir()} == {
        *(f"{name}.tif" for name in ("confidence", "crop_map", "longest_gap", "observations", "status")),
        *("crop_map.tif.aux.xml", "status.tif.aux.xml", "crop_map.qml", "confidence.qml", "status.qml"),
        *("areas.csv", "areas_by_zone.csv", "crop_map.stac.json", "run.json", "run.yaml"),
        *("utm_32631", "utm_32632", ".cropglobe"),
    }
    for name, epsg in (("utm_32631", 32631), ("utm_32632", 32632)):
        crop, grid = read(folder / name / "crop_map.tif")
        assert grid.crs.epsg == epsg
        assert (folder / name / "run.json").is_file()
        assert (folder / name / "items.json").is_file()
        area = json.loads((folder / name / "aoi.geojson").read_text())
        assert (crop > 0).sum() == inside(AOI(shapely.geometry.shape(area["geometry"])), grid).sum()
    assert [zone.folder.name for zone in result.zones] == ["utm_32631", "utm_32632"]
    assert all(cog_validate(path)[0] for path in result.files.values())
    assert result.complete


def test_the_joined_map_has_no_seam(result):
    crop, grid = read(result.files["crop"])
    status, _ = read(result.files["status"])
    within = inside(AOI(BORDER), grid)
    inner = inside(AOI(BORDER.buffer(-0.0003)), grid)  # 20 m off the outline
    assert inner.sum() > 80
    assert (crop[inner] > 0).all()
    assert (status[inner] == Status.MAPPED).all()
    assert (status[~within] == Status.OUTSIDE_AREA).all()


def test_areas_are_those_of_the_zones_without_their_overlap(result):
    table = pd.read_csv(result.folder / "areas.csv")
    true = square_metres(BORDER) / 1e4
    assert table.hectares.sum() == pytest.approx(true, rel=0.03)  # a pixel is 0.4 % of the area
    of_zones = sum(pd.read_csv(zone.folder / "areas.csv").hectares.sum() for zone in result.zones)
    assert of_zones > table.hectares.sum()  # the strip that both have
    assert sum(result.areas.values()) == pytest.approx(table.hectares.sum())
    by_polygon = pd.read_csv(result.folder / "areas_by_zone.csv")
    assert by_polygon.zone_hectares.iloc[0] == pytest.approx(by_polygon.hectares.sum(), rel=0.05)
    record = json.loads((result.folder / "run.json").read_text())
    told = [sum(zone["hectares"].values()) for zone in record["zones"].values()]
    assert sum(told) == pytest.approx(table.hectares.sum())


def test_accuracy_counts_each_zone_within_its_part(result, place):
    parts, _ = zones.split_by_zone(AOI(BORDER))
    alone = []
    for part, zone in zip(parts, result.zones, strict=True):
        _, grid = read(zone.files["crop"])
        fields = read_fields(place / "fields.geojson", grid)
        alone.append(assess_file(zone.files["crop"], fields, legend=CROPGLOBE, within=part.area))
    np.testing.assert_array_equal(result.accuracy.confusion, alone[0].confusion + alone[1].confusion)
    assert result.accuracy.n > 80


def test_the_result_tells_its_zones(result, place):
    text = "\n".join(result.lines())
    assert "joined from the maps of 2 UTM zones" in text
    assert "utm_32631" in text
    assert "utm_32632" in text
    item = pystac.Item.from_file(str(result.folder / "crop_map.stac.json"))
    assert item.properties["proj:code"] is None
    assert "Azimuthal" in item.properties["proj:wkt2"]
    again = MapRequest.read(result.folder / "run.yaml", {})
    assert again.crs == "utm"
    assert again.aoi == place / "aoi.geojson"


def test_a_second_run_gives_the_same_bytes_in_a_chosen_crs_too(result, place, client, monkeypatch):
    monkeypatch.setattr(zones, "REACH", 0.0)
    names = ("crop_map.tif", "status.tif", "confidence.tif", "areas.csv", "crop_map.tif.aux.xml")
    again = crop_map.run(config(place, place / "again"), client, progress=False)
    for name in names:
        assert (again.folder / name).read_bytes() == (result.folder / name).read_bytes(), name
    chosen = crop_map.run(config(place, place / "again", mosaic_crs="EPSG:3035"), client, progress=False)
    assert read(chosen.files["crop"])[1].crs.epsg == 3035
    assert chosen.areas == again.areas


def test_another_request_in_the_folder_of_a_joined_map_is_refused(result, place, client, monkeypatch):
    monkeypatch.setattr(zones, "REACH", 0.0)
    before = {path.name: path.read_bytes() for path in result.folder.iterdir() if path.is_file()}
    asked = config(place, result.folder, crs="EPSG:32632")
    with pytest.raises(ChangedRequestError, match=r"crs: .*utm.* then, .*EPSG:32632.* now"):
        crop_map.run(asked, client, progress=False)
    after = {path.name: path.read_bytes() for path in result.folder.iterdir() if path.is_file()}
    assert after == before


def test_a_chosen_crs_is_one_map(place, client, monkeypatch):
    monkeypatch.setattr(zones, "REACH", 0.0)
    one = crop_map.run(config(place, place / "one", crs="EPSG:32632"), client, progress=False)
    assert one.zones == ()
    assert not list(one.folder.glob("utm_*"))


def test_two_runs_in_one_folder_the_second_names_the_first(place, tmp_path, client, monkeypatch):
    monkeypatch.setattr(zones, "REACH", 0.0)
    out = tmp_path / "out"
    (out / ".cropglobe").mkdir(parents=True)
    with (
        locked(out / ".cropglobe" / "lock"),
        pytest.raises(FolderInUseError, match=rf"{out}'.*process {os.getpid()} on "),
    ):
        crop_map.run(config(place, out), client, progress=False)
    assert not list(out.glob("utm_*"))


def test_a_zone_without_scenes_is_left_out_and_told(tmp_path):
    """With a worker process: threads of workers in this one disturb the recording of warnings."""
    area = shapely.MultiPolygon([shapely.box(5.2, 50, 5.201, 50.001), shapely.box(6.8, 50, 6.801, 50.001)])
    place = write_place(tmp_path, area, [grid_around(32631, 5.2005, 50.0005)])
    (place / "result").mkdir()
    (place / "result" / "items.json").write_text("of a search")
    with pytest.warns(ZoneMissingWarning, match="utm_32632 stays unmapped"):
        result = crop_map.run(config(place, place / "result", resolution=20, workers=1), progress=False)
    assert (place / "result" / "items.json").read_text() == "of a search"
    assert not result.complete
    assert result.zones_missing == ("utm_32632",)
    status, _ = read(result.files["status"])
    assert {Status.MAPPED, Status.NOT_OBSERVED} <= set(np.unique(status))
    record = json.loads((result.folder / "run.json").read_text())
    assert list(record["zones_without_scenes"]) == ["utm_32632"]
    assert record["coverage"]["share_without_class"] == pytest.approx(0.5, abs=0.05)


def strip(epsg, lon, lat):
    """40 x 4 m between two rows of pixel centres: more than a pixel, and no pixel."""
    way = Transformer.from_crs(f"EPSG:{epsg}", "EPSG:4326", always_xy=True)
    west, south = (20 * round(v / 20) for v in way.transform(lon, lat, direction="INVERSE"))
    x, y = way.transform(
        [west, west + 40, west + 40, west], [south + 6, south + 6, south + 10 - 1e-3, south + 10 - 1e-3]
    )
    return shapely.Polygon(zip(x, y, strict=True))


def test_a_zone_without_a_pixel_is_left_out_and_told(tmp_path):
    """And items that lie beside the map stay, however often it is made."""
    area = shapely.MultiPolygon([shapely.box(5.2, 50, 5.201, 50.001), strip(32632, 6.8, 50)])
    place = write_place(tmp_path, area, [grid_around(32631, 5.2005, 50.0005)])
    saying = "utm_32632 stays unmapped: No centre of a pixel of 10 m lies in its 160 m2"
    asked = config(place, place / "result", workers=1)
    with pytest.warns(ZoneMissingWarning, match=saying):
        told = plan.run(PlanRequest(**asked.model_dump(), no_trial=True), progress=False)
    assert told.tiles == 1
    (place / "result" / "items.json").write_text("of a search")
    for _ in range(2):
        with pytest.warns(ZoneMissingWarning, match=saying):
            result = crop_map.run(asked, progress=False)
        assert result.complete  # there is nothing that could be mapped
        assert (place / "result" / "items.json").read_text() == "of a search"
    left_out = json.loads((result.folder / "run.json").read_text())["slivers_left_out"]
    assert [reason.startswith("zone utm_32632: No centre of a pixel") for reason in left_out] == [True]


@pytest.mark.parametrize("no_trial", [True, False])
def test_a_plan_leaves_out_a_zone_without_scenes_as_the_map_does(tmp_path, no_trial):
    area = shapely.MultiPolygon([shapely.box(5.2, 50, 5.201, 50.001), shapely.box(6.8, 50, 6.801, 50.001)])
    place = write_place(tmp_path, area, [grid_around(32631, 5.2005, 50.0005)])
    asked = config(place, place / "result", resolution=20, workers=1)
    with pytest.warns(ZoneMissingWarning, match="utm_32632 stays unmapped"):
        told = plan.run(PlanRequest(**asked.model_dump(), no_trial=no_trial), progress=False)
    assert told.tiles == 1
    assert (told.seconds is None) == no_trial


def test_wrong_fields_are_told_before_any_work(tmp_path, place, capfd, monkeypatch):
    monkeypatch.setattr(zones, "REACH", 0.0)
    far = geojson(tmp_path / "far.geojson", json.loads(shapely.to_geojson(shapely.box(9, 50, 9.1, 50.1))))
    out = tmp_path / "none"
    fails(request(place, fields=far, out=out), capfd, code=4, saying=["No field of", "lies in the area"])
    assert not out.exists()


def test_features_of_such_an_area_need_a_crs(tmp_path, capfd):
    geojson(tmp_path / "aoi.geojson", json.loads(shapely.to_geojson(shapely.box(5, 50, 8, 51))))
    arguments = ["features", "--aoi", tmp_path / "aoi.geojson", "--year", 2021, "--out", tmp_path / "out"]
    fails([str(word) for word in arguments], capfd, code=4, saying=["2 UTM zones", "--crs EPSG:32632"])


MOMENTS = {
    "utm_32631/.cropglobe/tiles/r001_*.tif": (1, 0),
    "utm_32632/.cropglobe/tiles/r000_*.tif": (2, 1),
    ".run.*.part.json": (2, 2),
}
"""When a map is killed: the first file of this name -> zones begun, zones finished."""


@pytest.fixture(scope="module")
def crooked(tmp_path_factory):
    """A scene of random values in either zone, over the whole of an area that is an L."""
    draw = np.random.default_rng(3)
    grids = [grid_around(epsg, 6, 50.0015, size=80) for epsg in (32631, 32632)]
    folder = tmp_path_factory.mktemp("crooked")
    return write_place(folder, CROOKED, grids, dates=1, values=lambda shape: draw.integers(1, 8000, shape))


def zone_files(out):
    """Bytes of all files of a map and of the maps of its zones, but for records."""
    return {folder.name: files_of(folder) for folder in sorted(out.glob("utm_*"))} | {"joined": files_of(out)}


def zone_tiles(out):
    """Finished tiles of each zone: those on the disk, and those that its record tells."""
    on_disk = {path.name: len(list(path.glob(".cropglobe/tiles/r*.tif"))) for path in out.glob("utm_*")}
    return on_disk, {path.parent.name: tiles_told(path.parent) for path in out.glob("utm_*/run.json")}


def test_killed_in_any_zone_or_while_joining_a_map_goes_on_to_the_same_bytes(
    crooked, tmp_path, client, monkeypatch
):
    """Each zone keeps the tiles that are done and makes only the others; how they are cut changes nothing."""
    monkeypatch.setattr(zones, "REACH", 0.0)
    crop_map.run(config(crooked, tmp_path / "large", tile_size=1024), client, progress=False)
    made = crop_map.run(config(crooked, tmp_path / "whole", tile_size=16), client, progress=False)
    assert sum(made.areas.values()) == pytest.approx(square_metres(CROOKED) / 1e4, rel=0.03)
    assert made.reads.resampled > 0  # scenes of the other zone, too
    whole, (every, _) = zone_files(tmp_path / "whole"), zone_tiles(tmp_path / "whole")
    assert whole == zone_files(tmp_path / "large")
    assert list(whole) == ["utm_32631", "utm_32632", "joined"]
    assert min(every.values()) > 2
    with maps_made_in_children(crooked) as run:
        for number, (moment, reached) in enumerate(MOMENTS.items()):
            out = tmp_path / f"killed{number}"
            assert run(out, reach=0, kill_when=moment)["status"] == KILLED
            done, recorded = zone_tiles(out)
            assert (len(done), len(recorded)) == reached
            assert not (out / "run.json").exists()
            crop_map.run(config(crooked, out, tile_size=16), client, progress=False)
            assert zone_files(out) == whole
            assert not leftovers(out)
            for name, tiles in zone_tiles(out)[1].items():
                assert tiles["made"] + tiles["kept"] == every[name]
                assert 0 <= done.get(name, 0) - tiles["kept"] <= 1  # the last may lack its row
                assert name not in recorded or tiles["made"] == 0

"""EMIT in a catalog that behaves as CMR-STAC: versions apart, masks paired, nothing asked in vain."""

import json
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
import shapely
from shapely.geometry import box, mapping

from tests.catalog.stac_stand_in import stac_stand_in
from toolkit.area.aoi import AOI
from toolkit.area.season import season
from toolkit.catalog.emit import MASK_VERSIONS, GranuleFile, granule_file, granule_keys, mask_for
from toolkit.catalog.items import attribution, item_of
from toolkit.catalog.profiles import PROFILES, resolve_profile
from toolkit.catalog.search import search_items
from toolkit.errors import BandError, InputError, NoItemsError, UnsafeReferenceError

AREA = AOI(box(-62.2, -40.2, -61.8, -39.8))
SEASON = season(2022, hemisphere="south")
ARCHIVE = "data.lpdaac.earthdatacloud.nasa.gov"
COLLECTIONS = ("EMITL2ARFL_001", "EMITL2ARFL_002", "EMITL2AMASK_002", "EMITL2AMASK_003", "HLSL30_2.0")
CMR = ("core", "item-search", "ogcapi-features")
"""What CMR-STAC says it conforms to: no list of collections."""
DAYS = [f"202212{day:02}T150000" for day in range(1, 29)]


def assets(folder, names, host=ARCHIVE):
    """Assets as nasa/cmr-stac makes them: the last but one piece of the address between dots is the key."""
    found = {}
    for name in names:
        key = f"{folder[-3:]}/{names[0]}/{name}"
        href = f"lp-prod-protected/{folder}/{names[0]}/{name}.nc"
        found[key] = {"href": f"https://{host}/{href}", "title": "Direct Download", "roles": ["data"]}
        found[f"s3_{key}"] = {"href": f"s3://{href}", "roles": ["data"]}
    found["browse"] = {"href": f"https://{host}/lp-prod-public/{folder}/{names[0]}/{names[0]}.png"}
    found["metadata"] = {"href": f"https://cmr.earthdata.nasa.gov/search/concepts/{names[0]}.json"}
    return found


def item(name, collection, acquired, links, place=AREA.geometry, **properties):
    time = f"{datetime.strptime(acquired, '%Y%m%dT%H%M%S').replace(tzinfo=UTC):%Y-%m-%dT%H:%M:%S.000Z}"
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": collection,
        "geometry": mapping(place),
        "bbox": list(place.bounds),
        "properties": {"datetime": time, **properties},
        "assets": links,
        "links": [],
    }


def spectra(version, acquired, *, mask=True, host=ARCHIVE, **properties):
    """A reflectance granule; version 001 holds its mask."""
    end = f"{acquired}_2233401_012" if version == "001" else acquired
    names = [f"EMIT_L2A_{kind}_{version}_{end}" for kind in ("RFL", "RFLUNCERT", "MASK")]
    names = names if mask and version == "001" else names[:2]
    links = assets(f"EMITL2ARFL.{version}", names, host)
    return item(names[0], f"EMITL2ARFL_{version}", acquired, links, **properties)


def mask(version, acquired, host=ARCHIVE):
    name = f"EMIT_L2A_MASK_{version}_{acquired}"
    links = assets(f"EMITL2AMASK.{version}", [name], host)
    return item(name, f"EMITL2AMASK_{version}", acquired, links)


def cmr(features, served=100):
    """Answer searches as CMR-STAC does; refuse what it refuses."""

    def search(asked, url):
        ring = asked.get("intersects[coordinates]")
        if ring is None:  # the first page, by POST
            shape = shapely.geometry.shape(asked["intersects"])
            refused = {"filter", "query", "bbox"} & asked.keys()
            if refused or shape.geom_type != "Polygon" or shape.interiors or not shape.exterior.is_ccw:
                return 400, {}, b'{"errors": ["refused"]}'
            ring = ",".join(str(number) for xy in shape.exterior.coords for number in xy)
            (collection,) = asked["collections"]
        else:
            collection = asked["collections"]
        first, last = asked["datetime"].split("/")
        if not (first.endswith("Z") and last.endswith("Z") and first < last and int(asked["limit"]) <= 5000):
            return 400, {}, b'{"errors": ["refused"]}'
        collection = collection.replace(".v", "_")
        hits = [
            one
            for one in features
            if one["collection"] == collection and first <= one["properties"]["datetime"] <= last
        ]
        start = int(asked.get("cursor", 0))
        links = []
        if start + served < len(hits):
            query = {"limit": asked["limit"], "datetime": asked["datetime"], "collections": collection}
            query |= {
                "intersects[type]": "Polygon",
                "intersects[coordinates]": ring,
                "cursor": start + served,
            }
            links = [{"rel": "next", "href": f"{url}/search?{urlencode(query)}"}]
        found = hits[start : start + served]
        context = {"matched": len(hits), "returned": len(found)}
        return {"type": "FeatureCollection", "features": found, "links": links, "context": context}

    return search


def found(server, area=AREA, when=SEASON, **options):
    options = {"allow_hosts": (ARCHIVE,), **options}
    return search_items(server.url, area, when, sensor="emit", **options)


def searched(features, served=100, conforms=CMR, **options):
    with stac_stand_in(cmr(features, served), COLLECTIONS, conforms) as server:
        return found(server, **options), server.asked


def test_names_of_files_tell_kind_version_time_orbit_and_scene():
    v1 = "https://a.b/EMITL2ARFL.001/x/EMIT_L2A_RFL_001_20220903T163129_2224611_012.nc?X=1"
    assert granule_file(v1) == GranuleFile("RFL", "001", "20220903T163129", "2224611", "012")
    v2 = granule_file("folder/EMIT_L2A_MASK_003_20260919T145435.nc")
    assert v2 == GranuleFile("MASK", "003", "20260919T145435")
    for other in (
        "EMIT_L2A_RFL_001_20220903T163129_2224611_012.nc.part",
        "EMIT_L1B_RAD_001_20220903T163129_2224611_012.nc",
        "my_EMIT_L2A_RFL_002_20260919T145435.nc",
        "EMIT_L2A_RFL_002_20260919T145435.nc.dmrpp",
    ):
        assert granule_file(other) is None


@pytest.mark.parametrize("conforms", [CMR, (*CMR, "collections")], ids=["as CMR", "listed"])
def test_assets_get_canonical_names_and_numbers(conforms):
    items, _ = searched([spectra("001", DAYS[0], **{"eo:cloud_cover": 12})], conforms=conforms)
    (one,) = items
    assert set(one.assets) == {"reflectance", "mask"}
    for name, kind in {"reflectance": "RFL", "mask": "MASK"}.items():
        href = one.assets[name].href
        assert href.startswith(f"https://{ARCHIVE}/")
        assert f"/EMIT_L2A_{kind}_001_" in href
        assert one.assets[name].extra_fields["raster:bands"] == [{"nodata": -9999.0, "data_type": "float32"}]
    assert one.properties["emit:product_version"] == one.properties["emit:mask_version"] == "001"
    assert one.properties["eo:cloud_cover"] == 12
    assert not any(name.startswith("proj:") for name in one.properties)
    assert items.extra_fields["without_mask"] == []
    assert attribution(items) == "Contains EMIT data of NASA, distributed by LP DAAC, 2022"


def test_all_versions_are_searched_and_the_newest_of_an_acquisition_wins():
    features = [spectra(version, day) for version in ("001", "002") for day in DAYS[:2]]
    items, asked = searched([*features, mask("003", DAYS[0]), mask("003", DAYS[1])])
    assert [one.properties["emit:product_version"] for one in items] == ["002", "002"]
    assert [id_[:16] for id_ in items.extra_fields["skipped"]["older_twin"]] == ["EMIT_L2A_RFL_001"] * 2
    assert items.extra_fields["found"] == 4
    assert sorted(body["collections"][0] for body in asked) == sorted(COLLECTIONS[:4])


def test_versions_are_mixed_only_if_that_is_allowed():
    features = [*(spectra("001", day) for day in DAYS[:3]), *(spectra("002", day) for day in DAYS[3:5])]
    items, _ = searched(features)
    assert {one.properties["emit:product_version"] for one in items} == {"001"}
    assert len(items.extra_fields["skipped"]["other_version"]) == 2
    mixed, _ = searched(features, mix_versions=True)
    assert [one.properties["emit:product_version"] for one in mixed] == ["001"] * 3 + ["002"] * 2
    assert mixed.extra_fields["skipped"] == {}


def test_of_versions_with_as_many_granules_the_newer_stays():
    items, _ = searched([spectra("001", DAYS[0]), spectra("002", DAYS[1])])
    assert [one.properties["emit:product_version"] for one in items] == ["002"]


def test_an_acquisition_is_not_lost_because_its_newer_twin_belongs_to_the_smaller_version():
    features = [*(spectra("001", day) for day in DAYS[:5]), *(spectra("002", day) for day in DAYS[2:5])]
    items, _ = searched(features)
    assert [one.properties["emit:acquired"] for one in items] == DAYS[:5]
    assert {one.properties["emit:product_version"] for one in items} == {"001"}
    assert len(items.extra_fields["skipped"]["other_version"]) == 3
    mixed, _ = searched(features, mix_versions=True)
    assert [one.properties["emit:product_version"] for one in mixed] == ["001"] * 2 + ["002"] * 3
    assert len(mixed.extra_fields["skipped"]["older_twin"]) == 3


def test_masks_are_paired_by_acquisition_newest_first_and_what_stays_without_is_kept_and_counted():
    features = [spectra("002", day) for day in DAYS[:3]]
    features += [mask("002", DAYS[0]), mask("003", DAYS[0]), mask("002", DAYS[1]), mask("003", DAYS[7])]
    items, _ = searched(features)
    assert [one.properties.get("emit:mask_version") for one in items] == ["003", "002", None]
    for one in items.items[:2]:
        assert f"_{one.properties['emit:acquired']}" in one.assets["mask"].href
    assert items.extra_fields["without_mask"] == [items.items[2].id]
    assert set(items.items[2].assets) == {"reflectance"}


def test_masks_are_not_searched_where_every_granule_has_its_own():
    items, asked = searched([spectra("001", DAYS[0]), mask("002", DAYS[0])])
    assert items.items[0].properties["emit:mask_version"] == "001"
    assert not any("MASK" in body["collections"][0] for body in asked)


def test_a_mask_of_another_version_or_time_is_never_paired():
    assert set(MASK_VERSIONS["001"]) & {"003"} == set()
    old, new = (GranuleFile("MASK", version, DAYS[0]) for version in ("001", "003"))
    assert mask_for("002", DAYS[0], [old]) is None
    assert mask_for("001", DAYS[0], [new]) is None
    assert mask_for("002", DAYS[1], [new]) is None
    assert mask_for("009", DAYS[0], [old, new]) is None
    foreign = spectra("001", DAYS[0])  # the mask of another scene strayed into the item
    for asset in foreign["assets"].values():
        asset["href"] = asset["href"].replace(f"MASK_001_{DAYS[0]}", f"MASK_001_{DAYS[1]}")
    assert set(granule_keys(item_of(foreign))) == {"reflectance"}


def test_files_in_s3_are_no_assets():
    one = spectra("001", DAYS[0])
    one["assets"] = {key: asset for key, asset in one["assets"].items() if key.startswith("s3_")}
    with pytest.raises(NoItemsError, match="1 asset_missing"):
        searched([one])


def test_pages_are_followed_by_cursor_to_the_end():
    items, asked = searched([spectra("001", day) for day in DAYS], served=10)
    assert len(items) == len(DAYS)
    assert [body.get("cursor") for body in asked if "001" in str(body["collections"])] == [None, "10", "20"]


def test_areas_in_parts_with_holes_or_clockwise_are_asked_for_as_a_box_and_cut_here():
    ring = box(-62.2, -40.2, -61.0, -39.0).difference(box(-62.1, -40.1, -61.1, -39.1))
    parts = AOI(shapely.union_all([shapely.reverse(ring), box(-60.5, -39.5, -60.4, -39.4)]))
    inside = spectra("001", DAYS[0])
    in_hole = spectra("001", DAYS[1], place=box(-61.7, -39.7, -61.5, -39.5))
    items, _ = searched([inside, in_hole], area=parts)
    assert [one.id for one in items] == [inside["id"]]
    assert items.extra_fields["skipped"] == {"outside_area": [in_hole["id"]]}


def test_an_area_across_the_antimeridian_is_asked_for_in_two_boxes():
    fiji = AOI(shapely.union_all([box(179, -18, 180, -17), box(-180, -18, -179, -17)]))
    items, asked = searched([spectra("001", DAYS[0], place=box(179, -18, 179.5, -17))], area=fiji)
    assert len(items) == 1
    edges = {shapely.bounds(shapely.geometry.shape(body["intersects"]))[0] for body in asked}
    assert edges == {179.0, -180.0}


def test_cloud_cover_is_filtered_here_only_and_granules_that_tell_none_stay():
    covers = (0, 20, 80)
    features = [spectra("001", day, **{"eo:cloud_cover": n}) for day, n in zip(DAYS, covers, strict=False)]
    items, _ = searched([*features, spectra("001", DAYS[9])], max_cloud_cover=0)
    assert [one.properties.get("eo:cloud_cover") for one in items] == [0, None]
    assert len(items.extra_fields["skipped"]["too_cloudy"]) == 2


@pytest.mark.parametrize(("south", "north"), [(55, 56), (-60, -53)])
def test_an_area_beyond_the_orbit_is_refused_before_anything_is_asked(south, north):
    with (
        stac_stand_in(cmr([]), COLLECTIONS) as server,
        pytest.raises(NoItemsError, match=rf"latitude {south}.0000 to {north}.0000.*-52 to 52 degrees"),
    ):
        found(server, AOI(box(10, south, 11, north)))
    assert server.asked == []


@pytest.mark.parametrize(("south", "north"), [(51.5, 53), (-53, -51.5)])
def test_an_area_partly_beyond_the_orbit_is_searched(south, north):
    place = box(10, south, 11, north)
    items, _ = searched([spectra("001", DAYS[0], place=place)], area=AOI(place))
    assert len(items) == 1


def test_hosts_of_assets_and_masks_are_guarded():
    strange = spectra("001", DAYS[0], host="files.example.org")
    with pytest.raises(UnsafeReferenceError, match=r"host 'files.example.org' is not among"):
        searched([strange])
    hosts = (ARCHIVE, "files.example.org")
    assert len(searched([strange], allow_hosts=hosts)[0]) == 1
    with pytest.raises(UnsafeReferenceError, match=r"host 'masks.example.org' is not among"):
        searched([spectra("002", DAYS[0]), mask("003", DAYS[0], host="masks.example.org")])


def test_collections_of_older_deployments_are_found_by_their_older_names():
    features = [spectra("001", DAYS[0])]
    with stac_stand_in(cmr(features), ("HLSL30.v2.0", "EMITL2ARFL.v001")) as server:
        assert len(found(server)) == 1
        assert len(found(server, collection="EMITL2ARFL.v001")) == 1
        assert {body["collections"][0] for body in server.asked} == {"EMITL2ARFL.v001"}
    assert resolve_profile("lpcloud", collection="EMITL2ARFL.v001").collections == ("EMITL2ARFL_001",)


def test_one_version_can_be_asked_for_by_its_collection():
    features = [spectra("001", DAYS[0]), spectra("002", DAYS[0]), mask("002", DAYS[0])]
    items, asked = searched(features, collection="EMITL2ARFL_002")
    assert [one.properties["emit:product_version"] for one in items] == ["002"]
    assert items.items[0].properties["emit:mask_version"] == "002"
    assert "EMITL2ARFL_001" not in {body["collections"][0] for body in asked}


def test_a_catalog_without_emit_is_told_so():
    with (
        stac_stand_in(cmr([]), ("landsat", "naip")) as server,
        pytest.raises(InputError, match=r"no collection of EMIT reflectance. It offers: landsat, naip"),
    ):
        found(server)
    with pytest.raises(InputError, match=r"offers sentinel-2, not emit. Catalogs with emit: lpcloud"):
        search_items("earth-search", AREA, SEASON, sensor="emit")


def test_bands_and_asset_keys_of_other_sensors_are_refused():
    with pytest.raises(BandError, match=r"\['B04'\] are unknown to emit. Known bands: reflectance"):
        search_items("lpcloud", AREA, SEASON, sensor="emit", bands=("B04",))
    with pytest.raises(InputError, match="Leave --assets away"):
        search_items("lpcloud", AREA, SEASON, sensor="emit", assets={"reflectance": "data"})


def test_the_profile_names_the_collections_that_are_searched():
    from toolkit.catalog.emit import MASKS, SPECTRA

    assert PROFILES["lpcloud"].collections == SPECTRA.collections
    for product in (SPECTRA, MASKS):
        assert all(product.pattern.fullmatch(name) for name in product.collections)


def test_saved_items_are_a_catalog_too_and_masks_among_them_are_no_scenes(tmp_path):
    features = [spectra("002", DAYS[0]), mask("003", DAYS[0])]
    path = tmp_path / "all.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    items = search_items(path, AREA, SEASON, sensor="emit", allow_hosts=(ARCHIVE,))
    assert items.extra_fields["found"] == len(items) == 1
    assert items.items[0].properties["emit:mask_version"] == "003"

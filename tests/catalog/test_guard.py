"""References in catalogs: what may be opened, and what may not."""

from pathlib import Path

import pytest

from toolkit.catalog.guard import GDAL_OPTIONS, Guard
from toolkit.errors import UnsafeReferenceError

REMOTE = Guard("https://stac.example.org/v1", frozenset({"stac.example.org", "pixels.example.org"}))

HOSTILE = [
    "/etc/passwd",
    "file:///etc/passwd",
    "../../etc/passwd",
    "/vsicurl/https://pixels.example.org/a.tif",
    "/vsicurl?header_file=/etc/passwd&url=http://pixels.example.org",
    "vrt:///etc/passwd",
    "vrt://pixels.tif",
    "DERIVED_SUBDATASET:LOGAMPLITUDE:/etc/passwd",
    "GTIFF_RAW:/etc/passwd",
    "zip+https://pixels.example.org/a.zip!a.tif",
    "s3://bucket/key.tif",
    "ftp://pixels.example.org/a.tif",
    "HTTPS+unix://pixels.example.org/a.tif",
    "<VRTDataset></VRTDataset>",
    "https://user:password@pixels.example.org/a.tif",
    "https://pixels.example.org@evil.example.org/a.tif",
    "https://evil.example.org/a.tif",
    "https://pixels.example.org.evil.example.org/a.tif",
    "https://169.254.169.254/latest/meta-data",
    "http://localhost/a.tif",
    "https://pixels.example.org\\@evil.example.org/a.tif",
    "https://pixels.example.org/a\n.tif",
    "https://pixels.example.org/" + "a" * 5000,
    "",
]


@pytest.mark.parametrize("reference", HOSTILE)
def test_hostile_references_of_a_remote_catalog_are_refused(reference):
    with pytest.raises(UnsafeReferenceError, match="which is not read"):
        REMOTE.check(reference)


@pytest.mark.parametrize("reference", [text for text in HOSTILE if text])
def test_hostile_references_of_a_local_catalog_are_refused(tmp_path, reference):
    with pytest.raises(UnsafeReferenceError):
        Guard(str(tmp_path / "catalog.json")).check(reference)


def test_allowed_hosts_are_read_whatever_the_case():
    assert REMOTE.check("https://PIXELS.example.org/a.tif").endswith("a.tif")


def test_local_files_inside_the_catalogs_folder_are_read(tmp_path):
    guard = Guard(str(tmp_path / "catalog.json"))
    inside = tmp_path / "scenes" / "a.tif"
    assert guard.check(str(inside)) == str(inside)
    assert guard.check(f"file://{inside}") == str(inside)


def test_links_that_lead_out_of_the_folder_are_refused(tmp_path):
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "escape").symlink_to(tmp_path)
    with pytest.raises(UnsafeReferenceError, match="outside the catalog's folder"):
        Guard(str(tmp_path / "catalog" / "catalog.json")).check(
            str(tmp_path / "catalog" / "escape" / "a.tif")
        )


def test_relative_catalog_paths_work_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Guard("catalog.json").check(str(tmp_path / "a.tif")) == str(Path(tmp_path / "a.tif"))


def test_gdal_reads_with_limits_and_one_thread():
    assert GDAL_OPTIONS["GDAL_NUM_THREADS"] == "1"
    assert {
        "GDAL_HTTP_CONNECTTIMEOUT",
        "GDAL_HTTP_LOW_SPEED_TIME",
        "GDAL_HTTP_TIMEOUT",
    } <= GDAL_OPTIONS.keys()


LISTED = Guard(
    "https://stac.example.org/v1",
    frozenset({"stac.example.org", "*.cloudfront.net", "10.0.0.5", "store.corp"}),
    frozenset({"10.0.0.5", "store.corp", "169.254.169.254"}),
    frozenset({"eodata"}),
)


def test_a_star_stands_for_one_label_and_no_more():
    assert LISTED.check("https://d1nklfio.cloudfront.net/a.nc")
    for host in ("cloudfront.net", "a.b.cloudfront.net", "cloudfront.net.evil.org", "xcloudfront.net"):
        with pytest.raises(UnsafeReferenceError):
            LISTED.check(f"https://{host}/a.nc")


def test_buckets_are_allowed_by_name():
    assert LISTED.check("s3://eodata/Sentinel-2/a.jp2") == "s3://eodata/Sentinel-2/a.jp2"
    for reference in ("s3://other/a.jp2", "s3://eodata.evil/a.jp2", "s3:///a.jp2", "S3://other/x"):
        with pytest.raises(UnsafeReferenceError):
            LISTED.check(reference)


PRIVATE = [
    "10.0.0.5",
    "127.0.0.1",
    "192.168.1.1",
    "172.16.0.9",
    "::1",
    "fd00:ec2::254",
    "::ffff:10.0.0.1",
    "0.0.0.0",  # noqa: S104  # an address, no binding
]


@pytest.mark.parametrize("address", [*PRIVATE, "169.254.169.254", "fe80::1%eth0", "224.0.0.1", "100.64.0.1"])
def test_a_name_of_the_table_never_leads_into_a_private_network(address):
    with pytest.raises(UnsafeReferenceError, match="private network"):
        LISTED.check_address("stac.example.org", address)


@pytest.mark.parametrize("address", PRIVATE)
def test_a_host_that_the_user_named_may_be_private(address):
    LISTED.check_address("store.corp", address)
    LISTED.check_address("Store.Corp", address)


def test_a_named_host_does_not_lead_to_the_credentials_of_a_cloud_machine_unless_they_are_meant():
    with pytest.raises(UnsafeReferenceError):
        LISTED.check_address("store.corp", "169.254.169.254")
    LISTED.check_address("169.254.169.254", "169.254.169.254")


@pytest.mark.parametrize("address", ["52.218.0.1", "2600:1f00::1"])
def test_public_addresses_are_open_to_all_names(address):
    LISTED.check_address("stac.example.org", address)

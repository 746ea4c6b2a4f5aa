"""Signatures: made when a file is read, renewed when they are stale, sent to the right host only."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from urllib.parse import parse_qsl, quote, urlsplit

import numpy as np
import pytest
import rasterio
from planetary_computer.settings import Settings

from tests.scenes.test_blocks import grid, numbers, write
from tests.servers.faults import Fault, serve_with_faults
from toolkit.catalog import signing
from toolkit.catalog.access import Access
from toolkit.catalog.guard import Guard
from toolkit.catalog.signing import check_credentials, sign
from toolkit.catalog.transport import Patience
from toolkit.errors import CredentialsError, RemoteError
from toolkit.scenes.blocks import read_on_grid

BLOB = "sentinel2l2a01.blob.core.windows.net"
PIXELS = numbers(5, (256, 256))
QUICK = Patience(first_wait_s=0.01, silence_s=2)


@pytest.fixture(autouse=True)
def _no_tokens():
    signing._tokens.clear()
    Settings.get.cache_clear()
    yield
    signing._tokens.clear()
    Settings.get.cache_clear()


class TokenOffice:
    """Answers token requests as Planetary Computer does, by a clock of its own."""

    def __init__(self, *, life_s, clock_off=timedelta(0)):
        self.life, self.off, self.asked = timedelta(seconds=life_s), clock_off, []

    def __call__(self, handler):
        self.asked.append(handler.path)
        now = datetime.now(UTC) + self.off
        body = {"msft:expiry": (now + self.life).isoformat(), "token": f"sig=number{len(self.asked)}"}
        handler.send_response_only(HTTPStatus.OK)
        text = json.dumps(body).encode()
        handler.send_header("Date", format_datetime(now, usegmt=True))
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)


@pytest.fixture
def office(tmp_path, monkeypatch):
    """Start a token office: ``office(life_s=..., clock_off=...)``."""
    stops = []

    def start(**options):
        made = TokenOffice(**options)
        context = serve_with_faults(tmp_path, Fault(path="/token/", kind="call", call=made))
        server = context.__enter__()
        stops.append(context)
        monkeypatch.setenv("PC_SDK_SAS_URL", f"{server.url}/token")
        return made

    yield start
    for context in stops:
        context.__exit__(None, None, None)


def test_one_token_serves_all_files_of_a_container(office):
    asked = office(life_s=3600).asked
    for name in ("a.tif", "b.tif"):
        assert (
            sign(f"https://{BLOB}/c/{name}", "planetary-computer").url
            == f"https://{BLOB}/c/{name}?sig=number1"
        )
    sign(f"https://{BLOB}/other/a.tif", "planetary-computer")
    assert asked == ["/token/sentinel2l2a01/c", "/token/sentinel2l2a01/other"]


def test_a_token_near_its_end_is_replaced(office, monkeypatch):
    asked = office(life_s=3600).asked
    now = [1000.0]
    monkeypatch.setattr(signing.time, "monotonic", lambda: now[0])
    sign(f"https://{BLOB}/c/a.tif", "planetary-computer")
    now[0] += 0.75 * 3600
    sign(f"https://{BLOB}/c/a.tif", "planetary-computer")
    assert len(asked) == 1
    now[0] += 0.1 * 3600
    assert sign(f"https://{BLOB}/c/a.tif", "planetary-computer").url.endswith("sig=number2")


@pytest.mark.parametrize("hours", [-10, 10])
def test_a_wrong_clock_of_this_machine_changes_nothing(office, hours):
    asked = office(life_s=3600, clock_off=timedelta(hours=hours)).asked
    for _ in range(3):
        sign(f"https://{BLOB}/c/a.tif", "planetary-computer")
    assert len(asked) == 1


def test_other_hosts_get_no_token(office):
    asked = office(life_s=3600).asked
    assert sign("https://example.org/c/a.tif", "planetary-computer").url == "https://example.org/c/a.tif"
    assert asked == []


def test_an_office_that_gives_no_token_is_an_error_without_secrets(tmp_path, monkeypatch):
    with serve_with_faults(tmp_path, Fault(path="", kind="status", status=401)) as server:
        monkeypatch.setenv("PC_SDK_SAS_URL", f"{server.url}/token")
        with pytest.raises(RemoteError, match=r"gives no signature \(answer 401"):
            sign(f"https://{BLOB}/c/a.tif", "planetary-computer")


def test_pixels_are_exact_when_a_signature_expires_in_the_middle(office, tmp_path, monkeypatch):
    """The store is reached through a proxy on loopback, so that its real name stands in the reference."""
    asked = office(life_s=3600).asked
    write(tmp_path / "a.tif", PIXELS, block=64)
    signatures = []

    def only_the_newest(handler):
        signature = dict(parse_qsl(urlsplit(handler.path).query)).get("sig")
        signatures.append(signature)
        expired = signature == "number1" and len(signatures) > 1
        handler.send(*((HTTPStatus.FORBIDDEN, {}, b"expired") if expired else handler.answer()))

    with serve_with_faults(tmp_path, Fault(path="", kind="call", call=only_the_newest)) as store:
        monkeypatch.setenv("http_proxy", store.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        access = Access(Guard("pc", frozenset({BLOB})), signing="planetary-computer", patience=QUICK)
        found, _ = read_on_grid(f"http://{BLOB}/a.tif", grid(0, 0, 256, 256), access=access)
    np.testing.assert_array_equal(found, PIXELS)
    assert signatures[:3] == ["number1", "number1", "number2"]
    assert len(asked) == 2


def test_the_bearer_token_goes_to_the_archive_and_not_to_where_it_sends_us(tmp_path, monkeypatch):
    monkeypatch.setenv("EARTHDATA_TOKEN", "CANARY")
    write(tmp_path / "a.tif", PIXELS, block=64)
    seen = {"archive": [], "store": []}

    def store(handler):
        seen["store"].append(handler.headers.get("Authorization"))
        handler.send(*handler.answer())

    with serve_with_faults(tmp_path, Fault(path="", kind="call", call=store)) as target:

        def archive(handler):
            seen["archive"].append(handler.headers.get("Authorization"))
            place = target.url.replace("127.0.0.1", "localhost") + "/a.tif?Signature=x"
            handler.send(HTTPStatus.TEMPORARY_REDIRECT, {"Location": place}, b"")

        with serve_with_faults(tmp_path, Fault(path="", kind="call", call=archive)) as server:
            hosts = frozenset({"127.0.0.1", "localhost"})
            access = Access(Guard("lpcloud", hosts, hosts), signing="earthdata", patience=QUICK)
            found, _ = read_on_grid(f"{server.url}/a.tif", grid(0, 0, 256, 256), access=access)
    np.testing.assert_array_equal(found, PIXELS)
    assert seen["archive"] == ["Bearer CANARY"]  # later ranges go to the store at once
    assert set(seen["store"]) == {None}
    assert len(seen["store"]) >= 2


def signature_of(url, secret):
    """AWS signature version 4 of a presigned GET, after Amazon's description of it."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    query.pop("X-Amz-Signature")
    canonical = "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in sorted(query.items()))
    request = f"GET\n{parts.path}\n{canonical}\nhost:{parts.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
    _, day, region, service, end = query["X-Amz-Credential"].split("/")
    text = "\n".join(
        (
            "AWS4-HMAC-SHA256",
            query["X-Amz-Date"],
            f"{day}/{region}/{service}/{end}",
            hashlib.sha256(request.encode()).hexdigest(),
        )
    )
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, end):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def test_copernicus_jpeg2000_is_read_with_the_keys_of_the_user(tmp_path, monkeypatch):
    pytest.importorskip("obstore", reason="pip install 'cropglobe[cdse]'")
    (tmp_path / "eodata" / "S2").mkdir(parents=True)
    profile = {
        "driver": "JP2OpenJPEG", "width": 256, "height": 256, "count": 1, "dtype": "uint16",
        "crs": "EPSG:32631", "transform": grid(0, 0, 256, 256).affine, "quality": 100, "reversible": "YES",
        "blockxsize": 64, "blockysize": 64,
    }  # fmt: skip
    with rasterio.open(tmp_path / "eodata" / "S2" / "a b.jp2", "w", **profile) as file:
        file.write(PIXELS, 1)
    monkeypatch.setenv("CDSE_S3_ACCESS_KEY", "KEY")
    monkeypatch.setenv("CDSE_S3_SECRET_KEY", "CANARY")
    verified = []

    def check(handler):
        url = f"http://{handler.headers['Host']}{handler.path}"
        given = dict(parse_qsl(urlsplit(url).query))
        verified.append(given.get("X-Amz-Signature") == signature_of(url, "CANARY"))
        handler.send(*(handler.answer() if verified[-1] else (HTTPStatus.FORBIDDEN, {}, b"")))

    with serve_with_faults(tmp_path, Fault(path="", kind="call", call=check)) as server:
        monkeypatch.setenv("CDSE_S3_ENDPOINT", server.url)
        guard = Guard("cdse", frozenset({"127.0.0.1"}), frozenset({"127.0.0.1"}), frozenset({"eodata"}))
        access = Access(guard, signing="cdse", drivers=("JP2OpenJPEG",), patience=QUICK)
        found, _ = read_on_grid("s3://eodata/S2/a b.jp2", grid(0, 0, 256, 256), access=access)
    np.testing.assert_array_equal(found, PIXELS)
    assert verified
    assert all(verified)


@pytest.mark.parametrize(
    ("catalog", "variable"), [("cdse", "CDSE_S3_ACCESS_KEY"), ("lpcloud", "EARTHDATA_TOKEN")]
)
def test_a_missing_account_is_named_by_its_variable(monkeypatch, catalog, variable):
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(CredentialsError, match=f"environment variable {variable} is not set"):
        check_credentials(catalog)


def test_catalogs_without_account_need_none():
    check_credentials("earth-search")
    check_credentials("https://stac.example.org")

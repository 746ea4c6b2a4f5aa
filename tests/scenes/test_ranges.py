"""Remote files: exact bytes from servers that fail, or an error that says what to do; never a hang."""

import io
import threading
import time
from dataclasses import replace
from http import HTTPStatus

import numpy as np
import pytest
from rasterio.windows import Window

from tests.scenes.test_blocks import grid, numbers, write
from tests.servers.faults import Fault, serve_with_faults
from tests.servers.ranges import Handler, RangeServer, in_thread, serve
from toolkit.catalog.access import Access
from toolkit.catalog.guard import Guard
from toolkit.catalog.transport import Patience
from toolkit.errors import AssetError, RemoteError, UnsafeReferenceError
from toolkit.scenes.blocks import BlockCache, BlockRange, read_on_grid, spans_in_file
from toolkit.scenes.kept_blocks import KeptBlocks
from toolkit.scenes.opening import opened
from toolkit.scenes.ranges import HEADER_BYTES, RangeFile
from toolkit.scenes.stream import RangeStream
from toolkit.scenes.threads import LOCAL_THREADS, in_threads

LOOPBACK = frozenset({"127.0.0.1"})
ACCESS = Access(
    Guard("http://127.0.0.1", LOOPBACK, LOOPBACK), patience=Patience(first_wait_s=0.01, silence_s=0.5)
)
CONTENT = bytes(np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8))
PIXELS = numbers(3, (512, 512))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.bin").write_bytes(CONTENT)
    write(tmp_path / "a.tif", PIXELS, block=128)
    return tmp_path


def read_pixels(server, access=ACCESS):
    return read_on_grid(f"{server.url}/a.tif", grid(0, 0, 512, 512), access=access)


def test_any_part_is_read_as_from_a_disk(folder):
    rng = np.random.default_rng(1)
    with serve(folder) as server:
        remote, disk = RangeFile(f"{server.url}/a.bin", ACCESS), io.BytesIO(CONTENT)
        file = RangeStream(remote)
        for _ in range(200):
            place, size = rng.integers(0, 310_000), rng.integers(0, 40_000)
            assert (file.seek(place), file.read(size)) == (disk.seek(place), disk.read(size))
        assert file.seek(-10, io.SEEK_END) == len(CONTENT) - 10
        assert file.read() == CONTENT[-10:]
        assert remote.failure is None


def test_near_ranges_are_one_request_and_far_ones_two(folder):
    (folder / "big.bin").write_bytes(CONTENT * 4)
    with serve(folder) as server:
        file = RangeFile(f"{server.url}/big.bin", ACCESS)
        file.prefetch([(100_000, 120_000), (120_010, 140_000), (900_000, 950_000)])
        assert file.requests == 3  # header, two groups
        assert file.read(125_000, 130_000) == (CONTENT * 4)[125_000:130_000]
        assert file.read(900_000, 950_000) == (CONTENT * 4)[900_000:950_000]
        assert file.requests == 3
        assert server.bytes_sent == HEADER_BYTES + 40_000 + 50_000


def test_one_request_for_the_header_and_one_for_a_row_of_blocks(folder):
    wanted = np.zeros((512, 512), bool)
    wanted[:128] = True
    with serve(folder) as server:
        found, counts = read_on_grid(
            f"{server.url}/a.tif", grid(0, 0, 512, 512), wanted=wanted, access=ACCESS
        )
        assert len(server.log) == counts.requests == 2
        assert server.bytes_sent == counts.bytes
    np.testing.assert_array_equal(found[:128], PIXELS[:128])


TRANSIENT = {
    "429 with Retry-After": Fault(path="", kind="status", status=429, times=2, headers={"Retry-After": "1"}),
    "503": Fault(path="", kind="status", status=503, times=2),
    "500 in the middle": Fault(path="", kind="status", status=500, times=3, after=1),
    "reset": Fault(path="", kind="reset", times=2, after=1),
    "cut off": Fault(path="", kind="cut", times=2),
    "short range": Fault(path="", kind="short", times=2, after=1),
    "stall": Fault(path="", kind="stall", times=1, after=1, seconds=2.0),
    "not there yet": Fault(path="", kind="status", status=404, times=1),
    "damaged on the way": Fault(path="", kind="spoilt", times=1, after=1),
    "zeros": Fault(path="", kind="zeros", times=1, after=1),
}


@pytest.mark.parametrize("name", TRANSIENT)
def test_pixels_are_exact_when_a_server_fails_for_a_while(folder, name):
    fault = replace(TRANSIENT[name])
    with serve_with_faults(folder, fault) as server:
        found, _ = read_pixels(server)
    np.testing.assert_array_equal(found, PIXELS)
    assert fault.seen > (fault.times or 0), "the fault never struck"


def test_a_server_is_asked_again_no_sooner_than_it_wishes(folder):
    with serve_with_faults(folder, replace(TRANSIENT["429 with Retry-After"])) as server:
        read_pixels(server)
        waits = np.diff(server.times[:3])
    assert (waits >= 1.0).all()


LASTING = {
    "asset_missing": Fault(path="", kind="status", status=404),
    "forbidden": Fault(path="", kind="status", status=403),
    "busy": Fault(path="", kind="status", status=503),
    "login_page": Fault(path="", kind="html"),
    "no_answer": Fault(path="", kind="reset"),
    "damaged": Fault(path="", kind="spoilt", after=1),
}


@pytest.mark.parametrize("reason", LASTING)
def test_what_lasts_is_an_error_with_a_reason_in_bounded_time(folder, reason):
    start = time.monotonic()
    with serve_with_faults(folder, replace(LASTING[reason])) as server:
        with pytest.raises(AssetError, match=r"a\.tif' could not be read") as caught:
            read_pixels(server)
        assert caught.value.reason == reason
        assert len(server.times) <= 10
    assert time.monotonic() - start < 5


def test_a_stall_without_end_is_given_up(folder):
    start = time.monotonic()
    patience = Patience(attempts=2, first_wait_s=0.01, silence_s=0.4)
    with (
        serve_with_faults(folder, Fault(path="", kind="stall", seconds=1.5)) as server,
        pytest.raises(AssetError, match="tried 2 times") as caught,
    ):
        read_pixels(server, replace(ACCESS, patience=patience))
    assert caught.value.reason == "no_answer"
    assert time.monotonic() - start < 5


def test_a_quota_used_up_is_not_waited_for(folder):
    fault = Fault(path="", kind="status", status=429, headers={"Retry-After": "86400"})
    with serve_with_faults(folder, fault) as server:
        with pytest.raises(AssetError, match="86400 s") as caught:
            read_pixels(server)
        assert len(server.times) == 1
    assert caught.value.reason == "busy"


def test_a_file_that_works_again_is_read_in_the_same_process(folder):
    """GDAL's own reader remembers a failure to open as long as the process lives."""
    fault = Fault(path="", kind="status", status=404)
    with serve_with_faults(folder, fault) as server:
        with pytest.raises(AssetError):
            read_pixels(server)
        server.faults.clear()
        np.testing.assert_array_equal(read_pixels(server)[0], PIXELS)


def test_a_file_replaced_while_it_is_read_is_an_error_not_a_mixture(folder):
    def replace_then_answer(handler):
        write(folder / "a.tif", PIXELS[::-1].copy(), block=128)
        handler.send(*handler.answer())

    fault = Fault(path="", kind="call", call=replace_then_answer, after=1, times=1)
    with (
        serve_with_faults(folder, fault) as server,
        pytest.raises(AssetError, match="replaced while it was read") as caught,
    ):
        read_pixels(server)
    assert caught.value.reason == "changed"


def quarters(server, cache):
    """Read the four quarters of the file one after the other, as tiles do; pixels of each, and requests."""
    for y in (0, 256):
        for x in (0, 256):
            found, counts = read_on_grid(
                f"{server.url}/a.tif", grid(y, x, 256, 256), access=ACCESS, cache=cache
            )
            yield (y, x), found, counts.requests


def test_a_header_is_asked_for_once_by_all_tiles_of_a_worker(folder, tmp_path):
    with serve(folder) as server:
        requests = []
        for (y, x), found, asked in quarters(server, BlockCache(KeptBlocks(tmp_path))):
            np.testing.assert_array_equal(found, PIXELS[y : y + 256, x : x + 256])
            requests.append(asked)
        starts = [one.range for one in server.log if one.range.startswith("bytes=0-")]
    assert requests == [2, 1, 1, 1]
    assert len(starts) == 1


def test_a_file_replaced_between_two_tiles_is_read_anew(folder, tmp_path):
    with serve(folder) as server:
        reads = quarters(server, BlockCache(KeptBlocks(tmp_path)))
        next(reads)
        write(folder / "a.tif", PIXELS[::-1].copy(), block=128)
        for (y, x), found, _ in reads:
            np.testing.assert_array_equal(found, PIXELS[::-1][y : y + 256, x : x + 256])


@pytest.mark.parametrize("tag", [None, 'W/"a"'])
def test_a_header_without_a_strong_etag_is_not_kept(folder, tag, tmp_path):
    class Weak(Handler):
        def send(self, status, headers, body, **options):
            del headers["ETag"]
            super().send(status, headers | ({"ETag": tag} if tag else {}), body, **options)

    with RangeServer(folder, Weak) as server, in_thread(server):
        assert [asked for _, _, asked in quarters(server, BlockCache(KeptBlocks(tmp_path)))] == [2, 2, 2, 2]


def test_small_files_are_taken_whole_from_servers_without_ranges_and_large_ones_refused(folder):
    def whole(handler):
        path = folder / handler.path.lstrip("/")
        handler.send(HTTPStatus.OK, {}, path.read_bytes())

    (folder / "large.tif").write_bytes(bytes(2_000_000))
    with serve_with_faults(folder, Fault(path="", kind="call", call=whole)) as server:
        np.testing.assert_array_equal(read_pixels(server)[0], PIXELS)
        with pytest.raises(AssetError) as caught:
            read_on_grid(f"{server.url}/large.tif", grid(0, 0, 5, 5), access=ACCESS)
    assert caught.value.reason == "no_ranges"


def test_redirects_to_allowed_hosts_are_followed_and_others_refused(folder):
    with serve(folder) as target:

        def away(place):
            def answer(handler):
                handler.send(HTTPStatus.FOUND, {"Location": place}, b"")

            return answer

        good = Fault(path="", kind="call", call=away(f"{target.url}/a.tif"))
        with serve_with_faults(folder, good) as server:
            np.testing.assert_array_equal(read_pixels(server)[0], PIXELS)
            assert len(server.times) == 1  # later ranges go where it leads
        for place in ("http://169.254.169.254/latest", "file:///etc/passwd", "http://localhost:1/a.tif"):
            bad = Fault(path="", kind="call", call=away(place))
            with serve_with_faults(folder, bad) as server, pytest.raises(UnsafeReferenceError):
                read_pixels(server)


def test_redirects_without_end_are_an_error(folder):
    def again(handler):
        handler.send(HTTPStatus.FOUND, {"Location": handler.path}, b"")

    fault = Fault(path="", kind="call", call=again)
    with serve_with_faults(folder, fault) as server, pytest.raises(RemoteError, match="redirects more than"):
        read_pixels(server)


def test_a_name_that_leads_into_a_private_network_is_refused_before_anything_is_asked(folder):
    unnamed = Access(Guard("x", frozenset({"localhost"})))
    with serve(folder) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        with pytest.raises(UnsafeReferenceError, match="private network"):
            read_on_grid(f"{url}/a.tif", grid(0, 0, 5, 5), access=unnamed)
        assert server.log == []


def test_a_virtual_raster_from_a_server_reads_nothing_else(folder):
    secret = folder / "secret.tif"
    write(secret, PIXELS, block=128)
    (folder / "b.tif").write_text(
        '<VRTDataset rasterXSize="512" rasterYSize="512"><VRTRasterBand dataType="UInt16" band="1">'
        f"<SimpleSource><SourceFilename>{secret}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with serve(folder) as server, pytest.raises(AssetError) as caught:
        read_on_grid(f"{server.url}/b.tif", grid(0, 0, 5, 5), access=ACCESS)
    assert caught.value.reason == "damaged"


def test_a_file_built_to_exhaust_memory_is_refused_before_it_is_decoded(folder):
    import rasterio

    with rasterio.open(
        folder / "bomb.tif", "w", driver="GTiff", width=8192, height=8192, count=1, dtype="uint16",
        tiled=True, blockxsize=8192, blockysize=8192, compress="deflate", sparse_ok=True,
    ):  # fmt: skip
        pass
    with serve(folder) as server, pytest.raises(AssetError, match="128 MiB a block") as caught:
        read_on_grid(f"{server.url}/bomb.tif", grid(0, 0, 5, 5), access=ACCESS)
    assert caught.value.reason == "too_large"


def test_errors_hold_no_signature(folder):
    fault = Fault(path="", kind="status", status=403)
    with serve_with_faults(folder, fault) as server, pytest.raises(AssetError) as caught:
        read_on_grid(f"{server.url}/a.tif?sig=SECRET&se=2026", grid(0, 0, 5, 5), access=ACCESS)
    assert "SECRET" not in str(caught.value)


def test_no_more_threads_hold_decoded_pixels_than_there_are_cores_and_all_fetch_at_once(folder):
    most, at_once, counting = 0, 0, threading.Lock()

    def read(uri):
        nonlocal most, at_once
        with opened(uri, ACCESS) as file:
            spans = spans_in_file(file.pixels, BlockRange(0, 1, 0, 1))
            with file.read(Window(0, 0, 16, 16), spans):
                with counting:
                    at_once += 1
                    most = max(most, at_once)
                time.sleep(0.01)
                with counting:
                    at_once -= 1
            return len(spans)

    with serve(folder) as server:
        assert sum(in_threads(read, [f"{server.url}/a.tif"] * 32, remote=True)) == 32
    assert 0 < most <= LOCAL_THREADS


def test_a_thread_that_fails_with_decoded_pixels_lets_others_decode(folder):
    with serve(folder) as server:
        for _ in range(LOCAL_THREADS + 1):
            with (
                opened(f"{server.url}/a.tif", ACCESS) as file,
                pytest.raises(FileNotFoundError),
                file.read(Window(0, 0, 16, 16), [(0, 16)]),
            ):
                (folder / "gone").read_bytes()
        np.testing.assert_array_equal(read_pixels(server)[0], PIXELS)

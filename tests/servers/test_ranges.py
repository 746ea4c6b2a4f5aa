"""The range server answers as object stores do, and its log is the truth."""

from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

import pytest
import requests

from tests.servers.ranges import select, serve

CONTENT = bytes(range(100))


@pytest.fixture
def served(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.bin").write_bytes(b"outside")
    (tmp_path / "in" / "a b.tif").write_bytes(CONTENT)
    with serve(tmp_path / "in") as server:
        yield server


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        (None, HTTPStatus.OK, slice(0, 100)),
        ("bytes=0-0", HTTPStatus.PARTIAL_CONTENT, slice(0, 1)),
        ("bytes=10-19", HTTPStatus.PARTIAL_CONTENT, slice(10, 20)),
        ("bytes=90-", HTTPStatus.PARTIAL_CONTENT, slice(90, 100)),
        ("bytes=90-500", HTTPStatus.PARTIAL_CONTENT, slice(90, 100)),
        ("bytes=-7", HTTPStatus.PARTIAL_CONTENT, slice(93, 100)),
        ("bytes=-500", HTTPStatus.PARTIAL_CONTENT, slice(0, 100)),
        ("bytes=100-", HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, slice(0, 0)),
        ("bytes=-0", HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, slice(0, 0)),
        ("bytes=20-10", HTTPStatus.OK, slice(0, 100)),
        ("bytes=0-1,5-6", HTTPStatus.OK, slice(0, 100)),
        ("bytes=-", HTTPStatus.OK, slice(0, 100)),
        ("rows=1-2", HTTPStatus.OK, slice(0, 100)),
    ],
)
def test_a_range_is_answered_with_its_bytes_or_by_the_rules(asked, status, part):
    assert select(asked, 100) == (status, part)


def test_part_of_a_file_comes_with_its_place_and_the_files_tag(served):
    url = f"{served.url}/a%20b.tif"
    part = requests.get(url, headers={"Range": "bytes=10-19"}, timeout=5)
    assert (part.status_code, part.content) == (206, CONTENT[10:20])
    assert part.headers["Content-Range"] == "bytes 10-19/100"
    whole = requests.get(url, timeout=5)
    assert (whole.status_code, whole.content) == (200, CONTENT)
    assert whole.headers["ETag"] == part.headers["ETag"]


def test_a_changed_file_has_another_tag(served):
    before = requests.head(f"{served.url}/a%20b.tif", timeout=5).headers["ETag"]
    (served.folder / "a b.tif").write_bytes(CONTENT + b"more")
    assert requests.head(f"{served.url}/a%20b.tif", timeout=5).headers["ETag"] != before


def test_head_tells_the_size_and_sends_nothing(served):
    head = requests.head(f"{served.url}/a%20b.tif", timeout=5)
    assert head.headers["Content-Length"] == "100"
    assert head.headers["Accept-Ranges"] == "bytes"
    assert served.bytes_sent == 0


def test_a_range_past_the_end_is_refused_with_the_size(served):
    answer = requests.get(f"{served.url}/a%20b.tif", headers={"Range": "bytes=100-"}, timeout=5)
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */100")


@pytest.mark.parametrize("path", ["none.tif", "%2e%2e/secret.bin", "..%2Fsecret.bin", ""])
def test_what_is_no_file_in_the_folder_is_not_found(served, path):
    assert requests.get(f"{served.url}/{path}", timeout=5).status_code == 404


def test_every_request_is_in_the_log_with_the_bytes_it_cost(served):
    with requests.Session() as session, ThreadPoolExecutor(8) as pool:

        def ask(start):
            header = {"Range": f"bytes={start}-{start + 4}"}
            return session.get(f"{served.url}/a%20b.tif", headers=header, timeout=5).content

        found = list(pool.map(ask, range(0, 100, 5)))
    assert b"".join(found) == CONTENT
    assert served.bytes_sent == 100
    assert {(one.method, one.path, one.status, one.sent) for one in served.log} == {
        ("GET", "/a%20b.tif", 206, 5)
    }
    assert sorted(one.range for one in served.log) == sorted(f"bytes={n}-{n + 4}" for n in range(0, 100, 5))


def test_a_kept_connection_gets_no_answer_from_a_server_that_stopped(tmp_path):
    (tmp_path / "a.bin").write_bytes(CONTENT)
    with requests.Session() as session:
        with serve(tmp_path) as server:
            assert session.get(f"{server.url}/a.bin", timeout=5).content == CONTENT
        with pytest.raises(requests.ConnectionError):
            session.get(f"{server.url}/a.bin", timeout=5)

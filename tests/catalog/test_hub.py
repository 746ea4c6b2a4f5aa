"""Files of the Hub: listed at one commit, taken up where they broke off, checked before they count."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.catalog.hub_stand_in import COMMIT, HubServer, git_sha1, hub_stand_in
from tests.servers.faults import Fault, FaultServer
from toolkit.catalog.downloads import bytes_missing, fetch_file, part_of
from toolkit.catalog.hub import ENDPOINT, Hub, HubFile, HubListing, hub, list_files
from toolkit.catalog.transport import Patience
from toolkit.errors import InputError, RemoteError, StorageError, UnsafeReferenceError

NAME = "x-ytong/CropGlobe"
LARGE = "for_CropNet/median_S2_FRA_month1-12_day5.npz"
QUICK = Patience(attempts=3, first_wait_s=0.01, longest_wait_s=0.02)
CONTENT = np.random.default_rng(0).bytes(400_000)

Stand = tuple[HubServer, FaultServer]


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    folder = tmp_path / "served"
    (folder / "for_CropNet").mkdir(parents=True)
    (folder / LARGE).write_bytes(CONTENT)
    (folder / "README.md").write_text("Crops & fields, 100 %")
    (folder / "a file #1.txt").write_text("odd names")
    with hub_stand_in(folder) as servers:
        yield servers


def source(stand: Stand, *, patience: Patience = QUICK) -> Hub:
    return hub(stand[0].url, allow_hosts=("localhost",), patience=patience)


def listed(stand: Stand, path: str = LARGE) -> tuple[HubListing, HubFile]:
    listing = list_files(source(stand), NAME)
    return listing, next(file for file in listing.files if file.path == path)


def fetch(stand: Stand, folder: Path, path: str = LARGE) -> bool:
    return fetch_file(source(stand), *listed(stand, path), folder)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def ranges(stand: Stand) -> list[str | None]:
    return [request.range for request in stand[1].log]


@pytest.mark.parametrize("page", [1000, 1])
def test_files_are_listed_with_their_checksums_from_all_pages(stand: Stand, page: int) -> None:
    stand[0].page = page
    listing = list_files(source(stand), NAME)
    assert listing.commit == COMMIT
    assert [file.path for file in listing.files] == ["README.md", "a file #1.txt", LARGE]
    small, _, large = listing.files
    assert (small.sha256, small.git_sha1) == (None, git_sha1(b"Crops & fields, 100 %"))
    assert (large.sha256, large.size) == (hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


@pytest.mark.parametrize("path", ["README.md", "a file #1.txt", LARGE])
def test_a_file_arrives_as_it_is(stand: Stand, tmp_path: Path, path: str) -> None:
    told: list[int] = []
    listing, file = listed(stand, path)
    assert fetch_file(source(stand), listing, file, tmp_path / "out", progress=told.append)
    assert (tmp_path / "out" / path).read_bytes() == (stand[0].folder / path).read_bytes()
    assert names(tmp_path / "out") == [Path(path).name]
    assert told[-1] == file.size
    assert bytes_missing(file, tmp_path / "out") == 0


def test_a_file_that_is_there_is_not_asked_for_again(stand: Stand, tmp_path: Path) -> None:
    assert fetch(stand, tmp_path / "out")
    asked = len(stand[1].log)
    assert not fetch(stand, tmp_path / "out")
    assert len(stand[1].log) == asked


@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_a_connection_that_breaks_goes_on_from_there(stand: Stand, tmp_path: Path, kind: str) -> None:
    stand[1].faults.append(Fault(path="npz", kind=kind, times=1))
    assert fetch(stand, tmp_path / "out")
    assert (tmp_path / "out" / LARGE).read_bytes() == CONTENT
    if kind == "cut":  # after a reset, what was on its way may be lost as well
        assert ranges(stand) == [None, "bytes=200000-"]
        assert stand[1].log[1].status == HTTPStatus.PARTIAL_CONTENT


def test_a_later_run_takes_up_what_an_earlier_one_left(stand: Stand, tmp_path: Path) -> None:
    stand[1].faults.append(Fault(path="npz", kind="cut", times=1))
    stand[1].faults.append(Fault(path="npz", kind="status"))
    with pytest.raises(
        RemoteError, match=r"does not arrive .*answers 503; 200000 of 400000 .*Run again to go on"
    ):
        fetch(stand, tmp_path / "out")
    listing, file = listed(stand)
    assert names(tmp_path / "out") == [part_of(file, tmp_path / "out").name]
    assert bytes_missing(file, tmp_path / "out") == len(CONTENT) - 200_000
    stand[1].faults.clear()
    sent = stand[1].bytes_sent
    assert fetch_file(source(stand), listing, file, tmp_path / "out")
    assert stand[1].bytes_sent - sent == len(CONTENT) - 200_000
    assert (tmp_path / "out" / LARGE).read_bytes() == CONTENT
    assert names(tmp_path / "out") == [Path(LARGE).name]


@pytest.mark.parametrize("kind", ["spoilt", "zeros"])
def test_a_corrupted_body_is_refused_and_nothing_is_kept(stand: Stand, tmp_path: Path, kind: str) -> None:
    stand[1].faults.append(Fault(path="npz", kind=kind))
    wanted = hashlib.sha256(CONTENT).hexdigest()
    with pytest.raises(RemoteError, match=rf"arrived damaged: its checksum is \w+, listed is {wanted}"):
        fetch(stand, tmp_path / "out")
    assert names(tmp_path / "out") == []


def test_a_small_file_is_checked_by_its_name_in_git(stand: Stand, tmp_path: Path) -> None:
    listing, file = listed(stand, "README.md")
    (stand[0].folder / "README.md").write_text("Crops & fields, 101 %")
    with pytest.raises(RemoteError, match="arrived damaged"):
        fetch_file(source(stand), listing, file, tmp_path / "out")


@pytest.mark.parametrize("left", [b"\1" * 1000, b"\1" * len(CONTENT), b"\1" * 500_000])
def test_a_wrong_beginning_is_thrown_away_once(stand: Stand, tmp_path: Path, left: bytes) -> None:
    _, file = listed(stand)
    part = part_of(file, tmp_path / "out")
    part.parent.mkdir(parents=True)
    part.write_bytes(left)
    assert fetch(stand, tmp_path / "out")
    assert (tmp_path / "out" / LARGE).read_bytes() == CONTENT


def test_a_server_without_ranges_sends_all_again(stand: Stand, tmp_path: Path) -> None:
    _, file = listed(stand)
    part = part_of(file, tmp_path / "out")
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:1000])

    def whole(handler: Any) -> None:
        handler.send(HTTPStatus.OK, {}, CONTENT)

    stand[1].faults.append(Fault(path="npz", kind="call", call=whole))
    assert fetch(stand, tmp_path / "out")
    assert (tmp_path / "out" / LARGE).read_bytes() == CONTENT


def test_a_login_page_is_no_file(stand: Stand, tmp_path: Path) -> None:
    stand[1].faults.append(Fault(path="npz", kind="html"))
    with pytest.raises(RemoteError, match=r"does not arrive|arrived damaged"):
        fetch(stand, tmp_path / "out")


def test_more_than_listed_is_not_kept(stand: Stand, tmp_path: Path) -> None:
    def endless(handler: Any) -> None:
        handler.send(HTTPStatus.OK, {}, CONTENT * 2)

    stand[1].faults.append(Fault(path="npz", kind="call", call=endless))
    with pytest.raises(RemoteError, match="more than the 400000 bytes listed arrive"):
        fetch(stand, tmp_path / "out")
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.part")) == 0


def test_busy_servers_and_refused_signatures_are_asked_again(stand: Stand, tmp_path: Path) -> None:
    stand[1].faults += [Fault(path="npz", kind="status", times=1, status=code) for code in (503, 403)]
    assert fetch(stand, tmp_path / "out")


def test_another_file_of_that_name_is_never_overwritten(stand: Stand, tmp_path: Path) -> None:
    target = tmp_path / "out" / LARGE
    target.parent.mkdir(parents=True)
    for content in (b"mine", b"\0" * len(CONTENT)):
        target.write_bytes(content)
        with pytest.raises(StorageError, match="exists and is not the file of the hub"):
            fetch(stand, tmp_path / "out")
        assert target.read_bytes() == content


def test_a_disk_that_refuses_is_told(stand: Stand, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="cannot be written"):
        fetch(stand, tmp_path / "out")


def test_a_missing_data_set_is_named(stand: Stand) -> None:
    with pytest.raises(
        RemoteError, match=r"no data set x-ytong/Cropglub, or it is not public \(401, RepoNotFound"
    ):
        list_files(source(stand), "x-ytong/Cropglub")


def test_a_missing_revision_is_named(stand: Stand) -> None:
    with pytest.raises(RemoteError, match=r"no such revision.*Use main"):
        list_files(source(stand), NAME, revision="v9")


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (HTTPStatus.FORBIDDEN, "GatedRepo", "may not be read.*Accept its terms.*HF_TOKEN"),
        (HTTPStatus.NOT_FOUND, "", "no data set"),
        (HTTPStatus.IM_A_TEAPOT, "", "answers 418"),
    ],
)
def test_refusals_say_what_to_do(stand: Stand, status: HTTPStatus, code: str, message: str) -> None:
    stand[0].refuse = status, {"X-Error-Code": code} if code else {}
    with pytest.raises(RemoteError, match=message):
        list_files(source(stand), NAME)


def test_a_file_that_is_gone_is_named(stand: Stand, tmp_path: Path) -> None:
    listing, file = listed(stand)
    with pytest.raises(RemoteError, match="is gone"):
        fetch_file(source(stand), listing, replace(file, path="gone.npz"), tmp_path / "out")


def test_what_is_no_hub_is_told(stand: Stand, tmp_path: Path) -> None:
    for content in (b"<html>Please log in</html>", b"[]", b'{"sha": "main"}'):
        page = tmp_path / "elsewhere" / "api/datasets" / NAME / "revision" / "main"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_bytes(content)
        stand[1].folder = tmp_path / "elsewhere"
        with pytest.raises(RemoteError, match="asks for a login answers so"):
            list_files(hub(stand[1].url, patience=QUICK), NAME)


@pytest.mark.parametrize(
    "changed",
    [
        {"path": "../outside.npz"},
        {"path": "/etc/outside.npz"},
        {"path": "a/../../outside.npz"},
        {"path": "C:\\outside.npz"},
        {"path": ""},
        {"path": None},
        {"size": -1},
        {"size": "many"},
        {"oid": "no checksum"},
        {"lfs": {"oid": "no checksum"}},
    ],
)
def test_a_list_with_paths_that_lead_out_or_without_checksums_is_refused(
    stand: Stand, changed: dict[str, object]
) -> None:
    stand[0].changes["README.md"] = changed
    with pytest.raises(RemoteError, match="needed: a path inside the data set, a size and a checksum"):
        list_files(source(stand), NAME)


def test_a_list_that_does_not_end_is_given_up(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    stand[0].page = 0
    with pytest.raises(RemoteError, match="does not end"):
        list_files(source(stand), NAME)


def test_redirects_to_hosts_nobody_agreed_to_are_refused(stand: Stand, tmp_path: Path) -> None:
    listing, file = listed(stand)
    with pytest.raises(UnsafeReferenceError, match="'localhost' is not among those allowed"):
        fetch_file(hub(stand[0].url, patience=QUICK), listing, file, tmp_path / "out")


def test_the_token_is_never_sent_unencrypted_nor_to_the_store(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert fetch(stand, tmp_path / "out")
    assert set(stand[0].tokens) == {None}
    assert hub().headers["Authorization"] == "Bearer hf_secret"


def test_a_mirror_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example.org/")
    assert hub().endpoint == "https://mirror.example.org"
    assert hub("https://other.example.org").endpoint == "https://other.example.org"
    assert hub().guard.check("https://mirror.example.org/a")
    monkeypatch.delenv("HF_ENDPOINT")
    assert hub().endpoint == ENDPOINT


@pytest.mark.parametrize(
    "host", ["cdn-lfs.hf.co", "cas-bridge.xethub.hf.co", "us.aws.cdn.hf.co", "us.gcp.cdn.hf.co"]
)
def test_files_may_come_from_the_hosts_of_the_hub_and_no_other(host: str) -> None:
    assert Hub().guard.check(f"https://{host}/a")
    for other in (f"{host}.evil.org", "hf.co.evil.org", "evilhf.co"):
        with pytest.raises(UnsafeReferenceError):
            Hub().guard.check(f"https://{other}/a")


@pytest.mark.parametrize(
    "address", ["ftp://hub.example.org", "hub.example.org", "https://", "https://a/?b=c"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="allowed: https://HOST"):
        hub(address)


@pytest.mark.parametrize("name", ["CropGlobe", "a/b/c", "../x", "a/b?c"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="allowed: OWNER/NAME"):
        list_files(Hub(), name)

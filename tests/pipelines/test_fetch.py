"""Fetch: what was asked for is in the folder, whole, and can be trained on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from pipelines import fetch
from pipelines.cli import cropglobe, main
from pipelines.learn_config import FetchRequest
from tests.catalog.hub_stand_in import COMMIT, HubServer, hub_stand_in
from tests.servers.faults import Fault, FaultServer
from toolkit.catalog.transport import Patience
from toolkit.errors import InputError, RemoteError, StorageError
from toolkit.learn.cropglobe_files import load_cropglobe

Stand = tuple[HubServer, FaultServer]
QUICK = Patience(attempts=2, first_wait_s=0.01)
FRANCE, BELGIUM, USA = (
    "for_CropNet/median_S2_FRA_month1-12_day5.npz",
    "for_CropNet/median_S2_BEL_month1-12_day5.npz",
    "Median/median_S2_USA_month5-11_day5.npz",
)


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set in the folders of the published one."""
    folder = tmp_path_factory.mktemp("packaged")
    rng = np.random.default_rng(0)
    for path, n_steps in {
        FRANCE: 73,
        BELGIUM: 73,
        USA: 43,
        FRANCE.replace("for_CropNet", "Median").replace("1-12", "5-11"): 43,
    }.items():
        (folder / path).parent.mkdir(exist_ok=True)
        fea = 1000 + 3000 * rng.random((8, 10, n_steps))
        np.savez(folder / path, fea=fea.astype(np.uint16), lbl=np.arange(8) % 7)
    (folder / "AlphaEarth").mkdir()
    np.savez(
        folder / "AlphaEarth" / "alphaearth_embedding_FRA.npz", fea=rng.random((8, 64)), lbl=np.arange(8) % 7
    )
    (folder / "README.md").write_text("CropGlobe")
    (folder / ".gitattributes").write_text("*.npz filter=lfs")
    return folder


@pytest.fixture
def stand(packaged: Path) -> Iterator[Stand]:
    with hub_stand_in(packaged) as servers:
        yield servers


def request(stand: Stand, out: Path, **values: object) -> FetchRequest:
    given = {"data_set": "cropglobe", "out": out, "endpoint": stand[0].url, "allow_hosts": ("localhost",)}
    return FetchRequest.make({**given, **values})


def fetched(folder: Path) -> list[str]:
    own = {"fetched.json", "run.yaml"}
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in paths if path not in own)


def test_countries_asked_for_arrive_and_can_be_read(stand: Stand, tmp_path: Path) -> None:
    result = fetch.run(request(stand, tmp_path, countries=("FRA", "bel")), progress=False)
    assert fetched(tmp_path) == ["README.md", BELGIUM, FRANCE]
    assert (result.n_new, len(result.files)) == (3, 3)
    samples = load_cropglobe(tmp_path, ["FRA", "BEL"])
    assert len(samples) == 16
    assert [part["scale"] for part in samples.provenance["joined"]] == [10_000, 10_000]


def test_by_default_each_country_has_its_best_series(stand: Stand, tmp_path: Path) -> None:
    fetch.run(request(stand, tmp_path), progress=False)
    assert fetched(tmp_path) == [USA, "README.md", BELGIUM, FRANCE]


def test_all_files_may_be_asked_for(stand: Stand, tmp_path: Path, packaged: Path) -> None:
    fetch.run(request(stand, tmp_path / "all", files="all"), progress=False)
    assert fetched(tmp_path / "all") == fetched(packaged)
    fetch.run(request(stand, tmp_path / "one", files="all", countries=("FRA",)), progress=False)
    assert {path.split("/")[0] for path in fetched(tmp_path / "one")} == {
        *("AlphaEarth", "Median", "README.md", "for_CropNet")
    }
    assert all("FRA" in path or path == "README.md" for path in fetched(tmp_path / "one"))


def test_the_record_names_commit_and_checksums_of_all_runs(stand: Stand, tmp_path: Path) -> None:
    fetch.run(request(stand, tmp_path, countries=("FRA",)), progress=False)
    result = fetch.run(request(stand, tmp_path, countries=("BEL",)), progress=False)
    assert result.n_new == 1
    record = json.loads((tmp_path / "fetched.json").read_text())
    assert record["repository"] == "x-ytong/CropGlobe"
    assert sorted(record["files"]) == ["README.md", BELGIUM, FRANCE]
    assert record["files"][FRANCE]["commit"] == COMMIT
    assert len(record["files"][FRANCE]["sha256"]) == 64
    assert len(record["files"]["README.md"]["git_sha1"]) == 40
    assert yaml.safe_load((tmp_path / "run.yaml").read_text())["countries"] == ["BEL"]


def test_a_newer_version_replaces_what_was_fetched_and_nothing_else(
    stand: Stand, tmp_path: Path, packaged: Path
) -> None:
    asked = request(stand, tmp_path, countries=("BEL",))
    fetch.run(asked, progress=False)
    (packaged / "README.md").write_text("CropGlobe, corrected")
    try:
        assert fetch.run(asked, progress=False).n_new == 1
        assert (tmp_path / "README.md").read_text() == "CropGlobe, corrected"
        (tmp_path / "README.md").write_text("notes of my own")
        with pytest.raises(StorageError, match="nothing is overwritten"):
            fetch.run(asked, progress=False)
    finally:
        (packaged / "README.md").write_text("CropGlobe")
    assert (tmp_path / "README.md").read_text() == "notes of my own"


def test_a_spoilt_record_is_written_anew(stand: Stand, tmp_path: Path) -> None:
    for text in ("no JSON", "[]", '{"files": 3}', '{"files": {"README.md": 3}}'):
        (tmp_path / "fetched.json").write_text(text)
        fetch.run(request(stand, tmp_path, countries=("BEL",)), progress=False)
        assert len(json.loads((tmp_path / "fetched.json").read_text())["files"]) == 2


def test_a_run_that_ends_early_is_taken_up(stand: Stand, tmp_path: Path) -> None:
    stand[1].faults[:] = [Fault(path="FRA", kind="cut", times=1), Fault(path="FRA", kind="status")]
    asked = request(stand, tmp_path, countries=("BEL", "FRA"))
    with pytest.raises(RemoteError, match="Run again to go on"):
        fetch.run(asked, progress=False, patience=QUICK)
    assert BELGIUM in fetched(tmp_path)
    assert FRANCE not in fetched(tmp_path)
    stand[1].faults.clear()
    stand[1].log.clear()
    assert fetch.run(asked, progress=False).n_new == 1
    (one,) = stand[1].log
    assert one.range is not None
    assert fetched(tmp_path) == ["README.md", BELGIUM, FRANCE]


def test_a_country_that_is_not_there_is_named(stand: Stand, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no median series of DEU\. Countries: BEL, FRA, USA\."):
        fetch.run(request(stand, tmp_path, countries=("FRA", "DEU")), progress=False)
    assert fetched(tmp_path) == []


def test_a_disk_that_is_too_small_is_told_before(stand: Stand, tmp_path: Path) -> None:
    stand[0].changes[FRANCE] = {"size": 10**18}
    with pytest.raises(StorageError, match=r"MB are to come, and .* free"):
        fetch.run(request(stand, tmp_path, countries=("FRA",)), progress=False)
    assert fetched(tmp_path) == []


def test_the_command_fetches(stand: Stand, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--out", str(tmp_path), "--endpoint", stand[0].url, "--allow-hosts", "localhost"]
    main(["fetch", "cropglobe", *options, "--countries", "BEL"])
    said = capsys.readouterr().out
    assert "2 files, " in said
    assert "2 of them new" in said
    assert COMMIT[:12] in said
    assert fetched(tmp_path) == ["README.md", BELGIUM]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["fetch", "--out", "x"], "Missing argument 'DATA_SET'"), (["fetch", "globe"], "'globe' is not")],
)
def test_the_data_set_is_one_that_is_known(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 4
    assert message in capsys.readouterr().err


def test_a_missing_data_set_ends_with_one_sentence(
    stand: Stand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stand[0].repository = "someone/else"
    with pytest.raises(SystemExit) as left:
        main(["fetch", "cropglobe", "--out", str(tmp_path), "--endpoint", stand[0].url])
    assert left.value.code == 6
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: There is no data set x-ytong/CropGlobe, or it is not public")


def test_help_shows_the_argument() -> None:
    said = CliRunner().invoke(cropglobe, ["fetch", "--help"]).output
    assert "DATA_SET [RUN.yaml]" in said
    assert "--data-set" not in said

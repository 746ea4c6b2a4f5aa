"""Folders for unfinished work: removed when it ends or was killed, never while a process works in them."""

import signal
import subprocess
import sys

import pytest

from pipelines.run_folder import run_folder
from pipelines.scratch import room_for_blocks, scratch
from toolkit.errors import StorageError

WORKING = """
import sys, time
from pathlib import Path
from pipelines.scratch import scratch
with scratch(Path(sys.argv[1])) as work:
    (work / "block").write_bytes(bytes(1000))
    print(work.name, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def working(tmp_path):
    """Another process that works in a folder of its own; its name."""
    with subprocess.Popen(
        [sys.executable, "-c", WORKING, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        yield process, tmp_path / process.stdout.readline().strip()
        process.kill()


def test_work_is_removed_at_its_end_and_after_an_error(tmp_path):
    with scratch(tmp_path) as work:
        (work / "half").write_text("")
        assert [path.name for path in tmp_path.iterdir()] == [work.name]
    assert list(tmp_path.iterdir()) == []

    def fail():
        with scratch(tmp_path) as work:
            (work / "half").write_text("")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_work_of_a_killed_process_is_removed_by_the_next(working, tmp_path):
    process, left = working
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (left / "block").exists()
    with room_for_blocks(tmp_path, elsewhere=False) as room:
        assert [path.name for path in tmp_path.iterdir()] == [room.name]


def test_work_of_another_process_stays(working, tmp_path):
    _, theirs = working
    with scratch(tmp_path) as ours:
        assert theirs != ours
    with run_folder(tmp_path):
        pass
    assert (theirs / "block").exists()


def test_folders_and_files_of_the_user_stay(tmp_path):
    theirs = [tmp_path / ".work-2024" / "thesis.txt", tmp_path / ".work-00c0ffee" / "notes.txt"]
    for path in theirs:
        path.parent.mkdir()
        path.write_text("months of work")
    theirs.append(tmp_path / ".draft.1.part")
    theirs[-1].write_text("a chapter")
    ours = tmp_path / ".run.77.part.json"
    ours.write_text("{")
    with run_folder(tmp_path), scratch(tmp_path):
        pass
    assert all(path.exists() for path in theirs)
    assert not ours.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    missing = tmp_path / "missing"
    with pytest.raises(StorageError, match="missing"), scratch(missing):
        pass

"""The lock of a folder: held even where nothing can be written, so that what fills the disk can go."""

import subprocess
import sys

import pytest

from toolkit.errors import FolderInUseError
from toolkit.maps.lock import locked

FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from toolkit.maps.lock import locked
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_names_its_holder_and_is_free_again(tmp_path):
    path = tmp_path / "state" / "lock"
    path.parent.mkdir()
    with locked(path), pytest.raises(FolderInUseError, match=r"process \d+ on .*, since 20"), locked(path):
        pass
    with locked(path):
        pass
    assert path.read_text() == ""


def test_on_a_full_disk_the_lock_is_held_without_a_name(tmp_path):
    path = tmp_path / "state" / "lock"
    path.parent.mkdir()
    command = [sys.executable, "-c", FULL_DISK, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(FolderInUseError, match="one that does not tell its name"), locked(path):
            pass
        _, said = holder.communicate("")
    assert holder.returncode == 0, said

"""Scripts without ``if __name__ == "__main__":`` make maps: workers do not begin them anew."""

import multiprocessing
import subprocess
import sys
from multiprocessing import spawn

from toolkit.cluster import connect
from toolkit.local_processes import main_script_left_alone

SCRIPT = """
import os
from toolkit.cluster import connect

print("begins")
with connect(workers=2) as client:
    pids = set(client.run(os.getpid).values())
    print(len(pids), "workers")
    client.submit(os._exit, 1, retries=0).exception()
    client.wait_for_workers(2)
    print(len(set(client.run(os.getpid).values()) - pids) > 0)
"""


def test_a_script_without_a_guard_runs_once_even_if_workers_are_replaced(tmp_path):
    path = tmp_path / "make_map.py"
    path.write_text(SCRIPT)
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["begins", "2 workers", "True"]


def test_other_processes_are_prepared_as_ever(monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "/somewhere/script.py", raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    as_ever = spawn.get_preparation_data
    with main_script_left_alone(), main_script_left_alone():
        assert "init_main_from_path" not in spawn.get_preparation_data("Dask Worker process (from Nanny)")
        assert spawn.get_preparation_data("SpawnProcess-1")["init_main_from_path"] == "/somewhere/script.py"
    assert spawn.get_preparation_data is as_ever


def test_functions_of_the_session_still_reach_the_workers():
    def twice(number):
        return 2 * number

    with connect(workers=1) as client:
        assert client.submit(twice, 21).result() == 42
    assert multiprocessing.active_children() == []

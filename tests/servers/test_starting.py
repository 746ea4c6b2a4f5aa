"""The test servers themselves: side by side, gone in the end, and honest about what they miss."""

from pathlib import Path

import psutil
import pytest

from tests.servers import stac_api as module
from tests.servers.stac_api import missing, running


def processes():
    return {process.pid for process in psutil.Process().children(recursive=True)}


def start_another_and_fail(first, before):
    with running() as other:
        assert other.url != first.url
        assert len(processes() - before) >= 2
        assert other.log.is_file()
        raise RuntimeError(other.log.parent)


def test_servers_run_side_by_side_and_leave_nothing_even_after_a_failure(stac_api):
    before = processes()
    with pytest.raises(RuntimeError, match="stac-") as ended:
        start_another_and_fail(stac_api, before)
    assert processes() == before
    assert not Path(str(ended.value)).exists()


def test_a_setting_lasts_as_long_as_its_block(stac_api):
    def context():
        import psycopg

        with psycopg.connect(stac_api.dsn) as connection:
            return connection.execute("SELECT pgstac.get_setting('context')").fetchone()[0]

    assert context() == "off"
    with stac_api.setting("context", "on"):
        assert context() == "on"
    assert context() == "off"


def test_what_is_missing_is_named_with_the_command_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "MODULES", ("no_such_package.part",))
    monkeypatch.setattr(module, "DEBIAN_PROGRAMS", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    reason = missing()
    assert "pip install --constraint constraints.txt 'stac-fastapi-pgstac'" in reason
    assert "apt-get install --no-install-recommends postgresql-postgis" in reason

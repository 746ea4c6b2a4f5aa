"""A real STAC API for tests: stac-fastapi over pgstac on PostgreSQL with PostGIS, private and on loopback."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

APT_PACKAGE = "postgresql-postgis"
"""Debian's name for PostGIS with the PostgreSQL it fits (on Debian 12: postgresql-15-postgis-3)."""
PIP_PACKAGES = ("stac-fastapi-pgstac", "pypgstac[psycopg]", "uvicorn")
MODULES = ("stac_fastapi.pgstac", "pypgstac", "psycopg", "uvicorn")
DEBIAN_PROGRAMS = Path("/usr/lib/postgresql")
"""Debian keeps the programs of a server, by version, out of PATH."""
UNPRIVILEGED = "postgres"
"""PostgreSQL refuses to run as root; Debian's packages make this user."""
ROLE = "pgstac_tests"
OPTIONS = {
    "listen_addresses": "",  # a Unix socket in our own folder: no port to be taken
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "jit": "off",  # compiling costs pgstac's small searches more than it saves
    "shared_buffers": "32MB",
    "max_connections": "20",
}
START_S = 60.0
"""Longest start of one server; a busy machine may take many times the usual second or two."""
STOP_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StacServer:
    """A running API; empty until something is loaded."""

    url: str
    """Landing page."""
    dsn: str
    """Its database, for psycopg."""
    log: Path
    """What the server writes, a line for each request."""

    def load(self, collections: Iterable[Mapping[str, Any]], items: Iterable[Mapping[str, Any]]) -> None:
        """Store collections and items, as plain GeoJSON; those that are there already are replaced."""
        from pypgstac.db import PgstacDB
        from pypgstac.load import Loader, Methods

        with PgstacDB(self.dsn) as database:
            loader = Loader(database)
            loader.load_collections(iter([dict(one) for one in collections]), Methods.upsert)
            loader.load_items(iter([dict(one) for one in items]), Methods.upsert)

    @contextmanager
    def setting(self, name: str, value: str) -> Iterator[None]:
        """Run with one of pgstac's settings, such as ``context``, for a while."""
        import psycopg

        change = "UPDATE pgstac.pgstac_settings SET value = %s WHERE name = %s"
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            before = connection.execute("SELECT pgstac.get_setting(%s)", [name]).fetchone()[0]
            connection.execute(change, [value, name])
            try:
                yield
            finally:
                connection.execute(change, [before, name])

    def requests(self) -> list[str]:
        """Return method and path (with its query) of every request so far."""
        return re.findall(r'"([A-Z]+ \S+) HTTP/', self.log.read_text(encoding="utf-8"))


def missing() -> str:
    """Return what to install to have these servers, with the command; empty if nothing is missing."""
    commands = []
    if not all(_installed(name) for name in MODULES):
        packages = " ".join(f"'{name}'" for name in PIP_PACKAGES)
        commands.append(f"pip install --constraint constraints.txt {packages}")
    if _programs() is None:
        commands.append(f"apt-get install --no-install-recommends {APT_PACKAGE}")
    return "no STAC API to test against; run: " + " && ".join(commands) if commands else ""


@contextmanager
def running() -> Iterator[StacServer]:
    """Start database and API in a folder of their own; stop both and remove it in the end."""
    programs = _programs()
    if programs is None:
        raise FileNotFoundError(missing())
    # Not pytest's own folder: that one is closed to the user PostgreSQL runs as.
    folder = Path(tempfile.mkdtemp(prefix="stac-"))
    try:
        with _database(programs, folder) as dsn:
            _migrate(dsn)
            with _api(folder) as url:
                yield StacServer(url=url, dsn=dsn, log=folder / "api.log")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the package around it is missing
        return False


def _programs() -> Path | None:
    """Return the folder of the newest PostgreSQL that has PostGIS, or None."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(
        DEBIAN_PROGRAMS.glob("[0-9]*/bin"), key=lambda folder: int(folder.parent.name), reverse=True
    )
    for folder in folders:
        with suppress(OSError, subprocess.CalledProcessError):
            told = subprocess.run(
                [folder / "pg_config", "--sharedir"], capture_output=True, text=True, check=True
            )
            if (Path(told.stdout.strip()) / "extension" / "postgis.control").is_file():
                return folder
    return None


def _identity() -> dict[str, Any]:
    """Return who PostgreSQL runs as: we ourselves, unless we are root."""
    if os.geteuid() != 0:
        return {}
    return {"user": UNPRIVILEGED, "group": UNPRIVILEGED, "extra_groups": []}


@contextmanager
def _database(programs: Path, folder: Path) -> Iterator[str]:
    """Run a new, empty PostgreSQL cluster; give the address of its database."""
    identity = _identity()
    if identity:
        shutil.chown(folder, UNPRIVILEGED, UNPRIVILEGED)
    data, log = folder / "data", folder / "database.log"
    make = ["--no-sync", "--no-instructions", "--auth=trust", "--encoding=UTF8", "--locale=C"]
    subprocess.run(
        [programs / "initdb", "-D", data, f"--username={ROLE}", *make],
        check=True,
        capture_output=True,
        cwd=folder,
        **identity,
    )
    options = [f"-c{name}={value}" for name, value in OPTIONS.items()]
    command = [programs / "postgres", "-D", data, "-k", folder, *options]
    with _process(command, log, cwd=folder, **identity) as server:
        dsn = f"postgresql://{ROLE}@{quote(str(folder), safe='')}/postgres"
        _wait(lambda: _answers(dsn), server, log)
        yield dsn


def _answers(dsn: str) -> bool:
    import psycopg

    with suppress(psycopg.OperationalError):
        psycopg.connect(dsn).close()
        return True
    return False


def _migrate(dsn: str) -> None:
    """Give the database pgstac's tables and functions, and the extensions they need."""
    from pypgstac.db import PgstacDB
    from pypgstac.migrate import Migrate

    with PgstacDB(dsn) as database:
        Migrate(database).run_migration()


@contextmanager
def _api(folder: Path) -> Iterator[str]:
    """Run the API over the database in a folder; give its URL."""
    log = folder / "api.log"
    environment = {
        **os.environ,
        "PGUSER": ROLE,
        "PGPASSWORD": "none",  # must be set, is not asked for
        "PGHOST": quote(str(folder), safe=""),
        "PGPORT": "5432",  # only part of the socket's name
        "PGDATABASE": "postgres",
        "DB_MAX_CONN_SIZE": "4",
    }
    app = ["--factory", "stac_fastapi.pgstac.app:create_app"]
    command = [sys.executable, "-m", "uvicorn", "--host=127.0.0.1", "--port=0", "--no-use-colors", *app]
    with _process(command, log, cwd=folder, env=environment) as server:
        _wait(lambda: _address(log), server, log)
        yield _address(log)


def _address(log: Path) -> str:
    """Return the address that uvicorn says it serves, empty until it does."""
    found = re.search(r"running on (http://\S+)", log.read_text(encoding="utf-8"))
    return found[1] if found else ""


@contextmanager
def _process(command: list[Any], log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server that stops with the block, and on Linux also if we are killed."""
    keeper = shutil.which("setpriv")
    prefix = [keeper, "--pdeathsig", "INT"] if keeper else []
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*prefix, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, **options
        )
    try:
        yield server
    finally:
        server.send_signal(signal.SIGINT)  # uvicorn: orderly; PostgreSQL: at once, also with clients there
        try:
            server.wait(STOP_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(ready: Any, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server is ready; raise with what it wrote if it ends or takes too long."""
    end = time.monotonic() + START_S
    while not ready():
        if server.poll() is not None or time.monotonic() > end:
            msg = f"The test server {server.args} did not start: {log.read_text(encoding='utf-8')[-2000:]}"
            raise RuntimeError(msg)
        time.sleep(0.02)

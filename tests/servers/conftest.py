"""The STAC API that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.stac_api import StacServer, missing, running


@pytest.fixture(scope="session")
def stac_api() -> Iterator[StacServer]:
    """A STAC API on loopback, started once; skips with the command that installs what is missing."""
    if reason := missing():
        pytest.skip(reason)
    with running() as server:
        yield server

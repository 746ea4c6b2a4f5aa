"""A cluster for the workflows under test."""

import pytest
from distributed import Client, LocalCluster


@pytest.fixture(scope="module")
def client():
    """Workers in this process: quick to start, and warnings are errors in them too."""
    options = {"processes": False, "protocol": "tcp", "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=1, threads_per_worker=2, **options) as cluster, Client(cluster) as connected:
        yield connected

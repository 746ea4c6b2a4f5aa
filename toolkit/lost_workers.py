"""Workers of a local cluster that Dask gave up: started again."""

from __future__ import annotations

from distributed import Client, LocalCluster


def replace_lost(client: Client) -> None:
    """Start the workers of a local cluster again that Dask gave up; of other clusters, nothing.

    A process that dies is replaced by its nanny. But 15 s after each death Dask (2026.8) looks for the
    worker, and if that is just being replaced once more, ends the nanny, and starts no other unasked: so a
    test with two deaths 15 s apart waited for ever, and so would a map.

    Args:
        client: Dask client.
    """
    cluster = client.cluster
    if isinstance(cluster, LocalCluster) and len(cluster.scheduler_info["workers"]) < len(
        cluster.worker_spec
    ):
        cluster.scale(len(cluster.worker_spec))

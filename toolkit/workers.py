"""The workers of a cluster: those there are, and those that Dask gave up started again."""

from __future__ import annotations

from typing import Any

from distributed import Client, LocalCluster


def workers_of(client: Client) -> dict[str, dict[str, Any]]:
    """Return what the scheduler tells of each worker, by its address; nothing if it does not answer.

    Not :meth:`distributed.Client.scheduler_info`: every two seconds the client (Dask 2026.8) asks for itself
    without workers, and what comes in between is given back for an answer. So a plan once was divided by no
    workers at all.

    Args:
        client: Dask client.
    """
    if client.scheduler is None:  # closed
        return {}
    try:
        told = client.sync(client.scheduler.identity, n_workers=-1)
    except OSError:
        return {}
    return dict(told["workers"])


def replace_lost(client: Client, there: int) -> None:
    """Start the workers of a local cluster again that Dask gave up; of other clusters, nothing.

    A process that dies is replaced by its nanny. But 15 s after each death Dask (2026.8) looks for the
    worker, and if that is just being replaced once more, ends the nanny, and starts no other unasked: so a
    test with two deaths 15 s apart waited for ever, and so would a map.

    Args:
        client: Dask client.
        there: how many workers there are.
    """
    cluster = client.cluster
    if isinstance(cluster, LocalCluster) and there < len(cluster.worker_spec):
        cluster.scale(len(cluster.worker_spec))

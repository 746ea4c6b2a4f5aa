"""A hundred random kills: each map ends with the bytes of an undisturbed one, and little is read twice."""

import json
import logging

import numpy as np
import pytest

from tests.pipelines.far_scenes import EDGE, WORKERS, far_command, far_scenes, tiles_begun
from tests.pipelines.process_kills import KILLED, Killer
from tests.pipelines.test_resume import files_of, leftovers

KILLS = 100
SEED = 20_260
DONE, WITHOUT_SOME = 0, 3
LOG = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with far_scenes(tmp_path_factory.mktemp("far")) as running:
        yield running


def finish(run):
    """Let a run come to its end, and return its seconds."""
    with run:
        status = run.wait()
        seconds = run.seconds
    assert status == DONE, run.log.read_text()
    return seconds


def killed_map(command, out, killer, usual_s):
    """Make a map under kills; each run goes on where the one before was killed."""
    status = KILLED
    while status != DONE:
        before = tiles_begun(killer.server)
        with command(out) as run:
            left = KILLS - killer.tally.n_kills
            if killer.frozen:  # late writes of dead runs fall into the middle of this one
                run.wait_until(lambda: tiles_begun(killer.server) > before + 2)  # noqa: B023  # called here
                killer.thaw()
            kills = killer.disturb(run, usual_s, left) if left > 0 else 0
            status = run.wait()
            told = run.log.read_text()
        killer.tally.ends[status] += 1
        assert status in (DONE, WITHOUT_SOME, KILLED), told
        assert status != WITHOUT_SOME or kills >= 2, told  # workers died twice on a tile
        LOG.info("exit code %d after %d kills, %d in all", status, kills, killer.tally.n_kills)


@pytest.mark.slow
def test_a_hundred_random_kills_leave_no_trace_in_any_map(server, tmp_path):
    def command(out):
        return far_command(server, out, "--workers", WORKERS)

    usual_s = finish(command(tmp_path / "whole"))
    whole = files_of(tmp_path / "whole")
    assert tiles_begun(server) == EDGE**2
    killer = Killer(np.random.default_rng(SEED), server)
    tally = killer.tally
    while tally.n_kills < KILLS:
        before, kills_before = tiles_begun(server), tally.n_kills
        out = tmp_path / f"map{tally.maps}"
        killed_map(command, out, killer, usual_s)
        again, kills = tiles_begun(server) - before - EDGE**2, tally.n_kills - kills_before
        assert files_of(out) == whole
        assert not leftovers(out)
        assert again <= WORKERS * kills
        sent = server.bytes_sent
        finish(command(out))
        assert server.bytes_sent == sent  # a finished map repeated reads nothing
        assert files_of(out) == whole
        assert json.loads((out / "run.json").read_text())["reads"]["bytes"] == 0
        tally.maps, tally.begun_again = tally.maps + 1, tally.begun_again + again
        LOG.info("%s", tally)
    assert tally.maps >= 2

"""Progress: one line for people, plain lines for logs, silence on request."""

import time

from pipelines.progress import Progress


def test_logs_get_the_last_line_and_no_control_characters(capsys):
    tell = Progress()
    tell.stage("reading")
    start = time.perf_counter()
    for done in range(1, 4):
        tell.count("tiles", done, 3, since=start)
    err = capsys.readouterr().err
    assert err.splitlines()[0] == "reading"
    assert err.splitlines()[-1] == "  tiles 3/3"
    assert "\x1b" not in err
    assert "\r" not in err


def test_terminals_get_one_moving_line(capsys):
    tell = Progress()
    tell.terminal = True
    for done in range(1, 4):
        tell.count("tiles", done, 3, since=time.perf_counter())
    tell.stage("joining")
    err = capsys.readouterr().err
    assert err.count("\r") == 3
    assert err.endswith("joining\n")


def test_quiet_says_nothing(capsys):
    tell = Progress(quiet=True)
    tell.stage("reading")
    tell.count("tiles", 1, 1, since=0.0)
    assert capsys.readouterr().err == ""

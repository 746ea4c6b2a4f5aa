"""Doctor: fine here, and a failing check is a finding, not a crash."""

import pytest

from pipelines import doctor
from pipelines.cli import main


def test_this_machine_is_fit():
    assert {finding.name for finding in doctor.run() if finding.fine} == {name for name, _ in doctor.CHECKS}


def test_failing_checks_are_told_and_decide_the_exit_code(monkeypatch, capsys):
    def broken():
        msg = "PROJ: proj_create: no database"
        raise RuntimeError(msg)

    monkeypatch.setattr(doctor, "CHECKS", (("projections", broken),))
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 10
    assert "PROBLEM projections: RuntimeError: PROJ: proj_create: no database" in capsys.readouterr().out

"""Doctor: fine here, and a failing check is a finding, not a crash."""

import pytest

from pipelines import doctor
from pipelines.cli import main


def test_this_machine_is_fit():
    assert {finding.name for finding in doctor.run() if finding.fine} == {name for name, _ in doctor.CHECKS}


def test_engines_are_told_with_the_reason_where_one_cannot_serve(monkeypatch):
    told = {finding.name: finding.detail for finding in doctor.run()}
    assert "torch fp32" in told["engines"].split(";")[0]
    monkeypatch.setattr("toolkit.learn.engines.onnx_graph.find_spec", lambda _: None)
    (finding,) = (one for one in doctor.run() if one.name == "engines")
    assert finding.fine
    assert "not onnx fp32: not installed: onnx, onnxruntime" in finding.detail
    assert "openvino int8: not installed: onnx, openvino" in finding.detail


def test_failing_checks_are_told_and_decide_the_exit_code(monkeypatch, capsys):
    def broken():
        msg = "PROJ: proj_create: no database"
        raise RuntimeError(msg)

    monkeypatch.setattr(doctor, "CHECKS", (("projections", broken),))
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 10
    assert "PROBLEM projections: RuntimeError: PROJ: proj_create: no database" in capsys.readouterr().out

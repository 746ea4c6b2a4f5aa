"""Options that take several values, beside a run file."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pipelines.learn_config import TrainRequest, TransferRequest
from pipelines.options import RequestCommand, request_options, spread_values


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--targets BEL NLD --out o", "--targets BEL --targets NLD --out o"),
        ("--targets BEL --targets NLD", "--targets BEL --targets NLD"),
        ("--targets=BEL NLD", "--targets=BEL --targets NLD"),
        ("--targets BEL NLD run.yaml", "--targets BEL --targets NLD run.yaml"),
        ("run.YML --targets BEL", "run.YML --targets BEL"),
        ("--samples a.yaml b run.yml", "--samples a.yaml --samples b run.yml"),
        ("--out o run.yaml --targets BEL NLD", "--out o run.yaml --targets BEL --targets NLD"),
        ("--targets BEL -- NLD", "--targets BEL -- NLD"),
        ("--seed 3 other", "--seed 3 other"),
        ("--targets", "--targets"),
    ],
)
def test_each_value_gets_its_own_flag(typed, meant):
    assert spread_values(typed.split(), {"--targets", "--samples"}) == meant.split()


def asked(model, *arguments):
    seen = []
    command = click.command(cls=RequestCommand)(request_options(model)(seen.append))
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return seen[0]


def test_several_values_of_one_option_and_a_run_file(tmp_path):
    (tmp_path / "run.yaml").write_text("seeds: 7\nsource: GBR\n")
    options = ["--source", "FRA", "--targets", "BEL", "NLD", "--out", "o", "--data", "d"]
    for arguments in ([*options, str(tmp_path / "run.yaml")], [str(tmp_path / "run.yaml"), *options]):
        request = asked(TransferRequest, *arguments)
        assert (request.source, request.targets, request.seeds) == (("FRA",), ("BEL", "NLD"), 7)
    request = asked(TransferRequest, "--out", "o", "--targets", "BEL", "NLD", str(tmp_path / "run.yaml"))
    assert (request.source, request.targets) == (("GBR",), ("BEL", "NLD"))


def test_pairs_and_paths_may_stand_after_each_other_too():
    request = asked(TransferRequest, "--samples", "a=x.zarr", "b=y.zarr", "--out", "o")
    assert request.samples == {"a": Path("x.zarr"), "b": Path("y.zarr")}
    request = asked(TrainRequest, "--samples", "x.zarr", "y.zarr", "--samples", "z.zarr", "--out", "o")
    assert request.samples == (Path("x.zarr"), Path("y.zarr"), Path("z.zarr"))

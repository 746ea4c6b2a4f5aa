"""``cropglobe simulate``: scenes or granules by sensor, and what it says of them."""

import json

import pytest

from pipelines.cli import main


def simulate(capfd, out, *options):
    main(["simulate", "--out", str(out), "--year", "2023", "--size", "64", *options])
    return capfd.readouterr().out


def test_sentinel2_is_the_default_and_gives_a_catalog(tmp_path, capfd):
    said = simulate(capfd, tmp_path / "scenes")
    assert str(tmp_path / "scenes" / "catalog.json") in said
    assert (tmp_path / "scenes" / "catalog.json").is_file()


def test_emit_gives_a_folder_of_granules_with_fields_and_area(tmp_path, capfd):
    said = simulate(capfd, tmp_path / "granules", "--sensor", "emit", "--seed", "3")
    folder = tmp_path / "granules"
    assert f"simulated scenes in {folder}" in said
    assert str(folder / "fields.geojson") in said
    assert len(list(folder.glob("EMIT_L2A_RFL_001_*.nc"))) == 6
    assert len(list(folder.glob("EMIT_L2A_MASK_001_*.nc"))) == 6
    assert json.loads((folder / "simulation.json").read_text())["seed"] == 3


def test_folders_of_one_sensor_are_not_filled_with_another(tmp_path, capfd):
    simulate(capfd, tmp_path / "out", "--sensor", "emit")
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "--out", str(tmp_path / "out"), "--year", "2023", "--size", "64"])
    assert ended.value.code != 0
    assert "holds a simulation made with other values of" in capfd.readouterr().err

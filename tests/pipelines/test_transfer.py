"""``cropglobe transfer``: the matrix, resumed trial by trial, from stores, packaged files and simulations."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch

from pipelines import transfer
from pipelines.cli import main
from pipelines.learn_config import TransferRequest
from pipelines.progress import Progress
from pipelines.transfer_inputs import SIMULATED_REGIONS, simulated_region
from pipelines.transfer_plan import configurations, plan_trials, train_config
from tests.learn.conftest import sinusoids
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import InputError
from toolkit.learn.augmentations import AUGMENTATIONS
from toolkit.learn.cropglobe_files import write_cropglobe
from toolkit.learn.networks import NETWORKS
from toolkit.learn.samples import Samples, write_samples
from toolkit.learn.transfer import MODEL_FEATURES
from toolkit.legend import CropClass, Legend

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
YEAR = replace(FeatureRecipe(bands=("B02", "B04", "B08")), fill="none").full_year()
QUICK = ("--models", "mlp", "--epochs", "2", "--batch-size", "16", "--seeds", "1", "--augmentations", "none")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Several threads only wait for each other on networks this small, long on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_region(shift: int, *, recipe: FeatureRecipe = YEAR, n: int = 36) -> Samples:
    """Three crops whose years are later by so many steps."""
    field = (np.arange(n) // 3 + 1).astype(np.int32)
    crop = (field % 3).astype(np.uint8)
    series = np.roll(sinusoids(crop, *recipe.full_year().shape, seed=shift), shift, axis=2)
    return Samples(
        series=series[:, :, recipe.first_step : recipe.first_step + recipe.n_steps].copy(),
        crop=crop,
        field=field,
        lon=np.linspace(0, 1, n),
        lat=np.linspace(0, 1, n),
        recipe=recipe,
        simulated=True,
    )


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Samples of three regions, 0, 3 and 20 steps late."""
    folder = tmp_path_factory.mktemp("samples")
    return {name: write_samples(make_region(k), folder / name) for name, k in (("a", 0), ("b", 3), ("c", 20))}


def named(stores):
    return ["--samples", *(f"{name}={path}" for name, path in stores.items())]


def trial_files(out):
    whole = [path for path in out.glob("trials/*.json") if not path.name.startswith(".")]
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in whole}


@pytest.fixture(scope="module")
def finished(stores, tmp_path_factory):
    """The command, all against all, with what it said."""
    out = tmp_path_factory.mktemp("transfer") / "out"
    command = ["transfer", *named(stores), *QUICK, "--seeds", "2", "--models", "mlp", "tempcnn"]
    with redirect_stdout(io.StringIO()) as said:
        main([*command, "--out", str(out)])
    return out, said.getvalue()


def test_the_command_shows_the_matrix_and_a_source_for_each_target(finished):
    out, said = finished
    assert "mlp, median1d, augmentation none: macro F1 (plain" in said
    assert "tempcnn, median2d, augmentation none" in said
    assert said.count("closest source, without labels of the target") == 2
    assert "paired differences of macro F1 (plain)" in said
    assert "12 trials trained, 0 kept from before" in said
    names = ("transfer.csv", "summary.csv", "confusion.json", "transfer.md", "transfer.png", "run.yaml")
    assert {path.name for path in out.iterdir()} == {*names, "trials"}
    for name in names[:5]:
        assert str(out / name) in said


def test_the_tables_hold_every_trial_and_agree(finished):
    out, _ = finished
    with (out / "transfer.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 3 * 3 * 2  # models, seeds, sources, targets, protocols
    assert {row["n"] for row in rows if row["source"] != row["target"]} == {"36"}
    with (out / "summary.csv").open() as file:
        summaries = list(csv.DictReader(file))
    assert len(summaries) == len(rows) / 2
    cells = json.loads((out / "confusion.json").read_text())["cells"]
    key = {"model": "mlp", "source": "a", "target": "b", "protocol": "published"}
    of_cell = [row for row in rows if key.items() <= row.items()]
    (summary,) = (row for row in summaries if key.items() <= row.items())
    (cell,) = (each for each in cells if key.items() <= each.items())
    expected = np.mean([float(row["overall"]) for row in of_cell])
    assert float(summary["overall_mean"]) == pytest.approx(expected, abs=1e-5)
    counts = np.array(cell["confusion"])
    assert counts.sum() == 2 * 36
    assert np.trace(counts) / counts.sum() == pytest.approx(expected, abs=1e-5)
    assert counts[:, 3:6].sum() == 0  # absent classes are folded
    text = (out / "transfer.md").read_text()
    assert "**Simulated data**" in text
    assert "## mlp, median1d, augmentation none, protocol published" in text
    assert "| first | second | cells |" in text
    assert "| configuration | frechet | frechet_relative | mmd |" in text
    assert "| configuration | features of | target | measure |" in text


def test_the_picture_is_one(finished):
    pixels = matplotlib.image.imread(finished[0] / "transfer.png")
    assert min(pixels.shape[:2]) > 300
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 50


def test_a_second_run_trains_only_what_is_missing_and_gives_the_same(finished):
    out, _ = finished
    request = TransferRequest.read(out / "run.yaml", {})
    before = trial_files(out)
    lost, damaged, *kept = sorted(before)
    (out / "trials" / lost).unlink()
    (out / "trials" / damaged).write_bytes(before[damaged][1][:100])
    tables = {path.name: path.read_bytes() for path in out.glob("*.csv")}
    result = transfer.run(request, progress=False)
    assert result.n_trained == 2
    after = trial_files(out)
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    for name in (lost, damaged):
        assert after[name][1] == before[name][1]  # the same seed gives the same model
    assert {path.name: path.read_bytes() for path in out.glob("*.csv")} == tables
    assert "2 trials trained, 10 kept from before" in result.lines()


def test_other_options_or_samples_are_other_trials(finished, stores, tmp_path):
    out, _ = finished
    request = TransferRequest.read(out / "run.yaml", {"models": ("mlp",), "out": tmp_path})
    for name in trial_files(out):
        (tmp_path / "trials").mkdir(exist_ok=True)
        (tmp_path / "trials" / name).write_bytes((out / "trials" / name).read_bytes())
    assert transfer.run(request, progress=False).n_trained == 0
    one = {"source": ("a",), "targets": ("b", "c"), "seeds": 1}
    longer = request.model_copy(update={"epochs": 1, **one})
    assert transfer.run(longer, progress=False).n_trained == 1
    changed = {**stores, "c": write_samples(make_region(19), tmp_path / "c.zarr")}
    assert transfer.run(request.model_copy(update={"samples": changed, **one}), progress=False).n_trained == 1


def test_a_forest_is_not_grown_again_for_other_options_of_networks(stores, tmp_path):
    values = {"samples": stores, "models": ["random_forest"], "source": "a", "targets": "b", "out": tmp_path}
    request = TransferRequest.make({**values, "seeds": 1, "augmentations": "none", "epochs": 5})
    assert transfer.run(request, progress=False).n_trained == 1
    assert transfer.run(request.model_copy(update={"epochs": 9}), progress=False).n_trained == 0


def test_a_killed_run_loses_the_running_trial_at_most(stores, tmp_path):
    command = ["transfer", *named(stores), *QUICK, "--seeds", "8", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", *command],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 60
    while len(trial_files(tmp_path / "out")) < 2 and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = trial_files(tmp_path / "out")
    assert 2 <= len(before) < 24
    values = {"samples": stores, "models": ["mlp"], "augmentations": ["none"], "out": tmp_path / "out"}
    request = TransferRequest.make({**values, "epochs": 2, "batch_size": 16, "seeds": 8})
    assert transfer.run(request, progress=False).n_trained == 24 - len(before)
    after = trial_files(tmp_path / "out")
    assert len(after) == 24
    assert {name: after[name] for name in before} == before


def test_without_matplotlib_the_tables_are_written_and_a_sentence_says_so(finished, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not installed
    request = TransferRequest.read(finished[0] / "run.yaml", {"out": tmp_path, "source": ("a",), "seeds": 1})
    result = transfer.run(request, progress=False)
    assert any("matplotlib is not installed" in line for line in result.lines())
    assert not (tmp_path / "transfer.png").exists()
    assert (tmp_path / "transfer.md").is_file()


def test_packaged_countries_are_named_as_in_the_issue(tmp_path, capfd):
    ten_bands = FeatureRecipe().full_year()
    for shift, country in enumerate(("FRA", "BEL", "NLD")):
        packed = make_region(shift, recipe=ten_bands)
        write_cropglobe(packed, tmp_path / "data" / f"median_S2_{country}_month1-12_day5.npz")
    options = ["--data", str(tmp_path / "data"), "--source", "FRA", "--targets", "BEL", "NLD"]
    main(["transfer", *options, *QUICK, "--protocol", "published", "--out", str(tmp_path / "out")])
    said = capfd.readouterr().out
    assert "1 trials trained" in said
    assert [line.split()[0] for line in said.splitlines() if line.startswith("FRA ")] == ["FRA", "FRA"]
    assert "brackets: the source's own series held out (fields are not known: likely too good)" in said
    header = next(line for line in said.splitlines() if line.startswith("source \\ target"))
    assert header.split()[3:] == ["FRA", "BEL", "NLD"]
    assert "macro F1 (published" in said
    with (tmp_path / "out" / "transfer.csv").open() as file:
        assert {row["target"] for row in csv.DictReader(file)} == {"FRA", "BEL", "NLD"}


def test_simulated_regions_that_are_there_are_not_made_again(tmp_path):
    for shift, name in enumerate(SIMULATED_REGIONS):
        write_samples(make_region(shift), tmp_path / "samples" / f"{name}.zarr")
    values = {"simulated": True, "source": ("late",), "models": ["mlp"], "out": tmp_path, "seeds": 1}
    result = transfer.run(TransferRequest.make({**values, "epochs": 1, "batch_size": 16}), progress=False)
    assert [set(one.tested) for one in result.tables.results] == [set(SIMULATED_REGIONS) - {"late"}]


@pytest.mark.slow
def test_a_simulated_region_keeps_its_samples_and_drops_its_scenes(tmp_path):
    made = simulated_region("southern", tmp_path, landscapes=(1, 2), size=96, tell=Progress(quiet=True))
    assert made.simulated
    assert made.recipe == FeatureRecipe(fill="none").full_year()
    assert len(set(made.field.tolist())) >= 20
    assert made.lat.max() < 0
    assert [path.name for path in tmp_path.iterdir()] == ["southern.zarr"]
    again = simulated_region("southern", tmp_path, tell=Progress(quiet=True))
    assert again.content_hash == made.content_hash


@pytest.fixture
def bad(tmp_path, stores):
    """Samples that do not go with those of the stores."""
    season = FeatureRecipe(bands=("B02", "B04", "B08"), fill="none", clear="strict").full_year()
    legend = Legend(tuple(CropClass(name, (k, 0, 0)) for k, name in enumerate(("corn", "rice", "other"))))
    region = make_region(1)
    made = {
        "strict": make_region(1, recipe=season),
        "legend": replace(region, legend=legend),
        "one_class": region.select(region.crop == 1),
    }
    return {**stores, **{name: write_samples(one, tmp_path / name) for name, one in made.items()}}


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["a"], [], "Transfer needs a target that is not the source"),
        (["a", "b"], ["--source", "a", "--targets", "a"], "Transfer needs a target that is not the source"),
        (["a", "b"], ["--source", "x"], "Region 'x' is unknown. Given are: a, b"),
        (["a", "b"], ["--models", "resnet"], "models: 'resnet' is unknown. Known: cropnet2d"),
        (["a", "b"], ["--features", "alphaearth"], "features: 'alphaearth' is unknown"),
        (["a", "b"], ["--augmentations", "strong"], "augmentations: 'strong' is unknown. Known: none"),
        (
            ["a", "b"],
            ["--models", "tempcnn", "--features", "harmonic"],
            "goes with nothing else that is asked for",
        ),
        (["a", "b"], ["--simulated"], "2 kinds of samples are given"),
        ([], [], "0 kinds of samples are given"),
        (["a", "strict"], [], "different features (clear 'default' and 'strict')"),
        (["a", "legend"], [], "different classes"),
        (["a", "one_class"], [], "Source 'one_class' holds the classes: soybeans; needed for training: two"),
        ([], ["--samples", "x.zarr"], "is not KEY=VALUE"),
        ([], ["--samples", "a=nowhere", "b=nowhere"], "There are no samples in 'nowhere'"),
        ([], ["--data", "nowhere"], "There are no packaged samples (median_S2_COUNTRY_month1-12_day5.npz)"),
        ([], ["--data", "nowhere", "--source", "FRA", "--targets", "BEL"], "no file of country 'FRA'"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_trained(
    names, options, message, bad, tmp_path, capfd
):
    given = named({name: bad[name] for name in names}) if names else []
    with pytest.raises(SystemExit) as ended:
        main(["transfer", *given, "--epochs", "1", "--out", str(tmp_path / "out"), *options])
    assert ended.value.code == 4
    said = capfd.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert not list((tmp_path / "out").glob("trials/*.json"))


def test_a_region_of_one_class_may_be_a_target(bad, tmp_path):
    values = {"samples": {"a": bad["a"], "one": bad["one_class"]}, "models": ["mlp"], "out": tmp_path / "out"}
    request = TransferRequest.make({**values, "source": "a", "seeds": 1, "epochs": 1, "batch_size": 16})
    assert transfer.run(request, progress=False).n_trained == 1


def test_a_region_name_that_would_spoil_the_tables_is_refused(stores, tmp_path):
    request = TransferRequest.make({"samples": {"a|b": stores["a"], "b": stores["b"]}, "out": tmp_path})
    with pytest.raises(InputError, match=r"Region name 'a\|b' is not allowed"):
        transfer.run(request, progress=False)


def test_every_model_goes_with_its_features_and_harmonics_are_never_augmented():
    everything = TransferRequest.make(
        {
            "out": "o",
            "models": list(MODEL_FEATURES),
            "features": ["median2d", "median1d", "harmonic"],
            "augmentations": list(AUGMENTATIONS),
        }
    )
    found = configurations(everything)
    n_series = len(MODEL_FEATURES) * len(AUGMENTATIONS)
    n_harmonic = sum("harmonic" in features for features in MODEL_FEATURES.values())
    assert len(found) == n_series + n_harmonic
    assert {one.augmentation for one in found if one.features == "harmonic"} == {"none"}
    assert set(MODEL_FEATURES) == set(NETWORKS)
    for name in MODEL_FEATURES:
        assert name in TransferRequest.model_fields["models"].description
    usual = configurations(TransferRequest.make({"out": "o", "models": ["mlp", "cropnet2d"]}))
    assert [(one.model, one.features) for one in usual] == [("mlp", "median1d"), ("cropnet2d", "median2d")]


def test_paths_of_a_run_file_count_from_its_folder(tmp_path):
    (tmp_path / "run.yaml").write_text("samples: {a: x.zarr, b: y.zarr}\nsource: a\nout: out\n")
    request = TransferRequest.read(tmp_path / "run.yaml", {})
    assert request.samples == {"a": tmp_path / "x.zarr", "b": tmp_path / "y.zarr"}
    assert request.source == ("a",)
    assert TransferRequest.read(request.write(tmp_path / "again.yaml"), {}) == request


def test_configurations_see_equally_many_samples(tmp_path: Path) -> None:
    request = TransferRequest(
        simulated=True, augmentations=("none", "phenology", "published"), epochs=30, out=tmp_path
    )
    told = {
        trial.configuration.augmentation: train_config(request, trial)
        for trial in plan_trials(request, ("early",))
    }
    assert {name: config.epochs for name, config in told.items()} == {
        "none": 30,
        "phenology": 30,
        "published": 10,  # beside the originals are two copies
    }

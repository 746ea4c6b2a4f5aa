"""The .npz layout of CropGlobe: what was written is read, and what it means is told, not guessed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import LabelError, StorageError
from toolkit.learn.cropglobe_files import (
    best_files,
    find_cropglobe,
    load_cropglobe,
    read_cropglobe,
    write_cropglobe,
)
from toolkit.learn.samples import Samples, read_samples, write_samples
from toolkit.legend import CROPGLOBE, Legend

SEASON = FeatureRecipe()
YEAR_FILE = "median_S2_{}_month1-12_day5.npz"
SEASON_FILE = "median_S2_{}_month5-11_day5.npz"


def series(n: int, n_steps: int = 73, *, seed: int = 0) -> np.ndarray:
    """Reflectance of ten bands that differ more from each other than from step to step."""
    rng = np.random.default_rng(seed)
    level = np.array([0.04, 0.06, 0.05, 0.1, 0.25, 0.3, 0.33, 0.35, 0.2, 0.1])
    wave = 0.03 * np.sin(2 * np.pi * np.arange(n_steps) / 73 + rng.random((n, 1, 1)) * 6)
    return (level[:, None] * (1 + wave) + rng.normal(0, 0.002, (n, 10, n_steps))).astype(np.float32)


def package(path: Path, fea: np.ndarray, lbl: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, fea=fea, lbl=np.arange(len(fea)) % 7 if lbl is None else lbl)
    return path


def samples(n: int = 14, *, recipe: FeatureRecipe | None = None, simulated: bool = False) -> Samples:
    recipe = recipe or SEASON.full_year()
    return Samples(
        series=series(n, recipe.n_steps),
        crop=(np.arange(n) % 7).astype(np.uint8),
        field=np.arange(n, dtype=np.int32),
        lon=np.zeros(n),
        lat=np.zeros(n),
        recipe=recipe,
        simulated=simulated,
    )


@pytest.mark.parametrize("recipe", [SEASON, SEASON.full_year(), replace(SEASON, kind="median1d")])
def test_what_is_written_is_read(tmp_path: Path, recipe: FeatureRecipe) -> None:
    written = samples(recipe=recipe)
    again = read_cropglobe(write_cropglobe(written, tmp_path / "new" / "mine.npz"))
    np.testing.assert_array_equal(again.series, written.series)
    np.testing.assert_array_equal(again.crop, written.crop)
    assert again.recipe == replace(recipe, kind="median2d")
    assert again.legend == CROPGLOBE
    assert again.simulated is False
    assert (again.field == 0).all()
    assert np.isnan(again.lon).all()
    assert np.isnan(again.lat).all()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mine.npz"]


def test_the_layout_is_exactly_the_published_one(tmp_path: Path) -> None:
    path = write_cropglobe(samples(5, simulated=True), tmp_path / "mine.npz")
    with np.load(path, allow_pickle=False) as file:  # as the published loader does
        assert sorted(file) == ["fea", "lbl"]
        assert (file["fea"].dtype, file["fea"].shape) == (np.float32, (5, 10, 73))
        assert (file["lbl"].dtype, file["lbl"].shape) == (np.int64, (5,))


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = (write_cropglobe(samples(), tmp_path / name) for name in ("a.npz", "b.npz"))
    assert one.read_bytes() == two.read_bytes()


def test_simulated_samples_are_still_called_so(tmp_path: Path) -> None:
    assert read_cropglobe(write_cropglobe(samples(simulated=True), tmp_path / "a.npz")).simulated is True


@given(
    fea=arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.just(10), st.sampled_from([43, 73])),
        elements=st.floats(0.0625, 1, width=32) | st.just(np.nan),
        fill=st.just(np.float32(0.25)),
    ),
    data=st.data(),
)
def test_any_reflectance_comes_back(
    tmp_path_factory: pytest.TempPathFactory, fea: np.ndarray, data: st.DataObject
) -> None:
    fea[0, 0, :] = 0.5  # something is known
    lbl = data.draw(arrays.arrays(np.uint8, len(fea), elements=st.integers(0, 6)))
    read = read_cropglobe(package(tmp_path_factory.getbasetemp() / "any.npz", fea, lbl))
    kept = {row.tobytes() for row in read.series}
    groups = {row.tobytes(): {*lbl[[row.tobytes() == other.tobytes() for other in fea]]} for row in fea}
    assert kept == {key for key, crops in groups.items() if len(crops) == 1}
    for row, crop in zip(read.series, read.crop, strict=True):
        assert groups[row.tobytes()] == {crop}
    counts = read.provenance
    assert counts["n_read"] == len(fea) == len(read) + counts["n_duplicate"] + counts["n_conflicting"]
    assert read.recipe.fill == ("none" if np.isnan(read.series).any() else "linear")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4", np.uint16, np.int32])
def test_digital_numbers_become_reflectance(tmp_path: Path, dtype: str) -> None:
    truth = series(30)
    numbers = np.round(truth * 10_000).astype(dtype)
    read = read_cropglobe(package(tmp_path / "a.npz", numbers))
    np.testing.assert_allclose(read.series, truth, atol=0.6e-4)
    assert read.series.dtype == np.float32
    assert read.provenance["scale"] == 10_000


def test_reflectance_stays_as_it_is(tmp_path: Path) -> None:
    read = read_cropglobe(package(tmp_path / "a.npz", series(30)))
    np.testing.assert_array_equal(read.series, series(30))
    assert read.provenance["scale"] == 1


def test_a_few_outliers_do_not_change_the_scale(tmp_path: Path) -> None:
    fea = series(30)
    fea[0] = 900.0
    assert read_cropglobe(package(tmp_path / "a.npz", fea)).provenance["scale"] == 1


@pytest.mark.parametrize("factor", [0.0, 1e-3, 100.0, 1e6])
def test_a_scale_that_cannot_be_told_is_asked_for(tmp_path: Path, factor: float) -> None:
    path = package(tmp_path / "a.npz", series(30) * factor)
    with pytest.raises(LabelError, match=r"scale of fea cannot be told: 95 % .*Give scale="):
        read_cropglobe(path)


def test_a_given_scale_is_used(tmp_path: Path) -> None:
    path = package(tmp_path / "a.npz", series(30) * 100)
    np.testing.assert_allclose(read_cropglobe(path, scale=100).series, series(30), rtol=1e-6)
    for scale in (0, -1, np.nan, np.inf):
        with pytest.raises(LabelError, match=r"scale is .*allowed: a number above 0"):
            read_cropglobe(path, scale=scale)


@pytest.mark.parametrize("n_steps", [43, 73])
def test_vectors_are_read_band_after_band(tmp_path: Path, n_steps: int) -> None:
    truth = series(20, n_steps)
    read = read_cropglobe(package(tmp_path / "a.npz", truth.reshape(20, -1)))
    np.testing.assert_array_equal(read.series, truth)


def test_vectors_step_after_step_are_refused(tmp_path: Path) -> None:
    turned = series(20).transpose(0, 2, 1).reshape(20, -1)
    with pytest.raises(LabelError, match="step after step"):
        read_cropglobe(package(tmp_path / "a.npz", turned))


def test_gaps_are_kept_and_the_recipe_says_so(tmp_path: Path) -> None:
    fea = series(20)
    fea[3, 2, 5:9] = np.nan
    read = read_cropglobe(package(tmp_path / "a.npz", fea))
    np.testing.assert_array_equal(read.series, fea)
    assert read.recipe.fill == "none"


def test_season_and_year_are_told_from_the_steps(tmp_path: Path) -> None:
    year = read_cropglobe(package(tmp_path / YEAR_FILE.format("FRA"), series(9)))
    season = read_cropglobe(package(tmp_path / SEASON_FILE.format("FRA"), series(9, 43)))
    assert (year.recipe.first_step, year.recipe.n_steps) == (0, 73)
    assert (season.recipe.first_step, season.recipe.n_steps) == (24, 43)
    assert (year.provenance["country"], year.provenance["months"]) == ("FRA", [1, 12])
    assert season.provenance["months"] == [5, 11]
    assert (
        year.provenance["sha256"]
        == hashlib.sha256((tmp_path / YEAR_FILE.format("FRA")).read_bytes()).hexdigest()
    )


def test_other_names_are_read_without_a_country(tmp_path: Path) -> None:
    read = read_cropglobe(package(tmp_path / "fields of mine.npz", series(9)))
    assert "country" not in read.provenance
    assert read.provenance["file"] == "fields of mine.npz"


@pytest.mark.parametrize("name", [SEASON_FILE, "median_S2_{}_month4-10_day5.npz"])
def test_a_name_that_contradicts_the_steps_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LabelError, match="holds 73 steps of months"):
        read_cropglobe(package(tmp_path / name.format("FRA"), series(9)))


def test_equal_series_are_kept_once_in_their_order_and_contradictions_not_at_all(tmp_path: Path) -> None:
    fea, lbl = series(6)[[0, 1, 0, 2, 3, 2, 0, 4]], np.array([1, 2, 1, 3, 4, 5, 1, 6])
    fea[4, 0, 0] = np.nan
    fea = np.concatenate([fea, fea[4:5]])  # a gap is equal to a gap
    read = read_cropglobe(package(tmp_path / "a.npz", fea, np.append(lbl, 4)))
    np.testing.assert_array_equal(read.crop, [1, 2, 4, 6])
    np.testing.assert_array_equal(read.series, fea[[0, 1, 4, 7]])
    counts = {key: value for key, value in read.provenance.items() if key.startswith("n_")}
    assert counts == {"n_read": 9, "n_duplicate": 3, "n_conflicting": 2}


def test_minus_zero_is_zero(tmp_path: Path) -> None:
    fea = series(2)[[0, 0]]
    fea[:, 0, 0] = 0.0, -0.0
    assert len(read_cropglobe(package(tmp_path / "a.npz", fea, np.array([1, 1])))) == 1


@pytest.mark.parametrize(
    ("fea", "lbl"),
    [
        (np.zeros((4, 10, 72), np.float32), np.zeros(4, int)),
        (np.zeros((4, 73, 10), np.float32), np.zeros(4, int)),
        (np.zeros((4, 64), np.float32), np.zeros(4, int)),
        (np.zeros((4, 10, 73), np.float32), np.zeros(3, int)),
        (np.zeros((4, 10, 73), np.float32), np.zeros((4, 1), int)),
        (np.zeros((0, 10, 73), np.float32), np.zeros(0, int)),
        (np.zeros((4, 10, 73), np.complex64), np.zeros(4, int)),
        (np.zeros((4, 10, 73), bool), np.zeros(4, int)),
        (np.full((4, 10, 73), "0.1"), np.zeros(4, int)),
        (np.zeros((4, 10, 73), np.float32), np.array(["corn"] * 4)),
    ],
)
def test_other_layouts_are_refused_with_what_was_found(
    tmp_path: Path, fea: np.ndarray, lbl: np.ndarray
) -> None:
    with pytest.raises(LabelError, match=r"fea is .*lbl is .*needed: fea of numbers \(n, 10, 73\)"):
        read_cropglobe(package(tmp_path / "a.npz", fea, lbl))


@pytest.mark.parametrize("wrong", [-1, 7, 0.5, np.nan])
def test_labels_that_are_no_classes_are_refused(tmp_path: Path, wrong: float) -> None:
    lbl = np.array([0, 1, wrong])
    with pytest.raises(LabelError, match=r"lbl holds .*allowed: whole numbers 0 to 6 \(corn, "):
        read_cropglobe(package(tmp_path / "a.npz", series(3), lbl))


def test_labels_may_be_whole_floats(tmp_path: Path) -> None:
    read = read_cropglobe(package(tmp_path / "a.npz", series(3), np.array([0.0, 6.0, 2.0])))
    np.testing.assert_array_equal(read.crop, [0, 6, 2])


def test_infinity_is_refused(tmp_path: Path) -> None:
    fea = series(3)
    fea[0, 0, 0] = np.inf
    with pytest.raises(LabelError, match="infinity"):
        read_cropglobe(package(tmp_path / "a.npz", fea))


@pytest.mark.parametrize(
    "changed",
    [
        samples(recipe=replace(SEASON, first_step=23)),
        samples(recipe=replace(SEASON, n_steps=42)),
        samples(recipe=replace(SEASON, step_days=4)),
        samples(recipe=replace(SEASON, bands=tuple(reversed(SEASON.bands)))),
        replace(samples(), legend=Legend(tuple(reversed(CROPGLOBE.classes)))),
        samples().select(np.arange(0)),
    ],
)
def test_what_the_layout_cannot_hold_is_not_written(tmp_path: Path, changed: Samples) -> None:
    with pytest.raises(LabelError, match=r"cannot be written.*layout of CropGlobe"):
        write_cropglobe(changed, tmp_path / "a.npz")
    with pytest.raises(LabelError, match=r"cannot be written to 'a\.zip'"):
        write_cropglobe(samples(), tmp_path / "a.zip")
    assert not list(tmp_path.iterdir())


def test_a_file_is_replaced_only_if_asked(tmp_path: Path) -> None:
    path = write_cropglobe(samples(5), tmp_path / "a.npz")
    with pytest.raises(StorageError, match="exists already"):
        write_cropglobe(samples(6), path)
    assert len(read_cropglobe(path)) == 5
    assert len(read_cropglobe(write_cropglobe(samples(6), path, overwrite=True))) == 6


def test_a_disk_that_refuses_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        write_cropglobe(samples(), tmp_path / "file" / "a.npz")


def test_packaged_samples_can_be_kept_as_a_store(tmp_path: Path) -> None:
    read = read_cropglobe(package(tmp_path / YEAR_FILE.format("USA"), series(9)))
    again = read_samples(write_samples(read, tmp_path / "samples.zarr"))
    assert again.content_hash == read.content_hash
    assert again.provenance == read.provenance


def test_a_country_is_found_in_any_folder_and_the_whole_year_first(tmp_path: Path) -> None:
    package(tmp_path / "Median" / SEASON_FILE.format("FRA"), series(3, 43))
    package(tmp_path / "Median" / SEASON_FILE.format("BEL"), series(3, 43))
    year = package(tmp_path / "for_CropNet" / YEAR_FILE.format("FRA"), series(3))
    assert find_cropglobe(tmp_path, "fra") == year
    assert find_cropglobe(tmp_path, "BEL").name == SEASON_FILE.format("BEL")
    with pytest.raises(LabelError, match=r"no file of country 'USA'.*Countries there: BEL, FRA\..*fetch"):
        find_cropglobe(tmp_path, "USA")
    with pytest.raises(LabelError, match="Countries there: none"):
        find_cropglobe(tmp_path / "elsewhere", "USA")


def test_two_different_files_of_one_country_are_not_chosen_from(tmp_path: Path) -> None:
    for folder, seed in (("a", 0), ("b", 0)):
        package(tmp_path / folder / YEAR_FILE.format("FRA"), series(3, seed=seed))
    assert find_cropglobe(tmp_path, "FRA").parent.name == "a"  # the same file twice
    package(tmp_path / "c" / YEAR_FILE.format("FRA"), series(3, seed=1))
    with pytest.raises(LabelError, match="3 different files"):
        find_cropglobe(tmp_path, "FRA")


def test_names_of_other_kinds_do_not_count() -> None:
    names = ["harmonic_FRA_month5-11.npz", "median_S2_FRA_month4-9_day5.npz", "x" + YEAR_FILE.format("FRA")]
    assert best_files(names) == {}


def test_countries_are_joined_and_each_keeps_its_provenance(tmp_path: Path) -> None:
    package(tmp_path / YEAR_FILE.format("FRA"), series(9))
    with_gaps = series(5, seed=1)
    with_gaps[0, 0, 0] = np.nan
    package(tmp_path / YEAR_FILE.format("BEL"), np.round(with_gaps * 1e4))
    joined = load_cropglobe(tmp_path, ["FRA", "bel"])
    assert len(joined) == 14
    assert joined.recipe == replace(SEASON.full_year(), fill="none")
    assert (joined.field == 0).all()
    said = joined.provenance["joined"]
    assert [(part["country"], part["scale"], part["n_read"]) for part in said] == [
        ("FRA", 1, 9),
        ("BEL", 1e4, 5),
    ]


def test_year_and_season_are_not_joined(tmp_path: Path) -> None:
    package(tmp_path / YEAR_FILE.format("FRA"), series(9))
    package(tmp_path / SEASON_FILE.format("BEL"), series(9, 43))
    with pytest.raises(LabelError, match=r"FRA_month1-12_day5.npz 73, .*BEL_month5-11_day5.npz 43"):
        load_cropglobe(tmp_path, ["FRA", "BEL"])


@pytest.mark.parametrize("countries", [[], ["FRA", "fra "]])
def test_countries_are_named_once(tmp_path: Path, countries: list[str]) -> None:
    package(tmp_path / YEAR_FILE.format("FRA"), series(9))
    with pytest.raises(LabelError, match="at least one, each once"):
        load_cropglobe(tmp_path, countries)


def test_the_season_of_packaged_years_can_be_trained_on(tmp_path: Path) -> None:
    from toolkit.learn.seasons import cut_season

    package(tmp_path / YEAR_FILE.format("FRA"), series(9))
    year = load_cropglobe(tmp_path, ["FRA"])
    np.testing.assert_array_equal(cut_season(year.series, year.recipe, SEASON), year.series[:, :, 24:67])

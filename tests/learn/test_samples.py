"""Samples: kept whole on disk, joined, cut to a season."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from toolkit.errors import LabelError, RecipeMismatchError, StorageError
from toolkit.learn.samples import (
    ARRAYS,
    Samples,
    join_samples,
    read_samples,
    write_samples,
)
from toolkit.legend import Legend

MakeSamples = Callable[..., Samples]


def assert_same(one: Samples, other: Samples) -> None:
    for name in ARRAYS:
        ours, theirs = getattr(one, name), getattr(other, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    for name in ("recipe", "legend", "simulated", "provenance", "content_hash"):
        assert getattr(one, name) == getattr(other, name)


@pytest.mark.parametrize("simulated", [True, False])
def test_samples_come_back_from_disk_as_they_were(
    make_samples: MakeSamples, tmp_path: Path, *, simulated: bool
) -> None:
    samples = make_samples(30, simulated=simulated)
    samples.series[0, 0, 0] = np.nan  # stays NaN
    path = write_samples(samples, tmp_path / "run" / "samples.zarr")
    assert_same(read_samples(path), samples)
    assert json.loads(zarr.open_group(path, mode="r").attrs["recipe"]) == samples.recipe.to_dict()
    assert sorted(p.name for p in path.parent.iterdir()) == ["samples.zarr"]


def test_samples_are_not_overwritten_unless_asked(make_samples: MakeSamples, tmp_path: Path) -> None:
    path = write_samples(make_samples(30), tmp_path / "samples.zarr")
    with pytest.raises(StorageError, match="exists already"):
        write_samples(make_samples(60), path)
    assert len(read_samples(path)) == 30
    write_samples(make_samples(60), path, overwrite=True)
    assert len(read_samples(path)) == 60
    assert [p.name for p in tmp_path.iterdir()] == ["samples.zarr"]


def test_what_is_no_samples_store_is_never_overwritten(make_samples: MakeSamples, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(StorageError, match="it is something else"):
        write_samples(make_samples(), tmp_path / "thesis", overwrite=True)
    assert (tmp_path / "thesis" / "chapter.txt").exists()


def test_a_failed_write_leaves_nothing(
    make_samples: MakeSamples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("toolkit.storage.os.fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        write_samples(make_samples(), tmp_path / "samples.zarr")
    assert not list(tmp_path.iterdir())


def test_damaged_samples_are_refused(make_samples: MakeSamples, tmp_path: Path) -> None:
    path = write_samples(make_samples(), tmp_path / "samples.zarr")
    (path / "series" / "c" / "0" / "0" / "0").unlink()  # zarr alone would read zeros
    with pytest.raises(LabelError, match="damaged: their sha256"):
        read_samples(path)


def test_missing_and_foreign_stores_are_refused(make_samples: MakeSamples, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="cropglobe samples --out"):
        read_samples(tmp_path / "none")
    zarr.create_group(tmp_path / "other.zarr", zarr_format=3)
    with pytest.raises(LabelError, match="layout None; readable: 1"):
        read_samples(tmp_path / "other.zarr")
    path = write_samples(make_samples(), tmp_path / "samples.zarr")
    zarr.open_group(path).attrs["recipe"] = '{"bands": 5}'
    with pytest.raises(LabelError, match="cannot be read"):
        read_samples(path)


def test_arrays_that_do_not_belong_together_are_refused(make_samples: MakeSamples) -> None:
    samples = make_samples(6)
    bad = {
        "series is float64": {"series": samples.series.astype(np.float64)},
        r"needed: float32 \(6, 4, 12\)": {"series": samples.series[:, :, :5]},
        r"lat is float64 \(5,\)": {"lat": samples.lat[:5]},
        "legend has 7 classes": {"crop": samples.crop + np.uint8(7)},
        "cannot be kept as JSON": {"provenance": {"path": Path("x")}},
    }
    for match, change in bad.items():
        with pytest.raises(LabelError, match=match):
            replace(samples, **change)


def test_joined_samples_keep_their_fields_apart(make_samples: MakeSamples) -> None:
    elsewhere = make_samples(12, seed=1, simulated=False)
    parts = [make_samples(8), replace(elsewhere, lon=elsewhere.lon + 5)]
    joined = join_samples(parts)
    assert len(joined) == 20
    assert len(np.unique(joined.field)) == 2 + 3
    assert not set(joined.field[:8]) & set(joined.field[8:])
    assert joined.simulated
    assert joined.provenance == {"joined": [part.provenance for part in parts]}
    np.testing.assert_array_equal(joined.series[8:], parts[1].series)


def test_samples_of_other_meaning_are_not_joined(make_samples: MakeSamples) -> None:
    samples = make_samples(8)
    with pytest.raises(RecipeMismatchError, match="dilation_m: asked 60"):
        join_samples([samples, replace(samples, recipe=replace(samples.recipe, dilation_m=60))])
    legend = Legend(samples.legend.classes[:3])
    with pytest.raises(LabelError, match="different legends"):
        join_samples([samples, replace(samples, legend=legend)])
    for nothing in ([], [samples.select(samples.crop == 6)]):
        with pytest.raises(LabelError, match="There is no sample in the"):
            join_samples(nothing)


def test_tiles_of_one_area_share_fields_and_their_order_does_not_matter(make_samples: MakeSamples) -> None:
    whole = make_samples(24)
    whole = replace(whole, provenance={"n_not_observed": 2})
    tiles = [whole.select(np.arange(k, 24, 3)) for k in range(3)]  # every field lies in three tiles
    joined = join_samples(tiles, same_fields=True)
    assert joined.content_hash == join_samples(tiles[::-1], same_fields=True).content_hash
    assert sorted(joined.field) == sorted(whole.field)
    assert sorted(joined.lon) == sorted(whole.lon)
    assert joined.provenance == {"n_not_observed": 6}


def test_select_takes_some_of_everything(make_samples: MakeSamples) -> None:
    samples = make_samples(12)
    some = samples.select(samples.crop == 1)
    assert len(some) == 4
    assert set(some.crop) == {1}
    np.testing.assert_array_equal(some.lon, samples.lon[samples.crop == 1])

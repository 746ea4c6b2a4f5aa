"""Splits: no field, block or series on both sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from toolkit.errors import LabelError
from toolkit.learn.samples import Samples
from toolkit.learn.splits import split_samples

MakeSamples = Callable[..., Samples]


def apart(samples: Samples, split_by: str, groups: np.ndarray) -> None:
    split = split_samples(samples, share=0.25, seed=3, by=split_by)  # type: ignore[arg-type]  # a name of the table
    assert split.by == split_by
    assert not set(groups[split.training]) & set(groups[split.validation])
    assert not (split.training & split.validation).any()
    assert split.validation.any()
    counts = split.counts()
    assert counts["training"] == len(set(groups[split.training]))


def test_fields_blocks_and_series_stay_whole(make_samples: MakeSamples) -> None:
    samples = make_samples(240)
    apart(samples, "field", samples.field)
    places = np.random.default_rng(0).integers(0, 12, 240)
    spread = replace(samples, lon=-90 + 0.5 * places + 0.1, lat=np.full(240, 40.1))
    apart(spread, "block", spread.block)
    twice = replace(samples, series=np.repeat(samples.series[::2], 2, axis=0))
    apart(twice, "series", np.arange(240) // 2)


def test_what_is_known_decides(make_samples: MakeSamples) -> None:
    samples = make_samples(240)
    assert split_samples(samples, share=0.2, seed=0).by == "field"
    no_fields = replace(samples, field=np.zeros(240, np.int32), lon=np.linspace(-95, -85, 240))
    assert split_samples(no_fields, share=0.2, seed=0).by == "block"
    nothing = replace(no_fields, lon=np.full(240, np.nan))
    assert split_samples(nothing, share=0.2, seed=0).by == "series"


def test_samples_of_unknown_fields_do_not_open_the_known_ones(make_samples: MakeSamples) -> None:
    samples = make_samples(240)
    some_unknown = replace(samples, field=np.where(np.arange(240) < 20, 0, samples.field).astype(np.int32))
    split = split_samples(some_unknown, share=0.3, seed=0)
    assert split.by == "field"
    known = some_unknown.field > 0
    on_both = set(some_unknown.field[known & split.training]) & set(
        some_unknown.field[known & split.validation]
    )
    assert not on_both
    assert (split.training | split.validation).all()


@pytest.mark.parametrize(("n_blocks", "share"), [(2, 0.2), (4, 0.2), (12, 0.5), (12, 0.75)])
def test_few_blocks_and_large_shares_are_served_as_well_as_they_can(
    n_blocks: int, share: float, make_samples: MakeSamples
) -> None:
    samples = make_samples(240)
    places = np.random.default_rng(0).integers(0, n_blocks, 240)
    spread = replace(samples, lon=-90 + 0.5 * places + 0.1, lat=np.full(240, 40.1))
    split = split_samples(spread, share=share, seed=1, by="block")
    assert not set(places[split.training]) & set(places[split.validation])
    assert abs(split.validation.mean() - max(share, 1 / n_blocks)) < 0.12


def test_blocks_keep_about_the_share_and_the_classes(make_samples: MakeSamples) -> None:
    rng = np.random.default_rng(1)
    samples = make_samples(1200)
    spread = replace(samples, lon=-90 + 0.5 * rng.integers(0, 40, 1200) + 0.1, lat=np.full(1200, 40.1))
    split = split_samples(spread, share=0.2, seed=0, by="block")
    assert 0.15 < split.validation.mean() < 0.25
    assert set(spread.crop[split.validation]) == set(spread.crop[split.training]) == {0, 1, 2}
    again = split_samples(spread, share=0.2, seed=0, by="block")
    np.testing.assert_array_equal(split.validation, again.validation)


def test_blocks_are_half_a_degree_and_the_same_for_all_samples(make_samples: MakeSamples) -> None:
    samples = make_samples(5)
    lon = np.array([-60.01, -59.99, -59.51, -59.49, np.nan])
    placed = replace(samples, lon=lon, lat=np.full(5, -11.9))
    block = placed.block
    assert len(set(block[:4])) == 3
    assert block[1] == block[2]
    assert block[4] == -1
    np.testing.assert_array_equal(placed.select(np.array([3, 1])).block, block[[3, 1]])


def test_unknown_fields_or_places_cannot_be_asked_for(make_samples: MakeSamples) -> None:
    samples = make_samples(24)
    with pytest.raises(LabelError, match="24 of 24 samples have no known field"):
        split_samples(replace(samples, field=np.zeros(24, np.int32)), share=0.2, seed=0, by="field")
    one_unknown = replace(samples, lon=np.r_[np.nan, samples.lon[1:]])
    with pytest.raises(LabelError, match="1 of 24 samples have no known place"):
        split_samples(one_unknown, share=0.2, seed=0, by="block")


def test_one_block_is_refused(make_samples: MakeSamples) -> None:
    samples = make_samples(24)
    one_place = replace(samples, lon=np.full(24, 10.1), lat=np.full(24, 10.1))
    with pytest.raises(LabelError, match="Validation needs two blocks; got blocks: corn 1"):
        split_samples(one_place, share=0.2, seed=0, by="block")

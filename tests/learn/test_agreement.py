"""How far an engine is from float32: counted, and judged without allowance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from toolkit.learn.engines.agreement import Agreement, compare


def test_agreement_counts_other_classes_and_their_margins() -> None:
    exact = np.log(np.array([[0.6, 0.4], [0.52, 0.48], [0.1, 0.9]], np.float32))
    other = np.log(np.array([[0.6, 0.4], [0.48, 0.52], [0.2, 0.8]], np.float32))
    told = compare(other, exact)
    assert (told.pixels, told.different) == (3, 1)
    assert told.widest_margin == pytest.approx(0.04, abs=1e-6)
    both = told + Agreement(pixels=1000, different=3, widest_margin=0.02)
    assert (both.pixels, both.different) == (1003, 4)
    assert both.widest_margin == told.widest_margin
    assert both.close
    assert not replace(both, widest_margin=0.11).close


@pytest.mark.parametrize(("pixels", "most"), [(0, 0), (64, 0), (199, 0), (200, 1), (512, 2), (1400, 7)])
def test_at_most_one_pixel_in_two_hundred_may_get_another_class(pixels: int, most: int) -> None:
    assert Agreement(pixels=pixels, different=most).close
    assert not Agreement(pixels=max(pixels, 1), different=most + 1).close


@pytest.mark.parametrize(("margin", "wide"), [(0.0, False), (0.1, False), (0.1001, True)])
def test_no_pixel_may_of_which_float32_is_sure(margin: float, *, wide: bool) -> None:
    told = Agreement(pixels=10_000, different=1, widest_margin=margin)
    assert told.wide == wide
    assert told.close != wide

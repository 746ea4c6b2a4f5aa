"""Random streams: named, reproducible, independent; noise of unit size."""

import numpy as np
import pytest

from toolkit.errors import InputError
from toolkit.simulate.streams import smooth_noise, stream


def test_the_same_name_gives_the_same_numbers_and_another_name_others():
    assert stream(1, "sky", 5).random() == stream(1, "sky", 5).random()
    others = {stream(*key).random() for key in [(1, "sky", 5), (2, "sky", 5), (1, "soil", 5), (1, "sky", 6)]}
    assert len(others) == 4


def test_drawing_from_one_stream_leaves_numpys_global_state_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002  # the state that must not move
    stream(0, "x").random(100)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_a_negative_seed_is_refused():
    with pytest.raises(InputError, match="Seeds are 0 or more"):
        stream(-1, "sky")


@pytest.mark.parametrize("length", [3.0, 10.0])
def test_smooth_noise_has_unit_deviation_and_varies_over_its_length(length):
    noise = smooth_noise(stream(0, "noise"), (256, 256), length_px=length)
    assert abs(noise.std() - 1) < 0.2
    step = np.std(noise[:, 1:] - noise[:, :-1])
    assert step < 1.1 / length

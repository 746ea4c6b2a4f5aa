"""The benchmark of EMIT reads what it says; a granule of full size stays within memory and bytes."""

import pytest

from tests.benchmarks.emit_reading import IO, measure, write_full_granule

pytestmark = pytest.mark.skipif(not IO.exists(), reason=f"the system does not count bytes read: no {IO}")


def test_a_small_granule_is_measured_like_a_full_one(tmp_path):
    path = write_full_granule(tmp_path, lines=40, samples=50)
    found = measure(path, 60, rounds=1)
    assert 1500 < found.mapped < 3000  # 2 km x 2.5 km
    assert found.output == 167 * 167 * 244 * 4
    assert 0 < found.read < 20e6  # modules loaded on the way are counted, too
    assert len(found.ours_s) == len(found.plain_s) == 1


@pytest.mark.slow
def test_ten_kilometres_of_a_full_granule_take_little_memory_and_few_bytes(tmp_path):
    path = write_full_granule(tmp_path)
    assert path.stat().st_size > 1.8e9
    found = measure(path, 60, rounds=1)
    assert found.mapped == 167 * 167
    assert found.beyond_output <= 400
    assert found.read <= 1.2 * found.needed

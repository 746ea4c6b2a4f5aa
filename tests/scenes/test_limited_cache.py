"""What is kept stays within its limit; what was not asked for longest goes first."""

from hypothesis import given
from hypothesis import strategies as st

from toolkit.scenes.limited_cache import LimitedCache

LIMIT = 10
CALLS = st.lists(st.tuples(st.sampled_from(["keep", "take", "drop"]), st.integers(0, 5), st.integers(1, 12)))


@given(CALLS)
def test_what_is_kept_is_what_was_used_last_and_fits(calls):
    kept, latest = LimitedCache(LIMIT), []  # the oldest first
    for call, key, size in calls:
        known = next((one for one in latest if one[0] == key), None)
        if call == "keep":
            kept.keep(key, (key, size), size)
            if known is None:
                latest.append((key, size))
                while sum(n_bytes for _, n_bytes in latest) > LIMIT:
                    latest.pop(0)
            continue
        if known is not None:
            latest.remove(known)
        if call == "drop":
            kept.drop(key)
            continue
        assert kept.take(key) == known
        latest += [known] if known is not None else []
    assert [kept.take(key) for key, _ in latest] == latest
    assert all(kept.take(key) is None for key in set(range(6)) - {key for key, _ in latest})


def test_a_value_larger_than_the_limit_is_not_kept():
    kept = LimitedCache(LIMIT)
    kept.keep("small", 1, 4)
    kept.keep("large", 2, LIMIT + 1)
    assert kept.take("large") is None

"""Simulated series of Sentinel-2 numbers whose offsets are known, and the table of what the check finds.

``python -m tests.scenes.offset_scenes`` prints the tables of ``docs/radiometry.md`` again.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.scenes.offset_evidence import CHECK_BANDS
from toolkit.scenes.offsets import OffsetCheck, check_offsets
from toolkit.simulate.spectra import DRY_SOIL, GREEN, SENESCENT, WATER, WET_SOIL

KINDS = ("vegetation", "soil", "water", "snow", "mixed")
SCOPES = ("one item", "every item", "half of the items", "from mid-series on", "a single item alone")
COLUMNS = (0, 2, 9)
"""Blue, red and SWIR (B12) in the tables of toolkit.simulate.spectra."""
WAVELENGTHS = np.array([0.490, 0.665, 2.190])
HAZE = (WAVELENGTHS / WAVELENGTHS[0]) ** -1.3
"""Path reflectance of continental aerosol against blue (Angstrom exponent 1.3: Eck et al. 1999)."""
SNOW = np.array([0.92, 0.90, 0.07])
"""Fine to medium grains (Dozier et al. 2009, doi:10.1016/j.rse.2007.02.037)."""
SIZE, FIELD = 32, 8
OUTCOMES = ("fine", "missing", "doubled", "cannot tell")
ENOUGH = 0.1
"""Items with a smaller share of clear pixels are not asked to be decided."""


@dataclass(frozen=True)
class Series:
    reflectance: np.ndarray
    """Float (band, time, y, x)."""
    scl: np.ndarray
    clips_at: int

    @property
    def clear(self) -> np.ndarray:
        """Items with enough clear pixels, snow counted."""
        return np.isin(self.scl, (4, 5, 6, 11)).mean(axis=(1, 2)) >= ENOUGH

    def numbers(self, states: Sequence[int]) -> dict[str, np.ndarray]:
        """Digital numbers as files hold them, with 1, 0 or -1 times 1000 added to each item."""
        states = np.asarray(states)[None, :, None, None]
        before = np.where(states == 1, -np.inf, 1)  # baselines before 04.00 end at 1
        pure = np.maximum(np.rint(self.reflectance * 1e4), before)
        lowest = np.where(states == -1, self.clips_at, 1)
        held = np.clip(pure + 1000 * states, lowest, 65535).astype(np.uint16)
        return {band: np.where(self.scl == 0, 0, held[i]) for i, band in enumerate(CHECK_BANDS)}


def make_series(kind: str, seed: int, dates: int | None = None) -> Series:
    """One series of ``kind``; every seed is another place, weather and season."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    dates = dates or int(rng.integers(8, 17))
    days = np.sort(rng.choice(np.arange(0, 365, 5), dates, replace=False))
    if kind == "vegetation":
        clean, scl = _vegetation(rng, days)
    elif kind == "soil":
        clean, scl = _soil(rng, days)
    elif kind == "water":
        clean, scl = _water(rng, days)
    elif kind == "snow":
        clean, scl = _snow(rng, days)
    else:
        clean, scl = _mixed(rng, days)
    return Series(*_atmosphere(rng, clean, scl), clips_at=int(rng.integers(0, 2)))


def _per_field(rng, low, high):
    """A value per field, the same in each pixel of it."""
    count = SIZE // FIELD
    return np.kron(rng.uniform(low, high, (count, count)), np.ones((FIELD, FIELD)))


def _table(row):
    return np.array(row)[list(COLUMNS)]


def _ground(rng, days, look=None):
    """Bare soils: sandy, loamy, dark or any; wetted by rain, drying in about ten days (band, time, y, x)."""
    look = look or rng.choice(["sandy", "loamy", "dark", "any"])
    low, high, driest = {
        "sandy": (0.80, 1.25, 0.0),
        "loamy": (0.45, 0.85, 0.0),
        "dark": (0.30, 0.60, 0.3),
        "any": (0.35, 1.20, 0.0),
    }[look]
    redness = rng.uniform(0, 1.2) + _per_field(rng, -0.15, 0.15)  # 0: grey loam of PROSAIL, 1.2: red earth
    tilt = (WAVELENGTHS[:2, None, None] / WAVELENGTHS[1]) ** redness
    tilt = np.concatenate([tilt, np.ones((1, SIZE, SIZE))])
    rains = np.sort(rng.uniform(-20, 365, rng.integers(3, 15)))
    since = np.array([day - rains[rains <= day].max(initial=-60) for day in days])
    wetness = driest + (1 - driest) * np.exp(-since / 10) * rng.uniform(0.4, 1.0, len(days))
    wetness = np.clip(wetness[:, None, None] + _per_field(rng, -0.15, 0.15), 0, 1)
    dry, wet = (_table(row)[:, None, None, None] for row in (DRY_SOIL, WET_SOIL))
    return (dry + wetness * (wet - dry)) * _per_field(rng, low, high) * tilt[:, None]


def _canopy(rng):
    names = rng.choice(list(GREEN), (SIZE // FIELD, SIZE // FIELD))
    spectra = np.array([[_table(GREEN[name]) for name in row] for row in names]).transpose(2, 0, 1)
    spectra = spectra * rng.uniform(0.75, 1.3, spectra.shape[1:])
    if rng.random() < 0.25:  # conifers: woodland half as bright, by shade between crowns
        spectra = np.broadcast_to(_table(GREEN["woodland"])[:, None, None] * 0.5, spectra.shape)
    return np.kron(spectra, np.ones((FIELD, FIELD)))


def _vegetation(rng, days, look=None):
    peak, width = _per_field(rng, 120, 240), _per_field(rng, 60, 160)
    cover = np.exp(-(((days[:, None, None] - peak) / width) ** 2))
    cover = _per_field(rng, 0.0, 0.75) + (0.97 - _per_field(rng, 0.0, 0.2)) * cover
    cover = np.clip(cover + rng.normal(0, 0.05, cover.shape), 0.02, 0.97)
    dead = np.where(days[:, None, None] > peak, 0.5 * (1 - cover), 0)
    straw = _table(SENESCENT[str(rng.choice(list(SENESCENT)))])[:, None, None, None]
    ground = _ground(rng, days, look)
    clean = cover * _canopy(rng)[:, None] + dead * straw + (1 - cover - dead) * ground
    return clean, np.where(cover > 0.45, 4, 5).astype(np.uint8)


def _soil(rng, days):
    weeds = np.clip(rng.normal(0.05, 0.05, (len(days), SIZE, SIZE)), 0, 0.3)
    clean = (1 - weeds) * _ground(rng, days) + weeds * _table(GREEN["weeds"])[:, None, None, None]
    return clean, np.full(weeds.shape, 5, np.uint8)


def _water(rng, days):
    """Lakes and rivers: clear to turbid (sediment as in Doxaran et al. 2002), glint of all bands alike."""
    shape = (len(days), 1, 1)
    clear = _table(WATER)[:, None, None, None] * rng.uniform(0.2, 1.0)
    muddy = rng.random() < 0.4
    load = rng.uniform(0.2, 1.0, shape) * muddy * (0.6 + _per_field(rng, 0, 0.6))
    sediment = np.array([0.07, 0.12, 0.004])[:, None, None, None] * load
    glint = np.clip(rng.exponential(0.012, shape), 0, 0.06) * (
        1 + rng.normal(0, 0.2, (len(days), SIZE, SIZE))
    )
    return clear + sediment + glint, np.full((len(days), SIZE, SIZE), 6, np.uint8)


def _snow(rng, days):
    shape = (len(days), SIZE, SIZE)
    bright = rng.uniform(0.6, 1.0, (len(days), 1, 1)) + rng.normal(0, 0.04, shape)
    return SNOW[:, None, None, None] * bright, np.full(shape, 11, np.uint8)


def _mixed(rng, days):
    """Fields and a lake; snow on some winter days."""
    clean, scl = _vegetation(rng, days)
    lake, _ = _water(rng, days)
    wet = _per_field(rng, 0, 1) < 0.25
    clean, scl = np.where(wet, lake, clean), np.where(wet, 6, scl)
    white = (days < 60)[:, None, None] & (rng.random((len(days), 1, 1)) < 0.4) & ~wet
    snow, _ = _snow(rng, days)
    return np.where(white, snow, clean), np.where(white, 11, scl).astype(np.uint8)


def _atmosphere(rng, clean, scl):
    """Light, haze, over- and undercorrection, clouds with fringes and shadows, noise."""
    dates = (clean.shape[1], 1, 1)
    light = rng.normal(1, 0.06, dates)
    haze = np.clip(rng.exponential(0.015, dates), 0, 0.05) * (1 + rng.normal(0, 0.1, (dates[0], SIZE, SIZE)))
    haze = HAZE[:, None, None, None] * haze
    wrong = rng.normal(0, 1, (3, *dates)) * np.array([0.007, 0.004, 0.002])[:, None, None, None]
    seen = clean * light * (1 - haze) + haze + wrong
    rows, columns = np.mgrid[:SIZE, :SIZE]
    scl = scl.copy()
    for t in np.flatnonzero(rng.random(dates[0]) < 0.45):
        y, x = rng.uniform(0, SIZE, 2)
        radius = rng.uniform(3, 26)
        far = np.hypot(rows - y, columns - x)
        shadow = np.hypot(rows - y - 8, columns - x - 4) < radius
        seen[:, t] = np.where(shadow, seen[:, t] * 0.5, seen[:, t])
        seen[:, t] += np.clip((radius + 2.5 - far) / 5, 0, 1) * rng.uniform(
            0.15, 0.5
        )  # fringe outside the mask
        scl[t] = np.where(far < radius, 9, np.where(shadow, 3, scl[t]))
    noise = rng.normal(0, 1, seen.shape) * (0.002 + 0.02 * np.abs(seen))
    return seen + noise, scl


def outcome_of(listed: float, state: int) -> str:
    """Truth: what the numbers hold beyond what the metadata say."""
    wrong = round(listed * 10) + state
    return "fine" if wrong == 0 else "missing" if wrong > 0 else "doubled"


def cases(kind: str, seed: int) -> Iterator[tuple[str, float, list[int], np.ndarray, Series]]:
    """All wrongs of one series: (scope, listed offset, state of each item, items that count, series)."""
    rng = np.random.default_rng([seed, 77])
    series = make_series(kind, seed)
    count = len(series.scl)
    for listed, right, states in ((0.0, 0, (0, 1, -1)), (-0.1, 1, (1, 0, -1))):
        for state in states:
            one = int(rng.choice(np.flatnonzero(series.clear)))
            for scope in SCOPES:
                if scope == "a single item alone":
                    alone = Series(series.reflectance[:, [one]], series.scl[[one]], series.clips_at)
                    yield scope, listed, [state], alone.clear, alone
                    continue
                wrong = {
                    "one item": np.arange(count) == one,
                    "every item": np.ones(count, bool),
                    "half of the items": rng.permutation(count) < count / 2,
                    "from mid-series on": np.arange(count) >= count / 2,
                }[scope]
                yield scope, listed, np.where(wrong, state, right).tolist(), series.clear, series


def check(series: Series, states: Sequence[int], listed: float) -> list[OffsetCheck]:
    return check_offsets(series.numbers(states), series.scl, [listed] * len(states))


def confusion(kind: str, seeds: Sequence[int]) -> dict[tuple[str, float, str], Counter[str]]:
    """Outcomes counted by scope, listed offset and truth, over all items with enough clear pixels.

    For series in which one item is wrong, that item and the rest are both counted.
    """
    table: dict[tuple[str, float, str], Counter[str]] = {}
    for seed in seeds:
        for scope, listed, states, counted, series in cases(kind, seed):
            for t, found in enumerate(check(series, states, listed)):
                if counted[t]:
                    truth = outcome_of(listed, states[t])
                    table.setdefault((scope, listed, truth), Counter())[found.outcome] += 1
    return table


def decided(table: dict[tuple[str, float, str], Counter[str]], scopes: Sequence[str] = SCOPES[:-1]) -> float:
    """Share of items that were decided."""
    total = sum((count for (scope, *_), count in table.items() if scope in scopes), Counter())
    return 1 - total["cannot tell"] / total.total()


def wrongly(table: dict[tuple[str, float, str], Counter[str]]) -> int:
    """Number of items decided, but wrongly."""
    return sum(
        n for key, row in table.items() for out, n in row.items() if out not in (key[2], "cannot tell")
    )


def main(first: int = 200, last: int = 230) -> None:
    """Print the table of ``docs/radiometry.md``."""
    sys.stdout.write(
        f"| scenes, seeds {first} to {last - 1} | truth | {' | '.join(OUTCOMES)} | decided | wrong |\n"
    )
    sys.stdout.write("|---|---|" + "---:|" * (len(OUTCOMES) + 2) + "\n")
    for kind in KINDS:
        table = confusion(kind, range(first, last))
        for truth in OUTCOMES[:3]:
            rows = [row for (scope, _, true), row in table.items() if true == truth and scope in SCOPES[:2]]
            total = sum(rows, Counter())
            told = 1 - total["cannot tell"] / total.total()
            wrong = sum(n for outcome, n in total.items() if outcome not in (truth, "cannot tell"))
            counts = " | ".join(f"{total[outcome]:,}" for outcome in OUTCOMES)
            sys.stdout.write(f"| {kind} | {truth} | {counts} | {told:.1%} | {wrong} |\n")


if __name__ == "__main__":
    main()

"""The recipe: everything that decides what a feature value means.

It is stored in samples and checkpoints, so that a map is never made with other features than
those a model was trained on.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from toolkit.errors import InputError, RecipeMismatchError
from toolkit.scenes.emit_bands import GOOD_BANDS, band_centre
from toolkit.scenes.sensors import SENTINEL2_BANDS as SENTINEL2_BANDS  # features name it too
from toolkit.scenes.sensors import STATISTICS, Statistic

SeriesKind = Literal["median2d", "median1d", "harmonic"]
Kind = Literal["median2d", "median1d", "harmonic", "emit"]
Fill = Literal["linear", "periodic", "none"]
KINDS: tuple[str, ...] = get_args(Kind)
FILLS: tuple[str, ...] = get_args(Fill)
MAX_ORDER = 6
"""Highest order of harmonics: 13 coefficients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRecipe:
    """How features are made from scenes."""

    sensor: str = "sentinel-2"
    """Name in :data:`toolkit.scenes.sensors.SENSORS`."""
    kind: Kind = "median2d"
    """``median2d``: array (band, step); ``median1d``: the same values as one vector; ``harmonic``: the
    coefficients of each band's curve as one vector; ``emit``: one spectrum."""
    bands: tuple[str, ...] = SENTINEL2_BANDS
    """Band names in the order of the feature array; those of EMIT are centres in nm."""
    first_step: int = 24
    """First step of the season, counted from the start of the (hemisphere's) year."""
    n_steps: int = 43
    """Steps in the season; 24 and 43 are May to November in the north."""
    step_days: int = 5
    """Length of a step in days."""
    clear: str = "default"
    """Clear-sky preset, a name in :data:`toolkit.scenes.clear.PRESETS` (Sentinel-2) or
    :data:`toolkit.scenes.emit_mask.PRESETS` (EMIT)."""
    dilation_m: float = 0.0
    """Clouds and shadows are grown by this many metres."""
    fill: Fill = "linear"
    """``linear``: steps without observation are filled linearly in time, ends held; ``periodic``: ends are
    filled across the turn of the year (full years only); ``none``: they stay NaN."""
    order: int = 2
    """Order of the harmonics; of no meaning to other kinds."""
    statistic: Statistic = "median"
    """How spectra of several granules are joined; of no meaning to other kinds."""

    def __post_init__(self) -> None:
        """Refuse values that no part of the pipeline could serve."""
        checks = {
            "kind": (self.kind in KINDS, f"one of {KINDS}"),
            "fill": (self.fill in FILLS, f"one of {FILLS}"),
            "order": (0 <= self.order <= MAX_ORDER, f"0 to {MAX_ORDER}"),
            "bands": (
                len(self.bands) > 0 and len(set(self.bands)) == len(self.bands),
                "at least one, each once",
            ),
            "step_days": (1 <= self.step_days <= 365, "1 to 365 days"),
            "first_step": (self.first_step >= 0, "0 or more"),
            # Composites of others may end the year with a short step: MODIS has 23 of 16 days.
            "n_steps": (1 <= self.n_steps <= math.ceil(365 / max(self.step_days, 1)), "1 to one year"),
            "dilation_m": (0 <= self.dilation_m <= 5000, "0 to 5000 metres"),
            "statistic": (self.statistic in STATISTICS, f"one of {STATISTICS}"),
            **(self._checks_of_spectra() if "emit" in (self.sensor, self.kind) else {}),
        }
        for name, (fine, allowed) in checks.items():
            if not fine:
                msg = f"Recipe: {name} is {getattr(self, name)!r}; allowed: {allowed}."
                raise InputError(msg)
        if self.fill == "periodic" and (self.first_step, self.n_steps) != (0, self.steps_per_year):
            last = self.first_step + self.n_steps - 1
            msg = (
                f"Recipe: fill is 'periodic' for steps {self.first_step} to {last}; allowed: the full year, "
                f"steps 0 to {self.steps_per_year - 1}. Use fill 'linear' for a season."
            )
            raise InputError(msg)

    def _checks_of_spectra(self) -> dict[str, tuple[bool, str]]:
        """What a recipe of spectra must be: name -> whether it is, and what is allowed."""
        return {
            "sensor": (self.sensor == "emit", "'emit' with kind 'emit'"),
            "kind": (self.kind == "emit", "'emit' with sensor 'emit'"),
            "bands": (
                len(self.bands) > 0 and all(band_centre(name) is not None for name in self.bands),
                "centres in nm, e.g. '865.1'",
            ),
            "fill": (self.fill == "none", "'none': a spectrum has no steps"),
            "dilation_m": (self.dilation_m == 0, "0: EMIT's mask has a flag of grown clouds"),
        }

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(n_bands, n_steps)`` of one pixel's features; a spectrum is one step."""
        return len(self.bands), 1 if self.kind == "emit" else self.n_steps

    @property
    def steps_per_year(self) -> int:
        """Whole steps in a year; days left over join the last step."""
        return 365 // self.step_days

    @property
    def covers_year(self) -> bool:
        """Whether the steps are a whole year, from its start."""
        return self.first_step == 0 and self.n_steps >= self.steps_per_year

    def full_year(self) -> FeatureRecipe:
        """Return the same recipe over all steps of a year, as samples are stored."""
        return replace(self, first_step=0, n_steps=self.steps_per_year)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "bands": list(self.bands)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FeatureRecipe:
        """Rebuild a recipe from :meth:`to_dict`.

        Raises:
            InputError: a key is unknown or a value is not allowed.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            msg = f"Recipe: unknown keys {unknown}; known: {sorted(known)}."
            raise InputError(msg)
        return cls(**{**values, "bands": tuple(values.get("bands", SENTINEL2_BANDS))})


def emit_recipe(**changes: Any) -> FeatureRecipe:
    """Return the recipe of spectra: EMIT's good bands, July and August of the (hemisphere's) year.

    The season is a window in days, as the International Space Station passes a place at irregular times.

    Args:
        changes: values other than the defaults.

    Raises:
        InputError: a value is not allowed.
    """
    window = {"first_step": 181, "n_steps": 62, "step_days": 1}
    values = {"sensor": "emit", "kind": "emit", "bands": GOOD_BANDS, "fill": "none", **window, **changes}
    return FeatureRecipe(**values)


def check_same_recipe(asked: FeatureRecipe, trained: FeatureRecipe) -> None:
    """Raise if features asked for are not those a model was trained on.

    Args:
        asked: recipe of the request.
        trained: recipe of the checkpoint.

    Raises:
        RecipeMismatchError: names each differing key with both values.
    """
    ours, theirs = asked.to_dict(), trained.to_dict()
    if differing := [key for key in ours if ours[key] != theirs[key]]:
        lines = "; ".join(
            f"{key}: asked {_short(ours[key])}, trained {_short(theirs[key])}" for key in differing
        )
        msg = (
            f"The model was trained on other features than asked for ({lines}). "
            "Drop these options, or train a model with them."
        )
        raise RecipeMismatchError(msg)


def _short(value: Any) -> str:
    """A value as it is shown; of EMIT's 244 bands the ends."""
    if isinstance(value, list) and len(value) > 20:
        return f"{len(value)} bands, {value[0]} to {value[-1]}"
    return repr(value)

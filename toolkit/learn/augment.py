"""Series varied in training: other regions' phenology, light and clouds, by whole batches.

Shift and scale are one map from the season's steps to positions in the year, so a series is resampled
once. Draws are made on the CPU and moved to where the series are: a GPU gets the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from toolkit.learn.augmentations import COPIES, Augmentation

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The season in a year's series."""

    first_step: int
    """Position of its first step in the series."""
    n_steps: int
    """Its steps."""
    step_days: int
    """Length of a step, days."""
    moves: bool = True
    """Whether the series hold a whole year, in which the window can move; otherwise they are the season."""


def augment(
    series: Tensor,
    window: Window,
    augmentation: Augmentation,
    generator: torch.Generator,
    *,
    observed: Tensor | None = None,
) -> Tensor:
    """Return the season of each series, varied.

    Args:
        series: float32 ``(n, band, step)``, reflectance, no NaN; the whole year, or the season alone if the
            window does not move.
        window: the season in it.
        augmentation: what to draw.
        generator: source of the draws, on the CPU.
        observed: bool ``(n, step)``, True where the year was observed, not filled. A map knows nothing beyond
            the first and the last observation of a season, and holds their values: so does a moved window.
            None: everywhere.

    Returns:
        float32 ``(n, band, window.n_steps)``, on the device of the series.
    """
    if window.moves:
        position = positions(len(series), window, series.shape[2], augmentation, generator)
        position = position.to(series.device)
        if observed is not None and not augmentation.published:
            position = held_ends(position, observed)
        varied = resample(series, position)
    else:
        varied = series.clone()
    if augmentation.noise > 0:
        varied += augmentation.noise * torch.randn(varied.shape, generator=generator).to(varied.device)
    if augmentation.gap_probability > 0:
        seen = clear_steps(len(varied), window.n_steps, augmentation, generator)
        varied = fill_gaps(varied, seen.to(varied.device))
    chosen = _chosen(len(varied), augmentation.warp_probability, generator).to(varied.device)
    if len(chosen):
        factors = _warps(len(chosen), varied.shape[1], window.n_steps, augmentation, generator)
        varied[chosen] *= factors.to(varied.device)
    return varied


def positions(
    n: int, window: Window, year_steps: int, augmentation: Augmentation, generator: torch.Generator
) -> Tensor:
    """Draw where in the year each step of the season is taken from.

    Args:
        n: series.
        window: the season.
        year_steps: steps of the year.
        augmentation: largest shift and scale.
        generator: source of the draws.

    Returns:
        float32 ``(n, window.n_steps)``, steps from the start of the year, evenly spaced in each row; they may
        lie before it or after it. Published: within ``0`` to ``year_steps - 1``.
    """
    per_day = 1 / window.step_days
    shift, first, last = (2 * torch.rand((3, n), generator=generator) - 1).unbind()
    scaled = torch.rand(n, generator=generator) < augmentation.scale_probability
    shift = shift * augmentation.shift_days * per_day
    if augmentation.published:
        shift = torch.where(scaled, 0.0, shift)
    change = augmentation.scale_days * per_day
    start = window.first_step + shift + torch.where(scaled, first * change, 0.0)
    stop = window.first_step + window.n_steps - 1 + shift + torch.where(scaled, last * change, 0.0)
    if augmentation.published:
        start, stop = (edge.clamp(0, year_steps - 1) for edge in (start, stop))
    share = torch.linspace(0, 1, window.n_steps)
    return start[:, None] + (stop - start)[:, None] * share


def resample(series: Tensor, position: Tensor) -> Tensor:
    """Return series at other positions, linearly between steps, around the turn of the year.

    Args:
        series: float32 ``(n, band, step)``.
        position: float32 ``(n, out)``, in steps; the last step is followed by the first.

    Returns:
        float32 ``(n, band, out)``.
    """
    n, bands, steps = series.shape
    below = position.floor()
    share = (position - below)[:, None, :]
    left = below.long().remainder(steps)
    right = (left + 1).remainder(steps)
    shape = (n, bands, position.shape[1])
    before = series.gather(2, left[:, None, :].expand(shape))
    after = series.gather(2, right[:, None, :].expand(shape))
    return torch.lerp(before, after, share)


def held_ends(position: Tensor, observed: Tensor) -> Tensor:
    """Return positions that do not go beyond the first and the last observation in their window.

    Args:
        position: float32 ``(n, out)``, rising in each row, in steps, as :func:`resample` takes them.
        observed: bool ``(n, step)``, True where the year was observed.

    Returns:
        float32 ``(n, out)``; unchanged where a window holds no observation.
    """
    steps = observed.shape[1]
    twice = torch.cat([observed, observed], dim=1)  # so that the search goes around the year
    step = torch.arange(2 * steps, device=observed.device)
    before = torch.where(twice, step, -2 * steps).cummax(dim=1).values[:, steps:] - step[:steps] - steps
    after = torch.where(twice, step, 4 * steps).flip(1).cummin(dim=1).values.flip(1)[:, :steps] - step[:steps]
    start, stop = position[:, :1].ceil(), position[:, -1:].floor()
    first = start + after.gather(1, start.long().remainder(steps))
    last = stop + before.gather(1, stop.long().remainder(steps))
    held = position.clamp(min=first, max=last)
    return torch.where(first <= last, held, position)


def clear_steps(n: int, n_steps: int, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Draw which steps stay when clouds take some, in blocks.

    Clear and cloudy follow each other as a two-state Markov chain with the expected share and length of
    gaps; a series that would lose all its steps keeps them.

    Returns:
        bool ``(n, n_steps)``, True where a step stays.
    """
    draw = torch.rand((n, n_steps), generator=generator)
    share = augmentation.gap_share
    leave = 1 / augmentation.gap_steps
    enter = leave * share / (1 - share)  # so that 'share' is the chain's long-run mean
    cloudy = draw[:, 0] < share
    columns = [cloudy]
    for step in range(1, n_steps):
        cloudy = torch.where(cloudy, draw[:, step] >= leave, draw[:, step] < enter)
        columns.append(cloudy)
    seen = torch.stack(columns, dim=1).logical_not()
    untouched = torch.rand(n, generator=generator) >= augmentation.gap_probability
    return seen | untouched[:, None] | ~seen.any(dim=1, keepdim=True)


def fill_gaps(series: Tensor, seen: Tensor) -> Tensor:
    """Fill steps linearly in time, ends held, as :func:`toolkit.kernels.fill.fill_linear` fills a season.

    Args:
        series: float32 ``(n, band, step)``.
        seen: bool ``(n, step)``, True where the value stays; at least one a row.
    """
    steps = seen.shape[1]
    step = torch.arange(steps, device=seen.device)
    before = torch.where(seen, step, -1).cummax(dim=1).values
    after = torch.where(seen, step, steps).flip(1).cummin(dim=1).values.flip(1)
    before, after = torch.where(before < 0, after, before), torch.where(after >= steps, before, after)
    share = (step - before) / (after - before).clamp(min=1)
    shape = series.shape
    return torch.lerp(
        series.gather(2, before[:, None, :].expand(shape)),
        series.gather(2, after[:, None, :].expand(shape)),
        share[:, None, :].to(series.dtype),
    )


def augmented_copies(
    series: Tensor,
    window: Window,
    augmentation: Augmentation,
    generator: torch.Generator,
    *,
    observed: Tensor | None = None,
) -> list[Tensor]:
    """Return copies drawn once, to train on beside the originals: as published, and for forests.

    Args:
        series: float32 ``(n, band, step)``, as :func:`augment` takes them.
        window: the season in them.
        augmentation: what to draw.
        generator: source of the draws.
        observed: as :func:`augment` takes it.
    """
    return [augment(series, window, augmentation, generator, observed=observed) for _ in range(COPIES)]


def _chosen(n: int, probability: float, generator: torch.Generator) -> Tensor:
    """Draw which rows something happens to; their positions, int64."""
    return (torch.rand(n, generator=generator) < probability).nonzero().ravel()


def _warps(
    n: int, bands: int, n_steps: int, augmentation: Augmentation, generator: torch.Generator
) -> Tensor:
    """Draw smooth curves around 1, float32 ``(n, band, step)``."""
    knots = torch.randn((n * bands, augmentation.warp_knots), generator=generator)
    curves = 1 + augmentation.warp_deviation * (knots @ _spline(augmentation.warp_knots, n_steps))
    return curves.reshape(n, bands, n_steps)


def _spline(n_knots: int, n_steps: int) -> Tensor:
    """Return the cubic spline through even knots as a matrix: knots times it are values at the steps."""
    knots = np.linspace(0, n_steps - 1, n_knots)
    matrix = CubicSpline(knots, np.eye(n_knots), axis=0)(np.arange(n_steps)).T
    return torch.from_numpy(np.ascontiguousarray(matrix, dtype=np.float32))

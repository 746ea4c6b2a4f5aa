"""How close a source region is to an unlabelled target: no label of the target is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist, pdist

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import InputError

Array = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]
Series = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

SHRINKAGE = 0.01
"""Share of the mean variance mixed into a covariance: 128 features of some hundred samples are nearly
degenerate. Our choice."""
MMD_SAMPLES = 1000
"""Most samples of each side in the kernel distance, as its cost grows with their square. Our choice."""
RED, NIR = "B04", "B08"
"""Bands of the NDVI, (NIR - red) / (NIR + red)."""
OBSERVED_SHARE = 0.25
"""A step of a mean curve counts where at least this share of the samples is observed: the few pixels seen
through the gaps of a cloudy step are mostly its haze. Our choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One way to say how close a source is to a target."""

    meaning: str
    """One line for tables."""
    closer: int
    """-1: smaller is closer, 1: larger is closer."""
    signed: bool = False
    """Whether the sign is a direction, and the amount alone is the distance."""

    def closeness(self, value: float) -> float:
        """Return a value as closeness: larger is closer."""
        return self.closer * (abs(value) if self.signed else value)


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "frechet": Measure(meaning="Frechet distance of the network's features", closer=-1),
        "frechet_relative": Measure(
            meaning="Frechet distance over the variance of the source's features", closer=-1
        ),
        "mmd": Measure(meaning="maximum mean discrepancy of the network's features", closer=-1),
        "phenology_days": Measure(
            meaning="days by which the target's mean NDVI is later", closer=-1, signed=True
        ),
        "confidence": Measure(meaning="mean probability of the predicted class", closer=1),
        "thresholded_confidence": Measure(meaning="accuracy foretold by confidence (ATC)", closer=1),
    }
)
"""Name -> measure."""


def frechet_distance(a: Array, b: Array, *, shrinkage: float = SHRINKAGE, relative: bool = False) -> float:
    """Return the squared Frechet distance of two clouds of features, each taken as a Gaussian.

    ``|m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a^1/2 S_b S_a^1/2)^1/2)`` (Dowson & Landau 1982, the
    "Frechet Inception distance" of Heusel et al. 2017), in float64. The root is taken in the symmetric
    form, whose eigenvalues are real. Each covariance is ``(1 - shrinkage) S + shrinkage tr(S) / d I``.

    Args:
        a: features of the source, ``(sample, feature)``.
        b: features of the target, ``(sample, feature)``.
        shrinkage: 0 (none) to 1.
        relative: divide by ``tr(S_a)``, so that networks whose features have other scales compare.

    Raises:
        InputError: fewer than two samples, other numbers of features, or NaN.
    """
    a, b = _pair(a, b)
    cov_a, cov_b = _covariance(a, shrinkage), _covariance(b, shrinkage)
    root = _root(cov_a)
    crossed = np.linalg.eigvalsh(root @ cov_b @ root)
    shift = a.mean(axis=0) - b.mean(axis=0)
    spread = np.trace(cov_a) + np.trace(cov_b) - 2 * np.sqrt(np.clip(crossed, 0, None)).sum()
    distance = float(shift @ shift + max(spread, 0.0))  # rounding may go below zero for equal clouds
    if not relative:
        return distance
    own = float(np.trace(cov_a))
    return distance / own if own > 0 else float("nan")


def maximum_mean_discrepancy(a: Array, b: Array, *, most: int = MMD_SAMPLES, seed: int = 0) -> float:
    """Return the unbiased squared maximum mean discrepancy with a Gaussian kernel.

    ``mean k(a, a') + mean k(b, b') - 2 mean k(a, b)`` over different samples, ``k = exp(-d^2 / 2 s^2)``,
    ``s`` the median of all distances that are not 0, in both together (Gretton et al. 2012, lemma 6 and
    section 8). Around 0, and below it by chance, for equal distributions.

    Args:
        a: features of the source, ``(sample, feature)``.
        b: features of the target, ``(sample, feature)``.
        most: samples of each side that are drawn where there are more.
        seed: of that draw.

    Raises:
        InputError: fewer than two samples, other numbers of features, or NaN.
    """
    a, b = _pair(a, b)
    rng = np.random.default_rng(seed)
    a, b = _drawn(a, most, rng), _drawn(b, most, rng)
    apart = pdist(np.concatenate([a, b]))
    apart = apart[apart > 0]
    width = float(np.median(apart)) if len(apart) else 1.0
    within = sum(float(np.exp(-((pdist(x) / width) ** 2) / 2).mean()) for x in (a, b))
    return within - 2 * float(np.exp(-((cdist(a, b) / width) ** 2) / 2).mean())


def mean_ndvi(series: Series, recipe: FeatureRecipe) -> Floats | None:
    """Return the mean NDVI of each step over the samples that are observed there.

    The mean of all crops: regions that grow them in other shares differ in it, whatever their calendars.

    Args:
        series: reflectance ``(sample, band, step)``, NaN in gaps.
        recipe: what the series mean.

    Returns:
        float64 ``(step,)``, NaN where fewer than :data:`OBSERVED_SHARE` are; None without these bands.
    """
    if not {RED, NIR} <= set(recipe.bands):
        return None
    red, nir = (series[:, recipe.bands.index(band)].astype(np.float64) for band in (RED, NIR))
    total = nir + red
    index = np.divide(nir - red, total, out=np.full(red.shape, np.nan), where=total > 0)
    seen = np.isfinite(index)
    n = seen.sum(axis=0)
    sums = np.where(seen, index, 0).sum(axis=0)
    enough = (n > 0) & (n >= OBSERVED_SHARE * len(series))
    return np.asarray(np.divide(sums, n, out=np.full(len(n), np.nan), where=enough))


def phenology_offset(source: Floats, target: Floats, *, step_days: int, circular: bool) -> float:
    """Return by how many days the target's year is later than the source's.

    The lag with the highest correlation of the two curves; among equals the smallest.

    Args:
        source: mean NDVI by step, ``(step,)``; gaps (NaN) are filled linearly.
        target: the same of the target.
        step_days: length of a step, days.
        circular: the curves are whole years, and every lag up to half a year is tried; otherwise lags up to
            a third of the season, on the steps that both then share.

    Returns:
        Days, a multiple of ``step_days``; NaN if a curve is flat or has no value.

    Raises:
        InputError: the curves differ in length.
    """
    if source.shape != target.shape or source.ndim != 1:
        msg = f"Mean series have the shapes {source.shape} and {target.shape}; needed: one shape (step,)."
        raise InputError(msg)
    source, target = _whole(source), _whole(target)
    n = len(source)
    most = n // 2 if circular else n // 3
    best, best_lag = -np.inf, None
    for lag in sorted(range(-most, most + 1), key=abs):
        if circular:
            early, late = source, np.roll(target, -lag)
        else:
            early, late = source[max(0, -lag) : n - max(0, lag)], target[max(0, lag) : n - max(0, -lag)]
        score = _correlation(early, late)
        if score > best + 1e-12:
            best, best_lag = score, lag
    return float("nan") if best_lag is None else float(best_lag * step_days)


def mean_confidence(probability: Floats) -> float:
    """Return the mean probability of the predicted class, 0 to 1.

    Args:
        probability: ``(sample, crop_class)``; NaN for no sample.
    """
    return float(probability.max(axis=1).mean()) if len(probability) else float("nan")


def average_thresholded_confidence(held_out: Floats, right: Flags, target: Floats) -> float:
    """Return the accuracy on a target that confidence foretells, 0 to 1.

    The threshold is the confidence above which lies the source's accurate share of its own held-out
    samples; the answer is the share of the target above it (Garg et al. 2022, arXiv 2201.04234, with the
    probability of the predicted class as the score).

    Args:
        held_out: probabilities of the source's held-out samples, ``(sample, crop_class)``.
        right: whether each of these is predicted rightly, ``(sample,)``.
        target: probabilities of the target's samples, ``(sample, crop_class)``.

    Returns:
        Share; NaN without samples on one side.
    """
    if not len(held_out) or not len(target):
        return float("nan")
    scores = np.sort(held_out.max(axis=1))
    n_wrong = int(np.count_nonzero(~right))
    # As many held-out samples as are wrong lie below the threshold.
    threshold = scores[n_wrong] if n_wrong < len(scores) else np.inf
    return float(np.mean(target.max(axis=1) >= threshold))


def _pair(first: Array, second: Array) -> tuple[Floats, Floats]:
    a, b = first.astype(np.float64), second.astype(np.float64)
    fine = a.ndim == b.ndim == 2 and a.shape[1] == b.shape[1] and min(len(a), len(b)) >= 2
    if not fine or not (np.isfinite(a).all() and np.isfinite(b).all()):
        msg = (
            f"Features have the shapes {a.shape} and {b.shape}; needed: (sample, feature) with two samples "
            "or more each, the same features, and finite numbers. Take both from one network."
        )
        raise InputError(msg)
    return a, b


def _covariance(x: Floats, shrinkage: float) -> Floats:
    cov = np.atleast_2d(np.cov(x, rowvar=False))
    n = len(cov)
    return np.asarray((1 - shrinkage) * cov + shrinkage * np.trace(cov) / n * np.eye(n))


def _root(cov: Floats) -> Floats:
    """Return the symmetric square root of a covariance."""
    values, vectors = np.linalg.eigh(cov)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)


def _drawn(x: Floats, most: int, rng: np.random.Generator) -> Floats:
    return x if len(x) <= most else x[np.sort(rng.choice(len(x), most, replace=False))]


def _whole(curve: Floats) -> Floats:
    """Return a curve with its gaps filled linearly, ends held."""
    seen = np.isfinite(curve)
    if not seen.any():
        return curve
    steps = np.arange(len(curve))
    return np.interp(steps, steps[seen], curve[seen])


def _correlation(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 1e-12 else -np.inf

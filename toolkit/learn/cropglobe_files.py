"""Packaged samples: the .npz layout of CropGlobe, read and written.

Layout: Tong & Wang 2025 (arXiv 2509.03497) and the loader published with it (MIT, x-ytong/CropNet,
data/loading.py): arrays ``fea`` (samples, 10 bands, 73 or 43 steps) and ``lbl`` (class indices).
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.cubes.recipe import Fill
from toolkit.errors import LabelError, StorageError
from toolkit.learn import cropglobe_layout as layout
from toolkit.learn.npz_arrays import read_arrays, read_comment, read_headers
from toolkit.learn.samples import Samples, join_samples
from toolkit.legend import CROPGLOBE
from toolkit.storage import make_folder, replacing

SIMULATED = b"cropglobe: simulated"
"""Comment of the zip file of simulated samples: the arrays stay as published, and the mark is not lost."""


def read_cropglobe(path: str | Path, *, scale: float | None = None) -> Samples:
    """Read one file of packaged samples.

    Of samples with the same series one is kept (the first), as published; if their labels differ, none
    is: the series says nothing of the crop, and the order of a file should not decide.

    Args:
        path: .npz with ``fea`` ``(n, 10, 73)`` or ``(n, 10, 43)``, also as vectors band after band, and
            ``lbl`` ``(n,)``, class indices of CropGlobe.
        scale: number that stands for reflectance 1 (1 or 10000); default: told from the values.

    Returns:
        Samples of no known field and place. The provenance holds ``file``, ``sha256``, ``scale``, counts
        of what was removed, and ``country`` and ``months`` if the name says them.

    Raises:
        LabelError: missing, damaged, of another layout, or of a scale that cannot be told.
    """
    path = Path(path)
    headers = read_headers(path, (layout.FEATURES, layout.LABELS))
    n_steps = layout.check_layout(headers, path)
    said = layout.named(path, n_steps)
    arrays = read_arrays(path, (layout.FEATURES, layout.LABELS))
    crop = layout.classes(arrays[layout.LABELS], path)
    values = arrays[layout.FEATURES]
    if values.ndim == 2:
        layout.check_band_after_band(values, n_steps, path)
    values = values.reshape(len(crop), len(layout.SEASON.bands), n_steps)
    used_scale = layout.checked_scale(scale, path) if scale is not None else layout.scale_of(values, path)
    series = np.divide(values, used_scale, dtype=np.float32, casting="unsafe")
    if np.isinf(series).any():
        msg = (
            f"{str(path)!r}: {layout.FEATURES} holds infinity; allowed: numbers, and NaN in gaps. "
            "Set it to NaN."
        )
        raise LabelError(msg)
    kept, counts = layout.distinct(series, crop)
    series, crop = series[kept], crop[kept]
    fill: Fill = "none" if np.isnan(series).any() else "linear"
    nowhere = np.full(len(crop), np.nan)
    return Samples(
        series=series,
        crop=crop,
        field=np.zeros(len(crop), np.int32),
        lon=nowhere,
        lat=nowhere.copy(),
        recipe=replace(layout.RECIPES[n_steps], fill=fill),
        legend=CROPGLOBE,
        simulated=read_comment(path) == SIMULATED,
        provenance={"file": path.name, "sha256": _sha256(path), **said, "scale": used_scale, **counts},
    )


def write_cropglobe(samples: Samples, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write samples in the layout of CropGlobe, complete or not at all.

    Fields, places and the recipe's clear-sky preset have no room there and are left out.

    Args:
        samples: series of the full year or of May to November, ten bands, classes of CropGlobe.
        path: .npz to write: ``fea`` float32 ``(n, 10, step)`` in reflectance, ``lbl`` int64 ``(n,)``.
        overwrite: replace a file that is there.

    Returns:
        The path.

    Raises:
        LabelError: other bands, steps or classes, or no .npz.
        StorageError: the name is taken, or the disk refuses.
    """
    path, recipe = Path(path), samples.recipe
    plain = replace(layout.SEASON, kind=recipe.kind, first_step=recipe.first_step, n_steps=recipe.n_steps)
    seasons = {(one.first_step, one.n_steps) for one in layout.RECIPES.values()}
    as_packaged = (
        replace(recipe, fill=plain.fill, clear=plain.clear, dilation_m=plain.dilation_m) == plain
        and recipe.kind in ("median2d", "median1d")
        and (recipe.first_step, recipe.n_steps) in seasons
    )
    if not as_packaged or samples.legend != CROPGLOBE or path.suffix != ".npz" or not len(samples):
        msg = (
            f"{len(samples)} samples of {len(recipe.bands)} bands ({recipe.bands[0]}, ...), {recipe.n_steps} "
            f"steps of {recipe.step_days} days from step {recipe.first_step} and classes "
            f"{', '.join(samples.legend.names)} cannot be written to {path.name!r}. The layout of CropGlobe "
            f"is an .npz with the bands {', '.join(layout.SEASON.bands)}, steps of 5 days (73 from 0, or 43 "
            f"from 24) and the classes {', '.join(CROPGLOBE.names)}. Use write_samples for all else."
        )
        raise LabelError(msg)
    if path.exists() and not overwrite:
        msg = f"{str(path)!r} exists already. Choose another name, or allow it to be overwritten."
        raise StorageError(msg)
    make_folder(path.parent)
    with replacing(path) as temporary:
        arrays: dict[str, Any] = {
            layout.FEATURES: samples.series,
            layout.LABELS: samples.crop.astype(np.int64),
        }
        np.savez(temporary, **arrays)
        if samples.simulated:
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.comment = SIMULATED
    return path


def find_cropglobe(folder: str | Path, country: str) -> Path:
    """Return the file of a country; that of the whole year where there are several.

    Args:
        folder: searched with all folders in it, as the files' folders differ in name.
        country: code of three letters.

    Raises:
        LabelError: no file or several of the same name; names the countries that are there.
    """
    folder = Path(folder)
    files = sorted(folder.rglob("median_S2_*.npz")) if folder.is_dir() else []
    found = best_files([path.name for path in files])
    code = country.strip().upper()
    if code not in found:
        msg = (
            f"There is no file of country {country!r} (median_S2_{code}_month1-12_day5.npz) in "
            f"{str(folder)!r}. Countries there: {', '.join(sorted(found)) or 'none'}. Get it with: "
            f"cropglobe fetch cropglobe --countries {code} --out {folder}."
        )
        raise LabelError(msg)
    same = [path for path in files if path.name == found[code]]
    if len(same) > 1 and len({_sha256(path) for path in same}) > 1:
        msg = (
            f"There are {len(same)} different files {found[code]} in {str(folder)!r}: "
            f"{', '.join(str(path.parent) for path in same)}. Give the folder of one of them."
        )
        raise LabelError(msg)
    return same[0]


def best_files(names: Sequence[str]) -> dict[str, str]:
    """Return the best file name of each country: the whole year, else May to November.

    Args:
        names: file names; others than those of packaged medians do not count.
    """
    found: dict[str, str] = {}
    for months in reversed(layout.MONTHS):
        for name in names:
            match = layout.PATTERN.fullmatch(name)
            if match and (int(match[2]), int(match[3])) == months:
                found[match[1]] = name
    return dict(sorted(found.items()))


def countries_in(folder: str | Path) -> tuple[str, ...]:
    """Return the countries with a file of packaged medians in a folder.

    Args:
        folder: as for :func:`find_cropglobe`.

    Raises:
        LabelError: there is none.
    """
    found = tuple(best_files([path.name for path in Path(folder).rglob("median_S2_*.npz")]))
    if not found:
        msg = (
            f"There are no packaged samples (median_S2_COUNTRY_month1-12_day5.npz) in {str(folder)!r}. "
            f"Get them with: cropglobe fetch cropglobe --out {folder}."
        )
        raise LabelError(msg)
    return found


def load_cropglobe(folder: str | Path, countries: Sequence[str], *, scale: float | None = None) -> Samples:
    """Return the samples of several countries as one; each keeps its provenance.

    Args:
        folder: folder with the files, see :func:`find_cropglobe`.
        countries: codes of three letters.
        scale: see :func:`read_cropglobe`.

    Raises:
        LabelError: no country, one twice, a file missing or unreadable, or some hold the year and others only
            the season.
    """
    codes = [country.strip().upper() for country in countries]
    if not codes or len(set(codes)) < len(codes):
        known = ", ".join(layout.COUNTRIES)
        msg = f"Countries are {list(countries)}; needed: at least one, each once, of {known}."
        raise LabelError(msg)
    paths = [find_cropglobe(folder, code) for code in codes]
    parts = [read_cropglobe(path, scale=scale) for path in paths]
    if len({part.recipe.n_steps for part in parts}) > 1:
        held = ", ".join(
            f"{path.name} {part.recipe.n_steps}" for path, part in zip(paths, parts, strict=True)
        )
        msg = (
            f"Files have different numbers of steps ({held}), which cannot be joined. Get the files of "
            "month1-12 of all countries, or leave out those that have none."
        )
        raise LabelError(msg)
    if any(part.recipe.fill == "none" for part in parts):  # series without gaps are the same under both
        parts = [replace(part, recipe=replace(part.recipe, fill="none")) for part in parts]
    return join_samples(parts)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""The transfer matrix as a picture: a heat map of macro F1, source by target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolkit.learn.transfer_summary import Summary
from toolkit.storage import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

COLUMNS = 3
"""Most heat maps beside each other."""


def draw_transfer(summaries: Sequence[Summary], path: Path, *, title: str) -> Path | None:
    """Draw one heat map of mean macro F1 for each configuration; the diagonal are held-out samples.

    Args:
        summaries: cells of one protocol.
        path: file to write, ``.png``.
        title: what is drawn, in one line.

    Returns:
        The path; None if matplotlib is not installed.

    Raises:
        StorageError: the file cannot be written.
    """
    if find_spec("matplotlib") is None:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    configurations = list(dict.fromkeys(one.configuration for one in summaries))
    sources = list(dict.fromkeys(one.source for one in summaries))
    targets = [name for name in sources if any(one.target == name for one in summaries)]
    targets += [one for one in dict.fromkeys(each.target for each in summaries) if one not in sources]
    columns = min(COLUMNS, math.isqrt(len(configurations) - 1) + 1)
    rows = -(-len(configurations) // columns)
    width, height = 1.6 + 0.75 * len(targets), 1.9 + 0.5 * len(sources)
    # A figure of its own, without pyplot: what a notebook has open stays as it is.
    figure = Figure(figsize=(columns * width + 1.0, rows * height + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    image = None
    for axes, configuration in zip(grid, configurations, strict=False):
        cells = {(one.source, one.target): one for one in summaries if one.configuration == configuration}
        image = _draw_matrix(axes, cells, sources, targets)
        axes.set_title(
            f"{configuration.model}, {configuration.features}\naugmentation {configuration.augmentation}",
            fontsize=9,
        )
    for axes in grid[len(configurations) :]:
        axes.set_axis_off()
    if image is not None:
        figure.colorbar(image, ax=list(grid), label="macro F1", shrink=0.8)
    figure.suptitle(f"{title}; framed: held-out part of the source", fontsize=9)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png", metadata={"Software": "cropglobe"})
    return path


def _draw_matrix(
    axes: Axes, cells: dict[tuple[str, str], Summary], sources: Sequence[str], targets: Sequence[str]
) -> AxesImage:
    """Draw one configuration: colour, number, and a frame around held-out samples."""
    from matplotlib.patches import Rectangle

    values = np.full((len(sources), len(targets)), np.nan)
    for row, source in enumerate(sources):
        for column, target in enumerate(targets):
            if (source, target) in cells:
                values[row, column] = cells[source, target].mean["macro_f1"]
    image = axes.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value):
            continue
        color = "black" if value > 0.6 else "white"  # legible on both ends of the colours
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=color, fontsize=8)
        if sources[row] == targets[column]:
            axes.add_patch(Rectangle((column - 0.47, row - 0.46), 0.94, 0.92, fill=False, ec=color, lw=1.5))
    axes.set_xticks(range(len(targets)), targets, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(len(sources)), sources, fontsize=8)
    axes.set_xlabel("target", fontsize=8)
    axes.set_ylabel("source", fontsize=8)
    return image

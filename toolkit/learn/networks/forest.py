"""A random forest as tensors: its trees are followed for all pixels at once.

Inner nodes of all trees stand in one list, each after its parent. A child of 0 or more is an inner
node; a negative child ``c`` is a leaf with the class shares of row ``~c``. Most leaves of a fully
grown tree are pure, so that many leaves share a row, and a forest is small.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from toolkit.errors import CheckpointError
from toolkit.learn.networks.series import check_series

FLOOR = 1e-9
"""Least mean share of a class, so that logits are finite; it moves probabilities by less than 1e-8."""

PATHS = 1 << 16
"""Pixels times trees followed at once: bounds the memory of a batch, and fits a processor's cache."""

MAX_DEPTH = 1000
"""Inner nodes on the longest way from a root to a leaf; a damaged file could make it endless."""

SHARES_MISS = 1e-6
"""How far the shares of a leaf may be from 1 in sum."""


class RandomForest(nn.Module):
    """The trees of a forest; without training, one tree that knows nothing."""

    def __init__(
        self, n_bands: int, n_steps: int, n_classes: int, *, sizes: tuple[int, int, int] = (0, 1, 1)
    ) -> None:
        """Make room for the trees.

        Args:
            n_bands: bands of a series.
            n_steps: steps of a series.
            n_classes: number of output classes.
            sizes: inner nodes of all trees, trees, and distinct rows of class shares.
        """
        super().__init__()
        self.n_bands, self.n_steps = n_bands, n_steps
        n_nodes, n_trees, n_rows = sizes
        self.feature: torch.Tensor
        self.threshold: torch.Tensor
        self.child: torch.Tensor
        self.root: torch.Tensor
        self.share: torch.Tensor
        self.register_buffer("feature", torch.zeros(n_nodes, dtype=torch.int32))
        self.register_buffer("threshold", torch.zeros(n_nodes, dtype=torch.float32))
        self.register_buffer("child", torch.full((n_nodes, 2), -1, dtype=torch.int32))
        self.register_buffer("root", torch.full((n_trees,), -1, dtype=torch.int32))
        self.register_buffer("share", torch.full((n_rows, n_classes), 1 / n_classes, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the class shares, averaged over the trees.

        The softmax of it are the forest's probabilities. A series with NaN or infinity gets NaN.

        Args:
            x: float32 ``(n, band, step)``, read band after band.

        Returns:
            float32 ``(n, crop_class)``, at least ``log(FLOOR)``.

        Raises:
            ModelError: the input has another shape.
        """
        check_series(x, self.n_bands, self.n_steps)
        values = x.flatten(1)
        total = self.share.new_zeros(len(x), self.share.shape[1])
        n_at_once = max(1, PATHS // max(1, len(x)))
        for first in range(0, len(self.root), n_at_once):
            roots = self.root[first : first + n_at_once]
            rows = self._leaf_rows(values, roots)
            total += self.share[rows].view(len(x), len(roots), -1).sum(dim=1)
        logits = (total / len(self.root)).clamp(min=FLOOR).log().float()
        return logits.masked_fill(~values.isfinite().all(dim=1, keepdim=True), torch.nan)

    def _leaf_rows(self, values: torch.Tensor, roots: torch.Tensor) -> torch.Tensor:
        """Follow each pixel down each tree.

        Args:
            values: float32 ``(n, value)``.
            roots: int32 ``(tree,)``.

        Returns:
            int64 ``(n * tree,)``, row of :attr:`share`, tree after tree within a pixel.
        """
        n_values = values.shape[1]
        flat = values.reshape(-1)
        node = roots.long().repeat(len(values))
        path = torch.arange(len(node), device=values.device)
        while len(path := path[node[path] >= 0]):
            at = node[path]
            value = flat[path // len(roots) * n_values + self.feature[at]]
            right = (value > self.threshold[at]).long()
            node[path] = self.child.view(-1)[2 * at + right].long()
        return torch.bitwise_not(node)


def forest_like(
    state: Mapping[str, torch.Tensor], n_bands: int, n_steps: int, n_classes: int
) -> RandomForest:
    """Return a forest with as many nodes, trees and rows as a state; names and shapes are not checked.

    Args:
        state: tensors of a forest by name.
        n_bands: bands of a series.
        n_steps: steps of a series.
        n_classes: number of output classes.
    """
    n_nodes, n_trees, n_rows = (
        state[name].shape[0] if name in state and state[name].ndim else 0
        for name in ("feature", "root", "share")
    )
    return RandomForest(n_bands, n_steps, n_classes, sizes=(n_nodes, n_trees, n_rows))


def check_trees(state: Mapping[str, torch.Tensor], n_values: int) -> None:
    """Raise unless every way down every tree ends in a leaf, and soon.

    Args:
        state: tensors of a forest, finite, with the names, shapes and dtypes of :class:`RandomForest`.
        n_values: bands times steps of a series.

    Raises:
        CheckpointError: what a damaged or forged file could hold.
    """
    feature, child, root, share = (state[name] for name in ("feature", "child", "root", "share"))
    order = torch.arange(len(feature))[:, None]
    links = torch.cat([child.flatten(), root]).long()
    inner = links[links >= 0]
    fine = {
        "a forest has no tree": len(root) > 0,
        f"features lie outside 0 to {n_values - 1}": not bool(((feature < 0) | (feature >= n_values)).any()),
        "children or roots lie outside the nodes": not bool((inner >= len(feature)).any()),
        "leaves lie outside the class shares": not bool((~links >= len(share)).any()),
        "children do not follow their parent": not bool(((child >= 0) & (child <= order)).any()),
        "class shares are negative, or do not sum to 1": not bool(
            (share < 0).any() | ((share.sum(dim=1) - 1).abs() > SHARES_MISS).any()
        ),
    }
    if all(fine.values()):
        parents = torch.bincount(inner, minlength=len(feature))
        fine["nodes have not one parent each"] = bool((parents == 1).all())
    if all(fine.values()):
        fine[f"trees are deeper than {MAX_DEPTH} nodes"] = _depth(child, root) <= MAX_DEPTH
    if wrong := [what for what, is_fine in fine.items() if not is_fine]:
        msg = f"The trees are damaged: {'; '.join(wrong)}. Copy the model again, or train it again."
        raise CheckpointError(msg)


def _depth(child: torch.Tensor, root: torch.Tensor) -> int:
    """Inner nodes on the longest way down, up to one more than is allowed; no node has two parents."""
    level, depth = root[root >= 0].long(), 0
    while len(level) and depth <= MAX_DEPTH:
        below = child[level].flatten().long()
        level, depth = below[below >= 0], depth + 1
    return depth

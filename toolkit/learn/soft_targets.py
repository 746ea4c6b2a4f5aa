"""What a student learns from: its teacher's answers, and labels where there are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from toolkit.learn.checkpoint import Checkpoint
from toolkit.learn.device import Precision, uses_bf16
from toolkit.learn.engines.torch_engine import fold_batch_norm

UNLABELLED = 255
"""Stands for the class of a series without a label."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Teacher:
    """A trained model that answers batches as a student gets them."""

    network: nn.Module
    """In evaluation mode, on its device."""
    factor: torch.Tensor
    """float32 ``(band, 1)``: from the student's normalised values to the teacher's, multiplied."""
    offset: torch.Tensor
    """float32 ``(band, 1)``, added after that."""
    bf16: bool
    """Whether products are computed in bfloat16."""

    def logits(self, series: torch.Tensor) -> torch.Tensor:
        """Return logits, float32 ``(n, crop_class)``, of the student's batch ``(n, band, step)``."""
        with torch.no_grad(), torch.autocast(series.device.type, torch.bfloat16, enabled=self.bf16):
            return torch.as_tensor(self.network(series * self.factor + self.offset)).float()


def teacher_for(
    checkpoint: Checkpoint,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    *,
    device: torch.device,
    precision: Precision = "auto",
) -> Teacher:
    """Return a model ready to answer.

    Args:
        checkpoint: the model.
        mean: per band, subtracted from the reflectance that the student gets.
        std: per band, divided by after that.
        device: where to compute.
        precision: of its products.
    """
    network = fold_batch_norm(checkpoint.build()).to(device)
    if any(isinstance(module, nn.Conv2d) for module in network.modules()):
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    own_mean, own_std, student_mean, student_std = (
        torch.tensor(values, dtype=torch.float64)[:, None]
        for values in (checkpoint.mean, checkpoint.std, mean, std)
    )
    return Teacher(
        network=network,
        factor=(student_std / own_std).float().to(device),
        offset=((student_mean - own_mean) / own_std).float().to(device),
        bf16=uses_bf16(precision, device),
    )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SoftTargets:
    """Distance to the teacher's answers, mixed with that to the labels.

    ``(1 - w) T^2 KL(teacher / T || student / T) + w cross-entropy``, after Hinton, Vinyals & Dean,
    "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531); series without a label give the first
    part alone.
    """

    teacher: Teacher
    """Answers the same, varied, series."""
    temperature: float
    """Logits are divided by it: above 1 the teacher also tells which classes it finds alike."""
    label_weight: float
    """Share ``w`` of the labels in the loss, 0 to 1."""
    class_weights: torch.Tensor
    """float32 ``(crop_class,)``, of the labels, see :func:`toolkit.learn.fit.class_weights`."""

    def __call__(self, logits: torch.Tensor, series: torch.Tensor, crop: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a batch.

        Args:
            logits: of the student, float32 ``(n, crop_class)``.
            series: what the student got, float32 ``(n, band, step)``.
            crop: int64 ``(n,)``, class index, or :data:`UNLABELLED`.
        """
        said, asked = (
            torch.log_softmax(each / self.temperature, dim=1)
            for each in (logits, self.teacher.logits(series))
        )
        distance = nn.functional.kl_div(said, asked, reduction="none", log_target=True).sum(dim=1)
        soft = self.temperature**2 * distance
        if self.label_weight == 0:
            return soft.mean()
        # Balanced weights are 1 on average: with 'none' and mean, a batch without labels is 0, not 0 / 0.
        hard = nn.functional.cross_entropy(
            logits, crop, weight=self.class_weights, ignore_index=UNLABELLED, reduction="none"
        )
        share = self.label_weight * (crop != UNLABELLED)
        return ((1 - share) * soft + share * hard).mean()

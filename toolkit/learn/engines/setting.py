"""What decides the bytes of a prediction: engine, precision, shape of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from toolkit.errors import ModelError

Series = npt.NDArray[np.float32]

Classifier = Callable[[Series], Series]
"""Normalised float32 ``(n, band, step)`` -> logits float32 ``(n, crop_class)``."""

Precision = Literal["fp32", "bf16", "int8"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSetting:
    """How a model is computed: chosen once for a run, the same for all of its tiles."""

    engine: str = "torch"
    """Name of the engine."""
    precision: Precision = "fp32"
    """Numbers that products are computed with."""
    batch_size: int = 256
    """Pixels computed at once; each batch has this shape, the last one filled up."""
    device: str = "cpu"
    """``cpu``, ``cuda`` or ``cuda:N``."""
    ranges: tuple[tuple[float, float], ...] = ()
    """With int8: least and greatest input of each convolution but the first, seen on series of the area."""
    packages: tuple[tuple[str, str], ...] = ()
    """Packages beside PyTorch that compute it, with their versions; another version may round differently."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        pairs = {"ranges": [list(pair) for pair in self.ranges], "packages": dict(self.packages)}
        return {**asdict(self), **pairs}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild what :meth:`to_dict` gave.

        Raises:
            ModelError: a value is missing or of a layout that is not known.
        """
        try:
            known = {name: values[name] for name in (field.name for field in fields(cls))}
            known["ranges"] = tuple((float(a), float(b)) for a, b in known["ranges"])
            known["packages"] = tuple((str(name), str(told)) for name, told in known["packages"].items())
            return cls(**known)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            msg = f"An engine's setting cannot be read ({error!r}): {dict(values)!r}. Choose one anew."
            raise ModelError(msg) from error

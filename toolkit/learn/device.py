"""Which processor computes, and computing the same there every time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch.overrides import TorchFunctionMode

from toolkit.errors import EngineError

Precision = Literal["auto", "fp32", "bf16"]
PRECISIONS: tuple[str, ...] = get_args(Precision)

DEVICES = ("auto", "cpu", "cuda")
"""Names of devices; ``auto`` is the GPU where there is one."""


def check_device(name: str) -> None:
    """Raise unless a device has a name that is known; whether it is there only the machine can tell.

    Raises:
        EngineError: the name is unknown.
    """
    kind, _, number = name.partition(":")
    if kind not in DEVICES or (number and not (kind == "cuda" and number.isdecimal())):
        msg = f"Device {name!r} is unknown. Known: {', '.join(DEVICES)}, cuda:N. Choose one of them."
        raise EngineError(msg)


def resolve_device(name: str) -> torch.device:
    """Return the device of a name.

    Args:
        name: one of :data:`DEVICES`, or ``cuda:1`` for the second GPU.

    Raises:
        EngineError: the name is unknown, or that GPU is not there.
    """
    check_device(name)
    kind, _, number = name.partition(":")
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "auto":
        return torch.device("cuda" if n_gpus else "cpu")
    if kind == "cuda" and int(number or 0) >= n_gpus:
        msg = f"Device {name!r} is not there: torch sees {n_gpus} GPU. Use device='auto' or 'cpu'."
        raise EngineError(msg)
    return torch.device(name)


class _Undrawn(TorchFunctionMode):
    """Leaves out the drawing of first weights: without values it would load torch's compiler, 3 s."""

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.__name__ in ("normal_", "uniform_"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


@contextmanager
def without_values() -> Iterator[None]:
    """Build networks without values inside the block: fast, and the random state stays untouched."""
    with torch.device("meta"), _Undrawn():
        yield


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Switch off what makes a GPU answer differently from run to run; a CPU needs nothing."""
    if device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch inside the block only; the caller's random state comes back afterwards."""
    gpus = list(range(torch.cuda.device_count())) if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        seed_device(seed, device)
        yield


def seed_device(seed: int, device: torch.device) -> None:
    """Seed torch on the CPU and on a device; call it inside :func:`seeded`."""
    # Not torch.manual_seed: that also seeds devices whose state is not brought back.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def uses_bf16(precision: Precision, device: torch.device) -> bool:
    """Return whether networks are trained with products in bfloat16.

    With AVX-512 BF16 units a step took, of its time in float32, 0.50 for CropNet 2D, 0.55 for 1D, 0.74 for
    TempCNN, 0.57 for the attention model and 0.84 for the MLP.

    Args:
        precision: what was asked for.
        device: where it is trained.
    """
    return has_bf16_units(device) if precision == "auto" else precision == "bf16"


def has_bf16_units(device: torch.device) -> bool:
    """Return whether a processor multiplies bfloat16 faster than float32.

    Without such units it is emulated, and several times slower.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)  # Ampere and later
    units = processor_units()
    return units["amx_bf16"] or units["avx512_bf16"]


def processor_units() -> dict[str, bool]:
    """Return which units for fast products of short numbers the processor says it has."""
    flags: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch has none
    names = ("amx_int8", "amx_bf16", "avx512_bf16", "avx512_vnni", "avx_vnni", "avx2")
    return {name: bool(flags.get(name)) for name in names}

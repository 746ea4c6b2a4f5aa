"""Harmonic least squares: ours, and what numpy and xarray offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from tests.benchmarks.methods import Call, Method, in_parts
from tests.benchmarks.stacks import Array, Stack
from tests.benchmarks.threads import CORES, on_all_cores, touched
from toolkit.kernels.harmonic import fit_harmonic_curves, harmonic_basis

ORDER = 2
OURS = "ours"
NORMAL_EQUATIONS = "numpy normal equations (BLAS + linalg.solve)"
NORMAL_EQUATIONS_THREADS = "numpy normal equations, our threads"
NORMAL_EQUATIONS_FLOAT64 = "numpy normal equations, float64 from our input"


def ours(stack: Stack) -> Call:
    """Our kernel; all bands of a part at once, as they share their mask."""
    span = (0.0, float(np.ceil(stack.years[-1])))

    def work(part: Stack, out: Array) -> Array:
        bands = list(part.data)
        return fit_harmonic_curves(
            bands, part.clear, part.years, order=ORDER, span=span, out=out
        ).coefficients

    def room(part: Stack) -> Array:
        return touched((part.data.shape[0], 2 * ORDER + 1, part.data.shape[2]), np.float32)

    return in_parts(work, room)(stack)


def normal_equations(stack: Stack) -> Call:
    """All pixels at once; BLAS brings its own threads."""
    return _normal_equations(stack, _sums_by_blas)


def normal_equations_in_threads(stack: Stack) -> Call:
    """The same, a thread per part of the pixels, BLAS on one thread each."""
    calls = [_normal_equations(part, _sums_by_blas) for part in stack.parts(CORES)]

    def call() -> list[Array]:
        with threadpool_limits(1, user_api="blas"):
            return on_all_cores(lambda part: part(), calls)

    return call


def normal_equations_from_integers(stack: Stack) -> Call:
    """The same from what ours gets, integers and a mask; numpy's own choice of type for that is float64."""
    basis = harmonic_basis(stack.years, ORDER)

    def call() -> Array:
        values = np.where(stack.clear, stack.data, 0.0)
        gram, right = _sums_by_blas(basis, stack.clear.astype(np.float64), values)
        return np.linalg.solve(gram, right).transpose(2, 1, 0)

    return call


def normal_equations_by_einsum(stack: Stack) -> Call:
    """The same, as the formula is written."""
    return _normal_equations(stack, _sums_by_einsum)


def lstsq_per_pixel(stack: Stack) -> Call:
    """``numpy.linalg.lstsq`` for each pixel, its bands together."""
    basis = harmonic_basis(stack.years, ORDER)
    values = np.ascontiguousarray(stack.data.transpose(2, 1, 0).astype(np.float64))
    masks = np.ascontiguousarray(stack.clear.T)

    def call() -> Array:
        out = np.empty((len(masks), basis.shape[1], values.shape[2]), np.float32)
        for pixel, clear in enumerate(masks):
            out[pixel] = np.linalg.lstsq(basis[clear], values[pixel, clear])[0]
        return out.transpose(2, 1, 0)

    return call


def lstsq_by_apply_ufunc(stack: Stack) -> Call:
    """``xarray.apply_ufunc(vectorize=True)`` of ``lstsq`` for each pixel and band."""
    basis = harmonic_basis(stack.years, ORDER)
    cube = stack.cube

    def fit(series: Array) -> Array:
        clear = np.isfinite(series)
        return np.linalg.lstsq(basis[clear], series[clear])[0]

    def call() -> Array:
        fitted = xr.apply_ufunc(
            fit, cube, input_core_dims=[["time"]], output_core_dims=[["coef"]], vectorize=True
        )
        array = fitted.transpose("band", "coef", "y", "x").to_numpy()
        return array.reshape(*array.shape[:2], -1)

    return call


METHODS: Mapping[str, Method] = {
    OURS: Method(prepare=ours),
    NORMAL_EQUATIONS: Method(prepare=normal_equations, side=128, tolerance=0.02),
    NORMAL_EQUATIONS_THREADS: Method(prepare=normal_equations_in_threads, side=128, tolerance=0.02),
    NORMAL_EQUATIONS_FLOAT64: Method(prepare=normal_equations_from_integers, side=128, tolerance=0.02),
    "numpy normal equations (einsum)": Method(prepare=normal_equations_by_einsum, side=64, tolerance=0.02),
    "numpy.linalg.lstsq per pixel": Method(prepare=lstsq_per_pixel, side=32, tolerance=0.02),
    "xarray apply_ufunc(lstsq, vectorize)": Method(prepare=lstsq_by_apply_ufunc, side=16, tolerance=0.02),
}

Sums = Callable[[Array, Array, Array], tuple[Array, Array]]
"""Takes basis, mask and values; returns ``(pixel, coef, coef)`` and ``(pixel, coef, band)``."""


def _normal_equations(stack: Stack, sums: Sums) -> Call:
    basis = harmonic_basis(stack.years, ORDER).astype(np.float32)
    mask = stack.clear.astype(np.float32)
    values = np.where(stack.clear, stack.data, np.float32(0)).astype(np.float32)

    def call() -> Array:
        gram, right = sums(basis, mask, values)
        return np.linalg.solve(gram, right).transpose(2, 1, 0)

    return call


def _sums_by_blas(basis: Array, mask: Array, values: Array) -> tuple[Array, Array]:
    n = basis.shape[1]
    products = (basis[:, :, None] * basis[:, None, :]).reshape(-1, n * n)
    gram = (mask.T @ products).reshape(-1, n, n)
    return gram, (basis.T @ values).transpose(2, 1, 0)


def _sums_by_einsum(basis: Array, mask: Array, values: Array) -> tuple[Array, Array]:
    return np.einsum("tp,ti,tj->pij", mask, basis, basis), np.einsum("btp,ti->pib", values, basis)

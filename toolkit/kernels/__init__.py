"""Numba kernels: plain arrays in, plain arrays out.

Blocks are time-first, ``(time, pixel)``: one contiguous row of pixels per date, as scenes are read.
The pixel loop is the innermost one, so that it vectorises. Kernels release the GIL and start no
threads: Dask owns the cores.
"""

"""Pixels on the grid: read, clear sky known, one reflectance scale."""

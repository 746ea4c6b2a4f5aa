"""Finished, checked, legible products."""

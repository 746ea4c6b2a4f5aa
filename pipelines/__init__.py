"""Workflows: configuration in, finished products out."""

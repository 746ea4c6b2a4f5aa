"""Simulated scenes with known answers, for the sample area, tests and docs."""

"""Engines: what computes a network's answers, in which precision."""

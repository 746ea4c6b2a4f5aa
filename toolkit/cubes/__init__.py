"""Scenes to features: composites, the recipe that defines them."""

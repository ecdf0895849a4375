"""Segmenting and scoring images with a trained network, and what is shown of it."""

"""Segmenting and scoring images with a trained network."""
